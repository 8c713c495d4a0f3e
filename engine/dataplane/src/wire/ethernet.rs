//! Ethernet II and the 802.1Q tag.

use super::get16;
use super::head;
use super::head_mut;
use super::put16;
use super::raw64;
use crate::neigh::Mac;

/// Header without tag.
pub const LEN: usize = 14;
/// Length of a tag.
pub const TAG: usize = 4;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of an 802.1Q tag.
pub const VLAN: u16 = 0x8100;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;

/// All ones.
pub const BROADCAST: Mac = [0xff; 6];

/// Destination.
#[inline(always)]
pub fn destination(b: &[u8]) -> Mac {
    [b[0], b[1], b[2], b[3], b[4], b[5]]
}

/// A host, as frames' destinations are compared with it.
#[derive(Clone, Copy, Debug)]
pub struct Host(u64);

impl Host {
    /// Of that address.
    pub fn of([a, b, c, d, e, f]: Mac) -> Self {
        Self(u64::from_le_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// Whether a frame is for it.
    #[inline(always)]
    pub fn gets(self, b: &[u8]) -> bool {
        let b: &[u8; LEN] = head(b);
        // Of eight bytes the last two are of the source.
        u64::from_le(raw64(b, 0)) << 16 == self.0
    }
}

/// Source.
#[inline(always)]
pub fn source(b: &[u8]) -> Mac {
    [b[6], b[7], b[8], b[9], b[10], b[11]]
}

/// Whether the destination is a group, broadcast among them.
#[inline(always)]
pub fn is_group(b: &[u8]) -> bool {
    b[0] & 1 == 1
}

/// EtherType, or the tag's where there is one.
#[inline(always)]
pub fn ether_type(b: &[u8]) -> u16 {
    get16(b, 12)
}

/// VLAN number of a tagged frame.
#[inline(always)]
pub fn vlan(b: &[u8]) -> u16 {
    get16(b, 14) & 0x0fff
}

/// Writes a whole header, tag included where given; `b` begins the frame.
#[inline(always)]
pub fn write(b: &mut [u8], dst: Mac, src: Mac, vlan: Option<u16>, ether_type: u16) {
    match vlan {
        None => put16(b, 12, ether_type),
        Some(id) => {
            put16(b, 12, VLAN);
            put16(b, 14, id);
            put16(b, 16, ether_type);
        }
    }
    let b: &mut [u8; LEN] = head_mut(b);
    b[0..6].copy_from_slice(&dst);
    b[6..12].copy_from_slice(&src);
}
