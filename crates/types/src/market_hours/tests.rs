//! Tests of sessions and holidays.

use proptest::prelude::*;

use super::*;

const MINUTE_MS: i64 = 60_000;

fn pair(id: &str) -> TradePair {
    TradePair::from_id(id).unwrap()
}

/// Reads `2023-05-05 20:59` as UTC.
fn utc(text: &str) -> UtcMs {
    let (day, time) = text.split_once(' ').unwrap();
    let (hour, minute) = time.split_once(':').unwrap();
    let ms = hour.parse::<i64>().unwrap() * HOUR_MS + minute.parse::<i64>().unwrap() * MINUTE_MS;
    UtcMs(date(day).day_index() * DAY_MS + ms)
}

fn date(text: &str) -> CivilDate {
    let mut parts = text.split('-');
    CivilDate {
        year: parts.next().unwrap().parse().unwrap(),
        month: parts.next().unwrap().parse().unwrap(),
        day: parts.next().unwrap().parse().unwrap(),
    }
}

/// One row a line: UTC time, pair, `open` or `closed`, and why.
fn check(table: &str) {
    for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let mut words = row.splitn(5, ' ').filter(|word| !word.is_empty());
        let at = format!("{} {}", words.next().unwrap(), words.next().unwrap());
        let (id, expected) = (words.next().unwrap(), words.next().unwrap());
        assert!(matches!(expected, "open" | "closed"), "{row}");
        assert_eq!(is_open(pair(id), utc(&at)), expected == "open", "{row}");
    }
}

#[test]
fn the_forex_week_runs_from_sunday_to_friday_five_in_the_afternoon_in_new_york() {
    check(
        "
        2023-05-03 12:00 EURUSD open a Wednesday
        2023-05-05 20:59 EURUSD open the last minute of the week, in summer
        2023-05-05 21:00 EURUSD closed Friday 17:00 in New York
        2023-05-07 20:59 EURUSD closed Sunday before the open
        2023-05-07 21:00 EURUSD open Sunday 17:00 in New York
        2025-11-07 21:59 EURUSD open the last minute of the week, in winter
        2025-11-07 22:00 EURUSD closed
        2025-11-09 21:59 EURUSD closed
        2025-11-09 22:00 EURUSD open
        2025-11-07 22:00 XAUUSD closed metals keep the hours of forex
        2025-11-07 21:59 XAGUSD open
    ",
    );
}

/// The reference's test_weekly_market_half_hour_intervals, trading 9 row 30.
#[test]
fn every_half_hour_of_a_summer_week_is_open_or_closed_as_published() {
    let monday = utc("2023-05-01 00:00");
    for half_hour in 0..336 {
        let at = UtcMs(monday.0 + half_hour * HOUR_MS / 2);
        let (weekday, minute) = (at.weekday(), at.ms_of_day() / MINUTE_MS);
        let forex = match weekday {
            FRIDAY => minute < 21 * 60,
            SATURDAY => false,
            SUNDAY => minute >= 21 * 60,
            _ => true,
        };
        assert_eq!(is_open(pair("EURUSD"), at), forex, "EURUSD at {at}");
        let equities = weekday <= FRIDAY && (13 * 60 + 30..20 * 60).contains(&minute);
        for id in ["MSFT", "NVDA", "AMZN", "GOOG"] {
            assert_eq!(is_open(pair(id), at), equities, "{id} at {at}");
        }
        assert!(is_open(pair("BTCUSD"), at));
        assert!(!is_open(pair("SPX"), at));
    }
}

/// The reference's tests of holidays, trading 9 rows 29 and 31.
#[test]
fn forex_keeps_new_year_good_friday_christmas_and_boxing_day_from_midnight_to_midnight() {
    check(
        "
        2023-01-01 12:00 EURUSD closed New Year's Day, a Sunday
        2023-01-01 22:30 EURUSD open Sunday evening before the day it is kept
        2023-01-02 04:59 EURUSD open 23:59 in New York on the eve
        2023-01-02 05:00 EURUSD closed
        2023-01-03 04:59 EURUSD closed
        2023-01-03 05:00 EURUSD open
        2023-04-07 12:00 EURUSD closed Good Friday
        2023-12-24 23:59 EURUSD open Sunday evening before Christmas
        2023-12-25 12:00 EURUSD closed Christmas
        2023-12-26 12:00 EURUSD closed Boxing Day
        2023-12-27 04:59 EURUSD closed the last minute of it in New York
        2023-12-27 05:00 EURUSD open
        2024-01-01 12:00 EURUSD closed
        2024-01-02 12:00 EURUSD open
        2024-01-02 22:01 EURUSD open
        2023-07-04 15:00 EURUSD open Independence Day is no holiday of forex
        2023-10-31 12:00 EURUSD open
        2023-02-14 12:00 EURUSD open
        2023-03-17 12:00 EURUSD open
        2025-11-27 15:00 EURUSD open Thanksgiving
        2023-12-25 00:00 BTCUSD open
    ",
    );
}

