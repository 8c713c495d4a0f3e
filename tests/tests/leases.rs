//! Property: all workers' leases together against a simple model, over millions of steps.
//!
//! The model keeps, for each (laddr, dest endpoint), which ports each worker has never handed out,
//! which came back in what order and with what note, and which are held. It does not say which
//! address of a pool is taken, nor which port that was never used where those go out in a secret's
//! order, only what must hold of the one that was.

use pointsman_dataplane::laddr::Book;
use pointsman_dataplane::laddr::FIRST_PORT;
use pointsman_dataplane::laddr::Last;
use pointsman_dataplane::laddr::Lease;
use pointsman_dataplane::laddr::Leases;
use pointsman_dataplane::laddr::PORTS;
use pointsman_dataplane::laddr::PairId;
use pointsman_dataplane::laddr::WHOLE;
use pointsman_dataplane::laddr::owner;
use pointsman_dataplane::tick::Stamp;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Proto;
use proptest::prelude::*;
use proptest::test_runner::Config;
use proptest::test_runner::TestRunner;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// Random steps of a run, besides those that use a pair up first.
const STEPS: u32 = 120_000;
/// Runs for each number of workers, in a rising order and in a secret's.
const RUNS: u32 = 2;
/// Local addresses.
const POOL: usize = 20;

/// A dest endpoint.
type Dest = (Proto, Addr, u16);

/// A small generator (splitmix64), so that a run is its seed.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % below
    }
}

/// What the model knows of a worker's share of a pair.
struct Share {
    id: PairId,
    fresh: VecDeque<u16>,
    idle: VecDeque<(u16, Last)>,
    held: u32,
    whole_since: Stamp,
}

/// What one worker has.
struct Worker {
    leases: Leases,
    shares: BTreeMap<(Addr, Dest), Share>,
    held: Vec<(Dest, Lease)>,
}

/// How often what happened.
#[derive(Clone, Copy, Default, Debug)]
struct Tally {
    steps: u64,
    leased: u64,
    remembered: u64,
    used_up: u64,
    given_up: u64,
}

struct Run {
    random: Random,
    /// Ports never used go out in an order of it.
    secret: Option<u64>,
    workers: Vec<Worker>,
    pool: Vec<Addr>,
    now: Stamp,
    tally: Tally,
}

impl Worker {
    fn new(number: usize, workers: usize, secret: Option<u64>) -> Self {
        let book = Arc::new(Book::new(1024).expect("there is address space"));
        let leases = Leases::new(number, workers, book, secret).expect("there is address space");
        Self { leases, shares: BTreeMap::new(), held: Vec::new() }
    }
}

fn own(worker: usize, workers: usize) -> impl Iterator<Item = u16> {
    (FIRST_PORT..=u16::MAX).filter(move |p| owner(*p, workers) == worker)
}

impl Run {
    fn new(seed: u64, workers: usize, secret: Option<u64>) -> Self {
        Self {
            random: Random(seed),
            secret,
            workers: (0..workers).map(|n| Worker::new(n, workers, secret)).collect(),
            pool: (1..=POOL as u32).map(Addr::v4).collect(),
            now: Stamp(0),
            tally: Tally::default(),
        }
    }

    /// A worker leases a port toward a dest, of one of so many addresses.
    fn lease(&mut self, worker: usize, dest: Dest, addresses: usize) {
        let (count, turn) = (self.workers.len(), self.random.next(1000));
        let pool = &self.pool[..addresses];
        let Worker { leases, shares, held } = &mut self.workers[worker];
        self.tally.steps += 1;
        let Some(lease) = leases.lease(dest.0, pool, turn, dest.1, dest.2) else {
            let has_one = |a: &&Addr| {
                shares.get(&(**a, dest)).is_none_or(|s| !(s.fresh.is_empty() && s.idle.is_empty()))
            };
            assert_eq!(pool.iter().find(has_one), None, "this address has ports left");
            self.tally.used_up += 1;
            return;
        };
        assert!(pool.contains(&lease.laddr), "{lease:?} is of no address asked for");
        assert!(owner(lease.lport, count) == worker && lease.lport >= FIRST_PORT, "{lease:?}");
        let share = shares.entry((lease.laddr, dest)).or_insert_with(|| Share {
            id: lease.pair,
            fresh: own(worker, count).collect(),
            idle: VecDeque::new(),
            held: 0,
            whole_since: Stamp(0),
        });
        // Those never used first, then those idle longest: so none is held twice, either.
        let first = match self.secret {
            Some(_) => share.fresh.binary_search(&lease.lport).unwrap_or(0),
            None => 0,
        };
        let fresh = share.fresh.remove(first).map(|port| (port, Last::NOTHING));
        let expected = fresh.or_else(|| share.idle.pop_front());
        assert_eq!(Some((lease.lport, lease.last)), expected, "toward {dest:?}");
        assert_eq!(lease.pair, share.id);
        share.held += 1;
        held.push((dest, lease));
        self.tally.leased += 1;
        self.tally.remembered += u64::from(lease.last != Last::NOTHING);
    }

