//! A case file: one feature, as lines that both directors obey.
//!
//! ```text
//! # What it is about; a comment anywhere.
//! ipvsadm -A -t 203.0.113.1:80 -s rr          a rule
//! try ipvsadm -A -t 203.0.113.1:80 -s rr      a rule: whether it is taken or refused
//! sysctl expire_nodest_conn 1                 a key of net.ipv4.vs
//! mtu lan 1400                                a port's
//! mark 7 tcp 203.0.113.1 8000-8010            what comes by the wan for these ports is marked
//! wait 30                                     seconds
//! wan tcp 192.0.2.1:1000 203.0.113.1:80 S     a frame, as it comes in by a port: see `frames`
//! wan 40x tcp 192.0.2.1+:1000 ...             so many, with the address (or port) before + counted
//!                                             up; of these only the next hops are written down
//! look                                        services, dests and conns, half a second later
//! dests                                       services and dests
//! stats                                       what they have counted, three seconds later
//! ```

use super::frames;
use super::net::Side;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// A case.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file's name without its ending.
    pub name: String,
    /// What to do, in order.
    pub steps: Vec<Step>,
}

/// A line of it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its number in the file, from 1.
    pub line: usize,
    /// As it is written.
    pub text: String,
    /// What it says.
    pub what: What,
}

/// What a line says.
#[derive(Clone, Debug)]
pub enum What {
    /// A rule: the words behind `ipvsadm`.
    Ipvsadm(String),
    /// A rule that may be refused: likewise.
    Try(String),
    /// A key and its value.
    Sysctl(String, String),
    /// What is marked.
    Mark(Mark),
    /// A port's MTU.
    Mtu(Side, u16),
    /// Time passes.
    Wait(Duration),
    /// The frames of one packet come in; all that leaves is written down.
    Frame(Side, Vec<Vec<u8>>),
    /// Frames come in, of each of which the next hop is written down.
    Many(Side, Vec<Vec<u8>>),
    /// Services, dests and conns are written down.
    Look,
    /// Services and dests.
    Dests,
    /// What they have counted.
    Stats,
}

/// A rule that marks packets by where they go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The mark.
    pub mark: u32,
    /// "tcp", "udp" or "sctp".
    pub proto: String,
    /// The address.
    pub addr: IpAddr,
    /// First and last port.
    pub ports: (u16, u16),
}

impl Case {
    /// Reads a file.
    ///
    /// # Errors
    /// With the line that cannot be read.
    pub fn read(path: &Path) -> Result<Self, String> {
        let at = |line: usize| format!("{}:{line}", path.display());
        let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut steps = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.split('#').next().unwrap_or("").trim();
            if !text.is_empty() {
                let what = read(text).map_err(|e| format!("{}: {text}: {e}", at(line)))?;
                steps.push(Step { line, text: text.into(), what });
            }
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, steps })
    }

    /// All cases of the folder, by name.
    ///
    /// # Errors
    /// With the first that cannot be read.
    pub fn all() -> Result<Vec<Self>, String> {
        let folder = super::folder().join("cases");
        let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "case"));
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }
}

fn read(text: &str) -> Result<What, String> {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let two = || rest.trim().split_once(' ').ok_or("two words are missing");
    match verb {
        "ipvsadm" => Ok(What::Ipvsadm(rest.trim().into())),
        "try" => {
            let line = rest.trim().strip_prefix("ipvsadm ").ok_or("try ipvsadm ...")?;
            Ok(What::Try(line.into()))
        }
        "sysctl" => two()
            .map(|(key, value)| What::Sysctl(key.into(), value.trim().into()))
            .map_err(Into::into),
        "mark" => mark(rest).ok_or_else(|| "mark NUMBER PROTO ADDRESS FIRST-LAST".into()),
        "mtu" => {
            let (side, mtu) = two()?;
            Ok(What::Mtu(side.parse()?, mtu.trim().parse().map_err(|_| "no MTU")?))
        }
        "wait" => {
            let seconds = rest.trim().parse().map_err(|_| "no number of seconds")?;
            Ok(What::Wait(Duration::from_secs(seconds)))
        }
        "look" => Ok(What::Look),
        "dests" => Ok(What::Dests),
        "stats" => Ok(What::Stats),
        side => {
            let side: Side = side.parse()?;
            let (first, others) = rest.trim().split_once(' ').unwrap_or((rest, ""));
            match first.strip_suffix('x').and_then(|n| n.parse().ok()) {
                Some(n) => Ok(What::Many(side, frames::many(side, others, n)?)),
                None => Ok(What::Frame(side, frames::one(side, rest)?)),
            }
        }
    }
}

fn mark(rest: &str) -> Option<What> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let [mark, proto, addr, ports] = &words[..] else { return None };
    let (first, last) = ports.split_once('-')?;
    Some(What::Mark(Mark {
        mark: mark.parse().ok()?,
        proto: (*proto).into(),
        addr: addr.parse().ok()?,
        ports: (first.parse().ok()?, last.parse().ok()?),
    }))
}
