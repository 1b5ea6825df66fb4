//! The end of an account, with everything that it rests on.

use proctor_engine::Input;
use proctor_engine::account::Account;
use proctor_engine::eliminations::{Elimination, Origin, Reason, Slash, SlashState};
use proctor_engine::input::Extract;
use proctor_engine::ledgers::drawdown;
use proctor_engine::prices::Prices;
use proctor_engine::rulebook::{DrawdownLimit, Rulebook};
use proctor_types::{PositionId, UtcMs};

use super::arithmetic;
use super::story::{
    DecidedBy, FallStory, Fill, FlatOrder, MarkPoint, OrderOutcome, OrderStory, PriceSupport,
    PriceUsed, SlashStory, Verdict, WindowPrice,
};

/// What a verdict is told from.
pub(super) struct Case<'a> {
    /// The engine's record.
    pub(super) record: &'a Elimination,
    /// The commit that decided.
    pub(super) commit: &'a Extract,
    /// The rules: the account's, or those in force where there is no account.
    pub(super) rules: &'a Rulebook,
    /// The account before the commit.
    pub(super) before: Option<&'a Account>,
    /// The account after it, unless the record only bars a name.
    pub(super) account: Option<&'a Account>,
    /// The orders so far.
    pub(super) orders: &'a [OrderStory],
    /// The prices as of the commit.
    pub(super) known: &'a Prices,
}

/// How much time before a verdict the window of prices covers.
const WINDOW_MS: i64 = 60_000;

/// Tells the verdict of `case`; `peak` is the ledger's peak as the log showed it.
pub(super) fn verdict(case: &Case<'_>, peak: MarkPoint) -> Verdict {
    let Case { record, rules, .. } = *case;
    let flats = flat_orders(case);
    let prices = prices_used(case, &flats);
    let fall = record.fall.zip(case.account).map(|(fall, account)| {
        let ended: Vec<PositionId> =
            flats.iter().filter_map(|flat| PositionId::new(&flat.position).ok()).collect();
        let value = fall.trough.value;
        let valuation = arithmetic::decided_value(
            rules,
            (case.before, account),
            record.stamp.at,
            (&prices, &ended),
            value,
        );
        let limit = &rules.elimination.drawdown_max;
        FallStory {
            limit: limit.value,
            limit_source: limit.source.clone(),
            limit_ratio: drawdown::ratio_at(limit.value),
            limit_switch: switch(rules.switches.drawdown_limit),
            peak,
            value,
            ratio: value / fall.peak.value,
            worst_ratio: fall.ratio(),
            drawdown_percent: drawdown::percent_reported(fall.ratio()),
            valuation,
        }
    });
    let portfolio = case.account.and_then(|account| account.ledgers.as_ref());
    Verdict {
        decided: record.stamp.into(),
        reason: record.reason.code(),
        rule: record.reason.rule(),
        paragraph: paragraph(record.reason),
        rule_text: rule_text(record.reason, rules),
        decided_by: decided_by(record),
        dd: record.drawdown.legacy(record.reason),
        commit_inputs: inputs(case.commit),
        prices,
        price_window: price_window(case),
        flat_orders: flats,
        value_after_flat: portfolio
            .filter(|_| fall.as_ref().is_none_or(|fall| fall.value > 0.0))
            .map(|ledgers| ledgers.portfolio().value()),
        fall,
        barred_from_commit: record.stamp.commit,
        orders_refused_since: 0,
        slash: record.slash.as_ref().map(slash_story),
        purged: None,
    }
}

/// Returns `record` in a few words.
pub(super) fn in_short(record: &Elimination) -> String {
    let decided = decided_by(record);
    let name = decided.name.map_or_else(String::new, |name| format!(" {name}"));
    format!("{} by {}{name} in commit {}", record.reason, decided.kind, record.stamp.commit)
}

fn decided_by(record: &Elimination) -> DecidedBy {
    match &record.origin {
        Origin::Rule => DecidedBy { kind: "rule", name: None, why: None, stated_at: None },
        Origin::Published => {
            DecidedBy { kind: "published reason", name: None, why: None, stated_at: None }
        }
        Origin::Operator { by, why, stated_at } => DecidedBy {
            kind: "operator",
            name: Some(by.to_string()),
            why: Some(why.to_string()),
            stated_at: Some((*stated_at).into()),
        },
        Origin::Synced { source, stated_at, .. } => DecidedBy {
            kind: "validator",
            name: Some(source.to_string()),
            why: None,
            stated_at: Some((*stated_at).into()),
        },
    }
}

fn slash_story(slash: &Slash) -> SlashStory {
    let (state, since) = match slash.state {
        SlashState::Intended => ("intended", None),
        SlashState::Settled(stamp) => ("settled", Some(stamp.into())),
        SlashState::Withdrawn(stamp) => ("withdrawn", Some(stamp.into())),
    };
    SlashStory { drawdown: slash.drawdown, proportion: slash.proportion, state, since }
}

/// Returns the paragraph of the specification that states the rule.
fn paragraph(reason: Reason) -> &'static str {
    match reason {
        Reason::MaxTotalDrawdown | Reason::Liquidated => "trading 8.9",
        Reason::Zombie => "services 1.10",
        Reason::Plagiarism => "services 2.6",
        Reason::FailedChallengePeriodTime | Reason::FailedChallengePeriodDrawdown => "services 2.5",
    }
}

/// Returns the name of the switch's setting in a rulebook.
pub(super) fn switch(limit: DrawdownLimit) -> &'static str {
    match limit {
        DrawdownLimit::Ratio => "ratio",
        DrawdownLimit::Percent => "percent",
    }
}

