//! Persistence: a client's conns go to one dest, as the kernel has it.

use pointsman::io::mem::MemFrame;
use pointsman_dataplane::frame::Burst;
use pointsman_dataplane::pipeline::Handed;
use pointsman_dataplane::pipeline::Seek;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::Persistence;
use pointsman_dataplane::service::Scope;
use pointsman_dataplane::service::Service;
use pointsman_dataplane::snapshot::Defend;
use pointsman_dataplane::snapshot::LocalPool;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::templates::Template;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_dataplane::verdict::Made;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::net::add_like;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use std::net::SocketAddr;
use std::time::Duration;

const TIMEOUT: u32 = 360;

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// A client's network is a /24 or a /64, all of `net::client`.
fn persist(service: &mut Service) {
    let prefix = net::of(service.addr.family(), 24, 64);
    service.terms.persistence = Some(Persistence { timeout: TIMEOUT, prefix });
}

/// A rig whose service of this kind is persistent.
fn rig(workers: usize, kind: (Family, Proto, Forward), change: impl FnOnce(&mut Snapshot)) -> Rig {
    let options = Options { workers, ..Options::default() };
    Rig::build(options, |s, _| {
        persist(&mut s.services[net::service_index(kind.0, kind.1, kind.2)]);
        change(s);
    })
}

fn packet(proto: Proto, client: SocketAddr, to: SocketAddr, flags: u8) -> Packet {
    match proto {
        Proto::Tcp => Packet::tcp(client, to, flags),
        _ => Packet::udp(client, to),
    }
}

/// Opens a conn; the dest it went to, none where it was not opened.
fn open(
    rig: &mut Rig,
    at: usize,
    kind: (Family, Proto, Forward),
    (n, cport): (u8, u16),
) -> Option<DestId> {
    let to = net::service_addr(kind.0, kind.2);
    open_to(rig, at, kind, (n, cport), to)
}

fn open_to(
    rig: &mut Rig,
    at: usize,
    (family, proto, _): (Family, Proto, Forward),
    (n, cport): (u8, u16),
    to: SocketAddr,
) -> Option<DestId> {
    let client = net::client(family, n, cport);
    rig.feed_at(at, WAN, &[&packet(proto, client, to, flag::SYN).bytes()]);
    dest_of(rig, client, to)
}

fn dest_of(rig: &Rig, client: SocketAddr, to: SocketAddr) -> Option<DestId> {
    let found = rig.conns().into_iter().find(|(_, _, e)| {
        let ends = (Addr::from(client.ip()), client.port(), Addr::from(to.ip()), to.port());
        (e.caddr, e.cport, e.vaddr, e.vport) == ends
    });
    found.map(|(_, conn, _)| conn.dest())
}

fn each(mut run: impl FnMut(usize, (Family, Proto, Forward))) {
    for workers in [1, 3] {
        for family in net::FAMILIES {
            for proto in net::PROTOS {
                for forward in net::METHODS {
                    run(workers, (family, proto, forward));
                }
            }
        }
    }
}

fn only(rig: &Rig) -> Template {
    let templates = rig.templates();
    assert_eq!(templates.len(), 1, "{templates:?}");
    templates[0].1
}

#[test]
fn conns_of_one_client_network_go_to_one_dest() {
    each(|workers, kind| {
        let mut rig = rig(workers, kind, |_| {});
        let first = open(&mut rig, 0, kind, (1, 1000)).unwrap();
        for n in 0..20 {
            let at = usize::from(n) % workers;
            assert_eq!(open(&mut rig, at, kind, (n, 2000 + u16::from(n))), Some(first), "{kind:?}");
        }
        assert_eq!((only(&rig).conns, rig.drops()), (21, vec![]));
        assert_eq!(rig.dest(first, |s| &s.persistent), 1);
    });
}

