//! Sessions and holidays: `is_open(pair, at)`.
//!
//! Everything is computed from the rules of the calendar, so that no table can be out of date and
//! no platform's time zone database can disagree with another's. Source: trading 5.

use crate::time::{DAY_MS, HOUR_MS};
use crate::{CivilDate, UtcMs};

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
    let summer = spring * DAY_MS + 7 * HOUR_MS..autumn * DAY_MS + 6 * HOUR_MS;
    if summer.contains(&at.0) { -4 * HOUR_MS } else { -5 * HOUR_MS }
}

const SUNDAY: u32 = 6;

/// Returns the day index of the `n`th (from 1) `weekday` of a month.
fn nth_weekday(year: i64, month: u32, weekday: u32, n: i64) -> i64 {
    let first = CivilDate { year, month, day: 1 }.day_index();
    first + (i64::from(weekday) - weekday_of(first)).rem_euclid(7) + 7 * (n - 1)
}

/// Returns the day index of the last `weekday` of a month.
fn last_weekday(year: i64, month: u32, weekday: u32) -> i64 {
    let (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    nth_weekday(year, month, weekday, 1) - 7
}

/// Returns the day of the week of a day index, Monday = 0 to Sunday = 6.
fn weekday_of(day_index: i64) -> i64 {
    // 1970-01-01 was a Thursday.
    (day_index + 3).rem_euclid(7)
}
