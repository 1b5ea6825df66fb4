//! Tests of the bar readers: shapes, faults, merging, recorded files.

use std::path::Path;

use proctor_types::{DurationMs, Quote, TradePair, UtcMs};
use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

use super::{BadRowCause, BadRows, BarArgumentError, BarError, BarFile, BarReader, MergeError};
use super::{MergedBars, known_at};
use crate::import::testing::{Files, gzip, recorded};
use crate::import::{FileError, InputHash, LINE_BYTES_MAX};

const HEADER: &str = "ts_ms,open,high,low,close,volume\n";
const T0: i64 = 1_746_372_780_000;

fn file(path: &Path) -> BarFile {
    BarFile::parse(path.to_str().expect("test paths are text")).expect("a good name")
}

/// A well-formed row, `minute` minutes after the first.
fn row(minute: i64, close: f64) -> String {
    format!("{},10,{},5,{close},1\n", T0 + minute * 60_000, close.max(10.0))
}

fn read_as(path: &Path, bad_rows: BadRows) -> Result<(Vec<Quote>, BarReader), BarError> {
    let mut reader = file(path).open(bad_rows)?;
    let bars = reader.by_ref().collect::<Result<_, _>>()?;
    Ok((bars, reader))
}

fn read(path: &Path) -> Result<Vec<Quote>, BarError> {
    read_as(path, BadRows::Refuse).map(|(bars, _)| bars)
}

fn skipping(max_share: f64) -> BadRows {
    BadRows::Skip { max_share }
}

#[test]
fn a_bar_keeps_its_times_and_prices_and_is_known_at_its_end() {
    let files = Files::new();
    let path = files.write("x_1m_BTCUSDT.csv", format!("{HEADER}{T0},7,9,5,8,1\n"));
    let bars = read(&path).expect("good");
    let [bar] = bars.as_slice() else { panic!("one bar") };
    assert_eq!((bar.pair.id(), bar.source.as_str()), ("BTCUSD", "x_1m_BTCUSDT"));
    assert_eq!((bar.start, bar.span), (UtcMs(T0), DurationMs(60_000)));
    assert_eq!([bar.open, bar.high, bar.low, bar.close].map(f64::from), [7.0, 9.0, 5.0, 8.0]);
    assert_eq!((bar.bid, bar.ask), (None, None));
    assert_eq!(known_at(bar), UtcMs(T0 + 60_000));
}

#[test]
fn columns_are_found_by_name_and_unknown_ones_ignored() {
    let files = Files::new();
    let text = format!("\u{feff}close,note,low,ts_ms,high,open\r\n\r\n8,\"a, b\",5,{T0},9,7\r\n");
    let bars = read(&files.write("x_1m_BTCUSDC.csv", text)).expect("good");
    assert_eq!([bars[0].open, bars[0].low, bars[0].close].map(f64::from), [7.0, 5.0, 8.0]);
}

#[test]
fn bid_and_ask_come_from_the_closes_and_prices_from_the_middle() {
    let files = Files::new();
    let text = format!(
        "ts_ms,bid_open,bid_high,bid_low,bid_close,ask_open,ask_high,ask_low,ask_close\n\
         {T0},1,5,1,3,2,7,2,4\n"
    );
    let bars = read(&files.write("x_1m_eurusd.csv.gz", gzip(text))).expect("good");
    let bar = &bars[0];
    assert_eq!([bar.open, bar.high, bar.low, bar.close].map(f64::from), [1.5, 6.0, 1.5, 3.5]);
    assert_eq!((bar.bid.map(f64::from), bar.ask.map(f64::from)), (Some(3.0), Some(4.0)));
}

