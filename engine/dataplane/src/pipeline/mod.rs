//! One burst through every step.
//!
//! 1. The frames' first lines are prefetched; the caller has read the time once for all of them.
//! 2. `parse` makes each a small `Parsed`; what it refuses has a `DropReason`.
//! 3. Every tuple is hashed and its index line prefetched; then every conn's line, and the second
//!    index line of the few that lie there.
//! 4. `Conns::find` gives the conn and the direction; a packet whose guess was right (`plain`) is not
//!    looked up again.
//! 5. On a miss (`open`, cold) `steer` may name another worker; else service, scheduler, lease and
//!    a new conn, or a `DropReason` and an answer (`refuse`); what is for somebody else may be
//!    routed (`route`).
//! 6. `Conn::step`: state and deadline.
//! 7. The packet is rewritten or put into a tunnel; what the conn knows was worked out when it
//!    opened.
//! 8. The Ethernet header is written from the next hop, and the frame goes to a port's array in
//!    the `Outbox` (`out`), or waits for the next hop (`held`).
//! 9. The caller sends the arrays and counts what the NIC refused.
//!
//! Everything here belongs to one worker: no lock, no shared write, no clock, no allocation.

mod cross;
mod data;
mod dead;
mod defence;
mod denied;
mod exhausted;
mod ftp;
mod held;
mod ids;
mod limit;
mod martian;
mod odd;
mod open;
mod out;
mod outbox;
mod persist;
mod pieces;
mod plain;
mod proxy;
mod refuse;
mod route;
mod sctp;
mod seek;
mod snat;
mod tunnels;
mod upkeep;
mod way;

pub use held::IN_ALL as HELD_IN_ALL;
pub use held::PER_NEIGHBOUR as HELD_PER_NEIGHBOUR;
pub use limit::DEPTH as ANSWERS_AT_ONCE;
pub use limit::RATE as ANSWERS_PER_SECOND;
pub use outbox::HANDED;
pub use outbox::Handed;
pub use outbox::Outbox;
pub use outbox::PORTS;
pub use outbox::Seek;
pub use outbox::TX_BURST;
pub use outbox::TxBurst;
pub use upkeep::MAX_CLOSED;
pub use upkeep::MAX_SWEPT;

use crate::conn::ConnId;
use crate::conn::Conns;
use crate::conn::Direction;
use crate::conn::Place;
use crate::conn::State;
use crate::conn::list::Sheet;
use crate::fragments::Fragments;
use crate::frame::Burst;
use crate::frame::Frame;
use crate::frame::Pool;
use crate::isn::Numbers;
use crate::laddr::Book;
use crate::laddr::Leases;
use crate::neigh::Links;
use crate::neigh::Neighbours;
use crate::neigh::PortId;
use crate::parse::Kind;
use crate::parse::Parsed;
use crate::parse::parse;
use crate::parse::plain::TAGGED;
use crate::parse::plain::UNTAGGED;
use crate::sched::Position;
use crate::service::Dest;
use crate::service::Forward;
use crate::snapshot::PortInfo;
use crate::snapshot::Snapshot;
use crate::stats::DestBlocks;
use crate::stats::DestStats;
use crate::stats::ServiceBlocks;
use crate::stats::ServiceStats;
use crate::stats::WorkerStats;
use crate::templates::Controls;
use crate::templates::Template;
use crate::templates::Templates;
use crate::tick::Stamp;
use crate::tick::Tick;
use crate::tuple::Addr;
use crate::tuple::Hasher;
use crate::tuple::Proto;
use crate::tuple::Tuple;
use crate::verdict::DropReason;
use crate::wire::checksum::Delta;
use crate::wire::ethernet;
use crate::wire::tcp;
use crate::xmit::rewrite;
use crate::xmit::segment;
use crate::xmit::syn;
use held::Held;
use ids::Ids;
use limit::Limit;
use std::io;
use std::sync::Arc;

/// (laddr, dest endpoint) pairs that a worker can lease ports of; memory is touched as they come.
const LEASE_PAIRS: usize = 131_072;

/// Templates a worker has room for unless said otherwise.
const TEMPLATES: usize = 1024;

/// What workers and the control thread share; made once at start.
#[derive(Debug)]
pub struct Shared {
    /// Each worker's counters.
    pub stats: Box<[WorkerStats]>,
    /// Each worker's counters by dest.
    pub dests: DestBlocks,
    /// Each worker's counters by service.
    pub services: ServiceBlocks,
    /// Each worker's leases.
    pub leases: Box<[Arc<Book>]>,
    /// Next hops; the control thread writes.
    pub neighbours: Arc<Neighbours>,
    /// Each worker's conns by the templates they go by.
    pub controls: Controls,
}

