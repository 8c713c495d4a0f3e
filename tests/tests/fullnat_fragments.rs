//! Fragments on their way through, judged by what their receiver puts together.

use pointsman_dataplane::frame::BURST;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_tests::craft::Packet;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::rig::Sent;
use pointsman_tests::see;
use pointsman_tests::see::Sum;
use pointsman_tests::talk::Talk;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
/// Behind which bytes of the UDP datagram (28 bytes of it payload) the pieces end.
const CUTS: [usize; 2] = [16, 24];
const PAYLOAD: &[u8; 28] = b"abcdefghijklmnopqrstuvwxyz01";

fn rig(workers: usize, fixed: bool) -> Rig {
    Rig::build(Options { workers, ..Options::default() }, |s, _| {
        s.ports.iter_mut().for_each(|p| p.fixed_queue = fixed);
    })
}

/// What a fragment's IP header says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Name {
    src: IpAddr,
    dst: IpAddr,
    id: u32,
}

fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([b[at], b[at + 1]])
}

/// Takes a fragment apart: whose it is, its place, whether more follow, its TTL and its bytes.
fn apart(ip: &[u8]) -> (Name, usize, bool, u8, &[u8]) {
    if ip[0] >> 4 == 4 {
        let addr =
            |at: usize| IpAddr::from(<[u8; 4]>::try_from(&ip[at..at + 4]).expect("so many bytes"));
        let place = u16_at(ip, 6);
        assert_eq!((ip[0], ip[9]), (0x45, 17));
        let name = Name { src: addr(12), dst: addr(16), id: u16_at(ip, 4).into() };
        return (name, usize::from(place & 0x1fff) * 8, place & 0x2000 != 0, ip[8], &ip[20..]);
    }
    let addr =
        |at: usize| IpAddr::from(<[u8; 16]>::try_from(&ip[at..at + 16]).expect("so many bytes"));
    assert_eq!((ip[6], ip[40]), (44, 17), "a fragment header, and UDP behind it");
    let place = u16_at(ip, 42);
    let id = u32::from_be_bytes(ip[44..48].try_into().expect("four bytes"));
    let name = Name { src: addr(8), dst: addr(24), id };
    (name, usize::from(place & !7), place & 1 != 0, ip[7], &ip[48..])
}

/// A datagram put together from fragments.
#[derive(Clone, PartialEq, Debug)]
struct Whole {
    name: Name,
    src: SocketAddr,
    dst: SocketAddr,
    payload: Vec<u8>,
}

/// Puts together what the packets among `ips` are fragments of; every datagram must be complete
/// and have a right checksum over the whole.
fn together(ips: &[Vec<u8>]) -> Vec<Whole> {
    let mut pieces: BTreeMap<Name, BTreeMap<usize, (bool, Vec<u8>)>> = BTreeMap::new();
    for ip in ips {
        let (name, from, more, ttl, bytes) = apart(ip);
        assert_eq!(ttl, 59, "one less than was sent");
        let before = pieces.entry(name).or_default().insert(from, (more, bytes.to_vec()));
        assert!(before.is_none(), "{name:?} has two pieces at {from}");
    }
    let join = |(name, pieces): (Name, BTreeMap<usize, (bool, Vec<u8>)>)| {
        let mut all = Vec::new();
        let last = pieces.len() - 1;
        for (n, (from, (more, bytes))) in pieces.into_iter().enumerate() {
            assert_eq!((from, more), (all.len(), n < last), "{name:?} has a hole or no end");
            all.extend(bytes);
        }
        assert_eq!(see::transport_sum(name.src, name.dst, 17, &all), Sum::Right);
        assert_eq!(usize::from(u16_at(&all, 4)), all.len());
        let src = SocketAddr::new(name.src, u16_at(&all, 0));
        let dst = SocketAddr::new(name.dst, u16_at(&all, 2));
        Whole { name, src, dst, payload: all[8..].to_vec() }
    };
    pieces.into_iter().map(join).collect()
}

/// The IP packets in what was sent; of a tunnel's, the inner ones.
fn inner(sent: &[Sent], forward: Forward) -> Vec<Vec<u8>> {
    let ip = |s: &Sent| {
        let seen = see::see(&s.bytes);
        if forward == Forward::Tunnel && s.port == LAN { seen.segment } else { seen.ip }
    };
    sent.iter().map(ip).collect()
}

