//! `pointsman replay --map` and `pointsman generate` from outside: conversations of a capture
//! through made-up services of every method. Needs no root and no libdpdk.
#![expect(clippy::unwrap_used, reason = "all of this file is a test")]

use etherparse::PacketBuilder;
use etherparse::PacketHeaders;
use etherparse::TcpOptionElement;
use pointsman::io::pcap::CaptureReader;
use pointsman::io::pcap::NgWriter;
use serde_json::Value;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

const METHODS: [&str; 4] = ["fullnat", "nat", "dr", "tunnel"];

/// Runs the program: exit code, standard output, standard error.
fn pointsman(args: &[&str]) -> (i32, String, String) {
    let program = env!("CARGO_BIN_EXE_pointsman");
    let done = Command::new(program).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

/// A replay's report; all its checks must have held.
fn replayed(args: &[&str]) -> Value {
    let (code, out, err) = pointsman(&[&["replay", "--json"], args].concat());
    assert_eq!((code, err.as_str()), (0, ""), "{args:?}: {out}");
    serde_json::from_str(&out).unwrap()
}

/// The report of a replay of which nothing could be fed.
fn nothing_fed(args: &[&str]) -> Value {
    let (code, out, err) = pointsman(&[&["replay", "--json"], args].concat());
    assert_eq!((code, err.lines().count()), (2, 1), "{args:?}: {out}{err}");
    assert!(err.contains(": nothing to feed: "), "{err}");
    serde_json::from_str(&out).unwrap()
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("map-{name}"))
}

fn generated(name: &str, args: &[&str]) -> PathBuf {
    let path = scratch(name);
    let (code, out, err) = pointsman(&[&["generate", path.to_str().unwrap()], args].concat());
    assert_eq!(code, 0, "{out}{err}");
    path
}

fn frames(path: &Path) -> Vec<Vec<u8>> {
    let (mut reader, mut data) = (CaptureReader::open(path).unwrap(), Vec::new());
    let mut frames = Vec::new();
    while reader.next(&mut data).unwrap().is_some() {
        frames.push(data.clone());
    }
    frames
}

/// Writes a capture of frames a millisecond apart, with lengths on the wire.
fn write(name: &str, frames: &[(Vec<u8>, usize)]) -> PathBuf {
    let path = scratch(name);
    let mut out = Vec::new();
    out.extend_from_slice(&0xa1b2_c3d4_u32.to_le_bytes());
    for field in [0x0004_0002_u32, 0, 0, 262_144, 1] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    for (n, (frame, len)) in frames.iter().enumerate() {
        for field in [1_700_000_000, n as u32 * 1000, frame.len() as u32, *len as u32] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(frame);
    }
    std::fs::write(&path, out).unwrap();
    path
}

fn whole(frames: Vec<Vec<u8>>) -> Vec<(Vec<u8>, usize)> {
    frames.into_iter().map(|f| (f.len(), f)).map(|(n, f)| (f, n)).collect()
}

/// A conversation: who sends (0: the client), flags, sequence and acknowledgement, data.
type Segment<'a> = (usize, &'a str, u32, u32, &'a [u8]);

fn tcp(ends: [([u8; 4], u16); 2], (side, flags, seq, ack, data): Segment<'_>) -> Vec<u8> {
    let ((src, sport), (dst, dport)) = (ends[side], ends[1 - side]);
    let built = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(src, dst, 64);
    let mut built = built.tcp(sport, dport, seq, 1000);
    for flag in flags.chars() {
        built = match flag {
            'S' => built.syn(),
            'A' => built.ack(ack),
            'F' => built.fin(),
            _ => built.rst(),
        };
    }
    let stamps = [TcpOptionElement::Timestamp(seq ^ 0x55, if ack == 0 { 0 } else { ack ^ 0x77 })];
    let mut out = Vec::new();
    built.options(&stamps).unwrap().write(&mut out, data).unwrap();
    out
}

const ENDS: [([u8; 4], u16); 2] = [([203, 0, 113, 7], 40_000), ([203, 0, 113, 80], 8080)];

/// Handshake, a request, an answer, close.
const TALK: [Segment<'static>; 8] = [
    (0, "S", 100, 0, b""),
    (1, "SA", 900, 101, b""),
    (0, "A", 101, 901, b""),
    (0, "A", 101, 901, b"GET /"),
    (1, "A", 901, 106, b"hello"),
    (0, "FA", 106, 906, b""),
    (1, "FA", 906, 107, b""),
    (0, "A", 107, 907, b""),
];

#[test]
fn whole_conversations_go_both_ways_by_every_method() {
    for (family, udp) in [("v4", false), ("v6", false), ("both", false), ("both", true)] {
        let mut args = vec!["--conns", "60", "--packets", "3000", "--new", "0.1"];
        args.extend(["--family", family, "--zipf", "0.9", "--clients", "20"]);
        args.extend(udp.then_some("--udp"));
        let input = generated(&format!("{family}-{udp}.pcap"), &args);
        for method in METHODS {
            for workers in ["1", "3"] {
                let input = input.to_str().unwrap();
                let r = replayed(&[input, "--forward", method, "-w", workers]);
                let talks = &r["conversations"];
                assert_eq!(r["mode"], "mapped");
                assert_eq!(r["input"]["frames"], 3000);
                assert_eq!((&talks["refused"], &r["skipped"]), (&0.into(), &serde_json::json!({})));
                let direct = talks["direct"].as_u64().unwrap();
                assert_eq!(direct > 0, method == "dr" || method == "tunnel");
                let fed: u64 = ports(&r, "fed");
                assert_eq!((fed + direct, ports(&r, "sent")), (3000, fed), "{method} {family}");
            }
        }
    }
}

