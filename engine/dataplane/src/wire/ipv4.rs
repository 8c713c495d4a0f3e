//! IPv4 (RFC 791).

use super::checksum;
use super::get16;
use super::get32;
use super::head_mut;
use super::put_raw32;
use super::put_raw64;
use super::put16;
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
    /// From where to where.
    pub ends: Ends,
}

/// Source and destination, ready to be written, and what they add to a checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
// Without a gap behind it: a `Dest` has no room for one.
#[repr(C, packed(4))]
pub struct Ends {
    /// As they stand in memory.
    addrs: u64,
    /// Of their words, the first byte of each lowest.
    sum: u32,
}

impl Ends {
    /// Of addresses of IPv4.
    #[inline(always)]
    pub const fn of(src: Addr, dst: Addr) -> Self {
        let (src, dst) = (src.v4_bits().swap_bytes(), dst.v4_bits().swap_bytes());
        let sum = (src & 0xffff) + (src >> 16) + (dst & 0xffff) + (dst >> 16);
        Self { addrs: ((dst as u64) << 32 | src as u64).to_le(), sum }
    }
}

/// What the headers of IPv4 in IPv4 between two ends have in common, where no router may cut them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Around(Ends);

impl Around {
    /// DF, and the protocol: what they add to a checksum.
    const SUM: u32 = DF.swap_bytes() as u32 + ((IPIP as u32) << 8);

    /// Of these ends.
    pub const fn of(ends: Ends) -> Self {
        Self(Ends { sum: ends.sum + Self::SUM, ..ends })
    }

    /// Its ends.
    pub const fn ends(self) -> Ends {
        Ends { sum: self.0.sum - Self::SUM, ..self.0 }
    }

    /// Writes one, with type of service and TTL, of a packet of so many bytes in all, to the first 20 bytes of `h`.
    #[inline(always)]
    pub fn write(&self, h: &mut [u8], (tos, ttl): (u32, u8), total: usize) {
        debug_assert!(tos < 0x100 && total <= u16::MAX as usize);
        let h: &mut [u8; LEN] = head_mut(h);
        let first = ((0x4500 | tos) << 16 | total as u32).swap_bytes();
        // With the version's word above nothing is carried out.
        let checksum = checksum::finish(first.rotate_left(16) + ttl as u32 + self.0.sum);
        put_raw32(h, 0, first.to_le());
        put_raw32(h, ID, ((DF.swap_bytes() as u32) << 16).to_le());
        put_raw32(h, TTL, (ttl as u32 | (IPIP as u32) << 8 | (checksum as u32) << 16).to_le());
        put_raw64(h, SRC, self.0.addrs);
    }
}

impl Header {
    /// Writes it, with its checksum, to the first 20 bytes of `h`.
    #[inline(always)]
    pub fn write(&self, h: &mut [u8]) {
        let h: &mut [u8; LEN] = head_mut(h);
        // Words with their first byte lowest: a sum may be made in either byte order (RFC 1071 section 2 B).
        let first = ((0x4500 | self.tos as u32) << 16 | self.total as u32).swap_bytes();
        let [id, fragment] = [self.id, self.fragment].map(|word| word.swap_bytes() as u32);
        let third = self.ttl as u32 | (self.protocol as u32) << 8;
        // With the version's word above nothing is carried out.
        let sum = first.rotate_left(16) + (id + fragment + third + self.ends.sum);
        let checksum = checksum::finish(sum);
        put_raw32(h, 0, first.to_le());
        put_raw32(h, ID, (id | fragment << 16).to_le());
        put_raw32(h, TTL, (third | (checksum as u32) << 16).to_le());
        put_raw64(h, SRC, self.ends.addrs);
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
