//! A worker: one thread that polls its queues, hands bursts to the pipeline and sends what comes
//! out of it.
//!
//! A turn takes at most one burst from each port's queue and one from the hand-over ring; time is
//! read once per turn. After each burst the outbox is emptied, so no frame waits in it. Every
//! `HOUSEKEEPING` turns, or millisecond when turns are rare, the worker looks after its mailbox,
//! expiry and published counters.

pub mod desk;
pub mod idle;
pub mod links;
pub mod published;

use crate::io::Driver;
use crate::io::Rx;
use crate::io::Tx;
use desk::Desk;
use hw::TscClock;
use idle::Backoff;
use idle::Idle;
use links::Links;
use pointsman_dataplane::conn::list::Sheet;
use pointsman_dataplane::frame::BURST;
use pointsman_dataplane::frame::Burst;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::pipeline::Outbox;
use pointsman_dataplane::pipeline::Pipeline;
use pointsman_dataplane::stats::WorkerStats;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::verdict::DropReason;
use std::sync::Arc;
use std::time::Duration;

/// Turns between two housekeepings.
const HOUSEKEEPING: u64 = 256;
/// The same in time, for workers that sleep between turns.
const HOUSEKEEPING_TIME: Duration = Duration::from_millis(1);

/// One port's queue pair of a worker.
pub struct Queues<D: Driver> {
    /// Frames come from here.
    pub rx: D::Rx,
    /// And leave by here.
    pub tx: D::Tx,
}

/// Looks on while a turn's bursts go through the pipeline. `()` sees nothing and costs nothing.
pub trait Probe {
    /// A burst of so many frames goes in; 0: of frames that another worker received.
    #[inline(always)]
    fn begin(&mut self, _frames: usize, _stats: &WorkerStats) {}

    /// It has gone through.
    #[inline(always)]
    fn end(&mut self, _stats: &WorkerStats) {}
}

impl Probe for () {}

/// A worker and all that is its own.
pub struct Worker<D: Driver> {
    index: usize,
    queues: Vec<Queues<D>>,
    pipeline: Pipeline<D::Frame>,
    pool: D::Pool,
    links: Arc<Links<D::Frame>>,
    burst: Burst<D::Frame>,
    /// Large, and workers are moved to their threads.
    out: Box<Outbox<D::Frame>>,
    turns: u64,
    began: Option<Tick>,
    last_turn: Tick,
    last_was_busy: bool,
    last_housekeeping: Tick,
    /// Conns being listed.
    listing: Option<Box<Sheet>>,
}

impl<D: Driver> Worker<D> {
    /// Worker `index` with a queue pair of each port, in the ports' order.
    pub fn new(
        index: usize,
        queues: Vec<Queues<D>>,
        pipeline: Pipeline<D::Frame>,
        pool: D::Pool,
        links: Arc<Links<D::Frame>>,
    ) -> Self {
        let out = Box::new(Outbox::new(queues.len(), links.mailboxes.len()));
        Self {
            index,
            queues,
            pipeline,
            pool,
            links,
            burst: Burst::new(),
            out,
            turns: 0,
            began: None,
            last_turn: Tick::default(),
            last_was_busy: false,
            last_housekeeping: Tick::default(),
            listing: None,
        }
    }

    /// Its pipeline, to be looked at between turns.
    pub fn pipeline(&self) -> &Pipeline<D::Frame> {
        &self.pipeline
    }

    /// Its queue pairs, in the ports' order, to be used between turns.
    pub fn queues(&mut self) -> &mut [Queues<D>] {
        &mut self.queues
    }

    /// Takes turns until the mailbox says stop.
    pub fn run(&mut self, clock: TscClock, idle: Idle) {
        let mut backoff = Backoff::new(idle);
        while !self.links.mailboxes[self.index].stopped() {
            let found = self.turn(Tick::from_nanos(clock.now_ns()));
            backoff.after(found).take();
        }
        // What the counters say at the end is what happened.
        self.links.published[self.index].publish(self.pipeline.stats());
    }

    /// One turn; says whether it found any frame. `now` must not go backwards.
    pub fn turn(&mut self, now: Tick) -> bool {
        self.turn_with(now, &mut ())
    }