/// Feeds pieces one by one, each to another worker where `spread`; all must come out by `port`,
/// to one MAC.
fn feed(
    rig: &mut Rig,
    at: usize,
    (from, to): (pointsman_dataplane::neigh::PortId, pointsman_dataplane::neigh::PortId),
    pieces: &[Packet],
    spread: bool,
) -> Vec<Sent> {
    let workers = rig.worker_count();
    let mut sent = Vec::new();
    for (n, piece) in pieces.iter().enumerate() {
        let worker = if spread { (at + n) % workers } else { at % workers };
        sent.extend(rig.feed_at(worker, from, &[&piece.bytes()]).sent);
    }
    let macs: BTreeSet<_> = sent.iter().map(|s| see::see(&s.bytes).eth.0).collect();
    assert_eq!(macs.len(), 1, "one next hop for all; dropped {:?}", rig.drops());
    assert!(sent.iter().all(|s| s.port == to));
    assert_eq!(sent.len(), pieces.len());
    sent
}

fn every_setting(run: impl Fn(usize, bool, Family, Forward)) {
    for workers in 1..=4 {
        for fixed in [false, true] {
            for family in net::FAMILIES {
                for forward in net::METHODS {
                    run(workers, fixed, family, forward);
                }
            }
        }
    }
}

fn in_order(pieces: &[Packet], order: [usize; 3]) -> Vec<Packet> {
    order.map(|i| pieces[i].clone()).to_vec()
}

#[test]
fn a_request_in_three_pieces_reaches_one_dest_in_any_order() {
    every_setting(|workers, fixed, family, forward| {
        let mut rig = rig(workers, fixed);
        for (n, order) in ORDERS.into_iter().enumerate() {
            let (client, vip) =
                (net::client(family, n as u8, 700), net::service_addr(family, forward));
            let whole = Packet::udp(client, vip).payload(PAYLOAD);
            let pieces = in_order(&whole.cut(0x77_0000 + n as u32, &CUTS), order);
            let sent = feed(&mut rig, n, (WAN, LAN), &pieces, true);
            let got = together(&inner(&sent, forward));
            assert_eq!(got.len(), 1, "one datagram: {got:?}");
            assert_eq!(got[0].payload, PAYLOAD);
            let kept = SocketAddr::new(vip.ip(), vip.port());
            match forward {
                Forward::Nat => assert_eq!(got[0].src, client),
                Forward::FullNat => assert_eq!(got[0].src.ip(), net::pool_addr(family)),
                _ => assert_eq!((got[0].src, got[0].dst), (client, kept)),
            }
            if forward.sees_replies() {
                assert_eq!(got[0].dst.port(), net::dest_port(forward));
            }
            assert_eq!(rig.conns().len(), n + 1, "one conn each");
        }
        assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    });
}

#[test]
fn a_reply_in_three_pieces_reaches_the_client_in_any_order() {
    every_setting(|workers, fixed, family, forward| {
        if !forward.sees_replies() {
            return;
        }
        let mut rig = rig(workers, fixed);
        for (n, order) in ORDERS.into_iter().enumerate() {
            let kind = (family, Proto::Udp, forward);
            let talk = Talk::open(&mut rig, n % workers, kind, (n as u8, 700));
            let whole = talk.reply(0).payload(PAYLOAD);
            // A dest's datagrams to the local address differ in their ids.
            let pieces = in_order(&whole.cut(5 + n as u32, &CUTS), order);
            let sent = feed(&mut rig, n + 1, (LAN, WAN), &pieces, true);
            let got = together(&inner(&sent, forward));
            assert_eq!(got.len(), 1, "one datagram: {got:?}");
            assert_eq!((got[0].src, got[0].dst), (talk.vip, talk.client));
            assert_eq!(got[0].payload, PAYLOAD);
        }
        assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    });
}

#[test]
fn pieces_of_an_open_conn_reach_its_dest() {
    every_setting(|workers, fixed, family, forward| {
        let mut rig = rig(workers, fixed);
        for (n, order) in ORDERS.into_iter().enumerate() {
            let kind = (family, Proto::Udp, forward);
            let at = n % workers;
            let talk = Talk::open(&mut rig, at, kind, (n as u8, 700));
            let pieces = in_order(&talk.original(0).payload(PAYLOAD).cut(9, &CUTS), order);
            // By the addresses alone, as a NIC spreads fragments, so perhaps at another worker.
            let sent = feed(&mut rig, at + 1, (WAN, LAN), &pieces, false);
            assert_eq!(see::see(&sent[0].bytes).eth.0, talk.at_dest.eth.0);
            let got = together(&inner(&sent, forward));
            let (src, dst) = match forward {
                Forward::Tunnel => (talk.client, talk.vip),
                _ => (talk.at_dest.src, talk.at_dest.dst),
            };
            assert_eq!((got[0].src, got[0].dst), (src, dst));
            assert_eq!((got.len(), &got[0].payload[..]), (1, &PAYLOAD[..]));
            assert_eq!(rig.conns().len(), n + 1, "no conn besides");
        }
        assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    });
}

