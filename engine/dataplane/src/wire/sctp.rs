//! SCTP (RFC 9260): the common header, chunks, and what of them the director looks at.

use super::get16;
use super::get32;
use super::put32;
use super::tcp;

/// Common header.
pub const LEN: usize = 12;
/// Place of the verification tag.
pub const TAG: usize = 4;
/// Place of the checksum, a CRC32c over the whole packet.
pub const CHECKSUM: usize = 8;
/// A chunk's header: type, flags, and its length with this header and without padding.
pub const CHUNK: usize = 4;
/// Place of the initiate tag of INIT and INIT ACK, which the other end's packets bear.
pub const INITIATE_TAG: usize = LEN + 4;
/// Place of their first parameter.
pub const PARAMETERS: usize = LEN + 20;
/// Chunk flag of ABORT and SHUTDOWN COMPLETE: the tag is the one of the packet they answer.
pub const REFLECTED: u8 = 1;

/// Chunk types.
pub mod chunk {
    /// Begins an association.
    pub const INIT: u8 = 1;
    /// Answers INIT.
    pub const INIT_ACK: u8 = 2;
    /// Ends an association at once.
    pub const ABORT: u8 = 6;
    /// The sender has nothing more to send.
    pub const SHUTDOWN: u8 = 7;
    /// Answers SHUTDOWN.
    pub const SHUTDOWN_ACK: u8 = 8;
    /// Reports what went wrong.
    pub const ERROR: u8 = 9;
    /// The handshake's third packet.
    pub const COOKIE_ECHO: u8 = 10;
    /// The handshake's fourth packet.
    pub const COOKIE_ACK: u8 = 11;
    /// Ends an association's shutdown.
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// What a packet does to its conn's state, by the kernel's numbers (`ipvs_sctp_event_t`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Event {
    /// DATA, SACK, HEARTBEAT and whatever has no event of its own.
    Data = 0,
    /// INIT.
    Init,
    /// INIT ACK.
    InitAck,
    /// COOKIE ECHO.
    CookieEcho,
    /// COOKIE ACK.
    CookieAck,
    /// SHUTDOWN.
    Shutdown,
    /// SHUTDOWN ACK.
    ShutdownAck,
    /// SHUTDOWN COMPLETE.
    ShutdownComplete,
    /// ERROR.
    Error,
    /// ABORT.
    Abort,
}

/// The packet's event as `Parsed::flags` has it, in the place of TCP's control bits: what begins a
/// conn bears SYN there, what ends it at once RST, and all else FIN, so that questions put to a
/// segment are right for a packet, too, and none takes the plain lane.
pub const fn flags(event: Event) -> u8 {
    let bit = match event {
        Event::Init => tcp::SYN,
        Event::Abort => tcp::RST,
        _ => tcp::FIN,
    };
    (event as u8) << 4 | bit
}

/// The number of the event that `flags` were made of.
#[inline(always)]
pub const fn event_of(flags: u8) -> u8 {
    flags >> 4
}

/// A packet's event: that of its first chunk, but for an ABORT behind the cookie (`set_sctp_state`;
/// no other chunk that matters may stand before one). `packet` has a common header and a chunk's.
pub fn event(packet: &[u8]) -> Event {
    let first = packet[LEN];
    if matches!(first, chunk::COOKIE_ECHO | chunk::COOKIE_ACK) {
        let len = get16(packet, LEN + 2) as usize;
        let second = LEN + len.next_multiple_of(4);
        if len >= CHUNK && second + CHUNK <= packet.len() && packet[second] == chunk::ABORT {
            return Event::Abort;
        }
    }
    match first {
        chunk::INIT => Event::Init,
        chunk::INIT_ACK => Event::InitAck,
        chunk::COOKIE_ECHO => Event::CookieEcho,
        chunk::COOKIE_ACK => Event::CookieAck,
        chunk::SHUTDOWN => Event::Shutdown,
        chunk::SHUTDOWN_ACK => Event::ShutdownAck,
        chunk::SHUTDOWN_COMPLETE => Event::ShutdownComplete,
        chunk::ERROR => Event::Error,
        chunk::ABORT => Event::Abort,
        _ => Event::Data,
    }
}