#[test]
fn clients_of_other_networks_are_scheduled_for_themselves() {
    let kind = (Family::V4, Proto::Tcp, Forward::Nat);
    let mut rig = rig(2, kind, |s| {
        let service = &mut s.services[net::service_index(kind.0, kind.1, kind.2)];
        service.terms.persistence = Some(Persistence { timeout: TIMEOUT, prefix: 32 });
    });
    let dests: Vec<_> =
        (0..30).map(|n| open(&mut rig, usize::from(n) % 2, kind, (n, 1000)).unwrap()).collect();
    for n in 0..30 {
        let again = open(&mut rig, usize::from(n + 1) % 2, kind, (n, 1001));
        assert_eq!(again, Some(dests[usize::from(n)]));
    }
    let distinct: std::collections::BTreeSet<_> = dests.iter().collect();
    assert_eq!((rig.templates().len(), distinct.len()), (30, 3));
}

/// Frames of one network that reach every worker at once, before any of them has gone round.
#[test]
fn there_are_never_two_templates_for_one_key() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            let kind = (family, Proto::Tcp, forward);
            let mut rig = rig(3, kind, |_| {});
            let to = net::service_addr(family, forward);
            let frames: Vec<_> = (0..30u8)
                .map(|n| packet(kind.1, net::client(family, n, 1000), to, flag::SYN).bytes())
                .collect();
            for (at, frames) in frames.chunks(10).enumerate() {
                let now = rig.now;
                let (pipeline, outbox, pool) = rig.parts(at);
                let mut burst = Burst::new();
                frames.iter().for_each(|f| burst.push(pool.frame(f).unwrap()));
                pipeline.process(WAN, &mut burst, now, pool, outbox);
            }
            // Only now does anything move between them.
            (0..3).for_each(|at| drop(rig.settled(at)));
            assert_eq!(only(&rig).conns, 30, "{kind:?}");
            let dests: std::collections::BTreeSet<_> =
                rig.conns().iter().map(|(_, conn, _)| conn.dest()).collect();
            assert_eq!(dests.len(), 1);
        }
    }
}

/// `ip_vs_sched_persist`: protocol, client's network, address, and the port unless it is FTP's.
#[test]
fn templates_have_the_kernels_keys() {
    for family in net::FAMILIES {
        let model = net::service_index(family, Proto::Tcp, Forward::Nat);
        let kind = (family, Proto::Tcp, Forward::Nat);
        let mut rig = rig(2, kind, |s| {
            let ports = |s: &mut Snapshot, id: usize, port| {
                let ids: Vec<_> = s.services[id].dests.iter().map(|c| c.id.0 as usize).collect();
                ids.iter().for_each(|id| s.dests[*id].port = port);
            };
            let ftp = add_like(s, model, |s| s.port = 21);
            ports(s, ftp, 21);
            let every = add_like(s, model, |s| (s.port, s.proto) = (0, Proto::Udp));
            ports(s, every, 0);
            let marked = add_like(s, model, |s| s.scope = Scope::Mark(0x0a0b_0c0d));
            ports(s, marked, 0);
            s.marks.push(net::mark_port(family, 7777, 0x0a0b_0c0d));
        });
        let vip = net::vip(family);
        let mut key = |proto, port, kind_proto| {
            rig.pass(secs(800));
            assert!(rig.templates().is_empty());
            let to = SocketAddr::new(vip, port);
            open_to(&mut rig, 1, (family, proto, Forward::Nat), (9, 1000), to).unwrap();
            let template = only(&rig);
            let key = template.key;
            assert_eq!(key.client, net::client(family, 0, 0).ip().into());
            assert_eq!(key.proto, kind_proto);
            (key.vaddr, key.vport, template.dport)
        };
        let (tcp, udp) = (Some(Proto::Tcp), Some(Proto::Udp));
        assert_eq!(key(Proto::Tcp, 80, tcp), (vip.into(), 80, 8080));
        assert_eq!(key(Proto::Tcp, 21, tcp), (vip.into(), 0, 0));
        assert_eq!(key(Proto::Udp, 5555, udp), (vip.into(), 0, 0));
        let mark = match family {
            Family::V4 => Addr::v4(0x0a0b_0c0d),
            Family::V6 => Addr::v6(0x0a0b_0c0d << 96),
        };
        assert_eq!(key(Proto::Tcp, 7777, None), (mark, 0, 0));
        assert_eq!(key(Proto::Udp, 7777, None), (mark, 0, 0));
    }
}

