//! Cold: conns that servers open through the director (`snat`), and echoes, which only these are.

use super::Core;
use super::Handed;
use super::Turn;
use super::way::Way;
use crate::conn::ConnId;
use crate::conn::Direction;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::neigh::PortId;
use crate::parse::Parsed;
use crate::service::Dest;
use crate::service::Target;
use crate::tuple::Addr;
use crate::tuple::Proto;
use crate::verdict::Answer;
use crate::verdict::DropReason;

/// An echo's conn lives at least so many milliseconds (RFC 5508 section 3.2, REQ-2).
const ECHO_TIMEOUT: u32 = 60_000;

/// Milliseconds that a conn without states lives without a packet.
#[inline(always)]
pub(super) fn timeout(proto: Proto, dest: &Dest) -> u32 {
    let udp = dest.traits.udp_timeout;
    if proto == Proto::Udp { udp } else { udp.max(ECHO_TIMEOUT) }
}

impl<F: Frame> Core<F> {
    /// Whether a conn's packets go by the route of its destination.
    pub(super) fn is_routed<P>(&self, t: &Turn<'_, F, P>, id: ConnId) -> bool {
        t.snap.dest(self.conns.get(id).dest()).traits.target == Target::ByRoute
    }

    /// A client's packet of such a conn.
    pub(super) fn by_route<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        id: ConnId,
    ) {
        let epoch = t.neighbours.epoch();
        let Some(hop) = self.conns.out_hop(id, epoch) else {
            return self.out_unrouted(t, frame, p, id);
        };
        let mtu = t.snap.port(t.neighbours.get(hop).0).mtu;
        self.exceeds_or_goes(t, frame, p, (id, Direction::Original), (hop, mtu));
    }

    /// The way to the destination is not known (any more): look it up and go on, or wait for it.
    fn out_unrouted<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        id: ConnId,
    ) {
        let way = Direction::Original;
        let Some(to) = self.way_on(t, id) else {
            return self.refuse(t, frame, p, DropReason::NoRoute, Answer::NetUnreachable);
        };
        if let Way::Via(port, next) = to
            && let Some(hop) = t.neighbours.find(port, next)
        {
            self.conns.set_out_hop(id, hop, t.neighbours.epoch());
        }
        let mtu = t.snap.port(to.port()).mtu;
        let Some(mut frame) = self.check_limits(t, frame, p, mtu) else { return };
        self.renumber(&mut frame, p, (id, way), mtu);
        let Some(frame) = self.transform(t, frame, p, id, way) else { return };
        self.send_by(t, frame, p.l3 as usize, to);
    }

    /// The way of what a conn's client sends, where it goes by route. Its source is the client's
    /// own, as in a kernel, which routes before it translates: by it routes may differ.
    pub(super) fn way_on<P>(&self, t: &Turn<'_, F, P>, id: ConnId) -> Option<Way> {
        let client = self.conns.rewrite(id, Direction::Reply).dst;
        let to = self.conns.rewrite(id, Direction::Original).dst;
        let (port, next) = t.snap.routes.find(client, to)?;
        Some(Way::Via(port, next))
    }

    /// The port that a new conn's packets leave by.
    pub(super) fn way_out<P>(
        &self,
        t: &Turn<'_, F, P>,
        dest: &Dest,
        (caddr, daddr): (Addr, Addr),
    ) -> Result<PortId, DropReason> {
        match dest.traits.target {
            Target::Dest | Target::ByDest => Ok(dest.out),
            Target::ByRoute => self.route_out(t, caddr, daddr),
        }
    }

    #[inline(never)]
    fn route_out<P>(
        &self,
        t: &Turn<'_, F, P>,
        caddr: Addr,
        daddr: Addr,
    ) -> Result<PortId, DropReason> {
        let (port, _) = t.snap.routes.find(caddr, daddr).ok_or(DropReason::NoRoute)?;
        Ok(port)
    }

    /// Which of `laddrs` a client's conns have while it has ports: the same for all of them
    /// (RFC 4787 section 4.1, "paired"), since what they reach may know them by it.
    pub(super) fn paired<'a>(&self, laddrs: &'a [Addr], caddr: Addr) -> &'a [Addr] {
        let hash = self.hasher.addr(caddr) as u32 as u64;
        let at = ((hash * laddrs.len() as u64) >> 32) as usize;
        laddrs.get(at..=at).unwrap_or(&[])
    }

    /// Why a server's packet opened nothing, and what it is told.
    pub(super) fn not_passed<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        reason: DropReason,
    ) {
        let answer = match reason {
            // The other end is not asked: it knows nothing of what was not translated.
            DropReason::NotSyn => Answer::Reset,
            _ => Answer::NetUnreachable,
        };
        self.refuse(t, frame, p, reason, answer);
    }

    /// An echo reply: of a conn, or nobody's.
    #[cold]
    pub(super) fn echo_reply<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        visited: u16,
    ) {
        let hash = self.conns.hash(&p.tuple);
        if self.conns.find(hash, &p.tuple).is_some_and(|(_, way)| way == Direction::Reply) {
            return self.flow(t, frame, p, self.place(p), visited);
        }
        if self.workers > 1
            && let Some((worker, visited)) = self.elsewhere(t, p, visited)
        {
            let handed = Handed { port: t.port, frame, visited, seeks: None };
            return t.out.hand_over(worker, handed, t.stats);
        }
        self.route_or_drop(t, frame, p, DropReason::IcmpType);
    }
}
