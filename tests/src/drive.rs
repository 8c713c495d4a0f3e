//! A script of bytes that drives a rig: the entry point of the property tests, of the fuzzer and
//! of the corpus.
//!
//! The first `HEAD` bytes choose the network (workers, MTUs, tags, table size), every further
//! `STEP` bytes are one step. Most steps are traffic of conns as real ends would make it; the rest
//! is damage, noise, time, reloads and neighbours that come and go. Any bytes are a valid script.

use crate::craft::Body;
use crate::craft::Packet;
use crate::craft::flag;
use crate::net;
use crate::net::LAN;
use crate::net::WAN;
use crate::rig::Options;
use crate::rig::Out;
use crate::rig::Rig;
use crate::see;
use crate::see::Seen;
use crate::see::Sum;
use crate::snat;
use pointsman_dataplane::frame::BURST;
use pointsman_dataplane::neigh::HopState;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::sched::Sched;
use pointsman_dataplane::service::ClientAddress;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::Made;
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes that choose the network.
pub const HEAD: usize = 4;
/// Bytes of one step.
pub const STEP: usize = 8;
/// Steps of a script that are taken; further ones are ignored.
pub const MAX_STEPS: usize = 512;

/// What a script did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Well-formed packets of conns that were fed.
    pub traffic: u64,
    /// Those of them that opened or hit a conn.
    pub hits: u64,
    /// Damaged and random frames that were fed.
    pub noise: u64,
    /// Frames that came out.
    pub sent: u64,
}

/// A flow as its ends know it.
struct Flow {
    client: SocketAddr,
    vip: SocketAddr,
    proto: Proto,
    forward: Forward,
    /// The last packet that reached the dest, and that reached the client.
    at_dest: Option<Seen>,
    at_client: Option<Seen>,
}

struct Drive {
    rig: Rig,
    vlans: [Option<u16>; 2],
    mtus: [usize; 2],
    fixed: bool,
    /// The director is everybody's gateway.
    routing: bool,
    flows: Vec<Flow>,
    tally: Tally,
}

/// Runs a script.
///
/// # Panics
/// Where the data plane breaks a promise: see `rig`, and: a packet whose transport checksum was
/// right leaves with a right one, a wrong one stays wrong, none stays none (but for v6, where it
/// becomes a right one); what the director itself says has a right one.
pub fn run(script: &[u8]) -> Tally {
    let (head, steps) = script.split_at(HEAD.min(script.len()));
    let head = |i: usize| head.get(i).copied().unwrap_or(0);
    let mtu = |bits: u8| [1500, 1400, 1280, 9000][usize::from(bits & 3)];
    let mtus = [mtu(head(3)), mtu(head(3) >> 2)];
    let vlans = [(head(1) & 1 != 0).then_some(5), (head(1) & 2 != 0).then_some(6)];
    let fixed = head(1) & 4 != 0;
    let routing = head(1) & 8 != 0;
    let options = Options {
        workers: 1 + usize::from(head(0) % 3),
        conns: if head(2) & 7 == 7 { 5 } else { 300 },
        frames: 600,
        ..Options::default()
    };
    let client_address =
        [ClientAddress::Off, ClientAddress::ProxyV1, ClientAddress::ProxyV2, ClientAddress::Toa]
            [usize::from(head(3) >> 4 & 3)];
    let rig = Rig::build(options, |s, _| {
        if head(1) & 32 != 0 {
            net::cross(s);
        }
        if head(1) & 64 != 0 {
            snat::add(s, Sched::Rr, vec![snat::by_route()]);
        }
        net::set_mtu(s, WAN, mtus[0]);
        net::set_mtu(s, LAN, mtus[1]);
        tell(s, client_address);
        for (port, vlan) in s.ports.iter_mut().zip(vlans) {
            port.vlan = vlan;
            port.fixed_queue = fixed;
        }
        s.routing = routing;
        let last_hop = head(1) & 16 != 0;
        s.dests.iter_mut().for_each(|d| d.traits.last_hop = last_hop);
    });
    let mut drive = Drive {
        rig,
        vlans,
        mtus: mtus.map(usize::from),
        fixed,
        routing,
        flows: Vec::new(),
        tally: Tally::default(),
    };
    for step in steps.chunks_exact(STEP).take(MAX_STEPS) {
        drive.step(step);
    }
    drive.tally
}

