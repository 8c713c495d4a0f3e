//! What the pipeline needs of a frame and of the place new frames come from.
//!
//! A frame is owned: dropping it gives its memory back to its pool. The drivers (`io` in the
//! director) implement these for DPDK's mbufs and for plain memory.

/// How many frames one turn takes from a queue.
pub const BURST: usize = 32;

/// Room before the first byte that a received frame has at least: what a tunnel header, an ICMP
/// error (both v6) and a VLAN tag need, and DPDK's default.
pub const HEADROOM: usize = 128;

/// A burst of frames.
pub type Burst<F> = arrayvec::ArrayVec<F, BURST>;

/// An Ethernet frame without its check sequence, in one piece.
pub trait Frame: Sized {
    /// The frame, from its Ethernet header on.
    fn data(&self) -> &[u8];

    /// The same, writable.
    fn data_mut(&mut self) -> &mut [u8];

    /// Grows the frame by `n` bytes (of undefined content) at its front; false, and unchanged,
    /// where the headroom does not suffice.
    fn prepend(&mut self, n: usize) -> bool;

    /// Cuts `n` bytes off its front; false, and unchanged, where it is shorter than that.
    fn trim_front(&mut self, n: usize) -> bool;

    /// Cuts or grows its end (new bytes are of undefined content); false, and unchanged, where the
    /// tailroom does not suffice.
    fn set_len(&mut self, len: usize) -> bool;

    /// Asks the processor for its first line.
    fn prefetch(&self);
}

/// Where new frames come from.
pub trait Pool {
    /// Its frames.
    type Frame: Frame;

    /// An empty frame with `HEADROOM`, or none when the pool is used up.
    fn alloc(&mut self) -> Option<Self::Frame>;
}
