//! The configuration as the workers see it: immutable, built and validated by the control thread,
//! taken by each worker in one step.

use crate::acl::Access;
use crate::conn::State;
use crate::conn::Timeouts;
use crate::matching::Mark;
use crate::neigh::Face;
use crate::neigh::Mac;
use crate::neigh::PortId;
use crate::service::Closed;
use crate::service::Dest;
use crate::service::DestId;
use crate::service::Encap;
use crate::service::Forward;
use crate::service::OnDead;
use crate::service::Scope;
use crate::service::Service;
use crate::service::ServiceId;
use crate::service::Target;
use crate::service::Traits;
use crate::service::Tunnel;
use crate::snat::Snat;
use crate::tuple::Addr;
use crate::tuple::Family;
use crate::tuple::Prefix;
use crate::tuple::Proto;
use crate::tuple::Tuple;
use hashbrown::HashMap;
use hashbrown::HashSet;
use std::sync::Arc;

/// FTP's port, and where its data conns come from.
pub(crate) const FTP: u16 = 21;
/// Likewise.
const FTP_DATA: u16 = 20;
/// The first port that needs no privilege (`inet_port_requires_bind_service`).
const UNPRIVILEGED: u16 = 1024;

/// A port as the data plane sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct PortInfo {
    /// Its name in the configuration.
    pub name: String,
    /// Its MAC.
    pub mac: Mac,
    /// Largest IP packet.
    pub mtu: u16,
    /// 802.1Q tag of everything that comes and goes.
    pub vlan: Option<u16>,
    /// Its own addresses with their connected prefixes, link-local included.
    pub addrs: Vec<(Addr, Prefix)>,
    /// Whether the queue a frame arrives at is a fixed function of its tuple.
    pub fixed_queue: bool,
}

impl PortInfo {
    /// Its first own address of a family; for v6 a global one before the link-local.
    pub fn own_addr(&self, family: Family) -> Option<Addr> {
        let of_family = || self.addrs.iter().map(|a| a.0).filter(|a| a.family() == family);
        of_family().find(|a| !a.is_link_local_v6()).or_else(|| of_family().next())
    }

    /// Its own addresses that are good beyond the link, as full-NAT may use them.
    fn local_pool(&self) -> LocalPool {
        let global = || self.addrs.iter().map(|a| a.0).filter(|a| !a.is_link_local_v6());
        LocalPool {
            v4: global().filter(|a| a.is_v4()).collect(),
            v6: global().filter(|a| !a.is_v4()).collect(),
        }
    }

    /// What sending by it wants to know.
    pub fn face(&self) -> Face {
        Face { mac: self.mac, mtu: self.mtu }
    }

    /// Length of the Ethernet header, tag included.
    #[inline(always)]
    pub fn l2_len(&self) -> usize {
        if self.vlan.is_some() { 18 } else { 14 }
    }
}

/// One route. Connected prefixes are routes without a gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Where to.
    pub prefix: Prefix,
    /// Only for packets from these sources; none: from any.
    pub from: Option<Prefix>,
    /// By which port.
    pub port: PortId,
    /// By which router; none where the destination is on the link.
    pub via: Option<Addr>,
}

/// The routes, longest prefix first, of equal ones the longest `from`. A director has tens of
/// them, asked once per conn and direction and once per routed packet, so they are walked.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Routes(Vec<Route>);

impl Routes {
    /// Sorts them; of equals the first wins.
    pub fn new(mut routes: Vec<Route>) -> Self {
        // One more than its length: any source comes after every prefix of sources.
        let from = |r: &Route| r.from.map_or(0, |f| u16::from(f.len()) + 1);
        routes.sort_by_key(|r| core::cmp::Reverse((r.prefix.len(), from(r))));
        Self(routes)
    }

