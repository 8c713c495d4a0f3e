//! Files of frames as literal bytes.

/// The bytes of a text of hex digits; `#` begins a comment, white space is free.
///
/// # Errors
/// Names what is no hex digit, or says that one is missing.
pub fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut digits = Vec::new();
    for line in text.lines() {
        for c in line.split('#').next().unwrap_or("").chars().filter(|c| !c.is_whitespace()) {
            digits.push(c.to_digit(16).ok_or_else(|| format!("{c:?} is no hex digit"))? as u8);
        }
    }
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err("an odd number of hex digits".into());
    }
    Ok(pairs.map(|p| p[0] << 4 | p[1]).collect())
}
