//! Cold: the data conns that FTP's control conns announce (`ftp`): entered as awaited, begun by their
//! first packet.

use super::Core;
use super::Turn;
use super::open::Opened;
use crate::conn::ConnId;
use crate::conn::Direction;
use crate::conn::Ends;
use crate::conn::Opening;
use crate::conn::State;
use crate::conn::Track;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::laddr::Last;
use crate::parse::Parsed;
use crate::service::Forward;
use crate::tuple::Addr;
use crate::tuple::Proto;
use crate::tuple::Tuple;
use crate::verdict::DropReason;
use crate::wire::tcp;

/// Milliseconds that a control conn goes on whose time is up while it has a data conn
/// (`ip_vs_conn_expire`).
const GOES_ON: u32 = 60_000;

/// What makes a conn a data conn.
pub(super) struct Data {
    /// The dest's port.
    pub(super) dport: u16,
    /// What its control conn is to the dest.
    pub(super) laddr: Addr,
}

impl<F: Frame> Core<F> {
    /// Enters a data conn that a control conn has announced, until its first packet comes
    /// (`ip_vs_tcp_conn_listen`).
    pub(super) fn await_data<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        control: ConnId,
        ends: &Ends,
        forward: Forward,
        track: Track,
    ) -> Result<(), DropReason> {
        let dest = self.conns.get(control).dest();
        let opening = Opening { ends: *ends, dest, forward, track, shifts: false, tries: 0 };
        let expires = t.stamp.after(t.snap.timeouts.of(State::Listen));
        let conn = self.enter(t, &opening, Last::NOTHING, expires)?;
        self.conns.get_mut(conn).set_awaited();
        self.conns.helped_mut(conn).control = control.0;
        let helped = self.conns.helped_mut(control);
        (helped.vport, helped.cport) = (ends.vport, ends.cport);
        let traits = &t.snap.dest(dest).traits;
        if traits.tcp_timeouts != (0, 0) {
            self.conns.get_mut(conn).set_own_timeouts();
        }
        if traits.last_hop
            && let Some((port, mac)) = self.conns.last_hop(control)
        {
            self.conns.set_last_hop(conn, port, mac);
        }
        match ends.cport {
            // It counts when it begins, as another one.
            0 => self.count_inactive(t, dest),
            _ => self.count_opened(t, dest),
        }
        self.count(t);
        Ok(())
    }

    /// The client's tuple of the data conn that a control conn has announced last.
    fn data_tuple(&self, control: ConnId) -> Tuple {
        let (helped, ends) = (self.conns.helped(control), self.conns.ends(control));
        Tuple { sport: helped.cport, dport: helped.vport, ..ends.original() }
    }

    /// A control conn announces another data conn, or ends: the last one has not begun, if it is
    /// awaited still.
    pub(super) fn end_awaited<P>(&mut self, t: &mut Turn<'_, F, P>, control: ConnId) {
        let tuple = self.data_tuple(control);
        if let Some((id, _)) = self.conns.find(self.conns.hash(&tuple), &tuple)
            && self.conns.get(id).is_awaited()
            && self.conns.helped(id).control == control.0
        {
            self.close(t, id);
        }
    }

    /// Whether a conn whose time is up ends: a control conn goes on while its data conn does.
    #[inline(always)]
    pub(super) fn has_ended<P>(&mut self, t: &Turn<'_, F, P>, id: ConnId) -> bool {
        !self.is_helped(id) || self.data_has_ended(t, id)
    }

    /// The same of a control conn.
    #[inline(never)]
    fn data_has_ended<P>(&mut self, t: &Turn<'_, F, P>, id: ConnId) -> bool {
        let tuple = self.data_tuple(id);
        let Some((data, _)) = self.conns.find(self.conns.hash(&tuple), &tuple) else { return true };
        let conn = self.conns.get(data);
        if conn.is_awaited() || conn.expires().is_due(t.stamp) {
            return true;
        }
        self.conns.get_mut(id).set_expires(t.stamp.after(GOES_ON));
        false
    }

    /// The awaited conn that a SYN of no conn begins, and which of its directions that is: the
    /// client's, whose port was not known, or a server's that does not use the usual port.
    pub(super) fn awaited<P>(&self, t: &Turn<'_, F, P>, p: &Parsed) -> Option<(ConnId, Direction)> {
        if p.tuple.proto != Proto::Tcp || p.flags & (tcp::SYN | tcp::RST) != tcp::SYN {
            return None;
        }
        let by_dest = t.snap.ftp_dest(&p.tuple).map(|dest| dest.data_port);
        let by_client = t.snap.is_ftp_data(&p.tuple).then_some(0);
        if (by_dest, by_client) == (None, None) {
            return None;
        }
        [by_dest, by_client].into_iter().flatten().find_map(|sport| {
            let tuple = Tuple { sport, ..p.tuple };
            let found = self.conns.find(self.conns.hash(&tuple), &tuple);
            let waits = |id: ConnId| {
                let conn = self.conns.get(id);
                conn.is_awaited() && !conn.expires().is_due(t.stamp)
            };
            found.filter(|(id, _)| waits(*id))
        })
    }

    /// A data conn begins that was awaited.
    #[cold]
    pub(super) fn begin_data<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        (id, way): (ConnId, Direction),
    ) {
        if way == Direction::Reply {
            return match self.conns.set_dport(id, p.tuple.sport) {
                true => self.forward(t, frame, p, id, way),
                false => t.stats.drop(DropReason::TableFull),
            };
        }
        let control = ConnId(self.conns.helped(id).control);
        let (dest, Ends { dport, .. }) = (self.conns.get(id).dest(), self.conns.ends(id));
        let Ends { laddr, .. } = self.conns.ends(control);
        let Some(service) = t.snap.taker(&self.conns.ends(control).original()) else {
            return self.unclaimed(t, frame, p, DropReason::ClosedPort);
        };
        let data = Data { dport, laddr };
        let offer = self.offer(dest);
        let opened = self.open_as(t, frame.data(), p, service, &offer, Some(&data));
        if let Ok(conn) = opened {
            // Where the table was full, opening may have ended it, and taken its line.
            if self.conns.at(id.0).is_some_and(|id| self.conns.get(id).is_awaited()) {
                self.close(t, id);
            }
            self.conns.get_mut(conn).belongs_to_control();
            self.conns.helped_mut(control).cport = p.tuple.sport;
        }
        self.opened(t, frame, p, service, opened.map(Opened::Here));
    }
}
