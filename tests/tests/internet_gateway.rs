//! The LVS internet gateway: conns of an intranet balanced over several routers, source leased,
//! destination kept.

use pointsman_dataplane::sched::Flags;
use pointsman_dataplane::sched::Hashed;
use pointsman_dataplane::sched::Sched;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::see::Seen;
use pointsman_tests::see::Sum;
use pointsman_tests::snat;
use std::collections::BTreeSet;
use std::time::Duration;

/// Two routers, each conn to the next one, changed by `change`.
fn rig(workers: usize, family: Family, change: impl FnOnce(&mut Snapshot)) -> Rig {
    Rig::build(Options { workers, ..Options::default() }, |s, neighbours| {
        let dests = [0, 1].map(|n| snat::by_router(s, neighbours, family, n)).to_vec();
        snat::add(s, Sched::Rr, dests);
        change(s);
    })
}

/// The router of number `n` in what was sent.
fn by(family: Family, seen: &Seen) -> usize {
    let macs = [0, 1].map(|n| snat::router(family, n).1);
    macs.iter().position(|mac| *mac == seen.eth.0).expect("a router's MAC")
}

fn says(family: Family, proto: Proto, host: u8, port: u16, flags: u8) -> Packet {
    let to = if matches!(proto, Proto::Tcp | Proto::Udp) { 443 } else { 0 };
    let host = net::client(family, host, to);
    snat::packet(proto, snat::server(family, 0, port), host, flags)
}

#[test]
fn conns_are_balanced_over_the_routers_and_each_keeps_its_own() {
    for workers in [1, 4] {
        for family in net::FAMILIES {
            for proto in [Proto::Tcp, Proto::Udp, net::of(family, Proto::Icmp, Proto::Icmpv6)] {
                let mut rig = rig(workers, family, |_| {});
                let mut counts = [0; 2];
                for port in 5000..5032 {
                    let at = usize::from(port) % workers;
                    let first = says(family, proto, 1, port, flag::SYN);
                    let seen = rig.feed_at(at, LAN, &[&first.bytes()]).seen();
                    assert_eq!((seen.src.ip(), seen.dst), (snat::laddr(family), first.dst));
                    let router = by(family, &seen);
                    counts[router] += 1;
                    let outside = match seen.icmp {
                        Some((_, rest)) => u16::from_be_bytes([rest[0], rest[1]]),
                        None => seen.src.port(),
                    };
                    let outside = std::net::SocketAddr::new(seen.src.ip(), outside);
                    for at in 0..workers {
                        let next = says(family, proto, 1, port, flag::ACK);
                        let seen = rig.feed_at(at, LAN, &[&next.bytes()]).seen();
                        assert_eq!((by(family, &seen), seen.sum), (router, Sum::Right));
                        let answer = snat::answer(proto, first.dst, outside, flag::ACK);
                        let seen = rig.feed_at(at, WAN, &[&answer.bytes()]).seen();
                        assert_eq!(seen.dst.ip(), net::dest_addr(family, 0));
                        assert_eq!(seen.eth.0, net::dest_mac(0));
                    }
                }
                assert!(counts.iter().all(|n| (8..=24).contains(n)), "{counts:?}");
                assert!(rig.drops().is_empty(), "{:?}", rig.drops());
            }
        }
    }
}

/// Sites that tie a session to the client's address must not see it change (`sh`, the default).
#[test]
fn by_source_hash_a_client_keeps_its_router_from_conn_to_conn() {
    for family in net::FAMILIES {
        let mut rig = rig(1, family, |s| {
            let service = &mut s.snats[0].service;
            let flags = Flags { port: false, fallback: true };
            service.sched = Sched::Hashed(Hashed::source(&service.dests, flags));
        });
        let routers: BTreeSet<_> = (0..20u8)
            .map(|n| {
                let p = says(family, Proto::Tcp, n, 5000 + u16::from(n), flag::SYN);
                by(family, &rig.feed(LAN, &p.bytes()).seen())
            })
            .collect();
        assert_eq!(routers.len(), 1);
    }
}

#[test]
fn a_router_of_weight_0_gets_no_new_conns_and_keeps_those_it_has() {
    let family = Family::V4;
    let mut rig = rig(1, family, |_| {});
    let syn = |port| says(family, Proto::Tcp, 1, port, flag::SYN).bytes();
    let before: Vec<_> =
        (5000..5008).map(|port| by(family, &rig.feed(LAN, &syn(port)).seen())).collect();
    rig.reload(|s| {
        let service = &mut s.snats[0].service;
        service.dests[0].weight = 0;
        service.version += 1;
    });
    for (n, router) in before.iter().enumerate() {
        let p = says(family, Proto::Tcp, 1, 5000 + n as u16, flag::ACK);
        assert_eq!(by(family, &rig.feed(LAN, &p.bytes()).seen()), *router);
    }
    for port in 6000..6008 {
        assert_eq!(by(family, &rig.feed(LAN, &syn(port)).seen()), 1);
    }
}

