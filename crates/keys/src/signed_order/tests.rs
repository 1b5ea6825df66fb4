//! What is refused and why, as tables; what holds for every order, as properties.

use proctor_types::{
    Cancel, ExecutionType, Leverage, OrderId, PairName, Price, Quantity, Side, SizeFields, Usd,
};
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::sr25519::{InvalidPublicKey, InvalidSignature, Seed};
use crate::ss58::Prefix;

const FROM: i64 = 1_762_207_200_000;
const UNTIL: i64 = FROM + 30_000;
const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
const BOB: &str = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty";

/// The payload of [`limit_order`], frozen: what traders sign must not change under their hands.
const FROZEN: &str = concat!(
    r#"{"chain":"vanta-main","domain":"proctor.order.v1","execution":"LIMIT","id":"o-17","#,
    r#""leverage":0.25,"limit_price":106250.5,"pair":"BTCUSD","side":"LONG","stop_loss":101000.0,"#,
    r#""take_profit":118000.0,"trader":"5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY","#,
    r#""valid_from_ms":1762207200000,"valid_until_ms":1762207230000}"#
);

fn alice() -> Keypair {
    Seed::development("//Alice").expect("a path").keypair()
}

fn terms() -> Terms {
    Terms {
        chain_id: ChainId::new("vanta-main").expect("valid"),
        window: Window { from: UtcMs(FROM), until: UtcMs(UNTIL) },
    }
}

fn rules() -> Rules {
    Rules { chain_id: terms().chain_id, window_max: DurationMs(60_000) }
}

fn price(number: f64) -> Option<Price> {
    Some(Price::new(number).expect("finite"))
}

fn limit_order() -> OrderRequest {
    OrderRequest {
        trader: TraderId::new(ALICE).expect("valid"),
        id: OrderId::new("o-17").expect("valid"),
        pair: PairName::new("BTCUSD").expect("valid"),
        side: Side::Long,
        execution: ExecutionType::Limit,
        size: SizeFields { leverage: Leverage::new(0.25).ok(), ..SizeFields::default() },
        limit_price: price(106_250.5),
        stop_loss: price(101_000.0),
        take_profit: price(118_000.0),
        cancel: None,
    }
}

/// Returns `payload`, signed by Alice.
fn signed(payload: impl Into<Vec<u8>>) -> SignedOrder {
    let payload = payload.into();
    let signature = alice().sign(&payload, &[0; 32]);
    SignedOrder { payload, signature }
}

fn verify(order: &SignedOrder) -> Result<Verified, Refusal> {
    order.verify(&rules(), UtcMs(FROM))
}

/// Checks that [`FROZEN`], with `old` made `new` and signed by Alice, is refused with `code` for
/// `field`.
fn refused(old: &str, new: &str, code: &str, field: &str) {
    assert!(FROZEN.contains(old), "{old}");
    let refusal = verify(&signed(FROZEN.replacen(old, new, 1))).expect_err(new);
    assert_eq!((refusal.code(), refusal.field().unwrap_or("-")), (code, field), "{old} -> {new}");
    let text = refusal.to_string();
    assert!(text.len() < 300 && (field == "-" || text.contains(field)), "{text}");
}

#[test]
fn the_payload_of_an_order_is_this_text_and_no_other() {
    let payload = SignedOrder::payload(&terms(), &limit_order()).expect("signable");
    assert_eq!(String::from_utf8(payload).expect("ASCII"), FROZEN);
    let verified = verify(&signed(FROZEN)).expect("good");
    assert_eq!(verified.request, limit_order());
    assert_eq!((verified.window, verified.wrapping), (terms().window, Wrapping::Plain));
}

#[test]
fn the_payload_of_a_cancellation_tells_what_it_cancels() {
    let one = OrderId::new("o-16").expect("valid");
    for (cancel, text) in
        [(Cancel::All, "all"), (Cancel::Pair, "pair"), (Cancel::Order(one), "order:o-16")]
    {
        let request = OrderRequest {
            execution: ExecutionType::LimitCancel,
            size: SizeFields::default(),
            limit_price: None,
            stop_loss: None,
            take_profit: None,
            cancel: Some(cancel),
            ..limit_order()
        };
        let payload = SignedOrder::payload(&terms(), &request).expect("signable");
        let start = format!("{{\"cancel\":\"{text}\",\"chain\":\"vanta-main\",");
        assert!(payload.starts_with(start.as_bytes()), "{text}");
        assert_eq!(verify(&signed(payload)).map(|verified| verified.request), Ok(request));
    }
}

