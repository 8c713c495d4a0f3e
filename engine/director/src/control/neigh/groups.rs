//! The multicast groups we listen to, one per solicited-node address, and who is told of them.
//!
//! A bridge that snoops forwards a solicitation for a v6 VIP only where somebody reported the
//! VIP's group by MLD.

use super::links::Links;
use super::timers::Timers;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::wire::mld::MAX_RECORDS;
use pointsman_dataplane::wire::mld::Query;
use pointsman_dataplane::wire::mld::Record;
use pointsman_dataplane::wire::mld::Reporter;
use pointsman_dataplane::wire::mld::Version;
use pointsman_dataplane::wire::nd;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

/// Unsolicited reports of a change, RFC 3810's robustness variable.
const TIMES: u8 = 2;
/// From one to the next; RFC 3810's unsolicited report interval.
const GAP: Duration = Duration::from_secs(1);
/// How long an MLDv1 querier makes us speak MLDv1: RFC 3810 section 9.12 with its default values.
const OLD_QUERIER: Duration = Duration::from_secs(260);

/// What is to be sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Job {
    /// That we joined or left a group.
    Change(PortId, Addr),
    /// That we listen to a group.
    Current(PortId, Addr),
    /// That we listen to all our groups; becomes one `Current` each when due.
    General(PortId),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Groups {
    joined: BTreeSet<(PortId, Addr)>,
    /// How often a change is still to be reported.
    left: BTreeMap<(PortId, Addr), u8>,
    timers: Timers<Job>,
    old_querier: BTreeMap<PortId, Tick>,
    random: u64,
}

impl Groups {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            joined: BTreeSet::new(),
            left: BTreeMap::new(),
            timers: Timers::new(),
            old_querier: BTreeMap::new(),
            random: seed,
        }
    }

    pub(super) fn configure(&mut self, links: &Links, now: Tick) {
        let v6 = links.all_ours().filter(|(_, addr)| !addr.is_v4());
        let groups: BTreeSet<_> = v6.map(|(port, a)| (port, nd::solicited_node(a))).collect();
        let before = std::mem::replace(&mut self.joined, groups);
        let changed: Vec<_> = self.joined.symmetric_difference(&before).copied().collect();
        for key in changed {
            self.report_change(key, now);
        }
        self.old_querier.retain(|port, _| links.port(*port).is_some());
    }

    pub(super) fn link_up(&mut self, port: PortId, now: Tick) {
        let groups: Vec<_> = self.joined.iter().filter(|k| k.0 == port).copied().collect();
        for key in groups {
            self.report_change(key, now);
        }
    }

    pub(super) fn link_down(&mut self, port: PortId) {
        self.old_querier.remove(&port);
        self.left.retain(|key, _| key.0 != port);
        self.timers.retain(|job| job.port() != port);
    }

    /// Plans the answer to a query at a random time within what it allows (RFC 3810 section 6.2).
    pub(super) fn on_query(&mut self, port: PortId, query: &Query, now: Tick) {
        if query.version == Version::V1 {
            self.old_querier.insert(port, now + OLD_QUERIER);
        }
        let job = match query.group {
            None => Job::General(port),
            Some(group) if self.joined.contains(&(port, group)) => Job::Current(port, group),
            Some(_) => return,
        };
        let at = now + self.random_within(query.max_response);
        // Rule 1: an answer to everything is planned and comes sooner.
        let sooner = |planned: Option<Tick>| planned.is_some_and(|planned| planned <= at);
        if !sooner(self.timers.at(Job::General(port))) && !sooner(self.timers.at(job)) {
            self.timers.set(job, at);
        }
    }

    /// The group MACs the port must take in.
    pub(super) fn macs(&self, port: PortId) -> Vec<Mac> {
        let groups = self.joined.iter().filter(|k| k.0 == port).map(|k| k.1);
        let macs: BTreeSet<Mac> = groups.chain([nd::ALL_NODES]).map(nd::group_mac).collect();
        macs.into_iter().collect()
    }

    pub(super) fn tick(&mut self, links: &mut Links, now: Tick) {
        while links.budget > 0
            && let Some(job) = self.timers.pop(now)
        {
            if let Job::General(port) = job {
                for (_, group) in self.joined.iter().filter(|k| k.0 == port) {
                    self.timers.set(Job::Current(port, *group), now);
                }
            } else {
                self.report(job, links, now);
            }
        }
    }

    pub(super) fn next(&self) -> Option<Tick> {
        self.timers.next()
    }

    /// Sends a job, together with as many of its kind as are due and fit.
    fn report(&mut self, job: Job, links: &mut Links, now: Tick) {
        let port = job.port();
        let Some(own) = links.port(port) else { return };
        let src = links.link_local(port).unwrap_or(Addr::UNSPECIFIED);
        let reporter = Reporter { mac: own.mac, vlan: own.vlan, src };
        let old = self.old_querier.get(&port).is_some_and(|until| now < *until);
        let most = if old { 1 } else { MAX_RECORDS };
        let mut records = Vec::new();
        let mut next = Some(job);
        while let Some(job) = next {
            records.extend(self.record(job, now));
            next = None;
            if records.len() < most {
                next = self.timers.pop_if(now, |other| other.is_like(job));
            }
        }
        match records[..] {
            [] => {}
            [(Record::ToInclude, group)] if old => links.send(port, reporter.done_v1(group)),
            [(_, group)] if old => links.send(port, reporter.report_v1(group)),
            _ => links.send(port, reporter.report(&records)),
        }
    }

    /// The record of a job; plans the repetition of a change.
    fn record(&mut self, job: Job, now: Tick) -> Option<(Record, Addr)> {
        let (port, group) = match job {
            Job::General(_) => return None,
            Job::Current(port, group) => {
                let joined = self.joined.contains(&(port, group));
                return joined.then_some((Record::IsExclude, group));
            }
            Job::Change(port, group) => (port, group),
        };
        let left = self.left.get_mut(&(port, group))?;
        *left -= 1;
        if *left == 0 {
            self.left.remove(&(port, group));
        } else {
            self.timers.set(job, now + GAP);
        }
        let joined = self.joined.contains(&(port, group));
        Some((if joined { Record::ToExclude } else { Record::ToInclude }, group))
    }

    fn report_change(&mut self, key: (PortId, Addr), now: Tick) {
        self.left.insert(key, TIMES);
        self.timers.set(Job::Change(key.0, key.1), now);
    }

    /// splitmix64: spreads the answers of many listeners; nothing secret hangs on it.
    fn random_within(&mut self, most: Duration) -> Duration {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        Duration::from_nanos(z % (most.as_nanos() as u64 + 1))
    }
}

impl Job {
    const fn port(self) -> PortId {
        match self {
            Self::Change(port, _) | Self::Current(port, _) | Self::General(port) => port,
        }
    }

    /// Whether both go into one report.
    fn is_like(self, other: Self) -> bool {
        let kinds = std::mem::discriminant(&self) == std::mem::discriminant(&other);
        kinds && self.port() == other.port()
    }
}
