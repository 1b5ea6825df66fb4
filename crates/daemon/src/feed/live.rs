//! The simulated market at wall-clock time: a simulated minute for each step.

use std::collections::VecDeque;

use proctor_engine::{Input, View};
use proctor_node::simulation::dice::Dice;
use proctor_node::simulation::market::{MINUTE_MS, Market};
use proctor_node::simulation::trader::SimulatedTrader;
use proctor_types::{Quote, UtcMs};

/// A made-up market, its traders, and the orders that they will send.
#[derive(Debug)]
pub struct LiveMarket {
    market: Market,
    traders: Vec<SimulatedTrader>,
    /// Orders of earlier steps, by the simulated moment within their minute.
    waiting: VecDeque<Input>,
}

impl LiveMarket {
    /// Returns the market of `seed` with `traders`.
    #[must_use]
    pub fn new(seed: u64, traders: u32) -> Self {
        let mut dice = Dice::new(seed);
        let market = Market::new(&mut dice);
        let traders = (0..traders).map(|number| SimulatedTrader::new(number, &mut dice)).collect();
        Self { market, traders, waiting: VecDeque::new() }
    }

    /// Returns the traders.
    pub fn traders(&self) -> impl Iterator<Item = &SimulatedTrader> {
        self.traders.iter()
    }

    /// Goes on where the node's prices are, so that a restart is no jump; and lets the traders name
    /// their orders after `now`, so that no name comes twice.
    pub fn resume(&mut self, view: &View, now: UtcMs) {
        let pairs: Vec<_> = self.market.pairs().collect();
        for pair in pairs {
            let last = view.prices.latest(pair).max_by_key(|quote| quote.end());
            if let Some(last) = last {
                self.market.set_price(pair, last.close.get());
            }
        }
        let seconds = u32::try_from(now.0 / 1_000).unwrap_or(u32::MAX);
        self.traders.iter_mut().for_each(|trader| trader.name_orders_from(seconds));
    }

    /// Lets a simulated minute pass; returns its prices as events of `now`, and the orders.
    pub fn step(&mut self, now: UtcMs) -> Vec<Input> {
        let bars = self.market.step(now);
        let event = |bar: Quote| Quote::event(bar.pair, bar.source, now, bar.close);
        let mut inputs = vec![Input::Prices(bars.into_iter().map(event).collect())];
        inputs.extend(self.waiting.drain(..));
        let mut orders: Vec<(UtcMs, Input)> = Vec::new();
        for trader in &mut self.traders {
            trader.act(now, &self.market, &mut orders);
        }
        orders.sort_by_key(|(at, _)| *at);
        // Sent with the next prices: nobody trades at a price before having seen it.
        self.waiting.extend(orders.into_iter().map(|(_, input)| input));
        inputs
    }
}

const _: () = assert!(MINUTE_MS > 0);
