//! "Families may be crossed under full-NAT: v6 VIP before v4 dests and the reverse, with ICMP, MSS
//! and fragments translated (RFC 7915)."
//!
//! What single packets become is told by the golden frames `crossed-*`; here is what takes several
//! of them, workers, time or neighbours. What SYNs are clamped to is `control::snapshot`'s.

use pointsman_dataplane::neigh::HopState;
use pointsman_dataplane::service::Candidate;
use pointsman_dataplane::service::ClientAddress;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Family::V6;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_dataplane::verdict::Made;
use pointsman_tests::craft::Body;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::rig::Sent;
use pointsman_tests::see;
use pointsman_tests::see::Seen;
use pointsman_tests::see::Sum;
use pointsman_tests::talk::Talk;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::net::SocketAddr;

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
/// Behind which bytes of the UDP datagram (28 bytes of it payload) the pieces end.
const CUTS: [usize; 2] = [16, 24];
const PAYLOAD: &[u8; 28] = b"abcdefghijklmnopqrstuvwxyz01";

/// The family of the dests behind a VIP of this family.
fn other(family: Family) -> Family {
    net::of(family, V6, V4)
}

fn is(ip: IpAddr, family: Family) -> bool {
    ip.is_ipv4() == (family == V4)
}

fn rig(workers: usize) -> Rig {
    Rig::build(Options { workers, ..Options::default() }, |s, _| net::cross(s))
}

fn udp(family: Family) -> (Family, Proto, Forward) {
    (family, Proto::Udp, Forward::FullNat)
}

/// Puts one datagram's fragments together: its ends and its payload.
fn together(sent: &[Sent]) -> (SocketAddr, SocketAddr, Vec<u8>) {
    let mut pieces: Vec<Seen> = sent.iter().map(|s| see::see(&s.bytes)).collect();
    pieces.sort_by_key(|p| p.fragment.1);
    let first = &pieces[0];
    let ends = (first.src.ip(), first.dst.ip());
    assert!(pieces.iter().all(|p| (p.id, p.src.ip(), p.dst.ip()) == (first.id, ends.0, ends.1)));
    let all: Vec<u8> = pieces.iter().flat_map(|p| p.segment.clone()).collect();
    assert_eq!(
        see::sums(&sent.iter().map(|s| s.bytes.clone()).collect::<Vec<_>>()),
        Ok(vec![Sum::Right])
    );
    let port = |at: usize| u16::from_be_bytes([all[at], all[at + 1]]);
    (SocketAddr::new(ends.0, port(0)), SocketAddr::new(ends.1, port(2)), all[8..].to_vec())
}

#[test]
fn fragments_reach_one_dest_and_the_client_in_any_order() {
    for workers in 1..=4 {
        for family in net::FAMILIES {
            let mut rig = rig(workers);
            for (n, order) in ORDERS.into_iter().enumerate() {
                let talk = Talk::open(&mut rig, n % workers, udp(family), (n as u8, 700));
                assert!(is(talk.at_dest.dst.ip(), other(family)));
                let pieces = talk.original(0).payload(PAYLOAD).cut(9 + n as u32, &CUTS);
                let mut sent = Vec::new();
                for (at, i) in order.into_iter().enumerate() {
                    let at = (n + at) % workers;
                    sent.extend(rig.feed_at(at, WAN, &[&pieces[i].bytes()]).sent);
                }
                let expected = (talk.at_dest.src, talk.at_dest.dst, PAYLOAD.to_vec());
                assert_eq!(together(&sent), expected, "{family:?} {workers} {order:?}");
                let pieces = talk.reply(0).payload(PAYLOAD).cut(70 + n as u32, &CUTS);
                let mut sent = Vec::new();
                for (at, i) in order.into_iter().enumerate() {
                    let at = (n + at) % workers;
                    sent.extend(rig.feed_at(at, LAN, &[&pieces[i].bytes()]).sent);
                }
                assert_eq!(together(&sent), (talk.vip, talk.client, PAYLOAD.to_vec()));
                assert!(sent.iter().all(|s| s.port == WAN));
            }
            assert!(rig.drops().is_empty(), "{:?}", rig.drops());
        }
    }
}

