//! The plain lane: a packet of a conn that simply goes on, as nearly all do.
//!
//! Everything is asked before a packet is changed. Where one answer is not the usual one (the next hop
//! is not known, the packet is too large ...), the frame comes back as it was, for the other lane, which
//! knows all answers. What this lane does to a packet, `forward_closely` does too.

use super::Base;
use super::Core;
use super::Turn;
use super::defence;
use super::on_syn;
use crate::conn::Ahead;
use crate::conn::ConnId;
use crate::conn::Direction;
use crate::conn::Found;
use crate::frame::BURST;
use crate::frame::Burst;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::parse::Kind;
use crate::parse::Parsed;
use crate::parse::parse;
use crate::parse::plain;
use crate::parse::plain::Plain;
use crate::parse::plain::Plains;
use crate::service::Forward;
use crate::tuple::Family;
use crate::tuple::Proto;
use crate::verdict::DropReason;
use crate::wire::ethernet;
use crate::wire::head_mut;
use crate::wire::put16;
use crate::wire::tcp;
use crate::xmit::rewrite;
use crate::xmit::segment;
use crate::xmit::tunnel;

/// So many frames before its headers are read, a frame is asked for.
const FRAME: usize = 8;

/// What the first steps find out about a burst's frames.
#[repr(C)]
pub(super) struct Looks {
    ahead: Ahead,
    plains: Plains,
    /// Of frames that are not plain.
    others: [Parsed; BURST],
}

impl Default for Looks {
    fn default() -> Self {
        Self { ahead: Ahead::default(), plains: Plains::default(), others: [Parsed::NONE; BURST] }
    }
}

/// What they found out about one.
#[derive(Clone, Copy)]
enum Look<'a> {
    /// What nearly all frames are.
    Plain(Plain),
    /// What the others are.
    Parsed(&'a Parsed),
}

/// A frame of a burst, by how many come after it.
#[derive(Clone, Copy)]
struct Ask<'a> {
    looks: &'a Looks,
    left: usize,
}

impl<'a> Ask<'a> {
    #[inline(always)]
    fn found(self) -> Found {
        self.looks.ahead.get(self.left)
    }

    #[inline(always)]
    fn look<const L3: usize>(self, frame: &[u8]) -> Look<'a> {
        let Self { looks, left } = self;
        match looks.plains.get::<L3>(left, frame) {
            Some(plain) => Look::Plain(plain),
            None => Look::Parsed(&looks.others[left % BURST]),
        }
    }
}

