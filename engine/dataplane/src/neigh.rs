//! Next hops: who sits on a link and how to reach him.
//!
//! One table for all workers and both families. The control thread alone writes it (it speaks ARP
//! and neighbour discovery); workers read it without locks. An entry's place in the table is its
//! `Hop`, which conns and dests keep, so a next hop that changes its MAC changes it for all conns
//! by one store.
//!
//! A place that is given up (`HopState::Gone`) is not used again for another address at once: that
//! bumps the table's epoch, by which conns know that the hop they keep must be looked up anew, and
//! the writer waits (`GRACE`) before it reuses the place.

use crate::tuple::Addr;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Acquire;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::Ordering::Release;
use core::time::Duration;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// A port's number: its place in the configuration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PortId(pub u8);

/// A place in the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Hop(pub u32);

/// How long a given-up place rests before it serves another address.
pub const GRACE: Duration = Duration::from_secs(2);

/// The way to a next hop, as it was at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    word: u64,
    face: u64,
}

impl Link {
    /// The port it is on.
    #[inline(always)]
    pub fn port(self) -> PortId {
        port_of(self.word)
    }

    /// Whether its MAC is known.
    #[inline(always)]
    pub fn is_reachable(self) -> bool {
        self.word & REACHABLE != 0
    }

    /// Whether its MAC is known, and its port is: `mtu` and `write` say something.
    #[inline(always)]
    pub fn is_ready(self) -> bool {
        self.word & KNOWN != 0
    }

    /// The largest IP packet that its port carries.
    #[inline(always)]
    pub fn mtu(self) -> u16 {
        (self.face >> 48) as u16
    }

    /// Writes its MAC as the destination of a frame, its port's as the source, and what follows.
    #[inline(always)]
    pub fn write(self, header: &mut [u8; 14], ether_type: u16) {
        // Two bytes too many each, which what comes next covers.
        header[..8].copy_from_slice(&self.word.to_le_bytes());
        header[6..].copy_from_slice(&self.face.to_le_bytes());
        header[12..].copy_from_slice(&ether_type.to_be_bytes());
    }

    /// Its MAC; says something only where it is reachable.
    #[inline(always)]
    pub fn mac(self) -> Mac {
        mac_of(self.word)
    }
}

/// What is known of a next hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HopState {
    /// Asked for, not answered yet: hold the frame.
    Incomplete,
    /// Reachable at this MAC.
    Reachable(Mac),
    /// Does not answer: drop the frame.
    Dead,
    /// No entry here (any more).
    Gone,
}

const STATE: u64 = 0xff << 56;
const PORT: u64 = 0xff << 48;
const EMPTY: u64 = 0;
const GONE: u64 = 1 << 56;
const INCOMPLETE: u64 = 2 << 56;
const DEAD: u64 = 3 << 56;
const REACHABLE: u64 = 0x40 << 56;
/// Only with it: what is needed of the port stands beside it. The sign, which is asked for without a mask.
const KNOWN: u64 = 0x80 << 56;

/// One entry. `word` is state (8) | port (8) | MAC (48 bits, its first byte lowest: so it is written).
/// `face` is the port's MTU (16) | its MAC (48).
#[derive(Debug, Default)]
#[repr(align(32))]
struct Slot {
    word: AtomicU64,
    addr_high: AtomicU64,
    addr_low: AtomicU64,
    face: AtomicU64,
}

impl Slot {
    fn addr(&self) -> Addr {
        let (high, low) = (self.addr_high.load(Relaxed), self.addr_low.load(Relaxed));
        Addr::v6((high as u128) << 64 | low as u128)
    }
}

/// The ways to all next hops.
#[derive(Clone, Copy, Debug)]
pub struct Links<'a>(&'a [Slot]);

impl Links<'_> {
    /// The port of a hop, and its MAC where it is reachable. None beyond the table.
    #[inline(always)]
    pub fn get(self, hop: Hop) -> Option<Link> {
        // In no order: who has a hop has it from somebody who saw it entered, with its face, and a place is
        // not on another port until long (`GRACE`) after it was given up.
        let get =
            |slot: &Slot| Link { word: slot.word.load(Relaxed), face: slot.face.load(Relaxed) };
        self.0.get(hop.0 as usize).map(get)
    }
}

/// Ports that can be told apart.
const PORTS: usize = 256;

/// What sending wants to know of a port, and what stays as it is while there are workers.
#[derive(Clone, Copy, Debug)]
pub struct Face {
    /// Its MAC.
    pub mac: Mac,
    /// The largest IP packet that it carries.
    pub mtu: u16,
}

impl Face {
    fn bits(self) -> u64 {
        (self.mtu as u64) << 48 | mac_bits(self.mac)
    }
}

