//! Fragments of datagrams on their way through: which belong together, which may go on, and what
//! is known of a datagram once its first fragment has named its conn.
//!
//! Nothing is reassembled. Only the first fragment carries ports, so those that come before it are
//! held; from then on each is translated and sent as it comes. One worker, the hash of the
//! datagram's key, gathers (`Gather`), whichever worker its fragments arrive at; the owner of the
//! conn keeps what they need (`Known`). Both are bounded in number and time, the oldest makes
//! place.

use crate::tick::Stamp;
use crate::tuple::Addr;
use crate::tuple::Tuple;
use crate::verdict::DropReason;
use arrayvec::ArrayVec;
use hashbrown::HashMap;
use std::collections::VecDeque;

/// Datagrams a worker follows at a time.
pub const DATAGRAMS: usize = 1024;
/// Fragments a worker holds in all, until their datagrams' first ones come.
pub const HELD: usize = 256;
/// How long a datagram is followed, in milliseconds (the kernel's `ipfrag_time`).
pub const LIFETIME: u32 = 30_000;
/// Separate stretches of a datagram that may be there at a time.
const STRETCHES: usize = 16;

/// What makes fragments one datagram (RFC 791 section 3.2, RFC 8200 section 4.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    /// Source.
    pub src: Addr,
    /// Destination.
    pub dst: Addr,
    /// Identification.
    pub id: u32,
    /// Protocol, as the first fragment's header has it; 0 under IPv6.
    pub proto: u8,
}

/// A fragment's place in its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// First byte.
    pub from: u32,
    /// After its last byte.
    pub to: u32,
    /// More follow.
    pub more: bool,
}

/// What the gathering worker knows of a datagram.
#[derive(Debug)]
struct Gather {
    /// Where its fragments go, once the first one was there.
    owner: Option<usize>,
    /// What has come, in order, without gaps inside.
    stretches: ArrayVec<(u32, u32), STRETCHES>,
    /// Its length, once the last fragment was there.
    len: Option<u32>,
    /// Something was wrong with it: nothing more of it passes.
    bad: bool,
}

/// What the conn's owner knows of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The tuple in its first fragment.
    pub tuple: Tuple,
    /// The identification it gets where the source address changes.
    pub id: u32,
    /// The worker that the first fragment was handed over to from here, which opens its conn.
    pub next: Option<u16>,
}

/// What is to be done with a fragment at the gathering worker.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// To the owner.
    To(usize),
    /// It is the first: find the owner, then call `named`.
    First,
    /// Hold it.
    Hold,
}

/// A worker's fragments.
#[derive(Debug)]
pub struct Fragments<F> {
    gathers: Aging<Gather>,
    known: Aging<Known>,
    held: VecDeque<(Key, F)>,
}

impl<F> Fragments<F> {
    /// None yet.
    pub fn new() -> Self {
        Self { gathers: Aging::new(), known: Aging::new(), held: VecDeque::with_capacity(HELD) }
    }

    /// A fragment at the gathering worker.
    pub fn arrive(&mut self, key: Key, piece: Piece, now: Stamp) -> Result<Step, DropReason> {
        let fresh = || Gather { owner: None, stretches: ArrayVec::new(), len: None, bad: false };
        let gather = self.gathers.entry(key, now, fresh);
        gather.add(piece)?;
        let step = match gather.owner {
            Some(owner) => Step::To(owner),
            None if piece.from == 0 => Step::First,
            None => Step::Hold,
        };
        // Its identification may serve the next datagram as soon as this one is whole: a fast sender
        // is through all 65,536 before the time is up.
        if step != Step::Hold && gather.is_whole() {
            self.gathers.remove(&key);
        }
        Ok(step)
    }

    /// The first fragment was there, the datagram's go to `owner`.
    pub fn named(&mut self, key: Key, owner: usize) {
        if let Some(gather) = self.gathers.get_mut(&key) {
            gather.owner = Some(owner);
        }
    }

    /// Nothing more of this datagram passes.
    pub fn condemn(&mut self, key: Key) {
        if let Some(gather) = self.gathers.get_mut(&key) {
            gather.bad = true;
        }
    }

    /// Holds a fragment, and gives the oldest back where there is no room for both.
    pub fn hold(&mut self, key: Key, frame: F) -> Option<F> {
        let oldest = if self.held.len() == HELD { self.held.pop_front() } else { None };
        self.held.push_back((key, frame));
        oldest.map(|(_, frame)| frame)
    }

    /// The next held fragment of a datagram.
    pub fn release(&mut self, key: &Key) -> Option<F> {
        let at = self.held.iter().position(|(k, _)| k == key)?;
        self.held.remove(at).map(|(_, frame)| frame)
    }

