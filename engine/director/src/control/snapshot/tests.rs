use super::*;
use pointsman_dataplane::acl::Access;
use pointsman_dataplane::service::ClientAddress;
use pointsman_dataplane::service::Closed;
use pointsman_dataplane::service::OnDead;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::tuple::Tuple;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

const MACS: [Mac; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];

/// A control thread without threads: hops by address, and conns as the test says.
struct World {
    builder: Builder,
    current: Snapshot,
    hops: HashMap<(PortId, Addr), u32>,
    room: u32,
    busy: HashSet<DestId>,
    settled: bool,
    leased: HashSet<Addr>,
}

impl World {
    fn new(dests: usize) -> Self {
        Self {
            builder: Builder::new(dests),
            current: Snapshot::default(),
            hops: HashMap::new(),
            room: 1000,
            busy: HashSet::new(),
            settled: true,
            leased: HashSet::new(),
        }
    }

    fn try_build(&mut self, text: &str) -> Result<(Snapshot, Vec<DestId>), BuildError> {
        let (config, _) = pointsman_config::parse("t", text).unwrap_or_else(|e| panic!("{e}"));
        let facts = MACS.map(|mac| PortFacts { mac, fixed_queue: false });
        let (hops, room) = (&mut self.hops, self.room);
        let mut inputs = Inputs {
            ports: &facts[..config.ports.len()],
            hop: &mut |port, addr| {
                let next = hops.len() as u32;
                let known = hops.contains_key(&(port, addr));
                (known || next < room).then(|| Hop(*hops.entry((port, addr)).or_insert(next)))
            },
            has_conns: &|id| self.busy.contains(&id),
            settled: self.settled,
            has_leases: &|addr| self.leased.contains(&addr),
        };
        let mut builder = self.builder.clone();
        let built = builder.build(&config, &self.current, &mut inputs)?;
        self.builder = builder;
        Ok(built)
    }

    /// Builds and takes over; the fresh numbers.
    fn load(&mut self, text: &str) -> Vec<DestId> {
        let (next, fresh) = self.try_build(text).unwrap();
        self.current = next;
        fresh
    }

    fn addrs(&self, service: usize) -> Vec<String> {
        let dest = |c: &Candidate| self.current.dest(c.id).addr.to_string();
        self.current.services[service].dests.iter().map(dest).collect()
    }

    fn id(&self, addr: &str) -> DestId {
        let is_it = |d: &Dest| d.addr.to_string() == addr;
        DestId(self.current.dests.iter().position(is_it).unwrap() as u32)
    }
}

const PORTS: &str = "
    [[port]]
    name = 'wan'
    device = 'net_null0'
    addresses = ['10.1.0.254/24', '2001:db8:1::fe/64']
    gateway = '10.1.0.1'
    [[port]]
    name = 'lan'
    device = 'net_null1'
    addresses = ['10.2.0.254/24']
    mtu = 1400
    vlan = 7
    [[pool]]
    name = 'l'
    addresses = ['10.2.0.100-10.2.0.101']
";

/// One service with these dests (last octets of 10.2.0.0/24, weights).
fn service(port: u16, forward: &str, dests: &[(u8, u16)]) -> String {
    let pool = if forward == "fullnat" { "pool = 'l'" } else { "" };
    let mut text = format!(
        "[[service]]\naddress = '10.1.0.100:{port}'\nforward = '{forward}'\nscheduler = 'rr'\n{pool}\n"
    );
    for (host, weight) in dests {
        let dest = format!("[[service.dest]]\naddress='10.2.0.{host}:{port}'\nweight={weight}\n");
        text.push_str(&dest);
    }
    text
}

fn config(services: &[String]) -> String {
    PORTS.to_owned() + &services.concat()
}

#[test]
fn dests_stand_newest_first_as_ip_vs_add_dest_leaves_them() {
    let mut world = World::new(16);
    world.load(&config(&[service(80, "nat", &[(2, 1), (3, 1), (4, 1)])]));
    assert_eq!(world.addrs(0), ["10.2.0.4", "10.2.0.3", "10.2.0.2"]);
    // One taken out, two added, the kept ones written in another order.
    world.load(&config(&[service(80, "nat", &[(5, 1), (4, 1), (2, 1), (6, 1)])]));
    assert_eq!(world.addrs(0), ["10.2.0.6", "10.2.0.5", "10.2.0.4", "10.2.0.2"]);
}

#[test]
fn a_reload_that_changes_nothing_gives_an_equal_snapshot() {
    let mut world = World::new(16);
    let text = config(&[
        service(80, "fullnat", &[(2, 1), (3, 2)]),
        service(81, "dr", &[(2, 1)]),
        service(82, "tunnel", &[(3, 1)]),
    ]);
    assert_eq!(world.load(&text).len(), 4);
    for _ in 0..100 {
        let (again, fresh) = world.try_build(&text).unwrap();
        assert_eq!(again, world.current);
        assert!(fresh.is_empty());
        world.load(&text);
    }
}

#[test]
fn numbers_stay_over_reloads() {
    let mut world = World::new(16);
    world.load(&config(&[service(80, "nat", &[(2, 1)]), service(81, "nat", &[(3, 1)])]));
    let (dest, svc) = (world.id("10.2.0.3"), world.current.services[1].id);
    let fresh = world
        .load(&config(&[service(81, "nat", &[(9, 1), (3, 5)]), service(80, "nat", &[(2, 1)])]));
    assert_eq!(world.id("10.2.0.3"), dest);
    assert_eq!(world.current.services[0].id, svc);
    assert_eq!(fresh, [world.id("10.2.0.9")]);
    assert_eq!(world.current.dest(dest).weight, 5);
}

#[test]
fn a_version_changes_with_scheduler_or_dests_only() {
    let mut world = World::new(16);
    let both =
        |weight| config(&[service(80, "nat", &[(2, weight)]), service(81, "nat", &[(3, 1)])]);
    world.load(&both(1));
    let versions = |w: &World| w.current.services.iter().map(|s| s.version).collect::<Vec<_>>();
    let before = versions(&world);
    world.load(&both(2));
    let after = versions(&world);
    assert_ne!(before[0], after[0]);
    assert_eq!(before[1], after[1]);
    world.load(&both(2).replace("mtu = 1400", "mtu = 1300"));
    assert_eq!(versions(&world), after);
    world.load(&both(2).replacen("'rr'", "'sh'", 1));
    let third = versions(&world);
    assert!(third[0] > after[0] && third[1] == after[1]);
}