#[test]
fn a_payload_signed_in_bytes_is_as_good() {
    let wrapped = [b"<Bytes>", FROZEN.as_bytes(), b"</Bytes>"].concat();
    let signature = alice().sign(&wrapped, &[0; 32]);
    let order = SignedOrder { payload: FROZEN.into(), signature };
    assert_eq!(verify(&order).map(|verified| verified.wrapping), Ok(Wrapping::Bytes));
    // What was signed is sent, not its wrapping.
    assert_eq!(verify(&signed(wrapped)).map_err(|refusal| refusal.code()), Err("payload_syntax"));
}

/// Made by another implementation of sr25519 over [`FROZEN`], plain and wrapped.
#[test]
fn a_wallet_of_another_make_can_sign_it() {
    for (wrapping, hex) in [
        (
            Wrapping::Plain,
            concat!(
                "909404cbd96ddd22ddcee132e0e8601a544d95433980ef62fdc24938f8cd9667",
                "c7f1f7eba6f0ce79deb91a6912f57100eebde8c93fc8649c51e66b615a146a8c",
            ),
        ),
        (
            Wrapping::Bytes,
            concat!(
                "b4d16d1fcd73c062f2bf3533ead5f8ad507f40898477fd22ba1522655b7e1121",
                "32545576c1ecd665da60d661274954e2f8a8c0f44ace335c360b1c34379dca82",
            ),
        ),
    ] {
        let signature = Signature::from_hex(hex).expect("hexadecimal");
        let order = SignedOrder { payload: FROZEN.into(), signature };
        let verified = verify(&order).expect("good");
        assert_eq!((verified.request, verified.wrapping), (limit_order(), wrapping));
    }
}

#[test]
fn what_is_not_in_the_one_form_is_refused() {
    for (old, new) in [
        ("{\"chain\"", " {\"chain\""),
        ("{\"chain\"", "{ \"chain\""),
        ("{\"chain\"", "[\"chain\""),
        ("{\"chain\"", "{,\"chain\""),
        ("{\"chain\"", "{chain"),
        ("\"chain\":", "\"chain\": "),
        ("\"chain\":", "\"chain\""),
        ("\"o-17\"", "\"o-\\u0031\\u0037\""),
        ("\"o-17\"", "\"o-17\u{e9}\""),
        ("\"o-17\"", "\"o-17\n\""),
        ("\"o-17\"", "\"o-17"),
        ("\"o-17\"", ""),
        ("\"o-17\"", "{\"x\":1}"),
        ("\"o-17\"", "[1]"),
        ("30000}", "30000,}"),
        ("30000}", "30000}\n"),
        ("30000}", "30000}}"),
        ("30000}", "30000"),
    ] {
        refused(old, new, "payload_syntax", "-");
    }
    for payload in [&b""[..], b"{", b"{}", b"\xff", b"null", b"{\"chain\":\"\xc3\xa9\"}"] {
        let refusal = verify(&signed(payload)).expect_err("refused");
        assert_eq!(refusal.code(), "payload_syntax", "{payload:?}");
    }
    let long = signed(vec![b'{'; PAYLOAD_LEN_MAX + 1]);
    assert_eq!(verify(&long), Err(Refusal::TooLong(PAYLOAD_LEN_MAX + 1)));
}

#[test]
fn fields_are_the_known_ones_once_each_and_in_order() {
    refused("\"id\"", "\"di\"", "field_unknown", "di");
    refused("\"id\"", "\"Id\"", "field_unknown", "Id");
    refused("\"id\"", "\"\"", "field_unknown", "");
    refused("\"id\"", &format!("\"{}\"", "x".repeat(4_000)), "field_unknown", &"x".repeat(64));
    refused("\"id\":", "\"hedge\":1,\"id\":", "field_unknown", "hedge");
    refused("\"id\":", "\"id\":\"o-16\",\"id\":", "field_duplicate", "id");
    refused("\"side\"", "\"chain\"", "field_duplicate", "chain");
    refused("\"pair\":", "\"cancel\":\"all\",\"pair\":", "field_out_of_order", "cancel");
}

