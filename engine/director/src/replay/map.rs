//! `--map`: conversations of the capture become clients of a service.

use super::clients::Clients;
use super::forge;
use super::packet::Packet;
use super::packet::Piece;
use super::run::SHORTEST_LIFE;
use super::skip::Skip;
use super::talk::CLOSED;
use super::talk::Key;
use super::talk::Talk;
use super::talk::Way;
use super::talks::Talks;
use super::tally::Tally;
use hashbrown::HashMap;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::service::ClientAddress;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::Scope;
use pointsman_dataplane::service::Service;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::tuple::Tuple;
use pointsman_dataplane::wire::get32;
use pointsman_dataplane::wire::ipv6;
use pointsman_dataplane::wire::options;
use pointsman_dataplane::wire::put16;
use pointsman_dataplane::wire::put32;
use pointsman_dataplane::wire::tcp;
use std::sync::Arc;

/// Datagrams in pieces that are remembered.
const FRAGMENTED: usize = 65_536;
/// A conversation that was silent so long is forgotten: longer than a made-up service's conns live.
const SILENCE: u64 = 7_500_000_000_000;

/// A service that conversations are mapped to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) proto: Proto,
    pub(super) addr: Addr,
    pub(super) port: u16,
    /// The method of all its dests; none where they have several.
    pub(super) forward: Option<Forward>,
    /// Dests by full-NAT are told of their clients, so that they get more than the capture's bytes.
    pub(super) introduces: bool,
    /// Each datagram is a conn of its own.
    pub(super) one_packet: bool,
}

/// What becomes of a packet.
pub(super) enum Task {
    /// It is fed by this port, as it stands now.
    Feed(PortId),
    /// It goes past the director.
    Direct,
}

/// A datagram of which fragments come: the interface, source, destination and identification.
type Datagram = (u32, Addr, Addr, u32);

/// Whether a service has a virtual end that conversations can be turned to.
pub(super) fn has_end(service: &Service) -> bool {
    service.port != 0 && !matches!(service.scope, Scope::Mark(_))
}

/// All conversations.
pub(super) struct Map {
    pub(super) targets: Vec<Target>,
    snapshot: Arc<Snapshot>,
    pickup: bool,
    pub(super) talks: Talks,
    fragments: HashMap<Datagram, (usize, Way, Key)>,
    clients: Clients,
    /// Where the next sweep is due.
    sweep_at: usize,
    pub(super) tally: Tally,
}

impl Map {
    pub(super) fn new(targets: Vec<Target>, snapshot: Arc<Snapshot>, pickup: bool) -> Self {
        Self {
            targets,
            clients: Clients::new(Arc::clone(&snapshot)),
            snapshot,
            pickup,
            talks: Talks::default(),
            fragments: HashMap::new(),
            sweep_at: 4096,
            tally: Tally::default(),
        }
    }

    /// The services of a snapshot, those that `wanted` says.
    pub(super) fn targets(
        snapshot: &Snapshot,
        wanted: impl Fn(Addr, u16, Proto) -> bool,
    ) -> Vec<Target> {
        let wanted = |s: &&Service| has_end(s) && wanted(s.addr, s.port, s.proto);
        let services = snapshot.services.iter().filter(wanted);
        let target = |s: &Service| {
            let mut told = s.dests.iter().map(|d| snapshot.dest(d.id).traits.client_address);
            let introduces = told.any(|c| c != ClientAddress::Off);
            let (proto, addr, port, forward) = (s.proto, s.addr, s.port, s.methods.only());
            let one_packet = s.terms.one_packet;
            Target { proto, addr, port, forward, introduces, one_packet }
        };
        services.map(target).collect()
    }

    /// The conversation of a packet, where there is one.
    pub(super) fn known(&self, copy: u32, p: &Packet) -> Option<&Talk> {
        self.talks.find(&Key::new(copy, p)).map(|index| &self.talks[index])
    }

    /// What the director sees of a conversation's client.
    pub(super) fn tuple(&self, index: usize) -> Tuple {
        let talk = &self.talks[index];
        let (target, (src, sport)) = (&self.targets[talk.service], talk.end);
        Tuple { src, dst: target.addr, sport, dport: target.port, proto: target.proto }
    }

