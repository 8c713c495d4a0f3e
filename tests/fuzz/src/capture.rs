//! Bytes as a capture through the whole of `pointsman replay`, by every method: it is refused in words or replayed, and
//! every check holds.
#![no_main]

use clap::Parser;
use pointsman::replay::Args;
use pointsman::replay::replay;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

#[derive(Parser)]
struct Replay {
    #[command(flatten)]
    args: Args,
}

/// In memory, gone with the process: a file without a name, and the name by which this process knows it.
static FILE: LazyLock<(File, String)> = LazyLock::new(|| {
    let path = format!("/dev/shm/pointsman-fuzz-{}", std::process::id());
    let file = File::create_new(&path).expect("/dev/shm can be written to");
    std::fs::remove_file(path).expect("it was just made");
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    (file, name)
});

libfuzzer_sys::fuzz_target!(|capture: &[u8]| {
    let (file, name) = &*FILE;
    file.set_len(0).and_then(|()| file.write_all_at(capture, 0)).expect("it takes a capture");
    // by the last byte, which in each format is some frame's
    let method = ["fullnat", "nat", "dr", "tunnel"][usize::from(capture.last().unwrap_or(&0) % 4)];
    let asked = ["replay", name, "--json", "--table", "1024", "--forward", method];
    replay(&Replay::parse_from(asked).args, judge);
});

/// A capture may end too early, as fuzzed ones do; nothing else may be wrong.
fn judge(report: &str) -> Result<(), String> {
    let report: serde_json::Value = serde_json::from_str(report).expect("the report is JSON");
    for check in report["checks"].as_array().expect("a report has checks") {
        let cut = check["what"] == "captures are whole";
        assert!(cut || check["holds"] == true, "{check}");
    }
    Ok(())
}
