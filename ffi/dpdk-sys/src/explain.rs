//! What DPDK's failures mean and what to do about them. Its error numbers say little (most
//! drivers give -1); its log and the machine say the rest.

use std::fs;
use std::path::Path;

use crate::device;
use crate::eal::EalArgs;
use crate::error::Error;
use crate::mempool::L2;
use crate::netif;
use crate::port::PortConf;
use crate::raw::PortInfo;

/// Drivers whose `max_frame` is a constant 1518 or so whatever they are set up for: they carry
/// what their buffers and the interface hold.
pub(crate) const NO_REAL_LIMIT: [&str; 3] = ["net_af_packet", "net_memif", "net_tap"];

const HUGEPAGES: &str = "/sys/kernel/mm/hugepages";

/// MiB of hugepages that no process uses.
pub fn free_hugepages_mib() -> u64 {
    let Ok(sizes) = fs::read_dir(HUGEPAGES) else { return 0 };
    let free = sizes.filter_map(|size| {
        let size = size.ok()?;
        let name = size.file_name().into_string().ok()?;
        let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        Some(kib * read_number(&size.path().join("free_hugepages"))?)
    });
    free.sum::<u64>() / 1024
}

/// Refuses before EAL does: after its refusal, DPDK could not be started in this process again.
pub(crate) fn enough_hugepages(need_mib: u32) -> Result<(), Error> {
    let free = free_hugepages_mib();
    if free >= u64::from(need_mib) {
        return Ok(());
    }
    let file = format!("{HUGEPAGES}/hugepages-2048kB/nr_hugepages");
    let now = read_number(Path::new(&file)).unwrap_or(0);
    let pages = now + (u64::from(need_mib) - free).div_ceil(2);
    let text = format!(
        "DPDK needs {need_mib} MiB of hugepages and {free} MiB are free: \
         `echo {pages} > {file}`, ask for less memory, or do without hugepages (slower)"
    );
    Err(Error::new("rte_eal_init", libc::ENOMEM, text))
}

/// `rte_eal_init` has failed.
pub(crate) fn init(error: Error, args: &EalArgs, log: &[String]) -> Error {
    let said = |text: &str| log.iter().any(|line| line.contains(text));
    let line = log.iter().find(|line| !line.contains("No free 1048576 kB"));
    let line = line.map_or("DPDK does not start", |line| plain(line));
    let text = if said("hugepage information") || said("Not enough memory") {
        format!(
            "{line}: {} MiB of hugepages are not to be had, perhaps not on each NUMA node",
            args.memory_mib
        )
    } else if error.errno == libc::EACCES || (!is_root() && said("ermission")) {
        format!("{line}: run as root")
    } else {
        line.to_owned()
    };
    error.hint(|_| text)
}

/// A virtual device was refused; `log` is what was logged meanwhile.
pub(crate) fn device(error: Error, device: &str, log: &[String]) -> Error {
    let name = device::port_name(device);
    let interface = device.split(',').find_map(|arg| arg.strip_prefix("iface="));
    let wants_interface = name.starts_with("net_af_");
    let said = |text: &str| log.iter().any(|line| line.contains(text));
    let text = if said("failed to parse device") {
        "no driver is named like it: virtual devices are called after their driver, as \
         net_af_packet0, net_af_xdp0, net_pcap0, net_ring0, net_memif0, net_tap0 or net_null0 \
         (Debian has the drivers in librte-meta-net)"
            .into()
    } else if wants_interface && interface.is_none() {
        format!("say which interface, as `{name},iface=eth1`")
    } else if let Some(interface) = interface.filter(|it| wants_interface && !netif::exists(it)) {
        format!("no interface {interface} in this network namespace: `ip link` lists them")
    } else if !is_root() && (said("permitted") || said("AF_PACKET socket")) {
        PERMISSION.into()
    } else if said("larger than combined queue count") {
        let interface = interface.unwrap_or("the interface");
        format!("{}: `ethtool -l {interface}` shows what it has", first(log))
    } else if log.iter().all(|line| is_echo(line)) {
        "the driver refuses it without a reason: is every argument right?".into()
    } else {
        first(log)
    };
    error.hint(|_| format!("device {device}: {text}"))
}

