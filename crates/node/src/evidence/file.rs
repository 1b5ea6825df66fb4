//! The evidence file: one JSON document, written so that a line is a fact.
//!
//! Everything before the proof is computed from the proof, by the writer and again by whoever
//! verifies; so the part that people read cannot say anything else than the part that proves it.

use std::io;

use proctor_types::Digest;
use proctor_wire::log_path::{Encoded, LogPath};
use serde::Serialize;
use serde_json::{Value, json};

use super::base64::{from_base64, to_base64};
use super::proof::Anchors;
use super::retell::Told;
use super::{EvidenceError, attest, packed};
use crate::explain::Moment;

/// Names the layout; the first thing in every file.
pub const FORMAT: &str = "proctor.evidence/3";
/// The same for a trader of whom the log holds no signed order: nothing of one is in the file.
pub const FORMAT_UNSIGNED: &str = "proctor.evidence/2";
/// Characters of the proof on one line; divisible by four.
const PROOF_LINE: usize = 120;
/// What stands before the proof and before the checksum, each at the beginning of a line.
const PROOF: &str = "\"proof\": [\n";
const CHECKSUM: &str = "\"checksum\": \"";

/// A file taken apart.
pub(super) struct Parts<'a> {
    /// Everything before the proof.
    pub(super) readable: &'a str,
    /// The proof in base64, lines joined; `None` when the lines are not as they are written.
    pub(super) proof: Option<Vec<u8>>,
    /// Whether the checksum is that of everything before it.
    pub(super) is_whole: bool,
}

/// Returns the file of `path`, which has these bytes, tells `told` and has these anchors.
pub(super) fn write(
    path: &LogPath,
    encoded: &Encoded,
    anchors: &Anchors,
    told: &Told,
) -> Result<String, EvidenceError> {
    let mut text = readable(path, anchors, told)?;
    text.push_str(PROOF);
    let encoded = to_base64(&packed(encoded).map_err(EvidenceError::Bytes)?);
    let lines = encoded.len().div_ceil(PROOF_LINE);
    text.reserve(encoded.len() + 4 * lines + 100);
    for (number, line) in (1..).zip(encoded.as_bytes().chunks(PROOF_LINE)) {
        text.push('"');
        text.push_str(std::str::from_utf8(line).unwrap_or_default());
        text.push_str(if number == lines { "\"\n" } else { "\",\n" });
    }
    text.push_str("],\n");
    let checksum = Digest::of(text.as_bytes());
    text.push_str(&format!("{CHECKSUM}{checksum}\"\n}}\n"));
    Ok(text)
}

/// Returns the bytes of the proof: the length of the hashes (`u64`, least byte first), the hashes, and
/// everything else compressed.
fn packed(Encoded { hashes, rest }: &Encoded) -> io::Result<Vec<u8>> {
    let rest = packed::pack(rest)?;
    let mut bytes = Vec::with_capacity(8 + hashes.len() + rest.len());
    bytes.extend_from_slice(&u64::try_from(hashes.len()).map_err(io::Error::other)?.to_le_bytes());
    bytes.extend_from_slice(hashes);
    bytes.extend_from_slice(&rest);
    Ok(bytes)
}

/// Returns the path that the bytes of a proof hold.
///
/// # Errors
/// What is wrong with them, in words.
pub(super) fn path(proof: &[u8]) -> Result<LogPath, String> {
    let cut = || "the proof is cut off".to_owned();
    let (length, bytes) = proof.split_first_chunk().ok_or_else(cut)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| cut())?;
    let (hashes, rest) = bytes.split_at_checked(length).ok_or_else(cut)?;
    let rest = packed::unpack(rest).map_err(|error| format!("the proof: {error}"))?;
    LogPath::decode(hashes, &rest).map_err(|error| format!("the proof cannot be decoded: {error}"))
}

/// Takes a file apart; `None` when it is not laid out as one.
pub(super) fn read(text: &str) -> Option<Parts<'_>> {
    let checksum_at = text.rfind(CHECKSUM)?;
    let (before, checksum) = text.split_at(checksum_at);
    let proof_at = before.rfind(PROOF)?;
    let (readable, proof) = before.split_at(proof_at);
    let computed = format!("{CHECKSUM}{}\"\n}}\n", Digest::of(before.as_bytes()));
    let proof = proof_bytes(&proof[PROOF.len()..]);
    Some(Parts { readable, proof, is_whole: computed == checksum })
}

