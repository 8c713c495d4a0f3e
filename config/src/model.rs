//! The validated model: names are indices, defaults are filled in, nothing is left to doubt.

use crate::pool::Pool;
use crate::prefix::Prefix;
use std::fmt;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// A whole configuration. Equal if and only if nothing that matters differs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The process as a whole.
    pub director: Director,
    /// How long conns live without frames.
    pub timeouts: Timeouts,
    /// What the kernel's IPVS has as sysctls.
    pub ipvs: Ipvs,
    /// At least one, in the order of the file.
    pub ports: Vec<Port>,
    /// Static routes, in the order of the file.
    pub routes: Vec<Route>,
    /// Pools of local addresses, in the order of the file.
    pub pools: Vec<Pool>,
    /// Every VIP once: those of the services in their order, then those that only a `[[vip]]`
    /// names.
    pub vips: Vec<Vip>,
    /// Rules that mark what packets to VIPs begin, in the order of the file: the first that matches
    /// holds.
    pub matches: Vec<Match>,
    /// Services, in the order of the file.
    pub services: Vec<Service>,
    /// Rules for conns that servers open, in the order of the file: the first that matches holds.
    pub snats: Vec<Snat>,
}

/// Bytes of a frame in the mempool besides the IP packet: mempool header and rte_mbuf (192),
/// headroom (128), Ethernet with two tags (22).
const FRAME_OVERHEAD: u64 = 342;

impl Config {
    /// MiB of DPDK's memory that so many frames take, about, with the largest mtu of the ports.
    #[must_use]
    pub fn frames_mib(&self, frames: u32) -> u64 {
        frames_mib(&self.ports, frames)
    }
}

/// [`Config::frames_mib`] before there is a `Config`.
pub(crate) fn frames_mib(ports: &[Port], frames: u32) -> u64 {
    let mtu = ports.iter().map(|port| port.mtu).max().unwrap_or_default();
    (u64::from(frames) * (u64::from(mtu) + FRAME_OVERHEAD)).div_ceil(1 << 20)
}

/// The process as a whole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Director {
    /// Cores with a worker each, without duplicates, at least one. `None`: not given, the machine's
    /// last core.
    pub cores: Option<Vec<usize>>,
    /// Core to which the control thread is pinned; `None`: not pinned.
    pub control_core: Option<usize>,
    /// What a worker does without frames.
    pub idle: Idle,
    /// Capacity of the conn table in conns, all workers together.
    pub conns: u32,
    /// Capacity of the table of persistence templates, all workers together.
    pub templates: u32,
    /// Capacity of the neighbour table in neighbours, ARP and ND together.
    pub neighbours: u32,
    /// Absolute path of the control socket.
    pub socket: PathBuf,
    /// Absolute path of the file that keeps the key of initial sequence numbers.
    pub secret: PathBuf,
    /// Whether frames that are of no conn and for no address of ours are routed between ports.
    pub route: bool,
    /// Whether DPDK's memory is in huge pages.
    pub hugepages: Hugepages,
    /// Memory given to DPDK, in MiB.
    pub memory: u32,
    /// Frames in the mempool; `None`: to be derived from the queues.
    pub mbufs: Option<u32>,
    /// Who may open conns with any service; none: everybody.
    pub access: Option<Arc<AccessList>>,
}

/// Who may open conns: the longest prefix decides that holds the client's address.
#[derive(Debug, Eq, PartialEq)]
pub struct AccessList {
    /// Those that may; host bits are zero.
    pub allow: Vec<Prefix>,
    /// Those that may not; host bits are zero, and none is in `allow` too.
    pub deny: Vec<Prefix>,
    /// Whether those may that no prefix holds.
    pub others: bool,
}

impl Director {
    /// How many workers there will be.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.cores.as_ref().map_or(1, Vec::len)
    }
}

