//! Leases of local addresses and ports, for full-NAT.
//!
//! What must be unique is (protocol, laddr, lport, daddr, dport), so each local address has its
//! whole port range toward each dest endpoint: 64,511 conns. Ports are dealt to the workers by
//! `owner`; a worker hands out the ports it owns, so replies find their conn's worker by port.
//!
//! Toward one (laddr, dest endpoint), a pair, the port that has been idle longest goes first:
//! those never used, in an order of `order`, then those given back, in the order of their return. A port that
//! comes back leaves a note of what the dest last saw on its tuple (`Last`), so that the next
//! conn's numbers can begin past it.
//!
//! A pair costs some 0.4 KB while nothing has come back, 12 bytes more for each idle port that was
//! used, in chunks of 64, and at most 0.83 MB; it is given up when no port of it has been leased for
//! `WHOLE`, or when another pair needs its place and it has been whole longest. What was remembered
//! of its ports goes with it: where a dest still holds one of their conns in TIME_WAIT, RFC 6528's
//! clock stands in, which is past all that a conn of less than 15.6 MB/s has sent. Conns toward one dest take turns over a few of the pool's addresses (`SPREAD`) and
//! reach for the others only when those are used up, so that large pools do not make as many pairs.

mod book;
mod idle;
mod near;
mod order;
mod pool;
mod ports;

pub use book::Book;
pub use book::Counts;
pub use book::Held;
pub use idle::Last;
pub use ports::FIRST_PORT;
pub use ports::PORTS;
pub use ports::owner;

use crate::conn::ConnId;
use crate::conn::chain;
use crate::conn::chain::Chain;
use crate::conn::chain::Links;
use crate::tick::Stamp;
use crate::tuple::Addr;
use crate::tuple::Proto;
use crate::tuple::Tuple;
use core::hash::Hash;
use core::hash::Hasher;
use hashbrown::HashMap;
use idle::Chunks;
use idle::Queue;
use near::Near;
use near::Place;
use near::after;
use order::Order;
use pool::SPREAD;
use pool::nth;
use pool::reach;
use ports::Own;
use std::io;
use std::sync::Arc;

/// A pair without leases is given up after this many milliseconds.
pub const WHOLE: u32 = 120_000;

/// A (laddr, dest endpoint).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Key {
    laddr: Addr,
    daddr: Addr,
    dport: u16,
    proto: Proto,
}

impl Hash for Key {
    /// Both addresses at once. Where strangers choose one, under `[[snat]]`, at most as many keys as a pool has
    /// addresses are of one hash.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.laddr.bits().rotate_left(64) ^ self.daddr.bits());
        state.write_u32(u32::from(self.dport) << 8 | self.proto as u32);
    }
}

/// A pair's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PairId(pub(crate) u32);

/// No pair.
pub(crate) const NO_PAIR: u32 = u32::MAX;

/// What a worker knows of a pair.
#[derive(Clone, Copy, Debug)]
#[repr(align(128))]
struct Pair {
    /// None: this number is not in use.
    key: Option<Key>,
    /// Own ports that have ever been leased: the first so many of `order`.
    fresh: u32,
    order: Order,
    /// The port of that order which goes next.
    next: Option<u16>,
    held: u32,
    idle: Queue,
    /// When its last lease came back, and its neighbours among those of which nothing is leased.
    whole_since: Stamp,
    links: Links,
    /// Conns that would lend their port out again, linked through their tracks.
    lenders: Chain,
    /// Its local address's number in the book.
    addr: u32,
}

const _: () = assert!(size_of::<Pair>() == 128);

/// Whole pairs are linked through themselves.
const LINKS: chain::At<Vec<Pair>> = |pairs, number| &mut pairs[number as usize].links;

/// A leased port.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Lease {
    /// The local address.
    pub laddr: Addr,
    /// The port.
    pub lport: u16,
    /// Toward which dest.
    pub pair: PairId,
    /// What the dest saw last on this tuple, if that is remembered.
    pub last: Last,
}

