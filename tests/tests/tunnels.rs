//! "Under tunnel [...] the director answers too-big, by option fragments the outer packet."

use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_dataplane::verdict::Made;
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
use pointsman_tests::talk::Talk;

fn rig(cuts_outer: bool) -> Rig {
    Rig::with(|s| {
        net::set_mtu(s, LAN, 1400);
        s.dests.iter_mut().for_each(|d| d.traits.cuts_outer = cuts_outer);
    })
}

/// The packet within a tunnel's packet, put together from its fragments.
fn inner(family: Family, sent: &[Sent]) -> Vec<u8> {
    let mut pieces: Vec<Seen> = sent.iter().map(|s| see::see(&s.bytes)).collect();
    pieces.sort_by_key(|p| p.fragment.1);
    let (id, last) = (pieces[0].id, pieces.len() - 1);
    let mut whole = Vec::new();
    for (n, piece) in pieces.iter().enumerate() {
        assert_eq!(piece.fragment, (n < last, whole.len()));
        assert_eq!((piece.id, piece.number), (id, net::of(family, 4, 41)));
        assert!(piece.ip.len() <= 1400 && piece.ip_sum);
        whole.extend(&piece.segment);
    }
    whole
}

/// What a client's packet is within the tunnel: one hop on.
fn one_hop_on(packet: &Packet) -> Vec<u8> {
    Packet { ttl: packet.ttl - 1, ..packet.clone() }.ip()
}

#[test]
fn what_a_tunnel_does_not_carry_is_answered_with_too_big() {
    for family in net::FAMILIES {
        let mut rig = rig(false);
        let talk = Talk::tcp(&mut rig, family, Forward::Tunnel);
        let header = net::of(family, 40, 60);
        let long = talk.original(flag::ACK).payload(&vec![7; 1400 - header]);
        let told = rig.feed(WAN, &long.bytes()).seen().icmp.expect("an error");
        assert_eq!(told.0, net::of(family, [3, 4], [2, 0]));
        assert_eq!(u32::from_be_bytes(told.1), net::of(family, 1380, 1360));
        assert_eq!(rig.drops(), [(DropReason::TooBig, 1)]);
    }
}

#[test]
fn by_option_the_outer_packet_goes_in_fragments() {
    for family in net::FAMILIES {
        let mut rig = rig(true);
        let talk = Talk::tcp(&mut rig, family, Forward::Tunnel);
        let (header, outer) = net::of(family, (40, 20), (60, 40));
        let mut made = 0;
        let mut ids = std::collections::BTreeSet::new();
        for (len, pieces) in [(1400 - outer, 1), (1401 - outer, 2), (1500, 2), (4000, 3)] {
            let packet = talk.original(flag::ACK).payload(&vec![7; len - header]);
            let out = rig.feed(WAN, &packet.bytes());
            assert_eq!(out.sent.len(), pieces, "{len}: {:?}", rig.drops());
            assert_eq!(inner(family, &out.sent), one_hop_on(&packet));
            ids.insert(see::see(&out.sent[0].bytes).id);
            made += pieces as u64 - 1;
        }
        assert_eq!(rig.made(Made::Fragment), made);
        if family == V4 {
            assert_eq!(ids.len(), 4, "none may be cut on the way under another's identification");
        }
        assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    }
}

/// 16 bits would serve again after 65,536 packets, some seconds, while a dest waits for the rest of
/// a datagram for 60 s (RFC 8200 section 4.5).
#[test]
fn identifications_of_outer_v6_packets_are_of_32_bits() {
    let mut rig = Rig::build(Options { workers: 3, ..Options::default() }, |s, _| {
        net::set_mtu(s, LAN, 1400);
        s.ports.iter_mut().for_each(|p| p.fixed_queue = true);
        s.dests.iter_mut().for_each(|d| d.traits.cuts_outer = true);
    });
    let mut ids = std::collections::BTreeSet::new();
    for worker in 0..3 {
        let kind = (Family::V6, Proto::Tcp, Forward::Tunnel);
        let talk = Talk::open(&mut rig, worker, kind, (worker as u8, 9));
        let long = talk.original(flag::ACK).payload(&[7; 1301]).bytes();
        // A worker's share of 16 bits, and some more.
        for _ in 0..700 {
            let out = rig.feed_at(worker, WAN, &[&long[..]; 32]);
            ids.extend(out.sent.iter().map(|s| see::see(&s.bytes).id));
        }
    }
    assert_eq!(ids.len(), 3 * 700 * 32);
    assert!(ids.last() > Some(&0xffff));
}

/// Fragments of a client's datagram are put into the tunnel as they are, and cut there.
#[test]
fn by_option_fragments_in_a_tunnel_are_cut_too() {
    for family in net::FAMILIES {
        let mut rig = rig(true);
        let talk = Talk::open(&mut rig, 0, (family, Proto::Udp, Forward::Tunnel), (1, 700));
        let pieces = talk.original(0).payload(&[7; 2800]).cut(5, &[1440]);
        for piece in &pieces {
            let out = rig.feed(WAN, &piece.bytes());
            assert_eq!(out.sent.len(), 2, "{:?}", rig.drops());
            assert_eq!(inner(family, &out.sent), one_hop_on(piece));
        }
    }
}

#[test]
fn without_frames_to_cut_into_it_is_dropped_by_name() {
    for family in net::FAMILIES {
        let mut rig = rig(true);
        let talk = Talk::tcp(&mut rig, family, Forward::Tunnel);
        let kept = rig.keep(1023);
        let long = talk.original(flag::ACK).payload(&[7; 1400]);
        assert!(rig.feed(WAN, &long.bytes()).sent.is_empty());
        assert_eq!(rig.drops(), [(DropReason::NoFrame, 1)]);
        rig.give_back(kept);
    }
}
