//! Services whose dests have several methods, as IPVS has it: dest `n` is by `net::METHODS[n]`.

use pointsman_dataplane::neigh::Neighbours;
use pointsman_dataplane::service::Candidate;
use pointsman_dataplane::service::Dest;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::OnDead;
use pointsman_dataplane::service::Persistence;
use pointsman_dataplane::service::Tunnel;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::METHODS;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::talk::Talk;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

const CLIENTS: u8 = 24;

/// What was the full-NAT services gets a dest of each method.
fn mix(s: &mut Snapshot, neighbours: &Neighbours) {
    for (family, proto) in kinds() {
        let like = s.dest(net::dest_id(family, proto, Forward::FullNat, 0)).clone();
        let mut candidates = Vec::new();
        for (n, forward) in METHODS.into_iter().enumerate() {
            let addr = net::dest_addr(family, n);
            let port = match forward.sees_replies() {
                true => net::dest_port(forward),
                false => net::service_port(Forward::FullNat),
            };
            let hop = net::reachable(neighbours, LAN, addr, net::dest_mac(n));
            let less = if forward == Forward::Tunnel { net::of(family, 20, 40) } else { 0 };
            let mtu = like.mtu - less;
            let id = DestId(s.dests.len() as u32);
            let tunnel = Tunnel::to(like.tunnel.source, addr.into());
            let addr = addr.into();
            s.dests.push(Dest { addr, port, forward, hop, mtu, tunnel, ..like.clone() });
            candidates.push(Candidate { id, weight: 1, last_weight: 1 });
        }
        let at = net::service_index(family, proto, Forward::FullNat);
        s.services[at].dests = candidates;
        s.services[at].version += 1;
    }
}

pub(super) fn kinds() -> Vec<(Family, Proto)> {
    net::FAMILIES.into_iter().flat_map(|f| net::PROTOS.map(|p| (f, p))).collect()
}

pub(super) fn rig(workers: usize, fixed: bool, change: impl FnOnce(&mut Snapshot)) -> Rig {
    Rig::build(Options { workers, ..Options::default() }, |s, neighbours| {
        mix(s, neighbours);
        s.ports.iter_mut().for_each(|p| p.fixed_queue = fixed);
        change(s);
    })
}

pub(super) fn every_setting(run: impl Fn(usize, bool, Family, Proto)) {
    for (workers, fixed) in [(1, false), (2, false), (3, false), (2, true), (3, true)] {
        kinds().into_iter().for_each(|(family, proto)| run(workers, fixed, family, proto));
    }
}

pub(super) fn method(mac: [u8; 6]) -> Forward {
    let n = (0..METHODS.len()).find(|n| net::dest_mac(*n) == mac).expect("one of the dests");
    METHODS[n]
}

/// Opens a conn; it is by the method of the dest that has got it.
pub(super) fn open(
    rig: &mut Rig,
    at: usize,
    (family, proto): (Family, Proto),
    client: (u8, u16),
) -> Talk {
    let talk = Talk::open(rig, at, (family, proto, Forward::FullNat), client);
    Talk { forward: method(talk.at_dest.eth.0), ..talk }
}

/// Changes the weights of the mixed services: the methods of `wanted` have 1.
pub(super) fn weigh(s: &mut Snapshot, wanted: &[Forward]) {
    for (family, proto) in kinds() {
        let at = net::service_index(family, proto, Forward::FullNat);
        for (candidate, method) in s.services[at].dests.iter_mut().zip(METHODS) {
            candidate.weight = u32::from(wanted.contains(&method));
            s.dests[candidate.id.0 as usize].weight = candidate.weight;
        }
        s.services[at].version += 1;
    }
}

/// The number of the dest by this method.
pub(super) fn dest(s: &Snapshot, (family, proto): (Family, Proto), forward: Forward) -> DestId {
    let service = &s.services[net::service_index(family, proto, Forward::FullNat)];
    let is_it = |c: &&Candidate| s.dest(c.id).forward == forward;
    service.dests.iter().find(is_it).expect("a dest of each").id
}

