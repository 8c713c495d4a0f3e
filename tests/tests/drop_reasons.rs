//! Every `DropReason`, `Made` and `Consumed` is produced by the function of its name.
//!
//! `cases!` makes a test of each function and the list that `every_name_has_a_case` holds against
//! the enums, so a reason that is added without a case here fails, and so does a case that ends
//! without having produced what it is named after.

use arrayvec::ArrayVec;
use pointsman::io::mem::MemFrame;
use pointsman_dataplane::acl::Access;
use pointsman_dataplane::acl::Acl;
use pointsman_dataplane::frame::BURST;
use pointsman_dataplane::frame::Burst;
use pointsman_dataplane::frame::Frame as _;
use pointsman_dataplane::frame::HEADROOM;
use pointsman_dataplane::frame::Pool as _;
use pointsman_dataplane::laddr::PORTS;
use pointsman_dataplane::neigh::HopState;
use pointsman_dataplane::pipeline::HANDED;
use pointsman_dataplane::pipeline::HELD_PER_NEIGHBOUR;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::OnDead;
use pointsman_dataplane::service::Persistence;
use pointsman_dataplane::snapshot::Defend;
use pointsman_dataplane::snapshot::Routes;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Family::V6;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::Consumed;
use pointsman_dataplane::verdict::DropReason;
use pointsman_dataplane::verdict::Made;
use pointsman_tests::craft::Body;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::ftp::Control;
use pointsman_tests::ftp::port_command;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::sctp;
use pointsman_tests::see;
use pointsman_tests::talk::Talk;
use std::net::SocketAddr;
use std::time::Duration;

macro_rules! cases {
    ($list:ident, $enum:ident, $count:ident, [$($variant:ident $name:ident)*]) => {
        const $list: &[$enum] = &[$($enum::$variant),*];
        $(
            #[test]
            fn $name() {
                // The case ends with its rig; the count is taken there.
                let rig = case::$name();
                assert!(rig.$count($enum::$variant) > 0, "produced only {:?}", rig.drops());
            }
        )*
    };
}

cases!(DROPS, DropReason, dropped, [
    Truncated truncated
    WrongMac wrong_mac
    WrongVlan wrong_vlan
    EtherType ether_type
    IpHeader ip_header
    IpChecksum ip_checksum
    IpOptions ip_options
    ExtensionHeaders extension_headers
    Martian martian
    FragmentOverlap fragment_overlap
    FragmentTiny fragment_tiny
    FragmentFlood fragment_flood
    FragmentOrphan fragment_orphan
    Protocol protocol
    TransportHeader transport_header
    NoChecksum no_checksum
    SctpChecksum sctp_checksum
    SctpFragment sctp_fragment
    Icmp icmp
    IcmpType icmp_type
    NeighbourMessage neighbour_message
    Multicast multicast
    NotOurs not_ours
    ClosedPort closed_port
    NotSyn not_syn
    IcmpUnknown icmp_unknown
    IcmpFamily icmp_family
    Signed signed
    ConnReset conn_reset
    DeadDest dead_dest
    SecondChoice second_choice
    Denied denied
    NoDest no_dest
    NoLease no_lease
    LateSegment late_segment
    ReplyClash reply_clash
    TableFull table_full
    Defended defended
    HelperBusy helper_busy
    TemplatesFull templates_full
    Reloading reloading
    TtlExceeded ttl_exceeded
    TooBig too_big
    NoRoute no_route
    NeighbourDead neighbour_dead
    HeldOverflow held_overflow
    NoHeadroom no_headroom
    NoFrame no_frame
    TxFull tx_full
    HandoverFull handover_full
    ControlFull control_full
]);

cases!(MADE, Made, made, [
    Reset made_reset
    ConnReset made_conn_reset
    EchoReply made_echo_reply
    Unreachable made_unreachable
    TimeExceeded made_time_exceeded
    TooBig made_too_big
    Fragment made_fragment
    ProxyHeader made_proxy_header
    Control made_control
]);

cases!(CONSUMED, Consumed, consumed, [
    EchoRequest consumed_echo_request
    TunnelMtu consumed_tunnel_mtu
]);

#[test]
fn every_name_has_a_case() {
    let missing = |all: Vec<String>, cases: Vec<String>| {
        all.into_iter().filter(|n| !cases.contains(n)).collect::<Vec<_>>()
    };
    let text = |names: &[DropReason]| names.iter().map(|n| format!("{n:?}")).collect();
    assert_eq!(missing(text(DropReason::ALL), text(DROPS)), [""; 0]);
    let text = |names: &[Made]| names.iter().map(|n| format!("{n:?}")).collect();
    assert_eq!(missing(text(Made::ALL), text(MADE)), [""; 0]);
    let text = |names: &[Consumed]| names.iter().map(|n| format!("{n:?}")).collect();
    assert_eq!(missing(text(Consumed::ALL), text(CONSUMED)), [""; 0]);
}

