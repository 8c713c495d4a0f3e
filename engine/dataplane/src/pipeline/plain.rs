//! The plain lane: a packet of a conn that simply goes on, as nearly all do.
//!
//! Everything is asked before anything is changed. Where one answer is not the usual one (the state
//! changes, the next hop is not known, the packet is too large ...), the frame comes back as it was,
//! for `lone`, which knows all answers. What this lane does to a packet, `forward` does too.

use super::Core;
use super::Look;
use super::Turn;
use super::out;
use crate::conn::ConnId;
use crate::conn::Direction;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::parse::Kind;
use crate::parse::Parsed;
use crate::service::Forward;
use crate::tuple::Family;
use crate::tuple::Proto;
use crate::verdict::DropReason;
use crate::wire::ethernet;
use crate::wire::tcp;
use crate::xmit::rewrite;
use crate::xmit::segment;
use crate::xmit::tunnel;

impl<F: Frame> Core<F> {
    /// Steps 4 to 9 for a packet of a conn that goes on; gives any other back.
    #[inline(always)]
    pub(super) fn plain<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        look: &Look,
    ) -> Option<F> {
        // Echoes, fragments and errors have tuples, too.
        if look.parsed.kind != Kind::Flow {
            return Some(frame);
        }
        // Each way its own code, in which the way is no question any more.
        match look.guess {
            Some((id, Direction::Original)) => {
                self.goes_on(t, frame, &look.parsed, id, Direction::Original)
            }
            Some((id, Direction::Reply)) => {
                self.goes_on(t, frame, &look.parsed, id, Direction::Reply)
            }
            None => Some(frame),
        }
    }

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
        let asks = p.flags & (tcp::SYN | tcp::FIN | tcp::RST) != 0;
        if asks || !line.is_tuple(way, p.family, &p.tuple) || !line.conn.goes_on(t.stamp) {
            return Some(frame);
        }
        let conn = &mut *line.conn;
        let dest_id = conn.dest();
        let dest = t.snap.dest(dest_id);
        let is_tcp = p.tuple.proto == Proto::Tcp;
        if if is_tcp { conn.would_change(way, p.flags) } else { dest.traits.replies > 0 } {
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
                let shifts = conn.shifts();
                let mut r = line.rewrite(way);
                if shifts {
                    let segment = &mut data[p.l4 as usize..p.end as usize];
                    let track = line.track();
                    r.l4 = r.l4.and(match way {
                        Direction::Original => segment::to_dest(segment, track),
                        Direction::Reply => segment::to_client(segment, track),
                    });
                }
                rewrite::apply(data, p, &r);
            }
            Forward::Dr => rewrite::decrement_ttl(data, p),
            Forward::Tunnel => {
                let (ends, may_cut) = ((dest.tunnel_source, dest.addr), dest.traits.cuts_outer);
                let ip_id = self.next_id(Family::V4) as u16;
                if !tunnel::encapsulate(&mut frame, p, ends, ip_id, may_cut) {
                    t.stats.drop(DropReason::NoHeadroom);
                    return None;
                }
                out::send(t, frame, p.l3 as usize, link.port(), link.mac());
                return None;
            }
        }
        let ether_type = match p.family {
            Family::V4 => ethernet::IPV4,
            Family::V6 => ethernet::IPV6,
        };
        ethernet::write(data, link.mac(), port.mac, port.vlan, ether_type);
        t.out.send(link.port(), frame, t.stats);
        None
    }
}
