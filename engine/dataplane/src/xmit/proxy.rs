//! Telling a dest who its client is: a segment with a PROXY protocol header before the client's
//! first byte, a header in each datagram, an option among the client's.

use super::rewrite::udp_checksum;
use super::segment::patch;
use crate::conn::Ends;
use crate::conn::Introduction;
use crate::frame::Frame;
use crate::isn::is_past;
use crate::parse::Parsed;
use crate::parse::Quoted;
use crate::tuple::Family;
use crate::wire::checksum;
use crate::wire::checksum::Delta;
use crate::wire::get16;
use crate::wire::get32;
use crate::wire::icmp;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::wire::options;
use crate::wire::put16;
use crate::wire::put32;
use crate::wire::tcp;
use crate::wire::udp;

/// ECN bits: a segment that only carries a header takes no part (RFC 3168 section 6.1.5 forbids it
/// for what is sent again).
const ECN: u8 = 0x03;

/// What a header that is sent again repeats of the client's newest segment, whose timestamp the
/// dest sees moved by `ts_shift`.
pub fn note(intro: &mut Introduction, segment: &[u8], ts_shift: u32) {
    let ack = get32(segment, tcp::ACK);
    if intro.len > 0 && is_past(intro.ack, ack) {
        return;
    }
    intro.ack = ack;
    intro.window = get16(segment, tcp::WINDOW);
    if let Some(at) = options::timestamps(segment) {
        intro.marks |= Introduction::HAS_TS;
        intro.tsval = get32(segment, at).wrapping_add(ts_shift);
        intro.tsecr = get32(segment, at + 4);
    }
}

/// Writes the segment with `header`, numbered `seq`, as an IP packet into an empty frame. False
/// where the frame is too small.
pub fn header_segment<F: Frame>(
    frame: &mut F,
    ends: &Ends,
    intro: &Introduction,
    seq: u32,
    header: &[u8],
) -> bool {
    let family = ends.daddr.family();
    let ip_header = if family == Family::V4 { ipv4::LEN } else { ipv6::LEN };
    let tcp_header = tcp::LEN + if intro.has_ts() { 12 } else { 0 };
    let len = tcp_header + header.len();
    if !frame.set_len(ip_header + len) {
        return false;
    }
    let (ip, segment) = frame.data_mut().split_at_mut(ip_header);
    write_ip(ip, ends, intro, len as u16);
    put16(segment, 0, ends.lport);
    put16(segment, 2, ends.dport);
    put32(segment, tcp::SEQ, seq);
    put32(segment, tcp::ACK, intro.ack);
    segment[tcp::OFFSET] = (tcp_header as u8 / 4) << 4;
    segment[tcp::FLAGS] = tcp::ACK_BIT | tcp::PSH;
    put16(segment, tcp::WINDOW, intro.window);
    put32(segment, tcp::CHECKSUM, 0);
    if intro.has_ts() {
        put32(segment, tcp::LEN, options::USUAL_TIMESTAMPS);
        put32(segment, tcp::LEN + 4, intro.tsval);
        put32(segment, tcp::LEN + 8, intro.tsecr);
    }
    segment[tcp_header..].copy_from_slice(header);
    let pseudo = checksum::pseudo(ends.laddr, ends.daddr, 6, len);
    let sum = checksum::finish(checksum::sum(segment, pseudo));
    put16(segment, tcp::CHECKSUM, sum);
    true
}

fn write_ip(ip: &mut [u8], ends: &Ends, intro: &Introduction, len: u16) {
    let (src, dst, class) = (ends.laddr, ends.daddr, intro.traffic_class & !ECN);
    match dst.family() {
        Family::V4 => {
            let (total, fragment) = (ipv4::LEN as u16 + len, ipv4::DF);
            let (tos, ttl, protocol, ends) = (class, intro.ttl, 6, ipv4::Ends::of(src, dst));
            // Never in fragments, so the identification says nothing (RFC 6864 section 4.1).
            ipv4::Header { tos, total, id: 0, fragment, ttl, protocol, ends }.write(ip);
        }
        Family::V6 => {
            let (payload, next, hop_limit) = (len, 6, intro.ttl);
            let header = ipv6::Header { traffic_class: class, payload, next, hop_limit, src, dst };
            header.write(ip);
        }
    }
}

