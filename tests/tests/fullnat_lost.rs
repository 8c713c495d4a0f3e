//! Full-NAT's conns that live with another worker than the one that their clients' packets arrive at,
//! where what workers tell each other is lost: rings are full at times. And second choices for which
//! no worker has a port.

use pointsman_dataplane::conn::Conn;
use pointsman_dataplane::conn::Ends;
use pointsman_dataplane::service::Candidate;
use pointsman_dataplane::service::Forward;
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
use pointsman_tests::talk::Talk;
use std::time::Duration;

type Kind = (Family, Proto, Forward);

const TCP: Kind = (V4, Proto::Tcp, Forward::FullNat);
const UDP: Kind = (V4, Proto::Udp, Forward::FullNat);
/// Whose conn it is about.
const CLIENT: (u8, u16) = (1, 9);

/// Seconds that a datagram's conn lives: less than its fragments are remembered.
const UDP_TIMEOUT: u64 = 5;

/// Packets stay where they arrive, and each service has one dest.
fn rig(workers: usize) -> Rig {
    Rig::build(Options { workers, ..Options::default() }, |s, _| {
        s.ports.iter_mut().for_each(|p| p.fixed_queue = true);
        s.services.iter_mut().for_each(|s| s.dests.truncate(1));
        s.dests.iter_mut().for_each(|d| d.traits.udp_timeout = UDP_TIMEOUT as u32 * 1000);
    })
}

/// Whether a worker has ports toward v4 dests from now on.
fn set_ports(rig: &mut Rig, worker: usize, has: bool) {
    rig.reload_one(worker, |s| {
        s.pools[0].v4.clear();
        if has {
            s.pools[0].v4.push(net::pool_addr(V4).into());
        }
    });
}

fn living(rig: &Rig) -> Vec<(usize, Conn, Ends)> {
    rig.conns().into_iter().filter(|(_, c, _)| c.elsewhere().is_none()).collect()
}

/// Which workers have an entry of a conn that lives elsewhere, and with whom.
fn entries(rig: &Rig) -> Vec<(usize, usize)> {
    rig.conns().into_iter().filter_map(|(w, c, _)| Some((w, c.elsewhere()?))).collect()
}

/// A conn that lives with the last worker, and whose client's packets arrive at the first.
fn at_the_last(workers: usize, kind: Kind) -> (Rig, Talk) {
    let mut rig = rig(workers);
    (0..workers - 1).for_each(|worker| set_ports(&mut rig, worker, false));
    let talk = Talk::open(&mut rig, 0, kind, CLIENT);
    assert_eq!(living(&rig)[0].0, workers - 1);
    let expected: Vec<_> = (0..workers - 1).map(|w| (w, w + 1)).collect();
    assert_eq!(entries(&rig), expected);
    (rig, talk)
}

/// Then all workers have an entry and nobody has the conn: its end was not told, nor did the search
/// for another port reach the next worker when the client's queue became the last worker's.
fn make_circle(rig: &mut Rig, talk: &Talk) {
    let (workers, last) = (rig.worker_count(), rig.worker_count() - 1);
    rig.ended_room = 0;
    let lived = if talk.proto == Proto::Tcp { 61 } else { UDP_TIMEOUT };
    rig.now = rig.now + Duration::from_secs(lived);
    rig.housekeep();
    assert_eq!(living(rig).len(), 0, "its time was up");
    set_ports(rig, last, false);
    rig.ring_room = 0;
    assert!(rig.feed_at(last, WAN, &[&talk.original(flag::SYN).bytes()]).sent.is_empty());
    assert_eq!(rig.drops(), [(DropReason::HandoverFull, 1)]);
    (rig.ring_room, rig.ended_room) = (usize::MAX, usize::MAX);
    let expected: Vec<_> = (0..workers).map(|w| (w, (w + 1) % workers)).collect();
    assert_eq!(entries(rig), expected);
    (0..workers).for_each(|worker| set_ports(rig, worker, true));
}

