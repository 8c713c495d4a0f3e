//! What the control thread reads of a worker's leases: a block per pair, and one per local address
//! with what is counted over the pairs' lives. The worker alone writes; it never waits.
//!
//! Numbers of pairs and addresses serve one after another, so a block bears its key, and a version
//! that is odd while the key changes (a sequence lock) tells readers to read again.

use super::Key;
use crate::stats::Counter;
use crate::tuple::Addr;
use crate::tuple::Proto;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Acquire;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::Ordering::Release;
use core::sync::atomic::fence;
use hw::HugeSlice;
use std::io;
use zerocopy::FromZeros;

/// The leases of one worker, published.
#[derive(Debug)]
pub struct Book {
    pairs: HugeSlice<PairBlock>,
    addrs: HugeSlice<AddrBlock>,
    /// Numbers below these have been used.
    used: [Counter; 2],
}

/// What is held of one local address toward one dest endpoint, by one worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// The local address.
    pub laddr: Addr,
    /// The dest's address.
    pub daddr: Addr,
    /// Its port.
    pub dport: u16,
    /// Its protocol.
    pub proto: Proto,
    /// Leases held.
    pub ports: u64,
}

/// What one worker counted of a local address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    /// The local address.
    pub laddr: Addr,
    /// Ports lent again by conns that had ended.
    pub lent: u64,
    /// Conns refused because neither it nor another address had a port toward their dest.
    pub exhausted: u64,
}

#[derive(Debug, FromZeros)]
#[repr(C, align(64))]
struct PairBlock {
    /// laddr, daddr, and port and protocol; 0 in the end: nobody.
    key: Guarded<5>,
    held: Counter,
}

#[derive(Debug, FromZeros)]
#[repr(C, align(64))]
struct AddrBlock {
    key: Guarded<2>,
    lent: Counter,
    exhausted: Counter,
}

impl Book {
    /// For so many pairs, and so as many addresses. Memory is touched as they come.
    ///
    /// # Errors
    /// The kernel's, when it gives no address space.
    pub fn new(pairs: usize) -> io::Result<Self> {
        let (pairs, addrs) = (HugeSlice::new(pairs)?, HugeSlice::new(pairs)?);
        Ok(Self { pairs, addrs, used: Default::default() })
    }

    /// Bytes it adds to a pair.
    pub(super) const PER_PAIR: usize = size_of::<PairBlock>();

    /// Pairs there is room for.
    pub fn capacity(&self) -> usize {
        self.pairs.len()
    }

    /// What is held now, by pair. Each is exact; together they are of slightly different moments.
    pub fn held(&self) -> impl Iterator<Item = Held> + '_ {
        let used = self.used[0].get() as usize;
        self.pairs[..used].iter().filter_map(|block| {
            let (key, ports) = block.key.read(|| block.held.get());
            let [a, b, c, d, port] = key;
            let proto = Proto::from_number((port >> 16) as u8)?;
            Some(Held {
                laddr: addr([a, b]),
                daddr: addr([c, d]),
                dport: port as u16,
                proto,
                ports,
            })
        })
    }

    /// What was counted, by local address. An address that is used no more is forgotten when its
    /// place is needed.
    pub fn counts(&self) -> impl Iterator<Item = Counts> + '_ {
        let used = self.used[1].get() as usize;
        self.addrs[..used].iter().map(|block| {
            let (key, (lent, exhausted)) =
                block.key.read(|| (block.lent.get(), block.exhausted.get()));
            Counts { laddr: addr(key), lent, exhausted }
        })
    }

    pub(super) fn begin_pair(&self, pair: u32, key: &Key) {
        let [a, b] = words(key.laddr);
        let [c, d] = words(key.daddr);
        let block = &self.pairs[pair as usize];
        let port = u64::from(key.dport) | (key.proto as u64) << 16;
        block.key.write([a, b, c, d, port], || block.held.set(0));
        self.used[0].set(self.used[0].get().max(u64::from(pair) + 1));
    }

    pub(super) fn end_pair(&self, pair: u32) {
        self.pairs[pair as usize].key.write([0; 5], || {});
    }

    #[inline(always)]
    pub(super) fn set_held(&self, pair: u32, held: u32) {
        self.pairs[pair as usize].held.set(u64::from(held));
    }

    pub(super) fn begin_addr(&self, number: u32, laddr: Addr) {
        let block = &self.addrs[number as usize];
        block.key.write(words(laddr), || {
            block.lent.set(0);
            block.exhausted.set(0);
        });
        self.used[1].set(self.used[1].get().max(u64::from(number) + 1));
    }

    pub(super) fn count_lent(&self, number: u32) {
        self.addrs[number as usize].lent.add(1);
    }

    pub(super) fn count_exhausted(&self, number: u32) {
        self.addrs[number as usize].exhausted.add(1);
    }
}

