//! What only few conns need: a line in a side table under the conn's number, touched where a flag of
//! the conn, or its dest, says so.

use super::ConnId;
use super::Conns;
use super::chain::Links;
use super::change::Change;
use super::flags::CONTROLLED;
use super::flags::LAST_HOP;
use crate::neigh::Hop;
use crate::neigh::Mac;
use crate::neigh::PortId;
use crate::service::ClientAddress;
use crate::templates::Link;
use crate::tick::Stamp;
use zerocopy::FromZeros;

/// What only few conns need.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C, align(64))]
pub struct Extra {
    /// How the dest is told of the client (`Conn::introduces`).
    pub(crate) introduction: Introduction,
    /// Where the client's packets come from: who sent the last one, and by which port.
    last_mac: Mac,
    last_port: u8,
    /// The next hop toward the destination of a conn that goes by route (`Target::ByRoute`), and
    /// the epoch it was looked up in.
    out_hop: u32,
    out_epoch: u32,
    /// The template it goes by (`Conn::is_controlled`).
    template_line: u32,
    template_generation: u32,
    template_owner: u16,
}

const _: () = assert!(size_of::<Extra>() == 64);

/// How far the dest has been told who its client is, and whether the conn speaks FTP. TCP only: a
/// datagram's header needs no memory.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
pub struct Introduction {
    /// The client's first byte, as the client counts: its initial sequence number and 1.
    pub(crate) first: u32,
    /// What the client's last segment said, timestamps as the dest sees them: a header that is
    /// sent again says the same.
    pub(crate) ack: u32,
    pub(crate) tsval: u32,
    pub(crate) tsecr: u32,
    pub(crate) window: u16,
    /// HAS_TS, KNOWN, HELPED.
    pub(crate) marks: u8,
    /// Bytes of the header that has been sent; 0 before that.
    pub(crate) len: u8,
    pub(crate) traffic_class: u8,
    pub(crate) ttl: u8,
    /// A `ClientAddress`.
    kind: u8,
    /// How often the header has been sent again; which list it is in.
    pub(crate) level: u8,
    /// When it is to be sent again; or when nothing of it comes back any more.
    pub(crate) due: u32,
    /// Neighbours in that list.
    pub(crate) links: Links,
}

impl Introduction {
    /// The client uses timestamps.
    pub(crate) const HAS_TS: u8 = 1;
    /// The dest has acknowledged the whole header.
    const KNOWN: u8 = 2;
    /// The conn's ends speak FTP (`Helped`).
    const HELPED: u8 = 4;

    /// Of a conn whose client begins with `isn`.
    pub(crate) fn new(kind: ClientAddress, isn: u32) -> Self {
        Self {
            first: isn.wrapping_add(1),
            kind: kind as u8,
            links: Links::NONE,
            ..Self::new_zeroed()
        }
    }

    /// Which way.
    pub(crate) fn kind(&self) -> ClientAddress {
        ClientAddress::from_number(self.kind)
    }

    pub(crate) fn has_ts(&self) -> bool {
        self.marks & Self::HAS_TS != 0
    }

    pub(crate) fn is_known(&self) -> bool {
        self.marks & Self::KNOWN != 0
    }

    /// The dest has acknowledged the whole header; nothing of it comes back after `until`.
    pub(crate) fn set_known(&mut self, until: Stamp) {
        self.marks |= Self::KNOWN;
        self.due = until.0;
    }

    /// What the header is for the numbers of the client's stream.
    pub(crate) fn change(&self) -> Change {
        match self.len {
            0 => Change::NONE,
            len => Change { at: self.first, old: 0, new: len.into() },
        }
    }

    /// The conn's ends speak FTP.
    pub(crate) fn set_helped(&mut self) {
        self.marks |= Self::HELPED;
    }

    pub(crate) fn is_helped(&self) -> bool {
        self.marks & Self::HELPED != 0
    }

    /// The dest has been told.
    pub(crate) fn finish(&mut self) {
        self.marks &= Self::HELPED;
        self.kind = ClientAddress::Off as u8;
        self.len = 0;
    }

    /// Whether the header has been sent and is perhaps to be sent again.
    pub(crate) fn is_listed(&self) -> bool {
        self.len > 0 && !self.is_known()
    }
}

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

    /// The conn goes by a template from now on.
    pub fn set_link(&mut self, id: ConnId, link: Link) {
        self.get_mut(id).tries |= CONTROLLED;
        let extra = &mut self.extras[id.0 as usize];
        extra.template_owner = link.owner;
        (extra.template_line, extra.template_generation) = (link.line, link.generation);
    }

    /// The template of a conn that goes by one.
    pub fn link(&self, id: ConnId) -> Link {
        let extra = &self.extras[id.0 as usize];
        let (owner, line) = (extra.template_owner, extra.template_line);
        Link { owner, line, generation: extra.template_generation }
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
