//! The whole loop: DPDK ports, a worker, the pipeline; packets per second of one core.
//!
//! `cargo bench -p pointsman-bench --features dpdk --bench loop -- --captures DIR [OPTIONS]`, OPTIONS being `--method dr`,
//! `--kind established` (or new), `--conns 100000`, `--size 64` (or imix), `--seconds 2`, `--core 1`, `--memif DIR` and
//! `--write`, which only writes the captures. `scripts/compare` runs it beside testpmd.
//!
//! Frames come from `net_pcap` with infinite_rx, which copies them from memory again and again, and what is sent is
//! dropped. There is one frame of each conn, in random order. Where conns are established they are so before the clock
//! runs: half of the frames come by the client's port and half by the dests' where replies pass the director, else all
//! by the client's. Where they are new each frame is a SYN, and a conn has run out when its SYN comes again, so that
//! each frame ends one conn and opens another.
//! With `--memif` frames come from another process, which serves `net_memif` on DIR/wan.sock and DIR/lan.sock and gets
//! them back; what it is too slow to take is lost.
//!
//! Prints one line of JSON. `turns` are those of the worker that found frames, its housekeeping with them: how many, and
//! the median, 99.9th percentile and longest in microseconds; `idle` the same of a loop that only reads the clock, run
//! afterwards for as many turns of the median's length: the gaps that the machine tears into any program.
//! `parts` is of two short runs: a packet's nanoseconds in all and in the pipeline; then in all where each frame only
//! waits for as long as the pipeline took. Where the third is about the first, what is above the second is the ports' and
//! the memory's that frames come from: the later they are asked for again, the fewer of them are still in a cache. With
//! a memif it is null.

use pointsman::io::Rx as _;
use pointsman::io::Tx as _;
use pointsman::io::dpdk;
use pointsman::worker::Probe;
use pointsman::worker::Worker;
use pointsman::worker::links::Links;
use pointsman_bench::turns::Turns;
use pointsman_bench::workload::Method;
use pointsman_bench::workload::Packet;
use pointsman_bench::workload::Random;
use pointsman_bench::workload::Workload;
use pointsman_dataplane::conn::State;
use pointsman_dataplane::conn::Timeouts;
use pointsman_dataplane::frame::Burst;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::pipeline::TxBurst;
use pointsman_dataplane::stats::WorkerStats;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::verdict::DropReason;
use pointsman_dataplane::wire::tcp;
use pointsman_traffic::Sizes;
use std::error::Error;
use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;

/// Files of the two ports.
const FILES: [&str; 2] = ["wan.pcap", "lan.pcap"];
/// How long the first frame may take to come: a memif's other side has to be found.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before the clock runs.
const WARM: Duration = Duration::from_millis(500);
/// Of each run that says where the time goes.
const PART: Duration = Duration::from_millis(300);
/// Turns between two looks at the clock that ends the run.
const TURNS: usize = 1024;
/// No core gets through new conns faster: in the time that so many take, one of them ends.
const NEW_PER_MS: usize = 20_000;
/// Nor does the other side of a memif give frames faster, most of which it then loses.
const GIVEN_PER_MS: usize = 60_000;

fn main() -> ExitCode {
    pointsman_bench::finish(run().map(|()| 0))
}

/// What the frames are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Of conns that are open before the clock runs.
    Established,
    /// SYNs, each of which opens a conn.
    New,
}

struct Options {
    method: Method,
    kind: Kind,
    conns: usize,
    size: Sizes,
    seconds: f64,
    core: usize,
    captures: PathBuf,
    memif: Option<PathBuf>,
    write: bool,
}