/// Each row follows a good one in line 2, so the fault is in line 3.
#[test]
fn a_broken_row_is_refused_with_its_line_or_skipped_and_counted() {
    let after = T0 + 60_000;
    let before = T0 - 60_000;
    let table = [
        (format!("{after},7,9,5"), "the row has 4 fields, the header 6", BadRowCause::Field),
        (format!("{after},7,9,5,8,1,1"), "the row has 7 fields, the header 6", BadRowCause::Field),
        (format!("{after},x,9,5,8,1"), "open \"x\" is not a number", BadRowCause::Field),
        (format!("{after},7,,5,8,1"), "high is empty", BadRowCause::Field),
        (
            "soon,7,9,5,8,1".into(),
            "ts_ms \"soon\" is not a whole number in its range",
            BadRowCause::Field,
        ),
        ("1746372780.5,7,9,5,8,1".into(), "is not a whole number", BadRowCause::Field),
        ("1746372780,7,9,5,8,1".into(), "times are milliseconds since 1970", BadRowCause::Field),
        (
            "1746372780000000,7,9,5,8,1".into(),
            "times are milliseconds since 1970",
            BadRowCause::Field,
        ),
        (format!("{},7,9,5,8,1", i64::MIN), "times are milliseconds", BadRowCause::Field),
        ("99999999999999999999,7,9,5,8,1".into(), "not a whole number", BadRowCause::Field),
        (
            format!("{after},7,9,NaN,8,1"),
            "low \"NaN\" is not a finite number",
            BadRowCause::NotFinite,
        ),
        (
            format!("{after},7,inf,5,8,1"),
            "high \"inf\" is not a finite number",
            BadRowCause::NotFinite,
        ),
        (format!("{after},7,1e999,5,8,1"), "is not a finite number", BadRowCause::NotFinite),
        (format!("{after},7,9,-5,8,1"), "price -5 is not positive", BadRowCause::NotPositive),
        (format!("{after},0,9,5,8,1"), "price 0 is not positive", BadRowCause::NotPositive),
        (format!("{after},7,5,9,8,1"), "high 5 is below low 9", BadRowCause::Inverted),
        (format!("{after},7,9,5,10,1"), "price 10 lies outside", BadRowCause::Outside),
        (format!("{T0},7,9,5,8,1"), "the same time as the one above it", BadRowCause::Repeated),
        (format!("{before},7,9,5,8,1"), "60000 ms before the one above it", BadRowCause::Backward),
        (
            format!("{},7,9,5,8,1", T0 + 1),
            "1 ms after the one above it, but bars last 60000 ms",
            BadRowCause::Overlapping,
        ),
    ];
    let files = Files::new();
    for (bad, what, cause) in table {
        let text = format!("{HEADER}{}{bad}\n{}", row(0, 8.0), row(9, 8.0));
        let path = files.write("x_1m_BTCUSDT.csv", text);
        let error = read(&path).expect_err(&bad);
        let message = error.to_string();
        assert!(matches!(error, BarError::Row { line: 3, .. }), "{bad}: {message}");
        assert!(message.contains("x_1m_BTCUSDT.csv, line 3: "), "{message}");
        assert!(message.contains(what), "{message}");
        assert!(message.contains("; correct the file"), "{message}");

        let (bars, reader) = read_as(&path, skipping(0.34)).expect("one of three is allowed");
        assert_eq!((bars.len(), reader.rows()), (2, 3), "{bad}");
        assert_eq!(reader.skipped().by_cause, [(cause, 1)].into(), "{bad}");
    }
}

#[test]
fn text_that_is_not_utf_8_is_a_broken_row() {
    let files = Files::new();
    let text = [HEADER.as_bytes(), b"\xff\xfe,7,9,5,8,1\n"].concat();
    let error = read(&files.write("x_1m_BTCUSDT.csv", text)).expect_err("not text");
    assert!(error.to_string().contains("line 2: the row is not text"), "{error}");
}

