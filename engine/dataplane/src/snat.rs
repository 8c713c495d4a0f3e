//! Rules for conns that servers open through the director: which they are, and what they leave
//! with.
//!
//! Such a conn is a full-NAT conn whose dest endpoint is the destination it had. So a rule is a
//! service that takes every destination; its dests are routers, or one that stands for whatever
//! route the destination has (`Target`).

use crate::service::Service;
use crate::tuple::Addr;
use crate::tuple::Prefix;
use crate::tuple::Proto;
use crate::tuple::Tuple;
use core::ops::RangeInclusive;

/// Protocols that a rule is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Protocols {
    /// TCP.
    pub tcp: bool,
    /// UDP.
    pub udp: bool,
    /// Echoes, of ICMP and ICMPv6.
    pub icmp: bool,
}

impl Protocols {
    /// All of them.
    pub const ALL: Self = Self { tcp: true, udp: true, icmp: true };

    fn has(self, proto: Proto) -> bool {
        match proto {
            Proto::Tcp => self.tcp,
            Proto::Udp => self.udp,
            Proto::Icmp | Proto::Icmpv6 => self.icmp,
        }
    }
}

/// A rule.
#[derive(Clone, PartialEq, Debug)]
pub struct Snat {
    /// Where conns come from.
    pub sources: Vec<Prefix>,
    /// Where they go; empty: anywhere.
    pub destinations: Vec<Prefix>,
    /// Ports there, which echoes do not have; empty: any.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Their protocols.
    pub protocols: Protocols,
    /// What opens, counts and forwards them; protocol, address and port of it mean nothing.
    pub service: Service,
}

impl Snat {
    /// Whether it is for what comes from an address.
    pub fn is_from(&self, src: Addr) -> bool {
        self.sources.iter().any(|prefix| prefix.contains(src))
    }

    /// Whether the rule is for what a packet begins.
    pub fn takes(&self, t: &Tuple) -> bool {
        let within = |prefixes: &[Prefix], addr: Addr| prefixes.iter().any(|p| p.contains(addr));
        let has_ports = matches!(t.proto, Proto::Tcp | Proto::Udp);
        self.protocols.has(t.proto)
            && self.is_from(t.src)
            && (self.destinations.is_empty() || within(&self.destinations, t.dst))
            && (self.ports.is_empty()
                || has_ports && self.ports.iter().any(|ports| ports.contains(&t.dport)))
    }
}
