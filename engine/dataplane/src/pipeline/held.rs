//! Frames that wait for a next hop to answer: bounded per neighbour and in all.

use crate::neigh::PortId;
use crate::tick::Stamp;
use crate::tuple::Addr;
use std::collections::VecDeque;

/// Frames that may wait for one neighbour.
pub const PER_NEIGHBOUR: usize = 16;
/// Frames that may wait in all, per worker.
pub const IN_ALL: usize = 256;

/// How long one waits at most, in milliseconds: a little longer than three questions take.
pub(super) const PATIENCE: u32 = 4000;

/// A frame that waits. Its IP packet lies at `l3`; everything but the Ethernet header is done.
#[derive(Debug)]
pub(super) struct Waiting<F> {
    pub(super) port: PortId,
    pub(super) addr: Addr,
    pub(super) frame: F,
    pub(super) l3: usize,
    pub(super) until: Stamp,
}

/// The waiting frames, oldest first.
#[derive(Debug)]
pub(super) struct Held<F> {
    frames: VecDeque<Waiting<F>>,
}

impl<F> Held<F> {
    pub(super) fn new() -> Self {
        Self { frames: VecDeque::with_capacity(IN_ALL) }
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Adds a frame and gives the one that had to make place for it: the oldest for the same
    /// neighbour, or of all.
    pub(super) fn add(&mut self, waiting: Waiting<F>) -> Option<Waiting<F>> {
        let same = |w: &Waiting<F>| w.port == waiting.port && w.addr == waiting.addr;
        let crowded = self.frames.iter().filter(|w| same(w)).count() >= PER_NEIGHBOUR;
        let oldest = if crowded {
            self.frames.iter().position(same).and_then(|i| self.frames.remove(i))
        } else if self.frames.len() >= IN_ALL {
            self.frames.pop_front()
        } else {
            None
        };
        self.frames.push_back(waiting);
        oldest
    }

    /// Goes once through all, in order; those that `keep` says to keep stay.
    pub(super) fn review(&mut self, mut keep: impl FnMut(Waiting<F>) -> Option<Waiting<F>>) {
        for _ in 0..self.frames.len() {
            if let Some(w) = self.frames.pop_front().and_then(&mut keep) {
                self.frames.push_back(w);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn w(addr: u32, frame: u32) -> Waiting<u32> {
        Waiting { port: PortId(0), addr: Addr::v4(addr), frame, l3: 14, until: Stamp(0) }
    }

    #[test]
    fn the_oldest_makes_place() {
        let mut held = Held::new();
        for i in 0..PER_NEIGHBOUR as u32 {
            assert!(held.add(w(1, i)).is_none());
        }
        assert_eq!(held.add(w(1, 99)).unwrap().frame, 0);
        for i in 0..(IN_ALL - PER_NEIGHBOUR) as u32 {
            assert!(held.add(w(2 + i, 0)).is_none());
        }
        assert_eq!(held.add(w(5000, 0)).unwrap().frame, 1);
        assert_eq!(held.len(), IN_ALL);
    }

    #[test]
    fn review_keeps_the_order() {
        let mut held = Held::new();
        for i in 0..4 {
            held.add(w(i, i));
        }
        held.review(|w| (w.frame % 2 == 1).then_some(w));
        let mut left = Vec::new();
        held.review(|w| {
            left.push(w.frame);
            None
        });
        assert_eq!(left, [1, 3]);
        assert_eq!(held.len(), 0);
    }
}
