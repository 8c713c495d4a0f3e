//! The network of the tests: two ports, clients behind a gateway on one, dests on the other, and
//! one service per method, family and protocol.
//!
//! | what | v4 | v6 |
//! | --- | --- | --- |
//! | `WAN`'s own, prefix | 10.0.0.1/24 | 2001:db8::1/64 |
//! | gateway on `WAN` | 10.0.0.254 | 2001:db8::fe |
//! | `LAN`'s own, prefix | 10.1.0.1/24 | 2001:db8:1::1/64 |
//! | VIP | 203.0.113.10 | 2001:db8:f::10 |
//! | VIP with `closed = "drop"` | 203.0.113.11 | 2001:db8:f::11 |
//! | pool | 10.1.0.100 | 2001:db8:1::100 |
//! | dests 0 to 2 | 10.1.0.11 to .13 | 2001:db8:1::11 to ::13 |
//! | clients | 192.0.2.0/24 | 2001:db8:c::/64 |

use pointsman_dataplane::matching::Mark;
use pointsman_dataplane::matching::Matching;
use pointsman_dataplane::matching::Protocols;
use pointsman_dataplane::neigh::Hop;
use pointsman_dataplane::neigh::HopState;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::neigh::Neighbours;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::sched::Sched;
use pointsman_dataplane::service::Candidate;
use pointsman_dataplane::service::Closed;
use pointsman_dataplane::service::Dest;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Encap;
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
use pointsman_dataplane::snapshot::PortInfo;
use pointsman_dataplane::snapshot::Route;
use pointsman_dataplane::snapshot::Routes;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Prefix;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::xmit::tunnel;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

/// The clients' port.
pub const WAN: PortId = PortId(0);
/// The dests' port.
pub const LAN: PortId = PortId(1);
/// MAC of `WAN`.
pub const WAN_MAC: Mac = [0x02, 0, 0, 0, 0, 0x01];
/// MAC of `LAN`.
pub const LAN_MAC: Mac = [0x02, 0, 0, 0, 0, 0x02];
/// MAC of the gateway, both families.
pub const GATEWAY_MAC: Mac = [0x02, 0, 0, 0, 0, 0xfe];
/// Dests per service.
pub const DESTS: usize = 3;
/// Both families.
pub const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
/// All methods.
pub const METHODS: [Forward; 4] = [Forward::Nat, Forward::FullNat, Forward::Dr, Forward::Tunnel];
/// Protocols that services have.
pub const PROTOS: [Proto; 2] = [Proto::Tcp, Proto::Udp];

/// An address from text.
pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("the tests' own addresses are right")
}

/// Picks by family.
pub fn of<T>(family: Family, v4: T, v6: T) -> T {
    match family {
        Family::V4 => v4,
        Family::V6 => v6,
    }
}

/// An address of one of the tests' prefixes: the text of both families, and the last number.
fn host(family: Family, v4: [u8; 3], v6: u16, n: u16) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(v4[0], v4[1], v4[2], n as u8).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, v6, 0, 0, 0, 0, n).into(),
    }
}

/// The number `n` written so that it reads the same in both families' addresses: 11 is .11, ::11.
fn read_alike(family: Family, n: u16) -> u16 {
    of(family, n, u16::from_str_radix(&n.to_string(), 16).expect("decimal digits are hex digits"))
}

/// The VIP.
pub fn vip(family: Family) -> IpAddr {
    host(family, [203, 0, 113], 0xf, read_alike(family, 10))
}

/// The VIP that drops what nothing takes.
pub fn silent_vip(family: Family) -> IpAddr {
    host(family, [203, 0, 113], 0xf, read_alike(family, 11))
}

/// `WAN`'s own address.
pub fn wan_addr(family: Family) -> IpAddr {
    host(family, [10, 0, 0], 0, 1)
}

/// `LAN`'s own address.
pub fn lan_addr(family: Family) -> IpAddr {
    host(family, [10, 1, 0], 1, 1)
}

/// The gateway.
pub fn gateway(family: Family) -> IpAddr {
    host(family, [10, 0, 0], 0, 0xfe)
}

/// The pool's address.
pub fn pool_addr(family: Family) -> IpAddr {
    host(family, [10, 1, 0], 1, read_alike(family, 100))
}

/// The address of dest `n` of each service.
pub fn dest_addr(family: Family, n: usize) -> IpAddr {
    host(family, [10, 1, 0], 1, read_alike(family, 11 + n as u16))
}

/// The MAC of dest `n`.
pub fn dest_mac(n: usize) -> Mac {
    [0x02, 0, 0, 0, 1, 0x11 + n as u8]
}

/// Client `n`, with a port.
pub fn client(family: Family, n: u8, port: u16) -> SocketAddr {
    SocketAddr::new(host(family, [192, 0, 2], 0xc, n.into()), port)
}

