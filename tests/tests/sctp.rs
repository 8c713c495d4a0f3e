//! SCTP (RFC 9260): services of it by every method, its checksum over the whole packet, the addresses
//! that INIT names, the kernel's states, and what is answered to what is of no association.

use pointsman_dataplane::conn::State;
use pointsman_dataplane::matching::Mark;
use pointsman_dataplane::matching::Matching;
use pointsman_dataplane::matching::Protocols;
use pointsman_dataplane::sched::Sched;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::OnDead;
use pointsman_dataplane::service::Persistence;
use pointsman_dataplane::service::Scope;
use pointsman_dataplane::service::Service;
use pointsman_dataplane::service::Traits;
use pointsman_dataplane::snapshot::Defend;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Family::V6;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_tests::craft::Body;
use pointsman_tests::craft::Packet;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::sctp;
use pointsman_tests::sctp::Association;
use pointsman_tests::sctp::chunk;
use pointsman_tests::see;
use pointsman_tests::snat;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// An IPv4 and an IPv6 address parameter, and a state cookie between them.
const NAMED: [u8; 36] = [
    0, 5, 0, 8, 10, 1, 0, 11, // IPv4 address
    0, 7, 0, 7, 1, 2, 3, 0, // state cookie
    0, 6, 0, 20, 0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11, // IPv6 address
];

fn init() -> Vec<u8> {
    chunk(chunk::INIT, &[])
}

fn one(kind: u8) -> Vec<u8> {
    chunk(kind, &[])
}

fn rig() -> Rig {
    rig_with(|_| {})
}

fn rig_with(change: impl FnOnce(&mut Snapshot)) -> Rig {
    Rig::with(|s| {
        sctp::add_services(s, |_, _| {});
        change(s);
    })
}

/// With the services and what they say of their conns changed.
fn rig_of(change: impl Fn(&mut Service, &mut Traits)) -> Rig {
    Rig::with(|s| sctp::add_services(s, change))
}

fn kinds() -> impl Iterator<Item = (Family, Forward)> {
    net::FAMILIES.into_iter().flat_map(|f| net::METHODS.map(|m| (f, m)))
}

/// Milliseconds until an association's conn ends, and its state's name.
fn state(rig: &Rig, a: &Association) -> (&'static str, u32) {
    let conn = a.conn(rig).expect("it has a conn");
    (conn.state().name(), conn.expires().left(rig.now.stamp()))
}

#[test]
fn an_init_opens_by_every_method_and_the_checksum_is_right() {
    for (family, forward) in kinds() {
        for len in [0, 1, 2, 3, 100, 1200] {
            let mut rig = rig();
            let mut a = Association::new(family, forward, 5000);
            let first = chunk(chunk::INIT, &vec![1; len]);
            let seen = a.say(&mut rig, &first).seen();
            if forward == Forward::Tunnel {
                let inner = see::see_ip(&seen.segment);
                assert_eq!(inner.segment, a.original(&first).payload, "nothing within changes");
                continue;
            }
            let (client, dest) = sctp::ends(&seen);
            assert_eq!(dest.port(), net::dest_port(forward));
            assert!(sctp::is_right(&seen.segment), "{family:?} {forward:?} {len}");
            assert_eq!(client == a.client, forward != Forward::FullNat);
            assert_eq!(seen.segment[12..], first[..], "chunks stay");
            assert_eq!((seen.ttl, seen.number), (59, sctp::NUMBER));
            if forward.sees_replies() {
                let seen = a.answer(&mut rig, &one(chunk::INIT_ACK)).seen();
                assert_eq!(sctp::ends(&seen), (a.vip, a.client));
                assert!(sctp::is_right(&seen.segment));
            }
            assert_eq!(rig.drops(), []);
        }
    }
}

