//! Conns: opening, refusing, starting afresh, ending.

use pointsman_dataplane::conn::State;
use pointsman_dataplane::laddr::FIRST_PORT;
use pointsman_dataplane::pipeline::MAX_CLOSED;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::ServiceId;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::DESTS;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::talk::Talk;
use std::net::SocketAddr;
use std::time::Duration;

const TCP: (pointsman_dataplane::tuple::Family, Proto, Forward) = (V4, Proto::Tcp, Forward::Nat);

/// A second service, port 1080, to the dests of the nat service.
fn second_service(s: &mut Snapshot) {
    let a = net::service_index(V4, Proto::Tcp, Forward::Nat);
    let mut b = s.services[a].clone();
    b.id = ServiceId(s.services.len() as u32);
    b.port = 1080;
    for candidate in &mut b.dests {
        let dest = s.dest(candidate.id).clone();
        candidate.id = DestId(s.dests.len() as u32);
        s.dests.push(dest);
    }
    s.services.push(b);
}

fn second(client: SocketAddr) -> Vec<u8> {
    let vip = SocketAddr::new(net::vip(V4), 1080);
    Packet::tcp(client, vip, flag::SYN).bytes()
}

#[test]
fn a_dest_that_another_conn_answers_from_is_passed_over() {
    let mut rig = Rig::with(second_service);
    let first = Talk::open(&mut rig, 0, TCP, (1, 500));
    let other = rig.feed(WAN, &second(first.client)).seen();
    assert_ne!(other.dst, first.at_dest.dst, "both conns would answer by one tuple");
    assert_eq!(other.src, first.client);
    // Another client may have the first dest.
    let free = rig.feed(WAN, &second(net::client(V4, 2, 500))).seen();
    assert_eq!(free.dst.port(), net::dest_port(Forward::Nat));
    assert!(rig.drops().is_empty());
}

#[test]
fn where_every_dest_is_taken_the_syn_is_refused_by_name() {
    let mut rig = Rig::with(|s| {
        second_service(s);
        second_service(s);
        let last = s.services.len() - 1;
        s.services[last].port = 1081;
        for service in &mut s.services {
            service.dests.truncate(2);
        }
    });
    let first = Talk::open(&mut rig, 0, TCP, (1, 500));
    assert_eq!(rig.feed(WAN, &second(first.client)).sent.len(), 1);
    let third = Packet::tcp(first.client, SocketAddr::new(net::vip(V4), 1081), flag::SYN);
    assert!(rig.feed(WAN, &third.bytes()).sent.is_empty());
    assert_eq!(rig.drops(), [(DropReason::ReplyClash, 1)]);
}

#[test]
fn a_clash_with_a_conn_whose_time_is_up_makes_way() {
    let mut rig = Rig::with(|s| {
        second_service(s);
        s.services.iter_mut().for_each(|s| s.dests.truncate(1));
    });
    let first = Talk::open(&mut rig, 0, TCP, (1, 500));
    // No housekeeping in between: the old conn is still in the table.
    rig.now = rig.now + Duration::from_secs(61);
    assert_eq!(rig.feed(WAN, &second(first.client)).seen().dst, first.at_dest.dst);
    assert_eq!(rig.conn().2.vport, 1080);
}

#[test]
fn a_full_table_refuses_by_name_and_serves_those_it_has() {
    for forward in net::METHODS {
        let mut rig = Rig::build(Options { conns: 3, ..Options::default() }, |_, _| {});
        let talks: Vec<_> =
            (0..3).map(|n| Talk::open(&mut rig, 0, (V4, Proto::Tcp, forward), (n, 9))).collect();
        let vip = net::service_addr(V4, forward);
        for n in 3..6 {
            let syn = Packet::tcp(net::client(V4, n, 9), vip, flag::SYN).bytes();
            assert!(rig.feed(WAN, &syn).sent.is_empty());
        }
        assert_eq!(rig.drops(), [(DropReason::TableFull, 3)]);
        for talk in &talks {
            assert_eq!(talk.say(&mut rig, flag::ACK).sent.len(), 1);
        }
        // A lease taken for a conn that found no room is given back.
        rig.pass(Duration::from_secs(1000));
        assert_eq!((rig.conns().len(), rig.sum(|s| &s.leases)), (0, 0));
    }
}