#[test]
fn a_datagram_in_fragments_opens_a_conn_and_each_gets_an_id_of_its_own() {
    for family in net::FAMILIES {
        let mut rig = rig(2);
        let vip = net::service_addr(family, Forward::FullNat);
        let mut ids = BTreeSet::new();
        for n in 0..20 {
            let whole = Packet::udp(net::client(family, n, 700), vip).payload(PAYLOAD);
            let mut sent = Vec::new();
            // All clients chose the same id.
            for piece in whole.cut(42, &CUTS) {
                sent.extend(rig.feed(WAN, &piece.bytes()).sent);
            }
            assert_eq!(together(&sent).2, PAYLOAD);
            ids.insert(see::see(&sent[0].bytes).id);
        }
        assert_eq!((ids.len(), rig.conns().len()), (20, 20));
    }
}

#[test]
fn a_later_fragment_that_waits_for_its_next_hop_leaves_in_the_other_family() {
    for family in net::FAMILIES {
        let mut rig = rig(1);
        let talk = Talk::open(&mut rig, 0, udp(family), (1, 700));
        rig.set_neighbour(WAN, net::gateway(family), HopState::Incomplete);
        let pieces = talk.reply(0).payload(PAYLOAD).cut(70, &CUTS);
        for piece in &pieces {
            assert!(rig.feed(LAN, &piece.bytes()).sent.is_empty());
        }
        rig.set_neighbour(WAN, net::gateway(family), HopState::Reachable(net::GATEWAY_MAC));
        let out = rig.housekeep();
        assert_eq!(together(&out.sent), (talk.vip, talk.client, PAYLOAD.to_vec()));
        assert!(rig.drops().is_empty());
    }
}

#[test]
fn frames_wait_for_next_hops_that_are_unknown_on_either_side() {
    for family in net::FAMILIES {
        let mut rig = rig(1);
        let dest = net::dest_addr(other(family), 0);
        rig.set_neighbour(LAN, dest, HopState::Incomplete);
        let vip = net::service_addr(family, Forward::FullNat);
        let syn = Packet::tcp(net::client(family, 1, 5000), vip, flag::SYN);
        assert_eq!(rig.feed(WAN, &syn.bytes()).asked, [(LAN, dest)]);
        rig.set_neighbour(LAN, dest, HopState::Reachable(net::dest_mac(0)));
        let seen = rig.housekeep().seen();
        assert_eq!((seen.dst.ip(), seen.sum), (dest, Sum::Right));
        // Back: the gateway has never been heard of, then it is known.
        let mut gone = Rig::build(Options::default(), |s, _| {
            net::cross(s);
            let mut routes: Vec<_> = s.routes.iter().copied().collect();
            for route in routes.iter_mut().filter(|r| r.via.is_some()) {
                let host = net::of(family, "10.0.0.77", "2001:db8::77");
                route.via = Some(net::ip(host).into());
            }
            s.routes = pointsman_dataplane::snapshot::Routes::new(routes);
        });
        let talk = Talk::tcp(&mut gone, family, Forward::FullNat);
        let router = net::ip(net::of(family, "10.0.0.77", "2001:db8::77"));
        let out = talk.answer(&mut gone, flag::SYN | flag::ACK);
        assert_eq!((out.sent.len(), &out.asked[..]), (0, &[(WAN, router)][..]));
        gone.set_neighbour(WAN, router, HopState::Reachable([2, 9, 9, 9, 9, 9]));
        let seen = gone.housekeep().seen();
        assert_eq!((seen.src, seen.dst, seen.sum), (talk.vip, talk.client, Sum::Right));
    }
}

