//! What reviews have found: each case fails on the code before it was mended.

use pointsman_dataplane::frame::BURST;
use pointsman_dataplane::laddr::FIRST_PORT;
use pointsman_dataplane::neigh::HopState;
use pointsman_dataplane::pipeline::MAX_CLOSED;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::ServiceId;
use pointsman_dataplane::snapshot::Local;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Family::V6;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::see::Sum;
use pointsman_tests::talk::Talk;
use std::net::SocketAddr;
use std::time::Duration;

/// The service goes, its dests stay for their conns.
fn remove(s: &mut Snapshot, at: usize) {
    for d in s.services.remove(at).dests {
        s.dests[d.id.0 as usize].removed = true;
    }
}

/// The service's dests are replaced by those of another method's.
fn change_method(s: &mut Snapshot, at: usize, family: Family, to: Forward) {
    let old = s.services[at].clone();
    let other = s.services[net::service_index(family, old.proto, to)].clone();
    for d in &old.dests {
        s.dests[d.id.0 as usize].removed = true;
    }
    let dests = other
        .dests
        .into_iter()
        .map(|mut d| {
            let dest = s.dest(d.id).clone();
            d.id = pointsman_dataplane::service::DestId(s.dests.len() as u32);
            s.dests.push(dest);
            d
        })
        .collect();
    let (forward, pool, version) = (to, other.pool, old.version + 1);
    s.services[at] = pointsman_dataplane::service::Service { dests, forward, pool, version, ..old };
}

/// Conns of 12 clients, then a reload; every packet of either side goes on as before, wherever it
/// arrives.
fn conns_stay(fixed: bool, reload: impl Fn(&mut Snapshot, usize, Family, Forward)) {
    for workers in [1, 2, 3] {
        for family in net::FAMILIES {
            for forward in net::METHODS {
                let mut rig = Rig::build(Options { workers, ..Options::default() }, |s, _| {
                    s.ports.iter_mut().for_each(|p| p.fixed_queue = fixed);
                });
                let talks: Vec<_> = (0..12)
                    .map(|n| (usize::from(n) % workers, n))
                    .map(|(at, n)| {
                        let kind = (family, Proto::Tcp, forward);
                        (at, Talk::open(&mut rig, at, kind, (n, 9)))
                    })
                    .collect();
                let at = net::service_index(family, Proto::Tcp, forward);
                rig.reload(|s| reload(s, at, family, forward));
                for (at, talk) in &talks {
                    let what = format!("{workers} workers, {forward:?}");
                    // Where a queue is fixed a client's packets come where they came; the dest's anywhere.
                    let clients = if fixed { vec![*at] } else { (0..workers).collect() };
                    for w in clients {
                        let out = rig.feed_at(w, WAN, &[&talk.original(flag::ACK).bytes()]);
                        assert_eq!(out.sent.len(), 1, "{what}: {:?}", rig.drops());
                        assert_eq!(out.only().port, LAN, "{what}: {:?}", rig.drops());
                        assert_eq!(out.seen().dst, talk.at_dest.dst, "{what}");
                        assert_eq!(out.seen().src, talk.at_dest.src, "{what}");
                    }
                    for w in (0..workers).filter(|_| forward.sees_replies()) {
                        let out = rig.feed_at(w, LAN, &[&talk.reply(flag::ACK).bytes()]);
                        assert_eq!(out.sent.len(), 1, "{what}: {:?}", rig.drops());
                        assert_eq!(out.seen().dst, talk.client, "{what}");
                        // A router says of it that it is too big, wherever that arrives.
                        let seen = out.seen();
                        let kind = net::of(family, [3, 4], [2, 0]);
                        let (to, by) = (seen.src.ip(), seen.dst.ip());
                        let error = Packet::icmp(by, to, kind, [0, 0, 5, 0x78], &seen.ip).bytes();
                        for at in 0..workers {
                            let out = rig.feed_at(at, WAN, &[&error]);
                            assert_eq!(out.sent.len(), 1, "{what}, error: {:?}", rig.drops());
                            assert_eq!(out.only().port, LAN, "{what}");
                        }
                    }
                }
                assert_eq!((rig.conns().len(), rig.drops()), (12, vec![]));
            }
        }
    }
}

