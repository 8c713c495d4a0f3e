//! Ports through DPDK: the only user of `dpdk-sys`.

mod claim;
mod memif;
mod open;

pub use open::Opened;
pub use open::open;

use super::Driver;
use super::Link;
use super::Multicast;
use super::Nic;
use super::PortCounters;
use super::Rx;
use super::Tx;
use claim::Claim;
use dpdk_sys::Eal;
use dpdk_sys::Mbuf;
use dpdk_sys::Mempool;
use dpdk_sys::Port;
use dpdk_sys::RxQueue;
use dpdk_sys::ThreadGuard;
use dpdk_sys::TxQueue;
use pointsman_dataplane::frame::Burst;
use pointsman_dataplane::frame::Pool;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::pipeline::TxBurst;
use std::sync::Arc;

/// DPDK, started.
#[derive(Clone)]
pub struct Dpdk {
    eal: Eal,
}

impl Dpdk {
    /// The driver over a started EAL.
    pub fn new(eal: Eal) -> Self {
        Self { eal }
    }
}

impl Driver for Dpdk {
    type Frame = Mbuf;
    type Rx = DpdkRx;
    type Tx = DpdkTx;
    type Pool = DpdkPool;
    type Nic = DpdkNic;
    type Guard = ThreadGuard;

    fn enter_thread(&self) -> Result<ThreadGuard, String> {
        self.eal.register_thread().map_err(|e| e.to_string())
    }
}

/// The mempool of all ports.
#[derive(Clone)]
pub struct DpdkPool(pub Mempool);

impl Pool for DpdkPool {
    type Frame = Mbuf;

    #[inline]
    fn alloc(&mut self) -> Option<Mbuf> {
        self.0.alloc()
    }
}

/// A receive queue of a started port.
pub struct DpdkRx(pub RxQueue);

impl Rx<Mbuf> for DpdkRx {
    #[inline]
    fn recv(&mut self, burst: &mut Burst<Mbuf>) -> usize {
        self.0.recv(burst)
    }
}

/// A transmit queue of a started port.
pub struct DpdkTx(pub TxQueue);

impl Tx<Mbuf> for DpdkTx {
    #[inline]
    fn send(&mut self, burst: &mut TxBurst<Mbuf>) -> usize {
        self.0.send(burst)
    }
}

/// A port's cold side.
pub struct DpdkNic {
    port: Port,
    fixed_queue: bool,
    /// Given up after the port is closed: fields are dropped in order.
    _claims: Vec<Arc<Claim>>,
}

impl Nic for DpdkNic {
    fn mac(&self) -> Mac {
        self.port.mac()
    }

    fn driver(&self) -> String {
        self.port.driver().to_owned()
    }

    fn fixed_queue(&self) -> bool {
        self.fixed_queue
    }

    fn link(&self) -> Link {
        let link = self.port.link();
        Link { up: link.up, speed_mbps: link.speed_mbps }
    }

    fn counters(&self) -> PortCounters {
        let s = self.port.stats();
        PortCounters {
            rx_packets: s.ipackets,
            rx_bytes: s.ibytes,
            tx_packets: s.opackets,
            tx_bytes: s.obytes,
            missed: s.imissed,
            rx_errors: s.ierrors,
            tx_errors: s.oerrors,
            no_frame: s.rx_nombuf,
            scattered: s.scattered,
        }
    }

    fn set_multicast(&mut self, macs: &[Mac]) -> Result<Multicast, String> {
        Ok(match self.port.set_multicast(macs).map_err(|e| e.to_string())? {
            dpdk_sys::Multicast::List => Multicast::List,
            dpdk_sys::Multicast::All => Multicast::All,
            dpdk_sys::Multicast::Promiscuous => Multicast::Promiscuous,
            dpdk_sys::Multicast::Unfiltered => Multicast::Unfiltered,
        })
    }
}
