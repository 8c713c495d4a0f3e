//! Next hops: asked, learnt, verified, dead, given up.

use super::*;
use pointsman_dataplane::neigh::GRACE;

const PEER: &str = "10.2.0.2";
const PEER6: &str = "2001:db8:2::2";

fn resolved(addr: Addr, mac: Mac, wanted: bool) -> Event {
    Event::Resolved { port: LAN, addr, mac, wanted }
}

/// A lab in which `PEER` is wanted and reachable at X since just now.
fn with_peer() -> Lab {
    let mut lab = Lab::quiet();
    lab.r.configure(&snapshot(), &[(LAN, addr(PEER))], lab.now);
    lab.frame(LAN, &arp_reply(LAN, (X, PEER)));
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Reachable(X)));
    lab.forget();
    lab
}

#[test]
fn it_asks_with_its_own_address_and_tag_and_learns_from_the_answer() {
    let mut lab = Lab::quiet();
    let hop = lab.hop(LAN, PEER).unwrap();
    let (_, port, arp) = lab.arps()[0];
    assert_eq!(
        (port, arp.op, arp.sender, arp.target),
        (LAN, Op::Request, addr(LAN_OWN), addr(PEER))
    );
    assert_eq!((arp.sender_mac, arp.target_mac), (LAN_MAC, [0; 6]));
    assert_eq!(arp.link, Link { dst: BROADCAST, src: LAN_MAC, vlan: Some(100) });
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Incomplete));
    lab.frame(LAN, &arp_reply(LAN, (X, PEER)));
    assert_eq!(lab.table.get(hop), (LAN, HopState::Reachable(X)));
    assert_eq!(lab.events(), [resolved(addr(PEER), X, true)]);
}

#[test]
fn it_asks_by_nd_with_its_own_address_and_learns_from_the_answer() {
    let mut lab = Lab::quiet();
    lab.hop(LAN, PEER6).unwrap();
    let (_, port, nd) = lab.nds()[0];
    assert_eq!((port, nd.src, nd.dst), (LAN, addr(LAN_OWN6), addr("ff02::1:ff00:2")));
    let (target, source_mac) = (addr(PEER6), Some(LAN_MAC));
    assert_eq!(nd.message, Message::Solicitation { target, source_mac });
    let dst = [0x33, 0x33, 0xff, 0, 0, 2];
    assert_eq!(nd.link, Link { dst, src: LAN_MAC, vlan: Some(100) });
    lab.frame(LAN, &na(LAN, (X, PEER6), true, true).build());
    assert_eq!(lab.events(), [resolved(addr(PEER6), X, true)]);
}

#[test]
fn the_source_is_of_the_targets_prefix_else_link_local() {
    let mut lab = Lab::quiet();
    for (target, source) in
        [("fe80::99", LAN_LL), ("2001:db8:2::9", LAN_OWN6), ("2001:db8:77::9", LAN_LL)]
    {
        lab.hop(LAN, target).unwrap();
        assert_eq!(lab.nds().last().unwrap().2.src, addr(source), "{target}");
    }
}

#[test]
fn the_vip_is_never_the_sender_of_a_question() {
    let mut s = snapshot();
    // The port's only addresses are VIPs too: it asks as a probe does.
    s.ports[1].addrs.truncate(1);
    for own in [LAN_OWN, LAN_OWN6] {
        let local = s.locals.entry(addr(own)).or_default();
        (local.vip, local.ports) = (true, 2);
    }
    let mut lab = Lab::bare(64);
    lab.r.configure(&s, &[(LAN, addr(PEER)), (LAN, addr(PEER6))], lab.now);
    lab.run(secs(30));
    let (mut asked, mut asked6) = (0, 0);
    for (_, e) in &lab.sent {
        if let Some(arp) = parse_arp(&e.bytes) {
            let announcement = arp.sender == arp.target;
            assert!(announcement || arp.sender == addr("0.0.0.0") || arp.sender == addr(WAN_OWN));
            asked += (arp.target == addr(PEER)) as u32;
        }
        if let Some(Nd { src, message: Message::Solicitation { target, source_mac }, .. }) =
            parse_nd(&e.bytes)
        {
            assert!(src.is_unspecified() && source_mac.is_none());
            asked6 += (target == addr(PEER6)) as u32;
        }
    }
    assert!(asked >= 3 && asked6 >= 3);
    // Hosts answer a probe as well.
    lab.frame(LAN, &na(LAN, (X, PEER6), false, true).build());
    assert_eq!(lab.state(LAN, PEER6), Some(HopState::Reachable(X)));
    // A question without a source goes to the group, never by unicast (RFC 4861 section 7.1.1).
    lab.forget();
    lab.run(secs(5));
    let nds = lab.sent.iter().filter_map(|(_, e)| parse_nd(&e.bytes));
    let of_peer = |nd: &Nd| nd.dst == nd::solicited_node(addr(PEER6)) && nd.src.is_unspecified();
    assert_eq!(nds.filter(of_peer).count(), 1);
}

