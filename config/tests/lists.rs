//! Files of prefixes: `allow_file` and `deny_file`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use pointsman_config::AccessList;
use pointsman_config::Config;
use pointsman_config::load;
use std::fs;
use std::path::PathBuf;

/// A directory with a configuration, removed at the end.
struct Scratch(PathBuf);

const PORT: &str =
    "[[port]]\nname = \"wan\"\ndevice = \"net_tap0\"\naddresses = [\"10.1.0.254/24\"]\n";

impl Scratch {
    /// Files with these names, and a configuration with such lines in `[director]`.
    fn new(name: &str, director: &str, files: &[(&str, &[u8])]) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("lists-{}-{name}", std::process::id()));
        fs::create_dir_all(path.join("lists")).unwrap();
        fs::write(path.join("pm.toml"), format!("[director]\n{director}\n{PORT}")).unwrap();
        for (file, bytes) in files {
            fs::write(path.join(file), bytes).unwrap();
        }
        Self(path)
    }

    fn load(&self) -> Config {
        load(&self.0.join("pm.toml")).unwrap_or_else(|errors| panic!("{errors}")).0
    }

    /// What is said of the file, with paths from the directory on.
    fn said(&self) -> String {
        let said = match load(&self.0.join("pm.toml")) {
            Ok((_, warnings)) => warnings.iter().map(ToString::to_string).collect(),
            Err(errors) => errors.to_string(),
        };
        said.replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn list(config: &Config) -> &AccessList {
    config.director.access.as_ref().unwrap()
}

fn texts(prefixes: &[pointsman_config::Prefix]) -> Vec<String> {
    prefixes.iter().map(ToString::to_string).collect()
}

#[test]
fn a_file_has_one_prefix_a_line_with_comments_and_empty_lines() {
    let text =
        b"# bad ones\r\n\r\n10.0.0.0/8 # all of it\r\n\t2001:db8::/32\n192.0.2.7\n  \n2001:db8::7";
    let scratch =
        Scratch::new("good", "deny_file = \"lists/deny.txt\"", &[("lists/deny.txt", text)]);
    let config = scratch.load();
    let expected = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32", "2001:db8::7/128"];
    assert_eq!(texts(&list(&config).deny), expected);
    assert!(list(&config).allow.is_empty() && list(&config).others);
}

#[test]
fn a_file_adds_to_the_list_of_its_key_and_any_allow_list_shuts_others_out() {
    let director = "allow = [\"10.0.0.0/8\"]\nallow_file = \"a\"\ndeny_file = \"d\"";
    let scratch = Scratch::new("both", director, &[("a", b"192.0.2.0/24\n"), ("d", b"")]);
    let config = scratch.load();
    assert_eq!(texts(&list(&config).allow), ["10.0.0.0/8", "192.0.2.0/24"]);
    assert!(list(&config).deny.is_empty() && !list(&config).others);
}

#[test]
fn a_line_that_is_no_prefix_is_named_by_file_line_and_column() {
    let text = b"10.0.0.0/8\n  10.0.0.1/8 # host bits\nten\n";
    let scratch = Scratch::new("bad", "deny_file = \"deny.txt\"", &[("deny.txt", text)]);
    let said = scratch.said();
    assert!(
        said.starts_with(
            "deny.txt:2:3: error: 10.0.0.1/8 has host bits set\n    \
             2 |   10.0.0.1/8 # host bits\n      \
             |   ^^^^^^^^^^ did you mean \"10.0.0.0/8\"?\n\
             deny.txt:3:1: error: \"ten\" is not an IP address\n"
        ),
        "{said}"
    );
}

#[test]
fn of_a_hopeless_list_the_first_hundred_lines_are_shown() {
    let text = "x\n".repeat(1000);
    let files = [("deny.txt", text.as_bytes())];
    let scratch = Scratch::new("hopeless", "deny_file = \"deny.txt\"\nidle = \"x\"", &files);
    let errors = load(&scratch.0.join("pm.toml")).unwrap_err();
    assert_eq!((errors.diagnostics().len(), errors.left_out()), (100, 901));
}

#[test]
fn a_file_that_is_no_text_is_refused_at_the_byte() {
    let files: [(&str, &[u8]); 1] = [("deny.txt", b"10.0.0.0/8\n\xff\n")];
    let said = Scratch::new("bytes", "deny_file = \"deny.txt\"", &files).said();
    assert!(said.starts_with("deny.txt:2:1: error: byte 0xff is not UTF-8\n"), "{said}");
}

#[test]
fn what_is_no_file_is_refused_at_its_key() {
    let said = |name, file| Scratch::new(name, &format!("deny_file = \"{file}\""), &[]).said();
    let at = |what: &str| format!("pm.toml:2:13: error: {what}\n");
    assert!(said("directory", "lists").starts_with(&at("\"lists\": a directory, not a file")));
    let device = at("\"/dev/zero\": cannot be read: not a regular file");
    assert!(said("device", "/dev/zero").starts_with(&device));
}

#[test]
fn a_prefix_in_both_files_is_refused() {
    let files: [(&str, &[u8]); 2] = [("a", b"10.0.0.0/8\n192.0.2.1"), ("d", b"::/0\n192.0.2.1/32")];
    let said = Scratch::new("twice", "allow_file = \"a\"\ndeny_file = \"d\"", &files).said();
    assert!(
        said.starts_with("pm.toml:3:13: error: 192.0.2.1/32 is allowed and denied\n"),
        "{said}"
    );
}

#[test]
fn an_allow_file_without_a_prefix_is_warned_of() {
    let said = Scratch::new("nobody", "allow_file = \"a\"", &[("a", b"# none\n")]).said();
    assert!(said.starts_with("pm.toml:2:14: warning: allow_file names no prefix\n"), "{said}");
}

#[test]
fn a_change_of_a_file_is_a_change_of_the_configuration() {
    let files: [(&str, &[u8]); 1] = [("d", b"10.0.0.0/8\n")];
    let scratch = Scratch::new("change", "deny_file = \"d\"", &files);
    let first = scratch.load();
    assert_eq!(first, scratch.load());
    fs::write(scratch.0.join("d"), b"10.0.0.0/9\n").unwrap();
    assert_ne!(first, scratch.load());
}
