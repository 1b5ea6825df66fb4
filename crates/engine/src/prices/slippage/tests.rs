//! Tests of the slippage models and of their section of the rulebook.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::Rulebook;
use crate::rulebook::VANTA;

/// 2025-11-04 12:00 UTC, well after the second models took over.
const AT: UtcMs = UtcMs(1_762_257_600_000);
/// The last moment of the first models of crypto and forex, 2025-10-02 18:59 UTC.
const CUT_OVER: UtcMs = UtcMs(1_759_431_540_000);
/// The last moment of the square root model for equities, 2025-01-01 08:00 UTC.
const FITTED_AFTER: UtcMs = UtcMs(1_735_718_400_000);

const BUY: f64 = 1.0;
const SELL: f64 = -1.0;

fn rules() -> SlippageRules {
    Rulebook::parse(VANTA).unwrap().slippage
}

fn pair(id: &str) -> TradePair {
    TradePair::from_id(id).unwrap()
}

fn request(id: &str, leverage: f64, value_usd: f64) -> SlippageRequest<'static> {
    SlippageRequest {
        pair: pair(id),
        leverage,
        value_usd,
        bid: 99.0,
        ask: 101.0,
        at: AT,
        features: None,
    }
}

/// Asserts that two rates agree to the last digits of a double.
fn assert_near(ours: Result<f64, SlippageError>, expected: f64, what: &str) {
    let ours = ours.unwrap();
    assert!((ours - expected).abs() <= 1e-12 * expected.abs(), "{what}: {ours}, not {expected}");
}

/// trading appendix A, "Slippage".
#[test]
fn crypto_slips_as_the_reference_computes() {
    let rules = rules();
    for (id, side, value, expected) in [
        ("BTCUSD", BUY, 1_000.0, 0.0),
        ("BTCUSD", BUY, 1_000.01, 6.757592616898855e-06),
        ("BTCUSD", BUY, 10_000.0, 0.00010736228979010765),
        ("BTCUSD", BUY, 50_000.0, 0.00023191277763161716),
        ("BTCUSD", BUY, 100_000.0, 0.0004736478948033942),
        ("BTCUSD", BUY, 9_000_000.0, 0.0004736478948033942),
        ("BTCUSD", SELL, 10_000.0, 9.489052322796189e-05),
        ("SOLUSD", BUY, 5_000.0, 0.0003996047140198579),
        ("DOGEUSD", SELL, 50_000.0, 0.0024249999023350406),
        ("TAOUSD", BUY, 50_000.0, 0.0001),
    ] {
        let what = format!("{id} {value}");
        assert_near(slippage(&rules, &request(id, side, side * value)), expected, &what);
    }
}

#[test]
fn a_size_on_the_edge_of_two_steps_belongs_to_the_upper_one() {
    let rules = rules();
    let rate = |value| slippage(&rules, &request("ETHUSD", SELL, value)).unwrap();
    for edge in [10_000.0, 50_000.0, 100_000.0] {
        assert!(rate(edge - 0.01) < rate(edge), "below {edge}");
        assert_eq!(rate(edge), rate(edge + 0.01), "above {edge}");
    }
}

#[test]
fn an_order_without_direction_is_taken_for_a_sale() {
    let rules = rules();
    let flat = slippage(&rules, &request("BTCUSD", 0.0, 20_000.0));
    assert_eq!(flat, slippage(&rules, &request("BTCUSD", SELL, 20_000.0)));
    assert_ne!(flat, slippage(&rules, &request("BTCUSD", BUY, 20_000.0)));
}

#[test]
fn the_first_crypto_model_knows_six_pairs_and_refuses_others() {
    let rules = rules();
    let at_cut_over =
        |id| slippage(&rules, &SlippageRequest { at: CUT_OVER, ..request(id, BUY, 20_000.0) });
    assert_eq!(at_cut_over("BTCUSD"), Ok(0.00002));
    assert_eq!(at_cut_over("ADAUSD"), Ok(0.0002));
    assert_eq!(at_cut_over("TAOUSD"), Err(SlippageError::UnknownPair(pair("TAOUSD"))));
    let after = SlippageRequest { at: UtcMs(CUT_OVER.0 + 1), ..request("BTCUSD", BUY, 20_000.0) };
    assert_near(slippage(&rules, &after), 3.0 * 3.578742993003588e-05, "a millisecond later");
}

