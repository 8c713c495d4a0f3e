//! From the configuration's words to the data plane's.

use super::ids::ServiceKey;
use super::snapshot::PortFacts;
use hashbrown::HashMap;
use pointsman_config::Config;
use pointsman_config::LeaveWith;
use pointsman_config::Protocol;
use pointsman_config::Scheduler;
use pointsman_config::SchedulerFlag;
use pointsman_config::TunnelChecksum;
use pointsman_dataplane::conn::State;
use pointsman_dataplane::conn::Timeouts;
use pointsman_dataplane::matching::Mark;
use pointsman_dataplane::matching::Matching;
use pointsman_dataplane::matching::Protocols;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::sched::Flags;
use pointsman_dataplane::sched::Hashed;
use pointsman_dataplane::sched::MaglevEntry;
use pointsman_dataplane::sched::Sched;
use pointsman_dataplane::service::Candidate;
use pointsman_dataplane::service::ClientAddress;
use pointsman_dataplane::service::Closed;
use pointsman_dataplane::service::Dest;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Encap;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::OnDead;
use pointsman_dataplane::service::OnIdle;
use pointsman_dataplane::service::Persistence;
use pointsman_dataplane::service::Scope;
use pointsman_dataplane::service::Target;
use pointsman_dataplane::service::Terms;
use pointsman_dataplane::service::Traits;
use pointsman_dataplane::snapshot::Defend;
use pointsman_dataplane::snapshot::Ipvs;
use pointsman_dataplane::snapshot::Local;
use pointsman_dataplane::snapshot::LocalPool;
use pointsman_dataplane::snapshot::PortInfo;
use pointsman_dataplane::snapshot::Route;
use pointsman_dataplane::snapshot::Routes;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Prefix;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::wire::proxy;
use pointsman_dataplane::xmit::tunnel;
use std::net::IpAddr;

/// `fe80::/64` and the port's interface identifier (RFC 4291 section 2.5.6 and appendix A).
pub fn link_local(mac: Mac) -> Addr {
    let [a, b, c, d, e, f] = mac;
    let id = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Addr::v6(0xfe80 << 112 | u128::from(id))
}

pub(crate) fn timeouts(seconds: &pointsman_config::Timeouts) -> Timeouts {
    let mut timeouts = Timeouts::default();
    let states = [
        (State::None, seconds.tcp_none),
        (State::Established, seconds.tcp_established),
        (State::SynSent, seconds.tcp_syn_sent),
        (State::SynRecv, seconds.tcp_syn_recv),
        (State::FinWait, seconds.tcp_fin_wait),
        (State::TimeWait, seconds.tcp_time_wait),
        (State::Close, seconds.tcp_close),
        (State::CloseWait, seconds.tcp_close_wait),
        (State::LastAck, seconds.tcp_last_ack),
        (State::Listen, seconds.tcp_listen),
        (State::SynAck, seconds.tcp_synack),
        (State::Udp, seconds.udp),
        (State::SctpInit1, seconds.sctp_init1),
        (State::SctpInit, seconds.sctp_init),
        (State::SctpCookieSent, seconds.sctp_cookie_sent),
        (State::SctpCookieReplied, seconds.sctp_cookie_replied),
        (State::SctpCookieWait, seconds.sctp_cookie_wait),
        (State::SctpCookie, seconds.sctp_cookie),
        (State::SctpCookieEchoed, seconds.sctp_cookie_echoed),
        (State::SctpEstablished, seconds.sctp_established),
        (State::SctpShutdownSent, seconds.sctp_shutdown_sent),
        (State::SctpShutdownReceived, seconds.sctp_shutdown_received),
        (State::SctpShutdownAckSent, seconds.sctp_shutdown_ack_sent),
        (State::SctpRejected, seconds.sctp_rejected),
        (State::SctpClosed, seconds.sctp_closed),
    ];
    for (state, seconds) in states {
        timeouts.set(state, seconds.saturating_mul(1000));
    }
    timeouts
}

