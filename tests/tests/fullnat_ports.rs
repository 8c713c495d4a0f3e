//! Full-NAT's ports toward one dest when they run out: lent again, and sought at other workers.

use pointsman_dataplane::conn::Conn;
use pointsman_dataplane::conn::Ends;
use pointsman_dataplane::conn::State;
use pointsman_dataplane::frame::BURST;
use pointsman_dataplane::laddr::FIRST_PORT;
use pointsman_dataplane::laddr::PORTS;
use pointsman_dataplane::service::Candidate;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::ServiceId;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::see::Seen;
use pointsman_tests::talk::Talk;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

const KIND: (pointsman_dataplane::tuple::Family, Proto, Forward) =
    (V4, Proto::Tcp, Forward::FullNat);

/// One dest, rewriting on, all clients at worker 0, and room for so many conns per worker.
fn rig(workers: usize, conns: usize) -> Rig {
    Rig::build(Options { workers, conns, ..Options::default() }, |s, _| {
        s.dests.iter_mut().for_each(|d| d.traits.rewrite = true);
        s.ports.iter_mut().for_each(|p| p.fixed_queue = true);
        s.services[net::service_index(V4, Proto::Tcp, Forward::FullNat)].dests.truncate(1);
    })
}

/// Ports that belong to a worker.
fn share(worker: usize, workers: usize) -> usize {
    (FIRST_PORT..=u16::MAX).filter(|p| usize::from(*p) % workers == worker).count()
}

/// The client of number `n`: 50,000 ports each.
fn client(n: usize) -> SocketAddr {
    net::client(V4, 100 + (n / 50_000) as u8, 2000 + (n % 50_000) as u16)
}

fn packet(client: SocketAddr, flags: u8) -> Vec<u8> {
    Packet::tcp(client, net::service_addr(V4, Forward::FullNat), flags).bytes()
}

/// Feeds a packet of each client to worker 0; gives what came out.
fn feed(rig: &mut Rig, clients: impl Iterator<Item = usize>, flags: u8) -> Vec<Seen> {
    let frames: Vec<_> = clients.map(|n| packet(client(n), flags)).collect();
    let mut all = Vec::new();
    for burst in frames.chunks(BURST) {
        let burst: Vec<_> = burst.iter().map(Vec::as_slice).collect();
        all.extend(rig.feed_at(0, WAN, &burst).sent.iter().map(|s| see::see(&s.bytes)));
    }
    all
}

/// Conns, without the entries of those that live elsewhere.
fn living(rig: &Rig) -> Vec<(usize, Conn, Ends)> {
    rig.conns().into_iter().filter(|(_, c, _)| c.elsewhere().is_none()).collect()
}

/// Entries of conns that live elsewhere.
fn entries(rig: &Rig) -> usize {
    rig.conns().len() - living(rig).len()
}

/// The conn of a client, lent ones included.
fn of(rig: &Rig, client: SocketAddr) -> (usize, Conn, Ends) {
    let own: Vec<_> = living(rig)
        .into_iter()
        .filter(|(_, _, e)| e.caddr == client.ip().into() && e.cport == client.port())
        .collect();
    assert_eq!(own.len(), 1, "{own:?}");
    own[0]
}

const MANY: usize = 16;
/// Where the ports of all of them are to be used up.
const FEW: usize = 4;

/// Opens a conn for each client at worker 0.
fn fill(rig: &mut Rig, clients: std::ops::Range<usize>) {
    let all = clients.len();
    let sent = rig.feed_many(0, WAN, clients.map(|n| packet(client(n), flag::SYN))).sent;
    assert_eq!(sent.len(), all, "{:?}", rig.drops());
}

/// Lets time pass, and many conns that are over end, which takes some turns.
fn pass(rig: &mut Rig, seconds: u64) {
    rig.pass(Duration::from_secs(seconds));
    for _ in 0..100 {
        rig.housekeep();
    }
}

