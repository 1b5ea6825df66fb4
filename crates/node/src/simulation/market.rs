//! Simulated one-minute bars: random walks with calm and wild spells, closed when the market is.

use proctor_types::{DurationMs, Price, Quote, SourceName, TradePair, UtcMs, float, market_hours};

use super::dice::Dice;

/// Length of a bar.
pub const MINUTE_MS: i64 = 60_000;
/// Minutes of closes that traders can look back on.
pub const HISTORY_MINUTES: usize = 240;

/// Pairs, their prices at the start, and their volatility per year.
const PAIRS: [(&str, f64, f64); 14] = [
    ("BTCUSD", 95_000.0, 0.55),
    ("ETHUSD", 3_300.0, 0.75),
    ("SOLUSD", 190.0, 0.95),
    ("XRPUSD", 2.3, 1.0),
    ("DOGEUSD", 0.34, 1.2),
    ("ADAUSD", 0.95, 1.1),
    ("EURUSD", 1.04, 0.09),
    ("GBPUSD", 1.25, 0.10),
    ("AUDUSD", 0.62, 0.12),
    ("NZDUSD", 0.56, 0.12),
    ("USDCAD", 1.44, 0.08),
    ("USDCHF", 0.91, 0.09),
    ("EURGBP", 0.83, 0.08),
    ("GBPAUD", 2.01, 0.12),
];
/// Minutes in a year, for volatility.
const MINUTES_PER_YEAR: f64 = 525_600.0;

/// The simulated market.
#[derive(Debug)]
pub struct Market {
    lines: Vec<Line>,
    source: SourceName,
    dice: Dice,
}

#[derive(Debug)]
struct Line {
    pair: TradePair,
    price: f64,
    volatility: f64,
    /// Multiplies the volatility: about 1 in calm times, several in a wild spell.
    spell: f64,
    closes: Vec<f64>,
}

impl Market {
    /// Returns the market at its start.
    ///
    /// # Panics
    /// Never: the pairs stand in the table of pairs.
    #[must_use]
    pub fn new(dice: &mut Dice) -> Self {
        let lines = PAIRS
            .iter()
            .map(|(id, price, volatility)| Line {
                pair: TradePair::from_id(id).expect("a simulated pair is in the table"),
                price: *price,
                volatility: *volatility,
                spell: 1.0,
                closes: Vec::new(),
            })
            .collect();
        let source = SourceName::new("simulated").expect("a valid name");
        Self { lines, source, dice: dice.split() }
    }

    /// Simulates the minute that begins at `open`; returns the bars of the open markets.
    ///
    /// # Panics
    /// Never: a random walk of logarithms stays positive and finite.
    pub fn step(&mut self, open: UtcMs) -> Vec<Quote> {
        let mut bars = Vec::with_capacity(self.lines.len());
        for line in &mut self.lines {
            if !market_hours::is_open(line.pair, open) {
                continue;
            }
            if self.dice.chance(0.000_2) {
                line.spell = self.dice.between(2.0, 5.0);
            }
            line.spell = 1.0 + (line.spell - 1.0) * 0.995;
            let sigma = line.volatility * line.spell / MINUTES_PER_YEAR.sqrt();
            let (first, last) = (line.price, line.price * float::exp(sigma * self.dice.normal()));
            let wick = float::exp(sigma * 0.5 * self.dice.unit());
            let price = |number: f64| Price::new(number).expect("a simulated price is finite");
            bars.push(Quote {
                span: DurationMs(MINUTE_MS),
                high: price(first.max(last) * wick),
                low: price(first.min(last) / wick),
                close: price(last),
                ..Quote::event(line.pair, self.source.clone(), open, price(first))
            });
            line.price = last;
            if line.closes.len() == HISTORY_MINUTES {
                line.closes.remove(0);
            }
            line.closes.push(last);
        }
        bars
    }

    /// Returns the simulated pairs.
    pub fn pairs(&self) -> impl Iterator<Item = TradePair> {
        self.lines.iter().map(|line| line.pair)
    }

    /// Lets the walk of `pair` go on from `price`, which must be positive.
    pub fn set_price(&mut self, pair: TradePair, price: f64) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.pair == pair) {
            line.price = price;
        }
    }

    /// Returns the latest close of `pair`, if it is simulated.
    #[must_use]
    pub fn price(&self, pair: TradePair) -> Option<f64> {
        self.lines.iter().find(|line| line.pair == pair).map(|line| line.price)
    }

    /// Returns how much `pair` has moved over the last `minutes`, as a fraction.
    #[must_use]
    pub fn change(&self, pair: TradePair, minutes: usize) -> f64 {
        let Some(line) = self.lines.iter().find(|line| line.pair == pair) else { return 0.0 };
        let before = line.closes.len().checked_sub(minutes + 1).and_then(|at| line.closes.get(at));
        before.map_or(0.0, |before| line.price / before - 1.0)
    }
}
