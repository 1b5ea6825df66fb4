//! `proctor account`: one account of a running node.

use anyhow::{Context, Result};
use proctor_client::v1::Account;
use serde_json::{Value, json};

use super::remote::{Remote, as_of, as_of_line};
use crate::Verdict;

/// Arguments of `proctor account`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Whose account.
    #[arg(long, value_name = "ADDRESS")]
    trader: String,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) fn run(args: &Args) -> Result<Verdict> {
    let answer =
        args.remote.run(|node| async move { Ok(node.client.account(&args.trader).await?) })?;
    let account = answer.account.context("the node answered without the account")?;
    if args.remote.json {
        say!("{}", json!({ "as_of": as_of(answer.as_of), "account": to_json(&account) }));
    } else {
        super::print(&page(&account, &as_of_line(answer.as_of)));
    }
    Ok(Verdict::Good)
}

fn to_json(account: &Account) -> Value {
    json!({
        "trader": account.trader,
        "registered": account.registered,
        "enrolled_ms": account.enrolled_ms,
        "account_size_usd": account.account_size_usd,
        "asset_class": account.asset_class,
        "bucket": account.bucket,
        "bucket_since_ms": account.bucket_since_ms,
        "eliminated": account.eliminated,
        "value": account.value,
        "peak": account.peak,
        "drawdown": account.drawdown,
        "drawdown_worst": account.drawdown_worst,
        "drawdown_max": account.drawdown_max,
        "room": account.room,
        "portfolio_leverage": account.portfolio_leverage,
        "portfolio_leverage_cap": account.portfolio_leverage_cap,
        "open_positions": account.open_positions,
        "resting_orders": account.resting_orders,
        "time_limit_ms": account.time_limit_ms,
        "frozen": account.frozen,
    })
}

fn page(account: &Account, as_of: &str) -> String {
    let mut page = format!("{}\n", account.trader);
    let mut line = |name: &str, text: String| page.push_str(&format!("  {name:<20}{text}\n"));
    let percent = |fraction: f64| format!("{:.2} %", fraction * 100.0);
    let standing = match (&account.eliminated, &account.bucket) {
        (Some(reason), _) => format!("ended: {reason}"),
        (None, Some(bucket)) => bucket.clone(),
        (None, None) => "none".into(),
    };
    line("stage", standing);
    line("registered", if account.registered { "yes" } else { "no" }.into());
    let size = account.account_size_usd.map(|size| format!("{size:.2} USD"));
    line("account size", size.unwrap_or_else(|| "not known".into()));
    line("asset class", account.asset_class.clone().unwrap_or_else(|| "not chosen".into()));
    if let (Some(value), Some(peak)) = (account.value, account.peak) {
        line("value", format!("{value:.6} (peak {peak:.6})"));
    }
    if let Some(drawdown) = account.drawdown {
        let limit = account.drawdown_max.map(|max| format!(" of at most {}", percent(max)));
        line("drawdown", format!("{}{}", percent(drawdown), limit.unwrap_or_default()));
    }
    if let Some(room) = account.room {
        line("to a breach", format!("{} of the present value", percent(room)));
    }
    line(
        "leverage",
        format!("{:.4} of at most {}", account.portfolio_leverage, account.portfolio_leverage_cap),
    );
    line("open positions", account.open_positions.to_string());
    line("resting orders", account.resting_orders.to_string());
    if let Some(limit) = account.time_limit_ms {
        line("time limit", proctor_types::UtcMs(limit).to_string());
    }
    if account.frozen {
        line("frozen", "a verdict waits for a price: only reducing orders are accepted".into());
    }
    page.push_str(&format!("  {as_of}\n"));
    page
}
