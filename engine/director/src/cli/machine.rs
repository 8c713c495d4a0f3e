//! What the configuration expects of the machine it runs on.

use pointsman_config::Config;
#[cfg(any(feature = "dpdk", test))]
use pointsman_config::Hugepages;
#[cfg(any(feature = "dpdk", test))]
use std::fs;
#[cfg(any(feature = "dpdk", test))]
use std::path::Path;

/// The workers' cores: those configured, or the last one.
#[cfg(any(feature = "dpdk", test))]
pub(super) fn worker_cores(config: &Config) -> Vec<Option<usize>> {
    match &config.director.cores {
        Some(cores) => cores.iter().copied().map(Some).collect(),
        None => vec![cores_here().into_iter().max()],
    }
}

/// What to say about cores that are configured but not here.
pub(super) fn missing_cores(config: &Config) -> Vec<String> {
    missing(config, &cores_here())
}

/// Whether DPDK is to take its memory from huge pages.
///
/// # Errors
/// A physical NIC needs them and there are too few.
#[cfg(feature = "dpdk")]
pub(super) fn hugepages(config: &Config) -> Result<bool, String> {
    let free = free_hugepages_in(Path::new("/sys/kernel/mm/hugepages"));
    choose_hugepages(config, free)
}

fn cores_here() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|c| c.id).collect()
}

fn missing(config: &Config, here: &[usize]) -> Vec<String> {
    let workers = config.director.cores.iter().flatten().map(|c| ("director.cores", *c));
    let control = config.director.control_core.map(|c| ("director.control_core", c));
    let wanted = workers.chain(control).filter(|(_, core)| !here.contains(core));
    let say =
        |(key, core)| format!("{key}: no core {core} on this machine (it has {})", list(here));
    wanted.map(say).collect()
}

fn list(cores: &[usize]) -> String {
    match cores {
        [] => "none to use".into(),
        [one] => one.to_string(),
        [first, .., last] if last - first + 1 == cores.len() => format!("{first} to {last}"),
        _ => cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(any(feature = "dpdk", test))]
fn choose_hugepages(config: &Config, free_mib: u64) -> Result<bool, String> {
    let director = &config.director;
    let enough = free_mib >= u64::from(director.memory);
    let is_pci = |p: &&pointsman_config::Port| matches!(p.device, pointsman_config::Device::Pci(_));
    match (director.hugepages, config.ports.iter().find(is_pci)) {
        // DPDK says itself what is missing.
        (Hugepages::Require, _) => Ok(true),
        (Hugepages::Auto, _) if enough => Ok(true),
        (Hugepages::Auto | Hugepages::Never, None) => Ok(false),
        (mode, Some(port)) => Err(format!(
            "port \"{}\" is a physical NIC, which needs huge pages (hugepages = \"{mode}\", \
             {free_mib} MiB free, {} MiB wanted): echo {} > /proc/sys/vm/nr_hugepages",
            port.name,
            director.memory,
            director.memory.div_ceil(2)
        )),
    }
}

/// MiB of huge pages that are free, all sizes together.
#[cfg(any(feature = "dpdk", test))]
fn free_hugepages_in(dir: &Path) -> u64 {
    let Ok(sizes) = fs::read_dir(dir) else { return 0 };
    let free = |entry: std::io::Result<fs::DirEntry>| -> Option<u64> {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let pages = fs::read_to_string(entry.path().join("free_hugepages")).ok()?;
        Some(kib * pages.trim().parse::<u64>().ok()?)
    };
    sizes.filter_map(free).sum::<u64>() / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_that_are_not_here_are_named() {
        let text = "[director]\ncores=[1,9]\ncontrol_core=7\n\
                    [[port]]\nname='p'\ndevice='net_null0'\naddresses=['10.0.0.1/24']\n";
        let (config, _) = pointsman_config::parse("t", text).unwrap();
        assert_eq!(
            missing(&config, &[0, 1, 2, 3]),
            [
                "director.cores: no core 9 on this machine (it has 0 to 3)",
                "director.control_core: no core 7 on this machine (it has 0 to 3)"
            ]
        );
        assert_eq!(worker_cores(&config), [Some(1), Some(9)]);
    }

    #[test]
    fn huge_pages_are_taken_where_there_are_enough_and_a_nic_insists() {
        let config = |mode: &str, device: &str| {
            let text = format!(
                "[director]\nhugepages='{mode}'\nmemory=512\n\
                 [[port]]\nname='p'\ndevice='{device}'\naddresses=['10.0.0.1/24']\n"
            );
            pointsman_config::parse("t", &text).unwrap().0
        };
        let choose = |mode, device, free| choose_hugepages(&config(mode, device), free);
        assert_eq!(choose("auto", "net_null0", 512), Ok(true));
        assert_eq!(choose("auto", "net_null0", 511), Ok(false));
        assert_eq!(choose("never", "net_null0", 512), Ok(false));
        assert_eq!(choose("require", "net_null0", 0), Ok(true));
        assert_eq!(choose("auto", "0000:03:00.0", 512), Ok(true));
        let error = choose("auto", "0000:03:00.0", 0).unwrap_err();
        assert!(error.ends_with("echo 256 > /proc/sys/vm/nr_hugepages"), "{error}");
    }

    #[test]
    fn huge_pages_of_all_sizes_count() {
        let dir = std::env::temp_dir().join(format!("pointsman-huge-{}", std::process::id()));
        for (size, free) in [("hugepages-2048kB", "3\n"), ("hugepages-1048576kB", "1\n")] {
            fs::create_dir_all(dir.join(size)).unwrap();
            fs::write(dir.join(size).join("free_hugepages"), free).unwrap();
        }
        assert_eq!(free_hugepages_in(&dir), 1030);
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(free_hugepages_in(&dir), 0);
    }
}
