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
use proptest::test_runner::TestRunner;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
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
        24 => Just(flag::ACK), 6 => Just(flag::ACK | 8), 1 => any::<u8>(),
    ];
    let ttl = prop_oneof![20 => 2u8.., 1 => 0u8..2];
    let payload = prop_oneof![16 => 0u16..1400, 1 => 1400u16..1600];
    let timestamps = vec![1, 1, 8, 10, 0, 0, 1, 0, 0, 0, 0, 7];
    let sack = vec![1, 1, 5, 10, 0, 0, 1, 0, 0, 0, 2, 0, 1, 1, 8, 10, 0, 0, 1, 1, 0, 0, 0, 8];
    let mss = vec![2, 4, 5, 0xb4];
    let options = prop_oneof![
        4 => Just(None), 4 => Just(Some(timestamps)), 1 => Just(Some(sack)), 1 => Just(Some(mss)),
    ];
    let damage = prop_oneof![20 => Just(None), 1 => any::<(u8, u8)>().prop_map(Some)];
    let wait = prop_oneof![20 => 0u16..50, 1 => any::<u16>()];
    let rest = (any::<bool>(), any::<u8>(), options, 0u8..3, damage, wait);
    let step = (any::<bool>(), flags, payload, ttl, rest).prop_map(
        |(reply, flags, payload, ttl, rest)| {
            let (may_fragment, tos, options, padding, damage, wait) = rest;
            Step { reply, flags, payload, ttl, may_fragment, tos, options, padding, damage, wait }
        },
    );
    let step = step.boxed();
    // What a dest may say to the SYN that opened the conn.
    let answer = prop_oneof![
        8 => Just(flag::SYN | flag::ACK), 1 => Just(flag::SYN), 1 => Just(flag::SYN | flag::RST),
    ];
    let first = (step.clone(), answer).prop_map(|(s, flags)| Step { reply: true, flags, ..s });
    let steps = (proptest::option::of(first), proptest::collection::vec(step, 1..40));
    steps.prop_map(|(first, rest)| first.into_iter().chain(rest).collect())
}

fn frame(talk: &Talk, step: &Step, vlan: Option<u16>) -> Vec<u8> {
    let packet = if step.reply { talk.reply(step.flags) } else { talk.original(step.flags) };
    let mut packet = packet.payload(&vec![0x5a; usize::from(step.payload)]).ttl(step.ttl);
    packet.tos = step.tos;
    packet.vlan = vlan;
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

/// Both rigs with one tag, on both ports.
fn tagged(vlan: Option<u16>, last_hop: bool) -> Rig {
    Rig::with(|s| {
        s.ports.iter_mut().for_each(|p| p.vlan = vlan);
        s.dests.iter_mut().for_each(|d| d.traits.last_hop = last_hop);
    })
}

#[test]
fn the_plain_lane_does_what_all_others_do() {
    let conns = (
        proptest::sample::select(&FORWARDS[..]),
        any::<bool>(),
        any::<bool>(),
        prop_oneof![2 => Just(None), 1 => Just(Some(5))],
        proptest::bool::weighted(0.1),
    );
    let (plain, all) = (AtomicU64::new(0), AtomicU64::new(0));
    let config = ProptestConfig { cases: 600, failure_persistence: None, ..Default::default() };
    let checked = TestRunner::new(config).run(&(conns, steps()), |(conn, steps)| {
        let (forward, v6, udp, vlan, last_hop) = conn;
        let kind = (
            if v6 { Family::V6 } else { Family::V4 },
            if udp { Proto::Udp } else { Proto::Tcp },
            forward,
        );
        let mut rigs = [tagged(vlan, last_hop), tagged(vlan, last_hop)];
        let talks = rigs.each_mut().map(|rig| Talk::open_tagged(rig, vlan, kind, (7, 40_000)));
        for step in &steps {
            let port = if step.reply { net::LAN } else { net::WAN };
            let [lane, other] = &mut rigs;
            let wait = Duration::from_millis(step.wait.into());
            lane.now = lane.now + wait;
            other.now = other.now + wait;
            let lone = lane.sum(|s| &s.lone);
            let out = lane.feed(port, &frame(&talks[0], step, vlan));
            plain.fetch_add(1 + lone - lane.sum(|s| &s.lone), Relaxed);
            all.fetch_add(1, Relaxed);
            let expected = other.feed_alone(0, port, &frame(&talks[1], step, vlan));
            prop_assert_eq!(out.frames(), expected.frames(), "{:?}", step);
            prop_assert_eq!(out.control.len(), expected.control.len());
            prop_assert_eq!(lane.drops(), other.drops(), "{:?}", step);
            prop_assert_eq!(
                format!("{:?}", lane.conns()),
                format!("{:?}", other.conns()),
                "{:?}",
                step
            );
            prop_assert_eq!(
                format!("{:?}", lane.shared.dests),
                format!("{:?}", other.shared.dests),
                "{:?}",
                step
            );
        }
        Ok(())
    });
    checked.unwrap_or_else(|e| panic!("{e}"));
    let (plain, all) = (plain.into_inner(), all.into_inner());
    assert!(
        plain * 3 > all,
        "only {plain} of {all} packets took the plain lane: this shows little"
    );
}

/// So that it is a lane for nearly all: each kind of conn, tagged or not, both ways.
#[test]
fn packets_of_conns_that_go_on_take_the_plain_lane() {
    for forward in FORWARDS {
        for family in net::FAMILIES {
            for proto in [Proto::Tcp, Proto::Udp] {
                for vlan in [None, Some(5)] {
                    let kind = format!("{forward:?} {family:?} {proto:?} {vlan:?}");
                    let mut rig = tagged(vlan, false);
                    let talk =
                        Talk::open_tagged(&mut rig, vlan, (family, proto, forward), (7, 40_000));
                    let send = |rig: &mut Rig, reply, flags| {
                        let mut packet =
                            if reply { talk.reply(flags) } else { talk.original(flags) };
                        packet.vlan = vlan;
                        let port = if reply { net::LAN } else { net::WAN };
                        assert_eq!(rig.feed(port, &packet.bytes()).sent.len(), 1, "{kind}");
                    };
                    let replies = matches!(forward, Forward::Nat | Forward::FullNat);
                    if replies {
                        send(&mut rig, true, flag::SYN | flag::ACK);
                    }
                    send(&mut rig, false, flag::ACK);
                    let lone = rig.sum(|s| &s.lone);
                    for _ in 0..10 {
                        send(&mut rig, false, flag::ACK);
                        if replies {
                            send(&mut rig, true, flag::ACK);
                        }
                    }
                    assert_eq!(rig.sum(|s| &s.lone), lone, "{kind}");
                }
            }
        }
    }
}
