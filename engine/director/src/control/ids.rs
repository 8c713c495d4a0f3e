//! Stable numbers: who keeps which over reloads, and when a number may serve somebody else.

use hashbrown::HashMap;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::Scope;
use pointsman_dataplane::service::ServiceId;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Proto;
use std::fmt;
use std::net::SocketAddr;

/// What makes a service the same service.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ServiceKey {
    pub(crate) proto: Proto,
    pub(crate) addr: Addr,
    pub(crate) port: u16,
    pub(crate) scope: Scope,
}

impl fmt::Display for ServiceKey {
    /// As people write it: `tcp 10.1.0.100:80`, `udp 10.1.0.0-10.1.0.255:53`, `mark 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scope {
            Scope::Mark(mark) if self.addr.is_v4() => write!(f, "mark {mark}"),
            Scope::Mark(mark) => write!(f, "mark {mark} ipv6"),
            _ => write!(f, "{} {}", self.proto, self.address()),
        }
    }
}

impl ServiceKey {
    /// Its addresses and port.
    pub(crate) fn address(&self) -> String {
        match (self.scope, self.addr.is_v4()) {
            (Scope::Range(last), true) => format!("{}-{last}:{}", self.addr, self.port),
            (Scope::Range(last), false) => format!("[{}-{last}]:{}", self.addr, self.port),
            _ => SocketAddr::new(self.addr.into(), self.port).to_string(),
        }
    }

    /// Whether it has this address by itself: a mark has those that rules give it.
    pub(crate) fn is_of(&self, addr: Addr) -> bool {
        match self.scope {
            Scope::Address => self.addr == addr,
            Scope::Range(last) => (self.addr..=last).contains(&addr),
            Scope::Mark(_) | Scope::Rule => false,
        }
    }

    /// Whether it is a range that begins as another one and ends elsewhere.
    pub(crate) fn is_resized(&self, other: &Self) -> bool {
        let is_range = |key: &Self| matches!(key.scope, Scope::Range(_));
        let begin = |key: &Self| (key.proto, key.addr, key.port);
        self != other && is_range(self) && is_range(other) && begin(self) == begin(other)
    }

    /// Whether it has addresses beyond the last one of another range.
    pub(crate) fn reaches_beyond(&self, other: &Self) -> bool {
        matches!((self.scope, other.scope), (Scope::Range(a), Scope::Range(b)) if a > b)
    }

    /// Of what opens a rule's conns, which are numbered by their names.
    pub(crate) fn of_rule(number: usize) -> Self {
        let addr = Addr::v6(number as u128);
        Self { proto: Proto::Icmp, addr, port: 0, scope: Scope::Rule }
    }

    /// The rule's number.
    pub(crate) fn rule(&self) -> Option<usize> {
        (self.scope == Scope::Rule).then_some(self.addr.bits() as usize)
    }
}

/// What makes a dest the same dest. The method is part of it: conns were opened for one and live
/// on with it when a reload changes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct DestKey {
    pub(crate) service: ServiceKey,
    pub(crate) addr: Addr,
    pub(crate) port: u16,
    pub(crate) forward: Forward,
    /// Its service goes by client (`Service::goes_by_client`): its conns belong to other workers.
    pub(crate) by_client: bool,
    /// Its service's ends speak FTP: data conns are found by what was so when they were announced.
    pub(crate) ftp: bool,
}

impl DestKey {
    /// Where the configuration lists it: what remains when its method changes.
    pub(crate) fn at(&self) -> (ServiceKey, Addr, u16) {
        (self.service, self.addr, self.port)
    }
}

/// Numbers for keys, up to a capacity. A released number keeps its key, so that who comes back
/// finds his counters, until the number is needed for another: the one released longest first.
#[derive(Clone, Debug)]
pub(crate) struct Ids<K> {
    by_key: HashMap<K, u32>,
    /// By number: the key, and when it was released (0: in use).
    slots: Vec<(K, u64)>,
    capacity: usize,
    clock: u64,
}