fn circle(workers: usize, kind: Kind) -> (Rig, Talk) {
    let (mut rig, talk) = at_the_last(workers, kind);
    make_circle(&mut rig, &talk);
    (rig, talk)
}

#[test]
fn a_segment_that_entries_send_in_a_circle_is_answered_as_of_no_conn_and_the_next_syn_heals_it() {
    for workers in 2..5 {
        let (mut rig, talk) = circle(workers, TCP);
        let told = talk.say(&mut rig, flag::ACK).seen();
        assert_eq!((told.dst, told.tcp.unwrap().0 & flag::RST), (talk.client, flag::RST));
        assert_eq!(rig.dropped(DropReason::NotSyn), 1);
        assert_eq!(entries(&rig).len(), workers - 1, "one is forgotten");
        let again = Talk::open(&mut rig, 0, TCP, CLIENT);
        assert_eq!(living(&rig).len(), 1);
        assert_eq!(again.answer(&mut rig, flag::SYN | flag::ACK).seen().dst, talk.client);
        assert_eq!(again.say(&mut rig, flag::ACK).seen().src, again.at_dest.src);
    }
}

#[test]
fn a_syn_that_entries_send_in_a_circle_opens_a_conn() {
    for workers in 2..5 {
        let (mut rig, talk) = circle(workers, TCP);
        let again = Talk::open(&mut rig, 0, TCP, CLIENT);
        assert_eq!(again.answer(&mut rig, flag::SYN | flag::ACK).seen().dst, talk.client);
        assert_eq!(again.say(&mut rig, flag::ACK).seen().src, again.at_dest.src);
    }
}

#[test]
fn an_icmp_error_that_entries_send_in_a_circle_is_dropped_by_name() {
    for workers in 2..5 {
        let (mut rig, talk) = circle(workers, TCP);
        let answer = Packet::tcp(talk.vip, talk.client, flag::ACK).ip();
        let about = Packet::icmp(talk.client.ip(), talk.vip.ip(), [3, 3], [0; 4], &answer);
        assert!(rig.feed(WAN, &about.bytes()).sent.is_empty());
        assert_eq!(rig.dropped(DropReason::IcmpUnknown), 1);
        assert_eq!(entries(&rig).len(), workers - 1);
    }
}

#[test]
fn fragments_that_entries_send_in_a_circle_open_a_conn_or_are_orphans() {
    for workers in 2..5 {
        let (mut rig, talk) = circle(workers, UDP);
        let pieces = talk.original(0).payload(&[7; 2800]).cut(5, &[1400]);
        let first = rig.feed(WAN, &pieces[0].bytes());
        assert_eq!(first.sent.len(), 1, "{:?}", rig.drops());
        let second = rig.feed(WAN, &pieces[1].bytes()).seen();
        assert_eq!((second.src.ip(), second.id), (first.seen().src.ip(), first.seen().id));
    }
}

/// A datagram's rest comes when its conn's end has been told to nobody. Only where the worker that
/// gathers it has seen the first fragment, does anybody know where it belongs.
#[test]
fn later_fragments_that_entries_send_in_a_circle_are_orphans() {
    for workers in 2..5 {
        let mut circles = 0;
        for id in 0..10 {
            let (mut rig, talk) = at_the_last(workers, UDP);
            let pieces = talk.original(0).payload(&[7; 2800]).cut(id, &[1400, 2000]);
            assert_eq!(rig.feed(WAN, &pieces[0].bytes()).sent.len(), 1);
            make_circle(&mut rig, &talk);
            let out = rig.feed(WAN, &pieces[1].bytes());
            assert!(out.sent.is_empty());
            assert_eq!(rig.dropped(DropReason::FragmentOrphan), 1);
            circles += usize::from(entries(&rig).len() < workers);
        }
        assert!(circles > 0, "{workers}");
    }
}

