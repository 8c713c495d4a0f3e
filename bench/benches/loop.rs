//! The whole loop: DPDK ports, a worker, the pipeline; packets per second of one core.
//!
//! `cargo bench -p pointsman-bench --features dpdk --bench loop -- --captures DIR [OPTIONS]`, OPTIONS being `--method dr`,
//! `--conns 100000`, `--size 64` (or imix), `--seconds 2`, `--core 1` and `--write`, which only writes the captures. `scripts/compare` runs it
//! beside testpmd.
//!
//! Frames come from `net_pcap` with infinite_rx, which copies them from memory again and again, and what is sent is
//! dropped. There is one frame of each conn, in random order: half of them come by the client's port and half by the
//! dests' where replies pass the director, else all by the client's. All conns are established before the clock runs.
//! Prints one line of JSON.

use pointsman::io::dpdk;
use pointsman::worker::Worker;
use pointsman::worker::links::Links;
use pointsman_bench::workload::Method;
use pointsman_bench::workload::Packet;
use pointsman_bench::workload::Random;
use pointsman_bench::workload::Workload;
use pointsman_dataplane::conn::Timeouts;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::tick::Tick;
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
/// Before the clock runs.
const WARM: Duration = Duration::from_millis(500);
/// Turns between two looks at the clock that ends the run.
const TURNS: usize = 1024;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    method: Method,
    conns: usize,
    size: Sizes,
    seconds: f64,
    core: usize,
    captures: PathBuf,
    write: bool,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        method: Method::ALL[0],
        conns: 100_000,
        size: Sizes::Fixed(64),
        seconds: 2.0,
        core: 1,
        captures: PathBuf::new(),
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
            "--conns" => options.conns = value()?.parse()?,
            "--size" => options.size = value()?.parse()?,
            "--seconds" => options.seconds = value()?.parse()?,
            "--core" => options.core = value()?.parse()?,
            "--captures" => options.captures = value()?.into(),
            "--write" => options.write = true,
            // What cargo adds by itself.
            "--bench" => {}
            _ => {
                let known =
                    "--captures DIR --method M --conns N --size S --seconds N --core N --write";
                return Err(format!("unknown option {arg}; known are {known}").into());
            }
        }
    }
    if options.captures.as_os_str().is_empty() {
        return Err("--captures DIR says where the frames are, or are to be written".into());
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
    if !wan.exists() {
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
    let pool = &mut opened.pool;
    let Workload { pipeline, .. } =
        Workload::over(pool, options.method, options.conns, options.conns, Timeouts::default())?;
    let links = Links::new(1);
    let queues = opened.queues.remove(0);
    let mut worker = Worker::new(0, queues, pipeline, opened.pool.clone(), links);
    turns(&mut worker, WARM);
    let before = counted(&worker);
    let began = Instant::now();
    turns(&mut worker, Duration::from_secs_f64(options.seconds));
    let took = began.elapsed().as_secs_f64();
    let after = counted(&worker);
    let [received, sent] = [after[0] - before[0], after[1] - before[1]];
    if received != sent {
        return Err(format!("{received} frames came and {sent} left").into());
    }
    println!(
        "{{\"method\": \"{}\", \"conns\": {}, \"frames\": {sent}, \"seconds\": {took:.3}, \"mpps\": {:.3}}}",
        options.method.name(),
        options.conns,
        sent as f64 / took / 1e6,
    );
    Ok(())
}

/// Received and sent.
fn counted(worker: &Worker<dpdk::Dpdk>) -> [u64; 2] {
    let stats = worker.pipeline().stats();
    [stats.received.get(), stats.sent.get()]
}

fn turns(worker: &mut Worker<dpdk::Dpdk>, time: Duration) {
    // conns were opened in the first second
    let began = Instant::now();
    static CLOCK: std::sync::OnceLock<hw::TscClock> = std::sync::OnceLock::new();
    let clock = CLOCK.get_or_init(hw::TscClock::new);
    while began.elapsed() < time {
        for _ in 0..TURNS {
            worker.turn(Tick::from_secs(2) + Duration::from_nanos(clock.now_ns()));
        }
    }
}

/// Captures of one frame of each conn.
fn write(options: &Options, wan: &Path, lan: &Path) -> io::Result<()> {
    let workload = Workload::new(options.method, options.conns)?;
    let replies = workload.packets.iter().any(|p| p.port != PortId(0));
    let mut frames: Vec<&Packet> = match replies {
        // A conn's packets are neighbours: of every other conn the client's, of the rest the dest's.
        true => workload.packets.chunks(2).zip(0..).map(|(both, n)| &both[n % 2]).collect(),
        false => workload.packets.iter().collect(),
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
            writer.frame(n as u64, &workload.with_data(packet, len))?;
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
    let mbufs = (options.conns + 16_384).next_power_of_two() - 1;
    let memory = mbufs * 2624 / (1 << 20) + 64;
    let from = |path: &Path| format!("rx_pcap={},infinite_rx=1", path.display());
    let lan = lan.map_or("net_null1,no-rx=1".into(), |lan| format!("net_pcap1,{}", from(lan)));
    let text = format!(
        "[director]\nmbufs = {mbufs}\nmemory = {memory}\n\
         [[port]]\nname = 'wan'\ndevice = 'net_pcap0,{}'\naddresses = ['10.1.0.254/24']\n\
         [[port]]\nname = 'lan'\ndevice = '{lan}'\naddresses = ['10.2.0.254/24']\n",
        from(wan),
    );
    let parsed = pointsman_config::parse("loop", &text);
    parsed.map(|(config, _)| config).map_err(|e| e.to_string().into())
}
