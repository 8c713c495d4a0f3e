//! Where we answer otherwise than the kernel: what differs in a record, and the cases that are known to.
//!
//! A case of the list `tests/oracle/waiting` differs. How, step by step, is kept in
//! `tests/oracle/differs/NAME` and must stay so (`scripts/oracle --differs` writes it anew).

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// The cases that differ: name, and what is missing or why it stays so.
///
/// # Errors
/// Where the list cannot be read.
pub fn waiting() -> Result<BTreeMap<String, String>, String> {
    let file = super::folder().join("waiting");
    let list = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line: &str| {
        let (name, missing) =
            line.split_once(' ').ok_or_else(|| format!("waiting: {line}: no reason"))?;
        Ok((name.to_string(), missing.trim().to_string()))
    };
    lines.map(entry).collect()
}

/// Where it is kept how a case differs.
pub fn kept(name: &str) -> PathBuf {
    super::folder().join("differs").join(name)
}

/// What differs between the kernel's record and ours: per step its line, then what only the kernel
/// has behind `-` and what only we have behind `+`. Empty where they are the same.
pub fn difference(theirs: &str, ours: &str) -> String {
    let (theirs, ours) = (steps(theirs), steps(ours));
    let mut said = String::new();
    for n in 0..theirs.len().max(ours.len()) {
        let (a, b) = (theirs.get(n), ours.get(n));
        if a != b {
            step(a.map_or(&[], |a| a), b.map_or(&[], |b| b), &mut said);
        }
    }
    said
}

/// What differs in one step.
fn step(mut a: &[&str], mut b: &[&str], said: &mut String) {
    if let Some((line, _)) = a.split_first().filter(|(line, _)| b.first() == Some(line)) {
        *said += &format!("{line}\n");
    }
    loop {
        match (a, b) {
            ([x, rest @ ..], _) if !b.contains(x) => {
                *said += &format!("-{x}\n");
                a = rest;
            }
            ([x, a_rest @ ..], [y, b_rest @ ..]) if x == y => (a, b) = (a_rest, b_rest),
            (_, [y, rest @ ..]) => {
                *said += &format!("+{y}\n");
                b = rest;
            }
            _ => return,
        }
    }
}

/// A record's steps, each with the line that says what was done.
fn steps(record: &str) -> Vec<Vec<&str>> {
    let mut steps: Vec<Vec<&str>> = Vec::new();
    for line in record.lines() {
        match steps.last_mut() {
            Some(step) if !line.starts_with('>') => step.push(line),
            _ => steps.push(vec![line]),
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_said_step_by_step() {
        let theirs = "> one\n  a\n  b\n  c\n> two\n  d\n> three\n";
        assert_eq!(difference(theirs, theirs), "");
        let ours = "> one\n  a\n  x\n  y\n  c\n> two\n> three\n  e\n";
        let said = "> one\n-  b\n+  x\n+  y\n> two\n-  d\n> three\n+  e\n";
        assert_eq!(difference(theirs, ours), said);
        let moved = "> one\n  b\n  a\n  c\n> two\n  d\n> three\n";
        assert_eq!(difference(theirs, moved), "> one\n+  b\n-  b\n");
        assert_eq!(difference("> one\n> two\n", "> one\n"), "-> two\n");
        assert_eq!(difference("> one\n  a\n", "> two\n  a\n"), "-> one\n+> two\n");
    }
}