    /// The port and the next hop's address for a packet from `from` to `to`. A source that is not
    /// known is `Addr::UNSPECIFIED`, which no route's `from` holds.
    #[inline(always)]
    pub fn find(&self, from: Addr, to: Addr) -> Option<(PortId, Addr)> {
        let is_from = |r: &Route| r.from.is_none_or(|f| f.contains(from));
        let route = self.0.iter().find(|r| r.prefix.contains(to) && is_from(r))?;
        Some((route.port, route.via.unwrap_or(to)))
    }

    /// All, longest prefix first.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }
}

/// What an address of ours is; several may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Local {
    /// A VIP.
    pub vip: bool,
    /// In a pool.
    pub pool: bool,
    /// A port's own.
    pub own: bool,
    /// What packets get that nothing takes.
    pub closed: Closed,
    /// Ports on which the director answers for it (ARP, ND): bit n is port n.
    pub ports: u64,
}

/// Local addresses that full-NAT leases ports of, by family.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LocalPool {
    /// IPv4 addresses.
    pub v4: Vec<Addr>,
    /// IPv6 addresses.
    pub v6: Vec<Addr>,
}

impl LocalPool {
    /// The addresses of a family.
    pub fn of(&self, family: Family) -> &[Addr] {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// What the kernel's IPVS has as sysctls below net.ipv4.vs, by their names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipvs {
    /// Whether clients of a persistent service leave a quiesced dest with their next conn.
    pub expire_quiescent_template: bool,
    /// Whether conns end whose dest was removed, where `OnDead::Drop` would drop their packets, and
    /// a SYN on the tuple of a conn to a quiesced dest begins another one.
    pub expire_nodest_conn: bool,
    /// Whether any segment but a reset opens a conn, full-NAT excepted.
    pub sloppy_tcp: bool,
    /// Whether any packet of SCTP but an ABORT does, full-NAT excepted.
    pub sloppy_sctp: bool,
    /// Which conns a SYN on their tuple begins anew: 0 none, 1 those in TIME_WAIT and CLOSE, 2 and
    /// 3 besides those in FIN_WAIT whose answers do not pass the director.
    pub conn_reuse_mode: u8,
    /// Whether ICMP errors of which no conn is known open one, full-NAT and persistent services
    /// excepted.
    pub schedule_icmp: bool,
    /// Whether a dest under nat is told when what it sends is no conn's answer.
    pub nat_icmp_send: bool,
    /// Whether some new conns are dropped.
    pub drop_packet: Defend,
    /// Whether half-open and idle conns are ended early.
    pub drop_entry: Defend,
    /// Whether TCP conns count as established only after a further packet each way.
    pub secure_tcp: Defend,
    /// Under `Defend::Always` one of so many new conns is dropped.
    pub am_droprate: u16,
}

impl Ipvs {
    /// Whether any defence is on, or may come on.
    #[inline]
    pub fn defends(&self) -> bool {
        [self.drop_packet, self.drop_entry, self.secure_tcp] != [Defend::Off; 3]
    }
}

/// When a defence against floods is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Defend {
    /// Never.
    #[default]
    Off,
    /// While a worker's conn table is nearly full.
    Short,
    /// Always.
    Always,
}

impl Default for Ipvs {
    fn default() -> Self {
        Self {
            expire_quiescent_template: false,
            expire_nodest_conn: false,
            sloppy_tcp: false,
            sloppy_sctp: false,
            conn_reuse_mode: 1,
            schedule_icmp: false,
            nat_icmp_send: false,
            drop_packet: Defend::Off,
            drop_entry: Defend::Off,
            secure_tcp: Defend::Off,
            am_droprate: 10,
        }
    }
}

