//! An address with a prefix length.

use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

/// An address and the length of its prefix, as written: `10.1.0.254/24` keeps its host bits.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// `None` if `length` is more than 32 (IPv4) or 128 (IPv6) bits.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        (u32::from(length) <= width(address)).then_some(Self { address, length })
    }

    /// One address alone.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// The address as written, host bits included.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Bits of the prefix: 0 to 32 or 0 to 128.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }

    /// The prefix with its host bits zero.
    #[must_use]
    pub fn network(&self) -> Self {
        Self {
            address: with_bits(self.address, bits(self.address) & !self.host_mask()),
            length: self.length,
        }
    }

    /// Its lowest address: all host bits zero.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.network().address
    }

    /// Its highest address: all host bits one (the broadcast address, in IPv4).
    #[must_use]
    pub fn last(&self) -> IpAddr {
        with_bits(self.address, bits(self.address) | self.host_mask())
    }

    /// Whether `address` is of this family and inside.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        same_family(self.address, address)
            && (bits(self.address) ^ bits(address)) & !self.host_mask() == 0
    }

    /// Whether an address lies in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        if self.length <= other.length {
            self.contains(other.address)
        } else {
            other.contains(self.address)
        }
    }

    /// Whether `address` is the network or the broadcast address of this IPv4 prefix. Prefixes of
    /// 31 bits (RFC 3021) and 32 bits have none, and neither has IPv6.
    pub(crate) fn reserves(&self, address: IpAddr) -> bool {
        self.address.is_ipv4()
            && self.length < 31
            && (address == self.first() || address == self.last())
    }

    fn host_mask(&self) -> u128 {
        let host_bits = width(self.address) - u32::from(self.length);
        1u128.checked_shl(host_bits).map_or(u128::MAX, |end| end - 1)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// The address as a number: 32 bits for IPv4, 128 for IPv6.
pub(crate) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// The address of the family of `like` with the number `bits`; what IPv4 has no room for is cut
/// off.
pub(crate) fn with_bits(like: IpAddr, bits: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from((bits & u128::from(u32::MAX)) as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from(bits).into(),
    }
}

/// Whether both are IPv4 or both IPv6.
pub(crate) fn same_family(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4()
}

/// `IPv4` or `IPv6`.
pub(crate) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        let (address, length) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn contains_its_family_only() {
        assert!(prefix("10.1.0.254/24").contains(ip("10.1.0.1")));
        assert!(!prefix("10.1.0.254/24").contains(ip("10.1.1.1")));
        assert!(prefix("0.0.0.0/0").contains(ip("255.255.255.255")));
        assert!(!prefix("0.0.0.0/0").contains(ip("::")));
        assert!(prefix("::/0").contains(ip("ffff::")));
        assert!(!prefix("::/0").contains(ip("0.0.0.0")));
        assert!(prefix("2001:db8::1/128").contains(ip("2001:db8::1")));
        assert!(!prefix("2001:db8::1/128").contains(ip("2001:db8::")));
    }

    #[test]
    fn has_ends() {
        assert_eq!(prefix("10.1.0.254/24").first(), ip("10.1.0.0"));
        assert_eq!(prefix("10.1.0.254/24").last(), ip("10.1.0.255"));
        assert_eq!(prefix("2001:db8::5/127").last(), ip("2001:db8::5"));
        assert_eq!(prefix("::1/0").last(), ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
        assert_eq!(prefix("1.2.3.4/0").last(), ip("255.255.255.255"));
        assert_eq!(prefix("10.1.0.254/24").network().to_string(), "10.1.0.0/24");
    }

    #[test]
    fn overlaps_both_ways() {
        assert!(prefix("10.0.0.0/8").overlaps(&prefix("10.1.0.0/16")));
        assert!(prefix("10.1.0.0/16").overlaps(&prefix("10.0.0.0/8")));
        assert!(!prefix("10.1.0.0/16").overlaps(&prefix("10.2.0.0/16")));
        assert!(!prefix("0.0.0.0/0").overlaps(&prefix("::/0")));
    }

    #[test]
    fn reserves_network_and_broadcast_of_ipv4() {
        assert!(prefix("10.1.0.254/24").reserves(ip("10.1.0.255")));
        assert!(prefix("10.1.0.254/24").reserves(ip("10.1.0.0")));
        assert!(!prefix("10.1.0.254/31").reserves(ip("10.1.0.254")));
        assert!(!prefix("2001:db8::/64").reserves(ip("2001:db8::")));
    }

    #[test]
    fn refuses_lengths_the_family_has_not() {
        assert_eq!(Prefix::new(ip("10.0.0.0"), 33), None);
        assert_eq!(Prefix::new(ip("::"), 129), None);
    }
}