/// What a dest has to see of the packet that opens a conn.
fn is_by_its_method(talk: &Talk, family: Family) {
    let (seen, method) = (&talk.at_dest, talk.forward);
    let addr = net::dest_addr(family, method as usize);
    let there = SocketAddr::new(addr, net::dest_port(method));
    match method {
        Forward::Nat => assert_eq!((seen.src, seen.dst), (talk.client, there)),
        Forward::FullNat => assert_eq!((seen.src.ip(), seen.dst), (net::pool_addr(family), there)),
        Forward::Dr => assert_eq!((seen.src, seen.dst), (talk.client, talk.vip)),
        Forward::Tunnel => {
            assert_eq!((seen.src.ip(), seen.dst.ip()), (net::lan_addr(family), addr));
            let inner = see::see_ip(&seen.segment);
            assert_eq!((inner.src, inner.dst), (talk.client, talk.vip));
        }
    }
}

/// What a dest answers, which may come by any worker.
fn answer(talk: &Talk, flags: u8) -> Packet {
    match (talk.forward.sees_replies(), talk.proto) {
        (true, _) => talk.reply(flags),
        (_, Proto::Udp) => Packet::udp(talk.vip, talk.client).from_lan(talk.at_dest.eth.0),
        _ => Packet::tcp(talk.vip, talk.client, flags).from_lan(talk.at_dest.eth.0),
    }
}

/// Everything of a conn finds it: what its client sends to these workers, and answers and errors by all of them.
pub(super) fn goes_on(rig: &mut Rig, talk: &Talk, workers: &[usize]) {
    for w in workers {
        let out = rig.feed_at(*w, WAN, &[&talk.original(flag::ACK).bytes()]);
        assert_eq!(out.sent.len(), 1, "{talk:?}: {:?}", rig.drops());
        assert_eq!((out.only().port, out.seen().eth.0), (LAN, talk.at_dest.eth.0));
    }
    let kind = if talk.client.is_ipv4() { [3, 3] } else { [1, 4] };
    let error = |src, dst, quoted: &[u8]| Packet::icmp(src, dst, kind, [0; 4], quoted);
    for w in 0..rig.worker_count() {
        let out = rig.feed_at(w, LAN, &[&answer(talk, flag::SYN | flag::ACK).bytes()]);
        assert_eq!(out.sent.len(), 1, "{talk:?}: {:?}", rig.drops());
        assert_eq!((out.only().port, out.seen().src, out.seen().dst), (WAN, talk.vip, talk.client));
        let heard = Packet { src: talk.vip, dst: talk.client, ..talk.reply(flag::ACK) };
        let p = error(talk.client.ip(), talk.vip.ip(), &heard.ip());
        let out = rig.feed_at(w, WAN, &[&p.bytes()]);
        assert_eq!(out.sent.len(), 1, "{talk:?}: {:?}", rig.drops());
        assert_eq!((out.only().port, out.seen().eth.0), (LAN, talk.at_dest.eth.0));
        if talk.forward.sees_replies() {
            let seen = &talk.at_dest;
            let p = error(seen.dst.ip(), seen.src.ip(), &seen.ip).from_lan(seen.eth.0);
            assert_eq!(rig.feed_at(w, LAN, &[&p.bytes()]).seen().dst.ip(), talk.client.ip());
        }
    }
}

/// The workers that a client's packets may come by, of a conn that began at `at`.
pub(super) fn arrivals(rig: &Rig, at: usize) -> Vec<usize> {
    if rig.snapshot().ports[0].fixed_queue { vec![at] } else { (0..rig.worker_count()).collect() }
}

#[test]
fn each_dest_gets_its_packets_by_its_own_method() {
    every_setting(|workers, fixed, family, proto| {
        let mut rig = rig(workers, fixed, |_| {});
        let mut met = BTreeSet::new();
        for n in 0..CLIENTS {
            let at = usize::from(n) % workers;
            let talk = open(&mut rig, at, (family, proto), (n, 7000 + u16::from(n)));
            is_by_its_method(&talk, family);
            met.insert(talk.forward.name());
            let arrivals = arrivals(&rig, at);
            goes_on(&mut rig, &talk, &arrivals);
        }
        assert_eq!((met.len(), rig.drops()), (METHODS.len(), vec![]));
        assert_eq!(rig.conns().len(), usize::from(CLIENTS), "none was opened twice");
    });
}

