//! `[director]`, `[timeouts]` and `[ipvs]`.

use super::access;
use super::or;
use crate::model::Defend;
use crate::model::Director;
use crate::model::Hugepages;
use crate::model::Idle;
use crate::model::Ipvs;
use crate::model::Timeouts;
use crate::reader::Table;
use crate::reader::quote;
use crate::report::At;
use crate::report::Fault;
use crate::report::Report;
use std::path::PathBuf;

/// `[director]`; the settings themselves, and the places of those that are compared with each
/// other.
#[derive(Debug)]
pub(crate) struct RawDirector {
    pub(crate) settings: Director,
    pub(crate) cores: Vec<At<usize>>,
    pub(crate) control_core: Option<At<usize>>,
    pub(crate) mbufs: Option<At<u32>>,
    /// None: not given.
    pub(crate) conns: Option<At<u32>>,
}

/// The highest core that a kernel's affinity mask of the usual size can name (CPU_SETSIZE - 1).
const LAST_CORE: u64 = 1023;
/// DPDK's RTE_MAX_LCORE is 128 in the distributions' builds; one is the main thread's.
const MAX_WORKERS: usize = 127;
/// A socket's path with its final zero fits sun_path: unix(7).
const MAX_SOCKET: usize = 107;
/// 23 days in seconds: deadlines are 32-bit milliseconds, of which half is the past.
const MAX_TIMEOUT: u64 = 1_987_200;

impl RawDirector {
    pub(crate) fn read(report: &mut Report<'_>, table: &Table<'_, '_>) -> Self {
        let cores = read_cores(report, table);
        let control_core: Option<At<usize>> =
            table.number(report, "control_core", 0..=LAST_CORE, "");
        let mbufs: Option<At<u32>> = table.number(report, "mbufs", 1024..=1 << 24, "frames");
        let conns: Option<At<u32>> = table.number(report, "conns", 1024..=(1 << 30) - 1, "conns");
        let defaults = defaults();
        let settings = Director {
            cores: cores.as_ref().map(|list| list.value.iter().map(|core| core.value).collect()),
            control_core: control_core.map(|core| core.value),
            idle: or(table.word::<Idle>(report, "idle"), defaults.idle),
            conns: conns.map_or(defaults.conns, |conns| conns.value),
            templates: or(
                table.number(report, "templates", 1024..=1 << 26, "templates"),
                defaults.templates,
            ),
            neighbours: or(
                table.number(report, "neighbours", 64..=65_536, "neighbours"),
                defaults.neighbours,
            ),
            socket: or(table.parsed(report, "socket", parse_socket), defaults.socket),
            secret: or(table.parsed(report, "secret", parse_file), defaults.secret),
            route: or(table.boolean(report, "route"), defaults.route),
            hugepages: or(table.word::<Hugepages>(report, "hugepages"), defaults.hugepages),
            memory: or(table.number(report, "memory", 64..=1 << 20, "MiB"), defaults.memory),
            mbufs: mbufs.map(|mbufs| mbufs.value),
            access: access::read(report, table),
        };
        Self {
            settings,
            cores: cores.map(|list| list.value).unwrap_or_default(),
            control_core,
            mbufs,
            conns,
        }
    }
}

impl Default for RawDirector {
    fn default() -> Self {
        Self {
            settings: defaults(),
            cores: Vec::new(),
            control_core: None,
            mbufs: None,
            conns: None,
        }
    }
}

/// `[director]` when nothing is given.
fn defaults() -> Director {
    Director {
        cores: None,
        control_core: None,
        idle: Idle::Poll,
        conns: 1 << 20,
        templates: 1 << 16,
        neighbours: 4096,
        socket: PathBuf::from("/run/pointsman/pointsman.sock"),
        secret: PathBuf::from("/var/lib/pointsman/secret"),
        route: false,
        hugepages: Hugepages::Auto,
        memory: 512,
        mbufs: None,
        access: None,
    }
}