/// What the kernel would hide by a new checksum.
#[test]
fn a_wrong_checksum_goes_no_further_where_a_new_one_would_be_given() {
    for (family, forward) in kinds() {
        let mut rig = rig();
        let mut a = Association::open(&mut rig, family, forward, 5000);
        let mut damaged = a.original(&one(chunk::DATA));
        damaged.payload[20] ^= 0x40;
        let out = rig.feed(WAN, &damaged.bytes());
        if forward.sees_replies() {
            assert!(out.sent.is_empty());
            let mut damaged = a.reply(&one(chunk::DATA));
            damaged.payload[8] ^= 1;
            assert!(rig.feed(LAN, &damaged.bytes()).sent.is_empty());
            assert_eq!(rig.drops(), [(DropReason::SctpChecksum, 2)]);
        } else {
            assert_eq!((out.sent.len(), rig.drops()), (1, vec![]), "the receiver's to judge");
        }
        assert_eq!(a.say(&mut rig, &one(chunk::DATA)).sent.len(), 1);
    }
}

#[test]
fn addresses_that_init_and_init_ack_name_become_padding() {
    let blank = |at: std::ops::Range<usize>, packet: &[u8]| packet[at].iter().all(|b| *b == 0);
    for (family, forward) in kinds() {
        let mut rig = rig();
        let mut a = Association::new(family, forward, 5000);
        let first = chunk(chunk::INIT, &NAMED);
        let seen = a.say(&mut rig, &first).seen();
        let inner = if forward == Forward::Tunnel { see::see_ip(&seen.segment) } else { seen };
        if !forward.sees_replies() {
            assert_eq!(inner.segment, a.original(&first).payload, "{forward:?}");
            continue;
        }
        let second = chunk(chunk::INIT_ACK, &NAMED);
        let back = a.answer(&mut rig, &second).seen();
        for seen in [inner, back] {
            let s = &seen.segment;
            assert!(sctp::is_right(s) && s.len() == 32 + NAMED.len());
            assert_eq!((&s[32..36], &s[48..52]), (&[0x80, 5, 0, 8][..], &[0x80, 5, 0, 20][..]));
            assert!(blank(36..40, s) && blank(52..68, s), "nothing of them is told");
            assert_eq!(s[40..48], NAMED[8..16], "the cookie is its sender's own");
        }
        // The same bytes elsewhere are data.
        let data = chunk(chunk::DATA, &NAMED);
        assert_eq!(a.say(&mut rig, &data).seen().segment[12..], data[..]);
    }
}

#[test]
fn only_init_opens_and_others_are_told_that_nobody_speaks_it() {
    for (family, forward) in kinds() {
        let mut rig = rig();
        let mut a = Association::new(family, forward, 5000);
        let others =
            [chunk::DATA, chunk::INIT_ACK, chunk::COOKIE_ECHO, chunk::SHUTDOWN, chunk::ABORT];
        for kind in others {
            let seen = a.say(&mut rig, &one(kind)).seen();
            let (kind, rest) = seen.icmp.expect("an answer");
            assert_eq!(kind, net::of(family, [3, 2], [4, 1]));
            assert_eq!(rest, net::of(family, [0; 4], [0, 0, 0, 6]), "the next header's place");
            assert_eq!((seen.src.ip(), seen.dst.ip()), (a.vip.ip(), a.client.ip()));
        }
        assert_eq!((rig.drops(), rig.conns().len()), (vec![(DropReason::NotSyn, 5)], 0));
        // Behind an extension header.
        if family == V6 {
            let mut packet = a.original(&one(chunk::DATA));
            packet.extensions = vec![(60, vec![1, 4, 0, 0, 0, 0])];
            assert_eq!(rig.feed(WAN, &packet.bytes()).seen().icmp.unwrap().1, [0, 0, 0, 40]);
        }
        rig.reload(|s| s.ipvs.sloppy_sctp = true);
        assert!(a.say(&mut rig, &one(chunk::ABORT)).seen().icmp.is_some(), "never an ABORT");
        let out = a.say(&mut rig, &one(chunk::COOKIE_ECHO));
        assert_eq!(out.only().port, if forward == Forward::FullNat { WAN } else { LAN });
    }
}

#[test]
fn a_port_without_a_service_and_a_silent_vip() {
    for family in net::FAMILIES {
        let mut rig = rig();
        let to = |vip, port| {
            sctp::packet(net::client(family, 1, 9), SocketAddr::new(vip, port), &init())
        };
        let out = rig.feed(WAN, &to(net::vip(family), 79).bytes());
        assert_eq!(out.seen().icmp.unwrap().0, net::of(family, [3, 2], [4, 1]));
        assert!(rig.feed(WAN, &to(net::silent_vip(family), 80).bytes()).sent.is_empty());
        assert_eq!(rig.drops(), [(DropReason::ClosedPort, 2)]);
    }
}