/// The whole of full-NAT's numbers goes on: shifted on the way in, back on the way out, and in
/// what ICMP errors quote.
#[test]
fn numbers_timestamps_and_sack_are_shifted_across_families() {
    for family in net::FAMILIES {
        let mut rig = Rig::with(|s| {
            net::cross(s);
            s.dests.iter_mut().for_each(|d| d.traits.rewrite = true);
        });
        let (client, vip) =
            (net::client(family, 7, 40_000), net::service_addr(family, Forward::FullNat));
        let stamps = |val: u32, ecr: u32| {
            let words = [val.to_be_bytes(), ecr.to_be_bytes()].concat();
            [&[1, 1, 8, 10], &words[..]].concat()
        };
        let syn = Packet::tcp(client, vip, flag::SYN).tcp_options(&stamps(50, 0));
        let at_dest = rig.feed(WAN, &syn.bytes()).seen();
        let (_, isn, _) = at_dest.tcp.unwrap();
        let shift = isn.wrapping_sub(1000);
        let word = |seen: &Seen, at: usize| {
            u32::from_be_bytes(seen.segment[at..at + 4].try_into().unwrap())
        };
        let tsval = word(&at_dest, 24);
        assert!(shift != 0 && tsval != 50 && at_dest.sum == Sum::Right);
        let ack = Body::Tcp { flags: flag::ACK, seq: 9000, ack: isn.wrapping_add(1) };
        let sack = [5, 10].into_iter().chain(isn.wrapping_add(5).to_be_bytes());
        let sack: Vec<u8> = sack.chain(isn.wrapping_add(9).to_be_bytes()).chain([1, 1]).collect();
        let reply = Packet::new(at_dest.dst, at_dest.src, ack);
        let reply = reply.tcp_options(&[stamps(600, tsval), sack].concat());
        let seen = rig.feed(LAN, &reply.from_lan(at_dest.eth.0).bytes()).seen();
        assert!(is(seen.dst.ip(), family));
        assert_eq!((seen.tcp, seen.sum), (Some((flag::ACK, 9000, 1001)), Sum::Right));
        assert_eq!((word(&seen, 24), word(&seen, 28)), (600, 50));
        assert_eq!((word(&seen, 34), word(&seen, 38)), (1005, 1009));
        // A router before the dest complains about the SYN; the client reads its own number.
        let kind = net::of(family, [1, 0], [3, 1]);
        let hop = net::ip(net::of(family, "2001:db8:1::77", "10.1.0.77"));
        let error = Packet::icmp(hop, at_dest.src.ip(), kind, [0; 4], &at_dest.ip);
        let seen = rig.feed(LAN, &error.from_lan(at_dest.eth.0).bytes()).seen();
        assert_eq!(
            (seen.src.ip(), seen.icmp),
            (vip.ip(), Some((net::of(family, [3, 1], [1, 0]), [0; 4])))
        );
        let quoted = see::see_ip(&seen.payload);
        assert_eq!((quoted.src, quoted.dst, quoted.sum), (client, vip, Sum::Right));
        assert_eq!(quoted.tcp.unwrap().1, 1000);
    }
}

#[test]
fn replies_find_their_conn_whichever_worker_they_reach() {
    for family in net::FAMILIES {
        let mut rig = rig(4);
        for n in 0..16 {
            let kind = (family, Proto::Tcp, Forward::FullNat);
            let talk = Talk::open(&mut rig, n % 4, kind, (n as u8, 700));
            let reply = talk.reply(flag::SYN | flag::ACK).bytes();
            let seen = rig.feed_at((n + 1) % 4, LAN, &[&reply]).seen();
            assert_eq!((seen.src, seen.dst, seen.sum), (talk.vip, talk.client, Sum::Right));
            let error = Packet::icmp(
                talk.at_dest.dst.ip(),
                talk.at_dest.src.ip(),
                net::of(family, [1, 4], [3, 3]),
                [0; 4],
                &talk.at_dest.ip,
            );
            let error = error.from_lan(talk.at_dest.eth.0).bytes();
            let seen = rig.feed_at((n + 2) % 4, LAN, &[&error]).seen();
            assert_eq!(seen.dst.ip(), talk.client.ip());
        }
        assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    }
}

