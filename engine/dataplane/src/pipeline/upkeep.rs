//! Between bursts: bounded work that keeps the tables true.

use super::Core;
use super::Turn;
use super::out;
use super::outbox::ENDED;
use crate::conn::ConnId;
use crate::conn::Place;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::laddr::PairId;
use crate::neigh::HopState;
use crate::tick::Tick;
use crate::verdict::DropReason;
use arrayvec::ArrayVec;

/// Conns closed per call at most: about 40 us.
pub const MAX_CLOSED: usize = 512;
/// And at a time.
const BATCH: usize = 32;
/// So many conns before what a question is answered by is read, it is asked for: of more than some
/// twenty lines under way processors forget some (`conn::ahead`).
const AHEAD: usize = 4;
/// Lines looked at per call at most: about 20 us.
pub const MAX_SWEPT: u64 = 8192;
/// Lease pairs given up per call at most.
const MAX_PAIRS: usize = 4;
/// Every line is looked at once in this time, as far as `MAX_SWEPT` allows.
const SWEEP_NANOS: u64 = 1_000_000_000;

/// What remains from call to call.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    last: Tick,
    /// Lines that should have been looked at by now, in billionths.
    debt: u64,
}

impl<F: Frame> Core<F> {
    pub(super) fn housekeeping<P: Pool<Frame = F>>(&mut self, t: &mut Turn<'_, F, P>) {
        if self.held.len() > 0 {
            self.release(t);
        }
        if let Some(frame) = self.fragments.expire(t.stamp) {
            drop(frame);
            t.stats.drop(DropReason::FragmentOrphan);
            self.count_held(t);
        }
        self.introduce_again(t);
        self.expire(t);
        self.expire_templates(t);
        self.defend(t);
        self.watch_conns(t);
        self.leases.give_up(t.stamp, MAX_PAIRS);
    }

    /// Frames whose next hop has answered go; those whose next hop is dead are dropped.
    #[cold]
    fn release<P: Pool<Frame = F>>(&mut self, t: &mut Turn<'_, F, P>) {
        self.held.review(|w| {
            let hop = t.neighbours.find(w.port, w.addr);
            match hop.map_or(HopState::Incomplete, |h| t.neighbours.get(h).1) {
                // More wait than one call may send.
                HopState::Reachable(_) if !t.out.has_room(w.port) => Some(w),
                HopState::Reachable(mac) => {
                    out::send_fitting(t, w.frame, w.l3, w.port, mac);
                    None
                }
                HopState::Incomplete if !w.until.is_due(t.stamp) => {
                    // The control thread may have lost the question.
                    if hop.is_none() {
                        t.out.ask(w.port, w.addr);
                    }
                    Some(w)
                }
                _ => {
                    t.stats.drop(DropReason::NeighbourDead);
                    None
                }
            }
        });
        self.count_held(t);
    }

    fn expire<P: Pool<Frame = F>>(&mut self, t: &mut Turn<'_, F, P>) {
        let elapsed = t.now.since(self.upkeep.last).as_nanos().min(SWEEP_NANOS as u128) as u64;
        self.upkeep.last = t.now;
        let whole = self.conns.sweep_len() as u64;
        self.upkeep.debt = (self.upkeep.debt + elapsed * whole).min(whole * SWEEP_NANOS);
        let mut quota = (self.upkeep.debt / SWEEP_NANOS).min(MAX_SWEPT);
        for _ in 0..MAX_CLOSED / BATCH {
            // Who sent conns here must hear of their end, and so must some conns' ends: the rest
            // waits for an emptied outbox.
            if quota == 0 || t.out.ended.len() > ENDED / 2 || t.out.is_crowded() {
                return;
            }
            let swept = self.sweep(t, quota as usize) as u64;
            // Only what was looked at is paid.
            self.upkeep.debt -= swept * SWEEP_NANOS;
            quota -= swept;
        }
    }

    /// Looks at up to `quota` lines, closes at most a batch, and tells how many were looked at.
    pub(super) fn sweep<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        quota: usize,
    ) -> usize {
        let mut due = ArrayVec::<ConnId, BATCH>::new();
        let mut places = [[Place::default(); 2]; BATCH];
        let mut pairs = [None::<PairId>; BATCH];
        let swept = self.conns.sweep(t.stamp, quota, &mut due);
        // A window moves over them: what each step reads was asked for by the one before.
        for n in 0..due.len() + 3 * AHEAD {
            let after = |steps: usize| {
                let n = n.wrapping_sub(steps * AHEAD);
                due.get(n).map(|id| (*id, n % BATCH))
            };
            if let Some((id, n)) = after(0) {
                self.conns.prefetch_end(id, &mut places[n]);
            }
            if let Some((id, n)) = after(1) {
                pairs[n] = self.conns.prefetch_rest(id, &mut places[n]);
                if let Some(pair) = pairs[n] {
                    self.leases.prefetch(pair);
                }
            }
            if let Some((_, n)) = after(2)
                && let Some(pair) = pairs[n]
            {
                self.leases.prefetch_idle(pair);
            }
            // A control conn takes the data conn along that it has announced.
            if let Some((id, n)) = after(3)
                && self.conns.live(id.0).is_some()
                && self.runs_out(t, id)
            {
                self.close_at(t, id, places[n]);
            }
        }
        swept
    }
}
