//! The client's address for servers that want it: PROXY protocol and TCP option 254 as the client
//! and the dest see them.

use pointsman_dataplane::laddr::PORTS;
use pointsman_dataplane::service::ClientAddress;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Family::V6;
use pointsman_dataplane::tuple::Prefix;
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
use pointsman_tests::rig::Out;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::see::Seen;
use pointsman_tests::see::Sum;
use std::net::SocketAddr;
use std::time::Duration;

const ACK: u8 = flag::ACK;
const SYN: u8 = flag::SYN;
const FIN: u8 = flag::FIN;
const RST: u8 = flag::RST;
const PSH: u8 = 8;

/// Where the client begins: its numbers wrap within the header.
const ISN: u32 = 0xffff_fff0;
/// Where the dest begins.
const DEST: u32 = 0x8000_0000;

const PROXIES: [ClientAddress; 2] = [ClientAddress::ProxyV1, ClientAddress::ProxyV2];

/// The client's number of its `n`th byte.
fn c(n: u32) -> u32 {
    ISN.wrapping_add(1 + n)
}

/// The dest's.
fn d(n: u32) -> u32 {
    DEST.wrapping_add(1 + n)
}

fn telling(kind: ClientAddress, rewrite: bool) -> impl Fn(&mut Snapshot) {
    move |s| {
        s.dests.iter_mut().for_each(|d| {
            (d.traits.client_address, d.traits.rewrite) = (kind, rewrite);
        });
    }
}

/// The header that a client's conn must have, by the figures of proxy-protocol.txt.
fn header(kind: ClientAddress, client: SocketAddr, vip: SocketAddr) -> Vec<u8> {
    let ports = [client.port().to_be_bytes(), vip.port().to_be_bytes()].concat();
    match (kind, client, vip) {
        (ClientAddress::ProxyV1, ..) => {
            let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
            let (ca, va, cp, vp) = (client.ip(), vip.ip(), client.port(), vip.port());
            format!("PROXY {family} {ca} {va} {cp} {vp}\r\n").into_bytes()
        }
        (_, SocketAddr::V4(a), SocketAddr::V4(b)) => {
            let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c";
            [&head[..], &a.ip().octets(), &b.ip().octets(), &ports].concat()
        }
        (_, SocketAddr::V6(a), SocketAddr::V6(b)) => {
            let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24";
            [&head[..], &a.ip().octets(), &b.ip().octets(), &ports].concat()
        }
        _ => panic!("families differ"),
    }
}

fn timestamps(val: u32, ecr: u32) -> Vec<u8> {
    [&[1, 1, 8, 10][..], &val.to_be_bytes(), &ecr.to_be_bytes()].concat()
}

/// A conn in the making, with its ends and by how much its numbers were shifted.
struct Conn {
    rig: Rig,
    client: SocketAddr,
    vip: SocketAddr,
    dest: SocketAddr,
    local: SocketAddr,
    mac: [u8; 6],
    shift: u32,
    header: Vec<u8>,
}

impl Conn {
    fn open(rig: Rig, family: Family, kind: ClientAddress) -> Self {
        Self::open_with(rig, family, kind, &[2, 4, 5, 0xb4])
    }

    fn open_with(mut rig: Rig, family: Family, kind: ClientAddress, options: &[u8]) -> Self {
        let vip = net::service_addr(family, Forward::FullNat);
        let client = net::client(family, 7, 40_000);
        let body = Body::Tcp { flags: SYN, seq: ISN, ack: 0 };
        let syn = Packet::new(client, vip, body).tcp_options(options);
        let seen = rig.feed(WAN, &syn.bytes()).seen();
        let shift = seen.tcp.expect("a SYN").1.wrapping_sub(ISN);
        let header = header(kind, client, vip);
        let mac = seen.eth.0;
        Self { rig, client, vip, dest: seen.dst, local: seen.src, mac, shift, header }
    }

    /// The header's length.
    fn len(&self) -> u32 {
        self.header.len() as u32
    }

    /// The number at which the dest sees the header.
    fn at(&self) -> u32 {
        c(0).wrapping_add(self.shift)
    }

    /// Says so as the client; gives all that came out.
    fn says(&mut self, flags: u8, seq: u32, ack: u32, data: &[u8]) -> Out {
        let p = Packet::new(self.client, self.vip, Body::Tcp { flags, seq, ack }).payload(data);
        self.rig.feed(WAN, &p.bytes())
    }

    /// Says so as the dest, in the dest's numbers; gives what the client saw.
    fn hears(&mut self, flags: u8, seq: u32, ack: u32, options: &[u8], data: &[u8]) -> Seen {
        let p = Packet::new(self.dest, self.local, Body::Tcp { flags, seq, ack }).payload(data);
        let p = if options.is_empty() { p } else { p.tcp_options(options) };
        let seen = self.rig.feed(LAN, &p.from_lan(self.mac).bytes()).seen();
        assert_eq!((seen.src, seen.dst, seen.sum), (self.vip, self.client, Sum::Right));
        seen
    }

    fn syn_ack(&mut self) {
        let seen = self.hears(SYN | ACK, DEST, self.at(), &[], b"");
        assert_eq!(seen.tcp, Some((SYN | ACK, DEST, c(0))));
    }

    /// The handshake's end, with the header it brings forth.
    fn shake_hands(&mut self) {
        self.syn_ack();
        let out = self.says(ACK, c(0), d(0), b"");
        assert_eq!(out.sent.len(), 2);
        self.is_header(&see::see(&out.sent[0].bytes), d(0));
        let after = self.at().wrapping_add(self.len());
        assert_eq!(see::see(&out.sent[1].bytes).tcp, Some((ACK, after, d(0))));
    }

    fn is_header(&self, seen: &Seen, ack: u32) {
        assert_eq!((seen.src, seen.dst, seen.sum), (self.local, self.dest, Sum::Right));
        assert_eq!(seen.tcp, Some((ACK | PSH, self.at(), ack)));
        assert_eq!(see::hex(&seen.payload), see::hex(&self.header));
    }

