//! What IPVS may be told of conns: timeouts, one-packet scheduling, thresholds, conns of dests that
//! are gone, and when a tuple begins anew.

use pointsman_dataplane::conn::State;
use pointsman_dataplane::sched::Sched;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::Limits;
use pointsman_dataplane::service::OnDead;
use pointsman_dataplane::service::Persistence;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_dataplane::verdict::Made;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Out;
use pointsman_tests::rig::Rig;
use std::time::Duration;

type Kind = (Family, Proto, Forward);

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn rig(workers: usize, change: impl FnOnce(&mut Snapshot)) -> Rig {
    Rig::build(Options { workers, ..Options::default() }, |s, _| change(s))
}

fn packet((family, proto, forward): Kind, cport: u16, flags: u8) -> Packet {
    let (client, vip) = (net::client(family, 1, cport), net::service_addr(family, forward));
    match proto {
        Proto::Tcp => Packet::tcp(client, vip, flags),
        _ => Packet::udp(client, vip),
    }
}

fn send(rig: &mut Rig, at: usize, kind: Kind, cport: u16, flags: u8) -> Out {
    rig.feed_at(at, WAN, &[&packet(kind, cport, flags).bytes()])
}

/// The dest of a client's conn.
fn dest(rig: &Rig, cport: u16) -> Option<DestId> {
    let of = rig.conns().into_iter().find(|(_, _, e)| e.cport == cport);
    of.map(|(_, conn, _)| conn.dest())
}

fn opened(rig: &mut Rig, at: usize, kind: Kind, cport: u16) -> Option<DestId> {
    send(rig, at, kind, cport, flag::SYN);
    dest(rig, cport)
}

fn ids((family, proto, forward): Kind) -> [DestId; 3] {
    [0, 1, 2].map(|n| net::dest_id(family, proto, forward, n))
}

/// Takes a dest out of its service, or puts it back.
fn remove(s: &mut Snapshot, kind: Kind, id: DestId, removed: bool) {
    let service = &mut s.services[net::service_index(kind.0, kind.1, kind.2)];
    service.dests = net::candidates(kind.0, kind.1, kind.2);
    service.dests.retain(|c| !removed || c.id != id);
    service.version += 1;
    s.dests[id.0 as usize].removed = removed;
    s.dests[id.0 as usize].weight = u32::from(!removed);
}

fn is_reset(out: &Out) -> bool {
    out.sent.len() == 1 && out.seen().tcp.is_some_and(|tcp| tcp.0 & flag::RST != 0)
}

#[test]
fn a_service_has_timeouts_of_its_own() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            let kind = (family, Proto::Tcp, forward);
            let mut rig = rig(1, |s| {
                for id in ids(kind) {
                    s.dests[id.0 as usize].traits.tcp_timeouts = (5000, 3000);
                }
            });
            send(&mut rig, 0, kind, 1000, flag::SYN);
            let left = |rig: &Rig| rig.conn().1.expires().left(rig.now.stamp());
            assert_eq!(left(&rig), 60_000, "SYN_RECV is everybody's");
            send(&mut rig, 0, kind, 1000, flag::ACK);
            assert_eq!((rig.conn().1.state(), left(&rig)), (State::Established, 5000));
            rig.pass(secs(6));
            assert!(rig.conns().is_empty());
            if !forward.sees_replies() {
                send(&mut rig, 0, kind, 1001, flag::SYN);
                send(&mut rig, 0, kind, 1001, flag::ACK);
                send(&mut rig, 0, kind, 1001, flag::FIN | flag::ACK);
                assert_eq!((rig.conn().1.state(), left(&rig)), (State::FinWait, 3000));
            }
            // Another service has those of all.
            let other = if forward == Forward::Dr { Forward::Tunnel } else { Forward::Dr };
            let other = (family, Proto::Tcp, other);
            send(&mut rig, 0, other, 2000, flag::SYN);
            send(&mut rig, 0, other, 2000, flag::ACK);
            let conns = rig.conns();
            let conn = conns.iter().find(|(_, _, e)| e.cport == 2000).unwrap();
            assert_eq!(conn.1.expires().left(rig.now.stamp()), 900_000);
        }
    }
}

