//! ARP for IPv4 over Ethernet (RFC 826), its probes and announcements (RFC 5227).
//!
//! `arp`, `nd` and `mld` serve the control thread: they take whole frames from strangers, so
//! unlike their neighbours here they check every length themselves, and what they build they
//! allocate. `Link` is the Ethernet header of all three.

use super::ethernet;
use super::get16;
use super::get32;
use super::put16;
use super::put32;
use crate::neigh::Mac;
use crate::tuple::Addr;

/// Length of an ARP packet for IPv4 over Ethernet.
pub const LEN: usize = 28;

const HTYPE_ETHERNET: u16 = 1;
const HTYPE: usize = 0;
const PTYPE: usize = 2;
const HLEN: usize = 4;
const PLEN: usize = 5;
const OPER: usize = 6;
const SHA: usize = 8;
const SPA: usize = 14;
const THA: usize = 18;
const TPA: usize = 24;

/// From whom to whom on the link, with at most one 802.1Q tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Ethernet destination.
    pub dst: Mac,
    /// Ethernet source.
    pub src: Mac,
    /// VLAN number of a tagged frame.
    pub vlan: Option<u16>,
}

impl Link {
    /// The header, the EtherType behind it and what follows; none where the frame is too short.
    pub fn parse(frame: &[u8]) -> Option<(Self, u16, &[u8])> {
        if frame.len() < ethernet::LEN {
            return None;
        }
        let mut link = Self { dst: mac(frame, 0), src: mac(frame, 6), vlan: None };
        let ether_type = ethernet::ether_type(frame);
        if ether_type != ethernet::VLAN {
            return Some((link, ether_type, &frame[ethernet::LEN..]));
        }
        let rest = frame.get(ethernet::LEN + ethernet::TAG..)?;
        link.vlan = Some(ethernet::vlan(frame));
        Some((link, get16(frame, 16), rest))
    }

    /// A frame with this header and `len` zero bytes behind it, and where these begin.
    pub fn frame(&self, ether_type: u16, len: usize) -> (Vec<u8>, usize) {
        let at = ethernet::LEN + if self.vlan.is_some() { ethernet::TAG } else { 0 };
        let mut bytes = vec![0; at + len];
        ethernet::write(&mut bytes, self.dst, self.src, self.vlan, ether_type);
        (bytes, at)
    }
}

/// What an ARP packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Asks for the target's MAC.
    Request = 1,
    /// Gives the sender's MAC.
    Reply = 2,
}

/// An ARP packet and the Ethernet header it came with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// The frame's header.
    pub link: Link,
    /// Request or reply.
    pub op: Op,
    /// Sender hardware address.
    pub sender_mac: Mac,
    /// Sender protocol address; 0.0.0.0 in a probe (RFC 5227 section 2.1.1).
    pub sender: Addr,
    /// Target hardware address; zero in a request.
    pub target_mac: Mac,
    /// Target protocol address.
    pub target: Addr,
}

impl Arp {
    /// The frame.
    pub fn build(&self) -> Vec<u8> {
        let (mut frame, at) = self.link.frame(ethernet::ARP, LEN);
        let p = &mut frame[at..];
        put16(p, HTYPE, HTYPE_ETHERNET);
        put16(p, PTYPE, ethernet::IPV4);
        p[HLEN] = 6;
        p[PLEN] = 4;
        put16(p, OPER, self.op as u16);
        p[SHA..SHA + 6].copy_from_slice(&self.sender_mac);
        put32(p, SPA, self.sender.v4_bits());
        p[THA..THA + 6].copy_from_slice(&self.target_mac);
        put32(p, TPA, self.target.v4_bits());
        frame
    }
}

/// Reads a frame; none where it is no well-formed ARP request or reply for IPv4 over Ethernet.
pub fn parse_arp(frame: &[u8]) -> Option<Arp> {
    let (link, ether_type, p) = Link::parse(frame)?;
    if ether_type != ethernet::ARP || p.len() < LEN {
        return None;
    }
    let kinds = (get16(p, HTYPE), get16(p, PTYPE), p[HLEN], p[PLEN]);
    if kinds != (HTYPE_ETHERNET, ethernet::IPV4, 6, 4) {
        return None;
    }
    let op = match get16(p, OPER) {
        1 => Op::Request,
        2 => Op::Reply,
        _ => return None,
    };
    Some(Arp {
        link,
        op,
        sender_mac: mac(p, SHA),
        sender: Addr::v4(get32(p, SPA)),
        target_mac: mac(p, THA),
        target: Addr::v4(get32(p, TPA)),
    })
}

