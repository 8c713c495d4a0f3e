//! How a replay went: one structure, said as text, JSON or a page.

mod checks;
mod html;
mod svg;
mod text;

use super::args::Args;
use super::args::Rate;
use super::input::Input;
use super::input::LeftOut;
use super::meter::Cost;
use super::policy::Large;
use super::policy::Policy;
use super::policy::Snapped;
use super::run::Run;
use super::series::Series;
use super::skip::Skip;
use super::stage::Stage;
use super::tally::Lost;
use super::tally::Tally;
use crate::control::status::Law;
use checks::Check;
use pointsman_config::Config;
use pointsman_dataplane::service::Forward;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// All of it. Field names are stable; further ones may come.
#[derive(Serialize)]
pub(super) struct Report {
    version: &'static str,
    captures: Vec<String>,
    out: Option<String>,
    /// `as-is` or `mapped`.
    mode: &'static str,
    workers: usize,
    rounds: u64,
    /// What was asked for otherwise than by default.
    options: Vec<String>,
    /// A signal ended it before all was fed.
    stopped: bool,
    input: Given,
    ports: Vec<Port>,
    /// Frames not fed, by name.
    skipped: BTreeMap<&'static str, u64>,
    conversations: Option<Conversations>,
    conns_opened: u64,
    /// Still in the table at the end.
    conns_left: u64,
    /// Bytes that a v4 and a v6 conn takes, its part of the index in it.
    bytes_per_conn: [f64; 2],
    /// Next hops that found no room in the made-up table.
    hops_refused: u64,
    services: Vec<Service>,
    law: Law,
    cost: Cost,
    /// Whether these are of a director alone, or of one whose caches the checks shared.
    measured_alone: bool,
    /// Of what was fed, over the time of whole turns.
    gbit_per_second: f64,
    /// From the first frame to the last, reading and checking in it.
    wall_seconds: f64,
    /// Share of the rate asked for that was reached; none where frames were fed flat out.
    rate_kept: Option<f64>,
    over_time: Series,
    checks: Vec<Check>,
}

/// What came in.
#[derive(Serialize)]
struct Given {
    frames: u64,
    bytes: u64,
    /// Of the capture's time.
    seconds: f64,
    went_back: u64,
    /// Frames that are not Ethernet, by link type.
    foreign: Vec<String>,
    foreign_frames: u64,
    /// Captures with nothing else, and why they are left out.
    left_out: Vec<LeftOut>,
    padded: u64,
    cut: u64,
    /// Segments more than there were frames, for that.
    further: u64,
}

#[derive(Serialize)]
struct Port {
    name: String,
    fed: u64,
    sent: u64,
}

/// What was mapped.
#[derive(Serialize)]
struct Conversations {
    tcp: u64,
    udp: u64,
    /// Began before the capture; picked up, unless --no-pickup.
    started_before: u64,
    /// Frames made up for their handshakes.
    made_up: u64,
    /// Those whose handshake is in the capture.
    handshakes: u64,
    handshake_frames: u64,
    handshake_left: u64,
    /// Share of these that left.
    share: f64,
    /// Frames from dests that do not pass the director.
    direct: u64,
    refused: u64,
    /// All of the refused.
    listed: Vec<Lost>,
    /// With a handshake and a conn, and too few of their frames left; all of them.
    lossy: u64,
    listed_lossy: Vec<Lost>,
    /// Frames more because each was multiplied.
    copied: u64,
    other_port: u64,
    other_address: u64,
    ttl_raised: u64,
    headers_mended: u64,
    remapped: u64,
    fragmented: u64,
}

/// A service and what its dests got.
#[derive(Serialize)]
struct Service {
    name: String,
    dests: Vec<Dest>,
}

impl Service {
    /// Of all its dests.
    fn conns(&self) -> u64 {
        self.dests.iter().map(|d| d.conns).sum()
    }
}

#[derive(Serialize)]
struct Dest {
    address: SocketAddr,
    weight: u32,
    conns: u64,
    /// Packets and bytes in, packets and bytes out.
    traffic: [u64; 4],
}

