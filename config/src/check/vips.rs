//! VIPs: every address once, with its settings and its ports.

use super::Names;
use super::Ways;
use crate::model::Closed;
use crate::model::Scope;
use crate::model::Vip;
use crate::pool::AddressRange;
use crate::raw::Raw;
use crate::raw::RawVip;
use crate::report::At;
use crate::report::Report;
use crate::route;
use std::collections::HashMap;
use std::net::IpAddr;

/// All VIPs.
pub(super) struct Vips {
    pub(super) models: Vec<Vip>,
    index: HashMap<IpAddr, usize>,
}

impl Vips {
    /// Index of the VIP with this address.
    pub(super) fn find(&self, address: IpAddr) -> Option<usize> {
        self.index.get(&address).copied()
    }
}

/// The VIPs that a service with this first address takes; none: what bears a mark.
pub(super) fn addresses(first: IpAddr, scope: Scope) -> Option<AddressRange> {
    match scope {
        Scope::Address => AddressRange::new(first, first),
        Scope::Range(last) => AddressRange::new(first, last),
        Scope::Mark(_) => None,
    }
}

/// The VIPs of the services, then those of the matches, then the rest.
pub(super) fn check(report: &mut Report<'_>, raw: &Raw, ways: &Ways, names: &Names<'_>) -> Vips {
    let settings = check_settings(report, &raw.vips);
    let of_services = raw.services.iter().filter_map(|service| {
        let At { value, span } = service.address?;
        Some(At { value: addresses(value.ip(), service.scope)?, span })
    });
    let of_matches = raw.matches.iter().flat_map(|rule| &rule.destinations);
    let of_matches = of_matches.filter_map(|at| {
        let range = AddressRange::new(at.value.first(), at.value.last())?;
        Some(At { value: range, span: at.span })
    });
    let of_vips = raw.vips.iter().filter_map(|vip| vip.address);
    let of_vips = of_vips
        .filter_map(|at| Some(At { value: AddressRange::new(at.value, at.value)?, span: at.span }));
    let mut vips = Vips { models: Vec::new(), index: HashMap::new() };
    let ranges = of_services.chain(of_matches).chain(of_vips);
    let each = |at: At<AddressRange>| at.value.iter().map(move |value| At { value, span: at.span });
    let mut told = None;
    for address in ranges.flat_map(each) {
        if vips.find(address.value).is_some() {
            continue;
        }
        // Of a range one is enough.
        if told != Some(address.span) && check_address(report, address, ways) {
            told = Some(address.span);
        }
        let given = settings.get(&address.value);
        let port =
            given.and_then(|vip| vip.port.as_ref()).and_then(|name| names.find(report, name));
        vips.index.insert(address.value, vips.models.len());
        vips.models.push(Vip {
            address: address.value,
            closed: given.map_or(Closed::Reject, |vip| vip.closed),
            ports: port
                .map_or_else(|| route::answering(&ways.ports, address.value), |port| vec![port]),
        });
    }
    vips
}

fn check_settings<'a>(report: &mut Report<'_>, raw: &'a [RawVip]) -> HashMap<IpAddr, &'a RawVip> {
    let mut settings: HashMap<IpAddr, &RawVip> = HashMap::new();
    for vip in raw {
        let Some(address) = vip.address else { continue };
        match settings.get(&address.value).and_then(|first| first.address) {
            Some(first) => {
                let help = format!(
                    "line {} has it already; one [[vip]] per address",
                    report.line(first.span)
                );
                report.error(address.span, format!("duplicate VIP {}", address.value), help);
            }
            None => {
                settings.insert(address.value, vip);
            }
        }
    }
    settings
}

/// Whether something is wrong with it.
fn check_address(report: &mut Report<'_>, address: At<IpAddr>, ways: &Ways) -> bool {
    let At { value, span } = address;
    let errors = report.errors();
    if let Some(what) = ways.reserved(value) {
        report.error(span, format!("VIP {value} is {what}"), "expected the address of a host");
    } else if let Some(what) = ways.next_hop(value) {
        let help =
            "the director would answer for its own router; expected an address no other host has";
        report.error(span, format!("VIP {value} is {what}"), help);
    }
    report.errors() > errors
}
