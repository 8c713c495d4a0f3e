//! Numbers of a stream in which bytes have become others, more or fewer: where a sequence number of
//! its sender lies for its receiver, and the reverse. A PROXY protocol header is such a change, in
//! which nothing has become something; what an FTP server or client says of addresses is another.

use crate::isn::is_past;
use zerocopy::FromZeros;

/// A change in a stream: at `at`, as its sender counts, `old` bytes have become `new` ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromZeros)]
#[repr(C)]
pub struct Change {
    /// Where it begins, as the sender counts.
    pub at: u32,
    /// Bytes that the sender wrote.
    pub old: u16,
    /// Bytes that the receiver gets instead.
    pub new: u16,
}

impl Change {
    /// None.
    pub const NONE: Self = Self { at: 0, old: 0, new: 0 };

    /// Whether there is one.
    pub fn is_some(&self) -> bool {
        *self != Self::NONE
    }

    /// What it adds to the numbers behind it.
    pub fn by(&self) -> u32 {
        u32::from(self.new).wrapping_sub(self.old.into())
    }

    /// The sender's number behind it.
    pub fn end(&self) -> u32 {
        self.at.wrapping_add(self.old.into())
    }
}

/// Which way a number goes that lies within the new bytes, of which the sender knows nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Round {
    /// To where the change begins.
    Down,
    /// To where it ends.
    Up,
}

/// How the numbers of one end's stream move.
///
/// `shift` holds behind the change, so that one of which the receiver has all is simply forgotten:
/// what was written before it lies, moved by `shift`, still below all that the receiver has, where it
/// is a copy, and no acknowledgement, however late, tells of more than the receiver has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stream {
    /// Added to numbers behind the change.
    pub shift: u32,
    /// The change that the receiver has perhaps not got yet.
    pub change: Change,
}

impl Stream {
    /// Numbers stay.
    pub const SAME: Self = Self { shift: 0, change: Change::NONE };

    /// Where a number of the sender's lies for the receiver. The new bytes come with the last one
    /// that they replace, so what begins within those begins there.
    pub fn there(&self, number: u32) -> u32 {
        let Self { shift, change } = self;
        let before = shift.wrapping_sub(change.by());
        if !is_past(change.end(), number) {
            number.wrapping_add(*shift)
        } else if is_past(number, change.at) {
            change.at.wrapping_add(before)
        } else {
            number.wrapping_add(before)
        }
    }

    /// Where a number that the receiver acknowledges lies for the sender. One that has some of the
    /// new bytes has nothing yet of what they replace, which the sender then sends again from its
    /// first byte.
    pub fn back(&self, number: u32, round: Round) -> u32 {
        let Self { shift, change } = self;
        let behind = number.wrapping_sub(*shift);
        let before = behind.wrapping_add(change.by());
        if !is_past(change.end(), behind) {
            behind
        } else if !is_past(before, change.at) {
            before
        } else if round == Round::Down {
            change.at
        } else {
            change.end()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(shift: u32, at: u32, old: u16, new: u16) -> Stream {
        Stream { shift, change: Change { at, old, new } }
    }

    #[test]
    fn behind_the_change_the_shift_holds_and_before_it_what_held_before() {
        // 20 bytes at 100 have become 10, 23 or as many; the numbers before move by 1000.
        for (new, behind) in [(10, 990), (23, 1003), (20, 1000)] {
            let s = stream(behind, 100, 20, new);
            for (number, there) in
                [(50, 1050), (100, 1100), (120, 120 + behind), (500, 500 + behind)]
            {
                assert_eq!(s.there(number), there, "{number} of {new}");
                for round in [Round::Down, Round::Up] {
                    assert_eq!(s.back(there, round), number, "{there} of {new}");
                }
            }
            for within in 101..120 {
                assert_eq!(s.there(within), 1100);
            }
            for within in 1101..1100 + u32::from(new) {
                assert_eq!(s.back(within, Round::Down), 100);
                assert_eq!(s.back(within, Round::Up), 120);
            }
        }
    }

    #[test]
    fn numbers_wrap() {
        let s = stream(13, u32::MAX - 5, 10, 13);
        assert_eq!(s.there(u32::MAX - 6), 3);
        assert_eq!(s.there(u32::MAX), 4);
        assert_eq!(s.there(4), 17);
        assert_eq!(s.back(16, Round::Down), u32::MAX - 5);
        assert_eq!(s.back(16, Round::Up), 4);
    }

    /// A PROXY header: nothing has become something, so the number itself lies behind it.
    #[test]
    fn nothing_that_has_become_something() {
        let s = stream(128, 1000, 0, 28);
        assert_eq!((s.there(999), s.there(1000), s.there(1001)), (1099, 1128, 1129));
        for within in 1100..=1128 {
            assert_eq!((s.back(within, Round::Down), s.back(within, Round::Up)), (1000, 1000));
        }
        assert_eq!(s.back(1099, Round::Down), 999);
    }

    #[test]
    fn without_a_change_all_move_alike() {
        for number in [0, 1, u32::MAX, 1 << 31] {
            assert_eq!(Stream::SAME.there(number), number);
            assert_eq!(Stream::SAME.back(number, Round::Up), number);
            let s = stream(7, 0, 0, 0);
            assert_eq!(s.back(s.there(number), Round::Down), number);
        }
    }
}