/// The port of a method's services: 80 nat, 81 full-NAT, 82 dr, 83 tunnel.
pub fn service_port(forward: Forward) -> u16 {
    80 + forward as u16
}

/// VIP and port of a method's services.
pub fn service_addr(family: Family, forward: Forward) -> SocketAddr {
    SocketAddr::new(vip(family), service_port(forward))
}

/// The port of a method's dests: 8080 nat, 8081 full-NAT, the service's own else.
pub fn dest_port(forward: Forward) -> u16 {
    if forward.sees_replies() { 8080 + forward as u16 } else { service_port(forward) }
}

/// A service's place in the snapshot and its number.
pub fn service_index(family: Family, proto: Proto, forward: Forward) -> usize {
    (forward as usize) << 2 | usize::from(proto == Proto::Udp) << 1 | family as usize
}

/// The stable number of dest `n` of a service.
pub fn dest_id(family: Family, proto: Proto, forward: Forward, n: usize) -> DestId {
    DestId((service_index(family, proto, forward) * DESTS + n) as u32)
}

fn port(name: &str, mac: Mac, addrs: impl Fn(Family) -> IpAddr) -> PortInfo {
    let own = |f| {
        let addr = Addr::from(addrs(f));
        (addr, Prefix::new(addr, of(f, 24, 64)))
    };
    PortInfo {
        name: name.into(),
        mac,
        mtu: 1500,
        vlan: None,
        addrs: FAMILIES.map(own).to_vec(),
        fixed_queue: false,
    }
}

/// A route from any source.
pub fn route_to(prefix: &str, len: u8, port: PortId, via: Option<IpAddr>) -> Route {
    let prefix = Prefix::new(ip(prefix).into(), len);
    Route { prefix, from: None, port, via: via.map(Addr::from) }
}

/// The routes of the table above.
pub fn routes() -> Vec<Route> {
    vec![
        route_to("10.0.0.0", 24, WAN, None),
        route_to("2001:db8::", 64, WAN, None),
        route_to("10.1.0.0", 24, LAN, None),
        route_to("2001:db8:1::", 64, LAN, None),
        route_to("0.0.0.0", 0, WAN, Some(gateway(Family::V4))),
        route_to("::", 0, WAN, Some(gateway(Family::V6))),
    ]
}

/// Enters a next hop that answers at `mac`.
pub fn reachable(neighbours: &Neighbours, port: PortId, addr: IpAddr, mac: Mac) -> Hop {
    let hop = neighbours
        .insert(port, addr.into(), |_| true)
        .expect("the table is made larger than the tests' network");
    neighbours.set(hop, HopState::Reachable(mac));
    hop
}

/// The snapshot of the table above, not indexed yet, with every neighbour reachable.
pub fn snapshot(neighbours: &Neighbours) -> Snapshot {
    let mut s = Snapshot {
        ports: vec![port("wan", WAN_MAC, wan_addr), port("lan", LAN_MAC, lan_addr)],
        routes: Routes::new(routes()),
        pools: vec![LocalPool {
            v4: vec![pool_addr(Family::V4).into()],
            v6: vec![pool_addr(Family::V6).into()],
        }],
        ..Snapshot::default()
    };
    for family in FAMILIES {
        reachable(neighbours, WAN, gateway(family), GATEWAY_MAC);
        let mut add = |ip: IpAddr, local| s.locals.insert(ip.into(), local);
        let own = Local { own: true, ports: 3, ..Local::default() };
        add(wan_addr(family), own);
        add(lan_addr(family), own);
        add(pool_addr(family), Local { pool: true, ports: 3, ..Local::default() });
        let vip_ = Local { vip: true, ports: 3, ..Local::default() };
        add(vip(family), vip_);
        add(silent_vip(family), Local { closed: Closed::Drop, ..vip_ });
    }
    for forward in METHODS {
        for proto in PROTOS {
            for family in FAMILIES {
                add_service(&mut s, neighbours, (family, proto, forward));
            }
        }
    }
    s
}

