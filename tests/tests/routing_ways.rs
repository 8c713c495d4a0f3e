//! Which way packets leave where there are several: routes with a `from`, `last_hop`, and whose
//! address ICMP errors bear.

use pointsman_dataplane::neigh::HopState;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::OnDead;
use pointsman_dataplane::service::OnIdle;
use pointsman_dataplane::snapshot::Route;
use pointsman_dataplane::snapshot::Routes;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Prefix;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_tests::craft::Body;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::see::Sum;
use pointsman_tests::talk::Talk;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

const REWRITING: [Forward; 2] = [Forward::Nat, Forward::FullNat];
/// Another router on `WAN`, and one on `LAN`.
const SECOND_MAC: Mac = [2, 0, 0, 0, 0, 0xfd];
const THIRD_MAC: Mac = [2, 0, 0, 0, 1, 0xfd];

fn second(family: Family) -> IpAddr {
    net::of(family, net::ip("10.0.0.253"), net::ip("2001:db8::fd"))
}

fn host(addr: IpAddr) -> Prefix {
    Prefix::new(addr.into(), if addr.is_ipv4() { 32 } else { 128 })
}

/// Packets of this source leave by the second router on `WAN`.
fn with_uplink(s: &mut Snapshot, source: IpAddr) {
    let family = if source.is_ipv4() { Family::V4 } else { Family::V6 };
    let any = Prefix::new(net::of(family, Addr::v4(0), Addr::v6(0)), 0);
    let via = Some(second(family).into());
    let mut routes = net::routes();
    routes.push(Route { prefix: any, from: Some(host(source)), port: WAN, via });
    s.routes = Routes::new(routes);
}

fn rig(workers: usize, change: impl Fn(&mut Snapshot)) -> Rig {
    let mut rig = Rig::build(Options { workers, ..Options::default() }, |s, _| change(s));
    for family in net::FAMILIES {
        rig.set_neighbour(WAN, second(family), HopState::Reachable(SECOND_MAC));
    }
    rig
}

fn last_hop(s: &mut Snapshot) {
    s.dests.iter_mut().for_each(|d| d.traits.last_hop = true);
}

#[test]
fn replies_leave_by_the_uplink_of_their_vip() {
    for family in net::FAMILIES {
        for forward in REWRITING {
            for (source, mac) in
                [(net::vip(family), SECOND_MAC), (net::silent_vip(family), net::GATEWAY_MAC)]
            {
                let mut rig = rig(1, |s| with_uplink(s, source));
                let talk = Talk::tcp(&mut rig, family, forward);
                for _ in 0..2 {
                    let out = talk.answer(&mut rig, flag::SYN | flag::ACK);
                    assert_eq!((out.only().port, out.seen().eth.0), (WAN, mac));
                }
            }
        }
    }
}

#[test]
fn routed_packets_leave_by_the_uplink_of_their_source() {
    for family in net::FAMILIES {
        let one = SocketAddr::new(net::dest_addr(family, 0), 999);
        let mut rig = rig(1, |s| {
            s.routing = true;
            with_uplink(s, one.ip());
        });
        for (n, mac) in [(0, SECOND_MAC), (1, net::GATEWAY_MAC)] {
            let src = SocketAddr::new(net::dest_addr(family, n), 999);
            let p = Packet::tcp(src, net::client(family, 1, 443), flag::SYN);
            let out = rig.feed(LAN, &p.from_lan(net::dest_mac(n)).bytes());
            assert_eq!((out.only().port, out.seen().eth.0), (WAN, mac));
        }
    }
}

/// What the director says itself leaves by the route of the address that it says it as.
#[test]
fn answers_leave_by_the_uplink_of_their_own_source() {
    for family in net::FAMILIES {
        let closed = SocketAddr::new(net::vip(family), 9);
        let client = net::client(family, 1, 5000);
        for (source, mac) in [(closed.ip(), SECOND_MAC), (net::wan_addr(family), net::GATEWAY_MAC)]
        {
            let mut rig = rig(1, |s| with_uplink(s, source));
            let reset = rig.feed(WAN, &Packet::tcp(client, closed, flag::SYN).bytes()).seen();
            assert_eq!((reset.src, reset.eth.0), (closed, mac));
            let echo = Body::Icmp { kind: [net::of(family, 8, 128), 0], rest: [0; 4] };
            let reply = rig.feed(WAN, &Packet::new(client, closed, echo).bytes()).seen();
            assert_eq!(reply.eth.0, mac);
            // An error comes from the port's own address.
            let late =
                Packet::tcp(client, net::service_addr(family, Forward::Nat), flag::SYN).ttl(1);
            let error = rig.feed(WAN, &late.bytes()).seen();
            let other = if mac == SECOND_MAC { net::GATEWAY_MAC } else { SECOND_MAC };
            assert_eq!((error.src.ip(), error.eth.0), (net::wan_addr(family), other));
        }
    }
}

