//! "PMTU learnt from ICMP errors that quote our own tunnel packets and told to the client."

use crate::tunnel_kinds::all;
use crate::tunnel_kinds::overhead;
use crate::tunnel_kinds::rig;
use pointsman::control::paths::Paths;
use pointsman_dataplane::service::Encap;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Family::V6;
use pointsman_dataplane::verdict::Consumed;
use pointsman_dataplane::verdict::DropReason;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Out;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::see::Seen;
use pointsman_tests::see::Sum;
use pointsman_tests::talk::Talk;
use std::net::IpAddr;

/// "This packet was too large", by family.
const TOO_BIG: [[u8; 2]; 2] = [[3, 4], [2, 0]];

/// An error of a router between the director and the dest, about a packet that left.
fn error(rig: &mut Rig, family: Family, kind: [u8; 2], mtu: u16, about: &[u8]) -> Out {
    let [a, b] = mtu.to_be_bytes();
    let (router, own) = (net::dest_addr(family, 2), net::lan_addr(family));
    let error = Packet::icmp(router, own, kind, [0, 0, a, b], about);
    rig.feed(LAN, &error.from_lan(net::dest_mac(2)).bytes())
}

/// A conn in a tunnel, a packet of its client, and the tunnel's packet.
fn begin(rig: &mut Rig, inner: Family) -> (Talk, Packet, Seen) {
    let talk = Talk::tcp(rig, inner, Forward::Tunnel);
    let sent = talk.original(flag::ACK).payload(&[7; 600]);
    let outer = rig.feed(WAN, &sent.bytes()).seen();
    (talk, sent, outer)
}

/// The control thread's part: what was learnt is in force.
fn obey(rig: &mut Rig, learnt: &[(IpAddr, u16)]) {
    let (mut paths, now, snapshot) = (Paths::default(), rig.now, rig.snapshot());
    for (end, mtu) in learnt {
        paths.learn((*end).into(), *mtu, &snapshot, now);
    }
    assert!(paths.are_due(now), "{learnt:?} is no news");
    rig.reload(|s| paths.apply(s, now));
}

#[test]
fn every_error_about_a_tunnel_packet_of_any_kind_reaches_the_client() {
    for (kind, inner, outer) in all() {
        // Type and code to a client of v4 and of v6.
        let v4 = [([3, 1], [3, 1], [1, 0]), ([3, 3], [3, 3], [1, 4]), ([11, 0], [11, 0], [3, 0])];
        let v6 = [([1, 3], [3, 1], [1, 3]), ([1, 4], [3, 3], [1, 4]), ([3, 0], [11, 0], [3, 0])];
        for (said, to_v4, to_v6) in net::of(outer, v4, v6) {
            let mut rig = rig(kind, inner != outer, 1500);
            let (talk, sent, left) = begin(&mut rig, inner);
            let out = error(&mut rig, outer, said, 0, &left.ip);
            let what = format!("{kind:?} {inner:?} in {outer:?}, {said:?}: {:?}", rig.drops());
            let seen = out.seen();
            assert_eq!(seen.icmp, Some((net::of(inner, to_v4, to_v6), [0; 4])), "{what}");
            assert_eq!((out.only().port, seen.dst.ip()), (WAN, talk.client.ip()), "{what}");
            assert_eq!(seen.sum, Sum::Right, "{what}");
            // He finds his own packet, as far as it is quoted, with the TTL that it left with.
            let header = net::of(inner, 20, 40);
            let packet = sent.ip();
            assert!(seen.payload.len() >= header + 20, "{what}");
            assert_eq!(seen.payload[header..], packet[header..seen.payload.len()], "{what}");
            assert!(out.learnt.is_empty() && rig.drops().is_empty(), "{what}");
        }
    }
}

