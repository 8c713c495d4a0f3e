//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! A header checksum is the complement of the one's complement sum of 16-bit words. Changing some
//! words from m to m' changes it by RFC 1624 equation 3: HC' = ~(~HC + ~m + m'). The sum of all
//! the ~m + m' of a rewrite does not depend on the packet, so a conn keeps it as a `Delta` made
//! when it opened; undoing the rewrite is the delta's complement.

use crate::tuple::Addr;
use crate::wire::put_raw16;
use crate::wire::raw16;
use crate::wire::raw32;
use crate::wire::raw64;

/// Adds bytes, as big-endian 16-bit words, to a running sum. An odd last byte is padded with zero.
/// The sum of 64 kB and a few headers stays below 2^32.
pub fn sum(bytes: &[u8], acc: u32) -> u32 {
    let mut words = bytes.chunks_exact(2);
    let mut acc = words.by_ref().fold(acc, |a, w| a + u16::from_be_bytes([w[0], w[1]]) as u32);
    if let [last] = words.remainder() {
        acc += (*last as u32) << 8;
    }
    acc
}

/// Whether the checksum of an IPv4 header without options is right. The sum of words of either byte
/// order, of any width that is a multiple of 16 bits, is a multiple of ffff then (RFC 1071 section 2).
#[inline(always)]
pub fn is_right(header: &[u8; 20]) -> bool {
    // 2^64 is 1 more than such a multiple, so what is carried out comes in again as 1.
    let (sum, carry) = raw64(header, 12).overflowing_add(raw64(header, 4));
    let (sum, again) = sum.overflowing_add(raw32(header, 0) as u64 + carry as u64);
    // It is not 0: the version is not.
    sum.wrapping_add(again as u64).is_multiple_of(0xffff)
}

/// The sum of a pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1).
pub fn pseudo(src: Addr, dst: Addr, proto: u8, len: usize) -> u32 {
    addr_sum(src) + addr_sum(dst) + proto as u32 + (len as u32 & 0xffff) + (len as u32 >> 16)
}

/// Folds a running sum into 16 bits, without complement.
#[inline(always)]
pub fn fold(acc: u32) -> u16 {
    // Both halves are added in both, and what the lower carries out is what comes in again at the upper.
    (acc.wrapping_add(acc.rotate_left(16)) >> 16) as u16
}

/// The checksum to write for a running sum.
#[inline(always)]
pub fn finish(acc: u32) -> u16 {
    !fold(acc)
}

/// The sum of an address's words: those of its own family only.
#[inline]
pub fn addr_sum(a: Addr) -> u32 {
    let words = |bits: u128, n: u32| (0..n).map(|i| (bits >> (16 * i)) as u16 as u32).sum();
    if a.is_v4() { words(a.v4_bits() as u128, 2) } else { words(a.bits(), 8) }
}

/// One's complement addition: the carry comes in again at the other end.
#[inline(always)]
fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum.wrapping_add(carry as u16)
}

/// What a number of 32 bits at an even place adds to a running sum of differences when it changes.
#[inline(always)]
pub fn change32(before: u32, after: u32) -> u64 {
    !before as u64 + after as u64
}

/// The packet-independent part of an incremental update, as checksums stand in memory: sums are the same in either
/// byte order (RFC 1071 section 2 B).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Delta(pub(crate) u16);

impl Delta {
    /// Nothing changes.
    pub const NONE: Self = Self(0);

    /// From the folded sums of the words before and after.
    pub fn between(before: u32, after: u32) -> Self {
        Self(fold(!fold(before) as u32 + fold(after) as u32).to_be())
    }

    /// Of one word.
    #[inline(always)]
    pub fn word(before: u16, after: u16) -> Self {
        Self(add(!before, after).to_be())
    }

    /// Of a word that falls by so much.
    pub const fn less(by: u16) -> Self {
        Self((!by).to_be())
    }

    /// From a running sum of such differences (`change32`), folded once for all of them: some thousands at most.
    #[inline(always)]
    pub fn of(sum: u64) -> Self {
        let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
        Self(fold(sum as u32).to_be())
    }