#[test]
fn under_full_nat_two_clients_datagrams_of_one_id_get_different_ones() {
    for workers in 1..=4 {
        for family in net::FAMILIES {
            let mut rig = Rig::build(Options { workers, ..Options::default() }, |s, _| {
                let i = net::service_index(family, Proto::Udp, Forward::FullNat);
                s.services[i].dests.truncate(1);
            });
            let vip = net::service_addr(family, Forward::FullNat);
            let mut sent = Vec::new();
            let cut = |n| {
                let p = Packet::udp(net::client(family, n, 700), vip).payload(PAYLOAD);
                p.cut(42, &CUTS)
            };
            let all: Vec<_> = (0..20).map(cut).collect();
            // The pieces of all of them in turns.
            for i in [2, 0, 1] {
                for pieces in &all {
                    sent.extend(rig.feed(WAN, &pieces[i].bytes()).sent);
                }
            }
            assert_eq!(sent.len(), 60, "{workers} workers: {:?}", rig.drops());
            let ids: BTreeSet<_> =
                sent.iter().map(|s| apart(&see::see(&s.bytes).ip).0.id).collect();
            assert_eq!(ids.len(), 20, "each its own id, with {workers} workers");
            let got = together(&inner(&sent, Forward::FullNat));
            let ports: BTreeSet<_> = got.iter().map(|w| w.src.port()).collect();
            assert_eq!(ports.len(), 20);
            assert!(got.iter().all(|w| w.payload == PAYLOAD));
        }
    }
}

#[test]
fn one_clients_datagrams_get_an_id_each() {
    for family in net::FAMILIES {
        let mut rig = Rig::new();
        let talk = Talk::open(&mut rig, 0, (family, Proto::Udp, Forward::FullNat), (1, 700));
        let mut ids = BTreeSet::new();
        for id in [7, 8, 9, 7] {
            let pieces = talk.original(0).payload(PAYLOAD).cut(id, &CUTS);
            let sent = feed(&mut rig, 0, (WAN, LAN), &pieces, false);
            ids.insert(together(&inner(&sent, Forward::FullNat))[0].name.id);
        }
        assert_eq!(ids.len(), 4);
        assert_eq!(
            ids.last() > Some(&0xffff),
            family == Family::V6,
            "of as many bits as there are"
        );
    }
}

#[test]
fn a_datagram_in_fifteen_pieces_every_second_one_first_comes_through() {
    // 15 pieces of 8 bytes, every second one first: the most stretches that are followed.
    let mut rig = Rig::new();
    let talk = Talk::open(&mut rig, 0, (V4, Proto::Udp, Forward::FullNat), (1, 700));
    let payload: Vec<u8> = (0..112).collect();
    let cuts: Vec<_> = (1..15).map(|n| 8 * n).collect();
    let pieces = talk.original(0).payload(&payload).cut(3, &cuts);
    let (even, odd): (Vec<_>, Vec<_>) = (0..15).partition(|n| n % 2 == 0);
    let mixed: Vec<_> = odd.into_iter().chain(even).map(|n: usize| pieces[n].clone()).collect();
    let sent = feed(&mut rig, 0, (WAN, LAN), &mixed, false);
    assert_eq!(together(&inner(&sent, Forward::FullNat))[0].payload, payload);
}

#[test]
fn no_udp_checksum_stays_none() {
    let mut rig = Rig::new();
    let vip = net::service_addr(V4, Forward::FullNat);
    let body = pointsman_tests::craft::Body::Udp { checksum: false };
    let p = Packet::new(net::client(V4, 1, 700), vip, body).payload(PAYLOAD);
    let out = rig.feed(WAN, &p.cut(3, &CUTS)[0].bytes());
    assert_eq!(out.seen().segment[6..8], [0, 0]);
}

/// Fragments in which the last overlaps what is there; `after` must not pass either.
fn refused(family: Family, pieces: &[Packet], reason: DropReason, passing: usize) {
    let mut rig = Rig::new();
    let mut sent = 0;
    for piece in pieces {
        sent += rig.feed(WAN, &piece.bytes()).sent.len();
    }
    assert_eq!(sent, passing, "{family:?}: {:?}", rig.drops());
    assert_eq!(rig.drops(), [(reason, (pieces.len() - passing) as u64)]);
}

