//! Cold: conns whose dest is told who its client is (`Traits::client_address`).
//!
//! A PROXY protocol header is a segment of the director's own, sent before the client's first
//! segment that acknowledges the SYN-ACK, be it bare: a server that speaks first waits for it. From
//! then on the client's numbers are shifted by the header's length besides, and until the dest has
//! acknowledged the whole header it is sent again and the conn `introduces`. After that the conn is
//! one like any other, and its packets take the plain way. To the client's numbers the header is a
//! change of its stream (`conn::change`), as what FTP's ends say is (`ftp`).

use super::Core;
use super::Turn;
use crate::conn::ConnId;
use crate::conn::Conns;
use crate::conn::Direction;
use crate::conn::Introduction;
use crate::conn::Rewrite;
use crate::conn::chain;
use crate::conn::chain::Chain;
use crate::conn::change::Stream;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::isn::is_past;
use crate::parse::Parsed;
use crate::parse::Quoted;
use crate::service::ClientAddress;
use crate::service::Service;
use crate::tick::Stamp;
use crate::tuple::Family;
use crate::tuple::Proto;
use crate::verdict::DropReason;
use crate::verdict::Made;
use crate::wire::checksum::Delta;
use crate::wire::get16;
use crate::wire::get32;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::wire::options;
use crate::wire::proxy;
use crate::wire::tcp;
use crate::wire::udp;
use crate::xmit::proxy as xmit;
use crate::xmit::rewrite;
use crate::xmit::stream;

/// A header is sent again after so many milliseconds, each time after twice as many.
const FIRST_WAIT: u32 = 200;
/// How often the wait doubles: to 102 s.
const LEVELS: usize = 10;
/// Headers sent again per call at most.
const MAX_AGAIN: usize = 32;

/// Headers that are not acknowledged yet: a list for each wait, so that the oldest of a list is
/// always the first to be due. They need no room of their own: what a header says follows from its
/// conn.
pub(super) struct Introductions {
    lists: [Chain; LEVELS],
}

/// They are linked through what these conns keep.
const LINKS: chain::At<Conns> = |conns, id| &mut conns.extra_mut(ConnId(id)).introduction.links;

impl Introductions {
    pub(super) const fn new() -> Self {
        Self { lists: [Chain::EMPTY; LEVELS] }
    }

    fn add(&mut self, conns: &mut Conns, id: ConnId, level: usize, now: Stamp) {
        self.lists[level].join(conns, LINKS, id.0);
        let intro = &mut conns.extra_mut(id).introduction;
        intro.level = level as u8;
        intro.due = now.after(FIRST_WAIT << level).0;
    }

    fn remove(&mut self, conns: &mut Conns, id: ConnId) {
        let level = conns.extra(id).introduction.level;
        self.lists[level as usize].leave(conns, LINKS, id.0);
    }

    fn due(&self, conns: &Conns, level: usize, now: Stamp) -> Option<ConnId> {
        let is_due = |id: &ConnId| Stamp(conns.extra(*id).introduction.due).is_due(now);
        self.lists[level].oldest().map(ConnId).filter(is_due)
    }
}

impl<F: Frame> Core<F> {
    /// A conn opens whose dest is to be told of the client; `segment` is the client's SYN. Clients
    /// in `proxy_in` tell it by themselves.
    #[cold]
    pub(super) fn begin_introduction(
        &mut self,
        id: ConnId,
        service: &Service,
        kind: ClientAddress,
        segment: &[u8],
    ) {
        let ends = self.conns.ends(id);
        if service.proxy_in.iter().any(|prefix| prefix.contains(ends.caddr)) {
            return;
        }
        if ends.proto == Proto::Tcp {
            let isn = get32(segment, tcp::SEQ);
            self.conns.extra_mut(id).introduction = Introduction::new(kind, isn);
        }
        self.conns.introduce(id);
    }

    /// The conn ends, or its dest knows its client.
    #[inline(always)]
    pub(super) fn end_introduction(&mut self, id: ConnId) {
        if self.conns.get(id).introduces() {
            self.end_introduced(id);
        }
    }

