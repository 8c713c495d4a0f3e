//! What happens to a packet on its way: checksums, TTL, size, ports, tags, options.

use pointsman_dataplane::service::Forward;
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
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::see::Sum;
use pointsman_tests::talk::Talk;

const REWRITING: [Forward; 2] = [Forward::Nat, Forward::FullNat];

#[test]
fn a_udp_checksum_of_zero_stays_zero_over_v4_both_ways() {
    for forward in REWRITING {
        let mut rig = Rig::new();
        let talk = Talk::open(&mut rig, 0, (V4, Proto::Udp, forward), (1, 5000));
        let none = Body::Udp { checksum: false };
        let p = Packet { body: none.clone(), ..talk.original(0) };
        assert_eq!(rig.feed(WAN, &p.bytes()).seen().sum, Sum::Absent);
        let p = Packet { body: none, ..talk.reply(0) };
        assert_eq!(rig.feed(LAN, &p.bytes()).seen().sum, Sum::Absent);
    }
}

#[test]
fn a_udp_checksum_of_zero_is_refused_over_v6() {
    let mut rig = Rig::new();
    let talk = Talk::open(&mut rig, 0, (V6, Proto::Udp, Forward::Nat), (1, 5000));
    for (port, p) in [(WAN, talk.original(0)), (LAN, talk.reply(0))] {
        let p = Packet { body: Body::Udp { checksum: false }, ..p };
        assert!(rig.feed(port, &p.bytes()).sent.is_empty());
    }
    assert_eq!(rig.drops(), [(DropReason::NoChecksum, 2)]);
}

/// RFC 768: a computed zero is sent as ones, since zero says "none". Every payload word is tried,
/// so that some of the updated sums come out as zero.
#[test]
fn a_udp_checksum_that_comes_out_as_zero_is_written_as_ones() {
    for family in net::FAMILIES {
        for forward in REWRITING {
            let mut rig = Rig::new();
            let talk = Talk::open(&mut rig, 0, (family, Proto::Udp, forward), (1, 5000));
            let mut ones = 0;
            for word in 0..=u16::MAX {
                let p = talk.original(0).payload(&word.to_be_bytes());
                let seen = rig.feed(WAN, &p.bytes()).seen();
                assert_eq!(seen.sum, Sum::Right, "{family:?} {forward:?} {word:#x}");
                ones += u32::from(seen.segment[6..8] == [0xff, 0xff]);
            }
            assert!(ones > 0);
        }
    }
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            let mut rig = Rig::new();
            let talk = Talk::tcp(&mut rig, family, forward);
            let mut bytes = talk.original(flag::ACK).payload(b"payload").bytes();
            *bytes.last_mut().unwrap() ^= 0x40;
            let out = rig.feed(WAN, &bytes);
            assert_eq!(see::sums(&out.frames()).unwrap(), [Sum::Wrong]);
        }
    }
}

#[test]
fn ttl_falls_by_one_on_every_way_out() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            let mut rig = Rig::new();
            let talk = Talk::tcp(&mut rig, family, forward);
            for ttl in [2, 64, 255] {
                let seen = rig.feed(WAN, &talk.original(flag::ACK).ttl(ttl).bytes()).seen();
                assert_eq!(seen.ttl, ttl - 1);
                if forward == Forward::Tunnel {
                    assert_eq!(see::see_ip(&seen.segment).ttl, ttl - 1);
                }
                if forward.sees_replies() {
                    let seen = rig.feed(LAN, &talk.reply(flag::ACK).ttl(ttl).bytes()).seen();
                    assert_eq!(seen.ttl, ttl - 1);
                }
            }
        }
    }
}

