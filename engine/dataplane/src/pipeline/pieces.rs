//! Cold: fragments. Gathered by the worker that the hash of the datagram names, followed by the
//! owner of its conn (see `fragments`).

use super::Core;
use super::Handed;
use super::Seek;
use super::Turn;
use super::outbox::Asker;
use super::sctp;
use super::snat;
use crate::conn::ConnId;
use crate::conn::Direction;
use crate::fragments::Key;
use crate::fragments::Known;
use crate::fragments::Piece;
use crate::fragments::Step;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::parse::Kind;
use crate::parse::Parsed;
use crate::parse::parse;
use crate::parse::parse_first;
use crate::service::Forward;
use crate::steer::Owner;
use crate::tuple::Family;
use crate::tuple::Proto;
use crate::tuple::Tuple;
use crate::verdict::DropReason;
use crate::wire::get16;
use crate::wire::get32;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::xmit::cross::Header;
use crate::xmit::proxy;
use crate::xmit::rewrite;

/// `Handed::visited` of a fragment that goes to the gathering worker.
const TO_GATHER: u16 = 1;
/// And of one that has been gathered, at the first worker asked whether it owns the conn.
const GATHERED: u16 = 2;
/// And of one whose owner is known; with it, further workers count on.
pub(super) const SETTLED: u16 = 1 << 15;

/// Milliseconds that the fragments of a conn's last datagram may take to follow the first.
const REST_OF_REPLY: u32 = 2000;

