//! Virtual ports in one process without hugepages. EAL starts once in a process, so this is
//! one test binary with one EAL, and the last test is the one that takes it all down.

#![allow(clippy::unwrap_used, reason = "the whole file is tests and their helpers")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::time::Duration;
use std::time::Instant;

use arrayvec::ArrayVec;
use dpdk_sys::Burst;
use dpdk_sys::Eal;
use dpdk_sys::EalArgs;
use dpdk_sys::LogLevel;
use dpdk_sys::Mbuf;
use dpdk_sys::Mempool;
use dpdk_sys::Multicast;
use dpdk_sys::Port;
use dpdk_sys::PortConf;
use dpdk_sys::data_room;
use dpdk_sys::free_bulk;

/// Three frames of 60, 61 and 62 bytes and one of 3000, which a 2 KiB buffer does not hold.
fn write_pcap(path: &PathBuf) {
    let mut bytes = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        bytes.extend(word.to_le_bytes());
    }
    for (i, len) in [60_u32, 61, 3000, 62].into_iter().enumerate() {
        for word in [i as u32, 0, len, len] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend((0..len).map(|b| b as u8 ^ i as u8));
    }
    std::fs::write(path, bytes).unwrap();
}

fn pcap_path(what: &str) -> PathBuf {
    std::env::temp_dir().join(format!("pointsman-dpdk-{}-{what}.pcap", std::process::id()))
}

fn eal() -> Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    let start = || {
        let affinity = core_list();
        write_pcap(&pcap_path("in"));
        let pcap = format!(
            "net_pcap0,rx_pcap={},tx_pcap={}",
            pcap_path("in").display(),
            pcap_path("out").display()
        );
        let args = EalArgs {
            memory_mib: 128,
            hugepages: false,
            devices: ["net_null0,size=64", "net_null1", "net_ring0", "net_ring1", &pcap]
                .map(str::to_owned)
                .to_vec(),
            log_level: LogLevel::Warning,
            telemetry: false,
        };
        let eal = Eal::init(&args).unwrap();
        assert_eq!(core_list(), affinity, "init leaves the caller's affinity alone");
        std::fs::remove_file(pcap_path("in")).unwrap();
        eal
    };
    EAL.get_or_init(start).clone()
}

/// The CPUs this thread may use, as the kernel prints them.
fn core_list() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    status.lines().find(|line| line.starts_with("Cpus_allowed_list")).unwrap().to_owned()
}

fn pool(name: &str, count: u32) -> Mempool {
    Mempool::new(&eal(), name, count, data_room(1500)).unwrap()
}

fn frame(pool: &Mempool, bytes: &[u8]) -> Mbuf {
    let mut mbuf = pool.alloc().unwrap();
    assert!(mbuf.set_len(bytes.len()));
    mbuf.data_mut().copy_from_slice(bytes);
    mbuf
}

#[test]
fn mbufs_have_limits_and_return_to_the_pool() {
    let pool = pool("limits", 63);
    assert_eq!((pool.capacity(), pool.available()), (63, 63));
    let mut mbuf = pool.alloc().unwrap();
    assert_eq!((mbuf.len(), mbuf.headroom(), mbuf.tailroom()), (0, 128, 2048));
    assert_eq!(mbuf.port(), u16::MAX);
    assert!(mbuf.is_single_segment());

    assert!(!mbuf.set_len(2049));
    assert!(mbuf.set_len(2048));
    assert!(mbuf.set_len(64));
    mbuf.data_mut().fill(7);
    assert!(mbuf.prepend(20));
    mbuf.data_mut()[..20].fill(8);
    assert_eq!((mbuf.len(), mbuf.headroom(), mbuf.tailroom()), (84, 108, 1984));
    assert_eq!(mbuf.data()[..20], [8; 20]);
    assert_eq!(mbuf.data()[20..], [7; 64]);
    assert!(!mbuf.prepend(109));
    assert!(mbuf.prepend(108));
    assert!(!mbuf.prepend(1));
    assert!(mbuf.trim_front(128));
    assert_eq!(mbuf.data(), [7; 64]);
    assert!(!mbuf.trim_front(65));
    assert!(mbuf.trim_front(64));
    assert_eq!(mbuf.len(), 0);
    assert_eq!(mbuf.headroom(), 192);

    assert_eq!(pool.available(), 62);
    drop(mbuf);
    assert_eq!(pool.available(), 63);
    let all: Vec<_> = std::iter::from_fn(|| pool.alloc()).collect();
    assert_eq!(all.len(), 63);
    assert!(pool.alloc().is_none());
    drop(all);
    assert_eq!(pool.available(), 63);
}

#[test]
fn bulk_free_empties_the_burst() {
    let pool = pool("bulk", 63);
    let mut burst = Burst::new();
    free_bulk(&mut burst);
    burst.extend((0..32).map(|_| pool.alloc().unwrap()));
    assert_eq!(pool.available(), 31);
    free_bulk(&mut burst);
    assert!(burst.is_empty());
    assert_eq!(pool.available(), 63);
}

