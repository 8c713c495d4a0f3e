//! A director from its parts: starts the workers, is the control thread, stops all in order.

use crate::control::Control;
use crate::control::Parts;
use crate::control::Signals;
use crate::control::socket::Asked;
use crate::io::Driver;
use crate::worker::Queues;
use crate::worker::Worker;
use crate::worker::idle::Idle;
use crate::worker::links::Links;
use crossbeam::channel::Receiver;
use crossbeam::channel::Sender;
use hw::TscClock;
use pointsman_config::Config;
use pointsman_dataplane::isn::Numbers;
use pointsman_dataplane::neigh::Neighbours;
use pointsman_dataplane::pipeline::Pipeline;
use pointsman_dataplane::pipeline::Setup;
use pointsman_dataplane::pipeline::Shared;
use pointsman_dataplane::snapshot::Snapshot;
use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;
use tracing::info;
use tracing::warn;

/// Dests there is room for at least: reloads add some.
const DESTS: usize = 4096;

/// What a director is made from.
pub struct Director<D: Driver> {
    /// The driver.
    pub driver: D,
    /// The configuration, validated.
    pub config: Config,
    /// Where it came from, for reloads.
    pub file: PathBuf,
    /// The ports, in the configuration's order.
    pub nics: Vec<D::Nic>,
    /// Queue pairs: by worker, then by port.
    pub queues: Vec<Vec<Queues<D>>>,
    /// The pool of all.
    pub pool: D::Pool,
    /// The workers' cores; none: not pinned.
    pub cores: Vec<Option<usize>>,
    /// Questions from the socket.
    pub requests: Option<Receiver<Asked>>,
    /// Set by signals.
    pub signals: Signals,
    /// Takes the driver's log lines.
    pub driver_log: fn() -> Vec<String>,
}

/// Serves until a signal says stop, then stops: workers, control thread, ports, pool, driver.
///
/// # Errors
/// In words: why it cannot start. Nothing runs then.
pub fn serve<D: Driver + Clone + Send>(director: Director<D>) -> Result<(), String> {
    let Director { driver, config, file, nics, queues, pool, cores, requests, signals, driver_log } =
        director;
    let workers = queues.len();
    let clock = TscClock::new();
    if !hw::tsc_is_steady() {
        warn!("this processor's time stamp counter changes its rate: timeouts are not exact");
    }
    let port_order = Some(secret()?[0]);
    let secret = secret()?;
    let shared = shared(&config, workers, secret[0]);
    let links = Links::new(workers);
    let conns = (config.director.conns as usize).div_ceil(workers.max(1));
    let idle = match config.director.idle {
        pointsman_config::Idle::Poll => Idle::Poll,
        pointsman_config::Idle::Adaptive => Idle::Adaptive,
    };
    let control_core = config.director.control_core;
    let numbers = numbers(&config.director.secret, &clock)?;
    let populate = has_room_for(conns as u64 * workers as u64);
    if !populate {
        warn!(
            "memory for {} conns is more than half of what is free: it is taken as conns come, and packets \
             wait for it (director.conns)",
            config.director.conns
        );
    }
    let mut control = Control::<D>::new(Parts {
        config,
        file,
        nics,
        pool: pool.clone(),
        links: Arc::clone(&links),
        shared: Arc::clone(&shared),
        cores: cores.clone(),
        conns_per_worker: conns,
        clock,
        seed: secret[1],
        requests,
        signals,
        driver_log,
    })?;
    let crew = Crew { driver, links: Arc::clone(&links), shared, pool, clock, idle, populate };
    let seats = queues.into_iter().zip(cores).enumerate().map(|(worker, (queues, core))| Seat {
        queues,
        core,
        setup: Setup { worker, workers, conns, secret, port_order, numbers },
        snapshot: control.snapshot(),
    });
    let threads = crew.start(seats)?;
    if let Some(core) = control_core.filter(|core| !pin(*core)) {
        warn!("core {core}: the control thread cannot be pinned to it");
    }
    info!("ready: {} workers, {} ports", workers, control.snapshot().ports.len());
    control.run();
    info!("stopping");
    // In order: nobody uses a queue when its port closes, no frame is out when its pool goes.
    crew.stop(threads);
    log_balance(&links);
    let nics = control.into_nics();
    drop((crew, links));
    drop(nics);
    info!("stopped");
    Ok(())
}

/// What a single worker thread is started with.
struct Seat<D: Driver> {
    queues: Vec<Queues<D>>,
    core: Option<usize>,
    setup: Setup,
    snapshot: Arc<Snapshot>,
}

/// What all of them are started with.
struct Crew<D: Driver> {
    driver: D,
    links: Arc<Links<D::Frame>>,
    shared: Arc<Shared>,
    pool: D::Pool,
    clock: TscClock,
    idle: Idle,
    /// Whether they take the memory of their tables before they begin.
    populate: bool,
}

impl<D: Driver + Clone + Send> Crew<D> {
    /// Starts a thread for each seat and waits until all of them poll.
    fn start(&self, seats: impl Iterator<Item = Seat<D>>) -> Result<Vec<JoinHandle<()>>, String> {
        let (ready, readiness) = crossbeam::channel::unbounded();
        let mut threads = Vec::new();
        for seat in seats {
            match self.spawn(seat, ready.clone()) {
                Ok(thread) => threads.push(thread),
                Err(e) => {
                    self.stop(threads);
                    return Err(format!("no thread for a worker: {e}"));
                }
            }
        }
        drop(ready);
        let failed = readiness.iter().take(threads.len()).find_map(Result::err);
        match failed {
            None => Ok(threads),
            Some(e) => {
                self.stop(threads);
                Err(e)
            }
        }
    }

