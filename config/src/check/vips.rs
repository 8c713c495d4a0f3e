//! VIPs: every address once, with its settings and its ports.

use super::Names;
use super::Ways;
use crate::model::Closed;
use crate::model::Vip;
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

/// The VIPs of the services, then the rest.
pub(super) fn check(report: &mut Report<'_>, raw: &Raw, ways: &Ways, names: &Names<'_>) -> Vips {
    let settings = check_settings(report, &raw.vips);
    let of_services = raw.services.iter().filter_map(|service| service.address);
    let of_services = of_services.map(|at| At { value: at.value.ip(), span: at.span });
    let of_vips = raw.vips.iter().filter_map(|vip| vip.address);
    let mut vips = Vips { models: Vec::new(), index: HashMap::new() };
    for address in of_services.chain(of_vips) {
        if vips.find(address.value).is_some() {
            continue;
        }
        check_address(report, address, ways);
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

fn check_address(report: &mut Report<'_>, address: At<IpAddr>, ways: &Ways) {
    let At { value, span } = address;
    if let Some(what) = ways.reserved(value) {
        report.error(span, format!("VIP {value} is {what}"), "expected the address of a host");
    } else if let Some(what) = ways.next_hop(value) {
        let help =
            "the director would answer for its own router; expected an address no other host has";
        report.error(span, format!("VIP {value} is {what}"), help);
    }
}
