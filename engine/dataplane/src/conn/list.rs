//! Lists of conns for people: in pieces, so that a worker spends little time on each.
//!
//! A sheet goes back and forth between the asker and the worker. The worker looks at a bounded
//! number of lines per call and notes those that match; it allocates nothing. A conn keeps its line
//! while it lives, so one that lives through the whole listing is noted exactly once.

use super::Conns;
use super::Ends;
use super::State;
use crate::service::DestId;
use crate::service::Forward;
use crate::tick::Stamp;
use crate::tuple::Addr;
use crate::tuple::Prefix;
use crate::tuple::Proto;
use arrayvec::ArrayVec;
use std::sync::Arc;

/// Conns a sheet holds.
pub const ROWS: usize = 512;
/// Lines looked at per call: about 20 us.
pub const LOOKED_AT: u32 = 1024;
/// Lines after which a sheet goes back although it is not full, so that its owner hears of it.
const LEG: u32 = 1 << 16;
/// Terms a filter has at most.
pub const TERMS: usize = 8;

/// What must hold of a conn, all of it.
pub type Filter = ArrayVec<Term, TERMS>;

/// The client's end, in `Term::End`.
pub const CLIENT: u8 = 1;
/// The virtual end.
pub const VIRTUAL: u8 = 2;
/// The local end.
pub const LOCAL: u8 = 4;
/// The dest's end.
pub const DEST: u8 = 8;

/// What a conn must be to be listed.
#[derive(Clone, PartialEq, Debug)]
pub enum Term {
    /// Of this protocol.
    Proto(Proto),
    /// In this state, or one of the same name: ESTABLISHED is TCP's and SCTP's.
    State(State),
    /// Forwarded like this.
    Forward(Forward),
    /// To one of these dests.
    Dests(Arc<[DestId]>),
    /// One of these ends (`CLIENT` | ...) lies in the prefix, and has the port.
    End(u8, Option<Prefix>, Option<u16>),
}

/// A conn as listed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Row {
    /// Both tuples.
    pub ends: Ends,
    /// Its state.
    pub state: State,
    /// Its dest.
    pub dest: DestId,
    /// How its packets get there.
    pub forward: Forward,
    /// Its local port serves a newer conn.
    pub lent: bool,
    /// Milliseconds until it ends unless a packet comes.
    pub left: u64,
    /// It is no conn but a template of them.
    pub template: Option<Persistent>,
}

/// What a template's row says besides; its client has no port.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Persistent {
    /// A conn that went by it was established.
    pub assured: bool,
    /// Its virtual address is a mark.
    pub of_mark: bool,
}

/// A piece of a listing.
#[derive(Debug)]
pub struct Sheet {
    /// Which exchange it belongs to; the worker does not care.
    pub number: u64,
    /// All of them must hold.
    pub filter: Filter,
    /// How many conns are still wanted; further ones are only counted.
    pub wanted: u64,
    /// Conns found since it was handed out.
    pub rows: ArrayVec<Row, ROWS>,
    /// Conns that matched and were not wanted any more.
    pub further: u64,
    /// Whether the worker has no more.
    pub ended: bool,
    /// The line to go on with.
    cursor: u32,
    /// The template to go on with, once there are no more conns.
    pub(crate) template: usize,
    /// Lines looked at since it was handed out.
    pub(crate) looked_at: u32,
}

impl Sheet {
    /// A sheet for all conns of a worker that match, of which `wanted` are to be seen.
    pub fn new(filter: Filter, wanted: u64) -> Self {
        Self {
            number: 0,
            filter,
            wanted,
            rows: ArrayVec::new(),
            further: 0,
            ended: false,
            cursor: 0,
            template: 0,
            looked_at: 0,
        }
    }

    /// Makes it ready to be handed out again.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.looked_at = 0;
    }

    pub(crate) fn is_done(&self) -> bool {
        self.ended || self.rows.is_full() || self.looked_at >= LEG
    }

    pub(crate) fn note(&mut self, row: Row) {
        if !self.filter.iter().all(|term| term.holds(&row)) {
            return;
        }
        if self.wanted > 0 {
            self.wanted -= 1;
            self.rows.push(row);
        } else {
            self.further += 1;
        }
    }
}

impl Term {
    fn holds(&self, row: &Row) -> bool {
        let e = &row.ends;
        match self {
            Self::Proto(proto) => e.proto == *proto,
            Self::State(state) => row.state.name() == state.name(),
            Self::Forward(forward) => row.forward == *forward,
            Self::Dests(dests) => dests.contains(&row.dest),
            Self::End(which, prefix, port) => {
                let is_it = |end: u8, addr: Addr, number: u16| {
                    which & end != 0
                        && prefix.is_none_or(|p| p.contains(addr))
                        && port.is_none_or(|p| p == number)
                };
                is_it(CLIENT, e.caddr, e.cport)
                    || is_it(VIRTUAL, e.vaddr, e.vport)
                    || is_it(LOCAL, e.laddr, e.lport)
                    || is_it(DEST, e.daddr, e.dport)
            }
        }
    }
}

impl Conns {
    /// Goes on with a sheet, by `LOOKED_AT` lines at most.
    pub fn list(&self, sheet: &mut Sheet, now: Stamp) {
        let lines = self.sweep_len() as u32;
        let end = lines.min(sheet.cursor.saturating_add(LOOKED_AT));
        while sheet.cursor < end && !sheet.rows.is_full() {
            let id = self.live(sheet.cursor);
            sheet.cursor += 1;
            sheet.looked_at += 1;
            let Some(id) = id else { continue };
            let conn = self.get(id);
            // One that lives elsewhere is listed there; one whose time is up counts as gone.
            if conn.elsewhere().is_some() || conn.expires().is_due(now) {
                continue;
            }
            sheet.note(Row {
                ends: self.ends(id),
                state: conn.state(),
                dest: conn.dest(),
                forward: conn.forward(),
                lent: conn.is_lent(),
                left: conn.expires().0.wrapping_sub(now.0).into(),
                template: None,
            });
        }
        sheet.ended = sheet.cursor >= lines && !sheet.rows.is_full();
    }
}