/// The kernel's interface, or the driver, did not let a port be set up or started.
pub(crate) fn port(error: Error, name: &str, driver: &str, log: &[String]) -> Error {
    let said = |text: &str| log.iter().any(|line| line.contains(text));
    let text = if matches!(error.errno, libc::EPERM | libc::EACCES) && !is_root() {
        PERMISSION.into()
    } else if said("Failed to create umem") {
        "AF_XDP takes no buffers larger than a page: the largest MTU of all ports that share \
         the pool must be 3400 or less; lockable memory must be unlimited (`ulimit -l`)"
            .into()
    } else if said("Failed to create xsk socket") {
        "the interface's queue is not free: another process uses it by XDP (an earlier \
         director? `ip link` shows `xdp`), or the kernel lacks AF_XDP"
            .into()
    } else if error.errno == libc::ENOMEM {
        format!("{}: give DPDK more memory, or the port shorter rings", first(log))
    } else {
        first(log)
    };
    error.hint(|_| format!("port {name} ({driver}): {text}"))
}

/// Whether a PCI device given to EAL has become a port; EAL itself does not mind.
pub(crate) fn unusable_pci(address: &str, log: &[String]) -> Error {
    unusable_of(Path::new("/sys/bus/pci/devices"), address, log)
}

fn unusable_of(devices: &Path, address: &str, log: &[String]) -> Error {
    let name = device::port_name(address);
    let path = devices.join(&name);
    let driver = fs::read_link(path.join("driver")).ok();
    let driver = driver.as_ref().and_then(|driver| driver.file_name());
    let driver = driver.map(|driver| driver.to_string_lossy());
    let text = match driver.as_deref() {
        _ if !path.exists() => "there is no such PCI device: `lspci -D` lists them".into(),
        None => format!(
            "it is bound to no driver: `dpdk-devbind.py -b vfio-pci {name}` (Debian's package dpdk)"
        ),
        Some(driver @ ("vfio-pci" | "uio_pci_generic" | "igb_uio")) => {
            let line = log.iter().find(|line| !is_echo(line));
            let line = line.map_or("no DPDK driver knows the device", |line| plain(line));
            format!("it is bound to {driver}, but {line}")
        }
        Some(driver) => format!(
            "the kernel's driver {driver} has it: set its interface down and \
             `dpdk-devbind.py -b vfio-pci {name}` (Debian's package dpdk; needs an IOMMU, or vfio's \
             no-IOMMU mode)"
        ),
    };
    Error::new("rte_eal_init", libc::ENODEV, format!("device {name}: {text}"))
}

/// No port of that name.
pub(crate) fn no_port(name: &str) -> Error {
    let text = format!("DPDK has no port {name}: was its device given at the start, or closed?");
    Error::new("rte_eth_dev_get_port_by_name", libc::ENODEV, text)
}

/// Whether driver and pool can do what the configuration asks for.
pub(crate) fn conf_fits(
    name: &str,
    driver: &str,
    conf: &PortConf,
    info: &PortInfo,
) -> Result<(), Error> {
    let refuse =
        |call, text| Err(Error::new(call, libc::EINVAL, format!("port {name} ({driver}): {text}")));
    let configure = "rte_eth_dev_configure";
    if conf.rx_queues == 0 || conf.tx_queues == 0 {
        return refuse(configure, "a port has one queue pair at least".into());
    }
    for (asked, most, way) in [
        (conf.rx_queues, info.max_rx_queues, "receive"),
        (conf.tx_queues, info.max_tx_queues, "transmit"),
    ] {
        if asked > most {
            let remedy = match driver {
                "net_af_packet" => format!("add `,qpairs={asked}` to the device"),
                "net_af_xdp" => "the interface needs as many (`ethtool -L`)".into(),
                _ => "use fewer workers".into(),
            };
            return refuse(configure, format!("{asked} {way} queues, has {most}: {remedy}"));
        }
    }
    // Ethernet header and frame check sequence, as ethdev counts; tags are the driver's affair.
    let too_long = u32::from(conf.mtu) + 18 > info.max_frame && !NO_REAL_LIMIT.contains(&driver);
    if conf.mtu < info.min_mtu || conf.mtu > info.max_mtu || too_long {
        let most = u32::from(info.max_mtu).min(info.max_frame.saturating_sub(18));
        let text = format!("mtu {}: the driver takes {} to {most}", conf.mtu, info.min_mtu);
        return refuse("rte_eth_dev_set_mtu", text);
    }
    let frame = usize::from(conf.mtu) + usize::from(L2);
    if frame > conf.pool.frame_room() {
        let text = format!(
            "mtu {}: frames of {frame} bytes do not fit the pool's buffers of {}",
            conf.mtu,
            conf.pool.frame_room()
        );
        return refuse("rte_eth_rx_queue_setup", text);
    }
    Ok(())
}

