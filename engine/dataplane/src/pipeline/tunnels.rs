//! Cold: packets that with a tunnel's header are larger than their way, where the service lets the
//! outer packet go in fragments (`Traits::cuts_outer`).

use super::Core;
use super::Turn;
use super::out::MAX_FRAGMENTS;
use crate::conn::ConnId;
use crate::conn::Direction;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::neigh::Hop;
use crate::service::Forward;
use crate::tuple::Family;
use crate::verdict::DropReason;
use crate::verdict::Made;
use crate::xmit::fragment;
use crate::xmit::tunnel;
use arrayvec::ArrayVec;

/// The largest packet that a tunnel's header leaves room for.
const LARGEST: u16 = u16::MAX - tunnel::overhead(Family::V6) as u16;

impl<F: Frame> Core<F> {
    /// The largest packet of a conn that goes on by a way of this MTU.
    pub(super) fn largest<P>(
        &self,
        t: &Turn<'_, F, P>,
        (id, way): (ConnId, Direction),
        mtu: u16,
    ) -> u16 {
        let conn = self.conns.get(id);
        let is_in_tunnel = (conn.forward(), way) == (Forward::Tunnel, Direction::Original);
        if is_in_tunnel && t.snap.dest(conn.dest()).traits.cuts_outer { LARGEST } else { mtu }
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
        if conn.forward() != Forward::Tunnel || !dest.traits.cuts_outer || dest.addr.is_v4() {
            return self.emit_fitting(t, frame, l3, hop);
        }
        let mtu = t.snap.port(dest.out).mtu.into();
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
}