/// trading appendix A: the hour from 17:00 in New York, in winter, in summer, and on days on which
/// the clocks change.
#[test]
fn forex_slips_more_in_the_hour_after_the_close_in_new_york() {
    let rules = rules();
    let hour = 3_600_000;
    for (first_ms, what) in [
        (1_762_293_600_000, "2025-11-04 22:00 UTC, winter"),
        (1_761_858_000_000, "2025-10-30 21:00 UTC, summer"),
        (1_772_920_800_000, "2026-03-07 22:00 UTC, the day before the clocks change"),
        (1_773_003_600_000, "2026-03-08 21:00 UTC, the day on which they do"),
        (1_762_034_400_000 - hour, "2025-11-01 21:00 UTC, the day before they change back"),
        (1_762_120_800_000, "2025-11-02 22:00 UTC, the day on which they do"),
    ] {
        let rate = |ms: i64| {
            let at = UtcMs(first_ms + ms);
            slippage(&rules, &SlippageRequest { at, ..request("EURUSD", BUY, 20_000.0) })
        };
        assert_eq!(rate(-1), Ok(0.0002), "before {what}");
        assert_eq!(rate(0), Ok(0.0005), "{what}");
        assert_eq!(rate(hour - 1), Ok(0.0005), "end of {what}");
        assert_eq!(rate(hour), Ok(0.0002), "after {what}");
    }
}

const FEATURES: Features =
    Features { volatility: 0.3, average_daily_volume: 400_000.0, usd_per_base: Some(1.25) };

fn first_forex<'a>(id: &str, features: Option<&'a Features>) -> SlippageRequest<'a> {
    let quote = SlippageRequest { bid: 1.0998, ask: 1.1002, ..request(id, BUY, 500_000.0) };
    SlippageRequest { at: CUT_OVER, features, ..quote }
}

#[test]
fn the_first_forex_model_adds_the_impact_of_the_lots_to_the_spread() {
    // 0.433 x 4e-4 / 1.1, and 4 lots of 100 000 at 1.25 dollars against 0.3 x 400 000 lots a day:
    // 0.335 x sqrt(0.09 / 750) x sqrt(4 / 120 000).
    let expected = 0.433 * 4e-4 / 1.1 + 0.335 * 0.010954451150103323 * 0.005773502691896258;
    let ours = slippage(&rules(), &first_forex("EURUSD", Some(&FEATURES))).unwrap();
    assert!((ours - expected).abs() < 1e-15, "{ours}, not {expected}");
}

#[test]
fn a_dollar_base_needs_no_conversion_rate() {
    let rules = rules();
    let unknown = Features { usd_per_base: None, ..FEATURES };
    let one = Features { usd_per_base: Some(1.0), ..FEATURES };
    let euro = slippage(&rules, &first_forex("EURUSD", Some(&one)));
    assert_eq!(slippage(&rules, &first_forex("USDCHF", Some(&unknown))), euro);
    assert_eq!(slippage(&rules, &first_forex("USDCHF", Some(&FEATURES))), euro, "nor heeds one");
}

#[test]
fn without_features_or_rate_the_first_forex_model_falls_back() {
    let rules = rules();
    assert_eq!(slippage(&rules, &first_forex("EURUSD", None)), Ok(0.0002));
    for usd_per_base in [None, Some(0.0)] {
        let features = Features { usd_per_base, ..FEATURES };
        assert_eq!(slippage(&rules, &first_forex("EURUSD", Some(&features))), Ok(0.0002));
    }
}

const SHARES: Features =
    Features { volatility: 0.3, average_daily_volume: 4e7, usd_per_base: None };

fn equity<'a>(side: f64, value_usd: f64, features: Option<&'a Features>) -> SlippageRequest<'a> {
    let quote = SlippageRequest { bid: 199.98, ask: 200.02, ..request("AAPL", side, value_usd) };
    SlippageRequest { features, ..quote }
}

