//! The four rows: check one trader, get 100 records, replace 100, change one.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use proctor_client::replica::{Feed, Limits};
use proctor_client::v1::{
    AddEliminationRequest, EliminationRow, SyncEliminationsRequest, SyncEliminationsResponse,
};
use proctor_client::{Client, EliminationReplica};
use proctor_commit_log::probe::{Probe, batch_bytes};
use proctor_engine::Input;
use proctor_engine::eliminations::SyncedEliminations;
use proctor_engine::input::Roster;
use proctor_services::Backend;
use proctor_services::eliminations::view;
use proctor_types::{TraderId, UtcMs, ValidatorId};
use serde_json::{Value, json};

use super::cpu::Used;
use super::manager::Baseline;
use super::server::BenchNode;
use super::{Scale, machine, report, spread};

/// Records in the state, and rows of a replacement.
const RECORDS: usize = 100;
/// How many of them the next list has not: a list that lacks a quarter is held as an anomaly.
const CHANGED: usize = 20;
/// How many traders there are.
const REGISTERED: usize = 2_000;
/// As of when the first list is: after its records, and before the node's time.
const LIST_MS: i64 = 1_767_614_100_000;
/// About what a commit that replaces the list takes in the log.
const SYNC_BYTES: usize = 8_000;
/// Length of the file that the bare disk is measured with.
const PROBE_BYTES: u64 = 16 << 20;
/// The rows, in order.
pub(super) const ROWS: [&str; 4] = ["check 1", "get 100", "sync 100", "update 1"];

/// How a row is done.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// A function call in the node's process.
    Direct,
    /// From a copy in a client's memory.
    Replica,
    /// A call over a loopback port.
    Grpc,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Replica => "replica",
            Self::Grpc => "grpc",
        }
    }
}

/// One figure: nanoseconds per operation, one sample a round.
struct Case {
    row: &'static str,
    way: Way,
    samples: Vec<f64>,
    /// What the processors spent on all of them, and how many they were.
    used: Used,
    operations: u64,
}

impl Case {
    /// Returns the processor time of one operation in us, where the system tells it.
    fn processor_us(&self) -> Option<Value> {
        let each = |ns: u64| ns as f64 / 1e3 / self.operations as f64;
        let Used { client, services, sequencer } = self.used;
        (self.used.total() > 0).then(|| {
            json!({
                "client": each(client), "services": each(services), "sequencer": each(sequencer),
            })
        })
    }
}

/// When something began, on the clock and on the processors.
struct Begun(Instant, Option<Used>);

impl Begun {
    fn now() -> Self {
        let used = Used::now();
        Self(Instant::now(), used)
    }
}

/// The rows over a node.
pub(super) struct Rows<'a> {
    backend: &'a Backend,
    client: &'a Client,
    replica: EliminationReplica,
    _feed: Feed,
    scale: Scale,
    /// Half of them eliminated, half not.
    asked: Vec<TraderId>,
    list: usize,
    cases: Vec<Case>,
    manager: [Vec<f64>; 4],
    /// The disk alone, with as many bytes as a replacement has.
    probe: Probe,
    bare: Vec<f64>,
    /// The smallest write that is durable and applied when it is answered: a commit with a tick.
    smallest: Vec<f64>,
}

/// Returns a name as long as those of traders are.
fn name(number: usize) -> String {
    format!("5{number:047}")
}

fn row(trader: String) -> EliminationRow {
    let reason = "MAX_TOTAL_DRAWDOWN".into();
    let elimination_initiated_time_ms = 1_767_614_000_000;
    EliminationRow { trader, reason, dd: Some(11.25), elimination_initiated_time_ms }
}

impl<'a> Rows<'a> {
    pub(super) async fn new(node: &'a BenchNode, scale: Scale, directory: &Path) -> Result<Self> {
        // So many that replacing a list is no mass elimination, which the rules would hold.
        let registered = (0..REGISTERED).map(|number| TraderId::new(&name(number)));
        let registered = registered.collect::<Result<Vec<_>, _>>()?;
        node.put(vec![Input::Roster(Roster::new(1, registered))]).await?;
        let connection = node.client.eliminations_connection();
        let (replica, feed) = EliminationReplica::start(connection, Limits::default());
        let asked = (0..2 * RECORDS).map(|number| TraderId::new(&name(number)));
        let mut rows = Self {
            backend: &node.backend,
            client: &node.client,
            replica,
            _feed: feed,
            scale,
            asked: asked.collect::<Result<_, _>>()?,
            list: 0,
            cases: Vec::new(),
            manager: Default::default(),
            probe: Probe::create(directory, PROBE_BYTES, PROBE_BYTES)?,
            bare: Vec::new(),
            smallest: Vec::new(),
        };
        rows.sync_over_grpc().await?;
        Ok(rows)
    }