#[test]
fn one_broken_side_breaks_a_bid_ask_bar_and_so_does_an_ask_below_the_bid() {
    let header = "ts_ms,bid_open,bid_high,bid_low,bid_close,ask_open,ask_high,ask_low,ask_close\n";
    let files = Files::new();
    for (fields, what) in [
        ("5,1,3,4,5,9,3,4", "high 1 is below low 3"),
        ("1,5,1,3,2,7,2,8", "price 8 lies outside"),
        ("1,5,1,4,2,7,2,3", "ask 3 is below bid 4"),
        ("1,5,1,3,0,7,0,4", "price 0 is not positive"),
    ] {
        let path = files.write("x_1m_EURUSD.csv", format!("{header}{T0},{fields}\n"));
        let error = read(&path).expect_err(fields);
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn too_many_broken_rows_are_an_error_even_when_some_may_be_skipped() {
    let files = Files::new();
    let text = format!("{HEADER}{}x,,,,,\n{}y,,,,,\n", row(0, 8.0), row(1, 8.0));
    let path = files.write("x_1m_BTCUSDT.csv", text);
    assert!(read_as(&path, skipping(0.5)).is_ok());
    for max_share in [0.49, 0.0, -1.0, f64::NAN] {
        let error = read_as(&path, skipping(max_share)).map(|_| ()).expect_err("half is broken");
        let message = error.to_string();
        assert!(message.contains("2 of 4 rows are broken (2 unreadable field)"), "{message}");
        assert!(message.contains("first in line 3"), "{message}");
    }
    let path = files.write("y_1m_BTCUSDT.csv", format!("{HEADER}x,,,,,\n"));
    let error = read_as(&path, skipping(1.0)).map(|_| ()).expect_err("no good row at all");
    assert!(matches!(error, BarError::TooManyBadRows { .. }), "{error}");
}

#[test]
fn a_file_that_is_no_table_is_refused_with_its_name_and_what_to_do() {
    let files = Files::new();
    let good = format!("{HEADER}{}", row(0, 8.0));
    let whole = gzip((0..2_000).fold(HEADER.to_owned(), |text, minute| text + &row(minute, 8.5)));
    let long = format!("{HEADER}{}", "7".repeat(LINE_BYTES_MAX + 1));
    let binary: Vec<u8> = (0..=255).cycle().take(5_000).collect();
    let mut flipped = whole.clone();
    let last = flipped.len() - 6;
    flipped[last] ^= 1;
    let table: [(&str, Vec<u8>, &str); 15] = [
        ("empty_1m_BTCUSDT.csv", vec![], "is empty"),
        ("empty_1m_BTCUSDT.csv.gz", vec![], "is empty"),
        ("hollow_1m_BTCUSDT.csv.gz", gzip(""), "is empty"),
        ("blank_1m_BTCUSDT.csv", b"\n\n \n".to_vec(), "is empty"),
        ("header_1m_BTCUSDT.csv", HEADER.into(), "has a header but no rows; leave the file out"),
        ("plain_1m_BTCUSDT.csv.gz", good.into(), "is named .gz but is not gzip; remove .gz"),
        (
            "cut_1m_BTCUSDT.csv.gz",
            whole[..whole.len() / 2].into(),
            "the gzip data is damaged or cut off",
        ),
        ("short_1m_BTCUSDT.csv.gz", whole[..5].into(), "the gzip data is damaged or cut off"),
        ("crc_1m_BTCUSDT.csv.gz", flipped, "the gzip data is damaged or cut off"),
        ("tail_1m_BTCUSDT.csv.gz", [whole, b"garbage".to_vec()].concat(), "fetch the file again"),
        ("long_1m_BTCUSDT.csv", long.into(), "line 2: is longer than 65536 bytes"),
        (
            "bomb_1m_BTCUSDT.csv.gz",
            gzip(vec![b'1'; 50_000_000]),
            "line 1: is longer than 65536 bytes",
        ),
        ("binary_1m_BTCUSDT.csv", binary, "line 1: is not text; a CSV header line is needed"),
        (
            "less_1m_BTCUSDT.csv",
            b"ts_ms,open,high,close\n".to_vec(),
            "there is no column \"low\"; the columns are \"ts_ms\", \"open\"",
        ),
        (
            "twice_1m_BTCUSDT.csv",
            b"ts_ms,open,high,low,low,close\n".to_vec(),
            "column \"low\" occurs twice",
        ),
    ];
    for (name, contents, what) in table {
        let error = read(&files.write(name, contents)).expect_err(name);
        let message = error.to_string();
        assert!(message.contains(name) && message.contains(what), "{message}");
        let skipped = read_as(&files.folder().join(name), skipping(1.0)).map(|_| ());
        assert_eq!(skipped.expect_err(name).to_string(), message, "skipping rows mends no file");
    }
}

#[test]
fn what_is_not_a_file_is_refused() {
    let files = Files::new();
    let missing = read(&files.folder().join("no_1m_BTCUSDT.csv")).expect_err("missing");
    assert!(matches!(missing, BarError::File(FileError::Missing { .. })), "{missing}");
    let folder = files.folder().join("d_1m_BTCUSDT.csv");
    std::fs::create_dir(&folder).expect("can be made");
    let directory = read(&folder).expect_err("a directory");
    assert!(matches!(directory, BarError::File(FileError::Directory { .. })), "{directory}");
}

#[test]
fn the_longest_line_is_still_read() {
    let files = Files::new();
    let header = format!("ts_ms,open,high,low,close,{}\r\n", "n".repeat(LINE_BYTES_MAX - 27));
    assert_eq!(header.len(), LINE_BYTES_MAX + 1, "with a carriage return and a line feed");
    let path = files.write("x_1m_BTCUSDT.csv", format!("{header}{}", row(0, 8.0)));
    assert_eq!(read(&path).expect("just short enough").len(), 1);
}

#[test]
fn an_argument_or_a_name_tells_pair_span_and_source() {
    let table = [
        (
            "a/binance_perp_1m_BTCUSDT_2025-05.csv.gz",
            "BTCUSD",
            Some(60),
            "binance_perp_1m_BTCUSDT_2025-05",
        ),
        (
            "hyperliquid_perp_5m_BTCUSDC_2025-03_07.csv.gz",
            "BTCUSD",
            Some(300),
            "hyperliquid_perp_5m_BTCUSDC_2025-03_07",
        ),
        ("eurusd_5m_2026H1.csv.gz", "EURUSD", Some(300), "eurusd_5m_2026H1"),
        ("fxcm_1m_bidask_eurusd_2014-05.CSV", "EURUSD", Some(60), "fxcm_1m_bidask_eurusd_2014-05"),
        ("nvda-1h.csv", "NVDA", Some(3_600), "nvda-1h"),
        ("usdjpy.csv", "USDJPY", None, "usdjpy"),
        ("usdjpy_1M.csv", "USDJPY", None, "usdjpy_1M"),
        ("ETHUSD=a=b/quotes 1m.csv", "ETHUSD", Some(60), "quotes_1m"),
        ("ethusd:15=BTCUSDT_1m.csv", "ETHUSD", Some(15), "BTCUSDT_1m"),
        ("./x=y_BTCUSD_3m.csv", "BTCUSD", Some(180), "x_y_BTCUSD_3m"),
    ];
    for (argument, pair, seconds, source) in table {
        let file = BarFile::parse(argument).expect(argument);
        assert_eq!(file.pair.id(), pair, "{argument}");
        assert_eq!(file.span, seconds.map(|s| DurationMs(s * 1_000)), "{argument}");
        assert_eq!(file.source.as_str(), source, "{argument}");
    }
    let long = BarFile::parse(&format!("BTCUSD={}.csv", "é".repeat(100))).expect("a long name");
    assert_eq!(long.source.as_str(), "_".repeat(64));
}

#[test]
fn an_argument_that_is_not_clear_is_refused_with_what_to_write() {
    for (argument, what) in [
        ("", "names no file"),
        ("BTCUSD=", "names no file"),
        ("BTCUSD=..", "names no file"),
        ("prices.csv", "no trade pair is in the file's name; write PAIR=PATH"),
        ("BTCUSDT_ETHUSDT_1m.csv", "could mean BTCUSD or ETHUSD; write PAIR=PATH"),
        ("BTCUSDT_1m_5m.csv", "could mean bars of 60 or 300 s; write BTCUSD:SECONDS=PATH"),
        ("DOGEBTC=x.csv", "\"DOGEBTC\" is no trade pair"),
        ("BTCUSD:=x.csv", "\"\" is not a number of seconds"),
        ("BTCUSD:1m=x.csv", "\"1m\" is not a number of seconds"),
        ("BTCUSD:0=x.csv", "\"0\" is not a number of seconds"),
        ("BTCUSD:9999999999999999999=x.csv", "is not a number of seconds"),
    ] {
        let error: BarArgumentError = BarFile::parse(argument).expect_err(argument);
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn without_a_span_in_the_name_the_smallest_step_is_the_span() {
    let files = Files::new();
    let text = format!("{HEADER}{}{}{}", row(0, 8.0), row(9, 8.0), row(12, 8.0));
    let bars = read(&files.write("BTCUSD.csv", text)).expect("good");
    assert_eq!(bars[0].span, DurationMs(180_000));
    let path = files.write("ETHUSD.csv", format!("{HEADER}{}", row(0, 8.0)));
    let error = read(&path).expect_err("one bar has no step");
    assert!(error.to_string().contains("write ETHUSD:SECONDS=PATH"), "{error}");
}

#[test]
fn a_name_that_makes_bars_too_short_is_refused_for_they_would_be_known_too_early() {
    let files = Files::new();
    let text = (0..100).fold(HEADER.to_owned(), |text, i| text + &row(i * 5, 8.0));
    let path = files.write("x_1m_BTCUSDT.csv", text);
    let message = read(&path).expect_err("five minutes apart").to_string();
    assert!(message.contains("closer than 300 s, but by its name they last 60 s"), "{message}");
    assert!(message.contains("write BTCUSD:300=PATH"), "{message}");
    let stated = BarFile::parse(&format!("BTCUSD:60={}", path.display())).expect("good");
    let reader = stated.open(BadRows::Refuse).expect("good");
    assert_eq!(reader.filter(Result::is_ok).count(), 100, "who states the span is believed");
}

#[test]
fn bars_of_several_files_come_as_they_become_known_then_by_pair_then_by_source() {
    let files = Files::new();
    let rows = |minutes: &[i64]| {
        minutes.iter().fold(HEADER.to_owned(), |text, minute| text + &row(*minute, 8.0))
    };
    let paths = [
        files.write("b_1m_ETHUSDT.csv", rows(&[0, 1, 2, 9])),
        files.write("b_3m_BTCUSDT.csv", rows(&[0, 3, 6])),
        files.write("a_1m_BTCUSDT.csv", rows(&[2, 8])),
    ];
    let readers = paths.map(|path| file(&path).open(BadRows::Refuse).expect("good")).into();
    let mut merged = MergedBars::new(readers).expect("three sources");
    let order: Vec<_> = merged
        .by_ref()
        .map(|bar| bar.expect("good"))
        .map(|bar| format!("{} {}", (known_at(&bar).0 - T0) / 60_000, bar.source))
        .collect();
    let expected = [
        "1 b_1m_ETHUSDT",
        "2 b_1m_ETHUSDT",
        "3 a_1m_BTCUSDT",
        "3 b_3m_BTCUSDT",
        "3 b_1m_ETHUSDT",
        "6 b_3m_BTCUSDT",
        "9 a_1m_BTCUSDT",
        "9 b_3m_BTCUSDT",
        "10 b_1m_ETHUSDT",
    ];
    assert_eq!(order, expected);
    let progress = merged.progress();
    assert!(progress.total > 0 && progress.read == progress.total, "{progress:?}");
}

#[test]
fn one_source_of_a_pair_is_one_file() {
    let files = Files::new();
    let path = files.write("a_1m_BTCUSDT.csv", format!("{HEADER}{}", row(0, 8.0)));
    let open = || file(&path).open(BadRows::Refuse).expect("good");
    let error = MergedBars::new(vec![open(), open()]).map(|_| ()).expect_err("the same file");
    assert!(matches!(error, MergeError::SameSource { pair, .. } if pair.id() == "BTCUSD"));
}

#[test]
fn merging_ends_after_the_first_error() {
    let files = Files::new();
    let path =
        files.write("a_1m_BTCUSDT.csv", format!("{HEADER}{}x\n{}", row(0, 8.0), row(2, 8.0)));
    let reader = file(&path).open(BadRows::Refuse).expect("good");
    let merged = MergedBars::new(vec![reader]).expect("one source");
    let results: Vec<_> = merged.map(|bar| bar.is_ok()).collect();
    assert_eq!(results, [true, false]);
}

#[test]
fn the_input_hash_is_of_contents_and_terms_not_of_compression_or_reading_speed() {
    let files = Files::new();
    let text = (0..3_000).fold(HEADER.to_owned(), |text, minute| text + &row(minute, 8.0));
    let plain = files.write("a_1m_BTCUSDT.csv", &text);
    let packed = files.write("a_1m_BTCUSDT.csv.gz", gzip(&text));
    let changed = files.write("a_1m_BTCUSDT.txt", text.replacen("8,1", "7,1", 1));
    let hash = |argument: &str, bars: usize| {
        let file = BarFile::parse(argument).expect("good");
        let mut reader = file.open(BadRows::Refuse).expect("good");
        assert_eq!(reader.by_ref().take(bars).filter(Result::is_ok).count(), bars);
        reader.drain().expect("the rest is there");
        assert!(reader.next().is_none(), "a drained reader has no more bars");
        let mut hash = InputHash::new();
        hash.add_bars(&reader);
        hash.finish()
    };
    let of = |path: &Path| path.to_str().expect("text").to_owned();
    let whole = hash(&of(&plain), 3_000);
    assert_eq!(hash(&of(&packed), 3_000), whole);
    assert_eq!(hash(&of(&packed), 7), whole, "a replay may stop before the file's end");
    assert_ne!(hash(&of(&changed), 3_000), whole);
    assert_ne!(hash(&format!("BTCUSD:30={}", of(&plain)), 3_000), whole);
    assert_ne!(hash(&format!("ETHUSD={}", of(&plain)), 3_000), whole);
}

#[test]
fn recorded_bars_are_read_whole() {
    for (name, pair, rows, span) in [
        ("bars/binance_perp_1m_BTCUSDT_2025-05.csv.gz", "BTCUSD", 43_199, 60_000),
        ("bars/binance_perp_1m_ETHUSDT_2025-05.csv.gz", "ETHUSD", 60_191, 60_000),
        ("bars/hyperliquid_perp_5m_BTCUSDC_2025-03_07.csv.gz", "BTCUSD", 38_531, 300_000),
        ("forex/oanda_1m_bidask_eurusd_2014-05.csv.gz", "EURUSD", 15_366, 60_000),
    ] {
        let Some(path) = recorded(name) else { return };
        let (bars, reader) = read_as(&path, BadRows::Refuse).expect(name);
        assert_eq!(bars.len(), rows, "{name}");
        let pair = TradePair::from_id(pair).expect("in the table");
        assert!(bars.iter().all(|bar| bar.pair == pair && bar.span == DurationMs(span)));
        assert_eq!(reader.progress().read, reader.progress().total);
        assert_eq!(bars[0].bid.is_some(), name.contains("bidask"), "{name}");
    }
}

#[test]
fn broken_recorded_bars_are_refused_and_their_causes_counted() {
    use BadRowCause::{Crossed, Inverted, Outside};
    for (name, rows, causes) in [
        ("forex/eurusd_5m_2026H1.csv.gz", 37_401, vec![(Inverted, 31), (Outside, 1_040)]),
        ("forex/usdjpy_3m_2026H1.csv.gz", 62_167, vec![(Inverted, 21), (Outside, 2_293)]),
        ("forex/fxcm_1m_bidask_eurusd_2014-05.csv.gz", 15_857, vec![(Crossed, 374)]),
    ] {
        let Some(path) = recorded(name) else { return };
        assert!(matches!(read(&path), Err(BarError::Row { .. })), "{name}");
        let (bars, reader) = read_as(&path, skipping(0.05)).expect(name);
        assert_eq!(reader.rows(), rows, "{name}");
        assert_eq!(reader.skipped().by_cause, causes.into_iter().collect(), "{name}");
        assert_eq!(u64::try_from(bars.len()), Ok(rows - reader.skipped().total()), "{name}");
        let error = read_as(&path, skipping(0.01)).map(|_| ()).expect_err("over one percent");
        assert!(matches!(error, BarError::TooManyBadRows { .. }), "{error}");
    }
}

/// Text that is nearly a file of bars, so that most of the reader is reached.
fn nearly_bars() -> impl Strategy<Value = Vec<u8>> {
    let field = prop::sample::select(vec![
        "1746372780000",
        "1746372840000",
        "1746372900000",
        "8",
        "9.5",
        "-1",
        "0",
        "nan",
        "1e999",
        "",
        "\"",
        "\"8\"",
        " 8 ",
        "x",
    ]);
    let row = prop::collection::vec(field, 0..8).prop_map(|fields| fields.join(","));
    prop::collection::vec(row, 0..8).prop_map(|rows| format!("{HEADER}{}", rows.join("\n")).into())
}

proptest! {
    #[test]
    fn any_bytes_are_bars_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        near in nearly_bars(),
        flip in any::<(prop::sample::Index, u8)>(),
    ) {
        let files = Files::new();
        let mut packed = gzip(&near);
        let at = flip.0.index(packed.len());
        packed[at] ^= flip.1;
        for (name, contents) in [
            ("a_1m_BTCUSDT.csv", &bytes),
            ("b_1m_BTCUSDT.csv", &near),
            ("c_BTCUSDT.csv", &near),
            ("d_1m_BTCUSDT.csv.gz", &packed),
        ] {
            let path = files.write(name, contents);
            for bad_rows in [BadRows::Refuse, skipping(0.9)] {
                let Ok((bars, reader)) = read_as(&path, bad_rows) else { continue };
                // What is handed out obeys the rules, whatever came in.
                prop_assert!(bars.iter().all(|bar| bar.check().is_ok()));
                prop_assert!(bars.windows(2).all(|two| known_at(&two[0]) <= two[1].start));
                let bars = u64::try_from(bars.len()).expect("few");
                prop_assert_eq!(bars + reader.skipped().total(), reader.rows());
            }
        }
    }
}
