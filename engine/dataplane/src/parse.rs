//! From a frame to a small `Parsed`: what it is, where its headers lie, which tuple it carries.
//!
//! `parse` reads and checks; it changes nothing. After it says `Kind::Flow` every header it gives
//! a place for lies within the frame, so the setters of `wire` cannot miss.

use crate::neigh::Mac;
use crate::snapshot::PortInfo;
use crate::snapshot::Snapshot;
use crate::tuple::Addr;
use crate::tuple::Family;
use crate::tuple::Proto;
use crate::tuple::Tuple;
use crate::verdict::DropReason;
use crate::wire::checksum;
use crate::wire::ethernet;
use crate::wire::get16;
use crate::wire::gre;
use crate::wire::gue;
use crate::wire::head;
use crate::wire::icmp;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::wire::sctp;
use crate::wire::tcp;
use crate::wire::udp;

pub(crate) mod plain;

/// How many IPv6 extension headers are walked.
const MAX_EXTENSIONS: usize = 8;

/// What a frame is to the pipeline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// TCP, UDP or SCTP: has a tuple with ports.
    Flow,
    /// A fragment of TCP, UDP, SCTP or ICMP; ports are yet to be read. `l4` is the place of its payload.
    Fragment,
    /// An ICMP error; what it quotes is yet to be read.
    IcmpError,
    /// An ICMP echo request: has a tuple.
    Echo,
    /// An ICMP echo reply: has a tuple.
    EchoReply,
    /// ARP, neighbour discovery, MLD: the control thread's.
    Control,
    /// Nothing to be done with.
    Drop(DropReason),
}

/// What `parse` found. Places count from the frame's first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
    /// TCP's control bits; 0 for UDP; what `wire::sctp::flags` makes of an SCTP packet's chunks.
    pub flags: u8,
    /// The family it travels in, which is the tuple's.
    pub family: Family,
    /// Addresses, and for flows ports.
    pub tuple: Tuple,
}

impl Parsed {
    /// Length of the IP packet.
    #[inline(always)]
    pub fn ip_len(&self) -> usize {
        (self.end - self.l3) as usize
    }

    /// Of no frame.
    pub(crate) const NONE: Self = Self::no_tuple(Kind::Drop(DropReason::Truncated), 0);

    const fn no_tuple(kind: Kind, l3: usize) -> Self {
        let (src, dst) = (Addr::UNSPECIFIED, Addr::UNSPECIFIED);
        let tuple = Tuple { src, dst, sport: 0, dport: 0, proto: Proto::Icmp };
        let family = Family::V6;
        Self { kind, l3: l3 as u16, l4: 0, end: 0, ttl: 0, flags: 0, family, tuple }
    }
}

/// Reads a frame that came in by `port`; what nearly all are, `plain` reads quicker.
#[inline(never)]
pub fn parse(frame: &[u8], port: &PortInfo) -> Parsed {
    let result = match link(frame, port) {
        Ok((ethernet::IPV4, l3)) => parse_v4(frame, l3),
        Ok((ethernet::IPV6, l3)) => parse_v6(frame, l3),
        Ok((ethernet::ARP, l3)) => Ok(Parsed::no_tuple(Kind::Control, l3)),
        Ok(_) => Err(DropReason::EtherType),
        Err(reason) => Err(reason),
    };
    let parsed = match result {
        Ok(parsed) => parsed,
        Err(reason) => return Parsed::no_tuple(Kind::Drop(reason), 0),
    };
    // An IP packet for one host in a frame for many is nobody's to forward (RFC 1122 3.3.6).
    if ethernet::is_group(frame) && !matches!(parsed.kind, Kind::Control | Kind::Drop(_)) {
        return Parsed::no_tuple(Kind::Drop(DropReason::Multicast), 0);
    }
    parsed
}