#[test]
fn every_port_of_a_client_goes_to_one_dest() {
    for workers in [1, 3] {
        for family in net::FAMILIES {
            for forward in net::METHODS {
                let kind = (family, Proto::Tcp, forward);
                let at = net::service_index(family, Proto::Tcp, forward);
                let mut rig = rig(workers, kind, |s| {
                    s.services.retain(|s| s.id.0 as usize == at);
                    s.services[0].port = 0;
                    s.dests.iter_mut().for_each(|d| d.port = 0);
                });
                let mut dests = std::collections::BTreeSet::new();
                for port in [1u16, 22, 80, 443, 5555, 65_535] {
                    let to = SocketAddr::new(net::vip(family), port);
                    let at = usize::from(port) % workers;
                    dests.insert(open_to(&mut rig, at, kind, (1, 1000), to).unwrap().0);
                }
                assert_eq!((dests.len(), only(&rig).conns), (1, 6));
            }
        }
    }
}

#[test]
fn a_template_lasts_its_timeout_from_the_last_conn_that_began() {
    for workers in [1, 2] {
        let kind = (Family::V4, Proto::Udp, Forward::Dr);
        let mut rig = rig(workers, kind, |s| {
            s.dests.iter_mut().for_each(|d| d.traits.udp_timeout = 1000);
        });
        let first = open(&mut rig, 0, kind, (1, 1000));
        rig.pass(secs(300));
        assert!(only(&rig).left <= secs(60));
        assert_eq!(open(&mut rig, 1 % workers, kind, (2, 1000)), first);
        assert_eq!(only(&rig).left, secs(360));
        rig.pass(secs(359));
        assert_eq!(rig.templates().len(), 1);
        rig.pass(secs(2));
        assert!(rig.templates().is_empty() && rig.conns().is_empty());
        assert_ne!(open(&mut rig, 0, kind, (1, 1000)), first, "round robin goes on");
    }
}

/// `ip_vs_conn_expire`: a template that controls conns is set to 60 s, again and again, and keeps
/// that timeout.
#[test]
fn a_template_goes_on_for_60_s_while_it_has_conns() {
    for workers in [1, 2] {
        let kind = (Family::V4, Proto::Tcp, Forward::Dr);
        let mut rig = rig(workers, kind, |_| {});
        let client = net::client(kind.0, 1, 1000);
        let to = net::service_addr(kind.0, kind.2);
        let first = open(&mut rig, 0, kind, (1, 1000));
        rig.feed(WAN, &packet(Proto::Tcp, client, to, flag::ACK).bytes());
        for _ in 0..2 {
            rig.pass(secs(400));
            let left = only(&rig).left;
            assert!(left <= secs(60), "{left:?}");
            rig.feed(WAN, &packet(Proto::Tcp, client, to, flag::ACK).bytes());
        }
        // A new conn sets it to 60 s, not to 360.
        assert_eq!(open(&mut rig, 0, kind, (2, 1000)), first);
        assert_eq!(only(&rig).left, secs(60));
        // The last conn ends after 900 s, its template at most 60 s later.
        rig.pass(secs(962));
        assert!(rig.conns().is_empty() && rig.templates().is_empty());
    }
}

