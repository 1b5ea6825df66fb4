//! The page: the answer, what was altered, the verdicts, the accounts, one trader's differences.

use proctor_node::report::summary::EliminationLine;
use proctor_node::report::{Align, Table, count};
use proctor_node::whatif::{Change, Detail, Difference, OrderCounts, Report, Side, TraderChange};

use crate::commands::text::{cut, entry, plural, table, title, wrapped};

/// How many rows the tables of verdicts and accounts show; JSON has all of them.
const ROWS_SHOWN: usize = 25;
/// Widest name of a trader in a table.
const NAME_WIDTH: usize = 16;
/// Widest text of an order's or a rulebook's change.
const CHANGE_WIDTH: usize = 44;

/// Returns the page of `report`.
pub(super) fn page(report: &Report) -> String {
    let mut page = String::new();
    wrapped(&mut page, "", &format!("{}.", report.summary));
    altered(&mut page, report);
    if !report.is_same() {
        verdicts(&mut page, report);
        accounts(&mut page, report);
        events(&mut page, report);
    }
    if let Some(detail) = &report.detail {
        trader(&mut page, detail);
    }
    page.push('\n');
    let as_of = format!(
        "commit {} ({}); digest recorded {}, altered {}",
        report.as_of.commit,
        report.as_of.at.text,
        short(&report.digests[0]),
        short(&report.digests[1])
    );
    entry(&mut page, 0, "as of", &as_of);
    page
}

fn altered(page: &mut String, report: &Report) {
    title(page, "ALTERED");
    let mut rows = Table::new([
        ("commit", Align::Right),
        ("time", Align::Left),
        ("what", Align::Left),
        ("recorded", Align::Left),
        ("altered", Align::Left),
    ]);
    for Change { place, what, recorded, altered, .. } in &report.changes {
        let [what, recorded, altered] =
            [what, recorded, altered].map(|text| cut(text, CHANGE_WIDTH));
        rows.row([place.commit.to_string(), place.at.text.clone(), what, recorded, altered]);
    }
    table(page, &rows);
}

fn verdicts(page: &mut String, report: &Report) {
    let [recorded, altered] = report.eliminated;
    title(page, &format!("VERDICTS, {recorded} recorded, {altered} altered"));
    if report.eliminations.is_empty() {
        wrapped(page, "  ", "every verdict is the same: account, reason and commit");
        return;
    }
    let mut rows = Table::new([
        ("trader", Align::Left),
        ("recorded", Align::Left),
        ("lost", Align::Right),
        ("altered", Align::Left),
        ("lost", Align::Right),
    ]);
    for change in report.eliminations.iter().take(ROWS_SHOWN) {
        let [(before, lost_before), (after, lost_after)] =
            [&change.recorded, &change.altered].map(|line| verdict(line.as_ref()));
        rows.row([cut(change.trader.as_str(), NAME_WIDTH), before, lost_before, after, lost_after]);
    }
    table(page, &rows);
    more(page, report.eliminations.len());
}

/// Returns a verdict and what was lost.
fn verdict(line: Option<&EliminationLine>) -> (String, String) {
    match line {
        Some(line) => (
            format!("{} in commit {}", line.reason, line.commit),
            line.drawdown_percent.map_or_else(String::new, |lost| format!("{lost:.2} %")),
        ),
        None => ("goes on".into(), String::new()),
    }
}

fn accounts(page: &mut String, report: &Report) {
    let (differ, all) = (report.traders.len(), report.accounts);
    title(page, &format!("ACCOUNTS, {differ} of {all} end up different"));
    if report.traders.is_empty() {
        return;
    }
    wrapped(
        page,
        "  ",
        "each pair of columns is recorded | altered; distance: what may still be lost",
    );
    let mut rows = Table::new([
        ("trader", Align::Left),
        ("return", Align::Right),
        ("|", Align::Right),
        ("drawdown", Align::Right),
        ("|", Align::Right),
        ("distance", Align::Right),
        ("|", Align::Right),
        ("first difference", Align::Left),
    ]);
    for account in report.traders.iter().take(ROWS_SHOWN) {
        let [a, b] = [&account.recorded, &account.altered].map(|side| numbers(side.as_ref()));
        let ([r1, d1, x1], [r2, d2, x2]) = (a, b);
        let first = account.first.as_ref().map_or_else(
            || "no event differs".into(),
            |first| format!("commit {}, {}", first.place.commit, first.kind),
        );
        rows.row([cut(account.trader.as_str(), NAME_WIDTH), r1, r2, d1, d2, x1, x2, first]);
    }
    table(page, &rows);
    more(page, report.traders.len());
}