    /// The dest has all of the header and `n` bytes of the client's.
    fn acks(&mut self, n: u32) -> Seen {
        let ack = self.at().wrapping_add(self.len() + n);
        let seen = self.hears(ACK, d(0), ack, &[], b"");
        assert_eq!(seen.tcp, Some((ACK, d(0), c(n))));
        seen
    }

    fn after(&mut self, millis: u64) -> Out {
        self.rig.now = self.rig.now + Duration::from_millis(millis);
        self.rig.housekeep()
    }
}

fn every_proxy(run: impl Fn(Conn)) {
    for family in net::FAMILIES {
        for kind in PROXIES {
            for rewrite in [true, false] {
                run(Conn::open(Rig::with(telling(kind, rewrite)), family, kind));
            }
        }
    }
}

#[test]
fn the_header_is_a_segment_of_its_own_sent_with_the_ack_that_completes_the_handshake() {
    every_proxy(|mut t| {
        t.shake_hands();
        assert_eq!(t.rig.made(Made::ProxyHeader), 1);
        let seen = t.says(ACK, c(0), d(0), b"GET /").seen();
        let after = t.at().wrapping_add(t.len());
        assert_eq!((seen.tcp, seen.sum), (Some((ACK, after, d(0))), Sum::Right));
        assert_eq!(seen.payload, b"GET /");
        t.acks(5);
        // The server's first word, and the end.
        let seen = t.hears(ACK, d(0), t.at().wrapping_add(t.len() + 5), &[], b"220");
        assert_eq!((seen.tcp, &seen.payload[..]), (Some((ACK, d(0), c(5))), &b"220"[..]));
        let seen = t.says(FIN | ACK, c(5), d(3), b"").seen();
        assert_eq!(seen.tcp, Some((FIN | ACK, after.wrapping_add(5), d(3))));
        assert_eq!(t.rig.made(Made::ProxyHeader), 1);
    });
}

#[test]
fn by_default_nothing_is_told() {
    let mut t = Conn::open(Rig::new(), V4, ClientAddress::ProxyV1);
    t.syn_ack();
    let seen = t.says(ACK, c(0), d(0), b"GET /").seen();
    assert_eq!(seen.tcp, Some((ACK, t.at(), d(0))));
    assert_eq!(t.rig.made(Made::ProxyHeader), 0);
}

#[test]
fn nat_dr_and_tunnel_tell_nothing() {
    for forward in [Forward::Nat, Forward::Dr, Forward::Tunnel] {
        for (proto, flags) in [(Proto::Tcp, SYN), (Proto::Udp, 0)] {
            let mut rig = Rig::with(telling(ClientAddress::ProxyV2, true));
            let (client, vip) = (net::client(V4, 7, 9), net::service_addr(V4, forward));
            let p = match proto {
                Proto::Udp => Packet::udp(client, vip),
                _ => Packet::tcp(client, vip, flags),
            };
            let sent = rig.feed(WAN, &p.bytes()).seen();
            let outer = if forward == Forward::Tunnel { 20 } else { 0 };
            assert_eq!(sent.ip.len(), p.ip().len() + outer, "{forward:?}");
        }
    }
}

#[test]
fn the_header_is_resent_until_the_dest_acknowledges_it() {
    every_proxy(|mut t| {
        t.shake_hands();
        assert!(t.after(199).sent.is_empty());
        for wait in [1, 400, 800, 1600, 3200, 6400] {
            let out = t.after(wait);
            t.is_header(&out.seen(), d(0));
            assert!(t.after(0).sent.is_empty());
        }
        // Half of it is not it.
        let seen = t.hears(ACK, d(0), t.at().wrapping_add(20), &[], b"");
        assert_eq!(seen.tcp, Some((ACK, d(0), c(0))));
        assert_eq!(t.after(12_800).sent.len(), 1);
        t.acks(0);
        assert!(t.after(60_000).sent.is_empty());
        assert_eq!(t.rig.made(Made::ProxyHeader), 8);
    });
}

#[test]
fn a_header_sent_again_says_what_the_client_said_last() {
    for family in net::FAMILIES {
        let kind = ClientAddress::ProxyV2;
        let mut rig = Rig::with(telling(kind, true));
        let options = [&[2, 4, 5, 0xb4][..], &timestamps(1000, 0)].concat();
        let vip = net::service_addr(family, Forward::FullNat);
        let client = net::client(family, 7, 40_000);
        let body = Body::Tcp { flags: SYN, seq: ISN, ack: 0 };
        let seen = rig.feed(WAN, &Packet::new(client, vip, body).tcp_options(&options).bytes());
        let seen = seen.seen();
        let val =
            |s: &Seen, at: usize| u32::from_be_bytes(s.segment[at..at + 4].try_into().unwrap());
        let ts_shift = val(&seen, 28).wrapping_sub(1000);
        let says = |ts: u32, ack: u32, data: &[u8]| {
            let body = Body::Tcp { flags: ACK, seq: c(0), ack };
            let p = Packet { tos: 0xb9, ttl: 33, ..Packet::new(client, vip, body) };
            p.payload(data).tcp_options(&timestamps(ts, 77)).bytes()
        };
        let out = rig.feed(WAN, &says(1001, d(0), b""));
        let first = see::see(&out.sent[0].bytes);
        // DSCP and TTL are the client's, ECN is not.
        assert_eq!((first.tos, first.ttl, first.df), (0xb8, 32, family == V4));
        assert_eq!((val(&first, 24), val(&first, 28)), (1001u32.wrapping_add(ts_shift), 77));
        rig.feed(WAN, &says(1050, d(100), b"data"));
        // What comes late does not take it back.
        rig.feed(WAN, &says(1020, d(50), b""));
        rig.now = rig.now + Duration::from_millis(200);
        let again = rig.housekeep().seen();
        assert_eq!(again.tcp, Some((ACK | PSH, first.tcp.unwrap().1, d(100))));
        assert_eq!((val(&again, 24), val(&again, 28)), (1050u32.wrapping_add(ts_shift), 77));
        assert_eq!((again.payload, again.sum), (first.payload, Sum::Right));
    }
}