    /// Measures every case once.
    pub(super) async fn round(&mut self) -> Result<()> {
        self.home().await?;
        self.checks().await?;
        self.gets().await?;
        self.syncs().await?;
        self.home().await?;
        self.updates().await
    }

    /// Has the first list in force, in the replica too.
    async fn home(&mut self) -> Result<()> {
        if self.list.is_multiple_of(2) {
            self.sync_over_grpc().await?;
        }
        let commit = self.backend.views().peek().stamp.commit;
        let reached = self.replica.replica().reaches(commit);
        tokio::time::timeout(Limits::default().age_max, reached).await?;
        let records = self.replica.all()?.len();
        ensure!(records == RECORDS, "the workload is broken: {records} records");
        Ok(())
    }

    fn sample(&mut self, row: &'static str, way: Way, Begun(at, before): Begun, times: u32) {
        let each = at.elapsed().as_secs_f64() * 1e9 / f64::from(times);
        let used = Used::now().zip(before).map(|(after, before)| after.since(before));
        let known = self.cases.iter().position(|case| (case.row, case.way) == (row, way));
        let place = known.unwrap_or_else(|| {
            let (samples, used) = (Vec::new(), Used::default());
            self.cases.push(Case { row, way, samples, used, operations: 0 });
            self.cases.len() - 1
        });
        let case = &mut self.cases[place];
        case.samples.push(each);
        case.used = case.used.plus(used.unwrap_or_default());
        case.operations += u64::from(times);
    }

    async fn checks(&mut self) -> Result<()> {
        let times = self.scale.nanoseconds;
        let begun = Begun::now();
        let mut found = 0_u32;
        for trader in self.asked.iter().cycle().take(times as usize) {
            let view = self.backend.views().peek();
            found += u32::from(view::is_eliminated(&view, black_box(trader)));
        }
        self.sample(ROWS[0], Way::Direct, begun, times);
        ensure!(found == times / 2, "the workload is broken: {found} of {times} found");

        let begun = Begun::now();
        let mut found = 0_u32;
        for trader in self.asked.iter().cycle().take(times as usize) {
            found += u32::from(self.replica.is_eliminated(black_box(trader.as_str()))?);
        }
        self.sample(ROWS[0], Way::Replica, begun, times);
        ensure!(found == times / 2, "the workload is broken: {found} of {times} found");

        let times = self.scale.microseconds;
        let begun = Begun::now();
        for trader in self.asked.iter().cycle().take(times as usize) {
            black_box(self.client.is_eliminated(trader.as_str()).await?);
        }
        self.sample(ROWS[0], Way::Grpc, begun, times);
        Ok(())
    }

    async fn gets(&mut self) -> Result<()> {
        let times = self.scale.microseconds;
        let begun = Begun::now();
        for _ in 0..times {
            let view = self.backend.views().latest();
            let records = view::messages(&view);
            ensure!(records.len() == RECORDS, "the workload is broken");
            black_box(records);
        }
        self.sample(ROWS[1], Way::Direct, begun, times);

        let begun = Begun::now();
        for _ in 0..times {
            black_box(self.replica.all()?);
        }
        self.sample(ROWS[1], Way::Replica, begun, times);

        let begun = Begun::now();
        for _ in 0..times {
            black_box(self.client.eliminations().await?);
        }
        self.sample(ROWS[1], Way::Grpc, begun, times);
        Ok(())
    }

    /// Returns the other list of two that have no trader in common: each replaces all records.
    fn next_list(&mut self) -> (UtcMs, Vec<EliminationRow>) {
        let first = self.list % 2 * CHANGED;
        self.list += 1;
        // Each list is later than the one before, however many of them come in a millisecond.
        let as_of = UtcMs(LIST_MS.saturating_add(i64::try_from(self.list).unwrap_or(i64::MAX)));
        let rows = (first..first + RECORDS).map(|number| row(name(number))).collect();
        (as_of, rows)
    }

    async fn sync_over_grpc(&mut self) -> Result<SyncEliminationsResponse> {
        let (as_of, rows) = self.next_list();
        let source = "other".into();
        let request = SyncEliminationsRequest { source, list_as_of_ms: as_of.0, rows };
        let answer = self.client.sync_eliminations(request).await?;
        let added = answer.added.len();
        ensure!(added == RECORDS || added == CHANGED, "the workload is broken: {added} added");
        Ok(answer)
    }

