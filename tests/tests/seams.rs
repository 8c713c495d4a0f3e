//! Where two features meet: what each does alone is tested beside it.

use pointsman_dataplane::service::Candidate;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::see::Sum;
use pointsman_tests::talk::Talk;
use std::collections::BTreeSet;
use std::time::Duration;

/// `replies` and fragments: an answer larger than the MTU ends the conn with its last fragment, not
/// with its first.
#[test]
fn a_last_reply_in_fragments_comes_whole_and_then_ends_the_conn() {
    for workers in [1, 3] {
        for family in net::FAMILIES {
            for order in [[0, 1, 2], [2, 0, 1]] {
                let mut rig = Rig::build(Options { workers, ..Options::default() }, |s, _| {
                    s.dests.iter_mut().for_each(|d| d.traits.replies = 1);
                });
                let talk =
                    Talk::open(&mut rig, 0, (family, Proto::Udp, Forward::FullNat), (1, 700));
                let pieces = talk.reply(0).payload(&[7; 28]).cut(9, &[16, 24]);
                let mut sent = Vec::new();
                for n in order {
                    sent.extend(rig.feed(LAN, &pieces[n].bytes()).frames());
                }
                assert_eq!(see::sums(&sent), Ok(vec![Sum::Right]), "{:?}", rig.drops());
                rig.pass(Duration::from_secs(1));
                assert_eq!(rig.conns().len(), 1, "later ones may still be under way");
                rig.pass(Duration::from_secs(3));
                assert_eq!((rig.conns().len(), rig.sum(|s| &s.leases)), (0, 0));
            }
        }
    }
}

/// Reloads and hand-over: workers take a snapshot one after the other, so that one may be asked for a
/// port toward a dest of which it has not heard.
#[test]
fn a_worker_asked_for_a_port_toward_a_dest_it_does_not_know_yet_refuses() {
    let options = Options { workers: 2, conns: 70_000, ..Options::default() };
    let mut rig = Rig::build(options, |_, _| {});
    let known = net::service_index(V4, Proto::Tcp, Forward::FullNat);
    rig.reload_one(0, |s| {
        let new = DestId(s.dests.len() as u32);
        let mut dest =
            s.dests[net::dest_id(V4, Proto::Tcp, Forward::FullNat, 0).0 as usize].clone();
        dest.port += 1000;
        s.dests.push(dest);
        s.services[known].dests = vec![Candidate { id: new, weight: 1, last_weight: 1 }];
    });
    let vip = net::service_addr(V4, Forward::FullNat);
    let syn = |n: usize| {
        let client = net::client(V4, (n / 20_000) as u8, 1000 + (n % 20_000) as u16);
        Packet::tcp(client, vip, flag::SYN).bytes()
    };
    let out = rig.feed_many(0, WAN, (0..80_000).map(syn));
    assert!(!out.handed.is_empty(), "worker 0 has used up its ports and asks");
    assert!(rig.dropped(DropReason::NoDest) > 0, "{:?}", rig.drops());
}

/// Two ways in and fragments: routers may send a datagram's first fragment by one of them and the rest,
/// whose ports they do not see, by the other.
#[test]
fn fragments_of_one_datagram_may_come_by_two_ports() {
    for workers in [1, 3] {
        for family in net::FAMILIES {
            let mut rig = Rig::build(Options { workers, ..Options::default() }, |_, _| {});
            let vip = net::service_addr(family, Forward::FullNat);
            let packet = Packet::udp(net::client(family, 1, 700), vip).payload(&[7; 28]);
            let pieces = packet.cut(9, &[16, 24]);
            let late = [&pieces[1], &pieces[2]].map(|p| p.clone().from_lan(net::GATEWAY_MAC));
            for piece in &late {
                assert_eq!(rig.feed(LAN, &piece.bytes()).frames(), Vec::<Vec<u8>>::new());
            }
            let out = rig.feed(WAN, &pieces[0].bytes());
            assert_eq!(see::sums(&out.frames()), Ok(vec![Sum::Right]), "{:?}", rig.drops());
        }
    }
}

/// Tags and fragments: a reload may change a port's tag while a fragment that came with the old one is
/// held.
#[test]
fn a_held_fragment_whose_tag_is_another_one_now_is_dropped_by_name() {
    let mut rig = Rig::new();
    let vip = net::service_addr(V4, Forward::FullNat);
    let pieces = Packet::udp(net::client(V4, 1, 700), vip).payload(&[7; 28]).cut(9, &[16]);
    rig.feed(WAN, &pieces[1].bytes());
    rig.reload(|s| s.ports[0].vlan = Some(5));
    let mut first = pieces[0].clone();
    first.vlan = Some(5);
    rig.feed(WAN, &first.bytes());
    assert_eq!(rig.drops(), [(DropReason::WrongVlan, 1)]);
}

/// Fragments made here bear a local address, and so an identification of ours (RFC 6864 section
/// 4.3): two clients' would collide behind it.
#[test]
fn packets_cut_under_full_nat_get_identifications_of_our_own() {
    let mut rig = Rig::with(|s| net::set_mtu(s, LAN, 600));
    let vip = net::service_addr(V4, Forward::FullNat);
    let mut ids = BTreeSet::new();
    for client in 1..=5 {
        let packet = Packet::udp(net::client(V4, client, 700), vip);
        let out = rig.feed(WAN, &packet.payload(&[3; 900]).may_fragment().bytes());
        assert_eq!(see::sums(&out.frames()), Ok(vec![Sum::Right]));
        let of = |f: &Vec<u8>| see::see(f).id;
        assert_eq!(out.frames().iter().map(of).collect::<BTreeSet<_>>().len(), 1);
        ids.insert(of(&out.frames()[0]));
    }
    assert_eq!(ids.len(), 5);
}