impl Options {
    fn new_per_ms(&self) -> usize {
        if self.memif.is_some() { GIVEN_PER_MS } else { NEW_PER_MS }
    }
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        method: Method::ALL[0],
        kind: Kind::Established,
        conns: 100_000,
        size: Sizes::Fixed(64),
        seconds: 2.0,
        core: 1,
        captures: PathBuf::new(),
        memif: None,
        write: false,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} wants a value"));
        match arg.as_str() {
            "--method" => {
                let name = value()?;
                let found = Method::ALL.into_iter().find(|m| m.name() == name);
                options.method = found.ok_or(format!("no method {name}"))?;
            }
            "--kind" => {
                options.kind = match value()?.as_str() {
                    "established" => Kind::Established,
                    "new" => Kind::New,
                    other => return Err(format!("no kind {other}: established or new").into()),
                }
            }
            "--conns" => options.conns = value()?.parse()?,
            "--size" => options.size = value()?.parse()?,
            "--seconds" => options.seconds = value()?.parse()?,
            "--core" => options.core = value()?.parse()?,
            "--captures" => options.captures = value()?.into(),
            "--memif" => options.memif = Some(value()?.into()),
            "--write" => options.write = true,
            // What cargo adds by itself.
            "--bench" => {}
            _ => {
                let known =
                    "--captures DIR --method M --kind K --conns N --size S --seconds N --core N";
                return Err(
                    format!("unknown option {arg}; known are {known} --memif DIR --write").into()
                );
            }
        }
    }
    if options.captures.as_os_str().is_empty() {
        return Err("--captures DIR says where the frames are, or are to be written".into());
    }
    if options.kind == Kind::New && options.conns < options.new_per_ms() {
        return Err(format!(
            "--kind new wants --conns of {} at least: each must have run out when its SYN comes again",
            options.new_per_ms()
        )
        .into());
    }
    Ok(options)
}

fn run() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let path = |file: &str| options.captures.join(file);
    if options.write {
        return Ok(write(&options, &path(FILES[0]), &path(FILES[1]))?);
    }
    let wan = path(FILES[0]);
    if options.memif.is_none() && !wan.exists() {
        return Err(format!("no {}: --write writes it", wan.display()).into());
    }
    let lan = Some(path(FILES[1])).filter(|lan| lan.exists());
    let config = config(&options, &wan, lan.as_deref())?;
    if !core_affinity::set_for_current(core_affinity::CoreId { id: options.core }) {
        return Err(format!("cannot be pinned to core {}", options.core).into());
    }
    let mut opened = dpdk::open(&config, 1, true)?;
    // As a worker's thread: who is unknown to DPDK has no share of the pool at hand.
    let _guard = pointsman::io::Driver::enter_thread(&opened.driver)?;
    let mut timeouts = Timeouts::default();
    let mut standing = options.conns;
    if options.kind == Kind::New {
        for state in [State::None, State::SynSent, State::SynRecv, State::Established] {
            timeouts.set(state, (options.conns / options.new_per_ms()) as u32);
        }
        standing = 0;
    }
    let (pool, method) = (&mut opened.pool, options.method);
    let Workload { pipeline, .. } =
        Workload::over(pool, method, standing, options.conns, timeouts)?;
    let links = Links::new(1);
    let queues = opened.queues.remove(0);
    let mut worker = Worker::new(0, queues, pipeline, opened.pool.clone(), links);
    let began = Instant::now();
    while worker.pipeline().stats().received.get() == 0 && began.elapsed() < PATIENCE {
        turns(&mut worker, Duration::from_millis(1), |_| {});
    }
    turns(&mut worker, WARM, |_| {});
    let (before, mut taken) = (Counted::of(&worker), Turns::new()?);
    let began = Instant::now();
    turns(&mut worker, Duration::from_secs_f64(options.seconds), |ticks| taken.add(ticks));
    let took = began.elapsed().as_secs_f64();
    let counted = Counted::of(&worker).since(before);
    counted.check(&options)?;
    let parts = match options.memif {
        None => format!("{:.1?}", parts(&mut worker)),
        Some(_) => "null".into(),
    };
    println!(
        "{{\"method\": \"{}\", \"conns\": {}, \"frames\": {}, \"lost\": {}, \"seconds\": {took:.3}, \"mpps\": {:.3}, \"turns\": {taken}, \"idle\": {}, \"parts\": {parts}}}",
        options.method.name(),
        options.conns,
        counted.sent,
        counted.refused,
        counted.sent as f64 / took / 1e6,
        taken.of_idle()?,
    );
    Ok(())
}

