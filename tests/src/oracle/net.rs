//! The network of all cases: a director between two links.
//!
//! | what | v4 | v6 |
//! | --- | --- | --- |
//! | `wan`'s own | 10.0.0.1/24 | 2001:db8::1/64 |
//! | gateway of everything else, on `wan` | 10.0.0.254 | 2001:db8::fe |
//! | `lan`'s own | 10.1.0.1/24 | 2001:db8:1::1/64 |
//! | servers on `lan` | 10.1.0.10 to .29 | 2001:db8:1::10 to ::29 |
//! | VIPs | 203.0.113.1 to .16 | 2001:db8:f::1 to ::16 |
//!
//! The numbers of v6 addresses are read as decimal ones: server ::12 has the MAC of .12.

use crate::net;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::neigh::PortId;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The last numbers of the servers' addresses.
pub const SERVERS: std::ops::RangeInclusive<u16> = 10..=29;
/// The last numbers of the VIPs.
pub const VIPS: std::ops::RangeInclusive<u16> = 1..=16;

/// A port of the director's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Toward the clients.
    Wan,
    /// Toward the servers.
    Lan,
}

impl Side {
    /// Both, by port number.
    pub const ALL: [Self; 2] = [Self::Wan, Self::Lan];

    /// Its port.
    pub fn port(self) -> PortId {
        PortId(self as u8)
    }

    /// Its MAC.
    pub fn mac(self) -> Mac {
        [net::WAN_MAC, net::LAN_MAC][self as usize]
    }

    /// Its own addresses with prefix lengths.
    pub fn addresses(self) -> [&'static str; 2] {
        match self {
            Self::Wan => ["10.0.0.1/24", "2001:db8::1/64"],
            Self::Lan => ["10.1.0.1/24", "2001:db8:1::1/64"],
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(["wan", "lan"][*self as usize])
    }
}

impl FromStr for Side {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let of_name = Self::ALL.into_iter().find(|side| side.to_string() == word);
        of_name.ok_or_else(|| format!("{word:?} is neither wan nor lan"))
    }
}

/// The gateways.
pub const GATEWAYS: [&str; 2] = ["10.0.0.254", "2001:db8::fe"];

/// A server's MAC.
pub fn server_mac(n: u16) -> Mac {
    [0x02, 0, 0, 0, 0x02, n as u8]
}

/// Every neighbour: its port, address and MAC.
pub fn neighbours() -> Vec<(Side, IpAddr, Mac)> {
    let gateways = GATEWAYS.map(|addr| (Side::Wan, net::ip(addr), net::GATEWAY_MAC));
    let server = |n| {
        let texts = [format!("10.1.0.{n}"), format!("2001:db8:1::{n}")];
        texts.map(|addr| (Side::Lan, net::ip(&addr), server_mac(n)))
    };
    gateways.into_iter().chain(SERVERS.flat_map(server)).collect()
}

/// Every VIP.
pub fn vips() -> Vec<String> {
    VIPS.flat_map(|n| [format!("203.0.113.{n}"), format!("2001:db8:f::{n}")]).collect()
}

/// Who has a MAC: a server's number, or the gateway.
pub fn name(mac: Mac) -> String {
    match SERVERS.into_iter().find(|n| server_mac(*n) == mac) {
        Some(n) => n.to_string(),
        None if mac == net::GATEWAY_MAC => "gw".into(),
        None => format!("{mac:02x?}"),
    }
}

/// The MAC of what sends from an address: a server, or the gateway.
pub fn sender(addr: IpAddr) -> Mac {
    let known = neighbours().into_iter().find(|(_, known, _)| *known == addr);
    known.map_or(net::GATEWAY_MAC, |(_, _, mac)| mac)
}