#[test]
fn a_way_of_entries_is_no_circle() {
    let (mut rig, talk) = at_the_last(7, TCP);
    assert_eq!(talk.answer(&mut rig, flag::SYN | flag::ACK).seen().dst, talk.client);
    assert_eq!(talk.say(&mut rig, flag::ACK).seen().src, talk.at_dest.src);
    assert_eq!(entries(&rig).len(), 6);
}

/// A further dest of the service; it is offered what the first one does not answer.
fn add_dest(rig: &mut Rig, family: Family, n: usize) {
    let id = net::dest_id(family, Proto::Tcp, Forward::FullNat, n);
    for worker in 0..rig.worker_count() {
        rig.reload_one(worker, |s| {
            let service = &mut s.services[net::service_index(V4, Proto::Tcp, Forward::FullNat)];
            service.dests.push(Candidate { id, weight: 1, last_weight: 1 });
            service.version += 1;
            s.dests.iter_mut().for_each(|d| d.traits.retries = 1);
        });
    }
}

/// The search begins with the client's worker; workers beyond the one that has a port had entries
/// of the conn that was exchanged.
#[test]
fn entries_behind_the_new_owner_of_a_second_choice_go_at_once() {
    for (has_ports, remain) in [(0, vec![]), (1, vec![(0, 1)])] {
        let (mut rig, talk) = at_the_last(4, TCP);
        add_dest(&mut rig, V4, 1);
        (0..4).for_each(|worker| set_ports(&mut rig, worker, worker == has_ports));
        let second = talk.say(&mut rig, flag::SYN).seen();
        assert_eq!(second.dst.ip(), net::dest_addr(V4, 1));
        assert_eq!((living(&rig)[0].0, entries(&rig)), (has_ports, remain));
        let talk = Talk { at_dest: second, ..talk };
        assert_eq!(talk.answer(&mut rig, flag::SYN | flag::ACK).seen().dst, talk.client);
        assert_eq!(talk.say(&mut rig, flag::ACK).seen().src, talk.at_dest.src);
    }
}

/// The second dest is v6, and there is no v6 address to lease.
#[test]
fn a_second_choice_without_a_port_anywhere_stays_with_the_first_and_the_next_syn_tries_again() {
    for workers in [1, 2, 5] {
        let mut rig = rig(workers);
        let talk = Talk::open(&mut rig, 0, TCP, CLIENT);
        add_dest(&mut rig, V6, 0);
        let set_v6 = |rig: &mut Rig, has: bool| {
            for worker in 0..workers {
                rig.reload_one(worker, |s| {
                    s.pools[0].v6.clear();
                    if has {
                        s.pools[0].v6.push(net::pool_addr(V6).into());
                    }
                });
            }
        };
        set_v6(&mut rig, false);
        for _ in 0..2 {
            let again = talk.say(&mut rig, flag::SYN).seen();
            assert_eq!(again.dst.ip(), net::dest_addr(V4, 0), "{:?}", rig.drops());
            let (worker, conn, _) = living(&rig)[0];
            assert_eq!((conn.tries(), living(&rig).len()), (0, 1));
            assert_eq!(entries(&rig).len(), worker);
            let talk = Talk { at_dest: again, ..talk.clone() };
            assert_eq!(talk.say(&mut rig, flag::RST).sent.len(), 1, "it is found");
        }
        assert!(rig.drops().is_empty(), "{:?}", rig.drops());
        set_v6(&mut rig, true);
        let second = talk.say(&mut rig, flag::SYN).seen();
        assert_eq!(second.dst.ip(), net::dest_addr(V6, 0));
        assert_eq!(living(&rig)[0].1.tries(), 1);
        let from_second = Packet::tcp(second.dst, second.src, flag::SYN | flag::ACK);
        let answer = rig.feed(LAN, &from_second.from_lan(second.eth.0).bytes());
        assert_eq!(answer.seen().dst, talk.client);
    }
}
