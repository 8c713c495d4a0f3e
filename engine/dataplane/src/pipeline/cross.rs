//! Cold: conns between families (RFC 7915). Each of their packets takes this way, whatever its
//! size: what is known of it before and after step 7 counts in different families.

use super::Core;
use super::Turn;
use super::way::Way;
use crate::conn::ConnId;
use crate::conn::Direction;
use crate::fragments::Key;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::neigh::Hop;
use crate::parse::Parsed;
use crate::parse::Quoted;
use crate::tuple::Addr;
use crate::tuple::Family;
use crate::tuple::Proto;
use crate::verdict::Answer;
use crate::verdict::DropReason;
use crate::verdict::Made;
use crate::wire::get16;
use crate::wire::ipv4;
use crate::wire::put16;
use crate::wire::udp;
use crate::xmit::cross;
use crate::xmit::cross::Fit;
use crate::xmit::cross::Header;
use crate::xmit::cross_icmp;
use crate::xmit::fragment;
use crate::xmit::icmp::Translation;
use crate::xmit::proxy;
use crate::xmit::rewrite;
use arrayvec::ArrayVec;

/// Pieces of one packet: 65,535 bytes in such of 1,232 are 54.
const MAX_PIECES: usize = 64;

/// Where a packet goes next.
#[derive(Clone, Copy)]
pub(super) enum Next {
    /// To this next hop.
    Hop(Hop),
    /// Back to the client.
    Back(Way),
}

impl<F: Frame> Core<F> {
    /// Steps 7 and 8 for a whole packet or a first fragment; `mtu` is its way's.
    #[cold]
    #[inline(never)]
    pub(super) fn cross<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        (id, way): (ConnId, Direction),
        (next, mtu): (Next, u16),
    ) {
        let by = self.introduced_by(id, way);
        let Some((frame, fit)) = self.cross_fits(t, frame, p, (mtu, by)) else { return };
        // What this makes of the old header's addresses goes with that header.
        let Some(mut frame) = self.transform(t, frame, p, id, way) else { return };
        let r = self.conns.rewrite(id, way);
        if p.tuple.proto == Proto::Udp {
            let header = Header::of(frame.data(), p);
            let l4 = usize::from(p.l4);
            let segment = &mut frame.data_mut()[l4..l4 + header.payload];
            // The sum over a datagram is not to be had from its first fragment.
            if header.place.is_some() && get16(segment, udp::CHECKSUM) == 0 {
                return t.stats.drop(DropReason::NoChecksum);
            }
            cross::give_checksum(segment, (r.src, r.dst));
        }
        self.cross_over(t, frame, p, (r.src, r.dst), (next, fit), by);
    }

    /// The same for a later fragment, which only its addresses tell from others.
    pub(super) fn cross_piece<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        key: Key,
        (id, way): (ConnId, Direction),
        mtu: u16,
    ) {
        let Some((mut frame, fit)) = self.cross_fits(t, frame, p, (mtu, 0)) else { return };
        if let Some(known) = self.fragments.known(&key) {
            rewrite::set_fragment_id(frame.data_mut(), p, known.id);
        }
        // Its first fragment has got a header.
        let by = self.introduced_by(id, way);
        if by > 0 && !proxy::shift_fragment(frame.data_mut(), p, by) {
            return t.stats.drop(DropReason::TooBig);
        }
        rewrite::decrement_ttl(frame.data_mut(), p);
        let r = self.conns.rewrite(id, way);
        let next = match way {
            Direction::Original => Next::Hop(t.snap.dest(self.conns.get(id).dest()).hop),
            Direction::Reply => match self.way_back(t, id) {
                Some(way) => Next::Back(way),
                None => return t.stats.drop(DropReason::NoRoute),
            },
        };
        self.cross_over(t, frame, p, (r.src, r.dst), (next, fit), 0);
    }

    /// Gives the frame back where it may go on, with how it fits a way of this MTU, when it has
    /// grown by so much.
    fn cross_fits<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        (mtu, by): (u16, u16),
    ) -> Option<(F, Fit)> {
        if p.ttl <= 1 {
            self.refuse(t, frame, p, DropReason::TtlExceeded, Answer::TimeExceeded);
            return None;
        }
        let header_len = usize::from(p.l4 - p.l3);
        let fit = Header::of(frame.data(), p).fit(header_len, mtu.into(), by.into());
        if let Fit::TooBig(mtu) = fit {
            self.refuse(t, frame, p, DropReason::TooBig, Answer::TooBig(mtu));
            return None;
        }
        Some((frame, fit))
    }

    /// Exchanges the IP header of a packet that is done but for that, and sends it.
    fn cross_over<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        ends: (Addr, Addr),
        (next, fit): (Next, Fit),
        by: u16,
    ) {
        let id = self.ids.next(Family::V4) as u16;
        let l3 = usize::from(p.l3);
        let mut pieces = ArrayVec::<F, MAX_PIECES>::new();
        // Step 7 may have made it shorter (a SYN's data is not told before a PROXY header).
        if let Fit::Cut(mtu) = fit
            && usize::from(get16(&frame.data()[l3..], ipv4::TOTAL)) > mtu
        {
            let ip = &mut frame.data_mut()[l3..];
            if get16(ip, ipv4::FRAGMENT) & (ipv4::MF | ipv4::OFFSET) == 0 {
                put16(ip, ipv4::ID, id);
            }
            let mut lost = false;
            let whole = fragment::split(&mut frame, l3, mtu, t.pool, |piece| {
                lost |= pieces.try_push(piece).is_err();
            });
            if !whole || lost {
                return t.stats.drop(DropReason::NoFrame);
            }
            t.stats.made[Made::Fragment as usize].add(pieces.len() as u64);
        }
        for mut frame in core::iter::once(frame).chain(pieces) {
            let header = Header::of(frame.data(), p);
            // The rest is Ethernet padding, of which a longer header needs none.
            frame.set_len(usize::from(p.l4) + header.payload);
            match header.write(&mut frame, p.l4.into(), ends, (id, by)) {
                Some(l3) => self.cross_emit(t, frame, l3, next),
                None => t.stats.drop(DropReason::NoHeadroom),
            }
        }
    }

    fn cross_emit<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        l3: usize,
        next: Next,
    ) {
        match next {
            Next::Hop(hop) => self.emit_fitting(t, frame, l3, hop),
            Next::Back(way) => self.send_by(t, frame, l3, way),
        }
    }

    /// An ICMP error about a packet of such a conn.
    #[cold]
    pub(super) fn cross_error<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        q: &Quoted,
        id: ConnId,
        way: Direction,
    ) {
        let ip_id = self.ids.next(Family::V4) as u16;
        let rewrite = self.conns.rewrite(id, way);
        let shifts = self.conns.get(id).shifts().then(|| self.conns.track(id));
        let dest = t.snap.dest(self.conns.get(id).dest());
        let limit = match way {
            Direction::Original => dest.mtu,
            Direction::Reply => {
                let back = self.way_back(t, id);
                back.map_or(u16::MAX, |back| t.snap.port(back.port()).mtu)
            }
        };
        // Whoever speaks, the other side knows him as the one it talks to: he has no address there.
        let how = Translation { way, rewrite, shifts, new_src: None };
        match cross_icmp::translate(&mut frame, p, q, &how, limit, ip_id) {
            Err(reason) => t.stats.drop(reason),
            Ok(l3) if way == Direction::Original => self.emit_fitting(t, frame, l3, dest.hop),
            Ok(l3) => self.send_back(t, frame, l3, id),
        }
    }
}
