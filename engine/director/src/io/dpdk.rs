//! Ports through DPDK: the only user of `dpdk-sys`.

use super::Driver;
use super::Link;
use super::Multicast;
use super::Nic;
use super::PortCounters;
use super::Rx;
use super::Tx;
use crate::worker::Queues;
use crate::worker::links::CONTROL_RING;
use crate::worker::links::HANDOVER_RING;
use crate::worker::links::MAILBOX;
use arrayvec::ArrayVec;
use dpdk_sys::Eal;
use dpdk_sys::EalArgs;
use dpdk_sys::Mbuf;
use dpdk_sys::Mempool;
use dpdk_sys::Port;
use dpdk_sys::PortConf;
use dpdk_sys::RxQueue;
use dpdk_sys::ThreadGuard;
use dpdk_sys::TxQueue;
use dpdk_sys::data_room;
use pointsman_config::Config;
use pointsman_config::Device;
use pointsman_dataplane::frame::BURST;
use pointsman_dataplane::frame::Burst;
use pointsman_dataplane::frame::Frame;
use pointsman_dataplane::frame::Pool;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::pipeline::TX_BURST;
use pointsman_dataplane::pipeline::TxBurst;

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
    type Frame = MbufFrame;
    type Rx = DpdkRx;
    type Tx = DpdkTx;
    type Pool = DpdkPool;
    type Nic = DpdkNic;
    type Guard = ThreadGuard;

    fn enter_thread(&self) -> Result<ThreadGuard, String> {
        self.eal.register_thread().map_err(|e| e.to_string())
    }
}

/// An mbuf as the pipeline's frame.
#[repr(transparent)]
pub struct MbufFrame(Mbuf);

impl Frame for MbufFrame {
    #[inline(always)]
    fn data(&self) -> &[u8] {
        self.0.data()
    }

    #[inline(always)]
    fn data_mut(&mut self) -> &mut [u8] {
        self.0.data_mut()
    }

    #[inline(always)]
    fn prepend(&mut self, n: usize) -> bool {
        self.0.prepend(n)
    }

    #[inline(always)]
    fn trim_front(&mut self, n: usize) -> bool {
        self.0.trim_front(n)
    }

    #[inline(always)]
    fn set_len(&mut self, len: usize) -> bool {
        self.0.set_len(len)
    }

    #[inline(always)]
    fn prefetch(&self) {
        self.0.prefetch();
    }
}

/// The mempool of all ports.
#[derive(Clone)]
pub struct DpdkPool(pub Mempool);

impl Pool for DpdkPool {
    type Frame = MbufFrame;

    #[inline]
    fn alloc(&mut self) -> Option<MbufFrame> {
        self.0.alloc().map(MbufFrame)
    }
}

/// A receive queue.
pub struct DpdkRx {
    queue: RxQueue,
    raw: ArrayVec<Mbuf, BURST>,
}

impl DpdkRx {
    /// Of a started port.
    pub fn new(queue: RxQueue) -> Self {
        Self { queue, raw: ArrayVec::new() }
    }
}

impl Rx<MbufFrame> for DpdkRx {
    #[inline]
    fn recv(&mut self, burst: &mut Burst<MbufFrame>) -> usize {
        let n = self.queue.recv(&mut self.raw);
        burst.extend(self.raw.drain(..).map(MbufFrame));
        n
    }
}

/// A transmit queue.
pub struct DpdkTx {
    queue: TxQueue,
    raw: ArrayVec<Mbuf, TX_BURST>,
}

impl DpdkTx {
    /// Of a started port.
    pub fn new(queue: TxQueue) -> Self {
        Self { queue, raw: ArrayVec::new() }
    }
}

impl Tx<MbufFrame> for DpdkTx {
    #[inline]
    fn send(&mut self, burst: &mut TxBurst<MbufFrame>) -> usize {
        self.raw.extend(burst.drain(..).map(|frame| frame.0));
        let sent = self.queue.send(&mut self.raw);
        burst.extend(self.raw.drain(..).map(MbufFrame));
        sent
    }
}

/// A port's cold side: one device, or several that share an interface.
pub struct DpdkNic {
    ports: Vec<Port>,
    fixed_queue: bool,
}

impl Nic for DpdkNic {
    fn mac(&self) -> Mac {
        self.ports.first().map_or([0; 6], Port::mac)
    }

