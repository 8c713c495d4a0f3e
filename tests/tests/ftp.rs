//! FTP's data conns, passive and active, by nat and full-NAT.

use pointsman_dataplane::conn::State;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::service::ClientAddress;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::OnDead;
use pointsman_dataplane::service::Persistence;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_tests::craft::Body;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::ftp::Control;
use pointsman_tests::ftp::add_service;
use pointsman_tests::ftp::only;
use pointsman_tests::ftp::passive_answer;
use pointsman_tests::ftp::port_command;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::see::Sum;
use std::net::SocketAddr;
use std::time::Duration;

const BOTH: [Forward; 2] = [Forward::Nat, Forward::FullNat];
/// Ports whose commas are longest and shortest.
const PORTS: [u16; 4] = [1025, 2570, 51_201, 65_535];

/// Every family, method and form, with one worker and four.
fn every(run: impl Fn(Control, Family, bool)) {
    for family in net::FAMILIES {
        for forward in BOTH {
            for workers in [1, 4] {
                for extended in [false, true] {
                    // IPv6 has the extended form alone.
                    if family == V4 || extended {
                        run(Control::open(family, forward, workers), family, extended);
                    }
                }
            }
        }
    }
}

fn ask(extended: bool) -> &'static str {
    if extended { "EPSV\r\n" } else { "PASV\r\n" }
}

/// The client asks, the dest answers with `port`.
fn goes_passive(t: &mut Control, extended: bool, port: u16) -> String {
    assert_eq!(t.says(ask(extended)), ask(extended));
    let answer = passive_answer(extended, t.dest.ip(), port);
    t.answers(&answer)
}

#[test]
fn passive_data_conns_go_to_the_vip_and_on_to_the_dest_of_the_control_conn() {
    every(|mut t, family, extended| {
        for (n, port) in PORTS.into_iter().enumerate() {
            let heard = goes_passive(&mut t, extended, port);
            assert_eq!(heard, passive_answer(extended, net::vip(family), port));
            let client = SocketAddr::new(t.client.ip(), 41_000 + n as u16);
            let vip = SocketAddr::new(t.vip.ip(), port);
            let (from, to) = t.transfers((client, vip), false);
            assert_eq!((to, from.ip()), (SocketAddr::new(t.dest.ip(), port), t.local.ip()));
            assert_eq!(t.says("RETR file\r\n"), "RETR file\r\n");
            assert_eq!(t.answers("226 Transfer complete.\r\n"), "226 Transfer complete.\r\n");
        }
        let data = t.data_conns();
        assert_eq!(data.len(), PORTS.len());
        let control = t.rig.conns().into_iter().find(|(_, _, ends)| ends.vport == 21).unwrap();
        assert!(data.iter().all(|(conn, _)| conn.dest() == control.1.dest()));
        let dest = control.1.dest();
        let all = 1 + PORTS.len() as u64;
        let counted = [t.rig.dest(dest, |s| &s.active), t.rig.dest(dest, |s| &s.conns)];
        assert_eq!((counted, t.rig.sum(|s| &s.opened)), ([all; 2], all));
        assert_eq!(t.rig.drops(), []);
    });
}

#[test]
fn active_data_conns_go_to_what_the_dest_is_told_and_on_to_the_client() {
    every(|mut t, family, extended| {
        for port in PORTS {
            let client = SocketAddr::new(t.client.ip(), port);
            let got = t.says(&port_command(family, extended, client.ip(), port));
            let awaited = t.data_conns().into_iter().find(|(conn, _)| conn.is_awaited()).unwrap();
            let told = SocketAddr::new(awaited.1.laddr.into(), awaited.1.lport);
            assert_eq!(got, port_command(family, extended, told.ip(), told.port()));
            match t.forward {
                Forward::Nat => assert_eq!(told, client),
                _ => assert_eq!(told.ip(), t.local.ip()),
            }
            t.answers("200 PORT command successful.\r\n");
            let from = SocketAddr::new(t.dest.ip(), 20);
            let seen = t.transfers((from, told), true);
            assert_eq!(seen, (SocketAddr::new(t.vip.ip(), 20), client));
        }
        let data = t.data_conns();
        assert_eq!(data.len(), PORTS.len());
        assert!(data.iter().all(|(conn, _)| conn.state() == State::Established));
        assert_eq!(t.rig.drops(), []);
    });
}

