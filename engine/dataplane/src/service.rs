//! Services and dests as the workers see them: immutable, built by the control thread.

use crate::neigh::Hop;
use crate::neigh::PortId;
use crate::sched::Sched;
use crate::tuple::Addr;
use crate::tuple::Prefix;
use crate::tuple::Proto;
use crate::tuple::Tuple;
use crate::wire::gre;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::wire::udp;
use core::fmt;
use zerocopy::FromZeros;
use zerocopy::Immutable;
use zerocopy::IntoBytes;

/// A service's stable number: the same service keeps it over reloads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServiceId(pub u32);

/// A dest's stable number: a dest (address and port within a service) keeps it over reloads, and
/// after its removal for as long as conns to it live.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DestId(pub u32);

/// How a packet gets to a dest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, FromZeros, Immutable, IntoBytes)]
#[repr(u8)]
pub enum Forward {
    /// Destination rewritten; the dest answers to the client's address through the director.
    Nat,
    /// Source and destination rewritten; the dest answers to an address of the director.
    FullNat,
    /// Only the MAC changes; the dest holds the VIP and answers the client itself.
    Dr,
    /// Within another IP packet (`Encap`); the dest decapsulates and answers the client itself.
    Tunnel,
}

impl Forward {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Nat, Self::FullNat, Self::Dr, Self::Tunnel];

    /// Its name in the configuration and in `status`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::FullNat => "fullnat",
            Self::Dr => "dr",
            Self::Tunnel => "tunnel",
        }
    }

    /// Whether answers pass the director, so that a conn has two tuples.
    #[inline(always)]
    pub const fn sees_replies(self) -> bool {
        matches!(self, Self::Nat | Self::FullNat)
    }
}

/// The methods that a service's dests have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Methods(u8);

impl Methods {
    /// Whether a dest has it.
    #[inline(always)]
    pub const fn has(self, forward: Forward) -> bool {
        self.0 & 1 << forward as u8 != 0
    }

    /// The one that all dests have; none where they have several.
    pub fn only(self) -> Option<Forward> {
        self.iter().next().filter(|_| self.0.is_power_of_two())
    }

    /// Each once.
    pub fn iter(self) -> impl Iterator<Item = Forward> {
        Forward::ALL.into_iter().filter(move |forward| self.has(*forward))
    }
}

impl fmt::Display for Methods {
    /// `nat`; of several `nat+dr`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, forward) in self.iter().enumerate() {
            write!(f, "{}{}", if nth == 0 { "" } else { "+" }, forward.name())?;
        }
        Ok(())
    }
}

impl FromIterator<Forward> for Methods {
    fn from_iter<I: IntoIterator<Item = Forward>>(all: I) -> Self {
        Self(all.into_iter().fold(0, |bits, forward| bits | 1 << forward as u8))
    }
}

/// What is done with packets to an address of ours that nothing takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Closed {
    /// What a host does: reset, port unreachable, echo reply.
    #[default]
    Reject,
    /// Nothing.
    Drop,
}

/// What becomes of conns whose dest is removed or dead.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnDead {
    /// They go on: what a removed dest serves, it serves to its end.
    #[default]
    Keep,
    /// TCP: both ends get a reset.
    Reset,
    /// The client's packets are dropped and the conn runs out, as under the kernel's IPVS without
    /// `expire_nodest_conn`.
    Drop,
    /// UDP: the client's next datagram goes to another dest.
    Reselect,
}

/// What becomes of a TCP conn in ESTABLISHED that was silent for its timeout.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnIdle {
    /// Nobody is told.
    #[default]
    Forget,
    /// Both ends get a reset.
    Reset,
}

/// Where the packets of a dest's conns go, which is written into them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Target {
    /// To the dest.
    #[default]
    Dest,
    /// Where they were going, by way of the dest, a router.
    ByDest,
    /// Where they were going, by its route. Such a dest has no address and no next hop of its own,
    /// and its MTU is 0, so that every packet of it takes the way of those that are too large.
    ByRoute,
}

