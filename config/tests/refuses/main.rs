//! What is refused, word for word: one test per sentence. Each gives the text of a file and what is said of it.

mod access;
mod director;
mod helper;
mod introduction;
mod methods;
mod pools;
mod ports;
mod services;
mod snats;
mod syntax;
mod virtuals;

/// Appended to the text under test, so that its own lines have low numbers.
const PORTS: &str = r#"
[[port]]
name = "wan"
device = "net_af_packet0,iface=d0"
addresses = ["10.1.0.254/24", "2001:db8:1::fe/64"]
gateway = "10.1.0.1"

[[port]]
name = "lan"
device = "net_af_packet1,iface=d1"
addresses = ["10.2.0.254/24", "2001:db8:2::fe/64"]

[[route]]
to = "10.9.0.0/16"
via = "10.2.0.1"
"#;

/// The same without its gateway.
const PORTS_WITHOUT_GATEWAY: &str = r#"
[[port]]
name = "wan"
device = "net_af_packet0,iface=d0"
addresses = ["10.1.0.254/24", "2001:db8:1::fe/64"]

[[port]]
name = "lan"
device = "net_af_packet1,iface=d1"
addresses = ["10.2.0.254/24", "2001:db8:2::fe/64"]

[[route]]
to = "10.9.0.0/16"
via = "10.2.0.1"
"#;

/// The text under test brings its own ports.
const NO_PORTS: &str = "";

/// `name, ports, text, messages`: the text with the ports is refused with exactly these messages.
macro_rules! refuses {
    ($name:ident, $ports:expr, $text:literal, $expected:literal) => {
        #[test]
        fn $name() {
            crate::check($ports, $text, $expected, true);
        }
    };
}
use refuses;

/// `name, ports, text, messages`: the text with the ports is accepted with exactly these warnings.
macro_rules! accepts {
    ($name:ident, $ports:expr, $text:literal, $expected:literal) => {
        #[test]
        fn $name() {
            crate::check($ports, $text, $expected, false);
        }
    };
}
use accepts;

#[track_caller]
fn check(ports: &str, text: &str, expected: &str, refused: bool) {
    let text = format!("{}{ports}", text.trim_start_matches('\n'));
    let (said, was_refused) = match pointsman_config::parse("pm.toml", &text) {
        Ok((_, warnings)) => {
            (warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), false)
        }
        Err(errors) => (errors.to_string(), true),
    };
    // Compared as text, so that a failure prints both as they look.
    assert!(said == expected.trim_matches('\n'), "said:\n{said}\n\nexpected:\n{expected}");
    assert_eq!(was_refused, refused);
}
