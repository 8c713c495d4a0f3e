//! `helper` of services.

use super::Ways;
use super::methods::Methods;
use super::pools::Pools;
use super::vips::addresses;
use super::virtuals::check_alone;
use crate::model::Forward;
use crate::model::Protocol;
use crate::model::Scope;
use crate::prefix::same_family;
use crate::raw::RawService;
use crate::report::At;
use crate::report::Report;
use std::net::SocketAddr;

/// FTP's port.
const FTP: u16 = 21;

/// What FTP's data conns need of their service.
pub(super) fn check(
    report: &mut Report<'_>,
    service: &RawService,
    address: At<SocketAddr>,
    methods: &Methods,
    (ways, pools): (&Ways, &Pools),
) {
    let At { value, span } = address;
    let tcp = service.protocol == Protocol::Tcp && !matches!(service.scope, Scope::Mark(_));
    // To data conns of a persistent service of port 21 the VIP's other ports belong, as in IPVS.
    let keeps_data = tcp && value.port() == FTP && service.persistent.is_some();
    if let Some(range) = addresses(value.ip(), service.scope)
        && (service.helper.is_some() && value.port() != 0 || keeps_data)
    {
        check_alone(report, At { value: range, span }, ways, pools);
    }
    let Some(At { mut span, .. }) = service.helper else { return };
    let silent = |method| matches!(method, Forward::Dr | Forward::Tunnel);
    let (message, help) = if matches!(service.scope, Scope::Mark(_)) {
        ("helper of a mark", "data conns bear none: say address instead of mark")
    } else if service.protocol != Protocol::Tcp {
        ("helper of a service that is not tcp", "FTP is TCP: leave it out")
    } else if let Some(method) = methods.used(silent) {
        span = methods.blame(method, span);
        let help = "what servers say does not pass the director: leave helper out, and for passive \
                    data conns say persistent with port 21";
        ("helper by \"dr\" or \"tunnel\"", help)
    } else if value.port() == 0 {
        ("helper of every port", "it reads the control conns of one port: name it")
    } else if service.dests.iter().filter_map(|dest| dest.address).any(|dest| {
        let (ip, _) = dest.value;
        !same_family(ip, value.ip())
    }) {
        ("helper between families", "FTP's ends name addresses: take dests of the VIP's family")
    } else {
        return;
    };
    report.error(span, message, help);
}
