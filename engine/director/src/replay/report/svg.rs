//! Plots as inline SVG: lines over a linear or logarithmic axis, and bars. Colours come from the
//! page, so that paper and dark screens have theirs.

use std::fmt::Write;

/// Size in the SVG's own units, about pixels: the page scales it to its column, which is a third
/// narrower on a phone, so that what is written in it stays legible there.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 220.0;
/// Room for the labels.
const LEFT: f64 = 52.0;
const BOTTOM: f64 = 36.0;
const TOP: f64 = 26.0;
const RIGHT: f64 = 32.0;
/// Of a bar with its gap.
const BAR: f64 = 26.0;
/// Room for the bars' names and numbers.
const NAMES: f64 = 190.0;
const NUMBERS: f64 = 92.0;

/// A line of a plot: its CSS class, its name, and its points.
pub(super) type Line<'a> = (&'a str, &'a str, Vec<(f64, f64)>);

/// Labelled places on an axis, rising.
pub(super) type Marks = Vec<(f64, String)>;

/// An axis of a plot: where it ends, its marks, and what it is of.
pub(super) struct Axis<'a> {
    pub(super) end: f64,
    pub(super) marks: Marks,
    pub(super) name: &'a str,
}

/// Lines over common axes; x begins at 0, `unit` is that of y, which begins at 0 too unless it is
/// logarithmic.
pub(super) fn lines(
    title: &str,
    x: &Axis<'_>,
    unit: &str,
    logarithmic: bool,
    lines: &[Line<'_>],
) -> String {
    let values = || lines.iter().flat_map(|l| l.2.iter()).map(|p| p.1);
    let y_marks = match logarithmic {
        true => decades(values()),
        false => marks(values().fold(0.0, f64::max), short),
    };
    let place = |y: f64| if logarithmic { y.max(f64::MIN_POSITIVE).log10() } else { y };
    let ends = [y_marks.first(), y_marks.last()].map(|m| place(m.map_or(0.0, |m| m.0)));
    let at_x = |x_at: f64| LEFT + x_at / x.end.max(f64::MIN_POSITIVE) * (WIDTH - LEFT - RIGHT);
    let at_y = |y: f64| {
        let share = (place(y) - ends[0]) / (ends[1] - ends[0]);
        HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - BOTTOM - TOP)
    };
    let mut out = begin(title, HEIGHT);
    for (y, label) in &y_marks {
        let (at, right) = (at_y(*y), WIDTH - RIGHT);
        add(
            &mut out,
            format_args!("<line class='grid' x1='{LEFT}' x2='{right}' y1='{at:.1}' y2='{at:.1}'/>"),
        );
        add(
            &mut out,
            format_args!(
                "<text class='end' x='{:.1}' y='{:.1}'>{label}</text>",
                LEFT - 6.0,
                at + 4.0,
            ),
        );
    }
    for (value, label) in x.marks.iter().filter(|m| m.0 <= x.end * 1.0001) {
        let (at, under) = (at_x(*value), HEIGHT - BOTTOM + 16.0);
        add(&mut out, format_args!("<text class='mid' x='{at:.1}' y='{under:.1}'>{label}</text>"));
    }
    let (middle, last, name) = (f64::midpoint(LEFT, WIDTH - RIGHT), HEIGHT - 4.0, x.name);
    add(&mut out, format_args!("<text class='mid' x='{middle}' y='{last}'>{name}</text>"));
    add(&mut out, format_args!("<text x='0' y='12'>{unit}</text>"));
    for (n, (class, name, points)) in lines.iter().enumerate() {
        let path: String =
            points.iter().map(|(x, y)| format!("{:.1},{:.1} ", at_x(*x), at_y(*y))).collect();
        add(&mut out, format_args!("<polyline class='{class}' points='{}'/>", path.trim_end()));
        if lines.len() > 1 {
            // Above the plot, the first one leftmost.
            let at = WIDTH - RIGHT - (lines.len() - 1 - n) as f64 * 74.0;
            let down = 12.0;
            add(
                &mut out,
                format_args!("<text class='end {class}' x='{at}' y='{down}'>{name}</text>"),
            );
        }
    }
    out.push_str("</svg>");
    out
}

/// Bars side by side from the left, each with its name and what is written behind it.
pub(super) fn bars(title: &str, class: &str, bars: &[(String, f64, String)]) -> String {
    let most = bars.iter().map(|b| b.1).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let mut out = begin(title, bars.len() as f64 * BAR + 4.0);
    for (n, (name, value, text)) in bars.iter().enumerate() {
        let top = n as f64 * BAR + 4.0;
        let long = (value / most * (WIDTH - NAMES - NUMBERS)).max(1.0);
        let line = top + 14.0;
        add(
            &mut out,
            format_args!(
                "<text class='end' x='{}' y='{line}'>{}</text>",
                NAMES - 8.0,
                escape(name)
            ),
        );
        add(
            &mut out,
            format_args!(
                "<rect class='{class}' x='{NAMES}' y='{top}' width='{long:.1}' height='18'/>"
            ),
        );
        add(
            &mut out,
            format_args!("<text x='{:.1}' y='{line}'>{}</text>", NAMES + long + 6.0, escape(text)),
        );
    }
    out.push_str("</svg>");
    out
}

