//! The pairs of the dest endpoints that conns lately went to, an endpoint's in one cache line, and
//! whose turn it is there: what the large table finds by several lines.

use super::NO_PAIR;
use super::pool::SPREAD;
use crate::tuple::Addr;
use crate::tuple::Proto;

/// 256 KiB. Endpoints of one place push each other out.
const PLACES: usize = 4096;
const AS_MANY: &str = "as many as there are places";

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Numbers([u32; SPREAD]);

/// Where an endpoint's pairs are noted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(usize);

impl Place {
    pub(super) fn of(proto: Proto, daddr: Addr, dport: u16) -> Self {
        let ends = daddr.folded() ^ u64::from(dport) << 40 ^ (proto as u64) << 56;
        Self((ends.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - PLACES.ilog2())) as usize)
    }
}

/// All places.
#[derive(Debug)]
pub(super) struct Near {
    pairs: Box<[Numbers; PLACES]>,
    turns: Box<[u16; PLACES]>,
}

impl Near {
    /// Of a worker. Places begin their turns apart, and so do workers, so that dests of few conns use
    /// all addresses.
    pub(super) fn new(worker: usize) -> Self {
        let begins = |place| (place as u16).wrapping_add(worker as u16);
        // by way of the heap: a stack may have no room for them
        let pairs = vec![Numbers([NO_PAIR; SPREAD]); PLACES].into_boxed_slice();
        let turns: Box<[u16]> = (0..PLACES).map(begins).collect();
        Self { pairs: pairs.try_into().expect(AS_MANY), turns: turns.try_into().expect(AS_MANY) }
    }

    /// The slot after the last one's, of so many.
    pub(super) fn turn(&mut self, place: Place, slots: usize) -> usize {
        let turn = &mut self.turns[place.0 % PLACES];
        // Whole, as another of this place may have other slots.
        *turn = turn.wrapping_add(1);
        match slots {
            SPREAD => usize::from(*turn) % SPREAD,
            _ => usize::from(*turn) % slots.max(1),
        }
    }

    /// The pair that was noted, which may be another endpoint's or none any more. Only the first
    /// `SPREAD` addresses of a dest's have a slot.
    pub(super) fn get(&self, place: Place, slot: usize) -> Option<u32> {
        self.pairs[place.0 % PLACES].0.get(slot).copied()
    }

    pub(super) fn note(&mut self, place: Place, slot: usize, pair: u32) {
        if let Some(noted) = self.pairs[place.0 % PLACES].0.get_mut(slot) {
            *noted = pair;
        }
    }
}

/// The slot after one, of so many.
#[inline(always)]
pub(super) fn after(slot: usize, slots: usize) -> usize {
    if slot + 1 < slots { slot + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pools of one address and of many toward one endpoint.
    #[test]
    fn every_slot_has_its_turn_whoever_asks_between() {
        let (mut near, place) = (Near::new(0), Place::of(Proto::Tcp, Addr::v4(9), 80));
        let mut turns = [0; SPREAD];
        for _ in 0..100 * SPREAD {
            turns[near.turn(place, SPREAD)] += 1;
            assert_eq!(near.turn(place, 1), 0);
            assert!(near.turn(place, 3) < 3);
        }
        assert_eq!(turns, [100; SPREAD]);
    }
}
