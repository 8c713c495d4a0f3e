//! The numbers a full-NAT conn begins with: its initial sequence number and its timestamp shift.
//!
//! To a dest, many clients are one address. When a local port is used again while the dest still
//! holds the last conn of that tuple in TIME_WAIT, it takes the new SYN only if its sequence number
//! lies past the last one it saw, or its timestamp does (RFC 6191, RFC 7323 section 5). Clients
//! know nothing of each other, so the director chooses both numbers.

use crate::laddr::Last;
use crate::tick::Tick;
use crate::tuple::Narrow;
use crate::tuple::Tuple;
use siphasher::sip::SipHasher13;

/// The keys, and where the wall clock stood at tick 0.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    key: (u64, u64),
    wall: u64,
}

/// The keyed hash of a tuple (`Numbers::hash`).
#[derive(Clone, Copy, Debug)]
pub struct Hashed(u64);

/// A 32-bit number `a` lies past `b` (RFC 1982).
#[inline(always)]
pub(crate) fn is_past(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 > 0
}

impl Numbers {
    /// `key` must survive restarts, and `wall` be the wall clock's nanoseconds at tick 0: then
    /// numbers go on rising over a restart.
    pub fn new(key: [u64; 2], wall: u64) -> Self {
        Self { key: (key[0], key[1]), wall }
    }

    /// The initial sequence number toward the dest: a keyed hash of the tuple plus a clock of 64 ns
    /// steps (RFC 6528), and where the tuple's last conn is remembered, past what the dest saw of
    /// it; the later of both.
    pub fn isn(&self, tuple: Hashed, last: Last, now: Tick) -> u32 {
        let clock = (self.wall.wrapping_add(now.nanos()) / 64) as u32;
        let by_clock = (tuple.0 as u32).wrapping_add(clock);
        match last.seq() {
            // One further than the next in order, so that it is past it.
            Some(seq) if !is_past(by_clock, seq) => seq.wrapping_add(1),
            _ => by_clock,
        }
    }

    /// The first timestamp toward the dest: the same two rules with a clock of milliseconds, which
    /// no client's timestamps outrun (RFC 7323 section 5.4: 1 ms to 1 s).
    pub fn tsval(&self, tuple: Hashed, last: Last, now: Tick) -> u32 {
        let clock = (self.wall.wrapping_add(now.nanos()) / 1_000_000) as u32;
        let by_clock = ((tuple.0 >> 32) as u32).wrapping_add(clock);
        match last.tsval() {
            Some(tsval) if !is_past(by_clock, tsval) => tsval.wrapping_add(1),
            _ => by_clock,
        }
    }

    /// What both numbers of a tuple come from.
    pub fn hash(&self, t: &Tuple) -> Hashed {
        let hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        // The length is part of a hash, so no tuple of one family stands for one of the other.
        if t.src.is_v4() && t.dst.is_v4() {
            let Narrow { addrs, ports, proto } = Narrow::of(t);
            let mut bytes = [0; 13];
            bytes[..8].copy_from_slice(&addrs.to_ne_bytes());
            bytes[8..12].copy_from_slice(&ports.to_ne_bytes());
            bytes[12] = proto as u8;
            return Hashed(hasher.hash(&bytes));
        }
        let ports = (t.sport as u64) << 32 | (t.dport as u64) << 16 | t.proto as u64;
        let mut bytes = [0; 40];
        bytes[..16].copy_from_slice(&t.src.bits().to_le_bytes());
        bytes[16..32].copy_from_slice(&t.dst.bits().to_le_bytes());
        bytes[32..].copy_from_slice(&ports.to_le_bytes());
        Hashed(hasher.hash(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::Addr;
    use crate::tuple::Proto;

    const TUPLE: Tuple =
        Tuple { src: Addr::v4(1), dst: Addr::v4(2), sport: 3, dport: 4, proto: Proto::Tcp };

    #[test]
    fn the_clock_has_64_ns_steps_and_goes_on_over_a_restart() {
        let n = Numbers::new([1, 2], 1_000_000_000_000);
        let at = |ns| n.isn(n.hash(&TUPLE), Last::NOTHING, Tick::from_nanos(ns));
        assert_eq!(at(6400).wrapping_sub(at(0)), 100);
        // Restarted ten seconds later: the wall clock stands for what the ticks counted before.
        let again = Numbers::new([1, 2], 1_010_000_000_000);
        let later = again.isn(again.hash(&TUPLE), Last::NOTHING, Tick::default());
        assert_eq!(later, at(10_000_000_000));
        let ts = |n: &Numbers, ns| n.tsval(n.hash(&TUPLE), Last::NOTHING, Tick::from_nanos(ns));
        assert_eq!(ts(&again, 0).wrapping_sub(ts(&n, 0)), 10_000);
    }

    #[test]
    fn what_the_dest_saw_is_passed() {
        let n = Numbers::new([1, 2], 0);
        let by_clock = n.isn(n.hash(&TUPLE), Last::NOTHING, Tick::default());
        for (seen, expected) in [
            (by_clock.wrapping_sub(1), by_clock),
            (by_clock, by_clock.wrapping_add(1)),
            (by_clock.wrapping_add(70_000), by_clock.wrapping_add(70_001)),
        ] {
            assert_eq!(n.isn(n.hash(&TUPLE), Last::new(seen, None), Tick::default()), expected);
        }
        let ts = n.tsval(n.hash(&TUPLE), Last::NOTHING, Tick::default());
        let seen = ts.wrapping_add(5);
        assert_eq!(n.tsval(n.hash(&TUPLE), Last::new(0, Some(seen)), Tick::default()), seen + 1);
    }

    #[test]
    fn tuples_differ() {
        let n = Numbers::new([1, 2], 0);
        let at = |t| n.isn(n.hash(&t), Last::NOTHING, Tick::default());
        let v6 = |low: u128| Addr::v6(0x2001 << 112 | low);
        let wide = Tuple { src: v6(1), dst: v6(2), ..TUPLE };
        for t in [TUPLE, wide] {
            let (src, dst) = if t == wide { (v6(5), v6(5)) } else { (Addr::v4(5), Addr::v4(5)) };
            for other in [
                Tuple { src, ..t },
                Tuple { dst, ..t },
                Tuple { src: t.dst, dst: t.src, ..t },
                Tuple { sport: 5, ..t },
                Tuple { dport: 5, ..t },
                Tuple { proto: Proto::Udp, ..t },
            ] {
                assert_ne!(at(t), at(other));
            }
        }
    }
}
