//! Segments whose numbers are not those of the conn: who does not see it has to guess them (RFC 5961).
//! They pass, for the ends to judge, and move states as the kernel's do, but what the director remembers
//! of the conn's numbers stays as it was.

use pointsman_dataplane::conn::Conn;
use pointsman_dataplane::conn::State;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Proto;
use pointsman_tests::craft::Body;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Rig;
use pointsman_tests::talk::Talk;

/// What the client of a `Talk` begins with, and its dest.
const SEQ: u32 = 1000;
fn rig() -> Rig {
    Rig::with(|s| s.dests.iter_mut().for_each(|d| d.traits.rewrite = true))
}

/// An established conn.
fn established(rig: &mut Rig, forward: Forward) -> Talk {
    let talk = Talk::open(rig, 0, (V4, Proto::Tcp, forward), (1, 9));
    if forward.sees_replies() {
        talk.answer(rig, flag::SYN | flag::ACK);
    }
    talk.say(rig, flag::ACK);
    assert_eq!(rig.conn().1.state(), State::Established);
    talk
}

/// The same packet of other numbers.
fn numbered(packet: Packet, ahead: u32, ack: u32) -> Vec<u8> {
    let flags = match packet.body {
        Body::Tcp { flags, .. } => flags,
        _ => 0,
    };
    Packet { body: Body::Tcp { flags, seq: SEQ.wrapping_add(ahead), ack }, ..packet }.bytes()
}

fn known(conn: &Conn) -> (State, u32, u32) {
    (conn.state(), conn.seq(), conn.ack())
}

#[test]
fn states_follow_control_bits() {
    for forward in net::METHODS {
        for near in [1, 1 << 20, 1 << 31] {
            let mut rig = rig();
            let talk = established(&mut rig, forward);
            rig.feed(WAN, &numbered(talk.original(flag::RST), near, 0));
            assert_eq!(rig.conn().1.state(), State::Close);
            if forward.sees_replies() {
                let mut rig = self::rig();
                let talk = established(&mut rig, forward);
                rig.feed(LAN, &numbered(talk.reply(flag::RST), near, 0));
                assert_eq!(rig.conn().1.state(), State::Close);
            }
        }
    }
}

#[test]
fn what_is_further_ahead_than_hosts_have_under_way_is_not_what_was_sent_last() {
    for forward in net::METHODS {
        let mut rig = rig();
        let talk = established(&mut rig, forward);
        let before = known(&rig.conn().1);
        // By both lanes: alone, and in a burst.
        for far in [(1 << 26) + 1, (1 << 31) - 1, 1 << 31, 3 << 30] {
            let ack = numbered(talk.original(flag::ACK), far, 77);
            rig.feed(WAN, &ack);
            rig.feed_alone(0, WAN, &ack);
            let of_dest = numbered(talk.reply(flag::ACK), far, 77);
            if forward.sees_replies() {
                rig.feed(LAN, &of_dest);
                rig.feed_alone(0, LAN, &of_dest);
            }
        }
        let (_, seq, ack) = known(&rig.conn().1);
        assert_eq!((seq, ack), (before.1, before.2), "{forward:?}");
        let ahead = 1 << 26;
        rig.feed(WAN, &numbered(talk.original(flag::ACK), ahead, 5000));
        assert_eq!(rig.conn().1.seq(), SEQ + ahead);
        if !forward.sees_replies() {
            assert_eq!(rig.conn().1.ack(), 5000);
        }
    }
}

/// RFC 5961 section 4: the dest answers it with a challenge, and the conn goes on.
#[test]
fn a_syn_within_a_conn_says_nothing_of_its_numbers() {
    for forward in net::METHODS {
        let mut rig = rig();
        let talk = established(&mut rig, forward);
        let before = known(&rig.conn().1);
        rig.feed(WAN, &numbered(talk.original(flag::SYN), 1 << 20, 0));
        assert_eq!(known(&rig.conn().1).1, before.1);
        // What the dest's challenge has the client answer is in order.
        rig.feed(WAN, &numbered(talk.original(flag::RST), 1, 0));
        assert_eq!(rig.conn().1.state(), State::Close);
    }
}

/// As a client does that lost its SYN's conn, and a dest that got its new one.
#[test]
fn ends_that_begin_anew_before_the_handshake_is_done_are_followed() {
    let mut rig = rig();
    let talk = Talk::open(&mut rig, 0, (V4, Proto::Tcp, Forward::FullNat), (1, 9));
    talk.answer(&mut rig, flag::SYN | flag::ACK);
    let (client, dest) = (1 << 29, 1 << 30);
    rig.feed(WAN, &numbered(talk.original(flag::SYN), client, 0));
    rig.feed(LAN, &numbered(talk.reply(flag::SYN | flag::ACK), dest, 0));
    assert_eq!(known(&rig.conn().1), (State::SynRecv, SEQ + client + 1, SEQ + dest + 1));
    rig.feed(WAN, &numbered(talk.original(flag::ACK), client + 1, 0));
    assert_eq!(rig.conn().1.state(), State::Established);
    rig.feed(LAN, &numbered(talk.reply(flag::RST), dest + 1, 0));
    assert_eq!(rig.conn().1.state(), State::Close);
}
