//! Cold: FTP's control conns (`Terms::ftp`) and the data conns that they announce, as the kernel's
//! `ip_vs_ftp` has them, by nat and full-NAT.
//!
//! What a server says of its address becomes the VIP, and what a client says of its own becomes what
//! the server knows it by: bytes of the stream become others (`conn::change`), perhaps more or fewer.
//! The data conn is entered as one that is awaited (`State::Listen`): without the port of the
//! client where that is not known, so that no packet finds it, until a SYN to its VIP and port does
//! (`awaited`); and whole where the server is the one to begin it. All of a client's lives with
//! one worker, that of its address (`steer`).

use super::Core;
use super::Turn;
use crate::conn::ConnId;
use crate::conn::Direction;
use crate::conn::Ends;
use crate::conn::Helped;
use crate::conn::Introduction;
use crate::conn::State;
use crate::conn::Track;
use crate::conn::change::Change;
use crate::conn::change::Round;
use crate::conn::change::Stream;
use crate::conn::is_next;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::isn::is_past;
use crate::laddr::Lease;
use crate::parse::Parsed;
use crate::service::ClientAddress;
use crate::service::Forward;
use crate::tuple::Addr;
use crate::tuple::Tuple;
use crate::verdict::DropReason;
use crate::wire::checksum::Delta;
use crate::wire::ftp;
use crate::wire::ftp::Command;
use crate::wire::ftp::Place;
use crate::wire::get32;
use crate::wire::tcp;
use crate::xmit::proxy::is_whole;
use crate::xmit::segment;
use crate::xmit::stream;
use zerocopy::FromZeros;

/// Ports of the VIP that are tried for a data conn: the server's own, then others.
const PORTS_TRIED: u16 = 16;
/// A server's well-known ports serve others.
const FIRST_DATA_PORT: u16 = 1024;

impl<F: Frame> Core<F> {
    /// Whether a conn's ends speak FTP.
    pub(super) fn is_helped(&self, id: ConnId) -> bool {
        let conn = self.conns.get(id);
        conn.introduces() && conn.is_tcp() && self.conns.extra(id).introduction.is_helped()
    }

    /// A control conn opens with this segment, which may be none.
    #[cold]
    pub(super) fn begin_help(&mut self, id: ConnId, segment: &[u8]) {
        let conn = self.conns.get(id);
        // Between families addresses cannot be said.
        if !conn.is_tcp() || conn.is_crossed() || !conn.forward().sees_replies() {
            return;
        }
        if conn.forward() == Forward::Nat {
            *self.conns.track_mut(id) = Track::NEW;
        }
        if !self.conns.get(id).introduces() {
            let isn = if segment.is_empty() { 0 } else { get32(segment, tcp::SEQ) };
            self.conns.extra_mut(id).introduction = Introduction::new(ClientAddress::Off, isn);
        }
        self.conns.extra_mut(id).introduction.set_helped();
        *self.conns.helped_mut(id) = Helped::new_zeroed();
        self.conns.introduce(id);
    }

    /// How the numbers of both streams move, where `client` says it of the client's but for FTP.
    pub(super) fn said(&self, id: ConnId, client: Stream) -> [Stream; 2] {
        let [by_client, by_dest] = &self.conns.helped(id).said;
        let change = if client.change.is_some() { client.change } else { by_client.change };
        [Stream { change, ..client }, Stream { shift: by_dest.shift, change: by_dest.change }]
    }

    /// What is added to the dest's newest numbers.
    pub(super) fn said_shift(&self, id: ConnId) -> u32 {
        if self.is_helped(id) { self.conns.helped(id).said[1].shift } else { 0 }
    }

