//! Cores and memory.

use crate::model::Port;
use crate::raw::RawDirector;
use crate::report::Report;
use std::collections::HashSet;

/// Bytes of a frame in the mempool besides the IP packet: mempool header and rte_mbuf (192),
/// headroom (128), Ethernet with two tags (22).
const OVERHEAD: u64 = 342;

pub(super) fn check(report: &mut Report<'_>, director: &RawDirector, ports: &[Port]) {
    let mut seen = HashSet::new();
    for core in &director.cores {
        if !seen.insert(core.value) {
            report.error(
                core.span,
                format!("core {} is used twice", core.value),
                "one worker per core",
            );
        }
    }
    if let Some(control) = director.control_core.filter(|control| seen.contains(&control.value)) {
        let help = "the control thread takes time from that core's worker";
        report.warning(
            control.span,
            format!("control_core {} is also a worker's", control.value),
            help,
        );
    }
    let Some(mbufs) = director.mbufs else { return };
    let mtu = ports.iter().map(|port| port.mtu).max().unwrap_or_default();
    let needed = (u64::from(mbufs.value) * (u64::from(mtu) + OVERHEAD)).div_ceil(1 << 20);
    if needed > u64::from(director.settings.memory) {
        let help =
            format!("memory = {} is less; raise it, or take fewer", director.settings.memory);
        report.warning(mbufs.span, format!("{} frames need about {needed} MiB", mbufs.value), help);
    }
}
