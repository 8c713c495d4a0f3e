//! Access lists: whose conns are opened, which go on, and the longest-prefix match against a scan of
//! all prefixes.

use pointsman_dataplane::acl::Access;
use pointsman_dataplane::acl::Acl;
use pointsman_dataplane::service::Closed;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::ServiceId;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::stats::Counter;
use pointsman_dataplane::stats::ServiceStats;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Prefix;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_dataplane::verdict::Made;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::talk::Talk;
use proptest::prelude::*;
use std::net::SocketAddr;
use std::sync::Arc;

fn prefix(text: &str) -> Prefix {
    let (addr, len) = text.split_once('/').expect("a prefix with its length");
    Prefix::new(net::ip(addr).into(), len.parse().expect("a length"))
}

/// A list; without a prefix that is allowed, others are.
fn acl(allow: &[&str], deny: &[&str]) -> Acl {
    let entries = |list: &[&str], allowed| list.iter().map(|p| (prefix(p), allowed)).collect();
    let (allowed, denied): (Vec<_>, Vec<_>) = (entries(allow, true), entries(deny, false));
    let others = allowed.is_empty();
    Acl::new(allowed.into_iter().chain(denied), others)
}

fn everywhere(allow: &[&str], deny: &[&str]) -> Arc<Access> {
    Arc::new(Access { everywhere: Some(Arc::new(acl(allow, deny))), ..Access::default() })
}

/// Client 7, of both families.
const CLIENT_7: [&str; 2] = ["192.0.2.7/32", "2001:db8:c::7/128"];

fn opening(family: Family, proto: Proto, forward: Forward, n: u8) -> Vec<u8> {
    let (client, vip) = (net::client(family, n, 40_000), net::service_addr(family, forward));
    match proto {
        Proto::Udp => Packet::udp(client, vip).bytes(),
        _ => Packet::tcp(client, vip, flag::SYN).bytes(),
    }
}

/// A counter of all services.
fn counted(rig: &Rig, counter: fn(&ServiceStats) -> &Counter) -> u64 {
    let services = net::METHODS.len() * net::PROTOS.len() * net::FAMILIES.len();
    (0..services).map(|s| rig.shared.services.sum(s, counter)).sum()
}

fn every_service(mut each: impl FnMut(Family, Proto, Forward)) {
    for family in net::FAMILIES {
        for proto in net::PROTOS {
            net::METHODS.into_iter().for_each(|forward| each(family, proto, forward));
        }
    }
}

/// Workers, and the access lists.
fn rig(workers: usize, access: Arc<Access>) -> Rig {
    let options = Options { workers, ..Options::default() };
    Rig::build(options, |s, _| s.access = access)
}

#[test]
fn a_denied_client_opens_nothing_and_hears_nothing() {
    for workers in [1, 4] {
        let mut rig = rig(workers, everywhere(&[], &CLIENT_7));
        let mut asked = 0;
        every_service(|family, proto, forward| {
            let service = net::service_index(family, proto, forward);
            let denied = |rig: &Rig| rig.shared.services.sum(service, |s| &s.denied);
            for at in 0..workers {
                assert!(
                    rig.feed_at(at, WAN, &[&opening(family, proto, forward, 7)]).sent.is_empty()
                );
                asked += 1;
                assert_eq!(denied(&rig), at as u64 + 1);
            }
            assert_eq!(rig.feed(WAN, &opening(family, proto, forward, 8)).sent.len(), 1);
        });
        assert_eq!(rig.drops(), [(DropReason::Denied, asked)]);
        assert_eq!((rig.answers(), counted(&rig, |s| &s.denied)), (0, asked));
    }
}

#[test]
fn nor_does_it_with_a_segment_of_no_conn() {
    let mut rig = rig(1, everywhere(&[], &CLIENT_7));
    let vip = net::service_addr(V4, Forward::Nat);
    let ack = |n| Packet::tcp(net::client(V4, n, 40_000), vip, flag::ACK).bytes();
    assert!(rig.feed(WAN, &ack(7)).sent.is_empty());
    assert_eq!(rig.drops(), [(DropReason::Denied, 1)]);
    assert_eq!(rig.feed(WAN, &ack(8)).sent.len(), 1, "others are reset as ever");
}

