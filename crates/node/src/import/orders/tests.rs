//! Tests of the readers of recorded orders: both shapes, faults, sets, recorded files.

use std::path::Path;

use proctor_types::{ExecutionType, Side, UtcMs};
use proptest::prelude::{Strategy, any, prop, prop_assert, proptest};

use super::{OrdersError, Place, RecordedOrders};
use crate::import::testing::{Files, gzip, recorded};
use crate::import::{FileError, InputHash};

const T0: i64 = 1_743_772_817_444;

fn read(path: &Path) -> Result<RecordedOrders, OrdersError> {
    RecordedOrders::read(path, None)
}

const HEADER: &str = "set,hotkey,position_uuid,order_uuid,trade_pair,order_type,leverage,price,bid,ask,slippage,processed_ms,src\n";

fn row(set: &str, trader: &str, order: &str, ms: i64) -> String {
    format!("{set},{trader},p1,{order},BTCUSD,LONG,0.1,100,0.0,0.0,0.0,{ms},0\n")
}

fn position(orders: &str) -> String {
    format!(
        r#"[{{"miner_hotkey":"alice","position_uuid":"p1","trade_pair":["BTCUSD","BTC/USD",0.003],
        "close_ms":0,"current_return":1.5,"is_closed_position":true,"later":{{"x":[1]}},
        "orders":[{orders}]}}]"#
    )
}

fn order(change: (&str, &str)) -> String {
    let order = format!(
        r#"{{"order_uuid":"o1","order_type":"LONG","leverage":0.1,"price":100,"bid":0,"ask":101.5,
        "slippage":1e-05,"processed_ms":{T0},"src":0,"price_sources":[{{}},{{}}]}}"#
    );
    assert!(order.contains(change.0), "the change applies");
    order.replacen(change.0, change.1, 1)
}

#[test]
fn a_position_list_gives_orders_fills_and_what_was_recorded_about_positions() {
    let files = Files::new();
    let read = read(&files.write("a.json", position(&order(("", ""))))).expect("good");
    let [order] = read.orders.as_slice() else { panic!("one order") };
    assert_eq!((order.request.trader.as_str(), order.request.id.as_str()), ("alice", "o1"));
    assert_eq!((order.request.pair.as_str(), order.request.side), ("BTCUSD", Side::Long));
    assert_eq!(order.request.execution, ExecutionType::Market);
    assert_eq!(order.request.size.leverage.map(f64::from), Some(0.1));
    assert_eq!((order.request.size.value, order.request.size.quantity), (None, None));
    assert_eq!((order.at, order.fill.price.get()), (UtcMs(T0), 100.0));
    assert_eq!((order.fill.bid, order.fill.ask.map(f64::from)), (None, Some(101.5)));
    assert_eq!((order.fill.slippage, order.source_code, order.price_sources), (1e-05, 0, 2));
    assert_eq!(order.position.as_ref().map(|p| p.as_str()), Some("p1"));
    let [position] = read.positions.as_slice() else { panic!("one position") };
    assert_eq!((position.id.as_str(), position.orders), ("p1", 1));
    assert_eq!((position.closed_at, position.is_closed), (None, true));
    assert_eq!((position.current_return, position.realized_pnl), (Some(1.5), None));
}

#[test]
fn limit_and_bracket_orders_keep_what_was_recorded_of_them() {
    let files = Files::new();
    let told = order((
        "\"src\":0",
        "\"src\":6,\"execution_type\":\"LIMIT\",\"limit_price\":99.5,\"stop_loss\":90,\
         \"take_profit\":null",
    ));
    let read_one = |path: &Path| read(path).expect("good").orders.remove(0).request;
    let request = read_one(&files.write("told.json", position(&told)));
    assert_eq!(request.execution, ExecutionType::Limit);
    assert_eq!(request.limit_price.map(f64::from), Some(99.5));
    assert_eq!((request.stop_loss.map(f64::from), request.take_profit), (Some(90.0), None));
    // Where only the code was recorded, it tells.
    let code = order(("\"src\":0", "\"src\":9"));
    let request = read_one(&files.write("code.json", position(&code)));
    assert_eq!(request.execution, ExecutionType::Bracket);
    let columns = HEADER.replace(",src\n", ",execution_type,limit_price,take_profit\n");
    let line = row("", "alice", "o1", T0).replace(",0\n", ",limit,99.5,\n");
    let request = read_one(&files.write("a.csv", columns.clone() + &line));
    assert_eq!(request.execution, ExecutionType::Limit);
    assert_eq!((request.limit_price.map(f64::from), request.take_profit), (Some(99.5), None));
    let broken = read(&files.write("b.csv", columns + &line.replace("limit,", "soon,")));
    assert!(broken.expect_err("unknown").to_string().contains("execution type \"soon\""));
}

