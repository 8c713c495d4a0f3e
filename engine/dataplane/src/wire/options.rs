//! TCP options (RFC 9293 section 3.1): where they are, and which ones there are.

use super::get32;
use super::tcp;

/// Kind: end of the list.
pub const END: u8 = 0;
/// Kind: no operation.
pub const NOP: u8 = 1;
/// Kind: maximum segment size.
pub const MSS: u8 = 2;
/// Kind: selective acknowledgement blocks (RFC 2018).
pub const SACK: u8 = 5;
/// Kind: timestamps (RFC 7323).
pub const TIMESTAMPS: u8 = 8;
/// Kind: MD5 signature (RFC 2385).
pub const MD5: u8 = 19;
/// Kind: authentication (RFC 5925).
pub const AO: u8 = 29;
/// Kind: multipath TCP (RFC 8684).
pub const MPTCP: u8 = 30;
/// Kind: fast open cookie (RFC 7413).
pub const FAST_OPEN: u8 = 34;
/// Kind: an experiment's, told apart by two further bytes (RFC 6994).
pub const EXPERIMENT: u8 = 254;
/// Those of fast open, before it had a kind of its own.
pub const FAST_OPEN_EXPERIMENT: u16 = 0xf989;

/// The start of the usual timestamps option, padded in front: what most segments carry.
pub const USUAL_TIMESTAMPS: u32 = 0x0101_080a;

/// Places of the options in a TCP header, each as (kind, place, length), kind and length bytes
/// included. Ends at the first malformed one.
pub fn walk(segment: &[u8]) -> impl Iterator<Item = (u8, usize, usize)> + '_ {
    let header = &segment[..tcp::header_len(segment).min(segment.len())];
    let mut at = tcp::LEN;
    core::iter::from_fn(move || {
        loop {
            let kind = *header.get(at)?;
            if kind == NOP {
                at += 1;
                continue;
            }
            let len = usize::from(*header.get(at + 1)?);
            if kind == END || len < 2 || at + len > header.len() {
                return None;
            }
            at += len;
            return Some((kind, at - len, len));
        }
    })
}

/// Header length of a segment that carries timestamps as nearly all senders write them, behind two
/// NOPs, and nothing else.
pub const USUAL_LEN: usize = 32;
/// The place of TSval then.
pub const USUAL_PLACE: usize = 24;

/// Place of TSval, with TSecr four bytes on, of a segment that carries timestamps.
#[inline(always)]
pub fn timestamps(segment: &[u8]) -> Option<usize> {
    let header_len = tcp::header_len(segment);
    if header_len >= USUAL_LEN
        && segment.len() >= USUAL_LEN
        && get32(segment, tcp::LEN) == USUAL_TIMESTAMPS
    {
        return Some(USUAL_PLACE);
    }
    if header_len == tcp::LEN { None } else { unusual_timestamps(segment) }
}

#[cold]
fn unusual_timestamps(segment: &[u8]) -> Option<usize> {
    walk(segment).find(|(kind, _, len)| *kind == TIMESTAMPS && *len == 10).map(|(_, at, _)| at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(options: &[u8]) -> Vec<u8> {
        let mut s = vec![0; tcp::LEN];
        s.extend_from_slice(options);
        s[tcp::OFFSET] = ((s.len() / 4) as u8) << 4;
        s
    }

    #[test]
    fn a_linux_syn() {
        // MSS 1460, SACK permitted, timestamps, NOP, window scale 7.
        let s = segment(&[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7]);
        let kinds: Vec<_> = walk(&s).map(|(kind, at, _)| (kind, at)).collect();
        assert_eq!(kinds, [(2, 20), (4, 24), (8, 26), (3, 37)]);
        assert_eq!(timestamps(&s), Some(28));
    }

    #[test]
    fn the_usual_padding() {
        let s = segment(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        assert_eq!(timestamps(&s), Some(24));
        assert_eq!(timestamps(&segment(&[])), None);
    }

    #[test]
    fn malformed_ones_end_the_walk() {
        for options in
            [&[8, 1, 0, 0][..], &[8, 0, 0, 0], &[8, 9, 0, 0], &[0, 8, 10, 0], &[1, 1, 1, 8]]
        {
            assert_eq!(walk(&segment(options)).count(), 0, "{options:?}");
        }
    }
}
