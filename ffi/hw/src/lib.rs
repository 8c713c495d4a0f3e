//! What the processor offers, as safe functions and types: time stamp counter,
//! prefetch, SIMD tag match, huge-page slices, the benches' counting allocator, what a frame in memory is,
//! and tap devices.
//!
//! All `unsafe` that the rest of the house would need for speed lives here (and in
//! `dpdk-sys`); everything exported is safe to call with any argument.

pub mod alloc;
mod apart;
mod buffer;
mod frame;
mod huge;
mod prefetch;
mod simd;
mod tap;
mod time;

pub use apart::interruptions;
pub use buffer::Buffer;
pub use frame::Frame;
pub use huge::HugeSlice;
pub use prefetch::lines_under_way;
pub use prefetch::prefetch;
pub use prefetch::prefetch_index;
pub use simd::match16;
pub use tap::Tap;
pub use time::TscClock;
pub use time::idle_steps;
pub use time::tsc;
pub use time::tsc_hz;
pub use time::tsc_is_steady;
/// What a [`HugeSlice`] may hold. Derive it with `#[derive(zerocopy::FromZeros)]`,
/// which `#![forbid(unsafe_code)]` allows (the crate needs `zerocopy` as a dependency).
pub use zerocopy::FromZeros;
