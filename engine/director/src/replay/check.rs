//! What left, held against what the capture says must leave.

use super::packet::Packet;
use super::packet::Piece;
use super::policy::is_absent;
use super::policy::is_right;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::wire::checksum;
use pointsman_dataplane::wire::get32;
use pointsman_dataplane::wire::ipv4;
use pointsman_dataplane::wire::tcp;
use pointsman_dataplane::wire::udp;

/// What can be wrong with a packet that left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Wrong {
    Bytes,
    Numbers,
    Checksum,
    Header,
    Ends,
    Order,
}

impl Wrong {
    /// All, in the order of their numbers, with what each means.
    pub(super) const ALL: [(Self, &'static str); 6] = [
        (Self::Bytes, "bytes are not those of the capture"),
        (Self::Numbers, "sequence or acknowledgement numbers are not those of the capture"),
        (Self::Checksum, "a good checksum became bad, or a bad one good"),
        (Self::Header, "the IPv4 header checksum is wrong"),
        (Self::Ends, "addresses or ports are not the conversation's"),
        (Self::Order, "left after a later packet of its conversation"),
    ];
}

/// Compares a packet that left with the expected one, and with `fed` what the checksum was worth.
/// The options of SYNs may differ (MSS, fast open), and with `loose` all that a dest may be told
/// of its client: only the data must be there then.
pub(super) fn compare(
    (expected, e): (&[u8], &Packet),
    (left, l): (&[u8], &Packet),
    good: Option<bool>,
    loose: bool,
) -> Result<(), Wrong> {
    if l.is_v4() && checksum::fold(checksum::sum(&left[..ipv4::header_len(left)], 0)) != 0xffff {
        return Err(Wrong::Header);
    }
    if (e.src, e.dst, e.proto) != (l.src, l.dst, l.proto) {
        return Err(Wrong::Ends);
    }
    if good.is_some_and(|good| l.piece == Piece::Whole && is_right(left, l) != good) {
        return Err(Wrong::Checksum);
    }
    let (expected_l4, left_l4) = (&expected[e.l4..e.end], &left[l.l4..l.end]);
    if matches!(e.piece, Piece::Later(_)) {
        return same(expected_l4, left_l4);
    }
    if e.proto == Proto::Udp {
        if !loose && is_absent(expected, e) != is_absent(left, l) && e.is_v4() == l.is_v4() {
            return Err(Wrong::Checksum);
        }
        let data = &expected_l4[udp::LEN..];
        return match loose {
            true if left_l4.ends_with(data) => Ok(()),
            true => Err(Wrong::Bytes),
            false => same(data, &left_l4[udp::LEN..]),
        };
    }
    compare_tcp(expected_l4, left_l4, loose)
}

fn compare_tcp(expected: &[u8], left: &[u8], loose: bool) -> Result<(), Wrong> {
    let (data, left_data) = (tcp::header_len(expected), tcp::header_len(left));
    if loose {
        return same(&expected[data..], &left[left_data..]);
    }
    let number = |at| get32(expected, at) == get32(left, at);
    let acknowledges = expected[tcp::FLAGS] & tcp::ACK_BIT != 0;
    if !number(tcp::SEQ) || acknowledges && !number(tcp::ACK) {
        return Err(Wrong::Numbers);
    }
    same(&expected[tcp::OFFSET..tcp::CHECKSUM], &left[tcp::OFFSET..tcp::CHECKSUM])?;
    if expected[tcp::FLAGS] & tcp::SYN == 0 {
        same(&expected[tcp::CHECKSUM + 2..data], &left[tcp::CHECKSUM + 2..left_data])?;
    }
    same(&expected[data..], &left[left_data..])
}

fn same(a: &[u8], b: &[u8]) -> Result<(), Wrong> {
    if a == b { Ok(()) } else { Err(Wrong::Bytes) }
}

#[cfg(test)]
mod tests {
    use super::super::packet::read;
    use super::*;
    use etherparse::PacketBuilder;
    use pointsman_dataplane::wire::get16;
    use pointsman_dataplane::wire::put16;

    fn packet(edit: impl Fn(&mut [u8])) -> Vec<u8> {
        let mut out = Vec::new();
        let b = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9).tcp(1000, 80, 7, 5).ack(9);
        b.write(&mut out, b"data").unwrap();
        edit(&mut out);
        out
    }

    #[test]
    fn each_wrong_is_found() {
        let of = |edit: &dyn Fn(&mut [u8])| {
            let (a, b) = (packet(|_| {}), packet(edit));
            let (p, q) = (read(&a).unwrap(), read(&b).unwrap());
            compare((&a, &p), (&b, &q), Some(true), false)
        };
        assert_eq!(of(&|_| {}), Ok(()));
        assert_eq!(of(&|ip| ip[8] = 77), Err(Wrong::Header));
        assert_eq!(of(&|ip| ip[20] ^= 1), Err(Wrong::Ends));
        assert_eq!(of(&|ip| ip[43] ^= 1), Err(Wrong::Checksum));
        // The checksum right again, the rest still found.
        let fixed = |at: usize| {
            move |ip: &mut [u8]| {
                ip[at] ^= 1;
                let c = get16(ip, 36);
                let (high, low) = if at.is_multiple_of(2) { (0x100, 0) } else { (0, 1) };
                let up = ip[at] & 1 == 1;
                let by = high + low;
                let sum = u32::from(!c) + if up { by } else { u32::from(!(by as u16)) };
                put16(ip, 36, !checksum::fold(sum));
            }
        };
        assert_eq!(of(&fixed(27)), Err(Wrong::Numbers));
        assert_eq!(of(&fixed(43)), Err(Wrong::Bytes));
    }

    #[test]
    fn wrongs_are_listed_by_number() {
        assert!(Wrong::ALL.iter().enumerate().all(|(i, (wrong, _))| *wrong as usize == i));
    }
}