impl Shared {
    /// For so many workers and dests, and at most as many services.
    pub fn new(workers: usize, dests: usize, neighbours: Arc<Neighbours>) -> Self {
        let book = || Book::new(LEASE_PAIRS).expect("16 MiB of address space a worker, at start");
        Self {
            stats: (0..workers).map(|_| WorkerStats::default()).collect(),
            dests: DestBlocks::new(workers, dests),
            services: ServiceBlocks::new(workers, dests),
            leases: (0..workers).map(|_| Arc::new(book())).collect(),
            neighbours,
            controls: Controls::new(workers, TEMPLATES).expect("address space, at start"),
        }
    }

    /// With room for so many templates a worker instead of 1,024.
    ///
    /// # Errors
    /// The kernel's, when it gives no address space.
    pub fn with_templates(mut self, templates: usize) -> io::Result<Self> {
        self.controls = Controls::new(self.stats.len(), templates)?;
        Ok(self)
    }
}

/// What a worker's pipeline is made with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// This worker.
    pub worker: usize,
    /// All workers.
    pub workers: usize,
    /// Conns it can hold.
    pub conns: usize,
    /// Key of the hashes; the same for all workers.
    pub secret: [u64; 4],
    /// Secret that full-NAT's ports go out in an order of (RFC 6056); the same for all workers.
    /// None: from the lowest on, for those who must know what comes out.
    pub port_order: Option<u64>,
    /// What full-NAT conns' sequence numbers begin with; the same for all workers.
    pub numbers: Numbers,
}

/// A worker's pipeline.
pub struct Pipeline<F> {
    snapshot: Arc<Snapshot>,
    shared: Arc<Shared>,
    core: Core<F>,
    /// Kept from burst to burst, so that it is not made anew.
    looks: plain::Looks,
}

/// What a worker alone holds.
struct Core<F> {
    worker: usize,
    workers: usize,
    hasher: Hasher,
    conns: Conns,
    leases: Leases,
    templates: Templates,
    numbers: Numbers,
    /// By service number.
    positions: Vec<Position>,
    held: Held<F>,
    /// Held ones with the port they came in by.
    fragments: Fragments<(PortId, F)>,
    limit: Limit,
    introductions: proxy::Introductions,
    /// While a conn is exchanged for another one: the worker that sent it here.
    sender: Option<usize>,
    ids: Ids,
    upkeep: upkeep::Upkeep,
    watch: dead::Watch,
    defence: defence::Defence,
}

/// What one call works with besides `Core`.
struct Turn<'a, F, P> {
    snap: &'a Snapshot,
    neighbours: &'a Neighbours,
    loads: &'a DestBlocks,
    controls: &'a Controls,
    stats: &'a WorkerStats,
    dests: &'a [DestStats],
    services: &'a [ServiceStats],
    now: Tick,
    stamp: Stamp,
    /// Where the frames came in.
    port: PortId,
    pool: &'a mut P,
    out: &'a mut Outbox<F>,
}

/// What of it stays the same, read once for a burst.
#[derive(Clone, Copy)]
struct Base<'a> {
    snap: &'a Snapshot,
    dests: &'a [Dest],
    links: Links<'a>,
    /// Of the hops that conns keep.
    epoch: u32,
    counters: &'a [DestStats],
    stamp: Stamp,
    /// When a conn ends that is in ESTABLISHED, unless another packet comes.
    established: Stamp,
}

impl<'a, F, P> Turn<'a, F, P> {
    fn base(&self) -> Base<'a> {
        let Self { snap, neighbours, dests: counters, stamp, .. } = *self;
        // Of one length, so that one question about a number is enough.
        let dests = snap.dests.len().min(counters.len());
        Base {
            snap,
            dests: &snap.dests[..dests],
            links: neighbours.links(),
            epoch: neighbours.epoch(),
            counters: &counters[..dests],
            stamp,
            established: stamp.after(snap.timeouts.of(State::Established)),
        }
    }
}

macro_rules! turn {
    ($self:ident, $port:expr, $now:expr, $pool:expr, $out:expr) => {
        Turn {
            snap: &$self.snapshot,
            neighbours: &$self.shared.neighbours,
            loads: &$self.shared.dests,
            controls: &$self.shared.controls,
            stats: &$self.shared.stats[$self.core.worker],
            dests: $self.shared.dests.of_worker($self.core.worker),
            services: $self.shared.services.of_worker($self.core.worker),
            now: $now,
            stamp: $now.stamp(),
            port: $port,
            pool: $pool,
            out: $out,
        }
    };
}