/// Until the client is seen, what is awaited has no port at its end, and none may come from there: not in the lane of
/// conns that go on either.
#[test]
fn what_comes_from_port_0_is_no_data_conn() {
    every(|mut t, _, extended| {
        goes_passive(&mut t, extended, 51_201);
        let (awaited, _) = t.data_conns()[0];
        let vip = SocketAddr::new(t.vip.ip(), 51_201);
        let nobody = SocketAddr::new(t.client.ip(), 0);
        let of = |flags| Packet::new(nobody, vip, Body::Tcp { flags, seq: 1, ack: 1 }).bytes();
        let frames = [flag::SYN, flag::ACK, flag::RST, flag::SYN | flag::ACK].map(of);
        for worker in 0..t.rig.worker_count() {
            let frames: Vec<_> = frames.iter().map(Vec::as_slice).collect();
            assert!(t.rig.feed_at(worker, WAN, &frames).sent.is_empty());
        }
        let dropped = 4 * t.rig.worker_count() as u64;
        assert_eq!(t.rig.drops(), [(DropReason::TransportHeader, dropped)]);
        let (conn, _) = t.data_conns()[0];
        assert_eq!((conn.is_awaited(), conn.expires()), (true, awaited.expires()));
        t.transfers((SocketAddr::new(t.client.ip(), 41_000), vip), false);
    });
}

/// The kernel knows port 20 alone; servers without its privilege use others.
#[test]
fn active_data_conns_may_come_from_another_port() {
    every(|mut t, family, extended| {
        t.says(&port_command(family, extended, t.client.ip(), 41_000));
        let (_, awaited) = t.data_conns()[0];
        let told = SocketAddr::new(awaited.laddr.into(), awaited.lport);
        let seen = t.transfers((SocketAddr::new(t.dest.ip(), 33_333), told), true);
        let client = SocketAddr::new(t.client.ip(), 41_000);
        assert_eq!(seen, (SocketAddr::new(t.vip.ip(), 20), client));
        assert_eq!((t.data_conns().len(), t.rig.drops()), (1, vec![]));
    });
}

#[test]
fn a_data_conn_that_was_not_announced_opens_nothing() {
    every(|mut t, _, _| {
        let client = SocketAddr::new(t.client.ip(), 41_000);
        let vip = SocketAddr::new(t.vip.ip(), 51_201);
        let told = t.syn((client, vip), false).seen();
        assert_eq!((told.src, told.tcp.unwrap().0 & flag::RST), (vip, flag::RST));
        assert_eq!(t.rig.drops(), [(DropReason::ClosedPort, 1)]);
        assert!(t.data_conns().is_empty());
    });
}

#[test]
fn only_the_client_of_the_control_conn_finds_what_was_announced_and_once() {
    every(|mut t, family, extended| {
        goes_passive(&mut t, extended, 51_201);
        let vip = SocketAddr::new(t.vip.ip(), 51_201);
        let stranger = net::client(family, 8, 41_000);
        assert_eq!(t.syn((stranger, vip), false).seen().tcp.unwrap().0 & flag::RST, flag::RST);
        t.transfers((SocketAddr::new(t.client.ip(), 41_000), vip), false);
        let again = SocketAddr::new(t.client.ip(), 41_001);
        assert_eq!(t.syn((again, vip), false).seen().tcp.unwrap().0 & flag::RST, flag::RST);
        assert_eq!(t.rig.drops(), [(DropReason::ClosedPort, 2)]);
    });
}

