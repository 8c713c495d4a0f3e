//! FTP's data conns when a reload takes away, in the middle of them, what their control conn belonged to.

use pointsman_dataplane::acl::Access;
use pointsman_dataplane::acl::Acl;
use pointsman_dataplane::service::Candidate;
use pointsman_dataplane::service::Dest;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::Persistence;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Prefix;
use pointsman_dataplane::tuple::Proto;
use pointsman_tests::craft::Body;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::ftp::Control;
use pointsman_tests::ftp::Way;
use pointsman_tests::ftp::passive_answer;
use pointsman_tests::ftp::port_command;
use pointsman_tests::net;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::talk::Talk;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const BOTH: [Forward; 2] = [Forward::Nat, Forward::FullNat];

fn every(run: impl Fn(Control, Family)) {
    for family in net::FAMILIES {
        for forward in BOTH {
            for workers in 1..=4 {
                run(Control::open(family, forward, workers), family);
            }
        }
    }
}

/// A data conn that runs, with how each side sees it: the one that began it, and the other.
struct Data {
    way: Way,
    there: Way,
    by_dest: bool,
}

fn passive(t: &mut Control, port: u16) -> Data {
    t.says("EPSV\r\n");
    t.answers(&passive_answer(true, t.dest.ip(), port));
    let way = (SocketAddr::new(t.client.ip(), 41_000), SocketAddr::new(t.vip.ip(), port));
    Data { way, there: t.transfers(way, false), by_dest: false }
}

fn active(t: &mut Control, family: Family, port: u16) -> Data {
    t.says(&port_command(family, true, t.client.ip(), port));
    let (_, awaited) =
        t.data_conns().into_iter().find(|(conn, _)| conn.is_awaited()).expect("announced");
    t.answers("200 PORT command successful.\r\n");
    let told = SocketAddr::new(awaited.laddr.into(), awaited.lport);
    let way = (SocketAddr::new(t.dest.ip(), 20), told);
    Data { way, there: t.transfers(way, true), by_dest: true }
}

/// Both sides send, by each worker.
fn goes_on(t: &mut Control, data: &Data) {
    let Data { way, there, by_dest } = *data;
    for _ in 0..t.rig.worker_count() {
        for (from, to, seen, of_dest) in
            [(way.0, way.1, there, by_dest), (there.1, there.0, (way.1, way.0), !by_dest)]
        {
            let body = Body::Tcp { flags: flag::ACK, seq: 7_020, ack: 90_020 };
            let p = Packet::new(from, to, body).payload(b"more");
            let out = t.feed(&if of_dest { p.from_lan(t.mac) } else { p });
            assert_eq!(out.sent.len(), 1, "{from} to {to}: {:?}", t.rig.drops());
            assert_eq!((out.seen().src, out.seen().dst), seen);
        }
    }
}

/// The service's dest that the control conn has; and its place.
fn dest_of(t: &Control) -> (usize, DestId) {
    let control = t.rig.conns().into_iter().find(|(_, _, ends)| ends.vport == 21);
    let control = control.expect("it is there");
    let at = t.rig.snapshot().services.len() - 1;
    (at, control.1.dest())
}

/// What a reload may do to the control conn's dest: take it out; take all of its service out; give it the other method,
/// which is another number.
const CHANGES: [fn(&mut Snapshot, usize, DestId); 3] = [
    |s, at, id| {
        s.services[at].dests.retain(|c| c.id != id);
        s.services[at].version += 1;
        s.dests[id.0 as usize].removed = true;
    },
    |s, at, _| {
        let service = s.services.remove(at);
        service.dests.iter().for_each(|c| s.dests[c.id.0 as usize].removed = true);
    },
    |s, at, id| {
        let before = s.dest(id).clone();
        let forward = match before.forward {
            Forward::Nat => Forward::FullNat,
            _ => Forward::Nat,
        };
        let new = DestId(s.dests.len() as u32);
        s.dests.push(Dest { forward, ..before });
        let is_it = |c: &&mut Candidate| c.id == id;
        s.services[at].dests.iter_mut().find(is_it).expect("it is listed").id = new;
        // Perhaps the last one by this method.
        s.services[at].dests.retain(|c| c.id == new);
        s.services[at].pool = Some(0);
        s.services[at].version += 1;
        let old = &mut s.dests[id.0 as usize];
        (old.removed, old.traits.superseded) = (true, true);
    },
];

#[test]
fn data_conns_that_run_go_on_when_their_dest_or_service_is_gone_or_has_another_method() {
    for change in CHANGES {
        every(|mut t, family| {
            let runs = [passive(&mut t, 51_201), active(&mut t, family, 42_000)];
            let (at, id) = dest_of(&t);
            t.rig.reload(|s| change(s, at, id));
            runs.iter().for_each(|data| goes_on(&mut t, data));
            assert_eq!(t.says("NOOP\r\n"), "NOOP\r\n");
            assert_eq!(t.rig.drops(), []);
        });
    }
}

