//! Step 5, cold: a tuple that is not in this worker's table.

use super::Core;
use super::Handed;
use super::Turn;
use super::data::Data;
use super::outbox::Asker;
use super::outbox::Offer;
use super::seek::may_go;
use crate::conn::ConnId;
use crate::conn::Direction;
use crate::conn::Ends;
use crate::conn::Opening;
use crate::conn::Place;
use crate::conn::State;
use crate::conn::TableFull;
use crate::conn::Track;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::laddr::Last;
use crate::laddr::Lease;
use crate::laddr::PairId;
use crate::parse::Parsed;
use crate::sched;
use crate::sched::Ask;
use crate::service::ClientAddress;
use crate::service::Closed;
use crate::service::DestId;
use crate::service::Forward;
use crate::service::Service;
use crate::service::Target;
use crate::snapshot::FTP;
use crate::snapshot::Snapshot;
use crate::stats::DestBlocks;
use crate::steer::Owner;
use crate::steer::steer;
use crate::tick::Stamp;
use crate::tuple::Addr;
use crate::tuple::Proto;
use crate::tuple::Tuple;
use crate::verdict::Answer;
use crate::verdict::DropReason;
use crate::wire::ethernet;
use crate::wire::get32;
use crate::wire::options;
use crate::wire::tcp;
use crate::xmit::syn;
use arrayvec::ArrayVec;

/// Ports of services that a lease may come upon in a row.
const MAX_SHARED: usize = 1024;
/// Where an FTP server's data conns come from.
pub(super) const FTP_DATA: u16 = 20;
/// Lines looked at for one that is due when the table is full.
const RECLAIM: usize = 64;
/// How many dests a SYN is offered whose reply tuples are taken.
const MAX_TRIES: usize = 8;

/// What came of a packet that opens a conn.
pub(super) enum Opened {
    /// It lives here.
    Here(ConnId),
    /// It goes there, if there is another worker that has a port or that it belongs to.
    NoPort(Offer),
}

