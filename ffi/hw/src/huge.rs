//! Large tables on huge pages.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ops::DerefMut;
use std::ptr::NonNull;

use zerocopy::FromZeros;

/// Size and alignment of a huge page, and of every non-empty [`HugeSlice`].
const HUGE: usize = 2 << 20;
/// The largest base page of any architecture (aarch64 has 4, 16 or 64 KiB).
const LARGEST_PAGE: usize = 64 << 10;
/// A cache line: the alignment promised to every element type and to the empty slice.
const LINE: usize = 64;

/// A slice of fixed length in anonymous memory of its own, on transparent huge pages where
/// the kernel has them, all zero at first. A page costs memory from its first touch on.
///
/// Starts at a multiple of 2 MiB. Elements are never dropped, so their type must not need
/// it (checked at compile time).
pub struct HugeSlice<T> {
    start: NonNull<T>,
    len: usize,
    /// Bytes mapped at `start`; 0 when there is no mapping.
    mapped: usize,
    owns: PhantomData<T>,
}

// SAFETY: the memory is owned by this value alone, as a Box<[T]>'s is.
unsafe impl<T: Send> Send for HugeSlice<T> {}
// SAFETY: as above; `&HugeSlice<T>` gives out `&[T]` and nothing more.
unsafe impl<T: Sync> Sync for HugeSlice<T> {}

impl<T: FromZeros> HugeSlice<T> {
    /// `len` elements, each all zero bytes. Reserves address space and touches nothing.
    ///
    /// # Errors
    /// The kernel's, when it gives no address space (`ulimit -v`, `vm.overcommit_memory`), or
    /// `InvalidInput` when `len` elements are more bytes than an address space holds.
    pub fn new(len: usize) -> io::Result<Self> {
        const { assert!(!std::mem::needs_drop::<T>(), "elements of a HugeSlice are not dropped") };
        const { assert!(align_of::<T>() <= LINE, "an element's alignment is at most 64") };
        let bytes = len
            .checked_mul(size_of::<T>())
            .filter(|&bytes| bytes <= isize::MAX as usize - 2 * HUGE)
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("a table of {len} entries does not fit in memory"),
                )
            })?;
        if bytes == 0 {
            let start = std::ptr::without_provenance_mut::<T>(LINE);
            let start = NonNull::new(start).expect("64 is not null");
            return Ok(Self { start, len, mapped: 0, owns: PhantomData });
        }
        // Below one huge page the rest of it would only be wasted.
        let mapped = bytes.next_multiple_of(if bytes < HUGE { LARGEST_PAGE } else { HUGE });
        Ok(Self { start: map_aligned(mapped)?.cast(), len, mapped, owns: PhantomData })
    }
}

impl<T> HugeSlice<T> {
    /// Has the kernel give the memory of the first `len` elements now, near the core that asks, so that whoever
    /// writes them first does not wait for it: half a millisecond and more a huge page. Where the kernel cannot
    /// (before Linux 5.14), it gives it as it is written, and this is false.
    pub fn populate(&mut self, len: usize) -> bool {
        let bytes =
            (len.min(self.len) * size_of::<T>()).next_multiple_of(LARGEST_PAGE).min(self.mapped);
        let start = self.start.as_ptr().cast();
        // SAFETY: a part of the mapping, of whole pages; no content changes, whether it fails or not.
        bytes == 0 || unsafe { libc::madvise(start, bytes, libc::MADV_POPULATE_WRITE) == 0 }
    }

    /// Bytes of its elements.
    pub fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }
}