impl<K: Copy + Eq + std::hash::Hash> Ids<K> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { by_key: HashMap::new(), slots: Vec::new(), capacity, clock: 0 }
    }

    /// The number of a key, and whether it is one that this key did not have before. None when
    /// all numbers are in use. `may_reuse`: whether released numbers have rested.
    pub(crate) fn claim(&mut self, key: K, may_reuse: bool) -> Option<(u32, bool)> {
        if let Some(&id) = self.by_key.get(&key) {
            self.slots[id as usize].1 = 0;
            return Some((id, false));
        }
        let id = if self.slots.len() < self.capacity {
            self.slots.push((key, 0));
            self.slots.len() as u32 - 1
        } else if may_reuse {
            let released = self.slots.iter().enumerate().filter(|(_, slot)| slot.1 != 0);
            let (index, _) = released.min_by_key(|(_, slot)| slot.1)?;
            self.by_key.remove(&self.slots[index].0);
            self.slots[index] = (key, 0);
            index as u32
        } else {
            return None;
        };
        self.by_key.insert(key, id);
        Some((id, true))
    }

    /// Releases every number that `used` denies.
    pub(crate) fn release_unless(&mut self, used: impl Fn(u32) -> bool) {
        self.clock += 1;
        for (id, slot) in self.slots.iter_mut().enumerate() {
            if slot.1 == 0 && !used(id as u32) {
                slot.1 = self.clock;
            }
        }
    }

    /// The key of a number in use.
    pub(crate) fn key(&self, id: u32) -> Option<K> {
        self.slots.get(id as usize).filter(|slot| slot.1 == 0).map(|slot| slot.0)
    }

    /// Keys in use.
    pub(crate) fn in_use(&self) -> impl Iterator<Item = &K> {
        self.slots.iter().filter(|slot| slot.1 == 0).map(|slot| &slot.0)
    }

    /// What has a key's number in use has it by another key from now on, unless that one has, or
    /// had, a number of its own.
    pub(crate) fn rename(&mut self, old: &K, new: K) {
        let id = self.by_key.get(old).copied().filter(|id| self.slots[*id as usize].1 == 0);
        if let Some(id) = id.filter(|_| !self.by_key.contains_key(&new)) {
            self.by_key.remove(old);
            self.by_key.insert(new, id);
            self.slots[id as usize].0 = new;
        }
    }

    /// The number of a key, in use or released.
    pub(crate) fn number(&self, key: &K) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// Numbers given out so far are below this.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

impl Ids<ServiceKey> {
    pub(crate) fn service(&mut self, key: ServiceKey, may_reuse: bool) -> Option<ServiceId> {
        self.claim(key, may_reuse).map(|(id, _)| ServiceId(id))
    }
}

impl Ids<DestKey> {
    pub(crate) fn dest(&mut self, key: DestKey, may_reuse: bool) -> Option<(DestId, bool)> {
        self.claim(key, may_reuse).map(|(id, new)| (DestId(id), new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_finds_his_number() {
        let mut ids = Ids::new(2);
        assert_eq!(ids.claim('a', true), Some((0, true)));
        assert_eq!(ids.claim('b', true), Some((1, true)));
        ids.release_unless(|id| id == 1);
        assert_eq!(ids.key(0), None);
        assert_eq!(ids.claim('a', true), Some((0, false)));
    }

    #[test]
    fn who_has_another_name_keeps_his_number_unless_the_name_is_taken() {
        let mut ids = Ids::new(3);
        assert_eq!(['a', 'b'].map(|key| ids.claim(key, true)), [Some((0, true)), Some((1, true))]);
        ids.rename(&'a', 'c');
        assert_eq!((ids.number(&'c'), ids.number(&'a'), ids.key(0)), (Some(0), None, Some('c')));
        ids.rename(&'c', 'b');
        ids.rename(&'x', 'y');
        assert_eq!((ids.key(0), ids.key(1), ids.number(&'y')), (Some('c'), Some('b'), None));
        ids.release_unless(|id| id == 1);
        ids.rename(&'c', 'd');
        assert_eq!((ids.number(&'d'), ids.claim('c', true)), (None, Some((0, false))));
    }

    #[test]
    fn the_longest_released_is_reused_first_and_only_after_its_rest() {
        let mut ids = Ids::new(2);
        ids.claim('a', true);
        ids.claim('b', true);
        assert_eq!(ids.claim('c', true), None);
        ids.release_unless(|id| id == 0);
        ids.release_unless(|_| false);
        assert_eq!(ids.claim('c', false), None);
        assert_eq!(ids.claim('c', true), Some((1, true)));
        assert_eq!(ids.claim('a', true), Some((0, false)));
        assert_eq!(ids.claim('b', true), None);
    }
}