impl<F: Frame> Core<F> {
    /// A fragment of TCP, UDP or an echo.
    #[cold]
    #[inline(never)]
    pub(super) fn piece<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        visited: u16,
    ) {
        if t.snap.is_transit(p.tuple.src, p.tuple.dst) {
            return self.route(t, frame, p);
        }
        let (key, piece) = match read(frame.data(), p) {
            Ok(read) => read,
            Err(reason) => return t.stats.drop(reason),
        };
        if visited >= GATHERED {
            return self.follow_piece(t, frame, p, (key, piece), visited);
        }
        let gatherer = self.gatherer(&key);
        if gatherer != self.worker {
            let handed = Handed { port: t.port, frame, visited: TO_GATHER, seeks: None };
            return t.out.hand_over(gatherer, handed, t.stats);
        }
        match self.fragments.arrive(key, piece, t.stamp) {
            Err(reason) => t.stats.drop(reason),
            Ok(Step::To(owner)) => self.give_to_owner(t, frame, p, (key, piece), owner),
            Ok(Step::Hold) => {
                if self.fragments.hold(key, (t.port, frame)).is_some() {
                    t.stats.drop(DropReason::FragmentFlood);
                }
                self.count_held(t);
            }
            Ok(Step::First) => self.first_piece(t, frame, p, (key, piece)),
        }
    }

    /// The first fragment has come: it names the owner, and those held follow it.
    fn first_piece<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        (key, piece): (Key, Piece),
    ) {
        let first = match parse_first(frame.data(), p) {
            // Who answers an echo has to put it together first.
            Ok(first) if first.kind == Kind::Echo && t.snap.locals.contains_key(&p.tuple.dst) => {
                Err(DropReason::Protocol)
            }
            first => first,
        };
        let first = match first {
            Ok(first) => first,
            Err(reason) => {
                self.fragments.condemn(key);
                return t.stats.drop(reason);
            }
        };
        let owner = match self.owner(t, &first.tuple) {
            Owner::Worker(worker) => worker,
            // Nobody knows: it goes round, beginning here.
            Owner::Arrival | Owner::Nobody => self.worker,
        };
        self.fragments.named(key, owner);
        self.give_to_owner(t, frame, p, (key, piece), owner);
        let came_by = t.port;
        while let Some((port, held)) = self.fragments.release(&key) {
            t.port = port;
            self.released(t, held, owner);
        }
        t.port = came_by;
        self.count_held(t);
    }

    /// A fragment that was held, by the port it came by; a reload may have changed that one's tag.
    fn released<P: Pool<Frame = F>>(&mut self, t: &mut Turn<'_, F, P>, frame: F, owner: usize) {
        let p = parse(frame.data(), t.snap.port(t.port));
        let read = match p.kind {
            Kind::Fragment => read(frame.data(), &p),
            Kind::Drop(reason) => Err(reason),
            _ => Err(DropReason::Protocol),
        };
        match read {
            Ok(read) => self.give_to_owner(t, frame, &p, read, owner),
            Err(reason) => t.stats.drop(reason),
        }
    }

    fn give_to_owner<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        what: (Key, Piece),
        owner: usize,
    ) {
        if owner == self.worker {
            return self.follow_piece(t, frame, p, what, GATHERED);
        }
        let handed = Handed { port: t.port, frame, visited: GATHERED, seeks: None };
        t.out.hand_over(owner, handed, t.stats);
    }

    /// A gathered fragment at a worker that may own its conn. Where arrival decides about conns it
    /// goes round the workers; rings keep the order, so later ones find what the first one left.
    fn follow_piece<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        (key, piece): (Key, Piece),
        visited: u16,
    ) {
        let first = match (piece.from == 0).then(|| parse_first(frame.data(), p)).transpose() {
            Ok(first) => first,
            Err(reason) => return t.stats.drop(reason),
        };
        let known = if first.is_none() { self.fragments.known(&key) } else { None };
        let tuple = first.map(|first| first.tuple).or(known.map(|known| known.tuple));
        let conn = tuple.and_then(|tuple| self.find_any(t, &tuple));
        let alive = conn.filter(|(id, way)| {
            let conn = self.conns.get(*id);
            let condemned = conn.is_condemned() && *way == Direction::Original;
            let followed = !conn.is_away() && !conn.was_reset() && !condemned;
            !conn.expires().is_due(t.stamp) && (piece.from == 0 || followed)
        });
        let elsewhere = conn.and_then(|(id, _)| Some((id, self.conns.get(id).elsewhere()?)));
        if let Some(entry) = elsewhere.filter(|_| piece.from > 0) {
            if self.send_elsewhere(t, frame, entry, visited | SETTLED).is_some() {
                t.stats.drop(DropReason::FragmentOrphan);
            }
            return;
        }
        if let Some(known) = known.filter(|_| alive.is_none()) {
            match self.after_first(t, frame, &known, visited) {
                Some(back) => frame = back,
                None => return,
            }
        }
        let asked = usize::from(visited - GATHERED) + 1;
        // Where any worker may have the conn, it is the owner's again after all others.
        let strays = t.snap.lookup.any_may_have_it();
        let all = self.workers + usize::from(strays);
        let goes_round = self.workers > 1
            && (strays || tuple.is_none_or(|tuple| self.owner(t, &tuple) == Owner::Arrival));
        match (alive, first) {
            (Some((id, way)), None) => self.later_piece(t, frame, p, key, id, way),
            (None, _) if goes_round && asked < all => {
                if first.is_some() {
                    self.fragments.unlearn(&key);
                }
                let next = (self.worker + 1) % self.workers;
                let handed = Handed { port: t.port, frame, visited: visited + 1, seeks: None };
                t.out.hand_over(next, handed, t.stats);
            }
            (_, Some(first)) => self.leading_piece(t, frame, &first, key, visited | SETTLED),
            (None, None) if tuple.is_some() => {
                self.route_or_drop(t, frame, p, DropReason::FragmentOrphan);
            }
            (None, None) => t.stats.drop(DropReason::FragmentOrphan),
        }
    }

    /// A later fragment without a conn, though the first one was here: it goes where that one went, to
    /// the worker that opens its conn or the one that keeps its client's template. Comes back where
    /// that is nowhere.
    fn after_first<P>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        known: &Known,
        visited: u16,
    ) -> Option<F> {
        let (to, visited, seeks) = match known.next {
            // As `send_elsewhere` does.
            Some(_) if usize::from(visited & !SETTLED) > 2 * self.workers => return Some(frame),
            Some(next) => (next.into(), (visited | SETTLED) + 1, None),
            // It has been there.
            None if visited == SETTLED => return Some(frame),
            None => {
                let Some(keeper) = self.asked_for(t, &known.tuple) else { return Some(frame) };
                let asker = Asker { worker: self.worker as u16, sender: None, asked: 0 };
                (keeper, SETTLED, Some(Seek::Template(asker)))
            }
        };
        let handed = Handed { port: t.port, frame, visited, seeks };
        t.out.hand_over(to, handed, t.stats);
        None
    }

    /// The first fragment takes a flow's way, and may open a conn.
    fn leading_piece<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        key: Key,
        visited: u16,
    ) {
        let known = Known { tuple: p.tuple, id: self.ids.next(p.family), next: None };
        self.fragments.learn(key, known, t.stamp);
        let hash = self.conns.hash(&p.tuple);
        let forward = match self.conns.find(hash, &p.tuple) {
            Some((id, way)) => Some((self.conns.get(id).forward(), way)),
            None => {
                // Where dests have several methods, it is the conn's to say (`number_opened`).
                let service = t.snap.taker(&p.tuple);
                service.and_then(|s| Some((s.methods.only()?, Direction::Original)))
            }
        };
        if forward.is_some_and(|(forward, way)| source_changes(forward, way)) {
            rewrite::set_fragment_id(frame.data_mut(), p, known.id);
        }
        match p.kind {
            Kind::EchoReply => self.echo_reply(t, frame, p, visited),
            _ => self.flow(t, frame, p, self.place(p), visited),
        }
    }

    /// A later fragment of a known datagram: what its conn does to addresses.
    fn later_piece<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        key: Key,
        id: ConnId,
        way: Direction,
    ) {
        let r = self.conns.rewrite(id, way);
        // What its first fragment died of: without it the others are of no use to anyone.
        let rewritten = matches!(self.conns.get(id).forward(), Forward::Nat | Forward::FullNat);
        let first = self.fragments.known(&key).filter(|_| rewritten);
        if first.is_some_and(|first| sctp::is_broken(&first.tuple, &r)) {
            return t.stats.drop(DropReason::SctpFragment);
        }
        let conn = self.conns.get_mut(id);
        let is_martian = way == Direction::Reply && !conn.forward().sees_replies();
        if is_martian {
            t.stats.martian_replies.add(1);
        } else if conn.is_stateless() && !conn.has_replied(t.snap.dest(conn.dest()).traits.replies)
        {
            let timeout = snat::timeout(p.tuple.proto, t.snap.dest(conn.dest()));
            conn.step_udp(way, t.stamp, timeout);
        }
        let (dest_id, forward) = (conn.dest(), conn.forward());
        let (dest, stats) = (t.snap.dest(dest_id), &t.dests[dest_id.0 as usize]);
        let (packets, bytes) = match way {
            Direction::Original => (&stats.in_packets, &stats.in_bytes),
            Direction::Reply => (&stats.out_packets, &stats.out_bytes),
        };
        packets.add(1);
        bytes.add(p.ip_len() as u64);
        let by_route = way == Direction::Reply || self.is_routed(t, id);
        let to = match way {
            Direction::Original => self.way_on(t, id),
            Direction::Reply => self.way_back(t, id),
        };
        let mtu = match (by_route, to) {
            (false, _) => dest.mtu,
            (true, Some(to)) => t.snap.port(to.port()).mtu,
            (true, None) => return t.stats.drop(DropReason::NoRoute),
        };
        if self.conns.get(id).is_crossed() {
            return self.cross_piece(t, frame, p, key, (id, way), mtu);
        }
        let largest = self.largest(t, p, (id, way), mtu);
        let Some(mut frame) = self.check_limits(t, frame, p, largest) else { return };
        if source_changes(forward, way)
            && let Some(known) = self.fragments.known(&key)
        {
            rewrite::set_fragment_id(frame.data_mut(), p, known.id);
        }
        // Its first fragment has got a header.
        let by = self.introduced_by(id, way);
        if by > 0 && !proxy::shift_fragment(frame.data_mut(), p, by) {
            return t.stats.drop(DropReason::TooBig);
        }
        match forward {
            Forward::Nat | Forward::FullNat => rewrite::addresses(frame.data_mut(), p, &r),
            _ if is_martian => rewrite::decrement_ttl(frame.data_mut(), p),
            Forward::Dr | Forward::Tunnel => match self.transform(t, frame, p, id, way) {
                Some(transformed) => frame = transformed,
                None => return,
            },
        }
        match to.filter(|_| by_route) {
            None => self.emit_outer(t, frame, p.l3 as usize, id, dest.hop),
            Some(to) => self.send_by(t, frame, p.l3 as usize, to),
        }
    }

    /// A first fragment, which begins with `tuple`, opens its conn here though there was an entry, or
    /// comes from a worker that has no port for it: it gets the identification that those that
    /// follow will get here.
    pub(super) fn number<P>(
        &mut self,
        t: &Turn<'_, F, P>,
        frame: &mut F,
        p: &Parsed,
        tuple: &Tuple,
    ) {
        if let Some(id) = self.learn(t, frame.data(), p, tuple) {
            rewrite::set_fragment_id(frame.data_mut(), p, id);
        }
    }

    /// The same of one whose conn is of another method than was expected: nothing said beforehand
    /// what becomes of its source, or the conn before did.
    #[cold]
    pub(super) fn number_opened(&self, frame: &mut F, p: &Parsed, id: ConnId) {
        if !source_changes(self.conns.get(id).forward(), Direction::Original) {
            self.unnumber(frame, p);
        } else if Header::of(frame.data(), p).place.is_some()
            && let Ok((key, _)) = read(frame.data(), p)
            && let Some(known) = self.fragments.known(&key)
        {
            rewrite::set_fragment_id(frame.data_mut(), p, known.id);
        }
    }

    /// A first fragment opens its conn here, where it has not been: those that follow find it. Gives
    /// the identification that they will get where the source changes.
    pub(super) fn learn<P>(
        &mut self,
        t: &Turn<'_, F, P>,
        frame: &[u8],
        p: &Parsed,
        tuple: &Tuple,
    ) -> Option<u32> {
        let (key, _) = read(frame, p).ok()?;
        let known = Known { tuple: *tuple, id: self.ids.next(p.family), next: None };
        self.fragments.learn(key, known, t.stamp);
        Some(known.id)
    }

    /// A first fragment goes on to another worker, which opens its conn: those that follow go there, too.
    pub(super) fn went_on(&mut self, frame: &[u8], p: &Parsed, to: usize) {
        if Header::of(frame, p).place.is_some()
            && let Ok((key, _)) = read(frame, p)
        {
            self.fragments.went_on(&key, to as u16);
        }
    }

    /// A packet goes to another worker after all. A first fragment gets its own identification
    /// back, by which those that follow belong to it.
    pub(super) fn unnumber(&self, frame: &mut F, p: &Parsed) {
        let place = Header::of(frame.data(), p).place;
        if let Some(key) = place.and_then(|place| self.fragments.numbered(&p.tuple, place.id)) {
            rewrite::set_fragment_id(frame.data_mut(), p, key.id);
        }
    }

    /// The datagram after which a conn ends (`Traits::replies`): it ends at once, or when the
    /// fragments behind this first one have had time to come.
    #[cold]
    pub(super) fn last_reply<P>(
        &mut self,
        t: &Turn<'_, F, P>,
        frame: &[u8],
        p: &Parsed,
        id: ConnId,
    ) {
        let wait = self.rest_of_datagram(frame, p);
        self.conns.get_mut(id).set_expires(t.stamp.after(wait));
    }

    /// Milliseconds that the fragments behind a first one, if it is one, need to come.
    pub(super) fn rest_of_datagram(&self, frame: &[u8], p: &Parsed) -> u32 {
        if Header::of(frame, p).place.is_some() { REST_OF_REPLY } else { 0 }
    }

    /// A client's whole v4 packet that will be cut on its way of this MTU: behind one local address
    /// other clients have the same identification (RFC 6864 section 4.3).
    pub(super) fn renumber(
        &mut self,
        frame: &mut F,
        p: &Parsed,
        (id, way): (ConnId, Direction),
        mtu: u16,
    ) {
        let is_cut = p.family == Family::V4 && p.ip_len() > mtu.into();
        if is_cut
            && (self.conns.get(id).forward(), way) == (Forward::FullNat, Direction::Original)
            && get16(frame.data(), p.l3 as usize + ipv4::FRAGMENT) & (ipv4::MF | ipv4::OFFSET) == 0
        {
            let number = self.ids.next(p.family);
            rewrite::set_fragment_id(frame.data_mut(), p, number);
        }
    }

    /// Held frames: those that wait for a next hop, and fragments that wait for their first.
    pub(super) fn count_held<P>(&self, t: &Turn<'_, F, P>) {
        t.stats.held.set((self.held.len() + self.fragments.held()) as u64);
    }

    fn gatherer(&self, key: &Key) -> usize {
        let (sport, dport) = ((key.id >> 16) as u16, key.id as u16);
        let proto = Proto::from_number(key.proto).unwrap_or(Proto::Udp);
        let name = Tuple { src: key.src, dst: key.dst, sport, dport, proto };
        self.hasher.tuple(&name) as usize % self.workers
    }
}

