//! Ethernet ports: opened whole, started into queues.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::device::member;
use crate::device::port_name;
use crate::eal::Eal;
use crate::error::Error;
use crate::ethdev;
use crate::ethdev::Device;
use crate::explain;
use crate::log;
use crate::mempool::Mempool;
use crate::queue::RxQueue;
use crate::queue::TxQueue;

/// How a port is set up.
#[derive(Clone, Debug)]
pub struct PortConf {
    /// Receive queues; 2 or more share the frames by their addresses and ports where the
    /// driver can ([`PortInfo::rss`]).
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// Descriptors per receive queue, moved into the driver's limits.
    pub rx_ring: u16,
    /// Descriptors per transmit queue, moved into the driver's limits.
    pub tx_ring: u16,
    /// Longest IP datagram, in bytes.
    pub mtu: u16,
    /// Where received frames are put.
    pub pool: Mempool,
    /// Receive frames to any address. Drivers that filter nothing anyway need not support it.
    pub promiscuous: bool,
}

impl PortConf {
    /// One queue pair, rings of 1024, an MTU of 1500, not promiscuous.
    pub fn new(pool: &Mempool) -> Self {
        Self {
            rx_queues: 1,
            tx_queues: 1,
            rx_ring: 1024,
            tx_ring: 1024,
            mtu: 1500,
            pool: pool.clone(),
            promiscuous: false,
        }
    }
}

/// State of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Frames can pass.
    pub up: bool,
    /// In Mbit/s; 0xffff_ffff when the driver does not know.
    pub speed_mbps: u32,
}

/// What the driver has counted since the port was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Frames received.
    pub ipackets: u64,
    /// Frames sent.
    pub opackets: u64,
    /// Bytes received.
    pub ibytes: u64,
    /// Bytes sent.
    pub obytes: u64,
    /// Frames lost because the receive ring was full.
    pub imissed: u64,
    /// Frames received broken.
    pub ierrors: u64,
    /// Frames not sent.
    pub oerrors: u64,
    /// Times the pool had no buffer for a frame.
    pub rx_nombuf: u64,
    /// Frames dropped by [`RxQueue::recv`] because they came in several segments.
    pub scattered: u64,
}

/// What the driver can do.
#[derive(Clone, Debug)]
pub struct PortInfo {
    /// Most receive queues.
    pub max_rx_queues: u16,
    /// Most transmit queues.
    pub max_tx_queues: u16,
    /// Least MTU.
    pub min_mtu: u16,
    /// Greatest MTU.
    pub max_mtu: u16,
    /// Receive-side scaling by addresses and ports is there.
    pub rss: bool,
    /// Every kind of receive-side scaling, as `RTE_ETH_RSS_*` bits.
    pub rss_types: u64,
    /// Entries of its redirection table.
    pub reta_size: u16,
    /// Bytes of its hash key.
    pub rss_key_size: u16,
    /// The NUMA node the device sits on, where it has one.
    pub numa_socket: Option<u32>,
    /// The kernel's interface behind the port, where there is one.
    pub interface_index: Option<u32>,
}

/// How a port was made to receive multicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multicast {
    /// By the list: other groups are filtered out.
    List,
    /// All groups; the driver has no list, or too short a one.
    All,
    /// All frames; the driver knows nothing finer.
    Promiscuous,
    /// The driver offers no filter: what its wire brings it receives (net_ring, net_memif).
    Unfiltered,
}

/// An Ethernet port. Dropping it closes the device once its queues are gone as well.
///
/// Send but not Sync: DPDK wants a port's control calls from one thread at a time.
pub struct Port {
    /// One, or for net_af_xdp one per queue ([`devices_for`](crate::devices_for)).
    devices: Vec<Arc<Device>>,
    conf: PortConf,
    not_sync: PhantomData<Cell<()>>,
}

impl Port {
    /// Opens the port of a device given to [`Eal::init`], by the same text or by its part before
    /// the first comma, and sets it up. A closed port cannot be opened again.
    ///
    /// # Errors
    /// No such port, or opened already; fewer queues than asked for; an MTU that the driver or
    /// the pool's buffers do not take; whatever the driver or the kernel refuses.
    pub fn open(eal: &Eal, name: &str, conf: PortConf) -> Result<Self, Error> {
        let name = port_name(name);
        let more = (1..=u16::MAX).map(|queue| member(&name, queue));
        let names: Vec<_> = std::iter::once(name.clone())
            .chain(more.take_while(|name| ethdev::find(name).is_some()))
            .collect();
        let mut each = conf.clone();
        if names.len() > 1 {
            let most = names.len();
            if usize::from(conf.rx_queues) != most || usize::from(conf.tx_queues) != most {
                let text = format!("port {name}: has devices for {most} queue pairs exactly");
                return Err(Error::new("rte_eth_dev_configure", libc::EINVAL, text));
            }
            (each.rx_queues, each.tx_queues) = (1, 1);
        }
        let devices = names.iter().map(|name| Device::open(eal, name, &each));
        let devices = devices.collect::<Result<_, _>>()?;
        Ok(Self { devices, conf, not_sync: PhantomData })
    }

