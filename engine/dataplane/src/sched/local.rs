//! lblc and lblcr: what clients want has a dest, or a set of dests, that it goes to while they are not
//! overloaded, so that caches behind the director see the same again and again.
//!
//! The kernel grows its table and trims it once a minute (`ip_vs_lblc_check_expire`); a worker may
//! not allocate for a packet, so here a bucket has a fixed number of entries, of which the one unused
//! longest makes way.

use super::Ask;
use super::least;
use crate::service::Candidate;
use crate::service::DestId;
use crate::tick::Stamp;
use crate::tuple::Addr;
use arrayvec::ArrayVec;

/// Milliseconds after which an unused entry counts as gone, and after which an unchanged set gives its
/// most loaded dest up (sysctls `lblc_expiration` and `lblcr_expiration`, 24 h).
const EXPIRATION: u32 = 86_400_000;
/// The kernel's buckets (IP_VS_LBLC_TAB_SIZE) and the entries per bucket that it trims to.
const BUCKETS: usize = 1024;
const PER_BUCKET: usize = 16;
/// Dests in a set; one grows only while all that are in it are overloaded.
const SET: usize = 16;

/// Where an address that clients want goes. A dest that is in no service any more stands here still:
/// the kernel's comes back with it from the trash.
#[derive(Clone, Debug)]
struct Entry {
    wanted: Addr,
    used: Stamp,
    /// When the set last grew or shrank.
    changed: Stamp,
    /// The newest first; under lblc one alone.
    dests: ArrayVec<DestId, SET>,
}

/// A worker's memory of a service's addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct Locality {
    /// Buckets in a row; a place without dests is free.
    entries: Vec<Entry>,
}

impl Locality {
    /// For one address, or for any number of them.
    pub(super) fn new(many: bool) -> Self {
        let (used, changed) = (Stamp(0), Stamp(0));
        let free = Entry { wanted: Addr::UNSPECIFIED, used, changed, dests: ArrayVec::new() };
        Self { entries: vec![free; if many { BUCKETS * PER_BUCKET } else { 1 }] }
    }

    /// `ip_vs_lblc_schedule`: the address's dest, even where its thresholds say that it is full; or
    /// wlc's choice, which is remembered.
    pub(super) fn one(&mut self, dests: &[Candidate], ask: &Ask<'_>) -> Option<DestId> {
        let entry = self.entry(ask)?;
        let known = entry.dests.first().and_then(|id| find(dests, *id));
        let stays = |c: &&Candidate| ask.may_though_full(c) && !is_overloaded(c, dests, ask);
        if let Some(known) = known.filter(stays) {
            return Some(known.id);
        }
        let chosen = least::weighted(dests, ask)?;
        entry.dests.clear();
        entry.dests.push(chosen);
        Some(chosen)
    }

    /// `ip_vs_lblcr_schedule`: the least loaded of the address's dests; where that is overloaded,
    /// wlc's choice among all joins them.
    pub(super) fn set(&mut self, dests: &[Candidate], ask: &Ask<'_>) -> Option<DestId> {
        let entry = self.entry(ask)?;
        let known = |set: &[DestId]| -> ArrayVec<Candidate, SET> {
            set.iter().filter_map(|id| find(dests, *id).copied()).collect()
        };
        let members = known(&entry.dests);
        let best = least::weighted(&members, ask).and_then(|id| find(dests, id));
        if entry.dests.len() > 1 && ask.now.is_after(entry.changed.after(EXPIRATION)) {
            if let Some(most) = most_loaded(&members, ask) {
                entry.dests.retain(|id| *id != most);
            }
            entry.changed = ask.now;
        }
        if let Some(best) = best.filter(|c| !is_overloaded(c, dests, ask)) {
            return Some(best.id);
        }
        let chosen = least::weighted(dests, ask)?;
        if !entry.dests.contains(&chosen) {
            entry.dests.truncate(SET - 1);
            entry.dests.insert(0, chosen);
            entry.changed = ask.now;
        }
        Some(chosen)
    }

