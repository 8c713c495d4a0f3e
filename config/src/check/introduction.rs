//! `client_address` and `proxy_in` of services.

use super::Ways;
use super::methods::Methods;
use crate::model::ClientAddress;
use crate::model::Dest;
use crate::model::Forward;
use crate::model::Protocol;
use crate::raw::RawService;
use crate::report::At;
use crate::report::Report;
use std::net::SocketAddr;

/// The least mtu toward a dest that gets a header of 56 bytes in each datagram: IPv6 hosts do not
/// make packets smaller than 1280 (RFC 8200 section 5).
const MIN_MTU: u16 = 1280 + 56;

/// How the service's dests learn of their clients.
pub(super) fn check(
    report: &mut Report<'_>,
    service: &RawService,
    address: At<SocketAddr>,
    methods: &Methods,
    dests: &[Dest],
    ways: &Ways,
) -> ClientAddress {
    let Some(At { value, span }) = service.client_address else {
        check_proxy_in(report, service, ClientAddress::Off);
        return ClientAddress::Off;
    };
    check_proxy_in(report, service, value);
    if value == ClientAddress::Off {
        return value;
    }
    if !methods.has(Forward::FullNat) {
        let message = methods.lacks(Forward::FullNat, "does not change the client's address");
        report.error(span, message, "leave it out, or say forward = \"fullnat\"");
    } else if service.protocol == Protocol::Sctp {
        report.error(span, format!("{value} for sctp"), "there is no such header: leave it out");
    } else if service.protocol == Protocol::Udp && value != ClientAddress::ProxyV2 {
        let message = format!("{value} is for TCP only");
        report.error(span, message, "UDP services have \"proxy-v2\"");
    } else if service.protocol == Protocol::Udp && address.value.is_ipv6() && ways.known {
        for dest in dests.iter().filter(|dest| dest.forward == Forward::FullNat) {
            let port = ways.route(None, dest.address.ip()).map(|(port, _)| &ways.ports[port]);
            let Some(port) = port.filter(|port| port.mtu < MIN_MTU) else { continue };
            let message = format!(
                "the header to {} leaves by port {:?} with mtu {}",
                dest.address.ip(),
                port.name,
                port.mtu
            );
            let help = format!("at least {MIN_MTU}: a datagram of 1280 bytes and the header's 56");
            report.error(span, message, help);
        }
    }
    value
}

fn check_proxy_in(report: &mut Report<'_>, service: &RawService, value: ClientAddress) {
    if let Some(span) = service.proxy_in_at.filter(|_| value == ClientAddress::Off) {
        let help = "nobody's header is added here; add client_address, or leave it out";
        report.error(span, "proxy_in without client_address", help);
    }
}
