//! Who gets an answer, and which.

use super::*;

const PEER: &str = "10.2.0.2";
const PEER6: &str = "2001:db8:2::2";

fn advert(target: &str, solicited: bool) -> Message {
    Message::Advertisement {
        target: addr(target),
        target_mac: Some(LAN_MAC),
        router: false,
        solicited,
        overrides: true,
    }
}

#[test]
fn arp_is_answered_for_vip_own_and_pool_addresses() {
    for ours in [VIP, LAN_OWN, POOL] {
        let mut lab = Lab::quiet();
        lab.frame(LAN, &arp_request(LAN, (X, PEER), ours));
        let (_, port, arp) = lab.arps()[0];
        assert_eq!((lab.arps().len(), port, arp.op), (1, LAN, Op::Reply));
        assert_eq!((arp.sender, arp.sender_mac), (addr(ours), LAN_MAC));
        assert_eq!((arp.target, arp.target_mac), (addr(PEER), X));
        assert_eq!(arp.link, Link { dst: X, src: LAN_MAC, vlan: Some(100) });
    }
}

#[test]
fn nd_is_answered_for_vip_and_own_addresses() {
    for ours in [VIP6, LAN_OWN6, LAN_LL] {
        let mut lab = Lab::quiet();
        lab.frame(LAN, &ns(LAN, (X, PEER6), ours).build());
        let (_, port, nd) = lab.nds()[0];
        assert_eq!((lab.nds().len(), port, nd.dst), (1, LAN, addr(PEER6)));
        assert_eq!(nd.message, advert(ours, true));
        assert_eq!(nd.link, Link { dst: X, src: LAN_MAC, vlan: Some(100) });
        assert_eq!(nd.src, addr(LAN_OWN6));
    }
}

#[test]
fn nothing_is_answered_on_ports_outside_the_bitmap() {
    let mut lab = Lab::quiet();
    lab.frame(WAN, &arp_request(WAN, (X, "10.1.0.9"), POOL));
    lab.frame(WAN, &arp_request(WAN, (X, "10.1.0.9"), LAN_OWN));
    lab.frame(WAN, &ns(WAN, (X, "2001:db8:1::9"), LAN_OWN6).build());
    lab.frame(WAN, &ns(WAN, (X, "2001:db8:1::9"), LAN_LL).build());
    assert_eq!(lab.sent, []);
}

#[test]
fn a_probe_of_another_host_is_answered() {
    let mut lab = Lab::quiet();
    lab.frame(LAN, &arp_request(LAN, (X, "0.0.0.0"), VIP));
    let (_, _, arp) = lab.arps()[0];
    assert_eq!((arp.op, arp.sender, arp.target), (Op::Reply, addr(VIP), addr("0.0.0.0")));
    assert_eq!(arp.link.dst, X);
    // He asks; he does not hold it.
    assert_eq!((lab.r.conflicts().len(), lab.events().len()), (0, 0));
}

#[test]
fn a_check_for_duplicates_is_answered_to_all_nodes_unsolicited() {
    let mut lab = Lab::quiet();
    lab.frame(LAN, &ns(LAN, (X, "::"), VIP6).build());
    let (_, _, nd) = lab.nds()[0];
    assert_eq!((nd.dst, nd.link.dst), (nd::ALL_NODES, [0x33, 0x33, 0, 0, 0, 1]));
    assert_eq!(nd.message, advert(VIP6, false));
    assert_eq!((lab.r.conflicts().len(), lab.table.iter().count()), (0, 0));
}

#[test]
fn a_solicitation_without_a_mac_is_answered_to_where_it_came_from() {
    let mut lab = Lab::quiet();
    let mut question = ns(LAN, (X, PEER6), VIP6);
    question.message = Message::Solicitation { target: addr(VIP6), source_mac: None };
    (question.dst, question.link.dst) = (addr(VIP6), LAN_MAC);
    lab.frame(LAN, &question.build());
    assert_eq!(lab.nds()[0].2.link.dst, X);
}

#[test]
fn insane_askers_get_nothing() {
    let mut lab = Lab::quiet();
    // A group's MAC, no MAC, our own MAC (of either port), a martian source.
    for mac in [[3, 0, 0, 0, 0, 9], [0; 6], LAN_MAC, WAN_MAC] {
        lab.frame(LAN, &arp_request(LAN, (mac, PEER), VIP));
        lab.frame(LAN, &ns(LAN, (mac, PEER6), VIP6).build());
    }
    for source in ["127.0.0.1", "224.0.0.1", "255.255.255.255"] {
        lab.frame(LAN, &arp_request(LAN, (X, source), VIP));
    }
    // An honest Ethernet header around a dishonest packet.
    let link = link_to(LAN, Some(BROADCAST), X);
    let mut arp = parse_arp(&arp_request(LAN, (LAN_MAC, PEER), VIP)).unwrap();
    arp.link = link;
    lab.frame(LAN, &arp.build());
    // An asker whose address is ours on another port.
    lab.frame(LAN, &arp_request(LAN, (X, WAN_OWN), LAN_OWN));
    lab.frame(LAN, &ns(LAN, (X, WAN_OWN6), LAN_OWN6).build());
    assert_eq!(lab.sent, []);
    assert_eq!(lab.table.iter().count(), 0);
}

#[test]
fn frames_of_another_vlan_or_another_host_are_ignored() {
    let mut lab = Lab::quiet();
    let mut arp = parse_arp(&arp_request(LAN, (X, PEER), VIP)).unwrap();
    for (vlan, dst) in [(None, BROADCAST), (Some(101), BROADCAST), (Some(100), Y)] {
        (arp.link.vlan, arp.link.dst) = (vlan, dst);
        lab.frame(LAN, &arp.build());
    }
    lab.frame(WAN, &arp_request(LAN, (X, PEER), VIP));
    lab.frame(PortId(9), &arp_request(LAN, (X, PEER), VIP));
    assert_eq!(lab.sent, []);
    (arp.link.vlan, arp.link.dst) = (Some(100), BROADCAST);
    lab.frame(LAN, &arp.build());
    assert_eq!(lab.sent.len(), 1);
}

#[test]
fn a_hop_limit_other_than_255_is_ignored() {
    let mut lab = Lab::quiet();
    let mut frame = ns(LAN, (X, PEER6), VIP6).build();
    let hop_limit = 18 + 7;
    assert_eq!(frame[hop_limit], 255);
    frame[hop_limit] = 254;
    lab.frame(LAN, &frame);
    assert_eq!(lab.sent, []);
    frame[hop_limit] = 255;
    lab.frame(LAN, &frame);
    assert_eq!(lab.sent.len(), 1);
}

#[test]
fn a_queue_that_nobody_empties_is_bounded() {
    let mut lab = Lab::quiet();
    let question = arp_request(LAN, (X, PEER), VIP);
    for _ in 0..3000 {
        lab.r.on_frame(LAN, &question, lab.now);
    }
    let waiting = lab.r.frames().count();
    assert!((1000..2000).contains(&waiting));
    assert_eq!(waiting as u64 + lab.r.lost(), 3000);
}
