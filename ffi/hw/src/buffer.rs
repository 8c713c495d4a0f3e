//! A buffer with the memory layout and the costs of an mbuf, for frames that no NIC gave: a metadata line before the
//! data, an odd number of lines apart, and no bounds to check that its methods keep.

/// Headroom and data.
const ROOM: usize = 2176;
/// Where data begin in an empty one: DPDK's headroom.
const HEAD: u32 = 128;

/// 128 bytes of metadata, headroom and 2,048 bytes of data: 2,304 bytes, and a line of padding as
/// DPDK's mempool spreads its elements.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Buffer {
    /// `head <= end <= ROOM`, always.
    head: u32,
    end: u32,
    meta: [u8; 120],
    bytes: [u8; ROOM],
    pad: [u8; 64],
}

impl Buffer {
    /// An empty one.
    pub fn empty() -> Box<Self> {
        Box::new(Self { head: HEAD, end: HEAD, meta: [0; 120], bytes: [0; ROOM], pad: [0; 64] })
    }

    /// Begins and ends where an empty one does.
    pub fn clear(&mut self) {
        (self.head, self.end) = (HEAD, HEAD);
    }

    /// What it holds.
    #[inline(always)]
    pub fn data(&self) -> &[u8] {
        // SAFETY: head <= end <= ROOM, the length of `bytes`: all who write them see to it.
        unsafe { self.bytes.get_unchecked(self.head as usize..self.end as usize) }
    }

    /// The same, writable.
    #[inline(always)]
    pub fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `data`.
        unsafe { self.bytes.get_unchecked_mut(self.head as usize..self.end as usize) }
    }

    /// Grows at its front; false, and unchanged, where there is no room.
    pub fn prepend(&mut self, n: usize) -> bool {
        let fits = n <= self.head as usize;
        if fits {
            self.head -= n as u32;
        }
        fits
    }

    /// Shrinks at its front; false, and unchanged, where it is shorter.
    pub fn trim_front(&mut self, n: usize) -> bool {
        let fits = n <= (self.end - self.head) as usize;
        if fits {
            self.head += n as u32;
        }
        fits
    }

    /// Cuts or grows its end; false, and unchanged, where there is no room.
    pub fn set_len(&mut self, len: usize) -> bool {
        let fits = len <= ROOM - self.head as usize;
        if fits {
            self.end = self.head + len as u32;
        }
        fits
    }

    /// Cuts its end; false, and unchanged, where it is shorter.
    pub fn cut(&mut self, len: usize) -> bool {
        let fits = len <= (self.end - self.head) as usize;
        if fits {
            self.end = self.head + len as u32;
        }
        fits
    }

    /// Asks the processor for the first line of what it holds.
    #[inline(always)]
    pub fn prefetch(&self) {
        crate::prefetch_index(&self.bytes, self.head as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_reaches_beyond_its_room() {
        let mut b = Buffer::empty();
        assert!(b.data().is_empty());
        assert!(!b.set_len(ROOM) && b.set_len(ROOM - HEAD as usize));
        b.data_mut().fill(1);
        assert!(!b.prepend(HEAD as usize + 1) && b.prepend(HEAD as usize));
        assert_eq!(b.data().len(), ROOM);
        assert!(!b.cut(ROOM + 1) && b.cut(ROOM) && b.cut(1) && !b.cut(2) && b.set_len(ROOM));
        assert!(!b.trim_front(ROOM + 1) && b.trim_front(ROOM));
        assert!(b.data().is_empty() && !b.set_len(1) && !b.trim_front(1));
        b.clear();
        assert!(b.set_len(60) && b.data().len() == 60);
    }
}
