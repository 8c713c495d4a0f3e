//! "Tunnels: the mixed families 4in6 and 6in4 besides those that exist; GUE and GRE with their checksum modes."

use pointsman_dataplane::service::Encap;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Family::V6;
use pointsman_dataplane::tuple::Proto;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::see::Seen;
use pointsman_tests::see::Sum;
use pointsman_tests::talk::Talk;
use std::collections::BTreeSet;
use std::time::Duration;

const GUE_PORT: u16 = 6080;

const KINDS: [Encap; 5] = [
    Encap::Ip,
    Encap::Gue { port: GUE_PORT, checksum: false },
    Encap::Gue { port: GUE_PORT, checksum: true },
    Encap::Gre { checksum: false },
    Encap::Gre { checksum: true },
];

/// Every kind, the family of what is within, and that of the outer packet.
pub(crate) fn all() -> impl Iterator<Item = (Encap, Family, Family)> {
    let pairs = [(V4, V4), (V6, V6), (V4, V6), (V6, V4)];
    KINDS.into_iter().flat_map(move |kind| pairs.map(|(inner, outer)| (kind, inner, outer)))
}

pub(crate) fn rig(kind: Encap, crossed: bool, mtu: u16) -> Rig {
    Rig::with(|s| {
        net::tunnels(s, kind, crossed);
        net::set_mtu(s, LAN, mtu);
    })
}

/// The headers between the outer IP header and what is within, byte by byte; what is within behind them.
fn unwrap(kind: Encap, family: Family, outer: &Seen) -> Vec<u8> {
    let payload = &outer.segment;
    let ether_type = net::of(family, [0x08, 0x00], [0x86, 0xdd]);
    let number = net::of(family, 4, 41);
    let (proto, headers) = match kind {
        Encap::Ip => (number, 0),
        // draft-ietf-intarea-gue section 3: version 0, no control message, no options, no flags.
        Encap::Gue { port, checksum } => {
            assert_eq!(outer.dst.port(), port);
            assert!((32_768..60_999).contains(&outer.src.port()), "{}", outer.src);
            assert_eq!(payload[4..6], (payload.len() as u16).to_be_bytes());
            assert_eq!(outer.sum, if checksum { Sum::Right } else { Sum::Absent });
            assert_eq!(payload[8..12], [0, number, 0, 0]);
            (17, 12)
        }
        // RFC 2784 section 2: no flag but that of the checksum, version 0.
        Encap::Gre { checksum: false } => {
            assert_eq!(payload[..4], [0, 0, ether_type[0], ether_type[1]]);
            (47, 4)
        }
        Encap::Gre { checksum: true } => {
            assert_eq!(payload[..4], [0x80, 0, ether_type[0], ether_type[1]]);
            assert_eq!(payload[6..8], [0, 0]);
            // Summed with itself it gives zero, as ICMP's does.
            let any = outer.src.ip();
            assert_eq!(see::transport_sum(any, any, 1, payload), Sum::Right);
            (47, 8)
        }
    };
    assert_eq!(outer.number, proto);
    payload[headers..].to_vec()
}

fn one_hop_on(packet: &Packet) -> Vec<u8> {
    Packet { ttl: packet.ttl - 1, ..packet.clone() }.ip()
}

/// What the outer packet is larger by.
pub(crate) fn overhead(kind: Encap, outer: Family) -> usize {
    let between = match kind {
        Encap::Ip => 0,
        Encap::Gue { .. } => 12,
        Encap::Gre { checksum: false } => 4,
        Encap::Gre { checksum: true } => 8,
    };
    net::of(outer, 20, 40) + between
}