#[test]
fn a_removed_dest_stays_while_it_has_conns() {
    let mut world = World::new(16);
    world.load(&config(&[service(80, "nat", &[(2, 1), (3, 1)])]));
    let gone = world.id("10.2.0.2");
    world.busy.insert(gone);
    let without = config(&[service(80, "nat", &[(3, 1)])]);
    world.load(&without);
    world.load(&without);
    let dest = world.current.dest(gone);
    assert!(dest.removed && dest.addr.to_string() == "10.2.0.2" && dest.hop != Hop(u32::MAX));
    assert!(world.current.is_nat_dest(Proto::Tcp, dest.addr, 80));
    assert_eq!(world.addrs(0), ["10.2.0.3"]);
    assert_eq!(world.builder.dest_name(gone).unwrap().1, "10.2.0.2:80".parse().unwrap());
    world.busy.clear();
    world.load(&without);
    assert!(world.current.dest(gone).addr.is_unspecified());
    assert!(!world.current.is_nat_dest(Proto::Tcp, Addr::v4(0x0a02_0002), 80));
}

#[test]
fn how_a_removed_dests_conns_end_is_for_its_service_to_say_while_there_is_one() {
    let mut world = World::new(16);
    let with = |on_dead: &str, dests: &[(u8, u16)]| {
        let text = service(80, "nat", dests);
        text.replacen("forward", &format!("on_dead = '{on_dead}'\nforward"), 1)
    };
    let other = service(81, "nat", &[(9, 1)]);
    world.load(&config(&[with("drop", &[(2, 1), (3, 1)]), other.clone()]));
    let gone = world.id("10.2.0.2");
    let on_dead = |w: &World| w.current.dest(gone).traits.on_dead;
    assert_eq!((on_dead(&world), world.current.lookup.strict().len()), (OnDead::Drop, 2));
    world.busy.insert(gone);
    // Removed and given another policy by one reload.
    world.load(&config(&[with("reset", &[(3, 1)]), other.clone()]));
    assert_eq!(on_dead(&world), OnDead::Reset);
    assert!(world.current.lookup.strict().contains(&gone));
    // Without its service it goes by what that said last.
    world.load(&config(&[other]));
    assert_eq!(on_dead(&world), OnDead::Reset);
}

#[test]
fn a_removed_dest_stays_until_every_worker_knows_that_it_is() {
    let mut world = World::new(16);
    world.load(&config(&[service(80, "nat", &[(2, 1), (3, 1)])]));
    let gone = world.id("10.2.0.2");
    let without = config(&[service(80, "nat", &[(3, 1)])]);
    world.settled = false;
    world.load(&without);
    world.load(&without);
    assert!(!world.current.dest(gone).addr.is_unspecified());
    world.settled = true;
    world.load(&without);
    assert!(world.current.dest(gone).addr.is_unspecified());
}

#[test]
fn a_removed_dest_that_returns_finds_its_number_and_counters() {
    let mut world = World::new(16);
    let with = config(&[service(80, "nat", &[(2, 1), (3, 1)])]);
    world.load(&with);
    let gone = world.id("10.2.0.2");
    let without = config(&[service(80, "nat", &[(3, 1)])]);
    world.load(&without);
    world.load(&without);
    assert!(world.load(&with).is_empty());
    assert_eq!(world.id("10.2.0.2"), gone);
    assert!(!world.current.dest(gone).removed);
    assert_eq!(world.addrs(0), ["10.2.0.2", "10.2.0.3"]);
}

#[test]
fn a_number_rests_before_it_serves_another_dest() {
    let mut world = World::new(2);
    world.load(&config(&[service(80, "nat", &[(2, 1), (3, 1)])]));
    let id = world.id("10.2.0.2");
    let next = config(&[service(80, "nat", &[(3, 1), (4, 1)])]);
    world.busy.insert(id);
    assert_eq!(world.try_build(&next), Err(BuildError::Dests(2)));
    let without = config(&[service(80, "nat", &[(3, 1)])]);
    world.load(&without);
    world.load(&without);
    assert_eq!(world.try_build(&next), Err(BuildError::Dests(2)));
    world.busy.clear();
    world.load(&without);
    assert_eq!(world.load(&next), [id]);
    assert_eq!(world.id("10.2.0.4"), id);
}

#[test]
fn another_method_is_another_dest_so_that_conns_keep_theirs() {
    let mut world = World::new(16);
    world.load(&config(&[service(80, "nat", &[(2, 1)])]));
    let old = world.id("10.2.0.2");
    world.busy.insert(old);
    world.load(&config(&[service(80, "dr", &[(2, 1)])]));
    assert!(world.current.dest(old).removed);
    assert_eq!(world.current.dest(old).forward, Forward::Nat);
    let new = world.current.services[0].dests[0].id;
    assert_ne!(new, old);
    assert_eq!(world.current.dest(new).forward, Forward::Dr);
}

/// A service at port 53 of udp whose dests are by their own methods, with what else it says.
fn mixed(more: &str, methods: &[&str]) -> String {
    let mut text = format!(
        "{PORTS}[[service]]\naddress = '10.1.0.100:53'\nprotocol = 'udp'\nforward = 'dr'\n{more}\n"
    );
    for (n, method) in methods.iter().enumerate() {
        let dest = format!("[[service.dest]]\naddress = '10.2.0.{}'\n{method}\n", n + 2);
        text.push_str(&dest);
    }
    text
}

