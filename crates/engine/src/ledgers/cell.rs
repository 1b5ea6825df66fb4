//! `Cell`, `Mark`, `Drawdown`: what a ledger remembers of half a day.

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{DurationMs, UtcMs};

use super::{LedgerError, amount, positive};

/// A value of the account at a moment; `1.0` is the value the account began with.
#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Mark {
    /// When the value was reached.
    pub at: UtcMs,
    /// The value, as a multiple of the one at the start.
    pub value: f64,
}

/// A fall from a peak: where it began and how deep it went.
#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Drawdown {
    /// The greatest value before the fall.
    pub peak: Mark,
    /// The least value in relation to that peak.
    pub trough: Mark,
}

impl Drawdown {
    /// Returns what was left of the peak: `1.0` is no drawdown, `0.9` is ten per cent down.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.trough.value / self.peak.value
    }
}

/// One half-day of a ledger (trading 8.1, "checkpoint"), complete or still being filled.
///
/// Complete cells end on a boundary and never change again. A trader has up to 240 of them per
/// ledger, so the struct is kept to 128 bytes.
#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Cell {
    /// Time of the last update; the end of the half-day once complete.
    pub last_update: UtcMs,
    /// Value after fees at the last update, as a multiple of the one at the start.
    pub value: f64,
    /// Realised profit and loss since the start, at the last update, in USD.
    pub realized_pnl_total: f64,
    /// Unrealised profit and loss at the last update, in USD.
    pub unrealized_pnl_total: f64,
    /// Product of the spread fee factors at the last update.
    pub spread_fee: f64,
    /// Product of the carry fee factors at the last update.
    pub carry_fee: f64,
    /// Sum of the positive log returns within the cell.
    pub gain: f64,
    /// Sum of the negative log returns within the cell, zero or less.
    pub loss: f64,
    /// Sum of the log changes of the spread fee product within the cell.
    pub spread_fee_loss: f64,
    /// Sum of the log changes of the carry fee product within the cell.
    pub carry_fee_loss: f64,
    /// Least value / peak seen in the cell, starting from the drawdown it began with.
    pub worst_drawdown: f64,
    /// Greatest value in the cell, starting from the one it began with.
    pub peak: f64,
    /// Change of realised profit and loss within the cell, in USD.
    pub realized_pnl: f64,
    /// Change of unrealised profit and loss within the cell, in USD.
    pub unrealized_pnl: f64,
    /// How much of the half-day is covered, in ms, from its beginning even in a first cell.
    pub accum_ms: u32,
    /// For how long a position was open in an open market, in ms.
    pub open_ms: u32,
    /// How many updates changed the value.
    pub n_updates: u32,
    /// When `peak` was reached, in ms after the beginning of the half-day.
    pub peak_ms: u32,
}

// 10,000 traders x 2 ledgers x 240 cells, each with its drawdown, stay below 1 GiB.
const _: () = assert!(size_of::<Cell>() <= 128);
const _: () = assert!(10_000 * 2 * 240 * (size_of::<Cell>() + size_of::<Drawdown>()) < 1 << 30);

impl Cell {
    /// Returns the beginning of the half-day: where the cell before it ends.
    #[must_use]
    pub fn start(&self) -> UtcMs {
        UtcMs(self.last_update.0 - i64::from(self.accum_ms))
    }

    /// Returns when the cell's greatest value was reached.
    #[must_use]
    pub fn peak_mark(&self) -> Mark {
        Mark { at: UtcMs(self.start().0 + i64::from(self.peak_ms)), value: self.peak }
    }

    /// Tests that every number can be in a ledger.
    pub(super) fn check(&self) -> Result<(), LedgerError> {
        positive("value", self.value)?;
        positive("spread fee product", self.spread_fee)?;
        positive("carry fee product", self.carry_fee)?;
        amount("realized pnl total", self.realized_pnl_total)?;
        amount("unrealized pnl total", self.unrealized_pnl_total)?;
        amount("realized pnl", self.realized_pnl)?;
        amount("unrealized pnl", self.unrealized_pnl)?;
        amount("gain", self.gain)?;
        amount("loss", self.loss)?;
        amount("spread fee loss", self.spread_fee_loss)?;
        amount("carry fee loss", self.carry_fee_loss)?;
        amount("worst drawdown", self.worst_drawdown)?;
        amount("peak", self.peak)
    }

    /// Returns the log return of the cell.
    #[must_use]
    pub fn log_return(&self) -> f64 {
        self.gain + self.loss
    }

    /// Returns the first cell of a ledger, begun at `at` (trading 8.2).
    pub(super) fn first(at: UtcMs, span: DurationMs) -> Self {
        let offset = ms(at.0.rem_euclid(span.0));
        Self { last_update: at, accum_ms: offset, peak_ms: offset, ..Self::default() }
    }

    /// Returns a cell that begins where `before` ends and has seen nothing but the values carried
    /// over from it; it reaches to `end`.
    pub(super) fn carried(before: &Self, drawdown: f64, end: UtcMs) -> Self {
        Self {
            last_update: end,
            value: before.value,
            realized_pnl_total: before.realized_pnl_total,
            unrealized_pnl_total: before.unrealized_pnl_total,
            spread_fee: before.spread_fee,
            carry_fee: before.carry_fee,
            worst_drawdown: drawdown,
            peak: before.value,
            accum_ms: ms(end.since(before.last_update).0),
            ..Self::default()
        }
    }
}

impl Default for Cell {
    /// Returns a cell in which nothing happened to an account that is worth what it began with.
    fn default() -> Self {
        Self {
            last_update: UtcMs(0),
            value: 1.0,
            realized_pnl_total: 0.0,
            unrealized_pnl_total: 0.0,
            spread_fee: 1.0,
            carry_fee: 1.0,
            gain: 0.0,
            loss: 0.0,
            spread_fee_loss: 0.0,
            carry_fee_loss: 0.0,
            worst_drawdown: 1.0,
            peak: 1.0,
            realized_pnl: 0.0,
            unrealized_pnl: 0.0,
            accum_ms: 0,
            open_ms: 0,
            n_updates: 0,
            peak_ms: 0,
        }
    }
}

/// Returns a span within one cell in the width that cells store.
pub(super) fn ms(span: i64) -> u32 {
    u32::try_from(span).expect("a cell lasts a day at most, which the rulebook check saw to")
}
