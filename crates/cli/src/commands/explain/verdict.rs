//! The verdict, or how far it is, with the arithmetic written out.

use proctor_node::explain::{
    DecidedBy, FallStory, OpenValue, PairValue, PriceUsed, Standing, Story, UndoneVerdict,
    Valuation, Verdict,
};
use proctor_node::report::{Align, Table, usd};

use crate::commands::text::{age, entry, plural, table, title, wrapped};

/// Adds the section on the end of the account.
pub(super) fn verdict(page: &mut String, story: &Story, verdict: &Verdict) {
    title(page, "VERDICT");
    body(page, verdict);
    if let Some(peak) = story.ledger.as_ref().and_then(|ledger| ledger.peak_valuation.as_ref())
        && verdict.fall.is_some()
    {
        valuation(page, "The value at the peak:", peak);
    }
    flats(page, verdict);
    let bar = format!(
        "every order after the verdict in commit {} is refused; so far {}{}",
        verdict.barred_from_commit,
        plural(verdict.orders_refused_since, "order was", "orders were"),
        first_barred(story),
    );
    entry(page, 2, "barred", &bar);
    collateral(page, verdict);
    if let Some(purged) = &verdict.purged {
        let text = format!(
            "commit {}, {}: the node keeps no positions and ledgers of it any more; this is told \
             from the log",
            purged.commit, purged.at.text
        );
        entry(page, 2, "purged", &text);
    }
}

/// Adds the verdicts that were taken back, each with who did it and why.
pub(super) fn undone(page: &mut String, undone: &[UndoneVerdict]) {
    for (number, past) in (1..).zip(undone) {
        title(page, &format!("VERDICT {number} of {}, TAKEN BACK", undone.len()));
        body(page, &past.verdict);
        collateral(page, &past.verdict);
        let why = past.why.as_ref().map_or_else(
            || "it is not on that validator's list any more".to_owned(),
            |why| format!("\"{why}\""),
        );
        let text = format!(
            "commit {}, {}, by {} {}: {why}",
            past.undone.commit, past.undone.at.text, past.by, past.name
        );
        entry(page, 2, "taken back", &text);
        let begins = match (past.epoch, past.reentry) {
            (None, _) => "the name is barred no more".to_owned(),
            (Some(epoch), Some("restored")) => {
                format!("epoch {epoch} of the account, in the stage of before")
            }
            (Some(epoch), _) => format!("epoch {epoch} of the account, with a new challenge"),
        };
        entry(page, 2, "begins", &begins);
    }
}

fn body(page: &mut String, verdict: &Verdict) {
    let at = &verdict.decided;
    entry(page, 2, "decided", &format!("commit {} at {}", at.commit, at.at.text));
    entry(page, 2, "reason", verdict.reason);
    let rule = format!("{} ({}): {}", verdict.rule, verdict.paragraph, verdict.rule_text);
    entry(page, 2, "rule", &rule);
    decided_by(page, &verdict.decided_by);
    if let Some(fall) = &verdict.fall {
        numbers(page, verdict, fall);
    }
    entry(page, 2, "decided on", &verdict.commit_inputs);
    prices(page, &verdict.prices);
    if let Some(fall) = &verdict.fall {
        valuation(page, "The value at the decision, to be redone by hand:", &fall.valuation);
    }
}

/// Says who decided, unless it was the rule: then everything it rests on is on the page.
fn decided_by(page: &mut String, by: &DecidedBy) {
    let (Some(name), Some(at)) = (&by.name, &by.stated_at) else { return };
    let grounds = match &by.why {
        Some(why) => format!("\"{why}\""),
        None => "its grounds are in its own log".to_owned(),
    };
    let text = format!("{} {name}, at {} by its own account: {grounds}", by.kind, at.text);
    entry(page, 2, "decided by", &text);
}

