//! A simulated market and its traders: the world of `proctor demo`.
//!
//! Everything follows from the seed: prices, traders, orders, also the ones that should be refused.
//! Traders look at prices and at what they believe to hold, never at the node's answers, so the
//! same seed gives the same inputs whatever the node does, and a run that was cut off can go on.

pub mod dice;
pub mod market;
pub mod trader;

use std::collections::VecDeque;

use proctor_engine::Input;
use proctor_engine::input::Roster;
use proctor_engine::rulebook::VANTA;
use proctor_sequencer::Batch;
use proctor_types::time::DAY_MS;
use proctor_types::{TraderId, Usd, UtcMs};

use dice::Dice;
use market::{MINUTE_MS, Market};
use trader::SimulatedTrader;

/// Monday 2026-01-05 00:00 UTC: simulated trading begins here.
const START: UtcMs = UtcMs(1_767_571_200_000);
/// How often a tick is sent.
const TICK_EVERY_MINUTES: i64 = 10;

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Decides everything that is random.
    pub seed: u64,
    /// How many traders.
    pub traders: u32,
    /// How many days of trading.
    pub days: u32,
}

impl Default for Scenario {
    /// Three hundred traders for three weeks.
    fn default() -> Self {
        Self { seed: 1, traders: 300, days: 21 }
    }
}

impl Scenario {
    /// Returns how many minutes of trading are simulated.
    #[must_use]
    pub fn minutes(&self) -> i64 {
        i64::from(self.days) * DAY_MS / MINUTE_MS
    }

    /// Returns the moment at which trading begins.
    #[must_use]
    pub fn start(&self) -> UtcMs {
        START
    }
}

/// The batches of a scenario, in order of time.
#[derive(Debug)]
pub struct Simulation {
    scenario: Scenario,
    market: Market,
    traders: Vec<SimulatedTrader>,
    minute: i64,
    ready: VecDeque<Batch>,
}

impl Simulation {
    /// Returns the batches of `scenario`.
    ///
    /// # Panics
    /// Never: names and amounts made here are valid.
    #[must_use]
    pub fn new(scenario: Scenario) -> Self {
        let mut dice = Dice::new(scenario.seed);
        let market = Market::new(&mut dice);
        let traders: Vec<SimulatedTrader> =
            (0..scenario.traders).map(|number| SimulatedTrader::new(number, &mut dice)).collect();
        let ready = opening(&traders);
        Self { scenario, market, traders, minute: 0, ready }
    }

    /// Simulates one minute: its bars become known at its end, orders arrive in the next one.
    fn advance(&mut self) {
        let open = UtcMs(START.0 + self.minute * MINUTE_MS);
        let close = UtcMs(open.0 + MINUTE_MS);
        let bars = self.market.step(open);
        let mut inputs = vec![Input::Prices(bars)];
        if self.minute % TICK_EVERY_MINUTES == 0 {
            inputs.push(Input::Tick);
        }
        self.ready.push_back(Batch { at: close, inputs });
        let mut orders: Vec<(UtcMs, Input)> = Vec::new();
        for trader in &mut self.traders {
            trader.act(close, &self.market, &mut orders);
        }
        // Stable: orders of the same millisecond stay in the order of their traders.
        orders.sort_by_key(|(at, _)| *at);
        for (at, input) in orders {
            match self.ready.back_mut() {
                Some(batch) if batch.at == at => batch.inputs.push(input),
                _ => self.ready.push_back(Batch { at, inputs: vec![input] }),
            }
        }
        self.minute += 1;
    }
}

impl Iterator for Simulation {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        while self.ready.is_empty() && self.minute < self.scenario.minutes() {
            self.advance();
        }
        self.ready.pop_front()
    }
}

/// The batches before trading: rulebook, roster, terms. Sizes hold from the next day on.
fn opening(traders: &[SimulatedTrader]) -> VecDeque<Batch> {
    let at = UtcMs(START.0 - DAY_MS / 2);
    let registered: Vec<TraderId> = traders.iter().map(|trader| trader.id().clone()).collect();
    let terms = traders.iter().flat_map(|trader| {
        [
            Input::AccountSize(
                trader.id().clone(),
                Usd::new(trader.account_size()).expect("a simulated size is finite"),
            ),
            Input::AssetClass(trader.id().clone(), trader.asset_class()),
        ]
    });
    let mut inputs = vec![Input::Rulebook(VANTA.into()), Input::Roster(Roster::new(1, registered))];
    inputs.extend(terms);
    VecDeque::from([Batch { at, inputs }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_inputs_and_another_seed_others() {
        let scenario = Scenario { seed: 7, traders: 20, days: 1 };
        let first: Vec<Batch> = Simulation::new(scenario).collect();
        assert_eq!(first, Simulation::new(scenario).collect::<Vec<_>>());
        let other: Vec<Batch> = Simulation::new(Scenario { seed: 8, ..scenario }).collect();
        assert_ne!(first, other);
    }

    #[test]
    fn time_never_goes_back_and_every_minute_has_prices() {
        let scenario = Scenario { seed: 3, traders: 30, days: 2 };
        let batches: Vec<Batch> = Simulation::new(scenario).collect();
        assert!(batches.windows(2).all(|pair| pair[0].at <= pair[1].at));
        let bars = batches.iter().flat_map(|b| &b.inputs).filter(|i| matches!(i, Input::Prices(_)));
        assert_eq!(i64::try_from(bars.count()), Ok(scenario.minutes()));
        let orders =
            batches.iter().flat_map(|b| &b.inputs).filter(|i| matches!(i, Input::Order(_)));
        assert!(orders.count() > 100, "traders trade");
    }
}
