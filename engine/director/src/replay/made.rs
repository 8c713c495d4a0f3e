//! A configuration made up from the options, so that none is needed.

use super::args::Forward;
use pointsman_config::Config;
use pointsman_config::Errors;
use pointsman_config::Severity;
use std::fmt::Write;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

/// VIPs where none is given (RFC 5737, RFC 3849), and the port.
const VIP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 80);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// Names of its services' pool and ports do not matter; its networks are those of benchmarks
/// (RFC 2544), which captures seldom hold.
const FIXED: &str = r#"
# Of the captures conversations are to go through whole (RFC 5382, REQ-5: two hours and four minutes).
[timeouts]
tcp_established = 7440

[[port]]
name = "wan"
device = "net_null0"
addresses = ["198.18.0.1/24", "2001:db8:ffff:1::1/64"]
gateway = ["198.18.0.2", "2001:db8:ffff:1::2"]

# Room for a tunnel's header.
[[port]]
name = "lan"
device = "net_null1"
addresses = ["198.19.0.1/16", "2001:db8:ffff:2::1/64"]
mtu = 1600

[[pool]]
name = "local"
addresses = ["198.19.255.1-198.19.255.16", "2001:db8:ffff:2::ffff:1-2001:db8:ffff:2::ffff:10"]
"#;

/// A VIP and port that conversations are mapped to, for both protocols or one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Vip {
    pub(super) at: SocketAddr,
    /// None: both.
    pub(super) tcp: Option<bool>,
}

impl std::str::FromStr for Vip {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (at, tcp) = match text.rsplit_once('/') {
            Some((at, proto)) if proto.eq_ignore_ascii_case("tcp") => (at, Some(true)),
            Some((at, proto)) if proto.eq_ignore_ascii_case("udp") => (at, Some(false)),
            Some((_, other)) => return Err(format!("protocol \"{other}\": give tcp or udp")),
            None => (text, None),
        };
        let at: SocketAddr = at.parse().map_err(|_| {
            format!(
                "\"{at}\" is no address and port\n  \
                 give one such as 192.0.2.1:80 or [2001:db8::1]:80"
            )
        })?;
        if at.port() == 0 {
            return Err("\"0\" is not a port number\n  give 1 to 65535".into());
        }
        Ok(Self { at, tcp })
    }
}

impl std::fmt::Display for Vip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let proto = self.tcp.map_or("", |tcp| if tcp { "/tcp" } else { "/udp" });
        write!(f, "{}{proto}", self.at)
    }
}

/// What it is made from.
pub(super) struct Wanted<'a> {
    pub(super) vips: &'a [Vip],
    pub(super) forward: Forward,
    pub(super) scheduler: &'a str,
    pub(super) dests: u32,
    pub(super) conns: u32,
}

/// The text of the configuration.
pub(super) fn text(wanted: &Wanted<'_>) -> String {
    let mut out = format!("[director]\nconns = {}\n{FIXED}", wanted.conns);
    let mut vips = wanted.vips.to_vec();
    if vips.is_empty() {
        vips.push(Vip { at: VIP, tcp: None });
    }
    // Conversations of a family that has no VIP get one, with the first one's port.
    let port = vips[0].at.port();
    let likewise = |ip: IpAddr| Vip { at: SocketAddr::new(ip, port), tcp: vips[0].tcp };
    let further = [(true, VIP.ip()), (false, IpAddr::V6(VIP6))];
    let missing: Vec<_> = further
        .iter()
        .filter(|(v4, _)| vips.iter().all(|v| v.at.is_ipv4() != *v4))
        .map(|(_, ip)| likewise(*ip))
        .collect();
    for vip in vips.iter().chain(&missing) {
        for tcp in [true, false] {
            if vip.tcp.is_none_or(|only| only == tcp) {
                service(&mut out, wanted, vip.at, tcp);
            }
        }
    }
    out
}

/// The configuration.
///
/// # Errors
/// In words, what the options ask for that cannot be.
pub(super) fn config(wanted: &Wanted<'_>) -> Result<Config, String> {
    for (n, vip) in wanted.vips.iter().enumerate() {
        let is_same =
            |v: &&Vip| v.at == vip.at && (v.tcp == vip.tcp || v.tcp.xor(vip.tcp).is_some());
        if let Some(same) = wanted.vips[..n].iter().find(is_same) {
            return Err(format!("--map {vip}: --map {same} has it already: leave one out"));
        }
    }
    let parsed = pointsman_config::parse("the options", &text(wanted));
    Ok(parsed.map_err(|e| said(wanted, &e))?.0)
}

/// What is wrong with the text, which nobody sees, as what is wrong with an option. The same is wrong
/// with each service that is made: the first error is enough.
fn said(wanted: &Wanted<'_>, errors: &Errors) -> String {
    let mut found = errors.diagnostics().iter().filter(|d| d.severity == Severity::Error);
    let Some(d) = found.next() else { return errors.to_string() };
    let names = |vip: &&Vip| {
        let ip = vip.at.ip().to_string();
        d.message.split([' ', ',']).any(|word| word == ip)
    };
    let vip = wanted.vips.iter().find(names);
    let option = match vip {
        Some(vip) => format!("--map {vip}"),
        None if d.line_text.starts_with("scheduler") => format!("--scheduler {}", wanted.scheduler),
        None => "the options".into(),
    };
    let help = match vip {
        Some(vip) if is_made_up(vip.at.ip()) => Some(
            "198.18.0.0/15 and 2001:db8:ffff::/48 have the made-up hosts: give another address",
        ),
        _ => d.help.as_deref(),
    };
    let help = help.map_or(String::new(), |help| format!("\n  {help}"));
    format!("{option}: {}{help}", d.message)
}

