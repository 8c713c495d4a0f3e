//! rr and wrr, and what a worker remembers of a service from pick to pick.

use super::Ask;
use super::Sched;
use super::chance;
use super::chance::Chance;
use super::gcd;
use super::local::Locality;
use crate::service::Candidate;
use crate::service::DestId;
use crate::service::Scope;
use crate::service::Service;

/// Where a service's rounds stand. Belongs to one worker and outlives snapshots.
#[derive(Clone, Debug, Default)]
pub struct Position {
    /// The service's version this was made for.
    version: Option<u32>,
    /// Place in the list of the dest chosen last; none stands for the list's head.
    last: Option<usize>,
    /// wrr's current weight, and what it computes from the weights (`struct ip_vs_wrr_mark`).
    cw: u32,
    mw: u32,
    di: u32,
    /// twos'.
    chance: Chance,
    /// lblc's and lblcr's.
    locality: Locality,
}

impl Position {
    /// Takes up a change of the dests, from `old` to `new`, once per version. The kernel's rules:
    /// rr stays behind the dest chosen last, or the one before it where that is gone
    /// (`ip_vs_rr_del_dest`); wrr goes to the head and recomputes (`ip_vs_wrr_dest_changed`).
    /// `place` tells where in the new list a dest is.
    /// `worker` of `workers` begins a new service elsewhere in the list, so that several workers
    /// do not all send their first conns to the same dest.
    pub fn follow(
        &mut self,
        old: Option<&Service>,
        (service, place): (&Service, &impl Fn(DestId) -> Option<usize>),
        (worker, workers): (usize, usize),
    ) {
        if self.version == Some(service.version) {
            return;
        }
        if self.version.is_none() {
            self.chance = Chance::new(worker, service.id.0);
        }
        self.follow_locality(old, service);
        self.version = Some(service.version);
        let new = &service.dests[..];
        self.last = match (old, &service.sched) {
            // One before where the worker's first turn shall be.
            (None, _) if worker > 0 && !new.is_empty() => {
                Some((new.len() * worker / workers + new.len() - 1) % new.len())
            }
            (None, _) | (_, Sched::Wrr) => None,
            (Some(old), _) => {
                let before = self.last.and_then(|l| old.dests.get(..=l)).unwrap_or(&[]);
                before.iter().rev().find_map(|c| place(c.id))
            }
        };
        self.di = new.iter().filter(|c| c.weight > 0).fold(0, |g, c| gcd(c.weight, g)).max(1);
        let max = new.iter().map(|c| c.weight).max().unwrap_or(0);
        self.mw = max.saturating_sub(self.di - 1);
        if old.is_none() {
            // The kernel gets dests one by one: with the first there is one level, the lowest, and
            // there it stays until the first round has ended.
            self.cw = self.mw.min(1);
        } else if self.cw > self.mw || self.cw == 0 {
            self.cw = self.mw;
        } else if self.di > 1 {
            self.cw = (self.cw / self.di) * self.di + 1;
        }
    }

    /// `ip_vs_rr_schedule`: the next usable dest after the last one, at most once round.
    pub(super) fn round_robin(&mut self, dests: &[Candidate], ask: &Ask<'_>) -> Option<DestId> {
        let start = self.last.map_or(0, |l| l + 1).min(dests.len());
        let at = (start..dests.len()).chain(0..start).find(|i| ask.may(&dests[*i]))?;
        self.last = Some(at);
        Some(dests[at].id)
    }

    /// A service that begins with lblc or lblcr, or changes to it, knows nothing yet.
    fn follow_locality(&mut self, old: Option<&Service>, service: &Service) {
        let same = old.is_some_and(|old| old.sched == service.sched);
        self.locality = match &service.sched {
            Sched::Lblc | Sched::Lblcr if same => core::mem::take(&mut self.locality),
            Sched::Lblc | Sched::Lblcr => Locality::new(service.scope != Scope::Address),
            _ => Locality::default(),
        };
    }

    /// `ip_vs_lblc_schedule` and `ip_vs_lblcr_schedule`.
    pub(super) fn local(
        &mut self,
        sched: &Sched,
        dests: &[Candidate],
        ask: &Ask<'_>,
    ) -> Option<DestId> {
        match sched {
            Sched::Lblc => self.locality.one(dests, ask),
            _ => self.locality.set(dests, ask),
        }
    }

    /// `ip_vs_twos_schedule`.
    pub(super) fn two_choices(&mut self, dests: &[Candidate], ask: &Ask<'_>) -> Option<DestId> {
        chance::two_choices(dests, ask, &mut self.chance)
    }

