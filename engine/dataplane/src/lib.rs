//! The data plane: frames in, frames out.
//!
//! Sans-I/O: no clock, no thread, no socket, no lock, no log and no allocation per packet. Read
//! `pipeline` first: it takes one burst through every step. It decides as the kernel's IPVS does; where not,
//! `parity` says why.
#![forbid(unsafe_code)]

pub mod acl;
pub mod conn;
pub mod fragments;
pub mod frame;
pub mod isn;
pub mod laddr;
pub mod matching;
pub mod neigh;
#[doc = include_str!("parity.md")]
pub mod parity {}
pub mod parse;
pub mod pipeline;
pub mod sched;
pub mod service;
pub mod snapshot;
pub mod snat;
pub mod stats;
pub mod steer;
pub mod templates;
pub mod tick;
pub mod toeplitz;
pub mod tuple;
pub mod verdict;
pub mod wire;
pub mod xmit;