impl Report {
    pub(super) fn new(
        args: &Args,
        config: &Config,
        input: &Input,
        policy: &Policy,
        run: &mut Run,
        wall: Duration,
    ) -> Self {
        let cost = run.cost();
        let run = &*run;
        let stats = run.stage.stats();
        let seconds = cost.loop_ns * cost.packets as f64 / 1e9;
        // Of those packets whose time is told.
        let share = cost.packets as f64 / run.fed.iter().sum::<u64>().max(1) as f64;
        let bits = run.fed_bytes as f64 * 8.0 * share;
        let named = config.ports.iter().zip(run.fed.iter().zip(&run.sink.ports));
        let ports =
            named.map(|(p, (fed, sent))| Port { name: p.name.clone(), fed: *fed, sent: *sent });
        let skips = Skip::ALL.iter().map(|(skip, name, _)| (*name, run.skips[*skip as usize]));
        let law = crate::control::law(stats);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            captures: args.paths().iter().map(|p| p.display().to_string()).collect(),
            out: args.output.as_ref().map(|p| p.display().to_string()),
            mode: if run.map.is_some() { "mapped" } else { "as-is" },
            workers: stats.len(),
            rounds: args.rounds,
            options: options(args),
            stopped: input.stopped,
            input: Given {
                frames: input.frames,
                bytes: input.bytes,
                seconds: input.span() as f64 / 1e9,
                went_back: input.went_back,
                foreign: super::input::foreign(&input.foreign),
                foreign_frames: input.foreign.values().sum(),
                left_out: input.left_out.clone(),
                padded: policy.padded,
                cut: policy.cut,
                further: policy.further,
            },
            ports: ports.collect(),
            skipped: skips.filter(|(_, n)| *n > 0).collect(),
            conversations: run.map.as_ref().map(|m| Conversations::new(&m.tally, run)),
            conns_opened: stats.iter().map(|s| s.opened.get()).sum(),
            conns_left: stats.iter().map(|s| s.conns.get()).sum(),
            bytes_per_conn: bytes_per_conn(&run.stage),
            hops_refused: run.stage.hops_refused(),
            services: services(config, &run.stage),
            checks: checks::of(input, policy, run, &law),
            law,
            gbit_per_second: if seconds > 0.0 { bits / seconds / 1e9 } else { 0.0 },
            cost,
            measured_alone: run.twin.is_some(),
            wall_seconds: wall.as_secs_f64(),
            rate_kept: args.rate.due(input.span(), input.frames).map(|due| kept(due, wall)),
            over_time: run.series.clone(),
        }
    }

    /// Whether there would have been more.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Everything that must not be, in words.
    pub(super) fn wrong(&self) -> Vec<String> {
        let failed = self.checks.iter().filter(|c| !c.holds);
        failed.map(|c| format!("{}: {}", c.what, c.detail)).collect()
    }

    /// Why there is nothing that could be said of the traffic, if so.
    pub(super) fn nothing_fed(&self) -> Option<String> {
        let direct = self.conversations.as_ref().map_or(0, |c| c.direct);
        if direct > 0 || self.ports.iter().any(|p| p.fed > 0) {
            return None;
        }
        let skipped = self.skipped.iter().map(|(name, n)| format!("{name} {n}"));
        let why: Vec<_> = skipped.chain(self.input.foreign.clone()).collect();
        let (captures, frames) = (self.captures.join(", "), count(self.input.frames, "frame"));
        let why = if why.is_empty() { String::new() } else { format!(": {}", why.join(", ")) };
        Some(format!("{captures}: nothing to feed: {frames}{why}"))
    }

    /// The rate asked for was missed by more than what a busy machine takes now and then.
    fn rate_missed(&self) -> Option<f64> {
        self.rate_kept.filter(|kept| *kept < 0.95 && self.wall_seconds * (1.0 - kept) > 0.01)
    }

    pub(super) fn json(&self) -> String {
        // There is nothing in it that JSON could not have.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// How much of a rate was kept where frames were due within `due` and took `wall`.
fn kept(due: Duration, wall: Duration) -> f64 {
    (due.as_secs_f64() / wall.as_secs_f64().max(f64::MIN_POSITIVE)).min(1.0)
}

/// `1 frame`, `2 frames`.
fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn options(args: &Args) -> Vec<String> {
    let given = [
        (args.rounds > 1, format!("--loop {}", args.rounds)),
        (args.conns > 1, format!("--conns {}", args.conns)),
        (args.rate != Rate::Flat, format!("--rate {}", args.rate)),
        (args.no_pickup && !args.pickup, "--no-pickup".into()),
        (args.snapped != Snapped::Pad, "--snapped skip".into()),
        (args.large == Large::Feed, "--large feed".into()),
        (args.large == Large::Skip, "--large skip".into()),
    ];
    given.into_iter().filter(|(is, _)| *is).map(|(_, option)| option).collect()
}

impl Conversations {
    fn new(t: &Tally, run: &Run) -> Self {
        Self {
            tcp: t.tcp,
            udp: t.udp,
            started_before: t.started_before,
            made_up: t.made_up,
            handshakes: t.handshakes,
            handshake_frames: t.handshake_frames,
            handshake_left: t.handshake_left,
            share: t.share(),
            direct: run.direct,
            refused: t.refused,
            listed: t.listed.clone(),
            lossy: t.lossy,
            listed_lossy: t.listed_lossy.clone(),
            copied: run.copied,
            other_port: t.moved,
            other_address: t.renamed,
            ttl_raised: t.ttl_raised,
            headers_mended: t.headers_mended,
            remapped: t.remapped,
            fragmented: t.fragmented,
        }
    }
}

/// By family; what a service's method adds is in it, as the first one has it.
fn bytes_per_conn(stage: &Stage) -> [f64; 2] {
    let tracked =
        stage.snapshot().services.first().is_some_and(|s| s.methods.has(Forward::FullNat));
    [false, true].map(|wide| stage.bytes_per_conn(wide, tracked))
}

/// Services in the order of the configuration, dests in the kernel's.
fn services(config: &Config, stage: &Stage) -> Vec<Service> {
    let snapshot = stage.snapshot();
    let counters = &stage.shared().dests;
    let dest = |candidate: &pointsman_dataplane::service::Candidate| {
        let (dest, id) = (snapshot.dest(candidate.id), candidate.id.0 as usize);
        Dest {
            address: SocketAddr::new(dest.addr.into(), dest.port),
            weight: dest.weight,
            conns: counters.sum(id, |s| &s.conns),
            traffic: [
                counters.sum(id, |s| &s.in_packets),
                counters.sum(id, |s| &s.in_bytes),
                counters.sum(id, |s| &s.out_packets),
                counters.sum(id, |s| &s.out_bytes),
            ],
        }
    };
    let named = snapshot.services.iter().zip(&config.services);
    let service = |(s, c): (&pointsman_dataplane::service::Service, &pointsman_config::Service)| {
        let plain = c.scope.of(c.protocol, c.address);
        let name = if c.name == plain { String::new() } else { format!(" \"{}\"", c.name) };
        Service {
            name: format!("{plain} {} {}{name}", s.sched.name(), s.methods),
            dests: s.dests.iter().map(dest).collect(),
        }
    };
    named.map(service).collect()
}