impl<F: Frame> Pipeline<F> {
    /// A worker's pipeline with an empty conn table.
    ///
    /// # Errors
    /// When the tables do not fit in the address space, or `conns` is 0, or 2^30 and more.
    pub fn new(setup: Setup, shared: Arc<Shared>, snapshot: Arc<Snapshot>) -> io::Result<Self> {
        let hasher = Hasher::new(setup.secret);
        let mut core = Core {
            worker: setup.worker,
            workers: setup.workers,
            hasher,
            conns: Conns::new(setup.conns, hasher)?,
            leases: Leases::new(
                setup.worker,
                setup.workers,
                Arc::clone(&shared.leases[setup.worker]),
                setup.port_order,
            )?,
            templates: Templates::new(setup.worker, shared.controls.templates())?,
            numbers: setup.numbers,
            positions: Vec::new(),
            held: Held::new(),
            fragments: Fragments::new(),
            limit: Limit::new(),
            introductions: proxy::Introductions::new(),
            sender: None,
            ids: Ids::new(setup.worker, setup.workers, hasher.addr(Addr::UNSPECIFIED)),
            upkeep: upkeep::Upkeep::default(),
            watch: dead::Watch::default(),
            defence: defence::Defence::default(),
        };
        shared.neighbours.know(snapshot.ports.iter().map(PortInfo::face));
        core.follow(None, &snapshot, &shared.dests);
        Ok(Self { snapshot, shared, core, looks: plain::Looks::default() })
    }

    /// Has the memory given now, by the thread that asks, that its conns will take: as many as there is room
    /// for. Otherwise it is given as it is used, while packets wait.
    pub fn populate(&mut self) {
        let tracked = self.snapshot.takers().any(|s| s.methods.has(Forward::FullNat));
        self.core.conns.populate(tracked);
        if tracked {
            self.core.leases.populate(self.core.conns.capacity());
        }
    }

    /// Takes a burst that came in by `port`; leaves it empty.
    pub fn process<P: Pool<Frame = F>>(
        &mut self,
        port: PortId,
        burst: &mut Burst<F>,
        now: Tick,
        pool: &mut P,
        out: &mut Outbox<F>,
    ) {
        let mut turn = turn!(self, port, now, pool, out);
        turn.stats.received.add(burst.len() as u64);
        self.core.burst(&mut turn, burst, &mut self.looks);
    }

    /// Takes a frame that another worker handed over.
    pub fn take_over<P: Pool<Frame = F>>(
        &mut self,
        handed: Handed<F>,
        now: Tick,
        pool: &mut P,
        out: &mut Outbox<F>,
    ) {
        let mut turn = turn!(self, handed.port, now, pool, out);
        turn.stats.taken_over.add(1);
        let p = parse(handed.frame.data(), turn.snap.port(handed.port));
        if let Some(seeks) = handed.seeks {
            return self.core.sought(&mut turn, handed.frame, &p, seeks);
        }
        self.core.lone(&mut turn, handed.frame, &p, handed.visited);
    }

    /// Another worker says that a conn of which it was told here where it lives has ended.
    pub fn forget(&mut self, tuple: &Tuple) {
        self.core.forget(tuple);
        self.stats().conns.set(self.core.conns.len() as u64);
    }

    /// Sends a frame that the control thread made.
    pub fn transmit(&mut self, port: PortId, frame: F, out: &mut Outbox<F>) {
        let stats = self.stats();
        stats.made[crate::verdict::Made::Control as usize].add(1);
        out.send(port, frame, stats);
    }

    /// Bounded work between bursts: frames whose next hop is known by now, conns whose time is up.
    pub fn housekeeping<P: Pool<Frame = F>>(
        &mut self,
        now: Tick,
        pool: &mut P,
        out: &mut Outbox<F>,
    ) {
        let mut turn = turn!(self, PortId(0), now, pool, out);
        self.core.housekeeping(&mut turn);
    }

    /// Takes a new snapshot and gives the old one, which the caller drops elsewhere.
    pub fn swap(&mut self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        self.shared.neighbours.know(snapshot.ports.iter().map(PortInfo::face));
        self.core.follow(Some(&self.snapshot), &snapshot, &self.shared.dests);
        core::mem::replace(&mut self.snapshot, snapshot)
    }

