//! Random sequences of packets, time and changes, against a model that is small, slow and obviously
//! right (`model`). Where the two differ, the shortest such sequence is printed.
//!
//! Rules of the data plane that were broken by hand, one at a time, to see that it finds them (21 November 2026): all
//! eleven were found, by sequences of 1 to 12 steps.
//!
//! | rule broken | first difference |
//! | --- | --- |
//! | rr passes one dest over | dest of the second SYN |
//! | rr goes to the head after a change | dest of the SYN after it |
//! | wlc weighs the loads by the wrong dest's weight | dest of a SYN after a change of weight |
//! | CLOSE_WAIT, FIN of the dest: LAST_ACK | state |
//! | a conn does not begin its template's time anew | seconds left |
//! | a template leads to a removed dest | dest of the next SYN |
//! | without a lower threshold: below the upper one | `full-dest`, when conns end |
//! | a SYN does not begin a conn in CLOSE anew | dest of the SYN |
//! | a range comes before an address of its own | dest of the first SYN |
//! | a template goes on for 30 s | seconds left |
//! | a dest is not judged when a conn opens | `full-dest` |

use pointsman_tests::model::pick::Kind;
use pointsman_tests::model::play;
use pointsman_tests::model::play::Setting;
use pointsman_tests::model::play::Step;
use pointsman_tests::model::play::TARGETS;
use pointsman_tests::model::play::Tally;
use proptest::collection::vec;
use proptest::prelude::Just;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prop_oneof;
use proptest::test_runner::Config;
use proptest::test_runner::RngAlgorithm;
use proptest::test_runner::TestCaseError;
use proptest::test_runner::TestError;
use proptest::test_runner::TestRng;
use proptest::test_runner::TestRunner;
use std::cell::RefCell;

/// Sequences of each test, the same in each run; with `PROPTEST_CASES` so many others.
const CASES: u32 = 600;

fn settings(workers: usize) -> impl Strategy<Value = Setting> {
    let kinds = prop_oneof![
        Just(Kind::Rr),
        Just(Kind::Wrr),
        Just(Kind::Lc),
        Just(Kind::Wlc),
        Just(Kind::Sh)
    ];
    (any::<bool>(), kinds, [0..TARGETS.len(), 0..TARGETS.len(), 0..TARGETS.len()])
        .prop_map(move |(v6, kind, targets)| Setting { workers, v6, kind, targets })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let says =
        || prop_oneof![5 => Just("SYN"), 5 => Just("ACK"), 2 => Just("FIN"), 1 => Just("RST")];
    let dest = || (0..3usize, 0..play::DESTS);
    let limits = prop_oneof![Just((0, 0)), (1..6u64, 0..3u64)];
    let step = prop_oneof![
        12 => ((0..4u8, 0..2u16), 0..3usize, says(), 0..3usize)
            .prop_map(|(from, target, says, at)| Step::Client { from, target, says, at }),
        6 => (0..64usize, says(), 0..3usize)
            .prop_map(|(conn, says, at)| Step::Dest { conn, says, at }),
        3 => (1..9u64).prop_map(Step::Wait),
        1 => (10..40u64).prop_map(Step::Wait),
        1 => (dest(), 0..5u32).prop_map(|((target, dest), w)| Step::Weight(target, dest, w)),
        1 => dest().prop_map(|(target, dest)| Step::Toggle(target, dest)),
        1 => (dest(), limits).prop_map(|((target, dest), l)| Step::Limits(target, dest, l)),
        1 => any::<bool>().prop_map(Step::LeaveQuiesced),
    ];
    vec(step, 1..80)
}

fn differ(workers: usize) -> Tally {
    let is_hunt = std::env::var_os("PROPTEST_CASES").is_some();
    // What it finds becomes a test of its own.
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = match is_hunt {
        true => TestRunner::new(config),
        false => {
            let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
            TestRunner::new_with_rng(Config { cases: CASES, ..config }, rng)
        }
    };
    let all = RefCell::new(Tally::new());
    let result = runner.run(&(settings(workers), steps()), |(setting, steps)| {
        let tally = play::play(&setting, &steps).map_err(TestCaseError::fail)?;
        let mut all = all.borrow_mut();
        tally.into_iter().for_each(|(name, n)| *all.entry(name).or_default() += n);
        Ok(())
    });
    match result {
        Ok(()) => all.into_inner(),
        Err(TestError::Abort(why)) => panic!("{why}"),
        Err(TestError::Fail(why, (setting, steps))) => {
            let steps: Vec<_> = steps.iter().map(|step| format!("    {step:?}\n")).collect();
            panic!("{why}\nThe shortest sequence, on {setting:?}:\n{}", steps.concat())
        }
    }
}

/// Everything that the model has was reached.
fn is_wide(tally: &Tally) {
    println!("{tally:#?}");
    for name in [
        "to dest",
        "to the client",
        "dropped no-dest",
        "dropped not-syn",
        "dropped closed-port",
        "dropped not-ours",
        "ESTABLISHED",
        "SYN_RECV",
        "FIN_WAIT",
        "TIME_WAIT",
        "CLOSE",
        "CLOSE_WAIT",
        "SYN_SENT",
        "UDP",
        "template",
        "useless-template",
        "full-dest",
    ] {
        assert!(tally.get(name).is_some_and(|n| *n >= 20), "{name} was hardly reached");
    }
}

#[test]
fn one_worker_does_what_the_model_does() {
    is_wide(&differ(1));
}

#[test]
fn several_workers_do_what_the_model_does_where_their_order_does_not_count() {
    is_wide(&differ(3));
}
