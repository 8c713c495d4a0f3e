//! What a packet must be to begin something that a rule is for: an SNAT rule, or one that marks.

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
    /// SCTP.
    pub sctp: bool,
    /// Echoes, of ICMP and ICMPv6.
    pub icmp: bool,
}

impl Protocols {
    /// All of them.
    pub const ALL: Self = Self { tcp: true, udp: true, sctp: true, icmp: true };

    fn has(self, proto: Proto) -> bool {
        match proto {
            Proto::Tcp => self.tcp,
            Proto::Udp => self.udp,
            Proto::Sctp => self.sctp,
            Proto::Icmp | Proto::Icmpv6 => self.icmp,
        }
    }
}

/// What must hold of a packet's tuple, all of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Matching {
    /// Where it comes from; empty: anywhere.
    pub sources: Vec<Prefix>,
    /// Where it goes; empty: anywhere.
    pub destinations: Vec<Prefix>,
    /// Ports there, which echoes do not have; empty: any.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Its protocol.
    pub protocols: Protocols,
}

impl Matching {
    /// Whether it is for what comes from an address.
    pub fn is_from(&self, src: Addr) -> bool {
        within(&self.sources, src)
    }

    /// Whether it is for what goes to an address.
    pub fn is_to(&self, dst: Addr) -> bool {
        within(&self.destinations, dst)
    }

    /// Whether all of it holds.
    pub fn takes(&self, t: &Tuple) -> bool {
        let has_ports = matches!(t.proto, Proto::Tcp | Proto::Udp | Proto::Sctp);
        let has_port = || has_ports && self.ports.iter().any(|ports| ports.contains(&t.dport));
        self.protocols.has(t.proto)
            && self.is_from(t.src)
            && self.is_to(t.dst)
            && (self.ports.is_empty() || has_port())
    }
}

fn within(prefixes: &[Prefix], addr: Addr) -> bool {
    prefixes.is_empty() || prefixes.iter().any(|prefix| prefix.contains(addr))
}

/// A rule that marks what a packet to a VIP begins, as netfilter does before the kernel's IPVS.
#[derive(Clone, PartialEq, Debug)]
pub struct Mark {
    /// What it is for.
    pub matching: Matching,
    /// The mark, which a service may name (`Scope::Mark`); not 0.
    pub mark: u32,
}
