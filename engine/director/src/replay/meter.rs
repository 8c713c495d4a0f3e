//! What a replay costs: ticks of the time stamp counter around the pipeline and around whole turns.

use crate::worker::Probe;
use hdrhistogram::Histogram;
use pointsman_dataplane::stats::WorkerStats;
use serde::Serialize;

/// The percentiles that are told.
const PERCENTILES: [f64; 8] = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 100.0];
/// The longest turn that is told apart: ten seconds.
const LONGEST: u64 = 10_000_000_000;

/// An idle spin is no longer than this, in nanoseconds.
const LONGEST_SPIN: u64 = 1_000_000_000;
/// Turns of a stretch of it: those of a thousand packets.
const SPIN_STRETCH: u64 = 32;
/// Packets below which figures say nothing.
const ENOUGH: u64 = 1000;

/// Sums of ticks, packets and turns.
pub(super) struct Meter {
    /// Ticks and conns opened when the burst at hand went in, and its frames.
    began: (u64, u64, u64),
    /// Before the stretch at hand.
    interruptions: u64,
    /// Of the stretch at hand, with the ticks of its turns, and of all that went on undisturbed.
    stretch: Sums,
    latencies: Vec<u64>,
    sums: Sums,
    /// Packets and ticks of the others.
    apart: (u64, u64),
    /// Nanoseconds of turns.
    latency: Option<Histogram<u64>>,
}

#[derive(Clone, Copy, Default)]
struct Sums {
    /// Within the pipeline, and in whole turns that found a frame.
    pipeline: u64,
    turns: u64,
    packets: u64,
    bursts: u64,
    /// Of bursts in which no conn opened: ticks within the pipeline, and packets.
    hits: (u64, u64),
    /// Of the others, and conns opened in them.
    mixed: (u64, u64, u64),
}

/// The figures, times in nanoseconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cost {
    /// Packets that the figures are of.
    pub(super) packets: u64,
    /// Whether they are enough of them to mean something.
    pub(super) enough: bool,
    /// Packets left out, for they had to wait for memory that nobody had used yet, or for another
    /// program on their core; and their time.
    pub(super) apart_packets: u64,
    pub(super) apart_ns: f64,
    pub(super) bursts: u64,
    pub(super) packets_per_burst: f64,
    /// Of the pipeline alone, and of whole turns: queues, pipeline, counters, sending.
    pub(super) pipeline_ns: f64,
    pub(super) pipeline_cycles: f64,
    pub(super) loop_ns: f64,
    pub(super) loop_cycles: f64,
    /// Packets a second of whole turns, in millions.
    pub(super) mpps: f64,
    /// Of a packet of a known conn, in the pipeline; none where there was no burst of these alone.
    pub(super) hit_ns: Option<f64>,
    /// Of one that opens a conn, there.
    pub(super) miss_ns: Option<f64>,
    /// Conns that one core could open a second, from that.
    pub(super) opens_per_second: Option<f64>,
    /// Percent of turns, and the time within which they were done.
    pub(super) latency: Vec<(f64, u64)>,
    /// The same of an idle spin.
    pub(super) idle: Vec<(f64, u64)>,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            began: (0, 0, 0),
            interruptions: 0,
            stretch: Sums::default(),
            latencies: Vec::with_capacity(1024),
            sums: Sums::default(),
            apart: (0, 0),
            latency: histogram(),
        }
    }

    /// A stretch of turns begins.
    pub(super) fn begin_stretch(&mut self) {
        self.interruptions = hw::interruptions();
    }

    /// Measures a turn; says what it says.
    pub(super) fn turn(&mut self, turn: impl FnOnce(&mut Self) -> bool) -> bool {
        let began = hw::tsc();
        let found = turn(self);
        let ticks = hw::tsc().saturating_sub(began);
        if found {
            self.stretch.turns += ticks;
            self.latencies.push(ticks);
        }
        found
    }

    /// The stretch is over. Where it touched new memory, or another program had the core meanwhile,
    /// its time says what that took and nothing of what packets take.
    pub(super) fn end_stretch(&mut self) {
        let stretch = std::mem::take(&mut self.stretch);
        if hw::interruptions() == self.interruptions {
            self.sums.add(&stretch);
            for ticks in &self.latencies {
                if let Some(latency) = &mut self.latency {
                    latency.saturating_record(nanos(*ticks, 1) as u64);
                }
            }
        } else {
            self.apart.0 += stretch.packets;
            self.apart.1 += stretch.turns;
        }
        self.latencies.clear();
    }

    pub(super) fn cost(&self) -> Cost {
        let s = &self.sums;
        let hit = (s.hits.1 > 0).then(|| nanos(s.hits.0, s.hits.1));
        let (ticks, packets, opened) = s.mixed;
        // What the other packets of those bursts cost is taken off.
        let others = hit.unwrap_or(0.0) * packets.saturating_sub(opened) as f64;
        let known = opened > 0 && (hit.is_some() || packets <= opened);
        let miss = known.then(|| (nanos(ticks, 1) - others) / opened as f64);
        let miss = miss.filter(|ns| *ns > 0.0);
        let loop_ns = nanos(s.turns, s.packets);
        let per_packet = |ticks: u64| ticks as f64 / s.packets.max(1) as f64;
        let enough = s.packets >= ENOUGH;
        let idle = self.latency.as_ref().filter(|_| enough).and_then(spin);
        Cost {
            packets: s.packets,
            enough,
            apart_packets: self.apart.0,
            apart_ns: nanos(self.apart.1, 1),
            bursts: s.bursts,
            packets_per_burst: s.packets as f64 / s.bursts.max(1) as f64,
            pipeline_ns: nanos(s.pipeline, s.packets),
            pipeline_cycles: per_packet(s.pipeline),
            loop_ns,
            loop_cycles: per_packet(s.turns),
            mpps: if loop_ns > 0.0 { 1000.0 / loop_ns } else { 0.0 },
            hit_ns: hit,
            miss_ns: miss,
            opens_per_second: miss.map(|ns| 1e9 / ns),
            latency: self.latency.as_ref().map_or(Vec::new(), percentiles),
            idle: idle.as_ref().map_or(Vec::new(), percentiles),
        }
    }
}

