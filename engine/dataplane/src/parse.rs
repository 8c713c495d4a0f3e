//! From a frame to a small `Parsed`: what it is, where its headers lie, which tuple it carries.
//!
//! `parse` reads and checks; it changes nothing. After it says `Kind::Flow` every header it gives
//! a place for lies within the frame, so the setters of `wire` cannot miss.

use crate::neigh::Mac;
use crate::snapshot::PortInfo;
use crate::tuple::Addr;
use crate::tuple::Family;
use crate::tuple::Proto;
use crate::tuple::Tuple;
use crate::verdict::DropReason;
use crate::wire::checksum;
use crate::wire::ethernet;
use crate::wire::get16;
use crate::wire::icmp;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::wire::tcp;
use crate::wire::udp;

/// How many IPv6 extension headers are walked.
const MAX_EXTENSIONS: usize = 8;

/// What a frame is to the pipeline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// TCP or UDP: has a tuple with ports.
    Flow,
    /// An ICMP error; what it quotes is yet to be read.
    IcmpError,
    /// An ICMP echo request.
    Echo,
    /// ARP, neighbour discovery, MLD: the control thread's.
    Control,
    /// Nothing to be done with.
    Drop(DropReason),
}

/// What `parse` found. Places count from the frame's first byte.
#[derive(Clone, Copy, Debug)]
pub struct Parsed {
    /// What it is.
    pub kind: Kind,
    /// Place of the IP header.
    pub l3: u16,
    /// Place of the transport header.
    pub l4: u16,
    /// Where the IP packet ends; what follows is Ethernet padding.
    pub end: u16,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TCP's control bits; 0 for UDP.
    pub flags: u8,
    /// Addresses, and for flows ports.
    pub tuple: Tuple,
}

impl Parsed {
    /// Length of the IP packet.
    #[inline(always)]
    pub fn ip_len(&self) -> usize {
        (self.end - self.l3) as usize
    }

    /// The family it travels in.
    #[inline(always)]
    pub fn family(&self) -> Family {
        self.tuple.dst.family()
    }

    fn no_tuple(kind: Kind, l3: usize) -> Self {
        let (src, dst) = (Addr::UNSPECIFIED, Addr::UNSPECIFIED);
        let tuple = Tuple { src, dst, sport: 0, dport: 0, proto: Proto::Icmp };
        Self { kind, l3: l3 as u16, l4: 0, end: 0, ttl: 0, flags: 0, tuple }
    }
}

/// Reads a frame that came in by `port`.
#[inline]
pub fn parse(frame: &[u8], port: &PortInfo) -> Parsed {
    let l3 = port.l2_len();
    let result = match link(frame, port) {
        Ok(ethernet::IPV4) => parse_v4(frame, l3),
        Ok(ethernet::IPV6) => parse_v6(frame, l3),
        Ok(ethernet::ARP) => Ok(Parsed::no_tuple(Kind::Control, l3)),
        Ok(_) => Err(DropReason::EtherType),
        Err(reason) => Err(reason),
    };
    let parsed = match result {
        Ok(parsed) => parsed,
        Err(reason) => return Parsed::no_tuple(Kind::Drop(reason), l3),
    };
    // An IP packet for one host in a frame for many is nobody's to forward (RFC 1122 3.3.6).
    if ethernet::is_group(frame) && !matches!(parsed.kind, Kind::Control | Kind::Drop(_)) {
        return Parsed::no_tuple(Kind::Drop(DropReason::Multicast), l3);
    }
    parsed
}

/// Checks the Ethernet header and gives the EtherType behind it.
#[inline(always)]
fn link(frame: &[u8], port: &PortInfo) -> Result<u16, DropReason> {
    if frame.len() < port.l2_len() || frame.len() > u16::MAX as usize {
        return Err(DropReason::Truncated);
    }
    let destination: Mac = ethernet::destination(frame);
    if destination != port.mac && !ethernet::is_group(frame) {
        return Err(DropReason::WrongMac);
    }
    let ether_type = ethernet::ether_type(frame);
    match port.vlan {
        None if ether_type == ethernet::VLAN => Err(DropReason::WrongVlan),
        None => Ok(ether_type),
        Some(id) if ether_type == ethernet::VLAN && ethernet::vlan(frame) == id => {
            Ok(get16(frame, 16))
        }
        Some(_) => Err(DropReason::WrongVlan),
    }
}