#[test]
fn acks_and_sack_edges_inside_the_header_are_clamped_to_the_clients_first_byte() {
    every_proxy(|mut t| {
        t.shake_hands();
        t.says(ACK, c(0), d(0), &[7; 40]);
        let (at, len) = (t.at(), t.len());
        let block = |from: u32, to: u32| {
            let there = |n: u32| at.wrapping_add(n).to_be_bytes();
            [there(from), there(to)].concat()
        };
        let sack = |blocks: &[(u32, u32)]| {
            let mut o = vec![1, 1, 5, 2 + 8 * blocks.len() as u8];
            blocks.iter().for_each(|(a, b)| o.extend(block(*a, *b)));
            o
        };
        let ours = |blocks: &[(u32, u32)]| {
            let mut o = vec![1, 1, 5, 2 + 8 * blocks.len() as u8];
            blocks
                .iter()
                .for_each(|(a, b)| o.extend([c(*a), c(*b)].map(u32::to_be_bytes).concat()));
            o
        };
        let heard = |t: &mut Conn, ack: u32, o: &[u8]| {
            let seen = t.hears(ACK, d(0), at.wrapping_add(ack), o, b"");
            (seen.tcp.unwrap().2, seen.segment[20..].to_vec())
        };
        // All lies within the header, and its second half has come.
        let nothing = vec![1; 12];
        assert_eq!(heard(&mut t, 0, &sack(&[(len - 9, len)])), (c(0), nothing.clone()));
        // The client's first bytes have come, the header has not.
        assert_eq!(heard(&mut t, 0, &sack(&[(len - 9, len + 10)])), (c(0), nothing.clone()));
        assert_eq!(heard(&mut t, 3, &sack(&[(len, len + 10)])), (c(0), nothing));
        // What lies further on is told, be it behind such a block or not.
        let kept = [&ours(&[(20, 30)])[..], &[1; 8]].concat();
        assert_eq!(heard(&mut t, 0, &sack(&[(len, len + 10), (len + 20, len + 30)])), (c(0), kept));
        assert_eq!(heard(&mut t, 0, &sack(&[(len + 5, len + 10)])), (c(0), ours(&[(5, 10)])));
        // A duplicate of the client's, told with what settles it (RFC 2883).
        let got = heard(&mut t, len + 10, &sack(&[(len, len + 10), (len + 20, len + 30)]));
        assert_eq!(got, (c(10), ours(&[(0, 10), (20, 30)])));
        // From here on it is a plain shift: nothing is clamped any more.
        let got = heard(&mut t, len + 10, &sack(&[(len + 12, len + 14)]));
        assert_eq!(got, (c(10), ours(&[(12, 14)])));
    });
}

/// The dest reports the second copy of a header as one after it has acknowledged the first.
#[test]
fn a_report_of_the_headers_copy_is_kept_from_the_client() {
    every_proxy(|mut t| {
        t.shake_hands();
        assert_eq!(t.after(200).sent.len(), 1);
        t.acks(0);
        let (at, len) = (t.at(), t.len());
        let number = |n: u32| at.wrapping_add(n).to_be_bytes();
        let report = [&[1, 1, 5, 10][..], &number(0), &number(len)].concat();
        let seen = t.hears(ACK, d(0), at.wrapping_add(len), &report, b"");
        assert_eq!((seen.tcp.unwrap().2, &seen.segment[20..]), (c(0), &[1; 12][..]));
        // It is not sent again, and the conn becomes one like any other.
        assert!(t.after(60_000).sent.is_empty());
        t.acks(0);
        let plain = [&[1, 1, 5, 10][..], &number(len + 2), &number(len + 4)].concat();
        let seen = t.hears(ACK, d(0), at.wrapping_add(len), &plain, b"");
        assert_eq!(seen.segment[24..], [c(2), c(4)].map(u32::to_be_bytes).concat());
        assert!(t.rig.conns().iter().all(|(_, conn, _)| !conn.introduces()));
    });
}

#[test]
fn what_the_client_sends_is_payload_after_ours_and_cannot_spoof() {
    for kind in PROXIES {
        let mut t = Conn::open(Rig::with(telling(kind, true)), V4, kind);
        t.syn_ack();
        let fake = header(kind, net::client(V4, 99, 9), t.vip);
        let out = t.says(ACK, c(0), d(0), &fake);
        t.is_header(&see::see(&out.sent[0].bytes), d(0));
        let seen = see::see(&out.sent[1].bytes);
        assert_eq!(seen.tcp.unwrap().1, t.at().wrapping_add(t.len()));
        assert_eq!(seen.payload, fake);
        // Nor in the SYN, nor in a segment that comes before its handshake.
        let mut rig = Rig::with(telling(kind, true));
        let client = net::client(V4, 8, 9);
        let body = Body::Tcp { flags: SYN, seq: 5, ack: 0 };
        let syn = Packet { padding: 3, ..Packet::new(client, t.vip, body).payload(b"odd") };
        let seen = rig.feed(WAN, &syn.bytes()).seen();
        assert_eq!((&seen.payload[..], seen.sum), (&b""[..], Sum::Right));
        let body = Body::Tcp { flags: ACK, seq: 106, ack: 9 };
        let early = Packet::new(client, t.vip, body).payload(b"data");
        let out = rig.feed(WAN, &early.bytes());
        let first = see::see(&out.sent[0].bytes);
        assert_eq!(first.tcp.unwrap().1, seen.tcp.unwrap().1.wrapping_add(1));
        assert_eq!(see::see(&out.sent[1].bytes).payload, b"data");
    }
}

#[test]
fn a_conn_with_a_header_is_no_multipath_one() {
    let multipath = [30, 4, 0x00, 0x81];
    let offer = [&[2, 4, 5, 0xb4][..], &multipath].concat();
    for (kind, blank) in [(ClientAddress::ProxyV2, true), (ClientAddress::Toa, false)] {
        let mut rig = Rig::with(telling(kind, true));
        let vip = net::service_addr(V4, Forward::FullNat);
        let syn = Packet::tcp(net::client(V4, 8, 9), vip, SYN).tcp_options(&offer);
        let seen = rig.feed(WAN, &syn.bytes()).seen();
        let expected = if blank { [1; 4] } else { multipath };
        assert_eq!((&options(&seen)[4..], seen.sum), (&expected[..], Sum::Right));
    }
}