#[test]
fn three_tries_a_second_apart_then_dead_then_every_5_s() {
    let mut lab = Lab::quiet();
    let start = lab.now;
    lab.hop(LAN, PEER).unwrap();
    lab.run(secs(14));
    assert_eq!(lab.times(start, &lab.arps()), [0, 1000, 2000, 8000, 13000]);
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Dead));
    let dead = Event::Dead { port: LAN, addr: addr(PEER), wanted: true };
    assert_eq!(lab.told, [(start + secs(3), dead)]);
    lab.frame(LAN, &arp_reply(LAN, (X, PEER)));
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Reachable(X)));
}

#[test]
fn a_dead_stranger_is_asked_for_only_by_a_worker_and_once_a_second() {
    let mut lab = Lab::quiet();
    lab.r.resolve(LAN, addr(PEER), lab.now);
    lab.run(secs(4));
    assert_eq!((lab.state(LAN, PEER), lab.arps().len()), (Some(HopState::Dead), 3));
    lab.forget();
    lab.run(secs(20));
    assert_eq!(lab.arps(), []);
    let start = lab.now;
    for _ in 0..30 {
        lab.r.resolve(LAN, addr(PEER), lab.now);
        lab.run(Duration::from_millis(100));
    }
    assert_eq!(lab.times(start, &lab.arps()), [0, 1000, 2000]);
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Dead));
}

#[test]
fn a_worker_that_asks_again_while_we_ask_changes_nothing() {
    let mut lab = Lab::quiet();
    for _ in 0..10 {
        lab.r.resolve(LAN, addr(PEER), lab.now);
    }
    lab.take();
    assert_eq!(lab.arps().len(), 1);
}

#[test]
fn a_reachable_hop_is_confirmed_by_unicast_every_30_s() {
    let mut lab = with_peer();
    let start = lab.now;
    for _ in 0..3 {
        lab.run(secs(30));
        lab.frame(LAN, &arp_reply(LAN, (X, PEER)));
    }
    assert_eq!(lab.times(start, &lab.arps()), [30_000, 60_000, 90_000]);
    let to = |(_, _, arp): &(Tick, PortId, Arp)| (arp.link.dst, arp.target);
    assert!(lab.arps().iter().all(|arp| to(arp) == (X, addr(PEER))));
    assert_eq!(lab.events(), []);
}

#[test]
fn what_a_hop_says_unasked_does_not_confirm_it() {
    let mut lab = with_peer();
    let start = lab.now;
    for _ in 0..31 {
        lab.frame(LAN, &arp_request(LAN, (X, PEER), "10.2.0.3"));
        lab.run(secs(1));
    }
    assert_eq!(lab.times(start, &lab.arps())[0], 30_000);
}

#[test]
fn a_v6_hop_is_confirmed_by_unicast_and_an_answer_need_not_name_the_mac() {
    let mut lab = Lab::quiet();
    lab.hop(LAN, PEER6).unwrap();
    lab.frame(LAN, &na(LAN, (X, PEER6), true, true).build());
    lab.forget();
    let start = lab.now;
    lab.run(secs(30));
    let (_, _, nd) = lab.nds()[0];
    assert_eq!((nd.link.dst, nd.dst), (X, addr(PEER6)));
    // As the kernel confirms: solicited, no override, no option.
    let mut answer = na(LAN, (X, PEER6), true, false);
    if let Message::Advertisement { target_mac, .. } = &mut answer.message {
        *target_mac = None;
    }
    lab.frame(LAN, &answer.build());
    lab.run(secs(30));
    assert_eq!(lab.times(start, &lab.nds()), [30_000, 60_000]);
}

