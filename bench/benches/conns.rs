//! New conns: nanoseconds for one from its SYN to its end, with so many that stand meanwhile.
//!
//! `cargo bench -p pointsman-bench --bench conns [-- OPTIONS]`, OPTIONS being `--conns 10000,1000000`, `--rounds 9` and
//! `--methods dr,tunnel,nat,fullnat,rewriting`.
//!
//! A conn is SYN, SYN-ACK (where replies pass the director), ACK, RST and its expiry, with lease and numbers under
//! full-NAT. 1,024 of them go side by side, and each lasts a second after its RST, so that each packet finds its
//! lines in no near cache. A millisecond passes for each 1,024, and housekeeping has its turns; frames are written
//! outside the clock. Then come what a housekeeping turn costs when all that stands runs out at one moment, and for
//! comparison the gaps that this machine tears into a loop that does nothing but read the clock.

use pointsman_bench::frame::BenchFrame;
use pointsman_bench::frame::Boxes;
use pointsman_bench::frame::NoFrames;
use pointsman_bench::workload::Method;
use pointsman_bench::workload::Packet;
use pointsman_bench::workload::Workload;
use pointsman_dataplane::conn::State;
use pointsman_dataplane::conn::Timeouts;
use pointsman_dataplane::frame::BURST;
use pointsman_dataplane::frame::Burst;
use pointsman_dataplane::frame::Frame as _;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::wire::tcp;
use std::process::ExitCode;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: hw::alloc::CountingAllocator = hw::alloc::CountingAllocator;

/// Conns side by side.
const BESIDE: usize = 1024;
/// Batches of them in a round.
const BATCHES: usize = 256;
/// Until as many run out as are opened: a second's worth, and the sweep's second.
const WARM: usize = 2 * 1024;
/// Housekeeping turns a millisecond: a busy worker has one each 256 of its own.
const TURNS: u32 = 4;
/// Seconds that the conns which stand live without a packet.
const STANDING: u64 = 900;

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(allocations) => {
            eprintln!("{allocations} allocations: there must be none");
            ExitCode::FAILURE
        }
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<u64, Box<dyn std::error::Error>> {
    let (mut conns, mut rounds, mut methods) = (vec![10_000, 1_000_000], 9, Method::ALL.to_vec());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} wants a value"));
        match arg.as_str() {
            "--conns" => {
                conns = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--rounds" => rounds = value()?.parse()?,
            "--methods" => {
                let names = value()?;
                methods.retain(|m| names.split(',').any(|n| n == m.name()));
            }
            // What cargo adds by itself.
            "--bench" => {}
            _ => {
                let known = "--conns N,N,.. --rounds N --methods M,M,..";
                return Err(format!("unknown option {arg}; known are {known}").into());
            }
        }
    }
    let mut allocations = 0;
    println!(
        "method     standing  ns/conn: min   median      max  million/s  turn us: 99.9 %      max  (storm)"
    );
    for method in methods {
        for &standing in &conns {
            let mut churn = Churn::new(method, standing)?;
            let mut ns = churn.rounds(rounds.max(1));
            let mut turns = churn.storm();
            ns.sort_by(f64::total_cmp);
            turns.sort_by(f64::total_cmp);
            let [min, median, max] = [ns[0], ns[ns.len() / 2], ns[ns.len() - 1]];
            let [late, latest] = [turns[turns.len() * 999 / 1000], turns[turns.len() - 1]];
            println!(
                "{:9} {standing:>9} {min:>13.0} {median:>8.0} {max:>8.0} {:>10.2} {late:>16.1} {latest:>8.1}",
                method.name(),
                1e3 / median,
            );
            allocations += churn.allocations;
        }
    }
    let mut gaps = idle_gaps();
    gaps.sort_by(f64::total_cmp);
    let [late, latest] = [gaps[gaps.len() * 999 / 1000], gaps[gaps.len() - 1]];
    println!(
        "idle spin, longest gap in each of {} ms: 99.9 % {late:.1} us, max {latest:.1} us",
        gaps.len()
    );
    println!("allocations: {allocations}");
    Ok(allocations)
}

fn nanos(cycles: u64) -> f64 {
    cycles as f64 * 1e9 / hw::tsc_hz() as f64
}

/// A director whose conns come and go.
struct Churn {
    workload: Workload,
    frames: Vec<BenchFrame>,
    now: Tick,
    next: u32,
    standing: usize,
    allocations: u64,
}

