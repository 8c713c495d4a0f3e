//! The plain lane of `parse`: one look at each field, one bound for all headers.

use super::Kind;
use super::Parsed;
use super::parse;
use crate::frame::BURST;
use crate::snapshot::PortInfo;
use crate::tuple::Family;
use crate::tuple::Narrow;
use crate::tuple::Proto;
use crate::tuple::Tuple;
use crate::wire::checksum;
use crate::wire::ethernet;
use crate::wire::ethernet::Host;
use crate::wire::get16;
use crate::wire::head;
use crate::wire::ipv4;
use crate::wire::raw32;
use crate::wire::raw64;
use crate::wire::tcp;
use crate::wire::udp;

/// What the plain lane wants to know of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain {
    /// Its tuple, whose addresses and ports nobody has looked at.
    pub tuple: Narrow,
    /// The bytes of the IP packet.
    pub total: u16,
    /// TCP's bytes of data.
    pub payload: u16,
    /// TCP's control bits; 0 for UDP.
    pub flags: u8,
}

impl Plain {
    /// The same, known to be of that protocol.
    #[inline(always)]
    pub(crate) fn of(&self, proto: Proto) -> Self {
        Self { tuple: Narrow { proto, ..self.tuple }, ..*self }
    }

    /// The same in full, of its frame whose link header has `L3` bytes.
    #[inline(always)]
    pub(crate) fn parsed<const L3: usize>(&self, frame: &[u8]) -> Parsed {
        let (l3, l4) = (L3 as u16, (L3 + ipv4::LEN) as u16);
        let Self { tuple, total, flags, .. } = *self;
        let (kind, family, ttl) = (Kind::Flow, Family::V4, frame[L3 + ipv4::TTL]);
        let end = l3 + total;
        Parsed { kind, l3, l4, end, ttl, flags, family, tuple: tuple.into() }
    }

    /// What `parse` says, which is only asked where addresses or ports are such that it may refuse
    /// them.
    #[inline(always)]
    pub(crate) fn or_parse<const L3: usize>(&self, frame: &[u8], port: &PortInfo) -> Parsed {
        let p = self.parsed::<L3>(frame);
        let Tuple { src, dst, sport, dport, .. } = p.tuple;
        let has_addrs = !src.is_martian_source() && dst.v4_bits() >> 29 != 7;
        if has_addrs && sport != 0 && dport != 0 { p } else { parse(frame, port) }
    }
}

/// What is kept of a burst's packets from when they were read until they go on. What else the plain lane wants to
/// know stands in their frames. Each is named by how many come after it, as in `conn::Ahead`.
// An array for each thing that is known of one: a place in it is known by the number alone.
#[derive(Debug)]
pub(crate) struct Plains {
    addrs: [u64; BURST],
    ports: [u32; BURST],
    totals: [u16; BURST],
    payloads: [u16; BURST],
    flags: [u8; BURST],
    /// Those that are none, a bit each.
    others: u64,
}

impl Default for Plains {
    fn default() -> Self {
        Self {
            addrs: [0; BURST],
            ports: [0; BURST],
            totals: [0; BURST],
            payloads: [0; BURST],
            flags: [0; BURST],
            others: 0,
        }
    }
}

impl Plains {
    /// A burst begins.
    pub(crate) fn begin(&mut self) {
        self.others = 0;
    }

    /// Keeps what was read of the one that `left` come after.
    #[inline(always)]
    pub(crate) fn put(&mut self, left: usize, plain: &Plain) {
        let left = left % BURST;
        self.addrs[left] = plain.tuple.addrs;
        self.ports[left] = plain.tuple.ports;
        self.totals[left] = plain.total;
        self.payloads[left] = plain.payload;
        self.flags[left] = plain.flags;
    }

    /// It is none.
    pub(crate) fn put_other(&mut self, left: usize) {
        let left = left % BURST;
        self.flags[left] = OTHER;
        self.others |= 1 << left;
    }

    /// Whether it is a segment that neither begins nor ends anything, which nothing else has such bits to say.
    #[inline(always)]
    pub(crate) fn only_acknowledges(&self, left: usize) -> bool {
        let flags = self.flags[left % BURST];
        flags & (tcp::SYN | tcp::FIN | tcp::RST | tcp::ACK_BIT) == tcp::ACK_BIT
    }

