//! What is learnt from frames that come in, and what is answered.

use super::Resolver;
use super::hops::How;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::wire::arp::Arp;
use pointsman_dataplane::wire::arp::Op;
use pointsman_dataplane::wire::nd::Message;
use pointsman_dataplane::wire::nd::Nd;
use std::time::Duration;

/// A disputed address is announced again this long after somebody asked for it: after the other
/// holder's answer, so that ours is the last word.
const LAST_WORD: Duration = Duration::from_millis(200);

impl Resolver {
    /// RFC 826's packet reception, less what would let strangers fill the table.
    pub(super) fn on_arp(&mut self, port: PortId, arp: &Arp, now: Tick) {
        let (sender, mac) = (arp.sender, arp.sender_mac);
        if !self.links.is_stranger(mac) {
            return;
        }
        if self.links.is_ours(port, sender) {
            return self.dispute(port, sender, mac, now);
        }
        let asks = arp.op == Op::Request && self.links.is_ours(port, arp.target);
        if !sender.is_unspecified() {
            if sender.is_martian_source() || self.links.is_ours_anywhere(sender) {
                return;
            }
            let to_us = self.links.port(port).is_some_and(|own| own.mac == arp.link.dst);
            let how = match arp.op {
                Op::Reply if to_us => How::Answered,
                Op::Request if asks => How::Asked,
                _ => How::Heard,
            };
            self.hops.learn((port, sender, mac), how, &mut self.links, now);
        }
        if asks {
            self.links.reply(port, arp.target, (mac, sender));
            self.last_word(port, arp.target, now);
        }
    }

    pub(super) fn on_nd(&mut self, port: PortId, nd: &Nd, now: Tick) {
        match nd.message {
            Message::Solicitation { target, source_mac } => {
                self.on_solicitation(port, nd, (target, source_mac), now);
            }
            Message::Advertisement { target, target_mac, solicited, overrides, .. } => {
                if self.links.is_ours(port, target) {
                    return self.dispute(port, target, target_mac.unwrap_or(nd.link.src), now);
                }
                let how = if solicited { How::Answered } else { How::Heard };
                self.on_advertisement((port, target, target_mac), how, overrides, now);
            }
        }
    }

    /// RFC 4861 section 7.2.3.
    fn on_solicitation(
        &mut self,
        port: PortId,
        nd: &Nd,
        (target, source_mac): (Addr, Option<Mac>),
        now: Tick,
    ) {
        let mac = source_mac.unwrap_or(nd.link.src);
        if self.links.is_ours(port, nd.src) {
            return self.dispute(port, nd.src, mac, now);
        }
        let sane = self.links.is_stranger(mac) && !self.links.is_ours_anywhere(nd.src);
        if !sane || !self.links.is_ours(port, target) {
            return;
        }
        if source_mac.is_some() {
            self.hops.learn((port, nd.src, mac), How::Asked, &mut self.links, now);
        }
        self.links.advertise_to(port, target, (mac, nd.src));
        self.last_word(port, target, now);
    }

    /// RFC 4861 section 7.2.5.
    fn on_advertisement(
        &mut self,
        (port, target, said): (PortId, Addr, Option<Mac>),
        how: How,
        overrides: bool,
        now: Tick,
    ) {
        let known = self.hops.mac(port, target);
        let Some(mac) = said.or(known) else { return };
        if !self.links.is_stranger(mac) {
            return;
        }
        if known.is_some_and(|k| k != mac) && !overrides {
            return self.hops.doubt(port, target, now);
        }
        self.hops.learn((port, target, mac), how, &mut self.links, now);
    }

    /// Somebody else claims an address of ours.
    fn dispute(&mut self, port: PortId, addr: Addr, mac: Mac, now: Tick) {
        if self.links.is_stranger(mac) {
            self.holders.saw((port, addr, mac), &mut self.links, now);
            self.announcer.defend((port, addr), &self.links, now);
        }
    }

    fn last_word(&mut self, port: PortId, addr: Addr, now: Tick) {
        if self.holders.is_disputed(port, addr) {
            self.announcer.defend((port, addr), &self.links, now + LAST_WORD);
        }
    }
}
