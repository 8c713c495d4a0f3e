//! SCTP under nat and full-NAT: ports, the checksum over the whole packet, and the addresses that
//! INIT and INIT ACK name; and the ABORT that answers what is of no association.

use super::answer::write_ip;
use crate::frame::Frame;
use crate::parse::Parsed;
use crate::tuple::Family;
use crate::verdict::DropReason;
use crate::wire::get16;
use crate::wire::get32;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::wire::put16;
use crate::wire::put32;
use crate::wire::sctp;
use crate::wire::sctp::Event;
use crate::wire::sctp::chunk;

/// Parameters that name an address (RFC 9260 section 3.3.2.1; a host name, RFC 4960).
const IPV4_ADDRESS: u16 = 5;
const IPV6_ADDRESS: u16 = 6;
const HOST_NAME: u16 = 11;
/// Padding (RFC 4820). By its two highest bits who does not know it passes over it in silence.
const PADDING: u16 = 0x8005;

/// Gives a packet the ports `sport` and `dport`, and makes padding of the addresses that INIT and
/// INIT ACK name: of each end the other may know only the one that its packets bear, behind which
/// the director is. `whole` says that it is no first fragment.
///
/// # Errors
/// Where it would change but its checksum was wrong, or is over more than there is. Then nothing
/// was changed.
pub fn translate(
    packet: &mut [u8],
    (sport, dport): (u16, u16),
    whole: bool,
) -> Result<(), DropReason> {
    let ports_stay = (get16(packet, 0), get16(packet, 2)) == (sport, dport);
    // Of an INIT's first fragment nobody knows what the others name.
    let names = sctp::is_init(packet)
        && (!whole || sctp::parameters(packet).any(|(kind, _)| is_address(kind)));
    if ports_stay && !names {
        return Ok(());
    }
    if !whole {
        return Err(DropReason::SctpFragment);
    }
    // A new checksum must not make a damaged packet a good one.
    if !sctp::is_right(packet) {
        return Err(DropReason::SctpChecksum);
    }
    put16(packet, 0, sport);
    put16(packet, 2, dport);
    if names {
        let mut at = sctp::PARAMETERS;
        while let Some((kind, len)) = sctp::parameter(packet, at) {
            if is_address(kind) {
                put16(packet, at, PADDING);
                packet[at + sctp::CHUNK..at + len].fill(0);
            }
            at += len.next_multiple_of(4);
        }
    }
    sctp::set_checksum(packet);
    Ok(())
}

fn is_address(kind: u16) -> bool {
    matches!(kind, IPV4_ADDRESS | IPV6_ADDRESS | HOST_NAME)
}

