//! The words of `pointsman conns FILTER`.

use super::Names;
use pointsman_dataplane::conn::State;
use pointsman_dataplane::conn::list::CLIENT;
use pointsman_dataplane::conn::list::DEST;
use pointsman_dataplane::conn::list::Filter;
use pointsman_dataplane::conn::list::LOCAL;
use pointsman_dataplane::conn::list::TERMS;
use pointsman_dataplane::conn::list::Term;
use pointsman_dataplane::conn::list::VIRTUAL;
use pointsman_dataplane::service::Forward;
use pointsman_dataplane::tuple::Addr;
use pointsman_dataplane::tuple::Prefix;
use pointsman_dataplane::tuple::Proto;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;

/// Ends, by the words for their address and for their port.
const ENDS: [(&str, &str, u8); 4] = [
    ("caddr", "cport", CLIENT),
    ("vaddr", "vport", VIRTUAL),
    ("laddr", "lport", LOCAL),
    ("daddr", "dport", DEST),
];
/// What people say, too.
const ALIASES: [(&str, &str); 5] = [
    ("client", "caddr"),
    ("vip", "vaddr"),
    ("virtual", "vaddr"),
    ("local", "laddr"),
    ("dest", "daddr"),
];
const KEYS: &str = "\
    caddr, vaddr, laddr, daddr = ADDR, ADDR/LEN or ADDR:PORT ([ADDR]:PORT for IPv6); \
    cport, vport, lport, dport = PORT; service = NAME or VIP:PORT; state = ESTABLISHED, ...; \
    proto = tcp, udp, sctp, icmp or icmpv6; forward = fullnat, nat, dr or tunnel; or ADDR, ADDR/LEN, ADDR:PORT alone, \
    which any end may be";
/// Services named where one is unknown.
const NAMED: usize = 8;

/// The terms of a filter; all must hold.
pub(super) fn parse(words: &[String], names: &Names) -> Result<Filter, String> {
    let mut terms = Filter::new();
    for word in words {
        let parsed = match word.split_once('=') {
            None => end(CLIENT | VIRTUAL | LOCAL | DEST, word).map(|t| [Some(t), None]),
            Some((key, value)) => keyed(key.trim(), value.trim(), names),
        };
        for term in parsed.map_err(|why| format!("{word:?}: {why}"))?.into_iter().flatten() {
            let full = |_| format!("{word:?}: a filter has at most {TERMS} terms");
            terms.try_push(term).map_err(full)?;
        }
    }
    Ok(terms)
}

fn keyed(key: &str, value: &str, names: &Names) -> Result<[Option<Term>; 2], String> {
    let key = ALIASES.iter().find(|(alias, _)| *alias == key).map_or(key, |(_, key)| key);
    if let Some((_, _, which)) = ENDS.iter().find(|(addr, _, _)| *addr == key) {
        return end(*which, value).map(|term| [Some(term), None]);
    }
    if let Some((_, _, which)) = ENDS.iter().find(|(_, port, _)| *port == key) {
        let port = value.parse().map_err(|_| "no port: expected 0 to 65535".to_owned())?;
        return Ok([Some(Term::End(*which, None, Some(port))), None]);
    }
    let term = match key {
        "service" => return service(value, names),
        "proto" | "protocol" => match value.to_ascii_lowercase().as_str() {
            "tcp" => Term::Proto(Proto::Tcp),
            "udp" => Term::Proto(Proto::Udp),
            "sctp" => Term::Proto(Proto::Sctp),
            "icmp" => Term::Proto(Proto::Icmp),
            "icmpv6" => Term::Proto(Proto::Icmpv6),
            _ => return Err("no protocol: there are tcp, udp, sctp, icmp and icmpv6".into()),
        },
        "state" => Term::State(by_name("state", value, states(), State::name)?),
        "forward" => {
            const ALL: [Forward; 4] =
                [Forward::FullNat, Forward::Nat, Forward::Dr, Forward::Tunnel];
            Term::Forward(by_name("forwarding method", value, ALL.into_iter(), Forward::name)?)
        }
        _ => return Err(format!("no such key; there are: {KEYS}")),
    };
    Ok([Some(term), None])
}

fn states() -> impl Iterator<Item = State> + Clone {
    let all = (0..State::COUNT as u8).map(State::from_number);
    // It is of the same name as TCP's, which finds both.
    all.filter(|state| *state != State::SctpEstablished)
}

fn by_name<T: Copy>(
    what: &str,
    value: &str,
    all: impl Iterator<Item = T> + Clone,
    name: impl Fn(T) -> &'static str,
) -> Result<T, String> {
    all.clone().find(|one| name(*one).eq_ignore_ascii_case(value)).ok_or_else(|| {
        let names: Vec<_> = all.map(name).collect();
        format!("no {what}: there are {}", names.join(", "))
    })
}

