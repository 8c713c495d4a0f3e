//! Conns whose dest was removed or died, and conns that were silent for too long: what `on_dead`
//! and `on_idle` say becomes of them. Resets are judged by a model of a TCP end that takes them as
//! RFC 9293 and RFC 5961 want it.

use pointsman_dataplane::conn::State;
use pointsman_dataplane::neigh::HopState;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::OnDead;
use pointsman_dataplane::service::OnIdle;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Family::V6;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_dataplane::verdict::Made;
use pointsman_tests::craft::Body;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::DESTS;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Out;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::see::Seen;
use pointsman_tests::see::Sum;
use pointsman_tests::talk::Talk;
use std::net::SocketAddr;
use std::time::Duration;

const SYN_ACK: u8 = flag::SYN | flag::ACK;
const FIN_ACK: u8 = flag::FIN | flag::ACK;
const CLIENT_ISN: u32 = 0xffff_ff00;
const DEST_ISN: u32 = 0x8000_0010;
const WINDOW: u32 = 60_000;

/// What a TCP end does with what it receives.
#[derive(Clone, Debug)]
struct End {
    addr: SocketAddr,
    peer: SocketAddr,
    /// Before the SYN-ACK no sequence number of the peer is known.
    rcv_nxt: Option<u32>,
    snd_nxt: u32,
    closed: bool,
}

impl End {
    fn new(addr: SocketAddr, peer: SocketAddr, isn: u32) -> Self {
        Self { addr, peer, rcv_nxt: None, snd_nxt: isn, closed: false }
    }

    /// A segment with so many bytes, from this end.
    fn segment(&mut self, flags: u8, len: usize) -> Packet {
        let ack = self.rcv_nxt.filter(|_| flags & flag::ACK != 0).unwrap_or(0);
        let body = Body::Tcp { flags, seq: self.snd_nxt, ack };
        let controls = u32::from(flags & flag::SYN != 0) + u32::from(flags & flag::FIN != 0);
        self.snd_nxt = self.snd_nxt.wrapping_add(len as u32 + controls);
        Packet { body, ..Packet::tcp(self.addr, self.peer, flags) }.payload(&vec![0x55; len])
    }

    /// Takes a segment; gives what it answers: a challenge, or a closed end's reset.
    fn take(&mut self, seen: &Seen) -> Option<Packet> {
        assert_eq!((seen.src, seen.dst), (self.peer, self.addr), "of this conn");
        let (flags, seq, ack) = seen.tcp.expect("a TCP segment");
        if flags & flag::RST != 0 {
            return self.take_reset(flags, seq, ack);
        }
        if self.closed {
            let body = Body::Tcp { flags: flag::RST, seq: ack, ack: 0 };
            return Some(Packet { body, ..Packet::tcp(self.addr, self.peer, flag::RST) });
        }
        let controls = u32::from(flags & flag::SYN != 0) + u32::from(flags & flag::FIN != 0);
        let end = seq.wrapping_add(seen.payload.len() as u32 + controls);
        assert!(self.rcv_nxt.is_none_or(|nxt| nxt == seq), "in order");
        self.rcv_nxt = Some(end);
        None
    }

    fn take_reset(&mut self, flags: u8, seq: u32, ack: u32) -> Option<Packet> {
        let Some(nxt) = self.rcv_nxt else {
            // SYN-SENT (RFC 9293 section 3.10.7.3).
            self.closed |= flags & flag::ACK != 0 && ack == self.snd_nxt;
            return None;
        };
        // RFC 5961 section 3.2.
        if seq == nxt {
            self.closed = true;
            return None;
        }
        (seq.wrapping_sub(nxt) < WINDOW && !self.closed).then(|| self.segment(flag::ACK, 0))
    }
}

/// A conn with both its ends.
#[derive(Clone)]
struct Pair {
    talk: Talk,
    client: End,
    dest: End,
}

/// What a dest sees: under `Tunnel` the inner packet.
fn inner(seen: &Seen) -> Seen {
    match seen.number {
        4 | 41 => see::see_ip(&seen.segment),
        _ => seen.clone(),
    }
}

