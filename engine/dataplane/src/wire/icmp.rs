//! ICMP (RFC 792, RFC 1191, RFC 1812) and ICMPv6 (RFC 4443).

use crate::tuple::Family;

/// Type, code, checksum and four bytes of whatever the type wants.
pub const LEN: usize = 8;
/// Place of the checksum.
pub const CHECKSUM: usize = 2;
/// Place of an echo's identifier.
pub const ID: usize = 4;
/// Place of the next-hop MTU of "fragmentation needed" (RFC 1191 section 4); 16 bits.
pub const V4_MTU: usize = 6;
/// Place of the MTU of "packet too big" (RFC 4443 section 3.2); 32 bits.
pub const V6_MTU: usize = 4;

/// Whether an error says that the packet's end or the way to it is not there, for now or for good.
pub fn is_unreachable(family: Family, [kind, code]: [u8; 2]) -> bool {
    match family {
        Family::V4 => kind == v4::UNREACHABLE && code != v4::FRAGMENTATION_NEEDED,
        Family::V6 => kind == v6::UNREACHABLE,
    }
}

/// ICMP types and codes.
pub mod v4 {
    /// Whether a type asks or answers, rather than reports an error: echo, router discovery,
    /// timestamp, information, mask. What is not known is no query.
    pub const fn is_query(kind: u8) -> bool {
        matches!(kind, 0 | 8..=10 | 13..=18)
    }

    /// Type: echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Type: destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Type: source quench (deprecated by RFC 6633, still followed by the kernel's IPVS).
    pub const SOURCE_QUENCH: u8 = 4;
    /// Type: echo.
    pub const ECHO: u8 = 8;
    /// Type: time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Type: parameter problem.
    pub const PARAMETER: u8 = 12;
    /// Code of unreachable: net.
    pub const NET: u8 = 0;
    /// Code of unreachable: host.
    pub const HOST: u8 = 1;
    /// Code of unreachable: protocol.
    pub const PROTOCOL: u8 = 2;
    /// Code of unreachable: port.
    pub const PORT: u8 = 3;
    /// Code of unreachable: fragmentation needed and DF set.
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Code of unreachable: host administratively prohibited.
    pub const HOST_PROHIBITED: u8 = 10;
}

/// ICMPv6 types and codes.
pub mod v6 {
    /// Whether a type is no error; all of those have the highest bit (RFC 4443 section 2.1).
    pub const fn is_query(kind: u8) -> bool {
        kind & 0x80 != 0
    }

    /// Type: destination unreachable.
    pub const UNREACHABLE: u8 = 1;
    /// Type: packet too big.
    pub const TOO_BIG: u8 = 2;
    /// Type: time exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Type: parameter problem.
    pub const PARAMETER: u8 = 4;
    /// Type: echo request.
    pub const ECHO: u8 = 128;
    /// Type: echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// First type of MLD (RFC 2710).
    pub const MLD_QUERY: u8 = 130;
    /// Last type of MLDv1.
    pub const MLD_DONE: u8 = 132;
    /// First type of neighbour discovery (RFC 4861): router solicitation.
    pub const ND_FIRST: u8 = 133;
    /// Last type of neighbour discovery: redirect.
    pub const ND_LAST: u8 = 137;
    /// MLDv2 report (RFC 3810).
    pub const MLD_REPORT: u8 = 143;
    /// Code of unreachable: no route.
    pub const NO_ROUTE: u8 = 0;
    /// Code of unreachable: administratively prohibited.
    pub const PROHIBITED: u8 = 1;
    /// Code of unreachable: port.
    pub const PORT: u8 = 4;
    /// Code of parameter problem: next header that nobody knows.
    pub const NEXT_HEADER: u8 = 1;
}
