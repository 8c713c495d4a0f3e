//! The data plane on a test bench: N workers' pipelines without threads, ports or a clock.
//!
//! After every call the conservation law is asserted for each worker and for their sum, the gauges
//! are held against the tables, no frame may have been lost or kept, and everything sent must fit
//! the port's MTU and be readable to etherparse.

use crate::net;
use crate::see;
use pointsman::io::mem::MemFrame;
use pointsman::io::mem::MemPool;
use pointsman_dataplane::conn::Conn;
use pointsman_dataplane::conn::Ends;
use pointsman_dataplane::frame::Burst;
use pointsman_dataplane::isn::Numbers;
use pointsman_dataplane::neigh::Hop;
use pointsman_dataplane::neigh::HopState;
use pointsman_dataplane::neigh::Neighbours;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::pipeline::Handed;
use pointsman_dataplane::pipeline::Outbox;
use pointsman_dataplane::pipeline::Pipeline;
use pointsman_dataplane::pipeline::Setup;
use pointsman_dataplane::pipeline::Shared;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::stats::Balance;
use pointsman_dataplane::stats::Counter;
use pointsman_dataplane::stats::WorkerStats;
use pointsman_dataplane::templates::Template;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::tuple::Tuple;
use pointsman_dataplane::verdict::Consumed;
use pointsman_dataplane::verdict::DropReason;
use pointsman_dataplane::verdict::Made;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Key of the hashes.
pub const SECRET: [u64; 4] = [0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321, 0x5555, 0xaaaa_0001];

/// Frames the pool has.
const FRAMES: usize = 1024;
/// Bytes a frame has behind the headroom.
const ROOM: usize = 9216;
/// Dests that the counters have room for.
const DEST_BLOCKS: usize = 128;

/// A frame that came out.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The worker that let it out.
    pub worker: usize,
    /// The port it left by, or for frames to the control thread, came in by.
    pub port: PortId,
    /// The frame.
    pub bytes: Vec<u8>,
}

/// What came out in one call.
#[derive(Clone, Debug, Default)]
pub struct Out {
    /// By the ports.
    pub sent: Vec<Sent>,
    /// To the control thread.
    pub control: Vec<Sent>,
    /// Next hops asked for.
    pub asked: Vec<(PortId, IpAddr)>,
    /// What routers have told of the ways to tunnels' ends.
    pub learnt: Vec<(IpAddr, u16)>,
    /// Hand-overs between workers: from, to.
    pub handed: Vec<(usize, usize)>,
}

impl Out {
    /// The only frame that was sent.
    ///
    /// # Panics
    /// Where there is none or are several.
    pub fn only(&self) -> &Sent {
        assert_eq!(self.sent.len(), 1, "frames sent: {:?}", self.frames());
        &self.sent[0]
    }

    /// What the only frame says.
    pub fn seen(&self) -> see::Seen {
        see::see(&self.only().bytes)
    }

    /// The frames sent, without their ports.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        self.sent.iter().map(|s| s.bytes.clone()).collect()
    }
}

/// How a rig is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Workers.
    pub workers: usize,
    /// Conns per worker.
    pub conns: usize,
    /// Frames in the pool.
    pub frames: usize,
    /// `Setup::port_order`.
    pub port_order: Option<u64>,
    /// Templates per worker.
    pub templates: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { workers: 1, conns: 1000, frames: FRAMES, port_order: None, templates: 64 }
    }
}

/// The bench.
pub struct Rig {
    /// Now; set it by `pass`.
    pub now: Tick,
    /// Where frames come from.
    pub pool: MemPool,
    /// Counters and next hops.
    pub shared: Arc<Shared>,
    workers: Vec<Pipeline<MemFrame>>,
    outs: Vec<Outbox<MemFrame>>,
    rings: Vec<VecDeque<Handed<MemFrame>>>,
    /// Conns that have ended, for the workers that knew where they lived.
    ended: VecDeque<(u16, Tuple)>,
    /// Frames that the ring to a worker holds; what finds it full is dropped by name.
    pub ring_room: usize,
    /// Of `ended`, likewise; what finds it full is lost.
    pub ended_room: usize,
    /// Frames the test itself holds.
    kept: usize,
}

impl Default for Rig {
    fn default() -> Self {
        Self::new()
    }
}

impl Rig {
    /// One worker on the network of `net`.
    pub fn new() -> Self {
        Self::build(Options::default(), |_, _| {})
    }

