//! PROXY protocol where conns do not go the straight way: resets, second choices, lent ports, errors.

use pointsman_dataplane::laddr::PORTS;
use pointsman_dataplane::service::ClientAddress;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Family::V6;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_dataplane::verdict::Made;
use pointsman_tests::craft::Body;
use pointsman_tests::craft::Packet;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::see::Sum;
use pointsman_tests::told::ACK;
use pointsman_tests::told::Conn;
use pointsman_tests::told::DEST;
use pointsman_tests::told::FIN;
use pointsman_tests::told::ISN;
use pointsman_tests::told::RST;
use pointsman_tests::told::SYN;
use pointsman_tests::told::c;
use pointsman_tests::told::d;
use pointsman_tests::told::error;
use pointsman_tests::told::every_proxy;
use pointsman_tests::told::header;
use pointsman_tests::told::telling;
use std::time::Duration;

#[test]
fn fin_and_data_in_the_first_segment_follow_the_header() {
    every_proxy(|mut t| {
        t.syn_ack();
        let out = t.says(FIN | ACK, c(0), d(0), b"all of it");
        t.is_header(&see::see(&out.sent[0].bytes), d(0));
        let seen = see::see(&out.sent[1].bytes);
        let after = t.at().wrapping_add(t.header_len());
        assert_eq!((seen.tcp, seen.sum), (Some((FIN | ACK, after, d(0))), Sum::Right));
        t.acks(10);
    });
}

#[test]
fn a_client_that_resets_before_the_header_sends_none() {
    every_proxy(|mut t| {
        t.syn_ack();
        let seen = t.says(RST, c(0), 0, b"").seen();
        assert_eq!(seen.tcp, Some((RST, t.at(), 0)));
        assert_eq!(t.rig.made(Made::ProxyHeader), 0);
        // A RST does not end SYN_RECV, as in the kernel's table.
        t.rig.pass(Duration::from_secs(63));
        assert!(t.rig.conns().is_empty());
    });
}

#[test]
fn a_reset_of_the_dest_ends_the_resending() {
    every_proxy(|mut t| {
        t.shake_hands();
        let seen = t.hears(RST | ACK, d(0), t.at(), &[], b"");
        assert_eq!(seen.tcp, Some((RST | ACK, d(0), c(0))));
        assert!(t.after(5000).sent.is_empty());
    });
}

#[test]
fn a_syn_sent_again_after_the_header_keeps_its_number() {
    every_proxy(|mut t| {
        t.shake_hands();
        let seen = t.says(SYN, ISN, 0, b"").seen();
        assert_eq!(seen.tcp, Some((SYN, ISN.wrapping_add(t.shift), 0)));
        // And the numbers after it are shifted as before.
        let seen = t.says(ACK, c(0), d(0), b"x").seen();
        assert_eq!(seen.tcp.unwrap().1, t.at().wrapping_add(t.header_len()));
        // So does the SYN-ACK that the dest sends again.
        let seen = t.hears(SYN | ACK, DEST, t.at(), &[], b"");
        assert_eq!(seen.tcp, Some((SYN | ACK, DEST, c(0))));
    });
}

#[test]
fn a_client_that_begins_anew_before_the_handshake_gets_a_header_where_it_begins() {
    let kind = ClientAddress::ProxyV1;
    let mut t = Conn::open(Rig::with(telling(kind, true)), V4, kind);
    t.says(SYN, 5000, 0, b"");
    let out = t.says(ACK, 5001, d(0), b"");
    let seen = see::see(&out.sent[0].bytes);
    assert_eq!(seen.tcp.unwrap().1, 5001u32.wrapping_add(t.shift));
}

#[test]
fn without_a_free_frame_the_header_comes_with_its_next_turn() {
    every_proxy(|mut t| {
        t.syn_ack();
        let kept = t.rig.keep(t.rig.pool.available() - 1);
        let seen = t.says(ACK, c(0), d(0), b"GET").seen();
        assert_eq!(
            seen.tcp.unwrap().1,
            t.at().wrapping_add(t.header_len()),
            "place is left for it"
        );
        t.rig.give_back(kept);
        let out = t.after(200);
        t.is_header(&out.seen(), d(0));
    });
}

