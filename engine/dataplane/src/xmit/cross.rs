//! From one family to the other (RFC 7915), for full-NAT between a VIP and a dest of different
//! families. The transport segment stays where it is and has its new ports, numbers and checksum
//! by then; the IP header before it is exchanged for one of the other family.

use crate::frame::Frame;
use crate::parse;
use crate::parse::Parsed;
use crate::tuple::Addr;
use crate::tuple::Family;
use crate::wire::checksum;
use crate::wire::get16;
use crate::wire::get32;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::wire::put16;
use crate::wire::put32;
use crate::wire::udp;

/// Up to this length a v4 packet made of a v6 one may be cut on its way: its sender takes it for
/// one of the smallest MTU of IPv6 (RFC 7915 section 5.1).
const MAY_CUT: usize = ipv6::MIN_MTU - ipv6::LEN + ipv4::LEN;
/// Length of IPv6's fragment header.
const FRAGMENT_HEADER: usize = 8;
/// Payload of the fragments that v4 packets are cut into: what every v6 link carries.
const CUT: usize = ipv6::MIN_MTU - ipv6::LEN - FRAGMENT_HEADER;

/// A fragment's place in its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its first byte, a multiple of 8.
    pub from: u16,
    /// More follow.
    pub more: bool,
    /// Identification of the datagram.
    pub id: u32,
}

/// What headers of both families say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Family it was read in.
    pub family: Family,
    /// Type of service or traffic class.
    pub tos: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Number of the transport.
    pub number: u8,
    /// Not to be cut on its way; of v6 packets always so.
    pub whole: bool,
    /// Where it is a fragment.
    pub place: Option<Place>,
    /// Bytes from the transport header on.
    pub payload: usize,
}

/// How a packet fits its way in the other family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fit {
    /// As it is.
    Whole,
    /// A v4 packet, when cut into such of this length before it becomes v6.
    Cut(usize),
    /// Not at all: the MTU to tell its sender, in his family.
    TooBig(u16),
}

impl Header {
    /// Reads the header of a packet whose transport begins at `l4` and has this number. Options
    /// and extension headers are passed over (RFC 7915 sections 4.1 and 5.1). A fragment header
    /// that says it is first and last is none (RFC 6946).
    pub fn read(packet: &[u8], l3: usize, l4: usize, family: Family, number: u8) -> Self {
        let ip = &packet[l3..];
        match family {
            Family::V4 => {
                let flags = get16(ip, ipv4::FRAGMENT);
                let (from, more) = ((flags & ipv4::OFFSET) * 8, flags & ipv4::MF != 0);
                let place = Place { from, more, id: get16(ip, ipv4::ID).into() };
                Self {
                    family,
                    tos: ip[ipv4::TOS],
                    ttl: ip[ipv4::TTL],
                    number,
                    whole: flags & ipv4::DF != 0,
                    place: (more || from > 0).then_some(place),
                    payload: usize::from(get16(ip, ipv4::TOTAL)).saturating_sub(l4 - l3),
                }
            }
            Family::V6 => {
                let place = parse::v6_fragment(packet, l3, l4).map(|at| {
                    let flags = get16(packet, at + 2);
                    let (from, more) = (flags & ipv6::OFFSET, flags & ipv6::MORE != 0);
                    Place { from, more, id: get32(packet, at + 4) }
                });
                let extensions = l4 - l3 - ipv6::LEN;
                Self {
                    family,
                    tos: ipv6::traffic_class(ip),
                    ttl: ip[ipv6::HOP_LIMIT],
                    number,
                    whole: true,
                    place,
                    payload: usize::from(get16(ip, ipv6::PAYLOAD)).saturating_sub(extensions),
                }
            }
        }
    }

    /// The header of a frame.
    pub fn of(frame: &[u8], p: &Parsed) -> Self {
        Self::read(frame, p.l3.into(), p.l4.into(), p.family, p.tuple.proto as u8)
    }

    /// Length of the header it becomes in the other family.
    pub(super) fn other_len(&self) -> usize {
        match (self.family, self.place) {
            (Family::V6, _) => ipv4::LEN,
            (Family::V4, None) => ipv6::LEN,
            (Family::V4, Some(_)) => ipv6::LEN + FRAGMENT_HEADER,
        }
    }

    /// Whether its packet, with an IP header of `header_len`, fits a way of `mtu` in the other
    /// family. It will grow by `by` on its way, of which the MTU knows already.
    pub fn fit(&self, header_len: usize, mtu: usize, by: usize) -> Fit {
        let len = self.other_len() + self.payload;
        let told = |mtu: usize| Fit::TooBig(mtu.min(u16::MAX.into()) as u16);
        match (self.family, self.whole) {
            (Family::V4, true) if len > mtu => {
                told((mtu + ipv4::LEN).saturating_sub(self.other_len()))
            }
            // What a sender lets be cut he will not learn an MTU for, and v6 routers do not cut
            // (RFC 7915 section 4).
            (Family::V4, false) if len + by > ipv6::MIN_MTU => Fit::Cut(header_len + CUT),
            // Smaller ones are cut on their way out.
            (Family::V6, _) if len > mtu && len > MAY_CUT && self.place.is_none() => {
                told((mtu + ipv6::LEN - ipv4::LEN).max(ipv6::MIN_MTU))
            }
            _ => Fit::Whole,
        }
    }

