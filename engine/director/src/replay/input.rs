//! Several captures as one: one after another, each frame with its time since the beginning.

use crate::io::pcap::CaptureError;
use crate::io::pcap::CaptureReader;
use crate::io::pcap::link_name;
use serde::Serialize;
use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

/// Between the end of a capture that is replayed again and its new beginning, in nanoseconds.
const PAUSE: u64 = 1_000_000;
/// The latest time a frame can have: 146 years. A damaged stamp lies centuries ahead, and what is
/// added to times elsewhere must not overflow.
const LATEST: u64 = u64::MAX / 4;

/// The captures.
pub(super) struct Input {
    paths: Vec<PathBuf>,
    next: usize,
    reader: Option<CaptureReader>,
    /// Of the capture at hand: its first stamp, and when that was.
    first: Option<u64>,
    base: u64,
    /// Time since the beginning of the latest frame.
    now: u64,
    /// Bytes of captures that were read to their end.
    done: u64,
    /// Rounds that begin after this one.
    rounds_left: u64,
    again: bool,
    pub(super) total_bytes: u64,
    pub(super) frames: u64,
    pub(super) bytes: u64,
    /// Stamps before that of an earlier frame.
    pub(super) went_back: u64,
    pub(super) foreign: BTreeMap<u32, u64>,
    /// Captures that were not read to their end.
    pub(super) cut: Vec<String>,
    /// Those that hold nothing but what is not Ethernet, and why.
    pub(super) left_out: Vec<LeftOut>,
    pub(super) stopped: bool,
}

/// What a look into the captures shows.
pub(super) struct Survey {
    /// The first stamp.
    pub(super) first: u64,
    /// As in `Input`.
    pub(super) left_out: Vec<LeftOut>,
}

/// A capture without a frame that can be fed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LeftOut {
    pub(super) capture: String,
    pub(super) why: String,
}

/// A frame of the capture.
pub(super) struct Next {
    /// Its length on the wire.
    pub(super) len: u32,
    /// Nanoseconds since the beginning, not less than that of the frame before.
    pub(super) at: u64,
}

impl Input {
    /// The captures, `rounds` times.
    pub(super) fn new(paths: Vec<PathBuf>, rounds: u64) -> Self {
        let size = |p: &PathBuf| std::fs::metadata(p).map_or(0, |m| m.len());
        let total_bytes = paths.iter().map(size).sum::<u64>().saturating_mul(rounds);
        Self {
            paths,
            next: 0,
            reader: None,
            first: None,
            base: 0,
            now: 0,
            done: 0,
            rounds_left: rounds.saturating_sub(1),
            again: false,
            total_bytes,
            frames: 0,
            bytes: 0,
            went_back: 0,
            foreign: BTreeMap::new(),
            cut: Vec::new(),
            left_out: Vec::new(),
            stopped: false,
        }
    }

    /// Looks into the captures before anything else is done: `look` gets each frame until it says
    /// that this is enough.
    ///
    /// # Errors
    /// In words: a capture that cannot be replayed at all; no Ethernet in any of them.
    pub(super) fn survey(
        paths: &[PathBuf],
        mut look: impl FnMut(&[u8]) -> bool,
    ) -> Result<Survey, String> {
        let (mut first, mut enough, mut is_any) = (None, false, false);
        let mut left_out = Vec::new();
        for path in paths {
            let refused = |e: &CaptureError| format!("{}: {e}", path.display());
            let is_pipe = |m: std::fs::Metadata| m.file_type().is_fifo();
            if std::fs::metadata(path).map_or(path.as_os_str() == "-", is_pipe) {
                let why = "a pipe, and captures are looked into before: write it to a file first";
                return Err(format!("{}: {why}", path.display()));
            }
            let mut reader = CaptureReader::open(path).map_err(|e| refused(&e))?;
            let (mut data, mut is_empty) = (Vec::new(), true);
            loop {
                match reader.next(&mut data) {
                    Ok(Some(record)) => {
                        is_empty = false;
                        first = first.or(record.stamp);
                        enough = enough || look(&data);
                        if enough {
                            break;
                        }
                    }
                    Ok(None) => break,
                    // Told when it is replayed up to there.
                    Err(e) if e.is_partial() => break,
                    Err(e) => return Err(refused(&e)),
                }
            }
            match reader.foreign().keys().next() {
                Some(link) if is_empty => left_out.push(LeftOut {
                    capture: path.display().to_string(),
                    why: CaptureError::LinkType(*link).to_string(),
                }),
                _ => is_any = true,
            }
        }
        if is_any {
            return Ok(Survey { first: first.unwrap_or(0), left_out });
        }
        let lines = left_out.iter().map(|l| format!("{}: {}", l.capture, l.why));
        Err(lines.collect::<Vec<_>>().join("\n"))
    }

