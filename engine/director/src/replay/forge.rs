//! Captured packets made into those of another conversation: ends, numbers, family. Checksums
//! follow by the difference (RFC 1624), so that a good one stays good and a bad one bad.

use super::packet::End;
use super::packet::Packet;
use super::packet::Piece;
use super::policy::checksum_at;
use super::policy::is_absent;
use super::policy::set_checksum;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::wire::checksum;
use pointsman_dataplane::wire::checksum::Delta;
use pointsman_dataplane::wire::get16;
use pointsman_dataplane::wire::get32;
use pointsman_dataplane::wire::ipv4;
use pointsman_dataplane::wire::ipv6;
use pointsman_dataplane::wire::options;
use pointsman_dataplane::wire::put16;
use pointsman_dataplane::wire::put32;
use pointsman_dataplane::wire::put128;
use pointsman_dataplane::wire::tcp;

/// TTL of packets whose own is used up: they come from elsewhere now.
const TTL: u8 = 64;

/// Gives a packet new ends of its own family; a later fragment only their addresses.
pub(super) fn set_ends(ip: &mut [u8], p: &mut Packet, src: End, dst: End) {
    let addrs = |a: End, b: End| checksum::addr_sum(a.0) + checksum::addr_sum(b.0);
    let (before, after) = (addrs(p.src, p.dst), addrs(src, dst));
    if p.is_v4() {
        put32(ip, ipv4::SRC, src.0.v4_bits());
        put32(ip, ipv4::DST, dst.0.v4_bits());
        let c = Delta::between(before, after).apply(get16(ip, ipv4::CHECKSUM));
        put16(ip, ipv4::CHECKSUM, c);
    } else {
        put128(ip, ipv6::SRC, src.0.bits());
        put128(ip, ipv6::DST, dst.0.bits());
    }
    if matches!(p.piece, Piece::Later(_)) {
        (p.src.0, p.dst.0) = (src.0, dst.0);
        return;
    }
    let ports = |a: End, b: End| u32::from(a.1) + u32::from(b.1);
    put16(ip, p.l4, src.1);
    put16(ip, p.l4 + 2, dst.1);
    let delta = Delta::between(before + ports(p.src, p.dst), after + ports(src, dst));
    change(ip, p, delta);
    (p.src, p.dst) = (src, dst);
}

/// Makes a whole packet one of the other family: its transport, behind a plain header.
pub(super) fn cross(ip: &[u8], p: &Packet, src: End, dst: End) -> (Vec<u8>, Packet) {
    let segment = &ip[p.l4..p.end];
    let to_v4 = src.0.is_v4();
    let l4 = if to_v4 { ipv4::LEN } else { ipv6::LEN };
    let ttl = ip[if p.is_v4() { ipv4::TTL } else { ipv6::HOP_LIMIT }];
    let mut out = vec![0; l4 + segment.len()];
    if to_v4 {
        let (total, protocol) = (out.len() as u16, p.proto as u8);
        let (fragment, ends) = (ipv4::DF, ipv4::Ends::of(src.0, dst.0));
        ipv4::Header { tos: 0, total, id: 0, fragment, ttl, protocol, ends }.write(&mut out);
    } else {
        let (payload, next) = (segment.len() as u16, p.proto as u8);
        let (src, dst) = (src.0, dst.0);
        ipv6::Header { traffic_class: 0, payload, next, hop_limit: ttl, src, dst }.write(&mut out);
    }
    out[l4..].copy_from_slice(segment);
    put16(&mut out, l4, src.1);
    put16(&mut out, l4 + 2, dst.1);
    let sum = |a: End, b: End| {
        checksum::addr_sum(a.0) + checksum::addr_sum(b.0) + u32::from(a.1) + u32::from(b.1)
    };
    let crossed = Packet { src, dst, l4, end: out.len(), ..*p };
    change(&mut out, &crossed, Delta::between(sum(p.src, p.dst), sum(src, dst)));
    (out, crossed)
}

