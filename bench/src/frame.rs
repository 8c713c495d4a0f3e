//! Frames with the memory layout of mbufs: one pointer wide, a metadata line before the data, an
//! odd number of lines apart, so that the caches see what they see under DPDK.

use pointsman_dataplane::frame::Frame;
use pointsman_dataplane::frame::Pool;

/// A frame of the benches.
pub struct BenchFrame(Box<hw::Buffer>);

impl BenchFrame {
    /// An empty one.
    pub fn empty() -> Self {
        Self(hw::Buffer::empty())
    }

    /// Makes it hold `content`, whatever it held.
    pub fn restore(&mut self, content: &[u8]) {
        self.0.clear();
        self.0.set_len(content.len());
        self.data_mut().copy_from_slice(content);
    }
}

impl Frame for BenchFrame {
    #[inline(always)]
    fn data(&self) -> &[u8] {
        self.0.data()
    }

    #[inline(always)]
    fn data_mut(&mut self) -> &mut [u8] {
        self.0.data_mut()
    }

    fn prepend(&mut self, n: usize) -> bool {
        self.0.prepend(n)
    }

    fn trim_front(&mut self, n: usize) -> bool {
        self.0.trim_front(n)
    }

    fn set_len(&mut self, len: usize) -> bool {
        self.0.set_len(len)
    }

    fn cut(&mut self, len: usize) -> bool {
        self.0.cut(len)
    }

    #[inline(always)]
    fn prefetch(&self) {
        self.0.prefetch();
    }
}

/// A pool that has nothing: established traffic makes no frames.
pub struct NoFrames;

impl Pool for NoFrames {
    type Frame = BenchFrame;

    fn alloc(&mut self) -> Option<BenchFrame> {
        None
    }
}

/// A pool that makes frames as they are asked for: before the clock runs.
pub struct Boxes;

impl Pool for Boxes {
    type Frame = BenchFrame;

    fn alloc(&mut self) -> Option<BenchFrame> {
        Some(BenchFrame::empty())
    }
}
