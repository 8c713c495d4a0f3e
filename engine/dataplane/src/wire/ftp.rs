//! FTP's control conns (RFC 959, RFC 2428): the lines that say where a data conn is to go.
//!
//! As in the kernel (`ip_vs_ftp`) only lines are read that one segment holds: PASV and EPSV of the
//! client with the server's answers 227 and 229, PORT and EPRT of the client.

use crate::tuple::Addr;
use arrayvec::ArrayString;
use arrayvec::ArrayVec;
use core::fmt::Write as _;
use core::net::IpAddr;
use core::net::Ipv4Addr;
use core::net::Ipv6Addr;

/// What the longest of them take: an IPv6 address, a delimiter and a port.
pub const LONGEST: usize = 39 + 1 + 5;

/// How an address and a port are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `h1,h2,h3,h4,p1,p2` (PORT, 227).
    Commas,
    /// Address and port with this between them (EPRT).
    Extended(u8),
    /// A port alone (229).
    Port,
}

impl Form {
    /// Itself as two numbers.
    pub(crate) fn numbers(self) -> (u8, u8) {
        match self {
            Self::Commas => (0, 0),
            Self::Extended(delimiter) => (1, delimiter),
            Self::Port => (2, 0),
        }
    }

    pub(crate) fn from_numbers(form: u8, delimiter: u8) -> Self {
        match form {
            0 => Self::Commas,
            1 => Self::Extended(delimiter),
            _ => Self::Port,
        }
    }

    /// An address and a port as it has them. A v6 address has no commas: nothing.
    pub fn write(self, addr: Addr, port: u16) -> ArrayVec<u8, LONGEST> {
        let mut text = ArrayString::<LONGEST>::new();
        let ip = IpAddr::from(addr);
        // It has room for the longest.
        let _ = match (self, ip) {
            (Self::Commas, IpAddr::V4(v4)) => {
                let ([a, b, c, d], [p, q]) = (v4.octets(), port.to_be_bytes());
                write!(text, "{a},{b},{c},{d},{p},{q}")
            }
            (Self::Commas, _) => Ok(()),
            (Self::Extended(delimiter), _) => write!(text, "{ip}{}{port}", delimiter as char),
            (Self::Port, _) => write!(text, "{port}"),
        };
        text.bytes().collect()
    }
}

/// What a client may ask a server for: a port to connect to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Asked {
    /// PASV, answered by 227.
    Pasv = 1,
    /// EPSV, answered by 229.
    Epsv = 2,
}

impl Asked {
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        [Self::Pasv, Self::Epsv].into_iter().find(|asked| *asked as u8 == number)
    }
}

/// Where a segment's data says an address and a port, and which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its first byte.
    pub at: usize,
    /// Bytes.
    pub len: usize,
    /// How.
    pub form: Form,
    /// The address; none where only a port is said.
    pub addr: Option<Addr>,
    /// The port.
    pub port: u16,
}

/// What a client says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Asks for a port.
    Ask(Asked),
    /// Tells where the server is to connect to.
    Tell(Place),
}

/// The last such command in a client's data.
pub fn command(data: &[u8]) -> Option<Command> {
    lines(data).filter_map(|(at, line)| read_command(at, line)).last()
}

/// The server's answer to what it was asked, in its data.
pub fn answer(data: &[u8], asked: Asked) -> Option<Place> {
    lines(data).find_map(|(at, line)| match asked {
        Asked::Pasv => read_227(line).map(|place| place.behind(at)),
        Asked::Epsv => read_229(line).map(|place| place.behind(at)),
    })
}

impl Place {
    fn behind(self, at: usize) -> Self {
        Self { at: self.at + at, ..self }
    }
}

/// The whole lines in it, without their ends, each with its place.
fn lines(data: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let len = data[at..].iter().position(|b| *b == b'\n')?;
        let (from, line) = (at, &data[at..at + len]);
        at += len + 1;
        Some((from, line.strip_suffix(b"\r").unwrap_or(line)))
    })
}

