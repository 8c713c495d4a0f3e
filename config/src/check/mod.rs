//! Looks at the parts of a file together, and makes the model of those that hold.

mod director;
mod endings;
mod helper;
mod introduction;
mod methods;
mod names;
mod pools;
mod ports;
mod routes;
mod services;
mod snats;
mod tunnels;
mod vips;
mod virtuals;

use crate::model::Config;
use crate::model::Port;
use crate::model::Route;
use crate::pool::AddressRange;
use crate::prefix::Prefix;
use crate::prefix::bits;
use crate::prefix::same_family;
use crate::prefix::with_bits;
use crate::raw::Raw;
use crate::report::Report;
use crate::route;
use names::Names;
use std::fmt::Write;
use std::net::IpAddr;

/// The model, or `None` when something it needs is missing, which has been reported. When other
/// errors have been reported, the model is not to be used.
pub(crate) fn check(report: &mut Report<'_>, raw: Raw) -> Option<Config> {
    let errors = report.errors();
    let port_names = Names::new(report, "port", raw.ports.iter().map(|port| port.name.as_ref()));
    let pool_names = Names::new(report, "pool", raw.pools.iter().map(|pool| pool.name.as_ref()));
    let ports = ports::check(report, &raw.ports);
    let routes = routes::check(report, &raw, &ports, &port_names);
    let known = raw.ways_known && report.errors() == errors;
    let ways = Ways { ports, routes, known };
    director::check(report, &raw.director, &ways.ports);
    let vips = vips::check(report, &raw, &ways, &port_names);
    let pools = pools::check(report, &raw.pools, &ways, &vips);
    let matches = virtuals::check_matches(report, &raw, &ways, &pools);
    let services = services::check(report, &raw, &ways, &vips, &pools, &pool_names);
    let snats = snats::check(report, &raw, &ways, &vips, &pools, &pool_names);
    Some(Config {
        director: raw.director.settings,
        timeouts: raw.timeouts,
        ipvs: raw.ipvs,
        ports: ways.ports,
        routes: ways.routes,
        pools: pools.models,
        vips: vips.models,
        matches,
        services,
        snats,
    })
}

/// The ports and routes that could be read.
struct Ways {
    ports: Vec<Port>,
    routes: Vec<Route>,
    /// Whether that is all of them.
    known: bool,
}

impl Ways {
    /// The way of frames from `source`, an address of a pool, or of which the source is not known.
    fn route(&self, source: Option<IpAddr>, address: IpAddr) -> Option<(usize, IpAddr)> {
        route::find(&self.ports, &self.routes, source, address)
    }

    /// Addresses that stand for all of a range: frames from any other one leave as those from the
    /// next lower of these do.
    fn sources(&self, range: &AddressRange) -> Vec<IpAddr> {
        let after = |prefix: Prefix| {
            let next = bits(prefix.last()).checked_add(1)?;
            Some(with_bits(prefix.last(), next))
        };
        let froms = self.routes.iter().filter_map(|route| route.from);
        let edges = froms.flat_map(|from| [Some(from.first()), after(from)]).flatten();
        let inside = edges.filter(|edge| range.contains(*edge));
        [range.first()].into_iter().chain(inside).collect()
    }

    /// The port whose own address it is.
    fn owner(&self, address: IpAddr) -> Option<&Port> {
        self.ports.iter().find(|port| port.addresses.iter().any(|own| own.address() == address))
    }

    /// A port with an own address in this range.
    fn owner_in(&self, range: &AddressRange) -> Option<&Port> {
        let has = |port: &&Port| port.addresses.iter().any(|own| range.contains(own.address()));
        self.ports.iter().find(has)
    }

    /// Whether a port has an own address of the family of `like`.
    fn has_own(&self, port: &Port, like: IpAddr) -> bool {
        port.addresses.iter().any(|own| same_family(own.address(), like))
    }

    /// What makes `address` a router's: "the gateway of port ...".
    fn next_hop(&self, address: IpAddr) -> Option<String> {
        if let Some(port) = self.ports.iter().find(|port| port.gateways.contains(&address)) {
            return Some(format!("the gateway of port {:?}", port.name));
        }
        let route = self.routes.iter().find(|route| route.via == address)?;
        Some(format!("the next hop to {}", route.to))
    }

    /// What makes `address` no host's on its link: "the broadcast address of ...".
    fn reserved(&self, address: IpAddr) -> Option<String> {
        reserved(&self.ports, address)
    }

    /// The prefixes of the family of `address` on the ports, for messages.
    fn prefixes(&self, address: IpAddr) -> String {
        prefixes(&self.ports, address)
    }
}

fn reserved(ports: &[Port], address: IpAddr) -> Option<String> {
    let prefix =
        ports.iter().flat_map(|port| &port.addresses).find(|prefix| prefix.reserves(address))?;
    let what = if address == prefix.last() { "broadcast" } else { "network" };
    Some(format!("the {what} address of {}", prefix.network()))
}

fn prefixes(ports: &[Port], address: IpAddr) -> String {
    const SHOWN: usize = 4;
    let all =
        || ports.iter().flat_map(|port| port.addresses.iter().map(move |prefix| (port, prefix)));
    let same = || all().filter(|(_, prefix)| prefix.address().is_ipv4() == address.is_ipv4());
    let mut text = String::new();
    for (port, prefix) in same().take(SHOWN) {
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{} on {}", prefix.network(), port.name);
    }
    match same().count() {
        0 => "none of this family".to_owned(),
        count if count > SHOWN => text + ", ...",
        _ => text,
    }
}