/// What a worker counted.
#[derive(Clone, Copy)]
struct Counted {
    received: u64,
    sent: u64,
    opened: u64,
    /// By a port that was full.
    refused: u64,
}

impl Counted {
    fn of(worker: &Worker<dpdk::Dpdk>) -> Self {
        let stats = worker.pipeline().stats();
        Self {
            received: stats.received.get(),
            sent: stats.sent.get(),
            opened: stats.opened.get(),
            refused: stats.dropped[DropReason::TxFull as usize].get(),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            received: self.received - before.received,
            sent: self.sent - before.sent,
            opened: self.opened - before.opened,
            refused: self.refused - before.refused,
        }
    }

    /// Nothing is lost but what a memif's other side does not take, and each frame does what it is for.
    fn check(self, options: &Options) -> Result<(), String> {
        let Self { received, sent, opened, refused } = self;
        if received == 0 {
            return Err("no frame came".into());
        }
        let lost = if options.memif.is_some() { refused } else { 0 };
        if received != sent + lost {
            return Err(format!("{received} frames came and {sent} left"));
        }
        let opens = if options.kind == Kind::New { received } else { 0 };
        // a frame that lay in a memif's ring may have its conn's next one right behind it
        let late = if options.memif.is_some() { opens / 100 } else { 0 };
        if !(opens - late..=opens).contains(&opened) {
            return Err(format!("{received} frames came and opened {opened} conns, not {opens}"));
        }
        Ok(())
    }
}

/// What the pipeline takes.
#[derive(Default)]
struct InPipeline {
    began: u64,
    ticks: u64,
}

impl Probe for InPipeline {
    #[inline(always)]
    fn begin(&mut self, _frames: usize, _stats: &WorkerStats) {
        self.began = hw::tsc();
    }

    #[inline(always)]
    fn end(&mut self, _stats: &WorkerStats) {
        self.ticks += hw::tsc() - self.began;
    }
}

/// Nanoseconds a frame: in all, in the pipeline, and in all where the frames wait for so long instead.
fn parts(worker: &mut Worker<dpdk::Dpdk>) -> [f64; 3] {
    let ns =
        |ticks: u64, frames: u64| ticks as f64 * 1e9 / hw::tsc_hz() as f64 / frames.max(1) as f64;
    let (mut probe, mut whole) = (InPipeline::default(), 0);
    let before = Counted::of(worker);
    turns_with(worker, PART, &mut probe, |ticks| whole += ticks);
    let frames = Counted::of(worker).since(before).received;
    let (waited, passed) = pass_on(worker, PART, |n| n * probe.ticks / frames.max(1));
    [ns(whole, frames), ns(probe.ticks, frames), ns(waited, passed)]
}

/// Takes frames from each port for so long, waits for so many of them so many ticks, and sends them by the next one, as
/// they came. Gives the ticks of all bursts, and how many frames they were.
fn pass_on(
    worker: &mut Worker<dpdk::Dpdk>,
    time: Duration,
    wait: impl Fn(u64) -> u64,
) -> (u64, u64) {
    let (began, mut ticks, mut frames) = (Instant::now(), 0, 0);
    let (mut burst, mut sent) = (Burst::new(), TxBurst::new());
    let ports = worker.queues();
    while began.elapsed() < time {
        for n in (0..ports.len()).cycle().take(TURNS) {
            let start = hw::tsc();
            let found = ports[n].rx.recv(&mut burst) as u64;
            if found == 0 {
                continue;
            }
            hw::idle_steps(wait(found), 1).for_each(drop);
            sent.extend(burst.drain(..));
            ports[(n + 1) % ports.len()].tx.send(&mut sent);
            sent.clear();
            ticks += hw::tsc() - start;
            frames += found;
        }
    }
    (ticks, frames)
}

