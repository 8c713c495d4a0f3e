//! Replies of dr and tunnel dests that come back through the director (the kernel calls them
//! martians): forwarded to the client and counted.

use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
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
use std::time::Duration;

const DIRECT: [Forward; 2] = [Forward::Dr, Forward::Tunnel];

fn rig(workers: usize, fixed: [bool; 2]) -> Rig {
    Rig::build(Options { workers, ..Options::default() }, |s, _| {
        for (port, fixed) in s.ports.iter_mut().zip(fixed) {
            port.fixed_queue = fixed;
        }
    })
}

/// What the dest that holds the VIP answers, by the director.
fn reply(talk: &Talk, flags: u8) -> Packet {
    let p = match talk.proto {
        Proto::Udp => Packet::udp(talk.vip, talk.client),
        _ => Packet::tcp(talk.vip, talk.client, flags),
    };
    p.from_lan(talk.at_dest.eth.0)
}

/// Workers begin their rounds at different dests.
fn dest_of(family: Family, talk: &Talk) -> DestId {
    let is_it = |n: &usize| net::dest_mac(*n) == talk.at_dest.eth.0;
    let n = (0..net::DESTS).find(is_it).expect("a dest has got the packet");
    net::dest_id(family, talk.proto, talk.forward, n)
}

#[test]
fn martian_replies_are_forwarded_and_counted_whichever_worker_gets_them() {
    for (workers, fixed) in
        [(1, [false; 2]), (4, [false; 2]), (4, [true; 2]), (4, [true, false]), (4, [false, true])]
    {
        for family in net::FAMILIES {
            for forward in DIRECT {
                for proto in net::PROTOS {
                    for client in 0..4 {
                        let mut rig = rig(workers, fixed);
                        let kind = (family, proto, forward);
                        let talk = Talk::open(
                            &mut rig,
                            usize::from(client) % workers,
                            kind,
                            (client, 5000),
                        );
                        for at in 0..workers {
                            let reply = reply(&talk, flag::SYN | flag::ACK);
                            let out = rig.feed_at(at, LAN, &[&reply.bytes()]);
                            let (seen, sent) = (out.seen(), see::see(&reply.bytes()));
                            assert_eq!((out.only().port, seen.eth.0), (WAN, net::GATEWAY_MAC));
                            assert_eq!((seen.src, seen.dst, seen.ttl), (talk.vip, talk.client, 59));
                            assert_eq!((seen.segment, seen.sum), (sent.segment, Sum::Right));
                        }
                        let (n, len) = (workers as u64, reply(&talk, 0).ip().len() as u64);
                        assert_eq!(rig.sum(|s| &s.martian_replies), n);
                        let dest = dest_of(family, &talk);
                        assert_eq!(rig.dest(dest, |s| &s.out_packets), n);
                        assert_eq!(rig.dest(dest, |s| &s.out_bytes), n * len);
                        assert_eq!(rig.drops(), []);
                    }
                }
            }
        }
    }
}

/// A dest that holds the VIP speaks as the VIP in its ICMP errors too.
#[test]
fn an_error_of_a_dest_comes_back_through_the_director_too() {
    for (workers, fixed) in [(1, [false; 2]), (4, [false; 2]), (4, [true; 2])] {
        for family in net::FAMILIES {
            for forward in DIRECT {
                let kind = (family, Proto::Udp, forward);
                for client in 0..4 {
                    let mut rig = rig(workers, fixed);
                    let talk = Talk::open(&mut rig, 0, kind, (client, 5000));
                    let (unreachable, quoted) =
                        (net::of(family, [3, 3], [1, 4]), talk.original(0).ip());
                    let error = |quoted: &[u8]| {
                        let (src, dst) = (talk.vip.ip(), talk.client.ip());
                        Packet::icmp(src, dst, unreachable, [0; 4], quoted)
                            .from_lan(net::dest_mac(0))
                    };
                    let out = rig.feed_at(workers - 1, LAN, &[&error(&quoted).bytes()]);
                    assert_eq!((out.only().port, out.seen().payload), (WAN, quoted.clone()));
                    let strange = Packet::udp(net::client(family, client, 5001), talk.vip).ip();
                    assert!(rig.feed(LAN, &error(&strange).bytes()).sent.is_empty());
                    assert_eq!(rig.drops(), [(DropReason::Martian, 1)]);
                }
            }
        }
    }
}

/// Without a conn they are what any packet with our own source is.
#[test]
fn without_a_conn_they_are_martians() {
    for (workers, fixed) in [(1, [false; 2]), (4, [false; 2]), (4, [true; 2])] {
        for forward in net::METHODS {
            let mut rig = rig(workers, fixed);
            let vip = net::service_addr(Family::V4, forward);
            let p = Packet::tcp(vip, net::client(Family::V4, 1, 5000), flag::SYN | flag::ACK);
            assert!(rig.feed(LAN, &p.from_lan(net::dest_mac(0)).bytes()).sent.is_empty());
            assert_eq!(rig.drops(), [(DropReason::Martian, 1)], "{forward:?}");
        }
    }
}

/// Under nat and full-NAT nobody but the director speaks as the VIP.
#[test]
fn a_conn_whose_replies_are_rewritten_has_no_martian_ones() {
    for forward in [Forward::Nat, Forward::FullNat] {
        let mut rig = rig(1, [false; 2]);
        let talk = Talk::tcp(&mut rig, Family::V4, forward);
        let forged = reply(&talk, flag::SYN | flag::ACK);
        assert!(rig.feed(LAN, &forged.bytes()).sent.is_empty());
        assert_eq!(rig.drops(), [(DropReason::Martian, 1)]);
    }
}