#[test]
fn a_service_that_says_reject_tells_its_client() {
    let mut rig = Rig::with(|s| {
        s.access = everywhere(&[], &CLIENT_7);
        s.dests.iter_mut().for_each(|d| d.traits.denied = Closed::Reject);
    });
    every_service(|family, proto, forward| {
        let seen = rig.feed(WAN, &opening(family, proto, forward, 7)).seen();
        assert_eq!(seen.dst.ip(), net::client(family, 7, 0).ip());
        assert_eq!(seen.tcp.map(|t| t.0), (proto == Proto::Tcp).then_some(flag::RST | flag::ACK));
    });
    assert_eq!((rig.made(Made::Reset), rig.made(Made::Unreachable)), (8, 8));
    assert_eq!(rig.drops(), [(DropReason::Denied, 16)]);
}

#[test]
fn with_an_allow_list_all_others_are_denied() {
    let mut rig = rig(1, everywhere(&["192.0.2.0/29", "2001:db8:c::/125"], &[]));
    for family in net::FAMILIES {
        assert_eq!(rig.feed(WAN, &opening(family, Proto::Tcp, Forward::Nat, 7)).sent.len(), 1);
        assert!(rig.feed(WAN, &opening(family, Proto::Tcp, Forward::Nat, 8)).sent.is_empty());
    }
    assert_eq!(rig.drops(), [(DropReason::Denied, 2)]);
}

#[test]
fn both_the_services_list_and_that_of_all_must_allow() {
    let ours = net::service_index(V4, Proto::Tcp, Forward::Nat);
    let other = net::service_index(V4, Proto::Tcp, Forward::FullNat);
    let own = acl(&["192.0.2.8/30"], &["192.0.2.9/32"]);
    let mut rig = Rig::with(|s| {
        s.access = Arc::new(Access {
            everywhere: Some(Arc::new(acl(&[], &["192.0.2.10/32"]))),
            services: [(s.services[ours].id, Arc::new(own))].into_iter().collect(),
        });
    });
    let mut sent = |forward, n| {
        let (client, vip) = (net::client(V4, n, 1000), net::service_addr(V4, forward));
        rig.feed(WAN, &Packet::tcp(client, vip, flag::SYN).bytes()).sent.len()
    };
    assert_eq!([7, 8, 9, 10].map(|n| sent(Forward::Nat, n)), [0, 1, 0, 0]);
    assert_eq!([7, 8, 9, 10].map(|n| sent(Forward::FullNat, n)), [1, 1, 1, 0]);
    let denied = |service| rig.shared.services.sum(service, |s: &ServiceStats| &s.denied);
    assert_eq!((denied(ours), denied(other)), (3, 1));
}

/// Open conns of clients 7 and 8 with every service, TCP ones established.
fn talks(rig: &mut Rig) -> Vec<Talk> {
    let mut talks = Vec::new();
    every_service(|family, proto, forward| {
        for n in [7, 8] {
            let talk = Talk::open(rig, 0, (family, proto, forward), (n, 40_000));
            if proto == Proto::Tcp {
                if forward.sees_replies() {
                    talk.answer(rig, flag::SYN | flag::ACK);
                }
                talk.say(rig, flag::ACK);
            }
            talks.push(talk);
        }
    });
    talks
}

fn is_7(talk: &Talk) -> bool {
    net::FAMILIES.iter().any(|family| talk.client.ip() == net::client(*family, 7, 0).ip())
}

#[test]
fn established_packets_do_not_ask_and_a_new_list_ends_the_conns_it_denies() {
    for workers in [1, 4] {
        let mut rig = rig(workers, Arc::default());
        let talks = talks(&mut rig);
        let tcp = talks.iter().filter(|t| is_7(t) && t.proto == Proto::Tcp).count() as u64;
        let udp = talks.iter().filter(|t| is_7(t) && t.proto == Proto::Udp).count() as u64;
        rig.reload(|s| s.access = everywhere(&[], &CLIENT_7));
        for talk in &talks {
            assert_eq!(talk.say(&mut rig, flag::ACK).sent.len(), 1, "the packet path does not ask");
        }
        let out = rig.housekeep();
        assert_eq!(counted(&rig, |s| &s.denied_conns), tcp + udp);
        // The dest and the client of each.
        assert_eq!((rig.made(Made::ConnReset), out.sent.len() as u64), (2 * tcp, 2 * tcp));
        let at_client = out.sent.iter().filter(|s| s.port == WAN);
        assert!(at_client.clone().all(|s| {
            let seen = pointsman_tests::see::see(&s.bytes);
            talks.iter().any(|t| is_7(t) && (t.client, t.vip) == (seen.dst, seen.src))
        }));
        assert_eq!(at_client.count() as u64, tcp);
        assert!(rig.drops().is_empty(), "nothing was lost by it: {:?}", rig.drops());
        for talk in &talks {
            let sent = talk.say(&mut rig, flag::ACK).sent;
            match (is_7(talk), talk.proto) {
                (false, _) => assert_eq!(sent.len(), 1, "others go on"),
                (true, Proto::Udp) => assert!(sent.is_empty(), "forgotten, and not opened again"),
                (true, _) => assert!(sent.iter().all(|s| s.port == WAN), "nothing for the dest"),
            }
        }
        assert_eq!(rig.dropped(DropReason::Denied), udp);
        // What the resets left behind does not let a SYN pass either.
        for talk in talks.iter().filter(|t| is_7(t)) {
            assert!(talk.say(&mut rig, flag::SYN).sent.is_empty());
        }
        assert_eq!(rig.dropped(DropReason::Denied), 2 * udp + tcp);
    }
}

