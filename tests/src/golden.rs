//! Files of frames as literal bytes.

use crate::net;
use crate::rig::Rig;
use crate::see;
use pointsman_dataplane::neigh::PortId;
use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// The bytes of a text of hex digits; `#` begins a comment, white space is free.
///
/// # Errors
/// Names what is no hex digit, or says that one is missing.
pub fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut digits = Vec::new();
    for line in text.lines() {
        for c in line.split('#').next().unwrap_or("").chars().filter(|c| !c.is_whitespace()) {
            digits.push(c.to_digit(16).ok_or_else(|| format!("{c:?} is no hex digit"))? as u8);
        }
    }
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err("an odd number of hex digits".into());
    }
    Ok(pairs.map(|p| p[0] << 4 | p[1]).collect())
}

/// One line of a story.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Line {
    /// A port's MTU.
    Mtu(PortId, u16),
    /// A port's 802.1Q tag.
    Vlan(PortId, u16),
    /// Full-NAT's dests are of the other family.
    Crossed,
    /// A frame that comes in.
    In(PortId, Vec<u8>),
    /// A frame that must come out, and the fields of it that are free.
    Out(PortId, Vec<u8>, Vec<String>),
}

/// A file of golden frames.
#[derive(Clone, Debug)]
pub struct Story {
    name: String,
    lines: Vec<Line>,
}

impl Story {
    /// Where the files are.
    pub fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
    }

    /// Reads a file by its name.
    ///
    /// # Panics
    /// Where it is missing or malformed.
    pub fn read(name: &str) -> Self {
        let path = Self::folder().join(name).with_extension("txt");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut lines = Vec::new();
        let mut free = Vec::new();
        for (n, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let fail = |why: &str| -> ! { panic!("{}:{}: {why}", path.display(), n + 1) };
            let number = |text: &str| text.parse().unwrap_or_else(|_| fail("a number is wanted"));
            let frame = |hex: &str| bytes(hex).unwrap_or_else(|e| fail(&e));
            match words[..] {
                [] | ["#", ..] => {}
                ["free", ..] => free = words[1..].iter().map(|w| (*w).to_owned()).collect(),
                ["mtu", port, n] => lines.push(Line::Mtu(port_of(port), number(n))),
                ["crossed"] => lines.push(Line::Crossed),
                ["vlan", port, n] => lines.push(Line::Vlan(port_of(port), number(n))),
                ["in", port, hex] => lines.push(Line::In(port_of(port), frame(hex))),
                ["out", port, hex] => {
                    let free = std::mem::take(&mut free);
                    lines.push(Line::Out(port_of(port), frame(hex), free));
                }
                _ => fail("no such line in a story"),
            }
        }
        Self { name: name.into(), lines }
    }
}

fn port_of(name: &str) -> PortId {
    match name {
        "wan" => net::WAN,
        "lan" => net::LAN,
        _ => panic!("no such port in a story: {name}"),
    }
}

/// Tells a story to a rig of one worker.
///
/// # Panics
/// Where anything else comes out than it says.
pub fn run(story: &Story) {
    let mut rig = Rig::with(|s| {
        for line in &story.lines {
            match line {
                Line::Crossed => net::cross(s),
                Line::Mtu(port, mtu) => net::set_mtu(s, *port, *mtu),
                Line::Vlan(port, id) => s.ports[usize::from(port.0)].vlan = Some(*id),
                _ => {}
            }
        }
    });
    let (mut waiting, mut told, mut fed) = (VecDeque::new(), 0, 0);
    for line in &story.lines {
        match line {
            Line::In(port, frame) => {
                assert!(waiting.is_empty(), "{}: not expected: {waiting:?}", story.name);
                waiting.extend(rig.feed(*port, frame).sent);
                fed += 1;
            }
            Line::Out(port, expected, free) => {
                told += 1;
                let at = format!("{}, out {told} (after in {fed})", story.name);
                let Some(sent) = waiting.pop_front() else {
                    panic!("{at}: nothing came out; dropped {:?}", rig.drops());
                };
                assert_eq!(sent.port, *port, "{at}: port");
                let (got, expected) = (blank(&sent.bytes, free), blank(expected, free));
                assert_eq!(see::hex(&got), see::hex(&expected), "{at}");
            }
            Line::Mtu(..) | Line::Vlan(..) | Line::Crossed => {}
        }
    }
    assert!(waiting.is_empty(), "{}: not expected: {waiting:?}", story.name);
    assert!(told > 0, "{}: expects nothing", story.name);
}

/// The frame with its free fields blanked.
fn blank(frame: &[u8], free: &[String]) -> Vec<u8> {
    let mut f = frame.to_vec();
    let l3 = if f[12..14] == [0x81, 0] { 18 } else { 14 };
    let v4 = f[l3] >> 4 == 4;
    for word in free {
        match (word.as_str(), v4) {
            ("id", true) => f[l3 + 4..l3 + 6].fill(0),
            // Of a fragment header.
            ("id", false) => f[l3 + 44..l3 + 48].fill(0),
            ("df", true) => f[l3 + 6] &= !0x40,
            ("tos", true) => f[l3 + 1] = 0,
            ("tos", false) => {
                f[l3] &= 0xf0;
                f[l3 + 1] &= 0x0f;
            }
            _ => panic!("no field may be free by the name {word}"),
        }
    }
    if v4 && !free.is_empty() {
        f[l3 + 10..l3 + 12].fill(0);
    }
    f
}
