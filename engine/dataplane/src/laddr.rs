//! Leases of local addresses and ports, for full-NAT.
//!
//! What must be unique is (protocol, laddr, lport, daddr, dport), so each local address has its
//! whole port range toward each dest endpoint: 64,511 conns. Ports are dealt to the workers by
//! `owner`; a worker hands out the ports it owns, so replies find their conn's worker by port.
//!
//! Toward one (laddr, dest endpoint) the port that has been idle longest goes first: those never
//! used, in order, then those given back, in the order of their return. Servers keep a closed
//! conn's tuple in TIME_WAIT for a while; reusing it late keeps out of its way.

use crate::tuple::Addr;
use crate::tuple::Proto;
use hashbrown::HashMap;
use hw::HugeSlice;
use std::io;
use zerocopy::FromZeros;

/// First port ever leased; those below are for well-known services.
pub const FIRST_PORT: u16 = 1025;
/// Ports per address toward one dest endpoint.
pub const PORTS: u32 = 65_535 - FIRST_PORT as u32 + 1;

/// The worker that may hand out a local port, and to which answers to it belong.
#[inline]
pub fn owner(lport: u16, workers: usize) -> usize {
    lport as usize % workers
}

/// One (laddr, dest endpoint).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Pair {
    laddr: Addr,
    daddr: Addr,
    dport: u16,
    proto: Proto,
}

/// What a worker knows of a pair: ports below `fresh` (as a count of own ports) have been used;
/// the ones of them that are idle stand in a queue of chunks.
#[derive(Clone, Copy, Debug)]
struct State {
    fresh: u32,
    held: u32,
    first: u32,
    last: u32,
    /// Place of the oldest port in the first chunk, and of the next free place in the last.
    out: u8,
    into: u8,
}

const CHUNK: usize = 30;
const NO_CHUNK: u32 = 0;

#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C, align(64))]
struct Chunk {
    ports: [u16; CHUNK],
    next: u32,
}

const _: () = assert!(size_of::<Chunk>() == 64);

/// One worker's leases.
#[derive(Debug)]
pub struct Leases {
    worker: usize,
    workers: usize,
    pairs: HashMap<Pair, State>,
    chunks: HugeSlice<Chunk>,
    /// Chunks given back, linked by `next`; those from `used` on were never in use.
    free: u32,
    used: u32,
    held: usize,
}

impl Leases {
    /// Room for `pairs` pairs. Address space for every port of every pair is reserved, memory is
    /// touched as ports come back.
    pub fn new(worker: usize, workers: usize, pairs: usize) -> io::Result<Self> {
        let per_pair = (PORTS as usize).div_ceil(workers).div_ceil(CHUNK) + 2;
        Ok(Self {
            worker,
            workers,
            pairs: HashMap::with_capacity(pairs),
            chunks: HugeSlice::new(pairs * per_pair + 1)?,
            free: NO_CHUNK,
            used: 1,
            held: 0,
        })
    }

    /// Leases held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Leases a port of the first of `laddrs` that has one toward the dest, beginning with the
    /// `turn`-th. None when all are in use, or when there are more pairs than room.
    pub fn lease(
        &mut self,
        proto: Proto,
        laddrs: &[Addr],
        turn: usize,
        daddr: Addr,
        dport: u16,
    ) -> Option<(Addr, u16)> {
        (0..laddrs.len()).find_map(|i| {
            let laddr = laddrs[turn.wrapping_add(i) % laddrs.len()];
            let port = self.lease_of(Pair { laddr, daddr, dport, proto })?;
            Some((laddr, port))
        })
    }

    /// Gives a lease back; its port is the last to be leased again.
    pub fn give_back(&mut self, proto: Proto, laddr: Addr, lport: u16, daddr: Addr, dport: u16) {
        let pair = Pair { laddr, daddr, dport, proto };
        let Some(mut state) = self.pairs.get(&pair).copied() else {
            debug_assert!(false, "a lease has its pair");
            return;
        };
        state.held -= 1;
        self.held -= 1;
        if state.last == NO_CHUNK || state.into as usize == CHUNK {
            let chunk = self.take_chunk();
            match state.last {
                NO_CHUNK => (state.first, state.out) = (chunk, 0),
                last => self.chunks[last as usize].next = chunk,
            }
            (state.last, state.into) = (chunk, 0);
        }
        self.chunks[state.last as usize].ports[state.into as usize] = lport;
        state.into += 1;
        self.pairs.insert(pair, state);
    }

    fn lease_of(&mut self, pair: Pair) -> Option<u16> {
        let mut state = match self.pairs.get(&pair) {
            Some(state) => *state,
            // Beyond this the map would grow.
            None if self.pairs.len() == self.pairs.capacity() => return None,
            None => State { fresh: 0, held: 0, first: NO_CHUNK, last: NO_CHUNK, out: 0, into: 0 },
        };
        let port = self.never_used(&mut state).or_else(|| self.idle_longest(&mut state))?;
        state.held += 1;
        self.held += 1;
        self.pairs.insert(pair, state);
        Some(port)
    }