#[inline(always)]
fn parse_v4(frame: &[u8], l3: usize) -> Result<Parsed, DropReason> {
    let ip = &frame[l3..];
    if ip.len() < ipv4::LEN {
        return Err(DropReason::Truncated);
    }
    let header_len = ipv4::header_len(ip);
    let total = get16(ip, ipv4::TOTAL) as usize;
    if ip[0] >> 4 != 4 || header_len < ipv4::LEN || total < header_len {
        return Err(DropReason::IpHeader);
    }
    if total > ip.len() {
        return Err(DropReason::Truncated);
    }
    if checksum::fold(checksum::sum(&ip[..header_len], 0)) != 0xffff {
        return Err(DropReason::IpChecksum);
    }
    if header_len > ipv4::LEN {
        check_options(&ip[ipv4::LEN..header_len])?;
    }
    let (src, dst) = (ipv4::src(ip), ipv4::dst(ip));
    if src.is_martian_source() {
        return Err(DropReason::Martian);
    }
    if dst.is_multicast() || dst.is_limited_broadcast() {
        return Err(DropReason::Multicast);
    }
    if get16(ip, ipv4::FRAGMENT) & (ipv4::MF | ipv4::OFFSET) != 0 {
        return Err(DropReason::Fragment);
    }
    let at = Places { l3, l4: l3 + header_len, end: l3 + total, ttl: ip[ipv4::TTL] };
    transport(frame, at, ip[ipv4::PROTOCOL], src, dst)
}

/// Walks IPv4 options (RFC 791 section 3.1). Source routes are refused, as every host and router
/// on today's Internet does (RFC 7126 section 4.3).
#[cold]
fn check_options(mut options: &[u8]) -> Result<(), DropReason> {
    while let [kind, rest @ ..] = options {
        match *kind {
            0 => return Ok(()),
            1 => options = rest,
            ipv4::OPTION_LSRR | ipv4::OPTION_SSRR => return Err(DropReason::IpOptions),
            _ => {
                let len = rest.first().map_or(0, |l| *l as usize);
                if len < 2 || len > options.len() {
                    return Err(DropReason::IpOptions);
                }
                options = &options[len..];
            }
        }
    }
    Ok(())
}

#[inline(always)]
fn parse_v6(frame: &[u8], l3: usize) -> Result<Parsed, DropReason> {
    let ip = &frame[l3..];
    if ip.len() < ipv6::LEN {
        return Err(DropReason::Truncated);
    }
    if ip[0] >> 4 != 6 {
        return Err(DropReason::IpHeader);
    }
    let end = l3 + ipv6::LEN + get16(ip, ipv6::PAYLOAD) as usize;
    if end > frame.len() {
        return Err(DropReason::Truncated);
    }
    let (src, dst) = (ipv6::src(ip), ipv6::dst(ip));
    let (next, l4) = match ip[ipv6::NEXT] {
        next @ (6 | 17 | ipv6::ICMPV6) => (next, l3 + ipv6::LEN),
        next => walk_extensions(&frame[..end], next, l3 + ipv6::LEN)?,
    };
    let at = Places { l3, l4, end, ttl: ip[ipv6::HOP_LIMIT] };
    if next == ipv6::ICMPV6
        && let Some(control) = link_message(frame, at, src)?
    {
        return Ok(control);
    }
    if dst.is_multicast() {
        return Err(DropReason::Multicast);
    }
    if src.is_martian_source() || src.is_v4() || dst.is_v4() {
        return Err(DropReason::Martian);
    }
    transport(frame, at, next, src, dst)
}

