//! Schedulers, one conn at a time.

/// A scheduler's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Least conns.
    Lc,
    /// Least conns by weight.
    Wlc,
    /// By the client's address.
    Sh,
}

/// A dest in a service's list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Which one.
    pub dest: usize,
    /// Its weight.
    pub weight: u32,
    /// Whether it may take a new conn: of a weight above 0, and not full.
    pub may: bool,
    /// Its conns that count as active.
    pub active: u64,
    /// Its other conns.
    pub inactive: u64,
}

/// Where rr and wrr stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Position {
    /// The dest chosen last; none: the list's head.
    last: Option<usize>,
    /// wrr: only dests of this weight or more have their turn.
    level: u32,
}

impl Position {
    /// Where a service begins.
    pub fn new() -> Self {
        Self { last: None, level: 1 }
    }

    /// The list has become another one: a dest went, came (to the head) or has another weight.
    pub fn changed(&mut self, kind: Kind, before: &[Place], after: &[Place]) {
        if kind != Kind::Wrr {
            let is_left = |dest: usize| after.iter().any(|p| p.dest == dest);
            // Where the last one is gone: the one before it.
            let upto = before.iter().position(|p| Some(p.dest) == self.last);
            let upto = upto.map_or(&[][..], |at| &before[..=at]);
            self.last = upto.iter().rev().map(|p| p.dest).find(|dest| is_left(*dest));
            return;
        }
        let (step, top) = (step(after), top(after));
        self.last = None;
        if self.level > top || self.level == 0 {
            self.level = top;
        } else if step > 1 {
            self.level = self.level / step * step + 1;
        }
    }

    /// The dest of a new conn of the client `addr` (an address as a 32-bit word).
    pub fn pick(&mut self, kind: Kind, list: &[Place], addr: u32) -> Option<usize> {
        match kind {
            Kind::Rr => self.next(list),
            Kind::Wrr => self.next_by_weight(list),
            Kind::Lc => least(list, |p| (load(p), 1)),
            Kind::Wlc => least(list, |p| (load(p), u64::from(p.weight))),
            Kind::Sh => by_source(list, addr),
        }
    }

    fn next(&mut self, list: &[Place]) -> Option<usize> {
        let at = list.iter().position(|p| Some(p.dest) == self.last).map_or(0, |at| at + 1);
        // Round once, as far as the one chosen last.
        let mut turns = list[at..].iter().chain(&list[..at]);
        self.last = Some(turns.find(|p| p.may)?.dest);
        self.last
    }

    fn next_by_weight(&mut self, list: &[Place]) -> Option<usize> {
        if !list.iter().any(|p| p.may) {
            return None;
        }
        loop {
            let at = list.iter().position(|p| Some(p.dest) == self.last).map_or(0, |at| at + 1);
            for p in &list[at..] {
                if p.may && p.weight >= self.level {
                    self.last = Some(p.dest);
                    return self.last;
                }
            }
            self.last = None;
            self.level = match self.level.checked_sub(step(list)) {
                Some(level) if level > 0 => level,
                _ => top(list),
            };
        }
    }
}

/// Levels go down by the greatest common divisor of the weights.
fn step(list: &[Place]) -> u32 {
    let divides = |n: u32| list.iter().all(|p| p.weight % n == 0);
    let highest = list.iter().map(|p| p.weight).max().unwrap_or(0);
    (1..=highest.max(1)).rev().find(|n| divides(*n)).unwrap_or(1)
}

/// The level they begin at.
fn top(list: &[Place]) -> u32 {
    let highest = list.iter().map(|p| p.weight).max().unwrap_or(0);
    highest.saturating_sub(step(list) - 1)
}

fn load(p: &Place) -> u64 {
    p.active * 256 + p.inactive
}

/// The least of some fraction; of equals the first in the list.
fn least(list: &[Place], of: impl Fn(&Place) -> (u64, u64)) -> Option<usize> {
    let mut best: Option<&Place> = None;
    for p in list.iter().filter(|p| p.may) {
        let is_less = |b: &Place| of(p).0 * of(b).1 < of(b).0 * of(p).1;
        if best.is_none_or(is_less) {
            best = Some(p);
        }
    }
    best.map(|p| p.dest)
}

/// 256 buckets, dealt to the dests in turns; a full or quiesced dest's clients get none.
fn by_source(list: &[Place], addr: u32) -> Option<usize> {
    let mut buckets: Vec<&Place> = Vec::new();
    while buckets.len() < 256 && !list.is_empty() {
        for p in list {
            buckets.extend(vec![p; p.weight.max(1) as usize]);
        }
    }
    // Knuth's multiplicative hash with the kernel's factor; the highest eight bits.
    let bucket = addr.wrapping_mul(0x61c8_8647) / (1 << 24);
    buckets.get(bucket as usize).filter(|p| p.may).map(|p| p.dest)
}
