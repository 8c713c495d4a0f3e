//! Streams in which bytes become others, against a model: whatever the segmentation, what is lost
//! and what is sent again, each end's bytes arrive once and whole, and no acknowledgement tells of
//! more than has arrived.

use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Family;
use pointsman_tests::craft::flag;
use pointsman_tests::ftp::Control;
use pointsman_tests::ftp::only;
use pointsman_tests::ftp::passive_answer;
use pointsman_tests::ftp::port_command;
use pointsman_tests::net;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sender {
    Client,
    Dest,
}

/// A line of its stream.
#[derive(Clone, Debug)]
enum Line {
    /// Of so many bytes, and nothing to be changed.
    Other(usize),
    /// That says this port.
    Says(u16),
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The next bytes are sent: to the end of a line, or so many.
    Send(Option<usize>),
    /// Some of what was sent is sent again, from here on, so many.
    Again(usize, usize),
    /// The receiver acknowledges what it has; the acknowledgement is lost or not.
    Ack(bool),
    /// What is sent next does not arrive.
    Lose,
}

/// A line in the stream: where it begins and ends, from where to where it says its port; and what
/// it has become up to there.
struct Placed {
    from: usize,
    place: usize,
    until: usize,
    to: usize,
    becomes: Option<String>,
}

struct Sim {
    t: Control,
    sender: Sender,
    extended: bool,
    text: String,
    lines: Vec<Placed>,
    /// First bytes of both, as the sender and the receiver count, and the receiver's own number.
    base: (u32, u32),
    una: usize,
    next: usize,
    /// What has passed the director.
    passed: usize,
    received: BTreeMap<usize, u8>,
    loses: bool,
}

impl Sim {
    fn new(
        family: Family,
        forward: Forward,
        sender: Sender,
        extended: bool,
        lines: &[Line],
    ) -> Self {
        let mut t = Control::open(family, forward, 1);
        let asks = if extended { "EPSV\r\n" } else { "PASV\r\n" };
        if sender == Sender::Dest {
            t.says(asks);
        }
        let (mut text, mut placed) = (String::new(), Vec::new());
        for line in lines {
            let from = text.len();
            match line {
                Line::Other(len) => text.push_str(&format!("NOOP{}\r\n", "x".repeat(*len))),
                Line::Says(port) => {
                    let said = said(sender, family, extended, (t.client.ip(), t.dest.ip()), *port);
                    let behind = |c: char| said.find(c).expect("such a line has it") + 1;
                    let place = match (sender, extended) {
                        (Sender::Client, false) => behind(' '),
                        (Sender::Client, true) => behind(' ') + 3,
                        (Sender::Dest, false) => behind('('),
                        (Sender::Dest, true) => behind('(') + 3,
                    };
                    text.push_str(&said);
                    placed.push(Placed {
                        from,
                        place: from + place,
                        until: from + last_digit(&said) + 1,
                        to: text.len(),
                        becomes: None,
                    });
                }
            }
        }
        let base = match sender {
            Sender::Client => (t.c, t.seen.0),
            Sender::Dest => (t.d, t.seen.1),
        };
        let (lines, received) = (placed, BTreeMap::new());
        Self {
            t,
            sender,
            extended,
            text,
            lines,
            base,
            una: 0,
            next: 0,
            passed: 0,
            received,
            loses: false,
        }
    }

    /// The bytes from `from` to `to` are sent.
    fn send(&mut self, from: usize, to: usize) {
        let seq = self.base.0.wrapping_add(from as u32);
        let data = self.text.as_bytes()[from..to].to_vec();
        let t = &mut self.t;
        let out = match self.sender {
            Sender::Client => t.from_client(flag::ACK, seq, t.d, &data),
            Sender::Dest => {
                // The client asks again and again.
                let asks = if self.extended { b"EPSV\r\n" } else { b"PASV\r\n" };
                t.from_client(flag::ACK, t.c, self.base.1, asks);
                t.c = t.c.wrapping_add(asks.len() as u32);
                t.from_dest(flag::ACK, seq, t.seen.0, &data)
            }
        };
        if out.sent.is_empty() {
            return;
        }
        let seen = only(&out);
        self.decide(from, to);
        self.passed = self.passed.max(to);
        if !std::mem::take(&mut self.loses) {
            let there = seen.tcp.expect("a segment").1.wrapping_sub(self.base.1) as i32;
            let has = self.contiguous();
            for (n, byte) in seen.payload.into_iter().enumerate() {
                // What comes again of what it has, a receiver does not look at.
                let Ok(at) = usize::try_from(there + n as i32) else { continue };
                let first = *self.received.entry(at).or_insert(byte);
                assert!(first == byte || at < has, "two bytes at {at}");
            }
        }
    }