/// Checks the Ethernet header and gives the EtherType behind it and the place after it.
#[inline(always)]
fn link(frame: &[u8], port: &PortInfo) -> Result<(u16, usize), DropReason> {
    if frame.len() < port.l2_len() || frame.len() > u16::MAX as usize {
        return Err(DropReason::Truncated);
    }
    let destination: Mac = ethernet::destination(frame);
    if destination != port.mac && !ethernet::is_group(frame) {
        return Err(DropReason::WrongMac);
    }
    let ether_type = ethernet::ether_type(frame);
    match port.vlan {
        None if ether_type != ethernet::VLAN => Ok((ether_type, ethernet::LEN)),
        // A tag with number 0 says only a priority (IEEE 802.1Q section 6.9).
        expected => tagged(frame, ether_type, expected.unwrap_or(0)),
    }
}

fn tagged(frame: &[u8], ether_type: u16, expected: u16) -> Result<(u16, usize), DropReason> {
    if frame.len() < ethernet::LEN + ethernet::TAG {
        return Err(DropReason::Truncated);
    }
    if ether_type != ethernet::VLAN || ethernet::vlan(frame) != expected {
        return Err(DropReason::WrongVlan);
    }
    Ok((get16(frame, 16), ethernet::LEN + ethernet::TAG))
}

/// Reads a frame as a router does, which looks no further than the IP header; `kind` says nothing.
///
/// # Errors
/// Where no router may forward it.
#[cold]
pub fn parse_transit(frame: &[u8], port: &PortInfo) -> Result<Parsed, DropReason> {
    let (at, number, src, dst) = match link(frame, port)? {
        (ethernet::IPV4, l3) => header_v4(frame, l3)?,
        (ethernet::IPV6, l3) => {
            let (at, number, src, dst) = header_v6(frame, l3)?;
            check_v6(src, dst)?;
            (at, number, src, dst)
        }
        _ => return Err(DropReason::EtherType),
    };
    if ethernet::is_group(frame) {
        return Err(DropReason::Multicast);
    }
    let proto = Proto::from_number(number).unwrap_or(Proto::Icmp);
    let tuple = Tuple { src, dst, sport: 0, dport: 0, proto };
    let kind = Kind::Drop(DropReason::NotOurs);
    Ok(at.parsed(kind, 0, tuple))
}

/// Whether an ICMP error may be sent about a packet: not about one, nor about a later fragment
/// (RFC 1122 section 3.2.2, RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 e). Of IPv6 fragments
/// routers know no order.
pub fn may_be_answered(frame: &[u8], p: &Parsed) -> bool {
    let ip = &frame[p.l3 as usize..p.end as usize];
    let (number, l4) = match p.family {
        Family::V4 if get16(ip, ipv4::FRAGMENT) & ipv4::OFFSET != 0 => return false,
        Family::V4 => (ip[ipv4::PROTOCOL], ipv4::header_len(ip)),
        Family::V6 => match walk_extensions(ip, ip[ipv6::NEXT], ipv6::LEN) {
            Ok((_, l4, true)) if get16(ip, l4 - 6) & ipv6::OFFSET != 0 => return true,
            Ok((number, l4, _)) => (number, l4),
            Err(_) => return true,
        },
    };
    match (number, p.family, ip.get(l4)) {
        (ipv4::ICMP, Family::V4, kind) => kind.is_some_and(|kind| icmp::v4::is_query(*kind)),
        (ipv6::ICMPV6, Family::V6, kind) => kind.is_some_and(|kind| icmp::v6::is_query(*kind)),
        _ => true,
    }
}

#[inline(always)]
fn parse_v4(frame: &[u8], l3: usize) -> Result<Parsed, DropReason> {
    let (at, number, src, dst) = header_v4(frame, l3)?;
    if get16(frame, l3 + ipv4::FRAGMENT) & (ipv4::MF | ipv4::OFFSET) != 0 {
        return fragment(at, number, src, dst);
    }
    transport(frame, at, number, src, dst)
}