#[test]
fn a_template_is_assured_once_a_conn_is_established() {
    each(|workers, kind| {
        let (family, proto, forward) = kind;
        let mut rig = rig(workers, kind, |_| {});
        let client = net::client(family, 1, 1000);
        let to = net::service_addr(family, forward);
        let seen = rig.feed(WAN, &packet(proto, client, to, flag::SYN).bytes());
        assert!(!only(&rig).assured);
        match (proto, forward.sees_replies()) {
            (Proto::Tcp, _) => {
                rig.feed(WAN, &packet(proto, client, to, flag::ACK).bytes());
            }
            (_, true) => {
                let seen = seen.seen();
                let reply = Packet::udp(seen.dst, seen.src).from_lan(seen.eth.0);
                rig.feed_at(workers - 1, LAN, &[&reply.bytes()]);
            }
            // As in the kernel: only an answer assures, and none passes.
            (_, false) => return,
        }
        assert!(only(&rig).assured, "{kind:?}");
    });
}

#[test]
fn a_quiesced_dest_keeps_its_clients_and_gets_no_others() {
    for family in net::FAMILIES {
        for workers in [1, 2] {
            let kind = (family, Proto::Tcp, Forward::FullNat);
            let mut rig = rig(workers, kind, |s| quiesce_all_but(s, kind, 0));
            let first = open(&mut rig, 0, kind, (1, 1000));
            assert_eq!(first, Some(net::dest_id(kind.0, kind.1, kind.2, 0)));
            rig.reload(|s| quiesce_all_but(s, kind, 1));
            assert_eq!(open(&mut rig, 0, kind, (2, 1000)), first);
            // With the sysctl it loses them with their next conn.
            rig.reload(|s| s.ipvs.expire_quiescent_template = true);
            let second = Some(net::dest_id(kind.0, kind.1, kind.2, 1));
            assert_eq!(open(&mut rig, 1 % workers, kind, (3, 1000)), second);
            let valid: Vec<_> = rig.templates().iter().map(|(_, t)| t.valid).collect();
            assert_eq!(valid.iter().filter(|valid| **valid).count(), 1);
            assert_eq!(valid.len(), 2, "the old one ends when its time is up");
        }
    }
}

fn quiesce_all_but(s: &mut Snapshot, (family, proto, forward): (Family, Proto, Forward), n: usize) {
    let service = &mut s.services[net::service_index(family, proto, forward)];
    for candidate in &mut service.dests {
        candidate.weight = u32::from(candidate.id == net::dest_id(family, proto, forward, n));
        s.dests[candidate.id.0 as usize].weight = candidate.weight;
    }
    service.version += 1;
}

#[test]
fn a_removed_dest_loses_its_clients_unless_it_comes_back() {
    for workers in [1, 2] {
        let kind = (Family::V4, Proto::Udp, Forward::Nat);
        let mut rig = rig(workers, kind, |_| {});
        let first = open(&mut rig, 0, kind, (1, 1000)).unwrap();
        let remove = |s: &mut Snapshot, removed: bool| {
            let at = net::service_index(kind.0, kind.1, kind.2);
            s.dests[first.0 as usize].removed = removed;
            let mut dests = net::candidates(kind.0, kind.1, kind.2);
            dests.retain(|c| !removed || c.id != first);
            s.services[at].dests = dests;
            s.services[at].version += 1;
        };
        rig.reload(|s| remove(s, true));
        // Nobody has asked meanwhile.
        rig.reload(|s| remove(s, false));
        assert_eq!(open(&mut rig, 0, kind, (2, 1000)), Some(first));
        rig.reload(|s| remove(s, true));
        let second = open(&mut rig, 0, kind, (3, 1000)).unwrap();
        assert_ne!(second, first);
        rig.reload(|s| remove(s, false));
        assert_eq!(open(&mut rig, 0, kind, (4, 1000)), Some(second), "its template was of no use");
    }
}

