//! `bench network`, the part without a network: headers and certificates, and a log to be fetched.

use std::sync::Arc;

use proctor_commit_log::Storage;
use proctor_engine::Input;
use proctor_engine::rulebook::VANTA;
use proctor_p2p::certificate::{RANGE_MAX, check_range};
use proctor_p2p::header::BODY_BYTES_MAX;
use proctor_p2p::{Certificate, ChainId, Committee, Facts, Header, NodeId, Signature, Tip, Trust};
use proctor_ratchet_crypto::Identity;
use proctor_sequencer::{Batch, Writer, WriterConfig};
use proctor_types::{Digest, Price, Quote, SourceName, TradePair, UtcMs};
use proctor_wire::log_entry::encoded_len;
use serde_json::json;

use super::rounds::{Plan, per_second, timed};
use super::workload::{START, price_at};
use super::{Aim, BenchError, Figure, Scale};

const BENCH: &str = "network";
/// Bytes of every commit but the first in the log that is fetched.
pub const BODY_BYTES: usize = 512;
/// Time between two commits of that log, in ms.
const COMMIT_EVERY_MS: i64 = 1_000;
/// Commits that share a sync while that log is made.
const GROUP: u64 = 2_048;
/// Whose prices its commits are; so many as fit.
const PAIRS: [&str; 8] =
    ["BTCUSD", "ETHUSD", "SOLUSD", "XRPUSD", "DOGEUSD", "ADAUSD", "EURUSD", "GBPUSD"];
const CHAIN: ChainId = ChainId(Digest([0x6E; 32]));

/// Measures how many headers a second are verified in full ranges, each with one certificate, for
/// committees of one, four and a hundred members; beside the hashes and the signatures alone.
///
/// # Errors
/// [`BenchError`] when a range does not verify: then the workload is broken.
pub fn headers(scale: Scale, report: &mut dyn FnMut(Figure)) -> Result<(), BenchError> {
    let (rounds, ranges) = (scale.pick(21, 2), scale.pick(40, 1));
    for (members, aim) in [(1, None), (4, Some(20_000.0)), (100, Some(10_000.0))] {
        let range = Range::new(members)?;
        let mut rates = [Vec::new(), Vec::new(), Vec::new()];
        for round in 0..rounds {
            for who in (0..3).map(|place| (round + place) % 3) {
                let (elapsed, good) = timed(|| (0..ranges).all(|_| range.part(who)));
                if !good {
                    return Err(BenchError::Workload("a range does not verify".into()));
                }
                rates[who].push(per_second(ranges * RANGE_MAX, elapsed));
            }
        }
        let [own, hashes, signatures] = rates;
        let plan = Plan {
            bench: BENCH,
            figure: "headers verified",
            unit: "headers per second",
            aim: aim.map(Aim::AtLeast),
            params: json!({
                "committee": members,
                "signatures": range.signatures.len(),
                "certificate_bytes": range.certificate.proof.len(),
                "headers_per_certificate": RANGE_MAX,
            }),
        };
        for (other, rates) in [("hashes alone", hashes), ("signatures alone", signatures)] {
            report(plan.compared(&own, other, "headers per second", &rates));
        }
    }
    Ok(())
}

/// A full range of headers, and what it is checked against.
struct Range {
    trust: Trust,
    headers: Vec<Header>,
    certificate: Certificate,
    /// What the members sign, and those signatures that the certificate holds.
    signed: Vec<u8>,
    signatures: Vec<(NodeId, Signature)>,
}

