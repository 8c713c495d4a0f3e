//! Every way a packet can end that is not being sent on, by name.
//!
//! The names are the counters of `status`; the conservation law (see `stats`) is made of them.

macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum $name {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $name {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// Its name in `status` and in logs.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// What it means, for people.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)+ }
            }
        }
    };
}

reasons! {
/// Why a frame was dropped.
DropReason {
    // The frame itself.
    /// Shorter than the headers it announces.
    Truncated = "truncated",
    /// Unicast Ethernet destination that is not this port.
    WrongMac = "wrong-mac",
    /// VLAN tag absent, or another than the port's.
    WrongVlan = "wrong-vlan",
    /// An EtherType other than IPv4, IPv6 and ARP.
    EtherType = "ether-type",
    /// IP header with a wrong version or lengths that contradict each other.
    IpHeader = "ip-header",
    /// IPv4 header checksum is wrong.
    IpChecksum = "ip-checksum",
    /// IPv4 options that are malformed or ask for source routing.
    IpOptions = "ip-options",
    /// IPv6 extension headers: too many, malformed, or a routing header.
    ExtensionHeaders = "extension-headers",
    /// A source address no packet may carry (unspecified, multicast, loopback, v4-mapped, a VIP of ours).
    Martian = "martian",
    /// A fragment that overlaps another one of its datagram, or whose datagram had such a one.
    FragmentOverlap = "fragment-overlap",
    /// A first fragment too short for the transport header.
    FragmentTiny = "fragment-tiny",
    /// A datagram in too many pieces, or one piece too many waiting for first fragments.
    FragmentFlood = "fragment-flood",
    /// A fragment whose datagram's first one did not come in time, or was refused.
    FragmentOrphan = "fragment-orphan",
    /// A transport protocol the director does not carry.
    Protocol = "protocol",
    /// TCP, UDP or SCTP header that is malformed: data offset, length, port 0.
    TransportHeader = "transport-header",
    /// UDP over IPv6 without a checksum (RFC 8200 section 8.1), or in v4 fragments on its way to v6.
    NoChecksum = "no-checksum",
    /// SCTP whose checksum is wrong where nat or full-NAT would have to give it a new one.
    SctpChecksum = "sctp-checksum",
    /// A first fragment of SCTP that nat or full-NAT would change: its checksum is over the whole packet.
    SctpFragment = "sctp-fragment",
    /// ICMP that is malformed, has a wrong checksum, or quotes something unreadable.
    Icmp = "icmp",
    /// ICMP that is no error, no echo request, and no reply to an echo that passed.
    IcmpType = "icmp-type",
    /// Neighbour discovery or MLD that did not come from this link, or is malformed.
    NeighbourMessage = "neighbour-message",
    /// Multicast or broadcast that is none of the director's business.
    Multicast = "multicast",
    // Where it wants to go.
    /// Addressed to nobody the director knows.
    NotOurs = "not-ours",
    /// To a VIP, own or pool address, on a port where nothing listens.
    ClosedPort = "closed-port",
    /// TCP or SCTP to a service that neither belongs to a conn nor opens one.
    NotSyn = "not-syn",
    /// An ICMP error about a conn the director does not know.
    IcmpUnknown = "icmp-unknown",
    /// An ICMP error of which the family on the other side has no like (RFC 7915).
    IcmpFamily = "icmp-family",
    /// TCP signed over what nat and full-NAT change (MD5, AO).
    Signed = "signed",
    /// Of a conn that the director has reset at both ends.
    ConnReset = "conn-reset",
    /// A client's, to a dest that was removed or is dead, and whose service says drop.
    DeadDest = "dead-dest",
    /// A dest's refusal of a SYN, kept from the client, whose next SYN goes to another dest.
    SecondChoice = "second-choice",
    /// Of a client that an access list denies, and of no conn.
    Denied = "denied",
    /// The service has no dest that may take a new conn.
    NoDest = "no-dest",
    /// Every local address and port toward the dest is in use.
    NoLease = "no-lease",
    /// Of a conn that has ended and whose local port serves another one.
    LateSegment = "late-segment",
    /// Under nat, another conn of this client already answers from each dest tried.
    ReplyClash = "reply-clash",
    /// The conn table is full.
    TableFull = "table-full",
    /// Would have opened a conn, and was dropped to defend against a flood (`drop_packet`).
    Defended = "defended",
    /// FTP's, which cannot be changed yet: what was changed before is not acknowledged, or it came in
    /// fragments.
    HelperBusy = "helper-busy",
    /// The table of persistence templates is full.
    TemplatesFull = "templates-full",
    /// Would have opened a conn between two workers of which one has yet to take the newest configuration.
    Reloading = "reloading",
    // On its way out.
    /// TTL or hop limit used up.
    TtlExceeded = "ttl-exceeded",
    /// Larger than the way out carries and not to be fragmented.
    TooBig = "too-big",
    /// No route to where it should go.
    NoRoute = "no-route",
    /// The next hop does not answer.
    NeighbourDead = "neighbour-dead",
    /// Waited for a next hop, and newer frames needed the place.
    HeldOverflow = "held-overflow",
    /// The way out needs more headroom than the frame has.
    NoHeadroom = "no-headroom",
    /// No free frame to fragment into, or to answer with.
    NoFrame = "no-frame",
    /// The port's transmit queue was full.
    TxFull = "tx-full",
    /// The ring to the owning worker was full.
    HandoverFull = "handover-full",
    /// The ring to the control thread was full.
    ControlFull = "control-full",
}
}

reasons! {
/// A frame the director itself made.
Made {
    /// TCP reset or SCTP ABORT, as a host would answer.
    Reset = "reset",
    /// TCP reset to an end of a conn whose dest was removed or died, or that was silent too long.
    ConnReset = "conn-reset",
    /// ICMP echo reply.
    EchoReply = "echo-reply",
    /// ICMP destination unreachable, or ICMPv6 parameter problem about a protocol that is not spoken.
    Unreachable = "unreachable",
    /// ICMP time exceeded.
    TimeExceeded = "time-exceeded",
    /// ICMP fragmentation needed or packet too big.
    TooBig = "too-big",
    /// A further fragment of a frame.
    Fragment = "fragment",
    /// A segment with a PROXY protocol header.
    ProxyHeader = "proxy-header",
    /// A frame of the control thread: ARP, neighbour discovery, MLD.
    Control = "control",
}
}

reasons! {
/// A frame the director took in without sending it on.
Consumed {
    /// ICMP echo request to an address of ours, answered.
    EchoRequest = "echo-request",
    /// ICMP error that says what a tunnel of ours carries, and not to which client.
    TunnelMtu = "tunnel-mtu",
}
}

/// What the director answers to a packet it does not send on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Nothing.
    Silence,
    /// TCP reset (RFC 9293 section 3.10.7.1), or of SCTP ABORT (RFC 9260 section 8.4).
    Reset,
    /// ICMP port unreachable.
    PortUnreachable,
    /// ICMP protocol unreachable (v4) or parameter problem (v6).
    ProtocolUnreachable,
    /// ICMP net unreachable (v4) or no route (v6).
    NetUnreachable,
    /// ICMP time exceeded in transit.
    TimeExceeded,
    /// ICMP fragmentation needed or packet too big, with the MTU.
    TooBig(u16),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_numbers_dense() {
        let mut names: Vec<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::COUNT);
        for (i, r) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*r as usize, i);
        }
        assert!(DropReason::ALL.iter().all(|r| r.name() != "other"));
    }
}
