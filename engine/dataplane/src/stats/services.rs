//! What each worker counts by service.

use super::Counter;
use crate::verdict::DropReason;

/// Conns of one service that one worker could not open, by what there was too little of, and those
/// that access lists denied.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct ServiceStats {
    /// No local port toward the dest (`DropReason::NoLease`).
    pub no_lease: Counter,
    /// No room in the conn table.
    pub table_full: Counter,
    /// Under nat, another conn of the client answers from each dest tried.
    pub reply_clash: Counter,
    /// Packets of clients that an access list denies (`DropReason::Denied`).
    pub denied: Counter,
    /// Conns that ended because a new access list denies their client.
    pub denied_conns: Counter,
}

impl ServiceStats {
    /// The counter of a reason why a conn was not opened; none for those that are not counted by
    /// service.
    pub fn refused(&self, reason: DropReason) -> Option<&Counter> {
        match reason {
            DropReason::NoLease => Some(&self.no_lease),
            DropReason::TableFull => Some(&self.table_full),
            DropReason::ReplyClash => Some(&self.reply_clash),
            DropReason::Denied => Some(&self.denied),
            _ => None,
        }
    }
}

/// Per-service blocks of all workers: `blocks[worker][service]`, as `DestBlocks` are.
#[derive(Debug)]
pub struct ServiceBlocks {
    blocks: Box<[Box<[ServiceStats]>]>,
}

impl ServiceBlocks {
    /// Blocks for `workers` workers and ids below `services`.
    pub fn new(workers: usize, services: usize) -> Self {
        let block = || (0..services).map(|_| ServiceStats::default()).collect();
        Self { blocks: (0..workers).map(|_| block()).collect() }
    }

    /// One worker's block.
    #[inline(always)]
    pub fn of_worker(&self, worker: usize) -> &[ServiceStats] {
        &self.blocks[worker]
    }

    /// A counter of one service, summed over workers.
    pub fn sum(&self, service: usize, counter: impl Fn(&ServiceStats) -> &Counter) -> u64 {
        self.blocks.iter().map(|b| counter(&b[service]).get()).fold(0, u64::wrapping_add)
    }
}
