//! What became of the conversations, added up as each is over.

use super::map::Target;
use super::packet::End;
use super::skip::Skip;
use super::talk::Talk;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use serde::Serialize;
use std::collections::BTreeMap;

/// Of a conversation with a handshake at least this share of frames must leave.
pub(super) const MUST_LEAVE: f64 = 0.99;

/// Sums over conversations.
#[derive(Default, Debug)]
pub(super) struct Tally {
    pub(super) tcp: u64,
    pub(super) udp: u64,
    /// Conversations that began before the capture.
    pub(super) started_before: u64,
    /// Frames made up for these.
    pub(super) made_up: u64,
    /// TCP conversations whose handshake is in the capture, their frames, and those that left.
    pub(super) handshakes: u64,
    pub(super) handshake_frames: u64,
    pub(super) handshake_left: u64,
    /// Conversations that never got a conn.
    pub(super) refused: u64,
    pub(super) listed: Vec<Lost>,
    /// Those that got one, have a handshake, and lost more frames than they may.
    pub(super) lossy: u64,
    pub(super) listed_lossy: Vec<Lost>,
    /// Clients with another port, because theirs was in use; with another address.
    pub(super) moved: u64,
    pub(super) renamed: u64,
    pub(super) ttl_raised: u64,
    pub(super) headers_mended: u64,
    /// Conns that changed their mapping on the way (second choice, expiry).
    pub(super) remapped: u64,
    /// Frames that the director cut into fragments: their content is not compared.
    pub(super) fragmented: u64,
}

/// A conversation that lost frames.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    proto: Proto,
    client: End,
    vip: End,
    /// Frames of it, those that left.
    pub(super) frames: u64,
    pub(super) left: u64,
    /// As a conversation has them.
    reasons: u64,
    expired: bool,
}

/// What it says to programs.
#[derive(Serialize)]
struct Row {
    conversation: String,
    frames: u64,
    left: u64,
    reasons: Vec<&'static str>,
}

impl Tally {
    pub(super) fn add(&mut self, talk: &Talk, target: &Target) {
        match talk.key.proto {
            Proto::Tcp => self.tcp += 1,
            _ => self.udp += 1,
        }
        let frames = talk.fed + talk.unmapped;
        if talk.has_handshake() {
            self.handshakes += 1;
            self.handshake_frames += frames;
            self.handshake_left += talk.left;
        }
        let few = (talk.left as f64) < frames as f64 * MUST_LEAVE;
        let (count, listed) = match talk.mapping {
            _ if talk.refused => return,
            None => (&mut self.refused, &mut self.listed),
            Some(_) if talk.has_handshake() && few => (&mut self.lossy, &mut self.listed_lossy),
            Some(_) => return,
        };
        *count += 1;
        listed.push(Lost::new(talk, target, frames));
    }

    /// Share of frames that left, of conversations with a handshake.
    pub(super) fn share(&self) -> f64 {
        match self.handshake_frames {
            0 => 1.0,
            n => self.handshake_left as f64 / n as f64,
        }
    }
}

impl Lost {
    fn new(talk: &Talk, target: &Target, frames: u64) -> Self {
        let (proto, client, vip) = (talk.key.proto, talk.end, (target.addr, target.port));
        let (left, reasons, expired) = (talk.left, talk.reasons, talk.expired > 0);
        Self { proto, client, vip, frames, left, reasons, expired }
    }

    /// Protocol, client and VIP, as the director saw them.
    pub(super) fn conversation(&self) -> String {
        format!("{} {} -> {}", self.proto, show(self.client), show(self.vip))
    }

    /// Names of the drops.
    pub(super) fn reasons(&self) -> Vec<&'static str> {
        let mut reasons = names(self.reasons);
        reasons.extend(self.expired.then_some(Skip::Expired.name()));
        reasons
    }

    /// For what conversations lost frames, and how many of them did.
    pub(super) fn by_reason(listed: &[Self]) -> Vec<String> {
        let mut count = BTreeMap::new();
        for reason in listed.iter().flat_map(Self::reasons) {
            *count.entry(reason).or_insert(0_u64) += 1;
        }
        count.iter().map(|(reason, n)| format!("{reason} {n}")).collect()
    }
}

impl Serialize for Lost {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (conversation, reasons) = (self.conversation(), self.reasons());
        Row { conversation, frames: self.frames, left: self.left, reasons }.serialize(to)
    }
}

/// `192.0.2.1:80`, `[2001:db8::1]:80`.
pub(super) fn show(end: End) -> String {
    std::net::SocketAddr::new(end.0.into(), end.1).to_string()
}

fn names(reasons: u64) -> Vec<&'static str> {
    let all = DropReason::ALL.iter();
    all.filter(|r| reasons >> (**r as u8) & 1 == 1).map(|r| r.name()).collect()
}

const _: () = assert!(DropReason::COUNT <= 64, "reasons are kept as bits");
