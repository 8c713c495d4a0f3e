//! Services and dests.

use super::Names;
use super::Ways;
use super::endings;
use super::helper;
use super::introduction;
use super::methods::Methods;
use super::pools::Pools;
use super::pools::is_automap;
use super::tunnels;
use super::vips::Vips;
use super::vips::addresses;
use super::virtuals;
use super::virtuals::Taken;
use crate::model::Dest;
use crate::model::Forward;
use crate::model::NoDest;
use crate::model::OnDead;
use crate::model::OnIdle;
use crate::model::Oversize;
use crate::model::Protocol;
use crate::model::Scheduler;
use crate::model::Scope;
use crate::model::Service;
use crate::model::Tunnel;
use crate::pool::AddressRange;
use crate::prefix::family;
use crate::prefix::same_family;
use crate::raw::Raw;
use crate::raw::RawDest;
use crate::raw::RawService;
use crate::report::At;
use crate::report::Report;
use crate::report::Span;
use std::collections::HashMap;
use std::collections::HashSet;
use std::net::IpAddr;
use std::net::SocketAddr;

/// What services are compared with.
struct Surroundings<'a> {
    ways: &'a Ways,
    vips: &'a Vips,
    pools: &'a Pools,
    pool_names: &'a Names<'a>,
}

/// Ports that full-NAT leases of one local address toward one dest endpoint: 1025 to 65535.
const PORTS: u128 = 64_511;
/// Of how many pairs of local address and dest each worker keeps the leases, at most.
const LEASE_PAIRS: u128 = 131_072;

/// The pairs of pool address and dest endpoint that full-NAT may come to use.
#[derive(Default)]
struct Pairs {
    seen: HashSet<(usize, Protocol, SocketAddr)>,
    count: u128,
}

impl Pairs {
    /// Adds a service's; the one that goes beyond what workers can hold is warned of.
    fn add(
        &mut self,
        report: &mut Report<'_>,
        span: Span,
        protocol: Protocol,
        pool: usize,
        dests: &[Dest],
        pools: &Pools,
    ) {
        let before = self.count;
        let full_nat = dests.iter().filter(|dest| dest.forward == Forward::FullNat);
        for dest in full_nat.filter(|dest| self.seen.insert((pool, protocol, dest.address))) {
            let ranges = pools.models[pool].ranges.iter();
            let same = ranges.filter(|range| same_family(range.first(), dest.address.ip()));
            self.count += same.map(AddressRange::count).sum::<u128>();
        }
        if before <= LEASE_PAIRS && self.count > LEASE_PAIRS {
            let message = format!("{} pairs of pool address and full-NAT dest", self.count);
            let help = format!(
                "a worker has room for {LEASE_PAIRS}: conns may be refused; a smaller pool does, \
                 each address carries 64511 conns to each dest"
            );
            report.warning(span, message, help);
        }
    }

    /// Warns where ports run out before the conn table that the file asks for is full. Where other
    /// methods have conns too, nobody can say which that will be.
    fn compare(&self, report: &mut Report<'_>, raw: &Raw, services: &[Service]) {
        let Some(conns) = raw.director.conns.map(|at| at.value) else { return };
        let serving = || services.iter().filter(|service| !service.dests.is_empty());
        let pool = serving().find_map(|service| service.pool);
        let only = serving().flat_map(|s| &s.dests).all(|dest| dest.forward == Forward::FullNat);
        let ports = self.count.saturating_mul(PORTS);
        let Some(pool) = pool.filter(|_| only && ports < u128::from(conns)) else { return };
        let span = raw.pools[pool].ranges.first().map(|range| range.span);
        let Some(span) = span.filter(|_| report.errors() == 0) else { return };
        let needed = u128::from(conns).div_ceil(PORTS);
        let help = format!(
            "each of the {} pairs of pool address and dest has {PORTS}; {needed} pairs would do: \
             add addresses, or lower conns",
            self.count
        );
        let message = format!("full-NAT has ports for {ports} conns, director.conns is {conns}");
        report.warning(span, message, help);
    }
}

