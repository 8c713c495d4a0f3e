//! What an accepted file becomes.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use pointsman_config::AddressRange;
use pointsman_config::Closed;
use pointsman_config::Config;
use pointsman_config::Dest;
use pointsman_config::Device;
use pointsman_config::Exhausted;
use pointsman_config::Forward;
use pointsman_config::Hugepages;
use pointsman_config::IcmpSource;
use pointsman_config::Idle;
use pointsman_config::LeaveWith;
use pointsman_config::Persistence;
use pointsman_config::Prefix;
use pointsman_config::Protocol;
use pointsman_config::Route;
use pointsman_config::Scheduler;
use pointsman_config::Snat;
use pointsman_config::SnatProtocol;
use pointsman_config::Timeouts;
use pointsman_config::example;
use pointsman_config::parse;
use std::net::IpAddr;
use std::path::Path;

fn config(text: &str) -> Config {
    parse("pm.toml", text).unwrap_or_else(|errors| panic!("{errors}")).0
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix::new(ip(address), length.parse().unwrap()).unwrap()
}

/// The least there is: one arm.
const SMALLEST: &str = r#"
[[port]]
name = "arm"
device = "0000:03:00.0"
addresses = "10.1.0.254/24"
"#;

/// Two arms and a network behind a router on either side.
const TWO_ARMS: &str = r#"
[[port]]
name = "wan"
device = "net_af_packet0,iface=d0"
addresses = ["10.1.0.254/24", "2001:db8:1::fe/64"]
gateway = ["10.1.0.1", "fe80::1"]

[[port]]
name = "lan"
device = "net_af_packet1,iface=d1"
addresses = ["10.2.0.254/24", "2001:db8:2::fe/64"]

[[route]]
to = "10.9.0.0/16"
via = "10.2.0.1"

[[route]]
to = "10.9.7.0/24"
via = "10.1.0.7"

[[route]]
to = "2001:db8:9::/48"
via = "fe80::2"
port = "lan"

[[route]]
to = "10.2.0.128/25"
via = "10.1.0.9"
"#;

#[test]
fn nothing_given_is_the_default() {
    let config = config(SMALLEST);
    let director = &config.director;
    assert_eq!(
        (director.cores.as_ref(), director.control_core, director.workers()),
        (None, None, 1)
    );
    assert_eq!((director.conns, director.neighbours, director.memory), (1_048_576, 4096, 512));
    assert_eq!(
        (director.idle, director.hugepages, director.mbufs),
        (Idle::Poll, Hugepages::Auto, None)
    );
    assert_eq!(director.socket, Path::new("/run/pointsman/pointsman.sock"));
    assert_eq!(config.timeouts, Timeouts::default());
    let port = &config.ports[0];
    assert_eq!((port.mtu, port.vlan, port.rx_ring, port.tx_ring), (1500, None, 1024, 1024));
    assert_eq!(port.device, Device::Pci("0000:03:00.0".into()));
    assert!(port.gateways.is_empty() && config.routes.is_empty() && config.pools.is_empty());
    assert!(config.vips.is_empty() && config.services.is_empty());
}

#[test]
fn the_kernels_timeouts_are_the_default() {
    let Timeouts { tcp_none, tcp_established, tcp_syn_sent, tcp_syn_recv, tcp_fin_wait, .. } =
        Timeouts::default();
    let Timeouts { tcp_time_wait, tcp_close, tcp_close_wait, tcp_last_ack, tcp_listen, .. } =
        Timeouts::default();
    let Timeouts { tcp_synack, udp, .. } = Timeouts::default();
    assert_eq!(
        [tcp_none, tcp_established, tcp_syn_sent, tcp_syn_recv, tcp_fin_wait],
        [2, 900, 120, 60, 120]
    );
    assert_eq!(
        [tcp_time_wait, tcp_close, tcp_close_wait, tcp_last_ack, tcp_listen],
        [120, 10, 60, 30, 120]
    );
    assert_eq!([tcp_synack, udp], [120, 300]);
    let Timeouts { sctp_init1, sctp_init, sctp_cookie_sent, sctp_cookie_replied, .. } =
        Timeouts::default();
    assert_eq!([sctp_init1, sctp_init, sctp_cookie_sent, sctp_cookie_replied], [4, 61, 61, 61]);
    let Timeouts { sctp_cookie_wait, sctp_cookie, sctp_cookie_echoed, sctp_established, .. } =
        Timeouts::default();
    assert_eq!(
        [sctp_cookie_wait, sctp_cookie, sctp_cookie_echoed, sctp_established],
        [61, 61, 61, 900]
    );
    let Timeouts { sctp_shutdown_sent, sctp_shutdown_received, sctp_shutdown_ack_sent, .. } =
        Timeouts::default();
    assert_eq!([sctp_shutdown_sent, sctp_shutdown_received, sctp_shutdown_ack_sent], [61; 3]);
    let Timeouts { sctp_rejected, sctp_closed, .. } = Timeouts::default();
    assert_eq!([sctp_rejected, sctp_closed], [4, 61]);
}