#[test]
fn data_in_a_syn_over_ipv6_waits_for_the_header_too() {
    let mut rig = Rig::with(telling(ClientAddress::ProxyV2, true));
    let vip = net::service_addr(V6, Forward::FullNat);
    let syn = Packet::tcp(net::client(V6, 8, 9), vip, SYN).payload(b"first");
    let seen = rig.feed(WAN, &syn.bytes()).seen();
    assert_eq!((&seen.payload[..], seen.sum), (&b""[..], Sum::Right));
}

#[test]
fn upstream_proxies_header_is_taken_over() {
    let inside = Prefix::new(net::ip("192.0.2.0").into(), 29);
    for kind in [ClientAddress::ProxyV1, ClientAddress::ProxyV2, ClientAddress::Toa] {
        let rig = || {
            Rig::with(|s| {
                telling(kind, true)(s);
                s.services.iter_mut().for_each(|s| s.proxy_in = vec![inside]);
            })
        };
        let mut t = Conn::open(rig(), V4, ClientAddress::ProxyV1);
        t.syn_ack();
        let seen = t.says(ACK, c(0), d(0), b"PROXY TCP4 198.51.100.1 ...").seen();
        assert_eq!(seen.tcp, Some((ACK, t.at(), d(0))));
        assert_eq!(seen.payload, b"PROXY TCP4 198.51.100.1 ...");
        assert_eq!(t.rig.made(Made::ProxyHeader), 0);
        // And only theirs.
        let mut rig = rig();
        let (client, vip) = (net::client(V4, 8, 9), t.vip);
        rig.feed(WAN, &Packet::tcp(client, vip, SYN).bytes());
        let out = rig.feed(WAN, &Packet::tcp(client, vip, ACK).bytes());
        let len: usize = out.sent.iter().map(|s| s.bytes.len()).sum();
        assert!(len > 54, "{kind:?}: nothing was told");
    }
}

#[test]
fn upstream_proxies_datagrams_are_left_alone() {
    let mut rig = Rig::with(|s| {
        telling(ClientAddress::ProxyV2, true)(s);
        let inside = Prefix::new(net::ip("2001:db8:c::").into(), 64);
        s.services.iter_mut().for_each(|s| s.proxy_in = vec![inside]);
    });
    let vip = net::service_addr(V6, Forward::FullNat);
    let seen = rig.feed(WAN, &Packet::udp(net::client(V6, 7, 9), vip).bytes()).seen();
    assert_eq!(seen.payload, b"hello");
}

#[test]
fn fin_and_data_in_the_first_segment_follow_the_header() {
    every_proxy(|mut t| {
        t.syn_ack();
        let out = t.says(FIN | ACK, c(0), d(0), b"all of it");
        t.is_header(&see::see(&out.sent[0].bytes), d(0));
        let seen = see::see(&out.sent[1].bytes);
        let after = t.at().wrapping_add(t.len());
        assert_eq!((seen.tcp, seen.sum), (Some((FIN | ACK, after, d(0))), Sum::Right));
        t.acks(10);
    });
}

#[test]
fn a_client_that_resets_before_the_header_sends_none() {
    every_proxy(|mut t| {
        t.syn_ack();
        let seen = t.says(RST, c(0), 0, b"").seen();
        assert_eq!(seen.tcp, Some((RST, t.at(), 0)));
        assert_eq!(t.rig.made(Made::ProxyHeader), 0);
        // A RST does not end SYN_RECV, as in the kernel's table.
        t.rig.pass(Duration::from_secs(63));
        assert!(t.rig.conns().is_empty());
    });
}

#[test]
fn a_reset_of_the_dest_ends_the_resending() {
    every_proxy(|mut t| {
        t.shake_hands();
        let seen = t.hears(RST | ACK, d(0), t.at(), &[], b"");
        assert_eq!(seen.tcp, Some((RST | ACK, d(0), c(0))));
        assert!(t.after(5000).sent.is_empty());
    });
}

#[test]
fn a_syn_sent_again_after_the_header_keeps_its_number() {
    every_proxy(|mut t| {
        t.shake_hands();
        let seen = t.says(SYN, ISN, 0, b"").seen();
        assert_eq!(seen.tcp, Some((SYN, ISN.wrapping_add(t.shift), 0)));
        // And the numbers after it are shifted as before.
        let seen = t.says(ACK, c(0), d(0), b"x").seen();
        assert_eq!(seen.tcp.unwrap().1, t.at().wrapping_add(t.len()));
        // So does the SYN-ACK that the dest sends again.
        let seen = t.hears(SYN | ACK, DEST, t.at(), &[], b"");
        assert_eq!(seen.tcp, Some((SYN | ACK, DEST, c(0))));
    });
}

#[test]
fn a_client_that_begins_anew_before_the_handshake_gets_a_header_where_it_begins() {
    let kind = ClientAddress::ProxyV1;
    let mut t = Conn::open(Rig::with(telling(kind, true)), V4, kind);
    t.says(SYN, 5000, 0, b"");
    let out = t.says(ACK, 5001, d(0), b"");
    let seen = see::see(&out.sent[0].bytes);
    assert_eq!(seen.tcp.unwrap().1, 5001u32.wrapping_add(t.shift));
}

#[test]
fn without_a_free_frame_the_header_comes_with_its_next_turn() {
    every_proxy(|mut t| {
        t.syn_ack();
        let kept = t.rig.keep(t.rig.pool.available() - 1);
        let seen = t.says(ACK, c(0), d(0), b"GET").seen();
        assert_eq!(seen.tcp.unwrap().1, t.at().wrapping_add(t.len()), "place is left for it");
        t.rig.give_back(kept);
        let out = t.after(200);
        t.is_header(&out.seen(), d(0));
    });
}

