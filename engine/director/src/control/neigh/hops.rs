//! The next hops: who is asked, who answered, who is given up.
//!
//! ```text
//!             answer                 30 s (5 s if not by answer)
//!   Asking ---------> Fresh ------------------------------> Verifying
//!     | 3 tries         ^ ^------------- answer ---------------| 3 tries
//!     v                 |                                      v
//!    Dead --------------+ answer                            Asking
//! ```
//! What must stay resolved is `wanted`; all others are strangers, who never take the last quarter
//! of the capacity, are asked again only when a worker wants them, and go in the end.

use super::Event;
use super::links::Links;
use super::timers::Timers;
use pointsman_dataplane::neigh::GRACE;
use pointsman_dataplane::neigh::Hop;
use pointsman_dataplane::neigh::HopState;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::neigh::Neighbours;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::tuple::Addr;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Questions by multicast, and by unicast, before the next stage; RFC 4861 section 10.
const TRIES: u8 = 3;
/// From one try to the next, and for a dead hop at least from one asked-for try to the next.
const RETRY: Duration = Duration::from_secs(1);
/// A dead hop that is wanted is tried again after this.
const RETRY_DEAD: Duration = Duration::from_secs(5);
/// A reachable hop is asked again after this; RFC 4861's REACHABLE_TIME.
const VERIFY: Duration = Duration::from_secs(30);
/// The same where we only heard of it; RFC 4861's DELAY_FIRST_PROBE_TIME.
const VERIFY_HEARD: Duration = Duration::from_secs(5);
/// A dead stranger is given up after this.
const GIVE_UP: Duration = Duration::from_secs(600);
/// How many dead strangers go at once when room is needed: each time makes all conns look their
/// hops up anew.
const EVICT: usize = 16;
/// At most one "table full", and per hop one "changed", in this time.
const QUIET_FULL: Duration = Duration::from_secs(10);
const QUIET_CHANGED: Duration = Duration::from_secs(1);

/// How we know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum How {
    /// It answered us.
    Answered,
    /// It asked us; makes an entry where there is none.
    Asked,
    /// It told everybody.
    Heard,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Asking(u8),
    Fresh,
    Verifying(u8),
    Dead,
}

#[derive(Debug)]
struct Entry {
    port: PortId,
    addr: Addr,
    phase: Phase,
    mac: Option<Mac>,
    wanted: bool,
    asked: Option<Tick>,
    died: Tick,
    told: Option<Tick>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Hops {
    table: Arc<Neighbours>,
    capacity: usize,
    entries: BTreeMap<u32, Entry>,
    timers: Timers<u32>,
    /// Dead strangers, longest dead first.
    graves: BTreeSet<(Tick, u32)>,
    /// Given-up places, in order of time, that must not serve another address yet.
    resting: VecDeque<(Tick, u32)>,
    resting_set: BTreeSet<u32>,
    strangers: usize,
    refused: Option<Tick>,
}

impl Hops {
    pub(super) fn new(table: Arc<Neighbours>, capacity: usize) -> Self {
        Self {
            table,
            capacity,
            entries: BTreeMap::new(),
            timers: Timers::new(),
            graves: BTreeSet::new(),
            resting: VecDeque::new(),
            resting_set: BTreeSet::new(),
            strangers: 0,
            refused: None,
        }
    }

    /// Takes over which hops must stay resolved, and gives up those that no longer make sense.
    pub(super) fn configure(&mut self, wanted: &[(PortId, Addr)], links: &mut Links, now: Tick) {
        let wanted: BTreeSet<(PortId, Addr)> = wanted.iter().copied().collect();
        let all: Vec<u32> = self.entries.keys().copied().collect();
        for id in all {
            let Some(e) = self.entries.get(&id) else { continue };
            let key = (e.port, e.addr);
            if links.port(key.0).is_none() || links.is_ours_anywhere(key.1) {
                self.give_up(id, now);
            } else {
                self.set_wanted(id, wanted.contains(&key));
            }
        }
        for (port, addr) in wanted {
            self.want(port, addr, links, now);
        }
    }

    /// The hop of an address that must stay resolved from now on, asked for if it is new.
    pub(super) fn want(
        &mut self,
        port: PortId,
        addr: Addr,
        links: &mut Links,
        now: Tick,
    ) -> Option<Hop> {
        let id = self.get_or_insert(port, addr, true, links, now)?;
        self.set_wanted(id, true);
        Some(Hop(id))
    }

