//! `[[pool]]`, `[[vip]]`, `[[service]]` and `[[service.dest]]`.

use super::access;
use super::mark::read_mark;
use super::or;
use super::parse_name;
use super::reference;
use super::tunnel::RawTunnel;
use crate::address;
use crate::model::AccessList;
use crate::model::ClientAddress;
use crate::model::Closed;
use crate::model::Denied;
use crate::model::Exhausted;
use crate::model::Family;
use crate::model::Forward;
use crate::model::Helper;
use crate::model::IcmpSource;
use crate::model::NoDest;
use crate::model::OnDead;
use crate::model::OnIdle;
use crate::model::Oversize;
use crate::model::Protocol;
use crate::model::Scheduler;
use crate::model::SchedulerFlag;
use crate::model::Scope;
use crate::pool::AddressRange;
use crate::pool::MAX_ADDRESSES;
use crate::prefix::Prefix;
use crate::reader::Table;
use crate::report::At;
use crate::report::Report;
use crate::report::Span;
use crate::schema;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::sync::Arc;

/// `[[pool]]`.
#[derive(Debug)]
pub(crate) struct RawPool {
    pub(crate) name: Option<At<String>>,
    pub(crate) ranges: Vec<At<AddressRange>>,
    pub(crate) shared: bool,
    /// Whether all its addresses could be read.
    pub(crate) whole: bool,
}

/// `[[vip]]`.
#[derive(Debug)]
pub(crate) struct RawVip {
    pub(crate) address: Option<At<IpAddr>>,
    pub(crate) closed: Closed,
    pub(crate) port: Option<At<String>>,
}

/// `[[service]]`.
#[derive(Debug)]
pub(crate) struct RawService {
    /// Its header.
    pub(crate) span: Span,
    pub(crate) name: Option<At<String>>,
    pub(crate) address: Option<At<SocketAddr>>,
    pub(crate) scope: Scope,
    pub(crate) protocol: Protocol,
    /// Where the protocol is given.
    pub(crate) protocol_at: Option<Span>,
    pub(crate) persistent: Option<At<u32>>,
    pub(crate) persistence_prefix: Option<At<u8>>,
    pub(crate) scheduler: Scheduler,
    pub(crate) scheduler_flags: Vec<At<SchedulerFlag>>,
    pub(crate) maglev_size: Option<At<u32>>,
    pub(crate) forward: Option<At<Forward>>,
    pub(crate) pool: Option<At<String>>,
    pub(crate) retries: Option<At<u8>>,
    pub(crate) mss: Option<u16>,
    pub(crate) udp_timeout: Option<u32>,
    pub(crate) tcp_timeout: Option<At<u32>>,
    pub(crate) tcp_fin_timeout: Option<At<u32>>,
    pub(crate) sctp_timeout: Option<At<u32>>,
    pub(crate) one_packet: Option<At<bool>>,
    pub(crate) no_dest: Option<At<NoDest>>,
    pub(crate) replies: u16,
    pub(crate) rewrite: bool,
    pub(crate) last_hop: bool,
    pub(crate) icmp_source: IcmpSource,
    pub(crate) on_dead: Option<At<OnDead>>,
    pub(crate) on_idle: Option<At<OnIdle>>,
    pub(crate) exhausted: Exhausted,
    pub(crate) oversize: Option<At<Oversize>>,
    pub(crate) tunnel: RawTunnel,
    pub(crate) access: Option<Arc<AccessList>>,
    pub(crate) denied: Denied,
    pub(crate) client_address: Option<At<ClientAddress>>,
    pub(crate) proxy_in: Vec<At<Prefix>>,
    /// Where `proxy_in` is given.
    pub(crate) proxy_in_at: Option<Span>,
    pub(crate) helper: Option<At<Helper>>,
    pub(crate) dests: Vec<RawDest>,
    /// Whether every value could be read: only then can it be compared with others.
    pub(crate) whole: bool,
}

/// `[[service.dest]]`.
#[derive(Debug)]
pub(crate) struct RawDest {
    pub(crate) address: Option<At<(IpAddr, Option<u16>)>>,
    pub(crate) weight: u16,
    pub(crate) forward: Option<At<Forward>>,
    pub(crate) upper: u32,
    pub(crate) lower: Option<At<u32>>,
    pub(crate) tunnel: RawTunnel,
}

/// Seconds of a persistent service that says no more (`IP_VS_TEMPLATE_TIMEOUT` of ipvsadm).
const PERSISTENCE: u64 = 360;

/// There is no default: it depends on the servers, so the message says on what.
const FORWARD: &str = "add forward = \"fullnat\" (servers need nothing), \
    \"nat\" (servers' gateway is the director), \
    \"dr\" (servers hold the VIP, same segment) or \
    \"tunnel\" (servers hold the VIP and unpack IPIP, GUE or GRE)";

impl RawPool {
    pub(crate) fn read(report: &mut Report<'_>, table: &Table<'_, '_>) -> Self {
        let errors = report.errors();
        table.require(report, "name");
        table.require(report, "addresses");
        let ranges = table.parsed_list(report, "addresses", address::parse_range);
        let whole = report.errors() == errors;
        let span = table.span_of("addresses");
        if ranges.is_empty() && whole {
            report.error(span, "an empty pool", "a pool needs at least one address");
        }
        let count =
            ranges.iter().fold(0, |sum: u128, range| sum.saturating_add(range.value.count()));
        if count > MAX_ADDRESSES {
            report.error(
                span,
                format!("a pool of {count} addresses"),
                format!("a pool holds at most {MAX_ADDRESSES}"),
            );
        }
        let name = table.parsed(report, "name", parse_name);
        let shared = or(table.boolean(report, "shared"), false);
        Self { name, ranges, shared, whole }
    }
}