#[test]
fn equities_slip_by_the_row_of_their_side_and_size() {
    let rules = rules();
    // A spread of 0.04 on 200 is 2e-4; value / 200 shares against 40 million a day.
    for (side, value, [intercept, spread, volatility, volume]) in [
        (
            BUY,
            10_000.0,
            [-6.0712694564057e-06, 0.5339598003773119, 2.5430092129633873e-05, 3.2677497013948282],
        ),
        (
            BUY,
            10_000.01,
            [-2.5060752227805477e-05, 0.6549000347050526, 9.182857918644037e-05, 2.898375866056217],
        ),
        (
            SELL,
            200_000.0,
            [-9.899660799966321e-05, 1.13274424457099, 0.0004816008243649336, 1.667622395714142],
        ),
        (
            SELL,
            300_000.0,
            [
                -0.00012460213764654588,
                1.3958135172263322,
                0.000908369073943671,
                -0.2628219282537946,
            ],
        ),
    ] {
        let expected =
            intercept + spread * 2e-4 + volatility * 0.3 + volume * (value / 200.0) / 4e7;
        let ours = slippage(&rules, &equity(side, side * value, Some(&SHARES))).unwrap();
        assert!((ours - expected).abs() < 1e-12, "{value}: {ours}, not {expected}");
    }
}

#[test]
fn equities_above_the_largest_fitted_size_are_refused_but_not_where_no_model_is_fitted() {
    let rules = rules();
    let large = equity(BUY, 300_000.01, Some(&SHARES));
    let refused = SlippageError::TooLarge { value_usd: 300_000.01, max_usd: 300_000.0 };
    assert_eq!(slippage(&rules, &large), Err(refused));
    assert_eq!(refused.to_string(), "order of 300000.01 USD is above the largest of 300000 USD");
    assert_eq!(slippage(&rules, &SlippageRequest { features: None, ..large }), Ok(0.0001));
    let before = slippage(&rules, &SlippageRequest { at: FITTED_AFTER, ..large }).unwrap();
    // 1 500 shares against 12 000 000.
    let expected = 0.433 * 2e-4 + 0.335 * 0.010954451150103323 * 0.011180339887498949;
    assert!((before - expected).abs() < 1e-9, "{before}, not {expected}");
    let after = SlippageRequest { at: UtcMs(FITTED_AFTER.0 + 1), ..large };
    assert_eq!(slippage(&rules, &after), Err(refused));
}

/// Of all that can be wrong with an order, the first in this order is the answer (trading 4.1).
#[test]
fn a_missing_quote_comes_first_then_a_small_size_then_a_missing_model() {
    let rules = rules();
    let index = request("SPX", BUY, 20_000.0);
    let refused = SlippageError::NoModel { class: AssetClass::Indices, at: AT };
    assert_eq!(slippage(&rules, &index), Err(refused));
    assert_eq!(
        refused.to_string(),
        "there is no slippage model for indices at 2025-11-04T12:00:00.000Z"
    );
    assert_eq!(slippage(&rules, &SlippageRequest { value_usd: -1_000.0, ..index }), Ok(0.0));
    assert_eq!(slippage(&rules, &SlippageRequest { bid: 0.0, ..index }), Ok(0.0));
    let forex = request("EURUSD", BUY, 20_000.0);
    assert_eq!(slippage(&rules, &SlippageRequest { ask: 0.0, ..forex }), Ok(0.0));
    let crypto = SlippageRequest { bid: 0.0, ask: 0.0, ..request("BTCUSD", BUY, 20_000.0) };
    assert!(slippage(&rules, &crypto).unwrap() > 0.0, "crypto needs no quote");
    assert_eq!(
        slippage(&rules, &SlippageRequest { at: UtcMs(-1), ..forex }),
        Err(SlippageError::NoModel { class: AssetClass::Forex, at: UtcMs(-1) }),
        "nothing holds before the first era"
    );
}

#[test]
fn what_no_price_or_volume_can_be_is_refused() {
    let rules = rules();
    let forex = request("EURUSD", BUY, 20_000.0);
    for (bad, message) in [
        (SlippageRequest { leverage: f64::NAN, ..forex }, "leverage is NaN"),
        (SlippageRequest { value_usd: f64::INFINITY, ..forex }, "value is inf"),
        (SlippageRequest { bid: -1.0, ..forex }, "bid is -1"),
        (SlippageRequest { ask: f64::NAN, ..forex }, "ask is NaN"),
    ] {
        assert_eq!(slippage(&rules, &bad).unwrap_err().to_string(), message);
    }
    for (features, message) in [
        (Features { volatility: -0.1, ..FEATURES }, "volatility is -0.1"),
        (Features { average_daily_volume: 0.0, ..FEATURES }, "average daily volume is 0"),
        (Features { usd_per_base: Some(-2.0), ..FEATURES }, "rate of the base currency is -2"),
    ] {
        let outcome = slippage(&rules, &first_forex("EURUSD", Some(&features)));
        assert_eq!(outcome.unwrap_err().to_string(), message);
    }
}

