//! Conns that servers open through the director.

use pointsman_dataplane::frame::BURST;
use pointsman_dataplane::laddr::FIRST_PORT;
use pointsman_dataplane::laddr::PORTS;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::sched::Sched;
use pointsman_dataplane::service::Closed;
use pointsman_dataplane::service::Scope;
use pointsman_dataplane::service::Service;
use pointsman_dataplane::service::ServiceId;
use pointsman_dataplane::snapshot::LocalPool;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Family::V6;
use pointsman_dataplane::tuple::Prefix;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::Consumed;
use pointsman_dataplane::verdict::DropReason;
use pointsman_dataplane::verdict::Made;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::see::Seen;
use pointsman_tests::see::Sum;
use pointsman_tests::snat;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

const WORKERS: [usize; 2] = [1, 4];

fn icmp(family: Family) -> Proto {
    net::of(family, Proto::Icmp, Proto::Icmpv6)
}

fn protos(family: Family) -> [Proto; 3] {
    [Proto::Tcp, Proto::Udp, icmp(family)]
}

fn kinds() -> impl Iterator<Item = (Family, Proto)> {
    net::FAMILIES.into_iter().flat_map(|family| protos(family).map(|proto| (family, proto)))
}

/// Both ends of a conn that server 0 opens to host `n` behind the gateway.
struct Conn {
    proto: Proto,
    server: SocketAddr,
    host: SocketAddr,
    /// What the host sees as its client: for an echo, with the identifier as port.
    outside: SocketAddr,
}

/// The identifier of an echo.
fn id(seen: &Seen) -> u16 {
    let (_, rest) = seen.icmp.expect("an echo");
    u16::from_be_bytes([rest[0], rest[1]])
}

/// A packet's source as the other end of a conn knows it.
fn source(proto: Proto, seen: &Seen) -> SocketAddr {
    let port = if matches!(proto, Proto::Tcp | Proto::Udp) { seen.src.port() } else { id(seen) };
    SocketAddr::new(seen.src.ip(), port)
}

impl Conn {
    fn ends(family: Family, proto: Proto, n: u8, port: u16) -> (SocketAddr, SocketAddr) {
        let to = if matches!(proto, Proto::Tcp | Proto::Udp) { 443 } else { 0 };
        (snat::server(family, 0, port), net::client(family, n, to))
    }

    /// Opened by a packet that arrives at worker `at`.
    fn open(rig: &mut Rig, at: usize, (family, proto): (Family, Proto), n: u8, port: u16) -> Self {
        let (server, host) = Self::ends(family, proto, n, port);
        let first = snat::packet(proto, server, host, flag::SYN);
        let out = rig.feed_at(at, LAN, &[&first.bytes()]);
        assert_eq!(out.sent.len(), 1, "{server} to {host}: dropped {:?}", rig.drops());
        let seen = out.seen();
        assert_eq!((out.only().port, seen.eth.0), (WAN, net::GATEWAY_MAC));
        assert_eq!((seen.dst, seen.ttl, seen.sum), (host, 59, Sum::Right));
        Self { proto, server, host, outside: source(proto, &seen) }
    }

    fn says(&self, flags: u8) -> Packet {
        snat::packet(self.proto, self.server, self.host, flags)
    }

    fn hears(&self, flags: u8) -> Packet {
        snat::answer(self.proto, self.host, self.outside, flags)
    }

    /// Packets of both ends, at worker `at`, reach the other one.
    fn goes_on(&self, rig: &mut Rig, at: usize) {
        let out = rig.feed_at(at, WAN, &[&self.hears(flag::SYN | flag::ACK).bytes()]);
        assert_eq!(out.only().port, LAN, "dropped {:?}", rig.drops());
        let seen = out.seen();
        assert_eq!((seen.eth.0, seen.src, seen.sum), (net::dest_mac(0), self.host, Sum::Right));
        let is_echo = !matches!(self.proto, Proto::Tcp | Proto::Udp);
        let port = if is_echo { id(&seen) } else { seen.dst.port() };
        assert_eq!(SocketAddr::new(seen.dst.ip(), port), self.server);
        let out = rig.feed_at(at, LAN, &[&self.says(flag::ACK).bytes()]);
        let seen = out.seen();
        assert_eq!((out.only().port, seen.dst, seen.sum), (WAN, self.host, Sum::Right));
        assert_eq!(source(self.proto, &seen), self.outside);
    }
}

