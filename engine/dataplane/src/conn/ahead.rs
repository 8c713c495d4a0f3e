//! Asking for what look-ups will read while there is something else to do.
//!
//! A look-up reads an index line and then the conn's line, and neither is in a cache where there are many
//! conns. So both are asked for ahead of time, but never too many at once: those that come on top of what a
//! core can await are forgotten, or wait ([`hw::lines_under_way`]). A window moves over the burst instead: some
//! packets before a conn's line is read it is asked for, and its index line some more before that.

use super::Conns;
use super::index::Found;
use super::index::Guess;
use super::index::Place;
use crate::frame::BURST;

/// The look-ups of a burst. Each is named by how many come after it, which whoever walks over a burst has at hand.
// An array for each thing that is known of one: a place in it is known by the number alone.
#[derive(Debug)]
pub struct Ahead {
    /// The first index line of each; once that was read, what was found.
    at: [u32; BURST],
    tags: [u16; BURST],
    /// The first index lines of those that found nothing.
    missed: [u32; BURST],
    /// Those of which the second index line is awaited, a bit each.
    again: u64,
    /// So many look-ups before it is read, an index line is asked for.
    index: usize,
    /// The same of a conn's line.
    conn: usize,
    /// Index lines are asked for at once of those that so many come after, or more.
    begins: usize,
    /// So many may be made while others' lines are asked for.
    leads: usize,
}

impl Default for Ahead {
    fn default() -> Self {
        let index = hw::lines_under_way();
        Self {
            at: [0; BURST],
            tags: [0; BURST],
            missed: [0; BURST],
            again: 0,
            index,
            conn: index / 2,
            begins: 0,
            leads: 0,
        }
    }
}

impl Ahead {
    /// So many look-ups begin, at most `BURST`.
    #[inline(always)]
    pub fn begin(&mut self, len: usize) {
        (self.begins, self.leads) = (len.saturating_sub(self.index), len.saturating_sub(self.conn));
        self.again = 0;
    }

    /// The one that `left` come after is of this hash; all before have been added.
    #[inline(always)]
    pub fn add(&mut self, conns: &Conns, left: usize, hash: u64) {
        let (left, place) = (left % BURST, conns.index.place(hash));
        (self.at[left], self.tags[left]) = (place.first, place.tag);
        if left >= self.begins {
            conns.index.prefetch(place);
        }
        // The first conns' lines, while the last hashes are made.
        if left < self.conn {
            self.guess(conns, (self.leads + left) % BURST);
        }
    }

    /// Goes on to the one that `left` come after; all have been added.
    #[inline(always)]
    pub fn go_to(&mut self, conns: &Conns, left: usize) {
        let left = left % BURST;
        if left >= self.index {
            conns.index.prefetch(self.place(left - self.index));
        }
        if left >= self.conn {
            self.guess(conns, left - self.conn);
        }
        if self.again != 0 {
            self.guess_again(conns, left);
        }
    }

    /// What the one that `left` come after probably found, where `go_to` went to it.
    #[inline(always)]
    pub fn get(&self, left: usize) -> Found {
        Found(self.at[left % BURST])
    }

    /// Where the one that `left` come after looked, which found nothing.
    #[inline(always)]
    pub fn missed(&self, left: usize) -> Place {
        Place { first: self.missed[left % BURST], tag: self.tags[left % BURST] }
    }

    #[inline(always)]
    fn place(&self, left: usize) -> Place {
        Place { first: self.at[left], tag: self.tags[left] }
    }

    #[inline(always)]
    fn guess(&mut self, conns: &Conns, left: usize) {
        self.at[left] = match conns.index.guess(self.place(left)) {
            Guess::Entry(found, marks) => {
                conns.prefetch(found, marks);
                found.0
            }
            Guess::Second => {
                self.again |= 1 << left;
                return;
            }
            Guess::Nothing => {
                self.missed[left] = self.at[left];
                Found::NOTHING.0
            }
        };
    }

    /// Few lie in their second index line, which has been asked for.
    #[inline(never)]
    fn guess_again(&mut self, conns: &Conns, left: usize) {
        let first = self.again.ilog2() as usize;
        if first + self.conn / 2 < left {
            return;
        }
        self.at[first] = match conns.index.guess_second(self.place(first)) {
            Some((found, marks)) => {
                conns.prefetch(found, marks);
                found.0
            }
            None => {
                self.missed[first] = self.at[first];
                Found::NOTHING.0
            }
        };
        self.again &= !(1 << first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::Ends;
    use crate::conn::Opening;
    use crate::conn::Track;
    use crate::service::DestId;
    use crate::service::Forward;
    use crate::tick::Stamp;
    use crate::tuple::Addr;
    use crate::tuple::Hasher;
    use crate::tuple::Proto;

    fn ends(n: u32) -> Ends {
        Ends {
            proto: Proto::Tcp,
            caddr: Addr::v4(0x0a01_0000 + n),
            cport: 1000,
            vaddr: Addr::v4(0x0a02_0001),
            vport: 80,
            laddr: Addr::v4(0x0a03_0001),
            lport: 2000 + n as u16,
            daddr: Addr::v4(0x0a04_0001),
            dport: 8080,
        }
    }

    /// Conns in their second index line, and none, among them. A tag may be another conn's.
    #[test]
    fn bursts_of_every_length_find_what_a_look_up_finds() {
        const CONNS: u32 = 4000;
        let keys =
            [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0x2545_f491];
        let mut conns = Conns::new(CONNS as usize, Hasher::new(keys)).unwrap();
        for n in 0..CONNS {
            let (dest, forward) = (DestId(0), Forward::FullNat);
            let opening = Opening {
                ends: ends(n),
                dest,
                forward,
                track: Track::NEW,
                shifts: false,
                tries: 0,
            };
            conns.open(&opening, Stamp(9)).unwrap();
        }
        let (mut ahead, mut from) = (Ahead::default(), 0);
        let (mut all, mut second, mut wrong) = (0, 0, 0);
        for len in (0..=BURST).cycle().take(100 * BURST) {
            from += 13;
            let tuple = |n: u32| {
                let ends = ends((from + 7 * n) % (CONNS + CONNS / 4));
                if (from + n).is_multiple_of(2) { ends.original() } else { ends.reply() }
            };
            let tuples: Vec<_> = (0..len as u32).map(tuple).collect();
            ahead.begin(len);
            for (n, t) in tuples.iter().enumerate() {
                ahead.add(&conns, len - 1 - n, conns.hash(t));
            }
            for (n, t) in tuples.iter().enumerate() {
                ahead.go_to(&conns, len - 1 - n);
                let (found, is) = (ahead.get(len - 1 - n).get(), conns.find(conns.hash(t), t));
                let place = conns.index.place(conns.hash(t));
                if found.is_none() {
                    let missed = ahead.missed(len - 1 - n);
                    assert_eq!((missed.first, missed.tag), (place.first, place.tag));
                }
                all += 1;
                second +=
                    usize::from(is.is_some() && matches!(conns.index.guess(place), Guess::Second));
                wrong += usize::from(is.is_some() && found != is);
            }
            assert_eq!(ahead.again, 0);
        }
        assert!(second > 500 && wrong * 1000 < all, "{second} second, {wrong} wrong of {all}");
    }
}