/// Returns return, drawdown and distance to the limit.
fn numbers(side: Option<&Side>) -> [String; 3] {
    let Some(side) = side else { return ["no account".into(), String::new(), String::new()] };
    let distance = match (side.distance_percent, side.status) {
        (Some(distance), _) => format!("{distance:.2} %"),
        (None, "eliminated") => "ended".into(),
        (None, _) => "-".into(),
    };
    [format!("{:+.2} %", side.return_percent), format!("{:.2} %", side.drawdown_percent), distance]
}

fn events(page: &mut String, report: &Report) {
    let commits = plural(
        usize::try_from(report.commits_differing).unwrap_or(usize::MAX),
        "commit",
        "commits",
    );
    title(page, &format!("EVENTS that differ, in {commits}"));
    if report.events.is_empty() {
        wrapped(page, "  ", "none");
        return;
    }
    let mut rows = Table::new([
        ("event", Align::Left),
        ("only recorded", Align::Right),
        ("only altered", Align::Right),
        ("changed", Align::Right),
    ]);
    for kind in &report.events {
        let numbers = [kind.recorded_only, kind.altered_only, kind.changed].map(count);
        let [recorded, altered, changed] = numbers;
        rows.row([kind.kind.clone(), recorded, altered, changed]);
    }
    table(page, &rows);
    orders(page, &report.orders);
    if let Some(first) = &report.first {
        entry(
            page,
            2,
            "the first",
            &format!("commit {}, {}", first.place.commit, first.place.at.text),
        );
        difference(page, first);
    }
}

fn orders(page: &mut String, orders: &OrderCounts) {
    let groups = [
        ("now refused", &orders.now_refused),
        ("now accepted", &orders.now_accepted),
        ("refused otherwise", &orders.refused_otherwise),
    ];
    for (label, codes) in groups {
        if !codes.is_empty() {
            let codes: Vec<String> =
                codes.iter().map(|(code, number)| format!("{code} {}", count(*number))).collect();
            entry(page, 2, label, &codes.join(", "));
        }
    }
}

fn trader(page: &mut String, detail: &Detail) {
    let TraderChange { trader, recorded, altered, .. } = &detail.account;
    title(page, &format!("TRADER {trader}"));
    let mut rows =
        Table::new([("", Align::Left), ("recorded", Align::Right), ("altered", Align::Right)]);
    let [before, after] = [recorded, altered].map(|side| facts(side.as_ref()));
    for ((label, recorded), (_, altered)) in before.into_iter().zip(after) {
        rows.row([label.into(), recorded, altered]);
    }
    table(page, &rows);
    let shown = detail.shown.len();
    let differences = usize::try_from(detail.differences).unwrap_or(usize::MAX);
    let text = match differences {
        0 => "no event of this account differs".to_owned(),
        all if all == shown => {
            format!("{} of this account:", plural(all, "difference", "differences"))
        }
        all => format!("the first {shown} of {all} differences of this account:"),
    };
    wrapped(page, "  ", &text);
    for shown in &detail.shown {
        entry(page, 2, &format!("commit {}", shown.place.commit), &shown.place.at.text);
        difference(page, shown);
    }
}

/// Returns what an account comes to, labelled.
fn facts(side: Option<&Side>) -> [(&'static str, String); 9] {
    let of = |tell: fn(&Side) -> String| side.map_or_else(|| "no account".into(), tell);
    [
        ("status", of(|side| side.status.into())),
        ("verdict", of(|side| verdict(side.elimination.as_ref()).0)),
        ("value", of(|side| side.value.to_string())),
        ("return", of(|side| numbers(Some(side))[0].clone())),
        ("worst drawdown", of(|side| numbers(Some(side))[1].clone())),
        ("distance to the limit", of(|side| numbers(Some(side))[2].clone())),
        ("realised, USD", of(|side| proctor_node::report::usd(side.realized_pnl_usd))),
        ("orders accepted, refused", of(|side| format!("{}, {}", side.accepted, side.refused))),
        ("positions open", of(|side| side.open.to_string())),
    ]
}

fn difference(page: &mut String, difference: &Difference) {
    let side = |text: &Option<String>| text.clone().unwrap_or_else(|| "nothing".into());
    entry(page, 4, "recorded", &side(&difference.recorded));
    entry(page, 4, "altered", &side(&difference.altered));
}

fn more(page: &mut String, all: usize) {
    if all > ROWS_SHOWN {
        let text = format!("and {} more; --json tells them all", all - ROWS_SHOWN);
        wrapped(page, "    ", &text);
    }
}

fn short(digest: &str) -> &str {
    digest.get(..8).unwrap_or(digest)
}
