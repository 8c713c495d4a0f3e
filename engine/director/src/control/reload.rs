//! Reload: validate first, then swap; what fails changes nothing.

use super::Control;
use super::LastReload;
use super::snapshot;
use super::snapshot::BuildError;
use super::snapshot::Inputs;
use crate::io::Driver;
use pointsman_config::Config;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tick::Tick;
use std::sync::Arc;
use std::time::Duration;
use tracing::error;
use tracing::info;
use tracing::warn;

/// How long a reload waits for the workers to take the snapshot. They look every millisecond.
const TAKEN: Duration = Duration::from_secs(1);

impl<D: Driver> Control<D> {
    /// Reads the file again and serves it. Says what came of it, as the log does.
    ///
    /// # Errors
    /// Why the file was refused; everything is as it was then.
    pub(super) fn reload(&mut self, now: Tick) -> Result<String, String> {
        let result = self.try_reload(now);
        match &result {
            Ok(said) => info!("reload: {said}"),
            Err(why) => error!("reload refused, the old configuration goes on: {why}"),
        }
        let (ok, said) = match &result {
            Ok(said) => (true, said.clone()),
            Err(why) => (false, why.clone()),
        };
        let asked = self.last_reload.asked + 1;
        self.last_reload = LastReload { asked, ok, said, at: Some(now) };
        result
    }

    fn try_reload(&mut self, now: Tick) -> Result<String, String> {
        let (config, warnings) =
            pointsman_config::load(&self.parts.file).map_err(|e| e.to_string())?;
        for warning in &warnings {
            warn!("{warning}");
        }
        if config == self.parts.config {
            return Ok("nothing changed".into());
        }
        let fixed = takes_a_restart(&self.parts.config, &config);
        if !fixed.is_empty() {
            return Err(format!("these take a restart: {}", fixed.join(", ")));
        }
        let spare = self.builder.clone();
        let (next, fresh) = match self.build(&config, now) {
            Ok(built) => built,
            Err(e) => {
                self.builder = spare;
                // Next hops asked for on the way are not wanted after all.
                self.configure_neighbours(now);
                return Err(e.to_string());
            }
        };
        let said = summary(&self.current, &next);
        self.parts.config = config;
        if next == *self.current {
            return Ok("nothing changed for the workers".into());
        }
        for id in fresh {
            self.bases[id.0 as usize] = super::report::DestTotals::of(&self.parts.shared, id);
        }
        self.swap(next, now);
        self.wait_until_taken();
        Ok(said)
    }

    /// A snapshot of a configuration that follows the current one, with the numbers that serve
    /// another dest now.
    pub(super) fn build(
        &mut self,
        config: &Config,
        now: Tick,
    ) -> Result<(Snapshot, Vec<DestId>), BuildError> {
        let settled = self.settle();
        let (resolver, ended, unleased) = (&mut self.resolver, &self.ended, &self.unleased);
        let mut inputs = Inputs {
            ports: &self.facts,
            hop: &mut |port, addr| resolver.hop(port, addr, now),
            has_conns: &|id| !ended.surely(id, now),
            has_leases: &|addr| !unleased.surely(addr, now),
            settled,
        };
        let (mut next, fresh) = self.builder.build(config, &self.current, &mut inputs)?;
        self.paths.apply(&mut next, now);
        Ok((next, fresh))
    }

    /// Gives up what removed dests no longer need, their numbers and lingering addresses, and follows
    /// what routers have told.
    pub(super) fn collect(&mut self, now: Tick) {
        let dests = self.current.dests.iter().enumerate();
        let removed = dests.filter(|(_, d)| d.removed && !d.is_nobody());
        let blocks = &self.parts.shared.dests;
        let conns = |id: DestId| {
            let active = blocks.sum(id.0 as usize, |s| &s.active);
            let conns = active.wrapping_add(blocks.sum(id.0 as usize, |s| &s.inactive));
            // A template whose dest comes back is of use again.
            conns.wrapping_add(blocks.sum(id.0 as usize, |s| &s.persistent))
        };
        let ended = self.ended.look(removed.map(|(id, _)| DestId(id as u32)), conns, now);
        // A snapshot is not built in vain: with a large pool that takes its time. Before all workers
        // have the current one, some may lease a port of an address that is no longer in it.
        let unleased = self.settle() && self.look_at_lingering(now);
        if !(unleased || ended || self.paths.are_due(now)) || !self.settle() {
            return;
        }
        let config = self.parts.config.clone();
        let spare = self.builder.clone();
        match self.build(&config, now) {
            Ok((next, _)) if next != *self.current => self.swap(next, now),
            Ok(_) => {}
            Err(e) => {
                // Nothing is lost but room; the next second tries again.
                warn!("removed dests stay for now: {e}");
                self.builder = spare;
                self.configure_neighbours(now);
            }
        }
    }

    /// Drops the old snapshots no worker has any more; true when all workers have the current.
    pub(super) fn settle(&mut self) -> bool {
        self.retired.retain(|old| Arc::strong_count(old) > 1);
        let settled = self.retired.is_empty();
        if settled && self.bump_epoch {
            // Not before: a worker would look its hops up in the old snapshot.
            self.bump_epoch = false;
            self.parts.shared.neighbours.bump_epoch();
        }
        settled
    }