#[test]
fn servers_open_their_own_conns_and_leave_with_a_pool_address() {
    for workers in WORKERS {
        for (family, proto) in kinds() {
            let mut rig = snat::rig(workers, |_| {});
            let mut owners = BTreeSet::new();
            for n in 0..16 {
                let at = usize::from(n) % workers;
                let conn = Conn::open(&mut rig, at, (family, proto), n, 5000 + u16::from(n));
                assert_eq!(conn.outside.ip(), snat::laddr(family));
                assert!(conn.outside.port() >= FIRST_PORT);
                for at in 0..workers {
                    conn.goes_on(&mut rig, at);
                }
            }
            owners.extend(rig.conns().iter().map(|(worker, ..)| *worker));
            assert_eq!((owners.len(), rig.conns().len()), (workers, 16), "{family:?} {proto}");
            assert!(rig.drops().is_empty(), "{:?}", rig.drops());
        }
    }
}

#[test]
fn where_a_queue_is_fixed_the_arriving_worker_keeps_the_conn() {
    for (family, proto) in kinds() {
        let mut rig = snat::rig(4, |s| s.ports.iter_mut().for_each(|p| p.fixed_queue = true));
        for n in 0..8 {
            let at = usize::from(n) % 4;
            let conn = Conn::open(&mut rig, at, (family, proto), n, 5000);
            let out = rig.feed_at(at, LAN, &[&conn.says(flag::ACK).bytes()]);
            assert!(out.handed.is_empty());
            let out = rig.feed_at(3 - at, WAN, &[&conn.hears(flag::ACK).bytes()]);
            assert_eq!((out.handed.len(), out.only().worker), (1, at), "straight to the owner");
        }
    }
}

/// The kernel's router-like courtesy: a server's conn that nobody knows is ended at once.
#[test]
fn a_servers_segment_of_no_conn_is_reset_and_not_let_out() {
    for family in net::FAMILIES {
        let mut rig = snat::rig(1, |_| {});
        let (server, host) = Conn::ends(family, Proto::Tcp, 1, 5000);
        let p = snat::packet(Proto::Tcp, server, host, flag::ACK);
        let out = rig.feed(LAN, &p.bytes());
        assert_eq!((out.only().port, out.seen().dst, out.seen().src), (LAN, server, host));
        assert_eq!(out.seen().tcp.unwrap().0, flag::RST);
        assert_eq!((rig.dropped(DropReason::NotSyn), rig.made(Made::Reset)), (1, 1));
    }
}

/// What one packet of server `n` leaves as, if it does.
fn leaves(rig: &mut Rig, n: usize, proto: Proto, host: SocketAddr) -> Option<Seen> {
    let family = if host.is_ipv4() { V4 } else { V6 };
    let p = snat::packet(proto, snat::server(family, n, 5000), host, flag::SYN);
    let out = rig.feed(LAN, &p.bytes());
    assert!(out.sent.len() <= 1);
    out.sent.first().map(|_| out.seen())
}

#[test]
fn a_rule_is_matched_by_source_prefix() {
    let only_first = |s: &mut Snapshot| {
        s.snats[0].matching.sources =
            net::FAMILIES.map(|f| Prefix::new(net::dest_addr(f, 0).into(), 128)).to_vec();
    };
    let mut rig = snat::rig(1, only_first);
    for family in net::FAMILIES {
        let host = net::client(family, 1, 443);
        assert!(leaves(&mut rig, 0, Proto::Tcp, host).is_some());
        assert!(leaves(&mut rig, 1, Proto::Tcp, host).is_none());
    }
    assert_eq!(rig.drops(), [(DropReason::NotOurs, 2)]);
}

#[test]
fn a_rule_is_matched_by_destination_port_and_protocol() {
    for family in net::FAMILIES {
        let mut rig = snat::rig(1, |s| {
            let rule = &mut s.snats[0].matching;
            rule.destinations = vec![Prefix::new(net::client(family, 1, 0).ip().into(), 128)];
            rule.ports = vec![443..=443, 8000..=8080];
            rule.protocols.udp = false;
        });
        let takes = |rig: &mut Rig, proto, n, port| {
            leaves(rig, 0, proto, net::client(family, n, port)).is_some()
        };
        for port in [443, 8000, 8080] {
            assert!(takes(&mut rig, Proto::Tcp, 1, port), "{port}");
        }
        for port in [442, 444, 7999, 8081] {
            assert!(!takes(&mut rig, Proto::Tcp, 1, port), "{port}");
        }
        assert!(!takes(&mut rig, Proto::Tcp, 2, 443), "another destination");
        assert!(!takes(&mut rig, Proto::Udp, 1, 443), "another protocol");
        assert!(!takes(&mut rig, icmp(family), 1, 0), "echoes have no port");
        assert_eq!(rig.drops(), [(DropReason::NotOurs, 7)]);
    }
}

