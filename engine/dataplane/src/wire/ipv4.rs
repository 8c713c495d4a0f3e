//! IPv4 (RFC 791).

use super::checksum;
use super::get16;
use super::get32;
use super::head_mut;
use super::put16;
use super::put32;
use crate::tuple::Addr;

/// The smallest MTU a link may have (RFC 791 section 3.2).
pub const MIN_MTU: usize = 68;
/// Header without options.
pub const LEN: usize = 20;
/// Place of the type of service.
pub const TOS: usize = 1;
/// Place of the total length.
pub const TOTAL: usize = 2;
/// Place of the identification.
pub const ID: usize = 4;
/// Place of flags and fragment offset.
pub const FRAGMENT: usize = 6;
/// Place of the time to live.
pub const TTL: usize = 8;
/// Place of the protocol.
pub const PROTOCOL: usize = 9;
/// Place of the header checksum.
pub const CHECKSUM: usize = 10;
/// Place of the source.
pub const SRC: usize = 12;
/// Place of the destination.
pub const DST: usize = 16;

/// Don't fragment.
pub const DF: u16 = 0x4000;
/// More fragments.
pub const MF: u16 = 0x2000;
/// Fragment offset, in units of 8 bytes.
pub const OFFSET: u16 = 0x1fff;

/// Loose source route option (RFC 791 section 3.1).
pub const OPTION_LSRR: u8 = 131;
/// Strict source route option.
pub const OPTION_SSRR: u8 = 137;

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of IPv4 in IP.
pub const IPIP: u8 = 4;

/// Header length in bytes, from the header's start.
#[inline(always)]
pub fn header_len(h: &[u8]) -> usize {
    (h[0] & 0x0f) as usize * 4
}

/// Source.
#[inline(always)]
pub fn src(h: &[u8]) -> Addr {
    Addr::v4(get32(h, SRC))
}

/// Destination.
#[inline(always)]
pub fn dst(h: &[u8]) -> Addr {
    Addr::v4(get32(h, DST))
}

/// What a header without options says.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Type of service.
    pub tos: u8,
    /// Header and payload.
    pub total: u16,
    /// Identification.
    pub id: u16,
    /// Flags and offset.
    pub fragment: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol.
    pub protocol: u8,
    /// Source.
    pub src: Addr,
    /// Destination.
    pub dst: Addr,
}

impl Header {
    /// Writes it, with its checksum, to the first 20 bytes of `h`.
    #[inline(always)]
    pub fn write(&self, h: &mut [u8]) {
        let h: &mut [u8; LEN] = head_mut(h);
        let first = (0x4500 | self.tos as u32) << 16 | self.total as u32;
        let second = (self.id as u32) << 16 | self.fragment as u32;
        let third = (self.ttl as u32) << 24 | (self.protocol as u32) << 16;
        let (src, dst) = (self.src.v4_bits(), self.dst.v4_bits());
        let sum: u64 = [first, second, third, src, dst].map(u64::from).iter().sum();
        // 2^32 is 1 more than a multiple of ffff, so what is carried out comes in again as 1.
        let (sum, carry) = (sum as u32).overflowing_add((sum >> 32) as u32);
        let sum = sum + carry as u32;
        put32(h, 0, first);
        put32(h, ID, second);
        put32(h, TTL, third | checksum::finish(sum) as u32);
        put32(h, SRC, src);
        put32(h, DST, dst);
    }
}

/// Computes the checksum of a header of `len` bytes afresh.
pub fn set_checksum(h: &mut [u8], len: usize) {
    put16(h, CHECKSUM, 0);
    let c = checksum::finish(checksum::sum(&h[..len], 0));
    put16(h, CHECKSUM, c);
}

/// Changes one aligned 16-bit word and keeps the checksum right.
pub fn set_word(h: &mut [u8], at: usize, value: u16) {
    let delta = checksum::Delta::word(get16(h, at), value);
    put16(h, at, value);
    let c = delta.apply(get16(h, CHECKSUM));
    put16(h, CHECKSUM, c);
}
