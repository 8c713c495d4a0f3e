//! The conn table alone against hashbrown's: nanoseconds to find the conn of a tuple, by number of conns; and ours at
//! one and nine tenths of its room. Both have the same lines, hash and tuples; each reads the line that it finds.
//!
//! `cargo bench -p pointsman-bench --bench table [-- --conns 1000,100000,1000000,10000000 --rounds 9]`
//!
//! Tuples are drawn uniformly, in bursts of 64 as the pipeline looks them up: index lines and conns asked for ahead
//! of time (`conn::Ahead`). hashbrown's table has no way to ask for a line ahead.

use hashbrown::HashTable;
use pointsman_bench::workload::Random;
use pointsman_dataplane::conn::Ahead;
use pointsman_dataplane::conn::Conns;
use pointsman_dataplane::conn::Direction;
use pointsman_dataplane::conn::Ends;
use pointsman_dataplane::conn::Opening;
use pointsman_dataplane::conn::Timeouts;
use pointsman_dataplane::conn::Track;
use pointsman_dataplane::frame::BURST;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tick::Stamp;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Hasher;
use pointsman_dataplane::tuple::Narrow;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::tuple::Tuple;
use pointsman_dataplane::wire::tcp;
use std::process::ExitCode;

const NOW: Stamp = Stamp(0);
/// Look-ups of a round.
const LOOKS: usize = 1 << 20;

fn main() -> ExitCode {
    pointsman_bench::finish(run().map(|()| 0))
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let (mut conns, mut rounds) = (vec![1000, 100_000, 1_000_000, 10_000_000], 9);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} wants a value"));
        match arg.as_str() {
            "--conns" => {
                conns = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--rounds" => rounds = value()?.parse()?,
            // What cargo adds by itself.
            "--bench" => {}
            _ => {
                return Err(
                    format!("unknown option {arg}; known are --conns N,N,.. --rounds N").into()
                );
            }
        }
    }
    println!(
        "   conns  ns to find: ours  hashbrown  ratio   ours at 1/10  at 9/10  ratio   bytes a conn"
    );
    for &n in &conns {
        let mut full = Ours::new(n, n)?;
        let theirs = Theirs::new(n);
        // in turns, so that a busy moment meets both
        let (mut ours, mut others) = (Vec::new(), Vec::new());
        for round in 0..=rounds.max(1) {
            let (a, b) = (looks(n, |t| full.find(t)), looks(n, |t| theirs.find(t)));
            // The first warms up.
            if round > 0 {
                ours.push(a);
                others.push(b);
            }
        }
        let bytes =
            [full.conns.bytes_per_conn(false, false), full.conns.bytes_per_conn(false, true)];
        drop((full, theirs));
        let mut tables = [Ours::new(n, n * 10)?, Ours::new(n, (n * 10).div_ceil(9))?];
        let mut ns = [Vec::new(), Vec::new()];
        for _ in 0..=rounds.max(1) {
            for (table, ns) in tables.iter_mut().zip(&mut ns) {
                ns.push(looks(n, |t| table.find(t)));
            }
        }
        let [empty, crowded] = ns.map(|ns| median(ns[1..].to_vec()));
        let (ours, others) = (median(ours), median(others));
        println!(
            "{n:>8} {ours:>17.1} {others:>10.1} {:>6.1} {empty:>14.1} {crowded:>8.1} {:>6.2}   {:.0}, full-NAT {:.0}",
            others / ours,
            crowded / empty,
            bytes[0],
            bytes[1],
        );
    }
    Ok(())
}

fn median(mut ns: Vec<f64>) -> f64 {
    ns.sort_by(f64::total_cmp);
    ns[ns.len() / 2]
}

/// Nanoseconds a look-up, of bursts of tuples of which each must be found.
fn looks(conns: usize, mut find: impl FnMut(&[Narrow; BURST]) -> usize) -> f64 {
    let mut random = Random(11);
    let (mut cycles, mut found) = (0, 0);
    for _ in 0..LOOKS / BURST {
        let tuples = core::array::from_fn(|_| {
            let ends = ends(random.below(conns) as u32);
            Narrow::of(&if random.draw() & 1 == 0 { ends.original() } else { ends.reply() })
        });
        let start = hw::tsc();
        found += find(&tuples);
        cycles += hw::tsc() - start;
    }
    assert_eq!(found, LOOKS, "each is found");
    cycles as f64 * 1e9 / hw::tsc_hz() as f64 / LOOKS as f64
}

