//! The extract folded: what became of the account, step by step.

use std::sync::Arc;

use proctor_engine::account::Account;
use proctor_engine::eliminations::Elimination;
use proctor_engine::engine::{Attested, Undecided};
use proctor_engine::input::Extract;
use proctor_engine::state::Adopted;
use proctor_engine::state_digest::verdict_hash;
use proctor_engine::{Engine, Event, OutOfOrder, View};
use proctor_types::{Digest, TradePair, TraderId, UtcMs};
use proctor_wire::log_path::LogPath;
use serde::Serialize;

use super::signatures::{self, Signed};
use crate::explain::{Observer, Story};

/// What an extract tells of its trader.
pub(super) struct Told {
    pub(super) story: Story,
    /// The rulebook that the account keeps.
    pub(super) rulebook: String,
    /// Every rulebook that was adopted: which one was in force when somebody was ranked is not told.
    pub(super) rulebooks: Vec<Arc<Adopted>>,
    pub(super) prices: Vec<PriceRow>,
    pub(super) steps: Vec<StepRow>,
    /// What the trader has sent with its signature, in the order in which it was judged.
    pub(super) signed: Vec<Signed>,
    /// Hash of the verdict, as a state digest covers it.
    pub(super) verdict: Option<Digest>,
}

/// Why an extract tells nothing.
#[derive(Debug, thiserror::Error)]
pub enum CannotTell {
    /// The commits do not follow each other.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// There is no account of this name.
    #[error("it shows no account of {0}")]
    UnknownTrader(TraderId),
    /// What became of the account may depend on accounts that an extract does not show.
    #[error(
        "commit {commit}: {why}, so the file would prove nothing about this account; whoever has the \
         log can fold it (proctor verify, proctor explain)"
    )]
    Undecided {
        /// The commit.
        commit: u64,
        /// Why.
        why: Undecided,
    },
    /// The account's rulebook is not there, which is a bug.
    #[error("the rulebook of the account is not shown")]
    NoRulebook,
    /// Something is attested that cannot have happened to this account.
    #[error(
        "it attests what cannot have been: a rank, a command or an absence that changes nothing"
    )]
    CannotBe,
    /// The account ended before the last commit.
    #[error("the account ended at commit {0}, and the path goes on")]
    GoesOn(u64),
}

/// A price that the account was valued at in a step that set a peak or a low, or was the last: a row `[commit, pair, price, source, record_ms, lag_ms]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct PriceRow(u64, String, f64, Option<String>, i64, i64);

/// A sample of the portfolio's ledger: a row `[step, commit, ms, value, peak, ratio]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct StepRow(u64, u64, i64, f64, f64, f64);

/// The price that an open position is valued at: pair, price, source, last moment of the record.
type Marked = (TradePair, f64, Option<String>, UtcMs);

/// What is told of the commits so far.
#[derive(Clone)]
pub(super) struct Tale {
    observer: Observer,
    rows: Rows,
}

/// The fold of an extract, commit by commit.
pub(super) struct Retelling {
    trader: TraderId,
    engine: Engine,
    tale: Tale,
    is_attested: bool,
    /// The commit in which the account ended, if it is not open again, with the hash of the verdict.
    ended: Option<(u64, Option<Digest>)>,
    verdicts: Vec<u64>,
}

impl Retelling {
    /// Begins the fold of an extract for `trader`; with `attested`, what others decide is taken from it.
    pub(super) fn new(trader: &TraderId, attested: Option<Vec<Attested>>) -> Self {
        Self {
            trader: trader.clone(),
            is_attested: attested.is_some(),
            engine: Engine::for_extract(trader.clone(), attested),
            tale: Tale { observer: Observer::new(trader.clone()), rows: Rows::default() },
            ended: None,
            verdicts: Vec::new(),
        }
    }

    /// Folds the next commit.
    ///
    /// # Errors
    /// [`CannotTell`] when it does not follow the one before, or when others decide what became of the
    /// account and nothing is attested.
    pub(super) fn take(&mut self, extract: &Extract) -> Result<(), CannotTell> {
        // The account before a verdict is told, too: it is flattened in the same commit.
        let before = self.engine.account_kept(&self.trader);
        let outcome = self.engine.apply_extract(extract)?;
        if !self.is_attested
            && let Some(why) = self.engine.undecided_by(&self.trader, extract)
        {
            return Err(CannotTell::Undecided { commit: extract.index, why });
        }
        self.tale.rows.signed.extend(signatures::of(&self.trader, extract));
        self.tale.observer.observe(extract, &outcome, before.as_deref(), &self.engine);
        drop(before);
        let Some(account) = self.engine.account(&self.trader) else { return Ok(()) };
        let of_trader = |event: &&Event| event.trader() == Some(&self.trader);
        let verdict = outcome.events.iter().filter(of_trader).filter_map(verdict_hash).next_back();
        if verdict.is_some() {
            self.verdicts.push(extract.index);
        }
        match account.elimination {
            None => self.ended = None,
            Some(_) if self.ended.is_some() && verdict.is_none() => return Ok(()),
            Some(_) => self.ended = Some((extract.index, verdict)),
        }
        self.tale.rows.take(extract.index, extract.at, account);
        Ok(())
    }

    /// Returns whether there is an account by now.
    pub(super) fn has_account(&self) -> bool {
        self.engine.account(&self.trader).is_some()
    }

    /// Returns the commits that ended the account so far.
    pub(super) fn verdicts(&self) -> &[u64] {
        &self.verdicts
    }

