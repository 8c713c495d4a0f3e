//! IP in IP (RFC 2003, RFC 2473), GUE (draft-ietf-intarea-gue) and GRE (RFC 2784), with outer headers as the
//! kernel's IPVS writes them (`ip_vs_tunnel_xmit`): TTL of the inner packet after its decrement, DSCP copied,
//! ECN by the full-functionality rule (RFC 3168 section 9.1), DF copied where both are IPv4, identification 0
//! with DF.

use super::rewrite;
use crate::frame::Frame;
use crate::parse::Parsed;
use crate::service::Dest;
use crate::service::Encap;
use crate::tuple::Addr;
use crate::tuple::Family;
use crate::wire::checksum;
use crate::wire::ethernet;
use crate::wire::get16;
use crate::wire::gre;
use crate::wire::gue;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::wire::put16;
use crate::wire::udp;

/// The most that a tunnel adds to a packet.
pub const MAX_OVERHEAD: usize = ipv6::LEN + udp::LEN + gue::LEN;

/// Source ports of GUE: the kernel's `ip_local_port_range`.
const GUE_PORTS: core::ops::Range<u64> = 32_768..60_999;

/// Who says less of an IPv4 way is believed this much (the kernel's `min_pmtu`).
const LEAST_V4: u16 = 552;

/// What is believed of a way's MTU that somebody told. No link of IPv6 carries less than 1,280 bytes, so who says that
/// says nothing (RFC 8201 section 4).
pub fn believed(way: Family, mtu: u16) -> Option<u16> {
    match way {
        Family::V4 => Some(mtu.max(LEAST_V4)),
        Family::V6 => (usize::from(mtu) >= ipv6::MIN_MTU).then_some(mtu),
    }
}

/// What a tunnel adds to a packet, by the family of its way.
pub const fn overhead(family: Family, encap: Encap) -> usize {
    let ip = match family {
        Family::V4 => ipv4::LEN,
        Family::V6 => ipv6::LEN,
    };
    ip + between(encap)
}

/// The headers between the outer IP header and the packet within.
const fn between(encap: Encap) -> usize {
    match encap {
        Encap::Ip => 0,
        Encap::Gue { .. } => udp::LEN + gue::LEN,
        Encap::Gre { checksum: false } => gre::LEN,
        Encap::Gre { checksum: true } => gre::LEN_SUMMED,
    }
}

/// Whether `encapsulate` does all that a packet to a dest needs, as it does for nearly all in IP in IP of one family.
#[inline(always)]
pub fn is_plain(frame: &[u8], p: &Parsed, dest: &Dest) -> bool {
    // No router may cut it, so no identification is needed.
    let is_whole = || get16(frame, p.l3 as usize + ipv4::FRAGMENT) & ipv4::DF != 0;
    dest.tunnel.plain[p.family as usize] && (p.family == Family::V6 || is_whole())
}

/// Puts a packet into one to a dest, where that `is_plain`. The outer header then lies where the inner one was, behind
/// room for a link header, which is not written. Gives the frame's bytes; none where the headroom does not suffice.
#[inline(always)]
pub fn encapsulate<'a, F: Frame>(
    frame: &'a mut F,
    p: &Parsed,
    dest: &Dest,
) -> Option<&'a mut [u8]> {
    let (l3, family) = (p.l3 as usize, p.family);
    let header = overhead(family, Encap::Ip);
    // Ethernet padding must not become payload of the outer packet.
    if !frame.cut(l3 + p.ip_len()) || !frame.prepend(header) {
        return None;
    }
    let data = frame.data_mut();
    // Said once for all that follows; it is so.
    if data.len() < l3 + header + header {
        return None;
    }
    let inner = Parsed { l3: p.l3 + header as u16, ..*p };
    rewrite::decrement_ttl(data, &inner);
    let (ip, packet) = data[l3..].split_at_mut(header);
    match family {
        Family::V4 => {
            let tos = outer_class(packet[ipv4::TOS].into());
            dest.tunnel.v4.write(ip, (tos, packet[ipv4::TTL]), header + packet.len());
        }
        Family::V6 => {
            let within = Within::read(packet, family);
            put_v6(ip, &within, (within.number, packet.len()), dest);
        }
    }
    Some(data)
}

