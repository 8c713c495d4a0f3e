//! What the blocks of a capture mean, one after another.

use super::CaptureError;
use super::ETHERNET;
use super::Record;
use pcap_parser::Block;
use pcap_parser::InterfaceDescriptionBlock;
use pcap_parser::OptionCode;
use pcap_parser::PcapBlockOwned;

/// The Packet Block, obsolete, that pcapng files of old tools hold.
const OBSOLETE_PACKET: u32 = 2;

/// What a block turned out to be.
pub(super) enum Step {
    Frame(Record),
    /// That is not Ethernet.
    Foreign(u32),
    Nothing,
    End,
}

/// What blocks said that later ones depend on.
#[derive(Default)]
pub(super) struct Format {
    /// Of a classic pcap.
    nanoseconds: bool,
    /// Of it, where it is not Ethernet.
    foreign: Option<u32>,
    /// Of the section at hand.
    big_endian: bool,
    interfaces: Vec<Interface>,
}

struct Interface {
    link_type: u32,
    snap_len: u32,
    clock: Clock,
}

/// How an interface of a pcapng counts time.
struct Clock {
    per_second: u128,
    offset_seconds: i64,
}

impl Format {
    /// Takes in the block that begins at byte `at`; a frame in it goes into `data`.
    pub(super) fn take(
        &mut self,
        block: PcapBlockOwned<'_>,
        data: &mut Vec<u8>,
        at: u64,
    ) -> Result<Step, CaptureError> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.nanoseconds = header.is_nanosecond_precision();
                // The upper half holds flags, such as the length of a frame check sequence.
                self.foreign = Some(header.network.0 as u32 & 0xffff).filter(|l| *l != ETHERNET);
                Ok(Step::Nothing)
            }
            PcapBlockOwned::Legacy(p) => {
                if let Some(link_type) = self.foreign {
                    return Ok(Step::Foreign(link_type));
                }
                let unit = if self.nanoseconds { 1 } else { 1000 };
                let stamp = u64::from(p.ts_sec) * 1_000_000_000 + u64::from(p.ts_usec) * unit;
                fill(data, p.data);
                Ok(Step::Frame(Record { stamp: Some(stamp), len: p.origlen, interface: 0 }))
            }
            PcapBlockOwned::NG(block) => self.block(&block, data, at),
        }
    }

    /// The link type that all frames of a classic pcap have, where it is not Ethernet.
    pub(super) fn foreign(&self) -> Option<u32> {
        self.foreign
    }

    fn block(
        &mut self,
        block: &Block<'_>,
        data: &mut Vec<u8>,
        at: u64,
    ) -> Result<Step, CaptureError> {
        match block {
            Block::SectionHeader(section) => {
                self.big_endian = section.big_endian();
                self.interfaces.clear();
            }
            Block::InterfaceDescription(interface) => {
                self.add(interface, at)?;
            }
            Block::EnhancedPacket(p) => {
                let ticks = u64::from(p.ts_high) << 32 | u64::from(p.ts_low);
                let captured = p.data.get(..p.caplen as usize).ok_or(CaptureError::Damaged(at))?;
                return self.frame(p.if_id, Some(ticks), (captured, p.origlen), data, at);
            }
            Block::SimplePacket(p) => {
                let interface = self.interfaces.first().ok_or(CaptureError::Damaged(at))?;
                let snap_len = if interface.snap_len == 0 { u32::MAX } else { interface.snap_len };
                let captured = p.origlen.min(snap_len) as usize;
                let captured = p.data.get(..captured).ok_or(CaptureError::Damaged(at))?;
                return self.frame(0, None, (captured, p.origlen), data, at);
            }
            Block::Unknown(p) if self.host_order(p.block_type) == OBSOLETE_PACKET => {
                return self.obsolete_packet(p.data, data, at);
            }
            // Names, statistics, secrets, comments.
            _ => {}
        }
        Ok(Step::Nothing)
    }

    fn add(
        &mut self,
        interface: &InterfaceDescriptionBlock<'_>,
        at: u64,
    ) -> Result<(), CaptureError> {
        let resolution = interface.if_tsresol;
        let base: u128 = if resolution & 0x80 == 0 { 10 } else { 2 };
        let per_second = base.checked_pow(u32::from(resolution & 0x7f));
        let offset = interface.options.iter().find(|o| o.code == OptionCode::IfTsoffset);
        let offset: Option<[u8; 8]> = offset.and_then(|o| o.value().try_into().ok());
        let read = if self.big_endian { i64::from_be_bytes } else { i64::from_le_bytes };
        self.interfaces.push(Interface {
            link_type: interface.linktype.0 as u32,
            snap_len: interface.snaplen,
            clock: Clock {
                per_second: per_second.ok_or(CaptureError::Damaged(at))?,
                offset_seconds: offset.map_or(0, read),
            },
        });
        Ok(())
    }

    fn frame(
        &self,
        interface: u32,
        ticks: Option<u64>,
        (captured, len): (&[u8], u32),
        data: &mut Vec<u8>,
        at: u64,
    ) -> Result<Step, CaptureError> {
        let known = self.interfaces.get(interface as usize).ok_or(CaptureError::Damaged(at))?;
        if known.link_type != ETHERNET {
            return Ok(Step::Foreign(known.link_type));
        }
        fill(data, captured);
        let stamp = ticks.map(|ticks| known.clock.nanos(ticks));
        Ok(Step::Frame(Record { stamp, len, interface }))
    }

    /// Interface and drops (16 bits each), time (two halves), lengths captured and on the wire.
    fn obsolete_packet(
        &self,
        block: &[u8],
        data: &mut Vec<u8>,
        at: u64,
    ) -> Result<Step, CaptureError> {
        let word = |i: usize| {
            let bytes: [u8; 4] = block.get(i * 4..i * 4 + 4)?.try_into().ok()?;
            Some(if self.big_endian {
                u32::from_be_bytes(bytes)
            } else {
                u32::from_le_bytes(bytes)
            })
        };
        let read = || {
            let interface = if self.big_endian { word(0)? >> 16 } else { word(0)? & 0xffff };
            let ticks = u64::from(word(1)?) << 32 | u64::from(word(2)?);
            let captured = block.get(20..)?.get(..word(3)? as usize)?;
            Some((interface, ticks, captured, word(4)?))
        };
        let (interface, ticks, captured, len) = read().ok_or(CaptureError::Damaged(at))?;
        self.frame(interface, Some(ticks), (captured, len), data, at)
    }

    /// The parser gives types as if all files were little-endian.
    fn host_order(&self, block_type: u32) -> u32 {
        if self.big_endian { block_type.swap_bytes() } else { block_type }
    }
}

impl Clock {
    fn nanos(&self, ticks: u64) -> u64 {
        let since = u128::from(ticks) * 1_000_000_000 / self.per_second;
        let nanos = since as i128 + i128::from(self.offset_seconds) * 1_000_000_000;
        nanos.clamp(0, i128::from(i64::MAX)) as u64
    }
}

fn fill(data: &mut Vec<u8>, from: &[u8]) {
    data.clear();
    data.extend_from_slice(from);
}