fn client() -> SocketAddr {
    net::client(V4, 7, 40_000)
}

fn syn(forward: Forward) -> Packet {
    Packet::tcp(client(), net::service_addr(V4, forward), flag::SYN)
}

/// Feeds frames that must not make anything come out.
fn silent(port: pointsman_dataplane::neigh::PortId, frames: &[Vec<u8>]) -> Rig {
    let mut rig = Rig::new();
    for frame in frames {
        let before = rig.drops().iter().map(|d| d.1).sum::<u64>();
        assert_eq!(rig.feed(port, frame).frames(), Vec::<Vec<u8>>::new());
        assert_eq!(rig.drops().iter().map(|d| d.1).sum::<u64>(), before + 1, "dropped once");
    }
    assert_eq!(rig.drops().len(), 1, "one reason for all of them: {:?}", rig.drops());
    rig
}

fn echo() -> Packet {
    let (src, dst) = (client().ip(), net::vip(V4));
    Packet::icmp(src, dst, [8, 0], [0, 1, 0, 2], b"payload")
}

mod case {
    use super::*;

    pub(super) fn truncated() -> Rig {
        let whole = syn(Forward::Nat).bytes();
        let mut longer = syn(Forward::Nat).ip();
        let total = (longer.len() + 1) as u16;
        longer[2..4].copy_from_slice(&total.to_be_bytes());
        let v6 = Packet::udp(net::client(V6, 1, 9), net::service_addr(V6, Forward::Nat)).bytes();
        let frames: Vec<_> = [0, 5, 13, 14, 20, 33]
            .map(|n| whole[..n].to_vec())
            .into_iter()
            .chain([whole[..14].iter().chain(&longer).copied().collect()])
            .chain([v6[..30].to_vec(), v6[..v6.len() - 1].to_vec()])
            .collect();
        silent(WAN, &frames)
    }

    pub(super) fn wrong_mac() -> Rig {
        let mut p = syn(Forward::Nat);
        p.eth.0 = [2, 0, 0, 0, 9, 9];
        silent(WAN, &[p.bytes()])
    }

    pub(super) fn wrong_vlan() -> Rig {
        let tagged = Packet { vlan: Some(7), ..syn(Forward::Nat) }.bytes();
        drop(silent(WAN, std::slice::from_ref(&tagged)));
        let mut rig = Rig::with(|s| s.ports[0].vlan = Some(8));
        rig.feed(WAN, &tagged);
        rig.feed(WAN, &syn(Forward::Nat).bytes());
        assert_eq!(rig.drops(), [(DropReason::WrongVlan, 2)]);
        rig
    }

    pub(super) fn ether_type() -> Rig {
        let mut f = syn(Forward::Nat).bytes();
        f[12..14].copy_from_slice(&[0x88, 0x47]);
        silent(WAN, &[f])
    }

    pub(super) fn ip_header() -> Rig {
        let whole = syn(Forward::Nat).bytes();
        let set = |at: usize, bytes: &[u8]| {
            let mut f = whole.clone();
            f[at..at + bytes.len()].copy_from_slice(bytes);
            f
        };
        let v6 = Packet::udp(net::client(V6, 1, 9), net::service_addr(V6, Forward::Nat)).bytes();
        let mut wrong = v6.clone();
        wrong[14] = 0x45;
        silent(WAN, &[set(14, &[0x65]), set(14, &[0x44]), set(16, &[0, 19]), wrong])
    }

    pub(super) fn ip_checksum() -> Rig {
        let mut f = syn(Forward::Nat).bytes();
        f[24] ^= 1;
        silent(WAN, &[f])
    }

    pub(super) fn ip_options() -> Rig {
        let with =
            |options: &[u8]| Packet { options: options.to_vec(), ..syn(Forward::Nat) }.bytes();
        let lsrr = [131, 7, 4, 10, 0, 0, 9, 0];
        let ssrr = [137, 7, 4, 10, 0, 0, 9, 0];
        silent(WAN, &[with(&lsrr), with(&ssrr), with(&[7, 1, 0, 0]), with(&[7, 9, 0, 0])])
    }

    pub(super) fn extension_headers() -> Rig {
        let with = |extensions: Vec<(u8, Vec<u8>)>| {
            let dst = net::service_addr(V6, Forward::Nat);
            Packet { extensions, ..Packet::udp(net::client(V6, 1, 9), dst) }.bytes()
        };
        let pad = || (60, vec![1, 4, 0, 0, 0, 0]);
        // A routing header with a segment left; more headers than are walked.
        let routing = vec![(43, vec![0, 1, 0, 0, 0, 0])];
        let many = (0..9).map(|_| pad()).collect();
        silent(WAN, &[with(routing), with(many)])
    }