    /// Writes it as a header of the other family before the transport at `l4`, and gives the place
    /// where it begins. `id` serves what is no fragment yet; `by` is what the packet has grown by.
    /// None where the headroom does not suffice.
    pub fn write<F: Frame>(
        &self,
        frame: &mut F,
        l4: usize,
        (src, dst): (Addr, Addr),
        (id, by): (u16, u16),
    ) -> Option<usize> {
        let l4 = room(frame, l4, self.other_len())?;
        let l3 = l4 - self.other_len();
        let ip = &mut frame.data_mut()[l3..];
        match self.family {
            Family::V6 => self.as_v4((src, dst), (id, by)).write(ip),
            Family::V4 => {
                self.as_v6((src, dst)).write(ip);
                if let Some(place) = self.place {
                    let header = &mut ip[ipv6::LEN..];
                    [header[0], header[1]] = [self.number, 0];
                    put16(header, 2, place.from | if place.more { ipv6::MORE } else { 0 });
                    put32(header, 4, place.id);
                }
            }
        }
        Some(l3)
    }

    fn as_v4(&self, (src, dst): (Addr, Addr), (id, by): (u16, u16)) -> ipv4::Header {
        let total = ipv4::LEN + self.payload;
        let (id, fragment) = match self.place {
            Some(p) => (p.id as u16, (p.from / 8) | if p.more { ipv4::MF } else { 0 }),
            None => (id, if total > MAY_CUT + usize::from(by) { ipv4::DF } else { 0 }),
        };
        let (total, protocol) = (total as u16, other_number(self.number));
        let (tos, ttl, ends) = (self.tos, self.ttl, ipv4::Ends::of(src, dst));
        ipv4::Header { tos, total, id, fragment, ttl, protocol, ends }
    }

    fn as_v6(&self, (src, dst): (Addr, Addr)) -> ipv6::Header {
        let next = match self.place {
            Some(_) => ipv6::FRAGMENT,
            None => other_number(self.number),
        };
        let payload = (self.other_len() - ipv6::LEN + self.payload) as u16;
        ipv6::Header { traffic_class: self.tos, payload, next, hop_limit: self.ttl, src, dst }
    }
}

/// ICMP's number differs.
fn other_number(number: u8) -> u8 {
    match number {
        ipv4::ICMP => ipv6::ICMPV6,
        ipv6::ICMPV6 => ipv4::ICMP,
        same => same,
    }
}

/// Sees to it that `n` bytes lie before `at`, and gives where `at` is then.
pub(super) fn room<F: Frame>(frame: &mut F, at: usize, n: usize) -> Option<usize> {
    if at >= n {
        return Some(at);
    }
    frame.prepend(n - at).then_some(n)
}

/// A v4 datagram without a checksum gets one, which v6 demands (RFC 7915 section 4.5). `segment`
/// has the ports it goes out with.
pub fn give_checksum(segment: &mut [u8], (src, dst): (Addr, Addr)) {
    if get16(segment, udp::CHECKSUM) != 0 {
        return;
    }
    let len = usize::from(get16(segment, udp::LENGTH)).clamp(udp::LEN, segment.len());
    let pseudo = checksum::pseudo(src, dst, crate::tuple::Proto::Udp as u8, len);
    let sum = checksum::finish(checksum::sum(&segment[..len], pseudo));
    put16(segment, udp::CHECKSUM, if sum == 0 { 0xffff } else { sum });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(family: Family, whole: bool, payload: usize, piece: bool) -> Header {
        let place = piece.then_some(Place { from: 8, more: true, id: 7 });
        Header { family, tos: 0, ttl: 9, number: 17, whole, place, payload }
    }

    #[test]
    fn v4_with_df_learns_an_mtu_less_what_the_header_grows_by() {
        let fits = |payload, piece| header(Family::V4, true, payload, piece).fit(20, 1400, 0);
        assert_eq!(fits(1360, false), Fit::Whole);
        assert_eq!(fits(1361, false), Fit::TooBig(1380));
        assert_eq!(fits(1352, true), Fit::Whole);
        assert_eq!(fits(1360, true), Fit::TooBig(1372));
    }

    #[test]
    fn v4_without_df_is_cut_to_what_every_v6_link_carries() {
        let fits = |payload, piece| header(Family::V4, false, payload, piece).fit(24, 1500, 0);
        assert_eq!(fits(1240, false), Fit::Whole);
        assert_eq!(fits(1241, false), Fit::Cut(24 + 1232));
        assert_eq!(fits(1232, true), Fit::Whole);
        assert_eq!(fits(1240, true), Fit::Cut(24 + 1232));
        // With a PROXY header to come.
        let grows = |payload| header(Family::V4, false, payload, false).fit(24, 1472, 28);
        assert_eq!((grows(1212), grows(1213)), (Fit::Whole, Fit::Cut(24 + 1232)));
    }

    #[test]
    fn v6_learns_an_mtu_of_at_least_1280_and_smaller_ones_may_be_cut() {
        let fits = |payload, mtu| header(Family::V6, true, payload, false).fit(40, mtu, 0);
        assert_eq!(fits(1380, 1400), Fit::Whole);
        assert_eq!(fits(1381, 1400), Fit::TooBig(1420));
        assert_eq!(fits(1240, 600), Fit::Whole);
        assert_eq!(fits(1241, 600), Fit::TooBig(1280));
        assert_eq!(header(Family::V6, true, 1400, true).fit(48, 600, 0), Fit::Whole);
    }

    #[test]
    fn df_is_for_what_is_larger_than_1260() {
        let ends = (Addr::v4(1), Addr::v4(2));
        let fragment =
            |payload, by| header(Family::V6, true, payload, false).as_v4(ends, (5, by)).fragment;
        assert_eq!((fragment(1240, 0), fragment(1241, 0)), (0, ipv4::DF));
        assert_eq!((fragment(1296, 56), fragment(1297, 56)), (0, ipv4::DF));
    }
}