    /// One worker, with the snapshot changed first.
    pub fn with(change: impl FnOnce(&mut Snapshot)) -> Self {
        Self::build(Options::default(), |s, _| change(s))
    }

    /// So many workers.
    pub fn workers(workers: usize) -> Self {
        Self::build(Options { workers, ..Options::default() }, |_, _| {})
    }

    /// Any of it.
    pub fn build(options: Options, change: impl FnOnce(&mut Snapshot, &Neighbours)) -> Self {
        let neighbours = Arc::new(Neighbours::new(1024, 99));
        let mut snapshot = net::snapshot(&neighbours);
        change(&mut snapshot, &neighbours);
        let snapshot = Arc::new(snapshot.index());
        let shared = Shared::new(options.workers, DEST_BLOCKS, neighbours);
        let shared = shared.with_templates(options.templates);
        let shared = Arc::new(shared.expect("a table this small fits in any address space"));
        let pipeline = |worker| {
            let Options { workers, conns, port_order, .. } = options;
            let numbers = Numbers::new([1, 2], 0);
            let setup = Setup { worker, workers, conns, secret: SECRET, port_order, numbers };
            Pipeline::new(setup, Arc::clone(&shared), Arc::clone(&snapshot))
                .expect("a table this small fits in any address space")
        };
        Self {
            now: Tick::from_secs(1000),
            pool: MemPool::new(options.frames, ROOM),
            workers: (0..options.workers).map(pipeline).collect(),
            outs: (0..options.workers)
                .map(|_| Outbox::new(snapshot.ports.len(), options.workers))
                .collect(),
            rings: (0..options.workers).map(|_| VecDeque::new()).collect(),
            ended: VecDeque::new(),
            ring_room: usize::MAX,
            ended_room: usize::MAX,
            shared,
            kept: 0,
        }
    }

    /// Feeds one frame to worker 0.
    pub fn feed(&mut self, port: PortId, frame: &[u8]) -> Out {
        self.feed_at(0, port, &[frame])
    }

    /// Feeds a burst to a worker, and carries what workers hand over until nothing moves.
    pub fn feed_at(&mut self, worker: usize, port: PortId, frames: &[&[u8]]) -> Out {
        let mut burst = Burst::new();
        for frame in frames {
            burst.push(self.pool.frame(frame).expect("the pool has frames of this size"));
        }
        self.feed_burst(worker, port, &mut burst)
    }

    /// Feeds many frames to a worker in bursts, with everything checked once at the end: for tests
    /// of so many conns that a look at all of them after each burst takes too long.
    pub fn feed_many(
        &mut self,
        worker: usize,
        port: PortId,
        frames: impl IntoIterator<Item = Vec<u8>>,
    ) -> Out {
        let (mut out, mut burst) = (Out::default(), Burst::new());
        let mut frames = frames.into_iter().peekable();
        while let Some(frame) = frames.next() {
            burst.push(self.pool.frame(&frame).expect("the pool has frames of this size"));
            if burst.is_full() || frames.peek().is_none() {
                let (pool, outbox) = (&mut self.pool, &mut self.outs[worker]);
                self.workers[worker].process(port, &mut burst, self.now, pool, outbox);
                self.flush(worker, &mut out);
                self.carry(&mut out);
            }
        }
        self.check();
        self.check_sent(&out);
        out
    }

    /// Feeds a frame to a worker as if one that has nothing to do with it had handed it over: such a
    /// frame never goes by the plain lane.
    pub fn feed_alone(&mut self, worker: usize, port: PortId, frame: &[u8]) -> Out {
        let mut out = Out::default();
        let frame = self.pool.frame(frame).expect("the pool has frames of this size");
        // Both sides of the law know it.
        self.shared.stats[worker].received.add(1);
        self.shared.stats[worker].handed_over.add(1);
        let handed = Handed { port, frame, visited: 0, seeks: None };
        let (pool, outbox) = (&mut self.pool, &mut self.outs[worker]);
        self.workers[worker].take_over(handed, self.now, pool, outbox);
        self.flush(worker, &mut out);
        self.settle(&mut out);
        out
    }

    /// A burst of frames the test has made itself, fed to a worker.
    pub fn feed_burst(&mut self, worker: usize, port: PortId, burst: &mut Burst<MemFrame>) -> Out {
        let mut out = Out::default();
        let (pool, outbox) = (&mut self.pool, &mut self.outs[worker]);
        self.workers[worker].process(port, burst, self.now, pool, outbox);
        assert!(burst.is_empty(), "the pipeline leaves a burst empty");
        self.flush(worker, &mut out);
        self.settle(&mut out);
        out
    }

