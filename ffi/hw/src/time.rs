//! The time stamp counter as a clock.

use std::sync::OnceLock;
use std::time::Duration;
use std::time::Instant;

/// Ticks of the time stamp counter; see [`tsc_hz`] for their length.
///
/// Not a serialising read: the processor may move it by some tens of ticks.
#[inline(always)]
pub fn tsc() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: RDTSC is in every x86_64 processor and touches no memory.
        unsafe { std::arch::x86_64::_rdtsc() }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        u64::try_from(origin().elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Ticks of [`tsc`] per second. The first call measures for 20 ms, later ones are a load.
pub fn tsc_hz() -> u64 {
    static HZ: OnceLock<u64> = OnceLock::new();
    *HZ.get_or_init(calibrate)
}

/// Whether the counter runs at one rate in all power states (invariant TSC). Where it
/// does not, a [`TscClock`] drifts, and who starts the workers should warn.
pub fn tsc_is_steady() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        // `__cpuid` is `unsafe` in older toolchains only.
        #[allow(unused_unsafe)]
        // SAFETY: every x86_64 processor has CPUID, and leaf 0x8000_0000 says which
        // extended leaves may be asked for.
        let edx = unsafe {
            use std::arch::x86_64::__cpuid;
            if __cpuid(0x8000_0000).eax < 0x8000_0007 { 0 } else { __cpuid(0x8000_0007).edx }
        };
        edx & (1 << 8) != 0
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        true
    }
}

/// Nanoseconds since its creation, from the time stamp counter by multiply and shift.
///
/// A plain value: give each worker a copy and all have the same origin.
#[derive(Clone, Copy, Debug)]
pub struct TscClock {
    start: u64,
    /// Nanoseconds per tick, as a fraction of 2^32.
    ns_per_tick: u64,
}

impl TscClock {
    /// A clock that starts at 0 now. The first in the process measures for 20 ms.
    pub fn new() -> Self {
        let hz = u128::from(tsc_hz());
        let ns_per_tick = ((1_000_000_000_u128 << 32) + hz / 2) / hz;
        let ns_per_tick = u64::try_from(ns_per_tick).unwrap_or(u64::MAX);
        Self { start: tsc(), ns_per_tick }
    }

    /// Nanoseconds since [`TscClock::new`]; wraps after 584 years.
    #[inline(always)]
    pub fn now_ns(&self) -> u64 {
        self.ns_at(tsc())
    }

    /// The reading of this clock at the counter value `tsc`; 0 for values before its start
    /// (another core's counter may lag by a few ticks).
    #[inline(always)]
    pub fn ns_at(&self, tsc: u64) -> u64 {
        let ticks = tsc.saturating_sub(self.start);
        ((u128::from(ticks) * u128::from(self.ns_per_tick)) >> 32) as u64
    }
}

impl Default for TscClock {
    fn default() -> Self {
        Self::new()
    }
}

/// A loop that only looks at the counter, in so many steps of at least so many ticks: how many each of them took. What is
/// more than was asked for, the machine has taken from the program meanwhile.
pub fn idle_steps(ticks: u64, steps: u64) -> impl Iterator<Item = u64> {
    let mut last = tsc();
    (0..steps).map(move |_| {
        let began = last;
        while last.saturating_sub(began) < ticks.max(1) {
            last = tsc();
        }
        last - began
    })
}

/// Measures the counter against the kernel's clock. The kernel disciplines neither end of
/// CLOCK_MONOTONIC_RAW, so a time step during the measurement does no harm.
fn calibrate() -> u64 {
    if cfg!(not(target_arch = "x86_64")) {
        return 1_000_000_000;
    }
    let (tsc_0, ns_0) = pair();
    std::thread::sleep(Duration::from_millis(20));
    let (tsc_1, ns_1) = pair();
    let ticks = u128::from(tsc_1.saturating_sub(tsc_0));
    let ns = u128::from(ns_1.saturating_sub(ns_0)).max(1);
    u64::try_from((ticks * 1_000_000_000 + ns / 2) / ns).unwrap_or(u64::MAX).max(1)
}

/// Counter and kernel clock at one instant: of sixteen tries the one with the least
/// between the two reads of the counter, so that an interrupt spoils no measurement.
fn pair() -> (u64, u64) {
    let mut best = (u64::MAX, 0, 0);
    for _ in 0..16 {
        let before = tsc();
        let ns = raw_ns();
        let gap = tsc().saturating_sub(before);
        if gap < best.0 {
            best = (gap, before + gap / 2, ns);
        }
    }
    (best.1, best.2)
}

fn raw_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec to write to for the length of the call.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_RAW, &raw mut now) };
    if failed != 0 {
        // Kernels before 2.6.28 only; Instant is CLOCK_MONOTONIC.
        return u64::try_from(origin().elapsed().as_nanos()).unwrap_or(u64::MAX);
    }
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn origin() -> &'static Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    ORIGIN.get_or_init(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_agrees_with_the_kernel() {
        let clock = TscClock::new();
        let wall = Instant::now();
        std::thread::sleep(Duration::from_millis(50));
        let (ours, theirs) = (clock.now_ns() as f64, wall.elapsed().as_nanos() as f64);
        assert!((ours / theirs - 1.0).abs() < 0.02, "tsc {ours} ns, kernel {theirs} ns");
    }

    #[test]
    fn clock_goes_forward_and_never_below_zero() {
        let clock = TscClock::new();
        assert_eq!(clock.ns_at(0), 0);
        let mut last = 0;
        for _ in 0..1000 {
            let now = clock.now_ns();
            assert!(now >= last);
            last = now;
        }
        assert!(last > 0);
    }

    #[test]
    fn idle_steps_are_as_many_and_as_long_as_asked() {
        let before = tsc();
        let steps: Vec<_> = idle_steps(10_000, 100).collect();
        let took = tsc() - before;
        assert_eq!(steps.len(), 100);
        assert!(steps.iter().all(|s| *s >= 10_000), "{steps:?}");
        assert!(steps.iter().sum::<u64>() <= took, "{steps:?} in {took}");
    }

    #[test]
    fn long_runs_do_not_overflow() {
        let clock = TscClock { start: 0, ns_per_tick: 1 << 31 };
        assert_eq!(clock.ns_at(u64::MAX), u64::MAX >> 1);
    }
}