    /// A segment of a control conn: what it says is read, and changed where it has to be. Gives what
    /// it is then, and what that does to its checksum.
    pub(super) fn help<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: &mut F,
        p: &Parsed,
        (id, way): (ConnId, Direction),
    ) -> Result<(Parsed, Delta), DropReason> {
        let segment = &frame.data()[p.l4 as usize..p.end as usize];
        let (seq, header) = (get32(segment, tcp::SEQ), tcp::header_len(segment));
        if p.flags & tcp::SYN != 0 {
            self.begin_stream(id, way, seq.wrapping_add(1));
            return Ok((*p, Delta::NONE));
        }
        let (end, ack) = segment::extent(segment);
        if p.flags & tcp::ACK_BIT != 0 {
            self.note_ack(id, way.opposite(), ack);
        }
        let whole = is_whole(frame.data(), p);
        if whole && segment.len() > header && p.flags & tcp::RST == 0 {
            self.read(t, &segment[header..], seq, (id, way))?;
        }
        let said = &mut self.conns.helped_mut(id).said[way as usize];
        let (change, (form, port)) = (said.change, said.says());
        if change.is_some() && !whole && is_past(change.end(), seq) && is_past(end, change.at) {
            return Err(DropReason::HelperBusy);
        }
        if !said.has_begun() || is_next(end, said.next) {
            said.pass(end);
        }
        if !change.is_some() {
            return Ok((*p, Delta::NONE));
        }
        let ends = self.conns.ends(id);
        let addr = if way == Direction::Original { ends.laddr } else { ends.vaddr };
        let spliced = stream::splice(frame, p, &change, &form.write(addr, port));
        spliced.ok_or(DropReason::NoHeadroom)
    }

    /// A SYN that begins one end's stream; the client's that of both.
    fn begin_stream(&mut self, id: ConnId, way: Direction, next: u32) {
        let begins = self.conns.get(id).state() == State::SynRecv;
        let helped = self.conns.helped_mut(id);
        match way {
            Direction::Original if begins => {
                helped.said = FromZeros::new_zeroed();
                helped.said[0].pass(next);
            }
            Direction::Reply if !helped.said[1].has_begun() => helped.said[1].pass(next),
            _ => {}
        }
    }

    /// An end acknowledges the other's stream.
    fn note_ack(&mut self, id: ConnId, other: Direction, ack: u32) {
        let back = self.streams(id)[other as usize].back(ack, Round::Down);
        let said = &mut self.conns.helped_mut(id).said[other as usize];
        if said.is_open() && !is_past(said.change.end(), back) && !is_past(back, said.next) {
            said.set_acked();
        }
    }

    /// Reads what a segment says that begins with `seq`. What is to be changed of it is written down.
    fn read<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        data: &[u8],
        seq: u32,
        (id, way): (ConnId, Direction),
    ) -> Result<(), DropReason> {
        let helped = self.conns.helped_mut(id);
        let said = helped.said[way as usize];
        let place = match way {
            Direction::Original => match ftp::command(data) {
                Some(Command::Tell(place)) => Some(place),
                Some(Command::Ask(asked)) => {
                    // Not by one that comes again, which may have been answered.
                    if !is_past(said.next, seq) {
                        helped.set_asked(Some(asked));
                    }
                    None
                }
                None => None,
            },
            Direction::Reply => helped.asked().and_then(|asked| ftp::answer(data, asked)),
        };
        let Some(place) = place else { return Ok(()) };
        let at = seq.wrapping_add(place.at as u32);
        // What has passed already has passed as it was.
        if !said.has_begun() || is_past(said.next, at) {
            return Ok(());
        }
        self.close_change(id, way)?;
        let announced = match way {
            Direction::Original => self.announced_by_client(t, id, &place)?,
            Direction::Reply => self.announced_by_dest(t, id, &place)?,
        };
        let Some((addr, port)) = announced else { return Ok(()) };
        let text = place.form.write(addr, port);
        if text[..] == data[place.at..place.at + place.len] {
            return Ok(());
        }
        let change = Change { at, old: place.len as u16, new: text.len() as u16 };
        self.conns.helped_mut(id).said[way as usize].begin(change, place.form, port);
        let shift = match way {
            Direction::Original => &mut self.conns.track_mut(id).seq_shift,
            Direction::Reply => &mut self.conns.helped_mut(id).said[1].shift,
        };
        *shift = shift.wrapping_add(change.by());
        Ok(())
    }

    /// A stream is to be changed anew: of what was changed before its receiver must have all, a PROXY
    /// header included.
    fn close_change(&mut self, id: ConnId, way: Direction) -> Result<(), DropReason> {
        if self.conns.helped(id).said[way as usize].is_open() {
            return Err(DropReason::HelperBusy);
        }
        let intro = &self.conns.extra(id).introduction;
        if way == Direction::Original && intro.change().is_some() {
            if !intro.is_known() {
                return Err(DropReason::HelperBusy);
            }
            self.end_introduction(id);
        }
        Ok(())
    }

    /// The client says where the server is to connect to: what the server is told instead. None
    /// where that is as it was, or another host's address, which nobody may be sent to (RFC 2577
    /// section 3).
    fn announced_by_client<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        id: ConnId,
        place: &Place,
    ) -> Result<Option<(Addr, u16)>, DropReason> {
        let control = self.conns.ends(id);
        if place.addr != Some(control.caddr) {
            return Ok(None);
        }
        let (cport, vport) = (place.port, control.vport.wrapping_sub(1));
        let dport = control.dport.wrapping_sub(1);
        let mut ends = Ends { cport, vport, lport: cport, dport, ..control };
        self.end_awaited(t, id);
        if !self.end_before(t, &ends.original()) {
            return Ok(None);
        }
        if self.conns.get(id).forward() == Forward::Nat {
            self.make_way(t, &ends)?;
            self.await_data(t, id, &ends, Forward::Nat, Track::NEW)?;
            return Ok(None);
        }
        let Lease { lport, pair, .. } =
            self.lease_of(t, &control.laddr, &ends).ok_or(DropReason::NoLease)?;
        ends.lport = lport;
        self.await_data(t, id, &ends, Forward::FullNat, Track::of(pair))?;
        Ok(Some((ends.laddr, lport)))
    }

    /// Ends the last conn of a client's tuple, which the server is to open anew. False where it goes
    /// on.
    fn end_before<P: Pool<Frame = F>>(&mut self, t: &mut Turn<'_, F, P>, tuple: &Tuple) -> bool {
        let Some((before, _)) = self.conns.find(self.conns.hash(tuple), tuple) else { return true };
        let conn = self.conns.get(before);
        let open = matches!(conn.state(), State::Established | State::SynRecv | State::SynSent);
        if open && !conn.expires().is_due(t.stamp) || conn.elsewhere().is_some() {
            return false;
        }
        self.close(t, before);
        true
    }

    /// The server says where the client is to connect to: what the client is told instead. None where
    /// the server means another host, or a port that no data conn has (RFC 2577 section 3).
    fn announced_by_dest<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        id: ConnId,
        place: &Place,
    ) -> Result<Option<(Addr, u16)>, DropReason> {
        let control = self.conns.ends(id);
        let is_other = |addr| addr != control.daddr && addr != control.vaddr;
        if place.port < FIRST_DATA_PORT || place.addr.is_some_and(is_other) {
            return Ok(None);
        }
        self.end_awaited(t, id);
        let (cport, lport, dport) = (0, 0, place.port);
        let at = |vport| Ends { cport, vport, laddr: control.caddr, lport, dport, ..control };
        let others = (1..PORTS_TRIED).map(|n| (dport ^ n << 10) | 1 << 15);
        let is_free = |vport: &u16| {
            let tuple = at(*vport).original();
            !t.snap.has_service_at(&tuple)
                && self.conns.find(self.conns.hash(&tuple), &tuple).is_none()
        };
        let Some(vport) = core::iter::once(dport).chain(others).find(is_free) else {
            return Err(DropReason::ReplyClash);
        };
        self.await_data(t, id, &at(vport), Forward::Nat, Track::NEW)?;
        self.conns.helped_mut(id).set_asked(None);
        Ok(Some((control.vaddr, vport)))
    }
}
