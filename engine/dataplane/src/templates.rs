//! Persistence: which dest a client's conns go to, as the kernel keeps it (`ip_vs_sched_persist`).
//!
//! A template belongs to the worker that the hash of its key names; the others ask that one, so
//! there is one for each key. Who goes by a template is counted by each worker for itself
//! (`Controls`); the owner sums when the template's time is up. Seconds reach beyond what a `Stamp`
//! can order, so deadlines are whole moments.

use crate::service::DestId;
use crate::service::Persistence;
use crate::service::Scope;
use crate::service::Service;
use crate::stats::Counter;
use crate::tick::Tick;
use crate::tuple::Addr;
use crate::tuple::Family;
use crate::tuple::Hasher;
use crate::tuple::Prefix;
use crate::tuple::Proto;
use crate::tuple::Tuple;
use core::time::Duration;
use hw::HugeSlice;
use std::io;
use zerocopy::FromZeros;

/// FTP's, whose data conns belong to the same dest.
const FTP: u16 = 21;
/// A template that was named to a worker may have a conn in so much time, which no counter shows yet.
const NAMED: Duration = Duration::from_secs(1);
/// How long a template goes on whose time is up while conns go by it (`ip_vs_conn_expire`).
const GOES_ON: Duration = Duration::from_secs(60);
const NO_LINE: u32 = u32::MAX;

/// What makes a template the same: whose it is, and what for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// The client's network.
    pub client: Addr,
    /// The virtual address; a mark stands for one in its first 32 bits.
    pub vaddr: Addr,
    /// 0 where it is for all ports.
    pub vport: u16,
    /// None: of a mark.
    pub proto: Option<Proto>,
}

impl Key {
    /// That of a packet which a persistent service takes.
    pub fn of(service: &Service, persistence: &Persistence, t: &Tuple) -> Self {
        let client = Prefix::new(t.src, persistence.prefix).addr();
        let (vaddr, vport, proto) = match service.scope {
            Scope::Mark(mark) => (mark_addr(mark, t.dst.family()), 0, None),
            _ if service.port == t.dport && t.dport != FTP => (t.dst, t.dport, Some(t.proto)),
            _ => (t.dst, 0, Some(t.proto)),
        };
        Self { client, vaddr, vport, proto }
    }

    /// Its hash, all of whose bits are usable.
    pub fn hash(&self, hasher: &Hasher) -> u64 {
        let (src, dst, proto) = (self.client, self.vaddr, self.proto.unwrap_or(Proto::Icmp));
        hasher.tuple(&Tuple { src, dst, sport: 0, dport: self.vport, proto })
    }
}

fn mark_addr(mark: u32, family: Family) -> Addr {
    match family {
        Family::V4 => Addr::v4(mark),
        Family::V6 => Addr::v6(u128::from(mark) << 96),
    }
}

/// A template's place: whose table, which line, and the how manieth template of that line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// The worker that keeps it.
    pub owner: u16,
    pub(crate) line: u32,
    pub(crate) generation: u32,
}

/// What a new template is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct New {
    /// What it is for.
    pub key: Key,
    /// Where conns go.
    pub dest: DestId,
    /// And to which port; 0: each to its own.
    pub dport: u16,
    /// Seconds since the last conn began.
    pub timeout: u32,
    /// It is not ended early, used or not.
    pub lasts: bool,
}

/// A template as listed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Template {
    /// What it is for.
    pub key: Key,
    /// Whether it serves new conns.
    pub valid: bool,
    /// Where they go.
    pub dest: DestId,
    /// And to which port; 0: each to its own.
    pub dport: u16,
    /// Conns that go by it, of all workers.
    pub conns: u64,
    /// A conn that goes by it was established.
    pub assured: bool,
    /// Until it ends.
    pub left: Duration,
}