/// The checksum of a whole packet as it is to stand there (RFC 9260 section 6.8, appendix A), as a
/// number of network order.
pub fn checksum(packet: &[u8]) -> u32 {
    let sum = crc32c::crc32c(&packet[..CHECKSUM]);
    let sum = crc32c::crc32c_append(sum, &[0; 4]);
    crc32c::crc32c_append(sum, &packet[LEN..]).swap_bytes()
}

/// Whether a whole packet's checksum is right.
pub fn is_right(packet: &[u8]) -> bool {
    get32(packet, CHECKSUM) == checksum(packet)
}

/// Gives a whole packet its checksum.
pub fn set_checksum(packet: &mut [u8]) {
    let sum = checksum(packet);
    put32(packet, CHECKSUM, sum);
}

/// INIT's or INIT ACK's parameter at a place: its type, and its length without padding; none where
/// none is whole there. The next one is at the next multiple of four behind it.
pub fn parameter(packet: &[u8], at: usize) -> Option<(u16, usize)> {
    let end = (LEN + get16(packet, LEN + 2) as usize).min(packet.len());
    let header = packet[..end].get(at..at + CHUNK)?;
    let (kind, len) = (get16(header, 0), get16(header, 2) as usize);
    (len >= CHUNK && at + len <= end).then_some((kind, len))
}

/// All of them, in their order.
pub fn parameters(packet: &[u8]) -> impl Iterator<Item = (u16, usize)> + '_ {
    let mut at = PARAMETERS;
    core::iter::from_fn(move || {
        let found = parameter(packet, at)?;
        at += found.1.next_multiple_of(4);
        Some(found)
    })
}

/// Whether a packet's first chunk is INIT or INIT ACK, which alone have parameters, and which come
/// alone (RFC 9260 section 6.10).
pub fn is_init(packet: &[u8]) -> bool {
    matches!(packet[LEN], chunk::INIT | chunk::INIT_ACK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 9260 appendix A, bit by bit.
    fn slow(bytes: &[u8]) -> u32 {
        let bit = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        !bytes.iter().fold(u32::MAX, |crc, b| (0..8).fold(crc ^ u32::from(*b), |crc, _| bit(crc)))
    }

    #[test]
    fn an_abort_behind_the_cookie_counts() {
        let mut packet = vec![0; LEN];
        packet.extend([chunk::COOKIE_ECHO, 0, 0, 7, 1, 2, 3, 0]);
        assert_eq!(event(&packet), Event::CookieEcho);
        packet.extend([chunk::ABORT, 0, 0, 4]);
        assert_eq!(event(&packet), Event::Abort);
        packet[LEN] = chunk::COOKIE_ACK;
        assert_eq!(event(&packet), Event::Abort);
        packet[LEN] = chunk::SHUTDOWN;
        assert_eq!(event(&packet), Event::Shutdown);
        // A length that says nothing of a second one.
        (packet[LEN], packet[LEN + 3]) = (chunk::COOKIE_ECHO, 3);
        assert_eq!(event(&packet), Event::CookieEcho);
    }

    #[test]
    fn flags_answer_the_questions_put_to_segments() {
        let opens = |event| flags(event) & (tcp::SYN | tcp::RST) == tcp::SYN;
        assert!(opens(Event::Init) && !opens(Event::InitAck) && !opens(Event::Abort));
        for event in [Event::Data, Event::CookieEcho, Event::Error, Event::Abort, Event::Init] {
            assert_eq!(event_of(flags(event)), event as u8);
            assert!(flags(event) & (tcp::SYN | tcp::FIN | tcp::RST) != 0);
        }
    }

    proptest! {
        #[test]
        fn the_checksum_is_that_of_the_rfc(mut packet in proptest::collection::vec(any::<u8>(), 12..200)) {
            set_checksum(&mut packet);
            let stands = packet[CHECKSUM..LEN].to_vec();
            packet[CHECKSUM..LEN].fill(0);
            prop_assert_eq!(&stands[..], &slow(&packet).to_le_bytes()[..]);
            packet[CHECKSUM..LEN].copy_from_slice(&stands);
            prop_assert!(is_right(&packet));
            packet[3] ^= 4;
            prop_assert!(!is_right(&packet));
        }

        #[test]
        fn parameters_stay_within_the_packet(packet in proptest::collection::vec(any::<u8>(), 16..120)) {
            let all: usize = parameters(&packet).map(|(_, len)| len).sum();
            prop_assert!(PARAMETERS + all <= packet.len() || all == 0);
        }
    }
}
