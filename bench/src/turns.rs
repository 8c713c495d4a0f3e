//! What single turns of a worker take, and what the machine takes from a loop that does nothing.

use hdrhistogram::CreationError;
use hdrhistogram::Histogram;
use std::fmt;

/// The longest turn that is told apart, in ticks: minutes.
const LONGEST: u64 = 1 << 40;
/// Two digits of each figure are right: more would take room in the near cache from what is measured.
const DIGITS: u8 = 2;

/// Lengths of turns.
pub struct Turns(Histogram<u64>);

impl Turns {
    /// None yet.
    ///
    /// # Errors
    /// Never: the bounds are right.
    pub fn new() -> Result<Self, CreationError> {
        Histogram::new_with_bounds(1, LONGEST, DIGITS).map(Self)
    }

    /// One took so many ticks.
    #[inline(always)]
    pub fn add(&mut self, ticks: u64) {
        self.0.saturating_record(ticks);
    }

    /// Of a loop that only looks at the clock, now and on this core: as many turns as there are here, each as long as the
    /// median of these.
    ///
    /// # Errors
    /// As `new`.
    pub fn of_idle(&self) -> Result<Self, CreationError> {
        let mut idle = Self::new()?;
        let median = self.0.value_at_quantile(0.5);
        hw::idle_steps(median, self.0.len()).for_each(|ticks| idle.add(ticks));
        Ok(idle)
    }
}

/// A JSON array: how many they are; their median, 99.9th percentile and longest in microseconds.
impl fmt::Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |quantile| self.0.value_at_quantile(quantile) as f64 * 1e6 / hw::tsc_hz() as f64;
        write!(f, "[{}, {:.2}, {:.2}, {:.2}]", self.0.len(), us(0.5), us(0.999), us(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_turns_are_as_many_and_as_long() {
        let mut turns = Turns::new().unwrap();
        (0..1001).for_each(|n| turns.add(5000 + n));
        let idle = turns.of_idle().unwrap();
        assert_eq!(idle.0.len(), 1001);
        assert!(idle.0.min() >= 5400, "{}", idle.0.min());
    }

    #[test]
    fn one_in_a_thousand_is_not_in_the_999th() {
        let mut turns = Turns::new().unwrap();
        (0..999).for_each(|_| turns.add(hw::tsc_hz() / 1_000_000));
        turns.add(hw::tsc_hz() / 1000);
        let said = turns.to_string();
        let figures: Vec<f64> =
            said[1..said.len() - 1].split(", ").map(|f| f.parse().unwrap()).collect();
        assert_eq!(figures[0], 1000.0);
        for (figure, us) in figures[1..].iter().zip([1.0, 1.0, 1000.0]) {
            assert!((figure / us - 1.0).abs() < 0.02, "{said}");
        }
    }
}
