//! Conns of a dest that got another method: the kernel edits the dest in place, and its conns go on as they began.

use super::methods::arrivals;
use super::methods::dest;
use super::methods::every_setting;
use super::methods::goes_on;
use super::methods::open;
use super::methods::rig;
use pointsman_dataplane::neigh::HopState;
use pointsman_dataplane::service::Dest;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::OnDead;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::METHODS;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Rig;
use pointsman_tests::talk::Talk;
use std::time::Duration;

/// What takes the place of a dest by each method: one that goes by other workers' rules, too.
fn other(forward: Forward) -> Forward {
    match forward {
        Forward::Nat => Forward::Dr,
        _ => Forward::Nat,
    }
}

/// Only this method's dest remains in the service.
fn alone(s: &mut Snapshot, (family, proto): (Family, Proto), forward: Forward) {
    let only = dest(s, (family, proto), forward);
    s.services[net::service_index(family, proto, Forward::FullNat)].dests.retain(|c| c.id == only);
}

/// What control makes of another method: another number, which has this weight.
fn supersede(s: &mut Snapshot, (family, proto): (Family, Proto), by: Forward, weight: u32) {
    let at = net::service_index(family, proto, Forward::FullNat);
    let old = s.services[at].dests[0].id;
    let id = DestId(s.dests.len() as u32);
    let before = s.dest(old).clone();
    let port = match by.sees_replies() {
        true => net::dest_port(by),
        false => net::service_port(Forward::FullNat),
    };
    s.dests.push(Dest { forward: by, port, weight, ..before });
    let old = &mut s.dests[old.0 as usize];
    (old.removed, old.weight, old.traits.superseded) = (true, weight, true);
    s.services[at].dests[0].id = id;
    s.services[at].dests[0].weight = weight;
    s.services[at].version += 1;
}

/// One conn to a dest that gets another method, under `expire_nodest_conn` and this `on_dead`.
fn superseded(
    (workers, fixed): (usize, bool),
    kind: (Family, Proto),
    forward: Forward,
    on_dead: OnDead,
) -> (Rig, Talk) {
    let mut rig = rig(workers, fixed, |s| {
        s.ipvs.expire_nodest_conn = true;
        s.dests.iter_mut().for_each(|d| d.traits.on_dead = on_dead);
        alone(s, kind, forward);
    });
    let talk = open(&mut rig, workers - 1, kind, (7, 7000));
    assert_eq!(talk.forward, forward);
    rig.reload(|s| supersede(s, kind, other(forward), 1));
    rig.pass(Duration::from_secs(3));
    (rig, talk)
}

/// `ip_vs_in`: the dest is there, and has a weight. A SYN too, which may be one sent again, is of the conn that lives.
#[test]
fn expire_nodest_conn_is_not_for_conns_of_a_dest_that_only_got_another_method() {
    for on_dead in [OnDead::Keep, OnDead::Drop] {
        every_setting(|workers, fixed, family, proto| {
            for forward in METHODS {
                let kind = (family, proto);
                let (mut rig, talk) = superseded((workers, fixed), kind, forward, on_dead);
                // Where it lives: a SYN is not asked about elsewhere.
                let (lives, ..) = rig.conn();
                let out = rig.feed_at(lives, WAN, &[&talk.original(flag::SYN).bytes()]);
                assert_eq!((out.only().port, out.seen().eth.0), (LAN, talk.at_dest.eth.0));
                assert_eq!(out.seen().dst, talk.at_dest.dst, "by the method it began with");
                let arrivals = arrivals(&rig, workers - 1);
                goes_on(&mut rig, &talk, &arrivals);
                assert_eq!((rig.conns().len(), rig.drops()), (1, vec![]), "{forward:?}");
            }
        });
    }
}