#[test]
fn where_no_dest_is_left_the_client_gets_icmp_or_an_abort() {
    for (family, forward) in kinds() {
        for resets in [false, true] {
            let mut rig = rig_of(|service, _| {
                service.terms.resets = resets;
                service.dests.iter_mut().for_each(|d| d.weight = 0);
            });
            let mut a = Association::new(family, forward, 5000);
            let seen = a.say(&mut rig, &init()).seen();
            assert_eq!(rig.drops(), [(DropReason::NoDest, 1)]);
            if !resets {
                assert_eq!(seen.icmp.unwrap().0, net::of(family, [3, 3], [1, 4]));
                continue;
            }
            assert_eq!(sctp::ends(&seen), (a.vip, a.client));
            assert!(sctp::is_right(&seen.segment));
            assert_eq!(seen.segment[4..8], sctp::INITIATE_TAG.to_be_bytes());
            assert_eq!(seen.segment[12..], [chunk::ABORT, 0, 0, 4]);
        }
    }
}

/// RFC 9260 section 8.4, as a server's rule has it.
#[test]
fn what_a_server_sends_of_no_association_is_aborted() {
    for family in net::FAMILIES {
        let mut rig = snat::rig(1, |_| {});
        let (from, to) = (snat::server(family, 0, 7000), net::client(family, 1, 80));
        let send = |rig: &mut Rig, kind| {
            let packet = sctp::packet(from, to, &one(kind)).from_lan(net::dest_mac(0));
            rig.feed(LAN, &packet.bytes())
        };
        for (kind, said) in [(chunk::DATA, [6, 1, 0, 4]), (chunk::SHUTDOWN_ACK, [14, 1, 0, 4])] {
            let seen = send(&mut rig, kind).seen();
            assert_eq!(sctp::ends(&seen), (to, from));
            assert!(sctp::is_right(&seen.segment));
            assert_eq!((&seen.segment[4..8], &seen.segment[12..]), (&[0, 0, 0, 1][..], &said[..]));
        }
        for kind in [chunk::ABORT, chunk::SHUTDOWN_COMPLETE, chunk::COOKIE_ACK, chunk::ERROR] {
            assert!(send(&mut rig, kind).sent.is_empty());
        }
        // Nor is anything said to what is damaged (section 6.8).
        let mut damaged = sctp::packet(from, to, &one(chunk::DATA)).payload;
        damaged[8] ^= 1;
        let packet = Packet::new(from, to, Body::Raw(sctp::NUMBER)).payload(&damaged);
        assert!(rig.feed(LAN, &packet.from_lan(net::dest_mac(0)).bytes()).sent.is_empty());
        let seen = send(&mut rig, chunk::INIT).seen();
        assert_eq!(seen.src.ip(), snat::laddr(family));
        let (src, dst) = sctp::ends(&seen);
        let ack = sctp::packet(dst, src, &one(chunk::INIT_ACK));
        let seen = rig.feed(WAN, &ack.bytes()).seen();
        assert_eq!(sctp::ends(&seen), (to, from));
        assert!(sctp::is_right(&seen.segment));
    }
}