/// One worker's leases.
#[derive(Debug)]
pub struct Leases {
    own: Own,
    numbers: HashMap<Key, u32>,
    near: Near,
    pairs: Vec<Pair>,
    free: Vec<u32>,
    chunks: Chunks,
    held: usize,
    /// Pairs without leases, in the order in which they lost the last one.
    whole: Chain,
    /// Pairs there is room for.
    max: usize,
    /// Numbers of local addresses in the book, and of each the pairs it has.
    addrs: HashMap<Addr, u32>,
    addr_pairs: Vec<u32>,
    book: Arc<Book>,
    /// What pairs' orders are made of.
    secret: Option<u64>,
}

impl Leases {
    /// Room for as many pairs as `book` has, where what others may know is kept. Ports go out the
    /// first time in an order of `secret`, without one in a rising order.
    ///
    /// # Errors
    /// The kernel's, when it gives no address space: 0.83 MB a pair over all workers.
    pub fn new(
        worker: usize,
        workers: usize,
        book: Arc<Book>,
        secret: Option<u64>,
    ) -> io::Result<Self> {
        let pairs = book.capacity();
        let ports = (PORTS as usize).div_ceil(workers);
        Ok(Self {
            own: Own::of(worker, workers),
            max: pairs,
            // Twice the room: a map that is never more than half full never has to grow, only to
            // tidy up in place.
            numbers: HashMap::with_capacity(pairs * 2),
            near: Near::new(worker),
            pairs: Vec::with_capacity(pairs),
            free: Vec::with_capacity(pairs),
            chunks: Chunks::new(pairs, ports)?,
            held: 0,
            whole: Chain::EMPTY,
            addrs: HashMap::with_capacity(pairs * 2),
            addr_pairs: Vec::with_capacity(pairs),
            book,
            secret,
        })
    }

    /// Has the memory given now that so many idle ports take.
    pub(crate) fn populate(&mut self, ports: usize) {
        self.chunks.populate(ports);
    }

    /// Leases held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Leases a port of the first of `laddrs` that has an idle one toward the dest; `turn` says
    /// with which to begin. None when all are in use, or when there is room for no further pair
    /// and all have leases.
    #[inline(always)]
    pub fn lease(
        &mut self,
        proto: Proto,
        laddrs: &[Addr],
        turn: usize,
        daddr: Addr,
        dport: u16,
    ) -> Option<Lease> {
        let place = Place::of(proto, daddr, dport);
        let (slot, laddr) = nth(laddrs, turn, daddr, 0)?;
        let key = Key { laddr, daddr, dport, proto };
        if let lease @ Some(_) = self.lease_of(place, slot, key) {
            return lease;
        }
        // Taken and given anew: neither need lie in memory then.
        let lease = self.lease_further(place, laddrs, turn, Key { ..key })?;
        Some(Lease { ..lease })
    }

    /// The same beyond the first one.
    #[cold]
    #[inline(never)]
    fn lease_further(
        &mut self,
        place: Place,
        laddrs: &[Addr],
        turn: usize,
        key: Key,
    ) -> Option<Lease> {
        reach(laddrs, turn, key.daddr)
            .skip(1)
            .find_map(|(slot, laddr)| self.lease_of(place, slot, Key { laddr, ..key }))
    }

    /// An idle port of a pair, which is perhaps noted near.
    #[inline(always)]
    fn lease_of(&mut self, place: Place, slot: usize, key: Key) -> Option<Lease> {
        let pair = self.near(place, slot, key)?;
        let p = &mut self.pairs[pair.0 as usize];
        let (lport, last) = match p.next {
            Some(port) => {
                p.fresh += 1;
                p.next = self.own.nth(p.order, p.fresh);
                (port, Last::NOTHING)
            }
            None => self.chunks.pop(&mut p.idle)?,
        };
        p.held += 1;
        let was_whole = p.held == 1;
        self.book.set_held(pair.0, p.held);
        if was_whole {
            self.whole.leave(&mut self.pairs, LINKS, pair.0);
        }
        self.held += 1;
        Some(Lease { laddr: key.laddr, lport, pair, last })
    }

    /// With which of a pool of so many addresses a conn to the dest begins: each with the one after the
    /// last one's.
    pub fn turn(&mut self, proto: Proto, daddr: Addr, dport: u16, laddrs: usize) -> usize {
        self.near.turn(Place::of(proto, daddr, dport), laddrs.clamp(1, SPREAD))
    }

