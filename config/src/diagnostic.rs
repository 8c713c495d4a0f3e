//! What is wrong with a file, and where: the one form in which the operator reads it.

use std::fmt;

/// An error refuses the file; a warning does not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but it may not do what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// The part of [`Diagnostic::line_text`] that is meant, in characters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Underline {
    /// Characters before it.
    pub start: usize,
    /// Its length; at least 1, and it may reach one past the end of the line.
    pub len: usize,
}

/// One thing to say about a file. `Display` renders it with the line and an underline, without a
/// final newline.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// The file as it was named.
    pub file: String,
    /// Line, from 1; 0 when the whole file is meant (it cannot be read).
    pub line: usize,
    /// Column in characters, from 1; 0 when the whole file is meant.
    pub column: usize,
    /// Whether it refuses the file.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// The line without its end; a very long one is cut around the underline.
    pub line_text: String,
    /// The offending part of `line_text`.
    pub underline: Underline,
    /// What was expected, or what to do.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, severity, message, .. } = self;
        if *line == 0 {
            write!(f, "{file}: {severity}: {message}")?;
            return match &self.help {
                Some(help) => write!(f, "\n      {help}"),
                None => Ok(()),
            };
        }
        writeln!(f, "{file}:{line}:{column}: {severity}: {message}")?;
        writeln!(f, "{line:>5} | {}", self.line_text)?;
        f.write_str("      | ")?;
        // Tabs stay tabs, so that the underline is below its word at any tab width.
        for c in self.line_text.chars().take(self.underline.start) {
            f.write_str(if c == '\t' { "\t" } else { " " })?;
        }
        write!(f, "{:^<1$}", "^", self.underline.len)?;
        match &self.help {
            Some(help) => write!(f, " {help}"),
            None => Ok(()),
        }
    }
}

/// Why a file was refused: at least one error, and the warnings found on the way, in the order of
/// the file. `Display` renders all of them, one below the other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Errors {
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) left_out: usize,
}

impl Errors {
    /// What was found, in the order of the file; of a hopeless file only the first hundred.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// How many more were found than [`Errors::diagnostics`] lists.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.diagnostics.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        if self.left_out > 0 {
            write!(f, "\nand {} more", self.left_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Diagnostic {
        Diagnostic {
            file: "pointsman.toml".into(),
            line: 12,
            column: 13,
            severity: Severity::Error,
            message: "unknown scheduler \"wlcc\"".into(),
            line_text: "scheduler = \"wlcc\"".into(),
            underline: Underline { start: 12, len: 6 },
            help: Some("did you mean \"wlc\"?".into()),
        }
    }

    #[test]
    fn renders_place_line_and_underline() {
        assert_eq!(
            sample().to_string(),
            "pointsman.toml:12:13: error: unknown scheduler \"wlcc\"\n   12 | scheduler = \"wlcc\"\n      \
             |             ^^^^^^ did you mean \"wlc\"?"
        );
    }

    #[test]
    fn keeps_tabs_in_the_underline() {
        let tabs = Diagnostic {
            line_text: "\tx\ty = 1".into(),
            underline: Underline { start: 3, len: 1 },
            ..sample()
        };
        assert!(tabs.to_string().ends_with("\n      | \t \t^ did you mean \"wlc\"?"));
    }

    #[test]
    fn a_whole_file_has_no_line() {
        let whole = Diagnostic { line: 0, severity: Severity::Warning, ..sample() };
        assert_eq!(
            whole.to_string(),
            "pointsman.toml: warning: unknown scheduler \"wlcc\"\n      did you mean \"wlc\"?"
        );
    }
}
