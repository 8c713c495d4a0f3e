//! Rules for conns that servers open.

use super::Names;
use super::Ways;
use super::pools::Pools;
use super::pools::is_automap;
use super::vips::Vips;
use crate::model::Dest;
use crate::model::Forward;
use crate::model::LeaveWith;
use crate::model::Scheduler;
use crate::model::Snat;
use crate::model::SnatProtocol;
use crate::model::Tunnel;
use crate::prefix::Prefix;
use crate::prefix::family;
use crate::prefix::same_family;
use crate::raw::Raw;
use crate::raw::RawSnat;
use crate::report::At;
use crate::report::Report;
use crate::report::Span;
use std::collections::HashMap;
use std::collections::HashSet;
use std::net::IpAddr;
use std::net::SocketAddr;

/// What rules are compared with.
struct Surroundings<'a> {
    ways: &'a Ways,
    vips: &'a Vips,
    pools: &'a Pools,
    pool_names: &'a Names<'a>,
}

/// The rules that have all they need.
pub(super) fn check(
    report: &mut Report<'_>,
    raw: &Raw,
    ways: &Ways,
    vips: &Vips,
    pools: &Pools,
    pool_names: &Names<'_>,
) -> Vec<Snat> {
    let around = Surroundings { ways, vips, pools, pool_names };
    let mut names: HashMap<String, Span> = HashMap::new();
    let mut snats = Vec::new();
    for (index, rule) in raw.snats.iter().enumerate() {
        let name = check_name(report, rule, index, &mut names);
        check_families(report, rule);
        let protocols = check_protocols(report, rule);
        let leave_with = check_leave_with(report, rule, &around);
        let dests = check_dests(report, rule, &around);
        if rule.whole {
            check_ways(report, rule, leave_with.as_ref(), &around);
        }
        let Some(leave_with) = leave_with else { continue };
        let by_default = u8::from(dests.len() > 1);
        let values = |prefixes: &[At<Prefix>]| prefixes.iter().map(|at| at.value).collect();
        snats.push(Snat {
            name,
            sources: values(&rule.sources),
            destinations: values(&rule.destinations),
            ports: rule.ports.iter().map(|at| at.value).collect(),
            protocols,
            leave_with,
            scheduler: rule.scheduler.map_or(Scheduler::Sh, |at| at.value),
            retries: rule.retries.unwrap_or(by_default),
            mss: rule.mss,
            udp_timeout: rule.udp_timeout,
            exhausted: rule.exhausted,
            dests,
        });
    }
    snats
}

/// The rule's name, made from its place if it has none.
fn check_name(
    report: &mut Report<'_>,
    rule: &RawSnat,
    index: usize,
    names: &mut HashMap<String, Span>,
) -> String {
    let (name, span) = match &rule.name {
        Some(name) => (name.value.clone(), name.span),
        None => (format!("rule {}", index + 1), rule.span),
    };
    match names.get(&name) {
        Some(first) => {
            let line = report.line(*first);
            let help = format!("line {line} has it already; names of rules are unique");
            report.error(span, format!("duplicate snat {name:?}"), help);
        }
        None => {
            names.insert(name.clone(), span);
        }
    }
    name
}

/// Every destination needs a source of its family, and where routers are given, all are of one.
fn check_families(report: &mut Report<'_>, rule: &RawSnat) {
    let sources = || rule.sources.iter().map(|at| at.value.address());
    let routers = || rule.dests.iter().filter_map(|dest| dest.address);
    for At { value, span } in &rule.destinations {
        if rule.whole && !sources().any(|source| same_family(source, value.address())) {
            let family = family(value.address());
            let message = format!("destination {value} is {family}, no source is");
            report.error(*span, message, "families are not crossed here: take it out");
        }
    }
    for At { value: (router, _), span } in routers() {
        if let Some(other) = sources().find(|source| !same_family(*source, router)) {
            let message =
                format!("router {router} is {}, a source is {}", family(router), family(other));
            report.error(span, message, "write one [[snat]] per family");
        }
    }
}

