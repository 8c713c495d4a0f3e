//! Idle ports of all pairs, each pair's in the order of their return: queues of 64-byte chunks in
//! one arena, whose address space is taken at start and whose memory as it is touched.

use hw::HugeSlice;
use std::io;
use zerocopy::FromZeros;

/// What a dest last saw on a tuple. Of two numbers, which are passed on in registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Last {
    /// The sequence number after the last one, and above it the last TSval.
    numbers: u64,
    known: u16,
}

const SEQ: u16 = 1;
const TSVAL: u16 = 2;

impl Last {
    /// Nothing is remembered.
    pub const NOTHING: Self = Self { numbers: 0, known: 0 };

    /// The sequence number after the last one it saw, and its last TSval if it saw any.
    pub fn new(seq: u32, tsval: Option<u32>) -> Self {
        let known = SEQ | if tsval.is_some() { TSVAL } else { 0 };
        Self { numbers: u64::from(tsval.unwrap_or(0)) << 32 | u64::from(seq), known }
    }

    /// The sequence number after the last one.
    pub fn seq(self) -> Option<u32> {
        (self.known & SEQ != 0).then_some(self.numbers as u32)
    }

    /// The last TSval.
    pub fn tsval(self) -> Option<u32> {
        (self.known & TSVAL != 0).then_some((self.numbers >> 32) as u32)
    }
}

const PER_CHUNK: usize = 5;
const NO_CHUNK: u32 = 0;

#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C, packed(4))]
struct Idle {
    numbers: u64,
    port: u16,
    known: u16,
}

#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C, align(64))]
struct Chunk {
    idle: [Idle; PER_CHUNK],
    next: u32,
}

const _: () = assert!(size_of::<Chunk>() == 64);

/// A queue of idle ports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    first: u32,
    last: u32,
    /// Place of the oldest in the first chunk, and of the next free place in the last.
    out: u8,
    into: u8,
    /// Chunks it has.
    chunks: u16,
}

impl Queue {
    pub(super) const EMPTY: Self =
        Self { first: NO_CHUNK, last: NO_CHUNK, out: 0, into: 0, chunks: 0 };

    /// The chunk that the next port comes from.
    pub(super) fn first(&self) -> u32 {
        self.first
    }

    /// The chunk that the next port goes to, if it is not full.
    pub(super) fn last(&self) -> u32 {
        self.last
    }
}

/// Chunks that are made room for where the kernel does not give address space away freely
/// (`vm.overcommit_memory = 2`): 1 GiB, 84 million ports.
const MODEST: usize = 1 << 24;

/// The arena.
#[derive(Debug)]
pub(super) struct Chunks {
    chunks: HugeSlice<Chunk>,
    /// Chunks given back, linked by `next`; those from `used` on were never in use.
    free: u32,
    used: u32,
    in_use: usize,
}

impl Chunks {
    /// For `queues` queues of up to `ports` ports. Nothing is asked of the system later.
    ///
    /// # Errors
    /// The kernel's, when it gives no address space.
    pub(super) fn new(queues: usize, ports: usize) -> io::Result<Self> {
        let most = queues * (ports.div_ceil(PER_CHUNK) + 2) + 1;
        let chunks = HugeSlice::new(most).or_else(|_| HugeSlice::new(most.min(MODEST)))?;
        Ok(Self::within(chunks))
    }

    fn within(chunks: HugeSlice<Chunk>) -> Self {
        // Number 0 stands for none.
        Self { chunks, free: NO_CHUNK, used: 1, in_use: 0 }
    }

    /// Has the memory given now that so many idle ports take.
    pub(super) fn populate(&mut self, ports: usize) {
        self.chunks.populate(ports.div_ceil(PER_CHUNK) + 1);
    }

    pub(super) fn bytes(&self) -> usize {
        self.in_use * size_of::<Chunk>()
    }

    /// Adds a port. Where there is no room left it is forgotten until its pair is given up.
    #[inline(always)]
    pub(super) fn push(&mut self, q: &mut Queue, port: u16, last: Last) {
        let is_full = q.last == NO_CHUNK || q.into as usize == PER_CHUNK;
        if is_full && !self.extend(q) {
            return;
        }
        let Last { numbers, known } = last;
        self.at(q.last).idle[q.into as usize] = Idle { numbers, port, known };
        q.into += 1;
    }