#[test]
fn each_dest_has_its_own_method_and_what_goes_with_it() {
    let more = "pool = 'l'\nclient_address = 'proxy-v2'\noversize = 'fragment'\ntunnel = 'gre'";
    let methods =
        ["", "forward = 'nat'", "forward = 'fullnat'", "forward = 'tunnel'\ntunnel = 'ipip'"];
    let mut world = World::new(16);
    world.load(&mixed(more, &methods));
    let dest = |n: u8| world.current.dest(world.id(&format!("10.2.0.{n}")));
    let of = |n| (dest(n).forward, 1400 - dest(n).mtu, dest(n).traits.udp_timeout / 1000);
    // The header of the PROXY protocol and of the tunnel, each for its own.
    let header = pointsman_dataplane::wire::proxy::datagram_len(Family::V4);
    assert_eq!(of(2), (Forward::Dr, 0, 300));
    assert_eq!(of(3), (Forward::Nat, 0, 300));
    assert_eq!(of(4), (Forward::FullNat, header, 30));
    assert_eq!(of(5), (Forward::Tunnel, 20, 300));
    let told = |n| dest(n).traits.client_address != ClientAddress::Off;
    assert_eq!([2, 3, 4, 5].map(told), [false, false, true, false]);
    let service = &world.current.services[0];
    assert_eq!(service.methods.to_string(), "nat+fullnat+dr+tunnel");
    assert!(service.goes_by_client());
}

/// The others stay the dests they are, with their conns and counters.
#[test]
fn a_dest_of_another_method_is_a_new_dest_and_its_neighbours_stay() {
    let mut world = World::new(16);
    world.load(&mixed("", &["", "", "forward = 'nat'"]));
    let kept = [world.id("10.2.0.2"), world.id("10.2.0.4")];
    let fresh = world.load(&mixed("", &["", "forward = 'nat'", "forward = 'nat'"]));
    assert_eq!(fresh.len(), 1);
    assert_eq!(world.current.dest(fresh[0]).forward, Forward::Nat);
    assert_eq!([world.id("10.2.0.2"), world.id("10.2.0.4")], kept);
}

/// Their conns belong to other workers then, so those they have are looked for everywhere.
#[test]
fn the_first_dest_by_nat_and_the_end_of_the_last_make_new_dests_of_all() {
    let mut world = World::new(16);
    let ids = |w: &World| w.current.services[0].dests.iter().map(|c| c.id).collect::<Vec<_>>();
    world.load(&mixed("", &["", ""]));
    let before = ids(&world);
    assert_eq!(world.load(&mixed("", &["", "", ""])).len(), 1, "another dr dest decides nothing");
    world.busy.insert(before[0]);
    let fresh = world.load(&mixed("", &["", "", "forward = 'nat'"]));
    assert_eq!(fresh.len(), 3);
    assert!(ids(&world).iter().all(|id| fresh.contains(id)));
    assert!(world.current.dest(before[0]).removed && world.current.lookup.has_removed());
    assert!(world.load(&mixed("", &["", "", "forward = 'nat'"])).is_empty());
    assert!(world.current.lookup.has_removed(), "they live still");
    world.load(&mixed("", &["", ""]));
    assert_eq!(ids(&world), before, "what they were before");
    assert!(!world.current.dest(before[0]).removed);
}

#[test]
fn what_stands_where_it_stood_keeps_its_conns_whatever_on_dead_says() {
    let mut world = World::new(16);
    let drops = "on_dead = 'drop'";
    world.load(&mixed(drops, &["", "", "forward = 'tunnel'"]));
    let at = |w: &World, n: u8| w.id(&format!("10.2.0.{n}"));
    let [first, second, third] = [2, 3, 4].map(|n| at(&world, n));
    world.busy.extend([first, second, third]);
    let gone = |w: &World| [first, second, third].map(|id| w.current.dest(id).is_gone());
    let on_dead = |w: &World| [first, second, third].map(|id| w.current.dest(id).traits.on_dead);
    // One changes, which with its method changes whose conns all others' are.
    world.load(&mixed(drops, &["", "", "forward = 'nat'"]));
    assert!([first, second, third].iter().all(|id| world.current.dest(*id).removed));
    assert_eq!(gone(&world), [false; 3]);
    world.load(&mixed(drops, &["", "forward = 'nat'"]));
    assert_eq!(
        gone(&world),
        [false, false, true],
        "the third is listed no more by whatever method"
    );
    // What it says goes for them, once they are gone, and where they are dead.
    world.load(&mixed("on_dead = 'reselect'", &["", "forward = 'nat'"]));
    assert_eq!(on_dead(&world), [OnDead::Reselect; 3]);
}

/// They are what conns of any removed service are, which go by what that said last.
#[test]
fn what_stood_where_it_stood_goes_with_its_service() {
    let mut world = World::new(16);
    let drops = "on_dead = 'drop'";
    let other = service(81, "nat", &[(9, 1)]);
    world.load(&(mixed(drops, &["", ""]) + &other));
    let [first, second] = [2, 3].map(|n| world.id(&format!("10.2.0.{n}")));
    world.busy.extend([first, second]);
    world.load(&(mixed(drops, &["", "forward = 'tunnel'"]) + &other));
    assert!(world.current.dest(second).removed && !world.current.dest(second).is_gone());
    world.load(&config(&[other]));
    for id in [first, second] {
        let dest = world.current.dest(id);
        assert_eq!((dest.is_gone(), dest.traits.on_dead), (true, OnDead::Drop));
        assert!(dest.traits.orphaned && world.current.lookup.strict().contains(&id));
    }
    // And it may come back, by either method.
    world.load(&mixed(drops, &["", "forward = 'tunnel'"]));
    assert!(!world.current.dest(first).removed && !world.current.dest(second).is_gone());
}

/// The kernel edits weight and method of one and the same dest.
#[test]
fn what_stands_by_another_number_has_the_weight_of_what_stands_there() {
    let mut world = World::new(16);
    world.load(&mixed("", &["weight = 3", "weight = 3"]));
    let old = world.id("10.2.0.3");
    world.busy.insert(old);
    let weight = |w: &World| w.current.dest(old).weight;
    for expected in [3, 0, 5] {
        let changed = format!("weight = {expected}\nforward = 'tunnel'");
        world.load(&mixed("", &["weight = 3", &changed]));
        assert!(world.current.dest(old).removed);
        assert_eq!(weight(&world), expected);
    }
    world.load(&mixed("", &["weight = 3"]));
    assert_eq!((weight(&world), world.current.dest(old).is_gone()), (0, true));
}

