//! From words to frames, the same for the kernel and for us.
//!
//! ```text
//! tcp SRC:PORT DST:PORT FLAGS [SETTING...]    flags: letters of SAFRPU, or - for none
//! udp SRC:PORT DST:PORT [SETTING...]
//! sctp SRC:PORT DST:PORT CHUNK [SETTING...]   one chunk, by its number (RFC 9260 section 3.2)
//! icmp TYPE/CODE SRC DST [SETTING...]         of the addresses' family
//! ipip SRC DST [SETTING...]                   IP in IP, only as what an error is about
//! gre SRC DST [SETTING...]                    likewise
//! gue SRC:PORT DST:PORT [SETTING...]          likewise
//! ... about PACKET                            icmp: the packet that it quotes; a tunnel's: that it carries
//! ```
//! Settings: `seq= ack=` numbers; `data=` bytes of payload; `say=` a line as payload, its blanks
//! written as _; `ttl= tos= id=`; `df=0`; `sum=0` (UDP without checksum); `rest=` the 8 hex digits behind an ICMP checksum; `quote=` how many bytes of
//! the packet an error quotes; `options=` of TCP in hex; `cut=` offsets where the packet is cut into
//! fragments, with commas.

use super::net;
use super::net::Side;
use crate::craft::Body;
use crate::craft::Packet;
use crate::golden;
use crate::sctp;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::str::FromStr;

/// What the settings say that is no field of `Packet`.
#[derive(Default)]
struct Extras {
    quote: Option<usize>,
    cuts: Vec<usize>,
    options: Vec<u8>,
}

/// The frames of one packet that comes in by a port.
pub(super) fn one(side: Side, words: &str) -> Result<Vec<Vec<u8>>, String> {
    let words: Vec<&str> = words.split_whitespace().collect();
    let (mut packet, extras) = packet(&words)?;
    packet.eth = (side.mac(), net::sender(packet.src.ip()));
    if extras.cuts.is_empty() {
        return Ok(vec![packet.bytes()]);
    }
    Ok(packet.cut(packet.id.into(), &extras.cuts).iter().map(Packet::bytes).collect())
}

/// The frames of so many packets, which differ in what stands before a `+`.
pub(super) fn many(side: Side, words: &str, n: u16) -> Result<Vec<Vec<u8>>, String> {
    let mut frames = Vec::new();
    for i in 0..n {
        let counted: Result<Vec<_>, _> = words.split_whitespace().map(|w| count_up(w, i)).collect();
        frames.extend(one(side, &counted?.join(" "))?);
    }
    Ok(frames)
}

/// `192.0.2.1+:80` or `192.0.2.1:80+`, so many further on.
fn count_up(word: &str, by: u16) -> Result<String, String> {
    let Some((before, after)) = word.split_once('+') else { return Ok(word.into()) };
    let mut end: SocketAddr = read(&format!("{before}{after}"))?;
    match after.is_empty() {
        true => end.set_port(end.port().wrapping_add(by)),
        false => end.set_ip(match end.ip() {
            IpAddr::V4(a) => (a.to_bits() + u32::from(by)).to_be_bytes().into(),
            IpAddr::V6(a) => (a.to_bits() + u128::from(by)).to_be_bytes().into(),
        }),
    }
    Ok(end.to_string())
}

fn packet(words: &[&str]) -> Result<(Packet, Extras), String> {
    let (words, about) = match words.iter().position(|w| *w == "about") {
        Some(at) => (&words[..at], Some(packet(&words[at + 1..])?)),
        None => (words, None),
    };
    let word = |n: usize| words.get(n).copied().ok_or("words are missing");
    let end = |n: usize| word(n).map_err(Into::into).and_then(read::<SocketAddr>);
    let bare = |n: usize| -> Result<_, String> { Ok(SocketAddr::new(read(word(n)?)?, 0)) };
    let (mut packet, used) = match word(0)? {
        "tcp" => (Packet::tcp(end(1)?, end(2)?, flags(word(3)?)?), 4),
        "udp" => (Packet::udp(end(1)?, end(2)?).payload(&[]), 3),
        "sctp" => (sctp::packet(end(1)?, end(2)?, &sctp::chunk(read(word(3)?)?, &[])), 4),
        "ipip" => {
            let (src, dst) = (bare(1)?, bare(2)?);
            (Packet::new(src, dst, Body::Raw(if src.is_ipv4() { 4 } else { 41 })), 3)
        }
        "gre" => (Packet::new(bare(1)?, bare(2)?, Body::Raw(47)), 3),
        "gue" => (Packet::udp(end(1)?, end(2)?), 3),
        "icmp" => {
            let (kind, code) = word(1)?.split_once('/').ok_or("ICMP's type/code is missing")?;
            let body = Body::Icmp { kind: [read(kind)?, read(code)?], rest: [0; 4] };
            (Packet::new(bare(2)?, bare(3)?, body), 4)
        }
        other => return Err(format!("{other:?} is no packet")),
    };
    if packet.src.is_ipv4() != packet.dst.is_ipv4() {
        return Err("source and destination are of two families".into());
    }
    let mut extras = Extras::default();
    for setting in &words[used..] {
        set(&mut packet, &mut extras, setting)?;
    }
    if let Some((about, _)) = about {
        let whole = about.ip();
        let quoted = &whole[..extras.quote.unwrap_or(whole.len()).min(whole.len())];
        packet.payload = [tunnel_header(words[0], about.src.is_ipv4()), quoted].concat();
    }
    if !extras.options.is_empty() {
        packet = packet.tcp_options(&extras.options);
    }
    Ok((packet, extras))
}

