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
    /// Of each slot, whether the key was entered as marked.
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

/// What the index tells of a hash before the conn's line is looked at.
#[derive(Clone, Copy)]
pub(super) enum Guess {
    /// Probably this conn, and whether it was entered as marked.
    Conn(ConnId, Direction, bool),
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
    /// The most conns an index can number.
    pub(super) const MAX_CONNS: usize = 1 << 30;

    /// Room for two keys of each of `conns` conns at a load of 0.7.
    pub(super) fn new(conns: usize) -> io::Result<Self> {
        let buckets = (conns * 2 * 10).div_ceil(SLOTS * 7).max(2);
        Ok(Self { buckets: HugeSlice::new(buckets)? })
    }

    /// Bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>()
    }

    #[inline(always)]
    pub(super) fn prefetch(&self, hash: u64) {
        hw::prefetch_index(&self.buckets, self.first(hash));
    }

    /// Candidates for a hash, most likely ones first; the caller compares tuples.
    #[inline(always)]
    pub(super) fn find(
        &self,
        hash: u64,
        is_it: impl Fn(ConnId, Direction) -> bool,
    ) -> Option<(ConnId, Direction)> {
        let (tag, first) = (tag(hash), self.first(hash));
        let bucket = &self.buckets[first];
        if let found @ Some(_) = bucket.find(tag, &is_it) {
            return found;
        }
        if bucket.displaced == 0 {
            return None;
        }
        self.buckets[self.other(first, tag)].find(tag, &is_it)
    }

    /// The first candidate in the first bucket: a guess worth prefetching, and mostly right.
    #[inline(always)]
    pub(super) fn guess(&self, hash: u64) -> Guess {
        let first = self.first(hash);
        let bucket = &self.buckets[first];
        if let Some((conn, way, marked)) = bucket.guess(tag(hash)) {
            return Guess::Conn(conn, way, marked);
        }
        if bucket.displaced == 0 {
            return Guess::Nothing;
        }
        hw::prefetch_index(&self.buckets, self.other(first, tag(hash)));
        Guess::Second
    }

    /// The same of the second bucket.
    pub(super) fn guess_second(&self, hash: u64) -> Option<(ConnId, Direction, bool)> {
        let tag = tag(hash);
        self.buckets[self.other(self.first(hash), tag)].guess(tag)
    }

    /// Enters a key, marked or not; false where no room could be made.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        (conn, way): (ConnId, Direction),
        marked: bool,
    ) -> bool {
        let (tag, first) = (tag(hash), self.first(hash));
        let second = self.other(first, tag);
        let entry = Entry::new(conn, way);
        for _ in 0..2 {
            if let Some(slot) = self.buckets[first].free() {
                self.buckets[first].put(slot, tag, entry, marked);
                return true;
            }
            if let Some(slot) = self.buckets[second].free() {
                let entry = Entry(entry.0 | Entry::SECOND);
                self.buckets[second].put(slot, tag, entry, marked);
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
    pub(super) fn remove(&mut self, hash: u64, conn: ConnId, way: Direction) -> bool {
        let (tag, first) = (tag(hash), self.first(hash));
        let entry = Entry::new(conn, way);
        if self.buckets[first].take(tag, entry).is_some() {
            return true;
        }
        let second = self.other(first, tag);
        let found = self.buckets[second].take(tag, entry).is_some();
        if found {
            self.buckets[first].displaced -= 1;
        }
        found
    }

    #[inline(always)]
    fn first(&self, hash: u64) -> usize {
        // The upper half, scaled: any number of buckets, no division.
        (((hash >> 32) * self.buckets.len() as u64) >> 32) as usize
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
        let marked = self.buckets[from].is_marked(slot);
        self.buckets[from].tags[slot] = 0;
        if entry.is_second() {
            self.buckets[to].displaced -= 1;
        } else {
            self.buckets[from].displaced += 1;
        }
        if let Some(free) = self.buckets[to].free() {
            self.buckets[to].put(free, tag, Entry(entry.0 ^ Entry::SECOND), marked);
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
    fn guess(&self, tag: u16) -> Option<(ConnId, Direction, bool)> {
        let hits = match16(&self.tags, tag);
        let slot = hits.trailing_zeros() as usize & 7;
        let entry = Entry(self.entries[slot]);
        (hits != 0).then(|| (entry.conn(), entry.way(), self.is_marked(slot)))
    }

    #[inline(always)]
    fn is_marked(&self, slot: usize) -> bool {
        self.marks >> slot & 1 != 0
    }

    fn free(&self) -> Option<usize> {
        let free = match16(&self.tags, 0);
        (free != 0).then(|| free.trailing_zeros() as usize)
    }

    fn put(&mut self, slot: usize, tag: u16, entry: Entry, marked: bool) {
        self.marks = self.marks & !(1 << slot) | (marked as u32) << slot;
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

/// The low 16 bits, 0 excepted; `Index::first` uses the high 32.
#[inline(always)]
fn tag(hash: u64) -> u16 {
    (hash as u16).max(1)
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
            assert!(index.insert(mix(2 * i as u64), (ConnId(i), Direction::Original), false));
            assert!(index.insert(mix(2 * i as u64 + 1), (ConnId(i), Direction::Reply), false));
        }
        for i in 0..conns as u32 {
            let hash = mix(2 * i as u64 + 1);
            let found = index.find(hash, |c, d| c == ConnId(i) && d == Direction::Reply);
            assert!(found.is_some());
        }
    }

    #[test]
    fn a_guess_finds_keys_of_either_choice_with_their_marks() {
        let conns = 100_000;
        let mut index = Index::new(conns).unwrap();
        let is_marked = |i: u32| i.is_multiple_of(3);
        for i in 0..2 * conns as u32 {
            assert!(index.insert(mix(i as u64), (ConnId(i), Direction::Reply), is_marked(i)));
        }
        let mut second = 0;
        for i in 0..2 * conns as u32 {
            let guess = match index.guess(mix(i as u64)) {
                Guess::Conn(conn, _, marked) => Some((conn, marked)),
                Guess::Second => {
                    second += 1;
                    index.guess_second(mix(i as u64)).map(|(conn, _, marked)| (conn, marked))
                }
                Guess::Nothing => None,
            };
            // Others of the same tag are few.
            let (conn, marked) = guess.unwrap();
            assert_eq!(marked, is_marked(conn.0));
        }
        assert!((1000..20_000).contains(&second), "{second} in their second choice");
    }

    #[test]
    fn full_is_refused_without_losing_anything() {
        let mut index = Index::new(50).unwrap();
        let mut held = 0;
        while index.insert(mix(held as u64), (ConnId(held), Direction::Original), false) {
            held += 1;
        }
        assert!(held as usize >= 100, "refused at {held}");
        for i in 0..held {
            assert!(index.find(mix(i as u64), |c, _| c == ConnId(i)).is_some());
        }
        for i in 0..held {
            assert!(index.remove(mix(i as u64), ConnId(i), Direction::Original));
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
                    if index.insert(hash, (ConnId(key), Direction::Original), false) {
                        model.insert(key, ());
                    }
                } else if !add {
                    prop_assert_eq!(index.remove(hash, ConnId(key), Direction::Original), model.remove(&key).is_some());
                }
            }
            for key in 0..200 {
                let found = index.find(mix((key / 4) as u64), |c, _| c == ConnId(key));
                prop_assert_eq!(found.is_some(), model.contains_key(&key));
            }
        }
    }
}
