//! Addresses as they are written in the file.

use crate::pool::AddressRange;
use crate::pool::MAX_ADDRESSES;
use crate::prefix::Prefix;
use crate::prefix::same_family;
use crate::reader::quote;
use crate::report::Fault;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

/// An address of a host.
pub(crate) fn parse_address(text: &str) -> Result<IpAddr, Fault> {
    let address = parse_any(text)?;
    match not_a_host(address) {
        None => Ok(address),
        Some(what) => {
            Err(Fault::new(format!("{text} is {what}"), "expected the address of a host"))
        }
    }
}

/// A port's own address with its prefix length.
pub(crate) fn parse_own(text: &str) -> Result<Prefix, Fault> {
    let prefix = parse_prefix(text)?;
    let address = prefix.address();
    if let Some(what) = not_a_host(address) {
        return Err(Fault::new(
            format!("{address} is {what}"),
            "expected an address for this port",
        ));
    }
    if is_link_local(address) {
        return Err(Fault::new(
            format!("{address} is link-local"),
            "leave it out: every port makes its own link-local address",
        ));
    }
    // In IPv6 the lowest address of a prefix is the routers' anycast address (RFC 4291, section
    // 2.6.1), save on links of two (RFC 6164).
    let anycast = address.is_ipv6() && prefix.length() < 127 && address == prefix.first();
    if prefix.length() == 0 || anycast || prefix.reserves(address) {
        let what = if prefix.length() > 0 && address != prefix.first() {
            "the broadcast address"
        } else {
            "the network"
        };
        return Err(Fault::new(
            format!("{text} is {what}, not an address in it"),
            "expected this port's own address with the prefix length, such as 10.1.0.254/24",
        ));
    }
    Ok(prefix)
}

/// Where a route leads: a prefix without host bits.
pub(crate) fn parse_destination(text: &str) -> Result<Prefix, Fault> {
    let prefix = parse_prefix(text)?;
    if prefix.address() == prefix.first() {
        return Ok(prefix);
    }
    Err(Fault::new(
        format!("{text} has host bits set"),
        format!("did you mean \"{}\"?", prefix.network()),
    ))
}

/// `address:port` or `[address]:port` of a service; a prefix or `first-last` may stand for the
/// address, and port 0 for every port.
pub(crate) fn parse_service(text: &str) -> Result<(AddressRange, u16), Fault> {
    if text.contains(['/', '-']) {
        return parse_service_range(text);
    }
    let every = text.strip_suffix(":0").filter(|s| s.ends_with(']') || !s.contains(':'));
    let (address, port) = match every.map(parse_endpoint).transpose()? {
        Some((address, None)) => (address, Some(0)),
        _ => parse_endpoint(text)?,
    };
    match (AddressRange::new(address, address), port) {
        (Some(range), Some(port)) => Ok((range, port)),
        _ => Err(Fault::new(
            format!("{text} has no port"),
            format!("add one, such as \"{}\"", SocketAddr::new(address, 80)),
        )),
    }
}

fn parse_service_range(text: &str) -> Result<(AddressRange, u16), Fault> {
    let Some((range, port)) = text.rsplit_once(':') else {
        let help = format!("add one, such as \"{text}:80\"");
        return Err(Fault::new(format!("{text} has no port"), help));
    };
    let port = if port == "0" { 0 } else { parse_port(port)? };
    let inner = range.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    if inner.is_none() && range.contains(':') {
        let help = match range.contains('[') {
            true => "expected \"[first-last]:port\", both ends IPv6".into(),
            false => format!("write \"[{range}]:{port}\""),
        };
        return Err(Fault::new(format!("{text} has no brackets"), help));
    }
    let range = inner.unwrap_or(range);
    let range = match range.contains('/') {
        true => parse_network(range)?,
        false => parse_ends(range)?,
    };
    check_size(&range, "a service takes")?;
    Ok((range, port))
}

/// Every address of a prefix without host bits.
fn parse_network(text: &str) -> Result<AddressRange, Fault> {
    let prefix = parse_destination(text)?;
    parse_address(&prefix.first().to_string())?;
    let range = AddressRange::new(prefix.first(), prefix.last());
    range.ok_or_else(|| Fault::new(format!("{text} has no addresses"), "expected a prefix"))
}

