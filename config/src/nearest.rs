//! The nearest right word to a wrong one.

/// The candidate that `word` was most likely meant to be: at most a third of its letters changed,
/// added, left out or swapped, at least one; case does not count. `None` when no candidate is that
/// near.
pub(crate) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let word: Vec<char> = word.chars().take(MAX + 1).flat_map(char::to_lowercase).collect();
    if word.is_empty() || word.len() > MAX {
        return None;
    }
    let mut best = None;
    for candidate in candidates {
        let letters: Vec<char> =
            candidate.chars().take(MAX + 1).flat_map(char::to_lowercase).collect();
        let allowed = (word.len().max(letters.len()) / 3).max(1);
        if word.len().abs_diff(letters.len()) > allowed {
            continue;
        }
        let distance = distance(&word, &letters);
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Longer words are not looked at: nobody mistypes them, and the work is quadratic.
const MAX: usize = 64;

/// Damerau-Levenshtein distance (optimal string alignment): a swap of neighbours counts as one
/// change.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = change.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_typing_errors() {
        let words = ["rr", "wrr", "lc", "wlc", "sh"];
        assert_eq!(nearest("wlcc", words), Some("wlc"));
        assert_eq!(nearest("WLC", words), Some("wlc"));
        assert_eq!(nearest("sch", words), Some("sh"));
        assert_eq!(nearest("scheduelr", ["scheduler", "service"]), Some("scheduler"));
        assert_eq!(nearest("adresses", ["address", "addresses"]), Some("addresses"));
    }

    #[test]
    fn is_silent_when_nothing_is_near() {
        assert_eq!(nearest("maglev", ["rr", "wrr", "lc", "wlc", "sh"]), None);
        assert_eq!(nearest("", ["rr"]), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), ["rr"]), None);
    }

    #[test]
    fn a_swap_is_one_change() {
        let chars = |s: &str| s.chars().collect::<Vec<_>>();
        assert_eq!(distance(&chars("nat"), &chars("ant")), 1);
        assert_eq!(distance(&chars("kitten"), &chars("sitting")), 3);
        assert_eq!(distance(&chars("abc"), &chars("")), 3);
    }
}
