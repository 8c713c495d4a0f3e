//! Made traffic: a director with one service, and any number of established TCP conns through it.

use crate::frame::BenchFrame;
use crate::frame::Boxes;
use crate::frame::NoFrames;
use arrayvec::ArrayVec;
use hashbrown::HashMap;
use pointsman_dataplane::acl::Access;
use pointsman_dataplane::acl::Acl;
use pointsman_dataplane::conn::Timeouts;
use pointsman_dataplane::frame::BURST;
use pointsman_dataplane::frame::Burst;
use pointsman_dataplane::frame::Frame;
use pointsman_dataplane::frame::Pool;
use pointsman_dataplane::isn::Numbers;
use pointsman_dataplane::neigh::HopState;
use pointsman_dataplane::neigh::Neighbours;
use pointsman_dataplane::neigh::PortId;
use pointsman_dataplane::pipeline::Outbox;
use pointsman_dataplane::pipeline::Pipeline;
use pointsman_dataplane::pipeline::Setup;
use pointsman_dataplane::pipeline::Shared;
use pointsman_dataplane::sched::Sched;
use pointsman_dataplane::service::Candidate;
use pointsman_dataplane::service::Closed;
use pointsman_dataplane::service::Dest;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::service::Methods;
use pointsman_dataplane::service::Scope;
use pointsman_dataplane::service::Service;
use pointsman_dataplane::service::ServiceId;
use pointsman_dataplane::service::Terms;
use pointsman_dataplane::service::Traits;
use pointsman_dataplane::service::Tunnel;
use pointsman_dataplane::snapshot::Local;
use pointsman_dataplane::snapshot::LocalPool;
use pointsman_dataplane::snapshot::PortInfo;
use pointsman_dataplane::snapshot::Route;
use pointsman_dataplane::snapshot::Routes;
use pointsman_dataplane::snapshot::Snapshot;
use pointsman_dataplane::tick::Tick;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Prefix;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::tuple::Tuple;
use pointsman_dataplane::verdict::DropReason;
use pointsman_dataplane::wire::ethernet;
use pointsman_dataplane::wire::ipv4;
use pointsman_dataplane::wire::tcp;
use pointsman_traffic::MadeFrame;
pub use pointsman_traffic::Random;
use std::io;
use std::sync::Arc;

/// Bytes of a frame with TCP timestamps.
const LONG_FRAME: usize = ethernet::LEN + ipv4::LEN + tcp::LEN + TIMESTAMPS.len();
/// As Linux writes them: two bytes of padding, kind 8, length 10, TSval, TSecr.
const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 5];
/// Dests of the service.
const DESTS: u32 = 4;
/// So many a snapshot can have that a bench swaps in.
const MOST_DESTS: usize = 20_000;
/// Addresses of the pool, at least.
const LADDRS: u32 = 32;
/// Conns for which one more address is there: each has 64,511 ports toward each dest.
const PER_LADDR: usize = 200_000;

const WAN: PortId = PortId(0);
const LAN: PortId = PortId(1);
const VIP: u32 = 0x0a01_0064;
/// The first dest, and the first address of the pool.
const DEST: u32 = 0x0a02_0002;
const LADDR: u32 = 0x0a02_0064;
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];

/// What the director does to packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// A forwarding method; full-NAT leaves sequence numbers and timestamps alone.
    Plain(Forward),
    /// Full-NAT that rewrites both; frames bear timestamps.
    Rewriting,
}

impl Method {
    /// Every one, in the order of the tables.
    pub const ALL: [Self; 5] = [
        Self::Plain(Forward::Dr),
        Self::Plain(Forward::Tunnel),
        Self::Plain(Forward::Nat),
        Self::Plain(Forward::FullNat),
        Self::Rewriting,
    ];

    /// Its name on command lines and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain(forward) => forward.name(),
            Self::Rewriting => "rewriting",
        }
    }

    fn forward(self) -> Forward {
        match self {
            Self::Plain(forward) => forward,
            Self::Rewriting => Forward::FullNat,
        }
    }
}

/// What changes from frame to frame: which port it comes in by, addresses and ports.
#[derive(Clone, Copy)]
pub struct Packet {
    /// Where it comes in.
    pub port: PortId,
    src: u32,
    dst: u32,
    ports: u32,
}

impl Packet {
    /// The client's of the `n`-th conn, all of which differ.
    pub fn of_client(n: u32) -> Self {
        let (src, port) = pointsman_traffic::client(n as usize);
        Self { port: WAN, src: src.v4_bits(), dst: VIP, ports: (port as u32) << 16 | 80 }
    }