/// `sctp_states` of the kernel, from the client, from the dest, and from the client where answers go
/// elsewhere; rows as in `EVENTS`, columns as in `STATES`.
const TABLE: [[&str; 10]; 3] = [
    [
        "ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
        "I1 IN IN CS CR CW CO CE ES SS SR SA IN IN",
        "CW CW CW CS CR CO CO CE ES SS SR SA RJ CL",
        "CR IN IN CR CR CW CO CE ES SS SR SA RJ CL",
        "ES I1 IN CS CR CW CO ES ES SS SR SA RJ CL",
        "SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL",
        "CL IN IN CS CR CW CO CE ES CL SR CL RJ CL",
        "CL CL CL CS CR CW CO CE ES SS SR CL RJ CL",
        "CL I1 IN CS CR CW CO CL ES SS SR SA RJ CL",
        "CL CL CL CL CL RJ CL CL CL CL CL CL CL CL",
    ],
    [
        "ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
        "CW CW CW CW CW CW CW CW ES CW CW CW CW CW",
        "CS CS CS CS CR CW CO CE ES SS SR SA RJ CL",
        "CE CE CE CE CE CE CE CE ES SS SR SA RJ CL",
        "ES ES ES ES ES ES ES ES ES SS SR SA RJ CL",
        "SS SS SS SS SS SS SS SS SS SS SR SA RJ CL",
        "SA SA SA SA SA CW CO CE ES SA SA SA RJ CL",
        "CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
        "CL CL CL CL CL CW CO CE ES SS SR SA RJ CL",
        "CL RJ CL CL CL CL CL CL CL CL CL CL CL CL",
    ],
    [
        "ES I1 IN CS CR ES CO CE ES SS SR SA RJ CL",
        "I1 IN IN IN IN IN CO CE ES SS SR SA IN IN",
        "CE CE CE CE CE CE CO CE ES SS SR SA RJ CL",
        "ES ES ES ES ES ES CO CE ES SS SR SA RJ CL",
        "ES I1 IN ES ES CW ES ES ES SS SR SA RJ CL",
        "SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL",
        "CL IN IN CS CR CW CO CE CL CL SR CL RJ CL",
        "CL CL CL CL CL CW CO CE ES SS CL CL RJ CL",
        "CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
        "CL CL CL CL CL RJ CL CL CL CL CL CL CL CL",
    ],
];

/// Short names of the states, as `ipvsadm -Lc` prints them, and seconds without a packet.
const STATES: [(&str, &str, u32); 14] = [
    ("NO", "NONE", 2),
    ("I1", "INIT1", 4),
    ("IN", "INIT", 61),
    ("CS", "C-SENT", 61),
    ("CR", "C-REPLIED", 61),
    ("CW", "C-WAIT", 61),
    ("CO", "COOKIE", 61),
    ("CE", "C-ECHOED", 61),
    ("ES", "ESTABLISHED", 900),
    ("SS", "S-SENT", 61),
    ("SR", "S-RECEIVED", 61),
    ("SA", "S-ACK-SENT", 61),
    ("RJ", "REJECTED", 4),
    ("CL", "CLOSED", 61),
];

const EVENTS: [u8; 10] = [
    chunk::DATA,
    chunk::INIT,
    chunk::INIT_ACK,
    chunk::COOKIE_ECHO,
    chunk::COOKIE_ACK,
    chunk::SHUTDOWN,
    chunk::SHUTDOWN_ACK,
    chunk::SHUTDOWN_COMPLETE,
    chunk::ERROR,
    chunk::ABORT,
];

fn next(table: usize, event: usize, state: usize) -> usize {
    let name = TABLE[table][event].split(' ').nth(state).expect("a name for each state");
    STATES.iter().position(|(short, ..)| *short == name).expect("each is known")
}

/// A packet: whether it is the dest's, and the place of its event.
type Step = (bool, usize);

/// The shortest way to every state that packets lead to, by a table for each end.
fn ways(tables: [Option<usize>; 2]) -> BTreeMap<usize, Vec<Step>> {
    let mut ways = BTreeMap::from([(0, Vec::new())]);
    let mut todo = std::collections::VecDeque::from([0]);
    while let Some(state) = todo.pop_front() {
        for (from_dest, table) in tables.into_iter().enumerate() {
            // A dest begins nothing.
            let Some(table) = table.filter(|_| state > 0 || from_dest == 0) else { continue };
            for event in 0..EVENTS.len() {
                let new = next(table, event, state);
                if !ways.contains_key(&new) {
                    let mut way = ways[&state].clone();
                    way.push((from_dest == 1, event));
                    ways.insert(new, way);
                    todo.push_back(new);
                }
            }
        }
    }
    ways
}

