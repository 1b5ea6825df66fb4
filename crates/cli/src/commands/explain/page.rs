//! The whole page: account, verdict or standing, scoring, ledger, positions, orders.

use std::collections::BTreeMap;

use proctor_node::explain::{Fill, Ledger, OrderOutcome, OrderStory, SamplePoint, Story, Waiting};
use proctor_node::report::{Align, Table, count, usd};

use super::{scoring, verdict};
use crate::commands::text::{age, clock, cut, date, entry, plural, table, title, wrapped};

/// How many new lows are shown: the way down matters, its every step does not.
const LOWS_SHOWN: usize = 6;

/// Returns the page of `story`; lists show at most `last` rows.
pub(super) fn page(story: &Story, last: Option<usize>) -> String {
    let mut page = String::new();
    head(&mut page, story);
    account(&mut page, story);
    if let Some(verdict) = &story.verdict {
        verdict::verdict(&mut page, story, verdict);
    }
    verdict::undone(&mut page, &story.undone);
    stages(&mut page, story);
    if let Some(standing) = &story.standing {
        verdict::standing(&mut page, standing, story.account.size_usd);
    }
    if let Some(scoring) = &story.scoring {
        scoring::scoring(&mut page, scoring);
    }
    if let Some(ledger) = &story.ledger {
        ledger_section(&mut page, ledger, story.verdict.is_some(), last);
    }
    positions(&mut page, story, last);
    orders(&mut page, story, last);
    if !story.notes.is_empty() {
        title(&mut page, "NOTES");
        for note in &story.notes {
            let first = format!("  commit {} {}  ", note.place.commit, note.place.at.text);
            wrapped(&mut page, &first, &note.text);
        }
    }
    page
}

fn head(page: &mut String, story: &Story) {
    let end = match (&story.verdict, &story.account.departed) {
        (Some(verdict), _) => format!("ELIMINATED, {} ({})", verdict.reason, verdict.rule),
        (None, Some(place)) => format!("departed at commit {}, {}", place.commit, place.at.text),
        (None, None) => "active".to_owned(),
    };
    wrapped(page, "", &format!("Trader {}: {end}", story.trader));
    let as_of = format!(
        "as of commit {}, {}, state digest {}",
        story.as_of.place.commit,
        story.as_of.place.at.text,
        story.as_of.digest.get(..16).unwrap_or(&story.as_of.digest),
    );
    wrapped(page, "", &as_of);
    wrapped(page, "", &format!("log head {}", story.as_of.head));
}

fn account(page: &mut String, story: &Story) {
    let account = &story.account;
    title(page, "ACCOUNT");
    let enrolled = &account.enrolled;
    entry(page, 2, "enrolled", &format!("commit {} at {}", enrolled.commit, enrolled.at.text));
    let book = &account.rulebook;
    let adopted = book
        .adopted
        .as_ref()
        .map_or_else(String::new, |place| format!(", adopted in commit {}", place.commit));
    let text = format!("{} version {}{adopted}, hash {}", book.name, book.version, book.hash);
    entry(page, 2, "rulebook", &text);
    let class = account.asset_class.as_deref().unwrap_or("not chosen");
    let chosen = account
        .asset_class_chosen
        .as_ref()
        .map_or_else(String::new, |place| format!(", chosen in commit {}", place.commit));
    entry(page, 2, "asset class", &format!("{class}{chosen}"));
    for size in &account.sizes {
        let text = format!(
            "{} USD from {} on, recorded in commit {}",
            usd(size.size_usd),
            size.valid_from.text,
            size.recorded.commit
        );
        entry(page, 2, "size", &text);
    }
    if account.sizes.is_empty() {
        let text = format!("none recorded: the rulebook's floor of {} USD", usd(account.size_usd));
        entry(page, 2, "size", &text);
    }
    let counts = &story.counts;
    let refused: usize = counts.refused.values().sum();
    let text = format!(
        "{} sent: {} filled, {} refused, {} with nothing to close; {} by the node",
        number(counts.sent),
        number(counts.filled),
        number(refused),
        number(counts.nothing_to_close),
        number(counts.by_node)
    );
    entry(page, 2, "orders", &text);
    let cancelled: usize = counts.cancelled.values().sum();
    if counts.rested > 0 || counts.filled_later > 0 || cancelled > 0 {
        let text = format!(
            "{} of them to wait for a price; of these and of brackets made by fills {} filled later, \
             {} cancelled",
            number(counts.rested),
            number(counts.filled_later),
            number(cancelled)
        );
        entry(page, 2, "waiting", &text);
    }
    for (title, codes) in [("refused as", &counts.refused), ("cancelled", &counts.cancelled)] {
        if !codes.is_empty() {
            let mut codes: Vec<_> = codes.iter().collect();
            codes.sort_by_key(|(code, count)| (usize::MAX - **count, (*code).clone()));
            let codes: Vec<String> =
                codes.iter().map(|(code, count)| format!("{code} {}", number(**count))).collect();
            entry(page, 2, title, &codes.join(", "));
        }
    }
}