/// Until the dest is picked nobody knows whether the source, and so the identification, changes.
#[test]
fn the_fragments_of_a_datagram_stay_together_by_any_method() {
    const PAYLOAD: &[u8; 28] = b"abcdefghijklmnopqrstuvwxyz01";
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        every_setting(|workers, fixed, family, _| {
            let mut rig = rig(workers, fixed, |_| {});
            let mut met = BTreeSet::new();
            for n in 0..CLIENTS {
                let client = net::client(family, n, 7000 + u16::from(n));
                let vip = net::service_addr(family, Forward::FullNat);
                let pieces = Packet::udp(client, vip).payload(PAYLOAD).cut(77, &[16, 24]);
                // Twice: what opens a conn, and one of a conn that is known.
                for _ in 0..2 {
                    let mut sent = Vec::new();
                    for (n, piece) in order.into_iter().enumerate() {
                        let at = (usize::from(client.port()) + n) % workers;
                        sent.extend(rig.feed_at(at, WAN, &[&pieces[piece].bytes()]).sent);
                    }
                    assert_eq!(sent.len(), 3, "{:?}", rig.drops());
                    let method = method(see::see(&sent[0].bytes).eth.0);
                    let inner = |frame: &[u8]| match method {
                        Forward::Tunnel => see::see_ip(&see::see(frame).segment),
                        _ => see::see(frame),
                    };
                    let mut seen: Vec<_> = sent.iter().map(|s| inner(&s.bytes)).collect();
                    seen.sort_by_key(|s| s.fragment.1);
                    let name = |n: usize| (seen[n].src.ip(), seen[n].dst.ip(), seen[n].id);
                    assert_eq!((name(0), name(0)), (name(1), name(2)), "{method:?}");
                    assert_eq!(seen[0].src.ip() == client.ip(), method != Forward::FullNat);
                    let whole: Vec<u8> = seen.iter().flat_map(|s| s.segment.clone()).collect();
                    assert_eq!(whole[8..], PAYLOAD[..]);
                    met.insert(method.name());
                }
            }
            assert_eq!((met.len(), rig.drops()), (METHODS.len(), vec![]));
        });
    }
}

#[test]
fn a_persistent_client_stays_with_its_dest_and_so_with_its_method() {
    every_setting(|workers, fixed, family, proto| {
        let mut rig = rig(workers, fixed, |s| {
            let at = net::service_index(family, proto, Forward::FullNat);
            let prefix = net::of(family, 32, 128);
            s.services[at].terms.persistence = Some(Persistence { timeout: 360, prefix });
        });
        let mut met = BTreeSet::new();
        for n in 0..CLIENTS {
            let mut methods = BTreeSet::new();
            for port in 0..3 {
                let at = usize::from(n + port as u8) % workers;
                let talk = open(&mut rig, at, (family, proto), (n, 7000 + port));
                methods.insert(talk.forward.name());
                let arrivals = arrivals(&rig, at);
                goes_on(&mut rig, &talk, &arrivals);
            }
            assert_eq!(methods.len(), 1);
            met.extend(methods);
        }
        assert_eq!((met.len(), rig.drops()), (METHODS.len(), vec![]));
    });
}

