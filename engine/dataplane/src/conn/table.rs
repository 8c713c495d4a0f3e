//! One worker's conns: lines of fixed number, the index over their tuples, and the sweep that
//! finds the ones whose time is up.

use super::Conn;
use super::ConnId;
use super::Direction;
use super::Ends;
use super::Extra;
use super::Helped;
use super::Opening;
use super::Pair;
use super::Rewrite;
use super::Track;
use super::Wide;
use super::flags::ELSEWHERE;
use super::flags::INTRODUCES;
use super::flags::LENT;
use super::flags::LIVE;
use super::flags::SHIFTS;
use super::index::Found;
use super::index::Index;
use super::index::Marks;
use super::index::Place;
use crate::laddr::PairId;
use crate::service::DestId;
use crate::service::Forward;
use crate::tick::Stamp;
use crate::tuple::Addr;
use crate::tuple::Family;
use crate::tuple::Hasher;
use crate::tuple::Narrow;
use crate::tuple::Tuple;
use arrayvec::ArrayVec;
use hw::HugeSlice;
use std::io;

/// The table holds as many conns as it was made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableFull;

const NO_LINE: u32 = u32::MAX;

/// A worker's conns.
#[derive(Debug)]
pub struct Conns {
    hasher: Hasher,
    pub(super) index: Index,
    lines: HugeSlice<Conn>,
    /// Of the same numbers; its pages are touched only where a conn has a v6 side.
    wide: HugeSlice<Wide>,
    /// Likewise, where a conn is under full-NAT.
    tracks: HugeSlice<Track>,
    /// Likewise, where a flag of the conn says so.
    pub(super) extras: HugeSlice<Extra>,
    /// Likewise, where the conn is an FTP control conn, or awaited by one.
    helped: HugeSlice<Helped>,
    /// First of the chain of freed lines; last freed, first used, so that few lines stay warm.
    free: u32,
    /// Lines below this have been used.
    used: u32,
    len: u32,
    /// Where the sweep goes on.
    cursor: u32,
}

/// A conn's line with what belongs to it.
pub struct Line<'a> {
    /// The line.
    pub conn: &'a mut Conn,
    at: usize,
    wide: &'a HugeSlice<Wide>,
    tracks: &'a mut HugeSlice<Track>,
}

impl Line<'_> {
    /// Whether the conn is found by this tuple.
    #[inline(always)]
    pub fn is_tuple(&self, way: Direction, family: Family, t: &Tuple) -> bool {
        self.conn.is_tuple(way, family, t, || &self.wide[self.at])
    }

    /// What a packet of this direction becomes.
    #[inline(always)]
    pub fn rewrite(&self, way: Direction) -> Rewrite {
        self.conn.rewrite(way, || &self.wide[self.at])
    }

    /// What full-NAT keeps of it.
    #[inline(always)]
    pub fn track(&mut self) -> &mut Track {
        &mut self.tracks[self.at]
    }
}