/// Adds `seq` to what a dest's segment acknowledges, SACK blocks too, and `ts` to the timestamp it
/// echoes: into the numbers that the dest saw.
pub(super) fn acknowledge(ip: &mut [u8], p: &Packet, seq: u32, ts: u32) {
    if p.proto != Proto::Tcp || matches!(p.piece, Piece::Later(_)) {
        return;
    }
    if p.flags & tcp::ACK_BIT != 0 {
        add(ip, p, tcp::ACK, seq);
    }
    let segment = &ip[p.l4..p.end];
    // 0 where there is nothing to echo yet (RFC 7323 section 3.2).
    let echo = options::timestamps(segment).filter(|at| get32(segment, at + 4) != 0);
    let sack = options::walk(segment).find(|(kind, ..)| *kind == options::SACK);
    if let Some(at) = echo {
        add(ip, p, at + 4, ts);
    }
    if let Some((_, at, len)) = sack {
        (0..(len - 2) / 4).for_each(|edge| add(ip, p, at + 2 + edge * 4, seq));
    }
}

/// Adds to a client's sequence number and timestamp, as full-NAT does.
pub(super) fn advance(ip: &mut [u8], p: &Packet, seq: u32, ts: u32) {
    add(ip, p, tcp::SEQ, seq);
    if let Some(at) = options::timestamps(&ip[p.l4..p.end]) {
        add(ip, p, at, ts);
    }
}

/// Makes a packet that has no hop left one that has; says whether it was.
pub(super) fn raise_ttl(ip: &mut [u8], p: &Packet) -> bool {
    if p.is_v4() {
        let low = ip[ipv4::TTL] <= 1;
        if low {
            let value = u16::from_be_bytes([TTL, ip[ipv4::PROTOCOL]]);
            ipv4::set_word(ip, ipv4::TTL, value);
        }
        return low;
    }
    let low = ip[ipv6::HOP_LIMIT] <= 1;
    if low {
        ip[ipv6::HOP_LIMIT] = TTL;
    }
    low
}

/// Makes a wrong IPv4 header checksum right; says whether it was wrong. The capturing host left it
/// to its NIC, or somebody rewrote the capture's addresses: no router would have brought it.
pub(super) fn mend_header(ip: &mut [u8], p: &Packet) -> bool {
    let len = if p.is_v4() { ipv4::header_len(ip) } else { return false };
    let wrong = checksum::fold(checksum::sum(&ip[..len], 0)) != 0xffff;
    if wrong {
        ipv4::set_checksum(ip, len);
    }
    wrong
}

/// Finishes a packet made of `p`'s IP header and a segment of `len` bytes: lengths, checksums,
/// and, where it goes `back`, its ends exchanged. Extension headers and options must be gone or
/// right.
pub(super) fn plain_header(ip: &mut [u8], p: &Packet, len: usize, back: bool) {
    let l4 = ip.len() - len;
    let (src, dst) = if back { (p.dst, p.src) } else { (p.src, p.dst) };
    if p.is_v4() {
        put16(ip, ipv4::TOTAL, ip.len() as u16);
        put16(ip, ipv4::FRAGMENT, ipv4::DF);
        put32(ip, ipv4::SRC, src.0.v4_bits());
        put32(ip, ipv4::DST, dst.0.v4_bits());
        ipv4::set_checksum(ip, l4);
    } else {
        put16(ip, ipv6::PAYLOAD, len as u16);
        ip[ipv6::NEXT] = p.proto as u8;
        put128(ip, ipv6::SRC, src.0.bits());
        put128(ip, ipv6::DST, dst.0.bits());
    }
    put16(ip, l4, src.1);
    put16(ip, l4 + 2, dst.1);
    let end = ip.len();
    set_checksum(ip, &Packet { src, dst, l4, end, piece: Piece::Whole, ..*p });
}

