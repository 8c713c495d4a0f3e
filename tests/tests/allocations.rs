//! Nothing is allocated per packet, per open, per close, per expiry, per answer.
//!
//! A test binary of its own: the counting allocator is the whole binary's.

use hw::alloc::CountingAllocator;
use pointsman_dataplane::conn::list::Sheet;
use pointsman_dataplane::frame::Burst;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Proto;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Rig;
use pointsman_tests::talk::Talk;
use std::net::SocketAddr;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Feeds frames one by one and gives how often anything was allocated meanwhile.
fn allocations(rig: &mut Rig, port: pointsman_dataplane::neigh::PortId, frames: &[Vec<u8>]) -> u64 {
    let now = rig.now;
    let (pipeline, outbox, pool) = rig.parts(0);
    let mut burst = Burst::new();
    let mut count = 0;
    for frame in frames {
        burst.push(pool.frame(frame).expect("the pool is whole"));
        let before = hw::alloc::count();
        pipeline.process(port, &mut burst, now, pool, outbox);
        count += hw::alloc::count() - before;
        for (i, tx) in outbox.tx().iter_mut().enumerate() {
            assert!(i < 2);
            pipeline.stats().sent.add(tx.len() as u64);
            tx.clear();
        }
    }
    rig.settled(0);
    count
}

fn housekeeping(rig: &mut Rig) -> u64 {
    let now = rig.now;
    let (pipeline, outbox, pool) = rig.parts(0);
    let before = hw::alloc::count();
    pipeline.housekeeping(now, pool, outbox);
    let count = hw::alloc::count() - before;
    rig.settled(0);
    count
}

#[test]
fn nothing_is_allocated_for_conns() {
    // The counter works.
    let before = hw::alloc::count();
    drop(std::hint::black_box(vec![1u8]));
    assert_eq!(hw::alloc::count() - before, 1);
    for family in net::FAMILIES {
        for proto in net::PROTOS {
            for forward in net::METHODS {
                let mut rig = Rig::new();
                let vip = net::service_addr(family, forward);
                let from = |n: u8, flags| match proto {
                    Proto::Udp => Packet::udp(net::client(family, n, 5), vip),
                    _ => Packet::tcp(net::client(family, n, 5), vip, flags),
                };
                let all = |flags| (0..200).map(|n| from(n, flags).bytes()).collect::<Vec<_>>();
                let kind = format!("{family:?} {proto:?} {forward:?}");
                assert_eq!(allocations(&mut rig, WAN, &all(flag::SYN)), 0, "open: {kind}");
                assert_eq!(allocations(&mut rig, WAN, &all(flag::ACK)), 0, "packet: {kind}");
                assert_eq!(allocations(&mut rig, WAN, &all(flag::RST)), 0, "end: {kind}");
                assert_eq!(allocations(&mut rig, WAN, &all(flag::SYN)), 0, "afresh: {kind}");
                rig.now = rig.now + Duration::from_secs(400);
                for _ in 0..20 {
                    rig.now = rig.now + Duration::from_secs(1);
                    assert_eq!(housekeeping(&mut rig), 0, "expiry: {kind}");
                }
                assert!(rig.conns().is_empty());
            }
        }
    }
}

#[test]
fn nothing_is_allocated_between_families() {
    for family in net::FAMILIES {
        let mut rig = Rig::with(net::cross);
        let kind = (family, Proto::Udp, Forward::FullNat);
        let talk = Talk::open(&mut rig, 0, kind, (1, 5));
        let seen = &talk.at_dest;
        let error = Packet::icmp(
            seen.dst.ip(),
            seen.src.ip(),
            net::of(family, [1, 4], [3, 3]),
            [0; 4],
            &seen.ip,
        );
        let large = talk.reply(0).may_fragment().payload(&[7; 1400]);
        let frames = [large.bytes(), error.from_lan(seen.eth.0).bytes()];
        assert_eq!(allocations(&mut rig, LAN, &frames), 0);
        let large = talk.original(0).may_fragment().payload(&[7; 1400]);
        let frames = [talk.original(0).bytes(), large.bytes(), talk.original(0).ttl(1).bytes()];
        assert_eq!(allocations(&mut rig, WAN, &frames), 0);
    }
}

