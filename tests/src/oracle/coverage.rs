//! The checklist of rules (`tests/oracle/checklist`), and which cases cover them.
//!
//! A line is a rule in our words, a `|`, and the cases that show it; or `unseen:` and why. A line that
//! begins with `##` is a heading, other lines with `#` are comments.

use super::case::Case;
use std::fmt;
use std::fs;

/// A rule.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Row {
    rule: String,
    /// The cases, or why there is none.
    seen: Result<Vec<String>, String>,
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
        Self::parse(&text, &cases)
    }

    fn parse(text: &str, cases: &[String]) -> Result<Self, String> {
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
                None => Ok(cover.split_whitespace().map(String::from).collect::<Vec<_>>()),
            };
            let names = seen.iter().flatten();
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

    /// How many rows cases show, of all: 0 to 1.
    pub fn share(&self) -> f64 {
        let seen = self.rows().filter(|row| row.seen.is_ok()).count();
        seen as f64 / self.rows().count().max(1) as f64
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (heading, rows) in &self.sections {
            writeln!(f, "{heading}")?;
            for row in rows {
                let seen = match &row.seen {
                    Ok(cases) => cases.join(" "),
                    Err(why) => format!("unseen: {why}"),
                };
                writeln!(f, "  {}\n      {seen}", row.rule)?;
            }
        }
        let seen = self.rows().filter(|row| row.seen.is_ok()).count();
        writeln!(f, "{seen} of {} rows seen, {:.1} %", self.rows().count(), self.share() * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_cases_or_says_why_there_is_none() {
        let cases = ["a".to_string(), "b".to_string()];
        let read = |text| Coverage::parse(text, &cases);
        let coverage = read("# words\n## heads\none | a b\ntwo | unseen: nobody can\n").unwrap();
        assert_eq!(coverage.share(), 0.5);
        assert!(coverage.to_string().ends_with("1 of 2 rows seen, 50.0 %\n"));
        for wrong in
            ["## x\none", "## x\none | c", "## x\none |", "one | a", "## x\none | unseen: "]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
