//! Log lines to standard error, with colours on a terminal only.

use std::io::IsTerminal;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging at `level`, or what RUST_LOG says, or info.
///
/// # Errors
/// A level that cannot be understood.
pub(super) fn start(level: Option<&str>) -> Result<(), String> {
    let from_environment = std::env::var("RUST_LOG").ok().filter(|l| !l.is_empty());
    let level = level.map(str::to_owned).or(from_environment).unwrap_or_else(|| "info".into());
    let filter = filter(&level).ok_or_else(|| {
        format!("log level \"{level}\": try error, warn, info, debug or trace, or pointsman=debug")
    })?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|e| format!("logging: {e}"))
}

/// A level, or levels by module: "info,pointsman::control=debug". A word that is no level would be a module that is to
/// log everything, so a mistyped level would silence the rest.
fn filter(level: &str) -> Option<Targets> {
    let is_level = |word: &str| {
        !word.is_empty() && (word.contains('=') || word.parse::<LevelFilter>().is_ok())
    };
    level.split(',').all(|word| is_level(word.trim())).then(|| level.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn a_mistyped_level_is_refused() {
        for good in
            ["error", "warn", "info", "debug", "trace", "off", "INFO", "info,pointsman=debug"]
        {
            assert!(filter(good).is_some(), "{good}");
        }
        for bad in ["loud", "infos", "", "info,", "pointsman=loud"] {
            assert!(filter(bad).is_none(), "{bad}");
        }
    }
}
