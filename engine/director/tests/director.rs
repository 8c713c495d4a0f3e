//! A whole director over ports in memory: threads, socket, reloads, stop.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use etherparse::PacketBuilder;
use pointsman::control::Signals;
use pointsman::control::listing::ConnStatus;
use pointsman::control::listing::Piece;
use pointsman::control::socket::Request;
use pointsman::control::socket::Socket;
use pointsman::control::socket::ask;
use pointsman::control::socket::ask_pieces;
use pointsman::control::status::Status;
use pointsman::io::mem;
use pointsman::io::mem::Mem;
use pointsman::io::mem::MemPool;
use pointsman::io::mem::MemWire;
use pointsman::serve::Director;
use pointsman::serve::serve;
use pointsman::worker::Queues;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 0xc];
const SERVER: [u8; 6] = [2, 0, 0, 0, 0, 0xd];

struct Lab {
    dir: PathBuf,
    thread: Option<JoinHandle<Result<(), String>>>,
    signals: Signals,
    wires: Vec<MemWire>,
    pool: MemPool,
    workers: usize,
}

fn config(dests: &[u8]) -> String {
    let mut text = "
        [[port]]
        name = 'wan'
        device = 'net_null0'
        addresses = ['10.1.0.254/24']
        [[port]]
        name = 'lan'
        device = 'net_null1'
        addresses = ['10.2.0.254/24']
        [[pool]]
        name = 'p'
        addresses = ['10.2.0.100']
        [[service]]
        name = 'web'
        address = '10.1.0.100:80'
        forward = 'fullnat'
        scheduler = 'rr'
        pool = 'p'
        # A conn that its dest never answers stays where it is.
        retries = 0
        "
    .to_owned();
    for host in dests {
        text += &format!("[[service.dest]]\naddress = '10.2.0.{host}'\n");
    }
    text
}

