//! What is counted by callgrind: the workloads of the other benches, small, and without a clock.
//!
//! `cargo bench -p pointsman-bench --bench counts -- WHAT OF [--deny N]` (scripts/instructions does it, under valgrind):
//! - `packets METHOD`: packets of a thousand established conns (`one_burst`), with an access list of `N` entries;
//! - `lives METHOD`: conns from SYN to expiry, each with its part of the turns of housekeeping meanwhile (`one_burst`,
//!   `one_turn`);
//! - `turns METHOD`: turns of housekeeping, each of which closes as many conns as a turn may and looks at as many lines
//!   (`one_turn`);
//! - `swaps 10x1000`: snapshots of 10 services of 1,000 dests each, of which every dest's weight is another one than
//!   before (`one_swap`).
//!
//! Prints how many of them there were, by which the count is to be divided, and the allocations, which must be 0.

use pointsman_bench::churn::BESIDE;
use pointsman_bench::churn::Churn;
use pointsman_bench::established::Established;
use pointsman_bench::established::RING;
use pointsman_bench::services;
use pointsman_bench::workload::Method;
use pointsman_bench::workload::Workload;
use pointsman_dataplane::pipeline::MAX_CLOSED;
use pointsman_dataplane::pipeline::MAX_SWEPT;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: hw::alloc::CountingAllocator = hw::alloc::CountingAllocator;

/// Conns whose packets are counted.
const CONNS: usize = 1000;
/// Rings of such packets.
const RINGS: usize = 128;
/// Times 1,024 conns that come in a second.
const A_SECOND: usize = 8;
/// And in all.
const BATCHES: usize = 32;
/// Turns of housekeeping.
const TURNS: usize = 4;
/// Swaps.
const SWAPS: usize = 2;

fn main() -> ExitCode {
    pointsman_bench::finish(run())
}

fn run() -> Result<u64, Box<dyn Error>> {
    // `--bench` is what cargo adds by itself.
    let args: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let (count, allocations) = match args[..] {
        ["packets", of] => packets(method(of)?, 0)?,
        ["packets", of, "--deny", entries] => packets(method(of)?, entries.parse()?)?,
        ["lives", of] => lives(method(of)?)?,
        ["turns", of] => turns(method(of)?)?,
        ["swaps", of] => swaps(of)?,
        _ => return Err("wants packets|lives|turns METHOD or swaps SERVICESxDESTS".into()),
    };
    println!("count: {count}");
    println!("allocations: {allocations}");
    Ok(allocations)
}

fn method(name: &str) -> Result<Method, String> {
    let known = Method::ALL.into_iter().find(|m| m.name() == name);
    known.ok_or_else(|| format!("unknown method {name}"))
}

fn packets(method: Method, denied: usize) -> Result<(usize, u64), Box<dyn Error>> {
    let mut workload = Workload::new(method, CONNS)?;
    if denied > 0 {
        workload.deny(denied);
    }
    let mut traffic = Established::new(workload);
    (0..RINGS).for_each(|_| _ = traffic.ring());
    Ok((RINGS * RING, traffic.allocations))
}

fn lives(method: Method) -> Result<(usize, u64), Box<dyn Error>> {
    let mut churn = Churn::new(method, 0, A_SECOND)?;
    (0..BATCHES).for_each(|_| _ = churn.batch());
    churn.storm();
    Ok((BATCHES * BESIDE, churn.allocations))
}

fn turns(method: Method) -> Result<(usize, u64), Box<dyn Error>> {
    let lines = TURNS * MAX_SWEPT as usize;
    let mut churn = Churn::new(method, lines, 1)?;
    churn.reset_each(MAX_SWEPT as usize / MAX_CLOSED);
    let (left, expected) = (churn.turns(TURNS), lines - TURNS * MAX_CLOSED);
    if left != expected {
        return Err(
            format!("{left} conns are left, not {expected}: the turns were not full").into()
        );
    }
    Ok((TURNS, churn.allocations))
}

fn swaps(of: &str) -> Result<(usize, u64), Box<dyn Error>> {
    let (services, each) = of.split_once('x').ok_or("wants SERVICESxDESTS")?;
    let shape = (services.parse()?, each.parse()?);
    let mut w = services::director()?;
    let base = Arc::clone(w.pipeline.snapshot());
    let makes = |weight| services::snapshot(&base, shape, weight, 0);
    drop(w.pipeline.swap(makes(1)));
    let mut allocations = 0;
    for weight in 0..SWAPS as u32 {
        let new = makes(2 + weight);
        let before = hw::alloc::count();
        let old = w.one_swap(new);
        allocations += hw::alloc::count() - before;
        drop(old);
    }
    Ok((SWAPS, allocations))
}
