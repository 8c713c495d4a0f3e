//! The pipeline alone: nanoseconds per established packet, by method and number of conns.
//!
//! `cargo bench -p pointsman-bench --bench pipeline [-- OPTIONS]`, OPTIONS being
//! `--conns 1,100000,1000000`, `--rounds 15`, `--packets 1048576` (of a round, a multiple of 1,024),
//! `--deny 0` (entries of an access list) and `--methods dr,tunnel,nat,fullnat,rewriting` (full-NAT of sequence numbers
//! and timestamps, too).
//!
//! TCP over IPv4, 64-byte frames, a uniformly random conn per frame, bursts of 64, both directions
//! where both pass the director; state, timers and counters on; frames are filled outside the
//! clock. A round is 2^20 packets if not said otherwise; printed are minimum, median and maximum of the rounds, and the
//! allocations of all of them, which must be 0.

use pointsman_bench::established::Established;
use pointsman_bench::established::RING;
use pointsman_bench::workload::Method;
use pointsman_bench::workload::Workload;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: hw::alloc::CountingAllocator = hw::alloc::CountingAllocator;

fn main() -> ExitCode {
    pointsman_bench::finish(run())
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

/// Nanoseconds per packet of each round of so many rings, and all allocations.
fn measure(w: Workload, rounds: usize, rings: usize) -> (Vec<f64>, u64) {
    let mut traffic = Established::new(w);
    let mut round = || {
        let cycles: u64 = (0..rings).map(|_| traffic.ring()).sum();
        cycles as f64 * 1e9 / hw::tsc_hz() as f64 / (rings * RING) as f64
    };
    // The first one warms up.
    round();
    let results = (0..rounds).map(|_| round()).collect();
    (results, traffic.allocations)
}