/// What a router has told of the way to a tunnel's end lowers a snapshot's MTUs, for a time (`paths`): the next one begins
/// with what the port carries.
#[test]
fn a_removed_tunnels_mtu_is_its_ports_once_what_was_learnt_is_forgotten() {
    let mut world = World::new(16);
    world.load(&config(&[service(80, "tunnel", &[(2, 1), (3, 1)])]));
    let gone = world.id("10.2.0.2");
    world.busy.insert(gone);
    let whole = world.current.dest(gone).mtu;
    let others = [service(80, "tunnel", &[(3, 1)]), service(81, "nat", &[(9, 1)])];
    for without in [config(&others), config(&others[..1]), config(&others[1..])] {
        world.load(&without);
        assert_eq!((world.current.dest(gone).removed, world.current.dest(gone).mtu), (true, whole));
        world.current.dests[gone.0 as usize].mtu = whole - 100;
    }
}

#[test]
fn vips_of_removed_services_are_answered_while_conns_live() {
    let mut world = World::new(16);
    world.load(&config(&[service(80, "nat", &[(2, 1)])]));
    let vip: Addr = "10.1.0.100".parse::<IpAddr>().unwrap().into();
    world.busy.insert(world.id("10.2.0.2"));
    world.load(PORTS);
    world.load(PORTS);
    assert!(world.current.locals[&vip].vip);
    let asked = Tuple { proto: Proto::Tcp, src: vip, sport: 1024, dst: vip, dport: 80 };
    assert!(world.current.service(&asked).is_none());
    world.busy.clear();
    world.load(PORTS);
    assert!(!world.current.locals.contains_key(&vip));
}

/// A mark's service has the addresses that rules give it, and no others.
#[test]
fn vips_of_a_removed_mark_are_those_that_its_rules_took() {
    let mut world = World::new(16);
    let marked = "[[match]]\ndestination = '10.1.0.50'\nports = [80]\nmark = 7\n\
                  [[service]]\nmark = 7\nforward = 'nat'\n\
                  [[service.dest]]\naddress = '10.2.0.2:80'\n";
    world.load(&(config(&[service(81, "nat", &[(3, 1)])]) + marked));
    let [vip, others] =
        ["10.1.0.50", "10.1.0.100"].map(|a| Addr::from(a.parse::<IpAddr>().unwrap()));
    let is_vip = |world: &World, addr| world.current.locals.get(&addr).is_some_and(|l| l.vip);
    assert!(is_vip(&world, vip) && is_vip(&world, others));
    world.busy.insert(world.id("10.2.0.2"));
    // Until every worker knows of it.
    world.load(PORTS);
    for _ in 0..3 {
        world.load(PORTS);
        assert!(is_vip(&world, vip), "its conns live");
        assert!(!is_vip(&world, others), "nobody's conns live there");
    }
    world.busy.clear();
    world.load(PORTS);
    assert!(!is_vip(&world, vip));
}

/// The rule may go first, and the service with its VIP later: its conns live there yet.
#[test]
fn vips_of_a_removed_mark_are_also_those_that_its_rules_took_before() {
    let mut world = World::new(16);
    let rule = "[[match]]\ndestination = '10.1.0.100'\nports = [80]\nmark = 7\n";
    let marked = "[[service]]\nmark = 7\nforward = 'nat'\n\
                  [[service.dest]]\naddress = '10.2.0.2:80'\n";
    let other = config(&[service(81, "nat", &[(3, 1)])]);
    world.load(&format!("{other}{rule}{marked}"));
    world.busy.insert(world.id("10.2.0.2"));
    world.load(&format!("{other}{marked}"));
    let vip = Addr::from("10.1.0.100".parse::<IpAddr>().unwrap());
    for _ in 0..3 {
        world.load(PORTS);
        assert!(world.current.locals.get(&vip).is_some_and(|l| l.vip));
    }
    world.busy.clear();
    world.load(PORTS);
    assert!(!world.current.locals.contains_key(&vip));
}

/// A service of a range of 10.1.0.16 on.
fn range(last: u8, port: u16) -> String {
    service(port, "nat", &[(2, 1), (3, 1)])
        .replace(&format!("10.1.0.100:{port}'"), &format!("10.1.0.16-10.1.0.{last}:{port}'"))
}

#[test]
fn a_range_that_becomes_longer_is_the_same_service() {
    let mut world = World::new(16);
    world.load(&config(&[range(20, 80)]));
    let (id, dest) = (world.current.services[0].id, world.id("10.2.0.2"));
    let version = world.current.services[0].version;
    // Also while a dest of it that was taken out has conns.
    world.busy.insert(world.id("10.2.0.3"));
    let third = world.id("10.2.0.3");
    assert!(
        world.load(&config(&[range(25, 80).replace("10.2.0.3", "10.2.0.4")])).contains(&DestId(2))
    );
    assert_eq!((world.current.services[0].id, world.id("10.2.0.2")), (id, dest));
    assert!(world.current.dest(third).removed && !world.current.dest(third).traits.orphaned);
    assert!(world.load(&config(&[range(30, 80)])).is_empty());
    let service = &world.current.services[0];
    assert_eq!((service.id, world.id("10.2.0.3")), (id, third));
    assert!(service.version > version, "its dests were others meanwhile");
    assert_eq!(world.builder.dest_name(dest).unwrap().0, "tcp 10.1.0.16-10.1.0.30:80");
    // Nor does a longer one change more than that.
    let version = service.version;
    world.load(&config(&[range(31, 80)]));
    assert_eq!(world.current.services[0].version, version);
}

#[test]
fn a_range_that_becomes_shorter_is_another_service_and_serves_what_it_lost_to_the_end() {
    let mut world = World::new(16);
    world.load(&config(&[range(20, 80)]));
    let dest = world.id("10.2.0.2");
    let lost: Addr = "10.1.0.20".parse::<IpAddr>().unwrap().into();
    world.busy.insert(dest);
    for _ in 0..3 {
        world.load(&config(&[range(19, 80)]));
        assert!(world.current.dest(dest).removed && world.current.locals[&lost].vip);
    }
    world.busy.clear();
    world.load(&config(&[range(19, 80)]));
    assert!(!world.current.locals.contains_key(&lost));
    // Back again, it finds what it had.
    assert!(world.load(&config(&[range(20, 80)])).is_empty());
    assert!(!world.current.dest(dest).removed);
}

