//! Listings of conns, in pieces, while traffic runs.

use arrayvec::ArrayVec;
use pointsman_dataplane::conn::State;
use pointsman_dataplane::conn::list::CLIENT;
use pointsman_dataplane::conn::list::DEST;
use pointsman_dataplane::conn::list::LOCAL;
use pointsman_dataplane::conn::list::LOOKED_AT;
use pointsman_dataplane::conn::list::ROWS;
use pointsman_dataplane::conn::list::Row;
use pointsman_dataplane::conn::list::Sheet;
use pointsman_dataplane::conn::list::Term;
use pointsman_dataplane::conn::list::VIRTUAL;
use pointsman_dataplane::frame::BURST;
use pointsman_dataplane::laddr::PORTS;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Family::V6;
use pointsman_dataplane::tuple::Prefix;
use pointsman_dataplane::tuple::Proto;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::talk::Talk;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

fn sheet(terms: &[Term], wanted: u64) -> Sheet {
    Sheet::new(terms.iter().cloned().collect::<ArrayVec<_, 8>>(), wanted)
}

/// Everything of a worker that matches, and how many more there were.
fn list(rig: &mut Rig, worker: usize, terms: &[Term], wanted: u64) -> (Vec<Row>, u64) {
    let (mut sheet, mut all) = (sheet(terms, wanted), Vec::new());
    while !sheet.ended {
        sheet.clear();
        piece(rig, worker, &mut sheet);
        all.extend(sheet.rows.iter().copied());
    }
    (all, sheet.further)
}

fn piece(rig: &mut Rig, worker: usize, sheet: &mut Sheet) {
    let now = rig.now;
    while !rig.parts(worker).0.list(sheet, now) {}
}

/// Every conn of all workers that matches.
fn everywhere(rig: &mut Rig, terms: &[Term]) -> Vec<Row> {
    (0..rig.worker_count()).flat_map(|w| list(rig, w, terms, u64::MAX).0).collect()
}

fn at(which: u8, end: SocketAddr) -> Term {
    Term::End(which, Some(Prefix::new(end.ip().into(), 128)), Some(end.port()))
}

fn open(rig: &mut Rig, clients: impl Iterator<Item = usize>) {
    let vip = net::service_addr(V4, Forward::FullNat);
    let frames: Vec<_> = clients.map(|n| Packet::tcp(client(n), vip, flag::SYN).bytes()).collect();
    for burst in frames.chunks(BURST) {
        let burst: Vec<_> = burst.iter().map(Vec::as_slice).collect();
        rig.feed_at(0, WAN, &burst);
    }
}

fn client(n: usize) -> SocketAddr {
    net::client(V4, 100 + (n / 50_000) as u8, 2000 + (n % 50_000) as u16)
}

#[test]
fn a_servers_log_line_leads_to_the_client() {
    for family in [V4, V6] {
        for proto in [Proto::Tcp, Proto::Udp] {
            let mut rig = Rig::workers(3);
            let kind = (family, proto, Forward::FullNat);
            let talks: Vec<_> =
                (0..20).map(|n| Talk::open(&mut rig, n % 3, kind, (n as u8, 77))).collect();
            for talk in &talks {
                let seen_by_server = at(LOCAL, talk.at_dest.src);
                let towards = at(DEST, talk.at_dest.dst);
                let found = everywhere(&mut rig, &[seen_by_server, towards]);
                assert_eq!(found.len(), 1, "{found:?}");
                let ends = &found[0].ends;
                assert_eq!((ends.caddr, ends.cport), (talk.client.ip().into(), 77));
                assert_eq!((ends.vaddr, ends.vport), (talk.vip.ip().into(), talk.vip.port()));
                assert_eq!(found[0].forward, Forward::FullNat);
            }
        }
    }
}

#[test]
fn a_conn_that_lives_through_the_listing_appears_exactly_once_while_others_come_and_go() {
    let mut rig = Rig::build(Options { conns: 20_000, ..Options::default() }, |_, _| {});
    open(&mut rig, 0..6000);
    // Those with even numbers live, the others are reset in the course of the listing.
    let vip = net::service_addr(V4, Forward::FullNat);
    for n in 0..6000 {
        rig.feed(WAN, &Packet::tcp(client(n), vip, flag::ACK).bytes());
    }
    let (mut sheet, mut found) = (sheet(&[], u64::MAX), HashMap::<SocketAddr, u32>::new());
    let (mut closed, mut opened) = (0, 6000);
    while !sheet.ended {
        sheet.clear();
        piece(&mut rig, 0, &mut sheet);
        for row in &sheet.rows {
            let end = SocketAddr::new(row.ends.caddr.into(), row.ends.cport);
            *found.entry(end).or_default() += 1;
        }
        for _ in 0..200 {
            let n = 2 * (closed * 7 % 3000) + 1;
            rig.feed(WAN, &Packet::tcp(client(n), vip, flag::RST).bytes());
            closed += 1;
        }
        // What was reset ends at once, and its lines serve new conns.
        rig.now = rig.now + Duration::from_secs(11);
        rig.housekeep();
        open(&mut rig, opened..opened + 150);
        opened += 150;
    }
    assert!(closed > 1000, "the listing took many pieces");
    let lived = (0..6000).step_by(2).map(client);
    assert!(lived.into_iter().all(|c| found.get(&c) == Some(&1)));
    assert!(found.len() < opened, "some ended before they were reached");
}