/// Addresses that a `[[match]]` is for: `address` or a prefix.
pub(crate) fn parse_virtual(text: &str) -> Result<Prefix, Fault> {
    let range = match text.contains('/') {
        true => parse_network(text)?,
        false => return parse_address(text).map(Prefix::host),
    };
    check_size(&range, "a [[match]] is for")?;
    parse_destination(text)
}

fn check_size(range: &AddressRange, who: &str) -> Result<(), Fault> {
    if range.count() > MAX_ADDRESSES {
        let message = format!("a range of {} addresses", range.count());
        return Err(Fault::new(message, format!("{who} at most {MAX_ADDRESSES}")));
    }
    Ok(())
}

/// `address`, `address:port`, `[address]` or `[address]:port` of a dest.
pub(crate) fn parse_dest(text: &str) -> Result<(IpAddr, Option<u16>), Fault> {
    parse_endpoint(text)
}

/// `address` or `first-last` of a pool.
pub(crate) fn parse_range(text: &str) -> Result<AddressRange, Fault> {
    if text.contains('/') {
        return Err(prefix_in_pool(text));
    }
    let range = parse_ends(text)?;
    check_size(&range, "a pool holds")?;
    // The blocks no host has (127.0.0.0/8 and the like) are larger than any range allowed here: a
    // range that touches one has an end in it, and both ends were looked at.
    Ok(range)
}

/// `address` or `first-last`.
fn parse_ends(text: &str) -> Result<AddressRange, Fault> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim(), last.trim());
    if first.parse::<IpAddr>().is_ok() && last.parse::<u16>().is_ok() {
        let message = format!("{} is not an IP address", quote(last));
        return Err(Fault::new(message, "write both ends in full, such as 10.2.0.100-10.2.0.110"));
    }
    let (first, last) = (parse_pool_address(first)?, parse_pool_address(last)?);
    if !same_family(first, last) {
        return Err(Fault::new("a range of two families", "expected both ends IPv4 or both IPv6"));
    }
    AddressRange::new(first, last).ok_or_else(|| {
        let help = format!("did you mean \"{last}-{first}\"?");
        Fault::new("this range ends before it begins", help)
    })
}

/// Whether `address` is good on one link only.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Why `address` cannot be a host's; `None` if it can.
fn not_a_host(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("in 0.0.0.0/8, which no host has"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(v6) if v6.is_unspecified() => Some("the unspecified address"),
        _ if address.is_loopback() => Some("a loopback address"),
        _ if address.is_multicast() => Some("a multicast address"),
        _ => None,
    }
}

fn parse_any(text: &str) -> Result<IpAddr, Fault> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return match address {
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Err(mapped(v6)),
            _ => Ok(address),
        };
    }
    let message = format!("{} is not an IP address", quote(text));
    Err(match text.split_once(['%', '/']) {
        Some((address, _)) if text.contains('%') && address.parse::<Ipv6Addr>().is_ok() => {
            Fault::new(message, format!("leave out the zone: \"{address}\""))
        }
        Some((address, _)) if address.parse::<IpAddr>().is_ok() => {
            Fault::new(message, format!("leave out the prefix length: \"{address}\""))
        }
        _ if text.parse::<SocketAddr>().is_ok() => Fault::new(message, "leave out the port"),
        _ => Fault::new(
            message,
            "expected one such as 10.1.0.1 or 2001:db8:1::1; host names are not looked up",
        ),
    })
}

fn mapped(address: Ipv6Addr) -> Fault {
    let v4 = address.to_ipv4_mapped().map(|v4| v4.to_string()).unwrap_or_default();
    Fault::new(
        format!("{address} is an IPv4 address in IPv6 form"),
        format!("did you mean \"{v4}\"?"),
    )
}

fn parse_prefix(text: &str) -> Result<Prefix, Fault> {
    let Some((address, length)) = text.split_once('/') else {
        let address = parse_any(text)?;
        let example = if address.is_ipv4() { 24 } else { 64 };
        return Err(Fault::new(
            format!("{text} has no prefix length"),
            format!("add one, such as \"{text}/{example}\""),
        ));
    };
    let address = parse_any(address)?;
    let digits = length.len() <= 3 && length.bytes().all(|b| b.is_ascii_digit());
    let parsed =
        length.parse().ok().filter(|_| digits).and_then(|length| Prefix::new(address, length));
    parsed.ok_or_else(|| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        Fault::new(
            format!("{} is not a prefix length", quote(length)),
            format!("expected 0 to {most}"),
        )
    })
}

