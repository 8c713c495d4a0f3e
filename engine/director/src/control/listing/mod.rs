//! `pointsman conns`: the control thread makes out what is asked for; the client's own thread then
//! asks the workers and writes what they answer, so that a long list keeps nobody else waiting.

mod filter;

use super::Control;
use crate::io::Driver;
use crate::worker::desk::Desk;
use hashbrown::HashMap;
use pointsman_dataplane::conn::list::Filter;
use pointsman_dataplane::conn::list::Row;
use pointsman_dataplane::conn::list::Sheet;
use pointsman_dataplane::service::DestId;
use pointsman_dataplane::tuple::Addr;
use serde::Deserialize;
use serde::Serialize;
use std::net::SocketAddr;
use std::sync::Arc;

/// Conns shown unless said otherwise.
pub const LIMIT: u64 = 100;

/// A conn. Field names are stable; further ones may come.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ConnStatus {
    /// `tcp`, `udp`, `icmp` or `icmpv6`; `ip`: the template of a mark.
    pub protocol: String,
    /// caddr and cport.
    pub client: String,
    /// vaddr and vport.
    #[serde(rename = "virtual")]
    pub virtual_: String,
    /// laddr and lport: what the dest sees as its client.
    pub local: String,
    /// daddr and dport.
    pub dest: String,
    /// As the kernel names it; of a template, which stands for a client's conns and has no client's
    /// port, NONE or ASSURED.
    pub state: String,
    /// Until it ends unless a packet comes.
    pub expires_seconds: f64,
    /// `nat`, `fullnat`, `dr`, `tunnel`.
    pub forward: String,
    /// Its local port serves a newer conn: it is only listed.
    pub lent: bool,
    /// The worker that holds it.
    pub worker: usize,
    /// The name of its service or rule; none when that is gone.
    pub service: Option<String>,
}

/// What is written, one line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Piece {
    /// Some conns.
    Conns(Vec<ConnStatus>),
    /// That was all; so many more match.
    End {
        /// Conns that were not wanted.
        more: u64,
    },
    /// Why it ends before its end.
    Error(String),
}

/// A listing to be made.
pub struct Listing {
    desks: Arc<[Desk]>,
    filter: Filter,
    limit: u64,
    names: Names,
}

/// What conns belong to, services and rules, by name.
#[derive(Default)]
struct Names {
    /// Each with its dests; those removed that have conns, too.
    all: Vec<(String, Arc<[DestId]>)>,
    by_dest: HashMap<DestId, usize>,
}

impl Names {
    fn add(&mut self, name: &str, dests: Arc<[DestId]>) {
        self.by_dest.extend(dests.iter().map(|dest| (*dest, self.all.len())));
        self.all.push((name.to_owned(), dests));
    }

    fn of(&self, row: &Row) -> Option<&String> {
        self.by_dest.get(&row.dest).map(|i| &self.all[*i].0)
    }
}

impl<D: Driver> Control<D> {
    /// The listing that a request asks for; a limit of 0 is none.
    ///
    /// # Errors
    /// What is wrong with the filter, and what there is.
    pub(super) fn listing(&self, words: &[String], limit: u64) -> Result<Listing, String> {
        let services = self.current.services.iter().zip(&self.parts.config.services);
        let rules = self.current.snats.iter().zip(&self.parts.config.snats);
        let services = services.map(|(s, config)| (s, &config.name));
        let all = services.chain(rules.map(|(rule, config)| (&rule.service, &config.name)));
        let (mut by_service, mut names) = (self.builder.dests_by_service(), Names::default());
        for (service, name) in all {
            names.add(name, by_service.remove(&service.id).unwrap_or_default().into());
        }
        let filter = filter::parse(words, &names)?;
        let limit = if limit == 0 { u64::MAX } else { limit };
        Ok(Listing { desks: Arc::clone(&self.parts.links.desks), filter, limit, names })
    }
}

impl Listing {
    /// Asks the workers one after another and gives the pieces to `take`, the end or an error
    /// last; stops early where `take` says false.
    pub fn run(self, mut take: impl FnMut(Piece) -> bool) {
        let (mut wanted, mut more) = (self.limit, 0);
        for (worker, desk) in self.desks.iter().enumerate() {
            let mut sheet = Box::new(Sheet::new(self.filter.clone(), wanted));
            while !sheet.ended {
                let Some(back) = desk.ask(sheet) else {
                    let why = format!("worker {worker} does not answer: is pointsman stopping?");
                    take(Piece::Error(why));
                    return;
                };
                sheet = back;
                // An empty piece, too: whoever has left is noticed.
                if !take(Piece::Conns(sheet.rows.iter().map(|r| self.conn(worker, r)).collect())) {
                    return;
                }
            }
            wanted = sheet.wanted;
            more += sheet.further;
        }
        take(Piece::End { more });
    }

    fn conn(&self, worker: usize, row: &Row) -> ConnStatus {
        let e = &row.ends;
        let of_mark = row.template.is_some_and(|template| template.of_mark);
        let state = match row.template {
            Some(template) if template.assured => "ASSURED",
            _ => row.state.name(),
        };
        let end = |addr: Addr, port| SocketAddr::new(addr.into(), port).to_string();
        ConnStatus {
            protocol: if of_mark { "ip".into() } else { e.proto.to_string() },
            client: end(e.caddr, e.cport),
            virtual_: end(e.vaddr, e.vport),
            local: end(e.laddr, e.lport),
            dest: end(e.daddr, e.dport),
            state: state.into(),
            expires_seconds: row.left as f64 / 1000.0,
            forward: row.forward.name().into(),
            lent: row.lent,
            worker,
            service: self.names.of(row).cloned(),
        }
    }
}
