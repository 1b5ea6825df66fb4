//! Complete days: which cells make a day, its return, its profit (services 3.2, trading 8.10).

use proctor_types::market_hours::forex_closed_all_day;
use proctor_types::time::DAY_MS;
use proctor_types::{AssetClass, CivilDate, DurationMs, UtcMs};

use crate::ledgers::{Cell, Ledger};
use crate::rulebook::{ForexWeekendDays, OpenLoss, Rulebook};

/// How many days a table of closed days has at most; others are computed when met.
const TABLE_MAX: i64 = 4_096;

/// What the complete days of a ledger amount to, oldest first. A gap is absent, not zero (S-5).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Days {
    dates: Vec<i64>,
    returns: Vec<f64>,
    profits: Vec<f64>,
}

impl Days {
    /// Returns how many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.dates.len()).unwrap_or(u32::MAX)
    }

    /// Returns their dates (UTC).
    pub fn dates(&self) -> impl ExactSizeIterator<Item = CivilDate> + '_ {
        self.dates.iter().map(|day| CivilDate::from_day_index(*day))
    }

    /// Returns their log returns.
    #[must_use]
    pub fn returns(&self) -> &[f64] {
        &self.returns
    }

    /// Returns what was realised on them in USD; the last one also bears the open loss (S-6).
    #[must_use]
    pub fn profits(&self) -> &[f64] {
        &self.profits
    }
}

/// What scoring takes from a ledger, or from the ledgers of a class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The complete days.
    pub days: Days,
    /// The least value / peak of any cell; `None` without cells.
    pub worst_ratio: Option<f64>,
}

impl Record {
    /// Returns the record of one ledger.
    #[must_use]
    pub fn of_ledger(rulebook: &Rulebook, calendar: Calendar<'_>, ledger: &Ledger) -> Self {
        let mut reading = Reading::new(rulebook, calendar, ledger.len());
        ledger.cells().for_each(|cell| reading.take(cell));
        reading.finish()
    }

    /// Returns the drawdown as scoring computes with it, 0 to 1; 1 is none. Without cells it is 0,
    /// a total loss (S-10).
    #[must_use]
    pub fn drawdown(&self) -> f64 {
        self.worst_ratio.map_or(0.0, |worst| worst.clamp(0.0, 1.0))
    }
}

/// Returns how many complete days the portfolio's ledger has (S-7).
#[must_use]
pub fn complete_days(rulebook: &Rulebook, portfolio: &Ledger) -> u32 {
    u32::try_from(ended_days(rulebook, portfolio).count()).unwrap_or(u32::MAX)
}

/// Returns whether the portfolio's ledger has this many complete days (S-7): reads no more cells than
/// it takes to tell.
#[must_use]
pub fn has_complete_days(rulebook: &Rulebook, portfolio: &Ledger, least: u32) -> bool {
    let least = usize::try_from(least).unwrap_or(usize::MAX);
    least == 0 || ended_days(rulebook, portfolio).nth(least - 1).is_some()
}

/// Returns the complete days of a portfolio, oldest first.
fn ended_days(rulebook: &Rulebook, portfolio: &Ledger) -> impl Iterator<Item = Day> {
    let mut dates = Dates::new(rulebook, Calendar::EveryDay);
    let cells = portfolio.cells().map(Some).chain(std::iter::once(None));
    cells.filter_map(move |cell| match cell {
        Some(cell) => dates.take(cell),
        None => dates.end(),
    })
}

/// Which dates can be days at all (S-4).
#[derive(Clone, Copy, Debug)]
pub enum Calendar<'a> {
    /// Every one.
    EveryDay,
    /// Those on which forex is open at some time.
    Forex(&'a ForexDays),
}

impl<'a> Calendar<'a> {
    /// Returns the days that count for a ledger of pairs of `class`.
    #[must_use]
    pub fn of_class(rulebook: &Rulebook, class: AssetClass, forex: &'a ForexDays) -> Self {
        match (class, rulebook.switches.forex_weekend_days) {
            (AssetClass::Forex, ForexWeekendDays::Dropped) => Self::Forex(forex),
            // The reference's class ledgers claim to be the portfolio's, so nothing is left out.
            (AssetClass::Forex, ForexWeekendDays::Counted)
            | (AssetClass::Crypto | AssetClass::Indices | AssetClass::Equities, _) => {
                Self::EveryDay
            }
        }
    }

    fn counts(self, day: i64) -> bool {
        match self {
            Self::EveryDay => true,
            Self::Forex(days) => !days.is_closed(day),
        }
    }
}

/// The days on which forex is closed all day. The calendar's rules are computed once for the days
/// that ledgers cover, not for every cell of every trader.
#[derive(Clone, Debug)]
pub struct ForexDays {
    first: i64,
    closed: Vec<bool>,
}

