//! `Story`: what can be told of one account, as plain numbers and words.

mod prices;
mod verdict;

use std::collections::BTreeMap;

use proctor_types::{Stamp, UtcMs};
use serde::Serialize;

use super::scoring::Scoring;
use super::stages::{StageMove, StageNow};
pub use prices::{PriceQuality, PriceSupport, WindowPrice};
pub use verdict::{DecidedBy, FallStory, FlatOrder, PriceUsed, SlashStory, UndoneVerdict, Verdict};

/// A moment, for programs and for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moment {
    /// Milliseconds since 1970 UTC.
    pub ms: i64,
    /// The same as text.
    pub text: String,
}

impl From<UtcMs> for Moment {
    fn from(at: UtcMs) -> Self {
        Self { ms: at.0, text: at.to_string() }
    }
}

/// A place in the log: a commit and its time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    /// The commit.
    pub commit: u64,
    /// Its time.
    #[serde(flatten)]
    pub at: Moment,
}

impl From<Stamp> for Place {
    fn from(stamp: Stamp) -> Self {
        Self { commit: stamp.commit, at: stamp.at.into() }
    }
}

/// Everything the log tells about one account.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Story {
    /// Names the layout of this document; changes when a field's meaning does.
    pub schema: &'static str,
    /// Whose account.
    pub trader: String,
    /// `active`, `eliminated` or `departed`.
    pub status: &'static str,
    /// Up to where the log was read.
    pub as_of: AsOf,
    /// Terms of the account.
    pub account: AccountStory,
    /// How the trader's orders fared.
    pub counts: Counts,
    /// Every order in the order of the log.
    pub orders: Vec<OrderStory>,
    /// Every position in the order of opening.
    pub positions: Vec<PositionStory>,
    /// The portfolio's ledger; absent before the first order.
    pub ledger: Option<Ledger>,
    /// The end of the account.
    pub verdict: Option<Verdict>,
    /// Verdicts that were taken back, oldest first; each ended an epoch of the account.
    pub undone: Vec<UndoneVerdict>,
    /// How far the next breach is; absent once the account has ended.
    pub standing: Option<Standing>,
    /// The stage that the trader is in; absent for who has ended or left.
    pub stage: Option<StageNow>,
    /// Every move from one stage to another, in the order of the log.
    pub stages: Vec<StageMove>,
    /// How the account scores; absent before the first order.
    pub scoring: Option<Scoring>,
    /// Whatever else the log says about the account.
    pub notes: Vec<Note>,
}

/// Up to where the log was read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AsOf {
    /// The last commit.
    #[serde(flatten)]
    pub place: Place,
    /// State digest after it.
    pub digest: String,
    /// Its hash, which stands for the whole history.
    pub head: String,
}

/// Terms of an account.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccountStory {
    /// When the trader first was on the roster.
    pub enrolled: Place,
    /// When the trader was found to have left the roster.
    pub departed: Option<Place>,
    /// The rulebook that the account keeps.
    pub rulebook: RulebookStory,
    /// What the trader chose to trade.
    pub asset_class: Option<String>,
    /// When it was chosen.
    pub asset_class_chosen: Option<Place>,
    /// Every recorded size, oldest first.
    pub sizes: Vec<Size>,
    /// The size that counts as of the end of the log, in USD.
    pub size_usd: f64,
}

/// Which rulebook.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RulebookStory {
    /// Name of the programme.
    pub name: String,
    /// Version of the document.
    pub version: u32,
    /// Hash of the document.
    pub hash: String,
    /// Where the log adopted it.
    pub adopted: Option<Place>,
}

/// A recorded account size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Size {
    /// The amount.
    pub size_usd: f64,
    /// Where it was recorded.
    pub recorded: Place,
    /// From when on it counts.
    pub valid_from: Moment,
}

