//! A conversation of the capture: who its client is, what the director made of it, how it went.

use super::packet::End;
use super::packet::Packet;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::wire::tcp;

/// Which way a packet of a conversation goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Way {
    Client,
    Dest,
}

/// What names a conversation in the capture: both ends, the lesser first, and which multiple of it
/// this is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Key {
    pub(super) copy: u32,
    pub(super) proto: Proto,
    ends: (End, End),
}

impl Key {
    pub(super) fn new(copy: u32, p: &Packet) -> Self {
        Self { copy, proto: p.proto, ends: (p.src.min(p.dst), p.src.max(p.dst)) }
    }
}

/// The director's mapping, as read from what it sent to the dest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mapping {
    /// What the dest sees as its client.
    pub(super) local: End,
    pub(super) dest: End,
    /// Added to the client's sequence numbers.
    pub(super) seq: u32,
    /// Added to the client's timestamps; none before one was seen.
    pub(super) ts: Option<u32>,
}

/// A conversation.
#[derive(Clone, Debug)]
pub(super) struct Talk {
    pub(super) key: Key,
    /// The client in the capture.
    client: End,
    /// The client before the director.
    pub(super) end: End,
    /// Which service it is for.
    pub(super) service: usize,
    pub(super) mapping: Option<Mapping>,
    /// How its packets get to its dest; none: dests have several methods, and it has none yet.
    pub(super) forward: Option<Forward>,
    isn: u32,
    /// SYN, SYN-ACK, the client's FIN, the dest's, a RST.
    seen: [bool; 5],
    /// Its beginning was not in the capture, and is yet to be made up.
    pub(super) picked_up: bool,
    /// It is not to be fed at all.
    pub(super) refused: bool,
    /// Capture time of its last packet, and of the last one that left.
    pub(super) last: u64,
    pub(super) passed: u64,
    /// The stretch with its last packet, and whose that was.
    pub(super) stretch: (u64, Way),
    /// The last one with a packet of its client that may have changed its mapping.
    pub(super) maps: u64,
    /// The port toward its client, who is there to be answered, from its first packet on.
    pub(super) port: Option<PortId>,
    /// Packets fed, and of these those that left.
    pub(super) fed: u64,
    pub(super) left: u64,
    /// Packets that could not be fed for want of a conn.
    pub(super) unmapped: u64,
    /// Those of them whose conn had timed out.
    pub(super) expired: u64,
    /// Bit n: one was lost when the director dropped something for reason n.
    pub(super) reasons: u64,
}

/// A closed conversation that was silent so long, in nanoseconds, is no more: longer than the states
/// of a closed conn.
pub(super) const CLOSED: u64 = 200_000_000_000;

const SYN: usize = 0;
const SYN_ACK: usize = 1;
const FINS: [usize; 2] = [2, 3];
const RST: usize = 4;

impl Talk {
    /// Begins with `p`; `end` is what its client is before the director.
    pub(super) fn new(key: Key, p: &Packet, end: End, service: usize, now: u64) -> Self {
        Self {
            key,
            client: Self::client_of(p),
            end,
            service,
            mapping: None,
            forward: None,
            isn: 0,
            seen: [false; 5],
            picked_up: false,
            refused: false,
            last: now,
            passed: now,
            stretch: (0, Way::Client),
            maps: 0,
            port: None,
            fed: 0,
            left: 0,
            unmapped: 0,
            expired: 0,
            reasons: 0,
        }
    }

    /// Asks for all of it: it spans several lines, and each would be waited for by itself.
    pub(super) fn prefetch(&self) {
        hw::prefetch(&self.client);
        hw::prefetch(&self.end);
        hw::prefetch(&self.mapping);
        hw::prefetch(&self.last);
        hw::prefetch(&self.reasons);
        hw::prefetch(&self.seen);
    }

    /// Which end of a conversation that begins with `p` is the client: the first sender, unless
    /// it answers.
    pub(super) fn client_of(p: &Packet) -> End {
        if answers(p) { p.dst } else { p.src }
    }

    pub(super) fn way(&self, p: &Packet) -> Way {
        if p.src == self.client { Way::Client } else { Way::Dest }
    }

    /// Whether a packet begins another conversation between the same ends: a SYN of its own, or,
    /// after a long silence, what cannot belong to the old one.
    pub(super) fn ends_with(&self, p: &Packet, (seq, ack): (u32, u32), now: u64) -> bool {
        if p.is_syn() {
            return match self.way(p) {
                Way::Client => !self.seen[SYN] || seq != self.isn || self.is_over(),
                Way::Dest => self.is_over(),
            };
        }
        let foreign = self.is_over() || answers(p) && !self.is_answered_by(ack);
        foreign && now > self.last + CLOSED
    }

    /// Whether a SYN-ACK acknowledges the client's SYN, with the data it may carry (RFC 7413).
    fn is_answered_by(&self, ack: u32) -> bool {
        (1..=u32::from(u16::MAX)).contains(&ack.wrapping_sub(self.isn))
    }

    pub(super) fn note(&mut self, p: &Packet, way: Way, (seq, ack): (u32, u32), now: u64) {
        self.last = self.last.max(now);
        let has = |bit| p.flags & bit != 0;
        if p.is_syn() && way == Way::Client {
            self.seen[SYN] = true;
            self.isn = seq;
        }
        self.seen[SYN_ACK] |= way == Way::Dest && answers(p) && self.is_answered_by(ack);
        self.seen[FINS[way as usize]] |= has(tcp::FIN);
        self.seen[RST] |= has(tcp::RST);
    }

    /// Closed by both ends, or reset by one.
    pub(super) fn is_over(&self) -> bool {
        self.seen[RST] || FINS.iter().all(|fin| self.seen[*fin])
    }

    /// SYN and SYN-ACK are in the capture. UDP has none.
    pub(super) fn has_handshake(&self) -> bool {
        self.seen[SYN] && self.seen[SYN_ACK]
    }
}

fn answers(p: &Packet) -> bool {
    const BOTH: u8 = tcp::SYN | tcp::ACK_BIT;
    p.flags & BOTH == BOTH
}
