//! Full-NAT's shift of sequence numbers and timestamps as the client and the dest see it.

use pointsman::io::mem::MemPool;
use pointsman_dataplane::frame::BURST;
use pointsman_dataplane::frame::Burst;
use pointsman_dataplane::frame::Frame as _;
use pointsman_dataplane::isn::Numbers;
use pointsman_dataplane::laddr::FIRST_PORT;
use pointsman_dataplane::laddr::WHOLE;
use pointsman_dataplane::neigh::Neighbours;
use pointsman_dataplane::pipeline::Outbox;
use pointsman_dataplane::pipeline::Pipeline;
use pointsman_dataplane::pipeline::Setup;
use pointsman_dataplane::pipeline::Shared;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Proto;
use pointsman_tests::craft::Body;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::see::Seen;
use pointsman_tests::see::Sum;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where the client begins: a few steps before its numbers wrap.
const SEQ: u32 = 0xffff_fff8;
const TS: u32 = 0xffff_fffa;
/// Where the dest begins.
const DEST_SEQ: u32 = 0x8000_0000;
const DEST_TS: u32 = 77;

const ACK: u8 = flag::ACK;
const SYN: u8 = flag::SYN;
const FIN: u8 = flag::FIN;
const RST: u8 = flag::RST;

/// Where timestamps stand among the options.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    Nowhere,
    Usual,
    Odd,
    BehindOthers,
}

const PLACES: [Place; 4] = [Place::Nowhere, Place::Usual, Place::Odd, Place::BehindOthers];

/// One segment as somebody counts.
#[derive(Clone, Debug, Default)]
struct Segment {
    flags: u8,
    seq: u32,
    ack: u32,
    ts: (u32, u32),
    sack: Vec<(u32, u32)>,
    data: &'static [u8],
}

fn options(place: Place, s: &Segment) -> Vec<u8> {
    let mut o = Vec::new();
    let mut timestamps = vec![8, 10];
    timestamps.extend(s.ts.0.to_be_bytes());
    timestamps.extend(s.ts.1.to_be_bytes());
    if s.flags & SYN != 0 {
        // Maximum segment size, SACK permitted; window scale.
        o.extend([2, 4, 0x05, 0xb4, 4, 2]);
    }
    match place {
        Place::Nowhere => {}
        Place::Usual if o.is_empty() => o.extend([&[1, 1][..], &timestamps].concat()),
        Place::Usual => o.extend(timestamps),
        Place::Odd => o.extend([&[1][..], &timestamps].concat()),
        // An option nobody knows, of an odd length.
        Place::BehindOthers => o.extend([&[253, 5, 9, 9, 9][..], &timestamps].concat()),
    }
    if s.flags & SYN != 0 {
        o.extend([3, 3, 7]);
    }
    if !s.sack.is_empty() {
        o.extend([5, 2 + 8 * s.sack.len() as u8]);
        for (from, to) in &s.sack {
            o.extend(from.to_be_bytes());
            o.extend(to.to_be_bytes());
        }
    }
    // The end of the list, and padding behind it.
    o.resize(o.len().next_multiple_of(4), 0);
    o
}