/// How a trader's orders fared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Orders that the trader sent.
    pub sent: usize,
    /// Of these, filled.
    pub filled: usize,
    /// Of these, accepted with nothing to do.
    pub nothing_to_close: usize,
    /// Of these, limit and bracket orders that came to rest.
    pub rested: usize,
    /// Limit and bracket orders that were filled after they had waited.
    pub filled_later: usize,
    /// Limit and bracket orders that ended without a fill, by code.
    pub cancelled: BTreeMap<String, usize>,
    /// Of these, refused, by code.
    pub refused: BTreeMap<String, usize>,
    /// Orders that the rules made.
    pub by_node: usize,
}

/// One order and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OrderStory {
    /// Place in the story, from 1.
    pub number: usize,
    /// The commit that judged it.
    #[serde(flatten)]
    pub place: Place,
    /// Place of the input in the commit; absent for an order that the rules made.
    pub input: Option<u32>,
    /// The order's id.
    pub id: String,
    /// The pair as it was spelt.
    pub pair: String,
    /// `LONG`, `SHORT` or `FLAT`.
    pub side: String,
    /// `trader`, `recorded` (imported with the fill of the past), `resting` (an order that had
    /// waited) or `node`.
    pub origin: &'static str,
    /// The size that was asked for.
    pub asked: Option<Asked>,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: OrderOutcome,
}

/// The size fields as sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Asked {
    /// Multiple of the account size.
    pub leverage: Option<f64>,
    /// Notional in USD.
    pub value_usd: Option<f64>,
    /// Lots of the base.
    pub quantity: Option<f64>,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum OrderOutcome {
    /// It was filled.
    Filled(Box<Fill>),
    /// It was refused and changed nothing.
    Refused {
        /// Stable code.
        code: String,
        /// The code in words.
        message: String,
    },
    /// A FLAT without an open position.
    NothingToClose,
    /// A limit or bracket order that waits for its price; what became of it is a later entry.
    Resting(Box<Waiting>),
    /// A limit or bracket order that waited, and ended without a fill.
    Cancelled {
        /// Stable code.
        code: String,
        /// The code in words.
        message: String,
    },
}

/// What a limit or bracket order waits for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Waiting {
    /// `limit` or `bracket`.
    pub kind: &'static str,
    /// The limit, quote per base.
    pub limit_price: Option<f64>,
    /// Stop loss, quote per base.
    pub stop_loss: Option<f64>,
    /// Take profit, quote per base.
    pub take_profit: Option<f64>,
    /// The position that a bracket closes.
    pub position: Option<String>,
    /// The order whose fill made the bracket.
    pub parent: Option<String>,
}

/// How a limit or bracket order came to be filled.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReachedLevel {
    /// The limit, stop loss or take profit.
    pub level: f64,
    /// The bid or ask that reached it.
    pub market: f64,
    /// Whose price that was.
    pub source: String,
    /// Last moment that its record covers.
    pub source_at: Moment,
    /// Time from that moment to the commit.
    pub age_ms: i64,
}

/// A fill.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fill {
    /// Signed multiple of the account size.
    pub leverage: f64,
    /// Signed notional, USD.
    pub value_usd: f64,
    /// Signed lots.
    pub quantity: f64,
    /// Quote per base before slippage; 0 when there was none.
    pub price: f64,
    /// `record` (see `price_source`), `recorded` (it came with the order, from the past) or
    /// `last_mark` (no record was fresh, and the position closed at its last mark).
    pub price_origin: &'static str,
    /// The price record that it is from.
    pub price_source: Option<PriceSource>,
    /// The level that was reached, of a limit or bracket order.
    pub reached: Option<ReachedLevel>,
    /// Best bid, 0 when unknown.
    pub bid: f64,
    /// Best ask, 0 when unknown.
    pub ask: f64,
    /// Fraction of the price.
    pub slippage: f64,
    /// The price after slippage.
    pub price_after_slippage: f64,
    /// USD per unit of quote currency.
    pub quote_usd_rate: f64,
    /// Whether the size was reduced to the limits.
    pub clamped: bool,
    /// What caused the order: `organic`, `elimination_flat`, ...
    pub cause: &'static str,
    /// The position that took it.
    pub position: String,
    /// `opened`, `increased`, `reduced` or `closed`.
    pub effect: &'static str,
    /// The position after it.
    pub after: After,
}