#[test]
fn what_was_announced_is_awaited_for_120_s() {
    every(|mut t, family, extended| {
        goes_passive(&mut t, extended, 51_201);
        t.rig.pass(Duration::from_secs(119));
        assert_eq!(t.data_conns().len(), 1);
        let vip = SocketAddr::new(t.vip.ip(), 51_201);
        t.rig.pass(Duration::from_secs(2));
        assert!(t.data_conns().is_empty());
        let client = SocketAddr::new(t.client.ip(), 41_000);
        t.syn((client, vip), false);
        t.says(&port_command(family, extended, t.client.ip(), 41_000));
        let (_, awaited) = t.data_conns()[0];
        t.rig.pass(Duration::from_secs(121));
        assert!(t.data_conns().is_empty());
        let told = SocketAddr::new(awaited.laddr.into(), awaited.lport);
        t.syn((SocketAddr::new(t.dest.ip(), 20), told), true);
        assert!(t.data_conns().is_empty());
    });
}

#[test]
fn the_next_announcement_takes_the_place_of_one_that_nobody_used() {
    every(|mut t, family, extended| {
        for port in PORTS {
            goes_passive(&mut t, extended, port);
            t.says(&port_command(family, extended, t.client.ip(), port));
        }
        let data = t.data_conns();
        assert_eq!(data.len(), 1);
        assert_eq!(data[0].1.cport, PORTS[3]);
    });
}

#[test]
fn what_was_announced_ends_with_its_control_conn() {
    every(|mut t, _, extended| {
        goes_passive(&mut t, extended, 51_201);
        t.from_client(flag::RST, t.c, 0, b"");
        t.rig.pass(Duration::from_secs(12));
        assert!(t.rig.conns().is_empty());
    });
}

/// Their times are up at one moment.
#[test]
fn what_was_announced_ends_once_together_with_its_control_conn() {
    every(|mut t, family, extended| {
        t.says(&port_command(family, extended, t.client.ip(), 41_000));
        t.rig.pass(Duration::from_secs(110));
        t.from_client(flag::RST, t.c, 0, b"");
        t.rig.now = t.rig.now + Duration::from_secs(15);
        t.rig.pass(Duration::from_secs(2));
        assert!(t.rig.conns().is_empty());
        for port in 1..4 {
            let client = net::client(family, 7, 42_000 + port);
            t = Control::open_in(t.rig, t.forward, client);
            assert_eq!(t.rig.conns().len(), usize::from(port));
        }
    });
}

/// Of a server, only what it has for data.
#[test]
fn well_known_ports_are_not_announced() {
    every(|mut t, _, extended| {
        goes_passive(&mut t, extended, 22);
        assert!(t.data_conns().is_empty());
    });
}

/// The dest's own SYN leaves the conn in LISTEN, and yet its numbers are known.
#[test]
fn resets_of_active_data_conns_bear_their_numbers() {
    let mut t = Control::open_with(V4, Forward::Nat, 1, |s| {
        s.dests.iter_mut().for_each(|d| d.traits.on_dead = OnDead::Reset);
    });
    let client = SocketAddr::new(t.client.ip(), 41_000);
    t.says(&port_command(V4, false, client.ip(), client.port()));
    t.transfers((SocketAddr::new(t.dest.ip(), 20), client), true);
    t.rig.reload(|s| s.dests.iter_mut().for_each(|d| d.removed = true));
    let sent = t.rig.pass(Duration::from_secs(2)).sent;
    let seen = sent.iter().map(|s| pointsman_tests::see::see(&s.bytes));
    let reset = seen.into_iter().find(|seen| seen.dst == client).expect("a reset");
    assert_eq!(reset.tcp.unwrap().1, 7_017);
}

/// `ip_vs_conn_expire`: not while it controls another one.
#[test]
fn a_control_conn_lives_while_its_data_conn_does() {
    every(|mut t, _, extended| {
        goes_passive(&mut t, extended, 51_201);
        let (client, vip) =
            (SocketAddr::new(t.client.ip(), 41_000), SocketAddr::new(t.vip.ip(), 51_201));
        let (local, dest) = t.transfers((client, vip), false);
        for _ in 0..3 {
            t.rig.pass(Duration::from_secs(800));
            let body = Body::Tcp { flags: flag::ACK, seq: 90_001, ack: 1 };
            let p = Packet::new(dest, local, body).from_lan(t.mac);
            assert_eq!(t.feed(&p).seen().dst, client);
        }
        t.answers("226 Transfer complete.\r\n");
        t.rig.pass(Duration::from_secs(901));
        assert!(t.rig.conns().is_empty());
    });
}

