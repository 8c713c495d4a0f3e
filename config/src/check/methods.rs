//! By which methods a service's dests get their packets: each by its own, or by the service's.

use crate::model::Forward;
use crate::raw::RawDest;
use crate::raw::RawService;
use crate::report::At;
use crate::report::Span;

/// The methods of a service.
pub(super) struct Methods {
    /// That of dests that say nothing.
    pub(super) own: At<Forward>,
    /// Those that dests have, each once, with the first place that says it; of a service without dests its own.
    used: Vec<At<Forward>>,
}

impl Methods {
    /// None where the service says none: that is reported.
    pub(super) fn of(service: &RawService) -> Option<Self> {
        let own = service.forward?;
        let mut used: Vec<At<Forward>> = Vec::new();
        let of_dests = service.dests.iter().map(|dest| dest.forward.unwrap_or(own));
        let none_yet = service.dests.is_empty().then_some(own);
        for method in of_dests.chain(none_yet) {
            if !used.iter().any(|known| known.value == method.value) {
                used.push(method);
            }
        }
        Some(Self { own, used })
    }

    /// That of a dest.
    pub(super) fn of_dest(&self, dest: &RawDest) -> Forward {
        dest.forward.unwrap_or(self.own).value
    }

    /// The first that dests have of some, and where that is said.
    pub(super) fn used(&self, wanted: impl Fn(Forward) -> bool) -> Option<At<Forward>> {
        self.used.iter().copied().find(|method| wanted(method.value))
    }

    /// Whether a key that is for this method alone means something, be it for dests to come.
    pub(super) fn has(&self, method: Forward) -> bool {
        self.own.value == method || self.used(|used| used == method).is_some()
    }

    /// What is wrong with such a key: `nat uses no pool`, where each dest has its own method `no dest is by fullnat`.
    pub(super) fn lacks(&self, method: Forward, message: &str) -> String {
        let own = self.own.value;
        match self.used(|used| used != own) {
            None => format!("{own} {message}"),
            Some(_) => format!("no dest is by {method}"),
        }
    }

    /// Where to point when `method` does not go with the key at `key`: at the key, or, where other dests go well with
    /// it, at what makes these dests differ.
    pub(super) fn blame(&self, method: At<Forward>, key: Span) -> Span {
        if self.used.len() == 1 { key } else { method.span }
    }
}