    /// Frames held.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The conn's owner learns the tuple of a datagram.
    pub fn learn(&mut self, key: Key, known: Known, now: Stamp) {
        *self.known.entry(key, now, || known) = known;
    }

    /// The first fragment of a datagram has gone on to another worker.
    pub fn went_on(&mut self, key: &Key, to: u16) {
        if let Some(known) = self.known.get_mut(key) {
            known.next = Some(to);
        }
    }

    /// What was known was of another datagram: the first fragment of this one is on its way through.
    pub fn unlearn(&mut self, key: &Key) {
        self.known.remove(key);
    }

    /// The datagram of a tuple that got this identification.
    pub fn numbered(&self, tuple: &Tuple, id: u32) -> Option<Key> {
        let known =
            self.known.map.iter().find(|(_, known)| (known.tuple, known.id) == (*tuple, id));
        known.map(|(key, _)| *key)
    }

    /// What the conn's owner knows of a datagram.
    pub fn known(&self, key: &Key) -> Option<Known> {
        self.known.map.get(key).copied()
    }

    /// Forgets what is due, and gives held fragments of datagrams that are forgotten, one a call.
    pub fn expire(&mut self, now: Stamp) -> Option<F> {
        self.gathers.expire(now);
        self.known.expire(now);
        let (key, _) = self.held.front()?;
        if self.gathers.map.contains_key(key) {
            return None;
        }
        self.held.pop_front().map(|(_, frame)| frame)
    }
}

impl<F> Default for Fragments<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl Gather {
    /// Adds a piece. Overlaps condemn the datagram: what a dest makes of them is what an attacker
    /// chooses (RFC 1858, RFC 5722).
    fn add(&mut self, piece: Piece) -> Result<(), DropReason> {
        if self.bad {
            return Err(DropReason::FragmentOverlap);
        }
        let fits = self.fits(piece);
        self.bad = fits.is_err();
        let at = fits?;
        if !piece.more {
            self.len = Some(piece.to);
        }
        let joins_before = at > 0 && self.stretches[at - 1].1 == piece.from;
        let joins_after = self.stretches.get(at).is_some_and(|s| s.0 == piece.to);
        match (joins_before, joins_after) {
            (true, true) => {
                self.stretches[at - 1].1 = self.stretches[at].1;
                self.stretches.remove(at);
            }
            (true, false) => self.stretches[at - 1].1 = piece.to,
            (false, true) => self.stretches[at].0 = piece.from,
            (false, false) => {
                let stretch = (piece.from, piece.to);
                if self.stretches.try_insert(at, stretch).is_err() {
                    self.bad = true;
                    return Err(DropReason::FragmentFlood);
                }
            }
        }
        Ok(())
    }

    /// Whether all of it has come.
    fn is_whole(&self) -> bool {
        self.len.is_some_and(|len| self.stretches[..] == [(0, len)])
    }

    /// Where among the stretches a piece belongs that overlaps none.
    fn fits(&self, piece: Piece) -> Result<usize, DropReason> {
        let beyond = self.len.is_some_and(|len| piece.to > len || !piece.more);
        let last = self.stretches.last().map_or(0, |s| s.1);
        if beyond || (!piece.more && piece.to < last) {
            return Err(DropReason::FragmentOverlap);
        }
        let at = self.stretches.iter().take_while(|s| s.0 < piece.from).count();
        let before = at == 0 || self.stretches[at - 1].1 <= piece.from;
        let after = self.stretches.get(at).is_none_or(|s| piece.to <= s.0);
        if before && after { Ok(at) } else { Err(DropReason::FragmentOverlap) }
    }
}

/// A bounded map whose entries end after `LIFETIME`, or when newer ones need the place.
#[derive(Debug)]
struct Aging<V> {
    map: HashMap<Key, V>,
    /// In the order of their making, with when they end.
    order: VecDeque<(Key, Stamp)>,
}

impl<V> Aging<V> {
    fn new() -> Self {
        // Twice the room: see `laddr`.
        let map = HashMap::with_capacity(DATAGRAMS * 2);
        Self { map, order: VecDeque::with_capacity(DATAGRAMS) }
    }

    fn remove(&mut self, key: &Key) {
        if self.map.remove(key).is_none() {
            return;
        }
        // Mostly one of the newest.
        if let Some(at) = self.order.iter().rposition(|(k, _)| k == key) {
            self.order.remove(at);
        }
    }

    fn get_mut(&mut self, key: &Key) -> Option<&mut V> {
        self.map.get_mut(key)
    }

    fn entry(&mut self, key: Key, now: Stamp, fresh: impl FnOnce() -> V) -> &mut V {
        self.expire(now);
        if !self.map.contains_key(&key) {
            if self.order.len() == DATAGRAMS
                && let Some((oldest, _)) = self.order.pop_front()
            {
                self.map.remove(&oldest);
            }
            self.order.push_back((key, now.after(LIFETIME)));
        }
        self.map.entry(key).or_insert_with(fresh)
    }

