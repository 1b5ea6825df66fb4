//! The extract folded: what became of the account, step by step.

use proctor_engine::account::Account;
use proctor_engine::eliminations::Elimination;
use proctor_engine::engine::Undecided;
use proctor_engine::input::Extract;
use proctor_engine::state_digest::verdict_hash;
use proctor_engine::{Engine, OutOfOrder};
use proctor_types::{Digest, TradePair, TraderId, UtcMs};
use serde::Serialize;

use crate::explain::{Observer, Story};

/// What an extract tells of its trader.
pub(super) struct Told {
    pub(super) story: Story,
    /// The rulebook that the account keeps.
    pub(super) rulebook: String,
    pub(super) prices: Vec<PriceRow>,
    pub(super) steps: Vec<StepRow>,
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

/// Folds `extracts` and tells what became of `trader`. An account that has ended has ended in the last
/// of them.
///
/// # Errors
/// [`CannotTell`] when that is not so, when the extracts are not those of successive commits, or when
/// there is no such account.
pub(super) fn retell(trader: &TraderId, extracts: &[Extract]) -> Result<Told, CannotTell> {
    let last = extracts.last().map(|extract| extract.index);
    let mut engine = Engine::new();
    let mut observer = Observer::new(trader.clone());
    let mut rows = Rows::default();
    let mut verdict = None;
    for extract in extracts {
        // The account before a verdict is told, too: it is flattened in the same commit.
        let is_last = last == Some(extract.index);
        let before = is_last.then(|| engine.account(trader).cloned()).flatten();
        let outcome = engine.apply_extract(extract)?;
        if let Some(why) = engine.undecided_by(trader, extract) {
            return Err(CannotTell::Undecided { commit: extract.index, why });
        }
        observer.observe(extract, &outcome, before.as_ref(), &engine);
        let Some(account) = engine.account(trader) else { continue };
        if account.elimination.is_some() {
            if !is_last {
                return Err(CannotTell::GoesOn(extract.index));
            }
            verdict = outcome.events.iter().find_map(verdict_hash);
        }
        rows.take(extract.index, extract.at, account);
    }
    if let (Some(why), Some(commit)) = (engine.undecided_by_rank(trader), last) {
        return Err(CannotTell::Undecided { commit, why });
    }
    let view = engine.view();
    let account = view.account(trader).ok_or_else(|| CannotTell::UnknownTrader(trader.clone()))?;
    let rulebook = view.rulebook_of(account).map_or_else(String::new, |book| book.text.clone());
    let story = observer.finish(account, &view, Digest::default());
    Ok(Told { story, rulebook, prices: rows.prices, steps: rows.steps, verdict })
}

#[derive(Default)]
struct Rows {
    prices: Vec<PriceRow>,
    steps: Vec<StepRow>,
    sampled: Option<UtcMs>,
    /// The last price row of each pair.
    last: Vec<Marked>,
    /// The standing peak and the least ratio since.
    peak: f64,
    lowest: f64,
}

impl Rows {
    /// Takes in the account as it stands after a commit.
    fn take(&mut self, commit: u64, at: UtcMs, account: &Account) {
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
