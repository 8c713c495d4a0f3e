//! `pointsman check`: says what is wrong with a configuration before any port opens.

use super::machine;
use crate::control::snapshot::BuildError;
use crate::control::snapshot::Builder;
use crate::control::snapshot::Inputs;
use crate::control::snapshot::PortFacts;
use crate::io::frames;
use hashbrown::HashSet;
use pointsman_config::AddressRange;
use pointsman_config::Config;
use pointsman_config::Forward;
use pointsman_dataplane::laddr::PORTS;
use pointsman_dataplane::snapshot::Snapshot;
use std::net::SocketAddr;
use std::path::Path;

/// Prints warnings and a summary.
///
/// # Errors
/// All errors found, rendered.
pub(super) fn check(file: &Path) -> Result<(), String> {
    let (config, warnings) = pointsman_config::load(file).map_err(|e| e.to_string())?;
    for warning in &warnings {
        eprintln!("{warning}");
    }
    // The file may be meant for another machine, so these are no errors here.
    for missing in machine::missing_cores(&config) {
        eprintln!("{}: warning: {missing}", file.display());
    }
    if let Some(small) = small_memory(&config) {
        eprintln!("{}: warning: {small}", file.display());
    }
    servable(&config).map_err(|e| format!("{}: error: {e}", file.display()))?;
    super::say(&format!("{}: ok: {}", file.display(), summary(&config)))
}

/// What to say where the frames that follow from ports and workers do not fit DPDK's memory; a
/// number of frames that the file gives has been looked at with the file.
fn small_memory(config: &Config) -> Option<String> {
    let workers = config.director.cores.as_ref().map_or(1, Vec::len);
    let frames = frames(config, workers);
    let (needed, memory) = (config.frames_mib(frames), config.director.memory);
    let small = config.director.mbufs.is_none() && needed > u64::from(memory);
    small.then(|| {
        format!(
            "{frames} frames for the rings of {} and {} need about {needed} MiB and director.memory \
             is {memory}: raise it, or set director.mbufs",
            count(config.ports.len(), "port"),
            count(workers, "worker"),
        )
    })
}

/// Builds what `run` would build, with ports and next hops made up.
fn servable(config: &Config) -> Result<(), BuildError> {
    // Of a group: no host, so no gateway, has the link-local address that follows from it.
    let mac = |i| PortFacts { mac: [0xff, 0xff, 0xff, 0xff, 0xff, i as u8], fixed_queue: false };
    let ports: Vec<_> = (0..config.ports.len()).map(mac).collect();
    let shared = crate::serve::shared(config, 1, 1);
    let mut inputs = Inputs {
        ports: &ports,
        hop: &mut |port, addr| shared.neighbours.insert(port, addr, |_| false),
        has_conns: &|_| false,
        settled: true,
        has_leases: &|_| false,
    };
    let mut builder = Builder::new(shared.dests.capacity());
    builder.build(config, &Snapshot::default(), &mut inputs).map(|_| ())
}

fn summary(config: &Config) -> String {
    let dests = config.services.iter().map(|s| s.dests.len()).sum();
    let mut parts = vec![
        count(config.ports.len(), "port"),
        count(config.vips.len(), "VIP"),
        count(config.services.len(), "service"),
        count(dests, "dest"),
        count(config.pools.iter().map(|p| p.addresses().count()).sum(), "pool address"),
    ];
    let conns = fullnat_conns(config);
    if conns > 0 {
        parts.push(format!("ports for {conns} full-NAT conns"));
    }
    if !config.snats.is_empty() {
        parts.push(count(config.snats.len(), "SNAT rule"));
    }
    parts.join(", ")
}

/// Conns that the pools have ports for, all at once.
fn fullnat_conns(config: &Config) -> u128 {
    let mut toward = HashSet::new();
    for service in &config.services {
        let Some(pool) = service.pool else { continue };
        let by_port = service.dests.iter().filter(|d| d.forward == Forward::FullNat);
        toward.extend(by_port.map(|d| (pool, service.protocol, d.address)));
    }
    let addrs = |(pool, _, dest): (usize, _, SocketAddr)| {
        let same = |r: &&AddressRange| r.first().is_ipv4() == dest.is_ipv4();
        let ranges = config.pools[pool].ranges.iter().filter(same);
        ranges.map(AddressRange::count).sum::<u128>()
    };
    toward.into_iter().map(addrs).sum::<u128>() * u128::from(PORTS)
}

fn count(n: usize, what: &str) -> String {
    match (n, what.ends_with('s')) {
        (1, _) => format!("1 {what}"),
        (_, false) => format!("{n} {what}s"),
        (_, true) => format!("{n} {what}es"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_served_is_refused() {
        let mut text = "[director]\nneighbours = 64\n[[port]]\nname = 'p'\ndevice = 'net_null0'\n\
                        addresses = ['10.0.0.1/16']\n[[service]]\naddress = '10.0.0.100:80'\n\
                        forward = 'dr'\n"
            .to_owned();
        for host in 0..200 {
            text += &format!("[[service.dest]]\naddress = '10.0.1.{host}'\n");
        }
        let refused = |text: &str| servable(&pointsman_config::parse("t", text).unwrap().0);
        assert!(matches!(refused(&text), Err(BuildError::Neighbours(_))));
        assert_eq!(refused(&text.replace("= 64", "= 256")), Ok(()));
    }

    #[test]
    fn a_gateway_is_not_taken_for_a_port_by_its_link_local_address() {
        let text = "[[port]]\nname = 'p'\ndevice = 'net_null0'\n\
                    addresses = ['2001:db8::1/64']\ngateway = 'fe80::ff:fe00:0'\n";
        let (config, _) = pointsman_config::parse("t", text).unwrap();
        assert_eq!(servable(&config), Ok(()));
    }

    #[test]
    fn frames_that_do_not_fit_the_memory_are_warned_of() {
        let text = |director: &str| {
            let mut text = format!("[director]\ncores = [0, 1, 2, 3, 4, 5, 6, 7]\n{director}\n");
            for port in 0..2 {
                text += &format!(
                    "[[port]]\nname = 'p{port}'\ndevice = 'net_null{port}'\nmtu = 9000\n\
                     addresses = ['10.{port}.0.1/24']\n"
                );
            }
            text
        };
        let said = |director| {
            let (config, _) = pointsman_config::parse("t", &text(director)).unwrap();
            small_memory(&config)
        };
        assert_eq!(
            said("").unwrap(),
            "65535 frames for the rings of 2 ports and 8 workers need about 584 MiB and \
             director.memory is 512: raise it, or set director.mbufs"
        );
        assert_eq!(said("memory = 1024"), None);
        assert_eq!(said("mbufs = 16383"), None);
    }

    #[test]
    fn summaries_count() {
        let text = "
            [[port]]
            name = 'p'
            device = 'net_null0'
            addresses = ['10.0.0.1/24']
            [[pool]]
            name = 'l'
            addresses = ['10.0.0.10-10.0.0.12']
            [[service]]
            address = '10.0.0.100:80'
            forward = 'fullnat'
            pool = 'l'
            [[service.dest]]
            address = '10.0.0.2:80'
            [[service.dest]]
            address = '10.0.0.3:80'
            [[service.dest]]
            address = '10.0.0.4:80'
            forward = 'nat'";
        let (config, _) = pointsman_config::parse("t", text).unwrap();
        assert_eq!(
            summary(&config),
            "1 port, 1 VIP, 1 service, 3 dests, 3 pool addresses, ports for 387066 full-NAT conns"
        );
    }
}