#[test]
fn a_syn_on_time_wait_starts_afresh() {
    for forward in [Forward::Nat, Forward::FullNat] {
        let mut rig = Rig::new();
        let talk = Talk::tcp(&mut rig, V4, forward);
        talk.finish(&mut rig);
        assert_eq!(rig.conn().1.state(), State::TimeWait);
        let again = talk.say(&mut rig, flag::SYN).seen();
        let (_, conn, ends) = rig.conn();
        assert_eq!(conn.state(), State::SynRecv);
        // Round robin goes on: it is a new conn; the old lease went back.
        assert_ne!(again.dst, talk.at_dest.dst);
        assert_eq!(rig.sum(|s| &s.opened), 2);
        let leases = u64::from(forward == Forward::FullNat);
        assert_eq!(rig.sum(|s| &s.leases), leases);
        assert_eq!(ends.caddr, talk.client.ip().into());
    }
}

#[test]
fn a_syn_on_close_starts_afresh() {
    for forward in net::METHODS {
        let mut rig = Rig::new();
        let talk = Talk::tcp(&mut rig, V4, forward);
        talk.say(&mut rig, flag::ACK);
        talk.say(&mut rig, flag::RST);
        assert_eq!(rig.conn().1.state(), State::Close);
        talk.say(&mut rig, flag::SYN);
        assert_eq!(rig.conn().1.state(), State::SynRecv);
        assert_eq!(rig.sum(|s| &s.opened), 2, "{forward:?}");
    }
}

#[test]
fn a_syn_on_a_living_conn_stays_with_its_dest() {
    let mut rig = Rig::new();
    let talk = Talk::tcp(&mut rig, V4, Forward::Nat);
    assert_eq!(talk.say(&mut rig, flag::SYN).seen().dst, talk.at_dest.dst);
    talk.answer(&mut rig, flag::SYN | flag::ACK);
    talk.say(&mut rig, flag::ACK);
    assert_eq!(talk.say(&mut rig, flag::SYN).seen().dst, talk.at_dest.dst);
    assert_eq!(rig.sum(|s| &s.opened), 1);
}

/// The kernel's timeouts (`tcp_timeouts`, `udp_timeouts`): a conn lives until then, not longer.
#[test]
fn conns_end_after_the_kernels_timeouts() {
    type Prepare = fn(&Talk, &mut Rig);
    let prepare: [(&str, u64, Prepare); 5] = [
        ("SYN_RECV", 60, |_, _| {}),
        ("ESTABLISHED", 900, |t, r| {
            t.answer(r, flag::SYN | flag::ACK);
            t.say(r, flag::ACK);
        }),
        ("CLOSE_WAIT", 60, |t, r| {
            t.answer(r, flag::SYN | flag::ACK);
            t.say(r, flag::ACK);
            t.say(r, flag::FIN | flag::ACK);
        }),
        ("TIME_WAIT", 120, |t, r| t.finish(r)),
        ("CLOSE", 10, |t, r| {
            t.say(r, flag::ACK);
            t.say(r, flag::RST);
        }),
    ];
    for (name, secs, prepare) in prepare {
        let mut rig = Rig::new();
        let talk = Talk::tcp(&mut rig, V4, Forward::FullNat);
        prepare(&talk, &mut rig);
        assert_eq!(rig.conn().1.state().name(), name);
        rig.pass(Duration::from_secs(secs - 1));
        assert_eq!(rig.conns().len(), 1, "{name} ends too early");
        rig.pass(Duration::from_secs(3));
        assert!(rig.conns().is_empty(), "{name} does not end");
        assert_eq!(rig.sum(|s| &s.leases), 0);
    }
}

#[test]
fn a_udp_conn_ends_300_seconds_after_its_last_packet() {
    let mut rig = Rig::new();
    let talk = Talk::open(&mut rig, 0, (V4, Proto::Udp, Forward::FullNat), (1, 5));
    rig.pass(Duration::from_secs(299));
    assert_eq!(talk.answer(&mut rig, 0).sent.len(), 1);
    rig.pass(Duration::from_secs(299));
    assert_eq!(rig.conns().len(), 1);
    rig.pass(Duration::from_secs(3));
    assert!(rig.conns().is_empty());
}

/// Also where housekeeping has not come by: a packet never meets a conn whose time is up.
#[test]
fn a_packet_after_the_timeout_meets_no_conn() {
    let mut rig = Rig::new();
    let talk = Talk::tcp(&mut rig, V4, Forward::Nat);
    rig.now = rig.now + Duration::from_secs(61);
    let seen = talk.say(&mut rig, flag::ACK).seen();
    assert_eq!(seen.tcp.map(|t| t.0), Some(flag::RST));
    assert!(rig.conns().is_empty());
}