    /// The dest's that answers a frame as it left the director, if it passes the director: nat and full-NAT change
    /// the destination address; dr does not, a tunnel is protocol 4.
    pub fn answering(leaves: &[u8]) -> Option<Self> {
        let ip = &leaves[ethernet::LEN..];
        let word = |at: usize| pointsman_dataplane::wire::get32(ip, at);
        let (src, dst, ports) = (word(ipv4::DST), word(ipv4::SRC), word(ipv4::LEN).rotate_left(16));
        let passes = ip[ipv4::PROTOCOL] == Proto::Tcp as u8 && src != VIP;
        passes.then_some(Self { port: LAN, src, dst, ports })
    }
}

/// What of a dest's packet its conn's number does not tell. Small, so that making frames outside the clock leaves
/// caches and TLB to the pipeline, as a NIC does.
#[derive(Clone, Copy)]
struct Reply {
    /// Which dest.
    dest: u8,
    /// Where the director has it sent: which address of the pool, or `CLIENT`.
    to: u8,
    port: u16,
}

/// Where dests send to the clients themselves.
const CLIENT: u8 = u8::MAX;

impl Reply {
    /// Of a packet.
    fn of(packet: &Packet) -> Self {
        let pool = packet.dst.wrapping_sub(LADDR);
        let to = u8::try_from(pool).unwrap_or(CLIENT);
        Self { dest: (packet.src - DEST) as u8, to, port: packet.ports as u16 }
    }

    /// The packet of a client's conn.
    fn packet(self, client: &Packet) -> Packet {
        let dst = if self.to == CLIENT { client.src } else { LADDR + u32::from(self.to) };
        let ports = client.ports << 16 | u32::from(self.port);
        Packet { port: LAN, src: DEST + u32::from(self.dest), dst, ports }
    }
}

/// A director with its conns.
pub struct Workload<F: Frame = BenchFrame> {
    /// The pipeline under test.
    pub pipeline: Pipeline<F>,
    /// Its ways out.
    pub out: Outbox<F>,
    /// Both its counters.
    pub shared: Arc<Shared>,
    method: Method,
    conns: usize,
    /// Of each conn, where replies pass the director.
    replies: Vec<Reply>,
}

impl Workload {
    /// A director that forwards by `method`, with `conns` established conns.
    ///
    /// # Errors
    /// When the tables do not fit in the address space, or a conn is refused.
    pub fn new(method: Method, conns: usize) -> io::Result<Self> {
        Self::over(&mut Boxes, method, conns, conns, Timeouts::default())
    }

    /// Makes a frame hold a packet with these TCP flags, and says which port it comes in by.
    pub fn write(&self, frame: &mut BenchFrame, packet: &Packet, flags: u8) -> PortId {
        frame.restore(&self.bytes(packet, flags));
        packet.port
    }

    /// A burst goes through the pipeline, under a name that callgrind can find (`--toggle-collect=*one_burst*`).
    #[inline(never)]
    pub fn one_burst(&mut self, port: PortId, burst: &mut Burst<BenchFrame>, now: Tick) {
        self.pipeline.process(port, burst, now, &mut NoFrames, &mut self.out);
    }

    /// A turn of housekeeping, likewise.
    #[inline(never)]
    pub fn one_turn(&mut self, now: Tick) {
        self.pipeline.housekeeping(now, &mut NoFrames, &mut self.out);
    }

    /// A new snapshot is taken and the old one given, likewise.
    #[inline(never)]
    pub fn one_swap(&mut self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        self.pipeline.swap(snapshot)
    }

    /// Fills frames with packets of uniformly random conns, all of one burst from one port.
    pub fn fill(&self, frames: &mut [BenchFrame], random: &mut Random) -> Vec<PortId> {
        let mut ports = Vec::with_capacity(frames.len() / BURST);
        for burst in frames.chunks_mut(BURST) {
            let port = self.packet(random.below(self.packets())).port;
            ports.push(port);
            for frame in burst {
                // Redrawn until it comes in by the burst's port: conns stay uniform.
                let packet = loop {
                    let packet = self.packet(random.below(self.packets()));
                    if packet.port == port {
                        break packet;
                    }
                };
                frame.restore(&self.bytes(&packet, tcp::ACK_BIT));
            }
        }
        ports
    }
}

