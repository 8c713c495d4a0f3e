//! Every case of `tests/oracle` against what the kernel's IPVS answered (`scripts/oracle --record`).

use pointsman_tests::oracle;
use pointsman_tests::oracle::case::Case;
use pointsman_tests::oracle::coverage::Coverage;
use pointsman_tests::oracle::kernel::Kernel;
use pointsman_tests::oracle::ours::Ours;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Cases that we cannot pass yet: name, and what is missing.
fn waiting() -> BTreeMap<String, String> {
    let list =
        fs::read_to_string(oracle::folder().join("waiting")).expect("the list of cases that wait");
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line: &str| {
        let (name, missing) = line.split_once(' ').expect("a name and what is missing");
        (name.to_string(), missing.trim().to_string())
    };
    lines.map(entry).collect()
}

/// What the kernel answered, and what we do.
fn verdict(case: &Case) -> Result<(), String> {
    let file = oracle::folder().join(format!("recorded/{}.record", case.name));
    let theirs = fs::read_to_string(&file)
        .map_err(|e| format!("{}: {e}: scripts/oracle --record {}", file.display(), case.name))?;
    let ours = oracle::play(case, &mut Ours::new())?;
    difference(&theirs, &ours)
}

/// The first lines that differ, with the steps that led there.
fn difference(theirs: &str, ours: &str) -> Result<(), String> {
    if theirs == ours {
        return Ok(());
    }
    let (a, b): (Vec<_>, Vec<_>) = (theirs.lines().collect(), ours.lines().collect());
    let mut said = String::new();
    let mut step = 0;
    for n in 0..a.len().max(b.len()) {
        let (a, b) = (a.get(n), b.get(n));
        if a == b {
            step = if a.is_some_and(|line| line.starts_with('>')) { n } else { step };
            continue;
        }
        let line = |line: Option<&&str>| line.map_or("(nothing)".into(), |l| l.to_string());
        said += &format!(
            "line {}, after {}\n  kernel {}\n  ours   {}\n",
            n + 1,
            theirs.lines().nth(step).unwrap_or_default(),
            line(a),
            line(b)
        );
        if said.lines().count() > 24 {
            said += "...\n";
            break;
        }
        // Where a line is more or less, all that follows would differ.
        if a.is_none()
            || b.is_none()
            || a.map(|l| l.starts_with('>')) != b.map(|l| l.starts_with('>'))
        {
            break;
        }
    }
    Err(said)
}

#[test]
fn every_case_comes_out_as_the_kernel_has_it() {
    let waiting = waiting();
    let (mut wrong, mut done) = (String::new(), 0);
    let only = std::env::var("CASE").unwrap_or_default();
    for case in Case::all().unwrap().into_iter().filter(|case| case.name.contains(&only)) {
        match (verdict(&case), waiting.get(&case.name)) {
            (Ok(()), None) => done += 1,
            (Err(_), Some(_)) => {}
            (Err(why), None) => wrong += &format!("\n== {}\n{why}", case.name),
            (Ok(()), Some(missing)) => {
                wrong += &format!(
                    "\n== {}: passes now: take it out of tests/oracle/waiting ({missing})",
                    case.name
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{done} cases pass, but:\n{wrong}");
    assert!(done > 0 || !only.is_empty(), "no case was played");
}

#[test]
fn what_waits_is_a_case() {
    let cases = Case::all().unwrap();
    for name in waiting().keys() {
        assert!(
            cases.iter().any(|case| case.name == *name),
            "tests/oracle/waiting: {name} is no case"
        );
    }
}

#[test]
fn what_is_recorded_is_a_case() {
    let cases = Case::all().unwrap();
    for entry in fs::read_dir(oracle::folder().join("recorded")).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().replace(".record", "");
        assert!(cases.iter().any(|case| case.name == name), "recorded/{name}.record has no case");
    }
}

#[test]
fn nine_rows_of_ten_of_the_checklist_are_covered() {
    let coverage = Coverage::read().unwrap();
    print!("{coverage}");
    assert!(coverage.share() >= 0.9, "{coverage}");
}

/// Plays the case that `CASE_FILE` names to the kernel, and prints what it answers between two marks.
#[test]
#[ignore = "of the kernel it runs on: scripts/oracle has it run in the judge's guest"]
fn guest() {
    let file = std::env::var("CASE_FILE").expect("scripts/oracle names the case");
    let case = Case::read(Path::new(&file)).unwrap();
    let answer = Kernel::new().and_then(|mut kernel| oracle::play(&case, &mut kernel));
    let answer = answer.unwrap_or_else(|why| format!("@failed {why}\n"));
    println!("\n@begin {}\n{answer}@end {}", case.name, case.name);
}
