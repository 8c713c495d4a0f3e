//! Second choice; what nat and full-NAT change in the options of SYN and SYN-ACK; UDP's two limits.

use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::Traits;
use pointsman_dataplane::tuple::Family;
use pointsman_dataplane::tuple::Family::V4;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::verdict::DropReason;
use pointsman_tests::craft::Packet;
use pointsman_tests::craft::flag;
use pointsman_tests::net;
use pointsman_tests::net::DESTS;
use pointsman_tests::net::LAN;
use pointsman_tests::net::WAN;
use pointsman_tests::rig::Rig;
use pointsman_tests::see;
use pointsman_tests::see::Seen;
use pointsman_tests::see::Sum;
use pointsman_tests::talk::Talk;
use std::time::Duration;

const REWRITTEN: [Forward; 2] = [Forward::Nat, Forward::FullNat];
const SYN_ACK: u8 = flag::SYN | flag::ACK;
const RST_ACK: u8 = flag::RST | flag::ACK;

fn rig(change: impl Fn(&mut Traits)) -> Rig {
    Rig::with(|s| {
        for d in &mut s.dests {
            d.traits.rewrite = true;
            change(&mut d.traits);
        }
    })
}

/// The dest's number within its service.
fn which(seen: &Seen) -> usize {
    let ip = if seen.number == 4 || seen.number == 41 {
        see::see_ip(&seen.segment).dst
    } else {
        seen.dst
    };
    let family = if ip.is_ipv4() { V4 } else { Family::V6 };
    (0..DESTS).find(|n| net::dest_addr(family, *n) == seen.dst.ip()).expect("one of the dests")
}

fn id(talk: &Talk) -> DestId {
    let family = if talk.client.is_ipv4() { V4 } else { Family::V6 };
    net::dest_id(family, talk.proto, talk.forward, which(&talk.at_dest))
}

/// How a dest may refuse a SYN.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    Reset,
    Unreachable,
    Silence,
}

const REFUSALS: [Refusal; 3] = [Refusal::Reset, Refusal::Unreachable, Refusal::Silence];

/// The refusal by the dest of `talk`; what comes out.
fn refuse(rig: &mut Rig, talk: &Talk, how: Refusal) -> Vec<Vec<u8>> {
    match how {
        Refusal::Reset => talk.answer(rig, RST_ACK).frames(),
        Refusal::Unreachable => {
            let seen = &talk.at_dest;
            let kind = if talk.client.is_ipv4() { [3, 1] } else { [1, 3] };
            let p = Packet::icmp(seen.dst.ip(), seen.src.ip(), kind, [0; 4], &seen.ip);
            rig.feed(LAN, &p.from_lan(seen.eth.0).bytes()).frames()
        }
        Refusal::Silence => Vec::new(),
    }
}

#[test]
fn a_dest_that_refuses_or_is_silent_is_left_for_another_once() {
    for family in net::FAMILIES {
        for forward in REWRITTEN {
            for how in REFUSALS {
                let mut rig = rig(|t| t.retries = 1);
                let first = Talk::tcp(&mut rig, family, forward);
                assert!(refuse(&mut rig, &first, how).is_empty(), "kept from the client");
                let again = first.say(&mut rig, flag::SYN).seen();
                assert_ne!(again.dst, first.at_dest.dst, "{how:?}: another dest");
                assert_eq!(again.sum, Sum::Right);
                let second = Talk { at_dest: again, ..first.clone() };
                let over = |rig: &Rig, talk: &Talk| rig.dest(id(talk), |s| &s.passed_over);
                assert_eq!((over(&rig, &first), over(&rig, &second)), (1, 0));
                assert_eq!(rig.conn().2.caddr, first.client.ip().into(), "one conn, not two");
                let leases = u64::from(forward == Forward::FullNat);
                assert_eq!(rig.sum(|s| &s.leases), leases, "the first one's came back");
                // The third SYN stays: once is what `retries` allows.
                assert_eq!(first.say(&mut rig, flag::SYN).seen().dst, second.at_dest.dst);
                // And from then on everything is as ever.
                assert_eq!(second.answer(&mut rig, SYN_ACK).seen().dst, first.client);
                assert_eq!(second.say(&mut rig, flag::ACK).seen().dst, second.at_dest.dst);
                assert_eq!(over(&rig, &second), 0);
                rig.pass(Duration::from_secs(1000));
                assert_eq!((rig.conns().len(), rig.sum(|s| &s.leases)), (0, 0));
            }
        }
    }
}