    /// Whether it is a datagram, or a segment without control bits.
    #[inline(always)]
    pub(crate) fn may_be_datagram(&self, left: usize) -> bool {
        self.flags[left % BURST] == 0
    }

    /// The one that `left` come after, which has this frame; none, if it is none.
    #[inline(always)]
    pub(crate) fn get<const L3: usize>(&self, left: usize, frame: &[u8]) -> Option<Plain> {
        let is_other = self.others >> (left % BURST) & 1 != 0;
        (!is_other).then(|| self.known::<L3>(left, frame))
    }

    /// The same where it is known to be one.
    #[inline(always)]
    pub(crate) fn known<const L3: usize>(&self, left: usize, frame: &[u8]) -> Plain {
        let left = left % BURST;
        let proto = match frame[L3 + ipv4::PROTOCOL] {
            udp::NUMBER => Proto::Udp,
            _ => Proto::Tcp,
        };
        let tuple = Narrow { addrs: self.addrs[left], ports: self.ports[left], proto };
        let (total, payload, flags) = (self.totals[left], self.payloads[left], self.flags[left]);
        Plain { tuple, total, payload, flags }
    }
}

/// Control bits of what is no plain packet.
const OTHER: u8 = tcp::SYN;

/// What link, IPv4 and TCP headers take behind a link header without and with a tag.
pub(crate) const UNTAGGED: usize = ethernet::LEN + ipv4::LEN + tcp::LEN;
pub(crate) const TAGGED: usize = UNTAGGED + ethernet::TAG;

/// Version 4, a header without options.
const PLAIN: u8 = 0x45;