#[test]
fn the_client_is_told_what_fits_and_the_dests_way_is_learnt() {
    for (kind, inner, outer) in all() {
        let mut rig = rig(kind, inner != outer, 1500);
        let (talk, _, left) = begin(&mut rig, inner);
        let fits = 1400 - overhead(kind, outer);
        let too_big = net::of(outer, TOO_BIG[0], TOO_BIG[1]);
        let out = error(&mut rig, outer, too_big, 1400, &left.ip);
        let what = format!("{kind:?} {inner:?} in {outer:?}: {:?}", rig.drops());
        let told = |out: &Out| {
            let (kind, rest) = out.seen().icmp.expect("an error");
            assert_eq!(kind, net::of(inner, TOO_BIG[0], TOO_BIG[1]), "{what}");
            u32::from_be_bytes(rest) as usize
        };
        assert_eq!(told(&out), fits, "{what}");
        assert_eq!(out.learnt, [(left.dst.ip(), 1400)], "{what}");
        obey(&mut rig, &out.learnt);
        // Others learn it of the director itself, and what fits goes.
        let mut others = 0;
        for n in 0..net::DESTS as u16 {
            let other = (inner, talk.proto, Forward::Tunnel);
            let other = Talk::open(&mut rig, 0, other, (9, 41_000 + n));
            let of_size = |len: usize| {
                other.original(flag::ACK).payload(&vec![7; len - net::of(inner, 40, 60)]).bytes()
            };
            assert_eq!(rig.feed(WAN, &of_size(fits)).seen().ip.len(), 1400, "{what}");
            if other.at_dest.dst == left.dst {
                others += 1;
                assert_eq!(told(&rig.feed(WAN, &of_size(fits + 1))), fits, "{what}");
            }
        }
        assert_eq!(others, 1, "{what}");
        // The same again is no news.
        let out = error(&mut rig, outer, too_big, 1400, &left.ip);
        assert!(out.learnt.is_empty(), "{what}");
    }
}

/// RFC 792 asks for no more than 8 bytes beyond the IP header: nobody knows whose packet that was.
#[test]
fn an_error_that_quotes_only_8_bytes_of_the_tunnel_packet_teaches_the_mtu() {
    for (kind, inner, outer) in all() {
        let mut rig = rig(kind, inner != outer, 1500);
        let (talk, _, left) = begin(&mut rig, inner);
        let header = net::of(outer, 20, 40);
        for quoted in [header + 8, header + overhead(kind, outer) - header + 20] {
            let too_big = net::of(outer, TOO_BIG[0], TOO_BIG[1]);
            let before = rig.consumed(Consumed::TunnelMtu);
            let out = error(&mut rig, outer, too_big, 1400, &left.ip[..quoted]);
            let what = format!("{kind:?} {inner:?} in {outer:?}: {:?}", rig.drops());
            assert_eq!(out.learnt, [(left.dst.ip(), 1400)], "{what}");
            assert!(out.sent.is_empty(), "{what}");
            assert_eq!(rig.consumed(Consumed::TunnelMtu), before + 1, "{what}");
        }
        obey(&mut rig, &[(left.dst.ip(), 1400)]);
        let long = talk.original(flag::ACK).payload(&[7; 1390]);
        let (kind_of, rest) = rig.feed(WAN, &long.bytes()).seen().icmp.expect("an error");
        assert_eq!(kind_of, net::of(inner, TOO_BIG[0], TOO_BIG[1]));
        assert_eq!(u32::from_be_bytes(rest) as usize, 1400 - overhead(kind, outer));
        // Of other errors so little says nothing to anybody.
        let unreachable = net::of(outer, [3, 1], [1, 3]);
        let out = error(&mut rig, outer, unreachable, 0, &left.ip[..header + 8]);
        assert!(out.sent.is_empty() && out.learnt.is_empty());
        assert_eq!(rig.dropped(DropReason::Icmp), 1);
    }
}