/// Whose price was used, and how old it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PriceSource {
    /// The source.
    pub source: String,
    /// Last moment that its record covers.
    pub at: Moment,
    /// Length of the record; 0 for an event of a feed.
    pub span_ms: i64,
    /// Time from its last moment to the commit.
    pub age_ms: i64,
    /// Its best bid.
    pub bid: Option<f64>,
    /// Its best ask.
    pub ask: Option<f64>,
}

/// A position after an order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct After {
    /// Number of orders.
    pub orders: u32,
    /// Signed multiple of the account size.
    pub net_leverage: f64,
    /// Signed lots.
    pub net_quantity: f64,
    /// Quote per base.
    pub average_entry_price: f64,
    /// USD.
    pub realized_pnl_usd: f64,
    /// Ratio.
    pub return_before_fees: f64,
    /// Ratio.
    pub return_after_fees: f64,
}

/// A position from its opening to its end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PositionStory {
    /// Its id.
    pub id: String,
    /// Its pair.
    pub pair: String,
    /// Side of the first order.
    pub side: String,
    /// Where it was opened.
    pub opened: Place,
    /// Where it was closed.
    pub closed: Option<Place>,
    /// What closed it: the cause of its last order.
    pub closed_by: Option<&'static str>,
    /// The size its leverage refers to, USD.
    pub account_size_usd: f64,
    /// Number of orders.
    pub orders: usize,
    /// Signed multiple of the account size.
    pub net_leverage: f64,
    /// Greatest absolute leverage it had.
    pub max_leverage: f64,
    /// Quote per base.
    pub average_entry_price: f64,
    /// USD.
    pub realized_pnl_usd: f64,
    /// USD, as of the last valuation.
    pub unrealized_pnl_usd: f64,
    /// Ratio.
    pub return_before_fees: f64,
    /// Factor of the spread fee.
    pub spread_fee: f64,
    /// Factor of the carry fee.
    pub carry_fee: f64,
    /// Ratio.
    pub return_after_fees: f64,
    /// Whether it lost the whole account.
    pub liquidated: bool,
}

/// A value of the account at a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MarkPoint {
    /// Multiple of the account at its start.
    pub value: f64,
    /// When.
    pub at: Moment,
    /// The commit, where the log shows it.
    pub commit: Option<u64>,
}

/// A ledger sample.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SamplePoint {
    /// When.
    #[serde(flatten)]
    pub place: Place,
    /// Multiple of the account at its start.
    pub value: f64,
    /// The value in relation to the peak standing then.
    pub ratio: f64,
}

/// The portfolio's ledger: what verdicts are taken on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ledger {
    /// When the first order was.
    pub begun: Moment,
    /// How many samples changed it.
    pub samples: u64,
    /// The standing peak; of an ended account, the one of the verdict.
    pub peak: MarkPoint,
    /// The peak's value step by step, when it was reached by a sample of the log.
    pub peak_valuation: Option<Valuation>,
    /// Every new low since that peak.
    pub lows: Vec<SamplePoint>,
    /// The last samples, up to the verdict.
    pub last_samples: Vec<SamplePoint>,
    /// The worst fall from a peak.
    pub worst: Option<Worst>,
    /// Complete half-day cells, oldest first.
    pub cells: Vec<Cell>,
}

/// The worst fall from a peak.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Worst {
    /// Trough in relation to peak.
    pub ratio: f64,
    /// Loss from the peak in per cent.
    pub percent: f64,
    /// Where the fall began.
    pub peak: MarkPoint,
    /// Where it was deepest.
    pub trough: MarkPoint,
}

