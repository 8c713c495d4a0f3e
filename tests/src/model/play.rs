//! Plays steps to the model and to the real data plane, and holds one against the other after each.

use super::Method;
use super::Model;
use super::PERSISTENCE;
use super::Proto;
use super::Service;
use super::Takes;
use super::UDP_TIMEOUT;
use super::Verdict;
use super::pick::Kind;
use super::tcp;
use crate::craft::Packet;
use crate::craft::flag;
use crate::model::Flow;
use crate::net;
use crate::net::LAN;
use crate::net::WAN;
use crate::rig::Options;
use crate::rig::Out;
use crate::rig::Rig;
use pointsman_dataplane::conn::Ends;
use pointsman_dataplane::conn::State;
use pointsman_dataplane::matching::Mark;
use pointsman_dataplane::neigh::Neighbours;
use pointsman_dataplane::sched::Flags;
use pointsman_dataplane::sched::Hashed;
use pointsman_dataplane::sched::Sched;
use pointsman_dataplane::service as real;
use pointsman_dataplane::service::Candidate;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::Limits;
use pointsman_dataplane::service::Persistence;
use pointsman_dataplane::service::Scope;
use pointsman_dataplane::service::ServiceId;
use pointsman_dataplane::service::Terms;
use pointsman_dataplane::service::Traits;
use pointsman_dataplane::service::Tunnel;
use pointsman_dataplane::snapshot::Local;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Family;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

/// Dests of each service.
pub const DESTS: usize = 3;
/// The mark of the service that has one.
const MARK: u32 = 7;

/// What clients speak to: all kinds of services, and twice nobody.
pub const TARGETS: [(Proto, u8, u16); 14] = [
    (Proto::Tcp, 0, 80),
    (Proto::Udp, 0, 53),
    (Proto::Udp, 0, 5353),
    (Proto::Tcp, 2, 443),
    (Proto::Tcp, 5, 443),
    (Proto::Tcp, 4, 443),
    (Proto::Tcp, 0, 22),
    (Proto::Tcp, 0, 1234),
    (Proto::Tcp, 0, 7000),
    (Proto::Udp, 0, 7001),
    (Proto::Tcp, 0, 81),
    (Proto::Tcp, 0, 82),
    (Proto::Udp, 0, 9),
    (Proto::Tcp, 5, 444),
];

/// What a sequence is played on.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Workers. Of several all services are sh: the others' choices are each worker's own.
    pub workers: usize,
    /// The family.
    pub v6: bool,
    /// The services' schedulers.
    pub kind: Kind,
    /// Which of `TARGETS` are spoken to.
    pub targets: [usize; 3],
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A client's packet, at some worker.
    Client {
        /// The client's number and port.
        from: (u8, u16),
        /// Which of the setting's targets.
        target: usize,
        /// "SYN", "FIN", "ACK" or "RST".
        says: &'static str,
        /// The worker.
        at: usize,
    },
    /// A dest's, of a conn that was begun earlier.
    Dest {
        /// Which one.
        conn: usize,
        /// The same.
        says: &'static str,
        /// The worker.
        at: usize,
    },
    /// Twice so many seconds pass.
    Wait(u64),
    /// A dest of a target's service has another weight.
    Weight(usize, usize, u32),
    /// It is removed, or returns.
    Toggle(usize, usize),
    /// It has other thresholds.
    Limits(usize, usize, (u64, u64)),
    /// `expire_quiescent_template`.
    LeaveQuiesced(bool),
}

/// What sequences came to, by name, so that one sees what they reached.
pub type Tally = BTreeMap<String, u64>;

/// A client's address as one word.
pub fn word(v6: bool, client: u8) -> u32 {
    let first = if v6 { 0x2001_0db8 ^ 0x000c_0000 } else { 0xc000_0200 };
    first ^ u32::from(client)
}

