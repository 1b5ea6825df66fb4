//! A moment as a person writes it: a date, a date with a time, or milliseconds since 1970; all UTC.

use proctor_types::time::{DAY_MS, HOUR_MS};
use proctor_types::{CivilDate, UtcMs};

/// The text is no moment of the years 1970 to 9999.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time: write 2026-01-05, 2026-01-05T12:30:00Z or milliseconds since 1970")]
pub struct NotAMoment(String);

/// Returns the moment written in `text`: `2026-01-05`, `2026-01-05T12:30`, `2026-01-05T12:30:00.250Z`
/// or `1767616200250`.
///
/// # Errors
/// [`NotAMoment`] quotes the text.
pub fn parse(text: &str) -> Result<UtcMs, NotAMoment> {
    let moment = match text.parse() {
        Ok(ms) => Some(UtcMs(ms)),
        Err(_) => written(text),
    };
    moment.filter(|at| at.is_in_range()).ok_or_else(|| NotAMoment(text.into()))
}

fn written(text: &str) -> Option<UtcMs> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let date = CivilDate {
        year: number(year, 4)?,
        month: u32::try_from(number(month, 2)?).ok()?,
        day: u32::try_from(number(day, 2)?).ok()?,
    };
    // A day that the calendar does not have comes back as another one.
    let days = date.day_index();
    if parts.next().is_some() || CivilDate::from_day_index(days) != date {
        return None;
    }
    Some(UtcMs(days * DAY_MS + time_of_day(time)?))
}

fn time_of_day(text: &str) -> Option<i64> {
    let (time, fraction) = text.split_once('.').unwrap_or((text, "000"));
    let mut parts = time.split(':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let second = parts.next().map_or(Some(0), |second| number(second, 2))?;
    let in_range = hour < 24 && minute < 60 && second < 60 && parts.next().is_none();
    in_range.then_some(hour * HOUR_MS + minute * 60_000 + second * 1_000 + number(fraction, 3)?)
}

/// Returns the number that `text` of exactly `digits` digits states.
fn number(text: &str, digits: usize) -> Option<i64> {
    let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_moment_prints_is_read_back() {
        for ms in [0, 1_767_616_200_250, 951_782_400_000, UtcMs::MAX.0] {
            let at = UtcMs(ms);
            assert_eq!(parse(&at.to_string()), Ok(at));
            assert_eq!(parse(&ms.to_string()), Ok(at));
        }
        assert_eq!(parse("2026-01-05"), Ok(UtcMs(1_767_571_200_000)));
        assert_eq!(parse("2026-01-05 00:01"), Ok(UtcMs(1_767_571_260_000)));
    }

    #[test]
    fn what_is_not_in_the_calendar_is_refused() {
        for text in [
            "",
            "noon",
            "2026-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-1-5",
            "2026-01-05T24:00",
            "2026-01-05T12:60",
            "2026-01-05T12:30:00.1",
            "2026-01-05-01",
            "-1",
            "99999999999999999",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
