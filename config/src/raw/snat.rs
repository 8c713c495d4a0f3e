//! `[[snat]]` and `[[snat.dest]]`.

use super::RawDest;
use super::or;
use super::parse_name;
use super::reference;
use super::tunnel::RawTunnel;
use crate::address;
use crate::model::Exhausted;
use crate::model::Scheduler;
use crate::model::SnatProtocol;
use crate::prefix::Prefix;
use crate::reader::Table;
use crate::report::At;
use crate::report::Report;
use crate::report::Span;
use crate::schema;
use std::net::IpAddr;

/// `[[snat]]`.
#[derive(Debug)]
pub(crate) struct RawSnat {
    /// Its header.
    pub(crate) span: Span,
    pub(crate) name: Option<At<String>>,
    pub(crate) sources: Vec<At<Prefix>>,
    pub(crate) destinations: Vec<At<Prefix>>,
    pub(crate) ports: Vec<At<(u16, u16)>>,
    /// Of the ports.
    pub(crate) ports_span: Span,
    pub(crate) protocols: Vec<At<SnatProtocol>>,
    pub(crate) pool: Option<At<String>>,
    pub(crate) addresses: Vec<At<IpAddr>>,
    pub(crate) scheduler: Option<At<Scheduler>>,
    pub(crate) retries: Option<u8>,
    pub(crate) mss: Option<u16>,
    pub(crate) udp_timeout: Option<u32>,
    pub(crate) exhausted: Exhausted,
    pub(crate) dests: Vec<RawDest>,
    /// Whether every value could be read: only then can it be compared with others.
    pub(crate) whole: bool,
}

impl RawSnat {
    pub(crate) fn read(report: &mut Report<'_>, table: &Table<'_, '_>) -> Self {
        let errors = report.errors();
        table.require(report, "source");
        let dests = table.tables(report, "dest", &schema::ROUTER);
        let mut snat = Self {
            span: table.span,
            name: table.parsed(report, "name", parse_name),
            sources: table.parsed_list(report, "source", address::parse_destination),
            destinations: table.parsed_list(report, "destination", address::parse_destination),
            ports: table.ports(report, "ports"),
            ports_span: table.span_of("ports"),
            protocols: table.words(report, "protocol"),
            pool: reference(report, table, "pool"),
            addresses: table.parsed_list(report, "address", address::parse_address),
            scheduler: table.word(report, "scheduler"),
            retries: table.number(report, "retries", 0..=8, "").map(|at| at.value),
            mss: table.number(report, "mss", 88..=8960, "bytes").map(|at| at.value),
            udp_timeout: table.number(report, "udp_timeout", 1..=1_987_200, "s").map(|at| at.value),
            exhausted: or(table.word(report, "exhausted"), Exhausted::Drop),
            dests: dests.iter().map(|table| read_router(report, table)).collect(),
            whole: false,
        };
        for key in ["source", "destination", "ports", "protocol", "address"] {
            table.refuse_empty(report, key);
        }
        snat.whole = report.errors() == errors;
        snat
    }
}

/// A router: unlike other dests it has no port.
fn read_router(report: &mut Report<'_>, table: &Table<'_, '_>) -> RawDest {
    table.require(report, "address");
    let address: Option<At<IpAddr>> = table.parsed(report, "address", address::parse_address);
    if let Some(at) = address.filter(|at| address::is_link_local(at.value)) {
        let help = "name the router by an address in a port's prefix";
        report.error(at.span, format!("{} may be on any port", at.value), help);
    }
    RawDest {
        address: address.map(|at| At { value: (at.value, None), span: at.span }),
        weight: or(table.number(report, "weight", 0..=u64::from(u16::MAX), ""), 1),
        forward: None,
        upper: 0,
        lower: None,
        tunnel: RawTunnel::default(),
    }
}
