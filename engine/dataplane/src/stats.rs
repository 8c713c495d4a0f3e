//! Counters, one writer each.
//!
//! A worker writes its own block and nothing else; whoever reads sums the blocks. Loads and stores
//! are relaxed and there is no read-modify-write, so counting costs what a plain variable costs.

mod services;

pub use services::ServiceBlocks;
pub use services::ServiceStats;

use crate::conn::Direction;
use crate::service::Limits;
use crate::verdict::Consumed;
use crate::verdict::DropReason;
use crate::verdict::Made;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::Ordering::SeqCst;
use core::sync::atomic::fence;
use zerocopy::FromZeros;

/// A counter with a single writer.
#[derive(Debug, Default, FromZeros)]
#[repr(transparent)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the owner of the counter may call this.
    #[inline(always)]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Takes away, for gauges; only the owner may call this.
    #[inline(always)]
    pub fn sub(&self, n: u64) {
        self.add(n.wrapping_neg());
    }

    /// Sets, for gauges; only the owner may call this.
    #[inline(always)]
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// Its value now.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one worker did with frames, and the gauges of its tables. The worker alone writes it.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerStats {
    /// Frames from the ports' queues.
    pub received: Counter,
    /// Frames handed over by other workers.
    pub taken_over: Counter,
    /// Frames that were not simply a packet of a conn that goes on, but opened or changed one, or were none of a
    /// conn's.
    pub lone: Counter,
    /// Frames the ports' queues accepted.
    pub sent: Counter,
    /// Frames other workers' rings accepted.
    pub handed_over: Counter,
    /// Frames the control thread's ring accepted.
    pub to_control: Counter,
    /// Frames waiting for a next hop; a gauge.
    pub held: Counter,
    /// Frames made here.
    pub made: [Counter; Made::COUNT],
    /// Frames taken in.
    pub consumed: [Counter; Consumed::COUNT],
    /// Frames dropped.
    pub dropped: [Counter; DropReason::COUNT],
    /// Answers not made because of the rate limit.
    pub limited: Counter,
    /// Conns in the table; a gauge.
    pub conns: Counter,
    /// Conns opened.
    pub opened: Counter,
    /// Leases held; a gauge.
    pub leases: Counter,
    /// Ports lent again by conns that had ended.
    pub lent: Counter,
    /// Conns and templates ended early (`drop_entry`).
    pub defended: Counter,
    /// Packets routed that are of no conn.
    pub routed: Counter,
    /// Replies of dr and tunnel dests that came back through the director.
    pub martian_replies: Counter,
    /// Turns of the poll loop.
    pub turns: Counter,
    /// Turns that found at least one frame.
    pub busy_turns: Counter,
    /// Nanoseconds spent in turns that found a frame.
    pub busy_nanos: Counter,
    /// Nanoseconds since the worker began.
    pub nanos: Counter,
}

impl Default for WorkerStats {
    fn default() -> Self {
        Self {
            received: Counter::default(),
            taken_over: Counter::default(),
            lone: Counter::default(),
            sent: Counter::default(),
            handed_over: Counter::default(),
            to_control: Counter::default(),
            held: Counter::default(),
            made: [const { Counter(AtomicU64::new(0)) }; Made::COUNT],
            consumed: [const { Counter(AtomicU64::new(0)) }; Consumed::COUNT],
            dropped: [const { Counter(AtomicU64::new(0)) }; DropReason::COUNT],
            limited: Counter::default(),
            conns: Counter::default(),
            opened: Counter::default(),
            leases: Counter::default(),
            lent: Counter::default(),
            defended: Counter::default(),
            routed: Counter::default(),
            martian_replies: Counter::default(),
            turns: Counter::default(),
            busy_turns: Counter::default(),
            busy_nanos: Counter::default(),
            nanos: Counter::default(),
        }
    }
}

