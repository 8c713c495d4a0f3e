//! Step 5, cold: a tuple that is not in this worker's table.

use super::Core;
use super::Handed;
use super::Turn;
use crate::conn::ConnId;
use crate::conn::Direction;
use crate::conn::Ends;
use crate::conn::Opening;
use crate::conn::State;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::parse::Parsed;
use crate::sched;
use crate::sched::Ask;
use crate::service::Closed;
use crate::service::DestId;
use crate::service::Forward;
use crate::service::Service;
use crate::snapshot::Snapshot;
use crate::steer::Owner;
use crate::steer::steer;
use crate::tuple::Proto;
use crate::verdict::Answer;
use crate::verdict::DropReason;
use crate::wire::tcp;
use arrayvec::ArrayVec;

/// How many dests a SYN is offered whose reply tuples are taken.
const MAX_TRIES: usize = 8;

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
        if self.workers > 1 && visited == 0 {
            match steer(t.snap, &self.hasher, self.workers, t.port, &p.tuple) {
                Owner::Worker(w) if w != self.worker => {
                    let handed = Handed { port: t.port, frame, visited: 1 };
                    return t.out.hand_over(w, handed, t.stats);
                }
                _ => {}
            }
        }
        if t.snap.locals.contains_key(&p.tuple.src) {
            return t.stats.drop(DropReason::Martian);
        }
        let Some(service) = t.snap.service(p.tuple.proto, p.tuple.dst, p.tuple.dport) else {
            return self.unclaimed(t, frame, p, DropReason::ClosedPort);
        };
        let opens = p.tuple.proto == Proto::Udp || p.flags & (tcp::SYN | tcp::RST) == tcp::SYN;
        if !opens {
            return self.unclaimed(t, frame, p, DropReason::NotSyn);
        }
        match self.open(t, p, service) {
            Ok(id) => self.forward(t, frame, p, id, Direction::Original),
            Err(DropReason::NoDest) => {
                let answer = match t.snap.closed(p.tuple.dst) {
                    Closed::Reject => Answer::PortUnreachable,
                    Closed::Drop => Answer::Silence,
                };
                self.refuse(t, frame, p, DropReason::NoDest, answer);
            }
            Err(reason) => t.stats.drop(reason),
        }
    }

    /// Picks a dest and opens the conn.
    fn open<P>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        p: &Parsed,
        service: &Service,
    ) -> Result<ConnId, DropReason> {
        let mut barred = ArrayVec::<DestId, MAX_TRIES>::new();
        loop {
            let ask = Ask { tuple: &p.tuple, loads: t.loads, barred: &barred };
            let position = &mut self.positions[service.id.0 as usize];
            let Some(dest) = sched::pick(service, position, &ask) else {
                return Err(if barred.is_empty() {
                    DropReason::NoDest
                } else {
                    DropReason::ReplyClash
                });
            };
            match self.open_to(t, p, service, dest) {
                Err(DropReason::ReplyClash) if !barred.is_full() => barred.push(dest),
                result => return result,
            }
        }
    }

    fn open_to<P>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        p: &Parsed,
        service: &Service,
        id: DestId,
    ) -> Result<ConnId, DropReason> {
        let dest = t.snap.dest(id);
        let tuple = &p.tuple;
        let (mut laddr, mut lport) = (tuple.src, tuple.sport);
        if dest.forward == Forward::FullNat {
            let pool = service.pool.ok_or(DropReason::NoLease)?;
            let laddrs = t.snap.pools[pool].of(dest.addr.family());
            self.turn = self.turn.wrapping_add(1);
            (laddr, lport) = self
                .leases
                .lease(tuple.proto, laddrs, self.turn, dest.addr, dest.port)
                .ok_or(DropReason::NoLease)?;
        }
        let ends = Ends {
            proto: tuple.proto,
            caddr: tuple.src,
            cport: tuple.sport,
            vaddr: tuple.dst,
            vport: tuple.dport,
            laddr,
            lport,
            daddr: dest.addr,
            dport: dest.port,
        };
        if dest.forward == Forward::Nat {
            self.make_way(t, &ends)?;
        }
        let opening = Opening { ends, dest: id, forward: dest.forward, service: service.id };
        let expires = t.stamp.after(t.snap.timeouts.of(State::None));
        let Ok(conn) = self.conns.open(&opening, expires) else {
            if dest.forward == Forward::FullNat {
                self.leases.give_back(ends.proto, laddr, lport, dest.addr, dest.port);
            }
            return Err(DropReason::TableFull);
        };
        let stats = &t.dests[id.0 as usize];
        stats.conns.add(1);
        stats.inactive.add(1);
        t.stats.opened.add(1);
        self.count(t);
        Ok(conn)
    }

    /// Under nat the reply tuple (dest, client) must be free: two conns of one client port to two
    /// VIPs must not meet at one dest. One whose time is up makes way.
    fn make_way<P>(&mut self, t: &mut Turn<'_, F, P>, ends: &Ends) -> Result<(), DropReason> {
        let reply = ends.reply();
        let Some((other, _)) = self.conns.find(self.conns.hash(&reply), &reply) else {
            return Ok(());
        };
        if !self.conns.get(other).expires().is_due(t.stamp) {
            return Err(DropReason::ReplyClash);
        }
        self.close(t, other);
        Ok(())
    }

    /// Ends a conn: its counts, its lease, its place.
    #[cold]
    pub(super) fn close<P>(&mut self, t: &mut Turn<'_, F, P>, id: ConnId) {
        let conn = self.conns.get(id);
        let stats = &t.dests[conn.dest().0 as usize];
        if conn.is_inactive() { &stats.inactive } else { &stats.active }.sub(1);
        if conn.forward() == Forward::FullNat {
            let e = self.conns.ends(id);
            self.leases.give_back(e.proto, e.laddr, e.lport, e.daddr, e.dport);
        }
        self.conns.close(id);
        self.count(t);
    }

    fn count<P>(&self, t: &Turn<'_, F, P>) {
        t.stats.conns.set(self.conns.len() as u64);
        t.stats.leases.set(self.leases.held() as u64);
    }

    /// Schedulers take up what changed between two snapshots.
    pub(super) fn follow(&mut self, old: Option<&Snapshot>, new: &Snapshot) {
        let highest = new.services.iter().map(|s| s.id.0 as usize + 1).max().unwrap_or(0);
        if self.positions.len() < highest {
            self.positions.resize_with(highest, Default::default);
        }
        for service in &new.services {
            let before = old.and_then(|o| o.services.iter().find(|s| s.id == service.id));
            let position = &mut self.positions[service.id.0 as usize];
            position.follow(before, service, (self.worker, self.workers));
        }
    }
}
