//! Random histories for the properties of watches: every commit with what it did and its view.

use std::sync::Arc;

use proctor_engine::challenge_period::reasons::{Published, ReasonsCommand};
use proctor_engine::challenge_period::{Stage, Standing};
use proctor_engine::eliminations::{
    DrawdownNote, EliminationRow, EliminationsCommand, Reason, Reentry, Reinstatement,
    SyncedEliminations,
};
use proctor_engine::input::{Roster, StagesCommand};
use proctor_engine::rulebook::VANTA;
use proctor_engine::{Commit, Engine, Input, View};
use proctor_sequencer::Applied;
use proctor_types::{
    AssetClass, Leverage, OperatorId, OrderId, OrderRequest, PairName, Price, Quote, Remark, Side,
    SizeFields, SourceName, Stamp, TradePair, TraderId, Usd, UtcMs, ValidatorId,
};
use proptest::prelude::*;
use proptest::strategy::Union;

use super::{START, trader};

/// How many names there are; the last two never have an account.
const NAMES: usize = 8;
const ACCOUNTS: usize = 6;

/// One step of a history; numbers are places of names.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Add(usize),
    Remove(usize),
    /// The list of a source: bit `n` is name `n`.
    Sync(u8),
    /// Everybody buys, and then the price falls or not.
    Trade {
        falls: bool,
    },
    /// Who is registered: bit `n` is name `n`.
    Roster(u8),
    Reinstate(usize, bool),
    Publish(usize),
    SettleSlash(usize),
    Set(usize, bool),
    TakeOut(usize),
    Refresh,
    /// This many hours pass.
    Wait(i64),
}

/// Returns any history: groups of steps, each a commit.
pub(crate) fn histories() -> impl Strategy<Value = Vec<Vec<Op>>> {
    let name = || 0..NAMES;
    let account = || 0..ACCOUNTS;
    let op = Union::new([
        name().prop_map(Op::Add).boxed(),
        name().prop_map(Op::Remove).boxed(),
        any::<u8>().prop_map(Op::Sync).boxed(),
        any::<bool>().prop_map(|falls| Op::Trade { falls }).boxed(),
        any::<u8>().prop_map(Op::Roster).boxed(),
        (name(), any::<bool>()).prop_map(|(n, restores)| Op::Reinstate(n, restores)).boxed(),
        account().prop_map(Op::Publish).boxed(),
        account().prop_map(Op::SettleSlash).boxed(),
        (account(), any::<bool>()).prop_map(|(n, funded)| Op::Set(n, funded)).boxed(),
        account().prop_map(Op::TakeOut).boxed(),
        Just(Op::Refresh).boxed(),
        (1_i64..60).prop_map(Op::Wait).boxed(),
    ]);
    prop::collection::vec(prop::collection::vec(op, 1..4), 1..40)
}

fn name(place: usize) -> TraderId {
    trader(&format!("t{place}"))
}

fn named(bits: u8) -> Vec<TraderId> {
    (0..NAMES).filter(|place| bits >> place & 1 == 1).map(name).collect()
}

/// A commit as its followers see it.
pub(crate) struct Told {
    pub(crate) applied: Applied,
    pub(crate) view: Arc<View>,
}

/// Carries out `history` after a beginning in which six traders enrol; returns every commit.
pub(crate) fn run(history: &[Vec<Op>]) -> Vec<Told> {
    let mut run = Run { engine: Engine::new(), at: START, numbers: 0, told: Vec::new() };
    let accounts: Vec<TraderId> = (0..ACCOUNTS).map(name).collect();
    let size = Usd::new(100_000.0).expect("finite");
    let mut inputs =
        vec![Input::Rulebook(VANTA.into()), Input::Roster(Roster::new(1, accounts.clone()))];
    for trader in accounts {
        inputs.push(Input::AccountSize(trader.clone(), size));
        inputs.push(Input::AssetClass(trader, AssetClass::Crypto));
    }
    run.numbers = 1;
    run.commit(inputs);
    run.at = UtcMs(run.at.0 + 86_400_000);
    for group in history {
        let inputs = group.iter().flat_map(|op| run.inputs(op)).collect();
        run.commit(inputs);
    }
    run.told
}

struct Run {
    engine: Engine,
    at: UtcMs,
    /// Makes versions of rosters and ids of orders.
    numbers: u64,
    told: Vec<Told>,
}

