//! Which removed dests have no conns any more, so that their numbers may be given up, and which
//! removed pool addresses no leases.
//!
//! A worker counts a conn that changes its state out of one counter and into another, and the
//! counters of several are read one after another: a single look may see none where there is one.
//! So two looks count, a second apart, and none between them that saw a conn.

use hashbrown::HashMap;
use pointsman_dataplane::tick::Tick;
use std::hash::Hash;
use std::time::Duration;

/// Between the two looks.
const APART: Duration = Duration::from_secs(1);

/// Since when each of what was removed (dests, pool addresses) was seen without conns.
#[derive(Debug)]
pub(crate) struct Ended<K> {
    since: HashMap<K, Tick>,
}

impl<K> Default for Ended<K> {
    fn default() -> Self {
        Self { since: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash> Ended<K> {
    /// Looks at all that is removed; whether there is one that may be given up.
    pub(crate) fn look(
        &mut self,
        removed: impl Iterator<Item = K>,
        conns: impl Fn(K) -> u64,
        now: Tick,
    ) -> bool {
        let without = removed.filter(|id| conns(*id) == 0);
        self.since = without.map(|id| (id, *self.since.get(&id).unwrap_or(&now))).collect();
        self.since.keys().any(|id| self.surely(*id, now))
    }

    /// Forgets those that are not removed any more.
    pub(crate) fn retain(&mut self, removed: impl Fn(K) -> bool) {
        self.since.retain(|id, _| removed(*id));
    }

    /// Whether one has no conns for sure.
    pub(crate) fn surely(&self, id: K, now: Tick) -> bool {
        self.since.get(&id).is_some_and(|since| now.since(*since) >= APART)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pointsman_dataplane::service::DestId;

    #[test]
    fn one_look_is_not_enough_and_a_conn_between_two_counts() {
        let id = DestId(7);
        let mut ended = Ended::default();
        let mut look = |conns, ms| {
            let now = Tick::from_millis(ms);
            assert_eq!(ended.look([id].into_iter(), |_| conns, now), ended.surely(id, now));
            ended.surely(id, now)
        };
        assert!(!look(0, 1000));
        assert!(!look(0, 1999));
        assert!(!look(1, 2000));
        assert!(!look(0, 3000));
        assert!(look(0, 4000));
        assert!(!look(1, 5000));
    }

    #[test]
    fn a_dest_that_is_no_longer_removed_is_forgotten() {
        let (id, at) = (DestId(7), Tick::from_secs);
        let mut ended = Ended::default();
        assert!(!ended.look([id].into_iter(), |_| 0, at(1)));
        assert!(!ended.look([].into_iter(), |_| 0, at(2)));
        assert!(!ended.look([id].into_iter(), |_| 0, at(3)));
        ended.retain(|_| false);
        assert!(!ended.surely(id, at(9)));
    }
}
