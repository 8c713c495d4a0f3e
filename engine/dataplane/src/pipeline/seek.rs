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
use super::open::Opened;
use super::outbox::Offer;
use super::outbox::Search;
use super::pieces::SETTLED;
use super::pieces::is_later;
use crate::conn::ConnId;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::parse::Kind;
use crate::parse::Parsed;
use crate::parse::parse_first;
use crate::service::Dest;
use crate::service::DestId;
use crate::service::Forward;
use crate::service::Service;
use crate::snapshot::Snapshot;
use crate::steer::of_client;
use crate::tuple::Tuple;
use crate::verdict::DropReason;

impl<F: Frame> Core<F> {
    /// A first offer to a dest. A worker alone has nobody to ask before it lends a port.
    pub(super) fn offer(&self, dest: DestId) -> Offer {
        let may_lend = self.workers == 1;
        Offer { dest, link: None, tries: 0, may_lend, before: None }
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
        let opened = match self.open_to(t, frame.data(), p, service, &offer) {
            Ok(id) => Ok(Opened::Here(id)),
            Err(DropReason::NoLease) if may_go(t.snap, service, offer.dest) => {
                Ok(Opened::NoPort(offer))
            }
            Err(reason) => match self.instead(offer) {
                Some(offer) => return self.open_for(t, frame, p, offer),
                None => Err(reason),
            },
        };
        self.opened(t, frame, p, service, opened);
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
        self.settle_sender(t, tuple);
        result
    }

    /// The worker that sent an exchanged conn here sends the new one's packets, too, or hears of the
    /// end. Where a search has begun, or a template is asked for, that settles it.
    pub(super) fn settle_sender<P>(&mut self, t: &mut Turn<'_, F, P>, tuple: &Tuple) {
        if let Some(from) = self.sender.take() {
            match self.conns.find(self.conns.hash(tuple), tuple) {
                Some((id, _)) if self.conns.get(id).forward() == Forward::FullNat => {
                    self.conns.track_mut(id).set_sent_by(from as u16);
                }
                _ => self.ended(t, from, tuple),
            }
        }
    }

    /// The worker that opens a conn which needs no port, if that is another one: under nat the one
    /// that answers go to. Else, where the conn that was here had a port that its owner had not, that
    /// owner.
    #[inline(always)]
    pub(super) fn home(&self, p: &Parsed, dest: &Dest) -> Option<usize> {
        let home = match dest.forward {
            Forward::FullNat => return None,
            Forward::Nat => of_client(&self.hasher, self.workers, p.tuple.src),
            Forward::Dr | Forward::Tunnel => self.sender?,
        };
        (home != self.worker).then_some(home)
    }

