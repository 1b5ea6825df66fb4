//! The ledgers of one trader: the portfolio's and one for each pair ever traded.
//!
//! All of them are updated together, so they share their last update and their cell boundaries.
//! The portfolio is the product of its pairs in value and fees and their sum in profit and loss,
//! taken in the order of the table of pairs. Source: trading 8.1, 8.7.

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{Digest, TradePair, UtcMs};

use super::history::digest_of;
use super::ledger::LedgerPoint;
use super::{
    Cell, CellsClosed, Ledger, LedgerError, LedgerRules, Mark, MarketStatus, Sample, finite,
};

/// What all positions of a trader in one pair are worth together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairSample {
    /// The pair.
    pub pair: TradePair,
    /// When the pair had its first order; used when its ledger begins.
    pub initialized_at: UtcMs,
    /// Product of the returns after fees of its positions, closed and open; 0 is a liquidation.
    pub value: f64,
    /// Product of the spread fee factors of its positions.
    pub spread_fee: f64,
    /// Product of the carry fee factors of its positions.
    pub carry_fee: f64,
    /// Realised profit and loss of its positions, in USD.
    pub realized_pnl: f64,
    /// Unrealised profit and loss of its open position, in USD.
    pub unrealized_pnl: f64,
    /// Whether a position is open, its market is open and its price moved.
    pub status: MarketStatus,
}

/// What a sample did to a trader's ledgers.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The cells it completed: the portfolio's first, then by pair, each ledger's oldest first.
    pub closed: Vec<ClosedCell>,
    /// The portfolio's value after it.
    pub value: f64,
    /// The portfolio's standing peak after it.
    pub peak: Mark,
    /// The portfolio's value in relation to that peak.
    pub drawdown: f64,
    /// Whether the portfolio is worth nothing. The ledgers then end with the sample before, as no
    /// logarithm leads to zero; the account is to be eliminated (trading 8.9).
    pub liquidated: bool,
}

/// A cell that a sample completed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClosedCell {
    /// The pair, or `None` for the portfolio.
    pub pair: Option<TradePair>,
    /// The cell.
    pub cell: Cell,
}

/// The ledgers of one trader.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Bundle {
    portfolio: Ledger,
    /// By pair.
    pairs: Vec<(TradePair, Ledger)>,
}

/// Where the ledgers of a trader stood at a moment.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct BundlePoint {
    portfolio: LedgerPoint,
    /// By pair.
    pairs: Vec<(TradePair, LedgerPoint)>,
}

impl Bundle {
    /// Returns the empty ledgers of a trader whose first order was at `first_order`.
    #[must_use]
    pub fn new(first_order: UtcMs) -> Self {
        Self { portfolio: Ledger::new(first_order), pairs: Vec::new() }
    }

    /// Returns the ledger of the portfolio: the one that verdicts are taken on.
    #[must_use]
    pub fn portfolio(&self) -> &Ledger {
        &self.portfolio
    }

    /// Returns the ledger of `pair`, if it was ever traded.
    #[must_use]
    pub fn pair(&self, pair: TradePair) -> Option<&Ledger> {
        let index = self.pairs.binary_search_by_key(&pair, |(own, _)| *own).ok()?;
        self.pairs.get(index).map(|(_, ledger)| ledger)
    }

    /// Returns the ledgers of the pairs, in the order of the table of pairs.
    pub fn pairs(&self) -> impl DoubleEndedIterator<Item = (TradePair, &Ledger)> {
        self.pairs.iter().map(|(pair, ledger)| (*pair, ledger))
    }

    /// Returns the time of the last sample, or `None` before the first.
    #[must_use]
    pub fn last_update(&self) -> Option<UtcMs> {
        self.portfolio.last_update()
    }

    /// Returns whether enough time has passed for a sample that no order asks for.
    #[must_use]
    pub fn is_due(&self, rules: &LedgerRules, at: UtcMs) -> bool {
        self.last_update().is_none_or(|last| at.since(last) >= rules.sample_every.value)
    }

