//! Hexadecimal text of a fixed length, with or without `0x`.

/// The text is not the hexadecimal form of so many bytes.
///
/// Neither variant repeats the text: it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHex {
    /// Another number of characters than digits are needed, a leading `0x` not counted.
    #[error("{expected} hexadecimal digits are wanted, {found} characters were given")]
    Length {
        /// How many digits are needed.
        expected: usize,
        /// How many bytes the text has.
        found: usize,
    },
    /// The byte at this place, counted from 0 after a leading `0x`, is no digit.
    #[error("the character at place {0} is not a hexadecimal digit")]
    Digit(usize),
}

/// Writes the bytes that `text` spells to `bytes`; a leading `0x` and both cases are accepted.
///
/// # Errors
/// [`InvalidHex`] when the text is not two digits for each byte. `bytes` is of no meaning then.
pub fn decode_to(text: &str, bytes: &mut [u8]) -> Result<(), InvalidHex> {
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    let expected = bytes.len() * 2;
    if digits.len() != expected {
        return Err(InvalidHex::Length { expected, found: digits.len() });
    }
    let (pairs, _) = digits.as_chunks::<2>();
    for (place, (byte, [high, low])) in bytes.iter_mut().zip(pairs).enumerate() {
        let high = digit(*high).ok_or(InvalidHex::Digit(place * 2))?;
        let low = digit(*low).ok_or(InvalidHex::Digit(place * 2 + 1))?;
        *byte = high << 4 | low;
    }
    Ok(())
}

/// Returns the bytes that `text` spells; see [`decode_to`].
///
/// # Errors
/// [`InvalidHex`] when the text is not `2 * N` digits.
pub fn decode<const N: usize>(text: &str) -> Result<[u8; N], InvalidHex> {
    let mut bytes = [0; N];
    decode_to(text, &mut bytes)?;
    Ok(bytes)
}

/// Returns two lower-case digits for each byte, without `0x`.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    // Made in one piece: a text that grows leaves copies behind, and this one may be a secret.
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }));
        }
    }
    text
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_with_and_without_prefix_in_both_cases() {
        for text in ["00ff7a", "0x00ff7a", "0x00FF7A", "00fF7a"] {
            assert_eq!(decode(text), Ok([0, 255, 0x7a]), "{text}");
        }
        assert_eq!(encode(&[0, 255, 0x7a]), "00ff7a");
    }

    #[test]
    fn what_is_not_so_many_digits_is_refused_and_not_repeated() {
        let length = |found| Err(InvalidHex::Length { expected: 4, found });
        for (text, error) in [
            ("", length(0)),
            ("0x", length(0)),
            ("0x0", length(1)),
            ("00ff0", length(5)),
            ("0x0x00", Err(InvalidHex::Digit(1))),
            ("0X00", Err(InvalidHex::Digit(1))),
            ("00 f", Err(InvalidHex::Digit(2))),
            ("000g", Err(InvalidHex::Digit(3))),
            ("\u{e9}\u{e9}", Err(InvalidHex::Digit(0))),
            ("\u{e9}", length(2)),
        ] {
            assert_eq!(decode::<2>(text), error, "{text:?}");
        }
    }
}
