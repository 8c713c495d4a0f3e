//! The end of a batch: each frame that left is known by its tag, compared, and written out.

use super::check;
use super::check::Wrong;
use super::forge;
use super::map::Target;
use super::packet;
use super::packet::Packet;
use super::packet::Piece;
use super::policy::is_right;
use super::run::DESCRIBED;
use super::run::Fed;
use super::run::Run;
use super::run::Whose;
use super::series::Interval;
use super::stage;
use super::stage::Left;
use super::talk::Mapping;
use super::talk::Talk;
use super::talk::Way;
use super::tally::show;
use pointsman_dataplane::frame::Frame;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::tuple::Tuple;
use pointsman_dataplane::wire::get16;
use pointsman_dataplane::wire::get32;
use pointsman_dataplane::wire::gre;
use pointsman_dataplane::wire::gue;
use pointsman_dataplane::wire::ipv4;
use pointsman_dataplane::wire::ipv6;
use pointsman_dataplane::wire::options;
use pointsman_dataplane::wire::tcp;
use pointsman_dataplane::wire::udp;
use std::io;

/// What a frame that left turned out to be.
enum Is {
    /// The frame that was fed, on its way.
    Forwarded(Result<(), Wrong>),
    /// Made by the director, or nothing that can be told.
    Made,
}

impl Run {
    /// Takes in what has left.
    pub(super) fn take_left(&mut self) -> io::Result<()> {
        let mut left = std::mem::take(&mut self.stage.left);
        left.iter().for_each(|l| self.check_order(l));
        left.sort_by_key(|l| l.order);
        for l in left.drain(..) {
            self.one_left(&l)?;
        }
        self.stage.left = left;
        Ok(())
    }

    /// Packets of a conversation that go the same way leave as they came. A fragment may have had to
    /// wait for its datagram's first one.
    fn check_order(&mut self, left: &Left) {
        let tag = left.frame.tag();
        let index = tag.checked_sub(self.base).and_then(|i| usize::try_from(i).ok());
        let Some(fed) = index.and_then(|i| self.batch.get(i)) else { return };
        if fed.packet.is_none_or(|p| p.piece != Piece::Whole) {
            return;
        }
        let whose = fed.talk.map_or(Whose::Tuple(fed.tuple), |(talk, way)| Whose::Talk(talk, way));
        let last = self.order.entry((whose, left.port)).or_insert(tag);
        let (number, made_up, late) = (fed.number, fed.made_up, *last > tag);
        *last = tag.max(*last);
        if late {
            self.wrong(Wrong::Order, number, made_up);
        }
    }

    fn one_left(&mut self, left: &Left) -> io::Result<()> {
        let tag = left.frame.tag();
        let index =
            tag.checked_sub(self.base).map(|i| i as usize).filter(|i| *i < self.batch.len());
        let is = index.map_or(Is::Made, |index| self.recognise(index, left));
        let fed = index.map(|index| &self.batch[index]);
        let mut comment = String::new();
        if self.sink.wants_comments() {
            let conn = fed.and_then(|fed| self.stage.conn(&self.tuple(fed)));
            comment = match (&is, conn) {
                (Is::Made, None) => "made by the director".into(),
                (_, None) => String::new(),
                (is, Some(e)) => {
                    let (client, vip) = (show((e.caddr, e.cport)), show((e.vaddr, e.vport)));
                    let (local, dest) = (show((e.laddr, e.lport)), show((e.daddr, e.dport)));
                    let made = if matches!(is, Is::Made) { "made for " } else { "" };
                    format!("{made}dest {dest} conn {} {client} -> {vip} local {local}", e.proto)
                }
            };
        }
        let since = left.at.since(stage::BEGIN).as_nanos() as u64;
        let stamp = fed.map_or(self.sink.first_stamp + since, |f| f.stamp);
        self.sink.frame(left.port, stamp, left.frame.data(), &comment)?;
        let (Some(index), Is::Forwarded(right)) = (index, is) else { return Ok(()) };
        self.forwarded(index, right);
        Ok(())
    }