/// All of it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Snapshot {
    /// Ports by number.
    pub ports: Vec<PortInfo>,
    /// Where things go.
    pub routes: Routes,
    /// Whether packets are routed that are neither for an address of ours nor of a conn.
    pub routing: bool,
    /// Every address that is ours.
    pub locals: HashMap<Addr, Local>,
    /// Services, in the order of the configuration.
    pub services: Vec<Service>,
    /// Rules that mark packets to VIPs, in the order of the configuration: the first that takes a
    /// packet marks it.
    pub marks: Vec<Mark>,
    /// Rules for conns that servers open, in the order of the configuration.
    pub snats: Vec<Snat>,
    /// Whose conns services take. The same one as before where nothing of it has changed: by that
    /// workers know that no conn has to be asked again.
    pub access: Arc<Access>,
    /// Dests by stable number; numbers not in use hold a removed dest.
    pub dests: Vec<Dest>,
    /// Pools, in the order of the configuration; then those of `snats` that name addresses.
    pub pools: Vec<LocalPool>,
    /// Timeouts by conn state.
    pub timeouts: Timeouts,
    /// How IPVS decides where it may be told to.
    pub ipvs: Ipvs,
    /// Look-ups over the above, filled by `index`.
    pub lookup: Lookup,
}

/// A snapshot's look-up tables.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Lookup {
    services: HashMap<(Proto, Addr, u16), usize>,
    marked: HashMap<(Family, u32), usize>,
    /// Whether there are services of every port.
    has_port_0: bool,
    nat_dests: HashSet<(Proto, Addr, u16)>,
    /// Of them those that services have, each by its protocol and port.
    real_servers: HashSet<(Proto, Addr, u16)>,
    nat_addrs: HashSet<Addr>,
    /// VIPs of services that speak FTP, and their dests, those removed included.
    ftp_vips: HashSet<Addr>,
    ftp_dests: HashMap<Addr, FtpDest>,
    /// Own addresses, link-local ones excepted, by port.
    own: Vec<LocalPool>,
    /// Directed broadcasts of connected prefixes.
    broadcasts: Vec<Addr>,
    /// Whether a local address that full-NAT may lease ports of has services.
    leases_vips: bool,
    /// Whether there are rules, or conns of removed ones.
    has_rules: bool,
    has_removed: bool,
    has_orphans: bool,
    /// Whether some ports have a tag, and others none.
    mixes_tags: bool,
    /// Whether services can take each other's tuples without any dest being removed, and go by
    /// different rules of whose the conns are.
    overlap: bool,
    strict: Vec<DestId>,
    /// By service number, its place among all that take conns; by dest number, its place in its service's
    /// list. `NOWHERE` for numbers of nobody.
    takers: Vec<u32>,
    places: Vec<u32>,
    /// Where tunnels end: address, protocol number, port.
    tunnels: HashSet<(Addr, u8, u16)>,
    longest: u32,
}

const NOWHERE: u32 = u32::MAX;

/// A dest of a service that speaks FTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FtpDest {
    /// How its packets get there.
    pub forward: Forward,
    /// The port that its own data conns come from unless it has another one: the one before that of
    /// its control conns.
    pub data_port: u16,
}

impl Lookup {
    /// Whether conns may live with other workers than their tuples say: there are dests that serve conns
    /// but belong to no service any more, or a conn may have been another service's when it opened.
    #[inline]
    pub fn any_may_have_it(&self) -> bool {
        self.has_removed || self.overlap
    }

    /// Whether there are dests that serve conns but belong to no service any more.
    #[inline]
    pub fn has_removed(&self) -> bool {
        self.has_removed
    }

    /// Whether there are dests whose service is gone as well.
    #[inline]
    pub fn has_orphans(&self) -> bool {
        self.has_orphans
    }

    /// Whether some ports have a tag, and others none.
    #[inline(always)]
    pub fn mixes_tags(&self) -> bool {
        self.mixes_tags
    }

    /// The longest that a conn lives without a packet, in milliseconds.
    #[inline]
    pub fn longest(&self) -> u32 {
        self.longest
    }

    /// The dests whose conns do not simply go on when it is removed or dead (`Traits::on_dead`).
    #[inline]
    pub fn strict(&self) -> &[DestId] {
        &self.strict
    }
}