#[test]
fn overlaps_are_dropped_by_name_with_all_that_follows() {
    for family in net::FAMILIES {
        let vip = net::service_addr(family, Forward::FullNat);
        let whole = Packet::udp(net::client(family, 1, 700), vip).payload(PAYLOAD);
        let (a, b) = (whole.cut(1, &[16, 24]), whole.cut(1, &[8, 24]));
        // 0-16, then 8-24, then the end, which overlaps nothing.
        let pieces = [a[0].clone(), b[1].clone(), a[2].clone()];
        refused(family, &pieces, DropReason::FragmentOverlap, 1);
        // The first one twice.
        let twice = [a[0].clone(), a[0].clone(), a[1].clone()];
        refused(family, &twice, DropReason::FragmentOverlap, 1);
        // An end before what is there.
        let short = Packet { payload: PAYLOAD[..8].to_vec(), ..whole.clone() };
        let end = short.cut(1, &[8])[1].clone();
        refused(family, &[a[0].clone(), end], DropReason::FragmentOverlap, 1);
    }
}

#[test]
fn a_first_fragment_without_the_whole_header_is_tiny_and_its_datagram_lost() {
    for family in net::FAMILIES {
        let vip = net::service_addr(family, Forward::FullNat);
        let whole = Packet::tcp(net::client(family, 1, 700), vip, 2).payload(PAYLOAD);
        let pieces = whole.cut(1, &[16, 24]);
        for order in ORDERS {
            let mut rig = Rig::new();
            for i in order {
                assert!(rig.feed(WAN, &pieces[i].bytes()).sent.is_empty());
            }
            assert_eq!(rig.dropped(DropReason::FragmentTiny), 1, "{:?}", rig.drops());
            for _ in 0..3 {
                rig.pass(Duration::from_secs(31));
            }
            assert_eq!(rig.stats(0).held.get(), 0);
            assert!(rig.conns().is_empty());
        }
    }
}

#[test]
fn orphans_are_held_for_their_time_and_then_dropped_by_name() {
    for workers in 1..=4 {
        for family in net::FAMILIES {
            let mut rig = rig(workers, true);
            let vip = net::service_addr(family, Forward::FullNat);
            let p = Packet::udp(net::client(family, 1, 700), vip).payload(PAYLOAD);
            for piece in &p.cut(1, &CUTS)[1..] {
                assert!(rig.feed(WAN, &piece.bytes()).sent.is_empty());
            }
            rig.pass(Duration::from_secs(29));
            assert_eq!(rig.sum(|s| &s.held), 2);
            rig.pass(Duration::from_secs(5));
            assert_eq!(rig.drops(), [(DropReason::FragmentOrphan, 2)]);
            // And the first one alone brings nothing back.
            let first = &p.cut(1, &CUTS)[0];
            assert_eq!(rig.feed(WAN, &first.bytes()).sent.len(), 1);
        }
    }
}

#[test]
fn a_flood_of_later_fragments_is_bounded_and_whole_datagrams_go_on() {
    let mut rig = Rig::new();
    let held = pointsman_dataplane::fragments::HELD as u64;
    let vip = net::service_addr(V4, Forward::FullNat);
    for id in 0..2 * held as u32 {
        let p = Packet::udp(net::client(V4, 1, 700), vip).payload(PAYLOAD);
        assert!(rig.feed(WAN, &p.cut(id, &CUTS)[1].bytes()).sent.is_empty());
    }
    assert_eq!(rig.drops(), [(DropReason::FragmentFlood, held)]);
    assert_eq!(rig.stats(0).held.get(), held);
    let other = Packet::udp(net::client(V4, 2, 700), vip).payload(PAYLOAD);
    let pieces = other.cut(9, &CUTS);
    feed(&mut rig, 0, (WAN, LAN), &pieces, false);
}

#[test]
fn a_refused_first_fragment_takes_its_followers_with_it() {
    let mut rig = Rig::new();
    let closed = SocketAddr::new(net::silent_vip(V4), 9);
    let pieces = Packet::udp(net::client(V4, 1, 700), closed).payload(PAYLOAD).cut(4, &CUTS);
    for i in [1, 0, 2] {
        assert!(rig.feed(WAN, &pieces[i].bytes()).sent.is_empty());
    }
    assert_eq!(rig.dropped(DropReason::ClosedPort), 1);
    assert_eq!(rig.dropped(DropReason::FragmentOrphan), 2);
}