    /// The same, watched.
    pub fn turn_with(&mut self, now: Tick, probe: &mut impl Probe) -> bool {
        self.account(now);
        let mut found = false;
        for port in 0..self.queues.len() {
            if self.queues[port].rx.recv(&mut self.burst) == 0 {
                continue;
            }
            found = true;
            let (burst, pool, out) = (&mut self.burst, &mut self.pool, &mut self.out);
            probe.begin(burst.len(), self.pipeline.stats());
            self.pipeline.process(PortId(port as u8), burst, now, pool, out);
            probe.end(self.pipeline.stats());
            self.flush();
        }
        found |= self.take_over(now, probe);
        let due = now.since(self.last_housekeeping) >= HOUSEKEEPING_TIME;
        if due || self.turns.is_multiple_of(HOUSEKEEPING) {
            found |= self.housekeeping(now);
        }
        self.last_was_busy = found;
        found
    }

    /// Time is counted when the next turn begins, which saves reading the clock twice.
    #[inline(always)]
    fn account(&mut self, now: Tick) {
        self.turns += 1;
        let began = *self.began.get_or_insert(now);
        let stats = self.pipeline.stats();
        stats.turns.add(1);
        stats.nanos.set(now.since(began).as_nanos() as u64);
        if self.last_was_busy {
            stats.busy_turns.add(1);
            stats.busy_nanos.add(now.since(self.last_turn).as_nanos() as u64);
        }
        self.last_turn = now;
    }

    fn take_over(&mut self, now: Tick, probe: &mut impl Probe) -> bool {
        let mut next = self.links.handover[self.index].pop();
        if next.is_none() {
            return false;
        }
        let mut taken = 0;
        probe.begin(0, self.pipeline.stats());
        while let Some(handed) = next {
            taken += 1;
            self.pipeline.take_over(handed, now, &mut self.pool, &mut self.out);
            next = if taken < BURST { self.links.handover[self.index].pop() } else { None };
        }
        probe.end(self.pipeline.stats());
        self.flush();
        true
    }

    #[cold]
    fn housekeeping(&mut self, now: Tick) -> bool {
        self.last_housekeeping = now;
        let links = Arc::clone(&self.links);
        let mailbox = &links.mailboxes[self.index];
        if let Some(snapshot) = mailbox.snapshot() {
            // The control thread keeps the old one until no worker has it, so nothing is freed
            // here.
            drop(self.pipeline.swap(snapshot));
        }
        // As many as there is room for at most: other workers may have closed that many meanwhile.
        for _ in 0..links.ended[self.index].capacity() {
            let Some(tuple) = links.ended[self.index].pop() else { break };
            self.pipeline.forget(&tuple);
        }
        let mut sent = 0;
        while sent < BURST {
            let Some((port, frame)) = mailbox.frame() else { break };
            sent += 1;
            self.pipeline.transmit(port, frame, &mut self.out);
        }
        self.flush();
        self.pipeline.housekeeping(now, &mut self.pool, &mut self.out);
        self.flush();
        links.published[self.index].publish(self.pipeline.stats());
        self.list(&links.desks[self.index], now) || sent > 0
    }

    /// Goes on with a listing, if there is one.
    fn list(&mut self, desk: &Desk, now: Tick) -> bool {
        let Some(mut sheet) = self.listing.take().or_else(|| desk.take()) else { return false };
        match self.pipeline.list(&mut sheet, now) {
            true => desk.give_back(sheet),
            false => self.listing = Some(sheet),
        }
        true
    }

    /// Empties the outbox. What a ring or queue has no room for is dropped by name, at once: a
    /// worker waits for nobody.
    fn flush(&mut self) {
        let stats = self.pipeline.stats();
        for (frames, queues) in self.out.tx().iter_mut().zip(&mut self.queues) {
            if frames.is_empty() {
                continue;
            }
            stats.sent.add(queues.tx.send(frames) as u64);
            stats.dropped[DropReason::TxFull as usize].add(frames.len() as u64);
            frames.clear();
        }
        for (frames, ring) in self.out.handover.iter_mut().zip(&self.links.handover) {
            for handed in frames.drain(..) {
                match ring.push(handed) {
                    Ok(()) => stats.handed_over.add(1),
                    Err(_) => stats.drop(DropReason::HandoverFull),
                }
            }
        }
        for frame in self.out.control.drain(..) {
            match self.links.control.push(frame) {
                Ok(()) => stats.to_control.add(1),
                Err(_) => stats.drop(DropReason::ControlFull),
            }
        }
        for (worker, tuple) in self.out.ended.drain(..) {
            // Lossy on purpose: the entry it would end has a timeout.
            let _ = self.links.ended[usize::from(worker)].push(tuple);
        }
        for ask in self.out.resolve.drain(..) {
            // Lossy on purpose: the next frame for that hop asks again.
            let _ = self.links.resolve.push(ask);
        }
        for news in self.out.learnt.drain(..) {
            // Lossy on purpose: the next packet that is too large is told of, too.
            let _ = self.links.learnt.push(news);
        }
    }
}