    async fn syncs(&mut self) -> Result<()> {
        let times = self.scale.milliseconds;
        let begun = Begun::now();
        for _ in 0..times {
            let (as_of, rows) = self.next_list();
            let rows = view::rows("rows", &rows)?;
            let source = ValidatorId::new("other")?;
            let list = SyncedEliminations { source, as_of, rows };
            let receipt = self.backend.submit(vec![Input::SyncEliminations(list)]).await?;
            let refused = receipt.replies.iter().find_map(|reply| reply.as_ref().err());
            ensure!(refused.is_none(), "the workload is broken: {refused:?}");
        }
        self.sample(ROWS[2], Way::Direct, begun, times);

        let begun = Begun::now();
        for _ in 0..times {
            self.sync_over_grpc().await?;
        }
        self.sample(ROWS[2], Way::Grpc, begun, times);
        for _ in 0..times {
            let took = self.probe.run(batch_bytes(1, SYNC_BYTES), 1)?;
            self.bare.push(took.as_secs_f64() * 1e9);
            let at = Instant::now();
            self.backend.submit(vec![Input::Tick]).await?;
            self.smallest.push(at.elapsed().as_secs_f64() * 1e9);
        }
        Ok(())
    }

    /// One record is made, and then lifted: each is a change.
    async fn updates(&mut self) -> Result<()> {
        let times = self.scale.milliseconds;
        let begun = Begun::now();
        for number in 0..times {
            let trader = name(1_000 + number as usize / 2);
            if number % 2 == 0 {
                let row = Some(row(trader));
                let request = AddEliminationRequest { row, why: "bench".into() };
                ensure!(self.client.add_elimination(request).await?.is_new, "it is new");
            } else {
                let answer = self.client.remove_elimination(&trader, "bench").await?;
                ensure!(answer.removed, "it was there");
            }
        }
        self.sample(ROWS[3], Way::Grpc, begun, times);
        Ok(())
    }

    /// Takes a round of the baseline.
    pub(super) fn compare(&mut self, baseline: &Baseline) {
        for (row, samples) in ROWS.iter().zip(&mut self.manager) {
            samples.extend(baseline.get(*row));
        }
    }

    /// Prints every figure, and how it compares.
    pub(super) fn report(&self) {
        for (row, samples) in ROWS.iter().zip(&self.manager) {
            if !samples.is_empty() {
                let (median, range) = spread(samples);
                report(&json!({
                    "bench": "rpc", "figure": row, "way": "manager", "value": median, "unit": "ns",
                    "range": range, "rounds": samples.len(), "machine": machine(),
                }));
            }
        }
        for case in &self.cases {
            let (median, range) = spread(&case.samples);
            let manager = self.manager_of(case.row);
            let mut line = json!({
                "bench": "rpc", "figure": case.row, "way": case.way.name(), "value": median,
                "unit": "ns", "range": range, "rounds": case.samples.len(), "aim": aim(case),
                "times_faster_than_manager": manager.map(|manager| manager / median),
                "processor_us": case.processor_us(), "machine": machine(),
            });
            if let (Value::Object(line), Some(limits)) = (&mut line, self.limits(case)) {
                let times = |least: f64| manager.map(|manager| manager / least);
                let limits = limits.into_iter().map(|(name, least)| {
                    json!({ "limit": name, "ns": least, "times_faster_than_manager": times(least) })
                });
                line.insert("limits".into(), limits.collect());
            }
            report(&line);
        }
    }

    fn manager_of(&self, row: &str) -> Option<f64> {
        let place = ROWS.iter().position(|known| *known == row)?;
        let samples = self.manager.get(place).filter(|samples| !samples.is_empty())?;
        Some(spread(samples).0)
    }

    /// Returns what a figure cannot go below here, in ns: the smallest call that there is, for what is
    /// one call; the disk's own time, and that of the smallest write, for what is durable.
    fn limits(&self, case: &Case) -> Option<Vec<(&'static str, f64)>> {
        let call = self.cases.iter().find(|c| (c.row, c.way) == (ROWS[0], Way::Grpc))?;
        let call = spread(&call.samples).0;
        let (disk, write) = (spread(&self.bare).0, spread(&self.smallest).0);
        let durable = [("bare fdatasync", disk), ("smallest durable write", write)];
        match (case.row, case.way) {
            ("get 100", Way::Grpc) => Some(vec![("smallest call", call)]),
            ("sync 100", Way::Direct) => Some(durable.into()),
            ("sync 100", Way::Grpc) => {
                let both = ("smallest call and smallest durable write", call + write);
                Some(durable.into_iter().chain([both]).collect())
            }
            _ => None,
        }
    }
}

/// Returns what a figure is held to.
fn aim(case: &Case) -> Option<&'static str> {
    match (case.row, case.way) {
        ("check 1", Way::Direct) => Some("at most 100 ns"),
        ("check 1", Way::Replica) => Some("at most 200 ns, at least 200 times the manager"),
        ("get 100" | "sync 100", Way::Grpc) => Some("at least 50 times the manager"),
        _ => None,
    }
}