#[test]
fn the_first_rule_that_matches_holds() {
    let mut rig = snat::rig(1, |s| {
        // Another rule for the same, in front, for one port; it leaves with the pool of LAN.
        snat::add(s, Sched::Rr, vec![snat::by_route()]);
        s.snats[1].matching.ports = vec![53..=53];
        s.snats[1].service.pool = Some(0);
        s.snats.swap(0, 1);
    });
    for family in net::FAMILIES {
        for (port, laddr) in [(53, net::pool_addr(family)), (54, snat::laddr(family))] {
            let seen = leaves(&mut rig, 0, Proto::Udp, net::client(family, 1, port)).unwrap();
            assert_eq!(seen.src.ip(), laddr);
        }
    }
}

#[test]
fn services_come_before_rules_and_what_is_ours_never_passes() {
    for family in net::FAMILIES {
        let mut rig = snat::rig(1, |_| {});
        let forward = pointsman_dataplane::service::Forward::FullNat;
        let vip = net::service_addr(family, forward);
        let seen = leaves(&mut rig, 0, Proto::Tcp, vip).unwrap();
        assert_eq!(seen.src.ip(), net::pool_addr(family), "by the service, to a dest");
        // A closed port of a VIP, and the director's own echo.
        let seen = leaves(&mut rig, 0, Proto::Tcp, SocketAddr::new(vip.ip(), 9)).unwrap();
        assert_eq!(seen.tcp.unwrap().0 & flag::RST, flag::RST);
        let ping = snat::echo(net::dest_addr(family, 0), net::wan_addr(family), true, 5);
        let seen = rig.feed(LAN, &ping.from_lan(net::dest_mac(0)).bytes()).seen();
        assert_eq!(seen.src.ip(), net::wan_addr(family));
        assert_eq!(rig.consumed(Consumed::EchoRequest), 1);
        assert_eq!(rig.conns().len(), 1, "the service's");
    }
}

#[test]
fn nothing_is_let_out_to_broadcast_or_link_local_destinations() {
    let mut rig = snat::rig(1, |_| {});
    let (_, mac) = (net::dest_addr(V4, 0), net::dest_mac(0));
    let to = |family, dst: &str| {
        let dst = SocketAddr::new(net::ip(dst), 9);
        Packet::udp(snat::server(family, 0, 5000), dst).from_lan(mac).bytes()
    };
    for frame in [to(V4, "10.0.0.255"), to(V4, "10.1.0.255"), to(V6, "fe80::1234")] {
        assert!(rig.feed(LAN, &frame).sent.is_empty());
    }
    assert_eq!(rig.drops(), [(DropReason::NotOurs, 3)]);
}

/// One laddr carries 64,511 conns toward each endpoint, whoever opens them.
#[test]
fn ports_are_unique_toward_an_endpoint_only() {
    let mut rig = snat::rig(1, |_| {});
    let outside = |rig: &mut Rig, n, port| Conn::open(rig, 0, (V4, Proto::Udp), n, port).outside;
    let (a, b) = (outside(&mut rig, 1, 5000), outside(&mut rig, 1, 5001));
    assert_ne!(a.port(), b.port());
    assert_eq!(outside(&mut rig, 2, 5000), a, "toward another host the same port serves");
    assert_eq!(rig.sum(|s| &s.leases), 3);
}

/// A service on a VIP, at an address that rules lease ports of.
fn add_service(s: &mut Snapshot, family: Family, port: u16) {
    let forward = pointsman_dataplane::service::Forward::Nat;
    let model = &s.services[net::service_index(family, Proto::Tcp, forward)];
    let (addr, id) = (snat::laddr(family).into(), ServiceId(100 + s.services.len() as u32));
    let service = Service { id, addr, port, scope: Scope::Address, ..model.clone() };
    s.services.push(service);
    s.locals.entry(addr).or_default().vip = true;
}

