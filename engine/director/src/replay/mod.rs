//! `pointsman replay`: the frames of captures through a director in memory.
//!
//! `input` reads, `policy` makes frames fit, `feed` or `map` says what each becomes, `run` feeds
//! batches of them to the `stage`, `settle` knows again what leaves and `check`s it, `report` says
//! how it went. The engine knows nothing of it.

mod args;
mod build;
mod check;
mod clients;
mod feed;
mod forge;
mod hops;
mod input;
mod made;
mod map;
mod mapped;
mod meter;
mod outputs;
mod packet;
mod policy;
mod report;
mod run;
mod series;
mod settle;
mod sink;
mod skip;
mod stage;
mod stretch;
mod talk;
mod talks;
mod tally;
mod twin;

pub use args::Args;

use crate::cli::progress::Progress;
use crate::cli::stop::STOPPED;
use crate::cli::stop::Stop;
use crate::io::pcap::NgWriter;
use args::Forward;
use args::Rate;
use input::Input;
use input::Next;
use input::Survey;
use map::Map;
use map::Target;
use pointsman_config::Config;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::tuple::Tuple;
use policy::Policy;
use report::Report;
use run::Run;
use sink::Sink;
use stage::Stage;
use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;
use twin::Twin;

/// Does it; `say` gets the report. Exits 0 when all checks hold, 1 when one does not, 2 when the
/// input is refused, nothing of it could be fed, or what is said cannot be written, 130 when a signal
/// ended it before all was fed.
pub fn replay(args: &Args, say: fn(&str) -> Result<(), String>) -> ExitCode {
    let tried = whole(args).and_then(|(report, page)| {
        let text = if args.json { report.json() } else { report.text() };
        say(text.trim_end()).map_err(Failure::Said)?;
        if let (Some(mut file), Some(path)) = (page, &args.report) {
            let written = file.write_all(report.html().as_bytes());
            written.map_err(|e| Failure::Output(path.clone(), e))?;
        }
        Ok(report)
    });
    let report = match tried {
        Ok(report) => report,
        Err(failure) => {
            match failure {
                Failure::Refused(why) | Failure::Said(why) => eprintln!("{why}"),
                Failure::Output(path, e) => {
                    eprintln!("{}: cannot be written: {e}", path.display());
                }
            }
            return ExitCode::from(2);
        }
    };
    let wrong = report.wrong();
    wrong.iter().for_each(|line| eprintln!("{line}"));
    if report.is_stopped() {
        return ExitCode::from(STOPPED);
    }
    if let Some(why) = report.nothing_fed() {
        eprintln!("{why}");
        return ExitCode::from(2);
    }
    ExitCode::from(u8::from(!wrong.is_empty()))
}

/// Why there is nothing to report, or nobody to hear it.
enum Failure {
    Refused(String),
    Output(PathBuf, io::Error),
    Said(String),
}

/// What is done with conversations.
enum Mode {
    AsIs,
    Mapped(Vec<Target>),
}

