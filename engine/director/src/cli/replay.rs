//! `pointsman replay`: the frames of a capture through a director in memory.

mod feed;
mod report;
mod stage;

use crate::control::status::Law;
use crate::io::pcap::CaptureError;
use crate::io::pcap::CaptureReader;
use crate::io::pcap::CaptureWriter;
use crate::io::pcap::Record;
use feed::Skip;
use pointsman_config::Config;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::tick::Tick;
use stage::Stage;
use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

/// Workers that a frame can be offered to in turn (`Handed::visited`).
const MAX_WORKERS: u8 = 16;

/// What is asked for.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Frames come in by the port toward their source address, with the Ethernet
header made to fit; next hops, their MACs and those of the ports are made up,
time is the capture's. ARP and neighbour discovery of the capture and frames
cut off by a snap length are skipped. Exits 0 when every frame is accounted
for, 1 when not or when the capture is cut off, 2 when the input is refused.")]
pub(super) struct Args {
    /// The configuration; its devices are not opened
    #[arg(short, long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
    /// What comes in: pcap or pcapng, Ethernet
    #[arg(short, long = "in", value_name = "CAPTURE")]
    input: PathBuf,
    /// Where to write what leaves, of all ports: pcap
    #[arg(short, long = "out", value_name = "CAPTURE")]
    output: Option<PathBuf>,
    /// The port all frames come in by, whatever their source
    #[arg(short, long, value_name = "NAME")]
    port: Option<String>,
    /// Workers; frames are spread over them by addresses and ports
    #[arg(short, long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_WORKERS)))]
    workers: u8,
}

/// Does it. Exits 0 when all checks hold, 1 when one does not, 2 when the input is refused.
pub(super) fn replay(args: &Args) -> ExitCode {
    match run(args) {
        Ok(outcome) => {
            super::say(report::render(&outcome).trim_end());
            let wrong = outcome.wrong();
            wrong.iter().for_each(|line| eprintln!("{line}"));
            ExitCode::from(u8::from(!wrong.is_empty()))
        }
        Err(Failure::Refused(why)) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
        Err(Failure::Output(path, e)) => {
            eprintln!("{}: cannot be written: {e}", path.display());
            ExitCode::from(1)
        }
    }
}

/// Why there is nothing to report.
enum Failure {
    Refused(String),
    Output(PathBuf, io::Error),
}

/// What there is to report.
struct Outcome {
    input: PathBuf,
    output: Option<PathBuf>,
    /// Names, by port.
    ports: Vec<String>,
    counts: Counts,
    sink: Sink,
    services: Vec<report::Service>,
    law: Law,
    conns_opened: u64,
    conns_left: u64,
    workers: usize,
    /// Next hops that found no room in the made-up table.
    hops_refused: u64,
    /// Why the capture was not read to its end.
    cut: Option<CaptureError>,
}

impl Outcome {
    /// Everything that must not be, in words.
    fn wrong(&self) -> Vec<String> {
        let (law, fed) = (&self.law, self.counts.fed.iter().sum::<u64>());
        let mut wrong = Vec::new();
        if !law.holds {
            wrong.push("the conservation law does not hold: this is a bug of pointsman".into());
        }
        let pairs = [
            ("frames read", self.counts.read, "fed and skipped", fed + self.counts.skipped()),
            ("frames fed", fed, "received", law.received),
            ("frames sent", law.sent, "left", self.sink.frames),
            ("frames handed over", law.handed_over, "taken over", law.taken_over),
        ];
        for (one, n, other, m) in pairs.iter().filter(|(_, n, _, m)| n != m) {
            wrong.push(format!("{n} {one}, but {m} {other}: this is a bug of pointsman"));
        }
        if let Some(why) = &self.cut {
            let input = self.input.display();
            wrong.push(format!("{input}: {why}: what is before that was replayed, the rest not"));
        }
        wrong
    }
}

/// What became of the capture's frames.
#[derive(Default)]
struct Counts {
    read: u64,
    bytes: u64,
    /// By port.
    fed: Vec<u64>,
    /// By `Skip`.
    skips: [u64; Skip::ALL.len()],
    /// Stamps before that of an earlier frame.
    went_back: u64,
    /// Nanoseconds from the first stamp to the last.
    span: u64,
}

impl Counts {
    fn skipped(&self) -> u64 {
        self.skips.iter().sum()
    }
}

/// Where frames go that leave.
struct Sink {
    writer: Option<CaptureWriter<BufWriter<File>>>,
    /// The stamp of the first frame of the capture.
    first_stamp: u64,
    frames: u64,
    bytes: u64,
    /// Frames by port.
    ports: Vec<u64>,
}

impl Sink {
    fn frame(&mut self, port: usize, at: Tick, data: &[u8]) -> io::Result<()> {
        self.frames += 1;
        self.bytes += data.len() as u64;
        self.ports[port] += 1;
        let stamp = self.first_stamp + at.since(stage::BEGIN).as_nanos() as u64;
        self.writer.as_mut().map_or(Ok(()), |w| w.frame(stamp, data))
    }
}

