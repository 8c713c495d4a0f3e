//! In which order a pair's ports go out the first time: one that nobody outside can guess, so that a
//! stranger who forges segments toward a dest does not know the port that comes next (RFC 6056
//! section 2). Each pair has its own, as its algorithm 3 asks for.
//!
//! A Feistel network over the smallest power of two that holds all of them, walked until it gives
//! one of them: a permutation without a table.

use super::Key;
use crate::tuple::fold;
use core::hash::Hasher as _;
use siphasher::sip::SipHasher13;

/// Rounds; fewer than four can be told from chance.
const ROUNDS: u64 = 4;

/// What is put into an order: how many, and by how many bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct All {
    pub(super) count: u32,
    /// Bits of the lower half.
    low: u32,
    low_mask: u32,
    high_mask: u32,
}

impl All {
    pub(super) fn of(count: u32) -> Self {
        let bits = u32::BITS - count.saturating_sub(1).leading_zeros();
        let low = bits / 2;
        Self { count, low, low_mask: (1 << low) - 1, high_mask: (1 << (bits - low)) - 1 }
    }
}

/// One pair's order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order(u64);

impl Order {
    /// A pair's order under a secret; without one ports go out as they are numbered.
    pub(super) fn of(pair: &Key, secret: Option<u64>) -> Self {
        let Some(secret) = secret else { return Self(0) };
        let mut h = SipHasher13::new_with_keys(secret, !secret);
        h.write_u128(pair.laddr.bits());
        h.write_u128(pair.daddr.bits());
        h.write_u64(u64::from(pair.dport) << 16 | pair.proto as u64);
        // 0 stands for none.
        Self(h.finish() | 1)
    }

    /// Which one of `all` is the `n`-th (both from 0); `n` is less than their count.
    #[inline(always)]
    pub(super) fn nth(self, n: u32, all: All) -> u32 {
        if self.0 == 0 {
            return n;
        }
        let All { count, low, low_mask, high_mask } = all;
        let mut at = n;
        loop {
            let (mut a, mut b) = (at >> low, at & low_mask);
            for round in (0..ROUNDS).step_by(2) {
                a ^= self.mix(round, b) & high_mask;
                b ^= self.mix(round + 1, a) & low_mask;
            }
            at = a << low | b;
            // Ends: the walk's cycle comes back to `n`.
            if at < count {
                return at;
            }
        }
    }

    /// As the conn table hashes: both factors are secret. What goes in is spread over all bits first:
    /// of a product's low bits, which are all that is used, only the factors' low bits decide.
    fn mix(self, round: u64, half: u32) -> u32 {
        let spread = (round << 16 | u64::from(half)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        fold(self.0 ^ spread, self.0.rotate_left(32) | 1) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::Addr;
    use crate::tuple::Proto;

    fn key(dport: u16) -> Key {
        Key { laddr: Addr::v4(1), daddr: Addr::v4(2), dport, proto: Proto::Tcp }
    }

    fn ports(order: Order, count: u32) -> Vec<u32> {
        (0..count).map(|n| order.nth(n, All::of(count))).collect()
    }

    #[test]
    fn each_comes_once_whatever_their_number() {
        for count in [1, 2, 3, 5, 16, 17, 1000, 21_503, 32_256, 64_511] {
            for dport in 1..4 {
                let mut all = ports(Order::of(&key(dport), Some(7)), count);
                all.sort_unstable();
                assert!(all.into_iter().eq(0..count), "{count}");
            }
        }
    }

    #[test]
    fn orders_differ_by_pair_and_by_secret() {
        let one = ports(Order::of(&key(80), Some(1)), 64_511);
        for other in [Order::of(&key(81), Some(1)), Order::of(&key(80), Some(2))] {
            let same = ports(other, 64_511).iter().zip(&one).filter(|(a, b)| a == b).count();
            // One of chance's mean of 1; 20 are as likely as 1 in 10^18.
            assert!(same < 20, "{same}");
        }
    }

    /// What follows is above as often as below, and as far away as anything else, under every secret.
    #[test]
    fn who_knows_a_port_does_not_know_the_next() {
        for secret in 1..=40 {
            let ports = ports(Order::of(&key(80), Some(secret)), 64_511);
            let rising = ports.windows(2).filter(|w| w[0] < w[1]).count();
            assert!((31_000..33_500).contains(&rising), "{rising} under {secret}");
            // of chance some 30
            let beside = ports.windows(2).filter(|w| w[0].abs_diff(w[1]) < 16).count();
            assert!(beside < 100, "{beside} under {secret}");
            let mut steps = vec![0_u16; 1 << 16];
            ports.windows(2).for_each(|w| steps[(w[0] ^ w[1]) as usize] += 1);
            // each as often as chance has it, once; 24 are as likely as 1 in 10^23
            let most = steps.iter().max().unwrap();
            assert!(*most < 24, "a step {most} times under {secret}");
        }
    }

    #[test]
    fn without_a_secret_they_rise() {
        assert!(ports(Order::of(&key(80), None), 1000).into_iter().eq(0..1000));
    }
}
