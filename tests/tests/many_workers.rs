//! As many workers as a configuration may ask for.

use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Proto;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::talk::Talk;

/// `director.cores` has no more.
const WORKERS: usize = 127;

/// Replies and errors come by a worker far from the conn's, which is asked for in turn where only
/// arrival says whose it is.
#[test]
fn every_frame_finds_its_conn_among_127_workers() {
    for fixed in [false, true] {
        let mut rig = Rig::build(Options { workers: WORKERS, ..Options::default() }, |s, _| {
            s.ports.iter_mut().for_each(|p| p.fixed_queue = fixed);
        });
        let kinds =
            net::METHODS.map(|m| [(Family::V4, Proto::Tcp, m), (Family::V6, Proto::Udp, m)]);
        for (n, kind) in kinds.into_iter().flatten().cycle().take(64).enumerate() {
            let client = (n as u8, 7000 + n as u16);
            let talk = Talk::open(&mut rig, 2 * n % WORKERS, kind, client);
            let far = (2 * n + WORKERS - 1) % WORKERS;
            if kind.2.sees_replies() {
                let out = rig.feed_at(far, LAN, &[&talk.reply(flag::ACK).bytes()]);
                assert_eq!((out.only().port, out.seen().dst), (WAN, talk.client));
            }
            // What the client was sent is quoted to the VIP, whoever holds the conn.
            let answer = Packet { src: talk.vip, dst: talk.client, ..talk.reply(flag::ACK) };
            let about = net::of(kind.0, [3, 3], [1, 4]);
            let error = Packet::icmp(talk.client.ip(), talk.vip.ip(), about, [0; 4], &answer.ip());
            let out = rig.feed_at(far, WAN, &[&error.bytes()]);
            assert_eq!((out.only().port, out.seen().eth.0), (LAN, talk.at_dest.eth.0), "{kind:?}");
            if fixed && kind.2 != Forward::Nat {
                assert!(out.handed.len() <= WORKERS, "offered to each once: {}", out.handed.len());
            }
        }
        assert!(rig.drops().is_empty(), "{:?}", rig.drops());
    }
}
