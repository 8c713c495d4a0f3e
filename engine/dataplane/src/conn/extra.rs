//! What only few conns need: a line in a side table under the conn's number, touched where a flag of
//! the conn, or its dest, says so.

use super::ConnId;
use super::Conns;
use super::LAST_HOP;
use crate::neigh::Hop;
use crate::neigh::Mac;
use crate::neigh::PortId;
use zerocopy::FromZeros;

/// What only few conns need.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C, align(64))]
pub(super) struct Extra {
    /// Where the client's packets come from: who sent the last one, and by which port.
    last_mac: Mac,
    last_port: u8,
    /// The next hop toward the destination of a conn that goes by route (`Target::ByRoute`), and
    /// the epoch it was looked up in.
    out_hop: u32,
    out_epoch: u32,
}

const _: () = assert!(size_of::<Extra>() == 64);

impl Conns {
    /// Replies of this conn leave by `port` to `mac` from now on, whatever the routes say.
    pub fn set_last_hop(&mut self, id: ConnId, port: PortId, mac: Mac) {
        self.get_mut(id).flags |= LAST_HOP;
        let extra = &mut self.extras[id.0 as usize];
        (extra.last_mac, extra.last_port) = (mac, port.0);
    }

    /// The port and the MAC that replies of this conn leave by, where the routes do not say.
    pub fn last_hop(&self, id: ConnId) -> Option<(PortId, Mac)> {
        let extra = &self.extras[id.0 as usize];
        let has = self.get(id).has_last_hop();
        has.then_some((PortId(extra.last_port), extra.last_mac))
    }

    /// The next hop toward the destination of a conn that goes by route, if looked up in this
    /// epoch.
    pub fn out_hop(&self, id: ConnId, epoch: u32) -> Option<Hop> {
        let extra = &self.extras[id.0 as usize];
        (extra.out_epoch == epoch).then_some(Hop(extra.out_hop))
    }

    /// Remembers it.
    pub fn set_out_hop(&mut self, id: ConnId, hop: Hop, epoch: u32) {
        let extra = &mut self.extras[id.0 as usize];
        (extra.out_hop, extra.out_epoch) = (hop.0, epoch);
    }

    /// A new conn that goes by route: no next hop is known.
    pub fn forget_out_hop(&mut self, id: ConnId) {
        self.extras[id.0 as usize].out_epoch = 0;
    }
}