/// A service's scheduler over its dests; `endpoint` tells a dest's address and port.
pub(crate) fn sched(
    service: &pointsman_config::Service,
    dests: &[Candidate],
    endpoint: impl Fn(DestId) -> (Addr, u16),
) -> Sched {
    let has = |flags: [SchedulerFlag; 2]| flags.iter().any(|f| service.scheduler_flags.contains(f));
    let flags = Flags {
        port: has([SchedulerFlag::ShPort, SchedulerFlag::MhPort]),
        fallback: has([SchedulerFlag::ShFallback, SchedulerFlag::MhFallback]),
    };
    sched_with(service.scheduler, flags, service.maglev_size, dests, endpoint)
}

/// Any scheduler, with what some have besides.
pub(crate) fn sched_with(
    scheduler: Scheduler,
    flags: Flags,
    maglev_size: u32,
    dests: &[Candidate],
    endpoint: impl Fn(DestId) -> (Addr, u16),
) -> Sched {
    let maglev = |c: &Candidate| {
        let (addr, port) = endpoint(c.id);
        MaglevEntry { addr, port, last_weight: c.last_weight }
    };
    match scheduler {
        Scheduler::Rr => Sched::Rr,
        Scheduler::Wrr => Sched::Wrr,
        Scheduler::Lc => Sched::Lc,
        Scheduler::Wlc => Sched::Wlc,
        Scheduler::Lblc => Sched::Lblc,
        Scheduler::Lblcr => Sched::Lblcr,
        Scheduler::Sed => Sched::Sed,
        Scheduler::Nq => Sched::Nq,
        Scheduler::Fo => Sched::Fo,
        Scheduler::Ovf => Sched::Ovf,
        Scheduler::Twos => Sched::Twos,
        Scheduler::Nobody => Sched::Nobody,
        Scheduler::Sh => Sched::Hashed(Hashed::source(dests, flags)),
        Scheduler::Dh => Sched::Hashed(Hashed::destination(dests)),
        Scheduler::Mh => {
            let entries: Vec<_> = dests.iter().map(maglev).collect();
            Sched::Hashed(Hashed::maglev(&entries, maglev_size, flags))
        }
    }
}

pub(crate) fn proto(protocol: Protocol) -> Proto {
    match protocol {
        Protocol::Tcp => Proto::Tcp,
        Protocol::Udp => Proto::Udp,
        Protocol::Sctp => Proto::Sctp,
    }
}

pub(super) fn key(service: &pointsman_config::Service) -> ServiceKey {
    let scope = match service.scope {
        pointsman_config::Scope::Address => Scope::Address,
        pointsman_config::Scope::Range(last) => Scope::Range(last.into()),
        pointsman_config::Scope::Mark(mark) => Scope::Mark(mark),
    };
    let (addr, port) = (service.address.ip().into(), service.address.port());
    ServiceKey { proto: proto(service.protocol), addr, port, scope }
}

pub(super) fn terms(service: &pointsman_config::Service) -> Terms {
    let persistence = service.persistence.map(|persistence| {
        let pointsman_config::Persistence { timeout, prefix } = persistence;
        Persistence { timeout, prefix }
    });
    let resets = service.no_dest == pointsman_config::NoDest::Reset;
    let ftp = service.helper == Some(pointsman_config::Helper::Ftp);
    Terms { persistence, one_packet: service.one_packet, resets, ftp }
}

pub(super) fn ipvs(config: &Config) -> Ipvs {
    let pointsman_config::Ipvs {
        expire_quiescent_template,
        expire_nodest_conn,
        sloppy_tcp,
        sloppy_sctp,
        conn_reuse_mode,
        schedule_icmp,
        nat_icmp_send,
        drop_packet,
        drop_entry,
        secure_tcp,
        am_droprate,
    } = config.ipvs;
    Ipvs {
        expire_quiescent_template,
        expire_nodest_conn,
        sloppy_tcp,
        sloppy_sctp,
        conn_reuse_mode,
        schedule_icmp,
        nat_icmp_send,
        drop_packet: defend(drop_packet),
        drop_entry: defend(drop_entry),
        secure_tcp: defend(secure_tcp),
        am_droprate,
    }
}