/// The table. Shared by `Arc`; only the control thread calls the methods that say so.
#[derive(Debug)]
pub struct Neighbours {
    slots: Box<[Slot]>,
    /// As entries have it; 0 while it is not known.
    faces: [AtomicU64; PORTS],
    epoch: AtomicU32,
    key: u64,
}

impl Neighbours {
    /// A table for `capacity` entries (room for twice as many is made); `secret` keys its hash,
    /// since on-link strangers choose addresses.
    pub fn new(capacity: usize, secret: u64) -> Self {
        let len = (capacity.max(8) * 2).next_power_of_two();
        Self {
            slots: (0..len).map(|_| Slot::default()).collect(),
            faces: core::array::from_fn(|_| AtomicU64::default()),
            epoch: AtomicU32::new(1),
            key: secret | 1,
        }
    }

    /// Changes whenever hops that conns keep must be looked up anew.
    #[inline(always)]
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Relaxed)
    }

    /// The state of a hop and the port it is on: one load.
    #[inline(always)]
    pub fn get(&self, hop: Hop) -> (PortId, HopState) {
        let Some(slot) = self.slots.get(hop.0 as usize) else {
            return (PortId(0), HopState::Gone);
        };
        let word = slot.word.load(Acquire);
        (port_of(word), state_of(word))
    }

    /// The port of a hop, and its MAC where it is reachable.
    #[inline(always)]
    pub fn link(&self, hop: Hop) -> Link {
        self.links().get(hop).unwrap_or(Link { word: GONE, face: 0 })
    }

    /// What sending wants to know of each hop.
    pub fn links(&self) -> Links<'_> {
        Links(&self.slots)
    }

    /// The ports that hops are on, in their order: control says them before it enters any. Until then no hop
    /// is ready. Who says them again, as workers do with each snapshot, changes nothing where they are as
    /// they were, which they are while there are workers.
    pub fn know(&self, ports: impl Iterator<Item = Face>) {
        let enter =
            |(known, face): (&AtomicU64, Face)| known.swap(face.bits(), Release) == face.bits();
        if self.faces.iter().zip(ports).map(enter).fold(true, |all, same| all & same) {
            return;
        }
        // Those that were entered before.
        for slot in &self.slots {
            let word = slot.word.load(Acquire);
            let (face, known) = self.face_of(port_of(word));
            slot.face.store(face, Relaxed);
            if word & REACHABLE != 0 {
                // Who has just written it knew the port.
                let _ = slot.word.compare_exchange(word, word | known, Release, Relaxed);
            }
        }
    }

    /// A port's face, and what it adds to the state of who is reachable there.
    fn face_of(&self, port: PortId) -> (u64, u64) {
        let face = self.faces[port.0 as usize].load(Acquire);
        (face, if face == 0 { 0 } else { KNOWN })
    }

    /// The hop of an address on a port, if the table has one.
    pub fn find(&self, port: PortId, addr: Addr) -> Option<Hop> {
        for i in self.probe(port, addr) {
            let slot = &self.slots[i];
            let word = slot.word.load(Acquire);
            if word == EMPTY {
                return None;
            }
            if word & STATE != GONE && port_of(word) == port && slot.addr() == addr {
                return Some(Hop(i as u32));
            }
        }
        None
    }

    /// Control only: the hop of an address on a port, made (`Incomplete`) if new. None when the
    /// table is full. `may_reuse` tells whether a given-up place has rested for `GRACE`.
    pub fn insert(&self, port: PortId, addr: Addr, may_reuse: impl Fn(Hop) -> bool) -> Option<Hop> {
        if let Some(hop) = self.find(port, addr) {
            return Some(hop);
        }
        for i in self.probe(port, addr) {
            let slot = &self.slots[i];
            let word = slot.word.load(Relaxed);
            let hop = Hop(i as u32);
            if word == EMPTY || (word & STATE == GONE && may_reuse(hop)) {
                slot.addr_high.store((addr.bits() >> 64) as u64, Relaxed);
                slot.addr_low.store(addr.bits() as u64, Relaxed);
                slot.face.store(self.face_of(port).0, Relaxed);
                slot.word.store((port.0 as u64) << 48 | INCOMPLETE, Release);
                return Some(hop);
            }
        }
        None
    }

    /// Control only: what is known of a hop now. `Gone` gives its place up.
    pub fn set(&self, hop: Hop, state: HopState) {
        let slot = &self.slots[hop.0 as usize];
        let port = slot.word.load(Relaxed) & PORT;
        let (face, known) = self.face_of(port_of(port));
        slot.face.store(face, Relaxed);
        let word = match state {
            HopState::Incomplete => INCOMPLETE,
            HopState::Dead => DEAD,
            HopState::Gone => GONE,
            HopState::Reachable(mac) => mac_bits(mac) | REACHABLE | known,
        };
        slot.word.store(word | port, Release);
        if state == HopState::Gone {
            self.bump_epoch();
        }
    }

    /// Control only: routes or hops changed; conns look theirs up anew.
    pub fn bump_epoch(&self) {
        // Never 0, by which conns say that they keep no hop.
        self.epoch.store(self.epoch.load(Relaxed).wrapping_add(1).max(1), Release);
    }

    /// The address of a hop and its port, for people.
    pub fn entry(&self, hop: Hop) -> (PortId, Addr, HopState) {
        let (port, state) = self.get(hop);
        let addr = self.slots.get(hop.0 as usize).map_or(Addr::UNSPECIFIED, Slot::addr);
        (port, addr, state)
    }

    /// Control only, from time to time: given-up places that no look-up of an entry walks over
    /// become empty, or every look-up that misses would walk ever longer runs. `rested` tells
    /// whether a place has rested for `GRACE`.
    pub fn tidy(&self, rested: impl Fn(Hop) -> bool) {
        let len = self.slots.len();
        // Places, this one and those before it, that entries behind are found over.
        let mut walked = 0;
        // Backward, and once before only to see what is walked over the wrap.
        for i in (0..len * 2).rev() {
            let (first_round, i) = (i >= len, i % len);
            match self.slots[i].word.load(Relaxed) {
                EMPTY => {}
                word if word & STATE == GONE => {
                    if walked == 0 && !first_round && rested(Hop(i as u32)) {
                        self.slots[i].word.store(EMPTY, Release);
                    }
                }
                word => {
                    let home = self.home(port_of(word), self.slots[i].addr());
                    walked = walked.max((i.wrapping_sub(home) & (len - 1)) + 1);
                }
            }
            walked = walked.saturating_sub(1);
        }
    }

    /// All entries in use.
    pub fn iter(&self) -> impl Iterator<Item = (Hop, PortId, Addr, HopState)> + '_ {
        (0..self.slots.len() as u32).map(Hop).filter_map(|hop| {
            let (port, addr, state) = self.entry(hop);
            (state != HopState::Gone).then_some((hop, port, addr, state))
        })
    }

    fn probe(&self, port: PortId, addr: Addr) -> impl Iterator<Item = usize> + use<> {
        let (start, mask) = (self.home(port, addr), self.slots.len() - 1);
        (0..self.slots.len()).map(move |i| (start + i) & mask)
    }

    /// Where a look-up begins.
    fn home(&self, port: PortId, addr: Addr) -> usize {
        let folded = addr.bits() as u64 ^ ((addr.bits() >> 64) as u64).rotate_left(29);
        let mixed = (folded ^ (port.0 as u64) << 56) as u128 * (self.key as u128);
        (mixed as u64 ^ (mixed >> 64) as u64) as usize & (self.slots.len() - 1)
    }
}

