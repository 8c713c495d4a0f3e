//! ICMP errors about conns between families: type, code, MTU and pointer in the other family's
//! words, the packet quoted inside likewise (RFC 7915 sections 4.2, 4.3, 5.2 and 5.3).

use super::cross::Header;
use super::cross::room;
use super::icmp::Translation;
use super::icmp::quoted_segment;
use crate::frame::Frame;
use crate::parse::Parsed;
use crate::parse::Quoted;
use crate::tuple::Family;
use crate::verdict::DropReason;
use crate::wire::checksum;
use crate::wire::get16;
use crate::wire::get32;
use crate::wire::icmp;
use crate::wire::icmp::v4;
use crate::wire::icmp::v6;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::wire::put16;
use crate::wire::put32;

/// An ICMP error's largest packet (RFC 1812 section 4.3.2.3).
const V4_MAX: usize = 576;
/// And an ICMPv6 error's (RFC 4443 section 2.4 c).
const V6_MAX: usize = ipv6::MIN_MTU;
/// The bytes of a quoted transport header that are always there.
const PORTS: usize = 8;
/// MTUs that routers which tell none probably have (RFC 1191 section 7).
const PLATEAUS: [usize; 9] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296];

/// Translates an error, which grows or shrinks at its front; gives the place where it begins.
/// `limit` is the MTU of its way out, `id` an identification for v4.
///
/// # Errors
/// `IcmpFamily` where the other family has no such error, `NoHeadroom`.
pub fn translate<F: Frame>(
    frame: &mut F,
    p: &Parsed,
    q: &Quoted,
    t: &Translation<'_>,
    limit: u16,
    id: u16,
) -> Result<usize, DropReason> {
    let end = quote_end(frame.data(), p, q);
    let message = &frame.data()[p.l4.into()..end];
    let (kind, rest) = match p.family {
        Family::V4 => to_v6(message, limit.into()),
        Family::V6 => to_v4(message, limit.into()),
    }
    .ok_or(DropReason::IcmpFamily)?;
    let (outer_number, max) = match p.family {
        Family::V4 => (ipv4::ICMP, V6_MAX),
        Family::V6 => (ipv6::ICMPV6, V4_MAX),
    };
    let (l3, l4) = (p.l3.into(), p.l4.into());
    let inner = Header::read(frame.data(), q.l3, q.l4, p.family, q.tuple.proto as u8);
    let mut outer = Header::read(frame.data(), l3, l4, p.family, outer_number);
    (outer.ttl, outer.place) = (p.ttl - 1, None);
    let r = &t.rewrite;
    quoted_segment(&mut frame.data_mut()[q.l4..end], q, t);
    let headers = outer.other_len() + icmp::LEN + inner.other_len();
    let quoted = (end - q.l4).min(max - headers);
    outer.payload = icmp::LEN + inner.other_len() + quoted;
    frame.set_len(q.l4 + quoted);
    let segment = room(frame, q.l4, headers).ok_or(DropReason::NoHeadroom)?;
    // The quoted packet travelled the other way.
    inner.write(frame, segment, (r.dst, r.src), (0, 0)).ok_or(DropReason::NoHeadroom)?;
    let at = segment - inner.other_len() - icmp::LEN;
    let ends = (t.new_src.unwrap_or(r.src), r.dst);
    let message = &mut frame.data_mut()[at..];
    [message[0], message[1]] = kind;
    put16(message, icmp::CHECKSUM, 0);
    put32(message, 4, rest);
    let start = match p.family {
        Family::V4 => checksum::pseudo(ends.0, ends.1, ipv6::ICMPV6, message.len()),
        Family::V6 => 0,
    };
    let sum = checksum::finish(checksum::sum(message, start));
    put16(message, icmp::CHECKSUM, sum);
    outer.write(frame, at, ends, (id, 0)).ok_or(DropReason::NoHeadroom)
}

/// Where the quoted packet ends. Behind it there may be extensions (RFC 4884), which the message
/// in the other family goes without.
fn quote_end(frame: &[u8], p: &Parsed, q: &Quoted) -> usize {
    let (l4, end) = (usize::from(p.l4), usize::from(p.end));
    let words = match (p.family, frame[l4]) {
        (Family::V4, v4::UNREACHABLE | v4::TIME_EXCEEDED | v4::PARAMETER) => {
            usize::from(frame[l4 + 5]) * 4
        }
        (Family::V6, v6::UNREACHABLE | v6::TIME_EXCEEDED) => usize::from(frame[l4 + 4]) * 8,
        _ => 0,
    };
    if words == 0 { end } else { end.min((q.l3 + words).max(q.l4 + PORTS)) }
}