#[test]
fn ttl_is_used_up_in_the_askers_family() {
    for family in net::FAMILIES {
        let mut rig = rig(1);
        let talk = Talk::tcp(&mut rig, family, Forward::FullNat);
        let seen = rig.feed(WAN, &talk.original(flag::ACK).ttl(1).bytes()).seen();
        assert_eq!((seen.src.ip(), seen.dst.ip()), (net::wan_addr(family), talk.client.ip()));
        assert_eq!(seen.icmp.unwrap().0, net::of(family, [11, 0], [3, 0]));
        let seen = rig.feed(LAN, &talk.reply(flag::ACK).ttl(1).bytes()).seen();
        assert_eq!(seen.src.ip(), net::lan_addr(other(family)));
        assert_eq!(seen.icmp.unwrap().0, net::of(family, [3, 0], [11, 0]));
        // Of fragments too: of a later one only under v6 (RFC 1812 section 4.3.2.7).
        let talk = Talk::open(&mut rig, 0, udp(family), (1, 700));
        let told = usize::from(family == V6);
        for (n, piece) in talk.original(0).payload(PAYLOAD).cut(7, &CUTS).into_iter().enumerate() {
            let ttl = if n == 1 { 1 } else { 60 };
            let out = rig.feed(WAN, &piece.ttl(ttl).bytes());
            assert_eq!(out.sent.len(), if n == 1 { told } else { 1 });
        }
        assert_eq!(rig.made(Made::TimeExceeded), 2 + told as u64);
    }
}

#[test]
fn v4_fragments_without_a_checksum_do_not_become_v6() {
    let mut rig = rig(1);
    let vip = net::service_addr(V4, Forward::FullNat);
    let p = Packet::new(net::client(V4, 1, 700), vip, Body::Udp { checksum: false });
    let pieces = p.payload(PAYLOAD).cut(3, &CUTS);
    assert!(rig.feed(WAN, &pieces[0].bytes()).sent.is_empty());
    assert_eq!(rig.drops(), [(DropReason::NoChecksum, 1)]);
}

#[test]
fn fragments_with_df_that_are_too_large_are_refused_by_name() {
    let mut rig = Rig::with(|s| {
        net::cross(s);
        net::set_mtu(s, LAN, 1400);
    });
    let talk = Talk::open(&mut rig, 0, udp(V4), (1, 700));
    let pieces = talk.original(0).payload(&[7; 2000]).cut(3, &[1360]);
    let first = Packet { fragment: pieces[0].fragment | 0x4000, ..pieces[0].clone() };
    let seen = rig.feed(WAN, &first.bytes()).seen();
    // 1372 bytes of v4 are 1400 of v6 with a fragment header.
    assert_eq!(seen.icmp, Some(([3, 4], [0, 0, 0x05, 0x5c])));
    assert_eq!(rig.drops(), [(DropReason::TooBig, 1)]);
}

#[test]
fn a_long_quote_is_cut_to_what_an_error_of_the_family_may_be() {
    for family in net::FAMILIES {
        let mut rig = rig(1);
        let talk = Talk::tcp(&mut rig, family, Forward::FullNat);
        let long = talk.original(flag::ACK).payload(&[b'x'; 1380]);
        let seen = rig.feed(WAN, &long.bytes()).seen();
        let kind = net::of(family, [1, 4], [3, 3]);
        let quote = &seen.ip[..seen.ip.len().min(1440)];
        let error = Packet::icmp(seen.dst.ip(), seen.src.ip(), kind, [0; 4], quote);
        let told = rig.feed(LAN, &error.from_lan(seen.eth.0).bytes()).seen();
        assert_eq!((told.ip.len(), told.sum), (net::of(family, 576, 1280), Sum::Right));
        // What is quoted says how long the whole was.
        let total = |ip: &[u8], at: usize| usize::from(u16::from_be_bytes([ip[at], ip[at + 1]]));
        let said = net::of(family, total(&told.payload, 2), total(&told.payload, 4) + 40);
        assert_eq!(said, long.ip().len());
    }
}