#[test]
fn every_order_has_these_fields() {
    for (old, field) in [
        ("\"chain\":\"vanta-main\",", "chain"),
        ("\"domain\":\"proctor.order.v1\",", "domain"),
        ("\"execution\":\"LIMIT\",", "execution"),
        ("\"id\":\"o-17\",", "id"),
        ("\"pair\":\"BTCUSD\",", "pair"),
        ("\"side\":\"LONG\",", "side"),
        ("\"trader\":\"5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY\",", "trader"),
        ("\"valid_from_ms\":1762207200000,", "valid_from_ms"),
        (",\"valid_until_ms\":1762207230000", "valid_until_ms"),
    ] {
        refused(old, "", "field_missing", field);
    }
}

#[test]
fn a_value_that_its_field_cannot_have_is_refused() {
    for (old, new, code, field) in [
        ("\"vanta-main\"", "1", "field_not_a_text", "chain"),
        ("\"o-17\"", "17", "field_not_a_text", "id"),
        ("\"LONG\"", "null", "field_not_a_text", "side"),
        ("\"o-17\"", "\"\"", "field_invalid", "id"),
        ("\"o-17\"", "\"../x\"", "field_invalid", "id"),
        ("\"BTCUSD\"", "\"BTC/USD\"", "field_invalid", "pair"),
        ("\"LONG\"", "\"long\"", "field_invalid", "side"),
        ("\"LIMIT\"", "\"limit\"", "field_invalid", "execution"),
        ("{\"chain\"", "{\"cancel\":\"order:\",\"chain\"", "field_invalid", "cancel"),
        ("{\"chain\"", "{\"cancel\":\"o-16\",\"chain\"", "field_invalid", "cancel"),
        ("{\"chain\"", "{\"cancel\":null,\"chain\"", "field_not_a_text", "cancel"),
        ("0.25", "\"0.25\"", "field_not_a_number", "leverage"),
        ("0.25", "true", "field_not_a_number", "leverage"),
        ("0.25", "null", "field_not_a_number", "leverage"),
        ("0.25", ".25", "field_not_a_number", "leverage"),
        ("0.25", "NaN", "number_not_finite", "leverage"),
        ("106250.5", "1e999", "number_not_finite", "limit_price"),
        ("101000.0", "-Infinity", "number_not_finite", "stop_loss"),
        ("118000.0", "118000.00000000000001", "number_not_shortest", "take_profit"),
        ("1762207200000", "\"1762207200000\"", "field_not_a_number", "valid_from_ms"),
        ("1762207200000", "1762207200000.0", "time_out_of_range", "valid_from_ms"),
        ("1762207200000", "-1", "time_out_of_range", "valid_from_ms"),
        ("1762207200000", "01762207200000", "time_out_of_range", "valid_from_ms"),
        ("1762207230000", "99999999999999999999", "time_out_of_range", "valid_until_ms"),
        ("1762207230000", "253402300800000", "time_out_of_range", "valid_until_ms"),
    ] {
        refused(old, new, code, field);
    }
    refused("\"LONG\"", &format!("\"{}\"", "x".repeat(4_000)), "field_invalid", "side");
}

#[test]
fn an_order_for_something_else_or_of_nobody_is_refused() {
    let zero = Address { prefix: Prefix::GENERIC, account: [0; 32] }.to_string();
    let nowhere = Address { prefix: Prefix::GENERIC, account: [255; 32] }.to_string();
    for (old, new, code, field) in [
        ("proctor.order.v1", "proctor.order.v2", "domain_wrong", "domain"),
        ("vanta-main", "vanta-test", "chain_wrong", "chain"),
        (ALICE, "alice", "trader_not_an_address", "trader"),
        (ALICE, &ALICE.replace("utQY", "utQZ"), "trader_not_an_address", "trader"),
        (ALICE, &zero, "trader_key_unusable", "trader"),
        (ALICE, &nowhere, "trader_key_unusable", "trader"),
        (ALICE, BOB, "signature_invalid", "trader"),
    ] {
        refused(old, new, code, field);
    }
    let mut forged = [0; 64];
    forged[63] = 128;
    let payload = FROZEN.replacen(ALICE, &zero, 1).into_bytes();
    let order = SignedOrder { payload, signature: Signature(forged) };
    assert_eq!(verify(&order), Err(Refusal::UnusableKey(InvalidPublicKey::Zero)));
    let unmarked = SignedOrder { signature: Signature([0; 64]), ..signed(FROZEN) };
    assert_eq!(verify(&unmarked), Err(Refusal::Signature(InvalidSignature::NotMarked)));
}

