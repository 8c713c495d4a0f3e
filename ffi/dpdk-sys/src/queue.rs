//! Queues of a started port: bursts in, bursts out.

use std::fmt;
use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::ethdev::Device;
use crate::mbuf::Mbuf;
use crate::mbuf::free_bulk;

use crate::raw;

/// A receive queue. Used by one thread at a time; keeps its port started.
pub struct RxQueue {
    device: QueueOf,
    id: u16,
    multi_segment: u64,
}

/// A transmit queue. Used by one thread at a time; keeps its port started.
pub struct TxQueue {
    device: QueueOf,
    id: u16,
}

impl RxQueue {
    /// Fills the free places of `burst` with frames that have arrived, without waiting, and
    /// says how many it added.
    ///
    /// Frames that a driver has scattered over several mbufs are freed and counted, by
    /// [`RxQueue::multi_segment`] and in [`PortStats::scattered`](crate::PortStats::scattered): with all offloads off and mbufs sized for the MTU
    /// ([`data_room`](crate::data_room)) there are none.
    #[inline]
    pub fn recv<const N: usize>(&mut self, burst: &mut ArrayVec<Mbuf, N>) -> usize {
        let old = burst.len();
        let room = u16::try_from(N - old).unwrap_or(u16::MAX);
        // SAFETY: the queue exists and is started as long as `device` lives, and `&mut self`
        // makes us its only user. The driver writes at most `room` pointers to mbufs, which it
        // then leaves to us, into the unused places; an Mbuf is such a pointer.
        let n = unsafe {
            let free = burst.as_mut_ptr().add(old).cast();
            let n = raw::shim_rx_burst(self.device.port, self.device.queue, free, room);
            burst.set_len(old + usize::from(n));
            usize::from(n)
        };
        if burst[old..].iter().all(Mbuf::is_single_segment) {
            return n;
        }
        self.drop_scattered(burst, old)
    }

    /// Frames dropped by [`RxQueue::recv`] because they came in several segments.
    pub fn multi_segment(&self) -> u64 {
        self.multi_segment
    }

    /// The queue's number on its port, from 0.
    pub fn id(&self) -> u16 {
        self.id
    }

    pub(crate) fn set_id(&mut self, id: u16) {
        self.id = id;
    }

    #[cold]
    fn drop_scattered<const N: usize>(
        &mut self,
        burst: &mut ArrayVec<Mbuf, N>,
        old: usize,
    ) -> usize {
        let before = burst.len();
        let mut index = 0;
        burst.retain(|mbuf| {
            index += 1;
            index <= old || mbuf.is_single_segment()
        });
        let scattered = (before - burst.len()) as u64;
        self.multi_segment += scattered;
        self.device.of.scattered(scattered);
        burst.len() - old
    }
}

impl TxQueue {
    /// Gives the frames of `burst` to the port, in order and without waiting, and says how
    /// many it took. Those leave the burst; what the port has no room for stays at its front.
    ///
    /// A frame's flags from its receipt need no clearing: drivers read only the transmit
    /// flags here, and nothing in this crate sets one.
    #[inline]
    pub fn send<const N: usize>(&mut self, burst: &mut ArrayVec<Mbuf, N>) -> usize {
        let len = burst.len();
        let n = u16::try_from(len).unwrap_or(u16::MAX);
        // SAFETY: queue as in `recv`. The first `len` places hold mbufs we own; the driver
        // takes over the first `sent` of them, so they leave the burst before anyone could
        // drop them, and the others move to the front. Nothing here panics.
        unsafe {
            let first = burst.as_mut_ptr();
            let sent = raw::shim_tx_burst(self.device.port, self.device.queue, first.cast(), n);
            let sent = usize::from(sent);
            if sent > 0 {
                std::ptr::copy(first.add(sent), first, len - sent);
                burst.set_len(len - sent);
            }
            sent
        }
    }

    /// Sends what it can and frees the rest; gives the number freed.
    #[inline]
    pub fn send_or_free<const N: usize>(&mut self, burst: &mut ArrayVec<Mbuf, N>) -> usize {
        self.send(burst);
        let refused = burst.len();
        free_bulk(burst);
        refused
    }

    /// The queue's number on its port, from 0.
    pub fn id(&self) -> u16 {
        self.id
    }

    pub(crate) fn set_id(&mut self, id: u16) {
        self.id = id;
    }
}

impl fmt::Debug for RxQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RxQueue({} queue {})", self.device.of.name(), self.device.queue)
    }
}

impl fmt::Debug for TxQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TxQueue({} queue {})", self.device.of.name(), self.device.queue)
    }
}

/// One queue's hold on its device.
struct QueueOf {
    of: Arc<Device>,
    port: u16,
    queue: u16,
}

/// The queues of `device`, each exactly once.
///
/// # Safety
/// The device has just been started with so many queues, and no others exist.
pub(crate) unsafe fn queues_of(
    device: &Arc<Device>,
    rx: u16,
    tx: u16,
) -> (Vec<RxQueue>, Vec<TxQueue>) {
    let queue = |queue| {
        device.queue_made();
        QueueOf { of: Arc::clone(device), port: device.id(), queue }
    };
    (
        (0..rx).map(|id| RxQueue { device: queue(id), id, multi_segment: 0 }).collect(),
        (0..tx).map(|id| TxQueue { device: queue(id), id }).collect(),
    )
}

impl Drop for QueueOf {
    fn drop(&mut self) {
        self.of.queue_dropped();
    }
}
