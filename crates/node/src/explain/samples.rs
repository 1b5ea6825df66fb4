//! What the portfolio's ledger went through: peak, lows since, last samples, cells.

use proctor_engine::account::Account;
use proctor_engine::eliminations::Elimination;
use proctor_engine::ledgers::{Cell as LedgerCell, Drawdown, Mark, drawdown};
use proctor_types::{Stamp, UtcMs};

use super::arithmetic::standing_value;
use super::story::{Cell, Ledger, MarkPoint, SamplePoint, Valuation, Worst};

/// How many of the last samples are told.
const LAST_SAMPLES: usize = 8;

/// The samples of the portfolio's ledger.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    begun: Option<UtcMs>,
    count: u64,
    last_update: Option<UtcMs>,
    peak: Option<(Mark, Option<u64>)>,
    peak_valuation: Option<Valuation>,
    lows: Vec<SamplePoint>,
    last: Vec<SamplePoint>,
    worst: Option<Drawdown>,
    cells: Vec<Cell>,
}

impl Samples {
    /// Takes in a complete cell.
    pub(super) fn closed(&mut self, stamp: Stamp, cell: &LedgerCell) {
        self.cells.push(cell_story(stamp, cell));
    }

    /// Takes in the ledger as it stands after a commit.
    pub(super) fn observe(&mut self, stamp: Stamp, account: &Account) {
        let Some(ledgers) = &account.ledgers else { return };
        let ledger = ledgers.portfolio();
        self.begun = Some(ledger.initialized_at());
        if ledger.last_update() == self.last_update {
            return;
        }
        self.last_update = ledger.last_update();
        self.worst = ledger.worst();
        let known = self.peak.map(|(mark, _)| mark);
        self.sampled(stamp, ledger.peak(), ledger.value());
        if known != Some(ledger.peak()) {
            // Only a peak of this very sample can be told by the positions as they stand; the value
            // that every account begins with is a peak, too, and needs no explanation.
            let mark = ledger.peak();
            let fresh = mark.at == stamp.at && mark.value == ledger.value();
            self.peak_valuation = fresh.then(|| standing_value(account, stamp.at, ledger.value()));
        }
    }

    /// Takes in the sample that ended the account; what the flat orders made of it comes after.
    pub(super) fn end(&mut self, record: &Elimination) {
        let Some(fall) = record.fall else { return };
        let (peak, value) = (fall.peak, fall.trough.value);
        let fall = Drawdown { peak, trough: Mark { at: record.stamp.at, value } };
        if self.worst.is_none_or(|worst| fall.ratio() < worst.ratio()) {
            self.worst = Some(fall);
        }
        self.sampled(record.stamp, peak, value);
    }

    fn sampled(&mut self, stamp: Stamp, peak: Mark, value: f64) {
        self.count += 1;
        if self.peak.is_none_or(|(known, _)| known != peak) {
            // A peak that is older than the sample is one that the window has brought back.
            let commit = (peak.at == stamp.at).then_some(stamp.commit);
            self.peak = Some((peak, commit));
            self.lows.clear();
        }
        let sample = SamplePoint { place: stamp.into(), value, ratio: value / peak.value };
        let lowest = self.lows.last().map_or(1.0, |low| low.ratio);
        if sample.ratio < lowest {
            self.lows.push(sample.clone());
        }
        if self.last.len() == LAST_SAMPLES {
            self.last.remove(0);
        }
        self.last.push(sample);
    }

    pub(super) fn peak_point(&self) -> MarkPoint {
        let (mark, commit) = self.peak.unwrap_or((Mark { at: UtcMs(0), value: 1.0 }, None));
        MarkPoint { value: mark.value, at: mark.at.into(), commit }
    }

    /// Returns the story of the ledger that the account has, or that it had before it was dropped.
    pub(super) fn story(self, account: Option<&Account>) -> Option<Ledger> {
        let present = account.and_then(|account| account.ledgers.as_ref());
        let begun = present.map(|ledgers| ledgers.portfolio().initialized_at()).or(self.begun)?;
        let peak = self.peak_point();
        let point = |mark: Mark| MarkPoint { value: mark.value, at: mark.at.into(), commit: None };
        Some(Ledger {
            begun: begun.into(),
            samples: self.count,
            peak,
            peak_valuation: self.peak_valuation,
            lows: self.lows,
            last_samples: self.last,
            worst: self.worst.map(|worst| Worst {
                ratio: worst.ratio(),
                percent: drawdown::percent_lost(worst.ratio()),
                peak: point(worst.peak),
                trough: point(worst.trough),
            }),
            cells: self.cells,
        })
    }
}

fn cell_story(stamp: Stamp, cell: &LedgerCell) -> Cell {
    Cell {
        commit: stamp.commit,
        start: cell.start().into(),
        end: cell.last_update.into(),
        value: cell.value,
        peak: cell.peak,
        worst_ratio: cell.worst_drawdown,
        log_return: cell.log_return(),
        realized_pnl_usd: cell.realized_pnl,
        unrealized_pnl_usd: cell.unrealized_pnl,
        updates: cell.n_updates,
    }
}
