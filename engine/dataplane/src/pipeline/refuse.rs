//! Cold: packets that do not go on, what their senders are told, and ICMP.

use super::Core;
use super::Handed;
use super::Turn;
use super::cross::Next;
use super::open::FTP_DATA;
use super::open::Opened;
use super::out;
use crate::conn::ConnId;
use crate::conn::Direction;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::neigh::Hop;
use crate::parse::Parsed;
use crate::parse::Quote;
use crate::parse::may_be_answered;
use crate::parse::parse_quoted;
use crate::service::Closed;
use crate::service::Forward;
use crate::service::Target;
use crate::snapshot::Local;
use crate::steer::Owner;
use crate::tuple::Family;
use crate::tuple::Proto;
use crate::tuple::Tuple;
use crate::verdict::Answer;
use crate::verdict::Consumed;
use crate::verdict::DropReason;
use crate::verdict::Made;
use crate::wire::ethernet;
use crate::wire::get16;
use crate::wire::icmp as icmp_wire;
use crate::wire::ipv4;
use crate::wire::tcp;
use crate::xmit::answer;
use crate::xmit::icmp;
use crate::xmit::icmp::Translation;
use crate::xmit::tunnel;

/// Milliseconds that a conn lives without a packet of its own (`ip_vs_conn_new`).
const BORN: u32 = 3000;