fn collateral(page: &mut String, verdict: &Verdict) {
    let Some(slash) = &verdict.slash else { return };
    let since = slash.since.as_ref().map_or_else(String::new, |place| {
        format!(" in commit {}, {}", place.commit, place.at.text)
    });
    let text = format!(
        "{:.2} % is forfeit (value / peak {} once flat): {}{since}",
        slash.proportion * 100.0,
        slash.drawdown,
        slash.state
    );
    entry(page, 2, "collateral", &text);
}

fn numbers(page: &mut String, verdict: &Verdict, fall: &FallStory) {
    let limit = format!(
        "{} of the peak, so the ratio {} (rulebook source {}); switch drawdown_limit = {}: exactly \
         the limit is {}",
        fall.limit,
        fall.limit_ratio,
        fall.limit_source,
        fall.limit_switch,
        if fall.limit_switch == "ratio" { "a breach" } else { "judged in rounded per cent" },
    );
    entry(page, 2, "limit", &limit);
    let at = &verdict.decided;
    let value = format!("{} at commit {}, {}", fall.value, at.commit, at.at.text);
    entry(page, 2, "value", &value);
    let commit = fall.peak.commit.map_or_else(String::new, |commit| format!("commit {commit}, "));
    entry(page, 2, "peak", &format!("{} at {commit}{}", fall.peak.value, fall.peak.at.text));
    let below = if fall.ratio <= fall.limit_ratio { "<=" } else { ">" };
    let ratio = format!(
        "{} / {} = {} {below} {}",
        fall.value, fall.peak.value, fall.ratio, fall.limit_ratio
    );
    entry(page, 2, "value / peak", &ratio);
    if verdict.reason == "LIQUIDATED" {
        let text = format!(
            "the portfolio is worth 0; the worst ratio of any sample before was {}",
            fall.worst_ratio
        );
        entry(page, 2, "", &text);
        return;
    }
    if fall.worst_ratio != fall.ratio {
        entry(page, 2, "worst ratio", &format!("{} in the retained cells", fall.worst_ratio));
    }
    let lost = format!(
        "{:.2} % of the peak, {} % are allowed",
        fall.drawdown_percent,
        limit_percent(fall.limit)
    );
    entry(page, 2, "lost", &lost);
}

fn limit_percent(fraction: f64) -> f64 {
    (fraction * 1e9).round() / 1e7
}

fn first_barred(story: &Story) -> String {
    let mut barred = story.orders.iter().filter(|order| {
        matches!(&order.outcome, proctor_node::explain::OrderOutcome::Refused { code, .. } if code == "eliminated")
    });
    let Some(first) = barred.next() else { return String::new() };
    let last = barred.next_back().unwrap_or(first);
    format!(", commits {} to {}", first.place.commit, last.place.commit)
}

/// Adds the table of the prices that open positions were valued at.
fn prices(page: &mut String, prices: &[PriceUsed]) {
    if prices.is_empty() {
        entry(page, 2, "prices used", "none: no position was open");
        return;
    }
    entry(page, 2, "prices used", "each open position is valued at the last price taken:");
    let mut rows = Table::new([
        ("pair", Align::Left),
        ("price", Align::Right),
        ("source", Align::Left),
        ("price of", Align::Left),
        ("age at the commit", Align::Right),
        ("agree", Align::Right),
        ("apart", Align::Right),
    ]);
    for price in prices {
        rows.row([
            price.pair.clone(),
            price.price.to_string(),
            price.source.clone().unwrap_or_else(|| "the position's own order".into()),
            price.at.text.clone(),
            age(price.age_ms),
            price.support.map_or_else(String::new, |s| format!("{} of {}", s.agreeing, s.sources)),
            price.support.map_or_else(String::new, |s| format!("{:.1} bps", s.spread_bps)),
        ]);
    }
    table(page, &rows);
}

