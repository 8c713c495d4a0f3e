//! Cold: conns whose dest was removed or is dead, and conns that were silent for too long, as their
//! services want it (`Traits::on_dead`, `Traits::on_idle`); and the walk that finds those whose
//! client is denied by now (`denied`).
//!
//! The packet path does not ask whether a dest is dead. While there is such a dest, housekeeping
//! walks the table, a bounded number of lines at a time: it resets conns, or marks them, and marked
//! conns are `odd`.

use super::Core;
use super::Turn;
use crate::conn::ConnId;
use crate::conn::Direction;
use crate::conn::State;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::neigh::HopState;
use crate::parse::Parsed;
use crate::sched;
use crate::sched::Ask;
use crate::service::Dest;
use crate::service::DestId;
use crate::service::Forward;
use crate::service::OnDead;
use crate::service::OnIdle;
use crate::snapshot::Snapshot;
use crate::tick::Stamp;
use crate::verdict::Answer;
use crate::verdict::DropReason;
use crate::verdict::Made;
use crate::wire::ethernet;
use crate::wire::tcp;
use crate::xmit::reset;
use arrayvec::ArrayVec;
use std::sync::Arc;

/// Milliseconds between two looks at the dests.
const LOOK: u32 = 100;
/// Milliseconds between two walks for conns of the same dests: some are left to a second choice at
/// first, some open meanwhile.
const AGAIN: u32 = 1000;
/// Lines looked at per call at most: about 20 us.
const MAX_WALKED: u32 = 4096;
/// Lines that could be looked at while a conn's access lists are asked.
const ASKING: u32 = 16;
/// Dests that a datagram is not given to because they are dead themselves.
const MAX_DEAD: usize = 8;

/// What remains from call to call.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// By dest: whether it was removed or dead when last looked at. Only of those that
    /// `Lookup::strict` lists.
    condemned: Vec<bool>,
    /// The snapshot is a new one.
    fresh: bool,
    /// Its access lists are, which are asked of every conn in the walk to come or under way.
    asks: bool,
    next_look: Stamp,
    next_walk: Stamp,
    /// Where the walk goes on.
    cursor: u32,
    /// Lines it has yet to look at.
    left: u32,
}

impl Watch {
    pub(super) fn follow(&mut self, old: Option<&Snapshot>, new: &Snapshot) {
        self.fresh = true;
        self.asks |= old.is_some_and(|old| !Arc::ptr_eq(&old.access, &new.access));
        if self.condemned.len() < new.dests.len() {
            self.condemned.resize(new.dests.len(), false);
        }
    }
}

/// Whether a dest was removed or is dead.
fn is_condemned<F, P>(t: &Turn<'_, F, P>, dest: &Dest) -> bool {
    dest.is_gone() || dest.dead || t.neighbours.get(dest.hop).1 == HopState::Dead
}

/// Whether a condemned dest's conns end with their next packet, which may begin another one.
fn expires_now<F, P>(t: &Turn<'_, F, P>, dest: &Dest) -> bool {
    dest.is_gone() && t.snap.ipvs.expire_nodest_conn
}

impl<F: Frame> Core<F> {
    /// Looks for dests that were removed or died, and for access lists that are new, and sees to
    /// their conns.
    #[inline]
    pub(super) fn watch_conns<P: Pool<Frame = F>>(&mut self, t: &mut Turn<'_, F, P>) {
        if t.snap.lookup.strict().is_empty() && !self.watch.asks {
            return;
        }
        if self.watch.fresh || self.watch.next_look.is_due(t.stamp) {
            self.look(t);
        }
        if self.watch.left > 0 {
            self.walk(t);
        }
        self.watch.asks &= self.watch.left > 0;
    }

    #[cold]
    fn look<P>(&mut self, t: &Turn<'_, F, P>) {
        let watch = &mut self.watch;
        let fresh = core::mem::replace(&mut watch.fresh, false);
        watch.next_look = t.stamp.after(LOOK);
        let (mut more, mut any) = (false, false);
        for id in t.snap.lookup.strict() {
            let n = id.0 as usize;
            let condemned = is_condemned(t, t.snap.dest(*id));
            more |= condemned && !watch.condemned[n];
            watch.condemned[n] = condemned;
            any |= condemned && t.dests[n].active.get() + t.dests[n].inactive.get() > 0;
        }
        let asks = fresh && watch.asks;
        if asks {
            // Lines that come meanwhile are the last ones: so those there are now are all met.
            watch.cursor = 0;
        }
        if asks || more || any && (fresh || watch.next_walk.is_due(t.stamp)) {
            watch.left = self.conns.sweep_len() as u32;
            watch.next_walk = t.stamp.after(AGAIN);
        }
    }

