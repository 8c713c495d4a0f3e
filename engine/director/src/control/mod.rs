//! The control thread: configuration, neighbours, health of links, statistics, and the socket.
//!
//! One thread, which never spins: it sleeps in the requests' channel for a millisecond at most,
//! then looks at what the workers have for it. Nothing here is on a packet's way.

mod access;
mod convert;
mod ended;
mod ids;
mod linger;
pub mod listing;
mod locals;
pub mod neigh;
pub mod paths;
mod reload;
mod report;
mod rules;
pub mod snapshot;
pub mod socket;
pub mod status;

pub use report::law;

use crate::io::Driver;
use crate::io::Link;
use crate::io::Multicast;
use crate::io::Nic;
use crate::worker::links::Links;
use crossbeam::channel::Receiver;
use crossbeam::channel::RecvTimeoutError;
use ended::Ended;
use hashbrown::HashMap;
use hw::TscClock;
use neigh::Level;
use neigh::Resolver;
use paths::Paths;
use pointsman_config::Config;
use pointsman_dataplane::frame::Frame;
use pointsman_dataplane::frame::Pool;
use pointsman_dataplane::neigh::Hop;
use pointsman_dataplane::neigh::HopState;
use pointsman_dataplane::neigh::Mac;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::pipeline::Shared;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::ServiceId;
use pointsman_dataplane::snapshot::PortInfo;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::stats::WorkerStats;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::tuple::Addr;
use serde_json::Value;
use serde_json::json;
use snapshot::Builder;
use snapshot::PortFacts;
use socket::Answer;
use socket::Asked;
use socket::Request;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tracing::debug;
use tracing::info;
use tracing::warn;

/// The longest the thread sleeps: how long an ARP request waits for its answer at worst.
const NAP: Duration = Duration::from_millis(1);
/// Between two looks at the links.
const LINKS: Duration = Duration::from_millis(250);
/// Between two looks at what goes by seconds: busy shares, removed dests, DPDK's log.
const SECOND: Duration = Duration::from_secs(1);
/// Frames taken from the ring in one go, so that a flood of ARP does not keep requests waiting.
const FRAMES: usize = 256;

/// What signal handlers set.
#[derive(Clone, Default)]
pub struct Signals {
    /// Stop serving; once set it stays.
    pub stop: Arc<AtomicBool>,
    /// Read the file again; taken back when seen.
    pub reload: Arc<AtomicBool>,
}

/// What the control thread is made from.
pub struct Parts<D: Driver> {
    /// The configuration served.
    pub config: Config,
    /// Where it came from.
    pub file: PathBuf,
    /// The ports, in the configuration's order.
    pub nics: Vec<D::Nic>,
    /// Frames for what it sends.
    pub pool: D::Pool,
    /// The rings.
    pub links: Arc<Links<D::Frame>>,
    /// What it shares with the workers.
    pub shared: Arc<Shared>,
    /// The cores of the workers.
    pub cores: Vec<Option<usize>>,
    /// Conns a worker can hold.
    pub conns_per_worker: usize,
    /// The clock all threads have.
    pub clock: TscClock,
    /// A random number.
    pub seed: u64,
    /// From the socket; none without one.
    pub requests: Option<Receiver<Asked>>,
    /// From the signal handlers.
    pub signals: Signals,
    /// Takes the driver's log lines.
    pub driver_log: fn() -> Vec<String>,
}

/// A port and what was last seen of it.
struct PortState<N> {
    nic: N,
    link: Option<Link>,
    groups: Vec<Mac>,
    multicast: Option<Multicast>,
    /// Why it does not take these groups yet.
    refused: Option<String>,
}

/// How the last reload went.
#[derive(Debug)]
struct LastReload {
    asked: u64,
    ok: bool,
    said: String,
    at: Option<Tick>,
}

/// The control thread's all.
pub struct Control<D: Driver> {
    parts: Parts<D>,
    ports: Vec<PortState<D::Nic>>,
    facts: Vec<PortFacts>,
    resolver: Resolver,
    builder: Builder,
    current: Arc<Snapshot>,
    /// Snapshots that some worker may still use; dropped here, not there.
    retired: Vec<Arc<Snapshot>>,
    /// Conns must look up their hops anew once every worker has the current snapshot.
    bump_epoch: bool,
    /// Which removed dests have no conns any more.
    ended: Ended<DestId>,
    /// Which lingering pool addresses have no leases any more.
    unleased: Ended<Addr>,
    /// What routers have told of tunnels' ways.
    paths: Paths,
    /// What the counters of a dest's number stood at when it became this dest's.
    bases: Vec<report::DestTotals>,
    /// Likewise for services.
    service_bases: HashMap<ServiceId, report::ServiceBase>,
    busy: Vec<report::Busy>,
    began: Tick,
    last_reload: LastReload,
    counts: status::ControlStatus,
    next_links: Tick,
    next_second: Tick,
}

