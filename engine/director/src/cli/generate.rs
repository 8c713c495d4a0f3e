//! `pointsman generate`: captures of made traffic, for replay and for other tools.

use super::progress::Progress;
use super::stop::Stop;
use crate::io::pcap::CaptureWriter;
use pointsman_dataplane::tuple::Proto;
use pointsman_traffic::Family;
use pointsman_traffic::Sizes;
use pointsman_traffic::Traffic;
use pointsman_traffic::Workload;
use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::path::PathBuf;

/// The first frame's time: a round one, so that equal arguments give equal files.
const BEGIN: u64 = 1_700_000_000_000_000_000;
/// VIPs (RFC 5737, RFC 3849), those of a made-up service of replay.
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// What is asked for.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
The same arguments make the same file, whatever the machine. Conversations are
opened one after another, then frames of random ones follow; a TCP one is closed
by both ends before the one that takes its place is opened. The frames of a
handshake and of a close are 64 frames apart. Exits 130 where a signal stopped
it: what is written by then is a whole capture.")]
pub(super) struct Args {
    /// Where to write: pcap, with nanoseconds
    #[arg(value_name = "CAPTURE")]
    output: PathBuf,
    /// Conversations that stand at a time
    #[arg(long, value_name = "N", default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    conns: u32,
    /// Frames in all [default: 20 of each conversation]
    #[arg(long, value_name = "N")]
    packets: Option<u64>,
    /// 64 to 9018 bytes a frame, or imix; over IPv6 no
    /// frame has less than 78 with TCP, 66 with UDP
    #[arg(long, verbatim_doc_comment, value_name = "SIZE", default_value = "imix")]
    size: Sizes,
    /// New conversations a frame, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = share)]
    new: f64,
    /// Clients [default: one for each 32 conversations]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    clients: Option<u32>,
    /// Exponent of their spread (Zipf's law)
    #[arg(long, value_name = "S", default_value_t = 0.0, value_parser = exponent)]
    zipf: f64,
    /// Addresses
    #[arg(long, value_enum, ignore_case = true, value_name = "FAMILY", default_value = "v4")]
    family: Of,
    /// Write UDP datagrams instead of TCP conversations
    #[arg(long)]
    udp: bool,
    /// The IPv4 VIP of the clients
    #[arg(long, value_name = "ADDRESS", default_value_t = VIP)]
    vip: Ipv4Addr,
    /// The IPv6 VIP
    #[arg(long, value_name = "ADDRESS", default_value_t = VIP6)]
    vip6: Ipv6Addr,
    /// The port
    #[arg(long, value_name = "PORT", default_value_t = 80,
        value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Frames a second, by their stamps
    #[arg(long, value_name = "N", default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pps: u64,
    /// Another one makes other frames
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Of {
    V4,
    V6,
    Both,
}

/// How far it came.
pub(super) enum Done {
    All,
    /// A signal ended it; what is written is whole.
    Stopped,
}

/// Does it.
pub(super) fn generate(args: &Args) -> Result<Done, String> {
    let failed = |e: io::Error| format!("{}: cannot be written: {e}", args.output.display());
    let file = File::create(&args.output).map_err(failed)?;
    let mut writer = CaptureWriter::new(BufWriter::new(file)).map_err(failed)?;
    let workload = workload(args);
    let (least, stop) = (workload.least_frame(), Stop::on_signals());
    let mut traffic = Traffic::new(workload);
    let (mut frame, mut bytes, mut n) = (Vec::new(), 0, 0);
    let packets = args.packets.unwrap_or(u64::from(args.conns) * 20);
    let mut progress = Progress::new(packets > 0);
    while n < packets && !stop.is_asked() {
        traffic.next(&mut frame);
        bytes += frame.len() as u64;
        let since = u128::from(n) * 1_000_000_000 / u128::from(args.pps);
        writer.frame(BEGIN + since as u64, &frame).map_err(failed)?;
        n += 1;
        progress.show(n as f64 / packets as f64, n);
    }
    writer.finish().map_err(failed)?;
    drop(progress);
    let (path, opened) = (args.output.display(), traffic.opened());
    let mut text = format!("{path}: {n} frames, {bytes} bytes, {opened} conversations");
    if least > args.size.least() {
        let (proto, least_size) = (if args.udp { "UDP" } else { "TCP" }, args.size.least());
        text += &format!(
            "\n{proto} over IPv6 has {least} bytes without data: frames of {least_size} are that long"
        );
    }
    // Each is begun before any has data.
    if n == packets && opened < args.conns as usize {
        text += &format!("\n{packets} frames are too few to begin {} conversations", args.conns);
    }
    if n < packets {
        text += &format!("\nstopped by a signal: {} frames are not written", packets - n);
    }
    super::say(&text)?;
    Ok(if n < packets { Done::Stopped } else { Done::All })
}

fn workload(args: &Args) -> Workload {
    Workload {
        conns: args.conns as usize,
        clients: args.clients.unwrap_or(args.conns.div_ceil(32)) as usize,
        zipf: args.zipf,
        new_share: args.new,
        sizes: args.size,
        family: match args.family {
            Of::V4 => Family::V4,
            Of::V6 => Family::V6,
            Of::Both => Family::Both,
        },
        proto: if args.udp { Proto::Udp } else { Proto::Tcp },
        vip: (
            std::net::IpAddr::V4(args.vip).into(),
            std::net::IpAddr::V6(args.vip6).into(),
            args.port,
        ),
        seed: args.seed,
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|s| (0.0..=1.0).contains(s));
    share.ok_or_else(|| "give a share from 0 to 1".into())
}

fn exponent(text: &str) -> Result<f64, String> {
    let exponent = text.parse().ok().filter(|s| (0.0..=10.0).contains(s));
    exponent.ok_or_else(|| "give an exponent from 0 to 10".into())
}
