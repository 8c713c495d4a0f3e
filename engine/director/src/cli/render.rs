//! `pointsman status` for people, in 80 columns.

use crate::control::status::DestStatus;
use crate::control::status::Law;
use crate::control::status::Status;
use crate::control::status::TunnelStatus;
use std::collections::BTreeMap;
use std::fmt::Write;

const WIDTH: usize = 80;
/// Neighbours shown; the rest are in `--json`.
const NEIGHBOURS: usize = 32;
/// Local addresses shown; likewise.
const LOCALS: usize = 32;
const DEST_HEADS: [&str; 8] =
    ["weight", "active", "inact", "conns", "in pk", "in by", "out pk", "out by"];

/// All that matters; counters that are 0 are left out where there are many.
pub(super) fn status(s: &Status) -> String {
    let mut out = String::new();
    head(&mut out, s);
    ports(&mut out, s);
    workers(&mut out, s);
    services(&mut out, s);
    locals(&mut out, s);
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
        let said = format!("reload {} ago: {ok}{}", duration(ago), s.config.last_reload);
        let first = said.lines().next().unwrap_or_default();
        // The rest is in the log and in --json.
        let short: String = first.chars().take(WIDTH - 4).collect();
        line(out, &if short == said { said } else { format!("{short} ...") });
    }
    let (used, of) = (number(s.conns.used), number(s.conns.capacity));
    let opened = number(s.conns.opened);
    line(out, &format!("conns {used} of {of}, {opened} opened; leases {}", number(s.leases)));
    let strangers =
        [("routed", s.routed), ("martian replies", s.martian_replies), ("defended", s.defended)];
    let strangers: Vec<_> =
        strangers.iter().filter(|c| c.1 > 0).map(|c| format!("{} {}", c.0, number(c.1))).collect();
    wrap(out, "", &strangers);
    for c in &s.conflicts {
        let (since, seen) = (duration(c.since_seconds), duration(c.last_seen_seconds));
        line(out, &format!("CONFLICT: another host answers for VIP {}", c.vip));
        let (mac, port) = (&c.mac, &c.port);
        line(out, &format!("  {mac} on {port} for {since}, last {seen} ago: see its ARP settings"));
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
        let errors = [
            ("rx errors", p.rx_errors),
            ("tx errors", p.tx_errors),
            ("no free frame", p.no_frame),
            ("larger than a buffer", p.scattered),
        ];
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
        let persistent = service.persistent.map(|s| format!(" persistent {s}")).unwrap_or_default();
        let (scheduler, forward) = (&service.scheduler, &service.forward);
        line(out, &format!("{plain} {scheduler} {forward}{persistent}{name}"));
        let (e, mut short) = (&service.exhausted, Vec::new());
        let counts = [
            ("no-lease", e.no_lease),
            ("table-full", e.table_full),
            ("reply-clash", e.reply_clash),
        ];
        short.extend(counts.iter().filter(|c| c.1 > 0).map(|c| pair(c.0, c.1)));
        wrap(out, "  exhausted: ", &short);
        let counts = [("packets", service.denied.packets), ("conns", service.denied.conns)];
        let denied: Vec<_> = counts.iter().filter(|c| c.1 > 0).map(|c| pair(c.0, c.1)).collect();
        wrap(out, "  denied: ", &denied);
        row(out, 22, "", &DEST_HEADS);
        service.dests.iter().for_each(|d| dest(out, d, Some(forward)));
        if service.dests.is_empty() {
            line(out, "  no dest: clients are refused");
        }
    }
    for rule in &s.snat {
        out.push('\n');
        line(out, &format!("snat \"{}\" {}", rule.name, rule.scheduler));
        wrap(out, "  from ", &rule.sources);
        row(out, 22, "", &DEST_HEADS);
        rule.dests.iter().for_each(|d| dest(out, d, None));
    }
    if !s.removed.is_empty() {
        out.push('\n');
        line(out, "removed, with conns that go on to their end");
        row(out, 22, "", &DEST_HEADS);
    }
    for removed in &s.removed {
        dest(out, &removed.dest, Some(""));
        line(out, &format!("     of {}", removed.service));
    }
}

