//! Access lists: whose conns are opened.
//!
//! The longest prefix that holds an address decides. So prefixes cut the addresses into ranges of
//! one answer each, and where neighbours of one answer are joined, answers alternate: a list is
//! nothing but the sorted addresses at which the answer changes, and an address is answered by
//! whether their number up to it is odd. Nested prefixes cost nothing at look-up, and a v4 entry at
//! most eight bytes.
//!
//! The edges lie in a tree of nodes of sixteen, without pointers: 1,000,000 v4 prefixes are six
//! levels of one cache line each, of which the upper four stay in the cache. Held against it were a
//! table by the first 24 bits (two lines, but 32 MiB for each list, and nothing for v6) and a hash
//! table by prefix length (as many lines as there are lengths).

use crate::service::ServiceId;
use crate::tuple::Addr;
use crate::tuple::Prefix;
use hashbrown::HashMap;
use std::sync::Arc;

/// Edges in a node: of v4 ones a cache line.
const FAN: usize = 16;

/// A list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acl {
    v4: Edges<u32>,
    v6: Edges<u128>,
}

impl Acl {
    /// The list of prefixes that are allowed (true) or denied; `others`: whether addresses are
    /// allowed that no prefix holds. A prefix that is both is denied.
    pub fn new(entries: impl IntoIterator<Item = (Prefix, bool)>, others: bool) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (prefix, allowed) in entries {
            let (first, last) = prefix.range();
            if first.is_v4() {
                v4.push(Range { first: first.v4_bits(), last: last.v4_bits(), allowed });
            } else {
                v6.push(Range { first: first.bits(), last: last.bits(), allowed });
            }
        }
        Self { v4: Edges::new(v4, others), v6: Edges::new(v6, others) }
    }

    /// Whether the list allows an address.
    #[inline]
    pub fn allows(&self, addr: Addr) -> bool {
        if addr.is_v4() { self.v4.allows(addr.v4_bits()) } else { self.v6.allows(addr.bits()) }
    }
}

/// All lists of a configuration. A client must be allowed by that of all services and by that of
/// its own; none allows everybody.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// Of all services.
    pub everywhere: Option<Arc<Acl>>,
    /// Of those that have one.
    pub services: HashMap<ServiceId, Arc<Acl>>,
}

impl Access {
    /// Whether a client may have conns of a service; none: of one that is no more.
    #[inline(always)]
    pub fn admits(&self, service: Option<ServiceId>, client: Addr) -> bool {
        let is_open = self.everywhere.is_none() && self.services.is_empty();
        is_open || self.lists_admit(service, client)
    }

    #[inline(never)]
    fn lists_admit(&self, service: Option<ServiceId>, client: Addr) -> bool {
        let own = service.and_then(|id| self.services.get(&id));
        let mut lists = self.everywhere.iter().chain(own);
        lists.all(|acl| acl.allows(client))
    }
}

/// A prefix as its first and last address.
struct Range<T> {
    first: T,
    last: T,
    allowed: bool,
}

/// An address as a number.
trait Key: Copy + Ord {
    const MAX: Self;
    fn next(self) -> Option<Self>;
}

impl Key for u32 {
    const MAX: Self = Self::MAX;
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Key for u128 {
    const MAX: Self = Self::MAX;
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(align(64))]
struct Node<T>([T; FAN]);

/// Keys of the tree at one depth, filled up with the highest one.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Level<T> {
    nodes: Box<[Node<T>]>,
    keys: usize,
}

impl<T: Key> Level<T> {
    fn new(keys: &[T]) -> Self {
        let node = |chunk: &[T]| {
            let mut node = Node([T::MAX; FAN]);
            node.0[..chunk.len()].copy_from_slice(chunk);
            node
        };
        Self { nodes: keys.chunks(FAN).map(node).collect(), keys: keys.len() }
    }
}

/// Where the answer changes.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Edges<T> {
    /// The answer before the first edge.
    before: bool,
    /// The last one has all edges, each other one the first key of every node of the next.
    levels: Vec<Level<T>>,
}

impl<T: Key> Edges<T> {
    fn new(ranges: Vec<Range<T>>, before: bool) -> Self {
        let mut keys = edges(ranges, before);
        let mut levels = Vec::new();
        while !keys.is_empty() {
            let level = Level::new(&keys);
            keys = match level.nodes.len() {
                1 => Vec::new(),
                _ => level.nodes.iter().map(|node| node.0[0]).collect(),
            };
            levels.push(level);
        }
        levels.reverse();
        Self { before, levels }
    }

    fn allows(&self, addr: T) -> bool {
        let mut passed = 0;
        for level in &self.levels {
            let at = passed.max(1) - 1;
            let here = level.nodes[at].0.iter().filter(|key| **key <= addr).count();
            // The highest address passes what a node was filled up with.
            passed = (at * FAN + here).min(level.keys);
        }
        self.before ^ (passed % 2 == 1)
    }
}

/// The addresses at which the answer changes, sorted.
fn edges<T: Key>(mut ranges: Vec<Range<T>>, before: bool) -> Vec<T> {
    // What holds another one comes first; of the same two the denied one last, so that it holds.
    ranges.sort_unstable_by_key(|r| (r.first, core::cmp::Reverse((r.last, r.allowed))));
    let mut sweep = Sweep { before, now: before, edges: Vec::new(), around: Vec::new() };
    for range in ranges {
        while sweep.around.last().is_some_and(|outer| outer.last < range.first) {
            sweep.leave();
        }
        sweep.change(range.first, range.allowed);
        sweep.around.push(range);
    }
    while !sweep.around.is_empty() {
        sweep.leave();
    }
    sweep.edges
}

/// A way through all addresses, from the lowest on.
struct Sweep<T> {
    /// The answer outside all ranges.
    before: bool,
    /// The answer at the place reached.
    now: bool,
    edges: Vec<T>,
    /// The ranges that hold that place, each within the one before it.
    around: Vec<Range<T>>,
}

impl<T: Key> Sweep<T> {
    /// The innermost range ends.
    fn leave(&mut self) {
        if let Some(next) = self.around.pop().and_then(|range| range.last.next()) {
            self.change(next, self.around.last().map_or(self.before, |range| range.allowed));
        }
    }

    fn change(&mut self, at: T, answer: bool) {
        if answer == self.now {
            return;
        }
        self.now = answer;
        // Two changes at one address are none.
        if self.edges.last() == Some(&at) {
            self.edges.pop();
        } else {
            self.edges.push(at);
        }
    }
}
