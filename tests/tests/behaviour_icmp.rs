//! ICMP errors that quote a conn, and the ones the director makes itself.

use pointsman_dataplane::service::Forward;
use pointsman_dataplane::snapshot::Routes;
use pointsman_dataplane::tuple::Family;
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
use std::net::IpAddr;

const REWRITING: [Forward; 2] = [Forward::Nat, Forward::FullNat];

fn port_unreachable(family: Family) -> [u8; 2] {
    net::of(family, [3, 3], [1, 4])
}

/// An error of `src` about a packet.
fn about(src: IpAddr, dst: IpAddr, quoted: &[u8]) -> Packet {
    let family = if dst.is_ipv4() { V4 } else { Family::V6 };
    Packet::icmp(src, dst, port_unreachable(family), [0; 4], quoted)
}

/// The dest complains about the packet it saw.
fn from_dest(talk: &Talk, quoted: &[u8]) -> Packet {
    about(talk.at_dest.dst.ip(), talk.at_dest.src.ip(), quoted).from_lan(talk.at_dest.eth.0)
}

#[test]
fn an_error_of_the_dest_reaches_the_client_quoting_what_he_sent() {
    for family in net::FAMILIES {
        for forward in REWRITING {
            for proto in net::PROTOS {
                let mut rig = Rig::new();
                let talk = Talk::open(&mut rig, 0, (family, proto, forward), (1, 5000));
                let out = rig.feed(LAN, &from_dest(&talk, &talk.at_dest.ip).bytes());
                assert_eq!(out.only().port, WAN);
                let seen = out.seen();
                assert_eq!((seen.src.ip(), seen.dst.ip()), (talk.vip.ip(), talk.client.ip()));
                assert_eq!(seen.sum, Sum::Right);
                let quoted = see::see_ip(&seen.payload);
                assert_eq!((quoted.src, quoted.dst), (talk.client, talk.vip));
                // Right through: the quoted packet's own checksums were translated too.
                assert!(quoted.ip_sum && quoted.sum == Sum::Right);
            }
        }
    }
}

#[test]
fn an_error_of_the_clients_side_reaches_the_dest_quoting_what_it_sent() {
    for family in net::FAMILIES {
        for forward in REWRITING {
            let mut rig = Rig::new();
            let talk = Talk::tcp(&mut rig, family, forward);
            let shown = talk.answer(&mut rig, flag::SYN | flag::ACK).seen();
            let out = rig.feed(WAN, &about(talk.client.ip(), talk.vip.ip(), &shown.ip).bytes());
            assert_eq!((out.only().port, out.seen().eth.0), (LAN, net::dest_mac(0)));
            let seen = out.seen();
            assert_eq!(seen.dst.ip(), talk.at_dest.dst.ip());
            let quoted = see::see_ip(&seen.payload);
            assert_eq!((quoted.src, quoted.dst), (talk.at_dest.dst, talk.at_dest.src));
            assert!(quoted.ip_sum && quoted.sum == Sum::Right && seen.sum == Sum::Right);
        }
    }
}

#[test]
fn an_error_of_the_clients_side_reaches_dr_and_tunnel_dests_as_it_is() {
    for family in net::FAMILIES {
        for forward in [Forward::Dr, Forward::Tunnel] {
            let mut rig = Rig::new();
            let talk = Talk::tcp(&mut rig, family, forward);
            // The dest's answer went to the client directly.
            let answer = Packet::tcp(talk.vip, talk.client, flag::SYN | flag::ACK).ip();
            let error = about(talk.client.ip(), talk.vip.ip(), &answer);
            let out = rig.feed(WAN, &error.bytes());
            assert_eq!(out.only().port, LAN);
            let seen = out.seen();
            let inner = if forward == Forward::Tunnel { see::see_ip(&seen.segment) } else { seen };
            assert_eq!((inner.src.ip(), inner.dst.ip()), (talk.client.ip(), talk.vip.ip()));
            assert_eq!((inner.ttl, &inner.payload), (59, &answer));
        }
    }
}

/// An error changes neither state nor deadline: anybody can send one.
#[test]
fn an_error_does_not_touch_its_conn() {
    let mut rig = Rig::new();
    let talk = Talk::tcp(&mut rig, V4, Forward::Nat);
    let before = rig.conn().1;
    rig.now = rig.now + std::time::Duration::from_secs(5);
    rig.feed(LAN, &from_dest(&talk, &talk.at_dest.ip).bytes());
    let after = rig.conn().1;
    assert_eq!((before.state(), before.expires()), (after.state(), after.expires()));
    assert_eq!(before.packets(), after.packets());
}

#[test]
fn an_error_about_no_conn_or_another_port_is_dropped_by_name() {
    let mut rig = Rig::new();
    let talk = Talk::tcp(&mut rig, V4, Forward::FullNat);
    let mut quoted = talk.at_dest.ip.clone();
    quoted[21] ^= 1;
    assert!(rig.feed(LAN, &from_dest(&talk, &quoted).bytes()).sent.is_empty());
    assert_eq!(rig.drops(), [(DropReason::IcmpUnknown, 1)]);
}

#[test]
fn an_error_that_ran_out_of_ttl_is_dropped_in_silence() {
    let mut rig = Rig::new();
    let talk = Talk::tcp(&mut rig, V4, Forward::Nat);
    let error = from_dest(&talk, &talk.at_dest.ip).ttl(1);
    assert!(rig.feed(LAN, &error.bytes()).sent.is_empty());
    assert_eq!(rig.drops(), [(DropReason::TtlExceeded, 1)]);
}