/// Full-NAT dests are told of their clients, as the control thread has it: UDP by version 2 only.
fn tell(s: &mut Snapshot, kind: ClientAddress) {
    for service in s.services.iter().filter(|s| s.forward == Forward::FullNat) {
        for dest in service.dests.iter().map(|c| c.id.0 as usize) {
            match (service.proto, kind) {
                (Proto::Udp, ClientAddress::ProxyV2) => {
                    s.dests[dest].mtu -= net::of(service.addr.family(), 32, 56);
                    s.dests[dest].traits.client_address = kind;
                }
                (Proto::Tcp, _) => s.dests[dest].traits.client_address = kind,
                _ => {}
            }
        }
    }
}

/// Whether a frame is a segment with a PROXY protocol header, of which the sum must be right.
fn is_header(frame: &[u8]) -> bool {
    let seen = see::see(frame);
    let begins = |with: &[u8]| seen.payload.starts_with(with);
    let is_it = seen.number == 6 && (begins(b"PROXY TCP") || begins(b"\r\n\r\n\0\r\nQUIT\n"));
    assert!(!is_it || seen.sum == Sum::Right, "{}", see::hex(frame));
    is_it
}

impl Drive {
    fn step(&mut self, s: &[u8]) {
        match s[0] % 32 {
            _ if self.flows.is_empty() => self.open(s),
            0..=5 => self.open(s),
            6 => self.stranger(s),
            7..=14 => self.original(s),
            15..=22 => self.reply(s),
            23..=24 => self.error_of_dest_side(s),
            25..=26 => self.error_of_client_side(s),
            27 => self.damaged(s),
            28 => self.random(s),
            29 => self.burst(s),
            30 => self.weather(s),
            _ => self.reload(s),
        }
    }

    /// A SYN, or a first datagram.
    fn open(&mut self, s: &[u8]) {
        let family = net::FAMILIES[usize::from(s[1] & 1)];
        let proto = net::PROTOS[usize::from(s[1] >> 1 & 1)];
        let forward = net::METHODS[usize::from(s[1] >> 2 & 3)];
        let client = net::client(family, s[2] % 8, 1000 + u16::from(s[3] % 8));
        let vip = net::service_addr(family, forward);
        let same = |f: &Flow| f.client == client && f.vip == vip && f.proto == proto;
        let at = self.flows.iter().position(same).unwrap_or_else(|| {
            let (at_dest, at_client) = (None, None);
            self.flows.push(Flow { client, vip, proto, forward, at_dest, at_client });
            self.flows.len() - 1
        });
        let packet = self.by_client(at, flag::SYN, s);
        self.traffic(at, WAN, packet, s);
    }

    fn pick(&self, s: &[u8]) -> usize {
        usize::from(s[1]) % self.flows.len()
    }

    fn original(&mut self, s: &[u8]) {
        let at = self.pick(s);
        let packet = self.by_client(at, flags(s[2]), s);
        self.traffic(at, WAN, packet, s);
    }

    /// A packet of a flow's client, its size and TTL by the step's last bytes.
    fn by_client(&self, at: usize, flags: u8, s: &[u8]) -> Packet {
        let f = &self.flows[at];
        shape(segment(f.client, f.vip, f.proto, flags, s), s)
    }

    /// The dest answers what it last saw.
    fn reply(&mut self, s: &[u8]) {
        let at = self.pick(s);
        let f = &self.flows[at];
        let (seen, src, dst) = match &f.at_dest {
            Some(seen) if f.forward.sees_replies() => (seen, seen.dst, seen.src),
            // A dest that holds the VIP, with the director as its gateway.
            Some(seen) if self.routing => (seen, f.vip, f.client),
            _ => return self.original(s),
        };
        let flags = if s[2] & 1 == 0 { flag::SYN | flag::ACK } else { flags(s[2]) };
        let packet = segment(src, dst, f.proto, flags, s).from_lan(seen.eth.0);
        let packet = shape(packet, s);
        self.traffic(at, LAN, packet, s);
    }

    /// A router behind the director, or the dest, complains about what it last saw.
    fn error_of_dest_side(&mut self, s: &[u8]) {
        let at = self.pick(s);
        let f = &self.flows[at];
        let Some(seen) = f.at_dest.as_ref().filter(|_| f.forward.sees_replies()) else {
            return self.original(s);
        };
        let src = if s[2] & 1 == 0 { seen.dst.ip() } else { router(seen.dst, "10.1.0.77") };
        let packet = error(src, seen, s).from_lan(seen.eth.0);
        self.icmp(LAN, packet, s);
    }