#[test]
fn a_second_choice_may_be_by_another_method() {
    for family in net::FAMILIES {
        for from in [Forward::Nat, Forward::FullNat] {
            for to in METHODS.into_iter().filter(|to| *to != from) {
                let mut rig = rig(1, false, |s| {
                    s.dests.iter_mut().for_each(|d| d.traits.retries = 1);
                    weigh(s, &[from]);
                });
                let first = open(&mut rig, 0, (family, Proto::Tcp), (7, 40_000));
                assert_eq!(first.forward, from);
                rig.reload(|s| weigh(s, &[to]));
                let again = first.say(&mut rig, flag::SYN).seen();
                let second = Talk { forward: method(again.eth.0), at_dest: again, ..first };
                assert_eq!(second.forward, to);
                is_by_its_method(&second, family);
                assert_eq!(rig.conns().len(), 1, "one conn, not two");
                assert_eq!(rig.sum(|s| &s.leases), u64::from(to == Forward::FullNat));
                goes_on(&mut rig, &second, &[0]);
                rig.pass(Duration::from_secs(1000));
                assert_eq!((rig.conns().len(), rig.sum(|s| &s.leases)), (0, 0));
            }
        }
    }
}

#[test]
fn a_removed_dest_takes_only_its_own_conns_with_it() {
    every_setting(|workers, fixed, family, proto| {
        for gone in METHODS {
            let kind = (family, proto);
            let mut rig = rig(workers, fixed, |s| {
                s.dests.iter_mut().for_each(|d| d.traits.on_dead = OnDead::Drop);
            });
            let talks: Vec<_> = (0..CLIENTS)
                .map(|n| (usize::from(n) % workers, n))
                .map(|(at, n)| (at, open(&mut rig, at, kind, (n, 7000))))
                .collect();
            rig.reload(|s| {
                let id = dest(s, kind, gone);
                let at = net::service_index(family, proto, Forward::FullNat);
                s.services[at].dests.retain(|c| c.id != id);
                s.services[at].version += 1;
                let dest = &mut s.dests[id.0 as usize];
                (dest.removed, dest.weight) = (true, 0);
                if gone == Forward::Nat {
                    number_anew(s, at);
                }
            });
            rig.pass(Duration::from_secs(1));
            for (at, talk) in talks {
                if talk.forward != gone {
                    let arrivals = arrivals(&rig, at);
                    goes_on(&mut rig, &talk, &arrivals);
                    continue;
                }
                let before = rig.dropped(DropReason::DeadDest);
                let out = rig.feed_at(at, WAN, &[&talk.original(flag::ACK).bytes()]);
                assert!(out.sent.is_empty(), "{gone:?}");
                assert_eq!(rig.dropped(DropReason::DeadDest), before + 1);
            }
        }
    });
}

/// What control makes of a service's dests when it gets its first one by nat or loses its last: new dests. Those of
/// before keep their conns.
pub(super) fn number_anew(s: &mut Snapshot, at: usize) {
    for n in 0..s.services[at].dests.len() {
        let old = s.services[at].dests[n].id;
        s.services[at].dests[n].id = DestId(s.dests.len() as u32);
        s.dests.push(s.dest(old).clone());
        let old = &mut s.dests[old.0 as usize];
        (old.removed, old.traits.superseded) = (true, true);
    }
    s.services[at].version += 1;
}

/// With the first nat dest all of a client becomes one worker's, with the last one that ends. Conns of before live on
/// where they are; fragments find them, too.
#[test]
fn conns_go_on_when_dests_come_and_go_that_decide_who_owns_them() {
    every_setting(|workers, fixed, family, proto| {
        let kind = (family, proto);
        let at = net::service_index(family, proto, Forward::FullNat);
        let mut nat = None;
        let mut rig = rig(workers, fixed, |s| nat = Some(s.services[at].dests.remove(0)));
        let nat = nat.expect("there were four");
        let mut talks = Vec::new();
        for round in 0..3u16 {
            for n in 0..CLIENTS {
                let at = usize::from(n) % workers;
                let talk = open(&mut rig, at, kind, (n, 7000 + round));
                let arrivals = arrivals(&rig, at);
                goes_on(&mut rig, &talk, &arrivals);
                talks.push((at, talk));
            }
            assert_eq!(rig.conns().len(), talks.len(), "each opened once");
            rig.reload(|s| {
                let gone = round == 1;
                if gone {
                    s.services[at]
                        .dests
                        .retain(|c| s.dests[c.id.0 as usize].forward != Forward::Nat);
                }
                number_anew(s, at);
                if !gone {
                    s.services[at].dests.insert(0, nat);
                }
                s.dests[nat.id.0 as usize].removed = gone;
            });
            for (nth, (at, talk)) in talks.iter().enumerate() {
                let arrivals = arrivals(&rig, *at);
                goes_on(&mut rig, talk, &arrivals);
                pieces_go_on(&mut rig, talk, *at, u32::from(round) * 1000 + nth as u32);
            }
            assert_eq!((rig.conns().len(), rig.drops()), (talks.len(), vec![]));
        }
    });
}