#[test]
fn forex_holidays_of_2024_to_2028_are_the_published_ones_and_no_others() {
    let mut found = Vec::new();
    for day in date("2024-01-01").day_index()..=date("2028-12-31").day_index() {
        let date = CivilDate::from_day_index(day);
        if holidays::is_forex_holiday(date) {
            found.push(date.to_string());
        }
    }
    assert_eq!(
        found,
        [
            "2024-01-01",
            "2024-03-29",
            "2024-12-25",
            "2024-12-26",
            "2025-01-01",
            "2025-04-18",
            "2025-12-25",
            "2025-12-26",
            "2026-01-01",
            "2026-04-03",
            "2026-12-25",
            "2027-01-01",
            "2027-03-26",
            "2027-12-24",
            "2027-12-27",
            "2027-12-31",
            "2028-04-14",
            "2028-12-25",
            "2028-12-26",
        ]
    );
}

/// Days as published by the exchange; in 2018 and 2025 with a day of mourning.
#[test]
fn stock_exchange_holidays_are_the_published_ones_and_no_others() {
    #[rustfmt::skip]
    let published = [
        "2018-01-01", "2018-01-15", "2018-02-19", "2018-03-30", "2018-05-28", "2018-07-04",
        "2018-09-03", "2018-11-22", "2018-12-05", "2018-12-25",
        "2020-01-01", "2020-01-20", "2020-02-17", "2020-04-10", "2020-05-25", "2020-07-03",
        "2020-09-07", "2020-11-26", "2020-12-25",
        "2021-01-01", "2021-01-18", "2021-02-15", "2021-04-02", "2021-05-31", "2021-07-05",
        "2021-09-06", "2021-11-25", "2021-12-24",
        // The New Year's Day of 2022 was a Saturday and not kept; Juneteenth was a Sunday.
        "2022-01-17", "2022-02-21", "2022-04-15", "2022-05-30", "2022-06-20", "2022-07-04",
        "2022-09-05", "2022-11-24", "2022-12-26",
        "2023-01-02", "2023-01-16", "2023-02-20", "2023-04-07", "2023-05-29", "2023-06-19",
        "2023-07-04", "2023-09-04", "2023-11-23", "2023-12-25",
        "2024-01-01", "2024-01-15", "2024-02-19", "2024-03-29", "2024-05-27", "2024-06-19",
        "2024-07-04", "2024-09-02", "2024-11-28", "2024-12-25",
        "2025-01-01", "2025-01-09", "2025-01-20", "2025-02-17", "2025-04-18", "2025-05-26",
        "2025-06-19", "2025-07-04", "2025-09-01", "2025-11-27", "2025-12-25",
        "2026-01-01", "2026-01-19", "2026-02-16", "2026-04-03", "2026-05-25", "2026-06-19",
        "2026-07-03", "2026-09-07", "2026-11-26", "2026-12-25",
    ];
    let mut found = Vec::new();
    for year in [2018, 2020, 2021, 2022, 2023, 2024, 2025, 2026] {
        let first = CivilDate { year, month: 1, day: 1 }.day_index();
        for day in first..(CivilDate { year: year + 1, month: 1, day: 1 }).day_index() {
            let date = CivilDate::from_day_index(day);
            if weekday_of(day) <= FRIDAY && closed_all_day(pair("AAPL"), date) {
                found.push(date.to_string());
            }
        }
    }
    assert_eq!(found, published);
}

#[test]
fn the_stock_exchange_closes_at_one_on_the_eves_of_holidays() {
    let mut found = Vec::new();
    for day in date("2018-01-01").day_index()..date("2026-01-01").day_index() {
        let date = CivilDate::from_day_index(day);
        if holidays::equities_close_ms(date) == Some(13 * HOUR_MS) {
            found.push(date.to_string());
        }
    }
    assert_eq!(
        found,
        [
            "2018-07-03",
            "2018-11-23",
            "2018-12-24",
            "2019-07-03",
            "2019-11-29",
            "2019-12-24",
            "2020-11-27",
            "2020-12-24",
            "2021-11-26",
            "2022-11-25",
            "2023-07-03",
            "2023-11-24",
            "2024-07-03",
            "2024-11-29",
            "2024-12-24",
            "2025-07-03",
            "2025-11-28",
            "2025-12-24",
        ]
    );
    check(
        "
        2024-12-24 17:59 NVDA open
        2024-12-24 18:00 NVDA closed 13:00 in New York
        2024-07-03 16:59 NVDA open
        2024-07-03 17:00 NVDA closed
        2024-12-23 20:59 NVDA open a full day
        2024-12-23 21:00 NVDA closed
        2023-07-04 15:00 MSFT closed
        2024-05-03 15:00 NVDA open
        2018-12-05 16:00 NVDA closed
    ",
    );
}

