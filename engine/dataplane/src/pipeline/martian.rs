//! Cold: replies of dr and tunnel dests whose gateway is the director. They bear a VIP of ours as
//! their source, which the kernel calls martian: with a conn they are forwarded, else dropped.
//!
//! As in the kernel they change neither the conn's state nor its deadline.

use super::Core;
use super::Handed;
use super::Turn;
use crate::conn::ConnId;
use crate::conn::Direction;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::parse::Kind;
use crate::parse::Parsed;
use crate::service::Forward;
use crate::steer::Owner;
use crate::steer::steer;
use crate::tuple::Addr;
use crate::tuple::Family;
use crate::tuple::Tuple;
use crate::verdict::Answer;
use crate::verdict::DropReason;
use crate::wire::ethernet;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::xmit::rewrite;

impl<F: Frame> Core<F> {
    /// A packet whose source is a VIP. `tuple` is its own or, of an ICMP error, that of the answer it
    /// stands for.
    #[cold]
    #[inline(never)]
    pub(super) fn martian<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        tuple: &Tuple,
        visited: u16,
    ) {
        // One of our own, come back by a loop of the links, would go round for ever.
        let sender = ethernet::source(frame.data());
        if t.snap.ports.iter().any(|port| port.mac == sender) {
            return t.stats.drop(DropReason::Martian);
        }
        if let Some(id) = self.find_martian(t, tuple) {
            return self.forward_martian(t, frame, p, id);
        }
        let next = match self.owner(t, tuple) {
            Owner::Worker(w) if visited == 0 && w != self.worker => Some((w, self.workers as u16)),
            Owner::Arrival if usize::from(visited) + 1 < self.workers => {
                Some(((self.worker + 1) % self.workers, visited + 1))
            }
            _ => None,
        };
        match next {
            Some((worker, visited)) => {
                let handed = Handed { port: t.port, frame, visited, seeks: None };
                t.out.hand_over(worker, handed, t.stats);
            }
            None => t.stats.drop(DropReason::Martian),
        }
    }

    /// The conn of a tuple, that of a martian reply included.
    pub(super) fn find_any<P>(
        &self,
        t: &Turn<'_, F, P>,
        tuple: &Tuple,
    ) -> Option<(ConnId, Direction)> {
        let found = self.conns.find(self.conns.hash(tuple), tuple);
        found.or_else(|| Some((self.find_martian(t, tuple)?, Direction::Reply)))
    }

    /// Who owns a tuple; a martian reply belongs to the owner of its client's packets. By which port
    /// those come it does not say: where any port's arrival decides, nobody knows.
    pub(super) fn owner<P>(&self, t: &Turn<'_, F, P>, tuple: &Tuple) -> Owner {
        if !t.snap.is_vip(tuple.src) {
            let ours = t.snap.locals.contains_key(&tuple.dst);
            return match steer(t.snap, &self.hasher, self.workers, t.port, tuple) {
                // A conn of a service that is gone may live anywhere.
                Owner::Nobody if ours && t.snap.lookup.any_may_have_it() => Owner::Arrival,
                owner => owner,
            };
        }
        let original = tuple.reversed();
        let service = t.snap.service(&original);
        let by_arrival = || t.snap.ports.iter().any(|p| p.fixed_queue);
        match service {
            // Of a dest that is removed by now, whatever its service's dests have become.
            _ if t.snap.lookup.has_removed() => Owner::Arrival,
            Some(service) if service.methods.iter().all(Forward::sees_replies) => Owner::Nobody,
            None if !t.snap.lookup.any_may_have_it() => Owner::Nobody,
            Some(service) if service.goes_by_client() || !by_arrival() => {
                steer(t.snap, &self.hasher, self.workers, t.port, &original)
            }
            _ => Owner::Arrival,
        }
    }

    /// An ICMP error of ours about a martian reply: to the dest, as a client's packet would go.
    pub(super) fn tell_dest<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        src: Addr,
    ) {
        let Some(id) = self.find_martian(t, &p.tuple) else {
            return t.stats.drop(DropReason::NoRoute);
        };
        let header = match p.family {
            Family::V4 => ipv4::LEN,
            Family::V6 => ipv6::LEN,
        };
        let tuple = Tuple { src, dst: p.tuple.src, sport: 0, dport: 0, ..p.tuple };
        let (l4, end) = (p.l3 + header as u16, frame.data().len() as u16);
        let made = Parsed { kind: Kind::IcmpError, l4, end, ttl: 64, flags: 0, tuple, ..*p };
        if let Some(frame) = self.transform(t, frame, &made, id, Direction::Original) {
            self.emit_to_dest(t, frame, &made, id);
        }
    }

    fn find_martian<P>(&self, t: &Turn<'_, F, P>, tuple: &Tuple) -> Option<ConnId> {
        if !t.snap.is_vip(tuple.src) {
            return None;
        }
        let original = tuple.reversed();
        let (id, _) = self.conns.find(self.conns.hash(&original), &original)?;
        let conn = self.conns.get(id);
        let lives = !conn.is_away() && !conn.expires().is_due(t.stamp);
        (lives && !conn.forward().sees_replies()).then_some(id)
    }

    fn forward_martian<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        id: ConnId,
    ) {
        let stats = &t.dests[self.conns.get(id).dest().0 as usize];
        stats.out_packets.add(1);
        stats.out_bytes.add(p.ip_len() as u64);
        t.stats.martian_replies.add(1);
        let Some(way) = self.way_back(t, id) else {
            return self.refuse(t, frame, p, DropReason::NoRoute, Answer::NetUnreachable);
        };
        let mtu = t.snap.port(way.port()).mtu;
        let Some(mut frame) = self.check_limits(t, frame, p, mtu) else { return };
        rewrite::decrement_ttl(frame.data_mut(), p);
        self.send_by(t, frame, p.l3 as usize, way);
    }
}
