//! The report in 80 columns.

use super::Conversations;
use super::Report;
use super::Service;
use super::count;
use crate::cli::render::law;
use crate::cli::render::line;
use crate::cli::render::number;
use crate::cli::render::percent;
use crate::cli::render::row;
use crate::cli::render::wrap;
use crate::replay::skip::Skip;
use crate::replay::tally::Lost;

const HEADS: [&str; 7] = ["weight", "conns", "share", "in pk", "in by", "out pk", "out by"];
/// Conversations shown of each list; all are in `--json`.
const LISTED: usize = 20;

impl Report {
    pub(in crate::replay) fn text(&self) -> String {
        let mut out = String::new();
        self.input(&mut out);
        if let Some(c) = &self.conversations {
            conversations(&mut out, c);
        }
        self.output(&mut out);
        // Of a made-up configuration only what was used is of interest.
        let used = |s: &&Service| self.mode == "as-is" || s.conns() > 0;
        self.services.iter().filter(used).for_each(|s| service(&mut out, s));
        self.cost(&mut out);
        law(&mut out, &self.law);
        out.push('\n');
        for check in &self.checks {
            let (mark, what) = (if check.holds { "ok  " } else { "FAIL" }, check.what);
            line(&mut out, &format!("{mark} {what}"));
            if check.holds {
                line(&mut out, &format!("     {}", check.detail));
            }
        }
        out
    }

    fn input(&self, out: &mut String) {
        let c = &self.input;
        wrap(out, "in   ", &self.captures);
        let frames = count(c.frames, "frame");
        line(out, &format!("     {frames}, {} bytes, {:.3} s", c.bytes, c.seconds));
        if !self.options.is_empty() {
            wrap(out, "     as asked: ", &self.options);
        }
        let notes = [
            (c.went_back, "of them earlier than one before: fed at that one's time"),
            (c.padded, "cut off by the snap length: filled up with zeros, checksums made to fit"),
            (c.cut, "larger than the mtu: cut into segments as the wire had them"),
        ];
        for (n, what) in notes.iter().filter(|(n, _)| *n > 0) {
            line(out, &format!("     {n} {what}"));
        }
        if self.stopped {
            line(out, "     stopped by a signal: all that follows is of what came before it");
        }
        if !c.foreign.is_empty() {
            wrap(out, "     not Ethernet: ", &c.foreign);
        }
        for l in &c.left_out {
            line(out, &format!("     left out: {}", l.capture));
            l.why.split("; ").for_each(|part| line(out, &format!("       {part}")));
        }
        wrap(out, "     fed ", &self.by_port(|p| p.fed));
        let skipped: u64 = self.skipped.values().sum();
        if skipped > 0 {
            line(out, &format!("     skipped {skipped}"));
        }
        for (_, name, meaning) in Skip::ALL {
            if let Some(n) = self.skipped.get(name) {
                line(out, &format!("     {n:>7} {name}: {meaning}"));
            }
        }
    }

    fn output(&self, out: &mut String) {
        if let Some(path) = &self.out {
            line(out, &format!("out  {path}"));
        }
        let first = if self.out.is_some() { "     " } else { "out  " };
        let sent: u64 = self.ports.iter().map(|p| p.sent).sum();
        wrap(out, &format!("{first}sent "), &self.by_port(|p| p.sent));
        let (opened, left) = (self.conns_opened, self.conns_left);
        line(out, &format!("     conns: {opened} opened, {left} left at the end"));
        if sent > 0 && self.workers > 1 {
            let share = self.law.handed_over as f64 / self.law.received.max(1) as f64;
            line(out, &format!("     {} workers, {} handed over", self.workers, percent(share)));
        }
        if self.hops_refused > 0 {
            line(out, &format!("     {} times no room for one more next hop", self.hops_refused));
        }
    }

    /// `name 12`, by port, and the sum before them.
    fn by_port(&self, frames: impl Fn(&super::Port) -> u64) -> Vec<String> {
        let total: u64 = self.ports.iter().map(&frames).sum();
        let named = self.ports.iter().map(|p| format!("{} {}", p.name, frames(p)));
        let mut items: Vec<_> = named.collect();
        if let Some(first) = items.first_mut() {
            first.insert_str(0, &format!("{total}: "));
        }
        items
    }