#[test]
fn a_removed_dest_is_an_orphan_while_its_service_is_gone() {
    let mut world = World::new(16);
    let (both, one) = ([(2, 1), (3, 1)], [(3, 1)]);
    world.load(&config(&[service(80, "nat", &both)]));
    let id = world.id("10.2.0.2");
    world.busy.insert(id);
    let orphaned = |world: &World| {
        assert!(world.current.dest(id).removed);
        (world.current.dest(id).traits.orphaned, world.current.lookup.has_orphans())
    };
    world.load(&config(&[service(80, "nat", &one)]));
    assert_eq!(orphaned(&world), (false, false));
    world.load(PORTS);
    assert_eq!(orphaned(&world), (true, true));
    world.load(&config(&[service(80, "nat", &one)]));
    assert_eq!(orphaned(&world), (false, false));
    world.load(PORTS);
    world.load(&config(&[service(80, "nat", &both)]));
    assert!(!world.current.dest(id).traits.orphaned && !world.current.dest(id).removed);
}

#[test]
fn pool_addresses_taken_out_are_answered_until_their_last_lease_is_given_back() {
    let mut world = World::new(16);
    world.load(PORTS);
    let smaller = PORTS.replace("'10.2.0.100-10.2.0.101'", "'10.2.0.100'");
    let addr: Addr = "10.2.0.101".parse::<IpAddr>().unwrap().into();
    let lingering = |world: &World| world.builder.lingering().collect::<Vec<_>>();
    // Until every worker has the new snapshot, one may lease a port yet.
    world.settled = false;
    world.load(&smaller);
    assert_eq!(lingering(&world), [addr]);
    world.settled = true;
    world.leased.insert(addr);
    for _ in 0..3 {
        world.load(&smaller);
        assert!(world.current.locals[&addr].pool);
        assert_eq!(lingering(&world), [addr]);
    }
    world.leased.clear();
    world.load(&smaller);
    assert!(!world.current.locals.contains_key(&addr));
    assert_eq!(lingering(&world), []);
}

#[test]
fn an_address_given_to_another_machine_lingers_no_longer() {
    let mut world = World::new(16);
    let text = config(&[service(80, "fullnat", &[(2, 1)])]);
    let smaller = text.replace("'10.2.0.100-10.2.0.101'", "'10.2.0.100'");
    let with_it = smaller.clone() + "[[service.dest]]\naddress='10.2.0.101:80'\n";
    let addr: Addr = "10.2.0.101".parse::<IpAddr>().unwrap().into();
    world.leased.insert(addr);
    // In one reload, and in two with the time in between in which it lingers.
    world.load(&text);
    world.load(&with_it);
    assert!(!world.current.locals.contains_key(&addr));
    assert_eq!(world.builder.lingering().count(), 0);
    world.load(&text);
    world.load(&smaller);
    assert!(world.current.locals[&addr].pool);
    world.load(&with_it);
    assert!(!world.current.locals.contains_key(&addr));
    // As a router, too.
    world.load(&text);
    world.load(&(smaller + "[[route]]\nto='10.9.0.0/16'\nvia='10.2.0.101'\n"));
    assert!(!world.current.locals.contains_key(&addr));
}

#[test]
fn a_next_hop_that_is_ours_is_refused_as_such() {
    let mut world = World::new(16);
    // The link-local address of the port itself: the file alone does not show it.
    let text = PORTS.replace("'10.1.0.1'", "['10.1.0.1', 'fe80::ff:fe00:1']");
    let ours = "fe80::ff:fe00:1".parse().unwrap();
    assert_eq!(world.try_build(&text), Err(BuildError::Ours(ours)));
    let said = BuildError::Ours(ours).to_string();
    assert!(said.contains("of the director itself") && !said.contains("neighbours"), "{said}");
}

#[test]
fn a_removed_dest_without_a_route_keeps_its_next_hop_wanted() {
    let mut world = World::new(16);
    let routed = "[[service]]\naddress='10.1.0.100:82'\nforward='tunnel'\n\
                  [[service.dest]]\naddress='10.9.0.7'\n\
                  [[route]]\nto='10.9.0.0/16'\nvia='10.2.0.9'\n";
    let no_gateway = PORTS.replace("gateway = '10.1.0.1'\n", "");
    world.load(&(no_gateway.clone() + routed));
    let id = world.id("10.9.0.7");
    let before = world.current.dest(id).clone();
    world.busy.insert(id);
    world.load(&no_gateway);
    world.load(&no_gateway);
    assert_eq!(world.current.dest(id).hop, before.hop);
    let hops = &world.hops;
    let entry = |hop: Hop| hops.iter().find(|(_, n)| **n == hop.0).map(|(key, _)| *key);
    let via: Addr = "10.2.0.9".parse::<IpAddr>().unwrap().into();
    assert_eq!(wanted(&world.current, entry), [(PortId(1), via)]);
}

#[test]
fn ports_know_their_addresses_and_who_is_on_them() {
    let mut world = World::new(16);
    world.load(&config(&[service(80, "fullnat", &[(2, 1)])]));
    let (wan, lan) = (&world.current.ports[0], &world.current.ports[1]);
    let texts = |p: &pointsman_dataplane::snapshot::PortInfo| {
        p.addrs.iter().map(|(a, _)| a.to_string()).collect::<Vec<_>>()
    };
    // RFC 4291 appendix A: the universal bit is inverted, ff:fe goes into the middle.
    assert_eq!(texts(wan), ["10.1.0.254", "2001:db8:1::fe", "fe80::ff:fe00:1"]);
    assert_eq!(texts(lan), ["10.2.0.254", "fe80::ff:fe00:2"]);
    assert_eq!((lan.mtu, lan.vlan, lan.mac), (1400, Some(7), MACS[1]));
    let ports = |a: &str| world.current.locals[&Addr::from(a.parse::<IpAddr>().unwrap())].ports;
    assert_eq!(ports("10.1.0.254"), 1);
    assert_eq!(ports("10.1.0.100"), 1);
    assert_eq!(ports("10.2.0.101"), 2);
}

#[test]
fn a_director_without_v6_has_no_link_local_addresses() {
    let mut world = World::new(16);
    world.load(&PORTS.replace(", '2001:db8:1::fe/64'", ""));
    assert!(world.current.ports.iter().flat_map(|p| &p.addrs).all(|(a, _)| a.is_v4()));
}

