//! Foreign holders of our addresses, found by asking for our own VIPs and by listening.

use super::Conflict;
use super::Event;
use super::links::Links;
use super::timers::Timers;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::tuple::Addr;
use std::collections::BTreeMap;
use std::time::Duration;

/// Each VIP is asked for on each of its ports this often.
const ROUND: Duration = Duration::from_secs(10);
/// A holder not seen for three rounds, and time for the third's answer, is gone.
const GONE: Duration = Duration::from_secs(35);
/// How many are remembered at most.
const MAX_HOLDERS: usize = 256;

type Key = (PortId, Addr, Mac);

#[derive(Clone, Copy, Debug)]
struct Seen {
    since: Tick,
    last: Tick,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Holders {
    seen: BTreeMap<Key, Seen>,
    rounds: Timers<(PortId, Addr)>,
    ends: Timers<Key>,
}

impl Holders {
    pub(super) const fn new() -> Self {
        Self { seen: BTreeMap::new(), rounds: Timers::new(), ends: Timers::new() }
    }

    /// Asks for an address of ours at once, and then every round if it is a VIP.
    pub(super) fn watch(&mut self, port: PortId, addr: Addr, now: Tick) {
        self.rounds.set((port, addr), now);
    }

    /// Brings what is watched into line with a new configuration.
    pub(super) fn configure(&mut self, links: &Links, now: Tick) {
        self.rounds.retain(|(port, addr)| links.is_ours(*port, *addr));
        for (port, addr) in links.all_ours().filter(|(_, addr)| links.is_vip(*addr)) {
            if self.rounds.at((port, addr)).is_none() {
                self.rounds.set((port, addr), now);
            }
        }
        self.seen.retain(|(port, addr, _), _| links.is_ours(*port, *addr));
        self.ends.retain(|(port, addr, _)| links.is_ours(*port, *addr));
    }

    /// Somebody at `mac` claims an address of ours.
    pub(super) fn saw(&mut self, key: Key, links: &mut Links, now: Tick) {
        let full = self.seen.len() >= MAX_HOLDERS;
        if let Some(seen) = self.seen.get_mut(&key) {
            seen.last = now;
        } else if full {
            // 256 alarms are standing; one more says nothing new.
            return;
        } else {
            self.seen.insert(key, Seen { since: now, last: now });
            links.tell(event(key, links, false));
        }
        self.ends.set(key, now + GONE);
    }

    /// Whether somebody else claims this address.
    pub(super) fn is_disputed(&self, port: PortId, addr: Addr) -> bool {
        let all = (port, addr, [0; 6])..=(port, addr, [0xff; 6]);
        self.seen.range(all).next().is_some()
    }

    /// Who holds a VIP of ours.
    pub(super) fn conflicts(&self, links: &Links) -> Vec<Conflict> {
        let of_vips = self.seen.iter().filter(|((_, addr, _), _)| links.is_vip(*addr));
        let conflict = |(&(port, vip, mac), seen): (&Key, &Seen)| Conflict {
            vip,
            mac,
            port,
            since: seen.since,
            last_seen: seen.last,
        };
        of_vips.map(conflict).collect()
    }

    pub(super) fn tick(&mut self, links: &mut Links, now: Tick) {
        while let Some(key) = self.ends.pop(now) {
            self.seen.remove(&key);
            links.tell(event(key, links, true));
        }
        while links.budget > 0
            && let Some((port, addr)) = self.rounds.pop(now)
        {
            links.probe(port, addr);
            if links.is_vip(addr) {
                self.rounds.set((port, addr), now + ROUND);
            }
        }
    }

    pub(super) fn next(&self) -> Option<Tick> {
        self.rounds.next().into_iter().chain(self.ends.next()).min()
    }
}

fn event((port, addr, mac): Key, links: &Links, gone: bool) -> Event {
    match (links.is_vip(addr), gone) {
        (true, false) => Event::ForeignHolder { port, vip: addr, mac },
        (true, true) => Event::ForeignHolderGone { port, vip: addr, mac },
        (false, false) => Event::Duplicate { port, addr, mac },
        (false, true) => Event::DuplicateGone { port, addr, mac },
    }
}