/// Quiesced is what stands there, so that a SYN begins another conn, as of any quiesced dest; and it does so once.
#[test]
fn a_syn_begins_anew_once_where_what_stands_there_is_quiesced() {
    for forward in METHODS {
        for family in net::FAMILIES {
            let kind = (family, Proto::Tcp);
            let (mut rig, talk) = superseded((1, false), kind, forward, OnDead::Keep);
            rig.reload(|s| {
                let at = net::service_index(family, Proto::Tcp, Forward::FullNat);
                let there = s.services[at].dests[0].id;
                for dest in s.dests.iter_mut().filter(|d| d.traits.superseded) {
                    dest.weight = 0;
                }
                s.dests[there.0 as usize].weight = 0;
                s.services[at].dests[0].weight = 0;
                // And another one is there to take it.
                let mut next = s.services[at].dests[0];
                (next.id, next.weight) = (dest_of_its_own(s, family), 1);
                s.services[at].dests.push(next);
                s.services[at].version += 1;
            });
            let before = rig.conn().1.dest();
            talk.say(&mut rig, flag::ACK).only();
            assert_eq!(rig.conn().1.dest(), before, "{forward:?}");
            for _ in 0..2 {
                talk.say(&mut rig, flag::SYN).only();
                assert_ne!(rig.conn().1.dest(), before, "{forward:?}");
            }
            assert_eq!(rig.sum(|s| &s.opened), 2, "once");
        }
    }
}

/// A further dest of the full-NAT service, one that has no conns, by dr.
fn dest_of_its_own(s: &mut Snapshot, family: Family) -> DestId {
    let like = s.dest(net::dest_id(family, Proto::Tcp, Forward::Dr, 2)).clone();
    let port = net::service_port(Forward::FullNat);
    s.dests.push(Dest { port, ..like });
    DestId(s.dests.len() as u32 - 1)
}

/// `on_dead` is about dead dests, too, and that it is the same server's conns still.
#[test]
fn conns_of_a_dead_dest_end_whatever_number_it_has() {
    for forward in METHODS {
        let kind = (V4, Proto::Tcp);
        let (mut rig, talk) = superseded((1, false), kind, forward, OnDead::Drop);
        talk.say(&mut rig, flag::ACK).only();
        rig.set_neighbour(LAN, net::dest_addr(V4, forward as usize), HopState::Dead);
        rig.pass(Duration::from_secs(3));
        assert!(talk.say(&mut rig, flag::ACK).sent.is_empty(), "{forward:?}");
        assert_eq!(rig.drops(), [(DropReason::DeadDest, 1)]);
    }
}

/// Its service gone, or its server taken out of it, a dest of before is what any removed dest is: by `expire_nodest_conn`
/// its conns end, each once, and their clients' next packets are for what is there by then.
#[test]
fn conns_of_a_superseded_dest_end_as_those_of_any_removed_one_once_it_is_gone() {
    every_setting(|workers, fixed, family, proto| {
        for (forward, whole) in METHODS.into_iter().flat_map(|m| [(m, false), (m, true)]) {
            let kind = (family, proto);
            let (mut rig, talk) = superseded((workers, fixed), kind, forward, OnDead::Drop);
            rig.reload(|s| {
                let at = net::service_index(family, proto, Forward::FullNat);
                let there = s.services[at].dests[0].id;
                s.services[at].dests.clear();
                s.services[at].version += 1;
                if whole {
                    s.services.remove(at);
                }
                s.dests[there.0 as usize].removed = true;
                for dest in s.dests.iter_mut().filter(|d| d.removed) {
                    dest.weight = 0;
                    (dest.traits.superseded, dest.traits.orphaned) = (false, whole);
                }
            });
            rig.pass(Duration::from_secs(3));
            assert_eq!((rig.conns().len(), rig.sum(|s| &s.leases)), (0, 0), "{forward:?}");
            let out = rig.feed_at(workers - 1, WAN, &[&talk.original(flag::ACK).bytes()]);
            let to_dest = out.sent.iter().filter(|s| s.port == LAN).count();
            assert_eq!((to_dest, rig.conns().len()), (0, 0));
        }
    });
}