/// Whether an address is of the networks of `FIXED`.
fn is_made_up(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => addr.octets()[0] == 198 && addr.octets()[1] & 0xfe == 18,
        IpAddr::V6(addr) => addr.segments()[..3] == [0x2001, 0xdb8, 0xffff],
    }
}

fn service(out: &mut String, wanted: &Wanted<'_>, vip: SocketAddr, tcp: bool) {
    let protocol = if tcp { "tcp" } else { "udp" };
    let forward = wanted.forward.name();
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "\n[[service]]\naddress = \"{vip}\"\nprotocol = \"{protocol}\"\nforward = \"{forward}\"\n\
         scheduler = \"{}\"\n",
        wanted.scheduler
    );
    if wanted.forward == Forward::Fullnat {
        out.push_str("pool = \"local\"\n");
    }
    match tcp {
        // What the dest said in the capture is what the client gets, refusals too.
        true if matches!(wanted.forward, Forward::Fullnat | Forward::Nat) => {
            out.push_str("retries = 0\n");
        }
        true => {}
        false => out.push_str("udp_timeout = 300\n"),
    }
    for n in 0..wanted.dests {
        let dest = match vip.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(0xc613_0100 + n)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(
                0x2001_0db8_ffff_0002_0000_0000_0001_0000_u128 + u128::from(n),
            )),
        };
        let at = SocketAddr::new(dest, vip.port());
        let _ = write!(out, "\n[[service.dest]]\naddress = \"{at}\"\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_served_in_both_families_and_protocols() {
        for forward in [Forward::Fullnat, Forward::Nat, Forward::Dr, Forward::Tunnel] {
            let vips = ["203.0.113.9:8080".parse().unwrap()];
            let wanted = Wanted { vips: &vips, forward, scheduler: "rr", dests: 3, conns: 5000 };
            let config = config(&wanted).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(config.services.len(), 4);
            assert!(config.services.iter().all(|s| s.address.port() == 8080 && s.dests.len() == 3));
        }
    }

    #[test]
    fn what_is_wrong_is_said_of_the_option() {
        let of = |maps: &[&str], scheduler: &str| {
            let vips: Vec<Vip> = maps.iter().map(|m| m.parse().unwrap()).collect();
            let (forward, dests, conns) = (Forward::Fullnat, 4, 5000);
            config(&Wanted { vips: &vips, forward, scheduler, dests, conns }).err()
        };
        let cases: [(&[&str], &str, &str); 7] = [
            (&[], "wlcc", "--scheduler wlcc: unknown scheduler \"wlcc\"\n  expected one of rr, "),
            (&["224.0.0.1:80"], "rr", "--map 224.0.0.1:80: 224.0.0.1 is a multicast address\n  "),
            (&["[fe80::1]:80/udp"], "rr", "--map [fe80::1]:80/udp: fe80::1 is link-local\n  "),
            (
                &["192.0.2.1:80", "198.19.255.3:80"],
                "rr",
                "--map 198.19.255.3:80: 198.19.255.3 is a VIP\n  198.18.0.0/15 and ",
            ),
            (&["198.19.1.0:80"], "rr", "--map 198.19.1.0:80: dest 198.19.1.0 is a VIP\n  198.18."),
            (
                &["192.0.2.1:80", "192.0.2.1:80/tcp"],
                "rr",
                "--map 192.0.2.1:80/tcp: --map 192.0.2.1:80 has it already: leave one out",
            ),
            (&["192.0.2.1:80", "192.0.2.1:80"], "rr", "--map 192.0.2.1:80: --map 192.0.2.1:80 has"),
        ];
        for (maps, scheduler, why) in cases {
            let said = of(maps, scheduler).unwrap();
            assert!(said.starts_with(why), "{said}");
            assert!(!said.contains(" | ") && said.lines().count() <= 2, "{said}");
        }
        assert_eq!(of(&["192.0.2.1:80/udp", "192.0.2.1:80/tcp", "192.0.2.1:81"], "rr"), None);
        assert_eq!("192.0.2.1:0".parse::<Vip>().err().unwrap().lines().count(), 2);
    }

    #[test]
    fn one_protocol_may_be_named() {
        let vip: Vip = "[2001:db8::5]:53/udp".parse().unwrap();
        let wanted =
            Wanted { vips: &[vip], forward: Forward::Nat, scheduler: "rr", dests: 1, conns: 5000 };
        let config = config(&wanted).unwrap();
        assert_eq!(config.services.len(), 2);
        assert!(
            "1.2.3.4:5/UDP".parse::<Vip>().is_ok()
                && "1.2.3.4:5/sctp".parse::<Vip>().is_err()
                && "1.2.3.4".parse::<Vip>().is_err()
        );
    }
}