#[test]
fn the_last_hop_hears_time_exceeded_whichever_side_it_is_on() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            let mut rig = Rig::new();
            let talk = Talk::tcp(&mut rig, family, forward);
            let kind = Some((net::of(family, [11, 0], [3, 0]), [0; 4]));
            let out = rig.feed(WAN, &talk.original(flag::ACK).ttl(1).bytes());
            assert_eq!((out.only().port, out.seen().icmp), (WAN, kind));
            assert_eq!(out.seen().src.ip(), net::wan_addr(family), "a router's own address");
            if forward.sees_replies() {
                let out = rig.feed(LAN, &talk.reply(flag::ACK).ttl(1).bytes());
                assert_eq!((out.only().port, out.seen().icmp), (LAN, kind));
                assert_eq!(out.seen().src.ip(), net::lan_addr(family));
            }
        }
    }
}

/// What the way to a dest carries of the client's packet, at an MTU of `mtu`.
fn carries(family: Family, forward: Forward, mtu: u16) -> u16 {
    if forward == Forward::Tunnel { mtu - net::of(family, 20, 40) } else { mtu }
}

#[test]
fn what_just_fits_passes_and_one_byte_more_is_answered_with_the_right_mtu() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            let mut rig = Rig::with(|s| net::set_mtu(s, LAN, 1400));
            let talk = Talk::tcp(&mut rig, family, forward);
            let mtu = carries(family, forward, 1400);
            let header = net::of(family, 40, 60);
            let fits = talk.original(flag::ACK).payload(&vec![1; mtu as usize - header]);
            let out = rig.feed(WAN, &fits.bytes());
            assert_eq!(out.only().port, LAN);
            assert_eq!(out.seen().ip.len(), 1400);
            let over = talk.original(flag::ACK).payload(&vec![1; mtu as usize + 1 - header]);
            let out = rig.feed(WAN, &over.bytes());
            let [high, low] = mtu.to_be_bytes();
            let expected = net::of(family, [3, 4], [2, 0]);
            assert_eq!(out.seen().icmp, Some((expected, [0, 0, high, low])));
            assert_eq!(out.only().port, WAN);
            assert_eq!(rig.made(Made::TooBig), 1);
        }
    }
}

#[test]
fn the_way_back_has_its_own_mtu() {
    for family in net::FAMILIES {
        for forward in REWRITING {
            let mut rig = Rig::with(|s| net::set_mtu(s, WAN, 1300));
            let talk = Talk::tcp(&mut rig, family, forward);
            let header = net::of(family, 40, 60);
            // The first reply looks its way up, later ones know it: both must mind the MTU.
            for _ in 0..2 {
                let over = talk.reply(flag::ACK).payload(&vec![1; 1301 - header]);
                let out = rig.feed(LAN, &over.bytes());
                assert_eq!((out.only().port, out.seen().dst.ip()), (LAN, talk.at_dest.dst.ip()));
                let kind = net::of(family, [3, 4], [2, 0]);
                assert_eq!(out.seen().icmp, Some((kind, [0, 0, 5, 0x14])));
                let fits = talk.reply(flag::ACK).payload(&vec![1; 1300 - header]);
                assert_eq!(rig.feed(LAN, &fits.bytes()).only().port, WAN);
            }
        }
    }
}

#[test]
fn without_df_a_packet_is_cut_and_arrives_whole() {
    for forward in net::METHODS {
        let mut rig = Rig::with(|s| {
            net::set_mtu(s, LAN, 576);
            net::set_mtu(s, WAN, 9000);
        });
        let talk = Talk::open(&mut rig, 0, (V4, Proto::Udp, forward), (1, 5000));
        for len in [600, 1480, 8000] {
            let payload: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let p = talk.original(0).may_fragment().payload(&payload);
            let out = rig.feed(WAN, &p.bytes());
            assert!(out.sent.len() > 1);
            assert_eq!(see::sums(&out.frames()).unwrap(), [Sum::Right], "{forward:?} {len}");
        }
        if forward.sees_replies() {
            replies_are_cut(&mut rig, &talk);
        }
        assert!(rig.drops().is_empty());
    }
}

fn replies_are_cut(rig: &mut Rig, talk: &Talk) {
    rig.reload(|s| net::set_mtu(s, WAN, 600));
    for _ in 0..2 {
        let p = talk.reply(0).may_fragment().payload(&[9; 1200]);
        let out = rig.feed(LAN, &p.bytes());
        assert_eq!(out.sent.len(), 3);
        assert_eq!(see::sums(&out.frames()), Ok(vec![Sum::Right]));
    }
}

