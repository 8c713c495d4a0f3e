//! Cold: open conns whose client a new access list denies.

use super::Core;
use super::Turn;
use crate::conn::ConnId;
use crate::conn::State;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::service::Service;
use crate::service::Target;

impl<F: Frame> Core<F> {
    /// Whether a client's conn would not be opened now. A rule's conns are not asked about.
    pub(super) fn is_denied<P>(&self, t: &Turn<'_, F, P>, id: ConnId) -> bool {
        if t.snap.dest(self.conns.get(id).dest()).traits.target != Target::Dest {
            return false;
        }
        let service = self.service_of(t, id);
        !t.snap.access.admits(service.map(|s| s.id), self.conns.ends(id).caddr)
    }

    /// The service that a conn is of. FTP's data conns are at no port of its own.
    fn service_of<'a, P>(&self, t: &Turn<'a, F, P>, id: ConnId) -> Option<&'a Service> {
        let traits = &t.snap.dest(self.conns.get(id).dest()).traits;
        let ftp = traits.ftp.filter(|_| !traits.orphaned);
        let of_ftp = ftp.and_then(|service| t.snap.taker_of(service));
        of_ftp.or_else(|| t.snap.service(&self.conns.ends(id).original()))
    }

    /// Ends it: both ends of a TCP conn get a reset, and all others are forgotten. False where that
    /// takes room that is not there now.
    pub(super) fn end_denied<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        id: ConnId,
    ) -> bool {
        let (conn, service) = (self.conns.get(id), self.service_of(t, id));
        let open = !matches!(conn.state(), State::TimeWait | State::Close);
        if conn.is_tcp() && open && !conn.expires().is_due(t.stamp) {
            if !self.reset(t, id) {
                return false;
            }
        } else {
            self.close(t, id);
        }
        if let Some(service) = service {
            t.services[service.id.0 as usize].denied_conns.add(1);
        }
        true
    }
}
