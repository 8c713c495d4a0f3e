//! Captured frames into the director in batches, and what leaves held against them.
//!
//! A batch ends when it is a burst, when it spans `WINDOW` of the capture's time, or when the next
//! frame depends on it: an answer must come after what it answers, and a dest answers through a
//! mapping that is known only once the question has left.

use super::check::Wrong;
use super::feed;
use super::hops;
use super::map::Map;
use super::map::Task;
use super::packet;
use super::packet::Packet;
use super::packet::Piece;
use super::series::Series;
use super::sink::Sink;
use super::skip::Skip;
use super::stage;
use super::stage::Stage;
use super::talk::Talk;
use super::talk::Way;
use pointsman_dataplane::frame::BURST;
use pointsman_dataplane::frame::Frame;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::parse::Kind;
use pointsman_dataplane::parse::parse;
use pointsman_dataplane::tuple::Tuple;
use pointsman_dataplane::verdict::DropReason;
use pointsman_dataplane::wire::ethernet;
use std::io;
use std::time::Duration;

/// The capture's time that one batch may span.
const WINDOW: u64 = 10_000_000;
/// A longer frame has a batch of its own: it may leave in many fragments.
const LONG: usize = 4096;
/// No conn times out sooner, in nanoseconds.
const SHORTEST_LIFE: u64 = 1_000_000_000;
/// Wrong frames that are described.
pub(super) const DESCRIBED: usize = 10;

/// A frame in the batch.
pub(super) struct Fed {
    /// Its number in the capture, from 1.
    pub(super) number: u64,
    /// Nanoseconds since 1970.
    pub(super) stamp: u64,
    /// By which it found its queue.
    pub(super) tuple: Tuple,
    pub(super) talk: Option<(usize, Way)>,
    /// The IP packet as it went in, where it could be read.
    pub(super) ip: Vec<u8>,
    pub(super) packet: Option<Packet>,
    /// What the client must get of a dest's packet.
    pub(super) expected: Option<Vec<u8>>,
    /// It was made up, so it counts for nothing.
    pub(super) made_up: bool,
    pub(super) forwarded: bool,
}

/// A replay under way.
pub(super) struct Run {
    pub(super) stage: Stage,
    pub(super) map: Option<Map>,
    pub(super) sink: Sink,
    pub(super) series: Series,
    /// The port all frames come in by, where one is named.
    pub(super) forced: Option<PortId>,
    pub(super) copies: u32,
    /// Frames fed, by port.
    pub(super) fed: Vec<u64>,
    pub(super) fed_bytes: u64,
    pub(super) skips: Vec<u64>,
    pub(super) direct: u64,
    /// Frames more because conversations were multiplied.
    pub(super) copied: u64,
    pub(super) wrong: [u64; Wrong::ALL.len()],
    pub(super) described: Vec<String>,
    /// Packets compared.
    pub(super) compared: u64,
    /// The frame at hand.
    number: u64,
    /// Capture time since its beginning.
    at: u64,
    pub(super) batch: Vec<Fed>,
    batch_number: u64,
    /// The port of its last frame.
    last_port: Option<PortId>,
    /// Capture time at which the batch began.
    pub(super) batch_at: u64,
    /// Tag of the batch's first frame.
    pub(super) base: u64,
    pub(super) dropped: [u64; DropReason::COUNT],
}

impl Run {
    pub(super) fn new(stage: Stage, map: Option<Map>, sink: Sink, ports: usize) -> Self {
        Self {
            stage,
            map,
            sink,
            series: Series::new(),
            forced: None,
            copies: 1,
            fed: vec![0; ports],
            fed_bytes: 0,
            skips: vec![0; Skip::ALL.len()],
            direct: 0,
            copied: 0,
            wrong: [0; Wrong::ALL.len()],
            described: Vec::new(),
            compared: 0,
            number: 0,
            at: 0,
            batch: Vec::with_capacity(BURST),
            batch_number: 1,
            last_port: None,
            batch_at: 0,
            base: 1,
            dropped: [0; DropReason::COUNT],
        }
    }

    /// The next frame of the capture is number `number`, so many nanoseconds after the first.
    pub(super) fn at(&mut self, number: u64, at: u64) -> io::Result<()> {
        if at > self.batch_at + WINDOW {
            self.settle()?;
        }
        (self.number, self.at) = (number, at);
        // What expires until then is gone before anything is made of the frame.
        if self.batch.is_empty() {
            self.stage.advance(stage::BEGIN + Duration::from_nanos(at));
        }
        Ok(())
    }

