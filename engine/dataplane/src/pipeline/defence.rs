//! Cold: defence against floods, as the kernel has it (`update_defense_level`): new conns are
//! dropped at random (`drop_packet`), half-open and idle ones ended early (`drop_entry`), and TCP
//! conns count as established later (`secure_tcp`). Each is off, on while a worker's conn table
//! or its templates' is nearly full, or always on; looked at once a second, by each worker for
//! itself. The conns that servers open (`snat`) are nobody's flood.

use super::Core;
use super::Turn;
use crate::conn::ConnId;
use crate::conn::State;
use crate::frame::Frame;
use crate::service::Dest;
use crate::service::Target;
use crate::snapshot::Defend;
use crate::tick::Tick;
use core::time::Duration;

/// With less than this part of a table free, a worker is short of what is in it.
const SHORT: usize = 16;
/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// This part of the table is looked at per second for conns to be ended.
const PART: usize = 32;
/// Lines looked at per call at most.
const MAX_LOOKED_AT: usize = 1024;
/// A conn that has had a packet within so many milliseconds is not idle.
const IDLE: u32 = 60_000;
/// Packets of which an idle conn may have had so many and be ended all the same.
const MAX_PACKETS: usize = 8;

/// What remains from call to call.
#[derive(Debug, Default)]
pub(super) struct Defence {
    next_look: Tick,
    conns: Dropping,
    templates: Dropping,
    drops_entries: bool,
    /// Whether the state tables are those for floods.
    pub(super) is_secure: bool,
    /// Idle conns that were spared, by packets.
    spared: [u8; MAX_PACKETS + 1],
    /// Where the search for conns goes on, and for templates.
    cursor: u32,
    template: usize,
    /// Lines, and templates, to be looked at before the next look.
    left: [usize; 2],
}

/// One in so many is dropped.
#[derive(Debug, Default)]
struct Dropping {
    /// 0: none.
    rate: usize,
    counter: usize,
}

impl Dropping {
    /// `ip_vs_todrop`.
    fn drops(&mut self) -> bool {
        if self.rate == 0 {
            return false;
        }
        if self.counter > 1 {
            self.counter -= 1;
            return false;
        }
        self.counter = self.rate;
        true
    }
}

/// How short a worker is of what is in a table: 0 not at all, else of so many that would come in one
/// is too many.
fn shortage(len: usize, capacity: usize) -> usize {
    let (free, least) = (capacity - len, capacity.div_ceil(SHORT));
    if free < least { least / (least - free) } else { 0 }
}

impl Defence {
    /// Whether a new conn is to be dropped.
    pub(super) fn drops(&mut self) -> bool {
        self.conns.drops()
    }

    /// Whether a new conn is that needs a template of its own.
    pub(super) fn drops_template(&mut self) -> bool {
        self.templates.drops()
    }
}

impl<F: Frame> Core<F> {
    /// Looks how much there is to defend against, and defends.
    #[inline]
    pub(super) fn defend<P>(&mut self, t: &mut Turn<'_, F, P>) {
        if !t.snap.ipvs.defends() && !self.defence.is_on() {
            return;
        }
        if self.defence.next_look <= t.now {
            self.look_around(t);
        }
        if self.defence.left != [0, 0] {
            self.drop_entries(t);
        }
    }

    #[cold]
    fn look_around<P>(&mut self, t: &Turn<'_, F, P>) {
        let conns = shortage(self.conns.len(), self.conns.capacity());
        let templates = shortage(self.templates.len(), self.templates.capacity());
        let is_short = conns > 0 || templates > 0;
        let on = |mode| match mode {
            Defend::Off => false,
            Defend::Short => is_short,
            Defend::Always => true,
        };
        let ipvs = &t.snap.ipvs;
        let defence = &mut self.defence;
        defence.next_look = t.now + LOOK;
        defence.is_secure = on(ipvs.secure_tcp);
        defence.drops_entries = on(ipvs.drop_entry);
        (defence.conns.rate, defence.templates.rate) = match ipvs.drop_packet {
            Defend::Always => (usize::from(ipvs.am_droprate), 0),
            Defend::Short => (conns, templates),
            Defend::Off => (0, 0),
        };
        defence.left = match defence.drops_entries {
            true => [self.conns.sweep_len(), self.templates.sweep_len()].map(|n| n.div_ceil(PART)),
            false => [0, 0],
        };
    }