    /// The entry of what the client wants: its own, or the free or longest unused one of its bucket,
    /// emptied.
    fn entry(&mut self, ask: &Ask<'_>) -> Option<&mut Entry> {
        let wanted = ask.tuple.dst;
        let ways = self.entries.len().min(PER_BUCKET);
        // The better bits of a product are the upper ones.
        let hash = super::hashed::fold(wanted).wrapping_mul(0x9e37_79b1) as usize >> 16;
        let start = hash * ways % self.entries.len().max(1);
        let bucket = self.entries.get_mut(start..start + ways)?;
        let age = |e: &Entry| match e.dests.is_empty() {
            true => u32::MAX,
            false => ask.now.0.wrapping_sub(e.used.0),
        };
        let at = bucket.iter().position(|e| e.wanted == wanted && !e.dests.is_empty());
        let at = at.or_else(|| (0..bucket.len()).max_by_key(|at| age(&bucket[*at])))?;
        let entry = &mut bucket[at];
        if entry.wanted != wanted || age(entry) > EXPIRATION {
            entry.dests.clear();
        }
        (entry.wanted, entry.used) = (wanted, ask.now);
        Some(entry)
    }
}

fn find(dests: &[Candidate], id: DestId) -> Option<&Candidate> {
    dests.iter().find(|c| c.id == id)
}

/// More active conns than weight, while another has fewer than half its weight (`is_overloaded`).
fn is_overloaded(dest: &Candidate, dests: &[Candidate], ask: &Ask<'_>) -> bool {
    ask.active(dest) > u64::from(dest.weight)
        && dests.iter().any(|c| ask.active(c) * 2 < u64::from(c.weight))
}

