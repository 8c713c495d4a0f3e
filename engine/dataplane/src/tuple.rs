//! Addresses and the tuple that names one direction of a flow.
//!
//! One address type serves both families: a v4 address is kept as its v4-mapped v6 form (RFC 4291
//! section 2.5.5.2), which never appears on the wire as such (`parse` refuses it), so the mapping
//! is unambiguous and everything above the wire layer is one code.

use core::fmt;
use core::net::IpAddr;
use core::net::Ipv4Addr;
use core::net::Ipv6Addr;

const V4_MAPPED: u128 = 0xffff << 32;

/// An IPv4 or IPv6 address; v4 in v4-mapped form, as a number in host order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Addr(u128);

impl Addr {
    /// `::`, which stands for "none".
    pub const UNSPECIFIED: Self = Self(0);

    /// From the number of an IPv4 address (host order).
    #[inline(always)]
    pub const fn v4(bits: u32) -> Self {
        Self(V4_MAPPED | bits as u128)
    }

    /// From the number of an IPv6 address (host order).
    #[inline(always)]
    pub const fn v6(bits: u128) -> Self {
        Self(bits)
    }

    /// Every address from this one to `last`.
    pub fn up_to(self, last: Self) -> impl Iterator<Item = Self> {
        (self.0..=last.0).map(Self)
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        self.0 >> 32 == 0xffff
    }

    /// The IPv4 address as a number; meaningful where `is_v4`.
    #[inline(always)]
    pub const fn v4_bits(self) -> u32 {
        self.0 as u32
    }

    /// All 128 bits, v4 in mapped form.
    #[inline(always)]
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// Its halves upon each other: what tells addresses apart where it need not be all of them.
    #[inline(always)]
    pub(crate) const fn folded(self) -> u64 {
        self.0 as u64 ^ (self.0 >> 64) as u64
    }

    /// Which family.
    #[inline(always)]
    pub const fn family(self) -> Family {
        if self.is_v4() { Family::V4 } else { Family::V6 }
    }

    /// `::` or `0.0.0.0`.
    pub const fn is_unspecified(self) -> bool {
        self.0 == 0 || self.0 == V4_MAPPED
    }

    /// 224.0.0.0/4 or ff00::/8.
    #[inline(always)]
    pub const fn is_multicast(self) -> bool {
        if self.is_v4() { self.v4_bits() >> 28 == 0xe } else { self.0 >> 120 == 0xff }
    }

    /// 127.0.0.0/8 or `::1`.
    pub const fn is_loopback(self) -> bool {
        if self.is_v4() { self.v4_bits() >> 24 == 127 } else { self.0 == 1 }
    }

    /// 255.255.255.255.
    pub const fn is_limited_broadcast(self) -> bool {
        self.0 == V4_MAPPED | 0xffff_ffff
    }

    /// 169.254.0.0/16 or fe80::/10.
    pub const fn is_link_local(self) -> bool {
        if self.is_v4() { self.v4_bits() >> 16 == 0xa9fe } else { self.is_link_local_v6() }
    }

    /// fe80::/10.
    pub const fn is_link_local_v6(self) -> bool {
        self.0 >> 118 == 0x3fa
    }

    /// A source no packet may carry: unspecified, multicast, loopback, limited broadcast
    /// (RFC 1812 section 5.3.7, RFC 4291 section 2.7).
    #[inline(always)]
    pub const fn is_martian_source(self) -> bool {
        if self.is_v4() {
            let top = self.v4_bits() >> 24;
            // 0/8, 127/8, 224/4 and 240/4 (which holds the broadcast address).
            top == 0 || top == 127 || top >= 224
        } else {
            self.0 <= 1 || self.0 >> 120 == 0xff
        }
    }
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(a) => Self::v4(a.to_bits()),
            IpAddr::V6(a) => Self::v6(a.to_bits()),
        }
    }
}