/// Plays a sequence.
///
/// # Errors
/// The first step after which the two differ, and in what.
pub fn play(setting: &Setting, steps: &[Step]) -> Result<Tally, String> {
    let mut both = Both::new(setting);
    for (n, step) in steps.iter().enumerate() {
        let told = both.step(step).and_then(|()| both.compare());
        told.map_err(|why| format!("step {n}, {step:?}: {why}"))?;
    }
    Ok(both.tally)
}

struct Both {
    setting: Setting,
    model: Model,
    rig: Rig,
    /// Flows that had a conn whose dest's packets come back here.
    known: Vec<Flow>,
    tally: Tally,
}

impl Both {
    fn new(setting: &Setting) -> Self {
        let model = Model::new(setting.v6, services(setting));
        let options = Options { workers: setting.workers, templates: 256, ..Options::default() };
        let rig = Rig::build(options, |s, neighbours| begin(s, neighbours, &model));
        Self { setting: *setting, model, rig, known: Vec::new(), tally: Tally::new() }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match *step {
            Step::Client { from, target, says, at } => self.client(from, target, says, at)?,
            Step::Dest { conn, says, at } => self.dest(conn, says, at)?,
            Step::Wait(time) => {
                for _ in 0..2 * time {
                    self.rig.pass(Duration::from_secs(1));
                    self.model.second();
                }
            }
            Step::Weight(target, dest, weight) => {
                self.change(target, |model, service| model.set_weight(service, dest, weight));
            }
            Step::Toggle(target, dest) => {
                self.change(target, |model, service| model.toggle(service, dest));
            }
            Step::Limits(target, dest, limits) => {
                self.change(target, |model, service| model.set_limits(service, dest, limits));
            }
            Step::LeaveQuiesced(leaves) => {
                self.model.leaves_quiesced = leaves;
                self.rig.reload(|s| s.ipvs.expire_quiescent_template = leaves);
            }
        }
        Ok(())
    }

    fn flow(&self, (client, port): (u8, u16), target: usize) -> Flow {
        let target = self.setting.targets[target % self.setting.targets.len()];
        let (proto, addr, vport) = TARGETS[target];
        // A port of each target's own: nat has no room for two conns of one port to one dest.
        let cport = 1000 + 10 * target as u16 + port;
        Flow { proto, client: (client, cport), to: (addr, vport) }
    }

    fn client(
        &mut self,
        from: (u8, u16),
        target: usize,
        says: &str,
        at: usize,
    ) -> Result<(), String> {
        let flow = self.flow(from, target);
        let (client, to) = (self.end(flow.client), self.vip(flow.to));
        let bits = match says {
            "SYN" => flag::SYN,
            "FIN" => flag::FIN | flag::ACK,
            "RST" => flag::RST | flag::ACK,
            _ => flag::ACK,
        };
        let packet = match flow.proto {
            Proto::Tcp => Packet::tcp(client, to, bits),
            Proto::Udp => Packet::udp(client, to),
        };
        let before = self.rig.drops();
        let out = self.rig.feed_at(at % self.setting.workers, WAN, &[&packet.bytes()]);
        let seen = self.seen(&out, &before);
        let verdict = self.model.from_client(flow, says);
        let expected = match verdict {
            Verdict::ToDest(service, dest) => {
                let as_ = match self.model.services[service].method {
                    Method::Dr => to,
                    _ => SocketAddr::new(
                        net::dest_addr(self.family(), dest),
                        match self.model.services[service].takes {
                            Takes::Every(..) => to.port(),
                            _ => dport(service),
                        },
                    ),
                };
                let answers = self.model.services[service].method != Method::Dr;
                if answers && !self.known.contains(&flow) {
                    self.known.push(flow);
                }
                format!("to dest {dest} as {as_}")
            }
            verdict => said(verdict, None),
        };
        self.agree(expected, seen)
    }

