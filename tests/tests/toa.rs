//! The client's address in TCP option 254.

use pointsman_dataplane::service::ClientAddress;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_tests::craft::Body;
use pointsman_tests::craft::Packet;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Rig;
use pointsman_tests::see::Sum;
use pointsman_tests::told::ACK;
use pointsman_tests::told::Conn;
use pointsman_tests::told::DEST;
use pointsman_tests::told::ISN;
use pointsman_tests::told::SYN;
use pointsman_tests::told::c;
use pointsman_tests::told::d;
use pointsman_tests::told::error;
use pointsman_tests::told::options;
use pointsman_tests::told::telling;
use pointsman_tests::told::whole;
use std::net::SocketAddr;

fn toa(client: SocketAddr) -> Vec<u8> {
    let port = client.port().to_be_bytes();
    match client {
        SocketAddr::V4(a) => [&[254, 8][..], &port, &a.ip().octets()].concat(),
        SocketAddr::V6(a) => [&[254, 20][..], &port, &a.ip().octets()].concat(),
    }
}

fn toa_conn(family: Family) -> Conn {
    Conn::open(Rig::with(telling(ClientAddress::Toa, true)), family, ClientAddress::ProxyV1)
}

#[test]
fn option_254_is_the_other_choice() {
    for family in net::FAMILIES {
        let mut t = toa_conn(family);
        t.syn_ack();
        for data in [&b""[..], b"GET", b"GET", b""] {
            let seen = t.says(ACK, c(0), d(0), data).seen();
            assert_eq!((seen.tcp, seen.sum), (Some((ACK, t.at(), d(0))), Sum::Right));
            assert_eq!((options(&seen), &seen.payload[..]), (toa(t.client), data));
        }
        // An ACK of nothing new may have been sent before the dest took the conn.
        t.hears(ACK, d(0), t.at(), &[], b"");
        assert_eq!(options(&t.says(ACK, c(3), d(0), b"").seen()), toa(t.client));
        t.hears(ACK, d(0), t.at().wrapping_add(3), &[], b"");
        assert_eq!(options(&t.says(ACK, c(3), d(0), b"more").seen()), [0; 0]);
    }
}

#[test]
fn a_dest_that_speaks_has_seen_the_option() {
    let mut t = toa_conn(V4);
    t.syn_ack();
    t.says(ACK, c(0), d(0), b"");
    t.hears(ACK, d(0), t.at(), &[], b"220 hello");
    assert_eq!(options(&t.says(ACK, c(0), d(9), b"").seen()), [0; 0]);
}

#[test]
fn the_syn_acks_mss_leaves_room_for_the_option() {
    for family in net::FAMILIES {
        let mut t = toa_conn(family);
        let at = t.at();
        let seen = t.hears(SYN | ACK, DEST, at, &[2, 4, 0x05, 0xb4], b"");
        let mss = 1460 - net::of(family, 8u16, 20);
        assert_eq!(options(&seen), [&[2, 4][..], &mss.to_be_bytes()].concat());
    }
}

#[test]
fn where_there_is_no_room_the_option_stays_away() {
    for family in net::FAMILIES {
        let mut t = toa_conn(family);
        t.syn_ack();
        let by = net::of(family, 8, 20);
        let header = net::of(family, 40, 60);
        let seen = t.says(ACK, c(0), d(0), &vec![1; 1500 - header - by]).seen();
        assert_eq!((options(&seen), seen.ip.len()), (toa(t.client), 1500));
        let seen = t.says(ACK, c(0), d(0), &vec![1; 1500 - header - by + 1]).seen();
        assert_eq!(options(&seen), [0; 0]);
        // 40 bytes of options and no more.
        let body = Body::Tcp { flags: ACK, seq: c(0), ack: d(0) };
        for (others, is_there) in [(40 - by, true), (44 - by, false)] {
            let p = Packet::new(t.client, t.vip, body.clone()).tcp_options(&vec![1; others]);
            let seen = t.rig.feed(WAN, &p.bytes()).seen();
            assert_eq!(options(&seen).contains(&254), is_there);
            assert_eq!(seen.sum, Sum::Right);
        }
        // Of a segment in pieces the later ones would not follow.
        let p = Packet::new(t.client, t.vip, body).payload(&[3; 100]);
        let pieces = p.cut(9, &[64]);
        let frames: Vec<_> =
            pieces.iter().flat_map(|p| t.rig.feed(WAN, &p.bytes()).frames()).collect();
        assert_eq!(whole(&frames).len(), 120);
    }
}

#[test]
fn a_clients_own_option_254_is_blanked() {
    for family in net::FAMILIES {
        let fake = toa(net::client(family, 99, 1));
        let syn_options = [&[2, 4, 5, 0xb4][..], &fake].concat();
        let rig = Rig::with(telling(ClientAddress::Toa, true));
        let mut t = Conn::open_with(rig, family, ClientAddress::ProxyV1, &syn_options);
        t.syn_ack();
        let body = Body::Tcp { flags: ACK, seq: c(0), ack: d(0) };
        let p = Packet::new(t.client, t.vip, body).tcp_options(&fake);
        let seen = t.rig.feed(WAN, &p.bytes()).seen();
        assert_eq!(options(&seen), [toa(t.client), vec![1; fake.len()]].concat());
        assert_eq!(seen.sum, Sum::Right);
        let mut rig = Rig::with(telling(ClientAddress::Toa, true));
        let body = Body::Tcp { flags: SYN, seq: ISN, ack: 0 };
        let p = Packet::new(t.client, t.vip, body).tcp_options(&syn_options);
        let seen = rig.feed(WAN, &p.bytes()).seen();
        let blank = vec![1; fake.len()];
        assert_eq!((options(&seen)[4..].to_vec(), seen.sum), (blank, Sum::Right));
    }
}

#[test]
fn an_error_about_a_segment_with_the_option_tells_an_mtu_with_room_for_it() {
    for family in net::FAMILIES {
        let mut t = toa_conn(family);
        t.syn_ack();
        let there = t.says(ACK, c(0), d(0), &[1; 1400]).seen();
        let kind = net::of(family, [3, 4], [2, 0]);
        let p = error(&t, kind, [0, 0, 5, 0x78], &there.ip[..500]);
        let seen = t.rig.feed(LAN, &p.bytes()).seen();
        assert_eq!(u32::from_be_bytes(seen.icmp.unwrap().1), 0x578 - net::of(family, 8, 20));
        let at = there.ip.len() - there.segment.len();
        assert_eq!(seen.payload[at + 4..at + 8], c(0).to_be_bytes());
    }
}