impl From<Addr> for IpAddr {
    fn from(addr: Addr) -> Self {
        if addr.is_v4() {
            Self::V4(Ipv4Addr::from_bits(addr.v4_bits()))
        } else {
            Self::V6(Ipv6Addr::from_bits(addr.0))
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Address family.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// An address prefix of either family.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Prefix {
    addr: Addr,
    /// Its bits that say something.
    mask: u128,
    /// Length in the 128-bit space: a v4 /24 is 120 here.
    len: u8,
}

impl Prefix {
    /// A prefix with `len` counted in the address's own family (0..=32 or 0..=128; longer is cut);
    /// bits beyond it are cleared.
    pub fn new(addr: Addr, len: u8) -> Self {
        let len = if addr.is_v4() { 96 + len.min(32) } else { len.min(128) };
        let mask = if len == 0 { 0 } else { u128::MAX << (128 - len) };
        Self { addr: Addr(addr.0 & mask), mask, len }
    }

    /// Whether `addr` lies in the prefix; never true across families.
    #[inline]
    pub fn contains(self, addr: Addr) -> bool {
        // Mapped addresses begin alike, and of IPv6 a short prefix may.
        (addr.0 ^ self.addr.0) & self.mask == 0 && (self.len >= 96 || !addr.is_v4())
    }

    /// Its first address.
    pub fn addr(self) -> Addr {
        self.addr
    }

    /// Its first and its last address.
    pub fn range(self) -> (Addr, Addr) {
        (self.addr, Addr(self.addr.0 | !self.mask))
    }

    /// Length counted in the prefix's own family.
    pub fn len(self) -> u8 {
        if self.addr.is_v4() { self.len - 96 } else { self.len }
    }

    /// Whether this is the prefix of length 0, which holds its whole family.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The v4 directed broadcast address of a prefix shorter than /31.
    pub fn broadcast(self) -> Option<Addr> {
        (self.addr.is_v4() && self.len < 127).then_some(Addr(self.addr.0 | !self.mask))
    }
}

/// A protocol that a tuple can have, by its IANA number. Services are TCP, UDP or SCTP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Proto {
    /// RFC 792; ports as for `Icmpv6`.
    Icmp = 1,
    /// RFC 9293.
    Tcp = 6,
    /// RFC 768.
    Udp = 17,
    /// RFC 4443; an echo's identifier stands for the port of who asks (RFC 5508 section 3.1), all
    /// other ports are 0.
    Icmpv6 = 58,
    /// RFC 9260.
    Sctp = 132,
}

impl Proto {
    /// The protocol of an IANA number, if it has one here.
    #[inline(always)]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Icmp),
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            58 => Some(Self::Icmpv6),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Icmpv6 => "icmpv6",
            Self::Sctp => "sctp",
        })
    }
}

/// An IPv4 tuple of TCP or UDP as a packet holds it, which is quicker to read, hash and compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Narrow {
    /// Source and destination address, eight bytes as they stand in memory.
    pub addrs: u64,
    /// Source and destination port, four bytes likewise.
    pub ports: u32,
    /// Protocol.
    pub proto: Proto,
}

impl Narrow {
    /// Of a tuple of IPv4.
    #[inline(always)]
    pub fn of(t: &Tuple) -> Self {
        let addrs = (t.src.v4_bits() as u64) << 32 | t.dst.v4_bits() as u64;
        let ports = (t.sport as u32) << 16 | t.dport as u32;
        Self { addrs: addrs.to_be(), ports: ports.to_be(), proto: t.proto }
    }
}

impl From<Narrow> for Tuple {
    #[inline(always)]
    fn from(n: Narrow) -> Self {
        let (addrs, ports) = (u64::from_be(n.addrs), u32::from_be(n.ports));
        Self {
            src: Addr::v4((addrs >> 32) as u32),
            dst: Addr::v4(addrs as u32),
            sport: (ports >> 16) as u16,
            dport: ports as u16,
            proto: n.proto,
        }
    }
}

/// One direction of a flow as it stands in a packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tuple {
    /// Source address.
    pub src: Addr,
    /// Destination address, of the same family.
    pub dst: Addr,
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Protocol.
    pub proto: Proto,
}

impl Tuple {
    /// The tuple of the answer.
    #[inline]
    pub const fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            sport: self.dport,
            dport: self.sport,
            proto: self.proto,
        }
    }
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (src, dst) = (IpAddr::from(self.src), IpAddr::from(self.dst));
        let end = |ip, port| core::net::SocketAddr::new(ip, port);
        write!(f, "{} {} -> {}", self.proto, end(src, self.sport), end(dst, self.dport))
    }
}

/// Keyed hash of tuples. Client tuples are chosen by strangers, so the keys are secret and made
/// anew for each process; two folded 64 x 64 multiplies, as good as the table needs.
#[derive(Clone, Copy, Debug)]
pub struct Hasher {
    keys: [u64; 4],
}