impl Pair {
    /// A conn of client 7's `port`, of which only the SYN has been sent.
    fn syn(rig: &mut Rig, family: Family, forward: Forward, port: u16) -> Self {
        let vip = net::service_addr(family, forward);
        let mut client = End::new(net::client(family, 7, port), vip, CLIENT_ISN);
        let out = rig.feed(WAN, &client.segment(flag::SYN, 0).bytes());
        let at_dest = out.seen();
        let syn = inner(&at_dest);
        let mut dest = End::new(syn.dst, syn.src, DEST_ISN);
        dest.take(&syn);
        let talk = Talk { client: client.addr, vip, proto: Proto::Tcp, forward, at_dest };
        Self { talk, client, dest }
    }

    /// An established one, over which both have said something.
    fn open(rig: &mut Rig, family: Family, forward: Forward, port: u16) -> Self {
        let mut pair = Self::syn(rig, family, forward, port);
        pair.answers(rig, SYN_ACK, 0);
        pair.says(rig, flag::ACK, 0);
        pair.says(rig, flag::ACK, 300);
        pair.answers(rig, flag::ACK, 1000);
        pair.says(rig, flag::ACK, 0);
        assert_eq!(State::Established, state(rig, &pair));
        pair
    }

    /// The client sends a segment, which arrives.
    fn says(&mut self, rig: &mut Rig, flags: u8, len: usize) {
        let out = rig.feed(WAN, &self.client.segment(flags, len).bytes());
        self.dest.take(&inner(&out.seen()));
    }

    /// The dest sends one: through the director, or straight to the client.
    fn answers(&mut self, rig: &mut Rig, flags: u8, len: usize) {
        let segment = self.dest.segment(flags, len);
        if self.talk.forward.sees_replies() {
            let out = rig.feed(LAN, &segment.from_lan(self.talk.at_dest.eth.0).bytes());
            self.client.take(&out.seen());
        } else {
            self.client.take(&see::see(&segment.bytes()));
        }
    }

    /// Gives both ends what is theirs of `out`, and the director their answers, until nobody has
    /// anything to say. How many answers there were.
    fn deliver(&mut self, rig: &mut Rig, out: &Out) -> usize {
        let mut answers = 0;
        for sent in &out.sent {
            let seen = see::see(&sent.bytes);
            assert_eq!(seen.sum, Sum::Right);
            let said = match sent.port {
                WAN => self.client.take(&seen).map(|p| (WAN, p)),
                _ => {
                    assert_eq!(seen.eth.0, self.talk.at_dest.eth.0, "to the dest that has it");
                    let mac = self.talk.at_dest.eth.0;
                    let said = self.dest.take(&inner(&seen));
                    match self.talk.forward.sees_replies() {
                        true => said.map(|p| (LAN, p.from_lan(mac))),
                        false => said
                            .and_then(|p| self.client.take(&see::see(&p.bytes())))
                            .map(|p| (WAN, p)),
                    }
                }
            };
            if let Some((port, packet)) = said {
                answers += 1;
                let out = rig.feed(port, &packet.bytes());
                answers += self.deliver(rig, &out);
            }
        }
        answers
    }

    fn closed(&self) -> (bool, bool) {
        (self.client.closed, self.dest.closed)
    }
}

fn state(rig: &Rig, pair: &Pair) -> State {
    let conns = rig.conns();
    let is_it = |e: &pointsman_dataplane::conn::Ends| {
        SocketAddr::new(e.caddr.into(), e.cport) == pair.client.addr
            && SocketAddr::new(e.vaddr.into(), e.vport) == pair.client.peer
    };
    conns.iter().find(|(_, _, e)| is_it(e)).expect("the conn is there").1.state()
}

/// A rig whose services all say this of dead dests, under full-NAT with numbers of its own.
fn rig(on_dead: OnDead) -> Rig {
    Rig::with(|s| policy(s, on_dead))
}

fn policy(s: &mut Snapshot, on_dead: OnDead) {
    for d in &mut s.dests {
        d.traits.on_dead = on_dead;
        d.traits.rewrite = true;
    }
}

/// Takes every dest out of the services of a method and protocol.
fn remove_all(rig: &mut Rig, proto: Proto, forward: Forward) {
    rig.reload(|s| {
        for family in net::FAMILIES {
            let i = net::service_index(family, proto, forward);
            s.services[i].dests.clear();
            s.services[i].version += 1;
            for n in 0..DESTS {
                let id = net::dest_id(family, proto, forward, n);
                s.dests[id.0 as usize].removed = true;
            }
        }
    });
}