#[test]
fn an_error_with_a_wrong_checksum_is_not_made_good() {
    for family in net::FAMILIES {
        let mut rig = Rig::new();
        let talk = Talk::tcp(&mut rig, family, Forward::Nat);
        let mut bytes = from_dest(&talk, &talk.at_dest.ip).bytes();
        *bytes.last_mut().unwrap() ^= 1;
        assert!(rig.feed(LAN, &bytes).sent.is_empty());
        assert_eq!(rig.drops(), [(DropReason::Icmp, 1)]);
    }
}

#[test]
fn a_quote_cut_after_eight_bytes_of_transport_is_enough() {
    for family in net::FAMILIES {
        for proto in net::PROTOS {
            let mut rig = Rig::new();
            let talk = Talk::open(&mut rig, 0, (family, proto, Forward::FullNat), (1, 5000));
            let least = net::of(family, 28, 48);
            let out = rig.feed(LAN, &from_dest(&talk, &talk.at_dest.ip[..least]).bytes());
            assert_eq!(out.seen().payload.len(), least);
            assert_eq!(out.seen().payload[least - 8..least - 4], {
                let (c, v) = (talk.client.port().to_be_bytes(), talk.vip.port().to_be_bytes());
                [c[0], c[1], v[0], v[1]]
            });
            let cut = rig.feed(LAN, &from_dest(&talk, &talk.at_dest.ip[..least - 1]).bytes());
            assert!(cut.sent.is_empty());
        }
    }
}

#[test]
fn the_mtu_of_an_error_from_inside_arrives_unchanged() {
    for family in net::FAMILIES {
        for forward in REWRITING {
            let mut rig = Rig::new();
            let talk = Talk::tcp(&mut rig, family, forward);
            let router = net::of(family, net::ip("10.1.0.77"), net::ip("2001:db8:1::77"));
            let kind = net::of(family, [3, 4], [2, 0]);
            let to = talk.at_dest.src.ip();
            let error = Packet::icmp(router, to, kind, [0, 0, 5, 0x14], &talk.at_dest.ip);
            let out = rig.feed(LAN, &error.from_lan(net::dest_mac(2)).bytes());
            assert_eq!(out.seen().icmp, Some((kind, [0, 0, 5, 0x14])));
            assert_eq!(out.seen().src.ip(), talk.vip.ip(), "hops behind the director show as it");
        }
    }
}

#[test]
fn an_icmp_error_larger_than_the_way_out_is_not_sent_oversize() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            let mut rig = Rig::with(|s| net::set_mtu(s, LAN, 1280));
            let talk = Talk::tcp(&mut rig, family, forward);
            let mut answer = Packet::tcp(talk.vip, talk.client, flag::ACK);
            if forward.sees_replies() {
                talk.answer(&mut rig, flag::SYN | flag::ACK);
            }
            answer.payload = vec![1; 1380];
            let error = about(talk.client.ip(), talk.vip.ip(), &answer.ip());
            for error in [error.clone(), error.may_fragment()] {
                // The rig looks at the MTU; here, that it does not vanish without a name.
                let before = rig.drops().iter().map(|d| d.1).sum::<u64>();
                let out = rig.feed(WAN, &error.bytes());
                let drops = rig.drops().iter().map(|d| d.1).sum::<u64>() - before;
                assert_eq!(drops == 0, !out.sent.is_empty());
                assert!(out.sent.iter().all(|s| s.port == LAN), "no error about an error");
            }
        }
    }
}

/// The director's own errors bear an address of its own (RFC 1812 section 4.3.2.4), never one of
/// the conn's ends.
#[test]
fn a_reply_without_a_route_is_refused_in_the_directors_own_name() {
    for family in net::FAMILIES {
        for forward in REWRITING {
            let mut rig = Rig::new();
            let talk = Talk::tcp(&mut rig, family, forward);
            rig.reload(|s| {
                let connected = net::routes().into_iter().filter(|r| r.via.is_none());
                s.routes = Routes::new(connected.collect());
            });
            let seen = talk.answer(&mut rig, flag::SYN | flag::ACK).seen();
            assert_eq!(seen.icmp.map(|i| i.0), Some(net::of(family, [3, 0], [1, 0])));
            assert_eq!(seen.src.ip(), net::lan_addr(family), "{forward:?}");
            assert_eq!(seen.dst.ip(), talk.at_dest.dst.ip());
            assert_eq!(rig.dropped(DropReason::NoRoute), 1);
        }
    }
}

#[test]
fn errors_made_here_quote_what_may_be_quoted() {
    for family in net::FAMILIES {
        let mut rig = Rig::new();
        let talk = Talk::open(&mut rig, 0, (family, Proto::Udp, Forward::Nat), (1, 5000));
        for len in [0, 1, 500, 600, 1200, 1400] {
            let p = talk.original(0).payload(&vec![3; len]).ttl(1);
            let seen = rig.feed(WAN, &p.bytes()).seen();
            // RFC 1812 section 4.3.2.3, RFC 4443 section 2.4 c.
            let most = net::of(family, 576 - 28, 1280 - 48);
            let whole = p.ip();
            assert_eq!(seen.payload, whole[..whole.len().min(most)]);
            assert_eq!((seen.sum, seen.df), (Sum::Right, family == V4));
        }
    }
}
