//! Ctrl-C while work of many seconds goes on: the first one ends it in good order, a second one at once.

use signal_hook::consts::SIGINT;
use signal_hook::consts::SIGTERM;
use signal_hook::flag;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::time::Instant;

/// Exit code of what was stopped: that of shells for SIGINT.
pub(crate) const STOPPED: u8 = 130;
/// How long it takes at most to see a signal while asleep.
const NAP: Duration = Duration::from_millis(50);

/// Whether this process was asked to stop, by SIGINT or SIGTERM.
#[derive(Clone)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on signals are heard instead of ending the process.
    pub(crate) fn on_signals() -> Self {
        static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
        let asked = ASKED.get_or_init(|| {
            let asked = Arc::default();
            for signal in [SIGINT, SIGTERM] {
                // In this order: what the first one sets makes the second one end the process.
                let second =
                    flag::register_conditional_shutdown(signal, STOPPED.into(), Arc::clone(&asked));
                // Where a signal cannot be caught, it ends the process, as it would without this.
                let _ = second.and_then(|_| flag::register(signal, Arc::clone(&asked)));
            }
            asked
        });
        Self(Arc::clone(asked))
    }

    /// Whether one came.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Sleeps so long, or until one comes.
    pub(crate) fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.is_asked() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(NAP));
        }
    }
}
