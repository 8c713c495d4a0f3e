//! Lists of conns in the order they joined, linked through what the conns keep, so that one leaves
//! from anywhere at once and nothing is allocated.

use super::ConnId;
use super::Conns;
use zerocopy::FromZeros;

const NOBODY: u32 = u32::MAX;

/// A conn's neighbours in a list.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
pub(crate) struct Links {
    older: u32,
    newer: u32,
}

impl Links {
    /// In no list.
    pub(crate) const NONE: Self = Self { older: NOBODY, newer: NOBODY };
}

/// Where a conn keeps its neighbours in lists of a kind.
pub(crate) type At = fn(&mut Conns, ConnId) -> &mut Links;

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
    pub(crate) fn oldest(&self) -> Option<ConnId> {
        (self.oldest != NOBODY).then_some(ConnId(self.oldest))
    }

    /// A conn, which is in no list of this kind, joins as the newest.
    pub(crate) fn join(&mut self, conns: &mut Conns, at: At, id: ConnId) {
        let older = core::mem::replace(&mut self.newest, id.0);
        match older {
            NOBODY => self.oldest = id.0,
            older => at(conns, ConnId(older)).newer = id.0,
        }
        *at(conns, id) = Links { older, newer: NOBODY };
    }

    /// A conn that is in this list leaves it.
    pub(crate) fn leave(&mut self, conns: &mut Conns, at: At, id: ConnId) {
        let Links { older, newer } = core::mem::replace(at(conns, id), Links::NONE);
        match older {
            NOBODY => self.oldest = newer,
            older => at(conns, ConnId(older)).newer = newer,
        }
        match newer {
            NOBODY => self.newest = older,
            newer => at(conns, ConnId(newer)).older = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::Hasher;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn in_order(chain: &Chain, conns: &mut Conns, at: At) -> Vec<u32> {
        let mut next = chain.oldest;
        let mut all = Vec::new();
        while next != NOBODY {
            all.push(next);
            next = at(conns, ConnId(next)).newer;
        }
        all
    }

    proptest! {
        #[test]
        fn a_chain_is_a_queue_that_any_may_leave(steps in proptest::collection::vec(0u32..8, 0..100)) {
            let mut conns = Conns::new(8, Hasher::new([1, 2, 3, 4])).unwrap();
            let at: At = |conns, id| &mut conns.track_mut(id).links;
            let (mut chain, mut model) = (Chain::EMPTY, VecDeque::new());
            for id in steps {
                match model.iter().position(|other| *other == id) {
                    Some(place) => {
                        model.remove(place);
                        chain.leave(&mut conns, at, ConnId(id));
                    }
                    None => {
                        model.push_back(id);
                        chain.join(&mut conns, at, ConnId(id));
                    }
                }
                prop_assert_eq!(in_order(&chain, &mut conns, at), Vec::from(model.clone()));
                prop_assert_eq!(chain.oldest().map(|id| id.0), model.front().copied());
                prop_assert_eq!(chain.newest, model.back().copied().unwrap_or(NOBODY));
            }
        }
    }
}
