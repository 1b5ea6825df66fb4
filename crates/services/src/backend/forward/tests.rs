//! What is passed on: what a trader has signed, as he has signed it, and nothing else.

#![allow(clippy::unwrap_used, reason = "values are valid by construction")]

use proctor_engine::input::{Payload, Validity};
use proctor_keys::signed_order::{ChainId, Terms, Window};
use proctor_keys::sr25519::Seed;
use proctor_keys::ss58::Prefix;
use proctor_types::DurationMs;

use super::*;
use crate::testing::{World, market};

const NOW: UtcMs = UtcMs(1_762_178_400_000);

fn rules() -> Rules {
    Rules { chain_id: ChainId::new("test").unwrap(), window_max: DurationMs(60_000) }
}

fn signed(chain: &str, from: i64) -> SignedOrder {
    let keypair = Seed::development("//Alice").unwrap().keypair();
    let trader = keypair.public().address(Prefix::GENERIC).trader().to_string();
    let request = market(&trader, "o1", "BTCUSD", 0.1);
    let (from, until) = (UtcMs(NOW.0 + from), UtcMs(NOW.0 + from + 30_000));
    let chain_id = ChainId::new(chain).unwrap();
    let terms = Terms { chain_id, window: Window { from, until } };
    let order = SignedBytes::sign(&keypair, &terms, &request, &[9; 32]).unwrap();
    SignedOrder {
        request,
        validity: Validity { from, until },
        payload: Payload::new(order.payload).unwrap(),
        signature: order.signature.0,
    }
}

fn pass(inputs: &[Input]) -> Result<Vec<Input>, Problem> {
    passed_on(&rules(), NOW, &log_entry::encode_inputs(inputs))
}

fn input(order: SignedOrder) -> Input {
    Input::SignedOrder(Box::new(order))
}

#[test]
fn a_signed_order_is_passed_on_as_it_is() {
    let inputs = vec![input(signed("test", 0)), input(signed("test", -1_000))];
    assert_eq!(pass(&inputs).unwrap(), inputs);
}

#[test]
fn what_is_not_signed_for_here_and_now_is_refused() {
    let order = || signed("test", 0);
    let changed = |change: fn(&mut SignedOrder)| {
        let mut order = order();
        change(&mut order);
        input(order)
    };
    let cases = [
        ("unsigned", Input::Tick),
        ("unsigned", Input::Order(order().request)),
        ("not_as_signed", changed(|order| order.request.side = proctor_types::Side::Short)),
        ("not_as_signed", changed(|order| order.validity.until = UtcMs(NOW.0 + 50_000))),
        ("signature_invalid", changed(|order| order.signature[7] ^= 1)),
        ("chain_wrong", input(signed("other", 0))),
        ("window_over", input(signed("test", -40_000))),
        ("window_not_open", input(signed("test", 1_000))),
    ];
    for (code, case) in cases {
        // A good one before it does not carry it.
        let refused = pass(&[input(order()), case]).expect_err(code);
        assert_eq!(refused.reason, Reason::Unauthenticated, "{refused:?}");
        assert_eq!(refused.code.as_deref(), Some(code), "{refused:?}");
    }
}

#[test]
fn any_bytes_and_no_input_at_all_are_refused() {
    assert!(pass(&[]).is_err());
    for bytes in [&b""[..], b"\x01", b"\x01\xff\xff\xff\xff", &[7; 500]] {
        let refused = passed_on(&rules(), NOW, bytes).expect_err("no inputs");
        assert_eq!(refused.reason, Reason::InvalidArgument);
    }
}

#[derive(Debug)]
struct Nowhere;

impl Carrier for Nowhere {
    fn carry(&self, _: Vec<u8>) -> Carried<'_> {
        Box::pin(async { Err(Problem::new(Reason::Unavailable, "no sequencer")) })
    }
}

#[tokio::test]
async fn x_12_a_follower_orders_nothing_itself_so_nothing_runs_beside_a_sync() {
    let world = World::empty().await;
    let views = world.backend.views().clone();
    let forward = Forward::new(Arc::new(Nowhere), views);
    let refused = forward.submit(vec![Input::Tick]).await.expect_err("an operator's");
    assert_eq!((refused.reason, refused.code.as_deref()), (Reason::Refused, Some("follower")));
    let lost = forward.submit(vec![input(signed("test", 0))]).await.expect_err("nobody there");
    assert_eq!(lost.reason, Reason::Unavailable);
}
