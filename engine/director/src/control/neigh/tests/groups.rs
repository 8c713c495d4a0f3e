//! Groups joined, reports sent, queries answered. Reports are read here by their bytes, whose
//! places `wire::mld`'s tests hold against a kernel's.

use super::*;
use pointsman_dataplane::wire::mld::MAX_RECORDS;

/// A query of the querier at X as a kernel's bridge sends it (see `wire::mld`), toward the lan:
/// with its checksum made for these addresses by this test.
fn query(port: PortId, version: u8, millis: u16, group: Option<Addr>) -> Vec<u8> {
    let dst = group.unwrap_or(nd::ALL_NODES);
    let mut body = vec![130, 0, 0, 0];
    body.extend(millis.to_be_bytes());
    body.extend([0, 0]);
    body.extend(group.map_or(0, Addr::bits).to_be_bytes());
    if version == 2 {
        body.extend([2, 125, 0, 0]);
    }
    let mut addrs = addr("fe80::9").bits().to_be_bytes().to_vec();
    addrs.extend(dst.bits().to_be_bytes());
    let words = addrs.chunks(2).chain(body.chunks(2));
    let sum: u32 = words.map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
    let sum = sum + body.len() as u32 + 58;
    let folded = (sum & 0xffff) + (sum >> 16);
    body[2..4].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    let link = link_to(port, Some(nd::group_mac(dst)), X);
    let (mut frame, at) = link.frame(0x86dd, 0);
    assert_eq!(frame.len(), at);
    frame.extend([0x60, 0, 0, 0, 0, body.len() as u8 + 8, 0, 1]);
    frame.extend(addrs);
    frame.extend([58, 0, 5, 2, 0, 0, 1, 0]);
    frame.extend(body);
    frame
}

#[derive(Clone, PartialEq, Debug)]
struct Report {
    at: u128,
    port: PortId,
    src: Addr,
    dst: Addr,
    kind: u8,
    /// Record type and group; type 0 for MLDv1.
    records: Vec<(u8, Addr)>,
}

fn addr_at(b: &[u8], at: usize) -> Addr {
    Addr::v6(u128::from_be_bytes(b[at..at + 16].try_into().unwrap()))
}

fn reports(lab: &Lab, from: Tick) -> Vec<Report> {
    let mut all = Vec::new();
    for (at, e) in &lab.sent {
        let ip = &e.bytes[if e.port == LAN { 18 } else { 14 }..];
        // Next header hop-by-hop, hop limit 1, router alert.
        if ip[0] >> 4 != 6 || ip[6..8] != [0, 1] {
            continue;
        }
        assert_eq!(ip[40..48], [58, 0, 5, 2, 0, 0, 1, 0]);
        let body = &ip[48..];
        let records = match body[0] {
            143 => body[8..].chunks(20).map(|r| (r[0], addr_at(r, 4))).collect(),
            _ => vec![(0, addr_at(body, 8))],
        };
        let (src, dst) = (addr_at(ip, 8), addr_at(ip, 24));
        assert_eq!(e.bytes[..6], nd::group_mac(dst));
        let at = at.since(from).as_millis();
        all.push(Report { at, port: e.port, src, dst, kind: body[0], records });
    }
    all
}

fn lan_groups() -> Vec<Addr> {
    // Of fe80::2, 2001:db8:2::fe and the VIP.
    ["ff02::1:ff00:2", "ff02::1:ff00:fe", "ff02::1:ff00:100"].map(addr).to_vec()
}

fn of_lan(reports: &[Report]) -> Vec<Report> {
    reports.iter().filter(|r| r.port == LAN).cloned().collect()
}

#[test]
fn the_port_takes_in_all_nodes_and_the_solicited_node_groups_of_its_addresses() {
    let lab = Lab::quiet();
    let macs = lab.r.multicast_macs(LAN);
    let of = |b: [u8; 4]| [0x33, 0x33, b[0], b[1], b[2], b[3]];
    let groups = [[0, 0, 0, 1], [0xff, 0, 0, 2], [0xff, 0, 0, 0xfe], [0xff, 0, 1, 0]];
    assert_eq!(macs, groups.map(of));
    assert_eq!(Lab::bare(8).r.multicast_macs(LAN), [of([0, 0, 0, 1])]);
}

