//! Frames to feed the data plane with, written byte by byte from the RFCs' figures; only the sum
//! of 16-bit words is borrowed, from etherparse.

use crate::net;
use etherparse::checksum::Sum16BitWords;
use pointsman_dataplane::neigh::Mac;
use std::net::IpAddr;
use std::net::SocketAddr;

/// TCP's control bits.
pub mod flag {
    /// No more data.
    pub const FIN: u8 = 1;
    /// Synchronise.
    pub const SYN: u8 = 2;
    /// Reset.
    pub const RST: u8 = 4;
    /// Acknowledgement is significant.
    pub const ACK: u8 = 16;
}

/// What an IP packet carries.
#[derive(Clone, Debug)]
pub enum Body {
    /// TCP without options.
    Tcp {
        /// Control bits.
        flags: u8,
        /// Sequence number.
        seq: u32,
        /// Acknowledgement number.
        ack: u32,
    },
    /// UDP, with a checksum or with 0 in its place.
    Udp {
        /// Whether there is one.
        checksum: bool,
    },
    /// ICMP of the packet's family; ports are ignored.
    Icmp {
        /// Type and code.
        kind: [u8; 2],
        /// The four bytes behind the checksum.
        rest: [u8; 4],
    },
    /// Anything else, by its IANA number.
    Raw(u8),
}

/// A packet in an Ethernet frame. All fields may be changed before `bytes` writes it.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Ethernet destination and source.
    pub eth: (Mac, Mac),
    /// 802.1Q tag.
    pub vlan: Option<u16>,
    /// Source address and port.
    pub src: SocketAddr,
    /// Destination address and port.
    pub dst: SocketAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class.
    pub tos: u8,
    /// IPv4 identification.
    pub id: u16,
    /// IPv4 flags and fragment offset.
    pub fragment: u16,
    /// IPv4 options; a multiple of four bytes.
    pub options: Vec<u8>,
    /// IPv6 extension headers: number, and content from the third byte on (6 + 8n bytes).
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// Transport header.
    pub body: Body,
    /// What follows it.
    pub payload: Vec<u8>,
    /// Bytes after the IP packet.
    pub padding: usize,
}

impl Packet {
    /// A packet as it comes from the gateway by `WAN`.
    pub fn new(src: SocketAddr, dst: SocketAddr, body: Body) -> Self {
        Self {
            eth: (net::WAN_MAC, net::GATEWAY_MAC),
            vlan: None,
            src,
            dst,
            ttl: 60,
            tos: 0,
            id: 0x1234,
            fragment: 0x4000,
            options: Vec::new(),
            extensions: Vec::new(),
            body,
            payload: Vec::new(),
            padding: 0,
        }
    }

    /// A TCP segment.
    pub fn tcp(src: SocketAddr, dst: SocketAddr, flags: u8) -> Self {
        Self::new(src, dst, Body::Tcp { flags, seq: 1000, ack: 2000 })
    }

    /// A UDP datagram with a checksum.
    pub fn udp(src: SocketAddr, dst: SocketAddr) -> Self {
        Self::new(src, dst, Body::Udp { checksum: true }).payload(b"hello")
    }

    /// An ICMP message about `about`, an IP packet.
    pub fn icmp(src: IpAddr, dst: IpAddr, kind: [u8; 2], rest: [u8; 4], about: &[u8]) -> Self {
        let end = |ip| SocketAddr::new(ip, 0);
        Self::new(end(src), end(dst), Body::Icmp { kind, rest }).payload(about)
    }

    /// Sets the payload.
    #[must_use]
    pub fn payload(mut self, bytes: &[u8]) -> Self {
        self.payload = bytes.to_vec();
        self
    }

    /// Sets the TTL or hop limit.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// Allows routers to fragment it (v4).
    #[must_use]
    pub fn may_fragment(mut self) -> Self {
        self.fragment = 0;
        self
    }

    /// As it comes by `LAN` from `mac`.
    #[must_use]
    pub fn from_lan(mut self, mac: Mac) -> Self {
        self.eth = (net::LAN_MAC, mac);
        self
    }

