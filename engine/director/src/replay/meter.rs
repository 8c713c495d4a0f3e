//! What a replay costs: ticks of the time stamp counter around the pipeline and around whole turns.

use crate::worker::Probe;
use hdrhistogram::Histogram;
use serde::Serialize;

/// The percentiles that are told.
const PERCENTILES: [f64; 8] = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 100.0];
/// The longest turn that is told apart: ten seconds.
const LONGEST: u64 = 10_000_000_000;

/// Sums of ticks, packets and turns.
pub(super) struct Meter {
    began: u64,
    /// Within the pipeline, and in whole turns that found a frame.
    pipeline: u64,
    turns: u64,
    packets: u64,
    bursts: u64,
    /// Of the batch at hand.
    batch: (u64, u64),
    /// Of batches in which no conn opened: ticks and packets.
    hits: (u64, u64),
    /// Of the others, and conns opened in them.
    mixed: (u64, u64, u64),
    /// Nanoseconds of turns.
    latency: Option<Histogram<u64>>,
}

/// The figures, times in nanoseconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cost {
    pub(super) packets: u64,
    pub(super) bursts: u64,
    pub(super) packets_per_burst: f64,
    /// Of the pipeline alone, and of whole turns: queues, pipeline, counters, sending.
    pub(super) pipeline_ns: f64,
    pub(super) pipeline_cycles: f64,
    pub(super) loop_ns: f64,
    pub(super) loop_cycles: f64,
    /// Packets a second of whole turns, in millions.
    pub(super) mpps: f64,
    /// Of a packet of a known conn; none where there was no batch of these alone.
    pub(super) hit_ns: Option<f64>,
    /// Of one that opens a conn.
    pub(super) miss_ns: Option<f64>,
    /// Conns that one core could open a second, from that.
    pub(super) opens_per_second: Option<f64>,
    /// Percent of turns, and the time within which they were done.
    pub(super) latency: Vec<(f64, u64)>,
}

impl Meter {
    pub(super) fn new() -> Self {
        // Its bounds are right, so it is there.
        let latency = Histogram::new_with_bounds(1, LONGEST, 3).ok();
        Self {
            began: 0,
            pipeline: 0,
            turns: 0,
            packets: 0,
            bursts: 0,
            batch: (0, 0),
            hits: (0, 0),
            mixed: (0, 0, 0),
            latency,
        }
    }

    pub(super) fn begin_batch(&mut self) {
        self.batch = (0, 0);
    }

    /// Measures a turn; says what it says.
    pub(super) fn turn(&mut self, turn: impl FnOnce(&mut Self) -> bool) -> bool {
        let began = hw::tsc();
        let found = turn(self);
        let ticks = hw::tsc().saturating_sub(began);
        if found {
            self.turns += ticks;
            self.bursts += 1;
            self.batch.0 += ticks;
            if let Some(latency) = &mut self.latency {
                latency.saturating_record(nanos(ticks, 1) as u64);
            }
        }
        found
    }

    /// The batch is through; so many conns opened meanwhile.
    pub(super) fn end_batch(&mut self, opened: u64) {
        let (ticks, packets) = self.batch;
        if opened == 0 {
            self.hits = (self.hits.0 + ticks, self.hits.1 + packets);
        } else {
            let (t, p, o) = self.mixed;
            self.mixed = (t + ticks, p + packets, o + opened);
        }
    }

    pub(super) fn cost(&self) -> Cost {
        let hit = (self.hits.1 > 0).then(|| nanos(self.hits.0, self.hits.1));
        let (ticks, packets, opened) = self.mixed;
        // What the other packets of those batches cost is taken off.
        let others = hit.unwrap_or(0.0) * packets.saturating_sub(opened) as f64;
        let known = opened > 0 && (hit.is_some() || packets <= opened);
        let miss = known.then(|| (nanos(ticks, 1) - others) / opened as f64);
        let miss = miss.filter(|ns| *ns > 0.0);
        let loop_ns = nanos(self.turns, self.packets);
        let per_packet = |ticks: u64| ticks as f64 / self.packets.max(1) as f64;
        let value = |percent: f64, h: &Histogram<u64>| match percent {
            0.0 => h.min(),
            _ => h.value_at_percentile(percent),
        };
        let latency = self.latency.iter().filter(|h| !h.is_empty());
        Cost {
            packets: self.packets,
            bursts: self.bursts,
            packets_per_burst: self.packets as f64 / self.bursts.max(1) as f64,
            pipeline_ns: nanos(self.pipeline, self.packets),
            pipeline_cycles: per_packet(self.pipeline),
            loop_ns,
            loop_cycles: per_packet(self.turns),
            mpps: if loop_ns > 0.0 { 1000.0 / loop_ns } else { 0.0 },
            hit_ns: hit,
            miss_ns: miss,
            opens_per_second: miss.map(|ns| 1e9 / ns),
            latency: latency.flat_map(|h| PERCENTILES.map(|p| (p, value(p, h)))).collect(),
        }
    }
}

impl Probe for Meter {
    #[inline(always)]
    fn begin(&mut self, frames: usize) {
        self.packets += frames as u64;
        self.batch.1 += frames as u64;
        self.began = hw::tsc();
    }

    #[inline(always)]
    fn end(&mut self) {
        self.pipeline += hw::tsc().saturating_sub(self.began);
    }
}

fn nanos(ticks: u64, of: u64) -> f64 {
    ticks as f64 * 1e9 / hw::tsc_hz() as f64 / of.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_and_misses_are_told_apart() {
        let mut meter = Meter::new();
        let mut batch = |ticks: u64, packets: usize, opened: u64| {
            meter.begin_batch();
            meter.batch = (ticks, packets as u64);
            meter.packets += packets as u64;
            meter.end_batch(opened);
        };
        batch(32_000, 32, 0);
        // Two opens among 30 hits of 1,000 ticks each.
        batch(30_000 + 10_000, 32, 2);
        let cost = meter.cost();
        let (hit, miss) = (cost.hit_ns.unwrap(), cost.miss_ns.unwrap());
        assert!((miss / hit - 5.0).abs() < 1e-6, "{hit} {miss}");
    }

    #[test]
    fn nothing_measured_is_nothing_told() {
        let cost = Meter::new().cost();
        assert_eq!((cost.hit_ns, cost.miss_ns, cost.latency.len()), (None, None, 0));
    }
}
