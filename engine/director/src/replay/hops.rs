//! Made-up next hops: whoever is asked for is there, with a MAC that its address gives.

use pointsman_dataplane::neigh::Hop;
use pointsman_dataplane::neigh::HopState;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::neigh::Neighbours;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::tuple::Addr;
use std::net::IpAddr;
use std::sync::Arc;

/// Next hops there is room for: clients on a link are one each.
pub(super) const ROOM: u32 = 131_072;

/// The table of next hops.
pub(super) struct Hops {
    table: Arc<Neighbours>,
    used: u32,
    refused: u64,
}

impl Hops {
    /// Over a table with room for `ROOM` of them.
    pub(super) fn new(table: Arc<Neighbours>) -> Self {
        Self { table, used: 0, refused: 0 }
    }

    /// The next hop of an address, which answers from now on; none where the table is full.
    pub(super) fn reach(&mut self, port: PortId, addr: Addr) -> Option<Hop> {
        if let Some(hop) = self.table.find(port, addr) {
            return Some(hop);
        }
        // The table has more places than it is used for, which keeps looking fast.
        let free = self.used < ROOM;
        let Some(hop) = free.then(|| self.table.insert(port, addr, |_| true)).flatten() else {
            self.refused += 1;
            return None;
        };
        self.used += 1;
        self.table.set(hop, HopState::Reachable(mac_of(addr)));
        Some(hop)
    }

    /// Questions that found the table full.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }
}

/// Locally administered: 06:00 and an IPv4 address, 0a and the end of an IPv6 address.
pub(super) fn mac_of(addr: Addr) -> Mac {
    match IpAddr::from(addr) {
        IpAddr::V4(addr) => {
            let [a, b, c, d] = addr.octets();
            [0x06, 0, a, b, c, d]
        }
        IpAddr::V6(addr) => {
            let [.., a, b, c, d, e] = addr.octets();
            [0x0a, a, b, c, d, e]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_of_next_hops_refuses_new_ones_and_keeps_the_old() {
        let mut hops = Hops::new(Arc::new(Neighbours::new(ROOM as usize, 1)));
        let (port, addr) = (PortId(0), Addr::v4(0x0a00_0009));
        let hop = hops.reach(port, addr).unwrap();
        assert_eq!(hops.table.get(hop).1, HopState::Reachable([6, 0, 10, 0, 0, 9]));
        hops.used = ROOM;
        assert_eq!(hops.reach(port, Addr::v4(0x0a00_000a)), None);
        assert_eq!(hops.reach(port, addr), Some(hop));
        assert_eq!(hops.refused(), 1);
    }
}
