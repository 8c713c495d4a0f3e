//! A new snapshot under living conns.

use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::ServiceId;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Proto;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::DESTS;
use pointsman_tests::rig::Rig;
use pointsman_tests::talk::Talk;

#[test]
fn conns_whose_dest_stays_notice_nothing() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            let mut rig = Rig::new();
            let talk = Talk::tcp(&mut rig, family, forward);
            let i = net::service_index(family, Proto::Tcp, forward);
            rig.reload(|s| {
                s.services[i].dests[0].weight = 9;
                s.services[i].dests.remove(2);
                s.services[i].version += 1;
            });
            assert_eq!(talk.say(&mut rig, flag::ACK).seen().dst, talk.at_dest.dst);
            if forward.sees_replies() {
                assert_eq!(talk.answer(&mut rig, flag::ACK).seen().dst, talk.client);
            }
            assert_eq!(rig.conns().len(), 1);
        }
    }
}

#[test]
fn a_removed_dest_serves_its_conns_to_their_end_and_gets_no_new_ones() {
    for forward in net::METHODS {
        let mut rig = Rig::new();
        let talk = Talk::tcp(&mut rig, V4, forward);
        let i = net::service_index(V4, Proto::Tcp, forward);
        rig.reload(|s| {
            let gone = s.services[i].dests.remove(0);
            s.dests[gone.id.0 as usize].removed = true;
            s.services[i].version += 1;
        });
        assert_eq!(talk.say(&mut rig, flag::ACK).seen().dst, talk.at_dest.dst);
        if forward.sees_replies() {
            assert_eq!(talk.answer(&mut rig, flag::SYN | flag::ACK).seen().dst, talk.client);
        }
        for n in 0..2 * DESTS as u8 {
            let new = Talk::open(&mut rig, 0, (V4, Proto::Tcp, forward), (n, 1));
            assert_ne!(new.at_dest.eth.0, talk.at_dest.eth.0);
        }
    }
}

#[test]
fn a_removed_service_serves_its_conns_and_opens_none() {
    for forward in net::METHODS {
        let mut rig = Rig::new();
        let talk = Talk::tcp(&mut rig, V4, forward);
        let i = net::service_index(V4, Proto::Tcp, forward);
        rig.reload(|s| {
            for d in s.services.remove(i).dests {
                s.dests[d.id.0 as usize].removed = true;
            }
        });
        assert_eq!(talk.say(&mut rig, flag::ACK).seen().dst, talk.at_dest.dst);
        if forward.sees_replies() {
            assert_eq!(talk.answer(&mut rig, flag::SYN | flag::ACK).seen().dst, talk.client);
        }
        let new = Talk { client: net::client(V4, 99, 1), ..talk.clone() };
        let refused = new.say(&mut rig, flag::SYN).seen();
        assert_eq!(refused.tcp.map(|t| t.0), Some(flag::RST | flag::ACK));
    }
}

#[test]
fn a_hundred_reloads_that_change_nothing_leave_the_round_and_the_counts() {
    let mut rig = Rig::new();
    let kind = (V4, Proto::Tcp, Forward::Nat);
    let mut served = Vec::new();
    for n in 0..100u8 {
        served.push(Talk::open(&mut rig, 0, kind, (n, 1)).at_dest.dst.ip());
        rig.reload(|_| {});
    }
    let round: Vec<_> = (0..100).map(|n| net::dest_addr(V4, n % DESTS)).collect();
    assert_eq!(served, round);
    assert_eq!(rig.sum(|s| &s.opened), 100);
    let conns = |n| rig.dest(net::dest_id(V4, Proto::Tcp, Forward::Nat, n), |s| &s.conns);
    assert_eq!([conns(0), conns(1), conns(2)], [34, 33, 33]);
}

#[test]
fn a_new_dest_and_a_new_service_serve_at_once() {
    let mut rig = Rig::new();
    let i = net::service_index(V4, Proto::Tcp, Forward::Nat);
    rig.reload(|s| {
        s.services[i].dests.truncate(1);
        s.services[i].version += 1;
        let mut other = s.services[i].clone();
        other.id = ServiceId(s.services.len() as u32);
        other.addr = net::silent_vip(V4).into();
        s.services.push(other);
    });
    let kind = (V4, Proto::Tcp, Forward::Nat);
    assert_eq!(Talk::open(&mut rig, 0, kind, (1, 1)).at_dest.dst.ip(), net::dest_addr(V4, 0));
    assert_eq!(Talk::open(&mut rig, 0, kind, (2, 1)).at_dest.dst.ip(), net::dest_addr(V4, 0));
    let vip = std::net::SocketAddr::new(net::silent_vip(V4), 80);
    let syn = pointsman_tests::craft::Packet::tcp(net::client(V4, 3, 1), vip, flag::SYN);
    assert_eq!(rig.feed(net::WAN, &syn.bytes()).seen().dst.ip(), net::dest_addr(V4, 0));
}