#[test]
fn the_last_dests_refusal_passes_to_the_client() {
    for forward in REWRITTEN {
        for how in [Refusal::Reset, Refusal::Unreachable] {
            let mut rig = rig(|t| t.retries = 1);
            let first = Talk::tcp(&mut rig, V4, forward);
            refuse(&mut rig, &first, how);
            let again = first.say(&mut rig, flag::SYN).seen();
            let second = Talk { at_dest: again, ..first.clone() };
            let out = refuse(&mut rig, &second, how);
            assert_eq!(out.len(), 1, "{how:?}: {:?}", rig.drops());
            assert_eq!(see::see(&out[0]).dst.ip(), first.client.ip());
            assert_eq!(
                rig.drops(),
                if matches!(how, Refusal::Silence) {
                    vec![]
                } else {
                    vec![(DropReason::SecondChoice, 1)]
                }
            );
        }
    }
}

#[test]
fn without_retries_a_refusal_passes_and_a_second_syn_stays_with_its_dest() {
    for family in net::FAMILIES {
        for forward in REWRITTEN {
            for how in REFUSALS {
                let mut rig = rig(|t| t.retries = 0);
                let talk = Talk::tcp(&mut rig, family, forward);
                let out = refuse(&mut rig, &talk, how);
                assert_eq!(out.len(), usize::from(!matches!(how, Refusal::Silence)));
                if matches!(how, Refusal::Silence) {
                    let again = talk.say(&mut rig, flag::SYN).seen();
                    assert_eq!(again.dst, talk.at_dest.dst);
                }
                assert_eq!(rig.dest(id(&talk), |s| &s.passed_over), 0);
                assert!(rig.drops().is_empty());
            }
        }
    }
}

#[test]
fn as_many_others_are_tried_as_retries_says() {
    for forward in REWRITTEN {
        let mut rig = rig(|t| t.retries = 2);
        let mut talk = Talk::tcp(&mut rig, V4, forward);
        let mut seen = vec![which(&talk.at_dest)];
        for _ in 0..2 {
            assert!(refuse(&mut rig, &talk, Refusal::Reset).is_empty());
            talk.at_dest = talk.say(&mut rig, flag::SYN).seen();
            assert_ne!(seen.last(), Some(&which(&talk.at_dest)));
            seen.push(which(&talk.at_dest));
        }
        assert_eq!(refuse(&mut rig, &talk, Refusal::Reset).len(), 1);
    }
}

#[test]
fn a_dest_that_has_answered_is_not_left() {
    for forward in REWRITTEN {
        let mut rig = rig(|t| t.retries = 1);
        let talk = Talk::tcp(&mut rig, V4, forward);
        talk.answer(&mut rig, SYN_ACK);
        assert_eq!(talk.say(&mut rig, flag::SYN).seen().dst, talk.at_dest.dst);
        assert_eq!(refuse(&mut rig, &talk, Refusal::Reset).len(), 1, "the client must know");
    }
}

#[test]
fn where_there_is_no_other_dest_the_refusal_passes() {
    for forward in REWRITTEN {
        for how in REFUSALS {
            let mut rig = rig(|t| t.retries = 1);
            rig.reload(|s| {
                let i = net::service_index(V4, Proto::Tcp, forward);
                s.services[i].dests.truncate(1);
                s.services[i].version += 1;
            });
            let talk = Talk::tcp(&mut rig, V4, forward);
            let out = refuse(&mut rig, &talk, how);
            assert_eq!(out.len(), usize::from(!matches!(how, Refusal::Silence)));
            if matches!(how, Refusal::Silence) {
                assert_eq!(talk.say(&mut rig, flag::SYN).seen().dst, talk.at_dest.dst);
            }
        }
    }
}

#[test]
fn a_late_answer_of_the_dest_that_was_left_does_not_reach_the_client() {
    for forward in REWRITTEN {
        let mut rig = rig(|t| t.retries = 1);
        let first = Talk::tcp(&mut rig, V4, forward);
        first.say(&mut rig, flag::SYN);
        let out = first.answer(&mut rig, SYN_ACK);
        let to_client = out.sent.iter().filter(|s| s.port == WAN).count();
        assert_eq!(to_client, 0, "two SYN-ACKs with different numbers would kill the handshake");
    }
}

#[test]
fn dr_and_tunnel_have_no_second_choice() {
    for forward in [Forward::Dr, Forward::Tunnel] {
        let mut rig = rig(|t| t.retries = 1);
        let talk = Talk::tcp(&mut rig, V4, forward);
        assert_eq!(talk.say(&mut rig, flag::SYN).seen().eth.0, talk.at_dest.eth.0);
    }
}

