//! Pure: prices of a view and records from a feed, as the messages of the contract and back.

use std::collections::BTreeSet;

use proctor_engine::prices::{PriceRecord, mark_price};
use proctor_engine::{Event, Rulebook, View};
use proctor_rpc::{Problem, v1};
use proctor_types::{DurationMs, Price, Quote, SourceName, TradePair, UtcMs, market_hours};

/// The most records that may be published at once.
pub const QUOTES_MAX: usize = 1_000;
/// How much of a name that cannot be is repeated, in characters.
const NAME_SHOWN_MAX: usize = 64;

/// Returns the pairs that `names` stand for in the field `pairs`; all of them when there is none.
///
/// # Errors
/// [`proctor_rpc::Reason::InvalidArgument`] for an unknown name, and for more names than pairs.
pub fn pairs(names: &[String]) -> Result<BTreeSet<TradePair>, Problem> {
    if names.len() > TradePair::COUNT {
        let text = format!("has {} names, there are {} pairs", names.len(), TradePair::COUNT);
        return Err(Problem::invalid("pairs", text));
    }
    if names.is_empty() {
        return Ok(TradePair::all().collect());
    }
    let each = |(place, name): (usize, &String)| {
        crate::parse::pair(&format!("pairs[{place}]"), &shown(name))
    };
    names.iter().enumerate().map(each).collect()
}

/// How the price of a pair stands: what can change though no record does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// The price that would value positions.
    pub believed: Option<Price>,
    /// Why there is none, or how good it is.
    pub quality: &'static str,
    /// Whether the pair can be traded.
    pub market_open: bool,
}

/// Returns how the price of `pair` stands as of `view`.
#[must_use]
pub fn standing(view: &View, pair: TradePair) -> Standing {
    let at = view.stamp.at;
    let rules: Option<&Rulebook> = view.rulebook_in_force().map(|adopted| &adopted.rules);
    let believed = rules.and_then(|rules| view.prices.best(rules, pair, at)).map(mark_price);
    // What may be believed is for a rulebook to say.
    let quality = rules
        .map_or("no_rulebook", |rules| view.prices.quality(&rules.prices, pair, at).verdict.code());
    Standing { believed, quality, market_open: market_hours::is_open(pair, at) }
}

/// Returns everything that is known of the price of `pair` as of `view`.
#[must_use]
pub fn price(view: &View, pair: TradePair) -> v1::PairPrice {
    let Standing { believed, quality, market_open } = standing(view, pair);
    v1::PairPrice {
        pair: pair.to_string(),
        quotes: view.prices.latest(pair).map(quote).collect(),
        believed: believed.map(Price::get),
        quality: quality.into(),
        market_open,
    }
}

/// Returns the prices of `wanted` that are another in `view` than in `before`.
#[must_use]
pub fn changed(before: &View, view: &View, wanted: &BTreeSet<TradePair>) -> Vec<v1::PairPrice> {
    let differs = |pair: &TradePair| {
        !view.prices.shares_records(&before.prices, *pair)
            || standing(before, *pair) != standing(view, *pair)
    };
    wanted.iter().filter(|pair| differs(pair)).map(|pair| price(view, *pair)).collect()
}

fn quote(quote: &Quote) -> v1::Quote {
    v1::Quote {
        pair: quote.pair.to_string(),
        source: quote.source.to_string(),
        start_ms: quote.start.0,
        span_ms: quote.span.0,
        open: quote.open.get(),
        high: quote.high.get(),
        low: quote.low.get(),
        close: quote.close.get(),
        bid: quote.bid.map(Price::get),
        ask: quote.ask.map(Price::get),
    }
}

/// Returns the record of each source of `pair` that is nearest to `at`; of two equally near ones
/// the earlier.
#[must_use]
pub fn at(view: &View, pair: TradePair, at: UtcMs) -> Vec<v1::PriceRecord> {
    let sources = view.prices.recent(pair);
    let nearest = sources.filter_map(|(source, records)| {
        let nearest = records.min_by_key(|record| record.at.0.abs_diff(at.0))?;
        Some(record(source, nearest))
    });
    nearest.collect()
}