#[test]
fn a_removed_service_keeps_its_conns_whichever_worker_has_them() {
    for fixed in [false, true] {
        conns_stay(fixed, |s, at, _, _| remove(s, at));
    }
}

#[test]
fn a_changed_method_keeps_the_conns_whichever_worker_has_them() {
    for fixed in [false, true] {
        for to in net::METHODS {
            conns_stay(fixed, |s, at, family, from| {
                if from != to {
                    change_method(s, at, family, to);
                }
            });
        }
    }
}

/// A conn under tunnel and an error, of `kind` and with `rest`, about its packet, from a router
/// between the director and the dest.
fn error_about_a_tunnel_packet(family: Family, kind: [u8; 2], rest: [u8; 4]) -> see::Seen {
    let mut rig = Rig::new();
    let talk = Talk::tcp(&mut rig, family, Forward::Tunnel);
    let sent = talk.original(flag::ACK).payload(&[7; 600]);
    let outer = rig.feed(WAN, &sent.bytes()).seen();
    assert_eq!(outer.number, net::of(family, 4, 41));
    let router = net::dest_addr(family, 2);
    let error = Packet::icmp(router, outer.src.ip(), kind, rest, &outer.ip);
    let out = rig.feed(LAN, &error.from_lan(net::dest_mac(2)).bytes());
    let seen = out.seen();
    assert_eq!((out.only().port, seen.dst.ip()), (WAN, talk.client.ip()));
    assert_eq!(seen.sum, Sum::Right);
    // The client finds his own packet, as far as it is quoted (TTL as the tunnel had it).
    let header = net::of(family, 20, 40);
    assert!(seen.payload.len() >= header + 20, "{}", see::hex(&seen.payload));
    assert_eq!(seen.payload[header..], sent.ip()[header..seen.payload.len()]);
    let (a, b) = net::of(family, (12, 20), (8, 40));
    assert_eq!(seen.payload[a..b], sent.ip()[a..b], "addresses");
    assert!(rig.drops().is_empty());
    seen
}

#[test]
fn an_error_about_our_own_tunnel_packet_reaches_the_client_with_the_mtu_less_the_tunnels_header() {
    let seen = error_about_a_tunnel_packet(V4, [3, 4], [0, 0, 0x05, 0x78]);
    assert_eq!(seen.icmp, Some(([3, 4], [0, 0, 0x05, 0x64])), "1,400 less 20");
    let seen = error_about_a_tunnel_packet(V6, [2, 0], [0, 0, 0x05, 0x78]);
    assert_eq!(seen.icmp, Some(([2, 0], [0, 0, 0x05, 0x50])), "1,400 less 40");
}

#[test]
fn an_mtu_below_the_least_is_not_told_on() {
    let seen = error_about_a_tunnel_packet(V6, [2, 0], [0, 0, 0x05, 0x00]);
    assert_eq!(seen.icmp, Some(([2, 0], [0, 0, 0x05, 0x00])), "1,280 is what every link carries");
    let seen = error_about_a_tunnel_packet(V4, [3, 4], [0, 0, 0, 70]);
    assert_eq!(seen.icmp, Some(([3, 4], [0, 0, 0x02, 0x14])), "552, as the kernel has it, less 20");
}

#[test]
fn an_unreachable_about_our_own_tunnel_packet_reaches_the_client() {
    let seen = error_about_a_tunnel_packet(V4, [3, 1], [0; 4]);
    assert_eq!(seen.icmp, Some(([3, 1], [0; 4])));
    let seen = error_about_a_tunnel_packet(V6, [1, 3], [0; 4]);
    assert_eq!(seen.icmp, Some(([1, 3], [0; 4])));
}

