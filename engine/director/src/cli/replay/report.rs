//! What `replay` says at its end, in 80 columns.

use super::Outcome;
use super::Skip;
use super::Stage;
use crate::cli::render::law;
use crate::cli::render::line;
use crate::cli::render::number;
use crate::cli::render::percent;
use crate::cli::render::row;
use crate::cli::render::wrap;
use pointsman_config::Config;
use std::net::SocketAddr;

const HEADS: [&str; 7] = ["weight", "conns", "share", "in pk", "in by", "out pk", "out by"];

/// A service and what its dests got.
pub(super) struct Service {
    name: String,
    dests: Vec<Dest>,
}

struct Dest {
    address: SocketAddr,
    weight: u32,
    conns: u64,
    /// Packets and bytes in, packets and bytes out.
    traffic: [u64; 4],
}

/// Services in the order of the configuration, dests in the kernel's.
pub(super) fn services(config: &Config, stage: &Stage) -> Vec<Service> {
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
            name: format!("{plain} {} {}{name}", s.sched.name(), s.forward.name()),
            dests: s.dests.iter().map(dest).collect(),
        }
    };
    named.map(service).collect()
}

pub(super) fn render(o: &Outcome) -> String {
    let mut out = String::new();
    input(&mut out, o);
    output(&mut out, o);
    o.services.iter().for_each(|s| service(&mut out, s));
    law(&mut out, &o.law);
    out
}

fn input(out: &mut String, o: &Outcome) {
    let c = &o.counts;
    let seconds = c.span as f64 / 1e9;
    line(out, &format!("in   {}", o.input.display()));
    line(out, &format!("     {} frames, {} bytes, {seconds:.3} s", c.read, c.bytes));
    if c.went_back > 0 {
        let n = c.went_back;
        line(out, &format!("     {n} of them earlier than one before: fed at that one's time"));
    }
    wrap(out, "     fed ", &by_port(o, &c.fed));
    if c.skipped() > 0 {
        line(out, &format!("     skipped {}", c.skipped()));
    }
    for (skip, name, meaning) in Skip::ALL {
        let n = c.skips[skip as usize];
        if n > 0 {
            line(out, &format!("     {n:>7} {name}: {meaning}"));
        }
    }
}

fn output(out: &mut String, o: &Outcome) {
    if let Some(path) = &o.output {
        line(out, &format!("out  {}", path.display()));
    }
    let first = if o.output.is_some() { "     " } else { "out  " };
    line(out, &format!("{first}{} frames, {} bytes", o.sink.frames, o.sink.bytes));
    wrap(out, "     sent ", &by_port(o, &o.sink.ports));
    line(out, &format!("     conns: {} opened, {} left at the end", o.conns_opened, o.conns_left));
    if o.workers > 1 {
        let share = o.law.handed_over as f64 / o.law.received.max(1) as f64;
        line(out, &format!("     {} workers, {} handed over", o.workers, percent(share)));
    }
    if o.hops_refused > 0 {
        line(out, &format!("     {} times no room for one more next hop", o.hops_refused));
    }
}

/// `name 12`, by port, and the sum before them.
fn by_port(o: &Outcome, frames: &[u64]) -> Vec<String> {
    let total: u64 = frames.iter().sum();
    let mut items: Vec<_> = o.ports.iter().zip(frames).map(|(p, n)| format!("{p} {n}")).collect();
    if let Some(first) = items.first_mut() {
        first.insert_str(0, &format!("{total}: "));
    }
    items
}

fn service(out: &mut String, s: &Service) {
    out.push('\n');
    line(out, &s.name);
    if s.dests.is_empty() {
        return line(out, "  no dest: clients are refused");
    }
    row(out, 26, "", &HEADS);
    let all: u64 = s.dests.iter().map(|d| d.conns).sum();
    for d in &s.dests {
        let share = percent(d.conns as f64 / all.max(1) as f64);
        let mut cells = vec![d.weight.to_string(), number(d.conns), share];
        cells.extend(d.traffic.map(number));
        row(out, 26, &format!("  {}", d.address), &cells);
    }
}
