//! The plain lane (`pipeline/plain`, `parse/plain`) does what the way of all other packets does: two
//! rigs see the same packets, one of them in bursts, the other one by one from another worker.

use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Proto;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::rig::Rig;
use pointsman_tests::talk::Talk;
use proptest::prelude::*;
use std::time::Duration;

const FORWARDS: [Forward; 4] = [Forward::Nat, Forward::FullNat, Forward::Dr, Forward::Tunnel];

/// One packet of a conversation.
#[derive(Clone, Debug)]
struct Step {
    /// By the dest.
    reply: bool,
    flags: u8,
    payload: u16,
    ttl: u8,
    may_fragment: bool,
    tos: u8,
    options: Option<Vec<u8>>,
    padding: u8,
    /// A byte of the packet that is damaged on its way.
    damage: Option<(u8, u8)>,
    /// Milliseconds that pass before it.
    wait: u16,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let flags = prop_oneof![
        8 => Just(flag::ACK), 2 => Just(flag::ACK | 8), 1 => any::<u8>(),
    ];
    let ttl = prop_oneof![10 => 2u8.., 1 => 0u8..2];
    let payload = prop_oneof![8 => 0u16..1460, 1 => 1400u16..1600];
    let timestamps = vec![1, 1, 8, 10, 0, 0, 1, 0, 0, 0, 0, 7];
    let sack = vec![1, 1, 5, 10, 0, 0, 1, 0, 0, 0, 2, 0, 1, 1, 8, 10, 0, 0, 1, 1, 0, 0, 0, 8];
    let options = prop_oneof![4 => Just(None), 4 => Just(Some(timestamps)), 1 => Just(Some(sack))];
    let damage = prop_oneof![10 => Just(None), 1 => any::<(u8, u8)>().prop_map(Some)];
    let wait = prop_oneof![10 => 0u16..50, 1 => any::<u16>()];
    let rest = (any::<bool>(), any::<u8>(), options, 0u8..3, damage, wait);
    let step = (any::<bool>(), flags, payload, ttl, rest).prop_map(
        |(reply, flags, payload, ttl, rest)| {
            let (may_fragment, tos, options, padding, damage, wait) = rest;
            Step { reply, flags, payload, ttl, may_fragment, tos, options, padding, damage, wait }
        },
    );
    proptest::collection::vec(step, 1..40)
}

fn frame(talk: &Talk, step: &Step) -> Vec<u8> {
    let packet = if step.reply { talk.reply(step.flags) } else { talk.original(step.flags) };
    let mut packet = packet.payload(&vec![0x5a; usize::from(step.payload)]).ttl(step.ttl);
    packet.tos = step.tos;
    packet.padding = usize::from(step.padding);
    if step.may_fragment {
        packet = packet.may_fragment();
    }
    let packet: Packet = match &step.options {
        Some(options) if talk.proto == Proto::Tcp => packet.tcp_options(options),
        _ => packet,
    };
    let mut bytes = packet.bytes();
    if let Some((at, with)) = step.damage {
        let at = usize::from(at) % bytes.len();
        bytes[at] ^= with;
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_plain_lane_does_what_all_others_do(
        forward in proptest::sample::select(&FORWARDS[..]),
        v6 in any::<bool>(),
        udp in any::<bool>(),
        steps in steps(),
    ) {
        let kind = (
            if v6 { Family::V6 } else { Family::V4 },
            if udp { Proto::Udp } else { Proto::Tcp },
            forward,
        );
        let mut rigs = [Rig::new(), Rig::new()];
        let talks = rigs.each_mut().map(|rig| Talk::open(rig, 0, kind, (7, 40_000)));
        for step in &steps {
            let port = if step.reply { net::LAN } else { net::WAN };
            let [plain, other] = &mut rigs;
            let wait = Duration::from_millis(step.wait.into());
            plain.now = plain.now + wait;
            other.now = other.now + wait;
            let out = plain.feed(port, &frame(&talks[0], step));
            let expected = other.feed_alone(0, port, &frame(&talks[1], step));
            prop_assert_eq!(out.frames(), expected.frames(), "{:?}", step);
            prop_assert_eq!(out.control.len(), expected.control.len());
            prop_assert_eq!(plain.drops(), other.drops(), "{:?}", step);
            prop_assert_eq!(format!("{:?}", plain.conns()), format!("{:?}", other.conns()), "{:?}", step);
            prop_assert_eq!(
                format!("{:?}", plain.shared.dests), format!("{:?}", other.shared.dests), "{:?}", step
            );
        }
    }
}
