//! The fixed workloads: traders who all trade one pair, orders that all are taken.

use proctor_engine::input::Roster;
use proctor_engine::rulebook::VANTA;
use proctor_engine::{Commit, Engine, Input, Outcome};
use proctor_types::time::DAY_MS;
use proctor_types::{
    AssetClass, DurationMs, Leverage, OrderId, OrderRequest, PairName, Price, Quote, Side,
    SizeFields, SourceName, TradePair, TraderId, Usd, UtcMs,
};

use super::BenchError;

/// Monday 2026-01-05 00:00 UTC.
pub(super) const START: UtcMs = UtcMs(1_767_571_200_000);
/// Time between two orders of a trader: longer than the cooldown of the rulebook.
pub(super) const ROUND: DurationMs = DurationMs(11_000);
/// How many orders a position takes before the next one opens a new position.
pub(super) const ORDERS_PER_POSITION: usize = 100;
/// The pair that everybody trades: open around the clock.
pub(super) const PAIR: &str = "BTCUSD";

/// Registered traders and the names their inputs use.
pub(super) struct Workload {
    traders: Vec<TraderId>,
    pair: TradePair,
    pair_name: PairName,
    source: SourceName,
    rulebook: String,
}

impl Workload {
    /// Returns a workload of this many traders.
    pub(super) fn new(traders: usize) -> Self {
        let name = |number| TraderId::new(&format!("trader-{number:05}")).expect("a valid name");
        Self {
            traders: (0..traders).map(name).collect(),
            pair: TradePair::from_id(PAIR).expect("in the table"),
            pair_name: PairName::new(PAIR).expect("a valid name"),
            source: SourceName::new("bench").expect("a valid name"),
            rulebook: VANTA.into(),
        }
    }

    /// Has no challenge of it ever end: its traders are never ranked so long that they could rise.
    pub(super) fn without_time_limit(mut self) -> Self {
        let (limit, endless) =
            ("challenge_max = { value = 7_776", "challenge_max = { value = 7_776_000");
        assert!(self.rulebook.contains(limit), "the built-in rulebook no longer says {limit}");
        self.rulebook = self.rulebook.replace(limit, endless);
        self
    }

    /// Returns how many traders there are.
    pub(super) fn traders(&self) -> usize {
        self.traders.len()
    }

    /// Returns the trader at `place`.
    pub(super) fn trader(&self, place: usize) -> TraderId {
        self.traders[place].clone()
    }

    /// Returns the pair that is traded.
    pub(super) fn pair(&self) -> TradePair {
        self.pair
    }

    /// Returns the inputs before trading; account sizes hold from [`START`] on.
    pub(super) fn opening(&self) -> Commit {
        let terms = self.traders.iter().flat_map(|trader| {
            let size = Usd::new(100_000.0).expect("finite");
            [
                Input::AccountSize(trader.clone(), size),
                Input::AssetClass(trader.clone(), AssetClass::Crypto),
            ]
        });
        let roster = Roster::new(1, self.traders.clone());
        let mut inputs = vec![Input::Rulebook(self.rulebook.clone()), Input::Roster(roster)];
        inputs.extend(terms);
        Commit { index: 1, at: UtcMs(START.0 - DAY_MS / 2), inputs }
    }

    /// Returns an engine that has applied the opening.
    pub(super) fn engine(&self) -> Result<Engine, BenchError> {
        let mut engine = Engine::new();
        let Commit { at, inputs, .. } = self.opening();
        apply(&mut engine, at, inputs)?;
        Ok(engine)
    }

    /// Returns the event with the price of step `number`, at `at`.
    pub(super) fn price(&self, number: usize, at: UtcMs) -> Input {
        self.price_of(price_at(number), at)
    }

    /// Returns an event with this price, at `at`.
    pub(super) fn price_of(&self, price: f64, at: UtcMs) -> Input {
        let price = Price::new(price).expect("finite");
        Input::Prices(vec![Quote::event(self.pair, self.source.clone(), at, price)])
    }

    /// Returns order `number` (from 0) of trader `place`. A position grows and shrinks a little with
    /// each order and stays within its bounds; every hundredth order opens a new one.
    pub(super) fn order(&self, place: usize, number: usize) -> Input {
        let (side, leverage) = match number % ORDERS_PER_POSITION {
            0 => (Side::Long, 0.1),
            n if n % 4 == 3 => (Side::Short, 0.003),
            _ => (Side::Long, 0.002),
        };
        self.sized(place, number, side, leverage)
    }

    /// Returns order `number` of trader `place` as one that closes the position.
    pub(super) fn flat(&self, place: usize, number: usize) -> Input {
        self.sized(place, number, Side::Flat, 0.0)
    }

    fn sized(&self, place: usize, number: usize, side: Side, leverage: f64) -> Input {
        Input::Order(OrderRequest::market(
            self.traders[place].clone(),
            OrderId::new(&format!("{place:05}-{number:08}-0123-4567-89abcdef"))
                .expect("a valid name"),
            self.pair_name.clone(),
            side,
            SizeFields {
                leverage: Some(Leverage::new(leverage).expect("finite")),
                ..SizeFields::default()
            },
        ))
    }

    /// Returns one order of every trader, each trader's `number`th.
    pub(super) fn orders(&self, number: usize) -> Vec<Input> {
        (0..self.traders()).map(|place| self.order(place, number)).collect()
    }
}

/// Returns the price of step `number`: it moves with every step, and never by much.
pub(super) fn price_at(number: usize) -> f64 {
    let tenths = u32::try_from(number % 1_000 * 7_919 % 1_000).unwrap_or(0);
    60_000.0 + f64::from(tenths) / 10.0
}

/// Returns the commit after those that `engine` has applied.
pub(super) fn next(engine: &Engine, at: UtcMs, inputs: Vec<Input>) -> Commit {
    Commit { index: engine.stamp().commit + 1, at, inputs }
}

/// Applies the next commit, all of whose inputs must be taken.
pub(super) fn apply(engine: &mut Engine, at: UtcMs, inputs: Vec<Input>) -> Result<(), BenchError> {
    let outcome = engine.apply(&next(engine, at, inputs))?;
    check(&outcome)
}

/// Tests that everything was taken: refusing is quick and would look like speed.
pub(super) fn check(outcome: &Outcome) -> Result<(), BenchError> {
    match outcome.replies.iter().find_map(|reply| reply.as_ref().err()) {
        None => Ok(()),
        Some(refusal) => {
            let commit = outcome.stamp.commit;
            Err(BenchError::Workload(format!("commit {commit}: {refusal}")))
        }
    }
}