    fn dest(&mut self, conn: usize, says: &str, at: usize) -> Result<(), String> {
        if self.known.is_empty() {
            return Ok(());
        }
        let flow = self.known[conn % self.known.len()];
        let ends = match self.model.find(&flow) {
            Some(_) => self.ends(&flow),
            None => self.stray(&flow),
        };
        let Some((src, dst)) = ends else { return Ok(()) };
        let bits = match says {
            "SYN" => flag::SYN | flag::ACK,
            "FIN" => flag::FIN | flag::ACK,
            "RST" => flag::RST | flag::ACK,
            _ => flag::ACK,
        };
        let packet = match flow.proto {
            Proto::Tcp => Packet::tcp(src, dst, bits),
            Proto::Udp => Packet::udp(src, dst),
        };
        let frame = packet.from_lan(net::dest_mac(0)).bytes();
        let before = self.rig.drops();
        let out = self.rig.feed_at(at % self.setting.workers, LAN, &[&frame]);
        let seen = self.seen(&out, &before);
        let verdict = self.model.from_dest(flow, says);
        self.agree(said(verdict, Some((self.vip(flow.to), self.end(flow.client)))), seen)
    }

    /// The ends of a dest's packet of a conn, as the real one has them.
    fn ends(&self, flow: &Flow) -> Option<(SocketAddr, SocketAddr)> {
        let conns = self.rig.conns();
        let of = |ends: &Ends| self.read(ends) == *flow;
        let (_, _, e) = conns.iter().find(|(_, c, e)| c.elsewhere().is_none() && of(e))?;
        let end = |addr: Addr, port| SocketAddr::new(addr.into(), port);
        Some((end(e.daddr, e.dport), end(e.laddr, e.lport)))
    }

    /// Those of one that comes when the conn has ended. Under full-NAT the port may be another
    /// conn's by then.
    fn stray(&self, flow: &Flow) -> Option<(SocketAddr, SocketAddr)> {
        let is_it = |s: &Service| match s.takes {
            Takes::Port(proto, addr, port) => (proto, (addr, port)) == (flow.proto, flow.to),
            _ => false,
        };
        let service = self.model.services.iter().position(is_it)?;
        let is_nat = self.model.services[service].method == Method::Nat;
        let dest = SocketAddr::new(net::dest_addr(self.family(), 0), dport(service));
        is_nat.then(|| (dest, self.end(flow.client)))
    }

    fn change(&mut self, target: usize, change: impl FnOnce(&mut Model, usize)) {
        let flow = self.flow((0, 0), target);
        let Some(service) = self.model.service(&flow) else { return };
        change(&mut self.model, service);
        let model = &self.model;
        self.rig.reload(|s| follow(s, model));
    }

    fn seen(
        &self,
        out: &Out,
        before: &[(pointsman_dataplane::verdict::DropReason, u64)],
    ) -> String {
        let is_new =
            |drop: &&(pointsman_dataplane::verdict::DropReason, u64)| !before.contains(*drop);
        let drops = self.rig.drops();
        if let Some((reason, _)) = drops.iter().find(is_new) {
            return format!("dropped {}", reason.name());
        }
        let [sent] = &out.sent[..] else { return format!("{} frames", out.sent.len()) };
        let seen = out.seen();
        match sent.port {
            LAN => {
                let is_it = |n: &usize| net::dest_mac(*n) == seen.eth.0;
                let dest = (0..DESTS).find(is_it);
                format!("to dest {} as {}", dest.map_or(-1, |n| n as i64), seen.dst)
            }
            _ => format!("from {} to {}", seen.src, seen.dst),
        }
    }

    fn agree(&mut self, expected: String, seen: String) -> Result<(), String> {
        let words: Vec<_> = expected.split(' ').take(2).collect();
        let name = if words[0] == "from" { "to the client".into() } else { words.join(" ") };
        *self.tally.entry(name).or_default() += 1;
        match expected == seen {
            true => Ok(()),
            false => Err(format!("expected {expected}, but {seen}")),
        }
    }