#[test]
fn errors_and_fragments_of_a_conn_leave_by_the_uplink_of_its_vip() {
    for family in net::FAMILIES {
        let mut rig = rig(1, |s| with_uplink(s, net::vip(family)));
        let kind = (family, Proto::Udp, Forward::FullNat);
        let talk = Talk::open(&mut rig, 0, kind, (1, 5000));
        let unreachable = net::of(family, [3, 3], [1, 4]);
        let (src, dst) = (talk.at_dest.dst.ip(), talk.at_dest.src.ip());
        let error = Packet::icmp(src, dst, unreachable, [0; 4], &talk.at_dest.ip);
        let seen = rig.feed(LAN, &error.from_lan(talk.at_dest.eth.0).bytes()).seen();
        assert_eq!(seen.eth.0, SECOND_MAC);
        for piece in talk.reply(0).payload(&[7; 600]).cut(77, &[160, 400]) {
            assert_eq!(rig.feed(LAN, &piece.bytes()).seen().eth.0, SECOND_MAC);
        }
    }
}

/// Client packets by the third router, on `LAN`: nothing that the routes know of.
fn by_third(p: Packet) -> Packet {
    p.from_lan(THIRD_MAC)
}

#[test]
fn with_last_hop_replies_leave_where_the_client_came_from() {
    for workers in [1, 4] {
        for family in net::FAMILIES {
            for forward in REWRITING {
                for proto in net::PROTOS {
                    let mut rig = rig(workers, last_hop);
                    let vip = net::service_addr(family, forward);
                    let client = net::client(family, 1, 5000);
                    let talk = Talk {
                        client,
                        vip,
                        proto,
                        forward,
                        at_dest: see::see(&Packet::udp(client, vip).bytes()),
                    };
                    let first = rig.feed(LAN, &by_third(talk.original(flag::SYN)).bytes());
                    let talk = Talk { at_dest: first.seen(), ..talk };
                    for at in 0..workers {
                        let reply = talk.reply(flag::SYN | flag::ACK).bytes();
                        let out = rig.feed_at(at, LAN, &[&reply]);
                        assert_eq!((out.only().port, out.seen().eth.0), (LAN, THIRD_MAC));
                        assert_eq!((out.seen().src, out.seen().dst), (vip, client));
                    }
                    // The client's router fails over: its packets come by another one.
                    for at in 0..workers {
                        let ack = talk.original(flag::ACK).bytes();
                        assert_eq!(rig.feed_at(at, WAN, &[&ack]).only().port, LAN);
                    }
                    let out = talk.answer(&mut rig, flag::ACK);
                    assert_eq!((out.only().port, out.seen().eth.0), (WAN, net::GATEWAY_MAC));
                    assert_eq!(rig.drops(), []);
                }
            }
        }
    }
}

/// No route leads to the client at all.
#[test]
fn last_hop_needs_no_route() {
    for family in net::FAMILIES {
        let mut rig = rig(1, |s| {
            last_hop(s);
            s.routes = Routes::new(net::routes().into_iter().filter(|r| r.via.is_none()).collect());
        });
        let talk = Talk::tcp(&mut rig, family, Forward::FullNat);
        assert_eq!(talk.answer(&mut rig, flag::SYN | flag::ACK).seen().eth.0, net::GATEWAY_MAC);
        assert_eq!(talk.say(&mut rig, flag::ACK).only().port, LAN);
        let late = rig.feed(WAN, &talk.original(flag::ACK).ttl(1).bytes()).seen();
        assert_eq!(late.icmp.map(|i| i.0), Some(net::of(family, [11, 0], [3, 0])));
        assert_eq!(late.eth.0, net::GATEWAY_MAC);
        // A reset about no conn too.
        let stray = Packet::tcp(net::client(family, 1, 5001), talk.vip, flag::ACK);
        let reset = rig.feed(WAN, &stray.bytes()).seen();
        assert_eq!((reset.eth.0, reset.src), (net::GATEWAY_MAC, talk.vip));
    }
}

