//! A resolver with two ports, a clock by hand, and frames of other hosts.

mod answers;
mod groups;
mod next_hops;
mod vips;

use super::Emit;
use super::Event;
use super::Resolver;
use pointsman_dataplane::neigh::Hop;
use pointsman_dataplane::neigh::HopState;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::neigh::Neighbours;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::snapshot::PortInfo;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Prefix;
use pointsman_dataplane::wire::arp::Arp;
use pointsman_dataplane::wire::arp::Link;
use pointsman_dataplane::wire::arp::Op;
use pointsman_dataplane::wire::arp::parse_arp;
use pointsman_dataplane::wire::ethernet::BROADCAST;
use pointsman_dataplane::wire::nd;
use pointsman_dataplane::wire::nd::Message;
use pointsman_dataplane::wire::nd::Nd;
use pointsman_dataplane::wire::nd::parse_nd;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const WAN: PortId = PortId(0);
/// Tagged with VLAN 100.
const LAN: PortId = PortId(1);
const WAN_MAC: Mac = [2, 0, 0, 0, 0, 1];
const LAN_MAC: Mac = [2, 0, 0, 0, 0, 2];
/// Two other hosts.
const X: Mac = [2, 0, 0, 0, 1, 1];
const Y: Mac = [2, 0, 0, 0, 1, 2];

/// On both ports.
const VIP: &str = "10.1.0.100";
const VIP6: &str = "2001:db8:1::100";
/// On the lan only.
const POOL: &str = "10.2.0.100";
const WAN_OWN: &str = "10.1.0.254";
const LAN_OWN: &str = "10.2.0.254";
const WAN_OWN6: &str = "2001:db8:1::fe";
const LAN_OWN6: &str = "2001:db8:2::fe";
const WAN_LL: &str = "fe80::1";
const LAN_LL: &str = "fe80::2";

fn addr(s: &str) -> Addr {
    s.parse::<IpAddr>().unwrap().into()
}

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn port(name: &str, mac: Mac, vlan: Option<u16>, addrs: &[(&str, u8)]) -> PortInfo {
    let with_prefix = |(a, len): &(&str, u8)| (addr(a), Prefix::new(addr(a), *len));
    PortInfo {
        name: name.into(),
        mac,
        mtu: 1500,
        vlan,
        addrs: addrs.iter().map(with_prefix).collect(),
        fixed_queue: true,
    }
}

fn snapshot() -> Snapshot {
    let mut s = Snapshot::default();
    let wan = [(WAN_OWN, 24), (WAN_OWN6, 64), (WAN_LL, 64)];
    let lan = [(LAN_OWN, 24), (LAN_OWN6, 64), (LAN_LL, 64)];
    s.ports = vec![port("wan", WAN_MAC, None, &wan), port("lan", LAN_MAC, Some(100), &lan)];
    for (a, ports) in [(VIP, 3), (VIP6, 3), (POOL, 2), (WAN_OWN, 1), (LAN_OWN, 2)] {
        let local = s.locals.entry(addr(a)).or_default();
        local.ports = ports;
        local.vip = a == VIP || a == VIP6;
        local.pool = a == POOL;
        local.own = !local.vip && !local.pool;
    }
    s
}

/// The resolver and its clock.
struct Lab {
    r: Resolver,
    table: Arc<Neighbours>,
    now: Tick,
    sent: Vec<(Tick, Emit)>,
    told: Vec<(Tick, Event)>,
}

impl Lab {
    fn bare(capacity: usize) -> Self {
        let table = Arc::new(Neighbours::new(capacity, 7));
        let r = Resolver::new(table.clone(), capacity, 7);
        Self { r, table, now: Tick::from_secs(1), sent: Vec::new(), told: Vec::new() }
    }

    /// Configured just now.
    fn fresh(wanted: &[(PortId, Addr)]) -> Self {
        let mut lab = Self::bare(64);
        lab.r.configure(&snapshot(), wanted, lab.now);
        lab
    }

    /// Configured a second before the next round of probes, with nothing else going on.
    fn quiet() -> Self {
        let mut lab = Self::fresh(&[]);
        lab.run(secs(9));
        lab.forget();
        lab
    }

    fn forget(&mut self) {
        self.r.frames();
        self.r.events();
        self.sent.clear();
        self.told.clear();
    }