fn check_protocols(report: &mut Report<'_>, rule: &RawSnat) -> Vec<SnatProtocol> {
    let mut seen = HashSet::new();
    for At { value, span } in &rule.protocols {
        if !seen.insert(value) {
            report.error(*span, format!("protocol {value} is given twice"), "leave one out");
        }
    }
    let given: Vec<_> = rule.protocols.iter().map(|at| at.value).collect();
    let has_ports = !rule.ports.is_empty();
    if has_ports && given == [SnatProtocol::Icmp] {
        report.error(rule.ports_span, "icmp has no ports", "leave them out");
    }
    match given.is_empty() {
        false => given,
        true => {
            let icmp = (!has_ports).then_some(SnatProtocol::Icmp);
            let ported = [SnatProtocol::Tcp, SnatProtocol::Udp, SnatProtocol::Sctp];
            ported.into_iter().chain(icmp).collect()
        }
    }
}

/// What conns leave with: exactly one of pool and address, with an address of every family.
fn check_leave_with(
    report: &mut Report<'_>,
    rule: &RawSnat,
    around: &Surroundings<'_>,
) -> Option<LeaveWith> {
    match (&rule.pool, &rule.addresses[..]) {
        (None, []) => {
            if rule.whole {
                let help = "add pool = \"...\" (a [[pool]], or \"automap\" for the address of the \
                            port they leave by) or address = \"...\" (a VIP)";
                report.error(rule.span, "[[snat]] does not say what conns leave with", help);
            }
            None
        }
        (Some(pool), [_, ..]) => {
            report.error(pool.span, "both pool and address are given", "leave one out");
            None
        }
        (Some(pool), []) if is_automap(Some(pool)) => Some(LeaveWith::Automap),
        (Some(name), []) => {
            let index = around.pool_names.find(report, name)?;
            let pool = around.pools.models.get(index)?;
            if around.pools.whole[index] {
                let has = |like| pool.ranges.iter().any(|range| same_family(range.first(), like));
                let what = format!("pool {:?}", name.value);
                check_source_families(report, rule, name.span, &what, has);
            }
            Some(LeaveWith::Pool(index))
        }
        (None, addresses) => {
            for At { value, span } in addresses {
                check_address(report, *value, *span, around);
            }
            let has = |like| addresses.iter().any(|own| same_family(own.value, like));
            check_source_families(report, rule, addresses[0].span, "address", has);
            Some(LeaveWith::Addresses(addresses.iter().map(|at| at.value).collect()))
        }
    }
}

fn check_source_families(
    report: &mut Report<'_>,
    rule: &RawSnat,
    span: Span,
    what: &str,
    has: impl Fn(IpAddr) -> bool,
) {
    let missing = rule.sources.iter().find(|source| !has(source.value.address()));
    if let Some(source) = missing {
        let family = family(source.value.address());
        let help = format!("source {} needs one", source.value);
        report.error(span, format!("{what} has no {family} address"), help);
    }
}

/// The director must answer for an address that conns leave with.
fn check_address(report: &mut Report<'_>, address: IpAddr, span: Span, around: &Surroundings<'_>) {
    if around.vips.find(address).is_none() && around.ways.owner(address).is_none() {
        let help = "name a VIP or a port's own address, or make a [[pool]] of it";
        report.error(span, format!("{address} is not the director's"), help);
    }
}

