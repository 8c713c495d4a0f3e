//! Device strings: what EAL is told about each port.

use crate::mempool::af_packet_frame;

/// Bytes of ring that an af_packet queue gets each way, about.
const PACKET_RING: usize = 8 << 20;

/// The devices to give to [`Eal::init`](crate::Eal::init) for a port with this device string,
/// MTU and number of queue pairs: mostly the string itself, with what the driver needs for
/// them added where the string does not say it.
///
/// - `net_af_packet`: `qpairs`, frames that hold the MTU (`framesz`, `blocksz`), some 8 MiB of
///   ring per queue (`framecnt`), `qdisc_bypass`.
/// - `net_af_xdp`: one device per queue, since the driver sees only one queue of
///   interfaces without combined channels (veth); [`Port::open`](crate::Port::open) makes
///   one port of them.
/// - `net_memif`: buffers that hold the MTU (`bsize`).
pub fn devices_for(device: &str, mtu: u16, queues: u16) -> Vec<String> {
    let (name, args) = device.split_once(',').unwrap_or((device, ""));
    let given = |key: &str| args.split(',').any(|arg| arg.split('=').next() == Some(key));
    let mut text = device.to_owned();
    let mut add = |key: &str, value: usize| {
        if !given(key) {
            text.push_str(&format!(",{key}={value}"));
        }
    };
    if name.starts_with("net_af_packet") {
        if queues > 1 {
            add("qpairs", usize::from(queues));
        }
        if !given("framesz") && !given("blocksz") {
            // Whole frames per block and whole pages: the driver counts on both.
            let frame = af_packet_frame(mtu);
            let block = (frame..).step_by(frame).find(|block| block % 4096 == 0);
            let block = block.unwrap_or(frame * 8);
            add("framesz", frame);
            add("blocksz", block);
            add("framecnt", (PACKET_RING / block).next_power_of_two() * (block / frame));
        }
        add("qdisc_bypass", 1);
    } else if name.starts_with("net_memif") && mtu > 2048 - 22 {
        add("bsize", (usize::from(mtu) + 22).next_multiple_of(64));
    } else if name.starts_with("net_af_xdp")
        && queues > 1
        && !given("queue_count")
        && !given("start_queue")
    {
        let one = |queue| match queue {
            0 => format!("{device},start_queue=0"),
            _ => format!("{},{args},start_queue={queue}", member(name, queue)),
        };
        return (0..queues).map(one).collect();
    }
    vec![text]
}

/// The name of the device behind a port's further queue, from 1.
pub(crate) fn member(name: &str, queue: u16) -> String {
    format!("{name}_q{queue}")
}

/// The port's name in a device string: up to the first comma, a PCI address in full.
pub(crate) fn port_name(device: &str) -> String {
    let name = device.split(',').next().unwrap_or_default();
    if is_pci(name) && name.matches(':').count() == 1 {
        format!("0000:{}", name.to_ascii_lowercase())
    } else if is_pci(name) {
        name.to_ascii_lowercase()
    } else {
        name.to_owned()
    }
}

/// `0000:03:00.0` or `03:00.0`, with or without arguments behind a comma.
pub(crate) fn is_pci(device: &str) -> bool {
    let name = device.split(',').next().unwrap_or_default();
    let Some((slot, function)) = name.rsplit_once('.') else { return false };
    let hex = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit());
    let parts = slot.split(':').collect::<Vec<_>>();
    hex(function) && matches!(parts.len(), 2 | 3) && parts.into_iter().all(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_addresses_and_virtual_devices() {
        for pci in ["0000:03:00.0", "03:00.1", "0000:af:1f.7,arg=1"] {
            assert!(is_pci(pci), "{pci}");
        }
        for other in ["net_af_packet0,iface=eth0.5", "net_tap0", "", "03.00", "eth0.5"] {
            assert!(!is_pci(other), "{other}");
        }
        assert_eq!(port_name("AF:00.1,x=1"), "0000:af:00.1");
        assert_eq!(port_name("0000:03:00.0"), "0000:03:00.0");
        assert_eq!(port_name("net_tap0,iface=A:b"), "net_tap0");
    }

    #[test]
    fn af_packet_frames_hold_the_mtu() {
        let one = devices_for("net_af_packet0,iface=d0", 1500, 1);
        let want = "net_af_packet0,iface=d0,framesz=2048,blocksz=4096,framecnt=4096,qdisc_bypass=1";
        assert_eq!(one, [want]);
        let two = devices_for("net_af_packet0,iface=d0,qdisc_bypass=0", 9000, 2);
        let want = "net_af_packet0,iface=d0,qdisc_bypass=0,qpairs=2,\
                    framesz=9216,blocksz=36864,framecnt=1024";
        assert_eq!(two, [want]);
        let own = "net_af_packet0,iface=d0,framesz=4096,blocksz=8192,qdisc_bypass=1";
        assert_eq!(devices_for(own, 9000, 1), [own]);
    }

    #[test]
    fn af_xdp_has_a_device_per_queue() {
        assert_eq!(devices_for("net_af_xdp0,iface=d0", 1500, 1), ["net_af_xdp0,iface=d0"]);
        assert_eq!(
            devices_for("net_af_xdp0,iface=d0", 1500, 2),
            ["net_af_xdp0,iface=d0,start_queue=0", "net_af_xdp0_q1,iface=d0,start_queue=1"]
        );
        let own = "net_af_xdp0,iface=d0,queue_count=2";
        assert_eq!(devices_for(own, 1500, 2), [own]);
    }

    #[test]
    fn others_are_left_alone() {
        for device in ["net_null0", "0000:03:00.0", "net_memif0,role=server"] {
            assert_eq!(devices_for(device, 1500, 4), [device]);
        }
        assert_eq!(devices_for("net_memif0", 9000, 1), ["net_memif0,bsize=9024"]);
    }
}
