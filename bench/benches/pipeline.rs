//! The pipeline alone: nanoseconds per established packet, by method and number of conns.
//!
//! `cargo bench -p pointsman-bench --bench pipeline [-- OPTIONS]`, OPTIONS being
//! `--conns 1,100000,1000000`, `--rounds 15`, `--packets 1048576` (of a round, a multiple of 1,024),
//! `--deny 0` (entries of an access list) and `--methods dr,tunnel,nat,fullnat,rewriting` (full-NAT of sequence numbers
//! and timestamps, too).
//!
//! TCP over IPv4, 64-byte frames, a uniformly random conn per frame, bursts of 32, both directions
//! where both pass the director; state, timers and counters on; frames are filled outside the
//! clock. A round is 2^20 packets if not said otherwise; printed are minimum, median and maximum of the rounds, and the
//! allocations of all of them, which must be 0.

use pointsman_bench::frame::BenchFrame;
use pointsman_bench::frame::NoFrames;
use pointsman_bench::workload::Method;
use pointsman_bench::workload::Random;
use pointsman_bench::workload::Workload;
use pointsman_dataplane::frame::BURST;
use pointsman_dataplane::frame::Burst;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::tick::Tick;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: hw::alloc::CountingAllocator = hw::alloc::CountingAllocator;

/// Frames filled at a time.
const RING: usize = 1024;
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
    let (mut conns, mut rounds, mut packets) = (vec![1, 100_000, 1_000_000], 15, 1 << 20);
    let (mut methods, mut denied) = (Method::ALL.to_vec(), 0);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} wants a value"));
        match arg.as_str() {
            "--conns" => {
                conns = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--rounds" => rounds = value()?.parse()?,
            "--deny" => denied = value()?.parse()?,
            "--packets" => packets = value()?.parse()?,
            "--methods" => {
                let names = value()?;
                methods.retain(|m| names.split(',').any(|n| n == m.name()));
            }
            // What cargo adds by itself.
            "--bench" => {}
            _ => {
                let known = "--conns N,N,.. --rounds N --packets N --deny N --methods M,M,..";
                return Err(format!("unknown option {arg}; known are {known}").into());
            }
        }
    }
    let mut allocations = 0;
    println!("{:9} {:>9} {:>8} {:>8} {:>8}  ns/packet", "method", "conns", "min", "median", "max");
    for method in methods {
        for &n in &conns {
            let rings = (packets / RING).max(1);
            let mut workload = Workload::new(method, n)?;
            if denied > 0 {
                workload.deny(denied);
            }
            let (mut ns, count) = measure(workload, rounds.max(1), rings);
            ns.sort_by(f64::total_cmp);
            let [min, median, max] = [ns[0], ns[ns.len() / 2], ns[ns.len() - 1]];
            println!("{:9} {n:>9} {min:>8.1} {median:>8.1} {max:>8.1}", method.name());
            allocations += count;
        }
    }
    println!("allocations: {allocations}");
    Ok(allocations)
}

/// What is measured, under a name that callgrind can find (`--toggle-collect=*one_burst*`).
#[inline(never)]
fn one_burst(w: &mut Workload, port: PortId, burst: &mut Burst<BenchFrame>, now: Tick) {
    w.pipeline.process(port, burst, now, &mut NoFrames, &mut w.out);
}

/// Nanoseconds per packet of each round of so many rings, and all allocations.
fn measure(mut w: Workload, rounds: usize, rings: usize) -> (Vec<f64>, u64) {
    let mut random = Random(42);
    let mut ring: Vec<_> = (0..RING).map(|_| BenchFrame::empty()).collect();
    let mut burst = Burst::new();
    let (mut results, mut allocations) = (Vec::new(), 0);
    let mut now = Tick::from_secs(2);
    for round in 0..=rounds {
        let mut cycles = 0;
        for _ in 0..rings {
            let ports = w.fill(&mut ring, &mut random);
            let mut done = Vec::with_capacity(RING);
            let before = hw::alloc::count();
            let start = hw::tsc();
            for port in ports.into_iter().rev() {
                burst.extend(ring.drain(ring.len() - BURST..));
                now = now + core::time::Duration::from_nanos(500);
                one_burst(&mut w, port, &mut burst, now);
                for tx in &mut w.out.tx {
                    done.extend(tx.drain(..));
                }
            }
            cycles += hw::tsc() - start;
            allocations += hw::alloc::count() - before;
            assert_eq!(done.len(), RING, "every frame leaves; dropped: {}", w.dropped());
            ring = done;
        }
        // The first round warms up.
        if round > 0 {
            results.push(cycles as f64 * 1e9 / hw::tsc_hz() as f64 / (rings * RING) as f64);
        }
    }
    (results, allocations)
}
