//! What a worker does in a turn that found nothing.

use std::time::Duration;

/// What the configuration asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idle {
    /// Polls on: the core is the worker's alone.
    Poll,
    /// Backs off to short sleeps, for cores that others use too.
    Adaptive,
}

/// Empty turns before a worker begins to yield. A burst of traffic has gaps of a few turns.
const SPINS: u32 = 64;
/// Empty turns before it begins to sleep.
const YIELDS: u32 = SPINS + 32;
/// The shortest and the longest sleep. Linux adds its timer slack, 50 us by default, to each, so
/// that a frame waits at most about 0.1 ms.
const SLEEPS_US: [u64; 2] = [5, 50];

/// How far a worker has backed off.
#[derive(Debug)]
pub struct Backoff {
    idle: Idle,
    empty: u32,
}

/// What is to be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// The next turn at once.
    No,
    /// After whoever else wants the core.
    Yield,
    /// After this time.
    Sleep(Duration),
}

impl Backoff {
    /// Not backed off yet.
    pub fn new(idle: Idle) -> Self {
        Self { idle, empty: 0 }
    }

    /// Told after each turn whether it found anything, says what to do before the next.
    #[inline]
    pub fn after(&mut self, found: bool) -> Rest {
        if found || self.idle == Idle::Poll {
            self.empty = 0;
            return Rest::No;
        }
        self.empty = self.empty.saturating_add(1);
        match self.empty {
            ..SPINS => Rest::No,
            SPINS..YIELDS => Rest::Yield,
            n => {
                let us = SLEEPS_US[0] + u64::from(n - YIELDS);
                Rest::Sleep(Duration::from_micros(us.min(SLEEPS_US[1])))
            }
        }
    }
}

impl Rest {
    /// Does it.
    pub fn take(self) {
        match self {
            Self::No => std::hint::spin_loop(),
            Self::Yield => std::thread::yield_now(),
            Self::Sleep(time) => std::thread::sleep(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poll_never_rests() {
        let mut backoff = Backoff::new(Idle::Poll);
        assert!((0..10_000).all(|_| backoff.after(false) == Rest::No));
    }

    #[test]
    fn adaptive_spins_then_yields_then_sleeps_up_to_a_limit_and_wakes_at_once() {
        let mut backoff = Backoff::new(Idle::Adaptive);
        let rests: Vec<_> = (0..1000).map(|_| backoff.after(false)).collect();
        assert_eq!(rests[0], Rest::No);
        assert_eq!(rests[SPINS as usize], Rest::Yield);
        assert_eq!(rests[YIELDS as usize], Rest::Sleep(Duration::from_micros(6)));
        assert_eq!(rests[999], Rest::Sleep(Duration::from_micros(SLEEPS_US[1])));
        assert_eq!(backoff.after(true), Rest::No);
        assert_eq!(backoff.after(false), Rest::No);
    }
}