    /// The same on the client's side.
    fn error_of_client_side(&mut self, s: &[u8]) {
        let at = self.pick(s);
        let Some(seen) = &self.flows[at].at_client else { return self.original(s) };
        let src = if s[2] & 1 == 0 { seen.dst.ip() } else { router(seen.dst, "198.51.100.9") };
        let packet = error(src, seen, s);
        self.icmp(WAN, packet, s);
    }

    /// Feeds a well-formed packet and holds what comes out against it.
    fn traffic(&mut self, at: usize, port: PortId, mut packet: Packet, s: &[u8]) {
        self.fit(&mut packet, port);
        let mut bytes = packet.bytes();
        if s[5] & 0xf8 == 0xf8 {
            break_sum(&mut bytes, &packet);
        }
        let before = (self.rig.hits(), self.rig.answers());
        let out = self.feed(port, &packet, &bytes, s);
        self.tally.traffic += 1;
        self.tally.hits += u64::from(self.rig.hits() > before.0);
        let answered = self.rig.answers() > before.1;
        self.judge(&bytes, &out, answered);
        let Some(first) = out.sent.first().filter(|_| !answered) else { return };
        let seen = see::see(&first.bytes);
        let flow = &mut self.flows[at];
        match port {
            WAN => flow.at_dest = Some(seen),
            _ => flow.at_client = Some(seen),
        }
    }

    fn icmp(&mut self, port: PortId, mut packet: Packet, s: &[u8]) {
        self.fit(&mut packet, port);
        let bytes = packet.bytes();
        let out = self.feed(port, &packet, &bytes, s);
        self.tally.traffic += 1;
        self.tally.hits += u64::from(!out.sent.is_empty());
        self.judge(&bytes, &out, false);
    }

    /// Checksums of what came out of one frame.
    fn judge(&self, fed: &[u8], out: &Out, answered: bool) {
        let sums = see::sums(&out.frames());
        let sums = sums.unwrap_or_else(|e| panic!("{e}, out of {}", see::hex(fed)));
        assert!(sums.len() <= 1, "several packets out of {}", see::hex(fed));
        let to_v6 = out.sent.first().is_some_and(|s| see::see(&s.bytes).dst.is_ipv6());
        let expected = match see::see(fed).sum {
            _ if answered => Sum::Right,
            // v6 has no datagrams without one.
            Sum::Absent if to_v6 => Sum::Right,
            sum => sum,
        };
        for sum in sums {
            let shown =
                || (see::hex(fed), out.frames().iter().map(|f| see::hex(f)).collect::<Vec<_>>());
            assert_eq!(sum, expected, "{:?}", shown());
        }
    }

    /// What a port's link can carry: its tag, and at most its MTU.
    fn fit(&self, packet: &mut Packet, port: PortId) {
        packet.vlan = self.vlans[usize::from(port.0)];
        let over = packet.ip().len().saturating_sub(self.mtus[usize::from(port.0)]);
        packet.payload.truncate(packet.payload.len().saturating_sub(over));
    }

    fn feed(&mut self, port: PortId, packet: &Packet, bytes: &[u8], s: &[u8]) -> Out {
        let worker = self.worker(packet, s);
        let headers = self.rig.made(Made::ProxyHeader);
        let mut out = self.rig.feed_at(worker, port, &[bytes]);
        self.tally.sent += out.sent.len() as u64;
        if self.rig.made(Made::ProxyHeader) > headers {
            out.sent.retain(|s| !is_header(&s.bytes));
        }
        out
    }

    /// Where a frame arrives: anywhere, or by a fixed function of its tuple.
    fn worker(&self, packet: &Packet, s: &[u8]) -> usize {
        let any = if self.fixed {
            usize::from(packet.src.port()) + usize::from(packet.dst.port())
        } else {
            usize::from(s[4])
        };
        any % self.rig.worker_count()
    }