/// What is removed has its conns wherever they are, whatever the dests that stay say of whose conns are.
#[test]
fn conns_of_a_removed_dest_go_on_by_its_method() {
    use Forward::Dr;
    use Forward::FullNat;
    use Forward::Nat;
    use Forward::Tunnel;
    for (gone, stays) in [(Dr, Nat), (Tunnel, Nat), (Dr, FullNat), (Nat, Dr), (Nat, FullNat)] {
        every_setting(|workers, fixed, family, proto| {
            let at = net::service_index(family, proto, FullNat);
            let mut rig = rig(workers, fixed, |s| {
                let both = |d: &Dest| [gone, stays].contains(&d.forward);
                s.services[at].dests.retain(|c| both(&s.dests[c.id.0 as usize]));
            });
            let talks: Vec<_> = (0..CLIENTS)
                .map(|n| (usize::from(n) % workers, n))
                .map(|(at, n)| (at, open(&mut rig, at, (family, proto), (n, 7000))))
                .collect();
            rig.reload(|s| {
                let removed = dest(s, (family, proto), gone);
                s.services[at].dests.retain(|c| c.id != removed);
                s.services[at].version += 1;
                let removed = &mut s.dests[removed.0 as usize];
                (removed.removed, removed.weight) = (true, 0);
                if gone == Nat {
                    number_anew(s, at);
                }
            });
            for (nth, (at, talk)) in talks.iter().enumerate() {
                let arrivals = arrivals(&rig, *at);
                goes_on(&mut rig, talk, &arrivals);
                pieces_go_on(&mut rig, talk, *at, nth as u32);
            }
            assert_eq!((rig.conns().len(), rig.drops()), (talks.len(), vec![]));
        });
    }
}

/// A datagram in pieces finds its conn.
fn pieces_go_on(rig: &mut Rig, talk: &Talk, at: usize, id: u32) {
    if talk.proto != Proto::Udp {
        return;
    }
    let whole = talk.original(0).payload(b"more than sixteen bytes of payload");
    for (n, piece) in whole.cut(id, &[16, 24]).iter().enumerate() {
        let out = rig.feed_at((at + n) % rig.worker_count(), WAN, &[&piece.bytes()]);
        assert_eq!(out.sent.len(), 1, "{talk:?}: {:?}", rig.drops());
        assert_eq!(out.seen().eth.0, talk.at_dest.eth.0);
    }
}

/// Conns by full-NAT live where they arrived; then comes a dest by nat, to which one of them changes.
pub(super) fn before_nat(
    workers: usize,
    (family, proto): (Family, Proto),
) -> (Rig, Vec<(usize, Talk)>) {
    let at = net::service_index(family, proto, Forward::FullNat);
    let mut nat = None;
    let mut rig = rig(workers, true, |s| {
        s.dests.iter_mut().for_each(|d| d.traits.retries = 1);
        nat = Some(s.services[at].dests.remove(0));
        s.services[at].dests.retain(|c| s.dests[c.id.0 as usize].forward == Forward::FullNat);
    });
    let talks = (0..CLIENTS)
        .map(|n| (usize::from(n) % workers, n))
        .map(|(at, n)| (at, open(&mut rig, at, (family, proto), (n, 7000))))
        .collect();
    rig.reload(|s| {
        number_anew(s, at);
        let renewed = s.services[at].dests[0].id;
        s.services[at].dests[0].weight = 0;
        s.dests[renewed.0 as usize].weight = 0;
        s.services[at].dests.insert(0, nat.expect("there were four"));
    });
    (rig, talks)
}