#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C, align(64))]
struct Line {
    client: u128,
    vaddr: u128,
    /// Nanoseconds.
    expires: u64,
    /// Seconds.
    timeout: u32,
    dest: u32,
    /// The next line of the bucket, or the next free one.
    next: u32,
    generation: u32,
    vport: u16,
    dport: u16,
    /// 0: of a mark.
    proto: u8,
    state: u8,
}

/// Found by its key.
const VALID: u8 = 1;
/// Of no use for new conns (`ip_vs_check_template`), but not ended.
const INVALID: u8 = 2;
/// Not ended early.
const LASTS: u8 = 4;

impl Line {
    fn key(&self) -> Key {
        Key {
            client: Addr::v6(self.client),
            vaddr: Addr::v6(self.vaddr),
            vport: self.vport,
            proto: Proto::from_number(self.proto),
        }
    }

    /// Whether its time began anew a moment ago, for a conn that may be on its way yet.
    fn was_named(&self, now: Tick) -> bool {
        let timeout = Duration::from_secs(self.timeout.into());
        Duration::from_nanos(self.expires.saturating_sub(now.nanos())) + NAMED > timeout
    }
}

/// How many conns of each worker go by each template: `counts[worker][owner][line]`, one writer
/// each.
#[derive(Debug)]
pub struct Controls {
    counts: Box<[Box<[HugeSlice<Control>]>]>,
}

#[derive(Debug, FromZeros)]
#[repr(C)]
struct Control {
    conns: Counter,
    /// The generation of which a conn was established.
    assured: Counter,
}

impl Controls {
    /// For so many workers with so many templates each. Memory is touched as they come.
    ///
    /// # Errors
    /// The kernel's, when it gives no address space.
    pub fn new(workers: usize, templates: usize) -> io::Result<Self> {
        let of_worker = |_| (0..workers).map(|_| HugeSlice::new(templates)).collect();
        Ok(Self { counts: (0..workers).map(of_worker).collect::<io::Result<_>>()? })
    }

    /// Templates that each worker can have.
    pub fn templates(&self) -> usize {
        self.counts.first().and_then(|owners| owners.first()).map_or(0, |lines| lines.len())
    }

    /// A conn of `worker` goes by a template from now on.
    pub fn join(&self, worker: usize, link: Link) {
        self.of(worker, link).conns.add(1);
    }

    /// It has ended.
    pub fn leave(&self, worker: usize, link: Link) {
        self.of(worker, link).conns.sub(1);
    }

    /// It was established.
    pub fn assure(&self, worker: usize, link: Link) {
        self.of(worker, link).assured.set(u64::from(link.generation));
    }

    fn of(&self, worker: usize, link: Link) -> &Control {
        &self.counts[worker][usize::from(link.owner)][link.line as usize]
    }

    fn all(&self, link: Link) -> impl Iterator<Item = &Control> {
        self.counts.iter().map(move |owners| &owners[usize::from(link.owner)][link.line as usize])
    }

    /// Conns that go by it, of all workers. Each worker's count is as stale as its stores are slow
    /// to arrive; one that it has not told of yet began when the template was asked for.
    fn conns(&self, link: Link) -> u64 {
        self.all(link).map(|control| control.conns.get()).fold(0, u64::wrapping_add)
    }

    fn is_assured(&self, link: Link) -> bool {
        self.all(link).any(|control| control.assured.get() == u64::from(link.generation))
    }
}

/// The templates of one worker.
#[derive(Debug)]
pub struct Templates {
    owner: u16,
    lines: HugeSlice<Line>,
    /// First lines, by hash.
    buckets: HugeSlice<u32>,
    free: u32,
    /// Lines below this have been used.
    used: u32,
    len: u32,
    cursor: u32,
}

impl Templates {
    /// Room for so many. Memory is touched as they come.
    ///
    /// # Errors
    /// The kernel's, when it gives no address space.
    pub fn new(owner: usize, capacity: usize) -> io::Result<Self> {
        Ok(Self {
            owner: owner as u16,
            lines: HugeSlice::new(capacity.max(1))?,
            buckets: HugeSlice::new(capacity.max(1).next_power_of_two())?,
            free: NO_LINE,
            used: 0,
            len: 0,
            cursor: 0,
        })
    }