/// A segment of `talk`'s client or dest with these options.
fn with_options(rig: &mut Rig, talk: &Talk, flags: u8, way: bool, options: &[u8]) -> Seen {
    let out = match way {
        true => rig.feed(WAN, &talk.original(flags).tcp_options(options).bytes()),
        false => rig.feed(LAN, &talk.reply(flags).tcp_options(options).bytes()),
    };
    let seen = out.seen();
    let judged = see::transport_sum(seen.src.ip(), seen.dst.ip(), seen.number, &seen.segment);
    assert_eq!(judged, Sum::Right);
    seen
}

fn mss(v: u16) -> [u8; 2] {
    v.to_be_bytes()
}

#[test]
fn a_larger_mss_is_lowered_in_syn_and_syn_ack_under_nat_and_full_nat() {
    for family in net::FAMILIES {
        for forward in REWRITTEN {
            for (said, heard) in [(1460, 1360), (1361, 1360), (1360, 1360), (536, 536)] {
                let mut rig = rig(|t| t.mss = 1360);
                let talk = Talk::tcp(&mut rig, family, forward);
                let ([a, b], [c, d]) = (mss(said), mss(heard));
                for (flags, way) in [(flag::SYN, true), (SYN_ACK, false)] {
                    let seen = with_options(&mut rig, &talk, flags, way, &[2, 4, a, b]);
                    assert_eq!(seen.segment[20..], [2, 4, c, d]);
                    // At an odd place.
                    let odd = [1, 2, 4, a, b, 1, 1, 1];
                    let seen = with_options(&mut rig, &talk, flags, way, &odd);
                    assert_eq!(seen.segment[20..], [1, 2, 4, c, d, 1, 1, 1]);
                }
            }
        }
    }
}

#[test]
fn an_mss_option_is_neither_added_nor_touched_beyond_the_handshake() {
    for forward in REWRITTEN {
        let mut rig = rig(|t| t.mss = 500);
        let talk = Talk::tcp(&mut rig, V4, forward);
        let seen = with_options(&mut rig, &talk, flag::SYN, true, &[1, 3, 3, 7]);
        assert_eq!(seen.segment[20..], [1, 3, 3, 7]);
        with_options(&mut rig, &talk, SYN_ACK, false, &[]);
        let options = [2, 4, 5, 0xb4];
        let seen = with_options(&mut rig, &talk, flag::ACK, true, &options);
        assert_eq!(seen.segment[20..], options);
    }
}

#[test]
fn dr_and_tunnel_leave_mss_and_fast_open_alone() {
    for forward in [Forward::Dr, Forward::Tunnel] {
        let mut rig = rig(|t| t.mss = 500);
        let talk = Talk::tcp(&mut rig, V4, forward);
        let options = [2, 4, 5, 0xb4, 34, 6, 1, 2, 3, 4, 1, 1];
        let seen = with_options(&mut rig, &talk, flag::SYN, true, &options);
        assert!(seen.segment.ends_with(&options));
    }
}

/// "TCP-MD5 and TCP-AO: passed untouched under dr and tunnel."
#[test]
fn signed_segments_pass_untouched_under_dr_and_tunnel() {
    let (mut md5, mut ao) = (vec![19, 18], vec![29, 16, 1, 2]);
    md5.resize(18, 0xaa);
    md5.extend([1, 1]);
    ao.resize(16, 0xbb);
    for family in net::FAMILIES {
        for forward in [Forward::Dr, Forward::Tunnel] {
            for options in [&md5, &ao] {
                let mut rig = rig(|_| {});
                let (client, vip) =
                    (net::client(family, 1, 5000), net::service_addr(family, forward));
                for flags in [flag::SYN, flag::ACK] {
                    let p = Packet::tcp(client, vip, flags).tcp_options(options);
                    let seen = rig.feed(WAN, &p.bytes()).seen();
                    let inner =
                        if forward == Forward::Tunnel { see::see_ip(&seen.segment) } else { seen };
                    // Signed are addresses, ports, numbers and data: all but TTL and its checksum.
                    let (mut got, mut said) = (inner.ip.clone(), p.ip());
                    for ip in [&mut got, &mut said] {
                        for i in net::of(family, vec![8, 10, 11], vec![7]) {
                            ip[i] = 0;
                        }
                    }
                    assert_eq!(got, said);
                }
            }
        }
    }
}

