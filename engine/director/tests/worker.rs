//! A worker over ports in memory, turn by turn: what rings and queues refuse is dropped by name,
//! and the books balance.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use etherparse::PacketBuilder;
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
use pointsman_dataplane::isn::Numbers;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::pipeline::Pipeline;
use pointsman_dataplane::pipeline::Setup;
use pointsman_dataplane::pipeline::Shared;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::verdict::DropReason;
use pointsman_dataplane::verdict::Made;
use std::sync::Arc;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 0xc];

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
                secret: [1, 2, 3, 4],
                port_order: None,
                numbers: Numbers::new([1, 2], 0),
            };
            let pipeline = Pipeline::new(setup, Arc::clone(&shared), Arc::clone(&snapshot));
            let queues = vec![Queues { rx, tx }];
            Worker::new(worker, queues, pipeline.unwrap(), pool.clone(), Arc::clone(&links))
        };
        let workers = rx.into_iter().zip(tx).enumerate().map(make).collect();
        Self { workers, links, shared, wire, pool, now: Tick::from_secs(1) }
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
