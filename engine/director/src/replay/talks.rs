//! All conversations, found by their keys. Each is one of hundreds of thousands that nothing keeps
//! near, so the table holds their places and nothing else.

use super::talk::Key;
use super::talk::Talk;
use hashbrown::DefaultHashBuilder;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::ops::Index;
use std::ops::IndexMut;

/// Conversations under numbers that stay theirs until they are over.
#[derive(Default)]
pub(super) struct Talks {
    talks: Vec<Talk>,
    free: Vec<usize>,
    by_key: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Talks {
    /// Those that are not over.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The one with this key.
    pub(super) fn find(&self, key: &Key) -> Option<usize> {
        let is_it = |index: &u32| {
            let talk = &self.talks[*index as usize];
            talk.prefetch();
            talk.key == *key
        };
        self.by_key.find(self.hasher.hash_one(key), is_it).map(|index| *index as usize)
    }

    /// One more, whose key no other has.
    pub(super) fn open(&mut self, talk: Talk) -> usize {
        let hash = self.hasher.hash_one(talk.key);
        let index = match self.free.pop() {
            Some(index) => {
                self.talks[index] = talk;
                index
            }
            None => {
                self.talks.push(talk);
                self.talks.len() - 1
            }
        };
        let (talks, hasher) = (&self.talks, &self.hasher);
        let hash_of = |index: &u32| hasher.hash_one(talks[*index as usize].key);
        self.by_key.insert_unique(hash, index as u32, hash_of);
        index
    }

    /// It is over; its number goes to another one.
    pub(super) fn close(&mut self, index: usize) {
        let hash = self.hasher.hash_one(self.talks[index].key);
        if let Ok(found) = self.by_key.find_entry(hash, |i| *i as usize == index) {
            found.remove();
            self.free.push(index);
        }
    }

    /// Numbers of those that `which` says, in their order: a hash table has none, and the same capture
    /// gives the same output.
    pub(super) fn select(&self, which: impl Fn(&Talk) -> bool) -> Vec<usize> {
        let all = self.by_key.iter().map(|index| *index as usize);
        let mut found: Vec<_> = all.filter(|index| which(&self.talks[*index])).collect();
        found.sort_unstable();
        found
    }
}

impl Index<usize> for Talks {
    type Output = Talk;

    fn index(&self, index: usize) -> &Talk {
        &self.talks[index]
    }
}

impl IndexMut<usize> for Talks {
    fn index_mut(&mut self, index: usize) -> &mut Talk {
        &mut self.talks[index]
    }
}
