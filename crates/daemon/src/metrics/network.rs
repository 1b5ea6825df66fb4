//! What Prometheus is told of the network between nodes (p2p 5.9): classes as labels, never peers.

use std::fmt;
use std::sync::Arc;

use proctor_network::Status;
use proctor_network::status::{LIMITS, OFFENCES};
use proctor_network::traffic::{FRAME_KINDS, TIMES_MS, Times};
use proctor_p2p::peers::policy::Direction;
use proctor_p2p::sync::{Halt, Reason};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use tokio::sync::watch;

use super::process::float;

/// Reasons for being behind, with the label of each.
const REASONS: [(Reason, &str); 9] = [
    (Reason::Halted, "halted"),
    (Reason::NoPeers, "no_peers"),
    (Reason::NoPeerHas, "no_peer_has"),
    (Reason::Pruned, "pruned"),
    (Reason::AllSlow, "all_slow"),
    (Reason::VerifyFailed, "verify_failed"),
    (Reason::StoreSlow, "store_slow"),
    (Reason::ApplySlow, "apply_slow"),
    (Reason::EpochUnknown, "epoch_unknown"),
];
/// Upper ends of the classes of trust and of quality; all are within the last.
const TRUSTS: [f64; 5] = [20.0, 40.0, 60.0, 80.0, 100.0];
const QUALITIES: [f64; 5] = [0.2, 0.4, 0.6, 0.8, 1.0];

/// The network of this node, looked up when it is asked for.
#[derive(Debug)]
pub(super) struct Networked(pub(super) watch::Receiver<Arc<Status>>);

impl Collector for Networked {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = Arc::clone(&self.0.borrow());
        let mut out = Out(encoder);
        out.sync(&status)?;
        out.times(&status)?;
        out.connections(&status)?;
        out.peers(&status)?;
        out.faults(&status)
    }
}

struct Out<'a>(DescriptorEncoder<'a>);