    /// A queue has one more chunk, if there is one.
    #[inline(never)]
    fn extend(&mut self, q: &mut Queue) -> bool {
        let Some(chunk) = self.take() else { return false };
        match q.last {
            NO_CHUNK => (q.first, q.out) = (chunk, 0),
            last => self.at(last).next = chunk,
        }
        (q.last, q.into) = (chunk, 0);
        q.chunks += 1;
        true
    }

    /// Asks the processor for a chunk.
    pub(super) fn prefetch(&self, chunk: u32) {
        hw::prefetch_index(&self.chunks, chunk as usize);
    }

    /// What `pop` gives next.
    pub(super) fn first(&self, q: &Queue) -> Option<u16> {
        let chunk = &self.chunks[q.first as usize];
        (q.first != NO_CHUNK).then(|| chunk.idle[q.out as usize].port)
    }

    pub(super) fn pop(&mut self, q: &mut Queue) -> Option<(u16, Last)> {
        if q.first == NO_CHUNK {
            return None;
        }
        let chunk = self.at(q.first);
        let (Idle { numbers, port, known }, next) = (chunk.idle[q.out as usize], chunk.next);
        q.out += 1;
        let emptied = if q.first == q.last { q.into } else { PER_CHUNK as u8 };
        if q.out == emptied {
            let empty = q.first;
            if q.first == q.last {
                *q = Queue::EMPTY;
            } else {
                (q.first, q.out) = (next, 0);
                q.chunks -= 1;
            }
            self.give(empty, empty, 1);
        }
        Some((port, Last { numbers, known }))
    }

    /// Forgets them all at once: a queue may have 13,000 chunks.
    pub(super) fn clear(&mut self, q: &mut Queue) {
        let Queue { first, last, chunks, .. } = core::mem::replace(q, Queue::EMPTY);
        if first != NO_CHUNK {
            self.give(first, last, chunks.into());
        }
    }

    fn take(&mut self) -> Option<u32> {
        if self.free != NO_CHUNK {
            let chunk = self.free;
            self.free = self.at(chunk).next;
            self.in_use += 1;
            return Some(chunk);
        }
        if self.used as usize >= self.chunks.len() {
            return None;
        }
        self.in_use += 1;
        self.used += 1;
        Some(self.used - 1)
    }

    /// Gives `count` chunks back, linked from the first to the last.
    fn give(&mut self, first: u32, last: u32, count: usize) {
        self.in_use -= count;
        self.at(last).next = self.free;
        self.free = first;
    }

    fn at(&mut self, chunk: u32) -> &mut Chunk {
        &mut self.chunks[chunk as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_room_for_is_forgotten_and_the_rest_is_kept() {
        let mut chunks = Chunks::within(HugeSlice::new(3).unwrap());
        let mut q = Queue::EMPTY;
        let last = |port: u16| Last::new(port.into(), None);
        (1..=20).for_each(|port| chunks.push(&mut q, port, last(port)));
        let back: Vec<_> = std::iter::from_fn(|| chunks.pop(&mut q)).collect();
        assert!(back.into_iter().eq((1..=10).map(|port| (port, last(port)))));
        assert_eq!(chunks.bytes(), 0);
        chunks.push(&mut q, 30, Last::NOTHING);
        assert_eq!(chunks.pop(&mut q), Some((30, Last::NOTHING)));
    }

    #[test]
    fn what_a_forgotten_queue_had_serves_again_and_nothing_of_it_comes_back() {
        let mut chunks = Chunks::within(HugeSlice::new(6).unwrap());
        let mut q = Queue::EMPTY;
        for ports in [1, 5, 6, 25, 25, 12] {
            (1..=ports).for_each(|port| chunks.push(&mut q, port, Last::NOTHING));
            assert_eq!(chunks.pop(&mut q), Some((1, Last::NOTHING)));
            chunks.clear(&mut q);
            assert_eq!((chunks.bytes(), chunks.pop(&mut q)), (0, None));
        }
        // All five of them, and no more.
        (1..=30).for_each(|port| chunks.push(&mut q, port, Last::NOTHING));
        assert!((1..=25).all(|port| chunks.pop(&mut q) == Some((port, Last::NOTHING))));
        assert_eq!((chunks.bytes(), chunks.pop(&mut q)), (0, None));
    }
}
