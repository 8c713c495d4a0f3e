//! A director as one would explain it: small, slow, and held against the real one (`play`).
//!
//! Everything is a list that is searched from the beginning. There is one director, whatever the
//! number of workers, and time passes in whole seconds.

pub mod pick;
pub mod play;
pub mod tcp;

use pick::Kind;
use pick::Place;
use pick::Position;
use pointsman_dataplane::verdict::DropReason;
use tcp::From;

/// Seconds that a UDP conn lives without a packet.
pub const UDP_TIMEOUT: u64 = 23;
/// Seconds that a template lives after its last conn began.
pub const PERSISTENCE: u64 = 20;
/// Seconds that it goes on at a time while it has conns.
const GOES_ON: u64 = 60;

/// A transport protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)]
pub enum Proto {
    Tcp,
    Udp,
}

/// How packets get to dests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Method {
    Nat,
    FullNat,
    Dr,
}

/// What a service takes. Addresses are numbered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    /// One port of one address.
    Port(Proto, u8, u16),
    /// One port of each address from the first to the last.
    Range(Proto, (u8, u8), u16),
    /// Every port of an address.
    Every(Proto, u8),
    /// These ports of an address, of both protocols, by a mark.
    Marked(u8, (u16, u16)),
}

/// A dest.
#[derive(Clone, Debug)]
pub struct Dest {
    /// Its weight.
    pub weight: u32,
    /// Its thresholds; 0: none.
    pub limits: (u64, u64),
    /// It has reached the upper and not fallen below the lower.
    pub full: bool,
    /// Conns it ever had.
    pub opened: u64,
}

/// A service.
#[derive(Clone, Debug)]
pub struct Service {
    /// What it takes.
    pub takes: Takes,
    /// How.
    pub method: Method,
    /// By which rule.
    pub kind: Kind,
    /// Whether a client's conns go to one dest.
    pub is_persistent: bool,
    /// Whether a datagram is a conn of its own.
    pub one_packet: bool,
    /// All that it ever had.
    pub dests: Vec<Dest>,
    /// Those it has, the newest first.
    pub list: Vec<usize>,
    position: Position,
}

impl Service {
    /// With `dests` dests of weight 1.
    pub fn new(takes: Takes, method: Method, kind: Kind, dests: usize) -> Self {
        let dest = Dest { weight: 1, limits: (0, 0), full: false, opened: 0 };
        Self {
            takes,
            method,
            kind,
            is_persistent: false,
            one_packet: false,
            dests: vec![dest; dests],
            list: (0..dests).collect(),
            position: Position::new(),
        }
    }
}

/// Who speaks to what.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Flow {
    /// TCP or UDP.
    pub proto: Proto,
    /// The client's number and port.
    pub client: (u8, u16),
    /// The address's number and the port.
    pub to: (u8, u16),
}

/// A conn.
#[derive(Clone, Debug)]
pub struct Conn {
    /// Whose it is.
    pub flow: Flow,
    /// Its service.
    pub service: usize,
    /// Its dest.
    pub dest: usize,
    /// Its state as ipvsadm prints it.
    pub state: &'static str,
    /// When it ends.
    pub ends: u64,
    /// The template it goes by.
    template: Option<usize>,
}

impl Conn {
    fn is_active(&self) -> bool {
        self.flow.proto == Proto::Tcp && tcp::is_active(self.state)
    }
}

/// What is remembered of a client.
#[derive(Clone, Debug)]
pub struct Template {
    number: usize,
    /// The client's network: two clients each.
    pub network: u8,
    /// For what: a protocol, address and port (0: all), or a mark.
    pub of: (Option<Proto>, u8, u16),
    /// The service and its dest.
    pub dest: (usize, usize),
    /// Whether new conns go by it.
    pub valid: bool,
    /// When it ends.
    pub ends: u64,
    timeout: u64,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// To this dest of this service.
    ToDest(usize, usize),
    /// To its client.
    ToClient,
    /// Nowhere.
    Dropped(DropReason),
}

/// The model.
#[derive(Clone, Debug)]
pub struct Model {
    /// Seconds.
    pub now: u64,
    /// The family of its addresses.
    pub v6: bool,
    /// What is served.
    pub services: Vec<Service>,
    /// `expire_quiescent_template`.
    pub leaves_quiesced: bool,
    conns: Vec<Conn>,
    templates: Vec<Template>,
    numbers: usize,
}

