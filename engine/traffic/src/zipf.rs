//! Few that come often, many that come seldom: the n-th of them with weight 1 / n^s.

use crate::Random;

/// Which of so many, by Zipf's law.
#[derive(Clone, Debug)]
pub(crate) struct Zipf {
    /// Weights summed up from the first on.
    sums: Vec<f64>,
}

impl Zipf {
    /// Of `n` (at least 1), with exponent `s`; 0: all alike.
    pub(crate) fn new(n: usize, s: f64) -> Self {
        let mut sum = 0.0;
        let weight = |k: usize| {
            sum += (k as f64).powf(-s);
            sum
        };
        Self { sums: (1..=n.max(1)).map(weight).collect() }
    }

    /// The next one, from 0.
    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        let all = self.sums.last().copied().unwrap_or(1.0);
        let at = random.share() * all;
        self.sums.partition_point(|sum| *sum <= at).min(self.sums.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_comes_as_often_as_its_weight_says() {
        let zipf = Zipf::new(100, 1.0);
        let mut random = Random(3);
        let first = (0..100_000).filter(|_| zipf.draw(&mut random) == 0).count();
        // 1 / (1 + 1/2 + ... + 1/100) = 0.1928.
        assert!((first as f64 / 100_000.0 - 0.1928).abs() < 0.01, "{first}");
        let even = Zipf::new(10, 0.0);
        let last = (0..10_000).filter(|_| even.draw(&mut random) == 9).count();
        assert!((800..1200).contains(&last), "{last}");
    }
}
