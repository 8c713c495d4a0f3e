//! Frames that no wire would bring: cut off by the capture's snap length, or put together by the
//! NIC that captured them. Each kind has a policy that the user names.

use super::packet;
use super::packet::Packet;
use super::packet::Piece;
use super::skip::Skip;
use pointsman_dataplane::tuple::Proto;
use pointsman_dataplane::wire::checksum;
use pointsman_dataplane::wire::get16;
use pointsman_dataplane::wire::get32;
use pointsman_dataplane::wire::ipv4;
use pointsman_dataplane::wire::ipv6;
use pointsman_dataplane::wire::put16;
use pointsman_dataplane::wire::put32;
use pointsman_dataplane::wire::tcp;
use pointsman_dataplane::wire::udp;

/// The longest packet that is fed; a captured length beyond it is damage.
const LONGEST: usize = 65_535;

/// What is done with frames cut off by the capture's snap length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum Snapped {
    /// Fill them up with zeros and make their checksum fit
    Pad,
    /// Skip them
    Skip,
}

/// What is done with frames above the ports' MTU (1,518 bytes on the wire), which the capturing
/// NIC put together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum Large {
    /// Cut TCP into segments as the wire had them; feed the rest as it is
    Cut,
    /// Feed them as they are: the director says what it says to them
    Feed,
    /// Skip them
    Skip,
}

/// How frames are made fit.
pub(super) struct Policy {
    pub(super) snapped: Snapped,
    pub(super) large: Large,
    /// The largest IP packet.
    pub(super) mtu: usize,
    /// Frames filled up.
    pub(super) padded: u64,
    /// Frames cut into segments.
    pub(super) cut: u64,
    /// Segments that made, beyond the frame itself.
    pub(super) further: u64,
    segment: Vec<u8>,
}

impl Policy {
    pub(super) fn new(snapped: Snapped, large: Large, mtu: usize) -> Self {
        Self { snapped, large, mtu, padded: 0, cut: 0, further: 0, segment: Vec::new() }
    }

