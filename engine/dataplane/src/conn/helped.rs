//! What an FTP control conn keeps besides, and what a data conn that it announced is known by: a line
//! in a side table under the conn's number (`Introduction::HELPED`, `State::Listen`).

use super::change::Change;
use crate::wire::ftp::Asked;
use crate::wire::ftp::Form;
use zerocopy::FromZeros;

/// One end's stream of a control conn.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
pub(crate) struct Said {
    /// What its last change was.
    pub(crate) change: Change,
    /// The dest's only: added to numbers behind the change. The client's is the track's.
    pub(crate) shift: u32,
    /// The number behind what has passed: only what passes for the first time is changed.
    pub(crate) next: u32,
    /// The port that the new bytes say.
    port: u16,
    /// A `Form`: how they say it.
    form: u8,
    delimiter: u8,
    /// BEGUN, ACKED.
    marks: u8,
    _pad: [u8; 3],
}

impl Said {
    /// `next` is known.
    const BEGUN: u8 = 1;
    /// The other end has all of the change.
    const ACKED: u8 = 2;

    pub(crate) fn has_begun(&self) -> bool {
        self.marks & Self::BEGUN != 0
    }

    /// What has passed ends before `next`.
    pub(crate) fn pass(&mut self, next: u32) {
        self.next = next;
        self.marks |= Self::BEGUN;
    }

    /// Whether the receiver may lack some of the last change.
    pub(crate) fn is_open(&self) -> bool {
        self.change.is_some() && self.marks & Self::ACKED == 0
    }

    pub(crate) fn set_acked(&mut self) {
        self.marks |= Self::ACKED;
    }

    /// A change begins, to `port` written in `form`.
    pub(crate) fn begin(&mut self, change: Change, form: Form, port: u16) {
        self.change = change;
        self.port = port;
        (self.form, self.delimiter) = form.numbers();
        self.marks &= !Self::ACKED;
    }

    /// What the change's new bytes say.
    pub(crate) fn says(&self) -> (Form, u16) {
        (Form::from_numbers(self.form, self.delimiter), self.port)
    }
}

/// What a control conn keeps, or one that is awaited.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C, align(64))]
pub(crate) struct Helped {
    /// Of a control conn: what the client says, and what the dest says.
    pub(crate) said: [Said; 2],
    /// Of one that is awaited: its control conn.
    pub(crate) control: u32,
    /// Of a control conn: the VIP's port and the client's of the data conn announced last; the
    /// client's is 0 while it is not known.
    pub(crate) vport: u16,
    pub(crate) cport: u16,
    /// An `Asked`: what the client asked for last.
    asked: u8,
    _pad: [u8; 7],
}

const _: () = assert!(size_of::<Helped>() == 64);

impl Helped {
    /// What the client asked for last and has got no answer to.
    pub(crate) fn asked(&self) -> Option<Asked> {
        Asked::from_number(self.asked)
    }

    pub(crate) fn set_asked(&mut self, asked: Option<Asked>) {
        self.asked = asked.map_or(0, |asked| asked as u8);
    }
}