#[test]
fn an_address_that_is_also_a_vip_never_leases_a_port_a_service_on_it_uses() {
    let taken = [FIRST_PORT, FIRST_PORT + 1, FIRST_PORT + 5, 50_000];
    for family in net::FAMILIES {
        let options = Options { workers: 4, conns: 70_000, ..Options::default() };
        let mut rig = Rig::build(options, |s, _| {
            snat::add(s, Sched::Rr, vec![snat::by_route()]);
            taken.iter().for_each(|port| add_service(s, family, *port));
        });
        let (_, host) = Conn::ends(family, Proto::Tcp, 1, 0);
        let mut used = BTreeSet::new();
        // All of them, and a few more than there are.
        let syns: Vec<_> = (0..PORTS + 3)
            .map(|n| {
                let (server, port) = (1 + n as usize / 60_000, 2000 + (n % 60_000) as u16);
                let from = snat::server(family, server, port);
                snat::packet(Proto::Tcp, from, host, flag::SYN).bytes()
            })
            .collect();
        for (n, burst) in syns.chunks(BURST).enumerate() {
            let burst: Vec<_> = burst.iter().map(Vec::as_slice).collect();
            let out = rig.feed_at(n % 4, LAN, &burst);
            used.extend(out.sent.iter().map(|s| see::see(&s.bytes).src.port()));
        }
        assert_eq!(used.len(), PORTS as usize - taken.len(), "every other port served");
        assert!(taken.iter().all(|port| !used.contains(port)));
        assert_eq!(rig.drops(), [(DropReason::NoLease, 3 + taken.len() as u64)]);
        // The services go on meanwhile.
        let at = SocketAddr::new(snat::laddr(family), taken[0]);
        let client = net::client(family, 9, 9);
        let out = rig.feed(WAN, &Packet::tcp(client, at, flag::SYN).bytes());
        assert_eq!((out.only().port, out.seen().src), (LAN, client));
    }
}

#[test]
fn without_a_pool_conns_leave_with_the_address_of_the_port_they_leave_by() {
    for (family, proto) in kinds() {
        for workers in WORKERS {
            let mut rig = snat::rig(workers, |s| {
                s.snats[0].service.pool = None;
                s.locals.values_mut().for_each(|local| local.pool |= local.own);
            });
            let conn = Conn::open(&mut rig, 0, (family, proto), 1, 5000);
            assert_eq!(conn.outside.ip(), net::wan_addr(family));
            (0..workers).for_each(|at| conn.goes_on(&mut rig, at));
            // The port's own echo is answered as before, whatever its identifier.
            let ping = snat::echo(conn.host.ip(), net::wan_addr(family), true, conn.outside.port());
            let seen = rig.feed(WAN, &ping.bytes()).seen();
            assert_eq!((seen.src.ip(), seen.dst.ip()), (net::wan_addr(family), conn.host.ip()));
            assert_eq!((id(&seen), seen.sum), (conn.outside.port(), Sum::Right));
        }
    }
}

#[test]
fn full_nat_without_a_pool_leaves_with_the_address_of_the_dests_port() {
    let forward = pointsman_dataplane::service::Forward::FullNat;
    for family in net::FAMILIES {
        let mut rig = Rig::with(|s| {
            s.services[net::service_index(family, Proto::Tcp, forward)].pool = None;
            s.locals.values_mut().for_each(|local| local.pool |= local.own);
        });
        let talk = pointsman_tests::talk::Talk::tcp(&mut rig, family, forward);
        assert_eq!(talk.at_dest.src.ip(), net::lan_addr(family));
        assert_eq!(talk.answer(&mut rig, flag::SYN | flag::ACK).seen().dst, talk.client);
    }
}

#[test]
fn an_echo_lives_for_at_least_60_s() {
    for family in net::FAMILIES {
        let mut rig = snat::rig(1, |s| {
            // However short UDP's is.
            s.dests.iter_mut().for_each(|d| d.traits.udp_timeout = 5000);
        });
        let conn = Conn::open(&mut rig, 0, (family, icmp(family)), 1, 77);
        rig.pass(Duration::from_secs(59));
        conn.goes_on(&mut rig, 0);
        // The second answer's way is known already.
        for _ in 0..2 {
            assert_eq!(rig.feed(WAN, &conn.hears(0).bytes()).sent.len(), 1);
        }
        rig.pass(Duration::from_secs(59));
        conn.goes_on(&mut rig, 0);
        rig.pass(Duration::from_secs(61));
        assert!(rig.conns().is_empty());
        assert_eq!(rig.sum(|s| &s.leases), 0);
        rig.feed(WAN, &conn.hears(0).bytes());
        assert_eq!(rig.drops(), [(DropReason::IcmpType, 1)]);
    }
}

