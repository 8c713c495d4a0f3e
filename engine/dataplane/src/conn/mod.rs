//! Conns: what the director remembers of a flow.
//!
//! A conn is one 64-byte line. For v4 it holds both sides' addresses, so that the tuple of the
//! other direction *is* the rewrite; v6 addresses lie in a second line (`Wide`) under the same
//! number, what only full-NAT needs in half a line more (`Track`), what few conns need in one more
//! (`Extra`). Nat is full-NAT whose local side is the client itself, so the two share all code.

mod ahead;
pub(crate) mod chain;
pub mod change;
mod extra;
mod flags;
mod helped;
mod index;
pub mod list;
mod opened;
mod sctp;
pub mod state;
mod table;
mod track;

pub use ahead::Ahead;
pub use extra::Extra;
pub(crate) use extra::Introduction;
pub(crate) use helped::Helped;
pub use index::Found;
pub use index::Place;
pub use state::State;
pub use state::Timeouts;
pub use table::Conns;
pub use table::Line;
pub use table::TableFull;
pub use track::Track;

use crate::neigh::Hop;
use crate::service::DestId;
use crate::service::Forward;
use crate::tick::Stamp;
use crate::tuple::Addr;
use crate::tuple::Family;
use crate::tuple::Narrow;
use crate::tuple::Proto;
use crate::tuple::Tuple;
use crate::wire::checksum::Delta;
use crate::wire::raw32;
use crate::wire::sctp::event_of;
use crate::wire::tcp;
use core::mem::offset_of;
use flags::ANSWERED;
use flags::CLIENT_V6;
use flags::CONTROLLED;
use flags::CROSSED;
use flags::DEST_V6;
use flags::INACTIVE;
use flags::INTRODUCES;
use flags::LENT;
use flags::LIVE;
use flags::NO_OUTPUT;
use flags::ODD;
use flags::OWN_TIMEOUTS;
use zerocopy::FromZeros;
use zerocopy::Immutable;
use zerocopy::IntoBytes;

/// A conn's place in its worker's table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnId(pub(crate) u32);

/// Which way a packet of a conn travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the client.
    Original = 0,
    /// From the dest.
    Reply = 1,
}

impl Direction {
    /// The other one.
    #[inline(always)]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// All four ends of a conn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends {
    /// Protocol.
    pub proto: Proto,
    /// Client.
    pub caddr: Addr,
    /// Client's port.
    pub cport: u16,
    /// Virtual address.
    pub vaddr: Addr,
    /// Virtual port.
    pub vport: u16,
    /// What the dest sees as its client: leased under full-NAT, else the client itself.
    pub laddr: Addr,
    /// Its port.
    pub lport: u16,
    /// Dest.
    pub daddr: Addr,
    /// Dest's port.
    pub dport: u16,
}

impl Ends {
    /// What a client sends.
    pub const fn original(&self) -> Tuple {
        let Self { proto, caddr, cport, vaddr, vport, .. } = *self;
        Tuple { src: caddr, dst: vaddr, sport: cport, dport: vport, proto }
    }

    /// What the dest sends.
    pub const fn reply(&self) -> Tuple {
        let Self { proto, laddr, lport, daddr, dport, .. } = *self;
        Tuple { src: daddr, dst: laddr, sport: dport, dport: lport, proto }
    }
}

/// What a conn is opened with besides its ends.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// Its four ends.
    pub ends: Ends,
    /// Where packets go.
    pub dest: DestId,
    /// How they get there.
    pub forward: Forward,
    /// Full-NAT's part, which no other conn has.
    pub track: Track,
    /// Sequence numbers and timestamps are shifted by the track's.
    pub shifts: bool,
    /// Dests tried before this one.
    pub tries: u8,
}

/// Whoever does not see a conn has to guess its numbers (RFC 5961): those of a segment are remembered only
/// if it ends less than this from the last one seen. Windows are not followed, but hosts have less than
/// that under way; and as a dest gets nothing that did not pass here, no gap that is larger stays.
/// States follow control bits alone, as the kernel's do.
const NEAR: u32 = 1 << 26;

#[inline(always)]
fn is_near(end: u32, seen: u32) -> bool {
    end.wrapping_sub(seen).wrapping_add(NEAR) < 2 * NEAR
}