fn flats(page: &mut String, verdict: &Verdict) {
    if verdict.flat_orders.is_empty() {
        entry(page, 2, "closed by the node", "nothing: no position was open");
        return;
    }
    let closed = format!(
        "in the same commit, {}",
        plural(verdict.flat_orders.len(), "position", "positions")
    );
    entry(page, 2, "closed by the node", &closed);
    let mut rows = Table::new([
        ("order", Align::Left),
        ("no.", Align::Right),
        ("pair", Align::Left),
        ("filled at", Align::Right),
        ("source", Align::Left),
        ("age", Align::Right),
    ]);
    for flat in &verdict.flat_orders {
        let source = flat.price_source.as_ref();
        rows.row([
            flat.id.clone(),
            flat.number.to_string(),
            flat.pair.clone(),
            if flat.price > 0.0 { flat.price.to_string() } else { "its last mark".into() },
            source.map_or_else(|| "-".into(), |source| source.source.clone()),
            source.map_or_else(|| "-".into(), |source| age(source.age_ms)),
        ]);
    }
    table(page, &rows);
    if let Some(value) = verdict.value_after_flat {
        entry(page, 2, "value after that", &value.to_string());
    }
}

/// Adds the section on the distance of a living account to its end.
pub(super) fn standing(page: &mut String, standing: &Standing, size_usd: f64) {
    title(page, "STANDING");
    let value = format!(
        "{}, {} USD of an account of {}",
        standing.value,
        usd(standing.value * size_usd),
        usd(size_usd)
    );
    entry(page, 2, "value now", &value);
    entry(page, 2, "peak", &standing.peak.to_string());
    let drawdown = format!(
        "{} / {} = {}: {:.4} % below the peak",
        standing.value, standing.peak, standing.ratio, standing.drawdown_percent
    );
    entry(page, 2, "value / peak", &drawdown);
    let limit = format!(
        "value / peak of {} or less: {} x {} = {}",
        standing.limit_ratio, standing.peak, standing.limit_ratio, standing.limit_value
    );
    entry(page, 2, "the account ends at", &limit);
    let distance = format!(
        "{:.4} % of the present value, {} USD of the account size",
        standing.distance_percent,
        usd(standing.distance_usd)
    );
    entry(page, 2, "distance to that", &distance);
    if let Some(since) = &standing.frozen_since {
        let text = format!(
            "since commit {}, {}: a verdict waits for a price to be confirmed (see NOTES)",
            since.commit, since.at.text
        );
        entry(page, 2, "frozen", &text);
    }
    breach_prices(page, standing);
    price_quality(page, standing);
    valuation(page, "The value at the last prices:", &standing.valuation);
}

fn breach_prices(page: &mut String, standing: &Standing) {
    if standing.breach_prices.is_empty() {
        return;
    }
    entry(page, 2, "breach prices", "where each price alone, all else as it is, ends the account:");
    let mut rows = Table::new([
        ("pair", Align::Left),
        ("price now", Align::Right),
        ("breach at", Align::Right),
        ("move", Align::Right),
    ]);
    for breach in &standing.breach_prices {
        rows.row([
            breach.pair.clone(),
            breach.price.to_string(),
            format!("{:.6}", breach.breach_price),
            format!("{:+.2} %", breach.move_percent),
        ]);
    }
    table(page, &rows);
}

fn price_quality(page: &mut String, standing: &Standing) {
    if standing.price_quality.is_empty() {
        return;
    }
    entry(page, 2, "price quality", "as of the end of the log:");
    let mut rows = Table::new([
        ("pair", Align::Left),
        ("fresh sources", Align::Right),
        ("agree", Align::Right),
        ("apart", Align::Right),
        ("age", Align::Right),
        ("flag", Align::Left),
    ]);
    for quality in &standing.price_quality {
        rows.row([
            quality.pair.clone(),
            quality.sources.to_string(),
            quality.agreeing.to_string(),
            format!("{:.1} bps", quality.spread_bps),
            quality.stale_ms.map_or_else(|| "never priced".into(), age),
            quality.flag.into(),
        ]);
    }
    table(page, &rows);
}