/// A service's or a rule's dests; by its VIP and port of either protocol.
fn service(value: &str, names: &Names) -> Result<[Option<Term>; 2], String> {
    let exactly = |addr: Addr, port| Term::End(VIRTUAL, Some(Prefix::new(addr, 128)), Some(port));
    if let Some((_, dests)) = names.all.iter().find(|(name, _)| name == value) {
        return Ok([Some(Term::Dests(Arc::clone(dests))), None]);
    }
    if let Ok(vip) = value.parse::<SocketAddr>() {
        return Ok([Some(exactly(vip.ip().into(), vip.port())), None]);
    }
    let mut names: Vec<_> = names.all.iter().map(|(name, _)| format!("{name:?}")).collect();
    names.sort_unstable();
    let rest = if names.len() > NAMED { ", ..." } else { "" };
    names.truncate(NAMED);
    let there = if names.is_empty() { "none".into() } else { names.join(", ") };
    Err(format!("no such service; there are {there}{rest}; or say VIP:PORT"))
}

/// `ADDR`, `ADDR/LEN` or `ADDR:PORT`.
fn end(which: u8, text: &str) -> Result<Term, String> {
    let no_address = || format!("no address; there are: {KEYS}");
    if let Ok(at) = text.parse::<SocketAddr>() {
        let whole = Prefix::new(at.ip().into(), 128);
        return Ok(Term::End(which, Some(whole), Some(at.port())));
    }
    let (addr, len) = match text.split_once('/') {
        None => (text, None),
        Some((addr, len)) => (addr, Some(len)),
    };
    let addr: IpAddr = addr.parse().map_err(|_| no_address())?;
    let most = if addr.is_ipv4() { 32 } else { 128 };
    let len = match len {
        None => most,
        Some(len) => {
            let len = len.parse().ok().filter(|len| *len <= most);
            len.ok_or_else(|| format!("no prefix length: expected 0 to {most}"))?
        }
    };
    Ok(Term::End(which, Some(Prefix::new(addr.into(), len)), None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pointsman_dataplane::service::DestId;

    fn parsed(text: &str) -> Result<Vec<Term>, String> {
        let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
        let mut names = Names::default();
        names.add("dns", Arc::from([DestId(3), DestId(4)]));
        names.add("out", Arc::from([DestId(7)]));
        parse(&words, &names).map(|terms| terms.to_vec())
    }

    fn prefix(text: &str, len: u8) -> Option<Prefix> {
        Some(Prefix::new(text.parse::<IpAddr>().unwrap().into(), len))
    }

    #[test]
    fn words_are_terms() {
        let any = CLIENT | VIRTUAL | LOCAL | DEST;
        let cases = [
            ("caddr=10.1.0.0/16", Term::End(CLIENT, prefix("10.1.0.0", 16), None)),
            ("laddr=10.2.0.100:20001", Term::End(LOCAL, prefix("10.2.0.100", 32), Some(20001))),
            ("dest=[2001:db8::2]:80", Term::End(DEST, prefix("2001:db8::2", 128), Some(80))),
            ("vip=2001:db8::/32", Term::End(VIRTUAL, prefix("2001:db8::", 32), None)),
            ("lport=1025", Term::End(LOCAL, None, Some(1025))),
            ("10.1.0.1", Term::End(any, prefix("10.1.0.1", 32), None)),
            ("10.1.0.1:80", Term::End(any, prefix("10.1.0.1", 32), Some(80))),
            ("proto=UDP", Term::Proto(Proto::Udp)),
            ("proto=sctp", Term::Proto(Proto::Sctp)),
            ("proto=icmp", Term::Proto(Proto::Icmp)),
            ("service=out", Term::Dests(Arc::from([DestId(7)]))),
            ("service=dns", Term::Dests(Arc::from([DestId(3), DestId(4)]))),
            ("state=time_wait", Term::State(State::TimeWait)),
            ("forward=dr", Term::Forward(Forward::Dr)),
        ];
        for (text, term) in cases {
            assert_eq!(parsed(text), Ok(vec![term]), "{text}");
        }
        let virtual_ = Term::End(VIRTUAL, prefix("10.1.0.100", 32), Some(53));
        assert_eq!(parsed("service=10.1.0.100:53"), Ok(vec![virtual_]));
        assert_eq!(parsed("10.1.0.1 proto=tcp").unwrap().len(), 2);
    }

    #[test]
    fn a_mistyped_filter_says_what_there_is() {
        for (text, said) in [
            ("cadr=10.1.0.1", "\"cadr=10.1.0.1\": no such key; there are: caddr, vaddr"),
            ("state=ESTAB", "no state: there are NONE, ESTABLISHED, SYN_SENT"),
            ("proto=gre", "there are tcp, udp, sctp, icmp and icmpv6"),
            ("forward=masq", "there are fullnat, nat, dr, tunnel"),
            ("lport=65536", "expected 0 to 65535"),
            ("caddr=10.1.0.0/33", "expected 0 to 32"),
            ("10.1.0", "\"10.1.0\": no address; there are: caddr"),
            ("service=dsn", "no such service; there are \"dns\", \"out\"; or say VIP:PORT"),
        ] {
            let why = parsed(text).unwrap_err();
            assert!(why.contains(said), "{text}: {why}");
        }
        let many = ["10.1.0.1"; TERMS + 1].join(" ");
        assert!(parsed(&many).unwrap_err().contains("at most 8 terms"));
    }
}
