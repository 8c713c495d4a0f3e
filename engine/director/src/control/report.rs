//! Statistics and log lines of the control thread.

use super::Control;
use super::ids::ServiceKey;
use super::snapshot::key_of;
use super::status;
use super::status::mac;
use crate::io::Driver;
use crate::io::Multicast;
use crate::io::Nic;
use pointsman_dataplane::neigh::HopState;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::pipeline::Shared;
use pointsman_dataplane::service::Dest;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::Scope;
use pointsman_dataplane::service::ServiceId;
use pointsman_dataplane::service::Target;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::stats::Balance;
use pointsman_dataplane::stats::Counter;
use pointsman_dataplane::stats::ServiceStats;
use pointsman_dataplane::stats::WorkerStats;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::verdict::Consumed;
use pointsman_dataplane::verdict::DropReason;
use pointsman_dataplane::verdict::Made;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A dest's counters that only count up, summed over workers.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct DestTotals {
    conns: u64,
    in_packets: u64,
    in_bytes: u64,
    out_packets: u64,
    out_bytes: u64,
    passed_over: u64,
}

impl DestTotals {
    pub(super) fn of(shared: &Shared, id: DestId) -> Self {
        let id = id.0 as usize;
        Self {
            conns: shared.dests.sum(id, |s| &s.conns),
            in_packets: shared.dests.sum(id, |s| &s.in_packets),
            in_bytes: shared.dests.sum(id, |s| &s.in_bytes),
            out_packets: shared.dests.sum(id, |s| &s.out_packets),
            out_bytes: shared.dests.sum(id, |s| &s.out_bytes),
            passed_over: shared.dests.sum(id, |s| &s.passed_over),
        }
    }
}

/// A service, and what its counters of exhaustion stood at when the number became its own.
pub(super) type ServiceBase = (ServiceKey, [u64; 5]);

/// How busy a worker was between the last two samples.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Busy {
    busy_nanos: u64,
    nanos: u64,
    share: f64,
}

impl Busy {
    pub(super) fn sample(&mut self, stats: &WorkerStats) {
        let (busy_nanos, nanos) = (stats.busy_nanos.get(), stats.nanos.get());
        let passed = nanos.saturating_sub(self.nanos);
        if passed > 0 {
            self.share = busy_nanos.saturating_sub(self.busy_nanos) as f64 / passed as f64;
        }
        (self.busy_nanos, self.nanos) = (busy_nanos, nanos);
    }
}

/// The conservation law over workers' counters, each read at one moment. It holds where it holds
/// for every worker.
pub fn law(workers: &[WorkerStats]) -> status::Law {
    let mut sum = Balance::default();
    workers.iter().for_each(|w| sum += w.balance());
    let total = |of: &dyn Fn(&WorkerStats) -> &Counter| -> u64 {
        workers.iter().map(|w| of(w).get()).sum()
    };
    let names = |names: &[&'static str], of: &dyn Fn(&WorkerStats, usize) -> u64| {
        let one = |(i, n): (usize, &&str)| {
            ((*n).to_owned(), workers.iter().map(|w| of(w, i)).sum::<u64>())
        };
        names.iter().enumerate().map(one).collect::<BTreeMap<_, _>>()
    };
    let made: Vec<_> = Made::ALL.iter().map(|m| m.name()).collect();
    let consumed: Vec<_> = Consumed::ALL.iter().map(|c| c.name()).collect();
    let dropped: Vec<_> = DropReason::ALL.iter().map(|d| d.name()).collect();
    status::Law {
        holds: workers.iter().all(|w| w.balance().holds()),
        inputs: sum.inputs(),
        outputs: sum.outputs(),
        received: sum.received,
        made: names(&made, &|w, i| w.made[i].get()),
        taken_over: sum.taken_over,
        sent: sum.sent,
        handed_over: sum.handed_over,
        to_control: sum.to_control,
        consumed: names(&consumed, &|w, i| w.consumed[i].get()),
        held: total(&|w| &w.held),
        dropped: names(&dropped, &|w, i| w.dropped[i].get()),
    }
}