#[test]
fn the_example_gives_the_defaults_it_names() {
    let given = config(example());
    let defaults = config(SMALLEST);
    assert_eq!(given.timeouts, defaults.timeouts);
    let mut director = given.director;
    assert_eq!((director.cores.take(), director.control_core.take()), (Some(vec![1]), Some(0)));
    assert_eq!(director, defaults.director);
    for port in &given.ports {
        assert_eq!((port.mtu, port.rx_ring, port.tx_ring), (1500, 1024, 1024));
    }
    assert_eq!(given.services[0].scheduler, Scheduler::Wlc);
    assert_eq!(given.services[0].protocol, Protocol::Tcp);
}

/// What is behind a single `#` is meant to be used as it stands.
#[test]
fn the_example_parses_with_what_is_commented_out() {
    let lines = example().lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') && !rest.is_empty() => rest,
        _ => line,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    // The files that it names.
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("example");
    std::fs::create_dir_all(&home).unwrap();
    for (file, prefix) in [("allow.txt", "10.0.0.0/9"), ("deny.txt", "203.0.113.0/24")] {
        for file in [file.to_owned(), format!("web-{file}")] {
            std::fs::write(home.join(file), prefix).unwrap();
        }
    }
    let name = home.join("pm.toml").display().to_string();
    let (config, warnings) = parse(&name, &text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(warnings, []);
    assert_eq!((config.director.mbufs, config.ports[0].vlan), (Some(16384), Some(100)));
    let access = config.director.access.unwrap();
    assert_eq!((access.allow.len(), access.deny.len(), access.others), (2, 3, false));
}

#[test]
fn every_key_reaches_the_model() {
    let config = config(
        r#"
[director]
cores = [3, 2]
control_core = 1
idle = "adaptive"
conns = 2048
neighbours = 64
socket = "/tmp/pm.sock"
hugepages = "never"
memory = 64
mbufs = 0x2000
route = true
[timeouts]
tcp_none = 1
tcp_established = 2
tcp_syn_sent = 3
tcp_syn_recv = 4
tcp_fin_wait = 5
tcp_time_wait = 6
tcp_close = 7
tcp_close_wait = 8
tcp_last_ack = 9
tcp_listen = 10
tcp_synack = 11
udp = 12
sctp_init1 = 13
sctp_init = 14
sctp_cookie_sent = 15
sctp_cookie_replied = 16
sctp_cookie_wait = 17
sctp_cookie = 18
sctp_cookie_echoed = 19
sctp_established = 20
sctp_shutdown_sent = 21
sctp_shutdown_received = 22
sctp_shutdown_ack_sent = 23
sctp_rejected = 24
sctp_closed = 25
[[port]]
name = "one arm"
device = "03:00.1,representor=0"
addresses = ["10.1.0.254/24"]
gateway = "10.1.0.1"
vlan = 7
mtu = 9000
rx_ring = 256
tx_ring = 512
[[pool]]
name = "p"
addresses = ["10.1.0.254", "10.1.0.8 - 10.1.0.9"]
shared = true
[[vip]]
address = "10.1.0.100"
closed = "drop"
[[service]]
name = "s"
address = "10.1.0.100:53"
protocol = "udp"
scheduler = "sh"
forward = "fullnat"
pool = "p"
last_hop = true
icmp_source = "router"
dest = [{ address = "10.1.0.2:5353", weight = 0 }, { address = "10.1.0.3", weight = 65535 }]
"#,
    );
    let director = &config.director;
    assert_eq!((director.cores.as_deref(), director.control_core), (Some(&[3, 2][..]), Some(1)));
    assert_eq!((director.idle, director.hugepages), (Idle::Adaptive, Hugepages::Never));
    assert_eq!(
        (director.conns, director.neighbours, director.memory, director.mbufs),
        (2048, 64, 64, Some(8192))
    );
    assert_eq!((director.socket.as_path(), director.workers()), (Path::new("/tmp/pm.sock"), 2));
    let expected = Timeouts {
        tcp_none: 1,
        tcp_established: 2,
        tcp_syn_sent: 3,
        tcp_syn_recv: 4,
        tcp_fin_wait: 5,
        tcp_time_wait: 6,
        tcp_close: 7,
        tcp_close_wait: 8,
        tcp_last_ack: 9,
        tcp_listen: 10,
        tcp_synack: 11,
        udp: 12,
        sctp_init1: 13,
        sctp_init: 14,
        sctp_cookie_sent: 15,
        sctp_cookie_replied: 16,
        sctp_cookie_wait: 17,
        sctp_cookie: 18,
        sctp_cookie_echoed: 19,
        sctp_established: 20,
        sctp_shutdown_sent: 21,
        sctp_shutdown_received: 22,
        sctp_shutdown_ack_sent: 23,
        sctp_rejected: 24,
        sctp_closed: 25,
    };
    assert_eq!(config.timeouts, expected);
    let port = &config.ports[0];
    assert_eq!(
        (port.name.as_str(), port.device.as_str()),
        ("one arm", "0000:03:00.1,representor=0")
    );
    assert_eq!(
        (&port.addresses[..], &port.gateways[..]),
        (&[prefix("10.1.0.254/24")][..], &[ip("10.1.0.1")][..])
    );
    assert_eq!((port.vlan, port.mtu, port.rx_ring, port.tx_ring), (Some(7), 9000, 256, 512));
    let pool = &config.pools[0];
    assert_eq!((pool.name.as_str(), pool.shared), ("p", true));
    assert_eq!(
        pool.addresses().collect::<Vec<_>>(),
        [ip("10.1.0.254"), ip("10.1.0.8"), ip("10.1.0.9")]
    );
    assert!(pool.contains(ip("10.1.0.9")) && !pool.contains(ip("10.1.0.10")));
    let vip = &config.vips[0];
    assert_eq!(
        (vip.address, vip.closed, &vip.ports[..]),
        (ip("10.1.0.100"), Closed::Drop, &[0][..])
    );
    let service = &config.services[0];
    assert_eq!((service.name.as_str(), service.address.to_string()), ("s", "10.1.0.100:53".into()));
    assert_eq!((service.protocol, service.scheduler), (Protocol::Udp, Scheduler::Sh));
    assert_eq!((service.forward, service.pool, service.vip), (Forward::FullNat, Some(0), Some(0)));
    assert_eq!((service.last_hop, service.icmp_source), (true, IcmpSource::Router));
    assert!(director.route);
    let (upper, lower) = (0, 0);
    let dest = |address: &str, weight| Dest {
        address: address.parse().unwrap(),
        weight,
        forward: Forward::FullNat,
        upper,
        lower,
        tunnel: Default::default(),
    };
    assert_eq!(service.dests, [dest("10.1.0.2:5353", 0), dest("10.1.0.3:53", 65535)]);
}

#[test]
fn every_word_is_its_own_name() {
    let with = |scheduler: &str, forward: &str| {
        let pool = if forward == "fullnat" { "pool = \"p\"" } else { "" };
        config(&format!(
            "{SMALLEST}\n[[pool]]\nname = \"p\"\naddresses = \"10.1.0.9\"\n[[service]]\naddress = \"10.1.0.100:80\"\n\
             scheduler = \"{scheduler}\"\nforward = \"{forward}\"\n{pool}\n"
        ))
    };
    for scheduler in {
        use Scheduler::*;
        [Rr, Wrr, Lc, Wlc, Sh, Dh, Sed, Nq, Fo, Ovf, Mh, Twos, Nobody]
    } {
        assert_eq!(with(scheduler.as_str(), "nat").services[0].scheduler, scheduler);
    }
    for forward in [Forward::Nat, Forward::FullNat, Forward::Dr, Forward::Tunnel] {
        assert_eq!(with("rr", forward.as_str()).services[0].forward, forward);
    }
    assert_eq!(format!("{:>8}|{}", Forward::FullNat, Protocol::Udp), " fullnat|udp");
}

#[test]
fn the_longest_prefix_wins() {
    let config = config(TWO_ARMS);
    let way = |address: &str| config.route(ip(address));
    assert_eq!(way("10.1.0.77"), Some((0, ip("10.1.0.77"))));
    assert_eq!(way("10.2.0.77"), Some((1, ip("10.2.0.77"))));
    assert_eq!(way("10.2.0.200"), Some((0, ip("10.1.0.9"))));
    assert_eq!(way("10.9.1.1"), Some((1, ip("10.2.0.1"))));
    assert_eq!(way("10.9.7.1"), Some((0, ip("10.1.0.7"))));
    assert_eq!(way("192.0.2.1"), Some((0, ip("10.1.0.1"))));
    assert_eq!(way("2001:db8:2::77"), Some((1, ip("2001:db8:2::77"))));
    assert_eq!(way("2001:db8:9::77"), Some((1, ip("fe80::2"))));
    assert_eq!(way("2001:db8:77::"), Some((0, ip("fe80::1"))));
}

#[test]
fn of_routes_to_equal_prefixes_the_longest_from_wins() {
    let routes = r#"
[[route]]
to = "0.0.0.0/0"
from = "10.2.0.0/24"
via = "10.1.0.21"
[[route]]
to = "0.0.0.0/0"
from = "10.2.0.64/26"
via = "10.1.0.22"
[[route]]
to = "10.9.0.0/16"
from = "10.2.0.64/26"
via = "10.1.0.23"
"#;
    let config = config(&format!("{TWO_ARMS}{routes}"));
    let way = |source: &str, address: &str| config.route_from(ip(source), ip(address));
    assert_eq!(way("10.3.0.1", "192.0.2.1"), Some((0, ip("10.1.0.1"))));
    assert_eq!(way("10.2.0.1", "192.0.2.1"), Some((0, ip("10.1.0.21"))));
    assert_eq!(way("10.2.0.65", "192.0.2.1"), Some((0, ip("10.1.0.22"))));
    assert_eq!(way("10.2.0.65", "10.9.1.1"), Some((0, ip("10.1.0.23"))));
    assert_eq!(way("10.2.0.1", "10.9.1.1"), Some((1, ip("10.2.0.1"))));
    // The longest destination comes first.
    assert_eq!(way("10.2.0.65", "10.9.7.1"), Some((0, ip("10.1.0.7"))));
    assert_eq!(config.route(ip("192.0.2.1")), Some((0, ip("10.1.0.1"))));
}

#[test]
fn without_a_gateway_there_may_be_no_way() {
    let config = config(SMALLEST);
    assert_eq!(config.route(ip("10.1.0.1")), Some((0, ip("10.1.0.1"))));
    assert_eq!(config.route(ip("10.1.1.1")), None);
    assert_eq!(config.route(ip("2001:db8::1")), None);
}

#[test]
fn a_route_knows_its_port() {
    let config = config(TWO_ARMS);
    assert_eq!(
        config.routes[0],
        Route { to: prefix("10.9.0.0/16"), from: None, via: ip("10.2.0.1"), port: 1 }
    );
    assert_eq!(
        config.routes[2],
        Route { to: prefix("2001:db8:9::/48"), from: None, via: ip("fe80::2"), port: 1 }
    );
}

#[test]
fn vips_are_answered_where_they_belong() {
    let services = r#"
[[service]]
address = "192.0.2.1:80"
forward = "nat"
[[service]]
address = "10.2.0.100:80"
forward = "nat"
[[service]]
address = "192.0.2.1:443"
forward = "nat"
[[vip]]
address = "10.1.0.100"
[[vip]]
address = "192.0.2.2"
port = "lan"
[[vip]]
address = "10.2.0.100"
closed = "drop"
"#;
    let config = config(&format!("{TWO_ARMS}{services}"));
    let vips: Vec<_> =
        config.vips.iter().map(|vip| (vip.address, vip.closed, vip.ports.clone())).collect();
    let expected = [
        (ip("192.0.2.1"), Closed::Reject, vec![0, 1]),
        (ip("10.2.0.100"), Closed::Drop, vec![1]),
        (ip("10.1.0.100"), Closed::Reject, vec![0]),
        (ip("192.0.2.2"), Closed::Reject, vec![1]),
    ];
    assert_eq!(vips, expected);
    assert_eq!(
        config.services.iter().map(|service| service.vip).collect::<Vec<_>>(),
        [Some(0), Some(1), Some(0)]
    );
    assert_eq!(config.services[2].name, "tcp 192.0.2.1:443");
    assert_eq!(config.ports_answering(ip("10.2.0.7")), [1]);
    assert_eq!(config.ports_answering(ip("203.0.113.7")), [0, 1]);
}

#[test]
fn a_pool_may_be_of_both_families_and_full() {
    let pool =
        "[[pool]]\nname = \"p\"\naddresses = [\"2001:db8:7::-2001:db8:7::fffe\", \"192.0.2.1\"]\n";
    let config = config(&format!("{SMALLEST}{pool}"));
    assert_eq!(config.pools[0].addresses().count(), 65_536);
    let range = AddressRange::new(ip("2001:db8:7::"), ip("2001:db8:7::fffe")).unwrap();
    assert_eq!(config.pools[0].ranges[0], range);
}

#[test]
fn comments_and_layout_make_no_difference_and_values_do() {
    let first = config(TWO_ARMS);
    assert_eq!(first, config(&TWO_ARMS.replace(" = ", "=").replace('\n', " # x\n")));
    assert_ne!(first, config(&TWO_ARMS.replace("10.1.0.7", "10.1.0.8")));
    assert_ne!(first, config(&format!("[director]\nconns = 4096\n{TWO_ARMS}")));
}

#[test]
fn every_key_of_a_snat_rule_reaches_the_model() {
    let config = config(
        r#"
[[port]]
name = "wan"
device = "net_null0"
addresses = ["10.1.0.254/24", "2001:db8:1::fe/64"]
gateway = ["10.1.0.1", "2001:db8:1::1"]
[[pool]]
name = "p"
addresses = ["10.1.0.8"]
[[snat]]
source = ["10.2.0.0/24", "2001:db8:2::/64"]
pool = "automap"
[[snat]]
name = "all of it"
source = "10.2.0.0/24"
destination = ["192.0.2.0/24"]
ports = ["8000-8080", 53]
protocol = ["udp", "tcp"]
pool = "p"
scheduler = "wrr"
retries = 3
mss = 1200
udp_timeout = 7
exhausted = "reject"
[[snat.dest]]
address = "10.1.0.2"
weight = 0
[[snat.dest]]
address = "10.1.0.3"
[[snat]]
source = "10.2.0.0/24"
ports = 80
address = "10.1.0.254"
"#,
    );
    let prefix = |text: &str| {
        let (address, length) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
    };
    let [first, second, third] = &config.snats[..] else { panic!("{:?}", config.snats) };
    let all = [SnatProtocol::Tcp, SnatProtocol::Udp, SnatProtocol::Sctp, SnatProtocol::Icmp];
    let expected = Snat {
        name: "rule 1".into(),
        sources: vec![prefix("10.2.0.0/24"), prefix("2001:db8:2::/64")],
        destinations: vec![],
        ports: vec![],
        protocols: all.to_vec(),
        leave_with: LeaveWith::Automap,
        scheduler: Scheduler::Sh,
        retries: 0,
        mss: None,
        udp_timeout: None,
        exhausted: Exhausted::Drop,
        dests: vec![],
    };
    assert_eq!(*first, expected);
    let (upper, lower) = (0, 0);
    let router = |n: u8, weight| Dest {
        address: ([10, 1, 0, n], 0).into(),
        weight,
        forward: Forward::FullNat,
        upper,
        lower,
        tunnel: Default::default(),
    };
    let expected = Snat {
        name: "all of it".into(),
        sources: vec![prefix("10.2.0.0/24")],
        destinations: vec![prefix("192.0.2.0/24")],
        ports: vec![(8000, 8080), (53, 53)],
        protocols: vec![SnatProtocol::Udp, SnatProtocol::Tcp],
        leave_with: LeaveWith::Pool(0),
        scheduler: Scheduler::Wrr,
        retries: 3,
        mss: Some(1200),
        udp_timeout: Some(7),
        exhausted: Exhausted::Reject,
        dests: vec![router(2, 0), router(3, 1)],
    };
    assert_eq!(*second, expected);
    assert_eq!(third.leave_with, LeaveWith::Addresses(vec!["10.1.0.254".parse().unwrap()]));
    assert_eq!((&third.ports[..], &third.protocols[..]), (&[(80, 80)][..], &all[..3]));
}

/// ipvsadm's `-p` without a number, and a client is one address.
#[test]
fn persistence_without_a_time_is_of_360_s() {
    for (vip, prefix) in [("10.1.0.100:80", 32), ("[2001:db8::100]:80", 128)] {
        let of = |persistent: &str| {
            let text = format!(
                "{SMALLEST}\n[[service]]\naddress = \"{vip}\"\nforward = \"nat\"\n{persistent}\n"
            );
            config(&text).services[0].persistence
        };
        let whole = |timeout| Some(Persistence { timeout, prefix });
        assert_eq!(of("persistent = true"), whole(360));
        assert_eq!(of("persistent = 7"), whole(7));
        assert_eq!(of(""), None);
    }
}

#[test]
fn a_maglev_table_may_have_655_373_buckets() {
    let of = |size: &str| {
        let text = format!(
            "{SMALLEST}\n[[service]]\naddress = \"10.1.0.100:80\"\nforward = \"nat\"\n\
             scheduler = \"mh\"\n{size}\n"
        );
        parse("pm.toml", &text).map(|(config, _)| config.services[0].maglev_size)
    };
    assert_eq!(of("maglev_size = 655373").ok(), Some(655_373));
    assert_eq!(of("").ok(), Some(4093));
    assert!(of("maglev_size = 655379").is_err(), "the next prime");
}