    /// What belongs to no conn: pings, closed ports, strays, neighbours' chatter.
    fn stranger(&mut self, s: &[u8]) {
        let family = net::FAMILIES[usize::from(s[1] & 1)];
        let (port, client) = match s[1] & 2 {
            0 => (WAN, net::client(family, s[2] % 8, 999)),
            _ => (LAN, SocketAddr::new(net::dest_addr(family, 0), 999)),
        };
        let addrs = [
            net::vip(family),
            net::silent_vip(family),
            net::pool_addr(family),
            net::wan_addr(family),
            net::client(family, 99, 0).ip(),
        ];
        let dst = SocketAddr::new(addrs[usize::from(s[1] >> 2) % addrs.len()], 7);
        let echo = [net::of(family, 8, 128), 0];
        let solicitation = [net::of(family, 10, 135), 0];
        let p = match s[3] % 6 {
            0 | 1 => Packet::new(client, dst, Body::Icmp { kind: echo, rest: [1, 2, 3, 4] }),
            2 => Packet::udp(client, dst),
            3 => Packet::tcp(client, dst, flags(s[4])),
            4 => Packet::new(client, dst, Body::Icmp { kind: solicitation, rest: [0; 4] }),
            _ => Packet::tcp(client, net::service_addr(family, Forward::Nat), flags(s[4])),
        };
        let mut p = shape(p, s);
        if s[3] % 6 == 4 {
            p.ttl = 255;
        }
        if port == LAN {
            p = p.from_lan(net::dest_mac(0));
        }
        self.fit(&mut p, port);
        let bytes = p.bytes();
        let out = self.feed(port, &p, &bytes, s);
        self.tally.noise += 1;
        let sums = see::sums(&out.frames()).unwrap_or_else(|e| panic!("{e}"));
        assert!(sums.iter().all(|s| *s == Sum::Right), "out of {}", see::hex(&bytes));
    }

    /// A good frame with some bytes changed, cut off or added.
    fn damaged(&mut self, s: &[u8]) {
        let at = self.pick(s);
        let f = &self.flows[at];
        let (port, mut packet) = match &f.at_dest {
            Some(seen) if s[2] & 1 == 0 => {
                let p = match s[2] & 2 {
                    0 => segment(seen.dst, seen.src, f.proto, flag::ACK, s),
                    _ => error(seen.dst.ip(), seen, s),
                };
                (LAN, p.from_lan(seen.eth.0))
            }
            _ => (WAN, self.by_client(at, flags(s[2] >> 2), s)),
        };
        self.fit(&mut packet, port);
        let mut bytes = packet.bytes();
        let mut noise = Noise::new(s);
        for _ in 0..1 + noise.below(3) {
            let header = 14 + noise.below(70);
            let at = if noise.below(4) == 0 { noise.below(bytes.len()) } else { header };
            if let Some(b) = bytes.get_mut(at) {
                *b = noise.byte();
            }
        }
        match noise.below(8) {
            0 => bytes.truncate(noise.below(bytes.len())),
            1 => bytes.extend((0..noise.below(60)).map(|_| 0x5a)),
            _ => {}
        }
        // Half of the time the header checksum is made good, so that the damage gets further.
        let l3 = 14 + if packet.vlan.is_some() { 4 } else { 0 };
        if noise.below(2) == 0 && packet.dst.is_ipv4() {
            mend_header(&mut bytes, l3);
        }
        self.tally.noise += 1;
        let worker = noise.below(self.rig.worker_count());
        let out = self.rig.feed_at(worker, port, &[&bytes]);
        self.tally.sent += out.sent.len() as u64;
    }

    /// Random bytes, some with an Ethernet header that gets them further.
    fn random(&mut self, s: &[u8]) {
        let mut noise = Noise::new(s);
        let port = if noise.below(2) == 0 { WAN } else { LAN };
        let mut bytes: Vec<u8> = (0..noise.below(200)).map(|_| noise.byte()).collect();
        if bytes.len() >= 18 && noise.below(4) > 0 {
            let mac = if port == WAN { net::WAN_MAC } else { net::LAN_MAC };
            bytes[..6].copy_from_slice(&mac);
            let ether_type = [[8, 0], [0x86, 0xdd], [8, 6]][noise.below(3)];
            match self.vlans[usize::from(port.0)] {
                None => bytes[12..14].copy_from_slice(&ether_type),
                Some(id) => {
                    bytes[12..14].copy_from_slice(&[0x81, 0]);
                    bytes[14..16].copy_from_slice(&id.to_be_bytes());
                    bytes[16..18].copy_from_slice(&ether_type);
                }
            }
        }
        self.tally.noise += 1;
        let worker = noise.below(self.rig.worker_count());
        self.rig.feed_at(worker, port, &[&bytes]);
    }