/// Near, and past it.
#[inline(always)]
pub(crate) fn is_next(end: u32, seen: u32) -> bool {
    end.wrapping_sub(seen).wrapping_sub(1) < NEAR - 1
}

/// Source and destination of a direction's tuple. A packet of the one direction becomes one of the
/// other's, the other way round.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromZeros)]
#[repr(C)]
struct Pair<T> {
    src: T,
    dst: T,
}

/// A conn's hot line.
#[derive(Clone, Copy, Debug, FromZeros, Immutable, IntoBytes)]
#[repr(C, align(64))]
pub struct Conn {
    /// Addresses of each direction's tuple, where v4; see `Wide` for v6.
    narrow: [u64; 2],
    /// Ports of each direction's tuple, as `Narrow` has both.
    ports: [u32; 2],
    flags: u16,
    proto: u8,
    state: State,
    expires: u32,
    l3_delta: u16,
    l4_delta: u16,
    dest: u32,
    reply_hop: u32,
    reply_epoch: u32,
    packets: u32,
    /// Both ends' next sequence numbers, as the client counts: its own, and the dest's. Where
    /// answers do not pass the director, the dest's is the one that the client acknowledged last.
    seq: u32,
    ack: u32,
    /// UDP: replies seen.
    replies: u16,
    /// Dests tried before this one.
    tries: u8,
    forward: Forward,
}

const _: () = assert!(size_of::<Conn>() == 64);

/// The addresses of a conn that has a v6 side.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C, align(64))]
struct Wide([Pair<u128>; 2]);

const _: () = assert!(size_of::<Wide>() == 64);

/// What a rewrite puts into a packet.
#[derive(Clone, Copy, Debug)]
pub struct Rewrite {
    /// New source.
    pub src: Addr,
    /// New destination.
    pub dst: Addr,
    /// New source port.
    pub sport: u16,
    /// New destination port.
    pub dport: u16,
    /// What that does to an IPv4 header checksum.
    pub l3: Delta,
    /// What that does to a TCP or UDP checksum, pseudo-header included.
    pub l4: Delta,
}

impl Conn {
    /// How its packets get to the dest.
    #[inline(always)]
    pub fn forward(&self) -> Forward {
        self.forward
    }

    /// Its protocol.
    #[inline(always)]
    pub fn is_tcp(&self) -> bool {
        self.proto == Proto::Tcp as u8
    }

    /// Whether all its packets are alike: UDP, echoes.
    pub fn is_stateless(&self) -> bool {
        self.state == State::Udp
    }

    /// Which one.
    pub fn protocol(&self) -> Proto {
        // Only a line that is not in use has a number that is none.
        Proto::from_number(self.proto).unwrap_or(Proto::Udp)
    }

    /// Its state.
    #[inline(always)]
    pub fn state(&self) -> State {
        self.state
    }

    /// Its dest.
    #[inline(always)]
    pub fn dest(&self) -> DestId {
        DestId(self.dest)
    }

    /// Whether its packets simply go on: nothing is odd about it, its time is not up, and they are
    /// neither to change their family nor to tell the dest anything, nor has its service timeouts of
    /// its own.
    #[inline(always)]
    pub fn goes_on(&self, now: Stamp) -> bool {
        self.flags & ODD == 0 && !self.expires().is_due(now)
    }

    /// Whether a segment of these control bits only acknowledges in ESTABLISHED, as nearly all do: its
    /// state is to be left as it is.
    #[inline(always)]
    pub fn stays(&self, flags: u8) -> bool {
        let acks = flags & (tcp::SYN | tcp::FIN | tcp::RST | tcp::ACK_BIT) == tcp::ACK_BIT;
        acks && self.state == State::Established
    }

    /// Whether a SYN or RST asks for a closer look: a client's SYN may begin another conn, and a dest that
    /// has yet to answer may be left for another one.
    #[inline(always)]
    pub fn is_asked(&self, way: Direction, flags: u8) -> bool {
        let opens = flags & tcp::SYN != 0 && way == Direction::Original;
        opens || flags & (tcp::SYN | tcp::RST) != 0 && self.is_unanswered()
    }

