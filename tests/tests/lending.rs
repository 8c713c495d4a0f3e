//! Property: conns that open, end and run out, toward one dest that is short of ports, against a
//! simple model of who may have which port. Most workers have no ports, so that few are to be used
//! up: those of two of 64.

use pointsman_dataplane::conn::Conn;
use pointsman_dataplane::conn::Ends;
use pointsman_dataplane::laddr::FIRST_PORT;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::verdict::DropReason;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use proptest::prelude::*;
use proptest::test_runner::Config;
use proptest::test_runner::TestRunner;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

const WORKERS: usize = 64;
/// Steps of a run, behind those that use most ports up.
const STEPS: usize = 1500;

/// A client's conn as its ends know it.
#[derive(Clone, Debug)]
struct Flow {
    local: SocketAddr,
    dest: SocketAddr,
    mac: [u8; 6],
    /// When it was last seen to end.
    ended: Option<Tick>,
}

#[derive(Clone, Copy, Default, Debug)]
struct Tally {
    idle: u64,
    lent: u64,
    by_another: u64,
    refused: u64,
}

struct Run {
    rig: Rig,
    flows: BTreeMap<u16, Flow>,
    next: u16,
    tally: Tally,
}

fn client(n: u16) -> SocketAddr {
    net::client(V4, 1, n)
}

/// Ports of the two workers that have any.
fn ports() -> BTreeSet<u16> {
    (FIRST_PORT..=u16::MAX).filter(|p| usize::from(*p) % WORKERS < 2).collect()
}

/// Whether it would lend its port: it has one, and is over.
fn would_lend(conn: &Conn) -> bool {
    conn.has_lease() && conn.state().would_lend()
}

impl Run {
    fn new(port_order: Option<u64>) -> Self {
        let options = Options { workers: WORKERS, conns: 4000, port_order, ..Options::default() };
        let mut rig = Rig::build(options, |s, _| {
            s.ports.iter_mut().for_each(|p| p.fixed_queue = true);
            s.services.iter_mut().for_each(|s| s.dests.truncate(1));
        });
        (2..WORKERS).for_each(|worker| rig.reload_one(worker, |s| s.pools[0].v4.clear()));
        Self { rig, flows: BTreeMap::new(), next: 1000, tally: Tally::default() }
    }

    /// Conns of clients that live anywhere, with their workers.
    fn conns(&self) -> BTreeMap<u16, (usize, Conn, Ends)> {
        let living = self.rig.conns().into_iter().filter(|(_, c, _)| c.elsewhere().is_none());
        living.map(|(worker, conn, ends)| (ends.cport, (worker, conn, ends))).collect()
    }

    fn say(&mut self, n: u16, flags: u8) -> Vec<pointsman_tests::rig::Sent> {
        let vip = net::service_addr(V4, Forward::FullNat);
        self.rig.feed(WAN, &Packet::tcp(client(n), vip, flags).bytes()).sent
    }

    fn answer(&mut self, n: u16, flags: u8) {
        let f = &self.flows[&n];
        let packet = Packet::tcp(f.dest, f.local, flags).from_lan(f.mac).bytes();
        let out = self.rig.feed(LAN, &packet);
        assert_eq!(out.seen().dst, client(n), "what the dest says on a port is for who has it");
    }

    /// A new client's SYN, and the dest's answer.
    fn open(&mut self) {
        let n = self.next;
        self.next += 1;
        let (before, lent) = (self.conns(), self.rig.sum(|s| &s.lent));
        let held: BTreeSet<_> =
            before.values().filter(|(_, c, _)| c.has_lease()).map(|(.., e)| e.lport).collect();
        let sent = self.say(n, flag::SYN);
        let lent = self.rig.sum(|s| &s.lent) - lent;
        if held.len() < ports().len() {
            assert_eq!((sent.len(), lent), (1, 0), "there was an idle port");
        }
        let Some(sent) = sent.first().map(|s| see::see(&s.bytes)) else {
            assert!(!before.values().any(|(_, c, _)| would_lend(c)), "there was one to be lent");
            assert_eq!(self.rig.dropped(DropReason::NoLease), self.tally.refused + 1);
            return self.tally.refused += 1;
        };
        let port = sent.src.port();
        assert!(ports().contains(&port));
        if lent == 0 {
            assert!(!held.contains(&port), "{port} is in use");
            self.tally.idle += 1;
        } else {
            self.lent_by(&before, n, port);
        }
        let flow = Flow { local: sent.src, dest: sent.dst, mac: sent.eth.0, ended: None };
        self.flows.insert(n, flow);
        self.answer(n, flag::SYN | flag::ACK);
        self.say(n, flag::ACK);
    }