    /// A whole burst of one worker: every flow's client says something.
    fn burst(&mut self, s: &[u8]) {
        let n = 1 + usize::from(s[3]) % BURST;
        let frames: Vec<Vec<u8>> = (0..n)
            .map(|i| {
                let at = (usize::from(s[1]) + i) % self.flows.len();
                let mut p = self.by_client(at, flags(s[2]), &[0, 0, 0, 0, 0, 0, s[6], 0]);
                self.fit(&mut p, WAN);
                p.bytes()
            })
            .collect();
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let worker = usize::from(s[4]) % self.rig.worker_count();
        let out = self.rig.feed_at(worker, WAN, &frames);
        self.tally.sent += out.sent.len() as u64;
        for sent in out.sent.iter().filter(|o| see::see(&o.bytes).fragment == (false, 0)) {
            assert_ne!(see::see(&sent.bytes).sum, Sum::Wrong, "{}", see::hex(&sent.bytes));
        }
    }

    /// Time passes, or a neighbour changes.
    fn weather(&mut self, s: &[u8]) {
        let millis = 1u64 << (s[3] % 18);
        match s[1] % 8 {
            0..=3 => drop(self.rig.pass(Duration::from_millis(millis))),
            n => {
                let family = net::FAMILIES[usize::from(s[2] & 1)];
                let (port, addr, mac) = match usize::from(s[2] >> 1 & 3) {
                    3 => (WAN, net::gateway(family), net::GATEWAY_MAC),
                    dest => (LAN, net::dest_addr(family, dest), net::dest_mac(dest)),
                };
                let state = match n {
                    4 => HopState::Dead,
                    5 => HopState::Incomplete,
                    _ => HopState::Reachable([mac[0], 0, 0, 0, 0x77, s[3]]),
                };
                self.rig.set_neighbour(port, addr, state);
                self.rig.housekeep();
            }
        }
    }

    /// A new configuration; flows stay what they were.
    fn reload(&mut self, s: &[u8]) {
        let (what, which) = (s[1] % 6, usize::from(s[2]));
        self.rig.reload(|snapshot| change(snapshot, what, which));
        // Answered again at once, so that most of a script meets dests that work.
        if what >= 4 {
            for family in net::FAMILIES {
                for n in 0..net::DESTS {
                    let (addr, mac) = (net::dest_addr(family, n), net::dest_mac(n));
                    self.rig.set_neighbour(LAN, addr, HopState::Reachable(mac));
                }
                let mac = HopState::Reachable(net::GATEWAY_MAC);
                self.rig.set_neighbour(WAN, net::gateway(family), mac);
            }
            self.rig.housekeep();
        }
    }
}

fn change(snapshot: &mut Snapshot, what: u8, which: usize) {
    let i = which % snapshot.services.len();
    let service = &mut snapshot.services[i];
    match what {
        // A weight becomes 0 or 2.
        0 | 1 => {
            let n = (which / 7) % service.dests.len().max(1);
            if let Some(d) = service.dests.get_mut(n) {
                d.weight = if what == 0 { 0 } else { 2 };
            }
        }
        // A dest is removed.
        2 if service.dests.len() > 1 => {
            let gone = service.dests.remove(which / 7 % service.dests.len());
            snapshot.dests[gone.id.0 as usize].removed = true;
        }
        // All are there again.
        3 => {
            let all = (0..net::DESTS).map(|n| (i * net::DESTS + n) as u32);
            service.dests = all
                .map(|id| pointsman_dataplane::service::Candidate {
                    id: pointsman_dataplane::service::DestId(id),
                    weight: 1,
                    last_weight: 1,
                })
                .collect();
            for d in &service.dests {
                snapshot.dests[d.id.0 as usize].removed = false;
            }
        }
        _ => return,
    }
    snapshot.services[i].version += 1;
}

fn segment(src: SocketAddr, dst: SocketAddr, proto: Proto, flags: u8, s: &[u8]) -> Packet {
    match proto {
        Proto::Udp => {
            let checksum = dst.is_ipv6() || s[6] & 0xc0 != 0xc0;
            Packet::new(src, dst, Body::Udp { checksum })
        }
        _ => Packet::tcp(src, dst, flags),
    }
}