    /// A worker has a frame for this address.
    pub(super) fn resolve(&mut self, port: PortId, addr: Addr, links: &mut Links, now: Tick) {
        let Some(id) = self.get_or_insert(port, addr, false, links, now) else { return };
        let Some(e) = self.entries.get_mut(&id) else { return };
        if e.phase == Phase::Dead && e.asked.is_none_or(|at| now >= at + RETRY) {
            e.asked = Some(now);
            links.ask(port, addr, None);
        }
    }

    /// What we hold for an address, if it is reachable.
    pub(super) fn mac(&self, port: PortId, addr: Addr) -> Option<Mac> {
        let hop = self.table.find(port, addr)?;
        self.entries.get(&hop.0)?.mac
    }

    /// Somebody said, in one way or another, that he is `addr` at `mac`.
    pub(super) fn learn(
        &mut self,
        (port, addr, mac): (PortId, Addr, Mac),
        how: How,
        links: &mut Links,
        now: Tick,
    ) {
        let id = match self.table.find(port, addr) {
            Some(hop) => hop.0,
            None if how == How::Asked && links.is_on_link(port, addr) => {
                let Some(id) = self.insert(port, addr, false, links, now) else { return };
                id
            }
            None => return,
        };
        let Some(e) = self.entries.get_mut(&id) else { return };
        let known = e.mac == Some(mac);
        if known && how != How::Answered {
            return;
        }
        if e.phase == Phase::Dead {
            self.graves.remove(&(e.died, id));
        }
        e.phase = Phase::Fresh;
        let old = e.mac.replace(mac);
        let wait = if how == How::Answered { VERIFY } else { VERIFY_HEARD };
        self.timers.set(id, now + wait);
        if known {
            return;
        }
        self.table.set(Hop(id), HopState::Reachable(mac));
        let Some(old) = old else {
            links.tell(Event::Resolved { port, addr, mac, wanted: e.wanted });
            return;
        };
        if e.told.is_none_or(|at| now >= at + QUIET_CHANGED) {
            e.told = Some(now);
            links.tell(Event::Changed { port, addr, old, new: mac });
        }
    }

    /// Somebody else's answer that may not replace what we hold, but makes it doubtful (RFC 4861
    /// section 7.2.5, I.a).
    pub(super) fn doubt(&mut self, port: PortId, addr: Addr, now: Tick) {
        let Some(hop) = self.table.find(port, addr) else { return };
        if self.entries.get(&hop.0).is_some_and(|e| e.phase == Phase::Fresh) {
            self.timers.set(hop.0, now);
        }
    }

    /// A link came up: nothing that was known there is sure.
    pub(super) fn link_up(&mut self, port: PortId, now: Tick) {
        let of_port = self.entries.iter_mut().filter(|(_, e)| e.port == port);
        for (id, e) in of_port {
            e.phase = match e.phase {
                Phase::Fresh | Phase::Verifying(_) => Phase::Verifying(0),
                Phase::Dead if !e.wanted => continue,
                Phase::Asking(_) | Phase::Dead => Phase::Asking(0),
            };
            self.timers.set(*id, now);
        }
    }

    /// Does what is due, as far as this turn's budget goes.
    pub(super) fn tick(&mut self, links: &mut Links, now: Tick) {
        while links.budget > 0
            && let Some(id) = self.timers.pop(now)
        {
            self.step(id, links, now);
        }
    }

    pub(super) fn next(&self) -> Option<Tick> {
        self.timers.next()
    }

    fn step(&mut self, id: u32, links: &mut Links, now: Tick) {
        let Some(e) = self.entries.get_mut(&id) else { return };
        let (wait, whom) = match e.phase {
            Phase::Asking(TRIES..) => return self.die(id, links, now),
            Phase::Dead if !e.wanted => return self.give_up(id, now),
            // A link that is down proves nothing; `link_up` asks.
            Phase::Fresh if !links.is_up(e.port) => return self.timers.set(id, now + VERIFY),
            Phase::Dead => (RETRY_DEAD, None),
            Phase::Fresh => {
                e.phase = Phase::Verifying(1);
                (RETRY, e.mac)
            }
            Phase::Verifying(n @ 0..TRIES) => {
                e.phase = Phase::Verifying(n + 1);
                (RETRY, e.mac)
            }
            Phase::Verifying(_) => {
                e.phase = Phase::Asking(1);
                (RETRY, None)
            }
            Phase::Asking(n) => {
                e.phase = Phase::Asking(n + 1);
                (RETRY, None)
            }
        };
        e.asked = Some(now);
        links.ask(e.port, e.addr, whom);
        self.timers.set(id, now + wait);
    }

