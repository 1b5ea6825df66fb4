//! Which days the markets keep: computed from the rules, for any year.

use super::{FRIDAY, SATURDAY, SUNDAY, THURSDAY, last_weekday, nth_weekday, weekday_of};
use crate::CivilDate;
use crate::time::HOUR_MS;

const MONDAY: u32 = 0;

/// When the regular session ends, New York time; and when it does on the eve of a holiday.
const CLOSE_MS: i64 = 16 * HOUR_MS;
const EARLY_CLOSE_MS: i64 = 13 * HOUR_MS;

/// Days on which the stock exchange was closed by no rule: 11 September 2001 and the days after,
/// mourning for four presidents, and a hurricane.
#[rustfmt::skip]
const EQUITIES_CLOSED_ONCE: [(i64, u32, u32); 10] = [
    (2001, 9, 11), (2001, 9, 12), (2001, 9, 13), (2001, 9, 14), (2004, 6, 11),
    (2007, 1, 2), (2012, 10, 29), (2012, 10, 30), (2018, 12, 5), (2025, 1, 9),
];

/// The first year in which the stock exchange kept Juneteenth.
const JUNETEENTH_FROM: i64 = 2022;

/// Returns whether forex is closed all through this date of New York (trading 5).
pub(super) fn is_forex_holiday(date: CivilDate) -> bool {
    let day = date.day_index();
    let year = date.year;
    [
        observed(year, 1, 1),
        // A New Year's Day on a Saturday is kept on the last day of the year before.
        observed(year + 1, 1, 1),
        good_friday(year),
        observed(year, 12, 25),
        observed(year, 12, 26),
    ]
    .contains(&day)
}

/// Returns when the stock exchange closes on this date of New York, in milliseconds past midnight;
/// `None` on a day without a session.
pub(super) fn equities_close_ms(date: CivilDate) -> Option<i64> {
    let day = date.day_index();
    let weekday = weekday_of(day);
    let once = EQUITIES_CLOSED_ONCE.contains(&(date.year, date.month, date.day));
    if matches!(weekday, SATURDAY | SUNDAY) || once || is_equities_holiday(date) {
        return None;
    }
    let day_after_thanksgiving = day == nth_weekday(date.year, 11, THURSDAY, 4) + 1;
    // Independence Day and Christmas shorten the day before them, unless a weekend lies between or
    // it is a Friday, which then is the holiday kept.
    let eve = matches!((date.month, date.day), (7, 3) | (12, 24)) && weekday <= THURSDAY;
    Some(if day_after_thanksgiving || eve { EARLY_CLOSE_MS } else { CLOSE_MS })
}

fn is_equities_holiday(date: CivilDate) -> bool {
    let day = date.day_index();
    let year = date.year;
    let new_year = CivilDate { year, month: 1, day: 1 }.day_index();
    [
        // Unlike the others, kept on a Monday but never on the Friday, on which the year's books
        // are closed.
        if weekday_of(new_year) == SUNDAY { new_year + 1 } else { new_year },
        nth_weekday(year, 1, MONDAY, 3),
        nth_weekday(year, 2, MONDAY, 3),
        good_friday(year),
        last_weekday(year, 5, MONDAY),
        observed(year, 7, 4),
        nth_weekday(year, 9, MONDAY, 1),
        nth_weekday(year, 11, THURSDAY, 4),
        observed(year, 12, 25),
    ]
    .contains(&day)
        || (year >= JUNETEENTH_FROM && day == observed(year, 6, 19))
}

/// Returns the day index on which a holiday of fixed date is kept: the weekday nearest to it.
fn observed(year: i64, month: u32, day: u32) -> i64 {
    let day = CivilDate { year, month, day }.day_index();
    match weekday_of(day) {
        SATURDAY => day - 1,
        SUNDAY => day + 1,
        _ => day,
    }
}

fn good_friday(year: i64) -> i64 {
    let friday = easter(year) - 2;
    debug_assert_eq!(weekday_of(friday), FRIDAY);
    friday
}

/// Returns the day index of Easter Sunday in the Gregorian calendar, after Meeus, Jones and Butcher.
fn easter(year: i64) -> i64 {
    let golden = year.rem_euclid(19);
    let (century, of_century) = (year.div_euclid(100), year.rem_euclid(100));
    let moon_correction = (century - (century + 8) / 25 + 1) / 3;
    let moon = (19 * golden + century - century / 4 - moon_correction + 15).rem_euclid(30);
    let to_sunday =
        (32 + 2 * (century % 4) + 2 * (of_century / 4) - moon - of_century % 4).rem_euclid(7);
    let late = (golden + 11 * moon + 22 * to_sunday) / 451;
    // Days after 22 March, the earliest Easter.
    CivilDate { year, month: 3, day: 22 }.day_index() + moon + to_sunday - 7 * late
}
