//! The trader's signatures: which of his orders he has signed, and whether these are his.

use proctor_engine::Input;
use proctor_engine::input::{Extract, SignedOrder};
use proctor_keys::sr25519::Signature;
use proctor_keys::{Window, hex};
use proctor_types::TraderId;
use serde::{Serialize, Serializer};

/// An order as its trader has signed it: a row `[commit, order, signature, payload]`.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    commit: u64,
    order: Box<SignedOrder>,
}

impl Serialize for Signed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let SignedOrder { request, payload, signature, .. } = &*self.order;
        let payload = String::from_utf8_lossy(payload.bytes());
        (self.commit, request.id.as_str(), hex::encode(signature), payload).serialize(serializer)
    }
}

/// Returns what `trader` has signed among the inputs of a commit.
pub(super) fn of(trader: &TraderId, extract: &Extract) -> impl Iterator<Item = Signed> {
    let commit = extract.index;
    extract.inputs.iter().filter_map(move |placed| {
        let Input::SignedOrder(order) = &placed.input else { return None };
        let own = order.request.trader == *trader;
        own.then(|| Signed { commit, order: order.clone() })
    })
}

/// Verifies every signature, and that what was judged is what was signed; returns how many there are.
///
/// # Errors
/// What is wrong with the first one that does not hold, in words.
pub(super) fn check(signed: &[Signed]) -> Result<usize, String> {
    for Signed { commit, order } in signed {
        let wrong = |why: &dyn std::fmt::Display| {
            Err(format!("commit {commit}: the signature of order {}: {why}", order.request.id))
        };
        let sent = proctor_keys::SignedOrder {
            payload: order.payload.bytes().to_vec(),
            signature: Signature(order.signature),
        };
        let proved = match sent.recorded().and_then(|(_, claim)| claim.prove()) {
            Ok(proved) => proved,
            Err(why) => return wrong(&why),
        };
        let window = Window { from: order.validity.from, until: order.validity.until };
        if proved.request != order.request || proved.window != window {
            return wrong(&"the order that was judged is not the one that was signed");
        }
    }
    Ok(signed.len())
}

#[cfg(test)]
mod tests {
    use proctor_engine::input::{Payload, Roster, Validity};
    use proctor_keys::{ChainId, Keypair, Prefix, Seed, Terms};
    use proctor_sequencer::Batch;
    use proctor_types::time::DAY_MS;
    use proctor_types::{
        AssetClass, Leverage, OrderId, OrderRequest, PairName, Side, SizeFields, Usd, UtcMs,
    };

    use super::*;
    use crate::evidence::{Evidence, Expected, Which, evidence, verify};
    use crate::explain::tests::{NOON, at, price, write};

    fn keypair() -> Keypair {
        Seed::development("//Alice").expect("a path").keypair()
    }

    fn signer() -> TraderId {
        keypair().public().address(Prefix::GENERIC).trader()
    }

    fn order(id: &str, pair: &str) -> SignedOrder {
        let leverage = Leverage::new(0.25).ok();
        let size = SizeFields { leverage, ..SizeFields::default() };
        let (id, pair) = (OrderId::new(id), PairName::new(pair));
        let request = OrderRequest::market(
            signer(),
            id.expect("valid"),
            pair.expect("valid"),
            Side::Long,
            size,
        );
        let (from, until) = (UtcMs(NOON - 1_000), UtcMs(NOON + 30_000));
        let chain_id = ChainId::new("test-main").expect("a name");
        let terms = Terms { chain_id, window: Window { from, until } };
        let signed = proctor_keys::SignedOrder::sign(&keypair(), &terms, &request, &[7; 32]);
        let signed = signed.expect("his own");
        let payload = Payload::new(signed.payload).expect("short");
        let validity = Validity { from, until };
        SignedOrder { request, validity, payload, signature: signed.signature.0 }
    }

    /// Returns evidence of a log in which the signer has sent `orders`.
    fn of_log(orders: Vec<SignedOrder>) -> Evidence {
        let joins = vec![
            Input::Roster(Roster::new(2, vec![crate::explain::tests::trader(), signer()])),
            Input::AccountSize(signer(), Usd::new(100_000.0).expect("finite")),
            Input::AssetClass(signer(), AssetClass::Crypto),
        ];
        let joins = Batch { at: UtcMs(NOON - DAY_MS + 1), inputs: joins };
        let mut inputs = vec![price("BTCUSD", 0, 60_000.0)];
        inputs.extend(orders.into_iter().map(Box::new).map(Input::SignedOrder));
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), vec![joins, at(0, inputs), at(1_000, vec![Input::Tick])]);
        evidence(dir.path(), &signer(), Which::Last).expect("evidence")
    }

    #[test]
    fn a_file_shows_what_was_signed_and_the_signatures_are_verified_offline() {
        let (filled, refused) = (order("one", "BTCUSD"), order("two", "NOPE"));
        let file = of_log(vec![filled.clone(), refused, filled.clone()]);
        let confirmed = verify(file.text.as_bytes(), &Expected::default()).expect("confirmed");
        assert_eq!(confirmed.signed, 3, "the copy is in the log as well");
        assert!(file.text.starts_with("{\n\"format\": \"proctor.evidence/3\",\n"));
        assert!(file.text.contains(&hex::encode(&filled.signature)));
        assert!(file.text.contains("already_judged"), "and what became of the copy");
        let without = of_log(Vec::new());
        assert!(without.text.starts_with("{\n\"format\": \"proctor.evidence/2\",\n"));
        let confirmed = verify(without.text.as_bytes(), &Expected::default()).expect("confirmed");
        assert_eq!(confirmed.signed, 0);
    }

    #[test]
    fn an_order_in_the_log_that_its_trader_has_not_signed_so_is_found() {
        let good = order("one", "BTCUSD");
        let mut forged = good.clone();
        forged.signature[3] ^= 1;
        let mut larger = good.clone();
        larger.request.size.leverage = Leverage::new(0.5).ok();
        let mut longer = good.clone();
        longer.validity.until = UtcMs(NOON + 90_000);
        let mut other = good;
        other.payload = Payload::new(b"{}".to_vec()).expect("short");
        for (order, why) in [
            (forged, "the signature of order one"),
            (larger, "the order that was judged is not the one that was signed"),
            (longer, "the order that was judged is not the one that was signed"),
            (other, "the signature of order one"),
        ] {
            let file = of_log(vec![order]);
            let refused = verify(file.text.as_bytes(), &Expected::default()).expect_err("found");
            assert!(refused.to_string().contains(why), "{refused}");
        }
    }
}
