//! The client's address for servers that want it: PROXY protocol as the client and the dest see it.

use pointsman_dataplane::service::ClientAddress;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Family::V6;
use pointsman_dataplane::tuple::Prefix;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::Made;
use pointsman_tests::craft::Body;
use pointsman_tests::craft::Packet;
use pointsman_tests::net;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::see::Seen;
use pointsman_tests::see::Sum;
use pointsman_tests::told::ACK;
use pointsman_tests::told::Conn;
use pointsman_tests::told::FIN;
use pointsman_tests::told::ISN;
use pointsman_tests::told::PROXIES;
use pointsman_tests::told::PSH;
use pointsman_tests::told::SYN;
use pointsman_tests::told::c;
use pointsman_tests::told::d;
use pointsman_tests::told::every_proxy;
use pointsman_tests::told::header;
use pointsman_tests::told::options;
use pointsman_tests::told::telling;
use pointsman_tests::told::timestamps;
use std::time::Duration;

#[test]
fn the_header_is_a_segment_of_its_own_sent_with_the_ack_that_completes_the_handshake() {
    every_proxy(|mut t| {
        t.shake_hands();
        assert_eq!(t.rig.made(Made::ProxyHeader), 1);
        let seen = t.says(ACK, c(0), d(0), b"GET /").seen();
        let after = t.at().wrapping_add(t.header_len());
        assert_eq!((seen.tcp, seen.sum), (Some((ACK, after, d(0))), Sum::Right));
        assert_eq!(seen.payload, b"GET /");
        t.acks(5);
        // The server's first word, and the end.
        let seen = t.hears(ACK, d(0), t.at().wrapping_add(t.header_len() + 5), &[], b"220");
        assert_eq!((seen.tcp, &seen.payload[..]), (Some((ACK, d(0), c(5))), &b"220"[..]));
        let seen = t.says(FIN | ACK, c(5), d(3), b"").seen();
        assert_eq!(seen.tcp, Some((FIN | ACK, after.wrapping_add(5), d(3))));
        assert_eq!(t.rig.made(Made::ProxyHeader), 1);
    });
}

#[test]
fn by_default_nothing_is_told() {
    let mut t = Conn::open(Rig::new(), V4, ClientAddress::ProxyV1);
    t.syn_ack();
    let seen = t.says(ACK, c(0), d(0), b"GET /").seen();
    assert_eq!(seen.tcp, Some((ACK, t.at(), d(0))));
    assert_eq!(t.rig.made(Made::ProxyHeader), 0);
}

#[test]
fn nat_dr_and_tunnel_tell_nothing() {
    for forward in [Forward::Nat, Forward::Dr, Forward::Tunnel] {
        for (proto, flags) in [(Proto::Tcp, SYN), (Proto::Udp, 0)] {
            let mut rig = Rig::with(telling(ClientAddress::ProxyV2, true));
            let (client, vip) = (net::client(V4, 7, 9), net::service_addr(V4, forward));
            let p = match proto {
                Proto::Udp => Packet::udp(client, vip),
                _ => Packet::tcp(client, vip, flags),
            };
            let sent = rig.feed(WAN, &p.bytes()).seen();
            let outer = if forward == Forward::Tunnel { 20 } else { 0 };
            assert_eq!(sent.ip.len(), p.ip().len() + outer, "{forward:?}");
        }
    }
}

#[test]
fn the_header_is_resent_until_the_dest_acknowledges_it() {
    every_proxy(|mut t| {
        t.shake_hands();
        assert!(t.after(199).sent.is_empty());
        for wait in [1, 400, 800, 1600, 3200, 6400] {
            let out = t.after(wait);
            t.is_header(&out.seen(), d(0));
            assert!(t.after(0).sent.is_empty());
        }
        // Half of it is not it.
        let seen = t.hears(ACK, d(0), t.at().wrapping_add(20), &[], b"");
        assert_eq!(seen.tcp, Some((ACK, d(0), c(0))));
        assert_eq!(t.after(12_800).sent.len(), 1);
        t.acks(0);
        assert!(t.after(60_000).sent.is_empty());
        assert_eq!(t.rig.made(Made::ProxyHeader), 8);
    });
}

