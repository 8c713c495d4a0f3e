//! Multicast listener discovery: MLDv2 (RFC 3810), and MLDv1 (RFC 2710) toward an old querier.
//!
//! Only the listener's side: queries are read, reports are built.

use super::arp::Link;
use super::ethernet;
use super::get16;
use super::get128;
use super::icmp;
use super::ipv6;
use super::ipv6::Header;
use super::nd;
use super::put16;
use super::put128;
use crate::neigh::Mac;
use crate::tuple::Addr;
use core::time::Duration;

/// ff02::16, where MLDv2 reports go (RFC 3810 section 5.2.14).
pub const ALL_MLD2_ROUTERS: Addr = Addr::v6(0xff02 << 112 | 0x16);
/// ff02::2, where MLDv1 says that it leaves a group (RFC 2710 section 3.6).
pub const ALL_ROUTERS: Addr = Addr::v6(0xff02 << 112 | 2);
/// How many records one report takes so that it fits the smallest MTU of IPv6.
pub const MAX_RECORDS: usize = (ipv6::MIN_MTU - ipv6::LEN - HOP_BY_HOP_LEN - icmp::LEN) / RECORD;

const HOP_BY_HOP_LEN: usize = 8;
const RECORD: usize = 20;
const V1_LEN: usize = 24;
const V2_QUERY_LEN: usize = 28;
const MAX_RESPONSE: usize = 4;
const GROUP: usize = 8;
const RECORD_COUNT: usize = 6;
const OPTION_PAD1: u8 = 0;
const OPTION_PADN: u8 = 1;
const OPTION_ROUTER_ALERT: u8 = 5;

/// Which version a querier speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// RFC 2710.
    V1,
    /// RFC 3810.
    V2,
}

/// A querier asks who listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query {
    /// The frame's header.
    pub link: Link,
    /// The querier.
    pub src: Addr,
    /// What it speaks.
    pub version: Version,
    /// Within what time to answer.
    pub max_response: Duration,
    /// The group asked for; none in a general query.
    pub group: Option<Addr>,
}

/// What a record of a report says of a group (RFC 3810 section 5.2.12), for a listener that takes
/// every source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record {
    /// We listen: the answer to a query.
    IsExclude = 2,
    /// We stopped.
    ToInclude = 3,
    /// We began.
    ToExclude = 4,
}

/// Who reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reporter {
    /// Its MAC.
    pub mac: Mac,
    /// The port's tag.
    pub vlan: Option<u16>,
    /// Its link-local address, or `::` where it has none yet (RFC 3810 section 5.2.13).
    pub src: Addr,
}

impl Reporter {
    /// An MLDv2 report of at most `MAX_RECORDS` records; what is beyond is cut.
    pub fn report(&self, records: &[(Record, Addr)]) -> Vec<u8> {
        let records = &records[..records.len().min(MAX_RECORDS)];
        let mut body = vec![0; icmp::LEN + RECORD * records.len()];
        body[0] = icmp::v6::MLD_REPORT;
        put16(&mut body, RECORD_COUNT, records.len() as u16);
        for (i, (record, group)) in records.iter().enumerate() {
            let at = icmp::LEN + RECORD * i;
            body[at] = *record as u8;
            put128(&mut body, at + 4, group.bits());
        }
        self.frame(ALL_MLD2_ROUTERS, body)
    }

    /// An MLDv1 report: we listen to the group.
    pub fn report_v1(&self, group: Addr) -> Vec<u8> {
        self.frame(group, v1_body(icmp::v6::MLD_QUERY + 1, group))
    }

    /// MLDv1's "done": we stopped listening to the group.
    pub fn done_v1(&self, group: Addr) -> Vec<u8> {
        self.frame(ALL_ROUTERS, v1_body(icmp::v6::MLD_DONE, group))
    }

    /// Headers with hop limit 1 and a router alert (RFC 2711), which snooping bridges and routers
    /// demand, around a message.
    fn frame(&self, dst: Addr, body: Vec<u8>) -> Vec<u8> {
        let link = Link { dst: nd::group_mac(dst), src: self.mac, vlan: self.vlan };
        let payload = HOP_BY_HOP_LEN + body.len();
        let (mut frame, at) = link.frame(ethernet::IPV6, ipv6::LEN + payload);
        let header = Header {
            traffic_class: 0,
            payload: payload as u16,
            next: ipv6::HOP_BY_HOP,
            hop_limit: 1,
            src: self.src,
            dst,
        };
        header.write(&mut frame[at..]);
        let options = [ipv6::ICMPV6, 0, OPTION_ROUTER_ALERT, 2, 0, 0, OPTION_PADN, 0];
        let (options_at, body_at) = (at + ipv6::LEN, at + ipv6::LEN + HOP_BY_HOP_LEN);
        frame[options_at..body_at].copy_from_slice(&options);
        frame[body_at..].copy_from_slice(&body);
        nd::seal(&mut frame[body_at..], self.src, dst);
        frame
    }
}