/// Seconds without a frame after which a conn is given up, by the states of TCP and SCTP, and for UDP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are the kernel's names of the states")]
pub struct Timeouts {
    pub tcp_none: u32,
    pub tcp_established: u32,
    pub tcp_syn_sent: u32,
    pub tcp_syn_recv: u32,
    pub tcp_fin_wait: u32,
    pub tcp_time_wait: u32,
    pub tcp_close: u32,
    pub tcp_close_wait: u32,
    pub tcp_last_ack: u32,
    pub tcp_listen: u32,
    pub tcp_synack: u32,
    pub udp: u32,
    pub sctp_init1: u32,
    pub sctp_init: u32,
    pub sctp_cookie_sent: u32,
    pub sctp_cookie_replied: u32,
    pub sctp_cookie_wait: u32,
    pub sctp_cookie: u32,
    pub sctp_cookie_echoed: u32,
    pub sctp_established: u32,
    pub sctp_shutdown_sent: u32,
    pub sctp_shutdown_received: u32,
    pub sctp_shutdown_ack_sent: u32,
    pub sctp_rejected: u32,
    pub sctp_closed: u32,
}

impl Default for Timeouts {
    /// The kernel's (tcp_timeouts in ip_vs_proto_tcp.c, and those of udp and sctp beside it).
    fn default() -> Self {
        Self {
            tcp_none: 2,
            tcp_established: 900,
            tcp_syn_sent: 120,
            tcp_syn_recv: 60,
            tcp_fin_wait: 120,
            tcp_time_wait: 120,
            tcp_close: 10,
            tcp_close_wait: 60,
            tcp_last_ack: 30,
            tcp_listen: 120,
            tcp_synack: 120,
            udp: 300,
            sctp_init1: 4,
            sctp_init: 61,
            sctp_cookie_sent: 61,
            sctp_cookie_replied: 61,
            sctp_cookie_wait: 61,
            sctp_cookie: 61,
            sctp_cookie_echoed: 61,
            sctp_established: 900,
            sctp_shutdown_sent: 61,
            sctp_shutdown_received: 61,
            sctp_shutdown_ack_sent: 61,
            sctp_rejected: 4,
            sctp_closed: 61,
        }
    }
}

/// What the kernel's IPVS has as sysctls below net.ipv4.vs, with their names and defaults.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ipvs {
    /// Whether clients of a persistent service leave a quiesced dest with their next conn.
    pub expire_quiescent_template: bool,
    /// Whether conns end whose dest was removed, where `on_dead = "drop"` would drop their packets,
    /// and a SYN on the tuple of a conn to a quiesced dest begins another one.
    pub expire_nodest_conn: bool,
    /// Whether any segment but a reset opens a conn, full-NAT excepted.
    pub sloppy_tcp: bool,
    /// Whether any packet of SCTP but an ABORT opens a conn, full-NAT excepted.
    pub sloppy_sctp: bool,
    /// Which conns a SYN on their tuple begins anew, 0 to 3.
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
    /// Under [`Defend::Always`] one of so many new conns is dropped.
    pub am_droprate: u16,
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

/// When a defence against floods is on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Defend {
    /// 0: never.
    Off,
    /// 1 and 2, which the kernel exchanges by itself: while a worker's conn table is nearly full.
    Short,
    /// 3: always.
    Always,
}

/// A DPDK port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Port {
    /// Its name, unique among ports.
    pub name: String,
    /// What DPDK opens.
    pub device: Device,
    /// Own addresses with their connected prefixes, at least one; no other port's prefix overlaps.
    pub addresses: Vec<Prefix>,
    /// Next hops of what no prefix or route covers: at most one per family.
    pub gateways: Vec<IpAddr>,
    /// 802.1Q tag, 1 to 4,094.
    pub vlan: Option<u16>,
    /// Largest IP packet in bytes, 576 to 9,000; at least 1,280 with IPv6.
    pub mtu: u16,
    /// Descriptors of each receive queue.
    pub rx_ring: u16,
    /// Descriptors of each transmit queue.
    pub tx_ring: u16,
}

/// What DPDK opens as a port.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Device {
    /// A PCI address, domain included, in lower case: `0000:03:00.0`, perhaps with arguments after
    /// a comma.
    Pci(String),
    /// A virtual device with its arguments: `net_af_packet0,iface=d0`.
    Vdev(String),
}

impl Device {
    /// The text that DPDK gets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pci(text) | Self::Vdev(text) => text,
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A static route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Route {
    /// Where to; host bits are zero.
    pub to: Prefix,
    /// Only for packets from these sources, of the same family; host bits are zero, length is not.
    pub from: Option<Prefix>,
    /// The next hop, a neighbour on `port`.
    pub via: IpAddr,
    /// Index of its port in [`Config::ports`].
    pub port: usize,
}

/// An address that the director answers for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vip {
    /// The address.
    pub address: IpAddr,
    /// What frames get that no service takes.
    pub closed: Closed,
    /// Indices in [`Config::ports`] of the ports on which ARP or ND answers for it, rising.
    pub ports: Vec<usize>,
}