impl Snapshot {
    /// Fills the look-up tables and what dests' tunnels are; call once after the public fields are complete.
    pub fn index(mut self) -> Self {
        for dest in self.dests.iter_mut().filter(|d| d.forward == Forward::Tunnel) {
            let (Traits { encap, cuts_outer, .. }, family) = (dest.traits, dest.addr.family());
            // No outer header of IPv6 says whether routers may cut: none may.
            let is_plain = encap == Encap::Ip && (family == Family::V6 || !cuts_outer);
            let plain = [Family::V4, Family::V6].map(|f| is_plain && f == family);
            dest.tunnel = Tunnel { plain, ..Tunnel::to(dest.tunnel.source, dest.addr) };
        }
        self.index_methods();
        self.index_services();
        self.index_places();
        self.index_ftp();
        let removed = |d: &Dest| d.removed && !d.is_nobody();
        self.lookup.has_removed = self.dests.iter().any(removed);
        let orphaned = |d: &Dest| removed(d) && d.traits.orphaned;
        self.lookup.has_orphans = self.dests.iter().any(orphaned);
        let is_wide = |s: &Service| s.scope != Scope::Address || s.port == 0;
        let by_client = self.services.iter().filter(|s| s.goes_by_client()).count();
        self.lookup.overlap =
            by_client > 0 && by_client < self.services.len() && self.services.iter().any(is_wide);
        let strict = |d: &Dest| d.traits.on_dead != OnDead::Keep && !d.addr.is_unspecified();
        let numbered = self.dests.iter().enumerate().filter(|(_, d)| strict(d));
        self.lookup.strict = numbered.map(|(id, _)| DestId(id as u32)).collect();
        self.lookup.mixes_tags = self.ports.windows(2).any(|p| p[0].l2_len() != p[1].l2_len());
        let of_rule = |d: &Dest| d.traits.target != Target::Dest;
        self.lookup.has_rules = self.dests.iter().any(of_rule);
        let own = |t: &Traits| {
            t.tcp_timeouts.0.max(t.tcp_timeouts.1).max(t.udp_timeout).max(t.sctp_timeout)
        };
        let own = self.dests.iter().map(|d| own(&d.traits));
        let established = self.timeouts.of(State::Established);
        let established = established.max(self.timeouts.of(State::SctpEstablished));
        self.lookup.longest = own.fold(established, u32::max);
        self.lookup.own = self.ports.iter().map(PortInfo::local_pool).collect();
        let on_links = self.ports.iter().flat_map(|p| &p.addrs);
        self.lookup.broadcasts = on_links.filter_map(|(_, prefix)| prefix.broadcast()).collect();
        let vips: HashSet<_> = self.lookup.services.keys().map(|key| key.1).collect();
        let has_services = |a: &Addr| vips.contains(a) || !self.marks.is_empty() && self.is_vip(*a);
        let pools = self.pools.iter().chain(&self.lookup.own);
        let leases_vips = pools.flat_map(|pool| pool.v4.iter().chain(&pool.v6)).any(has_services);
        self.lookup.leases_vips = leases_vips;
        self.lookup.nat_dests.clear();
        for proto in [Proto::Tcp, Proto::Udp, Proto::Sctp] {
            let nat = self.dests.iter().filter(|d| d.forward == Forward::Nat);
            self.lookup.nat_dests.extend(nat.map(|d| (proto, d.addr, d.port)));
        }
        self.lookup.nat_addrs = self.lookup.nat_dests.iter().map(|d| d.1).collect();
        self.lookup.real_servers = self.real_servers();
        self.lookup.tunnels.clear();
        let tunnels = self.dests.iter().filter(|d| d.forward == Forward::Tunnel && !d.is_nobody());
        let ends = tunnels
            .flat_map(|d| d.traits.encap.ends().map(|(number, port)| (d.addr, number, port)));
        self.lookup.tunnels.extend(ends);
        self
    }