    /// The next own port that was never used toward this dest.
    fn never_used(&self, state: &mut State) -> Option<u16> {
        let first_own = (self.worker + self.workers - FIRST_PORT as usize % self.workers)
            % self.workers
            + FIRST_PORT as usize;
        let port = u16::try_from(first_own + state.fresh as usize * self.workers).ok()?;
        state.fresh += 1;
        Some(port)
    }

    fn idle_longest(&mut self, state: &mut State) -> Option<u16> {
        if state.first == NO_CHUNK {
            return None;
        }
        let chunk = self.chunks[state.first as usize];
        let port = chunk.ports[state.out as usize];
        state.out += 1;
        let emptied = if state.first == state.last { state.into } else { CHUNK as u8 };
        if state.out == emptied {
            let empty = state.first;
            (state.first, state.out) = if state.first == state.last {
                (state.last, state.into) = (NO_CHUNK, 0);
                (NO_CHUNK, 0)
            } else {
                (chunk.next, 0)
            };
            self.chunks[empty as usize].next = self.free;
            self.free = empty;
        }
        Some(port)
    }

    fn take_chunk(&mut self) -> u32 {
        if self.free == NO_CHUNK {
            // `new` reserved a chunk for every port that can come back.
            self.used += 1;
            return self.used - 1;
        }
        let chunk = self.free;
        self.free = self.chunks[chunk as usize].next;
        chunk
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

    fn lease(l: &mut Leases) -> Option<u16> {
        l.lease(Proto::Tcp, &POOL, 0, DEST, 80).map(|(_, p)| p)
    }

    #[test]
    fn every_port_is_leased_once_and_the_pool_is_whole_again() {
        for workers in [1, 2, 3, 7] {
            let mut all = HashSet::new();
            for worker in 0..workers {
                let mut l = Leases::new(worker, workers, 4).unwrap();
                for round in 0..2 {
                    let mut ports = Vec::new();
                    while let Some(p) = lease(&mut l) {
                        assert_eq!(owner(p, workers), worker);
                        ports.push(p);
                    }
                    assert_eq!(l.held(), ports.len());
                    for p in &ports {
                        assert!(*p >= FIRST_PORT);
                        assert!(all.insert(*p) || round == 1);
                        l.give_back(Proto::Tcp, POOL[0], *p, DEST, 80);
                    }
                }
                assert_eq!(l.held(), 0);
            }
            assert_eq!(all.len(), PORTS as usize);
        }
    }

    #[test]
    fn each_dest_endpoint_has_its_own_ports() {
        let mut l = Leases::new(0, 1, 8).unwrap();
        let a = l.lease(Proto::Tcp, &POOL, 0, DEST, 80).unwrap();
        let b = l.lease(Proto::Tcp, &POOL, 0, DEST, 81).unwrap();
        let c = l.lease(Proto::Udp, &POOL, 0, DEST, 80).unwrap();
        assert_eq!((a, b), (b, c));
    }

    #[test]
    fn the_next_address_serves_when_one_is_used_up() {
        let pool = [Addr::v4(1), Addr::v4(2)];
        let mut l = Leases::new(0, 1, 8).unwrap();
        let mut by_addr = [0; 2];
        while let Some((a, _)) = l.lease(Proto::Tcp, &pool, 0, DEST, 80) {
            by_addr[(a == pool[1]) as usize] += 1;
        }
        assert_eq!(by_addr, [PORTS, PORTS]);
    }

    #[test]
    fn too_many_pairs_are_refused() {
        let mut l = Leases::new(0, 1, 4).unwrap();
        let got = (0..1000).filter(|d| l.lease(Proto::Tcp, &POOL, 0, DEST, *d).is_some()).count();
        assert!((4..1000).contains(&got));
    }

    proptest! {
        #[test]
        fn idle_longest_first(steps in proptest::collection::vec((any::<bool>(), any::<u16>()), 1..2000), worker in 0usize..3) {
            let mut l = Leases::new(worker, 3, 4).unwrap();
            let mut fresh = (FIRST_PORT..=u16::MAX).filter(|p| owner(*p, 3) == worker);
            let (mut idle, mut held) = (VecDeque::new(), Vec::new());
            // Begin near the end of the fresh ports, so that the queue comes into play.
            for p in fresh.by_ref().take(21_400) {
                prop_assert_eq!(lease(&mut l), Some(p));
                held.push(p);
            }
            for (take, which) in steps {
                if take {
                    let expected = fresh.next().or_else(|| idle.pop_front());
                    prop_assert_eq!(lease(&mut l), expected);
                    held.extend(expected);
                } else if !held.is_empty() {
                    let p = held.swap_remove(which as usize % held.len());
                    l.give_back(Proto::Tcp, POOL[0], p, DEST, 80);
                    idle.push_back(p);
                }
                prop_assert_eq!(l.held(), held.len());
            }
        }
    }
}
