//! What a thread waited for that is no work of its own.

/// How often this thread waited for the first touch of memory (page faults), or for others that the
/// system had run in its place (involuntary switches), so far: micro- or milliseconds each. 0 where
/// the system does not tell.
pub fn interruptions() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is a whole rusage for the kernel to fill, and zeros are a valid one where it
    // does not.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init()
    };
    (usage.ru_minflt + usage.ru_majflt + usage.ru_nivcsw).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_touch_of_memory_is_seen() {
        let mut slice = crate::HugeSlice::<u64>::new(8 << 20).unwrap();
        let before = interruptions();
        slice.iter_mut().step_by(512).for_each(|x| *x = 1);
        let touched = interruptions();
        assert!(touched >= before + 32, "64 MiB are 32 huge pages at least: {before} {touched}");
    }
}
