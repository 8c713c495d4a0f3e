//! Segments of conns in whose streams bytes become others (`conn::change`): their numbers, and the
//! bytes themselves.

use super::proxy::set_ip_len;
use super::segment;
use super::segment::patch;
use crate::conn::Direction;
use crate::conn::Track;
use crate::conn::change::Change;
use crate::conn::change::Round;
use crate::conn::change::Stream;
use crate::frame::Frame;
use crate::parse::Parsed;
use crate::tuple::Family;
use crate::wire::checksum;
use crate::wire::checksum::Delta;
use crate::wire::get16;
use crate::wire::get32;
use crate::wire::ipv6;
use crate::wire::options;
use crate::wire::put16;
use crate::wire::put32;
use crate::wire::tcp;

/// No host takes less (RFC 791 section 3.1).
const LEAST_V4: usize = 576;

/// A segment that travels `way`: its own number moves as the stream of its sender does, what it
/// acknowledges moves back as that of the other end, timestamps by the track. `streams` are the
/// client's and the dest's.
pub fn renumber(
    segment: &mut [u8],
    way: Direction,
    streams: &[Stream; 2],
    track: &mut Track,
) -> Delta {
    let stamps = segment::stamps(segment, way, track);
    let there = streams[way as usize].there(get32(segment, tcp::SEQ));
    let moved = patch(segment, tcp::SEQ, &there.to_be_bytes());
    stamps.and(moved).and(acks(segment, &streams[way.opposite() as usize]))
}

fn acks(segment: &mut [u8], stream: &Stream) -> Delta {
    if segment[tcp::FLAGS] & tcp::ACK_BIT == 0 || *stream == Stream::SAME {
        return Delta::NONE;
    }
    let ack = stream.back(get32(segment, tcp::ACK), Round::Down);
    let moved = patch(segment, tcp::ACK, &ack.to_be_bytes());
    moved.and(blocks(segment, stream, ack))
}

/// SACK blocks, as the sender of what they are about counts: of the new bytes nothing is told. A
/// block that begins where the acknowledgement does would contradict it (under a PROXY header: the
/// client's first byte has come, the header has not): the sender hears of it with the
/// acknowledgement of both.
fn blocks(segment: &mut [u8], stream: &Stream, ack: u32) -> Delta {
    let sack = options::walk(segment).find(|(kind, ..)| *kind == options::SACK);
    let Some((_, at, len)) = sack else { return Delta::NONE };
    let (mut option, mut kept) = ([options::NOP; 40], 2);
    for block in (at + 2..at + len - 7).step_by(8) {
        let left = stream.back(get32(segment, block), Round::Up);
        let right = stream.back(get32(segment, block + 4), Round::Down);
        if (right.wrapping_sub(left) as i32) > 0 && left != ack {
            put32(&mut option, kept, left);
            put32(&mut option, kept + 4, right);
            kept += 8;
        }
    }
    if kept > 2 {
        option[..2].copy_from_slice(&[options::SACK, kept as u8]);
    }
    patch(segment, at, &option[..len])
}

/// Puts a change's new bytes, `text`, into a segment that has some of the old ones: with the last of
/// those, so that they come once whatever the segmentation. What its sender cut before that end
/// has nothing in their place. A segment does not become longer than it came, or than any host
/// takes; what would be too much is cut off its end, and its sender sends it again. None where the
/// frame has no room.
pub fn splice<F: Frame>(
    frame: &mut F,
    p: &Parsed,
    change: &Change,
    text: &[u8],
) -> Option<(Parsed, Delta)> {
    let (l3, l4, end) = (p.l3 as usize, p.l4 as usize, p.end as usize);
    let from = l4 + tcp::header_len(&frame.data()[l4..]);
    let len = end - from;
    let first = get32(&frame.data()[l4..], tcp::SEQ);
    let ahead = change.at.wrapping_sub(first) as i32;
    let until = change.end().wrapping_sub(first) as i32;
    if until <= 0 || ahead >= len as i32 {
        return Some((*p, Delta::NONE));
    }
    let (keep, until) = (ahead.max(0) as usize, until as usize);
    let least = if p.family == Family::V4 { LEAST_V4 } else { ipv6::MIN_MTU };
    let room = p.ip_len().max(least) - (from - l3);
    let (text, tail) = match len.checked_sub(until) {
        Some(tail) if keep + text.len() <= room => (text, tail.min(room - keep - text.len())),
        _ => (&[][..], 0),
    };
    let grown = from + keep + text.len() + tail;
    let before = checksum::sum(&frame.data()[from..end], len as u32);
    if grown > end && !frame.set_len(grown) {
        return None;
    }
    let data = frame.data_mut();
    data.copy_within(from + until.min(len)..from + until.min(len) + tail, grown - tail);
    data[from + keep..grown - tail].copy_from_slice(text);
    let after = checksum::sum(&data[from..grown], (grown - from) as u32);
    let mut delta = Delta::between(before, after);
    let mut cut = Parsed { end: grown as u16, ..*p };
    if until + tail < len || text.is_empty() {
        // The end is yet to come.
        cut.flags &= !tcp::FIN;
        delta = delta.and(patch(&mut data[l4..grown], tcp::FLAGS, &[cut.flags]));
    }
    set_ip_len(&mut data[l3..], p.family, cut.ip_len() as u16);
    // Shorter always fits.
    let _ = frame.set_len(grown);
    Some((cut, delta))
}

/// The number of a segment that an ICMP error quotes, which is toward its sender, as `back` has it;
/// `kept` is added, as it will be taken away again.
pub fn quoted(segment: &mut [u8], stream: &Stream, kept: u32) {
    let number = stream.back(get32(segment, tcp::SEQ), Round::Down).wrapping_add(kept);
    let delta = patch(segment, tcp::SEQ, &number.to_be_bytes());
    // The quote may end before TCP's checksum.
    if segment.len() >= tcp::CHECKSUM + 2 {
        let sum = delta.apply(get16(segment, tcp::CHECKSUM));
        put16(segment, tcp::CHECKSUM, sum);
    }
}