fn ports(report: &Value, what: &str) -> u64 {
    report["ports"].as_array().unwrap().iter().map(|p| p[what].as_u64().unwrap()).sum()
}

#[test]
fn the_client_gets_the_bytes_and_numbers_of_the_capture_through_fullnat() {
    let input = write("talk.pcap", &whole(TALK.iter().map(|s| tcp(ENDS, *s)).collect()));
    let out = scratch("talk-out.pcapng");
    let args = [input.to_str().unwrap(), "--map", "198.51.100.9:81", "-o", out.to_str().unwrap()];
    let r = replayed(&args);
    assert_eq!(r["conversations"]["handshakes"], 1);
    let left = frames(&out);
    assert_eq!(left.len(), TALK.len());
    for (frame, (side, flags, seq, ack, data)) in left.iter().zip(TALK) {
        let headers = PacketHeaders::from_ethernet_slice(frame).unwrap();
        let t = headers.transport.unwrap().tcp().unwrap();
        let (src, dst) =
            headers.net.unwrap().ipv4_ref().map(|i| (i.0.source, i.0.destination)).unwrap();
        assert_eq!(headers.payload.slice(), data);
        if side == 1 {
            assert_eq!(
                ((src, t.source_port), (dst, t.destination_port)),
                (([198, 51, 100, 9], 81), ENDS[0])
            );
            assert_eq!((t.sequence_number, t.acknowledgment_number), (seq, ack), "{flags}");
        } else {
            // The dest sees a local address, and numbers of the director's.
            assert_eq!((src[..2].to_vec(), &dst[..2]), (vec![198, 19], &[198, 19][..]));
            assert_eq!((t.acknowledgment_number, t.destination_port), (ack, 81));
            assert_ne!(t.sequence_number, seq);
        }
    }
}

#[test]
fn out_has_an_interface_for_each_port_and_comments_that_name_dest_and_conn() {
    let input = write("comment.pcap", &whole(TALK.iter().map(|s| tcp(ENDS, *s)).collect()));
    let out = scratch("comment.pcapng");
    let args = [input.to_str().unwrap(), "--forward", "nat", "-o", out.to_str().unwrap()];
    replayed(&args);
    let bytes = std::fs::read(&out).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("wan") && text.contains("lan"));
    let conn = "conn tcp 203.0.113.7:40000 -> 192.0.2.1:80 local 203.0.113.7:40000";
    assert_eq!(text.matches(conn).count(), TALK.len());
    assert_eq!(text.matches("dest 198.19.1.").count(), TALK.len());
    let (mut reader, mut data) = (CaptureReader::open(&out).unwrap(), Vec::new());
    let mut interfaces = Vec::new();
    while let Some(record) = reader.next(&mut data).unwrap() {
        interfaces.push(record.interface);
    }
    assert_eq!(interfaces, [1, 0, 1, 1, 0, 1, 0, 1]);
}

#[test]
fn a_conversation_that_began_before_is_picked_up_or_skipped_as_asked() {
    let late = TALK[3..].iter().map(|s| tcp(ENDS, *s)).collect();
    let input = write("late.pcap", &whole(late));
    let input = input.to_str().unwrap();
    for method in METHODS {
        let r = replayed(&[input, "--forward", method]);
        let talks = &r["conversations"];
        assert_eq!((&talks["started_before"], &talks["refused"]), (&1.into(), &0.into()));
        let made_up = if method == "dr" || method == "tunnel" { 2 } else { 3 };
        assert_eq!(talks["made_up"], made_up);
    }
    let r = nothing_fed(&[input, "--no-pickup"]);
    assert_eq!(r["skipped"]["no-start"], 5);
    assert_eq!((&r["conversations"]["started_before"], ports(&r, "fed")), (&1.into(), 0));
}

#[test]
fn one_that_begins_with_the_answer_has_its_client_at_the_other_end() {
    let late = TALK[1..].iter().map(|s| tcp(ENDS, *s)).collect();
    let input = write("answer.pcap", &whole(late));
    let r = replayed(&[input.to_str().unwrap()]);
    assert_eq!(r["conversations"]["made_up"], 1);
    assert_eq!(r["ports"][0]["fed"], 1 + 4, "SYN and what the client sent");
    assert_eq!(r["ports"][1]["fed"], 3);
}

#[test]
fn conversations_that_would_share_a_tuple_get_a_port_of_their_own() {
    let mut frames: Vec<_> = TALK.iter().map(|s| tcp(ENDS, *s)).collect();
    // The same ends again, with other numbers; and the same client with another server.
    let again = TALK.map(|(side, flags, seq, ack, data)| match side {
        0 => (side, flags, seq + 5000, ack, data),
        _ => (side, flags, seq, ack + 5000, data),
    });
    frames.extend(again.iter().map(|s| tcp(ENDS, *s)));
    frames.extend(TALK.iter().map(|s| tcp([ENDS[0], ([203, 0, 113, 81], 443)], *s)));
    let input = write("share.pcap", &whole(frames));
    let r = replayed(&[input.to_str().unwrap()]);
    assert_eq!(
        (&r["conversations"]["tcp"], &r["conversations"]["other_port"]),
        (&3.into(), &2.into())
    );
    assert_eq!(r["conns_opened"], 3);
}

