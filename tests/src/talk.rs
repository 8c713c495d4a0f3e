//! A conversation of a client with a service, for tests that look at one thing at a time.

use crate::craft::Packet;
use crate::craft::flag;
use crate::net;
use crate::rig::Out;
use crate::rig::Rig;
use crate::see::Seen;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Proto;
use std::net::SocketAddr;

/// Both ends' view of a conn.
#[derive(Clone, Debug)]
pub struct Talk {
    /// The client.
    pub client: SocketAddr,
    /// The service.
    pub vip: SocketAddr,
    /// Its protocol.
    pub proto: Proto,
    /// Its method.
    pub forward: Forward,
    /// The packet that opened the conn, as the dest saw it (under `Tunnel`, the outer one).
    pub at_dest: Seen,
}

impl Talk {
    /// Opens a conn of client `n`'s `port` by a frame that arrives at worker `at`.
    ///
    /// # Panics
    /// Where the opening packet does not come out.
    pub fn open(
        rig: &mut Rig,
        at: usize,
        kind: (Family, Proto, Forward),
        client: (u8, u16),
    ) -> Self {
        Self::begin(rig, at, None, kind, client)
    }

    /// Opens one at worker 0 where the client's port wants a tag.
    ///
    /// # Panics
    /// Where the opening packet does not come out.
    pub fn open_tagged(
        rig: &mut Rig,
        vlan: Option<u16>,
        kind: (Family, Proto, Forward),
        client: (u8, u16),
    ) -> Self {
        Self::begin(rig, 0, vlan, kind, client)
    }

    fn begin(
        rig: &mut Rig,
        at: usize,
        vlan: Option<u16>,
        (family, proto, forward): (Family, Proto, Forward),
        (n, port): (u8, u16),
    ) -> Self {
        let client = net::client(family, n, port);
        let vip = net::service_addr(family, forward);
        let mut first = packet(client, vip, proto, flag::SYN);
        first.vlan = vlan;
        let out = rig.feed_at(at, net::WAN, &[&first.bytes()]);
        assert_eq!(out.sent.len(), 1, "{client} to {vip}: dropped {:?}", rig.drops());
        Self { client, vip, proto, forward, at_dest: out.seen() }
    }

    /// A TCP conn to the nat or whatever service, on a rig of one worker.
    pub fn tcp(rig: &mut Rig, family: Family, forward: Forward) -> Self {
        Self::open(rig, 0, (family, Proto::Tcp, forward), (7, 40_000))
    }

    /// A further packet of the client.
    pub fn original(&self, flags: u8) -> Packet {
        packet(self.client, self.vip, self.proto, flags)
    }

    /// A packet of the dest, as it leaves the dest.
    pub fn reply(&self, flags: u8) -> Packet {
        packet(self.at_dest.dst, self.at_dest.src, self.proto, flags).from_lan(self.at_dest.eth.0)
    }

    /// Feeds a client's packet to worker 0.
    pub fn say(&self, rig: &mut Rig, flags: u8) -> Out {
        rig.feed(net::WAN, &self.original(flags).bytes())
    }

    /// Feeds a dest's packet to worker 0.
    pub fn answer(&self, rig: &mut Rig, flags: u8) -> Out {
        rig.feed(net::LAN, &self.reply(flags).bytes())
    }

    /// Handshake's rest, and the FINs of both sides: the conn is in TIME_WAIT then.
    pub fn finish(&self, rig: &mut Rig) {
        self.answer(rig, flag::SYN | flag::ACK);
        self.say(rig, flag::ACK);
        self.say(rig, flag::FIN | flag::ACK);
        self.answer(rig, flag::FIN | flag::ACK);
        self.say(rig, flag::ACK);
    }
}

fn packet(src: SocketAddr, dst: SocketAddr, proto: Proto, flags: u8) -> Packet {
    match proto {
        Proto::Udp => Packet::udp(src, dst),
        _ => Packet::tcp(src, dst, flags),
    }
}
