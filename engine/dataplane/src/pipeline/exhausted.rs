//! Cold: packets that would open a conn for which something has run out, or that is denied.

use super::Core;
use super::Turn;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::parse::Parsed;
use crate::service::Closed;
use crate::service::DestId;
use crate::service::Service;
use crate::tuple::Proto;
use crate::verdict::Answer;
use crate::verdict::DropReason;

impl<F: Frame> Core<F> {
    /// Drops by name a packet that was to open a conn and did not. Where local ports, conns or
    /// tuples have run out, or an access list denies it, that is counted for the service, and its
    /// client is told if the service says so; without an answer it tries again.
    #[cold]
    #[inline(never)]
    pub(super) fn unopened<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        reason: DropReason,
    ) {
        let service = t.snap.taker(&p.tuple);
        let counter = |s: &Service| t.services[s.id.0 as usize].refused(reason);
        let Some((service, counter)) = service.and_then(|s| Some((s, counter(s)?))) else {
            return t.stats.drop(reason);
        };
        counter.add(1);
        let dest = service.dests.first().map(|c| t.snap.dest(c.id));
        let told = dest.map(|d| match reason {
            DropReason::Denied => d.traits.denied,
            _ => d.traits.exhausted,
        });
        let answer = match (told, p.tuple.proto) {
            (Some(Closed::Reject), Proto::Tcp | Proto::Sctp) => Answer::Reset,
            (Some(Closed::Reject), Proto::Udp) => Answer::PortUnreachable,
            _ => Answer::Silence,
        };
        self.refuse(t, frame, p, reason, answer);
    }

    /// No worker has a port toward a dest of the service: counted for the addresses of its pool.
    pub(super) fn count_exhausted<P>(
        &self,
        t: &Turn<'_, F, P>,
        service: &Service,
        dest: DestId,
        p: &Parsed,
    ) {
        let dest = t.snap.dest(dest);
        let (daddr, _) = dest.endpoint(&p.tuple);
        if let Ok(port) = self.way_out(t, dest, (p.tuple.src, daddr)) {
            let laddrs = t.snap.laddrs(service, port, daddr.family());
            self.leases.count_exhausted(laddrs, daddr);
        }
    }
}