#[test]
fn groups_are_reported_twice_at_start_a_second_apart_with_a_link_local_source() {
    let mut lab = Lab::fresh(&[]);
    let start = lab.now;
    lab.run(secs(60));
    let report = |at| Report {
        at,
        port: LAN,
        src: addr(LAN_LL),
        dst: addr("ff02::16"),
        kind: 143,
        records: lan_groups().into_iter().map(|g| (4, g)).collect(),
    };
    assert_eq!(of_lan(&reports(&lab, start)), [report(0), report(1000)]);
    assert_eq!(reports(&lab, start).len(), 4);
}

#[test]
fn without_a_link_local_address_the_source_is_unspecified() {
    let mut s = snapshot();
    s.ports[1].addrs.truncate(2);
    let mut lab = Lab::bare(64);
    lab.r.configure(&s, &[], lab.now);
    lab.run(Duration::ZERO);
    assert!(of_lan(&reports(&lab, lab.now)).iter().all(|r| r.src == Addr::UNSPECIFIED));
}

#[test]
fn groups_are_reported_twice_when_the_link_comes_up() {
    let mut lab = Lab::quiet();
    lab.r.on_link(LAN, false, lab.now);
    lab.r.on_link(LAN, true, lab.now);
    let start = lab.now;
    lab.run(secs(5));
    let times: Vec<_> = reports(&lab, start).iter().map(|r| (r.at, r.port)).collect();
    assert_eq!(times, [(0, LAN), (1000, LAN)]);
}

#[test]
fn a_change_of_addresses_is_reported_twice_and_alone() {
    let mut lab = Lab::quiet();
    let start = lab.now;
    let mut s = snapshot();
    let vip = s.locals.remove(&addr(VIP6)).unwrap();
    s.locals.insert(addr("2001:db8:1::200"), vip);
    lab.r.configure(&s, &[], lab.now);
    lab.run(secs(5));
    let records = vec![(3, addr("ff02::1:ff00:100")), (4, addr("ff02::1:ff00:200"))];
    let seen: Vec<_> =
        of_lan(&reports(&lab, start)).into_iter().map(|r| (r.at, r.records)).collect();
    assert_eq!(seen, [(0, records.clone()), (1000, records)]);
}

#[test]
fn a_general_query_is_answered_once_within_the_time_it_allows() {
    let mut seen = Vec::new();
    for seed in 0..50 {
        let mut lab = Lab::quiet();
        lab.r.groups = super::super::groups::Groups::new(seed);
        lab.r.configure(&snapshot(), &[], lab.now);
        lab.run(secs(5));
        lab.forget();
        let start = lab.now;
        lab.frame(LAN, &query(LAN, 2, 10_000, None));
        lab.run(secs(30));
        let reports = reports(&lab, start);
        assert_eq!(reports.len(), 1);
        assert!(reports[0].at <= 10_000);
        assert_eq!(
            reports[0].records,
            lan_groups().into_iter().map(|g| (2, g)).collect::<Vec<_>>()
        );
        seen.push(reports[0].at);
    }
    // Spread over the whole time.
    assert!(seen.iter().any(|at| *at < 3000) && seen.iter().any(|at| *at > 7000));
}

#[test]
fn a_group_query_is_answered_for_that_group_if_it_is_ours() {
    let mut lab = Lab::quiet();
    let start = lab.now;
    let group = addr("ff02::1:ff00:100");
    lab.frame(LAN, &query(LAN, 2, 1000, Some(group)));
    lab.frame(LAN, &query(LAN, 2, 1000, Some(addr("ff02::1:ff77:7777"))));
    lab.run(secs(5));
    let reports = reports(&lab, start);
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].records, [(2, group)]);
    assert!(reports[0].at <= 1000);
}