fn source_changes(forward: Forward, way: Direction) -> bool {
    matches!((forward, way), (Forward::FullNat, _) | (Forward::Nat, Direction::Reply))
}

/// Whether it is a fragment that does not begin its datagram.
pub(super) fn is_later(frame: &[u8], p: &Parsed) -> bool {
    p.kind == Kind::Fragment && read(frame, p).is_ok_and(|(_, piece)| piece.from > 0)
}

/// A fragment's datagram and its place in it.
fn read(frame: &[u8], p: &Parsed) -> Result<(Key, Piece), DropReason> {
    let (src, dst) = (p.tuple.src, p.tuple.dst);
    let len = u32::from(p.end - p.l4);
    let (id, proto, from, more) = match p.family {
        Family::V4 => {
            let ip = &frame[p.l3 as usize..];
            let flags = get16(ip, ipv4::FRAGMENT);
            let from = u32::from(flags & ipv4::OFFSET) * 8;
            (u32::from(get16(ip, ipv4::ID)), p.tuple.proto as u8, from, flags & ipv4::MF != 0)
        }
        Family::V6 => {
            let header = p.l4 as usize - 8;
            let flags = get16(frame, header + 2);
            let more = flags & ipv6::MORE != 0;
            (get32(frame, header + 4), 0, u32::from(flags & ipv6::OFFSET), more)
        }
    };
    // All but the last one are whole units of eight bytes, and no datagram exceeds 65,535.
    if (more && len % 8 != 0) || from + len > 65_535 {
        return Err(DropReason::IpHeader);
    }
    Ok((Key { src, dst, id, proto }, Piece { from, to: from + len, more }))
}