#[test]
fn conns_that_have_ended_lend_their_ports_oldest_first_once_no_idle_one_is_left() {
    let mut rig = rig(FEW, 70_000);
    let talks: Vec<_> = (0..3).map(|n| Talk::open(&mut rig, 0, KIND, (n, 9))).collect();
    let alive = Talk::open(&mut rig, 0, KIND, (3, 9));
    // In the order 1, 0, 2; by FINs, by a reset of the client, by one of the dest.
    talks[1].finish(&mut rig);
    rig.now = rig.now + Duration::from_millis(5);
    talks[0].say(&mut rig, flag::ACK);
    talks[0].say(&mut rig, flag::RST);
    rig.now = rig.now + Duration::from_millis(5);
    talks[2].answer(&mut rig, flag::SYN | flag::ACK);
    talks[2].answer(&mut rig, flag::RST | flag::ACK);
    let states = [State::Close, State::TimeWait, State::Close];
    let left = PORTS as usize - 4;
    fill(&mut rig, 0..left);
    assert_eq!(rig.sum(|s| &s.lent), 0, "there were idle ones");
    let borrowed = feed(&mut rig, left..left + 3, flag::SYN);
    let ports: Vec<_> = borrowed.iter().map(|s| s.src).collect();
    assert_eq!(ports, [1, 0, 2].map(|n: usize| talks[n].at_dest.src), "oldest first");
    assert_eq!(rig.sum(|s| &s.lent), 3);
    for (talk, state) in talks.iter().zip(states) {
        let (_, conn, _) = of(&rig, talk.client);
        assert_eq!((conn.state(), conn.is_lent()), (state, true), "still listed");
    }
    assert_eq!(alive.say(&mut rig, flag::ACK).seen().src, alive.at_dest.src);
}

/// A conn in TIME_WAIT whose port serves another one.
fn lent() -> (Rig, Talk, Talk) {
    let mut rig = rig(FEW, 70_000);
    let old = Talk::open(&mut rig, 0, KIND, (1, 9));
    old.finish(&mut rig);
    fill(&mut rig, 0..PORTS as usize - 1);
    let new = Talk::open(&mut rig, 0, KIND, (2, 9));
    assert_eq!(new.at_dest.src, old.at_dest.src);
    (rig, old, new)
}

#[test]
fn nothing_of_a_conn_is_sent_any_more_whose_port_is_lent() {
    let (mut rig, old, new) = lent();
    for (n, flags) in [flag::ACK, flag::RST, flag::FIN | flag::ACK].into_iter().enumerate() {
        assert!(old.say(&mut rig, flags).sent.is_empty());
        assert_eq!(rig.drops(), [(DropReason::LateSegment, n as u64 + 1)]);
    }
    assert_eq!(of(&rig, old.client).1.state(), State::TimeWait, "and nothing moves it");
    // What the dest says on that port is for the new conn's client.
    assert_eq!(old.answer(&mut rig, flag::SYN | flag::ACK).seen().dst, new.client);
    // Nor do errors about it reach the old one's.
    let about =
        Packet::icmp(old.at_dest.dst.ip(), old.at_dest.src.ip(), [3, 3], [0; 4], &new.at_dest.ip);
    let out = rig.feed(net::LAN, &about.from_lan(new.at_dest.eth.0).bytes());
    assert_eq!(out.seen().dst.ip(), new.client.ip());
}

#[test]
fn a_lent_conn_ends_in_its_time_and_its_port_stays_with_the_new_one() {
    let (mut rig, old, new) = lent();
    new.answer(&mut rig, flag::SYN | flag::ACK);
    new.say(&mut rig, flag::ACK);
    pass(&mut rig, 122);
    assert_eq!(living(&rig).len(), 1, "the new one is established, all others are over");
    assert_eq!(rig.sum(|s| &s.leases), 1);
    assert_eq!(new.say(&mut rig, flag::ACK).seen().src, old.at_dest.src);
}

#[test]
fn a_syn_of_a_lent_conns_client_starts_afresh() {
    let (mut rig, old, new) = lent();
    new.finish(&mut rig);
    let again = Talk::open(&mut rig, 0, KIND, (1, 9));
    assert_eq!(again.at_dest.src, old.at_dest.src, "the one that the new one lends by now");
    assert!(of(&rig, new.client).1.is_lent());
    let (_, conn, _) = of(&rig, old.client);
    assert_eq!((conn.state(), conn.is_lent()), (State::SynRecv, false));
    assert_eq!(again.answer(&mut rig, flag::SYN | flag::ACK).seen().dst, old.client);
    assert!(new.say(&mut rig, flag::ACK).sent.is_empty());
}

