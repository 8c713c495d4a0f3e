//! Pointsman, a userland L4 director.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    pointsman::cli::main()
}
