//! A worker over ports in memory, turn by turn: what rings and queues refuse is dropped by name,
//! and the books balance.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use etherparse::PacketBuilder;
use hw::alloc::CountingAllocator;
use pointsman::control::law;
use pointsman::control::snapshot::Builder;
use pointsman::control::snapshot::Inputs;
use pointsman::control::snapshot::PortFacts;
use pointsman::io::mem;
use pointsman::io::mem::Mem;
use pointsman::io::mem::MemFrame;
use pointsman::io::mem::MemPool;
use pointsman::io::mem::MemWire;
use pointsman::serve::shared;
use pointsman::worker::Queues;
use pointsman::worker::Worker;
use pointsman::worker::links::CONTROL_RING;
use pointsman::worker::links::HANDOVER_RING;
use pointsman::worker::links::Links;
use pointsman_dataplane::frame::Frame;
use pointsman_dataplane::isn::Numbers;
use pointsman_dataplane::neigh::HopState;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::pipeline::Pipeline;
use pointsman_dataplane::pipeline::Setup;
use pointsman_dataplane::pipeline::Shared;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::stats::WorkerStats;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::verdict::DropReason;
use pointsman_dataplane::verdict::Made;
use std::net::IpAddr;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 0xc];
const SERVER: [u8; 6] = [2, 0, 0, 0, 0, 0xd];

const CONFIG: &str = "
    [[port]]
    name = 'one'
    device = 'net_null0'
    addresses = ['10.1.0.254/24']
    [[pool]]
    name = 'p'
    addresses = ['10.1.0.200']
    [[service]]
    address = '10.1.0.100:80'
    forward = 'fullnat'
    pool = 'p'
    [[service.dest]]
    address = '10.1.0.2'
";

/// Workers on one port; the test gives them their turns.
struct Bench {
    workers: Vec<Worker<Mem>>,
    links: Arc<Links<MemFrame>>,
    shared: Arc<Shared>,
    wire: MemWire,
    pool: MemPool,
    snapshot: Arc<Snapshot>,
    now: Tick,
}

impl Bench {
    fn new(workers: usize, depth: usize) -> Self {
        let (config, _) = pointsman_config::parse("t", CONFIG).unwrap();
        let shared = shared(&config, workers, 7);
        let table = Arc::clone(&shared.neighbours);
        let mut inputs = Inputs {
            ports: &[PortFacts { mac: MAC, fixed_queue: false }],
            hop: &mut |port, addr| table.insert(port, addr, |_| true),
            has_conns: &|_| false,
            settled: true,
            has_leases: &|_| false,
        };
        let built = Builder::new(64).build(&config, &Snapshot::default(), &mut inputs);
        let snapshot = Arc::new(built.unwrap().0);
        let (_, rx, tx, wire) = mem::port(MAC, workers, depth);
        let pool = MemPool::new(8192, 2048);
        let links = Links::new(workers);
        let make = |(worker, (rx, tx))| {
            let setup = Setup {
                worker,
                workers,
                conns: 4096,
                // As a process draws it: small numbers share clients unevenly.
                secret: [
                    0x9e37_79b9_7f4a_7c15,
                    0xbf58_476d_1ce4_e5b9,
                    0x94d0_49bb_1331_11eb,
                    0x2545_f491_4f6c_dd1d,
                ],
                port_order: None,
                numbers: Numbers::new([1, 2], 0),
            };
            let pipeline = Pipeline::new(setup, Arc::clone(&shared), Arc::clone(&snapshot));
            let queues = vec![Queues { rx, tx }];
            Worker::new(worker, queues, pipeline.unwrap(), pool.clone(), Arc::clone(&links))
        };
        let workers = rx.into_iter().zip(tx).enumerate().map(make).collect();
        Self { workers, links, shared, wire, pool, snapshot, now: Tick::from_secs(1) }
    }

    fn turns(&mut self, worker: usize, n: usize) {
        for _ in 0..n {
            self.now = Tick::from_nanos(self.now.nanos() + 10_000);
            self.workers[worker].turn(self.now);
        }
    }

    fn dropped(&self, worker: usize, reason: DropReason) -> u64 {
        self.shared.stats[worker].dropped[reason as usize].get()
    }

