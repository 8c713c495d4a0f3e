//! A token bucket over what the director says by itself (RFC 1812 section 4.3.2.8, RFC 4443
//! section 2.4 f).

use crate::tick::Tick;

/// Answers per second and worker.
pub const RATE: u64 = 1000;
/// Answers at once.
pub const DEPTH: u64 = 100;

const NANOS_PER_TOKEN: u64 = 1_000_000_000 / RATE;

#[derive(Debug)]
pub(super) struct Limit {
    tokens: u64,
    since: Tick,
}

impl Limit {
    pub(super) fn new() -> Self {
        Self { tokens: DEPTH, since: Tick::default() }
    }

    /// Whether one more may be sent now.
    pub(super) fn allows(&mut self, now: Tick) -> bool {
        let earned = now.nanos().saturating_sub(self.since.nanos()) / NANOS_PER_TOKEN;
        if earned > 0 {
            self.tokens = (self.tokens + earned).min(DEPTH);
            self.since = Tick::from_nanos(self.since.nanos() + earned * NANOS_PER_TOKEN);
        }
        let allowed = self.tokens > 0;
        self.tokens -= allowed as u64;
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_gives_its_rate_and_no_more_than_the_depth_at_once() {
        let mut limit = Limit::new();
        let at = |ms: u64| Tick::from_millis(1000 + ms);
        assert_eq!((0..1000).filter(|_| limit.allows(at(0))).count() as u64, DEPTH);
        let over_a_second = (1..=1000).flat_map(|ms| [ms; 3]).filter(|ms| limit.allows(at(*ms)));
        assert_eq!(over_a_second.count() as u64, RATE);
    }
}