#[test]
fn a_list_that_goes_lets_its_clients_in_again() {
    let mut rig = rig(1, everywhere(&[], &CLIENT_7));
    assert!(rig.feed(WAN, &opening(V4, Proto::Tcp, Forward::Nat, 7)).sent.is_empty());
    rig.reload(|s| s.access = Arc::default());
    let talk = Talk::tcp(&mut rig, V4, Forward::Nat);
    rig.housekeep();
    assert_eq!(talk.say(&mut rig, flag::SYN).sent.len(), 1);
}

#[test]
fn conns_without_number_are_ended_in_bounded_calls() {
    const CONNS: u16 = 3000;
    let mut rig = Rig::build(Options { conns: 4000, ..Options::default() }, |_, _| {});
    let vip = net::service_addr(V4, Forward::Nat);
    let udp = |port| Packet::udp(net::client(V4, 7, port), vip).bytes();
    rig.feed_many(0, WAN, (0..CONNS).map(|n| udp(10_000 + n)));
    assert_eq!(rig.conns().len(), usize::from(CONNS));
    rig.reload(|s| s.access = everywhere(&[], &CLIENT_7));
    let mut calls = 0;
    while !rig.conns().is_empty() {
        let before = rig.conns().len();
        rig.housekeep();
        let ended = before - rig.conns().len();
        assert!((1..=256).contains(&ended), "{ended} in one call");
        calls += 1;
    }
    assert_eq!(calls, CONNS.div_ceil(256));
    assert_eq!(counted(&rig, |s| &s.denied_conns), u64::from(CONNS));
}

#[test]
fn resets_for_which_there_is_no_frame_are_made_later() {
    let mut rig = rig(1, Arc::default());
    Talk::tcp(&mut rig, V4, Forward::Nat);
    rig.reload(|s| s.access = everywhere(&[], &CLIENT_7));
    let frames = rig.keep(rig.pool.available());
    rig.housekeep();
    assert_eq!((rig.made(Made::ConnReset), counted(&rig, |s| &s.denied_conns)), (0, 0));
    rig.give_back(frames);
    rig.housekeep();
    assert_eq!((rig.made(Made::ConnReset), counted(&rig, |s| &s.denied_conns)), (2, 1));
}

#[test]
fn conns_of_a_removed_service_are_asked_of_the_list_of_all() {
    let mut rig = Rig::new();
    Talk::tcp(&mut rig, V4, Forward::Nat);
    let remove = |s: &mut Snapshot| {
        s.services.clear();
        s.dests.iter_mut().for_each(|d| d.removed = true);
    };
    rig.reload(remove);
    rig.reload(|s| s.access = everywhere(&[], &CLIENT_7));
    rig.housekeep();
    assert_eq!(rig.made(Made::ConnReset), 2);
}

#[test]
fn a_second_choice_asks_too() {
    let mut rig = Rig::with(|s| s.dests.iter_mut().for_each(|d| d.traits.retries = 1));
    let talk = Talk::tcp(&mut rig, V4, Forward::Nat);
    rig.reload(|s| s.access = everywhere(&[], &CLIENT_7));
    assert!(talk.say(&mut rig, flag::SYN).sent.is_empty());
    assert_eq!(rig.drops(), [(DropReason::Denied, 1)]);
    assert!(rig.conns().is_empty());
}

