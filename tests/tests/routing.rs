//! `route = true`: what is neither for an address of ours nor of a conn is routed between ports.

use pointsman_dataplane::service::Forward;
use pointsman_dataplane::snapshot::Routes;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Family::V6;
use pointsman_dataplane::verdict::DropReason;
use pointsman_dataplane::verdict::Made;
use pointsman_tests::craft::Body;
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

fn router(workers: usize, change: impl FnOnce(&mut Snapshot)) -> Rig {
    Rig::build(Options { workers, ..Options::default() }, |s, _| {
        s.routing = true;
        change(s);
    })
}

/// A server, on a port of its own choice.
fn server(family: Family) -> SocketAddr {
    SocketAddr::new(net::dest_addr(family, 0), 33_000)
}

/// A host beyond the gateway.
fn world(family: Family) -> SocketAddr {
    net::client(family, 99, 443)
}

/// What a server sends into the world.
fn outward(family: Family, body: Body) -> Packet {
    Packet::new(server(family), world(family), body).from_lan(net::dest_mac(0))
}

fn tcp(flags: u8) -> Body {
    Body::Tcp { flags, seq: 1, ack: 1 }
}

fn bodies(family: Family) -> Vec<Body> {
    let echo = net::of(family, 8, 128);
    let icmp = |kind| Body::Icmp { kind: [kind, 0], rest: [0, 7, 0, 1] };
    vec![
        tcp(flag::SYN),
        tcp(flag::ACK),
        tcp(flag::RST),
        Body::Udp { checksum: true },
        icmp(echo),
        icmp(net::of(family, 0, 129)),
        // ESP, GRE, SCTP of no chunk that is known; what a router need not know.
        Body::Raw(50),
        Body::Raw(47),
        Body::Raw(132),
    ]
}

#[test]
fn every_protocol_is_routed_both_ways_by_any_worker() {
    for workers in [1, 4] {
        for family in net::FAMILIES {
            for (n, body) in bodies(family).into_iter().enumerate() {
                let mut rig = router(workers, |_| {});
                let p = outward(family, body.clone()).payload(&[9; 40]);
                let out = rig.feed_at(n % workers, LAN, &[&p.bytes()]);
                assert_eq!((out.only().port, out.seen().eth.0), (WAN, net::GATEWAY_MAC));
                assert_eq!(out.handed, [], "any worker routes");
                let seen = out.seen();
                assert_eq!((seen.src.ip(), seen.dst.ip()), (p.src.ip(), p.dst.ip()));
                assert_eq!((seen.ttl, seen.segment), (59, see::see(&p.bytes()).segment));
                let back = Packet::new(p.dst, p.src, body).payload(&[9; 40]);
                let out = rig.feed_at(n % workers, WAN, &[&back.bytes()]);
                assert_eq!((out.only().port, out.seen().eth.0), (LAN, net::dest_mac(0)));
                assert_eq!(rig.sum(|s| &s.routed), 2);
                assert_eq!((rig.drops(), rig.conns().len()), (vec![], 0));
            }
        }
    }
}

#[test]
fn without_route_nothing_is_routed() {
    for family in net::FAMILIES {
        let mut rig = Rig::new();
        let p = outward(family, tcp(flag::SYN));
        assert!(rig.feed(LAN, &p.bytes()).sent.is_empty());
        assert_eq!(rig.drops(), [(DropReason::NotOurs, 1)]);
        assert_eq!(rig.sum(|s| &s.routed), 0);
    }
}

/// Addresses of ours, services and conns come first.
#[test]
fn what_meets_a_service_or_a_conn_is_not_routed() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            let mut rig = router(1, |_| {});
            let talk = Talk::tcp(&mut rig, family, forward);
            if forward.sees_replies() {
                let seen = talk.answer(&mut rig, flag::SYN | flag::ACK).seen();
                assert_eq!((seen.src, seen.dst), (talk.vip, talk.client));
            }
            assert_eq!(rig.sum(|s| &s.routed), 0, "{forward:?}");
        }
        let mut rig = router(1, |_| {});
        let closed = Packet::tcp(world(family), SocketAddr::new(net::vip(family), 9), flag::SYN);
        assert_eq!(rig.feed(WAN, &closed.bytes()).seen().tcp.map(|t| t.0 & flag::RST), Some(4));
        assert_eq!(rig.drops(), [(DropReason::ClosedPort, 1)]);
    }
}

