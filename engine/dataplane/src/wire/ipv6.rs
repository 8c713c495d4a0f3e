//! IPv6 (RFC 8200).

use super::get128;
use super::put16;
use super::put128;
use crate::tuple::Addr;

/// Fixed header.
pub const LEN: usize = 40;
/// Place of the payload length.
pub const PAYLOAD: usize = 4;
/// Place of the next header.
pub const NEXT: usize = 6;
/// Place of the hop limit.
pub const HOP_LIMIT: usize = 7;
/// Place of the source.
pub const SRC: usize = 8;
/// Place of the destination.
pub const DST: usize = 24;

/// The smallest MTU a link may have (RFC 8200 section 5).
pub const MIN_MTU: usize = 1280;

/// Next header: hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// Next header: routing.
pub const ROUTING: u8 = 43;
/// Next header: fragment.
pub const FRAGMENT: u8 = 44;
/// Next header: destination options.
pub const DESTINATION: u8 = 60;
/// Next header: none.
pub const NONE: u8 = 59;
/// Next header: ICMPv6.
pub const ICMPV6: u8 = 58;
/// Next header: IPv6 in IP.
pub const IPV6: u8 = 41;

/// In the third and fourth byte of a fragment header: offset, in bytes.
pub const OFFSET: u16 = 0xfff8;
/// In the same two bytes: more fragments.
pub const MORE: u16 = 1;

/// Source.
#[inline(always)]
pub fn src(h: &[u8]) -> Addr {
    Addr::v6(get128(h, SRC))
}

/// Destination.
#[inline(always)]
pub fn dst(h: &[u8]) -> Addr {
    Addr::v6(get128(h, DST))
}

/// Traffic class: DSCP and ECN.
pub fn traffic_class(h: &[u8]) -> u8 {
    h[0] << 4 | h[1] >> 4
}

/// What a fixed header says.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Bytes after the fixed header.
    pub payload: u16,
    /// Next header.
    pub next: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source.
    pub src: Addr,
    /// Destination.
    pub dst: Addr,
}

impl Header {
    /// Writes it, flow label 0, to the first 40 bytes of `h`.
    pub fn write(&self, h: &mut [u8]) {
        h[0] = 0x60 | self.traffic_class >> 4;
        h[1] = self.traffic_class << 4;
        h[2] = 0;
        h[3] = 0;
        put16(h, PAYLOAD, self.payload);
        h[NEXT] = self.next;
        h[HOP_LIMIT] = self.hop_limit;
        put128(h, SRC, self.src.bits());
        put128(h, DST, self.dst.bits());
    }
}
