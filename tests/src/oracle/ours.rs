//! The judged: the data plane in memory, configured by what the rules of a case come to.

use super::Director;
use super::case::Mark;
use super::ipvsadm::Rules;
use super::net;
use super::net::Side;
use crate::rig::Options;
use crate::rig::Rig;
use pointsman::control::paths::Paths;
use pointsman::control::snapshot::Builder;
use pointsman::control::snapshot::Inputs;
use pointsman::control::snapshot::PortFacts;
use pointsman_dataplane::conn::Conn;
use pointsman_dataplane::conn::Ends;
use pointsman_dataplane::neigh::HopState;
use pointsman_dataplane::neigh::Neighbours;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Scope;
use pointsman_dataplane::service::Service;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::stats::Counter;
use pointsman_dataplane::stats::DestStats;
use pointsman_dataplane::templates::Template;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Proto;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

/// Dests that a case may have in all.
const DESTS: usize = 128;
/// What `ipvsadm --stats` counts of a dest.
const COUNTERS: [fn(&DestStats) -> &Counter; 5] =
    [|s| &s.conns, |s| &s.in_packets, |s| &s.out_packets, |s| &s.in_bytes, |s| &s.out_bytes];

/// What a dest lives on for when it is removed.
const COUNTED: [fn(&DestStats) -> &Counter; 3] =
    [|s| &s.active, |s| &s.inactive, |s| &s.persistent];

/// One worker with the rules of a case.
pub struct Ours {
    rules: Rules,
    sysctls: Vec<(String, String)>,
    mtu: [u16; 2],
    builder: Builder,
    paths: Paths,
    rig: Option<Rig>,
    /// What counters read when their number began to serve the dest it serves.
    bases: Vec<[u64; 5]>,
}

impl Default for Ours {
    fn default() -> Self {
        Self::new()
    }
}

impl Ours {
    /// Without a rule. What is told before the first frame is what it starts with, in one piece; what
    /// comes later are changes, one after another.
    pub fn new() -> Self {
        Self {
            rules: Rules::default(),
            sysctls: Vec::new(),
            mtu: [1500; 2],
            builder: Builder::new(DESTS),
            paths: Paths::default(),
            rig: None,
            bases: vec![[0; 5]; DESTS],
        }
    }

    fn rig(&mut self) -> Result<&mut Rig, String> {
        if self.rig.is_none() {
            let config = self.config()?;
            let mut failed = None;
            let options = Options { conns: 8192, ..Options::default() };
            let rig = Rig::build(options, |snapshot, neighbours| {
                for (side, addr, mac) in net::neighbours() {
                    crate::net::reachable(neighbours, side.port(), addr, mac);
                }
                let built =
                    build(&mut self.builder, &config, &Snapshot::default(), neighbours, &|_| false);
                match built {
                    Ok((built, _)) => *snapshot = built,
                    Err(why) => failed = Some(why),
                }
            });
            if let Some(why) = failed {
                return Err(why);
            }
            self.rig = Some(rig);
        }
        self.rig.as_mut().ok_or_else(|| "no rig".into())
    }

    fn config(&self) -> Result<pointsman_config::Config, String> {
        let text = self.rules.config(self.mtu, &self.sysctls)?;
        let parsed = pointsman_config::parse("case", &text);
        parsed.map(|(config, _)| config).map_err(|e| e.to_string())
    }

    /// Serves what the rules come to now, where it serves already.
    fn reload(&mut self) -> Result<(), String> {
        let Some(rig) = self.rig.as_mut() else { return Ok(()) };
        let text = self.rules.config(self.mtu, &self.sysctls)?;
        let (config, _) = pointsman_config::parse("case", &text).map_err(|e| e.to_string())?;
        let has_conns = |id: DestId| COUNTED.iter().any(|counter| rig.dest(id, *counter) > 0);
        let previous = rig.snapshot();
        let now = rig.now;
        let mut built = build(&mut self.builder, &config, &previous, rig.neighbours(), &has_conns)?;
        self.paths.apply(&mut built.0, now);
        for id in built.1 {
            self.bases[id.0 as usize] = COUNTERS.map(|counter| rig.dest(id, counter));
        }
        rig.reload(|snapshot| *snapshot = built.0);
        // Conns of removed dests are marked between bursts.
        rig.housekeep();
        Ok(())
    }
}