    #[cold]
    fn walk<P: Pool<Frame = F>>(&mut self, t: &mut Turn<'_, F, P>) {
        let mut looks = 0;
        while self.watch.left > 0 && looks < MAX_WALKED {
            if self.watch.cursor as usize >= self.conns.sweep_len() {
                self.watch.cursor = 0;
            }
            let conn = self.conns.at(self.watch.cursor);
            looks += if self.watch.asks && conn.is_some() { ASKING } else { 1 };
            let done = conn.is_none_or(|id| self.judge(t, id));
            // No room for resets: the next call goes on with the same conn.
            if !done {
                return;
            }
            self.watch.cursor += 1;
            self.watch.left -= 1;
        }
    }

    /// Does to a conn what its service wants if its dest is condemned, and ends it if its client is
    /// denied. False where that takes room that is not there now.
    fn judge<P: Pool<Frame = F>>(&mut self, t: &mut Turn<'_, F, P>, id: ConnId) -> bool {
        let conn = self.conns.get(id);
        if conn.elsewhere().is_some() || conn.is_lent() || conn.was_reset() {
            return true;
        }
        if self.watch.asks && self.is_denied(t, id) {
            return self.end_denied(t, id);
        }
        let (dest, is_tcp, state) = (conn.dest(), conn.is_tcp(), conn.state());
        let is_stateless = conn.is_stateless();
        let on_dead = t.snap.dest(dest).traits.on_dead;
        let gone = conn.expires().is_due(t.stamp);
        if on_dead == OnDead::Keep || gone || !self.watch.condemned[dest.0 as usize] {
            return true;
        }
        // The client's next SYN finds it a better one.
        if conn.forward().sees_replies() && self.may_try_another(t, id) {
            return true;
        }
        match on_dead {
            OnDead::Reset if is_tcp && !matches!(state, State::TimeWait | State::Close) => {
                return self.reset(t, id);
            }
            // Nobody waits for its next packet (`ip_vs_expire_nodest_conn_flush`).
            OnDead::Drop if expires_now(t, t.snap.dest(dest)) => self.close(t, id),
            OnDead::Drop => self.conns.get_mut(id).set_condemned(true),
            OnDead::Reselect if is_stateless => self.conns.get_mut(id).set_condemned(true),
            _ => {}
        }
        true
    }

    /// Resets a TCP conn at both ends. False where that takes room that is not there now.
    pub(super) fn reset<P: Pool<Frame = F>>(&mut self, t: &mut Turn<'_, F, P>, id: ConnId) -> bool {
        if self.conns.get(id).is_awaited() {
            // Nobody has begun it.
            self.close(t, id);
            return true;
        }
        if t.out.is_crowded() || !self.reset_ends(t, id) {
            return false;
        }
        self.conns.get_mut(id).set_reset(t.stamp, &t.snap.timeouts);
        self.end_introduction(id);
        self.state_changed(t, id);
        true
    }

