//! Which worker owns a frame: one pure function, asked when a tuple is not in the arriving
//! worker's table. Receive-side scaling may make arrival agree with it; it never replaces it.

use crate::laddr;
use crate::neigh::PortId;
use crate::service::Forward;
use crate::snapshot::Snapshot;
use crate::tuple::Addr;
use crate::tuple::Hasher;
use crate::tuple::Tuple;

/// Whose a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// This worker's.
    Worker(usize),
    /// Whoever it arrives at.
    Arrival,
    /// Nobody's: no conn can exist for it and none may open.
    Nobody,
}

/// The worker that has all of a client where its service goes by client: under nat what comes back
/// carries nothing else of what went there.
pub fn of_client(hasher: &Hasher, workers: usize, client: Addr) -> usize {
    share(hasher.addr(client), workers)
}

/// The owner of a tuple among `workers` workers. `port` is where frames of this tuple arrive.
pub fn steer(
    snapshot: &Snapshot,
    hasher: &Hasher,
    workers: usize,
    port: PortId,
    tuple: &Tuple,
) -> Owner {
    let share = |hash: u64| Owner::Worker(share(hash, workers));
    // FTP's data conns live where their control conn does.
    if snapshot.is_ftp_data(tuple) {
        return share(hasher.addr(tuple.src));
    }
    if let Some(service) = snapshot.service(tuple) {
        return match snapshot.port(port).fixed_queue {
            _ if service.goes_by_client() => share(hasher.addr(tuple.src)),
            true => Owner::Arrival,
            false => share(hasher.tuple(tuple)),
        };
    }
    if snapshot.locals.get(&tuple.dst).is_some_and(|l| l.pool) {
        return Owner::Worker(laddr::owner(tuple.dport, workers));
    }
    let of_ftp = snapshot.ftp_dest(tuple).is_some_and(|dest| dest.forward == Forward::Nat);
    if of_ftp || snapshot.is_nat_dest(tuple.proto, tuple.src, tuple.sport) {
        return share(hasher.addr(tuple.dst));
    }
    // What may pass by a rule: both a rule's conns and those it had before a reload.
    if snapshot.passes(tuple.dst) {
        return match snapshot.port(port).fixed_queue {
            true => Owner::Arrival,
            false => share(hasher.tuple(tuple)),
        };
    }
    Owner::Nobody
}

fn share(hash: u64, workers: usize) -> usize {
    // Bits that the conn index does not use: a worker's conns must not crowd in part of its index.
    ((hash >> 16 & 0xffff) as usize * workers) >> 16
}