#[test]
fn an_mbuf_may_outlive_its_pool() {
    let pool = pool("outlived", 63);
    let mut mbuf = frame(&pool, &[1; 100]);
    drop(pool);
    mbuf.data_mut()[99] = 2;
    assert_eq!(mbuf.data()[98..], [1, 2]);
    std::thread::spawn(move || drop(mbuf)).join().unwrap();
}

#[test]
fn null_port_receives_and_sends() {
    let pool = pool("null", 511);
    {
        let mut conf = PortConf::new(&pool);
        (conf.rx_queues, conf.tx_queues) = (2, 2);
        let mut port = Port::open(&eal(), "net_null0,size=64", conf.clone()).unwrap();
        assert_eq!((port.name(), port.driver()), ("net_null0", "net_null"));
        let info = port.info().unwrap();
        assert!(info.rss && info.max_rx_queues >= 2, "{info:?}");
        assert_eq!(info.interface_index, None);
        let error = Port::open(&eal(), "net_null0", conf).unwrap_err();
        assert_eq!(error.errno, libc::EBUSY, "{error}");

        let (mut rx, mut tx) = port.start().unwrap();
        assert!(port.link().up);
        assert_eq!(port.start().unwrap_err().errno, libc::EBUSY);
        assert_eq!(port.stop().unwrap_err().errno, libc::EBUSY);
        assert_eq!((rx.len(), tx.len(), rx[1].id(), tx[1].id()), (2, 2, 1, 1));

        // Half-full bursts are filled up; a big one is filled too.
        let mut burst = Burst::new();
        burst.extend((0..10).map(|_| frame(&pool, &[5; 60])));
        assert_eq!(rx[0].recv(&mut burst), 22);
        assert_eq!(burst[9].len(), 60);
        assert_eq!((burst[10].len(), burst[10].port()), (64, port.id()));
        burst[10].prefetch();
        assert_eq!(tx[1].send(&mut burst), 32);
        assert!(burst.is_empty());
        let mut big = ArrayVec::<Mbuf, 64>::new();
        assert_eq!(rx[1].recv(&mut big), 64);
        assert_eq!(rx[1].multi_segment(), 0);
        assert_eq!(tx[0].send_or_free(&mut big), 0);
        let stats = port.stats();
        assert_eq!((stats.ipackets, stats.opackets), (86, 96));

        drop((rx, tx));
        port.stop().unwrap();
        port.stop().unwrap();
        assert_eq!(port.start().unwrap().0.len(), 2);
    }
    assert_eq!(pool.available(), 511);
}

#[test]
fn ring_port_keeps_what_it_takes_and_leaves_the_rest() {
    let pool = pool("ring", 4095);
    {
        let mut port = Port::open(&eal(), "net_ring0", PortConf::new(&pool)).unwrap();
        assert_eq!(port.set_multicast(&[[0x33, 0x33, 0, 0, 0, 1]]).unwrap(), Multicast::All);
        // 255 v6 addresses with low 24 bits of their own, all nodes, and more: no list takes
        // them, so all multicast is taken.
        let many: Vec<_> =
            (0..300_u16).map(|i| [0x33, 0x33, 0xff, 0, (i >> 8) as u8, i as u8]).collect();
        assert_eq!(port.set_multicast(&many).unwrap(), Multicast::All);
        let (mut rx, mut tx) = port.start().unwrap();
        // The driver's ring has 1024 slots, 1023 of them usable.
        let mut sent = 0_u32;
        let mut burst = Burst::new();
        let refused = loop {
            while burst.len() < 32 {
                burst.push(frame(&pool, &(sent + burst.len() as u32).to_be_bytes()));
            }
            let before: Vec<_> = burst.iter().map(|mbuf| mbuf.data().to_vec()).collect();
            let n = tx[0].send(&mut burst);
            sent += n as u32;
            let left: Vec<_> = burst.iter().map(|mbuf| mbuf.data().to_vec()).collect();
            assert_eq!(left, before[n..], "the sent prefix leaves, in order");
            if n < 32 {
                break burst.len();
            }
        };
        assert_eq!((sent, refused), (1023, 1));
        assert_eq!(tx[0].send(&mut burst), 0);
        assert_eq!(burst.len(), 1);
        assert_eq!(pool.available(), 4095 - 1024);

        let mut got = Burst::new();
        assert_eq!(rx[0].recv(&mut got), 32);
        for (i, mbuf) in got.iter().enumerate() {
            assert_eq!(mbuf.data(), (i as u32).to_be_bytes());
        }
        assert_eq!(tx[0].send_or_free(&mut burst), 0);
        assert_eq!(tx[0].send_or_free(&mut got), 1);
        while rx[0].recv(&mut got) > 0 {
            free_bulk(&mut got);
        }
    }
    assert_eq!(pool.available(), 4095);
}

