//! Cold: open conns whose client a new access list denies.

use super::Core;
use super::Turn;
use crate::conn::ConnId;
use crate::conn::State;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::service::Target;

impl<F: Frame> Core<F> {
    /// Whether a client's conn would not be opened now. A rule's conns are not asked about.
    pub(super) fn is_denied<P>(&self, t: &Turn<'_, F, P>, id: ConnId) -> bool {
        if t.snap.dest(self.conns.get(id).dest()).traits.target != Target::Dest {
            return false;
        }
        let ends = self.conns.ends(id);
        let service = t.snap.service(&ends.original());
        !t.snap.access.admits(service.map(|s| s.id), ends.caddr)
    }

    /// Ends it: both ends of a TCP conn get a reset, and all others are forgotten. False where that
    /// takes room that is not there now.
    pub(super) fn end_denied<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        id: ConnId,
    ) -> bool {
        let (conn, ends) = (self.conns.get(id), self.conns.ends(id));
        let open = !matches!(conn.state(), State::TimeWait | State::Close);
        if conn.is_tcp() && open && !conn.expires().is_due(t.stamp) {
            if !self.reset(t, id) {
                return false;
            }
        } else {
            self.close(t, id);
        }
        if let Some(service) = t.snap.service(&ends.original()) {
            t.services[service.id.0 as usize].denied_conns.add(1);
        }
        true
    }
}
