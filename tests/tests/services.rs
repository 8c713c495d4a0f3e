//! What services take: addresses, ranges of them, every port, marks; and in which order they are
//! asked.

use pointsman_dataplane::matching::Mark;
use pointsman_dataplane::matching::Matching;
use pointsman_dataplane::matching::Protocols;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::Scope;
use pointsman_dataplane::service::Service;
use pointsman_dataplane::snapshot::Local;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Prefix;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_dataplane::verdict::Made;
use pointsman_tests::craft::Body;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::net::add_like;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use std::net::IpAddr;
use std::net::SocketAddr;

/// Address `n` above the VIP.
fn above(family: Family, n: u128) -> Addr {
    let vip = Addr::from(net::vip(family));
    match family {
        Family::V4 => Addr::v4(vip.v4_bits() + n as u32),
        Family::V6 => Addr::v6(vip.bits() + n),
    }
}

/// Makes addresses ours.
fn own(s: &mut Snapshot, family: Family, n: std::ops::RangeInclusive<u128>) {
    for n in n {
        let vip = Local { vip: true, ports: 3, ..Local::default() };
        s.locals.insert(above(family, n), vip);
    }
}

fn packet(proto: Proto, client: SocketAddr, to: (Addr, u16)) -> Packet {
    let to = SocketAddr::new(IpAddr::from(to.0), to.1);
    match proto {
        Proto::Tcp => Packet::tcp(client, to, flag::SYN),
        _ => Packet::udp(client, to),
    }
}

/// Feeds what opens a conn to a worker; the place of the service that took it.
fn taken(rig: &mut Rig, at: usize, p: &Packet) -> Option<usize> {
    rig.feed_at(at, WAN, &[&p.bytes()]);
    let ends = |e: &pointsman_dataplane::conn::Ends| {
        (SocketAddr::new(e.caddr.into(), e.cport), SocketAddr::new(e.vaddr.into(), e.vport))
    };
    let proto = if matches!(p.body, Body::Tcp { .. }) { Proto::Tcp } else { Proto::Udp };
    let is_it = |e: &pointsman_dataplane::conn::Ends| ends(e) == (p.src, p.dst) && e.proto == proto;
    let found = rig.conns().into_iter().find(|(_, _, e)| is_it(e));
    let dest = found?.1.dest();
    let services = &rig.parts(0).0.snapshot().services;
    services.iter().position(|s| s.dests.iter().any(|c| c.id == dest))
}

fn mark(family: Family, mark: u32) -> Mark {
    let matching = Matching {
        sources: Vec::new(),
        destinations: vec![Prefix::new(above(family, 0), 128)],
        ports: Vec::new(),
        protocols: Protocols { tcp: true, udp: true, sctp: false, icmp: false },
    };
    Mark { matching, mark }
}

fn is_mark(mark: u32) -> impl Fn(&mut Service) {
    move |s| s.scope = Scope::Mark(mark)
}

fn options(workers: usize) -> Options {
    Options { workers, ..Options::default() }
}

/// Every family, protocol and method, one worker and several.
fn each(mut run: impl FnMut(usize, Family, Proto, Forward)) {
    for workers in [1, 3] {
        for family in net::FAMILIES {
            for proto in net::PROTOS {
                for forward in net::METHODS {
                    run(workers, family, proto, forward);
                }
            }
        }
    }
}

#[test]
fn a_service_takes_a_range_of_addresses() {
    each(|workers, family, proto, forward| {
        let at = net::service_index(family, proto, forward);
        let port = net::service_port(forward);
        let mut rig = Rig::build(options(workers), |s, _| {
            own(s, family, 2..=9);
            s.services[at].addr = above(family, 2);
            s.services[at].scope = Scope::Range(above(family, 8));
        });
        for n in 2..=8 {
            let client = net::client(family, 1, 1000 + n);
            let p = packet(proto, client, (above(family, u128::from(n)), port));
            assert_eq!(taken(&mut rig, usize::from(n) % workers, &p), Some(at));
        }
        // Neither the next address is its own nor the one that it had.
        for n in [0, 9] {
            let p = packet(proto, net::client(family, 1, 999), (above(family, n), port));
            assert_eq!(taken(&mut rig, 0, &p), None);
        }
        assert_eq!(rig.drops(), [(DropReason::ClosedPort, 2)]);
    });
}