#[test]
fn an_error_about_a_strangers_tunnel_packet_is_dropped() {
    let mut rig = Rig::new();
    let talk = Talk::tcp(&mut rig, V4, Forward::Tunnel);
    let mut about = rig.feed(WAN, &talk.original(flag::ACK).bytes()).seen().ip;
    about[12..16].copy_from_slice(&[10, 1, 0, 77]);
    let error = Packet::icmp(net::dest_addr(V4, 2), net::lan_addr(V4), [3, 4], [0; 4], &about);
    assert!(rig.feed(LAN, &error.from_lan(net::dest_mac(2)).bytes()).sent.is_empty());
    assert_eq!(rig.drops(), [(DropReason::IcmpUnknown, 1)]);
}

const LINK_LOCAL: &str = "fe80::99";
const ITS_MAC: [u8; 6] = [2, 0, 0, 0, 9, 0x99];

#[test]
fn an_echo_from_a_link_local_address_is_answered_on_its_link() {
    for (port, other) in [(WAN, LAN), (LAN, WAN)] {
        let mut rig = Rig::new();
        let peer = net::ip(LINK_LOCAL);
        let own = if port == WAN { net::wan_addr(V6) } else { net::lan_addr(V6) };
        let mut echo = Packet::icmp(peer, own, [128, 0], [0, 1, 0, 2], b"ping");
        echo.eth = (if port == WAN { net::WAN_MAC } else { net::LAN_MAC }, ITS_MAC);
        // One of the same address on the other link is somebody else.
        rig.set_neighbour(other, peer, HopState::Reachable([2, 0, 0, 0, 9, 0x66]));
        rig.set_neighbour(port, peer, HopState::Reachable(ITS_MAC));
        let out = rig.feed(port, &echo.bytes());
        assert_eq!((out.only().port, out.seen().eth.0), (port, ITS_MAC));
        assert_eq!(out.seen().icmp, Some(([129, 0], [0, 1, 0, 2])));
        assert_eq!((out.seen().src.ip(), out.seen().dst.ip()), (own, peer));
        assert!(rig.drops().is_empty());
    }
}

#[test]
fn an_echo_from_an_unknown_link_local_address_has_it_looked_for_on_its_link() {
    let mut rig = Rig::new();
    let peer = net::ip(LINK_LOCAL);
    let echo = Packet::icmp(peer, net::wan_addr(V6), [128, 0], [0; 4], b"ping");
    let out = rig.feed(WAN, &echo.bytes());
    assert_eq!(out.asked, [(WAN, peer)]);
    rig.set_neighbour(WAN, peer, HopState::Reachable(ITS_MAC));
    assert_eq!(rig.housekeep().seen().eth.0, ITS_MAC);
}

#[test]
fn an_echo_to_a_link_local_address_of_ours_is_answered() {
    let mut rig = Rig::with(|s| {
        let own = Local { own: true, ports: 1, ..Local::default() };
        s.locals.insert(net::ip("fe80::1").into(), own);
    });
    let (peer, own) = (net::ip(LINK_LOCAL), net::ip("fe80::1"));
    rig.set_neighbour(WAN, peer, HopState::Reachable(ITS_MAC));
    let mut echo = Packet::icmp(peer, own, [128, 0], [0, 1, 0, 2], b"ping");
    echo.eth.1 = ITS_MAC;
    let seen = rig.feed(WAN, &echo.bytes()).seen();
    assert_eq!((seen.src.ip(), seen.dst.ip(), seen.eth.0), (own, peer, ITS_MAC));
}

#[test]
fn a_link_local_address_is_no_client() {
    let mut rig = Rig::new();
    let peer = net::ip(LINK_LOCAL);
    rig.set_neighbour(WAN, peer, HopState::Reachable(ITS_MAC));
    let src = SocketAddr::new(peer, 700);
    let syn = Packet::tcp(src, net::service_addr(V6, Forward::Nat), flag::SYN);
    assert!(rig.feed(WAN, &syn.bytes()).sent.is_empty());
    assert_eq!(rig.drops(), [(DropReason::Martian, 1)]);
}

