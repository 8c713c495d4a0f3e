//! Schedulers: which dest a new conn goes to, exactly as the kernel decides it.
//!
//! A scheduler's tables follow from the service alone and are built by the control thread; what it
//! remembers from pick to pick (`Position`) is each worker's own and outlives snapshots.

mod least;
mod round;
mod source;

use crate::service::Candidate;
use crate::service::DestId;
use crate::service::Service;
use crate::stats::DestBlocks;
use crate::tuple::Tuple;
pub use round::Position;
pub use source::SourceTable;

/// A scheduler and the tables it needs.
#[derive(Clone, PartialEq, Debug)]
pub enum Sched {
    /// Round robin.
    Rr,
    /// Weighted round robin, interleaved.
    Wrr,
    /// Fewest conns.
    Lc,
    /// Fewest conns by weight.
    Wlc,
    /// Source hashing.
    Sh(SourceTable),
}

impl Sched {
    /// Its name, as ipvsadm has it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Sh(_) => "sh",
        }
    }
}

/// What a pick is asked with besides the service.
pub struct Ask<'a> {
    /// The packet that opens the conn.
    pub tuple: &'a Tuple,
    /// Conn counts of all workers.
    pub loads: &'a DestBlocks,
    /// Dests that cannot serve this conn (tried already).
    pub barred: &'a [DestId],
}

impl Ask<'_> {
    /// Whether a dest may take a new conn: weight above 0 and not barred.
    #[inline]
    pub(crate) fn may(&self, c: &Candidate) -> bool {
        c.weight > 0 && !self.barred.contains(&c.id)
    }
}

/// Picks a dest, or none where no dest may take the conn.
pub fn pick(service: &Service, position: &mut Position, ask: &Ask<'_>) -> Option<DestId> {
    let dests = &service.dests[..];
    match &service.sched {
        Sched::Rr => position.round_robin(dests, ask),
        Sched::Wrr => position.weighted(dests, ask),
        Sched::Lc => least::connections(dests, ask),
        Sched::Wlc => least::weighted(dests, ask),
        Sched::Sh(table) => table.pick(dests, ask),
    }
}
