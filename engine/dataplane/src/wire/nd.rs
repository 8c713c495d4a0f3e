//! Neighbour discovery (RFC 4861): solicitations and advertisements.
//!
//! `parse_nd` demands what sections 7.1.1 and 7.1.2 demand, so whoever holds an `Nd` knows that it
//! came from this link (hop limit 255) and arrived whole (checksum).

use super::arp::Link;
use super::checksum;
use super::ethernet;
use super::get16;
use super::get128;
use super::icmp;
use super::ipv6;
use super::ipv6::Header;
use super::put16;
use super::put128;
use crate::neigh::Mac;
use crate::tuple::Addr;

/// ff02::1, every node on the link.
pub const ALL_NODES: Addr = Addr::v6(0xff02 << 112 | 1);

/// ICMPv6 type: neighbour solicitation.
pub const SOLICITATION: u8 = 135;
/// ICMPv6 type: neighbour advertisement.
pub const ADVERTISEMENT: u8 = 136;

const FLAGS: usize = 4;
const TARGET: usize = 8;
const OPTIONS: usize = 24;
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

/// What is asked or said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// Asks for the target's MAC (section 4.3).
    Solicitation {
        /// Whose.
        target: Addr,
        /// Source link-layer address option: the asker's MAC.
        source_mac: Option<Mac>,
    },
    /// Gives the target's MAC (section 4.4).
    Advertisement {
        /// Whose.
        target: Addr,
        /// Target link-layer address option.
        target_mac: Option<Mac>,
        /// The sender is a router.
        router: bool,
        /// It answers a solicitation.
        solicited: bool,
        /// It replaces what is cached.
        overrides: bool,
    },
}

/// A message with the headers it came with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nd {
    /// The frame's header.
    pub link: Link,
    /// IPv6 source; `::` where the asker checks for duplicates (RFC 4862 section 5.4.2).
    pub src: Addr,
    /// IPv6 destination.
    pub dst: Addr,
    /// The message.
    pub message: Message,
}

impl Nd {
    /// The frame, hop limit 255.
    pub fn build(&self) -> Vec<u8> {
        let (kind, flags, target, option) = match self.message {
            Message::Solicitation { target, source_mac } => {
                (SOLICITATION, 0, target, source_mac.map(|m| (SOURCE_LINK_LAYER, m)))
            }
            Message::Advertisement { target, target_mac, router, solicited, overrides } => {
                let bit = |set, flag| if set { flag } else { 0 };
                let flags =
                    bit(router, ROUTER) | bit(solicited, SOLICITED) | bit(overrides, OVERRIDE);
                (ADVERTISEMENT, flags, target, target_mac.map(|m| (TARGET_LINK_LAYER, m)))
            }
        };
        let len = OPTIONS + if option.is_some() { 8 } else { 0 };
        let (mut frame, at) = self.link.frame(ethernet::IPV6, ipv6::LEN + len);
        let header = Header {
            traffic_class: 0,
            payload: len as u16,
            next: ipv6::ICMPV6,
            hop_limit: 255,
            src: self.src,
            dst: self.dst,
        };
        header.write(&mut frame[at..]);
        let message = &mut frame[at + ipv6::LEN..];
        message[0] = kind;
        message[FLAGS] = flags;
        put128(message, TARGET, target.bits());
        if let Some((kind, mac)) = option {
            message[OPTIONS] = kind;
            message[OPTIONS + 1] = 1;
            message[OPTIONS + 2..].copy_from_slice(&mac);
        }
        seal(message, self.src, self.dst);
        frame
    }
}