#[test]
fn extensions_of_icmp_errors_stay_behind() {
    for family in net::FAMILIES {
        let mut rig = rig(1);
        let talk = Talk::tcp(&mut rig, family, Forward::FullNat);
        let seen = &talk.at_dest;
        // RFC 4884: the quote is padded to 128 bytes, in words of 8 (v6) or 4 (v4), then come
        // extensions: an MPLS label.
        let mut quote = seen.ip.clone();
        quote.resize(128, 0);
        quote.extend([0x20, 0, 0, 0, 0, 8, 1, 1, 1, 2, 3, 4]);
        let (kind, rest) = net::of(family, ([3, 0], [16, 0, 0, 0]), ([11, 0], [0, 32, 0, 0]));
        let error = Packet::icmp(seen.dst.ip(), seen.src.ip(), kind, rest, &quote);
        let told = rig.feed(LAN, &error.from_lan(seen.eth.0).bytes()).seen();
        assert_eq!(told.icmp, Some((net::of(family, [11, 0], [3, 0]), [0; 4])));
        assert_eq!(told.payload.len(), 128 - net::of(family, 40, 20) + net::of(family, 20, 40));
        assert_eq!(told.sum, Sum::Right);
    }
}

#[test]
fn an_error_about_a_fragment_is_told_to_its_sender() {
    for family in net::FAMILIES {
        let mut rig = rig(1);
        let talk = Talk::open(&mut rig, 0, udp(family), (1, 700));
        let first = &talk.original(0).payload(PAYLOAD).cut(9, &CUTS)[0];
        let seen = rig.feed(WAN, &first.bytes()).seen();
        assert_eq!(seen.fragment, (true, 0));
        let kind = net::of(family, [3, 1], [11, 1]);
        let error = Packet::icmp(seen.dst.ip(), seen.src.ip(), kind, [0; 4], &seen.ip);
        let told = rig.feed(LAN, &error.from_lan(seen.eth.0).bytes()).seen();
        assert_eq!(told.icmp.unwrap().0, net::of(family, [11, 1], [3, 1]));
        let quoted = see::see_ip(&told.payload);
        assert_eq!((quoted.src.ip(), quoted.dst.ip()), (talk.client.ip(), talk.vip.ip()));
        let ports = [talk.client.port(), talk.vip.port()].map(u16::to_be_bytes).concat();
        assert_eq!((quoted.fragment, &quoted.segment[..4]), ((true, 0), &ports[..]));
    }
}

#[test]
fn the_second_choice_may_be_of_the_other_family() {
    for family in net::FAMILIES {
        let mut rig = Rig::with(|s| {
            // One dest of each family behind one VIP.
            let of = |f| net::dest_id(f, Proto::Tcp, Forward::FullNat, 0);
            let i = net::service_index(family, Proto::Tcp, Forward::FullNat);
            let both = [of(family), of(other(family))];
            s.services[i].dests =
                both.map(|id| Candidate { id, weight: 1, last_weight: 1 }).to_vec();
            s.dests.iter_mut().for_each(|d| d.traits.retries = 1);
        });
        let talk = Talk::tcp(&mut rig, family, Forward::FullNat);
        assert!(talk.answer(&mut rig, flag::RST | flag::ACK).sent.is_empty());
        let again = talk.say(&mut rig, flag::SYN).seen();
        assert_ne!(again.dst.is_ipv4(), talk.at_dest.dst.is_ipv4());
        assert_eq!((again.sum, rig.conns().len()), (Sum::Right, 1));
        let reply = Packet::tcp(again.dst, again.src, flag::SYN | flag::ACK);
        let seen = rig.feed(LAN, &reply.from_lan(again.eth.0).bytes()).seen();
        assert_eq!((seen.src, seen.dst), (talk.vip, talk.client));
    }
}

#[test]
fn tags_may_differ_on_both_sides() {
    for family in net::FAMILIES {
        let mut rig = Rig::with(|s| {
            net::cross(s);
            (s.ports[0].vlan, s.ports[1].vlan) = (Some(5), Some(6));
        });
        let vip = net::service_addr(family, Forward::FullNat);
        let client = net::client(family, 1, 5000);
        let syn = Packet { vlan: Some(5), ..Packet::tcp(client, vip, flag::SYN) };
        // The rig holds tag and MAC of what comes out against the port's.
        let seen = rig.feed(WAN, &syn.bytes()).seen();
        let reply = Packet::tcp(seen.dst, seen.src, flag::SYN | flag::ACK).from_lan(seen.eth.0);
        let reply = Packet { vlan: Some(6), padding: 7, ..reply };
        let seen = rig.feed(LAN, &reply.bytes()).seen();
        assert_eq!((seen.src, seen.dst, seen.sum), (vip, client, Sum::Right));
    }
}

