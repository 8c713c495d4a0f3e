//! The binary as the operator meets it: what it prints, and how it exits.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Exit code, standard output, standard error.
fn pointsman(args: &[&str]) -> (i32, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_pointsman")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("pointsman-cli-{}-{name}", std::process::id()));
    fs::write(&path, text).unwrap();
    path
}

const GOOD: &str = "[[port]]
name = 'wan'
device = 'net_null0'
addresses = ['10.1.0.254/24']
[[service]]
address = '10.1.0.100:80'
forward = 'nat'
[[service.dest]]
address = '10.1.0.2:80'
";

#[test]
fn check_passes_a_good_file_with_a_summary() {
    let path = file("good.toml", GOOD);
    let (code, out, err) = pointsman(&["check", path.to_str().unwrap()]);
    let expected =
        format!("{}: ok: 1 port, 1 VIP, 1 service, 1 dest, 0 pool addresses\n", path.display());
    assert_eq!((code, out.as_str(), err.as_str()), (0, expected.as_str(), ""));
    fs::remove_file(path).unwrap();
}

#[test]
fn check_passes_the_shipped_example() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/pointsman.example.toml");
    let (code, out, err) = pointsman(&["check", path]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(": ok: "), "{out}");
}

#[test]
fn check_names_every_error_with_its_place_and_exits_1() {
    let text = GOOD.replace("'nat'", "'nta'").replace("addresses", "adresses");
    let path = file("bad.toml", &text);
    let (code, out, err) = pointsman(&["check", path.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (1, ""));
    let at = |line: usize, column: usize| format!("{}:{line}:{column}: error: ", path.display());
    assert!(err.contains(&at(4, 1)) && err.contains("\"addresses\""), "{err}");
    assert!(err.contains(&at(7, 11)) && err.contains("\"nat\""), "{err}");
    fs::remove_file(path).unwrap();
}

#[test]
fn check_warns_of_cores_that_are_not_here() {
    let path = file("cores.toml", &format!("[director]\ncores = [1023]\n{GOOD}"));
    let (code, out, err) = pointsman(&["check", path.to_str().unwrap()]);
    assert_eq!(code, 0);
    assert!(out.contains(": ok: "));
    assert!(err.contains("warning: director.cores: no core 1023 on this machine"), "{err}");
    fs::remove_file(path).unwrap();
}

#[test]
fn run_says_of_a_bad_file_what_check_says_and_opens_nothing() {
    let socket = std::env::temp_dir().join(format!("pointsman-cli-{}.sock", std::process::id()));
    let bad = GOOD.replace("'nat'", "'nta'");
    let head = format!("[director]\nsocket = '{}'\n", socket.display());
    let path = file("run-bad.toml", &(head + &bad));
    let (_, _, said) = pointsman(&["check", path.to_str().unwrap()]);
    let place = said.lines().next().unwrap();
    assert!(place.starts_with(&format!("{}:9:11: error: ", path.display())), "{said}");
    let (code, out, err) = pointsman(&["run", "-c", path.to_str().unwrap()]);
    assert_eq!((code, socket.exists()), (1, false));
    let expected = if cfg!(feature = "dpdk") { place } else { "built without DPDK" };
    assert!(err.contains(expected), "{err}");
    // It says so before it asks anything of DPDK.
    assert!(!out.contains("with DPDK") && !err.contains("with DPDK"), "{out}{err}");
    fs::remove_file(path).unwrap();
}

#[test]
fn run_refuses_cores_that_are_not_here() {
    let path = file("run.toml", &format!("[director]\ncores = [1023]\n{GOOD}"));
    let (code, _, err) = pointsman(&["run", "-c", path.to_str().unwrap()]);
    assert_eq!(code, 1);
    let expected = if cfg!(feature = "dpdk") { "no core 1023" } else { "built without DPDK" };
    assert!(err.contains(expected), "{err}");
    fs::remove_file(path).unwrap();
}

#[test]
fn questions_to_nobody_say_so_and_exit_1() {
    for args in [&["status"][..], &["status", "--json"], &["reload"], &["announce", "10.1.0.100"]] {
        let (code, out, err) = pointsman(&[args, &["-s", "/nonexistent/p.sock"]].concat());
        assert_eq!((code, out.as_str()), (1, ""));
        let expected = "pointsman is not running? (no socket at /nonexistent/p.sock;";
        assert!(err.starts_with(expected), "{err}");
    }
}

#[test]
fn wrong_usage_exits_2() {
    for args in [&["stauts"][..], &["announce", "not-an-address"], &["status", "--yaml"], &[]] {
        assert_eq!(pointsman(args).0, 2, "{args:?}");
    }
    assert_eq!(pointsman(&["--version"]).1, format!("pointsman {}\n", env!("CARGO_PKG_VERSION")));
}