/// A rule that marks what packets to VIPs begin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Match {
    /// The mark, not 0.
    pub mark: u32,
    /// Where packets come from, without host bits; empty: anywhere.
    pub sources: Vec<Prefix>,
    /// The VIPs they are for, without host bits; at least one.
    pub destinations: Vec<Prefix>,
    /// First and last of ranges of ports there; empty: any.
    pub ports: Vec<(u16, u16)>,
    /// At least one, none twice.
    pub protocols: Vec<Protocol>,
}

/// What a service takes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Scope {
    /// What is for its address and port; port 0: every port there that no other service has.
    #[default]
    Address,
    /// The same, of all addresses from its own to this one.
    Range(IpAddr),
    /// What a [`Match`] gives this mark, of its address's family; address and port mean nothing.
    Mark(u32),
}

/// That a client's conns go to one dest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Persistence {
    /// Seconds since its last conn began, 1 to 2,678,400; longer while it has conns.
    pub timeout: u32,
    /// Bits of clients' addresses that make them one client.
    pub prefix: u8,
}

/// A virtual service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Service {
    /// Its name, unique among services.
    pub name: String,
    /// VIP and port; of several VIPs the first.
    pub address: SocketAddr,
    /// What it takes.
    pub scope: Scope,
    /// Whether and how long a client's conns go to one dest.
    pub persistence: Option<Persistence>,
    /// Its protocol, which a mark has none of; unique together with address and scope.
    pub protocol: Protocol,
    /// Who gets a new conn.
    pub scheduler: Scheduler,
    /// ipvsadm's flags of the scheduler, each once.
    pub scheduler_flags: Vec<SchedulerFlag>,
    /// Buckets of mh, a prime number.
    pub maglev_size: u32,
    /// How frames get to dests, where those say nothing else.
    pub forward: Forward,
    /// Index in [`Config::pools`]: given where dests are by full-NAT without `automap`, and for nothing else.
    pub pool: Option<usize>,
    /// Full-NAT with the addresses of the port that a frame leaves by.
    pub automap: bool,
    /// Other dests a SYN is offered that one refuses or does not answer.
    pub retries: u8,
    /// Largest TCP segment that SYN and SYN-ACK may announce; none: what the ports carry.
    pub mss: Option<u16>,
    /// Seconds a UDP conn lives without a packet; none: by method.
    pub udp_timeout: Option<u32>,
    /// Seconds a TCP conn lives in ESTABLISHED without a packet; none: as [`Timeouts`] has it.
    pub tcp_timeout: Option<u32>,
    /// The same in FIN_WAIT.
    pub tcp_fin_timeout: Option<u32>,
    /// The same of SCTP conns in ESTABLISHED.
    pub sctp_timeout: Option<u32>,
    /// Whether a UDP conn ends with the datagram that opens it.
    pub one_packet: bool,
    /// Datagrams from the dest after which a UDP conn ends; 0: no such number.
    pub replies: u16,
    /// Whether full-NAT shifts sequence numbers and timestamps.
    pub rewrite: bool,
    /// Whether replies leave by the port and next hop that the client's frames came from.
    pub last_hop: bool,
    /// Whose address ICMP errors of hops behind the director bear.
    pub icmp_source: IcmpSource,
    /// What becomes of conns whose dest is removed or dead.
    pub on_dead: OnDead,
    /// What becomes of established TCP conns whose time is up.
    pub on_idle: OnIdle,
    /// What clients get for whose conns no local port or no room is left.
    pub exhausted: Exhausted,
    /// What becomes of packets that with a tunnel's header are larger than their way.
    pub oversize: Oversize,
    /// Who may open conns with it, of those that may at all; none: everybody.
    pub access: Option<Arc<AccessList>>,
    /// What clients get that may not.
    pub denied: Denied,
    /// What TCP clients get where no dest is left.
    pub no_dest: NoDest,
    /// How dests learn of their clients; not off only for full-NAT.
    pub client_address: ClientAddress,
    /// Clients that tell the dest by themselves; host bits are zero.
    pub proxy_in: Vec<Prefix>,
    /// What its conns say that the director must understand; by nat and full-NAT only.
    pub helper: Option<Helper>,
    /// Index of its VIP, or the first, in [`Config::vips`]; a mark has none.
    pub vip: Option<usize>,
    /// Real servers, in the order of the file; may be empty.
    pub dests: Vec<Dest>,
}