    /// Lets time pass from deadline to deadline.
    fn run(&mut self, d: Duration) {
        let end = self.now + d;
        for _ in 0..100_000 {
            let next = self.r.tick(self.now);
            self.take();
            match next {
                Some(at) if at <= end => {
                    assert!(at > self.now, "a deadline that does not move");
                    self.now = at;
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("too many deadlines");
    }

    fn take(&mut self) {
        let now = self.now;
        self.sent.extend(self.r.frames().map(|e| (now, e)));
        self.told.extend(self.r.events().map(|e| (now, e)));
    }

    fn frame(&mut self, port: PortId, frame: &[u8]) {
        self.r.on_frame(port, frame, self.now);
        self.take();
    }

    /// Probes for our own addresses and what belongs to groups left out.
    fn arps(&self) -> Vec<(Tick, PortId, Arp)> {
        let arp = |(at, e): &(Tick, Emit)| parse_arp(&e.bytes).map(|arp| (*at, e.port, arp));
        let all = self.sent.iter().filter_map(arp);
        all.filter(|(_, _, arp)| !arp.sender.is_unspecified()).collect()
    }

    fn nds(&self) -> Vec<(Tick, PortId, Nd)> {
        let nd = |(at, e): &(Tick, Emit)| parse_nd(&e.bytes).map(|nd| (*at, e.port, nd));
        let all = self.sent.iter().filter_map(nd);
        all.filter(|(_, _, nd)| !nd.src.is_unspecified()).collect()
    }

    /// When, in milliseconds from now on, something was sent.
    fn times<T>(&self, from: Tick, of: &[(Tick, PortId, T)]) -> Vec<u128> {
        of.iter().map(|(at, ..)| at.since(from).as_millis()).collect()
    }

    fn events(&self) -> Vec<Event> {
        self.told.iter().map(|(_, e)| *e).collect()
    }

    fn state(&self, port: PortId, a: &str) -> Option<HopState> {
        self.table.find(port, addr(a)).map(|hop| self.table.get(hop).1)
    }

    fn hop(&mut self, port: PortId, a: &str) -> Option<Hop> {
        let hop = self.r.hop(port, addr(a), self.now);
        self.r.tick(self.now);
        self.take();
        hop
    }
}

/// What the port a frame is for has as its own.
fn link_to(port: PortId, dst: Option<Mac>, src: Mac) -> Link {
    let (mac, vlan) = if port == WAN { (WAN_MAC, None) } else { (LAN_MAC, Some(100)) };
    Link { dst: dst.unwrap_or(mac), src, vlan }
}

/// A host at `mac` that is `sender` asks everybody for `target`.
fn arp_request(port: PortId, (mac, sender): (Mac, &str), target: &str) -> Vec<u8> {
    let link = link_to(port, Some(BROADCAST), mac);
    let (sender, target) = (addr(sender), addr(target));
    Arp { link, op: Op::Request, sender_mac: mac, sender, target_mac: [0; 6], target }.build()
}

/// It answers the port's own address.
fn arp_reply(port: PortId, (mac, sender): (Mac, &str)) -> Vec<u8> {
    let link = link_to(port, None, mac);
    let target = addr(if port == WAN { WAN_OWN } else { LAN_OWN });
    let (sender, target_mac) = (addr(sender), link.dst);
    Arp { link, op: Op::Reply, sender_mac: mac, sender, target_mac, target }.build()
}

/// A host at `mac` that is `src` asks for `target`.
fn ns(port: PortId, (mac, src): (Mac, &str), target: &str) -> Nd {
    let (src, target) = (addr(src), addr(target));
    let dst = nd::solicited_node(target);
    let source_mac = (!src.is_unspecified()).then_some(mac);
    let link = link_to(port, Some(nd::group_mac(dst)), mac);
    Nd { link, src, dst, message: Message::Solicitation { target, source_mac } }
}

/// It answers the port's link-local address.
fn na(port: PortId, (mac, src): (Mac, &str), solicited: bool, overrides: bool) -> Nd {
    let target = addr(src);
    let dst = match (solicited, port) {
        (false, _) => nd::ALL_NODES,
        (true, WAN) => addr(WAN_LL),
        (true, _) => addr(LAN_LL),
    };
    let link = link_to(port, dst.is_multicast().then_some(nd::group_mac(dst)), mac);
    let target_mac = Some(mac);
    let router = false;
    let message = Message::Advertisement { target, target_mac, router, solicited, overrides };
    Nd { link, src: target, dst, message }
}
