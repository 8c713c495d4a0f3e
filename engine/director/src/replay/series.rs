//! What happened when, on the capture's clock: a bounded number of intervals that widen as it
//! goes on.

use serde::Serialize;

/// Intervals at most; there they are joined by twos.
const MOST: usize = 400;
/// The first width, in nanoseconds.
const WIDTH: u64 = 100_000;

/// One interval.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Interval {
    pub(super) frames: u64,
    pub(super) bytes: u64,
    pub(super) dropped: u64,
    pub(super) opened: u64,
}

/// All of them, from the replay's beginning.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Series {
    /// Nanoseconds.
    pub(super) width: u64,
    pub(super) intervals: Vec<Interval>,
}

impl Series {
    pub(super) fn new() -> Self {
        Self { width: WIDTH, intervals: Vec::new() }
    }

    /// So much more happened at `at`, in nanoseconds since the beginning.
    pub(super) fn add(&mut self, at: u64, more: Interval) {
        while at / self.width >= MOST as u64 {
            let pairs = self.intervals.chunks(2);
            let join = |pair: &[Interval]| pair.iter().fold(Interval::default(), Interval::and);
            self.intervals = pairs.map(join).collect();
            self.width *= 2;
        }
        let index = (at / self.width) as usize;
        if self.intervals.len() <= index {
            self.intervals.resize(index + 1, Interval::default());
        }
        self.intervals[index] = self.intervals[index].and(&more);
    }
}

impl Interval {
    fn and(self, o: &Self) -> Self {
        Self {
            frames: self.frames + o.frames,
            bytes: self.bytes + o.bytes,
            dropped: self.dropped + o.dropped,
            opened: self.opened + o.opened,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_joined_and_nothing_is_lost() {
        let mut series = Series::new();
        for n in 0..10_000 {
            series.add(n * WIDTH, Interval { frames: 1, bytes: 10, dropped: 0, opened: 1 });
        }
        assert!(series.intervals.len() <= MOST && series.width == WIDTH * 32);
        assert_eq!(series.intervals.iter().map(|i| i.frames).sum::<u64>(), 10_000);
        assert_eq!(series.intervals.iter().map(|i| i.opened).sum::<u64>(), 10_000);
        assert_eq!(series.intervals[0].frames, 32);
    }
}
