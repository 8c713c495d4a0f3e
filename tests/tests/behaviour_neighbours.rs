//! Next hops: frames that wait for one, dead ones, ones that change their MAC.

use pointsman_dataplane::neigh::HopState;
use pointsman_dataplane::pipeline::HELD_IN_ALL;
use pointsman_dataplane::pipeline::HELD_PER_NEIGHBOUR;
use pointsman_dataplane::pipeline::TX_BURST;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::see::Sum;
use pointsman_tests::talk::Talk;

#[test]
fn frames_wait_for_an_unresolved_dest_and_leave_in_order() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            let mut rig = Rig::new();
            let dest = net::dest_addr(family, 0);
            rig.set_neighbour(LAN, dest, HopState::Incomplete);
            let vip = net::service_addr(family, forward);
            let client = net::client(family, 1, 5000);
            for n in 0..3u8 {
                let p = Packet::tcp(client, vip, flag::SYN).payload(&[n]);
                let out = rig.feed(WAN, &p.bytes());
                assert!(out.sent.is_empty());
                assert_eq!(out.asked, [(LAN, dest)]);
            }
            assert_eq!(rig.sum(|s| &s.held), 3);
            assert!(rig.housekeep().sent.is_empty(), "nothing is known yet");
            rig.set_neighbour(LAN, dest, HopState::Reachable([2, 9, 9, 9, 9, 9]));
            let out = rig.housekeep();
            let last = |f: &Vec<u8>| f.last().copied();
            assert_eq!(out.frames().iter().filter_map(last).collect::<Vec<_>>(), [0, 1, 2]);
            assert!(out.frames().iter().all(|f| see::see(f).eth.0 == [2, 9, 9, 9, 9, 9]));
            assert_eq!(see::sums(&out.frames()).unwrap(), [Sum::Right; 3]);
            assert_eq!(rig.sum(|s| &s.held), 0);
            assert!(rig.drops().is_empty());
        }
    }
}

#[test]
fn replies_wait_for_an_unresolved_gateway() {
    for family in net::FAMILIES {
        let mut rig = Rig::new();
        let talk = Talk::tcp(&mut rig, family, Forward::FullNat);
        rig.set_neighbour(WAN, net::gateway(family), HopState::Incomplete);
        let out = talk.answer(&mut rig, flag::SYN | flag::ACK);
        assert_eq!((out.sent.len(), &out.asked[..]), (0, &[(WAN, net::gateway(family))][..]));
        rig.set_neighbour(WAN, net::gateway(family), HopState::Reachable(net::GATEWAY_MAC));
        let out = rig.housekeep();
        assert_eq!((out.seen().src, out.seen().dst), (talk.vip, talk.client));
    }
}

/// A client on the link that nobody has heard of: the control thread is asked for it.
#[test]
fn a_hop_that_is_not_in_the_table_is_asked_for_until_it_is() {
    let mut rig = Rig::new();
    let client = std::net::SocketAddr::new(net::ip("10.0.0.55"), 5000);
    let vip = net::service_addr(V4, Forward::Nat);
    let seen = rig.feed(WAN, &Packet::tcp(client, vip, flag::SYN).bytes()).seen();
    let reply = Packet::tcp(seen.dst, seen.src, flag::SYN | flag::ACK).from_lan(seen.eth.0);
    let out = rig.feed(LAN, &reply.bytes());
    assert_eq!((out.sent.len(), &out.asked[..]), (0, &[(WAN, client.ip())][..]));
    assert_eq!(rig.housekeep().asked, [(WAN, client.ip())], "the question may have been lost");
    rig.set_neighbour(WAN, client.ip(), HopState::Reachable([2, 1, 1, 1, 1, 1]));
    assert_eq!(rig.housekeep().seen().dst, client);
    // From now on straight through.
    assert_eq!(rig.feed(LAN, &reply.bytes()).seen().eth.0, [2, 1, 1, 1, 1, 1]);
}

#[test]
fn held_frames_are_bounded_per_neighbour_and_the_oldest_goes_by_name() {
    let mut rig = Rig::new();
    let dest = net::dest_addr(V4, 0);
    rig.set_neighbour(LAN, dest, HopState::Incomplete);
    let vip = net::service_addr(V4, Forward::Nat);
    let total = HELD_PER_NEIGHBOUR + 5;
    for n in 0..total {
        let p = Packet::tcp(net::client(V4, 1, 5), vip, flag::SYN).payload(&[n as u8]);
        rig.feed(WAN, &p.bytes());
    }
    assert_eq!(rig.drops(), [(DropReason::HeldOverflow, 5)]);
    rig.set_neighbour(LAN, dest, HopState::Reachable(net::dest_mac(0)));
    let left: Vec<_> = rig.housekeep().frames().iter().filter_map(|f| f.last().copied()).collect();
    assert_eq!(left, (5..total as u8).collect::<Vec<_>>());
}

#[test]
fn held_frames_are_bounded_in_all_and_the_oldest_goes_by_name() {
    let mut rig = Rig::new();
    let vip = net::service_addr(V4, Forward::Nat);
    // Clients on the link, each of them a neighbour nobody knows: their resets wait.
    let neighbours = HELD_IN_ALL / 10 + 1;
    let mut fed = 0;
    for n in 0..neighbours {
        for _ in 0..10 {
            // Below the rate limit of what the director says.
            rig.now = rig.now + std::time::Duration::from_millis(1);
            let client = std::net::SocketAddr::new(net::ip(&format!("10.0.0.{}", 100 + n)), 5);
            rig.feed(WAN, &Packet::tcp(client, vip, flag::ACK).bytes());
            fed += 1;
        }
    }
    assert_eq!(rig.sum(|s| &s.held), HELD_IN_ALL as u64);
    assert_eq!(rig.dropped(DropReason::HeldOverflow), (fed - HELD_IN_ALL) as u64);
    // The first neighbour's were the oldest.
    rig.set_neighbour(WAN, net::ip("10.0.0.100"), HopState::Reachable([2, 1, 1, 1, 1, 1]));
    assert_eq!(rig.housekeep().sent.len(), 10 - (fed - HELD_IN_ALL));
}

