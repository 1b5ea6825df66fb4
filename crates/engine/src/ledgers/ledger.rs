//! One performance ledger: values in, half-day cells, peak and drawdown out.
//!
//! A ledger does not know what it measures, a portfolio or one pair, nor where prices come from: it
//! is given a value and how it came about, at moments that never go back. Source: trading 8.1-8.4.

use std::io;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{Digest, DurationMs, UtcMs, float};

use super::cell::{Cell, Drawdown, Mark, ms};
use super::history::{Closed, History, digest_of};
use super::{LedgerError, LedgerRules, MarketStatus, Sample};

/// The performance history of a portfolio or of one pair of it.
///
/// A copy shares its complete cells with the original, so it costs about as much as one cell.
#[derive(Clone, Debug, PartialEq, BorshSerialize)]
pub struct Ledger {
    initialized_at: UtcMs,
    /// Length of the cells, taken from the rules when the first one begins: a rulebook that says
    /// otherwise later cannot cut a ledger's history in two ways.
    span: DurationMs,
    /// The running peak: the greatest value in the retained cells, and 1 at least.
    peak: Mark,
    /// The worst fall in the complete cells that are retained; follows from them.
    #[borsh(skip)]
    closed_worst: Option<Drawdown>,
    history: History,
    current: Option<Current>,
    /// The market as of the last update; unknown before the first and after a trim.
    status: Option<MarketStatus>,
}

/// Where a ledger stood at a moment: what its complete cells do not say.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub(super) struct LedgerPoint {
    span: DurationMs,
    peak: Mark,
    /// Hash chain over the cells that had left the window.
    base: Digest,
    /// End of the last complete cell.
    closed_until: Option<UtcMs>,
    current: Option<Current>,
    status: Option<MarketStatus>,
}

/// The cell that is being filled.
#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
struct Current {
    cell: Cell,
    worst: Drawdown,
}

impl Ledger {
    /// Returns an empty ledger of something that began at `initialized_at`: its first order.
    #[must_use]
    pub fn new(initialized_at: UtcMs) -> Self {
        Self {
            initialized_at,
            span: DurationMs(0),
            peak: Mark { at: initialized_at, value: 1.0 },
            closed_worst: None,
            history: History::new(),
            current: None,
            status: None,
        }
    }

    /// Returns the ledger that has these cells, oldest first: what another implementation recorded.
    ///
    /// Such records say how deep each cell's worst fall was, but not from which peak and when; the
    /// falls are told as falls from 1 at the end of their cell. The last cell is the one that is
    /// being filled.
    ///
    /// # Errors
    /// [`LedgerError`] when a cell is older than the one before it, or has a number that is not
    /// finite or, for values and fee products, not above zero (S-55).
    pub fn from_cells(
        rules: &LedgerRules,
        initialized_at: UtcMs,
        cells: &[Cell],
    ) -> Result<Self, LedgerError> {
        let mut ledger = Self::new(initialized_at);
        ledger.span = rules.cell.value;
        for cell in cells {
            cell.check()?;
            if let Some(last) = ledger.last_update().filter(|last| *last > cell.last_update) {
                return Err(LedgerError::TimeWentBack { last, at: cell.last_update });
            }
            if let Some(Current { cell, worst }) = ledger.current.take() {
                ledger.close(Closed { cell, worst });
            }
            let worst = Drawdown {
                peak: Mark { at: cell.start(), value: 1.0 },
                trough: Mark { at: cell.last_update, value: cell.worst_drawdown },
            };
            ledger.current = Some(Current { cell: *cell, worst });
        }
        ledger.reset_peak();
        Ok(ledger)
    }

    /// Returns when the trader, or the pair, had its first order.
    #[must_use]
    pub fn initialized_at(&self) -> UtcMs {
        self.initialized_at
    }

    /// Returns the standing peak and when it was reached.
    #[must_use]
    pub fn peak(&self) -> Mark {
        self.peak
    }

    /// Returns the time of the last update, or `None` before the first.
    #[must_use]
    pub fn last_update(&self) -> Option<UtcMs> {
        self.current().map(|cell| cell.last_update)
    }

