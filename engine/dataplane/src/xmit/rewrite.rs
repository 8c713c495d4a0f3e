//! nat and full-NAT: new addresses and ports, TTL one less, checksums updated (RFC 1624). Also the
//! little that dr needs.

use crate::conn::Rewrite;
use crate::parse::Parsed;
use crate::tuple::Family;
use crate::tuple::Proto;
use crate::wire::checksum::Delta;
use crate::wire::head_mut;
use crate::wire::icmp;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::wire::put_raw16;
use crate::wire::put_raw32;
use crate::wire::put_raw64;
use crate::wire::put16;
use crate::wire::put32;
use crate::wire::put128;
use crate::wire::raw16;
use crate::wire::raw32;
use crate::wire::tcp;
use crate::wire::udp;

/// What a TTL one less does to the header checksum: its word falls by 0x0100.
const TTL_LESS: Delta = Delta::less(0x0100);

/// The same at once for the word of TTL, protocol and checksum, its first byte lowest, as a sum may be made in
/// either byte order (RFC 1071 section 2 B): the TTL is in the low half, and the complement of the sum, the high
/// half, rises by 1.
#[inline(always)]
fn ttl_less(word: u32) -> u32 {
    if word < 0xfffe_0000 { word + 0xffff } else { carrying(word) }
}

#[cold]
fn carrying(word: u32) -> u32 {
    (word & 0x1_ffff) - 1
}

/// Applies what `Conn::becomes` and `Conn::deltas_of` say to an IPv4 packet of TCP or UDP. Its TTL must
/// be at least 1.
#[inline(always)]
pub fn narrow(frame: &mut [u8], p: &Parsed, (addrs, ports): (u64, u32), (l3, l4): (Delta, Delta)) {
    let ip: &mut [u8; ipv4::LEN] = head_mut(&mut frame[p.l3 as usize..]);
    put_raw64(ip, ipv4::SRC, addrs);
    ip[ipv4::TTL] -= 1;
    l3.and(TTL_LESS).update(ip, ipv4::CHECKSUM);
    let segment = &mut frame[p.l4 as usize..];
    if p.tuple.proto == Proto::Tcp {
        let segment: &mut [u8; tcp::LEN] = head_mut(segment);
        put_raw32(segment, 0, ports);
        l4.update(segment, tcp::CHECKSUM);
    } else {
        let datagram: &mut [u8; udp::LEN] = head_mut(segment);
        put_raw32(datagram, 0, ports);
        udp_checksum(datagram, l4);
    }
}

/// Applies a conn's rewrite to a packet of TCP or UDP, or an echo. Its TTL must be at least 1.
#[inline(always)]
pub fn apply(frame: &mut [u8], p: &Parsed, r: &Rewrite) {
    addresses(frame, p, r);
    transport(&mut frame[p.l4 as usize..], p.tuple.proto, r);
}

/// The part of it that a packet without ports, a later fragment, needs.
#[inline(always)]
pub fn addresses(frame: &mut [u8], p: &Parsed, r: &Rewrite) {
    let ip = &mut frame[p.l3 as usize..];
    match p.family {
        Family::V4 => {
            let ip: &mut [u8; ipv4::LEN] = head_mut(ip);
            put32(ip, ipv4::SRC, r.src.v4_bits());
            put32(ip, ipv4::DST, r.dst.v4_bits());
            ip[ipv4::TTL] = p.ttl - 1;
            r.l3.and(TTL_LESS).update(ip, ipv4::CHECKSUM);
        }
        Family::V6 => {
            let ip: &mut [u8; ipv6::LEN] = head_mut(ip);
            put128(ip, ipv6::SRC, r.src.bits());
            put128(ip, ipv6::DST, r.dst.bits());
            ip[ipv6::HOP_LIMIT] = p.ttl - 1;
        }
    }
}

/// Gives a fragment another identification: where many senders become one address, theirs would
/// collide (RFC 6864 section 5.3, RFC 4963).
pub fn set_fragment_id(frame: &mut [u8], p: &Parsed, id: u32) {
    match p.family {
        Family::V4 => ipv4::set_word(&mut frame[p.l3 as usize..], ipv4::ID, id as u16),
        Family::V6 => put32(frame, p.l4 as usize - 4, id),
    }
}

#[inline(always)]
fn transport(segment: &mut [u8], proto: Proto, r: &Rewrite) {
    let ports = (r.sport as u32) << 16 | r.dport as u32;
    match proto {
        Proto::Tcp => {
            let segment: &mut [u8; tcp::LEN] = head_mut(segment);
            put32(segment, 0, ports);
            r.l4.update(segment, tcp::CHECKSUM);
        }
        Proto::Udp => {
            put32(segment, 0, ports);
            udp_checksum(segment, r.l4);
        }
        Proto::Icmp | Proto::Icmpv6 => echo(segment, r),
        // Its ports go with its checksum (`sctp::translate`), which needs the whole packet.
        Proto::Sctp => {}
    }
}

/// An echo's identifier is in the place of the one port that is not 0 (RFC 5508 section 3.1).
#[cold]
pub(super) fn echo(message: &mut [u8], r: &Rewrite) {
    put16(message, icmp::ID, r.sport | r.dport);
    r.l4.update(message, icmp::CHECKSUM);
}

/// 0 says "no checksum" and stays; a sum that comes out as 0 is written as ffff (RFC 768).
#[inline(always)]
pub(super) fn udp_checksum(segment: &mut [u8], delta: Delta) {
    let old = raw16(segment, udp::CHECKSUM);
    if old != 0 {
        let new = delta.apply_raw(old);
        put_raw16(segment, udp::CHECKSUM, if new == 0 { 0xffff } else { new });
    }
}

/// One hop less to live, header checksum updated. The TTL must be at least 1.
#[inline(always)]
pub fn decrement_ttl(frame: &mut [u8], p: &Parsed) {
    let ip = &mut frame[p.l3 as usize..];
    match p.family {
        Family::V4 => {
            let ip: &mut [u8; ipv4::LEN] = head_mut(ip);
            let word = ttl_less(u32::from_le(raw32(ip, ipv4::TTL)));
            put_raw32(ip, ipv4::TTL, word.to_le());
        }
        Family::V6 => ip[ipv6::HOP_LIMIT] -= 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_one_less_changes_every_checksum_as_rfc_1624_says() {
        for checksum in 0..=u16::MAX {
            let [a, b] = checksum.to_be_bytes();
            let [ttl, proto, a, b] = ttl_less(u32::from_le_bytes([64, 6, a, b])).to_le_bytes();
            let quick = (ttl, proto, u16::from_be_bytes([a, b]));
            assert_eq!(quick, (63, 6, TTL_LESS.apply(checksum)), "{checksum:#x}");
        }
    }
}
