//! Ports over kernel interfaces, and what can be seen once in a process only: each test runs
//! itself again as a process of its own, in a network namespace of its own (needs root).

#![allow(clippy::unwrap_used, reason = "the whole file is tests and their helpers")]

use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use dpdk_sys::Burst;
use dpdk_sys::Eal;
use dpdk_sys::EalArgs;
use dpdk_sys::Error;
use dpdk_sys::Mbuf;
use dpdk_sys::Mempool;
use dpdk_sys::Multicast;
use dpdk_sys::Port;
use dpdk_sys::PortConf;
use dpdk_sys::RxQueue;
use dpdk_sys::data_room;
use dpdk_sys::devices_for;
use dpdk_sys::free_bulk;

const INSIDE: &str = "POINTSMAN_DPDK_SYS_TEST";

/// False in the parent, which runs the test of that name in a namespace and checks it.
fn inside(test: &str) -> bool {
    if std::env::var(INSIDE).is_ok_and(|inside| inside == test) {
        return true;
    }
    // SAFETY: cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        println!("{test}: skipped, needs root for a network namespace");
        return false;
    }
    let output = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, test)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    false
}

fn ip(args: &str) {
    let status = Command::new("ip").args(args.split(' ')).status().unwrap();
    assert!(status.success(), "ip {args}");
}

/// Interfaces `left` and `right`, one wire.
fn wire(queues: u16) {
    let q = format!("numrxqueues {queues} numtxqueues {queues}");
    ip(&format!("link add left {q} type veth peer name right {q}"));
    for end in ["left", "right"] {
        // Else the kernel sends neighbour discovery of its own.
        ip(&format!("link set {end} up addrgenmode none"));
    }
}

fn start(devices: &[String]) -> Result<Eal, Error> {
    Eal::init(&EalArgs {
        memory_mib: 256,
        hugepages: false,
        devices: devices.to_vec(),
        ..EalArgs::default()
    })
}

fn refused(device: &str) -> String {
    start(&[device.to_owned()]).unwrap_err().to_string()
}

fn frame(pool: &Mempool, len: usize, mark: u8) -> Mbuf {
    let mut mbuf = pool.alloc().unwrap();
    assert!(mbuf.set_len(len));
    mbuf.data_mut().fill(mark);
    mbuf.data_mut()[..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]);
    mbuf
}

/// What arrives within two seconds, `want` frames at most.
fn collect(rx: &mut RxQueue, want: usize) -> Vec<Mbuf> {
    let (mut got, end) = (Vec::new(), Instant::now() + Duration::from_secs(2));
    let mut burst = Burst::new();
    while got.len() < want && Instant::now() < end {
        rx.recv(&mut burst);
        got.extend(burst.drain(..));
    }
    got
}

/// Whether the link gets there within five seconds; the kernel reports changes later.
fn becomes(up: bool, port: &Port) -> bool {
    let end = Instant::now() + Duration::from_secs(5);
    while port.link().up != up && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    port.link().up == up
}

#[test]
fn af_packet_carries_an_mtu_of_9000() {
    if !inside("af_packet_carries_an_mtu_of_9000") {
        return;
    }
    wire(1);
    let mut devices = devices_for("net_af_packet0,iface=left", 9000, 1);
    devices.extend(devices_for("net_af_packet1,iface=right", 9000, 1));
    let eal = start(&devices).unwrap();
    let pool = Mempool::new(&eal, "frames", 4095, data_room(9000)).unwrap();
    let conf = PortConf { mtu: 9000, ..PortConf::new(&pool) };
    let mut left = Port::open(&eal, &devices[0], conf.clone()).unwrap();
    let mut right = Port::open(&eal, "net_af_packet1", conf).unwrap();
    assert_eq!(left.set_multicast(&[[1, 0, 0x5e, 0, 0, 1]]).unwrap(), Multicast::Promiscuous);
    assert_eq!(left.set_multicast(&[[1, 0, 0x5e, 0, 0, 1]; 300]).unwrap(), Multicast::Promiscuous);
    let (_left_rx, mut left_tx) = left.start().unwrap();
    let (mut right_rx, _right_tx) = right.start().unwrap();

    for (mark, len) in [(1, 60), (2, 1514), (3, 9014)] {
        let mut burst = Burst::new();
        burst.push(frame(&pool, len, mark));
        assert_eq!(left_tx[0].send(&mut burst), 1);
        let got = collect(&mut right_rx[0], 1);
        assert_eq!(got.len(), 1, "{len} bytes");
        assert_eq!(got[0].len(), len);
        assert_eq!(got[0].data()[14..], vec![mark; len - 14]);
    }
    assert_eq!(left.stats().opackets, 3);

    assert!(becomes(true, &left));
    ip("link set right down");
    assert!(becomes(false, &left), "the kernel knows, the driver does not");
    ip("link set right up");
    assert!(becomes(true, &left));
    left.set_mtu(1400).unwrap();
    let index = left.info().unwrap().interface_index.unwrap();
    assert!(index > 0);
    let shown = Command::new("ip").args(["link", "show", "left"]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("mtu 1400"), "{shown}");
}