    /// Returns the cell that is being filled, or `None` before the first update.
    #[must_use]
    pub fn current(&self) -> Option<&Cell> {
        self.current.as_ref().map(|current| &current.cell)
    }

    /// Returns the market as of the last update, or `None` before the first and after a trim.
    #[must_use]
    pub fn status(&self) -> Option<MarketStatus> {
        self.status
    }

    /// Returns the value at the last update, 1 before the first.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.current().map_or(1.0, |cell| cell.value)
    }

    /// Returns the retained cells, oldest first; the last one is being filled.
    pub fn cells(&self) -> impl DoubleEndedIterator<Item = &Cell> {
        self.closed().chain(self.current())
    }

    /// Returns the retained cells that are complete, oldest first.
    pub fn closed(&self) -> impl DoubleEndedIterator<Item = &Cell> {
        self.history.iter().map(|closed| &closed.cell)
    }

    /// Returns how many cells are retained, the one being filled included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.history.len() + usize::from(self.current.is_some())
    }

    /// Returns whether the ledger has not had any update.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the value at the last update in relation to the standing peak.
    #[must_use]
    pub fn drawdown(&self) -> f64 {
        self.value() / self.peak.value
    }

    /// Returns the least value / peak over the retained cells, or `None` before the first update.
    #[must_use]
    pub fn worst_drawdown(&self) -> Option<f64> {
        self.worst().map(|worst| worst.ratio())
    }

    /// Returns the worst fall within the retained cells with its beginning and end.
    #[must_use]
    pub fn worst(&self) -> Option<Drawdown> {
        let current = self.current.as_ref().map(|current| current.worst);
        match (self.closed_worst, current) {
            (Some(closed), Some(current)) => Some(worse(closed, current)),
            (closed, current) => closed.or(current),
        }
    }

    /// Returns the hash of the whole ledger; costs the same however many cells it has.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let (base, closed) = self.history.digests();
        let identity = (self.initialized_at, self.span, base, closed);
        digest_of(&(identity, self.peak, self.current, self.status))
    }

    /// Tells the ledger what its subject is worth at `sample.at` (trading 8.3).
    ///
    /// The time since the last update counts as open if `sample.status` says so.
    ///
    /// Returns how many cells that completed. A sample exactly on a boundary completes the cell's
    /// time but leaves it open, because more samples may follow at the same moment; the first one
    /// after the boundary closes it.
    ///
    /// # Errors
    /// [`LedgerError`] when the sample is older than the last one or has a number that is not
    /// finite and, for the value and the fee products, above zero. The ledger is then unchanged.
    pub fn update(
        &mut self,
        rules: &LedgerRules,
        sample: &Sample,
    ) -> Result<CellsClosed, LedgerError> {
        self.check(sample)?;
        Ok(self.apply(rules, sample, sample.status))
    }

    /// Tests what [`update`](Self::update) refuses.
    pub(super) fn check(&self, sample: &Sample) -> Result<(), LedgerError> {
        if let Some(last) = self.last_update().filter(|last| *last > sample.at) {
            return Err(LedgerError::TimeWentBack { last, at: sample.at });
        }
        sample.check()
    }

    /// Applies a checked sample; `since` is how the market was from the last update up to it.
    pub(super) fn apply(
        &mut self,
        rules: &LedgerRules,
        sample: &Sample,
        since: MarketStatus,
    ) -> CellsClosed {
        if self.is_empty() {
            self.span = rules.cell.value;
        }
        self.status = Some(sample.status);
        let span = self.span;
        let trading = since > MarketStatus::MarketNotOpen;
        let peak = self.peak;
        let current = self.current.get_or_insert_with(|| {
            let trough = Mark { at: sample.at, value: 1.0 };
            Current { cell: Cell::first(sample.at, span), worst: Drawdown { peak, trough } }
        });
        let elapsed = sample.at.since(current.cell.last_update).0;
        let mut closed = CellsClosed(0);
        // Strictly greater: a sample on the boundary still belongs to the cell that ends there.
        if i64::from(current.cell.accum_ms) + elapsed > span.0 {
            let full = *current;
            closed = self.roll(rules, sample.at, trading, full);
        } else {
            current.cell.accum_ms += ms(elapsed);
            current.cell.open_ms += if trading { ms(elapsed) } else { 0 };
        }
        let now = Mark { at: sample.at, value: sample.value };
        if now.value > self.peak.value {
            self.peak = now;
        }
        let fall = Drawdown { peak: self.peak, trough: now };
        if let Some(current) = &mut self.current {
            current.record(sample, fall);
        }
        closed
    }

    /// Completes the cell `full`, fills the time since with cells in which nothing happened and
    /// opens the one that holds `at`.
    ///
    /// Of a time longer than the window only the cells that the window will keep are filled in: a
    /// clock that was wrong by a thousand years must not cost the memory of a thousand years.
    fn roll(
        &mut self,
        rules: &LedgerRules,
        at: UtcMs,
        trading: bool,
        full: Current,
    ) -> CellsClosed {
        let span = self.span;
        let Current { mut cell, worst } = full;
        let mut boundary = cell.last_update.next_boundary(span);
        cell.open_ms += if trading { ms(span.0 - i64::from(cell.accum_ms)) } else { 0 };
        cell.last_update = boundary;
        cell.accum_ms = ms(span.0);
        self.close(Closed { cell, worst });
        let mut closed = CellsClosed(1);
        let (cells, kept) = (at.since(boundary).0 / span.0, rules.window.value.0 / span.0 + 1);
        boundary = boundary.plus(DurationMs((cells - kept).max(0) * span.0));
        cell.last_update = boundary;
        while at.since(boundary) > span {
            boundary = boundary.plus(span);
            let void = self.carried(&cell, boundary);
            cell = void.cell;
            self.close(Closed { cell, worst: void.worst });
            closed.0 += 1;
        }
        let mut current = self.carried(&cell, at);
        current.cell.open_ms = if trading { current.cell.accum_ms } else { 0 };
        self.current = Some(current);
        closed
    }

    /// Returns the cell that follows on `before` and reaches to `end`; it begins with the value and
    /// the drawdown that stand.
    fn carried(&self, before: &Cell, end: UtcMs) -> Current {
        let trough = Mark { at: before.last_update, value: before.value };
        let worst = Drawdown { peak: self.peak, trough };
        Current { cell: Cell::carried(before, worst.ratio(), end), worst }
    }

    fn close(&mut self, closed: Closed) {
        self.closed_worst =
            Some(self.closed_worst.map_or(closed.worst, |worst| worse(worst, closed.worst)));
        self.history.push(closed);
    }

    /// Forgets the oldest cells until the rest fit into the window, and with them the peaks and
    /// falls that only they held (trading 8.4, P-5). Returns how many were forgotten.
    pub fn purge(&mut self, rules: &LedgerRules) -> usize {
        let forgotten = self.forget_before_window(rules);
        if forgotten > 0 {
            self.reset_peak();
        }
        forgotten
    }

    /// Forgets the oldest cells until the rest fit into the window, but not their peak: the
    /// reference takes the peak anew only when its next update begins, and golden runs follow it.
    pub fn forget_before_window(&mut self, rules: &LedgerRules) -> usize {
        let mut forgotten = 0;
        while self.covered() > rules.window.value && self.history.pop_oldest().is_some() {
            forgotten += 1;
        }
        if forgotten > 0 {
            self.reset_closed_worst();
        }
        forgotten
    }

    /// Returns the time that the retained cells cover.
    fn covered(&self) -> DurationMs {
        let complete = i64::try_from(self.history.len()).expect("cells are counted in hundreds");
        let current = self.current().map_or(0, |cell| i64::from(cell.accum_ms));
        DurationMs(complete * self.span.0 + current)
    }

    /// Takes the peak anew from the retained cells; it is 1 at least.
    pub fn reset_peak(&mut self) {
        let floor = Mark { at: self.initialized_at, value: 1.0 };
        let greater = |best: Mark, mark: Mark| if mark.value > best.value { mark } else { best };
        self.peak = self.cells().map(Cell::peak_mark).fold(floor, greater);
    }

    /// Returns where the ledger stands, for [`Ledger::rewound`].
    pub(super) fn point(&self) -> LedgerPoint {
        LedgerPoint {
            span: self.span,
            peak: self.peak,
            base: self.history.digests().0,
            closed_until: self.history.until(),
            current: self.current,
            status: self.status,
        }
    }

    /// Returns the ledger as it stood at `point`. A cell that has left the window since stays away,
    /// and with it its peak: what is told anew is judged by the lower one, in the trader's favour.
    /// The time since must be shorter than the window.
    pub(super) fn rewound(&self, point: &LedgerPoint) -> Self {
        let mut ledger = Self {
            span: point.span,
            peak: point.peak,
            current: point.current,
            status: point.status,
            ..self.clone()
        };
        let before = |closed: &&Closed| {
            point.closed_until.is_some_and(|until| closed.cell.last_update <= until)
        };
        let kept = ledger.history.iter().take_while(before).count();
        ledger.history.truncate(kept);
        ledger.reset_closed_worst();
        if ledger.history.digests().0 != point.base {
            ledger.reset_peak();
        }
        ledger
    }

    fn reset_closed_worst(&mut self) {
        self.closed_worst = self.history.iter().map(|closed| closed.worst).reduce(worse);
    }
}

