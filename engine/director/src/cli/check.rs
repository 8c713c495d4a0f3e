//! `pointsman check`: says what is wrong with a configuration before any port opens.

use super::machine;
use pointsman_config::Config;
use std::path::Path;

/// Prints warnings and a summary.
///
/// # Errors
/// All errors found, rendered.
pub(super) fn check(file: &Path) -> Result<(), String> {
    let (config, warnings) = pointsman_config::load(file).map_err(|e| e.to_string())?;
    for warning in &warnings {
        eprintln!("{warning}");
    }
    // The file may be meant for another machine, so these are no errors here.
    for missing in machine::missing_cores(&config) {
        eprintln!("{}: warning: {missing}", file.display());
    }
    super::say(&format!("{}: ok: {}", file.display(), summary(&config)));
    Ok(())
}

fn summary(config: &Config) -> String {
    let dests = config.services.iter().map(|s| s.dests.len()).sum();
    [
        count(config.ports.len(), "port"),
        count(config.vips.len(), "VIP"),
        count(config.services.len(), "service"),
        count(dests, "dest"),
        count(config.pools.iter().map(|p| p.addresses().count()).sum(), "pool address"),
    ]
    .join(", ")
}

fn count(n: usize, what: &str) -> String {
    match (n, what.ends_with('s')) {
        (1, _) => format!("1 {what}"),
        (_, false) => format!("{n} {what}s"),
        (_, true) => format!("{n} {what}es"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_count() {
        let text = "
            [[port]]
            name = 'p'
            device = 'net_null0'
            addresses = ['10.0.0.1/24']
            [[pool]]
            name = 'l'
            addresses = ['10.0.0.10-10.0.0.12']
            [[service]]
            address = '10.0.0.100:80'
            forward = 'fullnat'
            pool = 'l'
            [[service.dest]]
            address = '10.0.0.2:80'
            [[service.dest]]
            address = '10.0.0.3:80'";
        let (config, _) = pointsman_config::parse("t", text).unwrap();
        assert_eq!(summary(&config), "1 port, 1 VIP, 1 service, 2 dests, 3 pool addresses");
    }
}
