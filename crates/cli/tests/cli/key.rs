//! Keys through the binary: made once, shown without their secret, signatures checked.

use std::path::Path;

use crate::common::{Run, assert_one_line_error, run};

const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
const ALICE_HEX: &str = "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";
const MESSAGE: &str = "Proctor: who signed, and what.";
/// By the development account `//Alice` over [`MESSAGE`].
const SIGNATURE: &str = concat!(
    "cc8c4a8e79e258ae779e0db70adf8e4130d11bbb0ac5cb7b224b31d16d303b1f",
    "70398fad835ba1efb9165c0267468b68036e1da1ea8a689aac59d9831775da8f",
);

fn new(path: &Path) -> Run {
    run(&["key", "new", "--out", path.to_str().unwrap()])
}

fn verify(address: &str, signature: &str, message: &str) -> Run {
    let (address, signature) = (format!("--address={address}"), format!("--signature={signature}"));
    run(&["key", "verify", &address, &signature, "--message", message])
}

#[test]
fn a_new_key_is_its_owners_alone_and_is_shown_without_its_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trader.json");
    let made = new(&path);
    assert_eq!((made.code, made.err.as_str()), (Some(0), ""), "{made:?}");
    let address = made.out.trim();
    assert_eq!((address.len(), made.out.lines().count()), (48, 1), "{made:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let field = |name: &str| file[name].as_str().unwrap().to_owned();
    let shown = run(&["key", "show", path.to_str().unwrap()]);
    assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""), "{shown:?}");
    assert_eq!(field("ss58"), address);
    assert!(shown.out.contains(address) && shown.out.contains(&field("public_hex")), "{shown:?}");
    assert!(!shown.out.contains(&field("seed_hex")), "{shown:?}");
}

#[test]
fn two_keys_are_two() {
    let dir = tempfile::tempdir().unwrap();
    let made = ["a.json", "b.json"].map(|name| new(&dir.path().join(name)).out);
    assert_ne!(made[0], made[1]);
}

#[test]
fn a_key_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trader.json");
    assert_eq!(new(&path).code, Some(0));
    let before = std::fs::read(&path).unwrap();
    assert_one_line_error(&new(&path), 2, "exists");
    let forced = run(&["key", "new", "--force", "--out", path.to_str().unwrap()]);
    assert_eq!((forced.code, forced.out.as_str()), (Some(2), ""), "{forced:?}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_one_line_error(&new(&dir.path().join("none/trader.json")), 2, "cannot create");
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trader.json");
    new(&path);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let shown = run(&["key", "show", path.to_str().unwrap()]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.err.starts_with("warning: others"), "{shown:?}");
}

#[test]
fn a_file_that_is_no_key_or_contradicts_itself_is_told_without_its_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trader.json");
    let name = path.to_str().unwrap();
    new(&path);
    let good = std::fs::read_to_string(&path).unwrap();
    let file: serde_json::Value = serde_json::from_str(&good).unwrap();
    let seed = file["seed_hex"].as_str().unwrap();
    let address = file["ss58"].as_str().unwrap();
    for (text, says) in [
        (good.replace(address, ALICE), "ss58 is not the address of seed_hex"),
        (good.replace("\"version\": 1", "\"version\": 9"), "version 9"),
        (good.replace("seed_hex", "seed"), "version, ss58, public_hex and seed_hex"),
        ("x".repeat(5_000), "more than 4096 bytes"),
    ] {
        std::fs::write(&path, text).unwrap();
        let shown = run(&["key", "show", name]);
        assert_one_line_error(&shown, 2, says);
        assert!(!shown.err.contains(seed), "{shown:?}");
    }
    assert_one_line_error(&run(&["key", "show", "no-such.json"]), 2, "cannot read no-such.json");
}

#[test]
fn a_signature_is_checked_with_and_without_0x_by_address_and_by_key() {
    let signature = SIGNATURE.to_owned();
    for signature in [signature.clone(), format!("0x{signature}"), signature.to_uppercase()] {
        for who in [ALICE, ALICE_HEX, &format!("0x{ALICE_HEX}")] {
            let good = verify(who, &signature, MESSAGE);
            assert_eq!(good.code, Some(0), "{good:?}");
            assert_eq!(good.out, "good: signed by this key\n");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("message");
    std::fs::write(&path, MESSAGE).unwrap();
    let path = path.to_str().unwrap();
    let args = ["key", "verify", "--address", ALICE, "--signature", SIGNATURE, "--file", path];
    assert_eq!(run(&args).code, Some(0));
}

#[test]
fn another_message_is_a_no_and_garbage_is_an_error() {
    let other = verify(ALICE, SIGNATURE, "Proctor: who signed, and what?");
    assert_eq!((other.code, other.err.as_str()), (Some(1), ""), "{other:?}");
    assert!(other.out.starts_with("NOT good: "), "{other:?}");
    let zero = "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM";
    for (address, signature, says) in [
        (ALICE, "0x12", "128 hexadecimal digits are wanted"),
        (ALICE, "zz", "128 hexadecimal digits are wanted"),
        (&ALICE.replace("utQY", "utQZ"), SIGNATURE, "checksum"),
        ("alice", SIGNATURE, "is not an address"),
        ("0x12", SIGNATURE, "64 hexadecimal digits are wanted"),
        (zero, SIGNATURE, "anybody could sign for it"),
    ] {
        assert_one_line_error(&verify(address, signature, MESSAGE), 2, says);
    }
}