    /// A segment has passed: which of its lines that was changed by.
    fn decide(&mut self, from: usize, to: usize) {
        let mut whole = self.lines.iter_mut().filter(|l| l.from >= from && l.to <= to);
        // The client's last command, the server's first answer.
        let line = if self.sender == Sender::Client { whole.next_back() } else { whole.next() };
        let Some(line) = line.filter(|l| l.becomes.is_none() && l.place >= self.passed) else {
            return;
        };
        let conns = self.t.rig.conns();
        let (_, _, ends) = conns.iter().find(|(_, conn, _)| conn.is_awaited()).expect("announced");
        let family = if self.t.client.is_ipv4() { Family::V4 } else { Family::V6 };
        let (ips, port) = match self.sender {
            Sender::Client => ((ends.laddr.into(), ends.laddr.into()), ends.lport),
            Sender::Dest => ((ends.vaddr.into(), ends.vaddr.into()), ends.vport),
        };
        let mut becomes = said(self.sender, family, self.extended, ips, port);
        becomes.truncate(last_digit(&becomes) + 1);
        line.becomes = Some(becomes);
    }

    /// What the receiver has without a gap.
    fn contiguous(&self) -> usize {
        self.received.keys().zip(0..).take_while(|(at, n)| **at == *n).count()
    }

    /// What must have arrived when the sender's first `n` bytes have.
    fn arrives(&self, n: usize) -> String {
        let (mut all, mut at) = (String::new(), 0);
        for line in self.lines.iter().filter(|l| l.until <= n) {
            if let Some(becomes) = &line.becomes {
                all.push_str(&self.text[at..line.from]);
                all.push_str(becomes);
                at = line.until;
            }
        }
        all.push_str(&self.text[at..n]);
        all
    }

    fn ack(&mut self, lost: bool) {
        let ack = self.base.1.wrapping_add(self.contiguous() as u32);
        let t = &mut self.t;
        let out = match self.sender {
            Sender::Client => t.from_dest(flag::ACK, t.d, ack, b""),
            Sender::Dest => t.from_client(flag::ACK, t.c, ack, b""),
        };
        let told = only(&out).tcp.expect("a segment").2.wrapping_sub(self.base.0) as usize;
        assert!(told <= self.next, "{told} was never sent");
        assert!(self.arrives(told).len() <= self.contiguous(), "{told} has not arrived");
        if !lost {
            self.una = self.una.max(told);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send(len) => {
                let line = self.text[self.next..].find('\n').map_or(0, |at| at + 1);
                let to = (self.next + len.unwrap_or(line)).min(self.text.len());
                if to > self.next {
                    let from = self.next;
                    self.next = to;
                    self.send(from, to);
                }
            }
            Step::Again(from, len) if self.next > self.una => {
                let from = self.una + from % (self.next - self.una);
                self.send(from, (from + 1 + len).min(self.next));
            }
            Step::Again(..) => {}
            Step::Ack(lost) => self.ack(lost),
            Step::Lose => self.loses = true,
        }
    }

    /// All is sent until all is acknowledged.
    fn finish(&mut self) {
        self.loses = false;
        for _ in 0..200 {
            if self.una == self.text.len() {
                break;
            }
            let from = self.una;
            let to = self.text[from..].find('\n').map_or(self.text.len(), |at| from + at + 1);
            self.next = self.next.max(to);
            self.send(from, to);
            self.ack(false);
        }
        assert_eq!(self.una, self.text.len(), "all is acknowledged in the end");
        let arrived: Vec<u8> = self.received.values().copied().collect();
        assert_eq!(self.contiguous(), arrived.len());
        assert_eq!(String::from_utf8(arrived).expect("text"), self.arrives(self.text.len()));
    }
}