/// How dests learn of their client under full-NAT.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum ClientAddress {
    /// They do not.
    #[default]
    Off,
    /// A PROXY protocol header, version 1, before a TCP conn's data.
    ProxyV1,
    /// Version 2 before a TCP conn's data or in each UDP datagram.
    ProxyV2,
    /// TCP option 254 in the client's first segments.
    Toa,
}

impl ClientAddress {
    /// Of the number it was cast to.
    #[inline(always)]
    pub(crate) const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::ProxyV1,
            2 => Self::ProxyV2,
            3 => Self::Toa,
            _ => Self::Off,
        }
    }
}

/// What stands between the outer IP header of a tunnel's packets and the packet within.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Encap {
    /// Nothing: IP in IP, either family in either (RFC 2003, RFC 2473, 6in4: RFC 4213).
    #[default]
    Ip,
    /// UDP and GUE (draft-ietf-intarea-gue), either family in either.
    Gue {
        /// The dest's UDP port.
        port: u16,
        /// Whether UDP has a checksum.
        checksum: bool,
    },
    /// GRE (RFC 2784), either family in either.
    Gre {
        /// Whether it has a checksum.
        checksum: bool,
    },
}

impl Encap {
    /// The protocol numbers of its outer packets, and the UDP port they go to, 0 where that means nothing.
    pub fn ends(self) -> impl Iterator<Item = (u8, u16)> {
        let (numbers, port) = match self {
            Self::Ip => ([ipv4::IPIP, ipv6::IPV6], 0),
            Self::Gue { port, .. } => ([udp::NUMBER; 2], port),
            Self::Gre { .. } => ([gre::NUMBER; 2], 0),
        };
        numbers.into_iter().map(move |number| (number, port))
    }
}

/// What a service says of its conns, kept with each dest, where a packet's way finds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Traits {
    /// Largest TCP segment that SYN and SYN-ACK may announce under nat and full-NAT.
    pub mss: u16,
    /// Milliseconds a UDP conn lives without a packet.
    pub udp_timeout: u32,
    /// Datagrams from the dest after which a UDP conn ends; 0: no such number.
    pub replies: u16,
    /// How many other dests a SYN is offered that this one refuses or does not answer.
    pub retries: u8,
    /// Whether full-NAT shifts sequence numbers and timestamps, so that dests take a reused tuple
    /// for what it is. On unless an operator has a reason.
    pub rewrite: bool,
    /// Whether replies leave by the port and to the MAC the client's frames came from.
    pub last_hop: bool,
    /// Whether hops behind the director show as themselves in ICMP errors, not as the VIP.
    pub shows_routers: bool,
    /// What becomes of conns whose dest is removed or dead.
    pub on_dead: OnDead,
    /// What becomes of established conns whose time is up.
    pub on_idle: OnIdle,
    /// What a client is told for whose conn ports or room have run out.
    pub exhausted: Closed,
    /// Whether a tunnel's packets that are larger than their way go in fragments.
    pub cuts_outer: bool,
    /// What a tunnel's packets are.
    pub encap: Encap,
    /// What a client is told that an access list denies.
    pub denied: Closed,
    /// Where packets go.
    pub target: Target,
    /// Whether and how dests are told who their clients are; full-NAT only.
    pub client_address: ClientAddress,
    /// Milliseconds that TCP conns live in ESTABLISHED and in FIN_WAIT without a packet; 0: as
    /// `Snapshot::timeouts` has it.
    pub tcp_timeouts: (u32, u32),
    /// The same of SCTP conns in ESTABLISHED.
    pub sctp_timeout: u32,
    /// How many conns the dest may have.
    pub limits: Limits,
    /// Its service, where its ends speak FTP (`Terms::ftp`): data conns are at no port of the service's, and
    /// live when the dest is removed.
    pub ftp: Option<ServiceId>,
    /// Whether its service is gone as well, so that no client's template has to wait for its return.
    pub orphaned: bool,
    /// Whether its service lists the same server by another number, as after a change of method.
    pub superseded: bool,
}