/// `said` is the method that stands above; none where that is nobody's question.
fn dest(out: &mut String, d: &DestStatus, said: Option<&str>) {
    let counters =
        [d.active, d.inactive, d.conns, d.in_packets, d.in_bytes, d.out_packets, d.out_bytes];
    let mut cells = vec![d.weight.to_string()];
    cells.extend(counters.map(number));
    row(out, 22, &format!("  {}", d.address), &cells);
    let mut more = Vec::new();
    more.extend(d.full.then(|| "full".to_owned()));
    more.extend((d.persistent > 0).then(|| pair("templates", d.persistent)));
    wrap(out, "     ", &more);
    let at = match &d.mac {
        Some(mac) => mac.clone(),
        // As many next hops as its conns have destinations.
        None if d.hop == d.address => return,
        None => d.hop.to_uppercase(),
    };
    let passed_over = match d.passed_over {
        0 => String::new(),
        n => format!(", passed over {}", number(n)),
    };
    let by = match said.is_some_and(|said| said != d.forward) && !d.forward.is_empty() {
        true => format!(", {}", d.forward),
        false => String::new(),
    };
    line(out, &format!("     {at} on {}{by}{passed_over}", d.port));
    if let Some(tunnel) = &d.tunnel {
        let TunnelStatus { kind, source, mtu } = tunnel;
        line(out, &format!("     {kind} from {source}, mtu {mtu}"));
    }
}

