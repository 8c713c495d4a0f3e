//! Full-NAT's shift of sequence numbers and timestamps, both ways: the client and the dest each
//! count from where they believe the conn began.

use crate::conn::Direction;
use crate::conn::Track;
use crate::isn::is_past;
use crate::wire::checksum;
use crate::wire::checksum::Delta;
use crate::wire::get32;
use crate::wire::head;
use crate::wire::options;
use crate::wire::put32;
use crate::wire::tcp;

/// The sequence number after a segment's last one, and what it acknowledges. `segment` ends where
/// the IP packet does.
#[inline(always)]
pub fn extent(segment: &[u8]) -> (u32, u32) {
    extent_of(segment, payload(segment, segment.len() as u16))
}

/// The same of a segment with so many bytes of data.
#[inline(always)]
pub fn extent_of(segment: &[u8], payload: u16) -> (u32, u32) {
    let flags = head::<{ tcp::LEN }>(segment)[tcp::FLAGS];
    // SYN and FIN take one number each.
    let controls = (flags & tcp::FIN) as u32 + (flags >> 1 & 1) as u32;
    let (end, ack) = extent_between(segment, payload);
    (end.wrapping_add(controls), ack)
}

/// Bytes of data in a segment of `len` bytes.
#[inline(always)]
pub fn payload(segment: &[u8], len: u16) -> u16 {
    let h: &[u8; tcp::LEN] = head(segment);
    len.wrapping_sub(tcp::header_len(h) as u16)
}

/// `extent` of a segment with so many bytes of data that neither begins nor ends a conn.
#[inline(always)]
pub fn extent_between(segment: &[u8], payload: u16) -> (u32, u32) {
    let h: &[u8; tcp::LEN] = head(segment);
    (get32(h, tcp::SEQ).wrapping_add(payload as u32), get32(h, tcp::ACK))
}

/// A segment from the client: its sequence number and TSval move by the conn's shifts. Gives what
/// that does to the checksum.
#[inline(always)]
pub fn to_dest(segment: &mut [u8], track: &mut Track) -> Delta {
    let mut sum = shift(segment, tcp::SEQ, track.seq_shift);
    match options::timestamps(segment) {
        // Nearly always, so this place alone is known beforehand.
        Some(options::USUAL_PLACE) => sum += stamp(segment, options::USUAL_PLACE, track),
        Some(at) => sum += stamp_anywhere(segment, at, track),
        None => {}
    }
    Delta::of(sum)
}

/// Moves TSval.
#[inline(always)]
fn stamp(segment: &mut [u8], at: usize, track: &mut Track) -> u64 {
    let sum = shift_anywhere(segment, at, track.ts_shift);
    // Segments may overtake each other.
    let tsval = get32(segment, at);
    if is_past(tsval, track.tsval) {
        track.tsval = tsval;
    }
    sum
}

#[cold]
fn stamp_anywhere(segment: &mut [u8], at: usize, track: &mut Track) -> u64 {
    stamp(segment, at, track)
}

/// A segment from the dest: what it acknowledges moves back, in the header, in SACK blocks and in
/// TSecr.
#[inline(always)]
pub fn to_client(segment: &mut [u8], track: &Track) -> Delta {
    let mut sum = 0;
    if segment[tcp::FLAGS] & tcp::ACK_BIT != 0 {
        sum = shift(segment, tcp::ACK, track.seq_shift.wrapping_neg());
    }
    let header_len = tcp::header_len(segment);
    if header_len != tcp::LEN {
        let at = options::timestamps(segment);
        // Nothing but the usual timestamps.
        sum += if at == Some(options::USUAL_PLACE) && header_len == options::USUAL_LEN {
            echoed(segment, options::USUAL_PLACE, track)
        } else {
            echoed_anywhere(segment, at, track)
        };
    }
    Delta::of(sum)
}

/// Moves TSecr back; 0 where there is nothing to echo yet (RFC 7323 section 3.2).
#[inline(always)]
fn echoed(segment: &mut [u8], at: usize, track: &Track) -> u64 {
    match get32(segment, at + 4) {
        0 => 0,
        _ => shift_anywhere(segment, at + 4, track.ts_shift.wrapping_neg()),
    }
}

#[cold]
fn echoed_anywhere(segment: &mut [u8], at: Option<usize>, track: &Track) -> u64 {
    let stamps = at.map_or(0, |at| echoed(segment, at, track));
    stamps + sack_blocks(segment, track.seq_shift.wrapping_neg())
}

/// Timestamps alone: TSval moves, or TSecr moves back.
pub(super) fn stamps(segment: &mut [u8], way: Direction, track: &mut Track) -> Delta {
    let Some(at) = options::timestamps(segment) else { return Delta::NONE };
    Delta::of(match way {
        Direction::Original => stamp(segment, at, track),
        Direction::Reply => echoed(segment, at, track),
    })
}

/// SACK blocks are pairs of sequence numbers of the other side (RFC 2018 section 3).
fn sack_blocks(segment: &mut [u8], by: u32) -> u64 {
    let sack = options::walk(segment).find(|(kind, ..)| *kind == options::SACK);
    let Some((_, at, len)) = sack else { return 0 };
    let edges = (len - 2) / 4;
    (0..edges).map(|i| shift_anywhere(segment, at + 2 + 4 * i, by)).sum()
}

/// Moves a number at an even place; gives what that adds to a sum of differences.
#[inline(always)]
fn shift(segment: &mut [u8], at: usize, by: u32) -> u64 {
    let old = get32(segment, at);
    let new = old.wrapping_add(by);
    put32(segment, at, new);
    checksum::change32(old, new)
}

