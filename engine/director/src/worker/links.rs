//! What connects workers with each other and with the control thread: bounded rings, no lock.

use super::desk::Desk;
use super::published::Published;
use crossbeam::queue::ArrayQueue;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::pipeline::Handed;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Tuple;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// Frames a worker's hand-over ring holds: a burst of each of sixteen others.
pub const HANDOVER_RING: usize = 1024;
/// Frames the control thread's ring holds.
pub const CONTROL_RING: usize = 1024;
/// Frames of the control thread a worker's mailbox holds.
pub const MAILBOX: usize = 256;
/// Next hops asked for, and news of ways, that wait for the control thread.
const RESOLVE_RING: usize = 256;

/// All rings of a director, shared by its threads.
pub struct Links<F> {
    /// Frames handed over, by receiving worker.
    pub handover: Box<[ArrayQueue<Handed<F>>]>,
    /// Conns that have ended elsewhere, by the worker that knew where they lived. Lossy: such an
    /// entry ends by its timeout too.
    pub ended: Box<[ArrayQueue<Tuple>]>,
    /// Frames for the control thread, with the port they came by.
    pub control: ArrayQueue<(PortId, F)>,
    /// Next hops for the control thread to resolve. Lossy: who still needs one asks again.
    pub resolve: ArrayQueue<(PortId, Addr)>,
    /// What routers have told of the ways to tunnels' ends. Lossy: they say it again.
    pub learnt: ArrayQueue<(Addr, u16)>,
    /// What the control thread has for each worker.
    pub mailboxes: Box<[Mailbox<F>]>,
    /// Where listings of conns are asked for, by worker.
    pub desks: Arc<[Desk]>,
    /// What each worker counted.
    pub published: Box<[Published]>,
}

impl<F> Links<F> {
    /// The rings of so many workers.
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            handover: (0..workers).map(|_| ArrayQueue::new(HANDOVER_RING)).collect(),
            ended: (0..workers).map(|_| ArrayQueue::new(HANDOVER_RING)).collect(),
            control: ArrayQueue::new(CONTROL_RING),
            resolve: ArrayQueue::new(RESOLVE_RING),
            learnt: ArrayQueue::new(RESOLVE_RING),
            mailboxes: (0..workers).map(|_| Mailbox::default()).collect(),
            desks: (0..workers).map(|_| Desk::default()).collect(),
            published: (0..workers).map(|_| Published::default()).collect(),
        })
    }
}

/// What the control thread has for a worker.
pub struct Mailbox<F> {
    snapshot: ArrayQueue<Arc<Snapshot>>,
    frames: ArrayQueue<(PortId, F)>,
    stop: AtomicBool,
}

impl<F> Default for Mailbox<F> {
    fn default() -> Self {
        Self {
            snapshot: ArrayQueue::new(1),
            frames: ArrayQueue::new(MAILBOX),
            stop: AtomicBool::new(false),
        }
    }
}

impl<F> Mailbox<F> {
    /// Control: the snapshot to be taken next. One that was not taken yet is dropped here.
    pub fn offer(&self, snapshot: Arc<Snapshot>) {
        drop(self.snapshot.force_push(snapshot));
    }

    /// Control: a frame to be sent by a port; false, and freed, where the mailbox is full.
    pub fn send(&self, port: PortId, frame: F) -> bool {
        self.frames.push((port, frame)).is_ok()
    }

    /// Control: the worker is to end.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Worker: a newer snapshot, if there is one.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.pop()
    }

    /// Worker: the next frame to be sent.
    pub fn frame(&self) -> Option<(PortId, F)> {
        self.frames.pop()
    }

    /// Worker: whether it is to end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }
}
