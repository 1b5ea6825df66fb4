//! `proctor order`: sign an order, send it, and say what became of it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Subcommand;
use proctor_client::v1::{self, OrderOutcome, order_event};
use proctor_client::{Client, SignedBytes, Submitted};
use proctor_keys::{ChainId, KeyFile, Terms, Window};
use proctor_types::{
    Cancel, DurationMs, ExecutionType, Leverage, OrderId, OrderRequest, PairName, Price, Quantity,
    Side, SizeFields, TraderId, Usd, UtcMs,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::remote::{Remote, as_of, side};
use crate::Verdict;

/// How much earlier than now an order's window begins: the clocks of two machines differ.
const WINDOW_EARLY: DurationMs = DurationMs(5_000);

/// The code of the refusal of an order that was valid before its trader was registered.
const BEFORE_ENROLMENT: &str = "signed_before_enrolment";

/// What `proctor order` is asked for.
#[derive(Subcommand)]
pub(crate) enum Args {
    /// A market order, or with --limit a limit order.
    Submit {
        #[command(flatten)]
        common: Common,
        /// The pair, such as BTCUSD.
        #[arg(long)]
        pair: String,
        /// long, short or flat.
        #[arg(long)]
        side: String,
        #[command(flatten)]
        size: Size,
        /// Fill at this price or better.
        #[arg(long, value_name = "PRICE")]
        limit: Option<f64>,
        #[command(flatten)]
        protection: Protection,
    },
    /// Stop loss and take profit for the open position on a pair.
    Bracket {
        #[command(flatten)]
        common: Common,
        /// The pair, such as BTCUSD.
        #[arg(long)]
        pair: String,
        #[command(flatten)]
        size: Size,
        #[command(flatten)]
        protection: Protection,
    },
    /// Cancel a resting order, all of a pair, or all.
    Cancel {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        what: What,
    },
}

/// What every order has.
#[derive(clap::Args)]
pub(crate) struct Common {
    /// The trader's key file.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The order's id, unique for the trader; made up when absent.
    #[arg(long)]
    id: Option<String>,
    /// For how long from now the node may take the order, in ms.
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    valid_ms: i64,
    /// Which network the order is for; then the node is not asked, which may need a token.
    #[arg(long, value_name = "NAME")]
    chain: Option<String>,
    /// With --chain, the address of the service Orders; else its standard port at the node's host.
    #[arg(long, value_name = "HOST:PORT", requires = "chain")]
    orders: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// How much; closing needs none.
#[derive(clap::Args)]
#[group(multiple = false)]
pub(crate) struct Size {
    /// As a multiple of the account size.
    #[arg(long)]
    leverage: Option<f64>,
    /// In USD.
    #[arg(long)]
    value: Option<f64>,
    /// In lots.
    #[arg(long)]
    quantity: Option<f64>,
}

/// Where a position is closed.
#[derive(clap::Args)]
pub(crate) struct Protection {
    /// Stop loss.
    #[arg(long, value_name = "PRICE")]
    sl: Option<f64>,
    /// Take profit.
    #[arg(long, value_name = "PRICE")]
    tp: Option<f64>,
}

/// What is cancelled.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct What {
    /// The resting order with this id.
    #[arg(long, value_name = "ID")]
    order: Option<String>,
    /// Every resting order on this pair.
    #[arg(long)]
    pair: Option<String>,
    /// Every resting order.
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(args: &Args) -> Result<Verdict> {
    let (Args::Submit { common, .. } | Args::Bracket { common, .. } | Args::Cancel { common, .. }) =
        args;
    let key = read_key(&common.key)?;
    let request = request(args, common, &key)?;
    if let Some(chain) = &common.chain {
        let chain_id = ChainId::new(chain).context("--chain")?;
        let orders = common.orders.as_deref();
        let place = |client| async move { place(&client, &chain_id, &key, &request, common).await };
        return common.remote.run_unasked(orders, place);
    }
    common.remote.run(|node| async move {
        let chain_id = ChainId::new(&node.status.chain_id).context("the node's chain")?;
        place(&node.client, &chain_id, &key, &request, common).await
    })
}

/// Signs the order, sends it, and says what became of it.
async fn place(
    client: &Client,
    chain_id: &ChainId,
    key: &KeyFile,
    request: &OrderRequest,
    common: &Common,
) -> Result<Verdict> {
    let now = now()?;
    let until = UtcMs(now.0.saturating_add(common.valid_ms));
    let from = UtcMs(now.0.saturating_sub(WINDOW_EARLY.0));
    let mut signed = sign(key, chain_id, Window { from, until }, request)?;
    let mut submitted = client.submit(&signed).await?;
    // Who was registered a moment ago signs for the time since.
    if let Some(from) = refused_before_enrolment(&submitted) {
        signed = sign(key, chain_id, Window { from, until }, request)?;
        submitted = client.submit(&signed).await?;
    }
    Ok(tell(common.remote.json, &signed, &submitted))
}

fn sign(
    key: &KeyFile,
    chain_id: &ChainId,
    window: Window,
    request: &OrderRequest,
) -> Result<SignedBytes> {
    let mut entropy = Zeroizing::new([0; 32]);
    getrandom::fill(entropy.as_mut_slice()).context("the system gives no entropy")?;
    let terms = Terms { chain_id: chain_id.clone(), window };
    Ok(SignedBytes::sign(&key.keypair(), &terms, request, &entropy)?)
}

/// Returns the first moment for which a trader may sign whose order was refused because he was not
/// registered at the beginning of its window.
fn refused_before_enrolment(submitted: &Submitted) -> Option<UtcMs> {
    let Submitted::Judged { outcome, .. } = submitted else { return None };
    let stamp = outcome.stamp.filter(|_| outcome.code == BEFORE_ENROLMENT)?;
    Some(UtcMs(stamp.at_ms.saturating_add(1)))
}

fn read_key(path: &Path) -> Result<KeyFile> {
    let cannot = || format!("cannot read the key in {}", path.display());
    let text = Zeroizing::new(std::fs::read(path).with_context(cannot)?);
    KeyFile::parse(&text)
        .with_context(|| format!("{} is not a key file that can be used", path.display()))
}

/// The wall clock: an order says for when it is meant.
fn now() -> Result<UtcMs> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(UtcMs(i64::try_from(since.as_millis())?))
}

fn request(args: &Args, common: &Common, key: &KeyFile) -> Result<OrderRequest> {
    let trader = TraderId::new(&key.address().to_string())?;
    let id = match &common.id {
        Some(id) => OrderId::new(id).context("--id")?,
        None => {
            let mut bytes = [0; 12];
            getrandom::fill(&mut bytes).context("the system gives no entropy")?;
            OrderId::new(&format!("cli-{}", proctor_keys::hex::encode(&bytes)))?
        }
    };
    let pair = |name: &str| PairName::new(name).context("--pair");
    let nothing = SizeFields::default();
    let mut request = OrderRequest::market(trader, id, pair("ALL")?, Side::Flat, nothing);
    match args {
        Args::Submit { pair: name, side, size, limit, protection, .. } => {
            request.pair = pair(name)?;
            request.side = Side::parse(&side.to_ascii_uppercase()).context("--side")?;
            request.size = sizes(size)?;
            request.limit_price = price("--limit", *limit)?;
            if limit.is_some() {
                request.execution = ExecutionType::Limit;
            }
            protect(&mut request, protection)?;
        }
        Args::Bracket { pair: name, size, protection, .. } => {
            request.pair = pair(name)?;
            request.execution = ExecutionType::Bracket;
            request.size = sizes(size)?;
            protect(&mut request, protection)?;
        }
        Args::Cancel { what, .. } => {
            request.execution = ExecutionType::LimitCancel;
            request.cancel = Some(match (&what.order, &what.pair) {
                (Some(order), _) => Cancel::Order(OrderId::new(order).context("--order")?),
                (None, Some(name)) => {
                    request.pair = pair(name)?;
                    Cancel::Pair
                }
                (None, None) => Cancel::All,
            });
        }
    }
    Ok(request)
}

fn protect(request: &mut OrderRequest, protection: &Protection) -> Result<()> {
    request.stop_loss = price("--sl", protection.sl)?;
    request.take_profit = price("--tp", protection.tp)?;
    Ok(())
}

fn price(name: &'static str, number: Option<f64>) -> Result<Option<Price>> {
    number.map(Price::new).transpose().context(name)
}

fn sizes(size: &Size) -> Result<SizeFields> {
    Ok(SizeFields {
        leverage: size.leverage.map(Leverage::new).transpose().context("--leverage")?,
        value: size.value.map(Usd::new).transpose().context("--value")?,
        quantity: size.quantity.map(Quantity::new).transpose().context("--quantity")?,
    })
}

/// Prints what became of the order; a refusal is the answer no.
fn tell(as_json: bool, signed: &SignedBytes, submitted: &Submitted) -> Verdict {
    let (verdict, page, value) = match submitted {
        Submitted::Judged { outcome, resent } => {
            let verdict = if outcome.accepted { Verdict::Good } else { Verdict::Bad };
            let mut value = to_json(outcome);
            value["resent"] = json!(resent);
            (verdict, page(outcome), value)
        }
        Submitted::Found(found) => (
            Verdict::Good,
            format!("order {}: {} (its answer was lost)", signed.order_id, found.state),
            json!({
                "order_id": signed.order_id,
                "accepted": true,
                "state": found.state,
                "fill": found.fill.as_ref().map(fill),
                "as_of": as_of(found.as_of),
            }),
        ),
        Submitted::TakenBefore(outcome) => (
            Verdict::Good,
            format!("order {}: taken, and neither resting nor filled lately", signed.order_id),
            json!({
                "order_id": signed.order_id,
                "accepted": true,
                "state": "unknown",
                "as_of": as_of(outcome.as_of),
            }),
        ),
    };
    if as_json {
        say!("{value}");
    } else {
        say!("{}", page.trim_end());
    }
    verdict
}

fn page(outcome: &OrderOutcome) -> String {
    let commit = outcome.stamp.as_ref().map_or(0, |stamp| stamp.commit);
    let id = &outcome.order_id;
    if !outcome.accepted {
        let (code, message) = (&outcome.code, &outcome.message);
        return format!("order {id}: refused by commit {commit}: {message} ({code})\n");
    }
    let mut page = format!("order {id}: accepted by commit {commit}\n");
    for event in outcome.events.iter().filter_map(|event| event.event.as_ref()) {
        page.push_str("  ");
        page.push_str(&match event {
            order_event::Event::Filled(fill) => format!(
                "filled {} {} at {} ({}): leverage {:.6}, quantity {:.6}, value {:.2} USD",
                side(fill.side),
                fill.pair,
                fill.price,
                fill.price_source,
                fill.leverage,
                fill.quantity,
                fill.value,
            ),
            order_event::Event::Resting(order) => {
                format!("{} {} rests on {}", order.kind, order.order_id, order.pair)
            }
            order_event::Event::Cancelled(order) => {
                format!("{} on {} is cancelled: {}", order.order_id, order.pair, order.why)
            }
            order_event::Event::Refused(order) => {
                format!("{} is refused: {} ({})", order.order_id, order.message, order.code)
            }
            order_event::Event::NothingToClose(order) => {
                format!("nothing to close on {}", order.pair)
            }
        });
        page.push('\n');
    }
    page
}

fn to_json(outcome: &OrderOutcome) -> Value {
    let events: Vec<Value> = outcome
        .events
        .iter()
        .filter_map(|event| event.event.as_ref())
        .map(|event| match event {
            order_event::Event::Filled(filled) => json!({ "filled": fill(filled) }),
            order_event::Event::Resting(order) => json!({ "resting": {
                "order_id": order.order_id, "pair": order.pair, "kind": order.kind,
                "limit_price": order.limit_price, "stop_loss": order.stop_loss,
                "take_profit": order.take_profit,
            } }),
            order_event::Event::Cancelled(order) => json!({ "cancelled": {
                "order_id": order.order_id, "pair": order.pair, "code": order.code,
                "why": order.why,
            } }),
            order_event::Event::Refused(order) => json!({ "refused": {
                "order_id": order.order_id, "code": order.code, "message": order.message,
            } }),
            order_event::Event::NothingToClose(order) => json!({ "nothing_to_close": {
                "order_id": order.order_id, "pair": order.pair,
            } }),
        })
        .collect();
    json!({
        "as_of": as_of(outcome.as_of),
        "trader": outcome.trader,
        "order_id": outcome.order_id,
        "commit": outcome.stamp.as_ref().map(|stamp| stamp.commit),
        "accepted": outcome.accepted,
        "code": outcome.code,
        "message": outcome.message,
        "repeated": outcome.repeated,
        "events": events,
    })
}

fn fill(fill: &v1::Fill) -> Value {
    json!({
        "order_id": fill.order_id,
        "position_id": fill.position_id,
        "pair": fill.pair,
        "side": side(fill.side),
        "leverage": fill.leverage,
        "quantity": fill.quantity,
        "value": fill.value,
        "price": fill.price,
        "slippage": fill.slippage,
        "price_source": fill.price_source,
        "clamped": fill.clamped,
        "closes": fill.closes,
        "filled_ms": fill.filled_ms,
        "position_leverage": fill.position_leverage,
    })
}
