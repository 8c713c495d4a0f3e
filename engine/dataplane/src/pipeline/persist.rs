//! Cold: conns of persistent services, which go where their client's template says.
//!
//! The worker that a conn belongs to asks the one that keeps the template, by handing the frame
//! over; that one names the dest and hands it back. The frame waits in the rings between them,
//! which are bounded (`DropReason::HandoverFull`).

use super::Core;
use super::Handed;
use super::Seek;
use super::Turn;
use super::outbox::Asker;
use super::outbox::Offer;
use super::pieces::SETTLED;
use crate::conn::Ends;
use crate::conn::State;
use crate::conn::list::LOOKED_AT;
use crate::conn::list::Persistent;
use crate::conn::list::Row;
use crate::conn::list::Sheet;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::parse::Parsed;
use crate::sched;
use crate::sched::Ask;
use crate::service::DestId;
use crate::service::Persistence;
use crate::service::Service;
use crate::snapshot::Snapshot;
use crate::templates::Key;
use crate::templates::Link;
use crate::templates::New;
use crate::templates::Template;
use crate::tick::Tick;
use crate::tuple::Proto;
use crate::tuple::Tuple;
use crate::verdict::DropReason;

/// Templates looked at per call at most.
const MAX_SWEPT: usize = 1024;
/// Workers asked for a template at most, one after another.
const MAX_ASKED: u8 = 2;
/// Templates looked at for one that is due when there is no room.
const RECLAIM: usize = 64;

impl<F: Frame> Core<F> {
    /// A packet that opens a conn of a persistent service, here or where `asker` is.
    pub(super) fn persist<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        (service, persistence): (&Service, &Persistence),
        asker: Asker,
    ) {
        let key = Key::of(service, persistence, &p.tuple);
        let keeper = self.keeper(&key);
        if keeper != self.worker {
            self.unnumber(&mut frame, p);
            let seeks = Some(Seek::Template(asker));
            let handed = Handed { port: t.port, frame, visited: SETTLED, seeks };
            return t.out.hand_over(keeper, handed, t.stats);
        }
        match self.template(t, p, (service, persistence), &key) {
            Ok(offer) if usize::from(asker.worker) == self.worker => {
                self.sender = asker.sender.map(usize::from);
                self.open_for(t, frame, p, offer);
            }
            Ok(offer) => {
                let seeks = Some(Seek::Conn(offer, asker));
                let handed = Handed { port: t.port, frame, visited: SETTLED, seeks };
                t.out.hand_over(asker.worker.into(), handed, t.stats);
            }
            Err(reason) => {
                self.give_up(t, asker, &p.tuple);
                match reason {
                    DropReason::Defended => t.stats.drop(reason),
                    reason => self.opened(t, frame, p, service, Err(reason)),
                }
            }
        }
    }

    /// Another worker asks for the template of a packet's client.
    pub(super) fn template_sought<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        mut asker: Asker,
    ) {
        let Some(service) = t.snap.taker(&p.tuple) else {
            self.give_up(t, asker, &p.tuple);
            return self.unclaimed(t, frame, p, DropReason::ClosedPort);
        };
        // Back where it came from: another packet may have opened the conn meanwhile.
        if usize::from(asker.worker) == self.worker
            && let Some(found) = self.conns.find(self.conns.hash(&p.tuple), &p.tuple)
        {
            return self.odd(t, frame, p, found, SETTLED);
        }
        // By another snapshot it may be persistent otherwise: another worker keeps the template.
        asker.asked += 1;
        match &service.terms.persistence {
            Some(persistence) if asker.asked <= MAX_ASKED => {
                self.persist(t, frame, p, (service, persistence), asker);
                self.settle_sender(t, &p.tuple);
            }
            _ => {
                self.give_up(t, asker, &p.tuple);
                t.stats.drop(DropReason::Reloading);
            }
        }
    }

    /// Nothing comes of a conn that a template was asked for: the workers that sent the one there
    /// whose place it was to take hear that this has ended.
    fn give_up<P>(&self, t: &mut Turn<'_, F, P>, asker: Asker, tuple: &Tuple) {
        if let Some(sender) = asker.sender {
            self.tell_ended(t, sender.into(), asker.worker.into(), tuple);
        }
    }

    /// The template's worker has named the dest.
    pub(super) fn dest_found<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        (offer, asker): (Offer, Asker),
    ) {
        let hash = self.conns.hash(&p.tuple);
        if let Some((id, way)) = self.conns.find(hash, &p.tuple) {
            // The client's second try has overtaken the first.
            return self.odd(t, frame, p, (id, way), SETTLED);
        }
        match t.snap.known_dest(offer.dest) {
            Some(_) => {
                self.sender = asker.sender.map(usize::from);
                self.open_for(t, frame, p, offer);
                self.settle_sender(t, &p.tuple);
            }
            None => {
                self.give_up(t, asker, &p.tuple);
                t.stats.drop(DropReason::Reloading);
            }
        }
    }

    /// The worker that the first fragment of a datagram has been to, or is on its way to, for its
    /// client's template. Rings keep the order: what goes there and back is behind it.
    pub(super) fn asked_for<P>(&self, t: &Turn<'_, F, P>, tuple: &Tuple) -> Option<usize> {
        let service = t.snap.taker(tuple)?;
        let key = Key::of(service, service.terms.persistence.as_ref()?, tuple);
        Some(self.keeper(&key)).filter(|keeper| *keeper != self.worker)
    }

    fn keeper(&self, key: &Key) -> usize {
        ((key.hash(&self.hasher) >> 16 & 0xffff) as usize * self.workers) >> 16
    }

    /// Templates whose time is up end, or go on while conns go by them.
    pub(super) fn expire_templates<P>(&mut self, t: &Turn<'_, F, P>) {
        if !self.templates.is_empty() {
            self.sweep_templates(t, MAX_SWEPT);
        }
    }

    /// Ends the template in a line if no conn goes by it and none was ever established: a flood's.
    pub(super) fn drop_template<P>(&mut self, t: &Turn<'_, F, P>, line: usize) {
        let ended = self.templates.drop_unused(line, &self.hasher, t.controls, t.now);
        if let Some(dest) = ended {
            t.dests[dest.0 as usize].persistent.sub(1);
            t.stats.defended.add(1);
        }
    }

    /// The dest of a key's template; where it has none, or one of no use, the scheduler's choice,
    /// which a new one remembers. Its time begins anew.
    fn template<P>(
        &mut self,
        t: &Turn<'_, F, P>,
        p: &Parsed,
        (service, persistence): (&Service, &Persistence),
        key: &Key,
    ) -> Result<Offer, DropReason> {
        if let Some((link, dest)) = self.templates.find(key, &self.hasher)
            && !self.template_ended(t, link)
        {
            let d = t.snap.dest(dest);
            let left = t.snap.ipvs.expire_quiescent_template && d.weight == 0;
            if !d.removed && !left {
                self.templates.refresh(link, t.now);
                return Ok(Offer { link: Some(link), ..self.offer(dest) });
            }
            self.templates.invalidate(link, &self.hasher);
        }
        if self.defence.drops_template() {
            return Err(DropReason::Defended);
        }
        let ask = Ask { tuple: &p.tuple, loads: t.loads, barred: &[], now: t.stamp };
        let position = &mut self.positions[service.id.0 as usize];
        let dest = sched::pick(service, position, &ask).ok_or(DropReason::NoDest)?;
        let dport = if key.vport == 0 { 0 } else { t.snap.dest(dest).port };
        // Conns that are never answered, and gone at once, assure nothing.
        let lasts = service.terms.one_packet;
        let new = New { key: *key, dest, dport, timeout: persistence.timeout, lasts };
        let mut link = self.templates.open(&new, &self.hasher, t.now);
        if link.is_none() {
            self.sweep_templates(t, RECLAIM);
            link = self.templates.open(&new, &self.hasher, t.now);
        }
        let link = link.ok_or(DropReason::TemplatesFull)?;
        t.dests[dest.0 as usize].persistent.add(1);
        Ok(Offer { link: Some(link), ..self.offer(dest) })
    }

    fn sweep_templates<P>(&mut self, t: &Turn<'_, F, P>, quota: usize) {
        let mut quota = quota.min(self.templates.sweep_len());
        let unwanted = |dest| is_unwanted(t.snap, dest);
        while let Some(link) = self.templates.sweep(&mut quota, t.now, unwanted) {
            self.template_ended(t, link);
        }
    }

    /// Whether a template's time was up and it has ended.
    fn template_ended<P>(&mut self, t: &Turn<'_, F, P>, link: Link) -> bool {
        let unwanted = is_unwanted(t.snap, self.templates.dest(link));
        let ended = self.templates.run_out(link, &self.hasher, t.controls, t.now, unwanted);
        if let Some(dest) = ended {
            t.dests[dest.0 as usize].persistent.sub(1);
        }
        ended.is_some()
    }
}

