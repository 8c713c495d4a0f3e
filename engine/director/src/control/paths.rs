//! Path MTUs toward tunnels' ends, as routers on the way have told (RFC 1191, RFC 8201). All workers get them with
//! a snapshot, and the director tells clients by itself then.

use hashbrown::HashMap;
use pointsman_dataplane::service::Dest;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::xmit::tunnel;
use std::time::Duration;

/// How long it holds (the kernel's `mtu_expires`; RFC 1191 section 6.3).
const HOLDS: Duration = Duration::from_secs(600);

/// What is known of tunnels' ways, by the addresses where they end.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    known: HashMap<Addr, Path>,
    /// Not in the snapshot yet.
    news: bool,
}

#[derive(Clone, Copy, Debug)]
struct Path {
    /// The largest outer packet.
    mtu: u16,
    until: Tick,
}

impl Paths {
    /// A router has said that no larger packets get to a tunnel's end.
    pub fn learn(&mut self, end: Addr, mtu: u16, current: &Snapshot, now: Tick) {
        let Some(mtu) = tunnel::believed(end.family(), mtu) else { return };
        if self.known.get(&end).is_some_and(|path| path.mtu <= mtu && path.until > now) {
            return;
        }
        let lowers =
            |d: &Dest| leads_to(d, end) && usize::from(mtu) < usize::from(d.mtu) + header(d);
        if current.dests.iter().any(lowers) {
            self.known.insert(end, Path { mtu, until: now + HOLDS });
            self.news = true;
        }
    }

    /// Whether the snapshot is to be another one.
    pub fn are_due(&self, now: Tick) -> bool {
        self.news || self.known.values().any(|path| path.until <= now)
    }

    /// Lowers the MTUs of a new snapshot's dests; forgets what has held long enough, and ends that are no
    /// more.
    pub fn apply(&mut self, next: &mut Snapshot, now: Tick) {
        self.news = false;
        self.known.retain(|end, path| {
            let mut used = false;
            for dest in next.dests.iter_mut().filter(|d| path.until > now && leads_to(d, *end)) {
                dest.mtu = dest.mtu.min((usize::from(path.mtu) - header(dest)) as u16);
                used = true;
            }
            used
        });
    }
}

fn leads_to(dest: &Dest, end: Addr) -> bool {
    dest.forward == Forward::Tunnel && dest.addr == end
}

fn header(dest: &Dest) -> usize {
    tunnel::overhead(dest.addr.family(), dest.traits.encap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::snapshot::nobody;
    use pointsman_dataplane::service::Encap;
    use pointsman_dataplane::service::Traits;

    const V4: Addr = Addr::v4(7);
    const V6: Addr = Addr::v6(7 << 64);
    const OTHER: Addr = Addr::v4(8);

    fn dest(addr: Addr, forward: Forward, encap: Encap) -> Dest {
        let traits = Traits { encap, ..Traits::default() };
        let dest = Dest { addr, forward, traits, ..nobody() };
        let less = if forward == Forward::Tunnel { header(&dest) } else { 0 };
        Dest { mtu: 1500 - less as u16, ..dest }
    }

    /// As if there were nothing to know.
    fn snapshot() -> Snapshot {
        let gue = Encap::Gue { port: 6080, checksum: true };
        let dests = vec![
            dest(V4, Forward::Tunnel, Encap::Ip),
            dest(V4, Forward::Tunnel, gue),
            dest(V4, Forward::Nat, Encap::Ip),
            dest(OTHER, Forward::Tunnel, Encap::Ip),
            dest(V6, Forward::Tunnel, Encap::Gre { checksum: true }),
        ];
        Snapshot { dests, ..Default::default() }
    }

    fn seconds(n: u64) -> Tick {
        Tick::from_secs(n)
    }

    fn mtus(paths: &mut Paths, now: u64) -> Vec<u16> {
        let mut next = snapshot();
        paths.apply(&mut next, seconds(now));
        next.dests.iter().map(|d| d.mtu).collect()
    }

    const BEFORE: [u16; 5] = [1480, 1468, 1500, 1480, 1452];

    #[test]
    fn what_a_router_said_holds_for_ten_minutes_for_all_tunnels_that_end_there() {
        let mut paths = Paths::default();
        assert_eq!(mtus(&mut paths, 0), BEFORE);
        for (end, said) in [(V4, 1500), (V4, 1600), (Addr::v4(9), 600), (V6, 1279)] {
            paths.learn(end, said, &snapshot(), seconds(1));
            assert!(!paths.are_due(seconds(1)), "{said} to {end:?} is no news");
        }
        paths.learn(V4, 1400, &snapshot(), seconds(2));
        assert!(paths.are_due(seconds(2)));
        assert_eq!(mtus(&mut paths, 3), [1380, 1368, 1500, 1480, 1452]);
        paths.learn(V6, 1280, &snapshot(), seconds(100));
        assert!(paths.are_due(seconds(100)));
        assert_eq!(mtus(&mut paths, 601), [1380, 1368, 1500, 1480, 1232], "another reload");
        assert!(!paths.are_due(seconds(601)) && paths.are_due(seconds(602)));
        assert_eq!(mtus(&mut paths, 602), [1480, 1468, 1500, 1480, 1232]);
        assert_eq!(mtus(&mut paths, 700), BEFORE);
        assert!(!paths.are_due(seconds(900)));
    }

    #[test]
    fn a_router_that_says_less_than_the_kernel_believes_is_believed_that_much() {
        let mut paths = Paths::default();
        paths.learn(V4, 68, &snapshot(), seconds(0));
        assert_eq!(mtus(&mut paths, 1), [532, 520, 1500, 1480, 1452]);
    }

    #[test]
    fn what_was_said_of_an_end_that_is_gone_is_forgotten() {
        let mut paths = Paths::default();
        paths.learn(OTHER, 1400, &snapshot(), seconds(0));
        let mut next = snapshot();
        next.dests[3].forward = Forward::Dr;
        paths.apply(&mut next, seconds(1));
        assert_eq!(mtus(&mut paths, 2), BEFORE);
    }
}
