//! Between bursts: bounded work that keeps the tables true.

use super::Core;
use super::Turn;
use super::out;
use crate::conn::ConnId;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::neigh::HopState;
use crate::tick::Tick;
use crate::verdict::DropReason;
use arrayvec::ArrayVec;

/// Conns closed per call at most.
pub const MAX_CLOSED: usize = 32;
/// Lines looked at per call at most: about 20 us.
pub const MAX_SWEPT: u64 = 8192;
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
        self.expire(t);
    }

    /// Frames whose next hop has answered go; those whose next hop is dead are dropped.
    #[cold]
    fn release<P: Pool<Frame = F>>(&mut self, t: &mut Turn<'_, F, P>) {
        self.held.review(|w| {
            let hop = t.neighbours.find(w.port, w.addr);
            match hop.map_or(HopState::Incomplete, |h| t.neighbours.get(h).1) {
                HopState::Reachable(mac) => {
                    out::send_fitting(t, w.frame, w.l3, w.port, mac);
                    None
                }
                HopState::Incomplete => {
                    // The control thread may have lost the question.
                    if hop.is_none() {
                        t.out.ask(w.port, w.addr);
                    }
                    Some(w)
                }
                HopState::Dead | HopState::Gone => {
                    t.stats.drop(DropReason::NeighbourDead);
                    None
                }
            }
        });
        t.stats.held.set(self.held.len() as u64);
    }

    fn expire<P>(&mut self, t: &mut Turn<'_, F, P>) {
        let elapsed = t.now.since(self.upkeep.last).as_nanos().min(SWEEP_NANOS as u128) as u64;
        self.upkeep.last = t.now;
        let whole = self.conns.sweep_len() as u64;
        self.upkeep.debt = (self.upkeep.debt + elapsed * whole).min(whole * SWEEP_NANOS);
        let quota = (self.upkeep.debt / SWEEP_NANOS).min(MAX_SWEPT);
        if quota == 0 {
            return;
        }
        self.upkeep.debt -= quota * SWEEP_NANOS;
        let mut due = ArrayVec::<ConnId, MAX_CLOSED>::new();
        self.conns.sweep(t.stamp, quota as usize, &mut due);
        for id in due {
            self.close(t, id);
        }
    }
}