/// Cuts the data off a SYN, which would reach the dest before the header: the client sends it again
/// when the SYN-ACK does not acknowledge it (RFC 9293 section 3.4).
pub fn drop_data<F: Frame>(frame: &mut F, p: &Parsed) -> Delta {
    let (l3, l4, end) = (p.l3 as usize, p.l4 as usize, p.end as usize);
    let from = l4 + tcp::header_len(&frame.data()[l4..]);
    if from == end {
        return Delta::NONE;
    }
    let len = end - from;
    let delta = Delta::between(checksum::sum(&frame.data()[from..end], len as u32), 0);
    set_ip_len(&mut frame.data_mut()[l3..], p.family, (p.ip_len() - len) as u16);
    // Shorter always fits.
    let _ = frame.set_len(from);
    delta
}

/// Puts `header` (a multiple of eight bytes) between the UDP header and what follows, in a whole
/// datagram or its first fragment. False where the headroom does not suffice.
pub fn insert_in_datagram<F: Frame>(frame: &mut F, p: &Parsed, header: &[u8]) -> bool {
    let at = p.l4 as usize + udp::LEN;
    if !insert(frame, p, at, header) {
        return false;
    }
    let (len, segment) = (header.len() as u16, &mut frame.data_mut()[p.l4 as usize..]);
    let whole = get16(segment, udp::LENGTH) + len;
    put16(segment, udp::LENGTH, whole);
    // The length counts twice: in the header and in the pseudo-header.
    udp_checksum(segment, Delta::between(0, checksum::sum(header, 2 * u32::from(len))));
    true
}

/// Puts an option (a multiple of four bytes) before a segment's others. False where the headroom
/// does not suffice.
pub fn insert_option<F: Frame>(frame: &mut F, p: &Parsed, option: &[u8]) -> bool {
    let at = p.l4 as usize + tcp::LEN;
    if !insert(frame, p, at, option) {
        return false;
    }
    let segment = &mut frame.data_mut()[p.l4 as usize..];
    let offset = (option.len() as u8 / 4) << 4;
    segment[tcp::OFFSET] += offset;
    let more = (u32::from(offset) << 8) + option.len() as u32;
    let delta = Delta::between(0, checksum::sum(option, more));
    let sum = delta.apply(get16(segment, tcp::CHECKSUM));
    put16(segment, tcp::CHECKSUM, sum);
    true
}

/// Moves all before `at` to the front by the length of `bytes`, which come into the gap.
fn insert<F: Frame>(frame: &mut F, p: &Parsed, at: usize, bytes: &[u8]) -> bool {
    let len = bytes.len();
    if !frame.prepend(len) {
        return false;
    }
    let data = frame.data_mut();
    data.copy_within(len..len + at, 0);
    data[at..at + len].copy_from_slice(bytes);
    set_ip_len(&mut data[p.l3 as usize..], p.family, (p.ip_len() + len) as u16);
    true
}

pub(super) fn set_ip_len(ip: &mut [u8], family: Family, len: u16) {
    match family {
        Family::V4 => ipv4::set_word(ip, ipv4::TOTAL, len),
        Family::V6 => put16(ip, ipv6::PAYLOAD, len.saturating_sub(ipv6::LEN as u16)),
    }
}

/// Moves a later fragment of a datagram on by the header (a multiple of eight bytes) that its
/// first one has got. False where the datagram would be longer than IP allows.
pub fn shift_fragment(frame: &mut [u8], p: &Parsed, by: u16) -> bool {
    let payload = p.end - p.l4;
    let fits = |from: u16| u32::from(from) + u32::from(by) + u32::from(payload) <= 65_535;
    match p.family {
        Family::V4 => {
            let ip = &mut frame[p.l3 as usize..];
            let word = get16(ip, ipv4::FRAGMENT);
            let ok = fits((word & ipv4::OFFSET) * 8);
            if ok {
                ipv4::set_word(ip, ipv4::FRAGMENT, word + by / 8);
            }
            ok
        }
        Family::V6 => {
            let at = p.l4 as usize - 6;
            let word = get16(frame, at);
            let ok = fits(word & ipv6::OFFSET);
            if ok {
                put16(frame, at, word + by);
            }
            ok
        }
    }
}

/// Whether a client's segment has room for an option of `len` bytes more. One that came in pieces,
/// or (which cannot be told apart here) with IPv6 extension headers, has not: the pieces behind it
/// would no longer fit.
pub fn has_room(frame: &[u8], p: &Parsed, len: usize, mtu: usize) -> bool {
    let segment = &frame[p.l4 as usize..];
    is_whole(frame, p) && tcp::header_len(segment) + len <= 60 && p.ip_len() + len <= mtu
}