/// The services that have all they need.
pub(super) fn check(
    report: &mut Report<'_>,
    raw: &Raw,
    ways: &Ways,
    vips: &Vips,
    pools: &Pools,
    pool_names: &Names<'_>,
) -> Vec<Service> {
    let around = Surroundings { ways, vips, pools, pool_names };
    let mut taken = Taken::default();
    let mut names: HashMap<String, Span> = HashMap::new();
    let mut pairs = Pairs::default();
    let mut services = Vec::new();
    for service in &raw.services {
        let Some(address) = service.address else { continue };
        let name = check_name(report, service, address, &mut names);
        if let Some((first, overlaps)) = taken.claim(service, address) {
            let virtual_ = service.scope.of(service.protocol, address.value);
            let line = report.line(first);
            let (message, help) = match overlaps {
                false => (
                    format!("duplicate service {virtual_}"),
                    format!("line {line} has it already; put all dests there"),
                ),
                true => (
                    format!("{virtual_} overlaps another range"),
                    format!("line {line} has some of its addresses; an address is in one range"),
                ),
            };
            report.error(address.span, message, help);
        }
        let Some(methods) = Methods::of(service) else { continue };
        let pool = check_pool(report, service, address.value, &methods, &around);
        endings::check(report, service);
        check_oversize(report, service, &methods);
        check_protocol(report, service, &methods);
        check_own_vip(report, service.scope, address, &methods, ways);
        helper::check(report, service, address, &methods, (ways, pools));
        let persistence = virtuals::check(report, raw, service, address, ways, pools);
        let dests = check_dests(report, service, address.value, (&methods, pool), &around);
        let maglev_size = check_scheduler(report, service, dests.len());
        let client_address = introduction::check(report, service, address, &methods, &dests, ways);
        if service.whole {
            check_weights(report, service, &name, &dests);
        }
        let vip = vips.find(address.value.ip());
        if vip.is_none() && !matches!(service.scope, Scope::Mark(_)) {
            continue;
        }
        if let (Some(pool), Some(at)) = (pool, &service.pool) {
            pairs.add(report, at.span, service.protocol, pool, &dests, pools);
        }
        let sees_answers = |method| matches!(method, Forward::Nat | Forward::FullNat);
        let rewritten = methods.used(sees_answers).is_some();
        // A persistent service's clients have one dest.
        let may_change = rewritten && service.persistent.is_none();
        let by_default = u8::from(may_change && service.protocol == Protocol::Tcp);
        services.push(Service {
            name,
            address: address.value,
            scope: service.scope,
            persistence,
            protocol: service.protocol,
            scheduler: service.scheduler,
            scheduler_flags: service.scheduler_flags.iter().map(|at| at.value).collect(),
            maglev_size,
            forward: methods.own.value,
            pool,
            automap: is_automap(service.pool.as_ref()),
            retries: service.retries.map_or(by_default, |at| at.value),
            mss: service.mss,
            udp_timeout: service.udp_timeout,
            tcp_timeout: service.tcp_timeout.map(|at| at.value),
            tcp_fin_timeout: service.tcp_fin_timeout.map(|at| at.value),
            sctp_timeout: service.sctp_timeout.map(|at| at.value),
            one_packet: service.one_packet.is_some_and(|at| at.value),
            no_dest: service.no_dest.map_or(NoDest::Unreachable, |at| at.value),
            replies: service.replies,
            rewrite: service.rewrite,
            last_hop: service.last_hop,
            icmp_source: service.icmp_source,
            on_dead: service.on_dead.map_or(OnDead::Keep, |at| at.value),
            on_idle: service.on_idle.map_or(OnIdle::Forget, |at| at.value),
            exhausted: service.exhausted,
            oversize: service.oversize.map_or(Oversize::TooBig, |at| at.value),
            access: service.access.clone(),
            denied: service.denied,
            client_address,
            proxy_in: service.proxy_in.iter().map(|prefix| prefix.value).collect(),
            helper: service.helper.map(|at| at.value),
            vip,
            dests,
        });
    }
    pairs.compare(report, raw, &services);
    services
}

/// Only a tunnel makes packets larger than their senders know.
fn check_oversize(report: &mut Report<'_>, service: &RawService, methods: &Methods) {
    if let Some(at) = service.oversize.filter(|_| !methods.has(Forward::Tunnel)) {
        let help = "leave it out: it is for forward = \"tunnel\"";
        report.error(at.span, methods.lacks(Forward::Tunnel, "makes no packet larger"), help);
    }
}

