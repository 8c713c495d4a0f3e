//! Captured frames into the director in batches, and what leaves held against them.
//!
//! A batch is checked once all of it has left. It ends when it is full, when it spans `SPAN` of the
//! capture's time, or when the next frame depends on what leaves: a dest answers through a mapping
//! that is known only once the question has left. Within it a stretch ends where the next frame must
//! come after one of it, as an answer after what it answers, or when it spans `WINDOW`.

use super::check::Wrong;
use super::map::Map;
use super::meter::Cost;
use super::packet::Packet;
use super::series::Series;
use super::sink::Sink;
use super::skip::Skip;
use super::stage;
use super::stage::Stage;
use super::stretch::BATCH;
use super::stretch::Place;
use super::talk::Way;
use super::twin::Twin;
use crate::io::mem::MemFrame;
use hashbrown::HashMap;
use pointsman_dataplane::frame::Frame;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::tuple::Tuple;
use std::io;
use std::time::Duration;

/// The capture's time that one stretch may span, in nanoseconds: its frames come all at once.
const WINDOW: u64 = 10_000_000;
/// The same of a batch: less than the shortest life.
const SPAN: u64 = 500_000_000;
/// No conn times out sooner, in nanoseconds.
pub(super) const SHORTEST_LIFE: u64 = 1_000_000_000;
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
    pub(super) place: Place,
    /// Of the whole frame.
    pub(super) len: usize,
    /// It was made up, so it counts for nothing.
    pub(super) made_up: bool,
    pub(super) forwarded: bool,
}

/// A replay under way.
pub(super) struct Run {
    pub(super) stage: Stage,
    /// Where what packets cost is measured; none: on the stage itself.
    pub(super) twin: Option<Twin>,
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
    pub(super) number: u64,
    /// Capture time since its beginning.
    pub(super) at: u64,
    pub(super) batch: Vec<Fed>,
    /// Numbers of the stretch at hand and of the batch's first one.
    pub(super) stretch: u64,
    pub(super) first_stretch: u64,
    stretch_at: u64,
    /// The next frame begins another one.
    pub(super) ends: bool,
    /// The port of its last frame.
    pub(super) last_port: Option<PortId>,
    /// Capture time at which the batch began.
    pub(super) batch_at: u64,
    /// Tag of the batch's first frame.
    pub(super) base: u64,
    /// Of frames that left, the highest tag of a conversation's way by a port.
    pub(super) order: HashMap<(Whose, usize), u64>,
    /// Capture time of the batch's rounds, by stretch.
    pub(super) rounds: HashMap<(u32, u32), u64>,
}

impl Run {
    pub(super) fn new(stage: Stage, map: Option<Map>, sink: Sink, ports: usize) -> Self {
        Self {
            stage,
            twin: None,
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
            batch: Vec::with_capacity(BATCH),
            stretch: 1,
            first_stretch: 1,
            stretch_at: 0,
            ends: true,
            last_port: None,
            batch_at: 0,
            base: 1,
            order: HashMap::new(),
            rounds: HashMap::new(),
        }
    }

    /// The next frame of the capture is number `number`, so many nanoseconds after the first.
    pub(super) fn at(&mut self, number: u64, at: u64) -> io::Result<()> {
        if at > self.batch_at + SPAN {
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
        loop {
            let through = self.stage.run();
            self.take_left()?;
            if through {
                break;
            }
        }
        self.account();
        self.batch.clear();
        self.order.clear();
        self.rounds.clear();
        self.stretch += 1;
        (self.first_stretch, self.ends) = (self.stretch, true);
        if let Some(twin) = self.twin.as_mut().filter(|t| t.is_full()) {
            twin.run();
        }
        Ok(())
    }

    /// What packets cost.
    pub(super) fn cost(&mut self) -> Cost {
        let Some(twin) = &mut self.twin else { return self.stage.meter.cost() };
        twin.run();
        twin.cost()
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

    /// A frame of the batch, yet without its place.
    pub(super) fn fed(
        &self,
        tuple: Tuple,
        talk: Option<(usize, Way)>,
        ip: Vec<u8>,
        packet: Option<Packet>,
    ) -> Fed {
        let (number, stamp) = (self.number, self.sink.first_stamp + self.at);
        let (expected, place, len) = (None, Place::default(), 0);
        let (made_up, forwarded) = (false, false);
        Fed { number, stamp, tuple, talk, ip, packet, expected, place, len, made_up, forwarded }
    }

    /// Puts a frame into the batch, which is carried to its end when it is full.
    pub(super) fn inject(
        &mut self,
        port: PortId,
        mut frame: MemFrame,
        mut fed: Fed,
    ) -> io::Result<()> {
        if self.batch.is_empty() {
            self.batch_at = self.at;
        }
        if self.ends || self.at > self.stretch_at + WINDOW {
            self.stretch += 1;
            (self.stretch_at, self.ends) = (self.at, false);
            let at = stage::BEGIN + Duration::from_nanos(self.at);
            self.stage.begin_stretch(at);
            if let Some(twin) = &mut self.twin {
                twin.begin_stretch(at);
            }
        }
        if let (Some((talk, way)), Some(map)) = (fed.talk, &mut self.map) {
            map.talks[talk].stretch = (self.stretch, way);
        }
        frame.set_tag(self.base + self.batch.len() as u64);
        self.fed[port.0 as usize] += 1;
        fed.len = frame.data().len();
        self.fed_bytes += fed.len as u64;
        self.last_port = Some(port);
        let queue = self.stage.queue(&fed.tuple);
        if let Some(twin) = &mut self.twin {
            twin.note(port, queue, frame.data());
        }
        fed.place = self.stage.inject(port, queue, frame);
        let round = (fed.place.stretch, fed.place.round);
        if self.batch.last().is_none_or(|f| (f.place.stretch, f.place.round) != round) {
            self.rounds.entry(round).or_insert(self.at);
        }
        self.batch.push(fed);
        if self.batch.len() == BATCH { self.settle() } else { Ok(()) }
    }
}

/// Whose frames must leave in the order in which they came: a way of a conversation, or a tuple.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Whose {
    Talk(usize, Way),
    Tuple(Tuple),
}
