//! Base64, strict: bytes have one text, and text stands for bytes only if it is that one.

/// The characters of base64, in the order of their values (RFC 4648).
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Returns `bytes` in base64, padded.
pub(super) fn to_base64(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=group.len()].copy_from_slice(group);
        let word = u32::from_be_bytes(word);
        for place in 0..4 {
            let digit = usize::try_from(word >> (18 - 6 * place) & 63).unwrap_or(0);
            text.push(if place <= group.len() { ALPHABET[digit] } else { b'=' });
        }
    }
    String::from_utf8(text).expect("the alphabet is ASCII")
}

/// Returns the bytes that `text` stands for; `None` unless it is exactly what [`to_base64`] gives.
pub(super) fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut values = [u8::MAX; 256];
    for (value, digit) in (0_u8..).zip(ALPHABET) {
        values[usize::from(*digit)] = value;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let last = text.len().checked_sub(1)? / 4;
    for (number, group) in text.chunks(4).enumerate() {
        let digits = group.iter().position(|digit| *digit == b'=').unwrap_or(group.len());
        let is_padded = group.len() == 4 && group[digits..].iter().all(|digit| *digit == b'=');
        if !is_padded || digits < 2 || (digits < 4 && number != last) {
            return None;
        }
        let mut word = 0_u32;
        for digit in &group[..digits] {
            let value = values[usize::from(*digit)];
            if value == u8::MAX {
                return None;
            }
            word = word << 6 | u32::from(value);
        }
        word <<= 6 * (4 - digits);
        let decoded = word.to_be_bytes();
        // Bits that are not used must be zero, or two texts would stand for the same bytes.
        if decoded[digits..].iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(&decoded[1..digits]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_survive_base64_and_any_other_text_is_refused(
            bytes in prop::collection::vec(any::<u8>(), 1..40),
            at: prop::sample::Index,
            other: u8,
        ) {
            let text = to_base64(&bytes);
            prop_assert_eq!(from_base64(text.as_bytes()), Some(bytes.clone()));
            let mut changed = text.into_bytes();
            let at = at.index(changed.len());
            prop_assume!(changed[at] != other);
            changed[at] = other;
            prop_assert_ne!(from_base64(&changed), Some(bytes));
        }
    }

    #[test]
    fn base64_is_that_of_everybody_else() {
        for (bytes, text) in [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(to_base64(bytes.as_bytes()), text);
        }
    }
}
