//! DPDK's failures in words.

use std::ffi::c_int;
use std::fmt;

use crate::raw;

/// A call into DPDK that failed, or that was refused before it was made.
#[derive(Clone, Debug)]
pub struct Error {
    /// The function of DPDK (or of ours, where we refused).
    pub call: &'static str,
    /// Positive, as in errno.h.
    pub errno: i32,
    /// Where, what and what to do about it, where we can tell.
    pub hint: Option<String>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let os = std::io::Error::from_raw_os_error(self.errno).to_string();
        let os = os.split(" (os error").next().unwrap_or_default();
        match &self.hint {
            Some(hint) => write!(f, "{hint} ({}: {os})", self.call),
            None => write!(f, "{}: {os}", self.call),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    pub(crate) fn new(call: &'static str, errno: i32, hint: impl Into<String>) -> Self {
        Self { call, errno, hint: Some(hint.into()) }
    }

    /// For functions that set `rte_errno` and give -1 or NULL.
    pub(crate) fn from_rte_errno(call: &'static str) -> Self {
        // SAFETY: reads a thread-local integer.
        Self { call, errno: unsafe { raw::shim_errno() }, hint: None }
    }

    /// For functions that give 0 or more for success, or `-errno`.
    pub(crate) fn check(call: &'static str, code: c_int) -> Result<(), Self> {
        if code >= 0 { Ok(()) } else { Err(Self { call, errno: -code, hint: None }) }
    }

    /// Names the place unless a better hint is there already.
    pub(crate) fn hint(mut self, hint: impl FnOnce(i32) -> String) -> Self {
        if self.hint.is_none() {
            self.hint = Some(hint(self.errno));
        }
        self
    }
}