    pub(super) fn martian() -> Rig {
        let from = |ip: &str| {
            let src = SocketAddr::new(net::ip(ip), 9);
            let family = if src.is_ipv4() { V4 } else { V6 };
            Packet::tcp(src, net::service_addr(family, Forward::Nat), flag::SYN).bytes()
        };
        let sources = [
            "0.0.0.0",
            "127.0.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "ff02::1",
            "::ffff:192.0.2.1",
            // The director's own: VIP, pool, port.
            "203.0.113.10",
            "10.1.0.100",
            "10.0.0.1",
            "2001:db8:f::10",
        ];
        silent(WAN, &sources.map(from))
    }

    /// A piece of a datagram to the full-NAT service, 24 bytes long.
    fn piece(id: u16, fragment: u16) -> Vec<u8> {
        let dst = net::service_addr(V4, Forward::FullNat);
        let whole = Packet::udp(client(), dst).payload(&[7; 16]);
        Packet { id, fragment, ..whole }.bytes()
    }

    pub(super) fn fragment_overlap() -> Rig {
        let mut rig = Rig::new();
        assert_eq!(rig.feed(WAN, &piece(9, 0x2000)).sent.len(), 1);
        // Its first eight bytes are the first piece's last.
        assert!(rig.feed(WAN, &piece(9, 0x2002)).sent.is_empty());
        // Nor does anything else of that datagram pass any more.
        assert!(rig.feed(WAN, &piece(9, 0x0009)).sent.is_empty());
        assert_eq!(rig.drops(), [(DropReason::FragmentOverlap, 2)]);
        rig
    }

    pub(super) fn fragment_tiny() -> Rig {
        let dst = net::service_addr(V4, Forward::FullNat);
        let tiny = Packet::new(client(), dst, Body::Raw(6)).payload(&[0; 16]);
        silent(WAN, &[Packet { fragment: 0x2000, ..tiny }.bytes()])
    }

    pub(super) fn sctp_checksum() -> Rig {
        let mut rig = Rig::with(|s| sctp::add_services(s, |_, _| {}));
        let whole = sctp::Association::new(V4, Forward::Nat, 9);
        let mut packet = whole.original(&sctp::chunk(sctp::chunk::INIT, &[]));
        packet.payload[12 + 19] ^= 1;
        assert!(rig.feed(WAN, &packet.bytes()).sent.is_empty());
        rig
    }

    pub(super) fn sctp_fragment() -> Rig {
        let mut rig = Rig::with(|s| sctp::add_services(s, |_, _| {}));
        let a = sctp::Association::open(&mut rig, V4, Forward::Nat, 9);
        let pieces = a.original(&sctp::chunk(sctp::chunk::DATA, &[7; 100])).cut(5, &[64]);
        for piece in pieces {
            rig.feed(WAN, &piece.bytes());
        }
        rig
    }

    pub(super) fn fragment_flood() -> Rig {
        let mut rig = Rig::new();
        let held = pointsman_dataplane::fragments::HELD as u16;
        for id in 0..=held {
            assert!(rig.feed(WAN, &piece(id, 0x2003)).sent.is_empty());
        }
        assert_eq!(rig.drops(), [(DropReason::FragmentFlood, 1)]);
        for _ in 0..=held {
            rig.pass(Duration::from_secs(31));
        }
        rig
    }

    pub(super) fn fragment_orphan() -> Rig {
        let mut rig = Rig::new();
        assert!(rig.feed(WAN, &piece(9, 0x0003)).sent.is_empty());
        rig.pass(Duration::from_secs(29));
        assert_eq!(rig.drops(), []);
        rig.pass(Duration::from_secs(2));
        assert_eq!(rig.drops(), [(DropReason::FragmentOrphan, 1)]);
        rig
    }

    pub(super) fn protocol() -> Rig {
        let v4 = Packet::new(client(), net::service_addr(V4, Forward::Nat), Body::Raw(47));
        let (c6, s6) = (net::client(V6, 1, 9), net::service_addr(V6, Forward::Nat));
        let v6 = Packet::new(c6, s6, Body::Raw(1));
        silent(WAN, &[v4.payload(&[0; 40]).bytes(), v6.payload(&[0; 40]).bytes()])
    }

    pub(super) fn transport_header() -> Rig {
        let set = |packet: &Packet, at: usize, bytes: &[u8]| {
            let mut f = packet.bytes();
            f[34 + at..34 + at + bytes.len()].copy_from_slice(bytes);
            f
        };
        let tcp = syn(Forward::Nat);
        let udp = Packet::udp(client(), net::service_addr(V4, Forward::Nat));
        silent(
            WAN,
            &[
                set(&tcp, 12, &[0x40]),
                set(&tcp, 12, &[0x60]),
                set(&tcp, 0, &[0, 0]),
                set(&tcp, 2, &[0, 0]),
                set(&udp, 4, &[0, 7]),
                set(&udp, 4, &[0, 200]),
                set(&udp, 0, &[0, 0]),
            ],
        )
    }