#[test]
fn one_packet_scheduling_remembers_nothing() {
    for workers in [1, 3] {
        for family in net::FAMILIES {
            for forward in [Forward::Nat, Forward::Dr, Forward::Tunnel] {
                let kind = (family, Proto::Udp, forward);
                let mut rig = rig(workers, |s| {
                    s.services[net::service_index(family, Proto::Udp, forward)].terms.one_packet =
                        true;
                });
                let mut last = None;
                for n in 0..6 {
                    let out = send(&mut rig, n % workers, kind, 1000, 0);
                    assert_eq!((out.sent.len(), rig.conns().len()), (1, 0));
                    last = Some(out);
                }
                // Each datagram is scheduled for itself.
                let conns = ids(kind).map(|id| rig.dest(id, |s| &s.conns));
                assert_eq!(conns, [2, 2, 2], "{kind:?}");
                if forward == Forward::Nat {
                    let seen = last.unwrap().seen();
                    let reply = Packet::udp(seen.dst, seen.src).from_lan(seen.eth.0);
                    assert!(rig.feed(LAN, &reply.bytes()).sent.is_empty(), "no conn knows it");
                    assert_eq!(rig.drops(), [(DropReason::NotOurs, 1)]);
                }
            }
        }
    }
}

#[test]
fn one_packet_scheduling_is_for_udp_alone() {
    let kind = (V4, Proto::Tcp, Forward::Dr);
    let mut rig = rig(1, |s| {
        s.services[net::service_index(V4, Proto::Tcp, Forward::Dr)].terms.one_packet = true;
    });
    send(&mut rig, 0, kind, 1000, flag::SYN);
    assert_eq!(rig.conns().len(), 1);
}

#[test]
fn with_one_packet_scheduling_and_persistence_the_template_stays() {
    let kind = (V4, Proto::Udp, Forward::Dr);
    let mut rig = rig(2, |s| {
        let terms = &mut s.services[net::service_index(V4, Proto::Udp, Forward::Dr)].terms;
        terms.one_packet = true;
        terms.persistence = Some(Persistence { timeout: 100, prefix: 24 });
    });
    for n in 0..6 {
        send(&mut rig, n % 2, kind, 1000 + n as u16, 0);
    }
    let conns = ids(kind).map(|id| rig.dest(id, |s| &s.conns));
    assert_eq!(conns.iter().max(), Some(&6));
    let templates = rig.templates();
    assert_eq!((templates.len(), templates[0].1.conns, rig.conns().len()), (1, 0, 0));
}

/// `ip_vs_bind_dest` and `ip_vs_unbind_dest`.
#[test]
fn a_dest_is_full_from_the_upper_threshold_to_below_the_lower_one() {
    for workers in [1, 3] {
        for family in net::FAMILIES {
            for (limits, again) in [
                (Limits { upper: 4, lower: 2 }, 1),
                // Three quarters: 3 is not below.
                (Limits { upper: 4, lower: 0 }, 2),
                (Limits { upper: 4, lower: 4 }, 3),
            ] {
                let kind = (family, Proto::Udp, Forward::Dr);
                let [only, ..] = ids(kind);
                let mut rig = rig(workers, |s| {
                    let service = &mut s.services[net::service_index(kind.0, kind.1, kind.2)];
                    service.dests.retain(|c| c.id == only);
                    s.dests[only.0 as usize].traits.limits = limits;
                    s.dests[only.0 as usize].traits.udp_timeout = 10_000;
                });
                // One conn a second, so that they end one a second.
                for n in 0..4 {
                    let at = usize::from(n) % workers;
                    assert_eq!(opened(&mut rig, at, kind, 1000 + n), Some(only));
                    rig.pass(secs(1));
                }
                for at in 0..workers {
                    assert_eq!(opened(&mut rig, at, kind, 2000), None, "four are enough");
                }
                // 6 s later they end; until then there were four.
                rig.pass(secs(6));
                for left in (0..4).rev() {
                    rig.pass(Duration::from_millis(1100));
                    let now = rig.conns().len();
                    if now > again {
                        assert_eq!(opened(&mut rig, 0, kind, 3000), None, "{limits:?}: {now}");
                    } else {
                        let at = workers - 1;
                        assert_eq!(opened(&mut rig, at, kind, 3000), Some(only), "{limits:?}");
                        break;
                    }
                    assert!(left > 0);
                }
            }
        }
    }
}