    /// What the kernel finds by a dest's protocol, address and port (`ip_vs_rs_hash`): not those
    /// that serve every port.
    fn real_servers(&self) -> HashSet<(Proto, Addr, u16)> {
        let mut all = HashSet::new();
        for service in &self.services {
            let protos: &[Proto] = match service.scope {
                Scope::Mark(_) => &[Proto::Tcp, Proto::Udp, Proto::Sctp],
                _ => core::slice::from_ref(&service.proto),
            };
            let dests = service.dests.iter().map(|c| self.dest(c.id));
            let dests = dests.filter(|d| d.port != 0 && d.forward == Forward::Nat);
            all.extend(dests.flat_map(|d| protos.iter().map(|proto| (*proto, d.addr, d.port))));
        }
        all
    }

    /// The service of what a packet begins, in the kernel's order (`ip_vs_service_find`): that of
    /// its mark, that of its address and port, for FTP's data that of port 21, that of its address and
    /// every port.
    #[inline(never)]
    pub fn service(&self, t: &Tuple) -> Option<&Service> {
        self.service_index(t).map(|i| &self.services[i])
    }

    /// Its place in `services`.
    #[inline(always)]
    pub fn service_index(&self, t: &Tuple) -> Option<usize> {
        let found = match self.marked(t) {
            None => {
                let has_port_0 = self.lookup.has_port_0;
                let every = || has_port_0.then(|| self.of_every_port(t)).flatten();
                let exact = self.lookup.services.get(&(t.proto, t.dst, t.dport));
                exact.or_else(|| self.persistent_ftp(t)).or_else(every)
            }
            marked => marked,
        };
        found.copied()
    }

    #[inline(never)]
    fn of_every_port(&self, t: &Tuple) -> Option<&usize> {
        self.lookup.services.get(&(t.proto, t.dst, 0))
    }

    /// The service of FTP's data conns, which clients open, where they go to the dest of their
    /// template: of other services of port 21 the kernel finds them, too, and schedules nothing.
    #[inline(never)]
    fn persistent_ftp(&self, t: &Tuple) -> Option<&usize> {
        let is_data = t.proto == Proto::Tcp && (t.dport == FTP_DATA || t.dport >= UNPRIVILEGED);
        let found = is_data.then(|| self.lookup.services.get(&(t.proto, t.dst, FTP))).flatten();
        found.filter(|i| self.services[**i].terms.persistence.is_some())
    }

    /// Whether a client's packet may be of a data conn that an FTP control conn has announced.
    #[inline]
    pub fn is_ftp_data(&self, t: &Tuple) -> bool {
        let lookup = &self.lookup;
        t.proto == Proto::Tcp
            && lookup.ftp_vips.contains(&t.dst)
            && !self.has_service_at(t)
            && self.marked(t).is_none()
    }

    /// Whether a service takes its very address and port.
    pub fn has_service_at(&self, t: &Tuple) -> bool {
        self.lookup.services.contains_key(&(t.proto, t.dst, t.dport))
    }

    /// The FTP dest that a packet may come from as one of a data conn.
    pub fn ftp_dest(&self, t: &Tuple) -> Option<FtpDest> {
        let found = self.lookup.ftp_dests.get(&t.src).filter(|_| t.proto == Proto::Tcp);
        found.copied()
    }

    /// What methods services have, rules included.
    fn index_methods(&mut self) {
        let rules = self.snats.iter_mut().map(|rule| &mut rule.service);
        for service in self.services.iter_mut().chain(rules) {
            let of_dests = service.dests.iter().map(|c| self.dests[c.id.0 as usize].forward);
            let none_yet = service.dests.is_empty().then_some(service.forward);
            service.methods = of_dests.chain(none_yet).collect();
        }
    }