    /// Starts the port and gives its queues, `rx_queues` and `tx_queues` of them.
    ///
    /// # Errors
    /// Started already, or what the driver refuses.
    pub fn start(&mut self) -> Result<(Vec<RxQueue>, Vec<TxQueue>), Error> {
        if self.devices.iter().any(|device| device.is_running()) {
            let text = format!("port {} is started already", self.name());
            return Err(Error::new("rte_eth_dev_start", libc::EBUSY, text));
        }
        let (mut rx, mut tx) = (Vec::new(), Vec::new());
        for device in &self.devices {
            let mark = log::mark();
            let started = Device::start(device);
            let Err(error) = started.map(|(more_rx, more_tx)| {
                rx.extend(more_rx);
                tx.extend(more_tx);
            }) else {
                continue;
            };
            drop((rx, tx));
            for started in &self.devices {
                started.stop()?;
            }
            return Err(explain::port(error, self.name(), self.driver(), &log::since(mark)));
        }
        for (id, queue) in rx.iter_mut().enumerate() {
            queue.set_id(id as u16);
        }
        for (id, queue) in tx.iter_mut().enumerate() {
            queue.set_id(id as u16);
        }
        Ok((rx, tx))
    }

    /// Stops the port; it can be started again. Drop its queues first.
    ///
    /// # Errors
    /// Queues that live (`EBUSY`), or what the driver refuses.
    pub fn stop(&mut self) -> Result<(), Error> {
        let queues: usize = self.devices.iter().map(|device| device.queues()).sum();
        if queues > 0 {
            let text = format!("port {}: {queues} of its queues are in use", self.name());
            return Err(Error::new("rte_eth_dev_stop", libc::EBUSY, text));
        }
        self.devices.iter().try_for_each(|device| device.stop())
    }

    /// The name it was opened by, as `net_af_packet0`.
    pub fn name(&self) -> &str {
        self.first().name()
    }

    /// DPDK's number for it (for its first device where it has several).
    pub fn id(&self) -> u16 {
        self.first().id()
    }

    /// The driver's name, as `net_af_packet`.
    pub fn driver(&self) -> &str {
        self.first().driver()
    }

    /// The port's MAC address; zeros where the driver has none.
    pub fn mac(&self) -> [u8; 6] {
        self.first().mac()
    }

    /// The link: the kernel's view for net_af_packet and net_af_xdp, whose drivers say up at
    /// any time (the kernel tells of a lost carrier up to a second late), else the driver's.
    /// Down when it cannot tell.
    pub fn link(&self) -> Link {
        self.first().link()
    }

    /// The driver's counters; zeros where it has none.
    pub fn stats(&self) -> PortStats {
        self.devices.iter().fold(PortStats::default(), |sum, device| sum.plus(device.stats()))
    }

    /// What the driver can do.
    ///
    /// # Errors
    /// A device that is gone.
    pub fn info(&self) -> Result<PortInfo, Error> {
        let raw = ethdev::raw_info(self.id()).map_err(|error| self.at(error))?;
        let devices = self.devices.len() as u16; // each with a 16-bit number of its own
        Ok(PortInfo {
            max_rx_queues: raw.max_rx_queues.saturating_mul(devices),
            max_tx_queues: raw.max_tx_queues.saturating_mul(devices),
            min_mtu: raw.min_mtu,
            max_mtu: raw.max_mtu,
            rss: raw.rss_types & ethdev::four_tuple() != 0,
            rss_types: raw.rss_types,
            reta_size: raw.reta_size,
            rss_key_size: raw.rss_key_size,
            numa_socket: u32::try_from(raw.numa_socket).ok(),
            interface_index: Some(raw.interface_index).filter(|&index| index != 0),
        })
    }

    /// Changes the MTU, of the kernel's interface too. Some drivers take it only while the
    /// port is stopped.
    ///
    /// # Errors
    /// More than the driver or the pool's buffers take, or not while started.
    pub fn set_mtu(&mut self, mtu: u16) -> Result<(), Error> {
        let conf = PortConf { mtu, rx_queues: 1, tx_queues: 1, ..self.conf.clone() };
        for device in &self.devices {
            let raw = ethdev::raw_info(device.id()).map_err(|error| self.at(error))?;
            explain::conf_fits(device.name(), device.driver(), &conf, &raw)?;
            device.set_mtu(mtu, raw.max_frame).map_err(|error| self.at(error))?;
        }
        self.conf.mtu = mtu;
        Ok(())
    }

    /// Receives frames to these groups: by the driver's list, else by taking all multicast,
    /// else by taking everything. Replaces the list of the call before. A list longer than the
    /// NIC's, or than 256, is no list.
    ///
    /// # Errors
    /// What the driver refuses for another reason than not being able to; then nothing is sure,
    /// and the call is to be made again.
    pub fn set_multicast(&mut self, groups: &[[u8; 6]]) -> Result<Multicast, Error> {
        let mut way = Multicast::List;
        for device in &self.devices {
            way = device.set_multicast(groups).map_err(|error| self.at(error))?;
        }
        Ok(way)
    }

    fn first(&self) -> &Device {
        &self.devices[0]
    }

    fn at(&self, error: Error) -> Error {
        explain::port(error, self.name(), self.driver(), &[])
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port")
            .field("name", &self.name())
            .field("driver", &self.driver())
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

impl PortStats {
    fn plus(self, other: Self) -> Self {
        Self {
            ipackets: self.ipackets + other.ipackets,
            opackets: self.opackets + other.opackets,
            ibytes: self.ibytes + other.ibytes,
            obytes: self.obytes + other.obytes,
            imissed: self.imissed + other.imissed,
            ierrors: self.ierrors + other.ierrors,
            oerrors: self.oerrors + other.oerrors,
            rx_nombuf: self.rx_nombuf + other.rx_nombuf,
            scattered: self.scattered + other.scattered,
        }
    }
}