impl Sums {
    fn add(&mut self, o: &Self) {
        self.pipeline += o.pipeline;
        self.turns += o.turns;
        self.packets += o.packets;
        self.bursts += o.bursts;
        self.hits = (self.hits.0 + o.hits.0, self.hits.1 + o.hits.1);
        let (t, p, c) = self.mixed;
        self.mixed = (t + o.mixed.0, p + o.mixed.1, c + o.mixed.2);
    }

    /// A burst took so many ticks and opened so many conns.
    #[inline(always)]
    fn burst(&mut self, ticks: u64, packets: u64, opened: u64) {
        self.pipeline += ticks;
        self.packets += packets;
        self.bursts += u64::from(packets > 0);
        if opened == 0 {
            self.hits = (self.hits.0 + ticks, self.hits.1 + packets);
        } else {
            let (t, p, o) = self.mixed;
            self.mixed = (t + ticks, p + packets, o + opened);
        }
    }
}

impl Probe for Meter {
    #[inline(always)]
    fn begin(&mut self, frames: usize, stats: &WorkerStats) {
        self.began = (hw::tsc(), stats.opened.get(), frames as u64);
    }

    #[inline(always)]
    fn end(&mut self, stats: &WorkerStats) {
        let ticks = hw::tsc().saturating_sub(self.began.0);
        let (_, opened, packets) = self.began;
        self.stretch.burst(ticks, packets, stats.opened.get() - opened);
    }
}

/// Of nanoseconds. Its bounds are right, so it is there.
fn histogram() -> Option<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST, 3).ok()
}

/// What is told of turns: nothing of none, and of a hundred of them one in a thousand is not told.
fn percentiles(h: &Histogram<u64>) -> Vec<(f64, u64)> {
    let value = |percent: f64| match percent {
        0.0 => h.min(),
        _ => h.value_at_percentile(percent),
    };
    let told = |p: &f64| *p == 100.0 || (100.0 - p) * h.len() as f64 >= 100.0;
    let wanted = PERCENTILES.into_iter().filter(|p| !h.is_empty() && told(p));
    wanted.map(|p| (p, value(p))).collect()
}