/// How many conns, active and inactive, a dest may have (ipvsadm's thresholds).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// With so many it gets no new ones; 0: no limit.
    pub upper: u32,
    /// Until it has fewer than these; 0: than three quarters of `upper`.
    pub lower: u32,
}

impl Limits {
    /// Whether a dest that has `conns`, and is full or not, is full from now on.
    pub fn judge(self, conns: u64, full: bool) -> bool {
        let (upper, lower) = (u64::from(self.upper), u64::from(self.lower));
        let below = if lower == 0 { conns * 4 < upper * 3 } else { conns < lower };
        upper > 0 && (conns >= upper || full && !below)
    }
}

impl Default for Traits {
    /// The kernel's timeout, no clamp, no second choice, nobody is reset.
    fn default() -> Self {
        Self {
            mss: u16::MAX,
            udp_timeout: 300_000,
            replies: 0,
            retries: 0,
            rewrite: true,
            last_hop: false,
            shows_routers: false,
            on_dead: OnDead::Keep,
            on_idle: OnIdle::Forget,
            exhausted: Closed::Drop,
            cuts_outer: false,
            encap: Encap::Ip,
            denied: Closed::Drop,
            target: Target::Dest,
            client_address: ClientAddress::Off,
            tcp_timeouts: (0, 0),
            sctp_timeout: 0,
            limits: Limits::default(),
            ftp: None,
            orphaned: false,
            superseded: false,
        }
    }
}

/// A tunnel to a dest; `Snapshot::index` makes it anew of its source and of what the dest then is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tunnel {
    /// Source of its outer headers.
    pub source: Addr,
    /// What outer headers from there to the dest have in common, where both are of IPv4.
    pub(crate) v4: ipv4::Around,
    /// By family, whether packets need no more than an outer header like their own, which no router may cut.
    pub(crate) plain: [bool; 2],
}

impl Tunnel {
    /// None.
    pub const NONE: Self = Self::to(Addr::UNSPECIFIED, Addr::UNSPECIFIED);

    /// From `source` to a dest's address.
    pub const fn to(source: Addr, dest: Addr) -> Self {
        Self { source, v4: ipv4::Around::of(ipv4::Ends::of(source, dest)), plain: [false; 2] }
    }
}

/// One real server within a service.
#[derive(Clone, PartialEq, Eq, Debug)]
// As counters lie: a dest and its counters are at one distance from where they begin.
#[repr(align(128))]
pub struct Dest {
    /// Address.
    pub addr: Addr,
    /// Port; the service's own under dr and tunnel. 0: the one that the packet is for.
    pub port: u16,
    /// 0: quiesced. Of a removed dest that of the server that stands there by another number, or 0.
    pub weight: u32,
    /// How packets get there.
    pub forward: Forward,
    /// The port its packets leave by.
    pub out: PortId,
    /// The next hop toward it.
    pub hop: Hop,
    /// The largest IP packet on the way there: the port's MTU, less the tunnel's header or
    /// the PROXY protocol's in a datagram.
    pub mtu: u16,
    /// What its service says of its conns.
    pub traits: Traits,
    /// The ends of the tunnel to it.
    pub tunnel: Tunnel,
    /// No longer in any service; serves the conns it has as `Traits::on_dead` says.
    pub removed: bool,
    /// Found dead by who looks after its health; its next hop's silence is seen without this.
    pub dead: bool,
}

const _: () = assert!(size_of::<Dest>() == 128);

impl Dest {
    /// Where a conn's packets go that begins with `t`: to it, or where they were going.
    pub fn endpoint(&self, t: &Tuple) -> (Addr, u16) {
        match self.traits.target {
            Target::Dest if self.port == 0 => (self.addr, t.dport),
            Target::Dest => (self.addr, self.port),
            Target::ByDest | Target::ByRoute => (t.dst, t.dport),
        }
    }

