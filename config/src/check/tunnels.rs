//! Tunnels: what they are, and whether the ports they leave by carry them.

use crate::address::is_link_local;
use crate::model::Forward;
use crate::model::Port;
use crate::model::Tunnel;
use crate::model::TunnelChecksum;
use crate::model::TunnelKind;
use crate::prefix::family;
use crate::prefix::same_family;
use crate::raw::RawTunnel;
use crate::report::At;
use crate::report::Report;
use std::net::IpAddr;

/// What IPv6 hosts make no smaller packets than (RFC 8200 section 5).
const MIN_MTU_V6: u16 = 1280;

/// The tunnel that a service or a dest of this method has.
pub(super) fn check(report: &mut Report<'_>, raw: RawTunnel, forward: Forward) -> Tunnel {
    if forward != Forward::Tunnel {
        for place in raw.places() {
            let help = "leave it out: it is for forward = \"tunnel\"";
            report.error(place, format!("{forward} makes no tunnel"), help);
        }
        return Tunnel::Ipip;
    }
    let kind = raw.kind.map_or(TunnelKind::Ipip, |at| at.value);
    if let Some(port) = raw.port.filter(|_| kind != TunnelKind::Gue) {
        let help = "only gue has a port: leave it out";
        report.error(port.span, format!("tunnel_port with tunnel {kind}"), help);
    }
    let checksum = raw.checksum.map_or(TunnelChecksum::Nocsum, |at| at.value);
    match kind {
        TunnelKind::Ipip => {
            if let Some(at) = raw.checksum {
                let help = "ipip has no checksum: leave it out";
                report.error(at.span, "tunnel_checksum with tunnel ipip", help);
            }
            Tunnel::Ipip
        }
        TunnelKind::Gre => {
            if let Some(at) = raw.checksum.filter(|at| at.value == TunnelChecksum::Remcsum) {
                let help = "expected one of nocsum, csum: the kernel has no other for gre";
                report.error(at.span, "remcsum with tunnel gre", help);
            }
            Tunnel::Gre { checksum: checksum == TunnelChecksum::Csum }
        }
        TunnelKind::Gue => {
            if let (Some(kind), None) = (raw.kind, raw.port) {
                let help = "add tunnel_port = 6080, the UDP port where the dest takes GUE";
                report.error(kind.span, "tunnel gue without tunnel_port", help);
            }
            Tunnel::Gue { port: raw.port.map_or(0, |at| at.value), checksum }
        }
    }
}

/// The port a tunnel leaves by must have a source for the outer header, and room for it. `inner` is an address of
/// what the tunnel carries.
pub(super) fn check_port(
    report: &mut Report<'_>,
    dest: At<IpAddr>,
    (tunnel, inner): (Tunnel, IpAddr),
    port: &Port,
) {
    let At { value, span } = dest;
    let own = port.addresses.iter().map(|own| own.address());
    // A router on the way must not forward what comes from a link-local address (RFC 4291
    // section 2.5.6).
    let mut global = own.filter(|own| same_family(*own, value) && !is_link_local(*own));
    if global.next().is_none() {
        let message = format!(
            "the tunnel to {value} leaves by port {:?}, which has no {} address",
            port.name,
            family(value)
        );
        report.error(span, message, "give that port one: the outer header's source");
    }
    // Of IPv4 the least mtu of a port leaves enough.
    let least = MIN_MTU_V6 + overhead(tunnel, value);
    if inner.is_ipv6() && port.mtu < least {
        let message =
            format!("the tunnel to {value} leaves by port {:?} with mtu {}", port.name, port.mtu);
        let help = format!("at least {least}: a packet of 1280 bytes and the outer header");
        report.error(span, message, help);
    }
}

/// The bytes before the packet within.
fn overhead(tunnel: Tunnel, dest: IpAddr) -> u16 {
    let ip = if dest.is_ipv4() { 20 } else { 40 };
    let between = match tunnel {
        Tunnel::Ipip => 0,
        Tunnel::Gue { .. } => 8 + 4,
        Tunnel::Gre { checksum: false } => 4,
        Tunnel::Gre { checksum: true } => 8,
    };
    ip + between
}