#[test]
fn a_lent_port_begins_past_what_the_dest_saw_of_the_conn_that_lends_it() {
    let mut rig = rig(FEW, 70_000);
    let old = Talk::open(&mut rig, 0, KIND, (1, 9));
    let begun = old.at_dest.tcp.unwrap().1;
    // Far more than the clock makes of no time.
    let segment = |flags, seq| {
        let body = pointsman_tests::craft::Body::Tcp { flags, seq, ack: 1 };
        Packet { body, ..old.original(flags) }.bytes()
    };
    old.answer(&mut rig, flag::SYN | flag::ACK);
    for seq in (1000..=500_001_000).step_by(50_000_000) {
        rig.feed(WAN, &segment(flag::ACK, seq));
    }
    rig.feed(WAN, &segment(flag::FIN | flag::ACK, 500_001_000));
    old.answer(&mut rig, flag::FIN | flag::ACK);
    rig.feed(WAN, &segment(flag::ACK, 500_001_001));
    fill(&mut rig, 0..PORTS as usize - 1);
    let new = Talk::open(&mut rig, 0, KIND, (2, 9));
    assert_eq!(new.at_dest.src, old.at_dest.src);
    let ahead = new.at_dest.tcp.unwrap().1.wrapping_sub(begun.wrapping_add(500_000_000));
    assert!((1..1 << 31).contains(&ahead), "{ahead}");
}

/// "A pool or SNAT address that is also a VIP never leases a port a service on it uses."
#[test]
fn a_port_that_has_become_a_services_is_not_lent() {
    let mut rig = rig(FEW, 70_000);
    let talks: Vec<_> = (0..2).map(|n| Talk::open(&mut rig, 0, KIND, (n, 9))).collect();
    talks.iter().for_each(|talk| {
        talk.finish(&mut rig);
        rig.now = rig.now + Duration::from_millis(5);
    });
    fill(&mut rig, 0..PORTS as usize - 2);
    rig.reload(|s| {
        let mut other = s.services[net::service_index(V4, Proto::Tcp, Forward::Nat)].clone();
        other.id = ServiceId(s.services.len() as u32);
        (other.addr, other.port) = (net::pool_addr(V4).into(), talks[0].at_dest.src.port());
        s.services.push(other);
    });
    let new = Talk::open(&mut rig, 0, KIND, (2, 9));
    assert_eq!(new.at_dest.src, talks[1].at_dest.src, "not that of the one ended longest ago");
    assert!(!of(&rig, talks[0].client).1.is_lent());
    let syn = net::client(V4, 3, 9);
    assert!(rig.feed(WAN, &packet(syn, flag::SYN)).sent.is_empty());
    assert_eq!(rig.drops(), [(DropReason::NoLease, 1)]);
}

#[test]
fn a_port_is_lent_only_when_no_worker_has_an_idle_one() {
    let mut rig = rig(MANY, 6000);
    let ended = Talk::open(&mut rig, 0, KIND, (1, 9));
    ended.finish(&mut rig);
    fill(&mut rig, 0..share(0, MANY) - 1);
    let new = Talk::open(&mut rig, 0, KIND, (2, 9));
    assert_eq!((of(&rig, new.client).0, rig.sum(|s| &s.lent)), (1, 0));
    assert!(!of(&rig, ended.client).1.is_lent());
}

/// The first worker that has such a conn, which need not be the one that asks.
#[test]
fn a_port_may_be_lent_by_another_worker() {
    let mut rig = rig(FEW, 70_000);
    fill(&mut rig, 0..share(0, FEW));
    let old = Talk::open(&mut rig, 0, KIND, (1, 9));
    assert_eq!(of(&rig, old.client).0, 1);
    old.finish(&mut rig);
    fill(&mut rig, share(0, FEW)..PORTS as usize - 1);
    let before = entries(&rig);
    let new = Talk::open(&mut rig, 0, KIND, (2, 9));
    assert_eq!((new.at_dest.src, of(&rig, new.client).0), (old.at_dest.src, 1));
    assert_eq!((rig.sum(|s| &s.lent), entries(&rig)), (1, before + 1), "one entry, at worker 0");
    assert_eq!(new.answer(&mut rig, flag::SYN | flag::ACK).seen().dst, new.client);
    assert_eq!(new.say(&mut rig, flag::ACK).seen().src, new.at_dest.src);
    pass(&mut rig, 125);
    assert_eq!((living(&rig).len(), entries(&rig)), (1, 1), "the new one is established");
}