    /// Finds or opens the conversation of a packet, and which way it goes.
    pub(super) fn place(
        &mut self,
        copy: u32,
        ip: &[u8],
        p: &Packet,
        now: u64,
    ) -> Result<(usize, Way), Skip> {
        let datagram = |id| (copy, p.src.0, p.dst.0, id);
        if let Piece::Later(id) = p.piece {
            let known = self.fragments.get(&datagram(id));
            let known = known.filter(|(index, _, key)| self.talks.find(key) == Some(*index));
            return known.map(|(index, way, _)| (*index, *way)).ok_or(Skip::NoFirst);
        }
        let number = |at| if p.proto == Proto::Tcp { get32(ip, p.l4 + at) } else { 0 };
        let numbers = (number(tcp::SEQ), number(tcp::ACK));
        let key = Key::new(copy, p);
        let found = match self.talks.find(&key) {
            Some(index) if self.talks[index].ends_with(p, numbers, now) => {
                self.retire(index, now);
                None
            }
            found => found,
        };
        let index = match found {
            Some(index) => index,
            None => self.open(key, p, now)?,
        };
        let talk = &mut self.talks[index];
        let way = talk.way(p);
        talk.note(p, way, numbers, now);
        if talk.refused {
            return Err(Skip::NoStart);
        }
        if let Piece::First(id) = p.piece {
            if self.fragments.len() >= FRAGMENTED {
                self.fragments.clear();
            }
            self.fragments.insert(datagram(id), (index, way, key));
        }
        Ok((index, way))
    }

    /// Whether a client's packet may change what its dest answers through: by a conn that it opens,
    /// by numbers that are seen for the first time.
    pub(super) fn may_map(&self, index: usize, ip: &[u8], p: &Packet, now: u64) -> bool {
        let talk = &self.talks[index];
        let target = &self.targets[talk.service];
        let Some(mapping) = talk.mapping else { return true };
        let stamped = || options::timestamps(&ip[p.l4..p.end]).is_some();
        let tcp = p.proto == Proto::Tcp && !matches!(p.piece, Piece::Later(_));
        now >= talk.passed + SHORTEST_LIFE
            || target.introduces
            || target.one_packet
            || p.flags & tcp::SYN != 0
            || tcp && mapping.ts.is_none() && stamped()
    }

    fn open(&mut self, key: Key, p: &Packet, now: u64) -> Result<usize, Skip> {
        let v4 = p.is_v4();
        let fits = |t: &Target| t.proto == key.proto && t.addr.is_v4() == v4;
        let service = self.targets.iter().position(fits).ok_or(Skip::NoService)?;
        if self.talks.len() >= self.sweep_at {
            self.sweep(now);
        }
        let client = Talk::client_of(p);
        let end = self.clients.end(key.copy, key.proto, client, now)?;
        let mut talk = Talk::new(key, p, end, service, now);
        talk.forward = self.targets[service].forward;
        if key.proto == Proto::Tcp && !p.is_syn() {
            self.tally.started_before += 1;
            talk.picked_up = self.pickup;
            talk.refused = !self.pickup;
        }
        Ok(self.talks.open(talk))
    }

    /// The handshake that a conversation lacks whose beginning is missing: a SYN, and where they
    /// pass the director the answer to it. `p` is the first packet there is.
    pub(super) fn handshake(&self, index: usize, ip: &[u8], p: &Packet) -> Vec<(Way, Vec<u8>)> {
        let talk = &self.talks[index];
        let segment = &ip[p.l4..p.end];
        let (seq, ack) = (get32(segment, tcp::SEQ), get32(segment, tcp::ACK));
        let from_client = talk.way(p) == Way::Client;
        let (client, dest) = if from_client { (seq, ack) } else { (ack, seq) };
        let stamps =
            options::timestamps(segment).map(|at| (get32(segment, at), get32(segment, at + 4)));
        let stamps = stamps.map(|(val, echo)| if from_client { (val, echo) } else { (echo, val) });
        let plain = |way: Way, flags: u8, seq: u32, ack: u32, stamps: Option<(u32, u32)>| {
            let back = (way == Way::Client) != from_client;
            (way, bare(ip, p, back, (flags, seq, ack), stamps))
        };
        let isn = client.wrapping_sub(1);
        let mut made = vec![plain(Way::Client, tcp::SYN, isn, 0, stamps.map(|s| (s.0, 0)))];
        const BOTH: u8 = tcp::SYN | tcp::ACK_BIT;
        if p.flags & BOTH != BOTH {
            let back = stamps.map(|s| (s.1, s.0));
            made.push(plain(Way::Dest, BOTH, dest.wrapping_sub(1), client, back));
            made.push(plain(Way::Client, tcp::ACK_BIT, client, dest, stamps));
        }
        made
    }