/// Adds to the number at a place of the transport header, odd or even.
fn add(ip: &mut [u8], p: &Packet, at: usize, by: u32) {
    let segment = &mut ip[p.l4..];
    let words = at & !1..((at + 5) & !1).min(segment.len());
    let before = checksum::sum(&segment[words.clone()], 0);
    let new = get32(segment, at).wrapping_add(by);
    put32(segment, at, new);
    let after = checksum::sum(&segment[words], 0);
    change(ip, p, Delta::between(before, after));
}

fn change(ip: &mut [u8], p: &Packet, delta: Delta) {
    if is_absent(ip, p) {
        return;
    }
    let at = checksum_at(p);
    if at + 2 > p.end {
        return;
    }
    let new = delta.apply(get16(ip, at));
    // 0 would say that there is none (RFC 768).
    put16(ip, at, if new == 0 && p.proto == Proto::Udp { 0xffff } else { new });
}

#[cfg(test)]
mod tests {
    use super::super::packet::read;
    use super::super::policy::is_right;
    use super::*;
    use etherparse::PacketBuilder;
    use etherparse::TcpOptionElement;
    use pointsman_dataplane::tuple::Addr;
    use proptest::prelude::*;

    fn tcp_v4(payload: &[u8]) -> Vec<u8> {
        let options = [
            TcpOptionElement::Timestamp(100, 200),
            TcpOptionElement::SelectiveAcknowledgement((50, 60), [None; 3]),
        ];
        let mut out = Vec::new();
        let b = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 1).tcp(1000, 80, 7, 5).ack(9);
        b.options(&options).unwrap().write(&mut out, payload).unwrap();
        out
    }

    proptest! {
        #[test]
        fn good_checksums_stay_good_and_bad_ones_bad(
            payload in proptest::collection::vec(any::<u8>(), 0..40),
            addr in any::<u32>(), ports in any::<[u16; 2]>(), by in any::<[u32; 2]>(), bad in any::<bool>(),
        ) {
            let mut ip = tcp_v4(&payload);
            let mut p = read(&ip).unwrap();
            if bad {
                ip[p.l4 + tcp::CHECKSUM] ^= 0x10;
            }
            set_ends(&mut ip, &mut p, (Addr::v4(addr), ports[0]), (Addr::v4(!addr), ports[1]));
            acknowledge(&mut ip, &p, by[0], by[1]);
            advance(&mut ip, &p, by[0], by[1]);
            raise_ttl(&mut ip, &p);
            let p = read(&ip).unwrap();
            prop_assert_eq!(is_right(&ip, &p), !bad);
            prop_assert_eq!(checksum::fold(checksum::sum(&ip[..20], 0)), 0xffff);
            prop_assert_eq!(get32(&ip[20..], tcp::ACK), 9_u32.wrapping_add(by[0]));
            let v6 = |n: u32| (Addr::v6(0x2001_0db8_u128 << 96 | u128::from(n)), ports[0]);
            let (other, q) = cross(&ip, &p, v6(addr), v6(!addr));
            prop_assert_eq!(is_right(&other, &q), !bad);
            prop_assert_eq!(read(&other).unwrap(), q);
        }
    }

    #[test]
    fn what_a_dest_acknowledges_moves_with_its_sacks_and_echo() {
        let mut ip = tcp_v4(b"x");
        let p = read(&ip).unwrap();
        acknowledge(&mut ip, &p, 1000, 5);
        let segment = &ip[p.l4..];
        let at = options::timestamps(segment).unwrap();
        assert_eq!((get32(segment, at), get32(segment, at + 4)), (100, 205));
        let (_, at, _) = options::walk(segment).find(|o| o.0 == options::SACK).unwrap();
        assert_eq!((get32(segment, at + 2), get32(segment, at + 6)), (1050, 1060));
        assert_eq!(get32(segment, tcp::ACK), 1009);
    }
}
