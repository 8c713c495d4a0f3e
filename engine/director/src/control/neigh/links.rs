//! The ports, the addresses that are ours on each, and the frames that go out.

use super::Emit;
use super::Event;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Prefix;
use pointsman_dataplane::wire::arp::Arp;
use pointsman_dataplane::wire::arp::Link;
use pointsman_dataplane::wire::arp::Op;
use pointsman_dataplane::wire::ethernet;
use pointsman_dataplane::wire::nd;
use pointsman_dataplane::wire::nd::Message;
use pointsman_dataplane::wire::nd::Nd;
use std::collections::BTreeMap;

/// Frames that wait to be taken at most; what comes on top is lost and counted.
const MAX_EMITS: usize = 1024;
/// Events that wait to be taken at most.
const MAX_EVENTS: usize = 1024;

/// One port.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Port {
    pub(super) mac: Mac,
    pub(super) vlan: Option<u16>,
    pub(super) addrs: Vec<(Addr, Prefix)>,
    pub(super) up: bool,
}

/// An address of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Ours {
    ports: u64,
    vip: bool,
}

/// What a new configuration changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Addresses that are ours on a port now and were not.
    pub(super) added: Vec<(PortId, Addr)>,
    /// The reverse.
    pub(super) removed: Vec<(PortId, Addr)>,
    /// Ports with another MAC, tag or own addresses than before.
    pub(super) ports: Vec<PortId>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Links {
    ports: Vec<Port>,
    ours: BTreeMap<Addr, Ours>,
    pub(super) emits: Vec<Emit>,
    pub(super) events: Vec<Event>,
    /// Frames and events lost for want of room.
    pub(super) lost: u64,
    /// Frames that this turn may still send by itself.
    pub(super) budget: usize,
}

impl Links {
    pub(super) fn configure(&mut self, snapshot: &Snapshot) -> Changes {
        let mut ports: Vec<Port> = Vec::with_capacity(snapshot.ports.len());
        for (i, info) in snapshot.ports.iter().enumerate() {
            // Up until the driver says otherwise: some have no link to report.
            let up = self.ports.get(i).is_none_or(|p| p.up);
            ports.push(Port { mac: info.mac, vlan: info.vlan, addrs: info.addrs.clone(), up });
        }
        let mut changes = Changes::default();
        let changed = |i: &usize| self.ports.get(*i) != Some(&ports[*i]);
        changes.ports = (0..ports.len()).filter(changed).map(port_id).collect();
        self.ports = ports;
        let before = std::mem::take(&mut self.ours);
        for (addr, local) in &snapshot.locals {
            self.ours.insert(*addr, Ours { ports: local.ports, vip: local.vip });
        }
        for (i, port) in self.ports.iter().enumerate() {
            for (addr, _) in &port.addrs {
                self.ours.entry(*addr).or_default().ports |= bit(port_id(i));
            }
        }
        changes.added = self.difference(&self.ours, &before);
        changes.removed = self.difference(&before, &self.ours);
        changes
    }

    pub(super) fn set_up(&mut self, port: PortId, up: bool) -> bool {
        let Some(p) = self.ports.get_mut(port.0 as usize) else { return false };
        std::mem::replace(&mut p.up, up) != up
    }

    pub(super) fn port(&self, port: PortId) -> Option<&Port> {
        self.ports.get(port.0 as usize)
    }

    pub(super) fn is_up(&self, port: PortId) -> bool {
        self.port(port).is_some_and(|p| p.up)
    }

    /// Whether the director answers for the address on this port.
    pub(super) fn is_ours(&self, port: PortId, addr: Addr) -> bool {
        self.ours.get(&addr).is_some_and(|o| o.ports & bit(port) != 0)
    }

    /// Whether it is an address of the director, on whatever port.
    pub(super) fn is_ours_anywhere(&self, addr: Addr) -> bool {
        self.ours.contains_key(&addr)
    }