fn rule_text(reason: Reason, rules: &Rulebook) -> String {
    let fraction = rules.elimination.drawdown_max.value;
    match (reason, rules.switches.drawdown_limit) {
        (Reason::Liquidated, _) => "an account ends when its portfolio is worth nothing".to_owned(),
        (
            Reason::MaxTotalDrawdown | Reason::FailedChallengePeriodDrawdown,
            DrawdownLimit::Ratio,
        ) => format!(
            "an account ends when its portfolio's value / peak is {} or less",
            drawdown::ratio_at(fraction)
        ),
        (
            Reason::MaxTotalDrawdown | Reason::FailedChallengePeriodDrawdown,
            DrawdownLimit::Percent,
        ) => format!(
            "an account ends when (1 - value / peak) x 100 of its portfolio is {} or more",
            (fraction * 1e9).round() / 1e7
        ),
        (Reason::Zombie, _) => format!(
            "an account ends when its trader was missing from {} believed rosters in a row",
            rules.elimination.zombie_absent_rosters.value
        ),
        (Reason::Plagiarism, _) => {
            "an account ends when a review has found that its orders were copied".to_owned()
        }
        (Reason::FailedChallengePeriodTime, _) => {
            "an account ends when it was not promoted in time".to_owned()
        }
    }
}

/// Returns what the commit holds, counted.
fn inputs(commit: &Extract) -> String {
    let (mut orders, mut batches, mut records, mut ticks, mut other) = (0, 0, 0, 0, 0);
    for placed in &commit.inputs {
        match &placed.input {
            Input::Order(_) | Input::RecordedOrder(..) | Input::SignedOrder(_) => orders += 1,
            Input::Prices(quotes) => {
                batches += 1;
                records += quotes.len();
            }
            Input::Tick => ticks += 1,
            Input::Roster(_)
            | Input::AccountSize(..)
            | Input::AssetClass(..)
            | Input::Rulebook(_)
            | Input::Plagiarism(_)
            | Input::Stages(_)
            | Input::Reasons(_)
            | Input::Reinstate(_)
            | Input::SlashSettled(..)
            | Input::Eliminations(_)
            | Input::SyncEliminations(_)
            | Input::CorrectPrice(_) => {
                other += 1;
            }
        }
    }
    let counted = |count: usize, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {many}")),
    };
    let prices = counted(batches, "price batch", "price batches")
        .zip(counted(records, "record", "records"))
        .map(|(batches, records)| format!("{batches} of {records}"));
    let parts = [
        prices,
        counted(orders, "order", "orders"),
        counted(ticks, "tick", "ticks"),
        counted(other, "other input", "other inputs"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Returns the orders by which the node closed what was open, in this commit.
fn flat_orders(case: &Case<'_>) -> Vec<FlatOrder> {
    let here = case.orders.iter().filter(|order| order.place.commit == case.commit.index);
    here.filter_map(|order| match &order.outcome {
        OrderOutcome::Filled(fill) if fill.cause.starts_with("elimination_flat") => {
            Some(flat_order(order, fill))
        }
        OrderOutcome::Filled(_)
        | OrderOutcome::Refused { .. }
        | OrderOutcome::NothingToClose
        | OrderOutcome::Resting(_)
        | OrderOutcome::Cancelled { .. } => None,
    })
    .collect()
}

fn flat_order(order: &OrderStory, fill: &Fill) -> FlatOrder {
    FlatOrder {
        id: order.id.clone(),
        pair: order.pair.clone(),
        position: fill.position.clone(),
        number: order.number,
        price: fill.price,
        price_source: fill.price_source.clone(),
    }
}

/// Returns what every source said of the record's pairs in the minute up to the verdict.
fn price_window(case: &Case<'_>) -> Vec<WindowPrice> {
    let from = case.record.stamp.at.0 - WINDOW_MS;
    let mut window = Vec::new();
    for used in &case.record.prices {
        for (source, records) in case.known.recent(used.pair) {
            window.extend(records.filter(|record| record.at.0 >= from).map(|record| WindowPrice {
                pair: used.pair.to_string(),
                source: source.to_string(),
                at: record.at.into(),
                taken_at: record.taken_at.into(),
                price: record.price.get(),
                bid: record.bid.map(Into::into),
                ask: record.ask.map(Into::into),
            }));
        }
    }
    window
}

/// Returns the prices of the record, and those of positions that were liquidated: they closed
/// before the record was made, at the very price that liquidated them.
fn prices_used(case: &Case<'_>, flats: &[FlatOrder]) -> Vec<PriceUsed> {
    let at = case.record.stamp.at;
    let used = |pair: String, price: f64, source: Option<String>, of: UtcMs| PriceUsed {
        pair,
        price,
        source,
        at: of.into(),
        age_ms: at.since(of).0,
        support: None,
    };
    let mut prices: Vec<PriceUsed> = case
        .record
        .prices
        .iter()
        .map(|price| {
            let source = price.source.as_ref().map(ToString::to_string);
            let support = PriceSupport {
                sources: price.sources,
                agreeing: price.agreeing,
                spread_bps: price.spread_bps,
            };
            let pair = price.pair.to_string();
            PriceUsed { support: Some(support), ..used(pair, price.price.get(), source, price.at) }
        })
        .collect();
    for flat in flats {
        if flat.price > 0.0 && !prices.iter().any(|price| price.pair == flat.pair) {
            let source = flat.price_source.as_ref();
            let of = source.map_or(at, |source| UtcMs(source.at.ms));
            let name = source.map(|source| source.source.clone());
            prices.push(used(flat.pair.clone(), flat.price, name, of));
        }
    }
    prices
}
