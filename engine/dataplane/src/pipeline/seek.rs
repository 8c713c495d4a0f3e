//! Cold: full-NAT's exchange with other workers, which have ports where this one's share toward a
//! dest is used up.
//!
//! A packet that opens a conn goes round the workers. Each looks for an idle port; when none has
//! one, it goes round once more, and the first with a conn that has ended lends that one's. Workers
//! on the way keep an entry that says where the client's packets go on, until they hear that the
//! conn has ended. All rounds begin at the worker that the client's packets arrive at, so that the
//! entries make one way.

use super::Core;
use super::Handed;
use super::Seek;
use super::Turn;
use super::outbox::Offer;
use super::pieces::SETTLED;
use crate::conn::ConnId;
use crate::conn::Direction;
use crate::conn::State;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::parse::Kind;
use crate::parse::Parsed;
use crate::parse::parse_first;
use crate::service::DestId;
use crate::service::Forward;
use crate::tuple::Tuple;
use crate::verdict::DropReason;

impl<F: Frame> Core<F> {
    /// A first offer to a dest. A worker alone has nobody to ask before it lends a port.
    pub(super) fn offer(&self, dest: DestId) -> Offer {
        Offer { dest, tries: 0, may_lend: self.workers == 1, before: None }
    }

    /// What is offered where nothing came of a second choice: the dest that the conn had, so that
    /// the client's next SYN may try again.
    fn instead(&self, offer: Offer) -> Option<Offer> {
        let dest = offer.before?;
        Some(Offer { tries: offer.tries - 1, ..self.offer(dest) })
    }