#[test]
fn dests_know_their_way() {
    let mut world = World::new(16);
    let far = "[[service]]\naddress='10.1.0.100:82'\nforward='tunnel'\n\
               [[service.dest]]\naddress='192.0.2.7'\n";
    world.load(&config(&[service(81, "tunnel", &[(3, 1)]), far.into()]));
    let near = world.current.dest(world.id("10.2.0.3"));
    assert_eq!((near.out, near.mtu), (PortId(1), 1380));
    assert_eq!(near.tunnel.source.to_string(), "10.2.0.254");
    let far = world.current.dest(world.id("192.0.2.7"));
    assert_eq!((far.out, far.mtu, far.port), (PortId(0), 1480, 82));
    let gateway: Addr = "10.1.0.1".parse::<IpAddr>().unwrap().into();
    assert_eq!(far.hop, Hop(world.hops[&(PortId(0), gateway)]));
    assert_eq!(
        wanted(&world.current, |_| None)
            .iter()
            .map(|(p, a)| (p.0, a.to_string()))
            .collect::<Vec<_>>(),
        [(0, "10.1.0.1".into()), (1, "10.2.0.3".into())]
    );
}

#[test]
fn between_families_syns_are_clamped_for_the_larger_header() {
    let text = |vip: &str, dest: &str| {
        format!(
            "[[port]]\nname = \"wan\"\ndevice = \"net_null0\"\n\
             addresses = [\"10.0.0.1/24\", \"2001:db8::1/64\"]\nmtu = 1400\n\
             [[pool]]\nname = \"p\"\naddresses = [\"10.0.0.100\", \"2001:db8::100\"]\n\
             [[service]]\naddress = \"{vip}\"\nforward = \"fullnat\"\npool = \"p\"\n\
             [[service.dest]]\naddress = \"{dest}\"\n"
        )
    };
    for (vip, dest, mss) in [
        ("10.0.0.9:80", "10.0.0.11", 1360),
        ("10.0.0.9:80", "[2001:db8::11]", 1340),
        ("[2001:db8::9]:80", "10.0.0.11", 1340),
        ("[2001:db8::9]:80", "[2001:db8::11]", 1340),
    ] {
        let mut w = World::new(10);
        w.load(&text(vip, dest));
        let dest = w.current.dest(w.current.services[0].dests[0].id);
        assert_eq!((dest.traits.mss, dest.mtu), (mss, 1400), "{vip}");
    }
}

#[test]
fn a_full_neighbour_table_is_said_so_and_changes_nothing() {
    let mut world = World::new(16);
    world.load(&config(&[service(80, "nat", &[(2, 1)])]));
    world.room = 2;
    let before = world.current.clone();
    let error = world.try_build(&config(&[service(80, "nat", &[(2, 1), (3, 1)])])).unwrap_err();
    assert!(error.to_string().contains("10.2.0.3"), "{error}");
    assert!(error.to_string().contains("director.neighbours"), "{error}");
    let (again, _) = world.try_build(&config(&[service(80, "nat", &[(2, 1)])])).unwrap();
    assert_eq!(again, before);
}

#[test]
fn hops_are_looked_up_anew_only_when_they_changed() {
    let mut world = World::new(16);
    world.load(&config(&[service(80, "nat", &[(2, 1)])]));
    let first = world.current.clone();
    world.load(&config(&[service(80, "nat", &[(2, 9), (3, 1)])]));
    assert!(!hops_changed(&first, &world.current));
    let before = world.current.clone();
    let routed = "[[route]]\nto='10.9.0.0/16'\nvia='10.2.0.9'\n";
    world.load(&(config(&[service(80, "nat", &[(2, 9), (3, 1)])]) + routed));
    assert!(hops_changed(&before, &world.current));
}

#[test]
fn the_example_is_served() {
    let (config, _) = pointsman_config::parse("t", pointsman_config::example()).unwrap();
    let mac = |i| PortFacts { mac: [2, 0, 0, 0, 0, i], fixed_queue: true };
    let facts: Vec<_> = (0..config.ports.len()).map(|i| mac(i as u8)).collect();
    let mut inputs = Inputs {
        ports: &facts,
        hop: &mut |port, addr| Some(Hop(u32::from(port.0) << 16 | addr.bits() as u32 & 0xffff)),
        has_conns: &|_| false,
        settled: true,
        has_leases: &|_| false,
    };
    let (built, _) = Builder::new(4096).build(&config, &Snapshot::default(), &mut inputs).unwrap();
    assert_eq!(built.services.len(), config.services.len());
    assert!(built.dests.iter().all(|d| !d.removed));
}

/// A dest has one next hop: for full-NAT that of the pool's source, else that of any source.
#[test]
fn a_dests_way_is_that_of_the_pools_source() {
    let mut world = World::new(16);
    let ways = "
        [[route]]
        to = '10.9.0.0/16'
        via = '10.2.0.1'
        [[route]]
        to = '10.9.0.0/16'
        from = '10.2.0.96/28'
        via = '10.2.0.7'
    ";
    let service = |port: u16, forward: &str| {
        let pool = if forward == "fullnat" { "pool = 'l'" } else { "" };
        format!(
            "[[service]]\naddress = '10.1.0.100:{port}'\nforward = '{forward}'\n{pool}\n\
             [[service.dest]]\naddress = '10.9.0.5:{port}'\n"
        )
    };
    let config = |services: &[String]| format!("{PORTS}{ways}{}", services.concat());
    world.load(&config(&[service(80, "fullnat"), service(81, "nat")]));
    let addr = |text: &str| Addr::from(text.parse::<IpAddr>().unwrap());
    let hop = |world: &World, via: &str| Hop(world.hops[&(PortId(1), addr(via))]);
    let of = |world: &World, n: usize| {
        let id = world.current.services[n].dests[0].id;
        (id, world.current.dest(id).hop)
    };
    let (id, fullnat) = of(&world, 0);
    assert_eq!(fullnat, hop(&world, "10.2.0.7"));
    assert_eq!(of(&world, 1).1, hop(&world, "10.2.0.1"));
    let wanted = wanted(&world.current, |_| None);
    assert_eq!(wanted.len(), 3, "the two next hops and the gateway: {wanted:?}");
    // Removed, it keeps its way for the conns it has, reload after reload.
    world.busy.insert(id);
    for _ in 0..3 {
        world.load(&config(&[service(81, "nat")]));
        assert_eq!((world.current.dest(id).removed, world.current.dest(id).hop), (true, fullnat));
    }
}

