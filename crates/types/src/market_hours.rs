//! Sessions and holidays: `is_open(pair, at)`.
//!
//! Everything is computed from the rules of the calendar, so that no table can be out of date and
//! no platform's time zone database can disagree with another's. The answer depends on the pair and
//! the moment alone. Source: trading 5.

mod holidays;

use crate::time::{DAY_MS, HOUR_MS};
use crate::{AssetClass, CivilDate, TradePair, UtcMs};

const THURSDAY: u32 = 3;
const FRIDAY: u32 = 4;
const SATURDAY: u32 = 5;
const SUNDAY: u32 = 6;

/// When the week of forex ends on Friday and begins on Sunday, New York time.
const FOREX_WEEK_TURNS_MS: i64 = 17 * HOUR_MS;
/// When the regular session of the stock exchange begins, New York time.
const EQUITIES_OPEN_MS: i64 = 9 * HOUR_MS + HOUR_MS / 2;

/// A moment as a clock on a wall in New York shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// The calendar date there.
    pub date: CivilDate,
    /// Milliseconds that the clock shows past midnight.
    pub ms_of_day: i64,
    /// Day of the week there, Monday = 0 to Sunday = 6.
    pub weekday: u32,
}

impl LocalTime {
    /// Returns the hour that the clock shows, 0 to 23.
    #[must_use]
    pub fn hour(self) -> i64 {
        self.ms_of_day / HOUR_MS
    }
}

/// Returns whether `pair` can be traded at `at`.
///
/// ```
/// use proctor_types::{TradePair, UtcMs, market_hours::is_open};
/// let saturday = UtcMs(1_762_603_200_000); // 2025-11-08 12:00 UTC
/// assert!(is_open(TradePair::from_id("BTCUSD").unwrap(), saturday));
/// assert!(!is_open(TradePair::from_id("EURUSD").unwrap(), saturday));
/// ```
#[must_use]
pub fn is_open(pair: TradePair, at: UtcMs) -> bool {
    match pair.class() {
        AssetClass::Crypto => true,
        AssetClass::Forex => forex_is_open(new_york(at)),
        AssetClass::Equities => equities_are_open(new_york(at)),
        // Indices stand for old records only and are never traded.
        AssetClass::Indices => false,
    }
}

/// Returns whether a UTC date counts as one without trading in `pair`, as statistics by day see it.
///
/// For forex that is asked at 00:00, 12:00 and 23:00 UTC, so it says yes to Saturdays and no to a
/// Sunday or to a holiday whose eve was still open at 00:00 UTC (trading 5).
#[must_use]
pub fn closed_all_day(pair: TradePair, date: CivilDate) -> bool {
    match pair.class() {
        AssetClass::Crypto => false,
        AssetClass::Forex => forex_closed_all_day(date),
        AssetClass::Equities => holidays::equities_close_ms(date).is_none(),
        AssetClass::Indices => true,
    }
}

/// Returns whether a UTC date counts as one without trading in forex: see [`closed_all_day`].
#[must_use]
pub fn forex_closed_all_day(date: CivilDate) -> bool {
    [0, 12, 23].into_iter().all(|hour| {
        let at = UtcMs(date.day_index() * DAY_MS + hour * HOUR_MS);
        !forex_is_open(new_york(at))
    })
}

/// Returns what a clock in New York shows at `at`.
#[must_use]
pub fn new_york(at: UtcMs) -> LocalTime {
    let local = UtcMs(at.0 + new_york_offset_ms(at));
    LocalTime { date: local.date(), ms_of_day: local.ms_of_day(), weekday: local.weekday() }
}

/// Returns New York time minus UTC.
fn new_york_offset_ms(at: UtcMs) -> i64 {
    let year = at.date().year;
    // Clocks change at 02:00 local time: 07:00 UTC in spring, 06:00 UTC in autumn. The days were
    // moved in 2007; no record is older than the rule of 1987 that stood before.
    let (spring, autumn) = if year >= 2007 {
        (nth_weekday(year, 3, SUNDAY, 2), nth_weekday(year, 11, SUNDAY, 1))
    } else {
        (nth_weekday(year, 4, SUNDAY, 1), last_weekday(year, 10, SUNDAY))
    };
    let summer = (spring * DAY_MS + 7 * HOUR_MS)..(autumn * DAY_MS + 6 * HOUR_MS);
    if summer.contains(&at.0) { -4 * HOUR_MS } else { -5 * HOUR_MS }
}

fn forex_is_open(local: LocalTime) -> bool {
    let in_the_week = match local.weekday {
        SATURDAY => false,
        FRIDAY => local.ms_of_day < FOREX_WEEK_TURNS_MS,
        SUNDAY => local.ms_of_day >= FOREX_WEEK_TURNS_MS,
        _ => true,
    };
    in_the_week && !holidays::is_forex_holiday(local.date)
}

fn equities_are_open(local: LocalTime) -> bool {
    // The session lies within one UTC date, the same as the date in New York.
    holidays::equities_close_ms(local.date)
        .is_some_and(|close| (EQUITIES_OPEN_MS..close).contains(&local.ms_of_day))
}

/// Returns the day index of the `n`th (from 1) `weekday` of a month.
fn nth_weekday(year: i64, month: u32, weekday: u32, n: i64) -> i64 {
    let first = CivilDate { year, month, day: 1 }.day_index();
    first + (i64::from(weekday) - i64::from(weekday_of(first))).rem_euclid(7) + 7 * (n - 1)
}

/// Returns the day index of the last `weekday` of a month.
fn last_weekday(year: i64, month: u32, weekday: u32) -> i64 {
    let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    nth_weekday(next_year, next, weekday, 1) - 7
}

/// Returns the day of the week of a day index, Monday = 0 to Sunday = 6.
fn weekday_of(day_index: i64) -> u32 {
    UtcMs(day_index * DAY_MS).weekday()
}

#[cfg(test)]
mod tests;
