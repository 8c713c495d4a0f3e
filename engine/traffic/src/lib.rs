//! Made traffic: what `pointsman generate` writes, and by its captures what replay and other
//! programs are run with. Benches and `scripts/compare` take clients, frames and their sizes from here.
//!
//! `Traffic` is an endless stream of frames by a `Workload`; the same seed gives the same frames.
#![forbid(unsafe_code)]

mod ends;
mod frame;
mod random;
mod sizes;
mod traffic;
mod zipf;

pub use frame::MadeFrame;
pub use frame::Side;
pub use random::Random;
pub use sizes::Sizes;
pub use traffic::Family;
pub use traffic::Sent;
pub use traffic::Traffic;
pub use traffic::Workload;
pub use traffic::client;
use zipf::Zipf;
