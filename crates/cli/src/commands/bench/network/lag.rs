//! How far a follower is behind: from a commit being durable at the sequencer to its being applied.
//!
//! Both nodes are in this process, each with a runtime of its own, so that one clock tells both moments.
//! A thread for each waits for its views to change; a view is published after the commit is durable, and
//! on a follower after it is applied as well.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use proctor_commit_log::probe::batch_bytes;
use proctor_daemon::network::NodeKey;
use proctor_daemon::{Running, Stop};
use proctor_node::bench::{Aim, BODY_BYTES, Figure, price_input};
use proctor_sequencer::{Clock as _, SystemClock, Views};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle as Task;
use tokio::time::MissedTickBehavior;

use super::nodes::{config, free_port};
use super::{percentile, plan, stream};

/// How long the follower may take to be where the sequencer is.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// 99 of 100 commits are to be applied by then, in milliseconds.
const AIM_MS: f64 = 100.0;
/// Round trips and syncs that are measured beside.
const LIMIT_SAMPLES: usize = 500;

/// Measures the lag at each of `rates` commits a second, each for `seconds`.
pub(super) fn measure(
    directory: &Path,
    rates: &[u32],
    seconds: u32,
    report: &mut dyn FnMut(Figure),
) -> Result<()> {
    let pair = Pair::start(directory)?;
    for rate in rates {
        let lags = pair.run(*rate, seconds)?;
        let (trips, syncs) = pair.limits(directory)?;
        let limit = |share| percentile(&trips, share) + percentile(&syncs, share);
        let params = |share| {
            json!({
                "wanted_per_second": rate,
                "achieved_per_second": lags.len() as f64 / f64::from(seconds),
                "commits": lags.len(),
                "bytes_per_commit": BODY_BYTES,
                "round_trip_ms": percentile(&trips, share),
                "fdatasync_ms": percentile(&syncs, share),
            })
        };
        for (figure, share, aim) in [
            ("lag of a follower, median", 0.5, None),
            ("lag of a follower, 99th percentile", 0.99, Some(Aim::AtMost(AIM_MS))),
        ] {
            let plan = plan(figure, "ms", aim, params(share));
            let other = "an empty round trip and an fdatasync";
            let measured = percentile(&lags, share);
            let figure = plan.compared(&[measured], other, "ms", &[limit(share)]);
            let range = lags.first().zip(lags.last()).map(|(low, high)| [*low, *high]);
            report(Figure { range, ..figure });
        }
    }
    pair.stop()
}

/// A sequencer and its follower.
struct Pair {
    runtimes: [Runtime; 2],
    views: [Views; 2],
    backend: proctor_services::Backend,
    stops: [Stop; 2],
    ended: [Task<Result<(), proctor_daemon::NodeError>>; 2],
}

impl Pair {
    fn start(directory: &Path) -> Result<Self> {
        let data = ["ordering", "following"].map(|name| directory.join(name));
        std::fs::create_dir_all(&data[0])?;
        let key = NodeKey::load_or_make(&data[0].join("node.key"))?.id();
        let port = free_port()?;
        let settings = [
            format!("listen.peers={port}"),
            format!("network.follow={:?}", [format!("{key}@127.0.0.1:{port}")]),
        ];
        let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let (runtimes, stops) = ([runtime()?, runtime()?], [Stop::default(), Stop::default()]);
        let start = |place: usize, settings: &[String]| -> Result<Running> {
            let config = config(&data[place], settings)?;
            Ok(runtimes[place].block_on(Running::start(config, stops[place].clone()))?)
        };
        let ordering = start(0, &settings[..1])?;
        let own = [settings[1].clone(), "listen.peers=0".to_owned()];
        let following = start(1, &own)?;
        let views = [&ordering, &following].map(|node| node.backend().views().clone());
        let backend = ordering.backend().clone();
        let ended = [
            runtimes[0].spawn(ordering.until_stopped()),
            runtimes[1].spawn(following.until_stopped()),
        ];
        let pair = Self { runtimes, views, backend, stops, ended };
        pair.is_level()?;
        Ok(pair)
    }