#[test]
fn every_cell_of_the_kernels_three_tables_that_frames_reach() {
    let mut cells = 0;
    for (forward, tables) in [(Forward::Nat, [Some(0), Some(1)]), (Forward::Dr, [Some(2), None])] {
        let mut rig = rig_with(|s| {
            s.ipvs.sloppy_sctp = true;
            s.ipvs.conn_reuse_mode = 0;
        });
        let (mut port, ways) = (1000, ways(tables));
        for (before, way) in &ways {
            for (from_dest, table) in tables.into_iter().enumerate() {
                let Some(table) = table.filter(|_| *before > 0 || from_dest == 0) else { continue };
                for event in 0..EVENTS.len() {
                    // An ABORT opens nothing.
                    if *before == 0 && EVENTS[event] == chunk::ABORT {
                        continue;
                    }
                    port += 1;
                    let mut a = Association::new(V4, forward, port);
                    for (from_dest, event) in way.iter().copied().chain([(from_dest == 1, event)]) {
                        let chunks = one(EVENTS[event]);
                        let out = if from_dest {
                            a.answer(&mut rig, &chunks)
                        } else {
                            a.say(&mut rig, &chunks)
                        };
                        assert_eq!(out.sent.len(), 1, "{way:?} {:?}", rig.drops());
                    }
                    let (_, name, secs) = STATES[next(table, event, *before)];
                    let place = format!("table {table}, event {event}, {}", STATES[*before].1);
                    assert_eq!(state(&rig, &a), (name, secs * 1000), "{place}");
                    let active = a.conn(&rig).unwrap().state().is_active();
                    assert_eq!(active, name == "ESTABLISHED");
                    cells += 1;
                    if rig.conns().len() > 900 {
                        rig.pass(Duration::from_secs(901));
                    }
                }
            }
        }
        assert_eq!(ways.len(), if forward == Forward::Nat { 14 } else { 7 }, "{ways:?}");
    }
    assert_eq!(cells, 9 + 13 * 20 + 9 + 6 * 10);
}

/// `set_sctp_state`.
#[test]
fn an_abort_behind_the_cookie_closes() {
    let mut rig = rig();
    let mut a = Association::new(V4, Forward::Nat, 1000);
    a.say(&mut rig, &init());
    a.answer(&mut rig, &one(chunk::INIT_ACK));
    a.say(&mut rig, &[one(chunk::COOKIE_ECHO), vec![chunk::ABORT, 0, 0, 4]].concat());
    assert_eq!(state(&rig, &a).0, "CLOSED");
}

#[test]
fn timeouts_are_global_and_per_service() {
    let mut rig = rig_of(|service, traits| {
        traits.sctp_timeout = if service.forward == Forward::Nat { 7000 } else { 0 };
    });
    rig.reload(|s| {
        s.timeouts.set(State::SctpEstablished, 9000);
        s.timeouts.set(State::SctpClosed, 3000);
    });
    for (forward, wanted) in [(Forward::Nat, 7000), (Forward::FullNat, 9000), (Forward::Dr, 9000)] {
        let mut a = Association::open(&mut rig, V4, forward, 1000);
        assert_eq!(state(&rig, &a), ("ESTABLISHED", wanted));
        a.say(&mut rig, &one(chunk::ABORT));
        assert_eq!(state(&rig, &a), ("CLOSED", 3000));
    }
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.conns().len(), 0);
}

/// `sctp_state_transition`: ActiveConn is ESTABLISHED alone.
#[test]
fn an_association_counts_as_active_while_it_is_established() {
    let mut rig = rig();
    let mut a = Association::new(V4, Forward::Nat, 1000);
    a.say(&mut rig, &init());
    let dest = a.conn(&rig).unwrap().dest();
    let counts = |rig: &Rig| (rig.dest(dest, |s| &s.active), rig.dest(dest, |s| &s.inactive));
    assert_eq!(counts(&rig), (0, 1));
    a.answer(&mut rig, &one(chunk::INIT_ACK));
    a.say(&mut rig, &one(chunk::COOKIE_ECHO));
    a.answer(&mut rig, &one(chunk::COOKIE_ACK));
    assert_eq!(counts(&rig), (1, 0));
    a.say(&mut rig, &one(chunk::SHUTDOWN));
    assert_eq!(counts(&rig), (0, 1));
}

/// `is_new_conn_expected`.
#[test]
fn an_init_begins_a_closed_tuple_anew() {
    for forward in net::METHODS {
        for (mode, anew) in [(0, forward == Forward::FullNat), (1, true)] {
            let mut rig = rig_with(|s| s.ipvs.conn_reuse_mode = mode);
            let mut a = Association::open(&mut rig, V4, forward, 1000);
            a.say(&mut rig, &init());
            assert_eq!(rig.stats(0).opened.get(), 1, "{forward:?}: not while it goes on");
            a.say(&mut rig, &one(chunk::ABORT));
            a.say(&mut rig, &init());
            assert_eq!(rig.stats(0).opened.get() == 2, anew, "{forward:?} {mode}");
        }
    }
}