fn defend(when: pointsman_config::Defend) -> Defend {
    match when {
        pointsman_config::Defend::Off => Defend::Off,
        pointsman_config::Defend::Short => Defend::Short,
        pointsman_config::Defend::Always => Defend::Always,
    }
}

/// Rules that mark packets.
pub(super) fn marks(config: &Config) -> Vec<Mark> {
    let prefixes = |all: &[pointsman_config::Prefix]| {
        all.iter().map(|p| Prefix::new(p.address().into(), p.length())).collect()
    };
    let one = |rule: &pointsman_config::Match| {
        let has = |protocol| rule.protocols.contains(&protocol);
        let [tcp, udp, sctp] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].map(has);
        let matching = Matching {
            sources: prefixes(&rule.sources),
            destinations: prefixes(&rule.destinations),
            ports: rule.ports.iter().map(|(first, last)| *first..=*last).collect(),
            protocols: Protocols { tcp, udp, sctp, icmp: false },
        };
        Mark { matching, mark: rule.mark }
    };
    config.matches.iter().map(one).collect()
}

pub(crate) fn forward(forward: pointsman_config::Forward) -> Forward {
    match forward {
        pointsman_config::Forward::Nat => Forward::Nat,
        pointsman_config::Forward::FullNat => Forward::FullNat,
        pointsman_config::Forward::Dr => Forward::Dr,
        pointsman_config::Forward::Tunnel => Forward::Tunnel,
    }
}

fn client_address(way: pointsman_config::ClientAddress) -> ClientAddress {
    match way {
        pointsman_config::ClientAddress::Off => ClientAddress::Off,
        pointsman_config::ClientAddress::ProxyV1 => ClientAddress::ProxyV1,
        pointsman_config::ClientAddress::ProxyV2 => ClientAddress::ProxyV2,
        pointsman_config::ClientAddress::Toa => ClientAddress::Toa,
    }
}

/// What each packet toward a dest grows by, which so much less may come in.
pub(super) fn overhead(dest: &Dest, service: &ServiceKey) -> u16 {
    match (dest.forward, dest.traits.client_address, service.proto) {
        (Forward::Tunnel, ..) => tunnel::overhead(dest.addr.family(), dest.traits.encap) as u16,
        (Forward::FullNat, ClientAddress::ProxyV2, Proto::Udp) => {
            proxy::datagram_len(service.addr.family())
        }
        _ => 0,
    }
}

/// What a tunnel's packets are to a dest.
pub(super) fn encap(dest: &pointsman_config::Dest) -> Encap {
    use pointsman_config::Tunnel;
    match dest.tunnel {
        Tunnel::Ipip => Encap::Ip,
        // Remote checksums are for packets whose own is yet to be made; whatever comes off a wire has one, and
        // the kernel gives it UDP's (`ip_vs_tunnel_xmit`).
        Tunnel::Gue { port, checksum } => {
            Encap::Gue { port, checksum: checksum != TunnelChecksum::Nocsum }
        }
        Tunnel::Gre { checksum } => Encap::Gre { checksum },
    }
}

pub(crate) fn proxy_in(service: &pointsman_config::Service) -> Vec<Prefix> {
    let prefix = |p: &pointsman_config::Prefix| Prefix::new(p.address().into(), p.length());
    service.proxy_in.iter().map(prefix).collect()
}

pub(crate) fn mask(ports: usize) -> u64 {
    if ports >= u64::BITS as usize { u64::MAX } else { (1 << ports) - 1 }
}

