//! A director in memory, on one thread: workers and ports, made-up next hops, time by hand.
//!
//! Frames go through in batches, as they would come from queues; each batch is carried to its end,
//! through every hand-over, before the next comes.

use super::hops;
use super::hops::Hops;
use super::meter::Meter;
use crate::control::snapshot::Builder;
use crate::control::snapshot::Inputs;
use crate::control::snapshot::PortFacts;
use crate::io::mem;
use crate::io::mem::Mem;
use crate::io::mem::MemFrame;
use crate::io::mem::MemPool;
use crate::io::mem::MemWire;
use crate::worker::Queues;
use crate::worker::Worker;
use crate::worker::links::Links;
use pointsman_config::Config;
use pointsman_dataplane::conn::ConnId;
use pointsman_dataplane::conn::Conns;
use pointsman_dataplane::conn::Ends;
use pointsman_dataplane::frame::Frame;
use pointsman_dataplane::frame::Pool;
use pointsman_dataplane::isn::Numbers;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::pipeline::HELD_IN_ALL;
use pointsman_dataplane::pipeline::Pipeline;
use pointsman_dataplane::pipeline::Setup;
use pointsman_dataplane::pipeline::Shared;
use pointsman_dataplane::pipeline::TX_BURST;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::stats::WorkerStats;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::toeplitz::COMMON_KEY;
use pointsman_dataplane::toeplitz::Toeplitz;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Tuple;
use pointsman_dataplane::verdict::DropReason;
use std::sync::Arc;
use std::time::Duration;

/// The moment of the capture's first frame.
pub(super) const BEGIN: Tick = Tick::from_secs(1);

/// Keys of hashes. Fixed, so that the same capture gives the same output; nobody waits for a
/// replay, so nobody gains by choosing colliding tuples.
const KEYS: [u64; 4] =
    [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0x2545_f491_4f6c_dd1d];
/// The longest frame the data plane takes (`parse`).
pub(super) const LONGEST: usize = u16::MAX as usize;
/// Frames for the batch under way, its fragments and its answers.
const UNDER_WAY: usize = TX_BURST * 2;
/// Between two housekeepings of a worker that has nothing else to do.
const NAP: Duration = Duration::from_millis(1);
/// Housekeepings a gap between two frames is worth at most.
const NAPS: u32 = 128;
/// Much less than the data plane can tell apart (`Stamp`).
const LONGEST_NAP: Duration = Duration::from_secs(86_400);

/// Workers, what joins them, and the time.
pub(super) struct Stage {
    workers: Vec<Worker<Mem>>,
    /// By port.
    wires: Vec<MemWire>,
    pool: MemPool,
    links: Arc<Links<MemFrame>>,
    shared: Arc<Shared>,
    snapshot: Arc<Snapshot>,
    hops: Hops,
    scaling: Toeplitz,
    now: Tick,
    /// What left and was not yet taken.
    pub(super) left: Vec<Left>,
    pub(super) meter: Meter,
}

/// A frame that left.
pub(super) struct Left {
    pub(super) port: usize,
    pub(super) at: Tick,
    pub(super) frame: MemFrame,
}

impl Stage {
    /// A director of `config` with that many workers.
    ///
    /// # Errors
    /// In words: the configuration cannot be served, or there is no memory for its conns.
    pub(super) fn new(config: &Config, workers: usize) -> Result<Self, String> {
        let mut config = config.clone();
        config.director.neighbours = hops::ROOM;
        let shared = crate::serve::shared(&config, workers, KEYS[0]);
        let mut hops = Hops::new(Arc::clone(&shared.neighbours));
        let snapshot = Arc::new(snapshot(&config, &shared, &mut hops)?);
        let links = Links::new(workers);
        let pool = MemPool::new(HELD_IN_ALL * workers + UNDER_WAY, LONGEST);
        let mut wires = Vec::new();
        let mut queues: Vec<Vec<Queues<Mem>>> = (0..workers).map(|_| Vec::new()).collect();
        for port in 0..config.ports.len() {
            let (_, rx, tx, wire) = mem::port(port_mac(port), workers, TX_BURST);
            wires.push(wire);
            for (queues, (rx, tx)) in queues.iter_mut().zip(rx.into_iter().zip(tx)) {
                queues.push(Queues { rx, tx });
            }
        }
        let conns = (config.director.conns as usize).div_ceil(workers);
        let worker = |(worker, queues): (usize, Vec<Queues<Mem>>)| {
            let numbers = Numbers::new([1, 2], 0);
            let setup = Setup { worker, workers, conns, secret: KEYS, port_order: None, numbers };
            let pipeline = Pipeline::new(setup, Arc::clone(&shared), Arc::clone(&snapshot));
            let pipeline = pipeline
                .map_err(|e| format!("no memory for {conns} conns (director.conns): {e}"))?;
            Ok(Worker::new(worker, queues, pipeline, pool.clone(), Arc::clone(&links)))
        };
        let workers: Result<_, String> = queues.into_iter().enumerate().map(worker).collect();
        let workers = workers?;
        Ok(Self {
            workers,
            wires,
            pool,
            links,
            shared,
            snapshot,
            hops,
            scaling: Toeplitz::new(COMMON_KEY),
            now: BEGIN,
            left: Vec::new(),
            meter: Meter::new(),
        })
    }

