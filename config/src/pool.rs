//! Pools of local addresses.

use crate::prefix::bits;
use crate::prefix::same_family;
use crate::prefix::with_bits;
use std::fmt;
use std::net::IpAddr;

/// Addresses a pool may hold, all ranges together.
pub(crate) const MAX_ADDRESSES: u128 = 65_536;

/// A named pool of local addresses for full-NAT.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pool {
    /// Its name, unique among pools.
    pub name: String,
    /// Whether it may hold addresses that are also VIPs or a port's own.
    pub shared: bool,
    /// Its addresses in the order of the file; no address is in two ranges. At most 65,536
    /// addresses in all.
    pub ranges: Vec<AddressRange>,
}

impl Pool {
    /// Every address, in the order of the file.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.ranges.iter().flat_map(AddressRange::iter)
    }

    /// Whether `address` is in the pool.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }
}

/// Consecutive addresses of one family, at least one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// `None` if the families differ or `last` is below `first`.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (same_family(first, last) && first <= last).then_some(Self { first, last })
    }

    /// The lowest address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The highest address, included.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// How many addresses; `u128::MAX` for all of IPv6.
    #[must_use]
    pub fn count(&self) -> u128 {
        (bits(self.last) - bits(self.first)).saturating_add(1)
    }

    /// Whether `address` is of this family and inside.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        same_family(self.first, address) && self.first <= address && address <= self.last
    }

    /// Every address, in rising order.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let first = self.first;
        (bits(self.first)..=bits(self.last)).map(move |number| with_bits(first, number))
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(f)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: &str, last: &str) -> Option<AddressRange> {
        AddressRange::new(first.parse().unwrap(), last.parse().unwrap())
    }

    #[test]
    fn counts_and_lists_across_an_octet() {
        let range = range("10.2.0.254", "10.2.1.1").unwrap();
        let listed: Vec<String> = range.iter().map(|address| address.to_string()).collect();
        assert_eq!(listed, ["10.2.0.254", "10.2.0.255", "10.2.1.0", "10.2.1.1"]);
        assert_eq!(range.count(), 4);
        assert_eq!(range.to_string(), "10.2.0.254-10.2.1.1");
    }

    #[test]
    fn may_be_all_of_a_family() {
        let all = range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").unwrap();
        assert_eq!(all.count(), u128::MAX);
        assert_eq!(range("0.0.0.0", "255.255.255.255").unwrap().count(), 1 << 32);
    }

    #[test]
    fn refuses_mixed_and_reversed() {
        assert_eq!(range("10.0.0.1", "::1"), None);
        assert_eq!(range("10.0.0.2", "10.0.0.1"), None);
    }
}