#[test]
fn a_window_opens_closes_and_has_a_greatest_length() {
    let max = rules().window_max.0;
    for (from, until, now, answer) in [
        (FROM, UNTIL, FROM - 1, Err(("window_not_open", "valid_from_ms"))),
        (FROM, UNTIL, FROM, Ok(())),
        (FROM, UNTIL, UNTIL - 1, Ok(())),
        (FROM, UNTIL, UNTIL, Err(("window_over", "valid_until_ms"))),
        (FROM, UNTIL, i64::MIN, Err(("window_not_open", "valid_from_ms"))),
        (FROM, UNTIL, i64::MAX, Err(("window_over", "valid_until_ms"))),
        (FROM, FROM, FROM, Err(("window_empty", "valid_until_ms"))),
        (FROM, FROM - 1, FROM, Err(("window_empty", "valid_until_ms"))),
        (FROM, FROM + max, FROM, Ok(())),
        (FROM, FROM + max + 1, FROM, Err(("window_too_long", "valid_until_ms"))),
        (0, UtcMs::MAX.0, FROM, Err(("window_too_long", "valid_until_ms"))),
    ] {
        let text = FROZEN
            .replacen(&format!("\"valid_from_ms\":{FROM}"), &format!("\"valid_from_ms\":{from}"), 1)
            .replacen(&UNTIL.to_string(), &until.to_string(), 1);
        let verified = signed(text).verify(&rules(), UtcMs(now));
        let refusal = verified
            .map(|_| ())
            .map_err(|refusal| (refusal.code(), refusal.field().expect("a field").to_owned()));
        let expected = answer.map_err(|(code, field)| (code, field.to_owned()));
        assert_eq!(refusal, expected, "{from}..{until} at {now}");
    }
}

#[test]
fn nobody_signs_what_nobody_would_accept() {
    let sign = |terms: &Terms, trader: &str| {
        let request =
            OrderRequest { trader: TraderId::new(trader).expect("valid"), ..limit_order() };
        SignedOrder::sign(&alice(), terms, &request, &[0; 32]).map(|_| ())
    };
    assert_eq!(sign(&terms(), ALICE), Ok(()));
    assert!(matches!(sign(&terms(), BOB), Err(Unsignable::OthersOrder { .. })));
    assert!(matches!(sign(&terms(), "alice"), Err(Unsignable::NoAddress { .. })));
    for (from, until, fault) in [
        (FROM, FROM, Refusal::WindowEmpty),
        (-1, FROM, Refusal::TimeOutOfRange(Field::ValidFromMs)),
        (FROM, UtcMs::MAX.0 + 1, Refusal::TimeOutOfRange(Field::ValidUntilMs)),
    ] {
        let window = Window { from: UtcMs(from), until: UtcMs(until) };
        let terms = Terms { window, ..terms() };
        assert_eq!(sign(&terms, ALICE), Err(Unsignable::Window(fault)), "{from}..{until}");
    }
}

#[test]
fn a_trader_signs_under_the_address_of_any_network() {
    let prefix = Prefix::new(2_007).expect("valid");
    let trader = alice().public().address(prefix).trader();
    let request = OrderRequest { trader, ..limit_order() };
    let order = SignedOrder::sign(&alice(), &terms(), &request, &[0; 32]).expect("signable");
    assert_eq!(verify(&order).map(|verified| verified.request), Ok(request));
}

#[test]
fn a_chain_is_named_by_a_short_plain_word() {
    for name in ["", "a b", "\"", "a:b", "\u{e9}", &"x".repeat(65)] {
        assert!(ChainId::new(name).is_err(), "{name}");
    }
    assert!(ChainId::new(&"x".repeat(64)).is_ok());
    assert_eq!(ChainId::new("vanta.main_1-x").expect("valid").to_string(), "vanta.main_1-x");
}

