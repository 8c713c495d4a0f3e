//! The hash index of a worker's conns: tuples to conn numbers.
//!
//! Buckets of one cache line with eight slots: a 16-bit tag and the conn's number, direction and
//! "this is my second choice". Each key may lie in either of two buckets; which is the second
//! follows from the first and the tag (partial-key cuckoo hashing), so entries can be moved
//! without their keys. A bucket counts the entries that had it as first choice and went to their
//! second, so a look-up mostly reads one line. Sized for a load of 0.7 when every conn has two
//! keys; an insert then practically never has to move more than one entry. It never grows.

use super::ConnId;
use super::Direction;
use arrayvec::ArrayVec;
use hw::HugeSlice;
use hw::match16;
use std::io;
use zerocopy::FromZeros;

const SLOTS: usize = 8;
/// How many buckets a search for room may look at.
const MAX_SEARCH: usize = 128;

#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C, align(64))]
struct Bucket {
    /// 0 marks a free slot.
    tags: [u16; SLOTS],
    entries: [u32; SLOTS],
    /// Entries whose first choice is this bucket but that lie in their second.
    displaced: u32,
    /// Of each slot, how the key was marked when it was entered: a bit of each byte (`Marks`).
    marks: u32,
    unused: [u32; 2],
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// What a slot holds: conn number << 2 | second choice << 1 | direction.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry(u32);

impl Entry {
    const SECOND: u32 = 2;

    fn new(conn: ConnId, way: Direction) -> Self {
        Self(conn.0 << 2 | way as u32)
    }

    #[inline(always)]
    fn conn(self) -> ConnId {
        ConnId(self.0 >> 2)
    }

    #[inline(always)]
    fn way(self) -> Direction {
        if self.0 & 1 == 0 { Direction::Original } else { Direction::Reply }
    }

    fn is_second(self) -> bool {
        self.0 & Self::SECOND != 0
    }

    fn same(self, other: Self) -> bool {
        (self.0 ^ other.0) & !Self::SECOND == 0
    }
}

/// What of a conn besides its line is wanted with its packets of a direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Marks(u32);

impl Marks {
    /// Nothing.
    #[cfg(test)]
    pub(super) const NONE: Self = Self(0);
    /// Its `Track`.
    pub(super) const SHIFTS: Self = Self(1);
    /// Its `Wide`.
    pub(super) const WIDE: Self = Self(1 << SLOTS);
    const ALL: u32 = Self::SHIFTS.0 | Self::WIDE.0;

    pub(super) fn of(shifts: bool, wide: bool) -> Self {
        Self(shifts as u32 | (wide as u32) << SLOTS)
    }

    #[inline(always)]
    pub(super) fn any(self) -> bool {
        self.0 != 0
    }

    pub(super) fn has(self, which: Self) -> bool {
        self.0 & which.0 != 0
    }
}

/// Where a key lies, if it is there.
#[derive(Clone, Copy, Default, Debug)]
pub struct Place {
    pub(super) first: u32,
    pub(super) tag: u16,
}

/// What a look-up probably found: only the conn's line can tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found(pub(super) u32);

impl Found {
    /// Nothing.
    pub const NOTHING: Self = Self(u32::MAX);

    /// The conn; of `NOTHING`, one that it will not be.
    #[inline(always)]
    pub fn conn(self) -> ConnId {
        Entry(self.0).conn()
    }

    /// The place of its line.
    #[inline(always)]
    pub(super) fn line(self) -> usize {
        self.0 as usize >> 2
    }

    /// Its direction.
    #[inline(always)]
    pub fn way(self) -> Direction {
        Entry(self.0).way()
    }

    /// Both.
    pub fn get(self) -> Option<(ConnId, Direction)> {
        (self != Self::NOTHING).then(|| (self.conn(), self.way()))
    }
}

/// What the index tells of a key before the conn's line is looked at.
#[derive(Clone, Copy)]
pub(super) enum Guess {
    /// Probably this entry, and how it was marked.
    Entry(Found, Marks),
    /// If any, one that lies in its second choice, for which the processor is asked.
    Second,
    /// None.
    Nothing,
}

/// The index.
#[derive(Debug)]
pub(super) struct Index {
    buckets: HugeSlice<Bucket>,
}

impl Index {
    /// The most conns an index can number: the next one's entry could be `Found::NOTHING`.
    pub(super) const MAX_CONNS: usize = (1 << 30) - 1;