#[test]
fn three_misses_then_three_multicast_tries_then_dead() {
    let mut lab = with_peer();
    let start = lab.now;
    lab.run(secs(35));
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Reachable(X)));
    lab.run(secs(2));
    let asked: Vec<_> = lab.arps().iter().map(|(at, _, a)| (at.since(start), a.link.dst)).collect();
    let stage = |from, dst| (from..from + 3).map(move |s| (secs(s), dst));
    assert_eq!(asked, stage(30, X).chain(stage(33, BROADCAST)).collect::<Vec<_>>());
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Dead));
    let dead = Event::Dead { port: LAN, addr: addr(PEER), wanted: true };
    assert_eq!(lab.told, [(start + secs(36), dead)]);
}

#[test]
fn a_changed_mac_is_taken_over_at_once() {
    let mut lab = with_peer();
    let hop = lab.hop(LAN, PEER).unwrap();
    // A gratuitous request, as a host sends that came up with another card.
    lab.frame(LAN, &arp_request(LAN, (Y, PEER), PEER));
    assert_eq!(lab.table.get(hop), (LAN, HopState::Reachable(Y)));
    assert_eq!(lab.events(), [Event::Changed { port: LAN, addr: addr(PEER), old: X, new: Y }]);
}

#[test]
fn a_changed_mac_of_a_v6_hop_is_taken_over_at_once_if_it_overrides() {
    let mut lab = Lab::quiet();
    lab.hop(LAN, PEER6).unwrap();
    lab.frame(LAN, &na(LAN, (X, PEER6), true, true).build());
    lab.forget();
    // RFC 4861 section 7.2.5: without the flag it only makes us ask.
    lab.frame(LAN, &na(LAN, (Y, PEER6), false, false).build());
    lab.run(Duration::ZERO);
    assert_eq!(lab.state(LAN, PEER6), Some(HopState::Reachable(X)));
    assert_eq!(lab.nds().iter().map(|n| n.2.link.dst).collect::<Vec<_>>(), [X]);
    lab.frame(LAN, &na(LAN, (Y, PEER6), false, true).build());
    assert_eq!(lab.state(LAN, PEER6), Some(HopState::Reachable(Y)));
    assert_eq!(lab.events(), [Event::Changed { port: LAN, addr: addr(PEER6), old: X, new: Y }]);
}

#[test]
fn two_hosts_with_one_address_are_told_of_once_a_second() {
    let mut lab = with_peer();
    for i in 0..100 {
        lab.frame(LAN, &arp_request(LAN, (if i % 2 == 0 { Y } else { X }, PEER), PEER));
    }
    assert_eq!(lab.events().len(), 1);
    lab.run(secs(1));
    lab.frame(LAN, &arp_request(LAN, (Y, PEER), PEER));
    assert_eq!(lab.events().len(), 2);
}

#[test]
fn what_was_only_heard_is_verified_after_5_s() {
    let mut lab = with_peer();
    lab.frame(LAN, &arp_request(LAN, (Y, PEER), PEER));
    let start = lab.now;
    lab.run(secs(5));
    assert_eq!(lab.times(start, &lab.arps()), [5000]);
}

#[test]
fn strangers_chatter_makes_no_entry() {
    let mut lab = Lab::quiet();
    lab.frame(LAN, &arp_request(LAN, (X, PEER), "10.2.0.3"));
    lab.frame(LAN, &arp_request(LAN, (X, PEER), PEER));
    lab.frame(LAN, &arp_reply(LAN, (X, PEER)));
    lab.frame(LAN, &na(LAN, (X, PEER6), false, true).build());
    lab.frame(LAN, &na(LAN, (X, PEER6), true, true).build());
    lab.frame(LAN, &ns(LAN, (X, PEER6), "2001:db8:2::3").build());
    // Asks for ours, but is not on this link.
    lab.frame(LAN, &arp_request(LAN, (X, "192.0.2.1"), LAN_OWN));
    lab.frame(LAN, &ns(LAN, (X, "2001:db8:99::1"), LAN_OWN6).build());
    assert_eq!(lab.table.iter().count(), 0);
}

#[test]
fn who_asks_for_ours_is_known_and_refreshed_by_it() {
    let mut lab = Lab::quiet();
    lab.frame(LAN, &arp_request(LAN, (X, PEER), VIP));
    lab.frame(LAN, &ns(LAN, (X, PEER6), VIP6).build());
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Reachable(X)));
    assert_eq!(lab.state(LAN, PEER6), Some(HopState::Reachable(X)));
    lab.frame(LAN, &arp_request(LAN, (Y, PEER), VIP));
    lab.frame(LAN, &ns(LAN, (Y, PEER6), VIP6).build());
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Reachable(Y)));
    assert_eq!(lab.state(LAN, PEER6), Some(HopState::Reachable(Y)));
}

