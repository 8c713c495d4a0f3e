//! How frames go through the stage: in stretches. All of a stretch lie in the queues at once, and it
//! is carried to its end, through every hand-over, before the next one comes. Nothing else is done
//! in between, so that code and tables are as warm as those of a director at work.

use super::stage::Stage;
use crate::io::mem::MemFrame;
use pointsman_dataplane::frame::BURST;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::pipeline::TX_BURST;
use pointsman_dataplane::stats::WorkerStats;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::tuple::Tuple;
use pointsman_dataplane::verdict::DropReason;

/// Frames that wait at most.
pub(super) const BATCH: usize = 1024;
/// Frames that a turn may need for fragments and answers.
pub(super) const SPARE: usize = TX_BURST * 4;

/// Frames that wait together.
pub(super) struct Stretch {
    at: Tick,
    frames: usize,
    /// Rounds until the queues are empty.
    rounds: u32,
}

/// How far a stretch is: rounds of turns, and the worker that is next.
pub(super) struct Progress {
    round: u32,
    worker: usize,
}

/// What came of a round of a stretch: conns opened and frames dropped since the last that was told.
pub(super) struct Told {
    pub(super) stretch: u32,
    pub(super) round: u32,
    pub(super) opened: u64,
    pub(super) dropped: u64,
}

/// Where a frame was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Place {
    pub(super) stretch: u32,
    worker: u32,
    pub(super) round: u32,
}

/// A turn that dropped frames, for these reasons: bit n for number n.
pub(super) struct Drops {
    place: Place,
    reasons: u64,
}

impl Stage {
    /// What is injected from now on waits until all before it is through; it comes at `at`.
    pub(super) fn begin_stretch(&mut self, at: Tick) {
        self.stretches.push_back(Stretch { at, frames: 0, rounds: 0 });
        self.queued.fill(0);
    }

    /// The queue of a tuple, as a NIC with receive-side scaling has it, so that a flow keeps its queue.
    pub(super) fn queue(&self, tuple: &Tuple) -> usize {
        match self.workers.len() {
            1 => 0,
            queues => self.scaling.queue(tuple, queues),
        }
    }

    /// Lays a frame into a port's queue. Says where it will be received.
    pub(super) fn inject(&mut self, port: PortId, queue: usize, frame: MemFrame) -> Place {
        let queued = &mut self.queued[usize::from(port.0) * self.workers.len() + queue];
        let round = *queued / BURST as u32;
        *queued += 1;
        let stretch = self.stretch + self.stretches.len().saturating_sub(1) as u32;
        if let Some(last) = self.stretches.back_mut() {
            last.frames += 1;
            last.rounds = last.rounds.max(round + 1);
        }
        self.waiting.push_back((port, queue, frame));
        Place { stretch, worker: queue as u32, round }
    }

    /// Carries what waits to its end; what leaves is in `left`. False: that must be taken first, for
    /// there are few frames left.
    pub(super) fn run(&mut self) -> bool {
        while let Some(stretch) = self.stretches.front() {
            let (at, rounds) = (stretch.at, stretch.rounds);
            let mut progress = match self.under_way.take() {
                Some(progress) => progress,
                None => {
                    self.advance(at);
                    self.lay_out();
                    Progress { round: 0, worker: 0 }
                }
            };
            self.meter.begin_stretch();
            let through = self.measured(&mut progress, rounds);
            self.meter.end_stretch();
            if !through {
                self.under_way = Some(progress);
                return false;
            }
            self.stretches.pop_front();
            self.stretch += 1;
        }
        self.stretch = 0;
        true
    }

    /// Lays the next stretch into its queues.
    fn lay_out(&mut self) {
        let frames = self.stretches.front().map_or(0, |s| s.frames);
        for (port, queue, frame) in self.waiting.drain(..frames) {
            // A batch fits. A frame lost here would show in the law: fewer received than fed.
            drop(self.wires[usize::from(port.0)].inject(queue, frame));
        }
    }

    /// Rounds of turns until the queues are empty and nothing is on its way between workers; false
    /// where frames run short.
    fn measured(&mut self, progress: &mut Progress, rounds: u32) -> bool {
        loop {
            while progress.worker < self.workers.len() {
                if self.pool.available() < SPARE {
                    return false;
                }
                self.measured_turn(progress);
                progress.worker += 1;
            }
            self.tell(progress.round);
            (progress.worker, progress.round) = (0, progress.round + 1);
            if self.is_quiet() && progress.round >= rounds {
                return true;
            }
        }
    }

    fn measured_turn(&mut self, progress: &Progress) {
        let index = progress.worker;
        let before = dropped_by(&self.shared.stats[index]);
        let worker = &mut self.workers[index];
        self.meter.turn(|meter| worker.turn_with(self.now, meter));
        self.take(index);
        if dropped_by(&self.shared.stats[index]) == before {
            return;
        }
        let reasons = reasons(&self.shared.stats[index], &mut self.known[index]);
        let (stretch, worker) = (self.stretch, index as u32);
        self.drops.push(Drops { place: Place { stretch, worker, round: progress.round }, reasons });
    }

    /// Says what came of a round, and of the time before it.
    pub(super) fn tell(&mut self, round: u32) {
        let now = (self.opened(), self.dropped());
        let (opened, dropped) = (now.0 - self.told_so_far.0, now.1 - self.told_so_far.1);
        self.told_so_far = now;
        if opened + dropped > 0 {
            self.told.push(Told { stretch: self.stretch, round, opened, dropped });
        }
    }

    /// Reasons for which a frame that was received there may have been dropped: those of that turn,
    /// or, where it was handed over, of the stretch's turns.
    pub(super) fn reasons(&self, place: Place) -> u64 {
        let of = |is: &dyn Fn(&Place) -> bool| {
            let drops = self.drops.iter().filter(|d| is(&d.place));
            drops.fold(0, |all, d| all | d.reasons)
        };
        match of(&|p| *p == place) {
            0 => of(&|p| p.stretch == place.stretch),
            reasons => reasons,
        }
    }

    /// What was said of the batch is of the past.
    pub(super) fn forget(&mut self) {
        self.told.clear();
        self.drops.clear();
    }

    fn dropped(&self) -> u64 {
        self.stats().iter().map(dropped_by).sum()
    }
}

fn dropped_by(stats: &WorkerStats) -> u64 {
    stats.dropped.iter().map(|n| n.get()).sum()
}

/// Reasons for which more was dropped than is known.
pub(super) fn reasons(stats: &WorkerStats, known: &mut [u64; DropReason::COUNT]) -> u64 {
    let mut reasons = 0;
    for (reason, (counter, known)) in stats.dropped.iter().zip(known).enumerate() {
        reasons |= u64::from(counter.get() > *known) << reason;
        *known = counter.get();
    }
    reasons
}
