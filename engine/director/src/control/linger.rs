//! Addresses that the configuration no longer has but conns still use.
//!
//! A VIP is answered for while a removed dest of it has conns, a pool address while a port of it is
//! leased. An address that the configuration now gives to another machine, a dest or a router, is
//! given up at once.

use hashbrown::HashMap;
use pointsman_dataplane::snapshot::Local;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Addr;

#[derive(Clone, Debug, Default)]
pub(crate) struct Linger {
    pools: HashMap<Addr, Local>,
}

impl Linger {
    /// The addresses of `previous` that stay although `next` does not have them. `has_leases`
    /// tells of pool addresses whether conns use them, `has_conns` tells it of removed VIPs;
    /// `others` are the addresses of other machines in the new configuration.
    pub(crate) fn update(
        &mut self,
        previous: &Snapshot,
        next: &HashMap<Addr, Local>,
        has_leases: impl Fn(Addr) -> bool,
        has_conns: impl Fn(Addr) -> bool,
        others: impl Fn(Addr) -> bool,
    ) -> Vec<(Addr, Local)> {
        let mut stay = Vec::new();
        for (addr, local) in &previous.locals {
            if others(*addr) {
                continue;
            }
            let after = next.get(addr).copied().unwrap_or_default();
            if local.pool && !after.pool {
                let as_pool = Local { pool: true, vip: false, own: false, ..*local };
                self.pools.entry(*addr).or_insert(as_pool);
            }
            if local.vip && !after.vip && has_conns(*addr) {
                stay.push((*addr, Local { pool: false, own: false, ..*local }));
            }
        }
        self.pools.retain(|addr, _| {
            has_leases(*addr) && !next.get(addr).is_some_and(|l| l.pool) && !others(*addr)
        });
        stay.extend(self.pools.iter().map(|(addr, local)| (*addr, *local)));
        stay
    }

    /// The pool addresses that linger.
    pub(crate) fn pools(&self) -> impl Iterator<Item = Addr> + '_ {
        self.pools.keys().copied()
    }
}