#[test]
fn a_dead_stranger_is_given_up_after_10_minutes_and_its_place_rests() {
    let mut lab = Lab::quiet();
    lab.r.resolve(LAN, addr(PEER), lab.now);
    let hop = lab.table.find(LAN, addr(PEER)).unwrap();
    lab.run(secs(602));
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Dead));
    let epoch = lab.table.epoch();
    lab.run(secs(1));
    assert_eq!(lab.table.get(hop).1, HopState::Gone);
    assert_ne!(lab.table.epoch(), epoch);
    // Asked for anew within GRACE it gets another place, later the first free one.
    lab.run(GRACE - Duration::from_millis(1));
    lab.r.resolve(LAN, addr(PEER), lab.now);
    assert_ne!(lab.table.find(LAN, addr(PEER)), Some(hop));
    let mut lab = Lab::quiet();
    lab.r.resolve(LAN, addr(PEER), lab.now);
    lab.run(secs(603) + GRACE);
    lab.r.resolve(LAN, addr(PEER), lab.now);
    assert_eq!(lab.table.find(LAN, addr(PEER)), Some(hop));
}

#[test]
fn a_wanted_hop_is_never_given_up() {
    let mut lab = Lab::quiet();
    lab.hop(LAN, PEER).unwrap();
    lab.run(secs(3600));
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Dead));
    // No longer wanted, it goes: it has been dead for long.
    lab.r.configure(&snapshot(), &[], lab.now);
    lab.run(secs(1));
    assert_eq!(lab.state(LAN, PEER), None);
}

#[test]
fn a_dead_stranger_that_becomes_wanted_is_asked_at_once() {
    let mut lab = Lab::quiet();
    lab.r.resolve(LAN, addr(PEER), lab.now);
    lab.run(secs(30));
    lab.forget();
    let start = lab.now;
    lab.r.configure(&snapshot(), &[(LAN, addr(PEER))], lab.now);
    lab.run(secs(6));
    assert_eq!(lab.times(start, &lab.arps()), [0, 5000]);
}

#[test]
fn a_stranger_that_comes_back_to_life_is_not_evicted_as_dead() {
    let mut lab = Lab::bare(32);
    lab.r.configure(&snapshot(), &[], lab.now);
    lab.r.resolve(LAN, addr(PEER), lab.now);
    lab.run(secs(5));
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Dead));
    lab.frame(LAN, &arp_reply(LAN, (X, PEER)));
    for i in 0..40 {
        lab.r.resolve(LAN, Addr::v4(0x0a02_0010 + i), lab.now);
    }
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Reachable(X)));
}

#[test]
fn a_full_table_evicts_the_longest_dead_strangers_first() {
    let mut lab = Lab::bare(32);
    lab.r.configure(&snapshot(), &[], lab.now);
    let stranger = |i: u32| Addr::v4(0x0a02_0010 + i);
    // 24 places are for strangers; 20 die, two a second, then four ask us.
    for i in 0..20 {
        lab.r.resolve(LAN, stranger(i), lab.now);
        lab.run(Duration::from_millis(500));
    }
    lab.run(secs(5));
    for i in 20..24 {
        let asker = stranger(i).to_string();
        lab.frame(LAN, &arp_request(LAN, (X, &asker), LAN_OWN));
    }
    lab.r.resolve(LAN, stranger(24), lab.now);
    let left: Vec<u32> = (0..25).filter(|i| lab.table.find(LAN, stranger(*i)).is_some()).collect();
    assert_eq!(left, (16..25).collect::<Vec<_>>());
}

#[test]
fn a_full_table_with_none_dead_refuses_and_says_so_at_a_bounded_rate() {
    let mut lab = Lab::bare(32);
    lab.r.configure(&snapshot(), &[], lab.now);
    lab.run(secs(4));
    lab.forget();
    for i in 0..200 {
        lab.r.resolve(LAN, Addr::v4(0x0a02_0010 + i), lab.now);
    }
    lab.take();
    assert_eq!(lab.table.iter().count(), 24);
    assert_eq!(lab.events(), [Event::TableFull { port: LAN, addr: Addr::v4(0x0a02_0010 + 24) }]);
    // Who is configured has the last quarter.
    for i in 0..8 {
        assert!(lab.r.hop(LAN, Addr::v4(0x0a02_0008 + i), lab.now).is_some());
    }
    assert_eq!(lab.r.hop(LAN, Addr::v4(0x0a02_0007), lab.now), None);
}

