//! Durable appends a second, beside the bare fdatasync rate of the same disk in the same run.
//!
//! `cargo run --release -p proctor-commit-log --example append_rate [directory]`
//!
//! Log and probe take turns, because the time of an fdatasync changes with the load of the machine
//! from one second to the next; the ratio of two turns side by side does not.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proctor_commit_log::probe::{Probe, batch_bytes};
use proctor_commit_log::storage::files::FileStorage;
use proctor_commit_log::{Head, Log, LogConfig, Storage, verify};

type Failure = Box<dyn std::error::Error>;

/// Bytes of a small record.
const PAYLOAD_BYTES: usize = 100;
const TURNS: usize = 40;
const SYNCS_A_TURN: u32 = 50;

fn main() -> Result<(), Failure> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let directory = tempfile::tempdir_in(parent)?;
    for records in [1, 16, 256] {
        append(directory.path(), records, PAYLOAD_BYTES)?;
    }
    // As many bytes in one record: the way a commit of many inputs is logged.
    append(directory.path(), 1, 256 * PAYLOAD_BYTES)?;
    scan(directory.path())
}

/// Appends and probes in turns, `records` for each sync.
fn append(directory: &Path, records: usize, bytes: usize) -> Result<(), Failure> {
    let path = directory.join(format!("log-{records}-{bytes}"));
    let (mut log, _) = Log::open(Arc::new(FileStorage::create(&path)?), LogConfig::default())?;
    let mut probe = Probe::create(directory, 64 << 20)?;
    let (mut own, mut bare) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        // Who goes first changes, so that neither profits from its place.
        for who in [turn % 2, (turn + 1) % 2] {
            if who == 0 {
                own.push(log_turn(&mut log, records, &vec![0xAB; bytes])?);
            } else {
                bare.push(probe.run(batch_bytes(records, bytes), SYNCS_A_TURN)?);
            }
        }
    }
    log.close()?;
    let ratios = own.iter().zip(&bare).map(|(own, bare)| own.as_secs_f64() / bare.as_secs_f64());
    let (own, bare) = (rate(&own), rate(&bare));
    writeln!(
        io::stdout(),
        "{records:>3} x {bytes:>5} bytes a sync: log {own:>6.0}/s, bare fdatasync {bare:>6.0}/s, \
         time ratio {:.3} (median of {TURNS} turns), {:.0} records/s",
        median(ratios.collect()),
        own * f64::from(u32::try_from(records)?),
    )?;
    Ok(())
}

fn log_turn(log: &mut Log, records: usize, payload: &[u8]) -> Result<Duration, Failure> {
    let start = Instant::now();
    for _ in 0..SYNCS_A_TURN {
        for _ in 0..records {
            log.append(payload)?;
        }
        log.sync()?;
    }
    Ok(start.elapsed())
}

/// Writes a million records and goes through them: verify, and open.
fn scan(directory: &Path) -> Result<(), Failure> {
    let storage: Arc<dyn Storage> = Arc::new(FileStorage::create(&directory.join("scan"))?);
    let (mut log, _) = Log::open(storage.clone(), LogConfig::default())?;
    for index in 1..=1_000_000u32 {
        log.append(&[0xCD; PAYLOAD_BYTES])?;
        if index % 256 == 0 {
            log.sync()?;
        }
    }
    log.close()?;
    let start = Instant::now();
    let verified = verify(storage.clone(), Head::GENESIS)?;
    let verifying = start.elapsed();
    let start = Instant::now();
    let (log, _) = Log::open(storage, LogConfig::default())?;
    let opening = start.elapsed();
    let start = Instant::now();
    let read = log.read_from(1)?.map(|record| record.map(|record| record.payload.len()));
    let bytes = read.sum::<Result<usize, _>>()?;
    writeln!(
        io::stdout(),
        "{} records, {bytes} bytes: verify {verifying:.2?}, open {opening:.2?}, read {:.2?}",
        verified.records,
        start.elapsed(),
    )?;
    Ok(())
}

/// Syncs a second in the median turn.
fn rate(turns: &[Duration]) -> f64 {
    f64::from(SYNCS_A_TURN) / median(turns.iter().map(Duration::as_secs_f64).collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
