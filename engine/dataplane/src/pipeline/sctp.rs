//! Cold: what SCTP has of its own. Its packets never take the plain lane (`wire::sctp::flags`): each has
//! chunks to be looked at, and a checksum over all of it.

use super::Core;
use super::Turn;
use crate::conn::ConnId;
use crate::conn::Direction;
use crate::conn::Rewrite;
use crate::frame::Frame;
use crate::parse::Parsed;
use crate::tuple::Proto;
use crate::tuple::Tuple;
use crate::xmit::cross::Header;
use crate::xmit::rewrite;
use crate::xmit::sctp;

/// Whether a datagram in fragments cannot be right any more as it would leave: its ports change, and with them a checksum
/// over all of it.
pub(super) fn is_broken(first: &Tuple, r: &Rewrite) -> bool {
    first.proto == Proto::Sctp && (first.sport, first.dport) != (r.sport, r.dport)
}

impl<F: Frame> Core<F> {
    /// Step 6.
    #[cold]
    pub(super) fn step_sctp<P>(
        &mut self,
        t: &Turn<'_, F, P>,
        p: &Parsed,
        id: ConnId,
        way: Direction,
    ) {
        let conn = self.conns.get_mut(id);
        let own = t.snap.dest(conn.dest()).traits.sctp_timeout;
        if conn.step_sctp(way, p.flags, t.stamp, (&t.snap.timeouts, own)) {
            self.state_changed(t, id);
        }
    }

    /// Step 7 under nat and full-NAT.
    #[cold]
    pub(super) fn rewrite_sctp<P>(
        &self,
        t: &Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        r: &Rewrite,
    ) -> Option<F> {
        let whole = Header::of(frame.data(), p).place.is_none();
        let packet = &mut frame.data_mut()[p.l4 as usize..p.end as usize];
        if let Err(reason) = sctp::translate(packet, (r.sport, r.dport), whole) {
            t.stats.drop(reason);
            return None;
        }
        rewrite::addresses(frame.data_mut(), p, r);
        Some(frame)
    }
}
