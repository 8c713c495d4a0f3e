//! The document taken apart: every value parsed and in its range, nothing compared with anything
//! else yet. What was missing or malformed has been reported and is `None` here.

mod access;
mod director;
mod mark;
mod port;
mod service;
mod snat;
mod tunnel;

use crate::model::Ipvs;
use crate::model::Timeouts;
use crate::reader::Table;
use crate::reader::quote;
use crate::report::At;
use crate::report::Fault;
use crate::report::Report;
use crate::report::Span;
use crate::schema;
pub(crate) use director::RawDirector;
pub(crate) use mark::RawMatch;
pub(crate) use port::RawPort;
pub(crate) use port::RawRoute;
pub(crate) use port::interface;
pub(crate) use service::RawDest;
pub(crate) use service::RawPool;
pub(crate) use service::RawService;
pub(crate) use service::RawVip;
pub(crate) use snat::RawSnat;
use toml::de::DeTable;
pub(crate) use tunnel::RawTunnel;

/// A whole file.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) director: RawDirector,
    pub(crate) timeouts: Timeouts,
    pub(crate) ipvs: Ipvs,
    pub(crate) ports: Vec<RawPort>,
    pub(crate) routes: Vec<RawRoute>,
    pub(crate) pools: Vec<RawPool>,
    pub(crate) vips: Vec<RawVip>,
    pub(crate) matches: Vec<RawMatch>,
    pub(crate) services: Vec<RawService>,
    pub(crate) snats: Vec<RawSnat>,
    /// Whether `ports` and `routes` were read without an error: only then can it be said what they
    /// do not reach.
    pub(crate) ways_known: bool,
}

impl Raw {
    /// Takes the document apart.
    pub(crate) fn read(report: &mut Report<'_>, document: &DeTable<'_>) -> Self {
        let top = Table::new(report, &schema::TOP, document, Span::default());
        let director = top.table(report, "director", &schema::DIRECTOR);
        let director =
            director.map_or_else(RawDirector::default, |table| RawDirector::read(report, &table));
        let timeouts = top.table(report, "timeouts", &schema::TIMEOUTS);
        let timeouts = timeouts
            .map_or_else(Timeouts::default, |table| director::read_timeouts(report, &table));
        let ipvs = top.table(report, "ipvs", &schema::IPVS);
        let ipvs = ipvs.map_or_else(Ipvs::default, |table| director::read_ipvs(report, &table));
        let errors = report.errors();
        let ports = top.tables(report, "port", &schema::PORT);
        let ports = ports.iter().map(|table| RawPort::read(report, table)).collect();
        let routes = top.tables(report, "route", &schema::ROUTE);
        let routes = routes.iter().map(|table| RawRoute::read(report, table)).collect();
        let ways_known = report.errors() == errors;
        let pools = top.tables(report, "pool", &schema::POOL);
        let pools = pools.iter().map(|table| RawPool::read(report, table)).collect();
        let vips = top.tables(report, "vip", &schema::VIP);
        let vips = vips.iter().map(|table| RawVip::read(report, table)).collect();
        let matches = top.tables(report, "match", &schema::MATCH);
        let matches = matches.iter().map(|table| RawMatch::read(report, table)).collect();
        let services = top.tables(report, "service", &schema::SERVICE);
        let services = services.iter().map(|table| RawService::read(report, table)).collect();
        let snats = top.tables(report, "snat", &schema::SNAT);
        let snats = snats.iter().map(|table| RawSnat::read(report, table)).collect();
        Self {
            director,
            timeouts,
            ipvs,
            ports,
            routes,
            pools,
            vips,
            matches,
            services,
            snats,
            ways_known,
        }
    }
}

/// The name of a port, a pool or a service.
fn parse_name(text: &str) -> Result<String, Fault> {
    const MOST: usize = 64;
    let fault = if text.is_empty() {
        "an empty name".to_owned()
    } else if text.trim() != text || text.chars().any(char::is_control) {
        format!("{} is not a name", quote(text))
    } else if text.chars().count() > MOST {
        format!("a name of {} characters", text.chars().count())
    } else {
        return Ok(text.to_owned());
    };
    Err(Fault::new(
        fault,
        format!("expected 1 to {MOST} printable characters, no space at either end"),
    ))
}

/// A reference to a port or a pool: any string; whether it names one is seen later.
fn reference(report: &mut Report<'_>, table: &Table<'_, '_>, key: &str) -> Option<At<String>> {
    table.string(report, key).map(|text| At { value: text.value.to_owned(), span: text.span })
}

/// The value or its default.
fn or<T>(given: Option<At<T>>, default: T) -> T {
    given.map_or(default, |at| at.value)
}
