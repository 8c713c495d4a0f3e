//! The configuration file of the director: TOML in, validated model out.
//!
//! A file is read in three passes, and each reports all it finds before the next one runs into it:
//!
//! 1. `toml` makes a document with spans; its syntax errors end the matter.
//! 2. `raw` takes the document apart by hand (serde stops at the first error), so that every
//!    unknown key, wrong type and malformed value is named at once.
//! 3. `check` looks at the parts together: names, addresses, routes, pools, services. What it
//!    returns is the model in [`Config`], in which nothing is left to doubt: names have become
//!    indices, defaults are filled in.
//!
//! Nothing here opens a port, a socket or any file but the one that is read and the access lists that
//! it names.

#![forbid(unsafe_code)]

mod address;
mod check;
mod diagnostic;
mod load;
mod model;
mod nearest;
mod pool;
mod prefix;
mod raw;
mod reader;
mod report;
mod route;
mod schema;

pub use diagnostic::Diagnostic;
pub use diagnostic::Errors;
pub use diagnostic::Severity;
pub use diagnostic::Underline;
pub use load::load;
pub use load::parse;
pub use model::AccessList;
pub use model::ClientAddress;
pub use model::Closed;
pub use model::Config;
pub use model::Defend;
pub use model::Denied;
pub use model::Dest;
pub use model::Device;
pub use model::Director;
pub use model::Exhausted;
pub use model::Family;
pub use model::Forward;
pub use model::Helper;
pub use model::Hugepages;
pub use model::IcmpSource;
pub use model::Idle;
pub use model::Ipvs;
pub use model::LeaveWith;
pub use model::Match;
pub use model::NoDest;
pub use model::OnDead;
pub use model::OnIdle;
pub use model::Oversize;
pub use model::Persistence;
pub use model::Port;
pub use model::Protocol;
pub use model::Route;
pub use model::Scheduler;
pub use model::SchedulerFlag;
pub use model::Scope;
pub use model::Service;
pub use model::Snat;
pub use model::SnatProtocol;
pub use model::Timeouts;
pub use model::Tunnel;
pub use model::TunnelChecksum;
pub use model::TunnelKind;
pub use model::Vip;
pub use pool::AddressRange;
pub use pool::Pool;
pub use prefix::Prefix;

/// The shipped example: every key with its unit and default, ready to be edited.
#[must_use]
pub fn example() -> &'static str {
    include_str!("../pointsman.example.toml")
}
