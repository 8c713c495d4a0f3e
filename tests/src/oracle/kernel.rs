//! The judge: the kernel's IPVS of the network namespace that this process is in.

use super::Director;
use super::case::Mark;
use super::net;
use super::net::Side;
use hw::Tap;
use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

/// Longest frame.
const ROOM: usize = 65_536;
/// What the network of a case needs besides addresses: a plain router that answers at any rate.
const SETTINGS: [(&str, &str); 13] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/icmp_ratelimit", "0"),
    ("net/ipv6/icmp/ratelimit", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    ("net/ipv6/conf/default/addr_gen_mode", "1"),
    ("net/ipv6/conf/default/dad_transmits", "0"),
];

/// The kernel with two tap devices.
pub struct Kernel {
    taps: [Tap; 2],
    room: Vec<u8>,
}

impl Kernel {
    /// Sets the network of the cases up, in a namespace where nothing is set up.
    ///
    /// # Errors
    /// What could not be done.
    pub fn new() -> Result<Self, String> {
        for (key, value) in SETTINGS {
            // Some kernels lack some of them, and then what they would turn off.
            let _ = fs::write(format!("/proc/sys/{key}"), value);
        }
        let tap = |side: Side| Tap::new(&side.to_string()).map_err(|e| format!("tap {side}: {e}"));
        let taps = [tap(Side::Wan)?, tap(Side::Lan)?];
        ip(&setup())?;
        let mut kernel = Self { taps, room: vec![0; ROOM] };
        // What it says of itself when it comes up.
        thread::sleep(Duration::from_secs(5));
        kernel.drain()?;
        Ok(kernel)
    }

    /// What has left, but for what it says unasked.
    fn drain(&mut self) -> Result<Vec<(Side, Vec<u8>)>, String> {
        let mut out = Vec::new();
        for side in Side::ALL {
            let tap = &mut self.taps[side as usize];
            while let Some(frame) = tap.receive(&mut self.room).map_err(|e| e.to_string())? {
                if !is_housekeeping(frame) {
                    out.push((side, frame.to_vec()));
                }
            }
        }
        Ok(out)
    }
}

impl Director for Kernel {
    fn ipvsadm(&mut self, line: &str) -> Result<(), String> {
        run("ipvsadm", line).map(drop)
    }

    fn sysctl(&mut self, key: &str, value: &str) -> Result<(), String> {
        let path = format!("/proc/sys/net/ipv4/vs/{key}");
        fs::write(&path, value).map_err(|e| format!("{path}: {e}"))
    }