    /// Whether its packets need more than a step of its state and what its method does to them.
    #[inline(always)]
    pub fn needs_more(&self) -> bool {
        self.flags & (CROSSED | INTRODUCES) != 0
    }

    #[inline(always)]
    fn side(&self, way: Direction) -> state::Side {
        match way {
            Direction::Reply => state::Side::Output,
            Direction::Original if self.flags & NO_OUTPUT != 0 => state::Side::InputOnly,
            Direction::Original => state::Side::Input,
        }
    }

    /// A data conn that its control conn has announced waits for its first packet: it is not
    /// offered to another dest.
    pub(crate) fn set_awaited(&mut self) {
        self.state = State::Listen;
        self.belongs_to_control();
    }

    /// Whether it waits for its first packet.
    pub fn is_awaited(&self) -> bool {
        self.state == State::Listen
    }

    /// It goes where its control conn does: to no other dest.
    pub(crate) fn belongs_to_control(&mut self) {
        self.tries |= !CONTROLLED;
        self.flags |= ANSWERED;
    }

    /// Dests tried before this one.
    pub fn tries(&self) -> u8 {
        self.tries & !CONTROLLED
    }

    /// A datagram has come from the dest; whether that makes all after which the conn ends.
    pub fn count_reply(&mut self, replies: u16) -> bool {
        self.replies = self.replies.saturating_add(1);
        self.has_replied(replies)
    }

    /// Whether the datagrams have come from the dest after which it ends; 0: there is no such
    /// number.
    pub fn has_replied(&self, replies: u16) -> bool {
        replies > 0 && self.replies >= replies
    }

    /// Sets its deadline.
    pub fn set_expires(&mut self, at: Stamp) {
        self.expires = at.0;
    }

    /// The client has sent up to (not including) `end`, and acknowledged `ack`.
    #[inline(always)]
    fn observe(&mut self, end: u32, ack: u32) {
        if self.flags & NO_OUTPUT != 0 && is_near(end, self.seq) {
            self.ack = ack;
        }
        self.packets = self.packets.wrapping_add(1);
        if is_next(end, self.seq) {
            self.seq = end;
        }
    }

    /// The dest has sent up to (not including) `end`.
    #[inline(always)]
    pub fn observe_reply(&mut self, end: u32) {
        if is_next(end, self.ack) {
            self.ack = end;
        }
    }

    /// The client's next sequence number, as the client counts.
    pub fn seq(&self) -> u32 {
        self.seq
    }

    /// The dest's next sequence number.
    pub fn ack(&self) -> u32 {
        self.ack
    }

    /// When it ends unless a packet comes.
    #[inline(always)]
    pub fn expires(&self) -> Stamp {
        Stamp(self.expires)
    }

