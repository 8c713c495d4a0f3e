//! An allocator that counts, for benches and tests that hold the packet path to zero
//! allocations. What a [`HugeSlice`](crate::HugeSlice) maps counts too.
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: hw::alloc::CountingAllocator = hw::alloc::CountingAllocator;
//!
//! let before = hw::alloc::count();
//! let boxed = Box::new(1);
//! assert_eq!(hw::alloc::count() - before, 1);
//! # drop(boxed);
//! ```

use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::alloc::System;
use std::cell::Cell;

/// The system's allocator, counting what each thread asks of it. Make it the
/// `#[global_allocator]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator;

/// How often this thread has allocated, grown or mapped memory since it began; only mappings where
/// [`CountingAllocator`] is not the global allocator.
pub fn count() -> u64 {
    COUNT.get()
}

thread_local! {
    // A const-initialised Cell has neither a lazy start nor a destructor, so the allocator
    // may use it at any time, also while a thread begins or ends.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

pub(crate) fn add_one() {
    COUNT.set(COUNT.get() + 1);
}

// SAFETY: every call goes to `System` with the caller's own arguments; counting in between
// touches a thread-local integer and does not allocate.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add_one();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add_one();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        add_one();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: CountingAllocator = CountingAllocator;

    #[test]
    fn counts_allocations_of_this_thread_only() {
        let before = count();
        let mut v = std::hint::black_box(Vec::<u64>::with_capacity(1));
        assert_eq!(count() - before, 1);
        v.reserve_exact(100);
        assert_eq!(count() - before, 2);
        drop(v);
        assert_eq!(count() - before, 2);
        let handle = std::thread::spawn(|| drop(std::hint::black_box(vec![1_u8; 10])));
        let after_spawn = count();
        handle.join().unwrap();
        assert_eq!(count(), after_spawn);
    }
}