fn packet(src: SocketAddr, dst: SocketAddr, place: Place, s: &Segment) -> Packet {
    let body = Body::Tcp { flags: s.flags, seq: s.seq, ack: s.ack };
    Packet::new(src, dst, body).payload(s.data).tcp_options(&options(place, s))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// A conversation, and by how much the dest's view of the client's numbers differs.
struct Conversation {
    rig: Rig,
    client: SocketAddr,
    vip: SocketAddr,
    /// The dest's and the director's local end.
    dest: SocketAddr,
    local: SocketAddr,
    dest_mac: [u8; 6],
    place: Place,
    seq_shift: u32,
    ts_shift: u32,
}

fn rewriting(s: &mut Snapshot) {
    s.dests.iter_mut().for_each(|d| d.traits.rewrite = true);
}

fn syn() -> Segment {
    Segment { flags: SYN, seq: SEQ, ts: (TS, 0), ..Segment::default() }
}

/// The TSval in a segment that `options` has written.
fn tsval(place: Place, flags: u8, segment: &[u8]) -> u32 {
    let marked = Segment { flags, ts: (0x0102_0304, 0), ..Segment::default() };
    let at = options(place, &marked).windows(4).position(|w| w == [1, 2, 3, 4]);
    at.map_or(0, |at| u32_at(segment, 20 + at))
}

impl Conversation {
    fn open(mut rig: Rig, family: Family, place: Place) -> Self {
        let (client, vip) = (net::client(family, 7, 40_000), service(family));
        let first = packet(client, vip, place, &syn()).bytes();
        let seen = rig.feed(WAN, &first).seen();
        let mut c = Self {
            rig,
            client,
            vip,
            dest: seen.dst,
            local: seen.src,
            dest_mac: seen.eth.0,
            place,
            seq_shift: u32_at(&seen.segment, 4).wrapping_sub(SEQ),
            ts_shift: tsval(place, SYN, &seen.segment).wrapping_sub(TS),
        };
        if place == Place::Nowhere {
            c.ts_shift = 0;
        }
        c.dest_saw(&seen, &syn());
        c
    }

    /// What came out toward the dest is what the client said, with its own numbers shifted.
    fn dest_saw(&mut self, seen: &Seen, said: &Segment) {
        let expected = Segment {
            seq: said.seq.wrapping_add(self.seq_shift),
            ts: (said.ts.0.wrapping_add(self.ts_shift), said.ts.1),
            ..said.clone()
        };
        let whole = packet(self.local, self.dest, self.place, &expected);
        assert_eq!((seen.src, seen.dst), (self.local, self.dest));
        assert_eq!(see::hex(&seen.segment), see::hex(&whole.payload), "{said:?}");
        assert_eq!(seen.sum, Sum::Right);
    }

    fn client_says(&mut self, said: Segment) {
        let p = packet(self.client, self.vip, self.place, &said);
        let seen = self.rig.feed(WAN, &p.bytes()).seen();
        self.dest_saw(&seen, &said);
    }

    /// `heard` is what the client must hear; the dest says it in its own view.
    fn dest_says(&mut self, heard: Segment) {
        let there = |n: u32| n.wrapping_add(self.seq_shift);
        let acks = heard.flags & ACK != 0;
        let said = Segment {
            ack: if acks { there(heard.ack) } else { heard.ack },
            ts: match heard.ts {
                (val, 0) => (val, 0),
                (val, ecr) => (val, ecr.wrapping_add(self.ts_shift)),
            },
            sack: heard.sack.iter().map(|(a, b)| (there(*a), there(*b))).collect(),
            ..heard.clone()
        };
        let p = packet(self.dest, self.local, self.place, &said).from_lan(self.dest_mac);
        let seen = self.rig.feed(LAN, &p.bytes()).seen();
        let whole = packet(self.vip, self.client, self.place, &heard);
        assert_eq!((seen.src, seen.dst), (self.vip, self.client));
        assert_eq!(see::hex(&seen.segment), see::hex(&whole.payload), "{heard:?}");
        assert_eq!(seen.sum, Sum::Right);
    }
}

fn service(family: Family) -> SocketAddr {
    net::service_addr(family, Forward::FullNat)
}

/// The client's number `n` steps on.
fn c(n: u32) -> u32 {
    SEQ.wrapping_add(n)
}

fn d(n: u32) -> u32 {
    DEST_SEQ.wrapping_add(n)
}

/// Timestamps after `n` ms.
fn ts(n: u32) -> (u32, u32) {
    (TS.wrapping_add(n), DEST_TS + n)
}

fn dest_ts(n: u32) -> (u32, u32) {
    (DEST_TS + n, TS.wrapping_add(n))
}

fn every_kind(run: impl Fn(Conversation)) {
    for family in net::FAMILIES {
        for place in PLACES {
            run(Conversation::open(Rig::with(rewriting), family, place));
        }
    }
}

fn shake_hands(t: &mut Conversation) {
    let ends = (c(1), d(1));
    let flags = SYN | ACK;
    t.dest_says(Segment { flags, seq: d(0), ack: ends.0, ts: dest_ts(0), ..Segment::default() });
    let (seq, ack) = ends;
    t.client_says(Segment { flags: ACK, seq, ack, ts: ts(1), ..Segment::default() });
}

#[test]
fn a_whole_conversation_is_shifted_by_one_constant_each() {
    every_kind(|mut t| {
        shake_hands(&mut t);
        let one = Segment { flags: ACK, ..Segment::default() };
        t.client_says(Segment { seq: c(1), ack: d(1), ts: ts(2), data: b"GET / x", ..one.clone() });
        t.dest_says(Segment { seq: d(1), ack: c(8), ts: dest_ts(2), data: b"200", ..one.clone() });
        t.client_says(Segment { seq: c(8), ack: d(4), ts: ts(3), data: b"odd", ..one.clone() });
        let fin = Segment { flags: FIN | ACK, ..Segment::default() };
        t.client_says(Segment { seq: c(11), ack: d(4), ts: ts(4), ..fin.clone() });
        t.dest_says(Segment { seq: d(4), ack: c(12), ts: dest_ts(4), ..fin });
        t.client_says(Segment { seq: c(12), ack: d(5), ts: ts(5), ..one });
    });
}

#[test]
fn sack_edges_come_back_as_the_client_counts_and_the_clients_own_stay() {
    every_kind(|mut t| {
        shake_hands(&mut t);
        let room = match t.place {
            Place::Nowhere => 4,
            Place::BehindOthers => 2,
            _ => 3,
        };
        for blocks in 1..=room {
            let sack = (0..blocks).map(|i| (c(10 + 8 * i), c(14 + 8 * i))).collect();
            let heard = Segment { flags: ACK, seq: d(1), ack: c(3), sack, ..Segment::default() };
            t.dest_says(Segment { ts: dest_ts(3), ..heard });
            // The client's blocks count what the dest sent, which nobody shifts.
            let sack = (0..blocks).map(|i| (d(10 + 8 * i), d(14 + 8 * i))).collect();
            let said = Segment { flags: ACK, seq: c(3), ack: d(1), sack, ..Segment::default() };
            t.client_says(Segment { ts: ts(4), ..said });
        }
    });
}

#[test]
fn a_tsecr_of_zero_stays_zero() {
    every_kind(|mut t| {
        let flags = SYN | ACK;
        let heard = Segment { flags, seq: d(0), ack: c(1), ts: (9, 0), ..Segment::default() };
        t.dest_says(heard);
    });
}

#[test]
fn resets_of_both_ends_are_shifted() {
    every_kind(|mut t| {
        shake_hands(&mut t);
        t.client_says(Segment { flags: RST, seq: c(1), ts: ts(2), ..Segment::default() });
    });
    every_kind(|mut t| {
        shake_hands(&mut t);
        let (flags, seq, ack) = (RST | ACK, d(1), c(1));
        t.dest_says(Segment { flags, seq, ack, ts: dest_ts(2), ..Segment::default() });
    });
}

#[test]
fn an_acknowledgement_field_that_says_nothing_stays() {
    every_kind(|mut t| {
        shake_hands(&mut t);
        t.dest_says(Segment { flags: RST, seq: d(1), ts: dest_ts(2), ..Segment::default() });
    });
}

#[test]
fn a_refusal_of_the_syn_acknowledges_the_clients_own_number() {
    every_kind(|mut t| {
        t.dest_says(Segment { flags: RST | ACK, ack: c(1), ts: (0, 0), ..Segment::default() });
    });
}

#[test]
fn a_syn_sent_twice_is_shifted_alike() {
    every_kind(|mut t| {
        t.client_says(Segment { ts: (TS.wrapping_add(1000), 0), ..syn() });
        shake_hands(&mut t);
    });
}

#[test]
fn without_the_rewriting_numbers_pass_as_they_are() {
    for family in net::FAMILIES {
        let t = Conversation::open(Rig::new(), family, Place::Usual);
        assert_eq!((t.seq_shift, t.ts_shift), (0, 0));
    }
}

#[test]
fn nat_dr_and_tunnel_shift_nothing() {
    for forward in [Forward::Nat, Forward::Dr, Forward::Tunnel] {
        let mut rig = Rig::with(rewriting);
        let vip = net::service_addr(V4, forward);
        let p = packet(net::client(V4, 7, 9), vip, Place::Usual, &syn());
        let seen = rig.feed(WAN, &p.bytes()).seen();
        let inner = if forward == Forward::Tunnel { see::see_ip(&seen.segment) } else { seen };
        assert_eq!(u32_at(&inner.segment, 4), SEQ);
        assert_eq!(inner.segment[20..], p.payload[20..], "{forward:?}: options");
    }
}

/// So many workers that one's share of ports toward a dest is soon used up.
const WORKERS: usize = 16;

/// A rig whose worker 0 has all clients and one dest.
fn small_share() -> Rig {
    let options = Options { workers: WORKERS, conns: 6000, ..Options::default() };
    Rig::build(options, |s, _| {
        rewriting(s);
        s.ports.iter_mut().for_each(|p| p.fixed_queue = true);
        let service = net::service_index(V4, Proto::Tcp, Forward::FullNat);
        s.services[service].dests.truncate(1);
    })
}

/// Opens conns of other clients until `count` have been opened, and gives the last one's SYN.
fn open_many(rig: &mut Rig, count: usize) -> Seen {
    let frames: Vec<_> = (0..count)
        .map(|n| net::client(V4, 100 + (n / 50_000) as u8, 2000 + (n % 50_000) as u16))
        .map(|client| packet(client, service(V4), Place::Usual, &syn()).bytes())
        .collect();
    let mut last = None;
    for burst in frames.chunks(BURST) {
        let burst: Vec<_> = burst.iter().map(Vec::as_slice).collect();
        let mut out = rig.feed_at(0, WAN, &burst);
        assert_eq!(out.sent.len(), burst.len(), "{:?}", rig.drops());
        last = out.sent.pop();
    }
    see::see(&last.expect("at least one was opened").bytes)
}

fn share() -> usize {
    (FIRST_PORT..=u16::MAX).filter(|p| usize::from(*p) % WORKERS == 0).count()
}

fn past(a: u32, b: u32) -> bool {
    (1..1 << 31).contains(&a.wrapping_sub(b))
}

#[test]
fn a_port_used_again_begins_past_what_the_dest_saw_last_on_it() {
    let mut t = Conversation::open(small_share(), V4, Place::Usual);
    let (seq, tsval_) = (SEQ.wrapping_add(t.seq_shift), TS.wrapping_add(t.ts_shift));
    shake_hands(&mut t);
    // Further on than any clock is by the time the port comes round again.
    let (far, long) = (1_000_000_000, 10_000_000);
    let one = Segment { flags: ACK, ack: d(1), ..Segment::default() };
    for sent in (0..=far).step_by(50_000_000) {
        t.client_says(Segment { seq: c(sent), ts: ts(long), data: b"seven..", ..one.clone() });
    }
    // A segment sent again does not take it back.
    t.client_says(Segment { seq: c(1), ts: ts(long), data: b"again", ..one });
    t.client_says(Segment { flags: RST, seq: c(far + 7), ts: ts(long), ..Segment::default() });
    let begun = t.rig.now;
    t.rig.pass(Duration::from_secs(11));
    assert!(t.rig.conns().is_empty());
    let seen = open_many(&mut t.rig, share());
    assert_eq!(seen.src, t.local, "the port is the last of the share");
    let elapsed = t.rig.now.since(begun);
    let (isn, first) = (u32_at(&seen.segment, 4), tsval(Place::Usual, SYN, &seen.segment));
    let last = seq.wrapping_add(far + 7);
    assert!(past(isn, last), "{isn} after {last}");
    assert!(past(first, tsval_.wrapping_add(long)));
    // Which no clock would have given.
    assert!(!past(seq.wrapping_add((elapsed.as_nanos() / 64) as u32), last));
    assert!(!past(tsval_.wrapping_add(elapsed.as_millis() as u32), tsval_.wrapping_add(long)));
}

#[test]
fn where_the_clock_is_further_than_the_dest_saw_the_clock_decides() {
    let mut t = Conversation::open(small_share(), V4, Place::Usual);
    let (seq, tsval_) = (SEQ.wrapping_add(t.seq_shift), TS.wrapping_add(t.ts_shift));
    let begun = t.rig.now;
    t.rig.pass(Duration::from_secs(61));
    let seen = open_many(&mut t.rig, share());
    assert_eq!(seen.src, t.local);
    let elapsed = t.rig.now.since(begun);
    let steps = (elapsed.as_nanos() / 64) as u32;
    assert_eq!(u32_at(&seen.segment, 4), seq.wrapping_add(steps));
    let first = tsval(Place::Usual, SYN, &seen.segment);
    assert_eq!(first, tsval_.wrapping_add(elapsed.as_millis() as u32));
}

#[test]
fn with_nothing_remembered_a_tuple_begins_by_a_clock_of_64_ns_steps() {
    for family in net::FAMILIES {
        let mut t = Conversation::open(Rig::with(rewriting), family, Place::Usual);
        let (seq, tsval_) = (SEQ.wrapping_add(t.seq_shift), TS.wrapping_add(t.ts_shift));
        let begun = t.rig.now;
        // SYN_RECV's minute, and the time after which nothing is known of its pair.
        t.rig.pass(Duration::from_millis(61_000 + u64::from(WHOLE) + 1_003));
        // Round robin: the first dest has its turn again after the others.
        let opened = (1..).map(|n| {
            let p = packet(net::client(family, n, 9), t.vip, Place::Usual, &syn());
            t.rig.feed(WAN, &p.bytes()).seen()
        });
        let again = opened.take(9).find(|s| (s.src, s.dst) == (t.local, t.dest));
        let again = again.expect("the same port is the first one to lease");
        let elapsed = t.rig.now.since(begun);
        let steps = (elapsed.as_nanos() / 64) as u32;
        assert_eq!(u32_at(&again.segment, 4), seq.wrapping_add(steps));
        let first = tsval(Place::Usual, SYN, &again.segment);
        assert_eq!(first, tsval_.wrapping_add(elapsed.as_millis() as u32));
    }
}

#[test]
fn tuples_begin_at_unrelated_numbers() {
    let mut rig = Rig::with(rewriting);
    let mut isns: Vec<u32> = (0..32)
        .map(|n| packet(net::client(V4, n, 9), service(V4), Place::Usual, &syn()).bytes())
        .map(|frame| u32_at(&rig.feed(WAN, &frame).seen().segment, 4))
        .collect();
    isns.sort_unstable();
    isns.dedup();
    assert_eq!(isns.len(), 32);
    let widest = isns.windows(2).map(|w| w[1] - w[0]).max().unwrap();
    assert!(widest < 1 << 31, "spread over the whole range: {isns:08x?}");
    assert!(isns[31] - isns[0] > 1 << 31, "spread over the whole range: {isns:08x?}");
}

/// The first sequence number and timestamp that a dest sees of a director with this secret, whose
/// wall clock stood at `wall` when it began.
fn first_numbers(secret: [u64; 2], wall: Duration) -> (u32, u32) {
    let neighbours = Arc::new(Neighbours::new(64, 99));
    let mut snapshot = net::snapshot(&neighbours);
    rewriting(&mut snapshot);
    let shared = Arc::new(Shared::new(1, 128, neighbours));
    let numbers = Numbers::new(secret, wall.as_nanos() as u64);
    let setup =
        Setup { worker: 0, workers: 1, conns: 10, secret: rig::SECRET, port_order: None, numbers };
    let mut pipeline = Pipeline::new(setup, shared, Arc::new(snapshot.index()))
        .expect("a table this small fits in any address space");
    let (mut pool, mut out) = (MemPool::new(4, 2048), Outbox::new(2, 1));
    let frame = packet(net::client(V4, 7, 9), service(V4), Place::Usual, &syn()).bytes();
    let mut burst = Burst::new();
    burst.push(pool.frame(&frame).expect("the pool has frames of this size"));
    pipeline.process(WAN, &mut burst, Tick::from_secs(1), &mut pool, &mut out);
    let seen = see::see(out.tx()[usize::from(LAN.0)][0].data());
    (u32_at(&seen.segment, 4), tsval(Place::Usual, SYN, &seen.segment))
}

#[test]
fn the_secret_decides_and_a_restart_with_it_goes_on_by_the_wall_clock() {
    let begun = Duration::from_secs(1_700_000_000);
    let (seq, ts) = first_numbers([1, 2], begun);
    let (other_seq, other_ts) = first_numbers([1, 3], begun);
    assert!(other_seq != seq && other_ts != ts);
    let (later_seq, later_ts) = first_numbers([1, 2], begun + Duration::from_secs(64));
    assert_eq!(later_seq.wrapping_sub(seq), 1_000_000_000, "64 s in steps of 64 ns");
    assert_eq!(later_ts.wrapping_sub(ts), 64_000, "64 s in milliseconds");
}

/// An ICMP error about `quoted`, as its sender received it.
fn error(src: SocketAddr, dst: SocketAddr, quoted: &[u8]) -> Packet {
    let kind = if src.is_ipv4() { [3, 4] } else { [2, 0] };
    Packet::icmp(src.ip(), dst.ip(), kind, [0, 0, 5, 0x78], quoted)
}

#[test]
fn an_error_about_a_clients_segment_quotes_the_number_the_client_wrote() {
    every_kind(|mut t| {
        shake_hands(&mut t);
        let said = Segment { flags: ACK, seq: c(1), ack: d(1), ts: ts(2), data: b"long", ..syn() };
        let sent = packet(t.client, t.vip, t.place, &Segment { flags: ACK, ..said.clone() });
        let at_dest = t.rig.feed(WAN, &sent.bytes()).seen();
        // With the whole segment, and with no more than 8 bytes of it (v4: RFC 792).
        let header = at_dest.ip.len() - at_dest.segment.len();
        for len in [at_dest.ip.len(), header + 8] {
            let p = error(t.dest, t.local, &at_dest.ip[..len]).from_lan(t.dest_mac);
            let seen = t.rig.feed(LAN, &p.bytes()).seen();
            assert_eq!((seen.dst.ip(), seen.sum), (t.client.ip(), Sum::Right));
            let quoted = &seen.payload[header..];
            assert_eq!(quoted[..8], sent.payload[..8], "ports and sequence number");
            if len == at_dest.ip.len() {
                let inner = see::see_ip(&seen.payload);
                assert_eq!((inner.src, inner.dst), (t.client, t.vip));
                assert_eq!((inner.sum, inner.ip_sum), (Sum::Right, true));
            }
        }
    });
}

#[test]
fn an_error_about_a_dests_segment_quotes_what_the_dest_wrote() {
    every_kind(|mut t| {
        shake_hands(&mut t);
        let body = Body::Tcp { flags: ACK, seq: d(1), ack: c(1).wrapping_add(t.seq_shift) };
        let sent = Packet::new(t.dest, t.local, body).payload(b"long").from_lan(t.dest_mac);
        let at_client = t.rig.feed(LAN, &sent.bytes()).seen();
        let p = error(t.client, t.vip, &at_client.ip);
        let seen = t.rig.feed(WAN, &p.bytes()).seen();
        assert_eq!((seen.dst, seen.sum), (SocketAddr::new(t.dest.ip(), 0), Sum::Right));
        let inner = see::see_ip(&seen.payload);
        assert_eq!((inner.src, inner.dst), (t.dest, t.local));
        assert_eq!((inner.sum, inner.ip_sum), (Sum::Right, true));
        assert_eq!(inner.tcp, Some((ACK, d(1), c(1).wrapping_add(t.seq_shift))));
    });
}
