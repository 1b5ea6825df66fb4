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
use proctor_commit_log::{Log, LogConfig, Storage, verify};

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
    let config = LogConfig::default();
    let (length, ahead) = (config.segment_bytes, config.preallocate_bytes);
    let (mut log, _) = Log::open(Arc::new(FileStorage::create(&path)?), config)?;
    let mut bare = Probe::create(directory, length, length)?;
    let mut like_log = Probe::create(&path, length, ahead)?;
    let (payload, written) = (vec![0xAB; bytes], batch_bytes(records, bytes));
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for turn in 0..TURNS {
        // Who goes first changes, so that nobody profits from his place.
        for who in (0..3).map(|place| (turn + place) % 3) {
            times[who].push(match who {
                0 => log_turn(&mut log, records, &payload)?,
                1 => like_log.run(written, SYNCS_A_TURN)?,
                _ => bare.run(written, SYNCS_A_TURN)?,
            });
        }
    }
    log.close()?;
    let [own, like_log, bare] = &times;
    writeln!(
        io::stdout(),
        "{records:>3} x {bytes:>5} bytes a sync: {:>6.0} syncs/s ({:.0} records/s), bare fdatasync \
         {:.0}/s; time {:.3} of the probe's that fills ahead like the log, {:.3} of the bare one's",
        rate(own),
        rate(own) * f64::from(u32::try_from(records)?),
        rate(bare),
        ratio(own, like_log),
        ratio(own, bare),
    )?;
    Ok(())
}

/// The median of the ratios of turns side by side.
fn ratio(own: &[Duration], probe: &[Duration]) -> f64 {
    let turns = own.iter().zip(probe);
    median(turns.map(|(own, probe)| own.as_secs_f64() / probe.as_secs_f64()).collect())
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
    let verified = verify(storage.clone())?;
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