    /// `ip_vs_wrr_schedule`: goes on from the last dest and takes one whose weight is at least
    /// `cw`; at the list's end `cw` falls by `di`, and begins at `mw` again.
    pub(super) fn weighted(&mut self, dests: &[Candidate], ask: &Ask<'_>) -> Option<DestId> {
        if self.mw == 0 || !dests.iter().any(|c| ask.may(c)) {
            return None;
        }
        let mut at = self.last;
        // Every level of cw is one round; a usable dest has a weight of at least one level.
        loop {
            let next = at.map_or(0, |a| a + 1);
            if next >= dests.len() {
                at = None;
                self.cw = if self.cw > self.di { self.cw - self.di } else { self.mw };
                // Down to the greatest usable weight at once: levels above it pick nothing.
                let top = dests.iter().filter(|c| ask.may(c)).map(|c| c.weight).max()?;
                if self.cw > top {
                    self.cw -= (self.cw - top).div_ceil(self.di) * self.di;
                }
                continue;
            }
            at = Some(next);
            if dests[next].weight >= self.cw && ask.may(&dests[next]) {
                self.last = at;
                return Some(dests[next].id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::tests::list;
    use crate::service::Forward;
    use crate::service::ServiceId;
    use crate::stats::DestBlocks;
    use crate::tuple::Addr;
    use crate::tuple::Proto;
    use crate::tuple::Tuple;

    const TUPLE: Tuple =
        Tuple { src: Addr::v4(1), dst: Addr::v4(2), sport: 3, dport: 4, proto: Proto::Tcp };

    fn picks(p: &mut Position, dests: &[Candidate], n: usize, wrr: bool) -> Vec<Option<u32>> {
        let loads = DestBlocks::new(1, 8);
        let now = crate::tick::Stamp(0);
        let ask = Ask { tuple: &TUPLE, loads: &loads, barred: &[], now };
        let one = |p: &mut Position| match wrr {
            true => p.weighted(dests, &ask),
            false => p.round_robin(dests, &ask),
        };
        (0..n).map(|_| one(p).map(|d| d.0)).collect()
    }

    fn service(version: u32, sched: Sched, dests: &[Candidate]) -> Service {
        Service {
            id: ServiceId(0),
            proto: Proto::Tcp,
            addr: Addr::v4(2),
            port: 4,
            scope: Scope::Address,
            forward: Forward::Nat,
            methods: crate::service::Methods::default(),
            pool: None,
            proxy_in: Vec::new(),
            terms: crate::service::Terms::default(),
            sched,
            dests: dests.to_vec(),
            version,
        }
    }

    fn follow(p: &mut Position, old: Option<&Service>, new: &Service, share: (usize, usize)) {
        let place = |id| new.dests.iter().position(|c| c.id == id);
        p.follow(old, (new, &place), share);
    }

    fn begin(sched: Sched, dests: &[Candidate]) -> Position {
        let mut p = Position::default();
        follow(&mut p, None, &service(1, sched, dests), (0, 1));
        p
    }

    #[test]
    fn rr_goes_round_and_skips_the_quiesced() {
        let dests = list(&[1, 0, 5]);
        let mut p = begin(Sched::Rr, &dests);
        assert_eq!(picks(&mut p, &dests, 4, false), [0, 2, 0, 2].map(Some));
        let none = list(&[0, 0]);
        assert_eq!(picks(&mut begin(Sched::Rr, &none), &none, 1, false), [None]);
        assert_eq!(picks(&mut begin(Sched::Rr, &[]), &[], 1, false), [None]);
    }

    #[test]
    fn rr_stays_behind_the_last_one_over_a_change() {
        let dests = list(&[1, 1, 1, 1]);
        let mut p = begin(Sched::Rr, &dests);
        picks(&mut p, &dests, 2, false);
        // Dest 1, the last one chosen, goes: its predecessor 0 stands in, so 2 is next.
        let fewer: Vec<_> = dests.iter().copied().filter(|c| c.id.0 != 1).collect();
        let old = service(1, Sched::Rr, &dests);
        follow(&mut p, Some(&old), &service(2, Sched::Rr, &fewer), (0, 1));
        assert_eq!(picks(&mut p, &fewer, 3, false), [2, 3, 0].map(Some));
    }

    #[test]
    fn the_same_version_changes_nothing() {
        for (sched, wrr) in [(Sched::Rr, false), (Sched::Wrr, true)] {
            let dests = list(&[1, 1, 1]);
            let mut p = begin(sched.clone(), &dests);
            picks(&mut p, &dests, 1, wrr);
            let same = service(1, sched, &dests);
            follow(&mut p, Some(&same), &same, (0, 1));
            assert_eq!(picks(&mut p, &dests, 1, wrr), [Some(1)]);
        }
    }

    #[test]
    fn wrr_begins_at_the_head_after_a_change() {
        let dests = list(&[2, 1, 1]);
        let mut p = begin(Sched::Wrr, &dests);
        assert_eq!(picks(&mut p, &dests, 6, true), [0, 1, 2, 0, 0, 1].map(Some));
        let old = service(1, Sched::Wrr, &dests);
        follow(&mut p, Some(&old), &service(2, Sched::Wrr, &dests), (0, 1));
        // cw stays at 1, the pointer is at the head.
        assert_eq!(picks(&mut p, &dests, 3, true), [0, 1, 2].map(Some));
    }

    #[test]
    fn workers_begin_at_different_places() {
        let dests = list(&[1, 1, 1, 1]);
        let first = |worker| {
            let mut p = Position::default();
            follow(&mut p, None, &service(1, Sched::Rr, &dests), (worker, 2));
            picks(&mut p, &dests, 1, false)[0]
        };
        assert_eq!((first(0), first(1)), (Some(0), Some(2)));
    }

    /// The LVS documentation's example: weights 4, 3, 2 give A A B A B C A B C.
    #[test]
    fn wrr_interleaves() {
        let dests = list(&[4, 3, 2]);
        let expected = [0, 0, 1, 0, 1, 2, 0, 1, 2].map(Some);
        let mut p = begin(Sched::Wrr, &dests);
        assert_eq!(picks(&mut p, &dests, 3, true), [0, 1, 2].map(Some));
        assert_eq!(picks(&mut p, &dests, 9, true), expected);
        assert_eq!(picks(&mut p, &dests, 9, true), expected);
    }

    #[test]
    fn wrr_with_a_common_divisor() {
        let dests = list(&[4, 2]);
        let mut p = begin(Sched::Wrr, &dests);
        assert_eq!(picks(&mut p, &dests, 6, true), [0, 1, 0, 0, 1, 0].map(Some));
    }

    #[test]
    fn wrr_with_nobody() {
        let dests = list(&[0, 0]);
        assert_eq!(picks(&mut begin(Sched::Wrr, &dests), &dests, 1, true), [None]);
    }
}
