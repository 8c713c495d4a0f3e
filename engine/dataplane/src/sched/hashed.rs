//! sh, dh and mh: a table of buckets, filled from the service's dests once; a hash of the packet's
//! addresses names the bucket.

use super::Ask;
use super::maglev;
use crate::service::Candidate;
use crate::service::DestId;
use crate::tuple::Addr;
use crate::tuple::Tuple;

/// Buckets of sh and dh (IP_VS_SH_TAB_SIZE, IP_VS_DH_TAB_SIZE).
const BUCKETS: usize = 256;
/// A bucket that no dest has.
const NOBODY: u32 = u32::MAX;

/// What names the bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key {
    /// sh: the client's address.
    Source,
    /// dh: the address that the client wants.
    Destination,
    /// mh: the client's address, by the hash of the Maglev table.
    Maglev,
}

/// ipvsadm's scheduler flags `sh-port`, `sh-fallback`, `mh-port` and `mh-fallback`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags {
    /// The client's port counts too.
    pub port: bool,
    /// Where the bucket's dest is unusable other buckets are tried.
    pub fallback: bool,
}

/// The buckets of a service; each holds the place of a dest in the service's list.
#[derive(Clone, PartialEq, Debug)]
pub struct Hashed {
    buckets: Box<[u32]>,
    key: Key,
    flags: Flags,
}

impl Hashed {
    /// sh: each dest gets as many buckets in a row as its weight, in turns, until all are filled
    /// (`ip_vs_sh_reassign`). A dest of weight 0 gets its turn and one bucket, where it then fails
    /// the pick.
    pub fn source(dests: &[Candidate], flags: Flags) -> Self {
        Self { buckets: deal(dests.iter().map(|c| c.weight)), key: Key::Source, flags }
    }

    /// dh: the dests in turn, whatever their weights (`ip_vs_dh_reassign`).
    pub fn destination(dests: &[Candidate]) -> Self {
        let buckets = deal(dests.iter().map(|_| 1));
        Self { buckets, key: Key::Destination, flags: Flags::default() }
    }

    /// mh: a Maglev table of `size` buckets, a prime number.
    pub fn maglev(dests: &[maglev::Entry], size: u32, flags: Flags) -> Self {
        let buckets = maglev::table(dests, size).into_iter().map(|place| place.unwrap_or(NOBODY));
        Self { buckets: buckets.collect(), key: Key::Maglev, flags }
    }

    /// Its name, as ipvsadm has it.
    pub(super) const fn name(&self) -> &'static str {
        match self.key {
            Key::Source => "sh",
            Key::Destination => "dh",
            Key::Maglev => "mh",
        }
    }

    /// The bucket's dest; under `fallback`, where that is unusable, the dest of another bucket:
    /// seeds from the first bucket's number on, all the way round (`ip_vs_sh_get_fallback`).
    pub(super) fn pick(&self, dests: &[Candidate], ask: &Ask<'_>) -> Option<DestId> {
        let of = |bucket: usize| dests.get(self.buckets[bucket] as usize);
        let first = self.bucket(ask.tuple, 0);
        let dest = of(first)?;
        if ask.may(dest) {
            return Some(dest.id);
        }
        if !self.flags.fallback || !dests.iter().any(|c| ask.may(c)) {
            return None;
        }
        let len = self.buckets.len();
        let others = (0..len).map(|i| of(self.bucket(ask.tuple, ((first + i) % len) as u32)));
        others.map_while(|dest| dest).find(|dest| ask.may(dest)).map(|dest| dest.id)
    }

    fn bucket(&self, tuple: &Tuple, seed: u32) -> usize {
        let port = if self.flags.port { u32::from(tuple.sport) } else { 0 };
        let source = || fold(tuple.src).wrapping_add(port);
        match self.key {
            Key::Source => seed.wrapping_add(hash_8(source())) as usize % BUCKETS,
            Key::Destination => hash_8(fold(tuple.dst)) as usize,
            Key::Maglev => {
                let hash = maglev::hash(source().wrapping_add(seed), maglev::FIRST);
                hash as usize % self.buckets.len()
            }
        }
    }
}