impl ForexDays {
    /// Returns the days of the `window` that ends at `now`.
    #[must_use]
    pub fn up_to(now: UtcMs, window: DurationMs) -> Self {
        let days = (window.0 / DAY_MS + 2).clamp(0, TABLE_MAX);
        let first = now.day_index() - days;
        let closed = (first..=now.day_index())
            .map(|day| forex_closed_all_day(CivilDate::from_day_index(day)))
            .collect();
        Self { first, closed }
    }

    fn is_closed(&self, day: i64) -> bool {
        usize::try_from(day - self.first)
            .ok()
            .and_then(|place| self.closed.get(place).copied())
            .unwrap_or_else(|| forex_closed_all_day(CivilDate::from_day_index(day)))
    }
}

/// Cells of one date.
#[derive(Clone, Copy, Debug)]
struct Day {
    day: i64,
    cells: i64,
    log_return: f64,
    realized: f64,
    /// Open loss at the end of the last cell, zero or less.
    open_loss: f64,
}

/// Puts cells, oldest first, together into days.
#[derive(Debug)]
struct Dates<'a> {
    cell_ms: i64,
    open_loss: OpenLoss,
    calendar: Calendar<'a>,
    day: Option<Day>,
}

impl<'a> Dates<'a> {
    fn new(rulebook: &Rulebook, calendar: Calendar<'a>) -> Self {
        Self {
            cell_ms: rulebook.ledger.cell.value.0,
            open_loss: rulebook.switches.open_loss,
            calendar,
            day: None,
        }
    }

    /// Takes the next cell, and returns the day that has ended with the one before it. A cell belongs
    /// to the date on which it begins, and to no day unless the whole of its half-day is covered
    /// (S-3).
    fn take(&mut self, cell: &Cell) -> Option<Day> {
        if i64::from(cell.accum_ms) != self.cell_ms {
            return None;
        }
        let day = cell.start().day_index();
        let mut ended = None;
        if self.day.is_none_or(|own| own.day != day) {
            ended = self.end();
            if !self.calendar.counts(day) {
                return ended;
            }
            self.day = Some(Day { day, cells: 0, log_return: 0.0, realized: 0.0, open_loss: 0.0 });
        }
        if let Some(own) = &mut self.day {
            own.cells += 1;
            own.log_return += cell.log_return();
            own.realized += cell.realized_pnl;
            own.open_loss = open_loss(self.open_loss, cell);
        }
        ended
    }

    /// Ends the last date. It is a day when all of its cells are there, and no more than those.
    fn end(&mut self) -> Option<Day> {
        self.day.take().filter(|day| day.cells * self.cell_ms == DAY_MS)
    }
}

/// Reads cells, oldest first, into a [`Record`].
#[derive(Debug)]
pub(super) struct Reading<'a> {
    dates: Dates<'a>,
    /// Of the last complete day.
    last_open_loss: f64,
    record: Record,
}

impl<'a> Reading<'a> {
    /// Returns a reading of about this many cells: there is room for their days.
    pub(super) fn new(rulebook: &Rulebook, calendar: Calendar<'a>, cells: usize) -> Self {
        let dates = Dates::new(rulebook, calendar);
        let a_day = usize::try_from(DAY_MS / dates.cell_ms).unwrap_or(1).max(1);
        let days = cells.div_ceil(a_day);
        let room = || Vec::with_capacity(days);
        let days = Days { dates: Vec::with_capacity(days), returns: room(), profits: room() };
        Self { dates, last_open_loss: 0.0, record: Record { days, worst_ratio: None } }
    }

    /// Takes the next cell.
    pub(super) fn take(&mut self, cell: &Cell) {
        let worst = self.record.worst_ratio.unwrap_or(f64::MAX).min(cell.worst_drawdown);
        self.record.worst_ratio = Some(worst);
        if let Some(day) = self.dates.take(cell) {
            self.add(day);
        }
    }

    fn add(&mut self, day: Day) {
        let days = &mut self.record.days;
        days.dates.push(day.day);
        days.returns.push(day.log_return);
        days.profits.push(day.realized.clamp(f64::MIN, f64::MAX));
        self.last_open_loss = day.open_loss;
    }

    pub(super) fn finish(mut self) -> Record {
        if let Some(day) = self.dates.end() {
            self.add(day);
        }
        if let Some(last) = self.record.days.profits.last_mut() {
            *last = (*last + self.last_open_loss).clamp(f64::MIN, f64::MAX);
        }
        self.record
    }
}

