//! nat and full-NAT: new addresses and ports, TTL one less, checksums updated (RFC 1624). Also the
//! little that dr needs.

use crate::conn::Rewrite;
use crate::parse::Parsed;
use crate::tuple::Family;
use crate::tuple::Proto;
use crate::wire::checksum::Delta;
use crate::wire::get16;
use crate::wire::head_mut;
use crate::wire::icmp;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::wire::put_raw32;
use crate::wire::put_raw64;
use crate::wire::put16;
use crate::wire::put32;
use crate::wire::put128;
use crate::wire::tcp;
use crate::wire::udp;

/// What a TTL one less does to the header checksum: its word falls by 0x0100.
const TTL_LESS: Delta = Delta(!0x0100);

/// The same applied to a checksum as it stands in memory, whatever the byte order (RFC 1071 section
/// 2 B): the word falls, so the complement of the sum rises.
#[inline(always)]
fn ttl_less(checksum: u16) -> u16 {
    let sum = checksum as u32 + 0x0100u16.to_be() as u32;
    (sum + (sum >= 0xffff) as u32) as u16
}

/// Applies what `Conn::becomes` and `Conn::deltas_of` say to an IPv4 packet of TCP or UDP. Its TTL must
/// be at least 1.
#[inline(always)]
pub fn narrow(frame: &mut [u8], p: &Parsed, (addrs, ports): (u64, u32), (l3, l4): (Delta, Delta)) {
    let ip: &mut [u8; ipv4::LEN] = head_mut(&mut frame[p.l3 as usize..]);
    put_raw64(ip, ipv4::SRC, addrs);
    ip[ipv4::TTL] -= 1;
    let checksum = l3.and(TTL_LESS).apply(get16(ip, ipv4::CHECKSUM));
    put16(ip, ipv4::CHECKSUM, checksum);
    let segment = &mut frame[p.l4 as usize..];
    if p.tuple.proto == Proto::Tcp {
        let segment: &mut [u8; tcp::LEN] = head_mut(segment);
        put_raw32(segment, 0, ports);
        let checksum = l4.apply(get16(segment, tcp::CHECKSUM));
        put16(segment, tcp::CHECKSUM, checksum);
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
            let checksum = r.l3.and(TTL_LESS).apply(get16(ip, ipv4::CHECKSUM));
            put16(ip, ipv4::CHECKSUM, checksum);
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
            let checksum = r.l4.apply(get16(segment, tcp::CHECKSUM));
            put16(segment, tcp::CHECKSUM, checksum);
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
    let checksum = r.l4.apply(get16(message, icmp::CHECKSUM));
    put16(message, icmp::CHECKSUM, checksum);
}

/// 0 says "no checksum" and stays; a sum that comes out as 0 is written as ffff (RFC 768).
#[inline(always)]
pub(super) fn udp_checksum(segment: &mut [u8], delta: Delta) {
    let old = get16(segment, udp::CHECKSUM);
    if old != 0 {
        let new = delta.apply(old);
        put16(segment, udp::CHECKSUM, if new == 0 { 0xffff } else { new });
    }
}

/// One hop less to live, header checksum updated. The TTL must be at least 1.
#[inline(always)]
pub fn decrement_ttl(frame: &mut [u8], p: &Parsed) {
    let ip = &mut frame[p.l3 as usize..];
    match p.family {
        Family::V4 => {
            let ip: &mut [u8; ipv4::LEN] = head_mut(ip);
            ip[ipv4::TTL] -= 1;
            let [a, b] = [ip[ipv4::CHECKSUM], ip[ipv4::CHECKSUM + 1]];
            let checksum = ttl_less(u16::from_ne_bytes([a, b])).to_ne_bytes();
            ip[ipv4::CHECKSUM..ipv4::CHECKSUM + 2].copy_from_slice(&checksum);
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
            let quick = u16::from_be(ttl_less(checksum.to_be()));
            assert_eq!(quick, TTL_LESS.apply(checksum), "{checksum:#x}");
        }
    }
}