/// Size, TTL, options and DF by a step's last bytes; mostly ordinary.
fn shape(mut p: Packet, s: &[u8]) -> Packet {
    let len = match s[6] & 15 {
        0..=7 => usize::from(s[7]) / 4,
        8..=11 => 1000 + usize::from(s[7]),
        12..=14 => 1300 + usize::from(s[7]),
        _ => 16 * usize::from(s[7]),
    };
    p.payload = (0..len).map(|i| (i as u8) ^ s[7]).collect();
    p.ttl = if s[5] & 15 == 15 { s[5] >> 4 } else { 64 };
    p.fragment = if s[6] & 16 == 0 { 0x4000 } else { 0 };
    p.tos = s[5] >> 2 & 0x3f;
    p.padding = if s[6] & 32 == 0 { 0 } else { 7 };
    if s[5] & 0x1f == 0x0b {
        // Record route (not copied), security (copied), end; v6: hop-by-hop and destination pads.
        p.options = vec![7, 7, 4, 0, 0, 0, 0, 1, 130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        p.extensions = vec![
            (0, vec![1, 4, 0, 0, 0, 0]),
            (60, vec![1, 12].into_iter().chain([0; 12]).collect()),
        ];
    }
    if p.dst.is_ipv4() {
        p.extensions.clear();
    } else {
        p.options.clear();
    }
    p
}

fn error(src: std::net::IpAddr, about: &Seen, s: &[u8]) -> Packet {
    let kinds: [[u8; 2]; 4] = match src.is_ipv4() {
        true => [[3, 1], [3, 3], [3, 4], [11, 0]],
        false => [[1, 3], [1, 4], [2, 0], [3, 0]],
    };
    // A router quotes up to 576 or 1280 bytes in all; some quote everything.
    let whole = s[3] & 0x70 == 0x70;
    let most = if whole {
        1472
    } else if src.is_ipv4() {
        548
    } else {
        1232
    };
    let least = if src.is_ipv4() { 28 } else { 48 };
    let quote = &about.ip[..about.ip.len().min(most)];
    let cut = if s[3] & 1 == 0 { quote.len() } else { quote.len().min(least) };
    let kind = kinds[usize::from(s[3] >> 1 & 3)];
    Packet::icmp(src, about.src.ip(), kind, [0, 0, 5, 0x78], &quote[..cut])
}

fn router(beside: SocketAddr, v4: &str) -> std::net::IpAddr {
    if beside.is_ipv4() { net::ip(v4) } else { net::ip("2001:db8:77::1") }
}

fn flags(b: u8) -> u8 {
    const LIKELY: [u8; 8] = [
        flag::ACK,
        flag::ACK,
        flag::ACK,
        flag::SYN,
        flag::FIN | flag::ACK,
        flag::RST,
        flag::RST | flag::ACK,
        0,
    ];
    LIKELY[usize::from(b >> 1 & 7)]
}

/// Makes a transport checksum wrong; one that is absent stays so.
fn break_sum(bytes: &mut [u8], packet: &Packet) {
    let end = bytes.len() - packet.padding;
    let at = match packet.body {
        Body::Tcp { .. } => end - packet.payload.len() - 4,
        Body::Udp { checksum: true } => end - packet.payload.len() - 2,
        _ => return,
    };
    bytes[at] ^= 0x11;
    // 0 would say that there is none.
    if bytes[at..at + 2] == [0, 0] {
        bytes[at] = 0x22;
    }
}

/// Makes the header checksum of an IPv4 header good, if there is one.
fn mend_header(bytes: &mut [u8], l3: usize) {
    let Some(first) = bytes.get(l3) else { return };
    let len = usize::from(first & 15) * 4;
    let Some(header) = bytes.get_mut(l3..l3 + len) else { return };
    if len >= 20 {
        header[10..12].fill(0);
        let sum = etherparse::checksum::Sum16BitWords::new().add_slice(header).ones_complement();
        header[10..12].copy_from_slice(&sum.to_ne_bytes());
    }
}

/// Numbers that follow from a step's bytes.
struct Noise(u64);

impl Noise {
    fn new(s: &[u8]) -> Self {
        Self(s.iter().fold(1, |n, b| n.wrapping_mul(257).wrapping_add(u64::from(*b))))
    }

    fn byte(&mut self) -> u8 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) as u8
    }

    fn below(&mut self, n: usize) -> usize {
        let word = usize::from(self.byte()) << 8 | usize::from(self.byte());
        word % n.max(1)
    }
}