    /// The VIPs of services that speak FTP, and their dests, those removed included.
    fn index_ftp(&mut self) {
        let (vips, dests) = (&mut self.lookup.ftp_vips, &mut self.lookup.ftp_dests);
        vips.clear();
        dests.clear();
        for s in self.services.iter().filter(|s| s.terms.ftp) {
            match s.scope {
                Scope::Address => vips.extend([s.addr]),
                Scope::Range(last) => vips.extend(s.addr.up_to(last)),
                Scope::Mark(_) | Scope::Rule => {}
            }
        }
        let services = self.services.iter().filter(|s| s.terms.ftp);
        let listed = services.flat_map(|s| &s.dests).map(|c| &self.dests[c.id.0 as usize]);
        // What these serve they serve to its end.
        let removed =
            self.dests.iter().filter(|d| d.removed && d.traits.ftp.is_some() && !d.is_nobody());
        for dest in listed.chain(removed) {
            let data_port = dest.port.wrapping_sub(1);
            let found = dests.entry(dest.addr);
            let found = found.or_insert(FtpDest { forward: dest.forward, data_port });
            // Under nat alone its packets have an owner that must be found by it.
            if dest.forward == Forward::Nat {
                found.forward = Forward::Nat;
            }
        }
    }

    /// The service of the mark that the rules give a packet.
    #[inline(always)]
    fn marked(&self, t: &Tuple) -> Option<&usize> {
        if self.marks.is_empty() { None } else { self.marked_by_rule(t) }
    }

    #[inline(never)]
    fn marked_by_rule(&self, t: &Tuple) -> Option<&usize> {
        if !self.is_vip(t.dst) {
            return None;
        }
        let rule = self.marks.iter().find(|rule| rule.matching.takes(t))?;
        self.lookup.marked.get(&(t.dst.family(), rule.mark))
    }

    /// An address of its own comes before a range, wherever in the file.
    fn index_services(&mut self) {
        let (services, marked) = (&mut self.lookup.services, &mut self.lookup.marked);
        services.clear();
        marked.clear();
        for (i, s) in self.services.iter().enumerate() {
            match s.scope {
                Scope::Range(last) => {
                    let addrs = s.addr.up_to(last).map(|addr| ((s.proto, addr, s.port), i));
                    services.extend(addrs);
                }
                Scope::Mark(mark) => {
                    marked.insert((s.addr.family(), mark), i);
                }
                Scope::Address | Scope::Rule => {}
            }
        }
        let single = self.services.iter().enumerate().filter(|(_, s)| s.scope == Scope::Address);
        services.extend(single.map(|(i, s)| ((s.proto, s.addr, s.port), i)));
        self.lookup.has_port_0 = services.keys().any(|key| key.2 == 0);
    }

    /// Whether conns may pass through to an address: it is another host's, and there are rules, or
    /// were when conns began that live.
    pub fn passes(&self, addr: Addr) -> bool {
        self.lookup.has_rules && !self.locals.contains_key(&addr)
    }

    /// The service or, after all services, the rule that takes what a packet begins.
    #[inline(always)]
    pub fn taker(&self, t: &Tuple) -> Option<&Service> {
        match self.service_index(t) {
            Some(i) => Some(&self.services[i]),
            None => self.snat(t),
        }
    }

    /// Whether an access list denies a client what a service would open for it. A rule for servers'
    /// conns says itself whose they are.
    #[inline]
    pub fn denies(&self, service: &Service, client: Addr) -> bool {
        !service.is_rule() && !self.access.admits(Some(service.id), client)
    }

    /// The service or rule of a number.
    pub fn taker_of(&self, id: ServiceId) -> Option<&Service> {
        let at = *self.lookup.takers.get(id.0 as usize)? as usize;
        let rule = || self.snats.get(at.checked_sub(self.services.len())?).map(|r| &r.service);
        self.services.get(at).or_else(rule)
    }

    /// A dest's place in the list of its service.
    pub fn place_of(&self, id: DestId) -> Option<usize> {
        let place = self.lookup.places.get(id.0 as usize)?;
        (*place != NOWHERE).then_some(*place as usize)
    }

    /// So that a worker that takes this snapshot searches for nothing.
    fn index_places(&mut self) {
        let highest = self.takers().map(|s| s.id.0 as usize + 1).max().unwrap_or(0);
        let (mut takers, mut places) = (vec![NOWHERE; highest], vec![NOWHERE; self.dests.len()]);
        for (at, service) in self.takers().enumerate() {
            takers[service.id.0 as usize] = at as u32;
            for (place, candidate) in service.dests.iter().enumerate() {
                places[candidate.id.0 as usize] = place as u32;
            }
        }
        (self.lookup.takers, self.lookup.places) = (takers, places);
    }

