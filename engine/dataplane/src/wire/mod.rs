//! One file per protocol: field places, numbers, and functions on byte slices. No state.
//!
//! Contract on panics: `parse` establishes that the headers of a frame lie within it; the getters
//! and setters here index from there and would panic on a shorter slice, so nothing calls them
//! before `parse` has said yes or before it has made the room itself.

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod ftp;
pub mod gre;
pub mod gue;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod mld;
pub mod nd;
pub mod options;
pub mod proxy;
pub mod sctp;
pub mod tcp;
pub mod udp;

/// The first `N` bytes of a header that `parse` says is there: one check instead of one per field.
#[inline(always)]
pub fn head<const N: usize>(b: &[u8]) -> &[u8; N] {
    match b.first_chunk() {
        Some(head) => head,
        None => too_short(),
    }
}

/// The same, writable.
#[inline(always)]
pub fn head_mut<const N: usize>(b: &mut [u8]) -> &mut [u8; N] {
    match b.first_chunk_mut() {
        Some(head) => head,
        None => too_short(),
    }
}

#[cold]
#[inline(never)]
fn too_short() -> ! {
    panic!("a header that lies within its frame")
}

/// Two bytes at `at`, network order.
#[inline(always)]
pub fn get16(b: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(raw(b, at))
}

/// Bytes at `at`, at once: one by one, the compiler may put what it knows of some in their place, and shift
/// the others together.
#[inline(always)]
fn raw<const LEN: usize>(b: &[u8], at: usize) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes.copy_from_slice(&b[at..at + LEN]);
    bytes
}

/// Two bytes at `at` as they stand in memory.
#[inline(always)]
pub fn raw16(b: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(raw(b, at))
}

/// Four bytes at `at`, network order.
#[inline(always)]
pub fn get32(b: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(raw(b, at))
}

/// Four bytes at `at` as they stand in memory.
#[inline(always)]
pub fn raw32(b: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(raw(b, at))
}

/// Eight bytes likewise.
#[inline(always)]
pub fn raw64(b: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(raw(b, at))
}

/// Sixteen bytes at `at`, network order.
#[inline(always)]
pub fn get128(b: &[u8], at: usize) -> u128 {
    u128::from_be_bytes(raw(b, at))
}

/// Writes two bytes at `at`, network order.
#[inline(always)]
pub fn put16(b: &mut [u8], at: usize, v: u16) {
    b[at..at + 2].copy_from_slice(&v.to_be_bytes());
}

/// Writes four bytes at `at`, network order.
#[inline(always)]
pub fn put32(b: &mut [u8], at: usize, v: u32) {
    b[at..at + 4].copy_from_slice(&v.to_be_bytes());
}

/// Writes two bytes at `at` as they stand in memory.
#[inline(always)]
pub fn put_raw16(b: &mut [u8], at: usize, v: u16) {
    b[at..at + 2].copy_from_slice(&v.to_ne_bytes());
}

/// Writes four bytes likewise.
#[inline(always)]
pub fn put_raw32(b: &mut [u8], at: usize, v: u32) {
    b[at..at + 4].copy_from_slice(&v.to_ne_bytes());
}

/// Writes eight bytes likewise.
#[inline(always)]
pub fn put_raw64(b: &mut [u8], at: usize, v: u64) {
    b[at..at + 8].copy_from_slice(&v.to_ne_bytes());
}

/// Writes sixteen bytes at `at`, network order.
#[inline(always)]
pub fn put128(b: &mut [u8], at: usize, v: u128) {
    b[at..at + 16].copy_from_slice(&v.to_be_bytes());
}