impl Model {
    /// One that serves these.
    pub fn new(v6: bool, services: Vec<Service>) -> Self {
        let (conns, templates) = (Vec::new(), Vec::new());
        Self { now: 0, v6, services, leaves_quiesced: false, conns, templates, numbers: 0 }
    }

    /// All conns.
    pub fn conns(&self) -> &[Conn] {
        &self.conns
    }

    /// All templates, with how many conns go by each.
    pub fn templates(&self) -> impl Iterator<Item = (&Template, usize)> {
        let goes_by = |t: &Template, c: &&Conn| c.template == Some(t.number);
        let count = move |t| self.conns.iter().filter(|c| goes_by(t, c)).count();
        self.templates.iter().map(move |t| (t, count(t)))
    }

    /// A dest's active and other conns.
    pub fn counts(&self, service: usize, dest: usize) -> (u64, u64) {
        let all = self.conns.iter().filter(|c| (c.service, c.dest) == (service, dest));
        let (active, inactive): (Vec<_>, Vec<_>) = all.partition(|c| c.is_active());
        (active.len() as u64, inactive.len() as u64)
    }

    /// A flow's conn.
    pub fn find(&self, flow: &Flow) -> Option<&Conn> {
        self.conns.iter().find(|c| c.flow == *flow)
    }

    /// A client's packet, of TCP one that says `what`.
    pub fn from_client(&mut self, flow: Flow, what: &str) -> Verdict {
        let is_syn = flow.proto == Proto::Tcp && what == "SYN";
        if let Some(conn) = self.find(&flow) {
            let is_over = matches!(conn.state, "TIME_WAIT" | "CLOSE");
            let is_held = conn.template.is_some();
            let may = !is_held || self.services[conn.service].method == Method::FullNat;
            if !(is_syn && is_over && may) {
                return self.goes_on(flow, what);
            }
            self.end(|c| c.flow == flow);
        }
        let Some(service) = self.service(&flow) else {
            return Verdict::Dropped(DropReason::ClosedPort);
        };
        if flow.proto == Proto::Tcp && !is_syn {
            return Verdict::Dropped(DropReason::NotSyn);
        }
        let (dest, template) = match self.services[service].is_persistent {
            true => self.by_template(service, &flow),
            false => (self.pick(service, &flow), None),
        };
        let Some(dest) = dest else { return Verdict::Dropped(DropReason::NoDest) };
        self.services[service].dests[dest].opened += 1;
        let (state, ends) = ("NONE", self.now + UDP_TIMEOUT);
        self.conns.push(Conn { flow, service, dest, state, ends, template });
        self.judge(service, dest);
        let verdict = self.goes_on(flow, what);
        if self.services[service].one_packet && flow.proto == Proto::Udp {
            self.end(|c| c.flow == flow);
        }
        verdict
    }

    /// A dest's packet of a flow's conn, or of none.
    pub fn from_dest(&mut self, flow: Flow, what: &str) -> Verdict {
        if self.find(&flow).is_none() {
            return Verdict::Dropped(DropReason::NotOurs);
        }
        self.step(flow, From::Dest, what);
        Verdict::ToClient
    }

    /// A second passes.
    pub fn second(&mut self) {
        self.now += 1;
        let now = self.now;
        self.end(|c| c.ends <= now);
        let conns = self.conns.clone();
        let has_conns = |t: &Template| conns.iter().any(|c| c.template == Some(t.number));
        self.templates.retain(|t| t.ends > now || has_conns(t));
        for t in self.templates.iter_mut().filter(|t| t.ends <= now) {
            t.timeout = GOES_ON;
            t.ends = now + GOES_ON;
        }
    }

    /// A dest's weight is another one.
    pub fn set_weight(&mut self, service: usize, dest: usize, weight: u32) {
        self.change(service, |s| s.dests[dest].weight = weight);
    }

    /// A dest goes, or comes back.
    pub fn toggle(&mut self, service: usize, dest: usize) {
        self.change(service, |s| match s.list.contains(&dest) {
            true => s.list.retain(|d| *d != dest),
            false => s.list.insert(0, dest),
        });
    }

    /// A dest's thresholds are others.
    pub fn set_limits(&mut self, service: usize, dest: usize, limits: (u64, u64)) {
        self.services[service].dests[dest].limits = limits;
        self.judge(service, dest);
    }

    fn change(&mut self, service: usize, change: impl FnOnce(&mut Service)) {
        let before = self.places(service);
        change(&mut self.services[service]);
        let after = self.places(service);
        let s = &mut self.services[service];
        if before != after {
            s.position.changed(s.kind, &before, &after);
        }
    }

