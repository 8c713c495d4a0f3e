//! What the benches measure with: frames laid out as mbufs are, and made traffic over a made
//! director. What is timed and what is counted (bench `counts`) is one code.

#![forbid(unsafe_code)]

pub mod churn;
pub mod established;
pub mod frame;
pub mod services;
pub mod turns;
pub mod workload;

use std::error::Error;
use std::process::ExitCode;

/// How a bench ends: well where it ran and counted no allocations.
pub fn finish(allocations: Result<u64, Box<dyn Error>>) -> ExitCode {
    match allocations {
        Ok(0) => return ExitCode::SUCCESS,
        Ok(allocations) => eprintln!("{allocations} allocations: there must be none"),
        Err(e) => eprintln!("{e}"),
    }
    ExitCode::FAILURE
}
