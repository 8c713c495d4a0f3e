//! What services take: addresses, every port, marks.

use super::Ways;
use super::pools::Pools;
use super::vips::addresses;
use crate::model::ClientAddress;
use crate::model::Forward;
use crate::model::Match;
use crate::model::OnDead;
use crate::model::Persistence;
use crate::model::Protocol;
use crate::model::Scope;
use crate::pool::AddressRange;
use crate::prefix::family;
use crate::prefix::same_family;
use crate::raw::Raw;
use crate::raw::RawDest;
use crate::raw::RawMatch;
use crate::raw::RawService;
use crate::report::At;
use crate::report::Report;
use crate::report::Span;
use std::collections::HashMap;
use std::net::SocketAddr;

/// What the services looked at so far take.
#[derive(Default)]
pub(super) struct Taken {
    seen: HashMap<(Protocol, SocketAddr, Scope), Span>,
    ranges: Vec<(Protocol, AddressRange, u16, Span)>,
}

impl Taken {
    /// Where the same is taken already, or a range that overlaps and is not the same. One address
    /// may have a service of its own within a range.
    pub(super) fn claim(
        &mut self,
        service: &RawService,
        address: At<SocketAddr>,
    ) -> Option<(Span, bool)> {
        let At { value, span } = address;
        let protocol = match service.scope {
            Scope::Mark(_) => Protocol::Tcp,
            _ => service.protocol,
        };
        let first = *self.seen.entry((protocol, value, service.scope)).or_insert(span);
        if first != span {
            return Some((first, false));
        }
        let Scope::Range(last) = service.scope else { return None };
        let range = AddressRange::new(value.ip(), last)?;
        let meets =
            |other: &AddressRange| other.contains(range.first()) || range.contains(other.first());
        let other = self
            .ranges
            .iter()
            .find(|(p, other, port, _)| (*p, *port) == (protocol, value.port()) && meets(other));
        let other = other.map(|(_, _, _, span)| (*span, true));
        self.ranges.push((protocol, range, value.port(), span));
        other
    }
}

/// What only marks and every port need, and persistence.
pub(super) fn check(
    report: &mut Report<'_>,
    raw: &Raw,
    service: &RawService,
    address: At<SocketAddr>,
    ways: &Ways,
    pools: &Pools,
) -> Option<Persistence> {
    let At { value, span } = address;
    let persistence = check_persistence(report, service, value);
    if let Scope::Mark(mark) = service.scope {
        check_mark(report, raw, service, At { value: mark, span });
    } else if value.port() == 0 {
        if persistence.is_none() && service.whole {
            let help = "add persistent = 360: as in IPVS, a client's ports then go to one dest";
            report.error(span, "every port without persistence", help);
        }
        if let Some(range) = addresses(value.ip(), service.scope) {
            check_alone(report, At { value: range, span }, ways, pools);
        }
    }
    for dest in service.dests.iter().filter(|dest| keeps_ports(service, dest, value)) {
        if let Some(At { value: (_, Some(port)), span }) = dest.address {
            let help = "a packet keeps the port it was for: leave it out";
            report.error(span, format!("a dest with port {port}"), help);
        }
    }
    persistence
}

/// Whether packets are for many ports and each keeps its own on its way to a dest.
fn keeps_ports(service: &RawService, dest: &RawDest, address: SocketAddr) -> bool {
    match service.scope {
        Scope::Mark(_) => {
            let keeps =
                |forward: &At<Forward>| matches!(forward.value, Forward::Dr | Forward::Tunnel);
            let method = dest.forward.as_ref().or(service.forward.as_ref());
            service.persistent.is_some() || method.is_some_and(keeps)
        }
        _ => address.port() == 0,
    }
}