    /// Whether both tell the same of conns, templates and dests.
    fn compare(&mut self) -> Result<(), String> {
        let (expected, seen) = (self.expected(), self.real());
        for line in &expected {
            let name = line.split(' ').next().unwrap_or_default().to_string();
            *self.tally.entry(name).or_default() += 1;
        }
        let missing: Vec<_> = expected.iter().filter(|line| !seen.contains(line)).collect();
        let besides: Vec<_> = seen.iter().filter(|line| !expected.contains(line)).collect();
        match missing.is_empty() && besides.is_empty() && expected.len() == seen.len() {
            true => Ok(()),
            false => Err(format!("expected {missing:#?}, but {besides:#?}")),
        }
    }

    fn expected(&self) -> Vec<String> {
        let (model, mut lines) = (&self.model, Vec::new());
        for c in model.conns() {
            let state = if c.flow.proto == Proto::Udp { "UDP" } else { c.state };
            let left = c.ends - model.now;
            lines.push(format!("{state} {:?} at {}/{}, {left} s", c.flow, c.service, c.dest));
        }
        let mut templates = BTreeMap::<_, u64>::new();
        for (t, conns) in model.templates() {
            let (what, left) = ((t.network, t.of, t.dest), t.ends - model.now);
            let valid = if t.valid { "template" } else { "useless-template" };
            lines.push(format!("{valid} {what:?} of {conns} conns, {left} s"));
            *templates.entry(t.dest).or_default() += 1;
        }
        for (service, s) in model.services.iter().enumerate() {
            for (dest, d) in s.dests.iter().enumerate() {
                let (active, inactive) = model.counts(service, dest);
                let templates = templates.get(&(service, dest)).copied().unwrap_or(0);
                lines.push(dest_line(
                    (service, dest),
                    d.full,
                    [active, inactive, d.opened, templates],
                ));
            }
        }
        lines
    }

    fn real(&self) -> Vec<String> {
        let (rig, mut lines) = (&self.rig, Vec::new());
        let now = rig.now.stamp();
        for (_, conn, ends) in rig.conns() {
            if conn.elsewhere().is_none() {
                let (service, dest) = place(conn.dest());
                let (state, left) = (conn.state().name(), conn.expires().left(now) / 1000);
                lines.push(format!("{state} {:?} at {service}/{dest}, {left} s", self.read(&ends)));
            }
        }
        for (_, t) in rig.templates() {
            let network = t.key.client.bits() as u8 / 2;
            let of = match t.key.proto {
                None => (None, 0, 0),
                Some(proto) => (Some(named(proto)), self.number(t.key.vaddr), t.key.vport),
            };
            let (what, left) = ((network, of, place(t.dest)), t.left.as_secs());
            let valid = if t.valid { "template" } else { "useless-template" };
            lines.push(format!("{valid} {what:?} of {} conns, {left} s", t.conns));
        }
        for n in 0..self.model.services.len() * DESTS {
            let id = DestId(n as u32);
            let counts = [
                rig.dest(id, |s| &s.active),
                rig.dest(id, |s| &s.inactive),
                rig.dest(id, |s| &s.conns),
                rig.dest(id, |s| &s.persistent),
            ];
            lines.push(dest_line(place(id), rig.shared.dests.is_full(n), counts));
        }
        lines
    }

    fn family(&self) -> Family {
        family(self.setting.v6)
    }

    fn end(&self, (client, port): (u8, u16)) -> SocketAddr {
        net::client(self.family(), client, port)
    }

    fn vip(&self, (number, port): (u8, u16)) -> SocketAddr {
        SocketAddr::new(IpAddr::from(vip(self.family(), number)), port)
    }

    /// The number of a VIP.
    fn number(&self, addr: Addr) -> u8 {
        (addr.bits() as u8).wrapping_sub(vip(self.family(), 0).bits() as u8)
    }

