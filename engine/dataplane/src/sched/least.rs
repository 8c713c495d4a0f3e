//! lc and wlc: the dest with the least overhead, 256 x active + inactive conns
//! (`ip_vs_dest_conn_overhead`). Ties go to the first in the list.

use super::Ask;
use crate::service::Candidate;
use crate::service::DestId;

fn overhead(c: &Candidate, ask: &Ask<'_>) -> u64 {
    let dest = c.id.0 as usize;
    (ask.loads.sum(dest, |s| &s.active) << 8).wrapping_add(ask.loads.sum(dest, |s| &s.inactive))
}

/// `ip_vs_lc_schedule`.
pub(super) fn connections(dests: &[Candidate], ask: &Ask<'_>) -> Option<DestId> {
    let usable = dests.iter().filter(|c| ask.may(c));
    // `min_by_key` keeps the first of equals.
    usable.min_by_key(|c| overhead(c, ask)).map(|c| c.id)
}

/// `ip_vs_wlc_schedule`: least overhead / weight, compared crosswise without division.
pub(super) fn weighted(dests: &[Candidate], ask: &Ask<'_>) -> Option<DestId> {
    let mut least: Option<(&Candidate, u64)> = None;
    for c in dests.iter().filter(|c| ask.may(c)) {
        let load = overhead(c, ask);
        let better = least.is_none_or(|(best, best_load)| {
            best_load as u128 * c.weight as u128 > load as u128 * best.weight as u128
        });
        if better {
            least = Some((c, load));
        }
    }
    least.map(|(c, _)| c.id)
}