impl<F: Frame> Core<F> {
    /// Drops a packet by name and answers its sender, within the rate limit.
    #[cold]
    pub(super) fn refuse<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        reason: DropReason,
        answer: Answer,
    ) {
        t.stats.drop(reason);
        let silent = answer == Answer::Silence || t.snap.is_broadcast(p.tuple.src);
        if silent || !may_be_answered(frame.data(), p) {
            return;
        }
        if !self.limit.allows(t.now) {
            return t.stats.limited.add(1);
        }
        // A host answers as the address that was spoken to, a router by that of the port where the
        // packet came in (RFC 1812 section 4.3.2.4).
        let src = match answer {
            Answer::Reset => p.tuple.dst,
            Answer::PortUnreachable | Answer::ProtocolUnreachable
                if t.snap.locals.contains_key(&p.tuple.dst) =>
            {
                p.tuple.dst
            }
            _ => match t.snap.router_addr(t.port, p.family) {
                Some(own) => own,
                None if t.snap.locals.contains_key(&p.tuple.dst) => p.tuple.dst,
                // Nobody to speak for.
                None => return,
            },
        };
        let sender = ethernet::source(frame.data());
        let Some(made) = answer::make(&mut frame, p, answer, src) else { return };
        t.stats.made[made as usize].add(1);
        let l3 = p.l3 as usize;
        if t.snap.is_vip(p.tuple.src) {
            self.tell_dest(t, frame, p, src);
        } else if self.goes_back(t, p) {
            out::send_fitting(t, frame, l3, t.port, sender);
        } else {
            self.send_toward(t, frame, l3, p.tuple.src);
        }
    }

    /// Whether answers to a packet go where it came from: as its conn does, whose service may be
    /// gone, else as its service says.
    fn goes_back<P>(&self, t: &Turn<'_, F, P>, p: &Parsed) -> bool {
        match self.conns.find(self.conns.hash(&p.tuple), &p.tuple) {
            Some((id, Direction::Original)) if self.conns.get(id).elsewhere().is_none() => {
                self.conns.get(id).has_last_hop()
            }
            _ => t.snap.is_last_hop(&p.tuple),
        }
    }

    /// A flow's packet that belongs to no conn and opens none: what a host would do.
    pub(super) fn unclaimed<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        reason: DropReason,
    ) {
        let Some(local) = t.snap.locals.get(&p.tuple.dst) else {
            let Tuple { proto, src, sport, .. } = p.tuple;
            let told = t.snap.ipvs.nat_icmp_send && p.flags & tcp::RST == 0;
            return match told && t.snap.is_real_server(proto, src, sport) {
                true => self.refuse(t, frame, p, DropReason::NotOurs, Answer::PortUnreachable),
                false => self.route(t, frame, p),
            };
        };
        let answer = match (local.closed, p.tuple.proto) {
            (Closed::Drop, _) => Answer::Silence,
            (Closed::Reject, Proto::Tcp) => Answer::Reset,
            // A host without SCTP says so, and either end gives up (RFC 9260 section 10).
            (Closed::Reject, Proto::Sctp) => Answer::ProtocolUnreachable,
            (Closed::Reject, _) => Answer::PortUnreachable,
        };
        self.refuse(t, frame, p, reason, answer);
    }

    /// An echo request: answered for every address of ours; others pass, where a rule lets them.
    #[cold]
    pub(super) fn echo<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        visited: u16,
    ) {
        match t.snap.locals.get(&p.tuple.dst) {
            None => return self.flow(t, frame, p, self.place(p), visited),
            Some(Local { closed: Closed::Drop, .. }) => {
                return t.stats.drop(DropReason::ClosedPort);
            }
            Some(_) => {}
        }
        if t.snap.locals.contains_key(&p.tuple.src) || t.snap.is_broadcast(p.tuple.src) {
            return t.stats.drop(DropReason::Martian);
        }
        t.stats.consumed[Consumed::EchoRequest as usize].add(1);
        if !self.limit.allows(t.now) {
            return t.stats.limited.add(1);
        }
        answer::echo_reply(&mut frame, p);
        t.stats.made[Made::EchoReply as usize].add(1);
        self.send_toward(t, frame, p.l3 as usize, p.tuple.src);
    }

    /// An ICMP error: to the conn that it quotes, whichever worker holds it.
    #[cold]
    pub(super) fn icmp_error<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        visited: u16,
    ) {
        let q = match parse_quoted(frame.data(), p, t.snap) {
            Ok(Quote::Packet(q)) => q,
            Ok(Quote::Tunnel(end)) => return self.hear_of_tunnel(t, frame, p, end),
            Err(reason) => return self.route_or_drop(t, frame, p, reason),
        };
        // The quoted packet travelled the other way; one in a tunnel bears the client's own tuple.
        let tuple = if q.tunnel.is_some() { q.tuple } else { q.tuple.reversed() };
        let Some((id, way)) = self.conns.find(self.conns.hash(&tuple), &tuple) else {
            return self.icmp_elsewhere(t, frame, p, &tuple, visited);
        };
        if let Some(worker) = self.conns.get(id).elsewhere() {
            // If it is not there, it is nowhere.
            let visited = visited.max(self.workers as u16);
            if let Some(frame) = self.send_elsewhere(t, frame, (id, worker), visited) {
                self.icmp_elsewhere(t, frame, p, &tuple, visited);
            }
            return;
        }
        if self.conns.get(id).is_lent() {
            return t.stats.drop(DropReason::LateSegment);
        }
        if p.ttl <= 1 {
            // Never an ICMP error about an ICMP error (RFC 1122 section 3.2.2).
            return t.stats.drop(DropReason::TtlExceeded);
        }
        if let Some(end) = q.tunnel {
            return self.relay_from_tunnel(t, frame, p, (&q, end), id);
        }
        let dest = t.snap.dest(self.conns.get(id).dest());
        let kind = [frame.data()[p.l4 as usize], frame.data()[p.l4 as usize + 1]];
        let refuses = way == Direction::Reply
            && dest.traits.target == Target::Dest
            && icmp_wire::is_unreachable(p.family, kind);
        if refuses && self.may_try_another(t, id) {
            return t.stats.drop(DropReason::SecondChoice);
        }
        // It counts as a packet of the conn's (`ip_vs_in_icmp`, `handle_response_icmp`).
        t.dests[self.conns.get(id).dest().0 as usize].count(way, p.ip_len() as u64);
        let mut frame = frame;
        let told = match self.conns.get(id).introduces() {
            true => self.untell(&mut frame, p, &q, (id, way)),
            false => *p,
        };
        let p = &told;
        let forward = self.conns.get(id).forward();
        let rewrite = self.conns.rewrite(id, way);
        let shifts = self.conns.get(id).shifts().then(|| self.conns.track(id));
        if self.conns.get(id).is_crossed() {
            return self.cross_error(t, frame, p, &q, id, way);
        }
        match (way, forward) {
            (Direction::Reply, _) => {
                // Hops behind the director show as the VIP, as the kernel has it, or as themselves;
                // the dest as the VIP in any case. What a server asked for has no VIP (RFC 5508
                // section 4.2).
                let shows = dest.traits.shows_routers && p.tuple.src != dest.addr
                    || dest.traits.target != Target::Dest;
                let new_src = (!shows).then_some(rewrite.src);
                let how = Translation { way, rewrite, shifts, new_src };
                icmp::translate(frame.data_mut(), p, &q, &how);
                self.send_back(t, frame, p.l3 as usize, id);
            }
            (Direction::Original, Forward::Nat | Forward::FullNat) => {
                // A server that cannot reach clients must not see their side's addresses.
                let new_src = (forward == Forward::FullNat).then_some(rewrite.src);
                let how = Translation { way, rewrite, shifts, new_src };
                icmp::translate(frame.data_mut(), p, &q, &how);
                self.emit_to_dest(t, frame, p, id);
            }
            (Direction::Original, Forward::Dr | Forward::Tunnel) => {
                if let Some(frame) = self.transform(t, frame, p, id, way) {
                    self.emit_to_dest(t, frame, p, id);
                }
            }
        }
    }

    pub(super) fn emit_to_dest<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        id: ConnId,
    ) {
        if self.is_routed(t, id) {
            return match self.way_on(t, id) {
                Some(way) => self.send_by(t, frame, p.l3 as usize, way),
                None => t.stats.drop(DropReason::NoRoute),
            };
        }
        let hop = t.snap.dest(self.conns.get(id).dest()).hop;
        self.emit_fitting(t, frame, p.l3 as usize, hop);
    }

    /// The conn is not here. Where arrival decides about conns, nobody can tell whose it is: the
    /// error goes round the workers once.
    fn icmp_elsewhere<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        tuple: &Tuple,
        visited: u16,
    ) {
        // A dr dest's own word about its client's packet.
        if (tuple.src, tuple.dst) == (p.tuple.src, p.tuple.dst) && t.snap.is_vip(tuple.src) {
            return self.martian(t, frame, p, tuple, visited);
        }
        // While conns live whose service is gone or has another method, any worker may have it.
        let anybody = self.workers > 1
            && t.snap.lookup.any_may_have_it()
            && t.snap.locals.contains_key(&tuple.dst);
        let next = match self.owner(t, tuple) {
            Owner::Worker(w) if visited == 0 && w != self.worker => {
                Some((w, if anybody { 1 } else { self.workers as u16 }))
            }
            Owner::Worker(_) if anybody && usize::from(visited) < self.workers => {
                Some(((self.worker + 1) % self.workers, visited + 1))
            }
            Owner::Arrival if (visited as usize) + 1 < self.workers => {
                Some(((self.worker + 1) % self.workers, visited + 1))
            }
            _ => None,
        };
        if let Some((worker, visited)) = next {
            let handed = Handed { port: t.port, frame, visited, seeks: None };
            return t.out.hand_over(worker, handed, t.stats);
        }
        if t.snap.ipvs.schedule_icmp {
            match self.open_for_error(t, frame.data(), p, tuple) {
                Ok(()) => return self.icmp_error(t, frame, p, visited),
                Err(reason @ (DropReason::Martian | DropReason::Defended)) => {
                    return t.stats.drop(reason);
                }
                Err(_) => {}
            }
        }
        match t.snap.locals.contains_key(&p.tuple.dst) {
            true => t.stats.drop(DropReason::IcmpUnknown),
            false => self.route(t, frame, p),
        }
    }

    /// Opens a conn for a client whose side complains about an answer that another director let
    /// through (`ip_vs_in_icmp`): the error goes where the client's packets go. Under full-NAT it
    /// would mean nothing to the dest. What would open no conn by itself opens none here.
    fn open_for_error<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: &[u8],
        p: &Parsed,
        tuple: &Tuple,
    ) -> Result<(), DropReason> {
        const UNKNOWN: DropReason = DropReason::IcmpUnknown;
        // One about a tunnel of ours came to the tunnel's end.
        let to_vip = tuple.dst == p.tuple.dst;
        let service = t.snap.service(tuple).filter(|_| to_vip).ok_or(UNKNOWN)?;
        let is_fit = service.may_begin_midway() && service.terms.persistence.is_none();
        if !is_fit || tuple.sport == FTP_DATA {
            return Err(UNKNOWN);
        }
        if t.snap.is_no_client(tuple.src) {
            return Err(DropReason::Martian);
        }
        if t.snap.denies(service, tuple.src) {
            return Err(UNKNOWN);
        }
        if self.defence.drops() {
            return Err(DropReason::Defended);
        }
        // It stands for the client's segment, of which nothing is here.
        let opens = Parsed { l4: p.end, tuple: *tuple, ..*p };
        let Opened::Here(id) = self.open(t, frame, &opens, service)? else { return Err(UNKNOWN) };
        self.conns.get_mut(id).set_expires(t.stamp.after(BORN));
        Ok(())
    }

    /// The way to the client has no next hop that conns keep, or none that is known: look it up and go
    /// on, or wait for it.
    #[cold]
    pub(super) fn reply_unrouted<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        id: ConnId,
    ) {
        let way = Direction::Reply;
        let Some(to) = self.way_back(t, id) else {
            return self.refuse(t, frame, p, DropReason::NoRoute, Answer::NetUnreachable);
        };
        let mtu = t.snap.port(to.port()).mtu;
        if self.conns.get(id).is_crossed() {
            return self.cross(t, frame, p, (id, way), (Next::Back(to), mtu));
        }
        let Some(mut frame) = self.check_limits(t, frame, p, mtu) else { return };
        self.renumber(&mut frame, p, (id, way), mtu);
        let Some(frame) = self.transform(t, frame, p, id, way) else { return };
        self.send_by(t, frame, p.l3 as usize, to);
    }

    /// A packet of a conn whose TTL is used up, or that is larger than its way (than no way at all,
    /// where it goes by route), or changes its family.
    #[cold]
    #[inline(never)]
    pub(super) fn exceeds<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        (id, way): (ConnId, Direction),
        (hop, mtu): (Hop, u16),
    ) {
        if self.conns.get(id).is_crossed() {
            return self.cross(t, frame, p, (id, way), (Next::Hop(hop), mtu));
        }
        if way == Direction::Original && self.is_routed(t, id) {
            return self.by_route(t, frame, p, id);
        }
        self.exceeds_or_goes(t, frame, p, (id, way), (hop, mtu));
    }

    /// The same, of a conn whose way is known.
    pub(super) fn exceeds_or_goes<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        (id, way): (ConnId, Direction),
        (hop, mtu): (Hop, u16),
    ) {
        let largest = self.largest(t, p, (id, way), mtu);
        let Some(mut frame) = self.check_limits(t, frame, p, largest) else { return };
        self.renumber(&mut frame, p, (id, way), mtu);
        let Some(frame) = self.transform(t, frame, p, id, way) else { return };
        match way {
            Direction::Original => self.emit_outer(t, frame, p.l3 as usize, id, hop),
            Direction::Reply => self.emit_fitting(t, frame, p.l3 as usize, hop),
        }
    }

    /// Gives the frame back where it may go on, be it in fragments.
    pub(super) fn check_limits<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        mtu: u16,
    ) -> Option<F> {
        if p.ttl <= 1 {
            self.refuse(t, frame, p, DropReason::TtlExceeded, Answer::TimeExceeded);
            return None;
        }
        let flags = p.l3 as usize + ipv4::FRAGMENT;
        let may_cut = p.family == Family::V4 && get16(frame.data(), flags) & ipv4::DF == 0;
        // What would not fit a total length with a tunnel's header cannot be cut either.
        let may_cut = may_cut && p.ip_len() <= u16::MAX as usize - tunnel::MAX_OVERHEAD;
        if p.ip_len() > mtu as usize && !may_cut {
            self.refuse(t, frame, p, DropReason::TooBig, Answer::TooBig(mtu));
            return None;
        }
        Some(frame)
    }
}