    fn cost(&self, out: &mut String) {
        let c = &self.cost;
        if c.packets + c.apart_packets == 0 {
            return;
        }
        self.time(out);
        if !c.enough {
            let n = count(c.packets, "packet");
            line(out, &format!("cost too few packets to tell: {n} of 1,000 (see --loop, --conns)"));
            return self.memory(out);
        }
        let (mpps, gbit, burst) = (c.mpps, self.gbit_per_second, c.packets_per_burst);
        line(
            out,
            &format!(
                "cost {mpps:.2} Mpps, {gbit:.2} Gbit/s on one core, {burst:.1} packets a burst"
            ),
        );
        let one = |ns: f64, cycles: f64| format!("{ns:.0} ns ({cycles:.0} cycles)");
        let alone = format!("pipeline {}", one(c.pipeline_ns, c.pipeline_cycles));
        let whole = format!("whole loop {}", one(c.loop_ns, c.loop_cycles));
        wrap(out, "     a packet: ", &[alone, whole]);
        let kind = |ns: Option<f64>| ns.map_or("not seen alone".into(), |ns| format!("{ns:.0} ns"));
        let opens = c.opens_per_second.map(|n| format!("{} conns/s", number(n as u64)));
        let mut kinds = vec![format!("in it: of a known conn {}", kind(c.hit_ns))];
        kinds.push(format!("opening one {}", kind(c.miss_ns)));
        kinds.extend(opens);
        wrap(out, "     ", &kinds);
        for (what, turns) in [("     us a burst: ", &c.latency), ("     us idle: ", &c.idle)] {
            let told = turns.iter().map(|(p, ns)| format!("p{p} {:.1}", *ns as f64 / 1000.0));
            wrap(out, what, &told.collect::<Vec<_>>());
        }
        if c.apart_packets > 0 {
            let (n, ms) = (count(c.apart_packets, "packet"), c.apart_ns / 1e6);
            line(out, &format!("     apart: {n} that waited for memory or the core, {ms:.1} ms"));
        }
        if !self.measured_alone {
            line(
                out,
                "     measured among the checks, which take caches: --rate flat has it apart",
            );
        }
        self.memory(out);
    }

    /// How long it took, and whether that is the rate asked for.
    fn time(&self, out: &mut String) {
        let seconds = self.wall_seconds;
        let rate = self.input.frames as f64 / seconds.max(f64::MIN_POSITIVE);
        out.push('\n');
        line(
            out,
            &format!(
                "time {seconds:.3} s, {} frames/s with reading and checking",
                number(rate as u64)
            ),
        );
        if let Some(kept) = self.rate_missed() {
            line(out, &format!("     --rate was not kept: {kept:.2} of what was asked for"));
        }
    }

    fn memory(&self, out: &mut String) {
        let [v4, v6] = self.bytes_per_conn;
        line(out, &format!("     memory a conn: {v4:.0} bytes (v4), {v6:.0} (v6)"));
    }
}

fn conversations(out: &mut String, c: &Conversations) {
    line(out, &format!("talk {} TCP, {} UDP conversations", c.tcp, c.udp));
    let notes = [
        (c.started_before, "began before the capture"),
        (c.made_up, "frames made up for their handshakes"),
        (c.copied, "frames more, by --conns"),
        (c.direct, "frames from dests go straight to clients, not by the director"),
        (c.other_port, "with another client port: theirs was in use"),
        (c.other_address, "clients with another address: theirs multiplied, or of no use here"),
        (c.ttl_raised, "frames with their TTL used up: raised to 64"),
        (c.headers_mended, "wrong IPv4 header checksums, which a router drops: made right"),
        (c.remapped, "times a conversation got another mapping"),
        (c.fragmented, "frames that the director cut into fragments: not compared"),
    ];
    for (n, what) in notes.iter().filter(|(n, _)| *n > 0) {
        line(out, &format!("     {n} {what}"));
    }
    if c.handshakes > 0 {
        let share = percent((c.share * 1000.0).floor() / 1000.0);
        line(out, &format!("     {} with a handshake: {share} of their frames left", c.handshakes));
    }
    list(out, c.refused, "refused", &c.listed);
    list(out, c.lossy, "that lost frames", &c.listed_lossy);
}

fn list(out: &mut String, n: u64, what: &str, listed: &[Lost]) {
    if n == 0 {
        return;
    }
    let heads = Lost::by_reason(listed);
    match heads.is_empty() {
        true => line(out, &format!("     {n} {what}")),
        false => wrap(out, &format!("     {n} {what}: "), &heads),
    }
    for l in listed.iter().take(LISTED) {
        line(out, &format!("     {}", l.conversation()));
        let reasons = l.reasons();
        let why = match reasons.is_empty() {
            true => "nothing of its client that could be fed".into(),
            false => reasons.join(", "),
        };
        line(out, &format!("       {} of {} frames left: {why}", l.left, l.frames));
    }
    if listed.len() > LISTED {
        line(out, &format!("     {} more {what}: --json has all", listed.len() - LISTED));
    }
}

fn service(out: &mut String, s: &Service) {
    out.push('\n');
    line(out, &s.name);
    if s.dests.is_empty() {
        return line(out, "  no dest: clients are refused");
    }
    row(out, 26, "", &HEADS);
    let all = s.conns();
    for d in &s.dests {
        let share = percent(d.conns as f64 / all.max(1) as f64);
        let mut cells = vec![d.weight.to_string(), number(d.conns), share];
        cells.extend(d.traffic.map(number));
        row(out, 26, &format!("  {}", d.address), &cells);
    }
}