    pub(super) fn no_checksum() -> Rig {
        let dst = net::service_addr(V6, Forward::Nat);
        let body = Body::Udp { checksum: false };
        silent(WAN, &[Packet::new(net::client(V6, 1, 9), dst, body).payload(b"x").bytes()])
    }

    pub(super) fn icmp() -> Rig {
        let mut bad_sum = echo().bytes();
        bad_sum[36] ^= 1;
        let error =
            |about: &[u8]| Packet::icmp(client().ip(), net::vip(V4), [3, 3], [0; 4], about).bytes();
        // Quotes nothing; half an IP header; a header of version 6; only 7 bytes of transport.
        let quoted = Packet::tcp(net::service_addr(V4, Forward::Nat), client(), flag::ACK).ip();
        let mut version = quoted.clone();
        version[0] = 0x65;
        silent(
            WAN,
            &[bad_sum, error(&[]), error(&quoted[..12]), error(&version), error(&quoted[..27])],
        )
    }

    pub(super) fn icmp_type() -> Rig {
        let message =
            |kind| Packet::icmp(client().ip(), net::vip(V4), [kind, 0], [0; 4], b"").bytes();
        let c6 = net::client(V6, 1, 0).ip();
        let v6 = Packet::icmp(c6, net::vip(V6), [129, 0], [0; 4], b"").bytes();
        // Echo reply, redirect, timestamp; v6 echo reply.
        silent(WAN, &[message(0), message(5), message(13), v6])
    }

    pub(super) fn neighbour_message() -> Rig {
        let (src, dst) = (net::client(V6, 1, 0).ip(), net::vip(V6));
        let target = [0u8; 16];
        let solicitation = Packet::icmp(src, dst, [135, 0], [0; 4], &target).ttl(254).bytes();
        let query = Packet::icmp(src, dst, [130, 0], [0; 4], &target).ttl(1).bytes();
        silent(WAN, &[solicitation, query])
    }

    pub(super) fn multicast() -> Rig {
        let to = |ip: &str, eth| {
            let dst = SocketAddr::new(net::ip(ip), 80);
            let src = if dst.is_ipv4() { client() } else { net::client(V6, 1, 9) };
            let mut p = Packet::udp(src, dst);
            p.eth.0 = eth;
            p.bytes()
        };
        let ours = net::WAN_MAC;
        silent(
            WAN,
            &[
                to("224.0.0.251", [1, 0, 0x5e, 0, 0, 0xfb]),
                to("255.255.255.255", [0xff; 6]),
                to("ff02::fb", ours),
                // A packet for one host in a frame for all.
                to("203.0.113.10", [0xff; 6]),
            ],
        )
    }

    pub(super) fn not_ours() -> Rig {
        let other = SocketAddr::new(net::ip("198.51.100.1"), 80);
        let ping = Packet::icmp(client().ip(), other.ip(), [8, 0], [0; 4], b"");
        let about = Packet::tcp(other, client(), flag::ACK).ip();
        let error = Packet::icmp(client().ip(), other.ip(), [3, 3], [0; 4], &about);
        let syn = Packet::tcp(client(), other, flag::SYN);
        silent(
            WAN,
            &[syn.bytes(), Packet::udp(client(), other).bytes(), ping.bytes(), error.bytes()],
        )
    }

    pub(super) fn closed_port() -> Rig {
        let mut rig = Rig::new();
        let closed = SocketAddr::new(net::vip(V4), 9);
        assert_eq!(rig.feed(WAN, &Packet::tcp(client(), closed, flag::SYN).bytes()).sent.len(), 1);
        assert_eq!(rig.feed(WAN, &Packet::udp(client(), closed).bytes()).sent.len(), 1);
        assert_eq!(rig.drops(), [(DropReason::ClosedPort, 2)]);
        rig
    }

    pub(super) fn not_syn() -> Rig {
        let mut rig = Rig::new();
        let vip = net::service_addr(V4, Forward::Nat);
        for flags in [flag::ACK, flag::FIN | flag::ACK, 0] {
            assert_eq!(rig.feed(WAN, &Packet::tcp(client(), vip, flags).bytes()).sent.len(), 1);
        }
        for flags in [flag::RST, flag::RST | flag::SYN] {
            // Never a reset about a reset (RFC 9293 section 3.10.7.1).
            assert!(rig.feed(WAN, &Packet::tcp(client(), vip, flags).bytes()).sent.is_empty());
        }
        assert_eq!(rig.drops(), [(DropReason::NotSyn, 5)]);
        rig
    }

    pub(super) fn icmp_unknown() -> Rig {
        let vip = net::service_addr(V4, Forward::Nat);
        let about = |packet: Packet| {
            Packet::icmp(client().ip(), vip.ip(), [3, 3], [0; 4], &packet.ip()).bytes()
        };
        let tcp = Packet::tcp(vip, client(), flag::ACK);
        let gre = Packet::new(vip, client(), Body::Raw(47)).payload(&[0; 8]);
        silent(WAN, &[about(tcp), about(gre)])
    }

