//! lc, wlc, sed and nq: the dest with the least load. Ties go to the first in the list.

use super::Ask;
use crate::service::Candidate;
use crate::service::DestId;

/// `ip_vs_lc_schedule`.
pub(super) fn connections(dests: &[Candidate], ask: &Ask<'_>) -> Option<DestId> {
    let usable = dests.iter().filter(|c| ask.may(c));
    // `min_by_key` keeps the first of equals.
    usable.min_by_key(|c| ask.overhead(c)).map(|c| c.id)
}

/// `ip_vs_wlc_schedule`: least overhead / weight.
pub(super) fn weighted(dests: &[Candidate], ask: &Ask<'_>) -> Option<DestId> {
    by_weight(dests.iter().filter(|c| ask.may(c)), |c| ask.overhead(c))
}

/// `ip_vs_sed_schedule`: least (active + 1) / weight, the expected delay of the next conn.
pub(super) fn expected_delay(dests: &[Candidate], ask: &Ask<'_>) -> Option<DestId> {
    by_weight(dests.iter().filter(|c| ask.may(c)), |c| ask.active(c) + 1)
}

/// `ip_vs_nq_schedule`: the first dest without active conns, else as sed.
pub(super) fn never_queue(dests: &[Candidate], ask: &Ask<'_>) -> Option<DestId> {
    let idle = dests.iter().find(|c| ask.may(c) && ask.active(c) == 0);
    idle.map(|c| c.id).or_else(|| expected_delay(dests, ask))
}

/// The least load / weight, compared crosswise without division.
pub(super) fn by_weight<'a>(
    dests: impl Iterator<Item = &'a Candidate>,
    load: impl Fn(&Candidate) -> u64,
) -> Option<DestId> {
    let loaded = dests.map(|c| (c, load(c)));
    let least = loaded.reduce(|best, c| {
        let better = u128::from(best.1) * u128::from(c.0.weight)
            > u128::from(c.1) * u128::from(best.0.weight);
        if better { c } else { best }
    });
    least.map(|(c, _)| c.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::tests::asked;
    use crate::sched::tests::list;
    use crate::sched::tests::tuple;

    type Rule = fn(&[Candidate], &Ask<'_>) -> Option<DestId>;

    fn pick(rule: Rule, weights: &[u32], loads: &[(u64, u64)]) -> Option<u32> {
        asked(&tuple(1), loads, |ask| rule(&list(weights), ask)).map(|d| d.0)
    }

    #[test]
    fn an_active_conn_weighs_as_256_inactive_ones() {
        for rule in [connections, weighted] {
            assert_eq!(pick(rule, &[1, 1], &[(1, 0), (0, 255)]), Some(1));
            assert_eq!(pick(rule, &[1, 1], &[(1, 0), (0, 257)]), Some(0));
            assert_eq!(pick(rule, &[1, 1], &[(1, 0), (0, 256)]), Some(0));
        }
    }

    #[test]
    fn wlc_goes_by_weight_and_lc_does_not() {
        assert_eq!(pick(weighted, &[1, 3], &[(1, 0), (2, 0)]), Some(1));
        assert_eq!(pick(connections, &[1, 3], &[(1, 0), (2, 0)]), Some(0));
    }

    #[test]
    fn sed_counts_the_conn_to_come_and_no_inactive_ones() {
        assert_eq!(pick(expected_delay, &[1, 2], &[(0, 0), (0, 500)]), Some(1));
        assert_eq!(pick(expected_delay, &[1, 2], &[(0, 0), (1, 0)]), Some(0));
        assert_eq!(pick(expected_delay, &[0, 0], &[]), None);
    }

    #[test]
    fn nq_takes_the_first_idle_dest_however_slow() {
        assert_eq!(pick(never_queue, &[1, 9], &[(0, 7), (0, 0)]), Some(0));
        assert_eq!(pick(never_queue, &[0, 1, 9], &[(0, 0), (1, 0), (1, 0)]), Some(2));
        assert_eq!(pick(never_queue, &[0], &[(0, 0)]), None);
    }
}
