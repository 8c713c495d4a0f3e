//! Defence against floods, and ICMP errors that open conns: what IPVS does when it is told so.

use pointsman_dataplane::conn::State;
use pointsman_dataplane::sched::Flags;
use pointsman_dataplane::sched::Hashed;
use pointsman_dataplane::sched::Sched;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::Persistence;
use pointsman_dataplane::service::Scope;
use pointsman_dataplane::snapshot::Defend;
use pointsman_dataplane::snapshot::Snapshot;
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
use pointsman_tests::sctp;
use pointsman_tests::snat;
use std::net::SocketAddr;
use std::time::Duration;

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn send(rig: &mut Rig, proto: Proto, forward: Forward, cport: u16, flags: u8) {
    let (client, vip) = (net::client(V4, 1, cport), net::service_addr(V4, forward));
    let packet = match proto {
        Proto::Tcp => Packet::tcp(client, vip, flags),
        _ => Packet::udp(client, vip),
    };
    rig.feed(WAN, &packet.bytes());
}

#[test]
fn drop_packet_drops_one_new_conn_in_so_many() {
    for proto in net::PROTOS {
        let mut rig = Rig::with(|s| {
            (s.ipvs.drop_packet, s.ipvs.am_droprate) = (Defend::Always, 4);
        });
        rig.pass(secs(1));
        for cport in 1000..1040 {
            send(&mut rig, proto, Forward::Dr, cport, flag::SYN);
        }
        assert_eq!(rig.drops(), [(DropReason::Defended, 10)]);
        assert_eq!(rig.conns().len(), 30);
        // Known conns pass.
        send(&mut rig, proto, Forward::Dr, 1001, flag::ACK);
        assert_eq!(rig.drops(), [(DropReason::Defended, 10)]);
        rig.reload(|s| s.ipvs.drop_packet = Defend::Off);
        rig.pass(secs(1));
        for cport in 2000..2040 {
            send(&mut rig, proto, Forward::Dr, cport, flag::SYN);
        }
        assert_eq!(rig.drops(), [(DropReason::Defended, 10)]);
    }
}

#[test]
fn automatic_defence_is_on_while_the_conn_table_is_nearly_full() {
    let mut rig = Rig::build(Options { conns: 64, ..Options::default() }, |s, _| {
        s.ipvs.drop_packet = Defend::Short;
        s.dests.iter_mut().for_each(|d| d.traits.udp_timeout = 20_000);
    });
    // Less than a 16th of 64 is free from 61 on.
    for cport in 1000..1060 {
        send(&mut rig, Proto::Udp, Forward::Dr, cport, 0);
    }
    rig.pass(secs(1));
    send(&mut rig, Proto::Udp, Forward::Dr, 2000, 0);
    assert!(rig.drops().is_empty(), "4 of 64 were free");
    rig.pass(secs(1));
    // 4 / (4 - 3): one in four.
    for cport in 2001..=2004 {
        send(&mut rig, Proto::Udp, Forward::Dr, cport, 0);
    }
    assert_eq!(rig.drops(), [(DropReason::Defended, 1)]);
    rig.pass(secs(25));
    for cport in 3000..3010 {
        send(&mut rig, Proto::Udp, Forward::Dr, cport, 0);
    }
    assert_eq!(rig.drops(), [(DropReason::Defended, 1)]);
}

/// Clients' SYNs to a persistent service from the `n`th on.
fn flood(rig: &mut Rig, clients: std::ops::Range<u8>) {
    for n in clients {
        let vip = net::service_addr(V4, Forward::Dr);
        rig.feed(WAN, &Packet::tcp(net::client(V4, n, 1000), vip, flag::SYN).bytes());
    }
}

fn is_persistent(s: &mut Snapshot) {
    let service = &mut s.services[net::service_index(V4, Proto::Tcp, Forward::Dr)];
    service.terms.persistence = Some(Persistence { timeout: 3600, prefix: 32 });
}