#[test]
fn templates_last_over_reloads() {
    let kind = (Family::V6, Proto::Tcp, Forward::FullNat);
    let mut rig = rig(2, kind, |_| {});
    let first = open(&mut rig, 0, kind, (1, 1000));
    rig.reload(|s| {
        let service = &mut s.services[net::service_index(kind.0, kind.1, kind.2)];
        service.version += 1;
        service.dests.reverse();
    });
    assert_eq!(open(&mut rig, 1, kind, (2, 1000)), first);
}

#[test]
fn where_no_dest_is_left_the_client_is_told_by_whichever_worker() {
    for workers in [1, 3] {
        for family in net::FAMILIES {
            let kind = (family, Proto::Tcp, Forward::Nat);
            let mut rig = rig(workers, kind, |s| quiesce_all_but(s, kind, 9));
            for at in 0..workers {
                assert_eq!(open(&mut rig, at, kind, (at as u8, 1000)), None);
            }
            assert_eq!(rig.drops(), [(DropReason::NoDest, workers as u64)]);
            assert_eq!(rig.made(Made::Unreachable), workers as u64);
            assert!(rig.templates().is_empty());
        }
    }
}

#[test]
fn a_syn_sent_again_meanwhile_is_of_the_conn_it_began() {
    for forward in net::METHODS {
        let kind = (Family::V4, Proto::Tcp, forward);
        let mut rig = rig(3, kind, |_| {});
        let (client, to) = (net::client(kind.0, 1, 1000), net::service_addr(kind.0, forward));
        let syn = packet(kind.1, client, to, flag::SYN).bytes();
        for at in 0..3 {
            // Twice in one burst: the second finds the first on its way.
            assert_eq!(rig.feed_at(at, WAN, &[&syn, &syn]).sent.len(), 2);
        }
        assert_eq!((rig.conns().len(), only(&rig).conns), (1, 1));
    }
}

/// The first fragment waits at the worker that keeps the template; those behind it go there, too.
#[test]
fn later_fragments_follow_the_first_to_the_template_and_back() {
    each(|workers, kind| {
        let (family, proto, forward) = kind;
        let mut rig = rig(workers, kind, |_| {});
        let to = net::service_addr(family, forward);
        for n in 0..20 {
            let client = net::client(family, n, 1000);
            let whole = packet(proto, client, to, flag::SYN).payload(&[7; 60]);
            let pieces = whole.cut(40 + u32::from(n), &[24, 48]);
            // In order, and with the last one before the first.
            let order = if n % 2 == 0 { [0, 1, 2] } else { [2, 0, 1] };
            let frames = order.map(|i| pieces[i].bytes());
            let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
            let out = rig.feed_at(usize::from(n) % workers, WAN, &frames);
            assert_eq!(out.sent.len(), 3, "{kind:?} {:?}", rig.drops());
        }
        assert_eq!((only(&rig).conns, rig.conns().len()), (20, 20));
        assert_eq!((rig.drops(), rig.sum(|s| &s.held)), (vec![], 0));
    });
}

/// Where the first fragment opens nothing, those behind it come back and are dropped by name.
#[test]
fn fragments_behind_a_first_one_that_opened_nothing_are_orphans() {
    let kind = (Family::V4, Proto::Udp, Forward::Nat);
    let mut rig = rig(3, kind, |s| quiesce_all_but(s, kind, 9));
    let to = net::service_addr(kind.0, kind.2);
    for n in 0..9 {
        let whole = Packet::udp(net::client(kind.0, n, 1000), to).payload(&[7; 60]);
        for piece in whole.cut(u32::from(n), &[24]) {
            rig.feed(WAN, &piece.bytes());
        }
    }
    let drops = [DropReason::NoDest, DropReason::FragmentOrphan].map(|reason| rig.dropped(reason));
    assert_eq!((drops, rig.conns().len()), ([9, 9], 0), "{:?}", rig.drops());
}