impl BorshDeserialize for Ledger {
    /// Reads a ledger of a snapshot; its complete cells are checked against their hash chain.
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let mut ledger = Self {
            initialized_at: UtcMs::deserialize_reader(reader)?,
            span: DurationMs::deserialize_reader(reader)?,
            peak: Mark::deserialize_reader(reader)?,
            closed_worst: None,
            history: History::deserialize_reader(reader)?,
            current: Option::deserialize_reader(reader)?,
            status: Option::deserialize_reader(reader)?,
        };
        ledger.reset_closed_worst();
        Ok(ledger)
    }
}

/// How many cells an update completed; they are the last ones of [`Ledger::closed`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CellsClosed(pub usize);

impl Current {
    fn record(&mut self, sample: &Sample, fall: Drawdown) {
        let Self { cell, worst } = self;
        if fall.ratio() < cell.worst_drawdown {
            cell.worst_drawdown = fall.ratio();
            *worst = fall;
        }
        let change = log_change(cell.value, sample.value);
        if change > 0.0 {
            cell.gain += change;
        } else {
            cell.loss += change;
        }
        cell.n_updates += u32::from(change != 0.0);
        cell.realized_pnl += sample.realized_pnl - cell.realized_pnl_total;
        cell.unrealized_pnl += sample.unrealized_pnl - cell.unrealized_pnl_total;
        cell.carry_fee_loss += log_change(cell.carry_fee, sample.carry_fee);
        cell.spread_fee_loss += log_change(cell.spread_fee, sample.spread_fee);
        cell.value = sample.value;
        cell.realized_pnl_total = sample.realized_pnl;
        cell.unrealized_pnl_total = sample.unrealized_pnl;
        cell.spread_fee = sample.spread_fee;
        cell.carry_fee = sample.carry_fee;
        cell.last_update = sample.at;
        if sample.value > cell.peak {
            cell.peak = sample.value;
            cell.peak_ms = cell.accum_ms;
        }
    }
}

/// Most samples change nothing, so the logarithm is spared where it would be zero.
fn log_change(from: f64, to: f64) -> f64 {
    if from == to {
        return 0.0;
    }
    let ratio = to / from;
    if ratio.is_normal() { float::ln(ratio) } else { float::ln(to) - float::ln(from) }
}

/// Returns the deeper of two falls, the earlier one when they are equally deep.
fn worse(earlier: Drawdown, later: Drawdown) -> Drawdown {
    if later.ratio() < earlier.ratio() { later } else { earlier }
}
