//! SIMD kernels of the conn table.

/// Which of eight tags equal `tag`: bit `i` is set when `tags[i] == tag`.
#[inline(always)]
pub fn match16(tags: &[u16; 8], tag: u16) -> u8 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        // SAFETY: SSE2 is part of x86_64; the unaligned load reads the 16 bytes of `tags`.
        unsafe {
            let all = _mm_loadu_si128(tags.as_ptr().cast());
            let equal = _mm_cmpeq_epi16(all, _mm_set1_epi16(tag as i16));
            _mm_movemask_epi8(_mm_packs_epi16(equal, _mm_setzero_si128())) as u8
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        naive(tags, tag)
    }
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn naive(tags: &[u16; 8], tag: u16) -> u8 {
    tags.iter().enumerate().fold(0, |bits, (i, &t)| bits | (u8::from(t == tag) << i))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lane_has_its_bit() {
        for i in 0..8 {
            let mut tags = [0x1234; 8];
            tags[i] = 0xffff;
            assert_eq!(match16(&tags, 0xffff), 1 << i);
            assert_eq!(match16(&tags, 0x1234), !(1 << i));
        }
    }

    #[test]
    fn agrees_with_the_naive_version() {
        // A 16-bit xorshift visits every value but 0; few distinct low values make matches common.
        let mut x = 1_u16;
        let mut next = || {
            x ^= x << 7;
            x ^= x >> 9;
            x ^= x << 8;
            x
        };
        for round in 0..100_000 {
            let mask = [0x0003, 0x8001, 0xff00, 0xffff][round % 4];
            let tags = std::array::from_fn(|_| next() & mask);
            let tag = next() & mask;
            assert_eq!(match16(&tags, tag), naive(&tags, tag), "{tags:x?} {tag:x}");
        }
    }
}