#[test]
fn fields_stand_in_the_order_of_their_names() {
    assert!(Field::ALL.is_sorted_by_key(|field| field.name()));
    assert!(Field::ALL.is_sorted());
}

#[test]
fn the_longest_payload_is_far_from_the_limit() {
    let long = "x".repeat(64);
    let number = -2.2250738585072014e-308;
    let request = OrderRequest {
        id: OrderId::new(&long).expect("valid"),
        pair: PairName::new(&long).expect("valid"),
        size: SizeFields {
            leverage: Leverage::new(number).ok(),
            value: Usd::new(number).ok(),
            quantity: Quantity::new(number).ok(),
        },
        limit_price: price(number),
        stop_loss: price(number),
        take_profit: price(number),
        cancel: OrderId::new(&long).ok().map(Cancel::Order),
        ..limit_order()
    };
    let terms = Terms { chain_id: ChainId::new(&long).expect("valid"), ..terms() };
    let payload = SignedOrder::payload(&terms, &request).expect("signable");
    assert!(payload.len() < 1_024, "{}", payload.len());
}

prop_compose! {
    fn any_request(trader: TraderId)(
        id in "[A-Za-z0-9_-]{1,64}",
        pair in "[A-Za-z0-9_-]{1,64}",
        side in prop::sample::select(vec![Side::Long, Side::Short, Side::Flat]),
        execution in prop::sample::select(vec![
            ExecutionType::Market,
            ExecutionType::Limit,
            ExecutionType::Bracket,
            ExecutionType::LimitCancel,
        ]),
        sizes in [any::<Option<f64>>(), any::<Option<f64>>(), any::<Option<f64>>()],
        prices in [any::<Option<f64>>(), any::<Option<f64>>(), any::<Option<f64>>()],
        cancel in prop::option::of(prop_oneof![
            Just(Cancel::All),
            Just(Cancel::Pair),
            "[A-Za-z0-9_-]{1,64}".prop_map(|id| Cancel::Order(OrderId::new(&id).expect("valid"))),
        ]),
    ) -> OrderRequest {
        let [leverage, value, quantity] = sizes;
        let [limit, stop, profit] = prices.map(|price| price.and_then(|price| Price::new(price).ok()));
        OrderRequest {
            trader: trader.clone(),
            id: OrderId::new(&id).expect("valid"),
            pair: PairName::new(&pair).expect("valid"),
            side,
            execution,
            size: SizeFields {
                leverage: leverage.and_then(|number| Leverage::new(number).ok()),
                value: value.and_then(|number| Usd::new(number).ok()),
                quantity: quantity.and_then(|number| Quantity::new(number).ok()),
            },
            limit_price: limit,
            stop_loss: stop,
            take_profit: profit,
            cancel,
        }
    }
}

fn any_trader() -> impl Strategy<Value = (Seed, OrderRequest)> {
    any::<[u8; 32]>().prop_flat_map(|bytes| {
        let trader = |seed: &Seed| seed.keypair().public().address(Prefix::GENERIC).trader();
        let seed = Seed::new(Zeroizing::new(bytes));
        any_request(trader(&seed))
            .prop_map(move |request| (Seed::new(Zeroizing::new(bytes)), request))
    })
}