/// About five marks from 0 to `most`, written by `label`.
pub(super) fn marks(most: f64, label: impl Fn(f64) -> String) -> Marks {
    let (end, step) = scale(most);
    let count = (end / step).round() as usize;
    (0..=count).map(|n| n as f64 * step).map(|v| (v, label(v))).collect()
}

/// Text as HTML has it.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&quot;")
}

/// Three digits and a unit.
pub(super) fn short(n: f64) -> String {
    let (scaled, unit) = match n {
        n if n >= 1e9 => (n / 1e9, "G"),
        n if n >= 1e6 => (n / 1e6, "M"),
        n if n >= 1e4 => (n / 1e3, "k"),
        n => (n, ""),
    };
    let digits = match scaled {
        whole if whole.fract() == 0.0 => 0,
        s if s >= 100.0 => 0,
        s if s >= 10.0 => 1,
        _ => 2,
    };
    format!("{scaled:.digits$}{unit}")
}

/// Marks at the powers of ten around all values above 0.
fn decades(values: impl Iterator<Item = f64> + Clone) -> Marks {
    let logs = values.filter(|v| *v > 0.0).map(f64::log10);
    let first = logs.clone().fold(f64::INFINITY, f64::min).floor();
    let last = logs.fold(f64::NEG_INFINITY, f64::max).ceil();
    // Nothing above 0, or all of one power: one decade all the same.
    let first = if first.is_finite() { first as i32 } else { 0 };
    let last = if last.is_finite() { (last as i32).max(first + 1) } else { first + 1 };
    let label = |v: f64| if v < 1.0 { format!("{v}") } else { short(v) };
    (first..=last).map(|n| 10_f64.powi(n)).map(|v| (v, label(v))).collect()
}

/// A round end at or above `most`, and a step of which a few fit.
fn scale(most: f64) -> (f64, f64) {
    if most <= 0.0 {
        return (1.0, 1.0);
    }
    let rough = most / 4.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|n| n * power).into_iter().find(|s| *s >= rough);
    let step = step.unwrap_or(10.0 * power);
    ((most / step).ceil() * step, step)
}

fn begin(title: &str, height: f64) -> String {
    format!(
        "<svg role='img' aria-label='{0}' viewBox='0 0 {WIDTH} {height}' \
         preserveAspectRatio='xMinYMin meet'><title>{0}</title>",
        escape(title)
    )
}

fn add(out: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers_above() {
        for (most, expected) in [(0.0, (1.0, 1.0)), (9.0, (10.0, 2.5)), (101.0, (150.0, 50.0))] {
            let (end, step) = scale(most);
            assert!((end - expected.0).abs() < 1e-9 && (step - expected.1).abs() < 1e-9, "{most}");
        }
    }

    #[test]
    fn numbers_are_short() {
        let of = |n| short(n);
        assert_eq!([of(0.0), of(2.5), of(37.5), of(250.0)], ["0", "2.50", "37.5", "250"]);
        assert_eq!([of(2500.0), of(25_000.0), of(1.25e6)], ["2500", "25k", "1.25M"]);
    }

    #[test]
    fn names_cannot_break_the_page() {
        let svg = bars("a 'b' <c>", "in", &[("<x>".into(), 1.0, "1 & 2".into())]);
        assert!(svg.contains("&lt;x&gt;") && svg.contains("1 &amp; 2"));
        assert!(!svg.contains("<x>") && !svg.contains("<c>"));
    }

    #[test]
    fn a_line_stays_within_its_frame() {
        let points: Vec<_> = (0..10).map(|n| (f64::from(n), f64::from(n * n))).collect();
        let x = Axis { end: 9.0, marks: marks(9.0, short), name: "s" };
        for logarithmic in [false, true] {
            let svg = lines("t", &x, "fps", logarithmic, &[("in", "in", points.clone())]);
            let path = svg.split("points='").nth(1).unwrap().split('\'').next().unwrap();
            for point in path.split(' ') {
                let (x, y) = point.split_once(',').unwrap();
                let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
                assert!((LEFT..=WIDTH - RIGHT).contains(&x));
                assert!((TOP..=HEIGHT - BOTTOM).contains(&y));
            }
        }
    }

    #[test]
    fn decades_hold_all_values() {
        let of = |values: &[f64]| decades(values.iter().copied()).into_iter().map(|m| m.1);
        assert_eq!(
            of(&[0.2, 43_000.0]).collect::<Vec<_>>().join(" "),
            "0.1 1 10 100 1000 10k 100k"
        );
        assert_eq!(of(&[10.0]).collect::<Vec<_>>(), ["10", "100"]);
        assert_eq!(of(&[0.0]).collect::<Vec<_>>(), ["1", "10"]);
    }
}