/// As the kernel does with a real server's packets that no conn knows (`ip_vs_out`).
#[test]
fn a_nat_dests_packet_of_no_conn_is_routed() {
    for workers in [1, 4] {
        for family in net::FAMILIES {
            let mut rig = router(workers, |_| {});
            let service = SocketAddr::new(net::dest_addr(family, 0), 8080);
            let p = Packet::tcp(service, world(family), flag::ACK).from_lan(net::dest_mac(0));
            assert_eq!(rig.feed(LAN, &p.bytes()).only().port, WAN);
            assert_eq!(rig.sum(|s| &s.routed), 1);
        }
    }
}

#[test]
fn while_removed_dests_have_conns_transit_still_goes_straight() {
    let mut rig = router(4, |s| s.dests[0].removed = true);
    let out = rig.feed_at(2, LAN, &[&outward(V4, tcp(flag::ACK)).bytes()]);
    assert_eq!((out.only().worker, out.handed), (2, vec![]));
}

#[test]
fn the_longest_prefix_decides() {
    for family in net::FAMILIES {
        let mut rig = router(1, |s| {
            let mut routes = net::routes();
            let via = net::dest_addr(family, 2);
            let (net, len) = net::of(family, ("192.0.2.96", 27), ("2001:db8:c::63", 128));
            routes.push(net::route_to(net, len, LAN, Some(via)));
            s.routes = Routes::new(routes);
        });
        let p = outward(family, tcp(flag::SYN));
        // It may leave by the port it came by.
        let out = rig.feed(LAN, &p.bytes());
        assert_eq!((out.only().port, out.seen().eth.0), (LAN, net::dest_mac(2)));
        let other = Packet { dst: net::client(family, 3, 443), ..p };
        assert_eq!(rig.feed(LAN, &other.bytes()).only().port, WAN);
    }
}

#[test]
fn a_ttl_that_is_used_up_is_answered_for_every_protocol_but_errors() {
    for family in net::FAMILIES {
        for body in bodies(family) {
            let mut rig = router(1, |_| {});
            let p = outward(family, body.clone()).payload(&[9; 40]).ttl(1);
            let seen = rig.feed(LAN, &p.bytes()).seen();
            assert_eq!(seen.icmp.map(|i| i.0), Some(net::of(family, [11, 0], [3, 0])), "{body:?}");
            assert_eq!((seen.src.ip(), seen.dst.ip()), (net::lan_addr(family), p.src.ip()));
            assert_eq!((seen.sum, &seen.payload), (Sum::Right, &p.ip()));
            assert_eq!(rig.drops(), [(DropReason::TtlExceeded, 1)]);
        }
        let mut rig = router(1, |_| {});
        let unreachable = net::of(family, [3, 3], [1, 4]);
        // About nothing of ours, so it is routed.
        let quoted = Packet::tcp(world(family), server(family), flag::ACK).ip();
        let (src, dst) = (server(family).ip(), world(family).ip());
        let error = Packet::icmp(src, dst, unreachable, [0; 4], &quoted).from_lan(net::dest_mac(0));
        assert_eq!(rig.feed(LAN, &error.bytes()).only().port, WAN);
        assert!(rig.feed(LAN, &error.clone().ttl(1).bytes()).sent.is_empty());
        // Nor about errors of kinds we do not know, nor about what is too short to tell.
        for kind in [net::of(family, [5, 0], [100, 0]), net::of(family, [77, 0], [127, 0])] {
            let odd = Packet::icmp(src, dst, kind, [0; 4], &quoted).from_lan(net::dest_mac(0));
            assert!(rig.feed(LAN, &odd.ttl(1).bytes()).sent.is_empty(), "{kind:?}");
        }
        assert_eq!(rig.drops(), [(DropReason::TtlExceeded, 3)]);
    }
}