/// All ports of worker 0 toward the one dest are in use, so that the conn lives with another.
#[test]
fn fragments_of_a_conn_that_lives_elsewhere_reach_its_dest() {
    const WORKERS: usize = 16;
    let options = Options { workers: WORKERS, conns: 6000, ..Options::default() };
    let mut rig = Rig::build(options, |s, _| {
        s.ports.iter_mut().for_each(|p| p.fixed_queue = true);
        s.services[net::service_index(V4, Proto::Udp, Forward::FullNat)].dests.truncate(1);
    });
    let vip = net::service_addr(V4, Forward::FullNat);
    let own = (1025..=65_535).filter(|p| p % WORKERS == 0).count();
    let frames: Vec<_> =
        (0..own).map(|n| Packet::udp(net::client(V4, 9, 2000 + n as u16), vip).bytes()).collect();
    for burst in frames.chunks(BURST) {
        let burst: Vec<_> = burst.iter().map(Vec::as_slice).collect();
        rig.feed_at(0, WAN, &burst);
    }
    let talk = Talk::open(&mut rig, 0, (V4, Proto::Udp, Forward::FullNat), (1, 700));
    let pieces = talk.original(0).payload(PAYLOAD).cut(4, &CUTS);
    let sent = feed(&mut rig, 0, (WAN, LAN), &pieces, false);
    let got = together(&inner(&sent, Forward::FullNat));
    assert_eq!((got[0].src, got[0].dst), (talk.at_dest.src, talk.at_dest.dst));
    // A datagram in fragments may also be the first of a conn that worker 0 has no port for.
    let new = Packet::udp(net::client(V4, 2, 700), vip).payload(PAYLOAD).cut(5, &CUTS);
    let sent = feed(&mut rig, 0, (WAN, LAN), &new, false);
    assert_eq!(together(&inner(&sent, Forward::FullNat))[0].payload, PAYLOAD);
}

/// Whichever worker gathers the datagram, and in any order: those of worker 0 lie elsewhere.
#[test]
fn a_first_fragment_without_a_port_here_takes_the_rest_of_its_datagram_along() {
    const WORKERS: usize = 16;
    for family in net::FAMILIES {
        let options = Options { workers: WORKERS, conns: 6000, ..Options::default() };
        let mut rig = Rig::build(options, |s, _| {
            s.ports.iter_mut().for_each(|p| p.fixed_queue = true);
            s.services[net::service_index(family, Proto::Udp, Forward::FullNat)].dests.truncate(1);
        });
        let vip = net::service_addr(family, Forward::FullNat);
        let own = (1025..=65_535).filter(|p| p % WORKERS == 0).count();
        let packet = |n| Packet::udp(net::client(family, 9, 2000 + n as u16), vip).bytes();
        rig.feed_many(0, WAN, (0..own).map(packet));
        let mut elsewhere = 0;
        for n in 0..96 {
            let whole = Packet::udp(net::client(family, 2, 700 + n), vip).payload(PAYLOAD);
            let pieces = in_order(&whole.cut(5 + u32::from(n), &CUTS), ORDERS[usize::from(n) % 6]);
            let sent = feed(&mut rig, 0, (WAN, LAN), &pieces, false);
            let got = together(&inner(&sent, Forward::FullNat));
            assert_eq!((got.len(), &got[0].payload[..]), (1, &PAYLOAD[..]));
            // An identification may serve again as soon as its datagram is whole.
            let again = feed(&mut rig, 0, (WAN, LAN), &pieces, false);
            assert_eq!(together(&inner(&again, Forward::FullNat))[0].src, got[0].src);
            elsewhere += rig.conns().iter().filter(|(_, c, _)| c.elsewhere().is_some()).count();
        }
        assert!(elsewhere > 0, "none was gathered by worker 0");
        assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    }
}

/// All but the first are held until that comes, and go to another worker at once.
#[test]
fn a_datagram_of_as_many_fragments_as_may_wait_is_handed_over_whole() {
    let payload = [7; 1020];
    let cuts: Vec<_> = (1..128).map(|n| 8 * n).collect();
    let mut rig = rig(4, false);
    let mut handed = 0;
    for n in 0..8 {
        let (client, vip) = (net::client(V4, 1, 700 + n), net::service_addr(V4, Forward::FullNat));
        let mut pieces = Packet::udp(client, vip).payload(&payload).cut(n.into(), &cuts);
        pieces.reverse();
        let mut sent = Vec::new();
        for piece in &pieces {
            let out = rig.feed_at(0, WAN, &[&piece.bytes()]);
            handed = handed.max(out.handed.len());
            sent.extend(out.sent);
        }
        assert_eq!(together(&inner(&sent, Forward::FullNat))[0].payload, payload);
    }
    assert!(handed >= 128, "{handed}");
    assert!(rig.drops().is_empty(), "{:?}", rig.drops());
}
