//! Neighbours: ARP, neighbour discovery and MLD for every port.
//!
//! The control thread owns the one `Resolver`, which is the only writer of the table of next hops
//! (`Neighbours`) that the workers read. It does no I/O: frames and the time come in as arguments,
//! frames and events go out by queues that the caller empties after each call:
//!
//! ```text
//!   a worker's control ring --on_frame--> Resolver --frames()--> a worker's mailbox
//!   a worker without a MAC  --resolve-->           --events()--> the log
//!   the driver              --on_link-->           --conflicts()--> status
//!   the clock               --tick----->           --multicast_macs()--> the driver
//! ```
//! Everything is bounded: next hops by the capacity, foreign holders and both queues by constants,
//! the rest by the number of our own addresses; what the resolver sends by itself is paced.

mod announce;
mod answer;
mod event;
mod groups;
mod holders;
mod hops;
mod links;
#[cfg(test)]
mod tests;
mod timers;

pub use event::Event;
pub use event::Level;
pub use event::MacText;

use announce::Announcer;
use groups::Groups;
use holders::Holders;
use hops::Hops;
use links::Links;
use pointsman_dataplane::neigh::Hop;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::neigh::Neighbours;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::wire::arp::Link;
use pointsman_dataplane::wire::arp::parse_arp;
use pointsman_dataplane::wire::mld::parse_query;
use pointsman_dataplane::wire::nd::parse_nd;
use std::sync::Arc;
use std::time::Duration;

/// Frames that one turn sends by itself at most, and how long it then rests: 12,800 a second.
const TURN: usize = 64;
const REST: Duration = Duration::from_millis(5);
/// A frame to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Emit {
    /// By this port.
    pub port: PortId,
    /// From the Ethernet header on, the port's tag included.
    pub bytes: Vec<u8>,
}

/// Another host that answers for a VIP of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The VIP.
    pub vip: Addr,
    /// The other host.
    pub mac: Mac,
    /// Where it was seen.
    pub port: PortId,
    /// Since when.
    pub since: Tick,
    /// When it last claimed the VIP.
    pub last_seen: Tick,
}

/// See the module.
#[derive(Debug)]
pub struct Resolver {
    links: Links,
    hops: Hops,
    announcer: Announcer,
    holders: Holders,
    groups: Groups,
    rests_until: Tick,
}

impl Resolver {
    /// A resolver for `capacity` next hops, none of whose places in `table` are taken yet. `seed`
    /// spreads answers to multicast queries.
    pub fn new(table: Arc<Neighbours>, capacity: usize, seed: u64) -> Self {
        let mut links = Links::default();
        links.budget = TURN;
        Self {
            links,
            hops: Hops::new(table, capacity),
            announcer: Announcer::new(),
            holders: Holders::new(),
            groups: Groups::new(seed),
            rests_until: Tick::default(),
        }
    }

    /// Takes a configuration over: which addresses are ours on which port, and which next hops
    /// (dests on the link, gateways) are kept resolved. New addresses are announced and looked for
    /// elsewhere, their groups joined; next hops not in `wanted` become strangers. Ports count as
    /// up until `on_link` says otherwise. `multicast_macs` may change.
    pub fn configure(&mut self, snapshot: &Snapshot, wanted: &[(PortId, Addr)], now: Tick) {
        let changes = self.links.configure(snapshot);
        for key in changes.removed {
            self.announcer.forget(key);
        }
        self.holders.configure(&self.links, now);
        for key in changes.added {
            self.announcer.start(key, now);
            self.holders.watch(key.0, key.1, now);
        }
        self.groups.configure(&self.links, now);
        self.hops.configure(wanted, &mut self.links, now);
        for port in changes.ports {
            self.refresh(port, now);
        }
    }

    /// The next hop for an address on a port, made if new; for building a snapshot, before
    /// `configure`, after which it is asked for. It counts as wanted until `configure` says
    /// otherwise. That it is not ours the caller knows from the configuration to come, of which
    /// nothing is known here. None where the address cannot be a neighbour (multicast,
    /// unspecified) or there is no room (`Event::TableFull`).
    pub fn hop(&mut self, port: PortId, addr: Addr, now: Tick) -> Option<Hop> {
        self.hops.want(port, addr, &mut self.links, now)
    }

