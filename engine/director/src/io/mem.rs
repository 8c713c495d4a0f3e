//! Ports in memory: for tests, benches and replay.
//!
//! Frames are one pointer wide as mbufs are, live in a fixed number of buffers that are used
//! again, and have DPDK's headroom. What an operation leaves undefined is filled with 0xa5 in
//! debug builds, so that a byte nobody wrote shows.

use super::Driver;
use super::Link;
use super::Multicast;
use super::Nic;
use super::PortCounters;
use super::Rx;
use super::Tx;
use crossbeam::queue::ArrayQueue;
use pointsman_dataplane::frame::Burst;
use pointsman_dataplane::frame::Frame;
use pointsman_dataplane::frame::HEADROOM;
use pointsman_dataplane::frame::Pool;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::pipeline::TxBurst;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

const UNSET: u8 = 0xa5;

type FreeList = ArrayQueue<Box<Buffer>>;

struct Buffer {
    head: usize,
    len: usize,
    tag: u64,
    /// Where it goes back to; none while it lies there.
    home: Option<Arc<FreeList>>,
    bytes: Box<[u8]>,
}

/// A frame in memory. Dropped, it goes back to its pool.
pub struct MemFrame(Option<Box<Buffer>>);

impl Frame for MemFrame {
    fn data(&self) -> &[u8] {
        let Some(b) = &self.0 else { return &[] };
        &b.bytes[b.head..b.head + b.len]
    }

    fn data_mut(&mut self) -> &mut [u8] {
        let Some(b) = &mut self.0 else { return &mut [] };
        &mut b.bytes[b.head..b.head + b.len]
    }

    fn prepend(&mut self, n: usize) -> bool {
        let Some(b) = &mut self.0 else { return false };
        if n > b.head {
            return false;
        }
        b.head -= n;
        b.len += n;
        unset(&mut b.bytes[b.head..b.head + n]);
        true
    }

    fn trim_front(&mut self, n: usize) -> bool {
        let Some(b) = &mut self.0 else { return false };
        if n > b.len {
            return false;
        }
        b.head += n;
        b.len -= n;
        true
    }

    fn set_len(&mut self, len: usize) -> bool {
        let Some(b) = &mut self.0 else { return false };
        if len > b.bytes.len() - b.head {
            return false;
        }
        if len > b.len {
            unset(&mut b.bytes[b.head + b.len..b.head + len]);
        }
        b.len = len;
        true
    }

    fn cut(&mut self, len: usize) -> bool {
        let Some(b) = &mut self.0 else { return false };
        let fits = len <= b.len;
        if fits {
            b.len = len;
        }
        fits
    }

    fn prefetch(&self) {
        hw::prefetch(self.data());
    }
}

impl MemFrame {
    /// What `set_tag` said; 0 in a frame that the director made.
    pub fn tag(&self) -> u64 {
        self.0.as_ref().map_or(0, |b| b.tag)
    }

    /// Marks the frame, as a NIC does in an mbuf's metadata: whoever injects it knows it again when
    /// it leaves.
    pub fn set_tag(&mut self, tag: u64) {
        if let Some(b) = &mut self.0 {
            b.tag = tag;
        }
    }
}

impl Drop for MemFrame {
    fn drop(&mut self) {
        let Some(mut buffer) = self.0.take() else { return };
        if let Some(home) = buffer.home.take() {
            // The list has room for all buffers of its pool.
            let _ = home.push(buffer);
        }
    }
}

impl std::fmt::Debug for MemFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.data().iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

fn unset(bytes: &mut [u8]) {
    if cfg!(debug_assertions) {
        bytes.fill(UNSET);
    }
}

/// A fixed number of frames; clones share them.
#[derive(Clone)]
pub struct MemPool {
    free: Arc<FreeList>,
    frames: usize,
}

impl MemPool {
    /// A pool of `frames` frames (at least one), each with `HEADROOM` and room for `room` bytes.
    pub fn new(frames: usize, room: usize) -> Self {
        let frames = frames.max(1);
        let free = Arc::new(ArrayQueue::new(frames));
        for _ in 0..frames {
            // Zeros cost no memory before they are used.
            let bytes = vec![if cfg!(debug_assertions) { UNSET } else { 0 }; HEADROOM + room];
            let bytes = bytes.into_boxed_slice();
            let buffer = Buffer { head: HEADROOM, len: 0, tag: 0, home: None, bytes };
            let _ = free.push(Box::new(buffer));
        }
        Self { free, frames }
    }