/// Of the quality that a process draws at its start: with small keys most conns share few buckets.
fn keys() -> [u64; 4] {
    let mut random = Random(1);
    core::array::from_fn(|_| random.draw())
}

/// The `n`-th conn's, under full-NAT.
fn ends(n: u32) -> Ends {
    Ends {
        proto: Proto::Tcp,
        caddr: Addr::v4(0x0b00_0000 + n / 60_000),
        cport: (1024 + n % 60_000) as u16,
        vaddr: Addr::v4(0x0a01_0064),
        vport: 80,
        laddr: Addr::v4(0x0a02_0064 + n / 60_000),
        lport: (1024 + n % 60_000) as u16,
        daddr: Addr::v4(0x0a02_0002 + n % 4),
        dport: 80,
    }
}

struct Ours {
    hasher: Hasher,
    conns: Conns,
    ahead: Ahead,
}

impl Ours {
    fn new(n: usize, room: usize) -> std::io::Result<Self> {
        let hasher = Hasher::new(keys());
        let (mut conns, timeouts) = (Conns::new(room, hasher)?, Timeouts::default());
        for n in 0..n as u32 {
            let opening = Opening {
                ends: ends(n),
                dest: DestId(n % 4),
                forward: Forward::FullNat,
                track: Track::NEW,
                shifts: false,
                tries: 0,
            };
            let id = conns
                .open(&opening, NOW.after(900_000))
                .map_err(|e| std::io::Error::other(format!("{e:?}")))?;
            let segments = [
                (Direction::Original, tcp::SYN),
                (Direction::Reply, tcp::SYN | tcp::ACK_BIT),
                (Direction::Original, tcp::ACK_BIT),
            ];
            for (way, flags) in segments {
                conns.get_mut(id).step(way, flags, (1, 1), false, NOW, &timeouts);
            }
        }
        Ok(Self { hasher, conns, ahead: Ahead::default() })
    }

    /// As the plain lane does it.
    fn find(&mut self, tuples: &[Narrow; BURST]) -> usize {
        self.ahead.begin(BURST);
        for (n, tuple) in tuples.iter().enumerate() {
            self.ahead.add(&self.conns, BURST - 1 - n, self.hasher.narrow(tuple));
        }
        let mut count = 0;
        for (n, tuple) in tuples.iter().enumerate() {
            self.ahead.go_to(&self.conns, BURST - 1 - n);
            let found = self.ahead.get(BURST - 1 - n);
            let is_it =
                found.get().is_some_and(|(id, way)| self.conns.get(id).goes_on_as(way, tuple, NOW));
            let hash = self.hasher.narrow(tuple);
            let is_there = is_it || self.conns.find(hash, &Tuple::from(*tuple)).is_some();
            count += usize::from(is_there);
        }
        count
    }
}

/// Lines as ours are, found by hashbrown.
struct Theirs {
    hasher: Hasher,
    table: HashTable<(u32, Direction)>,
    lines: Vec<Line>,
}

#[repr(align(64))]
struct Line {
    tuples: [Narrow; 2],
}

impl Theirs {
    fn new(n: usize) -> Self {
        let hasher = Hasher::new(keys());
        let (mut table, mut lines) =
            (HashTable::with_capacity(2 * n), Vec::<Line>::with_capacity(n));
        for n in 0..n as u32 {
            let tuples = [Narrow::of(&ends(n).original()), Narrow::of(&ends(n).reply())];
            lines.push(Line { tuples });
            for way in [Direction::Original, Direction::Reply] {
                let hash = |&(n, way): &(u32, Direction)| {
                    hasher.narrow(&lines[n as usize].tuples[way as usize])
                };
                table.insert_unique(hash(&(n, way)), (n, way), hash);
            }
        }
        Self { hasher, table, lines }
    }

    fn find(&self, tuples: &[Narrow; BURST]) -> usize {
        let found = |t: &&Narrow| {
            let is_it =
                |&(n, way): &(u32, Direction)| self.lines[n as usize].tuples[way as usize] == **t;
            self.table.find(self.hasher.narrow(t), is_it).is_some()
        };
        tuples.iter().filter(found).count()
    }
}
