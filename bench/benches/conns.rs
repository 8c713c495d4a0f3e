//! New conns: nanoseconds for one from its SYN to its end, with so many that stand meanwhile.
//!
//! `cargo bench -p pointsman-bench --bench conns [-- OPTIONS]`, OPTIONS being `--conns 10000,1000000`, `--rounds 9`,
//! `--a-second 1024` (times 1,024 conns) and `--methods dr,tunnel,nat,fullnat,rewriting`.
//!
//! What a conn is: `churn`. As many come in a second as said, each lasts a second after its RST, and housekeeping has its
//! turns: with the usual 1,024 times 1,024 each packet finds its lines in no near cache. Medians of the parts (each
//! packet's, and housekeeping's) stand at the end of each line. Then come what a housekeeping turn costs when all that
//! stands runs out at one moment, and for comparison the gaps that this machine tears into a loop that does nothing but
//! read the clock.

use pointsman_bench::churn::BESIDE;
use pointsman_bench::churn::Churn;
use pointsman_bench::churn::STEPS;
use pointsman_bench::workload::Method;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: hw::alloc::CountingAllocator = hw::alloc::CountingAllocator;

/// Times 1,024 conns in a round.
const BATCHES: usize = 256;

fn main() -> ExitCode {
    pointsman_bench::finish(run())
}

fn run() -> Result<u64, Box<dyn std::error::Error>> {
    let (mut conns, mut rounds, mut methods) = (vec![10_000, 1_000_000], 9, Method::ALL.to_vec());
    let mut a_second = 1024;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} wants a value"));
        match arg.as_str() {
            "--conns" => {
                conns = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--rounds" => rounds = value()?.parse::<usize>()?.max(1),
            "--a-second" => a_second = value()?.parse::<usize>()?.max(1),
            "--methods" => {
                let names = value()?;
                methods.retain(|m| names.split(',').any(|n| n == m.name()));
            }
            // What cargo adds by itself.
            "--bench" => {}
            _ => {
                let known = "--conns N,N,.. --rounds N --a-second N --methods M,M,..";
                return Err(format!("unknown option {arg}; known are {known}").into());
            }
        }
    }
    let mut allocations = 0;
    println!(
        "method     standing  ns/conn: min   median      max  million/s  turn us: 99.9 %      max  (storm)  of it {}",
        STEPS.join(" ")
    );
    for method in methods {
        for &standing in &conns {
            let mut churn = Churn::new(method, standing, a_second)?;
            let steps = rounds_of(&mut churn, rounds, a_second);
            let [min, median, max] = spread(steps.iter().map(|steps| steps.iter().sum()));
            let turns = churn.storm().into_iter().map(|cycles| nanos(cycles) / 1e3);
            let [late, latest] = late_and_latest(turns.collect());
            let of_it = (0..STEPS.len()).map(|n| spread(steps.iter().map(|steps| steps[n]))[1]);
            let of_it: Vec<_> = of_it.map(|ns| format!("{ns:.0}")).collect();
            println!(
                "{:9} {standing:>9} {min:>13.0} {median:>8.0} {max:>8.0} {:>10.2} {late:>16.1} {latest:>8.1}           {}",
                method.name(),
                1e3 / median,
                of_it.join(" ")
            );
            allocations += churn.allocations;
        }
    }
    let gaps = idle_gaps();
    let ms = gaps.len();
    let [late, latest] = late_and_latest(gaps);
    println!("idle spin, longest gap in each of {ms} ms: 99.9 % {late:.1} us, max {latest:.1} us");
    println!("allocations: {allocations}");
    Ok(allocations)
}

/// The least, the median and the largest.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut sorted: Vec<_> = values.collect();
    sorted.sort_by(f64::total_cmp);
    [sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1]]
}

/// The 99.9th percentile, by nearest rank, and the largest.
fn late_and_latest(mut sorted: Vec<f64>) -> [f64; 2] {
    sorted.sort_by(f64::total_cmp);
    [sorted[(sorted.len() * 999).div_ceil(1000) - 1], sorted[sorted.len() - 1]]
}

fn nanos(cycles: u64) -> f64 {
    cycles as f64 * 1e9 / hw::tsc_hz() as f64
}

/// Nanoseconds a conn of each round, by `STEPS`.
fn rounds_of(churn: &mut Churn, rounds: usize, a_second: usize) -> Vec<[f64; STEPS.len()]> {
    churn.warm();
    let mut round = || {
        let mut sum = [0; STEPS.len()];
        for _ in 0..BATCHES {
            sum.iter_mut().zip(churn.batch()).for_each(|(sum, cycles)| *sum += cycles);
        }
        sum.map(|cycles| nanos(cycles) / (BATCHES * BESIDE) as f64)
    };
    let ns = (0..rounds).map(|_| round()).collect();
    let open = churn.open();
    // A second after the RST, and at most the sweep's second.
    let expected = a_second * BESIDE..=2 * a_second * BESIDE + BESIDE;
    assert!(expected.contains(&open), "{open} conns come and go");
    ns
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
