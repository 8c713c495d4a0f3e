//! Conns whose dest is told who its client is, as the client and the dest see them.

use crate::craft::Body;
use crate::craft::Packet;
use crate::craft::flag;
use crate::net;
use crate::net::LAN;
use crate::net::WAN;
use crate::rig::Out;
use crate::rig::Rig;
use crate::see;
use crate::see::Seen;
use crate::see::Sum;
use pointsman_dataplane::service::ClientAddress;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Family;
use std::net::SocketAddr;
use std::time::Duration;

/// Control bits.
pub const ACK: u8 = flag::ACK;
/// Likewise.
pub const SYN: u8 = flag::SYN;
/// Likewise.
pub const FIN: u8 = flag::FIN;
/// Likewise.
pub const RST: u8 = flag::RST;
/// Likewise.
pub const PSH: u8 = 8;

/// Where the client begins: its numbers wrap within the header.
pub const ISN: u32 = 0xffff_fff0;
/// Where the dest begins.
pub const DEST: u32 = 0x8000_0000;

/// Both versions.
pub const PROXIES: [ClientAddress; 2] = [ClientAddress::ProxyV1, ClientAddress::ProxyV2];

/// The client's number of its `n`th byte.
pub fn c(n: u32) -> u32 {
    ISN.wrapping_add(1 + n)
}

/// The dest's.
pub fn d(n: u32) -> u32 {
    DEST.wrapping_add(1 + n)
}

/// All full-NAT dests are told of their clients so; `rewrite` is whether numbers are shifted besides.
pub fn telling(kind: ClientAddress, rewrite: bool) -> impl Fn(&mut Snapshot) {
    move |s| {
        s.dests.iter_mut().for_each(|d| {
            (d.traits.client_address, d.traits.rewrite) = (kind, rewrite);
        });
    }
}

/// The header that a client's conn must have, by the figures of proxy-protocol.txt.
pub fn header(kind: ClientAddress, client: SocketAddr, vip: SocketAddr) -> Vec<u8> {
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

/// TCP's timestamps, behind two NOPs.
pub fn timestamps(val: u32, ecr: u32) -> Vec<u8> {
    [&[1, 1, 8, 10][..], &val.to_be_bytes(), &ecr.to_be_bytes()].concat()
}

/// A conn in the making, with its ends and by how much its numbers were shifted.
pub struct Conn {
    /// Where it is.
    pub rig: Rig,
    /// Who opened it.
    pub client: SocketAddr,
    /// The service.
    pub vip: SocketAddr,
    /// The dest.
    pub dest: SocketAddr,
    /// Who its client is to the dest.
    pub local: SocketAddr,
    /// The dest's MAC.
    pub mac: [u8; 6],
    /// By how much the client's numbers move.
    pub shift: u32,
    /// The header it must have.
    pub header: Vec<u8>,
}

impl Conn {
    /// The client's SYN, with an MSS, is sent.
    pub fn open(rig: Rig, family: Family, kind: ClientAddress) -> Self {
        Self::open_with(rig, family, kind, &[2, 4, 5, 0xb4])
    }

    /// The same with other options.
    pub fn open_with(mut rig: Rig, family: Family, kind: ClientAddress, options: &[u8]) -> Self {
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
    pub fn header_len(&self) -> u32 {
        self.header.len() as u32
    }

    /// The number at which the dest sees the header.
    pub fn at(&self) -> u32 {
        c(0).wrapping_add(self.shift)
    }

    /// Says so as the client; gives all that came out.
    pub fn says(&mut self, flags: u8, seq: u32, ack: u32, data: &[u8]) -> Out {
        let p = Packet::new(self.client, self.vip, Body::Tcp { flags, seq, ack }).payload(data);
        self.rig.feed(WAN, &p.bytes())
    }

    /// Says so as the dest, in the dest's numbers; gives what the client saw.
    pub fn hears(&mut self, flags: u8, seq: u32, ack: u32, options: &[u8], data: &[u8]) -> Seen {
        let p = Packet::new(self.dest, self.local, Body::Tcp { flags, seq, ack }).payload(data);
        let p = if options.is_empty() { p } else { p.tcp_options(options) };
        let seen = self.rig.feed(LAN, &p.from_lan(self.mac).bytes()).seen();
        assert_eq!((seen.src, seen.dst, seen.sum), (self.vip, self.client, Sum::Right));
        seen
    }

    /// The dest takes the SYN.
    pub fn syn_ack(&mut self) {
        let seen = self.hears(SYN | ACK, DEST, self.at(), &[], b"");
        assert_eq!(seen.tcp, Some((SYN | ACK, DEST, c(0))));
    }

    /// The handshake's end, with the header it brings forth.
    pub fn shake_hands(&mut self) {
        self.syn_ack();
        let out = self.says(ACK, c(0), d(0), b"");
        assert_eq!(out.sent.len(), 2);
        self.is_header(&see::see(&out.sent[0].bytes), d(0));
        let after = self.at().wrapping_add(self.header_len());
        assert_eq!(see::see(&out.sent[1].bytes).tcp, Some((ACK, after, d(0))));
    }

    /// A frame is the header's segment, which acknowledges `ack`.
    pub fn is_header(&self, seen: &Seen, ack: u32) {
        assert_eq!((seen.src, seen.dst, seen.sum), (self.local, self.dest, Sum::Right));
        assert_eq!(seen.tcp, Some((ACK | PSH, self.at(), ack)));
        assert_eq!(see::hex(&seen.payload), see::hex(&self.header));
    }

    /// The dest has all of the header and `n` bytes of the client's.
    pub fn acks(&mut self, n: u32) -> Seen {
        let ack = self.at().wrapping_add(self.header_len() + n);
        let seen = self.hears(ACK, d(0), ack, &[], b"");
        assert_eq!(seen.tcp, Some((ACK, d(0), c(n))));
        seen
    }

    /// What comes out when so much time has passed.
    pub fn after(&mut self, millis: u64) -> Out {
        self.rig.now = self.rig.now + Duration::from_millis(millis);
        self.rig.housekeep()
    }
}

/// Both versions, both families, with and without shifts.
pub fn every_proxy(run: impl Fn(Conn)) {
    for family in net::FAMILIES {
        for kind in PROXIES {
            for rewrite in [true, false] {
                run(Conn::open(Rig::with(telling(kind, rewrite)), family, kind));
            }
        }
    }
}

/// An ICMP error about `quoted`, as the dest's network sends it.
pub fn error(t: &Conn, kind: [u8; 2], rest: [u8; 4], quoted: &[u8]) -> Packet {
    Packet::icmp(t.dest.ip(), t.local.ip(), kind, rest, quoted).from_lan(t.mac)
}

/// Puts the fragments of one datagram together, v4 and v6.
pub fn whole(frames: &[Vec<u8>]) -> Vec<u8> {
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

/// The options of a segment.
pub fn options(seen: &Seen) -> Vec<u8> {
    seen.segment[20..usize::from(seen.segment[12] >> 4) * 4].to_vec()
}