    /// Room for two keys of each of `conns` conns at a load of 0.7.
    pub(super) fn new(conns: usize) -> io::Result<Self> {
        let buckets = (conns * 2 * 10).div_ceil(SLOTS * 7).max(2);
        Ok(Self { buckets: HugeSlice::new(buckets)? })
    }

    /// Bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.buckets.bytes()
    }

    /// Has all its memory given now.
    pub(super) fn populate(&mut self) {
        self.buckets.populate(usize::MAX);
    }

    /// Where the key of a hash lies.
    #[inline(always)]
    pub(super) fn place(&self, hash: u64) -> Place {
        Place { first: self.first(hash) as u32, tag: tag(hash) }
    }

    #[inline(always)]
    pub(super) fn prefetch(&self, place: Place) {
        hw::prefetch_index(&self.buckets, place.first as usize);
    }

    /// Asks for the second bucket where the first has no room.
    pub(super) fn prefetch_room(&self, place: Place) {
        if self.buckets[place.first as usize].free().is_none() {
            hw::prefetch_index(&self.buckets, self.second(place));
        }
    }

    /// Candidates for a key, most likely ones first; the caller compares tuples.
    #[inline(always)]
    pub(super) fn find(
        &self,
        place: Place,
        is_it: impl Fn(ConnId, Direction) -> bool,
    ) -> Option<(ConnId, Direction)> {
        let bucket = &self.buckets[place.first as usize];
        if let found @ Some(_) = bucket.find(place.tag, &is_it) {
            return found;
        }
        if bucket.displaced == 0 {
            return None;
        }
        self.buckets[self.second(place)].find(place.tag, &is_it)
    }

    /// The first candidate in the first bucket: a guess worth prefetching, and mostly right.
    #[inline(always)]
    pub(super) fn guess(&self, place: Place) -> Guess {
        let bucket = &self.buckets[place.first as usize];
        if let Some((found, marks)) = bucket.guess(place.tag) {
            return Guess::Entry(found, marks);
        }
        if bucket.displaced == 0 {
            return Guess::Nothing;
        }
        hw::prefetch_index(&self.buckets, self.second(place));
        Guess::Second
    }

    /// The same of the second bucket.
    pub(super) fn guess_second(&self, place: Place) -> Option<(Found, Marks)> {
        self.buckets[self.second(place)].guess(place.tag)
    }

    /// Enters a key with its marks; false where no room could be made.
    #[inline(always)]
    pub(super) fn insert(
        &mut self,
        hash: u64,
        (conn, way): (ConnId, Direction),
        marks: Marks,
    ) -> bool {
        let (tag, first) = (tag(hash), self.first(hash));
        let entry = Entry::new(conn, way);
        match self.buckets[first].free() {
            Some(slot) => {
                self.buckets[first].put(slot, tag, entry, marks);
                true
            }
            None => self.insert_where_room_is(first, tag, entry, marks),
        }
    }

    /// The same where the first bucket is full.
    #[inline(never)]
    fn insert_where_room_is(&mut self, first: usize, tag: u16, entry: Entry, marks: Marks) -> bool {
        let second = self.other(first, tag);
        for _ in 0..2 {
            if let Some(slot) = self.buckets[first].free() {
                self.buckets[first].put(slot, tag, entry, marks);
                return true;
            }
            if let Some(slot) = self.buckets[second].free() {
                let entry = Entry(entry.0 | Entry::SECOND);
                self.buckets[second].put(slot, tag, entry, marks);
                self.buckets[first].displaced += 1;
                return true;
            }
            if !self.make_room(first, second) {
                return false;
            }
        }
        false
    }

    /// Takes a key out again; false where it was not there.
    #[inline(always)]
    pub(super) fn remove(&mut self, place: Place, conn: ConnId, way: Direction) -> bool {
        let (tag, first) = (place.tag, place.first as usize);
        let entry = Entry::new(conn, way);
        if self.buckets[first].take(tag, entry).is_some() {
            return true;
        }
        self.remove_second(first, tag, entry)
    }

    /// The same of one that lies in its second bucket.
    #[inline(never)]
    fn remove_second(&mut self, first: usize, tag: u16, entry: Entry) -> bool {
        let second = self.other(first, tag);
        let found = self.buckets[second].take(tag, entry).is_some();
        if found {
            self.buckets[first].displaced -= 1;
        }
        found
    }

    #[inline(always)]
    fn first(&self, hash: u64) -> usize {
        // As a fraction, scaled: any number of buckets, no division.
        ((hash as u128 * self.buckets.len() as u128) >> 64) as usize
    }