impl Director for Ours {
    fn ipvsadm(&mut self, line: &str) -> Result<(), String> {
        let before = self.rules.clone();
        let done = self.rules.obey(line).and_then(|()| self.reload());
        if done.is_err() {
            self.rules = before;
        }
        done
    }

    fn sysctl(&mut self, key: &str, value: &str) -> Result<(), String> {
        self.sysctls.retain(|(known, _)| known != key);
        self.sysctls.push((key.into(), value.into()));
        self.reload()
    }

    fn mark(&mut self, mark: &Mark) -> Result<(), String> {
        self.rules.mark(mark);
        self.reload()
    }

    fn mtu(&mut self, side: Side, mtu: u16) -> Result<(), String> {
        self.mtu[side as usize] = mtu;
        self.reload()
    }

    fn pass(&mut self, time: Duration) -> Result<(), String> {
        let rig = self.rig()?;
        rig.pass(time);
        let now = rig.now;
        if self.paths.are_due(now) { self.reload() } else { Ok(()) }
    }

    fn feed(&mut self, side: Side, frame: &[u8]) -> Result<Vec<(Side, Vec<u8>)>, String> {
        let rig = self.rig()?;
        let out = rig.feed(side.port(), frame);
        if !out.learnt.is_empty() {
            let (now, snapshot) = (rig.now, rig.snapshot());
            for (end, mtu) in &out.learnt {
                self.paths.learn((*end).into(), *mtu, &snapshot, now);
            }
            self.reload()?;
        }
        Ok(out.sent.into_iter().map(|sent| (Side::ALL[sent.port.0 as usize], sent.bytes)).collect())
    }

    fn conns(&mut self) -> Result<Vec<String>, String> {
        let rig = self.rig()?;
        rig.housekeep();
        let (now, conns) = (rig.now.stamp(), rig.conns());
        let living = conns.iter().filter(|(_, conn, _)| !conn.expires().is_due(now));
        let living = living.map(|(_, conn, ends)| say(conn, ends, now.0));
        let snapshot = rig.snapshot();
        let templates = rig.templates().into_iter();
        Ok(living.chain(templates.map(|(_, t)| say_template(&t, &snapshot))).collect())
    }

    fn dests(&mut self) -> Result<Vec<String>, String> {
        self.rig()?.housekeep();
        self.rows(|rig, ids| {
            let sum =
                |c: fn(&DestStats) -> &Counter| ids.iter().map(|id| rig.dest(*id, c)).sum::<u64>();
            (sum(|s| &s.active), sum(|s| &s.inactive))
        })
        .map(|rows| {
            let row = |(name, said, (active, inactive)): (String, String, (u64, u64))| match name
                .contains("->")
            {
                true => format!("{name} {said} {active} {inactive}"),
                false => format!("{name} {said}"),
            };
            rows.into_iter().map(row).collect()
        })
    }

    fn stats(&mut self) -> Result<Vec<String>, String> {
        let counts = |id: &DestId, rig: &Rig| {
            let base = self.bases[id.0 as usize];
            std::array::from_fn::<u64, 5, _>(|n| rig.dest(*id, COUNTERS[n]) - base[n])
        };
        let rows = self.rows(|rig, ids| {
            let all = ids.iter().map(|id| counts(id, rig));
            all.fold([0; 5], |sum, one| std::array::from_fn(|n| sum[n] + one[n]))
        })?;
        let text = |counts: [u64; 5]| counts.map(|n| n.to_string()).join(" ");
        Ok(rows.into_iter().map(|(name, _, counts)| format!("{name} {}", text(counts))).collect())
    }
}

