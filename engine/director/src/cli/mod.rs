//! The command line.

mod check;
mod conns;
mod generate;
mod logging;
mod machine;
pub(crate) mod progress;
pub(crate) mod render;
mod run;
pub(crate) mod stop;

use crate::control::socket;
use crate::control::socket::Request;
use crate::control::status::Status;
use clap::Args;
use clap::Parser;
use clap::Subcommand;
use generate::Done;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Where the configuration is unless said otherwise.
const CONFIG: &str = "/etc/pointsman/pointsman.toml";
/// Where the socket is unless said otherwise; the configuration's default.
const SOCKET: &str = "/run/pointsman/pointsman.sock";

/// Pointsman: a userland layer-4 director on DPDK.
#[derive(Parser, Debug)]
#[command(name = "pointsman", version, about, max_term_width = 80, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve, in the foreground, until SIGTERM; SIGHUP reloads
    Run {
        /// The configuration
        #[arg(short, long, value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
        /// What to log: error, warn, info, debug, trace, or as RUST_LOG
        #[arg(long, value_name = "LEVEL")]
        log: Option<String>,
    },
    /// Check a configuration without opening any port
    Check {
        /// The configuration
        #[arg(value_name = "FILE", default_value = CONFIG)]
        file: PathBuf,
    },
    /// Feed captures through a director in memory; needs no root and no NIC
    Replay(Box<crate::replay::Args>),
    /// Write a capture of made traffic
    Generate(generate::Args),
    /// Show what a running director does
    Status {
        /// All of it, for programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: At,
    },
    /// List the conns of a running director, with both tuples
    Conns(conns::Args),
    /// Have a running director read its configuration again
    Reload {
        #[command(flatten)]
        at: At,
    },
    /// Announce a VIP by gratuitous ARP or neighbour advertisements
    Announce {
        /// The VIP; without, all of them
        #[arg(value_name = "VIP")]
        vip: Option<IpAddr>,
        #[command(flatten)]
        at: At,
    },
}

/// Which director is asked.
#[derive(Args, Debug)]
struct At {
    /// Its control socket (director.socket)
    #[arg(short, long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
}

/// Does what the arguments say. Exits 0 when done, 1 when that failed, 2 for wrong usage.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run { config, log } => run::run(&config, log.as_deref()),
        Command::Check { file } => check::check(&file),
        Command::Replay(args) => return crate::replay::replay(&args, say),
        Command::Status { json, at } => status(&at, json),
        Command::Generate(args) => match generate::generate(&args) {
            Ok(Done::Stopped) => return ExitCode::from(stop::STOPPED),
            Ok(Done::All) => Ok(()),
            Err(why) => Err(why),
        },
        Command::Conns(args) => conns::conns(&args),
        Command::Reload { at } => tell(&at, &Request::Reload),
        Command::Announce { vip, at } => tell(&at, &Request::Announce { vip }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn status(at: &At, json: bool) -> Result<(), String> {
    let answer = socket::ask(&at.socket, &Request::Status)?;
    if json {
        let text = serde_json::to_string_pretty(&answer).map_err(|e| e.to_string())?;
        return say(&text);
    }
    let status: Status = serde_json::from_value(answer)
        .map_err(|e| format!("the running director is another version, use --json: {e}"))?;
    say(render::status(&status).trim_end())
}

fn tell(at: &At, request: &Request) -> Result<(), String> {
    let answer = socket::ask(&at.socket, request)?;
    say(answer.get("result").and_then(|r| r.as_str()).unwrap_or("done"))
}

/// To standard output; a reader that left early (`| head`) is no error.
fn say(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(format!("standard output: cannot be written: {e}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_sound_and_defaults_agree_with_the_configuration() {
        Cli::command().debug_assert();
        let minimal = "[[port]]\nname='p'\ndevice='net_null0'\naddresses=['10.0.0.1/24']\n";
        let (config, _) = pointsman_config::parse("t", minimal).unwrap();
        assert_eq!(config.director.socket.to_str(), Some(SOCKET));
    }
}
