//! From the configuration to the snapshot that workers take.
//!
//! What lasts keeps its number over reloads (`ids`); dests stand in the kernel's order, the newest
//! first; a service's version changes when its scheduler or its dests do, and only then. Building
//! from the same configuration gives an equal snapshot.

use super::access::Lists;
use super::convert;
use super::ids::DestKey;
use super::ids::Ids;
use super::ids::ServiceKey;
use super::linger::Linger;
use hashbrown::HashMap;
use hashbrown::HashSet;
use pointsman_config::Config;
use pointsman_dataplane::neigh::Hop;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::service::Candidate;
use pointsman_dataplane::service::Dest;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::Limits;
use pointsman_dataplane::service::Methods;
use pointsman_dataplane::service::Scope;
use pointsman_dataplane::service::Service;
use pointsman_dataplane::service::ServiceId;
use pointsman_dataplane::service::Target;
use pointsman_dataplane::service::Traits;
use pointsman_dataplane::service::Tunnel;
use pointsman_dataplane::snapshot::Local;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Addr;
use std::fmt;
use std::net::IpAddr;
use std::net::SocketAddr;

pub use super::convert::link_local;

/// Ports that workers can send by.
pub const MAX_PORTS: usize = pointsman_dataplane::pipeline::PORTS;

/// What only the opened port knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortFacts {
    /// Its MAC.
    pub mac: Mac,
    /// Whether the queue a frame arrives at is a fixed function of its addresses and ports.
    pub fixed_queue: bool,
}

/// Why a valid configuration cannot be served now. Nothing has changed then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BuildError {
    /// More ports than can be told apart.
    Ports(usize),
    /// No route toward a dest or a next hop.
    NoRoute(IpAddr),
    /// A tunnel needs a source address on the port it leaves by.
    NoSource(IpAddr, String),
    /// The neighbour table is full.
    Neighbours(IpAddr),
    /// A dest or next hop is an address of the director's own.
    Ours(IpAddr),
    /// All numbers of dests are in use.
    Dests(usize),
    /// All numbers of services are in use.
    Services(usize),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ports(n) => write!(f, "{n} ports: at most {MAX_PORTS} can be served"),
            Self::NoRoute(addr) => write!(
                f,
                "no route to {addr}: give a port an address in its network, or add a [[route]]"
            ),
            Self::NoSource(addr, port) => write!(
                f,
                "the tunnel to {addr} has no source: give port \"{port}\" an address of its family"
            ),
            Self::Neighbours(addr) => write!(
                f,
                "no room for next hop {addr} in the neighbour table: raise director.neighbours \
                 and restart"
            ),
            Self::Ours(addr) => write!(
                f,
                "next hop {addr} is an address of the director itself: take it out of the ports, \
                 VIPs and pools, or name another next hop"
            ),
            Self::Dests(n) => write!(
                f,
                "more than {n} dests, removed ones with conns included: wait for those conns to \
                 end, or restart"
            ),
            Self::Services(n) => write!(f, "more than {n} services: restart to make room"),
        }
    }
}

impl std::error::Error for BuildError {}

/// What a snapshot is built from besides the configuration.
pub struct Inputs<'a> {
    /// Of each port, in the order of the configuration.
    pub ports: &'a [PortFacts],
    /// The next hop's place in the neighbour table; none when that is full. Asked only for what
    /// the new snapshot does not have as an address of ours.
    pub hop: &'a mut dyn FnMut(PortId, Addr) -> Option<Hop>,
    /// Whether conns to a dest live, or may.
    pub has_conns: &'a dyn Fn(DestId) -> bool,
    /// Whether a port of a removed pool address is leased, or may be.
    pub has_leases: &'a dyn Fn(Addr) -> bool,
    /// Whether every worker has taken the last snapshot, so that released numbers have rested.
    pub settled: bool,
}

/// Builds snapshots. A clone builds without changing the original, which is how a reload that
/// fails changes nothing.
#[derive(Clone, Debug)]
pub struct Builder {
    pub(super) services: Ids<ServiceKey>,
    pub(super) dests: Ids<DestKey>,
    versions: u32,
    /// Names that SNAT rules have had; a rule's place here is its number.
    pub(super) rules: Vec<String>,
    linger: Linger,
    lists: Lists,
}

impl Builder {
    /// A builder for at most `dests` dests (the capacity of `DestBlocks`), removed ones included.
    pub fn new(dests: usize) -> Self {
        Self {
            services: Ids::new(dests.max(1)),
            dests: Ids::new(dests),
            versions: 0,
            rules: Vec::new(),
            linger: Linger::default(),
            lists: Lists::default(),
        }
    }

