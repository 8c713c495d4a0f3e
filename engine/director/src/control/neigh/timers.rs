//! Things due at some time, one time per thing.

use pointsman_dataplane::tick::Tick;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// What is due when. As large as the set of things that wait.
#[derive(Debug)]
pub(super) struct Timers<K> {
    queue: BTreeSet<(Tick, K)>,
    by_key: BTreeMap<K, Tick>,
}

impl<K: Ord + Copy> Timers<K> {
    pub(super) const fn new() -> Self {
        Self { queue: BTreeSet::new(), by_key: BTreeMap::new() }
    }

    /// Makes `key` due at `at`, and at no other time.
    pub(super) fn set(&mut self, key: K, at: Tick) {
        self.cancel(key);
        self.queue.insert((at, key));
        self.by_key.insert(key, at);
    }

    pub(super) fn cancel(&mut self, key: K) {
        if let Some(at) = self.by_key.remove(&key) {
            self.queue.remove(&(at, key));
        }
    }

    /// Cancels everything that `keep` does not want.
    pub(super) fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.queue.retain(|(_, key)| keep(key));
        self.by_key.retain(|key, _| keep(key));
    }

    /// When `key` is due, if it waits.
    pub(super) fn at(&self, key: K) -> Option<Tick> {
        self.by_key.get(&key).copied()
    }

    /// When the first is due.
    pub(super) fn next(&self) -> Option<Tick> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes the first that is due, in order of time.
    pub(super) fn pop(&mut self, now: Tick) -> Option<K> {
        self.pop_if(now, |_| true)
    }

    /// The same, if it is one that `wants`.
    pub(super) fn pop_if(&mut self, now: Tick, wants: impl Fn(K) -> bool) -> Option<K> {
        let (at, key) = *self.queue.first()?;
        if at > now || !wants(key) {
            return None;
        }
        self.cancel(key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_due_once_and_at_its_last_time() {
        let mut timers = Timers::new();
        timers.set('a', Tick::from_secs(5));
        timers.set('b', Tick::from_secs(2));
        timers.set('a', Tick::from_secs(1));
        assert_eq!(timers.next(), Some(Tick::from_secs(1)));
        assert_eq!(timers.pop(Tick::from_millis(999)), None);
        assert_eq!(timers.pop(Tick::from_secs(9)), Some('a'));
        assert_eq!(timers.pop_if(Tick::from_secs(9), |k| k == 'a'), None);
        assert_eq!(timers.pop(Tick::from_secs(9)), Some('b'));
        assert_eq!(timers.pop(Tick::from_secs(9)), None);
        assert_eq!(timers.at('a'), None);
    }
}