/// Adds where the trader stands in the programme, and how that came about.
fn stages(page: &mut String, story: &Story) {
    title(page, "STAGES");
    if let Some(now) = &story.stage {
        let before = now.before.map_or_else(String::new, |stage| format!(", before it {stage}"));
        let text = format!("{} ({}) since {}{before}", now.stage, now.label, now.since.text);
        entry(page, 2, "stage", &text);
        let limit = match (&now.ends, now.ends_in_days) {
            (Some(ends), Some(days)) => format!("{}, in {days:.1} days", ends.text),
            _ => "none in this stage".to_owned(),
        };
        entry(page, 2, "time limit", &limit);
        let days = format!("{} of {}", now.complete_days, now.complete_days_min);
        entry(page, 2, "complete days", &format!("{days} that a promotion asks for"));
    } else {
        entry(page, 2, "stage", "none: the account has ended, or the trader has left");
    }
    for moved in &story.stages {
        let first = format!("  commit {} {}  ", moved.place.commit, moved.place.at.text);
        wrapped(page, &first, &moved.text);
    }
}

fn number(number: usize) -> String {
    count(u64::try_from(number).unwrap_or(u64::MAX))
}

fn ledger_section(page: &mut String, ledger: &Ledger, ended: bool, last: Option<usize>) {
    title(page, "LEDGER of the portfolio (1 = the account at its start)");
    let text = format!("{}, {} samples", ledger.begun.text, count(ledger.samples));
    entry(page, 2, "first order", &text);
    let commit =
        ledger.peak.commit.map_or_else(String::new, |commit| format!(" in commit {commit}"));
    entry(page, 2, "peak", &format!("{}{commit} at {}", ledger.peak.value, ledger.peak.at.text));
    if let Some(worst) = &ledger.worst {
        let text = format!(
            "{:.4} %: from {} at {} to {} at {}",
            worst.percent,
            worst.peak.value,
            worst.peak.at.text,
            worst.trough.value,
            worst.trough.at.text
        );
        entry(page, 2, "worst drawdown", &text);
    }
    if !ledger.lows.is_empty() {
        let shown = ledger.lows.len().min(LOWS_SHOWN);
        let text =
            format!("{} new lows since that peak, the last {shown}:", number(ledger.lows.len()));
        wrapped(page, "  ", &text);
        samples(page, &ledger.lows[ledger.lows.len() - shown..]);
    }
    let which = if ended { "the last samples, up to the verdict:" } else { "the last samples:" };
    wrapped(page, "  ", which);
    samples(page, &ledger.last_samples);
    cells(page, ledger, last);
}

fn samples(page: &mut String, samples: &[SamplePoint]) {
    let mut rows = Table::new([
        ("commit", Align::Right),
        ("time", Align::Left),
        ("value", Align::Left),
        ("value / peak", Align::Left),
        ("below peak", Align::Right),
    ]);
    for sample in samples {
        rows.row([
            sample.place.commit.to_string(),
            sample.place.at.text.clone(),
            sample.value.to_string(),
            sample.ratio.to_string(),
            format!("{:.4} %", (1.0 - sample.ratio) * 100.0),
        ]);
    }
    table(page, &rows);
}