#[test]
fn the_owner_is_found_by_any_worker() {
    for (family, forward) in kinds() {
        let mut rig = Rig::build(Options { workers: 4, ..Options::default() }, |s, _| {
            sctp::add_services(s, |_, _| {});
        });
        for port in 2000..2040u16 {
            let mut a = Association::open(&mut rig, family, forward, port);
            assert_eq!(state(&rig, &a).0, "ESTABLISHED");
            let at = usize::from(port) % 4;
            let data = a.original(&one(chunk::DATA)).bytes();
            assert_eq!(rig.feed_at(at, WAN, &[&data]).only().port, LAN);
            if forward.sees_replies() {
                let data = a.reply(&one(chunk::DATA)).bytes();
                let seen = rig.feed_at(at, LAN, &[&data]).seen();
                assert_eq!(sctp::ends(&seen), (a.vip, a.client));
            }
            assert_eq!(a.say(&mut rig, &one(chunk::SACK)).sent.len(), 1);
        }
        assert_eq!(rig.drops(), []);
    }
}

#[test]
fn families_are_crossed_by_full_nat() {
    let mut rig = Rig::with(|s| {
        net::cross(s);
        sctp::add_services(s, |_, _| {});
    });
    for family in net::FAMILIES {
        let mut a = Association::new(family, Forward::FullNat, 1000);
        let first = chunk(chunk::INIT, &NAMED);
        let seen = a.say(&mut rig, &first).seen();
        assert_eq!((seen.number, seen.dst.is_ipv4()), (sctp::NUMBER, family == V6));
        assert!(sctp::is_right(&seen.segment));
        let seen = a.answer(&mut rig, &chunk(chunk::INIT_ACK, &NAMED)).seen();
        assert_eq!(sctp::ends(&seen), (a.vip, a.client));
        assert!(sctp::is_right(&seen.segment));
        assert_eq!(seen.segment[32..36], [0x80, 5, 0, 8]);
    }
}

/// Ports in the quoted packet follow; its checksum is over what the quote perhaps does not hold.
#[test]
fn icmp_errors_that_quote_it_are_translated_both_ways() {
    for (family, forward) in kinds().filter(|(_, forward)| forward.sees_replies()) {
        let mut rig = rig();
        let mut a = Association::new(family, forward, 1000);
        let seen = a.say(&mut rig, &init()).seen();
        let back = a.answer(&mut rig, &one(chunk::INIT_ACK)).seen();
        let kind = net::of(family, [3, 3], [1, 4]);
        for cut in [8, 32] {
            let header = net::of(family, 20, 40);
            let about = &seen.ip[..header + cut];
            let error = Packet::icmp(seen.dst.ip(), seen.src.ip(), kind, [0; 4], about);
            let out = rig.feed(LAN, &error.from_lan(seen.eth.0).bytes()).seen();
            assert_eq!((out.src.ip(), out.dst.ip()), (a.vip.ip(), a.client.ip()));
            let quoted = &out.payload[header..];
            assert_eq!(quoted[..4], a.original(&init()).payload[..4], "{family:?} {forward:?}");
            assert_eq!(quoted[4..], seen.segment[4..cut]);

            let about = &back.ip[..header + cut];
            let error = Packet::icmp(a.client.ip(), a.vip.ip(), kind, [0; 4], about);
            let out = rig.feed(WAN, &error.bytes()).seen();
            let (dest, client) = a.dest.unwrap();
            assert_eq!(out.dst.ip(), dest.ip());
            let ports = [dest.port().to_be_bytes(), client.port().to_be_bytes()].concat();
            assert_eq!(out.payload[header..header + 4], ports[..]);
        }
    }
}

