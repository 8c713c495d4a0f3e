//! Conversations of many clients with one service, as a stream of frames.

use crate::Random;
use crate::Side;
use crate::Sizes;
use crate::Zipf;
use crate::ends::Ends;
use crate::ends::FIRST_PORT;
use crate::ends::PORTS;
use crate::frame;
use crate::frame::MadeFrame;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::tuple::Tuple;
use pointsman_dataplane::wire::tcp;
use std::collections::VecDeque;

/// The first client, 11.0.0.1 or 2001:db8:b::1.
const CLIENTS: u32 = 0x0b00_0001;
const CLIENTS_V6: u128 = 0x2001_0db8_000b << 80;
/// Frames between those of a handshake or a close, as if a round trip took so long: a director
/// that takes a burst at a time finds one frame of a conversation in it.
const GAP: u64 = 64;
/// Draws for a conversation that has no handshake or close under way.
const DRAWS: usize = 8;
/// Of a frame without data: its headers are the least there is.
const BARE: usize = 0;

/// Address and port of the `n`-th of clients that all differ: one address after the other, with all its ports.
pub fn client(n: usize) -> (Addr, u16) {
    (Addr::v4(CLIENTS + (n / PORTS) as u32), FIRST_PORT + (n % PORTS) as u16)
}

/// Address families of clients and service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// Each conversation is of one of them.
    Both,
}

/// What the traffic is like.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Conversations that stand at a time; opened first.
    pub conns: usize,
    /// Clients they come from.
    pub clients: usize,
    /// How unevenly: the exponent of Zipf's law; 0: evenly.
    pub zipf: f64,
    /// Of frames with data, the share before which a conversation is ended and another one begun.
    pub new_share: f64,
    /// Lengths of frames with data.
    pub sizes: Sizes,
    /// Address family.
    pub family: Family,
    /// TCP or UDP.
    pub proto: Proto,
    /// The service, v4 and v6, and its port.
    pub vip: (Addr, Addr, u16),
    /// The same seed, the same frames.
    pub seed: u64,
}

impl Workload {
    /// Bytes of the least frame that it can have, named as sizes are.
    pub fn least_frame(&self) -> usize {
        MadeFrame::least(self.proto, self.family != Family::V4)
    }
}

/// A frame that was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Whose it is.
    pub side: Side,
    /// Of which conversation, by its place among those that stand.
    pub conn: usize,
    /// It is the first one of a conversation.
    pub opens: bool,
}

/// The stream.
pub struct Traffic {
    workload: Workload,
    random: Random,
    clients: Zipf,
    ends: Ends,
    talks: Vec<Talk>,
    /// Next steps of handshakes and closes, each with the frame before which it may not be.
    due: VecDeque<(u64, usize, Step)>,
    frames: u64,
    opened: usize,
}

#[derive(Clone, Copy)]
struct Talk {
    client: (Addr, u16),
    /// Next sequence numbers, the client's and the server's.
    next: [u32; 2],
    /// A handshake or close is under way.
    busy: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Open,
    Answer,
    Confirm,
    Finish,
    FinishToo,
    LastAck,
}

impl Traffic {
    /// From the beginning.
    pub fn new(workload: Workload) -> Self {
        let clients = Zipf::new(workload.clients, workload.zipf);
        let random = Random(workload.seed);
        Self {
            workload,
            random,
            clients,
            ends: Ends::default(),
            talks: Vec::new(),
            due: VecDeque::new(),
            frames: 0,
            opened: 0,
        }
    }

    /// Conversations begun so far.
    pub fn opened(&self) -> usize {
        self.opened
    }

