//! The plain lane of `parse`: one look at each field, one bound for both headers.

use super::Kind;
use super::Parsed;
use crate::snapshot::PortInfo;
use crate::tuple::Family;
use crate::tuple::Proto;
use crate::tuple::Tuple;
use crate::wire::checksum;
use crate::wire::ethernet;
use crate::wire::get16;
use crate::wire::get32;
use crate::wire::head;
use crate::wire::ipv4;
use crate::wire::tcp;
use crate::wire::udp;

/// What nearly all frames are: a whole IPv4 packet without options that carries TCP or UDP, with
/// nothing wrong. Of any other it says none, and `parse_any` says what it is; where it says some,
/// `parse_any` says the same.
#[inline(always)]
pub(super) fn parse(frame: &[u8], port: &PortInfo, parsed: &mut Parsed) -> Option<()> {
    let l3 = port.l2_len();
    let (link, packet) = frame.split_at_checked(l3)?;
    let h: &[u8; ipv4::LEN + tcp::LEN] = packet.first_chunk()?;
    if !ethernet::is_for(link, port.mac) || frame.len() > u16::MAX as usize {
        return None;
    }
    let ether_type = match port.vlan {
        None => ethernet::ether_type(link),
        Some(vlan)
            if ethernet::ether_type(link) == ethernet::VLAN && ethernet::vlan(link) == vlan =>
        {
            get16(link, ethernet::LEN + 2)
        }
        Some(_) => return None,
    };
    let total = get16(h, ipv4::TOTAL) as usize;
    let is_part = get16(h, ipv4::FRAGMENT) & (ipv4::MF | ipv4::OFFSET) != 0;
    if ether_type != ethernet::IPV4
        || h[0] != 0x45
        || is_part
        || total > packet.len()
        || !checksum::is_right(head(h))
    {
        return None;
    }
    let (src, dst) = (ipv4::src(h), ipv4::dst(h));
    if src.is_martian_source() || dst.v4_bits() >> 29 == 7 {
        return None;
    }
    let (proto, flags) = match h[ipv4::PROTOCOL] {
        6 => {
            let segment = total.checked_sub(ipv4::LEN)?;
            let header_len = tcp::header_len(&h[ipv4::LEN..]);
            if header_len < tcp::LEN || header_len > segment {
                return None;
            }
            (Proto::Tcp, h[ipv4::LEN + tcp::FLAGS])
        }
        17 => {
            let datagram = total.checked_sub(ipv4::LEN)?;
            let len = get16(h, ipv4::LEN + udp::LENGTH) as usize;
            if len < udp::LEN || len > datagram {
                return None;
            }
            (Proto::Udp, 0)
        }
        _ => return None,
    };
    let ports = get32(h, ipv4::LEN);
    let (sport, dport) = ((ports >> 16) as u16, ports as u16);
    if sport == 0 || dport == 0 {
        return None;
    }
    let tuple = Tuple { src, dst, sport, dport, proto };
    let (l4, end) = (l3 + ipv4::LEN, l3 + total);
    let (l3, l4, end, family) = (l3 as u16, l4 as u16, end as u16, Family::V4);
    *parsed = Parsed { kind: Kind::Flow, l3, l4, end, ttl: h[ipv4::TTL], flags, family, tuple };
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::Addr;
    use crate::wire::put16;
    use proptest::prelude::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn port(vlan: Option<u16>) -> PortInfo {
        let (name, addrs) = (String::new(), Vec::new());
        PortInfo { name, mac: MAC, mtu: 1500, vlan, addrs, fixed_queue: true }
    }

    /// A frame of TCP or UDP with `payload` and all sums of its headers right.
    fn frame(vlan: Option<u16>, udp: bool, payload: &[u8]) -> Vec<u8> {
        let mut f = vec![0; 12];
        f[..6].copy_from_slice(&MAC);
        if let Some(vlan) = vlan {
            f.extend([0x81, 0x00]);
            f.extend(vlan.to_be_bytes());
        }
        f.extend([0x08, 0x00]);
        let l3 = f.len();
        let segment = if udp {
            let mut s = vec![0x12, 0x34, 0, 53, 0, 0, 0, 0];
            s.extend(payload);
            let len = s.len() as u16;
            put16(&mut s, udp::LENGTH, len);
            s
        } else {
            let mut s = vec![0; tcp::LEN];
            s[..4].copy_from_slice(&[0x12, 0x34, 0, 80]);
            (s[tcp::OFFSET], s[tcp::FLAGS]) = (0x50, tcp::ACK_BIT);
            s.extend(payload);
            s
        };
        f.resize(l3 + ipv4::LEN, 0);
        let (src, dst) = (Addr::v4(0x0a00_0001), Addr::v4(0x0a00_0002));
        let total = (ipv4::LEN + segment.len()) as u16;
        let protocol = if udp { 17 } else { 6 };
        ipv4::Header { tos: 0, total, id: 7, fragment: ipv4::DF, ttl: 64, protocol, src, dst }
            .write(&mut f[l3..]);
        f.extend(segment);
        f
    }

    fn plainly(frame: &[u8], port: &PortInfo) -> Option<Parsed> {
        let mut parsed = Parsed::NONE;
        parse(frame, port, &mut parsed).map(|()| parsed)
    }

    #[test]
    fn takes_what_nearly_all_frames_are() {
        for vlan in [None, Some(5)] {
            for udp in [false, true] {
                // What a NIC gives is padded to 60 bytes.
                let f = frame(vlan, udp, &[0; 18]);
                assert!(plainly(&f, &port(vlan)).is_some(), "{vlan:?} {udp}");
                assert!(plainly(&f, &port(Some(6))).is_none());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

        #[test]
        fn says_what_the_other_lane_says(
            tagged in any::<bool>(),
            udp in any::<bool>(),
            payload in proptest::collection::vec(any::<u8>(), 0..40),
            damage in proptest::collection::vec(
                (0usize..60, prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 1usize..3),
                0..3,
            ),
            mends in any::<bool>(),
            cut in 0usize..70,
        ) {
            let vlan = tagged.then_some(5);
            let mut f = frame(vlan, udp, &payload);
            let l3 = port(vlan).l2_len();
            for (at, with, len) in damage {
                let at = at % f.len();
                let end = f.len().min(at + len);
                f[at..end].fill(with);
            }
            if mends && f[l3] & 15 == 5 {
                ipv4::set_checksum(&mut f[l3..], ipv4::LEN);
            }
            f.truncate(f.len().saturating_sub(cut.saturating_sub(60)));
            let port = port(vlan);
            if let Some(parsed) = plainly(&f, &port) {
                prop_assert_eq!(parsed, super::super::parse_any(&f, &port));
            }
        }
    }
}