/// Whether a packet came in one piece; one with IPv6 extension headers counts as if it had not.
pub fn is_whole(frame: &[u8], p: &Parsed) -> bool {
    match p.family {
        Family::V4 => {
            get16(&frame[p.l3 as usize..], ipv4::FRAGMENT) & (ipv4::MF | ipv4::OFFSET) == 0
        }
        Family::V6 => p.l4 - p.l3 == ipv6::LEN as u16,
    }
}

/// Turns every option of a kind into no-operations.
pub fn blank_options(segment: &mut [u8], kind: u8) -> Delta {
    let mut delta = Delta::NONE;
    let find = |s: &[u8]| options::walk(s).find(|(k, ..)| *k == kind);
    while let Some((_, at, len)) = find(segment) {
        delta = delta.and(patch(segment, at, &[options::NOP; 40][..len]));
    }
    delta
}

/// Leaves room for `by` bytes of option in the client's segments: lowers the maximum segment size
/// that the dest announces to it.
pub fn lower_mss(segment: &mut [u8], by: u16) -> Delta {
    let option = options::walk(segment).find(|(kind, _, len)| (*kind, *len) == (options::MSS, 4));
    let Some((_, at, _)) = option else { return Delta::NONE };
    let mss = get16(segment, at + 2).saturating_sub(by).max(1);
    patch(segment, at + 2, &mss.to_be_bytes())
}

/// The MTU that an ICMP error tells the client is less by what its packets have got on the way.
pub fn lower_mtu(message: &mut [u8], family: Family, by: u16) {
    match (family, message[0], message[1]) {
        (Family::V4, icmp::v4::UNREACHABLE, icmp::v4::FRAGMENTATION_NEEDED) => {
            // 0 is an old router's, which does not say (RFC 1191 section 4).
            let mtu = get16(message, icmp::V4_MTU);
            if mtu > 0 {
                put16(message, icmp::V4_MTU, mtu.saturating_sub(by).max(68));
            }
        }
        (Family::V6, icmp::v6::TOO_BIG, _) => {
            let mtu = get32(message, icmp::V6_MTU).saturating_sub(by.into());
            put32(message, icmp::V6_MTU, mtu.max(ipv6::MIN_MTU as u32));
        }
        _ => {}
    }
}

/// Takes the header out of a datagram quoted in an ICMP error, so that the client sees what it
/// sent. What follows an error in an extension (RFC 4884) goes, as it cannot keep its place.
pub fn cut_from_quoted<F: Frame>(frame: &mut F, p: &Parsed, q: &Quoted, header: &[u8]) -> Parsed {
    let (at, len, end) = (q.l4 + udp::LEN, header.len(), p.end as usize);
    let data = frame.data_mut();
    let (ip, segment) = data.split_at_mut(q.l4);
    let (total, whole) = (quoted_len(&ip[q.l3..], p.family), get16(segment, udp::LENGTH));
    set_ip_len(&mut ip[q.l3..], p.family, total.saturating_sub(len as u16));
    put16(segment, udp::LENGTH, whole.saturating_sub(len as u16));
    udp_checksum(segment, Delta::between(checksum::sum(header, 2 * len as u32), 0));
    let message = &mut data[p.l4 as usize..];
    let has_extension = match (p.family, message[0]) {
        (Family::V4, _) => core::mem::take(&mut message[5]) != 0,
        (Family::V6, icmp::v6::UNREACHABLE | icmp::v6::TIME_EXCEEDED) => {
            core::mem::take(&mut message[4]) != 0
        }
        _ => false,
    };
    let end = if has_extension || end < at + len {
        at.min(end)
    } else {
        data.copy_within(at + len..end, at);
        end - len
    };
    let cut = Parsed { end: end as u16, ..*p };
    set_ip_len(&mut data[p.l3 as usize..], p.family, cut.ip_len() as u16);
    // Shorter always fits.
    let _ = frame.set_len(end);
    cut
}

fn quoted_len(ip: &[u8], family: Family) -> u16 {
    match family {
        Family::V4 => get16(ip, ipv4::TOTAL),
        Family::V6 => get16(ip, ipv6::PAYLOAD).saturating_add(ipv6::LEN as u16),
    }
}