/// Reads a frame; none where it is no solicitation or advertisement, or one that RFC 4861 section
/// 7.1 tells to discard.
pub fn parse_nd(frame: &[u8]) -> Option<Nd> {
    let (link, packet) = packet(frame)?;
    if packet[ipv6::NEXT] != ipv6::ICMPV6 || packet[ipv6::HOP_LIMIT] != 255 {
        return None;
    }
    let (src, dst) = (ipv6::src(packet), ipv6::dst(packet));
    let body = message(packet, ipv6::LEN)?;
    if body.len() < OPTIONS || body[1] != 0 || src.is_multicast() || src.is_loopback() {
        return None;
    }
    let target = Addr::v6(get128(body, TARGET));
    if target.is_multicast() || target.is_unspecified() || target.is_loopback() || target.is_v4() {
        return None;
    }
    let (source_mac, target_mac) = options(&body[OPTIONS..])?;
    let message = match body[0] {
        SOLICITATION => {
            // Section 7.1.1: without a source there is nobody to answer by unicast, so such a
            // message may not name a MAC, nor come by unicast.
            if src.is_unspecified() && (source_mac.is_some() || dst != solicited_node(target)) {
                return None;
            }
            Message::Solicitation { target, source_mac }
        }
        ADVERTISEMENT => {
            let has = |flag| body[FLAGS] & flag != 0;
            if src.is_unspecified() || (dst.is_multicast() && has(SOLICITED)) {
                return None;
            }
            Message::Advertisement {
                target,
                target_mac,
                router: has(ROUTER),
                solicited: has(SOLICITED),
                overrides: has(OVERRIDE),
            }
        }
        _ => return None,
    };
    Some(Nd { link, src, dst, message })
}

/// The solicited-node group of a v6 address (RFC 4291 section 2.7.1).
pub const fn solicited_node(addr: Addr) -> Addr {
    Addr::v6(0xff02 << 112 | 0x1_ff00_0000 | addr.bits() & 0xff_ffff)
}

/// The MAC that carries a v6 group (RFC 2464 section 7).
pub const fn group_mac(group: Addr) -> Mac {
    let b = (group.bits() as u32).to_be_bytes();
    [0x33, 0x33, b[0], b[1], b[2], b[3]]
}

/// The IPv6 packet of a frame, Ethernet padding cut off; at least a fixed header. None also where
/// an address is v4-mapped: those never appear on a wire and would be taken for IPv4 above it.
pub(super) fn packet(frame: &[u8]) -> Option<(Link, &[u8])> {
    let (link, ether_type, rest) = Link::parse(frame)?;
    if ether_type != ethernet::IPV6 || rest.len() < ipv6::LEN || rest[0] >> 4 != 6 {
        return None;
    }
    let packet = rest.get(..ipv6::LEN + get16(rest, ipv6::PAYLOAD) as usize)?;
    (!ipv6::src(packet).is_v4() && !ipv6::dst(packet).is_v4()).then_some((link, packet))
}

/// The ICMPv6 message that begins at `at` and ends with the packet, if its checksum is right.
pub(super) fn message(packet: &[u8], at: usize) -> Option<&[u8]> {
    let body = packet.get(at..).filter(|b| b.len() >= icmp::LEN)?;
    let (src, dst) = (ipv6::src(packet), ipv6::dst(packet));
    let pseudo = checksum::pseudo(src, dst, ipv6::ICMPV6, body.len());
    (checksum::fold(checksum::sum(body, pseudo)) == 0xffff).then_some(body)
}

/// Writes the checksum of a complete message (RFC 4443 section 2.3).
pub(super) fn seal(message: &mut [u8], src: Addr, dst: Addr) {
    put16(message, icmp::CHECKSUM, 0);
    let pseudo = checksum::pseudo(src, dst, ipv6::ICMPV6, message.len());
    let value = checksum::finish(checksum::sum(message, pseudo));
    put16(message, icmp::CHECKSUM, value);
}