    /// A tuple by which a frame's conn is found; a later fragment has none of its own.
    fn tuple(&self, fed: &Fed) -> Tuple {
        match (fed.talk, &self.map) {
            (Some((talk, _)), Some(map)) => map.tuple(talk),
            _ => fed.tuple,
        }
    }

    fn forwarded(&mut self, index: usize, right: Result<(), Wrong>) {
        let fed = &mut self.batch[index];
        if let (Some((talk, _)), Some(map)) = (fed.talk, &mut self.map) {
            let talk = &mut map.talks[talk];
            talk.left += u64::from(!fed.forwarded && !fed.made_up);
            talk.passed = self.batch_at;
        }
        fed.forwarded = true;
        self.compared += 1;
        let (number, made_up) = (fed.number, fed.made_up);
        if let Err(wrong) = right {
            self.wrong(wrong, number, made_up);
        }
    }

    /// Something is wrong with a frame that left.
    fn wrong(&mut self, wrong: Wrong, number: u64, made_up: bool) {
        self.wrong[wrong as usize] += 1;
        if self.described.len() < DESCRIBED {
            let (_, what) = Wrong::ALL[wrong as usize];
            let made = if made_up { " (made up)" } else { "" };
            self.described.push(format!("frame {number}{made}: {what}"));
        }
    }

    /// What left, without Ethernet and tunnel, held against what was fed.
    fn recognise(&mut self, index: usize, left: &Left) -> Is {
        let l2 = self.stage.snapshot().ports[left.port].l2_len();
        let ip = &left.frame.data()[l2..];
        let fed = &self.batch[index];
        let Some(f) = fed.packet else { return Is::Made };
        let Some((talk, way)) = fed.talk else { return Self::recognise_as_is(fed, &f, ip) };
        let Some(map) = &mut self.map else { return Is::Made };
        let target = &map.targets[map.talks[talk].service];
        // Where the client's packets go, its conn says; a second choice may be by another method. One
        // that ended with this packet leaves the packet to say it.
        if target.forward.is_none() && way == Way::Client {
            let method = self.stage.method(&map.tuple(talk)).or_else(|| method_of(ip, &f));
            map.talks[talk].forward = method.or(map.talks[talk].forward);
        }
        let target = &map.targets[map.talks[talk].service];
        let forward = map.talks[talk].forward;
        let tunnel = forward == Some(Forward::Tunnel) && way == Way::Client;
        if tunnel && is_piece(ip) {
            let talk = &mut map.talks[talk];
            let (local, dest) = (talk.end, (target.addr, target.port));
            talk.mapping.get_or_insert(Mapping { local, dest, seq: 0, ts: None });
            map.tally.fragmented += 1;
            return Is::Forwarded(Ok(()));
        }
        let Ok((ip, l)) = inner(ip, tunnel) else { return Is::Made };
        // Sent back: a reset or the like, made in its place.
        if l.dst == f.src {
            return Is::Made;
        }
        let good = (f.piece == Piece::Whole).then(|| is_right(&fed.ip, &f));
        if f.piece == Piece::Whole && l.piece != Piece::Whole {
            map.tally.fragmented += 1;
            if fed.expected.is_none() {
                learn(&mut map.talks[talk], target, (&fed.ip, &f), (ip, &l));
            }
            return Is::Forwarded(Ok(()));
        }
        if let Some(expected) = &fed.expected {
            let Ok(e) = packet::read(expected) else { return Is::Made };
            return Is::Forwarded(check::compare((expected, &e), (ip, &l), good, false));
        }
        let loose = target.introduces && forward == Some(Forward::FullNat);
        let changed = learn(&mut map.talks[talk], target, (&fed.ip, &f), (ip, &l));
        map.tally.remapped += u64::from(changed);
        let talk = &map.talks[talk];
        Is::Forwarded(compare_to_dest(talk, fed, &f, (ip, &l), loose))
    }

    /// Without a conversation only checksums can be judged.
    fn recognise_as_is(fed: &Fed, f: &Packet, left: &[u8]) -> Is {
        let Ok((ip, l)) = inner(left, false).or_else(|_| inner(left, true)) else {
            return Is::Made;
        };
        let same = f.proto == l.proto
            && f.flags == l.flags
            && f.piece == Piece::Whole
            && l.piece == Piece::Whole
            && f.end - f.l4 == l.end - l.l4;
        match same {
            true if is_right(&fed.ip, f) == is_right(ip, &l) => Is::Forwarded(Ok(())),
            true => Is::Forwarded(Err(Wrong::Checksum)),
            false => Is::Made,
        }
    }