impl Scope {
    /// A service that begins with this address and port, as it is written:
    /// `tcp 10.1.0.100:80`, `udp [2001:db8::1-2001:db8::f]:0`, `mark 1`.
    #[must_use]
    pub fn of(self, protocol: Protocol, first: SocketAddr) -> String {
        let (address, port) = (first.ip(), first.port());
        match self {
            Self::Address => format!("{protocol} {first}"),
            Self::Range(last) if address.is_ipv4() => format!("{protocol} {address}-{last}:{port}"),
            Self::Range(last) => format!("{protocol} [{address}-{last}]:{port}"),
            Self::Mark(mark) if address.is_ipv4() => format!("mark {mark}"),
            Self::Mark(mark) => format!("mark {mark} ipv6"),
        }
    }
}

/// A real server within a service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Dest {
    /// Address and port, unique within the service.
    pub address: SocketAddr,
    /// Share of new conns; 0 is quiesced.
    pub weight: u16,
    /// How frames get there.
    pub forward: Forward,
    /// Conns with which it gets no new ones; 0: no limit.
    pub upper: u32,
    /// Conns below which it gets some again; 0: three quarters of `upper`.
    pub lower: u32,
    /// How packets to it are wrapped by [`Forward::Tunnel`].
    pub tunnel: Tunnel,
}

/// What a tunnel's packets are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Tunnel {
    /// IP in IP.
    #[default]
    Ipip,
    /// GUE.
    Gue {
        /// The dest's UDP port, not 0.
        port: u16,
        /// That of UDP, or what stands for it.
        checksum: TunnelChecksum,
    },
    /// GRE.
    Gre {
        /// Whether it has one.
        checksum: bool,
    },
}

impl fmt::Display for Tunnel {
    /// In the words of the configuration: `ipip`, `gue 6080 csum`, `gre nocsum`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipip => write!(f, "ipip"),
            Self::Gue { port, checksum } => write!(f, "gue {port} {checksum}"),
            Self::Gre { checksum: true } => write!(f, "gre {}", TunnelChecksum::Csum),
            Self::Gre { checksum: false } => write!(f, "gre {}", TunnelChecksum::Nocsum),
        }
    }
}

/// A rule for conns that servers open through the director.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Snat {
    /// Its name, unique among rules.
    pub name: String,
    /// Where conns come from, at least one prefix, without host bits.
    pub sources: Vec<Prefix>,
    /// Where they go, without host bits; empty: anywhere.
    pub destinations: Vec<Prefix>,
    /// First and last of ranges of ports there; empty: any.
    pub ports: Vec<(u16, u16)>,
    /// At least one, none twice.
    pub protocols: Vec<SnatProtocol>,
    /// What they leave with.
    pub leave_with: LeaveWith,
    /// Which router gets a new conn.
    pub scheduler: Scheduler,
    /// Other routers a SYN is offered that goes unanswered.
    pub retries: u8,
    /// Largest TCP segment that SYN and SYN-ACK may announce; none: what the ports carry.
    pub mss: Option<u16>,
    /// Seconds a UDP conn lives without a packet; none: 120.
    pub udp_timeout: Option<u32>,
    /// What servers get for whose conns no local port or no room is left.
    pub exhausted: Exhausted,
    /// Routers, with port 0, all of the family of all sources; empty: by route.
    pub dests: Vec<Dest>,
}

/// What servers' conns leave with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LeaveWith {
    /// An address of the pool of this index in [`Config::pools`].
    Pool(usize),
    /// One of these, at least one: VIPs or ports' own.
    Addresses(Vec<IpAddr>),
    /// One of the port's that they leave by.
    Automap,
}