#[test]
fn a_second_choice_gets_the_header_once() {
    let kind = ClientAddress::ProxyV2;
    let rig = Rig::with(|s| {
        telling(kind, true)(s);
        s.dests.iter_mut().for_each(|d| d.traits.retries = 1);
    });
    let mut t = Conn::open(rig, V4, kind);
    let refused = Packet::new(t.dest, t.local, Body::Tcp { flags: RST | ACK, seq: 0, ack: t.at() });
    t.rig.feed(LAN, &refused.from_lan(t.mac).bytes());
    assert_eq!(t.rig.dropped(DropReason::SecondChoice), 1);
    let seen = t.says(SYN, ISN, 0, b"").seen();
    assert_ne!(seen.dst, t.dest);
    (t.dest, t.local, t.mac) = (seen.dst, seen.src, seen.eth.0);
    t.shift = seen.tcp.unwrap().1.wrapping_sub(ISN);
    t.shake_hands();
    t.acks(0);
    assert_eq!(t.rig.made(Made::ProxyHeader), 1);
}

#[test]
fn a_conn_that_ends_takes_its_header_along_and_the_others_go_on() {
    let kind = ClientAddress::ProxyV2;
    let mut rig = Rig::with(telling(kind, true));
    let vip = net::service_addr(V4, Forward::FullNat);
    let client = |n: u8| net::client(V4, n, 9);
    for n in 0..5 {
        rig.feed(WAN, &Packet::tcp(client(n), vip, SYN).bytes());
        rig.feed(WAN, &Packet::tcp(client(n), vip, ACK).bytes());
    }
    // The middle, the newest and the oldest of the list.
    for n in [2, 4, 0] {
        rig.feed(WAN, &Packet::tcp(client(n), vip, RST | ACK).bytes());
    }
    rig.now = rig.now + Duration::from_secs(9);
    // All five are due: those that were reset are waiting for an answer still.
    assert_eq!(rig.housekeep().sent.len(), 5);
    rig.now = rig.now + Duration::from_secs(2);
    let left = rig.housekeep().sent.len();
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.conns().len(), 2, "CLOSE lasts ten seconds");
    assert!(left <= 5);
    let before = rig.made(Made::ProxyHeader);
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.made(Made::ProxyHeader) - before, 2);
    rig.pass(Duration::from_secs(1000));
    assert!(rig.conns().is_empty());
}

#[test]
fn a_lent_port_takes_no_header_along() {
    let kind = ClientAddress::ProxyV1;
    let options = Options { workers: 1, conns: 70_000, ..Options::default() };
    let rig = Rig::build(options, |s, _| {
        telling(kind, true)(s);
        s.ports.iter_mut().for_each(|p| p.fixed_queue = true);
        let service = net::service_index(V4, Proto::Tcp, Forward::FullNat);
        s.services[service].dests.truncate(1);
    });
    let mut t = Conn::open(rig, V4, kind);
    t.shake_hands();
    t.says(RST | ACK, c(0), d(0), b"");
    // Every port is in use but the first one, of a conn in CLOSE.
    let client = |n: u32| net::client(V4, 100 + (n >> 15) as u8, 2000 + (n & 0x7fff) as u16);
    t.rig.feed_many(0, WAN, (0..PORTS).map(|n| Packet::tcp(client(n), t.vip, SYN).bytes()));
    assert_eq!(t.rig.sum(|s| &s.lent), 1);
    assert!(t.after(5000).sent.is_empty());
}

#[test]
fn any_worker_that_gets_the_conn_tells() {
    for fixed in [true, false] {
        let options = Options { workers: 3, ..Options::default() };
        let mut rig = Rig::build(options, |s, _| {
            telling(ClientAddress::ProxyV2, true)(s);
            s.ports.iter_mut().for_each(|p| p.fixed_queue = fixed);
        });
        let vip = net::service_addr(V6, Forward::FullNat);
        for n in 0..30u8 {
            let client = net::client(V6, n, 9);
            let at = usize::from(n) % 3;
            rig.feed_at(at, WAN, &[&Packet::tcp(client, vip, SYN).bytes()]);
            let out = rig.feed_at(at, WAN, &[&Packet::tcp(client, vip, ACK).bytes()]);
            let expected = header(ClientAddress::ProxyV2, client, vip);
            assert_eq!(see::see(&out.sent[0].bytes).payload, expected);
            assert_eq!(out.sent.len(), 2);
        }
        rig.now = rig.now + Duration::from_millis(200);
        assert_eq!(rig.housekeep().sent.len(), 30);
    }
}

#[test]
fn a_header_waits_for_the_dests_mac_before_the_clients_segment() {
    use pointsman_dataplane::neigh::HopState;
    let kind = ClientAddress::ProxyV2;
    let mut t = Conn::open(Rig::with(telling(kind, true)), V4, kind);
    t.syn_ack();
    t.rig.set_neighbour(LAN, t.dest.ip(), HopState::Incomplete);
    assert!(t.says(ACK, c(0), d(0), b"GET").sent.is_empty());
    t.rig.set_neighbour(LAN, t.dest.ip(), HopState::Reachable(t.mac));
    let out = t.rig.housekeep();
    t.is_header(&see::see(&out.sent[0].bytes), d(0));
    assert_eq!(see::see(&out.sent[1].bytes).payload, b"GET");
}

#[test]
fn a_long_conn_is_not_off_by_a_byte() {
    let kind = ClientAddress::ProxyV1;
    let mut t = Conn::open(Rig::with(telling(kind, true)), V4, kind);
    t.shake_hands();
    t.acks(0);
    // More than half the numbers there are, and round.
    let mut sent = 0u32;
    for step in [1u32, 1000, 1 << 30, 1 << 30, 1 << 30, 1 << 30, 77] {
        sent = sent.wrapping_add(step);
        let seen = t.says(ACK, c(sent), d(0), b"x").seen();
        let there = t.at().wrapping_add(t.len()).wrapping_add(sent);
        assert_eq!(seen.tcp.unwrap().1, there);
        let seen = t.hears(ACK, d(0), there.wrapping_add(1), &[], b"");
        assert_eq!(seen.tcp.unwrap().2, c(sent).wrapping_add(1));
    }
}

