//! Opening the ports of a configuration.

use super::Dpdk;
use super::DpdkNic;
use super::DpdkPool;
use super::DpdkRx;
use super::DpdkTx;
use super::claim::Claims;
use super::memif;
use crate::io::frames;
use crate::worker::Queues;
use dpdk_sys::Eal;
use dpdk_sys::EalArgs;
use dpdk_sys::Mempool;
use dpdk_sys::Port;
use dpdk_sys::PortConf;
use dpdk_sys::data_room;
use pointsman_config::Config;
use pointsman_config::Device;
use std::fs;
use std::path::Path;

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
    for port in &config.ports {
        queues_match(port, workers, Path::new("/sys/class/net"))?;
        memif::clear(port.device.as_str());
    }
    let mut claims = Claims::default();
    let claim = |port: &pointsman_config::Port| {
        claims.of(port.device.as_str()).map_err(|e| format!("port \"{}\": {e}", port.name))
    };
    let claimed = config.ports.iter().map(claim).collect::<Result<Vec<_>, _>>()?;
    let devices = |port: &pointsman_config::Port| {
        dpdk_sys::devices_for(port.device.as_str(), port.mtu, workers as u16)
    };
    let eal = Eal::init(&EalArgs {
        memory_mib: config.director.memory,
        hugepages,
        devices: config.ports.iter().flat_map(devices).collect(),
        ..EalArgs::default()
    })
    .map_err(|e| e.to_string())?;
    let mtu = config.ports.iter().map(|p| p.mtu).max().unwrap_or(1500);
    let count = frames(config, workers);
    let pool = Mempool::new(&eal, "frames", count, data_room(mtu)).map_err(|e| e.to_string())?;
    let mut nics = Vec::new();
    let mut queues: Vec<Vec<Queues<Dpdk>>> = (0..workers).map(|_| Vec::new()).collect();
    for (port, claims) in config.ports.iter().zip(claimed) {
        let at = |e: dpdk_sys::Error| format!("port \"{}\": {e}", port.name);
        let (port, fixed_queue, pairs) = open_port(&eal, &pool, port, workers).map_err(at)?;
        nics.push(DpdkNic { port, fixed_queue, _claims: claims });
        queues.iter_mut().zip(pairs).for_each(|(of_worker, pair)| of_worker.push(pair));
    }
    Ok(Opened { driver: Dpdk::new(eal), pool: DpdkPool(pool), nics, queues })
}

/// A port, whether its queue is a fixed function of the tuple, and its queue pairs by worker.
fn open_port(
    eal: &Eal,
    pool: &Mempool,
    port: &pointsman_config::Port,
    workers: usize,
) -> Result<(Port, bool, Vec<Queues<Dpdk>>), dpdk_sys::Error> {
    let conf = PortConf {
        rx_queues: workers as u16,
        tx_queues: workers as u16,
        rx_ring: port.rx_ring,
        tx_ring: port.tx_ring,
        mtu: port.mtu,
        pool: pool.clone(),
        promiscuous: false,
    };
    let mut opened = Port::open(eal, port.device.as_str(), conf)?;
    let (rx, tx) = opened.start()?;
    let pair = |(rx, tx)| Queues { rx: DpdkRx(rx), tx: DpdkTx(tx) };
    let pairs = rx.into_iter().zip(tx).map(pair).collect();
    // Virtual devices may announce receive-side scaling, but the kernel behind them chooses the
    // queue by rules of its own, which change within a flow.
    let fixed_queue = matches!(port.device, Device::Pci(_)) && opened.info()?.rss;
    Ok((opened, workers == 1 || fixed_queue, pairs))
}

/// AF_XDP takes single queues of an interface; what the kernel puts into another one passes the
/// director by. So there must be as many as workers, unless the configuration names them.
fn queues_match(
    port: &pointsman_config::Port,
    workers: usize,
    interfaces: &Path,
) -> Result<(), String> {
    let text = port.device.as_str();
    let chosen = ["start_queue", "queue_count"].iter().any(|key| argument(text, key).is_some());
    let (false, true, Some(name)) =
        (chosen, text.starts_with("net_af_xdp"), argument(text, "iface"))
    else {
        return Ok(());
    };
    // An interface that is not there is DPDK's to name.
    let Ok(queues) = fs::read_dir(interfaces.join(name).join("queues")) else { return Ok(()) };
    let is_rx = |q: &fs::DirEntry| q.file_name().to_string_lossy().starts_with("rx-");
    let queues = queues.filter_map(Result::ok).filter(is_rx).count();
    if queues == workers {
        return Ok(());
    }
    Err(format!(
        "port \"{}\": interface {name} has {queues} receive queues and there are {workers} workers, \
         so frames would be lost: `ethtool -L {name} combined {workers}` (veth: rx {workers} tx \
         {workers}, at both ends), or other director.cores",
        port.name
    ))
}

/// The value of an argument in a device's text.
pub(super) fn argument<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split(',').skip(1).find_map(|a| a.strip_prefix(key)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(device: &str, mtu: u16) -> pointsman_config::Port {
        let text = format!(
            "[[port]]\nname='p'\ndevice='{device}'\nmtu={mtu}\naddresses=['10.0.0.1/24']\n"
        );
        pointsman_config::parse("t", &text).unwrap().0.ports.remove(0)
    }

    #[test]
    fn af_xdp_wants_as_many_queues_as_workers() {
        let dir = std::env::temp_dir().join(format!("pointsman-queues-{}", std::process::id()));
        for queue in ["rx-0", "rx-1", "tx-0", "tx-1"] {
            fs::create_dir_all(dir.join("d0/queues").join(queue)).unwrap();
        }
        let check = |device, workers| queues_match(&port(device, 1500), workers, &dir);
        let error = check("net_af_xdp0,iface=d0", 1).unwrap_err();
        assert!(error.contains("d0 has 2 receive queues and there are 1 workers"), "{error}");
        assert_eq!(check("net_af_xdp0,iface=d0", 2), Ok(()));
        assert_eq!(check("net_af_xdp0,iface=d0,start_queue=1", 1), Ok(()));
        assert_eq!(check("net_af_xdp0,iface=d9", 1), Ok(()));
        assert_eq!(check("net_af_packet0,iface=d0", 1), Ok(()));
        fs::remove_dir_all(&dir).unwrap();
    }
}