#[test]
fn echoes_of_one_identifier_from_two_servers_are_told_apart() {
    for family in net::FAMILIES {
        let mut rig = snat::rig(1, |_| {});
        let host = net::client(family, 1, 0);
        let outside = [0, 1].map(|n| {
            let seen = leaves(&mut rig, n, icmp(family), host).unwrap();
            id(&seen)
        });
        assert_ne!(outside[0], outside[1]);
        for (n, id) in outside.into_iter().enumerate() {
            let reply = snat::echo(host.ip(), snat::laddr(family), false, id);
            let seen = rig.feed(WAN, &reply.bytes()).seen();
            assert_eq!((seen.eth.0, seen.dst.ip()), (net::dest_mac(n), net::dest_addr(family, n)));
        }
    }
}

/// What a router on the way says of a packet of ours.
fn error(family: Family, about: &[u8]) -> Packet {
    let router = net::client(family, 200, 0).ip();
    let kind = net::of(family, [11, 0], [3, 0]);
    Packet::icmp(router, snat::laddr(family), kind, [0; 4], about)
}

#[test]
fn errors_about_a_servers_packet_reach_it_with_their_own_source() {
    for workers in WORKERS {
        for (family, proto) in kinds() {
            let mut rig = snat::rig(workers, |_| {});
            let conn = Conn::open(&mut rig, 0, (family, proto), 1, 5000);
            let out = rig.feed(LAN, &conn.says(flag::ACK).bytes()).seen();
            for at in 0..workers {
                let out = rig.feed_at(at, WAN, &[&error(family, &out.ip).bytes()]);
                let seen = out.seen();
                assert_eq!((out.only().port, seen.dst.ip()), (LAN, conn.server.ip()));
                assert_eq!(seen.src.ip(), net::client(family, 200, 0).ip(), "the hop itself");
                assert_eq!(seen.sum, Sum::Right);
                // What it quotes is what the server sent, one hop on.
                let mut sent = conn.says(flag::ACK);
                sent.ttl -= 1;
                assert_eq!(seen.payload, sent.ip(), "{family:?} {proto}");
            }
            assert!(rig.drops().is_empty(), "{:?}", rig.drops());
        }
    }
}

#[test]
fn errors_of_a_server_about_what_it_was_answered_leave_with_the_local_address() {
    for workers in WORKERS {
        for family in net::FAMILIES {
            let mut rig = snat::rig(workers, |_| {});
            let conn = Conn::open(&mut rig, 0, (family, Proto::Udp), 1, 5000);
            let heard = rig.feed(WAN, &conn.hears(0).bytes()).seen();
            let kind = net::of(family, [3, 3], [1, 4]);
            let host = conn.host.ip();
            let p = Packet::icmp(conn.server.ip(), host, kind, [0; 4], &heard.ip);
            for at in 0..workers {
                let out = rig.feed_at(at, LAN, &[&p.clone().from_lan(net::dest_mac(0)).bytes()]);
                let seen = out.seen();
                assert_eq!((out.only().port, seen.eth.0), (WAN, net::GATEWAY_MAC));
                assert_eq!((seen.src.ip(), seen.dst.ip()), (conn.outside.ip(), host));
                assert_eq!(seen.sum, Sum::Right);
            }
            assert!(rig.drops().is_empty(), "{:?}", rig.drops());
        }
    }
}

#[test]
fn the_director_is_a_hop_and_knows_the_mtu_of_the_way_out() {
    for family in net::FAMILIES {
        let mut rig = snat::rig(1, |s| net::set_mtu(s, WAN, 1300));
        let conn = Conn::open(&mut rig, 0, (family, Proto::Udp), 1, 5000);
        let seen = rig.feed(LAN, &conn.says(0).ttl(1).bytes()).seen();
        assert_eq!((seen.src.ip(), seen.dst.ip()), (net::lan_addr(family), conn.server.ip()));
        assert_eq!(seen.icmp.unwrap().0[0], net::of(family, 11, 3));
        let seen = rig.feed(LAN, &conn.says(0).payload(&[0; 1400]).bytes()).seen();
        let (kind, rest) = seen.icmp.unwrap();
        assert_eq!(kind, net::of(family, [3, 4], [2, 0]));
        assert_eq!(u16::from_be_bytes([rest[2], rest[3]]), 1300);
        assert_eq!(rig.dropped(DropReason::TooBig), 1);
    }
}