#[test]
fn automatic_drop_packet_spares_the_last_templates() {
    let mut rig = Rig::with(|s| {
        is_persistent(s);
        s.ipvs.drop_packet = Defend::Short;
    });
    flood(&mut rig, 0..60);
    rig.pass(secs(1));
    flood(&mut rig, 60..61);
    assert!(rig.drops().is_empty(), "4 of 64 were free");
    rig.pass(secs(1));
    // One in four, of those that need a template.
    for cport in 2000..2010 {
        send(&mut rig, Proto::Tcp, Forward::Dr, cport, flag::SYN);
        send(&mut rig, Proto::Udp, Forward::Dr, cport, flag::SYN);
    }
    assert!(rig.drops().is_empty());
    flood(&mut rig, 61..65);
    assert_eq!(rig.drops(), [(DropReason::Defended, 1)]);
    rig.pass(secs(1));
    flood(&mut rig, 65..75);
    assert_eq!(rig.drops(), [(DropReason::Defended, 11)], "none is free");
}

#[test]
fn automatic_defence_sees_a_full_template_table() {
    let mut rig = Rig::with(|s| {
        is_persistent(s);
        (s.ipvs.drop_entry, s.ipvs.secure_tcp) = (Defend::Short, Defend::Short);
    });
    flood(&mut rig, 0..60);
    rig.pass(secs(40));
    assert_eq!((rig.templates().len(), rig.sum(|s| &s.defended)), (60, 0));
    flood(&mut rig, 60..64);
    rig.pass(secs(1));
    send(&mut rig, Proto::Tcp, Forward::Nat, 1000, flag::SYN);
    send(&mut rig, Proto::Tcp, Forward::Nat, 1000, flag::ACK);
    let conns = rig.conns();
    let conn = conns.iter().find(|(_, _, e)| e.vport == 80).unwrap();
    assert_ne!(conn.1.state(), State::Established, "by the tables for floods");
    rig.pass(secs(10));
    assert!(rig.sum(|s| &s.defended) > 0 && rig.templates().len() <= 60);
}

/// What servers open is nobody's flood, and there is no kernel's way for it.
#[test]
fn conns_of_rules_for_servers_are_not_defended_against() {
    for workers in [1, 3] {
        for family in net::FAMILIES {
            let mut rig = snat::rig(workers, |s| {
                s.ipvs.drop_entry = Defend::Always;
                s.ipvs.secure_tcp = Defend::Always;
                (s.ipvs.drop_packet, s.ipvs.am_droprate) = (Defend::Always, 1);
            });
            rig.pass(secs(1));
            let host = net::client(family, 1, 443);
            for n in 0..20 {
                let server = snat::server(family, 0, 5000 + n);
                let syn = snat::packet(Proto::Tcp, server, host, flag::SYN).bytes();
                let seen = rig.feed(LAN, &syn).seen();
                if n < 10 {
                    continue;
                }
                let answer = snat::answer(Proto::Tcp, host, seen.src, flag::SYN | flag::ACK);
                rig.feed(WAN, &answer.bytes());
                let ack = snat::packet(Proto::Tcp, server, host, flag::ACK).bytes();
                rig.feed(LAN, &ack);
            }
            let established = |rig: &Rig| {
                rig.conns().iter().filter(|c| c.1.state() == State::Established).count()
            };
            assert_eq!((established(&rig), rig.conns().len()), (10, 20));
            // Half-open ones last 60 s, and the others are idle after them.
            rig.pass(secs(50));
            assert_eq!(rig.conns().len(), 20);
            rig.pass(secs(100));
            assert_eq!((established(&rig), rig.sum(|s| &s.defended)), (10, 0));
        }
    }
}

#[test]
fn drop_entry_ends_half_open_conns_and_spares_others() {
    for forward in net::METHODS {
        let mut rig = Rig::with(|s| s.ipvs.drop_entry = Defend::Always);
        for cport in 1000..1040 {
            send(&mut rig, Proto::Tcp, forward, cport, flag::SYN);
            if cport % 2 == 0 {
                send(&mut rig, Proto::Tcp, forward, cport, flag::ACK);
            }
        }
        // A 32nd of the table a second.
        rig.pass(secs(33));
        let conns = rig.conns();
        assert!(conns.iter().all(|(_, c, _)| c.state() == State::Established));
        assert_eq!((conns.len(), rig.sum(|s| &s.defended)), (20, 20), "{forward:?}");
    }
}