#[test]
fn every_kind_of_tunnel_carries_every_family_in_every_other() {
    for (kind, inner, outer) in all() {
        for proto in [Proto::Tcp, Proto::Udp] {
            let mut rig = rig(kind, inner != outer, 1500);
            let talk = Talk::open(&mut rig, 0, (inner, proto, Forward::Tunnel), (7, 40_000));
            let dest = std::net::IpAddr::from(rig.conn().2.daddr);
            for (ttl, tos, len) in [(64, 0, 0), (9, 0xb8, 1), (2, 0x02, 1300), (64, 0x03, 77)] {
                let flags = if proto == Proto::Tcp { flag::ACK } else { 0 };
                let packet = talk.original(flags).payload(&vec![7; len]);
                let packet = Packet { ttl, tos, ..packet };
                let seen = rig.feed(WAN, &packet.bytes()).seen();
                let what = format!("{kind:?} {inner:?} in {outer:?}, {packet:?}");
                assert_eq!(unwrap(kind, inner, &seen), one_hop_on(&packet), "{what}");
                assert_eq!(seen.dst.ip(), dest, "{what}");
                assert_eq!(seen.src.ip(), net::lan_addr(outer), "{what}");
                // RFC 3168 section 9.1.1: a CE mark is none outside.
                assert_eq!(seen.tos, if tos & 3 == 3 { tos & !1 } else { tos }, "{what}");
                assert_eq!((seen.ttl, seen.ip_sum), (ttl - 1, true), "{what}");
                assert_eq!(seen.df, (inner, outer) == (V4, V4), "{what}");
                assert_eq!(seen.ip.len(), packet.ip().len() + overhead(kind, outer), "{what}");
            }
            assert!(rig.drops().is_empty(), "{:?}", rig.drops());
        }
    }
}

#[test]
fn what_a_tunnel_of_any_kind_does_not_carry_is_answered_with_the_mtu_it_has() {
    for (kind, inner, outer) in all() {
        let mut rig = rig(kind, inner != outer, 1400);
        let talk = Talk::tcp(&mut rig, inner, Forward::Tunnel);
        let mtu = 1400 - overhead(kind, outer);
        let packet = |len: usize| {
            talk.original(flag::ACK).payload(&vec![7; len - net::of(inner, 40, 60)]).bytes()
        };
        assert_eq!(rig.feed(WAN, &packet(mtu)).seen().ip.len(), 1400);
        let told = rig.feed(WAN, &packet(mtu + 1)).seen().icmp.expect("an error");
        assert_eq!(told.0, net::of(inner, [3, 4], [2, 0]));
        assert_eq!(u32::from_be_bytes(told.1) as usize, mtu, "{kind:?} {inner:?} in {outer:?}");
    }
}

/// `oversize = "fragment"`, and a v4 packet without DF in a v6 tunnel.
#[test]
fn the_outer_packet_of_any_kind_goes_in_fragments_where_it_may() {
    for (kind, inner, outer) in all() {
        for by_option in [true, false] {
            let mut rig = rig(kind, inner != outer, 1400);
            let talk = Talk::tcp(&mut rig, inner, Forward::Tunnel);
            rig.reload(|s| s.dests.iter_mut().for_each(|d| d.traits.cuts_outer = by_option));
            let packet = talk.original(flag::ACK).payload(&[7; 3000]);
            let packet = if by_option { packet } else { packet.may_fragment() };
            let out = rig.feed(WAN, &packet.bytes());
            if inner == V6 && !by_option {
                assert_eq!(out.seen().icmp.map(|icmp| icmp.0), Some([2, 0]));
                continue;
            }
            assert_eq!(out.sent.len(), 3, "{kind:?} {inner:?} in {outer:?}: {:?}", rig.drops());
            let pieces: Vec<_> = out.sent.iter().map(|s| see::see(&s.bytes)).collect();
            let mut pieces = pieces.iter().collect::<Vec<_>>();
            pieces.sort_by_key(|p| p.fragment.1);
            assert!(pieces.iter().all(|p| p.id == pieces[0].id && p.ip.len() <= 1400 && p.ip_sum));
            let mut whole = pieces[0].clone();
            whole.segment = pieces.iter().flat_map(|p| p.segment.clone()).collect();
            let (src, dst) = (whole.src.ip(), whole.dst.ip());
            whole.sum = see::transport_sum(src, dst, whole.number, &whole.segment);
            if whole.number == 17 {
                let port =
                    |at: usize| u16::from_be_bytes([whole.segment[at], whole.segment[at + 1]]);
                let (sport, dport) = (port(0), port(2));
                whole.src.set_port(sport);
                whole.dst.set_port(dport);
            }
            assert_eq!(unwrap(kind, inner, &whole), one_hop_on(&packet));
        }
    }
}

