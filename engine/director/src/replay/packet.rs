//! A captured frame as replay reads it: more forgiving than `parse`, which judges.
//!
//! Wrong checksums, a total length of 0 (large sends hide theirs from captures) and lengths beyond
//! the frame are no reason to stop here: the director is to see them and name them.

use super::skip::Skip;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::wire::ethernet;
use pointsman_dataplane::wire::get16;
use pointsman_dataplane::wire::get32;
use pointsman_dataplane::wire::ipv4;
use pointsman_dataplane::wire::ipv6;
use pointsman_dataplane::wire::tcp;
use pointsman_dataplane::wire::udp;

/// The service tag of 802.1ad, and what was used for it before.
const SERVICE_TAGS: [u16; 2] = [0x88a8, 0x9100];
/// Below it the field is a length (IEEE 802.3).
const FIRST_ETHER_TYPE: u16 = 0x0600;

/// An end of a conversation.
pub(super) type End = (Addr, u16);

/// Whether a packet is a fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    Whole,
    /// The first one, of a datagram with this identification.
    First(u32),
    Later(u32),
}

/// Where the parts of a TCP or UDP packet lie; places count from the IP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Packet {
    pub(super) proto: Proto,
    /// Ports are 0 in later fragments.
    pub(super) src: End,
    pub(super) dst: End,
    pub(super) l4: usize,
    /// Where the IP packet ends; what is behind is padding of the link.
    pub(super) end: usize,
    pub(super) piece: Piece,
    /// TCP control bits; 0 for UDP.
    pub(super) flags: u8,
}

/// The EtherType behind all VLAN tags, and where what follows it begins.
pub(super) fn untagged(frame: &[u8]) -> Option<(u16, usize)> {
    let mut at = ethernet::LEN;
    loop {
        let ether_type = get16(frame.get(..at)?, at - 2);
        if ether_type != ethernet::VLAN && !SERVICE_TAGS.contains(&ether_type) {
            return Some((ether_type, at));
        }
        at += ethernet::TAG;
    }
}

/// Finds the IP packet of a frame: where it begins.
pub(super) fn ip_of(frame: &[u8]) -> Result<usize, Skip> {
    let (ether_type, at) = untagged(frame).ok_or(Skip::Runt)?;
    match ether_type {
        ethernet::IPV4 | ethernet::IPV6 => Ok(at),
        ethernet::ARP => Err(Skip::Arp),
        0..FIRST_ETHER_TYPE => Err(Skip::Llc),
        _ => Err(Skip::NotIp),
    }
}

/// Reads an IP packet of TCP or UDP.
pub(super) fn read(ip: &[u8]) -> Result<Packet, Skip> {
    match ip.first().map(|b| b >> 4) {
        Some(4) if ip.len() >= ipv4::LEN => read_v4(ip),
        Some(6) if ip.len() >= ipv6::LEN => read_v6(ip),
        _ => Err(Skip::Malformed),
    }
}

fn read_v4(ip: &[u8]) -> Result<Packet, Skip> {
    let (l4, total) = (ipv4::header_len(ip), get16(ip, ipv4::TOTAL) as usize);
    let end = if total == 0 { ip.len() } else { total.min(ip.len()) };
    if l4 < ipv4::LEN || end < l4 {
        return Err(Skip::Malformed);
    }
    let (fragment, id) = (get16(ip, ipv4::FRAGMENT), u32::from(get16(ip, ipv4::ID)));
    let piece = match (fragment & ipv4::OFFSET, fragment & ipv4::MF) {
        (0, 0) => Piece::Whole,
        (0, _) => Piece::First(id),
        _ => Piece::Later(id),
    };
    transport(ip, (l4, end), ip[ipv4::PROTOCOL], (ipv4::src(ip), ipv4::dst(ip)), piece)
}

