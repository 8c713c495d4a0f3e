//! Which end a conversation's client has before the director: its own wherever that can be, so
//! that no two conversations share a tuple.

use super::packet::End;
use super::skip::Skip;
use hashbrown::HashMap;
use hashbrown::HashSet;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Proto;
use std::collections::VecDeque;
use std::sync::Arc;

/// Made-up clients: 100.64.0.0/10 (RFC 6598) and a corner of the documentation prefix.
const V4: u32 = 0x6440_0000;
const V4_COUNT: u32 = 1 << 22;
const V6: u128 = 0x2001_0db8_000c << 80;
/// Ports that are tried before an address of its own is made up.
const TRIES: usize = 2048;
const FIRST_PORT: u16 = 1024;
/// How long an end rests after its conversation: the longest state of a closed conn, and some.
const REST: u64 = 130_000_000_000;

/// The ends in use.
pub(super) struct Clients {
    snapshot: Arc<Snapshot>,
    dests: HashSet<Addr>,
    used: HashSet<(Proto, End)>,
    /// Ends whose conversation is over, with the time from which they may be used again.
    resting: VecDeque<(u64, (Proto, End))>,
    /// Addresses that stand for others, by copy.
    renamed: HashMap<(u32, Addr), Addr>,
    made: u32,
    port: u16,
    /// Conversations that got another port because theirs was in use.
    pub(super) moved: u64,
}

impl Clients {
    /// None yet, of a director with this snapshot.
    pub(super) fn new(snapshot: Arc<Snapshot>) -> Self {
        Self {
            dests: snapshot.dests.iter().map(|d| d.addr).collect(),
            snapshot,
            used: HashSet::new(),
            resting: VecDeque::new(),
            renamed: HashMap::new(),
            made: 0,
            port: 0,
            moved: 0,
        }
    }

    /// An end for the client `end` of a conversation; `copy` counts its multiples from 0. Fails
    /// where no address has a way back.
    pub(super) fn end(&mut self, copy: u32, proto: Proto, end: End, now: u64) -> Result<End, Skip> {
        self.wake(now);
        let (own, port) = end;
        let addr = match self.renamed.get(&(copy, own)) {
            Some(addr) => *addr,
            None if copy == 0 && self.is_usable(own) => own,
            None => {
                let addr = self.make(own)?;
                self.renamed.insert((copy, own), addr);
                addr
            }
        };
        if self.used.insert((proto, (addr, port))) {
            return Ok((addr, port));
        }
        self.moved += 1;
        for _ in 0..TRIES {
            self.port = self.port.checked_add(1).unwrap_or(FIRST_PORT).max(FIRST_PORT);
            if self.used.insert((proto, (addr, self.port))) {
                return Ok((addr, self.port));
            }
        }
        for _ in 0..TRIES {
            let addr = self.make(own)?;
            if self.used.insert((proto, (addr, port))) {
                return Ok((addr, port));
            }
        }
        Err(Skip::NoRoute)
    }

    /// A conversation is over: its end may be used again after a while.
    pub(super) fn release(&mut self, proto: Proto, end: End, now: u64) {
        self.resting.push_back((now + REST, (proto, end)));
    }

    /// Clients whose address could not be used, or was multiplied.
    pub(super) fn renamed(&self) -> usize {
        self.renamed.len()
    }

    fn wake(&mut self, now: u64) {
        while self.resting.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, end)) = self.resting.pop_front() {
                self.used.remove(&end);
            }
        }
    }

    fn make(&mut self, like: Addr) -> Result<Addr, Skip> {
        // Few are in the director's own networks, if any.
        for _ in 0..TRIES {
            self.made += 1;
            let addr = match like.is_v4() {
                true => Addr::v4(V4 + self.made % V4_COUNT),
                false => Addr::v6(V6 + u128::from(self.made)),
            };
            if self.is_usable(addr) {
                return Ok(addr);
            }
        }
        Err(Skip::NoRoute)
    }

    /// Whether a client may have this address: it has a way back, and is nobody of the director's.
    fn is_usable(&self, addr: Addr) -> bool {
        let locals = &self.snapshot.locals;
        let route = self.snapshot.routes.find(Addr::UNSPECIFIED, addr);
        !addr.is_martian_source()
            && !addr.is_link_local()
            && !addr.is_multicast()
            && !self.snapshot.is_broadcast(addr)
            && !self.dests.contains(&addr)
            && !locals.contains_key(&addr)
            && route.is_some_and(|(_, via)| !locals.contains_key(&via))
    }
}