#[test]
fn fragments_of_a_servers_datagram_pass_in_any_order() {
    for workers in WORKERS {
        let mut rig = snat::rig(workers, |_| {});
        let (server, host) = Conn::ends(V4, Proto::Udp, 1, 5000);
        let whole = snat::packet(Proto::Udp, server, host, 0).payload(&[7; 32]);
        let ip = whole.ip();
        let piece = |from: usize, to: usize| {
            let more = if to < ip.len() - 20 { 0x2000 } else { 0 };
            let mut p = snat::packet(Proto::Udp, server, host, 0);
            p.body = pointsman_tests::craft::Body::Raw(17);
            p.fragment = more | (from / 8) as u16;
            p.payload(&ip[20 + from..20 + to]).bytes()
        };
        let mut ids = BTreeSet::new();
        let mut out = rig.feed_at(workers - 1, LAN, &[&piece(16, 40)]).sent;
        out.extend(rig.feed_at(0, LAN, &[&piece(0, 16)]).sent);
        assert_eq!(out.len(), 2, "{:?}", rig.drops());
        for sent in out {
            let seen = see::see(&sent.bytes);
            assert_eq!((seen.src.ip(), seen.dst.ip()), (snat::laddr(V4), host.ip()));
            ids.insert(seen.id);
        }
        assert_eq!(ids.len(), 1);
    }
}

/// What comes out of fragments that arrive one by one, put together: ends, and the checksum's worth.
fn together(rig: &mut Rig, from: PortId, pieces: &[Packet]) -> Option<(Seen, Sum)> {
    let mut sent = Vec::new();
    for (n, piece) in pieces.iter().enumerate() {
        sent.extend(rig.feed_at(n % rig.worker_count(), from, &[&piece.bytes()]).sent);
    }
    assert!(sent.is_empty() || sent.len() == pieces.len(), "{:?}", rig.drops());
    let frames: Vec<_> = sent.into_iter().map(|s| s.bytes).collect();
    let ids: BTreeSet<_> = frames.iter().map(|f| see::see(f).id).collect();
    assert!(ids.len() < 2, "{ids:?}");
    let first = frames.iter().map(|f| see::see(f)).find(|s| s.fragment.1 == 0)?;
    Some((first, see::sums(&frames).expect("whole datagrams")[0]))
}

#[test]
fn echoes_in_fragments_pass_both_ways_in_any_order() {
    for workers in WORKERS {
        for family in net::FAMILIES {
            for routing in [false, true] {
                let mut rig = snat::rig(workers, |s| s.routing = routing);
                for (n, order) in [[0, 1, 2], [2, 1, 0], [1, 0, 2]].into_iter().enumerate() {
                    let (server, host) = Conn::ends(family, icmp(family), n as u8, 5000);
                    let echo = snat::echo(server.ip(), host.ip(), true, server.port());
                    let whole = echo.payload(&[7; 64]).from_lan(net::dest_mac(0)).cut(3, &[16, 40]);
                    let pieces = order.map(|i| whole[i].clone());
                    let (seen, sum) = together(&mut rig, LAN, &pieces).expect("it passes");
                    assert_eq!((seen.src.ip(), seen.dst.ip()), (snat::laddr(family), host.ip()));
                    assert_eq!(sum, Sum::Right);
                    let outside = u16::from_be_bytes([seen.segment[4], seen.segment[5]]);
                    let reply = snat::echo(host.ip(), snat::laddr(family), false, outside);
                    let whole = reply.payload(&[7; 64]).cut(9, &[16, 40]);
                    let pieces = order.map(|i| whole[i].clone());
                    let (seen, sum) = together(&mut rig, WAN, &pieces).expect("it passes");
                    assert_eq!((seen.src.ip(), seen.dst.ip()), (host.ip(), server.ip()));
                    assert_eq!(
                        (sum, &seen.segment[4..6]),
                        (Sum::Right, &5000u16.to_be_bytes()[..])
                    );
                }
                assert_eq!(rig.conns().len(), 3);
                assert!(rig.drops().is_empty(), "{:?}", rig.drops());
            }
        }
    }
}

