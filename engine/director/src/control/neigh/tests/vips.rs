//! Announcements, and foreign holders of what is ours.

use super::super::Conflict;
use super::super::Level;
use super::*;

/// When, and on which port, an address was announced.
fn announced(lab: &Lab, a: &str, from: Tick) -> Vec<(u128, PortId)> {
    let a = addr(a);
    let is = |e: &Emit| {
        let arp = parse_arp(&e.bytes).is_some_and(|arp| arp.sender == a && arp.target == a);
        let unsolicited = parse_nd(&e.bytes).is_some_and(|n| {
            let Message::Advertisement { target, solicited, overrides, .. } = n.message else {
                return false;
            };
            target == a && !solicited && overrides && n.dst == nd::ALL_NODES
        });
        arp || unsolicited
    };
    let all = lab.sent.iter().filter(|(_, e)| is(e));
    all.map(|(at, e)| (at.since(from).as_millis(), e.port)).collect()
}

/// When, and on which port, we asked who else has an address.
fn probed(lab: &Lab, a: &str, from: Tick) -> Vec<(u128, PortId)> {
    let a = addr(a);
    let is = |e: &Emit| {
        let arp = |arp: Arp| arp.sender.is_unspecified() && arp.target == a;
        let check = |n: Nd| {
            let question = Message::Solicitation { target: a, source_mac: None };
            n.src.is_unspecified() && n.message == question && n.dst == nd::solicited_node(a)
        };
        parse_arp(&e.bytes).is_some_and(arp) || parse_nd(&e.bytes).is_some_and(check)
    };
    let all = lab.sent.iter().filter(|(_, e)| is(e));
    all.map(|(at, e)| (at.since(from).as_millis(), e.port)).collect()
}

fn three_times(ports: &[PortId]) -> Vec<(u128, PortId)> {
    [0, 1000, 2000].iter().flat_map(|at| ports.iter().map(|p| (*at, *p))).collect()
}

#[test]
fn vips_are_announced_at_start_three_times_a_second_apart_on_their_ports() {
    let mut lab = Lab::fresh(&[]);
    let start = lab.now;
    lab.run(secs(60));
    assert_eq!(announced(&lab, VIP, start), three_times(&[WAN, LAN]));
    assert_eq!(announced(&lab, VIP6, start), three_times(&[WAN, LAN]));
    assert_eq!(announced(&lab, POOL, start), three_times(&[LAN]));
}

