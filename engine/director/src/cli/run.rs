//! `pointsman run`.

use std::path::Path;

/// Serves until told to stop.
///
/// # Errors
/// In words: why it does not.
#[cfg(not(feature = "dpdk"))]
pub(super) fn run(_config: &Path, log: Option<&str>) -> Result<(), String> {
    super::logging::start(log)?;
    Err("this pointsman was built without DPDK and has no ports to run on: \
         build it with the feature \"dpdk\" (on by default; needs libdpdk-dev)"
        .into())
}

#[cfg(feature = "dpdk")]
pub(super) use with_dpdk::run;

#[cfg(feature = "dpdk")]
mod with_dpdk {
    use super::Path;
    use crate::cli::logging;
    use crate::cli::machine;
    use crate::control::Signals;
    use crate::control::socket::Socket;
    use crate::io::dpdk;
    use crate::io::dpdk::Dpdk;
    use crate::serve::Director;
    use crate::serve::serve;
    use signal_hook::consts::SIGHUP;
    use signal_hook::consts::SIGINT;
    use signal_hook::consts::SIGTERM;
    use std::sync::Arc;
    use tracing::debug;
    use tracing::info;
    use tracing::warn;

    /// Serves until told to stop.
    ///
    /// # Errors
    /// In words: why it does not.
    pub(in crate::cli) fn run(file: &Path, log: Option<&str>) -> Result<(), String> {
        logging::start(log)?;
        let (config, warnings) = pointsman_config::load(file).map_err(|e| e.to_string())?;
        for warning in &warnings {
            warn!("{warning}");
        }
        if let Some(missing) = machine::missing_cores(&config).first() {
            return Err(format!("{}: error: {missing}", file.display()));
        }
        // Before anything that takes time: a signal during start-up is not lost.
        let signals = signals().map_err(|e| format!("cannot handle signals: {e}"))?;
        let mut socket = Socket::bind(&config.director.socket)?;
        let cores = machine::worker_cores(&config);
        info!("pointsman {} with {}", env!("CARGO_PKG_VERSION"), dpdk_sys::Eal::version());
        let hugepages = machine::hugepages(&config)?;
        if !hugepages {
            info!(
                "DPDK's memory is in small pages (hugepages = \"{}\")",
                config.director.hugepages
            );
        }
        let opened = dpdk::open(&config, cores.len(), hugepages)?;
        // What DPDK warns of while it starts well is about what we do not use.
        for line in dpdk_sys::log::take() {
            debug!(target: "dpdk", "{line}");
        }
        let requests = socket.serve().map_err(|e| format!("control socket: {e}"))?;
        let dpdk::Opened { driver, pool, nics, queues } = opened;
        serve::<Dpdk>(Director {
            driver,
            config,
            file: file.to_owned(),
            nics,
            queues,
            pool,
            cores,
            requests: Some(requests),
            signals,
            driver_log: dpdk_sys::log::take,
        })
    }

    fn signals() -> std::io::Result<Signals> {
        let signals = Signals::default();
        // A flag each: a second SIGTERM while stopping sets it again, and that is all.
        signal_hook::flag::register(SIGTERM, Arc::clone(&signals.stop))?;
        signal_hook::flag::register(SIGINT, Arc::clone(&signals.stop))?;
        signal_hook::flag::register(SIGHUP, Arc::clone(&signals.reload))?;
        Ok(signals)
    }
}