#[test]
fn a_piece_is_bounded_in_lines_and_in_conns() {
    let many = 3 * LOOKED_AT as usize;
    let mut rig = Rig::build(Options { conns: 2 * many, ..Options::default() }, |_, _| {});
    open(&mut rig, 0..many);
    let now = rig.now;
    // Nothing matches: one call looks at so many lines and no more.
    let mut none = sheet(&[Term::State(State::TimeWait)], 1);
    let (pipeline, _, _) = rig.parts(0);
    assert!(!pipeline.list(&mut none, now) && !pipeline.list(&mut none, now));
    assert!(pipeline.list(&mut none, now) && none.ended && none.rows.is_empty());
    // Everything matches: a full sheet goes back.
    let mut all = sheet(&[], u64::MAX);
    assert!(pipeline.list(&mut all, now) && !all.ended);
    assert_eq!(all.rows.len(), ROWS);
}

#[test]
fn what_is_not_wanted_any_more_is_counted() {
    let mut rig = Rig::build(Options { conns: 5000, ..Options::default() }, |_, _| {});
    open(&mut rig, 0..3000);
    let (rows, more) = list(&mut rig, 0, &[], 10);
    assert_eq!((rows.len(), more), (10, 2990));
    let (rows, more) = list(&mut rig, 0, &[], 0);
    assert_eq!((rows.len(), more), (0, 3000));
}

#[test]
fn filters_look_at_the_end_they_name() {
    let mut rig = Rig::new();
    let nat = Talk::tcp(&mut rig, V4, Forward::Nat);
    let full = Talk::tcp(&mut rig, V4, Forward::FullNat);
    let dr = Talk::tcp(&mut rig, V6, Forward::Dr);
    let udp = Talk::open(&mut rig, 0, (V4, Proto::Udp, Forward::FullNat), (9, 53));
    let pool = Prefix::new(net::pool_addr(V4).into(), 32);
    let mut count = |terms: &[Term]| everywhere(&mut rig, terms).len();
    assert_eq!(count(&[]), 4);
    assert_eq!(count(&[Term::Proto(Proto::Udp)]), 1);
    assert_eq!(count(&[Term::Forward(Forward::Dr)]), 1);
    assert_eq!(count(&[Term::State(State::SynRecv)]), 3);
    assert_eq!(count(&[Term::State(State::Udp)]), 1);
    assert_eq!(count(&[at(CLIENT, nat.client)]), 2, "two services, one client");
    assert_eq!(count(&[at(VIRTUAL, full.vip), Term::Proto(Proto::Tcp)]), 1);
    assert_eq!(count(&[Term::End(LOCAL, Some(pool), None)]), 2);
    assert_eq!(count(&[Term::End(CLIENT, Some(pool), None)]), 0);
    assert_eq!(count(&[Term::End(DEST, None, Some(dr.vip.port()))]), 1);
    let any = CLIENT | VIRTUAL | LOCAL | DEST;
    assert_eq!(count(&[at(any, udp.client)]), 1);
    assert_eq!(count(&[at(any, udp.client), Term::Proto(Proto::Tcp)]), 0);
    let v6 = Prefix::new(net::ip("2001:db8::").into(), 32);
    assert_eq!(count(&[Term::End(VIRTUAL, Some(v6), None)]), 1);
}

#[test]
fn a_conn_is_listed_where_it_lives_and_with_what_is_left_to_it() {
    const MANY: usize = 16;
    let mut rig =
        Rig::build(Options { workers: MANY, conns: 8000, ..Options::default() }, |s, _| {
            s.ports.iter_mut().for_each(|p| p.fixed_queue = true);
            s.services[net::service_index(V4, Proto::Tcp, Forward::FullNat)].dests.truncate(1);
        });
    // More than worker 0 has ports toward the dest: further ones live elsewhere.
    open(&mut rig, 0..4100);
    let rows = everywhere(&mut rig, &[]);
    assert_eq!(rows.len(), 4100);
    assert!(rows.iter().all(|r| r.left == 60_000 && !r.lent), "SYN_RECV has 60 s");
    // What is over is not listed, swept or not.
    rig.now = rig.now + Duration::from_secs(61);
    assert!(everywhere(&mut rig, &[]).is_empty());
}

#[test]
fn a_conn_that_has_lent_its_port_stays_listed() {
    let mut rig = Rig::build(Options { conns: 70_000, ..Options::default() }, |s, _| {
        s.services[net::service_index(V4, Proto::Tcp, Forward::FullNat)].dests.truncate(1);
    });
    let ended = client(0);
    let vip = net::service_addr(V4, Forward::FullNat);
    for flags in [flag::SYN, flag::ACK, flag::RST] {
        rig.feed(WAN, &Packet::tcp(ended, vip, flags).bytes());
    }
    let syn = |n| Packet::tcp(client(n), vip, flag::SYN).bytes();
    rig.feed_many(0, WAN, (1..=PORTS as usize).map(syn));
    let lent: Vec<_> = everywhere(&mut rig, &[]).into_iter().filter(|r| r.lent).collect();
    assert_eq!(lent.len(), 1);
    assert_eq!((lent[0].state, lent[0].ends.cport), (State::Close, ended.port()));
    let both = everywhere(&mut rig, &[Term::End(LOCAL, None, Some(lent[0].ends.lport))]);
    assert_eq!(both.len(), 2, "the old conn and the one its port serves");
}
