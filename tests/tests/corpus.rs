//! Every file of `corpus/` is a script that once broke something, named after it: hex digits, white
//! space, and `#` comments that say what it was.

use pointsman_tests::drive;
use pointsman_tests::golden;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

#[test]
fn no_regression_comes_back() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut bad = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let script = golden::bytes(&fs::read_to_string(&path).unwrap()).unwrap();
        assert!(script.len() >= drive::HEAD + drive::STEP, "{} is too short", path.display());
        count += 1;
        if catch_unwind(|| drive::run(&script)).is_err() {
            bad.push(path);
        }
    }
    assert!(count > 0 && bad.is_empty(), "{count} files, bad are {bad:?}");
}