    /// Puts the next frame into `data`; none at the end.
    ///
    /// # Errors
    /// In words: the next capture cannot be read at all.
    pub(super) fn next(&mut self, data: &mut Vec<u8>) -> Result<Option<Next>, String> {
        loop {
            if self.reader.is_none() && !self.open()? {
                return Ok(None);
            }
            let Some(reader) = &mut self.reader else { return Ok(None) };
            match reader.next(data) {
                Ok(Some(record)) => {
                    self.frames += 1;
                    self.bytes += data.len() as u64;
                    let at = self.time(record.stamp);
                    return Ok(Some(Next { len: record.len, at }));
                }
                Ok(None) => self.close(None),
                Err(e) if e.is_partial() => self.close(Some(&e)),
                Err(e) => return Err(format!("{}: {e}", self.paths[self.next - 1].display())),
            }
        }
    }

    /// Nothing more is read.
    pub(super) fn stop(&mut self) {
        self.close(None);
        self.stopped = true;
    }

    /// How much of it has been read, from 0 to 1.
    pub(super) fn progress(&self) -> f64 {
        let read = self.done + self.reader.as_ref().map_or(0, CaptureReader::consumed);
        read as f64 / self.total_bytes.max(1) as f64
    }

    /// The capture's time so far, in nanoseconds.
    pub(super) fn span(&self) -> u64 {
        self.now
    }

    /// Whether the last frame was the first one of a new round: everything before it is over.
    pub(super) fn begins_again(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }

    fn open(&mut self) -> Result<bool, String> {
        if self.next == self.paths.len() {
            if self.rounds_left == 0 {
                return Ok(false);
            }
            self.rounds_left -= 1;
            self.next = 0;
            self.again = true;
            self.now += PAUSE;
        }
        let path = &self.paths[self.next];
        self.reader =
            Some(CaptureReader::open(path).map_err(|e| format!("{}: {e}", path.display()))?);
        self.next += 1;
        (self.first, self.base) = (None, self.now);
        Ok(true)
    }

    fn close(&mut self, why: Option<&CaptureError>) {
        let Some(reader) = self.reader.take() else { return };
        self.done += reader.consumed();
        for (link, n) in reader.foreign() {
            self.frames += n;
            *self.foreign.entry(*link).or_default() += n;
        }
        let path = self.paths[self.next - 1].display();
        if let Some(why) = why {
            let text = format!("{path}: {why}: what is before that was replayed, the rest not");
            if !self.cut.contains(&text) {
                self.cut.push(text);
            }
        }
    }

    /// Captures follow each other; one that has later frames than the next is no reason to go back.
    fn time(&mut self, stamp: Option<u64>) -> u64 {
        let Some(stamp) = stamp else { return self.now };
        let first = *self.first.get_or_insert(stamp);
        let at = self.base + stamp.saturating_sub(first);
        self.went_back += u64::from(at < self.now || stamp < first);
        self.now = self.now.max(at.min(LATEST));
        self.now
    }
}

/// `12 LINUX_SLL (113)`, by link type.
pub(super) fn foreign(foreign: &BTreeMap<u32, u64>) -> Vec<String> {
    foreign.iter().map(|(link, n)| format!("{n} {} ({link})", link_name(*link))).collect()
}
