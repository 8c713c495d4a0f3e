//! Where a worker is asked for conns: sheets come back filled.
//!
//! The asker waits, the worker never does: it goes on with a sheet at each housekeeping.

use crossbeam::queue::ArrayQueue;
use pointsman_dataplane::conn::list::Sheet;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::time::Instant;

/// How long the worker may take for a sheet: a multiple of its housekeepings.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks whether it is back.
const LOOK: Duration = Duration::from_micros(200);
/// Sheets on their way at most: one, and some whose askers gave up.
const SHEETS: usize = 4;

/// One worker's desk.
#[derive(Debug)]
pub struct Desk {
    asked: ArrayQueue<Box<Sheet>>,
    answered: ArrayQueue<Box<Sheet>>,
    /// Held by the asker whose sheet is on its way; never by the worker.
    asking: Mutex<()>,
    numbers: AtomicU64,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            asked: ArrayQueue::new(SHEETS),
            answered: ArrayQueue::new(SHEETS),
            asking: Mutex::new(()),
            numbers: AtomicU64::new(1),
        }
    }
}

impl Desk {
    /// Not the worker: has it go on with a sheet. None when it does not answer. Several askers
    /// take turns.
    pub fn ask(&self, mut sheet: Box<Sheet>) -> Option<Box<Sheet>> {
        let _turn = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.numbers.fetch_add(1, Relaxed);
        sheet.number = number;
        sheet.clear();
        self.asked.push(sheet).ok()?;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match self.answered.pop() {
                Some(sheet) if sheet.number == number => return Some(sheet),
                // Of an asker that gave up.
                Some(_) => {}
                None => std::thread::sleep(LOOK),
            }
        }
        None
    }

    /// The worker: a sheet to go on with.
    pub fn take(&self) -> Option<Box<Sheet>> {
        self.asked.pop()
    }

    /// The worker: a sheet goes back.
    pub fn give_back(&self, sheet: Box<Sheet>) {
        // There is room unless four askers gave up one after another.
        let _ = self.answered.push(sheet);
    }
}
