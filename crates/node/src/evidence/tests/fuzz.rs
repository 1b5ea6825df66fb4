//! Fuzz target: an evidence file that was altered is refused, also with its checksum made right.

use proctor_fuzz::{Fuzz, Script, kind};

use super::*;

/// The part of a file that the first byte names is replaced by the rest, and the checksum made right.
fn altered(text: &str, input: &[u8]) -> Vec<u8> {
    let mut script = Script::new(input);
    let (how, at) = (script.below(4), script.number() * 7 + script.number());
    let new = script.bytes();
    let mut bytes = text.as_bytes().to_vec();
    let at = at % bytes.len();
    let end = bytes.len().min(at + new.len());
    match how {
        0 => return script.rest().to_vec(),
        1 => bytes.truncate(at),
        2 => bytes[at..end].copy_from_slice(&new[..end - at]),
        _ => _ = bytes.splice(at..at, new.iter().copied()),
    }
    let Ok(text) = std::str::from_utf8(&bytes) else { return bytes };
    let mark = "\"checksum\": \"";
    let Some(place) = text.rfind(mark) else { return bytes };
    let before = &text[..place];
    format!("{before}{mark}{}\"\n}}\n", Digest::of(before.as_bytes())).into_bytes()
}

#[test]
fn fuzz_evidence_an_altered_file_is_refused_with_a_reason() {
    let case = Case::of(liquidated());
    let text = case.text().to_owned();
    let packed = case.evidence.gzip().expect("packed");
    let mut fuzz = Fuzz::target("evidence").executions(100).len_max(1 << 10);
    for at in 0..40_u8 {
        fuzz = fuzz.seed([1 + at % 3, at.wrapping_mul(53), at, at, 0, 2, b'0' + at % 10, b'7']);
    }
    // Whole files, as they are and packed, so that their insides are altered without a new checksum.
    fuzz = fuzz.seed([&[0, 0, 0, 0, 0, 0][..], text.as_bytes()].concat());
    fuzz.seed([&[0, 0, 0, 0, 0, 0][..], &packed].concat()).run(|input| {
        let bytes = altered(&text, input);
        match verify(&bytes, &Expected::default()) {
            Ok(confirmed) => {
                // The same file, plain or packed in another way; nothing else says this.
                let plain = if packed::is_gzip(&bytes) {
                    packed::gunzip(&bytes).expect("it was read")
                } else {
                    bytes
                };
                assert!(plain == text.as_bytes(), "another file was confirmed");
                kind(&confirmed.verdict)
            }
            Err(refusal) => {
                assert!(
                    refusal.to_string().len() < 4 << 10,
                    "a refusal repeats little of the file"
                );
                kind(&refusal.to_string().chars().take(40).collect::<String>())
            }
        }
    });
}
