//! Conns that come and go, in a director under which others stand.
//!
//! A conn is SYN, SYN-ACK (where replies pass the director), ACK, RST and its expiry, with lease and numbers under
//! full-NAT. 1,024 of them go side by side, and each lasts a second after its RST. Frames are written outside the
//! clock.

use crate::frame::BenchFrame;
use crate::frame::Boxes;
use crate::workload::Method;
use crate::workload::Packet;
use crate::workload::Workload;
use pointsman_dataplane::conn::State;
use pointsman_dataplane::conn::Timeouts;
use pointsman_dataplane::frame::BURST;
use pointsman_dataplane::frame::Burst;
use pointsman_dataplane::frame::Frame as _;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::wire::tcp;
use std::io;
use std::time::Duration;

/// Conns side by side.
pub const BESIDE: usize = 1024;
/// Housekeeping turns while so many come: a busy worker has one each 256 of its own.
const TURNS: u32 = 4;
/// What a conn's time goes to: its packets, and housekeeping.
pub const STEPS: [&str; 5] = ["SYN", "SYN-ACK", "ACK", "RST", "turns"];
/// Seconds that the conns which stand live without a packet.
const STANDING: u64 = 900;

/// A director whose conns come and go.
pub struct Churn {
    workload: Workload,
    frames: Vec<BenchFrame>,
    now: Tick,
    next: u32,
    standing: usize,
    a_second: usize,
    /// Allocations of all that was counted.
    pub allocations: u64,
}

impl Churn {
    /// So many conns stand, and so many times 1,024 are to come a second.
    ///
    /// # Errors
    /// When the tables do not fit in the address space, or a conn is refused.
    pub fn new(method: Method, standing: usize, a_second: usize) -> io::Result<Self> {
        let mut timeouts = Timeouts::default();
        timeouts.set(State::Close, 1000);
        timeouts.set(State::Established, STANDING as u32 * 1000);
        // What a second brings, closed ones that the sweep has not met yet, and those under way.
        let room = standing + 3 * a_second * BESIDE;
        let workload = Workload::over(&mut Boxes, method, standing, room, timeouts)?;
        let frames = (0..BESIDE).map(|_| BenchFrame::empty()).collect();
        let (now, next) = (Tick::from_secs(2), standing as u32);
        Ok(Self { workload, frames, now, next, standing, a_second, allocations: 0 })
    }

    /// Conns come until as many run out as are opened: a second's worth, and the sweep's second.
    pub fn warm(&mut self) {
        for _ in 0..2 * self.a_second {
            self.batch();
        }
    }

    /// Conns that are open besides those that stand.
    pub fn open(&self) -> usize {
        self.workload.pipeline.conns().len() - self.standing
    }

    /// Cycles of 1,024 conns from SYN to RST, and of the housekeeping meanwhile, by `STEPS`.
    pub fn batch(&mut self) -> [u64; STEPS.len()] {
        let clients: Vec<_> =
            (0..BESIDE as u32).map(|n| Packet::of_client(self.next + n)).collect();
        self.next += BESIDE as u32;
        let syn = self.pass(&clients, tcp::SYN);
        let dests: Vec<_> =
            self.frames.iter().filter_map(|f| Packet::answering(f.data())).collect();
        let syn_ack = if dests.is_empty() { 0 } else { self.pass(&dests, tcp::SYN | tcp::ACK_BIT) };
        let [ack, rst] = [tcp::ACK_BIT, tcp::RST].map(|flags| self.pass(&clients, flags));
        let mut turns = 0;
        for _ in 0..TURNS {
            self.now = self.now + Duration::from_secs(1) / self.a_second as u32 / TURNS;
            turns += self.turn();
        }
        [syn, syn_ack, ack, rst, turns]
    }

    /// Cycles of a packet of each of 1,024 conns; they lie in `frames` afterwards as they left, in this order.
    fn pass(&mut self, packets: &[Packet], flags: u8) -> u64 {
        let mut port = PortId(0);
        for (frame, packet) in self.frames.iter_mut().zip(packets) {
            port = self.workload.write(frame, packet, flags);
        }
        let (mut burst, mut done) = (Burst::new(), Vec::with_capacity(BESIDE));
        let before = hw::alloc::count();
        let start = hw::tsc();
        let mut frames = self.frames.drain(..);
        while frames.len() > 0 {
            burst.extend(frames.by_ref().take(BURST));
            self.workload.one_burst(port, &mut burst, self.now);
            for tx in self.workload.out.tx() {
                done.extend(tx.drain(..));
            }
        }
        drop(frames);
        let cycles = hw::tsc() - start;
        self.allocations += hw::alloc::count() - before;
        assert_eq!(done.len(), BESIDE, "every frame leaves; dropped: {}", self.workload.dropped());
        self.frames = done;
        cycles
    }

    /// Cycles of one turn of housekeeping.
    fn turn(&mut self) -> u64 {
        let before = hw::alloc::count();
        let start = hw::tsc();
        self.workload.one_turn(self.now);
        let cycles = hw::tsc() - start;
        self.allocations += hw::alloc::count() - before;
        cycles
    }

    /// Each so-manieth of the conns that stand is reset, a multiple of 1,024, and their time is up.
    pub fn reset_each(&mut self, nth: usize) {
        let clients: Vec<_> =
            (0..self.standing as u32).step_by(nth).map(Packet::of_client).collect();
        clients.chunks_exact(BESIDE).for_each(|some| _ = self.pass(some, tcp::RST));
        self.now = self.now + Duration::from_secs(2);
    }

    /// So many turns of housekeeping; conns that are left.
    pub fn turns(&mut self, turns: usize) -> usize {
        (0..turns).for_each(|_| _ = self.turn());
        self.workload.pipeline.conns().len()
    }

    /// All conns run out at one moment: cycles of each turn of housekeeping until none is left.
    pub fn storm(&mut self) -> Vec<u64> {
        self.now = self.now + Duration::from_secs(STANDING);
        let mut turns = Vec::new();
        while !self.workload.pipeline.conns().is_empty() {
            self.now = self.now + Duration::from_millis(1);
            turns.push(self.turn());
        }
        turns
    }
}