impl Ours {
    /// A row for each service and each dest: its name, what the rules say of it, and what `of` makes
    /// of the dests it stands for.
    fn rows<T>(
        &self,
        of: impl Fn(&Rig, &[DestId]) -> T,
    ) -> Result<Vec<(String, String, T)>, String> {
        let rig = self.rig.as_ref().ok_or("no frame has come yet")?;
        let (snapshot, mut rows) = (rig.snapshot(), Vec::new());
        for (name, scheduler, dests) in self.rules.list() {
            let service = snapshot.services.iter().find(|s| named(s) == name);
            let service = service.ok_or_else(|| format!("{name} is not served"))?;
            let mut all = Vec::new();
            for (address, said) in dests {
                let is_it = |id: DestId| {
                    let dest = snapshot.dest(id);
                    (IpAddr::from(dest.addr), dest.port) == (address.ip(), address.port())
                };
                let dest = service.dests.iter().find(|c| is_it(c.id));
                let id = dest.ok_or_else(|| format!("{address} is not served"))?.id;
                rows.push((format!("{name} -> {address}"), said, of(rig, &[id])));
                all.push(id);
            }
            rows.push((name, scheduler, of(rig, &all)));
        }
        Ok(rows)
    }
}

fn build(
    builder: &mut Builder,
    config: &pointsman_config::Config,
    previous: &Snapshot,
    neighbours: &Neighbours,
    has_conns: &dyn Fn(DestId) -> bool,
) -> Result<(Snapshot, Vec<DestId>), String> {
    let facts = Side::ALL.map(|side| PortFacts { mac: side.mac(), fixed_queue: false });
    let mut inputs = Inputs {
        ports: &facts,
        hop: &mut |port, addr| {
            let hop = neighbours.insert(port, addr, |_| true)?;
            let mac = net::sender(addr.into());
            neighbours.set(hop, HopState::Reachable(mac));
            Some(hop)
        },
        has_conns,
        has_leases: &|_| false,
        settled: true,
    };
    builder.build(config, previous, &mut inputs).map_err(|e| e.to_string())
}

fn named(service: &Service) -> String {
    if let Scope::Mark(mark) = service.scope {
        return format!("FWM {mark}");
    }
    let address = SocketAddr::new(service.addr.into(), service.port);
    format!("{} {address}", proto(service.proto))
}

fn proto(proto: Proto) -> String {
    proto.to_string().to_uppercase()
}

fn say(conn: &Conn, ends: &Ends, now: u32) -> String {
    let (client, vip) = (end(ends.caddr, ends.cport), end(ends.vaddr, ends.vport));
    let left = conn.expires().0.wrapping_sub(now).div_ceil(1000);
    let (dest, state) = (end(ends.daddr, ends.dport), conn.state().name());
    format!("conn {} {client} {vip} {dest} {left} s {state}", proto(ends.proto))
}

fn say_template(template: &Template, snapshot: &Snapshot) -> String {
    let Template { key, dest, dport, .. } = template;
    let kind = key.proto.map_or("IP".into(), proto);
    // What serves no new conns any more has these ports (`ip_vs_check_template`).
    let (vport, dport) = if template.valid { (key.vport, *dport) } else { (u16::MAX, u16::MAX) };
    let (client, vip) = (end(key.client, 0), end(key.vaddr, vport));
    let dest = end(snapshot.dest(*dest).addr, dport);
    let left = template.left.as_millis().div_ceil(1000);
    let state = if template.assured { "ASSURED" } else { "NONE" };
    format!("conn {kind} {client} {vip} {dest} {left} s {state}")
}

fn end(addr: Addr, port: u16) -> SocketAddr {
    SocketAddr::new(addr.into(), port)
}