pub(crate) fn ports(config: &Config, facts: &[PortFacts]) -> Vec<PortInfo> {
    let wants_v6 = speaks_v6(config);
    let info = |(port, facts): (&pointsman_config::Port, &PortFacts)| {
        let own = |p: &pointsman_config::Prefix| {
            let addr = p.address().into();
            (addr, Prefix::new(addr, p.length()))
        };
        let mut addrs: Vec<_> = port.addresses.iter().map(own).collect();
        if wants_v6 {
            let addr = link_local(facts.mac);
            addrs.push((addr, Prefix::new(addr, 64)));
        }
        PortInfo {
            name: port.name.clone(),
            mac: facts.mac,
            mtu: port.mtu,
            vlan: port.vlan,
            addrs,
            fixed_queue: facts.fixed_queue,
        }
    };
    config.ports.iter().zip(facts).map(info).collect()
}

fn speaks_v6(config: &Config) -> bool {
    let ports = config.ports.iter().flat_map(|p| &p.addresses).any(|a| a.address().is_ipv6());
    let hops = config.ports.iter().flat_map(|p| &p.gateways).any(IpAddr::is_ipv6);
    ports || hops || config.vips.iter().any(|v| v.address.is_ipv6())
}

pub(crate) fn routes(config: &Config) -> Routes {
    let prefix = |p: &pointsman_config::Prefix| Prefix::new(p.address().into(), p.length());
    let ports = || config.ports.iter().enumerate().map(|(i, p)| (PortId(i as u8), p));
    let mut all = Vec::new();
    // Of equal prefixes the first wins: what is on the link is not asked of a router.
    for (port, p) in ports() {
        let connected = |a| Route { prefix: prefix(a), from: None, port, via: None };
        all.extend(p.addresses.iter().map(connected));
    }
    for r in &config.routes {
        let port = PortId(r.port as u8);
        let from = r.from.as_ref().map(prefix);
        all.push(Route { prefix: prefix(&r.to), from, port, via: Some(r.via.into()) });
    }
    for (port, p) in ports() {
        for gateway in &p.gateways {
            let via: Addr = (*gateway).into();
            let any = if via.is_v4() { Addr::v4(0) } else { Addr::v6(0) };
            all.push(Route { prefix: Prefix::new(any, 0), from: None, port, via: Some(via) });
        }
    }
    Routes::new(all)
}

/// The pools of the configuration, then those of rules that name addresses, in their order.
pub(crate) fn pools(config: &Config) -> Vec<LocalPool> {
    let named = config.snats.iter().filter_map(|snat| match &snat.leave_with {
        LeaveWith::Addresses(addrs) => Some(local_pool(addrs.iter().copied())),
        _ => None,
    });
    config.pools.iter().map(|pool| local_pool(pool.addresses())).chain(named).collect()
}

fn local_pool(addrs: impl Iterator<Item = IpAddr>) -> LocalPool {
    let (v4, v6) = addrs.map(Addr::from).partition(|a| a.is_v4());
    LocalPool { v4, v6 }
}

pub(crate) fn locals(config: &Config, next: &Snapshot) -> HashMap<Addr, Local> {
    let mut locals = HashMap::<Addr, Local>::new();
    for vip in &config.vips {
        let local = locals.entry(vip.address.into()).or_default();
        local.vip = true;
        local.closed = match vip.closed {
            pointsman_config::Closed::Reject => Closed::Reject,
            pointsman_config::Closed::Drop => Closed::Drop,
        };
        local.ports |= vip.ports.iter().fold(0, |ports, p| ports | 1 << p);
    }
    let automap = config.services.iter().any(|s| s.automap)
        || config.snats.iter().any(|s| s.leave_with == LeaveWith::Automap);
    for (index, port) in next.ports.iter().enumerate() {
        for (addr, _) in &port.addrs {
            let local = locals.entry(*addr).or_default();
            local.own = true;
            local.pool |= automap;
            local.ports |= 1 << index;
        }
    }
    for addr in next.pools.iter().flat_map(|p| p.v4.iter().chain(&p.v6)) {
        let covers = |p: &PortInfo| p.addrs.iter().any(|(_, prefix)| prefix.contains(*addr));
        let on = |(i, p): (usize, &PortInfo)| if covers(p) { 1 << i } else { 0 };
        let covered: u64 = next.ports.iter().enumerate().map(on).sum();
        let local = locals.entry(*addr).or_default();
        local.pool = true;
        local.ports |= if covered == 0 { mask(next.ports.len()) } else { covered };
    }
    locals
}

