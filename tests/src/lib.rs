//! The data plane from outside: a rig that holds it to the conservation law at every call, frames
//! to feed it with that none of its own code has made, and an outside judge (etherparse) of what
//! comes out.
#![forbid(unsafe_code)]

pub mod craft;
pub mod drive;
pub mod ftp;
pub mod golden;
pub mod model;
pub mod net;
pub mod oracle;
pub mod rig;
pub mod sctp;
pub mod see;
pub mod snat;
pub mod talk;
pub mod told;