/// What a removed dest serves it serves to its end: while its service is there, its control conns announce more.
#[test]
fn control_conns_of_a_removed_dest_announce_data_conns_still() {
    for change in [CHANGES[0], CHANGES[2]] {
        every(|mut t, family| {
            let (at, id) = dest_of(&t);
            t.rig.reload(|s| change(s, at, id));
            let runs = [passive(&mut t, 51_201), active(&mut t, family, 42_000)];
            runs.iter().for_each(|data| goes_on(&mut t, data));
            assert_eq!(t.rig.drops(), []);
        });
    }
}

/// A list of the service's denies its data conns, too, which are at no port of its own.
#[test]
fn a_new_access_list_of_the_service_ends_its_data_conns_too() {
    every(|mut t, family| {
        let data = passive(&mut t, 51_201);
        goes_on(&mut t, &data);
        let (at, _) = dest_of(&t);
        t.rig.reload(|s| {
            let client = Prefix::new(t.client.ip().into(), net::of(family, 32, 128));
            let acl = Arc::new(Acl::new([(client, false)], true));
            let mut access = Access::default();
            access.services.insert(s.services[at].id, acl);
            s.access = Arc::new(access);
        });
        let told = t.rig.pass(Duration::from_secs(2)).sent;
        assert_eq!(told.len(), 4, "both ends of both are reset");
        let p = Packet::tcp(data.way.0, data.way.1, flag::ACK);
        let out = t.feed(&p);
        assert!(out.sent.iter().all(|s| s.port == WAN), "nothing gets to the server");
    });
}

/// Where a service takes every port of the VIP, its conns are where its own rule says, and with a helped service at that
/// VIP they would be where that one's says.
#[test]
fn conns_of_every_port_are_found_when_a_helped_service_begins_at_their_vip() {
    for workers in 1..=4 {
        for family in net::FAMILIES {
            let options = Options { workers, ..Options::default() };
            let mut rig = Rig::build(options, |s, _| {
                let like = net::service_index(family, Proto::Tcp, Forward::FullNat);
                let every = net::add_like(s, like, |service| {
                    service.port = 0;
                    let prefix = net::of(family, 32, 128);
                    service.terms.persistence = Some(Persistence { timeout: 360, prefix });
                });
                for dest in s.services[every].dests.clone() {
                    s.dests[dest.id.0 as usize].port = 0;
                }
                // None makes all of a client one worker's.
                s.services.retain(|service| service.forward == Forward::FullNat);
            });
            let vip = SocketAddr::new(net::vip(family), 9_000);
            let talks: Vec<_> = (0..12)
                .map(|n| {
                    let client = net::client(family, n, 40_000);
                    let at = usize::from(n) % workers;
                    let syn = Packet::tcp(client, vip, flag::SYN).bytes();
                    let at_dest = rig.feed_at(at, WAN, &[&syn]).seen();
                    let (proto, forward) = (Proto::Tcp, Forward::FullNat);
                    Talk { client, vip, proto, forward, at_dest }
                })
                .collect();
            rig.reload(|s| {
                let every = s.services.len() - 1;
                net::add_like(s, every, |service| {
                    service.port = 21;
                    (service.terms.persistence, service.terms.ftp) = (None, true);
                });
            });
            for talk in &talks {
                for at in 0..workers {
                    let out = rig.feed_at(at, WAN, &[&talk.original(flag::ACK).bytes()]);
                    assert_eq!(out.sent.len(), 1, "{workers} {:?}", rig.drops());
                    assert_eq!(out.seen().src, talk.at_dest.src);
                }
            }
            assert_eq!(rig.drops(), []);
        }
    }
}

/// The server stands there still, only by another number; its service's list denies the client.
#[test]
fn a_new_access_list_ends_data_conns_of_a_superseded_dest() {
    let mut bad = Vec::new();
    for (n, change) in CHANGES.into_iter().enumerate().filter(|(n, _)| *n != 1) {
        for forward in BOTH {
            let mut t = Control::open(Family::V4, forward, 1);
            let data = passive(&mut t, 51_201);
            let (at, id) = dest_of(&t);
            t.rig.reload(|s| change(s, at, id));
            goes_on(&mut t, &data);
            t.rig.reload(|s| {
                let client = Prefix::new(t.client.ip().into(), 32);
                let acl = Arc::new(Acl::new([(client, false)], true));
                let mut access = Access::default();
                access.services.insert(s.services[at].id, acl);
                s.access = Arc::new(access);
            });
            let told = t.rig.pass(Duration::from_secs(2)).sent.len();
            if told != 4 {
                bad.push((n, forward, told));
            }
        }
    }
    assert_eq!(bad, []);
}
