use super::*;

const FRAME: [u8; 20] = *b"dst...src...\x08\x00aframe";
/// 2023-11-14 22:13:20.123456.
const SECONDS: u32 = 1_700_000_000;
const MICROS: u32 = 123_456;
const STAMP: u64 = SECONDS as u64 * 1_000_000_000 + MICROS as u64 * 1000;

/// Writes numbers in one byte order.
#[derive(Clone, Copy)]
struct Order {
    big: bool,
}

impl Order {
    const BOTH: [Self; 2] = [Self { big: false }, Self { big: true }];

    fn u16(self, n: u16) -> [u8; 2] {
        if self.big { n.to_be_bytes() } else { n.to_le_bytes() }
    }

    fn u32(self, n: u32) -> [u8; 4] {
        if self.big { n.to_be_bytes() } else { n.to_le_bytes() }
    }

    fn u32s(self, numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|n| self.u32(*n)).collect()
    }

    /// A classic pcap with one frame.
    fn classic(self, nanoseconds: bool, link_type: u32) -> Vec<u8> {
        let magic = if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
        let mut file = self.u32s(&[magic]);
        file.extend(self.u16(2));
        file.extend(self.u16(4));
        file.extend(self.u32s(&[0, 0, 262_144, link_type]));
        let fraction = if nanoseconds { MICROS * 1000 } else { MICROS };
        file.extend(self.u32s(&[SECONDS, fraction, FRAME.len() as u32, 1500]));
        file.extend(FRAME);
        file
    }

    /// A block of a pcapng; the body is padded to 32 bits.
    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padded = body.len().next_multiple_of(4);
        let len = padded as u32 + 12;
        let mut block = self.u32s(&[kind, len]);
        block.extend(body);
        block.resize(8 + padded, 0);
        block.extend(self.u32(len));
        block
    }

    fn section(self) -> Vec<u8> {
        let mut body = self.u32s(&[0x1a2b_3c4d]);
        body.extend(self.u16(1));
        body.extend(self.u16(0));
        body.extend([0xff; 8]);
        self.block(0x0a0d_0d0a, &body)
    }

    fn interface(self, link_type: u16, snap_len: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [self.u16(link_type), self.u16(0)].concat();
        body.extend(self.u32(snap_len));
        for (code, value) in options {
            body.extend([self.u16(*code), self.u16(value.len() as u16)].concat());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        body.extend([0; 4]);
        self.block(1, &body)
    }

    fn packet(self, interface: u32, ticks: u64, len: u32) -> Vec<u8> {
        let numbers = [interface, (ticks >> 32) as u32, ticks as u32, FRAME.len() as u32, len];
        self.block(6, &[self.u32s(&numbers), FRAME.to_vec()].concat())
    }

    /// The obsolete block: interface and drops share a word.
    fn old_packet(self, interface: u16, ticks: u64) -> Vec<u8> {
        let mut body = [self.u16(interface), self.u16(9)].concat();
        let len = FRAME.len() as u32;
        body.extend(self.u32s(&[(ticks >> 32) as u32, ticks as u32, len, len]));
        body.extend(FRAME);
        self.block(2, &body)
    }
}

/// All records up to the end or an error.
fn read(file: &[u8]) -> (Vec<(Record, Vec<u8>)>, Option<CaptureError>) {
    let mut reader = match CaptureReader::new(Cursor::new(file.to_vec())) {
        Ok(reader) => reader,
        Err(e) => return (Vec::new(), Some(e)),
    };
    let (mut records, mut data) = (Vec::new(), Vec::new());
    loop {
        match reader.next(&mut data) {
            Ok(Some(record)) => records.push((record, data.clone())),
            Ok(None) => return (records, None),
            Err(e) => return (records, Some(e)),
        }
    }
}

fn whole(file: &[u8]) -> Vec<Record> {
    let (records, error) = read(file);
    assert!(error.is_none(), "{error:?}");
    assert!(records.iter().all(|(_, data)| data.starts_with(&FRAME[..10])));
    records.into_iter().map(|(record, _)| record).collect()
}

fn record(stamp: u64, len: u32, interface: u32) -> Record {
    Record { stamp: Some(stamp), len, interface }
}

