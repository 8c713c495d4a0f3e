//! The judge: cases that are played to the kernel's IPVS and to the data plane alike, and what either
//! answered as text.
//!
//! A case (`case`) is a list of `ipvsadm` rules, frames and steps of time. `play` has a director obey
//! it and writes down what came of each step. The kernel's record is made in a guest (`kernel`,
//! `scripts/oracle --record`) and kept; ours (`ours`) is made by a test and must be the same, byte by
//! byte, but for what `record` masks in both.

pub mod case;
pub mod coverage;
pub mod differs;
mod frames;
mod ipvsadm;
pub mod kernel;
pub mod net;
pub mod ours;
mod record;

use case::Case;
use case::Step;
use net::Side;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// Passes before conns are looked at: the kernel cuts what is left of a second, and must not do so at
/// its very begin.
const MOMENT: Duration = Duration::from_millis(500);
/// Passes before counts are read: the kernel brings them up to date every two seconds.
const ESTIMATION: Duration = Duration::from_secs(3);

/// A director that is judged, or judges. An error says what it lacks.
pub trait Director {
    /// Obeys a command line of `ipvsadm`, without that word. One that is refused changes nothing.
    fn ipvsadm(&mut self, line: &str) -> Result<(), String>;
    /// Sets a key of `net.ipv4.vs`.
    fn sysctl(&mut self, key: &str, value: &str) -> Result<(), String>;
    /// Marks what comes by the wan for these addresses and ports.
    fn mark(&mut self, mark: &case::Mark) -> Result<(), String>;
    /// Sets a port's MTU.
    fn mtu(&mut self, side: Side, mtu: u16) -> Result<(), String>;
    /// Lets time pass.
    fn pass(&mut self, time: Duration) -> Result<(), String>;
    /// Takes a frame in; what left for it, in order per port.
    fn feed(&mut self, side: Side, frame: &[u8]) -> Result<Vec<(Side, Vec<u8>)>, String>;
    /// Its conns: a line each, in any order, with the seconds left counted up.
    fn conns(&mut self) -> Result<Vec<String>, String>;
    /// Its services and their dests with weights and counts of conns: a line each.
    fn dests(&mut self) -> Result<Vec<String>, String>;
    /// What it has counted for them: conns, packets in and out, bytes in and out.
    fn stats(&mut self) -> Result<Vec<String>, String>;
}

/// The folder of cases, recorded answers and lists.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle")
}

/// Plays a case: the record of every step.
///
/// # Errors
/// With the step, where the director lacks what it takes.
pub fn play(case: &Case, director: &mut dyn Director) -> Result<String, String> {
    let mut record = String::new();
    for step in &case.steps {
        let came = obey(step, director);
        let came = came.map_err(|e| format!("line {}: {}: {e}", step.line, step.text))?;
        record.push_str(&came);
    }
    Ok(record)
}

fn obey(step: &Step, director: &mut dyn Director) -> Result<String, String> {
    let heading = format!("> {}\n", step.text);
    match &step.what {
        case::What::Ipvsadm(line) => director.ipvsadm(line)?,
        case::What::Try(line) => {
            let said = director.ipvsadm(line).map_or("refused", |()| "taken");
            return Ok(format!("{heading}  {said}\n"));
        }
        case::What::Sysctl(key, value) => director.sysctl(key, value)?,
        case::What::Mark(mark) => director.mark(mark)?,
        case::What::Mtu(side, mtu) => director.mtu(*side, *mtu)?,
        case::What::Wait(time) => director.pass(*time)?,
        case::What::Frame(side, frames) => {
            let mut out = Vec::new();
            for frame in frames {
                out.extend(director.feed(*side, frame)?);
            }
            return Ok(heading + &record::whole(&out));
        }
        case::What::Many(side, frames) => {
            let answers = frames.iter().map(|frame| director.feed(*side, frame));
            let answers: Vec<_> = answers.collect::<Result<_, _>>()?;
            return Ok(heading + &record::hops(&answers));
        }
        case::What::Look => {
            director.pass(MOMENT)?;
            let conns = director.conns()?;
            return Ok(heading + &sorted(director.dests()?) + &sorted(conns));
        }
        case::What::Dests => return Ok(heading + &sorted(director.dests()?)),
        case::What::Stats => {
            director.pass(ESTIMATION)?;
            return Ok(heading + &sorted(director.stats()?));
        }
    }
    Ok(heading)
}

fn sorted(mut lines: Vec<String>) -> String {
    lines.sort();
    lines.iter().map(|line| format!("  {line}\n")).collect()
}
