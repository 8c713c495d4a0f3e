//! Pointsman, a userland L4 director: everything with a clock, a thread, a socket or a file.
//!
//! `serve` puts a director together from a driver's ports (`io`), workers (`worker`) and the
//! control thread (`control`); `cli` is the command line. What happens to a frame is decided in
//! the package `pointsman-dataplane`.
#![forbid(unsafe_code)]

pub mod cli;
pub mod control;
pub mod io;
mod memory;
pub mod replay;
pub mod serve;
pub mod worker;