impl<D: Driver> Control<D> {
    /// Builds the first snapshot and announces nothing yet: that comes with the first turn, when
    /// the links are seen.
    ///
    /// # Errors
    /// In words: the configuration cannot be served.
    pub fn new(mut parts: Parts<D>) -> Result<Self, String> {
        let now = Tick::from_nanos(parts.clock.now_ns());
        let nics = std::mem::take(&mut parts.nics);
        let fact = |n: &D::Nic| PortFacts { mac: n.mac(), fixed_queue: n.fixed_queue() };
        let facts = nics.iter().map(fact).collect();
        let state =
            |nic| PortState { nic, link: None, groups: Vec::new(), multicast: None, refused: None };
        let capacity = parts.config.director.neighbours as usize;
        let dests = parts.shared.dests.capacity();
        let workers = parts.links.mailboxes.len();
        let mut control = Self {
            ports: nics.into_iter().map(state).collect(),
            facts,
            resolver: Resolver::new(Arc::clone(&parts.shared.neighbours), capacity, parts.seed),
            builder: Builder::new(dests),
            current: Arc::new(Snapshot::default()),
            retired: Vec::new(),
            bump_epoch: false,
            ended: Ended::default(),
            unleased: Ended::default(),
            paths: Paths::default(),
            bases: vec![report::DestTotals::default(); dests],
            service_bases: HashMap::new(),
            busy: vec![report::Busy::default(); workers],
            began: now,
            last_reload: LastReload { asked: 0, ok: true, said: "none yet".into(), at: None },
            counts: status::ControlStatus::default(),
            next_links: now,
            next_second: now,
            parts,
        };
        let config = control.parts.config.clone();
        let faces = convert::ports(&config, &control.facts);
        control.parts.shared.neighbours.know(faces.iter().map(PortInfo::face));
        let (first, _) = control.build(&config, now).map_err(|e| e.to_string())?;
        control.note_services(&first);
        control.current = Arc::new(first);
        control.configure_neighbours(now);
        Ok(control)
    }