#[test]
fn nothing_is_learnt_of_tunnels_that_are_not_ours() {
    for (kind, inner, outer) in all() {
        let mut rig = rig(kind, inner != outer, 1500);
        let (.., left) = begin(&mut rig, inner);
        let too_big = net::of(outer, TOO_BIG[0], TOO_BIG[1]);
        let header = net::of(outer, 20, 40);
        // The last bytes of source and destination.
        let (src, dst) = net::of(outer, (15, 19), (23, 39));
        for (at, quoted) in [(src, left.ip.len()), (src, header + 8), (dst, header + 8)] {
            let mut about = left.ip[..quoted.min(500)].to_vec();
            about[at] ^= 0x40;
            let out = error(&mut rig, outer, too_big, 1400, &about);
            let what = format!("{kind:?} {inner:?} in {outer:?}, byte {at} of {quoted}");
            assert!(out.learnt.is_empty() && out.sent.is_empty(), "{what}");
        }
        assert_eq!(rig.drops().iter().map(|drop| drop.1).sum::<u64>(), 3, "{:?}", rig.drops());
    }
}

/// A sender that lets routers cut its packets does not ask for MTUs: v4 in v6, where only the director cuts.
#[test]
fn who_sends_without_df_is_not_told_and_the_director_cuts() {
    let mut rig = rig(Encap::Ip, true, 1500);
    let talk = Talk::tcp(&mut rig, V4, Forward::Tunnel);
    let long = talk.original(flag::ACK).payload(&[7; 1400]).may_fragment();
    let left = rig.feed(WAN, &long.bytes()).seen();
    let out = error(&mut rig, V6, TOO_BIG[1], 1400, &left.ip[..1200]);
    assert!(out.sent.is_empty());
    assert_eq!(rig.consumed(Consumed::TunnelMtu), 1);
    obey(&mut rig, &out.learnt);
    let sent = rig.feed(WAN, &long.bytes()).sent;
    let sizes: Vec<_> = sent.iter().map(|s| see::see(&s.bytes).ip.len()).collect();
    assert_eq!(sizes.len(), 2);
    assert!(sizes.iter().all(|size| *size <= 1400), "{sizes:?}");
}

/// RFC 2473 section 7.1: IPv6 packets of 1,280 bytes pass any tunnel, if need be in fragments.
#[test]
fn v6_clients_are_told_no_less_than_1280_and_the_tunnel_cuts_what_it_must() {
    for outer in net::FAMILIES {
        let mut rig = rig(Encap::Ip, outer == V4, 1500);
        let (talk, _, left) = begin(&mut rig, V6);
        let too_big = net::of(outer, TOO_BIG[0], TOO_BIG[1]);
        let out = error(&mut rig, outer, too_big, 1290, &left.ip);
        assert_eq!(out.seen().icmp, Some((TOO_BIG[1], [0, 0, 0x05, 0x00])));
        obey(&mut rig, &out.learnt);
        let of_size = |len: usize| talk.original(flag::ACK).payload(&vec![7; len - 60]).bytes();
        let told = rig.feed(WAN, &of_size(1281)).seen().icmp;
        assert_eq!(told, Some((TOO_BIG[1], [0, 0, 0x05, 0x00])), "in {outer:?}");
        let sent = rig.feed(WAN, &of_size(1280)).sent;
        let left: Vec<_> = sent.iter().map(|s| see::see(&s.bytes)).collect();
        match outer {
            // Routers cut it, DF is not set.
            V4 => assert!(left.len() == 1 && !left[0].df),
            V6 => {
                assert_eq!(left.len(), 2);
                assert!(left.iter().all(|piece| piece.ip.len() <= 1290));
            }
        }
    }
}

/// RFC 1191 section 4: routers of old tell no MTU; one is guessed from the size of what did not fit.
#[test]
fn where_a_router_tells_no_mtu_the_next_smaller_usual_one_is_taken() {
    let mut rig = rig(Encap::Ip, false, 1500);
    let talk = Talk::tcp(&mut rig, V4, Forward::Tunnel);
    let left = rig.feed(WAN, &talk.original(flag::ACK).payload(&[7; 1440]).bytes()).seen();
    let out = error(&mut rig, V4, TOO_BIG[0], 0, &left.ip[..300]);
    assert_eq!(out.learnt, [(left.dst.ip(), 1492)]);
    assert_eq!(out.seen().icmp, Some((TOO_BIG[0], [0, 0, 0x05, 0xc0])), "1,492 less 20");
}