#[test]
fn a_packet_that_cannot_be_cut_for_want_of_frames_is_dropped_whole() {
    let options = Options { frames: 2, ..Options::default() };
    let mut rig = Rig::build(options, |s, _| net::cross(s));
    let talk = Talk::open(&mut rig, 0, udp(V4), (1, 700));
    let big = talk.original(0).may_fragment().payload(&[7; 1400]).bytes();
    let kept = rig.keep(1);
    assert!(rig.feed(WAN, &big).sent.is_empty());
    assert_eq!(rig.drops(), [(DropReason::NoFrame, 1)]);
    rig.give_back(kept);
    let out = rig.feed(WAN, &big);
    assert_eq!(together(&out.sent).2, [7; 1400]);
    assert!(out.sent.iter().all(|s| see::see(&s.bytes).ip.len() <= 1280));
    assert_eq!(rig.made(Made::Fragment), 1);
}

/// A PROXY header is part of what has to fit.
#[test]
fn datagrams_that_get_a_header_are_cut_where_they_would_outgrow_the_least_mtu() {
    let telling = |s: &mut Snapshot| {
        net::cross(s);
        for dest in &mut s.dests {
            dest.traits.client_address = ClientAddress::ProxyV2;
        }
    };
    // v4 without DF, and 32 bytes of header: 1,228 bytes are the most that stay whole.
    let mut rig = Rig::with(|s| {
        telling(s);
        s.dests.iter_mut().for_each(|d| d.mtu -= 32);
    });
    let talk = Talk::open(&mut rig, 0, udp(V4), (1, 700));
    for (total, pieces) in [(1228, 1), (1229, 2), (1260, 2), (1261, 2)] {
        let whole = talk.original(0).payload(&vec![7; total - 28]).may_fragment();
        let out = rig.feed(WAN, &whole.bytes());
        assert_eq!(out.sent.len(), pieces, "{total}: {:?}", rig.drops());
        assert!(out.sent.iter().all(|s| see::see(&s.bytes).ip.len() <= 1280), "{total}");
        let (_, _, data) = together(&out.sent);
        assert_eq!(data[32..], vec![7; total - 28]);
    }
    // v6, whose sender can go no lower than 1,280, and 56 bytes of header: the way carries less.
    let mut rig = Rig::with(|s| {
        telling(s);
        net::set_mtu(s, LAN, 1300);
        s.dests.iter_mut().for_each(|d| d.mtu -= 56);
    });
    let talk = Talk::open(&mut rig, 0, udp(V6), (1, 700));
    let out = rig.feed(WAN, &talk.original(0).payload(&[7; 1232]).bytes());
    assert_eq!(out.sent.len(), 2, "{:?}", rig.drops());
    assert_eq!(together(&out.sent).2[56..], [7; 1232]);
}

#[test]
fn what_v6_sends_in_1280_bytes_is_cut_where_v4_carries_less() {
    let mut rig = Rig::with(|s| {
        net::cross(s);
        net::set_mtu(s, LAN, 576);
    });
    let talk = Talk::open(&mut rig, 0, udp(V6), (1, 700));
    let whole = talk.original(0).payload(&[7; 1232]);
    assert_eq!(whole.ip().len(), 1280);
    let out = rig.feed(WAN, &whole.bytes());
    assert_eq!(out.sent.len(), 3);
    assert_eq!(together(&out.sent), (talk.at_dest.src, talk.at_dest.dst, vec![7; 1232]));
    // Fragments of v6 are cut further.
    let mut sent = Vec::new();
    for piece in talk.original(0).payload(&[9; 2000]).cut(5, &[1200]) {
        sent.extend(rig.feed(WAN, &piece.bytes()).sent);
    }
    assert_eq!((sent.len(), together(&sent).2), (5, vec![9; 2000]));
    // A larger one is refused: its sender has to go down to 1280, and no further.
    let seen = rig.feed(WAN, &talk.original(0).payload(&[7; 1233]).bytes()).seen();
    assert_eq!(seen.icmp, Some(([2, 0], [0, 0, 0x05, 0])));
}
