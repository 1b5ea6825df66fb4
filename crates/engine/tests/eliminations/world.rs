//! An engine with a few traders, and short ways to say what happens to it.

use proctor_engine::eliminations::{
    DrawdownNote, Elimination, EliminationRow, EliminationsCommand, Reason, Reentry, Reinstatement,
    SyncedEliminations,
};
use proctor_engine::input::Roster;
use proctor_engine::rulebook::VANTA;
use proctor_engine::{Commit, Engine, Event, Input, Outcome, Rejection};
use proctor_types::{
    AssetClass, Leverage, OperatorId, OrderId, OrderRequest, PairName, Price, Quote, Remark, Side,
    SizeFields, SourceName, Stamp, TradePair, TraderId, UtcMs, ValidatorId,
};

/// Monday 2025-11-03 14:00 UTC.
pub(crate) const T0: i64 = 1_762_178_400_000;
pub(crate) const DAY: i64 = 86_400_000;
/// Time between two passes.
pub(crate) const PASS: i64 = 300_000;

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) at: i64,
    roster: u64,
    orders: u64,
}

pub(crate) fn trader(name: &str) -> TraderId {
    TraderId::new(name).unwrap()
}

pub(crate) fn source(name: &str) -> ValidatorId {
    ValidatorId::new(name).unwrap()
}

fn desk() -> (OperatorId, Remark) {
    (OperatorId::new("desk").unwrap(), Remark::new("bad tick").unwrap())
}

impl World {
    /// `names` are registered and may trade crypto; BTCUSD costs 100.
    pub(crate) fn new(names: &[&str]) -> Self {
        let mut world = Self { engine: Engine::new(), at: T0 - 1_000, roster: 0, orders: 0 };
        let mut inputs = vec![Input::Rulebook(VANTA.into()), world.roster(names)];
        inputs.extend(names.iter().map(|n| Input::AssetClass(trader(n), AssetClass::Crypto)));
        world.commit(1_000, inputs);
        world.commit(0, vec![world.price(100.0)]);
        world
    }

    /// Applies `inputs`, `after` ms later.
    pub(crate) fn commit(&mut self, after: i64, inputs: Vec<Input>) -> Outcome {
        self.at += after;
        let index = self.engine.stamp().commit + 1;
        self.engine.apply(&Commit { index, at: UtcMs(self.at), inputs }).expect("in order")
    }

    /// Applies one input that must be accepted; returns the events.
    pub(crate) fn good(&mut self, after: i64, input: Input) -> Vec<Event> {
        let outcome = self.commit(after, vec![input]);
        assert_eq!(outcome.replies, [Ok(())]);
        outcome.events
    }

    /// Applies one input that must be refused and change nothing; returns why.
    pub(crate) fn bad(&mut self, input: Input) -> Rejection {
        let before = self.state();
        let outcome = self.commit(0, vec![input]);
        assert!(matches!(outcome.events[..], [Event::Rejected { .. }]), "{:?}", outcome.events);
        assert_eq!(self.state(), before, "a refused input leaves no trace");
        outcome.replies.into_iter().next().unwrap().unwrap_err()
    }

    /// The state without the stamp, the digest, the input chain and the effects of the last commit.
    pub(crate) fn state(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.engine.save(&mut bytes).expect("finite");
        let changes_end = 16 + 3 * 32;
        let mut verdicts = [0; 4];
        verdicts.copy_from_slice(&bytes[changes_end..changes_end + 4]);
        let verdicts = usize::try_from(u32::from_le_bytes(verdicts)).unwrap();
        bytes.split_off(changes_end + 4 + 32 * verdicts)
    }

    pub(crate) fn roster(&mut self, names: &[&str]) -> Input {
        self.roster += 1;
        Input::Roster(Roster::new(self.roster, names.iter().map(|n| trader(n)).collect()))
    }