#[test]
fn with_last_hop_errors_and_fragments_go_the_same_way_and_fit_its_mtu() {
    for family in net::FAMILIES {
        let mut rig = rig(1, |s| {
            last_hop(s);
            net::set_mtu(s, WAN, 1400);
        });
        let kind = (family, Proto::Udp, Forward::FullNat);
        let talk = Talk::open(&mut rig, 0, kind, (1, 5000));
        rig.feed(LAN, &by_third(talk.original(0)).bytes());
        let unreachable = net::of(family, [3, 3], [1, 4]);
        let (src, dst) = (talk.at_dest.dst.ip(), talk.at_dest.src.ip());
        let error = Packet::icmp(src, dst, unreachable, [0; 4], &talk.at_dest.ip);
        let seen = rig.feed(LAN, &error.from_lan(talk.at_dest.eth.0).bytes()).seen();
        assert_eq!((seen.eth.0, seen.eth.1), (THIRD_MAC, net::LAN_MAC));
        for piece in talk.reply(0).payload(&[7; 600]).cut(77, &[160, 400]) {
            assert_eq!(rig.feed(LAN, &piece.bytes()).seen().eth.0, THIRD_MAC);
        }
        let big = talk.reply(0).payload(&[7; 1440]).bytes();
        assert_eq!(rig.feed(LAN, &big).seen().payload.len(), 1440);
        // Later fragments of the client pass too.
        for piece in talk.original(0).payload(&[7; 600]).cut(78, &[160, 400]) {
            assert_eq!(rig.feed(WAN, &piece.bytes()).seen().dst.ip(), src);
        }
        let seen = rig.feed(LAN, &big).seen();
        assert_eq!(seen.icmp.map(|i| i.0), Some(net::of(family, [3, 4], [2, 0])));
    }
}

/// A second choice moves the conn to another dest; the client is where he was.
#[test]
fn a_conn_that_moves_to_another_dest_keeps_its_last_hop() {
    let mut rig = rig(1, |s| {
        s.dests.iter_mut().for_each(|d| {
            d.traits.retries = 1;
            d.traits.last_hop = true;
        });
    });
    let family = Family::V4;
    let talk = Talk::tcp(&mut rig, family, Forward::FullNat);
    assert!(talk.answer(&mut rig, flag::RST | flag::ACK).sent.is_empty());
    let again = rig.feed(LAN, &by_third(talk.original(flag::SYN)).bytes()).seen();
    assert_ne!(again.dst, talk.at_dest.dst);
    let talk = Talk { at_dest: again, ..talk };
    let out = talk.answer(&mut rig, flag::SYN | flag::ACK);
    assert_eq!((out.only().port, out.seen().eth.0), (LAN, THIRD_MAC));
}

/// What the director itself says to a conn's client.
#[test]
fn with_last_hop_resets_of_idle_conns_and_errors_out_of_tunnels_go_the_same_way() {
    for family in net::FAMILIES {
        let mut rig = rig(1, |s| {
            last_hop(s);
            s.dests.iter_mut().for_each(|d| d.traits.on_idle = OnIdle::Reset);
        });
        let talk = Talk::tcp(&mut rig, family, Forward::FullNat);
        talk.answer(&mut rig, flag::SYN | flag::ACK);
        rig.feed(LAN, &by_third(talk.original(flag::ACK)).bytes());
        let sent = rig.pass(Duration::from_secs(1000)).sent;
        let seen = sent.iter().map(|s| see::see(&s.bytes)).find(|s| s.dst == talk.client);
        let seen = seen.expect("the client is told");
        assert_eq!((seen.tcp.map(|t| t.0 & flag::RST), seen.eth.0), (Some(flag::RST), THIRD_MAC));

        let talk = Talk::tcp(&mut rig, family, Forward::Tunnel);
        let outer = rig.feed(LAN, &by_third(talk.original(flag::ACK)).bytes()).seen();
        let unreachable = net::of(family, [3, 1], [1, 3]);
        let hop = net::of(family, net::ip("10.1.0.77"), net::ip("2001:db8:1::77"));
        let error = Packet::icmp(hop, outer.src.ip(), unreachable, [0; 4], &outer.ip);
        let told = rig.feed(LAN, &error.from_lan(net::dest_mac(2)).bytes()).seen();
        assert_eq!((told.dst.ip(), told.eth.0), (talk.client.ip(), THIRD_MAC));
    }
}