#[test]
fn conns_that_end_leave_their_template() {
    let kind = (Family::V4, Proto::Udp, Forward::FullNat);
    let mut rig = rig(3, kind, |s| {
        s.dests.iter_mut().for_each(|d| d.traits.udp_timeout = 10_000);
    });
    for n in 0..10 {
        open(&mut rig, usize::from(n) % 3, kind, (n, 1000)).unwrap();
    }
    assert_eq!(only(&rig).conns, 10);
    rig.pass(secs(12));
    assert_eq!((rig.conns().len(), only(&rig).conns), (0, 0));
}

/// A worker that has the newest snapshot names dests of which the others have not heard.
#[test]
fn a_template_to_a_dest_that_a_worker_does_not_know_yet_opens_nothing() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            let kind = (family, Proto::Tcp, forward);
            let at = net::service_index(family, Proto::Tcp, forward);
            let mut rig = rig(2, kind, |s| {
                let prefix = net::of(family, 32, 128);
                s.services[at].terms.persistence = Some(Persistence { timeout: TIMEOUT, prefix });
            });
            rig.reload_one(1, |s| net::renew_dests(s, at));
            let opened = (0..40).filter(|n| open(&mut rig, 0, kind, (*n, 1000)).is_some()).count();
            let dropped = rig.dropped(DropReason::Reloading) as usize;
            assert_eq!(opened + dropped, 40);
            assert!(opened > 0 && dropped > 0, "{opened} {dropped}");
            assert!(rig.conns().iter().all(|(_, conn, _)| conn.elsewhere().is_none()));
            // They all have the template by then.
            rig.reload_one(0, |s| net::renew_dests(s, at));
            for n in 0..40 {
                assert!(open(&mut rig, 0, kind, (n, 1001)).is_some());
            }
        }
    }
}

/// Full-NAT where only one of three workers has ports: the others keep entries that lead to it, and
/// a second conn on the tuple is asked for wherever its template is kept.
#[test]
fn a_conn_on_an_ended_ones_tuple_goes_by_the_template_wherever_it_lives() {
    for family in net::FAMILIES {
        let kind = (family, Proto::Tcp, Forward::FullNat);
        let at = net::service_index(family, Proto::Tcp, Forward::FullNat);
        let mut rig = rig(3, kind, |s| {
            let prefix = net::of(family, 32, 128);
            s.services[at].terms.persistence = Some(Persistence { timeout: TIMEOUT, prefix });
        });
        for worker in [0, 2] {
            rig.reload_one(worker, |s| s.pools[0] = LocalPool::default());
        }
        let to = net::service_addr(family, Forward::FullNat);
        for n in 0..30 {
            let client = net::client(family, n, 1000);
            let mut send = |flags| {
                let out = rig.feed(WAN, &Packet::tcp(client, to, flags).bytes());
                out.only().port
            };
            let all = [flag::SYN, flag::ACK, flag::RST, flag::SYN, flag::ACK, flag::ACK];
            assert!(all.into_iter().all(|flags| send(flags) == LAN));
            let living = rig.conns().into_iter().filter(|(_, conn, _)| conn.elsewhere().is_none());
            assert!(living.clone().all(|(worker, _, _)| worker == 1));
            assert_eq!(living.count(), usize::from(n) + 1);
        }
        assert_eq!(rig.drops(), []);
        assert!(rig.templates().iter().all(|(_, template)| template.conns == 1));
        assert_eq!(rig.templates().len(), 30);
        rig.pass(secs(901));
        assert_eq!(rig.conns().len(), 0, "no entry is left");
        rig.pass(secs(61));
        assert_eq!(rig.templates().len(), 0);
    }
}