impl Lab {
    fn start(name: &str, workers: usize) -> Self {
        let dir = std::env::temp_dir().join(format!("pointsman-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let mut lab = Self {
            dir,
            thread: None,
            signals: Signals::default(),
            wires: Vec::new(),
            pool: MemPool::new(4096, 2048),
            workers,
        };
        lab.write(&[2, 3]);
        let file = lab.dir.join("p.toml");
        let (config, _) = pointsman_config::load(&file).unwrap_or_else(|e| panic!("{e}"));
        let mut queues: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        let mut nics = Vec::new();
        for mac in MACS {
            let (nic, rx, tx, wire) = mem::port(mac, workers, 256);
            for (worker, (rx, tx)) in rx.into_iter().zip(tx).enumerate() {
                queues[worker].push(Queues { rx, tx });
            }
            nics.push(nic);
            lab.wires.push(wire);
        }
        let (pool, signals, path) = (lab.pool.clone(), lab.signals.clone(), lab.socket());
        lab.thread = Some(std::thread::spawn(move || {
            let mut socket = Socket::bind(&path)?;
            let requests = socket.serve().map_err(|e| e.to_string())?;
            serve::<Mem>(Director {
                driver: Mem,
                config,
                file,
                nics,
                queues,
                pool,
                cores: vec![None; workers],
                requests: Some(requests),
                signals,
                driver_log: Vec::new,
            })
        }));
        lab.until("the socket answers", |lab| ask(&lab.socket(), &Request::Pid).is_ok());
        lab
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("p.sock")
    }

    fn write(&self, dests: &[u8]) {
        let head = format!(
            "[director]\nidle = 'adaptive'\nconns = 4096\nsecret = '{}'\nsocket = '{}'\n",
            self.dir.join("secret").display(),
            self.socket().display()
        );
        let cores = (0..self.workers).map(|c| c.to_string()).collect::<Vec<_>>().join(", ");
        let text = format!("{head}cores = [{cores}]\n{}", config(dests));
        fs::write(self.dir.join("p.toml"), text).unwrap();
    }

    fn until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(begun.elapsed() < Duration::from_secs(10), "waited in vain: {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn inject(&mut self, port: usize, frame: &[u8]) {
        let frame = self.pool.frame(frame).unwrap();
        self.wires[port].inject(0, frame).unwrap();
    }

    /// Waits for a frame out of a port that the test is looking for.
    fn expect(&self, port: usize, what: &str, is_it: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut found = None;
        self.until(what, |lab| {
            for queue in 0..lab.workers {
                while let Some(frame) = lab.wires[port].take(queue) {
                    use pointsman_dataplane::frame::Frame;
                    if is_it(frame.data()) {
                        found = Some(frame.data().to_vec());
                        return true;
                    }
                }
            }
            false
        });
        found.unwrap()
    }

    /// The server says where 10.2.0.`host` is when asked, which resolves it.
    fn answer_arp(&mut self, host: u8) {
        let asked = |f: &[u8]| f[12..14] == [8, 6] && f[21] == 1 && f[38..42] == [10, 2, 0, host];
        self.expect(1, "an ARP request for the dest", asked);
        self.inject(1, &arp(2, MACS[1], SERVER, [10, 2, 0, host], MACS[1], [10, 2, 0, 254]));
        let dest = format!("10.2.0.{host}");
        self.until("the dest is reachable", |lab| {
            let entries = lab.status().neighbours.entries;
            entries.iter().any(|n| n.address == dest && n.state == "reachable")
        });
    }

    fn status(&self) -> Status {
        let answer = ask(&self.socket(), &Request::Status).unwrap();
        serde_json::from_value(answer).unwrap()
    }

    fn reload(&self) -> Result<String, String> {
        let answer = ask(&self.socket(), &Request::Reload)?;
        Ok(answer["result"].as_str().unwrap().to_owned())
    }

    /// What `pointsman conns` is told: the conns, and how many more there are.
    fn conns(&self, filter: &[&str], limit: u64) -> Result<(Vec<ConnStatus>, u64), String> {
        let filter = filter.iter().map(|word| (*word).to_owned()).collect();
        let (mut all, mut rest) = (Vec::new(), None);
        ask_pieces(&self.socket(), &Request::Conns { filter, limit }, |piece| {
            match piece {
                Piece::Conns(conns) => all.extend(conns),
                Piece::End { more } => rest = Some(more),
                Piece::Error(why) => panic!("{why}"),
            }
            true
        })?;
        Ok((all, rest.unwrap()))
    }

    /// Stops the director, with its books balanced; every frame is back then, and the socket gone.
    fn stop(mut self) {
        // Frames may be on their way between workers when it is asked.
        self.until("the law holds", |lab| {
            let law = lab.status().law;
            law.holds && law.inputs == law.outputs
        });
        self.signals.stop.store(true, Relaxed);
        self.thread.take().unwrap().join().unwrap().unwrap();
        assert!(!self.socket().exists());
        self.wires.clear();
        assert_eq!(self.pool.available(), self.pool.capacity());
        fs::remove_dir_all(&self.dir).unwrap();
    }
}

fn arp(op: u8, dst: [u8; 6], sha: [u8; 6], spa: [u8; 4], tha: [u8; 6], tpa: [u8; 4]) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, op];
    [&dst[..], &sha, &[8, 6], &head, &sha, &spa, &tha, &tpa].concat()
}

fn syn(port: u16) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(CLIENT, MACS[0])
        .ipv4([10, 1, 0, 1], [10, 1, 0, 100], 64)
        .tcp(port, 80, 1, 1000)
        .syn();
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).unwrap();
    frame
}

fn is_syn_to(host: u8) -> impl Fn(&[u8]) -> bool {
    move |f| f[12..14] == [8, 0] && f[23] == 6 && f[30..34] == [10, 2, 0, host] && f[47] == 2
}

fn forwards(workers: usize) {
    let mut lab = Lab::start(&format!("forwards-{workers}"), workers);
    lab.inject(0, &arp(1, [0xff; 6], CLIENT, [10, 1, 0, 1], [0; 6], [10, 1, 0, 100]));
    let reply = lab.expect(0, "an ARP reply for the VIP", |f| {
        f[12..14] == [8, 6] && f[21] == 2 && f[28..32] == [10, 1, 0, 100]
    });
    assert_eq!(
        (&reply[..6], &reply[6..12], &reply[22..28]),
        (&CLIENT[..], &MACS[0][..], &MACS[0][..])
    );
    lab.answer_arp(2);
    lab.answer_arp(3);
    // rr: four conns, whichever worker they fall to, reach both dests.
    let mut seen = [0; 2];
    for port in 0..16 {
        lab.inject(0, &syn(5000 + port));
        let to_server = |f: &[u8]| is_syn_to(2)(f) || is_syn_to(3)(f);
        let frame = lab.expect(1, "the SYN at a server", to_server);
        assert_eq!((&frame[..6], &frame[26..30]), (&SERVER[..], &[10, 2, 0, 100][..]));
        seen[usize::from(frame[33] - 2)] += 1;
    }
    assert!(seen[0] > 0 && seen[1] > 0 && seen[0] + seen[1] == 16, "{seen:?}");
    lab.until("the books show it", |lab| {
        let s = lab.status();
        let conns: u64 = s.services[0].dests.iter().map(|d| d.conns).sum();
        s.conns.used == 16 && conns == 16 && s.law.holds && s.law.inputs == s.law.outputs
    });
    let status = lab.status();
    assert_eq!(status.workers.len(), workers);
    assert_eq!(status.leases, 16);
    assert!(status.workers.iter().all(|w| w.law_holds));
    if workers == 2 {
        let handed: u64 = status.workers.iter().map(|w| w.handed_over).sum();
        assert!(handed > 0 && handed < 16 + status.law.to_control, "{handed}");
    }
    assert_eq!(status.ports[0].mac, "02:00:00:00:00:01");
    assert!(status.ports[0].rx_packets > 16 && status.ports[1].tx_packets > 16);
    lab.stop();
}

