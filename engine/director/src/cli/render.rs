//! `pointsman status` for people, in 80 columns.

use crate::control::status::DestStatus;
use crate::control::status::Law;
use crate::control::status::Status;
use std::collections::BTreeMap;
use std::fmt::Write;

const WIDTH: usize = 80;
/// Neighbours shown; the rest are in `--json`.
const NEIGHBOURS: usize = 32;
const DEST_HEADS: [&str; 8] =
    ["weight", "active", "inact", "conns", "in pk", "in by", "out pk", "out by"];

/// All that matters; counters that are 0 are left out where there are many.
pub(super) fn status(s: &Status) -> String {
    let mut out = String::new();
    head(&mut out, s);
    ports(&mut out, s);
    workers(&mut out, s);
    services(&mut out, s);
    neighbours(&mut out, s);
    law(&mut out, &s.law);
    out
}

fn head(out: &mut String, s: &Status) {
    let up = duration(s.uptime_seconds);
    line(out, &format!("pointsman {}, pid {}, up {up}", s.version, s.pid));
    line(out, &format!("config {}", s.config.file));
    if let Some(ago) = s.config.last_reload_seconds_ago {
        let ok = if s.config.last_reload_ok { "" } else { "REFUSED, the old one goes on: " };
        let first = s.config.last_reload.lines().next().unwrap_or_default();
        let more = if s.config.last_reload.lines().count() > 1 { " ..." } else { "" };
        line(out, &format!("reload {} ago: {ok}{first}{more}", duration(ago)));
    }
    let (used, of) = (number(s.conns.used), number(s.conns.capacity));
    let opened = number(s.conns.opened);
    line(out, &format!("conns {used} of {of}, {opened} opened; leases {}", number(s.leases)));
    for c in &s.conflicts {
        let (since, seen) = (duration(c.since_seconds), duration(c.last_seen_seconds));
        line(out, &format!("CONFLICT: {} answers for VIP {} on {}", c.mac, c.vip, c.port));
        line(out, &format!("          for {since}, last {seen} ago; see that host's arp settings"));
    }
}

fn ports(out: &mut String, s: &Status) {
    out.push('\n');
    let heads = ["rx pk", "rx by", "tx pk", "tx by", "missed"];
    row(out, 38, "port", &heads);
    for p in &s.ports {
        let link = match (p.link_up, p.speed_mbps) {
            (false, _) => "DOWN".into(),
            (true, 0) => "up".into(),
            (true, speed) if speed % 1000 == 0 => format!("{}G", speed / 1000),
            (true, speed) => format!("{speed}M"),
        };
        let name = format!("{} {link} {}", p.name, p.mac);
        let counters = [p.rx_packets, p.rx_bytes, p.tx_packets, p.tx_bytes, p.missed];
        row(out, 38, &name, &counters.map(number));
        line(out, &format!("  {}, mtu {}, multicast {}", p.driver, p.mtu, p.multicast));
        let errors =
            [("rx errors", p.rx_errors), ("tx errors", p.tx_errors), ("no free frame", p.no_frame)];
        let errors: Vec<_> = errors.iter().filter(|e| e.1 > 0).map(|e| pair(e.0, e.1)).collect();
        wrap(out, "  ", &errors);
    }
}

fn workers(out: &mut String, s: &Status) {
    out.push('\n');
    let heads = ["busy", "rx pk", "tx pk", "handed", "conns"];
    row(out, 38, "worker", &heads);
    for (index, w) in s.workers.iter().enumerate() {
        let core = w.core.map_or("not pinned".into(), |c| format!("core {c}"));
        let cells = [
            percent(w.busy),
            number(w.received),
            number(w.sent),
            percent(w.handed_over_share),
            number(w.conns),
        ];
        row(out, 38, &format!("{index} {core}"), &cells);
    }
}

fn services(out: &mut String, s: &Status) {
    for service in &s.services {
        out.push('\n');
        let (protocol, address) = (&service.protocol, &service.address);
        let plain = format!("{protocol} {address}");
        let name =
            if service.name == plain { String::new() } else { format!(" \"{}\"", service.name) };
        line(out, &format!("{plain} {} {}{name}", service.scheduler, service.forward));
        row(out, 22, "", &DEST_HEADS);
        service.dests.iter().for_each(|d| dest(out, d));
        if service.dests.is_empty() {
            line(out, "  no dest: clients are refused");
        }
    }
    if !s.removed.is_empty() {
        out.push('\n');
        line(out, "removed, with conns that go on to their end");
        row(out, 22, "", &DEST_HEADS);
    }
    for removed in &s.removed {
        dest(out, &removed.dest);
        line(out, &format!("     of {}", removed.service));
    }
}

fn dest(out: &mut String, d: &DestStatus) {
    let counters =
        [d.active, d.inactive, d.conns, d.in_packets, d.in_bytes, d.out_packets, d.out_bytes];
    let mut cells = vec![d.weight.to_string()];
    cells.extend(counters.map(number));
    row(out, 22, &format!("  {}", d.address), &cells);
    let at = match &d.mac {
        Some(mac) => mac.clone(),
        None => d.hop.to_uppercase(),
    };
    line(out, &format!("     {at} on {}", d.port));
}

