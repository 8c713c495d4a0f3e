//! `pointsman replay` from outside: the program, captures made by scapy (replay/make.py), exit
//! codes. Needs no root and no libdpdk.
#![expect(clippy::unwrap_used, reason = "all of this file is a test")]

use etherparse::PacketBuilder;
use pointsman::io::pcap::CaptureReader;
use pointsman::io::pcap::CaptureWriter;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/replay");

/// What the program said and did.
struct Said {
    code: i32,
    out: String,
    err: String,
}

fn replay(args: &[&str]) -> Said {
    let program = env!("CARGO_BIN_EXE_pointsman");
    let done = Command::new(program).arg("replay").args(args).current_dir(HERE).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: done.status.code().unwrap(), out: text(done.stdout), err: text(done.stderr) }
}

/// A place for a test's own files.
fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("replay-{name}"))
}

fn frames(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let (mut reader, mut data) = (CaptureReader::open(path).unwrap(), Vec::new());
    let mut frames = Vec::new();
    while let Some(record) = reader.next(&mut data).unwrap() {
        assert_eq!(record.len as usize, data.len());
        frames.push((record.stamp.unwrap(), data.clone()));
    }
    frames
}

/// `text` holds these lines, blanks aside.
fn says(text: &str, lines: &[&str]) {
    let flat = |s: &str| s.split_whitespace().collect::<Vec<_>>().join(" ");
    let have: Vec<_> = text.lines().map(flat).collect();
    for line in lines {
        assert!(have.contains(&flat(line)), "no line \"{line}\" in:\n{text}");
    }
}

/// What left is what scapy says must leave, byte for byte and at its time; whatever the format.
#[test]
fn a_conversation_through_fullnat_leaves_as_scapy_says() {
    let expected = frames(&Path::new(HERE).join("out.pcap"));
    assert_eq!(expected.len(), 13);
    for input in ["in.pcap", "in-be-nano.pcap", "in.pcapng"] {
        let out = scratch(&format!("fullnat-of-{input}"));
        let said =
            replay(&["-c", "replay.toml", "--snapped", "skip", input, "-o", out.to_str().unwrap()]);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
        let left = frames(&out);
        for (n, (left, expected)) in left.iter().zip(&expected).enumerate() {
            assert_eq!(left, expected, "frame {n} of {input}");
        }
        assert_eq!(left.len(), expected.len());
        assert!(said.out.lines().all(|l| l.len() <= 80), "{}", said.out);
        says(
            &said.out,
            &[
                "19 frames, 2405 bytes, 410.030 s",
                "1 of them earlier than one before: fed at that one's time",
                "fed 13: wan 8, lan 5",
                "skipped 6",
                "1 snapped: cut off by the capture's snap length (see --snapped)",
                "1 runt: shorter than an Ethernet header",
                "1 arp: ARP: next hops are made up here",
                "1 neighbour: ND and MLD: next hops are made up here",
                "1 no-source: no IP source address to tell the port: see --port",
                "1 no-route: no route to its source tells the port: see --port",
                "sent 13: wan 5, lan 8",
                // The UDP conn of the first 10 s expired, its TCP neighbours closed or timed out.
                "conns: 4 opened, 1 left at the end",
                "10.2.0.12:53 1 1 50.0% 2 72 0 0",
                "10.2.0.11:53 1 1 50.0% 1 36 1 34",
                "law holds: 13 in, 13 out",
            ],
        );
    }
}

#[test]
fn a_port_by_name_takes_what_has_no_source() {
    let said = replay(&["-c", "replay.toml", "in.pcap", "--port", "wan", "--snapped", "skip"]);
    assert_eq!(said.code, 0, "{}", said.err);
    says(
        &said.out,
        &["fed 15: wan 15, lan 0", "skipped 4", "dropped: closed-port 1, ether-type 1, no-route 1"],
    );
}

#[test]
fn refused_input_exits_2_and_writes_nothing() {
    let empty = scratch("empty");
    std::fs::write(&empty, "").unwrap();
    let copy = scratch("copy.pcap");
    std::fs::copy(Path::new(HERE).join("in.pcap"), &copy).unwrap();
    let fifo = scratch("fifo");
    let _ = std::fs::remove_file(&fifo);
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let [empty, copy, fifo] = [&empty, &copy, &fifo].map(|p| p.to_str().unwrap());
    let out = scratch("refused.pcap");
    let out = out.to_str().unwrap();
    let cases: [(&[&str], &str); 9] = [
        (&["-c", "replay.toml", "-", "-o", out], "-: a pipe, and captures are looked into before"),
        (
            &["-c", "replay.toml", "-i", "sll.pcap", "-o", out],
            "sll.pcap: link type LINUX_SLL (113)",
        ),
        (&["-c", "replay.toml", "-i", "make.py", "-o", out], "make.py: neither pcap nor pcapng"),
        (&["-c", "replay.toml", "-i", empty, "-o", out], "neither pcap nor pcapng"),
        (&["-c", "replay.toml", "-i", "absent", "-o", out], "absent: cannot be read: No such file"),
        (&["-c", "in.pcap", "-i", "in.pcap", "-o", out], "in.pcap"),
        (
            &["-c", "replay.toml", "-i", "in.pcap", "-o", out, "-p", "dmz"],
            "--port dmz: replay.toml has no such port, but wan, lan",
        ),
        (&["-c", "replay.toml", "-i", copy, "-o", copy], "is the same file as the capture"),
        (&["-c", "replay.toml", fifo, "-o", out], "a pipe, and captures are looked into before"),
    ];
    for (args, why) in cases {
        let said = replay(args);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{args:?}: {}", said.err);
        assert!(said.err.contains(why), "{args:?}: {}", said.err);
        assert!(!Path::new(out).exists(), "{args:?}");
    }
    let original = std::fs::read(Path::new(HERE).join("in.pcap")).unwrap();
    assert_eq!(std::fs::read(copy).unwrap(), original);
}