#[test]
fn one_worker_forwards() {
    forwards(1);
}

#[test]
fn two_workers_forward_and_hand_over() {
    forwards(2);
}

#[test]
fn reloads_keep_what_lasts() {
    let mut lab = Lab::start("reloads", 1);
    lab.answer_arp(2);
    lab.answer_arp(3);
    lab.inject(0, &syn(6000));
    let first = lab.expect(1, "the SYN", |f| is_syn_to(2)(f) || is_syn_to(3)(f))[33];
    for _ in 0..100 {
        assert_eq!(lab.reload().unwrap(), "nothing changed");
    }
    let status = lab.status();
    assert_eq!((status.conns.used, status.control.snapshots, status.config.reloads), (1, 0, 100));
    // rr goes on with the other one.
    lab.inject(0, &syn(6001));
    let second = lab.expect(1, "the SYN", |f| is_syn_to(2)(f) || is_syn_to(3)(f))[33];
    assert_ne!(first, second);

    // The dest with a conn is taken out: its conn goes on, no new one comes.
    let stays = if first == 2 { 3 } else { 2 };
    lab.write(&[stays]);
    assert_eq!(lab.reload().unwrap(), "serving 1 services, 1 dests (was 2)");
    let status = lab.status();
    assert_eq!(status.removed.len(), 1);
    assert_eq!(status.removed[0].service, "tcp 10.1.0.100:80");
    assert_eq!(status.removed[0].dest.address, format!("10.2.0.{first}:80"));
    assert_eq!(status.removed[0].dest.active, 1);
    for port in 0..4 {
        lab.inject(0, &syn(6100 + port));
        lab.expect(1, "the SYN at the dest that stays", is_syn_to(stays));
    }
    lab.inject(0, &syn(6000));
    lab.expect(1, "the same conn's SYN again, at the removed dest", is_syn_to(first));

    // It comes back with its counters.
    lab.write(&[stays, first]);
    lab.reload().unwrap();
    let status = lab.status();
    assert!(status.removed.is_empty());
    let back = status.services[0].dests.iter().find(|d| d.address == format!("10.2.0.{first}:80"));
    assert_eq!((back.unwrap().active, back.unwrap().conns), (1, 1));
    lab.stop();
}

#[test]
fn a_reload_may_give_an_address_of_ours_to_another_machine() {
    let mut lab = Lab::start("given", 1);
    let file = lab.dir.join("p.toml");
    let good = fs::read_to_string(&file).unwrap();
    // The pool's address becomes a dest.
    let dest = good.replace("addresses = ['10.2.0.100']", "addresses = ['10.2.0.101']")
        + "[[service.dest]]\naddress = '10.2.0.100'\n";
    fs::write(&file, &dest).unwrap();
    assert_eq!(lab.reload().unwrap(), "serving 1 services, 3 dests (was 2)");
    lab.answer_arp(100);
    // The port's own becomes its gateway.
    let swapped = dest.replace(
        "addresses = ['10.1.0.254/24']",
        "addresses = ['10.1.0.253/24']\ngateway = '10.1.0.254'",
    );
    fs::write(&file, swapped).unwrap();
    lab.reload().unwrap();
    lab.expect(0, "an ARP request for the gateway, by the new address", |f| {
        f[12..14] == [8, 6] && f[28..32] == [10, 1, 0, 253] && f[38..42] == [10, 1, 0, 254]
    });
    lab.stop();
}