#[test]
fn pcap_port_drops_scattered_frames_and_counts_them() {
    let pool = pool("pcap", 2047);
    {
        let mut conf = PortConf::new(&pool);
        conf.promiscuous = true; // no such switch in this driver: no error
        let mut port = Port::open(&eal(), "net_pcap0", conf).unwrap();
        let (mut rx, mut tx) = port.start().unwrap();
        let mut burst = Burst::new();
        burst.push(frame(&pool, &[9; 70]));
        assert_eq!(rx[0].recv(&mut burst), 3);
        assert_eq!(rx[0].multi_segment(), 1);
        assert_eq!(port.stats().scattered, 1);
        let lens: Vec<_> = burst.iter().map(Mbuf::len).collect();
        assert_eq!(lens, [70, 60, 61, 62]);
        assert!(burst[3].data().iter().enumerate().all(|(i, &b)| b == i as u8 ^ 3));
        assert_eq!(rx[0].recv(&mut burst), 0);
        assert_eq!(tx[0].send(&mut burst), 4);
    }
    assert_eq!(pool.available(), 2047);
    let written = std::fs::read(pcap_path("out")).unwrap();
    std::fs::remove_file(pcap_path("out")).unwrap();
    assert_eq!(written.len(), 24 + 4 * 16 + 70 + 60 + 61 + 62);
    assert_eq!(written[24 + 16..24 + 16 + 70], [9; 70]);
}

#[test]
fn threads_register_once_and_pass_frames_on() {
    let pool = pool("threads", 4095);
    let mut port = Port::open(&eal(), "net_ring1", PortConf::new(&pool)).unwrap();
    let (mut rx, mut tx) = port.start().unwrap();
    let sender_pool = pool.clone();
    let sender = std::thread::spawn(move || {
        let guard = eal().register_thread().unwrap();
        assert_eq!(eal().register_thread().unwrap_err().errno, libc::EEXIST);
        let mut burst = Burst::new();
        for i in 0..10_000_u32 {
            burst.push(frame(&sender_pool, &i.to_be_bytes()));
            while burst.is_full() {
                tx[0].send(&mut burst);
            }
        }
        while !burst.is_empty() {
            tx[0].send(&mut burst);
        }
        drop(guard);
        drop(eal().register_thread().unwrap());
    });
    let _guard = eal().register_thread().unwrap();
    let (mut want, end) = (0_u32, Instant::now() + Duration::from_secs(20));
    let mut burst = Burst::new();
    while want < 10_000 && Instant::now() < end {
        rx[0].recv(&mut burst);
        for mbuf in &burst {
            assert_eq!(mbuf.data(), want.to_be_bytes());
            want += 1;
        }
        free_bulk(&mut burst);
        std::thread::yield_now();
    }
    assert_eq!(want, 10_000);
    sender.join().unwrap();
    drop((rx, port));
    assert_eq!(pool.available(), 4095);
}

#[test]
fn refusals_say_what_to_do() {
    let eal = eal();
    let error = Eal::init(&EalArgs { hugepages: false, ..EalArgs::default() }).unwrap_err();
    assert!(error.to_string().contains("only once"), "{error}");

    let pool = pool("refusals", 63);
    let error = Mempool::new(&eal, "refusals", 63, data_room(1500)).unwrap_err();
    assert!(error.to_string().contains("pool refusals: there is one"), "{error}");
    let error = Mempool::new(&eal, "huge", 1_000_000, data_room(1500)).unwrap_err();
    assert!(error.to_string().contains("2381 MiB, more than is left of the 128 MiB"), "{error}");
    let error = Mempool::new(&eal, &"x".repeat(30), 63, 2176).unwrap_err();
    assert!(error.to_string().contains("longer than 25 bytes"), "{error}");
    assert!(Mempool::new(&eal, "tiny", 63, 100).is_err());

    let open = |name, conf| Port::open(&eal, name, conf).unwrap_err().to_string();
    let conf = PortConf::new(&pool);
    let text = open("net_null7", conf.clone());
    assert!(text.contains("DPDK has no port net_null7"), "{text}");
    let text = open("net_null1", PortConf { mtu: 9000, ..conf.clone() });
    assert!(text.contains("frames of 9022 bytes do not fit the pool's buffers of 2048"), "{text}");
    let text = open("net_null1", PortConf { mtu: 20, ..conf.clone() });
    assert!(text.contains("mtu 20: the driver takes"), "{text}");
    let text = open("net_null1", PortConf { rx_queues: 2000, ..conf.clone() });
    assert!(text.contains("2000 receive queues, has 1024"), "{text}");
    let text = open("net_null1", PortConf { tx_queues: 0, ..conf.clone() });
    assert!(text.contains("one queue pair at least"), "{text}");
    // A refusal leaves the port as it was.
    Port::open(&eal, "net_null1", conf).unwrap();
}

#[test]
fn queues_can_be_sent_but_ports_not_shared() {
    fn send<T: Send>() {}
    send::<dpdk_sys::RxQueue>();
    send::<dpdk_sys::TxQueue>();
    send::<Mbuf>();
    send::<Port>();
    send::<Arc<Mutex<Port>>>();
    assert!(Eal::version().starts_with("DPDK "));
}