impl Conns {
    /// A table for `capacity` conns (below 2^30). Memory is touched as conns come, or before (`populate`).
    pub fn new(capacity: usize, hasher: Hasher) -> io::Result<Self> {
        if capacity == 0 || capacity > Index::MAX_CONNS {
            let text = format!("a conn table holds 1 to {} conns", Index::MAX_CONNS);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(Self {
            hasher,
            index: Index::new(capacity)?,
            lines: HugeSlice::new(capacity)?,
            wide: HugeSlice::new(capacity)?,
            tracks: HugeSlice::new(capacity)?,
            extras: HugeSlice::new(capacity)?,
            helped: HugeSlice::new(capacity)?,
            free: NO_LINE,
            used: 0,
            len: 0,
            cursor: 0,
        })
    }

    /// Has the memory given now that a conn of IPv4 takes, where `tracked` one of full-NAT.
    pub fn populate(&mut self, tracked: bool) {
        self.index.populate();
        self.lines.populate(usize::MAX);
        if tracked {
            self.tracks.populate(usize::MAX);
        }
    }

    /// Conns in it.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Conns it can hold.
    pub fn capacity(&self) -> usize {
        self.lines.len()
    }

    /// Bytes that a conn takes when the table is full: its line, its part of the index, and what a
    /// v6 side (`wide`) and full-NAT (`tracked`) add.
    pub fn bytes_per_conn(&self, wide: bool, tracked: bool) -> f64 {
        let lines = size_of::<Conn>()
            + if wide { size_of::<Wide>() } else { 0 }
            + if tracked { size_of::<Track>() } else { 0 };
        lines as f64 + self.index.bytes() as f64 / self.capacity() as f64
    }

    /// The hash by which the other methods look a tuple up.
    #[inline(always)]
    pub fn hash(&self, tuple: &Tuple) -> u64 {
        self.hasher.tuple(tuple)
    }

    /// Asks the processor for the index line of a hash.
    #[inline(always)]
    pub fn prefetch_index(&self, hash: u64) {
        self.index.prefetch(self.index.place(hash));
    }

    #[inline(always)]
    pub(super) fn prefetch(&self, found: Found, marks: Marks) {
        let line = found.line();
        hw::prefetch_index(&self.lines, line);
        if marks.any() {
            if marks.has(Marks::SHIFTS) {
                hw::prefetch_index(&self.tracks, line);
            }
            if marks.has(Marks::WIDE) {
                hw::prefetch_index(&self.wide, line);
            }
        }
    }

    /// The conn of a tuple, and which of its directions that is.
    #[inline]
    pub fn find(&self, hash: u64, tuple: &Tuple) -> Option<(ConnId, Direction)> {
        self.find_at(tuple.dst.family(), self.place(hash), tuple)
    }

    /// The same for a tuple of which the family is known, and the place.
    #[inline(always)]
    pub fn find_at(
        &self,
        family: Family,
        place: Place,
        tuple: &Tuple,
    ) -> Option<(ConnId, Direction)> {
        self.index.find(place, |id, way| self.is_tuple(id, way, family, tuple))
    }

    /// Where a tuple of that hash lies in the index, if it is there.
    #[inline(always)]
    pub fn place(&self, hash: u64) -> Place {
        self.index.place(hash)
    }

    /// A conn's line; none beyond the table, where `Found::NOTHING` is.
    #[inline(always)]
    pub(crate) fn line_of(&self, id: ConnId) -> Option<&Conn> {
        self.lines.get(id.0 as usize)
    }

    /// Asks the processor for the second index line of a place where a conn would have to go there; the first
    /// has been read.
    pub fn prefetch_room(&self, place: Place) {
        self.index.prefetch_room(place);
    }

    /// Opens a conn in `State::None`, due at `expires`. Its original tuple, and its reply tuple
    /// where replies pass the director, must not be in the table: ask `find` before.
    #[inline(always)]
    pub fn open(&mut self, opening: &Opening, expires: Stamp) -> Result<ConnId, TableFull> {
        // What the families say is known in what follows.
        match opening.ends.caddr.is_v4() && opening.ends.daddr.is_v4() {
            true => self.open_either(opening, expires),
            false => self.open_wide(&{ *opening }, expires),
        }
    }

    #[inline(never)]
    fn open_wide(&mut self, opening: &Opening, expires: Stamp) -> Result<ConnId, TableFull> {
        self.open_either(opening, expires)
    }

    #[inline(always)]
    fn open_either(&mut self, opening: &Opening, expires: Stamp) -> Result<ConnId, TableFull> {
        let fresh = self.free == NO_LINE;
        let line = if fresh { self.used } else { self.free };
        let Some(next) = self.lines.get(line as usize).map(|line| line.expires) else {
            return Err(TableFull);
        };
        let (id, conn, ends) = (ConnId(line), Conn::opened(opening, expires), &opening.ends);
        debug_assert!(ends.laddr.is_v4() == ends.daddr.is_v4() || !opening.forward.sees_replies());
        if !self.enter(id, Direction::Original, &conn, ends) {
            return Err(TableFull);
        }
        if opening.forward.sees_replies() && !self.enter(id, Direction::Reply, &conn, ends) {
            self.index.remove(self.place(self.hash(&ends.original())), id, Direction::Original);
            return Err(TableFull);
        }
        if fresh {
            self.used += 1;
        } else {
            self.free = next;
        }
        self.len += 1;
        if opening.forward == Forward::FullNat {
            self.tracks[line as usize] = opening.track;
        }
        if conn.is_wide() {
            let wide = |t: Tuple| Pair { src: t.src.bits(), dst: t.dst.bits() };
            self.wide[line as usize] = Wide([ends.original(), ends.reply()].map(wide));
        }
        self.lines[line as usize] = conn;
        Ok(id)
    }

    /// Enters a tuple of a conn that opens into the index.
    #[inline(always)]
    fn enter(&mut self, id: ConnId, way: Direction, conn: &Conn, ends: &Ends) -> bool {
        let (hash, is_wide) = match conn.narrow_tuple(way) {
            Some((addrs, ports, proto)) => (self.hasher.words(addrs, ports, proto), false),
            // Of a copy: so `ends` need not lie in memory.
            None => (self.wide_hash(way, &{ *ends }), true),
        };
        self.index.insert(hash, (id, way), Marks::of(conn.shifts(), is_wide))
    }

    /// Opens an entry that says where a client's conn lives: with another worker.
    pub fn open_elsewhere(
        &mut self,
        tuple: &Tuple,
        worker: usize,
        expires: Stamp,
    ) -> Result<ConnId, TableFull> {
        let (laddr, lport, daddr, dport) = (tuple.src, tuple.sport, tuple.dst, tuple.dport);
        let Tuple { src: caddr, sport: cport, dst: vaddr, dport: vport, proto } = *tuple;
        let ends = Ends { proto, caddr, cport, vaddr, vport, laddr, lport, daddr, dport };
        // Like dr, it has one tuple.
        let forward = Forward::Dr;
        let dest = DestId(worker as u32);
        let opening = Opening { ends, dest, forward, track: Track::NEW, shifts: false, tries: 0 };
        let id = self.open(&opening, expires)?;
        self.get_mut(id).flags |= ELSEWHERE;
        Ok(id)
    }

    /// Takes a conn's reply tuple away, which serves another conn from now on.
    pub fn lend(&mut self, id: ConnId) {
        let reply = self.ends(id).reply();
        let found = self.index.remove(self.place(self.hash(&reply)), id, Direction::Reply);
        debug_assert!(found, "a conn that lends has its reply tuple");
        self.get_mut(id).flags |= LENT;
    }

    /// What full-NAT keeps of a conn.
    #[inline(always)]
    pub fn track(&self, id: ConnId) -> &Track {
        &self.tracks[id.0 as usize]
    }

    /// What full-NAT keeps of a conn.
    #[inline(always)]
    pub fn track_mut(&mut self, id: ConnId) -> &mut Track {
        &mut self.tracks[id.0 as usize]
    }

    /// What few conns have; says something only where the conn's flags say so.
    #[inline(always)]
    pub fn extra(&self, id: ConnId) -> &Extra {
        &self.extras[id.0 as usize]
    }

    /// What few conns have.
    #[inline(always)]
    pub fn extra_mut(&mut self, id: ConnId) -> &mut Extra {
        &mut self.extras[id.0 as usize]
    }

    /// What an FTP control conn keeps, or one that is awaited; says something of no other.
    pub(crate) fn helped(&self, id: ConnId) -> &Helped {
        &self.helped[id.0 as usize]
    }

    /// The same, writable.
    pub(crate) fn helped_mut(&mut self, id: ConnId) -> &mut Helped {
        &mut self.helped[id.0 as usize]
    }

    /// The dest's end of a conn has another port. False, and unchanged, where the index has no
    /// room.
    pub(crate) fn set_dport(&mut self, id: ConnId, dport: u16) -> bool {
        let before = self.ends(id);
        let after = Ends { dport, ..before };
        let [old, new] = [before, after].map(|ends| self.hash(&ends.reply()));
        let marks = Marks::of(self.get(id).shifts(), !after.daddr.is_v4());
        if !self.index.insert(new, (id, Direction::Reply), marks) {
            return false;
        }
        let found = self.index.remove(self.place(old), id, Direction::Reply);
        debug_assert!(found, "a live conn is in the index");
        let line = &mut self.lines[id.0 as usize];
        line.ports[Direction::Reply as usize] = Narrow::of(&after.reply()).ports;
        let (l3, l4) = Conn::deltas(&after);
        (line.l3_delta, line.l4_delta) = (l3.0, l4.0);
        true
    }

    /// What the conn's packets say is changed from now on. The index is not told, which only knows
    /// beforehand of conns that shift from their opening: `Track` is not asked for ahead of time.
    pub fn introduce(&mut self, id: ConnId) {
        self.get_mut(id).flags |= SHIFTS | INTRODUCES;
    }

    /// Ends a conn; its number may name another one afterwards.
    pub fn close(&mut self, id: ConnId) {
        self.close_at(id, self.places(id));
    }

    /// The same of one whose tuples lie at these places.
    #[inline(always)]
    pub(crate) fn close_at(&mut self, id: ConnId, [original, reply]: [Place; 2]) {
        let mut found = self.index.remove(original, id, Direction::Original);
        if self.has_reply_tuple(id) {
            found &= self.index.remove(reply, id, Direction::Reply);
        }
        debug_assert!(found, "a live conn is in the index");
        let line = &mut self.lines[id.0 as usize];
        line.flags = 0;
        line.expires = self.free;
        self.free = id.0;
        self.len -= 1;
    }

    /// Whether a conn is found by the tuple of its replies.
    #[inline(always)]
    fn has_reply_tuple(&self, id: ConnId) -> bool {
        let conn = self.get(id);
        conn.forward().sees_replies() && !conn.is_lent()
    }

    /// Where a conn's tuples lie in the index, the reply's if it is found by it.
    #[inline(always)]
    fn places(&self, id: ConnId) -> [Place; 2] {
        let reply = match self.has_reply_tuple(id) {
            true => self.place_of(id, Direction::Reply),
            false => Place::default(),
        };
        [self.place_of(id, Direction::Original), reply]
    }

    /// Where one of a conn's tuples lies.
    #[inline(always)]
    fn place_of(&self, id: ConnId, way: Direction) -> Place {
        self.place(match self.get(id).narrow_tuple(way) {
            Some((addrs, ports, proto)) => self.hasher.words(addrs, ports, proto),
            None => self.wide_hash_of(id, way),
        })
    }

    #[inline(never)]
    fn wide_hash_of(&self, id: ConnId, way: Direction) -> u64 {
        self.wide_hash(way, &self.ends(id))
    }

    #[inline(never)]
    fn wide_hash(&self, way: Direction, ends: &Ends) -> u64 {
        match way {
            Direction::Original => self.hash(&ends.original()),
            Direction::Reply => self.hash(&ends.reply()),
        }
    }

    /// Asks the processor for what a conn ends with: its index lines, as far as they are known, and what
    /// tells the rest.
    #[inline(always)]
    pub(crate) fn prefetch_end(&self, id: ConnId, places: &mut [Place; 2]) {
        let line = id.0 as usize;
        let conn = self.get(id);
        if conn.forward() == Forward::FullNat {
            hw::prefetch_index(&self.tracks, line);
        }
        match conn.is_wide() {
            true => hw::prefetch_index(&self.wide, line),
            false => *places = self.prefetch_places(id),
        }
    }

    /// Once that is here, for the rest: the index lines of a conn of v6, and the neighbours of one under
    /// full-NAT in the list of conns that would lend. Gives the pair of the lease that it holds.
    #[inline(always)]
    pub(crate) fn prefetch_rest(&self, id: ConnId, places: &mut [Place; 2]) -> Option<PairId> {
        let conn = self.get(id);
        if conn.is_wide() {
            *places = self.prefetch_places(id);
        }
        if !conn.has_lease() {
            return None;
        }
        let track = self.track(id);
        track.links.each(|number| hw::prefetch_index(&self.tracks, number as usize));
        Some(PairId(track.pair))
    }

    #[inline(always)]
    fn prefetch_places(&self, id: ConnId) -> [Place; 2] {
        let places = self.places(id);
        places.into_iter().for_each(|place| self.index.prefetch(place));
        places
    }

    /// A conn's line.
    #[inline(always)]
    pub fn get(&self, id: ConnId) -> &Conn {
        &self.lines[id.0 as usize]
    }

    /// A conn's line.
    #[inline(always)]
    pub fn get_mut(&mut self, id: ConnId) -> &mut Conn {
        &mut self.lines[id.0 as usize]
    }

    /// All four ends of a conn.
    pub fn ends(&self, id: ConnId) -> Ends {
        let c = self.get(id);
        let [(caddr, vaddr), (daddr, laddr)] =
            [Direction::Original, Direction::Reply].map(|way| self.addrs(id, way));
        let (cport, vport) = c.ports_of(Direction::Original);
        let (dport, lport) = c.ports_of(Direction::Reply);
        Ends { proto: c.protocol(), caddr, cport, vaddr, vport, laddr, lport, daddr, dport }
    }

    /// Source and destination of a direction's tuple.
    #[inline(always)]
    fn addrs(&self, id: ConnId, way: Direction) -> (Addr, Addr) {
        self.get(id).addrs(way, || &self.wide[id.0 as usize])
    }

    /// What a packet of this direction becomes: local to dest, or VIP to client.
    #[inline(always)]
    pub fn rewrite(&self, id: ConnId, way: Direction) -> Rewrite {
        self.get(id).rewrite(way, || &self.wide[id.0 as usize])
    }

    /// A conn's line with what belongs to it, at one look.
    #[inline(always)]
    pub fn line(&mut self, id: ConnId) -> Line<'_> {
        let Self { lines, wide, tracks, .. } = self;
        Line { conn: &mut lines[id.0 as usize], at: id.0 as usize, wide, tracks }
    }

