//! Full-NAT without a port left: named, counted, answered if the service says so; and what of each
//! local address is in use.

use pointsman_dataplane::frame::BURST;
use pointsman_dataplane::laddr::Held;
use pointsman_dataplane::pipeline::ANSWERS_AT_ONCE;
use pointsman_dataplane::service::Closed;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::stats::Counter;
use pointsman_dataplane::stats::ServiceStats;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_dataplane::verdict::Made;
use pointsman_tests::craft::Body;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::talk::Talk;
use std::net::SocketAddr;
use std::time::Duration;

/// No port of any pool, and what clients are told of that.
fn without_ports(workers: usize, exhausted: Closed) -> Rig {
    Rig::build(Options { workers, ..Options::default() }, |s, _| {
        s.pools[0].v4.clear();
        s.pools[0].v6.clear();
        s.dests.iter_mut().for_each(|d| d.traits.exhausted = exhausted);
    })
}

fn opening(family: Family, proto: Proto, client: SocketAddr) -> Packet {
    let vip = net::service_addr(family, Forward::FullNat);
    match proto {
        Proto::Udp => Packet::udp(client, vip),
        _ => Packet::tcp(client, vip, flag::SYN),
    }
}

fn counted(rig: &Rig, at: usize, counter: impl Fn(&ServiceStats) -> &Counter) -> u64 {
    rig.shared.services.sum(at, counter)
}

#[test]
fn exhaustion_is_a_named_drop_and_a_counter_per_service() {
    for workers in [1, 4] {
        let mut rig = without_ports(workers, Closed::Drop);
        for family in net::FAMILIES {
            for (n, proto) in net::PROTOS.into_iter().enumerate() {
                for port in 0..=n as u16 {
                    let client = net::client(family, 5, 4000 + port);
                    let out = rig.feed(WAN, &opening(family, proto, client).bytes());
                    assert!(out.sent.is_empty(), "a client that hears nothing tries again");
                }
                let service = net::service_index(family, proto, Forward::FullNat);
                assert_eq!(counted(&rig, service, |s| &s.no_lease), n as u64 + 1);
                assert_eq!(counted(&rig, service, |s| &s.table_full), 0);
            }
        }
        assert_eq!(rig.drops(), [(DropReason::NoLease, 6)]);
        assert!(rig.conns().is_empty());
    }
}

#[test]
fn exhaustion_is_answered_by_rst_or_icmp_when_the_service_says_so() {
    for workers in [1, 4] {
        let mut rig = without_ports(workers, Closed::Reject);
        for family in net::FAMILIES {
            let client = net::client(family, 5, 4000);
            let vip = net::service_addr(family, Forward::FullNat);
            let seen = rig.feed(WAN, &opening(family, Proto::Tcp, client).bytes()).seen();
            assert_eq!((seen.src, seen.dst), (vip, client));
            let (flags, ..) = seen.tcp.expect("a TCP segment");
            assert_eq!(flags, flag::RST | flag::ACK);
            let seen = rig.feed(WAN, &opening(family, Proto::Udp, client).bytes()).seen();
            assert_eq!((seen.src.ip(), seen.dst.ip()), (vip.ip(), client.ip()));
            assert_eq!(seen.icmp.map(|i| i.0), Some(net::of(family, [3, 3], [1, 4])));
        }
        assert_eq!(rig.drops(), [(DropReason::NoLease, 4)]);
        assert_eq!((rig.made(Made::Reset), rig.made(Made::Unreachable)), (2, 2));
    }
}

#[test]
fn answers_about_exhaustion_are_rate_limited() {
    let mut rig = without_ports(1, Closed::Reject);
    let all = ANSWERS_AT_ONCE as u16 + 50;
    let syns: Vec<_> =
        (0..all).map(|n| opening(V4, Proto::Tcp, net::client(V4, 5, 4000 + n)).bytes()).collect();
    let mut sent = 0;
    for burst in syns.chunks(BURST) {
        let burst: Vec<_> = burst.iter().map(Vec::as_slice).collect();
        sent += rig.feed_at(0, WAN, &burst).sent.len();
    }
    assert_eq!(sent as u64, ANSWERS_AT_ONCE);
    assert_eq!(rig.sum(|s| &s.limited), 50);
    assert_eq!(rig.drops(), [(DropReason::NoLease, u64::from(all))]);
}

#[test]
fn a_full_table_and_a_clash_are_counted_and_answered_alike() {
    let mut rig = Rig::build(Options { conns: 1, ..Options::default() }, |s, _| {
        s.dests.iter_mut().for_each(|d| d.traits.exhausted = Closed::Reject);
    });
    Talk::tcp(&mut rig, V4, Forward::FullNat);
    let syn = opening(V4, Proto::Tcp, net::client(V4, 5, 4000));
    let seen = rig.feed(WAN, &syn.bytes()).seen();
    assert_eq!(seen.tcp.map(|t| t.0), Some(flag::RST | flag::ACK));
    let service = net::service_index(V4, Proto::Tcp, Forward::FullNat);
    assert_eq!(counted(&rig, service, |s| &s.table_full), 1);
    assert_eq!(rig.drops(), [(DropReason::TableFull, 1)]);

    // Under nat, one dest of two services of one port: a client port can have one of them.
    let a = net::service_index(V4, Proto::Tcp, Forward::Nat);
    let mut rig = Rig::with(|s| {
        s.dests.iter_mut().for_each(|d| d.traits.exhausted = Closed::Reject);
        s.services[a].dests.truncate(1);
        let mut b = s.services[a].clone();
        b.id = pointsman_dataplane::service::ServiceId(s.services.len() as u32);
        b.port = 1080;
        s.services.push(b);
    });
    Talk::tcp(&mut rig, V4, Forward::Nat);
    let (client, other) = (net::client(V4, 7, 40_000), SocketAddr::new(net::vip(V4), 1080));
    let seen = rig.feed(WAN, &Packet::tcp(client, other, flag::SYN).bytes()).seen();
    assert_eq!((seen.src, seen.dst), (other, client));
    assert_eq!(rig.drops(), [(DropReason::ReplyClash, 1)]);
    let b = net::METHODS.len() * net::PROTOS.len() * net::FAMILIES.len();
    assert_eq!(counted(&rig, b, |s| &s.reply_clash), 1);
}

