//! Fuzz target: evidence files, and what a forger makes who recomputes everything that can be.

use proctor_fuzz::{Fuzz, kind};

use super::*;

/// A log's evidence about Alice, and what it is held against.
struct Original {
    proof: Vec<u8>,
    confirmed: Confirmed,
}

impl Original {
    fn of(case: &Case) -> Self {
        let proof = file::read(case.text()).expect("a file").proof.expect("base64");
        Self { proof, confirmed: alone(case.text()).expect("confirmed") }
    }
}

/// Returns a path's hashes and everything else, unpacked, with the length of the first (`u16`) before
/// them: what lies under compression and checksums, where mutations find the meaning.
fn unpacked(path: &LogPath) -> Vec<u8> {
    let encoded = path.encode();
    let length = u16::try_from(encoded.hashes.len()).expect("a small log");
    [&length.to_le_bytes()[..], &encoded.hashes, &encoded.rest].concat()
}

/// Reads what [`unpacked`] wrote.
fn path_of(bytes: &[u8]) -> Result<LogPath, String> {
    let (length, bytes) = bytes.split_first_chunk().ok_or("no length")?;
    let length = usize::from(u16::from_le_bytes(*length));
    let (hashes, rest) = bytes.split_at_checked(length).ok_or("no hashes")?;
    LogPath::decode(hashes, rest).map_err(|error| error.to_string())
}

/// Returns the file in which a changed path tells what follows from it.
fn retold(path: &LogPath) -> Result<String, String> {
    let (extracts, anchors) = proof::check(path).map_err(|error| error.to_string())?;
    let told = retell::retell(path, &extracts).map_err(|error| error.to_string())?;
    file::write(path, &path.encode(), &anchors, &told).map_err(|error| error.to_string())
}

/// A file is refused with a reason, or it says of the log that it names what that log says.
fn judge(file: &[u8], originals: &[Original]) -> Result<usize, String> {
    let confirmed = verify(file, &Expected::default()).map_err(|error| error.to_string())?;
    for Original { confirmed: known, .. } in originals {
        let same_log = confirmed.anchors == known.anchors && known.anchors.digest.is_some();
        if same_log && confirmed.trader == known.trader && confirmed.given.is_empty() {
            let (found, known) = (&confirmed.verdict, &known.verdict);
            assert_eq!(found, known, "two verdicts of one account from one log");
        }
    }
    Ok(confirmed.anchors.head.commit.min(9) as usize)
}

fn check(input: &[u8], originals: &[Original]) -> String {
    let (how, bytes) = input.split_first().map_or((0, input), |(how, bytes)| (*how % 3, bytes));
    let file = match how {
        0 => Ok(bytes.to_vec()),
        1 => file::path(bytes).and_then(|path| retold(&path)).map(String::into_bytes),
        _ => path_of(bytes).and_then(|path| retold(&path)).map(String::into_bytes),
    };
    format!("{how} {}", kind(&file.and_then(|file| judge(&file, originals))))
}

#[test]
fn fuzz_evidence_is_refused_with_a_reason_or_says_what_its_log_says() {
    let cases = [active(), eliminated(), liquidated(), twice(true)].map(Case::of);
    let originals = cases.each_ref().map(Original::of);
    let mut fuzz = Fuzz::target("evidence").executions(400);
    for (case, original) in cases.iter().zip(&originals) {
        fuzz = fuzz
            .seed([&[0][..], case.text().as_bytes()].concat())
            .seed([&[0][..], &case.evidence.gzip().expect("memory")].concat())
            .seed([&[1][..], &original.proof].concat())
            .seed([&[2][..], &unpacked(&case.path())].concat());
    }
    // Nothing; an opening and nothing more; a proof that says it has more hashes than there are.
    fuzz.rows(&["", "007b0a", "01ffffffffffffffff", "02ffff"])
        .run(|input| check(input, &originals));
}
