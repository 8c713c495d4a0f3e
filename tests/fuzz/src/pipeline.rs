//! Bytes to a script, a script through the whole pipeline: see `pointsman_tests::drive`.
#![no_main]

libfuzzer_sys::fuzz_target!(|script: &[u8]| {
    pointsman_tests::drive::run(script);
});
