//! An FTP service, and a control conn to it as its client and its dest see it.

use crate::craft::Body;
use crate::craft::Packet;
use crate::craft::flag;
use crate::net;
use crate::net::LAN;
use crate::net::WAN;
use crate::rig::Options;
use crate::rig::Out;
use crate::rig::Rig;
use crate::see::Seen;
use crate::see::Sum;
use pointsman_dataplane::conn::Conn;
use pointsman_dataplane::conn::Ends;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Proto;
use std::net::IpAddr;
use std::net::SocketAddr;

/// Where the client begins; its numbers wrap within its first lines.
pub const CLIENT_ISN: u32 = 0xffff_fff8;
/// Where the dest begins.
pub const DEST_ISN: u32 = 0x7fff_fff0;

/// Adds an FTP service, VIP:21 with three dests at their ports 21; its place.
pub fn add_service(s: &mut Snapshot, family: Family, forward: Forward) -> usize {
    let like = net::service_index(family, Proto::Tcp, forward);
    let at = net::add_like(s, like, |service| {
        service.port = 21;
        service.terms.ftp = true;
    });
    let id = s.services[at].id;
    for dest in s.services[at].dests.clone() {
        let dest = &mut s.dests[dest.id.0 as usize];
        (dest.port, dest.traits.ftp) = (21, Some(id));
    }
    at
}

/// A control conn.
pub struct Control {
    /// Where it is.
    pub rig: Rig,
    /// How.
    pub forward: Forward,
    /// Who opened it.
    pub client: SocketAddr,
    /// The service.
    pub vip: SocketAddr,
    /// The dest.
    pub dest: SocketAddr,
    /// Who its client is to the dest.
    pub local: SocketAddr,
    /// The dest's MAC.
    pub mac: [u8; 6],
    /// The client's next number, as it counts.
    pub c: u32,
    /// The dest's next number, as it counts.
    pub d: u32,
    /// The client's next number, as the dest counts, and the dest's, as the client counts.
    pub seen: (u32, u32),
    at: usize,
}

/// The ends of a packet.
pub type Way = (SocketAddr, SocketAddr);

impl Control {
    /// An established one.
    pub fn open(family: Family, forward: Forward, workers: usize) -> Self {
        Self::open_with(family, forward, workers, |_| {})
    }

    /// The same with the snapshot changed.
    pub fn open_with(
        family: Family,
        forward: Forward,
        workers: usize,
        change: impl FnOnce(&mut Snapshot),
    ) -> Self {
        let options = Options { workers, ..Options::default() };
        let rig = Rig::build(options, |s, _| {
            add_service(s, family, forward);
            change(s);
        });
        Self::open_in(rig, forward, net::client(family, 7, 40_000))
    }

    /// The same in a rig that there is.
    pub fn open_in(mut rig: Rig, forward: Forward, client: SocketAddr) -> Self {
        let family = if client.is_ipv4() { Family::V4 } else { Family::V6 };
        let vip = SocketAddr::new(net::vip(family), 21);
        let syn = Packet::new(client, vip, Body::Tcp { flags: flag::SYN, seq: CLIENT_ISN, ack: 0 });
        let seen = rig.feed(WAN, &syn.bytes()).seen();
        let (_, isn, _) = seen.tcp.expect("a SYN");
        let (dest, local, mac) = (seen.dst, seen.src, seen.eth.0);
        let (c, d) = (CLIENT_ISN.wrapping_add(1), DEST_ISN.wrapping_add(1));
        let seen = (isn.wrapping_add(1), d);
        let mut it = Self { rig, forward, client, vip, dest, local, mac, c, d, seen, at: 0 };
        let (syn_ack, first) = (flag::SYN | flag::ACK, it.seen.0);
        let seen = it.from_dest(syn_ack, DEST_ISN, first, b"");
        assert_eq!(seen.seen().tcp, Some((syn_ack, DEST_ISN, c)));
        let seen = it.from_client(flag::ACK, c, d, b"").seen();
        assert_eq!(seen.tcp, Some((flag::ACK, first, d)));
        it
    }

    /// A frame comes, at one worker after the other.
    pub fn feed(&mut self, p: &Packet) -> Out {
        self.at = (self.at + 1) % self.rig.worker_count();
        let port = if p.eth.0 == net::LAN_MAC { LAN } else { WAN };
        self.rig.feed_at(self.at, port, &[&p.bytes()])
    }

    /// What the client sends, in its numbers.
    pub fn from_client(&mut self, flags: u8, seq: u32, ack: u32, data: &[u8]) -> Out {
        let body = Body::Tcp { flags, seq, ack };
        self.feed(&Packet::new(self.client, self.vip, body).payload(data))
    }

    /// What the dest sends, in its numbers.
    pub fn from_dest(&mut self, flags: u8, seq: u32, ack: u32, data: &[u8]) -> Out {
        let p = Packet::new(self.dest, self.local, Body::Tcp { flags, seq, ack }).payload(data);
        self.feed(&p.from_lan(self.mac))
    }

