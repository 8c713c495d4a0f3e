//! The hash by which NICs choose a receive queue (receive-side scaling).

use crate::tuple::Tuple;

/// Bytes of a key: enough for two IPv6 addresses and two ports.
pub const KEY: usize = 40;

/// The key of the published examples, which most drivers set where they are given none.
pub const COMMON_KEY: [u8; KEY] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
    0xb0, //
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2,
    0x0c, //
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// Entries of the table from hash to queue; drivers fill it with the queues in turn.
const ENTRIES: u32 = 128;

/// The Toeplitz hash under one key: for each bit of the input that is set, the 32 bits of the key
/// that begin at the same place are added without carry (Microsoft's "RSS hashing functions",
/// which NICs follow).
#[derive(Clone, Copy, Debug)]
pub struct Toeplitz {
    key: [u8; KEY],
}

impl Toeplitz {
    /// With this key.
    pub const fn new(key: [u8; KEY]) -> Self {
        Self { key }
    }

    /// Of addresses and ports, source first; of addresses alone where there are no ports, as in
    /// fragments.
    pub fn tuple(&self, t: &Tuple) -> u32 {
        let (addrs, bytes) = match t.dst.is_v4() {
            true => (
                self.bits(0, t.src.v4_bits().into(), 4) ^ self.bits(4, t.dst.v4_bits().into(), 4),
                8,
            ),
            false => (self.bits(0, t.src.bits(), 16) ^ self.bits(16, t.dst.bits(), 16), 32),
        };
        match (t.sport, t.dport) {
            (0, 0) => addrs,
            (sport, dport) => {
                addrs ^ self.bits(bytes, (u128::from(sport) << 16) | u128::from(dport), 4)
            }
        }
    }

    /// The queue that a NIC with `queues` queues gives a tuple.
    pub fn queue(&self, t: &Tuple, queues: usize) -> usize {
        (self.tuple(t) % ENTRIES) as usize % queues
    }

    /// What the `len` lowest bytes of `input`, the input's bytes from `at` on, contribute.
    fn bits(&self, at: usize, input: u128, len: usize) -> u32 {
        let set = (0..len * 8).filter(|bit| input >> (len * 8 - 1 - bit) & 1 == 1);
        set.fold(0, |hash, bit| hash ^ self.window(at * 8 + bit))
    }

    /// The 32 bits of the key that begin at a bit.
    fn window(&self, bit: usize) -> u32 {
        let byte = |i: usize| u64::from(self.key.get(bit / 8 + i).copied().unwrap_or(0));
        let five = (0..5).fold(0, |bits, i| bits << 8 | byte(i));
        (five >> (8 - bit % 8)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::Proto;
    use core::net::SocketAddr;

    fn tuple(src: &str, dst: &str) -> Tuple {
        let (src, dst): (SocketAddr, SocketAddr) = (src.parse().unwrap(), dst.parse().unwrap());
        let (sport, dport) = (src.port(), dst.port());
        Tuple { src: src.ip().into(), dst: dst.ip().into(), sport, dport, proto: Proto::Tcp }
    }

    /// Microsoft's "Verifying the RSS hash calculation", which DPDK's test_thash.c holds too:
    /// source, destination, hash of addresses, hash with ports.
    #[test]
    fn the_published_examples() {
        let hash = Toeplitz::new(COMMON_KEY);
        let examples = [
            ("66.9.149.187:2794", "161.142.100.80:1766", 0x323e_8fc2, 0x51cc_c178),
            ("199.92.111.2:14230", "65.69.140.83:4739", 0xd718_262a, 0xc626_b0ea),
            ("24.19.198.95:12898", "12.22.207.184:38024", 0xd2d0_a5de, 0x5c2b_394a),
            ("38.27.205.30:48228", "209.142.163.6:2217", 0x8298_9176, 0xafc7_327f),
            ("153.39.163.191:44251", "202.188.127.2:1303", 0x5d18_09c5, 0x10e8_28a2),
            ("[3ffe:2501:200:1fff::7]:2794", "[3ffe:2501:200:3::1]:1766", 0x2cc1_8cd5, 0x4020_7d3d),
            ("[3ffe:501:8::260:97ff:fe40:efab]:14230", "[ff02::1]:4739", 0x0f0c_461c, 0xdde5_1bbf),
            (
                "[3ffe:1900:4545:3:200:f8ff:fe21:67cf]:44251",
                "[fe80::200:f8ff:fe21:67cf]:38024",
                0x4b61_e985,
                0x02d1_feef,
            ),
        ];
        for (src, dst, addrs, ports) in examples {
            let t = tuple(src, dst);
            assert_eq!(hash.tuple(&t), ports, "{src} {dst}");
            assert_eq!(hash.tuple(&Tuple { sport: 0, dport: 0, ..t }), addrs, "{src} {dst}");
        }
    }

    /// What makes it possible to choose a port by the queue that its answers will have.
    #[test]
    fn a_port_changes_the_hash_by_the_same_whatever_the_addresses() {
        let hash = Toeplitz::new(COMMON_KEY);
        let change = |dst: &str| {
            let t = tuple("10.2.0.11:80", dst);
            hash.tuple(&t) ^ hash.tuple(&Tuple { dport: t.dport ^ 0x5a5a, ..t })
        };
        assert_eq!(change("10.2.0.100:1025"), change("192.0.2.1:65535"));
    }
}
