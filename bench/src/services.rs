//! Snapshots of many services, to be swapped for each other.

use crate::frame::Boxes;
use crate::workload::Method;
use crate::workload::Workload;
use pointsman_dataplane::conn::Timeouts;
use pointsman_dataplane::service::Candidate;
use pointsman_dataplane::service::Dest;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::ServiceId;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Addr;
use std::io;
use std::sync::Arc;

/// A director with a thousand conns, whose snapshots are to come.
///
/// # Errors
/// When the tables do not fit in the address space.
pub fn director() -> io::Result<Workload> {
    Workload::over(&mut Boxes, Method::Plain(Forward::Dr), 1000, 1000, Timeouts::default())
}

/// The director's first snapshot with other services: each has dests of its own, numbered from `first` on.
pub fn snapshot(
    base: &Snapshot,
    (services, each): (u32, u32),
    weight: u32,
    first: u32,
) -> Arc<Snapshot> {
    let mut s = Snapshot::clone(base);
    let (dest, service) = (base.dests[0].clone(), base.services[0].clone());
    let numbers = 0..services * each + first;
    let addr = |n| Addr::v4(0x0a80_0000 + n);
    s.dests = numbers.map(|n| Dest { addr: addr(n), ..dest.clone() }).collect();
    s.services.clear();
    for n in 0..services {
        let mine = first + n * each..first + (n + 1) * each;
        let candidate = |n| Candidate { id: DestId(n), weight, last_weight: weight };
        let mut service = service.clone();
        (service.id, service.version, service.port) = (ServiceId(n), weight + 1, 80 + n as u16);
        service.dests = mine.map(candidate).collect();
        s.services.push(service);
    }
    Arc::new(s.index())
}
