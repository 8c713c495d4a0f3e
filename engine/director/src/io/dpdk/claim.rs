//! Interfaces of the kernel that a director has to itself.
//!
//! Two directors on one interface would both get each of its frames (`net_af_packet`, `net_pcap`),
//! answer twice and translate twice. So each interface is claimed by the name of an abstract Unix
//! socket (unix(7)): it belongs to the network namespace, as the interface does, and it goes away
//! with the process, however that ends.

use std::io;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

/// Drivers that take an interface of the kernel and leave others the same frames or none.
const ON_INTERFACES: [&str; 3] = ["net_af_packet", "net_af_xdp", "net_pcap"];
/// Their arguments that name one.
const KEYS: [&str; 4] = ["iface", "rx_iface", "rx_iface_in", "tx_iface"];

/// An interface of ours, until it is dropped.
pub(super) struct Claim {
    interface: String,
    _socket: UnixListener,
}

/// Claims of one process: an interface that several ports share (by VLAN) is claimed once.
#[derive(Default)]
pub(super) struct Claims(Vec<Arc<Claim>>);

impl Claims {
    /// Claims the interfaces in a device's text; none where there are none.
    ///
    /// # Errors
    /// In words: another director has one of them.
    pub(super) fn of(&mut self, device: &str) -> Result<Vec<Arc<Claim>>, String> {
        interfaces(device).map(|interface| self.one(interface)).collect()
    }

    fn one(&mut self, interface: &str) -> Result<Arc<Claim>, String> {
        if let Some(ours) = self.0.iter().find(|claim| claim.interface == interface) {
            return Ok(Arc::clone(ours));
        }
        let socket = bind(interface).map_err(|e| match e.kind() {
            ErrorKind::AddrInUse => format!(
                "another director has interface {interface}: stop it first \
                 (`ss -xlp src @{}` names it), or take another interface",
                name(interface)
            ),
            _ => format!("interface {interface} cannot be claimed: {e}"),
        })?;
        let claim = Arc::new(Claim { interface: interface.to_owned(), _socket: socket });
        self.0.push(Arc::clone(&claim));
        Ok(claim)
    }
}

fn interfaces(device: &str) -> impl Iterator<Item = &str> {
    let (driver, arguments) = device.split_once(',').unwrap_or((device, ""));
    let arguments =
        if ON_INTERFACES.iter().any(|d| driver.starts_with(d)) { arguments } else { "" };
    let is_interface = |(key, name): (&str, &'_ str)| KEYS.contains(&key) && !name.is_empty();
    arguments
        .split(',')
        .filter_map(|a| a.split_once('='))
        .filter(move |a| is_interface(*a))
        .map(|a| a.1)
}

fn bind(interface: &str) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name(interface))?)
}

fn name(interface: &str) -> String {
    format!("pointsman-{interface}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_found_in_devices_of_the_kernel() {
        let found = |device| interfaces(device).collect::<Vec<_>>();
        assert_eq!(found("net_af_packet0,iface=eth0.5,qpairs=2"), ["eth0.5"]);
        assert_eq!(found("net_af_xdp0,start_queue=1,iface=d0"), ["d0"]);
        assert_eq!(found("net_pcap0,rx_iface=a,tx_iface=b"), ["a", "b"]);
        assert!(found("net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap").is_empty());
        // A tap is made anew, and the kernel refuses a second one of its name.
        assert!(found("net_tap0,iface=dt0").is_empty());
        assert!(found("0000:03:00.0").is_empty());
    }

    #[test]
    fn an_interface_is_one_directors_until_it_lets_go() {
        let interface = format!("t{}", std::process::id());
        let device = format!("net_af_packet0,iface={interface}");
        let mut ours = Claims::default();
        let first = ours.of(&device).unwrap();
        let second = ours.of(&device).unwrap();
        let mut other = Claims::default();
        let error = other.of(&device).err().unwrap();
        assert!(error.starts_with(&format!("another director has interface {interface}: stop it")));
        drop((ours, first));
        assert!(other.of(&device).is_err(), "the second port still has it");
        drop(second);
        assert_eq!(other.of(&device).unwrap().len(), 1);
    }
}