/// The "25 to 26".
#[test]
fn a_dest_may_listen_on_another_port() {
    for family in net::FAMILIES {
        for forward in REWRITING {
            let mut rig = Rig::with(|s| {
                let i = net::service_index(family, Proto::Tcp, forward);
                s.services[i].port = 25;
                for d in &s.services[i].dests {
                    s.dests[d.id.0 as usize].port = 26;
                }
            });
            let client = net::client(family, 4, 3000);
            let vip = std::net::SocketAddr::new(net::vip(family), 25);
            let seen = rig.feed(WAN, &Packet::tcp(client, vip, flag::SYN).bytes()).seen();
            assert_eq!((seen.dst.port(), seen.sum), (26, Sum::Right));
            let reply = Packet::tcp(seen.dst, seen.src, flag::SYN | flag::ACK);
            let seen = rig.feed(LAN, &reply.from_lan(net::dest_mac(0)).bytes()).seen();
            assert_eq!((seen.src, seen.dst, seen.sum), (vip, client, Sum::Right));
        }
    }
}

#[test]
fn every_port_has_its_own_tag() {
    for (wan, lan) in [(Some(5), Some(6)), (Some(5), None), (None, Some(6))] {
        for family in net::FAMILIES {
            for forward in net::METHODS {
                let mut rig = Rig::with(|s| (s.ports[0].vlan, s.ports[1].vlan) = (wan, lan));
                let client = net::client(family, 4, 3000);
                let vip = net::service_addr(family, forward);
                let syn = Packet { vlan: wan, ..Packet::tcp(client, vip, flag::SYN) };
                let seen = rig.feed(WAN, &syn.bytes()).seen();
                assert_eq!(seen.vlan, lan);
                if forward.sees_replies() {
                    let reply = Packet::tcp(seen.dst, seen.src, flag::SYN | flag::ACK);
                    let reply = Packet { vlan: lan, ..reply.from_lan(seen.eth.0) };
                    let seen = rig.feed(LAN, &reply.bytes()).seen();
                    assert_eq!((seen.vlan, seen.dst), (wan, client));
                }
                // What the director says itself bears the tag too.
                let stray = Packet { vlan: wan, ..Packet::tcp(client, vip, flag::ACK) };
                let mut stray = stray;
                stray.src.set_port(9);
                assert_eq!(rig.feed(WAN, &stray.bytes()).seen().vlan, wan);
            }
        }
    }
}

#[test]
fn ethernet_padding_does_not_travel_in_a_tunnel_nor_confuse_anything() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            let mut rig = Rig::new();
            let talk = Talk::tcp(&mut rig, family, forward);
            let p = Packet { padding: 6, ..talk.original(flag::ACK) };
            let out = rig.feed(WAN, &p.bytes());
            assert_eq!(see::sums(&out.frames()).unwrap(), [Sum::Right]);
            if forward == Forward::Tunnel {
                let outer = out.seen();
                assert_eq!(outer.segment.len(), p.ip().len());
                assert_eq!(out.only().bytes.len(), 14 + outer.ip.len());
            }
        }
    }
}

#[test]
fn eight_extension_headers_are_walked_and_a_ninth_is_refused_by_name() {
    let mut rig = Rig::new();
    let vip = net::service_addr(V6, Forward::FullNat);
    for n in 0..=9usize {
        let mut p = Packet::udp(net::client(V6, 1, 5000), vip);
        p.extensions = (0..n).map(|_| (60, vec![1, 4, 0, 0, 0, 0])).collect();
        let out = rig.feed(WAN, &p.bytes());
        let passes = n <= 8;
        assert_eq!(out.sent.len(), usize::from(passes), "{n} extension headers");
        if passes {
            assert_eq!(out.seen().sum, Sum::Right);
            assert_eq!(out.seen().ip.len(), p.ip().len());
        }
    }
    assert_eq!(rig.drops(), [(DropReason::ExtensionHeaders, 1)]);
}
