//! `pointsman conns`: who is connected with whom.

use super::At;
use super::say;
use crate::control::listing::ConnStatus;
use crate::control::listing::LIMIT;
use crate::control::listing::Piece;
use crate::control::socket;
use crate::control::socket::Request;
use std::fmt::Write as _;
use std::io;
use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc;
use std::sync::mpsc::Sender;

const WIDTH: usize = 80;
const HEAD: &str = "\
pro expires state       client -> virtual                               worker
                        local  -> dest                                  method";

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// What must hold, all of it: caddr, vaddr, laddr, daddr = ADDR, ADDR/LEN or
    /// ADDR:PORT; cport, vport, lport, dport = PORT; service=NAME or VIP:PORT;
    /// state=ESTABLISHED; proto=tcp; forward=fullnat; or an address alone, of any end
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
    /// How many at most; 0: all
    #[arg(short = 'n', long, value_name = "N", default_value_t = LIMIT)]
    limit: u64,
    /// One conn a line, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

/// Prints the conns as they come.
///
/// # Errors
/// What the filter lacks, or nobody answers.
pub(super) fn conns(args: &Args) -> Result<(), String> {
    let request = Request::Conns { filter: args.filter.clone(), limit: args.limit };
    let (pieces, taken) = mpsc::channel();
    // Whoever reads our output slowly, page by page, must not keep the director waiting.
    let path = args.at.socket.clone();
    let asking = std::thread::spawn(move || ask(&path, &request, &pieces));
    let mut begun = false;
    for piece in taken {
        let text = match piece {
            Piece::Conns(conns) if args.json => conns.iter().map(json).collect(),
            Piece::Conns(conns) => {
                let head = if begun || conns.is_empty() { "" } else { HEAD };
                begun |= !conns.is_empty();
                let rows: String = conns.iter().map(row).collect();
                if head.is_empty() { rows } else { format!("{head}\n{rows}") }
            }
            Piece::End { more } => {
                tell_end(begun || args.json, more)?;
                continue;
            }
            Piece::Error(_) => continue,
        };
        if io::stdout().lock().write_all(text.as_bytes()).is_err() {
            // A reader that left early (`| head`) is no error.
            return Ok(());
        }
    }
    asking.join().unwrap_or_else(|_| Err("the asking thread ended early".into()))
}

fn ask(path: &Path, request: &Request, pieces: &Sender<Piece>) -> Result<(), String> {
    socket::ask_pieces(path, request, |piece| pieces.send(piece).is_ok())
}

/// What is left to say is not for programs that read the list.
fn tell_end(shown: bool, more: u64) -> Result<(), String> {
    match (shown, more) {
        (false, 0) => return say("no such conn"),
        (_, 0) => {}
        (_, more) => eprintln!("and {more} more (--limit 0: all; or say more in the filter)"),
    }
    Ok(())
}

fn json(conn: &ConnStatus) -> String {
    serde_json::to_string(conn).map_or_else(|_| String::new(), |line| line + "\n")
}

/// Two lines: what the client sees and what the dest sees. Ends that are too long together have a
/// line each.
fn row(conn: &ConnStatus) -> String {
    let mut out = String::new();
    let expires = expires(conn.expires_seconds);
    let head = format!("{:<3} {expires:>7} {:<11} ", conn.protocol, conn.state);
    let indent = " ".repeat(head.len());
    let worker = conn.worker.to_string();
    // Only full-NAT lends.
    let method = if conn.lent { "lent".into() } else { conn.forward.clone() };
    let sides =
        [(&head, &conn.client, &conn.virtual_, worker), (&indent, &conn.local, &conn.dest, method)];
    for (begin, from, to, last) in sides {
        let whole = format!("{begin}{from} -> {to}");
        // Writing to a string does not fail.
        let _ = if whole.len() + 1 + last.len() > WIDTH {
            writeln!(out, "{begin}{from} {last}\n{indent}-> {to}")
        } else {
            writeln!(out, "{whole:<71} {last}")
        };
    }
    out
}

/// Minutes and seconds, as `ipvsadm -Lc` has them.
fn expires(seconds: f64) -> String {
    let s = seconds as u64;
    format!("{:02}:{:02}", s / 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(ends: [&str; 4]) -> ConnStatus {
        let [client, virtual_, local, dest] = ends.map(str::to_owned);
        ConnStatus {
            protocol: "tcp".into(),
            client,
            virtual_,
            local,
            dest,
            state: "ESTABLISHED".into(),
            expires_seconds: 899.9,
            forward: "fullnat".into(),
            lent: false,
            worker: 3,
            service: None,
        }
    }

    #[test]
    fn both_tuples_stand_below_each_other() {
        let ends = ["10.1.0.1:40000", "10.1.0.100:80", "10.2.0.100:1025", "10.2.0.11:80"];
        let expected = "\
tcp   14:59 ESTABLISHED 10.1.0.1:40000 -> 10.1.0.100:80                 3
                        10.2.0.100:1025 -> 10.2.0.11:80                 fullnat
";
        assert_eq!(row(&conn(ends)), expected);
    }

    #[test]
    fn the_longest_ends_fit_80_columns() {
        let v4 = ["255.255.255.255:65535"; 4];
        let v6 = ["[2001:db8:1111:2222:3333:4444:5555:6666]:65535"; 4];
        for ends in [v4, v6] {
            let lent = ConnStatus { lent: true, state: "SYN_RECV".into(), ..conn(ends) };
            for text in [row(&lent), row(&conn(ends)), format!("{HEAD}\n")] {
                assert!(text.lines().all(|l| l.len() <= WIDTH), "{text}");
                assert!(!text.contains("  \n") && text.ends_with('\n'), "{text}");
            }
        }
        assert!(row(&conn(v6)).contains("\n                        -> [2001"));
    }
}
