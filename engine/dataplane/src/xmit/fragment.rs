//! Cutting an IPv4 packet without DF into fragments (RFC 791 section 2.3, RFC 1812 section 4.2.2.7).

use crate::frame::Frame;
use crate::frame::Pool;
use crate::wire::get16;
use crate::wire::ipv4;
use crate::wire::put16;

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
