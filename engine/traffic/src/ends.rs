//! Which addresses and ports clients have in use.

use hashbrown::HashMap;
use hashbrown::HashSet;
use pointsman_dataplane::tuple::Addr;

/// The first port of a client, and how many it has.
pub(crate) const FIRST_PORT: u16 = 1024;
pub(crate) const PORTS: usize = 64_511;
/// A client with more ports in use has a bit for each, where free ones are found by the word.
const MANY: usize = PORTS / 2;

/// The ends in use.
#[derive(Default)]
pub(crate) struct Ends {
    used: HashSet<(Addr, u16)>,
    clients: HashMap<Addr, Client>,
    /// Of a client that was full, the one that took its place last.
    instead: HashMap<usize, usize>,
}

#[derive(Default)]
struct Client {
    used: usize,
    /// Bit n: port n is in use. Empty while there are not many.
    bits: Box<[u64]>,
}

impl Ends {
    /// Takes a port of a client, the first one from place `first` on that is free; none where all
    /// are in use.
    pub(crate) fn take(&mut self, addr: Addr, first: usize) -> Option<u16> {
        let client = self.clients.entry(addr).or_default();
        if client.used == PORTS {
            return None;
        }
        let used = &mut self.used;
        let port = |n: usize| FIRST_PORT + (n % PORTS) as u16;
        let place = if client.bits.is_empty() {
            (first..first + PORTS).find(|n| !used.contains(&(addr, port(*n))))?
        } else {
            free(&client.bits, first % PORTS)?
        };
        let port = port(place);
        used.insert((addr, port));
        client.used += 1;
        if client.used == MANY {
            client.bits = vec![0; PORTS.div_ceil(64)].into_boxed_slice();
            let taken = (0..PORTS).filter(|n| used.contains(&(addr, FIRST_PORT + *n as u16)));
            taken.for_each(|n| client.bits[n / 64] |= 1 << (n % 64));
        } else if let Some(word) = client.bits.get_mut(place % PORTS / 64) {
            *word |= 1 << (place % PORTS % 64);
        }
        Some(port)
    }

    /// Gives it back.
    pub(crate) fn give(&mut self, (addr, port): (Addr, u16)) {
        if !self.used.remove(&(addr, port)) {
            return;
        }
        let Some(client) = self.clients.get_mut(&addr) else { return };
        client.used -= 1;
        let place = usize::from(port - FIRST_PORT);
        if let Some(word) = client.bits.get_mut(place / 64) {
            *word &= !(1 << (place % 64));
        }
    }

    /// Who takes the place of a client that is full: not one after another is asked again.
    pub(crate) fn instead(&self, client: usize) -> usize {
        self.instead.get(&client).copied().unwrap_or(client + 1)
    }

    /// That one did.
    pub(crate) fn took_place(&mut self, of: usize, client: usize) {
        self.instead.insert(of, client);
    }
}

/// The first place from `first` on whose bit is not set, round the end.
fn free(bits: &[u64], first: usize) -> Option<usize> {
    let beyond = bits.len() * 64 - PORTS;
    let word = |n: usize| {
        let last = n + 1 == bits.len();
        bits[n] | if last { !(u64::MAX >> beyond) } else { 0 }
    };
    let place =
        |n: usize, word: u64| (word != u64::MAX).then(|| n * 64 + word.trailing_ones() as usize);
    let below = (1 << (first % 64)) - 1;
    let here = place(first / 64, word(first / 64) | below);
    let order = (first / 64 + 1..bits.len()).chain(0..=first / 64);
    here.or_else(|| order.into_iter().find_map(|n| place(n, word(n))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_is_given_once_and_the_first_free_one_from_a_place_on() {
        let (mut ends, addr) = (Ends::default(), Addr::v4(7));
        let mut seen = HashSet::new();
        for n in 0..PORTS {
            let first = n * 7919 % PORTS;
            let port = ends.take(addr, first).unwrap();
            assert!(port >= FIRST_PORT && seen.insert(port));
            let between = usize::from(port - FIRST_PORT);
            let place = |k: usize| FIRST_PORT + ((first + k) % PORTS) as u16;
            let skipped = (between + PORTS - first) % PORTS;
            assert!((0..skipped.min(50)).all(|k| seen.contains(&place(k))), "{n}");
        }
        assert_eq!(ends.take(addr, 5), None);
        for port in [FIRST_PORT, u16::MAX - 1, 30_000] {
            ends.give((addr, port));
            assert_eq!(ends.take(addr, 1234), Some(port));
            assert_eq!(ends.take(addr, 1234), None);
        }
        assert!(ends.take(Addr::v4(8), 5).is_some());
    }
}