#[test]
fn expiry_is_bounded_per_turn_and_complete_in_the_end() {
    let mut rig = Rig::build(Options { conns: 1000, ..Options::default() }, |_, _| {});
    for n in 0..500u16 {
        Talk::open(&mut rig, 0, (V4, Proto::Tcp, Forward::FullNat), ((n % 250) as u8, 1 + n));
    }
    rig.now = rig.now + Duration::from_secs(100);
    let mut turns = 0;
    let mut before = 500;
    while !rig.conns().is_empty() {
        rig.housekeep();
        let now = rig.conns().len();
        assert!(before - now <= MAX_CLOSED, "{} closed in one turn", before - now);
        (before, turns) = (now, turns + 1);
        assert!(turns < 1000, "{now} conns are left after {turns} turns");
        rig.now = rig.now + Duration::from_millis(100);
    }
    assert_eq!(rig.sum(|s| &s.leases), 0);
}

#[test]
fn the_pool_is_whole_after_all_conns_have_ended() {
    let ports = u32::from(u16::MAX - FIRST_PORT) + 1;
    let options = Options { conns: 70_000, ..Options::default() };
    let mut rig = Rig::build(options, |s, _| {
        let i = net::service_index(V4, Proto::Udp, Forward::FullNat);
        s.services[i].dests.truncate(1);
    });
    let vip = net::service_addr(V4, Forward::FullNat);
    for round in 0..2 {
        let now = rig.now;
        let (pipeline, outbox, pool) = rig.parts(0);
        for n in 0..ports {
            let client = net::client(V4, (n >> 15) as u8, 1024 + (n & 0x7fff) as u16);
            let mut burst =
                std::iter::once(pool.frame(&Packet::udp(client, vip).bytes()).unwrap()).collect();
            pipeline.process(WAN, &mut burst, now, pool, outbox);
            pipeline.stats().sent.add(outbox.tx()[1].len() as u64);
            outbox.tx()[1].clear();
        }
        rig.settled(0);
        assert_eq!(rig.sum(|s| &s.leases), u64::from(ports), "round {round}");
        let one_more = Packet::udp(net::client(V4, 200, 1), vip).bytes();
        rig.feed(WAN, &one_more);
        assert_eq!(rig.drops(), [(DropReason::NoLease, round + 1)]);
        rig.now = rig.now + Duration::from_secs(301);
        let mut turns = 0;
        while rig.sum(|s| &s.conns) > 0 && turns < 10_000 {
            let now = rig.now;
            let (pipeline, outbox, pool) = rig.parts(0);
            pipeline.housekeeping(now, pool, outbox);
            rig.now = rig.now + Duration::from_millis(20);
            turns += 1;
        }
        rig.settled(0);
        assert_eq!(rig.sum(|s| &s.leases), 0);
    }
}

#[test]
fn a_quiesced_dest_keeps_its_conns_and_gets_no_new_ones() {
    let mut rig = Rig::new();
    let talk = Talk::tcp(&mut rig, V4, Forward::Nat);
    let service = net::service_index(V4, Proto::Tcp, Forward::Nat);
    rig.reload(|s| {
        s.services[service].dests[0].weight = 0;
        s.services[service].version += 1;
    });
    assert_eq!(talk.say(&mut rig, flag::ACK).seen().dst, talk.at_dest.dst);
    for n in 0..2 * DESTS as u8 {
        let new = Talk::open(&mut rig, 0, TCP, (n, 1));
        assert_ne!(new.at_dest.dst, talk.at_dest.dst);
    }
}

#[test]
fn active_and_inactive_conns_are_counted_as_the_kernel_does() {
    let mut rig = Rig::new();
    let talk = Talk::tcp(&mut rig, V4, Forward::Nat);
    let id = net::dest_id(V4, Proto::Tcp, Forward::Nat, 0);
    let counts = |rig: &Rig| (rig.dest(id, |s| &s.active), rig.dest(id, |s| &s.inactive));
    assert_eq!(counts(&rig), (1, 0));
    talk.finish(&mut rig);
    assert_eq!(counts(&rig), (0, 1));
    rig.pass(Duration::from_secs(125));
    assert_eq!(counts(&rig), (0, 0));
    assert_eq!(rig.dest(id, |s| &s.conns), 1);
    assert_eq!(rig.dest(id, |s| &s.in_packets), 4);
    assert_eq!(rig.dest(id, |s| &s.out_packets), 2);
    // 40 bytes each: no options, no payload.
    assert_eq!(rig.dest(id, |s| &s.in_bytes), 160);
}