/// A label and its number.
type Row = (&'static str, u64);

impl Out<'_> {
    fn gauges(&mut self, name: &str, help: &str, label: &str, rows: &[Row]) -> fmt::Result {
        let mut out = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (value, count) in rows {
            ConstGauge::new(float(*count)).encode(out.encode_family(&[(label, *value)])?)?;
        }
        Ok(())
    }

    fn counters(&mut self, name: &str, help: &str, label: &str, rows: &[Row]) -> fmt::Result {
        let mut out = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, count) in rows {
            ConstCounter::new(*count).encode(out.encode_family(&[(label, *value)])?)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, unit: Option<&Unit>, count: u64) -> fmt::Result {
        let out = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        ConstCounter::new(count).encode(out)
    }

    fn sync(&mut self, status: &Status) -> fmt::Result {
        let marks = status.marks;
        let rows = [
            ("verified", marks.verified),
            ("stored", marks.stored),
            ("applied", marks.applied),
            ("target", marks.target),
        ];
        let help = "The last commit whose header is verified, that is stored, that is applied, and the \
                    highest certified one that a peer has shown";
        self.gauges("sync_commit", help, "mark", &rows)?;
        let out = self.0.encode_descriptor(
            "sync_gap",
            "Commits between target and applied",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(float(status.gap())).encode(out)?;
        let age = marks.applied.saturating_sub(status.snapshot);
        let help = "Commits since the newest snapshot that can be served";
        let out = self.0.encode_descriptor("sync_snapshot_age", help, None, MetricType::Gauge)?;
        ConstGauge::new(float(age)).encode(out)?;
        if let Some(ms) = status.clock_offset_ms {
            let help =
                "How far this clock is ahead of the sequencer's, by the commits that it pushed";
            let unit = Some(&Unit::Seconds);
            let out = self.0.encode_descriptor("clock_offset", help, unit, MetricType::Gauge)?;
            let sign = if ms < 0 { -1.0 } else { 1.0 };
            ConstGauge::new(sign * float(ms.unsigned_abs()) / 1e3).encode(out)?;
        }
        let is = |yes: bool| u64::from(yes);
        let rows = REASONS.map(|(reason, label)| (label, is(status.reason == Some(reason))));
        self.gauges("sync_stalled", "1 for why this node stays behind", "reason", &rows)?;
        let halted = |cause: fn(&Halt) -> bool| is(status.halted.as_ref().is_some_and(cause));
        let rows = [
            ("fork", halted(|halt| matches!(halt, Halt::Fork { .. }))),
            ("diverged", halted(|halt| matches!(halt, Halt::Diverged { .. }))),
            ("store_failed", halted(|halt| matches!(halt, Halt::StoreFailed))),
        ];
        self.gauges("sync_halted", "1 for why this node follows no more", "cause", &rows)?;
        let (staged, all) = status.join.unwrap_or_default();
        let rows = [("staged", count(staged)), ("all", count(all))];
        self.gauges("sync_snapshot_chunks", "Chunks of the snapshot under way", "which", &rows)?;
        let held = status.held;
        let rows = [
            ("sources", count(held.sources)),
            ("requests", count(held.requests)),
            ("header_ranges", count(held.ranges)),
            ("headers", count(held.headers)),
            ("bodies", count(held.bodies)),
            ("bodies_held", count(held.bodies_held)),
            ("body_bytes", held.body_bytes),
            ("jobs", count(held.jobs)),
            ("pushed_bodies", count(held.inline)),
            ("tasks", count(status.tasks)),
        ];
        self.gauges("sync_held", "What the sync holds; each is bounded", "what", &rows)?;
        let counters = status.counters;
        let rows = [
            ("answered", counters.answered),
            ("expired", counters.expired),
            ("cancelled", counters.cancelled),
            ("peer_gone", counters.peer_gone),
        ];
        self.counters("sync_requests", "Requests to peers by how they ended", "end", &rows)?;
        let help = "Headers, bodies and chunks that turned out right";
        self.counter("sync_verified", help, Some(&Unit::Bytes), counters.verified_bytes)?;
        let help = "How often the sync began anew";
        self.counter("sync_restarts", help, None, counters.restarts)
    }

    fn times(&mut self, status: &Status) -> fmt::Result {
        let counters = &status.counters;
        for (name, help, times) in [
            ("sync_fetch", "Time of requests that were answered in time", &counters.fetch),
            (
                "sync_verify",
                "Time of verifying a piece, with its wait for a thread",
                &counters.verify,
            ),
            ("sync_store", "Time of storing and judging a group of commits", &counters.store),
        ] {
            self.histogram(name, help, times)?;
        }
        Ok(())
    }

    fn histogram(&mut self, name: &str, help: &str, times: &Times) -> fmt::Result {
        let ends = TIMES_MS.iter().map(|ms| float(*ms) / 1e3).chain([f64::INFINITY]);
        let buckets: Vec<_> = ends.zip(times.counts).collect();
        let all = times.counts.iter().sum();
        let unit = Some(&Unit::Seconds);
        let mut out = self.0.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        out.encode_histogram::<NoLabelSet>(float(times.sum_ms) / 1e3, all, &buckets, None)
    }

    fn connections(&mut self, status: &Status) -> fmt::Result {
        let way = |way| status.peers.iter().filter(|row| row.direction == way).count();
        let rows = [
            ("active_in", count(way(Direction::Inbound))),
            ("active_out", count(way(Direction::Outbound))),
            ("opening_in", count(status.conns.pending_in)),
            ("opening_out", count(status.conns.pending_out)),
            ("closing", count(status.conns.draining)),
        ];
        self.gauges("peer_connections", "Connections with other nodes", "state", &rows)?;
        let counters = status.counters;
        let rows = [
            ("accepted", counters.accepted),
            ("refused", counters.refused),
            ("dialled", counters.dials),
            ("secured", counters.handshakes),
            ("failed", counters.handshakes_failed),
            ("malformed", counters.malformed),
            ("not_reading", counters.outbox_full),
        ];
        let help = "Connections that were begun, and how they went on";
        self.counters("peer_connection_events", help, "what", &rows)?;
        let mut out = self.0.encode_descriptor(
            "peer_traffic",
            "Frames of all connections",
            Some(&Unit::Bytes),
            MetricType::Counter,
        )?;
        for (way, bytes) in [("in", &status.bytes.read), ("out", &status.bytes.written)] {
            // The place of 0 is that of no kind.
            for (kind, bytes) in FRAME_KINDS.iter().zip(bytes.iter().skip(1)) {
                let labels = [("direction", way), ("kind", *kind)];
                ConstCounter::new(*bytes).encode(out.encode_family(&labels)?)?;
            }
        }
        let rows = [("new", count(status.book.new)), ("tried", count(status.book.tried))];
        self.gauges("peer_book", "Nodes that are known of", "which", &rows)
    }

    fn peers(&mut self, status: &Status) -> fmt::Result {
        let trusts = status.peers.iter().map(|row| float(row.trust));
        self.spread("peer_trust", "Trust in the connected peers, 0 to 100", &TRUSTS, trusts)?;
        let qualities = status.peers.iter().map(|row| row.quality);
        let help = "How well the connected peers serve, 0 to 1";
        self.spread("peer_quality", help, &QUALITIES, qualities)
    }

    /// Writes how many of `values`, of now, are in each class.
    fn spread(
        &mut self,
        name: &str,
        help: &str,
        ends: &[f64],
        values: impl Iterator<Item = f64>,
    ) -> fmt::Result {
        let mut buckets: Vec<(f64, u64)> = ends.iter().map(|end| (*end, 0)).collect();
        buckets.push((f64::INFINITY, 0));
        let (mut sum, mut all) = (0.0, 0);
        for value in values {
            (sum, all) = (sum + value, all + 1);
            if let Some((_, count)) = buckets.iter_mut().find(|(end, _)| value <= *end) {
                *count += 1;
            }
        }
        let mut out = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        out.encode_histogram::<NoLabelSet>(sum, all, &buckets, None)
    }

    fn faults(&mut self, status: &Status) -> fmt::Result {
        let counters = status.counters;
        let rows: Vec<Row> = OFFENCES.into_iter().zip(counters.offences).collect();
        self.counters("peer_offences", "What peers did wrong", "what", &rows)?;
        let rows: Vec<Row> = LIMITS.into_iter().zip(status.limited).collect();
        let help = "What peers told or asked more often than they may; it was ignored or refused";
        self.counters("peer_rate_limit_hits", help, "kind", &rows)?;
        let operator = status.bans.iter().filter(|ban| ban.by_operator).count();
        let faults = status.bans.len() - operator;
        let rows = [("faults", count(faults)), ("operator", count(operator))];
        self.gauges("peer_bans", "Nodes that are banned now", "by", &rows)?;
        let rows = [
            ("served", counters.served),
            ("pushed", counters.pushes),
            ("pushed_with_body", counters.pushed_bodies),
            ("pushes_replaced", counters.pushes_replaced),
            ("inputs_passed_on", counters.submitted),
        ];
        self.counters("peer_work", "What was done for peers", "what", &rows)?;
        self.counter("network_task_panics", "Each is a bug", None, counters.task_panics)?;
        let help = "Turns of the network loop above 5 ms";
        self.counter("network_slow_turns", help, None, counters.slow_turns)
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
