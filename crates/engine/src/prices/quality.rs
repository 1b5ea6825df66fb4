//! Whether a price may be believed: quorum, disagreement and spikes.
//!
//! Sources are compared with each other and with the last believed price of the pair. A price that
//! a quorum of sources agrees on is believed wherever it is. A price that fewer tell is believed
//! while it is not far from the last believed one; further away it is a *claim*, which values and
//! fills nothing until a second source agrees or until it has been repeated for long enough.
//! docs/prices.md tells why. Sources: trading 7, users-and-clients 6.1.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{AssetClass, Price, Quote, UtcMs};

use super::mark_price;
use crate::rulebook::{Constant, PriceRules, RulebookError, at_least, field, positive, unit};

/// Distances are reported up to here: a price may be absurd, what is said of it must be a number.
const BPS_MAX: f64 = 1e9;

/// What the fresh records of a pair are worth at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality<'a> {
    /// Sources with a fresh record.
    pub sources: u32,
    /// Of these, how many agree with the price that is believed or claimed, its own included.
    pub agreeing: u32,
    /// Distance of the highest from the lowest of their prices, basis points of the lowest.
    pub spread_bps: f64,
    /// How it stands.
    pub verdict: Verdict,
    /// The record that is believed.
    pub quote: Option<&'a Quote>,
    /// The record that is claimed and not believed.
    pub claimed: Option<&'a Quote>,
}

/// How the price of a pair stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// A quorum agrees, and it is the majority of the fresh sources.
    Solid,
    /// Fewer sources than the quorum, near the last believed price.
    Single,
    /// Sources disagree and no majority does not; the one that is believed is near the last
    /// believed price.
    Disagreement {
        /// How far apart they are.
        bps: f64,
    },
    /// No quorum, and too far from the last believed price to be believed.
    Spike {
        /// How far.
        bps: f64,
    },
    /// No source has a fresh record.
    Stale,
}

impl Verdict {
    /// Returns the stable name for reports.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Solid => "solid",
            Self::Single => "single_source",
            Self::Disagreement { .. } => "disagreement",
            Self::Spike { .. } => "spike",
            Self::Stale => "stale",
        }
    }
}

impl Quality<'_> {
    /// The quality of a pair that no source speaks of.
    pub(super) fn stale() -> Self {
        let verdict = Verdict::Stale;
        Self { sources: 0, agreeing: 0, spread_bps: 0.0, verdict, quote: None, claimed: None }
    }
}

/// The last believed price of a pair.
#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Believed {
    /// Quote currency per unit of base.
    pub price: Price,
    /// The commit's time that believed it.
    pub at: UtcMs,
}

/// A price that waits to be believed.
#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub(super) struct Claim {
    /// When it was first told.
    since: UtcMs,
    /// When it was told last.
    last: UtcMs,
    /// What was told last.
    price: Price,
}

impl Claim {
    /// Returns the claim after `price` was told: the one before goes on while prices stay near it.
    pub(super) fn again(
        rules: &PriceRules,
        class: AssetClass,
        before: Option<Self>,
        price: Price,
        at: UtcMs,
    ) -> Self {
        let near = |claim: &Self| distance_bps(price, claim.price) < spike_bps(rules, class);
        let since = before.filter(near).map_or(at, |claim| claim.since);
        Self { since, last: at, price }
    }

    /// Tells whether it was repeated for long enough to be believed of one source.
    pub(super) fn has_lasted(self, rules: &PriceRules, at: UtcMs) -> bool {
        at.since(self.since) >= rules.freeze_max.value
    }

    /// Tells whether it was not repeated for so long that nobody stands by it.
    pub(super) fn has_expired(self, rules: &PriceRules, at: UtcMs) -> bool {
        at.since(self.last) >= rules.freeze_max.value
    }
}

/// Judges the `fresh` records of a pair of `class`, which come sorted by source.
pub(super) fn judge<'a>(
    rules: &PriceRules,
    class: AssetClass,
    mut fresh: impl Iterator<Item = &'a Quote>,
    believed: Option<Believed>,
    at: UtcMs,
) -> Quality<'a> {
    let Some(first) = fresh.next() else { return Quality::stale() };
    let Some(second) = fresh.next() else {
        return alone(rules, class, first, believed, at);
    };
    let mut records: Vec<&Quote> = [first, second].into_iter().chain(fresh).collect();
    // Stable, so that equal prices stay sorted by source.
    records.sort_by(|a, b| mark_price(a).get().total_cmp(&mark_price(b).get()));
    let median = median(&records, at);
    let near = agreement_bps(rules, class);
    let agrees =
        |with: &Quote, quote: &Quote| distance_bps(mark_price(quote), mark_price(with)) <= near;
    let count = |with: &Quote| records.iter().filter(|quote| agrees(with, quote)).count();
    let sources = number(records.len());
    let spread_bps = distance_bps(mark_price(records[records.len() - 1]), mark_price(records[0]));
    let base = Quality { sources, spread_bps, ..Quality::stale() };
    let majority = number(count(median));
    if majority >= rules.quorum.value && majority * 2 > sources {
        let agreeing = records.iter().filter(|quote| agrees(median, quote));
        let quote = agreeing.copied().min_by_key(|quote| (quote.distance(at), &quote.source));
        return Quality { agreeing: majority, verdict: Verdict::Solid, quote, ..base };
    }
    // Of three and more the middle one; of two the one that continues what was believed.
    let chosen = match believed {
        Some(believed) if records.len() == 2 => {
            let away = |quote: &Quote| distance_bps(mark_price(quote), believed.price);
            if away(records[1]) < away(records[0]) { records[1] } else { records[0] }
        }
        Some(_) | None => median,
    };
    let base = Quality { agreeing: number(count(chosen)), ..base };
    if let Some(bps) = spike(rules, class, chosen, believed, at) {
        return Quality { verdict: Verdict::Spike { bps }, claimed: Some(chosen), ..base };
    }
    let verdict = if spread_bps <= near {
        Verdict::Single
    } else {
        Verdict::Disagreement { bps: spread_bps }
    };
    Quality { verdict, quote: Some(chosen), ..base }
}

