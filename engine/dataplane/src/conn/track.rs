//! What full-NAT keeps of a conn: its shifts, its lease, and its place among those that would lend.

use super::chain::Links;
use crate::laddr::NO_PAIR;
use crate::laddr::PairId;
use zerocopy::FromZeros;

/// What full-NAT keeps of a conn besides.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C, align(32))]
pub struct Track {
    /// Added to the client's sequence numbers.
    pub seq_shift: u32,
    /// Added to the client's timestamps.
    pub ts_shift: u32,
    /// The latest timestamp the dest saw.
    pub tsval: u32,
    /// The lease's pair.
    pub(crate) pair: u32,
    /// Neighbours in the pair's list of conns that would lend their port.
    pub(crate) links: Links,
    /// When it joined the list.
    pub(crate) since: u32,
    /// HAS_TS, and from bit 16 on the worker that sent the conn here, plus 1.
    pub(crate) marks: u32,
}

const _: () = assert!(size_of::<Track>() == 32);

impl Track {
    /// Of a conn without shifts and without a lease.
    pub const NEW: Self = Self {
        seq_shift: 0,
        ts_shift: 0,
        tsval: 0,
        pair: NO_PAIR,
        links: Links::NONE,
        since: 0,
        marks: 0,
    };
    /// The client uses timestamps.
    pub(crate) const HAS_TS: u32 = 1;
    pub(crate) const SENT_BY: u32 = 16;

    /// Of a conn with a lease.
    pub(crate) fn of(pair: PairId) -> Self {
        Self { pair: pair.0, ..Self::NEW }
    }

    pub(crate) fn set_ts_shift(&mut self, by: u32) {
        self.ts_shift = by;
        self.marks |= Self::HAS_TS;
    }

    pub(crate) fn has_ts(&self) -> bool {
        self.marks & Self::HAS_TS != 0
    }

    /// The worker that sent the conn here.
    pub(crate) fn sent_by(&self) -> Option<usize> {
        (self.marks >> Self::SENT_BY).checked_sub(1).map(|w| w as usize)
    }

    /// The same, and forgets it.
    pub(crate) fn take_sent_by(&mut self) -> Option<usize> {
        let sent_by = self.sent_by();
        self.marks &= (1 << Self::SENT_BY) - 1;
        sent_by
    }

    pub(crate) fn set_sent_by(&mut self, worker: u16) {
        self.marks |= (worker as u32 + 1) << Self::SENT_BY;
    }
}