/// Returns what the rulebook says when `old`, which it contains, reads `new`.
fn parse_error(old: &str, new: &str) -> String {
    let section = VANTA.find("[slippage]").unwrap();
    let (before, slippage) = VANTA.split_at(section);
    assert!(slippage.contains(old), "the rulebook does not contain {old:?}");
    let text = format!("{before}{}", slippage.replacen(old, new, 1));
    Rulebook::parse(&text).expect_err("the document is wrong").to_string()
}

#[test]
fn a_wrong_slippage_section_is_refused_with_the_field_and_what_is_wrong() {
    let crypto = "slippage.class.crypto, era from 1759431540001";
    let forex = "slippage.class.forex, era from";
    let equities = "slippage.class.equities, era from 1735718400001";
    for (old, new, expected) in [
        ("rate_max =", "rate_most =", "unknown field `rate_most`".into()),
        ("new_york_hour = 17", "new_york_hour = 17\nhour = 5", "unknown field `hour`".into()),
        ("multiplier = 3.0", "", "missing field `multiplier`".into()),
        ("model = \"fitted\"", "model = \"guess\"", "unknown variant `guess`".into()),
        ("tables.ADAUSD", "tables.ADAEUR", "unknown trade pair \"ADAEUR\"".into()),
        (
            "unit = \"USD\"",
            "unit = \"EUR\"",
            "slippage.size_free_max: unit is \"EUR\", the rule computes in \"USD\"".into(),
        ),
        (
            "unit = \"fraction of price\"\nsource = \"T 4.3\"",
            "unit = \"bp\"\nsource = \"T 4.3\"",
            "slippage.class.forex: unit is \"bp\", the rule computes in \"fraction of price\""
                .into(),
        ),
        ("value = 1_000.0", "value = -1.0", "slippage.size_free_max: -1 must be".into()),
        ("value = 0.03", "value = 1.5", "slippage.rate_max: 1.5 must lie between 0 and 1".into()),
        (
            "from_ms = 1759431540001",
            "from_ms = 0",
            "slippage.class.crypto: eras must be listed by increasing from_ms".into(),
        ),
        (
            "[0.0, 10_000.0, 50_000.0, 100_000.0]",
            "[0.0, 10_000.0, 10_000.0, 100_000.0]",
            format!("{crypto}, tables.BTCUSD.from_usd: sizes must be listed in increasing order"),
        ),
        (
            "[0.0, 10_000.0, 50_000.0, 100_000.0]",
            "[1.0, 10_000.0, 50_000.0, 100_000.0]",
            format!("{crypto}, tables.BTCUSD.from_usd: must begin with 0"),
        ),
        (
            "[0.0, 10_000.0, 50_000.0, 100_000.0]",
            "[0.0, 10_000.0, 50_000.0]",
            format!("{crypto}, tables.BTCUSD.long: has 4 rows for 3 sizes"),
        ),
        (
            "long = [2.25",
            "long = [-2.25",
            format!("{crypto}, tables.BTCUSD.long: -0.0000022525308722996182 must be"),
        ),
        ("multiplier = 3.0", "multiplier = 0.0", format!("{crypto}, multiplier: 0 must be")),
        ("fallback = 0.0001", "fallback = nan", format!("{crypto}, fallback: NaN must be")),
        (
            "tables.ADAUSD",
            "tables.EURUSD",
            format!("{crypto}: EURUSD is not a pair of class crypto"),
        ),
        (
            "BTCUSD = 0.00002",
            "BTCUSD = -0.00002",
            "slippage.class.crypto, era from 0, rates.BTCUSD: -0.00002 must be".into(),
        ),
        ("days_per_year = 250.0", "days_per_year = 0.0", format!("{forex} 0, days_per_year: 0")),
        (
            "new_york_hour = 17",
            "new_york_hour = 24",
            format!("{forex} 1759431540001, new_york_hour: must be 0 to 23"),
        ),
        (
            "200_000.0, 300_000.0]",
            "300_000.0, 200_000.0]",
            format!("{equities}, to_usd: sizes must be listed in increasing order"),
        ),
        (
            "200_000.0, 300_000.0]",
            "200_000.0]",
            format!("{equities}, coefficients.NVDA.buy: has 5 rows for 4 sizes"),
        ),
        ("[-6.0712694564057e-06,", "[inf,", format!("{equities}, coefficients.AAPL.buy: inf must")),
        ("[-6.0712694564057e-06,", "[", "invalid length 3".into()),
    ] {
        let message = parse_error(old, new);
        assert!(message.contains(&expected), "{old:?} -> {new:?}: {message}");
    }
}

