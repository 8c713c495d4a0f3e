//! Every case of `tests/oracle` against what the kernel's IPVS answered (`scripts/oracle --record`).

use pointsman_tests::oracle;
use pointsman_tests::oracle::case::Case;
use pointsman_tests::oracle::coverage::Coverage;
use pointsman_tests::oracle::differs;
use pointsman_tests::oracle::kernel::Kernel;
use pointsman_tests::oracle::ours::Ours;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Lines of a difference that are shown where there should be none.
const SHOWN: usize = 24;

/// What differs between what the kernel answered and what we do: empty where nothing does.
fn compared(case: &Case) -> String {
    let file = oracle::folder().join(format!("recorded/{}.record", case.name));
    let theirs = fs::read_to_string(&file).unwrap_or_else(|e| {
        panic!("{}: {e}: scripts/oracle --record {}", file.display(), case.name)
    });
    match oracle::play(case, &mut Ours::new()) {
        Ok(ours) => differs::difference(&theirs, &ours),
        Err(why) => format!("+{why}\n"),
    }
}

/// Whether a case that is known to differ does, and as it did.
fn still(name: &str, said: &str) -> Result<(), String> {
    let file = differs::kept(name);
    if said.is_empty() {
        return Err(format!(
            "passes now: take it out of tests/oracle/waiting and remove tests/oracle/differs/{name}"
        ));
    }
    if std::env::var_os("RENEW").is_some() {
        fs::create_dir_all(differs::kept("")).map_err(|e| e.to_string())?;
        return fs::write(&file, said).map_err(|e| format!("{}: {e}", file.display()));
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    if kept == said {
        return Ok(());
    }
    Err(format!(
        "differs otherwise than tests/oracle/differs/{name} has it (- as kept, + as it is); if that is right, \
         scripts/oracle --differs writes it anew:\n{}",
        differs::difference(&kept, said)
    ))
}

#[test]
fn every_case_comes_out_as_the_kernel_has_it() {
    let waiting = differs::waiting().unwrap();
    let (mut wrong, mut done) = (String::new(), 0);
    let only = std::env::var("CASE").unwrap_or_default();
    for case in Case::all().unwrap().into_iter().filter(|case| case.name.contains(&only)) {
        let said = compared(&case);
        let verdict = match waiting.contains_key(&case.name) {
            true => still(&case.name, &said),
            false if said.is_empty() => Ok(()),
            false => Err(format!("- the kernel, + ours\n{said}")),
        };
        match verdict {
            Ok(()) => done += 1,
            Err(why) => {
                wrong += &format!("\n== {}: ", case.name);
                wrong.extend(why.lines().take(SHOWN).map(|line| format!("{line}\n")));
            }
        }
    }
    assert!(wrong.is_empty(), "{done} cases pass, but:\n{wrong}");
    assert!(done > 0 || !only.is_empty(), "no case was played");
}

#[test]
fn what_waits_is_a_case_and_what_differs_waits() {
    let (cases, waiting) = (Case::all().unwrap(), differs::waiting().unwrap());
    for name in waiting.keys() {
        let known = cases.iter().any(|case| case.name == *name);
        assert!(known, "tests/oracle/waiting: {name} is no case");
    }
    for entry in fs::read_dir(differs::kept("")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(
            waiting.contains_key(&name),
            "{} is of no case in tests/oracle/waiting: remove it",
            entry.path().display()
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
fn what_is_broken_turns_each_case_red() {
    let text = |name| fs::read_to_string(oracle::folder().join(name)).unwrap();
    let (list, result) = (text("mutations"), text("mutations.result"));
    let named = result.lines().filter_map(|line| Some(line.rsplit_once(": red:")?.1));
    let red: BTreeSet<_> = named.flat_map(str::split_whitespace).collect();
    for case in Case::all().unwrap() {
        let name = &case.name[..];
        assert!(red.contains(name), "{name}: add what breaks it to tests/oracle/mutations");
    }
    // What was run last is what is listed, and still stands where it is to be broken.
    let listed = list.lines().filter(|line| !line.starts_with('#'));
    let code = oracle::folder().join("../../engine/dataplane/src");
    let listed: BTreeSet<_> = listed
        .map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
            [batch, file, from, to, cases] => {
                let text = fs::read_to_string(code.join(file)).unwrap();
                let times = text.matches(&from.replace("\\n", "\n")).count();
                assert_eq!(times, 1, "tests/oracle/mutations: {file}: {from}");
                format!("{batch} {file}: {from} -> {to}: red: {cases}")
            }
            _ => panic!("tests/oracle/mutations: no five fields: {line}"),
        })
        .collect();
    let run: BTreeSet<_> = result.lines().map(String::from).collect();
    let differ: Vec<_> = listed.symmetric_difference(&run).collect();
    assert!(differ.is_empty(), "scripts/oracle --mutations has not said this: {differ:#?}");
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
