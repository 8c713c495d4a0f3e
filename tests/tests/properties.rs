//! Generated traffic through the whole pipeline; see `drive` for what it is and what is asserted.

use pointsman_tests::drive;
use pointsman_tests::drive::Tally;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::Config;
use proptest::test_runner::TestError;
use proptest::test_runner::TestRunner;
use std::cell::Cell;

/// Scripts; `PROPTEST_CASES` overrides it.
const CASES: u32 = 1500;

#[test]
fn generated_traffic_keeps_every_promise() {
    let mut config = Config::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    // Failures are kept as named files in the corpus, not by seed.
    config.failure_persistence = None;
    let head = any::<[u8; drive::HEAD]>();
    let steps = vec(any::<[u8; drive::STEP]>(), 1..400);
    let all = Cell::new(Tally::default());
    let result = TestRunner::new(config).run(&(head, steps), |(head, steps)| {
        let tally = drive::run(&[&head[..], steps.as_flattened()].concat());
        let sum = all.get();
        all.set(Tally {
            traffic: sum.traffic + tally.traffic,
            hits: sum.hits + tally.hits,
            noise: sum.noise + tally.noise,
            sent: sum.sent + tally.sent,
        });
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Abort(why)) => panic!("{why}"),
        Err(TestError::Fail(why, (head, steps))) => {
            let script = [&head[..], steps.as_flattened()].concat();
            panic!("{why}\nscript for tests/corpus: {}", pointsman_tests::see::hex(&script));
        }
    }
    let Tally { traffic, hits, noise, .. } = all.get();
    assert!(hits * 10 >= traffic * 6, "{hits} of {traffic} packets opened or hit a conn");
    assert!(noise * 20 >= traffic, "{noise} damaged or random frames, {traffic} good ones");
    println!("{:?}", all.get());
}
