//! One of DPDK's Ethernet devices, as a port and its queues share it.

use std::ffi::CStr;
use std::ffi::CString;
use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use crate::eal::Eal;
use crate::error::Error;
use crate::explain;
use crate::log;
use crate::mempool::Mempool;
use crate::netif;
use crate::port::Link;
use crate::port::Multicast;
use crate::port::PortConf;
use crate::port::PortStats;
use crate::queue;
use crate::queue::RxQueue;
use crate::queue::TxQueue;
use crate::raw;

/// An open device; closed when it is dropped.
pub(crate) struct Device {
    id: u16,
    name: String,
    driver: String,
    /// The kernel's interface, where there is one.
    interface: Option<u32>,
    rx_queues: u16,
    tx_queues: u16,
    eal: Eal,
    /// Outlives the device: fields are dropped after `Drop::drop` has closed it.
    _pool: Mempool,
    queues: AtomicUsize,
    running: AtomicBool,
    scattered: AtomicU64,
}

impl Device {
    pub(crate) fn open(eal: &Eal, name: &str, conf: &PortConf) -> Result<Arc<Self>, Error> {
        let id = find(name).ok_or_else(|| explain::no_port(name))?;
        let info = raw_info(id)?;
        let driver = if info.driver.is_null() {
            String::new()
        } else {
            // SAFETY: a driver's name is a constant string of the loaded driver.
            unsafe { CStr::from_ptr(info.driver) }.to_string_lossy().into_owned()
        };
        explain::conf_fits(name, &driver, conf, &info)?;
        if !eal.claim_port(id) {
            let text = format!("port {name} is open already");
            return Err(Error::new("rte_eth_dev_configure", libc::EBUSY, text));
        }
        let device = Self {
            id,
            name: name.to_owned(),
            driver,
            interface: Some(info.interface_index).filter(|&index| index != 0),
            rx_queues: conf.rx_queues,
            tx_queues: conf.tx_queues,
            eal: eal.clone(),
            _pool: conf.pool.clone(),
            queues: AtomicUsize::new(0),
            running: AtomicBool::new(false),
            scattered: AtomicU64::new(0),
        };
        let mark = log::mark();
        device.configure(conf, &info).map_err(|error| {
            explain::port(error, &device.name, &device.driver, &log::since(mark))
        })?;
        Ok(Arc::new(device))
    }

    pub(crate) fn start(device: &Arc<Self>) -> Result<(Vec<RxQueue>, Vec<TxQueue>), Error> {
        const CALL: &str = "rte_eth_dev_start";
        if device.running.swap(true, Ordering::AcqRel) {
            return Err(Error::new(CALL, libc::EBUSY, "started already"));
        }
        // SAFETY: the port is configured and stopped.
        let started = Error::check(CALL, unsafe { raw::rte_eth_dev_start(device.id) });
        if started.is_err() {
            device.running.store(false, Ordering::Release);
        }
        started?;
        // SAFETY: started just now; it was stopped, so there were no queues.
        Ok(unsafe { queue::queues_of(device, device.rx_queues, device.tx_queues) })
    }

