//! Frames with the memory layout of mbufs: one pointer wide, a metadata line before the data, an
//! odd number of lines apart, so that the caches see what they see under DPDK.

use pointsman_dataplane::frame::Frame;
use pointsman_dataplane::frame::HEADROOM;
use pointsman_dataplane::frame::Pool;

const ROOM: usize = 2176;

/// 128 bytes of metadata, headroom and 2,048 bytes of data: 2,304 bytes, and a line of padding as
/// DPDK's mempool spreads its elements.
#[repr(C, align(64))]
struct Buffer {
    head: u32,
    end: u32,
    meta: [u8; 120],
    bytes: [u8; ROOM],
    pad: [u8; 64],
}

/// A frame of the benches.
pub struct BenchFrame(Box<Buffer>);

impl BenchFrame {
    /// An empty one.
    pub fn empty() -> Self {
        let (head, meta, pad) = (HEADROOM as u32, [0; 120], [0; 64]);
        Self(Box::new(Buffer { head, end: head, meta, bytes: [0; ROOM], pad }))
    }

    /// Makes it hold `content`, whatever it held.
    pub fn restore(&mut self, content: &[u8]) {
        self.0.head = HEADROOM as u32;
        self.0.end = self.0.head + content.len() as u32;
        self.data_mut().copy_from_slice(content);
    }
}

impl Frame for BenchFrame {
    #[inline(always)]
    fn data(&self) -> &[u8] {
        &self.0.bytes[self.0.head as usize..self.0.end as usize]
    }

    #[inline(always)]
    fn data_mut(&mut self) -> &mut [u8] {
        &mut self.0.bytes[self.0.head as usize..self.0.end as usize]
    }

    fn prepend(&mut self, n: usize) -> bool {
        let fits = n <= self.0.head as usize;
        if fits {
            self.0.head -= n as u32;
        }
        fits
    }

    fn trim_front(&mut self, n: usize) -> bool {
        let fits = n <= (self.0.end - self.0.head) as usize;
        if fits {
            self.0.head += n as u32;
        }
        fits
    }

    fn set_len(&mut self, len: usize) -> bool {
        let fits = len <= ROOM - self.0.head as usize;
        if fits {
            self.0.end = self.0.head + len as u32;
        }
        fits
    }

    #[inline(always)]
    fn prefetch(&self) {
        hw::prefetch_index(&self.0.bytes, self.0.head as usize);
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