impl Run {
    fn commit(&mut self, inputs: Vec<Input>) {
        // Cooldowns end between commits.
        self.at = UtcMs(self.at.0 + 20_000);
        let index = self.engine.stamp().commit + 1;
        let outcome = self.engine.apply(&Commit { index, at: self.at, inputs }).expect("in order");
        let view = Arc::new(self.engine.view());
        self.told.push(Told { applied: outcome.into(), view });
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// The decision that `place`'s record names as of the last commit, or one that never was.
    fn decided(&self, place: usize) -> Stamp {
        let view = &self.told.last().expect("there is a beginning").view;
        let record = crate::eliminations::record_of(view, &name(place));
        record.map_or(Stamp { commit: 0, at: UtcMs(0) }, |record| record.stamp)
    }

    fn price(&self, number: f64) -> Input {
        let pair = TradePair::from_id("BTCUSD").expect("a pair");
        let at = UtcMs(self.at.0 + 20_000);
        let quote = |source: &str| {
            let source = SourceName::new(source).expect("a name");
            Quote::event(pair, source, at, Price::new(number).expect("finite"))
        };
        Input::Prices(vec![quote("first"), quote("second")])
    }

    fn row(&self, trader: TraderId) -> EliminationRow {
        let (reason, decided_at) = (Reason::Plagiarism, START);
        EliminationRow { trader, reason, drawdown: DrawdownNote::NotApplicable, decided_at }
    }

    fn inputs(&mut self, op: &Op) -> Vec<Input> {
        let by = OperatorId::new("ops").expect("a name");
        let why = Remark::new("a test").expect("words");
        let one = match op {
            Op::Add(n) => {
                let rows = vec![self.row(name(*n))];
                Input::Eliminations(EliminationsCommand::Add { by, why, rows })
            }
            Op::Remove(n) => {
                let traders = vec![name(*n)];
                Input::Eliminations(EliminationsCommand::Remove { by, why, traders })
            }
            Op::Sync(bits) => Input::SyncEliminations(SyncedEliminations {
                source: ValidatorId::new("other").expect("a name"),
                as_of: START,
                rows: named(*bits).into_iter().map(|trader| self.row(trader)).collect(),
            }),
            Op::Trade { falls } => return self.trade(*falls),
            Op::Roster(bits) => {
                let version = self.number();
                // Names without an account stay without one.
                Input::Roster(Roster::new(version, named(bits & 0b11_1111)))
            }
            Op::Reinstate(n, restores) => Input::Reinstate(Reinstatement {
                trader: name(*n),
                by,
                why,
                decided: self.decided(*n),
                reentry: if *restores { Reentry::Restored } else { Reentry::Challenge },
            }),
            Op::Publish(n) => {
                let (trader, reason) = (name(*n), Reason::FailedChallengePeriodTime);
                let drawdown = DrawdownNote::NotApplicable;
                let batch = vec![Published { trader, reason, drawdown }];
                Input::Reasons(ReasonsCommand::Update(batch))
            }
            Op::SettleSlash(n) => Input::SlashSettled(name(*n), self.decided(*n)),
            Op::Set(n, funded) => {
                let stage = if *funded { Stage::Funded } else { Stage::Probation };
                let standing = Standing::new(stage, self.at);
                Input::Stages(StagesCommand::Set(vec![(name(*n), standing)]))
            }
            Op::TakeOut(n) => Input::Stages(StagesCommand::Remove(name(*n))),
            Op::Refresh => Input::Stages(StagesCommand::Refresh),
            Op::Wait(hours) => {
                self.at = UtcMs(self.at.0 + hours * 3_600_000);
                Input::Tick
            }
        };
        vec![one]
    }

    fn trade(&mut self, falls: bool) -> Vec<Input> {
        let mut inputs = vec![self.price(if falls { 70.0 } else { 100.0 })];
        for place in 0..ACCOUNTS {
            let id = format!("o{}", self.number());
            inputs.push(Input::Order(OrderRequest::market(
                name(place),
                OrderId::new(&id).expect("an id"),
                PairName::new("BTCUSD").expect("a pair"),
                Side::Long,
                SizeFields { leverage: Leverage::new(0.5).ok(), ..SizeFields::default() },
            )));
        }
        inputs
    }
}
