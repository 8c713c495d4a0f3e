//! By which port a captured frame comes in, and with which Ethernet header.

use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::wire::ethernet;
use pointsman_dataplane::wire::get16;
use pointsman_dataplane::wire::ipv4;
use pointsman_dataplane::wire::ipv6;

/// The service tag of 802.1ad, and what was used for it before.
const SERVICE_TAGS: [u16; 2] = [0x88a8, 0x9100];

/// Why a captured frame is not fed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Skip {
    Snapped,
    Runt,
    TooLong,
    Arp,
    Neighbour,
    NoSource,
    NoRoute,
}

impl Skip {
    /// All, in the order of their numbers, with a name and what it means.
    pub(super) const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::Snapped, "snapped", "cut off by the capture's snap length"),
        (Self::Runt, "runt", "shorter than an Ethernet header"),
        (Self::TooLong, "too-long", "longer than any IP packet in a frame"),
        (Self::Arp, "arp", "ARP: next hops are made up here"),
        (Self::Neighbour, "neighbour", "ND and MLD: next hops are made up here"),
        (Self::NoSource, "no-source", "no IP source address to tell the port: see --port"),
        (Self::NoRoute, "no-route", "no route to its source tells the port: see --port"),
    ];
}

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

/// Finds the port of a captured frame, `len` bytes long on the wire: `forced`, or the one toward
/// its source.
pub(super) fn place(
    captured: &[u8],
    len: u32,
    snapshot: &Snapshot,
    forced: Option<PortId>,
) -> Result<Place, Skip> {
    if (captured.len() as u64) < u64::from(len) {
        return Err(Skip::Snapped);
    }
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

/// The EtherType behind all VLAN tags, and where what follows it begins.
fn untagged(frame: &[u8]) -> Option<(u16, usize)> {
    let mut at = ethernet::LEN;
    loop {
        let ether_type = get16(frame.get(..at)?, at - 2);
        if ether_type != ethernet::VLAN && !SERVICE_TAGS.contains(&ether_type) {
            return Some((ether_type, at));
        }
        at += ethernet::TAG;
    }
}

fn source(ether_type: u16, packet: &[u8]) -> Option<Addr> {
    match ether_type {
        ethernet::IPV4 if packet.len() >= ipv4::LEN => Some(ipv4::src(packet)),
        ethernet::IPV6 if packet.len() >= ipv6::LEN => Some(ipv6::src(packet)),
        _ => None,
    }
}
