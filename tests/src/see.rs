//! The outside judge: what etherparse reads in a frame, and whether its checksums are right.

use crate::craft::pseudo;
use etherparse::Ipv6ExtensionSlice;
use etherparse::LinkSlice;
use etherparse::NetSlice;
use etherparse::SlicedPacket;
use etherparse::TransportSlice;
use etherparse::checksum::Sum16BitWords;
use pointsman_dataplane::neigh::Mac;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::SocketAddr;

/// What a transport checksum is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sum {
    /// It is right.
    Right,
    /// It is wrong.
    Wrong,
    /// UDP's 0.
    Absent,
    /// It cannot be told: a fragment, or a protocol without one.
    Unknown,
}

/// What stands in a frame (`eth`, `vlan` are empty for a bare IP packet).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Ethernet destination and source.
    pub eth: (Mac, Mac),
    /// 802.1Q tag.
    pub vlan: Option<u16>,
    /// Source; port 0 where the transport has none.
    pub src: SocketAddr,
    /// Destination.
    pub dst: SocketAddr,
    /// Transport's IANA number.
    pub number: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class.
    pub tos: u8,
    /// Identification, IPv4's or a fragment header's.
    pub id: u32,
    /// IPv4: don't fragment.
    pub df: bool,
    /// More fragments, and the offset in bytes.
    pub fragment: (bool, usize),
    /// IPv4 options.
    pub options: Vec<u8>,
    /// The IP packet.
    pub ip: Vec<u8>,
    /// What the IP header and its extensions are followed by.
    pub segment: Vec<u8>,
    /// TCP's control bits, sequence and acknowledgement number.
    pub tcp: Option<(u8, u32, u32)>,
    /// ICMP's type and code, and the four bytes behind the checksum.
    pub icmp: Option<([u8; 2], [u8; 4])>,
    /// What the transport header is followed by.
    pub payload: Vec<u8>,
    /// Whether the IPv4 header checksum is right (v6 has none: true).
    pub ip_sum: bool,
    /// The transport checksum.
    pub sum: Sum,
}

/// Reads a frame.
///
/// # Errors
/// Where etherparse finds it malformed, in its words.
pub fn try_see(frame: &[u8]) -> Result<Seen, String> {
    let sliced = SlicedPacket::from_ethernet(frame).map_err(|e| format!("{e}: {}", hex(frame)))?;
    let mut seen = from_sliced(&sliced).map_err(|e| format!("{e}: {}", hex(frame)))?;
    if let Some(LinkSlice::Ethernet2(eth)) = &sliced.link {
        seen.eth = (eth.destination(), eth.source());
    }
    seen.vlan = sliced.vlan_ids().first().map(|v| v.value());
    Ok(seen)
}

/// Reads a frame that must be well-formed.
///
/// # Panics
/// Where it is not.
pub fn see(frame: &[u8]) -> Seen {
    try_see(frame).unwrap_or_else(|e| panic!("not a packet: {e}"))
}

/// Reads an IP packet that must be well-formed.
///
/// # Panics
/// Where it is not.
pub fn see_ip(packet: &[u8]) -> Seen {
    let sliced = SlicedPacket::from_ip(packet);
    let sliced = sliced.unwrap_or_else(|e| panic!("not an IP packet: {e}: {}", hex(packet)));
    from_sliced(&sliced).unwrap_or_else(|e| panic!("not an IP packet: {e}: {}", hex(packet)))
}

/// Bytes for people.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn from_sliced(sliced: &SlicedPacket<'_>) -> Result<Seen, String> {
    let end = |ip: IpAddr| SocketAddr::new(ip, 0);
    let (mut seen, payload) = match &sliced.net {
        Some(NetSlice::Ipv4(v4)) => {
            let h = v4.header();
            let mut seen = blank(end(h.source_addr().into()), end(h.destination_addr().into()));
            (seen.ttl, seen.id) = (h.ttl(), h.identification().into());
            seen.tos = h.dcp().value() << 2 | h.ecn().value();
            seen.df = h.dont_fragment();
            let offset = usize::from(h.fragments_offset().value()) * 8;
            seen.fragment = (h.more_fragments(), offset);
            seen.options = h.options().to_vec();
            // Over the bytes as they stand: etherparse's own header type has no reserved flag.
            seen.ip_sum = Sum16BitWords::new().add_slice(h.slice()).ones_complement() == 0;
            seen.ip = h.slice().to_vec();
            (seen, v4.payload())
        }
        Some(NetSlice::Ipv6(v6)) => {
            let h = v6.header();
            let mut seen = blank(end(h.source_addr().into()), end(h.destination_addr().into()));
            (seen.ttl, seen.tos) = (h.hop_limit(), h.traffic_class());
            seen.ip = h.slice().to_vec();
            seen.ip.extend(v6.extensions().slice());
            for extension in v6.extensions().clone() {
                if let Ipv6ExtensionSlice::Fragment(f) = extension {
                    let offset = usize::from(f.fragment_offset().value()) * 8;
                    (seen.id, seen.fragment) = (f.identification(), (f.more_fragments(), offset));
                }
            }
            (seen, v6.payload())
        }
        _ => return Err("no IP packet".into()),
    };
    seen.number = payload.ip_number.0;
    seen.segment = payload.payload.to_vec();
    seen.ip.extend(payload.payload);
    let whole = !payload.fragmented;
    transport(&mut seen, &sliced.transport, whole);
    Ok(seen)
}