    /// Whether the server was removed, and not only its number: the kernel edits a dest in place, and
    /// its conns go on.
    pub fn is_gone(&self) -> bool {
        self.removed && !self.traits.superseded
    }

    /// Whether it stands at a number that serves nobody.
    pub fn is_nobody(&self) -> bool {
        self.addr.is_unspecified() && self.traits.target != Target::ByRoute
    }
}

/// A dest's place in a service, with what schedulers ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Which dest.
    pub id: DestId,
    /// Its weight.
    pub weight: u32,
    /// Its weight, or the last one that was not 0 (`ip_vs_dest.last_weight`).
    pub last_weight: u32,
}

/// What a service takes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Scope {
    /// What is for its address and port; port 0: for every port there that no other service has.
    #[default]
    Address,
    /// The same of all addresses from its own to this one, each of which may have a service of its
    /// own.
    Range(Addr),
    /// What bears this mark and is of its address's family, TCP, UDP and SCTP alike; its protocol and
    /// port mean nothing.
    Mark(u32),
    /// What a rule for servers' conns lets through (`snat`); protocol, address and port mean
    /// nothing.
    Rule,
}

/// That a client's conns go to one dest (`templates`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Persistence {
    /// Seconds since its last conn began; longer while it has conns.
    pub timeout: u32,
    /// Bits of clients' addresses, counted in their family, that make them one client.
    pub prefix: u8,
}

/// What a service says of conns before they are opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Terms {
    /// Whether and how long a client's conns go to one dest.
    pub persistence: Option<Persistence>,
    /// UDP: a conn ends with the datagram that opens it (ipvsadm's ops).
    pub one_packet: bool,
    /// TCP clients get a reset, and SCTP clients an ABORT, not ICMP, where no dest is left.
    pub resets: bool,
    /// Its ends speak FTP: data conns that its control conns announce are let through, nat and
    /// full-NAT only.
    pub ftp: bool,
}

impl Terms {
    /// `Service::goes_by_client` of one whose dests have these methods.
    pub fn goes_by_client(&self, methods: Methods) -> bool {
        self.ftp || methods.has(Forward::Nat)
    }
}

/// A service.
#[derive(Clone, PartialEq, Debug)]
pub struct Service {
    /// Stable number.
    pub id: ServiceId,
    /// Protocol.
    pub proto: Proto,
    /// VIP, or the first of them.
    pub addr: Addr,
    /// Port.
    pub port: u16,
    /// What it takes.
    pub scope: Scope,
    /// Method of a service without dests.
    pub forward: Forward,
    /// Methods of its dests, which decide who owns its conns; filled by `Snapshot::index`.
    pub methods: Methods,
    /// Which of the snapshot's pools gives it local addresses, full-NAT only; none there: those of
    /// the port that its packets leave by.
    pub pool: Option<usize>,
    /// Clients that tell the dest by themselves (upstream proxies): `client_address` is off for
    /// them.
    pub proxy_in: Vec<Prefix>,
    /// What it says of conns before they are opened.
    pub terms: Terms,
    /// Scheduler, with the tables it builds from the dests.
    pub sched: Sched,
    /// Dests in the kernel's order: the newest first (`ip_vs_add_dest` adds at the list's head).
    pub dests: Vec<Candidate>,
    /// Changes when `sched` or `dests` do; schedulers then take up their change rule.
    pub version: u32,
}

impl Service {
    /// Whether all of a client belongs to one worker: what comes back under nat, and what FTP's ends
    /// announce, has nothing else in common with what the client sends.
    pub fn goes_by_client(&self) -> bool {
        self.terms.goes_by_client(self.methods)
    }

    /// Whether a conn of it can begin without its first segment; under full-NAT, whose numbers are its
    /// own, none can.
    pub fn may_begin_midway(&self) -> bool {
        self.methods.only() != Some(Forward::FullNat)
    }

    /// Whether it is what a rule for servers' conns opens them with (`snat`), and no service of its
    /// own.
    pub fn is_rule(&self) -> bool {
        self.scope == Scope::Rule
    }
}
