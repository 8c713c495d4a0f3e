//! PROXY protocol for UDP: version 2 in every datagram.

use pointsman_dataplane::service::ClientAddress;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Family::V6;
use pointsman_dataplane::verdict::DropReason;
use pointsman_tests::craft::Body;
use pointsman_tests::craft::Packet;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::see::Sum;
use pointsman_tests::told::header;
use pointsman_tests::told::telling;
use pointsman_tests::told::whole;
use std::net::SocketAddr;

/// The header that each of a client's datagrams must have: version 2 with a TLV of no meaning, so
/// that it is a multiple of eight bytes.
fn datagram_header(client: SocketAddr, vip: SocketAddr) -> Vec<u8> {
    let mut h = header(ClientAddress::ProxyV2, client, vip);
    h[13] += 1;
    h[15] += 4;
    h.extend([4, 0, 1, 0]);
    h
}

fn telling_datagrams(s: &mut Snapshot) {
    telling(ClientAddress::ProxyV2, true)(s);
    // As the control thread builds it.
    s.dests.iter_mut().for_each(|d| d.mtu -= net::of(d.addr.family(), 32, 56));
}

#[test]
fn udp_has_version_2_in_every_datagram() {
    for family in net::FAMILIES {
        for checksum in [true, false] {
            if family == V6 && !checksum {
                continue;
            }
            let mut rig = Rig::with(telling_datagrams);
            let (client, vip) =
                (net::client(family, 7, 9), net::service_addr(family, Forward::FullNat));
            let expected = datagram_header(client, vip);
            for data in [&b"query"[..], b"", b"three"] {
                let p = Packet::new(client, vip, Body::Udp { checksum }).payload(data);
                let seen = rig.feed(WAN, &p.bytes()).seen();
                assert_eq!(see::hex(&seen.payload), see::hex(&[&expected, data].concat()));
                assert_eq!(seen.sum, if checksum { Sum::Right } else { Sum::Absent });
                let whole = (8 + expected.len() + data.len()) as u16;
                assert_eq!(seen.segment[4..6], whole.to_be_bytes());
                // The answer is as the dest made it.
                let answer =
                    Packet::udp(seen.dst, seen.src).from_lan(seen.eth.0).payload(b"answer");
                let back = rig.feed(LAN, &answer.bytes()).seen();
                assert_eq!((back.src, back.dst, back.sum), (vip, client, Sum::Right));
                assert_eq!(back.payload, b"answer");
            }
        }
    }
}

#[test]
fn a_datagram_without_room_for_the_header_is_too_big_or_goes_in_fragments() {
    for family in net::FAMILIES {
        let mut rig = Rig::with(telling_datagrams);
        let (client, vip) =
            (net::client(family, 7, 9), net::service_addr(family, Forward::FullNat));
        let (ip, by) = net::of(family, (20, 32u16), (40, 56));
        let sized = |total: usize| Packet::udp(client, vip).payload(&vec![5; total - ip - 8]);
        let fits = usize::from(1500 - by);
        assert_eq!(rig.feed(WAN, &sized(fits).bytes()).seen().ip.len(), 1500);
        let seen = rig.feed(WAN, &sized(fits + 1).bytes()).seen();
        let (kind, rest) = seen.icmp.expect("too big");
        assert_eq!(kind, net::of(family, [3, 4], [2, 0]));
        assert_eq!(u32::from_be_bytes(rest), u32::from(1500 - by));
        if family == V4 {
            let out = rig.feed(WAN, &sized(1500).may_fragment().bytes());
            assert_eq!(out.sent.len(), 2);
            assert_eq!(see::sums(&out.frames()), Ok(vec![Sum::Right]));
        }
    }
}

#[test]
fn a_fragmented_datagram_has_the_header_once_and_its_pieces_move_on() {
    for (family, crossed) in net::FAMILIES.iter().flat_map(|f| [(*f, false), (*f, true)]) {
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut rig = Rig::with(|s| {
                if crossed {
                    net::cross(s);
                }
                telling_datagrams(s);
            });
            let client = net::client(family, 7, 9);
            let vip = net::service_addr(family, Forward::FullNat);
            let data: Vec<u8> = (0..3000u32).map(|n| (n * 7) as u8).collect();
            let pieces = Packet::udp(client, vip).payload(&data).cut(77, &[1000, 2000]);
            let mut frames = Vec::new();
            for n in order {
                frames.extend(rig.feed(WAN, &pieces[n].bytes()).frames());
            }
            assert_eq!(frames.len(), 3);
            let segment = whole(&frames);
            let expected = [&datagram_header(client, vip)[..], &data].concat();
            assert_eq!(segment.len(), 8 + expected.len());
            assert!(segment[8..] == expected);
            let first = frames.iter().map(|f| see::see(f)).next().expect("three");
            let sum = see::transport_sum(first.src.ip(), first.dst.ip(), 17, &segment);
            assert_eq!(sum, Sum::Right);
        }
    }
}