#[test]
fn snapped_frames_are_filled_up_and_large_ones_cut() {
    let data = vec![7; 4000];
    let ack_of_all = (1, "A", 901, 4101, &b""[..]);
    let mut frames = whole(TALK[..3].iter().map(|s| tcp(ENDS, *s)).collect());
    frames.extend(whole(vec![tcp(ENDS, (0, "A", 101, 901, &data)), tcp(ENDS, ack_of_all)]));
    let snapped = tcp(ENDS, (0, "A", 4101, 901, &[9; 1000]));
    frames.push((snapped[..96].to_vec(), snapped.len()));
    let input = write("sizes.pcap", &frames);
    let input = input.to_str().unwrap();
    let r = replayed(&[input]);
    let given = &r["input"];
    assert_eq!(
        (&given["padded"], &given["cut"], &given["further"]),
        (&1.into(), &1.into(), &2.into())
    );
    assert_eq!((ports(&r, "fed"), ports(&r, "sent")), (8, 8));
    let r = replayed(&[input, "--snapped", "skip", "--large", "skip"]);
    assert_eq!((&r["skipped"]["snapped"], &r["skipped"]["large"]), (&1.into(), &1.into()));
}

#[test]
fn a_bad_checksum_stays_bad() {
    let mut frames: Vec<_> = TALK.iter().map(|s| tcp(ENDS, *s)).collect();
    for frame in &mut frames[3..5] {
        frame[14 + 20 + 16] ^= 0x20;
    }
    let input = write("bad.pcap", &whole(frames));
    let out = scratch("bad.pcapng");
    for method in METHODS {
        let path = out.to_str().unwrap();
        replayed(&[input.to_str().unwrap(), "--forward", method, "-o", path]);
        let bad = crate::frames(&out).iter().filter(|f| !is_right(f, method)).count();
        assert_eq!(bad, if method == "dr" || method == "tunnel" { 1 } else { 2 });
    }
}

/// Judged by etherparse.
fn is_right(frame: &[u8], method: &str) -> bool {
    let ip = if method == "tunnel" { &frame[34..] } else { &frame[14..] };
    let headers = PacketHeaders::from_ip_slice(ip).unwrap();
    let (net, transport) = (headers.net.unwrap(), headers.transport.unwrap());
    let (v4, t) = (net.ipv4_ref().unwrap().0, transport.tcp().unwrap());
    t.calc_checksum_ipv4(v4, headers.payload.slice()).unwrap() == t.checksum
}

#[test]
fn conversations_are_multiplied_and_captures_replayed_again() {
    let input = write("many.pcap", &whole(TALK.iter().map(|s| tcp(ENDS, *s)).collect()));
    let input = input.to_str().unwrap();
    let r = replayed(&[input, "--conns", "40", "--loop", "3"]);
    assert_eq!((&r["conns_opened"], &r["input"]["frames"]), (&120.into(), &24.into()));
    assert_eq!(ports(&r, "sent"), 960);
    // Two captures are one.
    let r = replayed(&[input, input]);
    assert_eq!((&r["conns_opened"], &r["input"]["frames"]), (&2.into(), &16.into()));
    // The second one is no retransmission of the first, which is over.
    let talks = &r["conversations"];
    assert_eq!((&talks["tcp"], &talks["remapped"]), (&2.into(), &0.into()));
}

#[test]
fn what_cannot_be_mapped_has_a_name() {
    let mut arp = vec![0; 60];
    arp[12..14].copy_from_slice(&[8, 6]);
    let mut stp = vec![0; 60];
    stp[13] = 38;
    let mut mpls = vec![0; 60];
    mpls[12..14].copy_from_slice(&[0x88, 0x47]);
    let mut ping = Vec::new();
    let b = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([1, 2, 3, 4], [5, 6, 7, 8], 9);
    b.icmpv4_echo_request(1, 2).write(&mut ping, b"").unwrap();
    let mut sctp = Vec::new();
    let b = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([1, 2, 3, 4], [5, 6, 7, 8], 9);
    b.write(&mut sctp, 132.into(), b"0123456789").unwrap();
    let mut bent = tcp(ENDS, TALK[0]);
    bent[14 + 20 + 12] = 0x10;
    let mut short = tcp(ENDS, TALK[3]);
    short.truncate(14 + 20 + 32);
    let frames = vec![arp, stp, mpls, ping, sctp, bent, short, vec![1; 9]];
    let input = write("names.pcap", &whole(frames));
    let r = nothing_fed(&[input.to_str().unwrap()]);
    let names = serde_json::json!({
        "arp": 1, "llc": 1, "not-ip": 1, "icmp": 1, "protocol": 1, "malformed": 1, "runt": 1,
        "truncated": 1,
    });
    assert_eq!(r["skipped"], names);
}

#[test]
fn fragments_follow_their_first_one() {
    let mut datagram = Vec::new();
    let b = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(ENDS[0].0, ENDS[1].0, 64);
    b.udp(5000, 53).write(&mut datagram, &[5; 1600]).unwrap();
    let piece = |from: usize, to: usize, more: bool| {
        let mut out = datagram[..34].to_vec();
        out.extend_from_slice(&datagram[34 + from..34 + to]);
        out[16..18].copy_from_slice(&((20 + to - from) as u16).to_be_bytes());
        let field = (from / 8) as u16 | if more { 0x2000 } else { 0 };
        out[20..22].copy_from_slice(&field.to_be_bytes());
        out[24..26].copy_from_slice(&[0, 0]);
        let sum: u32 = out[14..34].chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        out[24..26].copy_from_slice(&sum.to_be_bytes());
        out
    };
    let input = write("pieces.pcap", &whole(vec![piece(0, 800, true), piece(800, 1608, false)]));
    let out = scratch("pieces.pcapng");
    let args = [input.to_str().unwrap(), "-o", out.to_str().unwrap(), "--forward"];
    for method in METHODS {
        for workers in ["1", "3"] {
            let r = replayed(&[&args[..], &[method, "-w", workers]].concat());
            assert_eq!((ports(&r, "fed"), ports(&r, "sent")), (2, 2), "{method}");
            // The later one has no ports, and is known by its conversation all the same.
            let bytes = std::fs::read(&out).unwrap();
            let conn = "conn udp 203.0.113.7:5000 -> 192.0.2.1:80";
            assert_eq!(String::from_utf8_lossy(&bytes).matches(conn).count(), 2, "{method}");
        }
    }
    let input = write("orphan.pcap", &whole(vec![piece(800, 1608, false)]));
    assert_eq!(nothing_fed(&[input.to_str().unwrap()])["skipped"]["no-first"], 1);
}