impl WorkerStats {
    /// Counts a dropped frame.
    #[inline(always)]
    pub fn drop(&self, reason: DropReason) {
        self.dropped[reason as usize].add(1);
    }

    /// Both sides of the conservation law of this worker, at a moment when no burst is under way.
    pub fn balance(&self) -> Balance {
        let sum = |c: &[Counter]| c.iter().map(Counter::get).sum();
        Balance {
            received: self.received.get(),
            made: sum(&self.made),
            taken_over: self.taken_over.get(),
            sent: self.sent.get(),
            handed_over: self.handed_over.get(),
            to_control: self.to_control.get(),
            consumed: sum(&self.consumed),
            held: self.held.get(),
            dropped: sum(&self.dropped),
        }
    }
}

/// The conservation law: received + made + taken over = sent + handed over + to control +
/// consumed + held + dropped. `held` is a gauge, the rest count up. It holds for each worker by
/// itself, and for their sum once nothing is left in the rings between them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Balance {
    /// From the ports.
    pub received: u64,
    /// Made here.
    pub made: u64,
    /// From other workers.
    pub taken_over: u64,
    /// To the ports.
    pub sent: u64,
    /// To other workers.
    pub handed_over: u64,
    /// To the control thread.
    pub to_control: u64,
    /// Taken in.
    pub consumed: u64,
    /// Waiting here now.
    pub held: u64,
    /// Dropped, all reasons.
    pub dropped: u64,
}

impl Balance {
    /// Frames that came to be.
    pub fn inputs(&self) -> u64 {
        self.received + self.made + self.taken_over
    }

    /// Frames accounted for.
    pub fn outputs(&self) -> u64 {
        self.sent + self.handed_over + self.to_control + self.consumed + self.held + self.dropped
    }

    /// Whether the law holds.
    pub fn holds(&self) -> bool {
        self.inputs() == self.outputs()
    }
}

impl core::ops::AddAssign for Balance {
    fn add_assign(&mut self, o: Self) {
        self.received += o.received;
        self.made += o.made;
        self.taken_over += o.taken_over;
        self.sent += o.sent;
        self.handed_over += o.handed_over;
        self.to_control += o.to_control;
        self.consumed += o.consumed;
        self.held += o.held;
        self.dropped += o.dropped;
    }
}

/// What one worker did for one dest (or one service). What packets count is one cache line; the
/// worker alone writes it.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct DestStats {
    /// Conns opened.
    pub conns: Counter,
    /// Packets from clients.
    pub in_packets: Counter,
    /// Their bytes, IP header on.
    pub in_bytes: Counter,
    /// Packets to clients.
    pub out_packets: Counter,
    /// Their bytes, IP header on.
    pub out_bytes: Counter,
    /// Conns counted as active (TCP in ESTABLISHED, SYN_SENT, SYN_RECV, SYNACK); a gauge.
    pub active: Counter,
    /// The other conns; a gauge.
    pub inactive: Counter,
    /// SYNs it refused or did not answer, which then went to another dest.
    pub passed_over: Counter,
    /// Templates that this worker keeps of it; a gauge (PersistConn).
    pub persistent: Counter,
}

impl DestStats {
    /// Counts a packet of so many bytes.
    #[inline(always)]
    pub fn count(&self, way: Direction, len: u64) {
        let (packets, bytes) = match way {
            Direction::Original => (&self.in_packets, &self.in_bytes),
            Direction::Reply => (&self.out_packets, &self.out_bytes),
        };
        packets.add(1);
        bytes.add(len);
    }
}

/// Per-dest blocks of all workers: `blocks[worker][dest]`. Made once, at the capacity the director
/// was started with; dest ids are stable, so they outlive snapshots.
#[derive(Debug)]
pub struct DestBlocks {
    blocks: Box<[Box<[DestStats]>]>,
    /// Dests that are full, of all workers: whoever sees a dest's count pass a limit writes.
    full: Box<[AtomicBool]>,
}