    /// A worker wants to send to an address that is not known or dead. Asks at most once a second
    /// per next hop.
    pub fn resolve(&mut self, port: PortId, addr: Addr, now: Tick) {
        self.hops.resolve(port, addr, &mut self.links, now);
    }

    /// A frame that `parse` called `Kind::Control`. What is malformed, of another VLAN, or none of
    /// ARP, solicitation, advertisement and query is ignored.
    pub fn on_frame(&mut self, port: PortId, frame: &[u8], now: Tick) {
        let Some((link, _, _)) = Link::parse(frame) else { return };
        let Some(own) = self.links.port(port) else { return };
        let for_us = link.dst == own.mac || link.dst[0] & 1 == 1;
        if link.vlan != own.vlan || !for_us || !self.links.is_stranger(link.src) {
            return;
        }
        if let Some(arp) = parse_arp(frame) {
            self.on_arp(port, &arp, now);
        } else if let Some(nd) = parse_nd(frame) {
            self.on_nd(port, &nd, now);
        } else if let Some(query) = parse_query(frame) {
            self.groups.on_query(port, &query, now);
        }
    }

    /// The driver says whether a port has a link. Coming up, our addresses are announced, groups
    /// reported, VIPs looked for elsewhere and next hops verified.
    pub fn on_link(&mut self, port: PortId, up: bool, now: Tick) {
        if !self.links.set_up(port, up) {
            return;
        }
        if up {
            self.refresh(port, now);
        } else {
            self.announcer.link_down(port);
            self.groups.link_down(port);
        }
    }

    /// Announces a VIP, or all, as at start. Gives the number of addresses times ports; 0 where
    /// the address is no VIP.
    pub fn announce(&mut self, vip: Option<Addr>, now: Tick) -> usize {
        let meant = |addr: Addr| self.links.is_vip(addr) && vip.is_none_or(|v| v == addr);
        let all: Vec<_> = self.links.all_ours().filter(|(_, addr)| meant(*addr)).collect();
        for key in &all {
            self.announcer.start(*key, now);
        }
        all.len()
    }

    /// Does what is due, and says when to call next at the latest (calling sooner does no harm).
    /// None: nothing is due by itself.
    pub fn tick(&mut self, now: Tick) -> Option<Tick> {
        if now >= self.rests_until {
            self.links.budget = TURN;
            self.hops.tick(&mut self.links, now);
            self.announcer.tick(&mut self.links, now);
            self.holders.tick(&mut self.links, now);
            self.groups.tick(&mut self.links, now);
            if self.links.budget == 0 {
                self.rests_until = now + REST;
            }
        }
        let (hops, announcer) = (self.hops.next(), self.announcer.next());
        let all = [hops, announcer, self.holders.next(), self.groups.next()];
        let next = all.into_iter().flatten().min()?;
        Some(next.max(self.rests_until))
    }

    /// The frames to be sent, in order; emptied by this.
    pub fn frames(&mut self) -> std::vec::Drain<'_, Emit> {
        self.links.emits.drain(..)
    }

    /// What happened, in order; emptied by this.
    pub fn events(&mut self) -> std::vec::Drain<'_, Event> {
        self.links.events.drain(..)
    }

    /// Who else answers for our VIPs now.
    pub fn conflicts(&self) -> Vec<Conflict> {
        self.holders.conflicts(&self.links)
    }

    /// The group MACs that a port's filter must let in, sorted; that of all nodes among them.
    pub fn multicast_macs(&self, port: PortId) -> Vec<Mac> {
        self.groups.macs(port)
    }

    /// Frames and events lost because the caller did not empty the queues in time.
    pub const fn lost(&self) -> u64 {
        self.links.lost
    }

    /// What a port does when its link comes up, or it got another MAC, tag or address.
    fn refresh(&mut self, port: PortId, now: Tick) {
        let ours: Vec<_> = self.links.all_ours().filter(|(p, _)| *p == port).collect();
        for key in ours {
            self.announcer.start(key, now);
            self.holders.watch(key.0, key.1, now);
        }
        self.groups.link_up(port, now);
        self.hops.link_up(port, now);
    }
}
