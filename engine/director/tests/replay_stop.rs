//! `pointsman replay` and `pointsman generate` stopped by signals. Needs no root and no libdpdk.
#![expect(clippy::unwrap_used, reason = "all of this file is a test")]

use pointsman::io::pcap::CaptureReader;
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(10);
/// So many times `SOON` is long enough for anything on the slowest machine.
const TRIES: usize = 12_000;

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("stop-{name}"))
}

fn pointsman(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Waits until the process hears SIGINT and SIGTERM itself.
fn hears(child: &mut Child) {
    for _ in 0..TRIES {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status.lines().find_map(|l| l.strip_prefix("SigCgt:")).unwrap();
        // Bit n - 1 for signal n: 2 and 15.
        let both = 1 << 1 | 1 << 14;
        if u64::from_str_radix(caught.trim(), 16).unwrap() & both == both {
            return;
        }
        assert!(child.try_wait().unwrap().is_none(), "it is over before it hears signals");
        sleep(SOON);
    }
    panic!("it never hears signals");
}

fn frames(path: &Path) -> u64 {
    let (mut reader, mut data) = (CaptureReader::open(path).unwrap(), Vec::new());
    let mut frames = 0;
    while reader.next(&mut data).unwrap().is_some() {
        frames += 1;
    }
    frames
}

fn generated(name: &str) -> PathBuf {
    let path = scratch(name);
    let small = ["--conns", "10", "--packets", "200"];
    let made = pointsman(&["generate", path.to_str().unwrap()]).args(small).output().unwrap();
    assert!(made.status.success());
    path
}

#[test]
fn a_signal_ends_the_feed_and_what_came_before_it_is_reported() {
    let input = generated("feed.pcap");
    for (name, rate) in [("-INT", "20"), ("-TERM", "0.01")] {
        let (out, page) = (scratch(&format!("out{name}.pcapng")), scratch("page.html"));
        // Hours at this rate.
        let args = ["replay", input.to_str().unwrap(), "--rate", rate, "--loop", "1000", "--json"];
        let mut command = pointsman(&args);
        let mut child = command.arg("--out").arg(&out).arg("--report").arg(&page).spawn().unwrap();
        hears(&mut child);
        signal(&child, name);
        let done = child.wait_with_output().unwrap();
        assert_eq!((done.status.code(), done.stderr.as_slice()), (Some(130), &b""[..]));
        let report: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(report["stopped"], true);
        let fed = report["law"]["received"].as_u64().unwrap();
        assert!((1..200_000).contains(&fed), "{fed}");
        assert!(report["checks"].as_array().unwrap().iter().all(|c| c["holds"] == true));
        assert_eq!(frames(&out), report["law"]["sent"].as_u64().unwrap());
        let page = std::fs::read_to_string(&page).unwrap();
        assert!(page.contains("Stopped by a signal") && page.ends_with("</html>\n"));
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let input = generated("second.pcap");
    let (reader, writer) = std::io::pipe().unwrap();
    // Nobody reads, so the report cannot be written, however long it waits.
    let mut stuffing = writer.try_clone().unwrap();
    let stuffed = std::thread::spawn(move || stuffing.write_all(&[0; 4 << 20]).is_err());
    let args = ["replay", input.to_str().unwrap(), "--rate", "1", "--loop", "1000"];
    let mut child = pointsman(&args).stdout(writer).spawn().unwrap();
    hears(&mut child);
    let mut ended = None;
    for _ in 0..TRIES {
        signal(&child, "-INT");
        sleep(SOON);
        ended = child.try_wait().unwrap();
        if ended.is_some() {
            break;
        }
    }
    if ended.is_none() {
        child.kill().unwrap();
    }
    assert_eq!(ended.and_then(|status| status.code()), Some(130));
    drop(reader);
    assert!(stuffed.join().unwrap());
}

#[test]
fn a_capture_that_a_signal_ends_is_whole() {
    let fifo = scratch("made.fifo");
    let _ = std::fs::remove_file(&fifo);
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let args = ["generate", fifo.to_str().unwrap(), "--packets", "1000000000000"];
    let mut child = pointsman(&args).spawn().unwrap();
    let mut reader = File::open(&fifo).unwrap();
    hears(&mut child);
    signal(&child, "-INT");
    let made = scratch("made.pcap");
    std::io::copy(&mut reader, &mut File::create(&made).unwrap()).unwrap();
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert_eq!((done.status.code(), done.stderr.as_slice()), (Some(130), &b""[..]));
    assert!(said.contains(&format!(": {} frames, ", frames(&made))), "{said}");
    assert!(said.contains("stopped by a signal: "), "{said}");
}