    /// A packet of a conn that was reset, or whose dest was condemned when last looked at.
    pub(super) fn condemned<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        (id, way): (ConnId, Direction),
        visited: u16,
    ) {
        let conn = self.conns.get_mut(id);
        if conn.was_reset() {
            // A reset that was not exactly in order gets a challenge (RFC 5961 section 3.2), whose
            // number is the right one; and an end may have missed it. Where answers do not pass
            // the director, the client gets the dest's challenge, and its reset goes to the dest.
            if p.flags & tcp::RST != 0 {
                return self.forward(t, frame, p, id, way);
            }
            return self.refuse(t, frame, p, DropReason::ConnReset, Answer::Reset);
        }
        let dest = t.snap.dest(conn.dest());
        let on_dead = dest.traits.on_dead;
        if !matches!(on_dead, OnDead::Drop | OnDead::Reselect) || !is_condemned(t, dest) {
            conn.set_condemned(false);
            return self.odd(t, frame, p, (id, way), visited);
        }
        match (on_dead, way) {
            // As the kernel does: what the dest may still have to say passes.
            (_, Direction::Reply) => self.forward(t, frame, p, id, way),
            (OnDead::Drop, _) if expires_now(t, dest) => {
                self.keep_sender(t, id, &p.tuple, |core, t| {
                    core.close(t, id);
                    core.miss(t, frame, p, visited);
                });
            }
            (OnDead::Drop, _) => t.stats.drop(DropReason::DeadDest),
            _ => self.reselect(t, frame, p, id, visited),
        }
    }

    /// A client's datagram whose dest is gone: its conn ends, and it opens another one.
    fn reselect<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        id: ConnId,
        visited: u16,
    ) {
        let from = self.conns.get(id).dest();
        // Where a service still lists it, the scheduler would perhaps pick it again.
        let other = if t.snap.dest(from).is_gone() { None } else { self.living(t, p, from) };
        match other {
            Some(dest) => self.keep_sender(t, id, &p.tuple, |core, t| {
                core.close(t, id);
                core.open_for(t, frame, p, core.offer(dest));
            }),
            None if t.snap.dest(from).is_gone() => self.keep_sender(t, id, &p.tuple, |core, t| {
                core.close(t, id);
                core.miss(t, frame, p, visited);
            }),
            // It may come back.
            None => self.forward(t, frame, p, id, Direction::Original),
        }
    }

    /// Another dest of the packet's service that is not dead, if there is one.
    fn living<P>(&mut self, t: &Turn<'_, F, P>, p: &Parsed, from: DestId) -> Option<DestId> {
        let service = t.snap.service(&p.tuple)?;
        let position = &mut self.positions[service.id.0 as usize];
        let mut barred = ArrayVec::<DestId, MAX_DEAD>::new();
        barred.push(from);
        loop {
            let now = t.stamp;
            let ask = Ask { tuple: &p.tuple, loads: t.loads, barred: &barred, now };
            let dest = sched::pick(service, position, &ask)?;
            if !is_condemned(t, t.snap.dest(dest)) {
                return Some(dest);
            }
            barred.try_push(dest).ok()?;
        }
    }

    /// A conn's time is up: it ends, and where its service wants that, both its ends are told.
    pub(super) fn run_out<P: Pool<Frame = F>>(&mut self, t: &mut Turn<'_, F, P>, id: ConnId) {
        if self.runs_out(t, id) {
            self.close(t, id);
        }
    }

    /// The same up to its end, if that has come.
    #[inline(always)]
    pub(super) fn runs_out<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        id: ConnId,
    ) -> bool {
        if !self.has_ended(t, id) {
            return false;
        }
        let conn = self.conns.get(id);
        let established = conn.is_tcp() && conn.state() == State::Established;
        if established && conn.elsewhere().is_none() && !conn.is_lent() {
            let on_idle = t.snap.dest(conn.dest()).traits.on_idle;
            if on_idle == OnIdle::Reset && !t.out.is_crowded() {
                // Without a frame it is forgotten.
                self.reset_ends(t, id);
            }
        }
        true
    }

    /// Sends each end a reset in the other's name. Without frames nothing happens, and false.
    fn reset_ends<P: Pool<Frame = F>>(&mut self, t: &mut Turn<'_, F, P>, id: ConnId) -> bool {
        let (Some(to_client), Some(to_dest)) = (t.pool.alloc(), t.pool.alloc()) else {
            return false;
        };
        self.reset_client(t, to_client, id);
        self.reset_dest(t, to_dest, id);
        true
    }

    fn reset_client<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        id: ConnId,
    ) {
        let conn = self.conns.get(id);
        let tuple = self.conns.ends(id).original().reversed();
        // A client that waits for an answer to its SYN goes by the acknowledgement (RFC 9293
        // section 3.10.7.3), any other one by the sequence number.
        let flags = tcp::RST | tcp::ACK_BIT;
        let seq = conn.ack().wrapping_add(self.said_shift(id));
        if !reset::make(&mut frame, ethernet::LEN, &tuple, seq, conn.seq(), flags) {
            return;
        }
        t.stats.made[Made::ConnReset as usize].add(1);
        self.send_back(t, frame, ethernet::LEN, id);
    }

    fn reset_dest<P: Pool<Frame = F>>(&mut self, t: &mut Turn<'_, F, P>, mut frame: F, id: ConnId) {
        let conn = self.conns.get(id);
        let dest = t.snap.dest(conn.dest());
        if t.neighbours.get(dest.hop).1 == HopState::Dead {
            return;
        }
        let ends = self.conns.ends(id);
        // Where the dest holds the VIP it knows the client's own tuple.
        let tuple =
            if conn.forward().sees_replies() { ends.reply().reversed() } else { ends.original() };
        let shift = if conn.shifts() { self.conns.track(id).seq_shift } else { 0 };
        let seq = conn.seq().wrapping_add(shift);
        if !reset::make(&mut frame, ethernet::LEN, &tuple, seq, 0, tcp::RST) {
            return;
        }
        t.stats.made[Made::ConnReset as usize].add(1);
        if conn.forward() == Forward::Tunnel {
            let p = reset::parsed(&frame, ethernet::LEN, &tuple);
            if !self.encapsulate(&mut frame, &p, id, dest) {
                return t.stats.drop(DropReason::NoHeadroom);
            }
        }
        self.emit_fitting(t, frame, ethernet::LEN, dest.hop);
    }
}
