//! How long frames are.

use crate::Random;
use std::str::FromStr;

/// The Ethernet check sequence, which is counted in a frame's name (64, 1518) but not captured.
pub(crate) const CHECK: usize = 4;
/// The simple Internet mix: of twelve frames seven are of 64 bytes, four of 594, one of 1,518.
const IMIX: [(usize, usize); 3] = [(7, 64), (4, 594), (1, 1518)];

/// Lengths of frames, named as on the wire: with the check sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sizes {
    /// All the same.
    Fixed(usize),
    /// The simple Internet mix.
    Imix,
}

impl Sizes {
    /// The least of them.
    pub fn least(self) -> usize {
        match self {
            Self::Fixed(size) => size,
            Self::Imix => IMIX.iter().map(|m| m.1).min().unwrap_or(0),
        }
    }

    /// The next frame's length in memory, without the check sequence.
    pub fn draw(self, random: &mut Random) -> usize {
        let size = match self {
            Self::Fixed(size) => size,
            Self::Imix => {
                let all = IMIX.iter().map(|m| m.0).sum();
                let mut at = random.below(all);
                let found = IMIX.iter().find(|(weight, _)| {
                    let is_it = at < *weight;
                    at = at.wrapping_sub(*weight);
                    is_it
                });
                found.map_or(IMIX[0].1, |m| m.1)
            }
        };
        size - CHECK
    }
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            (mix, _) if mix.eq_ignore_ascii_case("imix") => Ok(Self::Imix),
            (_, Ok(size @ 64..=9018)) => Ok(Self::Fixed(size)),
            _ => Err("give imix, or a length from 64 to 9018 bytes".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_has_its_shares() {
        let mut random = Random(1);
        let mut counts = [0; 3];
        for _ in 0..120_000 {
            let size = Sizes::Imix.draw(&mut random);
            counts[IMIX.iter().position(|m| m.1 == size + CHECK).unwrap()] += 1;
        }
        for (count, (weight, _)) in counts.iter().zip(IMIX) {
            assert!((count - weight as i32 * 10_000).abs() < 1000, "{counts:?}");
        }
    }

    #[test]
    fn names() {
        assert_eq!("imix".parse(), Ok(Sizes::Imix));
        assert_eq!("IMIX".parse(), Ok(Sizes::Imix));
        assert_eq!("64".parse(), Ok(Sizes::Fixed(64)));
        assert!("63".parse::<Sizes>().is_err() && "big".parse::<Sizes>().is_err());
    }
}