/// Reads what nearly all frames are: a whole IPv4 packet without options that carries TCP or UDP.
/// `L3` is the length of the port's link headers and `ALL` of all headers, so that all places are
/// known and one bound serves them. Of any other frame it says none, and `parse` says what it is;
/// where it says some, `parse` says the same, unless addresses or ports are none that a conn can
/// have. Whoever finds a conn of this tuple that goes on need not ask; but for an awaited one.
#[inline(always)]
pub(crate) fn read<const L3: usize, const ALL: usize>(
    frame: &[u8],
    (port, host): (&PortInfo, Host),
) -> Option<Plain> {
    // From all headers to what 16 bits can say, in one question.
    if frame.len().wrapping_sub(ALL) > u16::MAX as usize - ALL {
        return None;
    }
    let h: &[u8; ALL] = frame.first_chunk()?;
    let l4 = L3 + ipv4::LEN;
    let total = get16(h, L3 + ipv4::TOTAL) as usize;
    let end = L3 + total;
    // From the identification to the checksum, its first byte lowest.
    let middle = u64::from_le(raw64(h, L3 + ipv4::ID));
    let is_part = middle >> 16 & (ipv4::MF | ipv4::OFFSET).swap_bytes() as u64 != 0;
    let is_tagged = L3 != ethernet::LEN;
    if !host.gets(h)
        || is_tagged && (get16(h, 12) != ethernet::VLAN || Some(ethernet::vlan(h)) != port.vlan)
        || get16(h, L3 - 2) != ethernet::IPV4
        || h[L3] != PLAIN
        || is_part
        || end > frame.len()
        || !checksum::is_right(head(&h[L3..]))
    {
        return None;
    }
    let (proto, flags, payload) = match (middle >> 40) as u8 {
        6 => {
            let header_len = tcp::header_len(&h[l4..]);
            if header_len < tcp::LEN {
                return None;
            }
            let payload = total as i32 - (ipv4::LEN + header_len) as i32;
            if payload < 0 {
                return None;
            }
            (Proto::Tcp, h[l4 + tcp::FLAGS], payload as usize)
        }
        17 => {
            let len = get16(h, l4 + udp::LENGTH) as usize;
            if len < udp::LEN || ipv4::LEN + len > total {
                return None;
            }
            (Proto::Udp, 0, 0)
        }
        _ => return None,
    };
    let tuple = Narrow { addrs: raw64(h, L3 + ipv4::SRC), ports: raw32(h, l4), proto };
    Some(Plain { tuple, total: total as u16, payload: payload as u16, flags })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::Addr;
    use crate::wire::put16;
    use proptest::prelude::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn port(vlan: Option<u16>) -> PortInfo {
        let (name, addrs) = (String::new(), Vec::new());
        PortInfo { name, mac: MAC, mtu: 1500, vlan, addrs, fixed_queue: true }
    }

    /// A frame of TCP or UDP with `payload` and all sums of its headers right.
    fn frame(vlan: Option<u16>, udp: bool, payload: &[u8]) -> Vec<u8> {
        let mut f = vec![0; 12];
        f[..6].copy_from_slice(&MAC);
        if let Some(vlan) = vlan {
            f.extend([0x81, 0x00]);
            f.extend(vlan.to_be_bytes());
        }
        f.extend([0x08, 0x00]);
        let l3 = f.len();
        let segment = if udp {
            let mut s = vec![0x12, 0x34, 0, 53, 0, 0, 0, 0];
            s.extend(payload);
            let len = s.len() as u16;
            put16(&mut s, udp::LENGTH, len);
            s
        } else {
            let mut s = vec![0; tcp::LEN];
            s[..4].copy_from_slice(&[0x12, 0x34, 0, 80]);
            (s[tcp::OFFSET], s[tcp::FLAGS]) = (0x50, tcp::ACK_BIT);
            s.extend(payload);
            s
        };
        f.resize(l3 + ipv4::LEN, 0);
        let (src, dst) = (Addr::v4(0x0a00_0001), Addr::v4(0x0a00_0002));
        let total = (ipv4::LEN + segment.len()) as u16;
        let protocol = if udp { 17 } else { 6 };
        let ends = ipv4::Ends::of(src, dst);
        ipv4::Header { tos: 0, total, id: 7, fragment: ipv4::DF, ttl: 64, protocol, ends }
            .write(&mut f[l3..]);
        f.extend(segment);
        f
    }

    /// What it reads, and what `parse` says by its own account.
    fn plainly(frame: &[u8], port: &PortInfo) -> Option<(Parsed, Parsed)> {
        const L3: usize = ethernet::LEN;
        const TAGGED_L3: usize = ethernet::LEN + ethernet::TAG;
        match port.vlan {
            None => read::<L3, UNTAGGED>(frame, (port, Host::of(port.mac)))
                .map(|p| (p.parsed::<L3>(frame), p.or_parse::<L3>(frame, port))),
            Some(_) => read::<TAGGED_L3, TAGGED>(frame, (port, Host::of(port.mac)))
                .map(|p| (p.parsed::<TAGGED_L3>(frame), p.or_parse::<TAGGED_L3>(frame, port))),
        }
    }

    #[test]
    fn takes_what_nearly_all_frames_are() {
        for vlan in [None, Some(5)] {
            for udp in [false, true] {
                // What a NIC gives is padded to 60 bytes.
                let f = frame(vlan, udp, &[0; 18]);
                assert!(plainly(&f, &port(vlan)).is_some(), "{vlan:?} {udp}");
                assert!(plainly(&f, &port(Some(6))).is_none());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

        #[test]
        fn says_what_the_other_lane_says(
            tagged in any::<bool>(),
            udp in any::<bool>(),
            payload in proptest::collection::vec(any::<u8>(), 0..40),
            damage in proptest::collection::vec(
                (0usize..60, prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 1usize..3),
                0..3,
            ),
            mends in any::<bool>(),
            cut in 0usize..70,
        ) {
            let vlan = tagged.then_some(5);
            let mut f = frame(vlan, udp, &payload);
            let l3 = port(vlan).l2_len();
            for (at, with, len) in damage {
                let at = at % f.len();
                let end = f.len().min(at + len);
                f[at..end].fill(with);
            }
            if mends && f[l3] & 15 == 5 {
                ipv4::set_checksum(&mut f[l3..], ipv4::LEN);
            }
            f.truncate(f.len().saturating_sub(cut.saturating_sub(60)));
            let port = port(vlan);
            if let Some((parsed, said)) = plainly(&f, &port) {
                let any = parse(&f, &port);
                prop_assert_eq!(said, any);
                let Tuple { src, dst, sport, dport, .. } = parsed.tuple;
                let can_be = !src.is_martian_source() && dst.v4_bits() >> 29 != 7;
                let can_be = can_be && sport != 0 && dport != 0;
                prop_assert!(any == parsed || !can_be && matches!(any.kind, Kind::Drop(_)));
            }
        }
    }
}