/// A rule for what the servers open, with these further lines.
fn snat(name: &str, lines: &str) -> String {
    format!("[[snat]]\nname = '{name}'\nsource = '10.2.0.0/24'\n{lines}\n")
}

const ROUTERS: &str = "pool = 'automap'
    [[snat.dest]]
    address = '10.1.0.2'
    [[snat.dest]]
    address = '10.1.0.3'";

#[test]
fn a_rule_by_route_has_one_dest_that_needs_no_next_hop() {
    let mut world = World::new(16);
    let text = config(&[snat("out", "address = '10.1.0.254'\nports = [53, '80-81']")]);
    assert_eq!(world.load(&text), [DestId(0)]);
    let rule = &world.current.snats[0];
    assert_eq!(rule.matching.ports, [53..=53, 80..=81]);
    assert!(rule.service.is_rule() && rule.matching.protocols.tcp && !rule.matching.protocols.icmp);
    let dest = world.current.dest(DestId(0));
    assert_eq!((dest.traits.target, dest.mtu), (Target::ByRoute, 0));
    assert!(!dest.is_nobody());
    // The pool of its addresses comes behind the file's own.
    let own = Addr::from(IpAddr::from([10, 1, 0, 254]));
    assert_eq!(rule.service.pool, Some(1));
    assert_eq!(world.current.laddrs(&rule.service, PortId(1), own.family()), [own]);
    assert!(world.current.locals[&own].pool && world.current.locals[&own].own);
    let hops = wanted(&world.current, |_| None);
    assert_eq!(hops, [(PortId(0), IpAddr::from([10, 1, 0, 1]).into())], "the gateway alone");
}

#[test]
fn a_rule_with_routers_keeps_destinations_and_goes_by_them() {
    let mut world = World::new(16);
    world.load(&config(&[snat("out", ROUTERS)]));
    let rule = &world.current.snats[0];
    assert_eq!(rule.service.pool, None, "automap");
    for (candidate, router) in rule.service.dests.iter().zip(["10.1.0.3", "10.1.0.2"]) {
        let dest = world.current.dest(candidate.id);
        assert_eq!((dest.addr.to_string().as_str(), dest.out), (router, PortId(0)));
        assert_eq!((dest.traits.target, dest.traits.retries), (Target::ByDest, 1));
        assert_eq!(dest.mtu, 1500);
    }
    let own = |port: u8| world.current.laddrs(&rule.service, PortId(port), Addr::v4(0).family());
    assert_eq!(own(0), [IpAddr::from([10, 1, 0, 254]).into()]);
    assert_eq!(own(1), [IpAddr::from([10, 2, 0, 254]).into()]);
    assert!(own(1).iter().all(|addr| world.current.locals[addr].pool), "replies have an owner");
}

#[test]
fn a_rule_keeps_its_numbers_by_its_name() {
    let mut world = World::new(16);
    let (a, b) = (snat("a", ROUTERS), snat("b", "pool = 'automap'"));
    assert_eq!(world.load(&config(&[a.clone(), b.clone()])).len(), 3);
    let ids = |w: &World, n: usize| {
        let service = &w.current.snats[n].service;
        (service.id, service.dests.iter().map(|c| c.id).collect::<Vec<_>>(), service.version)
    };
    let before = (ids(&world, 0), ids(&world, 1));
    assert!(world.load(&config(&[b.clone(), a.clone()])).is_empty());
    assert_eq!((ids(&world, 1), ids(&world, 0)), before);
    let again = world.try_build(&config(&[b, a])).unwrap();
    assert_eq!(again.0, world.current);
    assert_eq!(world.builder.dest_name(before.1.1[0]).unwrap().0, "snat b");
}

#[test]
fn a_rule_that_goes_stays_while_it_has_conns() {
    let mut world = World::new(16);
    world.load(&config(&[snat("a", ROUTERS), snat("b", "pool = 'automap'")]));
    world.busy.extend([DestId(0), DestId(2)]);
    world.load(&config(&[]));
    world.load(&config(&[]));
    let target = |id| world.current.dest(DestId(id)).traits.target;
    assert_eq!((target(0), target(2)), (Target::ByDest, Target::ByRoute));
    assert!(world.current.dest(DestId(1)).is_nobody(), "had none");
    assert!(world.current.lookup.any_may_have_it());
    world.busy.clear();
    world.load(&config(&[]));
    assert!(world.current.dests.iter().all(Dest::is_nobody));
}

#[test]
fn full_nat_by_automap_leaves_with_the_address_of_the_dests_port() {
    let mut world = World::new(16);
    world.load(&config(&[service(80, "fullnat", &[(2, 1)]).replace("'l'", "'automap'")]));
    let service = &world.current.services[0];
    assert_eq!((service.pool, service.is_rule()), (None, false));
    let dest = world.current.dest(service.dests[0].id);
    let own = IpAddr::from([10, 2, 0, 254]).into();
    assert_eq!(world.current.laddrs(service, dest.out, dest.addr.family()), [own]);
    assert!(world.current.locals[&own].pool);
}

#[test]
fn dests_that_are_told_of_their_clients_keep_room_for_it_in_datagrams() {
    use pointsman_dataplane::service::ClientAddress;
    let mut world = World::new(16);
    let telling = |protocol: &str| {
        service(80, "fullnat", &[(2, 1)]).replace(
            "pool =",
            &format!(
                "protocol='{protocol}'\nclient_address='proxy-v2'\nproxy_in='10.9.0.0/16'\npool ="
            ),
        )
    };
    world.load(&config(&[telling("udp")]));
    let dest = world.current.dest(world.id("10.2.0.2"));
    assert_eq!((dest.mtu, dest.traits.client_address), (1368, ClientAddress::ProxyV2));
    let upstream: Addr = "10.9.1.1".parse::<IpAddr>().unwrap().into();
    assert!(world.current.services[0].proxy_in[0].contains(upstream));
    // A removed one too, for the conns it has.
    world.busy.insert(DestId(0));
    world.load(&config(&[telling("tcp")]));
    let mtus: Vec<_> = world.current.dests.iter().map(|d| (d.removed, d.mtu)).collect();
    assert_eq!(mtus, [(true, 1368), (false, 1400)]);
}