/// Routers are neighbours on a port's link.
fn check_dests(report: &mut Report<'_>, rule: &RawSnat, around: &Surroundings<'_>) -> Vec<Dest> {
    let ways = around.ways;
    let mut seen: HashMap<IpAddr, Span> = HashMap::new();
    let mut dests = Vec::new();
    for dest in &rule.dests {
        let Some(At { value: (router, _), span }) = dest.address else { continue };
        let expected = "expected the address of a router";
        if let Some(first) = seen.insert(router, span) {
            let help = format!("line {} has it already; use weight", report.line(first));
            report.error(span, format!("duplicate router {router}"), help);
            continue;
        } else if around.vips.find(router).is_some() {
            report.error(span, format!("router {router} is a VIP"), expected);
        } else if let Some(port) = ways.owner(router) {
            let message = format!("router {router} is port {:?}'s own address", port.name);
            report.error(span, message, expected);
        } else if let Some(pool) = around.pools.holder(router) {
            let help = "the director would answer for it; take it out of the pool";
            report.error(span, format!("router {router} is in pool {:?}", pool.name), help);
        } else if let Some(what) = ways.reserved(router) {
            report.error(span, format!("router {router} is {what}"), expected);
        } else if ways.known && ways.route(None, router).is_none_or(|(_, next)| next != router) {
            let help = format!("expected an address in a port's prefix: {}", ways.prefixes(router));
            report.error(span, format!("router {router} is on no port's link"), help);
        }
        let (upper, lower) = (0, 0);
        let address = SocketAddr::new(router, 0);
        let tunnel = Tunnel::default();
        let forward = Forward::FullNat;
        dests.push(Dest { address, weight: dest.weight, forward, upper, lower, tunnel });
    }
    if rule.whole && !dests.is_empty() && dests.iter().all(|dest| dest.weight == 0) {
        report.warning(rule.span, "every router has weight 0", "it passes no new conns");
    }
    if let (Some(scheduler), true) = (rule.scheduler, rule.whole && dests.is_empty()) {
        let help = "leave it out, or add a [[snat.dest]] for each router";
        report.error(scheduler.span, "there are no routers to choose from", help);
    }
    dests
}

/// By route, each destination needs one, and by "automap" the port there an address.
fn check_ways(
    report: &mut Report<'_>,
    rule: &RawSnat,
    leave_with: Option<&LeaveWith>,
    around: &Surroundings<'_>,
) {
    let ways = around.ways;
    if !ways.known {
        return;
    }
    for At { value: source, span } in &rule.sources {
        let like = source.address();
        let reached = ways.ports.iter().any(|port| {
            ways.has_own(port, like) || port.gateways.iter().any(|g| same_family(*g, like))
        });
        if !reached {
            let message = format!("no port has an {} address or gateway", family(like));
            report.error(*span, message, format!("source {source} needs a way"));
        }
    }
    if !rule.dests.is_empty() {
        return check_automap_by_routers(report, rule, leave_with, ways);
    }
    let sources = || rule.sources.iter().map(|at| at.value.address());
    let usable = |to: &&At<Prefix>| sources().any(|s| same_family(s, to.value.address()));
    for At { value, span } in rule.destinations.iter().filter(usable) {
        let mut from = sources().filter(|source| same_family(*source, value.address()));
        // Routes may depend on the source: each needs one.
        let way = |source| ways.route(Some(source), value.address());
        let first = from.next().and_then(way);
        match first.filter(|_| from.all(|source| way(source).is_some())) {
            None => {
                let help = "add a [[route]] or a gateway, or routers: [[snat.dest]]";
                report.error(*span, format!("no route to destination {value}"), help);
            }
            Some((port, _)) if leave_with == Some(&LeaveWith::Automap) => {
                check_automap(report, *span, &value.to_string(), value.address(), port, ways);
            }
            Some(_) => {}
        }
    }
}

fn check_automap_by_routers(
    report: &mut Report<'_>,
    rule: &RawSnat,
    leave_with: Option<&LeaveWith>,
    ways: &Ways,
) {
    for At { value: (router, _), span } in rule.dests.iter().filter_map(|dest| dest.address) {
        if let (Some((port, _)), Some(LeaveWith::Automap)) = (ways.route(None, router), leave_with)
        {
            check_automap(report, span, &router.to_string(), router, port, ways);
        }
    }
}

fn check_automap(
    report: &mut Report<'_>,
    span: Span,
    what: &str,
    like: IpAddr,
    port: usize,
    ways: &Ways,
) {
    let port = &ways.ports[port];
    if !ways.has_own(port, like) {
        let family = family(like);
        let message =
            format!("{what} is reached by port {:?}, which has no {family} address", port.name);
        report.error(span, message, "automap needs one: give that port one, or name a pool");
    }
}
