//! Ports whose frames have tags, through reloads that change them.

use pointsman_dataplane::frame::Burst;
use pointsman_dataplane::frame::Frame as _;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Family::V6;
use pointsman_dataplane::tuple::Proto;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::LAN_MAC;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Options;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::talk::Talk;

/// What a worker sends for a frame that comes by WAN. Nobody looks at it: the rig knows one snapshot.
fn sent_by(rig: &mut Rig, worker: usize, bytes: &[u8]) -> Vec<Vec<u8>> {
    let now = rig.now;
    let (pipeline, outbox, pool) = rig.parts(worker);
    let mut burst: Burst<_> =
        core::iter::once(pool.frame(bytes).expect("the pool is not empty")).collect();
    pipeline.process(WAN, &mut burst, now, pool, outbox);
    let sent: Vec<_> = outbox.tx().iter_mut().flat_map(|tx| tx.drain(..)).collect();
    pipeline.stats().sent.add(sent.len() as u64);
    sent.iter().map(|f| f.data().to_vec()).collect()
}

/// Tags are a snapshot's, and workers take a snapshot one after the other.
#[test]
fn a_worker_that_has_not_taken_a_reload_sends_by_its_own_tags() {
    for (before, after) in [(None, Some(9)), (Some(9), None), (Some(9), Some(10))] {
        for family in [V4, V6] {
            for forward in net::METHODS {
                for wan in [Some(7), None] {
                    let options = Options { workers: 2, ..Options::default() };
                    let mut rig = Rig::build(options, |s, _| {
                        (s.ports[0].vlan, s.ports[1].vlan) = (wan, before);
                    });
                    // A conn of worker 1.
                    let ack = (3000..3064).find_map(|port| {
                        let client = net::client(family, 4, port);
                        let vip = net::service_addr(family, forward);
                        let packet =
                            |flags| Packet { vlan: wan, ..Packet::tcp(client, vip, flags) };
                        let out = rig.feed_at(1, WAN, &[&packet(flag::SYN).bytes()]);
                        (out.only().worker == 1).then(|| packet(flag::ACK))
                    });
                    rig.reload_one(0, |s| s.ports[1].vlan = after);
                    let sent = sent_by(&mut rig, 1, &ack.unwrap().bytes());
                    let tags: Vec<_> = sent.iter().map(|f| see::see(f).vlan).collect();
                    let case = format!("{family:?} {forward:?} wan {wan:?} to {after:?}");
                    assert_eq!(tags, [before], "{case}");
                }
            }
        }
    }
}

#[test]
fn a_reload_of_tags_is_followed_by_both_lanes() {
    let tags = [None, Some(5), Some(6)];
    for (before, after) in tags.iter().flat_map(|b| tags.map(|a| (*b, a))) {
        for (wan, family) in [(None, V4), (Some(7), V4), (None, V6), (Some(7), V6)] {
            for forward in net::METHODS {
                let mut rig = Rig::with(|s| (s.ports[0].vlan, s.ports[1].vlan) = (wan, before));
                let what = (family, Proto::Udp, forward);
                let talk = Talk::open_tagged(&mut rig, wan, what, (4, 3000));
                rig.reload(|s| s.ports[1].vlan = after);
                // Or a tag that says only a priority, where none is wanted.
                for vlan in [wan, wan.or(Some(0))] {
                    let lone = rig.sum(|s| &s.lone);
                    let p = Packet { vlan, ..talk.original(0) };
                    let seen = rig.feed(WAN, &p.bytes()).seen();
                    assert_eq!((seen.vlan, seen.eth.1), (after, LAN_MAC));
                    // The plain lane leaves link headers as long as they are.
                    let is_plain = vlan.is_some() == after.is_some();
                    let case = format!("{family:?} {forward:?} {wan:?} {before:?} to {after:?}");
                    assert_eq!(rig.sum(|s| &s.lone) - lone, u64::from(!is_plain), "{case}");
                }
            }
        }
    }
}