/// Takes one dest out.
fn remove(rig: &mut Rig, (family, proto, forward): (Family, Proto, Forward), n: usize) {
    rig.reload(|s| {
        let id = net::dest_id(family, proto, forward, n);
        let i = net::service_index(family, proto, forward);
        s.services[i].dests.retain(|c| c.id != id);
        s.services[i].version += 1;
        s.dests[id.0 as usize].removed = true;
    });
}

fn resets(rig: &Rig) -> u64 {
    rig.made(Made::ConnReset)
}

#[test]
fn reset_tells_both_ends_of_a_removed_dest_at_once() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            for rewrite in [true, false] {
                let mut rig = rig(OnDead::Reset);
                rig.reload(|s| s.dests.iter_mut().for_each(|d| d.traits.rewrite = rewrite));
                let mut pair = Pair::open(&mut rig, family, forward, 40_000);
                remove_all(&mut rig, Proto::Tcp, forward);
                let out = rig.housekeep();
                assert_eq!((out.sent.len(), resets(&rig)), (2, 2));
                assert_eq!(pair.deliver(&mut rig, &out), 0, "exactly in order");
                assert_eq!(pair.closed(), (true, true), "{family:?} {forward:?}");
                assert_eq!(state(&rig, &pair), State::Close);
                // Once, and then the conn ends as closed ones do.
                assert_eq!(rig.pass(Duration::from_secs(8)).sent.len(), 0);
                rig.pass(Duration::from_secs(4));
                assert_eq!((rig.conns().len(), rig.sum(|s| &s.leases)), (0, 0));
                assert!(rig.drops().is_empty(), "{:?}", rig.drops());
            }
        }
    }
}

#[test]
fn reset_follows_a_dest_found_dead_and_a_next_hop_that_is_silent() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            let mut rig = rig(OnDead::Reset);
            let mut pair = Pair::open(&mut rig, family, forward, 40_000);
            let id = net::dest_id(family, Proto::Tcp, forward, 0);
            assert!(rig.housekeep().sent.is_empty());
            rig.reload(|s| s.dests[id.0 as usize].dead = true);
            let out = rig.housekeep();
            pair.deliver(&mut rig, &out);
            assert_eq!(pair.closed(), (true, true));

            let mut pair = Pair::open(&mut rig, family, forward, 40_001);
            assert_eq!(pair.talk.at_dest.eth.0, net::dest_mac(1));
            rig.set_neighbour(LAN, net::dest_addr(family, 1), HopState::Dead);
            let out = rig.pass(Duration::from_millis(200));
            // Nobody is there to be told but the client.
            assert_eq!(out.sent.len(), 1);
            pair.deliver(&mut rig, &out);
            assert_eq!(pair.closed(), (true, false));
            assert!(rig.drops().is_empty());
        }
    }
}

#[test]
fn a_reset_out_of_order_is_challenged_and_the_answer_finishes_it() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            let mut rig = rig(OnDead::Reset);
            let mut pair = Pair::open(&mut rig, family, forward, 40_000);
            // Both directions: a segment that passed the director and was lost behind it.
            rig.feed(WAN, &pair.client.segment(flag::ACK, 700).bytes());
            if forward.sees_replies() {
                let lost = pair.dest.segment(flag::ACK, 900);
                rig.feed(LAN, &lost.from_lan(pair.talk.at_dest.eth.0).bytes());
            }
            remove_all(&mut rig, Proto::Tcp, forward);
            let out = rig.housekeep();
            let answers = pair.deliver(&mut rig, &out);
            assert_eq!(pair.closed(), (true, true), "{family:?} {forward:?}");
            if forward.sees_replies() {
                assert_eq!((answers, rig.drops()), (2, vec![(DropReason::ConnReset, 2)]));
            } else {
                // The dest's challenge went to the client, which has no such conn any more.
                assert_eq!((answers, rig.drops()), (1, vec![]));
            }
        }
    }
}