    /// The snapshot to start workers with.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current)
    }

    /// Serves until told to stop.
    pub fn run(&mut self) {
        while !self.parts.signals.stop.load(Relaxed) {
            self.wait();
            self.turn(Tick::from_nanos(self.parts.clock.now_ns()));
        }
        // Whoever asks while the workers end is told so, and need not wait for an answer.
        if let Some(requests) = self.parts.requests.take() {
            for asked in requests.try_iter() {
                let _ = asked.answer.send(Err(socket::STOPPING.into()));
            }
        }
    }

    /// Gives the ports back, to be closed after the workers have ended.
    pub fn into_nics(self) -> Vec<D::Nic> {
        self.ports.into_iter().map(|p| p.nic).collect()
    }

    /// One turn: everything that is due.
    pub fn turn(&mut self, now: Tick) {
        if self.parts.signals.reload.swap(false, Relaxed) {
            // Said in the log and in `status`.
            let _ = self.reload(now);
        }
        if now >= self.next_links {
            self.next_links = now + LINKS;
            self.look_at_links(now);
        }
        self.take_in(now);
        self.resolver.tick(now);
        self.settle();
        if now >= self.next_second {
            self.next_second = now + SECOND;
            self.each_second(now);
        }
        self.speak();
    }

    fn wait(&mut self) {
        let Some(requests) = &self.parts.requests else {
            std::thread::sleep(NAP);
            return;
        };
        match requests.recv_timeout(NAP) {
            Ok(asked) => self.answer(asked),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                warn!("the control socket is closed: status and reload are gone until a restart");
                self.parts.requests = None;
            }
        }
    }

    fn answer(&mut self, asked: Asked) {
        let now = Tick::from_nanos(self.parts.clock.now_ns());
        let answer = match asked.request {
            Request::Status => {
                serde_json::to_value(self.status(now)).map_err(|e| format!("status: {e}"))
            }
            Request::Reload => self.reload(now).map(|said| json!({ "result": said })),
            Request::Announce { vip } => self.announce(vip, now),
            Request::Pid => Ok(json!({ "pid": std::process::id() })),
            Request::Conns { filter, limit } => {
                let _ = asked
                    .answer
                    .send(self.listing(&filter, limit).map(|l| Answer::Conns(Box::new(l))));
                return;
            }
        };
        // A client that left does not want it.
        let _ = asked.answer.send(answer.map(Answer::Value));
    }

    fn announce(&mut self, vip: Option<IpAddr>, now: Tick) -> Result<Value, String> {
        let is_vip = |a: &Addr| self.current.locals.get(a).is_some_and(|l| l.vip);
        let vip = vip.map(Addr::from);
        if let Some(addr) = vip.filter(|a| !is_vip(a)) {
            return Err(format!("{addr} is no VIP of this director (see pointsman status)"));
        }
        self.resolver.announce(vip, now);
        let said = vip.map_or("announcing all VIPs".into(), |a| format!("announcing {a}"));
        info!("{said}, as asked");
        Ok(json!({ "result": said }))
    }

    fn look_at_links(&mut self, now: Tick) {
        for (index, port) in self.ports.iter_mut().enumerate() {
            let link = port.nic.link();
            let before = port.link.replace(link);
            if before.is_some_and(|b| b.up == link.up) {
                continue;
            }
            let name = &self.current.ports[index].name;
            match (link.up, link.speed_mbps) {
                (false, _) => warn!("port {name}: no link"),
                (true, 0 | u32::MAX) => info!("port {name}: link up"),
                (true, speed) => info!("port {name}: link up, {speed} Mbit/s"),
            }
            self.resolver.on_link(PortId(index as u8), link.up, now);
        }
    }

    fn take_in(&mut self, now: Tick) {
        for _ in 0..FRAMES {
            let Some((port, frame)) = self.parts.links.control.pop() else { break };
            self.counts.frames += 1;
            self.resolver.on_frame(port, frame.data(), now);
        }
        for _ in 0..FRAMES {
            let Some((port, addr)) = self.parts.links.resolve.pop() else { break };
            self.resolver.resolve(port, addr, now);
        }
        for _ in 0..FRAMES {
            let Some((end, mtu)) = self.parts.links.learnt.pop() else { break };
            self.paths.learn(end, mtu, &self.current, now);
        }
    }

    /// Sends what the resolver has to send and logs what it has to say.
    fn speak(&mut self) {
        for emit in self.resolver.frames() {
            let Some(mut frame) = self.parts.pool.alloc() else {
                self.counts.frames_lost += 1;
                continue;
            };
            let fits = frame.set_len(emit.bytes.len());
            if fits {
                frame.data_mut().copy_from_slice(&emit.bytes);
            }
            // Worker 0 has a queue of every port, as all workers do.
            if !fits || !self.parts.links.mailboxes[0].send(emit.port, frame) {
                self.counts.frames_lost += 1;
            }
        }
        for event in self.resolver.events() {
            let text = event.text(&report::port_name(&self.current, event.port()));
            match event.level() {
                Level::Debug => debug!("{text}"),
                Level::Info => info!("{text}"),
                Level::Warn => warn!("{text}"),
            }
        }
    }

    fn each_second(&mut self, now: Tick) {
        for (busy, published) in self.busy.iter_mut().zip(&self.parts.links.published) {
            busy.sample(&published.read());
        }
        for line in (self.parts.driver_log)() {
            warn!(target: "dpdk", "{line}");
        }
        let refused = |index: &usize| self.ports[*index].refused.is_some();
        let again: Vec<_> = (0..self.ports.len()).filter(refused).collect();
        again.into_iter().for_each(|index| self.set_groups(index));
        self.collect(now);
    }

    /// Tells the resolver what is ours and wanted, and the ports which groups to take.
    fn configure_neighbours(&mut self, now: Tick) {
        let table = &self.parts.shared.neighbours;
        let entry = |hop: Hop| match table.get(hop).1 {
            HopState::Gone => None,
            _ => Some(table.entry(hop)).map(|(port, addr, _)| (port, addr)),
        };
        let wanted = snapshot::wanted(&self.current, entry);
        self.resolver.configure(&self.current, &wanted, now);
        (0..self.ports.len()).for_each(|index| self.set_groups(index));
    }

    /// Tells a port which groups to take, unless it does so already.
    fn set_groups(&mut self, index: usize) {
        let port = &mut self.ports[index];
        let groups = self.resolver.multicast_macs(PortId(index as u8));
        if port.multicast.is_some() && port.refused.is_none() && groups == port.groups {
            return;
        }
        let name = &self.current.ports[index].name;
        match port.nic.set_multicast(&groups) {
            Ok(how) => {
                let before = port.multicast.replace(how);
                port.groups = groups;
                if port.refused.take().is_some() {
                    info!("port {name}: takes its multicast groups now");
                }
                match how {
                    _ if before == Some(how) => {}
                    Multicast::List | Multicast::Unfiltered => {}
                    Multicast::All => info!("port {name}: takes all multicast frames"),
                    Multicast::Promiscuous => info!("port {name}: promiscuous, for multicast"),
                }
            }
            // Tried again each second; said once.
            Err(e) if port.refused.as_ref() == Some(&e) => {}
            Err(e) => {
                warn!("port {name}: IPv6 neighbours may not reach it: {e}");
                port.refused = Some(e);
            }
        }
    }

    fn published(&self) -> Vec<WorkerStats> {
        self.parts.links.published.iter().map(|p| p.read()).collect()
    }
}
