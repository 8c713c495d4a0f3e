//! What left, as text: per packet one line that people can read, and its bytes after the Ethernet
//! header.

use super::net;
use super::net::Side;
use crate::see;
use crate::see::Seen;
use crate::see::Sum;

/// TTL of what directors make; nothing passes with it, since cases have theirs below.
const MADE: u8 = 64;

/// Fields that a director picks freely. Both records bear zeros there.
///
/// | field | of | why |
/// | --- | --- | --- |
/// | identification, DF, header checksum | v4 ICMP that it makes: any of TTL 64 | a datagram in one piece may bear any (RFC 6864) |
/// | traffic class, flow label | v6 packets that it makes: any of hop limit 64 | the label is a hash of a secret (RFC 6437); ICMPv6 has no class of its own |
/// | source, and the sum over it | time exceeded and too big that it makes | a router speaks as itself, see `parity` |
/// | identification, header checksum | outer v4 headers without DF | a count of the director's own |
/// | source port of a GUE tunnel, checksum | its outer header | a hash of a secret (draft-ietf-intarea-gue section 5.11) |
/// | TTL, header and transport checksum | what an error quotes | as it came or as it left, see `parity` |
/// | ICMP's checksum, where it was right | errors that quote a packet | it covers those; one that is wrong stays, and differs |
fn mask(ip: &mut [u8]) {
    match ip {
        [0x45, _, _, _, _, _, _, _, MADE, 1, ..] if ip.len() > 28 => {
            ip[4..8].fill(0);
            ip[10..12].fill(0);
            if matches!(ip[20..22], [3, 4] | [11, 0]) {
                ip[12..16].fill(0);
            }
        }
        [0x45, _, _, _, _, _, flags, _, _, 4 | 41 | 47, ..] if *flags & 0x40 == 0 => {
            ip[4..6].fill(0);
            ip[10..12].fill(0);
        }
        [0x60..=0x6f, _, _, _, _, _, _, MADE, ..] if ip.len() > 48 => {
            ip[0] = 0x60;
            ip[1..4].fill(0);
            if ip[6] == 58 && matches!(ip[40], 2 | 3) {
                ip[8..24].fill(0);
            }
        }
        _ => {}
    }
}

/// Where GUE goes in the cases.
const GUE: [u8; 2] = 5555u16.to_be_bytes();

/// The outer UDP header of a tunnel; of the checksum only whether there is one.
fn mask_gue(ip: &mut [u8]) {
    let l4 = if ip.first() == Some(&0x45) { 20 } else { 40 };
    let is_udp = ip.get(if l4 == 20 { 9 } else { 6 }) == Some(&17);
    if let Some(udp) = ip.get_mut(l4..l4 + 8).filter(|udp| is_udp && udp[2..4] == GUE) {
        udp[..2].fill(0);
        let has_sum = udp[6..8] != [0, 0];
        udp[6..8].fill(if has_sum { 0xff } else { 0 });
        if l4 == 20 && ip[6] & 0x40 == 0 {
            ip[4..6].fill(0);
            ip[10..12].fill(0);
        }
    }
}

/// The same within an ICMP error, and its own checksum, which covers all that: it must have been right.
fn mask_quoted(ip: &mut [u8], sum: Sum) {
    let v4 = ip.first() == Some(&0x45);
    let l4 = if v4 { 20 } else { 40 };
    let kind = ip.get(l4).copied().unwrap_or_default();
    let is_error = if v4 { [3, 4, 11].contains(&kind) } else { kind < 128 };
    let is_icmp = ip.get(if v4 { 9 } else { 6 }) == Some(if v4 { &1 } else { &58 });
    if !(is_icmp && is_error && sum == Sum::Right) {
        return;
    }
    ip[l4 + 2..l4 + 4].fill(0);
    let quoted = &mut ip[l4 + 8..];
    let (ttl, number, inner) = if v4 { (8, 9, 20) } else { (7, 6, 40) };
    if quoted.len() < inner {
        return;
    }
    quoted[ttl] = 0;
    if v4 {
        quoted[10..12].fill(0);
    }
    let at = match quoted[number] {
        6 => inner + 16,
        17 => inner + 6,
        _ => return,
    };
    if let Some(sum) = quoted.get_mut(at..at + 2) {
        sum.fill(0);
    }
}

/// All of what left, port by port.
pub(super) fn whole(out: &[(Side, Vec<u8>)]) -> String {
    let of = |side| out.iter().filter(move |(s, _)| *s == side).map(move |(_, f)| packet(side, f));
    Side::ALL.into_iter().flat_map(of).collect()
}

/// The next hop of what left for each of many frames, ten a line: - for nothing.
pub(super) fn hops(answers: &[Vec<(Side, Vec<u8>)>]) -> String {
    let hop = |out: &Vec<(Side, Vec<u8>)>| match &out[..] {
        [] => "-".into(),
        out => out.iter().map(|(_, frame)| to(frame)).collect::<Vec<_>>().join("+"),
    };
    let hops: Vec<String> = answers.iter().map(hop).collect();
    hops.chunks(20).map(|row| format!("  {}\n", row.join(" "))).collect()
}

fn to(frame: &[u8]) -> String {
    let mac = frame.first_chunk::<6>();
    mac.map_or_else(|| see::hex(frame), |mac| net::name(*mac))
}

fn packet(side: Side, frame: &[u8]) -> String {
    let mut frame = frame.to_vec();
    let ip = frame.len().min(14);
    if let Ok(seen) = see::try_see(&frame) {
        mask_quoted(&mut frame[ip..], seen.sum);
    }
    mask_gue(&mut frame[ip..]);
    mask(&mut frame[ip..]);
    let said = see::try_see(&frame).map_or("?".into(), |seen| say(&seen));
    format!("  {side} to {}: {said}\n    {}\n", to(&frame), see::hex(&frame[ip..]))
}

fn say(seen: &Seen) -> String {
    let (src, dst) = (seen.src.ip(), seen.dst.ip());
    let what = match (seen.tcp, seen.icmp) {
        (Some((flags, ..)), _) => {
            let letters = "FSRPAU".chars().enumerate();
            let set: String =
                letters.filter(|(n, _)| flags >> n & 1 == 1).map(|(_, l)| l).collect();
            format!("tcp {} {} {set}", seen.src, seen.dst)
        }
        (_, Some(([kind, code], _))) => format!("icmp {kind}/{code} {src} {dst}"),
        _ if seen.number == 17 => format!("udp {} {}", seen.src, seen.dst),
        _ => format!("ip {} {src} {dst}", seen.number),
    };
    format!("{what} ttl {} len {}", seen.ttl, seen.ip.len())
}