/// What belongs to the scheduler: its flags, and the buckets of mh, which this gives.
fn check_scheduler(report: &mut Report<'_>, service: &RawService, dests: usize) -> u32 {
    let scheduler = service.scheduler;
    for (nth, flag) in service.scheduler_flags.iter().enumerate() {
        if flag.value.of() != scheduler {
            let what = format!("{} with scheduler \"{}\"", flag.value, scheduler);
            let of = flag.value.of();
            report.error(flag.span, what, format!("it is a flag of \"{of}\""));
        } else if service.scheduler_flags[..nth].iter().any(|f| f.value == flag.value) {
            report.error(flag.span, format!("{} twice", flag.value), "once is enough");
        }
    }
    let size = service.maglev_size.unwrap_or(At { value: KERNEL_MAGLEV, span: service.span });
    if service.maglev_size.is_some() && scheduler != Scheduler::Mh {
        let what = format!("maglev_size with scheduler \"{scheduler}\"");
        report.error(size.span, what, "it is of \"mh\"");
    } else if !is_prime(size.value) {
        let next = (size.value..).find(|n| is_prime(*n)).unwrap_or(KERNEL_MAGLEV);
        let what = format!("{} is not a prime number", size.value);
        report.error(size.span, what, format!("the next one is {next}"));
    } else if scheduler == Scheduler::Mh && dests > size.value as usize {
        let what = format!("{} buckets for {dests} dests", size.value);
        let help = "a larger prime number as maglev_size, best 100 times the dests";
        report.error(size.span, what, help);
    }
    size.value
}

/// Buckets of the kernel's mh.
const KERNEL_MAGLEV: u32 = 4093;

