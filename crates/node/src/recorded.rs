//! Recorded orders and bars as a run: who traded when, at which prices, and what was recorded of it.
//!
//! Each bar enters when it is over and each order at its own time, with the fill it was given then;
//! what shares a millisecond shares a commit, prices before orders. Before the first of them stands
//! a commit with the rulebook, a roster of every trader, account sizes and asset classes.

pub mod comparison;

use std::iter::Peekable;
use std::path::{Path, PathBuf};

use proctor_engine::Input;
use proctor_engine::challenge_period::{Stage, Standing};
use proctor_engine::input::{RecordedFill, Roster, StagesCommand};
use proctor_engine::rulebook::{Rulebook, RulebookError};
use proctor_sequencer::{Batch, WriterConfig};
use proctor_types::time::{DAY_MS, HOUR_MS};
use proctor_types::{Digest, Fraction, OrderId, Quote, TradePair, TraderId, Usd, UtcMs};
use serde::Serialize;

use crate::import::{
    BadRows, BarArgumentError, BarError, BarFile, FileError, InputHash, MergeError, MergedBars,
    OrdersError, Progress, RecordedOrder, RecordedOrders, SkippedRows, known_at,
};
use crate::report::{OutputDir, OutputError};
use crate::run::{self, Finished, RunError};
use comparison::{Compared, Comparison};

/// What is to be replayed.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Files of orders.
    pub orders: Vec<PathBuf>,
    /// Which set of a file that holds several.
    pub set: Option<String>,
    /// Files of bars, as `PATH`, `PAIR=PATH` or `PAIR:SECONDS=PATH`.
    pub bars: Vec<String>,
    /// The rulebook document.
    pub rulebook: String,
    /// Size of every account, as recordings do not hold it.
    pub account_size: Usd,
    /// What to do with bars that contradict themselves.
    pub bad_rows: BadRows,
}

