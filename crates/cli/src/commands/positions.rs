//! `proctor positions`: positions of a running node.

use anyhow::Result;
use proctor_client::v1::{ListPositionsRequest, Position, PositionState};
use serde_json::{Value, json};

use super::remote::{Remote, as_of, as_of_line, side};
use crate::Verdict;

/// The most pages that are asked for: more would be a reader that never ends.
const PAGES_MAX: usize = 1_000;

/// Arguments of `proctor positions`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Whose positions; of all traders when absent.
    #[arg(long, value_name = "ADDRESS")]
    trader: Option<String>,
    /// Of this pair only.
    #[arg(long)]
    pair: Option<String>,
    /// Closed positions too.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) fn run(args: &Args) -> Result<Verdict> {
    let state = if args.all { PositionState::Unspecified } else { PositionState::Open };
    args.remote.run(|node| async move {
        let mut page_token = String::new();
        for _ in 0..PAGES_MAX {
            let request = ListPositionsRequest {
                trader: args.trader.clone(),
                state: state.into(),
                pair: args.pair.clone(),
                page_size: 0,
                page_token,
            };
            let page = node.client.positions(request).await?;
            for position in &page.positions {
                if args.remote.json {
                    say!("{}", to_json(position, &as_of(page.as_of)));
                } else {
                    say!("{}", line(position));
                }
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                if !args.remote.json {
                    say!("{}", as_of_line(page.as_of));
                }
                return Ok(Verdict::Good);
            }
        }
        anyhow::bail!("there are more than {PAGES_MAX} pages: ask for one trader")
    })
}

fn to_json(position: &Position, as_of: &Value) -> Value {
    json!({
        "as_of": as_of,
        "trader": position.trader,
        "position_id": position.position_id,
        "pair": position.pair,
        "side": side(position.side),
        "open": position.open,
        "opened_ms": position.opened_ms,
        "closed_ms": position.closed_ms,
        "net_leverage": position.net_leverage,
        "net_quantity": position.net_quantity,
        "net_value": position.net_value,
        "average_entry_price": position.average_entry_price,
        "return_before_fees": position.return_before_fees,
        "return_after_fees": position.return_after_fees,
        "realized_pnl_usd": position.realized_pnl_usd,
        "unrealized_pnl_usd": position.unrealized_pnl_usd,
        "account_size_usd": position.account_size_usd,
        "order_count": position.order_count,
    })
}

fn line(position: &Position) -> String {
    format!(
        "{}  {}  {:<5} {:>9.4}  entry {}  return {:.6}  pnl {:.2} USD  {} orders  {}",
        position.trader,
        position.pair,
        side(position.side),
        position.net_leverage,
        position.average_entry_price,
        position.return_after_fees,
        position.realized_pnl_usd + position.unrealized_pnl_usd,
        position.order_count,
        match position.closed_ms {
            Some(closed) => format!("closed {}", proctor_types::UtcMs(closed)),
            None => format!("open since {}", proctor_types::UtcMs(position.opened_ms)),
        },
    )
}
