//! ICMP errors about a conn: the packet quoted inside is translated back to what its sender sent,
//! the addresses outside so that the error reaches him (`ip_vs_nat_icmp`, RFC 5508 section 4).

use super::answer;
use super::rewrite::echo;
use super::rewrite::udp_checksum;
use super::segment;
use super::tunnel;
use crate::conn::Direction;
use crate::conn::Rewrite;
use crate::conn::Track;
use crate::frame::Frame;
use crate::parse::Parsed;
use crate::parse::Quoted;
use crate::service::Encap;
use crate::tuple::Addr;
use crate::tuple::Family;
use crate::tuple::Proto;
use crate::wire::checksum;
use crate::wire::checksum::Delta;
use crate::wire::get16;
use crate::wire::get32;
use crate::wire::icmp;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::wire::put16;
use crate::wire::put32;
use crate::wire::put128;
use crate::wire::tcp;

/// How the packet in an error is translated.
#[derive(Clone, Copy, Debug)]
pub struct Translation<'a> {
    /// The direction in which the error travels.
    pub way: Direction,
    /// That direction's rewrite. The quoted packet travelled the other way, so it gets the
    /// addresses crosswise.
    pub rewrite: Rewrite,
    /// The conn's shift of sequence numbers; without it a sender would take the error for one
    /// about a segment he never sent, and path MTU discovery would die silently.
    pub shifts: Option<&'a Track>,
    /// Replaces the error's own source.
    pub new_src: Option<Addr>,
}

/// Translates an error.
pub fn translate(frame: &mut [u8], p: &Parsed, q: &Quoted, t: &Translation<'_>) {
    let end = p.end as usize;
    quoted(&mut frame[..end], q, t, p.family);
    outer(&mut frame[..end], p, t.new_src.unwrap_or(p.tuple.src), t.rewrite.dst);
}

/// Turns an error about a tunnel packet of ours into the same error, from `src`, about the packet
/// within, an IP packet at the same place. False where the headroom does not suffice.
pub fn out_of_tunnel<F: Frame>(frame: &mut F, p: &Parsed, q: &Quoted, src: Addr) -> bool {
    let (l3, l4) = (p.l3 as usize, p.l4 as usize);
    let kind = [frame.data()[l4], frame.data()[l4 + 1]];
    let mtu = |v6: bool| match v6 {
        false => u32::from(get16(frame.data(), l4 + icmp::V4_MTU)),
        true => get32(frame.data(), l4 + icmp::V6_MTU),
    };
    let less = |mtu: u32, least: usize| {
        mtu.saturating_sub(tunnel::overhead(p.family, Encap::Plain) as u32).max(least as u32)
    };
    let rest = match (p.family, kind) {
        (Family::V4, [icmp::v4::UNREACHABLE, icmp::v4::FRAGMENTATION_NEEDED]) => {
            less(mtu(false), 68)
        }
        (Family::V6, [icmp::v6::TOO_BIG, _]) => less(mtu(true), ipv6::MIN_MTU),
        _ => 0,
    };
    let inner = Parsed { end: p.end - (q.l3 - l3) as u16, tuple: q.tuple, ..*p };
    frame.trim_front(q.l3 - l3) && answer::error(frame, &inner, kind, rest, src)
}

fn quoted(packet: &mut [u8], q: &Quoted, t: &Translation<'_>, family: Family) {
    let r = &t.rewrite;
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
    match q.tuple.proto {
        Proto::Icmp | Proto::Icmpv6 => echo(segment, r),
        _ => quoted_segment(segment, q, t),
    }
}

/// The quoted segment gets the ports and numbers that its sender wrote.
pub(super) fn quoted_segment(segment: &mut [u8], q: &Quoted, t: &Translation<'_>) {
    let r = &t.rewrite;
    put16(segment, 0, r.dport);
    put16(segment, 2, r.sport);
    if q.tuple.proto == Proto::Sctp {
        // Its checksum is over the whole packet, of which this is perhaps a part.
        return;
    }
    if q.tuple.proto == Proto::Udp {
        return udp_checksum(segment, r.l4);
    }
    let shifted = t.shifts.map_or(Delta::NONE, |track| segment::quoted(segment, t.way, track));
    // The quote may end before TCP's checksum.
    if segment.len() >= tcp::CHECKSUM + 2 {
        let sum = r.l4.and(shifted).apply(get16(segment, tcp::CHECKSUM));
        put16(segment, tcp::CHECKSUM, sum);
    }
}

fn outer(packet: &mut [u8], p: &Parsed, src: Addr, dst: Addr) {
    let (l3, l4) = (p.l3 as usize, p.l4 as usize);
    let len = packet.len() - l4;
    put16(packet, l4 + icmp::CHECKSUM, 0);
    let start = match p.family {
        Family::V4 => 0,
        Family::V6 => checksum::pseudo(src, dst, ipv6::ICMPV6, len),
    };
    let sum = checksum::finish(checksum::sum(&packet[l4..], start));
    put16(packet, l4 + icmp::CHECKSUM, sum);
    let ip = &mut packet[l3..];
    match p.family {
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