#[test]
fn a_conn_of_before_a_reload_goes_on_with_its_header_as_far_as_it_fits() {
    let mut rig = Rig::with(telling_datagrams);
    let (client, vip) = (net::client(V4, 7, 9), net::service_addr(V4, Forward::FullNat));
    rig.feed(WAN, &Packet::udp(client, vip).bytes());
    rig.reload(|s| {
        telling(ClientAddress::Off, true)(s);
        s.dests.iter_mut().for_each(|d| d.mtu = 1500);
    });
    let sized = |total: usize| Packet::udp(client, vip).payload(&vec![5; total - 28]).bytes();
    assert_eq!(rig.feed(WAN, &sized(1468)).seen().ip.len(), 1500);
    assert!(rig.feed(WAN, &sized(1469)).sent.is_empty());
    assert_eq!(rig.dropped(DropReason::TooBig), 1);
    // A new one has none.
    let other = Packet::udp(net::client(V4, 8, 9), vip);
    assert_eq!(rig.feed(WAN, &other.bytes()).seen().payload, b"hello");
}

#[test]
fn a_datagram_that_would_outgrow_ip_is_too_big() {
    for (family, piece) in [(V4, 65_512usize), (V6, 65_520)] {
        let mut rig = Rig::with(telling_datagrams);
        let vip = net::service_addr(family, Forward::FullNat);
        let whole = Packet::udp(net::client(family, 7, 9), vip).payload(&vec![1; piece - 8 + 4]);
        let pieces = whole.cut(5, &[1000, piece / 8 * 8 - 8]);
        // The middle is longer than any frame; first and last show it.
        assert!(rig.feed(WAN, &pieces[0].bytes()).sent.is_empty());
        assert_eq!(rig.dropped(DropReason::TooBig), 1);
        rig.feed(WAN, &pieces[2].bytes());
        assert_eq!(rig.dropped(DropReason::TooBig), 2);
    }
}

#[test]
fn an_error_about_a_datagram_is_told_as_if_it_had_no_header() {
    for family in net::FAMILIES {
        for (with_extension, quote) in [(false, usize::MAX), (false, 8), (false, 30), (true, 128)] {
            let mut rig = Rig::with(telling_datagrams);
            let (client, vip) =
                (net::client(family, 7, 9), net::service_addr(family, Forward::FullNat));
            let data = [9; 200];
            let sent = Packet::udp(client, vip).payload(&data);
            let there = rig.feed(WAN, &sent.bytes()).seen();
            let ip = there.ip.len() - there.segment.len();
            let len = there.ip.len().min(ip.saturating_add(quote).max(quote.min(1000)));
            let mut about = there.ip[..len].to_vec();
            let mut rest = net::of(family, [0, 0, 5, 0x78], [0, 0, 5, 0x78]);
            let mut kind = net::of(family, [3, 4], [2, 0]);
            if with_extension {
                about.truncate(128);
                about.extend([0x20, 0, 0, 0]);
                kind = net::of(family, [11, 0], [3, 0]);
                rest = net::of(family, [0, 32, 0, 0], [16, 0, 0, 0]);
            }
            let p = Packet::icmp(there.dst.ip(), there.src.ip(), kind, rest, &about);
            let seen = rig.feed(LAN, &p.from_lan(there.eth.0).bytes()).seen();
            assert_eq!((seen.dst.ip(), seen.sum), (client.ip(), Sum::Right));
            let (got_kind, got) = seen.icmp.expect("an error");
            assert_eq!(got_kind, kind);
            let by = net::of(family, 32, 56);
            let mtu = (0x578 - by).max(net::of(family, 68, 1280));
            let expected = if with_extension { 0 } else { mtu };
            assert_eq!(u32::from_be_bytes(got), expected);
            // TTL apart it is what the client sent, as far as it is quoted.
            let mut original = sent.ip();
            let quoted = &seen.payload;
            if family == V4 {
                original[8] -= 1;
                original[10..12].copy_from_slice(&quoted[10..12]);
            } else {
                original[7] -= 1;
            }
            let (have, header) = (quoted.len(), ip + 8);
            assert!(have >= header && have <= original.len());
            let same = if have == original.len() { have } else { header - 2 };
            assert_eq!(see::hex(&quoted[..same]), see::hex(&original[..same]), "{quote}");
            if quote == usize::MAX {
                assert_eq!(have, original.len());
                let inner = see::see_ip(quoted);
                assert_eq!((inner.sum, inner.ip_sum), (Sum::Right, true));
            }
        }
    }
}
