//! Frames fed as they were captured: by which port one comes in, and with which Ethernet header.

use super::packet;
use super::packet::untagged;
use super::run::Run;
use super::skip::Skip;
use super::stage;
use pointsman_dataplane::frame::Frame;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::parse::Kind;
use pointsman_dataplane::parse::parse;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::wire::ethernet;
use pointsman_dataplane::wire::ipv4;
use pointsman_dataplane::wire::ipv6;
use std::io;

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

impl Run {
    /// Feeds a frame as it was captured.
    pub(super) fn as_is(&mut self, frame: &[u8]) -> io::Result<Result<(), Skip>> {
        let place = match place(frame, self.stage.snapshot(), self.forced) {
            Ok(place) => place,
            Err(skip) => return Ok(Err(skip)),
        };
        let len = place.len(frame, self.stage.snapshot());
        if len > stage::LONGEST {
            return Ok(Err(Skip::TooLong));
        }
        // An answer comes after what it answers, by the same worker or by another.
        let other_port = self.last_port != Some(place.port);
        self.ends |= other_port || self.stage.workers() > 1;
        let long = len > self.stage.longest();
        if long {
            self.settle()?;
        }
        let Some(mut made) = self.stage.frame(len) else { return Ok(Err(Skip::TooLong)) };
        place.write(frame, self.stage.snapshot(), made.data_mut());
        let port = self.stage.snapshot().port(place.port);
        let (parsed, l2) = (parse(made.data(), port), port.l2_len());
        if parsed.kind == Kind::Control {
            return Ok(Err(Skip::Neighbour));
        }
        if let Some(source) = place.source {
            self.stage.reach(source);
        }
        let ip = made.data()[l2..].to_vec();
        let packet = packet::read(&ip).ok();
        let fed = self.fed(parsed.tuple, None, ip, packet);
        self.inject(place.port, made, fed)?;
        if long { self.settle().map(Ok) } else { Ok(Ok(())) }
    }
}

fn source(ether_type: u16, packet: &[u8]) -> Option<Addr> {
    match ether_type {
        ethernet::IPV4 if packet.len() >= ipv4::LEN => Some(ipv4::src(packet)),
        ethernet::IPV6 if packet.len() >= ipv6::LEN => Some(ipv6::src(packet)),
        _ => None,
    }
}