/// RFC 4787 section 4.3: at least two minutes, less only for well-known ports. What counts is the
/// dest's port, not the VIP's.
#[test]
fn udp_conns_under_full_nat_live_120_s_by_default_and_30_s_to_a_well_known_dport() {
    let mut world = World::new(16);
    let with = |vport, forward: &str, dport, more: &str| {
        format!(
            "{PORTS}[[service]]\naddress = '10.1.0.100:{vport}'\nprotocol = 'udp'\n\
             forward = '{forward}'\n{more}\n[[service.dest]]\naddress='10.2.0.2:{dport}'\n"
        )
    };
    for (vport, forward, dport, more, seconds) in [
        (53, "fullnat", 5353, "pool = 'l'", 120),
        (5353, "fullnat", 53, "pool = 'l'", 30),
        (53, "fullnat", 1023, "pool = 'l'", 30),
        (53, "fullnat", 1024, "pool = 'l'", 120),
        (53, "fullnat", 1024, "pool = 'l'\nudp_timeout = 7", 7),
        (53, "nat", 53, "", 300),
    ] {
        world.load(&with(vport, forward, dport, more));
        let dest = world.current.services[0].dests[0].id;
        let timeout = world.current.dest(dest).traits.udp_timeout;
        assert_eq!(timeout, seconds * 1000, "{forward} {vport} to {dport} {more}");
    }
}

#[test]
fn oversize_reaches_the_dests_of_a_tunnel() {
    let mut world = World::new(16);
    for (more, cuts_outer) in
        [("", false), ("oversize = 'too-big'", false), ("oversize = 'fragment'", true)]
    {
        world.load(&format!(
            "{PORTS}[[service]]\naddress = '10.1.0.100:80'\nforward = 'tunnel'\n{more}\n\
             [[service.dest]]\naddress='10.2.0.2'\n"
        ));
        let dest = world.current.services[0].dests[0].id;
        assert_eq!(world.current.dest(dest).traits.cuts_outer, cuts_outer, "{more}");
    }
}

/// By the `Arc` a worker knows whether open conns must be asked again; and a list that nobody touched
/// is not built anew.
#[test]
fn access_lists_are_the_same_while_none_of_them_changes() {
    let mut world = World::new(16);
    let services = || config(&[service(80, "nat", &[(2, 1)])]);
    let with = |lists: &str| format!("[director]\n{lists}\n") + &services();
    let client = |n: u32| Addr::v4(0xc633_6400 + n);
    world.load(&with("deny = ['198.51.100.0/24']\nallow = ['198.51.100.7']"));
    let first = Arc::clone(&world.current.access);
    let admitted = |access: &Access| [6, 7].map(|n| access.admits(None, client(n)));
    assert_eq!(admitted(&first), [false, true]);
    world.load(&with("deny = ['198.51.100.0/24']\nallow = ['198.51.100.7']\nroute = true"));
    assert!(Arc::ptr_eq(&first, &world.current.access));
    let own = "allow = ['198.51.100.0/25']\ndenied = 'reject'\n";
    let text = with("deny = ['198.51.100.0/24']\nallow = ['198.51.100.7']");
    world.load(&text.replace("[[service]]\n", &format!("[[service]]\n{own}")));
    let second = Arc::clone(&world.current.access);
    let same = |a: &Access, b: &Access| {
        let (a, b) = (a.everywhere.as_ref().unwrap(), b.everywhere.as_ref().unwrap());
        Arc::ptr_eq(a, b)
    };
    assert!(!Arc::ptr_eq(&first, &second) && same(&first, &second));
    let id = Some(world.current.services[0].id);
    assert_eq!([7, 200].map(|n| second.admits(id, client(n))), [true, false]);
    assert!(world.current.dests[0].traits.denied == Closed::Reject);
    world.load(&services());
    assert_eq!(*world.current.access, Access::default());
}

/// Its conns belong to other workers then, so those it has are looked for everywhere.
#[test]
fn a_service_that_gets_a_helper_has_new_dests() {
    let mut world = World::new(16);
    let plain = service(21, "fullnat", &[(2, 1)]);
    let helped = plain.replace("pool =", "helper='ftp'\npool =");
    world.load(&config(&[plain]));
    assert!(!world.current.services[0].terms.ftp);
    let before = world.current.services[0].dests[0].id;
    world.busy.insert(before);
    world.load(&config(&[helped]));
    assert!(world.current.services[0].terms.ftp);
    assert_ne!(world.current.services[0].dests[0].id, before);
    assert!(world.current.dest(before).removed);
}

/// What its server sends of a data conn is known by its address alone.
#[test]
fn a_removed_dest_of_a_helped_service_has_data_conns_still() {
    let mut world = World::new(16);
    let helped = |forward: &str, dests: &[(u8, u16)]| {
        service(21, forward, dests).replace("scheduler", "helper='ftp'\nscheduler")
    };
    let both = [(2, 1), (3, 1)];
    let server: Addr = "10.2.0.2".parse::<IpAddr>().unwrap().into();
    let (proto, dst) = (Proto::Tcp, Addr::v4(0xc000_0201));
    let sent = Tuple { proto, src: server, sport: 20, dst, dport: 40_000 };
    let forward = |w: &World| w.current.ftp_dest(&sent).map(|dest| dest.forward);
    world.load(&config(&[helped("nat", &both)]));
    assert_eq!(forward(&world), Some(Forward::Nat));
    world.busy.insert(world.id("10.2.0.2"));
    for without in [config(&[helped("nat", &both[1..])]), config(&[helped("fullnat", &both)])] {
        world.load(&without);
        assert_eq!(forward(&world), Some(Forward::Nat), "whatever it is by now");
    }
    for _ in 0..2 {
        world.load(&config(&[service(80, "nat", &[(9, 1)])]));
        assert_eq!(forward(&world), Some(Forward::Nat));
    }
    world.busy.clear();
    world.load(&config(&[service(80, "nat", &[(9, 1)])]));
    assert_eq!(forward(&world), None);
}