    /// The snapshot of a configuration that follows `previous` (`Snapshot::default()` at start),
    /// and the numbers that now serve another dest than before: their counters start anew.
    ///
    /// # Errors
    /// See `BuildError`; the builder must not be used further then.
    pub fn build(
        &mut self,
        config: &Config,
        previous: &Snapshot,
        inputs: &mut Inputs<'_>,
    ) -> Result<(Snapshot, Vec<DestId>), BuildError> {
        if config.ports.len() > MAX_PORTS {
            return Err(BuildError::Ports(config.ports.len()));
        }
        let mut next = Snapshot::default();
        next.services.reserve(config.services.len());
        next.ports = convert::ports(config, inputs.ports);
        next.routes = convert::routes(config);
        next.routing = config.director.route;
        next.pools = convert::pools(config);
        next.timeouts = convert::timeouts(&config.timeouts);
        next.marks = convert::marks(config);
        next.ipvs = convert::ipvs(config);
        // Before any next hop: what is ours from now on is none, what was ours may be one.
        next.locals = convert::locals(config, &next);
        let mut fresh = Vec::new();
        let mut plan = vec![None; self.dests.len()];
        for service in &config.services {
            let built = self.service(service, previous, inputs, &next, &mut plan, &mut fresh)?;
            next.services.push(built);
        }
        next.access = self.lists.access(config, &next.services, &previous.access);
        let mut pools = config.pools.len();
        for snat in &config.snats {
            let built =
                self.rule(snat, &mut pools, previous, inputs, &next, &mut plan, &mut fresh)?;
            next.snats.push(built);
        }
        self.keep_removed(config, previous, inputs, &next, &mut plan);
        self.dests.release_unless(|id| plan.get(id as usize).is_some_and(Option::is_some));
        let in_use: Vec<ServiceId> = next.takers().map(|s| s.id).collect();
        self.services.release_unless(|id| in_use.contains(&ServiceId(id)));
        next.dests = plan.into_iter().map(|d| d.unwrap_or_else(nobody)).collect();
        for route in next.routes.iter() {
            if let Some(via) = route.via {
                next_hop(&next, inputs, route.port, via)?;
            }
        }
        self.linger_on(previous, inputs, &mut next);
        Ok((next.index(), fresh))
    }