/// The report, and the file that its page goes to.
fn whole(args: &Args) -> Result<(Report, Option<File>), Failure> {
    let paths = args.paths();
    outputs::are_apart(args, &paths).map_err(Failure::Refused)?;
    let config = config(args)?;
    let port = port(args, &config)?;
    // At a rate of its own a replay has its costs as they come; else they are measured apart.
    let apart = args.rate == Rate::Flat && Stage::has_room(&config);
    let stage = Stage::new(&config, usize::from(args.workers), !apart).map_err(Failure::Refused)?;
    let twin = apart.then(|| Twin::new(&stage, &config)).transpose().map_err(Failure::Refused)?;
    // What is refused is so before anything is written.
    let (mode, seen) = survey(args, &paths, &stage)?;
    if matches!(mode, Mode::AsIs) {
        only_mapped(args)?;
    }
    let mtus = || config.ports.iter().map(|p| usize::from(p.mtu));
    let (map, mtu) = match mode {
        // A frame comes in by one port, and its conversation crosses two.
        Mode::AsIs => (None, mtus().max()),
        Mode::Mapped(targets) => (
            Some(Map::new(targets, stage.snapshot().clone(), args.pickup || !args.no_pickup)),
            mtus().min(),
        ),
    };
    let mut policy = Policy::new(args.snapped, args.large, mtu.unwrap_or(1500));
    let names: Vec<_> = config.ports.iter().map(|p| p.name.clone()).collect();
    // A place that cannot be written to is found before the work, not after it.
    let create = |path: &PathBuf| File::create(path).map_err(|e| Failure::Output(path.clone(), e));
    let page = args.report.as_ref().map(create).transpose()?;
    let sink = sink(args, &names, seen.first)?;
    let mut input = Input::new(paths, args.rounds);
    input.left_out = seen.left_out;
    let mut run = Run::new(stage, map, sink, names.len());
    (run.twin, run.forced, run.copies) = (twin, port, args.conns);
    let began = Instant::now();
    feed_all(args, &mut input, &mut policy, &mut run)?;
    // The second director is no part of the feed.
    let apart = run.twin.as_ref().map_or(Duration::ZERO, |twin| twin.took);
    let wall = began.elapsed().saturating_sub(apart);
    if let Some(writer) = run.sink.writer.take() {
        writer.finish().map_err(|e| output(args, e))?;
    }
    let report = Report::new(args, &config, &input, &policy, &mut run, wall);
    Ok((report, page))
}

/// Frames are fed as they are: options that are for conversations are not passed over in silence.
fn only_mapped(args: &Args) -> Result<(), Failure> {
    let options =
        [(args.conns > 1, "--conns"), (args.pickup, "--pickup"), (args.no_pickup, "--no-pickup")];
    let Some((_, option)) = options.iter().find(|(given, _)| *given) else { return Ok(()) };
    let file = args.config.as_deref().unwrap_or(Path::new("the made-up configuration"));
    let why = match &args.port {
        Some(port) => format!("--port {port} feeds frames as they are"),
        None => format!("frames meet a service of {} and are fed as they are", file.display()),
    };
    Err(Failure::Refused(format!(
        "{option} is for conversations that are mapped, and {why}\n  give --map, or leave {option} out"
    )))
}

/// All frames of all captures, each at its time.
fn feed_all(
    args: &Args,
    input: &mut Input,
    policy: &mut Policy,
    run: &mut Run,
) -> Result<(), Failure> {
    let mut data = Vec::new();
    let mut pace = Pace { rate: args.rate, began: Instant::now() };
    let mut progress = Progress::new(input.total_bytes > 0);
    let failed = |e| output(args, e);
    let stop = Stop::on_signals();
    while let Some(next) = input.next(&mut data).map_err(Failure::Refused)? {
        let Next { len, at } = next;
        if input.begins_again() {
            run.end().map_err(failed)?;
        }
        if let Some(wait) = pace.wait(at, input.frames) {
            run.settle().map_err(failed)?;
            stop.sleep(wait);
        }
        progress.show(input.progress(), input.frames);
        run.at(input.frames, at).map_err(failed)?;
        let done = policy.apply(&mut data, len, |frame| run.frame(frame)).map_err(failed)?;
        if let Err(skip) = done {
            run.skip(skip);
        }
        if stop.is_asked() {
            input.stop();
            break;
        }
    }
    run.end().map_err(failed)
}

/// When a frame is due.
struct Pace {
    rate: Rate,
    began: Instant,
}

impl Pace {
    /// How long to wait for the frame of capture time `at`, the `n`-th.
    fn wait(&mut self, at: u64, n: u64) -> Option<Duration> {
        let due = self.rate.due(at, n)?;
        // Less than the system sleeps at least is caught up by the next frames.
        due.checked_sub(self.began.elapsed()).filter(|d| *d > Duration::from_micros(100))
    }
}