#[test]
fn what_is_too_big_is_answered_or_cut() {
    for family in net::FAMILIES {
        let mut rig = router(1, |s| net::set_mtu(s, WAN, 1400));
        let big = outward(family, Body::Udp { checksum: true }).payload(&[7; 1400]);
        let seen = rig.feed(LAN, &big.bytes()).seen();
        let kind = net::of(family, [3, 4], [2, 0]);
        assert_eq!(seen.icmp, Some((kind, [0, 0, 5, 0x78])));
        assert_eq!(rig.drops(), [(DropReason::TooBig, 1)]);
    }
    let mut rig = router(1, |s| net::set_mtu(s, WAN, 1400));
    let big = outward(V4, Body::Udp { checksum: true }).payload(&[7; 1400]).may_fragment();
    let out = rig.feed(LAN, &big.bytes());
    assert_eq!((out.sent.len(), rig.made(Made::Fragment)), (2, 1));
    assert_eq!(see::sums(&out.frames()).unwrap(), [Sum::Right]);
}

/// Fragments of any protocol, first or not, in any order, without being gathered.
#[test]
fn fragments_are_routed_as_they_come() {
    for workers in [1, 4] {
        for family in net::FAMILIES {
            let from =
                SocketAddr::new(net::of(family, "10.1.0.77", "2001:db8:1::77").parse().unwrap(), 9);
            for number in [17, 50, net::of(family, 1, 58)] {
                let mut rig = router(workers, |_| {});
                let whole =
                    Packet::new(from, world(family), Body::Raw(number)).payload(&[128; 600]);
                let mut pieces = whole.from_lan(net::dest_mac(0)).cut(77, &[160, 400]);
                pieces.reverse();
                for piece in &pieces {
                    let out = rig.feed_at(workers - 1, LAN, &[&piece.bytes()]);
                    assert_eq!((out.only().port, out.handed), (WAN, vec![]));
                }
                assert_eq!((rig.sum(|s| &s.routed), rig.drops()), (3, vec![]));
            }
        }
    }
}

/// A nat dest's fragments may be of a conn, which only the first one tells.
#[test]
fn fragments_of_a_nat_dest_that_are_of_no_conn_are_routed() {
    for workers in [1, 4] {
        for family in net::FAMILIES {
            let mut rig = router(workers, |_| {});
            let p = outward(family, Body::Udp { checksum: true }).payload(&[128; 600]);
            let mut pieces = p.cut(77, &[160, 400]);
            pieces.swap(0, 1);
            let sent: usize =
                pieces.iter().map(|p| rig.feed_at(0, LAN, &[&p.bytes()]).sent.len()).sum();
            assert_eq!((sent, rig.drops()), (3, vec![]));
        }
    }
}

/// RFC 1812 section 4.3.2.7.
#[test]
fn no_error_is_sent_about_a_later_fragment() {
    let mut rig = router(1, |_| {});
    let from = SocketAddr::new(net::ip("10.1.0.77"), 9);
    let p = Packet::new(from, world(V4), Body::Udp { checksum: true }).payload(&[128; 600]);
    let pieces = p.from_lan(net::dest_mac(0)).ttl(1).cut(77, &[160]);
    rig.set_neighbour(LAN, from.ip(), pointsman_dataplane::neigh::HopState::Reachable([2; 6]));
    assert!(rig.feed(LAN, &pieces[1].bytes()).sent.is_empty());
    assert_eq!(rig.feed(LAN, &pieces[0].bytes()).seen().icmp.map(|i| i.0), Some([11, 0]));
}

#[test]
fn where_no_route_leads_the_sender_learns_it() {
    for family in net::FAMILIES {
        let mut rig = router(1, |s| {
            s.routes = Routes::new(net::routes().into_iter().filter(|r| r.via.is_none()).collect());
        });
        let seen = rig.feed(LAN, &outward(family, Body::Raw(50)).payload(&[1; 20]).bytes()).seen();
        assert_eq!(seen.icmp.map(|i| i.0), Some(net::of(family, [3, 0], [1, 0])));
        assert_eq!((seen.src.ip(), seen.dst.ip()), (net::lan_addr(family), server(family).ip()));
        assert_eq!(rig.drops(), [(DropReason::NoRoute, 1)]);
    }
}