#[test]
fn af_xdp_has_two_queues_on_veth() {
    if !inside("af_xdp_has_two_queues_on_veth") {
        return;
    }
    wire(2);
    let mut devices = devices_for("net_af_xdp0,iface=left", 1500, 2);
    devices.extend(devices_for("net_af_xdp1,iface=right", 1500, 2));
    let eal = start(&devices).unwrap();
    let pool = Mempool::new(&eal, "frames", 32767, data_room(1500)).unwrap();
    let conf = PortConf { rx_queues: 2, tx_queues: 2, ..PortConf::new(&pool) };
    let one = PortConf::new(&pool);
    let error = Port::open(&eal, "net_af_xdp0", one).unwrap_err().to_string();
    assert!(error.contains("2 queue pairs exactly"), "{error}");
    let mut left = Port::open(&eal, "net_af_xdp0", conf.clone()).unwrap();
    let mut right = Port::open(&eal, "net_af_xdp1", conf).unwrap();
    let (_left_rx, mut left_tx) = left.start().unwrap();
    let (mut right_rx, _right_tx) = right.start().unwrap();
    assert_eq!(left_tx[1].id(), 1);
    for queue in 0..2 {
        for i in 0..100 {
            let mut burst = Burst::new();
            burst.push(frame(&pool, 100, i));
            assert_eq!(left_tx[queue].send(&mut burst), 1);
            let got = collect(&mut right_rx[queue], 1);
            assert_eq!(got.len(), 1, "queue {queue}, frame {i}");
            assert_eq!(got[0].data()[14..], [i; 86]);
        }
    }
    assert_eq!(right.stats().ipackets, 200);
    assert_eq!(right.info().unwrap().max_rx_queues, 2);
    assert!(becomes(true, &right));
    ip("link set left down");
    assert!(becomes(false, &right));
}

#[test]
fn af_xdp_loses_no_buffer_of_a_pool_in_small_pages() {
    if !inside("af_xdp_loses_no_buffer_of_a_pool_in_small_pages") {
        return;
    }
    wire(1);
    let mut devices = devices_for("net_af_xdp0,iface=left", 1500, 1);
    devices.extend(devices_for("net_af_xdp1,iface=right", 1500, 1));
    let eal = start(&devices).unwrap();
    let pool = Mempool::new(&eal, "frames", 16383, data_room(1500)).unwrap();
    let mut left = Port::open(&eal, "net_af_xdp0", PortConf::new(&pool)).unwrap();
    let mut right = Port::open(&eal, "net_af_xdp1", PortConf::new(&pool)).unwrap();
    let (_left_rx, mut left_tx) = left.start().unwrap();
    let (mut right_rx, _right_tx) = right.start().unwrap();
    // The pool is a queue: this far, each buffer has been sent and has been in the fill ring.
    let mut burst = Burst::new();
    for round in 0..2 * 16383 / 16 {
        burst.extend((0..16).map(|mark| frame(&pool, 100, mark)));
        assert_eq!(left_tx[0].send(&mut burst), 16, "round {round}");
        let got = collect(&mut right_rx[0], 16);
        assert!((0..16).eq(got.iter().map(|frame| frame.data()[14])), "round {round}: {got:?}");
    }
}

#[test]
fn af_xdp_refuses_frames_beyond_a_page() {
    if !inside("af_xdp_refuses_frames_beyond_a_page") {
        return;
    }
    wire(1);
    let eal = start(&devices_for("net_af_xdp0,iface=left", 1500, 1)).unwrap();
    let pool = Mempool::new(&eal, "frames", 4095, data_room(9000)).unwrap();
    let conf = PortConf { mtu: 9000, ..PortConf::new(&pool) };
    let text = Port::open(&eal, "net_af_xdp0", conf).unwrap_err().to_string();
    assert!(text.contains("mtu 9000: the driver takes 68 to 35"), "{text}");
    let text = Port::open(&eal, "net_af_xdp0", PortConf::new(&pool)).unwrap_err().to_string();
    assert!(text.contains("no buffers larger than a page"), "{text}");
}

#[test]
fn interface_that_does_not_exist() {
    if inside("interface_that_does_not_exist") {
        let text = refused("net_af_packet0,iface=eth9");
        assert!(text.contains("no interface eth9 in this network namespace"), "{text}");
    }
}

