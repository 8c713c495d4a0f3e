//! ICMP errors about a conn: the packet quoted inside is translated back to what its sender sent,
//! the addresses outside so that the error reaches him (`ip_vs_nat_icmp`, RFC 5508 section 4).

use super::answer;
use super::cross_icmp;
use super::rewrite::echo;
use super::rewrite::udp_checksum;
use super::segment;
use crate::conn::Direction;
use crate::conn::Rewrite;
use crate::conn::Track;
use crate::frame::Frame;
use crate::parse::Parsed;
use crate::parse::Quoted;
use crate::tuple::Addr;
use crate::tuple::Family;
use crate::tuple::Proto;
use crate::verdict::DropReason;
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
/// within, an IP packet at the same place, whose family may be the other one. `mtu` is what it tells, if it is
/// about that.
///
/// # Errors
/// `IcmpFamily` where the other family has no such error, `NoHeadroom`.
pub fn out_of_tunnel<F: Frame>(
    frame: &mut F,
    p: &Parsed,
    q: &Quoted,
    mtu: u32,
    src: Addr,
) -> Result<(), DropReason> {
    let (l3, l4, family) = (p.l3 as usize, p.l4 as usize, q.tuple.dst.family());
    let message = &frame.data()[l4..p.end as usize];
    let kind = match family == p.family {
        true => [message[0], message[1]],
        false => cross_icmp::kind(message, p.family).ok_or(DropReason::IcmpFamily)?,
    };
    let inner = Parsed { end: p.end - (q.l3 - l3) as u16, tuple: q.tuple, family, ..*p };
    let made = frame.trim_front(q.l3 - l3) && answer::error(frame, &inner, kind, mtu, src);
    if made { Ok(()) } else { Err(DropReason::NoHeadroom) }
}

/// The MTU that an error tells of which says that a packet was too large.
pub fn told_mtu(frame: &[u8], p: &Parsed) -> Option<u16> {
    let message = &frame[p.l4 as usize..p.end as usize];
    match (p.family, [message[0], message[1]]) {
        (Family::V4, [icmp::v4::UNREACHABLE, icmp::v4::FRAGMENTATION_NEEDED]) => {
            Some(cross_icmp::v4_mtu(message) as u16)
        }
        (Family::V6, [icmp::v6::TOO_BIG, _]) => {
            Some(get32(message, icmp::V6_MTU).min(u16::MAX.into()) as u16)
        }
        _ => None,
    }
}

/// What fits into a packet of this size behind headers of so many bytes; but no host heeds less than its
/// family's least.
pub fn largest_within(mtu: u16, headers: usize, family: Family) -> u32 {
    let least = match family {
        Family::V4 => ipv4::MIN_MTU,
        Family::V6 => ipv6::MIN_MTU,
    };
    usize::from(mtu).saturating_sub(headers).max(least) as u32
}

/// Whether routers may cut the quoted packet.
pub fn may_be_cut(frame: &[u8], q: &Quoted) -> bool {
    let is_v4 = q.tuple.dst.family() == Family::V4;
    is_v4 && get16(frame, q.l3 + ipv4::FRAGMENT) & ipv4::DF == 0
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
