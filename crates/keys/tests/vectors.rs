//! Real addresses, and signatures that other implementations have made.
//!
//! The data is not part of the repository. It is looked for beside it, or where `PROCTOR_SHARED` says;
//! without it the tests say that they skip.

#![allow(clippy::print_stdout, reason = "a test that skips says so")]

use std::path::{Path, PathBuf};

use proctor_keys::ss58::{Address, InvalidAddress};
use proctor_keys::{PublicKey, Signature, Wrapping};

/// Returns a file of the shared data, or `None` after saying that it is absent.
#[allow(clippy::disallowed_methods, reason = "the test's data is outside of the repository")]
fn shared(name: &str) -> Option<String> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("PROCTOR_SHARED").map_or_else(beside, PathBuf::from);
    let path = shared.join("data/keys").join(name);
    if !path.exists() {
        println!("SKIPPED: {} is absent; set PROCTOR_SHARED to its folder", path.display());
        return None;
    }
    Some(std::fs::read_to_string(&path).expect("a file that exists can be read"))
}

#[test]
fn real_addresses_parse_and_print_as_they_were() {
    let Some(text) = shared("ss58_valid.txt") else { return };
    let mut count = 0;
    for line in text.lines() {
        let address: Address = line.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(address.to_string(), line);
        assert_eq!(address.trader().as_str(), line);
        count += 1;
    }
    assert_eq!(count, 419);
}

#[test]
fn real_mistakes_are_found_by_the_checksum() {
    let Some(text) = shared("ss58_invalid.txt") else { return };
    let mut count = 0;
    for line in text.lines() {
        let address = line.split_whitespace().next().expect("an address in each line");
        assert_eq!(address.parse::<Address>(), Err(InvalidAddress::Checksum), "{address}");
        count += 1;
    }
    assert_eq!(count, 2);
}

#[test]
fn signatures_of_other_implementations_count_or_not_as_they_say() {
    let Some(text) = shared("sr25519_vectors_selfmade.json") else { return };
    let file: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let vectors = file["vectors"].as_array().expect("vectors");
    for vector in vectors {
        let of = |field: &str| vector[field].as_str().expect("a text").to_owned();
        let case = format!("{} by {}", of("case"), of("signer"));
        assert_eq!(of("context"), "substrate", "{case}");
        let address: Address = of("ss58").parse().expect("an address");
        let key = PublicKey::from_hex(&of("public_hex")).expect("a key");
        assert_eq!(key.address(address.prefix), address, "{case}");
        let (plain, prefixed) = (of("signature_hex"), format!("0x{}", of("signature_hex")));
        for hex in [plain, prefixed] {
            let signature = Signature::from_hex(&hex).expect("hexadecimal");
            let verified = key.verify(of("message_utf8").as_bytes(), &signature);
            assert_eq!(verified.is_ok(), vector["valid"].as_bool().expect("valid"), "{case}");
            if case.contains("<Bytes>") {
                assert_eq!(verified, Ok(Wrapping::Bytes), "{case}");
            }
        }
    }
    assert_eq!(vectors.len(), 26);
}
