//! Addresses that the configuration no longer has but conns still use.
//!
//! A VIP is answered for while a removed dest of it has conns, a pool address while a port of it is
//! leased. An address that the configuration now gives to another machine, a dest or a router, is
//! given up at once.

use super::ids::ServiceKey;
use super::snapshot::key_of;
use hashbrown::HashMap;
use hashbrown::HashSet;
use pointsman_dataplane::matching::Mark;
use pointsman_dataplane::service::Scope;
use pointsman_dataplane::snapshot::Local;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Addr;

#[derive(Clone, Debug, Default)]
pub(crate) struct Linger {
    pools: HashMap<Addr, Local>,
    /// The VIPs whose packets rules mark for a service; of one that is gone, those it had.
    marked: HashMap<ServiceKey, HashSet<Addr>>,
}

impl Linger {
    /// Notes which VIPs the marks' services of a new snapshot have. Of those that are gone it is
    /// remembered while they have dests.
    pub(crate) fn note_marks(&mut self, next: &Snapshot, has_dests: impl Fn(&ServiceKey) -> bool) {
        self.marked.retain(|key, _| has_dests(key));
        for service in &next.services {
            let Scope::Mark(mark) = service.scope else { continue };
            let family = service.addr.family();
            let rules: Vec<&Mark> = next.marks.iter().filter(|rule| rule.mark == mark).collect();
            let takes = |addr: &Addr| {
                addr.family() == family && rules.iter().any(|rule| rule.matching.is_to(*addr))
            };
            let vips = next.locals.iter().filter(|(_, local)| local.vip).map(|(addr, _)| *addr);
            // A rule may go before its service, whose conns live on.
            self.marked.entry(key_of(service)).or_default().extend(vips.filter(takes));
        }
    }

    /// Whether an address is a service's VIP, or was.
    pub(crate) fn is_of(&self, key: &ServiceKey, addr: Addr) -> bool {
        key.is_of(addr) || self.marked.get(key).is_some_and(|vips| vips.contains(&addr))
    }

    /// The VIPs of `previous` that stay although `next` does not have them: those that `has_conns`
    /// tells conns of and that are not among `others`, the addresses of other machines in the new
    /// configuration.
    pub(crate) fn vips(
        &self,
        previous: &Snapshot,
        next: &HashMap<Addr, Local>,
        has_conns: impl Fn(Addr) -> bool,
        others: impl Fn(Addr) -> bool,
    ) -> Vec<(Addr, Local)> {
        let is_vip = |addr: &Addr| next.get(addr).is_some_and(|local| local.vip);
        let stays = |addr: &Addr, local: &Local| {
            local.vip && !is_vip(addr) && !others(*addr) && has_conns(*addr)
        };
        let stay = previous.locals.iter().filter(|(addr, local)| stays(addr, local));
        stay.map(|(addr, local)| (*addr, Local { pool: false, own: false, ..*local })).collect()
    }

    /// The same of pool addresses, with `has_leases` telling whether conns use them.
    pub(crate) fn pools_of(
        &mut self,
        previous: &Snapshot,
        next: &HashMap<Addr, Local>,
        has_leases: impl Fn(Addr) -> bool,
        others: impl Fn(Addr) -> bool,
    ) -> Vec<(Addr, Local)> {
        let is_pool = |addr: &Addr| next.get(addr).is_some_and(|local| local.pool);
        for (addr, local) in &previous.locals {
            if local.pool && !is_pool(addr) {
                let as_pool = Local { pool: true, vip: false, own: false, ..*local };
                self.pools.entry(*addr).or_insert(as_pool);
            }
        }
        self.pools.retain(|addr, _| has_leases(*addr) && !is_pool(addr) && !others(*addr));
        self.pools.iter().map(|(addr, local)| (*addr, *local)).collect()
    }

    /// The pool addresses that linger.
    pub(crate) fn pools(&self) -> impl Iterator<Item = Addr> + '_ {
        self.pools.keys().copied()
    }
}
