//! What of the local addresses is in use, from the workers' books.

use super::Control;
use super::snapshot::key_of;
use super::status::BusiestStatus;
use super::status::LocalStatus;
use crate::io::Driver;
use hashbrown::HashMap;
use hashbrown::HashSet;
use pointsman_dataplane::laddr::Book;
use pointsman_dataplane::laddr::FIRST_PORT;
use pointsman_dataplane::laddr::PORTS;
use pointsman_dataplane::service::Scope;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Proto;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;

/// Addresses of which nothing is leased are shown as long as all pools have no more than these.
const IDLE_SHOWN: usize = 256;

/// What is in use of one address, over all workers.
#[derive(Default)]
struct Usage {
    used: u64,
    lent: u64,
    exhausted: u64,
    by_dest: HashMap<(Proto, Addr, u16), u64>,
}

fn usage(books: &[Arc<Book>]) -> HashMap<Addr, Usage> {
    let mut all = HashMap::<Addr, Usage>::new();
    for book in books {
        for held in book.held() {
            let usage = all.entry(held.laddr).or_default();
            usage.used += held.ports;
            *usage.by_dest.entry((held.proto, held.daddr, held.dport)).or_default() += held.ports;
        }
        for counts in book.counts() {
            let usage = all.entry(counts.laddr).or_default();
            usage.lent += counts.lent;
            usage.exhausted += counts.exhausted;
        }
    }
    all
}

impl Usage {
    fn status(&self, snapshot: &Snapshot, laddr: Addr, pools: Vec<String>) -> LocalStatus {
        let busiest = self.by_dest.iter().max_by_key(|(dest, ports)| (**ports, **dest));
        let busiest = busiest.filter(|(_, ports)| **ports > 0);
        let proto = busiest.map_or(Proto::Tcp, |(dest, _)| dest.0);
        let of_services = |s: &&pointsman_dataplane::service::Service| {
            let key = (s.proto, s.port >= FIRST_PORT);
            key == (proto, true)
                && matches!(s.scope, Scope::Address | Scope::Range(_))
                && key_of(s).is_of(laddr)
        };
        let taken = snapshot.services.iter().filter(of_services).count() as u64;
        let most = busiest.map_or(0, |(_, ports)| *ports);
        LocalStatus {
            address: laddr.to_string(),
            pools,
            used: self.used,
            lent: self.lent,
            free: u64::from(PORTS).saturating_sub(taken + most),
            exhausted: self.exhausted,
            busiest: busiest.map(|((proto, addr, port), ports)| BusiestStatus {
                protocol: proto.to_string(),
                address: SocketAddr::new(IpAddr::from(*addr), *port).to_string(),
                used: *ports,
            }),
        }
    }
}

impl<D: Driver> Control<D> {
    /// Every local address that conns use or used, and those of pools that none used unless they
    /// are many.
    pub(super) fn local_statuses(&self) -> Vec<LocalStatus> {
        let mut usage = usage(&self.parts.shared.leases);
        let pools = &self.parts.config.pools;
        let all: usize = self.current.pools.iter().map(|p| p.v4.len() + p.v6.len()).sum();
        if all <= IDLE_SHOWN {
            for addr in self.current.pools.iter().flat_map(|p| p.v4.iter().chain(&p.v6)) {
                usage.entry(*addr).or_default();
            }
        }
        let ours = |addr: &Addr| self.current.locals.get(addr).is_some_and(|l| l.pool);
        let mut shown: Vec<_> = usage.iter().filter(|(a, u)| u.used > 0 || ours(a)).collect();
        shown.sort_unstable_by_key(|(addr, _)| **addr);
        let one = |(addr, usage): (&Addr, &Usage)| {
            let holds = |p: &&pointsman_config::Pool| p.contains(IpAddr::from(*addr));
            let names = pools.iter().filter(holds).map(|p| p.name.clone()).collect();
            usage.status(&self.current, *addr, names)
        };
        shown.into_iter().map(one).collect()
    }

    /// Looks whether lingering pool addresses are still in use; whether one surely is not.
    pub(super) fn look_at_lingering(&mut self, now: Tick) -> bool {
        let lingering: Vec<_> = self.builder.lingering().collect();
        if lingering.is_empty() {
            return false;
        }
        let held = self.parts.shared.leases.iter().flat_map(|book| book.held());
        let used: HashSet<_> = held.filter(|h| h.ports > 0).map(|h| h.laddr).collect();
        self.unleased.look(lingering.into_iter(), |addr| used.contains(&addr).into(), now)
    }
}
