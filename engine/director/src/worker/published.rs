//! A worker's counters at a moment when no frame is under way.
//!
//! The live counters move while they are read, so that a sum over them never balances. At each
//! housekeeping, with the outbox empty, the worker copies them here; a version that is odd while
//! it does so (a sequence lock) tells readers to read again. The worker never waits.

use pointsman_dataplane::stats::Counter;
use pointsman_dataplane::stats::WorkerStats;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Acquire;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::Ordering::Release;
use std::sync::atomic::fence;

/// The published copy.
#[derive(Debug, Default)]
pub struct Published {
    version: AtomicU64,
    stats: WorkerStats,
}

impl Published {
    /// Worker only: publishes its counters as they are now.
    pub fn publish(&self, live: &WorkerStats) {
        let version = self.version.load(Relaxed);
        self.version.store(version.wrapping_add(1), Relaxed);
        fence(Release);
        copy(live, &self.stats);
        self.version.store(version.wrapping_add(2), Release);
    }

    /// The counters as last published, all of the same moment.
    pub fn read(&self) -> WorkerStats {
        let into = WorkerStats::default();
        loop {
            let before = self.version.load(Acquire);
            copy(&self.stats, &into);
            fence(Acquire);
            if before & 1 == 0 && self.version.load(Relaxed) == before {
                return into;
            }
            // On a shared core the worker may have been interrupted midway.
            std::thread::yield_now();
        }
    }
}

fn copy(from: &WorkerStats, to: &WorkerStats) {
    // Taken apart by name, so that a new counter cannot be forgotten here.
    let WorkerStats {
        received,
        taken_over,
        lone,
        sent,
        handed_over,
        to_control,
        held,
        made,
        consumed,
        dropped,
        limited,
        conns,
        opened,
        leases,
        lent,
        defended,
        routed,
        martian_replies,
        turns,
        busy_turns,
        busy_nanos,
        nanos,
    } = from;
    let one = |to: &Counter, from: &Counter| to.set(from.get());
    let all = |to: &[Counter], from: &[Counter]| to.iter().zip(from).for_each(|(t, f)| one(t, f));
    one(&to.received, received);
    one(&to.taken_over, taken_over);
    one(&to.lone, lone);
    one(&to.sent, sent);
    one(&to.handed_over, handed_over);
    one(&to.to_control, to_control);
    one(&to.held, held);
    all(&to.made, made);
    all(&to.consumed, consumed);
    all(&to.dropped, dropped);
    one(&to.limited, limited);
    one(&to.conns, conns);
    one(&to.opened, opened);
    one(&to.leases, leases);
    one(&to.lent, lent);
    one(&to.defended, defended);
    one(&to.routed, routed);
    one(&to.martian_replies, martian_replies);
    one(&to.turns, turns);
    one(&to.busy_turns, busy_turns);
    one(&to.busy_nanos, busy_nanos);
    one(&to.nanos, nanos);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn what_is_read_balances_while_the_worker_counts() {
        let published = Arc::new(Published::default());
        let stop = Arc::new(AtomicBool::new(false));
        let worker = {
            let (published, stop) = (Arc::clone(&published), Arc::clone(&stop));
            std::thread::spawn(move || {
                let live = WorkerStats::default();
                while !stop.load(Relaxed) {
                    live.received.add(3);
                    live.sent.add(2);
                    live.dropped[7].add(1);
                    published.publish(&live);
                }
            })
        };
        let mut last = 0;
        let begun = std::time::Instant::now();
        while last < 300_000 && begun.elapsed().as_secs() < 20 {
            let seen = published.read();
            assert!(seen.balance().holds(), "{:?}", seen.balance());
            assert!(seen.received.get() >= last);
            last = seen.received.get();
        }
        stop.store(true, Relaxed);
        worker.join().unwrap();
        assert!(last >= 300_000);
    }
}