/// Routers tell the conns of a GUE tunnel by its source port: one for all packets of a conn, fragments too, many for
/// many conns, and the same whichever worker has it.
#[test]
fn the_source_port_of_gue_is_the_conns() {
    for family in net::FAMILIES {
        let options = Options { workers: 2, ..Options::default() };
        let mut rig = Rig::build(options, |s, _| {
            net::tunnels(s, Encap::Gue { port: GUE_PORT, checksum: true }, false);
            s.ports.iter_mut().for_each(|p| p.fixed_queue = true);
        });
        let mut ports = BTreeSet::new();
        for n in 0..100 {
            let kind = (family, Proto::Udp, Forward::Tunnel);
            let talk = Talk::open(&mut rig, n % 2, kind, (1, 1000 + n as u16));
            let port = talk.at_dest.src.port();
            let pieces = talk.original(0).payload(&[7; 2800]).cut(n as u32 + 1, &[1200, 2400]);
            let pieces: Vec<_> = pieces.iter().map(Packet::bytes).collect();
            let pieces: Vec<_> = pieces.iter().map(|p| &p[..]).collect();
            let sent = rig.feed_at(n % 2, WAN, &pieces).sent;
            assert_eq!(sent.len(), pieces.len());
            let of_pieces: Vec<_> = sent.iter().map(|s| see::see(&s.bytes).src.port()).collect();
            assert_eq!(of_pieces, [port; 3], "{family:?} {n}");
            ports.insert(port);
        }
        assert!(ports.len() > 95, "{} ports of 28,231 for 100 conns", ports.len());
    }
}

/// ipvsadm -e with another --tun-type: conns go on, in the new one.
#[test]
fn conns_go_on_when_a_dests_tunnel_becomes_another() {
    for family in net::FAMILIES {
        let mut rig = rig(Encap::Ip, false, 1500);
        let talk = Talk::tcp(&mut rig, family, Forward::Tunnel);
        for kind in KINDS {
            rig.reload(|s| net::tunnels(s, kind, false));
            let packet = talk.original(flag::ACK).payload(&[7; 100]);
            let seen = rig.feed(WAN, &packet.bytes()).seen();
            assert_eq!(unwrap(kind, family, &seen), one_hop_on(&packet));
        }
    }
}

/// The reset of a removed dest's conn goes to the dest as its packets do.
#[test]
fn a_reset_reaches_the_dest_in_its_tunnel() {
    use pointsman_dataplane::service::OnDead;
    for (kind, inner, outer) in all() {
        let mut rig = rig(kind, inner != outer, 1500);
        let talk = Talk::tcp(&mut rig, inner, Forward::Tunnel);
        let id = rig.conn().1.dest();
        rig.reload(|s| {
            let dest = &mut s.dests[id.0 as usize];
            (dest.removed, dest.traits.on_dead) = (true, OnDead::Reset);
            s.services.iter_mut().for_each(|service| service.dests.retain(|c| c.id != id));
        });
        let out = rig.pass(Duration::from_secs(1));
        let to_dest = out.sent.iter().map(|s| see::see(&s.bytes)).find(|s| s.number != 6);
        let seen = to_dest.expect("a packet in the tunnel");
        let within = unwrap(kind, inner, &seen);
        let reset = see::see_ip(&within);
        assert_eq!((reset.src, reset.dst), (talk.client, talk.vip), "{kind:?} {outer:?}");
        assert_eq!(reset.tcp.map(|tcp| tcp.0), Some(flag::RST));
    }
}
