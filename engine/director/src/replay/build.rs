//! A stage from a configuration.

use super::hops;
use super::hops::Hops;
use super::meter::Meter;
use super::stage::BEGIN;
use super::stage::GROWTH;
use super::stage::LONGEST;
use super::stage::Stage;
use super::stretch::BATCH;
use super::stretch::SPARE;
use crate::control::snapshot::Builder;
use crate::control::snapshot::Inputs;
use crate::control::snapshot::PortFacts;
use crate::io::mem;
use crate::io::mem::Mem;
use crate::io::mem::MemPool;
use crate::worker::Queues;
use crate::worker::Worker;
use crate::worker::links::Links;
use pointsman_config::Config;
use pointsman_dataplane::isn::Numbers;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::pipeline::HELD_IN_ALL;
use pointsman_dataplane::pipeline::Pipeline;
use pointsman_dataplane::pipeline::Setup;
use pointsman_dataplane::pipeline::Shared;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::toeplitz::COMMON_KEY;
use pointsman_dataplane::toeplitz::Toeplitz;
use pointsman_dataplane::verdict::DropReason;
use std::collections::VecDeque;
use std::sync::Arc;

/// Keys of hashes. Fixed, so that the same capture gives the same output; nobody waits for a
/// replay, so nobody gains by choosing colliding tuples.
const KEYS: [u64; 4] =
    [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0x2545_f491_4f6c_dd1d];

impl Stage {
    /// A director of `config` with that many workers. With `populate` it takes the memory of its tables
    /// now, where there is enough, as a director does whose packets shall not wait for it.
    ///
    /// # Errors
    /// In words: the configuration cannot be served, or there is no memory for its conns.
    pub(super) fn new(config: &Config, workers: usize, populate: bool) -> Result<Self, String> {
        let mut config = config.clone();
        config.director.neighbours = hops::ROOM;
        let shared = crate::serve::shared(&config, workers, KEYS[0]);
        Self::over(&config, workers, shared, populate)
    }

    /// Another one of the same configuration, for which everybody is there whom this one asked for.
    ///
    /// # Errors
    /// As `new`.
    pub(super) fn another(&self, config: &Config) -> Result<Self, String> {
        let (workers, neighbours) = (self.workers(), Arc::clone(&self.shared.neighbours));
        let shared = crate::serve::shared_over(config, workers, neighbours);
        Self::over(config, workers, shared, true)
    }

    /// Whether there is memory for the tables of one more.
    pub(super) fn has_room(config: &Config) -> bool {
        crate::serve::has_room_for(u64::from(config.director.conns))
    }

    fn over(
        config: &Config,
        workers: usize,
        shared: Arc<Shared>,
        populate: bool,
    ) -> Result<Self, String> {
        let mut hops = Hops::new(Arc::clone(&shared.neighbours));
        let snapshot = Arc::new(snapshot(config, &shared, &mut hops)?);
        let links = Links::new(workers);
        let held = HELD_IN_ALL * workers;
        let mtu = config.ports.iter().map(|p| usize::from(p.mtu)).max().unwrap_or(1500);
        let room = mtu + GROWTH;
        let pool = MemPool::new(held + BATCH + SPARE * 2, room);
        let long = MemPool::new(held + 1, LONGEST);
        let mut wires = Vec::new();
        let mut queues: Vec<Vec<Queues<Mem>>> = (0..workers).map(|_| Vec::new()).collect();
        for port in 0..config.ports.len() {
            let (_, rx, tx, wire) = mem::port(port_mac(port), workers, BATCH);
            wires.push(wire);
            for (queues, (rx, tx)) in queues.iter_mut().zip(rx.into_iter().zip(tx)) {
                queues.push(Queues { rx, tx });
            }
        }
        let conns = (config.director.conns as usize).div_ceil(workers);
        let populate = populate && Self::has_room(config);
        let worker = |(worker, queues): (usize, Vec<Queues<Mem>>)| {
            let numbers = Numbers::new([1, 2], 0);
            let setup = Setup { worker, workers, conns, secret: KEYS, port_order: None, numbers };
            let pipeline = Pipeline::new(setup, Arc::clone(&shared), Arc::clone(&snapshot));
            let mut pipeline = pipeline
                .map_err(|e| format!("no memory for {conns} conns (director.conns): {e}"))?;
            if populate {
                pipeline.populate();
            }
            Ok(Worker::new(worker, queues, pipeline, pool.clone(), Arc::clone(&links)))
        };
        let workers: Result<Vec<_>, String> = queues.into_iter().enumerate().map(worker).collect();
        let workers = workers?;
        Ok(Self {
            queued: vec![0; wires.len() * workers.len()],
            known: vec![[0; DropReason::COUNT]; workers.len()],
            workers,
            wires,
            pool,
            long,
            room,
            links,
            shared,
            snapshot,
            hops,
            scaling: Toeplitz::new(COMMON_KEY),
            now: BEGIN,
            waiting: VecDeque::with_capacity(BATCH),
            stretches: VecDeque::new(),
            stretch: 0,
            under_way: None,
            highest: 0,
            left: Vec::with_capacity(BATCH + SPARE * 2),
            told: Vec::new(),
            drops: Vec::new(),
            told_so_far: (0, 0),
            meter: Meter::new(),
        })
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
