//! Cold: conns that are not simply followed.

use super::Core;
use super::Turn;
use super::outbox::Offer;
use super::pieces::SETTLED;
use crate::conn::ConnId;
use crate::conn::Conns;
use crate::conn::Direction;
use crate::conn::chain;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::laddr::Last;
use crate::laddr::PairId;
use crate::parse::Parsed;
use crate::sched;
use crate::sched::Ask;
use crate::service::Service;
use crate::service::Target;
use crate::verdict::DropReason;
use crate::wire::ethernet;
use crate::wire::tcp;
use crate::xmit::segment;

/// Conns that would lend their ports are linked through their tracks.
const LENDERS: chain::At<Conns> = |conns, id| &mut conns.track_mut(ConnId(id)).links;

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
        let ipvs = &t.snap.ipvs;
        let quiesced = || conn.elsewhere().is_none() && t.snap.dest(conn.dest()).weight == 0;
        // A SYN starts the tuple of an ended conn afresh.
        let ended = conn.is_lent()
            || conn.begins_anew(ipvs.conn_reuse_mode)
            || opens && ipvs.expire_nodest_conn && quiesced();
        let due = conn.expires().is_due(t.stamp) && self.has_ended(t, id);
        let conn = self.conns.get(id);
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
            let expires = t.stamp.after(t.snap.lookup.longest());
            self.conns.get_mut(id).set_expires(expires);
            let Some(mut frame) = self.send_elsewhere(t, frame, (id, worker), visited) else {
                return;
            };
            if visited & SETTLED != 0 {
                self.number(t, &mut frame, p, &p.tuple);
            }
            return self.miss(t, frame, p, visited);
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
                if let Some(offer) = self.another_dest(t, p, id) {
                    return self.keep_sender(t, id, &p.tuple, |core, t| {
                        core.close(t, id);
                        core.open_for(t, frame, p, offer);
                    });
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

    /// Another dest for a conn's SYN than the one it has; None where there is no other, and the
    /// conn stays.
    fn another_dest<P>(&mut self, t: &Turn<'_, F, P>, p: &Parsed, id: ConnId) -> Option<Offer> {
        if !self.may_try_another(t, id) {
            return None;
        }
        let service = t.snap.taker(&p.tuple)?;
        let (from, tries) = (self.conns.get(id).dest(), self.conns.get(id).tries());
        let ask = Ask { tuple: &p.tuple, loads: t.loads, barred: &[from], now: t.stamp };
        let position = &mut self.positions[service.id.0 as usize];
        let dest = sched::pick(service, position, &ask)?;
        t.dests[from.0 as usize].passed_over.add(1);
        Some(Offer { tries: tries + 1, before: Some(from), ..self.offer(dest) })
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
        let conn = self.conns.get(id);
        if conn.is_controlled() && conn.state().is_established() {
            t.controls.assure(self.worker, self.conns.link(id));
        }
        if conn.state().would_lend() != conn.is_listed() && conn.has_lease() {
            match conn.is_listed() {
                false => self.enlist(id, t),
                true => self.delist(id),
            }
        }
    }

    /// Joins its pair's list of conns that would lend their port, as the newest.
    fn enlist<P>(&mut self, id: ConnId, t: &Turn<'_, F, P>) {
        self.conns.get_mut(id).set_listed(true);
        let track = self.conns.track_mut(id);
        track.since = t.stamp.0;
        let pair = PairId(track.pair);
        self.leases.lenders(pair).join(&mut self.conns, LENDERS, id.0);
    }

    /// Leaves that list.
    #[inline(always)]
    pub(super) fn delist(&mut self, id: ConnId) {
        let pair = PairId(self.conns.track(id).pair);
        self.conns.get_mut(id).set_listed(false);
        self.leases.lenders(pair).leave(&mut self.conns, LENDERS, id.0);
    }

    /// What the dest saw last of a conn, for the next one on its tuple.
    #[inline(always)]
    pub(super) fn last(&self, id: ConnId) -> Last {
        let (conn, track) = (self.conns.get(id), self.conns.track(id));
        if !conn.is_tcp() {
            return Last::NOTHING;
        }
        let seq = conn.seq().wrapping_add(track.seq_shift);
        Last::new(seq, track.has_ts().then_some(track.tsval))
    }
}
