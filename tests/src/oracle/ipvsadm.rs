//! The grammar of `ipvsadm`, as far as cases speak it: command lines to a table of services, the
//! table to a configuration of ours.

use super::case::Mark;
use super::net;
use super::net::Side;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

/// Seconds of a persistent service without a time.
const PERSISTENT: u32 = 360;

/// A real server of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Dest {
    address: SocketAddr,
    /// -m, -g, -i.
    method: Method,
    weight: u32,
    upper: u32,
    lower: u32,
    /// Options of a tunnel.
    tunnel: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Method {
    Masq,
    Route,
    Tunnel,
}

impl Method {
    /// As the configuration says it.
    fn forward(self) -> &'static str {
        match self {
            Self::Masq => "nat",
            Self::Route => "dr",
            Self::Tunnel => "tunnel",
        }
    }
}

/// A service's name: what stands behind -t, -u, --sctp-service or -f.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Name {
    kind: String,
    address: String,
}

/// A service.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Service {
    name: Name,
    /// As it was given.
    scheduler: Option<String>,
    flags: Vec<String>,
    /// What was given of it, where it is.
    persistent: Option<Option<u32>>,
    mask: Option<String>,
    one_packet: bool,
    /// In the order they were added.
    dests: Vec<Dest>,
}

/// All that `ipvsadm` was told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Rules {
    services: Vec<Service>,
    timeouts: Option<[u32; 3]>,
    marks: Vec<Mark>,
}

/// A command line's options.
#[derive(Default)]
struct Line {
    command: String,
    name: Option<Name>,
    server: Option<String>,
    scheduler: Option<String>,
    flags: Vec<String>,
    persistent: Option<Option<u32>>,
    mask: Option<String>,
    method: Option<Method>,
    weight: Option<u32>,
    upper: u32,
    lower: u32,
    tunnel: Vec<String>,
    one_packet: bool,
    numbers: Vec<u32>,
}

/// A service as `ipvsadm -Ln` names it, its scheduler with its flags, and each dest's address, method and weight.
type Listed = (String, String, Vec<(SocketAddr, String)>);

impl Rules {
    /// Obeys a command line.
    pub(super) fn obey(&mut self, line: &str) -> Result<(), String> {
        let line = Line::read(line)?;
        match &line.command[..] {
            "-C" => self.services.clear(),
            "-A" => self.services.push(line.service()?),
            "-E" => {
                let dests = self.service(&line)?.dests.clone();
                *self.service(&line)? = Service { dests, ..line.service()? };
            }
            "-D" => {
                let name = self.service(&line)?.name.clone();
                self.services.retain(|s| s.name != name);
            }
            "-a" | "-e" | "-d" => {
                let service = self.service(&line)?;
                let dest = line.dest(&service.name)?;
                let at = service.dests.iter().position(|d| d.address == dest.address);
                match (&line.command[..], at) {
                    ("-a", None) => service.dests.push(dest),
                    ("-e", Some(at)) => service.dests[at] = dest,
                    ("-d", Some(at)) => drop(service.dests.remove(at)),
                    _ => return Err("no such destination, or one more".into()),
                }
            }
            "--set" => {
                let given: [u32; 3] =
                    line.numbers.try_into().map_err(|_| "--set wants three timeouts")?;
                let before = self.timeouts.unwrap_or([900, 120, 300]);
                let kept = |n: usize| if given[n] == 0 { before[n] } else { given[n] };
                self.timeouts = Some([kept(0), kept(1), kept(2)]);
            }
            other => return Err(format!("{other:?} is no command")),
        }
        Ok(())
    }

    /// Marks packets.
    pub(super) fn mark(&mut self, mark: &Mark) {
        self.marks.push(mark.clone());
    }

    fn service(&mut self, line: &Line) -> Result<&mut Service, String> {
        let name = line.name.clone().ok_or("no service is named")?;
        let found = self.services.iter_mut().find(|s| s.name == name);
        found.ok_or_else(|| "no such service".into())
    }