impl DestBlocks {
    /// Blocks for `workers` workers and ids below `dests`.
    pub fn new(workers: usize, dests: usize) -> Self {
        let block = || (0..dests).map(|_| DestStats::default()).collect();
        let full = (0..dests).map(|_| AtomicBool::new(false)).collect();
        Self { blocks: (0..workers).map(|_| block()).collect(), full }
    }

    /// Whether a dest has reached its upper limit and not fallen below the lower one since
    /// (IP_VS_DEST_F_OVERLOAD).
    #[inline]
    pub fn is_full(&self, dest: usize) -> bool {
        self.full[dest].load(Relaxed)
    }

    /// A conn of a dest has begun or ended, or its limits are others.
    pub fn judge(&self, dest: usize, limits: Limits) {
        // Nearly all have none, and a new snapshot asks for each.
        if limits.upper == 0 && !self.is_full(dest) {
            return;
        }
        let conns = || self.sum(dest, |s| &s.active).wrapping_add(self.sum(dest, |s| &s.inactive));
        self.judge_by(dest, limits, conns);
    }

    /// Workers may close conns at one moment, and the last word must be of who has seen all of
    /// them. What each has counted comes before it looks at the others' (the fence), so that of two
    /// one sees both; and who has changed the word looks again, for those who found the old one.
    fn judge_by(&self, dest: usize, limits: Limits, conns: impl Fn() -> u64) {
        loop {
            fence(SeqCst);
            let was = self.is_full(dest);
            let is = limits.judge(conns(), was);
            if was == is {
                return;
            }
            self.full[dest].store(is, Relaxed);
        }
    }

    /// One worker's block.
    #[inline(always)]
    pub fn of_worker(&self, worker: usize) -> &[DestStats] {
        &self.blocks[worker]
    }

    /// Dest ids that fit.
    pub fn capacity(&self) -> usize {
        self.blocks.first().map_or(0, |b| b.len())
    }

    /// A counter of one dest, summed over workers. A sum of counts that move meanwhile: exact for
    /// one worker, at most as stale as the other workers' stores are slow to arrive.
    #[inline]
    pub fn sum(&self, dest: usize, counter: impl Fn(&DestStats) -> &Counter) -> u64 {
        self.blocks.iter().map(|b| counter(&b[dest]).get()).fold(0, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn gauges_fall_and_sums_add() {
        let d = DestBlocks::new(2, 3);
        d.of_worker(0)[1].active.add(5);
        d.of_worker(1)[1].active.add(2);
        d.of_worker(0)[1].active.sub(1);
        assert_eq!(d.sum(1, |s| &s.active), 6);
        assert_eq!(d.sum(2, |s| &s.active), 0);
    }

    /// While one worker judges by what it has seen, the other closes its last conn and finds a dest
    /// that is not full yet.
    #[test]
    fn a_dest_does_not_stay_full_when_its_last_conns_end_while_it_is_judged() {
        let (d, limits) = (DestBlocks::new(2, 1), Limits { upper: 2, lower: 1 });
        let stats = [0, 1].map(|worker| &d.of_worker(worker)[0]);
        stats.iter().for_each(|s| s.inactive.add(1));
        let seen = Cell::new(0);
        d.judge_by(0, limits, || {
            let conns = d.sum(0, |s| &s.inactive);
            if seen.replace(seen.get() + 1) == 0 {
                for s in stats {
                    s.inactive.sub(1);
                    d.judge(0, limits);
                }
            }
            conns
        });
        assert!(!d.is_full(0));
        stats[0].inactive.add(2);
        d.judge(0, limits);
        assert!(d.is_full(0), "with two it is");
    }

    #[test]
    fn the_law() {
        let s = WorkerStats::default();
        s.received.add(2);
        s.made[Made::Reset as usize].add(1);
        s.drop(DropReason::ClosedPort);
        s.sent.add(1);
        assert!(!s.balance().holds());
        s.to_control.add(1);
        assert!(s.balance().holds());
    }
}
