//! How far two cores are from each other: nanoseconds that a line of memory takes from one to the other and back.
//!
//! `cargo bench -p pointsman-bench --features dpdk --bench line [-- --cores 0,1 --milliseconds 50]`
//!
//! What goes from process to process by shared memory, as net_memif's frames do, waits for such lines. On a virtual
//! machine it is another time whenever the host moves a processor, by sixfold within a second, so `scripts/compare` holds
//! it beside what it measures there.

use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

/// The line; the next ones are no other's, for they are fetched in pairs.
#[repr(align(128))]
struct Line(AtomicU64);

static LINE: Line = Line(AtomicU64::new(0));
/// Round trips between two looks at the clock.
const TRIPS: u64 = 1000;
/// Ends the other side.
const OVER: u64 = u64::MAX;

fn main() -> ExitCode {
    pointsman_bench::finish(run().map(|()| 0))
}

fn run() -> Result<(), Box<dyn Error>> {
    let (mut cores, mut time) = (vec![0, 1], Duration::from_millis(50));
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} wants a value"));
        match arg.as_str() {
            "--cores" => cores = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--milliseconds" => time = Duration::from_millis(value()?.parse()?),
            // What cargo adds by itself.
            "--bench" => {}
            _ => {
                let known = "--cores A,B --milliseconds N";
                return Err(format!("unknown option {arg}; known are {known}").into());
            }
        }
    }
    let [near, far] = cores[..] else { return Err("--cores wants two, like 0,1".into()) };
    let pin = |core| match core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        true => Ok(()),
        false => Err(format!("cannot be pinned to core {core}")),
    };
    let ns = std::thread::scope(|scope| {
        let answering = scope.spawn(|| pin(far).map(|()| answer()));
        let ns = pin(near).and_then(|()| ask(time, || answering.is_finished()));
        LINE.0.store(OVER, Ordering::Release);
        answering.join().map_err(|_| "the other side panicked")??;
        ns.map_err(Box::<dyn Error>::from)
    })?;
    println!("{ns:.0}");
    Ok(())
}

/// Odd numbers are questions, the even ones after them answers.
fn answer() {
    let mut next = 1;
    loop {
        match LINE.0.load(Ordering::Acquire) {
            OVER => return,
            asked if asked == next => {
                LINE.0.store(next + 1, Ordering::Release);
                next += 2;
            }
            _ => {}
        }
    }
}

/// Nanoseconds a round trip.
fn ask(time: Duration, over: impl Fn() -> bool) -> Result<f64, String> {
    let (mut began, mut next) = (Instant::now(), 1);
    loop {
        for _ in 0..TRIPS {
            LINE.0.store(next, Ordering::Release);
            while LINE.0.load(Ordering::Acquire) != next + 1 {
                if over() {
                    return Err("the other side has gone".into());
                }
            }
            next += 2;
        }
        // the first ones wait for the other thread to begin
        if next == 2 * TRIPS + 1 {
            began = Instant::now();
        } else if began.elapsed() >= time {
            return Ok(began.elapsed().as_nanos() as f64 / (next / 2 - TRIPS) as f64);
        }
    }
}
