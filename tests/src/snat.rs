//! Rules for conns that servers open, on the network of `net`: the dests of `LAN` are the servers,
//! what they reach lies behind the gateway of `WAN` (`net::client`), or behind two routers there.
//!
//! | what | v4 | v6 |
//! | --- | --- | --- |
//! | pool of the rules | 10.0.0.100 | 2001:db8::100 |
//! | routers 0, 1 | 10.0.0.201, .202 | 2001:db8::201, ::202 |

use crate::craft::Body;
use crate::craft::Packet;
use crate::net;
use crate::net::WAN;
use crate::rig::Options;
use crate::rig::Rig;
use crate::sctp;
use pointsman_dataplane::matching::Matching;
use pointsman_dataplane::matching::Protocols;
use pointsman_dataplane::neigh::Hop;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::neigh::Neighbours;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::sched::Sched;
use pointsman_dataplane::service::Candidate;
use pointsman_dataplane::service::Dest;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::Methods;
use pointsman_dataplane::service::Scope;
use pointsman_dataplane::service::Service;
use pointsman_dataplane::service::ServiceId;
use pointsman_dataplane::service::Target;
use pointsman_dataplane::service::Terms;
use pointsman_dataplane::service::Traits;
use pointsman_dataplane::service::Tunnel;
use pointsman_dataplane::snapshot::Local;
use pointsman_dataplane::snapshot::LocalPool;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::snat::Snat;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Prefix;
use pointsman_dataplane::tuple::Proto;
use std::net::IpAddr;
use std::net::SocketAddr;

/// The address that conns leave with.
pub fn laddr(family: Family) -> IpAddr {
    net::ip(net::of(family, "10.0.0.100", "2001:db8::100"))
}

/// A router on `WAN`, its MAC.
pub fn router(family: Family, n: usize) -> (IpAddr, Mac) {
    let addrs = net::of(family, ["10.0.0.201", "10.0.0.202"], ["2001:db8::201", "2001:db8::202"]);
    (net::ip(addrs[n]), [0x02, 0, 0, 0, 2, n as u8])
}

/// The prefixes of all servers.
pub fn servers() -> Vec<Prefix> {
    net::FAMILIES.map(|f| Prefix::new(net::lan_addr(f).into(), net::of(f, 24, 64))).to_vec()
}

/// A dest that stands for all routes.
pub fn by_route() -> Dest {
    Dest {
        addr: Addr::UNSPECIFIED,
        port: 0,
        weight: 1,
        forward: Forward::FullNat,
        out: PortId(0),
        hop: Hop(u32::MAX),
        mtu: 0,
        traits: Traits { target: Target::ByRoute, retries: 0, ..Traits::default() },
        tunnel: Tunnel::NONE,
        removed: false,
        dead: false,
    }
}

/// A dest that is router `n`.
pub fn by_router(s: &Snapshot, neighbours: &Neighbours, family: Family, n: usize) -> Dest {
    let (addr, mac) = router(family, n);
    Dest {
        addr: addr.into(),
        out: WAN,
        hop: net::reachable(neighbours, WAN, addr, mac),
        mtu: s.port(WAN).mtu,
        traits: Traits { target: Target::ByDest, retries: 1, ..Traits::default() },
        ..by_route()
    }
}

/// Adds a rule for all that servers open; its place, for changes. It leaves with `laddr`.
pub fn add(s: &mut Snapshot, sched: Sched, dests: Vec<Dest>) -> usize {
    s.pools
        .push(LocalPool { v4: vec![laddr(Family::V4).into()], v6: vec![laddr(Family::V6).into()] });
    for family in net::FAMILIES {
        let local = Local { pool: true, ports: 3, ..Local::default() };
        s.locals.insert(laddr(family).into(), local);
    }
    let first = s.dests.len() as u32;
    let candidates = |n| Candidate { id: DestId(first + n), weight: 1, last_weight: 1 };
    let service = Service {
        id: ServiceId((s.services.len() + s.snats.len()) as u32),
        proto: Proto::Tcp,
        addr: Addr::UNSPECIFIED,
        port: 0,
        scope: Scope::Rule,
        forward: Forward::FullNat,
        methods: Methods::default(),
        pool: Some(s.pools.len() - 1),
        proxy_in: Vec::new(),
        terms: Terms::default(),
        sched,
        dests: (0..dests.len() as u32).map(candidates).collect(),
        version: 1,
    };
    s.dests.extend(dests);
    s.snats.push(Snat {
        matching: Matching {
            sources: servers(),
            destinations: Vec::new(),
            ports: Vec::new(),
            protocols: Protocols::ALL,
        },
        service,
    });
    s.snats.len() - 1
}

/// A rig with one rule, by route, changed by `change`.
pub fn rig(workers: usize, change: impl FnOnce(&mut Snapshot)) -> Rig {
    Rig::build(Options { workers, ..Options::default() }, |s, _| {
        add(s, Sched::Rr, vec![by_route()]);
        change(s);
    })
}

/// A server's end: server 0 to 2.
pub fn server(family: Family, n: usize, port: u16) -> SocketAddr {
    SocketAddr::new(net::dest_addr(family, n), port)
}

/// A packet of a protocol from a server, as it comes by `LAN`. Of ICMP an echo request whose
/// identifier is the server's port.
pub fn packet(proto: Proto, from: SocketAddr, to: SocketAddr, flags: u8) -> Packet {
    bare(proto, from, to, flags).from_lan(net::dest_mac(0))
}

/// What answers a packet as `WAN` let it out, as it comes by `WAN`.
pub fn answer(proto: Proto, from: SocketAddr, to: SocketAddr, flags: u8) -> Packet {
    match proto {
        Proto::Icmp | Proto::Icmpv6 => echo(from.ip(), to.ip(), false, to.port()),
        _ => bare(proto, from, to, flags),
    }
}

fn bare(proto: Proto, from: SocketAddr, to: SocketAddr, flags: u8) -> Packet {
    match proto {
        Proto::Tcp => Packet::tcp(from, to, flags),
        Proto::Udp => Packet::udp(from, to),
        Proto::Sctp => sctp::packet(from, to, &sctp::chunk(sctp::chunk::INIT, &[])),
        Proto::Icmp | Proto::Icmpv6 => echo(from.ip(), to.ip(), true, from.port()),
    }
}

/// An echo request or reply.
pub fn echo(src: IpAddr, dst: IpAddr, is_request: bool, id: u16) -> Packet {
    let kind = match (dst.is_ipv4(), is_request) {
        (true, true) => 8,
        (true, false) => 0,
        (false, true) => 128,
        (false, false) => 129,
    };
    let [a, b] = id.to_be_bytes();
    let body = Body::Icmp { kind: [kind, 0], rest: [a, b, 0, 7] };
    let end = |ip| SocketAddr::new(ip, 0);
    Packet::new(end(src), end(dst), body).payload(b"thirty-two bytes of an echo here")
}