    fn die(&mut self, id: u32, links: &mut Links, now: Tick) {
        let Some(e) = self.entries.get_mut(&id) else { return };
        // Tried anew after a link came up and still dead: nothing to tell twice.
        let was_dead = self.table.get(Hop(id)).1 == HopState::Dead;
        e.phase = Phase::Dead;
        e.mac = None;
        e.died = now;
        self.table.set(Hop(id), HopState::Dead);
        if !was_dead {
            links.tell(Event::Dead { port: e.port, addr: e.addr, wanted: e.wanted });
        }
        self.rest_dead(id);
    }

    /// Sets the timer of a dead hop by whether it is wanted.
    fn rest_dead(&mut self, id: u32) {
        let Some(e) = self.entries.get(&id) else { return };
        if e.wanted {
            self.graves.remove(&(e.died, id));
            self.timers.set(id, e.died + RETRY_DEAD);
        } else {
            self.graves.insert((e.died, id));
            self.timers.set(id, e.died + GIVE_UP);
        }
    }

    fn set_wanted(&mut self, id: u32, wanted: bool) {
        let Some(e) = self.entries.get_mut(&id).filter(|e| e.wanted != wanted) else { return };
        e.wanted = wanted;
        if wanted {
            self.strangers -= 1;
        } else {
            self.strangers += 1;
        }
        if e.phase == Phase::Dead {
            self.rest_dead(id);
        }
    }

    fn get_or_insert(
        &mut self,
        port: PortId,
        addr: Addr,
        wanted: bool,
        links: &mut Links,
        now: Tick,
    ) -> Option<u32> {
        if let Some(hop) = self.table.find(port, addr) {
            return Some(hop.0);
        }
        let id = self.insert(port, addr, wanted, links, now)?;
        // Before the first configuration nobody knows how to ask; the first tick after it does.
        if links.port(port).is_some() && links.budget > 0 {
            self.step(id, links, now);
        } else {
            self.timers.set(id, now);
        }
        Some(id)
    }

    /// A new entry, about to ask; none, and an event, where there is no room.
    fn insert(
        &mut self,
        port: PortId,
        addr: Addr,
        wanted: bool,
        links: &mut Links,
        now: Tick,
    ) -> Option<u32> {
        if addr.is_martian_source() || links.is_ours_anywhere(addr) {
            return None;
        }
        self.end_rests(now);
        if !self.has_room(wanted) {
            self.evict(now);
        }
        let resting = &self.resting_set;
        let free = |hop: Hop| !resting.contains(&hop.0);
        let place = if self.has_room(wanted) { self.table.insert(port, addr, free) } else { None };
        let Some(Hop(id)) = place else {
            if self.refused.is_none_or(|at| now >= at + QUIET_FULL) {
                self.refused = Some(now);
                links.tell(Event::TableFull { port, addr });
            }
            return None;
        };
        let entry = Entry {
            port,
            addr,
            phase: Phase::Asking(0),
            mac: None,
            wanted,
            asked: None,
            died: now,
            told: None,
        };
        self.entries.insert(id, entry);
        self.strangers += !wanted as usize;
        Some(id)
    }

    /// Strangers leave a quarter to those who are configured.
    fn has_room(&self, wanted: bool) -> bool {
        let for_strangers = self.capacity - self.capacity / 4;
        self.entries.len() < self.capacity && (wanted || self.strangers < for_strangers)
    }

    fn evict(&mut self, now: Tick) {
        let longest: Vec<u32> = self.graves.iter().take(EVICT).map(|g| g.1).collect();
        for id in longest {
            self.give_up(id, now);
        }
    }

    fn give_up(&mut self, id: u32, now: Tick) {
        let Some(e) = self.entries.remove(&id) else { return };
        self.strangers -= !e.wanted as usize;
        self.graves.remove(&(e.died, id));
        self.timers.cancel(id);
        self.table.set(Hop(id), HopState::Gone);
        self.resting.push_back((now, id));
        self.resting_set.insert(id);
    }

    fn end_rests(&mut self, now: Tick) {
        while let Some((since, id)) = self.resting.front().copied()
            && now.since(since) >= GRACE
        {
            self.resting.pop_front();
            self.resting_set.remove(&id);
        }
    }
}
