//! How a replay went: one structure, said as text, JSON or a page.

mod checks;
mod html;
mod svg;
mod text;

use super::args::Args;
use super::input::Input;
use super::meter::Cost;
use super::policy::Policy;
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
    /// Of what was fed, over the time of whole turns.
    gbit_per_second: f64,
    wall_seconds: f64,
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
    /// The first of the refused.
    listed: Vec<Lost>,
    /// With a handshake and a conn, and too few of their frames left; the first of them.
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
        run: &Run,
        wall: Duration,
    ) -> Self {
        let stats = run.stage.stats();
        let cost = run.stage.meter.cost();
        let seconds = cost.loop_ns * cost.packets as f64 / 1e9;
        let bits = run.fed_bytes as f64 * 8.0;
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
            input: Given {
                frames: input.frames,
                bytes: input.bytes,
                seconds: input.span() as f64 / 1e9,
                went_back: input.went_back,
                foreign: super::input::foreign(&input.foreign),
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
            wall_seconds: wall.as_secs_f64(),
            over_time: run.series.clone(),
        }
    }

    /// Everything that must not be, in words.
    pub(super) fn wrong(&self) -> Vec<String> {
        let failed = self.checks.iter().filter(|c| !c.holds);
        failed.map(|c| format!("{}: {}", c.what, c.detail)).collect()
    }

    pub(super) fn json(&self) -> String {
        // There is nothing in it that JSON could not have.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
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