    /// Pool addresses that are answered for because conns use them.
    pub fn lingering(&self) -> impl Iterator<Item = Addr> + '_ {
        self.linger.pools()
    }

    /// Dests by service or rule, also those removed that have conns.
    pub fn dests_by_service(&self) -> HashMap<ServiceId, Vec<DestId>> {
        let mut all = HashMap::<_, Vec<_>>::new();
        for id in 0..self.dests.len() as u32 {
            let key = self.dests.key(id);
            if let Some(service) = key.and_then(|key| self.services.number(&key.service)) {
                all.entry(ServiceId(service)).or_default().push(DestId(id));
            }
        }
        all
    }

    /// A dest's service and the dest as people write them, while its number is in use.
    pub fn dest_name(&self, id: DestId) -> Option<(String, SocketAddr)> {
        let key = self.dests.key(id.0)?;
        let service = match key.service.rule() {
            Some(rule) => format!("snat {}", self.rules.get(rule)?),
            None => key.service.to_string(),
        };
        Some((service, SocketAddr::new(key.addr.into(), key.port)))
    }

    fn service(
        &mut self,
        service: &pointsman_config::Service,
        previous: &Snapshot,
        inputs: &mut Inputs<'_>,
        next: &Snapshot,
        plan: &mut Vec<Option<Dest>>,
        fresh: &mut Vec<DestId>,
    ) -> Result<Service, BuildError> {
        let key = convert::key(service);
        self.follow_range(key);
        let id = self
            .services
            .service(key, inputs.settled)
            .ok_or_else(|| BuildError::Services(self.services.len()))?;
        let terms = convert::terms(service);
        let methods = service.dests.iter().map(|d| convert::forward(d.forward));
        let none_yet = service.dests.is_empty().then(|| convert::forward(service.forward));
        let methods: Methods = methods.chain(none_yet).collect();
        let by_client = terms.goes_by_client(methods);
        let mut listed = Vec::with_capacity(service.dests.len());
        for dest in &service.dests {
            let weight = u32::from(dest.weight);
            let forward = convert::forward(dest.forward);
            let source = source(next, service.pool, forward, dest.address.ip().into());
            let mut built = build_dest(next, inputs, forward, source, dest.address, weight)?;
            built.traits = convert::traits(service, &built, next);
            built.traits.ftp = terms.ftp.then_some(id);
            built.traits.limits = Limits { upper: dest.upper, lower: dest.lower };
            built.traits.encap = convert::encap(dest);
            built.mtu -= convert::overhead(&built, &key);
            listed.push(self.plan_dest((key, by_client, terms.ftp), built, inputs, plan, fresh)?);
        }
        let is_it = |s: &&Service| s.id == id && (key_of(s) == key || key.is_resized(&key_of(s)));
        let before = previous.services.iter().find(is_it);
        let mut dests = kernel_order(listed, before);
        remember_weights(&mut dests, before);
        let endpoint =
            |id: DestId| self.dests.key(id.0).map_or_else(Default::default, |k| (k.addr, k.port));
        let sched = convert::sched(service, &dests, endpoint);
        let same = before.filter(|s| s.sched == sched && s.dests == dests);
        let version = same.map_or_else(|| self.new_version(), |s| s.version);
        Ok(Service {
            id,
            proto: key.proto,
            addr: key.addr,
            port: key.port,
            scope: key.scope,
            forward: convert::forward(service.forward),
            methods,
            pool: service.pool,
            proxy_in: convert::proxy_in(service),
            terms,
            sched,
            dests,
            version,
        })
    }

    /// A range that has become longer is the same service, and its dests are the same: what begins
    /// at one address is one service to those who count. One that has become shorter is another:
    /// the old one serves the conns of the addresses that are no longer in it to their end.
    fn follow_range(&mut self, key: ServiceKey) {
        if !matches!(key.scope, Scope::Range(_)) {
            return;
        }
        let is_shorter = |old: &&ServiceKey| key.is_resized(old) && key.reaches_beyond(old);
        let Some(old) = self.services.in_use().find(is_shorter).copied() else { return };
        self.services.rename(&old, key);
        let dests: Vec<_> = self.dests.in_use().filter(|d| d.service == old).copied().collect();
        for dest in dests {
            self.dests.rename(&dest, DestKey { service: key, ..dest });
        }
    }

    /// Gives a dest its number.
    pub(super) fn plan_dest(
        &mut self,
        (service, by_client, ftp): (ServiceKey, bool, bool),
        built: Dest,
        inputs: &Inputs<'_>,
        plan: &mut Vec<Option<Dest>>,
        fresh: &mut Vec<DestId>,
    ) -> Result<Candidate, BuildError> {
        let Dest { addr, port, forward, weight, .. } = built;
        let key = DestKey { service, addr, port, forward, by_client, ftp };
        let full = BuildError::Dests(self.dests.len());
        let (id, new) = self.dests.dest(key, inputs.settled).ok_or(full)?;
        if new {
            fresh.push(id);
        }
        if plan.len() <= id.0 as usize {
            plan.resize(id.0 as usize + 1, None);
        }
        plan[id.0 as usize] = Some(built);
        Ok(Candidate { id, weight, last_weight: weight })
    }

    pub(super) fn new_version(&mut self) -> u32 {
        self.versions += 1;
        self.versions
    }

    /// Dests that no service lists any more but that have conns go on, marked.
    fn keep_removed(
        &self,
        config: &Config,
        previous: &Snapshot,
        inputs: &mut Inputs<'_>,
        next: &Snapshot,
        plan: &mut [Option<Dest>],
    ) {
        let at = |id: usize| Some(self.dests.key(id as u32)?.at());
        let numbered = plan.iter().enumerate().filter_map(|(id, d)| Some((id, d.as_ref()?.weight)));
        let listed = numbered.filter_map(|(id, weight)| Some((at(id)?, weight)));
        let listed: HashMap<_, _> = listed.collect();
        for (id, before) in previous.dests.iter().enumerate() {
            let gone = plan[id].is_some() || before.is_nobody();
            // A worker that has not taken the last snapshot yet may be opening a conn to it.
            let last_chance = !before.removed || !inputs.settled;
            if gone || !(last_chance || (inputs.has_conns)(DestId(id as u32))) {
                continue;
            }
            let address = SocketAddr::new(before.addr.into(), before.port);
            let service = self.dests.key(id as u32).map(|key| key.service);
            let less = service.map_or(0, |service| convert::overhead(before, &service));
            let source = match before.traits.target {
                Target::ByRoute => None,
                _ => removed_source(previous, DestId(id as u32), next),
            };
            let rebuilt = source.and_then(|source| {
                build_dest(next, inputs, before.forward, source, address, 0).ok()
            });
            let rebuilt = rebuilt.map(|dest| Dest { mtu: dest.mtu - less, ..dest });
            let rebuilt = rebuilt.unwrap_or_else(|| {
                // Not what routers have told of the way, which `paths` knows for its time.
                let mtu = next.ports.get(before.out.0 as usize).map(|port| port.mtu - less);
                let learnt = before.forward == Forward::Tunnel;
                let mtu = mtu.filter(|_| learnt).unwrap_or(before.mtu);
                Dest { mtu, ..before.clone() }
            });
            // It stands where it stood, only by another number: that disturbs none of its conns.
            let stands = at(id).and_then(|at| listed.get(&at).copied());
            let traits = self.traits_of_removed(config, DestId(id as u32), before.traits);
            let traits = Traits { superseded: stands.is_some(), ..traits };
            let weight = stands.unwrap_or(0);
            plan[id] = Some(Dest { removed: true, weight, traits, ..rebuilt });
        }
    }

    /// A removed dest's conns stay as they were; how they end is for its service to say, while
    /// there is one.
    fn traits_of_removed(&self, config: &Config, id: DestId, before: Traits) -> Traits {
        let Some(key) = self.dests.key(id.0) else { return before };
        let is_key = |s: &&pointsman_config::Service| convert::key(s) == key.service;
        let Some(service) = config.services.iter().find(is_key) else {
            return Traits { orphaned: true, ..before };
        };
        Traits {
            on_dead: convert::on_dead(service.on_dead),
            on_idle: convert::on_idle(service.on_idle),
            orphaned: false,
            ..before
        }
    }

    /// VIPs and pool addresses that the configuration dropped are answered for while conns use
    /// them: neither a client nor a server may notice that a dest or a pool was taken out. Unless
    /// the configuration gives them to another machine.
    fn linger_on(&mut self, previous: &Snapshot, inputs: &Inputs<'_>, next: &mut Snapshot) {
        // A worker that has not taken the last snapshot yet may be leasing a port.
        let leased = |addr: Addr| !inputs.settled || (inputs.has_leases)(addr);
        let has_dests = |key: &ServiceKey| self.dests.in_use().any(|d| d.service == *key);
        self.linger.note_marks(next, has_dests);
        let linger = &self.linger;
        let removed = |addr: Addr| {
            let of_vip = |id: usize| {
                next.dests[id].removed
                    && self.dests.key(id as u32).is_some_and(|k| linger.is_of(&k.service, addr))
            };
            (0..next.dests.len()).any(of_vip)
        };
        let vias = next.routes.iter().filter_map(|r| r.via);
        let dests = next.dests.iter().filter(|d| !d.removed).map(|d| d.addr);
        let others: HashSet<Addr> = vias.chain(dests).collect();
        let others = |addr: Addr| others.contains(&addr);
        let vips = self.linger.vips(previous, &next.locals, removed, others);
        let stay = self.linger.pools_of(previous, &next.locals, leased, others);
        for (addr, local) in vips.into_iter().chain(stay) {
            let ports = local.ports & convert::mask(next.ports.len());
            let entry = next.locals.entry(addr).or_insert(Local { ports: 0, ..local });
            entry.pool |= local.pool;
            entry.vip |= local.vip;
            entry.ports |= ports;
        }
    }
}