fn words(addr: Addr) -> [u64; 2] {
    [(addr.bits() >> 64) as u64, addr.bits() as u64]
}

fn addr([high, low]: [u64; 2]) -> Addr {
    Addr::v6(u128::from(high) << 64 | u128::from(low))
}

/// Words that change together.
#[derive(Debug, FromZeros)]
#[repr(C)]
struct Guarded<const N: usize> {
    version: AtomicU64,
    words: [AtomicU64; N],
}

impl<const N: usize> Guarded<N> {
    /// The owner only: new words, and what must change with them.
    fn write(&self, words: [u64; N], along: impl FnOnce()) {
        let version = self.version.load(Relaxed);
        self.version.store(version.wrapping_add(1), Relaxed);
        fence(Release);
        self.words.iter().zip(words).for_each(|(to, word)| to.store(word, Relaxed));
        along();
        self.version.store(version.wrapping_add(2), Release);
    }

    /// The words, and what was read along with them.
    fn read<T>(&self, along: impl Fn() -> T) -> ([u64; N], T) {
        loop {
            let before = self.version.load(Acquire);
            let words = core::array::from_fn(|i| self.words[i].load(Relaxed));
            let read = along();
            fence(Acquire);
            if before & 1 == 0 && self.version.load(Relaxed) == before {
                return (words, read);
            }
            core::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u16) -> Key {
        Key { laddr: Addr::v4(n.into()), daddr: Addr::v6(n.into()), dport: n, proto: Proto::Udp }
    }

    #[test]
    fn what_was_written_is_read_and_what_ended_is_not() {
        let book = Book::new(4).unwrap();
        assert_eq!((book.held().count(), book.counts().count()), (0, 0));
        book.begin_pair(0, &key(7));
        book.set_held(0, 3);
        book.begin_pair(1, &key(8));
        book.end_pair(1);
        book.begin_addr(0, Addr::v4(7));
        book.count_lent(0);
        let (laddr, daddr) = (Addr::v4(7), Addr::v6(7));
        let held = Held { laddr, daddr, dport: 7, proto: Proto::Udp, ports: 3 };
        assert_eq!(book.held().collect::<Vec<_>>(), [held]);
        let counts = Counts { laddr, lent: 1, exhausted: 0 };
        assert_eq!(book.counts().collect::<Vec<_>>(), [counts]);
    }

    #[test]
    fn a_key_and_its_count_are_of_one_moment_while_the_worker_writes() {
        let (book, done) = (Book::new(1).unwrap(), core::sync::atomic::AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..200_000u32 {
                    let n = (round % 100) as u16 + 1;
                    book.begin_addr(0, Addr::v4(n.into()));
                    (0..n % 4).for_each(|_| book.count_lent(0));
                }
                done.store(true, Relaxed);
            });
            while !done.load(Relaxed) {
                for counts in book.counts() {
                    let most = u64::from(counts.laddr.v4_bits() % 4);
                    assert!(counts.lent <= most, "{counts:?}");
                }
            }
        });
    }
}
