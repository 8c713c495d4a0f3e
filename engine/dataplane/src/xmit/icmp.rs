//! ICMP errors about a conn: the packet quoted inside is translated back to what its sender sent,
//! the addresses outside so that the error reaches him (`ip_vs_nat_icmp`, RFC 5508 section 4).

use super::rewrite::udp_checksum;
use crate::conn::Rewrite;
use crate::parse::Parsed;
use crate::parse::Quoted;
use crate::tuple::Addr;
use crate::tuple::Family;
use crate::tuple::Proto;
use crate::wire::checksum;
use crate::wire::get16;
use crate::wire::icmp;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::wire::put16;
use crate::wire::put32;
use crate::wire::put128;
use crate::wire::tcp;

/// Translates an error that travels in the direction whose rewrite is `r`. The quoted packet
/// travelled the other way, so it gets `r`'s addresses crosswise. `new_src` replaces the error's
/// own source where given.
pub fn translate(frame: &mut [u8], p: &Parsed, q: &Quoted, r: &Rewrite, new_src: Option<Addr>) {
    let end = p.end as usize;
    quoted(&mut frame[..end], q, r, p.family());
    outer(&mut frame[..end], p, new_src.unwrap_or(p.tuple.src), r.dst);
}

fn quoted(packet: &mut [u8], q: &Quoted, r: &Rewrite, family: Family) {
    let ip = &mut packet[q.l3..];
    match family {
        Family::V4 => {
            put32(ip, ipv4::SRC, r.dst.v4_bits());
            put32(ip, ipv4::DST, r.src.v4_bits());
            let sum = r.l3.apply(get16(ip, ipv4::CHECKSUM));
            put16(ip, ipv4::CHECKSUM, sum);
        }
        Family::V6 => {
            put128(ip, ipv6::SRC, r.dst.bits());
            put128(ip, ipv6::DST, r.src.bits());
        }
    }
    let segment = &mut packet[q.l4..];
    put16(segment, 0, r.dport);
    put16(segment, 2, r.sport);
    match q.tuple.proto {
        Proto::Udp => udp_checksum(segment, r.l4),
        // The quote may end before TCP's checksum.
        _ if segment.len() >= tcp::CHECKSUM + 2 => {
            let sum = r.l4.apply(get16(segment, tcp::CHECKSUM));
            put16(segment, tcp::CHECKSUM, sum);
        }
        _ => {}
    }
}

fn outer(packet: &mut [u8], p: &Parsed, src: Addr, dst: Addr) {
    let (l3, l4) = (p.l3 as usize, p.l4 as usize);
    let len = packet.len() - l4;
    put16(packet, l4 + icmp::CHECKSUM, 0);
    let start = match p.family() {
        Family::V4 => 0,
        Family::V6 => checksum::pseudo(src, dst, ipv6::ICMPV6, len),
    };
    let sum = checksum::finish(checksum::sum(&packet[l4..], start));
    put16(packet, l4 + icmp::CHECKSUM, sum);
    let ip = &mut packet[l3..];
    match p.family() {
        Family::V4 => {
            put32(ip, ipv4::SRC, src.v4_bits());
            put32(ip, ipv4::DST, dst.v4_bits());
            ip[ipv4::TTL] = p.ttl - 1;
            ipv4::set_checksum(ip, l4 - l3);
        }
        Family::V6 => {
            put128(ip, ipv6::SRC, src.bits());
            put128(ip, ipv6::DST, dst.bits());
            ip[ipv6::HOP_LIMIT] = p.ttl - 1;
        }
    }
}