    /// Sends a frame of the control thread's by a worker.
    pub fn transmit(&mut self, worker: usize, port: PortId, frame: &[u8]) -> Out {
        let frame = self.pool.frame(frame).expect("the pool has frames of this size");
        let mut out = Out::default();
        self.workers[worker].transmit(port, frame, &mut self.outs[worker]);
        self.flush(worker, &mut out);
        self.settle(&mut out);
        out
    }

    /// One housekeeping turn of every worker.
    pub fn housekeep(&mut self) -> Out {
        let mut out = Out::default();
        for worker in 0..self.workers.len() {
            let (pool, outbox) = (&mut self.pool, &mut self.outs[worker]);
            self.workers[worker].housekeeping(self.now, pool, outbox);
            self.flush(worker, &mut out);
        }
        self.settle(&mut out);
        out
    }

    /// Lets time pass, with a housekeeping turn every second of it and at its end.
    pub fn pass(&mut self, time: Duration) -> Out {
        let end = self.now + time;
        let mut all = Out::default();
        while self.now < end {
            self.now = end.min(self.now + Duration::from_secs(1));
            all.sent.extend(self.housekeep().sent);
        }
        all
    }

    /// Every worker takes a changed snapshot.
    pub fn reload(&mut self, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = Snapshot::clone(self.workers[0].snapshot());
        change(&mut snapshot);
        let snapshot = Arc::new(snapshot.index());
        for worker in &mut self.workers {
            drop(worker.swap(Arc::clone(&snapshot)));
        }
        self.check();
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(self.workers[0].snapshot())
    }

    /// The next hops of all workers.
    pub fn neighbours(&self) -> &Neighbours {
        &self.shared.neighbours
    }

    /// One worker takes a changed snapshot; the others are yet to.
    pub fn reload_one(&mut self, worker: usize, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = Snapshot::clone(self.workers[worker].snapshot());
        change(&mut snapshot);
        drop(self.workers[worker].swap(Arc::new(snapshot.index())));
    }

    /// What is known of a neighbour from now on.
    pub fn set_neighbour(&mut self, port: PortId, addr: IpAddr, state: HopState) -> Hop {
        let table = &self.shared.neighbours;
        let hop = table.insert(port, addr.into(), |_| true).expect("the table has room");
        table.set(hop, state);
        hop
    }

    /// A worker's pipeline with its outbox and the pool, for tests that measure. The caller must
    /// end with `settled`.
    pub fn parts(
        &mut self,
        worker: usize,
    ) -> (&mut Pipeline<MemFrame>, &mut Outbox<MemFrame>, &mut MemPool) {
        (&mut self.workers[worker], &mut self.outs[worker], &mut self.pool)
    }

    /// Empties what `parts` left in a worker's outbox.
    pub fn settled(&mut self, worker: usize) -> Out {
        let mut out = Out::default();
        self.flush(worker, &mut out);
        self.settle(&mut out);
        out
    }

    /// Takes frames out of the pool, so that the pipeline finds so many fewer.
    pub fn keep(&mut self, frames: usize) -> Vec<MemFrame> {
        let kept: Vec<_> = (0..frames).filter_map(|_| self.pool.frame(&[])).collect();
        assert_eq!(kept.len(), frames, "the pool is too small for this test");
        self.kept += frames;
        kept
    }

    /// Gives `keep`'s frames back.
    pub fn give_back(&mut self, frames: Vec<MemFrame>) {
        self.kept -= frames.len();
        drop(frames);
        self.check();
    }

    /// How many workers there are.
    pub fn worker_count(&self) -> usize {
        self.workers.len()
    }

    /// A worker's counters.
    pub fn stats(&self, worker: usize) -> &WorkerStats {
        &self.shared.stats[worker]
    }

    /// A counter summed over workers.
    pub fn sum(&self, counter: impl Fn(&WorkerStats) -> &Counter) -> u64 {
        self.shared.stats.iter().map(|s| counter(s).get()).sum()
    }