    #[inline(never)]
    fn end_introduced(&mut self, id: ConnId) {
        if self.conns.get(id).is_tcp() && self.conns.extra(id).introduction.is_listed() {
            self.introductions.remove(&mut self.conns, id);
        }
        match self.is_helped(id) {
            true => self.conns.extra_mut(id).introduction.finish(),
            false => self.conns.get_mut(id).set_introduced(),
        }
    }

    /// Step 7 of a conn of which what passes is changed. None where the packet is sent or dropped
    /// already.
    #[cold]
    #[inline(never)]
    pub(super) fn introduce<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        (id, way): (ConnId, Direction),
        mut r: Rewrite,
    ) -> Option<F> {
        let mut p = *p;
        if self.is_helped(id) {
            match self.help(t, &mut frame, &p, (id, way)) {
                Ok((spliced, delta)) => (p, r.l4) = (spliced, r.l4.and(delta)),
                Err(reason) => {
                    t.stats.drop(reason);
                    return None;
                }
            }
        }
        let p = &p;
        match (p.tuple.proto, way) {
            (Proto::Udp, Direction::Original) => {
                rewrite::apply(frame.data_mut(), p, &r);
                return self.introduce_datagram(t, frame, p, id);
            }
            (Proto::Udp, Direction::Reply) => {}
            (_, Direction::Original) => return self.introduce_segment(t, frame, p, id, r),
            (_, Direction::Reply) => {
                let segment = &mut frame.data_mut()[p.l4 as usize..p.end as usize];
                r.l4 = r.l4.and(self.heard(segment, p.flags, id, t.stamp));
            }
        }
        rewrite::apply(frame.data_mut(), p, &r);
        Some(frame)
    }

    /// A client's segment.
    fn introduce_segment<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        id: ConnId,
        mut r: Rewrite,
    ) -> Option<F> {
        let is_syn = p.flags & tcp::SYN != 0;
        let is_bound = p.flags & (tcp::SYN | tcp::RST | tcp::ACK_BIT) == tcp::ACK_BIT;
        let kind = self.conns.extra(id).introduction.kind();
        if is_syn && kind != ClientAddress::Off {
            r.l4 = r.l4.and(xmit::drop_data(&mut frame, p));
            if kind != ClientAddress::Toa {
                // A subflow's data is numbered from its first byte (RFC 8684 section 3.3), which
                // the header would become: the conn is plain TCP.
                let segment = &mut frame.data_mut()[p.l4 as usize..];
                r.l4 = r.l4.and(xmit::blank_options(segment, options::MPTCP));
            }
            let intro = &mut self.conns.extra_mut(id).introduction;
            if intro.len == 0 {
                // Perhaps a new conn of a client that gave the first one up.
                let isn = get32(&frame.data()[p.l4 as usize..], tcp::SEQ);
                intro.first = isn.wrapping_add(1);
            }
        }
        if kind == ClientAddress::Toa {
            // A client must not speak for another one.
            let segment = &mut frame.data_mut()[p.l4 as usize..];
            r.l4 = r.l4.and(xmit::blank_options(segment, proxy::TOA));
        } else if is_bound && kind != ClientAddress::Off {
            self.tell(t, frame.data(), p, id);
        }
        let streams = self.streams(id);
        let segment = &mut frame.data_mut()[p.l4 as usize..];
        let track = self.conns.track_mut(id);
        r.l4 = r.l4.and(stream::renumber(segment, Direction::Original, &streams, track));
        rewrite::apply(frame.data_mut(), p, &r);
        if kind == ClientAddress::Toa && is_bound {
            let option = proxy::toa(p.tuple.src, p.tuple.sport);
            let grows = self.conns.get(id).is_crossed() && p.family == Family::V4;
            let longer = if grows { ipv6::LEN - ipv4::LEN } else { 0 };
            let mtu = usize::from(t.snap.dest(self.conns.get(id).dest()).mtu);
            if xmit::has_room(frame.data(), p, option.len(), mtu - longer)
                && !xmit::insert_option(&mut frame, p, &option)
            {
                t.stats.drop(DropReason::NoHeadroom);
                return None;
            }
        }
        Some(frame)
    }

    /// Takes down what the client's segment says, and sends the header before the first one.
    fn tell<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: &[u8],
        p: &Parsed,
        id: ConnId,
    ) {
        let ts_shift = self.conns.track(id).ts_shift;
        let intro = &mut self.conns.extra_mut(id).introduction;
        xmit::note(intro, &frame[p.l4 as usize..p.end as usize], ts_shift);
        if intro.len > 0 {
            return;
        }
        let ip = &frame[p.l3 as usize..];
        intro.traffic_class = match p.family {
            Family::V4 => ip[ipv4::TOS],
            Family::V6 => ipv6::traffic_class(ip),
        };
        intro.ttl = p.ttl - 1;
        let len = self.header(id).len();
        self.conns.extra_mut(id).introduction.len = len as u8;
        let track = self.conns.track_mut(id);
        track.seq_shift = track.seq_shift.wrapping_add(len as u32);
        self.introductions.add(&mut self.conns, id, 0, t.stamp);
        self.send_header(t, id);
    }

    fn header(&self, id: ConnId) -> proxy::Header {
        let tuple = self.conns.ends(id).original();
        match self.conns.extra(id).introduction.kind() {
            ClientAddress::ProxyV1 => proxy::v1(&tuple),
            _ => proxy::v2(&tuple),
        }
    }

    /// Sends a conn's header. Where the pool has no frame it comes with the next time it is due.
    fn send_header<P: Pool<Frame = F>>(&mut self, t: &mut Turn<'_, F, P>, id: ConnId) {
        let Some(mut frame) = t.pool.alloc() else { return };
        let intro = &self.conns.extra(id).introduction;
        let shift = self.conns.track(id).seq_shift;
        let seq = intro.first.wrapping_add(shift).wrapping_sub(intro.len.into());
        let (ends, header) = (self.conns.ends(id), self.header(id));
        if !xmit::header_segment(&mut frame, &ends, intro, seq, &header) {
            return;
        }
        t.stats.made[Made::ProxyHeader as usize].add(1);
        let hop = t.snap.dest(self.conns.get(id).dest()).hop;
        self.emit_fitting(t, frame, 0, hop);
    }

    /// Headers that no acknowledgement has come for.
    pub(super) fn introduce_again<P: Pool<Frame = F>>(&mut self, t: &mut Turn<'_, F, P>) {
        let mut left = MAX_AGAIN;
        for level in 0..LEVELS {
            while let Some(id) = self.introductions.due(&self.conns, level, t.stamp) {
                if left == 0 {
                    return;
                }
                left -= 1;
                self.introductions.remove(&mut self.conns, id);
                let next = (level + 1).min(LEVELS - 1);
                self.introductions.add(&mut self.conns, id, next, t.stamp);
                self.send_header(t, id);
            }
        }
    }

    /// A dest's segment: what it does to the checksum. Sees whether the dest knows its client now.
    fn heard(&mut self, segment: &mut [u8], flags: u8, id: ConnId, now: Stamp) -> Delta {
        let Introduction { first, len, .. } = self.conns.extra(id).introduction;
        let kind = self.conns.extra(id).introduction.kind();
        let streams = self.streams(id);
        let track = self.conns.track_mut(id);
        let has_ack = flags & tcp::ACK_BIT != 0;
        // As the client counts; before the client's first byte within the header.
        let acked = get32(segment, tcp::ACK).wrapping_sub(track.seq_shift);
        let mut delta = stream::renumber(segment, Direction::Reply, &streams, track);
        if kind == ClientAddress::Toa {
            let is_syn = flags & tcp::SYN != 0;
            // A server that says more than SYN-ACK has accepted the conn, and with it the option.
            let says = segment.len() > tcp::header_len(segment) || flags & tcp::FIN != 0;
            if is_syn {
                let by = proxy::toa_len(self.conns.ends(id).caddr.family());
                delta = delta.and(xmit::lower_mss(segment, by));
            } else if says || (has_ack && is_past(acked, first)) {
                self.end_introduction(id);
            }
            return delta;
        }
        if len == 0 {
            return delta;
        }
        let is_known = has_ack && !is_past(first, acked);
        if flags & tcp::RST != 0 || (is_known && self.is_over(id, now)) {
            self.end_introduction(id);
        }
        delta
    }

    /// How the numbers of the client's stream and of the dest's move, in a conn of which what passes
    /// is changed.
    pub(super) fn streams(&self, id: ConnId) -> [Stream; 2] {
        let (intro, shift) = (&self.conns.extra(id).introduction, self.conns.track(id).seq_shift);
        let client = Stream { shift, change: intro.change() };
        match self.is_helped(id) {
            true => self.said(id, client),
            false => [client, Stream::SAME],
        }
    }

    /// The dest has acknowledged the whole header: it is not sent again, and when it was not
    /// before, that is all. Else a copy may still be on its way, which the dest reports as one
    /// (D-SACK, RFC 2883), at the latest as long from now as the last one has taken.
    fn is_over(&mut self, id: ConnId, now: Stamp) -> bool {
        let before = self.conns.extra(id).introduction;
        if !before.is_known() {
            self.introductions.remove(&mut self.conns, id);
            let until = now.after(FIRST_WAIT << before.level);
            self.conns.extra_mut(id).introduction.set_known(until);
        }
        before.level == 0 || (before.is_known() && Stamp(before.due).is_due(now))
    }

    /// A client's datagram, translated: gets the header.
    fn introduce_datagram<P>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        id: ConnId,
    ) -> Option<F> {
        let header = proxy::v2(&p.tuple);
        let len = usize::from(get16(&frame.data()[p.l4 as usize..], udp::LENGTH));
        let dest = t.snap.dest(self.conns.get(id).dest());
        let grown = p.ip_len() + header.len();
        // What the dest's MTU allows fits with the header, unless a reload has just taken the
        // header from the service: its MTU then has no room for the conns of before.
        let outgrows = p.ip_len() <= dest.mtu.into() && grown > t.snap.port(dest.out).mtu.into();
        if outgrows || grown.max(len + header.len()) > usize::from(u16::MAX) {
            t.stats.drop(DropReason::TooBig);
            return None;
        }
        if !xmit::insert_in_datagram(&mut frame, p, &header) {
            t.stats.drop(DropReason::NoHeadroom);
            return None;
        }
        Some(frame)
    }

    /// By how much the datagrams of a conn grow on this way.
    pub(super) fn introduced_by(&self, id: ConnId, way: Direction) -> u16 {
        let conn = self.conns.get(id);
        match conn.introduces() && !conn.is_tcp() && way == Direction::Original {
            true => proxy::datagram_len(self.conns.ends(id).caddr.family()),
            false => 0,
        }
    }

    /// An ICMP error quotes what its receiver is to have sent: as if nothing had been changed.
    #[cold]
    pub(super) fn untell(
        &self,
        frame: &mut F,
        p: &Parsed,
        q: &Quoted,
        (id, way): (ConnId, Direction),
    ) -> Parsed {
        let (message, family) = (p.l4 as usize, p.family);
        let end = p.end as usize;
        if way == Direction::Original {
            // The client quotes what the dest said; datagrams of the dest's are not changed.
            if self.is_helped(id) {
                let [_, dest] = self.streams(id);
                stream::quoted(&mut frame.data_mut()[q.l4..end], &dest, 0);
            }
            return *p;
        }
        if q.tuple.proto == Proto::Udp {
            let header = proxy::v2(&self.conns.ends(id).original());
            xmit::lower_mtu(&mut frame.data_mut()[message..end], family, header.len() as u16);
            return xmit::cut_from_quoted(frame, p, q, &header);
        }
        let intro = &self.conns.extra(id).introduction;
        if intro.kind() == ClientAddress::Toa {
            let by = proxy::toa_len(self.conns.ends(id).caddr.family());
            xmit::lower_mtu(&mut frame.data_mut()[message..end], family, by);
        }
        let [client, _] = self.streams(id);
        if client.change.is_some() {
            stream::quoted(&mut frame.data_mut()[q.l4..end], &client, client.shift);
        }
        *p
    }
}
