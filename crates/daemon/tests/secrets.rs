//! What is logged at the most talkative level holds no token, signature, key or payload.

#[path = "node/common.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod common;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use proctor_keys::sr25519::{Keypair, Seed};
use proctor_keys::ss58::Prefix;
use proctor_keys::{ChainId, SignedOrder, Terms, Window};
use proctor_rpc::v1::node_client::NodeClient;
use proctor_rpc::v1::orders_client::OrdersClient;
use proctor_rpc::v1::{self, SetAccountSizeRequest, SetRosterRequest, SubmitManyRequest};
use proctor_sequencer::{Clock as _, SystemClock};
use proctor_services::Role;
use proctor_types::{Leverage, OrderId, OrderRequest, PairName, Side, SizeFields, UtcMs};
use tonic::metadata::MetadataValue;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use common::{Node, authorized};

/// A token that nobody knows, as somebody may send by mistake.
const STRANGE: &str = "strange-secret-0123456789abcdef";
/// A word inside signed payloads that stands nowhere else.
const MARK: &str = "marked-order";

/// Keeps everything that is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn order(keypair: &Keypair, chain: &str, number: u32, now: UtcMs) -> v1::SignedOrder {
    let request = OrderRequest::market(
        keypair.public().address(Prefix::new(42).expect("a prefix")).trader(),
        OrderId::new(&format!("{MARK}-{number}")).expect("valid"),
        PairName::new("BTCUSD").expect("valid"),
        Side::Long,
        SizeFields { leverage: Leverage::new(0.02).ok(), ..SizeFields::default() },
    );
    let terms = Terms {
        chain_id: ChainId::new(chain).expect("valid"),
        window: Window { from: now, until: UtcMs(now.0 + 30_000) },
    };
    let signed = SignedOrder::sign(keypair, &terms, &request, &[7; 32]).expect("signable");
    v1::SignedOrder { payload: signed.payload, signature: signed.signature.0.to_vec() }
}

/// Returns the forms in which a log line may show `bytes`.
fn forms(bytes: &[u8]) -> Vec<String> {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let list: Vec<String> = bytes.iter().map(u8::to_string).collect();
    vec![hex.to_uppercase(), hex, list.join(", "), list.join(","), bytes.escape_ascii().to_string()]
}

#[tokio::test]
async fn no_secret_and_no_payload_is_ever_logged() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(lines.clone())
        .with_ansi(false)
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("this is the only test here");
    let node = Node::start(&[]).await;
    let seed = Seed::development("//Alice").expect("a path");
    let keypair = seed.keypair();
    let now = SystemClock.now();

    let mut client = NodeClient::new(node.channel("node").await);
    let trader = keypair.public().address(Prefix::new(42).expect("a prefix")).trader().to_string();
    let roster = SetRosterRequest { traders: vec![trader.clone()] };
    client.set_roster(node.with_token(Role::Operator, roster)).await.expect("a roster");
    let size = || SetAccountSizeRequest { trader: trader.clone(), size_usd: 5_000.0 };
    client.set_account_size(node.with_token(Role::Admin, size())).await.expect("a size");
    client.set_account_size(node.with_token(Role::Feed, size())).await.expect_err("a feed");
    client.set_account_size(authorized(size(), STRANGE)).await.expect_err("unknown");
    let mut raw = tonic::Request::new(size());
    let bare = MetadataValue::from_static(STRANGE);
    raw.metadata_mut().insert("authorization", bare);
    client.set_account_size(raw).await.expect_err("no bearer");

    let mut orders = OrdersClient::new(node.channel("orders").await);
    let good = order(&keypair, "proctor-local", 1, now);
    let other_chain = order(&keypair, "elsewhere", 2, now);
    let mut forged = order(&keypair, "proctor-local", 3, now);
    forged.signature[5] ^= 1;
    let mut signed = vec![good.clone(), other_chain.clone(), forged.clone()];
    orders.submit(good).await.expect("it is judged");
    orders.submit(other_chain.clone()).await.expect_err("another chain");
    orders.submit(forged.clone()).await.expect_err("forged");
    let fourth = order(&keypair, "proctor-local", 4, now);
    signed.push(fourth.clone());
    let many = SubmitManyRequest { orders: vec![fourth, forged, other_chain] };
    orders.submit_many(many).await.expect("each has its answer");
    let mut secrets: Vec<String> = vec![STRANGE.into(), MARK.into()];
    secrets.extend([Role::Feed, Role::Operator, Role::Admin].map(|role| node.secret(role)));
    secrets.push(seed.to_hex().to_string());
    for order in &signed {
        secrets.extend(forms(&order.signature[..32]));
        secrets.extend(forms(&order.payload));
    }
    node.end().await;

    let text = lines.text();
    for wanted in ["call refused", "reason=\"FORBIDDEN\"", "reason=\"UNAUTHENTICATED\"", "commit="]
    {
        assert!(text.contains(wanted), "{wanted} was not logged, so nothing is shown by this test");
    }
    assert!(text.contains("method=Submit code=\"ok\""), "the good order was logged as a call");
    for secret in secrets {
        let line = text.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "{secret} stands in: {line:?}");
    }
}