pub(super) fn on_dead(on_dead: pointsman_config::OnDead) -> OnDead {
    match on_dead {
        pointsman_config::OnDead::Keep => OnDead::Keep,
        pointsman_config::OnDead::Reset => OnDead::Reset,
        pointsman_config::OnDead::Drop => OnDead::Drop,
        pointsman_config::OnDead::Reselect => OnDead::Reselect,
    }
}

pub(super) fn on_idle(on_idle: pointsman_config::OnIdle) -> OnIdle {
    match on_idle {
        pointsman_config::OnIdle::Forget => OnIdle::Forget,
        pointsman_config::OnIdle::Reset => OnIdle::Reset,
    }
}

pub(super) fn exhausted(exhausted: pointsman_config::Exhausted) -> Closed {
    match exhausted {
        pointsman_config::Exhausted::Drop => Closed::Drop,
        pointsman_config::Exhausted::Reject => Closed::Reject,
    }
}

/// What a service says of its conns. Without `mss` SYNs are clamped to what the smallest port
/// carries; UDP conns under full-NAT hold a port and so live shorter than elsewhere (RFC 4787
/// section 4.3), unless it is to a well-known one. `dest` is complete but for these.
pub(super) fn traits(service: &pointsman_config::Service, dest: &Dest, next: &Snapshot) -> Traits {
    // Between families the larger header counts, whichever side it is on.
    let v4 = service.address.is_ipv4() && dest.addr.is_v4();
    let headers = if v4 { 40 } else { 60 };
    let smallest = next.ports.iter().map(|p| p.mtu).min().unwrap_or(u16::MAX);
    let udp = match dest.forward {
        Forward::FullNat if (1..1024).contains(&dest.port) => 30,
        Forward::FullNat => 120,
        _ => 0,
    };
    let by_default = match udp {
        // Only fragments find such a conn, and no datagram after theirs is to.
        _ if service.one_packet => 2000,
        0 => next.timeouts.of(State::Udp),
        secs => secs * 1000,
    };
    Traits {
        mss: service.mss.unwrap_or(smallest.saturating_sub(headers)),
        udp_timeout: service.udp_timeout.map_or(by_default, |secs| secs * 1000),
        replies: service.replies,
        retries: service.retries,
        rewrite: service.rewrite,
        last_hop: service.last_hop,
        shows_routers: service.icmp_source == pointsman_config::IcmpSource::Router,
        on_dead: on_dead(service.on_dead),
        on_idle: on_idle(service.on_idle),
        exhausted: exhausted(service.exhausted),
        cuts_outer: service.oversize == pointsman_config::Oversize::Fragment,
        denied: match service.denied {
            pointsman_config::Denied::Drop => Closed::Drop,
            pointsman_config::Denied::Reject => Closed::Reject,
        },
        target: Target::Dest,
        // Others see the client itself.
        client_address: match dest.forward {
            Forward::FullNat => client_address(service.client_address),
            _ => ClientAddress::Off,
        },
        tcp_timeouts: (
            service.tcp_timeout.map_or(0, |secs| secs * 1000),
            service.tcp_fin_timeout.map_or(0, |secs| secs * 1000),
        ),
        sctp_timeout: service.sctp_timeout.map_or(0, |secs| secs * 1000),
        ..Traits::default()
    }
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn a_mask_names_each_port_and_no_other() {
        let masks = [0, 1, 32, 63, 64].map(mask);
        assert_eq!(masks, [0, 1, u32::MAX.into(), u64::MAX >> 1, u64::MAX]);
    }
}
