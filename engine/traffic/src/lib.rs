//! Made traffic: what `pointsman generate` writes, and by its captures what replay and other
//! programs are run with. Benches take their random numbers from here.
//!
//! `Traffic` is an endless stream of frames by a `Workload`; the same seed gives the same frames.
#![forbid(unsafe_code)]

mod frame;
mod random;
mod sizes;
mod traffic;
mod zipf;

pub use frame::Side;
pub use random::Random;
pub use sizes::Sizes;
pub use traffic::Family;
pub use traffic::Sent;
pub use traffic::Traffic;
pub use traffic::Workload;
use zipf::Zipf;
