//! One made frame: Ethernet, IPv4 or IPv6, TCP or UDP, checksums right.

use crate::sizes::CHECK;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::tuple::Tuple;
use pointsman_dataplane::wire::checksum;
use pointsman_dataplane::wire::ethernet;
use pointsman_dataplane::wire::ipv4;
use pointsman_dataplane::wire::ipv6;
use pointsman_dataplane::wire::put16;
use pointsman_dataplane::wire::put32;
use pointsman_dataplane::wire::tcp;
use pointsman_dataplane::wire::udp;

/// Whose frame it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// The client's.
    Client,
    /// The server's.
    Server,
}

/// Locally administered.
const MACS: [Mac; 2] = [[2, 0, 0, 0, 0, 0x63], [2, 0, 0, 0, 0, 0x73]];
/// The smallest frame, its check sequence off.
const SHORTEST: usize = 60;

/// A frame to be made.
#[derive(Clone, Copy, Debug)]
pub struct MadeFrame<'a> {
    /// Destination and source.
    pub macs: (Mac, Mac),
    /// Addresses, ports, TCP or UDP.
    pub tuple: Tuple,
    /// TCP's control bits.
    pub flags: u8,
    /// TCP's sequence number; data and identification go by it, too.
    pub seq: u32,
    /// TCP's acknowledgement number.
    pub ack: u32,
    /// TCP's options, a multiple of four bytes.
    pub options: &'a [u8],
    /// Bytes of data.
    pub data: usize,
}

impl MadeFrame<'_> {
    /// One of `len` bytes, or, where headers are more, of these: it has so much data.
    #[must_use]
    pub fn with_len(self, len: usize) -> Self {
        Self { data: len.saturating_sub(self.headers()), ..self }
    }

    /// The least that such a packet has, as frames are named: with the check sequence.
    pub(crate) fn least(proto: Proto, v6: bool) -> usize {
        let end = if v6 { Addr::v6(1) } else { Addr::v4(1) };
        let tuple = Tuple { src: end, dst: end, sport: 0, dport: 0, proto };
        let (macs, options) = ((MACS[0], MACS[1]), &[]);
        MadeFrame { macs, tuple, flags: 0, seq: 0, ack: 0, options, data: 0 }.bytes() + CHECK
    }

    /// Its length, check sequence off.
    pub fn bytes(&self) -> usize {
        (self.headers() + self.data).max(SHORTEST)
    }

    fn l4_header(&self) -> usize {
        if self.tuple.proto == Proto::Tcp { tcp::LEN + self.options.len() } else { udp::LEN }
    }

    fn ip_header(&self) -> usize {
        if self.tuple.src.is_v4() { ipv4::LEN } else { ipv6::LEN }
    }

    fn headers(&self) -> usize {
        ethernet::LEN + self.ip_header() + self.l4_header()
    }

    /// Writes it into `out`, which has its length and is zero.
    pub fn write(&self, out: &mut [u8]) {
        let Self { macs: (to, from), tuple: t, flags, seq, ack, options, data } = *self;
        let (l4_header, ip_header) = (self.l4_header(), self.ip_header());
        let ether_type = if t.src.is_v4() { ethernet::IPV4 } else { ethernet::IPV6 };
        ethernet::write(out, to, from, None, ether_type);
        let (ip, number) = (&mut out[ethernet::LEN..], t.proto as u8);
        let (src, dst, segment_len) = (t.src, t.dst, l4_header + data);
        if t.src.is_v4() {
            let (total, id) = ((ipv4::LEN + segment_len) as u16, seq as u16);
            let (fragment, protocol, ends) = (ipv4::DF, number, ipv4::Ends::of(src, dst));
            ipv4::Header { tos: 0, total, id, fragment, ttl: 64, protocol, ends }.write(ip);
        } else {
            let payload = segment_len as u16;
            ipv6::Header { traffic_class: 0, payload, next: number, hop_limit: 64, src, dst }
                .write(ip);
        }
        let segment = &mut ip[ip_header..ip_header + segment_len];
        put16(segment, 0, t.sport);
        put16(segment, 2, t.dport);
        for (n, byte) in segment[l4_header..].iter_mut().enumerate() {
            *byte = (seq as usize).wrapping_add(n) as u8;
        }
        let at = match t.proto {
            Proto::Tcp => {
                put32(segment, tcp::SEQ, seq);
                put32(segment, tcp::ACK, ack);
                segment[tcp::OFFSET] = (l4_header as u8 / 4) << 4;
                segment[tcp::FLAGS] = flags;
                put16(segment, tcp::WINDOW, 0xfaf0);
                segment[tcp::LEN..l4_header].copy_from_slice(options);
                tcp::CHECKSUM
            }
            _ => {
                put16(segment, udp::LENGTH, segment_len as u16);
                udp::CHECKSUM
            }
        };
        let pseudo = checksum::pseudo(src, dst, number, segment_len);
        let sum = checksum::finish(checksum::sum(segment, pseudo));
        // RFC 768: 0 would mean that there is none.
        put16(segment, at, if sum == 0 && t.proto != Proto::Tcp { 0xffff } else { sum });
    }
}

/// Writes a frame of about `len` bytes (headers and the shortest frame are the least); `tcp` is
/// flags, sequence and acknowledgement number. Gives how many bytes of data it carries.
pub(crate) fn write(
    out: &mut Vec<u8>,
    side: Side,
    tuple: &Tuple,
    (flags, seq, ack): (u8, u32, u32),
    len: usize,
) -> usize {
    let [mine, other] = if side == Side::Client { MACS } else { [MACS[1], MACS[0]] };
    let bare =
        MadeFrame { macs: (other, mine), tuple: *tuple, flags, seq, ack, options: &[], data: 0 };
    let frame = bare.with_len(len);
    out.clear();
    out.resize(frame.bytes(), 0);
    frame.write(out);
    frame.data
}