impl<D: Driver> Control<D> {
    /// All there is to know, now.
    pub fn status(&self, now: Tick) -> status::Status {
        let workers = self.published();
        let sum = |of: fn(&WorkerStats) -> &Counter| workers.iter().map(|w| of(w).get()).sum();
        let capacity = self.parts.conns_per_worker as u64 * workers.len() as u64;
        status::Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_seconds: seconds(now, self.began),
            config: self.config_status(now),
            ports: (0..self.ports.len()).map(|i| self.port_status(i)).collect(),
            workers: (0..workers.len()).map(|i| self.worker_status(i, &workers[i])).collect(),
            services: self.service_statuses(),
            snat: self.rule_statuses(),
            removed: self.removed_statuses(),
            conns: status::ConnsStatus {
                used: sum(|w| &w.conns),
                capacity,
                opened: sum(|w| &w.opened),
            },
            leases: sum(|w| &w.leases),
            locals: self.local_statuses(),
            neighbours: self.neighbours_status(),
            conflicts: self.conflict_statuses(now),
            answers_limited: sum(|w| &w.limited),
            routed: sum(|w| &w.routed),
            martian_replies: sum(|w| &w.martian_replies),
            defended: sum(|w| &w.defended),
            law: law(&workers),
            control: self.counts.clone(),
        }
    }

    fn config_status(&self, now: Tick) -> status::ConfigStatus {
        status::ConfigStatus {
            file: self.parts.file.display().to_string(),
            reloads: self.last_reload.asked,
            last_reload_ok: self.last_reload.ok,
            last_reload: self.last_reload.said.clone(),
            last_reload_seconds_ago: self.last_reload.at.map(|at| seconds(now, at)),
        }
    }

    fn port_status(&self, index: usize) -> status::PortStatus {
        let (state, info) = (&self.ports[index], &self.current.ports[index]);
        let counters = state.nic.counters();
        let link = state.link.unwrap_or_default();
        status::PortStatus {
            name: info.name.clone(),
            device: self.parts.config.ports[index].device.to_string(),
            driver: state.nic.driver(),
            mac: mac(info.mac),
            addresses: info.addrs.iter().map(|(a, p)| format!("{a}/{}", p.len())).collect(),
            link_up: link.up,
            speed_mbps: if link.speed_mbps == u32::MAX { 0 } else { link.speed_mbps },
            mtu: info.mtu,
            multicast: match (&state.refused, state.multicast) {
                (Some(_), _) => "refused",
                (None, how) => how.map_or("none", Multicast::name),
            }
            .into(),
            fixed_queue: info.fixed_queue,
            rx_packets: counters.rx_packets,
            rx_bytes: counters.rx_bytes,
            tx_packets: counters.tx_packets,
            tx_bytes: counters.tx_bytes,
            missed: counters.missed,
            rx_errors: counters.rx_errors,
            tx_errors: counters.tx_errors,
            no_frame: counters.no_frame,
            scattered: counters.scattered,
        }
    }

    fn worker_status(&self, index: usize, stats: &WorkerStats) -> status::WorkerStatus {
        let received = stats.received.get();
        let handed_over = stats.handed_over.get();
        status::WorkerStatus {
            core: self.parts.cores[index],
            received,
            sent: stats.sent.get(),
            busy: rounded(self.busy[index].share),
            handed_over_share: rounded(handed_over as f64 / received.max(1) as f64),
            handed_over,
            taken_over: stats.taken_over.get(),
            lone: stats.lone.get(),
            conns: stats.conns.get(),
            conns_capacity: self.parts.conns_per_worker as u64,
            turns: stats.turns.get(),
            busy_turns: stats.busy_turns.get(),
            law_holds: stats.balance().holds(),
        }
    }

    fn service_statuses(&self) -> Vec<status::ServiceStatus> {
        let services = self.current.services.iter().zip(&self.parts.config.services);
        let dest = |id: DestId, config: &pointsman_config::Service| {
            let tunnel = self.tunnel_status(self.current.dest(id), config);
            status::DestStatus { tunnel, ..self.dest_status(id) }
        };
        let one = |(service, config): (
            &pointsman_dataplane::service::Service,
            &pointsman_config::Service,
        )| {
            let (exhausted, denied) = self.refused_status(service.id);
            let key = key_of(service);
            let (protocol, address) = match service.scope {
                Scope::Mark(mark) if service.addr.is_v4() => ("mark".into(), mark.to_string()),
                Scope::Mark(mark) => ("mark".into(), format!("{mark} ipv6")),
                _ => (service.proto.to_string(), key.address()),
            };
            status::ServiceStatus {
                name: config.name.clone(),
                protocol,
                address,
                scheduler: service.sched.name().into(),
                forward: service.methods.to_string(),
                persistent: service.terms.persistence.map(|p| p.timeout),
                exhausted,
                denied,
                dests: service.dests.iter().map(|c| dest(c.id, config)).collect(),
            }
        };
        services.map(one).collect()
    }

    fn refused_status(&self, id: ServiceId) -> (status::ExhaustedStatus, status::DeniedStatus) {
        let now = refused(&self.parts.shared, id);
        let [no_lease, table_full, reply_clash, packets, conns] = match self.service_bases.get(&id)
        {
            Some((_, base)) => core::array::from_fn(|i| now[i].wrapping_sub(base[i])),
            None => now,
        };
        let exhausted = status::ExhaustedStatus { no_lease, table_full, reply_clash };
        (exhausted, status::DeniedStatus { packets, conns })
    }

    /// Notes what the counters of services' numbers stand at that serve another one now.
    pub(super) fn note_services(&mut self, next: &Snapshot) {
        for service in &next.services {
            let key = key_of(service);
            let is_it = |k: &ServiceKey| *k == key || key.is_resized(k) && key.reaches_beyond(k);
            let same = self.service_bases.get(&service.id).is_some_and(|(k, _)| is_it(k));
            if !same {
                let base = refused(&self.parts.shared, service.id);
                self.service_bases.insert(service.id, (key, base));
            }
        }
    }

    fn rule_statuses(&self) -> Vec<status::RuleStatus> {
        let rules = self.current.snats.iter().zip(&self.parts.config.snats);
        let one = |(rule, config): (&pointsman_dataplane::snat::Snat, &pointsman_config::Snat)| {
            status::RuleStatus {
                name: config.name.clone(),
                sources: config.sources.iter().map(ToString::to_string).collect(),
                scheduler: rule.service.sched.name().into(),
                dests: rule.service.dests.iter().map(|c| self.dest_status(c.id)).collect(),
            }
        };
        rules.map(one).collect()
    }

    fn removed_statuses(&self) -> Vec<status::RemovedStatus> {
        let dests = self.current.dests.iter().enumerate();
        let removed = dests.filter(|(_, d)| d.removed && !d.is_nobody());
        let one = |(id, _)| {
            let id = DestId(id as u32);
            let (service, _) = self.builder.dest_name(id)?;
            Some(status::RemovedStatus { service, dest: self.dest_status(id) })
        };
        removed.filter_map(one).collect()
    }

    fn tunnel_status(
        &self,
        dest: &Dest,
        config: &pointsman_config::Service,
    ) -> Option<status::TunnelStatus> {
        let address = SocketAddr::new(dest.addr.into(), dest.port);
        let is_tunnel = dest.forward == Forward::Tunnel;
        let known = config.dests.iter().filter(|_| is_tunnel).find(|d| d.address == address)?;
        Some(status::TunnelStatus {
            kind: known.tunnel.to_string(),
            source: dest.tunnel.source.to_string(),
            mtu: dest.mtu,
        })
    }

    fn dest_status(&self, id: DestId) -> status::DestStatus {
        let dest = self.current.dest(id);
        let (now, base) = (DestTotals::of(&self.parts.shared, id), self.bases[id.0 as usize]);
        let dests = &self.parts.shared.dests;
        let way = |dest: &Dest| {
            let (_, hop) = self.parts.shared.neighbours.get(dest.hop);
            (self.current.port(dest.out).name.clone(), hop_words(hop))
        };
        let (address, (port, (hop, mac))) = match dest.traits.target {
            Target::Dest => (SocketAddr::new(dest.addr.into(), dest.port).to_string(), way(dest)),
            Target::ByDest => (dest.addr.to_string(), way(dest)),
            Target::ByRoute => ("by route".into(), ("any".into(), ("by route".into(), None))),
        };
        status::DestStatus {
            address,
            weight: dest.weight,
            forward: dest.forward.name().into(),
            port,
            hop,
            mac,
            active: dests.sum(id.0 as usize, |s| &s.active),
            inactive: dests.sum(id.0 as usize, |s| &s.inactive),
            full: dests.is_full(id.0 as usize),
            persistent: dests.sum(id.0 as usize, |s| &s.persistent),
            conns: now.conns.wrapping_sub(base.conns),
            in_packets: now.in_packets.wrapping_sub(base.in_packets),
            in_bytes: now.in_bytes.wrapping_sub(base.in_bytes),
            out_packets: now.out_packets.wrapping_sub(base.out_packets),
            out_bytes: now.out_bytes.wrapping_sub(base.out_bytes),
            passed_over: now.passed_over.wrapping_sub(base.passed_over),
            tunnel: None,
        }
    }

    fn neighbours_status(&self) -> status::NeighboursStatus {
        let one = |(_, port, addr, state): (_, PortId, Addr, HopState)| {
            let (state, mac) = hop_words(state);
            let port = port_name(&self.current, port);
            status::NeighbourStatus { port, address: addr.to_string(), state, mac }
        };
        status::NeighboursStatus {
            capacity: u64::from(self.parts.config.director.neighbours),
            entries: self.parts.shared.neighbours.iter().map(one).collect(),
        }
    }

    fn conflict_statuses(&self, now: Tick) -> Vec<status::ConflictStatus> {
        let one = |c: super::neigh::Conflict| status::ConflictStatus {
            vip: c.vip.to_string(),
            mac: mac(c.mac),
            port: port_name(&self.current, c.port),
            since_seconds: seconds(now, c.since),
            last_seen_seconds: seconds(now, c.last_seen),
        };
        self.resolver.conflicts().into_iter().map(one).collect()
    }
}