    /// Waits until the follower is where the sequencer is.
    fn is_level(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let [first, second] = self.views.each_ref().map(|views| views.peek().stamp.commit);
            if first > 0 && first == second {
                return Ok(());
            }
            ensure!(Instant::now() < until, "the follower is at commit {second} of {first}");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Orders commits at a fixed rate; returns how late each was applied, in milliseconds, sorted.
    fn run(&self, rate: u32, seconds: u32) -> Result<Vec<f64>> {
        let first = self.views[0].peek().stamp.commit;
        let watches = self.views.each_ref().map(|views| Watch::start(views.clone()));
        let count = u64::from(rate) * u64::from(seconds);
        let backend = self.backend.clone();
        let sent = self.runtimes[0].block_on(async move {
            let mut beat = tokio::time::interval(Duration::from_secs(1) / rate);
            beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut answers = tokio::task::JoinSet::new();
            for number in 0..count {
                beat.tick().await;
                let input = price_input(number, SystemClock.now())?;
                let backend = backend.clone();
                answers.spawn(async move { backend.command(input).await });
                while let Some(answered) = answers.try_join_next() {
                    answered?.map_err(|problem| anyhow!("{}", problem.message))?;
                }
            }
            while let Some(answered) = answers.join_next().await {
                answered?.map_err(|problem| anyhow!("{}", problem.message))?;
            }
            Ok::<_, anyhow::Error>(())
        });
        let level = sent.and_then(|()| self.is_level());
        let [durable, applied] = watches.map(Watch::end);
        level?;
        let last = self.views[0].peek().stamp.commit;
        let (durable, applied) = (durable?, applied?);
        let mut lags = (first + 1..=last)
            .map(|commit| {
                let (durable, applied) = (reached(&durable, commit)?, reached(&applied, commit)?);
                Some(applied.saturating_duration_since(durable).as_secs_f64() * 1e3)
            })
            .collect::<Option<Vec<f64>>>()
            .context("the workload is broken: a commit was not seen")?;
        ensure!(!lags.is_empty(), "the workload is broken: nothing was committed");
        lags.sort_unstable_by(f64::total_cmp);
        Ok(lags)
    }

    /// Returns how long empty round trips and syncs of one commit take, in milliseconds, sorted.
    fn limits(&self, directory: &Path) -> Result<(Vec<f64>, Vec<f64>)> {
        let trips = self.runtimes[1].block_on(stream::round_trips(LIMIT_SAMPLES))?;
        let mut probe = super::probe(directory)?;
        let mut syncs = Vec::with_capacity(LIMIT_SAMPLES);
        for _ in 0..LIMIT_SAMPLES {
            syncs.push(probe.run(batch_bytes(1, BODY_BYTES), 1)?.as_secs_f64() * 1e3);
        }
        syncs.sort_unstable_by(f64::total_cmp);
        Ok((trips, syncs))
    }

    fn stop(self) -> Result<()> {
        let Self { runtimes, stops, ended, .. } = self;
        for ((runtime, stop), ended) in runtimes.iter().zip(&stops).zip(ended).rev() {
            stop.stop();
            runtime.block_on(ended)??;
        }
        Ok(())
    }
}

/// A thread that notes when which commit could be seen.
struct Watch {
    thread: JoinHandle<Vec<(u64, Instant)>>,
    over: Arc<AtomicBool>,
}

impl Watch {
    fn start(views: Views) -> Self {
        use event_listener::Listener as _;
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            let mut last = views.peek().stamp.commit;
            while !told.load(Ordering::Relaxed) {
                let changed = views.changed();
                let commit = views.peek().stamp.commit;
                if commit > last {
                    seen.push((commit, Instant::now()));
                    last = commit;
                    continue;
                }
                changed.wait_timeout(LOOK_EVERY);
            }
            seen
        });
        Self { thread, over }
    }

    fn end(self) -> Result<Vec<(u64, Instant)>> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("a watching thread has panicked"))
    }
}

/// Returns when `commit` could first be seen.
fn reached(seen: &[(u64, Instant)], commit: u64) -> Option<Instant> {
    let place = seen.partition_point(|(at, _)| *at < commit);
    seen.get(place).map(|(_, moment)| *moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_seen_with_the_first_view_that_has_it() {
        let now = Instant::now();
        let later = |ms| now + Duration::from_millis(ms);
        let seen = [(3, now), (7, later(1)), (8, later(2))];
        let found = [3, 4, 7, 8, 9].map(|commit| reached(&seen, commit));
        assert_eq!(found, [Some(now), Some(later(1)), Some(later(1)), Some(later(2)), None]);
    }

    #[test]
    fn a_percentile_is_one_of_the_samples() {
        let samples: Vec<f64> = (0..101).map(f64::from).collect();
        assert_eq!(
            [0.0, 0.5, 0.99, 1.0].map(|s| percentile(&samples, s)),
            [0.0, 50.0, 99.0, 100.0]
        );
        assert_eq!(percentile(&[4.0], 0.99), 4.0);
        assert!(percentile(&[], 0.5).is_nan());
    }
}