/// An address as one word: the XOR of its words for v6.
pub(super) fn fold(addr: Addr) -> u32 {
    match addr.is_v4() {
        true => addr.v4_bits(),
        false => (0..4).fold(0, |x, i| x ^ (addr.bits() >> (32 * i)) as u32),
    }
}

/// The kernel's `hash_32` to 8 bits: GOLDEN_RATIO_32 of include/linux/hash.h; the upper bits are
/// the good ones.
fn hash_8(word: u32) -> u32 {
    word.wrapping_mul(0x61c8_8647) >> 24
}

/// Buckets in turns: each place as many in a row as its number says, at least one.
fn deal(turns: impl ExactSizeIterator<Item = u32> + Clone) -> Box<[u32]> {
    let in_a_row = |(place, n): (u32, u32)| core::iter::repeat_n(place, n.max(1) as usize);
    let places = (0..).zip(turns.clone()).cycle().flat_map(in_a_row);
    match turns.len() {
        0 => [NOBODY; BUCKETS].into(),
        _ => places.take(BUCKETS).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::tests::asked;
    use crate::sched::tests::list;
    use crate::sched::tests::tuple;
    use crate::tuple::Addr;

    const PLAIN: Flags = Flags { port: false, fallback: false };
    const FALLBACK: Flags = Flags { port: false, fallback: true };

    #[test]
    fn sh_deals_buckets_in_turns_by_weight() {
        let table = Hashed::source(&list(&[1, 3]), PLAIN).buckets;
        assert_eq!(&table[..8], &[0, 1, 1, 1, 0, 1, 1, 1]);
        assert_eq!(table.iter().filter(|place| **place == 0).count(), 64);
    }

    #[test]
    fn dh_deals_them_whatever_the_weights() {
        let table = Hashed::destination(&list(&[1, 3, 0])).buckets;
        assert_eq!(&table[..5], &[0, 1, 2, 0, 1]);
    }

    #[test]
    fn no_dests_no_pick() {
        let tables = [Hashed::source(&[], FALLBACK), Hashed::destination(&[])];
        for table in tables.into_iter().chain([Hashed::maglev(&[], 251, FALLBACK)]) {
            assert_eq!(asked(&tuple(1), &[], |ask| table.pick(&[], ask)), None);
        }
    }

    #[test]
    fn sh_knows_the_client_by_its_address_and_with_the_flag_by_its_port() {
        let dests = list(&[1, 1, 1, 1, 1]);
        for (port, others) in [(false, false), (true, true)] {
            let table = Hashed::source(&dests, Flags { port, fallback: false });
            let pick = |sport| {
                let t = Tuple { sport, ..tuple(0x0a01_0001) };
                asked(&t, &[], |ask| table.pick(&dests, ask))
            };
            assert_eq!((2000..2064).any(|sport| pick(sport) != pick(1999)), others);
        }
    }

    #[test]
    fn dh_knows_it_by_what_it_wants() {
        let dests = list(&[1, 1, 1, 1, 1]);
        let table = Hashed::destination(&dests);
        let pick = |src, dst| {
            let t = Tuple { src: Addr::v4(src), dst: Addr::v4(dst), ..tuple(0) };
            asked(&t, &[], |ask| table.pick(&dests, ask))
        };
        assert!((0..64).all(|src| pick(src, 7) == pick(64, 7)));
        assert!((0..64).any(|dst| pick(7, dst) != pick(7, 64)));
    }

    #[test]
    fn fallback_finds_a_usable_dest_and_moves_nobody_else() {
        let all = list(&[1, 1, 1, 1]);
        let mut some = all.clone();
        some[2].weight = 0;
        for flags in [PLAIN, FALLBACK] {
            // The kernel rebuilds sh's buckets at a change of weight: 0 keeps one bucket, as 1 does.
            let table = Hashed::source(&some, flags);
            for src in 0..500 {
                let t = tuple(src);
                let before = asked(&t, &[], |ask| table.pick(&all, ask)).unwrap();
                let after = asked(&t, &[], |ask| table.pick(&some, ask));
                match (before, flags.fallback) {
                    (DestId(2), false) => assert_eq!(after, None),
                    (DestId(2), true) => assert!(after.is_some_and(|d| d != DestId(2))),
                    _ => assert_eq!(after, Some(before)),
                }
            }
        }
    }
}
