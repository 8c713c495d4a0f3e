//! Static routes.

use super::Names;
use super::prefixes;
use super::reserved;
use crate::address::is_link_local;
use crate::model::Port;
use crate::model::Route;
use crate::prefix::Prefix;
use crate::prefix::family;
use crate::prefix::same_family;
use crate::raw::Raw;
use crate::report::At;
use crate::report::Report;
use std::collections::HashMap;
use std::net::IpAddr;

/// The routes whose next hop is on a port.
pub(super) fn check(
    report: &mut Report<'_>,
    raw: &Raw,
    ports: &[Port],
    names: &Names<'_>,
) -> Vec<Route> {
    let mut seen: HashMap<(Prefix, Option<Prefix>), usize> = HashMap::new();
    let mut routes = Vec::new();
    for route in &raw.routes {
        if let Some(to) = route.to.filter(|_| route.whole) {
            check_destination(report, to, route.from, ports, &mut seen);
        }
        let named = route.port.as_ref().map(|name| names.find(report, name));
        let (Some(to), Some(via)) = (route.to, route.via) else { continue };
        if !same_family(to.value.address(), via.value) {
            let message = format!(
                "next hop {} is {}, not {}",
                via.value,
                family(via.value),
                family(to.value.address())
            );
            report.error(via.span, message, "a route needs a next hop of its own family");
            continue;
        }
        let from = route.from.map(|from| from.value);
        if !route.from.is_none_or(|from| check_sources(report, from, to.value)) || !route.whole {
            continue;
        }
        // Without all ports, or with an unknown one, nothing can be said about the next hop.
        if ports.len() < raw.ports.len() || named == Some(None) {
            continue;
        }
        if let Some(port) = check_next_hop(report, via, ports, named.flatten()) {
            routes.push(Route { to: to.value, from, via: via.value, port });
        }
    }
    routes
}

/// Whether `from` narrows a route to `to`.
fn check_sources(report: &mut Report<'_>, from: At<Prefix>, to: Prefix) -> bool {
    let prefix = from.value;
    if !same_family(prefix.address(), to.address()) {
        let (is, not) = (family(prefix.address()), family(to.address()));
        let message = format!("from {prefix} is {is}, not {not}");
        report.error(from.span, message, "a route needs sources of its own family");
    } else if prefix.length() == 0 {
        report.error(from.span, format!("from {prefix} is every source"), "leave it out");
    } else {
        return true;
    }
    false
}

fn check_destination(
    report: &mut Report<'_>,
    to: At<Prefix>,
    from: Option<At<Prefix>>,
    ports: &[Port],
    seen: &mut HashMap<(Prefix, Option<Prefix>), usize>,
) {
    let prefix = to.value;
    let from = from.map(|from| from.value);
    let named = from.map_or(prefix.to_string(), |from| format!("{prefix} from {from}"));
    let line = report.line(to.span);
    let on = |port: &&Port| port.addresses.iter().any(|own| own.network() == prefix);
    let default = |port: &&Port| {
        let same = |gateway: &IpAddr| same_family(*gateway, prefix.address());
        prefix.length() == 0 && port.gateways.iter().any(same)
    };
    if let Some(first) = seen.get(&(prefix, from)) {
        report.error(
            to.span,
            format!("duplicate route to {named}"),
            format!("line {first} has it already"),
        );
    } else if let Some(port) = ports.iter().find(on) {
        let help = "leave the route out: its addresses are neighbours";
        report.error(to.span, format!("{prefix} is connected to port {:?}", port.name), help);
    } else if let Some(port) = ports.iter().find(|p| from.is_none() && default(p)) {
        let help = format!("port {:?} has a gateway, which is the same; leave one out", port.name);
        report.error(to.span, format!("duplicate route to {prefix}"), help);
    }
    seen.entry((prefix, from)).or_insert(line);
}

/// The port of the next hop.
fn check_next_hop(
    report: &mut Report<'_>,
    via: At<IpAddr>,
    ports: &[Port],
    named: Option<usize>,
) -> Option<usize> {
    let address = via.value;
    let connected = |port: &Port| port.addresses.iter().any(|own| own.contains(address));
    if ports.iter().any(|port| port.addresses.iter().any(|own| own.address() == address)) {
        report.error(
            via.span,
            format!("next hop {address} is the director's own"),
            "expected a router's address",
        );
        return None;
    }
    if let Some(what) = reserved(ports, address) {
        report.error(via.span, format!("{address} is {what}"), "expected a router's address");
        return None;
    }
    match named {
        Some(port) if is_link_local(address) || connected(&ports[port]) => Some(port),
        Some(port) => {
            let help = format!("expected an address in {}", prefixes(&ports[port..=port], address));
            report.error(
                via.span,
                format!("next hop {address} is not on the link of port {:?}", ports[port].name),
                help,
            );
            None
        }
        None if is_link_local(address) => {
            let example = ports.first().map_or("", |port| port.name.as_str());
            let help = format!("say on which: port = {example:?}");
            report.error(via.span, format!("{address} may be on any port"), help);
            None
        }
        None => {
            let port = ports.iter().position(connected);
            if port.is_none() {
                let help =
                    format!("expected an address in a port's prefix: {}", prefixes(ports, address));
                report.error(via.span, format!("next hop {address} is on no port's link"), help);
            }
            port
        }
    }
}
