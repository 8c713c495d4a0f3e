//! GUE, version 0 (draft-ietf-intarea-gue section 3), the payload of a UDP datagram.

/// Header without options: version, control bit and length of the options in 32 bits; the protocol number of
/// what follows; two bytes of flags.
pub const LEN: usize = 4;
/// Place of the protocol number.
pub const PROTOCOL: usize = 1;
