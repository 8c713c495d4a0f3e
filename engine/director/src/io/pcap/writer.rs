//! Captures written: classic pcap for other tools, pcapng with an interface per port and comments.

use super::ETHERNET;
use std::io;
use std::io::Write;

/// tcpdump's.
const SNAP_LEN: u32 = 262_144;

/// Writes a classic pcap of Ethernet frames with nanoseconds, little-endian.
pub struct CaptureWriter<W>(W);

impl<W: Write> CaptureWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// What `to` says.
    pub fn new(mut to: W) -> io::Result<Self> {
        // Magic, version 2.4, zone, accuracy, snap length (tcpdump's), link type.
        let [zone, accuracy] = [0_u32, 0];
        to.write_all(&0xa1b2_3c4d_u32.to_le_bytes())?;
        to.write_all(&2_u16.to_le_bytes())?;
        to.write_all(&4_u16.to_le_bytes())?;
        for field in [zone, accuracy, SNAP_LEN, ETHERNET] {
            to.write_all(&field.to_le_bytes())?;
        }
        Ok(Self(to))
    }

    /// Writes a frame; `stamp` is in nanoseconds since 1970. Seconds beyond 2106 do not fit the
    /// format and stay at its end.
    ///
    /// # Errors
    /// What the file says.
    pub fn frame(&mut self, stamp: u64, data: &[u8]) -> io::Result<()> {
        let seconds = u32::try_from(stamp / 1_000_000_000).unwrap_or(u32::MAX);
        let len = data.len() as u32;
        for field in [seconds, (stamp % 1_000_000_000) as u32, len, len] {
            self.0.write_all(&field.to_le_bytes())?;
        }
        self.0.write_all(data)
    }

    /// Ends the capture.
    ///
    /// # Errors
    /// What the file says.
    pub fn finish(mut self) -> io::Result<W> {
        self.0.flush()?;
        Ok(self.0)
    }
}

/// Writes a pcapng of Ethernet frames with nanoseconds, little-endian.
pub struct NgWriter<W> {
    to: W,
    block: Vec<u8>,
}

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const OPT_COMMENT: u16 = 1;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;

impl<W: Write> NgWriter<W> {
    /// Writes the header and an interface by each name.
    ///
    /// # Errors
    /// What `to` says.
    pub fn new(to: W, interfaces: &[String]) -> io::Result<Self> {
        let mut writer = Self { to, block: Vec::new() };
        // Byte order, version 1.0, section length not given.
        writer.words(&[0x1a2b_3c4d, 1, u32::MAX, u32::MAX]);
        writer.write(SECTION)?;
        for name in interfaces {
            writer.words(&[ETHERNET, SNAP_LEN]);
            writer.option(IF_NAME, name.as_bytes());
            writer.option(IF_TSRESOL, &[9]);
            writer.option(0, &[]);
            writer.write(INTERFACE)?;
        }
        Ok(writer)
    }

    /// Writes a frame of an interface; `stamp` is in nanoseconds since 1970.
    ///
    /// # Errors
    /// What the file says.
    pub fn frame(
        &mut self,
        interface: usize,
        stamp: u64,
        data: &[u8],
        comment: &str,
    ) -> io::Result<()> {
        let len = data.len() as u32;
        self.words(&[interface as u32, (stamp >> 32) as u32, stamp as u32, len, len]);
        self.padded(data);
        if !comment.is_empty() {
            self.option(OPT_COMMENT, comment.as_bytes());
            self.option(0, &[]);
        }
        self.write(ENHANCED_PACKET)
    }

    /// Ends the capture.
    ///
    /// # Errors
    /// What the file says.
    pub fn finish(mut self) -> io::Result<W> {
        self.to.flush()?;
        Ok(self.to)
    }

    fn words(&mut self, words: &[u32]) {
        words.iter().for_each(|w| self.block.extend_from_slice(&w.to_le_bytes()));
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.block.extend_from_slice(&code.to_le_bytes());
        self.block.extend_from_slice(&(value.len() as u16).to_le_bytes());
        self.padded(value);
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.block.extend_from_slice(bytes);
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    /// The block gathered, between its type and lengths.
    fn write(&mut self, block_type: u32) -> io::Result<()> {
        let len = (self.block.len() as u32 + 12).to_le_bytes();
        self.to.write_all(&block_type.to_le_bytes())?;
        self.to.write_all(&len)?;
        self.to.write_all(&self.block)?;
        self.block.clear();
        self.to.write_all(&len)
    }
}