/// No dest is removed any more, so that nobody looks for conns but with their owner.
fn only_owners_have_them(rig: &mut Rig) {
    rig.reload(|s| s.dests.iter_mut().for_each(|d| d.removed = false));
    assert!(!rig.snapshot().lookup.any_may_have_it());
}

/// These conns by nat are all there are, each lives where its answers go, and goes on wherever its packets come.
pub(super) fn are_at_home(rig: &mut Rig, talks: &[Talk]) {
    assert_eq!((rig.conns().len(), rig.sum(|s| &s.leases)), (talks.len(), 0));
    only_owners_have_them(rig);
    let all: Vec<_> = (0..rig.worker_count()).collect();
    talks.iter().for_each(|talk| goes_on(rig, talk, &all));
    assert_eq!((rig.conns().len(), rig.drops()), (talks.len(), vec![]));
}

/// By nat a conn is with the worker that answers go to, wherever that was whose place it takes.
#[test]
fn a_second_choice_by_nat_is_opened_where_its_answers_go() {
    for (workers, family) in [2, 3].into_iter().flat_map(|w| net::FAMILIES.map(|f| (w, f))) {
        let (mut rig, talks) = before_nat(workers, (family, Proto::Tcp));
        let mut others = Vec::new();
        for (at, first) in talks {
            let again = rig.feed_at(at, WAN, &[&first.original(flag::SYN).bytes()]).seen();
            let talk = Talk { forward: method(again.eth.0), at_dest: again, ..first };
            assert_eq!(talk.forward, Forward::Nat);
            is_by_its_method(&talk, family);
            others.push(talk);
        }
        are_at_home(&mut rig, &others);
    }
}

/// The same of datagrams, in pieces and whole, that `on_dead` gives another dest.
#[test]
fn a_datagram_reselected_to_nat_is_opened_where_its_answers_go() {
    for (workers, family) in [2, 3].into_iter().flat_map(|w| net::FAMILIES.map(|f| (w, f))) {
        let (mut rig, talks) = before_nat(workers, (family, Proto::Udp));
        rig.reload(|s| {
            for d in s.dests.iter_mut().filter(|d| d.removed) {
                (d.traits.superseded, d.traits.on_dead) = (false, OnDead::Reselect);
            }
        });
        rig.pass(Duration::from_secs(1));
        let mut others = Vec::new();
        for (n, (at, first)) in talks.into_iter().enumerate() {
            let whole = first.original(0).payload(b"more than sixteen bytes of payload");
            let sent = match n % 2 {
                0 => vec![whole],
                _ => whole.cut(n as u32, &[16, 24]),
            };
            let mut seen = Vec::new();
            for p in &sent {
                seen.extend(rig.feed_at(at, WAN, &[&p.bytes()]).sent);
            }
            assert_eq!(seen.len(), sent.len(), "{:?}", rig.drops());
            let seen: Vec<_> = seen.iter().map(|s| see::see(&s.bytes)).collect();
            assert!(seen.iter().all(|s| method(s.eth.0) == Forward::Nat));
            assert!(seen.iter().all(|s| (s.src.ip(), s.id) == (first.client.ip(), seen[0].id)));
            // One with ports, and so of the conn that is there.
            let at_dest = rig.feed_at(at, WAN, &[&first.original(0).bytes()]).seen();
            others.push(Talk { forward: Forward::Nat, at_dest, ..first });
        }
        are_at_home(&mut rig, &others);
    }
}