#[test]
fn a_header_sent_again_says_what_the_client_said_last() {
    for family in net::FAMILIES {
        let kind = ClientAddress::ProxyV2;
        let mut rig = Rig::with(telling(kind, true));
        let options = [&[2, 4, 5, 0xb4][..], &timestamps(1000, 0)].concat();
        let vip = net::service_addr(family, Forward::FullNat);
        let client = net::client(family, 7, 40_000);
        let body = Body::Tcp { flags: SYN, seq: ISN, ack: 0 };
        let seen = rig.feed(WAN, &Packet::new(client, vip, body).tcp_options(&options).bytes());
        let seen = seen.seen();
        let val =
            |s: &Seen, at: usize| u32::from_be_bytes(s.segment[at..at + 4].try_into().unwrap());
        let ts_shift = val(&seen, 28).wrapping_sub(1000);
        let says = |ts: u32, ack: u32, data: &[u8]| {
            let body = Body::Tcp { flags: ACK, seq: c(0), ack };
            let p = Packet { tos: 0xb9, ttl: 33, ..Packet::new(client, vip, body) };
            p.payload(data).tcp_options(&timestamps(ts, 77)).bytes()
        };
        let out = rig.feed(WAN, &says(1001, d(0), b""));
        let first = see::see(&out.sent[0].bytes);
        // DSCP and TTL are the client's, ECN is not.
        assert_eq!((first.tos, first.ttl, first.df), (0xb8, 32, family == V4));
        assert_eq!((val(&first, 24), val(&first, 28)), (1001u32.wrapping_add(ts_shift), 77));
        rig.feed(WAN, &says(1050, d(100), b"data"));
        // What comes late does not take it back.
        rig.feed(WAN, &says(1020, d(50), b""));
        rig.now = rig.now + Duration::from_millis(200);
        let again = rig.housekeep().seen();
        assert_eq!(again.tcp, Some((ACK | PSH, first.tcp.unwrap().1, d(100))));
        assert_eq!((val(&again, 24), val(&again, 28)), (1050u32.wrapping_add(ts_shift), 77));
        assert_eq!((again.payload, again.sum), (first.payload, Sum::Right));
    }
}

#[test]
fn acks_and_sack_edges_inside_the_header_are_clamped_to_the_clients_first_byte() {
    every_proxy(|mut t| {
        t.shake_hands();
        t.says(ACK, c(0), d(0), &[7; 40]);
        let (at, len) = (t.at(), t.header_len());
        let block = |from: u32, to: u32| {
            let there = |n: u32| at.wrapping_add(n).to_be_bytes();
            [there(from), there(to)].concat()
        };
        let sack = |blocks: &[(u32, u32)]| {
            let mut o = vec![1, 1, 5, 2 + 8 * blocks.len() as u8];
            blocks.iter().for_each(|(a, b)| o.extend(block(*a, *b)));
            o
        };
        let ours = |blocks: &[(u32, u32)]| {
            let mut o = vec![1, 1, 5, 2 + 8 * blocks.len() as u8];
            blocks
                .iter()
                .for_each(|(a, b)| o.extend([c(*a), c(*b)].map(u32::to_be_bytes).concat()));
            o
        };
        let heard = |t: &mut Conn, ack: u32, o: &[u8]| {
            let seen = t.hears(ACK, d(0), at.wrapping_add(ack), o, b"");
            (seen.tcp.unwrap().2, seen.segment[20..].to_vec())
        };
        // All lies within the header, and its second half has come.
        let nothing = vec![1; 12];
        assert_eq!(heard(&mut t, 0, &sack(&[(len - 9, len)])), (c(0), nothing.clone()));
        // The client's first bytes have come, the header has not.
        assert_eq!(heard(&mut t, 0, &sack(&[(len - 9, len + 10)])), (c(0), nothing.clone()));
        assert_eq!(heard(&mut t, 3, &sack(&[(len, len + 10)])), (c(0), nothing));
        // What lies further on is told, be it behind such a block or not.
        let kept = [&ours(&[(20, 30)])[..], &[1; 8]].concat();
        assert_eq!(heard(&mut t, 0, &sack(&[(len, len + 10), (len + 20, len + 30)])), (c(0), kept));
        assert_eq!(heard(&mut t, 0, &sack(&[(len + 5, len + 10)])), (c(0), ours(&[(5, 10)])));
        // A duplicate of the client's, told with what settles it (RFC 2883).
        let got = heard(&mut t, len + 10, &sack(&[(len, len + 10), (len + 20, len + 30)]));
        assert_eq!(got, (c(10), ours(&[(0, 10), (20, 30)])));
        // From here on it is a plain shift: nothing is clamped any more.
        let got = heard(&mut t, len + 10, &sack(&[(len + 12, len + 14)]));
        assert_eq!(got, (c(10), ours(&[(12, 14)])));
    });
}

/// The dest reports the second copy of a header as one after it has acknowledged the first.
#[test]
fn a_report_of_the_headers_copy_is_kept_from_the_client() {
    every_proxy(|mut t| {
        t.shake_hands();
        assert_eq!(t.after(200).sent.len(), 1);
        t.acks(0);
        let (at, len) = (t.at(), t.header_len());
        let number = |n: u32| at.wrapping_add(n).to_be_bytes();
        let report = [&[1, 1, 5, 10][..], &number(0), &number(len)].concat();
        let seen = t.hears(ACK, d(0), at.wrapping_add(len), &report, b"");
        assert_eq!((seen.tcp.unwrap().2, &seen.segment[20..]), (c(0), &[1; 12][..]));
        // It is not sent again, and the conn becomes one like any other.
        assert!(t.after(60_000).sent.is_empty());
        t.acks(0);
        let plain = [&[1, 1, 5, 10][..], &number(len + 2), &number(len + 4)].concat();
        let seen = t.hears(ACK, d(0), at.wrapping_add(len), &plain, b"");
        assert_eq!(seen.segment[24..], [c(2), c(4)].map(u32::to_be_bytes).concat());
        assert!(t.rig.conns().iter().all(|(_, conn, _)| !conn.introduces()));
    });
}

