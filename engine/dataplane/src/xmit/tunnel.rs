//! IP in IP (RFC 2003, RFC 2473), with outer headers as the kernel's IPVS writes them
//! (`ip_vs_tunnel_xmit`): TTL of the inner packet after its decrement, DSCP copied, ECN by the
//! full-functionality rule (RFC 3168 section 9.1), DF copied, identification 0 with DF.

use super::rewrite;
use crate::frame::Frame;
use crate::parse::Parsed;
use crate::tuple::Addr;
use crate::tuple::Family;
use crate::wire::get16;
use crate::wire::ipv4;
use crate::wire::ipv6;

/// What the outer header adds, by the family of the way.
pub const fn overhead(family: Family) -> usize {
    match family {
        Family::V4 => ipv4::LEN,
        Family::V6 => ipv6::LEN,
    }
}

/// Puts a packet into a packet from `src` to `dst`, which are of its own family. The outer header
/// then lies where the inner one was. `id` serves packets without DF: where `may_cut`, all of them.
/// False, and unchanged, where the headroom does not suffice.
#[inline(always)]
pub fn encapsulate<F: Frame>(
    frame: &mut F,
    p: &Parsed,
    (src, dst): (Addr, Addr),
    id: u16,
    may_cut: bool,
) -> bool {
    let (l3, family) = (p.l3 as usize, p.family);
    // Ethernet padding must not become payload of the outer packet.
    if !frame.set_len(p.end as usize) || !frame.prepend(overhead(family)) {
        return false;
    }
    let inner = Parsed { l3: p.l3 + overhead(family) as u16, ..*p };
    rewrite::decrement_ttl(frame.data_mut(), &inner);
    let ip = &mut frame.data_mut()[l3..];
    let payload = p.ip_len() as u16;
    match family {
        Family::V4 => {
            let inner = &ip[ipv4::LEN..];
            let df = if may_cut { 0 } else { get16(inner, ipv4::FRAGMENT) & ipv4::DF };
            let header = ipv4::Header {
                tos: outer_class(inner[ipv4::TOS]),
                total: payload + ipv4::LEN as u16,
                id: if df != 0 { 0 } else { id },
                fragment: df,
                ttl: inner[ipv4::TTL],
                protocol: ipv4::IPIP,
                src,
                dst,
            };
            header.write(ip);
        }
        Family::V6 => {
            let inner = &ip[ipv6::LEN..];
            let header = ipv6::Header {
                traffic_class: outer_class(ipv6::traffic_class(inner)),
                payload,
                next: ipv6::IPV6,
                hop_limit: inner[ipv6::HOP_LIMIT],
                src,
                dst,
            };
            header.write(ip);
        }
    }
    true
}

/// DSCP as it is; a CE mark becomes ECT(0) outside.
fn outer_class(inner: u8) -> u8 {
    if inner & 3 == 3 { inner & !1 } else { inner }
}