#[test]
fn a_priority_tag_names_no_vlan_and_passes_on_an_untagged_port() {
    for vlan in [None, Some(0)] {
        let mut rig = Rig::new();
        let vip = net::service_addr(V4, Forward::Nat);
        let p = Packet { vlan, ..Packet::tcp(net::client(V4, 7, 9), vip, flag::SYN) };
        let seen = rig.feed(WAN, &p.bytes()).seen();
        assert_eq!((seen.vlan, seen.sum), (None, Sum::Right));
    }
    // With a priority in the tag's upper bits, to each method.
    for forward in net::METHODS {
        let mut rig = Rig::new();
        let vip = net::service_addr(V4, forward);
        let tagged =
            Packet { vlan: Some(0xe000), ..Packet::tcp(net::client(V4, 7, 9), vip, flag::SYN) };
        let seen = rig.feed(WAN, &tagged.bytes()).seen();
        assert_eq!((seen.vlan, seen.sum), (None, Sum::Right), "{forward:?}");
    }
    // On a tagged port it is not the port's own.
    let mut rig = Rig::with(|s| s.ports[0].vlan = Some(7));
    let p = Packet::tcp(net::client(V4, 7, 9), net::service_addr(V4, Forward::Nat), flag::SYN);
    assert!(rig.feed(WAN, &Packet { vlan: Some(0), ..p }.bytes()).sent.is_empty());
    assert_eq!(rig.drops(), [(DropReason::WrongVlan, 1)]);
}

#[test]
fn a_directed_broadcast_is_no_client() {
    for proto in net::PROTOS {
        for (n, addr) in ["10.0.0.255", "10.1.0.255"].into_iter().enumerate() {
            let mut rig = Rig::new();
            let src = SocketAddr::new(net::ip(addr), 700);
            let vip = net::service_addr(V4, Forward::Nat);
            let p = match proto {
                Proto::Udp => Packet::udp(src, vip),
                _ => Packet::tcp(src, vip, flag::SYN),
            };
            assert!(rig.feed(WAN, &p.bytes()).sent.is_empty());
            let echo = Packet::icmp(src.ip(), net::vip(V4), [8, 0], [0; 4], b"smurf");
            assert!(rig.feed(WAN, &echo.bytes()).sent.is_empty(), "{n}");
            assert_eq!(rig.drops(), [(DropReason::Martian, 2)]);
        }
    }
}

#[test]
fn nothing_closed_answers_a_directed_broadcast() {
    let mut rig = Rig::new();
    let src = SocketAddr::new(net::ip("10.0.0.255"), 700);
    let closed = SocketAddr::new(net::vip(V4), 9);
    assert!(rig.feed(WAN, &Packet::udp(src, closed).bytes()).sent.is_empty());
    assert_eq!(rig.answers(), 0);
}

#[test]
fn a_frame_waits_for_its_next_hop_for_four_seconds_at_most() {
    for family in net::FAMILIES {
        let mut rig = Rig::new();
        rig.set_neighbour(LAN, net::dest_addr(family, 0), HopState::Incomplete);
        let vip = net::service_addr(family, Forward::Nat);
        let syn = Packet::tcp(net::client(family, 7, 9), vip, flag::SYN);
        assert!(rig.feed(WAN, &syn.bytes()).sent.is_empty());
        rig.now = rig.now + Duration::from_millis(3_999);
        rig.housekeep();
        assert_eq!((rig.stats(0).held.get(), rig.drops()), (1, vec![]));
        rig.now = rig.now + Duration::from_millis(1);
        rig.housekeep();
        assert_eq!(rig.stats(0).held.get(), 0);
        assert_eq!(rig.drops(), [(DropReason::NeighbourDead, 1)]);
    }
}