    fn second(&self, place: Place) -> usize {
        self.other(place.first as usize, place.tag)
    }

    /// The other bucket of an entry: b -> c(tag) - b (mod buckets), its own inverse.
    #[inline(always)]
    fn other(&self, bucket: usize, tag: u16) -> usize {
        let len = self.buckets.len();
        let spread = (tag as u32).wrapping_mul(0x9e37_79b1) as u64;
        let c = ((spread * len as u64) >> 32) as usize;
        if c >= bucket { c - bucket } else { c + len - bucket }
    }

    /// Breadth-first search for a chain of entries that can each move to their other bucket, the
    /// last into a free slot; moves them, which frees a slot in `first` or `second`.
    #[cold]
    fn make_room(&mut self, first: usize, second: usize) -> bool {
        /// A bucket reached by moving the entry in `slot` of node `from`.
        #[derive(Clone, Copy)]
        struct Node {
            bucket: usize,
            from: usize,
            slot: usize,
        }
        let mut nodes = ArrayVec::<Node, MAX_SEARCH>::new();
        nodes.push(Node { bucket: first, from: usize::MAX, slot: 0 });
        if second != first {
            nodes.push(Node { bucket: second, from: usize::MAX, slot: 0 });
        }
        let mut at = 0;
        while at < nodes.len() {
            for slot in 0..SLOTS {
                let bucket = nodes[at].bucket;
                let target = self.other(bucket, self.buckets[bucket].tags[slot]);
                if nodes.iter().any(|n| n.bucket == target) {
                    continue;
                }
                if self.buckets[target].free().is_none() {
                    if nodes.try_push(Node { bucket: target, from: at, slot }).is_err() {
                        return false;
                    }
                    continue;
                }
                // Found: move from the end of the chain back to its beginning.
                let (mut node, mut slot, mut target) = (at, slot, target);
                loop {
                    self.shift(nodes[node].bucket, slot, target);
                    if nodes[node].from == usize::MAX {
                        return true;
                    }
                    target = nodes[node].bucket;
                    slot = nodes[node].slot;
                    node = nodes[node].from;
                }
            }
            at += 1;
        }
        false
    }

    /// Moves an entry to its other bucket, which has a free slot.
    fn shift(&mut self, from: usize, slot: usize, to: usize) {
        let (tag, entry) = (self.buckets[from].tags[slot], Entry(self.buckets[from].entries[slot]));
        let marks = self.buckets[from].marks_of(slot);
        self.buckets[from].tags[slot] = 0;
        if entry.is_second() {
            self.buckets[to].displaced -= 1;
        } else {
            self.buckets[from].displaced += 1;
        }
        if let Some(free) = self.buckets[to].free() {
            self.buckets[to].put(free, tag, Entry(entry.0 ^ Entry::SECOND), marks);
        }
    }
}

impl Bucket {
    #[inline(always)]
    fn find(
        &self,
        tag: u16,
        is_it: &impl Fn(ConnId, Direction) -> bool,
    ) -> Option<(ConnId, Direction)> {
        let mut hits = match16(&self.tags, tag);
        while hits != 0 {
            let entry = Entry(self.entries[hits.trailing_zeros() as usize & 7]);
            if is_it(entry.conn(), entry.way()) {
                return Some((entry.conn(), entry.way()));
            }
            hits &= hits - 1;
        }
        None
    }

    #[inline(always)]
    fn guess(&self, tag: u16) -> Option<(Found, Marks)> {
        let hits = match16(&self.tags, tag);
        let slot = hits.trailing_zeros() as usize & 7;
        (hits != 0).then(|| (Found(self.entries[slot]), self.marks_of(slot)))
    }

    #[inline(always)]
    fn marks_of(&self, slot: usize) -> Marks {
        Marks(self.marks >> slot & Marks::ALL)
    }

    fn free(&self) -> Option<usize> {
        let free = match16(&self.tags, 0);
        (free != 0).then(|| free.trailing_zeros() as usize)
    }

    fn put(&mut self, slot: usize, tag: u16, entry: Entry, marks: Marks) {
        self.marks = self.marks & !(Marks::ALL << slot) | marks.0 << slot;
        self.tags[slot] = tag;
        self.entries[slot] = entry.0;
    }

    fn take(&mut self, tag: u16, entry: Entry) -> Option<()> {
        let mut hits = match16(&self.tags, tag);
        while hits != 0 {
            let slot = hits.trailing_zeros() as usize & 7;
            if Entry(self.entries[slot]).same(entry) {
                self.tags[slot] = 0;
                return Some(());
            }
            hits &= hits - 1;
        }
        None
    }
}