#[test]
fn reachable_hops_are_not_evicted() {
    let mut lab = Lab::bare(32);
    lab.r.configure(&snapshot(), &[(LAN, addr(PEER))], lab.now);
    lab.frame(LAN, &arp_reply(LAN, (X, PEER)));
    for i in 0..2000 {
        lab.r.resolve(LAN, Addr::v4(0x0a02_0010 + i % 200), lab.now);
        lab.run(Duration::from_millis(10));
        assert!(lab.table.iter().count() <= 32);
        if i % 500 == 0 {
            lab.frame(LAN, &arp_reply(LAN, (X, PEER)));
        }
    }
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Reachable(X)));
}

#[test]
fn what_cannot_be_a_neighbour_has_no_hop() {
    let mut lab = Lab::quiet();
    for a in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "ff02::1", "::"] {
        assert_eq!(lab.hop(LAN, a), None, "{a}");
    }
    for a in [VIP, LAN_OWN, LAN_LL] {
        lab.r.resolve(LAN, addr(a), lab.now);
        lab.frame(LAN, &arp_request(LAN, (X, LAN_OWN), VIP));
        assert_eq!(lab.state(LAN, a), None, "{a}");
    }
    lab.r.configure(&snapshot(), &[(LAN, addr(VIP))], lab.now);
    assert_eq!(lab.table.iter().count(), 0);
}

#[test]
fn what_was_ours_may_be_a_next_hop_of_the_next_configuration() {
    let mut lab = Lab::quiet();
    let hop = lab.r.hop(LAN, addr(POOL), lab.now).unwrap();
    let mut s = snapshot();
    s.locals.remove(&addr(POOL));
    lab.r.configure(&s, &[(LAN, addr(POOL))], lab.now);
    lab.run(Duration::ZERO);
    assert_eq!(lab.table.get(hop), (LAN, HopState::Incomplete));
    assert!(lab.arps().iter().any(|(_, _, arp)| arp.target == addr(POOL)));
    // A configuration that was refused after all leaves it ours, and no next hop.
    let mut lab = Lab::quiet();
    lab.r.hop(LAN, addr(POOL), lab.now).unwrap();
    lab.r.configure(&snapshot(), &[], lab.now);
    lab.run(secs(5));
    assert_eq!((lab.state(LAN, POOL), lab.arps()), (None, vec![]));
}

#[test]
fn a_dest_that_we_took_the_address_of_keeps_its_conns_while_it_is_wanted() {
    let mut lab = with_peer();
    let mut s = snapshot();
    s.locals.entry(addr(PEER)).or_default().ports = 2;
    lab.r.configure(&s, &[(LAN, addr(PEER))], lab.now);
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Reachable(X)));
}

#[test]
fn the_first_question_bears_the_tag_and_address_of_the_next_configuration() {
    let mut lab = Lab::quiet();
    lab.r.hop(LAN, addr(PEER), lab.now).unwrap();
    let mut s = snapshot();
    s.ports[1].vlan = Some(200);
    s.ports[1].addrs[0] = (addr("10.2.0.253"), Prefix::new(addr("10.2.0.253"), 24));
    lab.r.configure(&s, &[(LAN, addr(PEER))], lab.now);
    lab.run(Duration::ZERO);
    let asked: Vec<_> = lab.arps().into_iter().filter(|a| a.2.target == addr(PEER)).collect();
    let first = &asked[0].2;
    assert_eq!((first.link.vlan, first.sender), (Some(200), addr("10.2.0.253")));
    assert_eq!(asked.len(), 1);
}

/// A lab with a stranger at X that has answered just now.
fn with_stranger() -> Lab {
    let mut lab = Lab::quiet();
    lab.r.resolve(LAN, addr(PEER), lab.now);
    lab.frame(LAN, &arp_reply(LAN, (X, PEER)));
    lab.forget();
    lab
}

