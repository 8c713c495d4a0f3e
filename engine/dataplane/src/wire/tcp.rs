//! TCP (RFC 9293).

/// Header without options.
pub const LEN: usize = 20;
/// Place of the sequence number.
pub const SEQ: usize = 4;
/// Place of the acknowledgement number.
pub const ACK: usize = 8;
/// Place of the data offset.
pub const OFFSET: usize = 12;
/// Place of the control bits.
pub const FLAGS: usize = 13;
/// Place of the window.
pub const WINDOW: usize = 14;
/// Place of the checksum.
pub const CHECKSUM: usize = 16;

/// Control bit: no more data.
pub const FIN: u8 = 0x01;
/// Control bit: synchronise.
pub const SYN: u8 = 0x02;
/// Control bit: reset.
pub const RST: u8 = 0x04;
/// Control bit: push.
pub const PSH: u8 = 0x08;
/// Control bit: acknowledgement is significant.
pub const ACK_BIT: u8 = 0x10;

/// Header length in bytes.
#[inline(always)]
pub fn header_len(t: &[u8]) -> usize {
    (t[OFFSET] >> 4) as usize * 4
}