    /// This worker's counters.
    #[inline]
    pub fn stats(&self) -> &WorkerStats {
        &self.shared.stats[self.core.worker]
    }

    /// Goes on with a listing by a bounded number of conns, then of templates; whether the sheet is
    /// to go back.
    pub fn list(&self, sheet: &mut Sheet, now: Tick) -> bool {
        self.core.conns.list(sheet, now.stamp());
        if sheet.ended {
            self.list_templates(sheet, now);
        }
        sheet.is_done()
    }

    /// This worker's templates.
    pub fn templates(&self, now: Tick) -> impl Iterator<Item = Template> + '_ {
        let controls = &self.shared.controls;
        (0..self.core.templates.sweep_len())
            .filter_map(move |line| self.core.templates.at(line, controls, now))
    }

    /// This worker's conns.
    pub fn conns(&self) -> &Conns {
        &self.core.conns
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }
}

impl<F: Frame> Core<F> {
    fn burst<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        burst: &mut Burst<F>,
        looks: &mut plain::Looks,
    ) {
        // A port's frames all have a tag, or none.
        match t.snap.port(t.port).vlan {
            None => self.plain_burst::<{ ethernet::LEN }, UNTAGGED, P>(t, burst, looks),
            Some(_) => {
                self.plain_burst::<{ ethernet::LEN + ethernet::TAG }, TAGGED, P>(t, burst, looks);
            }
        }
    }

    /// A frame that comes by itself, and whatever is not a packet of a flow.
    #[inline(never)]
    fn lone<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        visited: u16,
    ) {
        t.stats.lone.add(1);
        match p.kind {
            Kind::Flow => self.flow(t, frame, p, self.place(p), visited),
            Kind::Drop(reason) => self.unread(t, frame, reason),
            Kind::Control => t.out.inform(t.port, frame, t.stats),
            Kind::Fragment => self.piece(t, frame, p, visited),
            Kind::IcmpError => self.icmp_error(t, frame, p, visited),
            Kind::Echo => self.echo(t, frame, p, visited),
            Kind::EchoReply => self.echo_reply(t, frame, p, visited),
        }
    }

    /// Where a packet's tuple lies in the index, if it is there.
    fn place(&self, p: &Parsed) -> Place {
        self.conns.place(self.hasher.tuple_of(p.family, &p.tuple))
    }

    /// A packet that has a tuple, and the place of that.
    #[inline(always)]
    fn flow<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        place: Place,
        visited: u16,
    ) {
        match self.conns.find_at(p.family, place, &p.tuple) {
            None => {
                self.conns.prefetch_room(place);
                self.miss(t, frame, p, visited);
            }
            // What comes by itself takes none of the plain lane: tests hold the two against each other.
            Some((id, way)) => match self.is_odd(t, id, p, way) {
                true => self.odd(t, frame, p, (id, way), visited),
                false => {
                    self.look_back(t, id, way);
                    self.forward_closely(t, frame, p, id, way);
                }
            },
        }
    }

    /// A packet of a known conn.
    #[inline(always)]
    fn follow_conn<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        (id, way): (ConnId, Direction),
        visited: u16,
    ) {
        match self.is_odd(t, id, p, way) {
            true => self.odd(t, frame, p, (id, way), visited),
            false => self.forward(t, frame, p, id, way),
        }
    }

    /// Whether the conn is perhaps not simply to be followed: its time is up, its port is lent, it
    /// lives elsewhere, its dest is gone, or a SYN or RST asks for a closer look.
    fn is_odd<P>(&self, t: &Turn<'_, F, P>, id: ConnId, p: &Parsed, way: Direction) -> bool {
        let conn = self.conns.get(id);
        conn.is_asked(way, p.flags) || conn.is_odd() || conn.expires().is_due(t.stamp)
    }

    /// A packet of a known conn: steps 6 to 8.
    #[inline(never)]
    fn forward<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        id: ConnId,
        way: Direction,
    ) {
        // As in `follow_all`.
        match way {
            way @ Direction::Original => self.forward_by(t, frame, p, id, way),
            way @ Direction::Reply => self.forward_by(t, frame, p, id, way),
        }
    }

    /// The same where the way is known when the code is made.
    #[inline(always)]
    fn forward_by<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        id: ConnId,
        way: Direction,
    ) {
        if let Some(frame) = self.changes::<0, P>(t, frame, (p, None), id, way) {
            self.forward_closely(t, frame, p, id, way);
        }
    }

    /// The same, whatever it takes.
    #[inline(never)]
    fn forward_closely<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        frame: F,
        p: &Parsed,
        id: ConnId,
        way: Direction,
    ) {
        let conn = self.conns.get_mut(id);
        let dest_id = conn.dest();
        let dest = t.snap.dest(dest_id);
        t.dests[dest_id.0 as usize].count(way, p.ip_len() as u64);
        let crossed = conn.is_crossed();
        let hop = match way {
            Direction::Original => Some(dest.hop),
            Direction::Reply => conn.reply_hop(t.neighbours.epoch()),
        };
        if p.tuple.proto == Proto::Tcp {
            let extent = segment::extent(&frame.data()[p.l4 as usize..p.end as usize]);
            let secure = self.defence.is_secure && !defence::is_of_rule(dest);
            let changed = conn.step(way, p.flags, extent, secure, t.stamp, &t.snap.timeouts);
            conn.set_own_timeout(t.stamp, dest.traits.tcp_timeouts);
            if changed {
                self.state_changed(t, id);
            }
        } else {
            self.datagram(t, frame.data(), p, id, way);
        }
        let Some(hop) = hop else {
            return self.reply_unrouted(t, frame, p, id);
        };
        let link = t.neighbours.link(hop);
        let mtu = match way {
            Direction::Original => dest.mtu,
            Direction::Reply => t.snap.port(link.port()).mtu,
        };
        if crossed || p.ttl <= 1 || p.ip_len() > mtu as usize {
            return self.exceeds(t, frame, p, (id, way), (hop, mtu));
        }
        if let Some(frame) = self.transform(t, frame, p, id, way) {
            match link.is_reachable() {
                true => out::send(t, frame, p.l3 as usize, link.port(), link.mac()),
                false => self.unreached(t, frame, p.l3 as usize, hop),
            }
        }
    }

    /// Step 6 for what is not TCP.
    fn datagram<P>(
        &mut self,
        t: &Turn<'_, F, P>,
        frame: &[u8],
        p: &Parsed,
        id: ConnId,
        way: Direction,
    ) {
        if p.tuple.proto == Proto::Sctp {
            return self.step_sctp(t, p, id, way);
        }
        let conn = self.conns.get_mut(id);
        let dest = t.snap.dest(conn.dest());
        conn.step_udp(way, t.stamp, snat::timeout(p.tuple.proto, dest));
        let replies = dest.traits.replies;
        if way == Direction::Reply && replies > 0 && conn.count_reply(replies) {
            self.last_reply(t, frame, p, id);
        }
    }

    /// Step 7: what the conn's method does to a packet.
    fn transform<P: Pool<Frame = F>>(
        &mut self,
        t: &mut Turn<'_, F, P>,
        mut frame: F,
        p: &Parsed,
        id: ConnId,
        way: Direction,
    ) -> Option<F> {
        let conn = self.conns.get(id);
        match conn.forward() {
            Forward::Nat | Forward::FullNat => {
                let mut r = self.conns.rewrite(id, way);
                if p.tuple.proto == Proto::Sctp {
                    return self.rewrite_sctp(t, frame, p, &r);
                }
                if p.flags & tcp::SYN != 0 {
                    let segment = &mut frame.data_mut()[p.l4 as usize..p.end as usize];
                    r.l4 = r.l4.and(on_syn(segment, t.snap.dest(conn.dest())));
                }
                if conn.shifts() {
                    if conn.introduces() {
                        return self.introduce(t, frame, p, (id, way), r);
                    }
                    let segment = &mut frame.data_mut()[p.l4 as usize..];
                    let track = self.conns.track_mut(id);
                    r.l4 = r.l4.and(match way {
                        Direction::Original => segment::to_dest(segment, track),
                        Direction::Reply => segment::to_client(segment, track),
                    });
                }
                rewrite::apply(frame.data_mut(), p, &r);
            }
            Forward::Dr => rewrite::decrement_ttl(frame.data_mut(), p),
            Forward::Tunnel => {
                let dest = t.snap.dest(conn.dest());
                if !self.encapsulate(&mut frame, p, id, dest) {
                    t.stats.drop(DropReason::NoHeadroom);
                    return None;
                }
            }
        }
        Some(frame)
    }
}

/// Options of SYN and SYN-ACK that cannot pass as they are.
#[cold]
fn on_syn(segment: &mut [u8], dest: &Dest) -> Delta {
    syn::adapt(segment, dest.traits.mss, dest.forward == Forward::FullNat)
}