#[test]
fn replies_of_a_range_come_from_the_address_that_was_asked() {
    for family in net::FAMILIES {
        for forward in [Forward::Nat, Forward::FullNat] {
            let at = net::service_index(family, Proto::Udp, forward);
            let mut rig = Rig::build(options(3), |s, _| {
                own(s, family, 2..=9);
                s.services[at].addr = above(family, 2);
                s.services[at].scope = Scope::Range(above(family, 9));
            });
            let vip = (above(family, 7), net::service_port(forward));
            let p = packet(Proto::Udp, net::client(family, 1, 1000), vip);
            let seen = rig.feed_at(1, WAN, &[&p.bytes()]).seen();
            let reply = Packet::udp(seen.dst, seen.src).from_lan(seen.eth.0);
            let back = rig.feed_at(2, LAN, &[&reply.bytes()]).seen();
            assert_eq!((back.src, back.dst), (p.dst, p.src));
        }
    }
}

#[test]
fn an_address_of_its_own_comes_before_the_range_it_lies_in() {
    for family in net::FAMILIES {
        let at = net::service_index(family, Proto::Tcp, Forward::Nat);
        for own_first in [false, true] {
            let mut rig = Rig::with(|s| {
                own(s, family, 2..=9);
                let range = |service: &mut Service| {
                    service.addr = above(family, 2);
                    service.scope = Scope::Range(above(family, 9));
                };
                let single = |service: &mut Service| service.addr = above(family, 5);
                let last = add_like(s, at, |_| {});
                let (a, b) = if own_first { (at, last) } else { (last, at) };
                single(&mut s.services[a]);
                range(&mut s.services[b]);
            });
            let last = rig.parts(0).0.snapshot().services.len() - 1;
            let (single, range) = if own_first { (at, last) } else { (last, at) };
            for (n, service) in [(4, range), (5, single), (6, range)] {
                let to = (above(family, n), 80);
                let p = packet(Proto::Tcp, net::client(family, 1, 1000), to);
                assert_eq!(taken(&mut rig, 0, &p), Some(service), "address {n}");
            }
        }
    }
}

/// `ip_vs_service_find`: a mark, then address and port, then the address and every port.
#[test]
fn services_are_asked_in_the_kernels_order() {
    for workers in [1, 3] {
        for family in net::FAMILIES {
            let exact = net::service_index(family, Proto::Tcp, Forward::FullNat);
            let (mut every, mut marked) = (0, 0);
            let mut rig = Rig::build(options(workers), |s, _| {
                every = add_like(s, exact, |s| s.port = 0);
                marked = add_like(s, exact, is_mark(7));
                let mut rule = mark(family, 7);
                rule.matching.sources =
                    vec![Prefix::new(net::client(family, 5, 0).ip().into(), 128)];
                s.marks.push(rule);
            });
            let mut ask = |n, port| {
                let client = net::client(family, n, 1000 + port % 1000);
                let p = packet(Proto::Tcp, client, (above(family, 0), port));
                taken(&mut rig, usize::from(port) % workers, &p)
            };
            for (n, port, service) in [
                (5, 81, marked),
                (5, 7777, marked),
                (1, 81, exact),
                (1, 7777, every),
                (1, 65_535, every),
            ] {
                assert_eq!(ask(n, port), Some(service), "client {n}, port {port}");
            }
            assert!(rig.drops().is_empty());
        }
    }
}