/// A line that says an address and a port.
fn said(
    sender: Sender,
    family: Family,
    extended: bool,
    (client, dest): (IpAddr, IpAddr),
    port: u16,
) -> String {
    match sender {
        Sender::Client => port_command(family, extended, client, port),
        Sender::Dest => passive_answer(extended, dest, port),
    }
}

fn last_digit(said: &str) -> usize {
    said.rfind(|c: char| c.is_ascii_digit()).expect("a port")
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    let port = prop_oneof![Just(1025), Just(2570), Just(51_201), Just(65_535), 1025u16..];
    let line = prop_oneof![(0usize..60).prop_map(Line::Other), port.prop_map(Line::Says)];
    proptest::collection::vec(line, 1..8)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Send(None)),
        1 => (1usize..90).prop_map(|n| Step::Send(Some(n))),
        3 => (0usize..200, 0usize..90).prop_map(|(from, len)| Step::Again(from, len)),
        3 => any::<bool>().prop_map(Step::Ack),
        1 => Just(Step::Lose),
    ];
    proptest::collection::vec(step, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn streams_arrive_whole(v6 in any::<bool>(), nat in any::<bool>(), by_dest in any::<bool>(), extended in any::<bool>(), lines in lines(), steps in steps()) {
        let family = if v6 { Family::V6 } else { Family::V4 };
        // Under nat the client's stream stays as it is.
        let (sender, forward) = match (by_dest, nat) {
            (false, _) => (Sender::Client, Forward::FullNat),
            (true, false) => (Sender::Dest, Forward::FullNat),
            (true, true) => (Sender::Dest, Forward::Nat),
        };
        let mut sim = Sim::new(family, forward, sender, extended || v6, &lines);
        for step in steps {
            sim.step(step);
        }
        sim.finish();
    }
}

/// A retransmission that ends within the address, one that begins there, and both ends of it lost.
#[test]
fn a_line_that_comes_again_in_pieces() {
    for family in net::FAMILIES {
        for forward in [Forward::Nat, Forward::FullNat] {
            let lines = [Line::Other(3), Line::Says(1025), Line::Other(9), Line::Says(51_201)];
            let mut sim = Sim::new(family, forward, Sender::Dest, family == Family::V6, &lines);
            let at = sim.lines[0].place;
            for step in [
                Step::Send(None),
                Step::Lose,
                Step::Send(None),
                Step::Again(0, at + 1),
                Step::Ack(false),
                Step::Again(0, 0),
                Step::Again(1, 200),
                Step::Ack(true),
                Step::Send(Some(500)),
            ] {
                sim.step(step);
            }
            sim.finish();
            assert!(sim.lines.iter().all(|l| l.becomes.is_some()));
        }
    }
}

/// A lost line comes again up to where the change ends: its receiver has the new bytes and not the
/// line's end, and acknowledges just them.
#[test]
fn a_line_of_which_the_end_alone_is_missing() {
    for (family, extended) in [(Family::V4, false), (Family::V4, true), (Family::V6, true)] {
        for sender in [Sender::Client, Sender::Dest] {
            let lines = [Line::Other(34), Line::Says(2570), Line::Other(6)];
            let mut sim = Sim::new(family, Forward::FullNat, sender, extended, &lines);
            let (from, until) = (sim.lines[0].from, sim.lines[0].until);
            sim.step(Step::Send(None));
            sim.step(Step::Ack(false));
            sim.step(Step::Lose);
            sim.step(Step::Send(None));
            sim.step(Step::Send(None));
            sim.step(Step::Again(0, until - from - 1));
            sim.step(Step::Ack(false));
            assert_eq!(sim.una, until);
            sim.finish();
            assert!(sim.lines.iter().all(|l| l.becomes.is_some()));
        }
    }
}
