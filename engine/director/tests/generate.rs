//! `pointsman generate` from outside. Needs no root and no libdpdk.
#![expect(clippy::unwrap_used, reason = "all of this file is a test")]

use pointsman::io::pcap::CaptureReader;
use pointsman::io::pcap::CaptureWriter;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

fn generated(name: &str, args: &[&str]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("generate-{name}"));
    let program = env!("CARGO_BIN_EXE_pointsman");
    let done = Command::new(program).arg("generate").arg(&path).args(args).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    path
}

#[test]
fn the_same_arguments_generate_the_same_capture() {
    let args = ["--conns", "20", "--packets", "400", "--zipf", "1.2"];
    let [a, b] = ["a.pcap", "b.pcap"].map(|name| std::fs::read(generated(name, &args)).unwrap());
    assert_eq!(a, b);
    let other = generated("c.pcap", &[&args[..], &["--seed", "2"]].concat());
    assert_ne!(a, std::fs::read(other).unwrap());
    let mut written = CaptureWriter::new(Vec::new()).unwrap();
    written.frame(1, &[0; 60]).unwrap();
    assert_eq!(&written.finish().unwrap()[..24], &a[..24]);
}

#[test]
fn frames_have_the_lengths_and_times_asked_for() {
    let args =
        ["--conns", "10", "--packets", "500", "--size", "594", "--pps", "1000", "--new", "0"];
    let mut reader = CaptureReader::open(&generated("sizes.pcap", &args)).unwrap();
    let (mut data, mut lengths, mut last) = (Vec::new(), Vec::new(), None);
    while let Some(record) = reader.next(&mut data).unwrap() {
        let since = last.map(|last| record.stamp.unwrap() - last);
        assert!(since.is_none_or(|ns| ns == 1_000_000));
        last = record.stamp;
        lengths.push(data.len());
    }
    // Ten handshakes of three frames, the rest is data; lengths count the check sequence.
    lengths.sort_unstable();
    assert_eq!((&lengths[..30], &lengths[30..]), (&[60; 30][..], &[590; 470][..]));
}