impl<F: Frame> Workload<F> {
    /// The same of any frames, which the pool gives, with room for `room` conns, which live as `timeouts` say. What
    /// conns become is the same for all kinds of frames.
    ///
    /// # Errors
    /// As `new`, and when the pool is empty.
    pub fn over<P: Pool<Frame = F>>(
        pool: &mut P,
        method: Method,
        conns: usize,
        room: usize,
        timeouts: Timeouts,
    ) -> io::Result<Self> {
        let neighbours = Arc::new(Neighbours::new(64, 1));
        let snapshot = Snapshot { timeouts, ..snapshot(method, room, &neighbours)? };
        let snapshot = Arc::new(snapshot);
        let shared = Arc::new(Shared::new(1, MOST_DESTS, neighbours));
        // Of the quality that a process draws at its start: with small keys most conns share few buckets.
        let mut random = Random(1);
        let setup = Setup {
            worker: 0,
            workers: 1,
            conns: room.max(64),
            secret: core::array::from_fn(|_| random.draw()),
            port_order: Some(random.draw()),
            numbers: Numbers::new([1, 2], 0),
        };
        let mut pipeline = Pipeline::new(setup, shared.clone(), snapshot)?;
        // As a director does before it begins.
        pipeline.populate();
        let out = Outbox::new(2, 1);
        let mut workload =
            Self { pipeline, out, shared, method, conns, replies: Vec::with_capacity(conns) };
        for n in 0..conns as u32 {
            workload.open(n, pool)?;
        }
        Ok(workload)
    }

    /// From now on there is an access list of so many entries, of which none is a client's.
    pub fn deny(&mut self, entries: usize) {
        let mut random = Random(7);
        // Clients are in 11.0.0.0/8.
        let mut entry = || Addr::v4(0x0c00_0000 + random.below(0xc000_0000) as u32);
        let denied = (0..entries).map(|_| (Prefix::new(entry(), 32), false));
        let everywhere = Some(Arc::new(Acl::new(denied, true)));
        let access = Arc::new(Access { everywhere, ..Access::default() });
        let snapshot = Snapshot { access, ..Snapshot::clone(self.pipeline.snapshot()) };
        drop(self.pipeline.swap(Arc::new(snapshot)));
    }

    /// How many kinds of packets there are: one of each direction that passes the director, of every conn.
    pub fn packets(&self) -> usize {
        self.conns + self.replies.len()
    }

    /// The `n`-th of them. A conn's are neighbours, the client's first.
    pub fn packet(&self, n: usize) -> Packet {
        if self.replies.is_empty() {
            return Packet::of_client(n as u32);
        }
        let client = Packet::of_client(n as u32 / 2);
        if n.is_multiple_of(2) { client } else { self.replies[n / 2].packet(&client) }
    }

    /// Opens the `n`-th conn by its handshake, and remembers what its replies look like, if they pass.
    fn open<P: Pool<Frame = F>>(&mut self, n: u32, pool: &mut P) -> io::Result<()> {
        let original = Packet::of_client(n);
        let leaves = self.pass(&original, tcp::SYN, pool)?;
        if let Some(reply) = Packet::answering(&leaves) {
            self.pass(&reply, tcp::SYN | tcp::ACK_BIT, pool)?;
            self.replies.push(Reply::of(&reply));
        }
        self.pass(&original, tcp::ACK_BIT, pool)?;
        Ok(())
    }

    /// A packet as it comes in, without data.
    fn frame(&self, packet: &Packet, flags: u8) -> MadeFrame<'static> {
        let (src, dst) = (Addr::v4(packet.src), Addr::v4(packet.dst));
        let (sport, dport) = ((packet.ports >> 16) as u16, packet.ports as u16);
        let tuple = Tuple { src, dst, sport, dport, proto: Proto::Tcp };
        let macs = (MACS[packet.port.0 as usize], [2, 0, 0, 0, 0, 0x63]);
        let options = if self.method == Method::Rewriting { &TIMESTAMPS[..] } else { &[] };
        MadeFrame { macs, tuple, flags, seq: 1, ack: 1, options, data: 0 }
    }

    /// The same in bytes.
    fn bytes(&self, packet: &Packet, flags: u8) -> ArrayVec<u8, LONG_FRAME> {
        let made = self.frame(packet, flags);
        let mut frame = ArrayVec::from([0; LONG_FRAME]);
        frame.truncate(made.bytes());
        made.write(&mut frame);
        frame
    }

    /// A packet with these TCP flags and with data, so that its frame has `len` bytes, or with none where that is too
    /// few.
    pub fn with_data(&self, packet: &Packet, flags: u8, len: usize) -> Vec<u8> {
        let bare = self.frame(packet, flags);
        // What fills a frame up to the least length is no data.
        let made = if len > bare.bytes() { bare.with_len(len) } else { bare };
        let mut frame = vec![0; made.bytes()];
        made.write(&mut frame);
        frame
    }

    fn pass<P: Pool<Frame = F>>(
        &mut self,
        packet: &Packet,
        flags: u8,
        pool: &mut P,
    ) -> io::Result<Vec<u8>> {
        let bytes = self.bytes(packet, flags);
        let frame = pool.alloc().and_then(|mut frame| frame.set_len(bytes.len()).then_some(frame));
        let mut frame = frame.ok_or_else(|| io::Error::other("the pool is empty"))?;
        frame.data_mut().copy_from_slice(&bytes);
        let mut burst = Burst::new();
        burst.push(frame);
        let now = Tick::from_secs(1);
        self.pipeline.process(packet.port, &mut burst, now, pool, &mut self.out);
        let sent = self.out.tx().iter_mut().find_map(ArrayVec::pop);
        let sent = sent.ok_or_else(|| io::Error::other("a frame of the handshake was not sent"))?;
        Ok(sent.data().to_vec())
    }

    /// What was dropped so far, by name.
    pub fn dropped(&self) -> String {
        let stats = self.pipeline.stats();
        let count = |r: &DropReason| stats.dropped[*r as usize].get();
        let some = DropReason::ALL.iter().filter(|r| count(r) > 0);
        some.map(|r| format!("{} {} ", r.name(), count(r))).collect()
    }
}

