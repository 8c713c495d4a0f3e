//! Pools: no address twice, and none that somebody else has.

use super::Ways;
use super::vips::Vips;
use crate::pool::AddressRange;
use crate::pool::Pool;
use crate::raw::RawPool;
use crate::report::At;
use crate::report::Report;
use crate::report::Span;
use std::collections::BTreeMap;
use std::collections::HashSet;
use std::net::IpAddr;

/// A pool's name that stands for the addresses of the port a frame leaves by.
const AUTOMAP: &str = "automap";

/// Whether a reference to a pool is to none of the file's.
pub(super) fn is_automap(name: Option<&At<String>>) -> bool {
    name.is_some_and(|name| name.value == AUTOMAP)
}

/// All pools.
pub(super) struct Pools {
    pub(super) models: Vec<Pool>,
    /// Which of them could be read to the end.
    pub(super) whole: Vec<bool>,
    /// By the lowest address: ranges do not overlap.
    ranges: BTreeMap<IpAddr, Entry>,
}

struct Entry {
    range: AddressRange,
    pool: usize,
    span: Span,
}

impl Pools {
    /// The pool with this address.
    pub(super) fn holder(&self, address: IpAddr) -> Option<&Pool> {
        self.find(address).and_then(|entry| self.models.get(entry.pool))
    }

    /// A pool with an address in this range.
    pub(super) fn overlapping(&self, range: &AddressRange) -> Option<&Pool> {
        let (_, entry) = self.ranges.range(..=range.last()).next_back()?;
        let meets = entry.range.last() >= range.first();
        self.models.get(entry.pool).filter(|_| meets)
    }

    fn find(&self, address: IpAddr) -> Option<&Entry> {
        let (_, entry) = self.ranges.range(..=address).next_back()?;
        entry.range.contains(address).then_some(entry)
    }
}

/// The pools, with an empty name for those whose name was refused.
pub(super) fn check(report: &mut Report<'_>, raw: &[RawPool], ways: &Ways, vips: &Vips) -> Pools {
    let mut pools = Pools { models: Vec::new(), whole: Vec::new(), ranges: BTreeMap::new() };
    for (index, pool) in raw.iter().enumerate() {
        if let Some(name) = pool.name.as_ref().filter(|name| is_automap(Some(*name))) {
            let help = "it stands for the addresses of the port a frame leaves by; choose another";
            report.error(name.span, "a pool cannot be called \"automap\"", help);
        }
        for range in &pool.ranges {
            add(report, &mut pools, index, *range);
        }
        pools.whole.push(pool.whole);
        pools.models.push(Pool {
            name: pool.name.as_ref().map(|name| name.value.clone()).unwrap_or_default(),
            shared: pool.shared,
            ranges: pool.ranges.iter().map(|range| range.value).collect(),
        });
    }
    check_holders(report, &pools, ways, vips);
    pools
}

/// Adds a range to the ordered ones unless it overlaps one of them, which is reported.
fn add(report: &mut Report<'_>, pools: &mut Pools, pool: usize, range: At<AddressRange>) {
    let At { value, span } = range;
    // Of disjoint ranges only the last one that begins at or before the end of this one can reach
    // into it.
    let before = pools.ranges.range(..=value.last()).next_back();
    if let Some((_, other)) = before.filter(|(_, other)| other.range.last() >= value.first()) {
        let place = if other.pool == pool {
            "this pool".to_owned()
        } else {
            format!("{:?}", pools.models[other.pool].name)
        };
        let line = report.line(other.span);
        let help = format!("line {line}: an address is in one pool only, and only once");
        report.error(span, format!("{value} overlaps {} in {place}", other.range), help);
        return;
    }
    pools.ranges.insert(value.first(), Entry { range: value, pool, span });
}

/// What is ours already needs `shared`; what is a router's or no host's cannot be in a pool at all.
fn check_holders(report: &mut Report<'_>, pools: &Pools, ways: &Ways, vips: &Vips) {
    let mut told = HashSet::new();
    let mut tell = |address: IpAddr, may_be_shared: bool, what: &str, help: &str| {
        let entry = pools.find(address);
        let entry = entry.filter(|entry| !(may_be_shared && pools.models[entry.pool].shared));
        if let Some(entry) = entry.filter(|_| told.insert(address)) {
            report.error(entry.span, format!("{address} is {what}"), help);
        }
    };
    let help = "leave it out, or say shared = true if its ports may be leased";
    for vip in &vips.models {
        tell(vip.address, true, "a VIP", help);
    }
    for port in &ways.ports {
        for own in &port.addresses {
            tell(own.address(), true, &format!("port {:?}'s own address", port.name), help);
            for address in [own.first(), own.last()] {
                if let Some(what) = ways.reserved(address) {
                    tell(address, false, &what, "leave it out: no host can have it");
                }
            }
        }
    }
    let gateways = ways.ports.iter().flat_map(|port| port.gateways.iter().copied());
    for address in gateways.chain(ways.routes.iter().map(|route| route.via)) {
        if let Some(what) = ways.next_hop(address) {
            let help = "leave it out: the director would answer for its own router";
            tell(address, false, &what, help);
        }
    }
}