/// The service is gone and will not ask for its dests again: nothing keeps their numbers in use.
#[test]
fn templates_of_a_service_that_is_gone_end_with_their_conns() {
    for workers in [1, 3] {
        for family in net::FAMILIES {
            let kind = (family, Proto::Udp, Forward::Nat);
            let at = net::service_index(kind.0, kind.1, kind.2);
            let mut rig = rig(workers, kind, |s| {
                s.dests.iter_mut().for_each(|d| d.traits.udp_timeout = 20_000);
                s.services[at].terms.persistence =
                    Some(Persistence { timeout: TIMEOUT, prefix: net::of(family, 32, 128) });
            });
            for n in 0..8 {
                open(&mut rig, 0, kind, (n, 1000)).unwrap();
            }
            rig.pass(secs(15));
            open(&mut rig, 0, kind, (7, 1000)).unwrap();
            rig.reload(|s| {
                for id in s.services.remove(at).dests.iter().map(|c| c.id.0 as usize) {
                    s.dests[id].removed = true;
                }
            });
            rig.pass(secs(8));
            assert_eq!(rig.templates().len(), 8, "a removed dest may come back");
            rig.reload(|s| {
                s.dests.iter_mut().filter(|d| d.removed).for_each(|d| d.traits.orphaned = true);
            });
            rig.pass(secs(2));
            let left: Vec<_> = rig.templates().iter().map(|(_, t)| t.conns).collect();
            assert_eq!((left, rig.conns().len()), (vec![1], 1), "one still goes by its template");
            rig.pass(secs(15));
            assert!(rig.templates().is_empty());
        }
    }
}

/// A frame on its way from the worker that keeps a template keeps it, too.
#[test]
fn a_template_whose_first_conn_is_on_its_way_is_not_ended_early() {
    let kind = (Family::V4, Proto::Tcp, Forward::Dr);
    let mut rig = rig(2, kind, |s| s.ipvs.drop_entry = Defend::Always);
    let to = net::service_addr(kind.0, kind.2);
    let asked = (0..50u8).find_map(|n| {
        let syn = packet(kind.1, net::client(kind.0, n, 1000), to, flag::SYN).bytes();
        let handed = asked(&mut rig, &syn);
        if handed.is_none() {
            rig.settled(0);
            rig.pass(secs(500));
        }
        handed
    });
    let now = rig.now;
    let (pipeline, outbox, pool) = rig.parts(1);
    pipeline.take_over(asked.unwrap(), now, pool, outbox);
    assert_eq!(pipeline.templates(now).count(), 1);
    pipeline.housekeeping(now, pool, outbox);
    assert_eq!(pipeline.templates(now).count(), 1, "a flood's, by all that is known yet");
    assert_eq!(rig.settled(1).sent.len(), 1);
    assert_eq!(only(&rig).conns, 1);
}

/// A client's SYN reaches worker 0; what that hands to worker 1, which keeps its template.
fn asked(rig: &mut Rig, syn: &[u8]) -> Option<Handed<MemFrame>> {
    let now = rig.now;
    let (pipeline, outbox, pool) = rig.parts(0);
    let mut burst = Burst::new();
    burst.push(pool.frame(syn).expect("the pool is whole"));
    pipeline.process(WAN, &mut burst, now, pool, outbox);
    let handed = outbox.handover[1].pop()?;
    if !matches!(handed.seeks, Some(Seek::Template(_))) {
        outbox.handover[1].push(handed);
        return None;
    }
    rig.stats(0).handed_over.add(1);
    Some(handed)
}