    /// Looks at up to `quota` further lines and gives the conns that are due, until `due` is full;
    /// tells how many it looked at. Linear: 1 to 2 ns a line, so a million conns looked at once a
    /// second cost 0.2 % of a core.
    pub fn sweep<const N: usize>(
        &mut self,
        now: Stamp,
        quota: usize,
        due: &mut ArrayVec<ConnId, N>,
    ) -> usize {
        let (quota, used) = (quota.min(self.used as usize), self.used as usize);
        let mut swept = 0;
        while swept < quota && !due.is_full() {
            let from = if self.cursor < self.used { self.cursor as usize } else { 0 };
            let lines = &self.lines[from..used.min(from + quota - swept)];
            let is_due = |line: &Conn| line.flags & LIVE != 0 && line.expires().is_due(now);
            let looked_at = match lines.iter().position(is_due) {
                Some(at) => {
                    due.push(ConnId((from + at) as u32));
                    at + 1
                }
                None => lines.len(),
            };
            self.cursor = (from + looked_at) as u32;
            swept += looked_at;
        }
        swept
    }

    /// The conn in a line, below `sweep_len`, if there is one.
    pub fn at(&self, line: u32) -> Option<ConnId> {
        let conn = self.lines[..self.used as usize].get(line as usize)?;
        (conn.flags & LIVE != 0).then_some(ConnId(line))
    }

