//! Headers that tell a server whom it is talking to: the PROXY protocol (haproxy's
//! proxy-protocol.txt, versions 1 and 2), and TCP option 254 (TOA).

use crate::tuple::Addr;
use crate::tuple::Family;
use crate::tuple::Proto;
use crate::tuple::Tuple;
use arrayvec::ArrayString;
use arrayvec::ArrayVec;
use core::fmt::Write as _;
use core::net::IpAddr;

/// The longest header: version 1 with two whole IPv6 addresses (section 2.1).
pub const MAX: usize = 107;
/// A header's bytes.
pub type Header = ArrayVec<u8, MAX>;

/// What version 2 begins with (section 2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION_COMMAND: u8 = 0x21;
/// A TLV of one byte that says nothing (PP2_TYPE_NOOP, section 2.2.4): makes a datagram's header a
/// multiple of eight, so that fragments behind it keep an offset that can be written.
const PADDING: [u8; 4] = [0x04, 0, 1, 0];

/// Kind of the option that carries an address and a port, as the kernel modules that read it
/// have it.
pub const TOA: u8 = 254;
/// The longest such option.
pub const TOA_MAX: usize = 20;

/// Version 1 of what a client sends: `tuple` is its own.
pub fn v1(tuple: &Tuple) -> Header {
    let Tuple { src, dst, sport, dport, .. } = *tuple;
    let family = if src.is_v4() { "TCP4" } else { "TCP6" };
    let (src, dst) = (IpAddr::from(src), IpAddr::from(dst));
    let mut text = ArrayString::<MAX>::new();
    // There is room for the longest of them: nothing is lost.
    let _ = write!(text, "PROXY {family} {src} {dst} {sport} {dport}\r\n");
    text.bytes().collect()
}

/// Version 2, of a client's conn or of its datagram.
pub fn v2(tuple: &Tuple) -> Header {
    let family = if tuple.src.is_v4() { 0x10 } else { 0x20 };
    let (transport, padding) = match tuple.proto {
        Proto::Udp => (2, &PADDING[..]),
        _ => (1, &[][..]),
    };
    let mut header = Header::new();
    let mut put = |bytes: &[u8]| header.extend(bytes.iter().copied());
    let addresses = if tuple.src.is_v4() { 12 } else { 36 };
    put(&SIGNATURE);
    put(&[VERSION_COMMAND, family | transport, 0, (addresses + padding.len()) as u8]);
    for addr in [tuple.src, tuple.dst] {
        match addr.family() {
            Family::V4 => put(&addr.v4_bits().to_be_bytes()),
            Family::V6 => put(&addr.bits().to_be_bytes()),
        }
    }
    put(&tuple.sport.to_be_bytes());
    put(&tuple.dport.to_be_bytes());
    put(padding);
    header
}

/// Length of version 2's header before a datagram.
pub const fn datagram_len(family: Family) -> u16 {
    match family {
        Family::V4 => 32,
        Family::V6 => 56,
    }
}

/// TCP option 254 with a client's port and address.
pub fn toa(addr: Addr, port: u16) -> ArrayVec<u8, TOA_MAX> {
    let mut option = ArrayVec::new();
    let mut put = |bytes: &[u8]| option.extend(bytes.iter().copied());
    put(&[TOA, toa_len(addr.family()) as u8]);
    put(&port.to_be_bytes());
    match addr.family() {
        Family::V4 => put(&addr.v4_bits().to_be_bytes()),
        Family::V6 => put(&addr.bits().to_be_bytes()),
    }
    option
}

/// Length of that option.
pub const fn toa_len(family: Family) -> u16 {
    match family {
        Family::V4 => 8,
        Family::V6 => 20,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv6Addr;

    fn tuple(src: &str, dst: &str, proto: Proto) -> Tuple {
        let addr = |text: &str| Addr::from(text.parse::<IpAddr>().unwrap());
        Tuple { src: addr(src), dst: addr(dst), sport: 56324, dport: 443, proto }
    }

    /// The document's own example (section 2.1).
    #[test]
    fn version_1_as_the_document_writes_it() {
        let header = v1(&tuple("192.168.0.1", "192.168.0.11", Proto::Tcp));
        assert_eq!(&header[..], b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
        let header = v1(&tuple("2001:db8::1", "2001:db8::f:0:1", Proto::Tcp));
        assert_eq!(&header[..], b"PROXY TCP6 2001:db8::1 2001:db8::f:0:1 56324 443\r\n");
    }

    /// Section 2.1: "worst case [...] 104 characters" with ports of five digits.
    #[test]
    fn the_longest_version_1_fits() {
        let long = Addr::v6(u128::from(Ipv6Addr::from([0xfffe; 8])));
        let tuple = Tuple { src: long, dst: long, sport: 65535, dport: 65535, proto: Proto::Tcp };
        let header = v1(&tuple);
        assert_eq!(header.len(), 104);
        assert!(header.ends_with(b" 65535 65535\r\n"));
    }

    /// Written down from section 2.2's figures.
    #[test]
    fn version_2_of_tcp_over_ipv4() {
        let header = v2(&tuple("192.0.2.1", "203.0.113.9", Proto::Tcp));
        assert_eq!(
            header[..],
            [
                0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54,
                0x0a, // signature
                0x21, 0x11, 0x00, 0x0c, // version and command, family and transport, length
                192, 0, 2, 1, 203, 0, 113, 9, 0xdc, 0x04, 0x01, 0xbb,
            ]
        );
    }

    #[test]
    fn version_2_of_tcp_over_ipv6() {
        let header = v2(&tuple("2001:db8::1", "2001:db8::2", Proto::Tcp));
        assert_eq!(header[12..16], [0x21, 0x21, 0x00, 0x24]);
        assert_eq!(header[16..20], [0x20, 0x01, 0x0d, 0xb8]);
        assert_eq!((header[31], header[47], header.len()), (1, 2, 52));
        assert_eq!(header[48..], [0xdc, 0x04, 0x01, 0xbb]);
    }

    #[test]
    fn a_datagrams_header_is_padded_to_units_of_eight() {
        let v4 = v2(&tuple("192.0.2.1", "203.0.113.9", Proto::Udp));
        assert_eq!(v4[13..16], [0x12, 0x00, 0x10]);
        assert_eq!(v4[28..], [0x04, 0x00, 0x01, 0x00]);
        let v6 = v2(&tuple("2001:db8::1", "2001:db8::2", Proto::Udp));
        assert_eq!(v6[13..16], [0x22, 0x00, 0x28]);
        assert_eq!(v6[52..], [0x04, 0x00, 0x01, 0x00]);
        assert_eq!(v4.len(), usize::from(datagram_len(Family::V4)));
        assert_eq!(v6.len(), usize::from(datagram_len(Family::V6)));
    }

    #[test]
    fn the_option_is_port_and_address() {
        let v4 = toa(Addr::v4(0xc000_0201), 56324);
        assert_eq!(v4[..], [254, 8, 0xdc, 0x04, 192, 0, 2, 1]);
        let v6 = toa(Addr::v6(0x2001_0db8 << 96 | 7), 1);
        assert_eq!((v6.len(), v6[..8].to_vec()), (20, vec![254, 20, 0, 1, 0x20, 0x01, 0x0d, 0xb8]));
    }
}