/// An enum whose values have names in the file.
pub(crate) trait Word: Copy + 'static {
    /// What such a value is called in messages.
    const WHAT: &'static str;
    /// Every value with its name.
    const ALL: &'static [(&'static str, Self)];
    /// Names that other programs have for these, and ours.
    const ALIASES: &'static [(&'static str, &'static str)];
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident $what:literal { $($(#[$vdoc:meta])* $variant:ident $word:literal $($alias:literal)*,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
        }

        impl $name {
            /// Its name in the configuration file.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl Word for $name {
            const WHAT: &'static str = $what;
            const ALL: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];
            const ALIASES: &'static [(&'static str, &'static str)] = &[$($(($alias, $word),)*)+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// What a worker does without frames.
    Idle "idle mode" {
        /// Polls on: lowest latency, the core is always busy.
        Poll "poll" "busy",
        /// Backs off to short sleeps.
        Adaptive "adaptive" "sleep",
    }
}

words! {
    /// Whether DPDK's memory is in huge pages.
    Hugepages "hugepages setting" {
        /// If the machine has any free.
        Auto "auto",
        /// Or else the director does not start.
        Require "require" "always" "on" "yes" "true",
        /// Not even if there are some.
        Never "never" "off" "no" "false" "none",
    }
}

words! {
    /// What TCP and SCTP clients get where no dest is left; UDP clients get ICMP.
    NoDest "answer" {
        /// ICMP port unreachable, as under IPVS.
        Unreachable "unreachable" "icmp" "reject",
        /// A reset, of SCTP an ABORT.
        Reset "reset" "rst" "tcp-reset",
    }
}

words! {
    /// Family of a service that a mark names.
    Family "family" {
        /// IPv4.
        V4 "ipv4" "inet" "4",
        /// IPv6.
        V6 "ipv6" "inet6" "6",
    }
}

words! {
    /// Protocol of a service.
    Protocol "protocol" {
        /// TCP.
        Tcp "tcp",
        /// UDP.
        Udp "udp",
        /// SCTP.
        Sctp "sctp",
    }
}

words! {
    /// Protocol of a rule for servers' conns.
    SnatProtocol "protocol" {
        /// TCP.
        Tcp "tcp",
        /// UDP.
        Udp "udp",
        /// SCTP.
        Sctp "sctp",
        /// Echoes, of ICMP and ICMPv6.
        Icmp "icmp" "ping" "icmpv6" "icmp6" "echo",
    }
}

words! {
    /// Who gets a new conn.
    Scheduler "scheduler" {
        /// Each dest in turn.
        Rr "rr" "round-robin" "roundrobin" "round_robin",
        /// In turn, by weight.
        Wrr "wrr" "weighted-round-robin",
        /// The dest with the fewest conns.
        Lc "lc" "leastconn" "least-conn" "least_conn" "least-connection",
        /// The dest with the fewest conns for its weight.
        Wlc "wlc" "weighted-least-connection",
        /// The dest that the VIP had last, unless it is overloaded, else as wlc.
        Lblc "lblc" "locality",
        /// The least loaded of a set of dests that the VIP has.
        Lblcr "lblcr",
        /// By a hash of the client's address.
        Sh "sh" "source" "ip_hash" "ip-hash" "source-hash",
        /// By a hash of the address that the client wants.
        Dh "dh" "destination-hash",
        /// The dest with the shortest expected delay.
        Sed "sed" "shortest-expected-delay",
        /// An idle dest, else as sed.
        Nq "nq" "never-queue",
        /// The dest with the highest weight.
        Fo "fo" "failover" "priority",
        /// The dest with the highest weight that has not more active conns.
        Ovf "ovf" "overflow",
        /// Maglev hashing of the client's address.
        Mh "mh" "maglev" "consistent-hash" "conhash",
        /// The better of two by chance.
        Twos "twos" "random" "two-choices" "p2c",
        /// Nobody, but for clients with a live template.
        Nobody "none",
    }
}

words! {
    /// What changes a scheduler.
    SchedulerFlag "scheduler flag" {
        /// sh: the client's port counts too.
        ShPort "sh-port",
        /// sh: where the hash names an unusable dest, another one is found.
        ShFallback "sh-fallback",
        /// mh: the client's port counts too.
        MhPort "mh-port",
        /// mh: where the hash names an unusable dest, another one is found.
        MhFallback "mh-fallback",
    }
}

impl SchedulerFlag {
    /// The scheduler that knows it.
    #[must_use]
    pub fn of(self) -> Scheduler {
        match self {
            Self::ShPort | Self::ShFallback => Scheduler::Sh,
            Self::MhPort | Self::MhFallback => Scheduler::Mh,
        }
    }
}

words! {
    /// How frames get to the dests.
    Forward "forwarding method" {
        /// The dest's address replaces the VIP; replies must come back through the director.
        Nat "nat" "masq" "masquerading" "dnat",
        /// Besides, an address of the pool replaces the client's: replies come back by themselves.
        FullNat "fullnat" "fnat" "full-nat" "full_nat" "snat",
        /// The frame as it is to the dest's MAC; the dest answers the client directly.
        Dr "dr" "dsr" "gate" "gatewaying" "direct-routing",
        /// In an outer IP header to the dest; the dest answers the client directly.
        Tunnel "tunnel" "ipip" "tun" "tunneling",
    }
}

words! {
    /// What becomes of conns whose dest is removed or dead.
    OnDead "on_dead setting" {
        /// They go on: those of a removed dest run to their end.
        Keep "keep" "drain",
        /// TCP: both ends get a RST.
        Reset "reset" "rst",
        /// Their clients' frames are dropped until they run out.
        Drop "drop" "silent",
        /// UDP: the client's next datagram goes to another dest.
        Reselect "reselect" "reschedule",
    }
}

words! {
    /// What becomes of established TCP conns whose time is up.
    OnIdle "on_idle setting" {
        /// Nobody is told.
        Forget "forget" "drop" "silent",
        /// Both ends get a RST.
        Reset "reset" "rst",
    }
}

words! {
    /// How dests learn of their clients.
    ClientAddress "client_address" {
        /// They do not.
        Off "off" "no" "none" "false",
        /// PROXY protocol version 1: a line of text before a TCP conn's data.
        ProxyV1 "proxy-v1" "v1" "send-proxy" "proxy",
        /// Version 2: a binary header before a TCP conn's data, or in each UDP datagram.
        ProxyV2 "proxy-v2" "v2" "send-proxy-v2",
        /// TCP option 254 in the client's first segments.
        Toa "toa" "254" "option-254",
    }
}

words! {
    /// What frames to a VIP get that no service takes.
    Closed "closed setting" {
        /// What a host would send: RST or port unreachable.
        Reject "reject" "rst" "reset",
        /// Nothing.
        Drop "drop" "ignore" "silent",
    }
}

words! {
    /// Whose address ICMP errors of hops behind the director bear.
    IcmpSource "ICMP source" {
        /// The VIP's, as the kernel has it.
        Vip "vip" "service",
        /// The hop's own.
        Router "router" "hop",
    }
}

words! {
    /// What a tunnel's packets are.
    TunnelKind "tunnel" {
        /// IP in IP.
        Ipip "ipip" "ip" "4in4" "6in6" "sit",
        /// GUE, in UDP.
        Gue "gue",
        /// GRE.
        Gre "gre",
    }
}

words! {
    /// What checksum a tunnel's header has.
    TunnelChecksum "tunnel checksum" {
        /// None.
        Nocsum "nocsum" "none" "off" "no" "false",
        /// Over all that it carries.
        Csum "csum" "on" "yes" "true" "checksum",
        /// As `csum`, but for packets whose own checksum is yet to be made, which are none that come off a wire.
        Remcsum "remcsum" "remote",
    }
}

words! {
    /// What becomes of packets that with a tunnel's header are larger than their way.
    Oversize "oversize setting" {
        /// Their sender learns the MTU; those that may be fragmented are.
        TooBig "too-big" "toobig" "icmp" "pmtu",
        /// The tunnel's packet goes in fragments, whatever its sender says.
        Fragment "fragment" "fragments" "cut",
    }
}

words! {
    /// What clients get for whose conns no local port or no room is left.
    Exhausted "exhausted setting" {
        /// Nothing: they try again.
        Drop "drop" "ignore" "silent",
        /// RST or port unreachable: they know at once.
        Reject "reject" "rst" "reset",
    }
}

words! {
    /// What clients get that an access list denies.
    Denied "denied setting" {
        /// Nothing.
        Drop "drop" "ignore" "silent",
        /// RST or port unreachable.
        Reject "reject" "rst" "reset",
    }
}

words! {
    /// What a service's conns say of further conns.
    Helper "helper" {
        /// FTP's control conns: where data conns go.
        Ftp "ftp" "ip_vs_ftp",
    }
}