/// Six bytes at `at`.
fn mac(b: &[u8], at: usize) -> Mac {
    [b[at], b[at + 1], b[at + 2], b[at + 3], b[at + 4], b[at + 5]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A Linux 6.18 kernel, captured on a veth with tcpdump: ping of 10.9.0.2.
    const KERNEL_REQUEST: [u8; 42] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x08, 0x06, 0x00,
        0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x0a, 0x09,
        0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x09, 0x00, 0x02,
    ];
    /// Its peer's answer.
    const KERNEL_REPLY: [u8; 42] = [
        0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x08, 0x06, 0x00,
        0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x02, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0a, 0x09,
        0x00, 0x02, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x0a, 0x09, 0x00, 0x01,
    ];
    /// Made by scapy 2.5.
    const SCAPY_ANNOUNCEMENT: [u8; 42] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x08, 0x06, 0x00,
        0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x0a, 0x01,
        0x00, 0x64, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x01, 0x00, 0x64,
    ];
    /// Made by scapy 2.5: VLAN 100.
    const SCAPY_TAGGED_PROBE: [u8; 46] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x81, 0x00, 0x00,
        0x64, 0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00,
        0x00, 0x0a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x01, 0x00,
        0x64,
    ];
    const A: Mac = [2, 0, 0, 0, 0, 0x0a];
    const C: Mac = [2, 0, 0, 0, 0, 0x0c];

    fn request() -> Arp {
        Arp {
            link: Link { dst: ethernet::BROADCAST, src: A, vlan: None },
            op: Op::Request,
            sender_mac: A,
            sender: Addr::v4(0x0a090001),
            target_mac: [0; 6],
            target: Addr::v4(0x0a090002),
        }
    }

    #[test]
    fn the_kernels_request_and_reply() {
        assert_eq!(parse_arp(&KERNEL_REQUEST), Some(request()));
        assert_eq!(request().build(), KERNEL_REQUEST);
        let reply = Arp {
            link: Link { dst: A, src: C, vlan: None },
            op: Op::Reply,
            sender_mac: C,
            sender: Addr::v4(0x0a090002),
            target_mac: A,
            target: Addr::v4(0x0a090001),
        };
        assert_eq!(parse_arp(&KERNEL_REPLY), Some(reply));
        assert_eq!(reply.build(), KERNEL_REPLY);
    }

    #[test]
    fn an_announcement_and_a_tagged_probe() {
        let vip = Addr::v4(0x0a010064);
        let announcement = Arp { sender: vip, target: vip, ..request() };
        assert_eq!(parse_arp(&SCAPY_ANNOUNCEMENT), Some(announcement));
        assert_eq!(announcement.build(), SCAPY_ANNOUNCEMENT);
        let link = Link { vlan: Some(100), ..request().link };
        let probe = Arp { link, sender: Addr::v4(0), target: vip, ..request() };
        assert_eq!(parse_arp(&SCAPY_TAGGED_PROBE), Some(probe));
        assert_eq!(probe.build(), SCAPY_TAGGED_PROBE);
    }

    #[test]
    fn ethernet_padding_is_ignored() {
        let mut padded = KERNEL_REQUEST.to_vec();
        padded.resize(60, 0xa5);
        assert_eq!(parse_arp(&padded), Some(request()));
    }

    #[test]
    fn every_cut_is_refused() {
        for frame in [&KERNEL_REQUEST[..], &SCAPY_TAGGED_PROBE] {
            for len in 0..frame.len() {
                assert_eq!(parse_arp(&frame[..len]), None, "{len}");
            }
        }
    }

    /// Hardware type, protocol type, both lengths, operations 0 and 3, another EtherType, two tags.
    #[test]
    fn other_kinds_are_refused() {
        for (at, value) in [(13, 0), (15, 6), (16, 0x86), (18, 8), (19, 16), (21, 0), (21, 3)] {
            let mut frame = KERNEL_REQUEST;
            frame[at] = value;
            assert_eq!(parse_arp(&frame), None, "{at}");
        }
        let mut twice = SCAPY_TAGGED_PROBE.to_vec();
        twice.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
        assert_eq!(parse_arp(&twice), None);
    }

    proptest! {
        #[test]
        fn what_is_built_is_read_back(
            (dst, src, vlan) in any::<(Mac, Mac, Option<u16>)>(),
            (sender_mac, target_mac, reply) in any::<(Mac, Mac, bool)>(),
            (sender, target) in any::<(u32, u32)>(),
        ) {
            let arp = Arp {
                link: Link { dst, src, vlan: vlan.map(|v| v & 0xfff) },
                op: if reply { Op::Reply } else { Op::Request },
                sender_mac,
                sender: Addr::v4(sender),
                target_mac,
                target: Addr::v4(target),
            };
            prop_assert_eq!(parse_arp(&arp.build()), Some(arp));
        }
    }
}