/// Walks IPv6 extension headers (RFC 8200 section 4) and gives the transport's number and place.
#[cold]
fn walk_extensions(packet: &[u8], mut next: u8, mut at: usize) -> Result<(u8, usize), DropReason> {
    let mut left = MAX_EXTENSIONS;
    loop {
        match next {
            ipv6::HOP_BY_HOP | ipv6::DESTINATION | ipv6::ROUTING => {}
            ipv6::FRAGMENT => return Err(DropReason::Fragment),
            _ => return Ok((next, at)),
        }
        if left == 0 || at + 8 > packet.len() {
            return Err(DropReason::ExtensionHeaders);
        }
        left -= 1;
        // Segments left: we are no segment router (RFC 8200 section 4.4, RFC 5095).
        if next == ipv6::ROUTING && packet[at + 3] != 0 {
            return Err(DropReason::ExtensionHeaders);
        }
        next = packet[at];
        at += 8 + packet[at + 1] as usize * 8;
    }
}

/// Neighbour discovery and MLD: for the control thread, and only from this link (RFC 4861 section
/// 7.1: hop limit 255; RFC 3810 section 5: hop limit 1 from a link-local source).
#[inline(always)]
fn link_message(frame: &[u8], at: Places, src: Addr) -> Result<Option<Parsed>, DropReason> {
    let message = &frame[at.l4.min(at.end)..at.end];
    let allowed = match message.first() {
        Some(&(icmp::v6::ND_FIRST..=icmp::v6::ND_LAST)) => at.ttl == 255,
        Some(&(icmp::v6::MLD_QUERY..=icmp::v6::MLD_DONE | icmp::v6::MLD_REPORT)) => {
            at.ttl == 1 && (src.is_link_local_v6() || src.is_unspecified())
        }
        _ => return Ok(None),
    };
    if !allowed || message.len() < icmp::LEN {
        return Err(DropReason::NeighbourMessage);
    }
    Ok(Some(Parsed::no_tuple(Kind::Control, at.l3)))
}

#[derive(Clone, Copy)]
struct Places {
    l3: usize,
    l4: usize,
    end: usize,
    ttl: u8,
}

#[inline(always)]
fn transport(
    frame: &[u8],
    at: Places,
    number: u8,
    src: Addr,
    dst: Addr,
) -> Result<Parsed, DropReason> {
    let Places { l3, l4, end, ttl } = at;
    // `l4` may lie beyond `end` where extension headers say so.
    let segment = frame.get(l4..end).ok_or(DropReason::Truncated)?;
    let (kind, flags) = match (number, dst.family()) {
        (6, _) => (Kind::Flow, check_tcp(segment)?),
        (17, family) => {
            check_udp(segment, family)?;
            (Kind::Flow, 0)
        }
        (ipv4::ICMP, Family::V4) | (ipv6::ICMPV6, Family::V6) => {
            (check_icmp(segment, src, dst)?, 0)
        }
        _ => return Err(DropReason::Protocol),
    };
    let proto = Proto::from_number(number).ok_or(DropReason::Protocol)?;
    let (sport, dport) =
        if kind == Kind::Flow { (get16(segment, 0), get16(segment, 2)) } else { (0, 0) };
    let tuple = Tuple { src, dst, sport, dport, proto };
    Ok(Parsed { kind, l3: l3 as u16, l4: l4 as u16, end: end as u16, ttl, flags, tuple })
}

#[inline(always)]
fn check_tcp(segment: &[u8]) -> Result<u8, DropReason> {
    if segment.len() < tcp::LEN {
        return Err(DropReason::Truncated);
    }
    let header_len = tcp::header_len(segment);
    if header_len < tcp::LEN || header_len > segment.len() || ports_missing(segment) {
        return Err(DropReason::TransportHeader);
    }
    Ok(segment[tcp::FLAGS])
}

#[inline(always)]
fn check_udp(segment: &[u8], family: Family) -> Result<(), DropReason> {
    if segment.len() < udp::LEN {
        return Err(DropReason::Truncated);
    }
    let len = get16(segment, udp::LENGTH) as usize;
    if len < udp::LEN || len > segment.len() || ports_missing(segment) {
        return Err(DropReason::TransportHeader);
    }
    if family == Family::V6 && get16(segment, udp::CHECKSUM) == 0 {
        return Err(DropReason::NoChecksum);
    }
    Ok(())
}