/// One call may send less by a port than may wait for its neighbours.
#[test]
fn all_that_waits_goes_when_all_answer_at_once() {
    let addr = |n: usize| net::ip(&format!("10.0.0.{}", 100 + n));
    let mut rig = Rig::new();
    let vip = net::service_addr(V4, Forward::Nat);
    for n in 0..HELD_IN_ALL {
        // Below the rate limit of what the director says.
        rig.now = rig.now + std::time::Duration::from_millis(1);
        let client = std::net::SocketAddr::new(addr(n / HELD_PER_NEIGHBOUR), 5);
        rig.feed(WAN, &Packet::tcp(client, vip, flag::ACK).bytes());
    }
    for n in 0..HELD_IN_ALL / HELD_PER_NEIGHBOUR {
        rig.set_neighbour(WAN, addr(n), HopState::Reachable([2, 1, 1, 1, 1, n as u8]));
    }
    let sent = [rig.housekeep().sent.len(), rig.housekeep().sent.len()];
    assert_eq!(sent, [TX_BURST.min(HELD_IN_ALL), HELD_IN_ALL.saturating_sub(TX_BURST)]);
    assert_eq!(rig.dropped(DropReason::TxFull), 0);
}

#[test]
fn what_waits_for_a_hop_that_turns_out_dead_is_dropped_by_name() {
    let mut rig = Rig::new();
    let dest = net::dest_addr(V4, 0);
    rig.set_neighbour(LAN, dest, HopState::Incomplete);
    let syn = Packet::tcp(net::client(V4, 1, 5), net::service_addr(V4, Forward::Nat), flag::SYN);
    rig.feed(WAN, &syn.bytes());
    rig.set_neighbour(LAN, dest, HopState::Dead);
    assert!(rig.housekeep().sent.is_empty());
    assert_eq!(rig.drops(), [(DropReason::NeighbourDead, 1)]);
    // A dead one is asked for again by every frame, so that it can come back.
    assert_eq!(rig.feed(WAN, &syn.bytes()).asked, [(LAN, dest)]);
    rig.set_neighbour(LAN, dest, HopState::Reachable(net::dest_mac(0)));
    assert_eq!(rig.feed(WAN, &syn.bytes()).seen().dst.ip(), dest);
}

#[test]
fn a_new_mac_of_a_dest_serves_its_old_conns_at_once() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            let mut rig = Rig::new();
            let talk = Talk::tcp(&mut rig, family, forward);
            let mac = [2, 7, 7, 7, 7, 7];
            rig.set_neighbour(LAN, net::dest_addr(family, 0), HopState::Reachable(mac));
            assert_eq!(talk.say(&mut rig, flag::ACK).seen().eth.0, mac);
            if forward.sees_replies() {
                talk.answer(&mut rig, flag::ACK);
                rig.set_neighbour(WAN, net::gateway(family), HopState::Reachable(mac));
                assert_eq!(talk.answer(&mut rig, flag::ACK).seen().eth.0, mac);
            }
        }
    }
}

/// A hop that is given up moves elsewhere in the table; conns look theirs up anew.
#[test]
fn a_gateway_that_was_forgotten_and_found_again_serves_old_conns() {
    let mut rig = Rig::new();
    let talk = Talk::tcp(&mut rig, V4, Forward::Nat);
    talk.answer(&mut rig, flag::SYN | flag::ACK);
    rig.set_neighbour(WAN, net::gateway(V4), HopState::Gone);
    let out = talk.answer(&mut rig, flag::ACK);
    assert_eq!((out.sent.len(), &out.asked[..]), (0, &[(WAN, net::gateway(V4))][..]));
    // Its old place rests, so it gets another one.
    let table = &rig.shared.neighbours;
    let hop = table.insert(WAN, net::gateway(V4).into(), |_| false).unwrap();
    table.set(hop, HopState::Reachable([2, 8, 8, 8, 8, 8]));
    assert_eq!(rig.housekeep().seen().eth.0, [2, 8, 8, 8, 8, 8]);
    assert_eq!(talk.answer(&mut rig, flag::ACK).seen().eth.0, [2, 8, 8, 8, 8, 8]);
}

#[test]
fn a_held_packet_without_df_is_cut_when_it_leaves() {
    let mut rig = Rig::with(|s| net::set_mtu(s, LAN, 576));
    let dest = net::dest_addr(V4, 0);
    rig.set_neighbour(LAN, dest, HopState::Incomplete);
    let vip = net::service_addr(V4, Forward::Nat);
    let p = Packet::udp(net::client(V4, 1, 5), vip).may_fragment().payload(&[5; 1400]);
    assert!(rig.feed(WAN, &p.bytes()).sent.is_empty());
    rig.set_neighbour(LAN, dest, HopState::Reachable(net::dest_mac(0)));
    let out = rig.housekeep();
    assert_eq!((out.sent.len(), see::sums(&out.frames()).unwrap()), (3, vec![Sum::Right]));
    assert_eq!(rig.dest(net::dest_id(V4, Proto::Udp, Forward::Nat, 0), |s| &s.conns), 1);
}