#[test]
fn a_router_that_a_reload_took_out_serves_its_conns_to_their_end() {
    let family = Family::V6;
    let mut rig = rig(4, family, |_| {});
    let syn = |port| says(family, Proto::Tcp, 1, port, flag::SYN).bytes();
    let first = rig.feed(LAN, &syn(5000)).seen();
    let router = by(family, &first);
    rig.reload(|s| {
        let service = &mut s.snats[0].service;
        let id = service.dests.remove(router).id;
        service.version += 1;
        s.dests[id.0 as usize].removed = true;
    });
    for at in 0..4 {
        let p = says(family, Proto::Tcp, 1, 5000, flag::ACK);
        let seen = rig.feed_at(at, LAN, &[&p.bytes()]).seen();
        assert_eq!((by(family, &seen), seen.src), (router, first.src));
    }
    for port in 6000..6008 {
        assert_eq!(by(family, &rig.feed(LAN, &syn(port)).seen()), 1 - router);
    }
}

#[test]
fn a_syn_that_goes_unanswered_is_offered_another_router() {
    for family in net::FAMILIES {
        let mut rig = rig(1, family, |_| {});
        let syn = says(family, Proto::Tcp, 1, 5000, flag::SYN).bytes();
        let first = rig.feed(LAN, &syn).seen();
        let second = rig.feed(LAN, &syn).seen();
        assert_ne!(by(family, &first), by(family, &second));
        assert_eq!((second.src.ip(), second.dst), (first.src.ip(), first.dst));
        let answer = Packet::tcp(second.dst, second.src, flag::SYN | flag::ACK);
        assert_eq!(rig.feed(WAN, &answer.bytes()).seen().eth.0, net::dest_mac(0));
        let ack = rig.feed(LAN, &says(family, Proto::Tcp, 1, 5000, flag::ACK).bytes()).seen();
        assert_eq!(by(family, &ack), by(family, &second));
    }
}

/// It is the destination that refuses, and it would by any router.
#[test]
fn a_refusal_reaches_the_client_at_once() {
    for family in net::FAMILIES {
        let mut rig = rig(1, family, |_| {});
        let seen = rig.feed(LAN, &says(family, Proto::Tcp, 1, 5000, flag::SYN).bytes()).seen();
        let reset = Packet::tcp(seen.dst, seen.src, flag::RST | flag::ACK);
        let heard = rig.feed(WAN, &reset.bytes()).seen();
        assert_eq!((heard.eth.0, heard.tcp.unwrap().0), (net::dest_mac(0), 20));
        let seen = rig.feed(LAN, &says(family, Proto::Tcp, 1, 5001, flag::SYN).bytes()).seen();
        let kind = net::of(family, [3, 1], [1, 3]);
        let host = seen.dst.ip();
        let error = Packet::icmp(host, seen.src.ip(), kind, [0; 4], &seen.ip);
        let heard = rig.feed(WAN, &error.bytes()).seen();
        assert_eq!((heard.eth.0, heard.icmp.unwrap().0), (net::dest_mac(0), kind));
        assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    }
}

#[test]
fn without_a_router_that_takes_conns_the_client_is_told() {
    for family in net::FAMILIES {
        let mut rig = rig(1, family, |s| {
            s.snats[0].service.dests.iter_mut().for_each(|d| d.weight = 0);
        });
        let seen = rig.feed(LAN, &says(family, Proto::Udp, 1, 5000, 0).bytes()).seen();
        assert_eq!(seen.icmp.unwrap().0, net::of(family, [3, 0], [1, 0]));
        assert_eq!(rig.drops(), [(DropReason::NoDest, 1)]);
    }
}

#[test]
fn all_routers_share_the_ports_toward_one_destination() {
    let family = Family::V4;
    let mut rig = rig(1, family, |_| {});
    let seen: BTreeSet<_> = (5000..5100)
        .map(|port| rig.feed(LAN, &says(family, Proto::Udp, 1, port, 0).bytes()).seen().src)
        .collect();
    assert_eq!(seen.len(), 100, "the destination sees them as different");
    rig.pass(Duration::from_secs(301));
    assert_eq!((rig.conns().len(), rig.sum(|s| &s.leases)), (0, 0));
}