fn check_persistence(
    report: &mut Report<'_>,
    service: &RawService,
    address: SocketAddr,
) -> Option<Persistence> {
    let most = if address.is_ipv4() { 32 } else { 128 };
    let Some(timeout) = service.persistent else {
        if let Some(At { span, .. }) = service.persistence_prefix {
            let help = "add persistent = 360, or leave it out";
            report.error(span, "persistence_prefix without persistent", help);
        }
        return None;
    };
    let help = "a persistent service's clients have one dest: leave it out";
    if let Some(at) = service.retries.filter(|at| at.value > 0) {
        report.error(at.span, "retries of a persistent service", help);
    }
    if let Some(at) = service.on_dead.filter(|at| at.value == OnDead::Reselect) {
        report.error(at.span, "on_dead = \"reselect\" of a persistent service", help);
    }
    let prefix = service.persistence_prefix.map_or(most, |at| at.value);
    if let Some(At { span, value }) = service.persistence_prefix.filter(|at| at.value > most) {
        let help = format!("expected 1 to {most} bits");
        report.error(span, format!("persistence_prefix {value} is out of range"), help);
    }
    Some(Persistence { timeout: timeout.value, prefix })
}

fn check_mark(report: &mut Report<'_>, raw: &Raw, service: &RawService, mark: At<u32>) {
    let At { value, span } = mark;
    if let Some(at) = service.protocol_at {
        let help = "leave it out: the [[match]] says which packets bear the mark";
        report.error(at, "protocol of a mark", help);
    }
    if let Some(At { span, .. }) =
        service.client_address.filter(|at| at.value != ClientAddress::Off)
    {
        let help = "leave it out, or say address instead of mark";
        report.error(span, "client_address of a mark", help);
    }
    let sets = |rule: &RawMatch| rule.mark.is_some_and(|at| at.value == value);
    if !raw.matches.iter().any(sets) {
        let help = "no packet bears it: add a [[match]]";
        report.warning(span, format!("no [[match]] has mark {value}"), help);
    }
}

/// Where every port is the service's, none is the director's to lease.
pub(super) fn check_alone(
    report: &mut Report<'_>,
    range: At<AddressRange>,
    ways: &Ways,
    pools: &Pools,
) {
    let At { value, span } = range;
    let help = "every port of it is the service's: expected a VIP of its own";
    if let Some(pool) = pools.overlapping(&value) {
        let message = format!("pool {:?} has an address in {value}", pool.name);
        report.error(span, message, help);
    } else if let Some(port) = ways.owner_in(&value) {
        let message = format!("port {:?} has an own address in {value}", port.name);
        report.error(span, message, help);
    }
}

/// The rules that mark packets.
pub(super) fn check_matches(
    report: &mut Report<'_>,
    raw: &Raw,
    ways: &Ways,
    pools: &Pools,
) -> Vec<Match> {
    let one = |rule: &RawMatch| {
        for At { value, span } in &rule.destinations {
            if let Some(range) = AddressRange::new(value.first(), value.last()) {
                check_alone(report, At { value: range, span: *span }, ways, pools);
            }
        }
        for At { value, span } in &rule.sources {
            let like = value.address();
            if !rule.destinations.iter().any(|at| same_family(at.value.address(), like)) {
                let message = format!("no destination is {}", family(like));
                report.error(*span, message, format!("source {value} needs one"));
            }
        }
        for (nth, protocol) in rule.protocols.iter().enumerate() {
            if rule.protocols[..nth].iter().any(|other| other.value == protocol.value) {
                let message = format!("{} twice", protocol.value);
                report.error(protocol.span, message, "once is enough");
            }
        }
        let protocols = match &rule.protocols[..] {
            [] => vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp],
            given => given.iter().map(|at| at.value).collect(),
        };
        Some(Match {
            mark: rule.mark?.value,
            sources: rule.sources.iter().map(|at| at.value).collect(),
            destinations: rule.destinations.iter().map(|at| at.value).collect(),
            ports: rule.ports.iter().map(|at| at.value).collect(),
            protocols,
        })
    };
    raw.matches.iter().filter_map(one).collect()
}