proptest! {
    #[test]
    fn what_is_signed_is_read_bit_by_bit(
        (seed, request) in any_trader(),
        entropy: [u8; 32],
        from in 0..UtcMs::MAX.0 - 60_000,
        length in 1..=60_000_i64,
        into in 0..60_000_i64,
    ) {
        let window = Window { from: UtcMs(from), until: UtcMs(from + length) };
        let terms = Terms { window, ..terms() };
        let order = SignedOrder::sign(&seed.keypair(), &terms, &request, &entropy).expect("signable");
        let verified = order.verify(&rules(), UtcMs(from + into % length)).expect("good");
        // As bytes: numbers that are equal could still differ in their bits.
        prop_assert_eq!(borsh_bytes(&verified.request), borsh_bytes(&request));
        prop_assert_eq!(verified.window, window);
        // One order, one payload.
        prop_assert_eq!(SignedOrder::payload(&terms, &verified.request), Ok(order.payload));
    }

    #[test]
    fn a_changed_byte_of_payload_or_signature_is_refused(
        (seed, request) in any_trader(), place: prop::sample::Index, change in 1_u8..=255,
    ) {
        let order = SignedOrder::sign(&seed.keypair(), &terms(), &request, &[0; 32]).expect("signable");
        let mut changed = order.clone();
        let length = order.payload.len();
        match place.index(length + 64) {
            at if at < length => changed.payload[at] ^= change,
            at => changed.signature.0[at - length] ^= change,
        }
        prop_assert!(verify(&changed).is_err());
    }

    #[test]
    fn any_bytes_are_refused(payload: Vec<u8>, signature: [u8; 64], now: i64) {
        let order = SignedOrder { payload, signature: Signature(signature) };
        prop_assert!(order.verify(&rules(), UtcMs(now)).is_err());
    }

    #[test]
    fn almost_a_payload_is_read_or_refused(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "\"", ":", ",", "\\", " ", "0.25", "1e5", "-", "o-17", "\"cancel\":", "\"all\"",
            "\"chain\":\"vanta-main\",", "\"id\":", "\"valid_from_ms\":0",
        ]), 0..40),
        place: prop::sample::Index,
        cut: prop::sample::Index,
    ) {
        let garbage = pieces.concat();
        let _ = verify(&signed(garbage.clone()));
        let (head, tail) = FROZEN.split_at(place.index(FROZEN.len()));
        let tail = &tail[cut.index(tail.len())..];
        if let Ok(verified) = verify(&signed(format!("{head}{garbage}{tail}"))) {
            prop_assert_eq!(verified.request.trader.as_str(), ALICE);
        }
    }
}

#[test]
fn every_single_byte_counts() {
    let order = signed(FROZEN);
    for at in 0..order.payload.len() {
        for bit in 0..8 {
            let mut changed = order.clone();
            changed.payload[at] ^= 1 << bit;
            assert!(verify(&changed).is_err(), "payload, byte {at}, bit {bit}");
        }
    }
    for at in 0..64 {
        for bit in 0..8 {
            let mut changed = order.clone();
            changed.signature.0[at] ^= 1 << bit;
            assert!(verify(&changed).is_err(), "signature, byte {at}, bit {bit}");
        }
    }
}

/// One order, one payload: bytes that are read are the bytes that the order would be signed as.
fn fuzz(input: &[u8]) -> String {
    let order = SignedOrder { payload: input.to_vec(), signature: Signature([0; 64]) };
    match order.claim(&rules(), UtcMs(FROM)) {
        Ok(claim) => {
            let terms = Terms { chain_id: rules().chain_id, window: claim.window };
            let again = SignedOrder::payload(&terms, &claim.request).expect("it was just read");
            assert_eq!(again, input, "another payload for the same order");
            assert!(claim.prove().is_err(), "nobody has signed it");
            "read".to_owned()
        }
        Err(refusal) => {
            assert!(refusal.to_string().len() < 600, "a refusal repeats little of what it refuses");
            format!("{} {:?}", refusal.code(), refusal.field())
        }
    }
}

#[test]
fn fuzz_signed_order_any_payload_is_refused_or_the_one_payload_of_its_order() {
    let mut fuzzer = proctor_fuzz::Fuzz::target("signed-order").seed(FROZEN).executions(30_000);
    for (old, new) in [
        ("LONG", "SHORT"),
        ("\"leverage\":0.25", "\"leverage\":1e-7,\"quantity\":3.0,\"value\":250000.0"),
        ("{\"chain\"", "{\"cancel\":\"order:o-16\",\"chain\""),
        ("0.25", "5e-324"),
        ("0.25", "1.7976931348623157e308"),
        ("0.25", "-0.0"),
    ] {
        fuzzer = fuzzer.seed(FROZEN.replacen(old, new, 1));
    }
    fuzzer.seed("{}").seed([b'"'; 9_000]).run(fuzz);
}

fn borsh_bytes(request: &OrderRequest) -> Vec<u8> {
    borsh::to_vec(request).expect("to memory")
}