/// Checks an IPv4 header and gives the places, the transport's number and the addresses.
#[inline(always)]
fn header_v4(frame: &[u8], l3: usize) -> Result<(Places, u8, Addr, Addr), DropReason> {
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
    let is_right = match header_len {
        ipv4::LEN => checksum::is_right(head(ip)),
        _ => checksum::fold(checksum::sum(&ip[..header_len], 0)) == 0xffff,
    };
    if !is_right {
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
    let at = Places { l3, l4: l3 + header_len, end: l3 + total, ttl: ip[ipv4::TTL] };
    Ok((at, ip[ipv4::PROTOCOL], src, dst))
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

/// Checks an IPv6 header and gives the places, the next header's number and the addresses.
#[inline(always)]
fn header_v6(frame: &[u8], l3: usize) -> Result<(Places, u8, Addr, Addr), DropReason> {
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
    let at = Places { l3, l4: l3 + ipv6::LEN, end, ttl: ip[ipv6::HOP_LIMIT] };
    Ok((at, ip[ipv6::NEXT], ipv6::src(ip), ipv6::dst(ip)))
}

#[inline(always)]
fn check_v6(src: Addr, dst: Addr) -> Result<(), DropReason> {
    if dst.is_multicast() {
        return Err(DropReason::Multicast);
    }
    if src.is_martian_source() || src.is_v4() || dst.is_v4() {
        return Err(DropReason::Martian);
    }
    Ok(())
}

#[inline(always)]
fn parse_v6(frame: &[u8], l3: usize) -> Result<Parsed, DropReason> {
    let (mut at, number, src, dst) = header_v6(frame, l3)?;
    let (next, l4, is_fragment) = match number {
        next @ (6 | 17 | ipv6::ICMPV6) => (next, at.l4, false),
        next => walk_extensions(&frame[..at.end], next, at.l4)?,
    };
    at.l4 = l4;
    // Fragmented ones are nobody's (RFC 6980).
    if next == ipv6::ICMPV6
        && !is_fragment
        && let Some(control) = link_message(frame, at, src)?
    {
        return Ok(control);
    }
    check_v6(src, dst)?;
    if is_fragment {
        return fragment(at, next, src, dst);
    }
    transport(frame, at, next, src, dst)
}

/// A fragment: what it is of is told by its datagram's first one.
#[cold]
fn fragment(at: Places, number: u8, src: Addr, dst: Addr) -> Result<Parsed, DropReason> {
    let Places { l4, end, .. } = at;
    let proto = match (Proto::from_number(number), dst.family()) {
        (Some(Proto::Icmp), Family::V6) | (Some(Proto::Icmpv6), Family::V4) | (None, _) => {
            return Err(DropReason::Protocol);
        }
        (Some(proto), _) => proto,
    };
    if l4 >= end {
        return Err(DropReason::Truncated);
    }
    let tuple = Tuple { src, dst, sport: 0, dport: 0, proto };
    let kind = Kind::Fragment;
    Ok(at.parsed(kind, 0, tuple))
}

/// What the payload of a first fragment is, which ends with the fragment: a flow's beginning, or an
/// echo's, whose checksum only its receiver can verify.
pub fn parse_first(frame: &[u8], p: &Parsed) -> Result<Parsed, DropReason> {
    let segment = &frame[p.l4 as usize..p.end as usize];
    let flags = match p.tuple.proto {
        Proto::Icmp | Proto::Icmpv6 => return first_of_echo(segment, p),
        Proto::Tcp => match check_tcp(segment) {
            Err(DropReason::Truncated) => return Err(DropReason::FragmentTiny),
            other => other?,
        },
        Proto::Sctp => match check_sctp(segment) {
            Err(DropReason::Truncated) => return Err(DropReason::FragmentTiny),
            other => other?,
        },
        _ if segment.len() < udp::LEN => return Err(DropReason::FragmentTiny),
        // Its length is the whole datagram's.
        _ if ports_missing(segment) => return Err(DropReason::TransportHeader),
        _ if p.family == Family::V6 && get16(segment, udp::CHECKSUM) == 0 => {
            return Err(DropReason::NoChecksum);
        }
        _ => 0,
    };
    let (sport, dport) = (get16(segment, 0), get16(segment, 2));
    let tuple = Tuple { sport, dport, ..p.tuple };
    Ok(Parsed { kind: Kind::Flow, flags, tuple, ..*p })
}

fn first_of_echo(message: &[u8], p: &Parsed) -> Result<Parsed, DropReason> {
    if message.len() < icmp::LEN {
        return Err(DropReason::FragmentTiny);
    }
    let id = get16(message, icmp::ID);
    let kind = match p.family {
        Family::V4 => v4_kind(message[0]),
        Family::V6 => v6_kind(message[0]),
    };
    let (kind, sport, dport) = match kind {
        Some(Kind::Echo) => (Kind::Echo, id, 0),
        Some(Kind::EchoReply) => (Kind::EchoReply, 0, id),
        _ => return Err(DropReason::IcmpType),
    };
    Ok(Parsed { kind, tuple: Tuple { sport, dport, ..p.tuple }, ..*p })
}

/// Walks IPv6 extension headers (RFC 8200 section 4) and gives the transport's number and place,
/// and whether that is the payload of a fragment, whose header is the eight bytes before it. A
/// fragment header that says it is first and last is none (RFC 6946).
#[cold]
fn walk_extensions(
    packet: &[u8],
    mut next: u8,
    mut at: usize,
) -> Result<(u8, usize, bool), DropReason> {
    let mut left = MAX_EXTENSIONS;
    loop {
        if !matches!(next, ipv6::HOP_BY_HOP | ipv6::DESTINATION | ipv6::ROUTING | ipv6::FRAGMENT) {
            return Ok((next, at, false));
        }
        if left == 0 || at + 8 > packet.len() {
            return Err(DropReason::ExtensionHeaders);
        }
        left -= 1;
        if next == ipv6::FRAGMENT {
            if get16(packet, at + 2) & (ipv6::OFFSET | ipv6::MORE) != 0 {
                return Ok((packet[at], at + 8, true));
            }
            next = packet[at];
            at += 8;
            continue;
        }
        // Segments left: we are no segment router (RFC 8200 section 4.4, RFC 5095).
        if next == ipv6::ROUTING && packet[at + 3] != 0 {
            return Err(DropReason::ExtensionHeaders);
        }
        next = packet[at];
        at += 8 + packet[at + 1] as usize * 8;
    }
}

/// The place of the fragment header of a v6 packet at `l3` whose payload, a fragment, is at `l4`;
/// none where it is no fragment.
pub fn v6_fragment(packet: &[u8], l3: usize, l4: usize) -> Option<usize> {
    if l4 <= l3 + ipv6::LEN {
        return None;
    }
    match walk_extensions(packet, packet[l3 + ipv6::NEXT], l3 + ipv6::LEN) {
        Ok((_, at, true)) if at == l4 => Some(l4 - 8),
        _ => None,
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

impl Places {
    #[inline(always)]
    fn parsed(self, kind: Kind, flags: u8, tuple: Tuple) -> Parsed {
        let (l3, l4, end) = (self.l3 as u16, self.l4 as u16, self.end as u16);
        Parsed { kind, l3, l4, end, ttl: self.ttl, flags, family: tuple.dst.family(), tuple }
    }
}

#[inline(always)]
fn transport(
    frame: &[u8],
    at: Places,
    number: u8,
    src: Addr,
    dst: Addr,
) -> Result<Parsed, DropReason> {
    let Places { l4, end, .. } = at;
    // `l4` may lie beyond `end` where extension headers say so.
    let segment = frame.get(l4..end).ok_or(DropReason::Truncated)?;
    let (kind, flags) = match (number, dst.family()) {
        (6, _) => (Kind::Flow, check_tcp(segment)?),
        (17, family) => {
            check_udp(segment, family)?;
            (Kind::Flow, 0)
        }
        (132, _) => (Kind::Flow, check_sctp(segment)?),
        (ipv4::ICMP, Family::V4) | (ipv6::ICMPV6, Family::V6) => {
            (check_icmp(segment, src, dst)?, 0)
        }
        _ => return Err(DropReason::Protocol),
    };
    let proto = Proto::from_number(number).ok_or(DropReason::Protocol)?;
    let (sport, dport) = match kind {
        Kind::Flow => (get16(segment, 0), get16(segment, 2)),
        Kind::Echo => (get16(segment, icmp::ID), 0),
        Kind::EchoReply => (0, get16(segment, icmp::ID)),
        _ => (0, 0),
    };
    let tuple = Tuple { src, dst, sport, dport, proto };
    Ok(at.parsed(kind, flags, tuple))
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

/// A packet of no chunk says nothing. The checksum is looked at by who changes what it is over.
#[cold]
fn check_sctp(packet: &[u8]) -> Result<u8, DropReason> {
    if packet.len() < sctp::LEN + sctp::CHUNK {
        return Err(DropReason::Truncated);
    }
    if ports_missing(packet) {
        return Err(DropReason::TransportHeader);
    }
    Ok(sctp::flags(sctp::event(packet)))
}

/// Port 0 is reserved (RFC 6335 section 6) and no conn can be answered to it.
#[inline(always)]
fn ports_missing(segment: &[u8]) -> bool {
    get16(segment, 0) == 0 || get16(segment, 2) == 0
}

/// Errors and echoes; the checksum is verified, for what is answered or rewritten here must
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
        icmp::v4::ECHO_REPLY => Some(Kind::EchoReply),
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
        icmp::v6::ECHO_REPLY => Some(Kind::EchoReply),
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
    /// Where the tunnel packet went that carried it, if it was quoted within one of ours.
    pub tunnel: Option<Addr>,
}

/// What an ICMP error quotes.
#[derive(Clone, Copy, Debug)]
pub enum Quote {
    /// A packet of a flow.
    Packet(Quoted),
    /// A packet of a tunnel of ours to this address, and too little of the one within: many routers quote
    /// 8 bytes beyond the IP header, and no more.
    Tunnel(Addr),
}

/// Reads what an ICMP error quotes.
pub fn parse_quoted(frame: &[u8], p: &Parsed, snap: &Snapshot) -> Result<Quote, DropReason> {
    let packet = &frame[..p.end as usize];
    let l3 = p.l4 as usize + icmp::LEN;
    let outer = quoted_ip(packet, l3, p.family)?;
    let Some(within) = within_tunnel(packet, &outer, snap) else {
        return quoted_flow(packet, outer, None).map(Quote::Packet);
    };
    // Only an answer to the tunnel's beginning is about a tunnel of ours.
    if outer.src != p.tuple.dst || !snap.locals.contains_key(&outer.src) {
        return Err(DropReason::IcmpUnknown);
    }
    let end = outer.dst;
    let quoted = within.and_then(|(l3, family)| quoted_ip(packet, l3, family));
    match quoted.and_then(|inner| quoted_flow(packet, inner, Some(end))) {
        Ok(quoted) => Ok(Quote::Packet(quoted)),
        Err(DropReason::Icmp) => Ok(Quote::Tunnel(end)),
        Err(reason) => Err(reason),
    }
}

/// Where the packet within begins, and its family, of a packet to an end of a tunnel of ours; none where it is
/// for nothing of the kind.
fn within_tunnel(
    packet: &[u8],
    outer: &QuotedIp,
    snap: &Snapshot,
) -> Option<Result<(usize, Family), DropReason>> {
    let QuotedIp { number, l4, dst, .. } = *outer;
    let is_end = |port| snap.is_tunnel_end(dst, number, port);
    let header = packet.get(l4..)?;
    match number {
        ipv4::IPIP if is_end(0) => Some(Ok((l4, Family::V4))),
        ipv6::IPV6 if is_end(0) => Some(Ok((l4, Family::V6))),
        udp::NUMBER if header.len() >= udp::LEN && is_end(get16(header, 2)) => {
            let l3 = l4 + udp::LEN + gue::LEN;
            match header.get(udp::LEN..udp::LEN + gue::LEN) {
                None => Some(Err(DropReason::Icmp)),
                Some([0, ipv4::IPIP, 0, 0]) => Some(Ok((l3, Family::V4))),
                Some([0, ipv6::IPV6, 0, 0]) => Some(Ok((l3, Family::V6))),
                // Another datagram to the same port.
                Some(_) => None,
            }
        }
        gre::NUMBER if is_end(0) => {
            Some(within_gre(header).map(|(len, family)| (l4 + len, family)))
        }
        _ => None,
    }
}

/// The length of a GRE header as ours are, and the family of what follows.
fn within_gre(header: &[u8]) -> Result<(usize, Family), DropReason> {
    if header.len() < gre::LEN {
        return Err(DropReason::Icmp);
    }
    let len = match get16(header, 0) {
        0 => gre::LEN,
        gre::SUMMED => gre::LEN_SUMMED,
        _ => return Err(DropReason::IcmpUnknown),
    };
    match get16(header, gre::PROTOCOL) {
        ethernet::IPV4 => Ok((len, Family::V4)),
        ethernet::IPV6 => Ok((len, Family::V6)),
        _ => Err(DropReason::IcmpUnknown),
    }
}

/// A quoted IP header.
struct QuotedIp {
    number: u8,
    l3: usize,
    l4: usize,
    src: Addr,
    dst: Addr,
}

fn quoted_ip(packet: &[u8], l3: usize, family: Family) -> Result<QuotedIp, DropReason> {
    let ip = packet.get(l3..).ok_or(DropReason::Icmp)?;
    let (number, l4, src, dst) = match family {
        Family::V4 => {
            if ip.len() < ipv4::LEN || ip[0] >> 4 != 4 || ipv4::header_len(ip) < ipv4::LEN {
                return Err(DropReason::Icmp);
            }
            // Later fragments carry no ports.
            if get16(ip, ipv4::FRAGMENT) & ipv4::OFFSET != 0 {
                return Err(DropReason::IcmpUnknown);
            }
            let l4 = l3 + ipv4::header_len(ip);
            (ip[ipv4::PROTOCOL], l4, ipv4::src(ip), ipv4::dst(ip))
        }
        Family::V6 => {
            if ip.len() < ipv6::LEN || ip[0] >> 4 != 6 {
                return Err(DropReason::Icmp);
            }
            let (next, l4, is_fragment) = walk_extensions(packet, ip[ipv6::NEXT], l3 + ipv6::LEN)?;
            if is_fragment && get16(packet, l4 - 6) & ipv6::OFFSET != 0 {
                return Err(DropReason::IcmpUnknown);
            }
            (next, l4, ipv6::src(ip), ipv6::dst(ip))
        }
    };
    if src.family() != family || dst.family() != family {
        return Err(DropReason::Icmp);
    }
    Ok(QuotedIp { number, l3, l4, src, dst })
}

fn quoted_flow(packet: &[u8], ip: QuotedIp, tunnel: Option<Addr>) -> Result<Quoted, DropReason> {
    let QuotedIp { number, l3, l4, src, dst } = ip;
    let proto = Proto::from_number(number).ok_or(DropReason::IcmpUnknown)?;
    let header = packet.get(l4..l4 + 8).ok_or(DropReason::Icmp)?;
    let (sport, dport) = match (proto, header[0]) {
        (Proto::Tcp | Proto::Udp | Proto::Sctp, _) => (get16(header, 0), get16(header, 2)),
        (Proto::Icmp, icmp::v4::ECHO) | (Proto::Icmpv6, icmp::v6::ECHO) => {
            (get16(header, icmp::ID), 0)
        }
        (Proto::Icmp, icmp::v4::ECHO_REPLY) | (Proto::Icmpv6, icmp::v6::ECHO_REPLY) => {
            (0, get16(header, icmp::ID))
        }
        _ => return Err(DropReason::IcmpUnknown),
    };
    let tuple = Tuple { src, dst, sport, dport, proto };
    Ok(Quoted { l3, l4, tuple, tunnel })
}
