//! Cold: conns that are not simply followed, and full-NAT's exchange with other workers.

use super::Core;
use super::Handed;
use super::Seek;
use super::Turn;
use super::pieces::SETTLED;
use crate::conn::ConnId;
use crate::conn::Direction;
use crate::conn::State;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::laddr::Last;
use crate::laddr::NOBODY;
use crate::laddr::PairId;
use crate::parse::Kind;
use crate::parse::Parsed;
use crate::parse::parse_first;
use crate::sched;
use crate::sched::Ask;
use crate::service::DestId;
use crate::service::Forward;
use crate::service::Service;
use crate::service::Target;
use crate::tuple::Tuple;
use crate::verdict::DropReason;
use crate::wire::ethernet;
use crate::wire::tcp;
use crate::xmit::segment;

impl<F: Frame> Core<F> {
    /// A packet of a conn that `is_odd` gives a closer look.
    #[cold]
    #[inline(never)]
    pub(super) fn odd<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        (id, way): (ConnId, Direction),
        visited: u16,
    ) {
        let conn = self.conns.get(id);
        let opens = p.flags & (tcp::SYN | tcp::RST) == tcp::SYN && way == Direction::Original;
        let ended = matches!(conn.state(), State::TimeWait | State::Close) || conn.is_lent();
        // A SYN starts the tuple of an ended conn afresh (IPVS's conn_reuse_mode 1).
        let due = conn.expires().is_due(t.stamp);
        if due || (opens && ended) {
            return self.keep_sender(t, id, &p.tuple, |core, t| {
                if due {
                    core.run_out(t, id);
                } else {
                    core.close(t, id);
                }
                core.miss(t, frame, p, visited);
            });
        }
        if let Some(worker) = conn.elsewhere() {
            // As long as the longest-lived conn: the other worker says when it has ended.
            let expires = t.stamp.after(t.snap.timeouts.of(State::Established));
            self.conns.get_mut(id).set_expires(expires);
            let handed = Handed { port: t.port, frame, visited: visited.max(1), seeks: None };
            return t.out.hand_over(worker, handed, t.stats);
        }
        if conn.is_lent() {
            return t.stats.drop(DropReason::LateSegment);
        }
        let asks = p.flags & (tcp::SYN | tcp::RST) != 0;
        let asks = asks && conn.is_unanswered() && conn.forward().sees_replies();
        let (has_last_hop, ends) = (conn.has_last_hop(), conn.is_condemned() || conn.was_reset());
        if has_last_hop && way == Direction::Original {
            self.conns.set_last_hop(id, t.port, ethernet::source(frame.data()));
        }
        if ends {
            return self.condemned(t, frame, p, (id, way), visited);
        }
        if asks {
            return self.handshake(t, frame, p, (id, way));
        }
        self.forward(t, frame, p, id, way);
    }

    /// A SYN or RST while the dest has yet to answer: a dest that refuses, or is silent until the
    /// client's second SYN, is left for another one.
    fn handshake<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        (id, way): (ConnId, Direction),
    ) {
        let conn = self.conns.get_mut(id);
        let target = t.snap.dest(conn.dest()).traits.target;
        match way {
            // What refuses is the destination, not the dest by which it is reached.
            Direction::Reply if p.flags & tcp::RST == 0 || target != Target::Dest => {
                let segment = &frame.data()[p.l4 as usize..p.end as usize];
                conn.set_answered(segment::extent(segment).0);
            }
            Direction::Reply => {
                // The client's next SYN finds that there was no answer.
                if self.may_try_another(t, id) {
                    return t.stats.drop(DropReason::SecondChoice);
                }
            }
            Direction::Original if p.flags & tcp::SYN != 0 => {
                match self.another_dest(t, frame.data(), p, id) {
                    Some(Ok(id)) => return self.forward(t, frame, p, id, way),
                    Some(Err((DropReason::NoLease, dest))) => {
                        let seek = Seek { dest, from: self.worker as u16 };
                        return self.pass_on(t, frame, p, seek);
                    }
                    Some(Err((reason, _))) => return self.unopened(t, frame, p, reason),
                    None => {}
                }
            }
            Direction::Original => {}
        }
        self.forward(t, frame, p, id, way);
    }

    /// Whether the conn's SYN may be offered to another dest yet.
    pub(super) fn may_try_another<P>(&self, t: &Turn<'_, F, P>, id: ConnId) -> bool {
        let conn = self.conns.get(id);
        let dest = t.snap.dest(conn.dest());
        let ends = self.conns.ends(id);
        let service = t.snap.taker(&ends.original());
        let others = |s: &Service| s.dests.iter().any(|c| c.weight > 0 && c.id != conn.dest());
        conn.is_unanswered() && conn.tries() < dest.traits.retries && service.is_some_and(others)
    }

    /// Opens the conn anew to another dest than the one it has, or says to which one it failed; the
    /// old one ends. None where there is no other, and the old one stays.
    fn another_dest<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: &[u8],
        p: &Parsed,
        id: ConnId,
    ) -> Option<Result<ConnId, (DropReason, DestId)>> {
        if !self.may_try_another(t, id) {
            return None;
        }
        let service = t.snap.taker(&p.tuple)?;
        let (from, tries) = (self.conns.get(id).dest(), self.conns.get(id).tries());
        let ask = Ask { tuple: &p.tuple, loads: t.loads, barred: &[from] };
        let position = &mut self.positions[service.id.0 as usize];
        let dest = sched::pick(service, position, &ask)?;
        t.dests[from.0 as usize].passed_over.add(1);
        let opened = self.keep_sender(t, id, &p.tuple, |core, t| {
            core.close(t, id);
            core.open_to(t, frame, p, service, dest, tries + 1)
        });
        Some(opened.map_err(|reason| (reason, dest)))
    }

    /// Exchanges a conn for another one of the same client's tuple. If another worker sent the old
    /// one here, that worker's entry serves the new one; where there is none, it hears of the end.
    pub(super) fn keep_sender<'a, P, R>(
        &mut self,
        t: &mut Turn<'a, F, P>,
        id: ConnId,
        tuple: &Tuple,
        exchange: impl FnOnce(&mut Self, &mut Turn<'a, F, P>) -> R,
    ) -> R {
        let conn = self.conns.get(id);
        let has_track = conn.forward() == Forward::FullNat && conn.elsewhere().is_none();
        let from = if has_track { self.conns.track_mut(id).take_sent_by() } else { None };
        let result = exchange(self, t);
        if let Some(from) = from {
            match self.conns.find(self.conns.hash(tuple), tuple) {
                Some((id, _)) if self.conns.get(id).forward() == Forward::FullNat => {
                    self.conns.track_mut(id).set_sent_by(from as u16);
                }
                _ => self.ended(t, from, tuple),
            }
        }
        result
    }

    /// The conn's state is another one: what counts it, and who would lend its port.
    #[cold]
    pub(super) fn state_changed<P>(&mut self, t: &Turn<'_, F, P>, id: ConnId) {
        let conn = self.conns.get_mut(id);
        if conn.recount() {
            let stats = &t.dests[conn.dest().0 as usize];
            let (from, to) = match conn.is_inactive() {
                true => (&stats.active, &stats.inactive),
                false => (&stats.inactive, &stats.active),
            };
            // In this order: whoever sums both must never see a dest without its conn.
            to.add(1);
            from.sub(1);
        }
        if conn.has_lease() {
            let would_lend = conn.state().would_lend();
            match (would_lend, self.conns.track(id).is_listed()) {
                (true, false) => self.enlist(id, t),
                (false, true) => self.delist(id),
                _ => {}
            }
        }
    }

    /// Joins its pair's list of conns that would lend their port, as the newest.
    fn enlist<P>(&mut self, id: ConnId, t: &Turn<'_, F, P>) {
        let pair = PairId(self.conns.track(id).pair);
        let (oldest, newest) = self.leases.lenders(pair);
        let older = core::mem::replace(newest, id.0);
        if older == NOBODY {
            *oldest = id.0;
        } else {
            self.conns.track_mut(ConnId(older)).newer = id.0;
        }
        self.conns.track_mut(id).join(older, t.stamp);
    }

    /// Leaves that list.
    pub(super) fn delist(&mut self, id: ConnId) {
        let (pair, older, newer) = self.conns.track_mut(id).leave();
        let (oldest, newest) = self.leases.lenders(PairId(pair));
        match older {
            NOBODY => *oldest = newer,
            older => self.conns.track_mut(ConnId(older)).newer = newer,
        }
        let (_, newest) = match newer {
            NOBODY => ((), newest),
            newer => {
                self.conns.track_mut(ConnId(newer)).older = older;
                return;
            }
        };
        *newest = older;
    }

    /// What the dest saw last of a conn, for the next one on its tuple.
    pub(super) fn last(&self, id: ConnId) -> Last {
        let (conn, track) = (self.conns.get(id), self.conns.track(id));
        if !conn.is_tcp() {
            return Last::NOTHING;
        }
        let seq = conn.seq().wrapping_add(track.seq_shift);
        Last::new(seq, track.has_ts().then_some(track.tsval))
    }

    /// A packet that opens a conn, from a worker without a port toward its dest: opened here if
    /// there is a port, else passed on until all have been asked.
    pub(super) fn seek<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        seek: Seek,
    ) {
        let first = match p.kind {
            Kind::Fragment => {
                self.learn_piece(t, frame.data(), p);
                parse_first(frame.data(), p)
            }
            _ => Ok(*p),
        };
        let first = match first {
            Ok(first) => first,
            Err(reason) => return t.stats.drop(reason),
        };
        let p = &first;
        let hash = self.conns.hash(&p.tuple);
        if let Some((id, way)) = self.conns.find(hash, &p.tuple) {
            if self.conns.get(id).elsewhere().is_none() {
                return self.odd(t, frame, p, (id, way), SETTLED);
            }
            // Of a conn whose end was not heard of: nobody would seek one that lives.
            self.close(t, id);
        }
        let service = t.snap.taker(&p.tuple);
        let opened = match service {
            Some(service) => self.open_to(t, frame.data(), p, service, seek.dest, 0),
            None => Err(DropReason::ClosedPort),
        };
        match opened {
            Ok(id) => {
                self.conns.track_mut(id).set_sent_by(seek.from);
                self.forward(t, frame, p, id, Direction::Original);
            }
            Err(DropReason::NoLease) => self.pass_on(t, frame, p, seek),
            Err(reason) => {
                self.ended(t, seek.from as usize, &p.tuple);
                self.unopened(t, frame, p, reason);
            }
        }
    }

    /// No port toward the dest here: the next worker may have one. Until it says that the conn has
    /// ended, this one knows where to send the client's packets.
    pub(super) fn pass_on<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        seek: Seek,
    ) {
        let next = (self.worker + 1) % self.workers;
        if next == seek.from as usize {
            self.ended(t, next, &p.tuple);
            if let Some(service) = t.snap.taker(&p.tuple) {
                self.count_exhausted(t, service, seek.dest, p);
            }
            return self.unopened(t, frame, p, DropReason::NoLease);
        }
        let expires = t.stamp.after(t.snap.timeouts.of(State::Established));
        if self.conns.open_elsewhere(&p.tuple, next, expires).is_err() {
            self.ended(t, seek.from as usize, &p.tuple);
            return self.unopened(t, frame, p, DropReason::TableFull);
        }
        self.count(t);
        let handed = Handed { port: t.port, frame, visited: 1, seeks: Some(seek) };
        t.out.hand_over(next, handed, t.stats);
    }

    /// Tells all workers from `from` to the one before this that a conn is not here (any more).
    pub(super) fn ended<P>(&mut self, t: &mut Turn<'_, F, P>, from: usize, tuple: &Tuple) {
        let mut worker = from;
        while worker != self.worker {
            // Lost where full: the entry ends by its timeout.
            let _ = t.out.ended.try_push((worker as u16, *tuple));
            worker = (worker + 1) % self.workers;
        }
    }

    pub(super) fn forget(&mut self, tuple: &Tuple) {
        let found = self.conns.find(self.conns.hash(tuple), tuple);
        if let Some((id, _)) = found
            && self.conns.get(id).elsewhere().is_some()
        {
            self.conns.close(id);
        }
    }
}