fn read_v6(ip: &[u8]) -> Result<Packet, Skip> {
    let payload = get16(ip, ipv6::PAYLOAD) as usize;
    let end = if payload == 0 { ip.len() } else { (ipv6::LEN + payload).min(ip.len()) };
    let (mut next, mut at, mut piece) = (ip[ipv6::NEXT], ipv6::LEN, Piece::Whole);
    while matches!(next, ipv6::HOP_BY_HOP | ipv6::DESTINATION | ipv6::ROUTING | ipv6::FRAGMENT) {
        if at + 8 > end {
            return Err(Skip::Malformed);
        }
        let len = if next == ipv6::FRAGMENT { 8 } else { 8 + ip[at + 1] as usize * 8 };
        if next == ipv6::FRAGMENT {
            let (field, id) = (get16(ip, at + 2), get32(ip, at + 4));
            piece = match (field & ipv6::OFFSET, field & ipv6::MORE) {
                // First and last at once: no fragment (RFC 6946).
                (0, 0) => piece,
                (0, _) => Piece::First(id),
                _ => Piece::Later(id),
            };
        }
        next = ip[at];
        at += len;
        if matches!(piece, Piece::Later(_)) {
            break;
        }
    }
    if at > end {
        return Err(Skip::Malformed);
    }
    transport(ip, (at, end), next, (ipv6::src(ip), ipv6::dst(ip)), piece)
}

fn transport(
    ip: &[u8],
    (l4, end): (usize, usize),
    number: u8,
    (src, dst): (Addr, Addr),
    piece: Piece,
) -> Result<Packet, Skip> {
    let proto = match number {
        6 => Proto::Tcp,
        17 => Proto::Udp,
        ipv4::ICMP | ipv6::ICMPV6 => return Err(Skip::Icmp),
        _ => return Err(Skip::Protocol),
    };
    // An address of the other family in v4-mapped form is none that a packet may bear.
    if ip[0] >> 4 == 6 && (src.is_v4() || dst.is_v4()) {
        return Err(Skip::Malformed);
    }
    let segment = &ip[l4..end];
    let (mut ports, mut flags) = ((0, 0), 0);
    if !matches!(piece, Piece::Later(_)) {
        let least = if proto == Proto::Tcp { tcp::LEN } else { udp::LEN };
        if segment.len() < least {
            return Err(Skip::Malformed);
        }
        ports = (get16(segment, 0), get16(segment, 2));
        if proto == Proto::Tcp {
            let header = tcp::header_len(segment);
            if header < tcp::LEN || header > segment.len() {
                return Err(Skip::Malformed);
            }
            flags = segment[tcp::FLAGS];
        }
    }
    Ok(Packet { proto, src: (src, ports.0), dst: (dst, ports.1), l4, end, piece, flags })
}

/// Whether an IP packet's header tells of more bytes than there are: cut off without a word. No
/// director may forward it.
pub(super) fn is_truncated(ip: &[u8]) -> bool {
    match ip.first().map(|b| b >> 4) {
        Some(4) => ip.len() >= ipv4::LEN && get16(ip, ipv4::TOTAL) as usize > ip.len(),
        _ => ip.len() >= ipv6::LEN && get16(ip, ipv6::PAYLOAD) as usize > ip.len() - ipv6::LEN,
    }
}

impl Packet {
    pub(super) fn is_v4(&self) -> bool {
        self.src.0.is_v4()
    }

    /// Whether it asks for a new conn.
    pub(super) fn is_syn(&self) -> bool {
        self.flags & (tcp::SYN | tcp::ACK_BIT | tcp::RST) == tcp::SYN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn vlan_and_qinq_tags_are_walked() {
        let mut frame = vec![0; 12];
        for tag in [0x88a8_u16, 7, 0x8100, 9, 0x0800] {
            frame.extend_from_slice(&tag.to_be_bytes());
        }
        assert_eq!(untagged(&frame), Some((0x0800, 22)));
        assert_eq!(untagged(&frame[..21]), None);
    }

    #[test]
    fn length_fields_and_other_ether_types_have_names() {
        let of = |ether_type: u16| {
            let mut frame = vec![0; 60];
            frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
            ip_of(&frame)
        };
        assert_eq!(of(38), Err(Skip::Llc));
        assert_eq!(of(0x0806), Err(Skip::Arp));
        assert_eq!(of(0x8847), Err(Skip::NotIp));
        assert_eq!(of(0x0800), Ok(14));
        assert_eq!(ip_of(&[0; 13]), Err(Skip::Runt));
    }

    proptest! {
        #[test]
        fn anything_may_come(mut ip in proptest::collection::vec(any::<u8>(), 0..96), v6 in any::<bool>()) {
            if let Some(first) = ip.first_mut() {
                *first = if v6 { 0x60 } else { 0x45 };
            }
            if let Ok(p) = read(&ip) {
                prop_assert!(p.l4 <= p.end && p.end <= ip.len());
            }
        }
    }
}
