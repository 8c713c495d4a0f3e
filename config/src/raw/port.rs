//! `[[port]]` and `[[route]]`.

use super::or;
use super::parse_name;
use super::reference;
use crate::address;
use crate::model::Device;
use crate::prefix::Prefix;
use crate::reader::Table;
use crate::reader::quote;
use crate::report::At;
use crate::report::Fault;
use crate::report::Report;
use crate::report::Span;
use std::net::IpAddr;

/// `[[port]]`.
#[derive(Debug)]
pub(crate) struct RawPort {
    /// Its header.
    pub(crate) span: Span,
    pub(crate) name: Option<At<String>>,
    pub(crate) device: Option<At<Device>>,
    pub(crate) addresses: Vec<At<Prefix>>,
    pub(crate) gateways: Vec<At<IpAddr>>,
    pub(crate) vlan: Option<u16>,
    pub(crate) mtu: u16,
    /// The place of `mtu`, or the header's.
    pub(crate) mtu_span: Span,
    pub(crate) rx_ring: u16,
    pub(crate) tx_ring: u16,
}

/// `[[route]]`.
#[derive(Debug)]
pub(crate) struct RawRoute {
    pub(crate) to: Option<At<Prefix>>,
    pub(crate) from: Option<At<Prefix>>,
    /// Whether `from` is absent or could be read.
    pub(crate) whole: bool,
    pub(crate) via: Option<At<IpAddr>>,
    pub(crate) port: Option<At<String>>,
}

/// Own addresses of a port: every one is compared with every other.
const MAX_ADDRESSES: usize = 256;
/// Virtual devices that sit on a kernel interface, which must be named.
const ON_INTERFACE: [&str; 2] = ["net_af_packet", "net_af_xdp"];

impl RawPort {
    pub(crate) fn read(report: &mut Report<'_>, table: &Table<'_, '_>) -> Self {
        table.require(report, "name");
        table.require(report, "device");
        table.require(report, "addresses");
        let errors = report.errors();
        let mut addresses = table.parsed_list(report, "addresses", address::parse_own);
        let span = table.span_of("addresses");
        if addresses.is_empty() && report.errors() == errors && span != table.span {
            report.error(
                span,
                "addresses is empty",
                "a port needs at least one own address, of either family",
            );
        }
        if addresses.len() > MAX_ADDRESSES {
            let help = format!("a port has at most {MAX_ADDRESSES} own addresses; VIPs need none");
            report.error(span, format!("{} addresses", addresses.len()), help);
            addresses.clear();
        }
        Self {
            span: table.span,
            name: table.parsed(report, "name", parse_name),
            device: table.parsed(report, "device", parse_device),
            addresses,
            gateways: table.parsed_list(report, "gateway", address::parse_address),
            vlan: table.number(report, "vlan", 1..=4094, "").map(|vlan| vlan.value),
            mtu: or(table.number(report, "mtu", 576..=9000, "bytes"), 1500),
            mtu_span: table.span_of("mtu"),
            rx_ring: or(table.number(report, "rx_ring", 32..=32_768, "descriptors"), 1024),
            tx_ring: or(table.number(report, "tx_ring", 32..=32_768, "descriptors"), 1024),
        }
    }
}

impl RawRoute {
    pub(crate) fn read(report: &mut Report<'_>, table: &Table<'_, '_>) -> Self {
        table.require(report, "to");
        table.require(report, "via");
        let errors = report.errors();
        let from = table.parsed(report, "from", address::parse_destination);
        let whole = report.errors() == errors;
        Self {
            to: table.parsed(report, "to", address::parse_destination),
            from,
            whole,
            via: table.parsed(report, "via", address::parse_address),
            port: reference(report, table, "port"),
        }
    }
}

fn parse_device(text: &str) -> Result<Device, Fault> {
    let (name, arguments) =
        text.split_once(',').map_or((text, None), |(name, rest)| (name, Some(rest)));
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Fault::new(
            format!("{} is not a device", quote(text)),
            "expected no spaces in it",
        ));
    }
    if let Some(pci) = pci_address(name) {
        return Ok(Device::Pci(
            arguments.map_or(pci.clone(), |arguments| format!("{pci},{arguments}")),
        ));
    }
    if !is_vdev(name) {
        // Most likely a kernel interface's name.
        let example = if name.is_empty() || name.contains(':') { "eth1" } else { name };
        let help = format!(
            "expected a DPDK device, such as \"net_af_packet0,iface={example}\" or \"0000:03:00.0\""
        );
        return Err(Fault::new(format!("{} is not a device", quote(text)), help));
    }
    let driver = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if ON_INTERFACE.contains(&driver) && interface(text).is_none() {
        let help = format!("name a kernel interface: \"{name},iface=eth1\"");
        return Err(Fault::new(format!("{} has no iface", quote(text)), help));
    }
    Ok(Device::Vdev(text.to_owned()))
}

/// The kernel interface that a virtual device sits on, if it is named.
pub(crate) fn interface(device: &str) -> Option<&str> {
    let arguments = device.split(',').skip(1);
    let mut values = arguments.filter_map(|argument| argument.strip_prefix("iface="));
    values.next().filter(|interface| !interface.is_empty())
}

/// `[domain:]bus:device.function`, with the domain and in lower case.
fn pci_address(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let (slot, function) = text.rsplit_once('.')?;
    let parts: Vec<&str> = slot.split(':').collect();
    let (domain, bus, device) = match parts[..] {
        [bus, device] => ("0000", bus, device),
        [domain, bus, device] => (domain, bus, device),
        _ => return None,
    };
    let hex = |text: &str, digits: usize, most: u32| {
        let plain = text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
        plain && u32::from_str_radix(text, 16).is_ok_and(|number| number <= most)
    };
    let valid =
        hex(domain, 4, 0xffff) && hex(bus, 2, 0xff) && hex(device, 2, 0x1f) && hex(function, 1, 7);
    valid.then(|| format!("{domain}:{bus}:{device}.{function}"))
}

/// DPDK finds the driver of a virtual device by its name: `net_`, the driver, usually a number.
fn is_vdev(name: &str) -> bool {
    let valid = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    name.strip_prefix("net_").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(valid))
}