#[test]
fn two_servers_that_chose_the_same_port_are_told_apart() {
    for forward in BOTH {
        let options = Options { workers: 4, ..Options::default() };
        let rig = Rig::build(options, |s, _| {
            add_service(s, V4, forward);
        });
        let mut t = Control::open_in(rig, forward, net::client(V4, 7, 40_000));
        goes_passive(&mut t, true, 51_201);
        let first = t.dest;
        let rig = std::mem::take(&mut t.rig);
        let mut t = Control::open_in(rig, forward, net::client(V4, 7, 40_002));
        assert_ne!(t.dest, first);
        let heard = goes_passive(&mut t, true, 51_201);
        let port = heard.split('|').nth(3).unwrap().parse().unwrap();
        assert_ne!(port, 51_201);
        let client = SocketAddr::new(t.client.ip(), 41_000);
        for (at, dest) in [(port, t.dest), (51_201, first)] {
            let vip = SocketAddr::new(t.vip.ip(), at);
            let seen = t.syn((client, vip), false).seen();
            assert_eq!(seen.dst, SocketAddr::new(dest.ip(), 51_201));
        }
    }
}

/// A port at which the VIP has a service stays that service's.
#[test]
fn a_port_of_another_service_is_not_announced() {
    for forward in BOTH {
        let mut t = Control::open_with(V4, forward, 2, |s| {
            let at = net::service_index(V4, Proto::Tcp, forward);
            net::add_like(s, at, |service| service.port = 8080);
        });
        let heard = goes_passive(&mut t, true, 8080);
        assert_ne!(heard.split('|').nth(3), Some("8080"));
        let client = SocketAddr::new(t.client.ip(), 41_000);
        let vip = SocketAddr::new(t.vip.ip(), 8080);
        let seen = t.syn((client, vip), false).seen();
        assert_eq!(seen.dst.port(), net::dest_port(forward));
    }
}

/// RFC 2577 section 3: nobody is sent to a third host.
#[test]
fn addresses_of_other_hosts_stay_as_they_are() {
    every(|mut t, family, extended| {
        let other = net::client(family, 9, 1).ip();
        let line = port_command(family, extended, other, 51_201);
        assert_eq!(t.says(&line), line);
        if !extended {
            t.says("PASV\r\n");
            let line = passive_answer(extended, other, 51_201);
            assert_eq!(t.answers(&line), line);
        }
        assert!(t.data_conns().is_empty());
    });
}

/// A server that knows the VIP (`pasv_address`) says it by itself.
#[test]
fn a_server_may_say_the_vip() {
    for forward in BOTH {
        let mut t = Control::open(V4, forward, 1);
        t.says("PASV\r\n");
        let line = passive_answer(false, t.vip.ip(), 51_201);
        assert_eq!(t.answers(&line), line);
        let vip = SocketAddr::new(t.vip.ip(), 51_201);
        let seen = t.syn((SocketAddr::new(t.client.ip(), 41_000), vip), false).seen();
        assert_eq!(seen.dst, SocketAddr::new(t.dest.ip(), 51_201));
    }
}

#[test]
fn lines_that_announce_nothing_pass_as_they_are() {
    every(|mut t, family, extended| {
        let whole = passive_answer(extended, t.dest.ip(), 51_201);
        let port = port_command(family, extended, t.client.ip(), 51_201);
        let says = ["USER a\r\n", "EPSV ALL\r\n", "PORT 1,2\r\n", "EPRT ||\r\n", "\r\n"];
        for line in says.into_iter().chain([&port[..port.len() - 2]]) {
            assert_eq!(t.says(line), line);
        }
        t.says("\r\n");
        // Nobody has asked.
        assert_eq!(t.answers(&whole), whole);
        t.says(ask(extended));
        for line in ["227 (1,2)\r\n", "229 (|||)\r\n", "500 no\r\n", &whole[..whole.len() - 2]] {
            assert_eq!(t.answers(line), line);
        }
        assert!(t.data_conns().is_empty());
    });
}