/// Fragments of ICMP that no rule translates do not pass with a server's own source, nor is an
/// echo answered that would have to be put together.
#[test]
fn what_cannot_be_translated_of_icmp_in_fragments_is_dropped_by_name() {
    for family in net::FAMILIES {
        let (server, host) = Conn::ends(family, icmp(family), 1, 5000);
        for (to, kind, reason) in [
            (host.ip(), net::of(family, 13, 139), DropReason::IcmpType),
            (net::vip(family), net::of(family, 8, 128), DropReason::Protocol),
        ] {
            let mut rig = snat::rig(1, |s| s.routing = true);
            let mut echo = snat::echo(server.ip(), to, true, 7);
            echo.body = pointsman_tests::craft::Body::Icmp { kind: [kind, 0], rest: [0; 4] };
            let pieces = echo.payload(&[7; 64]).from_lan(net::dest_mac(0)).cut(3, &[16, 40]);
            assert!(together(&mut rig, LAN, &pieces).is_none());
            assert_eq!(rig.drops(), [(DropReason::FragmentOverlap, 2), (reason, 1)]);
        }
    }
}

#[test]
fn conns_of_a_rule_that_a_reload_took_out_run_to_their_end() {
    for workers in WORKERS {
        for (family, proto) in kinds() {
            let mut rig = snat::rig(workers, |_| {});
            let conn = Conn::open(&mut rig, 0, (family, proto), 1, 5000);
            rig.reload(|s| {
                let id = s.snats.remove(0).service.dests[0].id;
                s.dests[id.0 as usize].removed = true;
            });
            (0..workers).for_each(|at| conn.goes_on(&mut rig, at));
            let (server, host) = Conn::ends(family, proto, 1, 5001);
            let p = snat::packet(proto, server, host, flag::SYN);
            assert!(rig.feed(LAN, &p.bytes()).sent.is_empty(), "and no new ones");
        }
    }
}

/// What a server's peers take it for should not change from conn to conn (RFC 4787, REQ-2).
#[test]
fn a_server_leaves_with_one_address_of_a_pool_while_it_has_ports() {
    let mut rig = snat::rig(1, |s| {
        let pool = s.snats[0].service.pool.unwrap();
        for n in 101..108 {
            let addr = net::ip(&format!("10.0.0.{n}")).into();
            s.pools[pool].v4.push(addr);
            let local = s.locals[&pointsman_dataplane::tuple::Addr::from(snat::laddr(V4))];
            s.locals.insert(addr, local);
        }
    });
    let mut all = BTreeSet::new();
    for n in 0..3 {
        let addrs: BTreeSet<_> = (0..20u16)
            .map(|i| {
                let host = net::client(V4, i as u8, 100 + i);
                leaves(&mut rig, n, Proto::Tcp, host).unwrap().src.ip()
            })
            .collect();
        assert_eq!(addrs.len(), 1, "server {n}");
        all.extend(addrs);
    }
    assert!(all.len() > 1, "servers differ: {all:?}");
}

#[test]
fn what_has_no_route_or_no_next_hop_is_refused_or_waits() {
    let mut rig = snat::rig(1, |s| {
        let routes = s.routes.iter().filter(|r| !r.prefix.is_empty()).copied().collect();
        s.routes = pointsman_dataplane::snapshot::Routes::new(routes);
    });
    for family in net::FAMILIES {
        let host = net::client(family, 1, 443);
        let seen = leaves(&mut rig, 0, Proto::Tcp, host).unwrap();
        assert_eq!(seen.icmp.unwrap().0, net::of(family, [3, 0], [1, 0]));
        // On the link, never spoken to.
        let near = net::ip(net::of(family, "10.0.0.77", "2001:db8::77"));
        assert!(leaves(&mut rig, 0, Proto::Tcp, SocketAddr::new(near, 443)).is_none());
        let mac = [2, 0, 0, 0, 7, 7];
        rig.set_neighbour(WAN, near, pointsman_dataplane::neigh::HopState::Reachable(mac));
        let seen = rig.housekeep().seen();
        assert_eq!((seen.eth.0, seen.src.ip()), (mac, snat::laddr(family)));
    }
    assert_eq!(rig.drops(), [(DropReason::NoRoute, 2)]);
}