#[test]
fn every_scheduler_passes_a_full_dest_over() {
    use pointsman_dataplane::sched::Flags;
    use pointsman_dataplane::sched::Hashed;
    use pointsman_dataplane::sched::Sched;
    let kind = (V4, Proto::Tcp, Forward::Dr);
    let candidates = net::candidates(kind.0, kind.1, kind.2);
    let fallback = Flags { port: true, fallback: true };
    for sched in [
        Sched::Rr,
        Sched::Wrr,
        Sched::Lc,
        Sched::Wlc,
        Sched::Sed,
        Sched::Nq,
        Sched::Fo,
        Sched::Ovf,
        Sched::Twos,
        Sched::Hashed(Hashed::source(&candidates, fallback)),
    ] {
        let [first, ..] = ids(kind);
        let mut rig = rig(1, |s| {
            s.services[net::service_index(kind.0, kind.1, kind.2)].sched = sched.clone();
            s.dests[first.0 as usize].traits.limits = Limits { upper: 2, lower: 0 };
            // Where weights rank, the first is the best.
            s.services[net::service_index(kind.0, kind.1, kind.2)].dests.iter_mut().for_each(|c| {
                c.weight = if c.id == first { 200 } else { 100 };
                c.last_weight = c.weight;
            });
        });
        for n in 0..40 {
            assert!(opened(&mut rig, 0, kind, 1000 + n).is_some(), "{}", sched.name());
        }
        let conns = rig.dest(first, |s| &s.conns);
        assert_eq!(conns, 2, "{}", sched.name());
    }
}

#[test]
fn a_template_leads_to_a_full_dest_and_an_edit_counts_at_once() {
    for workers in [1, 2] {
        let kind = (V4, Proto::Tcp, Forward::Nat);
        let limit = |s: &mut Snapshot, upper| {
            for id in ids(kind) {
                s.dests[id.0 as usize].traits.limits = Limits { upper, lower: 0 };
            }
        };
        let mut rig = rig(workers, |s| {
            let service = &mut s.services[net::service_index(kind.0, kind.1, kind.2)];
            service.terms.persistence = Some(Persistence { timeout: 100, prefix: 32 });
            limit(s, 2);
        });
        let first = opened(&mut rig, 0, kind, 1000);
        for cport in 1001..1006 {
            assert_eq!(opened(&mut rig, usize::from(cport) % workers, kind, cport), first);
        }
        // Another client does not get there, until the limit is another one.
        let other = |rig: &mut Rig, n| {
            let vip = net::service_addr(kind.0, kind.2);
            let cport = 3000 + u16::from(n);
            rig.feed(WAN, &Packet::tcp(net::client(V4, n, cport), vip, flag::SYN).bytes());
            dest(rig, cport)
        };
        let others: Vec<_> = (10..14).map(|n| other(&mut rig, n)).collect();
        assert!(others.iter().all(|dest| dest.is_some() && *dest != first), "{others:?}");
        assert_eq!(other(&mut rig, 20), None, "all are full");
        rig.reload(|s| limit(s, 100));
        assert!(other(&mut rig, 21).is_some());
        rig.reload(|s| limit(s, 2));
        assert_eq!(other(&mut rig, 22), None);
        rig.reload(|s| limit(s, 0));
        assert!(other(&mut rig, 23).is_some());
    }
}

#[test]
fn conns_of_a_removed_dest_end_where_ipvs_is_told_so() {
    for workers in [1, 3] {
        for forward in net::METHODS {
            let kind = (V4, Proto::Tcp, forward);
            let mut rig = rig(workers, |s| {
                s.dests.iter_mut().for_each(|d| d.traits.on_dead = OnDead::Drop);
            });
            let first = opened(&mut rig, 0, kind, 1000).unwrap();
            send(&mut rig, 0, kind, 1000, flag::ACK);
            rig.reload(|s| remove(s, kind, first, true));
            rig.pass(secs(2));
            assert!(send(&mut rig, 0, kind, 1000, flag::ACK).sent.is_empty());
            assert_eq!(rig.drops(), [(DropReason::DeadDest, 1)]);
            // At once, before housekeeping has looked.
            rig.reload(|s| s.ipvs.expire_nodest_conn = true);
            let told = send(&mut rig, 0, kind, 1000, flag::ACK);
            assert!(is_reset(&told) && rig.conns().is_empty(), "{kind:?}");
            let second = opened(&mut rig, 0, kind, 1000).unwrap();
            assert_ne!(second, first);
            // And without a packet.
            rig.reload(|s| remove(s, kind, second, true));
            rig.pass(secs(2));
            assert!(rig.conns().is_empty());
        }
    }
}

