//! A director in memory, on one thread: workers and ports, made-up next hops, time by hand.
//!
//! Frames go through one by one: each is carried to its end, through every hand-over, before the
//! next comes, so that what leaves is in the order of what came and bears its time.

use super::Sink;
use super::feed;
use super::feed::Place;
use super::feed::Skip;
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
use pointsman_dataplane::frame::Frame;
use pointsman_dataplane::frame::Pool;
use pointsman_dataplane::isn::Numbers;
use pointsman_dataplane::neigh::Hop;
use pointsman_dataplane::neigh::HopState;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::neigh::Neighbours;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::parse::Kind;
use pointsman_dataplane::parse::parse;
use pointsman_dataplane::pipeline::HELD_IN_ALL;
use pointsman_dataplane::pipeline::Pipeline;
use pointsman_dataplane::pipeline::Setup;
use pointsman_dataplane::pipeline::Shared;
use pointsman_dataplane::pipeline::TX_BURST;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::stats::WorkerStats;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::toeplitz::COMMON_KEY;
use pointsman_dataplane::toeplitz::Toeplitz;
use pointsman_dataplane::tuple::Addr;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The moment of the capture's first frame.
pub(super) const BEGIN: Tick = Tick::from_secs(1);

/// Keys of hashes. Fixed, so that the same capture gives the same output; nobody waits for a
/// replay, so nobody gains by choosing colliding tuples.
const KEYS: [u64; 4] =
    [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0x2545_f491_4f6c_dd1d];
/// Next hops there is room for: clients on a link are one each.
const HOPS: u32 = 131_072;
/// The longest frame the data plane takes (`parse`).
const LONGEST: usize = u16::MAX as usize;
/// Frames for the one under way, its fragments and its answers.
const UNDER_WAY: usize = TX_BURST;
/// Between two housekeepings of a worker that has nothing else to do.
const NAP: Duration = Duration::from_millis(1);
/// Housekeepings a gap between two frames is worth at most.
const NAPS: u32 = 1024;
/// Much less than the data plane can tell apart (`Stamp`).
const LONGEST_NAP: Duration = Duration::from_secs(86_400);

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
}

/// A frame on its way in.
pub(super) struct Arrived {
    pub(super) port: PortId,
    queue: usize,
    frame: MemFrame,
}

impl Stage {
    /// A director of `config` with that many workers.
    ///
    /// # Errors
    /// In words: the configuration cannot be served, or there is no memory for its conns.
    pub(super) fn new(config: &Config, workers: usize) -> Result<Self, String> {
        let mut config = config.clone();
        config.director.neighbours = HOPS;
        let shared = crate::serve::shared(&config, workers, KEYS[0]);
        let mut hops = Hops { table: Arc::clone(&shared.neighbours), used: 0, refused: 0 };
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
        let scaling = Toeplitz::new(COMMON_KEY);
        Ok(Self { workers, wires, pool, links, shared, snapshot, hops, scaling, now: BEGIN })
    }

    /// Makes a captured frame one of the director's.
    pub(super) fn take_in(
        &mut self,
        captured: &[u8],
        len: u32,
        forced: Option<PortId>,
    ) -> Result<Arrived, Skip> {
        let place = feed::place(captured, len, &self.snapshot, forced)?;
        let frame = self.frame(&place, captured).ok_or(Skip::TooLong)?;
        let parsed = parse(frame.data(), self.snapshot.port(place.port));
        if parsed.kind == Kind::Control {
            return Err(Skip::Neighbour);
        }
        // Whoever sent it is there to be answered, so no answer has to wait.
        if let Some((port, next)) =
            place.source.and_then(|s| self.snapshot.routes.find(Addr::UNSPECIFIED, s))
        {
            self.hops.reach(port, next);
        }
        // As a NIC with receive-side scaling does: a flow keeps its queue.
        let queue = self.scaling.queue(&parsed.tuple, self.workers.len());
        Ok(Arrived { port: place.port, queue, frame })
    }

    /// Feeds a frame and follows it to its end.
    pub(super) fn feed(&mut self, arrived: Arrived, sink: &mut Sink) -> io::Result<()> {
        // The queues are empty between two frames. A frame lost here would show in the law:
        // fewer received than fed.
        drop(self.wires[arrived.port.0 as usize].inject(arrived.queue, arrived.frame));
        self.turns(sink)
    }

    /// Lets time pass until `to`, as idle workers do: conns expire, held frames go.
    pub(super) fn advance(&mut self, to: Tick, sink: &mut Sink) -> io::Result<()> {
        let nap = (to.since(self.now) / NAPS).clamp(NAP, LONGEST_NAP);
        while to.since(self.now) > nap && self.has_work() {
            self.now = self.now + nap;
            self.turns(sink)?;
        }
        self.now = self.now.max(to);
        Ok(())
    }

    /// Lets what waits for a next hop go.
    pub(super) fn end(&mut self, sink: &mut Sink) -> io::Result<()> {
        self.now = self.now + NAP;
        self.turns(sink)
    }