/// Judges the only fresh record of a pair.
fn alone<'a>(
    rules: &PriceRules,
    class: AssetClass,
    quote: &'a Quote,
    believed: Option<Believed>,
    at: UtcMs,
) -> Quality<'a> {
    let base = Quality { sources: 1, agreeing: 1, ..Quality::stale() };
    if rules.quorum.value <= 1 {
        return Quality { verdict: Verdict::Solid, quote: Some(quote), ..base };
    }
    match spike(rules, class, quote, believed, at) {
        Some(bps) => Quality { verdict: Verdict::Spike { bps }, claimed: Some(quote), ..base },
        None => Quality { verdict: Verdict::Single, quote: Some(quote), ..base },
    }
}

/// Returns the middle one of `records`, sorted by price; of two middle ones the nearer in time.
fn median<'a>(records: &[&'a Quote], at: UtcMs) -> &'a Quote {
    let upper = records[records.len() / 2];
    let lower = records[(records.len() - 1) / 2];
    let key = |quote: &'a Quote| (quote.distance(at), &quote.source);
    if key(upper) < key(lower) { upper } else { lower }
}

/// Returns how far `quote` is from the last believed price when that is too far.
fn spike(
    rules: &PriceRules,
    class: AssetClass,
    quote: &Quote,
    believed: Option<Believed>,
    at: UtcMs,
) -> Option<f64> {
    let believed = believed?;
    let bps = distance_bps(mark_price(quote), believed.price);
    (bps >= allowed_bps(rules, class, at.0 - believed.at.0)).then_some(bps)
}

/// Returns how far a price may be from one that was believed `passed_ms` ago.
fn allowed_bps(rules: &PriceRules, class: AssetClass, passed_ms: i64) -> f64 {
    let times = 1 + passed_ms.max(0) / rules.spike_widen.value.0;
    let times = u32::try_from(times).map_or(f64::from(u32::MAX), f64::from);
    spike_bps(rules, class) * times
}

fn spike_bps(rules: &PriceRules, class: AssetClass) -> f64 {
    rules.spike.get(&class).map_or(BPS_MAX, |limit| limit.value)
}

fn agreement_bps(rules: &PriceRules, class: AssetClass) -> f64 {
    rules.disagreement.get(&class).map_or(0.0, |limit| limit.value)
}

/// Returns the distance of two prices in basis points of the lower one: the way up and the way back
/// are equally far.
#[must_use]
pub fn distance_bps(a: Price, b: Price) -> f64 {
    let (low, high) = (a.get().min(b.get()), a.get().max(b.get()));
    // Written so that equal prices are exactly 0 apart; of absurd ones the quotient is infinite.
    ((high - low) / low * 1e4).min(BPS_MAX)
}

/// Tells whether `quote` agrees with `price`.
pub(super) fn agree(rules: &PriceRules, quote: &Quote, price: Price) -> bool {
    distance_bps(mark_price(quote), price) <= agreement_bps(rules, quote.pair.class())
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl PriceRules {
    /// Returns how many records of a source are kept.
    pub(super) fn kept_max(&self) -> usize {
        usize::try_from(self.records_max.value).unwrap_or(usize::MAX)
    }

    pub(crate) fn check(&self) -> Result<(), RulebookError> {
        let span = |name: &str, constant: &Constant<_>, least: i64| {
            unit(name, constant, "ms")?;
            let proctor_types::DurationMs(value) = constant.value;
            at_least(name, value, least)
        };
        span("prices.event_fresh", &self.event_fresh, 1)?;
        span("prices.future_max", &self.future_max, 0)?;
        unit("prices.spread_max", &self.spread_max, "fraction of bid")?;
        positive("prices.spread_max", self.spread_max.value)?;
        unit("prices.quorum", &self.quorum, "sources")?;
        at_least("prices.quorum", i64::from(self.quorum.value), 1)?;
        per_class("prices.disagreement", &self.disagreement)?;
        per_class("prices.spike", &self.spike)?;
        span("prices.spike_widen", &self.spike_widen, 1)?;
        span("prices.freeze_max", &self.freeze_max, 1)?;
        span("prices.retention", &self.retention, 0)?;
        unit("prices.records_max", &self.records_max, "records per pair and source")?;
        at_least("prices.records_max", i64::from(self.records_max.value), 1)?;
        span("prices.correction_window", &self.correction_window, 0)?;
        if self.correction_window.value > self.retention.value {
            let problem =
                "must not be above prices.retention: values are taken anew from the prices";
            return Err(field("prices.correction_window", problem));
        }
        unit("prices.correctable_max", &self.correctable_max, "orders per account")?;
        at_least("prices.correctable_max", i64::from(self.correctable_max.value), 0)
    }
}

fn per_class(
    name: &str,
    limits: &BTreeMap<AssetClass, Constant<f64>>,
) -> Result<(), RulebookError> {
    for class in AssetClass::ALL {
        let name = format!("{name}.{class}");
        let limit = limits.get(&class).ok_or_else(|| field(&name, "is missing"))?;
        unit(&name, limit, "bps")?;
        positive(&name, limit.value)?;
    }
    Ok(())
}
