//! SCTP packets to feed with, and what is to be known of those that come out. The checksum is worked
//! out bit by bit, by RFC 9260's appendix A.

use crate::craft::Body;
use crate::craft::Packet;
use crate::net;
use crate::net::WAN;
use crate::rig::Out;
use crate::rig::Rig;
use crate::see::Seen;
use pointsman_dataplane::conn::Conn;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::Service;
use pointsman_dataplane::service::Traits;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Proto;
use std::net::SocketAddr;

/// SCTP's IANA number.
pub const NUMBER: u8 = 132;
/// The initiate tag of `init`.
pub const INITIATE_TAG: u32 = 9;

/// Numbers of chunks (RFC 9260 section 3.2).
pub mod chunk {
    /// User data.
    pub const DATA: u8 = 0;
    /// Begins an association.
    pub const INIT: u8 = 1;
    /// Answers INIT.
    pub const INIT_ACK: u8 = 2;
    /// Acknowledges data.
    pub const SACK: u8 = 3;
    /// Ends an association at once.
    pub const ABORT: u8 = 6;
    /// No more data.
    pub const SHUTDOWN: u8 = 7;
    /// Answers SHUTDOWN.
    pub const SHUTDOWN_ACK: u8 = 8;
    /// Reports what went wrong.
    pub const ERROR: u8 = 9;
    /// The handshake's third packet.
    pub const COOKIE_ECHO: u8 = 10;
    /// The handshake's fourth packet.
    pub const COOKIE_ACK: u8 = 11;
    /// Ends a shutdown.
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// A packet of these chunks, with a right checksum; tag 1.
pub fn packet(src: SocketAddr, dst: SocketAddr, chunks: &[u8]) -> Packet {
    let mut t = [src.port().to_be_bytes(), dst.port().to_be_bytes()].concat();
    t.extend([0, 0, 0, 1, 0, 0, 0, 0]);
    t.extend(chunks);
    let sum = crc32c(&t).to_le_bytes();
    t[8..12].copy_from_slice(&sum);
    Packet::new(src, dst, Body::Raw(NUMBER)).payload(&t)
}

/// A chunk of sixteen bytes besides its header, as INIT has them, and of what follows these.
pub fn chunk(kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut c = vec![kind, 0];
    c.extend((20 + rest.len() as u16).to_be_bytes());
    c.extend(INITIATE_TAG.to_be_bytes());
    c.extend([0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 5]);
    c.extend(rest);
    c
}

/// RFC 9260 appendix A.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| bit(crc)))
}

/// Whether an SCTP packet (common header and chunks) has a right checksum.
pub fn is_right(packet: &[u8]) -> bool {
    let blank = [&packet[..8], &[0; 4], &packet[12..]].concat();
    packet[8..12] == crc32c(&blank).to_le_bytes()
}

/// Source and destination of a packet that came out, with their ports.
pub fn ends(seen: &Seen) -> (SocketAddr, SocketAddr) {
    let port = |at: usize| u16::from_be_bytes([seen.segment[at], seen.segment[at + 1]]);
    (SocketAddr::new(seen.src.ip(), port(0)), SocketAddr::new(seen.dst.ip(), port(2)))
}

/// Makes SCTP services of all TCP services besides these.
pub fn add_services(s: &mut Snapshot, change: impl Fn(&mut Service, &mut Traits)) {
    for forward in net::METHODS {
        for family in net::FAMILIES {
            let at = net::service_index(family, Proto::Tcp, forward);
            let at = net::add_like(s, at, |service| service.proto = Proto::Sctp);
            let mut service = s.services[at].clone();
            for dest in &service.dests {
                let traits = s.dests[dest.id.0 as usize].traits;
                let mut changed = traits;
                change(&mut service.clone(), &mut changed);
                s.dests[dest.id.0 as usize].traits = changed;
            }
            change(&mut service, &mut Traits::default());
            s.services[at] = service;
        }
    }
}

/// Both ends' view of an association.
#[derive(Clone, Debug)]
pub struct Association {
    /// The client.
    pub client: SocketAddr,
    /// The service.
    pub vip: SocketAddr,
    /// The dest and what it takes for its client, once something came out.
    pub dest: Option<(SocketAddr, SocketAddr)>,
    /// The MAC the dest was reached at.
    mac: [u8; 6],
}

impl Association {
    /// Of client 7's port with a method's service; nothing has been sent yet.
    pub fn new(family: Family, forward: Forward, port: u16) -> Self {
        let (client, vip) = (net::client(family, 7, port), net::service_addr(family, forward));
        Self { client, vip, dest: None, mac: [0; 6] }
    }

    /// A client's packet.
    pub fn original(&self, chunks: &[u8]) -> Packet {
        packet(self.client, self.vip, chunks)
    }

    /// A dest's packet, as it leaves the dest.
    ///
    /// # Panics
    /// Where none has been reached.
    pub fn reply(&self, chunks: &[u8]) -> Packet {
        let (dest, client) = self.dest.expect("a client's packet has come out");
        packet(dest, client, chunks).from_lan(self.mac)
    }

    /// The client sends chunks by way of worker 0.
    pub fn say(&mut self, rig: &mut Rig, chunks: &[u8]) -> Out {
        let out = rig.feed(WAN, &self.original(chunks).bytes());
        if self.dest.is_none() && out.sent.len() == 1 && out.only().port == net::LAN {
            let seen = out.seen();
            self.mac = seen.eth.0;
            if seen.number == NUMBER {
                let (client, dest) = ends(&seen);
                self.dest = Some((dest, client));
            }
        }
        out
    }

    /// The dest sends chunks by way of worker 0.
    pub fn answer(&self, rig: &mut Rig, chunks: &[u8]) -> Out {
        rig.feed(net::LAN, &self.reply(chunks).bytes())
    }

    /// The four packets of the handshake; under `Dr` and `Tunnel`, the client's.
    pub fn open(rig: &mut Rig, family: Family, forward: Forward, port: u16) -> Self {
        let mut a = Self::new(family, forward, port);
        let fed = |out: Out| assert_eq!(out.sent.len(), 1);
        fed(a.say(rig, &chunk(chunk::INIT, &[])));
        if forward.sees_replies() {
            fed(a.answer(rig, &chunk(chunk::INIT_ACK, &[])));
        }
        fed(a.say(rig, &chunk(chunk::COOKIE_ECHO, &[])));
        if forward.sees_replies() {
            fed(a.answer(rig, &chunk(chunk::COOKIE_ACK, &[])));
        }
        a
    }

    /// Its conn.
    pub fn conn(&self, rig: &Rig) -> Option<Conn> {
        let (src, dst) = (self.client, self.vip);
        let is_it = |e: &pointsman_dataplane::conn::Ends| {
            let end = |addr, port| SocketAddr::new(std::net::IpAddr::from(addr), port);
            (end(e.caddr, e.cport), end(e.vaddr, e.vport)) == (src, dst)
        };
        rig.conns().into_iter().find(|(_, _, e)| is_it(e)).map(|(_, conn, _)| conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_of_rfc_3720() {
        // Appendix B.4: 32 bytes of zeros.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }
}