    fn driver(&self) -> String {
        self.ports.first().map_or("", Port::driver).to_owned()
    }

    fn fixed_queue(&self) -> bool {
        self.fixed_queue
    }

    fn link(&self) -> Link {
        let link = self.ports.first().map(Port::link);
        link.map_or(Link::default(), |l| Link { up: l.up, speed_mbps: l.speed_mbps })
    }

    fn counters(&self) -> PortCounters {
        let mut sum = PortCounters::default();
        for s in self.ports.iter().map(Port::stats) {
            sum.rx_packets += s.ipackets;
            sum.rx_bytes += s.ibytes;
            sum.tx_packets += s.opackets;
            sum.tx_bytes += s.obytes;
            sum.missed += s.imissed;
            sum.rx_errors += s.ierrors;
            sum.tx_errors += s.oerrors;
            sum.no_frame += s.rx_nombuf;
        }
        sum
    }

    fn set_multicast(&mut self, macs: &[Mac]) -> Result<Multicast, String> {
        let mut taken = Multicast::Unfiltered;
        for port in &mut self.ports {
            taken = match port.set_multicast(macs).map_err(|e| e.to_string())? {
                dpdk_sys::Multicast::List => Multicast::List,
                dpdk_sys::Multicast::All => Multicast::All,
                dpdk_sys::Multicast::Promiscuous => Multicast::Promiscuous,
                dpdk_sys::Multicast::Unfiltered => Multicast::Unfiltered,
            };
        }
        Ok(taken)
    }
}

/// All ports of a configuration, open and started, with a queue pair of each for each worker.
pub struct Opened {
    /// The driver.
    pub driver: Dpdk,
    /// The pool of all.
    pub pool: DpdkPool,
    /// The ports, in the configuration's order.
    pub nics: Vec<DpdkNic>,
    /// Queue pairs: by worker, then by port.
    pub queues: Vec<Vec<Queues<Dpdk>>>,
}

/// Starts DPDK and opens every port.
///
/// # Errors
/// In words, with what to do.
pub fn open(config: &Config, workers: usize, hugepages: bool) -> Result<Opened, String> {
    let devices: Vec<_> = config.ports.iter().map(|p| devices(p, workers)).collect();
    let eal = Eal::init(&EalArgs {
        memory_mib: config.director.memory,
        hugepages,
        devices: devices.concat(),
        ..EalArgs::default()
    })
    .map_err(|e| e.to_string())?;
    let mtu = config.ports.iter().map(|p| p.mtu).max().unwrap_or(1500);
    let count = config.director.mbufs.unwrap_or_else(|| mbufs(config, workers));
    let pool = Mempool::new(&eal, "frames", count, data_room(mtu)).map_err(|e| e.to_string())?;
    let mut nics = Vec::new();
    let mut queues: Vec<Vec<Queues<Dpdk>>> = (0..workers).map(|_| Vec::new()).collect();
    for (port, devices) in config.ports.iter().zip(&devices) {
        let at = |e: dpdk_sys::Error| format!("port \"{}\": {e}", port.name);
        let (nic, pairs) = open_port(&eal, &pool, port, devices, workers).map_err(at)?;
        nics.push(nic);
        queues.iter_mut().zip(pairs).for_each(|(of_worker, pair)| of_worker.push(pair));
    }
    Ok(Opened { driver: Dpdk::new(eal), pool: DpdkPool(pool), nics, queues })
}

/// A port and its queue pairs by worker; several devices share them out evenly.
fn open_port(
    eal: &Eal,
    pool: &Mempool,
    port: &pointsman_config::Port,
    devices: &[String],
    workers: usize,
) -> Result<(DpdkNic, Vec<Queues<Dpdk>>), dpdk_sys::Error> {
    let (mut ports, mut pairs) = (Vec::new(), Vec::new());
    let mut rss = true;
    for device in devices {
        let each = (workers / devices.len()) as u16;
        let conf = PortConf {
            rx_queues: each,
            tx_queues: each,
            rx_ring: port.rx_ring,
            tx_ring: port.tx_ring,
            mtu: port.mtu,
            pool: pool.clone(),
            promiscuous: false,
        };
        let mut opened = Port::open(eal, device, conf)?;
        let (rx, tx) = opened.start()?;
        let pair = |(rx, tx)| Queues { rx: DpdkRx::new(rx), tx: DpdkTx::new(tx) };
        pairs.extend(rx.into_iter().zip(tx).map(pair));
        rss &= opened.info()?.rss;
        ports.push(opened);
    }
    // Virtual devices may announce receive-side scaling, but the kernel behind them chooses the
    // queue by rules of its own, which change within a flow.
    let is_nic = matches!(port.device, Device::Pci(_));
    Ok((DpdkNic { ports, fixed_queue: workers == 1 || (is_nic && rss) }, pairs))
}