/// Type and code, and the four bytes behind the checksum.
type Words = ([u8; 2], u32);

/// Type and code in the other family of an error, if that has them.
pub(super) fn kind(message: &[u8], family: Family) -> Option<[u8; 2]> {
    let words = match family {
        Family::V4 => to_v6(message, usize::MAX),
        Family::V6 => to_v4(message, usize::MAX),
    };
    words.map(|(kind, _)| kind)
}

/// The MTU that "fragmentation needed" tells, or by the packet that it quotes probably would.
pub(super) fn v4_mtu(message: &[u8]) -> usize {
    let total = usize::from(get16(message, icmp::LEN + ipv4::TOTAL));
    match usize::from(get16(message, icmp::V4_MTU)) {
        0 => PLATEAUS.into_iter().find(|mtu| *mtu < total).unwrap_or(0),
        mtu => mtu,
    }
}

/// RFC 7915 section 4.2. `message` includes the quoted packet.
fn to_v6(message: &[u8], limit: usize) -> Option<Words> {
    Some(match (message[0], message[1]) {
        (v4::UNREACHABLE, v4::PROTOCOL) => ([v6::PARAMETER, v6::NEXT_HEADER], ipv6::NEXT as u32),
        (v4::UNREACHABLE, v4::PORT) => ([v6::UNREACHABLE, v6::PORT], 0),
        (v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED) => {
            let mtu = v4_mtu(message);
            // A v6 sender heeds nothing smaller (RFC 8200 section 5); what it sends of that size
            // may be cut on the v4 side.
            let mtu = (mtu + ipv6::LEN - ipv4::LEN).min(limit).max(ipv6::MIN_MTU);
            ([v6::TOO_BIG, 0], mtu as u32)
        }
        (v4::UNREACHABLE, 0 | 1 | 5..=8 | 11 | 12) => ([v6::UNREACHABLE, v6::NO_ROUTE], 0),
        (v4::UNREACHABLE, 9 | 10 | 13 | 15) => ([v6::UNREACHABLE, v6::PROHIBITED], 0),
        (v4::TIME_EXCEEDED, code) => ([v6::TIME_EXCEEDED, code], 0),
        (v4::PARAMETER, 0 | 2) => ([v6::PARAMETER, 0], pointer_to_v6(message[4])?),
        _ => return None,
    })
}

/// RFC 7915 section 5.2.
fn to_v4(message: &[u8], limit: usize) -> Option<Words> {
    Some(match (message[0], message[1]) {
        (v6::UNREACHABLE, v6::NO_ROUTE | 2 | 3) => ([v4::UNREACHABLE, v4::HOST], 0),
        (v6::UNREACHABLE, v6::PROHIBITED) => ([v4::UNREACHABLE, v4::HOST_PROHIBITED], 0),
        (v6::UNREACHABLE, v6::PORT) => ([v4::UNREACHABLE, v4::PORT], 0),
        (v6::TOO_BIG, _) => {
            let mtu = get32(message, icmp::V6_MTU) as usize;
            let mtu = mtu.saturating_sub(ipv6::LEN - ipv4::LEN).min(limit);
            ([v4::UNREACHABLE, v4::FRAGMENTATION_NEEDED], mtu as u32)
        }
        (v6::TIME_EXCEEDED, code) => ([v4::TIME_EXCEEDED, code], 0),
        (v6::PARAMETER, 0) => ([v4::PARAMETER, 0], pointer_to_v4(get32(message, 4))? << 24),
        (v6::PARAMETER, v6::NEXT_HEADER) => ([v4::UNREACHABLE, v4::PROTOCOL], 0),
        _ => return None,
    })
}

/// RFC 7915 figure 3.
fn pointer_to_v6(at: u8) -> Option<u32> {
    Some(match at {
        0 | 1 => at.into(),
        2 | 3 => ipv6::PAYLOAD as u32,
        8 => ipv6::HOP_LIMIT as u32,
        9 => ipv6::NEXT as u32,
        12..=15 => ipv6::SRC as u32,
        16..=19 => ipv6::DST as u32,
        _ => return None,
    })
}