    /// Puts the next frame into `out`.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Sent {
        self.frames += 1;
        if self.due.front().is_some_and(|(at, ..)| *at <= self.frames) {
            return self.go_on(out);
        }
        let standing = self.talks.len();
        if standing < self.workload.conns.max(1) {
            return self.step(standing, Step::Open, out);
        }
        let idle = (0..DRAWS).map(|_| self.random.below(standing)).find(|n| !self.talks[*n].busy);
        let Some(conn) = idle else { return self.go_on(out) };
        match self.random.share() < self.workload.new_share {
            true if self.workload.proto == Proto::Tcp => self.step(conn, Step::Finish, out),
            true => self.step(conn, Step::Open, out),
            false => self.data(conn, out),
        }
    }

    /// The next step that is under way. There is one: somebody was busy.
    fn go_on(&mut self, out: &mut Vec<u8>) -> Sent {
        let (_, conn, step) = self.due.pop_front().unwrap_or((0, 0, Step::Finish));
        self.step(conn, step, out)
    }

    /// A conversation at place `conn` begins.
    fn begin(&mut self, conn: usize) {
        let v6 = match self.workload.family {
            Family::V4 => false,
            Family::V6 => true,
            Family::Both => self.random.draw() & 1 == 1,
        };
        let drawn = self.clients.draw(&mut self.random);
        let mut client = drawn;
        let end = loop {
            let addr = match v6 {
                true => Addr::v6(CLIENTS_V6 + 1 + client as u128),
                false => Addr::v4(CLIENTS + client as u32),
            };
            match self.ends.take(addr, self.random.below(PORTS)) {
                Some(port) => break (addr, port),
                // Where a client has all its ports in use, another one takes its place.
                None => client = self.ends.instead(client),
            }
        };
        if client != drawn {
            self.ends.took_place(drawn, client);
        }
        let next = [self.random.draw() as u32, self.random.draw() as u32];
        let talk = Talk { client: end, next, busy: false };
        match self.talks.get_mut(conn) {
            Some(place) => {
                self.ends.give(place.client);
                *place = talk;
            }
            None => self.talks.push(talk),
        }
        self.opened += 1;
    }

    fn step(&mut self, conn: usize, step: Step, out: &mut Vec<u8>) -> Sent {
        use Side::Client;
        use Side::Server;
        const FIN: u8 = tcp::FIN | tcp::ACK_BIT;
        if step == Step::Open {
            self.begin(conn);
        }
        if self.workload.proto != Proto::Tcp {
            return Sent { opens: true, ..self.datagram(conn, Client, out) };
        }
        let (side, flags) = match step {
            Step::Open => (Client, tcp::SYN),
            Step::Answer => (Server, tcp::SYN | tcp::ACK_BIT),
            Step::Confirm | Step::LastAck => (Client, tcp::ACK_BIT),
            Step::Finish => (Client, FIN),
            Step::FinishToo => (Server, FIN),
        };
        self.segment(conn, side, flags, BARE, out);
        let taken = u32::from(flags & (tcp::SYN | tcp::FIN) != 0);
        let next = &mut self.talks[conn].next[side as usize];
        *next = next.wrapping_add(taken);
        let then = match step {
            Step::Open => Some(Step::Answer),
            Step::Answer => Some(Step::Confirm),
            Step::Confirm => None,
            Step::Finish => Some(Step::FinishToo),
            Step::FinishToo => Some(Step::LastAck),
            Step::LastAck => Some(Step::Open),
        };
        self.talks[conn].busy = then.is_some();
        self.due.extend(then.map(|then| (self.frames + GAP, conn, then)));
        Sent { side, conn, opens: step == Step::Open }
    }

    fn data(&mut self, conn: usize, out: &mut Vec<u8>) -> Sent {
        let side = if self.random.draw() & 1 == 0 { Side::Client } else { Side::Server };
        if self.workload.proto != Proto::Tcp {
            return self.datagram(conn, side, out);
        }
        let len = self.workload.sizes.draw(&mut self.random);
        let data = self.segment(conn, side, tcp::ACK_BIT, len, out);
        let next = &mut self.talks[conn].next[side as usize];
        *next = next.wrapping_add(data as u32);
        Sent { side, conn, opens: false }
    }

    fn datagram(&mut self, conn: usize, side: Side, out: &mut Vec<u8>) -> Sent {
        let len = self.workload.sizes.draw(&mut self.random);
        self.segment(conn, side, 0, len, out);
        Sent { side, conn, opens: false }
    }

    fn segment(
        &mut self,
        conn: usize,
        side: Side,
        flags: u8,
        len: usize,
        out: &mut Vec<u8>,
    ) -> usize {
        let talk = self.talks[conn];
        let (v4, v6, port) = self.workload.vip;
        let (addr, cport) = talk.client;
        let vip = if addr.is_v4() { v4 } else { v6 };
        let proto = self.workload.proto;
        let tuple = match side {
            Side::Client => Tuple { src: addr, dst: vip, sport: cport, dport: port, proto },
            Side::Server => Tuple { src: vip, dst: addr, sport: port, dport: cport, proto },
        };
        let [mine, other] = match side {
            Side::Client => talk.next,
            Side::Server => [talk.next[1], talk.next[0]],
        };
        let ack = if flags & tcp::ACK_BIT != 0 { other } else { 0 };
        frame::write(out, side, &tuple, (flags, mine, ack), len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hashbrown::HashMap;
    use pointsman_dataplane::wire::get16;
    use pointsman_dataplane::wire::get32;

    fn workload(proto: Proto) -> Workload {
        Workload {
            conns: 50,
            clients: 10,
            zipf: 1.0,
            new_share: 0.05,
            sizes: Sizes::Imix,
            family: Family::V4,
            proto,
            vip: (Addr::v4(0xc000_0201), Addr::v6(1 << 120), 80),
            seed: 7,
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_frames() {
        let mut streams = [0, 1].map(|_| Traffic::new(workload(Proto::Udp)));
        let [mut a, mut b] = [Vec::new(), Vec::new()];
        for _ in 0..5000 {
            assert_eq!(streams[0].next(&mut a), streams[1].next(&mut b));
            assert_eq!(a, b);
        }
    }

    #[test]
    fn each_side_acknowledges_what_the_other_sent() {
        let mut traffic = Traffic::new(workload(Proto::Tcp));
        let mut out = Vec::new();
        // What each side of a conversation has sent up to.
        let mut sent: HashMap<(u16, u32, Side), u32> = HashMap::new();
        let mut opens = 0;
        for _ in 0..20_000 {
            let s = traffic.next(&mut out);
            let (ip, t) = (&out[14..], &out[34..]);
            let client = match s.side {
                Side::Client => (get16(t, 0), get32(ip, 12)),
                Side::Server => (get16(t, 2), get32(ip, 16)),
            };
            let data = get16(ip, 2) as u32 - 40;
            let flags = t[13];
            let taken = data + u32::from(flags & (tcp::SYN | tcp::FIN) != 0);
            let other = if s.side == Side::Client { Side::Server } else { Side::Client };
            let (seq, ack) = (get32(t, 4), get32(t, 8));
            if flags & tcp::SYN == 0 {
                assert_eq!(sent[&(client.0, client.1, s.side)], seq);
            }
            if flags & tcp::ACK_BIT != 0 {
                assert_eq!(sent[&(client.0, client.1, other)], ack);
            }
            sent.insert((client.0, client.1, s.side), seq.wrapping_add(taken));
            opens += usize::from(s.opens);
        }
        assert_eq!(opens, traffic.opened());
        assert!(opens > 500, "{opens}");
    }

    #[test]
    fn clients_that_are_full_do_not_slow_it_down() {
        // 150,000 conversations of one client: two more take its place, and none is asked in vain
        // for each of its ports, which took minutes.
        let one = Workload { conns: 150_000, clients: 1, new_share: 0.5, ..workload(Proto::Udp) };
        let (mut traffic, mut out) = (Traffic::new(one), Vec::new());
        let mut clients = HashMap::new();
        for n in 0..400_000 {
            traffic.next(&mut out);
            let begins = n < 150_000;
            *clients.entry(get32(&out[14..], 12)).or_insert(0) += usize::from(begins);
        }
        let mut counts: Vec<_> = clients.values().copied().filter(|n| *n > 0).collect();
        counts.sort_unstable();
        assert_eq!(counts, [150_000 - 2 * PORTS, PORTS, PORTS]);
        assert!(traffic.opened() > 250_000);
    }
}