    /// The tuple of answers to the lease that probably comes after that of `turn`, of a pool of so
    /// many addresses. Asks the processor for what the two after that will want, so that nothing
    /// here has to be waited for.
    #[inline(always)]
    pub(crate) fn ahead(
        &self,
        (proto, daddr, dport): (Proto, Addr, u16),
        (turn, laddrs): (usize, usize),
    ) -> Option<Tuple> {
        let (place, spread) = (Place::of(proto, daddr, dport), laddrs.clamp(1, SPREAD));
        let first = after(turn, spread);
        let second = after(first, spread);
        hw::prefetch_index(&self.pairs, self.near.get(place, after(second, spread))? as usize);
        if let Some(pair) = self.pairs.get(self.near.get(place, second)? as usize) {
            self.chunks.prefetch(pair.idle.first());
        }
        let pair = self.pairs.get(self.near.get(place, first)? as usize)?;
        let lport = self.next(pair)?;
        let laddr = pair.key?.laddr;
        Some(Tuple { src: daddr, dst: laddr, sport: dport, dport: lport, proto })
    }

    /// The port that a pair's next lease has, unless one is given back before to a pair that has
    /// none.
    #[inline(always)]
    fn next(&self, pair: &Pair) -> Option<u16> {
        match pair.next {
            None => self.chunks.first(&pair.idle),
            next => next,
        }
    }

    /// Asks the processor for a pair that a lease is to be given back to.
    pub(crate) fn prefetch(&self, pair: PairId) {
        hw::prefetch_index(&self.pairs, pair.0 as usize);
    }

    /// And for where its port is to be noted, once the pair is here.
    pub(crate) fn prefetch_idle(&self, pair: PairId) {
        if let Some(p) = self.pairs.get(pair.0 as usize) {
            self.chunks.prefetch(p.idle.last());
        }
    }

    /// Gives a lease back; its port is the last to be leased again.
    #[inline(always)]
    pub fn give_back(&mut self, pair: PairId, lport: u16, last: Last, now: Stamp) {
        let p = &mut self.pairs[pair.0 as usize];
        p.held -= 1;
        self.held -= 1;
        self.book.set_held(pair.0, p.held);
        self.chunks.push(&mut p.idle, lport, last);
        if p.held == 0 {
            p.whole_since = now;
            self.whole.join(&mut self.pairs, LINKS, pair.0);
        }
    }

    /// The conn that has been ready longest to lend its port toward the dest, over all of
    /// `laddrs`; `since` tells for how long. The caller moves the lease.
    pub fn lender(
        &self,
        proto: Proto,
        laddrs: &[Addr],
        daddr: Addr,
        dport: u16,
        since: impl Fn(ConnId) -> Stamp,
        now: Stamp,
    ) -> Option<ConnId> {
        let pairs = reach(laddrs, 0, daddr).filter_map(|(_, laddr)| {
            let number = self.numbers.get(&Key { laddr, daddr, dport, proto })?;
            self.pairs[*number as usize].lenders.oldest().map(ConnId)
        });
        pairs.max_by_key(|conn| now.0.wrapping_sub(since(*conn).0))
    }

    /// A conn of the pair has lent its port.
    pub fn count_lent(&self, pair: PairId) {
        self.book.count_lent(self.pairs[pair.0 as usize].addr);
    }

    /// A conn to the dest was refused for want of a port of any of `laddrs`.
    pub fn count_exhausted(&self, laddrs: &[Addr], daddr: Addr) {
        let known = reach(laddrs, 0, daddr).filter_map(|(_, laddr)| self.addrs.get(&laddr));
        known.for_each(|number| self.book.count_exhausted(*number));
    }

    /// The pair's conns that would lend.
    pub(crate) fn lenders(&mut self, pair: PairId) -> &mut Chain {
        &mut self.pairs[pair.0 as usize].lenders
    }

    /// Gives up pairs that have been whole for `WHOLE`, at most `quota`.
    pub fn give_up(&mut self, now: Stamp, quota: usize) {
        for _ in 0..quota {
            let Some(oldest) = self.whole.oldest() else { return };
            if !self.pairs[oldest as usize].whole_since.after(WHOLE).is_due(now) {
                return;
            }
            self.end_pair(oldest);
        }
    }

