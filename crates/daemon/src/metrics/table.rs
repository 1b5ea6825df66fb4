//! Calls in numbers: times by method and outcome, refusals, what is under way; here and in children.
//!
//! A child counts as the node does and tells what it has counted since it last told ([`Counted`]); the
//! node adds it to its own. So there is one place to look, in either mode, and a child that is started
//! again takes nothing back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use serde::{Deserialize, Serialize};

/// Upper ends of the buckets of call times, in microseconds; one more bucket has no end.
const BUCKETS_US: [u64; 13] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000,
    10_000_000,
];
/// How many buckets there are.
const BUCKETS: usize = BUCKETS_US.len() + 1;

/// A method of the contract.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct MethodLabels {
    pub(super) service: Arc<str>,
    pub(super) method: Arc<str>,
}

/// How calls of a method ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct EndLabels {
    pub(super) service: Arc<str>,
    pub(super) method: Arc<str>,
    pub(super) code: &'static str,
}

/// Why calls of a service were refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct RefusalLabels {
    pub(super) service: Arc<str>,
    pub(super) reason: &'static str,
}

/// Times in buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Times {
    buckets: [u64; BUCKETS],
    sum_us: u64,
}

impl Times {
    fn observe(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|end| *end < us);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// Combines each number with that of `other`.
    fn with(&self, other: &Self, combine: fn(u64, u64) -> u64) -> Self {
        let mut result = *self;
        for (count, other) in result.buckets.iter_mut().zip(other.buckets) {
            *count = combine(*count, other);
        }
        result.sum_us = combine(result.sum_us, other.sum_us);
        result
    }
}

#[derive(Clone, Debug, Default)]
struct Rows {
    times: BTreeMap<EndLabels, Times>,
    refusals: BTreeMap<RefusalLabels, u64>,
    in_flight: BTreeMap<MethodLabels, i64>,
    /// What children have under way, as each told last.
    children: BTreeMap<&'static str, Vec<(MethodLabels, i64)>>,
}

/// The numbers of all calls; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Table(Arc<Mutex<Rows>>);

/// What a child has counted since it last told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    ended: Vec<Ended>,
    refused: Vec<Refused>,
    in_flight: Vec<InFlight>,
    /// Open streams of changes.
    pub(super) watchers: u64,
    /// Watchers that were let go since it last told.
    pub(super) too_slow: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ended {
    service: String,
    method: String,
    code: String,
    times: Times,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    service: String,
    reason: String,
    count: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InFlight {
    service: String,
    method: String,
    calls: i64,
}

/// Turns what a child says into labels of this process: what is in no table of ours is `other`.
pub(super) trait Names {
    fn method(&self, service: &str, method: &str) -> MethodLabels;
    fn code(&self, code: &str) -> &'static str;
    fn reason(&self, reason: &str) -> &'static str;
}

/// What was told already.
#[derive(Debug, Default)]
pub(super) struct ToldSoFar(Rows);

impl Table {
    /// The lock is held for one look-up, or for a copy of some hundred rows.
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn began(&self, method: MethodLabels) {
        *self.rows().in_flight.entry(method).or_default() += 1;
    }

    /// Counts a call that took `time`, and is under way no more.
    pub(super) fn answered(&self, labels: EndLabels, time: Duration) {
        let mut rows = self.rows();
        let (service, method) = (Arc::clone(&labels.service), Arc::clone(&labels.method));
        *rows.in_flight.entry(MethodLabels { service, method }).or_default() -= 1;
        rows.times.entry(labels).or_default().observe(time);
    }

    pub(super) fn refused(&self, labels: RefusalLabels) {
        *self.rows().refusals.entry(labels).or_default() += 1;
    }

    /// Returns what was counted since `told`, which is up to now from here on.
    pub(super) fn since(&self, told: &mut ToldSoFar) -> Counted {
        let now = self.rows().clone();
        let ended = now.times.iter().filter_map(|(labels, times)| {
            let before = told.0.times.get(labels).copied().unwrap_or_default();
            let times = times.with(&before, u64::saturating_sub);
            (times != Times::default()).then(|| Ended {
                service: labels.service.to_string(),
                method: labels.method.to_string(),
                code: labels.code.into(),
                times,
            })
        });
        let refused = now.refusals.iter().filter_map(|(labels, count)| {
            let before = told.0.refusals.get(labels).copied().unwrap_or_default();
            let count = count.saturating_sub(before);
            let service = || labels.service.to_string();
            let reason = labels.reason.to_owned();
            (count > 0).then(|| Refused { service: service(), reason, count })
        });
        let under_way = now.in_flight.iter().filter(|(_, calls)| **calls != 0);
        let in_flight = under_way.map(|(labels, calls)| InFlight {
            service: labels.service.to_string(),
            method: labels.method.to_string(),
            calls: *calls,
        });
        let (ended, refused, in_flight) = (ended.collect(), refused.collect(), in_flight.collect());
        told.0 = now;
        Counted { ended, refused, in_flight, ..Counted::default() }
    }

    /// Adds what `child` has counted.
    pub(super) fn add(&self, child: &'static str, counted: &Counted, names: &impl Names) {
        let mut rows = self.rows();
        for Ended { service, method, code, times } in &counted.ended {
            let MethodLabels { service, method } = names.method(service, method);
            let row = rows.times.entry(EndLabels { service, method, code: names.code(code) });
            let row = row.or_default();
            *row = row.with(times, u64::saturating_add);
        }
        for Refused { service, reason, count } in &counted.refused {
            let MethodLabels { service, .. } = names.method(service, "");
            let labels = RefusalLabels { service, reason: names.reason(reason) };
            let row = rows.refusals.entry(labels).or_default();
            *row = row.saturating_add(*count);
        }
        let level = |row: &InFlight| (names.method(&row.service, &row.method), row.calls);
        rows.children.insert(child, counted.in_flight.iter().map(level).collect());
    }

    /// Forgets what `child` had under way: it has ended.
    pub(super) fn gone(&self, child: &str) {
        self.rows().children.remove(child);
    }
}

impl Collector for Table {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Rows { times, refusals, mut in_flight, children } = self.rows().clone();
        let help = "Time of calls; of streams, until they were accepted";
        let kind = MetricType::Histogram;
        let mut out =
            encoder.encode_descriptor("rpc_duration", help, Some(&Unit::Seconds), kind)?;
        for (labels, times) in &times {
            let ends = BUCKETS_US.iter().map(|end| seconds(*end)).chain([f64::INFINITY]);
            let buckets: Vec<_> = ends.zip(times.buckets).collect();
            let count = times.buckets.iter().sum();
            let mut row = out.encode_family(labels)?;
            row.encode_histogram::<NoLabelSet>(seconds(times.sum_us), count, &buckets, None)?;
        }
        for (labels, calls) in children.into_values().flatten() {
            *in_flight.entry(labels).or_default() += calls;
        }
        let help = "Calls without an answer so far";
        let mut out = encoder.encode_descriptor("rpc_in_flight", help, None, MetricType::Gauge)?;
        for (labels, calls) in &in_flight {
            ConstGauge::new(*calls).encode(out.encode_family(labels)?)?;
        }
        let help = "Calls that ended with a problem of the contract, by reason";
        let mut out = encoder.encode_descriptor("rpc_refusals", help, None, MetricType::Counter)?;
        for (labels, count) in &refusals {
            ConstCounter::new(*count).encode(out.encode_family(labels)?)?;
        }
        Ok(())
    }
}

fn seconds(us: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a metric is a float; beyond 2^53 it is rounded")]
    let us = us as f64;
    us / 1e6
}