    fn mark(&mut self, mark: &Mark) -> Result<(), String> {
        // The second time it is there.
        let _ = run("tc", "qdisc add dev wan ingress");
        let ports = match mark.ports {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        let (kind, len) = if mark.addr.is_ipv4() { ("ip", 32) } else { ("ipv6", 128) };
        let filter = format!(
            "filter add dev wan ingress protocol {kind} flower ip_proto {} dst_ip {}/{len} \
             dst_port {ports} action skbedit mark {}",
            mark.proto, mark.addr, mark.mark
        );
        run("tc", &filter).map(drop)
    }

    fn mtu(&mut self, side: Side, mtu: u16) -> Result<(), String> {
        ip(&format!("link set {side} mtu {mtu}\n"))
    }

    fn pass(&mut self, time: Duration) -> Result<(), String> {
        thread::sleep(time);
        Ok(())
    }

    fn feed(&mut self, side: Side, frame: &[u8]) -> Result<Vec<(Side, Vec<u8>)>, String> {
        self.taps[side as usize].send(frame).map_err(|e| format!("{side}: {e}"))?;
        self.drain()
    }

    fn conns(&mut self) -> Result<Vec<String>, String> {
        Ok(conns(&run("ipvsadm", "-Lnc")?))
    }

    fn dests(&mut self) -> Result<Vec<String>, String> {
        Ok(rows(&run("ipvsadm", "-Ln")?))
    }

    fn stats(&mut self) -> Result<Vec<String>, String> {
        Ok(rows(&run("ipvsadm", "-Ln --stats --exact")?))
    }
}

/// ARP, and neighbour and listener discovery.
fn is_housekeeping(frame: &[u8]) -> bool {
    let kind = frame.get(12..14);
    if kind == Some(&[0x08, 0x06]) {
        return true;
    }
    // MLD's reports have a hop-by-hop header.
    let message = match (kind, frame.get(20)) {
        (Some([0x86, 0xdd]), Some(58)) => frame.get(54),
        (Some([0x86, 0xdd]), Some(0)) => frame.get(62),
        _ => None,
    };
    message.is_some_and(|kind| (130..=137).contains(kind) || *kind == 143)
}

/// Commands for `ip -batch`.
fn setup() -> String {
    let mut lines = vec!["link set lo up".to_string()];
    for side in Side::ALL {
        let mac = text(side.mac());
        lines.push(format!("link set {side} address {mac} up"));
        lines.extend(side.addresses().map(|addr| format!("addr add {addr} dev {side}")));
    }
    for vip in net::vips() {
        let len = if vip.contains(':') { 128 } else { 32 };
        lines.push(format!("addr add {vip}/{len} dev lo"));
    }
    for (side, addr, mac) in net::neighbours() {
        lines.push(format!("neigh add {addr} lladdr {} dev {side} nud permanent", text(mac)));
    }
    lines.extend(net::GATEWAYS.map(|via| format!("route add default via {via} dev wan")));
    lines.join("\n") + "\n"
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn ip(batch: &str) -> Result<(), String> {
    let mut ip = Command::new("ip");
    ip.args(["-force", "-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ip.spawn().map_err(|e| format!("ip: {e}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(batch.as_bytes()).map_err(|e| format!("ip: {e}"))?;
    }
    let done = child.wait_with_output().map_err(|e| format!("ip: {e}"))?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    if done.status.success() { Ok(()) } else { Err(format!("ip: {said}")) }
}

fn run(program: &str, line: &str) -> Result<String, String> {
    let done = Command::new(program).args(line.split_whitespace()).output();
    let done = done.map_err(|e| format!("{program}: {e}"))?;
    if !done.status.success() {
        return Err(format!("{program}: {}", String::from_utf8_lossy(&done.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Lines of `ipvsadm -Lnc`, seconds counted up: the kernel cuts what is left of them, and a moment
/// has passed since the last packet.
fn conns(list: &str) -> Vec<String> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [proto, left, state, ends @ ..] = &words[..] else { return None };
        let (minutes, seconds) = left.split_once(':')?;
        let left = minutes.parse::<u32>().ok()? * 60 + seconds.parse::<u32>().ok()? + 1;
        Some(format!("conn {proto} {} {left} s {state}", ends.join(" ")))
    };
    list.lines().skip(2).filter_map(row).collect()
}

/// Lines of `ipvsadm -Ln`, with or without `--stats`, each with its service.
fn rows(list: &str) -> Vec<String> {
    let (mut service, mut rows) = (String::new(), Vec::new());
    for line in list.lines().skip(3) {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.starts_with("->") {
            rows.push(format!("{service} {line}"));
        } else {
            service = line.split(' ').take(2).collect::<Vec<_>>().join(" ");
            rows.push(line);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipvsadm_speaks() {
        let list = "IPVS connection entries\npro expire state       source             virtual\n\
                    TCP 01:59  SYN_RECV    192.0.2.1:1000     203.0.113.1:80     10.1.0.11:80\n";
        let conn = "conn TCP 192.0.2.1:1000 203.0.113.1:80 10.1.0.11:80 120 s SYN_RECV";
        assert_eq!(conns(list), [conn]);
        let list = "IP Virtual Server\nProt\n  ->\nTCP  203.0.113.1:80 rr\n  -> 10.1.0.11:80    Masq    1   \n";
        let both = ["TCP 203.0.113.1:80 rr", "TCP 203.0.113.1:80 -> 10.1.0.11:80 Masq 1"];
        assert_eq!(rows(list), both);
    }

    #[test]
    fn the_network_is_written_as_ip_reads_it() {
        let batch = setup();
        assert!(
            batch.contains("neigh add 10.1.0.12 lladdr 02:00:00:00:02:0c dev lan nud permanent")
        );
        assert!(batch.contains("addr add 2001:db8:f::16/128 dev lo"));
    }
}
