//! What `status --json` says: one structure, made by the control thread, read by the command line.
//! Field names are stable; further ones may come.

use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;

/// All of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// Of the process.
    pub pid: u32,
    /// Since it began to serve.
    pub uptime_seconds: f64,
    /// What it serves.
    pub config: ConfigStatus,
    /// By number.
    pub ports: Vec<PortStatus>,
    /// By number.
    pub workers: Vec<WorkerStatus>,
    /// In the order of the configuration.
    pub services: Vec<ServiceStatus>,
    /// SNAT rules, in the order of the configuration.
    #[serde(default)]
    pub snat: Vec<RuleStatus>,
    /// Dests that are in no service any more but have conns.
    pub removed: Vec<RemovedStatus>,
    /// Of all workers.
    pub conns: ConnsStatus,
    /// Leases of local addresses and ports held.
    pub leases: u64,
    /// Local addresses that full-NAT leases ports of. Those that nothing was leased of are left
    /// out where there are many.
    #[serde(default)]
    pub locals: Vec<LocalStatus>,
    /// The neighbour table.
    pub neighbours: NeighboursStatus,
    /// Foreign hosts that answer for a VIP.
    pub conflicts: Vec<ConflictStatus>,
    /// Answers (RST, ICMP) not made because of the rate limit.
    pub answers_limited: u64,
    /// Packets of no conn that were routed.
    #[serde(default)]
    pub routed: u64,
    /// Replies of dr and tunnel dests that came back through the director.
    #[serde(default)]
    pub martian_replies: u64,
    /// Conns and templates ended early (`drop_entry`).
    #[serde(default)]
    pub defended: u64,
    /// The conservation law, summed over workers.
    pub law: Law,
    /// Frames and requests of the control thread.
    pub control: ControlStatus,
}

/// The file and its last reload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// Its path.
    pub file: String,
    /// Reloads asked for, failed ones included.
    pub reloads: u64,
    /// Whether the last one was taken; true when there was none.
    pub last_reload_ok: bool,
    /// What the last one changed, or why it was refused.
    pub last_reload: String,
    /// When, in seconds before now; none when there was none.
    pub last_reload_seconds_ago: Option<f64>,
}

/// A port.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PortStatus {
    /// In the configuration.
    pub name: String,
    /// What DPDK opened.
    pub device: String,
    /// DPDK's driver.
    pub driver: String,
    /// As `02:00:00:00:00:01`.
    pub mac: String,
    /// Its own addresses.
    pub addresses: Vec<String>,
    /// Whether there is a link.
    pub link_up: bool,
    /// 0 where the driver does not know.
    pub speed_mbps: u32,
    /// Largest IP packet.
    pub mtu: u16,
    /// `list`, `all`, `promiscuous`, `unfiltered`: how it takes the multicast it needs; or
    /// `refused`.
    pub multicast: String,
    /// Whether the queue of a frame is a fixed function of its addresses and ports.
    pub fixed_queue: bool,
    /// Frames received, as the port counts.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames lost because the receive ring was full.
    pub missed: u64,
    /// Frames received damaged.
    pub rx_errors: u64,
    /// Frames that failed to be sent.
    pub tx_errors: u64,
    /// Frames lost because the pool was empty.
    pub no_frame: u64,
    /// Frames larger than a buffer (the greatest mtu), freed as they came: no worker received
    /// them, so the conservation law does not have them.
    #[serde(default)]
    pub scattered: u64,
}

/// A worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its core; none when not pinned.
    pub core: Option<usize>,
    /// Frames received from ports.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// Share of time spent in turns that found a frame, over the last second.
    pub busy: f64,
    /// Frames handed over by received ones, since the start.
    pub handed_over_share: f64,
    /// Frames handed over.
    pub handed_over: u64,
    /// Frames taken over.
    pub taken_over: u64,
    /// Frames that were not simply a packet of a conn that goes on: each costs several times as much.
    pub lone: u64,
    /// Conns in its table.
    pub conns: u64,
    /// Conns its table can hold.
    pub conns_capacity: u64,
    /// Turns of its loop.
    pub turns: u64,
    /// Turns that found a frame.
    pub busy_turns: u64,
    /// Whether the conservation law holds for it.
    pub law_holds: bool,
}

/// A SNAT rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RuleStatus {
    /// In the configuration.
    pub name: String,
    /// Prefixes of the servers.
    pub sources: Vec<String>,
    /// As it is called in the configuration.
    pub scheduler: String,
    /// Its routers; or one, called `by route`.
    pub dests: Vec<DestStatus>,
}

/// A service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// In the configuration.
    pub name: String,
    /// `tcp` or `udp`; `mark`.
    pub protocol: String,
    /// VIP and port, `10.1.0.0-10.1.0.255:80`; the mark.
    pub address: String,
    /// As ipvsadm names it.
    pub scheduler: String,
    /// `nat`, `fullnat`, `dr`, `tunnel`; `nat+dr` where dests have several.
    pub forward: String,
    /// Seconds a client's conns go to one dest; none: it is not persistent.
    #[serde(default)]
    pub persistent: Option<u32>,
    /// Conns that could not be opened.
    #[serde(default)]
    pub exhausted: ExhaustedStatus,
    /// What access lists denied.
    #[serde(default)]
    pub denied: DeniedStatus,
    /// Newest first, as the kernel lists them.
    pub dests: Vec<DestStatus>,
}