#[test]
fn what_either_end_still_sends_is_answered_with_a_reset() {
    for forward in net::METHODS {
        let mut rig = rig(OnDead::Reset);
        let mut pair = Pair::open(&mut rig, V4, forward, 40_000);
        remove_all(&mut rig, Proto::Tcp, forward);
        rig.housekeep();
        // Both resets were lost.
        let out = rig.feed(WAN, &pair.client.segment(flag::ACK, 100).bytes());
        pair.deliver(&mut rig, &out);
        assert!(pair.client.closed);
        if forward.sees_replies() {
            let said = pair.dest.segment(flag::ACK, 100).from_lan(pair.talk.at_dest.eth.0);
            let out = rig.feed(LAN, &said.bytes());
            pair.deliver(&mut rig, &out);
            assert!(pair.dest.closed, "{forward:?}");
        }
        // A reset of the client's own is not answered, and goes to the dest.
        let out = rig.feed(WAN, &pair.client.segment(flag::RST, 0).bytes());
        assert_eq!(out.only().port, LAN);
    }
}

#[test]
fn a_client_that_begins_anew_gets_another_dest() {
    for forward in net::METHODS {
        let mut rig = rig(OnDead::Reset);
        let pair = Pair::open(&mut rig, V4, forward, 40_000);
        remove(&mut rig, (V4, Proto::Tcp, forward), 0);
        assert_eq!(rig.housekeep().sent.len(), 2);
        let again = pair.talk.say(&mut rig, flag::SYN).seen();
        assert_ne!(again.eth.0, pair.talk.at_dest.eth.0);
        assert_eq!(rig.conns().len(), 1);
    }
}

#[test]
fn half_open_conns_are_reset_unless_there_is_a_second_choice() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            for retries in [0, 1] {
                let mut rig = rig(OnDead::Reset);
                rig.reload(|s| s.dests.iter_mut().for_each(|d| d.traits.retries = retries));
                let mut pair = Pair::syn(&mut rig, family, forward, 40_000);
                remove(&mut rig, (family, Proto::Tcp, forward), 0);
                let out = rig.housekeep();
                if retries == 1 && forward.sees_replies() {
                    assert!(out.sent.is_empty(), "its next SYN will do better");
                    let again = pair.talk.say(&mut rig, flag::SYN).seen();
                    assert_ne!(again.eth.0, pair.talk.at_dest.eth.0);
                } else {
                    pair.deliver(&mut rig, &out);
                    assert_eq!(pair.closed(), (true, true), "{forward:?}");
                }
            }
        }
    }
}

#[test]
fn a_client_whose_answer_was_under_way_is_reset_too() {
    for forward in net::METHODS.into_iter().filter(|f| f.sees_replies()) {
        let mut rig = rig(OnDead::Reset);
        let mut pair = Pair::syn(&mut rig, V4, forward, 40_000);
        // The SYN-ACK has reached the client; its ACK has not come yet.
        pair.answers(&mut rig, SYN_ACK, 0);
        remove_all(&mut rig, Proto::Tcp, forward);
        let out = rig.housekeep();
        assert_eq!(pair.deliver(&mut rig, &out), 0);
        assert_eq!(pair.closed(), (true, true));
    }
}

#[test]
fn closing_conns_are_reset_and_ended_ones_left_alone() {
    for forward in net::METHODS {
        let mut rig = rig(OnDead::Reset);
        let mut pair = Pair::open(&mut rig, V4, forward, 40_000);
        pair.says(&mut rig, FIN_ACK, 0);
        remove_all(&mut rig, Proto::Tcp, forward);
        let out = rig.housekeep();
        assert_eq!(pair.deliver(&mut rig, &out), 0, "the FIN is counted");
        assert_eq!(pair.closed(), (true, true));
    }
    for forward in [Forward::Nat, Forward::FullNat] {
        let mut rig = rig(OnDead::Reset);
        let mut pair = Pair::open(&mut rig, V4, forward, 40_000);
        pair.says(&mut rig, FIN_ACK, 0);
        pair.answers(&mut rig, FIN_ACK, 0);
        pair.says(&mut rig, flag::ACK, 0);
        assert_eq!(state(&rig, &pair), State::TimeWait);
        remove_all(&mut rig, Proto::Tcp, forward);
        assert!(rig.pass(Duration::from_secs(3)).sent.is_empty());
        assert_eq!(state(&rig, &pair), State::TimeWait);
    }
}