/// Reads a frame; none where it is no query or one that a listener must discard (RFC 3810 section
/// 6.2): not link-local, hop limit other than 1, no router alert, a length of neither version.
pub fn parse_query(frame: &[u8]) -> Option<Query> {
    let (link, packet) = nd::packet(frame)?;
    let src = ipv6::src(packet);
    let alert = packet[ipv6::NEXT] == ipv6::HOP_BY_HOP && packet[ipv6::HOP_LIMIT] == 1;
    if !alert || !src.is_link_local_v6() {
        return None;
    }
    let body = nd::message(packet, router_alert(packet)?)?;
    if body[0] != icmp::v6::MLD_QUERY || body[1] != 0 {
        return None;
    }
    let code = get16(body, MAX_RESPONSE);
    // Section 8.1 tells the versions apart by length.
    let (version, millis) = match body.len() {
        V1_LEN => (Version::V1, code as u64),
        V2_QUERY_LEN.. => (Version::V2, max_response_millis(code)),
        _ => return None,
    };
    let group = Addr::v6(get128(body, GROUP));
    if !group.is_unspecified() && !group.is_multicast() {
        return None;
    }
    Some(Query {
        link,
        src,
        version,
        max_response: Duration::from_millis(millis),
        group: group.is_multicast().then_some(group),
    })
}

/// Where the ICMPv6 message begins behind hop-by-hop options that hold a router alert for MLD.
fn router_alert(packet: &[u8]) -> Option<usize> {
    let head = packet.get(ipv6::LEN..ipv6::LEN + HOP_BY_HOP_LEN)?;
    let end = ipv6::LEN + 8 + 8 * head[1] as usize;
    let mut options = packet.get(ipv6::LEN + 2..end).filter(|_| head[0] == ipv6::ICMPV6)?;
    let mut alert = false;
    while let [kind, rest @ ..] = options {
        if *kind == OPTION_PAD1 {
            options = rest;
            continue;
        }
        let data = rest.get(1..1 + *rest.first()? as usize)?;
        alert |= *kind == OPTION_ROUTER_ALERT && data == [0, 0];
        options = &rest[1 + data.len()..];
    }
    alert.then_some(end)
}

/// RFC 3810 section 5.1.3: above 32,767 the code is a floating-point number.
fn max_response_millis(code: u16) -> u64 {
    if code < 0x8000 {
        return code as u64;
    }
    let (exponent, mantissa) = (code >> 12 & 7, code & 0xfff);
    ((mantissa | 0x1000) as u64) << (exponent + 3)
}