    pub(super) fn is_vip(&self, addr: Addr) -> bool {
        self.ours.get(&addr).is_some_and(|o| o.vip)
    }

    /// Every address of ours, with each port it is answered for on.
    pub(super) fn all_ours(&self) -> impl Iterator<Item = (PortId, Addr)> + '_ {
        let on_ports = |(addr, ours): (&Addr, &Ours)| {
            let (addr, bits) = (*addr, ours.ports);
            self.port_ids().filter(move |p| bits & bit(*p) != 0).map(move |p| (p, addr))
        };
        self.ours.iter().flat_map(on_ports)
    }

    pub(super) fn port_ids(&self) -> impl Iterator<Item = PortId> + use<> {
        (0..self.ports.len()).map(port_id)
    }

    /// Whether a MAC may stand for another host: of one host, not zero, and on none of our ports
    /// (two of which may share a link).
    pub(super) fn is_stranger(&self, mac: Mac) -> bool {
        mac[0] & 1 == 0 && mac != [0; 6] && self.ports.iter().all(|p| p.mac != mac)
    }

    /// Whether an address lies on the port's link.
    pub(super) fn is_on_link(&self, port: PortId, addr: Addr) -> bool {
        let Some(port) = self.port(port) else { return false };
        let of_prefix = |(_, prefix): &(Addr, Prefix)| {
            prefix.contains(addr) && prefix.broadcast() != Some(addr)
        };
        addr.is_link_local_v6() || port.addrs.iter().any(of_prefix)
    }

    /// The link-local address of a port.
    pub(super) fn link_local(&self, port: PortId) -> Option<Addr> {
        let own = self.port(port)?.addrs.iter().map(|a| a.0);
        own.into_iter().find(|a| a.is_link_local_v6())
    }

    /// Asks who has `addr`: the neighbour we believe in by unicast, or everybody.
    pub(super) fn ask(&mut self, port: PortId, addr: Addr, whom: Option<Mac>) {
        let source = self.source(port, addr);
        self.solicit(port, addr, source, whom);
    }

    /// Asks who else has an address of ours, as RFC 5227 section 2.1.1 and RFC 4862 section 5.4.2
    /// do: without naming ourselves, so that nobody changes his cache by it.
    pub(super) fn probe(&mut self, port: PortId, addr: Addr) {
        self.solicit(port, addr, None, None);
    }

    /// Tells everybody that we have `addr`. ARP: a request for itself, as RFC 5227 section 3
    /// prefers to a reply, and as keepalived does. ND: RFC 4861 section 7.2.6.
    pub(super) fn announce(&mut self, port: PortId, addr: Addr) {
        let Some(mac) = self.port(port).map(|p| p.mac) else { return };
        if addr.is_v4() {
            self.send_arp(port, Op::Request, ethernet::BROADCAST, addr, ([0; 6], addr));
        } else {
            let everybody = nd::group_mac(nd::ALL_NODES);
            self.advertise(port, addr, (everybody, nd::ALL_NODES), (mac, false));
        }
    }

    /// Answers a question by ARP.
    pub(super) fn reply(&mut self, port: PortId, addr: Addr, to: (Mac, Addr)) {
        self.send_arp(port, Op::Reply, to.0, addr, to);
    }

    /// Answers a solicitation (RFC 4861 section 7.2.4); `::` asked for duplicates and everybody
    /// is to hear.
    pub(super) fn advertise_to(&mut self, port: PortId, addr: Addr, to: (Mac, Addr)) {
        let Some(mac) = self.port(port).map(|p| p.mac) else { return };
        if to.1.is_unspecified() {
            self.announce(port, addr);
        } else {
            self.advertise(port, addr, to, (mac, true));
        }
    }

    /// Sends a finished frame, if the port is up.
    pub(super) fn send(&mut self, port: PortId, bytes: Vec<u8>) {
        if !self.is_up(port) {
            return;
        }
        self.budget = self.budget.saturating_sub(1);
        if self.emits.len() < MAX_EMITS {
            self.emits.push(Emit { port, bytes });
        } else {
            self.lost += 1;
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        if self.events.len() < MAX_EVENTS {
            self.events.push(event);
        } else {
            self.lost += 1;
        }
    }

    /// The source of a question: an own address of the target's prefix, else for v6 the
    /// link-local, else any own. Never a VIP: DR dests hold it too and would not answer, or, worse,
    /// take the question for a claim. None (a probe, which hosts answer as well) where there is
    /// no such address.
    fn source(&self, port: PortId, target: Addr) -> Option<Addr> {
        let own = || {
            let addrs = self.port(port).into_iter().flat_map(|p| &p.addrs);
            addrs.filter(|(a, _)| a.family() == target.family() && !self.is_vip(*a))
        };
        let near = own().find(|(a, p)| p.contains(target) && !a.is_link_local_v6());
        let link_local = || own().find(|(a, _)| a.is_link_local_v6());
        if target.is_link_local_v6() {
            return link_local().map(|a| a.0);
        }
        near.or_else(link_local).or_else(|| own().next()).map(|a| a.0)
    }

    fn solicit(&mut self, port: PortId, addr: Addr, source: Option<Addr>, whom: Option<Mac>) {
        let Some(own) = self.port(port).cloned() else { return };
        if addr.is_v4() {
            let from = source.unwrap_or(Addr::v4(0));
            let to = whom.unwrap_or(ethernet::BROADCAST);
            self.send_arp(port, Op::Request, to, from, ([0; 6], addr));
            return;
        }
        let group = nd::solicited_node(addr);
        let (mac, dst) = match whom {
            // A check for duplicates may not go by unicast (RFC 4861 section 7.1.1).
            Some(mac) if source.is_some() => (mac, addr),
            _ => (nd::group_mac(group), group),
        };
        let link = Link { dst: mac, src: own.mac, vlan: own.vlan };
        let message =
            Message::Solicitation { target: addr, source_mac: source.is_some().then_some(own.mac) };
        let src = source.unwrap_or(Addr::UNSPECIFIED);
        self.send(port, Nd { link, src, dst, message }.build());
    }

    fn send_arp(&mut self, port: PortId, op: Op, dst: Mac, sender: Addr, to: (Mac, Addr)) {
        let Some(own) = self.port(port) else { return };
        let link = Link { dst, src: own.mac, vlan: own.vlan };
        let (sender_mac, (target_mac, target)) = (own.mac, to);
        let arp = Arp { link, op, sender_mac, sender, target_mac, target };
        self.send(port, arp.build());
    }

    fn advertise(&mut self, port: PortId, addr: Addr, to: (Mac, Addr), say: (Mac, bool)) {
        let Some(own) = self.port(port) else { return };
        let link = Link { dst: to.0, src: own.mac, vlan: own.vlan };
        let (target_mac, solicited) = (Some(say.0), say.1);
        // The source need only be ours; the port's own is one that no DR dest has too.
        let src = self.source(port, to.1).unwrap_or(addr);
        let message = Message::Advertisement {
            target: addr,
            target_mac,
            router: false,
            solicited,
            overrides: true,
        };
        self.send(port, Nd { link, src, dst: to.1, message }.build());
    }

    fn difference(
        &self,
        of: &BTreeMap<Addr, Ours>,
        without: &BTreeMap<Addr, Ours>,
    ) -> Vec<(PortId, Addr)> {
        let mut pairs = Vec::new();
        for (addr, ours) in of {
            let bits = ours.ports & !without.get(addr).map_or(0, |o| o.ports);
            let on = (0..64).map(port_id).filter(|p| bits & bit(*p) != 0);
            pairs.extend(on.map(|p| (p, *addr)));
        }
        pairs
    }
}

fn bit(port: PortId) -> u64 {
    1u64.checked_shl(port.0 as u32).unwrap_or(0)
}

fn port_id(i: usize) -> PortId {
    PortId(i as u8)
}