#[test]
fn nothing_is_allocated_for_replies_answers_and_fragments() {
    for family in net::FAMILIES {
        let mut rig = Rig::with(|s| net::set_mtu(s, LAN, 1280));
        let talk = Talk::tcp(&mut rig, family, Forward::FullNat);
        let reply = talk.reply(flag::ACK).bytes();
        let kind = net::of(family, [3, 3], [1, 4]);
        let seen = &talk.at_dest;
        let error = Packet::icmp(seen.dst.ip(), seen.src.ip(), kind, [0; 4], &seen.ip);
        let error = error.from_lan(seen.eth.0).bytes();
        assert_eq!(allocations(&mut rig, LAN, &[reply.clone(), reply, error]), 0);
        let client = net::client(family, 9, 9);
        let closed = SocketAddr::new(net::vip(family), 9);
        let echo = [net::of(family, 8, 128), 0];
        let frames = [
            Packet::tcp(client, closed, flag::SYN),
            Packet::udp(client, closed),
            Packet::icmp(client.ip(), closed.ip(), echo, [0; 4], b"x"),
            talk.original(flag::ACK).ttl(1),
            talk.original(flag::ACK).payload(&[0; 1300]),
            talk.original(flag::ACK).may_fragment().payload(&[0; 1300]),
        ]
        .map(|p| p.bytes());
        assert_eq!(allocations(&mut rig, WAN, &frames), 0);
    }
}

#[test]
fn nothing_is_allocated_for_telling_dests_of_their_clients() {
    use pointsman_dataplane::service::ClientAddress;
    let vip = |family| net::service_addr(family, Forward::FullNat);
    for family in net::FAMILIES {
        for kind in [ClientAddress::ProxyV1, ClientAddress::ProxyV2, ClientAddress::Toa] {
            let mut rig = Rig::with(|s| {
                s.dests.iter_mut().for_each(|d| d.traits.client_address = kind);
            });
            let tcp = |n: u8, flags| Packet::tcp(net::client(family, n, 5), vip(family), flags);
            for flags in [flag::SYN, flag::ACK, flag::FIN | flag::ACK] {
                let frames: Vec<_> = (0..50).map(|n| tcp(n, flags).bytes()).collect();
                assert_eq!(allocations(&mut rig, WAN, &frames), 0, "{family:?} {kind:?}");
            }
            let datagram = Packet::udp(net::client(family, 1, 5), vip(family)).bytes();
            assert_eq!(allocations(&mut rig, WAN, &[datagram.clone(), datagram]), 0);
            rig.now = rig.now + Duration::from_millis(200);
            assert_eq!(housekeeping(&mut rig), 0, "again: {family:?} {kind:?}");
        }
    }
}

#[test]
fn nothing_is_allocated_for_held_frames() {
    use pointsman_dataplane::neigh::HopState;
    let family = pointsman_dataplane::tuple::Family::V4;
    let mut rig = Rig::new();
    rig.set_neighbour(LAN, net::dest_addr(family, 0), HopState::Incomplete);
    let vip = net::service_addr(family, Forward::Nat);
    let syn = Packet::tcp(net::client(family, 1, 5), vip, flag::SYN).bytes();
    assert_eq!(allocations(&mut rig, WAN, &vec![syn; 40]), 0);
    rig.set_neighbour(LAN, net::dest_addr(family, 0), HopState::Reachable(net::dest_mac(0)));
    assert_eq!(housekeeping(&mut rig), 0);
    assert_eq!(rig.sum(|s| &s.held), 0);
}