#[test]
fn every_equity_has_a_row_for_each_side_and_size() {
    let rules = rules();
    for pair in TradePair::all().filter(|pair| pair.class() == AssetClass::Equities) {
        let mut rates = Vec::new();
        for side in [BUY, SELL] {
            for value in [5_000.0, 20_000.0, 70_000.0, 150_000.0, 250_000.0] {
                let order = SlippageRequest { pair, ..equity(side, value, Some(&SHARES)) };
                rates.push(slippage(&rules, &order).unwrap());
            }
        }
        assert!(rates.iter().all(|rate| *rate < 0.001), "{pair}: {rates:?}");
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        assert_eq!(rates.len(), 10, "{pair}: two rows give the same rate");
    }
}

fn features() -> impl Strategy<Value = Option<Features>> {
    let conversion = proptest::option::of(1e-4..1e4_f64);
    proptest::option::of((0.0..5.0_f64, 1e-3..1e10_f64, conversion).prop_map(
        |(volatility, average_daily_volume, usd_per_base)| Features {
            volatility,
            average_daily_volume,
            usd_per_base,
        },
    ))
}

fn pairs() -> impl Strategy<Value = TradePair> {
    select(TradePair::all().collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn a_rate_lies_between_zero_and_the_most_and_the_sign_of_the_value_does_not_count(
        pair in pairs(),
        leverage in -10.0..10.0_f64,
        value_usd in 0.0..1e7_f64,
        quote in (1e-4..1e5_f64, 0.5..2.0_f64),
        at in 1_600_000_000_000_i64..1_900_000_000_000,
        features in features(),
    ) {
        let rules = rules();
        let order = SlippageRequest {
            pair,
            leverage,
            value_usd,
            bid: quote.0,
            // A crossed quote has a negative spread, which must not become a gain.
            ask: quote.0 * quote.1,
            at: UtcMs(at),
            features: features.as_ref(),
        };
        let outcome = slippage(&rules, &order);
        if let Ok(rate) = outcome {
            prop_assert!((0.0..=0.03).contains(&rate), "{rate}");
        }
        let mirrored = slippage(&rules, &SlippageRequest { value_usd: -value_usd, ..order });
        match (outcome, mirrored) {
            (Ok(rate), Ok(other)) => prop_assert_eq!(rate, other),
            (outcome, mirrored) => prop_assert_eq!(outcome.is_err(), mirrored.is_err()),
        }
    }

    #[test]
    fn a_larger_crypto_order_never_slips_less(
        id in select(vec!["BTCUSD", "ETHUSD", "SOLUSD", "XRPUSD", "DOGEUSD", "ADAUSD", "TAOUSD"]),
        side in select(vec![BUY, SELL]),
        small in 0.0..6e5_f64,
        more in 0.0..6e5_f64,
    ) {
        let rules = rules();
        let rate = |value| slippage(&rules, &request(id, side, value)).unwrap();
        prop_assert!(rate(small) <= rate(small + more));
    }

    #[test]
    fn the_second_forex_model_heeds_neither_size_nor_quote(
        value in 1_000.01..1e7_f64,
        bid in 1e-3..1e3_f64,
        ask in 1e-3..1e3_f64,
        at in CUT_OVER.0 + 1..1_900_000_000_000,
    ) {
        let rules = rules();
        let plain = SlippageRequest { at: UtcMs(at), ..request("GBPAUD", SELL, 2_000.0) };
        let other = SlippageRequest { value_usd: value, bid, ask, ..plain };
        prop_assert_eq!(slippage(&rules, &plain), slippage(&rules, &other));
    }
}
