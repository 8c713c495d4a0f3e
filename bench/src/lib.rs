//! What the benches measure with: frames laid out as mbufs are, and made traffic over a made
//! director.

#![forbid(unsafe_code)]

pub mod frame;
pub mod workload;