#[test]
fn nothing_is_read_where_no_helper_is_asked_for() {
    for forward in BOTH {
        let mut t = Control::open_with(V4, forward, 1, |s| {
            s.services.iter_mut().for_each(|s| s.terms.ftp = false);
        });
        t.says("PASV\r\n");
        let line = passive_answer(false, t.dest.ip(), 51_201);
        assert_eq!(t.answers(&line), line);
        let line = port_command(V4, false, t.client.ip(), 51_201);
        assert_eq!(t.says(&line), line);
        assert!(t.data_conns().is_empty());
    }
}

#[test]
fn a_line_that_comes_again_is_changed_again() {
    every(|mut t, family, extended| {
        let line = port_command(family, extended, t.client.ip(), 1025);
        let (seq, there) = (t.c, t.seen.0);
        let got = t.says(&line);
        for _ in 0..2 {
            let seen = only(&t.from_client(flag::ACK, seq, t.seen.1, line.as_bytes()));
            assert_eq!((seen.tcp.unwrap().1, &seen.payload[..]), (there, got.as_bytes()));
        }
        t.says("EPSV\r\n");
        t.says(ask(extended));
        let line = passive_answer(extended, t.dest.ip(), 1025);
        let (seq, there) = (t.d, t.seen.1);
        let heard = t.answers(&line);
        let seen = only(&t.from_dest(flag::ACK, seq, t.seen.0, line.as_bytes()));
        assert_eq!((seen.tcp.unwrap().1, &seen.payload[..]), (there, heard.as_bytes()));
        // And what follows stays in its place.
        assert_eq!(t.answers("150 ok\r\n"), "150 ok\r\n");
        assert_eq!(t.says("NOOP\r\n"), "NOOP\r\n");
    });
}

/// Acknowledgements, in the header and in SACK blocks, from before the change, within it and behind.
#[test]
fn acknowledgements_move_back_across_the_change() {
    let mut t = Control::open(V4, Forward::FullNat, 1);
    let line = "PORT 192,0,2,7,4,1\r\n";
    let (at, there) = (t.c, t.seen.0);
    let got = only(&t.from_client(flag::ACK, at, t.d, line.as_bytes()));
    let got = String::from_utf8(got.payload).unwrap();
    let (old, new) = (line.len() as u32, got.len() as u32);
    assert_ne!(old, new);
    let seen = only(&t.from_client(flag::ACK, at.wrapping_add(old), t.d, b"LIST\r\n"));
    assert_eq!(seen.tcp.unwrap().1, there.wrapping_add(new));
    for (ack, told) in [
        (0, 0),
        (3, 3),
        (5, 5),
        (6, 5),
        (new - 3, 5),
        (new - 2, old - 2),
        (new, old),
        (new + 6, old + 6),
    ] {
        let ack = there.wrapping_add(ack);
        let blocks = [there.wrapping_add(new), there.wrapping_add(new + 6)].map(u32::to_be_bytes);
        let sack = [&[1, 1, 5, 10][..], &blocks.concat()].concat();
        let body = Body::Tcp { flags: flag::ACK, seq: t.d, ack };
        let p = Packet::new(t.dest, t.local, body).tcp_options(&sack).from_lan(t.mac);
        let seen = only(&t.feed(&p));
        assert_eq!(seen.tcp, Some((flag::ACK, t.d, at.wrapping_add(told))));
        let blocks = [at.wrapping_add(old), at.wrapping_add(old + 6)].map(u32::to_be_bytes);
        let kept =
            if told == old { vec![1; 12] } else { [&[1, 1, 5, 10][..], &blocks.concat()].concat() };
        assert_eq!(seen.segment[20..32], kept[..], "{told}");
    }
}

