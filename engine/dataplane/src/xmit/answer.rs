//! What the director itself says: ICMP errors, TCP resets, echo replies. Each is made in the frame
//! that caused it, which is spent anyway.

use super::reset;
use super::sctp;
use crate::frame::Frame;
use crate::parse::Parsed;
use crate::tuple::Addr;
use crate::tuple::Family;
use crate::tuple::Proto;
use crate::verdict::Answer;
use crate::verdict::Made;
use crate::wire::checksum;
use crate::wire::get16;
use crate::wire::get32;
use crate::wire::icmp;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::wire::put16;
use crate::wire::put32;
use crate::wire::tcp;

/// TTL of what we make.
pub(super) const TTL: u8 = 64;
/// ICMP errors go with precedence "internetwork control" (RFC 1812 section 4.3.2.5).
const TOS: u8 = 0xc0;
/// An ICMP error's largest packet (RFC 1812 section 4.3.2.3).
const V4_MAX: usize = 576;

/// Turns the frame into the answer, an IP packet at the same place, from `src` to the sender. None
/// where nothing is to be said; the frame is then of no use.
pub fn make<F: Frame>(frame: &mut F, p: &Parsed, answer: Answer, src: Addr) -> Option<Made> {
    let v4 = p.family == Family::V4;
    let (kind, code, rest, made) = match answer {
        Answer::Silence => return None,
        Answer::Reset if p.tuple.proto == Proto::Sctp => {
            return sctp::abort(frame, p).then_some(Made::Reset);
        }
        Answer::Reset => return reset(frame, p).then_some(Made::Reset),
        Answer::PortUnreachable if v4 => {
            (icmp::v4::UNREACHABLE, icmp::v4::PORT, 0, Made::Unreachable)
        }
        Answer::PortUnreachable => (icmp::v6::UNREACHABLE, icmp::v6::PORT, 0, Made::Unreachable),
        Answer::ProtocolUnreachable if v4 => {
            (icmp::v4::UNREACHABLE, icmp::v4::PROTOCOL, 0, Made::Unreachable)
        }
        Answer::ProtocolUnreachable => {
            let at = next_header(&frame.data()[p.l3 as usize..p.l4 as usize]) as u32;
            (icmp::v6::PARAMETER, icmp::v6::NEXT_HEADER, at, Made::Unreachable)
        }
        Answer::NetUnreachable if v4 => {
            (icmp::v4::UNREACHABLE, icmp::v4::NET, 0, Made::Unreachable)
        }
        Answer::NetUnreachable => (icmp::v6::UNREACHABLE, icmp::v6::NO_ROUTE, 0, Made::Unreachable),
        Answer::TimeExceeded if v4 => (icmp::v4::TIME_EXCEEDED, 0, 0, Made::TimeExceeded),
        Answer::TimeExceeded => (icmp::v6::TIME_EXCEEDED, 0, 0, Made::TimeExceeded),
        Answer::TooBig(mtu) if v4 => {
            let code = icmp::v4::FRAGMENTATION_NEEDED;
            (icmp::v4::UNREACHABLE, code, mtu as u32, Made::TooBig)
        }
        Answer::TooBig(mtu) => (icmp::v6::TOO_BIG, 0, mtu as u32, Made::TooBig),
    };
    error(frame, p, [kind, code], rest, src).then_some(made)
}

/// The place in IPv6 headers of the number that says what follows them.
fn next_header(headers: &[u8]) -> usize {
    let (mut place, mut at, mut kind) = (ipv6::NEXT, ipv6::LEN, headers[ipv6::NEXT]);
    while at < headers.len() {
        (place, kind, at) = match kind {
            ipv6::FRAGMENT => (at, headers[at], at + 8),
            _ => (at, headers[at], at + 8 + headers[at + 1] as usize * 8),
        };
    }
    place
}

