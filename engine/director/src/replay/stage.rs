//! A director in memory, on one thread: workers and ports, made-up next hops, time by hand.
//!
//! Frames wait in stretches (`stretch`), which are run one after another.

use super::hops::Hops;
use super::meter::Meter;
use super::stretch::Drops;
use super::stretch::Progress;
use super::stretch::Stretch;
use super::stretch::Told;
use super::stretch::reasons;
use crate::io::mem::Mem;
use crate::io::mem::MemFrame;
use crate::io::mem::MemPool;
use crate::io::mem::MemWire;
use crate::worker::Worker;
use crate::worker::links::Links;
use pointsman_dataplane::conn::ConnId;
use pointsman_dataplane::conn::Conns;
use pointsman_dataplane::conn::Ends;
use pointsman_dataplane::frame::Frame;
use pointsman_dataplane::frame::Pool;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::pipeline::Shared;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::stats::WorkerStats;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::toeplitz::Toeplitz;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Tuple;
use pointsman_dataplane::verdict::DropReason;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The moment of the capture's first frame.
pub(super) const BEGIN: Tick = Tick::from_secs(1);

/// The longest frame the data plane takes (`parse`).
pub(super) const LONGEST: usize = u16::MAX as usize;
/// A frame may grow in its buffer by what a dest is told of its client.
pub(super) const GROWTH: usize = 256;
/// Between two housekeepings of a worker that has nothing else to do.
const NAP: Duration = Duration::from_millis(1);
/// Housekeepings a gap between two frames is worth at most.
const NAPS: u32 = 128;
/// Much less than the data plane can tell apart (`Stamp`).
const LONGEST_NAP: Duration = Duration::from_secs(86_400);

/// Workers, what joins them, and the time.
pub(super) struct Stage {
    pub(super) workers: Vec<Worker<Mem>>,
    /// By port.
    pub(super) wires: Vec<MemWire>,
    /// Frames that a port's mtu lets through, and longer ones, of which one is under way at most.
    pub(super) pool: MemPool,
    pub(super) long: MemPool,
    pub(super) room: usize,
    pub(super) links: Arc<Links<MemFrame>>,
    pub(super) shared: Arc<Shared>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) hops: Hops,
    pub(super) scaling: Toeplitz,
    pub(super) now: Tick,
    /// Frames that wait, with their port and queue, and the stretches they make.
    pub(super) waiting: VecDeque<(PortId, usize, MemFrame)>,
    pub(super) stretches: VecDeque<Stretch>,
    /// Frames of the last of these, by port and queue.
    pub(super) queued: Vec<u32>,
    /// Which stretch goes through, from 0, and how far that is: rounds of turns, and the worker that
    /// is next in it.
    pub(super) stretch: u32,
    pub(super) under_way: Option<Progress>,
    /// The highest tag that left so far.
    pub(super) highest: u64,
    /// What left and was not yet taken, in the order in which it left.
    pub(super) left: Vec<Left>,
    /// What came of the batch's rounds, and where frames were dropped in them.
    pub(super) told: Vec<Told>,
    pub(super) drops: Vec<Drops>,
    /// Drops by reason that were told, by worker.
    pub(super) known: Vec<[u64; DropReason::COUNT]>,
    /// Conns opened and frames dropped that were told.
    pub(super) told_so_far: (u64, u64),
    pub(super) meter: Meter,
}

/// A frame that left.
pub(super) struct Left {
    pub(super) port: usize,
    pub(super) at: Tick,
    /// In the order of what came, whatever worker had it; what the director made comes behind that.
    pub(super) order: (u64, bool),
    pub(super) frame: MemFrame,
}

impl Stage {
    /// A frame to be filled; none where it is too long: the pools have more frames than can be under
    /// way.
    pub(super) fn frame(&mut self, len: usize) -> Option<MemFrame> {
        let pool = if len <= self.longest() { &mut self.pool } else { &mut self.long };
        let mut frame = pool.alloc()?;
        frame.set_len(len).then_some(frame)
    }

    /// The longest frame of which many may wait.
    pub(super) fn longest(&self) -> usize {
        self.room - GROWTH / 2
    }

