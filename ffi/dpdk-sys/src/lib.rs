//! A safe, thin binding of the distribution's libdpdk (22.11 or later).
//!
//! Only what happens once per burst crosses into C; the mbuf fields used per packet are
//! read and written from Rust. What belongs together cannot come apart: a queue keeps its
//! port, a port keeps its pool, and all keep the EAL, so any order of drop is right. An
//! [`Mbuf`] that outlives them is right too: it keeps its pool, and so the EAL, from being
//! taken down.
//!
//! ```no_run
//! # fn main() -> Result<(), dpdk_sys::Error> {
//! use dpdk_sys::*;
//! let eal = Eal::init(&EalArgs {
//!     devices: vec!["net_af_packet0,iface=d0".into()],
//!     ..EalArgs::default()
//! })?;
//! let pool = Mempool::new(&eal, "frames", 4096, data_room(1500))?;
//! let mut port = Port::open(&eal, "net_af_packet0", PortConf::new(&pool))?;
//! let (mut rx, mut tx) = port.start()?;
//! let mut burst = Burst::new();
//! loop {
//!     rx[0].recv(&mut burst);
//!     tx[0].send(&mut burst);
//!     free_bulk(&mut burst); // what the port refused
//! }
//! # }
//! ```

mod device;
mod eal;
mod error;
mod ethdev;
mod explain;
pub mod log;
mod mbuf;
mod mempool;
mod netif;
mod port;
mod queue;
mod raw;

pub use device::devices_for;
pub use eal::Eal;
pub use eal::EalArgs;
pub use eal::LogLevel;
pub use eal::ThreadGuard;
pub use error::Error;
pub use explain::free_hugepages_mib;
pub use mbuf::Burst;
pub use mbuf::Mbuf;
pub use mbuf::free_bulk;
pub use mempool::Mempool;
pub use mempool::data_room;
pub use port::Link;
pub use port::Multicast;
pub use port::Port;
pub use port::PortConf;
pub use port::PortInfo;
pub use port::PortStats;
pub use queue::RxQueue;
pub use queue::TxQueue;
