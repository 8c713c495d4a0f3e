//! twos: two dests by weighted chance, of which the one with less overhead for its weight is taken
//! (Mitzenmacher's power of two choices).

use super::Ask;
use crate::service::Candidate;
use crate::service::DestId;

/// A worker's own chance: splitmix64 (Steele et al., 2014).
#[derive(Clone, Debug, Default)]
pub(super) struct Chance(u64);

impl Chance {
    /// Other workers and services have other ones.
    pub(super) fn new(worker: usize, service: u32) -> Self {
        Self((worker as u64) << 32 | u64::from(service))
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(bound)) >> 64) as u64
    }
}

/// `ip_vs_twos_schedule`, whose numbers run from 0 to the sum of the weights, both included.
pub(super) fn two_choices(
    dests: &[Candidate],
    ask: &Ask<'_>,
    chance: &mut Chance,
) -> Option<DestId> {
    let usable = || dests.iter().filter(|c| ask.may(c));
    let total: u64 = usable().map(|c| u64::from(c.weight)).sum();
    let mut choose = || {
        let mut left = chance.below(total + 1);
        usable().find(|c| {
            let here = left <= u64::from(c.weight);
            left = left.saturating_sub(u64::from(c.weight));
            here
        })
    };
    let (first, second) = (choose()?, choose()?);
    let load = |a: &Candidate, b: &Candidate| u128::from(ask.overhead(a)) * u128::from(b.weight);
    let better = load(first, second) > load(second, first);
    Some(if better { second } else { first }.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::tests::asked;
    use crate::sched::tests::list;
    use crate::sched::tests::tuple;

    fn shares(weights: &[u32], loads: &[(u64, u64)]) -> Vec<u32> {
        let (dests, mut chance) = (list(weights), Chance::new(1, 2));
        let mut shares = vec![0; weights.len()];
        for _ in 0..100_000 {
            let pick = asked(&tuple(1), loads, |ask| two_choices(&dests, ask, &mut chance));
            shares[pick.unwrap().0 as usize] += 1;
        }
        shares
    }

    #[test]
    fn without_load_chance_goes_by_weight() {
        // Numbers 0 to 10: the first dest has 0 to 3 of them, the last 4 to 10.
        let shares = shares(&[3, 0, 7], &[]);
        assert!(shares[0].abs_diff(100_000 * 4 / 11) < 1000, "{shares:?}");
        assert_eq!(shares[1], 0);
    }

    #[test]
    fn the_loaded_one_is_taken_only_when_drawn_twice() {
        let shares = shares(&[1, 1], &[(9, 0), (0, 0)]);
        // 0 and 1 of 0 to 2, twice.
        assert!(shares[0].abs_diff(100_000 * 4 / 9) < 1000, "{shares:?}");
    }

    #[test]
    fn nobody_usable_nobody_chosen() {
        let mut chance = Chance::default();
        let dests = list(&[0]);
        assert_eq!(asked(&tuple(1), &[], |ask| two_choices(&dests, ask, &mut chance)), None);
    }
}