#[test]
fn interface_not_given() {
    if inside("interface_not_given") {
        let text = refused("net_af_xdp0");
        assert!(text.contains("say which interface, as `net_af_xdp0,iface=eth1`"), "{text}");
    }
}

#[test]
fn driver_that_does_not_exist() {
    if inside("driver_that_does_not_exist") {
        let text = refused("af_packet0,iface=lo");
        assert!(text.contains("no driver is named like it"), "{text}");
    }
}

#[test]
fn interface_without_the_queues() {
    if inside("interface_without_the_queues") {
        wire(1);
        let text = refused("net_af_xdp0,iface=left,queue_count=2");
        assert!(text.contains("`ethtool -l left` shows what it has"), "{text}");
    }
}

#[test]
fn device_named_twice() {
    if inside("device_named_twice") {
        let text = start(&["net_null0".into(), "net_null0".into()]).unwrap_err().to_string();
        assert!(text.contains("there is another of this name"), "{text}");
    }
}

#[test]
fn pci_device_that_does_not_exist() {
    if inside("pci_device_that_does_not_exist") {
        let text = refused("ff:1f.7");
        assert!(text.contains("device 0000:ff:1f.7: there is no such PCI device"), "{text}");
    }
}

#[test]
fn user_without_permission() {
    if inside("user_without_permission") {
        wire(1);
        // SAFETY: changes this process's user only.
        assert_eq!(unsafe { libc::setuid(65534) }, 0);
        let text = refused("net_af_packet0,iface=left");
        assert!(text.contains("no permission: run as root"), "{text}");
    }
}

#[test]
fn file_that_does_not_exist() {
    if inside("file_that_does_not_exist") {
        let text = refused("net_pcap0,rx_pcap=/nonesuch.pcap,tx_pcap=/dev/null");
        assert!(text.contains("/nonesuch.pcap: No such file"), "{text}");
    }
}

#[test]
fn too_few_hugepages_can_be_done_without() {
    if inside("too_few_hugepages_can_be_done_without") {
        let args = EalArgs { memory_mib: 1 << 24, ..EalArgs::default() };
        let text = Eal::init(&args).unwrap_err().to_string();
        assert!(text.contains("16777216 MiB of hugepages"), "{text}");
        start(&[]).unwrap();
    }
}

#[test]
fn taken_down_in_any_order_and_only_when_all_is_back() {
    if !inside("taken_down_in_any_order_and_only_when_all_is_back") {
        return;
    }
    let eal = start(&["net_null0".into(), "net_null1".into()]).unwrap();
    let (one, two) = (
        Mempool::new(&eal, "one", 1023, data_room(1500)).unwrap(),
        Mempool::new(&eal, "two", 1023, data_room(1500)).unwrap(),
    );
    let mut port = Port::open(&eal, "net_null0", PortConf::new(&one)).unwrap();
    let (mut rx, tx) = port.start().unwrap();
    let guard = eal.register_thread().unwrap();
    let mut burst = Burst::new();
    rx[0].recv(&mut burst);
    let mut kept = frame(&two, 100, 7);
    drop((eal, one, two, port, tx, guard));
    assert_eq!(rx[0].recv(&mut Burst::new()), 32, "a queue keeps its port");
    free_bulk(&mut burst);
    drop(rx);
    // The last user is gone, but an mbuf is out: its memory must still be there.
    kept.data_mut()[99] = 8;
    assert_eq!(kept.data()[98..], [7, 8]);
    drop(kept);
    assert!(start(&[]).unwrap_err().to_string().contains("only once"));
}

#[test]
fn cleaned_up_when_all_is_back() {
    if !inside("cleaned_up_when_all_is_back") {
        return;
    }
    let eal = start(&["net_null0".into()]).unwrap();
    let pool = Mempool::new(&eal, "one", 1023, data_room(1500)).unwrap();
    let mut port = Port::open(&eal, "net_null0", PortConf::new(&pool)).unwrap();
    let (mut rx, mut tx) = port.start().unwrap();
    let mut burst = Burst::new();
    rx[0].recv(&mut burst);
    let at = burst[0].data().as_ptr().addr();
    assert!(is_mapped(at));
    tx[0].send_or_free(&mut burst);
    drop((eal, pool, port, rx, tx));
    assert!(!is_mapped(at), "the clean-up unmaps DPDK's memory");
}

fn is_mapped(address: usize) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().any(|line| {
        let (start, rest) = line.split_once('-').unwrap();
        let end = rest.split(' ').next().unwrap();
        let hex = |text| usize::from_str_radix(text, 16).unwrap();
        (hex(start)..hex(end)).contains(&address)
    })
}