#[test]
fn errors_are_limited_in_rate() {
    let mut rig = router(1, |_| {});
    let p = outward(V4, Body::Raw(50)).payload(&[1; 20]).ttl(1).bytes();
    let sent: usize = (0..300).map(|_| rig.feed(LAN, &p).sent.len()).sum();
    assert_eq!(sent as u64, pointsman_dataplane::pipeline::ANSWERS_AT_ONCE);
    assert_eq!(rig.sum(|s| &s.limited), 300 - sent as u64);
}

/// Sources and destinations that no router forwards (RFC 1812 section 5.3.7, RFC 2644, RFC 3927
/// section 7, RFC 4291 section 2.5.6).
#[test]
fn what_no_router_forwards_is_dropped_by_name() {
    let to = |dst: &str| {
        let dst = SocketAddr::new(net::ip(dst), 9);
        let family = if dst.is_ipv4() { V4 } else { V6 };
        Packet { dst, ..outward(family, tcp(flag::SYN)) }
    };
    let from = |src: &str| {
        let src = SocketAddr::new(net::ip(src), 9);
        let family = if src.is_ipv4() { V4 } else { V6 };
        Packet { src, ..outward(family, tcp(flag::SYN)) }
    };
    let cases = [
        (to("169.254.1.1"), DropReason::NotOurs),
        (to("fe80::1"), DropReason::NotOurs),
        (to("127.0.0.1"), DropReason::NotOurs),
        (to("0.0.0.1"), DropReason::NotOurs),
        (to("240.0.0.1"), DropReason::NotOurs),
        (to("::1"), DropReason::NotOurs),
        (to("10.0.0.255"), DropReason::Multicast),
        (to("255.255.255.255"), DropReason::Multicast),
        (to("224.0.0.9"), DropReason::Multicast),
        (to("ff0e::1"), DropReason::Multicast),
        (from("169.254.1.1"), DropReason::Martian),
        (from("fe80::1"), DropReason::Martian),
        (from("127.0.0.1"), DropReason::Martian),
        (from("10.1.0.255"), DropReason::Martian),
        // The director's own: port, pool, VIP.
        (from("10.1.0.1"), DropReason::Martian),
        (from("10.1.0.100"), DropReason::Martian),
        (from("203.0.113.10"), DropReason::Martian),
    ];
    for (packet, reason) in cases {
        for body in [tcp(flag::SYN), Body::Raw(50)] {
            let mut rig = router(1, |_| {});
            let packet = Packet { body, ..packet.clone() };
            assert!(rig.feed(LAN, &packet.bytes()).sent.is_empty(), "{packet:?}");
            assert_eq!(rig.drops(), [(reason, 1)], "{packet:?}");
        }
    }
}