    /// What it adds to a running sum of differences.
    #[inline(always)]
    pub fn sum(self) -> u64 {
        u16::from_be(self.0) as u64
    }

    /// The delta of the opposite rewrite.
    #[inline(always)]
    pub const fn inverse(self) -> Self {
        Self(!self.0)
    }

    /// Both changes.
    #[inline(always)]
    pub fn and(self, other: Self) -> Self {
        Self(add(self.0, other.0))
    }

    /// The new value of a checksum field.
    #[inline(always)]
    pub fn apply(self, checksum: u16) -> u16 {
        u16::from_be(self.apply_raw(checksum.to_be()))
    }

    /// The same as they stand in memory: equation 3 without its complements, by borrowing where it carries.
    #[inline(always)]
    pub fn apply_raw(self, checksum: u16) -> u16 {
        let (difference, borrow) = checksum.overflowing_sub(self.0);
        difference.wrapping_sub(borrow as u16)
    }

    /// Changes the checksum field at `at`.
    #[inline(always)]
    pub fn update(self, header: &mut [u8], at: usize) {
        let checksum = self.apply_raw(raw16(header, at));
        put_raw16(header, at, checksum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1624 section 4: HC = 0xDD2F, m = 0x5555, m' = 0x3285 gives 0x0000 (and not 0xFFFF).
    #[test]
    fn rfc_1624_example() {
        assert_eq!(Delta::word(0x5555, 0x3285).apply(0xdd2f), 0x0000);
    }

    /// RFC 1624 equation 3, whichever way 0 is written.
    #[test]
    fn updates_as_by_complements() {
        let edges = [0, 1, 2, 0x7fff, 0x8000, 0xfffd, 0xfffe, 0xffff];
        for delta in edges.into_iter().chain((0..=u16::MAX).step_by(251)) {
            for checksum in 0..=u16::MAX {
                let updated = !add(!checksum, delta);
                assert_eq!(Delta(delta).apply_raw(checksum), updated, "{checksum:x} {delta:x}");
            }
        }
    }

    /// By carrying twice, as RFC 1071 section 4.1 does.
    #[test]
    fn folds_where_halves_carry_and_where_they_do_not() {
        let halves = [0, 1, 2, 0x7fff, 0x8000, 0xfffe, 0xffff];
        for acc in halves.iter().flat_map(|hi| halves.map(|lo: u32| hi << 16 | lo)) {
            let once = (acc & 0xffff) + (acc >> 16);
            assert_eq!(fold(acc) as u32, (once & 0xffff) + (once >> 16), "{acc:x}");
        }
    }

    /// RFC 1071 section 3: the words 0001 f203 f4f5 f6f7 sum to ddf2.
    #[test]
    fn rfc_1071_example() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes, 0)), 0xddf2);
        assert_eq!(fold(sum(&[0x12, 0x34, 0x56], 0)), 0x1234 + 0x5600);
    }

    proptest! {
        #[test]
        fn a_header_is_right_when_its_words_sum_to_ffff(mut header in any::<[u8; 20]>(), right in any::<bool>()) {
            header[0] = 0x45;
            if right {
                header[10..12].fill(0);
                let checksum = finish(sum(&header, 0));
                header[10..12].copy_from_slice(&checksum.to_be_bytes());
            }
            prop_assert_eq!(is_right(&header), fold(sum(&header, 0)) == 0xffff);
        }

        #[test]
        fn an_update_equals_a_full_sum(mut bytes in proptest::collection::vec(any::<u8>(), 4..64), new in any::<[u8; 4]>()) {
            let before = finish(sum(&bytes, 0));
            let delta = Delta::between(sum(&bytes[..4], 0), sum(&new, 0));
            bytes[..4].copy_from_slice(&new);
            // 0 and ffff are the same number; verification of the updated header must give zero.
            let updated = delta.apply(before);
            prop_assert_eq!(fold(sum(&bytes, updated as u32)) , 0xffff);
            let back = delta.inverse().apply(updated);
            prop_assert!(back == before || back ^ before == 0xffff);
        }
    }
}