    /// The same as a configuration.
    ///
    /// # Errors
    /// With what of it we do not have.
    pub(super) fn config(
        &self,
        mtu: [u16; 2],
        sysctls: &[(String, String)],
    ) -> Result<String, String> {
        let mut text = String::from("director = { route = true }\n");
        if let Some([tcp, fin, udp]) = self.timeouts {
            let _ = writeln!(
                text,
                "timeouts = {{ tcp_established = {tcp}, tcp_fin_wait = {fin}, udp = {udp} }}"
            );
        }
        for side in Side::ALL {
            let gateway = match side {
                Side::Wan => format!("gateway = {:?}\n", net::GATEWAYS),
                Side::Lan => String::new(),
            };
            let (addresses, mtu) = (side.addresses(), mtu[side as usize]);
            let _ = writeln!(
                text,
                "[[port]]\nname = \"{side}\"\ndevice = \"net_null{}\"\naddresses = {addresses:?}\n\
                 mtu = {mtu}\n{gateway}",
                side as usize
            );
        }
        for vip in net::vips() {
            let _ = writeln!(text, "[[vip]]\naddress = \"{vip}\"");
        }
        let on_dead = "drop";
        for mark in &self.marks {
            let Mark { mark, proto, addr, ports: (first, last) } = mark;
            let _ = writeln!(
                text,
                "[[match]]\nmark = {mark}\nprotocol = \"{proto}\"\ndestination = \"{addr}\"\n\
                 ports = \"{first}-{last}\""
            );
        }
        text.push_str("[ipvs]\n");
        let mut oversize = "too-big";
        for (key, value) in sysctls {
            if (&key[..], &value[..]) == ("pmtu_disc", "0") {
                oversize = "fragment";
            } else {
                let _ = writeln!(text, "{key} = {}", sysctl(key, value)?);
            }
        }
        for service in &self.services {
            text.push_str(&service.config(on_dead, oversize)?);
        }
        Ok(text)
    }

    /// All services.
    pub(super) fn list(&self) -> Vec<Listed> {
        let of = |s: &Service| {
            let name =
                format!("{} {}", s.name.proto().unwrap_or("fwm").to_uppercase(), s.name.address);
            let dests = s.dests.iter().map(|d| (d.address, format!("{:?} {}", d.method, d.weight)));
            (name, s.shown(), dests.collect())
        };
        self.services.iter().map(of).collect()
    }
}

impl Name {
    fn proto(&self) -> Option<&'static str> {
        match &self.kind[..] {
            "-t" => Some("tcp"),
            "-u" => Some("udp"),
            "--sctp-service" => Some("sctp"),
            _ => None,
        }
    }
}

impl Service {
    /// What `ipvsadm -Ln` says behind its name.
    fn shown(&self) -> String {
        let mut said = self.scheduler.clone().unwrap_or_else(|| "wlc".into());
        // ipvsadm's order, whatever they were given in.
        let known = ["sh-fallback", "sh-port", "mh-fallback", "mh-port"];
        let flags = known.into_iter().filter(|f| self.flags.iter().any(|g| g == f));
        let flags: Vec<_> = flags.collect();
        if !flags.is_empty() {
            let _ = write!(said, " ({})", flags.join(","));
        }
        if let Some(time) = self.persistent {
            let _ = write!(said, " persistent {}", time.unwrap_or(PERSISTENT));
        }
        if let Some(mask) = &self.mask {
            let _ = write!(said, " mask {mask}");
        }
        if self.one_packet {
            said.push_str(" ops");
        }
        said
    }

    /// What packets it takes, and whether their conns are FTP's: the kernel's module helps port 21, by nat.
    fn takes(&self) -> Result<String, String> {
        if let Some(proto) = self.name.proto() {
            let by_nat = self.dests.first().is_none_or(|d| d.method == Method::Masq);
            let is_ftp = by_nat && proto == "tcp" && self.name.address.ends_with(":21");
            let helper = if is_ftp { "helper = \"ftp\"\n" } else { "" };
            let address = &self.name.address;
            return Ok(format!("address = \"{address}\"\nprotocol = \"{proto}\"\n{helper}"));
        }
        match (&self.name.kind[..], self.dests.first()) {
            ("-f", Some(dest)) if dest.address.is_ipv6() => {
                Ok(format!("mark = {}\nfamily = \"ipv6\"\n", self.name.address))
            }
            ("-f", _) => Ok(format!("mark = {}\n", self.name.address)),
            (kind, _) => Err(format!("services by {kind}")),
        }
    }

    /// Persistence, where it has it.
    fn persistence(&self) -> Result<String, String> {
        let Some(time) = self.persistent else { return Ok(String::new()) };
        let mut text = match time {
            Some(time) => format!("persistent = {time}\n"),
            None => "persistent = true\n".into(),
        };
        if let Some(mask) = &self.mask {
            let bits = match mask.parse::<Ipv4Addr>() {
                Ok(mask) => u32::from(mask).leading_ones(),
                Err(_) => number(mask)?,
            };
            let _ = writeln!(text, "persistence_prefix = {bits}");
        }
        Ok(text)
    }