fn add_service(
    s: &mut Snapshot,
    neighbours: &Neighbours,
    (family, proto, forward): (Family, Proto, Forward),
) {
    let mut candidates = Vec::new();
    for n in 0..DESTS {
        let id = dest_id(family, proto, forward, n);
        assert_eq!(id.0 as usize, s.dests.len());
        let addr = dest_addr(family, n);
        let tunnel = if forward == Forward::Tunnel { of(family, 20, 40) } else { 0 };
        s.dests.push(Dest {
            addr: addr.into(),
            port: dest_port(forward),
            weight: 1,
            forward,
            out: LAN,
            hop: reachable(neighbours, LAN, addr, dest_mac(n)),
            mtu: s.ports[LAN.0 as usize].mtu - tunnel,
            // What the golden frames were made with: numbers as they are.
            traits: Traits { rewrite: false, ..Traits::default() },
            tunnel: Tunnel::to(lan_addr(family).into(), addr.into()),
            removed: false,
            dead: false,
        });
        candidates.push(Candidate { id, weight: 1, last_weight: 1 });
    }
    s.services.push(Service {
        id: ServiceId(service_index(family, proto, forward) as u32),
        proto,
        addr: vip(family).into(),
        port: service_port(forward),
        scope: Scope::Address,
        forward,
        methods: Methods::default(),
        pool: (forward == Forward::FullNat).then_some(0),
        proxy_in: Vec::new(),
        terms: Terms::default(),
        sched: Sched::Rr,
        dests: candidates,
        version: 1,
    });
}

/// A service's dests as a snapshot begins with them.
pub fn candidates(family: Family, proto: Proto, forward: Forward) -> Vec<Candidate> {
    let one = |n| Candidate { id: dest_id(family, proto, forward, n), weight: 1, last_weight: 1 };
    (0..DESTS).map(one).collect()
}

/// A rule that marks what is for a port of the VIP, TCP and UDP.
pub fn mark_port(family: Family, port: u16, mark: u32) -> Mark {
    let matching = Matching {
        sources: Vec::new(),
        destinations: vec![Prefix::new(vip(family).into(), 128)],
        ports: vec![port..=port],
        protocols: Protocols { tcp: true, udp: true, sctp: true, icmp: false },
    };
    Mark { matching, mark }
}

/// Adds a service like the one at `at`, changed, with dests like its; its place.
pub fn add_like(s: &mut Snapshot, at: usize, change: impl FnOnce(&mut Service)) -> usize {
    let mut service = s.services[at].clone();
    service.id = ServiceId(s.services.len() as u32);
    for candidate in &mut service.dests {
        let dest = s.dest(candidate.id).clone();
        candidate.id = DestId(s.dests.len() as u32);
        s.dests.push(dest);
    }
    change(&mut service);
    s.services.push(service);
    s.services.len() - 1
}

/// Gives the service at `at` dests in place of its own: the same ones by other numbers.
pub fn renew_dests(s: &mut Snapshot, at: usize) {
    let new = add_like(s, at, |_| {});
    s.services[at].dests = s.services.remove(new).dests;
    s.services[at].version += 1;
}

/// Crosses the families: full-NAT's v4 services get the v6 services' dests, and the reverse. To be
/// called before anything asks who is where.
pub fn cross(s: &mut Snapshot) {
    for proto in PROTOS {
        for n in 0..DESTS {
            let [a, b] = FAMILIES.map(|f| dest_id(f, proto, Forward::FullNat, n).0 as usize);
            let (v4, v6) = (s.dests[a].clone(), s.dests[b].clone());
            (s.dests[a].addr, s.dests[a].hop) = (v6.addr, v6.hop);
            (s.dests[b].addr, s.dests[b].hop) = (v4.addr, v4.hop);
        }
    }
}

/// Makes tunnels of this kind; where `crossed`, v4 services have v6 dests and the reverse. To be
/// called before anything asks who is where.
pub fn tunnels(s: &mut Snapshot, encap: Encap, crossed: bool) {
    for (proto, n) in PROTOS.into_iter().flat_map(|proto| (0..DESTS).map(move |n| (proto, n))) {
        let [a, b] = FAMILIES.map(|f| dest_id(f, proto, Forward::Tunnel, n).0 as usize);
        if crossed {
            let place = |d: &Dest| (d.addr, d.hop, d.tunnel);
            let (v4, v6) = (place(&s.dests[a]), place(&s.dests[b]));
            for (at, (addr, hop, tunnel)) in [(a, v6), (b, v4)] {
                s.dests[at] = Dest { addr, hop, tunnel, ..s.dests[at].clone() };
            }
        }
        for at in [a, b] {
            s.dests[at].traits.encap = encap;
        }
    }
    let mtu = s.ports[LAN.0 as usize].mtu;
    set_mtu(s, LAN, mtu);
}

/// Sets a port's MTU, and the dests' with it.
pub fn set_mtu(s: &mut Snapshot, port: PortId, mtu: u16) {
    s.ports[port.0 as usize].mtu = mtu;
    // What has no way of its own has no MTU either.
    let by_port = |d: &&mut Dest| d.out == port && d.traits.target != Target::ByRoute;
    for d in s.dests.iter_mut().filter(by_port) {
        let is_tunnel = d.forward == Forward::Tunnel;
        let header = tunnel::overhead(d.addr.family(), d.traits.encap) as u16;
        d.mtu = mtu - if is_tunnel { header } else { 0 };
    }
}