#[test]
fn many_queries_are_answered_once() {
    let mut lab = Lab::quiet();
    let start = lab.now;
    for _ in 0..1000 {
        lab.frame(LAN, &query(LAN, 2, 1000, None));
        lab.frame(LAN, &query(LAN, 2, 1000, Some(addr("ff02::1:ff00:100"))));
    }
    lab.run(secs(5));
    assert!(reports(&lab, start).len() <= 2);
    assert!(!reports(&lab, start).is_empty());
}

#[test]
fn a_query_does_not_put_off_the_answer_to_an_earlier_one() {
    for group in [None, Some(addr("ff02::1:ff00:100"))] {
        let mut lab = Lab::quiet();
        let start = lab.now;
        for _ in 0..100 {
            lab.frame(LAN, &query(LAN, 2, 10_000, group));
            lab.run(Duration::from_millis(100));
        }
        assert!(reports(&lab, start)[0].at <= 10_000);
        // Each answers all that came before it, so they are few.
        let few = reports(&lab, start).len();
        assert!(few <= 40, "{few}");
    }
}

#[test]
fn a_group_that_is_left_before_the_answer_is_not_reported_as_joined() {
    let mut lab = Lab::quiet();
    let start = lab.now;
    let group = addr("ff02::1:ff00:100");
    lab.frame(LAN, &query(LAN, 2, 10_000, Some(group)));
    let mut s = snapshot();
    s.locals.remove(&addr(VIP6));
    lab.r.configure(&s, &[], lab.now);
    lab.run(secs(12));
    let records: Vec<_> = of_lan(&reports(&lab, start)).into_iter().map(|r| r.records).collect();
    assert_eq!(records, [[(3, group)], [(3, group)]]);
}

/// RFC 3810 section 8.2.1.
#[test]
fn an_old_querier_is_answered_in_its_version_for_260_s() {
    let mut lab = Lab::quiet();
    let start = lab.now;
    lab.frame(LAN, &query(LAN, 1, 1000, None));
    lab.run(secs(5));
    let seen = reports(&lab, start);
    let groups: Vec<_> = seen.iter().map(|r| (r.kind, r.dst, r.records.clone())).collect();
    let v1 = |g: &Addr| (131, *g, vec![(0, *g)]);
    assert_eq!(groups, lan_groups().iter().map(v1).collect::<Vec<_>>());
    let mut s = snapshot();
    s.locals.remove(&addr(VIP6));
    lab.forget();
    lab.r.configure(&s, &[], lab.now);
    lab.run(secs(5));
    let done = of_lan(&reports(&lab, start));
    let group = addr("ff02::1:ff00:100");
    assert!(done.len() == 2 && done.iter().all(|r| r.kind == 132 && r.records == [(0, group)]));
    assert!(done.iter().all(|r| r.dst == addr("ff02::2")));
    lab.run(secs(260));
    lab.forget();
    lab.frame(LAN, &query(LAN, 2, 1000, None));
    lab.run(secs(2));
    assert!(reports(&lab, start).iter().all(|r| r.kind == 143));
    assert_eq!(reports(&lab, start).len(), 1);
}

#[test]
fn many_groups_go_into_reports_that_fit() {
    let mut s = snapshot();
    let vip = s.locals[&addr(VIP6)];
    let vip6 = |i: u128| Addr::v6(addr("2001:db8:1::1:0").bits() + i);
    s.locals.extend((0..500).map(|i| (vip6(i), vip)));
    let mut lab = Lab::bare(64);
    lab.r.configure(&s, &[], lab.now);
    let start = lab.now;
    lab.run(secs(5));
    let lan = of_lan(&reports(&lab, start));
    let mut times = std::collections::BTreeMap::new();
    for (record, group) in lan.iter().flat_map(|r| &r.records) {
        assert_eq!(*record, 4);
        *times.entry(*group).or_insert(0) += 1;
    }
    assert_eq!(times.len(), 503);
    assert!(times.values().all(|n| *n == 2));
    assert!(lan.iter().all(|r| r.records.len() <= MAX_RECORDS));
    assert!(lan.len() < 40, "{}", lan.len());
}