/// Conns of a service that were refused, by what there was too little of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ExhaustedStatus {
    /// Local ports toward the dest.
    pub no_lease: u64,
    /// Room in the conn table.
    pub table_full: u64,
    /// Under nat, tuples: another conn of the client answered from each dest tried.
    pub reply_clash: u64,
}

/// What access lists denied to clients of a service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeniedStatus {
    /// Packets that would have opened a conn, or were of none.
    pub packets: u64,
    /// Open conns that ended because a new list denies their client.
    pub conns: u64,
}

/// A local address, over all workers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocalStatus {
    /// The address.
    pub address: String,
    /// The pools it is in; none: of a conn that goes on after a reload.
    pub pools: Vec<String>,
    /// Ports leased, over all dests.
    pub used: u64,
    /// How often a conn that had ended lent its port again.
    pub lent: u64,
    /// Ports left toward the busiest dest; toward others there are more.
    pub free: u64,
    /// Conns refused because no address of the pool had a port left.
    pub exhausted: u64,
    /// The dest that most ports are leased toward; none while none is.
    pub busiest: Option<BusiestStatus>,
}

/// A dest and the ports leased toward it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BusiestStatus {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Address and port.
    pub address: String,
    /// Ports of the local address leased toward it.
    pub used: u64,
}

/// A dest. Its counters go on over reloads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DestStatus {
    /// Address and port.
    pub address: String,
    /// 0: quiesced.
    pub weight: u32,
    /// `nat`, `fullnat`, `dr`, `tunnel`.
    #[serde(default)]
    pub forward: String,
    /// Port its packets leave by.
    pub port: String,
    /// `reachable`, `incomplete`, `dead`, `gone`: its next hop's state.
    pub hop: String,
    /// Its next hop's MAC while that is known.
    pub mac: Option<String>,
    /// Conns counted as active.
    pub active: u64,
    /// Other conns.
    pub inactive: u64,
    /// Whether it has reached its upper threshold, and not fallen below the lower one since.
    #[serde(default)]
    pub full: bool,
    /// Templates of persistent clients (PersistConn).
    #[serde(default)]
    pub persistent: u64,
    /// Conns opened.
    pub conns: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Their bytes, from the IP header on.
    pub in_bytes: u64,
    /// Packets to clients.
    pub out_packets: u64,
    /// Their bytes, from the IP header on.
    pub out_bytes: u64,
    /// SYNs it refused or did not answer, which then went to another dest.
    pub passed_over: u64,
    /// By `tunnel`: what its packets are.
    #[serde(default)]
    pub tunnel: Option<TunnelStatus>,
}

/// A dest's tunnel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TunnelStatus {
    /// As the configuration has it: `ipip`, `gue 6080 csum`, `gre nocsum`.
    pub kind: String,
    /// Where it begins.
    pub source: String,
    /// The largest packet that it carries whole.
    pub mtu: u16,
}

/// A dest that was taken out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RemovedStatus {
    /// Protocol, VIP and port it served.
    pub service: String,
    /// The dest.
    #[serde(flatten)]
    pub dest: DestStatus,
}

/// The conn tables.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnsStatus {
    /// Conns now.
    pub used: u64,
    /// Conns there can be.
    pub capacity: u64,
    /// Conns opened since the start.
    pub opened: u64,
}

/// The neighbour table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NeighboursStatus {
    /// Entries it was configured for.
    pub capacity: u64,
    /// Entries.
    pub entries: Vec<NeighbourStatus>,
}

/// A neighbour.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NeighbourStatus {
    /// The port it is on.
    pub port: String,
    /// Its address.
    pub address: String,
    /// `reachable`, `incomplete`, `dead`.
    pub state: String,
    /// While known.
    pub mac: Option<String>,
}

/// A foreign host that answers for a VIP.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConflictStatus {
    /// The VIP.
    pub vip: String,
    /// Who answers.
    pub mac: String,
    /// On which port.
    pub port: String,
    /// First seen, in seconds before now.
    pub since_seconds: f64,
    /// Last seen, in seconds before now.
    pub last_seen_seconds: f64,
}

/// The conservation law: received + made + taken over = sent + handed over + to control +
/// consumed + held + dropped.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Law {
    /// Whether it holds, for each worker and so for their sum.
    pub holds: bool,
    /// Sum of the left side.
    pub inputs: u64,
    /// Sum of the right side.
    pub outputs: u64,
    /// Frames from ports.
    pub received: u64,
    /// Frames made, by kind.
    pub made: BTreeMap<String, u64>,
    /// Frames from other workers.
    pub taken_over: u64,
    /// Frames ports took.
    pub sent: u64,
    /// Frames other workers' rings took.
    pub handed_over: u64,
    /// Frames the control thread's ring took.
    pub to_control: u64,
    /// Frames taken in, by kind.
    pub consumed: BTreeMap<String, u64>,
    /// Frames waiting for a next hop now.
    pub held: u64,
    /// Frames dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// The control thread.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ControlStatus {
    /// Frames taken from its ring.
    pub frames: u64,
    /// Frames it made that found no free buffer or a full mailbox.
    pub frames_lost: u64,
    /// Snapshots given to the workers.
    pub snapshots: u64,
}

/// A MAC as people write it.
pub fn mac(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}
