//! What `pointsman replay` is asked for.

use super::made::Vip;
use super::policy::Large;
use super::policy::Snapped;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Fewer than `run` takes: each has memory for the frames that it may hold, whether it does or not.
const MAX_WORKERS: u8 = 16;

/// What is asked for.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Without --config, and where no frame of the capture meets a service of it, each
TCP and UDP conversation of the capture becomes a client of a service: --map.
Next hops, their MACs and those of the ports are made up, time is the capture's.
Exits 0 when all checks held, 1 when one did not or a capture is cut off, 2 when
the input is refused, nothing of it can be fed, or a file cannot be written.
SIGINT and SIGTERM end the feed: what came before is reported, the exit code is
130. A second one ends it at once.")]
pub struct Args {
    /// What comes in: pcap or pcapng, Ethernet; one after another
    #[arg(value_name = "CAPTURE", required_unless_present = "input")]
    pub(super) captures: Vec<PathBuf>,
    /// The same, as it was once said
    #[arg(short, long = "in", value_name = "CAPTURE", hide = true)]
    pub(super) input: Vec<PathBuf>,
    /// The configuration; its devices are not opened
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Feed frames as captured, by the port toward their source
    #[arg(long, conflicts_with = "map", requires = "config")]
    pub(super) as_is: bool,
    /// Make every conversation a client of this service, such as
    /// 192.0.2.1:80 or [2001:db8::1]:53/udp; may be given several times
    #[arg(long, verbatim_doc_comment, value_name = "VIP:PORT[/PROTO]")]
    pub(super) map: Vec<Vip>,
    /// How the made-up service forwards [default: fullnat]
    #[arg(long, ignore_case = true, value_name = "METHOD", conflicts_with = "config")]
    pub(super) forward: Option<Forward>,
    /// Dests of the made-up service
    #[arg(long, value_name = "N", default_value_t = 4, conflicts_with = "config",
        value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub(super) dests: u32,
    /// Its scheduler
    #[arg(long, value_name = "NAME", default_value = "rr", conflicts_with = "config")]
    pub(super) scheduler: String,
    /// Conns there is room for, with a made-up service
    #[arg(long, value_name = "N", default_value_t = 1 << 20, conflicts_with = "config",
        value_parser = clap::value_parser!(u32).range(1024..=(1 << 30) - 1))]
    pub(super) table: u32,
    /// Make up the handshake of conversations that began before the capture
    /// (the default)
    #[arg(long, verbatim_doc_comment, overrides_with = "no_pickup",
        conflicts_with_all = ["as_is", "port"])]
    pub(super) pickup: bool,
    /// Skip these
    #[arg(long, conflicts_with_all = ["as_is", "port"])]
    pub(super) no_pickup: bool,
    /// Frames cut off by the capture's snap length
    #[arg(long, value_enum, ignore_case = true, value_name = "WHAT", default_value = "pad")]
    pub(super) snapped: Snapped,
    /// Frames above the ports' mtu (1,518 bytes and more)
    #[arg(long, value_enum, ignore_case = true, value_name = "WHAT", default_value = "cut")]
    pub(super) large: Large,
    /// The port all frames come in by, whatever their source; with --as-is
    #[arg(short, long, value_name = "NAME", conflicts_with = "map")]
    pub(super) port: Option<String>,
    /// Workers; frames are spread over them by addresses and ports
    #[arg(short, long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_WORKERS)))]
    pub(super) workers: u8,
    /// Replay the captures so many times, one after another
    #[arg(long = "loop", value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) rounds: u64,
    /// Multiply each conversation by so many clients; with --map
    #[arg(long, value_name = "N", default_value_t = 1,
        conflicts_with_all = ["as_is", "port"],
        value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(super) conns: u32,
    /// How fast: "flat" out, as "captured", a factor ("2x", "0.5x"), or frames
    /// a second ("200k", "1M")
    #[arg(long, verbatim_doc_comment, value_name = "RATE", default_value = "flat")]
    pub(super) rate: Rate,
    /// Where to write what leaves: pcapng, an interface for each port
    #[arg(short, long = "out", value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Write the report as a page with plots, too
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// All of the report, for programs
    #[arg(long)]
    pub(super) json: bool,
}

impl Args {
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.captures.iter().chain(&self.input).cloned().collect()
    }
}

/// How a made-up service forwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum Forward {
    Fullnat,
    Nat,
    Dr,
    Tunnel,
}

impl Forward {
    /// Its name in a configuration.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fullnat => "fullnat",
            Self::Nat => "nat",
            Self::Dr => "dr",
            Self::Tunnel => "tunnel",
        }
    }
}

/// How fast frames are fed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Rate {
    /// As fast as they can be.
    Flat,
    /// By the capture's stamps, so many times as fast.
    Times(f64),
    /// So many a second.
    PerSecond(f64),
}

impl Rate {
    /// When the frame of capture time `at` is due, the `n`-th from 1; none: as soon as can be.
    pub(super) fn due(self, at: u64, n: u64) -> Option<Duration> {
        match self {
            Self::Flat => None,
            Self::Times(factor) => Some(Duration::from_nanos((at as f64 / factor) as u64)),
            Self::PerSecond(rate) => {
                Some(Duration::from_secs_f64(n.saturating_sub(1) as f64 / rate))
            }
        }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flat => f.write_str("flat"),
            Self::Times(factor) => write!(f, "{factor}x"),
            Self::PerSecond(rate) => write!(f, "{rate} frames/s"),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str, unit: f64| {
            let n = digits.parse::<f64>().ok().map(|n| n * unit);
            // A frame in eleven days is slow enough.
            n.filter(|n| n.is_finite() && *n >= 1e-6)
        };
        let text = text.trim_end_matches("pps");
        let rate = match (text, text.as_bytes().last()) {
            ("flat", _) => Some(Self::Flat),
            ("captured", _) => Some(Self::Times(1.0)),
            (_, Some(b'x')) => number(&text[..text.len() - 1], 1.0).map(Self::Times),
            (_, Some(b'k')) => number(&text[..text.len() - 1], 1e3).map(Self::PerSecond),
            (_, Some(b'M')) => number(&text[..text.len() - 1], 1e6).map(Self::PerSecond),
            _ => number(text, 1.0).map(Self::PerSecond),
        };
        rate.ok_or_else(|| {
            "\n  give flat, captured, a factor such as 2x, or frames a second such as 200k".into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let of = |text: &str| text.parse::<Rate>();
        assert_eq!(of("flat"), Ok(Rate::Flat));
        assert_eq!(of("captured"), Ok(Rate::Times(1.0)));
        assert_eq!(of("0.5x"), Ok(Rate::Times(0.5)));
        assert_eq!(of("200kpps"), Ok(Rate::PerSecond(200_000.0)));
        assert_eq!(of("1.5M"), Ok(Rate::PerSecond(1_500_000.0)));
        for wrong in ["", "x", "0", "-1", "nan", "infx", "fast"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