fn proof_bytes(lines: &str) -> Option<Vec<u8>> {
    let lines = lines.strip_suffix("\"\n],\n")?.strip_prefix('"')?;
    let mut encoded = Vec::with_capacity(lines.len());
    for line in lines.split("\",\n\"") {
        encoded.extend_from_slice(line.as_bytes());
    }
    from_base64(&encoded)
}

/// Returns everything before the proof.
pub(super) fn readable(
    path: &LogPath,
    anchors: &Anchors,
    told: &Told,
) -> serde_json::Result<String> {
    let story = &told.story;
    let format = if told.signed.is_empty() { FORMAT_UNSIGNED } else { FORMAT };
    let mut page = Page(format!("{{\n\"format\": \"{format}\",\n"));
    page.field("trader", &path.trader)?;
    page.field("status", &story.status)?;
    page.field("verdict_in_words", &in_words(told))?;
    page.field("anchors", &anchors_json(anchors))?;
    let attested = path.attested.as_deref();
    let rows = attested.map(|all| all.iter().map(|one| attest::row(&path.trader, one)));
    page.field("given", &attested.map(|all| attest::in_words(&path.trader, all)))?;
    page.rows("attested", &rows.into_iter().flatten().collect::<Vec<_>>())?;
    page.field("decision", &story.verdict)?;
    page.rows("undone", &story.undone)?;
    page.field("standing", &story.standing)?;
    page.field("account", &story.account)?;
    page.field(
        "rulebook",
        &json!({
            "name": story.account.rulebook.name,
            "version": story.account.rulebook.version,
            "hash": story.account.rulebook.hash,
            "text": told.rulebook,
        }),
    )?;
    page.field("counts", &story.counts)?;
    page.rows("orders", &story.orders)?;
    if !told.signed.is_empty() {
        page.field("signed_columns", &["commit", "order", "signature", "payload"])?;
        page.rows("signed", &told.signed)?;
    }
    page.rows("positions", &story.positions)?;
    page.field("price_columns", &["commit", "pair", "price", "source", "record_ms", "lag_ms"])?;
    page.rows("prices", &told.prices)?;
    page.field("step_columns", &["step", "commit", "ms", "value", "peak", "ratio"])?;
    page.rows("steps", &told.steps)?;
    page.field("ledger", &story.ledger)?;
    page.rows("notes", &story.notes)?;
    Ok(page.0)
}

/// A document in the making: a line for each field, or for each row of a field.
struct Page(String);

impl Page {
    fn field(&mut self, name: &str, value: &impl Serialize) -> serde_json::Result<()> {
        self.0.push_str(&format!("\"{name}\": {},\n", serde_json::to_string(value)?));
        Ok(())
    }

    fn rows(&mut self, name: &str, rows: &[impl Serialize]) -> serde_json::Result<()> {
        self.0.push_str(&format!("\"{name}\": [\n"));
        for (number, row) in (1..).zip(rows) {
            self.0.push_str(&serde_json::to_string(row)?);
            self.0.push_str(if number == rows.len() { "\n" } else { ",\n" });
        }
        self.0.push_str("],\n");
        Ok(())
    }
}

fn anchors_json(anchors: &Anchors) -> Value {
    let Anchors { chain, head, input_chain, digest } = anchors;
    json!({
        "chain": chain.to_string(),
        "head": { "commit": head.commit, "ms": head.at.0, "text": head.at.to_string() },
        "digest": digest.map(|digest| digest.to_string()),
        "input_chain": input_chain.to_string(),
    })
}

/// Returns the verdict, or how far it is, in a sentence.
pub(super) fn in_words(told: &Told) -> String {
    let story = &told.story;
    match (&story.verdict, &story.standing) {
        (Some(verdict), _) => {
            let Moment { text, .. } = &verdict.decided.at;
            let fall = verdict.fall.as_ref().map_or_else(String::new, |fall| {
                let (value, peak) = (fall.value, fall.peak.value);
                format!(": value {value} of peak {peak}, {} % lost", fall.drawdown_percent)
            });
            format!(
                "{} ended at commit {} ({text}) by rule {}, {}{fall}",
                story.trader, verdict.decided.commit, verdict.rule, verdict.reason,
            )
        }
        (None, Some(standing)) => format!(
            "{} is {}: value {} of peak {}, the account ends at value {}",
            story.trader, story.status, standing.value, standing.peak, standing.limit_value
        ),
        (None, None) => format!("{} is {} and has not traded", story.trader, story.status),
    }
}
