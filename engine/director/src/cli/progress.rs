//! A bar on a terminal while captures are read or written.

use std::io::IsTerminal;
use std::io::Write;
use std::time::Duration;
use std::time::Instant;

const WIDTH: usize = 40;
const INTERVAL: Duration = Duration::from_millis(100);

/// The bar; nothing where standard error is no terminal.
pub(crate) struct Progress {
    shown: Option<Instant>,
}

impl Progress {
    /// Of work that there is any of.
    pub(crate) fn new(is_work: bool) -> Self {
        let is_wanted = std::io::stderr().is_terminal() && is_work;
        Self { shown: is_wanted.then(Instant::now) }
    }

    /// This share of it is done, from 0 to 1, and so many frames.
    pub(crate) fn show(&mut self, share: f64, frames: u64) {
        let Some(last) = self.shown else { return };
        if last.elapsed() < INTERVAL {
            return;
        }
        self.shown = Some(Instant::now());
        // A terminal that is gone is no reason to stop.
        let _ = write!(std::io::stderr(), "\r{}", bar(share, frames));
    }
}

impl Drop for Progress {
    /// The report, or an error, takes its line.
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn bar(share: f64, frames: u64) -> String {
    let share = share.clamp(0.0, 1.0);
    let full = (share * WIDTH as f64) as usize;
    format!("[{:<WIDTH$}] {:>3.0}%  {frames} frames", "#".repeat(full), share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_one_width() {
        assert_eq!(bar(0.0, 0).len(), bar(2.0, 0).len());
        assert!(bar(0.5, 7).starts_with(&format!("[{}{}]", "#".repeat(20), " ".repeat(20))));
    }
}
