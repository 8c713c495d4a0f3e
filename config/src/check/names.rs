//! Names, and references to them.

use crate::nearest::nearest;
use crate::reader::quote;
use crate::report::At;
use crate::report::Report;
use std::collections::HashMap;

/// The names of one kind of thing.
pub(super) struct Names<'a> {
    kind: &'static str,
    index: HashMap<&'a str, usize>,
    /// Whether every one of them has a name.
    complete: bool,
}

impl<'a> Names<'a> {
    /// The names in the order of the file; reports those given twice.
    pub(super) fn new(
        report: &mut Report<'_>,
        kind: &'static str,
        names: impl Iterator<Item = Option<&'a At<String>>>,
    ) -> Self {
        let mut index: HashMap<&str, usize> = HashMap::new();
        let mut lines = Vec::new();
        let mut complete = true;
        for (i, name) in names.enumerate() {
            let Some(name) = name else {
                lines.push(0);
                complete = false;
                continue;
            };
            lines.push(report.line(name.span));
            match index.get(name.value.as_str()) {
                Some(&first) => {
                    let help = format!(
                        "line {} has it already; names of {kind}s are unique",
                        lines[first]
                    );
                    report.error(
                        name.span,
                        format!("duplicate {kind} {}", quote(&name.value)),
                        help,
                    );
                }
                None => {
                    index.insert(&name.value, i);
                }
            }
        }
        Self { kind, index, complete }
    }

    /// The index of what `name` names; reports it when there is no such.
    pub(super) fn find(&self, report: &mut Report<'_>, name: &At<String>) -> Option<usize> {
        if let Some(index) = self.index.get(name.value.as_str()) {
            return Some(*index);
        }
        if self.complete {
            let mut known: Vec<(usize, &str)> =
                self.index.iter().map(|(name, index)| (*index, *name)).collect();
            known.sort_unstable();
            let names = || known.iter().map(|(_, name)| *name);
            let help = match nearest(&name.value, names()) {
                Some(right) => format!("did you mean {}?", quote(right)),
                None if known.is_empty() => format!("there is no [[{}]]", self.kind),
                None => {
                    format!("expected one of {}", names().take(10).collect::<Vec<_>>().join(", "))
                }
            };
            report.error(name.span, format!("unknown {} {}", self.kind, quote(&name.value)), help);
        }
        None
    }
}
