//! From a file or a text to the model.

use crate::check;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Errors;
use crate::diagnostic::Severity;
use crate::diagnostic::Underline;
use crate::model::Config;
use crate::raw::Raw;
use crate::reader::list_named;
use crate::reader::quote;
use crate::report::Fault;
use crate::report::Report;
use crate::report::Span;
use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use toml::de::DeTable;

/// Larger files are refused: no configuration is, and a device file would never end.
const MAX_BYTES: u64 = 64 << 20;
/// Of an access list: ten million prefixes and more.
const MAX_LIST_BYTES: u64 = 512 << 20;

/// Reads and validates a file.
///
/// # Returns
/// The model and the warnings, in the order of the file.
///
/// # Errors
/// All that is wrong with it, or why it cannot be read.
pub fn load(path: &Path) -> Result<(Config, Vec<Diagnostic>), Errors> {
    let name = path.display().to_string();
    let bytes = read(path, MAX_BYTES).map_err(|error| unreadable(&name, &error))?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(&name, text),
        Err(error) => Err(not_text(&name, &bytes, error.valid_up_to())),
    }
}

/// The text of an access list. Other files than regular ones are refused: whoever reloads would
/// wait for a pipe.
///
/// # Errors
/// Why it cannot be read; with a place where it is no text.
pub(crate) fn read_list(path: &Path, name: &str) -> Result<String, Errors> {
    let is_file = std::fs::metadata(path).map(|data| data.is_file() || data.is_dir());
    let bytes = match is_file {
        Ok(true) => read(path, MAX_LIST_BYTES),
        Ok(false) => Err(io::Error::other("not a regular file")),
        Err(error) => Err(error),
    };
    let bytes = bytes.map_err(|error| unreadable_list(name, &error))?;
    String::from_utf8(bytes)
        .map_err(|error| not_text(name, error.as_bytes(), error.utf8_error().valid_up_to()))
}

/// Validates a text; `name` is what messages call the file. A byte order mark and CRLF line ends
/// are accepted.
///
/// # Returns
/// The model and the warnings, in the order of the file.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(name: &str, text: &str) -> Result<(Config, Vec<Diagnostic>), Errors> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut report = Report::new(name, text);
    let config = read_document(&mut report, text).and_then(|document| {
        let raw = Raw::read(&mut report, &document);
        check::check(&mut report, raw)
    });
    let refused = report.errors() > 0;
    let found = report.finish();
    match config {
        Some(config) if !refused => Ok((config, found.diagnostics)),
        _ => Err(found),
    }
}

fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

fn unreadable_list(name: &str, error: &io::Error) -> Errors {
    let (what, help) = match error.kind() {
        io::ErrorKind::NotFound => ("no such file", "paths are relative to the configuration file"),
        io::ErrorKind::FileTooLarge => ("more than 512 MiB", "name a file of prefixes, one a line"),
        _ => return unreadable(name, error),
    };
    whole_file(name, what.to_owned(), help)
}

fn unreadable(name: &str, error: &io::Error) -> Errors {
    let (what, help) = match error.kind() {
        io::ErrorKind::NotFound => {
            ("no such file", "name an existing one, or start from pointsman.example.toml")
        }
        io::ErrorKind::IsADirectory => ("a directory, not a file", "name a file in it"),
        io::ErrorKind::PermissionDenied => {
            ("no permission to read it", "run as its owner or as root")
        }
        io::ErrorKind::FileTooLarge => ("more than 64 MiB", "name a configuration file"),
        _ => ("cannot be read", ""),
    };
    let message = if help.is_empty() { format!("{what}: {error}") } else { what.to_owned() };
    whole_file(name, message, help)
}

fn whole_file(name: &str, message: String, help: &str) -> Errors {
    let diagnostic = Diagnostic {
        file: name.to_owned(),
        line: 0,
        column: 0,
        severity: Severity::Error,
        message,
        line_text: String::new(),
        underline: Underline { start: 0, len: 1 },
        help: Some(help.to_owned()).filter(|help| !help.is_empty()),
    };
    Errors { diagnostics: vec![diagnostic], left_out: 0 }
}

/// `at`: the first byte that is not UTF-8.
fn not_text(name: &str, bytes: &[u8], at: usize) -> Errors {
    // What follows is only shown, so it need not be exact; what comes before keeps its offsets.
    let lossy = String::from_utf8_lossy(bytes);
    let mark = if lossy.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut report = Report::new(name, &lossy[mark..]);
    let start = at.saturating_sub(mark);
    let span = Span { start, end: start + char::REPLACEMENT_CHARACTER.len_utf8() };
    let byte = bytes.get(at).copied().unwrap_or_default();
    report.error(span, format!("byte 0x{byte:02x} is not UTF-8"), "save the file as UTF-8 text");
    report.finish()
}

/// The document, or `None` when its syntax is wrong, which has been reported.
fn read_document<'t>(report: &mut Report<'_>, text: &'t str) -> Option<DeTable<'t>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    // After an error the parser may take the rest of the file for what it is not: keys then seem to
    // come twice, and a second error in a line is rarely one of its own.
    let only_duplicates = errors.iter().all(|error| error.message() == DUPLICATE);
    let told = errors.iter().filter(|error| only_duplicates || error.message() != DUPLICATE);
    let mut faults: Vec<(Span, Fault)> = told.map(|error| syntax_fault(text, error)).collect();
    faults.sort_by_key(|(span, _)| *span);
    let mut last_line = 0;
    for (span, fault) in faults {
        let line = report.line(span);
        if line != last_line {
            report.fault(span, fault);
        }
        last_line = line;
    }
    errors.is_empty().then(|| document.into_inner())
}

/// What `toml` says of a key that comes twice.
const DUPLICATE: &str = "duplicate key";

fn syntax_fault(text: &str, error: &toml::de::Error) -> (Span, Fault) {
    let span = Span::from(error.span().unwrap_or_default());
    if error.message() == DUPLICATE {
        let key = text.get(span.start..span.end).unwrap_or_default();
        let help = match list_named(key) {
            Some(list) => format!("write {} once per entry", list.header),
            None => "it was given above; keep one of them".to_owned(),
        };
        return (span, Fault::new(format!("duplicate key {}", quote(key)), help));
    }
    let (message, expected) =
        error.message().split_once(", expected ").unwrap_or((error.message(), ""));
    let help = if expected.is_empty() { String::new() } else { format!("expected {expected}") };
    (span, Fault::new(message, help))
}