    /// Hands on what is fed of a captured frame that was `len` bytes long on the wire: usually the
    /// frame itself.
    pub(super) fn apply<E>(
        &mut self,
        data: &mut Vec<u8>,
        len: u32,
        mut feed: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Result<(), Skip>, E> {
        if data.len() < len as usize
            && let Err(skip) = self.fill_up(data, len as usize)
        {
            return Ok(Err(skip));
        }
        let l3 = packet::ip_of(data).unwrap_or(data.len());
        if data.len() - l3 <= self.mtu || self.large == Large::Feed {
            return feed(data).map(Ok);
        }
        match packet::read(&data[l3..]) {
            // Only padding of the link is too much.
            Ok(p) if p.end <= self.mtu => feed(data).map(Ok),
            _ if self.large == Large::Skip => Ok(Err(Skip::Large)),
            Ok(p) if p.proto == Proto::Tcp && p.piece == Piece::Whole => {
                self.cut(data, l3, &p, feed).map(Ok)
            }
            _ => feed(data).map(Ok),
        }
    }

    fn fill_up(&mut self, data: &mut Vec<u8>, len: usize) -> Result<(), Skip> {
        if self.snapped == Snapped::Skip {
            return Err(Skip::Snapped);
        }
        let l3 = packet::ip_of(data).map_err(|_| Skip::Snapped)?;
        let p = packet::read(&data[l3..]).map_err(|_| Skip::Snapped)?;
        if len - l3 > LONGEST {
            return Err(Skip::TooLong);
        }
        self.padded += 1;
        data.resize(len, 0);
        // Only the link's padding is gone where the packet itself is whole.
        if let Ok(now) = packet::read(&data[l3..])
            && now.end != p.end
            && now.piece == Piece::Whole
        {
            set_checksum(&mut data[l3..], &now);
        }
        Ok(())
    }

    /// As segmentation offload does (the inverse of what a NIC that coalesces did): sequence
    /// numbers and v4 identifications rise, FIN and PSH stay with the last one, CWR with the first.
    fn cut<E>(
        &mut self,
        data: &[u8],
        l3: usize,
        p: &Packet,
        mut feed: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        const CWR: u8 = 0x80;
        let ip = &data[l3..];
        let payload = p.l4 + tcp::header_len(&ip[p.l4..]);
        if payload >= self.mtu {
            return feed(data);
        }
        let was_wrong = !is_right(ip, p);
        let step = self.mtu - payload;
        let pieces = (p.end - payload).div_ceil(step);
        self.cut += 1;
        self.further += pieces as u64 - 1;
        for (n, bytes) in ip[payload..p.end].chunks(step).enumerate() {
            self.segment.clear();
            self.segment.extend_from_slice(&data[..l3 + payload]);
            self.segment.extend_from_slice(bytes);
            let ip = &mut self.segment[l3..];
            let l4 = &mut ip[p.l4..];
            let seq = get32(l4, tcp::SEQ).wrapping_add((n * step) as u32);
            put32(l4, tcp::SEQ, seq);
            if n + 1 < pieces {
                l4[tcp::FLAGS] &= !(tcp::FIN | tcp::PSH);
            }
            if n > 0 {
                l4[tcp::FLAGS] &= !CWR;
            }
            let len = ip.len();
            set_length(ip, len, n as u16);
            let now = Packet { end: len, ..*p };
            set_checksum(ip, &now);
            if was_wrong {
                let at = p.l4 + tcp::CHECKSUM;
                let wrong = get16(ip, at) ^ 0x5555;
                put16(ip, at, wrong);
            }
            feed(&self.segment)?;
        }
        Ok(())
    }
}

/// Writes an IP packet's length; `further` is added to a v4 identification.
fn set_length(ip: &mut [u8], len: usize, further: u16) {
    if ip[0] >> 4 == 4 {
        put16(ip, ipv4::TOTAL, len as u16);
        let id = get16(ip, ipv4::ID).wrapping_add(further);
        put16(ip, ipv4::ID, id);
        let header = ipv4::header_len(ip);
        ipv4::set_checksum(ip, header);
    } else {
        put16(ip, ipv6::PAYLOAD, (len - ipv6::LEN) as u16);
    }
}

/// Where the transport's checksum is.
pub(super) fn checksum_at(p: &Packet) -> usize {
    p.l4 + if p.proto == Proto::Tcp { tcp::CHECKSUM } else { udp::CHECKSUM }
}

/// The folded sum of a whole TCP or UDP packet with its pseudo-header; 0xffff where it is right.
fn total(ip: &[u8], p: &Packet) -> u16 {
    let segment = &ip[p.l4..p.end];
    let pseudo = checksum::pseudo(p.src.0, p.dst.0, p.proto as u8, segment.len());
    checksum::fold(checksum::sum(segment, pseudo))
}

/// Whether a packet's transport checksum is right, or absent.
pub(super) fn is_right(ip: &[u8], p: &Packet) -> bool {
    is_absent(ip, p) || total(ip, p) == 0xffff
}

/// UDP without a checksum.
pub(super) fn is_absent(ip: &[u8], p: &Packet) -> bool {
    p.proto == Proto::Udp && get16(ip, p.l4 + udp::CHECKSUM) == 0
}

/// Makes a packet's transport checksum right; one that is absent stays so.
pub(super) fn set_checksum(ip: &mut [u8], p: &Packet) {
    if is_absent(ip, p) {
        return;
    }
    let at = checksum_at(p);
    put16(ip, at, 0);
    let right = !total(ip, p);
    let none_is_meant = right == 0 && p.proto == Proto::Udp;
    put16(ip, at, if none_is_meant { 0xffff } else { right });
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    fn frame(payload: usize, v6: bool) -> Vec<u8> {
        let b = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let bytes: Vec<u8> = (0..payload).map(|i| i as u8).collect();
        let mut out = Vec::new();
        if v6 {
            let tcp = b.ipv6([1; 16], [2; 16], 64).tcp(1, 2, 1000, 5).ack(7).fin().psh();
            tcp.write(&mut out, &bytes).unwrap();
        } else {
            let tcp =
                b.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(1, 2, 1000, 5).ack(7).fin().psh();
            tcp.write(&mut out, &bytes).unwrap();
        }
        out
    }

    fn fed(policy: &mut Policy, mut data: Vec<u8>, len: usize) -> (Vec<Vec<u8>>, Result<(), Skip>) {
        let mut fed = Vec::new();
        let done = policy.apply(&mut data, len as u32, |f| {
            fed.push(f.to_vec());
            Ok::<_, ()>(())
        });
        (fed, done.unwrap())
    }

    #[test]
    fn coalesced_segments_are_cut_as_the_wire_had_them() {
        for v6 in [false, true] {
            let whole = frame(4000, v6);
            let mut policy = Policy::new(Snapped::Pad, Large::Cut, 1500);
            let (fed, done) = fed(&mut policy, whole.clone(), whole.len());
            assert_eq!((done, fed.len(), policy.cut, policy.further), (Ok(()), 3, 1, 2));
            let (mut bytes, mut seq) = (Vec::new(), 1000);
            for (n, f) in fed.iter().enumerate() {
                let p = packet::read(&f[14..]).unwrap();
                assert!(p.end <= 1500 && p.end == f.len() - 14 && is_right(&f[14..], &p));
                assert_eq!(get32(&f[14 + p.l4..], tcp::SEQ), seq);
                assert_eq!(p.flags & tcp::FIN != 0, n == 2);
                let payload = &f[14 + p.l4 + 20..];
                seq += payload.len() as u32;
                bytes.extend_from_slice(payload);
            }
            assert_eq!(bytes, &whole[whole.len() - 4000..]);
        }
    }

    #[test]
    fn a_wrong_checksum_stays_wrong_when_cut() {
        let mut whole = frame(3000, false);
        whole[14 + 20 + tcp::CHECKSUM] ^= 1;
        let len = whole.len();
        let (fed, _) = fed(&mut Policy::new(Snapped::Pad, Large::Cut, 1500), whole, len);
        assert!(fed.iter().all(|f| !is_right(&f[14..], &packet::read(&f[14..]).unwrap())));
        assert_eq!(fed.len(), 3);
    }

    #[test]
    fn large_frames_are_fed_or_skipped_as_asked() {
        let whole = frame(4000, false);
        let mut feed = Policy::new(Snapped::Pad, Large::Feed, 1500);
        assert_eq!(fed(&mut feed, whole.clone(), whole.len()), (vec![whole.clone()], Ok(())));
        let mut skip = Policy::new(Snapped::Pad, Large::Skip, 1500);
        assert_eq!(fed(&mut skip, whole.clone(), whole.len()), (vec![], Err(Skip::Large)));
    }

    #[test]
    fn snapped_frames_are_filled_up_or_skipped_as_asked() {
        let whole = frame(800, false);
        let snapped = whole[..96].to_vec();
        let (fed_, done) =
            fed(&mut Policy::new(Snapped::Pad, Large::Cut, 1500), snapped.clone(), whole.len());
        assert_eq!((done, fed_.len(), fed_[0].len()), (Ok(()), 1, whole.len()));
        let p = packet::read(&fed_[0][14..]).unwrap();
        assert!(is_right(&fed_[0][14..], &p) && fed_[0][200] == 0);
        let skipped = fed(&mut Policy::new(Snapped::Skip, Large::Cut, 1500), snapped, whole.len());
        assert_eq!(skipped, (vec![], Err(Skip::Snapped)));
        // Headers cut off: there is nothing to fill up.
        let short = whole[..40].to_vec();
        let none = fed(&mut Policy::new(Snapped::Pad, Large::Cut, 1500), short, whole.len());
        assert_eq!(none, (vec![], Err(Skip::Snapped)));
    }

    #[test]
    fn a_length_that_no_packet_has_is_skipped_by_name() {
        let mut policy = Policy::new(Snapped::Pad, Large::Cut, 1500);
        let none = fed(&mut policy, frame(100, false), 1 << 30);
        assert_eq!(none, (vec![], Err(Skip::TooLong)));
    }
}