impl<F: Frame> Core<F> {
    /// Steps 1 to 9 of a burst whose link headers have `L3` bytes, and with those of IPv4 and TCP `ALL`.
    #[inline(always)]
    pub(super) fn plain_burst<const L3: usize, const ALL: usize, P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        burst: &mut Burst<F>,
        looks: &mut Looks,
    ) {
        // Each by itself, so that either has all of the processor's registers.
        self.read_all::<L3, ALL, P>(t, burst, looks);
        match t.snap.lookup.mixes_tags() {
            false => self.follow_all::<L3, ALL, false, P>(t, burst, looks),
            true => self.follow_all::<L3, ALL, true, P>(t, burst, looks),
        }
    }

    /// Steps 2 and 3.
    #[inline(never)]
    fn read_all<const L3: usize, const ALL: usize, P>(
        &self,
        t: &Turn<'_, F, P>,
        burst: &Burst<F>,
        looks: &mut Looks,
    ) {
        let port = t.snap.port(t.port);
        let mac = ethernet::Host::of(port.mac);
        let Looks { ahead, plains, others } = looks;
        ahead.begin(burst.len());
        plains.begin();
        burst.iter().take(FRAME).for_each(F::prefetch);
        let mut frames = burst.as_slice();
        while let [frame, rest @ ..] = frames {
            frames = rest;
            if let Some(later) = frames.get(FRAME - 1) {
                later.prefetch();
            }
            let left = frames.len() % BURST;
            let hash = match plain::read::<L3, ALL>(frame.data(), (port, mac)) {
                Some(plain) => {
                    plains.put(left, &plain);
                    self.hasher.narrow(&plain.tuple)
                }
                None => {
                    let p = parse(frame.data(), port);
                    plains.put_other(left);
                    others[left] = p;
                    self.hasher.tuple_of(p.family, &p.tuple)
                }
            };
            ahead.add(&self.conns, left, hash);
        }
    }

    /// Steps 4 to 9. Where tags are `MIXED`, some ports have one and others none, and each packet's way out
    /// is asked.
    #[inline(never)]
    fn follow_all<const L3: usize, const ALL: usize, const MIXED: bool, P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        burst: &mut Burst<F>,
        looks: &mut Looks,
    ) {
        let b = t.base();
        let mut left = burst.len();
        for frame in burst.drain(..) {
            left = left.wrapping_sub(1) % BURST;
            looks.ahead.go_to(&self.conns, left);
            let ask = Ask { looks, left };
            let (found, plains) = (ask.found(), &looks.plains);
            let (tcp, udp) = (Proto::Tcp, Proto::Udp);
            // Each protocol and way its own code, in which they are no question any more. Control bits alone say that
            // it is a segment; that it is a datagram is asked there.
            match found.way() {
                way @ Direction::Original if plains.only_acknowledges(left) => {
                    self.usual::<L3, ALL, MIXED, P>((t, b), frame, (found, ask), (tcp, way));
                }
                way @ Direction::Reply if plains.only_acknowledges(left) => {
                    self.usual::<L3, ALL, MIXED, P>((t, b), frame, (found, ask), (tcp, way));
                }
                way @ Direction::Original if plains.may_be_datagram(left) => {
                    self.usual::<L3, ALL, MIXED, P>((t, b), frame, (found, ask), (udp, way));
                }
                way @ Direction::Reply if plains.may_be_datagram(left) => {
                    self.usual::<L3, ALL, MIXED, P>((t, b), frame, (found, ask), (udp, way));
                }
                _ => self.unusual::<L3, ALL, P>(t, frame, ask),
            }
        }
    }

    /// Steps 4 to 9 for what is as nearly all packets are; any other takes the way that is right for it.
    #[inline(always)]
    fn usual<const L3: usize, const ALL: usize, const MIXED: bool, P: Pool<Frame = F>>(
        &mut self,
        (t, b): (&mut Turn<'_, F, P>, Base<'_>),
        frame: F,
        (found, ask): (Found, Ask<'_>),
        (proto, way): (Proto, Direction),
    ) {
        // Known, and said once for all that follows.
        let Some(data) = frame.data().first_chunk::<ALL>() else {
            return self.unusual::<L3, ALL, P>(t, frame, ask);
        };
        let plain = ask.looks.plains.known::<L3>(ask.left, data);
        if proto == Proto::Udp && plain.tuple.proto != proto {
            return self.unusual::<L3, ALL, P>(t, frame, ask);
        }
        let plain = plain.of(proto);
        let is_usual = match self.conns.line_of(found.conn()) {
            Some(conn) => conn.goes_on_as(way, &plain.tuple, b.stamp),
            None => false,
        };
        if !is_usual {
            return self.unusual::<L3, ALL, P>(t, frame, ask);
        }
        let p = plain.parsed::<L3>(frame.data());
        let (id, p) = (found.conn(), (&p, Some(plain.payload)));
        if let Some(frame) = self.goes_on::<ALL, true, MIXED, P>((t, b), frame, p, id, way) {
            self.other_lane::<L3, P>(t, frame, ask, true);
        }
    }

    /// A packet of no conn, of one in another state, or one that is not plain.
    #[inline(never)]
    fn unusual<const L3: usize, const ALL: usize, P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        ask: Ask<'_>,
    ) {
        let Some((id, way)) = ask.found().get() else {
            return self.other_lane::<L3, P>(t, frame, ask, false);
        };
        let back = match ask.look::<L3>(frame.data()) {
            // As in `follow_all`; a datagram comes here only where it changes how its conn's go.
            Look::Plain(plain) => match (plain.tuple.proto, way) {
                (tcp @ Proto::Tcp, way @ Direction::Original) => {
                    let p = plain.of(tcp).parsed::<L3>(frame.data());
                    self.goes_on_if::<ALL, P>(t, frame, (&p, Some(plain.payload)), id, way)
                }
                (tcp @ Proto::Tcp, way @ Direction::Reply) => {
                    let p = plain.of(tcp).parsed::<L3>(frame.data());
                    self.goes_on_if::<ALL, P>(t, frame, (&p, Some(plain.payload)), id, way)
                }
                _ => {
                    let p = plain.parsed::<L3>(frame.data());
                    self.goes_on_wide(t, frame, &p, id, way)
                }
            },
            // Echoes, fragments and errors have tuples, too.
            Look::Parsed(p) if p.kind == Kind::Flow => self.goes_on_wide(t, frame, p, id, way),
            Look::Parsed(_) => Some((frame, false)),
        };
        if let Some((frame, known)) = back {
            self.other_lane::<L3, P>(t, frame, ask, known);
        }
    }

    /// What the plain lane gives back. Where the conn is `known`, it is the one of the guess; an
    /// awaited conn (FTP) has a tuple with a port that no packet may have.
    #[inline(never)]
    fn other_lane<const L3: usize, P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        ask: Ask<'_>,
        known: bool,
    ) {
        let p = match ask.look::<L3>(frame.data()) {
            Look::Plain(plain) => &plain.or_parse::<L3>(frame.data(), t.snap.port(t.port)),
            Look::Parsed(p) => p,
        };
        match ask.found().get() {
            Some(conn) if known && p.kind == Kind::Flow => {
                t.stats.lone.add(1);
                self.follow_conn(t, frame, p, conn, 0);
            }
            // Looked for again: an earlier packet of the burst may have opened it.
            None if p.kind == Kind::Flow => {
                t.stats.lone.add(1);
                self.flow(t, frame, p, ask.looks.ahead.missed(ask.left), 0);
            }
            _ => self.lone(t, frame, p, 0),
        }
    }

    /// Steps 4 to 9 for any packet of a flow that may go on: gives back what does not, and whether the conn
    /// is that of its tuple.
    #[inline(never)]
    fn goes_on_wide<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        id: ConnId,
        way: Direction,
    ) -> Option<(F, bool)> {
        match way {
            way @ Direction::Original => self.goes_on_if::<0, P>(t, frame, (p, None), id, way),
            way @ Direction::Reply => self.goes_on_if::<0, P>(t, frame, (p, None), id, way),
        }
    }

    /// The same where as much is known when the code is made as the caller knows: `goes_on` says what.
    #[inline(always)]
    fn goes_on_if<const ALL: usize, P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        (p, payload): (&Parsed, Option<u16>),
        id: ConnId,
        way: Direction,
    ) -> Option<(F, bool)> {
        let line = self.conns.line(id);
        if !line.is_tuple(way, p.family, &p.tuple) || !line.conn.goes_on(t.stamp) {
            return Some((frame, false));
        }
        if line.conn.is_awaited() {
            return Some((frame, true));
        }
        if line.conn.is_asked(way, p.flags) {
            // The dest's first answer simply goes on, but for a RST, which may have another dest tried, and
            // for one that no host may send (`or_parse`).
            let is_told = p.flags & tcp::RST == 0 && !p.tuple.src.is_martian_source();
            if way == Direction::Original || !is_told {
                return Some((frame, true));
            }
            let segment = &frame.data()[p.l4 as usize..];
            let payload = payload.unwrap_or_else(|| segment::payload(segment, p.end - p.l4));
            line.conn.set_answered(segment::extent_of(segment, payload).0);
        }
        let is_lone = p.tuple.proto == Proto::Tcp && !line.conn.stays(p.flags);
        let back = self.changes::<ALL, P>(t, frame, (p, payload), id, way);
        if back.is_none() && is_lone {
            t.stats.lone.add(1);
        }
        back.map(|frame| (frame, true))
    }

    /// Steps 6 to 8 for a packet that perhaps changes its conn's state, and goes its way as nearly all do;
    /// gives any other back.
    #[inline(always)]
    pub(super) fn changes<const ALL: usize, P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: (&Parsed, Option<u16>),
        id: ConnId,
        way: Direction,
    ) -> Option<F> {
        self.look_back(t, id, way);
        let b = t.base();
        self.goes_on::<ALL, false, true, P>((t, b), frame, p, id, way)
    }

    /// The same, or where it `STAYS`, for a packet that changes nothing and whose conn is a usual one. Its frame
    /// has `ALL` bytes as is known (otherwise 0), and perhaps the segment's `payload` is.
    #[inline(always)]
    fn goes_on<const ALL: usize, const STAYS: bool, const MIXED: bool, P: Pool<Frame = F>>(
        &mut self,
        (t, b): (&mut Turn<'_, F, P>, Base<'_>),
        mut frame: F,
        (p, payload): (&Parsed, Option<u16>),
        id: ConnId,
        way: Direction,
    ) -> Option<F> {
        let snap = b.snap;
        let mut line = self.conns.line(id);
        let conn = &mut *line.conn;
        let dest_id = conn.dest();
        let dest = &b.dests[dest_id.0 as usize];
        let is_tcp = p.tuple.proto == Proto::Tcp;
        let is_other = match is_tcp {
            true => !STAYS && conn.needs_more(),
            false if STAYS => dest.traits.replies > 0,
            false => conn.needs_more() || p.tuple.proto != Proto::Udp || dest.traits.replies > 0,
        };
        if is_other {
            return Some(frame);
        }
        let hop = match way {
            Direction::Original => dest.hop,
            Direction::Reply => match conn.reply_hop(b.epoch) {
                Some(hop) => hop,
                None => return Some(frame),
            },
        };
        let Some(link) = b.links.get(hop) else {
            return Some(frame);
        };
        let mtu = if way == Direction::Original { dest.mtu } else { link.mtu() };
        let is_as_long = !MIXED || snap.port(link.port()).l2_len() == p.l3 as usize;
        if !link.is_ready() || !is_as_long || p.ttl <= 1 || p.ip_len() > mtu as usize {
            return Some(frame);
        }
        let data = frame.data_mut();
        // Known, and said once for all that follows.
        if data.len() < ALL {
            return Some(frame);
        }

        // From here on it goes.
        let stays = is_tcp && (STAYS || conn.stays(p.flags));
        let extent = if is_tcp {
            let segment = &data[p.l4 as usize..];
            let payload = payload.unwrap_or_else(|| segment::payload(segment, p.end - p.l4));
            match stays {
                true => segment::extent_between(segment, payload),
                false => segment::extent_of(segment, payload),
            }
        } else {
            (0, 0)
        };
        if stays {
            conn.stay(way, extent, b.established);
            if !STAYS {
                conn.set_own_timeout(t.stamp, dest.traits.tcp_timeouts);
            }
        } else if is_tcp {
            let secure = self.defence.is_secure && !defence::is_of_rule(dest);
            let changed = conn.step(way, p.flags, extent, secure, t.stamp, &snap.timeouts);
            conn.set_own_timeout(t.stamp, dest.traits.tcp_timeouts);
            if changed {
                self.state_changed(t, id);
            }
            line = self.conns.line(id);
        } else {
            conn.step_udp(way, b.stamp, dest.traits.udp_timeout);
        }
        b.counters[dest_id.0 as usize].count(way, p.ip_len() as u64);
        let data = match line.conn.forward() {
            Forward::Nat | Forward::FullNat => {
                if !STAYS && p.flags & tcp::SYN != 0 {
                    let segment = &mut data[p.l4 as usize..p.end as usize];
                    on_syn(segment, dest).update(segment, tcp::CHECKSUM);
                }
                if line.conn.shifts() {
                    let segment = &mut data[p.l4 as usize..p.end as usize];
                    let track = line.track();
                    let by = match way {
                        Direction::Original => segment::to_dest(segment, track),
                        Direction::Reply => segment::to_client(segment, track),
                    };
                    by.update(segment, tcp::CHECKSUM);
                }
                match p.family {
                    Family::V4 => {
                        let conn = &*line.conn;
                        rewrite::narrow(data, p, conn.becomes(way), conn.deltas_of(way));
                    }
                    Family::V6 => rewrite::apply(data, p, &line.rewrite(way)),
                }
                data
            }
            Forward::Dr => {
                rewrite::decrement_ttl(data, p);
                data
            }
            Forward::Tunnel if !tunnel::is_plain(data, p, dest) => {
                self.send_wrapped(t, frame, id);
                return None;
            }
            Forward::Tunnel => {
                let Some(data) = tunnel::encapsulate(&mut frame, p, dest) else {
                    t.stats.drop(DropReason::NoHeadroom);
                    return None;
                };
                data
            }
        };
        let ether_type = match p.family {
            Family::V4 => ethernet::IPV4,
            Family::V6 => ethernet::IPV6,
        };
        let l3 = p.l3 as usize;
        if l3 == ethernet::LEN {
            link.write(head_mut(data), ether_type);
        } else {
            put16(data, l3 - 2, ether_type);
            if let Some(vlan) = snap.port(link.port()).vlan {
                put16(data, ethernet::LEN, vlan);
            }
            link.write(head_mut(data), ethernet::VLAN);
        }
        t.out.send(link.port(), frame, t.stats);
        None
    }
}