fn blank(src: SocketAddr, dst: SocketAddr) -> Seen {
    Seen {
        eth: ([0; 6], [0; 6]),
        vlan: None,
        src,
        dst,
        number: 0,
        ttl: 0,
        tos: 0,
        id: 0,
        df: false,
        fragment: (false, 0),
        options: Vec::new(),
        ip: Vec::new(),
        segment: Vec::new(),
        tcp: None,
        icmp: None,
        payload: Vec::new(),
        ip_sum: true,
        sum: Sum::Unknown,
    }
}

fn transport(seen: &mut Seen, transport: &Option<TransportSlice<'_>>, whole: bool) {
    match transport {
        Some(TransportSlice::Tcp(t)) => {
            seen.src.set_port(t.source_port());
            seen.dst.set_port(t.destination_port());
            let flags = t.slice()[13];
            seen.tcp = Some((flags, t.sequence_number(), t.acknowledgment_number()));
            seen.payload = t.payload().to_vec();
        }
        Some(TransportSlice::Udp(u)) => {
            seen.src.set_port(u.source_port());
            seen.dst.set_port(u.destination_port());
            seen.payload = u.payload().to_vec();
        }
        Some(TransportSlice::Icmpv4(i)) => {
            seen.icmp = Some(([i.type_u8(), i.code_u8()], i.bytes5to8()));
            seen.payload = i.slice()[8..].to_vec();
        }
        Some(TransportSlice::Icmpv6(i)) => {
            seen.icmp = Some(([i.type_u8(), i.code_u8()], i.bytes5to8()));
            seen.payload = i.slice()[8..].to_vec();
        }
        _ => seen.payload = seen.segment.clone(),
    }
    if whole {
        seen.sum = transport_sum(seen.src.ip(), seen.dst.ip(), seen.number, &seen.segment);
    }
}

/// What the checksum of a whole segment is worth; of a tunnel's, the inner packet's. A tunnel's
/// inner packet that is malformed or has a wrong header checksum is `Wrong`.
pub fn transport_sum(src: IpAddr, dst: IpAddr, number: u8, segment: &[u8]) -> Sum {
    let (start, covered) = match number {
        17 if segment.len() >= 8 => {
            if segment[6..8] == [0, 0] {
                return Sum::Absent;
            }
            let len = usize::from(u16::from_be_bytes([segment[4], segment[5]]));
            let Some(covered) = segment.get(..len) else { return Sum::Unknown };
            (pseudo(src, dst, number, len), covered)
        }
        6 | 58 => (pseudo(src, dst, number, segment.len()), segment),
        1 => (Sum16BitWords::new(), segment),
        4 | 41 => {
            let inner = SlicedPacket::from_ip(segment).map_err(|e| e.to_string());
            let inner = inner.and_then(|inner| from_sliced(&inner));
            return inner.map_or(Sum::Wrong, |i| if i.ip_sum { i.sum } else { Sum::Wrong });
        }
        _ => return Sum::Unknown,
    };
    if start.add_slice(covered).ones_complement() == 0 { Sum::Right } else { Sum::Wrong }
}

/// Puts the fragments among `frames` together and gives every whole packet's transport
/// checksum. Fragments that do not add up to a packet are an error.
pub fn sums(frames: &[Vec<u8>]) -> Result<Vec<Sum>, String> {
    let mut whole = Vec::new();
    let mut pieces: BTreeMap<(IpAddr, IpAddr, u32, u8), Vec<Seen>> = BTreeMap::new();
    for frame in frames {
        let seen = try_see(frame)?;
        if seen.fragment == (false, 0) {
            whole.push(seen.sum);
        } else {
            let key = (seen.src.ip(), seen.dst.ip(), seen.id, seen.number);
            pieces.entry(key).or_default().push(seen);
        }
    }
    for ((src, dst, id, number), mut parts) in pieces {
        parts.sort_by_key(|p| p.fragment.1);
        let mut segment = Vec::new();
        for p in &parts {
            if p.fragment.1 != segment.len() {
                return Err(format!("fragments of {id:#x} leave a hole at {}", segment.len()));
            }
            segment.extend(&p.segment);
        }
        if parts.last().is_none_or(|p| p.fragment.0) {
            return Err(format!("the last fragment of {id:#x} is missing"));
        }
        whole.push(transport_sum(src, dst, number, &segment));
    }
    Ok(whole)
}