/// What ran out for a service, ports, room and tuples; and what was denied, packets and conns.
fn refused(shared: &Shared, id: ServiceId) -> [u64; 5] {
    let counters: [fn(&ServiceStats) -> &Counter; 5] = [
        |s| &s.no_lease,
        |s| &s.table_full,
        |s| &s.reply_clash,
        |s| &s.denied,
        |s| &s.denied_conns,
    ];
    counters.map(|counter| shared.services.sum(id.0 as usize, counter))
}

/// A port's name, for people.
pub(super) fn port_name(snapshot: &Snapshot, port: PortId) -> String {
    snapshot.ports.get(port.0 as usize).map_or_else(|| port.0.to_string(), |p| p.name.clone())
}

fn hop_words(state: HopState) -> (String, Option<String>) {
    match state {
        HopState::Reachable(m) => ("reachable".into(), Some(mac(m))),
        HopState::Incomplete => ("incomplete".into(), None),
        HopState::Dead => ("dead".into(), None),
        HopState::Gone => ("gone".into(), None),
    }
}

fn seconds(now: Tick, then: Tick) -> f64 {
    (now.since(then).as_secs_f64() * 1000.0).round() / 1000.0
}

fn rounded(share: f64) -> f64 {
    (share.clamp(0.0, 1.0) * 10_000.0).round() / 10_000.0
}