#[test]
fn orders_are_sorted_by_time_then_trader_then_place_in_the_file() {
    let files = Files::new();
    let rows = [("bob", "o1", 2), ("bob", "o2", 1), ("alice", "o4", 1), ("alice", "o3", 1)];
    let text = rows.iter().fold(HEADER.to_owned(), |text, (trader, order, ms)| {
        text + &row("", trader, order, T0 + ms)
    });
    let read = read(&files.write("a.csv", text)).expect("good");
    let ids: Vec<_> = read.orders.iter().map(|order| order.request.id.as_str()).collect();
    assert_eq!(ids, ["o4", "o3", "o2", "o1"]);
    assert_eq!(read.orders[0].place, Place::Line(4));
}

#[test]
fn csv_columns_come_in_any_order_and_only_some_are_needed() {
    let files = Files::new();
    let text = format!(
        "price_sources,price,order_type,leverage,processed_ms,trade_pair,order_uuid,hotkey\r\n\
         \"['a', 'b']\",99.5,FLAT,-0.25,{T0},BTCUSD,o9,alice"
    );
    let read = read(&files.write("a.csv.gz", gzip(text))).expect("good");
    let order = &read.orders[0];
    assert_eq!((order.request.side, order.fill.price.get()), (Side::Flat, 99.5));
    assert_eq!(order.request.size.leverage.map(f64::from), Some(-0.25), "the sign is kept");
    assert_eq!((order.position.as_ref(), order.fill.bid, order.source_code), (None, None, 0));
}

#[test]
fn a_missing_column_is_named() {
    let files = Files::new();
    for column in
        ["hotkey", "order_uuid", "trade_pair", "order_type", "leverage", "price", "processed_ms"]
    {
        let path = files.write("a.csv", HEADER.replace(column, "other"));
        let error = read(&path).expect_err(column);
        assert!(
            matches!(error, OrdersError::File(FileError::MissingColumn { column: c, .. }) if c == column),
            "{error}"
        );
        assert!(
            error.to_string().contains(&format!("a.csv, line 1: there is no column {column:?}"))
        );
    }
}