#[test]
fn a_stranger_that_answered_is_not_asked_again_and_stays_reachable() {
    let mut lab = with_stranger();
    lab.run(secs(3600));
    assert_eq!(lab.arps(), []);
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Reachable(X)));
    // Another MAC is taken over all the same.
    lab.frame(LAN, &arp_request(LAN, (Y, PEER), PEER));
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Reachable(Y)));
    let start = lab.now;
    lab.run(secs(5));
    assert_eq!(lab.times(start, &lab.arps()), [5000]);
}

#[test]
fn a_stale_stranger_that_asks_for_us_or_becomes_wanted_is_verified() {
    let mut lab = with_stranger();
    lab.run(secs(100));
    let start = lab.now;
    lab.frame(LAN, &arp_request(LAN, (X, PEER), VIP));
    lab.forget();
    lab.run(secs(60));
    assert_eq!(lab.times(start, &lab.arps())[..2], [5000, 6000]);
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Dead));
    let mut lab = with_stranger();
    lab.run(secs(100));
    let start = lab.now;
    lab.r.configure(&snapshot(), &[(LAN, addr(PEER))], lab.now);
    lab.run(secs(1));
    assert_eq!(lab.times(start, &lab.arps()), [0, 1000]);
}

#[test]
fn a_table_full_of_live_strangers_takes_the_next_one_in_place_of_the_longest_unused() {
    let mut lab = Lab::bare(32);
    lab.r.configure(&snapshot(), &[], lab.now);
    let stranger = |i: u32| Addr::v4(0x0a02_0010 + i);
    let found = |lab: &Lab, i: u32| lab.table.find(LAN, stranger(i)).is_some();
    for i in 0..24 {
        lab.r.resolve(LAN, stranger(i), lab.now);
        lab.frame(LAN, &arp_reply(LAN, (X, &stranger(i).to_string())));
        lab.run(secs(1));
    }
    lab.run(secs(31));
    // The first is asked for by a worker once more: it is not the longest unused.
    lab.r.resolve(LAN, stranger(0), lab.now);
    // Somebody who only asks us drives nobody out.
    lab.frame(LAN, &arp_request(LAN, (Y, &stranger(99).to_string()), VIP));
    assert!(!found(&lab, 99));
    lab.r.resolve(LAN, stranger(24), lab.now);
    let left: Vec<u32> = (0..25).filter(|i| found(&lab, *i)).collect();
    assert_eq!(left, [0].into_iter().chain(17..25).collect::<Vec<_>>());
}

#[test]
fn an_address_that_becomes_ours_is_no_next_hop_any_more() {
    let mut lab = with_peer();
    let mut s = snapshot();
    s.locals.entry(addr(PEER)).or_default().ports = 2;
    lab.r.configure(&s, &[], lab.now);
    assert_eq!(lab.state(LAN, PEER), None);
}

#[test]
fn hops_made_before_the_first_configuration_are_asked_for_after_it() {
    let mut lab = Lab::bare(64);
    let hop = lab.hop(LAN, PEER).unwrap();
    lab.r.configure(&snapshot(), &[(LAN, addr(PEER))], lab.now);
    lab.run(Duration::ZERO);
    assert!(lab.arps().iter().any(|(_, _, arp)| arp.target == addr(PEER)));
    assert_eq!(lab.table.get(hop), (LAN, HopState::Incomplete));
}

#[test]
fn a_link_that_comes_up_has_its_hops_verified() {
    let mut lab = with_peer();
    lab.hop(LAN, "10.2.0.3").unwrap();
    lab.run(secs(4));
    lab.r.on_link(LAN, false, lab.now);
    lab.forget();
    lab.run(secs(60));
    assert!(lab.sent.iter().all(|(_, e)| e.port == WAN));
    // A link that is down proves nothing about who was reachable.
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Reachable(X)));
    lab.r.on_link(LAN, true, lab.now);
    lab.run(Duration::ZERO);
    let asked: Vec<_> = lab.arps().iter().map(|(_, _, a)| (a.link.dst, a.target)).collect();
    assert!(asked.contains(&(X, addr(PEER))));
    assert!(asked.contains(&(BROADCAST, addr("10.2.0.3"))));
}

#[test]
fn a_reload_that_changes_nothing_sends_nothing() {
    let mut lab = with_peer();
    lab.r.configure(&snapshot(), &[(LAN, addr(PEER))], lab.now);
    lab.run(Duration::ZERO);
    assert_eq!((lab.sent.len(), lab.told.len()), (0, 0));
    assert_eq!(lab.state(LAN, PEER), Some(HopState::Reachable(X)));
}
