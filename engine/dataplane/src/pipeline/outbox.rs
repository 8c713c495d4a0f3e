//! Where a burst's frames end up before the worker hands them on: one small array per way out.

use crate::fragments;
use crate::frame::BURST;
use crate::neigh::PortId;
use crate::service::DestId;
use crate::stats::WorkerStats;
use crate::templates::Link;
use crate::tuple::Addr;
use crate::tuple::Tuple;
use crate::verdict::DropReason;
use arrayvec::ArrayVec;

/// Frames that one call of the pipeline may send by one port. Fragments make it more than a burst;
/// what exceeds it is `TxFull`. With their number they take 4 kB.
pub const TX_BURST: usize = BURST * 8 - 1;

/// Ports there may be: as many as DPDK opens. A power of two.
pub const PORTS: usize = 32;

/// Frames to be sent by one port.
pub type TxBurst<F> = ArrayVec<F, TX_BURST>;

/// Frames that one call may hand over to one worker: its burst, and all fragments that waited for a
/// first one in it.
pub const HANDED: usize = BURST + fragments::HELD;

/// A frame for another worker.
#[derive(Debug)]
pub struct Handed<F> {
    /// The port it came in by.
    pub port: PortId,
    /// The frame as it came.
    pub frame: F,
    /// Workers that have had it; an ICMP error that nobody can place goes round once. A fragment
    /// that has been gathered counts otherwise (`pieces`).
    pub visited: u16,
    /// A packet that opens a conn, for which another worker was needed.
    pub seeks: Option<Seek>,
}

/// What a packet seeks that opens a conn, where the worker that its conn belongs to cannot open it
/// alone.
#[derive(Clone, Copy, Debug)]
pub enum Seek {
    /// A port toward a dest: the workers so far had none.
    Port(Search),
    /// The dest of its client's template. Later fragments follow the first one there and back.
    Template(Asker),
    /// Its conn, to the dest of its client's template.
    Conn(Offer, Asker),
}

/// The search for a port of a full-NAT conn for which its own worker has none left.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// A port for this.
    pub(super) offer: Offer,
    /// The worker the client's packets arrive at.
    pub(super) from: u16,
    /// Workers further on may have entries of a round before.
    pub(super) again: bool,
}

/// Who asks for a template.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The worker that will open the conn.
    pub(super) worker: u16,
    /// The worker that sent the conn there whose place it takes.
    pub(super) sender: Option<u16>,
    /// Workers that were asked: one, where all have the same snapshot.
    pub(super) asked: u8,
}

/// To which dest a conn is to open.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    pub(super) dest: DestId,
    /// The template that named the dest.
    pub(super) link: Option<Link>,
    /// Dests tried before it.
    pub(super) tries: u8,
    /// Whether a conn that has ended may lend its port: once no worker has an idle one.
    pub(super) may_lend: bool,
    /// The dest before it, which keeps the conn where nothing comes of this.
    pub(super) before: Option<DestId>,
}

/// Conns that have ended here and were sent by another worker, which keeps an entry for each.
pub(super) const ENDED: usize = BURST * 16;

/// All ways out of the pipeline. The worker empties it after every call.
#[derive(Debug)]
pub struct Outbox<F> {
    /// To be sent, by port. Here and not elsewhere, so that each frame's way to its place is short.
    tx: [TxBurst<F>; PORTS],
    ports: usize,
    /// To other workers, by worker.
    pub handover: Vec<ArrayVec<Handed<F>, HANDED>>,
    /// To the control thread, with the port they came in by.
    pub control: ArrayVec<(PortId, F), BURST>,
    /// Conns that have ended, each with the worker that should forget where they lived; may be
    /// lost, the entry then ends by its timeout.
    pub ended: ArrayVec<(u16, Tuple), ENDED>,
    /// Ends of tunnels, with the largest packets that get there as a router has said; may be lost.
    pub learnt: ArrayVec<(Addr, u16), 8>,
    /// Next hops that the control thread should look for; may be lost.
    pub resolve: ArrayVec<(PortId, Addr), 8>,
}

impl<F> Outbox<F> {
    /// An empty one, of at most `PORTS` ports.
    pub fn new(ports: usize, workers: usize) -> Self {
        Self {
            tx: [const { ArrayVec::new_const() }; PORTS],
            ports,
            handover: (0..workers).map(|_| ArrayVec::new()).collect(),
            control: ArrayVec::new(),
            ended: ArrayVec::new(),
            learnt: ArrayVec::new(),
            resolve: ArrayVec::new(),
        }
    }

    /// What is to be sent, by port.
    #[inline]
    pub fn tx(&mut self) -> &mut [TxBurst<F>] {
        &mut self.tx[..self.ports]
    }

    /// Whether a port takes one more.
    pub(super) fn has_room(&self, port: PortId) -> bool {
        !self.tx[port.0 as usize % PORTS].is_full()
    }

    /// Whether a port has so many frames that our own wait for the next call.
    pub(super) fn is_crowded(&self) -> bool {
        self.tx[..self.ports].iter().any(|frames| frames.len() >= BURST * 2)
    }

    #[inline(always)]
    pub(super) fn send(&mut self, port: PortId, frame: F, stats: &WorkerStats) {
        debug_assert!((port.0 as usize) < self.ports);
        if self.tx[port.0 as usize % PORTS].try_push(frame).is_err() {
            stats.drop(DropReason::TxFull);
        }
    }

    pub(super) fn hand_over(&mut self, worker: usize, handed: Handed<F>, stats: &WorkerStats) {
        if self.handover[worker].try_push(handed).is_err() {
            stats.drop(DropReason::HandoverFull);
        }
    }

    pub(super) fn inform(&mut self, port: PortId, frame: F, stats: &WorkerStats) {
        if self.control.try_push((port, frame)).is_err() {
            stats.drop(DropReason::ControlFull);
        }
    }

    /// A router has told how large packets to a tunnel's end may be.
    pub(super) fn learn(&mut self, end: Addr, mtu: u16) {
        if !self.learnt.contains(&(end, mtu)) {
            // Lost where full: the next packet that is too large is told of again.
            let _ = self.learnt.try_push((end, mtu));
        }
    }

    pub(super) fn ask(&mut self, port: PortId, addr: Addr) {
        if !self.resolve.contains(&(port, addr)) {
            // Lost where full: the next frame asks again.
            let _ = self.resolve.try_push((port, addr));
        }
    }
}