/// A frame for another MAC, or for all, is nobody's to forward.
#[test]
fn only_frames_for_our_mac_are_routed() {
    let mut rig = router(1, |_| {});
    for mac in [[2, 0, 0, 0, 9, 9], [0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
        for body in [tcp(flag::SYN), Body::Raw(50)] {
            let mut p = outward(V4, body);
            p.eth.0 = mac;
            assert!(rig.feed(LAN, &p.bytes()).sent.is_empty());
        }
    }
    assert_eq!(
        rig.drops(),
        [(DropReason::WrongMac, 2), (DropReason::Protocol, 2), (DropReason::Multicast, 2),]
    );
}

/// Whoever has sent it: a damaged header is dropped, damage beyond it is the ends' business.
#[test]
fn damage_beyond_the_header_is_carried_on() {
    for family in net::FAMILIES {
        let mut rig = router(1, |_| {});
        let p = outward(family, Body::Icmp { kind: [net::of(family, 8, 128), 0], rest: [0; 4] });
        let mut bytes = p.payload(&[1; 8]).bytes();
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(rig.feed(LAN, &bytes).seen().sum, Sum::Wrong);
        // To an address of ours it is dropped as ever.
        let to_us =
            Packet { dst: SocketAddr::new(net::vip(family), 0), ..outward(family, Body::Raw(50)) };
        assert!(rig.feed(LAN, &to_us.bytes()).sent.is_empty());
        assert_eq!(rig.drops(), [(DropReason::Protocol, 1)]);
    }
    let mut rig = router(1, |_| {});
    let mut bytes = outward(V4, Body::Raw(50)).bytes();
    bytes[24] ^= 1;
    assert!(rig.feed(LAN, &bytes).sent.is_empty());
    assert_eq!(rig.drops(), [(DropReason::IpChecksum, 1)]);
}

/// The answer to a packet that was routed: errors of hops beyond come back the same way.
#[test]
fn an_error_about_a_routed_packet_is_routed() {
    for workers in [1, 4] {
        for family in net::FAMILIES {
            for body in bodies(family) {
                let mut rig =
                    router(workers, |s| s.ports.iter_mut().for_each(|p| p.fixed_queue = true));
                let at =
                    rig.feed(LAN, &outward(family, body.clone()).payload(&[5; 20]).bytes()).seen();
                let hop = net::of(family, net::ip("198.51.100.9"), net::ip("2001:db8:77::1"));
                let kind = net::of(family, [11, 0], [3, 0]);
                let error = Packet::icmp(hop, at.src.ip(), kind, [0; 4], &at.ip);
                let out = rig.feed_at(workers - 1, WAN, &[&error.bytes()]);
                assert_eq!((out.only().port, out.seen().src.ip()), (LAN, hop), "{body:?}");
                assert_eq!(out.seen().payload, at.ip);
            }
        }
    }
}

#[test]
fn a_neighbour_that_is_not_known_yet_is_asked_for() {
    let mut rig = router(1, |_| {});
    let unknown = SocketAddr::new(net::ip("10.1.0.99"), 22);
    let out = rig.feed(WAN, &Packet::tcp(world(V4), unknown, flag::SYN).bytes());
    assert_eq!((out.sent.len(), out.asked), (0, vec![(LAN, unknown.ip())]));
    assert_eq!(rig.sum(|s| &s.held), 1);
    let mac = [2, 0, 0, 0, 7, 7];
    rig.set_neighbour(LAN, unknown.ip(), pointsman_dataplane::neigh::HopState::Reachable(mac));
    assert_eq!(rig.housekeep().seen().eth.0, mac);
}

#[test]
fn options_and_extension_headers_are_no_reason_not_to_route() {
    let mut rig = router(1, |_| {});
    let mut p = outward(V6, tcp(flag::SYN));
    p.extensions = vec![(60, vec![1, 4, 0, 0, 0, 0]); 9];
    assert_eq!(rig.feed(LAN, &p.bytes()).only().port, WAN);
    // A segment router's: left to the end it names (RFC 8200 section 4.4).
    p.extensions = vec![(43, vec![0, 1, 0, 0, 0, 0])];
    assert_eq!(rig.feed(LAN, &p.bytes()).only().port, WAN);
    let mut p = outward(V4, tcp(flag::SYN));
    p.options = vec![7, 7, 4, 0, 0, 0, 0, 1];
    let seen = rig.feed(LAN, &p.bytes()).seen();
    assert_eq!((seen.options, seen.ttl), (p.options, 59));
}

/// Full-NAT's hairpin: a server that is itself a client of the VIP.
#[test]
fn a_server_that_is_a_client_of_the_vip_is_answered_through_the_director() {
    for family in net::FAMILIES {
        let mut rig = Rig::new();
        let client = server(family);
        let vip = net::service_addr(family, Forward::FullNat);
        for n in 0..net::DESTS {
            let client = SocketAddr::new(client.ip(), client.port() + n as u16);
            let syn = Packet::tcp(client, vip, flag::SYN).from_lan(net::dest_mac(0));
            let out = rig.feed(LAN, &syn.bytes());
            let at = out.seen();
            assert_eq!((out.only().port, at.src.ip()), (LAN, net::pool_addr(family)));
            let reply = Packet::tcp(at.dst, at.src, flag::SYN | flag::ACK).from_lan(at.eth.0);
            let out = rig.feed(LAN, &reply.bytes());
            assert_eq!((out.only().port, out.seen().eth.0), (LAN, net::dest_mac(0)));
            assert_eq!((out.seen().src, out.seen().dst), (vip, client));
        }
        // The server itself was one of the dests.
        assert_eq!(rig.conns().iter().filter(|c| c.2.daddr == client.ip().into()).count(), 1);
    }
}
