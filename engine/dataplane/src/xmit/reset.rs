//! TCP resets, made from nothing: a header without options or data.

use super::answer::TTL;
use super::answer::write_ip;
use crate::frame::Frame;
use crate::parse::Kind;
use crate::parse::Parsed;
use crate::tuple::Family;
use crate::tuple::Tuple;
use crate::wire::checksum;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::wire::put16;
use crate::wire::put32;
use crate::wire::tcp;

/// Makes the frame a reset of `tuple` whose IP packet lies at `l3`; false where it has no room.
/// `flags` are the control bits, RST among them.
pub fn make<F: Frame>(
    frame: &mut F,
    l3: usize,
    tuple: &Tuple,
    seq: u32,
    ack: u32,
    flags: u8,
) -> bool {
    let header = header_len(tuple);
    if !frame.set_len(l3 + header + tcp::LEN) {
        return false;
    }
    let ip = &mut frame.data_mut()[l3..];
    let segment = &mut ip[header..];
    segment.fill(0);
    put16(segment, 0, tuple.sport);
    put16(segment, 2, tuple.dport);
    put32(segment, tcp::SEQ, seq);
    put32(segment, tcp::ACK, ack);
    segment[tcp::OFFSET] = (tcp::LEN as u8 / 4) << 4;
    segment[tcp::FLAGS] = flags;
    let pseudo = checksum::pseudo(tuple.src, tuple.dst, tuple.proto as u8, tcp::LEN);
    let sum = checksum::finish(checksum::sum(segment, pseudo));
    put16(segment, tcp::CHECKSUM, sum);
    write_ip(ip, tuple.src, tuple.dst, 0, tuple.proto as u8, tcp::LEN);
    true
}

/// What `parse` would find in it.
pub fn parsed<F: Frame>(frame: &F, l3: usize, tuple: &Tuple) -> Parsed {
    Parsed {
        family: tuple.dst.family(),
        kind: Kind::Flow,
        l3: l3 as u16,
        l4: (l3 + header_len(tuple)) as u16,
        end: frame.data().len() as u16,
        ttl: TTL,
        flags: tcp::RST,
        tuple: *tuple,
    }
}

fn header_len(tuple: &Tuple) -> usize {
    match tuple.dst.family() {
        Family::V4 => ipv4::LEN,
        Family::V6 => ipv6::LEN,
    }
}
