//! Ways out: one file per thing that can be done to a packet. All work in place, on bytes.

pub mod answer;
pub mod cross;
pub mod cross_icmp;
pub mod fragment;
pub mod icmp;
pub mod proxy;
pub mod reset;
pub mod rewrite;
pub mod sctp;
pub mod segment;
pub mod stream;
pub mod syn;
pub mod tunnel;