#[test]
fn a_frame_whose_next_hop_nobody_looks_for_is_asked_for_again_and_ends_too() {
    let mut rig = Rig::new();
    // A client on the link, of whom the neighbour table knows nothing.
    let client = SocketAddr::new(net::ip("10.0.0.50"), 700);
    let closed = SocketAddr::new(net::vip(V4), 9);
    let out = rig.feed(WAN, &Packet::udp(client, closed).bytes());
    assert_eq!(out.asked, [(WAN, client.ip())]);
    rig.now = rig.now + Duration::from_secs(1);
    assert_eq!(rig.housekeep().asked, [(WAN, client.ip())]);
    rig.pass(Duration::from_secs(4));
    assert_eq!(rig.stats(0).held.get(), 0);
    assert_eq!(rig.dropped(DropReason::NeighbourDead), 1);
}

#[test]
fn a_hundred_thousand_conns_whose_time_is_up_end_in_bounded_calls() {
    const CONNS: usize = 100_000;
    let options = Options { conns: CONNS, ..Options::default() };
    let mut rig = Rig::build(options, |_, _| {});
    let vip = net::service_addr(V4, Forward::Dr);
    let (pipeline, outbox, pool) = rig.parts(0);
    let now = pointsman_dataplane::tick::Tick::from_secs(1000);
    let mut sent = 0;
    for chunk in (0..CONNS).collect::<Vec<_>>().chunks(BURST) {
        let mut burst = pointsman_dataplane::frame::Burst::new();
        for n in chunk {
            let client = net::client(V4, (n / 50_000) as u8, 2000 + (n % 50_000) as u16);
            let frame = Packet::tcp(client, vip, flag::SYN).bytes();
            burst.push(pool.frame(&frame).expect("the pool is whole"));
        }
        pipeline.process(WAN, &mut burst, now, pool, outbox);
        sent += outbox.tx()[usize::from(LAN.0)].drain(..).count();
    }
    assert_eq!((sent, pipeline.conns().len()), (CONNS, CONNS));
    pipeline.stats().sent.add(sent as u64);
    // All are over at once; time goes on by a millisecond a call.
    let mut now = now + Duration::from_secs(61);
    let mut calls = 0;
    while !pipeline.conns().is_empty() {
        let before = pipeline.conns().len();
        pipeline.housekeeping(now, pool, outbox);
        let closed = before - pipeline.conns().len();
        assert!(closed <= MAX_CLOSED, "{closed} in one call");
        now = now + Duration::from_millis(1);
        calls += 1;
        assert!(calls <= 2 * CONNS / MAX_CLOSED, "{} left after {calls} calls", before - closed);
    }
    rig.settled(0);
    assert_eq!(rig.stats(0).conns.get(), 0);
}

#[test]
fn a_pool_address_that_is_a_vip_never_leases_a_services_port() {
    // Services on the pool's address, on the first ports it leases, and on later ones.
    let ports = [FIRST_PORT, FIRST_PORT + 1, FIRST_PORT + 5];
    for family in net::FAMILIES {
        let mut rig = Rig::with(|s| {
            let i = net::service_index(family, Proto::Tcp, Forward::FullNat);
            for port in ports {
                let mut other = s.services[i].clone();
                other.id = ServiceId(s.services.len() as u32);
                (other.addr, other.port) = (net::pool_addr(family).into(), port);
                s.services.push(other);
            }
            let pool = Addr::from(net::pool_addr(family));
            s.locals.get_mut(&pool).expect("it is ours").vip = true;
        });
        for n in 0..60 {
            let kind = (family, Proto::Tcp, Forward::FullNat);
            let talk = Talk::open(&mut rig, 0, kind, (n, 9));
            assert!(!ports.contains(&talk.at_dest.src.port()), "{}", talk.at_dest.src);
            // The answer is the conn's, not a service's.
            let out = talk.answer(&mut rig, flag::SYN | flag::ACK);
            assert_eq!(out.seen().dst, talk.client);
        }
        // And the services are served.
        let vip = SocketAddr::new(net::pool_addr(family), FIRST_PORT);
        let syn = Packet::tcp(net::client(family, 99, 9), vip, flag::SYN);
        assert_eq!(rig.feed(WAN, &syn.bytes()).only().port, LAN);
        assert!(rig.drops().is_empty());
    }
}
