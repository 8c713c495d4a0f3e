//! Conns: what the director remembers of a flow.
//!
//! A conn is one 64-byte line. For v4 it holds both sides' addresses, so that the tuple of the
//! other direction *is* the rewrite; v6 addresses lie in a second line under the same number.
//! Nat is full-NAT whose local side is the client itself, so the two share all code.

mod index;
pub mod state;
mod table;

pub use state::State;
pub use state::Timeouts;
pub use table::Conns;
pub use table::TableFull;

use crate::neigh::Hop;
use crate::service::DestId;
use crate::service::Forward;
use crate::service::ServiceId;
use crate::tick::Stamp;
use crate::tuple::Addr;
use crate::tuple::Proto;
use crate::tuple::Tuple;
use crate::wire::checksum;
use crate::wire::checksum::Delta;
use zerocopy::FromZeros;

/// A conn's place in its worker's table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnId(pub(crate) u32);

/// Which way a packet of a conn travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the client.
    Original,
    /// From the dest.
    Reply,
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
    /// Whose conn it is.
    pub service: ServiceId,
}

/// The client's side is IPv6.
const CLIENT_V6: u8 = 1;
/// The dest's side is IPv6.
const DEST_V6: u8 = 2;
/// In use; otherwise the line is free and `expires` links to the next free one.
const LIVE: u8 = 4;
/// Counted as inactive (IP_VS_CONN_F_INACTIVE).
const INACTIVE: u8 = 8;
/// No reply has been seen nor is one to be expected (IP_VS_CONN_F_NOOUTPUT).
const NO_OUTPUT: u8 = 16;

/// A conn's hot line.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C, align(64))]
pub struct Conn {
    // v4 only; see `Wide` for v6.
    caddr: u32,
    vaddr: u32,
    laddr: u32,
    daddr: u32,
    cport: u16,
    vport: u16,
    lport: u16,
    dport: u16,
    proto: u8,
    state: u8,
    forward: u8,
    flags: u8,
    expires: u32,
    l3_delta: u16,
    l4_delta: u16,
    dest: u32,
    service: u32,
    reply_hop: u32,
    reply_epoch: u32,
    packets: [u32; 2],
}

const _: () = assert!(size_of::<Conn>() == 64);

/// The addresses of a conn that has a v6 side.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C, align(64))]
struct Wide {
    caddr: u128,
    vaddr: u128,
    laddr: u128,
    daddr: u128,
}

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
        const BY_NUMBER: [Forward; 4] =
            [Forward::Nat, Forward::FullNat, Forward::Dr, Forward::Tunnel];
        BY_NUMBER[(self.forward & 3) as usize]
    }

    /// Its protocol.
    #[inline(always)]
    pub fn is_tcp(&self) -> bool {
        self.proto == Proto::Tcp as u8
    }

    /// Its state.
    #[inline(always)]
    pub fn state(&self) -> State {
        State::from_number(self.state)
    }

    /// Its dest.
    #[inline(always)]
    pub fn dest(&self) -> DestId {
        DestId(self.dest)
    }

    /// Its service.
    pub fn service(&self) -> ServiceId {
        ServiceId(self.service)
    }

    /// When it ends unless a packet comes.
    #[inline(always)]
    pub fn expires(&self) -> Stamp {
        Stamp(self.expires)
    }

    /// Whether it counts as inactive.
    pub fn is_inactive(&self) -> bool {
        self.flags & INACTIVE != 0
    }

    /// Packets seen, from the client and from the dest; they wrap.
    pub fn packets(&self) -> [u32; 2] {
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

    /// A packet has come: new state, new deadline (`set_tcp_state`, `udp_state_transition`).
    /// True where the conn changed between active and inactive.
    #[inline(always)]
    pub fn step(&mut self, way: Direction, flags: u8, now: Stamp, timeouts: &Timeouts) -> bool {
        self.packets[way as usize] = self.packets[way as usize].wrapping_add(1);
        if !self.is_tcp() {
            self.expires = now.after(timeouts.of(State::Udp)).0;
            return false;
        }
        let side = match way {
            Direction::Reply => {
                self.flags &= !NO_OUTPUT;
                state::Side::Output
            }
            Direction::Original if self.flags & NO_OUTPUT != 0 => state::Side::InputOnly,
            Direction::Original => state::Side::Input,
        };
        let new = state::next(side, self.state(), flags);
        self.state = new as u8;
        self.expires = now.after(timeouts.of(new)).0;
        let changed = new.is_active() == self.is_inactive();
        if changed {
            self.flags ^= INACTIVE;
        }
        changed
    }

    fn deltas(ends: &Ends) -> (Delta, Delta) {
        let addrs = |a, b| checksum::addr_sum(a) + checksum::addr_sum(b);
        let before = addrs(ends.caddr, ends.vaddr);
        let after = addrs(ends.laddr, ends.daddr);
        let ports = |a: u16, b: u16| a as u32 + b as u32;
        let l4_before = before + ports(ends.cport, ends.vport);
        let l4_after = after + ports(ends.lport, ends.dport);
        (Delta::between(before, after), Delta::between(l4_before, l4_after))
    }
}