#[test]
fn what_matches_no_rule_is_routed_where_the_director_routes() {
    for workers in WORKERS {
        for (family, proto) in kinds() {
            let mut rig = snat::rig(workers, |s| {
                s.routing = true;
                let first = Prefix::new(net::dest_addr(family, 0).into(), 128);
                s.snats[0].matching.sources = vec![first];
            });
            let conn = Conn::open(&mut rig, 0, (family, proto), 1, 5000);
            (0..workers).for_each(|at| conn.goes_on(&mut rig, at));
            assert_eq!(rig.sum(|s| &s.routed), 0);
            let (_, host) = Conn::ends(family, proto, 1, 0);
            let p = snat::packet(proto, snat::server(family, 1, 5000), host, flag::SYN);
            for at in 0..workers {
                let out = rig.feed_at(at, LAN, &[&p.bytes()]);
                assert_eq!((out.only().port, out.seen().src.ip()), (WAN, p.src.ip()));
                // And what answers it.
                let back = snat::answer(proto, host, p.src, flag::ACK);
                assert_eq!(rig.feed_at(at, WAN, &[&back.bytes()]).seen().dst.ip(), p.src.ip());
            }
            assert_eq!(rig.sum(|s| &s.routed), 2 * workers as u64);
            // What the rule is for is not let out as it is.
            if proto == Proto::Tcp {
                let stray = snat::packet(proto, snat::server(family, 0, 6000), host, flag::ACK);
                let seen = rig.feed(LAN, &stray.bytes()).seen();
                assert_eq!(seen.tcp.map(|tcp| tcp.0), Some(flag::RST));
            }
        }
    }
}

#[test]
fn a_servers_conns_take_the_uplink_of_its_own_address() {
    for family in net::FAMILIES {
        let mut rig = Rig::build(Options::default(), |s, neighbours| {
            let (other, mac) = snat::router(family, 0);
            net::reachable(neighbours, WAN, other, mac);
            let mut routes: Vec<_> = s.routes.iter().copied().collect();
            let default = routes.iter().position(|r| {
                r.prefix.is_empty() && r.prefix.contains(net::client(family, 1, 0).ip().into())
            });
            let mut by_other = routes[default.expect("a default route")];
            by_other.via = Some(other.into());
            by_other.from = Some(Prefix::new(net::dest_addr(family, 1).into(), 128));
            routes.push(by_other);
            s.routes = pointsman_dataplane::snapshot::Routes::new(routes);
            snat::add(s, Sched::Rr, vec![snat::by_route()]);
        });
        for (n, mac) in [net::GATEWAY_MAC, snat::router(family, 0).1].into_iter().enumerate() {
            for _ in 0..2 {
                let host = net::client(family, 1, 443);
                let seen = leaves(&mut rig, n, Proto::Udp, host).expect("a way");
                assert_eq!((seen.eth.0, seen.src.ip()), (mac, snat::laddr(family)));
            }
        }
    }
}

#[test]
fn a_rule_without_a_port_left_is_counted_and_answered_as_it_says() {
    for exhausted in [Closed::Drop, Closed::Reject] {
        let mut rig = snat::rig(1, |s| {
            s.pools.iter_mut().for_each(|pool| *pool = LocalPool::default());
            s.dests.iter_mut().for_each(|d| d.traits.exhausted = exhausted);
        });
        let mut refused = 0;
        for (family, proto) in kinds() {
            let (server, host) = Conn::ends(family, proto, 1, 5000);
            let out = rig.feed(LAN, &snat::packet(proto, server, host, flag::SYN).bytes());
            refused += 1;
            let is_told = exhausted == Closed::Reject && proto != icmp(family);
            assert_eq!(out.sent.len(), usize::from(is_told), "{family:?} {proto}");
            assert!(out.sent.iter().all(|s| see::see(&s.bytes).dst.ip() == server.ip()));
        }
        assert_eq!(rig.drops(), [(DropReason::NoLease, refused)]);
        let rule = rig.shared.services.sum(rule_number(), |s| &s.no_lease);
        assert_eq!(rule, refused, "counted for the rule");
    }
}

/// The number of the only rule: after all services.
fn rule_number() -> usize {
    net::METHODS.len() * net::PROTOS.len() * net::FAMILIES.len()
}
