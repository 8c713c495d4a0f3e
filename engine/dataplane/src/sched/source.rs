//! sh: source hashing. 256 buckets, each dest gets as many in a row as its weight, in turns, until
//! all are filled (`ip_vs_sh_reassign`); a client's bucket follows from its address alone.

use super::Ask;
use crate::service::Candidate;
use crate::service::DestId;
use crate::tuple::Addr;

/// Buckets (IP_VS_SH_TAB_SIZE).
const BUCKETS: usize = 256;

/// The buckets of a service.
#[derive(Clone, PartialEq, Debug)]
pub struct SourceTable(Box<[Option<DestId>; BUCKETS]>);

impl SourceTable {
    /// Fills the buckets from the dests in list order. A dest of weight 0 gets its turn and one
    /// bucket, as in the kernel, where it then fails the pick.
    pub fn new(dests: &[Candidate]) -> Self {
        let mut buckets = Box::new([None; BUCKETS]);
        let mut walk = dests.iter().cycle();
        let Some(mut at) = walk.next() else {
            return Self(buckets);
        };
        let mut given = 0;
        for bucket in buckets.iter_mut() {
            *bucket = Some(at.id);
            given += 1;
            if given >= at.weight {
                given = 0;
                at = walk.next().unwrap_or(at);
            }
        }
        Self(buckets)
    }

    pub(super) fn pick(&self, dests: &[Candidate], ask: &Ask<'_>) -> Option<DestId> {
        let id = self.0[bucket(ask.tuple.src)]?;
        dests.iter().find(|c| c.id == id && ask.may(c)).map(|c| c.id)
    }
}

/// `ip_vs_sh_hashkey` without port and offset: the kernel's `hash_32` to 8 bits over the address,
/// the XOR of its words for v6.
fn bucket(addr: Addr) -> usize {
    let folded = if addr.is_v4() {
        addr.v4_bits()
    } else {
        (0..4).fold(0, |x, i| x ^ (addr.bits() >> (32 * i)) as u32)
    };
    // GOLDEN_RATIO_32 of include/linux/hash.h; the upper bits are the good ones.
    (folded.wrapping_mul(0x61c8_8647) >> 24) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn c(id: u32, weight: u32) -> Candidate {
        Candidate { id: DestId(id), weight }
    }

    #[test]
    fn buckets_in_turns_by_weight() {
        let t = SourceTable::new(&[c(0, 1), c(1, 3)]);
        let ids: Vec<u32> = t.0.iter().map(|b| b.unwrap().0).collect();
        assert_eq!(&ids[..8], &[0, 1, 1, 1, 0, 1, 1, 1]);
        assert_eq!(ids.iter().filter(|i| **i == 0).count(), 64);
    }

    #[test]
    fn no_dests_no_buckets() {
        assert!(SourceTable::new(&[]).0.iter().all(Option::is_none));
    }
}