/// As an interface of another link type is in a pcapng of several.
#[test]
fn a_capture_of_another_link_type_is_left_out_among_others() {
    let why = "sll.pcap: link type LINUX_SLL (113): only Ethernet can be replayed; capture on one \
               interface, not on \"any\"";
    let alone = replay(&["-c", "replay.toml", "--snapped", "skip", "in.pcap"]);
    for captures in [["sll.pcap", "in.pcap"], ["in.pcap", "sll.pcap"]] {
        let said = replay(&[&["-c", "replay.toml", "--snapped", "skip"], &captures[..]].concat());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
        assert!(said.out.lines().all(|l| l.len() <= 80), "{}", said.out);
        says(
            &said.out,
            &[
                "20 frames, 2405 bytes, 410.030 s",
                "not Ethernet: 1 LINUX_SLL (113)",
                "fed 13: wan 8, lan 5",
                "law holds: 13 in, 13 out",
                "20 read and made up, 20 fed, skipped or direct",
            ],
        );
        let flat = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
        let said_of = why.replacen(": ", " ", 1).replace("; ", " ");
        assert!(flat.contains(&format!("left out: {said_of}")), "{}", said.out);
        assert!(!alone.out.contains("left out"));
    }
    let none = replay(&["-c", "replay.toml", "sll.pcap", "sll.pcap"]);
    assert_eq!((none.code, none.err), (2, format!("{why}\n{why}\n")));
}

#[test]
fn a_cut_capture_is_replayed_to_the_cut_and_exits_1() {
    let whole = std::fs::read(Path::new(HERE).join("in.pcap")).unwrap();
    let (cut, out) = (scratch("cut.pcap"), scratch("cut-out.pcap"));
    std::fs::write(&cut, &whole[..500]).unwrap();
    let paths = [cut.to_str().unwrap(), out.to_str().unwrap()];
    let said = replay(&["-c", "replay.toml", paths[0], "-o", paths[1], "--snapped", "skip"]);
    assert_eq!(said.code, 1);
    says(&said.out, &["5 frames, 325 bytes, 0.004 s", "law holds: 4 in, 4 out"]);
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    assert!(said.err.contains("cut off in the middle of its block at byte 429"), "{}", said.err);
    assert_eq!(frames(&out), frames(&Path::new(HERE).join("out.pcap"))[..4]);
}

#[test]
fn an_output_that_cannot_be_written_exits_2() {
    let said = replay(&["-c", "replay.toml", "-i", "in.pcap", "-o", "/dev/full"]);
    assert_eq!(said.code, 2);
    assert!(said.err.starts_with("/dev/full: cannot be written"), "{}", said.err);
    // A place that is not there is found before the work: nothing is said of a replay.
    for option in ["--out", "--report"] {
        let said = replay(&["-c", "replay.toml", "in.pcap", option, "/nonexistent/file"]);
        assert_eq!((said.code, said.out.as_str()), (2, ""));
        assert!(said.err.starts_with("/nonexistent/file: cannot be written"), "{}", said.err);
    }
    // A page that cannot be written does not take the report with it.
    let said = replay(&["-c", "replay.toml", "in.pcap", "--report", "/dev/full"]);
    assert_eq!(said.code, 2);
    assert!(said.out.contains("law holds"), "{}", said.out);
    assert!(said.err.starts_with("/dev/full: cannot be written"), "{}", said.err);
}

#[test]
fn a_report_that_cannot_be_written_exits_2() {
    let program = env!("CARGO_BIN_EXE_pointsman");
    for json in [&[][..], &["--json"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(program);
        command.args(["replay", "-c", "replay.toml", "in.pcap"]).args(json).current_dir(HERE);
        let done = command.stdout(full).output().unwrap();
        let err = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(2), "{err}");
        assert!(err.starts_with("standard output: cannot be written: No space left"), "{err}");
    }
}

