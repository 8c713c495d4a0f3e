//! Full-NAT's ports after more conns than one dest endpoint has ports for: all come back.

use pointsman_dataplane::laddr::PORTS;
use pointsman_dataplane::service::Candidate;
use pointsman_dataplane::service::Dest;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::see::Seen;
use std::collections::BTreeSet;
use std::time::Duration;

/// Dest endpoints.
const DESTS: usize = 5;
const CONNS: usize = 300_000;

/// Five dest endpoints over the pool's one address, and room for a conn on each of their ports.
fn rig() -> Rig {
    let all = DESTS * PORTS as usize;
    Rig::build(Options { conns: all + 1, ..Options::default() }, |s, _| {
        let service = net::service_index(V4, Proto::Tcp, Forward::FullNat);
        let first = s.services[service].dests[0];
        for n in s.services[service].dests.len()..DESTS {
            let port = 9000 + n as u16;
            let dest = Dest { port, ..s.dests[first.id.0 as usize].clone() };
            s.services[service].dests.push(Candidate { id: DestId(s.dests.len() as u32), ..first });
            s.dests.push(dest);
        }
    })
}

/// A packet of the `n`-th client, of 50,000 ports each.
fn packet(n: usize, flags: u8) -> Vec<u8> {
    let client = net::client(V4, 100 + (n / 50_000) as u8, 2000 + (n % 50_000) as u16);
    Packet::tcp(client, net::service_addr(V4, Forward::FullNat), flags).bytes()
}

/// Feeds a packet of each client; gives what the dests got.
fn feed(rig: &mut Rig, clients: impl IntoIterator<Item = usize>, flags: u8) -> Vec<Seen> {
    let out = rig.feed_many(0, WAN, clients.into_iter().map(|n| packet(n, flags)));
    out.sent.iter().map(|s| see::see(&s.bytes)).collect()
}

/// The dests' answers.
fn answer(rig: &mut Rig, to: &[Seen], flags: u8) {
    let frames = to.iter().map(|s| Packet::tcp(s.dst, s.src, flags).from_lan(s.eth.0).bytes());
    let answers = rig.feed_many(0, LAN, frames);
    assert_eq!(answers.sent.len(), to.len());
}

#[test]
fn after_300_000_conns_to_5_dests_over_one_address_have_closed_the_pool_is_whole_again() {
    let mut rig = rig();
    let seen = feed(&mut rig, 0..CONNS, flag::SYN);
    let leased: BTreeSet<_> = seen.iter().map(|s| (s.dst, s.src)).collect();
    assert_eq!((seen.len(), leased.len()), (CONNS, CONNS));
    assert_eq!(leased.iter().map(|(dest, _)| dest).collect::<BTreeSet<_>>().len(), DESTS);
    assert_eq!(leased.iter().map(|(_, local)| local.ip()).collect::<BTreeSet<_>>().len(), 1);
    // A third is reset, a third ends in order, the rest is forgotten as nobody answers.
    answer(&mut rig, &seen[..2 * CONNS / 3], flag::SYN | flag::ACK);
    feed(&mut rig, 0..2 * CONNS / 3, flag::ACK);
    feed(&mut rig, 0..CONNS / 3, flag::RST);
    feed(&mut rig, CONNS / 3..2 * CONNS / 3, flag::FIN | flag::ACK);
    answer(&mut rig, &seen[CONNS / 3..2 * CONNS / 3], flag::FIN | flag::ACK);
    assert_eq!(rig.sum(|s| &s.leases), CONNS as u64, "ports are kept while conns are listed");
    rig.pass(Duration::from_secs(900));
    assert_eq!((rig.conns().len(), rig.sum(|s| &s.leases)), (0, 0));
    assert!(rig.drops().is_empty(), "{:?}", rig.drops());

    let all = DESTS * PORTS as usize;
    let seen = feed(&mut rig, 0..all, flag::SYN);
    let leased: BTreeSet<_> = seen.iter().map(|s| (s.dst, s.src)).collect();
    assert_eq!((seen.len(), leased.len()), (all, all), "each port toward each dest");
    assert_eq!(rig.sum(|s| &s.lent), 0);
    assert!(feed(&mut rig, all..all + 1, flag::SYN).is_empty());
    assert_eq!(rig.drops(), [(DropReason::NoLease, 1)]);
}