    /// Whether it is found by this tuple.
    #[inline(always)]
    fn is_tuple<'a>(
        &self,
        way: Direction,
        family: Family,
        t: &Tuple,
        wide: impl FnOnce() -> &'a Wide,
    ) -> bool {
        // A lent port is another conn's.
        const ASKED: [u16; 2] = [CLIENT_V6 | LIVE, DEST_V6 | LIVE | LENT];
        let v6 = if family == Family::V6 { CLIENT_V6 << way as u16 } else { 0 };
        let n = Narrow::of(t);
        if self.ports[way as usize] != n.ports
            || self.proto != t.proto as u8
            || self.flags & ASKED[way as usize] != LIVE | v6
        {
            return false;
        }
        if family == Family::V4 {
            self.narrow[way as usize] == n.addrs
        } else {
            wide().0[way as usize] == Pair { src: t.src.bits(), dst: t.dst.bits() }
        }
    }

    /// Whether it is found by this tuple of IPv4, its packets simply go on, and it is in the one state
    /// that nearly all conns of its protocol are in, which no packet changes that only goes on.
    #[inline(always)]
    pub fn goes_on_as(&self, way: Direction, n: &Narrow, now: Stamp) -> bool {
        const FAMILY: [u16; 2] = [CLIENT_V6, DEST_V6];
        let usual = match n.proto {
            Proto::Tcp => State::Established,
            _ => State::Udp,
        };
        // One word in memory, asked first, as what comes after it wants the flags at hand.
        const WORD: usize = offset_of!(Conn, flags);
        const _: () =
            assert!(offset_of!(Conn, proto) == WORD + 2 && offset_of!(Conn, state) == WORD + 3);
        let word = |flags: u16, proto: u8, state: u8| {
            let [a, b] = flags.to_ne_bytes();
            u32::from_ne_bytes([a, b, proto, state])
        };
        let asked = word(ODD | LIVE | FAMILY[way as usize], 0xff, 0xff);
        raw32(self.as_bytes(), WORD) & asked == word(LIVE, n.proto as u8, usual as u8)
            && !self.expires().is_due(now)
            && self.ports[way as usize] == n.ports
            && self.narrow[way as usize] == n.addrs
    }

    /// A direction's tuple as an IPv4 packet holds it, with the protocol's number; none of an IPv6 one.
    #[inline(always)]
    fn narrow_tuple(&self, way: Direction) -> Option<(u64, u32, u8)> {
        let (addrs, ports) = (self.narrow[way as usize], self.ports[way as usize]);
        let is_v4 = self.flags & (CLIENT_V6 << way as u16) == 0;
        is_v4.then_some((addrs, ports, self.proto))
    }

    /// Source and destination of a direction's tuple.
    #[inline(always)]
    fn addrs<'a>(&self, way: Direction, wide: impl FnOnce() -> &'a Wide) -> (Addr, Addr) {
        if self.flags & (CLIENT_V6 << way as u16) == 0 {
            let addrs = u64::from_be(self.narrow[way as usize]);
            return (Addr::v4((addrs >> 32) as u32), Addr::v4(addrs as u32));
        }
        let Pair { src, dst } = wide().0[way as usize];
        (Addr::v6(src), Addr::v6(dst))
    }

    #[inline(always)]
    fn rewrite<'a>(&self, way: Direction, wide: impl FnOnce() -> &'a Wide) -> Rewrite {
        let becomes = way.opposite();
        let (dst, src) = self.addrs(becomes, wide);
        let (dport, sport) = self.ports_of(becomes);
        let (l3, l4) = self.deltas_of(way);
        Rewrite { src, dst, sport, dport, l3, l4 }
    }

    /// What a rewrite does to the checksums of the IPv4 header and of TCP or UDP.
    #[inline(always)]
    pub fn deltas_of(&self, way: Direction) -> (Delta, Delta) {
        let (l3, l4) = (Delta(self.l3_delta), Delta(self.l4_delta));
        match way {
            Direction::Original => (l3, l4),
            Direction::Reply => (l3.inverse(), l4.inverse()),
        }
    }

    /// Source and destination port of a direction's tuple.
    #[inline(always)]
    fn ports_of(&self, way: Direction) -> (u16, u16) {
        let ports = u32::from_be(self.ports[way as usize]);
        ((ports >> 16) as u16, ports as u16)
    }

    /// What the dest knows the client's port by.
    pub fn lport(&self) -> u16 {
        self.ports_of(Direction::Reply).1
    }

    /// Addresses and ports of what an IPv4 packet becomes, as `Narrow` has them: the other direction's
    /// tuple turned round.
    #[inline(always)]
    pub fn becomes(&self, way: Direction) -> (u64, u32) {
        let other = way.opposite() as usize;
        (self.narrow[other].rotate_left(32), self.ports[other].rotate_left(16))
    }

    /// Packets of the client; wraps.
    pub fn packets(&self) -> u32 {
        self.packets
    }

    /// The next hop toward the client, if looked up in this epoch.
    #[inline(always)]
    pub fn reply_hop(&self, epoch: u32) -> Option<Hop> {
        (self.reply_epoch == epoch).then_some(Hop(self.reply_hop))
    }

    /// Remembers the next hop toward the client.
    pub fn set_reply_hop(&mut self, hop: Hop, epoch: u32) {
        self.reply_hop = hop.0;
        self.reply_epoch = epoch;
    }

    /// A datagram has come: new deadline.
    #[inline(always)]
    pub fn step_udp(&mut self, way: Direction, now: Stamp, timeout: u32) {
        self.packets = self.packets.wrapping_add((way == Direction::Original) as u32);
        self.expires = now.after(timeout).0;
    }

    /// A packet of SCTP has come, of these flags (`wire::sctp::flags`): new state, new deadline
    /// (`set_sctp_state`). `own` is the service's own timeout in ESTABLISHED, in milliseconds; 0:
    /// none. True where the state is another one now.
    pub fn step_sctp(
        &mut self,
        way: Direction,
        flags: u8,
        now: Stamp,
        (timeouts, own): (&Timeouts, u32),
    ) -> bool {
        match way {
            Direction::Original => self.packets = self.packets.wrapping_add(1),
            Direction::Reply => self.flags &= !NO_OUTPUT,
        }
        let new = sctp::next(self.side(way), self.state, event_of(flags));
        let timeout = match new {
            State::SctpEstablished if own > 0 => own,
            _ => timeouts.of(new),
        };
        self.expires = now.after(timeout).0;
        core::mem::replace(&mut self.state, new) != new
    }

    /// A segment has come that ends before `end` and acknowledges `ack`: new state, by the kernel's
    /// tables for floods where `secure`, new deadline (`set_tcp_state`), and what was sent last. True
    /// where the state is another one now. One whose numbers are not the conn's leaves all but the
    /// deadline.
    #[inline(always)]
    pub fn step(
        &mut self,
        way: Direction,
        flags: u8,
        (end, ack): (u32, u32),
        secure: bool,
        now: Stamp,
        timeouts: &Timeouts,
    ) -> bool {
        debug_assert!(self.is_tcp());
        let is_first = way == Direction::Original && self.packets == 0;
        let new = match secure {
            true => state::next_secure(self.side(way), self.state, flags),
            false => state::next(self.side(way), self.state, flags),
        };
        let (mut end, mut ack) = (end, ack);
        if is_first || flags & tcp::SYN != 0 {
            let seen = if way == Direction::Original { &mut self.seq } else { &mut self.ack };
            // Where a SYN does not begin the conn (anew), it says nothing of its numbers.
            // A data conn of FTP begins in LISTEN, which a server's SYN does not leave.
            let begins =
                matches!(new, State::SynRecv | State::SynAck | State::SynSent | State::Listen);
            match is_first || begins {
                true => *seen = end,
                false => (end, ack) = (*seen, self.ack),
            }
        }
        self.stay(way, (end, ack), now.after(timeouts.of(new)));
        core::mem::replace(&mut self.state, new) != new
    }

    /// A segment has come that leaves its state: otherwise as `step`.
    #[inline(always)]
    pub fn stay(&mut self, way: Direction, (end, ack): (u32, u32), expires: Stamp) {
        self.expires = expires.0;
        match way {
            Direction::Original => self.observe(end, ack),
            Direction::Reply => {
                self.flags &= !NO_OUTPUT;
                self.observe_reply(end);
            }
        }
    }

    /// The deadline after a segment, where its service has timeouts of its own for ESTABLISHED and
    /// FIN_WAIT, in milliseconds; 0: none.
    #[inline(always)]
    pub fn set_own_timeout(&mut self, now: Stamp, (established, fin_wait): (u32, u32)) {
        if self.flags & OWN_TIMEOUTS == 0 {
            return;
        }
        let own = match self.state() {
            State::Established => established,
            State::FinWait => fin_wait,
            _ => 0,
        };
        if own > 0 {
            self.expires = now.after(own).0;
        }
    }

    /// Whether a SYN on its tuple begins it anew by that `conn_reuse_mode`
    /// (`is_new_conn_expected`). Full-NAT has a new local port in any case: the dest would take the
    /// SYN for one of the old conn.
    pub fn begins_anew(&self, mode: u8) -> bool {
        let half_closed = self.state() == State::FinWait && self.flags & NO_OUTPUT != 0;
        let ended = matches!(self.state(), State::TimeWait | State::Close);
        let ended = ended || self.state() == State::SctpClosed;
        let full_nat = self.forward() == Forward::FullNat;
        match mode {
            _ if full_nat => ended,
            _ if self.is_controlled() => false,
            0 => false,
            _ => ended || mode & 2 != 0 && half_closed,
        }
    }

    /// Counts it as active or inactive by its state; true where that changed.
    pub fn recount(&mut self) -> bool {
        let changed = self.state().is_active() == self.is_inactive();
        if changed {
            self.flags ^= INACTIVE;
        }
        changed
    }
}