    /// The client says a line that the dest gets and acknowledges: what the dest got.
    pub fn says(&mut self, line: &str) -> String {
        let seen = self.from_client(flag::ACK, self.c, self.seen.1, line.as_bytes()).seen();
        let ways = (seen.src, seen.dst, seen.sum, seen.tcp);
        let numbers = Some((flag::ACK, self.seen.0, self.d));
        assert_eq!(ways, (self.local, self.dest, Sum::Right, numbers), "{line}");
        self.c = self.c.wrapping_add(line.len() as u32);
        self.seen.0 = self.seen.0.wrapping_add(seen.payload.len() as u32);
        let heard = self.from_dest(flag::ACK, self.d, self.seen.0, b"").seen();
        assert_eq!(heard.tcp, Some((flag::ACK, self.seen.1, self.c)), "{line}");
        String::from_utf8(seen.payload).expect("text")
    }

    /// The dest answers with a line that the client gets and acknowledges: what the client got.
    pub fn answers(&mut self, line: &str) -> String {
        let seen = self.from_dest(flag::ACK, self.d, self.seen.0, line.as_bytes()).seen();
        let ways = (seen.src, seen.dst, seen.sum, seen.tcp);
        let numbers = Some((flag::ACK, self.seen.1, self.c));
        assert_eq!(ways, (self.vip, self.client, Sum::Right, numbers), "{line}");
        self.d = self.d.wrapping_add(line.len() as u32);
        self.seen.1 = self.seen.1.wrapping_add(seen.payload.len() as u32);
        let heard = self.from_client(flag::ACK, self.c, self.seen.1, b"").seen();
        assert_eq!(heard.tcp, Some((flag::ACK, self.seen.0, self.d)), "{line}");
        String::from_utf8(seen.payload).expect("text")
    }

    /// A SYN by this way, from the client's side or the dest's: what came of it.
    pub fn syn(&mut self, (from, to): Way, by_dest: bool) -> Out {
        let p = Packet::new(from, to, Body::Tcp { flags: flag::SYN, seq: 7_000, ack: 0 });
        let p = if by_dest { p.from_lan(self.mac) } else { p };
        self.feed(&p)
    }

    /// Opens a conn by this way and sends data both ways, which arrives as from `seen.1` to
    /// `seen.0`'s sides: gives the other side's ends as that side sees them.
    pub fn transfers(&mut self, way: Way, by_dest: bool) -> Way {
        let syn = self.syn(way, by_dest).seen();
        assert_eq!(syn.sum, Sum::Right);
        let there = (syn.src, syn.dst);
        let (_, isn, _) = syn.tcp.expect("a SYN");
        let back = |it: &mut Self, flags, seq, ack, data: &[u8]| {
            let p = Packet::new(there.1, there.0, Body::Tcp { flags, seq, ack }).payload(data);
            let p = if by_dest { p } else { p.from_lan(it.mac) };
            it.feed(&p).seen()
        };
        let answer = back(self, flag::SYN | flag::ACK, 90_000, isn.wrapping_add(1), b"");
        assert_eq!((answer.src, answer.dst), (way.1, way.0));
        assert_eq!(answer.tcp, Some((flag::SYN | flag::ACK, 90_000, 7_001)));
        for n in 0..4 {
            let body = Body::Tcp { flags: flag::ACK, seq: 7_001 + 4 * n, ack: 90_001 };
            let p = Packet::new(way.0, way.1, body).payload(b"data");
            let seen = self.feed(&if by_dest { p.from_lan(self.mac) } else { p }).seen();
            assert_eq!((seen.src, seen.dst, seen.sum), (there.0, there.1, Sum::Right));
            assert_eq!(seen.payload, b"data");
            let seen = back(self, flag::ACK, 90_001, isn.wrapping_add(5 + 4 * n), b"back");
            assert_eq!((seen.src, seen.dst, seen.sum), (way.1, way.0, Sum::Right));
            assert_eq!(seen.tcp, Some((flag::ACK, 90_001, 7_005 + 4 * n)));
        }
        there
    }

    /// The conns that are not the control conn, of all workers.
    pub fn data_conns(&self) -> Vec<(Conn, Ends)> {
        let conns = self.rig.conns().into_iter();
        let data = conns.filter(|(_, _, ends)| ends.vport != 21 && ends.proto == Proto::Tcp);
        data.map(|(_, conn, ends)| (conn, ends)).collect()
    }
}

/// `PORT` and `EPRT` of a client.
pub fn port_command(family: Family, extended: bool, addr: IpAddr, port: u16) -> String {
    match (addr, extended) {
        (IpAddr::V4(v4), false) => {
            let [a, b, c, d] = v4.octets();
            format!("PORT {a},{b},{c},{d},{},{}\r\n", port >> 8, port & 0xff)
        }
        _ => format!("EPRT |{}|{addr}|{port}|\r\n", net::of(family, 1, 2)),
    }
}

/// `227` and `229` of a server.
pub fn passive_answer(extended: bool, addr: IpAddr, port: u16) -> String {
    match (addr, extended) {
        (IpAddr::V4(v4), false) => {
            let [a, b, c, d] = v4.octets();
            let (p, q) = (port >> 8, port & 0xff);
            format!("227 Entering Passive Mode ({a},{b},{c},{d},{p},{q}).\r\n")
        }
        _ => format!("229 Entering Extended Passive Mode (|||{port}|)\r\n"),
    }
}

/// The segment of a frame that is the only one.
pub fn only(out: &Out) -> Seen {
    let seen = out.seen();
    assert_eq!(seen.sum, Sum::Right);
    seen
}