fn read_command(at: usize, line: &[u8]) -> Option<Command> {
    let (verb, rest) = line.split_at_checked(4)?;
    let is = |name: &[u8]| verb.eq_ignore_ascii_case(name);
    // "EPSV 1" and "EPSV 2" ask for a family's port, "EPSV ALL" for none.
    let argument = rest.trim_ascii();
    if is(b"PASV") && argument.is_empty() {
        return Some(Command::Ask(Asked::Pasv));
    }
    if is(b"EPSV") && (argument.is_empty() || matches!(argument, b"1" | b"2")) {
        return Some(Command::Ask(Asked::Epsv));
    }
    if rest.first() != Some(&b' ') {
        return None;
    }
    let start = line.len() - rest.trim_ascii_start().len();
    let place = if is(b"PORT") {
        read_commas(argument)?
    } else if is(b"EPRT") {
        read_eprt(argument)?
    } else {
        return None;
    };
    Some(Command::Tell(place.behind(at + start)))
}

/// `227 Entering Passive Mode (h1,h2,h3,h4,p1,p2).`; the numbers are wherever the first digit is
/// (RFC 1123 section 4.1.2.6).
fn read_227(line: &[u8]) -> Option<Place> {
    let text = line.strip_prefix(b"227 ")?;
    let at = text.iter().position(u8::is_ascii_digit)?;
    let len = text[at..].iter().take_while(|b| b.is_ascii_digit() || **b == b',').count();
    Some(read_commas(&text[at..at + len])?.behind(4 + at))
}

/// `229 Entering Extended Passive Mode (|||port|)` with any delimiter.
fn read_229(line: &[u8]) -> Option<Place> {
    let text = line.strip_prefix(b"229 ")?;
    let open = text.iter().position(|b| *b == b'(')?;
    let [d, e, f, rest @ ..] = &text[open + 1..] else { return None };
    let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if (d, d) != (e, f) || rest.get(len) != Some(d) || rest.get(len + 1) != Some(&b')') {
        return None;
    }
    let port = port_of(&rest[..len])?;
    Some(Place { at: 4 + open + 4, len, form: Form::Port, addr: None, port })
}

/// `h1,h2,h3,h4,p1,p2` and nothing else.
fn read_commas(text: &[u8]) -> Option<Place> {
    let mut parts = text.split(|b| *b == b',');
    let mut bytes = [0; 6];
    for byte in &mut bytes {
        *byte = u8::try_from(number(parts.next()?)?).ok()?;
    }
    let [a, b, c, d, p, q] = bytes;
    let port = u16::from_be_bytes([p, q]);
    if parts.next().is_some() || port == 0 {
        return None;
    }
    let addr = Some(Addr::v4(u32::from_be_bytes([a, b, c, d])));
    Some(Place { at: 0, len: text.len(), form: Form::Commas, addr, port })
}

/// `|family|address|port|` with any delimiter, and nothing else.
fn read_eprt(text: &[u8]) -> Option<Place> {
    let (delimiter, rest) = text.split_first()?;
    let rest = rest.strip_suffix(&[*delimiter])?;
    let mut parts = rest.split(|b| b == delimiter);
    let [family, address, port] = [parts.next()?, parts.next()?, parts.next()?];
    if parts.next().is_some() {
        return None;
    }
    let text = core::str::from_utf8(address).ok()?;
    let addr = match family {
        b"1" => text.parse::<Ipv4Addr>().ok().map(|ip| IpAddr::from(ip).into()),
        b"2" => text.parse::<Ipv6Addr>().ok().map(|ip| IpAddr::from(ip).into()),
        _ => None,
    };
    let (at, len) = (1 + family.len() + 1, address.len() + 1 + port.len());
    let port = port_of(port)?;
    Some(Place { at, len, form: Form::Extended(*delimiter), addr: Some(addr?), port })
}