/// "MPTCP: capable passes, join needs persistence": without it a join is a conn like any other.
#[test]
fn multipath_options_pass_under_plain_nat_and_full_nat() {
    let capable = [30, 12, 1, 0x81, 1, 2, 3, 4, 5, 6, 7, 8];
    let join = [30, 12, 0x10, 3, 9, 8, 7, 6, 5, 4, 3, 2];
    for family in net::FAMILIES {
        for forward in REWRITTEN {
            for options in [capable, join] {
                let mut rig = rig(|_| {});
                let talk = Talk::tcp(&mut rig, family, forward);
                for (flags, way) in [(flag::SYN, true), (SYN_ACK, false), (flag::ACK, true)] {
                    let seen = with_options(&mut rig, &talk, flags, way, &options);
                    assert_eq!(seen.segment[20..], options);
                }
            }
        }
    }
}

#[test]
fn a_fast_open_cookie_becomes_no_operations_under_full_nat_only() {
    for family in net::FAMILIES {
        // A cookie of eight bytes; the request for one; at an odd place.
        for options in [
            &[34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1][..],
            &[34, 2, 1, 1],
            &[1, 34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 0],
        ] {
            let blank: Vec<u8> = {
                let at = options.iter().position(|o| *o == 34).unwrap();
                let len = usize::from(options[at + 1]);
                let kept = |i: usize| if (at..at + len).contains(&i) { 1 } else { options[i] };
                (0..options.len()).map(kept).collect()
            };
            for (forward, expected) in
                [(Forward::Nat, options), (Forward::FullNat, blank.as_slice())]
            {
                let mut rig = rig(|_| {});
                let talk = Talk::tcp(&mut rig, family, forward);
                for (flags, way) in [(flag::SYN, true), (SYN_ACK, false)] {
                    let seen = with_options(&mut rig, &talk, flags, way, options);
                    assert_eq!(seen.segment[20..], *expected, "{forward:?}");
                }
            }
        }
    }
}

#[test]
fn a_udp_conn_lives_as_long_as_its_service_says_without_a_packet() {
    for forward in net::METHODS {
        let mut rig = rig(|t| t.udp_timeout = 30_000);
        let talk = Talk::open(&mut rig, 0, (V4, Proto::Udp, forward), (1, 700));
        rig.pass(Duration::from_secs(29));
        assert_eq!(rig.conns().len(), 1);
        // Either side's packet counts.
        talk.say(&mut rig, 0);
        rig.pass(Duration::from_secs(29));
        assert_eq!(rig.conns().len(), 1);
        if forward.sees_replies() {
            talk.answer(&mut rig, 0);
            rig.pass(Duration::from_secs(29));
            assert_eq!(rig.conns().len(), 1);
        }
        rig.pass(Duration::from_secs(3));
        assert_eq!((rig.conns().len(), rig.sum(|s| &s.leases)), (0, 0));
    }
}

#[test]
fn a_udp_conn_ends_after_as_many_replies_as_its_service_says() {
    for family in net::FAMILIES {
        for forward in REWRITTEN {
            for replies in 1..=3 {
                let mut rig = rig(|t| t.replies = replies);
                let talk = Talk::open(&mut rig, 0, (family, Proto::Udp, forward), (1, 700));
                for n in 1..=replies {
                    assert_eq!(talk.answer(&mut rig, 0).seen().dst, talk.client, "reply {n}");
                    rig.pass(Duration::from_secs(2));
                    assert_eq!(rig.conns().len(), usize::from(n < replies), "after {n}");
                }
                assert_eq!(rig.sum(|s| &s.leases), 0);
                // The client's next question opens a new conn, at once too.
                assert_eq!(talk.say(&mut rig, 0).sent.len(), 1);
                assert_eq!(rig.sum(|s| &s.opened), 2);
            }
        }
    }
}

#[test]
fn a_question_right_behind_the_last_reply_opens_a_new_conn() {
    for forward in REWRITTEN {
        let mut rig = rig(|t| t.replies = 1);
        let talk = Talk::open(&mut rig, 0, (V4, Proto::Udp, forward), (1, 700));
        talk.answer(&mut rig, 0);
        let again = talk.say(&mut rig, 0).seen();
        assert_eq!(rig.sum(|s| &s.opened), 2, "no housekeeping in between");
        let talk = Talk { at_dest: again, ..talk };
        assert_eq!(talk.answer(&mut rig, 0).seen().dst, talk.client);
    }
}
