//! Cutting packets into fragments: IPv4 without DF (RFC 791 section 2.3, RFC 1812 section 4.2.2.7),
//! and IPv6 of our own.

use crate::frame::Frame;
use crate::frame::Pool;
use crate::wire::get16;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::wire::put16;
use crate::wire::put32;

/// Cuts off everything beyond `mtu` from the packet at `l3` and gives it, as further fragments, to
/// `emit`; `frame` is the first one afterwards. False where the pool had no frame: `frame` must
/// then be dropped, and the fragments given to `emit` so far are of no use to anybody.
pub fn split<F: Frame, P: Pool<Frame = F>>(
    frame: &mut F,
    l3: usize,
    mtu: usize,
    pool: &mut P,
    mut emit: impl FnMut(F),
) -> bool {
    let ip = &frame.data()[l3..];
    let header = ipv4::header_len(ip);
    let total = get16(ip, ipv4::TOTAL) as usize;
    let offset = get16(ip, ipv4::FRAGMENT) & ipv4::OFFSET;
    let more = get16(ip, ipv4::FRAGMENT) & ipv4::MF;
    let piece = (mtu - header) / 8 * 8;
    let mut at = piece;
    while header + at < total {
        let len = piece.min(total - header - at);
        let Some(mut f) = pool.alloc() else { return false };
        if !f.set_len(l3 + header + len) {
            return false;
        }
        let (source, target) = (frame.data(), f.data_mut());
        target[..l3 + header].copy_from_slice(&source[..l3 + header]);
        let from = l3 + header + at;
        target[l3 + header..].copy_from_slice(&source[from..from + len]);
        let ip = &mut target[l3..];
        blank_options(&mut ip[ipv4::LEN..header]);
        let last = header + at + len == total;
        let flags = if last { more } else { ipv4::MF };
        set_piece(ip, header, len, flags | (offset + (at / 8) as u16));
        emit(f);
        at += piece;
    }
    if !frame.set_len(l3 + header + piece) {
        return false;
    }
    set_piece(&mut frame.data_mut()[l3..], header, piece, ipv4::MF | offset);
    true
}

/// The same for an IPv6 packet of our own making at `l3` that has no extension headers (RFC 8200
/// section 4.5); `id` is its identification. One that fits stays as it is.
pub fn split_v6<F: Frame, P: Pool<Frame = F>>(
    frame: &mut F,
    l3: usize,
    mtu: usize,
    id: u32,
    pool: &mut P,
    mut emit: impl FnMut(F),
) -> bool {
    let ip = &frame.data()[l3..];
    let (next, total) = (ip[ipv6::NEXT], usize::from(get16(ip, ipv6::PAYLOAD)));
    if ipv6::LEN + total <= mtu {
        return true;
    }
    let (begin, header) = (l3 + ipv6::LEN, l3 + ipv6::LEN + FRAGMENT_HEADER);
    let piece = (mtu - ipv6::LEN - FRAGMENT_HEADER) / 8 * 8;
    for from in (piece..total).step_by(piece) {
        let len = piece.min(total - from);
        let Some(mut f) = pool.alloc() else { return false };
        if !f.set_len(header + len) {
            return false;
        }
        let (source, target) = (frame.data(), f.data_mut());
        target[..begin].copy_from_slice(&source[..begin]);
        target[header..].copy_from_slice(&source[begin + from..begin + from + len]);
        let more = if from + len < total { ipv6::MORE } else { 0 };
        set_piece_v6(&mut target[l3..], next, len, (from as u16 | more, id));
        emit(f);
    }
    if !frame.set_len(begin + piece) || !frame.prepend(FRAGMENT_HEADER) {
        return false;
    }
    let data = frame.data_mut();
    data.copy_within(FRAGMENT_HEADER..FRAGMENT_HEADER + begin, 0);
    set_piece_v6(&mut data[l3..], next, piece, (ipv6::MORE, id));
    true
}

/// Length of IPv6's fragment header.
const FRAGMENT_HEADER: usize = 8;

fn set_piece_v6(ip: &mut [u8], next: u8, len: usize, (place, id): (u16, u32)) {
    ip[ipv6::NEXT] = ipv6::FRAGMENT;
    put16(ip, ipv6::PAYLOAD, (FRAGMENT_HEADER + len) as u16);
    let header = &mut ip[ipv6::LEN..];
    [header[0], header[1]] = [next, 0];
    put16(header, 2, place);
    put32(header, 4, id);
}

fn set_piece(ip: &mut [u8], header: usize, len: usize, fragment: u16) {
    put16(ip, ipv4::TOTAL, (header + len) as u16);
    put16(ip, ipv4::FRAGMENT, fragment);
    ipv4::set_checksum(ip, header);
}

/// Options without the copied bit stay with the first fragment only; the others get no-operations
/// in their place, as the kernel does (`ip_options_fragment`).
fn blank_options(mut options: &mut [u8]) {
    while let Some(kind) = options.first().copied() {
        let len = match kind {
            0 => return,
            1 => 1,
            _ => (options.get(1).copied().unwrap_or(1) as usize).clamp(1, options.len()),
        };
        if kind & 0x80 == 0 {
            options[..len].fill(1);
        }
        options = &mut options[len..];
    }
}
