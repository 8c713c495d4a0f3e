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
    let mut seen: HashMap<Prefix, usize> = HashMap::new();
    let mut routes = Vec::new();
    for route in &raw.routes {
        if let Some(to) = route.to {
            check_destination(report, to, ports, &mut seen);
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
        // Without all ports, or with an unknown one, nothing can be said about the next hop.
        if ports.len() < raw.ports.len() || named == Some(None) {
            continue;
        }
        if let Some(port) = check_next_hop(report, via, ports, named.flatten()) {
            routes.push(Route { to: to.value, via: via.value, port });
        }
    }
    routes
}

fn check_destination(
    report: &mut Report<'_>,
    to: At<Prefix>,
    ports: &[Port],
    seen: &mut HashMap<Prefix, usize>,
) {
    let prefix = to.value;
    let line = report.line(to.span);
    let on = |port: &&Port| port.addresses.iter().any(|own| own.network() == prefix);
    let default =
        |port: &&Port| port.gateways.iter().any(|gateway| same_family(*gateway, prefix.address()));
    if let Some(first) = seen.get(&prefix) {
        report.error(
            to.span,
            format!("duplicate route to {prefix}"),
            format!("line {first} has it already"),
        );
    } else if let Some(port) = ports.iter().find(on) {
        let help = "leave the route out: its addresses are neighbours";
        report.error(to.span, format!("{prefix} is connected to port {:?}", port.name), help);
    } else if let Some(port) = ports.iter().filter(|_| prefix.length() == 0).find(default) {
        let help = format!("port {:?} has a gateway, which is the same; leave one out", port.name);
        report.error(to.span, format!("duplicate route to {prefix}"), help);
    }
    seen.entry(prefix).or_insert(line);
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