fn record(source: &SourceName, record: &PriceRecord) -> v1::PriceRecord {
    v1::PriceRecord {
        source: source.to_string(),
        at_ms: record.at.0,
        price: record.price.get(),
        bid: record.bid.map(Price::get),
        ask: record.ask.map(Price::get),
    }
}

/// Returns the table of pairs.
#[must_use]
pub fn table() -> Vec<v1::Pair> {
    let row = |pair: TradePair| v1::Pair {
        pair: pair.to_string(),
        asset_class: pair.class().to_string(),
        base: pair.base().into(),
        quote: pair.quote().into(),
        lot_size: pair.lot_size(),
    };
    TradePair::all().map(row).collect()
}

/// Returns the records of a feed, and those that can be none with the reason.
///
/// # Errors
/// [`proctor_rpc::Reason::InvalidArgument`] when there are too many, or two of one pair and source:
/// they would be judged in an order that nobody stated.
pub fn records(quotes: &[v1::Quote]) -> Result<(Vec<Quote>, Vec<v1::QuoteRefused>), Problem> {
    if quotes.len() > QUOTES_MAX {
        let text = format!("has {} records, at most {QUOTES_MAX}", quotes.len());
        return Err(Problem::invalid("quotes", text));
    }
    let mut told = BTreeSet::new();
    let (mut taken, mut refused) = (Vec::with_capacity(quotes.len()), Vec::new());
    for (place, quote) in quotes.iter().enumerate() {
        if !told.insert((&quote.pair, &quote.source)) {
            let text = "is the second record of its pair and source";
            return Err(Problem::invalid(format!("quotes[{place}]"), text));
        }
        match parse(quote) {
            Ok(quote) => taken.push(quote),
            Err(code) => refused.push(v1::QuoteRefused {
                pair: shown(&quote.pair),
                source: shown(&quote.source),
                code: code.into(),
            }),
        }
    }
    Ok((taken, refused))
}

/// Returns the record, or the code of what is wrong with it. Whether its numbers make sense together
/// is for the engine to say, which judges the records of every feed.
fn parse(quote: &v1::Quote) -> Result<Quote, &'static str> {
    let pair = TradePair::from_id(&quote.pair).ok_or("unknown_pair")?;
    let source = SourceName::new(&quote.source).map_err(|_| "invalid_source")?;
    let price = |number: f64| Price::new(number).map_err(|_| "not_finite");
    let maybe = |number: Option<f64>| number.map(price).transpose();
    Ok(Quote {
        pair,
        source,
        start: UtcMs(quote.start_ms),
        span: DurationMs(quote.span_ms),
        open: price(quote.open)?,
        high: price(quote.high)?,
        low: price(quote.low)?,
        close: price(quote.close)?,
        bid: maybe(quote.bid)?,
        ask: maybe(quote.ask)?,
    })
}

/// Returns which records of `sent` the events of their commit say were refused.
///
/// An event names pair and source. Where two feeds speak for the same source in one commit, a
/// refusal of either is told to both: they should not.
#[must_use]
pub fn refused(sent: &[Quote], events: &[Event]) -> Vec<v1::QuoteRefused> {
    let ours: BTreeSet<(TradePair, &SourceName)> =
        sent.iter().map(|quote| (quote.pair, &quote.source)).collect();
    let mut refused = Vec::new();
    for event in events {
        if let Event::QuoteRefused { pair, source, code } = event
            && ours.contains(&(*pair, source))
        {
            let (pair, source) = (pair.to_string(), source.to_string());
            refused.push(v1::QuoteRefused { pair, source, code: code.clone() });
        }
    }
    refused
}

fn shown(name: &str) -> String {
    name.chars().take(NAME_SHOWN_MAX).collect()
}
