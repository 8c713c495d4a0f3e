//! A frame in memory. The trait stands here because both sides of it do: the pipeline is written over
//! it, and `dpdk-sys`, which knows nothing of the pipeline, has it for mbufs, so that bursts of mbufs
//! are bursts of the pipeline as they are.

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

    /// Cuts its end; false, and unchanged, where it is shorter than that.
    fn cut(&mut self, len: usize) -> bool;

    /// Asks the processor for its first line.
    fn prefetch(&self);
}
