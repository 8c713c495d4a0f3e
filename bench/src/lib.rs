//! What the benches measure with: frames laid out as mbufs are, and made traffic over a made
//! director.

pub mod frame;
pub mod workload;
