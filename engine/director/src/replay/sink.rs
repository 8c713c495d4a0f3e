//! Where frames go that leave: counted, and written to `--out`.

use crate::io::pcap::NgWriter;
use std::fs::File;
use std::io;
use std::io::BufWriter;

/// Counts and writes.
pub(super) struct Sink {
    pub(super) writer: Option<NgWriter<BufWriter<File>>>,
    /// The stamp of the capture's first frame, in nanoseconds since 1970.
    pub(super) first_stamp: u64,
    pub(super) frames: u64,
    pub(super) bytes: u64,
    /// Frames by port.
    pub(super) ports: Vec<u64>,
}

impl Sink {
    pub(super) fn new(ports: usize) -> Self {
        Self { writer: None, first_stamp: 0, frames: 0, bytes: 0, ports: vec![0; ports] }
    }

    pub(super) fn wants_comments(&self) -> bool {
        self.writer.is_some()
    }

    pub(super) fn frame(
        &mut self,
        port: usize,
        stamp: u64,
        data: &[u8],
        comment: &str,
    ) -> io::Result<()> {
        self.frames += 1;
        self.bytes += data.len() as u64;
        self.ports[port] += 1;
        self.writer.as_mut().map_or(Ok(()), |w| w.frame(port, stamp, data, comment))
    }
}