fn is_prime(n: u32) -> bool {
    n > 1 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

/// The service's name, made from protocol and address if it has none.
fn check_name(
    report: &mut Report<'_>,
    service: &RawService,
    address: At<SocketAddr>,
    names: &mut HashMap<String, Span>,
) -> String {
    let made = service.scope.of(service.protocol, address.value);
    let (name, span) = match &service.name {
        Some(name) => (name.value.clone(), name.span),
        None => (made.clone(), address.span),
    };
    match names.get(&name) {
        // Two services without names that are called the same are the same, which is reported as
        // such.
        Some(first) if service.name.is_some() || name != made => {
            let help = format!(
                "line {} has it already; names of services are unique",
                report.line(*first)
            );
            report.error(span, format!("duplicate service {name:?}"), help);
        }
        Some(_) => {}
        None => {
            names.insert(name.clone(), span);
        }
    }
    name
}

/// What one protocol has, or one method has not.
fn check_protocol(report: &mut Report<'_>, service: &RawService, methods: &Methods) {
    let marked = matches!(service.scope, Scope::Mark(_));
    let timeouts =
        [("tcp_timeout", service.tcp_timeout), ("tcp_fin_timeout", service.tcp_fin_timeout)];
    let of_tcp = timeouts.iter().filter_map(|(key, given)| Some((*key, given.as_ref()?.span)));
    let no_dest = service.no_dest.as_ref().filter(|at| at.value == NoDest::Reset);
    let resets = no_dest.map(|at| ("no_dest = \"reset\"", at.span));
    let of_sctp = service.sctp_timeout.as_ref().map(|at| ("sctp_timeout", at.span));
    let protocol = service.protocol;
    let (is_tcp, is_sctp) = (protocol == Protocol::Tcp, protocol == Protocol::Sctp);
    let of_tcp = of_tcp.map(|key| (key, is_tcp, "TCP"));
    let others = [(resets, is_tcp || is_sctp, "TCP and SCTP"), (of_sctp, is_sctp, "SCTP")];
    let others = others.into_iter().filter_map(|(key, fits, of)| Some((key?, fits, of)));
    for ((key, span), fits, of) in of_tcp.chain(others) {
        if !fits && !marked {
            let message = format!("{key} of a {protocol} service");
            report.error(span, message, format!("it is for {of}: leave it out"));
        }
    }
    let Some(At { span, .. }) = service.one_packet.filter(|at| at.value) else { return };
    if service.protocol != Protocol::Udp && !marked {
        let message = format!("one_packet of a {} service", service.protocol);
        report.error(span, message, "it is for UDP: leave it out");
    } else if let Some(method) = methods.used(|method| method == Forward::FullNat) {
        let span = methods.blame(method, span);
        let help = "no answer would find its client: take \"dr\" or \"tunnel\", or replies = 1";
        report.error(span, "one_packet by \"fullnat\"", help);
    }
}

/// Full-NAT needs a pool with an address of the family of each dest.
fn check_pool(
    report: &mut Report<'_>,
    service: &RawService,
    address: SocketAddr,
    methods: &Methods,
    around: &Surroundings<'_>,
) -> Option<usize> {
    let full_nat = methods.used(|method| method == Forward::FullNat);
    let Some(name) = &service.pool else {
        if let Some(At { span, .. }) = full_nat {
            let help = match span == methods.own.span {
                true => {
                    "add pool = \"...\", a [[pool]] of addresses that the dests see as their clients"
                }
                false => {
                    "add pool = \"...\" to the [[service]], a [[pool]] of addresses that such dests \
                     see as their clients"
                }
            };
            report.error(span, "fullnat needs a pool", help);
        }
        return None;
    };
    if !methods.has(Forward::FullNat) {
        let help = match methods.own.value {
            Forward::Dr => {
                "leave it out; for an internet gateway (source leased, destination kept) write a \
                 [[snat]] with a [[snat.dest]] for each router"
            }
            _ => "leave it out, or say forward = \"fullnat\"",
        };
        report.error(name.span, methods.lacks(Forward::FullNat, "uses no pool"), help);
        return None;
    }
    let by_pool = service.dests.iter().filter(|d| methods.of_dest(d) == Forward::FullNat);
    if is_automap(Some(name)) {
        check_automap(report, by_pool.filter_map(|dest| dest.address), around.ways);
        return None;
    }
    let index = around.pool_names.find(report, name)?;
    let pool = around.pools.models.get(index)?;
    let has = |ip: IpAddr| pool.ranges.iter().any(|range| same_family(range.first(), ip));
    let dests = by_pool.filter_map(|dest| Some(dest.address?.value.0));
    // Those to come are probably of the VIP's family.
    let none_yet = service.dests.is_empty().then_some(address.ip());
    if around.pools.whole[index]
        && let Some(ip) = dests.chain(none_yet).find(|ip| !has(*ip))
    {
        let help = format!("{ip} needs one: add it to the pool, or name another pool");
        let message = format!("pool {:?} has no {} address", name.value, family(ip));
        report.error(name.span, message, help);
    }
    Some(index)
}

/// The ports by which the dests are reached must have an address to leave with.
fn check_automap(
    report: &mut Report<'_>,
    dests: impl Iterator<Item = At<(IpAddr, Option<u16>)>>,
    ways: &Ways,
) {
    for At { value: (ip, _), span } in dests {
        let Some((port, _)) = ways.route(None, ip).filter(|_| ways.known) else { continue };
        let port = &ways.ports[port];
        if !ways.has_own(port, ip) {
            let family = family(ip);
            let message =
                format!("{ip} is reached by port {:?}, which has no {family} address", port.name);
            let help = "automap needs one: give that port one, or name a pool";
            report.error(span, message, help);
        }
    }
}

/// Where the dests hold the VIP too, it cannot be the address from which the director itself speaks
/// to them: to them it would come from themselves, and they would not answer its ARP.
fn check_own_vip(
    report: &mut Report<'_>,
    scope: Scope,
    address: At<SocketAddr>,
    methods: &Methods,
    ways: &Ways,
) {
    let range = addresses(address.value.ip(), scope);
    let Some(port) = range.and_then(|range| ways.owner_in(&range)) else { return };
    let holds = |method| matches!(method, Forward::Dr | Forward::Tunnel);
    if let Some(At { value: forward, .. }) = methods.used(holds) {
        let help = format!("{forward} needs a VIP of its own: the dests hold it too");
        let message = format!("VIP {} is port {:?}'s own address", address.value.ip(), port.name);
        report.error(address.span, message, help);
    }
}

fn check_dests(
    report: &mut Report<'_>,
    service: &RawService,
    address: SocketAddr,
    (methods, pool): (&Methods, Option<usize>),
    around: &Surroundings<'_>,
) -> Vec<Dest> {
    let mut seen: HashMap<SocketAddr, Span> = HashMap::new();
    let mut dests = Vec::new();
    // What is wrong with the service's is said once, not of each dest.
    let own = if methods.has(Forward::Tunnel) { Forward::Tunnel } else { methods.own.value };
    let tunnel_of_all = tunnels::check(report, service.tunnel, own);
    for raw in &service.dests {
        let RawDest { address: given, weight, upper, lower, tunnel, .. } = raw;
        let forward = methods.of_dest(raw);
        let tunnel = match (tunnel.places().next(), forward) {
            (None, Forward::Tunnel) => tunnel_of_all,
            (_, Forward::Tunnel) => tunnels::check(report, tunnel.over(service.tunnel), forward),
            _ => tunnels::check(report, *tunnel, forward),
        };
        let pool = pool.filter(|_| forward == Forward::FullNat);
        let Some(At { value: (ip, port), span }) = *given else { continue };
        let dest = SocketAddr::new(ip, port.unwrap_or(address.port()));
        if let Some(first) = seen.insert(dest, span) {
            let help = format!("line {} has it already; use weight", report.line(first));
            report.error(span, format!("duplicate dest {dest}"), help);
            continue;
        }
        if let Some(lower) = lower.filter(|lower| lower.value > *upper) {
            let (message, help) = match upper {
                0 => ("lower without upper".into(), "add upper, or leave it out".into()),
                _ => (
                    format!("lower {} is above upper", lower.value),
                    format!("expected at most {upper}"),
                ),
            };
            report.error(lower.span, message, help);
        }
        let lower = lower.map_or(0, |at| at.value);
        let (weight, upper) = (*weight, *upper);
        dests.push(Dest { address: dest, weight, forward, upper, lower, tunnel });
        let one_family = matches!(forward, Forward::Nat | Forward::Dr);
        if one_family && !same_family(ip, address.ip()) {
            let message =
                format!("dest {ip} is {}, its VIP is {}", family(ip), family(address.ip()));
            let help = "expected one of the VIP's family; \"fullnat\" and \"tunnel\" go from one to the other";
            report.error(span, message, help);
            continue;
        }
        // Where a service has every port, its dests have none (`virtuals`).
        let fixed = matches!(forward, Forward::Dr | Forward::Tunnel) && address.port() != 0;
        if fixed && dest.port() != address.port() {
            let help =
                format!("{forward} leaves the port as it is: expected {}, or none", address.port());
            report.error(span, format!("dest port {} is not the service's", dest.port()), help);
        }
        let carries = (tunnel, address.ip());
        check_place(report, At { value: ip, span }, (forward, pool), carries, around);
    }
    dests
}

/// A dest must be somebody else, and there must be a way to it.
fn check_place(
    report: &mut Report<'_>,
    dest: At<IpAddr>,
    (forward, pool): (Forward, Option<usize>),
    carries: (Tunnel, IpAddr),
    around: &Surroundings<'_>,
) {
    let At { value, span } = dest;
    let ways = around.ways;
    let host = "expected the address of a real server";
    if around.vips.find(value).is_some() {
        report.error(span, format!("dest {value} is a VIP"), host);
    } else if let Some(port) = ways.owner(value) {
        report.error(span, format!("dest {value} is port {:?}'s own address", port.name), host);
    } else if let Some(pool) = around.pools.holder(value) {
        let help = "the director would answer for it; take it out of the pool";
        report.error(span, format!("dest {value} is in pool {:?}", pool.name), help);
    } else if let Some(what) = ways.reserved(value) {
        report.error(span, format!("dest {value} is {what}"), host);
    } else if ways.known {
        match check_ways(report, dest, pool, around) {
            None => {
                let help =
                    format!("add a [[route]] or a gateway; connected: {}", ways.prefixes(value));
                report.error(span, format!("no route to dest {value}"), help);
            }
            Some((_, router)) if forward == Forward::Dr && router != value => {
                let connected = ways.prefixes(value);
                let help = format!(
                    "dr needs it on a port's link ({connected}); \"tunnel\" crosses routers"
                );
                report.error(span, format!("dest {value} is behind router {router}"), help);
            }
            Some((port, _)) if forward == Forward::Tunnel => {
                tunnels::check_port(report, dest, carries, &ways.ports[port]);
            }
            Some(_) => {}
        }
    }
}

/// The way to a dest, which is one for the whole pool: a dest has one next hop.
fn check_ways(
    report: &mut Report<'_>,
    dest: At<IpAddr>,
    pool: Option<usize>,
    around: &Surroundings<'_>,
) -> Option<(usize, IpAddr)> {
    let At { value, span } = dest;
    let pool = pool.and_then(|pool| around.pools.models.get(pool));
    let ranges = pool.map_or(&[][..], |pool| &pool.ranges);
    let sources = ranges.iter().filter(|range| same_family(range.first(), value));
    let sources: Vec<_> = sources.flat_map(|range| around.ways.sources(range)).collect();
    let way = around.ways.route(sources.first().copied(), value);
    let differs = |source: &&IpAddr| around.ways.route(Some(**source), value) != way;
    if let (Some(pool), Some(source)) = (pool, sources.iter().find(differs)) {
        let (name, first) = (&pool.name, sources[0]);
        let help = format!(
            "a dest has one next hop: take {source} or {first} out of the pool, or name both in the \
             route's from"
        );
        let message = format!("pool {name:?} has two ways to dest {value}");
        report.error(span, message, help);
    }
    way
}

fn check_weights(report: &mut Report<'_>, service: &RawService, name: &str, dests: &[Dest]) {
    if dests.is_empty() {
        let help = "its clients are refused until one is added";
        report.warning(service.span, format!("service {name:?} has no dest"), help);
    } else if dests.iter().all(|dest| dest.weight == 0) {
        let help = "it gets no new conns";
        report.warning(service.span, format!("every dest of service {name:?} has weight 0"), help);
    }
}
