//! Collects what is found in one file and gives each finding its line and column.

use crate::diagnostic::Diagnostic;
use crate::diagnostic::Errors;
use crate::diagnostic::Severity;
use crate::diagnostic::Underline;
use std::ops::Range;

/// Bytes `start..end` of the text.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// A value and where it was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// What is wrong with a value, before its place is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}

/// The findings so far in one text.
#[derive(Debug)]
pub(crate) struct Report<'t> {
    source: Source<'t>,
    findings: Vec<Finding>,
    errors: usize,
    /// What was found in files that this one names.
    others: Vec<Errors>,
}

#[derive(Debug)]
struct Finding {
    span: Span,
    severity: Severity,
    fault: Fault,
}

/// Findings shown of one file; what comes after is counted.
const SHOWN: usize = 100;

impl<'t> Report<'t> {
    /// Nothing found yet in `text`, the file called `name`.
    pub(crate) fn new(name: &'t str, text: &'t str) -> Self {
        Self {
            source: Source::new(name, text),
            findings: Vec::new(),
            errors: 0,
            others: Vec::new(),
        }
    }

    /// What the file is called.
    pub(crate) fn name(&self) -> &'t str {
        self.source.name
    }

    /// The line of `span`, from 1.
    pub(crate) fn line(&self, span: Span) -> usize {
        self.source.line(span.start)
    }

    /// Errors reported so far, to be compared with a later count.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// Reports an error at `span`. An empty `help` is none.
    pub(crate) fn error(
        &mut self,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.fault(span, Fault::new(message, help));
    }

    /// Reports what was found in a file that this one names, errors among them.
    pub(crate) fn adopt(&mut self, found: Errors) {
        self.errors += found.diagnostics.len() + found.left_out;
        self.others.push(found);
    }

    /// Reports a fault of the value at `span` as an error.
    pub(crate) fn fault(&mut self, span: Span, fault: Fault) {
        self.errors += 1;
        self.findings.push(Finding { span, severity: Severity::Error, fault });
    }

    /// Reports a warning at `span`.
    pub(crate) fn warning(
        &mut self,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.findings.push(Finding {
            span,
            severity: Severity::Warning,
            fault: Fault::new(message, help),
        });
    }

    /// All findings in the order of the file, then those of files that it names.
    pub(crate) fn finish(mut self) -> Errors {
        self.findings.sort_by_key(|finding| finding.span);
        if self.findings.len() > SHOWN {
            // Errors first where not all can be shown: a flood of warnings must not hide the
            // reason.
            self.findings.sort_by_key(|finding| finding.severity == Severity::Warning);
        }
        let mut left_out = self.findings.len().saturating_sub(SHOWN);
        self.findings.truncate(SHOWN);
        let mut diagnostics: Vec<_> =
            self.findings.into_iter().map(|finding| self.source.diagnostic(finding)).collect();
        for other in self.others {
            let room = SHOWN - diagnostics.len();
            left_out += other.left_out + other.diagnostics.len().saturating_sub(room);
            diagnostics.extend(other.diagnostics.into_iter().take(room));
        }
        Errors { diagnostics, left_out }
    }
}

/// A text and where its lines begin.
#[derive(Debug)]
struct Source<'t> {
    name: &'t str,
    text: &'t str,
    starts: Vec<usize>,
}

/// Characters of a line that are shown; a longer one is cut around the underline.
const WIDTH: usize = 160;
/// Characters shown before the underline of a cut line.
const BEFORE: usize = 40;

