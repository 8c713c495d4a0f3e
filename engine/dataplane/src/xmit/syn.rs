//! What nat and full-NAT change in the options of SYN and SYN-ACK, and which they cannot carry.

use super::segment::patch;
use crate::wire::checksum::Delta;
use crate::wire::get16;
use crate::wire::options;

/// Whether a segment is signed over the very addresses and numbers that a rewrite changes
/// (RFC 2385, RFC 5925).
#[inline(always)]
pub fn is_signed(segment: &[u8]) -> bool {
    options::walk(segment).any(|(kind, ..)| matches!(kind, options::MD5 | options::AO))
}

/// Lowers the maximum segment size to `mss` where the option says more. A segment without the
/// option stands for 536 or 1,220 bytes (RFC 9293 section 3.7.1), which every path carries.
///
/// Where it `blanks`, turns a fast open cookie (RFC 7413) into no-operations: it was made for another
/// address, and data in a SYN would reach a dest that may yet be exchanged for another. So does the
/// option that was for the experiment (RFC 6994), which old clients send.
pub fn adapt(segment: &mut [u8], mss: u16, blanks: bool) -> Delta {
    let mut delta = Delta::NONE;
    let must_change = |s: &[u8], (kind, at, len): (u8, usize, usize)| match kind {
        options::MSS => len == 4 && get16(s, at + 2) > mss,
        options::FAST_OPEN => blanks,
        options::EXPERIMENT => {
            blanks && len >= 4 && get16(s, at + 2) == options::FAST_OPEN_EXPERIMENT
        }
        _ => false,
    };
    let find = |s: &[u8]| options::walk(s).find(|option| must_change(s, *option));
    while let Some((kind, at, len)) = find(segment) {
        delta = delta.and(match kind {
            options::MSS => patch(segment, at + 2, &mss.to_be_bytes()),
            _ => patch(segment, at, &[options::NOP; 40][..len]),
        });
    }
    delta
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum;
    use crate::wire::tcp;

    fn segment(options: &[u8]) -> Vec<u8> {
        let mut s = vec![0; tcp::LEN];
        s.extend_from_slice(options);
        s[tcp::OFFSET] = ((s.len() / 4) as u8) << 4;
        s
    }

    /// Applies a change and tells whether it gave the right delta.
    fn right(s: &mut [u8], change: impl Fn(&mut [u8]) -> Delta) -> bool {
        let before = checksum::finish(checksum::sum(s, 0));
        let after = change(s).apply(before);
        let full = checksum::finish(checksum::sum(s, 0));
        after == full || after ^ full == 0xffff
    }

    #[test]
    fn a_larger_mss_is_lowered_wherever_it_stands() {
        let mut s = segment(&[2, 4, 0x05, 0xb4]);
        assert!(right(&mut s, |s| adapt(s, 1360, false)));
        assert_eq!(get16(&s, 22), 1360);
        let mut s = segment(&[1, 2, 4, 0x05, 0xb4, 1, 1, 1]);
        assert!(right(&mut s, |s| adapt(s, 1360, false)));
        assert_eq!(get16(&s, 23), 1360);
    }

    #[test]
    fn a_smaller_mss_stays() {
        let mut s = segment(&[2, 4, 0x02, 0x18]);
        assert_eq!(adapt(&mut s, 1360, false), Delta::NONE);
    }

    #[test]
    fn fast_open_becomes_no_operations() {
        let mut s = segment(&[34, 4, 9, 9, 2, 4, 5, 0xb4]);
        assert!(right(&mut s, |s| adapt(s, u16::MAX, true)));
        assert_eq!(&s[20..], &[1, 1, 1, 1, 2, 4, 5, 0xb4]);
        // That of the experiment too, and no other that was one.
        let mut s = segment(&[254, 4, 0xf9, 0x89, 254, 4, 7, 7, 1, 34, 2, 254, 2, 0, 0, 0]);
        assert!(right(&mut s, |s| adapt(s, u16::MAX, true)));
        assert_eq!(&s[20..], &[1, 1, 1, 1, 254, 4, 7, 7, 1, 1, 1, 254, 2, 0, 0, 0]);
    }

    #[test]
    fn signatures_are_seen() {
        let mut md5 = vec![19, 18];
        md5.resize(20, 1);
        assert!(is_signed(&segment(&md5)));
        assert!(!is_signed(&segment(&[2, 4, 5, 0xb4])));
    }
}
