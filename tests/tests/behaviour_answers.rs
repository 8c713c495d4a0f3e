//! What is said to packets that go nowhere, and when nothing is said.

use pointsman_dataplane::pipeline::ANSWERS_AT_ONCE;
use pointsman_dataplane::pipeline::ANSWERS_PER_SECOND;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::verdict::DropReason;
use pointsman_tests::craft::Body;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Rig;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

fn unreachable(addr: IpAddr) -> Option<[u8; 2]> {
    Some(if addr.is_ipv4() { [3, 3] } else { [1, 4] })
}

fn ping(from: IpAddr, to: IpAddr) -> Packet {
    let kind = [if to.is_ipv4() { 8 } else { 128 }, 0];
    Packet::icmp(from, to, kind, [1, 2, 3, 4], b"ping")
}

#[test]
fn every_address_of_ours_answers_as_a_host() {
    for family in net::FAMILIES {
        let mut rig = Rig::new();
        let client = net::client(family, 3, 5000);
        for addr in [net::vip(family), net::pool_addr(family), net::wan_addr(family)] {
            let closed = SocketAddr::new(addr, 9);
            let seen = rig.feed(WAN, &Packet::tcp(client, closed, flag::SYN).bytes()).seen();
            assert_eq!((seen.src, seen.dst), (closed, client));
            assert_eq!(seen.tcp, Some((flag::RST | flag::ACK, 0, 1001)));
            let seen = rig.feed(WAN, &Packet::udp(client, closed).bytes()).seen();
            assert_eq!((seen.src.ip(), seen.dst.ip()), (addr, client.ip()));
            assert_eq!(seen.icmp.map(|i| i.0), unreachable(addr));
            let seen = rig.feed(WAN, &ping(client.ip(), addr).bytes()).seen();
            assert_eq!((seen.src.ip(), &seen.payload[..]), (addr, &b"ping"[..]));
        }
    }
}

#[test]
fn closed_drop_says_nothing_at_all() {
    for family in net::FAMILIES {
        let mut rig = Rig::with(|s| {
            // A service on the silent VIP, whose dests are all quiesced.
            let i =
                net::service_index(family, pointsman_dataplane::tuple::Proto::Tcp, Forward::Nat);
            let mut service = s.services[i].clone();
            service.addr = net::silent_vip(family).into();
            service.id = pointsman_dataplane::service::ServiceId(s.services.len() as u32);
            service.dests.iter_mut().for_each(|d| d.weight = 0);
            s.services.push(service);
        });
        let client = net::client(family, 3, 5000);
        let at = |port| SocketAddr::new(net::silent_vip(family), port);
        for packet in [
            Packet::tcp(client, at(9), flag::SYN),
            Packet::tcp(client, at(9), flag::ACK),
            Packet::udp(client, at(9)),
            ping(client.ip(), at(0).ip()),
            Packet::tcp(client, at(80), flag::ACK),
            Packet::tcp(client, at(80), flag::SYN),
        ] {
            let out = rig.feed(WAN, &packet.bytes());
            assert!(out.sent.is_empty(), "to {:?}: {:?}", packet.body, out.seen());
        }
        let names: Vec<_> = rig.drops();
        let expected =
            [(DropReason::ClosedPort, 4), (DropReason::NotSyn, 1), (DropReason::NoDest, 1)];
        assert_eq!(names, expected);
    }
}

#[test]
fn a_service_without_usable_dest_answers_port_unreachable() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            let mut rig = Rig::with(|s| {
                let dests = s.services.iter_mut().flat_map(|s| &mut s.dests);
                dests.for_each(|d| d.weight = 0);
            });
            let (client, vip) = (net::client(family, 3, 5000), net::service_addr(family, forward));
            for packet in [Packet::tcp(client, vip, flag::SYN), Packet::udp(client, vip)] {
                let seen = rig.feed(WAN, &packet.bytes()).seen();
                assert_eq!(seen.icmp.map(|i| i.0), unreachable(vip.ip()));
                assert_eq!((seen.src.ip(), seen.dst.ip()), (vip.ip(), client.ip()));
                assert_eq!(seen.payload, packet.ip());
            }
        }
    }
}