#[test]
fn fragments_pass_where_nothing_but_addresses_changes() {
    for family in net::FAMILIES {
        for forward in [Forward::Nat, Forward::Dr] {
            // Dests of the service's own port: nothing in the packet changes.
            let mut rig = rig_with(|s| {
                s.dests.iter_mut().filter(|d| d.forward == Forward::Nat).for_each(|d| d.port = 80);
            });
            let a = Association::open(&mut rig, family, forward, 1000);
            let whole = a.original(&chunk(chunk::DATA, &[7; 200]));
            let mut payload = Vec::new();
            for piece in whole.cut(77, &[64, 128]) {
                payload.extend(rig.feed(WAN, &piece.bytes()).seen().segment);
            }
            assert_eq!(payload, whole.payload, "{family:?} {forward:?}");
            assert_eq!(state(&rig, &a).0, "ESTABLISHED");
            // An INIT in pieces may name what must not pass.
            let init = a.original(&chunk(chunk::INIT, &[0; 100])).cut(78, &[64]);
            let out = rig.feed(WAN, &init[0].bytes());
            assert_eq!(out.sent.is_empty(), forward == Forward::Nat);
        }
    }
}

/// Nobody can make its checksum right, so none of it is sent.
#[test]
fn fragments_whose_ports_would_change_end_all_of_them() {
    for family in net::FAMILIES {
        for forward in [Forward::Nat, Forward::FullNat] {
            let mut rig = rig();
            let a = Association::open(&mut rig, family, forward, 1000);
            let pieces = a.original(&chunk(chunk::DATA, &[7; 200])).cut(77, &[64, 128]);
            for piece in &pieces {
                assert!(rig.feed(WAN, &piece.bytes()).sent.is_empty(), "{family:?} {forward:?}");
            }
            assert_eq!(rig.drops(), [(DropReason::SctpFragment, pieces.len() as u64)]);
        }
    }
}

#[test]
fn persistence_keeps_a_clients_associations_at_one_dest() {
    for workers in [1, 3] {
        let mut rig = Rig::build(Options { workers, ..Options::default() }, |s, _| {
            sctp::add_services(s, |service, _| {
                service.terms.persistence = Some(Persistence { timeout: 360, prefix: 32 });
            });
        });
        let mut dests = std::collections::BTreeSet::new();
        for port in 1000..1020 {
            let a = Association::open(&mut rig, V4, Forward::Nat, port);
            dests.insert(a.dest.unwrap().0);
        }
        assert_eq!(dests.len(), 1);
        let (_, template) = rig.templates()[0];
        assert!(template.assured, "an association was established");
    }
}

#[test]
fn services_of_marks_every_port_and_ranges_take_it() {
    let persistence = Some(Persistence { timeout: 360, prefix: 32 });
    type Change = Box<dyn Fn(&mut Snapshot, usize)>;
    let changes: [(&str, Change); 3] = [
        (
            "mark",
            Box::new(|s, at| {
                s.services[at].scope = Scope::Mark(3);
                let matching = Matching {
                    sources: Vec::new(),
                    destinations: Vec::new(),
                    ports: vec![5060..=5070],
                    protocols: Protocols { sctp: true, tcp: false, udp: false, icmp: false },
                };
                s.marks.push(Mark { matching, mark: 3 });
            }),
        ),
        (
            "every port",
            Box::new(move |s, at| {
                s.services[at].port = 0;
                s.services[at].terms.persistence = persistence;
            }),
        ),
        (
            "range",
            Box::new(|s, at| {
                s.services[at].port = 5061;
                s.services[at].scope = Scope::Range(net::vip(V4).into());
            }),
        ),
    ];
    for (name, change) in changes {
        let mut rig = rig_with(|s| {
            let is_it =
                |s: &Service| s.proto == Proto::Sctp && s.addr.is_v4() && s.forward == Forward::Nat;
            let at = s.services.iter().position(is_it).unwrap();
            change(s, at);
        });
        let vip = SocketAddr::new(net::vip(V4), 5061);
        let mut a = Association::new(V4, Forward::Nat, 1000);
        a.vip = vip;
        let seen = a.say(&mut rig, &init()).seen();
        assert_eq!(seen.number, sctp::NUMBER, "{name}");
        assert_eq!(sctp::ends(&a.answer(&mut rig, &one(chunk::INIT_ACK)).seen()).0, vip, "{name}");
    }
}