/// `todrop_entry`: of idle conns with n packets, 1 to 8, one in n.
#[test]
fn drop_entry_ends_idle_conns_of_few_packets() {
    for proto in net::PROTOS {
        // The second segment establishes.
        let flags = |n| if n == 0 { flag::SYN } else { flag::ACK };
        let left = |packets: u16, idle: u64| {
            let mut rig = Rig::with(|s| {
                s.ipvs.drop_entry = Defend::Always;
                s.dests.iter_mut().for_each(|d| d.traits.udp_timeout = 900_000);
            });
            for cport in 1000..1032 {
                for n in 0..packets {
                    send(&mut rig, proto, Forward::Dr, cport, flags(n));
                }
            }
            rig.pass(secs(idle));
            rig.conns().len()
        };
        if proto == Proto::Udp {
            assert_eq!(left(1, 59), 32, "not idle");
            assert_eq!(left(1, 93), 0);
        }
        assert_eq!(left(4, 59), 32, "not idle");
        assert_eq!(left(4, 93), 24);
        assert_eq!(left(8, 93), 28);
        assert_eq!(left(9, 93), 32);
    }
}

#[test]
fn drop_entry_ends_templates_that_nobody_was_established_by() {
    let mut rig = Rig::build(Options { workers: 2, ..Options::default() }, |s, _| {
        s.ipvs.drop_entry = Defend::Always;
        let service = &mut s.services[net::service_index(V4, Proto::Tcp, Forward::Dr)];
        service.terms.persistence = Some(Persistence { timeout: 3600, prefix: 32 });
    });
    let vip = net::service_addr(V4, Forward::Dr);
    for n in 0..20 {
        let client = net::client(V4, n, 1000);
        rig.feed(WAN, &Packet::tcp(client, vip, flag::SYN).bytes());
        if n < 5 {
            rig.feed(WAN, &Packet::tcp(client, vip, flag::ACK).bytes());
            rig.feed(WAN, &Packet::tcp(client, vip, flag::RST).bytes());
        }
    }
    rig.pass(secs(70));
    let templates = rig.templates();
    assert!(templates.iter().all(|(_, t)| t.assured && t.conns == 0));
    assert_eq!(templates.len(), 5);
}

#[test]
fn secure_tcp_counts_conns_as_established_later() {
    let mut rig = Rig::with(|s| s.ipvs.secure_tcp = Defend::Always);
    rig.pass(secs(1));
    let (client, vip) = (net::client(V4, 1, 1000), net::service_addr(V4, Forward::Nat));
    let seen = rig.feed(WAN, &Packet::tcp(client, vip, flag::SYN).bytes()).seen();
    let back = |flags| Packet::tcp(seen.dst, seen.src, flags).from_lan(seen.eth.0).bytes();
    let state = |rig: &Rig| rig.conn().1.state();
    rig.feed(LAN, &back(flag::SYN | flag::ACK));
    assert_eq!(state(&rig), State::SynAck);
    rig.feed(WAN, &Packet::tcp(client, vip, flag::ACK).bytes());
    assert_eq!(state(&rig), State::SynAck);
    rig.feed(LAN, &back(flag::ACK));
    assert_eq!(state(&rig), State::Established);
}

