//! By which port a captured frame comes in, and with which Ethernet header.

use super::packet::untagged;
use super::skip::Skip;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::wire::ethernet;
use pointsman_dataplane::wire::ipv4;
use pointsman_dataplane::wire::ipv6;

/// What is known of a captured frame before it is one of the director's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) port: PortId,
    /// Its IP source, if it has one.
    pub(super) source: Option<Addr>,
    ether_type: u16,
    /// Where the payload begins in the capture's frame, tags gone.
    payload: usize,
}

/// Finds the port of a captured frame: `forced`, or the one toward its source.
pub(super) fn place(
    captured: &[u8],
    snapshot: &Snapshot,
    forced: Option<PortId>,
) -> Result<Place, Skip> {
    let (ether_type, payload) = untagged(captured).ok_or(Skip::Runt)?;
    if ether_type == ethernet::ARP {
        return Err(Skip::Arp);
    }
    let source = source(ether_type, &captured[payload..]);
    let port = match (forced, source) {
        (Some(port), _) => port,
        (None, Some(source)) => {
            snapshot.routes.find(Addr::UNSPECIFIED, source).ok_or(Skip::NoRoute)?.0
        }
        (None, None) => return Err(Skip::NoSource),
    };
    Ok(Place { port, source, ether_type, payload })
}

impl Place {
    /// Length of the frame as its port sees it.
    pub(super) fn len(&self, captured: &[u8], snapshot: &Snapshot) -> usize {
        snapshot.port(self.port).l2_len() + captured.len() - self.payload
    }

    /// Writes that frame: to the port's MAC, or the group it went to, and in the port's VLAN.
    pub(super) fn write(&self, captured: &[u8], snapshot: &Snapshot, frame: &mut [u8]) {
        let port = snapshot.port(self.port);
        let group = ethernet::is_group(captured);
        let dst = if group { ethernet::destination(captured) } else { port.mac };
        let mut src = [0; 6];
        src.copy_from_slice(&captured[6..12]);
        ethernet::write(frame, dst, src, port.vlan, self.ether_type);
        frame[port.l2_len()..].copy_from_slice(&captured[self.payload..]);
    }
}

fn source(ether_type: u16, packet: &[u8]) -> Option<Addr> {
    match ether_type {
        ethernet::IPV4 if packet.len() >= ipv4::LEN => Some(ipv4::src(packet)),
        ethernet::IPV6 if packet.len() >= ipv6::LEN => Some(ipv6::src(packet)),
        _ => None,
    }
}