fn config(args: &Args) -> Result<Config, Failure> {
    let Some(path) = &args.config else {
        let wanted = made::Wanted {
            vips: &args.map,
            forward: args.forward.unwrap_or(Forward::Fullnat),
            scheduler: &args.scheduler,
            dests: args.dests,
            conns: args.table,
        };
        return made::config(&wanted).map_err(Failure::Refused);
    };
    let (config, warnings) =
        pointsman_config::load(path).map_err(|e| Failure::Refused(e.to_string()))?;
    warnings.iter().for_each(|w| eprintln!("{w}"));
    Ok(config)
}

/// What is to be done with the captures, and what was seen of them.
fn survey(args: &Args, paths: &[PathBuf], stage: &Stage) -> Result<(Mode, Survey), Failure> {
    let snapshot = stage.snapshot();
    let is_given = |addr: pointsman_dataplane::tuple::Addr, port: u16, proto: Proto| {
        args.map.iter().any(|vip| {
            let ip: std::net::IpAddr = addr.into();
            let fits = vip.tcp.is_none_or(|tcp| tcp == (proto == Proto::Tcp));
            vip.at == (ip, port).into() && fits
        })
    };
    // With a made-up service there is nothing to ask; with --as-is, or a port, there is no doubt.
    let is_asked =
        args.config.is_some() && args.map.is_empty() && !args.as_is && args.port.is_none();
    let mut met = false;
    let seen = Input::survey(paths, |frame| {
        met = is_asked && meets(snapshot, frame);
        met || !is_asked
    });
    let seen = seen.map_err(Failure::Refused)?;
    if args.as_is || args.port.is_some() || met {
        return Ok((Mode::AsIs, seen));
    }
    if args.config.is_none() || args.map.is_empty() {
        return match Map::targets(snapshot, |_, _, _| true) {
            // No service at all: what is there to be seen is routing and snat.
            targets if targets.is_empty() => Ok((Mode::AsIs, seen)),
            targets => Ok((Mode::Mapped(targets), seen)),
        };
    }
    let targets = Map::targets(snapshot, is_given);
    if targets.is_empty() {
        let have: Vec<_> = snapshot
            .services
            .iter()
            .filter(|s| map::has_end(s))
            .map(|s| format!("{} {}", s.proto, tally::show((s.addr, s.port))))
            .collect();
        let why = format!("--map: the configuration has no such service, but {}", have.join(", "));
        return Err(Failure::Refused(why));
    }
    Ok((Mode::Mapped(targets), seen))
}

/// Whether a frame goes to a service, or comes from one of its dests.
fn meets(snapshot: &Snapshot, frame: &[u8]) -> bool {
    let read = packet::ip_of(frame).and_then(|l3| packet::read(&frame[l3..]));
    let is_of = |proto, (src, sport), (dst, dport)| {
        let tuple = Tuple { src, dst, sport, dport, proto };
        snapshot.service(&tuple).is_some() || snapshot.is_nat_dest(proto, dst, dport)
    };
    read.is_ok_and(|p| is_of(p.proto, p.src, p.dst) || is_of(p.proto, p.dst, p.src))
}

fn port(args: &Args, config: &Config) -> Result<Option<PortId>, Failure> {
    let Some(name) = &args.port else { return Ok(None) };
    let found = config.ports.iter().position(|p| p.name == *name);
    let names = || config.ports.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
    let refused = || {
        let file = args.config.as_deref().unwrap_or(Path::new("the made-up configuration"));
        Failure::Refused(format!(
            "--port {name}: {} has no such port, but {}",
            file.display(),
            names()
        ))
    };
    found.map(|index| Some(PortId(index as u8))).ok_or_else(refused)
}

fn sink(args: &Args, ports: &[String], first_stamp: u64) -> Result<Sink, Failure> {
    let mut sink = Sink::new(ports.len());
    sink.first_stamp = first_stamp;
    let Some(path) = &args.output else { return Ok(sink) };
    let file = File::create(path).map_err(|e| output(args, e))?;
    let writer = NgWriter::new(BufWriter::new(file), ports).map_err(|e| output(args, e))?;
    sink.writer = Some(writer);
    Ok(sink)
}

fn output(args: &Args, e: io::Error) -> Failure {
    Failure::Output(args.output.clone().unwrap_or_default(), e)
}
