//! How stale the counts are that lc, wlc, sed, nq and ovf choose by, where several workers open conns.

use pointsman_dataplane::sched;
use pointsman_dataplane::sched::Ask;
use pointsman_dataplane::sched::Position;
use pointsman_dataplane::sched::Sched;
use pointsman_dataplane::service::Candidate;
use pointsman_dataplane::service::Dest;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::OnDead;
use pointsman_dataplane::service::Persistence;
use pointsman_dataplane::service::Service;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::stats::DestBlocks;
use pointsman_dataplane::tick::Stamp;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::tuple::Tuple;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use std::time::Duration;

const COUNTING: [Sched; 5] = [Sched::Lc, Sched::Wlc, Sched::Sed, Sched::Nq, Sched::Ovf];
const WORKERS: usize = 4;
const WEIGHT: u32 = 20;

fn rig(sched: &Sched, persistence: Option<Persistence>) -> Rig {
    Rig::build(Options { workers: WORKERS, ..Options::default() }, |s, _| {
        // Conns stay where they arrive.
        s.ports.iter_mut().for_each(|port| port.fixed_queue = true);
        let service = &mut s.services[net::service_index(V4, Proto::Tcp, Forward::Dr)];
        service.dests.iter_mut().for_each(|c| c.weight = WEIGHT);
        (service.sched, service.terms.persistence) = (sched.clone(), persistence);
    })
}