/// Adds the value of the portfolio, factor by factor.
fn valuation(page: &mut String, text: &str, valuation: &Valuation) {
    wrapped(page, "  ", text);
    for pair in &valuation.pairs {
        pair_value(page, pair);
    }
    let mut factors: Vec<String> =
        valuation.pairs.iter().map(|pair| pair.value.to_string()).collect();
    if factors.is_empty() {
        factors.push("1".into());
    }
    let product = match factors.as_slice() {
        [only] => only.clone(),
        _ => format!("{} = {}", factors.join(" x "), valuation.product),
    };
    entry(page, 4, "portfolio", &product);
    let against = if valuation.agrees {
        "equal to the ledger's value, to the last bit".to_owned()
    } else {
        let difference = valuation.product / valuation.ledger_value - 1.0;
        format!("the ledger's last sample says {} ({difference:+.2e})", valuation.ledger_value)
    };
    entry(page, 4, "", &against);
}

fn pair_value(page: &mut String, pair: &PairValue) {
    let closed = &pair.closed;
    match &pair.open {
        Some(open) => {
            open_value(page, &pair.pair, open);
            if closed.positions > 0 {
                let positions = usize::try_from(closed.positions).unwrap_or(usize::MAX);
                let text = format!(
                    "{} closed before, product of returns after fees {}; {} x {} = {}",
                    plural(positions, "position", "positions"),
                    closed.value,
                    closed.value,
                    open.return_after_fees,
                    pair.value
                );
                entry(page, 6, "worth", &text);
            }
        }
        None => {
            let positions = usize::try_from(closed.positions).unwrap_or(usize::MAX);
            let text = format!(
                "{}, product of returns after fees {}",
                plural(positions, "closed position", "closed positions"),
                closed.value
            );
            entry(page, 4, &pair.pair, &text);
        }
    }
}

fn open_value(page: &mut String, pair: &str, open: &OpenValue) {
    let head = format!(
        "open {}, position {}, {:+}x of an account of {} USD",
        open.side, open.position, open.net_leverage, open.account_size_usd
    );
    entry(page, 4, pair, &head);
    if let Some(price) = &open.price {
        let source = price.source.as_deref().unwrap_or("the position's own order");
        let text = format!("{} from {source}, {} old", price.price, age(price.age_ms));
        entry(page, 6, "price", &text);
        unrealized(page, open, price);
    }
    let at_least =
        if open.return_before_fees == 0.0 { ", not below 0: the account is lost:" } else { "" };
    let text = format!(
        "1 + ({} realized + {}) / {}{at_least} = {}",
        open.realized_pnl_usd,
        open.unrealized_pnl_usd,
        open.account_size_usd,
        open.return_before_fees
    );
    entry(page, 6, "before fees", &text);
    let text = format!(
        "{} x {} spread x {} carry = {}",
        open.return_before_fees, open.spread_fee, open.carry_fee, open.return_after_fees
    );
    entry(page, 6, "after fees", &text);
}

fn unrealized(page: &mut String, open: &OpenValue, price: &PriceUsed) {
    let units = open.net_quantity * open.lot_size;
    let gained = (price.price - open.average_entry_price) * units * open.quote_usd_rate;
    let text = if gained == open.unrealized_pnl_usd {
        format!(
            "({} - {}) x {} lots x {} units x {} USD = {} USD",
            price.price,
            open.average_entry_price,
            open.net_quantity,
            open.lot_size,
            open.quote_usd_rate,
            open.unrealized_pnl_usd
        )
    } else {
        // The product would not hold: the size and entry price of after the order are told.
        format!(
            "{} USD: an order values what was held before it, without its own slippage (trading 3.7)",
            open.unrealized_pnl_usd
        )
    };
    entry(page, 6, "unrealized", &text);
}