/// A loop that only reads the clock, in as many turns as these, each as long as the median one, as far as a second goes:
/// what the machine takes from any program. As with packets, stretches in which another program had the core are left
/// out.
fn spin(turns: &Histogram<u64>) -> Option<Histogram<u64>> {
    let mut idle = histogram()?;
    let median = turns.value_at_percentile(50.0).max(1);
    let ticks = (median as f64 * hw::tsc_hz() as f64 / 1e9) as u64;
    let mut left = turns.len().min(LONGEST_SPIN / median);
    while left > 0 {
        let steps = left.min(SPIN_STRETCH);
        let before = hw::interruptions();
        let took: Vec<_> = hw::idle_steps(ticks, steps).collect();
        if hw::interruptions() == before {
            took.iter().for_each(|t| idle.saturating_record(nanos(*t, 1) as u64));
        }
        left -= steps;
    }
    Some(idle)
}

fn nanos(ticks: u64, of: u64) -> f64 {
    ticks as f64 * 1e9 / hw::tsc_hz() as f64 / of.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A meter that saw these bursts: ticks, packets, conns opened.
    fn meter(bursts: &[(u64, u64, u64)]) -> Meter {
        let mut meter = Meter::new();
        bursts.iter().for_each(|(ticks, packets, opened)| {
            meter.sums.burst(*ticks, *packets, *opened);
        });
        meter
    }

    #[test]
    fn hits_and_misses_are_told_apart() {
        // Two opens among 30 hits of 1,000 ticks each.
        let cost = meter(&[(32_000, 32, 0), (30_000 + 10_000, 32, 2)]).cost();
        let (hit, miss) = (cost.hit_ns.unwrap(), cost.miss_ns.unwrap());
        assert!((miss / hit - 5.0).abs() < 1e-6, "{hit} {miss}");
    }

    #[test]
    fn work_handed_over_is_work_of_the_pipeline_and_no_burst_of_its_own() {
        let cost = meter(&[(1000, 32, 0), (3000, 0, 0)]).cost();
        assert_eq!((cost.packets, cost.bursts, cost.packets_per_burst), (32, 1, 32.0));
        assert!((cost.pipeline_cycles - 125.0).abs() < 1e-9, "{}", cost.pipeline_cycles);
    }

    #[test]
    fn nothing_measured_is_nothing_told() {
        let cost = Meter::new().cost();
        assert_eq!((cost.hit_ns, cost.miss_ns, cost.latency.len()), (None, None, 0));
        assert!(!cost.enough);
    }

    #[test]
    fn few_turns_have_few_percentiles() {
        let mut meter = Meter::new();
        let mut told = |turns: usize| {
            meter.begin_stretch();
            meter.interruptions = hw::interruptions();
            (0..turns).for_each(|_| {
                meter.turn(|_| true);
            });
            meter.interruptions = hw::interruptions();
            meter.end_stretch();
            meter.cost().latency.iter().map(|l| l.0).collect::<Vec<_>>()
        };
        assert_eq!(told(11), [0.0, 50.0, 90.0, 100.0]);
        assert_eq!(told(10_000), [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0]);
    }

    #[test]
    fn turns_stand_beside_an_idle_spin_of_the_same_run() {
        let mut meter = meter(&[(1_000_000, ENOUGH, 0)]);
        (0..2000).for_each(|n| {
            meter.latency.iter_mut().for_each(|h| h.saturating_record(3000 + n % 3));
        });
        let cost = meter.cost();
        let idle = |percent| cost.idle.iter().find(|i| i.0 == percent).map_or(0, |i| i.1);
        // None is shorter, but for what the histogram's digits and a tick are; longer ones are the machine's.
        assert!(idle(50.0) >= 2990, "{:?}", cost.idle);
        assert!(idle(100.0) >= idle(50.0), "{:?}", cost.idle);
        assert!(Meter::new().cost().idle.is_empty());
    }

    #[test]
    fn the_first_touch_of_memory_is_told_apart() {
        let mut meter = Meter::new();
        let mut table = hw::HugeSlice::<u64>::new(4 << 20).unwrap();
        let mut packet = |meter: &mut Meter, place: usize| {
            meter.begin_stretch();
            meter.turn(|meter| {
                table[place] = 1;
                meter.stretch.burst(1000, 32, 0);
                true
            });
            meter.end_stretch();
        };
        packet(&mut meter, 0);
        assert_eq!((meter.sums.packets, meter.cost().apart_packets), (0, 32));
        // The test's own stack and heap may be new in the second turn, and are not in all of them.
        (0..100).for_each(|_| packet(&mut meter, 0));
        let cost = meter.cost();
        assert_eq!(cost.packets + cost.apart_packets, 101 * 32);
        assert!(cost.packets > 90 * 32, "{}", cost.packets);
    }
}