    /// No port toward the dest here: the workers are asked in turn, beginning with the one that the
    /// client's packets arrive at. Or that one has to open it (`home`).
    pub(super) fn begin_search<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        offer: Offer,
    ) {
        let home = t.snap.known_dest(offer.dest).and_then(|dest| self.home(p, dest));
        let sender = self.sender.take().filter(|worker| *worker != self.worker);
        let first = home.or(sender);
        let from = first.unwrap_or(self.worker) as u16;
        // The workers from the sender to this one had entries of the conn that was here.
        let search = Search { offer, from, again: first.is_some() };
        match first {
            None => self.pass_on(t, frame, p, search),
            Some(worker) => {
                self.unnumber(&mut frame, p);
                self.went_on(frame.data(), p, worker);
                let seeks = Some(Seek::Port(search));
                let handed = Handed { port: t.port, frame, visited: 1, seeks };
                t.out.hand_over(worker, handed, t.stats);
            }
        }
    }

    /// A packet that opens a conn, handed over for that.
    pub(super) fn sought<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        seek: Seek,
    ) {
        if let Seek::Template(asker) = seek
            && is_later(frame.data(), p)
        {
            let handed = Handed { port: t.port, frame, visited: SETTLED, seeks: None };
            return t.out.hand_over(asker.worker.into(), handed, t.stats);
        }
        let first = match p.kind {
            Kind::Fragment => parse_first(frame.data(), p),
            // Its port wants another tag by now.
            Kind::Drop(reason) => Err(reason),
            _ => Ok(*p),
        };
        let first = match first {
            Ok(first) => first,
            Err(reason) => return t.stats.drop(reason),
        };
        let to_fullnat = match seek {
            Seek::Template(_) => false,
            Seek::Port(Search { offer, .. }) | Seek::Conn(offer, _) => {
                is_fullnat(t.snap, offer.dest)
            }
        };
        match seek {
            _ if p.kind != Kind::Fragment => {}
            _ if to_fullnat => self.number(t, &mut frame, p, &first.tuple),
            Seek::Port(_) => {
                self.learn(t, frame.data(), p, &first.tuple);
            }
            _ => {}
        }
        match seek {
            Seek::Port(search) => self.seek(t, frame, &first, search),
            Seek::Template(asker) => self.template_sought(t, frame, &first, asker),
            Seek::Conn(offer, asker) => self.dest_found(t, frame, &first, (offer, asker)),
        }
    }

    /// From a worker without a port toward its dest: opened here if there is a port, else passed on.
    fn seek<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        search: Search,
    ) {
        let hash = self.conns.hash(&p.tuple);
        if let Some((id, way)) = self.conns.find(hash, &p.tuple) {
            if self.conns.get(id).elsewhere().is_none() {
                return self.odd(t, frame, p, (id, way), SETTLED);
            }
            // Of a round before, or of a conn whose end was not heard of.
            self.close(t, id);
        }
        let Search { offer, from: sender, again } = search;
        let (from, beyond) = (usize::from(sender), (self.worker + 1) % self.workers);
        let service = t.snap.taker(&p.tuple).ok_or(DropReason::ClosedPort);
        // The owner opens what needs no port.
        let may_open = from == self.worker || is_fullnat(t.snap, offer.dest);
        let opened = service.and_then(|service| match may_open {
            true => Ok((service, self.open_to(t, frame.data(), p, service, &offer)?)),
            false => Err(DropReason::NoDest),
        });
        match opened {
            Ok((service, id)) => {
                if from != self.worker {
                    self.conns.track_mut(id).set_sent_by(sender);
                }
                if again {
                    self.tell_ended(t, beyond, from, &p.tuple);
                }
                self.opened(t, frame, p, service, Ok(Opened::Here(id)));
            }
            Err(DropReason::NoLease) => self.pass_on(t, frame, p, search),
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
        mut search: Search,
    ) {
        let next = (self.worker + 1) % self.workers;
        if next == usize::from(search.from) {
            if !search.offer.may_lend {
                search.offer.may_lend = true;
            } else if let Some(offer) = self.instead(search.offer) {
                search.offer = offer;
            } else {
                self.ended(t, next, &p.tuple);
                if let Some(service) = t.snap.taker(&p.tuple) {
                    self.count_exhausted(t, service, search.offer.dest, p);
                }
                return self.unopened(t, frame, p, DropReason::NoLease);
            }
            if next == self.worker {
                return self.open_for(t, frame, p, search.offer);
            }
            search.again = true;
        } else {
            let expires = t.stamp.after(t.snap.lookup.longest());
            if self.conns.open_elsewhere(&p.tuple, next, expires).is_err() {
                self.ended(t, next, &p.tuple);
                return self.unopened(t, frame, p, DropReason::TableFull);
            }
            self.count(t);
        }
        self.unnumber(&mut frame, p);
        if search.again {
            // Where no entry says so.
            self.went_on(frame.data(), p, next);
        }
        let seeks = Some(Seek::Port(search));
        let handed = Handed { port: t.port, frame, visited: 1, seeks };
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
    #[cold]
    #[inline(never)]
    pub(super) fn tell_ended<P>(
        &self,
        t: &mut Turn<'_, F, P>,
        from: usize,
        to: usize,
        tuple: &Tuple,
    ) {
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

/// Whether another worker may open a service's conn to a dest. What an FTP client announces is looked
/// for at its own worker, so that no other one's port is of use.
pub(super) fn may_go(snap: &Snapshot, service: &Service, dest: DestId) -> bool {
    !service.terms.ftp || !is_fullnat(snap, dest)
}

/// Whether the dest is one under full-NAT here, too: where another snapshot is in force it may be
/// none.
fn is_fullnat(snap: &Snapshot, dest: DestId) -> bool {
    snap.known_dest(dest).is_some_and(|dest| dest.forward == Forward::FullNat)
}
