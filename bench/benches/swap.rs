//! What a new snapshot costs a worker: microseconds that `Pipeline::swap` takes, by services and the dests of each.
//!
//! `cargo bench -p pointsman-bench --bench swap [-- --rounds 9]`
//!
//! Each round every dest's weight is another one, so that every scheduler has to look at its list; `others`: all dests
//! are others than before, and the worker's turn was at the last one. Beside it the longest gap that a spin sees in which
//! nothing is done, over as many microseconds. Nothing may be allocated once the worker has seen as many services.

use pointsman_bench::services;
use std::process::ExitCode;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: hw::alloc::CountingAllocator = hw::alloc::CountingAllocator;

/// Services, and the dests of each.
const SHAPES: [(u32, u32); 4] = [(1, 10_000), (100, 100), (1_000, 10), (10_000, 1)];

fn main() -> ExitCode {
    pointsman_bench::finish(run())
}

fn run() -> Result<u64, Box<dyn std::error::Error>> {
    let mut rounds = 9;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match (arg.as_str(), args.next()) {
            ("--rounds", Some(n)) => rounds = n.parse::<usize>()?.max(1),
            ("--rounds", None) => return Err("--rounds wants a value".into()),
            // What cargo adds by itself.
            ("--bench", None) => {}
            _ => return Err(format!("unknown option {arg}; known is --rounds N").into()),
        }
    }
    let mut allocations = 0;
    println!("services     dests of each  us, median      max  others  an idle spin's gap");
    for (count, each) in SHAPES {
        let mut w = services::director()?;
        let base = Arc::clone(w.pipeline.snapshot());
        let makes = |weight, first| services::snapshot(&base, (count, each), weight, first);
        let (mut a, mut b, others) = (makes(1, 0), makes(2, 0), makes(3, each));
        a = w.one_swap(a);
        drop(core::mem::replace(&mut a, makes(1, 0)));
        let mut us = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let before = hw::alloc::count();
            let start = hw::tsc();
            let old = w.one_swap(b);
            us.push(microseconds(hw::tsc() - start));
            allocations += hw::alloc::count() - before;
            b = core::mem::replace(&mut a, old);
        }
        // There are more dests than ever before: their counters are made.
        let start = hw::tsc();
        let old = w.one_swap(others);
        let replaced = microseconds(hw::tsc() - start);
        drop(old);
        us.sort_by(f64::total_cmp);
        let (median, max) = (us[us.len() / 2], us[us.len() - 1]);
        let gap = gap(us.iter().sum());
        println!("{count:>8} {each:>17} {median:>11.1} {max:>8.1} {replaced:>7.1} {gap:>19.1}");
    }
    println!("allocations: {allocations}");
    Ok(allocations)
}

fn microseconds(cycles: u64) -> f64 {
    cycles as f64 * 1e6 / hw::tsc_hz() as f64
}

/// The longest time between two looks at the clock, in so many microseconds.
fn gap(us: f64) -> f64 {
    let (start, mut last, mut longest) = (hw::tsc(), hw::tsc(), 0);
    while microseconds(last - start) < us {
        let now = hw::tsc();
        longest = longest.max(now - last);
        last = now;
    }
    microseconds(longest)
}
