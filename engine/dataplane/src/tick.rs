//! Time as the data plane sees it: an argument, never a clock.

use core::time::Duration;

/// A moment, in nanoseconds since the process began. The caller's clock decides; it must not go
/// backwards from one call to the next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Tick(u64);

impl Tick {
    /// From nanoseconds.
    #[inline(always)]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// From seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * 1_000_000_000)
    }

    /// Nanoseconds since the process began.
    #[inline(always)]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Milliseconds, cut to the 32 bits that a conn keeps.
    #[inline(always)]
    pub const fn stamp(self) -> Stamp {
        Stamp((self.0 / 1_000_000) as u32)
    }

    /// Time passed since `earlier`; zero if that lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl core::ops::Add<Duration> for Tick {
    type Output = Self;

    fn add(self, d: Duration) -> Self {
        Self(self.0 + d.as_nanos() as u64)
    }
}

/// A moment cut to 32 bits of milliseconds. It wraps after 49 days, so two stamps can be ordered
/// when they are less than 24 days apart: timeouts are limited to `MAX_TIMEOUT_MS`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stamp(pub u32);

/// The longest timeout a conn can have: 23 days.
pub const MAX_TIMEOUT_MS: u32 = 23 * 86_400_000;

impl Stamp {
    /// This moment plus some milliseconds (at most `MAX_TIMEOUT_MS`).
    #[inline(always)]
    pub const fn after(self, millis: u32) -> Self {
        Self(self.0.wrapping_add(millis))
    }

    /// Whether this moment is reached at `now`.
    #[inline(always)]
    pub const fn is_due(self, now: Self) -> bool {
        now.0.wrapping_sub(self.0) as i32 >= 0
    }

    /// Whether `earlier` lies before this moment.
    #[inline(always)]
    pub const fn is_after(self, earlier: Self) -> bool {
        (self.0.wrapping_sub(earlier.0) as i32) > 0
    }

    /// Milliseconds from `now` until this moment; 0 when it is past.
    pub const fn left(self, now: Self) -> u32 {
        if self.is_due(now) { 0 } else { self.0.wrapping_sub(now.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_wrap() {
        let now = Stamp(u32::MAX - 5);
        let later = now.after(10);
        assert!(!later.is_due(now));
        assert_eq!(later.left(now), 10);
        assert!(later.is_due(now.after(10)));
        assert!(!now.after(MAX_TIMEOUT_MS).is_due(now));
    }
}