/// Local addresses with their ports; `free` is toward the busiest dest.
fn locals(out: &mut String, s: &Status) {
    if s.locals.is_empty() {
        return;
    }
    out.push('\n');
    row(out, 45, "local address", &["used", "lent", "free", "refus'd"]);
    for l in s.locals.iter().take(LOCALS) {
        row(
            out,
            45,
            &format!("  {}", l.address),
            &[l.used, l.lent, l.free, l.exhausted].map(number),
        );
        if let Some(b) = &l.busiest {
            let gone = if l.pools.is_empty() { ", in no pool any more" } else { "" };
            line(
                out,
                &format!("     {} toward {} {}{gone}", number(b.used), b.protocol, b.address),
            );
        }
    }
    if s.locals.len() > LOCALS {
        line(out, &format!("  and {} more (--json)", s.locals.len() - LOCALS));
    }
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
pub(crate) fn law(out: &mut String, law: &Law) {
    out.push('\n');
    let holds = if law.holds { "holds" } else { "DOES NOT HOLD" };
    line(out, &format!("law {holds}: {} in, {} out", law.inputs, law.outputs));
    let received = vec![pair("received", law.received)];
    let taken_over = vec![pair("taken over", law.taken_over)];
    wrap(out, "  in:  ", &[received, named("made", &law.made), taken_over].concat());
    let left =
        [("sent", law.sent), ("handed over", law.handed_over), ("to control", law.to_control)];
    let left: Vec<_> = left.iter().map(|(name, n)| pair(name, *n)).collect();
    let rest = vec![pair("held", law.held), pair("dropped", law.dropped.values().sum())];
    wrap(out, "  out: ", &[left, named("consumed", &law.consumed), rest].concat());
    let reasons = law.dropped.iter().filter(|(_, n)| **n > 0);
    let reasons: Vec<_> = reasons.map(|(name, n)| pair(name, *n)).collect();
    wrap(out, "  dropped: ", &reasons);
}

/// A total and its parts, as items of a list: `made 3 (reset 1`, `control 2)`.
fn named(name: &str, parts: &BTreeMap<String, u64>) -> Vec<String> {
    let shown = parts.iter().filter(|(_, n)| **n > 0);
    let mut items: Vec<_> = shown.map(|(part, n)| pair(part, *n)).collect();
    let total = pair(name, parts.values().sum());
    let (Some(first), true) = (items.first_mut(), parts.len() > 1) else { return vec![total] };
    *first = format!("{total} ({first}");
    items.last_mut().into_iter().for_each(|last| last.push(')'));
    items
}

fn pair(name: &str, n: u64) -> String {
    format!("{name} {n}")
}

/// Items separated by commas, in lines that begin with `indent` or as much space.
pub(crate) fn wrap(out: &mut String, indent: &str, items: &[String]) {
    let mut current = indent.to_owned();
    for (i, item) in items.iter().enumerate() {
        let end = if i + 1 < items.len() { "," } else { "" };
        let is_begun = current.len() > indent.len();
        if is_begun && current.len() + 1 + item.len() + end.len() > WIDTH {
            line(out, &current);
            current = " ".repeat(indent.len());
        } else if is_begun {
            current.push(' ');
        }
        current.push_str(item);
        current.push_str(end);
    }
    if !items.is_empty() {
        line(out, &current);
    }
}

/// A first column of at least `width`, and cells right-aligned below each other. A first column
/// that is too long has a line of its own.
pub(crate) fn row<T: AsRef<str>>(out: &mut String, width: usize, first: &str, cells: &[T]) {
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

pub(crate) fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// At most 5 characters: 99999, 123k, 1.23M, 45.6G.
pub(crate) fn number(n: u64) -> String {
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

pub(crate) fn percent(share: f64) -> String {
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

    /// Everything at its widest: IPv6, big numbers, conflicts, removed dests.
    fn sample() -> Status {
        let dest = serde_json::json!({
            "address": "[2001:db8:1111:2222:3333:4444:5555:6666]:65535", "weight": 65535,
            "forward": "fullnat", "port": "lan", "hop": "dead", "mac": null, "active": u64::MAX, "inactive": 99_999,
            "conns": u64::MAX, "in_packets": u64::MAX, "in_bytes": u64::MAX,
            "out_packets": 0, "out_bytes": u64::MAX, "passed_over": 1234,
            "tunnel": { "kind": "gue 65535 remcsum", "mtu": 65535,
                "source": "2001:db8:1111:2222:3333:4444:5555:6666" },
        });
        let mut removed = dest.clone();
        removed["service"] = "tcp 10.1.0.100:80".into();
        let mut by_route = dest.clone();
        (by_route["address"], by_route["hop"]) = ("by route".into(), "by route".into());
        let law = crate::control::law(&[pointsman_dataplane::stats::WorkerStats::default()]);
        let mut law = serde_json::to_value(law).unwrap();
        for count in law["dropped"].as_object_mut().unwrap().values_mut() {
            *count = 1_000_000.into();
        }
        serde_json::from_value(serde_json::json!({
            "version": "0.1.0", "pid": 4_194_304, "uptime_seconds": 1e9,
            "config": {
                "file": "/etc/pointsman/pointsman.toml", "reloads": 7, "last_reload_ok": false,
                "last_reload": "p.toml:1:1: error: long ".repeat(9) + "\nsecond line",
                "last_reload_seconds_ago": 61.5,
            },
            "ports": [{
                "name": "wan", "device": "0000:03:00.0", "driver": "net_af_packet",
                "mac": "02:00:00:00:00:01", "addresses": ["10.1.0.254/24"], "link_up": true,
                "speed_mbps": 10_000, "mtu": 1500, "multicast": "promiscuous",
                "fixed_queue": false, "rx_packets": u64::MAX, "rx_bytes": u64::MAX,
                "tx_packets": u64::MAX, "tx_bytes": u64::MAX, "missed": u64::MAX,
                "rx_errors": 0, "tx_errors": 3, "no_frame": u64::MAX,
            }],
            "workers": [{
                "core": 127, "received": u64::MAX, "sent": 5, "busy": 1.0,
                "handed_over_share": 0.5, "handed_over": 1, "taken_over": 1, "lone": 2, "conns": 9,
                "conns_capacity": 10, "turns": 1, "busy_turns": 1, "law_holds": true,
            }],
            "services": [
                { "name": "web", "protocol": "tcp", "address": "10.1.0.100:80",
                  "scheduler": "wlc", "forward": "fullnat+dr", "dests": [dest] },
                { "name": "udp 10.1.0.100:53", "protocol": "udp", "address": "10.1.0.100:53",
                  "scheduler": "rr", "forward": "nat", "dests": [],
                  "exhausted": { "no_lease": 5, "table_full": 0, "reply_clash": 6 },
                  "denied": { "packets": 7, "conns": 8 } },
            ],
            "snat": [
                { "name": "out", "sources": ["10.2.0.0/24", "2001:db8:2::/64"],
                  "scheduler": "sh", "dests": [by_route] },
            ],
            "removed": [removed],
            "conns": { "used": 9, "capacity": 1_048_576, "opened": 12 },
            "leases": 3,
            "locals": [{
                "address": "2001:db8:1111:2222:3333:4444:5555:6666", "pools": ["l"],
                "used": u64::MAX, "lent": 12, "free": 64_511, "exhausted": 7, "busiest": {
                    "protocol": "tcp", "used": 99_999,
                    "address": "[2001:db8:1111:2222:3333:4444:5555:6666]:65535",
                },
            }],
            "neighbours": { "capacity": 4096, "entries": [
                { "port": "lan", "address": "2001:db8:1111:2222:3333:4444:5555:6666",
                  "state": "incomplete", "mac": null },
            ]},
            "conflicts": [{
                "vip": "2001:db8:1111:2222:3333:4444:5555:6666", "mac": "02:00:00:00:00:99",
                "port": "wan", "since_seconds": 7200.0, "last_seen_seconds": 3.0,
            }],
            "answers_limited": 0,
            "routed": u64::MAX, "martian_replies": u64::MAX,
            "law": law,
            "control": { "frames": 1, "frames_lost": 0, "snapshots": 1 },
        }))
        .unwrap()
    }

    #[test]
    fn status_fits_80_columns_and_says_what_matters() {
        let text = status(&sample());
        let widest = text.lines().max_by_key(|l| l.chars().count()).unwrap();
        assert!(widest.chars().count() <= WIDTH, "{widest}");
        for part in [
            "pointsman 0.1.0, pid 4194304, up 11574d01h",
            "reload 1m01s ago: REFUSED, the old one goes on: p.toml:1:1",
            "conns 9 of 1.05M, 12 opened; leases 3",
            "CONFLICT: another host answers for VIP 2001:db8:1111:2222:3333:4444:5555:6666\n",
            "  02:00:00:00:00:99 on wan for 2h00m, last 3s ago: see",
            "wan 10G 02:00:00:00:00:01",
            "tx errors 3, no free frame 18446744073709551615",
            "0 core 127                             100.0%  18.4E      5  50.0%      9",
            "tcp 10.1.0.100:80 wlc fullnat+dr \"web\"",
            "udp 10.1.0.100:53 rr nat\n",
            "no dest: clients are refused",
            "snat \"out\" sh\n  from 10.2.0.0/24, 2001:db8:2::/64\n",
            "  by route              65535",
            "  [2001:db8:1111:2222:3333:4444:5555:6666]:65535\n",
            "65535  18.4E  99999  18.4E  18.4E  18.4E      0  18.4E",
            "DEAD on lan, fullnat, passed over 1234\n",
            "  exhausted: no-lease 5, reply-clash 6\n",
            "  denied: packets 7, conns 8\n",
            "  2001:db8:1111:2222:3333:4444:5555:6666       18.4E     12  64511      7\n",
            "     99999 toward tcp [2001:db8:1111:2222:3333:4444:5555:6666]:65535\n",
            "of tcp 10.1.0.100:80",
            "law holds: 0 in, 0 out",
            "closed-port 1000000",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("rx errors"));
    }

    #[test]
    fn drop_reasons_that_are_0_are_left_out_and_a_broken_law_shouts() {
        let mut s = sample();
        s.law.dropped.values_mut().for_each(|n| *n = 0);
        s.law.dropped.insert("no-dest".into(), 5);
        s.law.holds = false;
        let text = status(&s);
        assert!(text.contains("law DOES NOT HOLD"), "{text}");
        assert!(text.contains("dropped: no-dest 5\n") && !text.contains("closed-port"), "{text}");
    }
}