#[test]
fn a_broken_csv_row_is_refused_with_its_line() {
    let good = row("s", "alice", "o1", T0);
    let files = Files::new();
    for (from, to, what) in [
        ("alice", "al/ice", "hotkey: an identifier consists of"),
        ("alice", "", "hotkey is empty"),
        ("o1", "", "order_uuid is empty"),
        ("p1", "p 1", "position_uuid: an identifier consists of"),
        ("BTCUSD", "BTC/USD", "trade_pair: an identifier consists of"),
        ("LONG", "long", "order type \"long\" is not one of LONG, SHORT, FLAT"),
        ("0.1,", "NaN,", "leverage \"NaN\" is not a finite number"),
        ("0.1,", ",", "leverage is empty"),
        ("100", "-100", "price -100 is negative"),
        ("100", "0", "price is zero; only an order of src 1 or 2"),
        ("100", "inf", "price \"inf\" is not a finite number"),
        ("100", "x", "price \"x\" is not a number"),
        ("100,0.0", "100,-1", "bid -1 is negative"),
        (&T0.to_string(), "1743772817", "times are milliseconds since 1970"),
        (&T0.to_string(), "1.7e12", "processed_ms \"1.7e12\" is not a whole number"),
        (",0\n", ",256\n", "src \"256\" is not a whole number in its range"),
        (",0\n", "\n", "the row has 12 fields, the header 13"),
    ] {
        assert!(good.contains(from), "the change applies");
        let path = files.write("a.csv", format!("{HEADER}\n{}", good.replacen(from, to, 1)));
        let error = read(&path).expect_err(what);
        assert!(matches!(error, OrdersError::Record { place: Place::Line(3), .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains("a.csv, line 3: ") && message.contains(what), "{message}");
    }
}

#[test]
fn a_flat_that_was_forced_without_a_price_may_have_none() {
    let files = Files::new();
    let text = row("s", "alice", "o1", T0).replacen(",100,", ",0,", 1).replacen(",0\n", ",1\n", 1);
    let read = read(&files.write("a.csv", format!("{HEADER}{text}"))).expect("src 1");
    assert_eq!((read.orders[0].source_code, read.orders[0].fill.price.get()), (1, 0.0));
}

#[test]
fn a_broken_json_record_is_refused_with_its_place() {
    let files = Files::new();
    let orders = |change| format!("{},{}", order(("o1", "o0")), order(change));
    for (from, to, what) in [
        ("\"o1\"", "\"\"", "order_uuid: an identifier must not be empty"),
        ("LONG", "BUY", "order type \"BUY\" is not one of"),
        (":100,", ":-1,", "price -1 is negative"),
        (":100,", ":0,", "price is zero"),
        ("1e-05", "-1e-05", "slippage -0.00001 is negative"),
        (&T0.to_string(), "1743772817", "times are milliseconds since 1970"),
    ] {
        let path = files.write("a.json", position(&orders((from, to))));
        let error = read(&path).expect_err(what);
        let message = error.to_string();
        assert!(message.contains("a.json, position 1, order 2: "), "{message}");
        assert!(message.contains(what), "{message}");
    }
    let path = files.write("a.json", position("").replacen("alice", "a.b", 1));
    let message = read(&path).expect_err("a bad trader").to_string();
    assert!(message.contains("position 1: miner_hotkey: an identifier consists of"), "{message}");
}

#[test]
fn what_is_not_a_json_list_of_positions_is_refused_with_line_and_column() {
    let files = Files::new();
    let long = format!("[{{\"orders\":{:?}}}]", "x".repeat(100_000));
    let deep = "[".repeat(100_000);
    let nan = position(&order((":100,", ":NaN,")));
    let huge = position(&order((":100,", ":1e999,")));
    let missing = position(&order(("\"price\"", "\"cost\"")));
    let fraction = position(&order((&T0.to_string(), "1743772817444.5")));
    let no_pair = position("").replacen(r#"["BTCUSD","BTC/USD",0.003]"#, "[]", 1);
    for (text, what) in [
        ("{}", "line 1, column 1: invalid type: map, expected a sequence"),
        ("[1]", "invalid type: integer `1`, expected a position"),
        ("[{\"miner_hotkey\":", "EOF while parsing"),
        ("[] x", "trailing characters"),
        (&nan, "line 3, column 81: expected value"),
        (&huge, "number out of range"),
        (&missing, "missing field `price`"),
        (&fraction, "expected i64"),
        (&no_pair, "a list that begins with it"),
        (&long, "invalid type: string"),
        (&deep, "invalid type: sequence"),
    ] {
        let error = read(&files.write("a.json", text)).expect_err(what);
        let message = error.to_string();
        assert!(matches!(error, OrdersError::Json { .. }), "{message}");
        assert!(message.contains("a.json: line ") && message.contains(what), "{message}");
        assert!(message.contains("expected a JSON list of positions"), "{message}");
        assert!(message.len() < 500, "{} bytes of message", message.len());
    }
}

#[test]
fn a_file_that_cannot_be_read_is_refused_in_either_shape() {
    let files = Files::new();
    let whole = gzip(position(&order(("", ""))));
    let cut = files.write("a.json.gz", &whole[..whole.len() - 20]);
    let error = read(&cut).expect_err("cut off");
    assert!(matches!(error, OrdersError::File(FileError::DamagedGzip { .. })), "{error}");
    for (name, contents, what) in [
        ("b.json", "", "b.json: is empty"),
        ("c.csv", "\n\n", "c.csv: is empty"),
        ("d.csv", HEADER, "d.csv: has a header but no rows"),
        ("e.json.gz", "[]", "e.json.gz: is named .gz but is not gzip"),
        ("f.csv", "\u{1}\u{2}", "f.csv, line 1: is not text"),
    ] {
        let error = read(&files.write(name, contents)).expect_err(name);
        assert!(error.to_string().contains(what), "{error}");
    }
    let error = read(&files.folder().join("none.csv")).expect_err("missing");
    assert!(matches!(error, OrdersError::File(FileError::Missing { .. })), "{error}");
    let error = read(files.folder()).expect_err("a directory");
    assert!(matches!(error, OrdersError::File(FileError::Directory { .. })), "{error}");
}

#[test]
fn a_json_bomb_is_refused_in_bounded_memory() {
    let files = Files::new();
    let mut packed = gzip("[");
    // Members of a gzip file follow each other: 300 times one mebibyte of blanks.
    let blanks = gzip(vec![b' '; 1024 * 1024]);
    (0..300).for_each(|_| packed.extend_from_slice(&blanks));
    let error = read(&files.write("a.json.gz", packed)).expect_err("too large");
    assert!(matches!(error, OrdersError::File(FileError::TooLarge { .. })), "{error}");
}

#[test]
fn one_set_must_be_chosen_when_an_order_is_in_two() {
    let files = Files::new();
    let text =
        format!("{HEADER}{}{}", row("one", "alice", "o1", T0), row("two", "alice", "o1", T0 + 1));
    let path = files.write("a.csv", &text);
    let error = read(&path).expect_err("o1 is in both");
    assert!(
        error.to_string().contains("order o1 is in several sets; choose one of [\"one\", \"two\"]"),
        "{error}"
    );
    let two = RecordedOrders::read(&path, Some("two")).expect("chosen");
    assert_eq!((two.orders.len(), two.orders[0].at), (1, UtcMs(T0 + 1)));
    assert_eq!(two.sources[0].set.as_deref(), Some("two"));
    let error = RecordedOrders::read(&path, Some("three")).expect_err("no such set");
    assert!(
        error.to_string().contains("has no set \"three\"; its sets are [\"one\", \"two\"]"),
        "{error}"
    );

    let apart = files.write("b.csv", text.replacen("o1", "o0", 1));
    assert_eq!(read(&apart).expect("no order is in both").orders.len(), 2);

    let error = RecordedOrders::read(&files.write("c.json", "[]"), Some("one"));
    assert!(matches!(error, Err(OrdersError::NoSets { .. })));
    let error =
        RecordedOrders::read(&files.write("d.csv", text.replacen("set", "x", 1)), Some("one"));
    assert!(matches!(error, Err(OrdersError::NoSets { .. })));
}

#[test]
fn a_trader_names_an_order_once() {
    let files = Files::new();
    let text = format!("{HEADER}{}{}", row("", "alice", "o1", T0), row("", "alice", "o1", T0 + 1));
    let message = read(&files.write("a.csv", &text)).expect_err("twice").to_string();
    assert!(message.contains("line 3: order o1 of alice was already read (line 2)"), "{message}");
    let other = text.replacen("alice", "bob", 1);
    assert_eq!(read(&files.write("b.csv", other)).expect("two traders").orders.len(), 2);
    let twice =
        position("").replacen('[', &format!("{},", &position("")[..position("").len() - 1]), 1);
    let error = read(&files.write("c.json", twice)).expect_err("one position twice");
    assert!(matches!(error, OrdersError::RepeatedPosition { .. }), "{error}");
}

#[test]
fn files_are_joined_in_time_and_must_not_overlap() {
    let files = Files::new();
    let file = |name, trader, ms| {
        read(&files.write(name, format!("{HEADER}{}", row("", trader, "o1", ms)))).expect("good")
    };
    let mut orders = file("a.csv", "bob", T0 + 5);
    orders.join(file("b.csv", "alice", T0)).expect("two traders");
    let traders: Vec<_> = orders.orders.iter().map(|o| o.request.trader.as_str()).collect();
    assert_eq!(traders, ["alice", "bob"]);
    assert_eq!(orders.sources.len(), 2);
    let error = orders.join(file("c.csv", "bob", T0)).expect_err("o1 of bob again");
    assert!(error.to_string().contains("c.csv, line 2: order o1 of bob"), "{error}");
}

#[test]
fn recorded_orders_are_the_same_in_both_shapes() {
    let (Some(nested), Some(flat)) =
        (recorded("orders/ck2025_positions.json.gz"), recorded("orders/orders.csv.gz"))
    else {
        return;
    };
    let nested = read(&nested).expect("recorded");
    assert_eq!((nested.orders.len(), nested.positions.len()), (665, 74));
    assert_eq!(nested.positions.iter().filter(|p| p.is_closed).count(), 73);
    assert!(nested.orders.iter().map(|o| o.at).is_sorted());

    let error = read(&flat).expect_err("two sets of the same orders");
    assert!(
        matches!(&error, OrdersError::SeveralSets { sets, .. } if sets == &["ck2025", "tm2025"]),
        "{error}"
    );
    let chosen = RecordedOrders::read(&flat, Some("ck2025")).expect("recorded");
    let comparable = |orders: &RecordedOrders| -> Vec<_> {
        let mut orders = orders.orders.clone();
        orders.iter_mut().for_each(|order| order.place = Place::Line(0));
        orders
    };
    assert_eq!(comparable(&nested), comparable(&chosen));

    let hash = |orders: &RecordedOrders| {
        let mut hash = InputHash::new();
        hash.add_orders(orders);
        hash.finish()
    };
    let other = RecordedOrders::read(&flat, Some("tm2025")).expect("recorded");
    assert_eq!(other.orders.len(), 665);
    assert_ne!(hash(&chosen), hash(&other), "the choice of the set is part of the input");
}

#[test]
fn every_recorded_position_list_is_read() {
    for (name, orders, positions) in
        [("orders/tm2025_positions.json.gz", 665, 72), ("orders/snap2025_positions.json.gz", 14, 7)]
    {
        let Some(path) = recorded(name) else { return };
        let read = read(&path).expect(name);
        assert_eq!((read.orders.len(), read.positions.len()), (orders, positions), "{name}");
    }
}

/// Text that is nearly a file of orders, in either shape.
fn nearly_orders() -> impl Strategy<Value = Vec<u8>> {
    let rows = prop::collection::vec((0..4_u8, 0..13_usize, "[ -~]{0,6}"), 0..5);
    let flat = rows.prop_map(|rows| {
        let rows = rows.iter().map(|(order, field, text)| {
            let row = row("s", "alice", &format!("o{order}"), T0);
            let mut fields: Vec<_> = row.trim_end().split(',').collect();
            fields[*field] = text;
            fields.join(",")
        });
        format!("{HEADER}{}", rows.collect::<Vec<_>>().join("\n")).into_bytes()
    });
    let cut = (any::<prop::sample::Index>(), "[ -~]{0,3}").prop_map(|(at, text)| {
        let mut json = position(&order(("", "")));
        json.insert_str(at.index(json.len()), &text);
        json.into_bytes()
    });
    prop::strategy::Union::new([flat.boxed(), cut.boxed()])
}

proptest! {
    #[test]
    fn any_bytes_are_orders_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        near in nearly_orders(),
        flip in any::<(prop::sample::Index, u8)>(),
    ) {
        let files = Files::new();
        let mut packed = gzip(&near);
        let at = flip.0.index(packed.len());
        packed[at] ^= flip.1;
        for contents in [&bytes, &near, &packed] {
            let path = files.write("orders", contents);
            for set in [None, Some("s")] {
                if let Ok(read) = RecordedOrders::read(&path, set) {
                    prop_assert!(read.orders.iter().map(|order| order.at).is_sorted());
                    prop_assert!(read.orders.iter().all(|order| order.fill.price.get() >= 0.0));
                }
            }
        }
    }
}