/// Two dests, of which `fill_second` workers' ports toward the second are in use; the client's conn
/// is with the first one, at worker `at`.
fn before_a_second_choice(at: usize, fill_second: usize) -> (Rig, Talk) {
    let mut rig = rig(MANY, 60_000);
    let (service, index) = (
        |n| net::dest_id(V4, Proto::Tcp, Forward::FullNat, n),
        net::service_index(V4, Proto::Tcp, Forward::FullNat),
    );
    let only = |rig: &mut Rig, n: &[usize]| {
        rig.reload(|s| {
            let candidate = s.services[index].dests[0];
            let dest = |n: &usize| Candidate { id: service(*n), ..candidate };
            s.services[index].dests = n.iter().map(dest).collect();
            s.services[index].version += 1;
            s.dests.iter_mut().for_each(|d| d.traits.retries = 1);
        });
    };
    let ports = |workers: usize| (0..workers).map(|w| share(w, MANY)).sum::<usize>();
    only(&mut rig, &[1]);
    fill(&mut rig, 0..ports(fill_second));
    only(&mut rig, &[0]);
    fill(&mut rig, 20_000..20_000 + ports(at));
    let talk = Talk::open(&mut rig, 0, KIND, (1, 9));
    assert_eq!(of(&rig, talk.client).0, at);
    only(&mut rig, &[0, 1]);
    (rig, talk)
}

#[test]
fn a_second_choice_without_a_port_here_asks_other_workers() {
    for (at, fill_second, to) in [(0, 1, 1), (1, 2, 2), (2, 3, 3), (2, 1, 2), (1, 0, 1)] {
        let (mut rig, talk) = before_a_second_choice(at, fill_second);
        let others = entries(&rig) - at;
        let second = talk.say(&mut rig, flag::SYN).seen();
        assert_eq!(second.dst.ip(), net::dest_addr(V4, 1));
        assert_eq!((of(&rig, talk.client).0, entries(&rig)), (to, others + to));
        let talk = Talk { at_dest: second.clone(), ..talk };
        assert_eq!(talk.answer(&mut rig, flag::SYN | flag::ACK).seen().dst, talk.client);
        assert_eq!(talk.say(&mut rig, flag::ACK).seen().src, second.src, "{:?}", rig.drops());
        // And it is the last choice.
        assert_eq!(of(&rig, talk.client).1.tries(), 1);
        talk.say(&mut rig, flag::RST);
        rig.pass(Duration::from_secs(100));
        assert_eq!((living(&rig).len(), entries(&rig)), (0, 0));
    }
}

#[test]
fn with_all_clients_at_one_worker_of_four_every_port_toward_a_dest_is_used() {
    let mut rig = rig(4, 70_000);
    let all = PORTS as usize;
    let seen = feed(&mut rig, 0..all, flag::SYN);
    assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    let ports: BTreeSet<_> = seen.iter().map(|s| s.src.port()).collect();
    assert_eq!((seen.len(), ports.len()), (all, all));
    assert_eq!(ports.first(), Some(&FIRST_PORT));
    // Each lives with the worker its port belongs to.
    for (worker, conn, ends) in living(&rig) {
        assert_eq!(usize::from(ends.lport) % 4, worker, "{conn:?}");
    }
    // Not one more, and nothing remains of the asking.
    let before = entries(&rig);
    assert!(feed(&mut rig, all..all + 1, flag::SYN).is_empty());
    assert_eq!(rig.drops(), [(DropReason::NoLease, 1)]);
    assert_eq!(entries(&rig), before);
    // Later packets of all of them find their conns.
    let sample: Vec<_> = (0..all).step_by(997).collect();
    let acks = feed(&mut rig, sample.iter().copied(), flag::ACK);
    for (n, ack) in sample.iter().zip(&acks) {
        assert_eq!(ack.src.port(), seen.iter().map(|s| s.src.port()).nth(*n).unwrap());
    }
}

/// All ports of worker 0 in use, and one conn more, which lives with worker 1 or a later one.
fn sent_on(workers: usize) -> (Rig, Talk) {
    let mut rig = rig(workers, 8000);
    let own = share(0, workers);
    assert_eq!(feed(&mut rig, 0..own, flag::SYN).len(), own);
    let talk = Talk::open(&mut rig, 0, KIND, (1, 9));
    assert_eq!((of(&rig, talk.client).0, entries(&rig)), (1, 1));
    (rig, talk)
}