#[test]
fn what_the_client_sends_is_payload_after_ours_and_cannot_spoof() {
    for kind in PROXIES {
        let mut t = Conn::open(Rig::with(telling(kind, true)), V4, kind);
        t.syn_ack();
        let fake = header(kind, net::client(V4, 99, 9), t.vip);
        let out = t.says(ACK, c(0), d(0), &fake);
        t.is_header(&see::see(&out.sent[0].bytes), d(0));
        let seen = see::see(&out.sent[1].bytes);
        assert_eq!(seen.tcp.unwrap().1, t.at().wrapping_add(t.header_len()));
        assert_eq!(seen.payload, fake);
        // Nor in the SYN, nor in a segment that comes before its handshake.
        let mut rig = Rig::with(telling(kind, true));
        let client = net::client(V4, 8, 9);
        let body = Body::Tcp { flags: SYN, seq: 5, ack: 0 };
        let syn = Packet { padding: 3, ..Packet::new(client, t.vip, body).payload(b"odd") };
        let seen = rig.feed(WAN, &syn.bytes()).seen();
        assert_eq!((&seen.payload[..], seen.sum), (&b""[..], Sum::Right));
        let body = Body::Tcp { flags: ACK, seq: 106, ack: 9 };
        let early = Packet::new(client, t.vip, body).payload(b"data");
        let out = rig.feed(WAN, &early.bytes());
        let first = see::see(&out.sent[0].bytes);
        assert_eq!(first.tcp.unwrap().1, seen.tcp.unwrap().1.wrapping_add(1));
        assert_eq!(see::see(&out.sent[1].bytes).payload, b"data");
    }
}

#[test]
fn a_conn_with_a_header_is_no_multipath_one() {
    let multipath = [30, 4, 0x00, 0x81];
    let offer = [&[2, 4, 5, 0xb4][..], &multipath].concat();
    for (kind, blank) in [(ClientAddress::ProxyV2, true), (ClientAddress::Toa, false)] {
        let mut rig = Rig::with(telling(kind, true));
        let vip = net::service_addr(V4, Forward::FullNat);
        let syn = Packet::tcp(net::client(V4, 8, 9), vip, SYN).tcp_options(&offer);
        let seen = rig.feed(WAN, &syn.bytes()).seen();
        let expected = if blank { [1; 4] } else { multipath };
        assert_eq!((&options(&seen)[4..], seen.sum), (&expected[..], Sum::Right));
    }
}

#[test]
fn data_in_a_syn_over_ipv6_waits_for_the_header_too() {
    let mut rig = Rig::with(telling(ClientAddress::ProxyV2, true));
    let vip = net::service_addr(V6, Forward::FullNat);
    let syn = Packet::tcp(net::client(V6, 8, 9), vip, SYN).payload(b"first");
    let seen = rig.feed(WAN, &syn.bytes()).seen();
    assert_eq!((&seen.payload[..], seen.sum), (&b""[..], Sum::Right));
}

#[test]
fn upstream_proxies_header_is_taken_over() {
    let inside = Prefix::new(net::ip("192.0.2.0").into(), 29);
    for kind in [ClientAddress::ProxyV1, ClientAddress::ProxyV2, ClientAddress::Toa] {
        let rig = || {
            Rig::with(|s| {
                telling(kind, true)(s);
                s.services.iter_mut().for_each(|s| s.proxy_in = vec![inside]);
            })
        };
        let mut t = Conn::open(rig(), V4, ClientAddress::ProxyV1);
        t.syn_ack();
        let seen = t.says(ACK, c(0), d(0), b"PROXY TCP4 198.51.100.1 ...").seen();
        assert_eq!(seen.tcp, Some((ACK, t.at(), d(0))));
        assert_eq!(seen.payload, b"PROXY TCP4 198.51.100.1 ...");
        assert_eq!(t.rig.made(Made::ProxyHeader), 0);
        // And only theirs.
        let mut rig = rig();
        let (client, vip) = (net::client(V4, 8, 9), t.vip);
        rig.feed(WAN, &Packet::tcp(client, vip, SYN).bytes());
        let out = rig.feed(WAN, &Packet::tcp(client, vip, ACK).bytes());
        let len: usize = out.sent.iter().map(|s| s.bytes.len()).sum();
        assert!(len > 54, "{kind:?}: nothing was told");
    }
}

#[test]
fn upstream_proxies_datagrams_are_left_alone() {
    let mut rig = Rig::with(|s| {
        telling(ClientAddress::ProxyV2, true)(s);
        let inside = Prefix::new(net::ip("2001:db8:c::").into(), 64);
        s.services.iter_mut().for_each(|s| s.proxy_in = vec![inside]);
    });
    let vip = net::service_addr(V6, Forward::FullNat);
    let seen = rig.feed(WAN, &Packet::udp(net::client(V6, 7, 9), vip).bytes()).seen();
    assert_eq!(seen.payload, b"hello");
}