    /// How many there may be.
    pub fn capacity(&self) -> usize {
        self.lines.len()
    }

    /// How many there are, those of no use included.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The template of a key, and its dest.
    pub fn find(&self, key: &Key, hasher: &Hasher) -> Option<(Link, DestId)> {
        let mut at = self.buckets[self.bucket(key, hasher)];
        // 0 is no line, so that fresh memory is empty.
        while let Some(line) = at.checked_sub(1) {
            let l = &self.lines[line as usize];
            if l.key() == *key {
                return Some((self.link(line), DestId(l.dest)));
            }
            at = l.next;
        }
        None
    }

    /// A new template; none where there is no room. Its key must not have one.
    pub fn open(&mut self, new: &New, hasher: &Hasher, now: Tick) -> Option<Link> {
        let New { key, dest, dport, timeout, lasts } = *new;
        let line = match self.free {
            NO_LINE if (self.used as usize) < self.lines.len() => {
                self.used += 1;
                self.used - 1
            }
            NO_LINE => return None,
            free => {
                self.free = self.lines[free as usize].next;
                free
            }
        };
        let bucket = self.bucket(&key, hasher);
        let generation = self.lines[line as usize].generation.wrapping_add(1).max(1);
        self.lines[line as usize] = Line {
            client: key.client.bits(),
            vaddr: key.vaddr.bits(),
            expires: (now + Duration::from_secs(timeout.into())).nanos(),
            timeout,
            dest: dest.0,
            next: self.buckets[bucket],
            generation,
            vport: key.vport,
            dport,
            proto: key.proto.map_or(0, |proto| proto as u8),
            state: VALID | if lasts { LASTS } else { 0 },
        };
        self.buckets[bucket] = line + 1;
        self.len += 1;
        Some(self.link(line))
    }

    /// A conn goes by it: its time begins anew.
    pub fn refresh(&mut self, link: Link, now: Tick) {
        let line = &mut self.lines[link.line as usize];
        line.expires = (now + Duration::from_secs(line.timeout.into())).nanos();
    }

    /// It serves no new conns any more; its deadline stays.
    pub fn invalidate(&mut self, link: Link, hasher: &Hasher) {
        self.unlink(link.line, hasher);
        self.lines[link.line as usize].state = INVALID;
    }

    /// If its time is up, or nobody will want it any more, it ends, and this gives its dest; or it
    /// goes on while conns go by it.
    pub fn run_out(
        &mut self,
        link: Link,
        hasher: &Hasher,
        controls: &Controls,
        now: Tick,
        unwanted: bool,
    ) -> Option<DestId> {
        let line = &mut self.lines[link.line as usize];
        let due = line.expires <= now.nanos();
        if !due && (!unwanted || line.was_named(now)) {
            return None;
        }
        if controls.conns(link) > 0 {
            if due {
                // From now on it is the template's own timeout, as in the kernel.
                line.timeout = GOES_ON.as_secs() as u32;
                self.refresh(link, now);
            }
            return None;
        }
        Some(self.close(link.line, hasher))
    }

    /// The template in a line below `sweep_len` ends if no conn goes by it and none was ever
    /// established; this gives its dest.
    pub fn drop_unused(
        &mut self,
        line: usize,
        hasher: &Hasher,
        controls: &Controls,
        now: Tick,
    ) -> Option<DestId> {
        let Line { state, .. } = *self.lines.get(line)?;
        let link = self.link(line as u32);
        let lasts = state & LASTS != 0 || self.lines[line].was_named(now);
        let used = state == 0 || lasts || controls.conns(link) > 0;
        (!used && !controls.is_assured(link)).then(|| self.close(line as u32, hasher))
    }

