//! Schedulers: which dest a new conn goes to, exactly as the kernel decides it.
//!
//! A scheduler's tables follow from the service alone and are built by the control thread; what it
//! remembers from pick to pick (`Position`) is each worker's own and outlives snapshots.

mod chance;
mod hashed;
mod least;
mod local;
mod maglev;
mod ranked;
mod round;

use crate::service::Candidate;
use crate::service::DestId;
use crate::service::Service;
use crate::stats::DestBlocks;
use crate::tick::Stamp;
use crate::tuple::Tuple;
pub use hashed::Flags;
pub use hashed::Hashed;
pub use maglev::Entry as MaglevEntry;
pub use maglev::KERNEL_SIZE;
pub use round::Position;

/// A scheduler and the tables it needs.
#[derive(Clone, PartialEq, Debug)]
pub enum Sched {
    /// Round robin.
    Rr,
    /// Weighted round robin, interleaved.
    Wrr,
    /// Fewest conns.
    Lc,
    /// Fewest conns by weight.
    Wlc,
    /// Locality-based: the VIP's dest, or as wlc.
    Lblc,
    /// The same with a set of dests.
    Lblcr,
    /// Shortest expected delay.
    Sed,
    /// Never queue: an idle dest, or the shortest expected delay.
    Nq,
    /// Failover: the highest weight.
    Fo,
    /// Overflow: the highest weight that is not exceeded.
    Ovf,
    /// The better of two by chance.
    Twos,
    /// No dest at all.
    Nobody,
    /// sh, dh and mh.
    Hashed(Hashed),
}

impl Sched {
    /// Its name, as ipvsadm has it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Lblc => "lblc",
            Self::Lblcr => "lblcr",
            Self::Sed => "sed",
            Self::Nq => "nq",
            Self::Fo => "fo",
            Self::Ovf => "ovf",
            Self::Twos => "twos",
            Self::Nobody => "none",
            Self::Hashed(table) => table.name(),
        }
    }
}

/// What a pick is asked with besides the service.
pub struct Ask<'a> {
    /// The packet that opens the conn.
    pub tuple: &'a Tuple,
    /// Conn counts of all workers.
    pub loads: &'a DestBlocks,
    /// Dests that cannot serve this conn (tried already).
    pub barred: &'a [DestId],
    /// When.
    pub now: Stamp,
}

impl Ask<'_> {
    /// Whether a dest may take a new conn: weight above 0, not full and not barred.
    #[inline]
    pub(crate) fn may(&self, c: &Candidate) -> bool {
        self.may_though_full(c) && !self.loads.is_full(c.id.0 as usize)
    }

    /// The same, whatever its thresholds say.
    fn may_though_full(&self, c: &Candidate) -> bool {
        c.weight > 0 && !self.barred.contains(&c.id)
    }

    /// Active conns of a dest, of all workers.
    fn active(&self, c: &Candidate) -> u64 {
        self.loads.sum(c.id.0 as usize, |s| &s.active)
    }

    /// 256 x active + inactive conns (`ip_vs_dest_conn_overhead`).
    fn overhead(&self, c: &Candidate) -> u64 {
        (self.active(c) << 8).wrapping_add(self.loads.sum(c.id.0 as usize, |s| &s.inactive))
    }
}

/// Picks a dest, or none where no dest may take the conn.
pub fn pick(service: &Service, position: &mut Position, ask: &Ask<'_>) -> Option<DestId> {
    let dests = &service.dests[..];
    match &service.sched {
        Sched::Rr => position.round_robin(dests, ask),
        Sched::Wrr => position.weighted(dests, ask),
        Sched::Lc => least::connections(dests, ask),
        Sched::Wlc => least::weighted(dests, ask),
        Sched::Lblc | Sched::Lblcr => position.local(&service.sched, dests, ask),
        Sched::Sed => least::expected_delay(dests, ask),
        Sched::Nq => least::never_queue(dests, ask),
        Sched::Fo => ranked::failover(dests, ask),
        Sched::Ovf => ranked::overflow(dests, ask),
        Sched::Twos => position.two_choices(dests, ask),
        Sched::Nobody => None,
        Sched::Hashed(table) => table.pick(dests, ask),
    }
}

fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::Addr;
    use crate::tuple::Proto;

    /// What a client sends.
    pub(super) fn tuple(client: u32) -> Tuple {
        let (src, dst) = (Addr::v4(client), Addr::v4(2));
        Tuple { src, dst, sport: 3, dport: 4, proto: Proto::Tcp }
    }

    /// Dests 0, 1, 2 .. of these weights.
    pub(super) fn list(weights: &[u32]) -> Vec<Candidate> {
        weights
            .iter()
            .zip(0..)
            .map(|(w, i)| Candidate { id: DestId(i), weight: *w, last_weight: *w })
            .collect()
    }

    /// Asks a rule where dests have so many (active, inactive) conns.
    pub(super) fn asked<R>(
        tuple: &Tuple,
        loads: &[(u64, u64)],
        rule: impl FnOnce(&Ask<'_>) -> R,
    ) -> R {
        let blocks = DestBlocks::new(1, loads.len().max(16));
        for (stats, (active, inactive)) in blocks.of_worker(0).iter().zip(loads) {
            stats.active.add(*active);
            stats.inactive.add(*inactive);
        }
        rule(&Ask { tuple, loads: &blocks, barred: &[], now: Stamp(0) })
    }
}