#[test]
fn new_york_changes_its_clocks_on_the_second_sunday_of_march_and_the_first_of_november() {
    for (at, hour, day) in [
        ("2025-03-09 06:59", 1, "2025-03-09"),
        ("2025-03-09 07:00", 3, "2025-03-09"), // the hour from 02:00 is left out
        ("2025-11-02 05:59", 1, "2025-11-02"),
        ("2025-11-02 06:00", 1, "2025-11-02"), // and comes twice in autumn
        ("2025-11-02 07:00", 2, "2025-11-02"),
        ("2025-07-01 03:59", 23, "2025-06-30"),
        ("2025-12-01 04:59", 23, "2025-11-30"),
        ("2026-01-01 04:59", 23, "2025-12-31"),
        ("2006-04-02 06:59", 1, "2006-04-02"), // before 2007: first Sunday of April
        ("2006-04-02 07:00", 3, "2006-04-02"),
        ("2006-10-29 05:59", 1, "2006-10-29"), // to the last of October
        ("2006-10-29 07:00", 2, "2006-10-29"),
        ("2007-03-11 07:00", 3, "2007-03-11"),
    ] {
        let local = new_york(utc(at));
        assert_eq!((local.hour(), local.date), (hour, date(day)), "{at}");
        assert_eq!(local.weekday, weekday_of(date(day).day_index()), "{at}");
    }
}

#[test]
fn a_day_counts_as_closed_for_forex_when_its_three_probes_are() {
    for (day, closed) in [
        ("2025-11-08", true),  // Saturday
        ("2025-11-09", false), // Sunday: open at 23:00 UTC
        ("2025-11-07", false), // Friday
        ("2025-12-25", false), // at 00:00 UTC it is still the 24th in New York
        ("2025-12-26", true),  // the 25th in New York at 00:00 UTC, a Friday evening at 23:00
        ("2025-04-18", false), // Good Friday, with an open Thursday evening
    ] {
        assert_eq!(closed_all_day(pair("EURUSD"), date(day)), closed, "{day}");
    }
    assert!(!closed_all_day(pair("BTCUSD"), date("2025-12-25")));
    assert!(closed_all_day(pair("SPX"), date("2025-11-05")));
    assert!(closed_all_day(pair("AAPL"), date("2025-11-08")));
    assert!(!closed_all_day(pair("AAPL"), date("2025-11-07")));
}

/// Any moment from 1987 to 2100.
fn moments() -> impl Strategy<Value = UtcMs> {
    (536_457_600_000_i64..4_102_444_800_000).prop_map(UtcMs)
}

proptest! {
    #[test]
    fn crypto_is_always_open_and_indices_never(at in moments()) {
        for pair in TradePair::all() {
            match pair.class() {
                AssetClass::Crypto => prop_assert!(is_open(pair, at)),
                AssetClass::Indices => prop_assert!(!is_open(pair, at)),
                AssetClass::Forex | AssetClass::Equities => {}
            }
        }
    }

    #[test]
    fn forex_is_never_open_on_a_saturday_in_new_york(at in moments()) {
        let local = new_york(at);
        prop_assert!(local.weekday != SATURDAY || !is_open(pair("EURUSD"), at));
    }

    #[test]
    fn equities_trade_only_on_weekdays_and_while_forex_does_or_keeps_a_holiday(at in moments()) {
        if is_open(pair("AAPL"), at) {
            prop_assert!(at.weekday() <= FRIDAY);
            let local = new_york(at);
            prop_assert!((9..16).contains(&local.hour()));
            let forex = is_open(pair("EURUSD"), at);
            prop_assert!(forex || holidays::is_forex_holiday(local.date));
        }
    }

    #[test]
    fn new_york_is_four_or_five_hours_behind_and_its_fields_agree(at in moments()) {
        let local = new_york(at);
        let wall = local.date.day_index() * DAY_MS + local.ms_of_day;
        prop_assert!([4 * HOUR_MS, 5 * HOUR_MS].contains(&(at.0 - wall)));
        prop_assert_eq!(local.weekday, weekday_of(local.date.day_index()));
        prop_assert!((0..DAY_MS).contains(&local.ms_of_day));
    }

    #[test]
    fn forex_keeps_two_to_five_holidays_a_year_and_each_on_a_weekday(year in 1990_i64..2200) {
        let first = CivilDate { year, month: 1, day: 1 }.day_index();
        let next = CivilDate { year: year + 1, month: 1, day: 1 }.day_index();
        let kept: Vec<i64> = (first..next)
            .filter(|day| holidays::is_forex_holiday(CivilDate::from_day_index(*day)))
            .collect();
        // Two when New Year's Day falls on a Saturday and Christmas on a Sunday, as in 2022.
        prop_assert!((2..=5).contains(&kept.len()), "{} in {year}", kept.len());
        prop_assert!(kept.iter().all(|day| weekday_of(*day) <= FRIDAY));
    }
}
