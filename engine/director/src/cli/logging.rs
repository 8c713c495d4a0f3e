//! Log lines to standard error, with colours on a terminal only.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging at `level`, or what RUST_LOG says, or info.
///
/// # Errors
/// A level that cannot be understood.
pub(super) fn start(level: Option<&str>) -> Result<(), String> {
    let from_environment = std::env::var("RUST_LOG").ok().filter(|l| !l.is_empty());
    let level = level.map(str::to_owned).or(from_environment).unwrap_or_else(|| "info".into());
    let filter = EnvFilter::try_new(&level).map_err(|e| {
        format!("log level \"{level}\": {e}: try error, warn, info, debug or trace")
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init()
        .map_err(|e| format!("logging: {e}"))
}