fn snapshot(method: Method, room: usize, neighbours: &Neighbours) -> io::Result<Snapshot> {
    let (forward, rewrite) = (method.forward(), method == Method::Rewriting);
    let hop = |port, addr: u32| {
        let hop = neighbours.insert(port, Addr::v4(addr), |_| true);
        let hop = hop.ok_or_else(|| io::Error::other("the neighbour table is full"))?;
        neighbours.set(hop, HopState::Reachable([2, 0, 0, 0, 1, addr as u8]));
        Ok::<_, io::Error>(hop)
    };
    let port = |i: usize, addr: u32| PortInfo {
        name: format!("port{i}"),
        mac: MACS[i],
        // a packet of 1,500 bytes fits a tunnel: full frames are forwarded by every method
        mtu: 1520,
        vlan: None,
        addrs: vec![(Addr::v4(addr), Prefix::new(Addr::v4(addr), 24))],
        fixed_queue: true,
    };
    let gateway = 0x0a01_0001;
    hop(WAN, gateway)?;
    let mut dests = Vec::new();
    for n in 0..DESTS {
        let addr = DEST + n;
        dests.push(Dest {
            addr: Addr::v4(addr),
            port: 80,
            weight: 1,
            forward,
            out: LAN,
            hop: hop(LAN, addr)?,
            mtu: 1500,
            traits: Traits { rewrite, ..Traits::default() },
            tunnel: Tunnel::to(Addr::v4(0x0a02_00fe), Addr::v4(addr)),
            removed: false,
            dead: false,
        });
    }
    let laddrs = LADDRS.max((room / PER_LADDR) as u32);
    if laddrs > u32::from(CLIENT) {
        let most = usize::from(CLIENT) * PER_LADDR;
        return Err(io::Error::other(format!("{room} conns: frames can be made of {most}")));
    }
    let laddrs: Vec<_> = (0..laddrs).map(|n| Addr::v4(LADDR + n)).collect();
    let local = |vip, pool| Local { vip, pool, own: false, closed: Closed::Reject, ports: 3 };
    let mut locals: HashMap<_, _> = laddrs.iter().map(|a| (*a, local(false, true))).collect();
    locals.insert(Addr::v4(VIP), local(true, false));
    let candidates =
        (0..DESTS).rev().map(|n| Candidate { id: DestId(n), weight: 1, last_weight: 1 }).collect();
    let route = |addr, len, port, via| {
        let prefix = Prefix::new(Addr::v4(addr), len);
        Route { prefix, from: None, port, via }
    };
    let connected = |addr, port| route(addr, 24, port, None);
    Ok(Snapshot {
        ports: vec![port(0, 0x0a01_00fe), port(1, 0x0a02_00fe)],
        routes: Routes::new(vec![
            connected(0x0a01_0000, WAN),
            connected(0x0a02_0000, LAN),
            route(0, 0, WAN, Some(Addr::v4(gateway))),
        ]),
        locals,
        services: vec![Service {
            id: ServiceId(0),
            proto: Proto::Tcp,
            addr: Addr::v4(VIP),
            port: 80,
            scope: Scope::Address,
            forward,
            methods: Methods::default(),
            pool: Some(0),
            proxy_in: Vec::new(),
            terms: Terms::default(),
            sched: Sched::Rr,
            dests: candidates,
            version: 1,
        }],
        dests,
        pools: vec![LocalPool { v4: laddrs, v6: Vec::new() }],
        timeouts: Timeouts::default(),
        ..Snapshot::default()
    }
    .index())
}
