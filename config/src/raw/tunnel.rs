//! The keys that say what a tunnel is, of `[[service]]` and `[[service.dest]]`.

use crate::model::TunnelChecksum;
use crate::model::TunnelKind;
use crate::reader::Table;
use crate::report::At;
use crate::report::Report;
use crate::report::Span;

/// What a tunnel is, as far as a table says it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawTunnel {
    pub(crate) kind: Option<At<TunnelKind>>,
    pub(crate) port: Option<At<u16>>,
    pub(crate) checksum: Option<At<TunnelChecksum>>,
}

impl RawTunnel {
    pub(crate) fn read(report: &mut Report<'_>, table: &Table<'_, '_>) -> Self {
        Self {
            kind: table.word(report, "tunnel"),
            port: table.number(report, "tunnel_port", 1..=65_535, ""),
            checksum: table.word(report, "tunnel_checksum"),
        }
    }

    /// Where it says anything.
    pub(crate) fn places(&self) -> impl Iterator<Item = Span> {
        let places = [
            self.kind.map(|at| at.span),
            self.port.map(|at| at.span),
            self.checksum.map(|at| at.span),
        ];
        places.into_iter().flatten()
    }

    /// What a dest says, and what it leaves to its service: all of it, or the rest of a tunnel of the service's
    /// kind.
    pub(crate) fn over(self, service: Self) -> Self {
        match self.kind {
            Some(_) => self,
            None => Self {
                kind: service.kind,
                port: self.port.or(service.port),
                checksum: self.checksum.or(service.checksum),
            },
        }
    }
}