#[test]
fn answers_are_limited_per_second_and_at_once() {
    let mut rig = Rig::new();
    let closed = SocketAddr::new(net::vip(V4), 9);
    let frame = Packet::udp(net::client(V4, 3, 5000), closed).bytes();
    let syn = Packet::tcp(net::client(V4, 3, 5000), closed, flag::SYN).bytes();
    let echo = ping(net::client(V4, 3, 0).ip(), net::vip(V4)).bytes();
    let flood = |rig: &mut Rig, n: u64| -> u64 {
        (0..n)
            .map(|i| rig.feed(WAN, [&frame, &syn, &echo][(i % 3) as usize]).sent.len() as u64)
            .sum()
    };
    assert_eq!(flood(&mut rig, ANSWERS_AT_ONCE + 50), ANSWERS_AT_ONCE);
    assert_eq!(rig.sum(|s| &s.limited), 50);
    let mut answered = 0;
    for _ in 0..100 {
        rig.now = rig.now + Duration::from_millis(10);
        answered += flood(&mut rig, 15);
    }
    assert_eq!(answered, ANSWERS_PER_SECOND);
}

/// RFC 1122 section 3.2.2, RFC 4443 section 2.4 e.
#[test]
fn nothing_is_said_to_senders_that_are_no_host() {
    let mut rig = Rig::new();
    let to = |packet: Packet| packet.bytes();
    let closed = SocketAddr::new(net::vip(V4), 9);
    for src in ["10.0.0.255", "10.1.0.255", "255.255.255.255", "224.0.0.1", "127.0.0.1", "0.0.0.0"]
    {
        let src = SocketAddr::new(net::ip(src), 5);
        assert!(rig.feed(WAN, &to(Packet::udp(src, closed))).sent.is_empty());
        assert!(rig.feed(WAN, &to(Packet::tcp(src, closed, flag::SYN))).sent.is_empty());
        assert!(rig.feed(WAN, &to(ping(src.ip(), closed.ip()))).sent.is_empty());
    }
    // Nor to ourselves: the answer would come back.
    for src in [net::vip(V4), net::pool_addr(V4), net::wan_addr(V4)] {
        let src = SocketAddr::new(src, 80);
        assert!(rig.feed(WAN, &to(Packet::udp(src, closed))).sent.is_empty());
        assert!(rig.feed(WAN, &to(ping(src.ip(), closed.ip()))).sent.is_empty());
    }
}

#[test]
fn nothing_is_said_about_fragments_groups_or_icmp_errors() {
    let mut rig = Rig::new();
    let client = net::client(V4, 3, 5000);
    let closed = SocketAddr::new(net::vip(V4), 9);
    let mut group = Packet::udp(client, closed);
    group.eth.0 = [0xff; 6];
    let mut later = Packet::udp(client, closed);
    later.fragment = 0x00b9;
    let about = Packet::udp(closed, client).ip();
    let error = Packet::icmp(client.ip(), closed.ip(), [3, 3], [0; 4], &about);
    let expiring = Packet::icmp(client.ip(), closed.ip(), [3, 3], [0; 4], &about).ttl(1);
    let mut odd = Packet::new(client, closed, Body::Raw(132));
    odd.payload = vec![0; 20];
    for p in [group, later, error, expiring, odd] {
        assert!(rig.feed(WAN, &p.bytes()).sent.is_empty(), "{p:?}");
    }
}

#[test]
fn answers_leave_by_the_route_to_the_sender() {
    let mut rig = Rig::new();
    let dest = SocketAddr::new(net::dest_addr(V4, 1), 5000);
    let closed = SocketAddr::new(net::vip(V4), 9);
    // Asked by the wrong port: answered toward where the sender lives.
    let out = rig.feed(WAN, &Packet::tcp(dest, closed, flag::SYN).bytes());
    assert_eq!(out.only().port, LAN);
    assert_eq!(out.seen().eth.0, net::dest_mac(1));
}
