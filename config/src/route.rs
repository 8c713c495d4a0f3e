//! Which way to an address.

use crate::model::Config;
use crate::model::Port;
use crate::model::Route;
use crate::prefix::Prefix;
use crate::prefix::same_family;
use std::net::IpAddr;

impl Config {
    /// The way to `address`: index of the port, and the next hop, which is `address` itself when it
    /// is on the link. The longest prefix wins; among equal ones connected prefixes come before
    /// static routes, and those before gateways; among gateways the first port's. Routes with a
    /// `from` do not count. `None` when nothing covers it. Linear in ports and routes.
    #[must_use]
    pub fn route(&self, address: IpAddr) -> Option<(usize, IpAddr)> {
        find(&self.ports, &self.routes, None, address)
    }

    /// The same for frames from `source`: routes with a `from` count if it holds the source, and
    /// among routes to equal prefixes the longest `from` wins.
    #[must_use]
    pub fn route_from(&self, source: IpAddr, address: IpAddr) -> Option<(usize, IpAddr)> {
        find(&self.ports, &self.routes, Some(source), address)
    }

    /// The ports on which ARP or ND answers for `address`, if it is ours: those with a connected
    /// prefix that covers it, else all. (A `[[vip]]` may say otherwise: see [`crate::Vip::ports`].)
    #[must_use]
    pub fn ports_answering(&self, address: IpAddr) -> Vec<usize> {
        answering(&self.ports, address)
    }
}

/// [`Config::route`] before there is a `Config`.
pub(crate) fn find(
    ports: &[Port],
    routes: &[Route],
    source: Option<IpAddr>,
    address: IpAddr,
) -> Option<(usize, IpAddr)> {
    let connected = ports.iter().enumerate().flat_map(|(port, settings)| {
        let inside = settings.addresses.iter().filter(move |prefix| prefix.contains(address));
        inside.map(move |prefix| ((prefix.length(), 0), port, address))
    });
    let is_from =
        |from: Prefix| source.is_some_and(|source| from.contains(source)).then(|| from.length());
    let routed = routes.iter().filter(|route| route.to.contains(address));
    let routed = routed.filter_map(|route| {
        let from = route.from.map_or(Some(0), is_from)?;
        Some(((route.to.length(), from), route.port, route.via))
    });
    let gateways = ports.iter().enumerate().flat_map(|(port, settings)| {
        let usable =
            settings.gateways.iter().filter(move |gateway| same_family(**gateway, address));
        usable.map(move |gateway| ((0, 0), port, *gateway))
    });
    let mut best: Option<((u8, u8), usize, IpAddr)> = None;
    for candidate in connected.chain(routed).chain(gateways) {
        if best.is_none_or(|(lengths, ..)| candidate.0 > lengths) {
            best = Some(candidate);
        }
    }
    best.map(|(_, port, next_hop)| (port, next_hop))
}

/// [`Config::ports_answering`] before there is a `Config`.
pub(crate) fn answering(ports: &[Port], address: IpAddr) -> Vec<usize> {
    let covers = |port: &Port| port.addresses.iter().any(|prefix| prefix.contains(address));
    let covering: Vec<usize> = (0..ports.len()).filter(|&port| covers(&ports[port])).collect();
    if covering.is_empty() { (0..ports.len()).collect() } else { covering }
}