    /// Forgets all about a whole pair.
    fn end_pair(&mut self, number: u32) {
        self.whole.leave(&mut self.pairs, LINKS, number);
        let pair = &mut self.pairs[number as usize];
        self.chunks.clear(&mut pair.idle);
        self.addr_pairs[pair.addr as usize] -= 1;
        if let Some(key) = pair.key.take() {
            self.numbers.remove(&key);
        }
        self.book.end_pair(number);
        self.free.push(number);
    }

    /// Pairs that there is something to know of.
    pub fn pairs(&self) -> usize {
        self.numbers.len()
    }

    /// Bytes that pairs and idle ports take up.
    pub fn bytes(&self) -> usize {
        self.pairs() * Self::PER_PAIR + self.chunks.bytes()
    }

    const PER_PAIR: usize =
        size_of::<Pair>() + size_of::<(Key, u32)>() + 1 + size_of::<u32>() + Book::PER_PAIR;

    /// The pair of a key, which is perhaps noted near.
    #[inline(always)]
    fn near(&mut self, place: Place, slot: usize, key: Key) -> Option<PairId> {
        if let Some(noted) = self.near.get(place, slot)
            && self.pairs.get(noted as usize).is_some_and(|pair| pair.key == Some(key))
        {
            return Some(PairId(noted));
        }
        let pair = self.pair(key)?;
        self.near.note(place, slot, pair.0);
        Some(pair)
    }

    #[inline(never)]
    fn pair(&mut self, key: Key) -> Option<PairId> {
        if let Some(number) = self.numbers.get(&key) {
            return Some(PairId(*number));
        }
        // Beyond this the tables would grow.
        if self.free.is_empty() && self.pairs.len() == self.max {
            self.end_pair(self.whole.oldest()?);
        }
        let addr = self.addr(key.laddr);
        self.addr_pairs[addr as usize] += 1;
        let order = Order::of(&key, self.secret);
        let pair = Pair {
            key: Some(key),
            fresh: 0,
            order,
            next: self.own.nth(order, 0),
            held: 0,
            idle: Queue::EMPTY,
            whole_since: Stamp(0),
            links: Links::NONE,
            lenders: Chain::EMPTY,
            addr,
        };
        let number = match self.free.pop() {
            Some(number) => {
                self.pairs[number as usize] = pair;
                number
            }
            None => {
                self.pairs.push(pair);
                self.pairs.len() as u32 - 1
            }
        };
        // Until its first lease.
        self.whole.join(&mut self.pairs, LINKS, number);
        self.numbers.insert(key, number);
        self.book.begin_pair(number, &key);
        Some(PairId(number))
    }