fn parse_endpoint(text: &str) -> Result<(IpAddr, Option<u16>), Fault> {
    let (address, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let Some((address, rest)) = bracketed.split_once(']') else {
            return Err(Fault::new(
                format!("{} has no closing bracket", quote(text)),
                "expected \"[address]:port\"",
            ));
        };
        if address.parse::<Ipv4Addr>().is_ok() {
            return Err(Fault::new(
                format!("{address} is not an IPv6 address"),
                "brackets are for IPv6, such as \"[2001:db8:1::100]:80\"",
            ));
        }
        match rest.strip_prefix(':') {
            None if rest.is_empty() => (address, None),
            None => {
                return Err(Fault::new(
                    format!("{} after the bracket", quote(rest)),
                    "expected \"[address]:port\"",
                ));
            }
            port => (address, port),
        }
    } else if text.parse::<Ipv6Addr>().is_ok() {
        // 2001:db8::2:80 reads as an address alone, but was hardly meant so.
        return Err(bare_v6(text));
    } else {
        text.split_once(':').map_or((text, None), |(address, port)| (address, Some(port)))
    };
    let address = parse_address(address)?;
    if is_link_local(address) {
        return Err(Fault::new(
            format!("{address} is link-local"),
            "expected an address that is good on every port",
        ));
    }
    Ok((address, port.map(parse_port).transpose()?))
}

fn bare_v6(text: &str) -> Fault {
    let whole = format!("\"[{text}]:80\"");
    let help = match text.rsplit_once(':') {
        Some((address, port))
            if address.parse::<Ipv6Addr>().is_ok() && port.parse::<u16>().is_ok() =>
        {
            format!("write {whole} or \"[{address}]:{port}\", whichever is meant")
        }
        _ => format!("write {whole}"),
    };
    Fault::new(format!("{text} has no brackets"), help)
}

fn parse_port(text: &str) -> Result<u16, Fault> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let port = text.parse::<u16>().ok().filter(|&port| digits && port > 0);
    port.ok_or_else(|| {
        Fault::new(format!("{} is not a port number", quote(text)), "expected 1 to 65535")
    })
}

/// `port` or `first-last`.
pub(crate) fn parse_ports(text: &str) -> Result<(u16, u16), Fault> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (parse_port(first.trim())?, parse_port(last.trim())?);
    if first > last {
        let help = format!("did you mean \"{last}-{first}\"?");
        return Err(Fault::new("this range ends before it begins", help));
    }
    Ok((first, last))
}

fn parse_pool_address(text: &str) -> Result<IpAddr, Fault> {
    let address = parse_address(text)?;
    if is_link_local(address) {
        return Err(Fault::new(
            format!("{address} is link-local"),
            "expected an address the dests can reach",
        ));
    }
    Ok(address)
}

/// A prefix would take in the network's, the broadcast's and most likely the router's address.
fn prefix_in_pool(text: &str) -> Fault {
    let prefix = match parse_prefix(text) {
        Ok(prefix) => prefix,
        Err(fault) => return fault,
    };
    let ends = AddressRange::new(prefix.first(), prefix.last());
    let hosts = ends.filter(|range| (4..=256).contains(&range.count())).and_then(|range| {
        let mut inner = range.iter().skip(1);
        AddressRange::new(
            inner.next()?,
            range.iter().nth(usize::try_from(range.count()).ok()? - 2)?,
        )
    });
    let help = match hosts {
        Some(hosts) => format!("write the addresses that are free, such as \"{hosts}\""),
        None => {
            let example = if prefix.address().is_ipv4() {
                "10.2.0.100-10.2.0.110"
            } else {
                "2001:db8:2::100-2001:db8:2::110"
            };
            format!("write a range of addresses that are free, such as \"{example}\"")
        }
    };
    Fault::new(format!("{} is a prefix", quote(text)), help)
}
