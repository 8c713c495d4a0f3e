//! `[[match]]`.

use crate::address;
use crate::model::Protocol;
use crate::prefix::Prefix;
use crate::reader::Table;
use crate::report::At;
use crate::report::Report;

/// `[[match]]`.
#[derive(Debug)]
pub(crate) struct RawMatch {
    pub(crate) mark: Option<At<u32>>,
    pub(crate) sources: Vec<At<Prefix>>,
    pub(crate) destinations: Vec<At<Prefix>>,
    pub(crate) ports: Vec<At<(u16, u16)>>,
    pub(crate) protocols: Vec<At<Protocol>>,
}

impl RawMatch {
    pub(crate) fn read(report: &mut Report<'_>, table: &Table<'_, '_>) -> Self {
        table.require(report, "mark");
        table.require(report, "destination");
        for key in ["source", "destination", "ports", "protocol"] {
            table.refuse_empty(report, key);
        }
        Self {
            mark: read_mark(report, table),
            sources: table.parsed_list(report, "source", address::parse_destination),
            destinations: table.parsed_list(report, "destination", address::parse_virtual),
            ports: table.ports(report, "ports"),
            protocols: table.words(report, "protocol"),
        }
    }
}

/// A mark, which is never 0: that is no mark.
pub(super) fn read_mark(report: &mut Report<'_>, table: &Table<'_, '_>) -> Option<At<u32>> {
    table.number(report, "mark", 1..=u64::from(u32::MAX), "")
}