#[test]
fn classic_in_either_order_and_resolution() {
    for order in Order::BOTH {
        for nanoseconds in [false, true] {
            let records = whole(&order.classic(nanoseconds, 1));
            assert_eq!(records, [record(STAMP, 1500, 0)], "{nanoseconds} {}", order.big);
        }
        // Four bytes of frame check sequence announced in the upper half.
        assert_eq!(whole(&order.classic(false, 0x4400_0001)).len(), 1);
    }
}

#[test]
fn pcapng_in_either_order_with_clocks_of_each_kind() {
    let micros = u64::from(SECONDS) * 1_000_000 + u64::from(MICROS);
    for order in Order::BOTH {
        let offset = 1_600_000_000_i64;
        let offset = if order.big { offset.to_be_bytes() } else { offset.to_le_bytes() };
        let file = [
            order.section(),
            order.interface(1, 0, &[]),
            order.interface(1, 0, &[(9, &[9])]),
            // 2^-20 s.
            order.interface(1, 0, &[(9, &[0x80 | 20])]),
            order.interface(1, 0, &[(14, &offset), (9, &[3])]),
            order.packet(0, micros, 1500),
            order.packet(1, STAMP, 1500),
            order.packet(2, (u64::from(SECONDS) << 20) + (1 << 19), 20),
            order.packet(3, 100_000_000_500, 20),
            order.old_packet(0, micros),
        ]
        .concat();
        let half = u64::from(SECONDS) * 1_000_000_000 + 500_000_000;
        let expected = [
            record(STAMP, 1500, 0),
            record(STAMP, 1500, 1),
            record(half, 20, 2),
            record(half, 20, 3),
            record(STAMP, 20, 0),
        ];
        assert_eq!(whole(&file), expected, "big-endian: {}", order.big);
    }
}

#[test]
fn simple_packets_have_no_time_and_the_interfaces_snap_length() {
    for order in Order::BOTH {
        let simple = order.block(3, &[&order.u32(100)[..], &FRAME[..18]].concat());
        let file = [order.section(), order.interface(1, 18, &[]), simple].concat();
        let (records, error) = read(&file);
        assert!(error.is_none());
        let expected = Record { stamp: None, len: 100, interface: 0 };
        assert_eq!(records, [(expected, FRAME[..18].to_vec())]);
    }
}

#[test]
fn sections_bring_their_own_order_and_interfaces() {
    let [little, big] = Order::BOTH;
    let file = [
        little.section(),
        little.interface(1, 0, &[]),
        little.interface(1, 0, &[]),
        little.packet(1, 1, 20),
        big.section(),
        big.interface(1, 0, &[(9, &[9])]),
        big.packet(0, 7, 20),
    ]
    .concat();
    assert_eq!(whole(&file), [record(1000, 20, 1), record(7, 20, 0)]);
    let unknown = [file, big.packet(1, 8, 20)].concat();
    let (records, error) = read(&unknown);
    assert_eq!(records.len(), 2);
    assert!(matches!(error, Some(CaptureError::Damaged(_))), "{error:?}");
}

#[test]
fn blocks_larger_than_the_buffer_are_read_and_absurd_ones_refused() {
    let order = Order { big: false };
    let start = [order.section(), order.interface(1, 0, &[])].concat();
    // A block of a kind nobody knows.
    let large = order.block(0x0bad_cafe, &vec![7; 3 * BUFFER]);
    let file = [&start[..], &large, &order.packet(0, 1, 20)].concat();
    assert_eq!(whole(&file), [record(1000, 20, 0)]);

    let at = start.len() as u64;
    let rest = vec![0; MAX_BLOCK];
    let absurd = [&start[..], &order.u32s(&[6, 0xffff_fff0]), &rest].concat();
    let (_, error) = read(&absurd);
    assert!(matches!(error, Some(CaptureError::Damaged(a)) if a == at), "{error:?}");
}

