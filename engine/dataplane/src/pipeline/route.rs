//! Cold: packets that are neither for an address of ours nor of a conn, where `route = true` makes
//! the director a router between its ports (RFC 1812, RFC 8200).
//!
//! Any worker may route any packet, so none is handed over for it. Redirects are not sent: a packet
//! may leave by the port it came by.

use super::Core;
use super::Turn;
use super::way::Way;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::parse::Parsed;
use crate::parse::parse_transit;
use crate::tuple::Addr;
use crate::verdict::Answer;
use crate::verdict::DropReason;
use crate::xmit::rewrite;

impl<F: Frame> Core<F> {
    /// What `parse` refuses: it may be unreadable only beyond the IP header, which is a router's
    /// business not at all.
    #[cold]
    #[inline(never)]
    pub(super) fn unread<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        reason: DropReason,
    ) {
        let beyond = matches!(
            reason,
            DropReason::Truncated
                | DropReason::ExtensionHeaders
                | DropReason::Protocol
                | DropReason::TransportHeader
                | DropReason::NoChecksum
                | DropReason::Icmp
                | DropReason::IcmpType
        );
        if t.snap.routing
            && beyond
            && let Ok(p) = parse_transit(frame.data(), t.snap.port(t.port))
        {
            return self.route_or_drop(t, frame, &p, reason);
        }
        t.stats.drop(reason);
    }

    /// A packet that would be dropped for what it carries, unless it is only to be routed.
    pub(super) fn route_or_drop<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        reason: DropReason,
    ) {
        if !t.snap.routing || t.snap.locals.contains_key(&p.tuple.dst) {
            return t.stats.drop(reason);
        }
        self.route(t, frame, p);
    }

    /// Routes a packet whose destination is not ours.
    #[cold]
    #[inline(never)]
    pub(super) fn route<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
    ) {
        if !t.snap.routing {
            return t.stats.drop(DropReason::NotOurs);
        }
        let (src, dst) = (p.tuple.src, p.tuple.dst);
        if t.snap.locals.contains_key(&src) || t.snap.is_broadcast(src) || src.is_link_local() {
            return t.stats.drop(DropReason::Martian);
        }
        // RFC 2644: no directed broadcast is forwarded.
        if t.snap.is_broadcast(dst) {
            return t.stats.drop(DropReason::Multicast);
        }
        if !may_be_routed_to(dst) {
            return t.stats.drop(DropReason::NotOurs);
        }
        let Some((port, next)) = t.snap.routes.find(src, dst) else {
            return self.refuse(t, frame, p, DropReason::NoRoute, Answer::NetUnreachable);
        };
        let mtu = t.snap.port(port).mtu;
        let Some(mut frame) = self.check_limits(t, frame, p, mtu) else { return };
        rewrite::decrement_ttl(frame.data_mut(), p);
        t.stats.routed.add(1);
        self.send_by(t, frame, p.l3 as usize, Way::Via(port, next));
    }
}

/// Link-local, loopback and reserved addresses are reached by no router (RFC 1812 section 5.3.7,
/// RFC 3927 section 7, RFC 4291 section 2.5.6).
fn may_be_routed_to(dst: Addr) -> bool {
    !dst.is_link_local() && !dst.is_martian_source()
}