#[test]
fn a_conn_that_lives_elsewhere_is_reached_by_its_clients_packets_and_its_dests() {
    let (mut rig, talk) = sent_on(MANY);
    assert_eq!(talk.answer(&mut rig, flag::SYN | flag::ACK).seen().dst, talk.client);
    for _ in 0..3 {
        assert_eq!(talk.say(&mut rig, flag::ACK).seen().src, talk.at_dest.src);
    }
    assert_eq!(of(&rig, talk.client).1.state(), State::Established);
}

#[test]
fn a_syn_sent_twice_finds_the_conn_that_lives_elsewhere() {
    let (mut rig, talk) = sent_on(MANY);
    assert_eq!(talk.say(&mut rig, flag::SYN).seen().src, talk.at_dest.src);
    assert_eq!((of(&rig, talk.client).0, entries(&rig)), (1, 1));
}

#[test]
fn the_entry_goes_when_the_conn_ends() {
    let (mut rig, talk) = sent_on(MANY);
    talk.answer(&mut rig, flag::SYN | flag::ACK);
    talk.say(&mut rig, flag::ACK);
    talk.say(&mut rig, flag::RST);
    rig.pass(Duration::from_secs(12));
    assert_eq!(entries(&rig), 0);
    let living = living(&rig);
    assert!(!living.iter().any(|(_, _, e)| e.caddr == talk.client.ip().into()));
}

#[test]
fn the_entries_go_when_many_conns_end_at_once() {
    let (mut rig, _) = sent_on(MANY);
    let own = share(0, MANY);
    let more = feed(&mut rig, own..own + 2000, flag::SYN);
    assert_eq!((more.len(), entries(&rig)), (2000, 2001));
    // All SYN_RECV are over after 60 s; the sweep closes them in a few calls.
    rig.pass(Duration::from_secs(90));
    assert_eq!((living(&rig).len(), entries(&rig)), (0, 0));
}

#[test]
fn a_tuple_started_afresh_where_it_lived_is_still_found() {
    let (mut rig, talk) = sent_on(MANY);
    talk.finish(&mut rig);
    assert_eq!(of(&rig, talk.client).1.state(), State::TimeWait);
    let again = Talk::open(&mut rig, 0, KIND, (1, 9));
    again.answer(&mut rig, flag::SYN | flag::ACK);
    let out = again.say(&mut rig, flag::ACK);
    assert_eq!(out.seen().src, again.at_dest.src, "{:?}", rig.drops());
    assert!(rig.drops().is_empty());
}

#[test]
fn a_second_choice_of_a_conn_that_lives_elsewhere_is_still_found() {
    let (mut rig, talk) = sent_on(MANY);
    rig.reload(|s| {
        let i = net::service_index(V4, Proto::Tcp, Forward::FullNat);
        let mut other = s.services[i].dests[0];
        other.id = net::dest_id(V4, Proto::Tcp, Forward::FullNat, 1);
        s.services[i].dests.push(other);
        s.services[i].version += 1;
        s.dests.iter_mut().for_each(|d| d.traits.retries = 1);
    });
    let second = talk.say(&mut rig, flag::SYN).seen();
    assert_ne!(second.dst, talk.at_dest.dst);
    let talk = Talk { at_dest: second.clone(), ..talk };
    assert_eq!(talk.answer(&mut rig, flag::SYN | flag::ACK).seen().dst, talk.client);
    let out = talk.say(&mut rig, flag::ACK);
    assert_eq!(out.seen().src, second.src, "{:?}", rig.drops());
}

#[test]
fn errors_about_a_conn_that_lives_elsewhere_reach_their_ends_from_any_worker() {
    let (mut rig, talk) = sent_on(MANY);
    talk.answer(&mut rig, flag::SYN | flag::ACK);
    let to_client = talk.answer(&mut rig, flag::ACK).seen();
    let to_dest = talk.say(&mut rig, flag::ACK).seen();
    for w in 0..MANY {
        let p = Packet::icmp(talk.client.ip(), talk.vip.ip(), [3, 3], [0; 4], &to_client.ip);
        let out = rig.feed_at(w, WAN, &[&p.bytes()]);
        assert_eq!(out.only().port, net::LAN, "at {w}");
        assert_eq!(out.seen().dst.ip(), talk.at_dest.dst.ip());
        let (dest, local) = (to_dest.dst.ip(), to_dest.src.ip());
        let p = Packet::icmp(dest, local, [3, 3], [0; 4], &to_dest.ip).from_lan(to_dest.eth.0);
        let out = rig.feed_at(w, net::LAN, &[&p.bytes()]);
        assert_eq!(out.seen().dst.ip(), talk.client.ip(), "at {w}");
    }
    assert!(rig.drops().is_empty(), "{:?}", rig.drops());
}

