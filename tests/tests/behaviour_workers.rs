//! Several workers: every frame of a conn is worked on by its owner, wherever it arrives.

use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
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
use std::collections::BTreeSet;

const CLIENTS: u8 = 24;

fn rig(workers: usize, fixed: bool) -> Rig {
    Rig::build(Options { workers, ..Options::default() }, |s, _| {
        s.ports.iter_mut().for_each(|p| p.fixed_queue = fixed);
    })
}

fn kinds() -> Vec<(Family, Proto, Forward)> {
    let mut all = Vec::new();
    for family in net::FAMILIES {
        for proto in net::PROTOS {
            all.extend(net::METHODS.map(|forward| (family, proto, forward)));
        }
    }
    all
}

/// Packets of dests that conns have seen.
fn answers(rig: &Rig) -> u64 {
    let dests = 0..rig.shared.dests.capacity();
    dests.map(|d| rig.shared.dests.sum(d, |s| &s.out_packets)).sum()
}

/// Packets of its client that a conn has seen, whoever holds it.
fn packets(rig: &Rig, talk: &Talk) -> u32 {
    let own: Vec<_> = rig
        .conns()
        .into_iter()
        .filter(|(_, _, e)| e.caddr == talk.client.ip().into() && e.cport == talk.client.port())
        .collect();
    assert_eq!(own.len(), 1, "one conn, on one worker: {own:?}");
    own[0].1.packets()
}

/// Errors about a conn, fed to `worker`, reach the ends they are for.
fn errors_reach_their_ends(rig: &mut Rig, talk: &Talk, worker: usize) {
    let family = if talk.client.is_ipv4() { V4 } else { Family::V6 };
    let kind = net::of(family, [3, 3], [1, 4]);
    let error = |src, dst, quoted: &[u8]| Packet::icmp(src, dst, kind, [0; 4], quoted);
    if talk.forward.sees_replies() {
        let seen = &talk.at_dest;
        let p = error(seen.dst.ip(), seen.src.ip(), &seen.ip).from_lan(seen.eth.0);
        let out = rig.feed_at(worker, LAN, &[&p.bytes()]);
        assert_eq!(out.seen().dst.ip(), talk.client.ip());
    }
    // What the client was sent, by the director or by the dest itself.
    let answer = Packet { src: talk.vip, dst: talk.client, ..talk.reply(flag::ACK) };
    let p = error(talk.client.ip(), talk.vip.ip(), &answer.ip());
    let out = rig.feed_at(worker, WAN, &[&p.bytes()]);
    assert_eq!((out.only().port, out.seen().eth.0), (LAN, talk.at_dest.eth.0));
}

#[test]
fn where_a_flow_may_change_its_queue_every_frame_still_finds_its_conn() {
    for workers in 2..=4 {
        for kind in kinds() {
            let mut rig = rig(workers, false);
            let mut owners = BTreeSet::new();
            for n in 0..CLIENTS {
                let at = usize::from(n) % workers;
                let before = answers(&rig);
                let talk = Talk::open(&mut rig, at, kind, (n, 7000 + u16::from(n)));
                for w in 0..workers {
                    let out = rig.feed_at(w, WAN, &[&talk.original(flag::ACK).bytes()]);
                    assert_eq!((out.only().port, out.seen().dst), (LAN, talk.at_dest.dst));
                    if kind.2.sees_replies() {
                        let out = rig.feed_at(w, LAN, &[&talk.reply(flag::ACK).bytes()]);
                        assert_eq!((out.only().port, out.seen().dst), (WAN, talk.client));
                    }
                    errors_reach_their_ends(&mut rig, &talk, w);
                }
                // Each with an error about it, which counts, too.
                let replies = if kind.2.sees_replies() { 2 * workers as u32 } else { 0 };
                assert_eq!(packets(&rig, &talk), 1 + workers as u32);
                assert_eq!(answers(&rig) - before, u64::from(replies));
            }
            owners.extend(rig.conns().iter().map(|(w, _, _)| *w));
            assert_eq!(owners.len(), workers, "{kind:?}: every worker has its share");
            assert!(rig.drops().is_empty(), "{:?}", rig.drops());
        }
    }
}