/// RFC 7915 figure 6.
fn pointer_to_v4(at: u32) -> Option<u32> {
    Some(match at {
        0 | 1 => at,
        4 | 5 => ipv4::TOTAL as u32,
        6 => ipv4::PROTOCOL as u32,
        7 => ipv4::TTL as u32,
        8..=23 => ipv4::SRC as u32,
        24..=39 => ipv4::DST as u32,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: [u8; 2], rest: u32) -> Vec<u8> {
        let mut m = vec![kind[0], kind[1], 0, 0];
        m.extend(rest.to_be_bytes());
        // A quoted v4 header of a packet of 1500 bytes.
        m.extend([0x45, 0, 0x05, 0xdc]);
        m
    }

    #[test]
    fn v4_errors_in_v6_words() {
        let to = |kind, rest| to_v6(&message(kind, rest), 1500);
        for (code, (kind, rest)) in [
            (0, ([1, 0], 0)),
            (1, ([1, 0], 0)),
            (2, ([4, 1], 6)),
            (3, ([1, 4], 0)),
            (5, ([1, 0], 0)),
            (6, ([1, 0], 0)),
            (7, ([1, 0], 0)),
            (8, ([1, 0], 0)),
            (9, ([1, 1], 0)),
            (10, ([1, 1], 0)),
            (11, ([1, 0], 0)),
            (12, ([1, 0], 0)),
            (13, ([1, 1], 0)),
            (15, ([1, 1], 0)),
        ] {
            assert_eq!(to([3, code], 0), Some((kind, rest)), "code {code}");
        }
        assert_eq!(to([11, 1], 0), Some(([3, 1], 0)));
        for none in [[3, 14], [3, 16], [4, 0], [12, 1], [12, 3]] {
            assert_eq!(to(none, 0), None, "{none:?}");
        }
    }

    #[test]
    fn v6_errors_in_v4_words() {
        let to = |kind, rest| to_v4(&message(kind, rest), 1500);
        for (kind, expected) in [
            ([1, 0], [3, 1]),
            ([1, 1], [3, 10]),
            ([1, 2], [3, 1]),
            ([1, 3], [3, 1]),
            ([1, 4], [3, 3]),
            ([3, 1], [11, 1]),
            ([4, 1], [3, 2]),
        ] {
            assert_eq!(to(kind, 0), Some((expected, 0)), "{kind:?}");
        }
        for none in [[1, 5], [4, 2], [5, 0]] {
            assert_eq!(to(none, 0), None, "{none:?}");
        }
    }

    #[test]
    fn mtus_move_by_the_headers_difference_and_stay_sensible() {
        let to_6 = |mtu| to_v6(&message([3, 4], mtu), 1500).map(|(_, mtu)| mtu);
        assert_eq!(to_6(1400), Some(1420));
        assert_eq!(to_6(1490), Some(1500), "no more than the way out carries");
        assert_eq!(to_6(600), Some(1280));
        // The quoted packet had 1500 bytes, and the router told nothing: the plateau below.
        assert_eq!(to_v6(&message([3, 4], 0), 9000), Some(([2, 0], 1512)));
        let to_4 = |mtu| to_v4(&message([2, 0], mtu), 1500).map(|(_, mtu)| mtu);
        assert_eq!((to_4(1400), to_4(1600), to_4(1280)), (Some(1380), Some(1500), Some(1260)));
    }

    #[test]
    fn pointers_name_the_same_field_or_nothing_passes() {
        let to_6 = |at: u32| to_v6(&message([12, 0], at << 24), 1500).map(|(_, at)| at);
        let fields = [(0, 0), (1, 1), (2, 4), (3, 4), (8, 7), (9, 6), (12, 8), (15, 8), (16, 24)];
        for (v4, v6) in fields {
            assert_eq!(to_6(v4), Some(v6), "{v4}");
        }
        assert!([4, 6, 7, 10, 20].into_iter().all(|at| to_6(at).is_none()));
        let to_4 = |at| to_v4(&message([4, 0], at), 1500).map(|(_, at)| at >> 24);
        let fields = [(0, 0), (1, 1), (4, 2), (5, 2), (6, 9), (7, 8), (8, 12), (23, 12), (24, 16)];
        for (v6, v4) in fields {
            assert_eq!(to_4(v6), Some(v4), "{v6}");
        }
        assert!([2, 3, 40, 1000].into_iter().all(|at| to_4(at).is_none()));
    }
}