impl RawVip {
    pub(crate) fn read(report: &mut Report<'_>, table: &Table<'_, '_>) -> Self {
        table.require(report, "address");
        let address: Option<At<IpAddr>> = table.parsed(report, "address", address::parse_address);
        if let Some(at) = address.filter(|at| address::is_link_local(at.value)) {
            report.error(
                at.span,
                format!("{} is link-local", at.value),
                "a VIP must be good on every port",
            );
        }
        Self {
            address,
            closed: or(table.word(report, "closed"), Closed::Reject),
            port: reference(report, table, "port"),
        }
    }
}

impl RawService {
    pub(crate) fn read(report: &mut Report<'_>, table: &Table<'_, '_>) -> Self {
        let errors = report.errors();
        let (address, scope) = read_virtual(report, table);
        table.require_with(report, "forward", FORWARD);
        let dests = table.tables(report, "dest", &schema::DEST);
        let mut service = Self {
            span: table.span,
            name: table.parsed(report, "name", parse_name),
            address,
            scope,
            protocol: or(table.word(report, "protocol"), Protocol::Tcp),
            protocol_at: table.has("protocol").then(|| table.span_of("protocol")),
            persistent: table.number_or_true(report, "persistent", PERSISTENCE, 1..=2_678_400, "s"),
            persistence_prefix: table.number(report, "persistence_prefix", 1..=128, "bits"),
            scheduler: or(table.word(report, "scheduler"), Scheduler::Wlc),
            scheduler_flags: table.words(report, "scheduler_flags"),
            maglev_size: table.number(report, "maglev_size", 251..=655_373, ""),
            forward: table.word(report, "forward"),
            pool: reference(report, table, "pool"),
            retries: table.number(report, "retries", 0..=8, ""),
            mss: table.number(report, "mss", 88..=8960, "bytes").map(|at| at.value),
            udp_timeout: table.number(report, "udp_timeout", 1..=1_987_200, "s").map(|at| at.value),
            tcp_timeout: table.number(report, "tcp_timeout", 1..=1_987_200, "s"),
            tcp_fin_timeout: table.number(report, "tcp_fin_timeout", 1..=1_987_200, "s"),
            sctp_timeout: table.number(report, "sctp_timeout", 1..=1_987_200, "s"),
            one_packet: table.boolean(report, "one_packet"),
            no_dest: table.word(report, "no_dest"),
            replies: or(table.number(report, "replies", 0..=65_535, ""), 0),
            rewrite: or(table.boolean(report, "rewrite"), true),
            last_hop: or(table.boolean(report, "last_hop"), false),
            icmp_source: or(table.word(report, "icmp_source"), IcmpSource::Vip),
            on_dead: table.word(report, "on_dead"),
            on_idle: table.word(report, "on_idle"),
            exhausted: or(table.word(report, "exhausted"), Exhausted::Drop),
            oversize: table.word(report, "oversize"),
            tunnel: RawTunnel::read(report, table),
            access: access::read(report, table),
            denied: or(table.word(report, "denied"), Denied::Drop),
            client_address: table.word(report, "client_address"),
            proxy_in: table.parsed_list(report, "proxy_in", address::parse_destination),
            proxy_in_at: table.has("proxy_in").then(|| table.span_of("proxy_in")),
            helper: table.word(report, "helper"),
            dests: dests.iter().map(|table| RawDest::read(report, table)).collect(),
            whole: false,
        };
        service.whole = report.errors() == errors;
        service
    }
}

/// What a service takes: its first address and port, and how far that reaches.
fn read_virtual(report: &mut Report<'_>, table: &Table<'_, '_>) -> (Option<At<SocketAddr>>, Scope) {
    let family: Option<At<Family>> = table.word(report, "family");
    if let Some(mark) = read_mark(report, table) {
        if table.has("address") {
            let help = "it takes what a [[match]] marks, or what is for its address: leave one out";
            report.error(table.span_of("address"), "a service with mark and address", help);
        }
        let any: IpAddr = match family.map(|at| at.value) {
            Some(Family::V6) => Ipv6Addr::UNSPECIFIED.into(),
            _ => Ipv4Addr::UNSPECIFIED.into(),
        };
        let address = At { value: SocketAddr::new(any, 0), span: mark.span };
        return (Some(address), Scope::Mark(mark.value));
    }
    if let Some(At { span, .. }) = family {
        report.error(span, "family without mark", "leave it out: the address says it");
    }
    if table.has("mark") {
        return (None, Scope::Address);
    }
    table.require(report, "address");
    let range: Option<At<_>> = table.parsed(report, "address", address::parse_service);
    let Some(At { value: (range, port), span }) = range else { return (None, Scope::Address) };
    let one = range.first() == range.last();
    let scope = if one { Scope::Address } else { Scope::Range(range.last()) };
    (Some(At { value: SocketAddr::new(range.first(), port), span }), scope)
}

impl RawDest {
    fn read(report: &mut Report<'_>, table: &Table<'_, '_>) -> Self {
        table.require(report, "address");
        Self {
            address: table.parsed(report, "address", address::parse_dest),
            weight: or(table.number(report, "weight", 0..=u64::from(u16::MAX), ""), 1),
            forward: table.word(report, "forward"),
            upper: or(table.number(report, "upper", 0..=u64::from(u32::MAX), "conns"), 0),
            lower: table.number(report, "lower", 0..=u64::from(u32::MAX), "conns"),
            tunnel: RawTunnel::read(report, table),
        }
    }
}