    /// The next of up to `quota` lines whose time is up, or whose dest nobody will want any more;
    /// takes what it looked at from `quota`.
    pub fn sweep(
        &mut self,
        quota: &mut usize,
        now: Tick,
        unwanted: impl Fn(DestId) -> bool,
    ) -> Option<Link> {
        while *quota > 0 && self.used > 0 {
            *quota -= 1;
            self.cursor = if self.cursor + 1 < self.used { self.cursor + 1 } else { 0 };
            let line = &self.lines[self.cursor as usize];
            let ends = line.expires <= now.nanos() || unwanted(DestId(line.dest));
            if line.state != 0 && ends {
                return Some(self.link(self.cursor));
            }
        }
        None
    }

    /// Where its conns go.
    pub fn dest(&self, link: Link) -> DestId {
        DestId(self.lines[link.line as usize].dest)
    }

    /// Lines that a whole sweep looks at.
    pub fn sweep_len(&self) -> usize {
        self.used as usize
    }

    /// The template in a line below `sweep_len`, if there is one.
    pub fn at(&self, line: usize, controls: &Controls, now: Tick) -> Option<Template> {
        let l = self.lines[..self.used as usize].get(line)?;
        let left = l.expires.saturating_sub(now.nanos());
        let link = self.link(line as u32);
        (l.state != 0).then(|| Template {
            key: l.key(),
            valid: l.state & VALID != 0,
            dest: DestId(l.dest),
            dport: l.dport,
            conns: controls.conns(link),
            assured: controls.is_assured(link),
            left: Duration::from_nanos(left),
        })
    }

    fn link(&self, line: u32) -> Link {
        Link { owner: self.owner, line, generation: self.lines[line as usize].generation }
    }

    fn bucket(&self, key: &Key, hasher: &Hasher) -> usize {
        // Bits that do not name the owner.
        (key.hash(hasher) >> 32) as usize & (self.buckets.len() - 1)
    }

    fn unlink(&mut self, line: u32, hasher: &Hasher) {
        let bucket = self.bucket(&self.lines[line as usize].key(), hasher);
        let next = self.lines[line as usize].next;
        let mut at = self.buckets[bucket];
        if at == line + 1 {
            self.buckets[bucket] = next;
            return;
        }
        while let Some(before) = at.checked_sub(1) {
            at = self.lines[before as usize].next;
            if at == line + 1 {
                self.lines[before as usize].next = next;
                return;
            }
        }
    }