    /// Drops by a reason, all workers.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.sum(|s| &s.dropped[reason as usize])
    }

    /// Every reason that has dropped something, with how often.
    pub fn drops(&self) -> Vec<(DropReason, u64)> {
        let all = DropReason::ALL.iter().map(|r| (*r, self.dropped(*r)));
        all.filter(|(_, n)| *n > 0).collect()
    }

    /// Frames made, all workers.
    pub fn made(&self, made: Made) -> u64 {
        self.sum(|s| &s.made[made as usize])
    }

    /// Frames made in answer to others: of any kind but further fragments and PROXY headers.
    pub fn answers(&self) -> u64 {
        let all = Made::ALL.iter().filter(|m| !matches!(m, Made::Fragment | Made::ProxyHeader));
        all.map(|m| self.made(*m)).sum()
    }

    /// Frames taken in, all workers.
    pub fn consumed(&self, consumed: Consumed) -> u64 {
        self.sum(|s| &s.consumed[consumed as usize])
    }

    /// A dest's counter, all workers.
    pub fn dest(
        &self,
        id: DestId,
        counter: impl Fn(&pointsman_dataplane::stats::DestStats) -> &Counter,
    ) -> u64 {
        self.shared.dests.sum(id.0 as usize, counter)
    }

    /// Packets that belonged to a conn, all dests and workers.
    pub fn hits(&self) -> u64 {
        (0..DEST_BLOCKS)
            .map(|d| {
                self.shared.dests.sum(d, |s| &s.in_packets)
                    + self.shared.dests.sum(d, |s| &s.out_packets)
            })
            .sum()
    }

    /// Every conn: its worker, its line, its ends.
    pub fn conns(&self) -> Vec<(usize, Conn, Ends)> {
        let of = |(w, p): (usize, &Pipeline<MemFrame>)| {
            let conns = p.conns();
            conns.iter().map(|id| (w, *conns.get(id), conns.ends(id))).collect::<Vec<_>>()
        };
        self.workers.iter().enumerate().flat_map(of).collect()
    }

    /// Every template, with the worker that keeps it.
    pub fn templates(&self) -> Vec<(usize, Template)> {
        let of = |(w, p): (usize, &Pipeline<MemFrame>)| {
            p.templates(self.now).map(|t| (w, t)).collect::<Vec<_>>()
        };
        self.workers.iter().enumerate().flat_map(of).collect()
    }

    /// The only conn.
    ///
    /// # Panics
    /// Where there is none or are several.
    pub fn conn(&self) -> (usize, Conn, Ends) {
        let conns = self.conns();
        assert_eq!(conns.len(), 1, "conns: {conns:?}");
        conns[0]
    }

    /// Empties a worker's outbox as the director's worker does.
    fn flush(&mut self, worker: usize, out: &mut Out) {
        let stats = &self.shared.stats[worker];
        let outbox = &mut self.outs[worker];
        for (port, frames) in outbox.tx().iter_mut().enumerate() {
            stats.sent.add(frames.len() as u64);
            for frame in frames.drain(..) {
                out.sent.push(sent(worker, PortId(port as u8), frame));
            }
        }
        for (to, handed) in outbox.handover.iter_mut().enumerate() {
            for handed in handed.drain(..) {
                assert_ne!(to, worker, "a worker hands nothing over to itself");
                if self.rings[to].len() >= self.ring_room {
                    stats.drop(DropReason::HandoverFull);
                    continue;
                }
                stats.handed_over.add(1);
                out.handed.push((worker, to));
                self.rings[to].push_back(handed);
            }
        }
        stats.to_control.add(outbox.control.len() as u64);
        for (port, frame) in outbox.control.drain(..) {
            out.control.push(sent(worker, port, frame));
        }
        let room = self.ended_room.saturating_sub(self.ended.len());
        self.ended.extend(outbox.ended.drain(..).take(room));
        out.learnt.extend(outbox.learnt.drain(..).map(|(end, mtu)| (IpAddr::from(end), mtu)));
        out.asked.extend(outbox.resolve.drain(..).map(|(p, a)| (p, IpAddr::from(a))));
    }

    /// Carries hand-overs until nothing moves, and checks everything.
    fn settle(&mut self, out: &mut Out) {
        self.carry(out);
        self.check();
        self.check_sent(out);
    }

    /// Carries hand-overs until nothing moves.
    fn carry(&mut self, out: &mut Out) {
        let mut carried = 0;
        while let Some(worker) = self.rings.iter().position(|r| !r.is_empty()) {
            carried += 1;
            assert!(carried < 10_000, "frames go round for ever");
            let Some(handed) = self.rings[worker].pop_front() else { break };
            let (pool, outbox) = (&mut self.pool, &mut self.outs[worker]);
            self.workers[worker].take_over(handed, self.now, pool, outbox);
            self.flush(worker, out);
        }
        for (worker, tuple) in self.ended.drain(..) {
            self.workers[usize::from(worker)].forget(&tuple);
        }
    }

    /// The conservation law, the gauges, and the pool.
    fn check(&self) {
        let mut all = Balance::default();
        for (w, stats) in self.shared.stats.iter().enumerate() {
            let balance = stats.balance();
            assert!(balance.holds(), "worker {w} does not conserve frames: {balance:?}");
            all += balance;
        }
        assert!(all.holds(), "all workers together do not conserve frames: {all:?}");
        assert_eq!(all.handed_over, all.taken_over, "frames are lost between workers");
        let held = all.held as usize;
        let (free, whole) = (self.pool.available(), self.pool.capacity());
        assert_eq!(free + held + self.kept, whole, "frames leak ({held} are held)");
        self.check_gauges();
    }

    /// Counts of conns and leases are what the tables say.
    fn check_gauges(&self) {
        let mut by_dest = vec![[0u64; 2]; DEST_BLOCKS];
        let (mut persistent, mut controlled) = (vec![0u64; DEST_BLOCKS], (0, 0));
        for (w, pipeline) in self.workers.iter().enumerate() {
            let (conns, mut leases) = (pipeline.conns(), 0);
            assert_eq!(self.stats(w).conns.get(), conns.len() as u64, "conns of worker {w}");
            assert_eq!(conns.iter().count(), conns.len(), "conns of worker {w}");
            // An entry of a conn that lives elsewhere counts where it lives.
            for id in conns.iter().filter(|id| conns.get(*id).elsewhere().is_none()) {
                let conn = conns.get(id);
                by_dest[conn.dest().0 as usize][usize::from(conn.is_inactive())] += 1;
                leases += u64::from(conn.has_lease());
            }
            assert_eq!(self.stats(w).leases.get(), leases, "leases of worker {w}");
            for template in pipeline.templates(self.now) {
                persistent[template.dest.0 as usize] += 1;
                controlled.0 += template.conns;
            }
            let goes_by = conns.iter().filter(|id| conns.get(*id).is_controlled());
            controlled.1 += goes_by.count() as u64;
        }
        assert_eq!(controlled.0, controlled.1, "conns that go by templates");
        for (dest, templates) in persistent.into_iter().enumerate() {
            let counted = self.shared.dests.sum(dest, |s| &s.persistent);
            assert_eq!(counted, templates, "templates of dest {dest}");
        }
        for (dest, [active, inactive]) in by_dest.into_iter().enumerate() {
            let sum = |c: fn(&pointsman_dataplane::stats::DestStats) -> &Counter| {
                self.shared.dests.sum(dest, c)
            };
            assert_eq!(sum(|s| &s.active), active, "active conns of dest {dest}");
            assert_eq!(sum(|s| &s.inactive), inactive, "inactive conns of dest {dest}");
        }
    }

    /// Everything sent can be read by etherparse, has a right IPv4 header checksum, bears the
    /// port's MAC and tag and fits its MTU.
    fn check_sent(&self, out: &Out) {
        let snapshot = self.workers[0].snapshot();
        for s in &out.sent {
            let info = snapshot.port(s.port);
            // What the control thread made is ARP, among others.
            let Ok(seen) = see::try_see(&s.bytes) else {
                // Nor does a router read beyond the IP header.
                let may_be = self.made(Made::Control) > 0 || self.sum(|s| &s.routed) > 0;
                assert!(may_be, "not a packet: {}", see::hex(&s.bytes));
                continue;
            };
            assert!(seen.ip_sum, "IPv4 header checksum: {}", see::hex(&s.bytes));
            assert_eq!(seen.eth.1, info.mac, "source MAC");
            assert_eq!(seen.vlan, info.vlan, "VLAN tag");
            let (len, mtu) = (seen.ip.len(), usize::from(info.mtu));
            assert!(len <= mtu, "{len} bytes by a port with MTU {mtu}: {}", see::hex(&s.bytes));
        }
    }
}

impl Drop for Rig {
    /// Held frames go back with their pipelines; then the pool must be whole.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.workers.clear();
        assert_eq!(self.pool.available() + self.kept, self.pool.capacity(), "frames leak");
    }
}

fn sent(worker: usize, port: PortId, frame: MemFrame) -> Sent {
    use pointsman_dataplane::frame::Frame as _;
    Sent { worker, port, bytes: frame.data().to_vec() }
}