/// That a conn has ended may fail to be told.
#[test]
fn an_entry_that_outlives_its_conn_sends_no_syn_round_for_ever() {
    let (mut rig, talk) = sent_on(MANY);
    rig.now = rig.now + Duration::from_secs(61);
    let now = rig.now;
    let (pipeline, outbox, pool) = rig.parts(1);
    pipeline.housekeeping(now, pool, outbox);
    assert!(pipeline.conns().is_empty());
    assert_eq!(outbox.ended.len(), 1, "worker 0 is to be told");
    outbox.ended.clear();
    rig.settled(1);
    assert_eq!(entries(&rig), 1);
    // No worker has a port any more.
    rig.reload(|s| s.pools[0].v4.clear());
    assert!(talk.say(&mut rig, flag::SYN).sent.is_empty());
    assert_eq!(rig.drops(), [(DropReason::NoLease, 1)]);
}

#[test]
fn a_syn_by_an_entry_that_outlived_its_conn_opens_one_that_is_found() {
    let (mut rig, talk) = sent_on(MANY);
    rig.now = rig.now + Duration::from_secs(61);
    let now = rig.now;
    let (pipeline, outbox, pool) = rig.parts(1);
    pipeline.housekeeping(now, pool, outbox);
    outbox.ended.clear();
    rig.settled(1);
    let again = Talk::open(&mut rig, 0, KIND, (1, 9));
    again.answer(&mut rig, flag::SYN | flag::ACK);
    assert_eq!(again.say(&mut rig, flag::ACK).seen().src, again.at_dest.src);
    assert_eq!(again.vip, talk.vip);
}

#[test]
fn the_gauge_of_conns_follows_when_an_entry_is_forgotten() {
    // The rig holds the gauge against the table after every call, so also after the last here.
    let (mut rig, talk) = sent_on(MANY);
    talk.say(&mut rig, flag::ACK);
    talk.say(&mut rig, flag::RST);
    rig.pass(Duration::from_secs(12));
    assert_eq!(rig.stats(0).conns.get(), share(0, MANY) as u64);
}

#[test]
fn where_an_idle_worker_has_no_room_for_the_conn_the_syn_is_dropped_by_name_and_no_entry_stays() {
    let own = share(0, MANY);
    // Exactly as many conns as ports: the asking worker cannot keep an entry.
    let mut rig = rig(MANY, own);
    assert_eq!(feed(&mut rig, 0..own, flag::SYN).len(), own);
    assert!(feed(&mut rig, own..own + 1, flag::SYN).is_empty());
    assert_eq!(rig.drops(), [(DropReason::TableFull, 1)]);
    assert_eq!(entries(&rig), 0);
}

/// What needs no port belongs to the worker that the client's packets arrive at, not to the one that had a port for the
/// conn of before.
#[test]
fn a_second_choice_by_another_method_goes_back_to_its_owner() {
    for (at, forward) in [(0, Forward::Dr), (1, Forward::Dr), (2, Forward::Tunnel)] {
        let (mut rig, talk) = before_a_second_choice(at, 0);
        rig.reload(|s| {
            let id = net::dest_id(V4, Proto::Tcp, Forward::FullNat, 1);
            let dest = &mut s.dests[id.0 as usize];
            (dest.forward, dest.port) = (forward, talk.vip.port());
        });
        let (others, leases) = (entries(&rig) - at, rig.sum(|s| &s.leases));
        let second = talk.say(&mut rig, flag::SYN).seen();
        assert_eq!(second.eth.0, net::dest_mac(1), "{:?}", rig.drops());
        assert_eq!((of(&rig, talk.client).0, entries(&rig)), (0, others), "no entry leads away");
        assert_eq!(rig.sum(|s| &s.leases), leases - 1);
        assert_eq!(talk.say(&mut rig, flag::ACK).seen().eth.0, net::dest_mac(1));
        assert_eq!(rig.drops(), []);
    }
}
