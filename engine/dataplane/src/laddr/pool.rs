//! Which addresses of a pool conns to a dest have.

use crate::tuple::Addr;

/// Addresses over which conns toward one dest take turns.
pub(super) const SPREAD: usize = 16;

/// The addresses of a pool that serve a dest: a few that conns take turns over, `turn` says with
/// which to begin, then others; each with its number among them. Each dest's are others of the pool.
pub(super) fn reach(
    laddrs: &[Addr],
    turn: usize,
    daddr: Addr,
) -> impl Iterator<Item = (usize, Addr)> + '_ {
    // As many are walked as are used up, which the conn table bounds.
    (0..laddrs.len()).filter_map(move |i| nth(laddrs, turn, daddr, i))
}

/// The `i`-th of these.
#[inline(always)]
pub(super) fn nth(laddrs: &[Addr], turn: usize, daddr: Addr, i: usize) -> Option<(usize, Addr)> {
    let len = laddrs.len();
    if len == 0 {
        return None;
    }
    let spread = len.min(SPREAD);
    let bits = daddr.folded();
    // Neighbours are to be far from each other (Fibonacci hashing), and nothing is divided.
    let spot = ((bits ^ bits >> 32) as u32).wrapping_mul(0x9e37_79b1);
    let first = ((spot as u64 * len as u64) >> 32) as usize;
    let i = match i < spread {
        true if turn + i < spread => turn + i,
        true => (turn + i) % spread,
        false => i,
    };
    let at = first + i;
    Some((i, laddrs[if at < len { at } else { at - len }]))
}