#[test]
fn a_removed_dest_without_conns_is_forgotten_within_seconds() {
    let lab = Lab::start("forgotten", 1);
    lab.write(&[2]);
    lab.reload().unwrap();
    assert_eq!(lab.status().removed.len(), 1);
    let begun = Instant::now();
    lab.until("the removed dest is gone", |lab| lab.status().removed.is_empty());
    assert!(begun.elapsed() < Duration::from_secs(5));
    // One look, two a second apart: two snapshots, not one each second.
    assert_eq!(lab.status().control.snapshots, 2);
    lab.stop();
}

#[test]
fn a_port_that_refuses_its_groups_is_asked_again() {
    let lab = Lab::start("groups", 1);
    assert_eq!(lab.status().ports[0].multicast, "list");
    lab.wires[0].refuse_groups(true);
    let file = lab.dir.join("p.toml");
    let good = fs::read_to_string(&file).unwrap();
    let v6 = "addresses = ['10.1.0.254/24', '2001:db8:1::fe/64']";
    fs::write(&file, good.replace("addresses = ['10.1.0.254/24']", v6)).unwrap();
    lab.reload().unwrap();
    assert_eq!(lab.status().ports[0].multicast, "refused");
    lab.wires[0].refuse_groups(false);
    lab.until("the groups are taken", |lab| lab.status().ports[0].multicast == "list");
    lab.stop();
}

#[test]
fn frames_larger_than_a_buffer_are_shown() {
    let lab = Lab::start("scattered", 1);
    assert_eq!(lab.status().ports[1].scattered, 0);
    lab.wires[1].scatter(3);
    let ports = lab.status().ports;
    assert_eq!((ports[0].scattered, ports[1].scattered), (0, 3));
    lab.stop();
}

#[test]
fn a_bad_file_leaves_the_old_configuration_and_says_why() {
    let lab = Lab::start("bad", 1);
    let file = lab.dir.join("p.toml");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replace("'rr'", "'rrr'")).unwrap();
    let error = lab.reload().unwrap_err();
    assert!(error.contains("did you mean \"rr\"?"), "{error}");
    let status = lab.status();
    assert!(!status.config.last_reload_ok && status.config.last_reload.contains("rrr"));
    assert_eq!(status.services[0].scheduler, "rr");
    fs::write(&file, good.replace("conns = 4096", "conns = 8192")).unwrap();
    assert_eq!(lab.reload().unwrap_err(), "these take a restart: director.conns");
    // By signal: the same, said in the log and in status.
    fs::write(&file, good).unwrap();
    lab.signals.reload.store(true, Relaxed);
    lab.until("the signal is seen", |lab| lab.status().config.reloads == 3);
    assert!(lab.status().config.last_reload_ok);
    lab.stop();
}

#[test]
fn vips_are_announced_at_start_on_link_up_and_when_asked() {
    let lab = Lab::start("announce", 1);
    let gratuitous = |f: &[u8]| {
        f[..6] == [0xff; 6]
            && f[12..14] == [8, 6]
            && f[28..32] == [10, 1, 0, 100]
            && f[38..42] == f[28..32]
    };
    for _ in 0..3 {
        lab.expect(0, "the announcement at start, three times", gratuitous);
    }
    lab.wires[0].set_link(false);
    lab.until("the link is down", |lab| !lab.status().ports[0].link_up);
    lab.wires[0].set_link(true);
    for _ in 0..3 {
        lab.expect(0, "the announcement on link up", gratuitous);
    }
    let vip = |text: &str| Request::Announce { vip: Some(text.parse().unwrap()) };
    assert!(ask(&lab.socket(), &vip("10.1.0.101")).unwrap_err().contains("is no VIP"));
    ask(&lab.socket(), &vip("10.1.0.100")).unwrap();
    lab.expect(0, "the announcement asked for", gratuitous);
    lab.stop();
}

/// A SYN of each of these client ports, seen at a server.
fn open(lab: &mut Lab, ports: std::ops::Range<u16>) {
    for port in ports {
        lab.inject(0, &syn(port));
        lab.expect(1, "the SYN at a server", |f| is_syn_to(2)(f) || is_syn_to(3)(f));
    }
}

