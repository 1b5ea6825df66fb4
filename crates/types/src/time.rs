//! `UtcMs`, `DurationMs`: day and half-day cell arithmetic, all UTC.

use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// Milliseconds in one UTC day.
pub const DAY_MS: i64 = 86_400_000;
/// Milliseconds in one hour.
pub const HOUR_MS: i64 = 3_600_000;

/// A moment: milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
#[serde(transparent)]
pub struct UtcMs(pub i64);

/// A span of time in milliseconds; may be negative when it is a difference of two moments.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
#[serde(transparent)]
pub struct DurationMs(pub i64);

/// A calendar date of the proleptic Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CivilDate {
    /// Year, astronomical numbering.
    pub year: i64,
    /// Month, 1 to 12.
    pub month: u32,
    /// Day of the month, 1 to 31.
    pub day: u32,
}

impl UtcMs {
    /// The last moment that is accepted from outside, the end of the year 9999: no sum of moments
    /// and spans overflows before it.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// Returns whether this moment lies in the years 1970 to 9999.
    #[must_use]
    pub fn is_in_range(self) -> bool {
        (Self(0)..=Self::MAX).contains(&self)
    }

    /// Returns 00:00 UTC of this moment's day.
    #[must_use]
    pub fn start_of_day(self) -> Self {
        Self(self.0 - self.0.rem_euclid(DAY_MS))
    }

    /// Returns the number of whole days since 1970-01-01.
    #[must_use]
    pub fn day_index(self) -> i64 {
        self.0.div_euclid(DAY_MS)
    }

    /// Returns the milliseconds since 00:00 UTC of this moment's day.
    #[must_use]
    pub fn ms_of_day(self) -> i64 {
        self.0.rem_euclid(DAY_MS)
    }

    /// Returns the day of the week in UTC, Monday = 0 to Sunday = 6.
    #[must_use]
    #[allow(clippy::missing_panics_doc, reason = "a remainder below 7 fits")]
    pub fn weekday(self) -> u32 {
        // 1970-01-01 was a Thursday.
        u32::try_from((self.day_index() + 3).rem_euclid(7))
            .expect("a remainder below 7 is not negative")
    }

    /// Returns the UTC calendar date.
    #[must_use]
    pub fn date(self) -> CivilDate {
        CivilDate::from_day_index(self.day_index())
    }

    /// Returns the first multiple of `cell` at or after this moment.
    #[must_use]
    pub fn next_boundary(self, cell: DurationMs) -> Self {
        let past = self.0.rem_euclid(cell.0);
        if past == 0 { self } else { Self(self.0 - past + cell.0) }
    }

    /// Returns this moment moved by `span`.
    #[must_use]
    pub fn plus(self, span: DurationMs) -> Self {
        Self(self.0 + span.0)
    }

    /// Returns how long after `earlier` this moment is; negative when it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> DurationMs {
        DurationMs(self.0 - earlier.0)
    }
}

impl CivilDate {
    /// Returns the date that is `days` after 1970-01-01 (days-from-civil, inverted).
    #[must_use]
    #[allow(clippy::missing_panics_doc, reason = "months and days fit")]
    pub fn from_day_index(days: i64) -> Self {
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self {
            year,
            month: u32::try_from(month).expect("a month is 1 to 12"),
            day: u32::try_from(day).expect("a day is 1 to 31"),
        }
    }

    /// Returns the number of days from 1970-01-01 to this date.
    #[must_use]
    pub fn day_index(self) -> i64 {
        let month = i64::from(self.month);
        let year = if month <= 2 { self.year - 1 } else { self.year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let shifted_month = if month > 2 { month - 3 } else { month + 9 };
        let day_of_year = (153 * shifted_month + 2) / 5 + i64::from(self.day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era * 146_097 + day_of_era - 719_468
    }
}

impl fmt::Display for CivilDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Display for UtcMs {
    /// Writes `2025-11-03T22:00:00.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.ms_of_day();
        let (hour, minute) = (ms / HOUR_MS, ms / 60_000 % 60);
        write!(f, "{}T{hour:02}:{minute:02}:{:02}.{:03}Z", self.date(), ms / 1_000 % 60, ms % 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_prints_as_its_utc_date_and_time() {
        assert_eq!(UtcMs(1_762_207_200_000).to_string(), "2025-11-03T22:00:00.000Z");
        assert_eq!(UtcMs(-1).to_string(), "1969-12-31T23:59:59.999Z");
        assert_eq!(UtcMs(951_782_400_000).to_string(), "2000-02-29T00:00:00.000Z");
    }

    #[test]
    fn dates_and_day_indices_are_inverse() {
        for days in (-800_000..800_000).step_by(97) {
            assert_eq!(CivilDate::from_day_index(days).day_index(), days);
        }
    }

    #[test]
    fn weekdays_count_from_monday() {
        assert_eq!(UtcMs(1_762_207_200_000).weekday(), 0, "2025-11-03 was a Monday");
        assert_eq!(UtcMs(0).weekday(), 3, "1970-01-01 was a Thursday");
    }

    #[test]
    fn a_boundary_is_its_own_next_boundary() {
        let cell = DurationMs(12 * HOUR_MS);
        assert_eq!(UtcMs(0).next_boundary(cell), UtcMs(0));
        assert_eq!(UtcMs(1).next_boundary(cell), UtcMs(12 * HOUR_MS));
    }
}