    /// A frame to be filled; none where it is too long: the pool has more frames than can be under
    /// way.
    pub(super) fn frame(&mut self, len: usize) -> Option<MemFrame> {
        let mut frame = self.pool.alloc()?;
        frame.set_len(len).then_some(frame)
    }

    /// Whoever sent a packet is there to be answered, so that no answer has to wait.
    pub(super) fn reach(&mut self, source: Addr) {
        if let Some((port, next)) = self.snapshot.routes.find(Addr::UNSPECIFIED, source) {
            self.hops.reach(port, next);
        }
    }

    /// Lays a frame into a port's queue: that of its tuple, as a NIC with receive-side scaling
    /// does it, so that a flow keeps its queue.
    pub(super) fn inject(&mut self, port: PortId, tuple: &Tuple, frame: MemFrame) {
        let queue = self.scaling.queue(tuple, self.workers.len());
        // A batch fits. A frame lost here would show in the law: fewer received than fed.
        drop(self.wires[port.0 as usize].inject(queue, frame));
    }

    /// Carries what was injected to its end; what leaves is in `left`.
    pub(super) fn run(&mut self) {
        let opened = self.opened();
        self.meter.begin_batch();
        self.turns(true);
        let opened = self.opened() - opened;
        self.meter.end_batch(opened);
    }

    /// Lets time pass until `to`, as idle workers do: conns expire, held frames go.
    pub(super) fn advance(&mut self, to: Tick) {
        let nap = (to.since(self.now) / NAPS).clamp(NAP, LONGEST_NAP);
        while to.since(self.now) > nap && self.has_work() {
            self.now = self.now + nap;
            self.turns(false);
        }
        self.now = self.now.max(to);
    }

    /// Lets what waits for a next hop go.
    pub(super) fn end(&mut self) {
        self.now = self.now + NAP;
        self.turns(false);
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

    /// Frames dropped so far, by reason.
    pub(super) fn dropped(&self, into: &mut [u64; DropReason::COUNT]) {
        for (reason, sum) in into.iter_mut().enumerate() {
            *sum = self.stats().iter().map(|s| s.dropped[reason].get()).sum();
        }
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
    fn turns(&mut self, measured: bool) {
        loop {
            for (index, worker) in self.workers.iter_mut().enumerate() {
                if measured {
                    self.meter.turn(|meter| worker.turn_with(self.now, meter));
                } else {
                    worker.turn(self.now);
                }
                for (port, wire) in self.wires.iter().enumerate() {
                    while let Some(frame) = wire.take(index) {
                        self.left.push(Left { port, at: self.now, frame });
                    }
                }
            }
            while let Some((port, addr)) = self.links.resolve.pop() {
                self.hops.reach(port, addr);
            }
            if self.links.handover.iter().all(|ring| ring.is_empty()) {
                return;
            }
        }
    }
}

fn snapshot(config: &Config, shared: &Shared, hops: &mut Hops) -> Result<Snapshot, String> {
    // A flow keeps its queue here.
    let fact = |port| PortFacts { mac: port_mac(port), fixed_queue: true };
    let ports: Vec<_> = (0..config.ports.len()).map(fact).collect();
    let mut inputs = Inputs {
        ports: &ports,
        hop: &mut |port, addr| hops.reach(port, addr),
        has_conns: &|_| false,
        settled: true,
        has_leases: &|_| false,
    };
    let mut builder = Builder::new(shared.dests.capacity());
    let built = builder.build(config, &Snapshot::default(), &mut inputs);
    Ok(built.map_err(|e| e.to_string())?.0)
}

/// Locally administered: 02:00:00:00:00 and the port's number.
fn port_mac(port: usize) -> Mac {
    [0x02, 0, 0, 0, 0, port as u8]
}