    /// Returns the hash of all ledgers; complete cells count by their hash chain.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let pairs: Vec<_> = self.pairs().map(|(pair, ledger)| (pair, ledger.digest())).collect();
        digest_of(&(self.portfolio.digest(), pairs))
    }

    /// Tells the ledgers what the trader's pairs are worth at `at`.
    ///
    /// `pairs` holds every pair that the trader ever traded, in the order of the table of pairs, as
    /// of after the orders of `at`. A pair's ledger begins with the first sample that has it. The
    /// time since the sample before counts as open if that one said so.
    ///
    /// # Errors
    /// [`LedgerError`] when a pair is missing or out of order, time went back, or a number cannot
    /// be in a ledger. No ledger is then changed.
    pub fn sample(
        &mut self,
        rules: &LedgerRules,
        at: UtcMs,
        pairs: &[PairSample],
    ) -> Result<Outcome, LedgerError> {
        let portfolio = portfolio_sample(at, pairs);
        self.check(at, pairs, &portfolio)?;
        if portfolio.value == 0.0 {
            let peak = self.portfolio.peak();
            return Ok(Outcome {
                closed: Vec::new(),
                value: 0.0,
                peak,
                drawdown: 0.0,
                liquidated: true,
            });
        }
        let mut closed = Vec::new();
        let count = advance(&mut self.portfolio, rules, &portfolio);
        collect(&mut closed, None, &self.portfolio, count);
        self.portfolio.purge(rules);
        for (index, pair) in pairs.iter().enumerate() {
            if self.pairs.get(index).is_none_or(|(own, _)| *own != pair.pair) {
                self.pairs.insert(index, (pair.pair, Ledger::new(pair.initialized_at)));
            }
            let ledger = &mut self.pairs[index].1;
            let count = advance(ledger, rules, &pair.sample(at));
            collect(&mut closed, Some(pair.pair), ledger, count);
            ledger.purge(rules);
        }
        Ok(Outcome {
            closed,
            value: self.portfolio.value(),
            peak: self.portfolio.peak(),
            drawdown: self.portfolio.drawdown(),
            liquidated: false,
        })
    }

    /// Tests everything that can be wrong before anything is changed.
    fn check(
        &self,
        at: UtcMs,
        pairs: &[PairSample],
        portfolio: &Sample,
    ) -> Result<(), LedgerError> {
        if let Some(next) = pairs.windows(2).find(|two| two[0].pair >= two[1].pair) {
            return Err(LedgerError::PairOrder(next[1].pair));
        }
        let mut sampled = pairs.iter().map(|pair| pair.pair);
        for (own, _) in &self.pairs {
            if !sampled.any(|pair| pair == *own) {
                return Err(LedgerError::PairMissing(*own));
            }
        }
        if portfolio.value == 0.0 {
            // A liquidation changes no ledger, but it must not come from numbers out of place.
            pairs.iter().try_for_each(|pair| finite("value", pair.value))?;
            return self.portfolio.check(&Sample { value: 1.0, ..*portfolio });
        }
        self.portfolio.check(portfolio)?;
        pairs.iter().try_for_each(|pair| pair.sample(at).check())
    }

    /// Returns where the ledgers stand, for [`Bundle::rewound`].
    #[must_use]
    pub fn point(&self) -> BundlePoint {
        let pairs = self.pairs.iter().map(|(pair, ledger)| (*pair, ledger.point())).collect();
        BundlePoint { portfolio: self.portfolio.point(), pairs }
    }

    /// Writes where the ledgers stand over `point`, into the memory that it has.
    pub(crate) fn point_over(&self, point: &mut BundlePoint) {
        point.portfolio = self.portfolio.point();
        point.pairs.clear();
        point.pairs.extend(self.pairs.iter().map(|(pair, ledger)| (*pair, ledger.point())));
    }

    /// Returns the ledgers as they stood at `point`, so that the time since can be told anew
    /// (trading 8.4). That time must be shorter than the window.
    #[must_use]
    pub fn rewound(&self, point: &BundlePoint) -> Self {
        let pairs = point.pairs.iter().filter_map(|(pair, point)| {
            let ledger = self.pair(*pair)?;
            Some((*pair, ledger.rewound(point)))
        });
        Self { portfolio: self.portfolio.rewound(&point.portfolio), pairs: pairs.collect() }
    }
}

impl PairSample {
    pub(super) fn sample(&self, at: UtcMs) -> Sample {
        Sample {
            at,
            value: self.value,
            status: self.status,
            spread_fee: self.spread_fee,
            carry_fee: self.carry_fee,
            realized_pnl: self.realized_pnl,
            unrealized_pnl: self.unrealized_pnl,
        }
    }
}

/// Returns the portfolio that consists of `pairs`.
fn portfolio_sample(at: UtcMs, pairs: &[PairSample]) -> Sample {
    let nothing = Sample {
        at,
        value: 1.0,
        status: MarketStatus::NoOpenPositions,
        spread_fee: 1.0,
        carry_fee: 1.0,
        realized_pnl: 0.0,
        unrealized_pnl: 0.0,
    };
    // A pair that is worth nothing ends the portfolio, also where the others are worth so much that
    // their product is beyond every number, and times zero not one any more.
    let lost = pairs.iter().any(|pair| pair.value == 0.0);
    pairs.iter().fold(nothing, |whole, pair| Sample {
        at,
        value: if lost { 0.0 } else { whole.value * pair.value },
        status: whole.status.max(pair.status),
        spread_fee: whole.spread_fee * pair.spread_fee,
        carry_fee: whole.carry_fee * pair.carry_fee,
        realized_pnl: whole.realized_pnl + pair.realized_pnl,
        unrealized_pnl: whole.unrealized_pnl + pair.unrealized_pnl,
    })
}

/// Applies a checked sample; where nothing can have moved the value, the ledger's own stands.
///
/// The value of a trader without open positions is a product over a long history, and the same
/// factors multiplied in another order differ in the last digit. With no position open, the same
/// fees and the same profit there is nothing that could have changed, so that digit is noise and
/// must not become a gain or a loss (trading 8.7, "bypass").
fn advance(ledger: &mut Ledger, rules: &LedgerRules, sample: &Sample) -> CellsClosed {
    let still = ledger.current().filter(|cell| {
        sample.status == MarketStatus::NoOpenPositions
            && sample.spread_fee == cell.spread_fee
            && sample.carry_fee == cell.carry_fee
            && sample.realized_pnl == cell.realized_pnl_total
            && sample.unrealized_pnl == cell.unrealized_pnl_total
    });
    let value = still.map_or(sample.value, |cell| cell.value);
    // A sample shows the positions after the order that asked for it; until then they were as the
    // sample before showed them.
    let since = ledger.status().unwrap_or(sample.status);
    ledger.apply(rules, &Sample { value, ..*sample }, since)
}

fn collect(
    closed: &mut Vec<ClosedCell>,
    pair: Option<TradePair>,
    ledger: &Ledger,
    CellsClosed(count): CellsClosed,
) {
    if count > 0 {
        let first = closed.len();
        closed
            .extend(ledger.closed().rev().take(count).map(|cell| ClosedCell { pair, cell: *cell }));
        closed[first..].reverse();
    }
}