    /// A price of the next commit's time, when that comes at once.
    pub(crate) fn price(&self, number: f64) -> Input {
        self.price_in(0, number)
    }

    pub(crate) fn price_in(&self, after: i64, number: f64) -> Input {
        let pair = TradePair::from_id("BTCUSD").unwrap();
        let at = UtcMs(self.at + after);
        // Two sources agree, so that any price is believed at once.
        let quote = |source: &str| {
            let source = SourceName::new(source).unwrap();
            Quote::event(pair, source, at, Price::new(number).unwrap())
        };
        Input::Prices(vec![quote("test"), quote("test2")])
    }

    pub(crate) fn order(&mut self, who: &str) -> Input {
        self.orders += 1;
        Input::Order(OrderRequest::market(
            trader(who),
            OrderId::new(&format!("o{}", self.orders)).unwrap(),
            PairName::new("BTCUSD").unwrap(),
            Side::Long,
            SizeFields { leverage: Leverage::new(0.5).ok(), ..SizeFields::default() },
        ))
    }

    /// `who` opens a position of half the account, 20 s later.
    pub(crate) fn opens(&mut self, who: &str) {
        let inputs = vec![self.price_in(20_000, 100.0), self.order(who)];
        assert_eq!(self.commit(20_000, inputs).replies, [Ok(()), Ok(())], "{who} may trade");
    }

    /// Every position of half an account loses more than the limit, 20 s later.
    pub(crate) fn crash(&mut self) -> Outcome {
        let input = self.price_in(20_000, 70.0);
        self.commit(20_000, vec![input])
    }

    /// `times` rosters with `names`, then a pass.
    pub(crate) fn rosters(&mut self, times: usize, names: &[&str]) -> Vec<Event> {
        for _ in 0..times {
            let input = self.roster(names);
            self.commit(1_000, vec![input]);
        }
        self.commit(PASS, vec![]).events
    }

    pub(crate) fn record(&self, who: &str) -> Option<Elimination> {
        match self.engine.account(&trader(who)) {
            Some(account) => account.elimination.clone(),
            None => self.engine.view().barred.get(&trader(who))?.record.clone(),
        }
    }

    pub(crate) fn reason(&self, who: &str) -> Option<Reason> {
        self.record(who).map(|record| record.reason)
    }

    pub(crate) fn has_open_position(&self, who: &str) -> bool {
        let account = self.engine.account(&trader(who)).expect("enrolled");
        account.book.open_positions().next().is_some()
    }

    pub(crate) fn row(&self, who: &str, reason: Reason, ago: i64) -> EliminationRow {
        EliminationRow {
            trader: trader(who),
            reason,
            drawdown: DrawdownNote::without_number(reason),
            decided_at: UtcMs(self.at - ago),
        }
    }

    /// A list as of now, of decisions of a second ago.
    pub(crate) fn list(&self, of: &str, names: &[&str]) -> Input {
        let rows = names.iter().map(|who| self.row(who, Reason::Plagiarism, 1_000)).collect();
        Input::SyncEliminations(SyncedEliminations {
            source: source(of),
            as_of: UtcMs(self.at),
            rows,
        })
    }
}

pub(crate) fn add(rows: Vec<EliminationRow>) -> Input {
    let (by, why) = desk();
    Input::Eliminations(EliminationsCommand::Add { by, why, rows })
}

pub(crate) fn remove(names: &[&str]) -> Input {
    let (by, why) = desk();
    let traders = names.iter().map(|name| trader(name)).collect();
    Input::Eliminations(EliminationsCommand::Remove { by, why, traders })
}

pub(crate) fn reinstate(who: &str, decided: Stamp) -> Input {
    let (by, why) = desk();
    let reentry = Reentry::Challenge;
    Input::Reinstate(Reinstatement { trader: trader(who), by, why, decided, reentry })
}

pub(crate) fn settle(who: &str, decided: Stamp) -> Input {
    Input::SlashSettled(trader(who), decided)
}
