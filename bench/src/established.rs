//! Packets of established conns, in rings of frames.

use crate::frame::BenchFrame;
use crate::workload::Random;
use crate::workload::Workload;
use core::time::Duration;
use pointsman_dataplane::frame::BURST;
use pointsman_dataplane::frame::Burst;
use pointsman_dataplane::tick::Tick;

/// Frames filled at a time.
pub const RING: usize = 1024;

/// Established traffic through a director.
pub struct Established {
    workload: Workload,
    random: Random,
    ring: Vec<BenchFrame>,
    now: Tick,
    /// Allocations of all that was counted.
    pub allocations: u64,
}

impl Established {
    /// Of uniformly random conns of a director's.
    pub fn new(workload: Workload) -> Self {
        let ring = (0..RING).map(|_| BenchFrame::empty()).collect();
        let now = Tick::from_secs(2);
        Self { workload, random: Random(42), ring, now, allocations: 0 }
    }

    /// Cycles that a ring of frames takes.
    pub fn ring(&mut self) -> u64 {
        let Self { workload: w, random, ring, .. } = self;
        let ports = w.fill(ring, random);
        let (mut burst, mut done) = (Burst::new(), Vec::with_capacity(RING));
        let before = hw::alloc::count();
        let start = hw::tsc();
        for port in ports.into_iter().rev() {
            burst.extend(ring.drain(ring.len() - BURST..));
            self.now = self.now + Duration::from_nanos(500);
            w.one_burst(port, &mut burst, self.now);
            for tx in w.out.tx() {
                done.extend(tx.drain(..));
            }
        }
        let cycles = hw::tsc() - start;
        self.allocations += hw::alloc::count() - before;
        assert_eq!(done.len(), RING, "every frame leaves; dropped: {}", w.dropped());
        self.ring = done;
        cycles
    }
}