/// Port 0 is reserved (RFC 6335 section 6) and no conn can be answered to it.
#[inline(always)]
fn ports_missing(segment: &[u8]) -> bool {
    get16(segment, 0) == 0 || get16(segment, 2) == 0
}

/// Errors and echo requests; the checksum is verified, for what is answered or rewritten here must
/// not turn a damaged message into a good one.
#[cold]
fn check_icmp(message: &[u8], src: Addr, dst: Addr) -> Result<Kind, DropReason> {
    if message.len() < icmp::LEN {
        return Err(DropReason::Truncated);
    }
    let (start, kind) = match dst.family() {
        Family::V4 => (0, v4_kind(message[0])),
        Family::V6 => {
            (checksum::pseudo(src, dst, ipv6::ICMPV6, message.len()), v6_kind(message[0]))
        }
    };
    if checksum::fold(checksum::sum(message, start)) != 0xffff {
        return Err(DropReason::Icmp);
    }
    kind.ok_or(DropReason::IcmpType)
}

fn v4_kind(kind: u8) -> Option<Kind> {
    match kind {
        icmp::v4::ECHO => Some(Kind::Echo),
        icmp::v4::UNREACHABLE
        | icmp::v4::SOURCE_QUENCH
        | icmp::v4::TIME_EXCEEDED
        | icmp::v4::PARAMETER => Some(Kind::IcmpError),
        _ => None,
    }
}

fn v6_kind(kind: u8) -> Option<Kind> {
    match kind {
        icmp::v6::ECHO => Some(Kind::Echo),
        icmp::v6::UNREACHABLE..=icmp::v6::PARAMETER => Some(Kind::IcmpError),
        _ => None,
    }
}

/// The packet that an ICMP error quotes, which may be cut off after 8 bytes of its transport
/// header (RFC 792).
#[derive(Clone, Copy, Debug)]
pub struct Quoted {
    /// Place of its IP header.
    pub l3: usize,
    /// Place of its transport header.
    pub l4: usize,
    /// Its tuple, in the direction it travelled.
    pub tuple: Tuple,
}

/// Reads what an ICMP error quotes.
pub fn parse_quoted(frame: &[u8], p: &Parsed) -> Result<Quoted, DropReason> {
    let l3 = p.l4 as usize + icmp::LEN;
    let packet = &frame[..p.end as usize];
    let ip = packet.get(l3..).ok_or(DropReason::Icmp)?;
    let (number, l4, src, dst) = match p.family() {
        Family::V4 => {
            if ip.len() < ipv4::LEN || ip[0] >> 4 != 4 || ipv4::header_len(ip) < ipv4::LEN {
                return Err(DropReason::Icmp);
            }
            // Later fragments carry no ports.
            if get16(ip, ipv4::FRAGMENT) & ipv4::OFFSET != 0 {
                return Err(DropReason::Fragment);
            }
            let l4 = l3 + ipv4::header_len(ip);
            (ip[ipv4::PROTOCOL], l4, ipv4::src(ip), ipv4::dst(ip))
        }
        Family::V6 => {
            if ip.len() < ipv6::LEN || ip[0] >> 4 != 6 {
                return Err(DropReason::Icmp);
            }
            let (next, l4) = walk_extensions(packet, ip[ipv6::NEXT], l3 + ipv6::LEN)?;
            (next, l4, ipv6::src(ip), ipv6::dst(ip))
        }
    };
    let Some(proto @ (Proto::Tcp | Proto::Udp)) = Proto::from_number(number) else {
        return Err(DropReason::IcmpUnknown);
    };
    if src.family() != p.family() || dst.family() != p.family() {
        return Err(DropReason::Icmp);
    }
    let ports = packet.get(l4..l4 + 8).ok_or(DropReason::Icmp)?;
    let tuple = Tuple { src, dst, sport: get16(ports, 0), dport: get16(ports, 2), proto };
    Ok(Quoted { l3, l4, tuple })
}