#[test]
fn a_signed_syn_is_no_exhaustion() {
    let mut rig = without_ports(1, Closed::Reject);
    let client = net::client(V4, 5, 4000);
    let mut options = vec![19, 18];
    options.resize(18, 0xaa);
    options.extend([1, 1]);
    let mut frame = opening(V4, Proto::Tcp, client).payload(&options).bytes();
    frame[34 + 12] = 0xa0;
    assert!(rig.feed(WAN, &frame).sent.is_empty());
    assert_eq!(rig.drops(), [(DropReason::Signed, 1)]);
    let service = net::service_index(V4, Proto::Tcp, Forward::FullNat);
    assert_eq!(counted(&rig, service, |s| &s.no_lease), 0);
}

#[test]
fn a_second_choice_without_a_port_is_counted_too() {
    let mut rig = Rig::with(|s| {
        s.dests.iter_mut().for_each(|d| {
            d.traits.retries = 1;
            d.traits.exhausted = Closed::Reject;
        });
    });
    let talk = Talk::tcp(&mut rig, V4, Forward::FullNat);
    rig.reload(|s| s.pools[0].v4.clear());
    let seen = talk.say(&mut rig, flag::SYN).seen();
    assert_eq!((seen.dst, seen.tcp.map(|t| t.0)), (talk.client, Some(flag::RST | flag::ACK)));
    let service = net::service_index(V4, Proto::Tcp, Forward::FullNat);
    assert_eq!(counted(&rig, service, |s| &s.no_lease), 1);
}

/// Ports leased, toward each dest, over all workers.
fn held(rig: &Rig) -> Vec<Held> {
    rig.shared.leases.iter().flat_map(|book| book.held()).filter(|h| h.ports > 0).collect()
}

#[test]
fn used_lent_again_and_exhausted_are_known_by_address() {
    const MANY: usize = 16;
    let options = Options { workers: MANY, conns: 70_000, ..Options::default() };
    let mut rig = Rig::build(options, |s, _| {
        s.ports.iter_mut().for_each(|p| p.fixed_queue = true);
        s.services[net::service_index(V4, Proto::Tcp, Forward::FullNat)].dests.truncate(1);
    });
    let ended = Talk::tcp(&mut rig, V4, Forward::FullNat);
    ended.finish(&mut rig);
    // All other ports, those of all workers; then the one that can be lent; then none.
    let client = |n: u32| net::client(V4, 100 + (n / 50_000) as u8, 2000 + (n % 50_000) as u16);
    let all: Vec<u32> = (0..pointsman_dataplane::laddr::PORTS + 2).collect();
    for burst in all.chunks(BURST) {
        let syns: Vec<_> =
            burst.iter().map(|n| opening(V4, Proto::Tcp, client(*n)).bytes()).collect();
        let syns: Vec<_> = syns.iter().map(Vec::as_slice).collect();
        rig.feed_at(0, WAN, &syns);
    }
    let used: u64 = held(&rig).iter().map(|h| h.ports).sum();
    assert_eq!(used, u64::from(pointsman_dataplane::laddr::PORTS));
    let (laddr, daddr) = (net::pool_addr(V4).into(), net::dest_addr(V4, 0).into());
    assert!(held(&rig).iter().all(|h| (h.laddr, h.daddr, h.dport) == (laddr, daddr, 8081)));
    let counts: Vec<_> = rig.shared.leases.iter().flat_map(|book| book.counts()).collect();
    let sum = |of: fn(&pointsman_dataplane::laddr::Counts) -> u64| -> u64 {
        counts.iter().filter(|c| c.laddr == laddr).map(of).sum()
    };
    assert_eq!((sum(|c| c.lent), sum(|c| c.exhausted)), (1, 2));
    assert_eq!(rig.dropped(DropReason::NoLease), 2);
    // All of them end: nothing is held, what was counted stays.
    rig.pass(Duration::from_secs(200));
    assert!(held(&rig).is_empty(), "{:?}", held(&rig));
    assert!(rig.shared.leases.iter().flat_map(|b| b.counts()).any(|c| c.lent == 1));
}

#[test]
fn fragments_that_would_open_a_conn_are_refused_alike() {
    let mut rig = without_ports(1, Closed::Drop);
    let client = net::client(V4, 5, 4000);
    let vip = net::service_addr(V4, Forward::FullNat);
    let mut first = Packet::new(client, vip, Body::Udp { checksum: true }).payload(&[7; 64]);
    first.fragment = 0x2000;
    assert!(rig.feed(WAN, &first.bytes()).sent.is_empty());
    let service = net::service_index(V4, Proto::Udp, Forward::FullNat);
    assert_eq!(counted(&rig, service, |s| &s.no_lease), 1);
}