#[test]
fn a_second_choice_gets_the_header_once() {
    let kind = ClientAddress::ProxyV2;
    let rig = Rig::with(|s| {
        telling(kind, true)(s);
        s.dests.iter_mut().for_each(|d| d.traits.retries = 1);
    });
    let mut t = Conn::open(rig, V4, kind);
    let refused = Packet::new(t.dest, t.local, Body::Tcp { flags: RST | ACK, seq: 0, ack: t.at() });
    t.rig.feed(LAN, &refused.from_lan(t.mac).bytes());
    assert_eq!(t.rig.dropped(DropReason::SecondChoice), 1);
    let seen = t.says(SYN, ISN, 0, b"").seen();
    assert_ne!(seen.dst, t.dest);
    (t.dest, t.local, t.mac) = (seen.dst, seen.src, seen.eth.0);
    t.shift = seen.tcp.unwrap().1.wrapping_sub(ISN);
    t.shake_hands();
    t.acks(0);
    assert_eq!(t.rig.made(Made::ProxyHeader), 1);
}

#[test]
fn a_conn_that_ends_takes_its_header_along_and_the_others_go_on() {
    let kind = ClientAddress::ProxyV2;
    let mut rig = Rig::with(telling(kind, true));
    let vip = net::service_addr(V4, Forward::FullNat);
    let client = |n: u8| net::client(V4, n, 9);
    for n in 0..5 {
        rig.feed(WAN, &Packet::tcp(client(n), vip, SYN).bytes());
        rig.feed(WAN, &Packet::tcp(client(n), vip, ACK).bytes());
    }
    // The middle, the newest and the oldest of the list.
    for n in [2, 4, 0] {
        rig.feed(WAN, &Packet::tcp(client(n), vip, RST | ACK).bytes());
    }
    rig.now = rig.now + Duration::from_secs(9);
    // All five are due: those that were reset are waiting for an answer still.
    assert_eq!(rig.housekeep().sent.len(), 5);
    rig.now = rig.now + Duration::from_secs(2);
    let left = rig.housekeep().sent.len();
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.conns().len(), 2, "CLOSE lasts ten seconds");
    assert!(left <= 5);
    let before = rig.made(Made::ProxyHeader);
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.made(Made::ProxyHeader) - before, 2);
    rig.pass(Duration::from_secs(1000));
    assert!(rig.conns().is_empty());
}

#[test]
fn a_lent_port_takes_no_header_along() {
    let kind = ClientAddress::ProxyV1;
    let options = Options { workers: 1, conns: 70_000, ..Options::default() };
    let rig = Rig::build(options, |s, _| {
        telling(kind, true)(s);
        s.ports.iter_mut().for_each(|p| p.fixed_queue = true);
        let service = net::service_index(V4, Proto::Tcp, Forward::FullNat);
        s.services[service].dests.truncate(1);
    });
    let mut t = Conn::open(rig, V4, kind);
    t.shake_hands();
    t.says(RST | ACK, c(0), d(0), b"");
    // Every port is in use but the first one, of a conn in CLOSE.
    let client = |n: u32| net::client(V4, 100 + (n >> 15) as u8, 2000 + (n & 0x7fff) as u16);
    t.rig.feed_many(0, WAN, (0..PORTS).map(|n| Packet::tcp(client(n), t.vip, SYN).bytes()));
    assert_eq!(t.rig.sum(|s| &s.lent), 1);
    assert!(t.after(5000).sent.is_empty());
}

#[test]
fn any_worker_that_gets_the_conn_tells() {
    for fixed in [true, false] {
        let options = Options { workers: 3, ..Options::default() };
        let mut rig = Rig::build(options, |s, _| {
            telling(ClientAddress::ProxyV2, true)(s);
            s.ports.iter_mut().for_each(|p| p.fixed_queue = fixed);
        });
        let vip = net::service_addr(V6, Forward::FullNat);
        for n in 0..30u8 {
            let client = net::client(V6, n, 9);
            let at = usize::from(n) % 3;
            rig.feed_at(at, WAN, &[&Packet::tcp(client, vip, SYN).bytes()]);
            let out = rig.feed_at(at, WAN, &[&Packet::tcp(client, vip, ACK).bytes()]);
            let expected = header(ClientAddress::ProxyV2, client, vip);
            assert_eq!(see::see(&out.sent[0].bytes).payload, expected);
            assert_eq!(out.sent.len(), 2);
        }
        rig.now = rig.now + Duration::from_millis(200);
        assert_eq!(rig.housekeep().sent.len(), 30);
    }
}