    pub(super) fn icmp_family() -> Rig {
        let mut rig = Rig::with(net::cross);
        for family in net::FAMILIES {
            let talk = Talk::tcp(&mut rig, family, Forward::FullNat);
            let seen = &talk.at_dest;
            // A missing option; a next header's option: the dest's family differs from `family`.
            let kind = net::of(family, [4, 2], [12, 1]);
            let error = Packet::icmp(seen.dst.ip(), seen.src.ip(), kind, [0; 4], &seen.ip);
            let out = rig.feed(LAN, &error.from_lan(seen.eth.0).bytes());
            assert!(out.sent.is_empty());
        }
        assert_eq!(rig.drops(), [(DropReason::IcmpFamily, 2)]);
        rig
    }

    pub(super) fn no_dest() -> Rig {
        let mut rig = Rig::with(|s| {
            for service in &mut s.services {
                service.dests.iter_mut().for_each(|d| d.weight = 0);
            }
        });
        let seen = rig.feed(WAN, &syn(Forward::Nat).bytes()).seen();
        assert_eq!(seen.icmp.map(|i| i.0), Some([3, 3]));
        assert_eq!(rig.drops(), [(DropReason::NoDest, 1)]);
        rig
    }

    pub(super) fn denied() -> Rig {
        let mut rig = Rig::with(|s| {
            let nobody = Some(std::sync::Arc::new(Acl::new([], false)));
            s.access = Access { everywhere: nobody, ..Access::default() }.into();
        });
        assert!(rig.feed(WAN, &syn(Forward::Nat).bytes()).sent.is_empty());
        assert_eq!(rig.drops(), [(DropReason::Denied, 1)]);
        rig
    }

    pub(super) fn signed() -> Rig {
        // The payload becomes options: an MD5 signature and two no-operations.
        let mut options = vec![19, 18];
        options.resize(18, 0xaa);
        options.extend([1, 1]);
        let with_options = |forward| {
            let mut frame = syn(forward).payload(&options).bytes();
            frame[34 + 12] = 0xa0;
            frame
        };
        let mut rig = silent(WAN, &[with_options(Forward::Nat), with_options(Forward::FullNat)]);
        assert_eq!(rig.feed(WAN, &with_options(Forward::Dr)).sent.len(), 1, "dr leaves it alone");
        rig
    }

    /// A conn whose dest is found dead, under this policy.
    fn of_a_dead_dest(on_dead: OnDead) -> (Rig, Talk) {
        let mut rig = Rig::with(|s| s.dests.iter_mut().for_each(|d| d.traits.on_dead = on_dead));
        let talk = Talk::tcp(&mut rig, V4, Forward::Nat);
        talk.answer(&mut rig, flag::SYN | flag::ACK);
        talk.say(&mut rig, flag::ACK);
        rig.reload(|s| s.dests.iter_mut().for_each(|d| d.dead = true));
        rig.housekeep();
        (rig, talk)
    }

    pub(super) fn conn_reset() -> Rig {
        let (mut rig, talk) = of_a_dead_dest(OnDead::Reset);
        assert_eq!(rig.made(Made::ConnReset), 2);
        let told = talk.say(&mut rig, flag::ACK).seen();
        assert_eq!(told.tcp, Some((flag::RST, 2000, 0)));
        assert_eq!(rig.drops(), [(DropReason::ConnReset, 1)]);
        rig
    }

    pub(super) fn dead_dest() -> Rig {
        let (mut rig, talk) = of_a_dead_dest(OnDead::Drop);
        assert!(talk.say(&mut rig, flag::ACK).sent.is_empty());
        assert_eq!(rig.drops(), [(DropReason::DeadDest, 1)]);
        rig
    }

    pub(super) fn second_choice() -> Rig {
        let mut rig = Rig::with(|s| s.dests.iter_mut().for_each(|d| d.traits.retries = 1));
        for (refusals, forward) in [(1, Forward::Nat), (2, Forward::FullNat)] {
            let talk = Talk::tcp(&mut rig, V4, forward);
            assert!(talk.answer(&mut rig, flag::RST | flag::ACK).sent.is_empty());
            assert_eq!(rig.drops(), [(DropReason::SecondChoice, refusals)]);
            let again = talk.say(&mut rig, flag::SYN).seen();
            assert_ne!(again.dst, talk.at_dest.dst, "another dest");
            // That one's refusal is the client's to know.
            let other = Talk { at_dest: again, ..talk };
            assert_eq!(other.answer(&mut rig, flag::RST | flag::ACK).sent.len(), 1);
        }
        rig
    }