    fn read(&self, ends: &Ends) -> Flow {
        let client = (ends.caddr.bits() as u8, ends.cport);
        Flow { proto: named(ends.proto), client, to: (self.number(ends.vaddr), ends.vport) }
    }
}

fn dest_line((service, dest): (usize, usize), full: bool, counts: [u64; 4]) -> String {
    let what = if full { "full-dest" } else { "dest" };
    format!("{what} {service}/{dest}: active, inactive, opened, templates {counts:?}")
}

fn said(verdict: Verdict, ends: Option<(SocketAddr, SocketAddr)>) -> String {
    match (verdict, ends) {
        (Verdict::Dropped(reason), _) => format!("dropped {}", reason.name()),
        (_, Some((from, to))) => format!("from {from} to {to}"),
        (verdict, None) => format!("{verdict:?}"),
    }
}

fn family(v6: bool) -> Family {
    if v6 { Family::V6 } else { Family::V4 }
}

fn named(proto: pointsman_dataplane::tuple::Proto) -> Proto {
    match proto {
        pointsman_dataplane::tuple::Proto::Tcp => Proto::Tcp,
        _ => Proto::Udp,
    }
}

fn vip(family: Family, number: u8) -> Addr {
    let first = Addr::from(net::vip(family));
    match family {
        Family::V4 => Addr::v4(first.v4_bits() + u32::from(number)),
        Family::V6 => Addr::v6(first.bits() + u128::from(number)),
    }
}

fn place(id: DestId) -> (usize, usize) {
    (id.0 as usize / DESTS, id.0 as usize % DESTS)
}

/// Where a service's dests listen.
fn dport(service: usize) -> u16 {
    8000 + service as u16
}

fn services(setting: &Setting) -> Vec<Service> {
    let kind = if setting.workers == 1 { setting.kind } else { Kind::Sh };
    let new = |takes, method| Service::new(takes, method, kind, DESTS);
    let (tcp, udp) = (Proto::Tcp, Proto::Udp);
    let mut all = vec![
        new(Takes::Port(tcp, 0, 80), Method::Nat),
        new(Takes::Port(udp, 0, 53), Method::Nat),
        new(Takes::Port(udp, 0, 5353), Method::Dr),
        new(Takes::Range(tcp, (2, 5), 443), Method::Nat),
        new(Takes::Port(tcp, 4, 443), Method::Dr),
        new(Takes::Every(tcp, 0), Method::Nat),
        new(Takes::Marked(0, (7000, 7001)), Method::Dr),
        new(Takes::Port(tcp, 0, 81), Method::FullNat),
        new(Takes::Port(tcp, 0, 82), Method::FullNat),
    ];
    all[2].one_packet = true;
    for persistent in [5, 6, 8] {
        all[persistent].is_persistent = true;
    }
    all
}

/// The model's services in a snapshot.
fn begin(s: &mut Snapshot, neighbours: &Neighbours, model: &Model) {
    let family = family(model.v6);
    s.services.clear();
    s.dests.clear();
    for (state, secs) in tcp::TIMEOUTS {
        let all = (0..State::COUNT as u8).map(State::from_number);
        let state = all.into_iter().find(|s| s.name() == state).expect("the same names");
        s.timeouts.set(state, secs as u32 * 1000);
    }
    for number in [2, 3, 4, 5] {
        let local = Local { vip: true, ports: 3, ..Local::default() };
        s.locals.insert(vip(family, number), local);
    }
    for (at, service) in model.services.iter().enumerate() {
        let new = real_service(at, service, family);
        for n in 0..DESTS {
            s.dests.push(real_dest(at, n, service, &new, neighbours));
        }
        if let Takes::Marked(_, (first, last)) = service.takes {
            let Mark { mut matching, mark } = net::mark_port(family, first, MARK);
            matching.ports = vec![first..=last];
            s.marks.push(Mark { matching, mark });
        }
        s.services.push(new);
    }
    follow(s, model);
}