/// An ICMP error about `quoted`, as the dest's network sends it.
fn error(t: &Conn, kind: [u8; 2], rest: [u8; 4], quoted: &[u8]) -> Packet {
    Packet::icmp(t.dest.ip(), t.local.ip(), kind, rest, quoted).from_lan(t.mac)
}

#[test]
fn an_error_about_the_header_quotes_the_clients_first_byte() {
    every_proxy(|mut t| {
        t.syn_ack();
        let out = t.says(ACK, c(0), d(0), b"long");
        let kind = if t.client.is_ipv4() { [3, 1] } else { [1, 3] };
        for (frame, len) in [(0, usize::MAX), (1, usize::MAX), (0, 8)] {
            let ip = see::see(&out.sent[frame].bytes).ip;
            let header = ip.len() - see::see(&out.sent[frame].bytes).segment.len();
            let quote = &ip[..ip.len().min(len.saturating_add(header))];
            let seen = t.rig.feed(LAN, &error(&t, kind, [0; 4], quote).bytes()).seen();
            assert_eq!((seen.dst.ip(), seen.sum), (t.client.ip(), Sum::Right));
            assert_eq!(seen.payload[header + 4..header + 8], c(0).to_be_bytes());
            if len == usize::MAX {
                let inner = see::see_ip(&seen.payload);
                assert_eq!((inner.src, inner.dst, inner.sum), (t.client, t.vip, Sum::Right));
            }
        }
    });
}

/// The header that each of a client's datagrams must have: version 2 with a TLV of no meaning, so
/// that it is a multiple of eight bytes.
fn datagram_header(client: SocketAddr, vip: SocketAddr) -> Vec<u8> {
    let mut h = header(ClientAddress::ProxyV2, client, vip);
    h[13] += 1;
    h[15] += 4;
    h.extend([4, 0, 1, 0]);
    h
}

fn telling_datagrams(s: &mut Snapshot) {
    telling(ClientAddress::ProxyV2, true)(s);
    // As the control thread builds it.
    s.dests.iter_mut().for_each(|d| d.mtu -= net::of(d.addr.family(), 32, 56));
}

#[test]
fn udp_has_version_2_in_every_datagram() {
    for family in net::FAMILIES {
        for checksum in [true, false] {
            if family == V6 && !checksum {
                continue;
            }
            let mut rig = Rig::with(telling_datagrams);
            let (client, vip) =
                (net::client(family, 7, 9), net::service_addr(family, Forward::FullNat));
            let expected = datagram_header(client, vip);
            for data in [&b"query"[..], b"", b"three"] {
                let p = Packet::new(client, vip, Body::Udp { checksum }).payload(data);
                let seen = rig.feed(WAN, &p.bytes()).seen();
                assert_eq!(see::hex(&seen.payload), see::hex(&[&expected, data].concat()));
                assert_eq!(seen.sum, if checksum { Sum::Right } else { Sum::Absent });
                let whole = (8 + expected.len() + data.len()) as u16;
                assert_eq!(seen.segment[4..6], whole.to_be_bytes());
                // The answer is as the dest made it.
                let answer =
                    Packet::udp(seen.dst, seen.src).from_lan(seen.eth.0).payload(b"answer");
                let back = rig.feed(LAN, &answer.bytes()).seen();
                assert_eq!((back.src, back.dst, back.sum), (vip, client, Sum::Right));
                assert_eq!(back.payload, b"answer");
            }
        }
    }
}

#[test]
fn a_datagram_without_room_for_the_header_is_too_big_or_goes_in_fragments() {
    for family in net::FAMILIES {
        let mut rig = Rig::with(telling_datagrams);
        let (client, vip) =
            (net::client(family, 7, 9), net::service_addr(family, Forward::FullNat));
        let (ip, by) = net::of(family, (20, 32u16), (40, 56));
        let sized = |total: usize| Packet::udp(client, vip).payload(&vec![5; total - ip - 8]);
        let fits = usize::from(1500 - by);
        assert_eq!(rig.feed(WAN, &sized(fits).bytes()).seen().ip.len(), 1500);
        let seen = rig.feed(WAN, &sized(fits + 1).bytes()).seen();
        let (kind, rest) = seen.icmp.expect("too big");
        assert_eq!(kind, net::of(family, [3, 4], [2, 0]));
        assert_eq!(u32::from_be_bytes(rest), u32::from(1500 - by));
        if family == V4 {
            let out = rig.feed(WAN, &sized(1500).may_fragment().bytes());
            assert_eq!(out.sent.len(), 2);
            assert_eq!(see::sums(&out.frames()), Ok(vec![Sum::Right]));
        }
    }
}

/// Puts the fragments of one datagram together, v4 and v6.
fn whole(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut parts: Vec<(usize, bool, Vec<u8>)> = frames
        .iter()
        .map(|f| {
            if f[12] == 8 {
                let seen = see::see(f);
                return (seen.fragment.1, seen.fragment.0, seen.segment);
            }
            let word = u16::from_be_bytes([f[14 + 40 + 2], f[14 + 40 + 3]]);
            (usize::from(word & 0xfff8), word & 1 == 1, f[14 + 48..].to_vec())
        })
        .collect();
    parts.sort_by_key(|p| p.0);
    let mut all = Vec::new();
    for (at, more, bytes) in &parts {
        assert_eq!((*at, *more), (all.len(), all.len() + bytes.len() != total(&parts)));
        all.extend(bytes);
    }
    all
}

fn total(parts: &[(usize, bool, Vec<u8>)]) -> usize {
    parts.iter().map(|p| p.2.len()).sum()
}

