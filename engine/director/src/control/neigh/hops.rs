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
//!
//! A stranger that has answered is not asked again and again: 30 s after its last sign it is
//! `Stale` (RFC 4861 section 7.3.2), which workers do not see: its MAC stays good. It is verified
//! when it asks for us (its own entry for us has gone stale, so it talks to us) or its MAC is in
//! doubt. Where a worker needs room, the stale ones go first after the dead, longest unused first.

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
/// Between two tidyings of the table, which look at all of it.
const TIDY: Duration = Duration::from_secs(1);

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
    /// A stranger that once answered: good until we hear otherwise.
    Stale,
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
    /// Fresh by its answer to us, not by what we heard.
    sure: bool,
    /// Its last sign: it answered or asked us, or a worker asked for it.
    used: Tick,
    asked: Option<Tick>,
    died: Tick,
    told: Option<Tick>,
}

/// For whom a place is needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Room {
    /// The configuration.
    Wanted,
    /// A worker with a frame.
    Worker,
    /// Who asked us.
    Asker,
}

impl Entry {
    /// Notes a sign of life or of use.
    fn use_at(&mut self, now: Tick, id: u32, stale: &mut BTreeSet<(Tick, u32)>) {
        let before = std::mem::replace(&mut self.used, now);
        if stale.remove(&(before, id)) {
            stale.insert((now, id));
        }
    }
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
    /// Stale strangers, longest unused first.
    stale: BTreeSet<(Tick, u32)>,
    /// Given-up places, in order of time, that must not serve another address yet.
    resting: VecDeque<(Tick, u32)>,
    resting_set: BTreeSet<u32>,
    /// Places have rested since the table was tidied last.
    untidy: bool,
    tidied: Tick,
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
            stale: BTreeSet::new(),
            resting: VecDeque::new(),
            resting_set: BTreeSet::new(),
            untidy: false,
            tidied: Tick::default(),
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
            let keep = wanted.contains(&key);
            // Ours and wanted: conns to a removed dest whose address we took go on to it.
            if links.port(key.0).is_none() || (links.is_ours_anywhere(key.1) && !keep) {
                self.give_up(id, now);
            } else {
                self.set_wanted(id, keep, now);
            }
        }
        for (port, addr) in wanted {
            if !links.is_ours_anywhere(addr) {
                self.want(port, addr, links, now);
            }
        }
    }

    /// The hop of an address that must stay resolved from now on. A new one is asked for by the
    /// next tick: `links` may still have the ports, tags and addresses of the configuration before.
    pub(super) fn want(
        &mut self,
        port: PortId,
        addr: Addr,
        links: &mut Links,
        now: Tick,
    ) -> Option<Hop> {
        let id = match self.table.find(port, addr) {
            Some(hop) => hop.0,
            None => {
                let id = self.insert(port, addr, Room::Wanted, links, now)?;
                self.timers.set(id, now);
                id
            }
        };
        self.set_wanted(id, true, now);
        Some(Hop(id))
    }

    /// A worker has a frame for this address.
    pub(super) fn resolve(&mut self, port: PortId, addr: Addr, links: &mut Links, now: Tick) {
        let Some(hop) = self.table.find(port, addr) else {
            if !links.is_ours_anywhere(addr)
                && let Some(id) = self.insert(port, addr, Room::Worker, links, now)
            {
                self.begin(id, links, now);
            }
            return;
        };
        let Some(e) = self.entries.get_mut(&hop.0) else { return };
        e.use_at(now, hop.0, &mut self.stale);
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
            None if how == How::Asked
                && links.is_on_link(port, addr)
                && !links.is_ours_anywhere(addr) =>
            {
                let Some(id) = self.insert(port, addr, Room::Asker, links, now) else { return };
                id
            }
            None => return,
        };
        let Some(e) = self.entries.get_mut(&id) else { return };
        let known = e.mac == Some(mac);
        if how != How::Heard {
            e.use_at(now, id, &mut self.stale);
        }
        let talks = how == How::Asked && e.phase == Phase::Stale;
        if known && how != How::Answered && !talks {
            return;
        }
        match e.phase {
            Phase::Dead => self.graves.remove(&(e.died, id)),
            Phase::Stale => self.stale.remove(&(e.used, id)),
            _ => false,
        };
        e.phase = Phase::Fresh;
        e.sure = how == How::Answered;
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
        self.verify(hop.0, now);
    }

    /// A link came up: nothing that was known there is sure.
    pub(super) fn link_up(&mut self, port: PortId, now: Tick) {
        let of_port = self.entries.iter_mut().filter(|(_, e)| e.port == port);
        for (id, e) in of_port {
            self.stale.remove(&(e.used, *id));
            e.phase = match e.phase {
                Phase::Fresh | Phase::Stale | Phase::Verifying(_) => Phase::Verifying(0),
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
            Phase::Stale => return,
            Phase::Fresh if !e.wanted && e.sure => {
                e.phase = Phase::Stale;
                self.stale.insert((e.used, id));
                return;
            }
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

    /// Makes sure of a hop that counts as reachable, now.
    fn verify(&mut self, id: u32, now: Tick) {
        let Some(e) = self.entries.get_mut(&id) else { return };
        if matches!(e.phase, Phase::Fresh | Phase::Stale) {
            self.stale.remove(&(e.used, id));
            (e.phase, e.sure) = (Phase::Fresh, false);
            self.timers.set(id, now);
        }
    }

    fn set_wanted(&mut self, id: u32, wanted: bool, now: Tick) {
        let Some(e) = self.entries.get_mut(&id).filter(|e| e.wanted != wanted) else { return };
        e.wanted = wanted;
        if wanted {
            self.strangers -= 1;
        } else {
            self.strangers += 1;
        }
        match e.phase {
            Phase::Dead => self.rest_dead(id),
            Phase::Stale => self.verify(id, now),
            _ => {}
        }
    }

    /// Asks for a new entry, now if this turn may still send.
    fn begin(&mut self, id: u32, links: &mut Links, now: Tick) {
        if links.budget > 0 {
            self.step(id, links, now);
        } else {
            self.timers.set(id, now);
        }
    }

    /// A new entry, about to ask; none, and an event, where there is no room.
    fn insert(
        &mut self,
        port: PortId,
        addr: Addr,
        room: Room,
        links: &mut Links,
        now: Tick,
    ) -> Option<u32> {
        if addr.is_martian_source() {
            return None;
        }
        let wanted = room == Room::Wanted;
        self.end_rests(now);
        if !self.has_room(wanted) {
            self.evict(room, now);
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
            sure: false,
            used: now,
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

    fn evict(&mut self, room: Room, now: Tick) {
        // Questions from ever new addresses cost nothing: they may not drive live hosts out.
        let stale = self.stale.iter().filter(|_| room != Room::Asker);
        let longest: Vec<u32> = self.graves.iter().chain(stale).take(EVICT).map(|g| g.1).collect();
        for id in longest {
            self.give_up(id, now);
        }
    }

    fn give_up(&mut self, id: u32, now: Tick) {
        let Some(e) = self.entries.remove(&id) else { return };
        self.strangers -= !e.wanted as usize;
        self.graves.remove(&(e.died, id));
        self.stale.remove(&(e.used, id));
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
            self.untidy = true;
        }
        // Without it given-up places would end by filling every gap, and look-ups that miss walk
        // all of the table.
        if self.untidy && now.since(self.tidied) >= TIDY {
            let resting = &self.resting_set;
            self.table.tidy(|hop| !resting.contains(&hop.0));
            (self.untidy, self.tidied) = (false, now);
        }
    }
}
