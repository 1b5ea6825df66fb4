//! Numbers that are looked up when they are asked for: the writer's, the gates', the process's.

use std::fmt;
use std::sync::PoisonError;

use proctor_sequencer::stats::{Spread, Stats};
use proctor_sequencer::{Clock as _, Handle, SystemClock};
use proctor_types::UtcMs;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::{ChildWatchers, Gates};

/// What is looked up.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) started: UtcMs,
    pub(super) writer: Option<Handle>,
    pub(super) gates: Gates,
    pub(super) child_watchers: ChildWatchers,
}

impl Collector for Collected {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        let help = "When the process began, since 1970";
        out.gauge("process_start_time", help, Some(&Unit::Seconds), seconds(self.started))?;
        if let Some(bytes) = resident_bytes() {
            let help = "Memory of the process that is in use";
            out.gauge("resident_memory", help, Some(&Unit::Bytes), bytes)?;
        }
        out.watchers(&self.gates, &self.child_watchers)?;
        match &self.writer {
            Some(writer) => {
                out.queue(writer)?;
                out.stats(writer.stats())
            }
            None => Ok(()),
        }
    }
}

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
        let out = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        ConstGauge::new(value).encode(out)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let out = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(out)
    }

    /// Writes `spread`; `scale` is what its numbers are divided by.
    fn spread(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        spread: &Spread,
        scale: f64,
    ) -> fmt::Result {
        let now = spread.now();
        let end = |end: Option<u64>| end.map_or(f64::INFINITY, |end| float(end) / scale);
        let buckets: Vec<_> = now.buckets.iter().map(|(bound, n)| (end(*bound), *n)).collect();
        let mut out = self.0.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        out.encode_histogram::<NoLabelSet>(float(now.sum) / scale, now.count(), &buckets, None)
    }

    fn time(&mut self, name: &str, help: &str, spread: &Spread) -> fmt::Result {
        self.spread(name, help, Some(&Unit::Seconds), spread, 1e9)
    }

    fn watchers(&mut self, gates: &Gates, children: &ChildWatchers) -> fmt::Result {
        let gates = gates.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let children = children.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let here = gates.iter().map(|(service, gate)| {
            let watchers = u64::try_from(gate.watchers()).unwrap_or(u64::MAX);
            (*service, (watchers, gate.too_slow()))
        });
        let all: Vec<(&str, (u64, u64))> = here.chain(children).collect();
        let help = "Streams of changes that are open";
        let mut out = self.0.encode_descriptor("watchers", help, None, MetricType::Gauge)?;
        for (service, (watchers, _)) in &all {
            let labels = [("service", *service)];
            let watchers = i64::try_from(*watchers).unwrap_or(i64::MAX);
            ConstGauge::new(watchers).encode(out.encode_family(&labels)?)?;
        }
        let help = "Watchers that were let go because they took nothing for too long";
        let mut out =
            self.0.encode_descriptor("watchers_too_slow", help, None, MetricType::Counter)?;
        for (service, (_, too_slow)) in &all {
            let labels = [("service", *service)];
            ConstCounter::new(*too_slow).encode(out.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn queue(&mut self, writer: &Handle) -> fmt::Result {
        let count = |n: usize| float(u64::try_from(n).unwrap_or(u64::MAX));
        self.gauge("queue_depth", "Submissions that wait", None, count(writer.waiting()))?;
        let help = "Submissions that may wait";
        self.gauge("queue_capacity", help, None, count(writer.queue_max()))?;
        let stamp = writer.view().stamp;
        self.gauge("commit", "The newest commit", None, float(stamp.commit))?;
        let help = "Time of the newest commit, since 1970";
        self.gauge("commit_time", help, Some(&Unit::Seconds), seconds(stamp.at))?;
        let age = (seconds(SystemClock.now()) - seconds(stamp.at)).max(0.0);
        self.gauge("view_age", "Age of the newest commit", Some(&Unit::Seconds), age)
    }

    fn stats(&mut self, stats: &Stats) -> fmt::Result {
        self.counter("commits", "Commits since the start", stats.commits())?;
        self.counter("inputs", "Inputs of those commits", stats.inputs())?;
        self.counter("queue_full", "Submissions that found the queue full", stats.busy())?;
        self.counter("snapshots", "Snapshots written", stats.snapshots())?;
        let help = "Snapshots that could not be written";
        self.counter("snapshots_failed", help, stats.snapshots_failed())?;
        if let Some(shelf) = stats.shelf() {
            let help = "Closed positions kept on disk instead of memory";
            self.gauge("shelf", help, Some(&Unit::Bytes), float(shelf.bytes()))?;
            let help = "Closed positions that stay in memory because the disk did not take them";
            self.counter("shelf_refused", help, shelf.refused())?;
        }
        let stopped = if stats.stopped() { 1.0 } else { 0.0 };
        self.gauge("log_stopped", "1 once the log has failed", None, stopped)?;
        let help = "Submissions that share a commit";
        self.spread("submissions_per_commit", help, None, &stats.submissions, 1.0)?;
        self.time("log_write", "Append and sync of a group of commits", &stats.log)?;
        self.time("apply", "Applying a commit", &stats.apply)?;
        self.time("publish", "Publishing the view after a group of commits", &stats.publish)?;
        let help = "Inputs that the rules refused, by code";
        let mut out = self.0.encode_descriptor("rejections", help, None, MetricType::Counter)?;
        for (code, count) in stats.rejections() {
            ConstCounter::new(count).encode(out.encode_family(&[("code", code)])?)?;
        }
        Ok(())
    }
}

fn seconds(at: UtcMs) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of this era are below 2^53")]
    let ms = at.0 as f64;
    ms / 1_000.0
}

pub(super) fn float(count: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a metric is a float; beyond 2^53 it is rounded")]
    let float = count as f64;
    float
}

/// Returns the memory that the process has in use, where the system tells.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(float(kib.saturating_mul(1_024)))
}
