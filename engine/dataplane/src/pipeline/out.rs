//! Step 8: the last header, and what to do while the next hop is not known.

use super::Core;
use super::Turn;
use super::held::PATIENCE;
use super::held::Waiting;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::neigh::Hop;
use crate::neigh::HopState;
use crate::neigh::Mac;
use crate::neigh::PortId;
use crate::tuple::Addr;
use crate::verdict::DropReason;
use crate::verdict::Made;
use crate::wire::ethernet;
use crate::wire::get16;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::xmit::fragment;
use arrayvec::ArrayVec;

/// Pieces of one packet: 65,535 bytes over the smallest MTU (576) are 119.
pub(super) const MAX_FRAGMENTS: usize = 128;

/// Writes the Ethernet header before the IP packet at `l3` and gives the frame to its port.
#[inline(always)]
pub(super) fn send<F: Frame, P>(
    t: &mut Turn<'_, F, P>,
    mut frame: F,
    l3: usize,
    port: PortId,
    mac: Mac,
) {
    let info = t.snap.port(port);
    let l2 = info.l2_len();
    // Ports may differ in their tag.
    let fits = if l2 == l3 {
        true
    } else if l2 > l3 {
        frame.prepend(l2 - l3)
    } else {
        frame.trim_front(l3 - l2)
    };
    if !fits {
        return t.stats.drop(DropReason::NoHeadroom);
    }
    let data = frame.data_mut();
    let ether_type = if data[l2] >> 4 == 4 { ethernet::IPV4 } else { ethernet::IPV6 };
    ethernet::write(data, mac, info.mac, info.vlan, ether_type);
    t.out.send(port, frame, t.stats);
}

/// The same for a packet that may be larger than the port carries: it goes in fragments, or, where
/// it must not be cut, is dropped. The cold ways all end here.
pub(super) fn send_fitting<F: Frame, P: Pool<Frame = F>>(
    t: &mut Turn<'_, F, P>,
    mut frame: F,
    l3: usize,
    port: PortId,
    mac: Mac,
) {
    let mtu = t.snap.port(port).mtu as usize;
    let ip = &frame.data()[l3..];
    let (len, may_cut) = if ip[0] >> 4 == 4 {
        let may_cut = get16(ip, ipv4::FRAGMENT) & ipv4::DF == 0;
        (get16(ip, ipv4::TOTAL) as usize, may_cut)
    } else {
        (ipv6::LEN + get16(ip, ipv6::PAYLOAD) as usize, false)
    };
    if len <= mtu {
        return send(t, frame, l3, port, mac);
    }
    if !may_cut {
        return t.stats.drop(DropReason::TooBig);
    }
    let mut pieces = ArrayVec::<F, MAX_FRAGMENTS>::new();
    let mut lost = false;
    let whole = fragment::split(&mut frame, l3, mtu, t.pool, |piece| {
        lost |= pieces.try_push(piece).is_err();
    });
    if !whole || lost {
        return t.stats.drop(DropReason::NoFrame);
    }
    t.stats.made[Made::Fragment as usize].add(pieces.len() as u64);
    send(t, frame, l3, port, mac);
    for piece in pieces {
        send(t, piece, l3, port, mac);
    }
}

impl<F: Frame> Core<F> {
    /// The next hop has no MAC now.
    #[cold]
    pub(super) fn unreached<P>(&mut self, t: &mut Turn<'_, F, P>, frame: F, l3: usize, hop: Hop) {
        let (port, addr, state) = t.neighbours.entry(hop);
        t.out.ask(port, addr);
        match state {
            HopState::Incomplete => self.hold(t, frame, l3, port, addr),
            _ => t.stats.drop(DropReason::NeighbourDead),
        }
    }

    /// The frame waits until the control thread knows more.
    pub(super) fn hold<P>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        l3: usize,
        port: PortId,
        addr: Addr,
    ) {
        t.out.ask(port, addr);
        let until = t.stamp.after(PATIENCE);
        if self.held.add(Waiting { port, addr, frame, l3, until }).is_some() {
            t.stats.drop(DropReason::HeldOverflow);
        }
        self.count_held(t);
    }

    /// Sends a packet of our own making toward an address, by the route that its source has.
    pub(super) fn send_toward<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        l3: usize,
        addr: Addr,
    ) {
        // A link-local address is on the link that its packet came by, and routes know none.
        let way = match addr.is_link_local_v6() {
            true => Some((t.port, addr)),
            false => t.snap.routes.find(source(frame.data(), l3), addr),
        };
        let Some((port, next)) = way else {
            return t.stats.drop(DropReason::NoRoute);
        };
        match t.neighbours.find(port, next) {
            Some(hop) => self.emit_fitting(t, frame, l3, hop),
            None => self.hold(t, frame, l3, port, next),
        }
    }

    /// Step 8 off the hot path, for a packet of any size.
    pub(super) fn emit_fitting<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        l3: usize,
        hop: Hop,
    ) {
        match t.neighbours.get(hop) {
            (port, HopState::Reachable(mac)) => send_fitting(t, frame, l3, port, mac),
            _ => self.unreached(t, frame, l3, hop),
        }
    }
}

fn source(data: &[u8], l3: usize) -> Addr {
    match data[l3] >> 4 {
        4 => ipv4::src(&data[l3..]),
        _ => ipv6::src(&data[l3..]),
    }
}
