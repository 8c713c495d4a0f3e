//! fo and ovf: the dest of the highest weight that is usable. Of equals the first in the list.

use super::Ask;
use crate::service::Candidate;
use crate::service::DestId;

/// `ip_vs_fo_schedule`.
pub(super) fn failover(dests: &[Candidate], ask: &Ask<'_>) -> Option<DestId> {
    highest(dests.iter().filter(|c| ask.may(c)))
}

/// `ip_vs_ovf_schedule`: a dest is full when it has more active conns than its weight.
pub(super) fn overflow(dests: &[Candidate], ask: &Ask<'_>) -> Option<DestId> {
    highest(dests.iter().filter(|c| ask.may(c) && ask.active(c) <= u64::from(c.weight)))
}

fn highest<'a>(dests: impl Iterator<Item = &'a Candidate>) -> Option<DestId> {
    // `max_by_key` would keep the last of equals.
    dests.reduce(|best, c| if c.weight > best.weight { c } else { best }).map(|c| c.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::tests::asked;
    use crate::sched::tests::list;
    use crate::sched::tests::tuple;

    #[test]
    fn fo_takes_the_highest_weight_and_the_first_of_equals() {
        let pick = |weights: &[u32]| asked(&tuple(1), &[], |ask| failover(&list(weights), ask));
        assert_eq!(pick(&[1, 5, 5, 2]), Some(DestId(1)));
        assert_eq!(pick(&[0, 0]), None);
    }

    #[test]
    fn ovf_goes_on_when_a_dest_has_more_active_conns_than_weight() {
        let dests = list(&[1, 3, 2]);
        let pick = |loads: &[(u64, u64)]| asked(&tuple(1), loads, |ask| overflow(&dests, ask));
        assert_eq!(pick(&[]), Some(DestId(1)));
        assert_eq!(pick(&[(0, 0), (3, 100), (0, 0)]), Some(DestId(1)));
        assert_eq!(pick(&[(0, 0), (4, 0), (0, 0)]), Some(DestId(2)));
        assert_eq!(pick(&[(2, 0), (4, 0), (3, 0)]), None);
    }
}