/// A complete half-day of the ledger.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// The commit that completed it.
    pub commit: u64,
    /// Its beginning.
    pub start: Moment,
    /// Its end.
    pub end: Moment,
    /// Value at its end.
    pub value: f64,
    /// Greatest value in it.
    pub peak: f64,
    /// Least value in relation to the peak standing then.
    pub worst_ratio: f64,
    /// Log return.
    pub log_return: f64,
    /// Change of realized profit, USD.
    pub realized_pnl_usd: f64,
    /// Change of unrealized profit, USD.
    pub unrealized_pnl_usd: f64,
    /// Samples that changed the value.
    pub updates: u32,
}

/// The portfolio's value as the product of its pairs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Valuation {
    /// Its pairs, in the order of multiplication.
    pub pairs: Vec<PairValue>,
    /// The product of their values.
    pub product: f64,
    /// What the ledger says.
    pub ledger_value: f64,
    /// Whether the two are equal to the last bit.
    pub agrees: bool,
}

/// What one pair of the account is worth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairValue {
    /// The pair.
    pub pair: String,
    /// Its closed positions.
    pub closed: ClosedValue,
    /// Its open position.
    pub open: Option<OpenValue>,
    /// Product of the two.
    pub value: f64,
}

/// What the closed positions of a pair amount to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClosedValue {
    /// How many.
    pub positions: u32,
    /// Product of their returns after fees.
    pub value: f64,
}

/// What an open position is worth, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpenValue {
    /// The position.
    pub position: String,
    /// Side of its first order.
    pub side: String,
    /// USD.
    pub account_size_usd: f64,
    /// Signed multiple of the account size.
    pub net_leverage: f64,
    /// Quote per base.
    pub average_entry_price: f64,
    /// Signed lots.
    pub net_quantity: f64,
    /// Units of base per lot.
    pub lot_size: f64,
    /// USD per unit of quote currency, of its last order.
    pub quote_usd_rate: f64,
    /// The price it was valued at.
    pub price: Option<PriceUsed>,
    /// USD.
    pub realized_pnl_usd: f64,
    /// USD.
    pub unrealized_pnl_usd: f64,
    /// Ratio: `1 + (realized + unrealized) / account_size`, zero at least.
    pub return_before_fees: f64,
    /// Factor.
    pub spread_fee: f64,
    /// Factor.
    pub carry_fee: f64,
    /// Ratio: product of the three.
    pub return_after_fees: f64,
}

/// How far the next breach is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// Value at the last prices, multiple of the account at its start.
    pub value: f64,
    /// The standing peak.
    pub peak: f64,
    /// Value in relation to peak.
    pub ratio: f64,
    /// Loss from the peak in per cent.
    pub drawdown_percent: f64,
    /// Fraction of the peak that may be lost.
    pub limit: f64,
    /// The ratio at which the account ends.
    pub limit_ratio: f64,
    /// The value at which the account ends.
    pub limit_value: f64,
    /// How much of the present value may be lost before that, in per cent.
    pub distance_percent: f64,
    /// The same in USD of the present account size.
    pub distance_usd: f64,
    /// The value step by step.
    pub valuation: Valuation,
    /// For each open position, where its price alone would end the account.
    pub breach_prices: Vec<BreachPrice>,
    /// For each open position, how good the price of its pair is.
    pub price_quality: Vec<PriceQuality>,
    /// Since when a verdict waits for a price; absent when none does.
    pub frozen_since: Option<Place>,
}

/// Where one price alone would end the account, fees as they are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BreachPrice {
    /// The pair.
    pub pair: String,
    /// The price now.
    pub price: f64,
    /// The price of the breach.
    pub breach_price: f64,
    /// The move from here to there in per cent.
    pub move_percent: f64,
}

/// Anything else the log says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Note {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What.
    pub text: String,
}
