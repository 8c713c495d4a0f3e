//! No text makes the reader panic, and what it says is always fit to print.

use pointsman_config::Diagnostic;
use pointsman_config::Severity;
use pointsman_config::example;
use pointsman_config::parse;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use proptest::test_runner::TestRunner;
use std::cell::Cell;

/// Words that lead deeper into the reader than letters by chance.
const WORDS: [&str; 48] = [
    "[director]\n",
    "[timeouts]\n",
    "[[port]]\n",
    "[[route]]\n",
    "[[pool]]\n",
    "[[vip]]\n",
    "[[service]]\n",
    "[[service.dest]]\n",
    "name = ",
    "device = ",
    "addresses = ",
    "gateway = ",
    "to = ",
    "via = ",
    "port = ",
    "address = ",
    "forward = ",
    "pool = ",
    "weight = ",
    "cores = ",
    "mtu = ",
    "shared = ",
    "\"wan\"\n",
    "\"lan\"\n",
    "\"10.1.0.254/24\"\n",
    "\"10.1.0.1\"\n",
    "\"fe80::1\"\n",
    "\"2001:db8::1/64\"\n",
    "\"10.1.0.9-10.1.0.11\"\n",
    "\"::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\"\n",
    "\"10.1.0.100:80\"\n",
    "\"[2001:db8::2]:80\"\n",
    "\"net_tap0\"\n",
    "\"fullnat\"\n",
    "\"dr\"\n",
    "\"0.0.0.0/0\"\n",
    "\"::/0\"\n",
    "[1, 1]\n",
    "true\n",
    "1280\n",
    "-1\n",
    "\"\"\n",
    "\"é\"\n",
    "\t",
    "\r\n",
    "{ }",
    "[",
    "\"\"\"",
];

/// Parses, and looks at everything that was said. Whether the text was accepted.
fn judge(text: &str) -> bool {
    match parse("pm.toml", text) {
        Ok((config, warnings)) => {
            assert!(warnings.iter().all(|warning| warning.severity == Severity::Warning));
            assert_sound(text, &warnings);
            for service in &config.services {
                // One with a mark takes what is for the VIPs of its matches.
                let vip = service.vip.map(|vip| config.vips[vip].address);
                assert!(vip.is_none_or(|vip| vip == service.address.ip()));
                assert!(service.dests.iter().all(|dest| config.route(dest.address.ip()).is_some()));
                assert!(service.pool.is_none_or(|pool| pool < config.pools.len()));
            }
            assert!(config.vips.iter().all(|vip| !vip.ports.is_empty()));
            true
        }
        Err(errors) => {
            assert!(errors.diagnostics().iter().any(|found| found.severity == Severity::Error));
            assert_sound(text, errors.diagnostics());
            false
        }
    }
}

/// Every place is inside the text, every underline inside its line, and nothing in the rendered
/// text but the line ends and tabs moves the cursor.
fn assert_sound(text: &str, found: &[Diagnostic]) {
    let lines = text.split('\n').count();
    for diagnostic in found {
        assert!((1..=lines).contains(&diagnostic.line), "{diagnostic}");
        let shown = diagnostic.line_text.chars().count();
        assert!(
            diagnostic.underline.len >= 1 && diagnostic.underline.start <= shown,
            "{diagnostic}"
        );
        assert!(
            diagnostic.underline.start + diagnostic.underline.len
                <= shown.max(diagnostic.underline.start + 1)
        );
        assert!(
            diagnostic.to_string().chars().all(|c| !c.is_control() || c == '\n' || c == '\t'),
            "{diagnostic:?}"
        );
        assert!(
            !diagnostic.message.is_empty() && !diagnostic.message.contains('\n'),
            "{diagnostic:?}"
        );
    }
}

/// At least so many cases; more if PROPTEST_CASES says so.
fn runs(cases: u32) -> Config {
    let asked = Config::default();
    Config { cases: asked.cases.max(cases), failure_persistence: None, ..asked }
}

proptest! {
    #![proptest_config(runs(512))]

    #[test]
    fn never_panics_on_arbitrary_text(text in any::<String>()) {
        judge(&text);
    }

    #[test]
    fn never_panics_on_known_words_in_any_order(words in vec(0..WORDS.len(), 0..60)) {
        judge(&words.iter().map(|&word| WORDS[word]).collect::<String>());
    }
}

/// One change to a text: at a share of its length, take out some characters and put others in.
fn mutate(text: &mut Vec<char>, (at, out, put): &(usize, usize, String)) {
    let at = at % (text.len() + 1);
    let end = (at + out).min(text.len());
    text.splice(at..end, put.chars());
}

#[test]
fn never_panics_on_the_mutated_example() {
    let accepted = Cell::new(0);
    let change = (
        any::<usize>(),
        0usize..4,
        prop_oneof![Just(String::new()), "[0-9a-f:./\"= \\[\\]\n-]{1,3}", any::<String>()],
    );
    let cases = runs(768).cases;
    let mut runner = TestRunner::new(runs(cases));
    let outcome = runner.run(&vec(change, 1..4), |changes| {
        let mut text: Vec<char> = example().chars().collect();
        changes.iter().for_each(|change| mutate(&mut text, change));
        accepted.set(accepted.get() + u32::from(judge(&text.into_iter().collect::<String>())));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    // Both ways must have been taken, or the mutations are of the wrong size.
    let accepted = accepted.get();
    assert!((cases / 16..cases / 16 * 15).contains(&accepted), "{accepted} of {cases} accepted");
}

/// One digit of the example changed: near misses, most of which parse as TOML and reach the checks.
#[test]
fn every_digit_of_the_example_may_be_another() {
    let digits: Vec<usize> = example()
        .bytes()
        .enumerate()
        .filter(|(_, b)| b.is_ascii_digit())
        .map(|(at, _)| at)
        .collect();
    let mut refused = 0;
    for (turn, at) in digits.iter().enumerate() {
        let mut text = example().to_owned().into_bytes();
        text[*at] = b'0' + ((text[*at] - b'0') + 1 + (turn % 9) as u8) % 10;
        refused += u32::from(!judge(std::str::from_utf8(&text).unwrap()));
    }
    assert!(refused > 20, "{refused} of {} refused", digits.len());
}