fn cells(page: &mut String, ledger: &Ledger, last: Option<usize>) {
    if ledger.cells.is_empty() {
        return;
    }
    let shown = shown(ledger.cells.len(), last);
    wrapped(page, "  ", &format!("complete half-days{}:", earlier(ledger.cells.len() - shown)));
    let mut rows = Table::new([
        ("end", Align::Left),
        ("commit", Align::Right),
        ("value", Align::Right),
        ("peak", Align::Right),
        ("worst ratio", Align::Right),
        ("log return", Align::Right),
        ("realized, USD", Align::Right),
        ("updates", Align::Right),
    ]);
    for cell in &ledger.cells[ledger.cells.len() - shown..] {
        rows.row([
            cell.end.text.get(..16).unwrap_or(&cell.end.text).to_owned(),
            cell.commit.to_string(),
            format!("{:.8}", cell.value),
            format!("{:.8}", cell.peak),
            format!("{:.8}", cell.worst_ratio),
            format!("{:+.8}", cell.log_return),
            usd(cell.realized_pnl_usd),
            cell.updates.to_string(),
        ]);
    }
    table(page, &rows);
}

/// Returns how many of `all` rows are shown.
fn shown(all: usize, last: Option<usize>) -> usize {
    last.map_or(all, |last| last.min(all))
}

fn earlier(hidden: usize) -> String {
    if hidden == 0 {
        String::new()
    } else {
        format!(" ({} earlier ones are not shown)", number(hidden))
    }
}

fn positions(page: &mut String, story: &Story, last: Option<usize>) {
    if story.positions.is_empty() {
        return;
    }
    let all = story.positions.len();
    let shown = shown(all, last);
    title(page, &format!("POSITIONS, {}{}", number(all), earlier(all - shown)));
    let mut rows = Table::new([
        ("pair", Align::Left),
        ("side", Align::Left),
        ("opened", Align::Right),
        ("closed", Align::Right),
        ("orders", Align::Right),
        ("max x", Align::Right),
        ("entry price", Align::Right),
        ("PnL, USD", Align::Right),
        ("gross", Align::Right),
        ("net", Align::Right),
        ("by", Align::Left),
    ]);
    for position in &story.positions[all - shown..] {
        rows.row([
            position.pair.clone(),
            position.side.clone(),
            position.opened.commit.to_string(),
            position.closed.as_ref().map_or_else(|| "open".into(), |p| p.commit.to_string()),
            position.orders.to_string(),
            format!("{:.3}", position.max_leverage),
            significant(position.average_entry_price, 8),
            usd(position.realized_pnl_usd + position.unrealized_pnl_usd),
            format!("{:.6}", position.return_before_fees),
            format!("{:.6}", position.return_after_fees),
            closed_by(position.closed_by, position.liquidated).into(),
        ]);
    }
    table(page, &rows);
    wrapped(
        page,
        "  ",
        "opened and closed are commits; gross and net are returns before and after fees as ratios of the \
         account size, 1 is unchanged",
    );
}

fn closed_by(cause: Option<&str>, liquidated: bool) -> &'static str {
    match cause {
        None => "",
        Some("organic") => "order",
        Some(_) if liquidated => "liquidated",
        Some("max_orders_close") => "full",
        Some(cause) if cause.starts_with("elimination") => "verdict",
        Some(_) => "node",
    }
}