#[test]
fn a_removed_services_conns_end_as_it_said() {
    for forward in net::METHODS {
        let mut rig = rig(OnDead::Reset);
        let mut pair = Pair::open(&mut rig, V4, forward, 40_000);
        rig.reload(|s| {
            for d in s.services.remove(net::service_index(V4, Proto::Tcp, forward)).dests {
                s.dests[d.id.0 as usize].removed = true;
            }
        });
        let out = rig.housekeep();
        pair.deliver(&mut rig, &out);
        assert_eq!(pair.closed(), (true, true));
    }
}

#[test]
fn resets_bear_their_ports_tags() {
    for (wan, lan) in [(Some(5), None), (None, Some(6)), (Some(5), Some(6))] {
        for forward in net::METHODS {
            let mut rig = rig(OnDead::Reset);
            let pair = Pair::open(&mut rig, V6, forward, 40_000);
            rig.reload(|s| (s.ports[0].vlan, s.ports[1].vlan) = (wan, lan));
            remove_all(&mut rig, Proto::Tcp, forward);
            // That tags and MACs are the ports' is seen to by the rig.
            let out = rig.housekeep();
            let mut got = pair;
            assert_eq!(got.deliver(&mut rig, &out), 0);
            assert_eq!(got.closed(), (true, true));
        }
    }
}

#[test]
fn a_reset_goes_back_where_the_clients_packets_come_from() {
    const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 0x77];
    for last_hop in [true, false] {
        for forward in net::METHODS {
            let mut rig = rig(OnDead::Reset);
            rig.reload(|s| s.dests.iter_mut().for_each(|d| d.traits.last_hop = last_hop));
            let mut pair = Pair::open(&mut rig, V4, forward, 40_000);
            let mut packet = pair.client.segment(flag::ACK, 0);
            packet.eth.1 = OTHER;
            rig.feed(WAN, &packet.bytes());
            remove_all(&mut rig, Proto::Tcp, forward);
            let out = rig.housekeep();
            let to_client = out.sent.iter().find(|s| s.port == WAN).expect("one for the client");
            let expected = if last_hop { OTHER } else { net::GATEWAY_MAC };
            assert_eq!(see::see(&to_client.bytes).eth.0, expected, "{forward:?}");
            pair.deliver(&mut rig, &out);
            assert_eq!(pair.closed(), (true, true));
        }
    }
}

#[test]
fn keep_lets_conns_of_a_dead_dest_go_on() {
    for forward in net::METHODS {
        let mut rig = rig(OnDead::Keep);
        let mut pair = Pair::open(&mut rig, V4, forward, 40_000);
        remove_all(&mut rig, Proto::Tcp, forward);
        assert!(rig.pass(Duration::from_secs(3)).sent.is_empty());
        pair.says(&mut rig, flag::ACK, 10);
        pair.answers(&mut rig, flag::ACK, 10);
        assert_eq!((pair.closed(), resets(&rig)), ((false, false), 0));
    }
}

#[test]
fn drop_drops_the_clients_packets_and_the_conn_runs_out() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            for proto in net::PROTOS {
                let mut rig = rig(OnDead::Drop);
                let talk = Talk::open(&mut rig, 0, (family, proto, forward), (7, 40_000));
                if proto == Proto::Tcp && forward.sees_replies() {
                    talk.answer(&mut rig, SYN_ACK);
                }
                talk.say(&mut rig, flag::ACK);
                remove(&mut rig, (family, proto, forward), 0);
                rig.housekeep();
                // Its deadline is where it was.
                rig.pass(Duration::from_secs(100));
                for _ in 0..3 {
                    assert!(talk.say(&mut rig, flag::ACK).sent.is_empty());
                }
                assert_eq!(rig.drops(), [(DropReason::DeadDest, 3)]);
                let left = rig.conn().1.expires().left(rig.now.stamp());
                let timeout = if proto == Proto::Tcp { 900_000 } else { 300_000 };
                assert!(left <= timeout - 100_000, "{left} ms");
                // The kernel lets the dest have its say.
                if forward.sees_replies() {
                    assert_eq!(talk.answer(&mut rig, flag::ACK).seen().dst, talk.client);
                }
                rig.pass(Duration::from_secs(902));
                assert_eq!((rig.conns().len(), rig.sum(|s| &s.leases)), (0, 0));
            }
        }
    }
}