impl<'t> Source<'t> {
    fn new(name: &'t str, text: &'t str) -> Self {
        let starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name, text, starts }
    }

    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|&start| start <= offset)
    }

    fn diagnostic(&self, finding: Finding) -> Diagnostic {
        let (start, end) = self.visible(finding.span);
        let index = self.line(start) - 1;
        let line_start = self.starts[index];
        let line_end = self.starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        let line = self.text[line_start..line_end].trim_end_matches('\r');
        let before = self.text[line_start..start].chars().count();
        let inside = self.text[start..end.clamp(start, (line_start + line.len()).max(start))]
            .chars()
            .count();
        let (line_text, underline) = cut(line, before, inside.max(1));
        Diagnostic {
            file: self.name.to_owned(),
            line: index + 1,
            column: before + 1,
            severity: finding.severity,
            message: finding.fault.message,
            line_text,
            underline,
            help: Some(finding.fault.help).filter(|help| !help.is_empty()),
        }
    }

    /// The span moved to where there is something to see: on character boundaries, and when it is
    /// the end of the file (something was never closed), right after the last thing written.
    fn visible(&self, span: Span) -> (usize, usize) {
        let boundary = |at: usize| {
            (0..=at.min(self.text.len())).rev().find(|&at| self.text.is_char_boundary(at))
        };
        let start = boundary(span.start).unwrap_or(0);
        if start == self.text.len() {
            let end = self.text.trim_end().len();
            return (end, end);
        }
        (start, boundary(span.end).unwrap_or(0).max(start))
    }
}

/// The part of `line` around the underline, one character for one character; control characters,
/// which would move the cursor of the reader's terminal, become U+FFFD. Underline from `start`, in
/// characters.
fn cut(line: &str, start: usize, len: usize) -> (String, Underline) {
    let clean = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
    if line.chars().nth(WIDTH).is_none() {
        return (line.chars().map(clean).collect(), Underline { start, len });
    }
    let skipped = start.saturating_sub(BEFORE);
    let mut text: String = line.chars().skip(skipped).take(WIDTH).map(clean).collect();
    let mut start = start - skipped;
    if skipped > 0 {
        text.insert(0, '…');
        start += 1;
    }
    if line.chars().nth(skipped + WIDTH).is_some() {
        text.push('…');
    }
    (text, Underline { start, len: len.min(WIDTH + 1 - start.min(WIDTH)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str, span: Range<usize>) -> Diagnostic {
        let mut report = Report::new("f", text);
        report.error(span.into(), "m", "");
        report.finish().diagnostics.remove(0)
    }

    #[test]
    fn counts_characters_not_bytes() {
        let found = one("é = \"ü\"\n", 5..9);
        assert_eq!(
            (found.line, found.column, found.underline),
            (1, 5, Underline { start: 4, len: 3 })
        );
    }

    #[test]
    fn stops_at_the_end_of_the_line() {
        let found = one("a = [\r\n1]\r\n", 4..9);
        assert_eq!(
            (found.line_text.as_str(), found.underline),
            ("a = [", Underline { start: 4, len: 1 })
        );
    }

    #[test]
    fn shows_the_last_thing_written_when_the_end_is_meant() {
        let found = one("a = [\n\n", 7..7);
        assert_eq!((found.line, found.column), (1, 6));
        assert_eq!((one("", 0..0).line, one("", 0..0).column), (1, 1));
    }

    #[test]
    fn cuts_long_lines_around_the_underline() {
        let line = format!("{}bad{}", "x".repeat(1000), "y".repeat(1000));
        let found = one(&line, 1000..1003);
        assert_eq!(found.column, 1001);
        assert!(found.line_text.chars().count() <= WIDTH + 2);
        let shown: String =
            found.line_text.chars().skip(found.underline.start).take(found.underline.len).collect();
        assert_eq!(shown, "bad");
    }

    #[test]
    fn a_span_inside_a_character_does_not_panic() {
        assert_eq!(one("é", 1..2).column, 1);
    }

    #[test]
    fn warnings_do_not_crowd_out_errors() {
        let mut report = Report::new("f", "a");
        for _ in 0..SHOWN + 5 {
            report.warning(Span::default(), "w", "");
        }
        report.error(Span { start: 1, end: 1 }, "e", "");
        let errors = report.finish();
        assert_eq!((errors.diagnostics[0].message.as_str(), errors.left_out), ("e", 6));
    }
}