    /// Makes a packet of a conversation one that the director can get: the client's to the VIP, the
    /// other side's through the mapping. Gives what the client must get of the latter.
    pub(super) fn forge(
        &mut self,
        (index, way): (usize, Way),
        ip: &mut Vec<u8>,
        p: &mut Packet,
    ) -> Result<(Task, Option<Vec<u8>>), Skip> {
        let talk = &mut self.talks[index];
        let target = &self.targets[talk.service];
        let vip = (target.addr, target.port);
        self.tally.headers_mended += u64::from(forge::mend_header(ip, p));
        self.tally.ttl_raised += u64::from(forge::raise_ttl(ip, p));
        if way == Way::Client {
            forge::set_ends(ip, p, talk.end, vip);
            let route = || self.snapshot.routes.find(Addr::UNSPECIFIED, talk.end.0);
            let port = talk.port.or_else(|| Some(route()?.0)).ok_or(Skip::NoRoute)?;
            return Ok((Task::Feed(port), None));
        }
        if talk.forward.is_some_and(|forward| !forward.sees_replies()) {
            return Ok((Task::Direct, None));
        }
        let Some(mapping) = talk.mapping else {
            talk.unmapped += 1;
            return Err(Skip::NoConn);
        };
        forge::set_ends(ip, p, vip, talk.end);
        let expected = ip.clone();
        if mapping.dest.0.is_v4() == talk.end.0.is_v4() {
            forge::set_ends(ip, p, mapping.dest, mapping.local);
        } else if p.piece == Piece::Whole {
            (*ip, *p) = forge::cross(ip, p, mapping.dest, mapping.local);
        } else {
            return Err(Skip::Crossed);
        }
        forge::acknowledge(ip, p, mapping.seq, mapping.ts.unwrap_or(0));
        let route = self.snapshot.routes.find(Addr::UNSPECIFIED, mapping.dest.0);
        let (port, _) = route.ok_or(Skip::NoRoute)?;
        Ok((Task::Feed(port), Some(expected)))
    }

    /// Ends all conversations that are known.
    pub(super) fn end(&mut self, now: u64) {
        self.retire_all(now, |_| true);
        self.fragments.clear();
        self.tally.moved = self.clients.moved;
        self.tally.renamed = self.clients.renamed() as u64;
    }

    fn sweep(&mut self, now: u64) {
        let is_gone = |t: &Talk| t.last + if t.is_over() { CLOSED } else { SILENCE } < now;
        self.retire_all(now, is_gone);
        self.sweep_at = (self.talks.len() * 2).max(4096);
    }

    fn retire_all(&mut self, now: u64, which: impl Fn(&Talk) -> bool) {
        self.talks.select(which).into_iter().for_each(|index| self.retire(index, now));
    }

    fn retire(&mut self, index: usize, now: u64) {
        let talk = &self.talks[index];
        self.tally.add(talk, &self.targets[talk.service]);
        self.clients.release(talk.key.proto, talk.end, now);
        self.talks.close(index);
    }
}

/// A packet without data with the header of `p`'s, `back` the other way.
fn bare(
    ip: &[u8],
    p: &Packet,
    back: bool,
    (flags, seq, ack): (u8, u32, u32),
    stamps: Option<(u32, u32)>,
) -> Vec<u8> {
    let options = if stamps.is_some() { 12 } else { 0 };
    let mut segment = vec![0; tcp::LEN + options];
    put16(&mut segment, 0, p.src.1);
    put16(&mut segment, 2, p.dst.1);
    put32(&mut segment, tcp::SEQ, seq);
    put32(&mut segment, tcp::ACK, ack);
    segment[tcp::OFFSET] = (segment.len() as u8 / 4) << 4;
    segment[tcp::FLAGS] = flags;
    put16(&mut segment, tcp::WINDOW, u16::MAX);
    if let Some((val, echo)) = stamps {
        put32(&mut segment, tcp::LEN, options::USUAL_TIMESTAMPS);
        put32(&mut segment, tcp::LEN + 4, val);
        put32(&mut segment, tcp::LEN + 8, echo);
    }
    let mut whole = ip[..if p.is_v4() { p.l4 } else { ipv6::LEN }].to_vec();
    whole.extend_from_slice(&segment);
    forge::plain_header(&mut whole, p, segment.len(), back);
    whole
}
