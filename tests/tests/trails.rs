//! Later fragments of a datagram whose conn begins at another worker than the one that had the conn before: they come behind
//! the first one, wherever it goes, and all of them may come in one burst.

use super::methods::are_at_home;
use super::methods::before_nat;
use super::methods::method;
use pointsman_dataplane::service::Candidate;
use pointsman_dataplane::service::Dest;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::OnDead;
use pointsman_dataplane::service::Persistence;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Proto;
use pointsman_tests::net;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::see::Seen;
use pointsman_tests::talk::Talk;
use std::collections::BTreeSet;
use std::time::Duration;

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// A datagram's three pieces in one burst, in this order; what comes out, which is all of them, of one name.
fn burst(rig: &mut Rig, at: usize, talk: &Talk, (id, order): (u32, usize)) -> Vec<Seen> {
    let whole = talk.original(0).payload(b"more than sixteen bytes of payload");
    let pieces = whole.cut(id, &[16, 24]);
    let frames = ORDERS[order % ORDERS.len()].map(|n| pieces[n].bytes());
    let out = rig.feed_at(at, WAN, &frames.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert_eq!(out.sent.len(), 3, "{talk:?}: {:?}", rig.drops());
    let seen: Vec<_> = out.sent.iter().map(|s| see::see(&s.bytes)).collect();
    let names: BTreeSet<_> = seen.iter().map(|s| (s.src.ip(), s.dst.ip(), s.id)).collect();
    assert_eq!(names.len(), 1);
    assert_eq!(seen[0].src.ip(), talk.client.ip());
    seen
}

/// The server was taken out, and its conns are for others by their client's next datagram.
fn reselects(s: &mut Snapshot) {
    for d in s.dests.iter_mut().filter(|d| d.removed) {
        (d.weight, d.traits.superseded, d.traits.on_dead) = (0, false, OnDead::Reselect);
    }
}

fn persistence(family: Family) -> Option<Persistence> {
    Some(Persistence { timeout: 360, prefix: net::of(family, 32, 128) })
}

/// The first one goes to the worker that keeps the template and back, and then where answers will come.
#[test]
fn a_persistent_clients_fragments_follow_the_first_that_is_reselected_to_nat() {
    for (workers, family) in [2, 3, 4].into_iter().flat_map(|w| net::FAMILIES.map(|f| (w, f))) {
        for persistent in [false, true] {
            let (mut rig, talks) = before_nat(workers, (family, Proto::Udp));
            rig.reload(|s| {
                reselects(s);
                let at = net::service_index(family, Proto::Udp, Forward::FullNat);
                s.services[at].terms.persistence = persistence(family).filter(|_| persistent);
            });
            rig.pass(Duration::from_secs(1));
            let mut others = Vec::new();
            for (n, (at, first)) in talks.into_iter().enumerate() {
                let seen = burst(&mut rig, at, &first, (n as u32, n));
                assert!(seen.iter().all(|s| method(s.eth.0) == Forward::Nat));
                let at_dest = rig.feed_at(at, WAN, &[&first.original(0).bytes()]).seen();
                others.push(Talk { forward: Forward::Nat, at_dest, ..first });
            }
            are_at_home(&mut rig, &others);
        }
    }
}

/// The full-NAT service's dest gives way to another one, by dr or full-NAT.
fn give_way(s: &mut Snapshot, family: Family, by: Forward) {
    let at = net::service_index(family, Proto::Udp, Forward::FullNat);
    let old = s.services[at].dests[0].id;
    let id = DestId(s.dests.len() as u32);
    let like = s.dest(net::dest_id(family, Proto::Udp, by, 1)).clone();
    let port = match by {
        Forward::Dr => net::service_port(Forward::FullNat),
        _ => like.port,
    };
    s.dests.push(Dest { port, ..like });
    s.dests[old.0 as usize].removed = true;
    s.services[at].dests = vec![Candidate { id, weight: 1, last_weight: 1 }];
    s.services[at].version += 1;
    reselects(s);
}

/// Conns of the worker that has no port, which live with the next one; their server has given way.
fn sent_on(
    workers: usize,
    family: Family,
    sender: usize,
    persistent: bool,
    by: Forward,
) -> (Rig, Vec<Talk>) {
    let at = net::service_index(family, Proto::Udp, Forward::FullNat);
    let mut rig = Rig::build(Options { workers, ..Options::default() }, |s, _| {
        s.ports.iter_mut().for_each(|p| p.fixed_queue = true);
        s.services[at].dests.truncate(1);
        s.services[at].terms.persistence = persistence(family).filter(|_| persistent);
    });
    rig.reload_one(sender, |s| {
        s.pools[0].v4.clear();
        s.pools[0].v6.clear();
    });
    let kind = (family, Proto::Udp, Forward::FullNat);
    let talks: Vec<_> = (0..12).map(|n| Talk::open(&mut rig, sender, kind, (n, 7000))).collect();
    let next = (sender + 1) % workers;
    let lives = |rig: &Rig| {
        rig.conns().iter().filter(|(w, c, _)| *w == next && c.elsewhere().is_none()).count()
    };
    assert_eq!(lives(&rig), talks.len());
    let mut last = (*rig.snapshot()).clone();
    // The others' snapshot, whichever is the sender.
    last.pools[0].v4 = vec![net::pool_addr(Family::V4).into()];
    last.pools[0].v6 = vec![net::pool_addr(Family::V6).into()];
    rig.reload(|s| {
        *s = last;
        give_way(s, family, by);
    });
    rig.pass(Duration::from_secs(1));
    (rig, talks)
}

fn every_sender(run: impl Fn(usize, Family, usize, bool)) {
    for (workers, family) in [2, 3, 4].into_iter().flat_map(|w| net::FAMILIES.map(|f| (w, f))) {
        for sender in 0..workers {
            [false, true]
                .into_iter()
                .for_each(|persistent| run(workers, family, sender, persistent));
        }
    }
}

/// The first one is sent on by an entry to the worker that had a port for its conn, and comes back, since another method
/// needs none.
#[test]
fn fragments_follow_the_first_back_from_the_worker_that_had_a_port() {
    every_sender(|workers, family, sender, persistent| {
        let (mut rig, talks) = sent_on(workers, family, sender, persistent, Forward::Dr);
        for (n, talk) in talks.iter().enumerate() {
            // By each worker: with fragments it is the datagram that decides about the queue.
            burst(&mut rig, (sender + n) % workers, talk, (n as u32, n));
            assert_eq!(rig.feed_at(sender, WAN, &[&talk.original(0).bytes()]).sent.len(), 1);
        }
        assert!(rig.conns().iter().all(|(w, c, _)| (*w, c.elsewhere()) == (sender, None)));
        assert_eq!((rig.conns().len(), rig.drops()), (talks.len(), vec![]));
    });
}

/// So do whole ones: nobody has to be asked for them, and what sent them on need not look for them when nobody is asked
/// for conns of removed dests any more.
#[test]
fn a_reselected_datagrams_conn_is_where_its_clients_packets_arrive_or_are_sent_on_to() {
    for by in [Forward::Dr, Forward::FullNat] {
        every_sender(|workers, family, sender, persistent| {
            let (mut rig, talks) = sent_on(workers, family, sender, persistent, by);
            let send = |rig: &mut Rig, talk: &Talk| {
                let out = rig.feed_at(sender, WAN, &[&talk.original(0).bytes()]);
                assert_eq!(out.sent.len(), 1, "{talk:?}: {:?}", rig.drops());
                (out.seen().src, out.seen().dst, out.seen().eth.0)
            };
            let began: Vec<_> = talks.iter().map(|talk| send(&mut rig, talk)).collect();
            rig.reload(|s| s.dests.iter_mut().for_each(|d| d.removed = false));
            assert!(!rig.snapshot().lookup.any_may_have_it());
            let goes_on: Vec<_> = talks.iter().map(|talk| send(&mut rig, talk)).collect();
            assert_eq!(began, goes_on);
            let living = rig.conns().iter().filter(|(_, c, _)| c.elsewhere().is_none()).count();
            assert_eq!((living, rig.drops()), (talks.len(), vec![]), "{by:?}");
        });
    }
}