#[test]
fn every_port_is_of_one_protocol_and_keeps_its_number() {
    each(|workers, family, proto, forward| {
        let at = net::service_index(family, proto, forward);
        let mut rig = Rig::build(options(workers), |s, _| {
            s.services.retain(|s| s.id.0 as usize == at);
            s.services[0].port = 0;
            for dest in &mut s.dests {
                dest.port = 0;
            }
        });
        for (i, port) in [1u16, 80, 5555, 65_535].into_iter().enumerate() {
            let p = packet(proto, net::client(family, 1, 1000), (above(family, 0), port));
            let seen = rig.feed_at(i % workers, WAN, &[&p.bytes()]).seen();
            if forward == Forward::Tunnel {
                continue;
            }
            assert_eq!(seen.dst.port(), port);
            if forward.sees_replies() {
                // Whatever worker it comes to: dests of every port are known by their address.
                let reply = Packet::udp(seen.dst, seen.src);
                let reply = match proto {
                    Proto::Tcp => Packet::tcp(seen.dst, seen.src, flag::SYN | flag::ACK),
                    _ => reply,
                };
                let reply = reply.from_lan(seen.eth.0);
                let back = rig.feed_at((i + 1) % workers, LAN, &[&reply.bytes()]).seen();
                assert_eq!((back.src, back.dst), (p.dst, p.src));
            }
        }
        let other = if proto == Proto::Tcp { Proto::Udp } else { Proto::Tcp };
        let p = packet(other, net::client(family, 1, 1000), (above(family, 0), 80));
        assert_eq!(taken(&mut rig, 0, &p), None);
        assert_eq!(rig.drops(), [(DropReason::ClosedPort, 1)]);
    });
}

#[test]
fn a_match_goes_by_source_destination_ports_and_protocol() {
    for workers in [1, 2] {
        for family in net::FAMILIES {
            let model = net::service_index(family, Proto::Tcp, Forward::Nat);
            let mut marked = 0;
            let mut rig = Rig::build(options(workers), |s, _| {
                own(s, family, 20..=21);
                marked = add_like(s, model, is_mark(1));
                let mut rule = mark(family, 1);
                let len = net::of(family, 24, 64);
                rule.matching.sources =
                    vec![Prefix::new(net::client(family, 0, 0).ip().into(), len)];
                rule.matching.destinations = vec![Prefix::new(above(family, 20), 128)];
                rule.matching.ports = vec![443..=443, 8000..=8080];
                rule.matching.protocols.udp = false;
                s.marks.push(rule);
            });
            let stranger =
                SocketAddr::new(net::ip(net::of(family, "198.51.100.1", "2001:db8:9::1")), 9);
            let client = net::client(family, 3, 1000);
            for (proto, from, n, port, takes) in [
                (Proto::Tcp, client, 20, 443, true),
                (Proto::Tcp, client, 20, 8000, true),
                (Proto::Tcp, client, 20, 8080, true),
                (Proto::Tcp, client, 20, 8081, false),
                (Proto::Udp, client, 20, 443, false),
                (Proto::Tcp, client, 21, 443, false),
                (Proto::Tcp, stranger, 20, 443, false),
            ] {
                let p = packet(proto, from, (above(family, n), port));
                let expected = takes.then_some(marked);
                assert_eq!(taken(&mut rig, usize::from(port) % workers, &p), expected, "{port}");
            }
        }
    }
}

#[test]
fn the_first_match_marks_and_a_mark_without_a_service_says_nothing() {
    for family in net::FAMILIES {
        let exact = net::service_index(family, Proto::Tcp, Forward::Nat);
        let (mut first, mut other) = (0, 0);
        let mut rig = Rig::with(|s| {
            // The other family's service of that mark is none of this one's.
            let other_family = if family == Family::V4 { Family::V6 } else { Family::V4 };
            let model = net::service_index(other_family, Proto::Tcp, Forward::Nat);
            other = add_like(s, model, is_mark(3));
            first = add_like(s, exact, is_mark(1));
            let _second = add_like(s, exact, is_mark(2));
            for (n, port) in [(1, 443), (2, 443), (3, 80), (2, 80)] {
                let mut rule = mark(family, n);
                rule.matching.ports = vec![port..=port];
                s.marks.push(rule);
            }
        });
        let mut ask = |port| {
            let p = packet(Proto::Tcp, net::client(family, 1, 1000), (above(family, 0), port));
            taken(&mut rig, 0, &p)
        };
        assert_eq!(ask(443), Some(first));
        assert_eq!(ask(80), Some(exact), "as if it had none: not {other}");
    }
}