impl Hasher {
    /// A hasher from a secret.
    pub fn new(secret: [u64; 4]) -> Self {
        // Odd keys: a zero key would swallow its operand.
        Self { keys: secret.map(|k| k | 1) }
    }

    /// Hash of a tuple. All 64 bits are usable.
    #[inline]
    pub fn tuple(&self, t: &Tuple) -> u64 {
        self.tuple_of(t.dst.family(), t)
    }

    /// The same of a tuple whose family is known.
    #[inline(always)]
    pub fn tuple_of(&self, family: Family, t: &Tuple) -> u64 {
        if family == Family::V4 {
            return self.narrow(&Narrow::of(t));
        }
        let ports = (t.sport as u32) << 16 | t.dport as u32;
        let ports = (ports as u64) << 32 | t.proto as u64;
        let a = fold(t.src.0 as u64 ^ self.keys[0], (t.src.0 >> 64) as u64 ^ self.keys[1]);
        let b = fold(t.dst.0 as u64 ^ self.keys[2], (t.dst.0 >> 64) as u64 ^ self.keys[3]);
        self.finish(fold(a ^ ports, b ^ self.keys[1]))
    }

    /// The same of an IPv4 tuple.
    #[inline(always)]
    pub fn narrow(&self, n: &Narrow) -> u64 {
        self.words(n.addrs, n.ports, n.proto as u8)
    }

    /// The same of its fields, the protocol by its number.
    #[inline(always)]
    pub(crate) fn words(&self, addrs: u64, ports: u32, proto: u8) -> u64 {
        let ports = (ports as u64) << 32 | proto as u64;
        self.finish(fold(addrs ^ self.keys[0], ports ^ self.keys[1]))
    }

    /// Hash of one address.
    #[inline]
    pub fn addr(&self, a: Addr) -> u64 {
        self.finish(fold(a.0 as u64 ^ self.keys[0], (a.0 >> 64) as u64 ^ self.keys[1]))
    }

    #[inline(always)]
    fn finish(&self, h: u64) -> u64 {
        fold(h ^ self.keys[2], self.keys[3])
    }
}

/// All of a product, in half its bits.
#[inline(always)]
pub(crate) fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128).wrapping_mul(b as u128);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(s: &str) -> Addr {
        s.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn families_do_not_mix() {
        assert!(addr("10.0.0.1").is_v4());
        assert!(!addr("::10.0.0.1").is_v4());
        assert!(!Prefix::new(addr("::"), 0).contains(addr("10.0.0.1")));
        assert!(Prefix::new(addr("0.0.0.0"), 0).contains(addr("10.0.0.1")));
        assert_eq!(addr("10.0.0.1").to_string(), "10.0.0.1");
        assert_eq!(addr("2001:db8::1").to_string(), "2001:db8::1");
    }

    #[test]
    fn prefixes() {
        let p = Prefix::new(addr("10.1.2.3"), 24);
        assert!(p.contains(addr("10.1.2.255")) && !p.contains(addr("10.1.3.0")));
        assert_eq!(p.broadcast(), Some(addr("10.1.2.255")));
        assert_eq!(Prefix::new(addr("10.1.2.2"), 31).broadcast(), None);
        assert_eq!(p.len(), 24);
        assert!(Prefix::new(addr("fe80::1"), 10).contains(addr("fe80::2")));
    }

    #[test]
    fn martians() {
        for a in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"] {
            assert!(addr(a).is_martian_source(), "{a}");
        }
        for a in ["10.0.0.1", "223.255.255.255", "fe80::1", "2001:db8::1"] {
            assert!(!addr(a).is_martian_source(), "{a}");
        }
        assert!(addr("fe80::1").is_link_local_v6() && !addr("fec0::1").is_link_local_v6());
    }

    #[test]
    fn hash_tells_directions_apart() {
        let h = Hasher::new([1, 2, 3, 4]);
        for (a, b) in [("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2")] {
            let t = Tuple { src: addr(a), dst: addr(b), sport: 1, dport: 2, proto: Proto::Tcp };
            assert_ne!(h.tuple(&t), h.tuple(&t.reversed()));
            assert_eq!(h.tuple(&t), h.tuple(&t.reversed().reversed()));
        }
    }
}