/// Whether no conn will go to a dest again, since its service is gone.
fn is_unwanted(snap: &Snapshot, dest: DestId) -> bool {
    snap.lookup.has_orphans() && snap.dest(dest).traits.orphaned
}

impl<F: Frame> super::Pipeline<F> {
    /// Goes on with a sheet by some templates, after the conns.
    pub(super) fn list_templates(&self, sheet: &mut Sheet, now: Tick) {
        let (templates, controls) = (&self.core.templates, &self.shared.controls);
        let end = templates.sweep_len().min(sheet.template + LOOKED_AT as usize);
        while sheet.template < end && !sheet.rows.is_full() {
            let template = templates.at(sheet.template, controls, now);
            sheet.template += 1;
            sheet.looked_at += 1;
            if let Some(template) = template {
                sheet.note(self.row(&template));
            }
        }
        sheet.ended = sheet.template >= templates.sweep_len();
    }

    fn row(&self, template: &Template) -> Row {
        let (key, dest) = (&template.key, self.snapshot.dest(template.dest));
        // One of no use has these ports, as in the kernel (`ip_vs_check_template`).
        let (vport, dport) =
            if template.valid { (key.vport, template.dport) } else { (u16::MAX, u16::MAX) };
        let (caddr, vaddr, daddr) = (key.client, key.vaddr, dest.addr);
        let (cport, lport, laddr) = (0, 0, caddr);
        let proto = key.proto.unwrap_or(Proto::Tcp);
        Row {
            ends: Ends { proto, caddr, cport, vaddr, vport, laddr, lport, daddr, dport },
            state: State::None,
            dest: template.dest,
            forward: dest.forward,
            lent: false,
            left: template.left.as_millis() as u64,
            template: Some(Persistent { assured: template.assured, of_mark: key.proto.is_none() }),
        }
    }
}