impl<F: Frame> Core<F> {
    #[cold]
    #[inline(never)]
    pub(super) fn miss<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        visited: u16,
    ) {
        let src = p.tuple.src;
        let ours = t.snap.locals.get(&src);
        if ours.is_some_and(|local| local.vip) {
            return self.martian(t, frame, p, &p.tuple, visited);
        }
        // What takes the place of a conn that another worker sent here is nowhere else.
        if self.workers > 1
            && self.sender.is_none()
            && let Some((worker, visited)) = self.elsewhere(t, p, visited)
        {
            let handed = Handed { port: t.port, frame, visited, seeks: None };
            return t.out.hand_over(worker, handed, t.stats);
        }
        if ours.is_some() || t.snap.is_no_stranger(src) {
            return t.stats.drop(DropReason::Martian);
        }
        if let Some(awaited) = self.awaited(t, p) {
            return self.begin_data(t, frame, p, awaited);
        }
        let Some(service) = t.snap.taker(&p.tuple) else {
            return self.unclaimed(t, frame, p, DropReason::ClosedPort);
        };
        if t.snap.denies(service, src) {
            return self.unopened(t, frame, p, DropReason::Denied);
        }
        // Never those of an FTP server toward its client (`ip_vs_schedule`).
        if p.tuple.sport == FTP_DATA && !service.is_rule() {
            return self.unclaimed(t, frame, p, DropReason::ClosedPort);
        }
        let sloppy = match p.tuple.proto {
            Proto::Sctp => t.snap.ipvs.sloppy_sctp,
            _ => t.snap.ipvs.sloppy_tcp,
        };
        let sloppy = sloppy && service.may_begin_midway() && p.flags & tcp::RST == 0;
        // What is SYN here may be INIT (`wire::sctp::flags`).
        let syn = p.flags & (tcp::SYN | tcp::RST) == tcp::SYN;
        let opens = !matches!(p.tuple.proto, Proto::Tcp | Proto::Sctp) || syn || sloppy;
        if !opens && service.is_rule() {
            return self.not_passed(t, frame, p, DropReason::NotSyn);
        }
        if !opens {
            return self.unclaimed(t, frame, p, DropReason::NotSyn);
        }
        if !service.is_rule() && self.defence.drops() {
            return t.stats.drop(DropReason::Defended);
        }
        if let Some(persistence) = &service.terms.persistence {
            let sender = self.sender.take().map(|worker| worker as u16);
            let asker = Asker { worker: self.worker as u16, sender, asked: 0 };
            return self.persist(t, frame, p, (service, persistence), asker);
        }
        let opened = self.open(t, frame.data(), p, service);
        self.opened(t, frame, p, service, opened);
    }

    /// What becomes of a packet that was to open a conn.
    #[inline(always)]
    pub(super) fn opened<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        service: &Service,
        opened: Result<Opened, DropReason>,
    ) {
        if let Ok(Opened::Here(id)) = opened
            && (service.methods.only().is_none() || t.snap.lookup.any_may_have_it())
        {
            self.number_opened(&mut frame, p, id);
        }
        match opened {
            Ok(Opened::Here(id)) if service.terms.one_packet && p.tuple.proto == Proto::Udp => {
                let wait = self.rest_of_datagram(frame.data(), p);
                self.forward(t, frame, p, id, Direction::Original);
                match wait {
                    0 => self.close(t, id),
                    wait => self.conns.get_mut(id).set_expires(t.stamp.after(wait)),
                }
            }
            Ok(Opened::Here(id)) => self.forward_by(t, frame, p, id, Direction::Original),
            Ok(Opened::NoPort(offer)) => self.begin_search(t, frame, p, offer),
            Err(reason @ (DropReason::NoDest | DropReason::NoRoute)) if service.is_rule() => {
                self.not_passed(t, frame, p, reason);
            }
            // Perhaps no data at all, but for a program of the host's (`ip_vs_leave`).
            Err(DropReason::NoDest) if service.port == FTP && p.tuple.dport != FTP => {
                self.unclaimed(t, frame, p, DropReason::ClosedPort);
            }
            Err(DropReason::NoDest) => {
                let answer = match (t.snap.closed(p.tuple.dst), p.tuple.proto) {
                    (Closed::Drop, _) => Answer::Silence,
                    (Closed::Reject, Proto::Tcp | Proto::Sctp) if service.terms.resets => {
                        Answer::Reset
                    }
                    (Closed::Reject, _) => Answer::PortUnreachable,
                };
                self.refuse(t, frame, p, DropReason::NoDest, answer);
            }
            Err(reason @ DropReason::NotSyn) => self.unclaimed(t, frame, p, reason),
            Err(reason) => self.unopened(t, frame, p, reason),
        }
    }

    /// The worker to ask next for a tuple that is not here: the owner; and then, while conns live
    /// whose service is gone or has another method, which had other owners, all once.
    pub(super) fn elsewhere<P>(
        &self,
        t: &Turn<'_, F, P>,
        p: &Parsed,
        visited: u16,
    ) -> Option<(usize, u16)> {
        let owner = match steer(t.snap, &self.hasher, self.workers, t.port, &p.tuple) {
            Owner::Worker(worker) => worker,
            // Nor did anybody know it before: what is left is to be routed, here.
            Owner::Nobody if !t.snap.locals.contains_key(&p.tuple.dst) => return None,
            _ => self.worker,
        };
        if visited == 0 && owner != self.worker {
            return Some((owner, 1));
        }
        let opens = p.flags & (tcp::SYN | tcp::RST) == tcp::SYN;
        let round = usize::from(visited.max(1));
        if opens || !t.snap.lookup.any_may_have_it() || round > self.workers {
            return None;
        }
        // The last one gives it back to the owner, who decides.
        Some(((self.worker + 1) % self.workers, round as u16 + 1))
    }

    /// Picks a dest and opens the conn.
    #[inline(always)]
    pub(super) fn open<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: &[u8],
        p: &Parsed,
        service: &Service,
    ) -> Result<Opened, DropReason> {
        let offer = self.choose(t, p, service, &[]).ok_or(DropReason::NoDest)?;
        match self.open_as(t, frame, p, service, &offer, None) {
            Ok(id) => Ok(Opened::Here(id)),
            Err(reason) => self.open_else(t, frame, p, service, (offer, reason)),
        }
    }

    /// The same where the first dest could not have it. Beside, as what is asked of a dest would otherwise
    /// be made ready for the next ones, too.
    #[cold]
    #[inline(never)]
    fn open_else<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: &[u8],
        p: &Parsed,
        service: &Service,
        (mut offer, mut reason): (Offer, DropReason),
    ) -> Result<Opened, DropReason> {
        let mut barred = ArrayVec::<DestId, MAX_TRIES>::new();
        loop {
            match reason {
                DropReason::ReplyClash if !barred.is_full() => barred.push(offer.dest),
                DropReason::NoLease if may_go(t.snap, service, offer.dest) => {
                    return Ok(Opened::NoPort(offer));
                }
                _ => return Err(reason),
            }
            offer = self.choose(t, p, service, &barred).ok_or(DropReason::ReplyClash)?;
            match self.open_to(t, frame, p, service, &offer) {
                Ok(id) => return Ok(Opened::Here(id)),
                Err(other) => reason = other,
            }
        }
    }

    /// An offer to a dest that the scheduler picks.
    #[inline(always)]
    fn choose<P>(
        &mut self,
        t: &Turn<'_, F, P>,
        p: &Parsed,
        service: &Service,
        barred: &[DestId],
    ) -> Option<Offer> {
        let ask = Ask { tuple: &p.tuple, loads: t.loads, barred, now: t.stamp };
        let position = &mut self.positions[service.id.0 as usize];
        sched::pick(service, position, &ask).map(|dest| self.offer(dest))
    }

    /// Opens a conn to a dest.
    pub(super) fn open_to<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: &[u8],
        p: &Parsed,
        service: &Service,
        offer: &Offer,
    ) -> Result<ConnId, DropReason> {
        self.open_as(t, frame, p, service, offer, None)
    }

    /// The same, or a data conn that an FTP control conn has announced.
    #[inline(always)]
    pub(super) fn open_as<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: &[u8],
        p: &Parsed,
        service: &Service,
        offer: &Offer,
        data: Option<&Data>,
    ) -> Result<ConnId, DropReason> {
        let (id, may_lend) = (offer.dest, offer.may_lend || service.terms.ftp);
        // Asked before, but perhaps by a worker with an older list, or when another conn began.
        if t.snap.denies(service, p.tuple.src) {
            return Err(DropReason::Denied);
        }
        let dest = t.snap.known_dest(id).ok_or(DropReason::NoDest)?;
        // A data conn is where its control conn is.
        if data.is_none() && self.home(p, dest).is_some() {
            return Err(DropReason::NoLease);
        }
        let Tuple { src: caddr, sport: cport, dst: vaddr, dport: vport, proto } = p.tuple;
        let (daddr, mut dport) = dest.endpoint(&p.tuple);
        // A template of all ports may name a dest of the FTP service (ip_vs_sched_persist).
        let by_template = service.terms.persistence.is_some() && dest.traits.target == Target::Dest;
        if by_template && vport != service.port {
            dport = vport;
        }
        dport = data.map_or(dport, |data| data.dport);
        let forward = dest.forward;
        let segment = &frame[p.l4 as usize..p.end as usize];
        let rewritten = matches!(forward, Forward::Nat | Forward::FullNat);
        if rewritten && proto == Proto::Tcp && !segment.is_empty() && syn::is_signed(segment) {
            return Err(DropReason::Signed);
        }
        // Cold paths get copies (`&{ ends }`), so that nothing of it need lie in memory.
        let (laddr, lport) = (caddr, cport);
        let mut ends = Ends { proto, caddr, cport, vaddr, vport, laddr, lport, daddr, dport };
        let (mut track, mut shifts, mut last) = (Track::NEW, false, Last::NOTHING);
        match forward {
            Forward::Nat => self.make_way(t, &{ ends })?,
            Forward::FullNat if !begins(p, segment) => return Err(DropReason::NotSyn),
            Forward::FullNat => {
                let port = self.way_out(t, dest, (caddr, daddr))?;
                let laddrs = t.snap.laddrs(service, port, daddr.family());
                let lease = match data {
                    Some(data) => self.lease_of(t, &data.laddr, &{ ends }),
                    None => self.lease(t, service, laddrs, &ends, may_lend),
                };
                let lease = lease.ok_or(DropReason::NoLease)?;
                (ends.laddr, ends.lport, last) = (lease.laddr, lease.lport, lease.last);
                shifts = proto == Proto::Tcp && dest.traits.rewrite;
                track = match shifts {
                    true => self.begin(t, segment, &ends, &lease),
                    false => Track::of(lease.pair),
                };
            }
            Forward::Dr | Forward::Tunnel => {}
        }
        let expires = t.stamp.after(t.snap.timeouts.of(State::None));
        let opening = Opening { ends, dest: id, forward, track, shifts, tries: offer.tries };
        let conn = self.enter(t, &opening, last, expires)?;
        if dest.traits.tcp_timeouts != (0, 0) {
            self.conns.get_mut(conn).set_own_timeouts();
        }
        if dest.traits.last_hop {
            self.conns.set_last_hop(conn, t.port, ethernet::source(frame));
        }
        // Nor does a data conn begin with a header where its control conn does.
        let told = dest.traits.client_address != ClientAddress::Off;
        let introduces = told && proto != Proto::Sctp && data.is_none();
        if introduces && dest.forward == Forward::FullNat {
            self.begin_introduction(conn, service, dest.traits.client_address, segment);
        }
        // What a persistent service takes at other ports is data.
        if service.terms.ftp && data.is_none() && vport == service.port {
            self.begin_help(conn, segment);
        }
        if dest.traits.target == Target::ByRoute {
            self.conns.forget_out_hop(conn);
        }
        self.count_opened(t, id);
        if let Some(link) = offer.link {
            self.conns.set_link(conn, link);
            t.controls.join(self.worker, link);
        }
        self.count(t);
        Ok(conn)
    }

    /// Enters a conn into the table; what it holds a lease of goes back where there is no room.
    #[inline(always)]
    pub(super) fn enter<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        opening: &Opening,
        last: Last,
        expires: Stamp,
    ) -> Result<ConnId, DropReason> {
        match self.conns.open(opening, expires) {
            Ok(conn) => Ok(conn),
            Err(TableFull) => self.enter_again(t, &{ *opening }, last, expires),
        }
    }

    /// The same where there was no room: perhaps the sweep is only late.
    #[cold]
    #[inline(never)]
    fn enter_again<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        opening: &Opening,
        last: Last,
        expires: Stamp,
    ) -> Result<ConnId, DropReason> {
        self.sweep(t, RECLAIM);
        self.conns.open(opening, expires).map_err(|TableFull| {
            if opening.forward == Forward::FullNat {
                let pair = PairId(opening.track.pair);
                self.leases.give_back(pair, opening.ends.lport, last, t.stamp);
            }
            DropReason::TableFull
        })
    }

    /// A conn to a dest has begun.
    #[inline(always)]
    pub(super) fn count_opened<P>(&self, t: &Turn<'_, F, P>, id: DestId) {
        self.count_inactive(t, id);
        t.dests[id.0 as usize].conns.add(1);
        t.stats.opened.add(1);
    }

    /// A dest has one conn more, which is not active (yet).
    #[inline(always)]
    pub(super) fn count_inactive<P>(&self, t: &Turn<'_, F, P>, id: DestId) {
        let limits = t.snap.dest(id).traits.limits;
        t.dests[id.0 as usize].inactive.add(1);
        if limits.upper > 0 {
            t.loads.judge(id.0 as usize, limits);
        }
    }

    /// A local port toward the dest for a service's conn: an idle one, or where one may be lent, that of
    /// the conn here that has ended longest ago.
    #[inline(always)]
    fn lease<P>(
        &mut self,
        t: &Turn<'_, F, P>,
        service: &Service,
        laddrs: &[Addr],
        ends: &Ends,
        may_lend: bool,
    ) -> Option<Lease> {
        if service.is_rule() || t.snap.leases_vips() {
            let own = if service.is_rule() { self.paired(laddrs, ends.caddr) } else { &[] };
            // Given back anew, too, as `ends` is given: neither need lie in memory then.
            let lease = self.lease_closely(t, own, laddrs, &{ *ends }, may_lend)?;
            return Some(Lease { ..lease });
        }
        let Ends { proto, daddr, dport, .. } = *ends;
        let turn = self.leases.turn(proto, daddr, dport, laddrs.len());
        if let Some(lease) = self.leases.lease(proto, laddrs, turn, daddr, dport) {
            self.look_ahead((proto, daddr, dport), (turn, laddrs.len()));
            return Some(lease);
        }
        if !may_lend {
            return None;
        }
        let lease = self.lent(t, laddrs, &{ *ends })?;
        Some(Lease { ..lease })
    }

    /// A port of this local address, which the dest knows the client by.
    pub(super) fn lease_of<P>(
        &mut self,
        t: &Turn<'_, F, P>,
        laddr: &Addr,
        ends: &Ends,
    ) -> Option<Lease> {
        self.lease_closely(t, &[], core::slice::from_ref(laddr), ends, true)
    }

    /// The same as `lease`, of a client's `own` addresses first, and of no port that is a service's: a pool
    /// address may also be a VIP, and answers to such a port are the service's.
    #[inline(never)]
    fn lease_closely<P>(
        &mut self,
        t: &Turn<'_, F, P>,
        own: &[Addr],
        laddrs: &[Addr],
        ends: &Ends,
        may_lend: bool,
    ) -> Option<Lease> {
        let Ends { proto, daddr, dport, .. } = *ends;
        let turn = self.leases.turn(proto, daddr, dport, laddrs.len());
        for _ in 0..MAX_SHARED {
            let leases = &mut self.leases;
            let lease = [(own, 0), (laddrs, turn)]
                .into_iter()
                .find_map(|(laddrs, turn)| leases.lease(proto, laddrs, turn, daddr, dport));
            let Some(lease) = lease else { break };
            if is_idle(t, ends, lease.laddr, lease.lport) {
                self.look_ahead((proto, daddr, dport), (turn, laddrs.len()));
                return Some(lease);
            }
            self.leases.give_back(lease.pair, lease.lport, lease.last, t.stamp);
        }
        if may_lend { self.lent(t, laddrs, ends) } else { None }
    }

    /// Asks for the index line that the next conn to this dest will want.
    #[inline(always)]
    fn look_ahead(&self, dest: (Proto, Addr, u16), laddrs: (usize, usize)) {
        if let Some(reply) = self.leases.ahead(dest, laddrs) {
            self.conns.prefetch_index(self.conns.hash(&reply));
        }
    }

    /// The port of a conn that has ended.
    #[cold]
    #[inline(never)]
    fn lent<P>(&mut self, t: &Turn<'_, F, P>, laddrs: &[Addr], ends: &Ends) -> Option<Lease> {
        let Ends { proto, daddr, dport, .. } = *ends;
        for _ in 0..MAX_SHARED {
            let conns = &self.conns;
            let since = |conn| Stamp(conns.track(conn).since);
            let lender = self.leases.lender(proto, laddrs, daddr, dport, since, t.stamp)?;
            self.delist(lender);
            let Ends { laddr, lport, .. } = self.conns.ends(lender);
            if is_idle(t, ends, laddr, lport) {
                return Some(self.borrow(t, lender));
            }
        }
        None
    }

    /// The local port of a conn that has ended.
    fn borrow<P>(&mut self, t: &Turn<'_, F, P>, lender: ConnId) -> Lease {
        let (Ends { laddr, lport, .. }, last) = (self.conns.ends(lender), self.last(lender));
        self.end_introduction(lender);
        self.conns.lend(lender);
        t.stats.lent.add(1);
        let pair = PairId(self.conns.track(lender).pair);
        self.leases.count_lent(pair);
        Lease { laddr, lport, pair, last }
    }

    /// The numbers that a full-NAT conn begins with.
    #[inline(always)]
    fn begin<P>(&self, t: &Turn<'_, F, P>, segment: &[u8], ends: &Ends, lease: &Lease) -> Track {
        let mut track = Track::of(lease.pair);
        // The tuple as the dest sees it.
        let tuple = self.numbers.hash(&ends.reply().reversed());
        let isn = self.numbers.isn(tuple, lease.last, t.now);
        track.seq_shift = isn.wrapping_sub(get32(segment, tcp::SEQ));
        if let Some(at) = options::timestamps(segment) {
            let tsval = self.numbers.tsval(tuple, lease.last, t.now);
            track.set_ts_shift(tsval.wrapping_sub(get32(segment, at)));
            track.tsval = tsval;
        }
        track
    }

    /// Under nat the reply tuple (dest, client) must be free: two conns of one client port to two
    /// VIPs must not meet at one dest. One whose time is up makes way.
    pub(super) fn make_way<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        ends: &Ends,
    ) -> Result<(), DropReason> {
        let reply = ends.reply();
        let Some((other, _)) = self.conns.find(self.conns.hash(&reply), &reply) else {
            return Ok(());
        };
        if !self.conns.get(other).expires().is_due(t.stamp) || !self.has_ended(t, other) {
            return Err(DropReason::ReplyClash);
        }
        self.run_out(t, other);
        Ok(())
    }

    /// Ends a conn: its counts, its lease, its place.
    #[cold]
    pub(super) fn close<P>(&mut self, t: &mut Turn<'_, F, P>, id: ConnId) {
        self.end(t, id);
        self.conns.close(id);
        self.count(t);
    }

    /// The same of one whose tuples lie at these places.
    #[inline(always)]
    pub(super) fn close_at<P>(&mut self, t: &mut Turn<'_, F, P>, id: ConnId, places: [Place; 2]) {
        self.end(t, id);
        self.conns.close_at(id, places);
        self.count(t);
    }

    /// All of it but its place.
    #[inline(always)]
    fn end<P>(&mut self, t: &mut Turn<'_, F, P>, id: ConnId) {
        if self.conns.get(id).introduces() {
            self.end_changes(t, id);
        }
        let conn = self.conns.get(id);
        if conn.is_controlled() {
            t.controls.leave(self.worker, self.conns.link(id));
        }
        if conn.elsewhere().is_none() {
            let stats = &t.dests[conn.dest().0 as usize];
            if conn.is_inactive() { &stats.inactive } else { &stats.active }.sub(1);
            let limits = t.snap.dest(conn.dest()).traits.limits;
            if limits.upper > 0 {
                t.loads.judge(conn.dest().0 as usize, limits);
            }
            if conn.forward() == Forward::FullNat {
                self.close_fullnat(t, id);
            }
        }
    }

    /// Of one whose packets are changed.
    #[cold]
    #[inline(never)]
    fn end_changes<P>(&mut self, t: &mut Turn<'_, F, P>, id: ConnId) {
        if self.is_helped(id) {
            self.end_awaited(t, id);
        }
        if self.conns.get(id).forward() == Forward::FullNat {
            self.end_introduction(id);
        }
    }

    #[inline(always)]
    fn close_fullnat<P>(&mut self, t: &mut Turn<'_, F, P>, id: ConnId) {
        if let Some(from) = self.conns.track(id).sent_by() {
            let tuple = self.conns.ends(id).original();
            self.ended(t, from, &tuple);
        }
        let conn = self.conns.get(id);
        if conn.has_lease() {
            let (lport, last, is_listed) = (conn.lport(), self.last(id), conn.is_listed());
            let pair = PairId(self.conns.track(id).pair);
            if is_listed {
                self.delist(id);
            }
            self.leases.give_back(pair, lport, last, t.stamp);
        }
    }

    pub(super) fn count<P>(&self, t: &Turn<'_, F, P>) {
        t.stats.conns.set(self.conns.len() as u64);
        t.stats.leases.set(self.leases.held() as u64);
    }

    /// Schedulers take up what changed between two snapshots.
    pub(super) fn follow(&mut self, old: Option<&Snapshot>, new: &Snapshot, loads: &DestBlocks) {
        for (id, dest) in new.dests.iter().enumerate() {
            loads.judge(id, dest.traits.limits);
        }
        self.watch.follow(old, new);
        let highest = new.takers().map(|s| s.id.0 as usize + 1).max().unwrap_or(0);
        if self.positions.len() < highest {
            self.positions.resize_with(highest, Default::default);
        }
        for service in new.takers() {
            let before = old.and_then(|o| o.taker_of(service.id));
            let position = &mut self.positions[service.id.0 as usize];
            let place = |id| new.place_of(id);
            position.follow(before, (service, &place), (self.worker, self.workers));
        }
    }
}

/// Whether a full-NAT conn can begin with this segment: none can in the midst of a stream (sloppy), nor
/// with what only stands for a segment (`open_for_error`).
fn begins(p: &Parsed, segment: &[u8]) -> bool {
    let has_syn = matches!(p.tuple.proto, Proto::Tcp | Proto::Sctp);
    !segment.is_empty() && (!has_syn || p.flags & (tcp::SYN | tcp::RST) == tcp::SYN)
}

/// Whether no service has this local port toward a dest.
#[inline(always)]
fn is_idle<F, P>(t: &Turn<'_, F, P>, ends: &Ends, laddr: Addr, lport: u16) -> bool {
    let reply = || Ends { laddr, lport, ..*ends }.reply();
    !t.snap.leases_vips() || t.snap.service(&reply()).is_none()
}