/// A worker's burst of SYNs, each of another client.
fn burst(rig: &mut Rig, worker: usize, clients: std::ops::Range<u8>) {
    let vip = net::service_addr(V4, Forward::Dr);
    let syn = |n| Packet::tcp(net::client(V4, n, 1000), vip, flag::SYN).bytes();
    let frames: Vec<_> = clients.map(syn).collect();
    rig.feed_at(worker, WAN, &frames.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

/// The most and the fewest conns that a dest has.
fn extremes(active: &[u64]) -> (u64, u64) {
    let most = active.iter().max().copied().unwrap_or_default();
    (most, active.iter().min().copied().unwrap_or_default())
}

fn active(rig: &Rig) -> [u64; 3] {
    [0, 1, 2].map(|n| rig.dest(net::dest_id(V4, Proto::Tcp, Forward::Dr, n), |s| &s.active))
}

/// A worker counts a conn before it looks at its next frame, and where the others read it: within a
/// burst, and from one worker's burst to the next one's, a choice lacks nothing.
#[test]
fn a_conn_is_counted_before_the_next_frame_of_its_burst() {
    for sched in COUNTING {
        let mut rig = rig(&sched, None);
        for n in 0..6 {
            burst(&mut rig, n % WORKERS, 7 * n as u8..7 * n as u8 + 7);
            let active = active(&rig);
            let (most, least) = extremes(&active);
            match sched {
                // One dest after another, each with one more than its weight.
                Sched::Ovf => assert!(most <= u64::from(WEIGHT) + 1, "{active:?}"),
                _ => assert!(most - least <= 1, "{}: {active:?}", sched.name()),
            }
        }
        assert_eq!(active(&rig).iter().sum::<u64>(), 42);
    }
}

/// Workers that choose and count in any order: each has chosen one dest at most that it has not
/// counted yet.
struct Interleaved {
    service: Service,
    loads: DestBlocks,
    positions: Vec<Position>,
    /// By worker: what it has chosen and not counted.
    chosen: [Option<DestId>; WORKERS],
    /// By dest: what was chosen at all.
    conns: [u64; 3],
}

impl Interleaved {
    fn new(sched: &Sched) -> Self {
        let snapshot = rig(sched, None).snapshot();
        let service = snapshot.services[net::service_index(V4, Proto::Tcp, Forward::Dr)].clone();
        let loads = DestBlocks::new(WORKERS, snapshot.dests.len());
        let positions = vec![Position::default(); WORKERS];
        Self { service, loads, positions, chosen: [None; WORKERS], conns: [0; 3] }
    }

    /// A worker's next step: it counts what it has chosen, or chooses.
    fn step(&mut self, worker: usize) {
        if let Some(dest) = self.chosen[worker].take() {
            return self.loads.of_worker(worker)[dest.0 as usize].active.add(1);
        }
        let (src, dst) = (net::client(V4, 1, 1).ip().into(), net::client(V4, 2, 2).ip().into());
        let tuple = Tuple { src, dst, sport: 1, dport: 2, proto: Proto::Tcp };
        let ask = Ask { tuple: &tuple, loads: &self.loads, barred: &[], now: Stamp(0) };
        let chosen = sched::pick(&self.service, &mut self.positions[worker], &ask);
        if let Some(dest) = chosen {
            let place = self.service.dests.iter().position(|c| c.id == dest);
            self.conns[place.expect("a dest of the service")] += 1;
        }
        self.chosen[worker] = chosen;
    }

    /// How many conns a dest has beyond its share: of the least loaded one, or under ovf the most that
    /// it takes.
    fn beyond(&self) -> u64 {
        let (most, least) = extremes(&self.conns);
        match self.service.sched {
            Sched::Ovf => most.saturating_sub(u64::from(WEIGHT)),
            _ => most - least,
        }
    }
}

/// docs/services.md: a choice lacks at most one conn of each other worker, so of dests of one weight
/// none has more conns beyond another than there are workers. And that may happen.
#[test]
fn counts_lack_at_most_one_conn_of_each_other_worker() {
    for sched in COUNTING {
        let mut seed = 1u32;
        let mut workers = Interleaved::new(&sched);
        for _ in 0..20_000 {
            // Numerical Recipes' generator; its upper bits say whose turn it is.
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            workers.step((seed >> 16) as usize % WORKERS);
            assert!(workers.beyond() <= WORKERS as u64, "{}: {:?}", sched.name(), workers.conns);
        }
        // All choose before any counts.
        let mut workers = Interleaved::new(&sched);
        let rounds = if sched == Sched::Ovf { WEIGHT as usize / WORKERS + 1 } else { 1 };
        for _ in 0..rounds {
            (0..WORKERS).for_each(|worker| workers.step(worker));
            let all = workers.beyond();
            (0..WORKERS).for_each(|worker| workers.step(worker));
            assert_eq!(workers.beyond(), all, "counting chooses nothing");
        }
        assert_eq!(workers.beyond(), WORKERS as u64, "{}: {:?}", sched.name(), workers.conns);
    }
}

/// A persistent service's dest is chosen where the template is kept, and the conn counted where the
/// frame came in: in between the choice lacks what is on its way, one burst here.
#[test]
fn of_persistent_services_counts_lack_what_is_on_its_way_to_the_keeper() {
    let persistence = Persistence { timeout: 100, prefix: 32 };
    let mut rig = rig(&Sched::Wlc, Some(persistence));
    for n in 0..6 {
        burst(&mut rig, n % WORKERS, BURST * n as u8..BURST * (n as u8 + 1));
        let (most, least) = extremes(&active(&rig));
        assert!(most - least <= u64::from(BURST), "{:?}", active(&rig));
    }
    assert_eq!(active(&rig).iter().sum::<u64>(), 48);
}

/// New clients in a burst, of one worker each.
const BURST: u8 = 8;

/// How many conns the full-NAT service's dests have beyond each other, now that it has these conns in all.
fn apart(rig: &Rig, proto: Proto, conns: u64) -> u64 {
    let service = &rig.snapshot().services[net::service_index(V4, proto, Forward::FullNat)];
    let count = |id| rig.dest(id, |s| &s.active) + rig.dest(id, |s| &s.inactive);
    let by_dest: Vec<_> = service.dests.iter().map(|c| count(c.id)).collect();
    assert_eq!(by_dest.iter().sum::<u64>(), conns, "{by_dest:?}: {:?}", rig.drops());
    let (most, least) = extremes(&by_dest);
    most - least
}

/// A worker's burst of packets of the full-NAT service's clients.
fn to_fullnat(rig: &mut Rig, worker: usize, proto: Proto, clients: std::ops::Range<u8>) {
    let vip = net::service_addr(V4, Forward::FullNat);
    let packet = |n| match proto {
        Proto::Udp => Packet::udp(net::client(V4, n, 1000), vip).bytes(),
        _ => Packet::tcp(net::client(V4, n, 1000), vip, flag::SYN).bytes(),
    };
    let frames: Vec<_> = clients.map(packet).collect();
    rig.feed_at(worker, WAN, &frames.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

/// A rig whose full-NAT services go by counts, and where conns stay where they arrive.
fn fullnat_rig(sched: &Sched) -> Rig {
    Rig::build(Options { workers: WORKERS, ..Options::default() }, |s, _| {
        s.ports.iter_mut().for_each(|port| port.fixed_queue = true);
        s.dests.iter_mut().for_each(|dest| dest.traits.retries = 1);
        for proto in net::PROTOS {
            s.services[net::service_index(V4, proto, Forward::FullNat)].sched = sched.clone();
        }
    })
}

/// These workers have no port of full-NAT.
fn take_ports(rig: &mut Rig, workers: std::ops::Range<usize>) {
    workers.for_each(|worker| rig.reload_one(worker, |s| s.pools[0].v4.clear()));
}

/// What chooses without a port hands the choice on, one burst here; whoever counts it does so before his next frame.
#[test]
fn counts_lack_what_is_on_its_way_from_a_worker_without_a_port() {
    for sched in [Sched::Lc, Sched::Wlc, Sched::Sed, Sched::Nq] {
        let (mut rig, mut furthest) = (fullnat_rig(&sched), 0);
        take_ports(&mut rig, 0..WORKERS - 1);
        for n in 0..6 {
            to_fullnat(&mut rig, n % WORKERS, Proto::Tcp, BURST * n as u8..BURST * (n as u8 + 1));
            furthest = furthest.max(apart(&rig, Proto::Tcp, (n as u64 + 1) * u64::from(BURST)));
        }
        let bound = (WORKERS as u64 + 1)..=u64::from(BURST);
        assert!(bound.contains(&furthest), "{}: {furthest} apart", sched.name());
    }
}

/// Other dests, by this method, take the place of the full-NAT services'; those of before have their conns.
fn replace(s: &mut Snapshot, proto: Proto, by: Forward) {
    let at = net::service_index(V4, proto, Forward::FullNat);
    for n in 0..net::DESTS {
        let old = s.services[at].dests[n];
        let id = DestId(s.dests.len() as u32);
        let like = s.dest(old.id).clone();
        let port = if by == Forward::Nat { like.port } else { net::service_port(Forward::FullNat) };
        s.dests.push(Dest { forward: by, port, ..like });
        let old_dest = &mut s.dests[old.id.0 as usize];
        (old_dest.removed, old_dest.weight) = (true, 0);
        old_dest.traits.on_dead = if proto == Proto::Udp { OnDead::Reselect } else { OnDead::Keep };
        s.services[at].dests[n] = Candidate { id, ..old };
    }
    s.services[at].version += 1;
}

/// Conns whose place others take, by SYNs that no dest has answered and by datagrams that are reselected, which live with
/// other workers than the one that chooses: under nat where answers go, else where the client's packets arrive.
#[test]
fn counts_lack_what_is_on_its_way_to_the_worker_whose_the_second_choice_is() {
    for (by, proto) in
        [Forward::Nat, Forward::Dr].into_iter().flat_map(|f| net::PROTOS.map(|p| (f, p)))
    {
        let (mut rig, mut furthest) = (fullnat_rig(&Sched::Wlc), 0);
        // The last worker's conns live with the first one, which has ports.
        let sender = WORKERS - 1;
        take_ports(&mut rig, sender..WORKERS);
        (0..6).for_each(|n| to_fullnat(&mut rig, sender, proto, BURST * n..BURST * (n + 1)));
        rig.reload(|s| replace(s, proto, by));
        rig.pass(Duration::from_secs(1));
        for n in 0..6 {
            to_fullnat(&mut rig, sender, proto, BURST * n..BURST * (n + 1));
            furthest = furthest.max(apart(&rig, proto, u64::from(n + 1) * u64::from(BURST)));
        }
        // A datagram may be chosen for where it is counted.
        let least = if proto == Proto::Tcp { WORKERS as u64 + 1 } else { 0 };
        let bound = least..=u64::from(BURST);
        assert!(bound.contains(&furthest), "{by:?} {proto:?}: {furthest} apart");
    }
}