#[test]
fn a_removed_dest_that_returns_finds_its_conns_and_counters() {
    for forward in net::METHODS {
        let kind = (V4, Proto::Tcp, forward);
        let mut rig = rig(2, |s| {
            s.dests.iter_mut().for_each(|d| d.traits.on_dead = OnDead::Drop);
        });
        let first = opened(&mut rig, 0, kind, 1000).unwrap();
        send(&mut rig, 0, kind, 1000, flag::ACK);
        rig.reload(|s| remove(s, kind, first, true));
        rig.pass(secs(2));
        assert!(send(&mut rig, 0, kind, 1000, flag::ACK).sent.is_empty());
        rig.reload(|s| remove(s, kind, first, false));
        assert_eq!(send(&mut rig, 0, kind, 1000, flag::ACK).sent.len(), 1);
        assert_eq!(rig.dest(first, |s| &s.conns), 1);
        assert_eq!(rig.dest(first, |s| &s.in_packets), 3);
        assert_eq!(rig.dest(first, |s| &s.active), 1);
    }
}

#[test]
fn a_syn_leaves_a_quiesced_dest_where_ipvs_is_told_so() {
    for workers in [1, 3] {
        for forward in net::METHODS {
            let kind = (V4, Proto::Tcp, forward);
            let mut rig = rig(workers, |_| {});
            let first = opened(&mut rig, 0, kind, 1000).unwrap();
            send(&mut rig, 0, kind, 1000, flag::ACK);
            let quiesce = |s: &mut Snapshot| {
                let service = &mut s.services[net::service_index(kind.0, kind.1, kind.2)];
                service.dests.iter_mut().filter(|c| c.id == first).for_each(|c| c.weight = 0);
                service.version += 1;
                s.dests[first.0 as usize].weight = 0;
            };
            rig.reload(quiesce);
            send(&mut rig, 0, kind, 1000, flag::SYN);
            assert_eq!(dest(&rig, 1000), Some(first), "an established conn goes on");
            rig.reload(|s| s.ipvs.expire_nodest_conn = true);
            send(&mut rig, 0, kind, 1000, flag::ACK);
            assert_eq!(dest(&rig, 1000), Some(first), "no SYN, no other dest");
            assert_ne!(opened(&mut rig, 0, kind, 1000), Some(first));
            assert_eq!(rig.conns().iter().filter(|c| c.1.elsewhere().is_none()).count(), 1);
        }
    }
}

#[test]
fn sloppy_tcp_takes_conns_over() {
    for workers in [1, 2] {
        for family in net::FAMILIES {
            for forward in net::METHODS {
                let kind = (family, Proto::Tcp, forward);
                let mut rig = rig(workers, |_| {});
                assert!(is_reset(&send(&mut rig, 0, kind, 1000, flag::ACK)));
                rig.reload(|s| s.ipvs.sloppy_tcp = true);
                assert!(send(&mut rig, 0, kind, 1000, flag::RST).sent.is_empty());
                let out = send(&mut rig, 0, kind, 1000, flag::ACK);
                if forward == Forward::FullNat {
                    // Its numbers cannot be known.
                    assert!(is_reset(&out));
                    continue;
                }
                assert_eq!(rig.conn().1.state(), State::Established);
                assert_eq!(out.only().port, LAN);
            }
        }
    }
}

/// `is_new_conn_expected`.
#[test]
fn a_syn_begins_an_ended_conns_tuple_anew() {
    for forward in net::METHODS {
        let kind = (V4, Proto::Tcp, forward);
        let full_nat = forward == Forward::FullNat;
        for (mode, closed, half_closed) in
            [(0, full_nat, full_nat), (1, true, false), (2, true, true), (3, true, true)]
        {
            let anew = |end: &dyn Fn(&mut Rig), change: &dyn Fn(&mut Snapshot)| {
                let mut rig = rig(1, |s| {
                    s.ipvs.conn_reuse_mode = mode;
                    change(s);
                });
                send(&mut rig, 0, kind, 1000, flag::SYN);
                send(&mut rig, 0, kind, 1000, flag::ACK);
                end(&mut rig);
                send(&mut rig, 0, kind, 1000, flag::SYN);
                ids(kind).iter().map(|id| rig.dest(*id, |s| &s.conns)).sum::<u64>() == 2
            };
            let close = |rig: &mut Rig| {
                send(rig, 0, kind, 1000, flag::RST);
                let conns = rig.conns();
                assert!(conns.iter().all(|c| c.1.state() == State::Close));
            };
            assert_eq!(anew(&close, &|_| {}), closed, "{forward:?}, mode {mode}");
            if !forward.sees_replies() {
                let half_close = |rig: &mut Rig| {
                    send(rig, 0, kind, 1000, flag::FIN | flag::ACK);
                    assert_eq!(rig.conn().1.state(), State::FinWait);
                };
                assert_eq!(anew(&half_close, &|_| {}), half_closed, "{forward:?}, mode {mode}");
            }
            // Conns that a template controls go on as they are.
            let persist = |s: &mut Snapshot| {
                let service = &mut s.services[net::service_index(kind.0, kind.1, kind.2)];
                service.terms.persistence = Some(Persistence { timeout: 100, prefix: 32 });
            };
            assert_eq!(anew(&close, &persist), full_nat, "{forward:?}, mode {mode}");
        }
    }
}