const PERMISSION: &str = "no permission: run as root, or with CAP_NET_ADMIN and CAP_NET_RAW \
                          (and CAP_BPF for AF_XDP)";

/// The first line says why, the later ones what did not work in consequence.
fn first(log: &[String]) -> String {
    let line = log.iter().find(|line| !is_echo(line));
    line.map_or("the driver refuses", |line| plain(line)).to_owned()
}

fn is_echo(line: &str) -> bool {
    line.starts_with("EAL: Driver cannot attach")
        || line.starts_with("EAL: Failed to attach")
        || line.starts_with("libbpf: elf: skipping")
        || line.starts_with("EAL: No free ")
}

/// Without the `EAL: ` or `function(): ` in front.
fn plain(line: &str) -> &str {
    let line = line.strip_prefix("EAL: ").unwrap_or(line);
    let line = match line.split_once("(): ") {
        Some((function, rest)) if !function.contains(' ') => rest,
        _ => line,
    };
    line.trim().trim_end_matches('.')
}

fn is_root() -> bool {
    // SAFETY: cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(error: Error) -> String {
        error.hint.unwrap()
    }

    fn nothing(call: &'static str, errno: i32) -> Error {
        Error { call, errno, hint: None }
    }

    #[test]
    fn lines_as_22_11_logs_them() {
        let log = ["rte_pmd_init_internals(): net_af_packet0: could not set PACKET_RX_RING on \
                    AF_PACKET socket for lo:Cannot allocate memory"
            .to_owned()];
        let text = hint(device(nothing("c", 1), "net_af_packet0,iface=lo", &log));
        assert!(text.starts_with("device net_af_packet0,iface=lo: net_af_packet0: could not"));
        let log = ["EAL: Driver cannot attach the device (net_af_packet0)".to_owned()];
        let text = hint(device(nothing("c", 1), "net_af_packet0,iface=lo,bogus=1", &log));
        assert!(text.contains("is every argument right?"), "{text}");
        let text = hint(device(nothing("c", 1), "net_af_packet0", &log));
        assert!(text.contains("`net_af_packet0,iface=eth1`"), "{text}");
        let text = hint(device(nothing("c", 1), "net_af_xdp0,iface=nonesuch9", &log));
        assert!(text.contains("no interface nonesuch9"), "{text}");
    }

    #[test]
    fn hugepages_short() {
        let need = u32::MAX;
        let text = enough_hugepages(need).unwrap_err().to_string();
        assert!(text.contains("4294967295 MiB") && text.contains("nr_hugepages"), "{text}");
        assert!(enough_hugepages(0).is_ok());
    }

    /// As sysfs shows them: a directory each, with a link to its driver.
    #[test]
    fn pci_devices_that_are_not_bound_or_bound_to_another_driver() {
        let devices = std::env::temp_dir().join(format!("pointsman-pci-{}", std::process::id()));
        let device = devices.join("0000:03:00.0");
        fs::create_dir_all(&device).unwrap();
        let said = |log: &[String]| hint(unusable_of(&devices, "03:00.0", log));
        let bound_to = |driver: &str| {
            let _ = fs::remove_file(device.join("driver"));
            std::os::unix::fs::symlink(format!("../drivers/{driver}"), device.join("driver"))
        };
        let bind = "`dpdk-devbind.py -b vfio-pci 0000:03:00.0` (Debian's package dpdk";
        let unbound = said(&[]);
        assert!(unbound.contains("is bound to no driver") && unbound.contains(bind), "{unbound}");
        bound_to("e1000e").unwrap();
        let kernel = said(&[]);
        assert!(kernel.contains("the kernel's driver e1000e has it"), "{kernel}");
        assert!(kernel.contains(bind) && kernel.contains("IOMMU"), "{kernel}");
        bound_to("vfio-pci").unwrap();
        let log = ["EAL: 0000:03:00.0 VFIO group is not viable!".to_owned()];
        let vfio = said(&log);
        assert!(vfio.contains("it is bound to vfio-pci, but") && vfio.contains("not viable"));
        assert!(said(&[]).contains("no DPDK driver knows the device"));
        fs::remove_dir_all(&devices).unwrap();
    }

    #[test]
    fn pci_devices_that_are_not_there() {
        let text = hint(unusable_pci("ff:1f.7", &[]));
        assert_eq!(text, "device 0000:ff:1f.7: there is no such PCI device: `lspci -D` lists them");
    }
}
