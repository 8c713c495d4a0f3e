//! Frames fed as those of clients of a service and its dests: what must be through before one can be
//! made, and how it is made.

use super::hops;
use super::map::Task;
use super::packet;
use super::packet::Packet;
use super::packet::Piece;
use super::run::Run;
use super::run::SHORTEST_LIFE;
use super::skip::Skip;
use super::stage;
use super::talk::Talk;
use super::talk::Way;
use pointsman_dataplane::frame::Frame;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Tuple;
use pointsman_dataplane::wire::ethernet;
use std::io;
use std::time::Duration;

/// What a header may become longer by, between families and with that of Ethernet.
const HEADERS: usize = 64;

impl Run {
    /// Makes a frame one of its conversation with a service, and feeds it.
    pub(super) fn mapped(&mut self, copy: u32, frame: &[u8]) -> io::Result<Result<(), Skip>> {
        let read = packet::ip_of(frame).and_then(|l3| Ok((l3, packet::read(&frame[l3..])?)));
        let (l3, p) = match read {
            Ok((l3, _)) if packet::is_truncated(&frame[l3..]) => return Ok(Err(Skip::Truncated)),
            Ok(read) => read,
            Err(skip) => return Ok(Err(skip)),
        };
        let Some(map) = &mut self.map else { return Ok(Ok(())) };
        // A SYN may end the conversation that stands, which must have nothing under way then.
        let under_way = |talk: &Talk| talk.stretch.0 >= self.first_stretch;
        // A long frame has a batch of its own: it may leave in many fragments.
        let long = p.end + HEADERS > self.stage.longest();
        if p.is_syn() && map.known(copy, &p).is_some_and(under_way) || long {
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
        if long { self.settle().map(|()| done) } else { Ok(done) }
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
        self.wait_for_others((index, way))?;
        if way == Way::Dest && self.has_expired(index)? {
            return Ok(Err(Skip::Expired));
        }
        let Some(map) = &mut self.map else { return Ok(Ok(())) };
        let may_map = way == Way::Client && map.may_map(index, &ip, &p, self.at);
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
        if may_map {
            map.talks[index].maps = self.stretch;
        }
        if made_up {
            map.tally.made_up += 1;
        } else {
            map.talks[index].fed += 1;
        }
        if way == Way::Client && map.talks[index].port.replace(port).is_none() {
            self.stage.reach(p.src.0);
        }
        let tuple = queue_tuple(&p);
        let mut fed = self.fed(tuple, Some((index, way)), ip, Some(p));
        (fed.expected, fed.made_up) = (expected, made_up);
        self.inject(port, frame, fed).map(Ok)
    }

    /// A packet comes after those that go the other way, and a dest's after what may have given its
    /// conversation a mapping.
    fn wait_for_others(&mut self, (index, way): (usize, Way)) -> io::Result<()> {
        let Some(map) = &self.map else { return Ok(()) };
        let talk = &map.talks[index];
        let passes = way == Way::Client || talk.forward.is_none_or(Forward::sees_replies);
        if !passes || talk.stretch.0 < self.first_stretch || talk.stretch.1 == way {
            return Ok(());
        }
        if way == Way::Dest && talk.maps >= self.first_stretch {
            return self.settle();
        }
        self.ends |= talk.stretch.0 == self.stretch;
        Ok(())
    }

    /// Whether a conversation's conn has timed out: its dest would answer
    /// through a mapping that is somebody else's by now.
    fn has_expired(&mut self, index: usize) -> io::Result<bool> {
        let asks = |run: &Self| {
            let talk = run.map.as_ref().map(|map| &map.talks[index]);
            talk.is_some_and(|talk| {
                talk.mapping.is_some()
                    && run.at >= talk.passed + SHORTEST_LIFE
                    && talk.forward.is_none_or(Forward::sees_replies)
            })
        };
        if asks(self) && !self.batch.is_empty() {
            self.settle()?;
            self.stage.advance(stage::BEGIN + Duration::from_nanos(self.at));
        }
        let asked = asks(self);
        let Some(map) = self.map.as_mut().filter(|_| asked) else { return Ok(false) };
        let ends = self.stage.conn(&map.tuple(index));
        let talk = &mut map.talks[index];
        let is_mine = |ends: pointsman_dataplane::conn::Ends| {
            talk.mapping.is_some_and(|m| (ends.laddr, ends.lport) == m.local)
        };
        let gone = !ends.is_some_and(is_mine);
        talk.unmapped += u64::from(gone);
        talk.expired += u64::from(gone);
        Ok(gone)
    }
}

/// What a NIC spreads by: of fragments only addresses, as only the first one has ports.
fn queue_tuple(p: &Packet) -> Tuple {
    let (sport, dport) = if p.piece == Piece::Whole { (p.src.1, p.dst.1) } else { (0, 0) };
    Tuple { src: p.src.0, dst: p.dst.0, sport, dport, proto: p.proto }
}