/// Prefixes near each other, so that they nest and touch, at both ends of the address space too.
fn prefixes() -> impl Strategy<Value = (Prefix, bool)> {
    let v4 = (any::<bool>(), 0u32..64, 20u8..=32).prop_map(|(high, n, len)| {
        let at = if high { u32::MAX - n } else { n << 3 };
        Prefix::new(Addr::v4(at), len)
    });
    let v6 = (any::<bool>(), 0u128..64, 110u8..=128).prop_map(|(high, n, len)| {
        let at = if high { u128::MAX - n } else { 0x2001 << 112 | n << 3 };
        Prefix::new(Addr::v6(at), len)
    });
    let any_len = (0u8..=32).prop_map(|len| Prefix::new(Addr::v4(0x0a00_0007), len));
    (prop_oneof![8 => v4, 8 => v6, 1 => any_len], any::<bool>())
}

/// The longest prefix that holds it decides, by looking at all; of the same two the denied one.
fn scan(entries: &[(Prefix, bool)], others: bool, addr: Addr) -> bool {
    let holding = entries.iter().filter(|(prefix, _)| prefix.contains(addr));
    holding.max_by_key(|(prefix, allowed)| (prefix.len(), !allowed)).map_or(others, |e| e.1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Every edge of every prefix, and what lies on either side of it, for lists of one to some
    /// thousand edges: trees of one to three levels.
    #[test]
    fn the_longest_prefix_decides_as_a_scan_finds(
        entries in prop::collection::vec(prefixes(), 0..400),
        others: bool,
    ) {
        let acl = Acl::new(entries.iter().copied(), others);
        let around = |addr: Addr| {
            let n = |by: i128| match addr.is_v4() {
                true => Addr::v4((addr.v4_bits()).wrapping_add(by as u32)),
                false => Addr::v6(addr.bits().wrapping_add(by as u128)),
            };
            [n(-1), n(0), n(1)]
        };
        for (prefix, _) in &entries {
            let (first, last) = prefix.range();
            for addr in around(first).into_iter().chain(around(last)) {
                prop_assert_eq!(acl.allows(addr), scan(&entries, others, addr), "{}", addr);
            }
        }
    }
}

/// A generator (SplitMix64).
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb)
}

#[test]
fn a_million_entries_are_built_and_answer() {
    let mut state = 1;
    let hosts: Vec<u32> = (0..1_000_000).map(|_| draw(&mut state) as u32).collect();
    let began = std::time::Instant::now();
    let acl = Acl::new(hosts.iter().map(|a| (Prefix::new(Addr::v4(*a), 32), false)), true);
    let v4 = began.elapsed();
    assert!(hosts.iter().all(|a| !acl.allows(Addr::v4(*a))));
    let sorted: std::collections::HashSet<u32> = hosts.iter().copied().collect();
    let mut others =
        (0..1_000_000).map(|_| draw(&mut state) as u32).filter(|a| !sorted.contains(a));
    assert!(others.all(|a| acl.allows(Addr::v4(a))));
    let nets: Vec<u128> = (0..1_000_000).map(|_| u128::from(draw(&mut state)) << 64).collect();
    let began = std::time::Instant::now();
    let acl = Acl::new(nets.iter().map(|a| (Prefix::new(Addr::v6(*a), 64), false)), true);
    let v6 = began.elapsed();
    assert!(nets.iter().all(|a| !acl.allows(Addr::v6(*a | 1))));
    let began = std::time::Instant::now();
    let denied = nets.iter().filter(|a| !acl.allows(Addr::v6(**a | 2))).count();
    println!("built in {v4:?} (v4) and {v6:?} (v6); {denied} looked up in {:?}", began.elapsed());
}

#[test]
fn families_are_apart() {
    let all = acl(&[], &["::/0"]);
    assert!(all.allows(Addr::v4(0x0a00_0001)) && !all.allows(Addr::v6(1 << 100)));
    let all = acl(&[], &["0.0.0.0/0"]);
    assert!(!all.allows(Addr::v4(u32::MAX)) && all.allows(Addr::v6(1 << 100)));
    let access = Access { services: [(ServiceId(3), Arc::new(all))].into(), ..Access::default() };
    let client = |text: &str| Addr::from(SocketAddr::new(net::ip(text), 0).ip());
    assert!(!access.admits(Some(ServiceId(3)), client("192.0.2.1")));
    assert!(access.admits(Some(ServiceId(4)), client("192.0.2.1")));
    assert!(access.admits(None, client("192.0.2.1")));
}