/// The next hops that a snapshot needs at any time: those of dests and of routes. A removed dest
/// to which no route leads any more has the next hop it had: `entry` says which.
pub fn wanted(
    snapshot: &Snapshot,
    entry: impl Fn(Hop) -> Option<(PortId, Addr)>,
) -> Vec<(PortId, Addr)> {
    let removed = snapshot.dests.iter().filter(|d| d.removed && !d.addr.is_unspecified());
    let removed = removed.filter_map(|d| entry(d.hop));
    let of_services = snapshot.takers().flat_map(|s| {
        let way = move |c: &Candidate| {
            let Dest { addr, traits, forward, .. } = *snapshot.dest(c.id);
            if traits.target == Target::ByRoute {
                return None;
            }
            snapshot.routes.find(source(snapshot, s.pool, forward, addr), addr)
        };
        s.dests.iter().filter_map(way)
    });
    let vias = snapshot.routes.iter().filter_map(|r| Some((r.port, r.via?)));
    let mut all: Vec<_> = of_services.chain(removed).chain(vias).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Whether conns must look up their next hops anew after this change.
pub fn hops_changed(before: &Snapshot, after: &Snapshot) -> bool {
    let hops = |s: &Snapshot| s.dests.iter().map(|d| (d.out, d.hop)).collect::<Vec<_>>();
    let (a, b) = (hops(before), hops(after));
    before.routes != after.routes || a.iter().zip(&b).any(|(x, y)| x != y)
}

pub(crate) fn key_of(service: &Service) -> ServiceKey {
    let Service { proto, addr, port, scope, .. } = *service;
    ServiceKey { proto, addr, port, scope }
}

/// A quiesced dest's weight of before (`__ip_vs_update_dest`).
pub(super) fn remember_weights(dests: &mut [Candidate], before: Option<&Service>) {
    for dest in dests.iter_mut().filter(|d| d.weight == 0) {
        let mut known = before.iter().flat_map(|s| &s.dests);
        dest.last_weight = known.find(|d| d.id == dest.id).map_or(0, |d| d.last_weight);
    }
}

/// New dests go to the head one after another, kept ones keep their order: what ip_vs_add_dest
/// leaves after the same changes.
pub(super) fn kernel_order(listed: Vec<Candidate>, before: Option<&Service>) -> Vec<Candidate> {
    let old: &[Candidate] = before.map_or(&[], |s| &s.dests);
    let is_old = |id: DestId| old.iter().any(|o| o.id == id);
    let new = listed.iter().rev().filter(|c| !is_old(c.id)).copied();
    let kept = old.iter().filter_map(|o| listed.iter().find(|c| c.id == o.id)).copied();
    new.chain(kept).collect()
}

/// The source of packets to a dest, as far as it chooses among routes: an address of the pool, all
/// of which have one way (`check` sees to that). Clients' addresses are not known beforehand.
fn source(snapshot: &Snapshot, pool: Option<usize>, forward: Forward, dest: Addr) -> Addr {
    let pool = pool.filter(|_| forward == Forward::FullNat);
    let laddrs = pool.and_then(|pool| snapshot.pools.get(pool));
    let first = laddrs.and_then(|p| p.of(dest.family()).first());
    first.copied().unwrap_or(Addr::UNSPECIFIED)
}

/// The same of a dest that no service lists any more, by the service it had. None: that is gone
/// too, and with the same routes the way is the same.
fn removed_source(previous: &Snapshot, id: DestId, next: &Snapshot) -> Option<Addr> {
    let had = previous.services.iter().find(|s| s.dests.iter().any(|c| c.id == id));
    match had {
        Some(service) => {
            let Dest { addr, forward, .. } = *previous.dest(id);
            Some(source(previous, service.pool, forward, addr))
        }
        None if previous.routes == next.routes => None,
        None => Some(Addr::UNSPECIFIED),
    }
}

pub(super) fn build_dest(
    next: &Snapshot,
    inputs: &mut Inputs<'_>,
    forward: Forward,
    source: Addr,
    address: SocketAddr,
    weight: u32,
) -> Result<Dest, BuildError> {
    let addr: Addr = address.ip().into();
    let (out, via) = next.routes.find(source, addr).ok_or(BuildError::NoRoute(address.ip()))?;
    let hop = next_hop(next, inputs, out, via)?;
    let port = next.port(out);
    let own = port.own_addr(addr.family());
    let tunnel = match forward {
        Forward::Tunnel => {
            let no_source = || BuildError::NoSource(address.ip(), port.name.clone());
            Tunnel::to(own.ok_or_else(no_source)?, addr)
        }
        _ => Tunnel::NONE,
    };
    let mtu = port.mtu;
    let port = address.port();
    let traits = Traits::default();
    let (removed, dead) = (false, false);
    Ok(Dest { addr, port, weight, forward, out, hop, mtu, traits, tunnel, removed, dead })
}

fn next_hop(
    next: &Snapshot,
    inputs: &mut Inputs<'_>,
    port: PortId,
    via: Addr,
) -> Result<Hop, BuildError> {
    if next.locals.contains_key(&via) {
        return Err(BuildError::Ours(via.into()));
    }
    (inputs.hop)(port, via).ok_or_else(|| BuildError::Neighbours(via.into()))
}

/// What stands at a number that serves nobody.
pub(super) fn nobody() -> Dest {
    Dest {
        addr: Addr::UNSPECIFIED,
        port: 0,
        weight: 0,
        forward: Forward::Dr,
        out: PortId(0),
        hop: Hop(u32::MAX),
        mtu: 0,
        traits: Traits::default(),
        tunnel: Tunnel::NONE,
        removed: true,
        dead: false,
    }
}

#[cfg(test)]
mod tests;