/// Has the worker take turns for so long; says of each that found frames how many ticks it took.
fn turns(worker: &mut Worker<dpdk::Dpdk>, time: Duration, took: impl FnMut(u64)) {
    turns_with(worker, time, &mut (), took);
}

fn turns_with(
    worker: &mut Worker<dpdk::Dpdk>,
    time: Duration,
    probe: &mut impl Probe,
    mut took: impl FnMut(u64),
) {
    // conns were opened in the first second
    let began = Instant::now();
    static CLOCK: std::sync::OnceLock<hw::TscClock> = std::sync::OnceLock::new();
    let clock = CLOCK.get_or_init(hw::TscClock::new);
    while began.elapsed() < time {
        let mut start = hw::tsc();
        for _ in 0..TURNS {
            // the clock is read once a turn, as a worker's thread does
            let now = Tick::from_secs(2) + Duration::from_nanos(clock.ns_at(start));
            let found = worker.turn_with(now, probe);
            let end = hw::tsc();
            if found {
                took(end.saturating_sub(start));
            }
            start = end;
        }
    }
}

/// Captures of one frame of each conn.
fn write(options: &Options, wan: &Path, lan: &Path) -> io::Result<()> {
    let established = options.kind == Kind::Established;
    let flags = if established { tcp::ACK_BIT } else { tcp::SYN };
    let workload = Workload::new(options.method, if established { options.conns } else { 0 })?;
    let kinds = workload.packets();
    let mut frames: Vec<Packet> = match established {
        false => (0..options.conns as u32).map(Packet::of_client).collect(),
        // Where replies pass the director, too, of every other conn the client's, of the rest the dest's.
        true if kinds > options.conns => {
            (0..options.conns).map(|n| workload.packet(2 * n + n % 2)).collect()
        }
        true => (0..kinds).map(|n| workload.packet(n)).collect(),
    };
    let mut random = Random(5);
    for n in (1..frames.len()).rev() {
        frames.swap(n, random.below(n + 1));
    }
    for (port, path) in [wan, lan].into_iter().enumerate() {
        let mut own = frames.iter().filter(|p| p.port == PortId(port as u8)).peekable();
        if own.peek().is_none() {
            match std::fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => continue,
            }
        }
        let file = BufWriter::new(File::create(path)?);
        let mut writer = pointsman::io::pcap::CaptureWriter::new(file)?;
        for (n, packet) in own.enumerate() {
            let len = options.size.draw(&mut random);
            writer.frame(n as u64, &workload.with_data(packet, flags, len))?;
        }
        writer.finish()?;
    }
    Ok(())
}

fn config(
    options: &Options,
    wan: &Path,
    lan: Option<&Path>,
) -> Result<pointsman_config::Config, Box<dyn Error>> {
    // net_pcap keeps a copy of each frame in the pool.
    let kept = if options.memif.is_some() { 0 } else { options.conns };
    let mbufs = (kept + 16_384).next_power_of_two() - 1;
    let memory = mbufs * 2624 / (1 << 20) + 64;
    let from = |path: &Path| format!("rx_pcap={},infinite_rx=1", path.display());
    let [wan, lan] = match &options.memif {
        Some(dir) => [0, 1].map(|n| {
            let socket = dir.join(["wan.sock", "lan.sock"][n]);
            format!("net_memif{n},role=client,socket={},socket-abstract=no", socket.display())
        }),
        None => [
            format!("net_pcap0,{}", from(wan)),
            lan.map_or("net_null1,no-rx=1".into(), |lan| format!("net_pcap1,{}", from(lan))),
        ],
    };
    let text = format!(
        "[director]\nmbufs = {mbufs}\nmemory = {memory}\n\
         [[port]]\nname = 'wan'\ndevice = '{wan}'\naddresses = ['10.1.0.254/24']\n\
         [[port]]\nname = 'lan'\ndevice = '{lan}'\naddresses = ['10.2.0.254/24']\n",
    );
    let parsed = pointsman_config::parse("loop", &text);
    parsed.map(|(config, _)| config).map_err(|e| e.to_string().into())
}