    /// A worker gives any lease back.
    fn give_back(&mut self, worker: usize) {
        let Worker { leases, shares, held } = &mut self.workers[worker];
        self.tally.steps += 1;
        if held.is_empty() {
            return;
        }
        let (dest, lease) = held.swap_remove(self.random.next(held.len()));
        let number = self.random.next(1 << 32) as u32;
        let last = Last::new(number, (number & 1 == 0).then_some(!number));
        leases.give_back(lease.pair, lease.lport, last, self.now);
        let share = shares.get_mut(&(lease.laddr, dest)).expect("a pair with leases lasts");
        share.idle.push_back((lease.lport, last));
        share.held -= 1;
        share.whole_since = self.now;
    }

    /// Time passes; a worker gives pairs up that have been whole for long.
    fn give_up(&mut self, worker: usize, millis: u32) {
        self.now = self.now.after(millis);
        let Worker { leases, shares, .. } = &mut self.workers[worker];
        let before = shares.len();
        leases.give_up(self.now, usize::MAX);
        shares.retain(|_, s| s.held > 0 || self.now.0 - s.whole_since.0 < WHOLE);
        self.tally.given_up += (before - shares.len()) as u64;
        self.tally.steps += 1;
    }

    fn check(&self) {
        for w in &self.workers {
            assert_eq!(w.leases.held(), w.held.len());
            assert_eq!(w.leases.pairs(), w.shares.len());
        }
    }

    /// One step: more are leased than given back for a while, then the other way round.
    fn step(&mut self, n: u32) {
        let worker = self.random.next(self.workers.len());
        let lease_of_ten = if (n / 2000).is_multiple_of(2) { 7 } else { 3 };
        match self.random.next(1000) {
            0 => self.give_up(worker, 7_000),
            r if r % 10 < lease_of_ten => {
                // Mostly the dest that is all but used up; the others over all addresses.
                let dest = dest(self.random.next(12).saturating_sub(7));
                let addresses = if dest == self::dest(0) { 1 } else { POOL };
                self.lease(worker, dest, addresses);
            }
            _ => self.give_back(worker),
        }
    }

    /// All come back, all pairs are given up, and each worker has its whole share again.
    fn end(mut self) -> Tally {
        for worker in 0..self.workers.len() {
            while !self.workers[worker].held.is_empty() {
                self.give_back(worker);
            }
            self.check();
            self.give_up(worker, WHOLE);
            let leases = &self.workers[worker].leases;
            assert_eq!((leases.held(), leases.pairs(), leases.bytes()), (0, 0, 0));
        }
        self.use_up(dest(0), 0);
        let ports: usize = self.workers.iter().map(|w| w.held.len()).sum();
        assert_eq!(ports, PORTS as usize, "all of a pair, over all workers");
        self.tally
    }

    /// Every worker leases all but so many ports of the first address toward a dest.
    fn use_up(&mut self, dest: Dest, but: usize) {
        for worker in 0..self.workers.len() {
            for _ in 0..own(worker, self.workers.len()).count() - but {
                self.lease(worker, dest, 1);
            }
        }
    }
}

fn dest(n: usize) -> Dest {
    let proto = if n.is_multiple_of(2) { Proto::Tcp } else { Proto::Udp };
    (proto, Addr::v4(0x0a00_0000 + n as u32 / 2), 80 + n as u16 % 3)
}

fn run(seed: u64, workers: usize, secret: Option<u64>) -> Tally {
    let mut run = Run::new(seed, workers, secret);
    run.use_up(dest(0), 60);
    for n in 0..STEPS {
        run.step(n);
        if n.is_multiple_of(64) {
            run.check();
        }
    }
    run.end()
}

#[test]
fn leases_do_what_a_simple_model_does_over_millions_of_steps_by_1_to_7_workers() {
    let all = Cell::new(Tally::default());
    for (workers, secret) in (1..=7).flat_map(|n| [(n, None), (n, Some(n as u64))]) {
        let config = Config { cases: RUNS, failure_persistence: None, ..Config::default() };
        let result = TestRunner::new(config).run(&any::<u64>(), |seed| {
            let (t, sum) = (run(seed, workers, secret), all.get());
            all.set(Tally {
                steps: sum.steps + t.steps,
                leased: sum.leased + t.leased,
                remembered: sum.remembered + t.remembered,
                used_up: sum.used_up + t.used_up,
                given_up: sum.given_up + t.given_up,
            });
            Ok(())
        });
        if let Err(why) = result {
            panic!("{workers} workers: {why}");
        }
    }
    let t = all.get();
    println!("{t:?}");
    assert!(t.steps > 3_000_000 && t.leased > 1_000_000, "{t:?}");
    assert!(t.remembered > 100_000 && t.used_up > 1000 && t.given_up > 100, "{t:?}");
}
