//! The plain lane: a packet of a conn that simply goes on, as nearly all do.
//!
//! Everything is asked before anything is changed. Where one answer is not the usual one (the state
//! changes, the next hop is not known, the packet is too large ...), the frame comes back as it was,
//! for the other lane, which knows all answers. What this lane does to a packet, `forward` does too.

use super::Core;
use super::Look;
use super::Turn;
use super::out;
use crate::conn::ConnId;
use crate::conn::Direction;
use crate::conn::Rewrite;
use crate::frame::BURST;
use crate::frame::Burst;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::parse::Kind;
use crate::parse::Parsed;
use crate::parse::parse;
use crate::parse::plain;
use crate::parse::plain::Plain;
use crate::service::Encap;
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

impl<F: Frame> Core<F> {
    /// Steps 1 to 9 of a burst whose link headers have `L3` bytes, and with those of IPv4 and TCP `ALL`.
    #[inline(always)]
    pub(super) fn plain_burst<const L3: usize, const ALL: usize, P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        burst: &mut Burst<F>,
        looks: &mut [Look; BURST],
    ) {
        let port = t.snap.port(t.port);
        for (look, frame) in looks.iter_mut().zip(burst.iter()) {
            look.hash = match plain::read::<L3, ALL>(frame.data(), port) {
                Some(plain) => {
                    look.plain = Some(plain);
                    self.hasher.narrow(&plain.tuple)
                }
                None => {
                    look.plain = None;
                    look.parsed = parse(frame.data(), port);
                    self.hasher.tuple_of(look.parsed.family, &look.parsed.tuple)
                }
            };
            self.conns.prefetch_index(look.hash);
        }
        let mut again = 0;
        for (n, look) in looks[..burst.len()].iter_mut().enumerate() {
            look.guess = self.conns.guess(look.hash, look.family(), &mut again, n);
        }
        if again != 0 {
            self.guess_second(looks, again);
        }
        for (frame, look) in burst.drain(..).zip(looks) {
            let back = match (&look.plain, look.guess) {
                // Each way its own code, in which the way is no question any more.
                (Some(plain), Some((id, Direction::Original))) => {
                    self.goes_on_as::<L3, P>(t, frame, plain, id, Direction::Original)
                }
                (Some(plain), Some((id, Direction::Reply))) => {
                    self.goes_on_as::<L3, P>(t, frame, plain, id, Direction::Reply)
                }
                // Echoes, fragments and errors have tuples, too.
                (None, Some((id, way))) if look.parsed.kind == Kind::Flow => {
                    self.goes_on_wide(t, frame, &look.parsed, id, way)
                }
                _ => Some((frame, false)),
            };
            let Some((frame, known)) = back else { continue };
            self.other_lane::<L3, P>(t, frame, look, known);
        }
    }

    /// What the plain lane gives back. Where the conn is `known`, it is the one of the guess; an
    /// awaited conn (FTP) has a tuple with a port that no packet may have.
    #[inline(never)]
    fn other_lane<const L3: usize, P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        look: &mut Look,
        known: bool,
    ) {
        if let Some(plain) = &look.plain {
            look.parsed = plain.or_parse::<L3>(frame.data(), t.snap.port(t.port));
        }
        match look.guess {
            Some(conn) if known && look.parsed.kind == Kind::Flow => {
                t.stats.lone.add(1);
                self.follow_conn(t, frame, &look.parsed, conn, 0);
            }
            _ => self.lone(t, frame, &look.parsed, 0),
        }
    }

    /// Few conns are found by their second index line, which has been asked for: those of these bits.
    #[inline(never)]
    fn guess_second(&self, looks: &mut [Look; BURST], mut which: u32) {
        while which != 0 {
            let look = &mut looks[which.trailing_zeros() as usize];
            look.guess = self.conns.guess_second(look.hash, look.family());
            which &= which - 1;
        }
    }

    /// Gives back what does not simply go on, and whether the conn is that of its tuple.
    #[inline(always)]
    fn goes_on_as<const L3: usize, P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        plain: &Plain,
        id: ConnId,
        way: Direction,
    ) -> Option<(F, bool)> {
        if !self.conns.get(id).goes_on_as(way, &plain.tuple, t.stamp) {
            return Some((frame, false));
        }
        self.goes_on(t, frame, &plain.parsed::<L3>(), id, way).map(|frame| (frame, true))
    }

    /// The same for any packet of a flow: IPv6, and IPv4 with options.
    #[inline(never)]
    fn goes_on_wide<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        id: ConnId,
        way: Direction,
    ) -> Option<(F, bool)> {
        let line = self.conns.line(id);
        if !line.is_tuple(way, p.family, &p.tuple) || !line.conn.goes_on(t.stamp) {
            return Some((frame, false));
        }
        let back = match way {
            Direction::Original => self.goes_on(t, frame, p, id, Direction::Original),
            Direction::Reply => self.goes_on(t, frame, p, id, Direction::Reply),
        };
        back.map(|frame| (frame, true))
    }

    /// Steps 4 to 9 for a packet of a conn that goes on; gives any other back.
    #[inline(always)]
    fn goes_on<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        id: ConnId,
        way: Direction,
    ) -> Option<F> {
        let mut line = self.conns.line(id);
        let conn = &mut *line.conn;
        let dest_id = conn.dest();
        let dest = t.snap.dest(dest_id);
        let is_tcp = p.tuple.proto == Proto::Tcp;
        let asks = p.flags & (tcp::SYN | tcp::FIN | tcp::RST) != 0;
        if asks || if is_tcp { conn.would_change(way, p.flags) } else { dest.traits.replies > 0 } {
            return Some(frame);
        }
        let hop = match way {
            Direction::Original => dest.hop,
            Direction::Reply => match conn.reply_hop(t.neighbours.epoch()) {
                Some(hop) => hop,
                None => return Some(frame),
            },
        };
        let link = t.neighbours.link(hop);
        let port = t.snap.port(link.port());
        let mtu = if way == Direction::Original { dest.mtu } else { port.mtu };
        if !link.is_reachable()
            || p.ttl <= 1
            || p.ip_len() > mtu as usize
            || port.l2_len() != p.l3 as usize
        {
            return Some(frame);
        }

        // From here on it goes.
        t.dests[dest_id.0 as usize].count(way, p.ip_len() as u64);
        let forward = conn.forward();
        let data = frame.data_mut();
        if is_tcp {
            let extent = segment::extent_between(&data[p.l4 as usize..], p.end - p.l4);
            conn.stay(way, extent, t.stamp.after(t.snap.timeouts.of(conn.state())));
        } else {
            conn.step_udp(way, t.stamp, dest.traits.udp_timeout);
        }
        match forward {
            Forward::Nat | Forward::FullNat => {
                let (l3, mut l4) = conn.deltas_of(way);
                if conn.shifts() {
                    let segment = &mut data[p.l4 as usize..p.end as usize];
                    let track = line.track();
                    l4 = l4.and(match way {
                        Direction::Original => segment::to_dest(segment, track),
                        Direction::Reply => segment::to_client(segment, track),
                    });
                }
                match p.family {
                    Family::V4 => rewrite::narrow(data, p, line.conn.becomes(way), (l3, l4)),
                    Family::V6 => rewrite::apply(data, p, &Rewrite { l4, ..line.rewrite(way) }),
                }
            }
            Forward::Dr => rewrite::decrement_ttl(data, p),
            Forward::Tunnel if dest.traits.encap != Encap::Plain => {
                self.send_wrapped(t, frame, id);
                return None;
            }
            Forward::Tunnel => {
                let (ends, may_cut) = ((dest.tunnel_source, dest.addr), dest.traits.cuts_outer);
                let ip_id = self.ids.next(Family::V4) as u16;
                if !tunnel::encapsulate(&mut frame, p, ends, ip_id, may_cut) {
                    t.stats.drop(DropReason::NoHeadroom);
                    return None;
                }
                out::send(t, frame, p.l3 as usize, link.port(), link.mac());
                return None;
            }
        }
        // The EtherType stays; a tag may be another one.
        if let Some(vlan) = port.vlan {
            put16(data, ethernet::LEN, vlan);
        }
        link.write(head_mut(data), port.mac);
        t.out.send(link.port(), frame, t.stats);
        None
    }
}