/// Where several directors stand behind one router, the answer may have passed another one.
#[test]
fn with_schedule_icmp_an_error_goes_where_its_clients_packets_go() {
    for workers in [1, 3] {
        for family in net::FAMILIES {
            for proto in net::PROTOS {
                for forward in [Forward::Nat, Forward::Dr, Forward::Tunnel] {
                    let by_source = |s: &mut Snapshot| {
                        let at = net::service_index(family, proto, forward);
                        let flags = Flags { port: true, fallback: false };
                        let dests = net::candidates(family, proto, forward);
                        s.services[at].sched = Sched::Hashed(Hashed::source(&dests, flags));
                        s.ipvs.schedule_icmp = true;
                    };
                    let options = Options { workers, ..Options::default() };
                    let mut rig = Rig::build(options, |s, _| by_source(s));
                    for n in 0..8 {
                        let client = net::client(family, n, 1000 + u16::from(n));
                        let vip = net::service_addr(family, forward);
                        let answer = match proto {
                            Proto::Tcp => Packet::tcp(vip, client, flag::ACK),
                            _ => Packet::udp(vip, client),
                        };
                        let kind = net::of(family, [3, 1], [1, 3]);
                        let error = Packet::icmp(client.ip(), vip.ip(), kind, [0; 4], &answer.ip());
                        let out = rig.feed_at(usize::from(n) % workers, WAN, &[&error.bytes()]);
                        assert_eq!(out.only().port, LAN, "{:?}", rig.drops());
                        let mac = out.seen().eth.0;
                        // The same dest as for the client's own packet, later.
                        rig.pass(secs(4));
                        assert!(rig.conns().is_empty());
                        let own = match proto {
                            Proto::Tcp => Packet::tcp(client, vip, flag::SYN),
                            _ => Packet::udp(client, vip),
                        };
                        assert_eq!(rig.feed(WAN, &own.bytes()).seen().eth.0, mac);
                        rig.pass(secs(400));
                    }
                    assert!(rig.drops().is_empty());
                    // Without it, it is nobody's.
                    rig.reload(|s| s.ipvs.schedule_icmp = false);
                    let (client, vip) =
                        (net::client(family, 1, 1), net::service_addr(family, forward));
                    let quoted = Packet::udp(vip, client).ip();
                    let kind = net::of(family, [3, 1], [1, 3]);
                    let error = Packet::icmp(client.ip(), vip.ip(), kind, [0; 4], &quoted);
                    assert!(rig.feed(WAN, &error.bytes()).sent.is_empty());
                    assert_eq!(rig.drops(), [(DropReason::IcmpUnknown, 1)]);
                }
            }
        }
    }
}

#[test]
fn with_nat_icmp_send_a_dest_under_nat_hears_that_nobody_waits_for_its_answer() {
    for workers in [1, 3] {
        for family in net::FAMILIES {
            for proto in net::PROTOS {
                let options = Options { workers, ..Options::default() };
                let mut rig = Rig::build(options, |s, _| s.ipvs.nat_icmp_send = true);
                let answer = |port, flags| {
                    let dest = SocketAddr::new(net::dest_addr(family, 0), port);
                    let client = net::client(family, 1, 1000);
                    let packet = match proto {
                        Proto::Tcp => Packet::tcp(dest, client, flags),
                        _ => Packet::udp(dest, client),
                    };
                    packet.from_lan(net::dest_mac(0)).bytes()
                };
                let nat = net::dest_port(Forward::Nat);
                let frame = answer(nat, flag::ACK);
                let out = rig.feed(LAN, &frame);
                assert_eq!(
                    (out.only().port, out.seen().dst.ip()),
                    (LAN, net::dest_addr(family, 0))
                );
                assert_eq!(rig.made(Made::Unreachable), 1);
                // Not by another method, and never about a reset.
                let full_nat = answer(net::dest_port(Forward::FullNat), flag::ACK);
                assert!(rig.feed(LAN, &full_nat).sent.is_empty());
                let reset = answer(nat, flag::RST);
                assert_eq!(rig.feed(LAN, &reset).sent.is_empty(), proto == Proto::Tcp);
                let made = rig.made(Made::Unreachable);
                rig.reload(|s| s.ipvs.nat_icmp_send = false);
                assert!(rig.feed(LAN, &frame).sent.is_empty());
                assert_eq!(rig.made(Made::Unreachable), made);
                assert!(rig.drops().iter().all(|(reason, _)| *reason == DropReason::NotOurs));
            }
        }
    }
}

