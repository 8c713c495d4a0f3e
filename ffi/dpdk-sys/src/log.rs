//! What DPDK and its drivers have to say: the last lines of their log, instead of stderr.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// Lines kept; a driver that complains at every burst must not fill the memory.
const LINES: usize = 256;
/// Bytes of a line kept.
const LINE: usize = 512;

static LOG: Mutex<Log> = Mutex::new(Log::new());

struct Log {
    lines: VecDeque<String>,
    /// Lines that have ever been pushed.
    total: u64,
    /// A line without its end yet: drivers write some in pieces.
    open: String,
}

/// Takes the lines logged since the last call, oldest first, at most 256.
pub fn take() -> Vec<String> {
    lock().lines.drain(..).collect()
}

/// Now, as a place in the log.
pub(crate) fn mark() -> u64 {
    lock().total
}

/// A copy of the lines logged since `mark` that have not been taken.
pub(crate) fn since(mark: u64) -> Vec<String> {
    let log = lock();
    let first = log.total - log.lines.len() as u64;
    let skip = usize::try_from(mark.saturating_sub(first)).unwrap_or(usize::MAX);
    log.lines.iter().skip(skip).cloned().collect()
}

fn lock() -> MutexGuard<'static, Log> {
    // Whole lines only are pushed, so the log is usable after a panic elsewhere.
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    const fn new() -> Self {
        Self { lines: VecDeque::new(), total: 0, open: String::new() }
    }

    fn write(&mut self, text: &str) {
        for piece in text.split_inclusive('\n') {
            let room = LINE.saturating_sub(self.open.len());
            self.open.extend(piece.trim_end_matches('\n').chars().take(room));
            if piece.ends_with('\n') {
                let line = std::mem::take(&mut self.open);
                if line.trim().is_empty() {
                    continue;
                }
                if self.lines.len() == LINES {
                    self.lines.pop_front();
                }
                self.lines.push_back(line.trim_end().to_owned());
                self.total += 1;
            }
        }
    }
}

/// Called by the shim for every piece of log text, from any thread.
#[unsafe(no_mangle)]
extern "C" fn pointsman_dpdk_log(text: *const u8, bytes: usize) {
    if text.is_null() {
        return;
    }
    // SAFETY: the shim passes a buffer of `bytes` bytes that lives until we return.
    let text = unsafe { std::slice::from_raw_parts(text, bytes) };
    lock().write(&String::from_utf8_lossy(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_lines_and_the_oldest_go_first() {
        let mut log = Log::new();
        log.write("EAL: no ");
        log.write("hugepages\n\nEAL: bye\nrest");
        assert_eq!(log.lines, ["EAL: no hugepages", "EAL: bye"]);
        log.write("\n");
        assert_eq!(log.lines[2], "rest");
        for i in 0..LINES {
            log.write(&format!("{i}\n"));
        }
        assert_eq!(log.lines.len(), LINES);
        assert_eq!(log.lines[0], "0");
        log.write(&"x".repeat(2000));
        log.write("\n");
        assert_eq!(log.lines.back().unwrap().len(), LINE);
    }
}