#[test]
fn nothing_is_allocated_for_listings() {
    let mut rig = Rig::new();
    for n in 0..200 {
        Talk::open(&mut rig, 0, (net::FAMILIES[n % 2], Proto::Tcp, Forward::FullNat), (n as u8, 5));
    }
    let (now, mut sheet) = (rig.now, Sheet::new(Default::default(), 150));
    let (pipeline, _, _) = rig.parts(0);
    let before = hw::alloc::count();
    while !pipeline.list(&mut sheet, now) {}
    assert_eq!(hw::alloc::count() - before, 0);
    assert_eq!((sheet.rows.len(), sheet.further), (150, 50));
}

/// A frame's whole way: how often anything is allocated, and how often it is handed over.
fn on_its_way(
    rig: &mut Rig,
    at: usize,
    port: pointsman_dataplane::neigh::PortId,
    p: &Packet,
) -> (u64, u64) {
    let (now, mut count, mut handed) = (rig.now, 0, 0);
    let (pipeline, outbox, pool) = rig.parts(at);
    let mut burst = Burst::new();
    burst.push(pool.frame(&p.bytes()).expect("the pool is whole"));
    let before = hw::alloc::count();
    pipeline.process(port, &mut burst, now, pool, outbox);
    count += hw::alloc::count() - before;
    loop {
        let next = (0..rig.worker_count()).find_map(|from| {
            let (_, outbox, _) = rig.parts(from);
            let to = outbox.handover.iter().position(|ring| !ring.is_empty())?;
            Some((from, to, outbox.handover[to].pop()?))
        });
        let Some((from, to, frame)) = next else { break };
        rig.stats(from).handed_over.add(1);
        handed += 1;
        let (pipeline, outbox, pool) = rig.parts(to);
        let before = hw::alloc::count();
        pipeline.take_over(frame, now, pool, outbox);
        count += hw::alloc::count() - before;
    }
    for worker in 0..rig.worker_count() {
        let (pipeline, outbox, _) = rig.parts(worker);
        for tx in outbox.tx() {
            pipeline.stats().sent.add(tx.len() as u64);
            tx.clear();
        }
    }
    (0..rig.worker_count()).for_each(|worker| drop(rig.settled(worker)));
    (count, handed)
}

#[test]
fn nothing_is_allocated_where_workers_hand_over() {
    for family in net::FAMILIES {
        for proto in net::PROTOS {
            for forward in net::METHODS {
                let mut rig = Rig::workers(2);
                let kind = (family, proto, forward);
                let vip = net::service_addr(family, forward);
                let mut handed = 0;
                let mut goes = |rig: &mut Rig, port, p: &Packet, what: &str| {
                    for at in 0..2 {
                        let (count, n) = on_its_way(rig, at, port, p);
                        assert_eq!(count, 0, "{what}: {kind:?}");
                        handed += n;
                    }
                };
                for n in 0..20 {
                    let client = net::client(family, n, 900);
                    let first = match proto {
                        Proto::Udp => Packet::udp(client, vip),
                        _ => Packet::tcp(client, vip, flag::SYN),
                    };
                    goes(&mut rig, WAN, &first, "open");
                    let talk = Talk::open(&mut rig, 0, kind, (n, 5));
                    goes(&mut rig, WAN, &talk.original(flag::ACK), "packet");
                    for piece in talk.original(flag::ACK).payload(&[7; 900]).cut(9, &[400]) {
                        goes(&mut rig, WAN, &piece, "fragment");
                    }
                    if forward.sees_replies() {
                        goes(&mut rig, LAN, &talk.reply(flag::ACK), "reply");
                        let seen = &talk.at_dest;
                        let kind = net::of(family, [3, 3], [1, 4]);
                        let error =
                            Packet::icmp(seen.dst.ip(), seen.src.ip(), kind, [0; 4], &seen.ip);
                        goes(&mut rig, LAN, &error.from_lan(seen.eth.0), "error");
                    }
                    goes(&mut rig, WAN, &talk.original(flag::RST), "end");
                }
                // Of what comes by the wrong worker half at least goes over.
                assert!(handed >= 60, "{kind:?}: {handed} handed over");
            }
        }
    }
}
