//! What is said of a conn beside its state, a bit each.

use super::Conn;
use super::Direction;
use super::State;
use super::Timeouts;
use crate::service::Forward;
use crate::tick::Stamp;

/// The client's side is IPv6.
pub(super) const CLIENT_V6: u16 = 1 << Direction::Original as u16;
/// The dest's side is IPv6.
pub(super) const DEST_V6: u16 = 1 << Direction::Reply as u16;
/// In use; otherwise the line is free and `expires` links to the next free one.
pub(super) const LIVE: u16 = 4;
/// Counted as inactive (IP_VS_CONN_F_INACTIVE).
pub(super) const INACTIVE: u16 = 8;
/// No reply has been seen nor is one to be expected (IP_VS_CONN_F_NOOUTPUT).
pub(super) const NO_OUTPUT: u16 = 16;
/// Sequence numbers and timestamps are shifted (`Track`).
pub(super) const SHIFTS: u16 = 32;
/// Its local port serves a newer conn: it is only listed.
pub(super) const LENT: u16 = 64;
/// It lives with another worker, whose number stands for the dest.
pub(super) const ELSEWHERE: u16 = 128;
/// The dest has answered the SYN.
pub(super) const ANSWERED: u16 = 256;
/// Replies leave where the client's packets come from (`Extra`).
pub(super) const LAST_HOP: u16 = 512;
/// Its dest was removed or dead when last looked at, and its packets need a closer look.
pub(super) const CONDEMNED: u16 = 1024;
/// Both its ends were reset: who still sends is told again.
pub(super) const RESET: u16 = 2048;
/// The client's side and the dest's are of different families.
pub(super) const CROSSED: u16 = 4096;
/// What passes is changed: the dest is yet to be told who its client is, or its ends speak FTP
/// (`Introduction`); implies SHIFTS.
pub(super) const INTRODUCES: u16 = 8192;
/// In its pair's list of conns that would lend their local port.
pub(super) const LISTED: u16 = 16384;
/// Its service has timeouts of its own.
pub(super) const OWN_TIMEOUTS: u16 = 32768;
/// In `tries`: it goes by a template (`Extra`).
pub(super) const CONTROLLED: u8 = 128;

/// What asks for a closer look at each packet (`Conn::is_odd`).
const CLOSER: u16 = LENT | ELSEWHERE | LAST_HOP | CONDEMNED | RESET;
/// What keeps a conn's packets from simply going on: that, and what the other lane does to them.
pub(super) const ODD: u16 = CLOSER | CROSSED | INTRODUCES | OWN_TIMEOUTS;

impl Conn {
    /// Whether only a closer look tells what to do with its packets (`is_lent`, `elsewhere`,
    /// `is_condemned`, `was_reset`), or what to remember of them (`has_last_hop`).
    #[inline(always)]
    pub fn is_odd(&self) -> bool {
        self.flags & CLOSER != 0
    }

    /// Whether it does not live here any more, or never did.
    pub fn is_away(&self) -> bool {
        self.flags & (LENT | ELSEWHERE) != 0
    }

    /// Whether its dest was removed or dead when last looked at.
    pub fn is_condemned(&self) -> bool {
        self.flags & CONDEMNED != 0
    }

    /// Says so, or takes it back.
    pub fn set_condemned(&mut self, condemned: bool) {
        self.flags = if condemned { self.flags | CONDEMNED } else { self.flags & !CONDEMNED };
    }

    /// Whether both its ends were reset.
    pub fn was_reset(&self) -> bool {
        self.flags & RESET != 0
    }

    /// Both ends have been reset: closed, as after a reset of an end's own.
    pub fn set_reset(&mut self, now: Stamp, timeouts: &Timeouts) {
        self.flags |= RESET;
        self.state = State::Close;
        self.expires = now.after(timeouts.of(State::Close)).0;
    }

    /// Whether its replies leave where the client's packets come from.
    pub fn has_last_hop(&self) -> bool {
        self.flags & LAST_HOP != 0
    }

    /// Whether its packets change their family on the way through.
    #[inline(always)]
    pub fn is_crossed(&self) -> bool {
        self.flags & CROSSED != 0
    }

    /// Whether it has a v6 side, whose addresses lie beside (`Wide`).
    pub(super) fn is_wide(&self) -> bool {
        self.flags & (CLIENT_V6 | DEST_V6) != 0
    }

    /// Whether it holds a lease, which it will give back or lend.
    pub fn has_lease(&self) -> bool {
        self.forward == Forward::FullNat && self.flags & LENT == 0
    }

    /// Whether its dest has yet to answer the client's SYN.
    pub fn is_unanswered(&self) -> bool {
        self.state() == State::SynRecv && self.flags & ANSWERED == 0
    }

    /// The dest has answered the SYN, with a segment that ends before `end`.
    pub fn set_answered(&mut self, end: u32) {
        self.flags |= ANSWERED;
        self.ack = end;
    }

    /// Whether its local port serves a newer conn.
    pub fn is_lent(&self) -> bool {
        self.flags & LENT != 0
    }

    /// Whether it is in its pair's list of conns that would lend their local port.
    pub(crate) fn is_listed(&self) -> bool {
        self.flags & LISTED != 0
    }

    /// It joins or leaves that list.
    pub(crate) fn set_listed(&mut self, listed: bool) {
        self.flags = if listed { self.flags | LISTED } else { self.flags & !LISTED };
    }

    /// The worker it lives with, where that is another one.
    pub fn elsewhere(&self) -> Option<usize> {
        (self.flags & ELSEWHERE != 0).then_some(self.dest as usize)
    }

    /// Whether its sequence numbers and timestamps are shifted.
    #[inline(always)]
    pub fn shifts(&self) -> bool {
        self.flags & SHIFTS != 0
    }

    /// Whether what passes is changed, to tell the dest who its client is or because its ends speak
    /// FTP: a closer look than `shifts`, which it implies.
    #[inline(always)]
    pub fn introduces(&self) -> bool {
        self.flags & INTRODUCES != 0
    }

    /// The dest knows its client now.
    pub fn set_introduced(&mut self) {
        self.flags &= !INTRODUCES;
    }

    /// Whether it goes by a template, which must hear of its end.
    pub fn is_controlled(&self) -> bool {
        self.tries & CONTROLLED != 0
    }

    /// Whether it counts as inactive.
    pub fn is_inactive(&self) -> bool {
        self.flags & INACTIVE != 0
    }

    /// Its service has timeouts of its own, which `set_own_timeout` goes by.
    pub fn set_own_timeouts(&mut self) {
        self.flags |= OWN_TIMEOUTS;
    }
}