/// Its service is gone, but the conn knows where its client is.
#[test]
fn a_conns_last_hop_outlives_its_service() {
    for family in net::FAMILIES {
        let mut rig = rig(1, |s| {
            last_hop(s);
            s.dests.iter_mut().for_each(|d| d.traits.on_dead = OnDead::Reset);
        });
        let talk = Talk::tcp(&mut rig, family, Forward::FullNat);
        talk.answer(&mut rig, flag::SYN | flag::ACK);
        rig.feed(LAN, &by_third(talk.original(flag::ACK)).bytes());
        rig.reload(|s| {
            let gone = s.services.remove(net::service_index(family, Proto::Tcp, Forward::FullNat));
            gone.dests.iter().for_each(|d| s.dests[d.id.0 as usize].removed = true);
        });
        let told = rig.pass(Duration::from_secs(1)).sent;
        let told = told.iter().map(|s| see::see(&s.bytes)).find(|s| s.dst == talk.client);
        assert_eq!(told.expect("the client is told").eth.0, THIRD_MAC);
        // It has missed that, and is told again.
        let again = rig.feed(LAN, &by_third(talk.original(flag::ACK)).bytes()).seen();
        assert_eq!((again.dst, again.tcp.map(|t| t.0)), (talk.client, Some(flag::RST)));
        assert_eq!(again.eth.0, THIRD_MAC);
    }
}

/// A hop behind the director, and what it says about a packet of the director.
fn hop_says(family: Family, talk: &Talk) -> (IpAddr, Packet) {
    let hop = net::of(family, net::ip("10.1.0.77"), net::ip("2001:db8:1::77"));
    let kind = net::of(family, [11, 0], [3, 0]);
    let to = talk.at_dest.src.ip();
    (hop, Packet::icmp(hop, to, kind, [0; 4], &talk.at_dest.ip).from_lan(net::dest_mac(2)))
}

#[test]
fn hops_behind_the_director_show_as_the_vip_or_with_icmp_source_router_as_themselves() {
    for family in net::FAMILIES {
        for forward in REWRITING {
            for shows in [false, true] {
                let mut rig = rig(1, |s| {
                    s.dests.iter_mut().for_each(|d| d.traits.shows_routers = shows);
                });
                let talk = Talk::tcp(&mut rig, family, forward);
                let (hop, error) = hop_says(family, &talk);
                let seen = rig.feed(LAN, &error.bytes()).seen();
                let source = if shows { hop } else { talk.vip.ip() };
                assert_eq!((seen.src.ip(), seen.dst.ip()), (source, talk.client.ip()));
                assert_eq!(seen.sum, Sum::Right);
                let quoted = see::see_ip(&seen.payload);
                assert_eq!(
                    (quoted.src, quoted.dst, quoted.sum),
                    (talk.client, talk.vip, Sum::Right)
                );
                // The dest is no hop.
                let refusal = net::of(family, [3, 3], [1, 4]);
                let (dest, to) = (talk.at_dest.dst.ip(), talk.at_dest.src.ip());
                let error = Packet::icmp(dest, to, refusal, [0; 4], &talk.at_dest.ip);
                let seen = rig.feed(LAN, &error.from_lan(net::dest_mac(0)).bytes()).seen();
                assert_eq!(seen.src.ip(), talk.vip.ip());
            }
        }
    }
}

/// Traceroute sends SYNs that end on the way: the hop's answer is not the dest's refusal.
#[test]
fn time_exceeded_on_the_way_is_no_refusal_of_the_dest() {
    for family in net::FAMILIES {
        let mut rig = rig(1, |s| s.dests.iter_mut().for_each(|d| d.traits.retries = 1));
        let talk = Talk::tcp(&mut rig, family, Forward::FullNat);
        let (_, error) = hop_says(family, &talk);
        assert_eq!(rig.feed(LAN, &error.bytes()).seen().dst.ip(), talk.client.ip());
        assert_eq!(rig.dropped(DropReason::SecondChoice), 0);
    }
}