impl Churn {
    fn new(method: Method, standing: usize) -> std::io::Result<Self> {
        let mut timeouts = Timeouts::default();
        timeouts.set(State::Close, 1000);
        timeouts.set(State::Established, STANDING as u32 * 1000);
        // What a second brings, closed ones that the sweep has not met yet, and those under way.
        let room = standing + 3 * 1024 * BESIDE;
        let workload = Workload::over(&mut Boxes, method, standing, room, timeouts)?;
        let frames = (0..BESIDE).map(|_| BenchFrame::empty()).collect();
        let (now, next) = (Tick::from_secs(2), standing as u32);
        Ok(Self { workload, frames, now, next, standing, allocations: 0 })
    }

    /// Nanoseconds a conn of each round.
    fn rounds(&mut self, rounds: usize) -> Vec<f64> {
        for _ in 0..WARM {
            self.batch();
        }
        let round = |_| nanos((0..BATCHES).map(|_| self.batch()).sum()) / (BATCHES * BESIDE) as f64;
        let ns = (0..rounds).map(round).collect();
        let open = self.workload.pipeline.conns().len() - self.standing;
        // A second after the RST, and at most the sweep's second.
        assert!(
            (1024 * BESIDE..=2 * 1024 * BESIDE + BESIDE).contains(&open),
            "{open} conns come and go"
        );
        ns
    }

    /// Cycles of 1,024 conns from SYN to RST, and of a millisecond's housekeeping.
    fn batch(&mut self) -> u64 {
        let clients: Vec<_> =
            (0..BESIDE as u32).map(|n| Packet::of_client(self.next + n)).collect();
        self.next += BESIDE as u32;
        let mut cycles = self.pass(&clients, tcp::SYN);
        let dests: Vec<_> =
            self.frames.iter().filter_map(|f| Packet::answering(f.data())).collect();
        if !dests.is_empty() {
            cycles += self.pass(&dests, tcp::SYN | tcp::ACK_BIT);
        }
        cycles += self.pass(&clients, tcp::ACK_BIT);
        cycles += self.pass(&clients, tcp::RST);
        for _ in 0..TURNS {
            self.now = self.now + Duration::from_millis(1) / TURNS;
            cycles += self.turn();
        }
        cycles
    }

    /// Cycles of a packet of each of 1,024 conns; they lie in `frames` afterwards as they left, in this order.
    fn pass(&mut self, packets: &[Packet], flags: u8) -> u64 {
        let mut port = PortId(0);
        for (frame, packet) in self.frames.iter_mut().zip(packets) {
            port = self.workload.write(frame, packet, flags);
        }
        let Workload { pipeline, out, .. } = &mut self.workload;
        let (mut burst, mut done) = (Burst::new(), Vec::with_capacity(BESIDE));
        let before = hw::alloc::count();
        let start = hw::tsc();
        let mut frames = self.frames.drain(..);
        while frames.len() > 0 {
            burst.extend(frames.by_ref().take(BURST));
            pipeline.process(port, &mut burst, self.now, &mut NoFrames, out);
            for tx in &mut out.tx {
                done.extend(tx.drain(..));
            }
        }
        drop(frames);
        let cycles = hw::tsc() - start;
        self.allocations += hw::alloc::count() - before;
        assert_eq!(done.len(), BESIDE, "every frame leaves; dropped: {}", self.workload.dropped());
        self.frames = done;
        cycles
    }

    /// Cycles of one turn of housekeeping.
    fn turn(&mut self) -> u64 {
        let Workload { pipeline, out, .. } = &mut self.workload;
        let before = hw::alloc::count();
        let start = hw::tsc();
        pipeline.housekeeping(self.now, &mut NoFrames, out);
        let cycles = hw::tsc() - start;
        self.allocations += hw::alloc::count() - before;
        cycles
    }

    /// All conns run out at one moment: microseconds of each turn until none is left.
    fn storm(&mut self) -> Vec<f64> {
        self.now = self.now + Duration::from_secs(STANDING);
        let mut turns = Vec::new();
        while !self.workload.pipeline.conns().is_empty() {
            self.now = self.now + Duration::from_millis(1);
            turns.push(nanos(self.turn()) / 1e3);
        }
        turns
    }
}

/// The longest gap between two looks at the clock in each of a thousand milliseconds, in microseconds.
fn idle_gaps() -> Vec<f64> {
    let millisecond = hw::tsc_hz() / 1000;
    let longest = |_| {
        let start = hw::tsc();
        let (mut last, mut longest) = (start, 0);
        while last - start < millisecond {
            let now = hw::tsc();
            longest = longest.max(now - last);
            last = now;
        }
        nanos(longest) / 1e3
    };
    (0..1000).map(longest).collect()
}