/// Asks again while there are too many clients: on a busy machine those that left are not gone yet.
fn again<T>(ask: impl Fn() -> Result<T, String>) -> Result<T, String> {
    let refused = |r: &Result<T, String>| r.as_ref().is_err_and(|why| why.contains("ask again"));
    for _ in 0..100 {
        let answer = ask();
        if !refused(&answer) {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    ask()
}

fn lists(workers: usize) {
    let mut lab = Lab::start(&format!("lists-{workers}"), workers);
    lab.answer_arp(2);
    lab.answer_arp(3);
    assert_eq!(lab.conns(&[], 0), Ok((vec![], 0)));
    open(&mut lab, 5000..5032);
    let (all, more) = lab.conns(&[], 0).unwrap();
    assert_eq!((all.len(), more), (32, 0));
    // A server's log says laddr:lport; that leads to the client.
    for conn in &all {
        let found = lab.conns(&[&format!("laddr={}", conn.local), &conn.dest], 0).unwrap().0;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].client, conn.client);
    }
    let one = &lab.conns(&["service=web", "cport=5007"], 0).unwrap().0[0];
    let expected = ("tcp", "10.1.0.1:5007", "10.1.0.100:80", "SYN_RECV", "fullnat", Some("web"));
    let said = (
        one.protocol.as_str(),
        one.client.as_str(),
        one.virtual_.as_str(),
        one.state.as_str(),
        one.forward.as_str(),
        one.service.as_deref(),
    );
    assert_eq!(said, expected);
    assert!(one.local.starts_with("10.2.0.100:") && one.dest.starts_with("10.2.0."), "{one:?}");
    assert!((50.0..=60.0).contains(&one.expires_seconds) && !one.lent, "{one:?}");
    let (some, more) = lab.conns(&["state=syn_recv"], 5).unwrap();
    assert_eq!((some.len(), more), (5, 27));
    assert!(lab.conns(&["sate=syn_recv"], 5).unwrap_err().contains("no such key; there are:"));
    assert!(lab.conns(&["service=wbe"], 5).unwrap_err().contains("there are \"web\""));

    // Clients that leave in the middle and several at once harm nobody.
    for _ in 0..40 {
        let request = Request::Conns { filter: Vec::new(), limit: 0 };
        assert_eq!(again(|| ask_pieces(&lab.socket(), &request, |_| false)), Ok(()));
    }
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(again(|| lab.conns(&[], 0)).unwrap().0.len(), 32));
        }
    });
    lab.stop();
}

#[test]
fn one_worker_lists_its_conns() {
    lists(1);
}

#[test]
fn two_workers_list_their_conns() {
    lists(2);
}

#[test]
fn a_pool_address_taken_out_is_answered_until_its_last_conn_has_ended() {
    let mut lab = Lab::start("lingers", 2);
    let file = lab.dir.join("p.toml");
    let good = fs::read_to_string(&file).unwrap() + "[timeouts]\ntcp_syn_recv = 3\n";
    fs::write(&file, &good).unwrap();
    lab.reload().unwrap();
    lab.answer_arp(2);
    lab.answer_arp(3);
    open(&mut lab, 5000..5008);
    let local = |lab: &Lab, address: &str| {
        lab.status().locals.into_iter().find(|local| local.address == address)
    };
    lab.until("the books show it", |lab| local(lab, "10.2.0.100").is_some_and(|l| l.used == 8));
    let before = local(&lab, "10.2.0.100").unwrap();
    let busiest = before.busiest.unwrap().used;
    assert!((4..=8).contains(&busiest), "{busiest}");
    assert_eq!((before.pools.as_slice(), before.free), (&["p".to_owned()][..], 64_511 - busiest));

    fs::write(&file, good.replace("['10.2.0.100']", "['10.2.0.101']")).unwrap();
    lab.reload().unwrap();
    let who = |lab: &mut Lab| {
        lab.inject(1, &arp(1, [0xff; 6], SERVER, [10, 2, 0, 2], [0; 6], [10, 2, 0, 100]));
    };
    let answer = |f: &[u8]| f[12..14] == [8, 6] && f[21] == 2 && f[28..32] == [10, 2, 0, 100];
    who(&mut lab);
    lab.expect(1, "an answer for the address taken out: conns use it", answer);
    let after = local(&lab, "10.2.0.100").unwrap();
    assert_eq!((after.pools.len(), after.used), (0, 8));
    // Its conns end after 3 s; two looks a second apart see that.
    lab.until("the address is given up", |lab| {
        local(lab, "10.2.0.100").is_none() && lab.status().leases == 0
    });
    let snapshots = lab.status().control.snapshots;
    who(&mut lab);
    std::thread::sleep(Duration::from_millis(1500));
    for queue in 0..2 {
        while let Some(frame) = lab.wires[1].take(queue) {
            use pointsman_dataplane::frame::Frame;
            assert!(!answer(frame.data()), "it is no longer ours");
        }
    }
    // Nor are snapshots made in vain.
    assert_eq!(lab.status().control.snapshots, snapshots);
    lab.stop();
}
