//! A new follower: by fetching every commit and judging it, and by a snapshot; as `proctor sync` does it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use proctor_commit_log::probe::batch_bytes;
use proctor_daemon::fetch::{self, Fetched};
use proctor_node::bench::{Aim, BODY_BYTES, Figure, price_log};
use proctor_node::data_dir::DataDir;
use serde_json::{Value, json};

use super::nodes::{Source, config};
use super::plan;
use super::usage::{Meter, Used};

/// A million commits in three minutes.
const AIM: f64 = 1_000_000.0 / 180.0;
/// How long a follower waits for the next commit.
const PATIENCE: Duration = Duration::from_secs(60);
/// Syncs of the bare disk that are measured, and large writes.
const SYNCS: u32 = 100;
const WRITES: u32 = 32;
const WRITE_BYTES: usize = 4 << 20;
/// Headers that share a certificate, which is synced as well.
const RANGE: f64 = 256.0;

/// Measures how fast a new follower gets `commits` commits.
pub(super) fn measure(
    directory: &Path,
    commits: u64,
    report: &mut dyn FnMut(Figure),
) -> Result<()> {
    let data = directory.join("source");
    // One snapshot, when nine tenths are done.
    let every = format!("log.snapshot_every={}", commits * 9 / 10);
    {
        let dir = DataDir::create(&data)?;
        price_log(dir.storage(), commits, commits * 9 / 10)?;
    }
    let source = Source::start(&data, std::slice::from_ref(&every))?;
    let replayed = Run::of(&directory.join("replayed"), &source, std::slice::from_ref(&every))?;
    ensure!(replayed.fetched.at > commits, "the workload is broken: {:?}", replayed.fetched);
    report_replay(directory, commits, &replayed, report)?;
    let joins = [every, "network.snapshot_gap=1".to_owned()];
    let joined = Run::of(&directory.join("joined"), &source, &joins)?;
    ensure!(joined.fetched.at >= replayed.fetched.at, "not all is here: {:?}", joined.fetched);
    ensure!(
        joined.fetched.bytes < replayed.fetched.bytes,
        "the workload is broken: the node did not join by a snapshot: {:?}",
        joined.fetched
    );
    let params = json!({
        "commits": commits, "after_the_snapshot": commits - commits * 9 / 10,
        "fetched_bytes": joined.fetched.bytes, "see": "proctor bench log",
    });
    let plan = plan("join by a snapshot", "s", None, params);
    report(plan.compared(&[joined.seconds], "catching up", "s", &[replayed.seconds]));
    Ok(())
}

/// One follower, from an empty directory to everything on disk.
struct Run {
    fetched: Fetched,
    seconds: f64,
    used: Used,
}

impl Run {
    fn of(data: &Path, source: &Source, settings: &[String]) -> Result<Self> {
        let follow = format!("network.follow={:?}", [&source.at]);
        let more = [settings, &[follow, "listen.peers=0".to_owned()]].concat();
        let config = config(data, &more)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let (meter, begun) = (Meter::new(source.pid()), Instant::now());
        let fetched = runtime.block_on(fetch::fetch(&config, PATIENCE, |_| {}));
        let seconds = begun.elapsed().as_secs_f64();
        let fetched = fetched.context("the follower does not catch up")?;
        Ok(Self { fetched, seconds, used: meter.used() })
    }

    /// Returns what a commit took of the processors, in microseconds: of the follower and the source.
    fn processor_us(&self) -> [Option<f64>; 2] {
        self.used.processor.map(|used| used.map(|seconds| seconds * 1e6 / self.fetched.at as f64))
    }
}

/// The bare disk in the same directory.
struct Disk {
    /// Seconds of a sync of one group's bytes.
    sync: f64,
    /// Bytes a second.
    rate: f64,
}

impl Disk {
    fn measure(directory: &Path, group_bytes: usize) -> Result<Self> {
        let mut probe = super::probe(directory)?;
        let synced = probe.run(group_bytes, SYNCS)?;
        let written = probe.run(WRITE_BYTES, WRITES)?;
        Ok(Self {
            sync: synced.as_secs_f64() / f64::from(SYNCS),
            rate: WRITE_BYTES as f64 * f64::from(WRITES) / written.as_secs_f64(),
        })
    }
}

fn report_replay(
    directory: &Path,
    commits: u64,
    run: &Run,
    report: &mut dyn FnMut(Figure),
) -> Result<()> {
    let (at, groups) = (run.fetched.at as f64, run.fetched.groups.max(1) as f64);
    let per_group = (at / groups).max(1.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least one")]
    let disk = Disk::measure(directory, batch_bytes(per_group as usize, BODY_BYTES))?;
    // Of the log, and of the certificates when a range ends in the group.
    let syncs = groups + groups.min(at / RANGE);
    let syncing = syncs * disk.sync;
    let bounds = json!({
        "commits": commits,
        "bytes_per_commit": BODY_BYTES,
        "seconds": run.seconds,
        "commits_per_group": per_group,
        "syncs": syncs,
        "storing_s": run.fetched.storing_ms as f64 / 1e3,
        "as_bare_syncs_s": syncing,
        "bound_by": bound_by(run, syncing, &disk),
    });
    let rate = at / run.seconds;
    let caught_up = plan("catching up", "commits per second", Some(Aim::AtLeast(AIM)), bounds);
    let other = "its fdatasyncs alone";
    report(caught_up.compared(&[rate], other, "commits per second", &[at / syncing]));
    for (whose, used) in ["processor time of the follower", "processor time of the source"]
        .into_iter()
        .zip(run.processor_us())
    {
        let used: Vec<f64> = used.into_iter().collect();
        report(plan(whose, "us per commit", None, json!({ "commits": commits })).measured(&used));
    }
    let written: Vec<f64> =
        run.used.written.iter().map(|bytes| bytes / run.seconds / 1e6).collect();
    let params = json!({ "bytes_per_commit": run.used.written.map(|bytes| bytes / at) });
    let plan = plan("written to files", "MB per second", None, params);
    let bare = vec![disk.rate / 1e6; written.len()];
    report(plan.compared(&written, "4 MiB and an fdatasync each", "MB per second", &bare));
    Ok(())
}

/// Returns what would take longest if nothing else took any time, with each share of the time taken.
fn bound_by(run: &Run, syncing: f64, disk: &Disk) -> Value {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let processor: f64 = run.used.processor.iter().flatten().sum::<f64>() / cores;
    let writing = run.used.written.unwrap_or(0.0) / disk.rate;
    let shares = [("processors", processor), ("syncs", syncing), ("writes", writing)]
        .map(|(what, seconds)| (what, seconds / run.seconds));
    let most = shares.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or("", |(what, _)| what);
    json!({ "most": most, "shares": shares.into_iter().collect::<std::collections::BTreeMap<_, _>>() })
}