#[test]
fn a_datagram_that_the_director_cuts_into_fragments_has_a_mapping_too() {
    let datagram = |from: usize, len: usize| {
        let ((src, sport), (dst, dport)) = (ENDS[from], ENDS[1 - from]);
        let mut out = Vec::new();
        let b = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(src, dst, 64);
        b.udp(sport, dport).write(&mut out, &vec![5; len]).unwrap();
        // It may be cut.
        out[20] = 0;
        out
    };
    let input = write("cut-up.pcap", &whole(vec![datagram(0, 3000), datagram(1, 100)]));
    for method in METHODS {
        let r = replayed(&[input.to_str().unwrap(), "--forward", method]);
        let talks = &r["conversations"];
        assert_eq!((&talks["fragmented"], &talks["refused"]), (&1.into(), &0.into()), "{method}");
        assert_eq!(r["skipped"], serde_json::json!({}), "{method}");
    }
}

#[test]
fn a_service_of_the_configuration_is_mapped_to_when_no_frame_meets_one() {
    let config = scratch("config.toml");
    let text = "
        [[port]]
        name = 'wan'
        device = 'net_null0'
        addresses = ['192.0.2.1/24']
        gateway = '192.0.2.254'
        [[port]]
        name = 'lan'
        device = 'net_null1'
        addresses = ['10.2.0.1/24']
        [[pool]]
        name = 'p'
        addresses = ['10.2.0.100']
        [[service]]
        address = '192.0.2.10:80'
        forward = 'fullnat'
        pool = 'p'
        [[service.dest]]
        address = '10.2.0.2:8080'
        [[service]]
        address = '192.0.2.11:80'
        forward = 'nat'
        [[service.dest]]
        address = '10.2.0.3'";
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let input = write("config.pcap", &whole(TALK.iter().map(|s| tcp(ENDS, *s)).collect()));
    let input = input.to_str().unwrap();
    let r = replayed(&["-c", config, input]);
    assert_eq!((&r["mode"], &r["services"][0]["dests"][0]["conns"]), (&"mapped".into(), &1.into()));
    let r = replayed(&["-c", config, input, "--map", "192.0.2.11:80"]);
    assert_eq!(r["services"][1]["dests"][0]["conns"], 1);
    let (code, _, err) = pointsman(&["replay", "-c", config, input, "--map", "192.0.2.12:80"]);
    assert_eq!(code, 2);
    assert!(err.contains("no such service, but tcp 192.0.2.10:80, tcp 192.0.2.11:80"), "{err}");
    // As it is, it is for nobody.
    let r = replayed(&["-c", config, input, "--as-is"]);
    assert_eq!((&r["mode"], &r["conns_opened"]), (&"as-is".into(), &0.into()));
}

/// Each conversation is judged by the method of the dest that it got.
#[test]
fn conversations_are_mapped_to_dests_of_several_methods() {
    let config = scratch("methods.toml");
    let text = "
        [[port]]
        name = 'wan'
        device = 'net_null0'
        addresses = ['192.0.2.1/24']
        gateway = '192.0.2.254'
        [[port]]
        name = 'lan'
        device = 'net_null1'
        addresses = ['10.2.0.1/24']
        [[pool]]
        name = 'p'
        addresses = ['10.2.0.100']
        [[service]]
        address = '192.0.2.10:80'
        forward = 'fullnat'
        scheduler = 'rr'
        pool = 'p'
        [[service.dest]]
        address = '10.2.0.2:8080'
        [[service.dest]]
        address = '10.2.0.3:8080'
        forward = 'nat'
        [[service.dest]]
        address = '10.2.0.4'
        forward = 'dr'
        [[service.dest]]
        address = '10.2.0.5'
        forward = 'tunnel'";
    std::fs::write(&config, text).unwrap();
    let [(client, port), server] = ENDS;
    let ends = (0..8u16).map(|n| [(client, port + n), server]);
    let talks = ends.flat_map(|ends| TALK.iter().map(move |s| tcp(ends, *s)));
    let input = write("methods.pcap", &whole(talks.collect()));
    for workers in ["1", "2"] {
        let config = config.to_str().unwrap();
        let r = replayed(&["-c", config, input.to_str().unwrap(), "-w", workers]);
        let dests = r["services"][0]["dests"].as_array().unwrap();
        let conns: Vec<_> = dests.iter().map(|d| d["conns"].as_u64().unwrap()).collect();
        assert_eq!((conns.len(), conns.iter().sum::<u64>()), (4, 8), "{r}");
        assert!(conns.iter().all(|n| *n > 0), "{conns:?}");
        let talks = &r["conversations"];
        assert_eq!((&talks["refused"], &r["skipped"]), (&0.into(), &serde_json::json!({})));
        // What dr and tunnel dests answer goes past the director.
        let answers = TALK.iter().filter(|s| s.0 == 1).count() as u64;
        let (direct, fed) = (talks["direct"].as_u64().unwrap(), ports(&r, "fed"));
        assert_eq!(direct, (conns[0] + conns[1]) * answers);
        assert_eq!((fed + direct, ports(&r, "sent")), (8 * TALK.len() as u64, fed));
    }
}

