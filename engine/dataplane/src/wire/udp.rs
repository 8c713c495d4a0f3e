//! UDP (RFC 768).

/// Protocol number.
pub const NUMBER: u8 = 17;
/// Header.
pub const LEN: usize = 8;
/// Place of the length.
pub const LENGTH: usize = 4;
/// Place of the checksum; 0 means none, which v6 does not allow (RFC 8200 section 8.1).
pub const CHECKSUM: usize = 6;