/// The same, whether it could, for a packet of any family in a tunnel of any kind, to a dest. `flow` is a hash of the packet's
/// conn: what routers on the way tell conns by, where the kind has a place for it.
pub fn wrap<F: Frame>(
    frame: &mut F,
    p: &Parsed,
    dest: &Dest,
    id: impl FnOnce() -> u16,
    flow: impl FnOnce() -> u64,
) -> bool {
    let (l3, family, encap) = (p.l3 as usize, dest.addr.family(), dest.traits.encap);
    let added = overhead(family, encap);
    if !frame.cut(p.end as usize) || !frame.prepend(added) {
        return false;
    }
    let inner = Parsed { l3: p.l3 + added as u16, ..*p };
    rewrite::decrement_ttl(frame.data_mut(), &inner);
    let packet = &mut frame.data_mut()[l3..];
    let within = Within::read(&packet[added..], p.family);
    let (ip, payload) = packet.split_at_mut(added - between(encap));
    let number = match encap {
        Encap::Ip => within.number,
        Encap::Gue { port, checksum } => {
            put_gue(payload, within.number, (source_port(flow()), port));
            if checksum {
                set_udp_checksum(payload, (dest.tunnel.source, dest.addr));
            }
            udp::NUMBER
        }
        Encap::Gre { checksum } => {
            put_gre(payload, within.ether_type, checksum);
            gre::NUMBER
        }
    };
    put_ip(ip, family, &within, (number, payload.len()), id, dest);
    true
}

/// What an outer header takes from the packet within.
struct Within {
    number: u8,
    ether_type: u16,
    class: u32,
    ttl: u8,
    df: u16,
}

impl Within {
    #[inline(always)]
    fn read(ip: &[u8], family: Family) -> Self {
        match family {
            Family::V4 => Self {
                number: ipv4::IPIP,
                ether_type: ethernet::IPV4,
                class: ip[ipv4::TOS].into(),
                ttl: ip[ipv4::TTL],
                df: get16(ip, ipv4::FRAGMENT) & ipv4::DF,
            },
            Family::V6 => Self {
                number: ipv6::IPV6,
                ether_type: ethernet::IPV6,
                class: ipv6::traffic_class(ip).into(),
                ttl: ip[ipv6::HOP_LIMIT],
                // It needs none to be whole at its end: routers cut the outer packet, if anything
                // (`ip_vs_prepare_tunneled_skb`).
                df: 0,
            },
        }
    }
}

/// The outer IP header, of the family of its ends, before so many bytes of a protocol.
fn put_ip(
    ip: &mut [u8],
    family: Family,
    within: &Within,
    (number, payload): (u8, usize),
    id: impl FnOnce() -> u16,
    dest: &Dest,
) {
    if family == Family::V6 {
        return put_v6(ip, within, (number, payload), dest);
    }
    let is_whole = within.df != 0 && !dest.traits.cuts_outer;
    let (id, fragment) = if is_whole { (0, ipv4::DF) } else { (id(), 0) };
    ipv4::Header {
        tos: outer_class(within.class) as u8,
        total: (payload + ipv4::LEN) as u16,
        id,
        fragment,
        ttl: within.ttl,
        protocol: number,
        ends: dest.tunnel.v4.ends(),
    }
    .write(ip);
}

#[inline(always)]
fn put_v6(ip: &mut [u8], within: &Within, (number, payload): (u8, usize), dest: &Dest) {
    let header = ipv6::Header {
        traffic_class: outer_class(within.class) as u8,
        payload: payload as u16,
        next: number,
        hop_limit: within.ttl,
        src: dest.tunnel.source,
        dst: dest.addr,
    };
    header.write(ip);
}

/// As `udp_flow_src_port` maps a hash.
fn source_port(flow: u64) -> u16 {
    let range = GUE_PORTS.end - GUE_PORTS.start;
    (GUE_PORTS.start + (((flow >> 32) * range) >> 32)) as u16
}

/// UDP without checksum, and GUE of version 0 without options; what is within follows.
fn put_gue(segment: &mut [u8], within: u8, (sport, dport): (u16, u16)) {
    put16(segment, 0, sport);
    put16(segment, 2, dport);
    put16(segment, udp::LENGTH, segment.len() as u16);
    put16(segment, udp::CHECKSUM, 0);
    segment[udp::LEN..][..gue::LEN].copy_from_slice(&[0, within, 0, 0]);
}

fn set_udp_checksum(segment: &mut [u8], (src, dst): (Addr, Addr)) {
    let start = checksum::pseudo(src, dst, udp::NUMBER, segment.len());
    let sum = match checksum::finish(checksum::sum(segment, start)) {
        // 0 is no checksum (RFC 768).
        0 => 0xffff,
        sum => sum,
    };
    put16(segment, udp::CHECKSUM, sum);
}

/// GRE of version 0 without key and sequence number.
fn put_gre(packet: &mut [u8], ether_type: u16, summed: bool) {
    put16(packet, 0, if summed { gre::SUMMED } else { 0 });
    put16(packet, gre::PROTOCOL, ether_type);
    if summed {
        packet[gre::LEN..gre::LEN_SUMMED].fill(0);
        let sum = checksum::finish(checksum::sum(packet, 0));
        put16(packet, gre::LEN, sum);
    }
}

/// DSCP as it is; a CE mark becomes ECT(0) outside.
fn outer_class(inner: u32) -> u32 {
    inner & !(inner >> 1 & 1)
}