impl Range {
    fn new(members: usize) -> Result<Self, BenchError> {
        let broken = |error: &dyn ToString| BenchError::Workload(error.to_string());
        let identities = (0..members)
            .map(|number| {
                let mut seed = [0x51; 32];
                seed[..8].copy_from_slice(&number.to_le_bytes());
                Identity::from_seed(&seed).map_err(|error| broken(&error))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let keys = identities.iter().map(|identity| NodeId(identity.public())).collect();
        let committee = Committee::new(0, keys).map_err(|error| broken(&error))?;
        let (mut tip, mut headers) = (Tip::GENESIS, Vec::new());
        for height in 1..=RANGE_MAX as u64 {
            let header = Header::after(&tip, facts(height))
                .ok_or_else(|| BenchError::Workload("no header can follow".into()))?;
            tip = header.tip(&CHAIN);
            headers.push(header);
        }
        let signed = Certificate::signed_bytes(&CHAIN, 0, tip.height, &tip.digest);
        let mut signatures = Vec::new();
        for identity in &identities {
            let signature = identity.sign(&signed).map_err(|error| broken(&error))?;
            signatures.push((NodeId(identity.public()), Signature(signature)));
        }
        signatures.sort_unstable();
        signatures.truncate(committee.quorum());
        let certificate = match signatures.as_slice() {
            [(_, only)] => Certificate::solo(&CHAIN, 0, &tip, |_| *only),
            several => Certificate::quorum(&committee, &tip, several)
                .ok_or_else(|| BenchError::Workload("no quorum has signed".into()))?,
        };
        let trust = Trust { chain: CHAIN, committee };
        Ok(Self { trust, headers, certificate, signed, signatures })
    }

    /// Does all of the work, or the hashes alone, or the signatures alone.
    fn part(&self, who: usize) -> bool {
        match who {
            0 => check_range(&self.trust, &Tip::GENESIS, &self.headers, &self.certificate).is_ok(),
            1 => {
                let hash = |_, header: &Header| header.tip(&CHAIN);
                self.headers.iter().fold(Tip::GENESIS, hash).digest == self.certificate.digest
            }
            _ => self.signatures.iter().all(|(node, one)| node.verify(&self.signed, one).is_ok()),
        }
    }
}

fn facts(height: u64) -> Facts {
    let number = height.to_be_bytes();
    Facts {
        record_before: Digest::of(&number),
        body: Digest::of(&[&number[..], b"body"].concat()),
        body_len: BODY_BYTES_MAX,
        time: START,
        state_before: Digest::of(&[&number[..], b"state"].concat()),
        next_committee: None,
    }
}

/// Writes a log into the empty `storage`: the built-in rulebook, then `commits` commits of
/// [`BODY_BYTES`] each with the prices of several pairs, and one snapshot, of commit
/// `snapshot_every`. It is left as a crash leaves it.
///
/// # Errors
/// [`BenchError`] when the log fails.
pub fn price_log(
    storage: Arc<dyn Storage>,
    commits: u64,
    snapshot_every: u64,
) -> Result<(), BenchError> {
    let config = WriterConfig { snapshot_every, ..WriterConfig::default() };
    let mut writer = Writer::open(storage, config)?.writer;
    write(&mut writer, vec![Batch { at: START, inputs: vec![Input::Rulebook(VANTA.into())] }])?;
    for first in (1..=commits).step_by(usize::try_from(GROUP).unwrap_or(1)) {
        let numbers = first..(first + GROUP).min(commits + 1);
        write(&mut writer, numbers.map(prices).collect::<Result<_, _>>()?)?;
    }
    Ok(())
}

fn write(writer: &mut Writer, batches: Vec<Batch>) -> Result<(), BenchError> {
    for answer in writer.commit(batches) {
        if let Some(refusal) = answer?.replies.iter().find_map(|reply| reply.as_ref().err()) {
            return Err(BenchError::Workload(refusal.to_string()));
        }
    }
    Ok(())
}

/// Returns commit `number` of the log: as many prices as fit, and a name that fills the rest.
fn prices(number: u64) -> Result<Batch, BenchError> {
    let at = UtcMs(START.0 + i64::try_from(number).unwrap_or(0) * COMMIT_EVERY_MS);
    Ok(Batch { at, inputs: vec![price_input(number, at)?] })
}

/// Returns prices at `at`, as one input whose commit has [`BODY_BYTES`] bytes.
///
/// # Errors
/// [`BenchError::Workload`] when the names of pairs or sources are not valid ones.
pub fn price_input(number: u64, at: UtcMs) -> Result<Input, BenchError> {
    let broken = |what: &dyn ToString| BenchError::Workload(what.to_string());
    let source = |name: &str| SourceName::new(name).map_err(|error| broken(&error));
    let price = Price::new(price_at(usize::try_from(number).unwrap_or(0)));
    let price = price.map_err(|error| broken(&error))?;
    let length = |quotes: &[Quote]| encoded_len(&[Input::Prices(quotes.to_vec())]);
    let mut quotes: Vec<Quote> = Vec::new();
    for name in PAIRS {
        let pair = TradePair::from_id(name).ok_or_else(|| broken(&name))?;
        quotes.push(Quote::event(pair, source("x")?, at, price));
        if length(&quotes) > BODY_BYTES {
            quotes.pop();
            break;
        }
    }
    let missing = BODY_BYTES.saturating_sub(length(&quotes));
    if let Some(last) = quotes.last_mut() {
        last.source = source(&"x".repeat(1 + missing))?;
    }
    Ok(Input::Prices(quotes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_commit_of_the_log_has_the_stated_length() {
        for number in [1, 999, 1_000_000] {
            let batch = prices(number).expect("valid names");
            assert_eq!(encoded_len(&batch.inputs), BODY_BYTES);
        }
    }
}
