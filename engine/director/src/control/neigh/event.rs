//! What the resolver has to tell people.

use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::tuple::Addr;
use std::fmt;

/// Something happened that deserves a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A next hop answers, for the first time or again.
    Resolved {
        /// On this port.
        port: PortId,
        /// The next hop.
        addr: Addr,
        /// Where it is.
        mac: Mac,
        /// It is configured: a dest or a gateway.
        wanted: bool,
    },
    /// A next hop is at another MAC now.
    Changed {
        /// On this port.
        port: PortId,
        /// The next hop.
        addr: Addr,
        /// Where it was.
        old: Mac,
        /// Where it is.
        new: Mac,
    },
    /// A next hop does not answer.
    Dead {
        /// On this port.
        port: PortId,
        /// The next hop.
        addr: Addr,
        /// It is configured: a dest or a gateway.
        wanted: bool,
    },
    /// Another host answers for a VIP.
    ForeignHolder {
        /// On this port.
        port: PortId,
        /// The VIP.
        vip: Addr,
        /// The other host.
        mac: Mac,
    },
    /// It no longer does.
    ForeignHolderGone {
        /// On this port.
        port: PortId,
        /// The VIP.
        vip: Addr,
        /// The other host.
        mac: Mac,
    },
    /// Another host has a port's own address or one of a pool.
    Duplicate {
        /// On this port.
        port: PortId,
        /// The address.
        addr: Addr,
        /// The other host.
        mac: Mac,
    },
    /// It no longer has.
    DuplicateGone {
        /// On this port.
        port: PortId,
        /// The address.
        addr: Addr,
        /// The other host.
        mac: Mac,
    },
    /// No room for a next hop; told at most every 10 s.
    TableFull {
        /// On this port.
        port: PortId,
        /// The next hop that got no place.
        addr: Addr,
    },
}

/// How loud an event is to be logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// What is expected of strangers on a link.
    Debug,
    /// A transition of something configured.
    Info,
    /// Somebody should do something.
    Warn,
}

impl Event {
    /// The port it is about.
    pub const fn port(&self) -> PortId {
        match *self {
            Self::Resolved { port, .. }
            | Self::Changed { port, .. }
            | Self::Dead { port, .. }
            | Self::ForeignHolder { port, .. }
            | Self::ForeignHolderGone { port, .. }
            | Self::Duplicate { port, .. }
            | Self::DuplicateGone { port, .. }
            | Self::TableFull { port, .. } => port,
        }
    }

    /// How loud.
    pub const fn level(&self) -> Level {
        match self {
            Self::Resolved { wanted: false, .. } | Self::Dead { wanted: false, .. } => Level::Debug,
            Self::Resolved { .. }
            | Self::Changed { .. }
            | Self::ForeignHolderGone { .. }
            | Self::DuplicateGone { .. } => Level::Info,
            Self::Dead { .. }
            | Self::ForeignHolder { .. }
            | Self::Duplicate { .. }
            | Self::TableFull { .. } => Level::Warn,
        }
    }

    /// Its log line: where (`port` is the port's name), what, and what to do about it.
    pub fn text(&self, port: &str) -> String {
        match *self {
            Self::Resolved { addr, mac, .. } => {
                format!("port {port}: {addr} is at {}", MacText(mac))
            }
            Self::Changed { addr, old, new, .. } => {
                format!("port {port}: {addr} moved from {} to {}", MacText(old), MacText(new))
            }
            Self::Dead { addr, .. } => format!(
                "port {port}: {addr} does not answer {}: check that it is up and on this link",
                if addr.is_v4() { "ARP" } else { "neighbour solicitations" }
            ),
            Self::ForeignHolder { vip, mac, .. } => format!(
                "port {port}: VIP {vip} is also held by {}: clients may bypass the director; if it \
                 is a DR server, {}",
                MacText(mac),
                if vip.is_v4() {
                    "set net.ipv4.conf.all.arp_ignore=1 and arp_announce=2 on it"
                } else {
                    "put the VIP on its lo only, as a /128"
                }
            ),
            Self::ForeignHolderGone { vip, mac, .. } => {
                format!("port {port}: VIP {vip} is no longer held by {}", MacText(mac))
            }
            Self::Duplicate { addr, mac, .. } => format!(
                "port {port}: our address {addr} is also used by {}: give one of the two another \
                 address",
                MacText(mac)
            ),
            Self::DuplicateGone { addr, mac, .. } => {
                format!("port {port}: our address {addr} is no longer used by {}", MacText(mac))
            }
            Self::TableFull { addr, .. } => format!(
                "port {port}: no room for next hop {addr}: raise `neighbours` under [director], or \
                 look for a host that floods this link"
            ),
        }
    }
}

/// A MAC for people: 02:00:00:00:00:0a.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MacText(pub Mac);

impl fmt::Display for MacText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