    /// Stops the device if it runs. The caller has seen `queues()` at 0.
    pub(crate) fn stop(&self) -> Result<(), Error> {
        const CALL: &str = "rte_eth_dev_stop";
        if self.queues() > 0 || !self.is_running() {
            return Ok(());
        }
        // SAFETY: open, and no queue is left to poll it.
        Error::check(CALL, unsafe { raw::rte_eth_dev_stop(self.id) })
            .map_err(|error| explain::port(error, &self.name, &self.driver, &[]))?;
        self.running.store(false, Ordering::Release);
        Ok(())
    }

    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn driver(&self) -> &str {
        &self.driver
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// Queues given out that live.
    pub(crate) fn queues(&self) -> usize {
        self.queues.load(Ordering::Acquire)
    }

    pub(crate) fn queue_made(&self) {
        self.queues.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn queue_dropped(&self) {
        // Release: the queue's last burst is over before `stop` sees the count at 0.
        self.queues.fetch_sub(1, Ordering::Release);
    }

    /// Counts frames that a queue dropped because they came in several segments.
    pub(crate) fn scattered(&self, frames: u64) {
        self.scattered.fetch_add(frames, Ordering::Relaxed);
    }

    pub(crate) fn mac(&self) -> [u8; 6] {
        let mut mac = [0; 6];
        // SAFETY: writes six bytes.
        unsafe { raw::shim_port_mac(self.id, &raw mut mac) };
        mac
    }

    pub(crate) fn link(&self) -> Link {
        let (mut up, mut speed_mbps) = (0, 0);
        // SAFETY: writes two integers.
        unsafe { raw::shim_port_link(self.id, &raw mut up, &raw mut speed_mbps) };
        let mut up = up != 0;
        if let Some(index) = self.interface
            && matches!(&*self.driver, "net_af_packet" | "net_af_xdp")
        {
            up &= netif::is_running(index).unwrap_or(false);
        }
        Link { up, speed_mbps }
    }

    pub(crate) fn stats(&self) -> PortStats {
        let mut s = [0; 8];
        // SAFETY: writes eight integers.
        unsafe { raw::shim_port_stats(self.id, &raw mut s) };
        let [ipackets, opackets, ibytes, obytes, imissed, ierrors, oerrors, rx_nombuf] = s;
        PortStats {
            ipackets,
            opackets,
            ibytes,
            obytes,
            imissed,
            ierrors,
            oerrors,
            rx_nombuf,
            scattered: self.scattered.load(Ordering::Relaxed),
        }
    }

    /// Sets the MTU where the driver keeps one; elsewhere the buffers are the only limit.
    pub(crate) fn set_mtu(&self, mtu: u16, max_frame: u32) -> Result<(), Error> {
        const CALL: &str = "rte_eth_dev_set_mtu";
        if u32::from(mtu) + FRAMING <= max_frame {
            // SAFETY: the port is configured.
            return can(CALL, unsafe { raw::rte_eth_dev_set_mtu(self.id, mtu) }).map(|_| ());
        }
        // One of `NO_REAL_LIMIT`, else conf_fits had refused: ethdev would not pass it on.
        let Some(index) = self.interface else { return Ok(()) };
        netif::set_mtu(index, mtu).map_err(|error| {
            let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
            let text = format!("port {}: its interface does not take mtu {mtu}", self.name);
            Error::new("ioctl SIOCSIFMTU", errno, text)
        })
    }

    pub(crate) fn set_multicast(&self, groups: &[[u8; 6]]) -> Result<Multicast, Error> {
        // SAFETY: `groups` is an array of 6 n bytes, and the shim refuses more than 256 groups
        // as a full list does; the port is open.
        let listed = unsafe {
            let n = u32::try_from(groups.len()).unwrap_or(u32::MAX);
            raw::shim_port_multicast(self.id, groups.as_ptr().cast(), n)
        };
        let Err(why) = Error::check("rte_eth_dev_set_mc_addr_list", listed) else {
            return Ok(Multicast::List);
        };
        let no_list = [libc::ENOTSUP, libc::ENOSYS].contains(&why.errno);
        if !no_list && !TOO_MANY.contains(&why.errno) {
            return Err(why);
        }
        // SAFETY: the port is open.
        let all = unsafe { raw::rte_eth_allmulticast_enable(self.id) };
        if can("rte_eth_allmulticast_enable", all)? {
            return Ok(Multicast::All);
        }
        let promiscuous = self.promiscuous()?;
        match (promiscuous, no_list) {
            (true, _) => Ok(Multicast::Promiscuous),
            (false, true) => Ok(Multicast::Unfiltered),
            // It filters by a list that is too short.
            (false, false) => Err(why),
        }
    }

    fn configure(&self, conf: &PortConf, info: &raw::PortInfo) -> Result<(), Error> {
        let id = self.id;
        let rss = if conf.rx_queues > 1 { info.rss_types & four_tuple() } else { 0 };
        // Frames as long as a driver without a real limit admits to; `set_mtu` does the rest.
        let claimed = info.max_frame.saturating_sub(FRAMING);
        let mtu = u16::try_from(claimed).map_or(conf.mtu, |most| conf.mtu.min(most));
        // SAFETY: the port exists, is stopped and ours alone (`claim_port`); the pool outlives it.
        unsafe {
            let code = raw::shim_port_configure(id, conf.rx_queues, conf.tx_queues, mtu, rss);
            Error::check("rte_eth_dev_configure", code)?;
            let (mut rx, mut tx) = (conf.rx_ring, conf.tx_ring);
            let code = raw::rte_eth_dev_adjust_nb_rx_tx_desc(id, &raw mut rx, &raw mut tx);
            Error::check("rte_eth_dev_adjust_nb_rx_tx_desc", code)?;
            self.set_mtu(conf.mtu, info.max_frame)?;
            for queue in 0..conf.rx_queues {
                let code = raw::shim_rx_queue_setup(id, queue, rx, conf.pool.as_ptr());
                Error::check("rte_eth_rx_queue_setup", code)?;
            }
            for queue in 0..conf.tx_queues {
                let code = raw::shim_tx_queue_setup(id, queue, tx);
                Error::check("rte_eth_tx_queue_setup", code)?;
            }
        }
        if conf.promiscuous {
            self.promiscuous()?;
        }
        Ok(())
    }

    /// False where the driver has no such switch.
    fn promiscuous(&self) -> Result<bool, Error> {
        // SAFETY: the port is open.
        let code = unsafe { raw::rte_eth_promiscuous_enable(self.id) };
        can("rte_eth_promiscuous_enable", code)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: the port and all its queues are gone: nothing polls it or will call it again.
        unsafe {
            // A kernel interface would keep it; nothing happens where it was never enabled.
            raw::rte_eth_promiscuous_disable(self.id);
            if *self.running.get_mut() {
                raw::rte_eth_dev_stop(self.id);
            }
            raw::rte_eth_dev_close(self.id);
        }
        self.eal.release_port(self.id);
    }
}

/// What drivers say of a list longer than the NIC's: they do not agree on one number.
const TOO_MANY: [c_int; 3] = [libc::ENOSPC, libc::EINVAL, libc::ENOMEM];

/// Ethernet header and frame check sequence, as ethdev counts frames.
const FRAMING: u32 = 18;

/// DPDK's number of the port with that name.
pub(crate) fn find(name: &str) -> Option<u16> {
    let name = CString::new(name).ok()?;
    let mut id = 0;
    // SAFETY: reads the string, writes the number.
    let code = unsafe { raw::rte_eth_dev_get_port_by_name(name.as_ptr(), &raw mut id) };
    (code == 0).then_some(id)
}

pub(crate) fn raw_info(id: u16) -> Result<raw::PortInfo, Error> {
    let mut info = raw::PortInfo::default();
    // SAFETY: fills the struct.
    Error::check("rte_eth_dev_info_get", unsafe { raw::shim_port_info(id, &raw mut info) })?;
    Ok(info)
}

/// The kinds of receive-side scaling by addresses and ports.
pub(crate) fn four_tuple() -> u64 {
    // SAFETY: gives a constant.
    unsafe { raw::shim_rss_four_tuple() }
}

/// As `Error::check`, but a driver that lacks the function is no error.
fn can(call: &'static str, code: c_int) -> Result<bool, Error> {
    if code == -libc::ENOTSUP || code == -libc::ENOSYS {
        return Ok(false);
    }
    Error::check(call, code).map(|()| true)
}
