//! Identifications of the packets that are made or renumbered here: under full-NAT, in tunnels, and
//! where they are cut.

use crate::tuple::Family;

/// The most IPv4's field tells apart.
const ALL: usize = 1 << 16;

/// A worker's numbers, which no other worker gives: each counts in a range of its own, of 16 bits; under
/// IPv6 the other 16 tell how often it has gone through it. One of IPv6 is as good without them,
/// where the packet becomes IPv4's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids {
    first: u32,
    last: u32,
    id: u32,
    round: u32,
}

impl Ids {
    /// Begins somewhere, by a number strangers do not know.
    pub(super) fn new(worker: usize, workers: usize, seed: u64) -> Self {
        let range = (ALL / workers) as u32;
        let first = worker as u32 * range;
        Self {
            first,
            last: first + range - 1,
            id: first + seed as u32 % range,
            round: (seed >> 32) as u32,
        }
    }

    /// The next one.
    #[inline(always)]
    pub(super) fn next(&mut self, family: Family) -> u32 {
        if self.id == self.last {
            self.id = self.first;
            self.round = self.round.wrapping_add(1);
        } else {
            self.id += 1;
        }
        match family {
            Family::V4 => self.id,
            Family::V6 => self.round << 16 | self.id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn workers_give_each_number_once_a_round() {
        for workers in [1, 2, 3, 7] {
            let mut seen = HashSet::new();
            for worker in 0..workers {
                let mut ids = Ids::new(worker, workers, 0x1234_5678_9abc_def0);
                assert!((0..ALL / workers).all(|_| seen.insert(ids.next(Family::V4))));
            }
            assert!(seen.iter().all(|id| *id < ALL as u32));
        }
    }

    #[test]
    fn ipv6_has_none_twice_in_many_rounds() {
        let mut ids = Ids::new(1, 60_000, u64::MAX);
        let mut seen = HashSet::new();
        assert!((0..1 << 16).all(|_| seen.insert(ids.next(Family::V6))));
    }
}