/// The most overhead for its weight, the first of equals (`ip_vs_dest_set_max`).
fn most_loaded(members: &[Candidate], ask: &Ask<'_>) -> Option<DestId> {
    let loaded = members.iter().filter(|c| c.weight > 0).map(|c| (c, ask.overhead(c)));
    let most = loaded.reduce(|most, c| {
        let more = u128::from(most.1) * u128::from(c.0.weight)
            < u128::from(c.1) * u128::from(most.0.weight);
        if more { c } else { most }
    });
    most.map(|(c, _)| c.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::tests::asked;
    use crate::sched::tests::list;
    use crate::sched::tests::tuple;
    use crate::service::Limits;
    use crate::tuple::Tuple;

    /// What is asked at a second, of which address, under which load.
    fn at(
        seconds: u32,
        wanted: u32,
        loads: &[(u64, u64)],
        rule: impl FnOnce(&Ask<'_>) -> Option<DestId>,
    ) -> Option<u32> {
        let t = Tuple { dst: Addr::v4(wanted), ..tuple(1) };
        let now = Stamp(seconds * 1000);
        asked(&t, loads, |ask| rule(&Ask { now, ..*ask })).map(|d| d.0)
    }

    #[test]
    fn lblc_stays_until_its_dest_is_overloaded_and_another_idles() {
        let (dests, mut memory) = (list(&[2, 2]), Locality::new(true));
        assert_eq!(at(0, 7, &[(0, 0), (0, 0)], |a| memory.one(&dests, a)), Some(0));
        // wlc would choose the other one.
        assert_eq!(at(1, 7, &[(2, 0), (0, 0)], |a| memory.one(&dests, a)), Some(0));
        assert_eq!(at(2, 8, &[(2, 0), (0, 0)], |a| memory.one(&dests, a)), Some(1));
        // Overloaded, but nobody has fewer than half its weight.
        assert_eq!(at(3, 7, &[(3, 0), (1, 0)], |a| memory.one(&dests, a)), Some(0));
        assert_eq!(at(4, 7, &[(3, 0), (0, 0)], |a| memory.one(&dests, a)), Some(1));
        assert_eq!(at(5, 7, &[(0, 0), (0, 0)], |a| memory.one(&dests, a)), Some(1));
    }

    #[test]
    fn lblc_leaves_a_quiesced_dest_and_forgets_after_a_day() {
        let (dests, mut memory) = (list(&[1, 1]), Locality::new(false));
        assert_eq!(at(0, 7, &[], |a| memory.one(&dests, a)), Some(0));
        assert_eq!(at(86_400, 7, &[(1, 0)], |a| memory.one(&dests, a)), Some(0));
        assert_eq!(at(2 * 86_400 + 1, 7, &[(1, 0)], |a| memory.one(&dests, a)), Some(1));
        assert_eq!(at(2 * 86_400 + 2, 7, &[], |a| memory.one(&list(&[1, 0]), a)), Some(0));
        assert_eq!(at(2 * 86_400 + 3, 7, &[], |a| memory.one(&list(&[0, 0]), a)), None);
    }

    #[test]
    fn lblc_stays_with_a_full_dest_and_lblcr_does_not() {
        let (dests, limits) = (list(&[2, 2]), Limits { upper: 1, lower: 0 });
        let (mut one, mut set) = (Locality::new(false), Locality::new(false));
        assert_eq!(at(0, 7, &[], |a| one.one(&dests, a)), Some(0));
        assert_eq!(at(0, 7, &[], |a| set.set(&dests, a)), Some(0));
        let full = |rule: &mut dyn FnMut(&Ask<'_>) -> Option<DestId>| {
            at(1, 7, &[(1, 0), (0, 0)], |a| {
                a.loads.judge(0, limits);
                rule(a)
            })
        };
        assert_eq!(full(&mut |a| one.one(&dests, a)), Some(0));
        assert_eq!(full(&mut |a| set.set(&dests, a)), Some(1));
    }

    #[test]
    fn lblcr_lets_a_set_grow_under_load_and_shrink_after_a_day() {
        let (dests, mut memory) = (list(&[2, 2, 2]), Locality::new(false));
        let mut ask =
            |seconds, loads: &[(u64, u64)]| at(seconds, 7, loads, |a| memory.set(&dests, a));
        assert_eq!(ask(0, &[(0, 0), (0, 0), (0, 0)]), Some(0));
        assert_eq!(ask(1, &[(3, 0), (0, 0), (1, 0)]), Some(1));
        // The least loaded of the set, not of all.
        assert_eq!(ask(2, &[(2, 0), (1, 0), (0, 0)]), Some(1));
        assert_eq!(ask(3, &[(1, 0), (2, 0), (0, 0)]), Some(0));
        // After a day the most loaded one goes, which is still chosen a last time when it is the best.
        assert_eq!(ask(86_403, &[(1, 0), (2, 0), (0, 0)]), Some(0));
        assert_eq!(ask(86_404, &[(1, 0), (0, 0), (0, 0)]), Some(0));
    }

    #[test]
    fn a_full_bucket_forgets_what_was_unused_longest() {
        let (dests, mut memory) = (list(&[1, 1]), Locality::new(true));
        for n in 0..100_000 {
            assert_eq!(at(n, n, &[], |a| memory.one(&dests, a)), Some(0));
        }
        let used = memory.entries.iter().filter(|e| !e.dests.is_empty());
        assert!(used.clone().count() > BUCKETS * PER_BUCKET * 9 / 10);
        assert!(used.map(|e| e.used.0 / 1000).min() > Some(50_000));
    }

    #[test]
    fn a_dest_that_comes_back_has_its_addresses_again() {
        let (dests, mut memory) = (list(&[1, 1]), Locality::new(false));
        assert_eq!(at(0, 7, &[], |a| memory.set(&dests, a)), Some(0));
        assert_eq!(at(1, 7, &[], |a| memory.set(&dests[1..], a)), Some(1));
        assert_eq!(at(2, 7, &[(0, 0), (1, 0)], |a| memory.set(&dests, a)), Some(0));
    }
}