#[test]
fn a_change_before_the_last_one_is_acknowledged_waits() {
    every(|mut t, family, extended| {
        if t.forward == Forward::Nat {
            return;
        }
        let first = port_command(family, extended, t.client.ip(), 1025);
        let second = port_command(family, extended, t.client.ip(), 51_201);
        let at = t.c;
        let got = only(&t.from_client(flag::ACK, at, t.d, first.as_bytes()));
        let next = at.wrapping_add(first.len() as u32);
        assert!(t.from_client(flag::ACK, next, t.d, second.as_bytes()).sent.is_empty());
        assert_eq!(t.rig.drops(), [(DropReason::HelperBusy, 1)]);
        let there = t.seen.0.wrapping_add(got.payload.len() as u32);
        assert_eq!(
            only(&t.from_dest(flag::ACK, t.d, there, b"")).tcp,
            Some((flag::ACK, t.seen.1, next))
        );
        let got = only(&t.from_client(flag::ACK, next, t.d, second.as_bytes()));
        assert_eq!(got.tcp, Some((flag::ACK, there, t.d)));
        assert_ne!(got.payload, second.as_bytes());
    });
}

/// The kernel's, too: it looks within one packet. What has passed in part passes as it was.
#[test]
fn a_line_in_two_segments_passes_as_it_is() {
    for forward in BOTH {
        let mut t = Control::open(V4, forward, 1);
        t.says("PASV\r\n");
        let line = passive_answer(false, t.dest.ip(), 51_201);
        let (seq, there) = (t.d, t.seen.1);
        let (a, b) = line.split_at(30);
        assert_eq!([t.answers(a), t.answers(b)], [a, b]);
        let seen = only(&t.from_dest(flag::ACK, seq, t.seen.0, line.as_bytes()));
        assert_eq!((seen.tcp.unwrap().1, &seen.payload[..]), (there, line.as_bytes()));
        assert!(t.data_conns().is_empty());
    }
}

/// No path carries more than what came: the end is cut off and comes again.
#[test]
fn a_segment_that_would_be_too_large_loses_its_end_and_gets_it_when_it_comes_again() {
    for forward in BOTH {
        let mut t = Control::open(V4, forward, 1);
        t.says("PASV\r\n");
        let line = passive_answer(false, t.dest.ip(), 1025);
        let said = passive_answer(false, t.vip.ip(), 1025);
        let grown = said.len() - line.len();
        let data = [line.as_bytes(), &[b'x'; 1460][line.len()..]].concat();
        let seen = only(&t.from_dest(flag::ACK | flag::FIN, t.d, t.seen.0, &data));
        let (flags, seq, _) = seen.tcp.unwrap();
        assert_eq!((flags, seq, seen.ip.len()), (flag::ACK, t.seen.1, 1500));
        let sent = [said.as_bytes(), &[b'x'; 1460][line.len() + grown..]].concat();
        assert_eq!(seen.payload, sent);
        // The client has all that came; its sender sends the rest.
        let seen = only(&t.from_client(flag::ACK, t.c, t.seen.1.wrapping_add(1460), b""));
        let rest = t.d.wrapping_add(1460 - grown as u32);
        assert_eq!(seen.tcp, Some((flag::ACK, t.seen.0, rest)));
        let seen = only(&t.from_dest(flag::ACK | flag::FIN, rest, t.seen.0, &data[1460 - grown..]));
        let there = t.seen.1.wrapping_add(1460);
        assert_eq!(seen.tcp, Some((flag::ACK | flag::FIN, there, t.c)));
        assert_eq!(seen.payload, &data[1460 - grown..]);
    }
}