fn port_of(digits: &[u8]) -> Option<u16> {
    u16::try_from(number(digits)?).ok().filter(|port| *port > 0)
}

/// A number of one to five digits.
fn number(digits: &[u8]) -> Option<u32> {
    let is_number = (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addr(text: &str) -> Addr {
        text.parse::<IpAddr>().unwrap().into()
    }

    /// What it says, as its own bytes, its address and its port.
    fn said(data: &[u8], place: Place) -> (String, Option<Addr>, u16) {
        let bytes = &data[place.at..place.at + place.len];
        (String::from_utf8(bytes.to_vec()).unwrap(), place.addr, place.port)
    }

    #[test]
    fn where_the_server_is_to_connect_to() {
        let v4 = Some(addr("192.0.2.7"));
        for (data, text, at, port) in [
            ("PORT 192,0,2,7,156,64\r\n", "192,0,2,7,156,64", v4, 40_000),
            ("port  192,0,2,7,0,21 \n", "192,0,2,7,0,21", v4, 21),
            ("TYPE I\r\nPORT 192,0,2,7,156,64\r\nLIST\r\n", "192,0,2,7,156,64", v4, 40_000),
            ("EPRT |1|192.0.2.7|40000|\r\n", "192.0.2.7|40000", v4, 40_000),
            ("eprt !2!2001:db8::7!6!\r\n", "2001:db8::7!6", Some(addr("2001:db8::7")), 6),
        ] {
            let Some(Command::Tell(place)) = command(data.as_bytes()) else { panic!("{data}") };
            assert_eq!(said(data.as_bytes(), place), (text.into(), at, port));
        }
    }

    #[test]
    fn where_the_client_is_to_connect_to() {
        let v4 = Some(addr("10.1.0.11"));
        for (asked, data, text, at, port) in [
            (
                Asked::Pasv,
                "227 Entering Passive Mode (10,1,0,11,200,1).\r\n",
                "10,1,0,11,200,1",
                v4,
                51_201,
            ),
            (
                Asked::Pasv,
                "227 Entering Passive Mode 10,1,0,11,200,1\r\n",
                "10,1,0,11,200,1",
                v4,
                51_201,
            ),
            (Asked::Pasv, "200 ok\r\n227 =10,1,0,11,4,1\n", "10,1,0,11,4,1", v4, 1025),
            (Asked::Epsv, "229 Entering Extended Passive Mode (|||6446|)\r\n", "6446", None, 6446),
            (Asked::Epsv, "229 mode (!!!65535!)\r\n", "65535", None, 65_535),
        ] {
            let place = answer(data.as_bytes(), asked).unwrap();
            assert_eq!(said(data.as_bytes(), place), (text.into(), at, port));
            let other = if asked == Asked::Pasv { Asked::Epsv } else { Asked::Pasv };
            assert_eq!(answer(data.as_bytes(), other), None);
        }
    }

    #[test]
    fn what_a_client_asks_for() {
        for (data, asked) in [
            ("PASV\r\n", Asked::Pasv),
            ("pasv\n", Asked::Pasv),
            ("EPSV\r\n", Asked::Epsv),
            ("EPSV 2\r\n", Asked::Epsv),
            ("CWD /\r\nEPSV\r\n", Asked::Epsv),
        ] {
            assert_eq!(command(data.as_bytes()), Some(Command::Ask(asked)), "{data}");
        }
    }

    #[test]
    fn malformed_lines_say_nothing() {
        for data in [
            "",
            "\r\n",
            "PORT\r\n",
            "PASV",
            "PORT 1,2,3,4,5,6",
            "PORT 1,2,3,4,5\r\n",
            "EPSV ALL\r\n",
            "PORT 1,2,3,4,5,256\r\n",
            "PORT 1,2,3,4,0,0\r\n",
            "PORT 1,2,3,4,5,6,7\r\n",
            "PASVX\r\n",
            "PORT 1,2,,4,5,6\r\n",
            "PORTS 1,2,3,4,5,6\r\n",
            "EPRT |1|1.2.3.4|5\r\n",
            "EPRT\r\n",
            "EPRT |3|1.2.3.4|5|\r\n",
            "EPRT |1|::1|5|\r\n",
            "EPRT |2|1.2.3.4|5|\r\n",
            "EPRT |1|1.2.3.4|0|\r\n",
            "EPRT |1|1.2.3.4|65536|\r\n",
            "EPRT ||||\r\n",
            "EPRT |\r\n",
            "EPRT |1|1.2.3.4|5|6|\r\n",
            "RETR PORT 1,2,3,4,5,6\r\n",
            "XPORT 1,2,3,4,5,6\r\n",
        ] {
            assert_eq!(command(data.as_bytes()), None, "{data:?}");
        }
        for data in [
            "227 Entering Passive Mode (1,2,3,4,5,6)",
            "227-(1,2,3,4,5,6)\r\n",
            "227 (1,2,3,4,5)\r\n",
            "227 (1,2,3,4,5,256)\r\n",
            "227 no\r\n",
            "x227 (1,2,3,4,5,6)\r\n",
            "227 \r\n",
            "227\r\n",
        ] {
            assert_eq!(answer(data.as_bytes(), Asked::Pasv), None, "{data:?}");
        }
        for data in [
            "229 (|||6446|)",
            "229 (|||6446|\r\n",
            "229 (||6446|)\r\n",
            "229 (|||0|)\r\n",
            "229 (|||)\r\n",
            "229 (|||65536|)\r\n",
            "229 (||!6446|)\r\n",
            "229 |||6446|\r\n",
            "229 (\r\n",
            "229 (|||6446\r\n",
        ] {
            assert_eq!(answer(data.as_bytes(), Asked::Epsv), None, "{data:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(ip in any::<IpAddr>(), port in 1u16.., delimiter in prop_oneof![Just(b'|'), Just(b'!'), Just(b'/')]) {
            let addr = Addr::from(ip);
            let ip = IpAddr::from(addr);
            let number = if ip.is_ipv4() { 1 } else { 2 };
            let text = Form::Extended(delimiter).write(addr, port);
            let d = delimiter as char;
            let line = format!("EPRT {d}{number}{d}{}{d}\r\n", core::str::from_utf8(&text).unwrap());
            let Some(Command::Tell(place)) = command(line.as_bytes()) else { panic!("{line}") };
            prop_assert_eq!((place.addr, place.port), (Some(addr), port));
            prop_assert_eq!(place.len, text.len());
            let line = [b"229 (|||", &Form::Port.write(addr, port)[..], b"|)\n"].concat();
            prop_assert_eq!(answer(&line, Asked::Epsv).map(|place| place.port), Some(port));
            let text = Form::Commas.write(addr, port);
            prop_assert_eq!(text.is_empty(), ip.is_ipv6());
            let line = [b"227 (", &text[..], b")\n"].concat();
            let said = answer(&line, Asked::Pasv).map(|place| (place.addr, place.port));
            prop_assert_eq!(said, ip.is_ipv4().then_some((Some(addr), port)));
        }

        #[test]
        fn nothing_panics(data in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'|'), Just(b','), b'0'..=b'9'], 0..80), verb in 0usize..6) {
            let verb = [&b"PORT "[..], b"EPRT ", b"227 ", b"229 (", b"", b"PASV"][verb];
            let data = [verb, &data[..], b"\r\n"].concat();
            if let Some(Command::Tell(place)) = command(&data) {
                prop_assert!(place.at + place.len <= data.len());
            }
            for asked in [Asked::Pasv, Asked::Epsv] {
                if let Some(place) = answer(&data, asked) {
                    prop_assert!(place.at + place.len <= data.len());
                }
            }
        }
    }
}