/// `ip_vs_has_real_service` asks for the dest's own port, of its own protocol.
#[test]
fn with_nat_icmp_send_only_a_dests_own_port_hears_it() {
    for family in net::FAMILIES {
        let mut rig = Rig::with(|s| {
            s.ipvs.nat_icmp_send = true;
            let every = net::service_index(family, Proto::Tcp, Forward::Nat);
            s.services[every].port = 0;
            for n in 0..net::DESTS {
                s.dests[net::dest_id(family, Proto::Tcp, Forward::Nat, n).0 as usize].port = 0;
            }
            let udp = net::service_index(family, Proto::Udp, Forward::Nat);
            assert_eq!(s.services[udp].dests.len(), net::DESTS);
        });
        let client = net::client(family, 1, 1000);
        let mut hears = |proto, port| {
            let dest = SocketAddr::new(net::dest_addr(family, 0), port);
            let packet = match proto {
                Proto::Tcp => Packet::tcp(dest, client, flag::ACK),
                _ => Packet::udp(dest, client),
            };
            !rig.feed(LAN, &packet.from_lan(net::dest_mac(0)).bytes()).sent.is_empty()
        };
        let port = net::dest_port(Forward::Nat);
        assert!(hears(Proto::Udp, port));
        // What it sends from any other port it sends for itself.
        assert!(![port, 22, 40_000].into_iter().any(|port| hears(Proto::Tcp, port)));
        assert!(!hears(Proto::Udp, 40_000));
    }
}

/// Marks take every protocol, and so do the dests that have a port of theirs.
#[test]
fn with_nat_icmp_send_a_marks_dest_hears_of_all_protocols() {
    let mut rig = Rig::with(|s| {
        s.ipvs.nat_icmp_send = true;
        let at = net::service_index(V4, Proto::Tcp, Forward::Nat);
        s.services.retain(|s| s.id.0 as usize == at);
        s.services[0].scope = Scope::Mark(7);
    });
    let dest = SocketAddr::new(net::dest_addr(V4, 0), net::dest_port(Forward::Nat));
    let client = net::client(V4, 1, 1000);
    let data = sctp::packet(dest, client, &sctp::chunk(sctp::chunk::DATA, &[]));
    for packet in [Packet::tcp(dest, client, flag::ACK), Packet::udp(dest, client), data] {
        let frame = packet.from_lan(net::dest_mac(0)).bytes();
        assert_eq!(rig.feed(LAN, &frame).only().port, LAN);
    }
}

/// What opens no conn by itself opens none by an error about it.
#[test]
fn with_schedule_icmp_errors_open_only_what_packets_would() {
    for family in net::FAMILIES {
        for proto in net::PROTOS {
            for forward in [Forward::Nat, Forward::Dr, Forward::Tunnel] {
                let mut rig = Rig::with(|s| s.ipvs.schedule_icmp = true);
                let vip = net::service_addr(family, forward);
                let drops = |rig: &mut Rig, client: SocketAddr| {
                    let answer = match proto {
                        Proto::Tcp => Packet::tcp(vip, client, flag::ACK),
                        _ => Packet::udp(vip, client),
                    };
                    let kind = net::of(family, [3, 1], [1, 3]);
                    let from = net::client(family, 77, 0).ip();
                    let error = Packet::icmp(from, vip.ip(), kind, [0; 4], &answer.ip());
                    let out = rig.feed(WAN, &error.bytes());
                    let new: Vec<_> = rig.drops();
                    assert_eq!(out.sent.is_empty(), !new.is_empty(), "{new:?}");
                    new
                };
                let own = SocketAddr::new(net::wan_addr(family), 1000);
                assert_eq!(drops(&mut rig, own), [(DropReason::Martian, 1)]);
                let ftp = net::client(family, 1, 20);
                let both = [(DropReason::Martian, 1), (DropReason::IcmpUnknown, 1)];
                assert_eq!(drops(&mut rig, ftp), both);
                assert!(rig.conns().is_empty());
                let mut rig = Rig::with(|s| {
                    s.ipvs.schedule_icmp = true;
                    (s.ipvs.drop_packet, s.ipvs.am_droprate) = (Defend::Always, 1);
                });
                rig.pass(secs(1));
                let client = net::client(family, 1, 1000);
                assert_eq!(drops(&mut rig, client), [(DropReason::Defended, 1)]);
                assert!(rig.conns().is_empty());
            }
        }
    }
}