#[test]
fn a_proxy_header_and_a_changed_line_are_in_one_stream() {
    for kind in [ClientAddress::ProxyV1, ClientAddress::ProxyV2, ClientAddress::Toa] {
        for family in net::FAMILIES {
            let options = Options { workers: 2, ..Options::default() };
            let mut rig = Rig::build(options, |s, _| {
                add_service(s, family, Forward::FullNat);
                s.dests.iter_mut().for_each(|d| d.traits.client_address = kind);
            });
            let (client, vip) =
                (net::client(family, 7, 40_000), SocketAddr::new(net::vip(family), 21));
            let say = |rig: &mut Rig, flags, seq, ack, data: &[u8]| {
                let p = Packet::new(client, vip, Body::Tcp { flags, seq, ack }).payload(data);
                rig.feed(WAN, &p.bytes())
            };
            let syn = say(&mut rig, flag::SYN, 99, 0, b"").seen();
            let (dest, local, mac): (_, _, Mac) = (syn.dst, syn.src, syn.eth.0);
            let hear = |rig: &mut Rig, flags, seq, ack, data: &[u8]| {
                let p = Packet::new(dest, local, Body::Tcp { flags, seq, ack }).payload(data);
                rig.feed(LAN, &p.from_lan(mac).bytes()).seen()
            };
            let isn = syn.tcp.unwrap().1;
            hear(&mut rig, flag::SYN | flag::ACK, 499, isn.wrapping_add(1), b"");
            let out = say(&mut rig, flag::ACK, 100, 500, b"");
            let header = if kind == ClientAddress::Toa {
                0
            } else {
                pointsman_tests::see::see(&out.sent[0].bytes).payload.len() as u32
            };
            let first = isn.wrapping_add(1 + header);
            let line = port_command(family, true, client.ip(), 1025);
            if header > 0 {
                // Before the dest has the header.
                assert!(say(&mut rig, flag::ACK, 100, 500, line.as_bytes()).sent.is_empty());
                assert_eq!(rig.drops(), [(DropReason::HelperBusy, 1)]);
            }
            let seen = hear(&mut rig, flag::ACK, 500, first, b"220 hello\r\n");
            assert_eq!(seen.tcp, Some((flag::ACK, 500, 100)));
            let seen = say(&mut rig, flag::ACK, 100, 511, line.as_bytes()).seen();
            assert_eq!(seen.tcp, Some((flag::ACK, first, 511)));
            let laddr = local.ip();
            let ends = rig.conns().into_iter().find(|(_, conn, _)| conn.is_awaited()).unwrap().2;
            let told = port_command(family, true, laddr, ends.lport);
            assert_eq!(String::from_utf8(seen.payload).unwrap(), told);
            let (old, new) = (line.len() as u32, told.len() as u32);
            let seen = hear(&mut rig, flag::ACK, 511, first.wrapping_add(new), b"200\r\n");
            assert_eq!(seen.tcp, Some((flag::ACK, 511, 100 + old)));
            let seen = say(&mut rig, flag::ACK, 100 + old, 516, b"LIST\r\n").seen();
            assert_eq!(seen.tcp, Some((flag::ACK, first.wrapping_add(new), 516)));
            assert_eq!(seen.payload, b"LIST\r\n");
        }
    }
}

/// `ip_vs_service_find`, `ip_vs_sched_persist`: without a helper, as dr and tunnel need it, a
/// persistent service of port 21 takes its clients' data conns.
#[test]
fn data_of_a_persistent_service_of_port_21_goes_where_its_client_does() {
    for family in net::FAMILIES {
        for forward in [Forward::Dr, Forward::Tunnel] {
            for workers in [1, 3] {
                let options = Options { workers, ..Options::default() };
                let mut rig = Rig::build(options, |s, _| {
                    let at = add_service(s, family, forward);
                    let prefix = net::of(family, 32, 128);
                    let terms = &mut s.services[at].terms;
                    terms.ftp = false;
                    terms.persistence = Some(Persistence { timeout: 300, prefix });
                });
                let mac = |rig: &mut Rig, port: u16, to: u16| {
                    let vip = SocketAddr::new(net::vip(family), to);
                    let p = Packet::tcp(net::client(family, 7, port), vip, flag::SYN);
                    rig.feed_at(usize::from(port) % workers, WAN, &[&p.bytes()]).seen().eth.0
                };
                let first = mac(&mut rig, 1000, 21);
                for port in 0..6 {
                    assert_eq!(mac(&mut rig, 1001 + port, 50_000 + port), first);
                }
                assert_eq!(mac(&mut rig, 1010, 20), first);
                // Not what needs a privilege.
                assert_eq!(mac(&mut rig, 1011, 1023), net::GATEWAY_MAC);
                assert_eq!(rig.drops(), [(DropReason::ClosedPort, 1)]);
            }
        }
    }
}

