//! The pairs of the dest endpoints that conns lately went to, an endpoint's in one cache line, and
//! whose turn it is there: what the large table finds by several lines.

use super::NO_PAIR;
use super::SPREAD;
use crate::tuple::Addr;
use crate::tuple::Proto;

/// Bits of a place's number: 4,096 places, 256 KiB. Endpoints of one place push each other out.
const BITS: u32 = 12;

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Numbers([u32; SPREAD]);

/// Where an endpoint's pairs are noted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(usize);

impl Place {
    pub(super) fn of(proto: Proto, daddr: Addr, dport: u16) -> Self {
        let addr = daddr.bits() as u64 ^ (daddr.bits() >> 64) as u64;
        let ends = addr ^ u64::from(dport) << 40 ^ (proto as u64) << 56;
        Self((ends.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS)) as usize)
    }
}

/// All places.
#[derive(Debug)]
pub(super) struct Near {
    pairs: Box<[Numbers]>,
    turns: Box<[u16]>,
}

impl Near {
    /// Of a worker. Places begin their turns apart, and so do workers, so that dests of few conns use
    /// all addresses.
    pub(super) fn new(worker: usize) -> Self {
        let pairs = vec![Numbers([NO_PAIR; SPREAD]); 1 << BITS].into();
        let begins = |place: u16| place.wrapping_add(worker as u16);
        Self { pairs, turns: (0..1 << BITS).map(begins).collect() }
    }

    /// Another number each time, one more than the last.
    pub(super) fn turn(&mut self, place: Place) -> usize {
        let turn = &mut self.turns[place.0];
        *turn = turn.wrapping_add(1);
        usize::from(*turn)
    }

    /// The pair that was noted, which may be another endpoint's or none any more. Only the first
    /// `SPREAD` addresses of a dest's have a slot.
    pub(super) fn get(&self, place: Place, slot: usize) -> Option<u32> {
        self.pairs[place.0].0.get(slot).copied()
    }

    pub(super) fn note(&mut self, place: Place, slot: usize, pair: u32) {
        if let Some(noted) = self.pairs[place.0].0.get_mut(slot) {
            *noted = pair;
        }
    }
}
