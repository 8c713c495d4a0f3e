//! Drivers: where frames come from and go to.
//!
//! The worker and the control thread are written once over these traits. `dpdk` is the driver of
//! the field, `mem` that of tests and of replay.

#[cfg(feature = "dpdk")]
pub mod dpdk;
pub mod mem;
pub mod pcap;

use crate::worker::links::CONTROL_RING;
use crate::worker::links::HANDOVER_RING;
use crate::worker::links::MAILBOX;
use pointsman_config::Config;
use pointsman_dataplane::frame::Burst;
use pointsman_dataplane::frame::Frame;
use pointsman_dataplane::frame::Pool;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::pipeline::TxBurst;

/// Frames a worker may have in its pool cache, bursts and held ones.
const UNDER_WAY: u32 = 2048;

/// Frames that a pool for this configuration has: as it says, else enough for full rings everywhere
/// and what is under way; 2^n - 1 fits memory best.
pub fn frames(config: &Config, workers: usize) -> u32 {
    if let Some(frames) = config.director.mbufs {
        return frames;
    }
    let rings = config.ports.iter().map(|p| u32::from(p.rx_ring) + u32::from(p.tx_ring));
    let per_worker = rings.sum::<u32>() + (HANDOVER_RING + MAILBOX) as u32 + UNDER_WAY;
    let all = per_worker * workers as u32 + CONTROL_RING as u32;
    all.next_power_of_two().max(8192) - 1
}

/// A receive queue. One thread uses it.
pub trait Rx<F> {
    /// Takes waiting frames into an empty burst; never blocks. Returns how many.
    fn recv(&mut self, burst: &mut Burst<F>) -> usize;
}

/// A transmit queue. One thread uses it.
pub trait Tx<F> {
    /// Hands frames to the port, first ones first; never blocks. What it took has left the burst,
    /// the rest stays in it. Returns how many it took.
    fn send(&mut self, burst: &mut TxBurst<F>) -> usize;
}

/// What belongs together of one driver.
pub trait Driver: 'static {
    /// Its frames.
    type Frame: Frame + Send + 'static;
    /// Its receive queues.
    type Rx: Rx<Self::Frame> + Send + 'static;
    /// Its transmit queues.
    type Tx: Tx<Self::Frame> + Send + 'static;
    /// Where its frames come from; each thread has a clone.
    type Pool: Pool<Frame = Self::Frame> + Clone + Send + 'static;
    /// Its ports as the control thread sees them.
    type Nic: Nic;
    /// What a worker thread holds while it runs.
    type Guard;

    /// Makes the driver know the calling thread; called once by each worker on its own thread.
    fn enter_thread(&self) -> Result<Self::Guard, String>;
}

/// A port's cold side: what the control thread asks of it and tells it.
pub trait Nic {
    /// Its MAC.
    fn mac(&self) -> Mac;
    /// The driver's name.
    fn driver(&self) -> String;
    /// Whether the queue a frame arrives at is a fixed function of its addresses and ports.
    fn fixed_queue(&self) -> bool;
    /// Its link now.
    fn link(&self) -> Link;
    /// What it counted since it was opened.
    fn counters(&self) -> PortCounters;
    /// Which multicast MACs it should take; says how that was reached.
    fn set_multicast(&mut self, macs: &[Mac]) -> Result<Multicast, String>;
}

/// State of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Link {
    /// Whether there is one.
    pub up: bool,
    /// Megabits per second; 0 where the port does not know.
    pub speed_mbps: u32,
}

/// How a port takes the multicast it needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Multicast {
    /// The MACs of the list only.
    List,
    /// All multicast.
    All,
    /// Everything on the wire.
    Promiscuous,
    /// The driver filters nothing.
    Unfiltered,
}

impl Multicast {
    /// Its name in `status`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::All => "all",
            Self::Promiscuous => "promiscuous",
            Self::Unfiltered => "unfiltered",
        }
    }
}

/// What a port counted, in frames and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortCounters {
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames the port had no room for because its queue was not emptied in time.
    pub missed: u64,
    /// Frames received damaged.
    pub rx_errors: u64,
    /// Frames that failed to be sent.
    pub tx_errors: u64,
    /// Frames lost because the pool was empty.
    pub no_frame: u64,
    /// Frames the driver gave in several pieces, which no queue takes: larger than a buffer.
    pub scattered: u64,
}