/// Why a recording cannot be replayed, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// The rulebook is not one.
    #[error("rulebook: {0}")]
    Rulebook(#[from] RulebookError),
    /// A file of orders cannot be read.
    #[error(transparent)]
    Orders(#[from] OrdersError),
    /// There are no orders.
    #[error("the order files hold no orders")]
    NoOrders,
    /// An argument for bars cannot be understood.
    #[error(transparent)]
    BarArgument(#[from] BarArgumentError),
    /// A file of bars cannot be read.
    #[error(transparent)]
    Bars(#[from] BarError),
    /// The files of bars do not go together.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The rest of a file of bars cannot be read.
    #[error(transparent)]
    Rest(#[from] FileError),
    /// The run failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// A recording that was replayed to its end.
#[derive(Debug)]
pub struct Replayed {
    /// What the run did.
    pub finished: Finished,
    /// Hash of everything that was read, in the order of the arguments.
    pub input_hash: Digest,
    /// Hash of the rulebook.
    pub rulebook_hash: Digest,
    /// How many orders were read.
    pub orders: usize,
    /// Bars that were left out, by file.
    pub skipped: Vec<(PathBuf, SkippedRows)>,
    /// Every order with its outcome, in order of time.
    pub judged: Vec<Judged>,
    /// Our positions against the recorded ones.
    pub comparison: Comparison,
}

/// Replays `recording` into the data directory at `path`; tells `progress` how much was read.
///
/// # Errors
/// [`RecordedError`] names the file and line, or the commit.
pub fn replay(
    recording: &Recording,
    path: &Path,
    config: WriterConfig,
    mut progress: impl FnMut(run::Progress, Progress),
) -> Result<Replayed, RecordedError> {
    Rulebook::parse(&recording.rulebook)?;
    let orders = read_orders(recording)?;
    // Everything is read once before anything is written, so that a file that is broken at its end
    // leaves no half of a run behind.
    open_bars(recording)?.try_for_each(|bar| bar.map(drop))?;
    let mut batches = Batches::new(recording, &orders, open_bars(recording)?)?;
    let read = batches.read_so_far();
    let finished = run::run(path, config, batches.by_ref(), |done| progress(done, read.get()))?;
    let mut bars = batches.into_bars();
    bars.drain()?;
    let mut hash = InputHash::new();
    hash.add_orders(&orders);
    bars.readers().iter().for_each(|reader| hash.add_bars(reader));
    let skipped = bars
        .readers()
        .iter()
        .filter(|reader| reader.skipped().total() > 0)
        .map(|reader| (reader.path().to_owned(), reader.skipped().clone()))
        .collect();
    Ok(Replayed {
        comparison: Comparison::of(&orders, &finished.tally),
        judged: orders.orders.iter().map(|order| Judged::of(order, &finished)).collect(),
        finished,
        input_hash: hash.finish(),
        rulebook_hash: Rulebook::hash(&recording.rulebook),
        orders: orders.orders.len(),
        skipped,
    })
}

impl Replayed {
    /// Adds the files of this replay to `out`: every order with its outcome, every recorded
    /// position with ours, and the hashes of what was read.
    ///
    /// # Errors
    /// [`OutputError`] when they cannot be written.
    pub fn write(&self, out: &mut OutputDir) -> Result<(), OutputError> {
        #[derive(Serialize)]
        struct Inputs<'a> {
            inputs: String,
            rulebook: String,
            orders: usize,
            digest: &'a str,
        }
        let digest = self.finished.view.digest.to_string();
        out.json(
            "inputs.json",
            &Inputs {
                inputs: self.input_hash.to_string(),
                rulebook: self.rulebook_hash.to_string(),
                orders: self.orders,
                digest: &digest,
            },
        )?;
        let columns = [
            "trader",
            "position",
            "recorded_orders",
            "recorded_return",
            "our_return",
            "older_basis_return",
            "finding",
        ];
        let or_empty = |number: Option<f64>| number.map(|n| n.to_string()).unwrap_or_default();
        let row = |compared: &Compared| {
            [
                compared.trader.to_string(),
                compared.position.to_string(),
                compared.recorded_orders.to_string(),
                or_empty(compared.recorded_return),
                or_empty(compared.our_return),
                or_empty(compared.older_basis_return),
                compared.finding.to_string(),
            ]
        };
        out.csv("positions.csv", columns, self.comparison.positions.iter().map(row))?;
        let columns = ["at_ms", "trader", "order", "outcome"];
        out.csv("orders.csv", columns, self.judged.iter().map(Judged::csv))
    }
}

/// What became of a recorded order.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The order's time.
    pub at: UtcMs,
    /// Whose.
    pub trader: TraderId,
    /// Which.
    pub order: OrderId,
    /// `accepted`, or the code of the refusal.
    pub outcome: &'static str,
}

impl Judged {
    fn of(order: &RecordedOrder, finished: &Finished) -> Self {
        let (trader, id) = (order.request.trader.clone(), order.request.id.clone());
        let key = (trader, id);
        let outcome = finished.tally.refused_orders.get(&key).copied().unwrap_or("accepted");
        Self { at: order.at, trader: key.0, order: key.1, outcome }
    }

    fn csv(&self) -> [String; 4] {
        let (trader, order) = (self.trader.to_string(), self.order.to_string());
        [self.at.0.to_string(), trader, order, self.outcome.to_string()]
    }
}

/// Returns the rulebook that is compiled in.
#[must_use]
pub fn built_in_rulebook() -> &'static str {
    proctor_engine::rulebook::VANTA
}

fn open_bars(recording: &Recording) -> Result<MergedBars, RecordedError> {
    let mut readers = Vec::with_capacity(recording.bars.len());
    for argument in &recording.bars {
        readers.push(BarFile::parse(argument)?.open(recording.bad_rows)?);
    }
    Ok(MergedBars::new(readers)?)
}

fn read_orders(recording: &Recording) -> Result<RecordedOrders, RecordedError> {
    let mut all: Option<RecordedOrders> = None;
    for path in &recording.orders {
        let file = RecordedOrders::read(path, recording.set.as_deref())?;
        match &mut all {
            Some(all) => all.join(file)?,
            None => all = Some(file),
        }
    }
    all.filter(|all| !all.orders.is_empty()).ok_or(RecordedError::NoOrders)
}

/// How much of the bar files was read, shared with whoever shows it.
type ReadSoFar = std::rc::Rc<std::cell::Cell<Progress>>;

/// The batches of a recording, in order of time.
struct Batches<'a> {
    opening: Option<Batch>,
    orders: Peekable<std::slice::Iter<'a, RecordedOrder>>,
    bars: MergedBars,
    next_bar: Option<Quote>,
    read: ReadSoFar,
}

impl<'a> Batches<'a> {
    fn new(
        recording: &Recording,
        orders: &'a RecordedOrders,
        mut bars: MergedBars,
    ) -> Result<Self, RecordedError> {
        let next_bar = bars.next().transpose()?;
        let orders = orders.orders.as_slice();
        let first_order = orders.first().ok_or(RecordedError::NoOrders)?.at;
        let first = next_bar.as_ref().map_or(first_order, |bar| first_order.min(known_at(bar)));
        let opening = Some(opening(recording, orders, first));
        let read = ReadSoFar::default();
        Ok(Self { opening, orders: orders.iter().peekable(), bars, next_bar, read })
    }

    fn read_so_far(&self) -> ReadSoFar {
        ReadSoFar::clone(&self.read)
    }

    fn into_bars(self) -> MergedBars {
        self.bars
    }

    fn advance(&mut self) -> Result<Option<Batch>, RecordedError> {
        if let Some(opening) = self.opening.take() {
            return Ok(Some(opening));
        }
        let bar_at = self.next_bar.as_ref().map(known_at);
        let order_at = self.orders.peek().map(|order| order.at);
        let Some(at) = bar_at.into_iter().chain(order_at).min() else { return Ok(None) };
        let mut inputs = Vec::new();
        let mut quotes = Vec::new();
        while let Some(bar) = self.next_bar.take_if(|bar| known_at(bar) == at) {
            quotes.push(bar);
            self.next_bar = self.bars.next().transpose()?;
            self.read.set(self.bars.progress());
        }
        if !quotes.is_empty() {
            inputs.push(Input::Prices(quotes));
        }
        while let Some(order) = self.orders.next_if(|order| order.at == at) {
            inputs.push(Input::RecordedOrder(order.request.clone(), fill_of(order)));
        }
        Ok(Some(Batch { at, inputs }))
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch, RecordedError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

fn fill_of(order: &RecordedOrder) -> RecordedFill {
    let fill = &order.fill;
    RecordedFill {
        price: fill.price,
        bid: fill.bid,
        ask: fill.ask,
        slippage: Fraction::new(fill.slippage).ok(),
    }
}

/// The commit before `first`: everything that recordings take for granted.
fn opening(recording: &Recording, orders: &[RecordedOrder], first: UtcMs) -> Batch {
    // An account size holds from the next 00:00 UTC on.
    let at = UtcMs(first.0.div_euclid(DAY_MS) * DAY_MS - HOUR_MS);
    let mut traders: Vec<TraderId> = orders.iter().map(|o| o.request.trader.clone()).collect();
    traders.sort_unstable();
    traders.dedup();
    let mut inputs = vec![
        Input::Rulebook(recording.rulebook.clone()),
        Input::Roster(Roster::new(1, traders.clone())),
    ];
    for trader in traders {
        inputs.push(Input::AccountSize(trader.clone(), recording.account_size));
        // Nor in which stage a trader was: one that has no time limit ends nobody whom the
        // recording does not end.
        let funded = Standing::new(Stage::Funded, at);
        inputs.push(Input::Stages(StagesCommand::Set(vec![(trader.clone(), funded)])));
        // Recordings do not say which asset class a trader chose; the first order tells.
        let class = orders
            .iter()
            .filter(|order| order.request.trader == trader)
            .find_map(|order| TradePair::from_id(order.request.pair.as_str()))
            .map(TradePair::class);
        inputs.extend(class.map(|class| Input::AssetClass(trader, class)));
    }
    Batch { at, inputs }
}