#[test]
fn a_dest_that_comes_back_serves_its_conns_again() {
    for on_dead in [OnDead::Drop, OnDead::Reselect] {
        for forward in net::METHODS {
            let mut rig = rig(on_dead);
            let kind = (V4, Proto::Udp, forward);
            let talk = Talk::open(&mut rig, 0, kind, (7, 40_000));
            let id = net::dest_id(V4, Proto::Udp, forward, 0);
            let i = net::service_index(V4, Proto::Udp, forward);
            let all = rig.conn();
            assert_eq!(all.1.dest(), id);
            let mut before = None;
            rig.reload(|s| before = Some(s.services[i].clone()));
            remove(&mut rig, kind, 0);
            rig.housekeep();
            assert!(rig.conn().1.is_condemned());
            rig.reload(|s| {
                s.services[i] = before.take().unwrap();
                s.dests[id.0 as usize].removed = false;
            });
            assert_eq!(talk.say(&mut rig, 0).seen().eth.0, talk.at_dest.eth.0, "{on_dead:?}");
            assert_eq!(rig.sum(|s| &s.opened), 1);
            assert!(rig.drops().is_empty() && !rig.conn().1.is_condemned());
        }
    }
}

#[test]
fn reselect_gives_the_next_datagram_to_another_dest() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            for workers in [1, 3] {
                let options = Options { workers, ..Options::default() };
                let mut rig = Rig::build(options, |s, _| policy(s, OnDead::Reselect));
                let kind = (family, Proto::Udp, forward);
                let talk = Talk::open(&mut rig, 0, kind, (7, 40_000));
                // Each worker's round begins at another dest.
                let first = (0..DESTS).find(|n| net::dest_mac(*n) == talk.at_dest.eth.0);
                remove(&mut rig, kind, first.expect("one of the dests"));
                rig.housekeep();
                // What the dest has left to say still comes.
                if forward.sees_replies() {
                    assert_eq!(talk.answer(&mut rig, 0).seen().dst, talk.client);
                }
                let again = talk.say(&mut rig, 0).seen();
                assert_ne!(again.eth.0, talk.at_dest.eth.0, "{forward:?}");
                assert_eq!((rig.conns().len(), rig.sum(|s| &s.opened)), (1, 2));
                let leases = u64::from(forward == Forward::FullNat);
                assert_eq!(rig.sum(|s| &s.leases), leases);
                let talk = Talk { at_dest: again.clone(), ..talk };
                if forward.sees_replies() {
                    assert_eq!(talk.answer(&mut rig, 0).seen().dst, talk.client);
                }
                // And stays there.
                assert_eq!(talk.say(&mut rig, 0).seen().eth.0, again.eth.0);
                assert!(rig.drops().is_empty());
            }
        }
    }
}

#[test]
fn reselect_passes_over_dests_that_are_dead_themselves() {
    for forward in net::METHODS {
        let mut rig = rig(OnDead::Reselect);
        let kind = (V4, Proto::Udp, forward);
        let talk = Talk::open(&mut rig, 0, kind, (7, 40_000));
        let die = |rig: &mut Rig, n| {
            rig.set_neighbour(LAN, net::dest_addr(V4, n), HopState::Dead);
            rig.pass(Duration::from_millis(200));
        };
        die(&mut rig, 0);
        die(&mut rig, 1);
        let again = talk.say(&mut rig, 0).seen();
        assert_eq!(again.eth.0, net::dest_mac(2));
        // With nobody left it stays where it is, and goes on when that one answers again.
        die(&mut rig, 2);
        assert!(talk.say(&mut rig, 0).sent.is_empty());
        assert_eq!(rig.drops(), [(DropReason::NeighbourDead, 1)]);
        let back = HopState::Reachable(net::dest_mac(2));
        rig.set_neighbour(LAN, net::dest_addr(V4, 2), back);
        assert_eq!(talk.say(&mut rig, 0).seen().eth.0, net::dest_mac(2));
        assert_eq!(rig.sum(|s| &s.opened), 2);
    }
}