    pub(super) fn late_segment() -> Rig {
        let options = Options { conns: 70_000, ..Options::default() };
        let mut rig = Rig::build(options, |s, _| {
            let service = net::service_index(V4, Proto::Tcp, Forward::FullNat);
            s.services[service].dests.truncate(1);
        });
        let first = Talk::tcp(&mut rig, V4, Forward::FullNat);
        first.finish(&mut rig);
        // All other ports, and one more conn: it gets the port of the one in TIME_WAIT.
        let syn = |n: u32| {
            let client = net::client(V4, 100 + (n / 50_000) as u8, 10_000 + (n % 50_000) as u16);
            Packet::tcp(client, net::service_addr(V4, Forward::FullNat), flag::SYN).bytes()
        };
        let mut last = None;
        let all: Vec<u32> = (0..PORTS).collect();
        for chunk in all.chunks(BURST) {
            let frames: Vec<_> = chunk.iter().map(|n| syn(*n)).collect();
            let frames: Vec<_> = frames.iter().map(Vec::as_slice).collect();
            last = rig.feed_at(0, WAN, &frames).sent.pop();
        }
        let seen = see::see(&last.expect("the last one leaves").bytes);
        assert_eq!(seen.src, first.at_dest.src, "the lent port");
        assert!(first.say(&mut rig, flag::ACK).sent.is_empty());
        assert_eq!(rig.drops(), [(DropReason::LateSegment, 1)]);
        // Now there is none left.
        rig.feed(WAN, &syn(PORTS));
        assert_eq!(rig.dropped(DropReason::NoLease), 1);
        rig
    }

    pub(super) fn no_lease() -> Rig {
        let mut rig = Rig::with(|s| s.pools[0].v4.clear());
        rig.feed(WAN, &syn(Forward::FullNat).bytes());
        assert_eq!(rig.drops(), [(DropReason::NoLease, 1)]);
        rig
    }

    pub(super) fn reply_clash() -> Rig {
        // One dest, reached from two services of one port: a client port can have one of them.
        let mut rig = Rig::with(|s| {
            let a = net::service_index(V4, Proto::Tcp, Forward::Nat);
            s.services[a].dests.truncate(1);
            let mut b = s.services[a].clone();
            b.id = pointsman_dataplane::service::ServiceId(s.services.len() as u32);
            b.port = 1080;
            b.dests[0].id = DestId(s.dests.len() as u32);
            let dest = s.dest(s.services[a].dests[0].id).clone();
            s.dests.push(dest);
            s.services.push(b);
        });
        assert_eq!(rig.feed(WAN, &syn(Forward::Nat).bytes()).sent.len(), 1);
        let other = SocketAddr::new(net::vip(V4), 1080);
        assert!(rig.feed(WAN, &Packet::tcp(client(), other, flag::SYN).bytes()).sent.is_empty());
        assert_eq!(rig.drops(), [(DropReason::ReplyClash, 1)]);
        rig
    }

    pub(super) fn table_full() -> Rig {
        let mut rig = Rig::build(Options { conns: 2, ..Options::default() }, |_, _| {});
        for n in 0..3 {
            let dst = net::service_addr(V4, Forward::FullNat);
            rig.feed(WAN, &Packet::tcp(net::client(V4, n, 5), dst, flag::SYN).bytes());
        }
        assert_eq!(rig.drops(), [(DropReason::TableFull, 1)]);
        rig
    }

    pub(super) fn defended() -> Rig {
        let mut rig = Rig::with(|s| s.ipvs.drop_packet = Defend::Always);
        rig.pass(Duration::from_secs(1));
        for n in 0..10 {
            let dst = net::service_addr(V4, Forward::Nat);
            rig.feed(WAN, &Packet::tcp(net::client(V4, n, 5), dst, flag::SYN).bytes());
        }
        assert_eq!(rig.drops(), [(DropReason::Defended, 1)]);
        rig
    }

    pub(super) fn helper_busy() -> Rig {
        let mut t = Control::open(V4, Forward::FullNat, 1);
        let client = t.client.ip();
        for port in [1025, 51_201] {
            let line = port_command(V4, false, client, port);
            t.from_client(flag::ACK, t.c, t.d, line.as_bytes());
            t.c = t.c.wrapping_add(line.len() as u32);
        }
        assert_eq!(t.rig.drops(), [(DropReason::HelperBusy, 1)]);
        t.rig
    }

    pub(super) fn templates_full() -> Rig {
        let mut rig = Rig::build(Options { templates: 4, ..Options::default() }, |s, _| {
            let service = net::service_index(V4, Proto::Tcp, Forward::Nat);
            let persistence = Persistence { timeout: 10, prefix: 32 };
            s.services[service].terms.persistence = Some(persistence);
        });
        for n in 0..5 {
            let dst = net::service_addr(V4, Forward::Nat);
            rig.feed(WAN, &Packet::tcp(net::client(V4, n, 5), dst, flag::SYN).bytes());
        }
        assert_eq!(rig.drops(), [(DropReason::TemplatesFull, 1)]);
        rig
    }

