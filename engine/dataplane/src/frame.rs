//! What the pipeline needs of a frame and of the place new frames come from.
//!
//! A frame is owned: dropping it gives its memory back to its pool. The drivers (`io` in the
//! director) have DPDK's mbufs and plain memory for it.

pub use hw::Frame;

/// How many frames one turn takes from a queue.
pub const BURST: usize = 64;

/// Room before the first byte that a received frame has at least: what a tunnel header, an ICMP
/// error (both v6) and a VLAN tag need, and DPDK's default.
pub const HEADROOM: usize = 128;

/// A burst of frames.
pub type Burst<F> = arrayvec::ArrayVec<F, BURST>;

/// Where new frames come from.
pub trait Pool {
    /// Its frames.
    type Frame: Frame;

    /// An empty frame with `HEADROOM`, or none when the pool is used up.
    fn alloc(&mut self) -> Option<Self::Frame>;
}
