//! Addresses that the configuration no longer has but conns still use.
//!
//! A VIP is answered for while a removed dest of it has conns: that is known exactly. A pool
//! address is answered for until its conns would have ended had they been idle: who uses it after
//! a reload cannot be told from who uses it by the new pool. An address that the configuration now
//! gives to another machine, a dest or a router, is given up at once.

use hashbrown::HashMap;
use pointsman_dataplane::snapshot::Local;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::tuple::Addr;
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub(crate) struct Linger {
    pools: HashMap<Addr, (Local, Tick)>,
}

impl Linger {
    /// The addresses of `previous` that stay although `next` does not have them. `idle` is how
    /// long removed pool addresses stay, in seconds; `has_conns` tells it of removed VIPs;
    /// `others` are the addresses of other machines in the new configuration.
    pub(crate) fn update(
        &mut self,
        previous: &Snapshot,
        next: &HashMap<Addr, Local>,
        now: Tick,
        idle: u32,
        has_conns: impl Fn(Addr) -> bool,
        others: impl Fn(Addr) -> bool,
    ) -> Vec<(Addr, Local)> {
        let until = now + Duration::from_secs(u64::from(idle));
        let mut stay = Vec::new();
        for (addr, local) in &previous.locals {
            if others(*addr) {
                continue;
            }
            let after = next.get(addr).copied().unwrap_or_default();
            if local.pool && !after.pool {
                let as_pool = Local { pool: true, vip: false, own: false, ..*local };
                self.pools.entry(*addr).or_insert((as_pool, until));
            }
            if local.vip && !after.vip && has_conns(*addr) {
                stay.push((*addr, Local { pool: false, own: false, ..*local }));
            }
        }
        self.pools.retain(|addr, (_, due)| {
            *due > now && !next.get(addr).is_some_and(|l| l.pool) && !others(*addr)
        });
        stay.extend(self.pools.iter().map(|(addr, (local, _))| (*addr, *local)));
        stay
    }

    /// When the next one is given up.
    pub(crate) fn next(&self) -> Option<Tick> {
        self.pools.values().map(|(_, due)| *due).min()
    }
}
