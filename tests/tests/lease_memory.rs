//! What leases cost, as the kernel counts it: resident memory of this process, in which nothing else
//! runs.

use pointsman_dataplane::laddr::Book;
use pointsman_dataplane::laddr::Last;
use pointsman_dataplane::laddr::Lease;
use pointsman_dataplane::laddr::Leases;
use pointsman_dataplane::laddr::PORTS;
use pointsman_dataplane::tick::Stamp;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Proto;
use std::sync::Arc;

const NOW: Stamp = Stamp(0);
/// Pool addresses.
const LADDRS: usize = 16;

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("a kernel with /proc");
    let pages: usize = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
    pages * 4096
}

fn room_for(pairs: usize) -> Leases {
    let book = Book::new(pairs).expect("there is address space");
    Leases::new(0, 1, Arc::new(book), Some(1)).expect("there is address space")
}

fn take(leases: &mut Leases, laddrs: &[Addr], turn: usize, dest: u32) -> Lease {
    leases
        .lease(Proto::Tcp, laddrs, turn, Addr::v4(0x0a00_0000 + dest), 80)
        .expect("there are ports enough")
}

/// Bytes per pair after `step`, which makes `pairs` of them.
fn grown(what: &str, pairs: usize, step: impl FnOnce()) -> usize {
    let before = resident();
    step();
    let grown = resident().saturating_sub(before);
    println!("{what}: {} KiB, {} bytes a pair", grown >> 10, grown / pairs);
    grown
}

/// README.md says the figures. Memory comes in pages of up to 2 MiB, so a few of those are forgiven.
#[test]
fn a_thousand_dests_by_16_laddrs_with_60_conns_each_fit_in_256_mb() {
    const DESTS: u32 = 1000;
    const CONNS: usize = 60;
    const ROUNDING: usize = 12 << 20;
    let laddrs: Vec<_> = (0..LADDRS as u32).map(Addr::v4).collect();
    let pairs = DESTS as usize * LADDRS;
    let mut held: Vec<Lease> = Vec::with_capacity(pairs * CONNS);
    // Touched here, so that it does not count below.
    held.resize(pairs * CONNS, take(&mut room_for(1), &laddrs[..1], 0, 0));
    held.clear();
    let begin = resident();
    let mut leases = room_for(16_384);
    let empty = grown("empty: leases held, none has come back", pairs, || {
        for dest in 0..DESTS {
            for turn in 0..LADDRS * CONNS {
                held.push(take(&mut leases, &laddrs, turn, dest));
            }
        }
    });
    assert_eq!((leases.pairs(), leases.held()), (pairs, pairs * CONNS));
    assert!(empty < pairs * 512 + ROUNDING, "{empty}");
    let light = grown("light: 60 ports have come back", pairs, || {
        for lease in held.drain(..) {
            leases.give_back(lease.pair, lease.lport, Last::new(1, Some(1)), NOW);
        }
    });
    assert!(light < pairs * 1024 + ROUNDING, "{light}");
    let all = resident() - begin;
    println!("1,000 dests x 16 laddrs with 60 conns each: {} MiB", all >> 20);
    assert!(all < 256_000_000, "{all}");
    drop(leases);

    let mut leases = room_for(16_384);
    let every = LADDRS * PORTS as usize;
    let mut held = vec![take(&mut leases, &laddrs, 0, 0); every];
    leases.give_back(held[0].pair, held[0].lport, Last::NOTHING, NOW);
    held.clear();
    let full = grown("full: all 64,511 ports have come back", LADDRS, || {
        held.extend((0..every).map(|turn| take(&mut leases, &laddrs, turn, 0)));
        for lease in &held {
            leases.give_back(lease.pair, lease.lport, Last::new(1, Some(1)), NOW);
        }
    });
    assert!(full < LADDRS * 850_000 + ROUNDING, "{full}");
}