fn run(args: &Args) -> Result<Outcome, Failure> {
    let (config, warnings) =
        pointsman_config::load(&args.config).map_err(|e| Failure::Refused(e.to_string()))?;
    warnings.iter().for_each(|w| eprintln!("{w}"));
    let port = port(args, &config)?;
    let refused = |e: &CaptureError| Failure::Refused(format!("{}: {e}", args.input.display()));
    let mut reader = CaptureReader::open(&args.input).map_err(|e| refused(&e))?;
    let mut data = Vec::new();
    // What is refused is so before anything is written.
    let mut next = reader.next(&mut data);
    if let Some(e) = next.as_ref().err().filter(|e| !e.is_partial()) {
        return Err(refused(e));
    }
    let mut stage = Stage::new(&config, usize::from(args.workers)).map_err(Failure::Refused)?;
    let first_stamp = next.as_ref().ok().and_then(|r| r.as_ref()?.stamp).unwrap_or(0);
    let mut sink = open_sink(args, config.ports.len(), first_stamp)?;
    let mut counts = Counts { fed: vec![0; config.ports.len()], ..Counts::default() };
    let output = |e| Failure::Output(args.output.clone().unwrap_or_default(), e);
    let cut = loop {
        match next {
            Ok(Some(record)) => {
                counts.frame(&record, &data, port, &mut stage, &mut sink).map_err(output)?;
            }
            Ok(None) => break None,
            Err(e) if e.is_partial() => break Some(e),
            Err(e) => {
                let frames = counts.read;
                return Err(Failure::Refused(format!(
                    "{}: {e}; the {frames} frames before that were replayed",
                    args.input.display()
                )));
            }
        }
        next = reader.next(&mut data);
    };
    stage.end(&mut sink).map_err(output)?;
    if let Some(writer) = sink.writer.take() {
        writer.finish().map_err(output)?;
    }
    Ok(outcome(args, &config, &stage, counts, sink, cut))
}

impl Counts {
    /// One frame of the capture, at its time or, where that went back, at that of the one before.
    fn frame(
        &mut self,
        record: &Record,
        data: &[u8],
        port: Option<PortId>,
        stage: &mut Stage,
        sink: &mut Sink,
    ) -> io::Result<()> {
        self.read += 1;
        self.bytes += data.len() as u64;
        if let Some(stamp) = record.stamp {
            let since = stamp.saturating_sub(sink.first_stamp);
            self.went_back += u64::from(stamp < sink.first_stamp + self.span);
            self.span = self.span.max(since);
        }
        stage.advance(stage::BEGIN + std::time::Duration::from_nanos(self.span), sink)?;
        match stage.take_in(data, record.len, port) {
            Ok(arrived) => {
                self.fed[arrived.port.0 as usize] += 1;
                stage.feed(arrived, sink)
            }
            Err(skip) => {
                self.skips[skip as usize] += 1;
                Ok(())
            }
        }
    }
}

fn port(args: &Args, config: &Config) -> Result<Option<PortId>, Failure> {
    let Some(name) = &args.port else { return Ok(None) };
    let found = config.ports.iter().position(|p| p.name == *name);
    let names = || config.ports.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
    let refused = || {
        let file = args.config.display();
        Failure::Refused(format!("--port {name}: {file} has no such port, but {}", names()))
    };
    found.map(|index| Some(PortId(index as u8))).ok_or_else(refused)
}

fn open_sink(args: &Args, ports: usize, first_stamp: u64) -> Result<Sink, Failure> {
    let mut sink = Sink { writer: None, first_stamp, frames: 0, bytes: 0, ports: vec![0; ports] };
    let Some(path) = &args.output else { return Ok(sink) };
    if is_same_file(path, &args.input) {
        let path = path.display();
        return Err(Failure::Refused(format!(
            "--out {path} is the capture that comes in: give another name"
        )));
    }
    let output = |e| Failure::Output(path.clone(), e);
    let file = File::create(path).map_err(output)?;
    sink.writer = Some(CaptureWriter::new(BufWriter::new(file)).map_err(output)?);
    Ok(sink)
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    let id = |p: &Path| std::fs::metadata(p).map(|m| (m.dev(), m.ino(), m.is_file()));
    matches!((id(a), id(b)), (Ok(a), Ok(b)) if a == b && a.2)
}

fn outcome(
    args: &Args,
    config: &Config,
    stage: &Stage,
    counts: Counts,
    sink: Sink,
    cut: Option<CaptureError>,
) -> Outcome {
    let stats = stage.stats();
    Outcome {
        input: args.input.clone(),
        output: args.output.clone(),
        ports: config.ports.iter().map(|p| p.name.clone()).collect(),
        counts,
        sink,
        services: report::services(config, stage),
        law: crate::control::law(stats),
        conns_opened: stats.iter().map(|s| s.opened.get()).sum(),
        conns_left: stats.iter().map(|s| s.conns.get()).sum(),
        workers: stats.len(),
        hops_refused: stage.hops_refused(),
        cut,
    }
}
