//! The checklist of rules (`tests/oracle/checklist`), and which cases cover them.
//!
//! A line is a rule in our words, a `|`, and the cases that show it; or `unseen:` and why. A line that
//! begins with `##` is a heading, other lines with `#` are comments. A row that only cases show which
//! we do not pass (`differs`) is marked so, and not counted as seen.

use super::case::Case;
use super::differs;
use std::fmt;
use std::fs;

/// A rule.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Row {
    rule: String,
    /// The cases, or why there is none.
    seen: Result<Vec<Shown>, String>,
}

/// A case that shows a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Shown {
    case: String,
    /// Whether what it shows is that we differ.
    differs: bool,
}

impl Row {
    /// Whether a case shows it that comes out as the kernel has it.
    fn is_seen(&self) -> bool {
        self.seen.iter().flatten().any(|shown| !shown.differs)
    }
}

/// The checklist, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Coverage {
    /// Each with its rows.
    sections: Vec<(String, Vec<Row>)>,
}

impl Coverage {
    /// Reads the checklist.
    ///
    /// # Errors
    /// With the line that is no row, or names a case that is none.
    pub fn read() -> Result<Self, String> {
        let file = super::folder().join("checklist");
        let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let cases: Vec<String> = Case::all()?.into_iter().map(|case| case.name).collect();
        let differ: Vec<String> = differs::waiting()?.into_keys().collect();
        Self::parse(&text, &cases, &differ)
    }

    /// Of a text, with the names of all cases and of those that differ.
    fn parse(text: &str, cases: &[String], differ: &[String]) -> Result<Self, String> {
        let shown =
            |case: &str| Shown { case: case.into(), differs: differ.iter().any(|d| d == case) };
        let mut sections: Vec<(String, Vec<Row>)> = Vec::new();
        for (n, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            if let Some(heading) = line.strip_prefix("## ") {
                sections.push((heading.into(), Vec::new()));
                continue;
            }
            if line.starts_with('#') {
                continue;
            }
            let at = |what: &str| format!("checklist:{n}: {what}: {line}");
            let (rule, cover) = line.split_once('|').ok_or_else(|| at("no |"))?;
            let cover = cover.trim();
            let seen = match cover.strip_prefix("unseen:") {
                Some(why) if why.trim().is_empty() => return Err(at("unseen, but not why")),
                Some(why) => Err(why.trim().to_string()),
                None => Ok(cover.split_whitespace().map(shown).collect::<Vec<_>>()),
            };
            let names = seen.iter().flatten().map(|shown| &shown.case);
            if let Some(unknown) = names.clone().find(|name| !cases.contains(name)) {
                return Err(at(&format!("{unknown} is no case")));
            }
            if names.count() == 0 && seen.is_ok() {
                return Err(at("neither cases nor unseen"));
            }
            let (_, rows) = sections.last_mut().ok_or_else(|| at("no heading"))?;
            rows.push(Row { rule: rule.trim().into(), seen });
        }
        Ok(Self { sections })
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.sections.iter().flat_map(|(_, rows)| rows)
    }

    /// How many rows cases show that pass, of all: 0 to 1.
    pub fn share(&self) -> f64 {
        let seen = self.rows().filter(|row| row.is_seen()).count();
        seen as f64 / self.rows().count().max(1) as f64
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (heading, rows) in &self.sections {
            writeln!(f, "{heading}")?;
            for row in rows {
                let seen = match &row.seen {
                    Ok(cases) => cases.iter().map(Shown::to_string).collect::<Vec<_>>().join(" "),
                    Err(why) => format!("unseen: {why}"),
                };
                writeln!(f, "  {}\n      {seen}", row.rule)?;
            }
        }
        let rows = || self.rows();
        let seen = rows().filter(|row| row.is_seen()).count();
        let differ = rows().filter(|row| row.seen.is_ok() && !row.is_seen()).count();
        let (all, share) = (rows().count(), self.share() * 100.0);
        writeln!(f, "{seen} of {all} rows seen, {share:.1} %; in {differ} more we differ")
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.differs { "differs:" } else { "" };
        write!(f, "{mark}{}", self.case)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_cases_or_says_why_there_is_none() {
        let cases = ["a".to_string(), "b".to_string()];
        let read = |text| Coverage::parse(text, &cases, &[]);
        let coverage = read("# words\n## heads\none | a b\ntwo | unseen: nobody can\n").unwrap();
        assert_eq!(coverage.share(), 0.5);
        assert!(coverage.to_string().ends_with("1 of 2 rows seen, 50.0 %; in 0 more we differ\n"));
        for wrong in
            ["## x\none", "## x\none | c", "## x\none |", "one | a", "## x\none | unseen: "]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_row_that_only_differing_cases_show_is_not_seen() {
        let cases = ["a".to_string(), "b".to_string()];
        let text = "## heads\none | a b\ntwo | b\nthree | unseen: nobody can\n";
        let coverage = Coverage::parse(text, &cases, &cases[1..]).unwrap();
        let said = "heads\n  one\n      a differs:b\n  two\n      differs:b\n  three\n      \
                    unseen: nobody can\n1 of 3 rows seen, 33.3 %; in 1 more we differ\n";
        assert_eq!(coverage.to_string(), said);
    }
}