    /// Feeds it, in as many copies as wanted.
    pub(super) fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        let copies = if self.map.is_some() { self.copies } else { 1 };
        self.copied += u64::from(copies) - 1;
        for copy in 0..copies {
            let done = match self.map {
                Some(_) => self.mapped(copy, frame)?,
                None => self.as_is(frame)?,
            };
            if let Err(skip) = done {
                self.skip(skip);
            }
        }
        Ok(())
    }

    pub(super) fn skip(&mut self, skip: Skip) {
        self.skips[skip as usize] += 1;
    }

    /// Everything that is under way comes to its end.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        if !self.batch.is_empty() {
            self.stage.run();
        }
        self.take_left()?;
        self.account();
        self.batch.clear();
        self.batch_number += 1;
        Ok(())
    }

    /// The capture is over, or begins again.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.settle()?;
        self.stage.end();
        self.take_left()?;
        self.account();
        if let Some(map) = &mut self.map {
            map.end(self.at);
        }
        Ok(())
    }

    fn as_is(&mut self, frame: &[u8]) -> io::Result<Result<(), Skip>> {
        let place = match feed::place(frame, self.stage.snapshot(), self.forced) {
            Ok(place) => place,
            Err(skip) => return Ok(Err(skip)),
        };
        let len = place.len(frame, self.stage.snapshot());
        if len > stage::LONGEST {
            return Ok(Err(Skip::TooLong));
        }
        // An answer comes after what it answers, by the same worker or by another.
        let other_port = self.last_port != Some(place.port);
        if other_port || self.stage.workers() > 1 || len > LONG {
            self.settle()?;
        }
        let Some(mut made) = self.stage.frame(len) else { return Ok(Err(Skip::TooLong)) };
        place.write(frame, self.stage.snapshot(), made.data_mut());
        let port = self.stage.snapshot().port(place.port);
        let (parsed, l2) = (parse(made.data(), port), port.l2_len());
        if parsed.kind == Kind::Control {
            return Ok(Err(Skip::Neighbour));
        }
        if let Some(source) = place.source {
            self.stage.reach(source);
        }
        let ip = made.data()[l2..].to_vec();
        let packet = packet::read(&ip).ok();
        let fed = self.fed(parsed.tuple, None, ip, packet);
        self.inject(place.port, made, fed)?;
        if len > LONG { self.settle().map(Ok) } else { Ok(Ok(())) }
    }

    fn mapped(&mut self, copy: u32, frame: &[u8]) -> io::Result<Result<(), Skip>> {
        let read = packet::ip_of(frame).and_then(|l3| Ok((l3, packet::read(&frame[l3..])?)));
        let (l3, p) = match read {
            Ok((l3, _)) if packet::is_truncated(&frame[l3..]) => return Ok(Err(Skip::Truncated)),
            Ok(read) => read,
            Err(skip) => return Ok(Err(skip)),
        };
        let Some(map) = &mut self.map else { return Ok(Ok(())) };
        // A SYN may end the conversation that stands, which must have nothing under way then.
        let under_way = |talk: &Talk| talk.batch.0 == self.batch_number;
        if p.is_syn() && map.known(copy, &p).is_some_and(under_way) || p.end > LONG {
            self.settle()?;
        }
        let Some(map) = &mut self.map else { return Ok(Ok(())) };
        let ip = &frame[l3..l3 + p.end];
        let (index, way) = match map.place(copy, ip, &p, self.at) {
            Ok(placed) => placed,
            Err(skip) => return Ok(Err(skip)),
        };
        let talk = &mut map.talks[index];
        if p.piece == Piece::Whole && std::mem::take(&mut talk.picked_up) {
            for (way, ip) in map.handshake(index, ip, &p) {
                self.handshake(index, way, ip)?;
            }
        }
        let done = self.talk((index, way), ip.to_vec(), p, false)?;
        if p.end > LONG { self.settle().map(|()| done) } else { Ok(done) }
    }

    /// Feeds a made-up packet. A server's that cannot be made, for its conn was refused, is not.
    fn handshake(&mut self, index: usize, way: Way, ip: Vec<u8>) -> io::Result<()> {
        let Ok(p) = packet::read(&ip) else { return Ok(()) };
        let _ = self.talk((index, way), ip, p, true)?;
        Ok(())
    }

    fn talk(
        &mut self,
        (index, way): (usize, Way),
        mut ip: Vec<u8>,
        mut p: Packet,
        made_up: bool,
    ) -> io::Result<Result<(), Skip>> {
        let other = match way {
            Way::Client => Way::Dest,
            Way::Dest => Way::Client,
        };
        if self.map.as_ref().is_some_and(|m| m.talks[index].batch == (self.batch_number, other)) {
            self.settle()?;
        }
        if way == Way::Dest && self.has_expired(index) {
            return Ok(Err(Skip::Expired));
        }
        let Some(map) = &mut self.map else { return Ok(Ok(())) };
        let (task, expected) = match map.forge((index, way), &mut ip, &mut p) {
            Ok(forged) => forged,
            Err(_) if made_up => return Ok(Ok(())),
            Err(skip) => return Ok(Err(skip)),
        };
        let Task::Feed(port) = task else {
            self.direct += u64::from(!made_up);
            return Ok(Ok(()));
        };
        let info = self.stage.snapshot().port(port);
        let (l2, mac, vlan) = (info.l2_len(), info.mac, info.vlan);
        let Some(mut frame) = self.stage.frame(l2 + ip.len()) else {
            return Ok(Err(Skip::TooLong));
        };
        let ether_type = if p.is_v4() { ethernet::IPV4 } else { ethernet::IPV6 };
        ethernet::write(frame.data_mut(), mac, hops::mac_of(p.src.0), vlan, ether_type);
        frame.data_mut()[l2..].copy_from_slice(&ip);
        let talk = &mut map.talks[index];
        talk.batch = (self.batch_number, way);
        if made_up {
            map.tally.made_up += 1;
        } else {
            talk.fed += 1;
        }
        if way == Way::Client {
            self.stage.reach(p.src.0);
        }
        let tuple = queue_tuple(&p);
        let mut fed = self.fed(tuple, Some((index, way)), ip, Some(p));
        (fed.expected, fed.made_up) = (expected, made_up);
        self.inject(port, frame, fed).map(Ok)
    }

    /// Whether a conversation's conn has timed out: its dest would answer
    /// through a mapping that is somebody else's by now.
    fn has_expired(&mut self, index: usize) -> bool {
        let Some(map) = &mut self.map else { return false };
        let talk = &map.talks[index];
        let Some(mapping) = talk.mapping else { return false };
        if self.at < talk.passed + SHORTEST_LIFE
            || talk.forward.is_some_and(|forward| !forward.sees_replies())
        {
            return false;
        }
        let ends = self.stage.conn(&map.tuple(index));
        let gone = ends.is_none_or(|e| (e.laddr, e.lport) != mapping.local);
        let talk = &mut map.talks[index];
        talk.unmapped += u64::from(gone);
        talk.expired += u64::from(gone);
        gone
    }

    fn fed(
        &self,
        tuple: Tuple,
        talk: Option<(usize, Way)>,
        ip: Vec<u8>,
        packet: Option<Packet>,
    ) -> Fed {
        let (number, stamp) = (self.number, self.sink.first_stamp + self.at);
        let (expected, made_up, forwarded) = (None, false, false);
        Fed { number, stamp, tuple, talk, ip, packet, expected, made_up, forwarded }
    }

    fn inject(
        &mut self,
        port: PortId,
        mut frame: crate::io::mem::MemFrame,
        fed: Fed,
    ) -> io::Result<()> {
        if self.batch.is_empty() {
            self.batch_at = self.at;
            self.stage.advance(stage::BEGIN + Duration::from_nanos(self.at));
        }
        frame.set_tag(self.base + self.batch.len() as u64);
        self.fed[port.0 as usize] += 1;
        self.fed_bytes += frame.data().len() as u64;
        self.last_port = Some(port);
        self.stage.inject(port, &fed.tuple, frame);
        self.batch.push(fed);
        if self.batch.len() == BURST { self.settle() } else { Ok(()) }
    }
}

/// What a NIC spreads by: of fragments only addresses, as only the first one has ports.
fn queue_tuple(p: &Packet) -> Tuple {
    let (sport, dport) = if p.piece == Piece::Whole { (p.src.1, p.dst.1) } else { (0, 0) };
    Tuple { src: p.src.0, dst: p.dst.0, sport, dport, proto: p.proto }
}
