//! Base64, strict: bytes have one text, and text stands for bytes only if it is that one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Returns `bytes` in base64, padded (RFC 4648).
pub(super) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Returns the bytes that `text` stands for; `None` unless it is exactly what [`to_base64`] gives
/// for at least one byte: the padding is required, and bits that are not used must be zero.
pub(super) fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty())
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
    fn no_text_but_the_one_is_taken() {
        for text in ["", "Zg", "Zg=", "Zh==", "Zg==Zg==", "Zm9v\n", "Zm9-"] {
            assert_eq!(from_base64(text.as_bytes()), None, "{text:?}");
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