#[test]
fn an_announcement_is_a_request_for_itself_to_everybody() {
    let mut lab = Lab::fresh(&[]);
    lab.run(Duration::ZERO);
    let (_, _, arp) =
        lab.arps().into_iter().find(|(_, p, a)| (*p, a.sender) == (LAN, addr(VIP))).unwrap();
    assert_eq!((arp.op, arp.sender_mac, arp.target_mac), (Op::Request, LAN_MAC, [0; 6]));
    assert_eq!(arp.link, Link { dst: BROADCAST, src: LAN_MAC, vlan: Some(100) });
    let of_vip6 = |nd: &Nd| matches!(nd.message, Message::Advertisement { target, .. } if target == addr(VIP6));
    let (_, _, nd) = lab.nds().into_iter().find(|(_, p, n)| *p == LAN && of_vip6(n)).unwrap();
    assert_eq!(nd.link.dst, [0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!(nd.src, addr(LAN_LL));
}

#[test]
fn vips_are_announced_when_the_link_comes_up_on_that_port_only() {
    let mut lab = Lab::quiet();
    lab.r.on_link(WAN, true, lab.now);
    lab.run(Duration::ZERO);
    assert_eq!(lab.sent, [], "it was up already");
    lab.r.on_link(WAN, false, lab.now);
    lab.run(secs(30));
    lab.forget();
    lab.r.on_link(WAN, true, lab.now);
    let start = lab.now;
    lab.run(secs(20));
    assert_eq!(announced(&lab, VIP, start), three_times(&[WAN]));
    assert_eq!(probed(&lab, VIP, start).iter().filter(|p| p.1 == WAN).count(), 3);
}

#[test]
fn a_link_that_goes_down_is_not_announced_on() {
    let mut lab = Lab::fresh(&[]);
    lab.run(Duration::from_millis(500));
    lab.r.on_link(WAN, false, lab.now);
    lab.forget();
    lab.run(secs(30));
    assert!(lab.sent.iter().all(|(_, e)| e.port == LAN));
}

#[test]
fn a_link_that_flaps_announces_once_a_second_at_most() {
    let mut lab = Lab::quiet();
    let start = lab.now;
    for _ in 0..100 {
        lab.r.on_link(WAN, false, lab.now);
        lab.r.on_link(WAN, true, lab.now);
        lab.run(Duration::from_millis(50));
    }
    // At 0 s, 1 s ... 5 s.
    assert_eq!(announced(&lab, VIP, start).len(), 6);
}

#[test]
fn a_vip_that_is_added_is_announced_and_the_others_are_not() {
    let mut lab = Lab::quiet();
    let start = lab.now;
    let mut s = snapshot();
    let vip = s.locals[&addr(VIP)];
    s.locals.insert(addr("10.1.0.101"), vip);
    lab.r.configure(&s, &[], lab.now);
    lab.run(secs(5));
    assert_eq!(announced(&lab, "10.1.0.101", start), three_times(&[WAN, LAN]));
    assert_eq!(announced(&lab, VIP, start), []);
}

#[test]
fn a_vip_that_is_removed_is_neither_announced_nor_asked_for_nor_answered() {
    let mut lab = Lab::fresh(&[]);
    lab.run(Duration::from_millis(100));
    let mut s = snapshot();
    s.locals.remove(&addr(VIP));
    lab.r.configure(&s, &[], lab.now);
    lab.forget();
    lab.frame(WAN, &arp_request(WAN, (X, "10.1.0.9"), VIP));
    let start = lab.now;
    lab.run(secs(30));
    assert_eq!((announced(&lab, VIP, start), probed(&lab, VIP, start)), (vec![], vec![]));
    assert!(lab.arps().iter().all(|(_, _, arp)| arp.sender != addr(VIP)));
}

#[test]
fn announce_announces_one_vip_or_all_and_says_when_it_is_none() {
    let mut lab = Lab::quiet();
    let start = lab.now;
    assert_eq!(lab.r.announce(Some(addr(VIP)), lab.now), 2);
    lab.run(secs(5));
    assert_eq!(announced(&lab, VIP, start), three_times(&[WAN, LAN]));
    assert_eq!(announced(&lab, VIP6, start), []);
    assert_eq!(lab.r.announce(None, lab.now), 4);
    for a in ["10.9.9.9", POOL, WAN_OWN] {
        assert_eq!(lab.r.announce(Some(addr(a)), lab.now), 0, "{a}");
    }
}

#[test]
fn many_vips_are_announced_at_a_bounded_pace() {
    let mut s = snapshot();
    let vip = s.locals[&addr(VIP)];
    s.locals.extend((0..5000).map(|i| (Addr::v4(0x0b00_0001 + i), vip)));
    let mut lab = Lab::bare(64);
    lab.r.configure(&s, &[], lab.now);
    let start = lab.now;
    assert!(lab.r.tick(lab.now).unwrap() > lab.now);
    assert_eq!(lab.r.frames().count(), 64);
    lab.run(secs(8));
    assert_eq!(lab.r.lost(), 0);
    let within_1_s = lab.sent.iter().filter(|(at, _)| at.since(start) <= secs(1)).count();
    assert!(within_1_s <= 64 * 201, "{within_1_s}");
    let last = announced(&lab, "11.0.19.136", start);
    assert_eq!(last.len(), 6);
}

#[test]
fn vips_are_asked_for_at_start_and_every_10_s_on_their_ports() {
    let mut lab = Lab::fresh(&[]);
    let start = lab.now;
    lab.run(secs(25));
    for vip in [VIP, VIP6] {
        let rounds = [0, 10_000, 20_000];
        let both: Vec<_> = rounds.iter().flat_map(|at| [(*at, WAN), (*at, LAN)]).collect();
        assert_eq!(probed(&lab, vip, start), both);
    }
    // Own and pool addresses are looked for when they become ours.
    assert_eq!(probed(&lab, POOL, start), [(0, LAN)]);
    assert_eq!(probed(&lab, WAN_OWN6, start), [(0, WAN)]);
}

#[test]
fn a_probe_has_no_sender_and_our_tag() {
    let mut lab = Lab::fresh(&[]);
    lab.run(Duration::ZERO);
    let probe =
        lab.sent.iter().filter_map(|(_, e)| (e.port == LAN).then(|| parse_arp(&e.bytes))?);
    let probe = probe.into_iter().find(|a| a.sender.is_unspecified() && a.target == addr(VIP));
    let link = Link { dst: BROADCAST, src: LAN_MAC, vlan: Some(100) };
    let expected = Arp {
        link,
        op: Op::Request,
        sender_mac: LAN_MAC,
        sender: addr("0.0.0.0"),
        target_mac: [0; 6],
        target: addr(VIP),
    };
    assert_eq!(probe, Some(expected));
}

#[test]
fn who_answers_for_a_vip_is_named_with_its_mac_and_answered_by_announcing() {
    let mut lab = Lab::quiet();
    let start = lab.now;
    lab.frame(LAN, &arp_reply(LAN, (X, VIP)));
    lab.frame(LAN, &na(LAN, (X, VIP6), false, true).build());
    let (v4, v6) = (addr(VIP), addr(VIP6));
    let holder = |vip| Event::ForeignHolder { port: LAN, vip, mac: X };
    assert_eq!(lab.events(), [holder(v4), holder(v6)]);
    let conflict = |vip| Conflict { vip, mac: X, port: LAN, since: start, last_seen: start };
    assert_eq!(lab.r.conflicts(), [conflict(v4), conflict(v6)]);
    lab.run(secs(5));
    assert_eq!(announced(&lab, VIP, start), [(0, LAN)]);
    assert_eq!(announced(&lab, VIP6, start), [(0, LAN)]);
    assert_eq!(lab.table.iter().count(), 0, "our own address is nobody's next hop");
}

/// The classic trap: a DR server without arp_announce asks with the VIP as its sender.
#[test]
fn who_asks_with_the_vip_as_its_sender_is_a_holder_and_gets_no_answer() {
    let mut lab = Lab::quiet();
    lab.frame(LAN, &arp_request(LAN, (X, VIP), "10.2.0.1"));
    lab.frame(LAN, &arp_request(LAN, (X, VIP), LAN_OWN));
    lab.frame(LAN, &ns(LAN, (X, VIP6), LAN_OWN6).build());
    let vips: Vec<_> = lab.r.conflicts().iter().map(|c| (c.vip, c.mac)).collect();
    assert_eq!(vips, [(addr(VIP), X), (addr(VIP6), X)]);
    assert_eq!(lab.sent, []);
}

#[test]
fn our_own_answers_seen_on_another_port_are_no_conflict() {
    let mut lab = Lab::quiet();
    lab.frame(LAN, &arp_request(LAN, (WAN_MAC, VIP), VIP));
    lab.frame(LAN, &na(LAN, (WAN_MAC, VIP6), false, true).build());
    assert_eq!((lab.r.conflicts().len(), lab.events().len()), (0, 0));
}

#[test]
fn a_vip_held_elsewhere_where_we_do_not_answer_for_it_is_no_conflict() {
    let mut s = snapshot();
    s.locals.entry(addr(VIP)).or_default().ports = 1;
    let mut lab = Lab::bare(64);
    lab.r.configure(&s, &[], lab.now);
    lab.frame(LAN, &arp_request(LAN, (X, VIP), "10.2.0.1"));
    assert_eq!(lab.r.conflicts(), []);
    lab.frame(WAN, &arp_request(WAN, (X, VIP), "10.1.0.1"));
    assert_eq!(lab.r.conflicts().len(), 1);
}

#[test]
fn re_announcing_is_bounded_to_once_a_second_per_vip() {
    let mut lab = Lab::quiet();
    let start = lab.now;
    for _ in 0..100 {
        lab.frame(LAN, &arp_reply(LAN, (X, VIP)));
        lab.frame(LAN, &arp_request(LAN, (Y, "10.2.0.9"), VIP));
        lab.run(Duration::from_millis(50));
    }
    assert_eq!(announced(&lab, VIP, start), (0..=5).map(|s| (s * 1000, LAN)).collect::<Vec<_>>());
    assert_eq!(lab.events().iter().filter(|e| e.level() == Level::Warn).count(), 1);
}

#[test]
fn while_a_vip_is_disputed_whoever_asks_for_it_hears_us_last() {
    let mut lab = Lab::quiet();
    lab.frame(LAN, &arp_reply(LAN, (X, VIP)));
    lab.frame(LAN, &na(LAN, (X, VIP6), false, true).build());
    lab.run(secs(3));
    lab.forget();
    let start = lab.now;
    lab.frame(LAN, &arp_request(LAN, (Y, "10.2.0.9"), VIP));
    lab.frame(LAN, &ns(LAN, (Y, "2001:db8:2::9"), VIP6).build());
    lab.run(secs(3));
    assert_eq!(announced(&lab, VIP, start), [(200, LAN)]);
    assert_eq!(announced(&lab, VIP6, start), [(200, LAN)]);
}

#[test]
fn a_holder_not_seen_for_three_rounds_is_gone() {
    let mut lab = Lab::quiet();
    lab.frame(LAN, &arp_reply(LAN, (X, VIP)));
    lab.run(secs(30));
    lab.frame(LAN, &arp_reply(LAN, (X, VIP)));
    lab.run(secs(34));
    assert_eq!(lab.r.conflicts().len(), 1);
    lab.forget();
    let start = lab.now;
    lab.run(secs(2));
    assert_eq!(lab.r.conflicts(), []);
    let gone = Event::ForeignHolderGone { port: LAN, vip: addr(VIP), mac: X };
    assert_eq!(lab.told, [(start + secs(1), gone)]);
}

#[test]
fn a_duplicate_of_our_own_address_is_told_and_defended_every_10_s_at_most() {
    let mut lab = Lab::quiet();
    let start = lab.now;
    for _ in 0..15 {
        lab.frame(LAN, &arp_request(LAN, (X, LAN_OWN), "10.2.0.1"));
        lab.run(secs(1));
    }
    let duplicate = Event::Duplicate { port: LAN, addr: addr(LAN_OWN), mac: X };
    assert_eq!(lab.events(), [duplicate]);
    // The last of the three at start was 7 s ago.
    assert_eq!(announced(&lab, LAN_OWN, start), [(3000, LAN), (13_000, LAN)]);
    assert_eq!(lab.r.conflicts(), [], "status lists holders of VIPs");
    lab.run(secs(36));
    let gone = Event::DuplicateGone { port: LAN, addr: addr(LAN_OWN), mac: X };
    assert_eq!(lab.events(), [duplicate, gone]);
}

#[test]
fn holders_are_bounded() {
    let mut lab = Lab::quiet();
    for i in 0..2000u32 {
        let b = i.to_be_bytes();
        lab.r.on_frame(LAN, &arp_reply(LAN, ([2, 9, b[0], b[1], b[2], b[3]], VIP)), lab.now);
    }
    assert_eq!(lab.r.conflicts().len(), 256);
}

#[test]
fn a_vip_given_away_is_no_conflict_any_more() {
    let mut lab = Lab::quiet();
    lab.frame(LAN, &na(LAN, (X, VIP6), false, true).build());
    lab.frame(LAN, &arp_reply(LAN, (X, VIP)));
    let mut s = snapshot();
    s.locals.remove(&addr(VIP));
    s.locals.entry(addr(VIP6)).or_default().ports = 1;
    lab.r.configure(&s, &[], lab.now);
    assert_eq!(lab.r.conflicts(), []);
    lab.forget();
    lab.run(secs(60));
    assert_eq!(lab.events(), []);
}

#[test]
fn log_lines_say_where_what_and_what_to_do() {
    let line = Event::ForeignHolder { port: LAN, vip: addr(VIP), mac: X }.text("lan");
    for part in ["lan", VIP, "02:00:00:00:01:01", "arp_ignore=1", "arp_announce=2"] {
        assert!(line.contains(part), "{line}");
    }
    let dead = Event::Dead { port: LAN, addr: addr("2001:db8:2::9"), wanted: true };
    assert!(dead.text("lan").contains("neighbour solicitation"));
    assert_eq!((dead.port(), dead.level()), (LAN, Level::Warn));
}