/// The devices behind a port, with what follows from the number of workers and the MTU where the
/// configuration does not say it.
fn devices(port: &pointsman_config::Port, workers: usize) -> Vec<String> {
    let text = port.device.as_str();
    let has = |key: &str| text.split(',').skip(1).any(|a| a.starts_with(&format!("{key}=")));
    if text.starts_with("net_af_xdp") && workers > 1 && !has("queue_count") && !has("start_queue") {
        // A device of one queue for each worker: the driver gives a device no second queue where
        // the interface has no combined channels (veth).
        let (name, args) = text.split_once(',').unwrap_or((text, ""));
        let one = |queue| format!("{name}q{queue},{args},start_queue={queue},queue_count=1");
        return (0..workers).map(one).collect();
    }
    let mut text = text.to_owned();
    if text.starts_with("net_af_packet") {
        if !has("qpairs") {
            text += &format!(",qpairs={workers}");
        }
        if !["framesz", "blocksz", "framecnt"].iter().any(|key| has(key)) {
            // A ring of 2048 frames: with the driver's 512 a burst for a sleeping worker is lost.
            let frame = if port.mtu > AF_PACKET_MTU { 16_384 } else { 2048 };
            text += &format!(",framesz={frame},blocksz={AF_PACKET_BLOCK},framecnt=2048");
        }
    }
    vec![text]
}

/// The largest MTU for af_packet's default frame: 2048 less the kernel's header and Ethernet's.
const AF_PACKET_MTU: u16 = 1900;
/// Bytes of one piece of af_packet's ring, a multiple of its frame size.
const AF_PACKET_BLOCK: u32 = 65_536;

/// Frames enough for full rings everywhere and what is under way; 2^n - 1 fits memory best.
fn mbufs(config: &Config, workers: usize) -> u32 {
    let rings = config.ports.iter().map(|p| u32::from(p.rx_ring) + u32::from(p.tx_ring));
    let per_worker = rings.sum::<u32>() + HANDOVER_RING as u32 + MAILBOX as u32 + UNDER_WAY;
    let all = per_worker * workers as u32 + CONTROL_RING as u32;
    all.next_power_of_two().max(8192) - 1
}

/// Frames a worker may have in its pool cache, bursts and held ones.
const UNDER_WAY: u32 = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn port(device: &str, mtu: u16) -> pointsman_config::Port {
        let text = format!(
            "[[port]]\nname='p'\ndevice='{device}'\nmtu={mtu}\naddresses=['10.0.0.1/24']\n"
        );
        pointsman_config::parse("t", &text).unwrap().0.ports.remove(0)
    }

    fn device(device: &str, mtu: u16, workers: usize) -> String {
        devices(&port(device, mtu), workers).join(" ")
    }

    #[test]
    fn devices_get_a_queue_for_each_worker() {
        assert_eq!(
            device("net_af_packet0,iface=d0", 1500, 2),
            "net_af_packet0,iface=d0,qpairs=2,framesz=2048,blocksz=65536,framecnt=2048"
        );
        assert_eq!(
            device("net_af_packet0,iface=d0,framecnt=512,qpairs=1", 1500, 2),
            "net_af_packet0,iface=d0,framecnt=512,qpairs=1"
        );
        assert!(device("net_af_packet0,iface=d0", 9000, 1).contains("framesz=16384"));
        assert_eq!(device("net_af_xdp0,iface=d0", 1500, 1), "net_af_xdp0,iface=d0");
        assert_eq!(
            device("net_af_xdp0,iface=d0", 1500, 2),
            "net_af_xdp0q0,iface=d0,start_queue=0,queue_count=1 \
             net_af_xdp0q1,iface=d0,start_queue=1,queue_count=1"
        );
        assert_eq!(device("0000:03:00.0", 1500, 2), "0000:03:00.0");
    }
}