    /// All that may take conns: the services, then the rules.
    pub fn takers(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().chain(self.snats.iter().map(|rule| &rule.service))
    }

    /// The first rule that takes what a packet begins.
    #[inline(never)]
    fn snat(&self, t: &Tuple) -> Option<&Service> {
        let may_pass = self.passes(t.dst) && !t.dst.is_link_local_v6() && !self.is_broadcast(t.dst);
        let rules = if may_pass { &self.snats[..] } else { &[] };
        rules.iter().find(|rule| rule.matching.takes(t)).map(|rule| &rule.service)
    }

    /// What a service's conns that leave by `port` may have as local address.
    #[inline(always)]
    pub fn laddrs(&self, service: &Service, port: PortId, family: Family) -> &[Addr] {
        let pool = match service.pool {
            Some(pool) => &self.pools[pool],
            None => &self.lookup.own[port.0 as usize],
        };
        pool.of(family)
    }

    /// Whether one of those may be a VIP, too.
    #[inline(always)]
    pub fn leases_vips(&self) -> bool {
        self.lookup.leases_vips
    }

    /// What packets to an address get that nothing takes.
    pub fn closed(&self, addr: Addr) -> Closed {
        self.locals.get(&addr).map(|l| l.closed).unwrap_or_default()
    }

    /// Whether a source is a dest under nat, so that what it sends may be the answer of a conn.
    pub fn is_nat_dest(&self, proto: Proto, addr: Addr, port: u16) -> bool {
        let nat_dests = &self.lookup.nat_dests;
        nat_dests.contains(&(proto, addr, port)) || nat_dests.contains(&(proto, addr, 0))
    }

    /// Whether a source is just that port of a dest under nat (`ip_vs_has_real_service`).
    pub fn is_real_server(&self, proto: Proto, addr: Addr, port: u16) -> bool {
        self.lookup.real_servers.contains(&(proto, addr, port))
    }

    /// Whether packets of an IP protocol, and to a port of UDP, are those of a tunnel of ours to this address.
    pub fn is_tunnel_end(&self, addr: Addr, number: u8, port: u16) -> bool {
        self.lookup.tunnels.contains(&(addr, number, port))
    }

    /// Whether an address is a VIP.
    pub fn is_vip(&self, addr: Addr) -> bool {
        self.locals.get(&addr).is_some_and(|l| l.vip)
    }

    /// Whether packets between these addresses, whatever their ports, can be of no conn and for no
    /// address of ours: only to be routed.
    pub fn is_transit(&self, src: Addr, dst: Addr) -> bool {
        let ours = |addr| self.locals.contains_key(&addr);
        // Of conns of removed rules it is not known where they come from.
        let removed = self.lookup.has_rules && self.lookup.has_removed;
        let may_pass = removed || self.snats.iter().any(|rule| rule.matching.is_from(src));
        let of_nat = self.lookup.nat_addrs.contains(&src);
        self.routing && !ours(dst) && !ours(src) && !of_nat && !may_pass
    }

    /// Whether answers to a client's tuple go back where its packets come from.
    pub fn is_last_hop(&self, tuple: &Tuple) -> bool {
        let service = self.service(tuple);
        let first = service.and_then(|s| s.dests.first());
        first.is_some_and(|c| self.dest(c.id).traits.last_hop)
    }

    /// The address that a router's own words bear about a packet that came in by `port`: that
    /// port's, or another one's where it has none that goes beyond the link.
    pub fn router_addr(&self, port: PortId, family: Family) -> Option<Addr> {
        let global = |p: &PortInfo| p.own_addr(family).filter(|a| !a.is_link_local_v6());
        global(self.port(port)).or_else(|| self.ports.iter().find_map(global))
    }

    /// Whether an address is the directed broadcast of a connected prefix: no sender, and not to
    /// be answered (RFC 1122 section 3.2.2).
    pub fn is_broadcast(&self, addr: Addr) -> bool {
        self.lookup.broadcasts.contains(&addr)
    }