#[test]
fn no_output_is_another_file_of_the_replay() {
    let [config, capture, new] = ["own.toml", "own.pcap", "own-new"].map(scratch);
    std::fs::copy(Path::new(HERE).join("replay.toml"), &config).unwrap();
    std::fs::copy(Path::new(HERE).join("in.pcap"), &capture).unwrap();
    let _ = std::fs::remove_file(&new);
    let before = [&config, &capture].map(|p| std::fs::read(p).unwrap());
    // The same place by another way.
    let beside = new.parent().unwrap().join(".").join(new.file_name().unwrap());
    let [config, capture, new, beside] =
        [&config, &capture, &new, &beside].map(|p| p.to_str().unwrap());
    let cases: [(&[&str], &str); 5] = [
        (&["--out", config], "is the same file as the configuration"),
        (&["--report", config], "is the same file as the configuration"),
        (&["--out", capture], "is the same file as the capture"),
        (&["--report", capture], "is the same file as the capture"),
        (&["--out", new, "--report", beside], "is the same file as --out"),
    ];
    for (options, why) in cases {
        let said = replay(&[&["-c", config, capture], options].concat());
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{options:?}: {}", said.err);
        assert!(said.err.contains(why), "{options:?}: {}", said.err);
        assert!(!Path::new(new).exists(), "{options:?}");
    }
    assert_eq!([config, capture].map(|p| std::fs::read(p).unwrap()), before);
    let both = ["-c", config, capture, "--out", "/dev/null", "--report", "/dev/null"];
    assert_eq!(replay(&both).code, 0, "devices are no files");
}

/// NAT keeps ports, so that how many workers there are must not show in what leaves.
#[test]
fn frames_that_other_workers_own_leave_in_the_same_order() {
    let (config, input) = (scratch("nat.toml"), scratch("nat.pcap"));
    std::fs::write(&config, NAT).unwrap();
    write_conversations(&input);
    let outs = ["1", "4"].map(|workers| {
        let out = scratch(&format!("nat-{workers}.pcap"));
        let [config, input, path] = [&config, &input, &out].map(|p| p.to_str().unwrap());
        let said = replay(&["-c", config, "-i", input, "-o", path, "-w", workers]);
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        says(
            &said.out,
            &[
                "fed 123: wan 82, lan 41",
                "conns: 40 opened, 40 left at the end",
                // The one with TTL 1 came as far as its conn, as the kernel counts.
                "10.2.0.11:8080 1 40 100.0% 81 3240 40 1600",
                "dropped: closed-port 1, not-ours 1, ttl-exceeded 1",
            ],
        );
        assert!(said.out.contains("made 2 (reset 1, time-exceeded 1)"), "{}", said.out);
        (said.out, frames(&out))
    });
    let [(_, alone), (report, spread)] = outs;
    assert_eq!(alone.len(), 122);
    assert_eq!(alone, spread);
    let handed = report.lines().find_map(|l| l.trim().strip_prefix("4 workers, ")).unwrap();
    assert_ne!(handed, "0.0% handed over");
}

const NAT: &str = "
    [[port]]
    name = 'wan'
    device = 'net_null0'
    addresses = ['10.1.0.254/16']
    [[port]]
    name = 'lan'
    device = 'net_null1'
    addresses = ['10.2.0.254/24']
    [[service]]
    address = '10.1.255.100:80'
    forward = 'nat'
    [[service.dest]]
    address = '10.2.0.11:8080'
";
const VIP: [u8; 4] = [10, 1, 255, 100];
const DEST: [u8; 4] = [10, 2, 0, 11];

/// Handshakes of 40 clients, interleaved; a SYN to a closed port, a frame to nobody, a TTL of 1.
fn write_conversations(path: &Path) {
    let mut writer = CaptureWriter::new(std::fs::File::create(path).unwrap()).unwrap();
    let mut stamp = 1_700_000_000_000_000_000;
    let mut write = |src: [u8; 4], dst: [u8; 4], ports: [u16; 2], flags: &str, ttl: u8| {
        let built = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(src, dst, ttl);
        let mut built = built.tcp(ports[0], ports[1], 1, 1000);
        if flags.contains('S') {
            built = built.syn();
        }
        if flags.contains('A') {
            built = built.ack(2);
        }
        let mut frame = Vec::new();
        built.write(&mut frame, &[]).unwrap();
        stamp += 1000;
        writer.frame(stamp, &frame).unwrap();
    };
    let clients: Vec<_> = (1..=40).map(|n| [10, 1, n, 200 - n]).collect();
    for client in &clients {
        write(*client, VIP, [40_000, 80], "S", 64);
    }
    for client in &clients {
        write(DEST, *client, [8080, 40_000], "SA", 64);
        write(*client, VIP, [40_000, 80], "A", 64);
    }
    write(clients[0], VIP, [40_000, 81], "S", 64);
    write(DEST, [192, 0, 2, 1], [8081, 40_000], "SA", 64);
    write(clients[1], VIP, [40_000, 80], "A", 1);
}