    fn expire(&mut self, now: Stamp) {
        while let Some((key, _)) = self.order.front().filter(|(_, end)| end.is_due(now)).copied() {
            self.order.pop_front();
            self.map.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Stamp = Stamp(1000);

    fn key(id: u32) -> Key {
        Key { src: Addr::v4(1), dst: Addr::v4(2), id, proto: 17 }
    }

    fn piece(from: u32, to: u32, more: bool) -> Piece {
        Piece { from, to, more }
    }

    fn fragments() -> Fragments<u32> {
        Fragments::new()
    }

    #[test]
    fn in_any_order_the_first_names_the_owner() {
        let mut f = fragments();
        assert_eq!(f.arrive(key(1), piece(16, 20, false), NOW), Ok(Step::Hold));
        f.hold(key(1), 20);
        assert_eq!(f.arrive(key(1), piece(8, 16, true), NOW), Ok(Step::Hold));
        f.hold(key(1), 16);
        f.hold(key(2), 99);
        assert_eq!(f.arrive(key(1), piece(0, 8, true), NOW), Ok(Step::First));
        f.named(key(1), 3);
        assert_eq!((f.release(&key(1)), f.release(&key(1))), (Some(20), Some(16)));
        assert_eq!((f.release(&key(1)), f.held()), (None, 1));
    }

    #[test]
    fn after_the_last_one_nothing_beyond_it_may_come() {
        let mut f = fragments();
        assert_eq!(f.arrive(key(1), piece(16, 20, false), NOW), Ok(Step::Hold));
        let beyond = f.arrive(key(1), piece(24, 32, true), NOW);
        assert_eq!(beyond, Err(DropReason::FragmentOverlap));
    }

    #[test]
    fn an_identification_serves_again_as_soon_as_its_datagram_is_whole() {
        let mut f = fragments();
        for _ in 0..3 {
            assert_eq!(f.arrive(key(1), piece(0, 8, true), NOW), Ok(Step::First));
            f.named(key(1), 1);
            assert_eq!(f.arrive(key(1), piece(8, 12, false), NOW), Ok(Step::To(1)));
            assert_eq!((f.gathers.map.len(), f.gathers.order.len()), (0, 0));
        }
    }

    #[test]
    fn later_ones_follow_the_first() {
        let mut f = fragments();
        assert_eq!(f.arrive(key(1), piece(0, 8, true), NOW), Ok(Step::First));
        f.named(key(1), 1);
        assert_eq!(f.arrive(key(1), piece(8, 12, false), NOW), Ok(Step::To(1)));
    }

    #[test]
    fn overlaps_condemn_the_datagram() {
        for bad in [piece(0, 8, true), piece(4, 12, true), piece(0, 24, true), piece(0, 4, false)] {
            let mut f = fragments();
            f.arrive(key(1), piece(0, 8, true), NOW).unwrap();
            f.arrive(key(1), piece(16, 24, true), NOW).unwrap();
            let overlap = Err(DropReason::FragmentOverlap);
            assert_eq!(f.arrive(key(1), bad, NOW), overlap, "{bad:?}");
            assert_eq!(f.arrive(key(1), piece(8, 16, true), NOW), overlap);
        }
    }

    #[test]
    fn too_many_holes_condemn_the_datagram() {
        let mut f = fragments();
        for i in 0..STRETCHES as u32 {
            f.arrive(key(1), piece(i * 16, i * 16 + 8, true), NOW).unwrap();
        }
        let further = piece(4096, 4104, true);
        assert_eq!(f.arrive(key(1), further, NOW), Err(DropReason::FragmentFlood));
    }

    #[test]
    fn everything_is_bounded_in_number() {
        let mut f = fragments();
        for id in 0..2 * DATAGRAMS as u32 {
            f.arrive(key(id), piece(8, 16, true), NOW).unwrap();
            let displaced = f.hold(key(id), id);
            assert_eq!(displaced.is_some(), id as usize >= HELD);
        }
        assert_eq!((f.gathers.map.len(), f.gathers.order.len()), (DATAGRAMS, DATAGRAMS));
        assert_eq!(f.held(), HELD);
    }

    #[test]
    fn and_in_time() {
        let mut f = fragments();
        f.arrive(key(1), piece(8, 16, true), NOW).unwrap();
        f.hold(key(1), 7);
        assert_eq!(f.expire(NOW.after(LIFETIME - 1)), None);
        assert_eq!(f.expire(NOW.after(LIFETIME)), Some(7));
        assert_eq!((f.held(), f.gathers.order.len()), (0, 0));
    }
}
