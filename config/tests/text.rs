//! Files as they come: line ends, byte order marks, other encodings, garbage; and what `load` says
//! of them.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use pointsman_config::Config;
use pointsman_config::Errors;
use pointsman_config::Severity;
use pointsman_config::example;
use pointsman_config::load;
use pointsman_config::parse;
use std::fs;
use std::path::PathBuf;

/// A file under cargo's directory for tests, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{}-{name}", std::process::id()));
        fs::write(&path, bytes).unwrap();
        Self(path)
    }

    /// What `load` says, with the path as `pm.toml`.
    fn errors(&self) -> String {
        load(&self.0).unwrap_err().to_string().replace(&self.0.display().to_string(), "pm.toml")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn accepted(text: &str) -> Config {
    let (config, warnings) = parse("pm.toml", text).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(warnings.is_empty(), "{}", warnings[0]);
    config
}

fn refused(text: &str) -> Errors {
    parse("pm.toml", text).unwrap_err()
}

#[test]
fn the_example_parses_with_no_warning() {
    accepted(example());
}

#[test]
fn the_shortest_file_of_the_readme_parses_with_no_warning() {
    let readme = include_str!("../../README.md");
    let block = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let config = accepted(block.unwrap());
    assert_eq!((config.ports.len(), config.services.len()), (2, 1));
}

#[test]
fn load_reads_what_parse_reads() {
    let file = Scratch::new("example.toml", example().as_bytes());
    let (config, warnings) = load(&file.0).unwrap();
    assert_eq!((config, warnings), (accepted(example()), Vec::new()));
}

#[test]
fn crlf_files_are_the_same() {
    assert_eq!(accepted(&example().replace('\n', "\r\n")), accepted(example()));
}

#[test]
fn errors_in_crlf_files_have_the_right_place() {
    let text = "[director]\r\nidle = \"pol\"\r\ncores = 1\r\n";
    assert!(refused(text).to_string().starts_with(
        "pm.toml:2:8: error: unknown idle mode \"pol\"\n\
         \x20   2 | idle = \"pol\"\n      |        ^^^^^ expected one of poll, adaptive; did you mean \"poll\"?\npm.toml:3:9: "
    ));
}

#[test]
fn a_byte_order_mark_is_not_seen() {
    assert_eq!(accepted(&format!("\u{feff}{}", example())), accepted(example()));
    let errors = refused("\u{feff}x = 1\n");
    assert_eq!((errors.diagnostics()[0].line, errors.diagnostics()[0].column), (1, 1));
    assert_eq!(errors.diagnostics()[0].line_text, "x = 1");
}

#[test]
fn a_file_that_is_not_utf8_is_refused_at_the_byte() {
    let file = Scratch::new("latin1.toml", b"[director]\n# gr\xfc\xdfe\n");
    assert_eq!(
        file.errors(),
        "pm.toml:2:5: error: byte 0xfc is not UTF-8\n    2 | # gr\u{fffd}\u{fffd}e\n      |     ^ save the file as UTF-8 text"
    );
    let file = Scratch::new("utf16.toml", b"\xff\xfe[\0d\0");
    assert!(file.errors().starts_with("pm.toml:1:1: error: byte 0xff is not UTF-8\n"));
    let file = Scratch::new("cut.toml", b"\xef\xbb\xbfname = \"\xc3");
    assert!(file.errors().starts_with("pm.toml:1:9: error: byte 0xc3 is not UTF-8\n"));
}

#[test]
fn an_empty_file_lacks_a_port() {
    for text in ["", "\n", "# nothing\n", "\u{feff}"] {
        let errors = refused(text);
        assert_eq!(errors.diagnostics().len(), 1, "{text:?}");
        assert_eq!(errors.diagnostics()[0].message, "no [[port]]");
        assert_eq!(errors.diagnostics()[0].line, 1);
    }
}

#[test]
fn a_missing_file_is_named() {
    let missing = PathBuf::from("/nonexistent/pm.toml");
    assert_eq!(
        load(&missing).unwrap_err().to_string(),
        "/nonexistent/pm.toml: error: no such file\n      name an existing one, or start from pointsman.example.toml"
    );
}

#[test]
fn a_directory_is_named() {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let said = load(&directory).unwrap_err().to_string();
    assert!(said.ends_with(": error: a directory, not a file\n      name a file in it"), "{said}");
}

#[test]
fn a_file_without_end_is_given_up() {
    let said = load(&PathBuf::from("/dev/zero")).unwrap_err().to_string();
    assert!(said.starts_with("/dev/zero: error: more than 64 MiB"), "{said}");
}

#[test]
fn long_lines_are_cut_around_the_error() {
    let text = format!("[director]\nsocket = \"{}\"\n", "x".repeat(300));
    let errors = refused(&text);
    let diagnostic = &errors.diagnostics()[0];
    assert_eq!((diagnostic.line, diagnostic.column), (2, 10));
    assert!(diagnostic.line_text.ends_with("xxx…") && diagnostic.line_text.chars().count() < 170);
    assert!(diagnostic.message.chars().count() < 120);
}

#[test]
fn more_ports_than_dpdk_opens_are_refused() {
    let port = |i: usize| {
        format!(
            "[[port]]\nname = \"p{i}\"\ndevice = \"net_tap{i}\"\naddresses = [\"10.{i}.0.1/24\"]\n"
        )
    };
    let text = |count: usize| (0..count).map(port).collect::<String>();
    assert_eq!(accepted(&text(32)).ports.len(), 32);
    assert_eq!(
        refused(&text(33)).to_string(),
        "pm.toml:129:1: error: 33 ports\n  129 | [[port]]\n      | ^^^^^^^^ DPDK opens at most 32"
    );
}

#[test]
fn of_a_hopeless_file_the_first_hundred_errors_are_shown() {
    let errors = refused(&"[[service]]\n".repeat(1000));
    assert_eq!(errors.diagnostics().len(), 100);
    // Two missing keys each, and no port at all is not said of a file that has other errors.
    assert_eq!(errors.left_out(), 1900);
    assert!(errors.to_string().ends_with("\nand 1900 more"));
    assert_eq!(errors.diagnostics()[99].line, 50);
}

#[test]
fn errors_come_in_the_order_of_the_file_with_the_warnings_between() {
    let text = "[director]\ncores = [0]\ncontrol_core = 0\nidle = \"x\"\n".to_owned()
        + &example()[example().find("\n[[port]]").unwrap()..]
        + "\nweight = 70000\n";
    let errors = refused(&text);
    let found: Vec<_> =
        errors.diagnostics().iter().map(|found| (found.line, found.severity)).collect();
    assert_eq!(found[..2], [(3, Severity::Warning), (4, Severity::Error)]);
    assert_eq!(found.len(), 3);
    assert!(found[2].0 > 50);
}

/// A mebibyte of each sort; every one is refused, by an error that names a line.
#[test]
fn a_mebibyte_of_garbage_is_refused() {
    const MIB: usize = 1 << 20;
    let mut state = 1u64;
    let mut random = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let printable: Vec<char> =
        ('\t'..='~').filter(|c| !c.is_control() || c.is_whitespace()).collect();
    let noise: String = (0..MIB).map(|_| printable[random() % printable.len()]).collect();
    let repeated = [
        "a=",
        "[",
        "x\n",
        "\"",
        "[[port]]\n",
        "k.",
        "a={",
        "[[service]]\n[[service.dest]]\n",
        "é",
        "\0",
    ];
    let repeated = repeated.iter().map(|part| part.repeat(MIB / part.len()));
    let one_line = format!("service = [{}]", "{},".repeat(MIB / 3));
    let addresses = format!("[[port]]\naddresses = [{}]", "\"10.0.0.1/8\",".repeat(MIB / 13));
    let name = format!("[[vip]]\nport = \"{}\"\naddress = \"10.0.0.1\"", "n".repeat(MIB));
    for text in repeated.chain([noise, one_line, addresses, name]) {
        let errors = refused(&text);
        assert!(errors.diagnostics()[0].line >= 1);
        assert!(errors.to_string().len() < MIB, "{}", errors.to_string().len());
    }
}