/// Of the low 16 bits all but one, which says that the slot is taken; `Index::first` depends on the highest.
#[inline(always)]
fn tag(hash: u64) -> u16 {
    hash as u16 | 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use hashbrown::HashMap;
    use proptest::prelude::*;

    fn mix(i: u64) -> u64 {
        let mut z = i.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^= z >> 29;
        z.wrapping_mul(0x94d0_49bb_1331_11eb) ^ z >> 32
    }

    #[test]
    fn the_other_bucket_is_its_own_inverse() {
        for conns in [1, 3, 100, 1001] {
            let index = Index::new(conns).unwrap();
            for bucket in 0..index.buckets.len() {
                for tag in [1, 2, 77, 0xffff] {
                    let other = index.other(bucket, tag);
                    assert_eq!(index.other(other, tag), bucket, "{conns} {bucket} {tag}");
                }
            }
        }
    }

    #[test]
    fn holds_every_conn_it_was_made_for() {
        let conns = 100_000;
        let mut index = Index::new(conns).unwrap();
        for i in 0..conns as u32 {
            assert!(index.insert(mix(2 * i as u64), (ConnId(i), Direction::Original), Marks::NONE));
            assert!(index.insert(
                mix(2 * i as u64 + 1),
                (ConnId(i), Direction::Reply),
                Marks::NONE
            ));
        }
        for i in 0..conns as u32 {
            let hash = mix(2 * i as u64 + 1);
            let found =
                index.find(index.place(hash), |c, d| c == ConnId(i) && d == Direction::Reply);
            assert!(found.is_some());
        }
    }

    #[test]
    fn a_guess_finds_keys_of_either_choice_with_their_marks() {
        let conns = 100_000;
        let mut index = Index::new(conns).unwrap();
        let marks_of = |i: u32| Marks::of(i.is_multiple_of(3), i.is_multiple_of(2));
        for i in 0..2 * conns as u32 {
            assert!(index.insert(mix(i as u64), (ConnId(i), Direction::Reply), marks_of(i)));
        }
        let mut second = 0;
        for i in 0..2 * conns as u32 {
            let place = index.place(mix(i as u64));
            let guess = match index.guess(place) {
                Guess::Entry(found, marks) => Some((found, marks)),
                Guess::Second => {
                    second += 1;
                    index.guess_second(place)
                }
                Guess::Nothing => None,
            };
            // Others of the same tag are few.
            let (found, marks) = guess.unwrap();
            assert_eq!(marks, marks_of(found.conn().0));
        }
        assert!((1000..20_000).contains(&second), "{second} in their second choice");
    }

    #[test]
    fn full_is_refused_without_losing_anything() {
        let mut index = Index::new(50).unwrap();
        let mut held = 0;
        while index.insert(mix(held as u64), (ConnId(held), Direction::Original), Marks::NONE) {
            held += 1;
        }
        assert!(held as usize >= 100, "refused at {held}");
        for i in 0..held {
            assert!(index.find(index.place(mix(i as u64)), |c, _| c == ConnId(i)).is_some());
        }
        for i in 0..held {
            assert!(index.remove(index.place(mix(i as u64)), ConnId(i), Direction::Original));
        }
        assert!(index.buckets.iter().all(|b| b.displaced == 0 && b.tags == [0; SLOTS]));
    }

    proptest! {
        #[test]
        fn behaves_as_a_map(steps in proptest::collection::vec((any::<bool>(), 0u32..200), 1..600)) {
            let mut index = Index::new(100).unwrap();
            let mut model: HashMap<u32, ()> = HashMap::new();
            for (add, key) in steps {
                // Few distinct hashes, so that tags collide.
                let hash = mix((key / 4) as u64);
                if add && model.len() < 150 && !model.contains_key(&key) {
                    if index.insert(hash, (ConnId(key), Direction::Original), Marks::NONE) {
                        model.insert(key, ());
                    }
                } else if !add {
                    let removed = index.remove(index.place(hash), ConnId(key), Direction::Original);
                    prop_assert_eq!(removed, model.remove(&key).is_some());
                }
            }
            for key in 0..200 {
                let found = index.find(index.place(mix((key / 4) as u64)), |c, _| c == ConnId(key));
                prop_assert_eq!(found.is_some(), model.contains_key(&key));
            }
        }
    }
}