#[test]
fn reselect_where_the_service_has_nobody_left_answers_as_for_a_new_conn() {
    for forward in net::METHODS {
        let mut rig = rig(OnDead::Reselect);
        let talk = Talk::open(&mut rig, 0, (V4, Proto::Udp, forward), (7, 40_000));
        remove_all(&mut rig, Proto::Udp, forward);
        rig.housekeep();
        let told = talk.say(&mut rig, 0).seen();
        assert_eq!(told.icmp.map(|i| i.0), Some([3, 3]));
        assert_eq!(rig.drops(), [(DropReason::NoDest, 1)]);
        assert_eq!((rig.conns().len(), rig.sum(|s| &s.leases)), (0, 0));
    }
}

#[test]
fn a_datagram_in_fragments_is_reselected_whole() {
    for forward in [Forward::Nat, Forward::FullNat] {
        let mut rig = rig(OnDead::Reselect);
        let kind = (V4, Proto::Udp, forward);
        let talk = Talk::open(&mut rig, 0, kind, (7, 40_000));
        remove(&mut rig, kind, 0);
        rig.housekeep();
        let whole = talk.original(0).may_fragment().payload(&[7; 100]);
        let macs: Vec<_> = whole
            .cut(99, &[48])
            .iter()
            .map(|piece| rig.feed(WAN, &piece.bytes()).seen().eth.0)
            .collect();
        assert_eq!(macs, [net::dest_mac(1); 2]);
        assert!(rig.drops().is_empty());
    }
}

#[test]
fn a_dests_answer_in_fragments_passes_under_drop() {
    for forward in [Forward::Nat, Forward::FullNat] {
        let mut rig = rig(OnDead::Drop);
        let kind = (V4, Proto::Udp, forward);
        let talk = Talk::open(&mut rig, 0, kind, (7, 40_000));
        remove(&mut rig, kind, 0);
        rig.housekeep();
        let whole = talk.reply(0).may_fragment().payload(&[7; 100]);
        for piece in whole.cut(99, &[48]) {
            assert_eq!(rig.feed(LAN, &piece.bytes()).seen().dst.ip(), talk.client.ip());
        }
        assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    }
}

/// `count` conns, each with what came out for it.
fn many(rig: &mut Rig, forward: Forward, count: u16) {
    for n in 0..count {
        let talk = Talk::open(rig, 0, (V4, Proto::Tcp, forward), (7, 1000 + n));
        talk.answer(rig, SYN_ACK);
        talk.say(rig, flag::ACK);
    }
}

#[test]
fn many_conns_are_reset_a_bounded_number_at_a_time() {
    let options = Options { conns: 3000, frames: 4096, ..Options::default() };
    let mut rig = Rig::build(options, |s, _| policy(s, OnDead::Reset));
    many(&mut rig, Forward::FullNat, 2000);
    remove_all(&mut rig, Proto::Tcp, Forward::FullNat);
    let (mut calls, mut largest) = (0, 0);
    while resets(&rig) < 4000 {
        let sent = rig.housekeep().sent.len();
        assert!(sent > 0, "each call goes on");
        largest = largest.max(sent);
        calls += 1;
    }
    assert!(largest <= 260, "{largest} frames at once");
    assert!(calls <= 32, "{calls} calls, of which a worker makes a thousand in a second");
    assert!(rig.drops().is_empty());
    assert!(rig.conns().iter().all(|(_, c, _)| c.state() == State::Close));
}

#[test]
fn without_frames_resets_wait_for_some() {
    let mut rig = rig(OnDead::Reset);
    many(&mut rig, Forward::Nat, 3);
    remove_all(&mut rig, Proto::Tcp, Forward::Nat);
    let taken = rig.keep(rig.pool.available() - 1);
    assert!(rig.housekeep().sent.is_empty());
    assert!(rig.conns().iter().all(|(_, c, _)| c.state() == State::Established));
    rig.give_back(taken);
    assert_eq!(rig.housekeep().sent.len(), 6);
}