    pub(super) fn reloading() -> Rig {
        let mut rig = Rig::workers(2);
        let service = net::service_index(V4, Proto::Tcp, Forward::Nat);
        rig.reload_one(0, |s| {
            let persistence = Persistence { timeout: 10, prefix: 32 };
            s.services[service].terms.persistence = Some(persistence);
        });
        for n in 0..20 {
            let dst = net::service_addr(V4, Forward::Nat);
            rig.feed(WAN, &Packet::tcp(net::client(V4, n, 5), dst, flag::SYN).bytes());
        }
        let drops = rig.drops();
        assert!(matches!(drops[..], [(DropReason::Reloading, 1..)]), "{drops:?}");
        rig
    }

    pub(super) fn ttl_exceeded() -> Rig {
        let mut rig = Rig::new();
        for ttl in [1, 0] {
            let seen = rig.feed(WAN, &syn(Forward::Nat).ttl(ttl).bytes()).seen();
            assert_eq!(seen.icmp.map(|i| i.0), Some([11, 0]));
        }
        assert_eq!(rig.drops(), [(DropReason::TtlExceeded, 2)]);
        rig
    }

    pub(super) fn too_big() -> Rig {
        let mut rig = Rig::with(|s| net::set_mtu(s, LAN, 1400));
        let seen = rig.feed(WAN, &syn(Forward::Nat).payload(&[0; 1440]).bytes()).seen();
        assert_eq!(seen.icmp, Some(([3, 4], [0, 0, 5, 0x78])));
        assert_eq!(rig.drops(), [(DropReason::TooBig, 1)]);
        rig
    }

    pub(super) fn no_route() -> Rig {
        // The client's network has no route: its SYN arrives, the answer cannot leave.
        let mut rig = Rig::with(|s| {
            s.routes = Routes::new(net::routes().into_iter().filter(|r| r.via.is_none()).collect());
        });
        let closed = SocketAddr::new(net::vip(V4), 9);
        assert!(rig.feed(WAN, &Packet::udp(client(), closed).bytes()).sent.is_empty());
        let reasons: Vec<_> = rig.drops().into_iter().map(|d| d.0).collect();
        assert_eq!(reasons, [DropReason::ClosedPort, DropReason::NoRoute]);
        rig
    }

    pub(super) fn neighbour_dead() -> Rig {
        let mut rig = Rig::new();
        rig.set_neighbour(LAN, net::dest_addr(V4, 0), HopState::Dead);
        assert!(rig.feed(WAN, &syn(Forward::Nat).bytes()).sent.is_empty());
        assert_eq!(rig.drops(), [(DropReason::NeighbourDead, 1)]);
        rig
    }

    pub(super) fn held_overflow() -> Rig {
        let mut rig = Rig::new();
        rig.set_neighbour(LAN, net::dest_addr(V4, 0), HopState::Incomplete);
        for _ in 0..HELD_PER_NEIGHBOUR + 2 {
            assert!(rig.feed(WAN, &syn(Forward::Nat).bytes()).sent.is_empty());
        }
        assert_eq!(rig.drops(), [(DropReason::HeldOverflow, 2)]);
        assert_eq!(rig.stats(0).held.get(), HELD_PER_NEIGHBOUR as u64);
        rig
    }

    pub(super) fn no_headroom() -> Rig {
        // A tunnel's header does not fit before a frame that begins where its buffer does.
        let mut rig = Rig::new();
        let bytes = syn(Forward::Tunnel).bytes();
        let mut frame = rig.pool.alloc().expect("the pool is whole");
        assert!(frame.prepend(HEADROOM) && frame.set_len(bytes.len()));
        frame.data_mut().copy_from_slice(&bytes);
        let mut burst: Burst<MemFrame> = ArrayVec::new();
        burst.push(frame);
        assert!(rig.feed_burst(0, WAN, &mut burst).sent.is_empty());
        assert_eq!(rig.drops(), [(DropReason::NoHeadroom, 1)]);
        rig
    }

    pub(super) fn no_frame() -> Rig {
        let options = Options { frames: 4, ..Options::default() };
        let mut rig = Rig::build(options, |s, _| net::set_mtu(s, LAN, 576));
        let big = syn(Forward::Nat).may_fragment().payload(&[7; 1400]).bytes();
        // Three pieces: one is the frame itself, one is left in the pool, one is missing.
        let kept = rig.keep(2);
        assert!(rig.feed(WAN, &big).sent.is_empty());
        assert_eq!(rig.drops(), [(DropReason::NoFrame, 1)]);
        rig.give_back(kept);
        assert_eq!(rig.feed(WAN, &big).sent.len(), 3);
        rig
    }

    pub(super) fn tx_full() -> Rig {
        let mut rig = Rig::with(|s| net::set_mtu(s, LAN, 576));
        let big = syn(Forward::Nat).may_fragment().payload(&[7; 8000]).bytes();
        // 32 frames of 15 pieces each.
        let out = rig.feed_at(0, WAN, &[&big[..]; BURST]);
        assert_eq!(out.sent.len(), pointsman_dataplane::pipeline::TX_BURST);
        rig
    }