#[test]
fn a_fragmented_datagram_has_the_header_once_and_its_pieces_move_on() {
    for (family, crossed) in net::FAMILIES.iter().flat_map(|f| [(*f, false), (*f, true)]) {
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut rig = Rig::with(|s| {
                if crossed {
                    net::cross(s);
                }
                telling_datagrams(s);
            });
            let client = net::client(family, 7, 9);
            let vip = net::service_addr(family, Forward::FullNat);
            let data: Vec<u8> = (0..3000u32).map(|n| (n * 7) as u8).collect();
            let pieces = Packet::udp(client, vip).payload(&data).cut(77, &[1000, 2000]);
            let mut frames = Vec::new();
            for n in order {
                frames.extend(rig.feed(WAN, &pieces[n].bytes()).frames());
            }
            assert_eq!(frames.len(), 3);
            let segment = whole(&frames);
            let expected = [&datagram_header(client, vip)[..], &data].concat();
            assert_eq!(segment.len(), 8 + expected.len());
            assert!(segment[8..] == expected);
            let first = frames.iter().map(|f| see::see(f)).next().expect("three");
            let sum = see::transport_sum(first.src.ip(), first.dst.ip(), 17, &segment);
            assert_eq!(sum, Sum::Right);
        }
    }
}

#[test]
fn a_conn_of_before_a_reload_goes_on_with_its_header_as_far_as_it_fits() {
    let mut rig = Rig::with(telling_datagrams);
    let (client, vip) = (net::client(V4, 7, 9), net::service_addr(V4, Forward::FullNat));
    rig.feed(WAN, &Packet::udp(client, vip).bytes());
    rig.reload(|s| {
        telling(ClientAddress::Off, true)(s);
        s.dests.iter_mut().for_each(|d| d.mtu = 1500);
    });
    let sized = |total: usize| Packet::udp(client, vip).payload(&vec![5; total - 28]).bytes();
    assert_eq!(rig.feed(WAN, &sized(1468)).seen().ip.len(), 1500);
    assert!(rig.feed(WAN, &sized(1469)).sent.is_empty());
    assert_eq!(rig.dropped(DropReason::TooBig), 1);
    // A new one has none.
    let other = Packet::udp(net::client(V4, 8, 9), vip);
    assert_eq!(rig.feed(WAN, &other.bytes()).seen().payload, b"hello");
}

#[test]
fn a_datagram_that_would_outgrow_ip_is_too_big() {
    for (family, piece) in [(V4, 65_512usize), (V6, 65_520)] {
        let mut rig = Rig::with(telling_datagrams);
        let vip = net::service_addr(family, Forward::FullNat);
        let whole = Packet::udp(net::client(family, 7, 9), vip).payload(&vec![1; piece - 8 + 4]);
        let pieces = whole.cut(5, &[1000, piece / 8 * 8 - 8]);
        // The middle is longer than any frame; first and last show it.
        assert!(rig.feed(WAN, &pieces[0].bytes()).sent.is_empty());
        assert_eq!(rig.dropped(DropReason::TooBig), 1);
        rig.feed(WAN, &pieces[2].bytes());
        assert_eq!(rig.dropped(DropReason::TooBig), 2);
    }
}

#[test]
fn an_error_about_a_datagram_is_told_as_if_it_had_no_header() {
    for family in net::FAMILIES {
        for (with_extension, quote) in [(false, usize::MAX), (false, 8), (false, 30), (true, 128)] {
            let mut rig = Rig::with(telling_datagrams);
            let (client, vip) =
                (net::client(family, 7, 9), net::service_addr(family, Forward::FullNat));
            let data = [9; 200];
            let sent = Packet::udp(client, vip).payload(&data);
            let there = rig.feed(WAN, &sent.bytes()).seen();
            let ip = there.ip.len() - there.segment.len();
            let len = there.ip.len().min(ip.saturating_add(quote).max(quote.min(1000)));
            let mut about = there.ip[..len].to_vec();
            let mut rest = net::of(family, [0, 0, 5, 0x78], [0, 0, 5, 0x78]);
            let mut kind = net::of(family, [3, 4], [2, 0]);
            if with_extension {
                about.truncate(128);
                about.extend([0x20, 0, 0, 0]);
                kind = net::of(family, [11, 0], [3, 0]);
                rest = net::of(family, [0, 32, 0, 0], [16, 0, 0, 0]);
            }
            let p = Packet::icmp(there.dst.ip(), there.src.ip(), kind, rest, &about);
            let seen = rig.feed(LAN, &p.from_lan(there.eth.0).bytes()).seen();
            assert_eq!((seen.dst.ip(), seen.sum), (client.ip(), Sum::Right));
            let (got_kind, got) = seen.icmp.expect("an error");
            assert_eq!(got_kind, kind);
            let by = net::of(family, 32, 56);
            let mtu = (0x578 - by).max(net::of(family, 68, 1280));
            let expected = if with_extension { 0 } else { mtu };
            assert_eq!(u32::from_be_bytes(got), expected);
            // TTL apart it is what the client sent, as far as it is quoted.
            let mut original = sent.ip();
            let quoted = &seen.payload;
            if family == V4 {
                original[8] -= 1;
                original[10..12].copy_from_slice(&quoted[10..12]);
            } else {
                original[7] -= 1;
            }
            let (have, header) = (quoted.len(), ip + 8);
            assert!(have >= header && have <= original.len());
            let same = if have == original.len() { have } else { header - 2 };
            assert_eq!(see::hex(&quoted[..same]), see::hex(&original[..same]), "{quote}");
            if quote == usize::MAX {
                assert_eq!(have, original.len());
                let inner = see::see_ip(quoted);
                assert_eq!((inner.sum, inner.ip_sum), (Sum::Right, true));
            }
        }
    }
}

/// The options of a segment.
fn options(seen: &Seen) -> Vec<u8> {
    seen.segment[20..usize::from(seen.segment[12] >> 4) * 4].to_vec()
}

fn toa(client: SocketAddr) -> Vec<u8> {
    let port = client.port().to_be_bytes();
    match client {
        SocketAddr::V4(a) => [&[254, 8][..], &port, &a.ip().octets()].concat(),
        SocketAddr::V6(a) => [&[254, 20][..], &port, &a.ip().octets()].concat(),
    }
}

fn toa_conn(family: Family) -> Conn {
    Conn::open(Rig::with(telling(ClientAddress::Toa, true)), family, ClientAddress::ProxyV1)
}