    pub(super) fn stats(&self) -> &[WorkerStats] {
        &self.shared.stats
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Questions for next hops that found the table full.
    pub(super) fn hops_refused(&self) -> u64 {
        self.hops.refused
    }

    /// None where it is too long: the pool has more frames than can be under way.
    fn frame(&mut self, place: &Place, captured: &[u8]) -> Option<MemFrame> {
        let mut frame = self.pool.alloc()?;
        let fits = frame.set_len(place.len(captured, &self.snapshot));
        fits.then(|| place.write(captured, &self.snapshot, frame.data_mut()))?;
        Some(frame)
    }

    /// Conns to expire or frames that wait.
    fn has_work(&self) -> bool {
        self.stats().iter().any(|s| s.conns.get() > 0 || s.held.get() > 0)
    }

    /// Turns of all workers until nothing is on its way between them.
    fn turns(&mut self, sink: &mut Sink) -> io::Result<()> {
        loop {
            for (index, worker) in self.workers.iter_mut().enumerate() {
                worker.turn(self.now);
                for (port, wire) in self.wires.iter().enumerate() {
                    while let Some(frame) = wire.take(index) {
                        sink.frame(port, self.now, frame.data())?;
                    }
                }
            }
            while let Some((port, addr)) = self.links.resolve.pop() {
                self.hops.reach(port, addr);
            }
            if self.links.handover.iter().all(|ring| ring.is_empty()) {
                return Ok(());
            }
        }
    }
}

/// Next hops, all reachable.
struct Hops {
    table: Arc<Neighbours>,
    used: u32,
    refused: u64,
}

impl Hops {
    fn reach(&mut self, port: PortId, addr: Addr) -> Option<Hop> {
        if let Some(hop) = self.table.find(port, addr) {
            return Some(hop);
        }
        // The table has more places than it is used for, which keeps looking fast.
        let free = self.used < HOPS;
        let Some(hop) = free.then(|| self.table.insert(port, addr, |_| true)).flatten() else {
            self.refused += 1;
            return None;
        };
        self.used += 1;
        self.table.set(hop, HopState::Reachable(mac_of(addr)));
        Some(hop)
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

/// Locally administered: 06:00 and an IPv4 address, 0a and the end of an IPv6 address.
fn mac_of(addr: Addr) -> Mac {
    match IpAddr::from(addr) {
        IpAddr::V4(addr) => {
            let [a, b, c, d] = addr.octets();
            [0x06, 0, a, b, c, d]
        }
        IpAddr::V6(addr) => {
            let [.., a, b, c, d, e] = addr.octets();
            [0x0a, a, b, c, d, e]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> Stage {
        let text = "
            [[port]]
            name = 'p'
            device = 'net_null0'
            addresses = ['10.0.0.1/24']";
        Stage::new(&pointsman_config::parse("t", text).unwrap().0, 1).unwrap()
    }

    /// An IPv4 frame from 10.0.0.9 to a group, so long on the wire.
    fn captured(len: usize) -> Vec<u8> {
        let mut frame = vec![0; len];
        frame[..6].copy_from_slice(&[0x01, 0, 0x5e, 1, 2, 3]);
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        frame[26..30].copy_from_slice(&[10, 0, 0, 9]);
        frame
    }

    #[test]
    fn frames_longer_than_the_data_plane_takes_are_skipped() {
        let mut stage = stage();
        assert!(stage.take_in(&captured(LONGEST), LONGEST as u32, None).is_ok());
        let long = stage.take_in(&captured(LONGEST + 1), LONGEST as u32 + 1, None);
        assert_eq!(long.err(), Some(Skip::TooLong));
        assert_eq!(stage.pool.available(), stage.pool.capacity());
    }

    #[test]
    fn a_frame_to_a_group_stays_one_and_any_other_is_made_the_ports() {
        let mut stage = stage();
        let mut frame = captured(60);
        let group = stage.take_in(&frame, 60, None).unwrap();
        assert_eq!(group.frame.data(), frame);
        frame[0] = 0x70;
        let one = stage.take_in(&frame, 60, None).unwrap();
        assert_eq!(one.frame.data()[..6], port_mac(0));
        assert_eq!(one.frame.data()[6..], frame[6..]);
    }

    #[test]
    fn a_full_table_of_next_hops_refuses_new_ones_and_keeps_the_old() {
        let mut stage = stage();
        let (port, addr) = (PortId(0), Addr::v4(0x0a00_0009));
        let hop = stage.hops.reach(port, addr).unwrap();
        assert_eq!(stage.hops.table.get(hop).1, HopState::Reachable([6, 0, 10, 0, 0, 9]));
        stage.hops.used = HOPS;
        assert_eq!(stage.hops.reach(port, Addr::v4(0x0a00_000a)), None);
        assert_eq!(stage.hops.reach(port, addr), Some(hop));
        assert_eq!(stage.hops_refused(), 1);
    }

    #[test]
    fn skips_are_listed_by_number() {
        assert!(Skip::ALL.iter().enumerate().all(|(i, (skip, ..))| *skip as usize == i));
    }
}