    /// Opens a packet's conn as offered, here or at a worker that has a port toward the dest.
    pub(super) fn open_for<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        offer: Offer,
    ) {
        let Some(service) = t.snap.taker(&p.tuple) else {
            return self.unclaimed(t, frame, p, DropReason::ClosedPort);
        };
        match self.open_to(t, frame.data(), p, service, offer) {
            Ok(id) => self.forward(t, frame, p, id, Direction::Original),
            Err(DropReason::NoLease) => self.begin_search(t, frame, p, offer),
            Err(reason) => match self.instead(offer) {
                Some(offer) => self.open_for(t, frame, p, offer),
                None => self.unopened(t, frame, p, reason),
            },
        }
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
        self.sender = if has_track { self.conns.track_mut(id).take_sent_by() } else { None };
        let result = exchange(self, t);
        // A search has begun there already.
        if let Some(from) = self.sender.take() {
            match self.conns.find(self.conns.hash(tuple), tuple) {
                Some((id, _)) if self.conns.get(id).forward() == Forward::FullNat => {
                    self.conns.track_mut(id).set_sent_by(from as u16);
                }
                _ => self.ended(t, from, tuple),
            }
        }
        result
    }

    /// No port toward the dest here: the workers are asked in turn, beginning with the one that the
    /// client's packets arrive at.
    pub(super) fn begin_search<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        offer: Offer,
    ) {
        let sender = self.sender.take().filter(|worker| *worker != self.worker);
        let from = sender.unwrap_or(self.worker) as u16;
        // The workers from the sender to this one had entries of the conn that was here.
        let seek = Seek { offer, from, again: sender.is_some() };
        match sender {
            None => self.pass_on(t, frame, p, seek),
            Some(worker) => {
                self.unnumber(&mut frame, p);
                let handed = Handed { port: t.port, frame, visited: 1, seeks: Some(seek) };
                t.out.hand_over(worker, handed, t.stats);
            }
        }
    }

    /// A packet that opens a conn, from a worker without a port toward its dest: opened here if
    /// there is a port, else passed on.
    pub(super) fn seek<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        seek: Seek,
    ) {
        let first = match p.kind {
            Kind::Fragment => parse_first(frame.data(), p),
            _ => Ok(*p),
        };
        let first = match first {
            Ok(first) => first,
            Err(reason) => return t.stats.drop(reason),
        };
        if p.kind == Kind::Fragment {
            self.number(t, &mut frame, p, &first.tuple);
        }
        let p = &first;
        let hash = self.conns.hash(&p.tuple);
        if let Some((id, way)) = self.conns.find(hash, &p.tuple) {
            if self.conns.get(id).elsewhere().is_none() {
                return self.odd(t, frame, p, (id, way), SETTLED);
            }
            // Of a round before, or of a conn whose end was not heard of.
            self.close(t, id);
        }
        let (from, beyond) = (usize::from(seek.from), (self.worker + 1) % self.workers);
        let opened = match t.snap.taker(&p.tuple) {
            Some(service) => self.open_to(t, frame.data(), p, service, seek.offer),
            None => Err(DropReason::ClosedPort),
        };
        match opened {
            Ok(id) => {
                if from != self.worker {
                    self.conns.track_mut(id).set_sent_by(seek.from);
                }
                if seek.again {
                    self.tell_ended(t, beyond, from, &p.tuple);
                }
                self.forward(t, frame, p, id, Direction::Original);
            }
            Err(DropReason::NoLease) => self.pass_on(t, frame, p, seek),
            Err(reason) => {
                self.ended(t, beyond, &p.tuple);
                self.unopened(t, frame, p, reason);
            }
        }
    }

    /// No port toward the dest here: the next worker may have one, or after all have been asked, a
    /// conn that lends one, or at last a port toward the dest that the conn had before. Until it
    /// says that the conn has ended, this one knows where to send the client's packets.
    fn pass_on<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        mut seek: Seek,
    ) {
        let next = (self.worker + 1) % self.workers;
        if next == usize::from(seek.from) {
            if !seek.offer.may_lend {
                seek.offer.may_lend = true;
            } else if let Some(offer) = self.instead(seek.offer) {
                seek.offer = offer;
            } else {
                self.ended(t, next, &p.tuple);
                if let Some(service) = t.snap.taker(&p.tuple) {
                    self.count_exhausted(t, service, seek.offer.dest, p);
                }
                return self.unopened(t, frame, p, DropReason::NoLease);
            }
            if next == self.worker {
                return self.open_for(t, frame, p, seek.offer);
            }
            seek.again = true;
        } else {
            let expires = t.stamp.after(t.snap.timeouts.of(State::Established));
            if self.conns.open_elsewhere(&p.tuple, next, expires).is_err() {
                self.ended(t, next, &p.tuple);
                return self.unopened(t, frame, p, DropReason::TableFull);
            }
            self.count(t);
        }
        self.unnumber(&mut frame, p);
        let handed = Handed { port: t.port, frame, visited: 1, seeks: Some(seek) };
        t.out.hand_over(next, handed, t.stats);
    }

    /// Hands a frame over to the worker that this entry names. Where entries send it in a circle
    /// (what would have ended one of them was lost), the entry is forgotten and the frame comes
    /// back, to be treated as if there had been none.
    pub(super) fn send_elsewhere<P>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        (entry, worker): (ConnId, usize),
        visited: u16,
    ) -> Option<F> {
        // Once round before the first entry, and once by all entries that can make a way.
        if usize::from(visited & !SETTLED) > 2 * self.workers {
            self.close(t, entry);
            return Some(frame);
        }
        let handed = Handed { port: t.port, frame, visited: visited + 1, seeks: None };
        t.out.hand_over(worker, handed, t.stats);
        None
    }

    /// Tells all workers from `from` to the one before this that a conn is not here (any more).
    pub(super) fn ended<P>(&mut self, t: &mut Turn<'_, F, P>, from: usize, tuple: &Tuple) {
        self.tell_ended(t, from, self.worker, tuple);
    }

    /// Tells all workers from `from` to the one before `to` that their entries lead nowhere.
    fn tell_ended<P>(&self, t: &mut Turn<'_, F, P>, from: usize, to: usize, tuple: &Tuple) {
        let mut worker = from;
        while worker != to {
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