fn v1_body(kind: u8, group: Addr) -> Vec<u8> {
    let mut body = vec![0; V1_LEN];
    body[0] = kind;
    put128(&mut body, GROUP, group.bits());
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;
    use proptest::prelude::*;

    /// A Linux 6.18 kernel, captured on a veth with tcpdump when an address was added.
    const KERNEL_REPORT: [u8; 110] = [
        0x33, 0x33, 0x00, 0x00, 0x00, 0x16, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x86, 0xdd, 0x60,
        0x00, 0x00, 0x00, 0x00, 0x38, 0x00, 0x01, 0xfe, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0xff, 0xfe, 0x00, 0x00, 0x0a, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x16, 0x3a, 0x00, 0x05, 0x02, 0x00, 0x00,
        0x01, 0x00, 0x8f, 0x00, 0x6f, 0xda, 0x00, 0x00, 0x00, 0x02, 0x04, 0x00, 0x00, 0x00, 0xff,
        0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x00, 0x00, 0x01,
        0x04, 0x00, 0x00, 0x00, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x01, 0xff, 0x00, 0x00, 0x0a,
    ];
    /// The same kernel, before its link-local address was usable.
    const KERNEL_REPORT_NO_SOURCE: [u8; 110] = [
        0x33, 0x33, 0x00, 0x00, 0x00, 0x16, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x86, 0xdd, 0x60,
        0x00, 0x00, 0x00, 0x00, 0x38, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x16, 0x3a, 0x00, 0x05, 0x02, 0x00, 0x00,
        0x01, 0x00, 0x8f, 0x00, 0x6d, 0x65, 0x00, 0x00, 0x00, 0x02, 0x04, 0x00, 0x00, 0x00, 0xff,
        0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x00, 0x00, 0x01,
        0x04, 0x00, 0x00, 0x00, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x01, 0xff, 0x00, 0x00, 0x0a,
    ];
    /// A Linux 6.18 bridge with `mcast_querier 1 mcast_mld_version 2`.
    const KERNEL_V2_QUERY: [u8; 90] = [
        0x33, 0x33, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x86, 0xdd, 0x60,
        0x00, 0x00, 0x00, 0x00, 0x24, 0x00, 0x01, 0xfe, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0xff, 0xfe, 0x00, 0x00, 0x0c, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x3a, 0x00, 0x05, 0x02, 0x00, 0x00,
        0x00, 0x00, 0x82, 0x00, 0x58, 0x05, 0x27, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0x00, 0x00,
    ];
    /// The same bridge with `mcast_mld_version 1`.
    const KERNEL_V1_QUERY: [u8; 86] = [
        0x33, 0x33, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x86, 0xdd, 0x60,
        0x00, 0x00, 0x00, 0x00, 0x20, 0x00, 0x01, 0xfe, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0xff, 0xfe, 0x00, 0x00, 0x0c, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x3a, 0x00, 0x05, 0x02, 0x00, 0x00,
        0x00, 0x00, 0x82, 0x00, 0x5a, 0x0c, 0x27, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ];
    /// Made by scapy 2.5.
    const SCAPY_LEAVE: [u8; 90] = [
        0x33, 0x33, 0x00, 0x00, 0x00, 0x16, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x86, 0xdd, 0x60,
        0x00, 0x00, 0x00, 0x00, 0x24, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x16, 0x3a, 0x00, 0x05, 0x02, 0x00, 0x00,
        0x01, 0x00, 0x8f, 0x00, 0x6f, 0x8a, 0x00, 0x00, 0x00, 0x01, 0x03, 0x00, 0x00, 0x00, 0xff,
        0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x00, 0x01, 0x00,
    ];
    /// Made by scapy 2.5.
    const SCAPY_V1_REPORT: [u8; 86] = [
        0x33, 0x33, 0xff, 0x00, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x86, 0xdd, 0x60,
        0x00, 0x00, 0x00, 0x00, 0x20, 0x00, 0x01, 0xfe, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0xff, 0xfe, 0x00, 0x00, 0x0a, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x00, 0x01, 0x00, 0x3a, 0x00, 0x05, 0x02, 0x00, 0x00,
        0x01, 0x00, 0x83, 0x00, 0x81, 0x18, 0x00, 0x00, 0x00, 0x00, 0xff, 0x02, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x00, 0x01, 0x00,
    ];
    /// Made by scapy 2.5.
    const SCAPY_V1_DONE: [u8; 86] = [
        0x33, 0x33, 0x00, 0x00, 0x00, 0x02, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x86, 0xdd, 0x60,
        0x00, 0x00, 0x00, 0x00, 0x20, 0x00, 0x01, 0xfe, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0xff, 0xfe, 0x00, 0x00, 0x0a, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x3a, 0x00, 0x05, 0x02, 0x00, 0x00,
        0x01, 0x00, 0x84, 0x00, 0x80, 0x18, 0x00, 0x00, 0x00, 0x00, 0xff, 0x02, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x00, 0x01, 0x00,
    ];
    /// Made by scapy 2.5: VLAN 100, maximum response code 0x8123.
    const SCAPY_TAGGED_GROUP_QUERY: [u8; 94] = [
        0x33, 0x33, 0xff, 0x00, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x81, 0x00, 0x00,
        0x64, 0x86, 0xdd, 0x60, 0x00, 0x00, 0x00, 0x00, 0x24, 0x00, 0x01, 0xfe, 0x80, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xfe, 0x00, 0x00, 0x0a, 0xff, 0x02, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x00, 0x01, 0x00, 0x3a, 0x00,
        0x05, 0x02, 0x00, 0x00, 0x01, 0x00, 0x82, 0x00, 0xfe, 0x73, 0x81, 0x23, 0x00, 0x00, 0xff,
        0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xff, 0x00, 0x01, 0x00,
        0x02, 0x7d, 0x00, 0x00,
    ];
    const A: Mac = [2, 0, 0, 0, 0, 0x0a];
    const C: Mac = [2, 0, 0, 0, 0, 0x0c];

    fn addr(s: &str) -> Addr {
        s.parse::<IpAddr>().unwrap().into()
    }

    fn reporter(src: &str) -> Reporter {
        Reporter { mac: A, vlan: None, src: addr(src) }
    }

    fn mended(frame: &[u8], at: usize, value: u8) -> Vec<u8> {
        let mut frame = frame.to_vec();
        frame[at] = value;
        let (src, dst) = (ipv6::src(&frame[14..]), ipv6::dst(&frame[14..]));
        nd::seal(&mut frame[62..], src, dst);
        frame
    }

    #[test]
    fn the_kernels_reports() {
        let joins = [
            (Record::ToExclude, addr("ff02::1:ff00:1")),
            (Record::ToExclude, addr("ff02::1:ff00:a")),
        ];
        assert_eq!(reporter("fe80::ff:fe00:a").report(&joins), KERNEL_REPORT);
        assert_eq!(reporter("::").report(&joins), KERNEL_REPORT_NO_SOURCE);
    }

    #[test]
    fn leaving_and_version_1() {
        let group = addr("ff02::1:ff00:100");
        assert_eq!(reporter("::").report(&[(Record::ToInclude, group)]), SCAPY_LEAVE);
        assert_eq!(reporter("fe80::ff:fe00:a").report_v1(group), SCAPY_V1_REPORT);
        assert_eq!(reporter("fe80::ff:fe00:a").done_v1(group), SCAPY_V1_DONE);
    }

    #[test]
    fn the_kernel_bridges_queries() {
        let query = Query {
            link: Link { dst: [0x33, 0x33, 0, 0, 0, 1], src: C, vlan: None },
            src: addr("fe80::ff:fe00:c"),
            version: Version::V2,
            max_response: Duration::from_secs(10),
            group: None,
        };
        assert_eq!(parse_query(&KERNEL_V2_QUERY), Some(query));
        let v1 = Query { version: Version::V1, ..query };
        assert_eq!(parse_query(&KERNEL_V1_QUERY), Some(v1));
    }

    #[test]
    fn a_tagged_group_query_with_a_floating_point_delay() {
        let query = parse_query(&SCAPY_TAGGED_GROUP_QUERY).unwrap();
        assert_eq!(query.link.vlan, Some(100));
        assert_eq!(query.group, Some(addr("ff02::1:ff00:100")));
        // 0x8123: exponent 0, mantissa 0x123, so 0x1123 << 3.
        assert_eq!(query.max_response, Duration::from_millis(35_096));
    }

    /// Hop limit, source not link-local, no router alert, another alert value, code, another type,
    /// a group that is none, options that run over the end.
    #[test]
    fn what_a_listener_must_discard() {
        let wrong = [
            (21, 2),
            (22, 0x20),
            (56, 0x3e),
            (59, 1),
            (63, 1),
            (62, 131),
            (70, 0x20),
            (55, 9),
            (57, 7),
        ];
        for (at, value) in wrong {
            assert_eq!(parse_query(&mended(&KERNEL_V2_QUERY, at, value)), None, "{at}");
        }
        let mut damaged = KERNEL_V2_QUERY;
        damaged[66] ^= 1;
        assert_eq!(parse_query(&damaged), None);
        assert!(parse_query(&mended(&KERNEL_V2_QUERY, 66, 1)).is_some());
    }

    /// RFC 3810 section 8.1: 24 bytes are version 1, 28 and more version 2, all else nothing.
    #[test]
    fn lengths_between_the_versions_are_refused() {
        for (cut, seen) in [(0, true), (1, false), (3, false), (4, true), (5, false)] {
            let mut frame = KERNEL_V2_QUERY[..KERNEL_V2_QUERY.len() - cut].to_vec();
            put16(&mut frame, 18, 36 - cut as u16);
            let frame = mended(&frame, 21, 1);
            assert_eq!(parse_query(&frame).is_some(), seen, "{cut}");
        }
    }

    #[test]
    fn every_cut_is_refused() {
        for len in 0..KERNEL_V2_QUERY.len() {
            assert_eq!(parse_query(&KERNEL_V2_QUERY[..len]), None, "{len}");
        }
    }

    #[test]
    fn a_full_report_fits_the_smallest_mtu() {
        let records = vec![(Record::IsExclude, nd::ALL_NODES); MAX_RECORDS + 5];
        let frame = reporter("::").report(&records);
        assert!(frame.len() - 14 <= ipv6::MIN_MTU && frame.len() - 14 + RECORD > ipv6::MIN_MTU);
        assert_eq!(get16(&frame, 62 + RECORD_COUNT) as usize, MAX_RECORDS);
    }

    proptest! {
        #[test]
        fn strange_queries_do_not_panic(
            rest in proptest::collection::vec(any::<u8>(), 8..64),
            alert in any::<bool>(),
        ) {
            let mut frame = KERNEL_V2_QUERY[..if alert { 62 } else { 54 }].to_vec();
            frame.extend(rest);
            let len = (frame.len() - 54) as u16;
            put16(&mut frame, 18, len);
            if frame.len() > 70 {
                frame = mended(&frame, 62, icmp::v6::MLD_QUERY);
            }
            if let Some(query) = parse_query(&frame) {
                prop_assert!(query.max_response.as_millis() <= (0x1fff << 10));
            }
        }
    }
}
