//! Cold: the way to a client, by the routes or back where its packets come from.

use super::Core;
use super::Turn;
use super::out;
use crate::conn::ConnId;
use crate::conn::Direction;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::neigh::Mac;
use crate::neigh::PortId;
use crate::tuple::Addr;
use crate::verdict::DropReason;

/// How a packet leaves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// By this port to this MAC.
    To(PortId, Mac),
    /// By this port to this next hop.
    Via(PortId, Addr),
}

impl Way {
    pub(super) fn port(self) -> PortId {
        match self {
            Self::To(port, _) | Self::Via(port, _) => port,
        }
    }
}

impl<F: Frame> Core<F> {
    /// The way of a conn's replies. Their source is the VIP, by which routes may differ.
    pub(super) fn way_back<P>(&self, t: &Turn<'_, F, P>, id: ConnId) -> Option<Way> {
        if let Some((port, mac)) = self.conns.last_hop(id) {
            return Some(Way::To(port, mac));
        }
        self.route_back(t, id).map(|(port, next)| Way::Via(port, next))
    }

    /// What the routes say of it: the port and the next hop's address.
    #[inline(always)]
    fn route_back<P>(&self, t: &Turn<'_, F, P>, id: ConnId) -> Option<(PortId, Addr)> {
        let reply = self.conns.rewrite(id, Direction::Reply);
        t.snap.routes.find(reply.src, reply.dst)
    }

    /// Before a reply is sent: its next hop is known, where conns may keep it.
    #[inline(always)]
    pub(super) fn look_back<P>(&mut self, t: &Turn<'_, F, P>, id: ConnId, way: Direction) {
        let conn = self.conns.get(id);
        if way == Direction::Reply && conn.reply_hop(t.neighbours.epoch()).is_none() {
            self.find_way_back(t, id);
        }
    }

    /// Looks up the next hop of a conn's replies, where it is not known (any more) and conns may keep it.
    #[inline(never)]
    fn find_way_back<P>(&mut self, t: &Turn<'_, F, P>, id: ConnId) {
        if !self.conns.get(id).has_last_hop() {
            let Some((port, next)) = self.route_back(t, id) else { return };
            if let Some(hop) = t.neighbours.find(port, next) {
                let epoch = t.neighbours.epoch();
                self.conns.get_mut(id).set_reply_hop(hop, epoch);
            }
        }
        let conn = self.conns.get(id);
        if conn.is_controlled() && conn.is_stateless() {
            // A datagram has come back, the first of which always takes this way.
            t.controls.assure(self.worker, self.conns.link(id));
        }
    }

    /// Sends a packet to a conn's client.
    pub(super) fn send_back<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        l3: usize,
        id: ConnId,
    ) {
        match self.way_back(t, id) {
            Some(way) => self.send_by(t, frame, l3, way),
            None => t.stats.drop(DropReason::NoRoute),
        }
    }

    /// Sends a packet of any size its way.
    pub(super) fn send_by<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        l3: usize,
        way: Way,
    ) {
        match way {
            Way::To(port, mac) => out::send_fitting(t, frame, l3, port, mac),
            Way::Via(port, next) => match t.neighbours.find(port, next) {
                Some(hop) => self.emit_fitting(t, frame, l3, hop),
                None => self.hold(t, frame, l3, port, next),
            },
        }
    }
}