    /// Every worker balances, and once all is dropped every frame is back.
    fn check(self) {
        for stats in &self.shared.stats {
            assert!(stats.balance().holds(), "{:?}", stats.balance());
        }
        let Self { workers, links, wire, pool, .. } = self;
        drop((workers, links, wire));
        assert_eq!(pool.available(), pool.capacity());
    }
}

fn arp_request() -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(CLIENT);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(CLIENT);
    frame.extend([10, 1, 0, 1, 0, 0, 0, 0, 0, 0, 10, 1, 0, 100]);
    frame
}

fn syn(port: u16) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(CLIENT, MAC)
        .ipv4([10, 1, 0, 1], [10, 1, 0, 100], 64)
        .tcp(port, 80, 1, 1000)
        .syn();
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).unwrap();
    frame
}

#[test]
fn control_full() {
    let mut bench = Bench::new(1, 2048);
    for _ in 0..CONTROL_RING + 10 {
        let frame = bench.pool.frame(&arp_request()).unwrap();
        bench.wire.inject(0, frame).unwrap();
    }
    bench.turns(0, 60);
    assert_eq!(bench.shared.stats[0].to_control.get(), CONTROL_RING as u64);
    assert_eq!(bench.dropped(0, DropReason::ControlFull), 10);
    bench.check();
}

#[test]
fn tx_full() {
    let mut bench = Bench::new(1, 4);
    for _ in 0..10 {
        let frame = bench.pool.frame(&[0; 60]).unwrap();
        assert!(bench.links.mailboxes[0].send(PortId(0), frame));
    }
    bench.turns(0, 1);
    let stats = &bench.shared.stats[0];
    assert_eq!((stats.made[Made::Control as usize].get(), stats.sent.get()), (10, 4));
    assert_eq!(bench.dropped(0, DropReason::TxFull), 6);
    bench.check();
}

#[test]
fn handover_full() {
    let mut bench = Bench::new(2, 8192);
    let sent = 3 * HANDOVER_RING as u64;
    for i in 0..sent {
        let frame = bench.pool.frame(&syn(1024 + i as u16)).unwrap();
        bench.wire.inject(0, frame).unwrap();
    }
    // Only worker 0 runs.
    bench.turns(0, 200);
    assert_eq!(bench.shared.stats[0].handed_over.get(), HANDOVER_RING as u64);
    let lost = bench.dropped(0, DropReason::HandoverFull);
    assert!(lost > 0 && lost < sent, "{lost}");
    // Then worker 1 takes over all that is there.
    bench.turns(1, 200);
    assert_eq!(bench.shared.stats[1].taken_over.get(), HANDOVER_RING as u64);
    bench.check();
}

#[test]
fn a_worker_takes_the_newest_snapshot_and_the_old_one_stays_with_control() {
    let mut bench = Bench::new(1, 64);
    bench.turns(0, 300);
    let [first, second] = [(); 2].map(|()| {
        let snapshot = Snapshot::default();
        Arc::new(snapshot.index())
    });
    bench.links.mailboxes[0].offer(Arc::clone(&first));
    bench.links.mailboxes[0].offer(Arc::clone(&second));
    bench.turns(0, 300);
    assert_eq!(Arc::strong_count(&first), 1);
    assert_eq!(Arc::strong_count(&second), 2);
    bench.check();
}

#[test]
fn what_is_published_balances_and_tells_busy_from_idle() {
    let mut bench = Bench::new(1, 64);
    bench.turns(0, 300);
    let idle = bench.links.published[0].read();
    assert_eq!((idle.busy_turns.get(), idle.busy_nanos.get()), (0, 0));
    for _ in 0..4 {
        let frame = bench.pool.frame(&arp_request()).unwrap();
        bench.wire.inject(0, frame).unwrap();
    }
    bench.turns(0, 300);
    let busy = bench.links.published[0].read();
    assert_eq!((busy.received.get(), busy.busy_turns.get(), busy.busy_nanos.get()), (4, 1, 10_000));
    assert!(busy.nanos.get() > 500 * 10_000);
    let law = law(&[busy]);
    assert!(law.holds && law.inputs == 4 && law.to_control == 4);
    assert_eq!(law.dropped.len(), DropReason::COUNT);
    bench.check();
}