    /// A frame with this content; none when the pool is empty or the frames are too short.
    pub fn frame(&mut self, content: &[u8]) -> Option<MemFrame> {
        let mut frame = self.alloc()?;
        frame.set_len(content.len()).then(|| frame.data_mut().copy_from_slice(content))?;
        Some(frame)
    }

    /// How many frames are not in use; all of them when nothing leaks and nothing is held.
    pub fn available(&self) -> usize {
        self.free.len()
    }

    /// How many frames there are.
    pub fn capacity(&self) -> usize {
        self.frames
    }
}

impl Pool for MemPool {
    type Frame = MemFrame;

    fn alloc(&mut self) -> Option<MemFrame> {
        let mut buffer = self.free.pop()?;
        buffer.head = HEADROOM;
        buffer.len = 0;
        buffer.tag = 0;
        buffer.home = Some(Arc::clone(&self.free));
        Some(MemFrame(Some(buffer)))
    }
}

/// A receive queue in memory.
pub struct MemRx(Arc<Wire>);

impl Rx<MemFrame> for MemRx {
    fn recv(&mut self, burst: &mut Burst<MemFrame>) -> usize {
        let before = burst.len();
        while !burst.is_full() {
            let Some(frame) = self.0.queue.pop() else { break };
            burst.push(frame);
        }
        self.0.count(&burst[before..]);
        burst.len()
    }
}

/// A transmit queue in memory.
pub struct MemTx(Arc<Wire>);

impl Tx<MemFrame> for MemTx {
    fn send(&mut self, burst: &mut TxBurst<MemFrame>) -> usize {
        let room = self.0.queue.capacity() - self.0.queue.len();
        let fitting = room.min(burst.len());
        self.0.count(&burst[..fitting]);
        burst.drain(..fitting).map(|frame| usize::from(self.0.queue.push(frame).is_ok())).sum()
    }
}

