//! GRE, version 0 (RFC 2784, RFC 2890).

/// Protocol number.
pub const NUMBER: u8 = 47;
/// Header without checksum.
pub const LEN: usize = 4;
/// Header with a checksum, over itself and all that follows, and two bytes reserved.
pub const LEN_SUMMED: usize = 8;
/// Place of the EtherType of what follows.
pub const PROTOCOL: usize = 2;
/// In the first two bytes: there is a checksum.
pub const SUMMED: u16 = 0x8000;