/// `[timeouts]`, the kernel's where nothing is given.
pub(super) fn read_timeouts(report: &mut Report<'_>, table: &Table<'_, '_>) -> Timeouts {
    let mut seconds =
        |key, default| or(table.number(report, key, 1..=MAX_TIMEOUT, "seconds"), default);
    let kernel = Timeouts::default();
    Timeouts {
        tcp_none: seconds("tcp_none", kernel.tcp_none),
        tcp_established: seconds("tcp_established", kernel.tcp_established),
        tcp_syn_sent: seconds("tcp_syn_sent", kernel.tcp_syn_sent),
        tcp_syn_recv: seconds("tcp_syn_recv", kernel.tcp_syn_recv),
        tcp_fin_wait: seconds("tcp_fin_wait", kernel.tcp_fin_wait),
        tcp_time_wait: seconds("tcp_time_wait", kernel.tcp_time_wait),
        tcp_close: seconds("tcp_close", kernel.tcp_close),
        tcp_close_wait: seconds("tcp_close_wait", kernel.tcp_close_wait),
        tcp_last_ack: seconds("tcp_last_ack", kernel.tcp_last_ack),
        tcp_listen: seconds("tcp_listen", kernel.tcp_listen),
        tcp_synack: seconds("tcp_synack", kernel.tcp_synack),
        udp: seconds("udp", kernel.udp),
        sctp_init1: seconds("sctp_init1", kernel.sctp_init1),
        sctp_init: seconds("sctp_init", kernel.sctp_init),
        sctp_cookie_sent: seconds("sctp_cookie_sent", kernel.sctp_cookie_sent),
        sctp_cookie_replied: seconds("sctp_cookie_replied", kernel.sctp_cookie_replied),
        sctp_cookie_wait: seconds("sctp_cookie_wait", kernel.sctp_cookie_wait),
        sctp_cookie: seconds("sctp_cookie", kernel.sctp_cookie),
        sctp_cookie_echoed: seconds("sctp_cookie_echoed", kernel.sctp_cookie_echoed),
        sctp_established: seconds("sctp_established", kernel.sctp_established),
        sctp_shutdown_sent: seconds("sctp_shutdown_sent", kernel.sctp_shutdown_sent),
        sctp_shutdown_received: seconds("sctp_shutdown_received", kernel.sctp_shutdown_received),
        sctp_shutdown_ack_sent: seconds("sctp_shutdown_ack_sent", kernel.sctp_shutdown_ack_sent),
        sctp_rejected: seconds("sctp_rejected", kernel.sctp_rejected),
        sctp_closed: seconds("sctp_closed", kernel.sctp_closed),
    }
}

/// `[ipvs]`, the kernel's where nothing is given.
pub(super) fn read_ipvs(report: &mut Report<'_>, table: &Table<'_, '_>) -> Ipvs {
    let kernel = Ipvs::default();
    let conn_reuse_mode = table.number(report, "conn_reuse_mode", 0..=3, "");
    let am_droprate = table.number(report, "am_droprate", 1..=65_535, "");
    let [drop_packet, drop_entry, secure_tcp] = ["drop_packet", "drop_entry", "secure_tcp"]
        .map(|key| read_defence(table.number(report, key, 0..=3, "")));
    let mut flag = |key, default| or(table.boolean(report, key), default);
    Ipvs {
        expire_quiescent_template: flag(
            "expire_quiescent_template",
            kernel.expire_quiescent_template,
        ),
        expire_nodest_conn: flag("expire_nodest_conn", kernel.expire_nodest_conn),
        sloppy_tcp: flag("sloppy_tcp", kernel.sloppy_tcp),
        sloppy_sctp: flag("sloppy_sctp", kernel.sloppy_sctp),
        conn_reuse_mode: or(conn_reuse_mode, kernel.conn_reuse_mode),
        schedule_icmp: flag("schedule_icmp", kernel.schedule_icmp),
        nat_icmp_send: flag("nat_icmp_send", kernel.nat_icmp_send),
        drop_packet,
        drop_entry,
        secure_tcp,
        am_droprate: or(am_droprate, kernel.am_droprate),
    }
}

fn read_defence(given: Option<At<u8>>) -> Defend {
    match given.map_or(0, |at| at.value) {
        0 => Defend::Off,
        3 => Defend::Always,
        _ => Defend::Short,
    }
}

fn read_cores(report: &mut Report<'_>, table: &Table<'_, '_>) -> Option<At<Vec<At<usize>>>> {
    let errors = report.errors();
    let cores: At<Vec<At<usize>>> = table.numbers(report, "cores", 0..=LAST_CORE)?;
    if cores.value.is_empty() && report.errors() == errors {
        report.error(cores.span, "cores is empty", "name one core per worker, such as cores = [1]");
    }
    if cores.value.len() > MAX_WORKERS {
        let message = format!("{} cores", cores.value.len());
        report.error(cores.span, message, format!("at most {MAX_WORKERS} workers are possible"));
    }
    Some(cores)
}

fn parse_socket(text: &str) -> Result<PathBuf, Fault> {
    if !text.starts_with('/') || text.ends_with('/') || text.contains('\0') {
        let help = "expected an absolute path, such as /run/pointsman/pointsman.sock";
        return Err(Fault::new(format!("{} is not the path of a socket", quote(text)), help));
    }
    if text.len() > MAX_SOCKET {
        let message = format!("a socket path of {} bytes", text.len());
        return Err(Fault::new(message, format!("the kernel takes at most {MAX_SOCKET}: unix(7)")));
    }
    Ok(PathBuf::from(text))
}

fn parse_file(text: &str) -> Result<PathBuf, Fault> {
    if !text.starts_with('/') || text.ends_with('/') || text.contains('\0') {
        let help = "expected an absolute path, such as /var/lib/pointsman/secret";
        return Err(Fault::new(format!("{} is not the path of a file", quote(text)), help));
    }
    Ok(PathBuf::from(text))
}