/// The source and the target link-layer address among options; none where an option has length 0
/// (RFC 4861 section 4.6), runs over the end, or holds an address that is no MAC of one host.
fn options(mut rest: &[u8]) -> Option<(Option<Mac>, Option<Mac>)> {
    let (mut source, mut target) = (None, None);
    while !rest.is_empty() {
        let len = 8 * *rest.get(1)? as usize;
        let option = rest.get(..len).filter(|_| len > 0)?;
        if let SOURCE_LINK_LAYER | TARGET_LINK_LAYER = option[0] {
            let mac: Mac = option[2..].try_into().ok()?;
            if mac[0] & 1 == 1 || mac == [0; 6] {
                return None;
            }
            let place = if option[0] == SOURCE_LINK_LAYER { &mut source } else { &mut target };
            *place = Some(mac);
        }
        rest = &rest[len..];
    }
    Some((source, target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;
    use proptest::prelude::*;

    /// A Linux 6.18 kernel, captured on a veth with tcpdump: ping of 2001:db8:9::2.
    const KERNEL_NS: [u8; 86] = [
        0x33, 0x33, 0xff, 0x00, 0x00, 0x02, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x86, 0xdd, 0x60,
        0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x09, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x00, 0x00, 0x02, 0x87, 0x00, 0x1c, 0x0c, 0x00, 0x00,
        0x00, 0x00, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x02, 0x01, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a,
    ];
    /// Its peer's answer.
    const KERNEL_NA: [u8; 86] = [
        0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x86, 0xdd, 0x60,
        0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x09, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x09, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x88, 0x00, 0x8a, 0x4c, 0x60, 0x00,
        0x00, 0x00, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x02, 0x02, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0c,
    ];
    /// Its answer to the peer's unicast probe.
    const KERNEL_UNICAST_NA: [u8; 78] = [
        0x02, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x86, 0xdd, 0x60,
        0x00, 0x00, 0x00, 0x00, 0x18, 0x3a, 0xff, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x09, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xfe, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0xff, 0xfe, 0x00, 0x00, 0x0c, 0x88, 0x00, 0xde, 0x99, 0x40, 0x00,
        0x00, 0x00, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x01,
    ];
    /// Its check for duplicates of 2001:db8:9::1.
    const KERNEL_DAD: [u8; 86] = [
        0x33, 0x33, 0xff, 0x00, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x86, 0xdd, 0x60,
        0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x00, 0x00, 0x01, 0x87, 0x00, 0x69, 0xad, 0x00, 0x00,
        0x00, 0x00, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x01, 0x0e, 0x01, 0x6f, 0x61, 0x19, 0x06, 0x4c, 0xc6,
    ];
    /// Made by scapy 2.5.
    const SCAPY_UNSOLICITED_NA: [u8; 86] = [
        0x33, 0x33, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x86, 0xdd, 0x60,
        0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff, 0xfe, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0xff, 0xfe, 0x00, 0x00, 0x0a, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x88, 0x00, 0x28, 0x51, 0x20, 0x00,
        0x00, 0x00, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x01, 0x00, 0x02, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a,
    ];
    /// Made by scapy 2.5.
    const SCAPY_DAD: [u8; 78] = [
        0x33, 0x33, 0xff, 0x00, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x86, 0xdd, 0x60,
        0x00, 0x00, 0x00, 0x00, 0x18, 0x3a, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x00, 0x01, 0x00, 0x87, 0x00, 0x4a, 0xee, 0x00, 0x00,
        0x00, 0x00, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x01, 0x00,
    ];
    /// Made by scapy 2.5: VLAN 100.
    const SCAPY_TAGGED_NS: [u8; 90] = [
        0x33, 0x33, 0xff, 0x00, 0x00, 0x02, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x81, 0x00, 0x00,
        0x64, 0x86, 0xdd, 0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff, 0x20, 0x01, 0x0d, 0xb8,
        0x00, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x02, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x00, 0x00, 0x02, 0x87, 0x00,
        0x1c, 0x0c, 0x00, 0x00, 0x00, 0x00, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x09, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x01, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a,
    ];
    const A: Mac = [2, 0, 0, 0, 0, 0x0a];
    const C: Mac = [2, 0, 0, 0, 0, 0x0c];

    fn addr(s: &str) -> Addr {
        s.parse::<IpAddr>().unwrap().into()
    }

    fn solicitation() -> Nd {
        Nd {
            link: Link { dst: [0x33, 0x33, 0xff, 0, 0, 2], src: A, vlan: None },
            src: addr("2001:db8:9::1"),
            dst: addr("ff02::1:ff00:2"),
            message: Message::Solicitation { target: addr("2001:db8:9::2"), source_mac: Some(A) },
        }
    }

    fn both(nd: Nd, frame: &[u8]) {
        assert_eq!(parse_nd(frame), Some(nd));
        assert_eq!(nd.build(), frame);
    }

    /// Changes one byte and mends the checksum, so that only the change can be the reason.
    fn mended(frame: &[u8], at: usize, value: u8) -> Vec<u8> {
        let mut frame = frame.to_vec();
        frame[at] = value;
        let (src, dst) = (ipv6::src(&frame[14..]), ipv6::dst(&frame[14..]));
        seal(&mut frame[54..], src, dst);
        frame
    }

    #[test]
    fn the_kernels_solicitation_and_advertisement() {
        both(solicitation(), &KERNEL_NS);
        let advertisement = Nd {
            link: Link { dst: A, src: C, vlan: None },
            src: addr("2001:db8:9::2"),
            dst: addr("2001:db8:9::1"),
            message: Message::Advertisement {
                target: addr("2001:db8:9::2"),
                target_mac: Some(C),
                router: false,
                solicited: true,
                overrides: true,
            },
        };
        both(advertisement, &KERNEL_NA);
    }

    /// The kernel confirms by unicast without naming its MAC, and adds a nonce (RFC 7527) to its
    /// check for duplicates.
    #[test]
    fn the_kernels_unicast_confirmation_and_nonce() {
        let confirmation = Nd {
            link: Link { dst: C, src: A, vlan: None },
            src: addr("2001:db8:9::1"),
            dst: addr("fe80::ff:fe00:c"),
            message: Message::Advertisement {
                target: addr("2001:db8:9::1"),
                target_mac: None,
                router: false,
                solicited: true,
                overrides: false,
            },
        };
        both(confirmation, &KERNEL_UNICAST_NA);
        let check = parse_nd(&KERNEL_DAD).unwrap();
        assert_eq!(check.src, Addr::UNSPECIFIED);
        let target = addr("2001:db8:9::1");
        assert_eq!(check.message, Message::Solicitation { target, source_mac: None });
    }

    #[test]
    fn an_unsolicited_advertisement_a_check_and_a_tagged_solicitation() {
        let vip = addr("2001:db8:1::100");
        let unsolicited = Nd {
            link: Link { dst: [0x33, 0x33, 0, 0, 0, 1], src: A, vlan: None },
            src: addr("fe80::ff:fe00:a"),
            dst: ALL_NODES,
            message: Message::Advertisement {
                target: vip,
                target_mac: Some(A),
                router: false,
                solicited: false,
                overrides: true,
            },
        };
        both(unsolicited, &SCAPY_UNSOLICITED_NA);
        let check = Nd {
            link: Link { dst: group_mac(solicited_node(vip)), src: A, vlan: None },
            src: Addr::UNSPECIFIED,
            dst: solicited_node(vip),
            message: Message::Solicitation { target: vip, source_mac: None },
        };
        both(check, &SCAPY_DAD);
        let link = Link { vlan: Some(100), ..solicitation().link };
        both(Nd { link, ..solicitation() }, &SCAPY_TAGGED_NS);
    }

    #[test]
    fn hop_limit_other_than_255_is_refused() {
        for hop_limit in [0, 1, 64, 254] {
            assert_eq!(parse_nd(&mended(&KERNEL_NS, 21, hop_limit)), None);
        }
    }

    #[test]
    fn a_wrong_checksum_is_refused() {
        for at in 22..KERNEL_NS.len() {
            let mut frame = KERNEL_NS;
            frame[at] ^= 0x10;
            assert_eq!(parse_nd(&frame), None, "{at}");
        }
    }

    /// Code 1; another type; target ff.., option length 0, too long, of a multicast MAC; source
    /// ff..; IP version 4.
    #[test]
    fn what_section_7_1_discards_is_refused() {
        let wrong =
            [(55, 1), (54, 134), (62, 0xff), (79, 0), (79, 2), (80, 3), (22, 0xff), (14, 0x40)];
        for (at, value) in wrong {
            assert_eq!(parse_nd(&mended(&KERNEL_NS, at, value)), None, "{at}");
        }
        assert!(parse_nd(&mended(&KERNEL_NS, 77, 3)).is_some());
    }

    #[test]
    fn a_check_may_not_name_a_mac_nor_come_by_unicast() {
        let vip = addr("2001:db8:1::100");
        let check = parse_nd(&SCAPY_DAD).unwrap();
        let message = Message::Solicitation { target: vip, source_mac: Some(A) };
        assert_eq!(parse_nd(&Nd { message, ..check }.build()), None);
        assert_eq!(parse_nd(&Nd { dst: vip, ..check }.build()), None);
        assert_eq!(parse_nd(&check.build()), Some(check));
    }

    #[test]
    fn a_solicited_advertisement_to_a_group_is_refused() {
        let mut flags = SCAPY_UNSOLICITED_NA;
        flags[58] |= SOLICITED;
        assert_eq!(parse_nd(&mended(&flags, 58, flags[58])), None);
    }

    /// ::ffff:10.1.0.100 on the wire must not be taken for 10.1.0.100.
    #[test]
    fn v4_mapped_addresses_are_refused() {
        let mapped = Addr::v4(0x0a010064);
        let nd = solicitation();
        let message = Message::Solicitation { target: mapped, source_mac: Some(A) };
        assert_eq!(parse_nd(&mapped_build(Nd { message, ..nd })), None);
        assert_eq!(parse_nd(&mapped_build(Nd { src: mapped, ..nd })), None);
        assert_eq!(parse_nd(&mapped_build(Nd { dst: mapped, ..nd })), None);
    }

    /// `pseudo` sums a mapped address as the IPv4 one it is above the wire, so the checksum that
    /// a stranger would send is summed here from the bytes.
    fn mapped_build(nd: Nd) -> Vec<u8> {
        let mut frame = nd.build();
        put16(&mut frame[54..], icmp::CHECKSUM, 0);
        let len = frame.len() - 54;
        let pseudo = checksum::sum(&frame[22..54], len as u32 + ipv6::ICMPV6 as u32);
        let value = checksum::finish(checksum::sum(&frame[54..], pseudo));
        put16(&mut frame[54..], icmp::CHECKSUM, value);
        frame
    }

    #[test]
    fn groups_and_their_macs() {
        assert_eq!(solicited_node(addr("2001:db8::12:3456")), addr("ff02::1:ff12:3456"));
        assert_eq!(group_mac(addr("ff02::1:ff12:3456")), [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        assert_eq!(group_mac(ALL_NODES), [0x33, 0x33, 0, 0, 0, 1]);
    }

    #[test]
    fn every_cut_is_refused_and_padding_ignored() {
        for frame in [&KERNEL_NS[..], &SCAPY_TAGGED_NS] {
            for len in 0..frame.len() {
                assert_eq!(parse_nd(&frame[..len]), None, "{len}");
            }
        }
        let mut padded = SCAPY_DAD.to_vec();
        padded.extend([0xa5; 9]);
        assert_eq!(parse_nd(&padded), parse_nd(&SCAPY_DAD));
    }

    proptest! {
        #[test]
        fn strange_messages_do_not_panic(
            body in proptest::collection::vec(any::<u8>(), 0..80),
            kind in SOLICITATION..=ADVERTISEMENT,
        ) {
            let mut frame = KERNEL_NS[..54].to_vec();
            put16(&mut frame, 18, body.len() as u16);
            frame.extend(body);
            if frame.len() > 58 {
                let (src, dst) = (ipv6::src(&frame[14..]), ipv6::dst(&frame[14..]));
                (frame[54], frame[55]) = (kind, 0);
                seal(&mut frame[54..], src, dst);
            }
            if let Some(nd) = parse_nd(&frame) {
                prop_assert!(frame.len() >= 78);
                prop_assert_eq!(parse_nd(&nd.build()), Some(nd));
            }
        }
    }
}