    /// Whether an address can be no client's: one of ours, a broadcast, or link-local, of which no
    /// route says where its conn's answers go.
    pub fn is_no_client(&self, addr: Addr) -> bool {
        self.locals.contains_key(&addr) || self.is_no_stranger(addr)
    }

    /// The same of an address that is not one of ours.
    #[inline]
    pub fn is_no_stranger(&self, addr: Addr) -> bool {
        self.is_broadcast(addr) || addr.is_link_local_v6()
    }

    /// A dest by its number.
    #[inline(always)]
    pub fn dest(&self, id: DestId) -> &Dest {
        &self.dests[id.0 as usize]
    }

    /// The same of one that another worker names, which may have taken another snapshot.
    pub fn known_dest(&self, id: DestId) -> Option<&Dest> {
        self.dests.get(id.0 as usize).filter(|dest| !dest.is_nobody())
    }

    /// A port by its number.
    #[inline(always)]
    pub fn port(&self, id: PortId) -> &PortInfo {
        &self.ports[id.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_prefix_wins() {
        let net = |a, b, c, d, len| Prefix::new(Addr::v4(u32::from_be_bytes([a, b, c, d])), len);
        let gw = Addr::v4(0x0a000001);
        let routes = Routes::new(vec![
            Route { prefix: net(0, 0, 0, 0, 0), from: None, port: PortId(0), via: Some(gw) },
            Route { prefix: net(10, 2, 0, 0, 24), from: None, port: PortId(1), via: None },
            Route { prefix: net(10, 0, 0, 0, 8), from: None, port: PortId(0), via: Some(gw) },
        ]);
        let at = |a, b, c, d| Addr::v4(u32::from_be_bytes([a, b, c, d]));
        let find = |to| routes.find(Addr::UNSPECIFIED, to);
        assert_eq!(find(at(10, 2, 0, 9)), Some((PortId(1), at(10, 2, 0, 9))));
        assert_eq!(find(at(10, 3, 0, 9)), Some((PortId(0), gw)));
        assert_eq!(find(at(1, 1, 1, 1)), Some((PortId(0), gw)));
        assert_eq!(find(Addr::v6(1)), None);
    }

    #[test]
    fn the_longest_destination_comes_before_the_longest_source() {
        let net = |a, b, c, d, len| Prefix::new(Addr::v4(u32::from_be_bytes([a, b, c, d])), len);
        let at = |a, b, c, d| Addr::v4(u32::from_be_bytes([a, b, c, d]));
        let via = |n| Some(at(192, 0, 2, n));
        let route = |prefix, from, n| Route { prefix, from, port: PortId(0), via: via(n) };
        let any = net(0, 0, 0, 0, 0);
        let routes = Routes::new(vec![
            route(any, None, 1),
            route(any, Some(net(10, 0, 0, 0, 8)), 2),
            route(any, Some(net(10, 2, 0, 0, 16)), 3),
            route(net(10, 9, 0, 0, 16), None, 4),
            route(net(10, 9, 0, 0, 16), Some(net(10, 7, 0, 0, 16)), 5),
        ]);
        let next = |from, to| routes.find(from, to).map(|way| Some(way.1));
        assert_eq!(next(at(172, 16, 0, 1), at(1, 1, 1, 1)), Some(via(1)));
        assert_eq!(next(at(10, 1, 0, 1), at(1, 1, 1, 1)), Some(via(2)));
        assert_eq!(next(at(10, 2, 0, 1), at(1, 1, 1, 1)), Some(via(3)));
        assert_eq!(next(at(10, 2, 0, 1), at(10, 9, 0, 1)), Some(via(4)));
        assert_eq!(next(at(10, 7, 0, 1), at(10, 9, 0, 1)), Some(via(5)));
        assert_eq!(next(Addr::UNSPECIFIED, at(1, 1, 1, 1)), Some(via(1)));
    }
}