/// Returns the open loss that is charged at the end of `cell`, zero or less (S-6).
pub(super) fn open_loss(switch: OpenLoss, cell: &Cell) -> f64 {
    match switch {
        OpenLoss::Level => cell.unrealized_pnl_total.min(0.0),
        OpenLoss::LastChange => cell.unrealized_pnl.min(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rulebook::Switches;
    use crate::scoring::tests::{cells, close, ledger, rules};

    fn record(rulebook: &Rulebook, cells: &[Cell]) -> Record {
        Record::of_ledger(rulebook, Calendar::EveryDay, &ledger(cells))
    }

    fn dates(record: &Record) -> Vec<String> {
        record.days.dates().map(|date| date.to_string()).collect()
    }

    #[test]
    fn s_3_a_day_is_complete_with_two_full_cells_that_begin_on_it() {
        let mut cells = cells(0, &[(0.01, 1.0), (0.02, 2.0), (0.04, 4.0)]);
        cells[2].accum_ms -= 1;
        assert_eq!(dates(&record(&rules(), &cells)), ["2025-11-04", "2025-11-06"]);
        cells.remove(1);
        assert_eq!(dates(&record(&rules(), &cells)), ["2025-11-06"], "one cell is half a day");
        let twice = cells[3];
        cells.insert(3, twice);
        assert!(dates(&record(&rules(), &cells)).is_empty(), "three cells are no day either");
    }

    #[test]
    fn s_5_gaps_are_absent_and_returns_are_sums() {
        let mut all = cells(0, &[(0.01, 0.0)]);
        all.extend(cells(5, &[(-0.02, 0.0)]));
        all[1].gain = 0.005;
        all[1].loss = -0.001;
        let record = record(&rules(), &all);
        assert_eq!(dates(&record), ["2025-11-04", "2025-11-09"]);
        close(record.days.returns()[0], 0.014);
        close(record.days.returns()[1], -0.02);
    }

    #[test]
    fn s_6_the_last_complete_day_bears_the_open_loss_of_its_last_cell() {
        let mut cells = cells(0, &[(0.0, 100.0), (0.0, 50.0), (0.0, 7.0)]);
        // An old open loss that got a little better, and a third day that is not complete.
        (cells[3].unrealized_pnl, cells[3].unrealized_pnl_total) = (10.0, -30.0);
        cells.pop();
        let profits = |rulebook: &Rulebook| record(rulebook, &cells).days.profits().to_vec();
        assert_eq!(profits(&rules()), [100.0, 20.0]);
        let mut parity = rules();
        parity.switches = Switches::PARITY;
        assert_eq!(profits(&parity), [100.0, 50.0], "the reference sees the change only");
    }

    #[test]
    fn s_6_an_open_gain_is_not_counted() {
        let mut cells = cells(0, &[(0.0, 100.0)]);
        cells[1].unrealized_pnl_total = 30.0;
        assert_eq!(record(&rules(), &cells).days.profits(), [100.0]);
    }

    #[test]
    fn s_4_days_on_which_forex_is_closed_are_no_days_of_a_forex_class() {
        // Tuesday the 4th to Monday the 10th; the 8th is a Saturday.
        let days = ledger(&cells(0, &[(0.01, 1.0); 7]));
        let now = days.last_update().unwrap();
        for (switches, expected) in [(rules().switches, 6), (Switches::PARITY, 7)] {
            let mut rulebook = rules();
            rulebook.switches = switches;
            for table in [now, UtcMs(0)] {
                // Far from its table the calendar computes each day.
                let forex = ForexDays::up_to(table, rulebook.ledger.window.value);
                let count = |class: AssetClass| {
                    let calendar = Calendar::of_class(&rulebook, class, &forex);
                    Record::of_ledger(&rulebook, calendar, &days).days.count()
                };
                assert_eq!((count(AssetClass::Forex), count(AssetClass::Crypto)), (expected, 7));
            }
        }
        assert_eq!(complete_days(&rules(), &days), 7, "S-7: a portfolio trades every day");
        let has = |least| has_complete_days(&rules(), &days, least);
        assert_eq!([0, 1, 6, 7, 8, u32::MAX].map(has), [true, true, true, true, false, false]);
    }

    #[test]
    fn s_10_the_drawdown_is_the_worst_of_any_cell_and_a_total_loss_without_cells() {
        let mut cells = cells(0, &[(0.0, 0.0); 2]);
        (cells[1].worst_drawdown, cells[3].worst_drawdown) = (0.93, 0.95);
        assert_eq!(record(&rules(), &cells).drawdown(), 0.93);
        assert_eq!(record(&rules(), &[]).drawdown(), 0.0);
        cells[0].worst_drawdown = -3.0;
        assert_eq!(record(&rules(), &cells).drawdown(), 0.0);
    }
}