    /// Every conn.
    pub fn iter(&self) -> impl Iterator<Item = ConnId> + '_ {
        (0..self.used).filter(|l| self.lines[*l as usize].flags & LIVE != 0).map(ConnId)
    }

    /// The conn of a line, if it has one.
    #[inline(always)]
    pub(crate) fn live(&self, line: u32) -> Option<ConnId> {
        (self.lines[line as usize].flags & LIVE != 0).then_some(ConnId(line))
    }

    /// Lines that a whole sweep looks at.
    pub fn sweep_len(&self) -> usize {
        self.used as usize
    }

    #[inline(always)]
    fn is_tuple(&self, id: ConnId, way: Direction, family: Family, t: &Tuple) -> bool {
        self.get(id).is_tuple(way, family, t, || &self.wide[id.0 as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::Proto;

    fn opening(n: u32, forward: Forward, v6: bool) -> Opening {
        let addr = |i: u32| if v6 { Addr::v6(0x2001 << 112 | i as u128) } else { Addr::v4(i) };
        let ends = Ends {
            proto: Proto::Tcp,
            caddr: addr(0x0a01_0000 + n),
            cport: 1000,
            vaddr: addr(0x0a02_0001),
            vport: 80,
            laddr: addr(0x0a03_0001),
            lport: 2000 + n as u16,
            daddr: addr(0x0a04_0001),
            dport: 8080,
        };
        Opening { ends, dest: DestId(3), forward, track: Track::NEW, shifts: false, tries: 0 }
    }

    fn table(capacity: usize) -> Conns {
        Conns::new(capacity, Hasher::new([1, 2, 3, 4])).unwrap()
    }

    #[test]
    fn both_tuples_find_it_and_rewrites_are_the_other_side() {
        for v6 in [false, true] {
            let mut conns = table(16);
            let o = opening(1, Forward::FullNat, v6);
            let id = conns.open(&o, Stamp(5)).unwrap();
            let (original, reply) = (o.ends.original(), o.ends.reply());
            let find = |t: &Tuple| conns.find(conns.hash(t), t);
            assert_eq!(find(&original), Some((id, Direction::Original)));
            assert_eq!(find(&reply), Some((id, Direction::Reply)));
            assert_eq!(find(&original.reversed()), None);
            assert_eq!(conns.ends(id), o.ends);
            let r = conns.rewrite(id, Direction::Original);
            assert_eq!((r.src, r.sport, r.dst, r.dport), (o.ends.laddr, 2001, o.ends.daddr, 8080));
            let r = conns.rewrite(id, Direction::Reply);
            assert_eq!((r.src, r.sport, r.dst, r.dport), (o.ends.vaddr, 80, o.ends.caddr, 1000));
        }
    }

    #[test]
    fn dr_has_no_reply_tuple() {
        let mut conns = table(16);
        let o = opening(1, Forward::Dr, false);
        conns.open(&o, Stamp(5)).unwrap();
        let reply = o.ends.reply();
        assert_eq!(conns.find(conns.hash(&reply), &reply), None);
    }

    #[test]
    fn full_is_refused_and_a_closed_line_serves_again() {
        let mut conns = table(10);
        let ids: Vec<_> = (0..10)
            .map(|n| conns.open(&opening(n, Forward::Nat, false), Stamp(0)).unwrap())
            .collect();
        assert_eq!(conns.open(&opening(10, Forward::Nat, false), Stamp(0)), Err(TableFull));
        conns.close(ids[3]);
        conns.close(ids[7]);
        assert_eq!(conns.len(), 8);
        assert_eq!(conns.open(&opening(11, Forward::Nat, false), Stamp(0)), Ok(ids[7]));
        assert_eq!(conns.open(&opening(12, Forward::Nat, true), Stamp(0)), Ok(ids[3]));
        assert_eq!(conns.iter().count(), 10);
    }

    #[test]
    fn the_sweep_is_bounded_and_finds_what_is_due() {
        let mut conns = table(100);
        for n in 0..100 {
            conns.open(&opening(n, Forward::Nat, false), Stamp(n)).unwrap();
        }
        let mut due = ArrayVec::<_, 32>::new();
        conns.sweep(Stamp(9), 5, &mut due);
        assert_eq!(due.len(), 5);
        conns.sweep(Stamp(9), 95, &mut due);
        assert_eq!(due.len(), 10);
        for id in due.drain(..) {
            conns.close(id);
        }
        conns.sweep(Stamp(50), 1000, &mut due);
        assert!(due.is_full());
    }
}