#[test]
fn other_link_types_are_counted_and_have_names() {
    let order = Order { big: true };
    // A classic one is counted like an interface of a pcapng, and named even where it is empty.
    let mut classic = CaptureReader::new(Cursor::new(order.classic(false, 113))).unwrap();
    assert_eq!(classic.foreign().iter().collect::<Vec<_>>(), [(&113, &0)]);
    assert_eq!(classic.next(&mut Vec::new()).unwrap(), None);
    assert_eq!(classic.foreign().iter().collect::<Vec<_>>(), [(&113, &1)]);
    assert_eq!(
        CaptureError::LinkType(113).to_string(),
        "link type LINUX_SLL (113): only Ethernet can be replayed; capture on one interface, not \
         on \"any\""
    );
    let late = [
        order.section(),
        order.interface(1, 0, &[]),
        order.packet(0, 1, 20),
        order.interface(127, 0, &[]),
        order.packet(1, 2, 20),
        order.packet(0, 3, 20),
        order.packet(1, 4, 20),
    ]
    .concat();
    let mut reader = CaptureReader::new(Cursor::new(late)).unwrap();
    let mut data = Vec::new();
    for stamp in [1000, 3000] {
        assert_eq!(reader.next(&mut data).unwrap(), Some(record(stamp, 20, 0)));
    }
    assert_eq!(reader.next(&mut data).unwrap(), None);
    assert_eq!(reader.foreign().iter().collect::<Vec<_>>(), [(&127, &2)]);
    let text = CaptureError::LinkType(127).to_string();
    assert_eq!(text, "link type IEEE802_11_RADIOTAP (127): only Ethernet can be replayed");
}

#[test]
fn what_is_no_capture_says_what_it_is() {
    for bytes in [&b""[..], b"\xd4", b"hello world, this is no capture", &[0; 100]] {
        assert!(matches!(read(bytes).1, Some(CaptureError::NotACapture(None))));
    }
    assert_eq!(compressed(b"\x1f\x8b\x08"), Some("gzip"));
    assert_eq!(compressed(b"\xd4\xc3\xb2\xa1"), None);
}

#[test]
fn a_cut_file_gives_what_is_before_the_cut() {
    for order in Order::BOTH {
        let ng = [order.section(), order.interface(1, 0, &[])].concat();
        let classic = order.classic(false, 1);
        let frame = classic[24..].to_vec();
        for (start, frame) in [(classic, frame), (ng, order.packet(0, 1, 20))] {
            let before = read(&start).0.len();
            let two = [&start[..], &frame, &frame].concat();
            let last = two.len() - frame.len();
            for end in last + 1..two.len() {
                let (records, error) = read(&two[..end]);
                assert_eq!(records.len(), before + 1);
                let at = last as u64;
                assert!(matches!(error, Some(CaptureError::Truncated(a)) if a == at), "{error:?}");
            }
            assert_eq!(whole(&two[..last]).len(), before + 1);
            assert_eq!(whole(&two).len(), before + 2);
        }
    }
}

#[test]
fn a_pipe_may_bring_little_at_a_time() {
    struct Drip(Cursor<Vec<u8>>);
    impl Read for Drip {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let one = buffer.len().min(1);
            self.0.read(&mut buffer[..one])
        }
    }
    let file = Order { big: false }.classic(true, 1);
    let mut reader = CaptureReader::new(Drip(Cursor::new(file))).unwrap();
    let mut data = Vec::new();
    assert_eq!(reader.next(&mut data).unwrap(), Some(record(STAMP, 1500, 0)));
    assert_eq!(data, FRAME);
    assert_eq!(reader.next(&mut data).unwrap(), None);
}

#[test]
fn damage_anywhere_ends_in_an_error_or_in_other_frames() {
    let order = Order { big: false };
    let ng = [
        order.section(),
        order.interface(1, 0, &[(2, b"eth0"), (9, &[6]), (14, &[0; 8])]),
        order.packet(0, 1, 20),
        order.old_packet(0, 1),
        order.block(3, &[&order.u32(20)[..], &FRAME].concat()),
        order.block(5, &[0; 12]),
        order.block(4, &[0; 8]),
    ]
    .concat();
    assert_eq!(whole(&ng).len(), 3);
    for file in [ng, order.classic(false, 1)] {
        for at in 0..file.len() {
            for value in [0x00, 0x7f, 0xff] {
                let mut damaged = file.clone();
                damaged[at] = value;
                assert!(read(&damaged).0.len() <= 3);
            }
        }
    }
}

#[test]
fn what_is_written_is_read_again() {
    let mut writer = CaptureWriter::new(Vec::new()).unwrap();
    writer.frame(STAMP + 789, &FRAME).unwrap();
    writer.frame(u64::MAX, &FRAME).unwrap();
    let file = writer.finish().unwrap();
    let header = b"\x4d\x3c\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\x04\0\x01\0\0\0";
    assert_eq!(&file[..24], header);
    let records = whole(&file);
    assert_eq!(records[0], record(STAMP + 789, 20, 0));
    assert_eq!(records[1].stamp.unwrap() / 1_000_000_000, u64::from(u32::MAX));
}