fn real_service(at: usize, service: &Service, family: Family) -> real::Service {
    let (proto, number, port, scope) = match service.takes {
        Takes::Port(proto, number, port) => (proto, number, port, Scope::Address),
        Takes::Range(proto, (first, last), port) => {
            (proto, first, port, Scope::Range(vip(family, last)))
        }
        Takes::Every(proto, number) => (proto, number, 0, Scope::Address),
        Takes::Marked(number, _) => (Proto::Tcp, number, 0, Scope::Mark(MARK)),
    };
    // Two clients are one.
    let persistence = Persistence { timeout: PERSISTENCE as u32, prefix: net::of(family, 31, 127) };
    real::Service {
        id: ServiceId(at as u32),
        proto: match proto {
            Proto::Tcp => pointsman_dataplane::tuple::Proto::Tcp,
            Proto::Udp => pointsman_dataplane::tuple::Proto::Udp,
        },
        addr: vip(family, number),
        port,
        scope,
        forward: forward(service.method),
        methods: real::Methods::default(),
        pool: (service.method == Method::FullNat).then_some(0),
        proxy_in: Vec::new(),
        terms: Terms {
            persistence: service.is_persistent.then_some(persistence),
            one_packet: service.one_packet,
            resets: false,
            ftp: false,
        },
        sched: Sched::Rr,
        dests: Vec::new(),
        version: 0,
    }
}

fn forward(method: Method) -> Forward {
    match method {
        Method::Nat => Forward::Nat,
        Method::FullNat => Forward::FullNat,
        Method::Dr => Forward::Dr,
    }
}

fn real_dest(
    at: usize,
    n: usize,
    service: &Service,
    new: &real::Service,
    neighbours: &Neighbours,
) -> real::Dest {
    let family = new.addr.family();
    let addr = net::dest_addr(family, n);
    real::Dest {
        addr: addr.into(),
        port: match (service.takes, service.method) {
            (Takes::Every(..) | Takes::Marked(..), _) => 0,
            (_, Method::Dr) => new.port,
            _ => dport(at),
        },
        weight: 1,
        forward: new.forward,
        out: LAN,
        hop: net::reachable(neighbours, LAN, addr, net::dest_mac(n)),
        mtu: 1500,
        traits: Traits { udp_timeout: UDP_TIMEOUT as u32 * 1000, ..Traits::default() },
        tunnel: Tunnel::to(net::lan_addr(family).into(), addr.into()),
        removed: false,
        dead: false,
    }
}

/// What the model's services say now.
fn follow(s: &mut Snapshot, model: &Model) {
    for (at, service) in model.services.iter().enumerate() {
        let weight = |n: usize| service.dests[n].weight;
        let id = |n: usize| DestId((at * DESTS + n) as u32);
        let candidate =
            |n: &usize| Candidate { id: id(*n), weight: weight(*n), last_weight: weight(*n) };
        let dests: Vec<_> = service.list.iter().map(candidate).collect();
        let sched = match service.kind {
            Kind::Rr => Sched::Rr,
            Kind::Wrr => Sched::Wrr,
            Kind::Lc => Sched::Lc,
            Kind::Wlc => Sched::Wlc,
            Kind::Sh => Sched::Hashed(Hashed::source(&dests, Flags::default())),
        };
        let known = &mut s.services[at];
        if known.dests != dests || known.sched != sched {
            (known.dests, known.sched) = (dests, sched);
            known.version += 1;
        }
        for (n, d) in service.dests.iter().enumerate() {
            let dest = &mut s.dests[id(n).0 as usize];
            (dest.weight, dest.removed) = (d.weight, !service.list.contains(&n));
            let (upper, lower) = (d.limits.0 as u32, d.limits.1 as u32);
            dest.traits.limits = Limits { upper, lower };
        }
    }
}