    /// Books the batch: what happened when, who lost frames, and why.
    pub(super) fn account(&mut self) {
        for fed in &self.batch {
            let (at, bytes) = (fed.stamp - self.sink.first_stamp, fed.len as u64);
            self.series.add(at, Interval { frames: 1, bytes, ..Interval::default() });
        }
        for told in &self.stage.told {
            let at = self.rounds.get(&(told.stretch, told.round)).unwrap_or(&self.at);
            let (opened, dropped) = (told.opened, told.dropped);
            self.series.add(*at, Interval { opened, dropped, ..Interval::default() });
        }
        if let Some(map) = &mut self.map {
            for fed in self.batch.iter().filter(|f| !f.forwarded) {
                if let Some((talk, _)) = fed.talk {
                    map.talks[talk].reasons |= self.stage.reasons(fed.place);
                }
            }
        }
        self.stage.forget();
        self.base += self.batch.len() as u64;
    }
}

/// Whether an IP packet is a fragment.
fn is_piece(ip: &[u8]) -> bool {
    match ip.first().map(|b| b >> 4) {
        Some(4) => ip.len() >= ipv4::LEN && get16(ip, ipv4::FRAGMENT) & !ipv4::DF != 0,
        _ => ip.get(ipv6::NEXT) == Some(&ipv6::FRAGMENT),
    }
}

/// The IP packet that a frame carries, out of its tunnel where there is one.
fn inner(ip: &[u8], tunnel: bool) -> Result<(&[u8], Packet), super::skip::Skip> {
    let (outer, number) = match ip.first().map(|b| b >> 4) {
        _ if !tunnel => (0, None),
        Some(4) if ip.len() > ipv4::LEN => (ipv4::header_len(ip), ip.get(ipv4::PROTOCOL)),
        _ => (ipv6::LEN, ip.get(ipv6::NEXT)),
    };
    let between = match number {
        Some(&udp::NUMBER) => udp::LEN + gue::LEN,
        Some(&gre::NUMBER) if ip.get(outer).is_some_and(|flags| *flags > 0) => gre::LEN_SUMMED,
        Some(&gre::NUMBER) => gre::LEN,
        _ => 0,
    };
    let ip = ip.get(outer + between..).ok_or(super::skip::Skip::Malformed)?;
    Ok((ip, packet::read(ip)?))
}

/// The method by which a client's packet left; none of what was sent back to it, and of what cannot be
/// told.
fn method_of(left: &[u8], fed: &Packet) -> Option<Forward> {
    let is_fed = |l: &Packet| (l.src, l.dst) == (fed.src, fed.dst);
    if inner(left, true).is_ok_and(|(_, l)| is_fed(&l)) {
        return Some(Forward::Tunnel);
    }
    match inner(left, false).ok()?.1 {
        l if l.dst == fed.src => None,
        l if l.dst == fed.dst => Some(Forward::Dr),
        l if l.src == fed.src => Some(Forward::Nat),
        _ => Some(Forward::FullNat),
    }
}