#[test]
fn a_mark_takes_tcp_and_udp_and_its_dests_ports_hold() {
    for workers in [1, 3] {
        for family in net::FAMILIES {
            for forward in [Forward::Nat, Forward::FullNat] {
                let model = net::service_index(family, Proto::Tcp, forward);
                let mut marked = 0;
                let mut rig = Rig::build(options(workers), |s, _| {
                    marked = add_like(s, model, is_mark(1));
                    s.marks.push(mark(family, 1));
                });
                for (i, proto) in net::PROTOS.into_iter().enumerate() {
                    let p = packet(proto, net::client(family, 1, 1000), (above(family, 0), 5555));
                    let seen = rig.feed_at(i % workers, WAN, &[&p.bytes()]).seen();
                    assert_eq!(seen.dst.port(), net::dest_port(forward));
                }
                let dests = rig.parts(0).0.snapshot().services[marked].dests.clone();
                let conns: u64 = dests.iter().map(|c| rig.dest(c.id, |s| &s.conns)).sum();
                assert_eq!(conns, 2);
            }
        }
    }
}

/// No dest is removed thereby, and whose conn it is follows from another service now.
#[test]
fn a_conn_goes_on_whose_tuple_another_service_takes_now() {
    for family in net::FAMILIES {
        for (before, after) in [(Forward::Nat, Forward::Dr), (Forward::FullNat, Forward::Nat)] {
            let mut rig = Rig::build(options(3), |s, _| {
                for (n, forward) in [(1, before), (2, after)] {
                    add_like(s, net::service_index(family, Proto::Tcp, forward), is_mark(n));
                }
                s.marks.push(mark(family, 1));
            });
            let to = (above(family, 0), 5555);
            let clients: Vec<_> = (0..24).map(|n| net::client(family, n, 1000)).collect();
            for (n, client) in clients.iter().enumerate() {
                let p = packet(Proto::Tcp, *client, to).bytes();
                assert_eq!(rig.feed_at(n % 3, WAN, &[&p]).sent.len(), 1);
            }
            rig.reload(|s| s.marks[0].mark = 2);
            for (n, client) in clients.iter().enumerate() {
                let ack = Packet::tcp(*client, packet(Proto::Tcp, *client, to).dst, flag::ACK);
                let out = rig.feed_at(n % 3, WAN, &[&ack.bytes()]);
                assert_eq!(out.only().port, LAN, "{before:?} {after:?} {:?}", rig.drops());
            }
            assert_eq!(rig.conns().iter().filter(|(_, c, _)| c.elsewhere().is_none()).count(), 24);
        }
    }
}

#[test]
fn marks_are_for_vips_only() {
    for family in net::FAMILIES {
        let model = net::service_index(family, Proto::Tcp, Forward::Nat);
        let mut rig = Rig::with(|s| {
            add_like(s, model, is_mark(1));
            let mut rule = mark(family, 1);
            rule.matching.destinations = Vec::new();
            s.marks.push(rule);
        });
        for to in [net::pool_addr(family), net::wan_addr(family)] {
            let p = packet(Proto::Tcp, net::client(family, 1, 1000), (to.into(), 5555));
            assert_eq!(taken(&mut rig, 0, &p), None);
        }
        assert_eq!(rig.drops(), [(DropReason::ClosedPort, 2)]);
        assert_eq!(rig.made(Made::Reset), 2);
    }
}

#[test]
fn ten_thousand_services_are_one_look_each() {
    let model = net::service_index(Family::V4, Proto::Tcp, Forward::Dr);
    let mut rig = Rig::with(|s| {
        for n in 0..10_000u32 {
            let mut service = s.services[model].clone();
            service.addr = Addr::v4(0xc633_0000 + n);
            s.locals.insert(service.addr, Local { vip: true, ports: 3, ..Local::default() });
            s.services.push(service);
        }
    });
    let snapshot = std::sync::Arc::clone(rig.parts(0).0.snapshot());
    let first = snapshot.services.len() - 10_000;
    for n in [0u32, 1, 5000, 9999] {
        let to = SocketAddr::new(IpAddr::from(Addr::v4(0xc633_0000 + n)), 82);
        let p = Packet::tcp(net::client(Family::V4, 1, 1000), to, flag::SYN);
        let (src, dst) = (Addr::from(p.src.ip()), Addr::from(p.dst.ip()));
        let tuple = pointsman_dataplane::tuple::Tuple {
            src,
            dst,
            sport: 1000,
            dport: 82,
            proto: Proto::Tcp,
        };
        assert_eq!(snapshot.service_index(&tuple), Some(first + n as usize));
        assert_eq!(rig.feed(WAN, &p.bytes()).sent.len(), 1);
    }
}
