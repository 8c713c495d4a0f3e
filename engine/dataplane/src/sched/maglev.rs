//! The table of mh: Maglev hashing (Eisenbud et al., NSDI 2016, section 3.4) with the kernel's
//! hashes, so that a fleet can change from one to the other and no client moves.

use super::hashed::fold;
use crate::tuple::Addr;
use core::hash::Hasher as _;
use siphasher::sip::SipHasher13;

/// The kernel's table size (CONFIG_IP_VS_MH_TAB_INDEX 12).
pub const KERNEL_SIZE: u32 = 4093;

/// Keys of the two hashes (`generate_hash_secret`).
pub(super) const FIRST: u64 = 2_654_435_761;
const SECOND: u64 = 2_654_446_892;

/// What the table takes from a dest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Address.
    pub addr: Addr,
    /// Port.
    pub port: u16,
    /// Its weight, or the last one that was not 0: a quiesced dest keeps its buckets, so that the
    /// others keep theirs.
    pub last_weight: u32,
}

/// A dest's list of preferred buckets: where it begins and by how much it goes on.
struct Preference {
    next: u32,
    skip: u32,
    turns: u32,
}

/// Each bucket's dest, by its place in `dests`; none where no dest has a weight. `size` is prime.
/// (`ip_vs_mh_permutate`, `ip_vs_mh_populate`)
pub(super) fn table(dests: &[Entry], size: u32) -> Vec<Option<u32>> {
    fill(preferences(dests, size), size)
}

fn fill(mut preferences: Vec<Preference>, size: u32) -> Vec<Option<u32>> {
    let mut table = vec![None; size as usize];
    if preferences.iter().all(|p| p.turns == 0) {
        return table;
    }
    let mut left = size;
    loop {
        for (p, place) in preferences.iter_mut().zip(0..) {
            for _ in 0..p.turns {
                while table[p.next as usize].is_some() {
                    p.next = (p.next + p.skip) % size;
                }
                table[p.next as usize] = Some(place);
                left -= 1;
                if left == 0 {
                    return table;
                }
            }
        }
    }
}

fn preferences(dests: &[Entry], size: u32) -> Vec<Preference> {
    let weights = || dests.iter().map(|d| d.last_weight);
    let gcd = weights().filter(|w| *w > 0).fold(0, |g, w| super::gcd(w, g)).max(1);
    let highest = weights().max().unwrap_or(0) / gcd;
    // Large weights are cut down to about the root of the table's size (`ip_vs_mh_shift_weight`).
    let bits = |n: u32| u32::BITS - n.leading_zeros();
    let shift = bits(highest).saturating_sub(bits(size) / 2);
    let preference = |d: &Entry| {
        let word = fold(d.addr).wrapping_add(u32::from(d.port));
        Preference {
            next: hash(word, FIRST) % size,
            skip: hash(word, SECOND) % (size - 1) + 1,
            turns: ((d.last_weight / gcd) >> shift).max(u32::from(d.last_weight > 0)),
        }
    };
    dests.iter().map(preference).collect()
}

/// The kernel's `hsiphash` of one word on a 64-bit machine: SipHash-1-3, cut to 32 bits.
pub(super) fn hash(word: u32, key: u64) -> u32 {
    let mut hasher = SipHasher13::new_with_keys(key, key);
    hasher.write(&word.to_le_bytes());
    hasher.finish() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(weights: &[u32]) -> Vec<Entry> {
        let addr = |i: usize| Addr::v4(0x0a02_0001 + i as u32);
        let entry = |(i, w): (usize, &u32)| Entry { addr: addr(i), port: 80, last_weight: *w };
        weights.iter().enumerate().map(entry).collect()
    }

    fn counts(table: &[Option<u32>], dests: usize) -> Vec<usize> {
        let mut counts = vec![0; dests];
        table.iter().for_each(|place| counts[place.unwrap() as usize] += 1);
        counts
    }

    /// Table 1 of the paper: seven buckets, offsets 3 0 3, skips 4 2 1; then without B1.
    #[test]
    fn the_papers_example() {
        let fill = |all: &[(u32, u32)]| {
            let preference =
                |(next, skip): &(u32, u32)| Preference { next: *next, skip: *skip, turns: 1 };
            let table = fill(all.iter().map(preference).collect(), 7);
            table.into_iter().map(Option::unwrap).collect::<Vec<_>>()
        };
        assert_eq!(fill(&[(3, 4), (0, 2), (3, 1)]), [1, 0, 1, 0, 2, 2, 0]);
        assert_eq!(fill(&[(3, 4), (3, 1)]), [0, 0, 0, 0, 1, 1, 1]);
    }

    #[test]
    fn equal_weights_have_equal_shares() {
        let dests = fleet(&[1; 1000]);
        let counts = counts(&table(&dests, 65_537), dests.len());
        assert!(counts.iter().all(|n| (65..=66).contains(n)));
    }

    #[test]
    fn weights_are_shares() {
        let counts = counts(&table(&fleet(&[1, 2]), KERNEL_SIZE), 2);
        assert_eq!(counts, [1365, 2728]);
        let shares = self::counts(&table(&fleet(&[30_000, 60_000, 0]), 65_537), 3);
        assert!((2 * shares[0]).abs_diff(shares[1]) <= 2, "{shares:?}");
        assert_eq!(shares[2], 0);
    }

    /// As many buckets as `maglev_size` may say.
    #[test]
    fn the_largest_table_is_as_even() {
        let dests = fleet(&[1; 1000]);
        let counts = counts(&table(&dests, 655_373), dests.len());
        assert!(counts.iter().all(|n| (655..=656).contains(n)));
    }

    #[test]
    fn nobody_with_a_weight_has_no_bucket() {
        assert!(table(&fleet(&[0, 0]), 251).iter().all(Option::is_none));
    }

    /// Changed entries, those of the dest that went included, over all single removals.
    #[test]
    fn a_removal_changes_few_entries() {
        let dests = fleet(&[1; 1000]);
        let (size, before) = (65_537, table(&dests, 65_537));
        let (mut sum, mut worst) = (0.0, 0.0_f64);
        for gone in 0..dests.len() {
            let mut fewer = dests.clone();
            fewer.remove(gone);
            let name = |place: u32| if place >= gone as u32 { place + 1 } else { place };
            let after = table(&fewer, size).into_iter().map(|p| p.map(name));
            let changed = before.iter().zip(after).filter(|(b, a)| **b != *a);
            let share = changed.count() as f64 / f64::from(size);
            sum += share;
            worst = worst.max(share);
        }
        let mean = sum / dests.len() as f64;
        assert!(mean <= 0.0072 && worst <= 0.009, "mean {mean} worst {worst}");
    }
}
