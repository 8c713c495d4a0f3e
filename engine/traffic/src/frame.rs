//! One made frame: Ethernet, IPv4 or IPv6, TCP or UDP, checksums right.

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
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 0x63], [2, 0, 0, 0, 0, 0x73]];
/// The smallest frame, its check sequence off.
const SHORTEST: usize = 60;

/// Writes a frame of about `len` bytes (headers and the shortest frame are the least); `tcp` is
/// flags, sequence and acknowledgement number. Gives how many bytes of data it carries.
pub(crate) fn write(
    out: &mut Vec<u8>,
    side: Side,
    t: &Tuple,
    (flags, seq, ack): (u8, u32, u32),
    len: usize,
) -> usize {
    let l4_header = if t.proto == Proto::Tcp { tcp::LEN } else { udp::LEN };
    let ip_header = if t.src.is_v4() { ipv4::LEN } else { ipv6::LEN };
    let headers = ethernet::LEN + ip_header + l4_header;
    let data = len.saturating_sub(headers);
    out.clear();
    out.resize((headers + data).max(SHORTEST), 0);
    let [mine, other] = if side == Side::Client { MACS } else { [MACS[1], MACS[0]] };
    let ether_type = if t.src.is_v4() { ethernet::IPV4 } else { ethernet::IPV6 };
    ethernet::write(out, other, mine, None, ether_type);
    let (ip, number) = (&mut out[ethernet::LEN..], t.proto as u8);
    let (src, dst, segment_len) = (t.src, t.dst, l4_header + data);
    if t.src.is_v4() {
        let (total, id) = ((ipv4::LEN + segment_len) as u16, seq as u16);
        let header = ipv4::Header {
            tos: 0,
            total,
            id,
            fragment: ipv4::DF,
            ttl: 64,
            protocol: number,
            src,
            dst,
        };
        header.write(ip);
    } else {
        let payload = segment_len as u16;
        let header =
            ipv6::Header { traffic_class: 0, payload, next: number, hop_limit: 64, src, dst };
        header.write(ip);
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
            segment[tcp::OFFSET] = 0x50;
            segment[tcp::FLAGS] = flags;
            put16(segment, tcp::WINDOW, 0xfaf0);
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
    data
}