#[test]
fn every_worker_sees_to_its_own_conns() {
    for forward in net::METHODS {
        let options = Options { workers: 3, ..Options::default() };
        let mut rig = Rig::build(options, |s, _| policy(s, OnDead::Reset));
        let mut pairs: Vec<_> =
            (0..30).map(|n| Pair::open(&mut rig, V4, forward, 40_000 + n)).collect();
        assert!((0..3).all(|w| rig.conns().iter().any(|c| c.0 == w)) || forward == Forward::Nat);
        remove_all(&mut rig, Proto::Tcp, forward);
        let out = rig.housekeep();
        assert_eq!(out.sent.len(), 60);
        for pair in &mut pairs {
            let ends = [pair.client.addr, pair.dest.addr];
            let peers = [pair.client.peer, pair.dest.peer];
            let mut mine = Out::default();
            let is_mine = |s: &&pointsman_tests::rig::Sent| {
                let seen = inner(&see::see(&s.bytes));
                (0..2).any(|i| seen.dst == ends[i] && seen.src == peers[i])
            };
            mine.sent = out.sent.iter().filter(is_mine).cloned().collect();
            pair.deliver(&mut rig, &mine);
            assert_eq!(pair.closed(), (true, true));
        }
    }
}

/// A rig whose services reset idle conns.
fn idle(conns: usize) -> Rig {
    Rig::build(Options { conns, ..Options::default() }, |s, _| {
        policy(s, OnDead::Keep);
        s.dests.iter_mut().for_each(|d| d.traits.on_idle = OnIdle::Reset);
    })
}

#[test]
fn on_idle_resets_both_ends_when_an_established_conns_time_is_up() {
    for family in net::FAMILIES {
        for forward in net::METHODS {
            let mut rig = idle(1000);
            let mut pair = Pair::open(&mut rig, family, forward, 40_000);
            assert!(rig.pass(Duration::from_secs(899)).sent.is_empty());
            let out = rig.pass(Duration::from_secs(3));
            assert_eq!(pair.deliver(&mut rig, &out), 0);
            assert_eq!(pair.closed(), (true, true), "{forward:?}");
            assert_eq!((rig.conns().len(), rig.sum(|s| &s.leases)), (0, 0));
            assert_eq!(resets(&rig), 2);
        }
    }
}

#[test]
fn on_idle_forgets_half_open_and_closing_conns() {
    for forward in net::METHODS {
        let mut rig = idle(1000);
        Pair::syn(&mut rig, V4, forward, 40_000);
        let mut closing = Pair::open(&mut rig, V4, forward, 40_001);
        closing.says(&mut rig, FIN_ACK, 0);
        assert!(rig.pass(Duration::from_secs(1000)).sent.is_empty());
        assert_eq!((rig.conns().len(), resets(&rig)), (0, 0));
    }
}

#[test]
fn forget_tells_nobody() {
    for forward in net::METHODS {
        let mut rig = rig(OnDead::Reset);
        Pair::open(&mut rig, V4, forward, 40_000);
        assert!(rig.pass(Duration::from_secs(1000)).sent.is_empty());
        assert_eq!((rig.conns().len(), resets(&rig)), (0, 0));
    }
}

#[test]
fn a_packet_that_comes_just_too_late_ends_both_ends_too() {
    for forward in net::METHODS {
        let mut rig = idle(1000);
        let mut pair = Pair::open(&mut rig, V4, forward, 40_000);
        // No housekeeping in between.
        rig.now = rig.now + Duration::from_secs(901);
        let out = rig.feed(WAN, &pair.client.segment(flag::ACK, 5).bytes());
        pair.deliver(&mut rig, &out);
        assert_eq!(pair.closed(), (true, true), "{forward:?}");
        assert_eq!(rig.drops(), [(DropReason::NotSyn, 1)]);
    }
}

#[test]
fn a_full_table_makes_room_of_idle_conns_and_tells_their_ends() {
    let mut rig = idle(4);
    many(&mut rig, Forward::FullNat, 4);
    rig.now = rig.now + Duration::from_secs(901);
    let syn =
        Packet::tcp(net::client(V4, 9, 9), net::service_addr(V4, Forward::FullNat), flag::SYN);
    let out = rig.feed(WAN, &syn.bytes());
    assert_eq!(out.sent.len(), 9, "four conns' ends, and the SYN");
    assert_eq!((rig.conns().len(), resets(&rig)), (1, 8));
}