/// A reload takes the service away: what was announced is no more, and what runs goes on.
#[test]
fn a_service_that_is_gone_takes_no_data_conns() {
    for forward in BOTH {
        let mut t = Control::open(V4, forward, 2);
        goes_passive(&mut t, true, 51_201);
        t.rig.reload(|s| {
            let service = s.services.pop().unwrap();
            service.dests.iter().for_each(|c| s.dests[c.id.0 as usize].removed = true);
        });
        let vip = SocketAddr::new(t.vip.ip(), 51_201);
        t.syn((SocketAddr::new(t.client.ip(), 41_000), vip), false);
        assert!(t.data_conns().iter().all(|(conn, _)| conn.is_awaited()));
        assert_eq!(t.says("NOOP\r\n"), "NOOP\r\n");
    }
}

/// `on_dead = "reset"`: both ends are told in their own numbers, and nobody of what was awaited.
#[test]
fn resets_bear_the_numbers_that_each_end_counts_by() {
    for forward in BOTH {
        let mut t = Control::open_with(V4, forward, 1, |s| {
            s.dests.iter_mut().for_each(|d| d.traits.on_dead = OnDead::Reset);
        });
        t.says(&port_command(V4, false, t.client.ip(), 1025));
        goes_passive(&mut t, false, 51_201);
        assert_eq!(t.data_conns().len(), 1);
        t.rig.reload(|s| s.dests.iter_mut().for_each(|d| d.removed = true));
        let sent = t.rig.pass(Duration::from_secs(2)).sent;
        let numbers: Vec<_> = sent
            .iter()
            .map(|s| pointsman_tests::see::see(&s.bytes))
            .map(|seen| (seen.dst, seen.tcp.unwrap().1))
            .collect();
        assert_eq!(numbers, [(t.client, t.seen.1), (t.dest, t.seen.0)]);
        assert!(t.data_conns().is_empty());
    }
}

/// Path MTU discovery goes by the number that an ICMP error quotes.
#[test]
fn errors_quote_the_numbers_that_each_end_counts_by() {
    for forward in BOTH {
        let mut t = Control::open(V4, forward, 1);
        t.says(&port_command(V4, false, t.client.ip(), 1025));
        goes_passive(&mut t, false, 51_201);
        let quote = |from, to, seq| {
            Packet::new(from, to, Body::Tcp { flags: flag::ACK, seq, ack: 0 }).ip()[..40].to_vec()
        };
        let kind = ([3, 4], [0, 0, 4, 0]);
        let about = quote(t.vip, t.client, t.seen.1);
        let error = Packet::icmp(t.client.ip(), t.vip.ip(), kind.0, kind.1, &about);
        let told = t.feed(&error).seen();
        assert_eq!((told.dst.ip(), told.sum), (t.dest.ip(), Sum::Right));
        assert_eq!(told.payload[24..28], t.d.to_be_bytes());
        let about = quote(t.local, t.dest, t.seen.0);
        let error = Packet::icmp(t.dest.ip(), t.local.ip(), kind.0, kind.1, &about);
        let told = t.feed(&error.from_lan(t.mac)).seen();
        assert_eq!((told.dst.ip(), told.sum), (t.client.ip(), Sum::Right));
        assert_eq!(told.payload[24..28], t.c.to_be_bytes());
    }
}

/// A command in fragments is not read, and what was changed cannot be cut.
#[test]
fn fragments_of_a_changed_line_are_not_passed() {
    let mut t = Control::open(V4, Forward::FullNat, 1);
    let line = port_command(V4, false, t.client.ip(), 1025);
    let body = Body::Tcp { flags: flag::ACK, seq: t.c, ack: t.d };
    let whole = Packet::new(t.client, t.vip, body).payload(line.as_bytes());
    t.feed(&whole);
    let pieces = whole.cut(7, &[32]);
    assert!(t.feed(&pieces[0]).sent.is_empty());
    assert_eq!(t.rig.drops(), [(DropReason::HelperBusy, 1)]);
}
