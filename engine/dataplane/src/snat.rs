//! Rules for conns that servers open through the director: which they are, and what they leave
//! with.
//!
//! Such a conn is a full-NAT conn whose dest endpoint is the destination it had. So a rule is a
//! service that takes every destination; its dests are routers, or one that stands for whatever
//! route the destination has (`Target`).

use crate::matching::Matching;
use crate::service::Service;

/// A rule.
#[derive(Clone, PartialEq, Debug)]
pub struct Snat {
    /// Which conns it is for; of at least one source.
    pub matching: Matching,
    /// What opens, counts and forwards them.
    pub service: Service,
}
