//! Lists of what has numbers (conns, pairs of `laddr`) in the order they joined, linked through what
//! each keeps, so that one leaves from anywhere at once and nothing is allocated.

use zerocopy::FromZeros;

const NOBODY: u32 = u32::MAX;

/// The neighbours of one in a list.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
pub(crate) struct Links {
    older: u32,
    newer: u32,
}

impl Links {
    /// In no list.
    pub(crate) const NONE: Self = Self { older: NOBODY, newer: NOBODY };

    /// Asks something of who joined before and after it.
    #[inline(always)]
    pub(crate) fn each(self, ask: impl Fn(u32)) {
        if self.older != NOBODY {
            ask(self.older);
        }
        if self.newer != NOBODY {
            ask(self.newer);
        }
    }
}

/// Where each of `S` keeps its neighbours in lists of a kind.
pub(crate) type At<S> = fn(&mut S, u32) -> &mut Links;

/// A list's ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    oldest: u32,
    newest: u32,
}

impl Chain {
    /// Nobody in it.
    pub(crate) const EMPTY: Self = Self { oldest: NOBODY, newest: NOBODY };

    /// Who joined first.
    pub(crate) fn oldest(&self) -> Option<u32> {
        (self.oldest != NOBODY).then_some(self.oldest)
    }

    /// One that is in no list of this kind joins as the newest.
    pub(crate) fn join<S>(&mut self, all: &mut S, at: At<S>, number: u32) {
        let older = core::mem::replace(&mut self.newest, number);
        match older {
            NOBODY => self.oldest = number,
            older => at(all, older).newer = number,
        }
        *at(all, number) = Links { older, newer: NOBODY };
    }

    /// One that is in this list leaves it.
    pub(crate) fn leave<S>(&mut self, all: &mut S, at: At<S>, number: u32) {
        let Links { older, newer } = core::mem::replace(at(all, number), Links::NONE);
        match older {
            NOBODY => self.oldest = newer,
            older => at(all, older).newer = newer,
        }
        match newer {
            NOBODY => self.newest = older,
            newer => at(all, newer).older = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    type All = [Links; 8];

    const AT: At<All> = |all, number| &mut all[number as usize];

    fn in_order(chain: &Chain, all: &All) -> Vec<u32> {
        let next = |n: u32| (n != NOBODY).then_some(n);
        let newer = |n: &u32| next(all[*n as usize].newer);
        std::iter::successors(next(chain.oldest), newer).collect()
    }

    proptest! {
        #[test]
        fn a_chain_is_a_queue_that_any_may_leave(steps in proptest::collection::vec(0u32..8, 0..100)) {
            let (mut all, mut chain, mut model) = ([Links::NONE; 8], Chain::EMPTY, VecDeque::new());
            for number in steps {
                match model.iter().position(|other| *other == number) {
                    Some(place) => {
                        model.remove(place);
                        chain.leave(&mut all, AT, number);
                    }
                    None => {
                        model.push_back(number);
                        chain.join(&mut all, AT, number);
                    }
                }
                prop_assert_eq!(in_order(&chain, &all), Vec::from(model.clone()));
                prop_assert_eq!(chain.oldest(), model.front().copied());
                prop_assert_eq!(chain.newest, model.back().copied().unwrap_or(NOBODY));
            }
        }
    }
}