/// Where the conn that a first fragment finds is over, what is done to its source and its identification is for the
/// method of the one that begins to say.
#[test]
fn fragments_stay_together_when_a_conn_by_another_method_takes_the_place() {
    for first in [Forward::Nat, Forward::FullNat] {
        for second in METHODS.into_iter().filter(|m| *m != first) {
            every_setting(|workers, fixed, family, _| {
                let mut rig = rig(workers, fixed, |s| {
                    s.dests.iter_mut().for_each(|d| d.traits.replies = 1);
                    weigh(s, &[first]);
                });
                let talk = open(&mut rig, 0, (family, Proto::Udp), (7, 7000));
                let out = rig.feed(LAN, &talk.reply(0).bytes());
                assert_eq!(out.sent.len(), 1, "the only answer, with which it ends");
                rig.reload(|s| weigh(s, &[second]));
                let whole = talk.original(0).payload(b"more than sixteen bytes of payload");
                let mut ids = BTreeSet::new();
                for piece in whole.cut(77, &[16, 24]) {
                    let out = rig.feed(WAN, &piece.bytes());
                    assert_eq!(out.sent.len(), 1, "{first:?} {second:?}: {:?}", rig.drops());
                    let seen = match second {
                        Forward::Tunnel => see::see_ip(&out.seen().segment),
                        _ => out.seen(),
                    };
                    assert_eq!(method(out.seen().eth.0), second);
                    ids.insert(seen.id);
                }
                assert_eq!(ids.len(), 1, "{first:?} {second:?}");
            });
        }
    }
}

/// A stream that has begun elsewhere cannot go on under full-NAT, whose numbers are its own; by other methods it may.
#[test]
fn sloppy_conns_begin_by_methods_that_can_begin_them() {
    for workers in [1, 2] {
        for (forward, family) in METHODS.into_iter().flat_map(|m| net::FAMILIES.map(|f| (m, f))) {
            let mut rig = rig(workers, false, |s| {
                s.ipvs.sloppy_tcp = true;
                weigh(s, &[forward]);
            });
            let vip = net::service_addr(family, Forward::FullNat);
            let ack = Packet::tcp(net::client(family, 7, 40_000), vip, flag::ACK);
            let out = rig.feed(WAN, &ack.bytes());
            if forward == Forward::FullNat {
                assert_eq!((out.only().port, out.seen().tcp.map(|t| t.0)), (WAN, Some(flag::RST)));
                assert_eq!(rig.drops(), [(DropReason::NotSyn, 1)]);
                assert_eq!((rig.conns().len(), rig.sum(|s| &s.leases)), (0, 0));
            } else {
                assert_eq!((out.only().port, method(out.seen().eth.0)), (LAN, forward));
            }
        }
    }
}

/// `schedule_icmp`: an error about an answer that another director let through means nothing to a full-NAT dest.
#[test]
fn errors_begin_conns_by_methods_that_can_begin_them() {
    for (family, proto) in kinds() {
        for forward in METHODS {
            let mut rig = rig(1, false, |s| {
                s.ipvs.schedule_icmp = true;
                weigh(s, &[forward]);
            });
            let (client, vip) =
                (net::client(family, 7, 40_000), net::service_addr(family, Forward::FullNat));
            let heard = match proto {
                Proto::Udp => Packet::udp(vip, client),
                _ => Packet::tcp(vip, client, flag::ACK),
            };
            let kind = net::of(family, [3, 3], [1, 4]);
            let error = Packet::icmp(client.ip(), vip.ip(), kind, [0; 4], &heard.ip());
            let out = rig.feed(WAN, &error.bytes());
            if forward == Forward::FullNat {
                assert_eq!((out.sent.len(), rig.conns().len()), (0, 0));
                assert_eq!(rig.drops(), [(DropReason::IcmpUnknown, 1)]);
            } else {
                assert_eq!((out.only().port, method(out.seen().eth.0)), (LAN, forward));
            }
        }
    }
}

/// `nat_icmp_send` is about the dests that are by nat, whatever their service's others are by.
#[test]
fn only_dests_by_nat_are_told_that_their_packets_are_of_no_conn() {
    for forward in METHODS {
        let mut rig = rig(1, false, |s| s.ipvs.nat_icmp_send = true);
        let s = rig.snapshot();
        let dest = s.dest(dest(&s, (V4, Proto::Udp), forward));
        let from = SocketAddr::new(dest.addr.into(), dest.port);
        let stray = Packet::udp(from, net::client(V4, 7, 40_000));
        let out = rig.feed(LAN, &stray.from_lan(net::dest_mac(forward as usize)).bytes());
        assert_eq!(out.sent.len(), usize::from(forward == Forward::Nat), "{forward:?}");
    }
}