/// What a tunnel has between its outer headers and the packet within.
fn tunnel_header(kind: &str, of_v4: bool) -> &'static [u8] {
    match (kind, of_v4) {
        ("gre", true) => &[0, 0, 0x08, 0x00],
        ("gre", false) => &[0, 0, 0x86, 0xdd],
        ("gue", true) => &[0, 4, 0, 0],
        ("gue", false) => &[0, 41, 0, 0],
        _ => &[],
    }
}

fn set(packet: &mut Packet, extras: &mut Extras, setting: &str) -> Result<(), String> {
    let (name, value) =
        setting.split_once('=').ok_or_else(|| format!("{setting:?}: no setting"))?;
    match (name, &mut packet.body) {
        ("seq", Body::Tcp { seq, .. }) => *seq = read(value)?,
        ("ack", Body::Tcp { ack, .. }) => *ack = read(value)?,
        ("sum", Body::Udp { checksum }) => *checksum = value != "0",
        ("rest", Body::Icmp { rest, .. }) => {
            *rest = golden::bytes(value)?.try_into().map_err(|_| "rest= wants 8 hex digits")?;
        }
        ("options", Body::Tcp { .. }) => extras.options = golden::bytes(value)?,
        ("data", _) => packet.payload = (0..read::<usize>(value)?).map(|i| i as u8).collect(),
        ("say", _) => packet.payload = format!("{}\r\n", value.replace('_', " ")).into_bytes(),
        ("ttl", _) => packet.ttl = read(value)?,
        ("tos", _) => packet.tos = read(value)?,
        ("id", _) => packet.id = read(value)?,
        ("df", _) if value == "0" => packet.fragment = 0,
        ("quote", Body::Icmp { .. }) => extras.quote = Some(read(value)?),
        ("cut", _) => extras.cuts = value.split(',').map(read).collect::<Result<_, _>>()?,
        _ => return Err(format!("{setting:?} does not go with this packet")),
    }
    Ok(())
}

fn flags(letters: &str) -> Result<u8, String> {
    let bit = |letter| match letter {
        '-' => Some(0),
        letter => "FSRPAU".find(letter).map(|at| 1 << at),
    };
    let bits = letters.chars().map(|l| bit(l).ok_or_else(|| format!("{l:?} is no flag of TCP")));
    bits.sum()
}

fn read<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{word:?} cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::see;

    #[test]
    fn words_become_the_packet_they_name() {
        let words = "tcp 192.0.2.1:1000 203.0.113.1:80 SA seq=7 ack=9 ttl=3 data=2";
        let frames = one(Side::Wan, words).unwrap();
        let seen = see::see(&frames[0]);
        assert_eq!((seen.tcp, seen.ttl, &seen.payload[..]), (Some((18, 7, 9)), 3, &[0, 1][..]));
        assert_eq!(seen.sum, see::Sum::Right);
        let words =
            "icmp 3/4 192.0.2.9 203.0.113.1 rest=000005dc about tcp 203.0.113.1:80 192.0.2.1:9 A";
        let seen = see::see(&one(Side::Wan, words).unwrap()[0]);
        assert_eq!((seen.icmp, seen.payload.len()), (Some(([3, 4], [0, 0, 5, 0xdc])), 40));
    }

    #[test]
    fn a_tunnels_packet_bears_its_header() {
        let about = "about udp 192.0.2.1:1000 203.0.113.1:53 data=1";
        let tunnelled = |words: &str| {
            let seen = see::see(&one(Side::Lan, &format!("{words} {about}")).unwrap()[0]);
            (seen.number, seen.payload[..5].to_vec(), seen.payload.len())
        };
        let gue = tunnelled("gue 10.1.0.1:9 10.1.0.11:5555");
        assert_eq!(gue, (17, vec![0, 4, 0, 0, 0x45], 4 + 29));
        assert_eq!(tunnelled("gre 10.1.0.1 10.1.0.11"), (47, vec![0, 0, 8, 0, 0x45], 4 + 29));
    }

    #[test]
    fn what_is_marked_is_counted_up() {
        assert_eq!(count_up("192.0.2.255+:80", 1).unwrap(), "192.0.3.0:80");
        assert_eq!(count_up("[2001:db8::1]:80+", 2).unwrap(), "[2001:db8::1]:82");
        assert_eq!(many(Side::Wan, "udp 192.0.2.1+:1 203.0.113.1:53", 3).unwrap().len(), 3);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for words in
            ["tcp 1:2", "frame", "udp 192.0.2.1:1 [::1]:2", "tcp 192.0.2.1:1 192.0.2.2:2 S ack"]
        {
            assert!(one(Side::Wan, words).is_err(), "{words}");
        }
    }
}
