//! Captures: pcap and pcapng in and out.
//!
//! Both formats come in either byte order; the crate `pcap-parser` takes the file apart, what a
//! block means (interfaces, clocks, which packet was cut) is decided here. Only Ethernet is taken;
//! what else there is, in a whole pcap or of interfaces of a pcapng, is counted by link type.

mod blocks;
mod writer;

pub use writer::CaptureWriter;
pub use writer::NgWriter;

use blocks::Format;
use blocks::Step;
use pcap_parser::PcapError;
use pcap_parser::create_reader;
use pcap_parser::traits::PcapReaderIterator;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::io::Cursor;
use std::io::Read;
use std::path::Path;

/// LINKTYPE_ETHERNET.
const ETHERNET: u32 = 1;
/// What is read at once.
const BUFFER: usize = 1 << 20;
/// The largest block taken, Wireshark's limit. More is a damaged length, not a packet.
const MAX_BLOCK: usize = 16 << 20;

/// Why a capture cannot be read, or not further.
#[derive(Debug)]
pub enum CaptureError {
    /// The file cannot be opened or read.
    Read(io::Error),
    /// It is no capture; what it is, where that is known.
    NotACapture(Option<&'static str>),
    /// It holds frames of another link type than Ethernet (the number is tcpdump.org's).
    LinkType(u32),
    /// It ends within a block that begins at this byte. What came before is good.
    Truncated(u64),
    /// The block at this byte contradicts itself. What came before is good.
    Damaged(u64),
}

impl CaptureError {
    /// Whether frames may have come before it, which stay good.
    pub fn is_partial(&self) -> bool {
        matches!(self, Self::Truncated(_) | Self::Damaged(_) | Self::Read(_))
    }
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(e) => write!(f, "cannot be read: {e}"),
            Self::NotACapture(Some(what)) => write!(f, "compressed ({what}): unpack it first"),
            Self::NotACapture(None) => {
                f.write_str("neither pcap nor pcapng: give a capture of tcpdump or Wireshark")
            }
            Self::LinkType(n) => {
                write!(f, "link type {} ({n}): only Ethernet can be replayed", link_name(*n))?;
                // What tcpdump and Wireshark write for -i any.
                let any = matches!(n, 113 | 276);
                f.write_str(if any { "; capture on one interface, not on \"any\"" } else { "" })
            }
            Self::Truncated(at) => write!(f, "cut off in the middle of its block at byte {at}"),
            Self::Damaged(at) => write!(f, "damaged at byte {at}"),
        }
    }
}

impl std::error::Error for CaptureError {}

/// What a capture says of a frame besides its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Nanoseconds since 1970, at most `i64::MAX`; none where the capture keeps no time.
    pub stamp: Option<u64>,
    /// Bytes it had on the wire; what was captured of it may be less.
    pub len: u32,
    /// The interface it was captured on, in its section; 0 in a classic pcap.
    pub interface: u32,
}

/// Reads a capture from its beginning to its end, in constant memory.
pub struct CaptureReader {
    blocks: Box<dyn PcapReaderIterator + Send>,
    capacity: usize,
    format: Format,
    foreign: BTreeMap<u32, u64>,
}