fn port_of(word: u64) -> PortId {
    PortId((word >> 48) as u8)
}

#[inline(always)]
fn state_of(word: u64) -> HopState {
    match word & STATE {
        state if state & REACHABLE != 0 => HopState::Reachable(mac_of(word)),
        INCOMPLETE => HopState::Incomplete,
        DEAD => HopState::Dead,
        _ => HopState::Gone,
    }
}

#[inline(always)]
fn mac_of(bits: u64) -> Mac {
    let b = bits.to_le_bytes();
    [b[0], b[1], b[2], b[3], b[4], b[5]]
}

fn mac_bits(m: Mac) -> u64 {
    u64::from_le_bytes([m[0], m[1], m[2], m[3], m[4], m[5], 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insert_find_set_remove() {
        let table = Neighbours::new(8, 42);
        let (port, addr) = (PortId(1), Addr::v4(0x0a000001));
        assert_eq!(table.find(port, addr), None);
        let hop = table.insert(port, addr, |_| true).unwrap();
        assert_eq!(table.get(hop), (port, HopState::Incomplete));
        assert_eq!(table.find(PortId(2), addr), None);
        let mac = [2, 0, 0, 0xaa, 0xbb, 0xcc];
        table.set(hop, HopState::Reachable(mac));
        assert_eq!(table.get(hop), (port, HopState::Reachable(mac)));
        assert_eq!(table.insert(port, addr, |_| true), Some(hop));
        let epoch = table.epoch();
        table.set(hop, HopState::Gone);
        assert_ne!(table.epoch(), epoch);
        assert_eq!(table.find(port, addr), None);
    }

    /// Whether its MAC was known before its port was, or after.
    #[test]
    fn a_hop_is_ready_once_its_mac_and_its_port_are_known() {
        const MACS: [Mac; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
        const TO: Mac = [6, 1, 2, 3, 4, 0xff];
        let ports = [Face { mac: MACS[0], mtu: 1500 }, Face { mac: MACS[1], mtu: 9000 }];
        for before in [true, false] {
            let table = Neighbours::new(8, 42);
            let hops = [0, 1].map(|n| table.insert(PortId(n), Addr::v4(1), |_| true).unwrap());
            let known = || hops.iter().for_each(|hop| table.set(*hop, HopState::Reachable(TO)));
            let is_ready = |hop: Hop| table.link(hop).is_ready();
            if before {
                known();
                assert!(!is_ready(hops[0]));
            }
            table.know(ports.into_iter());
            if !before {
                assert!(!is_ready(hops[0]));
                known();
            }
            table.know(ports.into_iter());
            for (n, (hop, face)) in hops.iter().zip(&ports).enumerate() {
                let link = table.link(*hop);
                assert_eq!((link.port(), link.mac(), link.mtu()), (PortId(n as u8), TO, face.mtu));
                assert!(link.is_reachable() && is_ready(*hop));
                let mut header = [0xee; 14];
                link.write(&mut header, 0x86dd);
                assert_eq!((&header[..6], &header[6..12]), (&TO[..], &face.mac[..]));
                assert_eq!(header[12..], [0x86, 0xdd]);
                assert_eq!(table.get(*hop), (PortId(n as u8), HopState::Reachable(TO)));
                for state in [HopState::Incomplete, HopState::Dead, HopState::Gone] {
                    table.set(*hop, state);
                    assert!(!table.link(*hop).is_reachable() && !is_ready(*hop));
                    assert_eq!(table.get(*hop), (PortId(n as u8), state));
                }
            }
        }
    }

    #[test]
    fn a_given_up_place_rests() {
        let table = Neighbours::new(8, 7);
        let hop = table.insert(PortId(0), Addr::v4(1), |_| true).unwrap();
        table.set(hop, HopState::Gone);
        assert_ne!(table.insert(PortId(0), Addr::v4(1), |_| false), Some(hop));
    }

    /// The longest run of places that are not empty: what a look-up that misses walks at most.
    fn longest_run(table: &Neighbours) -> usize {
        let (mut run, mut longest) = (0, 0);
        for slot in table.slots.iter().chain(table.slots.iter()) {
            run = if slot.word.load(Relaxed) == EMPTY { 0 } else { run + 1 };
            longest = longest.max(run);
        }
        longest
    }

    /// 48 entries in 128 places, and no given-up place that none of them needs.
    #[test]
    fn misses_stay_short_over_a_long_churn() {
        for key in [5, 0x9e37_79b9_7f4a_7c15, 0x0123_4567_89ab_cdef, 0xfeed_face_cafe_beef] {
            let table = Neighbours::new(64, key);
            let mut live = std::collections::VecDeque::new();
            let mut longest = 0;
            for i in 0..100_000 {
                if live.len() == 48 {
                    let (_, hop) = live.pop_front().unwrap();
                    table.set(hop, HopState::Gone);
                }
                live.push_back((i, table.insert(PortId(0), Addr::v4(i), |_| true).unwrap()));
                if i % 16 == 0 {
                    table.tidy(|_| true);
                    longest = longest.max(longest_run(&table));
                    let found =
                        |(i, hop): &(u32, Hop)| table.find(PortId(0), Addr::v4(*i)) == Some(*hop);
                    assert!(live.iter().all(found), "{i}");
                }
            }
            assert!(longest <= 24, "{longest} of {}", table.slots.len());
        }
    }

    #[test]
    fn a_place_that_has_not_rested_is_not_made_empty() {
        let table = Neighbours::new(8, 7);
        let hop = table.insert(PortId(0), Addr::v4(1), |_| true).unwrap();
        table.set(hop, HopState::Gone);
        table.tidy(|_| false);
        assert_eq!(longest_run(&table), 1);
        table.tidy(|_| true);
        assert_eq!(longest_run(&table), 0);
    }

    #[test]
    fn full_is_refused_and_everything_is_found() {
        let table = Neighbours::new(8, 99);
        let hops: Vec<_> =
            (0..16).map(|i| table.insert(PortId(0), Addr::v4(i), |_| true).unwrap()).collect();
        assert_eq!(table.insert(PortId(0), Addr::v4(99), |_| true), None);
        for (i, hop) in hops.iter().enumerate() {
            assert_eq!(table.find(PortId(0), Addr::v4(i as u32)), Some(*hop));
        }
        assert_eq!(table.iter().count(), 16);
    }
}