/// Turns a packet of no association into what a host answers to it; false where that is nothing
/// (RFC 9260 section 8.4).
pub(super) fn abort<F: Frame>(frame: &mut F, p: &Parsed) -> bool {
    let l3 = p.l3 as usize;
    let packet = &frame.data()[p.l4 as usize..p.end as usize];
    // Section 6.8: what is damaged is dropped in silence.
    if !sctp::is_right(packet) {
        return false;
    }
    let tag = get32(packet, sctp::TAG);
    let (kind, flags, tag) = match sctp::event(packet) {
        Event::Abort | Event::ShutdownComplete | Event::Error | Event::CookieAck => return false,
        Event::Init if packet.len() < sctp::PARAMETERS => return false,
        Event::Init => (chunk::ABORT, 0, get32(packet, sctp::INITIATE_TAG)),
        Event::ShutdownAck => (chunk::SHUTDOWN_COMPLETE, sctp::REFLECTED, tag),
        _ => (chunk::ABORT, sctp::REFLECTED, tag),
    };
    const LEN: usize = sctp::LEN + sctp::CHUNK;
    let header = match p.family {
        Family::V4 => ipv4::LEN,
        Family::V6 => ipv6::LEN,
    };
    if !frame.set_len(l3 + header + LEN) {
        return false;
    }
    let ip = &mut frame.data_mut()[l3..];
    let answer = &mut ip[header..header + LEN];
    answer.fill(0);
    put16(answer, 0, p.tuple.dport);
    put16(answer, 2, p.tuple.sport);
    put32(answer, sctp::TAG, tag);
    answer[sctp::LEN..].copy_from_slice(&[kind, flags, 0, sctp::CHUNK as u8]);
    sctp::set_checksum(answer);
    write_ip(ip, p.tuple.dst, p.tuple.src, 0, p.tuple.proto as u8, LEN);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An INIT with these parameters, and a right checksum.
    fn init(kind: u8, parameters: &[u8]) -> Vec<u8> {
        let mut packet = vec![0, 7, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0];
        packet.extend([kind, 0, 0, 20 + parameters.len() as u8]);
        packet.extend([0, 0, 0, 9, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 5]);
        packet.extend(parameters);
        sctp::set_checksum(&mut packet);
        packet
    }

    const V4: [u8; 8] = [0, 5, 0, 8, 10, 0, 0, 1];
    const COOKIE: [u8; 8] = [0, 7, 0, 7, 1, 2, 3, 0];
    const NAME: [u8; 8] = [0, 11, 0, 6, b'a', 0, 0, 0];

    #[test]
    fn the_addresses_that_init_names_become_padding() {
        let v6 = [&[0, 6, 0, 20][..], &[7; 16]].concat();
        let all = [&COOKIE[..], &V4, &v6, &NAME, &V4].concat();
        for kind in [chunk::INIT, chunk::INIT_ACK] {
            let before = init(kind, &all);
            let mut packet = before.clone();
            assert_eq!(translate(&mut packet, (7, 80), true), Ok(()));
            assert!(sctp::is_right(&packet) && packet.len() == before.len());
            let kinds: Vec<_> = sctp::parameters(&packet).collect();
            let padding = |len| (PADDING, len);
            assert_eq!(kinds, [(7, 7), padding(8), padding(20), padding(6), padding(8)]);
            assert_eq!(packet[32..40], COOKIE, "what only its sender reads stays");
            assert!(packet[44..48].iter().chain(&packet[52..68]).all(|b| *b == 0));
        }
    }

    #[test]
    fn what_names_nothing_and_keeps_its_ports_stays_byte_for_byte() {
        let mut packet = init(chunk::INIT, &COOKIE);
        // Nobody looks at a checksum that stays: it is the receiver's to judge.
        packet[8] ^= 1;
        let before = packet.clone();
        assert_eq!(translate(&mut packet, (7, 80), true), Ok(()));
        assert_eq!(packet, before);
        assert_eq!(translate(&mut packet, (7, 81), true), Err(DropReason::SctpChecksum));
        assert_eq!(packet, before);
    }

    #[test]
    fn of_a_first_fragment_nothing_can_be_changed() {
        let mut data = init(chunk::INIT, &[]);
        data[12] = 0;
        assert_eq!(translate(&mut data, (7, 80), false), Ok(()));
        assert_eq!(translate(&mut data, (8, 80), false), Err(DropReason::SctpFragment));
        let mut init = init(chunk::INIT, &[]);
        assert_eq!(translate(&mut init, (7, 80), false), Err(DropReason::SctpFragment));
    }

    proptest! {
        #[test]
        fn any_packet_leaves_with_a_right_checksum(mut packet in proptest::collection::vec(any::<u8>(), 16..200), kind in 0u8..4, ports in any::<(u16, u16)>()) {
            packet[12] = kind;
            sctp::set_checksum(&mut packet);
            prop_assert_eq!(translate(&mut packet, ports, true), Ok(()));
            prop_assert!(sctp::is_right(&packet));
            prop_assert_eq!((get16(&packet, 0), get16(&packet, 2)), ports);
            prop_assert!(!sctp::is_init(&packet) || !sctp::parameters(&packet).any(|(kind, _)| is_address(kind)));
        }
    }
}