impl CaptureReader {
    /// Opens a file.
    ///
    /// # Errors
    /// When it cannot be read, or is no capture.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let mut file = File::open(path).map_err(CaptureError::Read)?;
        // Read once by hand: the parser keeps no cause of a failed read, such as a directory.
        let mut magic = Vec::new();
        (&mut file).take(8).read_to_end(&mut magic).map_err(CaptureError::Read)?;
        Self::new(Cursor::new(magic.clone()).chain(file)).map_err(|e| match e {
            CaptureError::NotACapture(_) => CaptureError::NotACapture(compressed(&magic)),
            e => e,
        })
    }

    /// Reads from elsewhere.
    ///
    /// # Errors
    /// As `open`.
    pub fn new(from: impl Read + Send + 'static) -> Result<Self, CaptureError> {
        let blocks = create_reader(BUFFER, Whole(from)).map_err(|e| match e {
            PcapError::ReadError => read_error(),
            _ => CaptureError::NotACapture(None),
        })?;
        let (format, foreign) = (Format::default(), BTreeMap::new());
        let mut reader = Self { blocks, capacity: BUFFER, format, foreign };
        // No format has a frame in its first block; a classic pcap says its link type there, for all.
        reader.block(&mut Vec::new())?;
        reader.foreign.extend(reader.format.foreign().map(|link_type| (link_type, 0)));
        Ok(reader)
    }

    /// Puts the next Ethernet frame into `data`; none at the end.
    ///
    /// # Errors
    /// Reading is over after the first.
    pub fn next(&mut self, data: &mut Vec<u8>) -> Result<Option<Record>, CaptureError> {
        loop {
            match self.block(data)? {
                Step::Frame(record) => return Ok(Some(record)),
                Step::Foreign(link_type) => *self.foreign.entry(link_type).or_default() += 1,
                Step::Nothing => {}
                Step::End => return Ok(None),
            }
        }
    }

    /// Frames passed over so far, by link type, because they are not Ethernet.
    pub fn foreign(&self) -> &BTreeMap<u32, u64> {
        &self.foreign
    }

    /// Bytes of the file taken in so far.
    pub fn consumed(&self) -> u64 {
        self.blocks.consumed() as u64
    }

    fn block(&mut self, data: &mut Vec<u8>) -> Result<Step, CaptureError> {
        let at = self.blocks.consumed() as u64;
        loop {
            let too_small = match self.blocks.next() {
                Ok((size, block)) => {
                    let step = self.format.take(block, data, at)?;
                    self.blocks.consume(size);
                    return Ok(step);
                }
                Err(PcapError::Eof) => return Ok(Step::End),
                Err(PcapError::UnexpectedEof) => return Err(CaptureError::Truncated(at)),
                Err(PcapError::Incomplete(_)) => false,
                Err(PcapError::BufferTooSmall) => true,
                Err(_) => return Err(CaptureError::Damaged(at)),
            };
            self.read_on(too_small, at)?;
        }
    }

    fn read_on(&mut self, too_small: bool, at: u64) -> Result<(), CaptureError> {
        if too_small {
            self.capacity *= 2;
            if self.capacity > MAX_BLOCK {
                return Err(CaptureError::Damaged(at));
            }
            self.blocks.grow(self.capacity);
        }
        let before = self.blocks.data().len();
        self.blocks.refill().map_err(|_| read_error())?;
        let stuck = self.blocks.data().len() == before && !self.blocks.reader_exhausted();
        // A full buffer takes nothing more without saying so.
        if stuck { self.read_on(true, at) } else { Ok(()) }
    }
}

/// A reader that gives less than was asked for at the end only: the parser looks at what its first
/// read brought, and a pipe brings little.
struct Whole<R>(R);

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(filled)
    }
}

fn read_error() -> CaptureError {
    CaptureError::Read(io::Error::other("input/output error"))
}

fn compressed(magic: &[u8]) -> Option<&'static str> {
    match magic {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Some("xz"),
        [b'B', b'Z', b'h', ..] => Some("bzip2"),
        _ => None,
    }
}

/// Names of tcpdump.org's list, of what captures come with.
pub fn link_name(link_type: u32) -> &'static str {
    match link_type {
        0 => "NULL (BSD loopback)",
        6 => "IEEE802_5",
        9 => "PPP",
        10 => "FDDI",
        12 | 14 | 101 => "RAW (IP)",
        50 => "PPP_HDLC",
        51 => "PPP_ETHER",
        104 => "C_HDLC",
        105 => "IEEE802_11",
        107 => "FRELAY",
        108 => "LOOP (OpenBSD loopback)",
        113 => "LINUX_SLL",
        127 => "IEEE802_11_RADIOTAP",
        147..=162 => "USER",
        187 | 201 => "BLUETOOTH_HCI_H4",
        189 | 220 | 249 => "USB",
        195 | 230 => "IEEE802_15_4",
        228 => "IPV4",
        229 => "IPV6",
        239 => "NFLOG",
        252 => "WIRESHARK_UPPER_PDU",
        253 => "NETLINK",
        276 => "LINUX_SLL2",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests;
