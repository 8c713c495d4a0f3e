//! Announcements of our addresses: three, a second apart, and more where somebody disputes one.

use super::links::Links;
use super::timers::Timers;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::tuple::Addr;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often an address is announced when it becomes ours or its link comes up.
const TIMES: u8 = 3;
/// At least this passes between two announcements of an address on a port, whatever asks for them.
const GAP: Duration = Duration::from_secs(1);
/// The same in defence of an address that is no VIP: RFC 5227 section 2.4's DEFEND_INTERVAL. A VIP
/// is what the director is for, and is defended every `GAP`.
const GAP_OWN: Duration = Duration::from_secs(10);

type Key = (PortId, Addr);

#[derive(Debug, Default)]
struct Left {
    times: u8,
    last: Option<Tick>,
}

/// What is still to be announced. One entry per address of ours and port.
#[derive(Debug)]
pub(super) struct Announcer {
    left: BTreeMap<Key, Left>,
    timers: Timers<Key>,
}

impl Announcer {
    pub(super) const fn new() -> Self {
        Self { left: BTreeMap::new(), timers: Timers::new() }
    }

    /// Announces an address of ours from now on, `TIMES` times.
    pub(super) fn start(&mut self, key: Key, now: Tick) {
        self.plan(key, TIMES, GAP, now);
    }

    /// Announces it once more, for somebody else claims it, or may have answered for it.
    pub(super) fn defend(&mut self, key: Key, links: &Links, at: Tick) {
        let gap = if links.is_vip(key.1) { GAP } else { GAP_OWN };
        self.plan(key, 1, gap, at);
    }

    /// The address is no longer ours on this port.
    pub(super) fn forget(&mut self, key: Key) {
        self.left.remove(&key);
        self.timers.cancel(key);
    }

    pub(super) fn link_down(&mut self, port: PortId) {
        self.left.iter_mut().filter(|(key, _)| key.0 == port).for_each(|(_, left)| left.times = 0);
        self.timers.retain(|key| key.0 != port);
    }

    pub(super) fn tick(&mut self, links: &mut Links, now: Tick) {
        while links.budget > 0
            && let Some(key) = self.timers.pop(now)
        {
            let Some(left) = self.left.get_mut(&key) else { continue };
            left.times = left.times.saturating_sub(1);
            left.last = Some(now);
            if left.times > 0 {
                self.timers.set(key, now + GAP);
            }
            links.announce(key.0, key.1);
        }
    }

    pub(super) fn next(&self) -> Option<Tick> {
        self.timers.next()
    }

    fn plan(&mut self, key: Key, times: u8, gap: Duration, at: Tick) {
        let left = self.left.entry(key).or_default();
        let at = left.last.map_or(at, |last| at.max(last + gap));
        left.times = left.times.max(times);
        if self.timers.at(key).is_none_or(|planned| planned > at) {
            self.timers.set(key, at);
        }
    }
}