    fn spawn(
        &self,
        seat: Seat<D>,
        ready: Sender<Result<(), String>>,
    ) -> std::io::Result<JoinHandle<()>> {
        let (driver, links, shared) =
            (self.driver.clone(), Arc::clone(&self.links), Arc::clone(&self.shared));
        let (pool, clock, idle, populate) =
            (self.pool.clone(), self.clock, self.idle, self.populate);
        let thread = std::thread::Builder::new().name(format!("worker-{}", seat.setup.worker));
        thread.spawn(move || {
            let index = seat.setup.worker;
            if let Some(core) = seat.core.filter(|core| !pin(*core)) {
                let why = format!("worker {index} cannot be pinned to core {core}: is it offline?");
                let _ = ready.send(Err(why));
                return;
            }
            // Made on its own core: the conn table's memory comes from near it.
            let guard = driver.enter_thread();
            let pipeline = Pipeline::new(seat.setup, shared, seat.snapshot);
            let (_guard, mut pipeline) = match (guard, pipeline) {
                (Ok(guard), Ok(pipeline)) => (guard, pipeline),
                (Err(e), _) => {
                    let _ = ready.send(Err(format!("worker {index}: {e}")));
                    return;
                }
                (_, Err(e)) => {
                    let _ = ready.send(Err(format!(
                        "worker {index}: no memory for its conn table (director.conns): {e}"
                    )));
                    return;
                }
            };
            if populate {
                pipeline.populate();
            }
            let mut worker = Worker::new(index, seat.queues, pipeline, pool, links);
            let _ = ready.send(Ok(()));
            drop(ready);
            worker.run(clock, idle);
        })
    }

    fn stop(&self, threads: Vec<JoinHandle<()>>) {
        for mailbox in &self.links.mailboxes {
            mailbox.stop();
        }
        for thread in threads {
            // A worker that panicked has taken the process with it (panic = "abort").
            let _ = thread.join();
        }
    }
}

/// What workers and the control thread share, for so many workers.
pub fn shared(config: &Config, workers: usize, secret: u64) -> Arc<Shared> {
    let neighbours = Neighbours::new(config.director.neighbours as usize, secret);
    shared_over(config, workers, Arc::new(neighbours))
}

/// The same with next hops that are there.
pub(crate) fn shared_over(
    config: &Config,
    workers: usize,
    neighbours: Arc<Neighbours>,
) -> Arc<Shared> {
    let of_services: usize = config.services.iter().map(|s| s.dests.len()).sum();
    // A rule without dests has one that stands for all routes.
    let of_rules: usize = config.snats.iter().map(|s| s.dests.len().max(1)).sum();
    let dests = of_services + of_rules;
    let dests = (dests * 2).next_power_of_two().max(DESTS);
    let templates = (config.director.templates as usize).div_ceil(workers.max(1));
    let shared = Shared::new(workers, dests, neighbours).with_templates(templates);
    Arc::new(shared.expect("address space, at start"))
}

fn pin(core: usize) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: core })
}

/// Whether the tables of so many conns may be taken at once: they are at most half of the memory that
/// this process may still take.
pub(crate) fn has_room_for(conns: u64) -> bool {
    /// Line, index, what full-NAT keeps, an idle port.
    const BYTES_A_CONN: u64 = 160;
    crate::memory::free().is_some_and(|free| conns * BYTES_A_CONN <= free / 2)
}

/// Keys of hashes whose input strangers choose.
fn secret() -> Result<[u64; 4], String> {
    let mut bytes = [0; 32];
    let read = File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes));
    read.map_err(|e| format!("/dev/urandom: {e}"))?;
    Ok(words(bytes))
}

fn words(bytes: [u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    words
}

/// What full-NAT's initial sequence numbers are made from: a key that survives restarts, in a file
/// that is made where it is missing, and the wall clock.
fn numbers(file: &Path, clock: &TscClock) -> Result<Numbers, String> {
    let [a, b, ..] = match lasting_secret(file) {
        Ok(words) => words,
        Err(e) => {
            let path = file.display();
            warn!("{path}: {e}: servers may refuse reused ports for a minute after a restart");
            secret()?
        }
    };
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall = (since_1970.as_nanos() as u64).wrapping_sub(clock.now_ns());
    Ok(Numbers::new([a, b], wall))
}

fn lasting_secret(file: &Path) -> Result<[u64; 4], String> {
    let text = |e: std::io::Error| e.to_string();
    match std::fs::read(file) {
        Ok(bytes) => match <[u8; 32]>::try_from(bytes) {
            Ok(bytes) => Ok(words(bytes)),
            Err(_) => Err("not 32 bytes long; remove it, and a new one is made".into()),
        },
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let words = secret()?;
            if let Some(dir) = file.parent() {
                DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(text)?;
            }
            let mut new = OpenOptions::new();
            let new = new.write(true).create_new(true).mode(0o600).open(file);
            let bytes = words.map(u64::to_be_bytes).concat();
            new.and_then(|mut f| f.write_all(&bytes)).map_err(text)?;
            Ok(words)
        }
        Err(e) => Err(text(e)),
    }
}

fn log_balance<F>(links: &Links<F>) {
    let workers: Vec<_> = links.published.iter().map(|p| p.read()).collect();
    let law = crate::control::law(&workers);
    let dropped: u64 = law.dropped.values().sum();
    let holds = if law.holds { "the conservation law holds" } else { "THE BOOKS DO NOT BALANCE" };
    info!("received {}, sent {}, dropped {dropped}; {holds}", law.received, law.sent);
}