/// `one_packet`: the conn has ended by the time that its packet is looked at.
#[test]
fn datagrams_that_are_conns_of_their_own_are_judged_by_the_method_they_left_by() {
    let config = scratch("one-packet-methods.toml");
    let text = "
        [[port]]
        name = 'wan'
        device = 'net_null0'
        addresses = ['192.0.2.1/24']
        gateway = '192.0.2.254'
        [[port]]
        name = 'lan'
        device = 'net_null1'
        addresses = ['10.2.0.1/24']
        [[service]]
        address = '192.0.2.10:80'
        protocol = 'udp'
        one_packet = true
        forward = 'nat'
        scheduler = 'rr'
        [[service.dest]]
        address = '10.2.0.2:8080'
        [[service.dest]]
        address = '10.2.0.3'
        forward = 'dr'
        [[service.dest]]
        address = '10.2.0.4'
        forward = 'tunnel'";
    std::fs::write(&config, text).unwrap();
    let datagram = || {
        let mut out = Vec::new();
        let ([(src, sport), (dst, dport)], b) = (ENDS, PacketBuilder::ethernet2([2; 6], [4; 6]));
        b.ipv4(src, dst, 64).udp(sport, dport).write(&mut out, b"?").unwrap();
        out
    };
    let input = write("one-packet.pcap", &whole((0..6).map(|_| datagram()).collect()));
    let r = replayed(&["-c", config.to_str().unwrap(), input.to_str().unwrap()]);
    let dests = r["services"][0]["dests"].as_array().unwrap();
    let conns: Vec<_> = dests.iter().map(|d| d["conns"].as_u64().unwrap()).collect();
    assert_eq!((conns, ports(&r, "sent")), (vec![2, 2, 2], 6), "{r}");
}