/// `ip_vs_random_dropentry`: associations that were not established.
#[test]
fn half_open_associations_are_ended_early_in_a_flood() {
    let mut rig = rig_with(|s| s.ipvs.drop_entry = Defend::Always);
    for port in 1000..1040 {
        Association::new(V4, Forward::Nat, port).say(&mut rig, &init());
    }
    let kept = Association::open(&mut rig, V4, Forward::Nat, 2000);
    for _ in 0..40 {
        // Long enough for every line to be looked at, by conns that are told of again.
        rig.pass(Duration::from_secs(1));
        for port in 1000..1040 {
            let a = Association::new(V4, Forward::Nat, port);
            if a.conn(&rig).is_some() {
                rig.feed(WAN, &a.original(&init()).bytes());
            }
        }
    }
    assert!(kept.conn(&rig).is_some());
    assert_eq!(rig.conns().len(), 1);
    assert!(rig.sum(|s| &s.defended) >= 40);
}

#[test]
fn a_removed_dest_that_says_drop_lets_the_dests_packets_pass() {
    let mut rig = rig_of(|_, traits| traits.on_dead = OnDead::Drop);
    let mut a = Association::open(&mut rig, V4, Forward::Nat, 1000);
    let dest = a.conn(&rig).unwrap().dest();
    rig.reload(|s| {
        s.dests[dest.0 as usize].removed = true;
        for service in &mut s.services {
            service.dests.retain(|d| d.id != dest);
            service.version += 1;
        }
    });
    rig.pass(Duration::from_secs(2));
    assert!(a.say(&mut rig, &one(chunk::DATA)).sent.is_empty());
    assert_eq!(rig.drops(), [(DropReason::DeadDest, 1)]);
    assert_eq!(a.answer(&mut rig, &one(chunk::DATA)).sent.len(), 1);
}

#[test]
fn a_packet_without_a_chunk_or_a_port_goes_nowhere() {
    let mut rig = rig();
    let (client, vip) = (net::client(V4, 1, 9), net::service_addr(V4, Forward::Nat));
    assert!(rig.feed(WAN, &sctp::packet(client, vip, &[0, 0, 0]).bytes()).sent.is_empty());
    let no_port = sctp::packet(net::client(V4, 1, 0), vip, &init());
    assert!(rig.feed(WAN, &no_port.bytes()).sent.is_empty());
    assert_eq!(rig.drops(), [(DropReason::Truncated, 1), (DropReason::TransportHeader, 1)]);
}

/// The plain lane never sees one, whatever the burst it comes in.
#[test]
fn a_burst_of_both_lanes_is_the_same_as_one_by_one() {
    for forward in net::METHODS {
        let mut rigs = [rig(), rig()];
        let frames: Vec<_> = [chunk::INIT, chunk::COOKIE_ECHO, chunk::DATA, chunk::SACK]
            .map(|kind| Association::new(V4, forward, 1000).original(&one(kind)).bytes())
            .into_iter()
            .collect();
        let all: Vec<_> = frames.iter().map(|f| &f[..]).collect();
        let together = rigs[0].feed_at(0, WAN, &all).frames();
        let alone: Vec<_> =
            frames.iter().flat_map(|f| rigs[1].feed_alone(0, WAN, f).frames()).collect();
        assert_eq!(together, alone);
        assert_eq!(together.len(), 4);
    }
}

#[test]
fn every_scheduler_gets_its_associations() {
    for sched in [Sched::Rr, Sched::Wrr, Sched::Lc, Sched::Wlc, Sched::Sed, Sched::Nq, Sched::Twos]
    {
        let mut rig = rig_of(|service, _| service.sched = sched.clone());
        for port in 1000..1030 {
            Association::open(&mut rig, V4, Forward::FullNat, port);
        }
        assert_eq!((rig.conns().len(), rig.drops()), (30, vec![]), "{sched:?}");
    }
}

#[test]
fn a_due_conn_is_as_none() {
    let mut rig = rig();
    let mut a = Association::new(V4, Forward::Nat, 1000);
    a.say(&mut rig, &init());
    rig.now = rig.now + Duration::from_secs(5);
    assert!(rig.now > Tick::from_secs(1000));
    assert_eq!(a.say(&mut rig, &one(chunk::COOKIE_ECHO)).seen().icmp.unwrap().0, [3, 2]);
    assert_eq!(rig.conns().len(), 0);
}