    fn places(&self, service: usize) -> Vec<Place> {
        let s = &self.services[service];
        let place = |dest: &usize| {
            let d = &s.dests[*dest];
            let (active, inactive) = self.counts(service, *dest);
            let may = d.weight > 0 && !d.full;
            Place { dest: *dest, weight: d.weight, may, active, inactive }
        };
        s.list.iter().map(place).collect()
    }

    /// The service of what a flow begins: by its mark, by its address and port, by its range, by its
    /// address alone.
    pub fn service(&self, flow: &Flow) -> Option<usize> {
        let (addr, port) = flow.to;
        let by = |rank: u8| {
            self.services.iter().position(|s| match s.takes {
                Takes::Marked(a, ports) => {
                    rank == 0 && a == addr && (ports.0..=ports.1).contains(&port)
                }
                Takes::Port(proto, a, p) => rank == 1 && (proto, a, p) == (flow.proto, addr, port),
                Takes::Range(proto, (first, last), p) => {
                    rank == 2 && (proto, p) == (flow.proto, port) && (first..=last).contains(&addr)
                }
                Takes::Every(proto, a) => rank == 3 && (proto, a) == (flow.proto, addr),
            })
        };
        (0..4).find_map(by)
    }

    fn pick(&mut self, service: usize, flow: &Flow) -> Option<usize> {
        let places = self.places(service);
        let s = &mut self.services[service];
        s.position.pick(s.kind, &places, play::word(self.v6, flow.client.0))
    }

    fn by_template(&mut self, service: usize, flow: &Flow) -> (Option<usize>, Option<usize>) {
        let (network, now) = (flow.client.0 / 2, self.now);
        let of = match self.services[service].takes {
            Takes::Marked(..) => (None, 0, 0),
            Takes::Every(..) => (Some(flow.proto), flow.to.0, 0),
            _ => (Some(flow.proto), flow.to.0, flow.to.1),
        };
        let (services, leaves) = (&self.services, self.leaves_quiesced);
        let is_it = |t: &&mut Template| t.valid && (t.network, t.of) == (network, of);
        if let Some(t) = self.templates.iter_mut().find(is_it) {
            let s = &services[t.dest.0];
            let is_left = s.list.contains(&t.dest.1);
            if is_left && !(leaves && s.dests[t.dest.1].weight == 0) {
                t.ends = now + t.timeout;
                return (Some(t.dest.1), Some(t.number));
            }
            t.valid = false;
        }
        let Some(dest) = self.pick(service, flow) else { return (None, None) };
        self.numbers += 1;
        let (number, timeout) = (self.numbers, PERSISTENCE);
        let (dest_of, ends) = ((service, dest), now + timeout);
        let new = Template { number, network, of, dest: dest_of, valid: true, ends, timeout };
        self.templates.push(new);
        (Some(dest), Some(number))
    }

    fn goes_on(&mut self, flow: Flow, what: &str) -> Verdict {
        let conn = self.find(&flow).expect("who calls has found it");
        let (service, dest) = (conn.service, conn.dest);
        let from = match self.services[service].method {
            Method::Dr => From::ClientAlone,
            _ => From::Client,
        };
        self.step(flow, from, what);
        Verdict::ToDest(service, dest)
    }

    fn step(&mut self, flow: Flow, from: From, what: &str) {
        let now = self.now;
        let conn = self.conns.iter_mut().find(|c| c.flow == flow).expect("who calls has found it");
        conn.ends = now + UDP_TIMEOUT;
        if flow.proto == Proto::Tcp {
            conn.state = tcp::next(from, conn.state, what);
            conn.ends = now + tcp::timeout(conn.state);
        }
    }

    fn end(&mut self, which: impl Fn(&Conn) -> bool) {
        let ended: Vec<_> = self.conns.iter().filter(|c| which(c)).cloned().collect();
        self.conns.retain(|c| !which(c));
        for conn in ended {
            self.judge(conn.service, conn.dest);
        }
    }

    fn judge(&mut self, service: usize, dest: usize) {
        let (active, inactive) = self.counts(service, dest);
        let conns = active + inactive;
        let d = &mut self.services[service].dests[dest];
        let (upper, lower) = d.limits;
        // Without a lower threshold, three quarters of the upper one.
        let is_below = if lower > 0 { conns < lower } else { 4 * conns < 3 * upper };
        if upper == 0 || is_below && conns < upper {
            d.full = false;
        } else if conns >= upper {
            d.full = true;
        }
    }
}
