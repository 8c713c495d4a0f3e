//! Cores and memory.

use crate::model::Port;
use crate::model::frames_mib;
use crate::raw::RawDirector;
use crate::report::Report;
use std::collections::HashSet;

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
    let needed = frames_mib(ports, mbufs.value);
    if needed > u64::from(director.settings.memory) {
        let help =
            format!("memory = {} is less; raise it, or take fewer", director.settings.memory);
        report.warning(mbufs.span, format!("{} frames need about {needed} MiB", mbufs.value), help);
    }
}