impl Bench {
    fn inject(&mut self, queue: usize, frame: &[u8]) {
        let frame = self.pool.frame(frame).unwrap();
        self.wire.inject(queue, frame).unwrap();
    }

    /// How often anything is allocated while every worker takes so many turns.
    fn allocations(&mut self, turns: usize) -> u64 {
        let before = hw::alloc::count();
        for _ in 0..turns {
            for worker in 0..self.workers.len() {
                self.turns(worker, 1);
            }
        }
        hw::alloc::count() - before
    }

    fn sent(&mut self) -> Vec<Vec<u8>> {
        let queues = 0..self.workers.len();
        let mut sent = Vec::new();
        for queue in queues {
            while let Some(frame) = self.wire.take(queue) {
                sent.push(frame.data().to_vec());
            }
        }
        sent
    }

    fn sum(&self, counter: impl Fn(&WorkerStats) -> u64) -> u64 {
        self.shared.stats.iter().map(counter).sum()
    }
}

/// The dest's answer to a SYN that it was sent.
fn syn_ack(syn: &[u8]) -> Vec<u8> {
    let number = |at: usize| u16::from_be_bytes([syn[at], syn[at + 1]]);
    let builder = PacketBuilder::ethernet2(SERVER, MAC)
        .ipv4([10, 1, 0, 2], [syn[26], syn[27], syn[28], syn[29]], 64)
        .tcp(80, number(34), 1, 1000)
        .syn()
        .ack(u32::from_be_bytes([syn[38], syn[39], syn[40], syn[41]]).wrapping_add(1));
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).unwrap();
    frame
}

/// Rings, queues, mailbox, hand-over, a new snapshot, expiry, counters: the whole of a worker's life.
#[test]
fn turns_allocate_nothing() {
    let mut bench = Bench::new(2, 1024);
    let before = hw::alloc::count();
    drop(std::hint::black_box(vec![1u8]));
    assert_eq!(hw::alloc::count() - before, 1, "the counter works");
    let table = Arc::clone(&bench.shared.neighbours);
    for (host, mac) in [(1, CLIENT), (2, SERVER)] {
        let hop = table.insert(PortId(0), IpAddr::from([10, 1, 0, host]).into(), |_| true);
        table.set(hop.unwrap(), HopState::Reachable(mac));
    }
    for n in 0..64 {
        bench.inject(n % 2, &syn(5000 + n as u16));
        bench.inject(n % 2, &arp_request());
    }
    assert_eq!(bench.allocations(300), 0, "64 SYNs and ARP requests");
    let syns = bench.sent();
    assert_eq!(syns.len(), 64);
    for (n, frame) in syns.iter().enumerate() {
        bench.inject(n % 2, &syn_ack(frame));
    }
    assert_eq!(bench.allocations(300), 0, "64 SYN-ACKs");
    assert_eq!(bench.sent().len(), 64);
    let handed = bench.sum(|s| s.handed_over.get());
    assert!(handed > 32 && handed == bench.sum(|s| s.taken_over.get()), "{handed}");

    let next = Arc::new(Snapshot::clone(&bench.snapshot).index());
    for mailbox in &bench.links.mailboxes {
        mailbox.offer(Arc::clone(&next));
    }
    let frame = bench.pool.frame(&[0; 60]).unwrap();
    assert!(bench.links.mailboxes[1].send(PortId(0), frame));
    assert_eq!(bench.allocations(300), 0, "a snapshot is taken, a frame of control's is sent");
    assert_eq!((Arc::strong_count(&next), bench.sent().len()), (3, 1));
    assert_eq!(bench.sum(|s| s.conns.get()), 64);
    // SYN_RECV lasts 60 s: a conn's time is over within these 120 s, in steps of 10 ms.
    for _ in 0..12_000 {
        bench.now = Tick::from_nanos(bench.now.nanos() + 10_000_000);
        assert_eq!(bench.allocations(1), 0, "expiry");
    }
    assert_eq!(bench.sum(|s| s.conns.get()), 0);
    bench.check();
}
