//! Ports that are leased, and which of them are a worker's.

use super::order::All;
use super::order::Order;

/// First port ever leased; those below are for well-known services.
pub const FIRST_PORT: u16 = 1025;
/// Ports per address toward one dest endpoint.
pub const PORTS: u32 = 65_535 - FIRST_PORT as u32 + 1;

/// The worker that may hand out a local port, and to which answers to it belong.
#[inline]
pub fn owner(lport: u16, workers: usize) -> usize {
    lport as usize % workers
}

/// The ports that are a worker's: those of `owner`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    first: u32,
    all: All,
    workers: u32,
}

impl Own {
    pub(super) fn of(worker: usize, workers: usize) -> Self {
        let first = FIRST_PORT as usize;
        let first = first + (worker + workers - first % workers) % workers;
        let count = (usize::from(u16::MAX) + 1).saturating_sub(first).div_ceil(workers);
        Self { first: first as u32, all: All::of(count as u32), workers: workers as u32 }
    }

    /// The `n`-th of an order, from 0; none where there are fewer.
    #[inline(always)]
    pub(super) fn nth(&self, order: Order, n: u32) -> Option<u16> {
        if n >= self.all.count {
            return None;
        }
        u16::try_from(self.first + order.nth(n, self.all) * self.workers).ok()
    }
}