#[test]
fn refused_conversations_are_listed_with_their_reason_and_exit_1() {
    let frames = whole(TALK.iter().map(|s| tcp(ENDS, *s)).collect());
    let mut frames: Vec<_> = frames.into_iter().map(|(f, _)| f).collect();
    // Port 0, which no conn can be answered to.
    for (frame, (side, ..)) in frames.iter_mut().zip(TALK) {
        let at = 34 + 2 * side;
        frame[at..at + 2].copy_from_slice(&[0, 0]);
    }
    let input = write("refused.pcap", &whole(frames));
    let (code, out, err) = pointsman(&["replay", "--json", input.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(err.contains("99 % of frames"), "{err}");
    let r: Value = serde_json::from_str(&out).unwrap();
    let refused = &r["conversations"]["listed"][0];
    assert_eq!(refused["conversation"], "tcp 203.0.113.7:0 -> 192.0.2.1:80");
    assert_eq!(refused["reasons"], serde_json::json!(["transport-header"]));
}

/// A configuration with one service of a method, whose conns live so many seconds.
fn short_lived(name: &str, forward: &str, seconds: u32) -> PathBuf {
    let config = scratch(name);
    let text = format!(
        "[timeouts]
        tcp_established = {seconds}
        udp = {seconds}
        [[port]]
        name = 'wan'
        device = 'net_null0'
        addresses = ['192.0.2.1/24']
        gateway = '192.0.2.254'
        [[port]]
        name = 'lan'
        device = 'net_null1'
        addresses = ['10.2.0.1/24']
        [[pool]]
        name = 'p'
        addresses = ['10.2.0.100']
        [[service]]
        address = '192.0.2.10:80'
        forward = '{forward}'
        {pool}
        [[service.dest]]
        address = '10.2.0.2'
        [[service]]
        address = '192.0.2.10:80'
        protocol = 'udp'
        forward = '{forward}'
        {pool}
        [[service.dest]]
        address = '10.2.0.2'",
        pool = if forward == "fullnat" { "pool = 'p'" } else { "" }
    );
    std::fs::write(&config, text).unwrap();
    config
}

/// Writes a capture of frames at their seconds.
fn write_at(name: &str, frames: &[(u64, Vec<u8>)]) -> PathBuf {
    let path = scratch(name);
    let mut writer = NgWriter::new(File::create(&path).unwrap(), &["a".into()]).unwrap();
    for (seconds, frame) in frames {
        writer.frame(0, (1_700_000_000 + seconds) * 1_000_000_000, frame, "").unwrap();
    }
    writer.finish().unwrap();
    path
}

#[test]
fn conversations_that_lose_frames_are_listed_with_their_reason_and_exit_1() {
    // Its client is silent for longer than its conn lives.
    let frames: Vec<_> =
        TALK.iter().enumerate().map(|(n, s)| (n as u64 / 5 * 60, tcp(ENDS, *s))).collect();
    let input = write_at("silent.pcapng", &frames);
    let input = input.to_str().unwrap();
    for method in ["fullnat", "nat"] {
        let config = short_lived(&format!("silent-{method}.toml"), method, 5);
        let args = ["replay", "--json", input, "-c", config.to_str().unwrap()];
        let (code, out, err) = pointsman(&args);
        assert_eq!(code, 1, "{err}");
        assert!(err.contains("99 % of frames"), "{err}");
        let r: Value = serde_json::from_str(&out).unwrap();
        let talks = &r["conversations"];
        assert_eq!((&talks["refused"], &talks["lossy"]), (&0.into(), &1.into()));
        let lost = serde_json::json!({
            "conversation": "tcp 203.0.113.7:40000 -> 192.0.2.10:80",
            "frames": 8, "left": 5, "reasons": ["not-syn", "expired"],
        });
        assert_eq!(talks["listed_lossy"][0], lost);
    }
    // A made-up service's conns outlive it.
    replayed(&[input]);
}

#[test]
fn a_dest_does_not_answer_through_a_mapping_that_timed_out() {
    let datagram = |(src, sport): ([u8; 4], u16), (dst, dport): ([u8; 4], u16)| {
        let mut out = Vec::new();
        let b = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(src, dst, 64);
        b.udp(sport, dport).write(&mut out, b"?").unwrap();
        out
    };
    let other = ([203, 0, 113, 9], 7);
    let frames = [
        (0, datagram(ENDS[0], ENDS[1])),
        (1, datagram(ENDS[1], ENDS[0])),
        // Gone; another client may have its local port.
        (60, datagram(other, ENDS[1])),
        (61, datagram(ENDS[1], ENDS[0])),
    ];
    let input = write_at("expired.pcapng", &frames);
    for method in ["fullnat", "nat"] {
        let config = short_lived(&format!("expired-{method}.toml"), method, 5);
        let r = replayed(&[input.to_str().unwrap(), "-c", config.to_str().unwrap()]);
        assert_eq!((ports(&r, "fed"), &r["skipped"]), (3, &serde_json::json!({ "expired": 1 })));
    }
}

#[test]
fn after_a_long_silence_an_answer_to_another_syn_begins_another_conversation() {
    let mut frames: Vec<_> = TALK[..3].iter().map(|s| (0, tcp(ENDS, *s))).collect();
    let later = TALK[1..].iter().map(|(side, flags, seq, ack, data)| {
        let moved = |n: u32, by: usize| n + if by == 0 { 70_000 } else { 0 };
        (*side, *flags, moved(*seq, *side), moved(*ack, 1 - *side), *data)
    });
    frames.extend(later.map(|s| (500, tcp(ENDS, s))));
    let input = write_at("answer-later.pcapng", &frames);
    for method in METHODS {
        let r = replayed(&[input.to_str().unwrap(), "--forward", method]);
        let talks = &r["conversations"];
        let of = |name: &str| talks[name].as_u64().unwrap();
        assert_eq!((of("tcp"), of("handshakes"), of("started_before")), (2, 1, 1), "{method}");
        assert_eq!((of("made_up"), of("refused")), (1, 0), "{method}");
    }
}

#[test]
fn wrong_ip_header_checksums_are_made_right_where_conversations_are_mapped() {
    let mut frames: Vec<_> = TALK.iter().map(|s| tcp(ENDS, *s)).collect();
    frames[2][24..26].copy_from_slice(&[0, 0]);
    frames[3][24] ^= 0x40;
    let input = write("header.pcap", &whole(frames));
    for method in METHODS {
        let r = replayed(&[input.to_str().unwrap(), "--forward", method]);
        assert_eq!(r["conversations"]["headers_mended"], 2);
        assert_eq!(r["conversations"]["handshake_left"], r["conversations"]["handshake_frames"]);
    }
    // As captured, the director drops them.
    let config = short_lived("header.toml", "nat", 5);
    let r = replayed(&[input.to_str().unwrap(), "-c", config.to_str().unwrap(), "-p", "wan"]);
    assert_eq!(r["law"]["dropped"]["ip-checksum"], 2);
}

#[test]
fn interfaces_that_are_not_ethernet_are_counted_by_name() {
    let path = scratch("mixed.pcapng");
    let mut writer =
        NgWriter::new(File::create(&path).unwrap(), &["a".into(), "b".into()]).unwrap();
    for (n, s) in TALK.iter().enumerate() {
        writer.frame(0, n as u64, &tcp(ENDS, *s), "").unwrap();
        writer.frame(1, n as u64, &[0; 40], "").unwrap();
    }
    writer.finish().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    // The second interface becomes Linux's cooked one.
    let second = 28 + u32::from_le_bytes(bytes[32..36].try_into().unwrap()) as usize;
    bytes[second + 8..second + 10].copy_from_slice(&113_u16.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    let r = replayed(&[path.to_str().unwrap()]);
    assert_eq!(r["input"]["foreign"], serde_json::json!(["8 LINUX_SLL (113)"]));
    assert_eq!((&r["input"]["frames"], ports(&r, "fed")), (&16.into(), 8));
    assert_eq!(r["input"]["foreign_frames"], 8);
    let page = scratch("mixed.html");
    pointsman(&["replay", path.to_str().unwrap(), "--report", page.to_str().unwrap()]);
    let row = "<td>not Ethernet</td><td class='n'>8</td>";
    assert!(std::fs::read_to_string(&page).unwrap().contains(row));
    // Nothing else: refused by name.
    bytes[36..38].copy_from_slice(&113_u16.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    let (code, _, err) = pointsman(&["replay", path.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(err.contains("link type LINUX_SLL (113)"), "{err}");
}

#[test]
fn the_page_needs_nothing_else_and_has_its_plots() {
    let input = generated("page.pcap", &["--conns", "30", "--packets", "9000"]);
    let page = scratch("page.html");
    replayed(&[input.to_str().unwrap(), "--report", page.to_str().unwrap()]);
    let html = std::fs::read_to_string(&page).unwrap();
    for plot in ["Rate over time", "Latency of a burst", "Load of tcp 192.0.2.1:80", "Checks"] {
        assert!(html.contains(plot), "{plot}");
    }
    assert!(html.contains("@media print") && html.contains("<svg") && html.contains("viewport"));
    for outside in ["http:", "https:", "<script", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn stamps_centuries_ahead_neither_stop_nor_overflow() {
    let path = scratch("ahead.pcapng");
    let mut writer = NgWriter::new(File::create(&path).unwrap(), &["a".into()]).unwrap();
    let mut datagram = Vec::new();
    let b = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(ENDS[0].0, ENDS[1].0, 64);
    b.udp(5000, 53).write(&mut datagram, b"?").unwrap();
    for stamp in [7, u64::MAX, 8] {
        writer.frame(0, stamp, &datagram, "").unwrap();
    }
    writer.finish().unwrap();
    let r = replayed(&[path.to_str().unwrap(), "--loop", "4"]);
    assert_eq!((ports(&r, "fed"), ports(&r, "sent")), (12, 12));
    // In the first round the one after it; then all are of the latest time there is.
    assert_eq!(r["input"]["went_back"], 1);
}

#[test]
fn a_rate_is_kept() {
    let input = write("rate.pcap", &whole(TALK.iter().map(|s| tcp(ENDS, *s)).collect()));
    let input = input.to_str().unwrap();
    // Seven milliseconds of capture, at a hundredth of the speed; and 8 frames, 40 a second.
    for rate in ["0.02x", "40"] {
        let r = replayed(&[input, "--rate", rate]);
        let seconds = r["wall_seconds"].as_f64().unwrap();
        assert!(seconds > 0.17, "{rate}: {seconds}");
    }
}

#[test]
fn a_rate_that_cannot_be_kept_is_said() {
    let input = generated("fast.pcap", &["--conns", "2000", "--packets", "100000"]);
    let input = input.to_str().unwrap();
    let (code, out, _) = pointsman(&["replay", input, "--rate", "1000000M"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("--rate was not kept: 0.00 of what was asked for"), "{out}");
    assert!(out.contains("frames/s with reading and checking"), "{out}");
    let r = replayed(&[input, "--rate", "1000000M"]);
    assert!(r["rate_kept"].as_f64().unwrap() < 0.1);
    assert_eq!(r["options"], serde_json::json!(["--rate 1000000000000 frames/s"]));
    assert_eq!(replayed(&[input])["rate_kept"], Value::Null);
}

#[test]
fn costs_are_measured_on_a_director_of_their_own_unless_a_rate_is_asked_for() {
    let made = generated("alone.pcap", &["--conns", "40", "--packets", "1200", "--size", "64"]);
    let made = made.to_str().unwrap();
    let flat = replayed(&["--forward", "dr", "--table", "65536", made]);
    assert_eq!(flat["measured_alone"], true);
    let cost = &flat["cost"];
    let packets = cost["packets"].as_u64().unwrap() + cost["apart_packets"].as_u64().unwrap();
    assert_eq!(packets, flat["law"]["received"].as_u64().unwrap());
    let paced = ["--forward", "dr", "--rate", "10M", made];
    assert_eq!(replayed(&paced)["measured_alone"], false);
    let (_, text, _) = pointsman(&[&["replay"], &paced[..]].concat());
    assert!(text.contains("among the checks") || text.contains("too few packets"), "{text}");
}

#[test]
fn what_made_traffic_has_otherwise_than_asked_for_is_said() {
    let said = |args: &[&str]| {
        let path = scratch("longer.pcap");
        let few = ["generate", path.to_str().unwrap(), "--packets", "20"];
        let two = ["--conns", "2"];
        let conns = if args.contains(&"--conns") { &[][..] } else { &two[..] };
        let (code, out, err) = pointsman(&[&few, conns, args].concat());
        assert_eq!((code, err.as_str()), (0, ""));
        let least = frames(&path).iter().map(Vec::len).min().unwrap() + 4;
        (least, out.lines().nth(1).map(str::to_owned))
    };
    let longer = |proto: &str, least: usize| {
        let has = format!("{proto} over IPv6 has {least} bytes without data");
        (least, Some(format!("{has}: frames of 64 are that long")))
    };
    assert_eq!(said(&["--family", "v6", "--size", "64"]), longer("TCP", 78));
    assert_eq!(said(&["--family", "v6"]), longer("TCP", 78));
    assert_eq!(said(&["--family", "v6", "--udp", "--size", "64"]), longer("UDP", 66));
    assert_eq!(said(&["--size", "64"]), (64, None));
    assert_eq!(said(&["--family", "v6", "--udp", "--size", "66"]), (66, None));
    let few = "20 frames are too few to begin 50 conversations".to_owned();
    assert_eq!(said(&["--size", "64", "--conns", "50"]), (64, Some(few)));
    let (_, both) = said(&["--family", "both", "--size", "70"]);
    let text = "TCP over IPv6 has 78 bytes without data: frames of 70 are that long";
    assert_eq!(both.as_deref(), Some(text));
}

#[test]
fn every_refused_conversation_is_listed_by_reason_first() {
    let args = ["--conns", "2000", "--packets", "6000", "--new", "0", "--udp"];
    let input = generated("full.pcap", &args);
    let args = ["replay", input.to_str().unwrap(), "--table", "1024", "--forward", "nat"];
    let (_, out, _) = pointsman(&[&args[..], &["--json"]].concat());
    let r: Value = serde_json::from_str(&out).unwrap();
    let talks = &r["conversations"];
    let refused = talks["refused"].as_u64().unwrap();
    assert!(refused > 500, "{refused}");
    let listed = talks["listed"].as_array().unwrap();
    assert_eq!(listed.len() as u64, refused);
    assert!(listed.iter().all(|l| l["reasons"] == serde_json::json!(["table-full"])));
    let page = scratch("full.html");
    let (_, out, _) = pointsman(&[&args[..], &["--report", page.to_str().unwrap()]].concat());
    assert!(out.contains(&format!("     {refused} refused: table-full {refused}\n")), "{out}");
    assert!(
        out.contains(&format!("     {} more refused: --json has all\n", refused - 20)),
        "{out}"
    );
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains(&format!("<p>{} more: --json has all.</p>", refused - 100)));
}

#[test]
fn few_packets_do_not_say_what_packets_cost() {
    let input = write("few.pcap", &whole(TALK.iter().map(|s| tcp(ENDS, *s)).collect()));
    let input = input.to_str().unwrap();
    let page = scratch("few.html");
    let (code, out, _) = pointsman(&["replay", input, "--report", page.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("cost too few packets to tell: "), "{out}");
    assert!(!out.contains("Mpps") && !out.contains("conns/s"), "{out}");
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("too few to tell what they cost") && !html.contains("Mpps"));
    let r = replayed(&[input]);
    assert_eq!(r["cost"]["enough"], false);
    let all = r["cost"]["packets"].as_u64().unwrap();
    assert_eq!(all + r["cost"]["apart_packets"].as_u64().unwrap(), 8);
}

#[test]
fn established_frames_go_in_full_bursts() {
    let args = ["--conns", "2000", "--packets", "60000", "--new", "0"];
    let input = generated("bursts.pcap", &args);
    let r = replayed(&[input.to_str().unwrap(), "--forward", "dr"]);
    let of = |r: &Value| r["cost"]["packets_per_burst"].as_f64().unwrap();
    assert!(of(&r) > 25.0, "{}", of(&r));
    // What other workers take over is no burst of its own.
    let r = replayed(&[input.to_str().unwrap(), "--forward", "nat", "-w", "4"]);
    assert!(r["law"]["handed_over"].as_u64().unwrap() > 10_000);
    assert!(of(&r) >= 1.0, "{}", of(&r));
}

#[test]
fn options_for_conversations_are_refused_where_frames_are_fed_as_they_are() {
    let config = short_lived("as-is-options.toml", "nat", 5);
    let meets = [ENDS[0], ([192, 0, 2, 10], 80)];
    let input = write("meets.pcap", &whole(TALK.iter().map(|s| tcp(meets, *s)).collect()));
    let args = ["replay", input.to_str().unwrap(), "-c", config.to_str().unwrap()];
    assert_eq!(pointsman(&args).0, 0);
    for option in [&["--conns", "5"][..], &["--pickup"], &["--no-pickup"]] {
        let (code, _, err) = pointsman(&[&args[..], option].concat());
        assert_eq!(code, 2);
        let why = format!("{} is for conversations that are mapped", option[0]);
        assert!(err.contains(&why) && err.contains("meet a service of"), "{err}");
        let (code, _, err) = pointsman(&[&args[..], option, &["--port", "wan"]].concat());
        assert_eq!(code, 2);
        assert!(err.contains("cannot be used with"), "{err}");
    }
}

#[test]
fn frames_that_replay_skips_are_named_beside_the_share() {
    let frames: Vec<_> = TALK.iter().map(|s| tcp(ENDS, *s)).collect();
    let mut frames = whole(frames);
    // Its headers are cut.
    frames[4].0.truncate(40);
    let input = write("cut-headers.pcap", &frames);
    let r = replayed(&[input.to_str().unwrap()]);
    let checks = r["checks"].as_array().unwrap();
    let share = checks.iter().find(|c| c["what"].as_str().unwrap().starts_with("99 %")).unwrap();
    assert_eq!(share["detail"], "7 of 7 left; not fed, so in no share: snapped 1");
}

#[test]
fn bits_and_frames_over_time_are_all_that_was_fed() {
    // Datagrams without padding of the link, which is not fed.
    let mut args = vec!["--conns", "500", "--packets", "20000", "--pps", "100000"];
    args.extend(["--udp", "--size", "200"]);
    let input = generated("time.pcap", &args);
    let r = replayed(&[input.to_str().unwrap(), "--forward", "nat"]);
    let intervals = r["over_time"]["intervals"].as_array().unwrap();
    let sum = |what: &str| intervals.iter().map(|i| i[what].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("frames"), sum("bytes")), (20_000, r["input"]["bytes"].as_u64().unwrap()));
    assert_eq!(sum("opened"), r["conns_opened"].as_u64().unwrap());
    // It is as steady as the capture, however many frames are fed at a time.
    let (_, within) = intervals.split_last().unwrap();
    let width = r["over_time"]["width"].as_f64().unwrap() / 1e9;
    let most = within.iter().map(|i| i["frames"].as_u64().unwrap()).max().unwrap();
    assert!(most as f64 <= width * 100_000.0 * 1.1 + 1.0, "{most} in {width} s");
}

#[test]
fn damaged_captures_end_in_words() {
    let path = generated("damaged.pcap", &["--conns", "5", "--packets", "60"]);
    let whole = std::fs::read(&path).unwrap();
    let mut seed = 12_345_u64;
    for n in 0..60 {
        let mut bytes = whole.clone();
        for _ in 0..8 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (seed >> 33) as usize % bytes.len();
            bytes[at] = (seed >> 20) as u8;
        }
        bytes.truncate(bytes.len() - n * 10);
        let damaged = scratch("damaged-now.pcap");
        std::fs::write(&damaged, &bytes).unwrap();
        let (code, out, err) = pointsman(&["replay", damaged.to_str().unwrap()]);
        assert!((0..=2).contains(&code), "{n}: {err}");
        assert!(code == 0 || !err.is_empty() && !err.contains("panicked"), "{n}: {out}{err}");
    }
}