impl<T> Deref for HugeSlice<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `start` is aligned and maps at least `len` elements until drop; zero bytes
        // are valid for T: FromZeros, the only way to a HugeSlice.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for HugeSlice<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` is the only way in.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for HugeSlice<T> {
    fn drop(&mut self) {
        if self.mapped > 0 {
            // SAFETY: exactly the mapping made in `new`, which nothing borrows any more.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.mapped) };
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for HugeSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HugeSlice").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Maps `bytes` (a multiple of the page size, not 0) at a multiple of [`HUGE`].
fn map_aligned(bytes: usize) -> io::Result<NonNull<u8>> {
    crate::alloc::add_one();
    let whole = bytes + HUGE;
    // SAFETY: a new private anonymous mapping at an address of the kernel's choice.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            whole,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let before = at.addr().next_multiple_of(HUGE) - at.addr();
    let start = at.wrapping_byte_add(before);
    let after = whole - before - bytes;
    // SAFETY: both ends lie inside the mapping just made, are whole pages, and nothing uses
    // them; advising and a failure of any of the calls changes no content.
    unsafe {
        if before > 0 {
            libc::munmap(at, before);
        }
        if after > 0 {
            libc::munmap(start.wrapping_byte_add(bytes), after);
        }
        // A kernel without huge pages refuses: the slice is slower then, nothing else.
        libc::madvise(start, bytes, libc::MADV_HUGEPAGE);
    }
    Ok(NonNull::new(start.cast()).expect("the kernel maps nothing at address 0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering;

    #[derive(FromZeros)]
    #[repr(C, align(64))]
    struct Line {
        tags: [u16; 8],
        hits: AtomicU32,
    }

    #[test]
    fn populated_memory_is_there_and_zero() {
        const LEN: usize = 3 << 20;
        let mut slice = HugeSlice::<u64>::new(LEN).unwrap();
        for (len, pages) in [(0, 0), (1, 1), (100_000, 196), (usize::MAX, LEN * 8 / 4096)] {
            if !slice.populate(len) {
                continue;
            }
            let mut resident = vec![0; LEN * 8 / 4096];
            // SAFETY: the slice's mapping, and a byte for each of its pages.
            let asked = unsafe {
                libc::mincore(slice.start.as_ptr().cast(), LEN * 8, resident.as_mut_ptr())
            };
            assert_eq!(asked, 0);
            assert!(resident[..pages].iter().all(|page| page & 1 == 1), "{len}");
        }
        assert!(slice.iter().all(|&n| n == 0));
        assert!(HugeSlice::<u64>::new(0).unwrap().populate(9));
    }

    #[test]
    fn zero_at_first_and_keeps_what_is_written() {
        let mut slice = HugeSlice::<Line>::new(100_000).unwrap();
        assert_eq!(slice.len(), 100_000);
        assert_eq!(slice.as_ptr().addr() % HUGE, 0);
        assert!(slice.iter().all(|line| line.tags == [0; 8]));
        slice[99_999].tags[7] = 7;
        slice[0].hits.store(3, Ordering::Relaxed);
        assert_eq!(slice[99_999].tags, [0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(slice[0].hits.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn small_and_empty_ones_are_aligned_too() {
        for len in [0, 1, 7] {
            let slice = HugeSlice::<u64>::new(len).unwrap();
            assert_eq!(slice.len(), len);
            assert_eq!(slice.as_ptr().addr() % LINE, 0);
            assert!(slice.iter().all(|&x| x == 0));
        }
        assert_eq!(HugeSlice::<()>::new(5).unwrap().len(), 5);
    }

    #[test]
    fn untouched_memory_costs_nothing_and_is_given_back() {
        // 64 GiB at a time is more than this address space's share of memory: it works only
        // because nothing is touched, and a thousand times only because drop unmaps.
        for _ in 0..1000 {
            let mut slice = HugeSlice::<u64>::new(8 << 30).unwrap();
            slice[4 << 30] = 1;
        }
    }

    #[test]
    fn a_mapping_counts_as_an_allocation() {
        let before = crate::alloc::count();
        let slice = HugeSlice::<u64>::new(100).unwrap();
        assert_eq!(crate::alloc::count() - before, 1);
        drop(slice);
        assert_eq!(crate::alloc::count() - before, 1);
    }

    #[test]
    fn absurd_lengths_are_refused() {
        let error = HugeSlice::<u64>::new(usize::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let error = HugeSlice::<u64>::new(1 << 59).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
    }

    #[test]
    fn crosses_threads() {
        let mut slice = HugeSlice::<u32>::new(1 << 20).unwrap();
        let slice = std::thread::spawn(move || {
            slice[5] = 5;
            slice
        })
        .join()
        .unwrap();
        assert_eq!(slice[5], 5);
    }
}