    fn swap(&mut self, next: Snapshot, now: Tick) {
        self.bump_epoch |= snapshot::hops_changed(&self.current, &next);
        self.ended.retain(|id| next.dests.get(id.0 as usize).is_some_and(|d| d.removed));
        self.unleased.retain(|_| false);
        self.note_services(&next);
        let next = Arc::new(next);
        self.retired.push(std::mem::replace(&mut self.current, Arc::clone(&next)));
        self.counts.snapshots += 1;
        for mailbox in &self.parts.links.mailboxes {
            mailbox.offer(Arc::clone(&next));
        }
        self.configure_neighbours(now);
    }

    /// So that who asked for the reload finds it done.
    fn wait_until_taken(&mut self) {
        let began = std::time::Instant::now();
        while !self.settle() {
            if began.elapsed() > TAKEN {
                warn!("a worker has not taken the new configuration within {TAKEN:?}");
                return;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// What differs between two configurations and cannot change while serving.
fn takes_a_restart(old: &Config, new: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    let (a, b) = (&old.director, &new.director);
    let director = [
        ("cores", a.cores != b.cores),
        ("control_core", a.control_core != b.control_core),
        ("idle", a.idle != b.idle),
        ("conns", a.conns != b.conns),
        ("templates", a.templates != b.templates),
        ("neighbours", a.neighbours != b.neighbours),
        ("socket", a.socket != b.socket),
        ("secret", a.secret != b.secret),
        ("hugepages", a.hugepages != b.hugepages),
        ("memory", a.memory != b.memory),
        ("mbufs", a.mbufs != b.mbufs),
    ];
    let changed = director.iter().filter(|(_, changed)| *changed);
    keys.extend(changed.map(|(key, _)| format!("director.{key}")));
    if old.ports.len() != new.ports.len() {
        keys.push("the number of ports".into());
    }
    for (a, b) in old.ports.iter().zip(&new.ports) {
        let port = [
            ("device", a.device != b.device),
            ("mtu", a.mtu != b.mtu),
            ("rx_ring", a.rx_ring != b.rx_ring),
            ("tx_ring", a.tx_ring != b.tx_ring),
        ];
        let changed = port.iter().filter(|(_, changed)| *changed);
        keys.extend(changed.map(|(key, _)| format!("{key} of port \"{}\"", a.name)));
    }
    keys
}

fn summary(old: &Snapshot, new: &Snapshot) -> String {
    let live = |s: &Snapshot| s.services.iter().map(|s| s.dests.len()).sum::<usize>();
    let count = |old: usize, new: usize, what: &str| {
        if old == new { format!("{new} {what}") } else { format!("{new} {what} (was {old})") }
    };
    format!(
        "serving {}, {}",
        count(old.services.len(), new.services.len(), "services"),
        count(live(old), live(new), "dests")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_a_restart_is_named() {
        let (old, _) = pointsman_config::parse("t", pointsman_config::example()).unwrap();
        let mut new = old.clone();
        assert!(takes_a_restart(&old, &new).is_empty());
        new.director.conns += 1;
        new.ports[0].mtu = 1400;
        new.ports[0].vlan = Some(7);
        let name = &old.ports[0].name;
        let expected = ["director.conns".to_owned(), format!("mtu of port \"{name}\"")];
        assert_eq!(takes_a_restart(&old, &new), expected);
    }

    #[test]
    fn each_key_that_takes_a_restart_is_named_and_the_readme_lists_it() {
        let of = |director: &str, device: &str, port: &str| {
            let text = format!(
                "[director]\n{director}\n[[port]]\nname = 'wan'\ndevice = '{device}'\n\
                 addresses = ['10.1.0.254/24']\n{port}\n"
            );
            pointsman_config::parse("t", &text).unwrap_or_else(|e| panic!("{e}")).0
        };
        let readme = include_str!("../../../../README.md");
        let listed = readme.split("`reload` (or SIGHUP) takes all of the file but").nth(1);
        let listed = listed.and_then(|rest| rest.split("They take a restart.").next()).unwrap();
        let named = |key: &str, new: &Config, expected: &str| {
            let old = of("", "net_null0", "");
            assert_eq!(takes_a_restart(&old, new), [expected], "{key}");
            assert!(listed.contains(&format!("`{key}`")), "README does not list {key}: {listed}");
        };
        for line in [
            "cores = [0, 1]",
            "control_core = 5",
            "idle = 'adaptive'",
            "conns = 4096",
            "neighbours = 2048",
            "socket = '/run/other'",
            "secret = '/run/other'",
            "hugepages = 'never'",
            "memory = 128",
            "mbufs = 16384",
        ] {
            let key = line.split(' ').next().unwrap();
            named(key, &of(line, "net_null0", ""), &format!("director.{key}"));
        }
        for line in ["mtu = 1400", "rx_ring = 256", "tx_ring = 256"] {
            let key = line.split(' ').next().unwrap();
            named(key, &of("", "net_null0", line), &format!("{key} of port \"wan\""));
        }
        named("device", &of("", "net_null7", ""), "device of port \"wan\"");
        let second = "[[port]]\nname = 'lan'\ndevice = 'net_null1'\naddresses = ['10.2.0.254/24']";
        let (one, two) = (of("", "net_null0", ""), of("", "net_null0", second));
        assert_eq!(takes_a_restart(&one, &two), ["the number of ports"]);
    }
}