#[test]
fn where_a_queue_is_fixed_the_arriving_worker_keeps_the_conn_except_under_nat() {
    for workers in 2..=4 {
        for kind in kinds() {
            let mut rig = rig(workers, true);
            for n in 0..CLIENTS {
                let at = usize::from(n) % workers;
                let talk = Talk::open(&mut rig, at, kind, (n, 7000 + u16::from(n)));
                let out = rig.feed_at(at, WAN, &[&talk.original(flag::ACK).bytes()]);
                assert_eq!(out.seen().dst, talk.at_dest.dst);
                if kind.2 != Forward::Nat {
                    assert!(out.handed.is_empty());
                    assert_eq!(out.only().worker, at);
                }
                for w in 0..workers {
                    if kind.2.sees_replies() {
                        let out = rig.feed_at(w, LAN, &[&talk.reply(flag::ACK).bytes()]);
                        assert_eq!((out.only().port, out.seen().dst), (WAN, talk.client));
                        assert!(out.handed.len() <= 1, "straight to the owner");
                    }
                    // An error can be hashed to any queue: it quotes the conn, it is not of it.
                    errors_reach_their_ends(&mut rig, &talk, w);
                }
                packets(&rig, &talk);
            }
            assert!(rig.drops().is_empty(), "{:?}", rig.drops());
        }
    }
}

/// One port with receive-side scaling, one without, either way round.
#[test]
fn ports_may_differ_in_whether_their_queue_is_fixed() {
    for workers in 2..=4 {
        for fixed in [WAN, LAN] {
            for kind in kinds() {
                let mut rig = Rig::build(Options { workers, ..Options::default() }, |s, _| {
                    s.ports[usize::from(fixed.0)].fixed_queue = true;
                });
                for n in 0..CLIENTS {
                    let at = usize::from(n) % workers;
                    let talk = Talk::open(&mut rig, at, kind, (n, 7000 + u16::from(n)));
                    let out = rig.feed_at(at, WAN, &[&talk.original(flag::ACK).bytes()]);
                    assert_eq!(out.seen().dst, talk.at_dest.dst);
                    for w in 0..workers {
                        if kind.2.sees_replies() {
                            let out = rig.feed_at(w, LAN, &[&talk.reply(flag::ACK).bytes()]);
                            assert_eq!((out.only().port, out.seen().dst), (WAN, talk.client));
                        }
                        errors_reach_their_ends(&mut rig, &talk, w);
                    }
                    packets(&rig, &talk);
                }
                assert!(rig.drops().is_empty(), "{:?}", rig.drops());
            }
        }
    }
}

#[test]
fn an_error_that_nobody_can_place_goes_round_once() {
    for workers in 2..=4 {
        let mut rig = rig(workers, true);
        let (client, vip) = (net::client(V4, 1, 5), net::service_addr(V4, Forward::Dr));
        let about = Packet::tcp(vip, client, flag::ACK).ip();
        let error = Packet::icmp(client.ip(), vip.ip(), [3, 3], [0; 4], &about);
        let out = rig.feed(WAN, &error.bytes());
        assert_eq!(out.handed.len(), workers - 1);
        assert_eq!(rig.drops(), [(DropReason::IcmpUnknown, 1)]);
    }
}

#[test]
fn one_frame_is_handed_over_at_most_once() {
    for workers in 2..=4 {
        for kind in kinds() {
            let mut rig = rig(workers, false);
            for n in 0..CLIENTS {
                let client = net::client(kind.0, n, 9);
                let vip = net::service_addr(kind.0, kind.2);
                for p in [Packet::udp(client, vip), Packet::tcp(client, vip, flag::ACK)] {
                    assert!(rig.feed(WAN, &p.bytes()).handed.len() <= 1);
                }
            }
        }
    }
}

/// A worker leases only ports whose replies steer back to it.
#[test]
fn leased_ports_belong_to_the_worker_that_holds_the_conn() {
    for workers in 1..=4 {
        let mut rig = rig(workers, true);
        for n in 0..CLIENTS {
            let kind = (V4, Proto::Tcp, Forward::FullNat);
            Talk::open(&mut rig, usize::from(n) % workers, kind, (n, 9));
        }
        for (worker, _, ends) in rig.conns() {
            assert_eq!(pointsman_dataplane::laddr::owner(ends.lport, workers), worker);
        }
    }
}

#[test]
fn conns_end_on_every_worker() {
    let mut rig = rig(3, false);
    for n in 0..CLIENTS {
        Talk::open(&mut rig, 0, (V4, Proto::Tcp, Forward::FullNat), (n, 9));
    }
    rig.pass(std::time::Duration::from_secs(65));
    assert!(rig.conns().is_empty());
    assert_eq!(rig.sum(|s| &s.leases), 0);
}