    /// A local address's number in the book. There are as many as pairs, so that one without pairs
    /// can make way.
    fn addr(&mut self, laddr: Addr) -> u32 {
        if let Some(number) = self.addrs.get(&laddr) {
            return *number;
        }
        let number = if self.addr_pairs.len() < self.max {
            self.addr_pairs.push(0);
            self.addr_pairs.len() - 1
        } else {
            let unused = self.addr_pairs.iter().position(|pairs| *pairs == 0);
            let number = unused.unwrap_or_default();
            self.addrs.retain(|_, n| *n != number as u32);
            number
        };
        self.addrs.insert(laddr, number as u32);
        self.book.begin_addr(number as u32, laddr);
        number as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hashbrown::HashSet;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    const DEST: Addr = Addr::v4(9);
    const POOL: [Addr; 1] = [Addr::v4(1)];
    const NOW: Stamp = Stamp(0);

    fn leases(worker: usize, workers: usize, pairs: usize) -> Leases {
        Leases::new(worker, workers, Arc::new(Book::new(pairs).unwrap()), None).unwrap()
    }

    fn lease(l: &mut Leases) -> Option<Lease> {
        l.lease(Proto::Tcp, &POOL, 0, DEST, 80)
    }

    #[test]
    fn every_port_is_leased_once_and_the_pool_is_whole_again() {
        for workers in [1, 2, 3, 7] {
            let mut all = HashSet::new();
            for worker in 0..workers {
                let mut l = leases(worker, workers, 4);
                for round in 0..2 {
                    let leases: Vec<_> = std::iter::from_fn(|| lease(&mut l)).collect();
                    assert_eq!(l.held(), leases.len());
                    for p in &leases {
                        assert_eq!(owner(p.lport, workers), worker);
                        assert!(p.lport >= FIRST_PORT);
                        assert!(all.insert(p.lport) || round == 1);
                        l.give_back(p.pair, p.lport, Last::NOTHING, NOW);
                    }
                }
                assert_eq!(l.held(), 0);
            }
            assert_eq!(all.len(), PORTS as usize);
        }
    }

    /// RFC 6056: an order nobody can guess, each port once, and then as without it.
    #[test]
    fn with_a_secret_ports_never_used_go_out_in_an_order_of_it_then_the_one_idle_longest() {
        for worker in 0..3 {
            let shuffled = |secret| {
                let book = Arc::new(Book::new(4).unwrap());
                let mut l = Leases::new(worker, 3, book, Some(secret)).unwrap();
                let all: Vec<_> = std::iter::from_fn(|| lease(&mut l)).collect();
                (l, all.iter().map(|p| p.lport).collect::<Vec<_>>(), all)
            };
            let (mut l, ports, all) = shuffled(1);
            assert_ne!(ports, shuffled(2).1);
            assert!(!ports.is_sorted());
            let mut sorted = ports.clone();
            sorted.sort_unstable();
            let own = (FIRST_PORT..=u16::MAX).filter(|p| owner(*p, 3) == worker);
            assert!(own.eq(sorted));
            all.iter().for_each(|p| l.give_back(p.pair, p.lport, Last::NOTHING, NOW));
            assert!(std::iter::from_fn(|| lease(&mut l)).map(|p| p.lport).eq(ports));
        }
    }

    #[test]
    fn the_port_that_goes_next_is_known_before_fresh_or_given_back() {
        let mut l = leases(0, 20_000, 4);
        let first = lease(&mut l).unwrap();
        let mut out = vec![first];
        while let Some(next) = l.next(&l.pairs[first.pair.0 as usize]) {
            out.push(lease(&mut l).unwrap());
            assert_eq!(out.last().unwrap().lport, next);
        }
        assert_eq!((out.len(), lease(&mut l)), (3, None));
        l.give_back(out[1].pair, out[1].lport, Last::NOTHING, NOW);
        l.give_back(out[0].pair, out[0].lport, Last::NOTHING, NOW);
        assert_eq!(l.next(&l.pairs[first.pair.0 as usize]), Some(out[1].lport));
        assert_eq!(lease(&mut l).unwrap().lport, out[1].lport);
        assert_eq!(l.next(&l.pairs[first.pair.0 as usize]), Some(out[0].lport));
    }

    /// Fresh ones and those given back, over the addresses in their turns, of endpoints that share a
    /// place and of those that do not.
    #[test]
    fn the_lease_that_comes_next_is_known_before() {
        for (laddrs, dests) in [(1, 1), (3, 2), (16, 3), (20, 9), (5, 9000)] {
            let pool: Vec<_> = (0..laddrs).map(Addr::v4).collect();
            let mut l = leases(0, 8000, dests * 20);
            let (mut right, mut asked, mut out) = (0, 0, Vec::new());
            let mut ahead = vec![None; dests];
            for n in 0..dests * 50 {
                let daddr = Addr::v4(0x0a00_0000 + (n % dests) as u32);
                let turn = l.turn(Proto::Tcp, daddr, 80, pool.len());
                let lease = l.lease(Proto::Tcp, &pool, turn, daddr, 80).unwrap();
                if let Some(Tuple { src, dst, sport, dport, proto }) = ahead[n % dests].take() {
                    asked += 1;
                    assert_eq!((sport, proto), (80, Proto::Tcp));
                    right += usize::from((src, dst, dport) == (daddr, lease.laddr, lease.lport));
                }
                ahead[n % dests] = l.ahead((Proto::Tcp, daddr, 80), (turn, pool.len()));
                out.push(lease);
                if out.len() > dests * 4 {
                    let old = out.remove(0);
                    l.give_back(old.pair, old.lport, Last::NOTHING, NOW);
                }
            }
            // All of them once each pair is noted; of 9,000 dests many share a place.
            let least = if dests > 4096 { 1 } else { asked * 9 / 10 };
            assert!(asked >= dests * 30 && right >= least, "{laddrs} {dests}: {right} of {asked}");
        }
    }

    #[test]
    fn what_is_noted_near_of_a_pair_given_up_serves_nobody() {
        let mut l = leases(0, 1, 1);
        let a = lease(&mut l).unwrap();
        l.give_back(a.pair, a.lport, Last::NOTHING, NOW);
        let other = Addr::v4(10);
        // The only pair there is room for has another key now, and its first one again then.
        for (n, daddr) in [other, DEST, other].into_iter().enumerate() {
            let b = l.lease(Proto::Tcp, &POOL, 0, daddr, 80).unwrap();
            assert_eq!((b.pair, b.lport, l.pairs()), (a.pair, a.lport, 1), "{n}");
            assert_eq!(l.pairs[0].key.map(|key| key.daddr), Some(daddr));
            l.give_back(b.pair, b.lport, Last::NOTHING, NOW);
        }
    }

    #[test]
    fn each_dest_endpoint_has_its_own_ports() {
        let mut l = leases(0, 1, 8);
        let mut port = |proto, dport| l.lease(proto, &POOL, 0, DEST, dport).unwrap().lport;
        let a = port(Proto::Tcp, 80);
        assert_eq!((a, a), (port(Proto::Tcp, 81), port(Proto::Udp, 80)));
    }

    #[test]
    fn the_next_address_serves_when_one_is_used_up() {
        let pool = [Addr::v4(1), Addr::v4(2)];
        let mut l = leases(0, 1, 8);
        let mut by_addr = [0; 2];
        while let Some(lease) = l.lease(Proto::Tcp, &pool, 0, DEST, 80) {
            by_addr[(lease.laddr == pool[1]) as usize] += 1;
        }
        assert_eq!(by_addr, [PORTS, PORTS]);
    }

    #[test]
    fn all_addresses_of_a_large_pool_are_reached() {
        let pool: Vec<_> = (0..1000).map(Addr::v4).collect();
        // One port of each address is this worker's.
        let mut l = leases(1025, 64_511, 1000);
        let all: HashSet<_> =
            (0..).map_while(|n| l.lease(Proto::Tcp, &pool, n, DEST, 80)).map(|a| a.laddr).collect();
        assert_eq!(all.len(), 1000);
    }

    #[test]
    fn too_many_pairs_are_refused() {
        let mut l = leases(0, 1, 4);
        let got = (0..1000).filter(|d| l.lease(Proto::Tcp, &POOL, 0, DEST, *d).is_some()).count();
        assert_eq!(got, 4);
    }

    /// "No SYN is refused while any port toward that dest is free": neither are pairs that nobody
    /// uses in the way of others.
    #[test]
    fn where_there_is_no_room_the_pair_whole_longest_makes_way() {
        let mut l = leases(0, 1, 4);
        let lease = |l: &mut Leases, dport| l.lease(Proto::Tcp, &POOL, 0, DEST, dport);
        let all = [1, 2, 3, 4].map(|dport| lease(&mut l, dport).unwrap());
        assert_eq!(lease(&mut l, 5), None, "all are in use");
        let last = Last::new(7, None);
        for (n, now) in [(2, 10), (0, 20), (3, 30)] {
            l.give_back(all[n].pair, all[n].lport, last, Stamp(now));
        }
        // One that is used again is not the oldest any more.
        let again = lease(&mut l, 3).unwrap();
        l.give_back(again.pair, again.lport, last, Stamp(40));
        let places = [5, 6, 7].map(|dport| lease(&mut l, dport).unwrap().pair);
        assert_eq!(places, [0, 3, 2].map(|n: usize| all[n].pair), "in the order they became whole");
        assert_eq!((lease(&mut l, 8), l.pairs()), (None, 4));
        assert_eq!(l.bytes(), Leases::PER_PAIR * 4, "and nothing remains of their ports");
        // The pair that was in use all the time is as it was.
        assert_eq!(lease(&mut l, 2).unwrap().pair, all[1].pair);
    }

    /// Every port of every pair can come back.
    #[test]
    fn there_is_room_for_all_idle_ports_of_all_pairs() {
        let mut l = leases(0, 1, 6);
        for dport in 1..=6 {
            let all = || l.lease(Proto::Tcp, &POOL, 0, DEST, dport);
            let leases: Vec<_> = std::iter::from_fn(all).collect();
            assert_eq!(leases.len(), PORTS as usize);
            leases.iter().for_each(|a| l.give_back(a.pair, a.lport, Last::NOTHING, NOW));
        }
        l.give_up(NOW.after(WHOLE), 10);
        assert_eq!(l.bytes(), 0);
    }

    #[test]
    fn a_large_pool_does_not_make_a_pair_of_every_address() {
        let pool: Vec<_> = (0..200).map(Addr::v4).collect();
        let mut l = leases(0, 1, 1000);
        for turn in 0..1000 {
            l.lease(Proto::Tcp, &pool, turn, DEST, 80).unwrap();
        }
        assert_eq!(l.pairs(), SPREAD);
    }

    #[test]
    fn what_the_dest_saw_last_is_remembered_by_port() {
        let mut l = leases(0, 64_511, 4);
        let first = lease(&mut l).unwrap();
        assert_eq!(first.last, Last::NOTHING);
        assert_eq!(lease(&mut l), None);
        let last = Last::new(7, Some(9));
        l.give_back(first.pair, first.lport, last, NOW);
        assert_eq!(lease(&mut l).unwrap().last, last);
    }

    #[test]
    fn a_pair_whole_for_120_s_is_given_up() {
        let mut l = leases(0, 1, 4);
        let a = lease(&mut l).unwrap();
        l.give_back(a.pair, a.lport, Last::NOTHING, Stamp(5));
        l.give_up(Stamp(4).after(WHOLE), 10);
        assert_eq!(l.pairs(), 1);
        l.give_up(Stamp(5).after(WHOLE), 10);
        assert_eq!((l.pairs(), l.bytes()), (0, 0));
        // Its number serves another pair, and a held one is never given up.
        let b = l.lease(Proto::Udp, &POOL, 0, DEST, 80).unwrap();
        assert_eq!(b.pair, a.pair);
        l.give_up(Stamp(0).after(u32::MAX / 2), 10);
        assert_eq!(l.pairs(), 1);
    }

    /// 1,000 dests x 16 laddrs with 60 conns each, opened and closed.
    #[test]
    fn a_million_used_ports_fit_in_256_mb() {
        let laddrs: Vec<_> = (0..16).map(Addr::v4).collect();
        let mut l = leases(0, 1, 16_384);
        let mut held = Vec::new();
        for dest in 0..1000 {
            for i in 0..16 * 60 {
                let daddr = Addr::v4(0x0a00_0000 + dest);
                held.push(l.lease(Proto::Tcp, &laddrs, i, daddr, 80).unwrap());
            }
        }
        assert_eq!(l.pairs(), 16_000);
        for h in held {
            l.give_back(h.pair, h.lport, Last::new(1, Some(1)), NOW);
        }
        assert!(l.bytes() < 256 << 20, "{}", l.bytes());
    }

    proptest! {
        #[test]
        fn idle_longest_first(steps in proptest::collection::vec((any::<bool>(), any::<u16>()), 1..2000), worker in 0usize..3) {
            let mut l = leases(worker, 3, 4);
            let mut fresh = (FIRST_PORT..=u16::MAX).filter(|p| owner(*p, 3) == worker);
            let (mut idle, mut held) = (VecDeque::new(), Vec::new());
            // Begin near the end of the fresh ports, so that the queue comes into play.
            for p in fresh.by_ref().take(21_400) {
                held.push(lease(&mut l).unwrap());
                prop_assert_eq!(held[held.len() - 1].lport, p);
            }
            for (take, which) in steps {
                if take {
                    let expected = fresh.next().or_else(|| idle.pop_front());
                    let got = lease(&mut l);
                    prop_assert_eq!(got.map(|l| l.lport), expected);
                    held.extend(got);
                } else if !held.is_empty() {
                    let p = held.swap_remove(which as usize % held.len());
                    l.give_back(p.pair, p.lport, Last::NOTHING, NOW);
                    idle.push_back(p.lport);
                }
                prop_assert_eq!(l.held(), held.len());
            }
        }
    }
}