#[test]
fn a_header_waits_for_the_dests_mac_before_the_clients_segment() {
    use pointsman_dataplane::neigh::HopState;
    let kind = ClientAddress::ProxyV2;
    let mut t = Conn::open(Rig::with(telling(kind, true)), V4, kind);
    t.syn_ack();
    t.rig.set_neighbour(LAN, t.dest.ip(), HopState::Incomplete);
    assert!(t.says(ACK, c(0), d(0), b"GET").sent.is_empty());
    t.rig.set_neighbour(LAN, t.dest.ip(), HopState::Reachable(t.mac));
    let out = t.rig.housekeep();
    t.is_header(&see::see(&out.sent[0].bytes), d(0));
    assert_eq!(see::see(&out.sent[1].bytes).payload, b"GET");
}

#[test]
fn a_long_conn_is_not_off_by_a_byte() {
    let kind = ClientAddress::ProxyV1;
    let mut t = Conn::open(Rig::with(telling(kind, true)), V4, kind);
    t.shake_hands();
    t.acks(0);
    // More than half the numbers there are, and round.
    let mut sent = 0u32;
    for step in [1u32, 1000, 1 << 30, 1 << 30, 1 << 30, 1 << 30, 77] {
        sent = sent.wrapping_add(step);
        let seen = t.says(ACK, c(sent), d(0), b"x").seen();
        let there = t.at().wrapping_add(t.header_len()).wrapping_add(sent);
        assert_eq!(seen.tcp.unwrap().1, there);
        let seen = t.hears(ACK, d(0), there.wrapping_add(1), &[], b"");
        assert_eq!(seen.tcp.unwrap().2, c(sent).wrapping_add(1));
    }
}

#[test]
fn an_error_about_the_header_quotes_the_clients_first_byte() {
    every_proxy(|mut t| {
        t.syn_ack();
        let out = t.says(ACK, c(0), d(0), b"long");
        let kind = if t.client.is_ipv4() { [3, 1] } else { [1, 3] };
        for (frame, len) in [(0, usize::MAX), (1, usize::MAX), (0, 8)] {
            let ip = see::see(&out.sent[frame].bytes).ip;
            let header = ip.len() - see::see(&out.sent[frame].bytes).segment.len();
            let quote = &ip[..ip.len().min(len.saturating_add(header))];
            let seen = t.rig.feed(LAN, &error(&t, kind, [0; 4], quote).bytes()).seen();
            assert_eq!((seen.dst.ip(), seen.sum), (t.client.ip(), Sum::Right));
            assert_eq!(seen.payload[header + 4..header + 8], c(0).to_be_bytes());
            if len == usize::MAX {
                let inner = see::see_ip(&seen.payload);
                assert_eq!((inner.src, inner.dst, inner.sum), (t.client, t.vip, Sum::Right));
            }
        }
    });
}

#[test]
fn many_unacknowledged_headers_are_resent_in_bounded_turns() {
    let options = Options { conns: 2000, ..Options::default() };
    let mut rig = Rig::build(options, |s, _| telling(ClientAddress::ProxyV2, true)(s));
    let vip = net::service_addr(V4, Forward::FullNat);
    for n in 0..300u16 {
        let client = net::client(V4, 1, 1000 + n);
        rig.feed(WAN, &Packet::tcp(client, vip, SYN).bytes());
        assert_eq!(rig.feed(WAN, &Packet::tcp(client, vip, ACK).bytes()).sent.len(), 2);
    }
    rig.now = rig.now + Duration::from_millis(200);
    let turns: Vec<_> = (0..12).map(|_| rig.housekeep().sent.len()).collect();
    assert_eq!(turns.iter().sum::<usize>(), 300);
    assert!(turns.iter().all(|n| *n <= 32), "{turns:?}");
}