/// Moves a number at any place.
#[inline(always)]
fn shift_anywhere(segment: &mut [u8], at: usize, by: u32) -> u64 {
    if at.is_multiple_of(2) {
        return shift(segment, at, by);
    }
    let new = get32(segment, at).wrapping_add(by);
    patch(segment, at, &new.to_be_bytes()).sum()
}

/// Writes bytes at any place (at an odd one they stand crosswise in the checksum's words) and
/// gives what that does to the checksum.
pub(super) fn patch(segment: &mut [u8], at: usize, bytes: &[u8]) -> Delta {
    let words = at & !1..((at + bytes.len() + 1) & !1).min(segment.len());
    let before = checksum::sum(&segment[words.clone()], 0);
    segment[at..at + bytes.len()].copy_from_slice(bytes);
    Delta::between(before, checksum::sum(&segment[words], 0))
}

/// A segment that an ICMP error quotes, of which at least 8 bytes are there. The error travels
/// `way`, so the segment travelled the other: its numbers move back to what its sender wrote.
pub(super) fn quoted(segment: &mut [u8], way: Direction, track: &Track) -> Delta {
    match way {
        Direction::Reply => Delta::of(shift(segment, tcp::SEQ, track.seq_shift.wrapping_neg())),
        Direction::Original if segment.len() >= tcp::ACK + 4 => {
            Delta::of(shift(segment, tcp::ACK, track.seq_shift))
        }
        Direction::Original => Delta::NONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::get16;
    use crate::wire::put16;
    use proptest::prelude::*;

    fn track(seq_shift: u32, ts_shift: u32) -> Track {
        Track { seq_shift, ts_shift, ..Track::NEW }
    }

    /// A segment with these options and a right checksum (without pseudo-header).
    fn segment(options: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut s = vec![0; tcp::LEN];
        put32(&mut s, tcp::SEQ, 0xffff_fff0);
        put32(&mut s, tcp::ACK, 5);
        s[tcp::FLAGS] = tcp::ACK_BIT;
        s.extend_from_slice(options);
        s[tcp::OFFSET] = ((s.len() / 4) as u8) << 4;
        s.extend_from_slice(payload);
        let sum = checksum::finish(checksum::sum(&s, 0));
        put16(&mut s, tcp::CHECKSUM, sum);
        s
    }

    fn right(s: &mut [u8], delta: Delta) -> bool {
        let sum = delta.apply(get16(s, tcp::CHECKSUM));
        put16(s, tcp::CHECKSUM, sum);
        checksum::fold(checksum::sum(s, 0)) == 0xffff
    }

    #[test]
    fn sack_edges_move_and_the_rest_stays() {
        let options = [1, 1, 5, 10, 0, 0, 0, 9, 0, 0, 0, 12];
        let mut s = segment(&options, b"x");
        let delta = to_client(&mut s, &track(3, 100));
        assert_eq!((get32(&s, tcp::ACK), get32(&s, 24), get32(&s, 28)), (2, 6, 9));
        assert!(right(&mut s, delta));
    }

    /// What comes late does not make the next conn on this tuple begin before what the dest saw.
    #[test]
    fn the_highest_timestamp_is_remembered_whatever_the_order() {
        let stamped = |tsval: u32| {
            let [a, b, c, d] = tsval.to_be_bytes();
            segment(&[1, 1, 8, 10, a, b, c, d, 0, 0, 0, 0], &[])
        };
        let mut t = Track { tsval: u32::MAX - 5, ..track(3, 0) };
        for (tsval, highest) in [(u32::MAX, u32::MAX), (u32::MAX - 1, u32::MAX), (2, 2), (1, 2)] {
            to_dest(&mut stamped(tsval), &mut t);
            assert_eq!(t.tsval, highest);
        }
    }

    #[test]
    fn a_tsecr_of_nothing_stays_nothing() {
        let mut s = segment(&[1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0], &[]);
        to_client(&mut s, &track(3, 100));
        assert_eq!((get32(&s, 24), get32(&s, 28)), (7, 0));
    }

    proptest! {
        #[test]
        fn there_and_back_with_right_checksums(seq in any::<u32>(), ts in any::<u32>(), earlier in 0u32..1 << 31, odd in any::<bool>(), payload in proptest::collection::vec(any::<u8>(), 0..9)) {
            // Timestamps at an odd place, behind a single NOP, or at the usual one.
            let options: &[u8] = if odd {
                &[1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 0]
            } else {
                &[1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]
            };
            let original = segment(options, &payload);
            let mut s = original.clone();
            let at = if odd { 23 } else { 24 };
            // The SYN's was earlier.
            let first = 0x0102_0304u32.wrapping_add(ts).wrapping_sub(earlier);
            let mut t = Track { tsval: first, ..track(seq, ts) };
            let delta = to_dest(&mut s, &mut t);
            prop_assert_eq!(get32(&s, tcp::SEQ), 0xffff_fff0u32.wrapping_add(seq));
            prop_assert_eq!(get32(&s, at), 0x0102_0304u32.wrapping_add(ts));
            prop_assert_eq!(t.tsval, get32(&s, at));
            prop_assert!(right(&mut s, delta));
            let mut s = original;
            let delta = to_client(&mut s, &track(seq, ts));
            prop_assert_eq!(get32(&s, tcp::ACK), 5u32.wrapping_sub(seq));
            prop_assert_eq!(get32(&s, at + 4), 0x0506_0708u32.wrapping_sub(ts));
            prop_assert!(right(&mut s, delta));
        }
    }
}