/// `ip_vs_schedule`: never an FTP server's data conns.
#[test]
fn what_comes_from_port_20_is_not_scheduled() {
    for workers in [1, 2] {
        for family in net::FAMILIES {
            for proto in net::PROTOS {
                let kind = (family, proto, Forward::Nat);
                let mut rig = rig(workers, |_| {});
                let told = send(&mut rig, 0, kind, 20, flag::SYN);
                assert_eq!((told.sent.len(), told.only().port), (1, WAN));
                assert!(rig.conns().is_empty());
                assert_eq!(rig.drops(), [(DropReason::ClosedPort, 1)]);
            }
        }
    }
}

#[test]
fn where_no_dest_is_left_a_service_may_reset_instead() {
    for workers in [1, 3] {
        for family in net::FAMILIES {
            for proto in net::PROTOS {
                for (resets, persistent) in [(false, false), (true, false), (true, true)] {
                    let kind = (family, proto, Forward::Dr);
                    let mut rig = rig(workers, |s| {
                        let service = &mut s.services[net::service_index(kind.0, kind.1, kind.2)];
                        service.dests.clear();
                        service.terms.resets = resets;
                        service.terms.persistence =
                            persistent.then_some(Persistence { timeout: 9, prefix: 24 });
                    });
                    let told = send(&mut rig, 0, kind, 1000, flag::SYN);
                    let made = match (resets, proto) {
                        (true, Proto::Tcp) => Made::Reset,
                        _ => Made::Unreachable,
                    };
                    assert_eq!((told.sent.len(), rig.made(made)), (1, 1), "{kind:?}");
                    assert_eq!(rig.drops(), [(DropReason::NoDest, 1)]);
                }
            }
        }
    }
}

/// The counts are read where the other workers write them: a pick sees every conn that was opened
/// before it, by whichever worker.
#[test]
fn the_counting_schedulers_count_the_conns_of_all_workers() {
    for family in net::FAMILIES {
        for sched in [Sched::Lc, Sched::Wlc, Sched::Sed, Sched::Nq, Sched::Ovf] {
            let kind = (family, Proto::Tcp, Forward::Dr);
            let mut rig = rig(3, |s| {
                let service = &mut s.services[net::service_index(family, Proto::Tcp, Forward::Dr)];
                service.dests.iter_mut().for_each(|c| c.weight = 4);
                service.sched = sched.clone();
            });
            for n in 0..12 {
                let id = opened(&mut rig, usize::from(n) % 3, kind, 1000 + n).unwrap();
                let active = ids(kind).map(|id| rig.dest(id, |s| &s.active));
                let (least, most) = (active.iter().min().unwrap(), active.iter().max().unwrap());
                let is_even = most - least <= 1;
                // The overflow scheduler fills one after another, to one more than its weight.
                let is_full_first = active.iter().filter(|n| **n > 0 && **n <= 4).count() <= 1;
                let expected = if sched == Sched::Ovf { is_full_first } else { is_even };
                assert!(expected, "{} sent conn {n} to {id:?}: {active:?}", sched.name());
            }
            let of_worker = |w| rig.conns().iter().filter(|(worker, ..)| *worker == w).count();
            assert!((0..3).all(|w| of_worker(w) > 0), "one worker opened all");
        }
    }
}

/// Each worker goes round for itself, and begins elsewhere in the list.
#[test]
fn rr_and_wrr_go_round_for_each_worker() {
    for sched in [Sched::Rr, Sched::Wrr] {
        let kind = (V4, Proto::Tcp, Forward::Dr);
        let mut rig = rig(3, |s| {
            s.ports.iter_mut().for_each(|port| port.fixed_queue = true);
            s.services[net::service_index(V4, Proto::Tcp, Forward::Dr)].sched = sched.clone();
        });
        let mut first = Vec::new();
        for at in 0..3 {
            let cport = |n: u16| 1000 + 100 * at as u16 + n;
            let dests: Vec<_> =
                (0..6).map(|n| opened(&mut rig, at, kind, cport(n)).unwrap()).collect();
            assert_eq!(dests[..3], dests[3..]);
            first.push(dests[0]);
            let mut round = dests[..3].to_vec();
            round.sort_unstable();
            assert_eq!(round, ids(kind));
        }
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 3, "{}", sched.name());
    }
}