    /// The whole frame.
    pub fn bytes(&self) -> Vec<u8> {
        let mut f = Vec::new();
        f.extend(self.eth.0);
        f.extend(self.eth.1);
        if let Some(id) = self.vlan {
            f.extend([0x81, 0x00]);
            f.extend(id.to_be_bytes());
        }
        f.extend(if self.dst.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] });
        f.extend(self.ip());
        f.extend(std::iter::repeat_n(0, self.padding));
        f
    }

    /// The IP packet alone.
    pub fn ip(&self) -> Vec<u8> {
        let transport = self.transport();
        match (self.src.ip(), self.dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let header = 20 + self.options.len();
                let mut h = vec![0x40 | (header / 4) as u8, self.tos];
                h.extend(((header + transport.len()) as u16).to_be_bytes());
                h.extend(self.id.to_be_bytes());
                h.extend(self.fragment.to_be_bytes());
                h.extend([self.ttl, self.number(), 0, 0]);
                h.extend(src.octets());
                h.extend(dst.octets());
                h.extend(&self.options);
                let sum = Sum16BitWords::new().add_slice(&h).ones_complement();
                h[10..12].copy_from_slice(&sum.to_ne_bytes());
                h.extend(transport);
                h
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let numbers: Vec<u8> =
                    self.extensions.iter().map(|e| e.0).chain([self.number()]).collect();
                let mut chain = Vec::new();
                for ((_, content), next) in self.extensions.iter().zip(&numbers[1..]) {
                    chain.extend([*next, (content.len() / 8) as u8]);
                    chain.extend(content);
                }
                let mut h = vec![0x60 | self.tos >> 4, self.tos << 4, 0, 0];
                h.extend(((chain.len() + transport.len()) as u16).to_be_bytes());
                h.extend([numbers[0], self.ttl]);
                h.extend(src.octets());
                h.extend(dst.octets());
                h.extend(chain);
                h.extend(transport);
                h
            }
            _ => panic!("families differ: {} and {}", self.src, self.dst),
        }
    }

    fn number(&self) -> u8 {
        match self.body {
            Body::Tcp { .. } => 6,
            Body::Udp { .. } => 17,
            Body::Icmp { .. } if self.dst.is_ipv4() => 1,
            Body::Icmp { .. } => 58,
            Body::Raw(number) => number,
        }
    }

    fn transport(&self) -> Vec<u8> {
        let ports = [self.src.port().to_be_bytes(), self.dst.port().to_be_bytes()].concat();
        let (mut t, at) = match self.body {
            Body::Tcp { flags, seq, ack } => {
                let mut t = ports;
                t.extend(seq.to_be_bytes());
                t.extend(ack.to_be_bytes());
                t.extend([0x50, flags, 0x20, 0, 0, 0, 0, 0]);
                (t, Some(16))
            }
            Body::Udp { checksum } => {
                let mut t = ports;
                t.extend(((8 + self.payload.len()) as u16).to_be_bytes());
                t.extend([0, 0]);
                (t, checksum.then_some(6))
            }
            Body::Icmp { kind, rest } => {
                ([kind[0], kind[1], 0, 0, rest[0], rest[1], rest[2], rest[3]].to_vec(), Some(2))
            }
            Body::Raw(_) => (Vec::new(), None),
        };
        t.extend(&self.payload);
        if let Some(at) = at {
            let start = match self.body {
                Body::Icmp { .. } if self.dst.is_ipv4() => Sum16BitWords::new(),
                _ => pseudo(self.src.ip(), self.dst.ip(), self.number(), t.len()),
            };
            let sum = start.add_slice(&t).ones_complement();
            let sum = if sum == 0 && at == 6 { 0xffff } else { sum };
            t[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
        }
        t
    }
}

/// The sum of a pseudo-header.
pub fn pseudo(src: IpAddr, dst: IpAddr, number: u8, len: usize) -> Sum16BitWords {
    let octets = |ip| match ip {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    };
    Sum16BitWords::new()
        .add_slice(&octets(src))
        .add_slice(&octets(dst))
        .add_2bytes([0, number])
        .add_2bytes((len as u16).to_be_bytes())
}

/// What may be done to a packet before it is written.
impl Packet {
    /// A TCP segment with options (a multiple of four bytes, at most 40): the body becomes the
    /// whole segment as bytes, so this is the last change but for those of the IP header.
    #[must_use]
    pub fn tcp_options(mut self, options: &[u8]) -> Self {
        assert!(options.len().is_multiple_of(4) && options.len() <= 40, "{options:02x?}");
        let mut t = self.transport();
        t.splice(20..20, options.iter().copied());
        t[12] = ((5 + options.len() / 4) as u8) << 4;
        t[16..18].fill(0);
        let sum = pseudo(self.src.ip(), self.dst.ip(), 6, t.len()).add_slice(&t);
        t[16..18].copy_from_slice(&sum.ones_complement().to_ne_bytes());
        (self.body, self.payload) = (Body::Raw(6), t);
        self
    }

    /// The packet in fragments under identification `id`, cut behind these offsets of what follows
    /// the IP header (multiples of eight).
    pub fn cut(&self, id: u32, cuts: &[usize]) -> Vec<Self> {
        let whole = self.transport();
        let ends = cuts.iter().copied().chain([whole.len()]);
        let starts = [0].into_iter().chain(cuts.iter().copied());
        starts
            .zip(ends)
            .map(|(from, to)| {
                let more = u16::from(to < whole.len());
                let mut piece = Self { payload: whole[from..to].to_vec(), ..self.clone() };
                piece.body = Body::Raw(self.number());
                if self.dst.is_ipv4() {
                    piece.id = id as u16;
                    piece.fragment = more << 13 | (from / 8) as u16;
                } else {
                    let place = (from as u16 | more).to_be_bytes();
                    piece.extensions.push((44, [&place[..], &id.to_be_bytes()].concat()));
                }
                piece
            })
            .collect()
    }
}