/// One direction of one queue pair.
struct Wire {
    queue: ArrayQueue<MemFrame>,
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Wire {
    fn new(depth: usize) -> Arc<Self> {
        Arc::new(Self {
            queue: ArrayQueue::new(depth.max(1)),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    fn count(&self, frames: &[MemFrame]) {
        if !frames.is_empty() {
            self.packets.fetch_add(frames.len() as u64, Relaxed);
            let bytes = frames.iter().map(|f| f.data().len() as u64).sum();
            self.bytes.fetch_add(bytes, Relaxed);
        }
    }
}

/// The far end of a port: the test's hand on the wire.
#[derive(Clone)]
pub struct MemWire {
    rx: Vec<Arc<Wire>>,
    tx: Vec<Arc<Wire>>,
    up: Arc<AtomicBool>,
    refuses_groups: Arc<AtomicBool>,
    scattered: Arc<AtomicU64>,
}

impl MemWire {
    /// Gives a frame to a queue of the port; gives it back where that is full.
    pub fn inject(&self, queue: usize, frame: MemFrame) -> Result<(), MemFrame> {
        self.rx[queue].queue.push(frame)
    }

    /// Takes the next frame the port sent by a queue.
    pub fn take(&self, queue: usize) -> Option<MemFrame> {
        self.tx[queue].queue.pop()
    }

    /// Sets the link.
    pub fn set_link(&self, up: bool) {
        self.up.store(up, Relaxed);
    }

    /// Whether the port refuses the groups it is given from now on.
    pub fn refuse_groups(&self, refuse: bool) {
        self.refuses_groups.store(refuse, Relaxed);
    }

    /// Counts frames that came in several pieces.
    pub fn scatter(&self, frames: u64) {
        self.scattered.fetch_add(frames, Relaxed);
    }
}

/// A port in memory as the control thread sees it.
pub struct MemNic {
    mac: Mac,
    wire: MemWire,
    multicast: Vec<Mac>,
}

impl MemNic {
    /// The multicast MACs it was told to take.
    pub fn multicast(&self) -> &[Mac] {
        &self.multicast
    }
}

impl Nic for MemNic {
    fn mac(&self) -> Mac {
        self.mac
    }

    fn driver(&self) -> String {
        "mem".into()
    }

    fn fixed_queue(&self) -> bool {
        false
    }

    fn link(&self) -> Link {
        Link { up: self.wire.up.load(Relaxed), speed_mbps: 0 }
    }

    fn counters(&self) -> PortCounters {
        let sum = |wires: &[Arc<Wire>], of: fn(&Wire) -> &AtomicU64| -> u64 {
            wires.iter().map(|w| of(w).load(Relaxed)).sum()
        };
        PortCounters {
            rx_packets: sum(&self.wire.rx, |w| &w.packets),
            rx_bytes: sum(&self.wire.rx, |w| &w.bytes),
            tx_packets: sum(&self.wire.tx, |w| &w.packets),
            tx_bytes: sum(&self.wire.tx, |w| &w.bytes),
            scattered: self.wire.scattered.load(Relaxed),
            ..PortCounters::default()
        }
    }

    fn set_multicast(&mut self, macs: &[Mac]) -> Result<Multicast, String> {
        if self.wire.refuses_groups.load(Relaxed) {
            return Err("no room for the groups".into());
        }
        self.multicast = macs.to_vec();
        Ok(Multicast::List)
    }
}

/// The driver of ports in memory.
#[derive(Clone, Copy, Debug)]
pub struct Mem;

impl Driver for Mem {
    type Frame = MemFrame;
    type Rx = MemRx;
    type Tx = MemTx;
    type Pool = MemPool;
    type Nic = MemNic;
    type Guard = ();

    fn enter_thread(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A port with `queues` queue pairs of `depth` frames each way: its cold side, its queues, and
/// the far end of its wire. Its link is up.
pub fn port(mac: Mac, queues: usize, depth: usize) -> (MemNic, Vec<MemRx>, Vec<MemTx>, MemWire) {
    let wires = || (0..queues).map(|_| Wire::new(depth)).collect::<Vec<_>>();
    let wire = MemWire {
        rx: wires(),
        tx: wires(),
        up: Arc::new(AtomicBool::new(true)),
        refuses_groups: Arc::default(),
        scattered: Arc::default(),
    };
    let rx = wire.rx.iter().cloned().map(MemRx).collect();
    let tx = wire.tx.iter().cloned().map(MemTx).collect();
    (MemNic { mac, wire: wire.clone(), multicast: Vec::new() }, rx, tx, wire)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_keep_their_limits() {
        let mut pool = MemPool::new(2, 64);
        let mut frame = pool.frame(&[1, 2, 3, 4]).unwrap();
        assert!(frame.prepend(2) && frame.trim_front(3));
        assert_eq!(frame.data(), [2, 3, 4]);
        assert!(!frame.trim_front(4) && !frame.prepend(HEADROOM + 2));
        assert!(!frame.set_len(64) && frame.set_len(63));
        assert_eq!(&frame.data()[..3], [2, 3, 4]);
        assert!(pool.frame(&[0; 65]).is_none());
        assert_eq!(size_of::<MemFrame>(), size_of::<usize>());
    }

    #[test]
    fn buffers_go_back_and_come_out_fresh() {
        let mut pool = MemPool::new(1, 64);
        let mut frame = pool.frame(&[7; 10]).unwrap();
        frame.set_tag(7);
        assert!(frame.prepend(HEADROOM) && frame.tag() == 7);
        assert!(pool.alloc().is_none());
        drop(frame);
        assert_eq!(pool.available(), pool.capacity());
        let mut again = pool.alloc().unwrap();
        assert!(again.data().is_empty() && again.tag() == 0);
        assert!(again.prepend(HEADROOM) && !again.prepend(1));
    }

    #[test]
    fn a_full_wire_leaves_the_rest_in_the_burst() {
        let mut pool = MemPool::new(4, 64);
        let (nic, mut rx, mut tx, wire) = port([2, 0, 0, 0, 0, 1], 1, 2);
        let mut burst = TxBurst::new();
        for i in 0..3 {
            burst.push(pool.frame(&[i]).unwrap());
        }
        assert_eq!(tx[0].send(&mut burst), 2);
        assert_eq!(burst.iter().map(|f| f.data()[0]).collect::<Vec<_>>(), [2]);
        assert_eq!(wire.take(0).unwrap().data(), [0]);
        wire.inject(0, pool.frame(&[9, 9]).unwrap()).unwrap();
        let mut received = Burst::new();
        assert_eq!(rx[0].recv(&mut received), 1);
        let counters = nic.counters();
        assert_eq!((counters.rx_packets, counters.rx_bytes, counters.tx_packets), (1, 2, 2));
    }
}