#[test]
fn option_254_is_the_other_choice() {
    for family in net::FAMILIES {
        let mut t = toa_conn(family);
        t.syn_ack();
        for data in [&b""[..], b"GET", b"GET", b""] {
            let seen = t.says(ACK, c(0), d(0), data).seen();
            assert_eq!((seen.tcp, seen.sum), (Some((ACK, t.at(), d(0))), Sum::Right));
            assert_eq!((options(&seen), &seen.payload[..]), (toa(t.client), data));
        }
        // An ACK of nothing new may have been sent before the dest took the conn.
        t.hears(ACK, d(0), t.at(), &[], b"");
        assert_eq!(options(&t.says(ACK, c(3), d(0), b"").seen()), toa(t.client));
        t.hears(ACK, d(0), t.at().wrapping_add(3), &[], b"");
        assert_eq!(options(&t.says(ACK, c(3), d(0), b"more").seen()), [0; 0]);
    }
}

#[test]
fn a_dest_that_speaks_has_seen_the_option() {
    let mut t = toa_conn(V4);
    t.syn_ack();
    t.says(ACK, c(0), d(0), b"");
    t.hears(ACK, d(0), t.at(), &[], b"220 hello");
    assert_eq!(options(&t.says(ACK, c(0), d(9), b"").seen()), [0; 0]);
}

#[test]
fn the_syn_acks_mss_leaves_room_for_the_option() {
    for family in net::FAMILIES {
        let mut t = toa_conn(family);
        let at = t.at();
        let seen = t.hears(SYN | ACK, DEST, at, &[2, 4, 0x05, 0xb4], b"");
        let mss = 1460 - net::of(family, 8u16, 20);
        assert_eq!(options(&seen), [&[2, 4][..], &mss.to_be_bytes()].concat());
    }
}

#[test]
fn where_there_is_no_room_the_option_stays_away() {
    for family in net::FAMILIES {
        let mut t = toa_conn(family);
        t.syn_ack();
        let by = net::of(family, 8, 20);
        let header = net::of(family, 40, 60);
        let seen = t.says(ACK, c(0), d(0), &vec![1; 1500 - header - by]).seen();
        assert_eq!((options(&seen), seen.ip.len()), (toa(t.client), 1500));
        let seen = t.says(ACK, c(0), d(0), &vec![1; 1500 - header - by + 1]).seen();
        assert_eq!(options(&seen), [0; 0]);
        // 40 bytes of options and no more.
        let body = Body::Tcp { flags: ACK, seq: c(0), ack: d(0) };
        for (others, is_there) in [(40 - by, true), (44 - by, false)] {
            let p = Packet::new(t.client, t.vip, body.clone()).tcp_options(&vec![1; others]);
            let seen = t.rig.feed(WAN, &p.bytes()).seen();
            assert_eq!(options(&seen).contains(&254), is_there);
            assert_eq!(seen.sum, Sum::Right);
        }
        // Of a segment in pieces the later ones would not follow.
        let p = Packet::new(t.client, t.vip, body).payload(&[3; 100]);
        let pieces = p.cut(9, &[64]);
        let frames: Vec<_> =
            pieces.iter().flat_map(|p| t.rig.feed(WAN, &p.bytes()).frames()).collect();
        assert_eq!(whole(&frames).len(), 120);
    }
}

#[test]
fn a_clients_own_option_254_is_blanked() {
    for family in net::FAMILIES {
        let fake = toa(net::client(family, 99, 1));
        let syn_options = [&[2, 4, 5, 0xb4][..], &fake].concat();
        let rig = Rig::with(telling(ClientAddress::Toa, true));
        let mut t = Conn::open_with(rig, family, ClientAddress::ProxyV1, &syn_options);
        t.syn_ack();
        let body = Body::Tcp { flags: ACK, seq: c(0), ack: d(0) };
        let p = Packet::new(t.client, t.vip, body).tcp_options(&fake);
        let seen = t.rig.feed(WAN, &p.bytes()).seen();
        assert_eq!(options(&seen), [toa(t.client), vec![1; fake.len()]].concat());
        assert_eq!(seen.sum, Sum::Right);
        let mut rig = Rig::with(telling(ClientAddress::Toa, true));
        let body = Body::Tcp { flags: SYN, seq: ISN, ack: 0 };
        let p = Packet::new(t.client, t.vip, body).tcp_options(&syn_options);
        let seen = rig.feed(WAN, &p.bytes()).seen();
        let blank = vec![1; fake.len()];
        assert_eq!((options(&seen)[4..].to_vec(), seen.sum), (blank, Sum::Right));
    }
}

#[test]
fn an_error_about_a_segment_with_the_option_tells_an_mtu_with_room_for_it() {
    for family in net::FAMILIES {
        let mut t = toa_conn(family);
        t.syn_ack();
        let there = t.says(ACK, c(0), d(0), &[1; 1400]).seen();
        let kind = net::of(family, [3, 4], [2, 0]);
        let p = error(&t, kind, [0, 0, 5, 0x78], &there.ip[..500]);
        let seen = t.rig.feed(LAN, &p.bytes()).seen();
        assert_eq!(u32::from_be_bytes(seen.icmp.unwrap().1), 0x578 - net::of(family, 8, 20));
        let at = there.ip.len() - there.segment.len();
        assert_eq!(seen.payload[at + 4..at + 8], c(0).to_be_bytes());
    }
}

#[test]
fn many_unacknowledged_headers_are_resent_in_bounded_turns() {
    let options = Options { conns: 2000, ..Options::default() };
    let mut rig = Rig::build(options, |s, _| telling(ClientAddress::ProxyV2, true)(s));
    let vip = net::service_addr(V4, Forward::FullNat);
    for n in 0..300u16 {
        let client = net::client(V4, 1, 1000 + n);
        rig.feed(WAN, &Packet::tcp(client, vip, SYN).bytes());
        assert_eq!(rig.feed(WAN, &Packet::tcp(client, vip, ACK).bytes()).sent.len(), 2);
    }
    rig.now = rig.now + Duration::from_millis(200);
    let turns: Vec<_> = (0..12).map(|_| rig.housekeep().sent.len()).collect();
    assert_eq!(turns.iter().sum::<usize>(), 300);
    assert!(turns.iter().all(|n| *n <= 32), "{turns:?}");
}
