//! SNAT rules in the snapshot: each a service that takes every destination (see the data plane's
//! `snat`).

use super::convert;
use super::ids::ServiceKey;
use super::snapshot::BuildError;
use super::snapshot::Builder;
use super::snapshot::Inputs;
use super::snapshot::build_dest;
use super::snapshot::kernel_order;
use super::snapshot::nobody;
use super::snapshot::remember_weights;
use pointsman_config::LeaveWith;
use pointsman_config::SnatProtocol;
use pointsman_dataplane::matching::Matching;
use pointsman_dataplane::matching::Protocols;
use pointsman_dataplane::sched::Flags;
use pointsman_dataplane::service::Dest;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::Methods;
use pointsman_dataplane::service::Scope;
use pointsman_dataplane::service::Service;
use pointsman_dataplane::service::Target;
use pointsman_dataplane::service::Terms;
use pointsman_dataplane::service::Traits;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::snat::Snat;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Prefix;
use pointsman_dataplane::tuple::Proto;

/// Seconds a UDP conn lives without a packet (RFC 4787 section 4.3: at least two minutes), and an
/// echo.
const UDP_TIMEOUT: u32 = 120;

/// Where a hash leads to a router that takes no conns, another one is taken.
const FLAGS: Flags = Flags { port: false, fallback: true };
/// Buckets of `mh`, as many as the kernel's.
const MAGLEV: u32 = 4093;

impl Builder {
    /// A rule. `pools` counts those of the snapshot that are given out.
    #[expect(clippy::too_many_arguments, reason = "what `build` works on")]
    pub(super) fn rule(
        &mut self,
        snat: &pointsman_config::Snat,
        pools: &mut usize,
        previous: &Snapshot,
        inputs: &mut Inputs<'_>,
        next: &Snapshot,
        plan: &mut Vec<Option<Dest>>,
        fresh: &mut Vec<DestId>,
    ) -> Result<Snat, BuildError> {
        let key = ServiceKey::of_rule(self.rule_number(&snat.name));
        let id = self.services.service(key, inputs.settled);
        let id = id.ok_or_else(|| BuildError::Services(self.services.len()))?;
        let mut listed = Vec::with_capacity(snat.dests.len().max(1));
        for built in dests(snat, inputs, next)? {
            listed.push(self.plan_dest((key, false, false), built, inputs, plan, fresh)?);
        }
        let before = previous.snats.iter().map(|rule| &rule.service).find(|s| s.id == id);
        let mut dests = kernel_order(listed, before);
        remember_weights(&mut dests, before);
        let endpoint =
            |id: DestId| self.dests.key(id.0).map_or_else(Default::default, |k| (k.addr, k.port));
        let sched = convert::sched_with(snat.scheduler, FLAGS, MAGLEV, &dests, endpoint);
        let same = before.filter(|s| s.sched == sched && s.dests == dests);
        let version = same.map_or_else(|| self.new_version(), |s| s.version);
        let pool = match snat.leave_with {
            LeaveWith::Pool(pool) => Some(pool),
            LeaveWith::Automap => None,
            LeaveWith::Addresses(_) => {
                *pools += 1;
                Some(*pools - 1)
            }
        };
        let prefixes = |all: &[pointsman_config::Prefix]| {
            all.iter().map(|p| Prefix::new(p.address().into(), p.length())).collect()
        };
        let has = |protocol| snat.protocols.contains(&protocol);
        Ok(Snat {
            matching: Matching {
                sources: prefixes(&snat.sources),
                destinations: prefixes(&snat.destinations),
                ports: snat.ports.iter().map(|(first, last)| *first..=*last).collect(),
                protocols: Protocols {
                    tcp: has(SnatProtocol::Tcp),
                    udp: has(SnatProtocol::Udp),
                    sctp: has(SnatProtocol::Sctp),
                    icmp: has(SnatProtocol::Icmp),
                },
            },
            service: Service {
                id,
                proto: Proto::Tcp,
                addr: Addr::UNSPECIFIED,
                port: 0,
                scope: Scope::Rule,
                forward: Forward::FullNat,
                methods: Methods::default(),
                pool,
                proxy_in: Vec::new(),
                terms: Terms::default(),
                sched,
                dests,
                version,
            },
        })
    }

    /// A rule's number, by which it is known over reloads.
    fn rule_number(&mut self, name: &str) -> usize {
        self.rules.iter().position(|known| known == name).unwrap_or_else(|| {
            self.rules.push(name.to_owned());
            self.rules.len() - 1
        })
    }
}

/// The routers, or what stands for whatever route a destination has.
fn dests(
    snat: &pointsman_config::Snat,
    inputs: &mut Inputs<'_>,
    next: &Snapshot,
) -> Result<Vec<Dest>, BuildError> {
    let target = if snat.dests.is_empty() { Target::ByRoute } else { Target::ByDest };
    let traits = traits(snat, target, next);
    if snat.dests.is_empty() {
        let forward = Forward::FullNat;
        return Ok(vec![Dest { weight: 1, forward, traits, removed: false, ..nobody() }]);
    }
    let one = |dest: &pointsman_config::Dest| {
        let weight = u32::from(dest.weight);
        // Routers are on a link, where a source makes no difference.
        let source = Addr::UNSPECIFIED;
        let built = build_dest(next, inputs, Forward::FullNat, source, dest.address, weight)?;
        Ok(Dest { traits, ..built })
    };
    snat.dests.iter().map(one).collect()
}

fn traits(snat: &pointsman_config::Snat, target: Target, next: &Snapshot) -> Traits {
    let v6 = snat.sources.iter().any(|p| p.address().is_ipv6());
    let headers = if v6 { 60 } else { 40 };
    let smallest = next.ports.iter().map(|p| p.mtu).min().unwrap_or(u16::MAX);
    Traits {
        mss: snat.mss.unwrap_or(smallest.saturating_sub(headers)),
        udp_timeout: snat.udp_timeout.unwrap_or(UDP_TIMEOUT) * 1000,
        retries: snat.retries,
        exhausted: convert::exhausted(snat.exhausted),
        target,
        ..Traits::default()
    }
}
