//! The report as one page that needs nothing else: figures, plots, tables.

use super::Report;
use super::count;
use super::svg;
use super::svg::escape;
use super::svg::short;
use crate::replay::series::Interval;
use crate::replay::tally::Lost;
use std::fmt::Write;

/// Dests and drops that have a bar of their own.
const BARS: usize = 24;
/// Conversations shown of each list.
const LISTED: usize = 100;

const STYLE: &str = "
:root{--ink:#1b1f24;--soft:#5c6670;--line:#d8dde2;--paper:#fff;--panel:#f5f7f9;--a:#0b66c3;--b:#c2410c;--good:#15803d;--bad:#b91c1c}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa5b1;--line:#343b43;--paper:#14181c;--panel:#1d2228;--a:#5aa9f5;--b:#f59e5b;--good:#4ade80;--bad:#f87171}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1080px;padding:24px 16px 48px;font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
h1,h2{overflow-wrap:anywhere}h1{font-size:24px;margin:0 0 4px}h2{font-size:17px;margin:32px 0 8px}
p{margin:4px 0;color:var(--soft);overflow-wrap:anywhere}
.verdict{font-weight:600}.ok{color:var(--good)}.bad{color:var(--bad)}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:10px;margin:16px 0}
.figures div{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:10px 12px}
.figures b{display:block;font-size:20px;font-variant-numeric:tabular-nums}
.figures span{color:var(--soft);font-size:13px}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:8px 28px}
figure{margin:0;min-width:0}figcaption{font-weight:600;margin:12px 0 4px}
svg{width:100%;height:auto;display:block}
svg text{font:13px system-ui,sans-serif;fill:var(--soft)}
svg .end{text-anchor:end}svg .mid{text-anchor:middle}
svg .grid{stroke:var(--line)}svg polyline{fill:none;stroke-width:1.8;stroke-linejoin:round}
svg polyline.a{stroke:var(--a)}svg polyline.b{stroke:var(--b)}svg text.a{fill:var(--a)}svg text.b{fill:var(--b)}
svg rect.a{fill:var(--a)}svg rect.b{fill:var(--b)}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:4px 12px 4px 0;border-bottom:1px solid var(--line);vertical-align:top;white-space:nowrap}
th{color:var(--soft);font-weight:500}td.n,th.n{text-align:right}td.t{white-space:normal;overflow-wrap:break-word}
@media print{:root{--ink:#000;--soft:#333;--line:#bbb;--paper:#fff;--panel:#fff;--a:#000;--b:#888;--good:#000;--bad:#000}
body{max-width:none;padding:0;font-size:11px}.wide{overflow:visible}td,th{padding-right:8px}figure,tr,.figures div{break-inside:avoid}h2{break-after:avoid}
svg polyline.b{stroke-dasharray:5 3}.plots{grid-template-columns:1fr 1fr}}
";

impl Report {
    pub(in crate::replay) fn html(&self) -> String {
        let title = format!("Replay of {}", self.captures.join(", "));
        let mut out = String::from("<!doctype html><html lang='en'><head><meta charset='utf-8'>");
        put(
            &mut out,
            format_args!(
                "<meta name='viewport' content='width=device-width,initial-scale=1'><title>{0}</title>\
             <style>{STYLE}</style></head><body><h1>{0}</h1>",
                escape(&title)
            ),
        );
        self.head(&mut out);
        self.figures(&mut out);
        self.plots(&mut out);
        self.dests(&mut out);
        self.check_table(&mut out);
        self.where_frames_went(&mut out);
        out.push_str("</body></html>\n");
        out
    }

    fn head(&self, out: &mut String) {
        let (class, verdict) = match self.wrong().len() {
            0 => ("ok", "All checks held".to_owned()),
            n => ("bad", format!("{n} of {} checks failed", self.checks.len())),
        };
        let i = &self.input;
        let services: Vec<_> =
            self.services.iter().filter(|s| s.conns() > 0).map(|s| s.name.as_str()).collect();
        put(out, format_args!("<p class='verdict {class}'>{verdict}.</p>"));
        put(
            out,
            format_args!(
                "<p>{}, {} bytes, {:.3} s of capture, {}; {} fed; {} on one core; pointsman {}.</p>",
                count(i.frames, "frame"),
                i.bytes,
                i.seconds,
                self.mode,
                count(self.ports.iter().map(|p| p.fed).sum(), "frame"),
                count(self.workers as u64, "worker"),
                self.version
            ),
        );
        if !self.options.is_empty() {
            put(out, format_args!("<p>As asked: {}.</p>", escape(&self.options.join(", "))));
        }
        if self.stopped {
            out.push_str("<p class='bad'>Stopped by a signal: this is of what came before it.</p>");
        }
        for l in &i.left_out {
            put(out, format_args!("<p>Left out: {}: {}.</p>", escape(&l.capture), escape(&l.why)));
        }
        let wall = self.wall_seconds;
        put(out, format_args!("<p>Took {wall:.3} s with reading and checking.</p>"));
        if let Some(kept) = self.rate_missed() {
            let text = "of the rate asked for: it was not kept";
            put(out, format_args!("<p class='bad'>{kept:.2} {text}.</p>"));
        }
        if !self.cost.enough {
            let n = count(self.cost.packets, "packet");
            let text = "too few to tell what they cost: --loop or --conns make more";
            put(out, format_args!("<p>{n} of 1,000: {text}.</p>"));
        }
        if self.cost.enough && !self.measured_alone {
            let text = "Costs are measured among the checks, which take caches";
            put(out, format_args!("<p>{text}: --rate flat has them apart.</p>"));
        }
        if !services.is_empty() {
            put(out, format_args!("<p>Services: {}</p>", escape(&services.join("; "))));
        }
    }

    fn figures(&self, out: &mut String) {
        let c = &self.cost;
        let maybe = |ns: Option<f64>| ns.map_or("&ndash;".into(), |ns| format!("{ns:.0} ns"));
        let cost = [
            (format!("{:.2} Mpps", c.mpps), "rate of the whole loop"),
            (format!("{:.2} Gbit/s", self.gbit_per_second), "the same in bits"),
            (format!("{:.0} ns", c.pipeline_ns), "a packet, pipeline alone"),
            (format!("{:.0}", c.pipeline_cycles), "cycles a packet, pipeline alone"),
            (format!("{:.0} ns", c.loop_ns), "a packet, whole loop"),
            (maybe(c.hit_ns), "a packet of a known conn"),
            (maybe(c.miss_ns), "a packet that opens one"),
            (c.opens_per_second.map_or("&ndash;".into(), short), "conns a second"),
            (format!("{:.1}", c.packets_per_burst), "packets a burst"),
        ];
        let state = [
            (self.conns_opened.to_string(), "conns opened"),
            (self.conns_left.to_string(), "conns left open"),
            (format!("{:.0} B", self.bytes_per_conn[0]), "memory a conn (v4)"),
        ];
        // Of few packets figures would say what memory costs at its first touch.
        let figures = cost.into_iter().filter(|_| c.enough).chain(state);
        out.push_str("<div class='figures'>");
        for (value, name) in figures {
            put(out, format_args!("<div><b>{value}</b><span>{name}</span></div>"));
        }
        out.push_str("</div>");
    }

    fn plots(&self, out: &mut String) {
        let (intervals, width) = (&self.over_time.intervals, self.over_time.width as f64 / 1e9);
        let over = |of: fn(&Interval) -> u64| {
            let counts: Vec<_> = intervals.iter().map(of).collect();
            rates(&counts, width, self.input.seconds)
        };
        let end = if self.input.seconds > 0.0 { self.input.seconds } else { width };
        let label = |s: f64| match end < 1.0 {
            true => format!("{} ms", short(s * 1e3)),
            false => format!("{} s", short(s)),
        };
        let time = svg::Axis { end, marks: svg::marks(end, label), name: "the capture's time" };
        out.push_str("<div class='plots'>");
        let mut plot = |caption: &str, unit: &str, lines: &[svg::Line<'_>]| {
            figure(out, caption, &svg::lines(caption, &time, unit, false, lines));
        };
        let [fed, dropped] = [over(|i| i.frames), over(|i| i.dropped)];
        plot("Rate over time", "frames/s", &[("a", "fed", fed), ("b", "dropped", dropped)]);
        plot("Bits over time", "bit/s", &[("a", "fed", over(|i| i.bytes * 8))]);
        plot("Conns opened over time", "conns/s", &[("a", "opened", over(|i| i.opened))]);
        if self.cost.enough && !self.cost.latency.is_empty() {
            figure(out, "Latency of a burst, by percentile", &self.latency());
        }
        self.loads(out);
        let drops: Vec<_> = self.law.dropped.iter().filter(|d| *d.1 > 0).collect();
        if !drops.is_empty() {
            let bars = drops.iter().map(|(name, n)| ((*name).clone(), **n as f64, n.to_string()));
            bar_figure(out, "Drops by name", "b", bars.collect());
        }
        out.push_str("</div>");
    }

    /// Over the nines of the percentile: 90 %, 99 % ... are as far apart from each other.
    fn latency(&self) -> String {
        let nines = |percent: f64| -(1.0 - percent / 100.0).log10();
        let points = |turns: &[(f64, u64)]| -> Vec<_> {
            let within = turns.iter().filter(|(p, _)| *p < 100.0);
            within.map(|(p, ns)| (nines(*p), *ns as f64 / 1e3)).collect()
        };
        let (points, idle) = (points(&self.cost.latency), points(&self.cost.idle));
        let names = ["50 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"];
        let marks = points[1..].iter().zip(names).map(|((x, _), name)| (*x, name.to_owned()));
        let end = points.last().map_or(0.0, |p| p.0);
        let x = svg::Axis { end, marks: marks.collect(), name: "share of bursts" };
        svg::lines(
            "Latency",
            &x,
            "\u{b5}s",
            true,
            &[("a", "turn", points), ("b", "idle spin", idle)],
        )
    }

    fn loads(&self, out: &mut String) {
        let of = |s: &super::Service| {
            s.dests
                .iter()
                .filter(|d| d.conns > 0)
                .map(|d| {
                    let text = format!("{} conns", d.conns);
                    (d.address.to_string(), d.conns as f64, text)
                })
                .collect::<Vec<_>>()
        };
        for service in self.services.iter().filter(|s| s.conns() > 0) {
            let caption = format!("Load of {}", service.name);
            bar_figure(out, &caption, "a", of(service));
        }
    }

    fn dests(&self, out: &mut String) {
        for service in self.services.iter().filter(|s| s.conns() > 0) {
            put(
                out,
                format_args!(
                    "<h2>{}</h2><div class='wide'><table><tr><th>dest</th>",
                    escape(&service.name)
                ),
            );
            for head in
                ["weight", "conns", "share", "packets in", "bytes in", "packets out", "bytes out"]
            {
                put(out, format_args!("<th class='n'>{head}</th>"));
            }
            out.push_str("</tr>");
            for d in &service.dests {
                let share = d.conns as f64 * 100.0 / service.conns().max(1) as f64;
                put(out, format_args!("<tr><td>{}</td>", d.address));
                let mut cells =
                    vec![d.weight.to_string(), d.conns.to_string(), format!("{share:.1} %")];
                cells.extend(d.traffic.map(|n| n.to_string()));
                cells.iter().for_each(|c| put(out, format_args!("<td class='n'>{c}</td>")));
                out.push_str("</tr>");
            }
            out.push_str("</table></div>");
        }
    }

    fn check_table(&self, out: &mut String) {
        out.push_str("<h2>Checks</h2><div class='wide'><table>");
        for c in &self.checks {
            let (class, mark) = if c.holds { ("ok", "held") } else { ("bad", "FAILED") };
            put(
                out,
                format_args!(
                    "<tr><td class='{class}'>{mark}</td><td class='t'>{}</td><td class='t'>{}</td></tr>",
                    escape(c.what),
                    escape(&c.detail)
                ),
            );
        }
        out.push_str("</table></div>");
    }

    fn where_frames_went(&self, out: &mut String) {
        out.push_str("<h2>Where frames went</h2><div class='wide'><table>");
        let mut row = |name: &str, n: u64| {
            if n > 0 {
                put(out, format_args!("<tr><td>{}</td><td class='n'>{n}</td></tr>", escape(name)));
            }
        };
        row("read", self.input.frames);
        row("not Ethernet", self.input.foreign_frames);
        if let Some(c) = &self.conversations {
            row("more of them, by --conns", c.copied);
            row("made up for handshakes", c.made_up);
            row("from dests straight to clients", c.direct);
        }
        self.skipped.iter().for_each(|(name, n)| row(&format!("skipped: {name}"), *n));
        self.ports.iter().for_each(|p| row(&format!("fed by {}", p.name), p.fed));
        self.law.made.iter().for_each(|(name, n)| row(&format!("made: {name}"), *n));
        self.ports.iter().for_each(|p| row(&format!("sent by {}", p.name), p.sent));
        self.law.consumed.iter().for_each(|(name, n)| row(&format!("consumed: {name}"), *n));
        self.law.dropped.iter().for_each(|(name, n)| row(&format!("dropped: {name}"), *n));
        out.push_str("</table></div>");
        let Some(c) = &self.conversations else { return };
        lost(out, "refused", c.refused, &c.listed);
        lost(out, "that lost frames", c.lossy, &c.listed_lossy);
    }
}

fn lost(out: &mut String, what: &str, n: u64, listed: &[Lost]) {
    if n == 0 {
        return;
    }
    put(out, format_args!("<h2>Conversations {what}: {n}</h2>"));
    put(out, format_args!("<p>{}</p>", escape(&Lost::by_reason(listed).join(", "))));
    out.push_str("<div class='wide'><table>");
    out.push_str("<tr><th>conversation</th><th class='n'>frames</th><th class='n'>left</th>");
    out.push_str("<th>dropped for</th></tr>");
    for l in listed.iter().take(LISTED) {
        let (name, reasons) = (escape(&l.conversation()), escape(&l.reasons().join(", ")));
        put(out, format_args!("<tr><td>{name}</td><td class='n'>{}</td>", l.frames));
        put(out, format_args!("<td class='n'>{}</td><td class='t'>{reasons}</td></tr>", l.left));
    }
    out.push_str("</table></div>");
    if listed.len() > LISTED {
        put(out, format_args!("<p>{} more: --json has all.</p>", listed.len() - LISTED));
    }
}

/// Counts of intervals as points of a plot: each in the middle of the time that it covers, the last
/// one of what the capture has of it. Where that is too little to tell it joins the one before.
fn rates(counts: &[u64], width: f64, end: f64) -> Vec<(f64, f64)> {
    let mut points: Vec<_> = (0_u32..)
        .zip(counts)
        .map(|(n, count)| (f64::from(n) * width, width, *count as f64))
        .collect();
    if let Some((begin, covered, count)) = points.pop() {
        let rest = (end - begin).clamp(0.0, covered);
        match points.last_mut() {
            Some(before) if rest < covered / 2.0 => {
                (before.1, before.2) = (before.1 + rest, before.2 + count);
            }
            None if rest <= 0.0 => points.push((begin, covered, count)),
            _ => points.push((begin, rest, count)),
        }
    }
    points.into_iter().map(|(begin, covered, n)| (begin + covered / 2.0, n / covered)).collect()
}

/// Bars of the largest, and a line that says what the others have.
fn bar_figure(out: &mut String, caption: &str, class: &str, mut bars: Vec<(String, f64, String)>) {
    bars.sort_by(|a, b| b.1.total_cmp(&a.1));
    let rest = bars.split_off(bars.len().min(BARS));
    let mut inner = svg::bars(caption, class, &bars);
    if let (Some(most), Some(least)) = (rest.first(), rest.last()) {
        let sum: f64 = rest.iter().map(|b| b.1).sum();
        put(
            &mut inner,
            format_args!(
                "<p>{} more: {} in all, {} to {} each</p>",
                rest.len(),
                short(sum),
                short(least.1),
                short(most.1)
            ),
        );
    }
    figure(out, caption, &inner);
}

fn figure(out: &mut String, caption: &str, svg: &str) {
    put(out, format_args!("<figure><figcaption>{}</figcaption>{svg}</figure>", escape(caption)));
}

fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_plotted_level_to_both_ends() {
        // 1,000 a second for 2.6 s, and of the last interval next to nothing.
        for (counts, end) in [(vec![1000, 1000, 600], 2.6), (vec![1000, 1000, 1], 2.001)] {
            let points = rates(&counts, 1.0, end);
            assert!(points.iter().all(|p| (p.1 - 1000.0).abs() < 1e-6), "{points:?}");
            assert!(points.iter().all(|p| p.0 > 0.0 && p.0 < end), "{points:?}");
            let area: f64 = counts.iter().sum::<u64>() as f64;
            assert!((area - 1000.0 * end).abs() < 1e-6);
        }
        assert_eq!(rates(&[7], 0.5, 0.0), [(0.25, 14.0)]);
        assert_eq!(rates(&[], 1.0, 0.0), []);
    }

    #[test]
    fn bars_beyond_those_that_fit_are_told_in_words_and_are_no_bar() {
        let bars = |n: u32| (0..n).map(|i| (i.to_string(), 100.0 - f64::from(i), String::new()));
        let of = |n| {
            let mut out = String::new();
            bar_figure(&mut out, "Load", "a", bars(n).collect());
            out
        };
        assert_eq!(of(24).matches("<rect").count(), 24);
        assert!(!of(24).contains(" more"));
        let many = of(41);
        assert_eq!(many.matches("<rect").count(), 24);
        assert!(many.contains("<p>17 more: 1156 in all, 60 to 76 each</p>"), "{many}");
        // The longest bar is the largest one's: as long as there is room.
        assert!(many.contains("width='178.0'"), "{many}");
    }
}
