//! Asking for a cache line before it is needed.

/// Asks for the first cache line of `value`, into all cache levels.
#[inline(always)]
pub fn prefetch<T: ?Sized>(value: &T) {
    line(std::ptr::from_ref(value).cast());
}

/// Asks for the first cache line of `slice[i]`. An `i` out of range is harmless and unchecked:
/// the processor ignores a prefetch that it cannot translate.
#[inline(always)]
pub fn prefetch_index<T>(slice: &[T], i: usize) {
    line(slice.as_ptr().wrapping_add(i).cast());
}

/// How many lines may be asked for at a time so that all come and none makes others wait, on the core's
/// memory alone. Measured, not read from it: of Zen those that come on top of some twenty are forgotten;
/// Golden Cove takes more, and is faster for it.
pub fn lines_under_way() -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        // `__cpuid` is `unsafe` in older toolchains only.
        #[allow(unused_unsafe)]
        // SAFETY: every x86_64 processor has CPUID and its leaf 0.
        let vendor = unsafe { std::arch::x86_64::__cpuid(0) };
        let is_intel = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes)
            == [*b"Genu", *b"ineI", *b"ntel"];
        if is_intel {
            return 28;
        }
    }
    16
}

#[inline(always)]
fn line(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::_MM_HINT_T0;
        use std::arch::x86_64::_mm_prefetch;
        // SAFETY: PREFETCHT0 is a hint: it reads nothing a program can see and never faults,
        // whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_index_is_harmless() {
        let slice = [1_u64; 4];
        for i in [0, 3, 4, 1 << 40, usize::MAX] {
            prefetch_index(&slice, i);
        }
        prefetch_index::<u8>(&[], 7);
        prefetch(&slice);
        prefetch("");
        assert_eq!(slice, [1; 4]);
    }
}