    /// The conn that had the port was the one of its worker that ended first.
    fn lent_by(&mut self, before: &BTreeMap<u16, (usize, Conn, Ends)>, n: u16, port: u16) {
        let had = |(_, c, e): &(usize, Conn, Ends)| c.has_lease() && e.lport == port;
        let (old, (worker, conn, _)) = before.iter().find(|(_, c)| had(c)).expect("it was held");
        assert!(would_lend(conn));
        let ended = |n: &u16| self.flows[n].ended;
        let others = before.iter().filter(|(_, (w, c, _))| w == worker && would_lend(c));
        assert_eq!(others.map(|(n, _)| ended(n)).min(), Some(ended(old)), "it ended first");
        let after = self.conns();
        assert!(after[old].1.is_lent());
        assert_eq!(after[&n].0, *worker, "a port's conns live with its owner");
        self.tally.lent += 1;
        self.tally.by_another += u64::from(*worker == 1);
    }

    /// Some established conn ends, by FINs or by a reset.
    fn end(&mut self, which: u16, by_reset: bool) {
        let live: Vec<_> = self.flows.iter().filter(|(_, f)| f.ended.is_none()).collect();
        let Some(n) = live.get(usize::from(which) % live.len().max(1)).map(|(n, _)| **n) else {
            return;
        };
        // No two at one moment: who was first must be known.
        self.rig.now = self.rig.now + Duration::from_millis(1);
        match by_reset {
            true => drop(self.say(n, flag::RST)),
            false => {
                self.say(n, flag::FIN | flag::ACK);
                self.answer(n, flag::FIN | flag::ACK);
            }
        }
        self.flows.get_mut(&n).expect("it is there").ended = Some(self.rig.now);
    }

    fn step(&mut self, (what, which): (u8, u16)) {
        match what % 16 {
            0..=8 => self.open(),
            9..=14 => self.end(which, what % 2 == 0),
            // What is over and has not lent comes back after 10 s (reset) or 120 s.
            _ => drop(self.rig.pass(Duration::from_secs(u64::from(which % 4)))),
        }
        let conns = self.conns();
        let holders = conns.values().filter(|(_, c, _)| c.has_lease());
        let held: Vec<_> = holders.map(|(.., e)| e.lport).collect();
        assert_eq!(held.iter().collect::<BTreeSet<_>>().len(), held.len(), "a port is held twice");
        self.flows.retain(|n, f| f.ended.is_none() || conns.contains_key(n));
    }
}

#[test]
fn ports_are_lent_as_a_simple_model_says_with_and_without_an_order_of_ports() {
    let all = Cell::new(Tally::default());
    for port_order in [None, Some(7)] {
        let config = Config { cases: 1, failure_persistence: None, ..Config::default() };
        let steps = proptest::collection::vec(any::<(u8, u16)>(), STEPS);
        let result = TestRunner::new(config).run(&steps, |steps| {
            let mut run = Run::new(port_order);
            (0..ports().len() - 20).for_each(|_| run.open());
            steps.into_iter().for_each(|step| run.step(step));
            let (t, sum) = (run.tally, all.get());
            all.set(Tally {
                idle: sum.idle + t.idle,
                lent: sum.lent + t.lent,
                by_another: sum.by_another + t.by_another,
                refused: sum.refused + t.refused,
            });
            Ok(())
        });
        if let Err(why) = result {
            panic!("{port_order:?}: {why}");
        }
    }
    let t = all.get();
    println!("{t:?}");
    assert!(t.idle > 1000 && t.lent > 100 && t.by_another > 20 && t.refused > 20, "{t:?}");
}
