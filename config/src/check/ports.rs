//! Ports: devices, own addresses, gateways.

use super::prefixes;
use super::reserved;
use crate::address::is_link_local;
use crate::model::Device;
use crate::model::Port;
use crate::prefix::Prefix;
use crate::prefix::family;
use crate::prefix::same_family;
use crate::raw::RawPort;
use crate::raw::interface;
use crate::report::At;
use crate::report::Fault;
use crate::report::Report;
use crate::report::Span;
use std::collections::HashMap;
use std::net::IpAddr;

/// DPDK's RTE_MAX_ETHPORTS in the distributions' builds.
const MAX_PORTS: usize = 32;

/// The ports that have all they need.
pub(super) fn check(report: &mut Report<'_>, raw: &[RawPort]) -> Vec<Port> {
    if raw.is_empty() && report.errors() == 0 {
        let help = "a director needs at least one port; pointsman.example.toml shows one";
        report.error(Span::default(), "no [[port]]", help);
    }
    if let Some(port) = raw.get(MAX_PORTS) {
        let help = format!("DPDK opens at most {MAX_PORTS}");
        report.error(port.span, format!("{} ports", raw.len()), help);
        return Vec::new();
    }
    check_devices(report, raw);
    check_addresses(report, raw);
    let ports: Vec<Port> = raw.iter().filter_map(model).collect();
    check_gateways(report, raw, &ports);
    for port in raw {
        let v6 = port
            .addresses
            .iter()
            .map(|own| own.value.address())
            .chain(port.gateways.iter().map(|at| at.value));
        if port.mtu < 1280 && v6.into_iter().any(|address| address.is_ipv6()) {
            let help = "IPv6 needs 1280 bytes (RFC 8200, section 5)";
            report.error(port.mtu_span, format!("mtu {} on a port with IPv6", port.mtu), help);
        }
    }
    ports
}

fn model(raw: &RawPort) -> Option<Port> {
    Some(Port {
        name: raw.name.as_ref()?.value.clone(),
        device: raw.device.as_ref()?.value.clone(),
        addresses: raw.addresses.iter().map(|own| own.value).collect(),
        gateways: raw.gateways.iter().map(|gateway| gateway.value).collect(),
        vlan: raw.vlan,
        mtu: raw.mtu,
        rx_ring: raw.rx_ring,
        tx_ring: raw.tx_ring,
    })
}

/// Two ports must not share a device: neither a PCI address, nor the name of a virtual device
/// (DPDK's key for it), nor the kernel interface below one.
fn check_devices(report: &mut Report<'_>, raw: &[RawPort]) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for device in raw.iter().filter_map(|port| port.device.as_ref()) {
        let text = device.value.as_str();
        let name = text.split(',').next().unwrap_or(text);
        let kernel = match device.value {
            Device::Vdev(_) => interface(text),
            Device::Pci(_) => None,
        };
        let line = report.line(device.span);
        for claim in
            [Some(format!("device {name}")), kernel.map(|name| format!("interface {name}"))]
        {
            let Some(claim) = claim else { continue };
            if let Some(first) = seen.get(&claim) {
                let help = format!("line {first} has it already; every port needs its own");
                report.error(device.span, format!("{claim} is used twice"), help);
                break;
            }
            seen.insert(claim, line);
        }
    }
}

fn check_addresses(report: &mut Report<'_>, raw: &[RawPort]) {
    let mut seen: Vec<(usize, At<Prefix>)> = Vec::new();
    for (index, port) in raw.iter().enumerate() {
        for own in &port.addresses {
            let clash = seen.iter().find(|(other, prefix)| {
                let same = prefix.value.address() == own.value.address();
                same || (*other != index && prefix.value.overlaps(&own.value))
            });
            if let Some((other, first)) = clash {
                let line = report.line(first.span);
                report.fault(own.span, address_fault(own.value, first.value, line, &raw[*other]));
            }
            seen.push((index, *own));
        }
    }
}

/// `own` is, or lies in, what `other` has on `line`.
fn address_fault(own: Prefix, first: Prefix, line: usize, other: &RawPort) -> Fault {
    if first.address() == own.address() {
        let message = format!("duplicate address {}", own.address());
        return Fault::new(message, format!("line {line} has it already"));
    }
    let name = other.name.as_ref().map(|name| format!(" of port {:?}", name.value));
    let message = format!("{own} overlaps {first}{}", name.unwrap_or_default());
    Fault::new(message, format!("line {line}: a subnet is connected to one port only"))
}

fn check_gateways(report: &mut Report<'_>, raw: &[RawPort], ports: &[Port]) {
    let mut defaults: HashMap<bool, &RawPort> = HashMap::new();
    for port in raw {
        for (i, gateway) in port.gateways.iter().enumerate() {
            let At { value: address, span } = *gateway;
            let first = *defaults.entry(address.is_ipv4()).or_insert(port);
            if let Some(fault) = gateway_fault(port, i, address, ports) {
                report.fault(span, fault);
            } else if !std::ptr::eq(first, port) {
                let name = first.name.as_ref().map_or("", |name| name.value.as_str());
                let family = family(address);
                let help = format!("port {name:?} has the {family} gateway; use [[route]] here");
                report.warning(span, format!("gateway {address} is never used"), help);
            }
        }
    }
}

/// What is wrong with the `i`th gateway of `port`.
fn gateway_fault(port: &RawPort, i: usize, address: IpAddr, ports: &[Port]) -> Option<Fault> {
    let router = "expected the router's address";
    if ports.iter().any(|port| port.addresses.iter().any(|own| own.address() == address)) {
        return Some(Fault::new(format!("gateway {address} is the director's own"), router));
    }
    if let Some(what) = reserved(ports, address) {
        return Some(Fault::new(format!("{address} is {what}"), router));
    }
    let connected = port.addresses.iter().any(|own| own.value.contains(address));
    if !connected && !is_link_local(address) && !port.addresses.is_empty() {
        let own = model(port).map(|port| prefixes(&[port], address)).unwrap_or_default();
        let help = format!("expected an address in a prefix of this port: {own}");
        return Some(Fault::new(format!("gateway {address} is not on this port's link"), help));
    }
    let second = port.gateways[..i].iter().any(|other| same_family(other.value, address));
    second.then(|| {
        let message = format!("a second {} gateway", family(address));
        Fault::new(message, "at most one per family; use [[route]] for more")
    })
}