/// Returns `value` with about `digits` digits, without zeros at its end.
fn significant(value: f64, digits: usize) -> String {
    let whole = format!("{:.0}", value.abs()).len();
    let text = format!("{value:.*}", digits.saturating_sub(whole));
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn orders(page: &mut String, story: &Story, last: Option<usize>) {
    let all = story.orders.len();
    let shown = shown(all, last);
    title(page, &format!("ORDERS, {}{}", number(all), earlier(all - shown)));
    if all == 0 {
        wrapped(page, "  ", "none");
        return;
    }
    page.push_str(&format!(
        "  {:>4} {:>7} {:<12} {:<7} {:<5} {:>8} {:>13} {:>10} {:>11} {:>7}  {}\n",
        "no.",
        "commit",
        "time",
        "pair",
        "side",
        "x size",
        "USD",
        "lots",
        "price",
        "slip bp",
        "position"
    ));
    let mut day = "";
    for order in &story.orders[all - shown..] {
        let today = date(&order.place.at);
        if day != today {
            day = today;
            page.push_str(&format!("  {day}\n"));
        }
        order_line(page, order);
    }
    wrapped(
        page,
        "  ",
        "* the size was cut to the limits; node: the rules closed the position. The price is before \
         slippage; --json has every order's id, the size asked for, bid, ask, source and age of the price.",
    );
    wrapped(page, "  ", &format!("Priced by {}.", priced_by(story)));
}

/// Returns whose prices all fills had, and how old they were at most.
fn priced_by(story: &Story) -> String {
    let mut sources: BTreeMap<&str, (usize, i64)> = BTreeMap::new();
    for order in &story.orders {
        let OrderOutcome::Filled(fill) = &order.outcome else { continue };
        let (name, age) = match &fill.price_source {
            Some(source) => (source.source.as_str(), source.age_ms),
            None if fill.price_origin == "recorded" => ("the fill that came with the order", 0),
            None => ("the last mark, for want of a fresh price", 0),
        };
        let (count, oldest) = sources.entry(name).or_insert((0, age));
        (*count, *oldest) = (*count + 1, age.max(*oldest));
    }
    let told = sources.iter().map(|(name, (count, oldest))| {
        let fills = plural(*count, "fill", "fills");
        let is_source = !name.contains(' ');
        let at_most =
            if is_source { format!(", {} old at most", age(*oldest)) } else { String::new() };
        format!("{name}: {fills}{at_most}")
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() { "nobody, since nothing was filled".into() } else { told.join("; ") }
}

fn order_line(page: &mut String, order: &OrderStory) {
    let start = format!(
        "  {:>4} {:>7} {} {:<7} {:<5} ",
        order.number,
        order.place.commit,
        clock(&order.place.at),
        cut(&order.pair, 7),
        order.side
    );
    match &order.outcome {
        OrderOutcome::Filled(fill) => filled_line(page, &start, order, fill),
        // The verdict says when; that every later order is refused for it needs no sentence each.
        OrderOutcome::Refused { code, .. } if code == "eliminated" => {
            wrapped(page, &start, "refused, eliminated");
        }
        OrderOutcome::Refused { code, message } => {
            wrapped(page, &start, &format!("refused, {code}: {message}"));
        }
        OrderOutcome::NothingToClose => wrapped(page, &start, "accepted, nothing to close"),
        OrderOutcome::Resting(waiting) => wrapped(page, &start, &waiting_text(waiting)),
        OrderOutcome::Cancelled { code, message } => {
            wrapped(page, &start, &format!("cancelled, {code}: {message}"));
        }
    }
}

fn waiting_text(waiting: &Waiting) -> String {
    let mut text = format!("waits, {}", waiting.kind);
    for (name, price) in [
        ("at", waiting.limit_price),
        ("stop loss", waiting.stop_loss),
        ("take profit", waiting.take_profit),
    ] {
        if let Some(price) = price {
            text.push_str(&format!(" {name} {}", significant(price, 8)));
        }
    }
    if let Some(parent) = &waiting.parent {
        text.push_str(&format!(", made by {parent}"));
    }
    text
}

fn filled_line(page: &mut String, start: &str, order: &OrderStory, fill: &Fill) {
    let price = if fill.price == 0.0 { "none".into() } else { significant(fill.price, 8) };
    let clamped = if fill.clamped { "*" } else { "" };
    let node = if order.origin == "node" { ", node" } else { "" };
    page.push_str(&format!(
        "{start}{:>+8.4} {:>13} {:>10} {price:>11} {:>7.2}  {}{clamped}{node}\n",
        fill.leverage,
        usd(fill.value_usd),
        significant(fill.quantity, 7),
        fill.slippage * 1e4,
        fill.effect,
    ));
    if let Some(reached) = &fill.reached {
        let text = format!(
            "level {} reached by {} of {}",
            significant(reached.level, 8),
            significant(reached.market, 8),
            reached.source
        );
        wrapped(page, &" ".repeat(start.len()), &text);
    }
}