    /// Bursts without emptying the outbox in between.
    fn without_flush(rig: &mut Rig, frame: &[u8], bursts: usize) {
        let now = rig.now;
        let (pipeline, outbox, pool) = rig.parts(0);
        for _ in 0..bursts {
            let mut burst: Burst<MemFrame> =
                (0..BURST).map(|_| pool.frame(frame).expect("the pool is whole")).collect();
            pipeline.process(WAN, &mut burst, now, pool, outbox);
        }
    }

    pub(super) fn handover_full() -> Rig {
        let mut rig = Rig::workers(2);
        let elsewhere = (0..64)
            .map(|n| {
                Packet::tcp(net::client(V4, n, 5), net::service_addr(V4, Forward::Nat), flag::SYN)
            })
            .find(|p| !Rig::workers(2).feed(WAN, &p.bytes()).handed.is_empty())
            .expect("half of all clients belong to the other worker");
        without_flush(&mut rig, &elsewhere.bytes(), HANDED / BURST + 1);
        assert_eq!(rig.settled(0).handed.len(), HANDED);
        assert_eq!(rig.dropped(DropReason::HandoverFull), BURST as u64);
        rig
    }

    /// An ARP request for the VIP.
    fn arp() -> Vec<u8> {
        let mut f = [[0xff; 6], net::GATEWAY_MAC].concat();
        f.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        f.extend(net::GATEWAY_MAC);
        f.extend([10, 0, 0, 254, 0, 0, 0, 0, 0, 0, 203, 0, 113, 10]);
        f
    }

    pub(super) fn control_full() -> Rig {
        let mut rig = Rig::new();
        without_flush(&mut rig, &arp(), 2);
        assert_eq!(rig.settled(0).control.len(), BURST);
        assert_eq!(rig.drops(), [(DropReason::ControlFull, BURST as u64)]);
        rig
    }

    pub(super) fn made_reset() -> Rig {
        closed_port()
    }

    pub(super) fn made_conn_reset() -> Rig {
        of_a_dead_dest(OnDead::Reset).0
    }

    pub(super) fn made_echo_reply() -> Rig {
        let mut rig = Rig::new();
        let seen = rig.feed(WAN, &echo().bytes()).seen();
        assert_eq!(seen.icmp, Some(([0, 0], [0, 1, 0, 2])));
        assert_eq!(seen.payload, b"payload");
        assert!(rig.drops().is_empty());
        rig
    }

    pub(super) fn made_unreachable() -> Rig {
        no_dest()
    }

    pub(super) fn made_time_exceeded() -> Rig {
        ttl_exceeded()
    }

    pub(super) fn made_too_big() -> Rig {
        too_big()
    }

    pub(super) fn made_fragment() -> Rig {
        let mut rig = Rig::with(|s| net::set_mtu(s, LAN, 576));
        let out = rig.feed(WAN, &syn(Forward::Nat).may_fragment().payload(&[7; 1400]).bytes());
        assert_eq!(out.sent.len(), 3);
        assert_eq!(rig.made(Made::Fragment), 2, "n pieces are n-1 made");
        rig
    }

    pub(super) fn made_proxy_header() -> Rig {
        use pointsman_dataplane::service::ClientAddress;
        let mut rig = Rig::with(|s| {
            s.dests.iter_mut().for_each(|d| d.traits.client_address = ClientAddress::ProxyV1);
        });
        let talk = Talk::tcp(&mut rig, V4, Forward::FullNat);
        talk.answer(&mut rig, flag::SYN | flag::ACK);
        let out = talk.say(&mut rig, flag::ACK);
        assert!(see::see(&out.sent[0].bytes).payload.starts_with(b"PROXY TCP4 192.0.2.7 "));
        rig
    }

    pub(super) fn made_control() -> Rig {
        let mut rig = Rig::new();
        assert_eq!(rig.transmit(0, LAN, &arp()).only().bytes, arp());
        assert_eq!(rig.feed(WAN, &arp()).control.len(), 1);
        rig
    }

    pub(super) fn consumed_echo_request() -> Rig {
        made_echo_reply()
    }

    pub(super) fn consumed_tunnel_mtu() -> Rig {
        let mut rig = Rig::new();
        let left = Talk::tcp(&mut rig, V4, Forward::Tunnel).at_dest;
        let (router, told) = (net::dest_addr(V4, 2), [0, 0, 0x05, 0x78]);
        let error = Packet::icmp(router, left.src.ip(), [3, 4], told, &left.ip[..28]);
        let out = rig.feed(LAN, &error.from_lan(net::dest_mac(2)).bytes());
        assert_eq!(out.learnt, [(left.dst.ip(), 1400)]);
        rig
    }
}