/// A loop of the links brings our own frames back: they must not go round for ever.
#[test]
fn a_frame_of_our_own_is_no_reply() {
    let mut rig = rig(1, [false; 2]);
    let talk = Talk::tcp(&mut rig, Family::V4, Forward::Dr);
    for (port, mac) in [(LAN, net::WAN_MAC), (WAN, net::LAN_MAC)] {
        let mut p = reply(&talk, flag::ACK);
        p.eth = (if port == LAN { net::LAN_MAC } else { net::WAN_MAC }, mac);
        assert!(rig.feed(port, &p.bytes()).sent.is_empty());
    }
    assert_eq!(rig.drops(), [(DropReason::Martian, 2)]);
}

/// As in the kernel: only the client's packets move the conn.
#[test]
fn a_martian_reply_changes_neither_state_nor_deadline() {
    for forward in DIRECT {
        let mut rig = rig(1, [false; 2]);
        let talk = Talk::tcp(&mut rig, Family::V4, forward);
        let before = rig.conn().1;
        rig.now = rig.now + Duration::from_secs(1);
        rig.feed(LAN, &reply(&talk, flag::RST | flag::ACK).bytes());
        let after = rig.conn().1;
        assert_eq!((before.state(), before.expires()), (after.state(), after.expires()));
    }
}

/// What the director says about a martian reply reaches the dest, which holds the VIP too.
fn told(out: &pointsman_tests::rig::Out, forward: Forward) -> Seen {
    assert_eq!(out.only().port, PortId(1));
    let seen = out.seen();
    if forward == Forward::Tunnel { see::see_ip(&seen.segment) } else { seen }
}

#[test]
fn a_martian_reply_that_is_too_big_or_too_old_is_told_to_the_dest() {
    for family in net::FAMILIES {
        for forward in DIRECT {
            let mut rig = Rig::with(|s| net::set_mtu(s, WAN, 1400));
            let talk = Talk::tcp(&mut rig, family, forward);
            let big = reply(&talk, flag::ACK).payload(&[1; 1400]);
            let out = rig.feed(LAN, &big.bytes());
            let seen = told(&out, forward);
            let kind = net::of(family, [3, 4], [2, 0]);
            assert_eq!(seen.icmp, Some((kind, [0, 0, 5, 0x78])));
            assert_eq!((seen.dst.ip(), seen.sum), (talk.vip.ip(), Sum::Right));
            let quoted = &big.ip()[..seen.payload.len()];
            assert_eq!(seen.payload, quoted);
            let late = rig.feed(LAN, &reply(&talk, flag::ACK).ttl(1).bytes());
            let kind = net::of(family, [11, 0], [3, 0]);
            assert_eq!(told(&late, forward).icmp.map(|i| i.0), Some(kind));
            assert_eq!(rig.drops(), [(DropReason::TtlExceeded, 1), (DropReason::TooBig, 1)]);
        }
    }
}

#[test]
fn fragments_of_martian_replies_follow_their_first() {
    for (workers, fixed) in [(1, [false; 2]), (4, [false; 2]), (4, [true; 2])] {
        for family in net::FAMILIES {
            for forward in DIRECT {
                for client in 0..4 {
                    let mut rig = rig(workers, fixed);
                    let kind = (family, Proto::Udp, forward);
                    let talk =
                        Talk::open(&mut rig, usize::from(client) % workers, kind, (client, 5000));
                    let mut pieces = reply(&talk, 0).payload(&[7; 600]).cut(77, &[160, 400]);
                    pieces.swap(0, 1);
                    let mut sent = Vec::new();
                    for piece in &pieces {
                        sent.extend(rig.feed(LAN, &piece.bytes()).sent);
                    }
                    assert!(sent.iter().all(|s| s.port == WAN));
                    assert_eq!((sent.len(), rig.drops()), (3, vec![]));
                    assert_eq!(rig.sum(|s| &s.martian_replies), 3);
                    for s in &sent {
                        let seen = see::see(&s.bytes);
                        assert_eq!(
                            (seen.src.ip(), seen.dst.ip()),
                            (talk.vip.ip(), talk.client.ip())
                        );
                        assert_eq!((seen.ttl, seen.number), (59, 17), "no tunnel");
                    }
                }
            }
        }
    }
}

#[test]
fn with_last_hop_martian_replies_leave_where_the_client_came_from() {
    for family in net::FAMILIES {
        for forward in DIRECT {
            let mut rig = Rig::with(|s| s.dests.iter_mut().for_each(|d| d.traits.last_hop = true));
            let talk = Talk::tcp(&mut rig, family, forward);
            let router = [2, 0, 0, 0, 7, 7];
            rig.feed(LAN, &talk.original(flag::ACK).from_lan(router).bytes());
            let out = rig.feed(LAN, &reply(&talk, flag::ACK).bytes());
            assert_eq!((out.only().port, out.seen().eth.0), (LAN, router));
        }
    }
}

/// Routing on top changes nothing about them.
#[test]
fn the_servers_gateway_carries_replies_and_all_else() {
    let mut rig = Rig::with(|s| s.routing = true);
    let talk = Talk::tcp(&mut rig, Family::V4, Forward::Dr);
    assert_eq!(rig.feed(LAN, &reply(&talk, flag::ACK).bytes()).only().port, WAN);
    let own = std::net::SocketAddr::new(net::dest_addr(Family::V4, 0), 3000);
    let other = Packet::tcp(own, net::client(Family::V4, 1, 443), flag::SYN);
    assert_eq!(rig.feed(LAN, &other.from_lan(net::dest_mac(0)).bytes()).only().port, WAN);
    assert_eq!((rig.sum(|s| &s.martian_replies), rig.sum(|s| &s.routed)), (1, 1));
}