/// An ICMP error that quotes as much of the packet as may be.
pub(super) fn error<F: Frame>(
    frame: &mut F,
    p: &Parsed,
    kind: [u8; 2],
    rest: u32,
    src: Addr,
) -> bool {
    let l3 = p.l3 as usize;
    let (header, max) = match p.family {
        Family::V4 => (ipv4::LEN, V4_MAX),
        Family::V6 => (ipv6::LEN, ipv6::MIN_MTU),
    };
    let quote = p.ip_len().min(max - header - icmp::LEN);
    if !frame.set_len(l3 + quote) || !frame.prepend(header + icmp::LEN) {
        return false;
    }
    let len = icmp::LEN + quote;
    let ip = &mut frame.data_mut()[l3..];
    let message = &mut ip[header..];
    [message[0], message[1]] = kind;
    put16(message, icmp::CHECKSUM, 0);
    put32(message, 4, rest);
    let dst = p.tuple.src;
    let start = match p.family {
        Family::V4 => 0,
        Family::V6 => checksum::pseudo(src, dst, ipv6::ICMPV6, len),
    };
    let sum = checksum::finish(checksum::sum(&message[..len], start));
    put16(message, icmp::CHECKSUM, sum);
    let protocol = if header == ipv4::LEN { ipv4::ICMP } else { ipv6::ICMPV6 };
    write_ip(ip, src, dst, TOS, protocol, len);
    true
}

/// A reset as a host without such a conn sends it (RFC 9293 section 3.10.7.1); false for a reset.
fn reset<F: Frame>(frame: &mut F, p: &Parsed) -> bool {
    if p.flags & tcp::RST != 0 {
        return false;
    }
    let (l3, l4, end) = (p.l3 as usize, p.l4 as usize, p.end as usize);
    let segment = &frame.data()[l4..end];
    let (seq, ack) = (get32(segment, tcp::SEQ), get32(segment, tcp::ACK));
    // SYN and FIN take a sequence number each.
    let controls = (p.flags & tcp::SYN != 0) as usize + (p.flags & tcp::FIN != 0) as usize;
    let len = segment.len() - tcp::header_len(segment) + controls;
    let (seq, ack, flags) = if p.flags & tcp::ACK_BIT != 0 {
        (ack, 0, tcp::RST)
    } else {
        (0, seq.wrapping_add(len as u32), tcp::RST | tcp::ACK_BIT)
    };
    reset::make(frame, l3, &p.tuple.reversed(), seq, ack, flags)
}

/// Turns an echo request into its reply (RFC 792, RFC 4443 section 4.2).
pub fn echo_reply<F: Frame>(frame: &mut F, p: &Parsed) {
    let (l3, l4) = (p.l3 as usize, p.l4 as usize);
    frame.set_len(p.end as usize);
    let data = frame.data_mut();
    let reply = match p.family {
        Family::V4 => icmp::v4::ECHO_REPLY,
        Family::V6 => icmp::v6::ECHO_REPLY,
    };
    // Swapping addresses does not change any sum; the type does.
    let before = get16(data, l4);
    data[l4] = reply;
    let delta = checksum::Delta::word(before, get16(data, l4));
    let sum = delta.apply(get16(data, l4 + icmp::CHECKSUM));
    put16(data, l4 + icmp::CHECKSUM, sum);
    let ip = &mut data[l3..];
    match p.family {
        Family::V4 => {
            put32(ip, ipv4::SRC, p.tuple.dst.v4_bits());
            put32(ip, ipv4::DST, p.tuple.src.v4_bits());
            ip[ipv4::TTL] = TTL;
            ipv4::set_checksum(ip, l4 - l3);
        }
        Family::V6 => {
            let (low, high) = ip[ipv6::SRC..ipv6::LEN].split_at_mut(16);
            low.swap_with_slice(high);
            ip[ipv6::HOP_LIMIT] = TTL;
        }
    }
}

pub(super) fn write_ip(ip: &mut [u8], src: Addr, dst: Addr, tos: u8, protocol: u8, len: usize) {
    match dst.family() {
        Family::V4 => {
            let total = (ipv4::LEN + len) as u16;
            let (fragment, ends) = (ipv4::DF, ipv4::Ends::of(src, dst));
            ipv4::Header { tos, total, id: 0, fragment, ttl: TTL, protocol, ends }.write(ip);
        }
        Family::V6 => {
            let payload = len as u16;
            let (traffic_class, next, hop_limit) = (tos, protocol, TTL);
            ipv6::Header { traffic_class, payload, next, hop_limit, src, dst }.write(ip);
        }
    }
}