    /// Ends some of the conns that are likely a flood's (`ip_vs_random_dropentry`).
    #[cold]
    fn drop_entries<P>(&mut self, t: &mut Turn<'_, F, P>) {
        let quota = self.defence.left.map(|left| left.min(MAX_LOOKED_AT));
        self.defence.left = core::array::from_fn(|i| self.defence.left[i] - quota[i]);
        for _ in 0..quota[0] {
            self.defence.cursor += 1;
            if self.defence.cursor as usize >= self.conns.sweep_len() {
                self.defence.cursor = 0;
            }
            let conn = self.conns.at(self.defence.cursor);
            if let Some(id) = conn.filter(|id| self.may_be_dropped(t, *id)) {
                t.stats.defended.add(1);
                self.close(t, id);
            }
        }
        for _ in 0..quota[1] {
            self.defence.template += 1;
            if self.defence.template >= self.templates.sweep_len() {
                self.defence.template = 0;
            }
            self.drop_template(t, self.defence.template);
        }
    }

    fn may_be_dropped<P>(&mut self, t: &Turn<'_, F, P>, id: ConnId) -> bool {
        let conn = self.conns.get(id);
        if conn.is_away() || is_of_rule(t.snap.dest(conn.dest())) {
            return false;
        }
        match conn.state() {
            State::SynRecv | State::SynAck | State::SctpInit1 | State::SctpInit => true,
            State::Established | State::SctpEstablished | State::Udp => self.is_idle(t, id),
            _ => false,
        }
    }

    /// Whether a conn that is idle, and had few packets, is to be ended: of those with n packets
    /// one in n (`todrop_entry`).
    fn is_idle<P>(&mut self, t: &Turn<'_, F, P>, id: ConnId) -> bool {
        let conn = self.conns.get(id);
        let traits = &t.snap.dest(conn.dest()).traits;
        let own = match conn.state() {
            State::Established => traits.tcp_timeouts.0,
            State::SctpEstablished => traits.sctp_timeout,
            _ => traits.udp_timeout,
        };
        let timeout = if own > 0 { own } else { t.snap.timeouts.of(conn.state()) };
        let packets = conn.packets() as usize;
        let idle = timeout.saturating_sub(conn.expires().left(t.stamp)) >= IDLE;
        if !idle || !(1..=MAX_PACKETS).contains(&packets) {
            return false;
        }
        let spared = &mut self.defence.spared[packets];
        *spared += 1;
        let drops = usize::from(*spared) >= packets;
        if drops {
            *spared = 0;
        }
        drops
    }
}

/// Whether a rule's conns go to it, which servers open.
pub(super) fn is_of_rule(dest: &Dest) -> bool {
    dest.traits.target != Target::Dest
}

impl Defence {
    fn is_on(&self) -> bool {
        self.conns.rate + self.templates.rate > 0 || self.drops_entries || self.is_secure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_of_room_the_more_are_dropped() {
        let rates = [59, 60, 61, 62, 63, 64].map(|len| shortage(len, 64));
        assert_eq!(rates, [0, 0, 4, 2, 1, 1]);
        assert_eq!([0, 1].map(|len| shortage(len, 1)), [0, 1]);
    }

    #[test]
    fn one_in_so_many_is_dropped() {
        let mut defence = Defence::default();
        assert!(!(0..100).any(|_| defence.drops()));
        defence.conns.rate = 10;
        let dropped: Vec<_> = (0..30).filter(|_| defence.drops()).collect();
        assert_eq!(dropped, [0, 10, 20]);
    }
}