    /// Whoever sent a packet is there to be answered, so that no answer has to wait.
    pub(super) fn reach(&mut self, source: Addr) {
        if let Some((port, next)) = self.snapshot.routes.find(Addr::UNSPECIFIED, source) {
            self.hops.reach(port, next);
        }
    }

    /// Lets time pass until `to`, as idle workers do: conns expire, held frames go.
    pub(super) fn advance(&mut self, to: Tick) {
        let nap = (to.since(self.now) / NAPS).clamp(NAP, LONGEST_NAP);
        while to.since(self.now) > nap && self.has_work() {
            self.now = self.now + nap;
            self.idle();
        }
        self.now = self.now.max(to);
    }

    /// Lets what waits for a next hop go.
    pub(super) fn end(&mut self) {
        self.now = self.now + NAP;
        self.idle();
        self.tell(0);
    }

    /// The conn of a tuple, both tuples of it, wherever it lives.
    pub(super) fn conn(&self, tuple: &Tuple) -> Option<Ends> {
        let (conns, id) = self.find(tuple)?;
        Some(conns.ends(id))
    }

    /// How the packets of a tuple's conn get to its dest.
    pub(super) fn method(&self, tuple: &Tuple) -> Option<Forward> {
        let (conns, id) = self.find(tuple)?;
        Some(conns.get(id).forward())
    }

    fn find(&self, tuple: &Tuple) -> Option<(&Conns, ConnId)> {
        self.workers.iter().find_map(|w| {
            let conns = w.pipeline().conns();
            let (id, _) = conns.find(conns.hash(tuple), tuple)?;
            let conn = conns.get(id);
            let lives = conn.elsewhere().is_none() && !conn.expires().is_due(self.now.stamp());
            lives.then_some((conns, id))
        })
    }

    /// Bytes that a conn takes, its part of the index in it.
    pub(super) fn bytes_per_conn(&self, wide: bool, tracked: bool) -> f64 {
        let conns = self.workers.first().map(|w| w.pipeline().conns());
        conns.map_or(0.0, |c| c.bytes_per_conn(wide, tracked))
    }

    pub(super) fn workers(&self) -> usize {
        self.workers.len()
    }

    pub(super) fn opened(&self) -> u64 {
        self.stats().iter().map(|s| s.opened.get()).sum()
    }

    pub(super) fn stats(&self) -> &[WorkerStats] {
        &self.shared.stats
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Questions for next hops that found the table full.
    pub(super) fn hops_refused(&self) -> u64 {
        self.hops.refused()
    }

    /// Conns to expire or frames that wait.
    fn has_work(&self) -> bool {
        self.stats().iter().any(|s| s.conns.get() > 0 || s.held.get() > 0)
    }

    /// Turns of all workers until nothing is on its way between them.
    fn idle(&mut self) {
        loop {
            for index in 0..self.workers.len() {
                self.workers[index].turn(self.now);
                self.take(index);
            }
            if self.is_quiet() {
                break;
            }
        }
        // What is dropped while nothing is fed is of no frame of the next batch.
        for (stats, known) in self.shared.stats.iter().zip(&mut self.known) {
            reasons(stats, known);
        }
    }

    /// Takes what a worker sent.
    pub(super) fn take(&mut self, worker: usize) {
        let first = self.left.len();
        for (port, wire) in self.wires.iter().enumerate() {
            while let Some(frame) = wire.take(worker) {
                let order = (frame.tag(), false);
                self.highest = self.highest.max(frame.tag());
                self.left.push(Left { port, at: self.now, order, frame });
            }
        }
        for made in self.left[first..].iter_mut().filter(|l| l.order.0 == 0) {
            made.order = (self.highest, true);
        }
    }

    /// Answers for next hops; whether nothing is on its way between workers.
    pub(super) fn is_quiet(&mut self) -> bool {
        while let Some((port, addr)) = self.links.resolve.pop() {
            self.hops.reach(port, addr);
        }
        self.links.handover.iter().all(|ring| ring.is_empty())
    }
}