    /// Returns the commit in which the account ended, if it is not open again.
    pub(super) fn ended(&self) -> Option<u64> {
        self.ended.map(|(commit, _)| commit)
    }

    /// Returns the state as it is now, from which the story can be finished later.
    pub(super) fn view(&self) -> View {
        self.engine.view()
    }

    /// Returns what is told so far.
    pub(super) fn tale(&self) -> Tale {
        self.tale.clone()
    }

    /// Takes back what was told since `tale`.
    pub(super) fn go_back(&mut self, tale: Tale) {
        self.tale = tale;
    }

    /// Tells what became of the account, given the state after the last commit that was taken.
    ///
    /// # Errors
    /// [`CannotTell`] when there is no such account, when it ended before the last commit, when others
    /// decide, or when something is attested that cannot have been.
    pub(super) fn finish(self, view: &View) -> Result<Told, CannotTell> {
        let Self { trader, engine, tale, is_attested, ended, .. } = self;
        let Tale { observer, rows } = tale;
        if let Some((ended, _)) = ended.filter(|(commit, _)| *commit != view.stamp.commit) {
            return Err(CannotTell::GoesOn(ended));
        }
        if !is_attested && let Some(why) = engine.undecided_by_rank(&trader) {
            return Err(CannotTell::Undecided { commit: view.stamp.commit, why });
        }
        if !engine.has_come_about(view.stamp.commit) {
            return Err(CannotTell::CannotBe);
        }
        let account = view.account(&trader).ok_or(CannotTell::UnknownTrader(trader))?;
        let book = view.rulebook_of(account).ok_or(CannotTell::NoRulebook)?;
        let (rulebook, rulebooks) = (book.text.clone(), view.rulebooks.clone());
        let story = observer.finish(account, view, Digest::default());
        let verdict = ended.and_then(|(_, verdict)| verdict);
        let Rows { prices, steps, signed, .. } = rows;
        Ok(Told { story, rulebook, rulebooks, prices, steps, signed, verdict })
    }
}

/// Folds `extracts`, those of `path`, and tells what became of its trader. An account that has ended, and is not open
/// again, has ended in the last of them.
///
/// # Errors
/// [`CannotTell`].
pub(super) fn retell(path: &LogPath, extracts: &[Extract]) -> Result<Told, CannotTell> {
    let attested = path.attested.as_ref();
    let attested = attested.map(|all| all.iter().map(|testimony| testimony.attested).collect());
    let mut retelling = Retelling::new(&path.trader, attested);
    for extract in extracts {
        retelling.take(extract)?;
    }
    let view = retelling.view();
    retelling.finish(&view)
}

#[derive(Clone, Default)]
struct Rows {
    prices: Vec<PriceRow>,
    steps: Vec<StepRow>,
    signed: Vec<Signed>,
    sampled: Option<UtcMs>,
    /// The last price row of each pair.
    last: Vec<Marked>,
    /// The standing peak and the least ratio since.
    peak: f64,
    lowest: f64,
    /// The epoch of the account that these are of.
    epoch: u32,
}

impl Rows {
    /// Takes in the account as it stands after a commit.
    fn take(&mut self, commit: u64, at: UtcMs, account: &Account) {
        if self.epoch != account.epoch {
            (self.epoch, self.peak, self.lowest) = (account.epoch, 0.0, 0.0);
            self.last.clear();
        }
        let Some(ledgers) = &account.ledgers else { return };
        let ledger = ledgers.portfolio();
        if let Some(record) = &account.elimination {
            self.end(commit, record);
        } else if ledger.last_update() != self.sampled {
            self.sampled = ledger.last_update();
            let (value, peak) = (ledger.value(), ledger.peak().value);
            self.step(commit, at, value, peak);
            if peak == self.peak && value / peak >= self.lowest {
                return;
            }
            self.lowest = if peak == self.peak { value / peak } else { 1.0 };
            self.peak = peak;
            let marks = account.book.pairs().iter().filter(|book| book.open.is_some());
            let marks = marks.filter_map(|book| {
                let mark = book.last_mark.as_ref()?;
                let source = mark.source.as_ref().map(ToString::to_string);
                Some((book.pair, mark.price, source, mark.at))
            });
            self.mark(commit, at, marks.collect());
        }
    }

    /// Takes in the sample that ended the account; what the flat orders made of it comes after.
    fn end(&mut self, commit: u64, record: &Elimination) {
        let marks = record.prices.iter().map(|price| {
            let source = price.source.as_ref().map(ToString::to_string);
            (price.pair, price.price.get(), source, price.at)
        });
        self.mark(commit, record.stamp.at, marks.collect());
        if let Some(fall) = record.fall {
            self.step(commit, record.stamp.at, fall.trough.value, fall.peak.value);
        }
    }

    fn mark(&mut self, commit: u64, at: UtcMs, marks: Vec<Marked>) {
        for mark in marks {
            let known = self.last.iter_mut().find(|known| known.0 == mark.0);
            match known {
                Some(known) if *known == mark => continue,
                Some(known) => *known = mark.clone(),
                None => self.last.push(mark.clone()),
            }
            let (pair, price, source, of) = mark;
            let lag = at.since(of).0;
            self.prices.push(PriceRow(commit, pair.to_string(), price, source, of.0, lag));
        }
    }

    fn step(&mut self, commit: u64, at: UtcMs, value: f64, peak: f64) {
        let number = u64::try_from(self.steps.len()).unwrap_or(u64::MAX) + 1;
        self.steps.push(StepRow(number, commit, at.0, value, peak, value / peak));
    }
}