fn neighbours(out: &mut String, s: &Status) {
    let all = &s.neighbours.entries;
    out.push('\n');
    line(out, &format!("neighbours {} of {}", all.len(), s.neighbours.capacity));
    for n in all.iter().take(NEIGHBOURS) {
        let at = n.mac.clone().unwrap_or_else(|| n.state.to_uppercase());
        line(out, &format!("  {:<40} {at:<18} {}", n.address, n.port));
    }
    if all.len() > NEIGHBOURS {
        line(out, &format!("  and {} more (--json)", all.len() - NEIGHBOURS));
    }
}

/// The conservation law, with every name; those that are 0 are left out.
pub(super) fn law(out: &mut String, law: &Law) {
    out.push('\n');
    let holds = if law.holds { "holds" } else { "DOES NOT HOLD" };
    line(out, &format!("law {holds}: {} in, {} out", law.inputs, law.outputs));
    let mut inputs = vec![pair("received", law.received)];
    inputs.push(named("made", &law.made));
    inputs.push(pair("taken over", law.taken_over));
    wrap(out, "  in:  ", &inputs);
    let mut outputs = vec![
        pair("sent", law.sent),
        pair("handed over", law.handed_over),
        pair("to control", law.to_control),
        named("consumed", &law.consumed),
        pair("held", law.held),
    ];
    outputs.push(pair("dropped", law.dropped.values().sum()));
    wrap(out, "  out: ", &outputs);
    let reasons = law.dropped.iter().filter(|(_, n)| **n > 0);
    let reasons: Vec<_> = reasons.map(|(name, n)| pair(name, *n)).collect();
    wrap(out, "  dropped: ", &reasons);
}

fn named(name: &str, parts: &BTreeMap<String, u64>) -> String {
    let total: u64 = parts.values().sum();
    let shown: Vec<_> = parts.iter().filter(|(_, n)| **n > 0).map(|(p, n)| pair(p, *n)).collect();
    if shown.is_empty() {
        pair(name, total)
    } else {
        format!("{name} {total} ({})", shown.join(", "))
    }
}

fn pair(name: &str, n: u64) -> String {
    format!("{name} {n}")
}

/// Items separated by commas, in lines that begin with `indent` or as much space.
pub(super) fn wrap(out: &mut String, indent: &str, items: &[String]) {
    let mut current = indent.to_owned();
    let words = items.iter().enumerate().flat_map(|(i, item)| {
        let end = if i + 1 < items.len() { "," } else { "" };
        let text = format!("{item}{end}");
        text.split(' ').map(str::to_owned).collect::<Vec<_>>()
    });
    for word in words {
        let is_begun = current.len() > indent.len();
        if is_begun && current.len() + 1 + word.len() > WIDTH {
            line(out, &current);
            current = " ".repeat(indent.len());
        } else if is_begun {
            current.push(' ');
        }
        current.push_str(&word);
    }
    if !items.is_empty() {
        line(out, &current);
    }
}

/// A first column of at least `width`, and cells right-aligned below each other. A first column
/// that is too long has a line of its own.
pub(super) fn row<T: AsRef<str>>(out: &mut String, width: usize, first: &str, cells: &[T]) {
    let mut text = first.to_owned();
    if first.chars().count() > width {
        line(out, first);
        text.clear();
    }
    let pad = width.saturating_sub(text.chars().count());
    text.extend(std::iter::repeat_n(' ', pad));
    for cell in cells {
        // Writing to a string does not fail.
        let _ = write!(text, " {:>6}", cell.as_ref());
    }
    line(out, text.trim_end());
}

pub(super) fn line(out: &mut String, text: &str) {
    out.extend(text.chars().take(WIDTH));
    out.push('\n');
}

/// At most 5 characters: 99999, 123k, 1.23M, 45.6G.
pub(super) fn number(n: u64) -> String {
    const UNITS: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    if n < 100_000 {
        return n.to_string();
    }
    let (mut scaled, mut unit) = (n as f64 / 1000.0, 0);
    while scaled >= 999.5 {
        scaled /= 1000.0;
        unit += 1;
    }
    let digits = if scaled < 9.995 { 2 } else { usize::from(scaled < 99.95) };
    format!("{scaled:.digits$}{}", UNITS[unit])
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

fn duration(seconds: f64) -> String {
    let s = seconds as u64;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d{:02}h", s / 86_400, s % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0, "0"),
            (99_999, "99999"),
            (100_000, "100k"),
            (999_499, "999k"),
            (999_500, "1.00M"),
            (12_345_678, "12.3M"),
            (9_994_999_999, "9.99G"),
            (u64::MAX, "18.4E"),
        ];
        for (n, text) in cases {
            assert_eq!(number(n), text);
        }
    }

    #[test]
    fn durations() {
        let cases = [(5.9, "5s"), (61.0, "1m01s"), (7260.0, "2h01m"), (90_000.0, "1d01h")];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn lists_wrap_below_their_beginning() {
        let mut out = String::new();
        let items: Vec<_> = (0..12).map(|i| format!("reason-{i} 1000")).collect();
        wrap(&mut out, "  dropped: ", &items);
        assert!(out.lines().count() > 1);
        assert!(out.lines().all(|l| l.len() <= WIDTH));
        assert!(
            out.lines()
                .skip(1)
                .all(|l| l.starts_with("           r") || l.starts_with("           1"))
        );
        let flat: String = out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(flat, format!("dropped: {}", items.join(", ")));
    }
}