    fn close(&mut self, line: u32, hasher: &Hasher) -> DestId {
        if self.lines[line as usize].state & VALID != 0 {
            self.unlink(line, hasher);
        }
        let l = &mut self.lines[line as usize];
        l.state = 0;
        l.next = self.free;
        let dest = DestId(l.dest);
        self.free = line;
        self.len -= 1;
        dest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEST: (DestId, u16) = (DestId(5), 80);

    fn hasher() -> Hasher {
        Hasher::new([1, 2, 3, 4])
    }

    fn key(n: u32) -> Key {
        Key { client: Addr::v4(n), vaddr: Addr::v4(1), vport: 80, proto: Some(Proto::Tcp) }
    }

    fn new(n: u32, timeout: u32) -> New {
        New { key: key(n), dest: DEST.0, dport: DEST.1, timeout, lasts: false }
    }

    fn secs(s: u64) -> Tick {
        Tick::from_secs(s)
    }

    #[test]
    fn found_until_closed_and_lines_serve_again() {
        let (h, controls) = (hasher(), Controls::new(1, 4).unwrap());
        let mut t = Templates::new(0, 4).unwrap();
        let links: Vec<_> = (0..4).map(|n| t.open(&new(n, 10 + n), &h, secs(0)).unwrap()).collect();
        assert_eq!(t.open(&new(9, 10), &h, secs(0)), None);
        for (n, link) in links.iter().enumerate() {
            assert_eq!(t.find(&key(n as u32), &h), Some((*link, DEST.0)));
        }
        assert_eq!(t.run_out(links[1], &h, &controls, secs(10), false), None, "11 s are not up");
        assert_eq!(t.run_out(links[1], &h, &controls, secs(11), false), Some(DEST.0));
        assert_eq!((t.find(&key(1), &h), t.len()), (None, 3));
        let again = t.open(&new(9, 10), &h, secs(11)).unwrap();
        assert_eq!((again.line, again.generation), (links[1].line, 2));
        let (mut quota, mut due) = (100, 0);
        while t.sweep(&mut quota, secs(12), |_| false).is_some() {
            due += 1;
        }
        assert_eq!(due, 2 * (100 / 4), "lines 0 and 2, as often as the quota reaches");
    }

    #[test]
    fn it_goes_on_for_60_s_while_conns_go_by_it() {
        let (h, controls) = (hasher(), Controls::new(3, 8).unwrap());
        let mut t = Templates::new(1, 8).unwrap();
        let link = t.open(&new(1, 10), &h, secs(0)).unwrap();
        controls.join(0, link);
        controls.join(2, link);
        assert_eq!(t.run_out(link, &h, &controls, secs(10), false), None);
        controls.leave(0, link);
        assert_eq!(t.run_out(link, &h, &controls, secs(69), false), None);
        assert_eq!(t.run_out(link, &h, &controls, secs(70), false), None);
        controls.leave(2, link);
        assert_eq!(t.run_out(link, &h, &controls, secs(129), false), None);
        assert_eq!(t.run_out(link, &h, &controls, secs(130), false), Some(DEST.0));
    }

    #[test]
    fn one_of_no_use_is_not_found_but_lasts() {
        let (h, controls) = (hasher(), Controls::new(1, 8).unwrap());
        let mut t = Templates::new(0, 8).unwrap();
        let link = t.open(&new(1, 10), &h, secs(0)).unwrap();
        t.invalidate(link, &h);
        assert_eq!((t.find(&key(1), &h), t.len()), (None, 1));
        assert!(t.at(0, &controls, secs(0)).is_some_and(|t| !t.valid));
        let newer = t.open(&New { dest: DestId(6), ..new(1, 10) }, &h, secs(0)).unwrap();
        assert_eq!(t.find(&key(1), &h), Some((newer, DestId(6))));
        assert_eq!(t.run_out(link, &h, &controls, secs(10), false), Some(DEST.0));
        assert_eq!(t.find(&key(1), &h), Some((newer, DestId(6))));
    }

    #[test]
    fn assured_is_of_one_template_not_of_its_line() {
        let (h, controls) = (hasher(), Controls::new(2, 1).unwrap());
        let mut t = Templates::new(0, 1).unwrap();
        let link = t.open(&new(1, 10), &h, secs(0)).unwrap();
        let assured = |t: &Templates| t.at(0, &controls, secs(0)).unwrap().assured;
        assert!(!assured(&t));
        controls.assure(1, link);
        assert!(assured(&t));
        t.run_out(link, &h, &controls, secs(10), false);
        t.open(&new(2, 10), &h, secs(10)).unwrap();
        assert!(!assured(&t));
    }

    #[test]
    fn chains_of_one_bucket_hold_together() {
        let (h, controls) = (hasher(), Controls::new(1, 64).unwrap());
        let mut t = Templates::new(0, 64).unwrap();
        t.buckets = HugeSlice::new(1).unwrap();
        let links: Vec<_> =
            (0..64).map(|n| t.open(&new(n, 1 + n % 7), &h, secs(0)).unwrap()).collect();
        for (n, link) in links.iter().enumerate().filter(|(n, _)| n % 7 == 3) {
            assert_eq!(t.run_out(*link, &h, &controls, secs(4), false), Some(DEST.0), "{n}");
        }
        for n in 0..64u32 {
            assert_eq!(t.find(&key(n), &h).is_some(), n % 7 != 3, "{n}");
        }
    }
}
