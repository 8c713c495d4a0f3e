//! Tunnels beyond the plain lane: which header a dest's packets get, and, cold, packets that with it are larger
//! than their way and go in fragments.

use super::Core;
use super::Turn;
use super::out;
use super::out::MAX_FRAGMENTS;
use crate::conn::ConnId;
use crate::conn::Direction;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::neigh::Hop;
use crate::parse::Parsed;
use crate::parse::Quoted;
use crate::parse::parse;
use crate::service::Dest;
use crate::service::Forward;
use crate::tuple::Addr;
use crate::tuple::Family;
use crate::verdict::Consumed;
use crate::verdict::DropReason;
use crate::verdict::Made;
use crate::wire::ipv6;
use crate::xmit::fragment;
use crate::xmit::icmp;
use crate::xmit::tunnel;
use arrayvec::ArrayVec;

/// The largest packet that a tunnel's header leaves room for.
const LARGEST: u16 = u16::MAX - tunnel::MAX_OVERHEAD as u16;

impl<F: Frame> Core<F> {
    /// Puts a packet of a conn into its dest's tunnel; false where the headroom does not suffice.
    pub(super) fn encapsulate(
        &mut self,
        frame: &mut F,
        p: &Parsed,
        id: ConnId,
        dest: &Dest,
    ) -> bool {
        let ip_id = || self.ids.next(Family::V4) as u16;
        // All of a conn's packets, later fragments too, bear one hash, so that they stay in order.
        let flow = || self.hasher.tuple(&self.conns.ends(id).original());
        tunnel::wrap(frame, p, dest, ip_id, flow)
    }

    /// Steps 7 and 8 of the plain lane where `tunnel::is_plain` says no. The packet is read once more, so that the
    /// plain lane need not keep what it knows of all others at hand.
    #[inline(never)]
    pub(super) fn send_wrapped<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        id: ConnId,
    ) {
        let p = parse(frame.data(), t.snap.port(t.port));
        let dest = t.snap.dest(self.conns.get(id).dest());
        if !self.encapsulate(&mut frame, &p, id, dest) {
            return t.stats.drop(DropReason::NoHeadroom);
        }
        let link = t.neighbours.link(dest.hop);
        out::send(t, frame, p.l3 as usize, link.port(), link.mac());
    }

    /// The largest packet of a conn that goes on by a way of this MTU. No v6 host makes smaller ones than 1,280
    /// bytes: what these are too large for is the tunnel's to cut (RFC 2473 section 7.1).
    pub(super) fn largest<P>(
        &self,
        t: &Turn<'_, F, P>,
        p: &Parsed,
        (id, way): (ConnId, Direction),
        mtu: u16,
    ) -> u16 {
        let conn = self.conns.get(id);
        if (conn.forward(), way) != (Forward::Tunnel, Direction::Original) {
            return mtu;
        }
        match p.family {
            _ if t.snap.dest(conn.dest()).traits.cuts_outer => LARGEST,
            Family::V4 => mtu,
            Family::V6 => mtu.max(ipv6::MIN_MTU as u16),
        }
    }

    /// Step 8 for a packet whose outer header, if it has one, may be IPv6's, which no router on the
    /// way cuts.
    pub(super) fn emit_outer<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        l3: usize,
        id: ConnId,
        hop: Hop,
    ) {
        let conn = self.conns.get(id);
        let dest = t.snap.dest(conn.dest());
        if conn.forward() != Forward::Tunnel || dest.addr.is_v4() {
            return self.emit_fitting(t, frame, l3, hop);
        }
        let mtu = usize::from(dest.mtu) + tunnel::overhead(Family::V6, dest.traits.encap);
        let mut pieces = ArrayVec::<F, MAX_FRAGMENTS>::new();
        let mut lost = false;
        let number = self.ids.next(Family::V6);
        let whole = fragment::split_v6(&mut frame, l3, mtu, number, t.pool, |piece| {
            lost |= pieces.try_push(piece).is_err();
        });
        if !whole || lost {
            return t.stats.drop(DropReason::NoFrame);
        }
        t.stats.made[Made::Fragment as usize].add(pieces.len() as u64);
        for frame in core::iter::once(frame).chain(pieces) {
            self.emit_fitting(t, frame, l3, hop);
        }
    }

    /// An error about a packet in our tunnel: told to the client about the packet he sent, with an
    /// MTU less the tunnel's headers (`ip_vs_in_icmp`).
    #[cold]
    pub(super) fn relay_from_tunnel<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        (q, end): (&Quoted, Addr),
        id: ConnId,
    ) {
        let dest = t.snap.dest(self.conns.get(id).dest());
        if self.conns.get(id).forward() != Forward::Tunnel || dest.addr != end {
            return t.stats.drop(DropReason::IcmpUnknown);
        }
        let header = tunnel::overhead(p.family, dest.traits.encap);
        let family = q.tuple.dst.family();
        let mut rest = 0;
        if let Some(told) = icmp::told_mtu(frame.data(), p) {
            let Some(mtu) = tunnel::believed(end.family(), told) else {
                return t.stats.drop(DropReason::Icmp);
            };
            // It may be late: less is known by now, or was never more.
            let largest = dest.mtu.saturating_add(header as u16);
            if mtu < largest {
                t.out.learn(end, mtu);
            }
            // The client wants it cut, and knows nothing of MTUs, or the tunnel is to be cut.
            if dest.traits.cuts_outer || icmp::may_be_cut(frame.data(), q) {
                return t.stats.consumed[Consumed::TunnelMtu as usize].add(1);
            }
            rest = icmp::largest_within(mtu.min(largest), header, family);
        }
        let src = t.snap.router_addr(t.port, family).unwrap_or(q.tuple.dst);
        if let Err(reason) = icmp::out_of_tunnel(&mut frame, p, q, rest, src) {
            return t.stats.drop(reason);
        }
        match self.conns.get(id).has_last_hop() {
            true => self.send_back(t, frame, p.l3 as usize, id),
            false => self.send_toward(t, frame, p.l3 as usize, q.tuple.src),
        }
    }

    /// An error about a packet in our tunnel that does not say whose packet that was.
    #[cold]
    pub(super) fn hear_of_tunnel<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        end: Addr,
    ) {
        match icmp::told_mtu(frame.data(), p) {
            Some(mtu) => {
                t.out.learn(end, mtu);
                t.stats.consumed[Consumed::TunnelMtu as usize].add(1);
            }
            None => t.stats.drop(DropReason::Icmp),
        }
    }
}