    fn config(&self, on_dead: &str, oversize: &str) -> Result<String, String> {
        let has = |method| self.dests.iter().any(|d| d.method == method);
        let forward = self.dests.first().map_or(Method::Masq, |d| d.method).forward();
        let scheduler = self.scheduler.as_ref().map(|name| format!("scheduler = \"{name}\"\n"));
        // What the kernel does not do is off: no other dest for a SYN, no clamp.
        let mut text = format!(
            "[[service]]\n{}{}scheduler_flags = {:?}\nforward = \"{forward}\"\n\
             retries = 0\non_dead = \"{on_dead}\"\none_packet = {}\n{}",
            self.takes()?,
            scheduler.unwrap_or_default(),
            self.flags,
            self.one_packet,
            self.persistence()?
        );
        if has(Method::Masq) {
            text.push_str("mss = 8960\n");
        }
        if has(Method::Tunnel) {
            text.push_str(&format!("oversize = {oversize:?}\n"));
        }
        for dest in &self.dests {
            let Dest { address, weight, upper, lower, method, .. } = dest;
            let _ = match address.port() {
                // It has the packet's.
                0 if address.is_ipv6() => {
                    writeln!(text, "[[service.dest]]\naddress = \"[{}]\"", address.ip())
                }
                0 => writeln!(text, "[[service.dest]]\naddress = \"{}\"", address.ip()),
                _ => writeln!(text, "[[service.dest]]\naddress = \"{address}\""),
            };
            let forward = method.forward();
            let _ = writeln!(text, "weight = {weight}\nupper = {upper}\nforward = \"{forward}\"");
            if *lower > 0 {
                let _ = writeln!(text, "lower = {lower}");
            }
            dest.tunnel.iter().for_each(|option| text.push_str(&tunnel(option)));
        }
        Ok(text)
    }
}

impl Line {
    fn read(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace().peekable();
        let mut read = Self { command: words.next().unwrap_or_default().into(), ..Self::default() };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
            match word {
                "-t" | "-u" | "--sctp-service" | "-f" => {
                    read.name = Some(Name { kind: word.into(), address: value()?.into() });
                }
                "-r" => read.server = Some(value()?.into()),
                "-s" => read.scheduler = Some(value()?.into()),
                "-b" => read.flags = value()?.split(',').map(String::from).collect(),
                "-M" => read.mask = Some(value()?.into()),
                "-o" => read.one_packet = true,
                "-p" => {
                    read.persistent =
                        Some(words.next_if(|w| number(w).is_ok()).map(number).transpose()?);
                }
                "-m" => read.method = Some(Method::Masq),
                "-g" => read.method = Some(Method::Route),
                "-i" => read.method = Some(Method::Tunnel),
                "-w" => read.weight = Some(number(value()?)?),
                "-x" => read.upper = number(value()?)?,
                "-y" => read.lower = number(value()?)?,
                "-6" => {}
                "--tun-type" | "--tun-port" => read.tunnel.push(format!("{word} {}", value()?)),
                "--tun-nocsum" | "--tun-csum" | "--tun-remcsum" => read.tunnel.push(word.into()),
                word => read.numbers.push(number(word)?),
            }
        }
        Ok(read)
    }

    fn service(&self) -> Result<Service, String> {
        Ok(Service {
            name: self.name.clone().ok_or("no service is named")?,
            scheduler: self.scheduler.clone(),
            flags: self.flags.clone(),
            persistent: self.persistent,
            mask: self.mask.clone(),
            one_packet: self.one_packet,
            dests: Vec::new(),
        })
    }

    fn dest(&self, service: &Name) -> Result<Dest, String> {
        let given = self.server.as_deref().ok_or("no real server is named")?;
        // Without a port it has the service's.
        let port = service.address.rsplit_once(':').map_or("0", |(_, port)| port);
        let address = given.parse().or_else(|_| format!("{given}:{port}").parse());
        let mut address: SocketAddr =
            address.map_err(|_| format!("{given:?} is no real server"))?;
        let method = self.method.unwrap_or(Method::Route);
        // ipvsadm sees to it that it has that where packets keep theirs, but for a mark's.
        if method != Method::Masq && service.kind != "-f" {
            address.set_port(number(port)? as u16);
        }
        Ok(Dest {
            address,
            method,
            weight: self.weight.unwrap_or(1),
            upper: self.upper,
            lower: self.lower,
            tunnel: self.tunnel.clone(),
        })
    }
}

/// An option of a tunnel as a dest's key.
fn tunnel(option: &str) -> String {
    match option.split_once(' ') {
        Some(("--tun-type", kind)) => format!("tunnel = \"{kind}\"\n"),
        Some((_, port)) => format!("tunnel_port = {port}\n"),
        None => format!("tunnel_checksum = \"{}\"\n", option.trim_start_matches("--tun-")),
    }
}

fn number(word: &str) -> Result<u32, String> {
    word.parse().map_err(|_| format!("{word:?} is no option of ipvsadm's that cases use"))
}

/// A sysctl's value as `[ipvs]` has it.
fn sysctl(key: &str, value: &str) -> Result<String, String> {
    let of_ipvs = match key {
        "expire_nodest_conn"
        | "expire_quiescent_template"
        | "sloppy_tcp"
        | "sloppy_sctp"
        | "schedule_icmp"
        | "nat_icmp_send" => (number(value)? != 0).to_string(),
        "conn_reuse_mode" | "drop_packet" | "drop_entry" | "secure_tcp" | "am_droprate" => {
            number(value)?.to_string()
        }
        _ => return Err(format!("sysctl {key} {value}")),
    };
    Ok(of_ipvs)
}
