//! Access lists: `allow`, `deny`, `allow_file` and `deny_file` of `[director]` and `[[service]]`.

use crate::address;
use crate::load;
use crate::model::AccessList;
use crate::prefix::Prefix;
use crate::reader::Table;
use crate::reader::quote;
use crate::report::At;
use crate::report::Fault;
use crate::report::Report;
use crate::report::Span;
use std::path::Path;
use std::sync::Arc;

/// The list of a table; none where it has no such key.
pub(super) fn read(report: &mut Report<'_>, table: &Table<'_, '_>) -> Option<Arc<AccessList>> {
    let keys = ["allow", "allow_file", "deny", "deny_file"];
    let given = keys.map(|key| table.has(key));
    if !given.contains(&true) {
        return None;
    }
    let errors = report.errors();
    let allow = read_prefixes(report, table, "allow", "allow_file");
    let deny = read_prefixes(report, table, "deny", "deny_file");
    let [allows, allows_file, denies, _] = given;
    if allow.is_empty() && allows_file && !allows && report.errors() == errors {
        let help = "nobody is allowed then; leave allow_file out to allow everybody";
        report.warning(table.span_of("allow_file"), "allow_file names no prefix", help);
    }
    if let Some(both) = in_both(&allow, &deny) {
        let at = table.span_of(if denies { "deny" } else { "deny_file" });
        report.error(at, format!("{both} is allowed and denied"), "keep it in one of the lists");
    }
    Some(Arc::new(AccessList { allow, deny, others: !(allows || allows_file) }))
}

/// The prefixes under `key`, then those in the file that `file_key` names.
fn read_prefixes(
    report: &mut Report<'_>,
    table: &Table<'_, '_>,
    key: &str,
    file_key: &str,
) -> Vec<Prefix> {
    table.refuse_empty(report, key);
    let listed = table.parsed_list(report, key, parse_client);
    let mut prefixes: Vec<_> = listed.into_iter().map(|at| at.value).collect();
    if let Some(file) = table.string(report, file_key) {
        prefixes.extend(read_file(report, file));
    }
    prefixes
}

/// The prefixes of a file: one a line, what follows a `#` is a comment. The path is relative to the
/// configuration file.
fn read_file(report: &mut Report<'_>, file: At<&str>) -> Vec<Prefix> {
    let path = Path::new(report.name()).parent().unwrap_or(Path::new("")).join(file.value);
    let name = path.display().to_string();
    let text = match load::read_list(&path, &name) {
        Ok(text) => text,
        Err(errors) => {
            let why = errors.diagnostics().first();
            let (what, help) = why.map(|d| (d.message.clone(), d.help.clone())).unwrap_or_default();
            if why.is_some_and(|d| d.line > 0) {
                report.adopt(errors);
            } else {
                let message = format!("{}: {what}", quote(&name));
                report.error(file.span, message, help.unwrap_or_default());
            }
            return Vec::new();
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut of_file = Report::new(&name, text);
    let (mut prefixes, mut start) = (Vec::new(), 0);
    for line in text.split_inclusive('\n') {
        let code = line.split('#').next().unwrap_or_default();
        let word = code.trim();
        if !word.is_empty() {
            let start = start + (code.len() - code.trim_start().len());
            match parse_client(word) {
                Ok(prefix) => prefixes.push(prefix),
                Err(fault) => of_file.fault(Span { start, end: start + word.len() }, fault),
            }
        }
        start += line.len();
    }
    if of_file.errors() > 0 {
        report.adopt(of_file.finish());
    }
    prefixes
}

/// A prefix without host bits, or an address alone.
fn parse_client(text: &str) -> Result<Prefix, Fault> {
    if text.contains('/') {
        return address::parse_destination(text);
    }
    let address = address::parse_address(text)?;
    let length = if address.is_ipv4() { 32 } else { 128 };
    Prefix::new(address, length).ok_or_else(|| Fault::new(format!("{text} has no length"), ""))
}

/// A prefix that is in both lists.
fn in_both(allow: &[Prefix], deny: &[Prefix]) -> Option<Prefix> {
    let (few, many) = if allow.len() < deny.len() { (allow, deny) } else { (deny, allow) };
    let few: std::collections::HashSet<_> = few.iter().collect();
    many.iter().find(|prefix| !few.is_empty() && few.contains(prefix)).copied()
}