/// Reads the mapping from a client's packet as it left; whether it is another one than before.
/// A TCP conversation may get another one by a SYN only.
fn learn(
    talk: &mut Talk,
    target: &Target,
    (fed, f): (&[u8], &Packet),
    (left, l): (&[u8], &Packet),
) -> bool {
    let is_same = |m: &Mapping| (m.local, m.dest) == (l.src, l.dst);
    let is_nat = talk.forward.is_some_and(Forward::sees_replies);
    let known = talk.mapping.filter(is_same);
    let changed = talk.mapping.is_some() && known.is_none();
    let may_change = f.proto != Proto::Tcp || l.flags & tcp::SYN != 0;
    if matches!(l.piece, Piece::Later(_)) || changed && !may_change {
        return false;
    }
    let (mut seq, mut ts) = known.map_or((None, None), |m| (Some(m.seq), m.ts));
    if f.proto == Proto::Tcp && is_nat {
        let (fed, left) = (&fed[f.l4..f.end], &left[l.l4..l.end]);
        // A dest that is told of its client gets more bytes than the client sent.
        seq = Some(get32(left, tcp::SEQ).wrapping_sub(get32(fed, tcp::SEQ)))
            .filter(|_| known.is_none() || l.flags & tcp::SYN != 0 || target.introduces)
            .or(seq);
        let stamp = |s: &[u8]| options::timestamps(s).map(|at| get32(s, at));
        if ts.is_none() || l.flags & tcp::SYN != 0 {
            ts = stamp(left).zip(stamp(fed)).map(|(l, f)| l.wrapping_sub(f)).or(ts);
        }
    }
    talk.mapping = Some(Mapping { local: l.src, dest: l.dst, seq: seq.unwrap_or(0), ts });
    changed
}

/// A client's packet at its dest must be what it was, moved by the mapping's constants.
fn compare_to_dest(
    talk: &Talk,
    fed: &Fed,
    f: &Packet,
    (left, l): (&[u8], &Packet),
    loose: bool,
) -> Result<(), Wrong> {
    let good = (f.piece == Piece::Whole && !loose).then(|| is_right(&fed.ip, f));
    let is_nat = talk.forward.is_some_and(Forward::sees_replies);
    let Some(mapping) = talk.mapping.filter(|_| is_nat) else {
        return check::compare((&fed.ip, f), (left, l), good, loose);
    };
    let (mut ip, mut p) = (fed.ip.clone(), *f);
    let (local, dest) = (mapping.local, mapping.dest);
    if local.0.is_v4() == p.is_v4() {
        forge::set_ends(&mut ip, &mut p, local, dest);
    } else {
        (ip, p) = forge::cross(&ip, &p, local, dest);
    }
    if p.proto == Proto::Tcp && !matches!(p.piece, Piece::Later(_)) {
        forge::advance(&mut ip, &p, mapping.seq, mapping.ts.unwrap_or(0));
    }
    check::compare((&ip, &p), (left, l), good, loose)
}

#[cfg(test)]
mod tests {
    use super::super::args::Forward as Method;
    use super::super::made;
    use super::super::map::Map;
    use super::super::sink::Sink;
    use super::super::stage::Stage;
    use super::*;
    use etherparse::PacketBuilder;

    #[test]
    fn packets_that_overtake_others_of_their_conversation_are_found() {
        let (forward, scheduler) = (Method::Nat, "rr");
        let wanted = made::Wanted { vips: &[], forward, scheduler, dests: 1, conns: 1024 };
        let config = made::config(&wanted).unwrap_or_else(|e| panic!("{e}"));
        let stage = Stage::new(&config, 1, false).unwrap_or_else(|e| panic!("{e}"));
        let targets = Map::targets(stage.snapshot(), |_, _, _| true);
        let map = Map::new(targets, stage.snapshot().clone(), true);
        let mut run = Run::new(stage, Some(map), Sink::new(2), 2);
        let datagram = |port: u16, data: &[u8]| {
            let b = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([9, 0, 0, 1], [9, 0, 0, 2], 64);
            let mut out = Vec::new();
            b.udp(port, 53).write(&mut out, data).unwrap();
            out
        };
        // Two conversations, two packets of each.
        let mut replay = |swap: [usize; 2]| {
            for frame in [(1000, b"a"), (2000, b"b"), (1000, b"c"), (2000, b"d")] {
                run.at(1, 0).unwrap();
                run.frame(&datagram(frame.0, frame.1)).unwrap();
            }
            assert!(run.stage.run() && run.stage.left.len() == 4);
            run.stage.left.swap(swap[0], swap[1]);
            run.settle().unwrap();
            run.wrong[Wrong::Order as usize]
        };
        assert_eq!(replay([0, 0]), 0);
        assert_eq!(replay([0, 1]), 0, "another conversation's may");
        assert_eq!(replay([1, 3]), 1);
        assert_eq!(run.wrong.iter().sum::<u64>(), 1, "{:?}", run.described);
    }
}