/// While it was asked for, its worker took the newest configuration, by which that keeps the template
/// itself, and the client came again.
#[test]
fn a_frame_that_comes_back_to_who_asked_finds_the_conn_that_was_opened_meanwhile() {
    for family in net::FAMILIES {
        let kind = (family, Proto::Tcp, Forward::Dr);
        let at = net::service_index(kind.0, kind.1, kind.2);
        let each_for_itself = |s: &mut Snapshot| {
            let prefix = net::of(family, 32, 128);
            s.services[at].terms.persistence = Some(Persistence { timeout: TIMEOUT, prefix });
        };
        let mut came_back = 0;
        for n in 0..60 {
            let mut rig = rig(2, kind, |_| {});
            rig.reload_one(1, each_for_itself);
            let to = net::service_addr(kind.0, kind.2);
            let syn = packet(kind.1, net::client(family, n, 1000), to, flag::SYN).bytes();
            let Some(handed) = asked(&mut rig, &syn) else {
                rig.settled(0);
                continue;
            };
            rig.reload_one(0, each_for_itself);
            let again = asked(&mut rig, &syn);
            came_back += usize::from(again.is_none());
            let now = rig.now;
            let (pipeline, outbox, pool) = rig.parts(1);
            for handed in [Some(handed), again].into_iter().flatten() {
                pipeline.take_over(handed, now, pool, outbox);
            }
            assert_eq!(rig.settled(1).sent.len(), 2);
            assert_eq!((rig.conns().len(), only(&rig).conns), (1, 1));
        }
        assert!(came_back > 0);
    }
}

/// Two workers that have different configurations may each take the other for the keeper.
#[test]
fn a_frame_does_not_go_round_while_workers_differ_about_who_keeps_its_template() {
    for family in net::FAMILIES {
        let kind = (family, Proto::Tcp, Forward::FullNat);
        let at = net::service_index(kind.0, kind.1, kind.2);
        let mut rig = rig(3, kind, |_| {});
        for worker in [1, 2] {
            rig.reload_one(worker, |s| {
                let prefix = net::of(family, [30, 32], [126, 128])[worker - 1];
                let persistence = Persistence { timeout: TIMEOUT, prefix };
                s.services[at].terms.persistence = Some(persistence);
            });
        }
        let (to, mut opened) = (net::service_addr(kind.0, kind.2), 0);
        for n in 0..90 {
            let syn = packet(kind.1, net::client(family, n, 1000), to, flag::SYN).bytes();
            let out = rig.feed_at(usize::from(n) % 3, WAN, &[&syn]);
            assert!(out.handed.len() <= 5, "{:?}", out.handed);
            opened += out.sent.len();
        }
        let dropped = rig.dropped(DropReason::Reloading);
        assert_eq!(opened + dropped as usize, 90);
        assert!(opened > 0 && dropped > 0, "{opened} {dropped}");
    }
}

/// Full-NAT where only one of three workers has ports, and a conn on an ended one's tuple that no
/// dest is left for: the workers that sent the old one there hear that nothing came of it.
#[test]
fn who_sent_a_conn_hears_of_its_end_where_no_template_comes_of_its_tuple() {
    for family in net::FAMILIES {
        let kind = (family, Proto::Tcp, Forward::FullNat);
        let at = net::service_index(family, Proto::Tcp, Forward::FullNat);
        let mut rig = rig(3, kind, |s| {
            let prefix = net::of(family, 32, 128);
            s.services[at].terms.persistence = Some(Persistence { timeout: TIMEOUT, prefix });
            s.ipvs.expire_quiescent_template = true;
        });
        for worker in [0, 2] {
            rig.reload_one(worker, |s| s.pools[0] = LocalPool::default());
        }
        let to = net::service_addr(family, Forward::FullNat);
        let send = |rig: &mut Rig, n, flags| {
            rig.feed(WAN, &Packet::tcp(net::client(family, n, 1000), to, flags).bytes());
        };
        for n in 0..30 {
            for flags in [flag::SYN, flag::ACK, flag::RST] {
                send(&mut rig, n, flags);
            }
        }
        let entries = |rig: &Rig| {
            rig.conns().iter().filter(|(_, conn, _)| conn.elsewhere().is_some()).count()
        };
        assert!(entries(&rig) > 0);
        for worker in 0..3 {
            rig.reload_one(worker, |s| quiesce_all_but(s, kind, 9));
        }
        for n in 0..30 {
            send(&mut rig, n, flag::SYN);
        }
        assert_eq!((rig.dropped(DropReason::NoDest), rig.conns().len()), (30, 0));
    }
}
