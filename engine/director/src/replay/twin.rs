//! What packets cost: a second director gets the frames that the first one got, in the same stretches,
//! and nobody looks at them between its bursts. Beside the first one conversations are found, made and
//! compared, whose tables take the caches from the director's: its packets cost twice as much.

use super::meter::Cost;
use super::stage::Stage;
use pointsman_config::Config;
use pointsman_dataplane::frame::Frame;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::tick::Tick;
use std::time::Duration;
use std::time::Instant;

/// Bytes of frames after which they go through, so that a long capture needs no more memory.
const AT_ONCE: usize = 64 << 20;

/// The second director, and what the first one got since it was here.
pub(super) struct Twin {
    stage: Stage,
    steps: Vec<Step>,
    bytes: Vec<u8>,
    at_once: usize,
    /// How long it took so far.
    pub(super) took: Duration,
}

enum Step {
    Stretch(Tick),
    /// Port, queue, and the next so many bytes.
    Frame(PortId, u8, u16),
}

impl Twin {
    /// Beside `first`, a director of `config`.
    ///
    /// # Errors
    /// In words: there is no memory for its conns.
    pub(super) fn new(first: &Stage, config: &Config) -> Result<Self, String> {
        let stage = first.another(config)?;
        Ok(Self {
            stage,
            steps: Vec::new(),
            bytes: Vec::new(),
            at_once: AT_ONCE,
            took: Duration::ZERO,
        })
    }

    /// What is noted from now on waits until all before it is through; it comes at `at`.
    pub(super) fn begin_stretch(&mut self, at: Tick) {
        self.steps.push(Step::Stretch(at));
    }

    /// A frame of the stretch.
    pub(super) fn note(&mut self, port: PortId, queue: usize, frame: &[u8]) {
        // Neither is more: 16 workers, and frames are at most `LONGEST`.
        self.steps.push(Step::Frame(port, queue as u8, frame.len() as u16));
        self.bytes.extend_from_slice(frame);
    }

    /// Whether what was noted must go through now; no stretch is cut in two.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= self.at_once
    }

    /// All that was noted goes through.
    pub(super) fn run(&mut self) {
        let began = Instant::now();
        let (steps, bytes) = (std::mem::take(&mut self.steps), std::mem::take(&mut self.bytes));
        let mut rest = bytes.as_slice();
        for step in &steps {
            match *step {
                Step::Stretch(at) => {
                    self.go();
                    self.stage.begin_stretch(at);
                }
                Step::Frame(port, queue, len) => {
                    let (content, others) = rest.split_at(usize::from(len));
                    rest = others;
                    // There was one for the first director.
                    let Some(mut frame) = self.stage.frame(content.len()) else { continue };
                    frame.data_mut().copy_from_slice(content);
                    let _ = self.stage.inject(port, usize::from(queue), frame);
                }
            }
        }
        self.go();
        (self.steps, self.bytes) = (steps, bytes);
        self.steps.clear();
        self.bytes.clear();
        self.took += began.elapsed();
    }

    /// What packets cost here.
    pub(super) fn cost(&self) -> Cost {
        self.stage.meter.cost()
    }

    fn go(&mut self) {
        while !self.stage.run() {
            self.stage.left.clear();
        }
        self.stage.left.clear();
        self.stage.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::Forward;
    use super::super::made;
    use super::super::map::Map;
    use super::super::run::Run;
    use super::super::sink::Sink;
    use super::*;
    use pointsman_dataplane::stats::WorkerStats;
    use pointsman_dataplane::tuple::Addr;
    use pointsman_dataplane::tuple::Proto;
    use pointsman_dataplane::verdict::DropReason;
    use pointsman_traffic::Family;
    use pointsman_traffic::Sizes;
    use pointsman_traffic::Traffic;
    use pointsman_traffic::Workload;

    const FRAMES: u64 = 3000;

    /// What a director did.
    fn did(stage: &Stage) -> Vec<[u64; 6]> {
        let sums = |s: &WorkerStats| {
            let dropped = DropReason::ALL.iter().map(|r| s.dropped[*r as usize].get()).sum();
            let taken = s.taken_over.get();
            [s.received.get(), s.sent.get(), s.opened.get(), s.conns.get(), taken, dropped]
        };
        stage.stats().iter().map(sums).collect()
    }

    fn replay(forward: Forward, workers: usize) -> Run {
        let wanted = made::Wanted { vips: &[], forward, scheduler: "wlc", dests: 3, conns: 1024 };
        let config = made::config(&wanted).unwrap_or_else(|e| panic!("{e}"));
        let stage = Stage::new(&config, workers, false).unwrap_or_else(|e| panic!("{e}"));
        let mut twin = Twin::new(&stage, &config).unwrap_or_else(|e| panic!("{e}"));
        // Several times on the way.
        twin.at_once = 50_000;
        let targets = Map::targets(stage.snapshot(), |_, _, _| true);
        let map = Map::new(targets, stage.snapshot().clone(), true);
        let mut run = Run::new(stage, Some(map), Sink::new(2), 2);
        run.twin = Some(twin);
        let mut traffic = Traffic::new(Workload {
            conns: 200,
            clients: 10,
            zipf: 1.0,
            new_share: 0.05,
            sizes: Sizes::Imix,
            family: Family::Both,
            proto: Proto::Tcp,
            vip: (Addr::v4(0xc000_0201), Addr::v6(1 << 120), 80),
            seed: 7,
        });
        let mut frame = Vec::new();
        for n in 1..=FRAMES {
            traffic.next(&mut frame);
            // Now and then a pause in which conns expire.
            run.at(n, n * 10_000 + n / 1000 * 100_000_000_000).unwrap();
            run.frame(&frame).unwrap();
        }
        run.settle().unwrap();
        run
    }

    #[test]
    fn the_second_director_does_what_the_first_one_does() {
        for forward in [Forward::Fullnat, Forward::Nat, Forward::Dr, Forward::Tunnel] {
            for workers in [1, 3] {
                let mut run = replay(forward, workers);
                let fed: u64 = run.fed.iter().sum();
                let cost = run.cost();
                assert_eq!(cost.packets + cost.apart_packets, fed, "{forward:?}");
                let twin = run.twin.as_ref().unwrap();
                assert_eq!(did(&twin.stage), did(&run.stage), "{forward:?} {workers}");
                assert!(did(&run.stage).iter().map(|did| did[2]).sum::<u64>() > 200);
                assert!(twin.bytes.is_empty() && twin.bytes.capacity() < 200_000);
                assert!(!twin.took.is_zero());
            }
        }
    }
}
