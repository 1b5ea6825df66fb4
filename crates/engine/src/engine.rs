//! `Engine::apply(commit) -> Outcome`: the one `match` that orders all rules.
//!
//! The engine is the only owner of the state. It is told commits in order and answers each with what
//! changed; it never asks for the time and never fails on what an input says. What an input may do
//! wrong is a [`Rejection`]; what the caller may do wrong is [`OutOfOrder`].

mod corrections;
mod endings;
mod extract;
mod resting;
mod schedule;
mod settlement;
mod signed;
mod stages;
#[cfg(test)]
pub(crate) mod tests;
mod valuation;
mod verdicts;

use std::io;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{
    AssetClass, Digest, DurationMs, ExecutionType, OrderId, OrderRequest, Stamp, TradePair,
    TraderId, Usd, UtcMs, market_hours,
};

use crate::account::Account;
use crate::challenge_period::reasons::ReasonsCommand;
use crate::difference::{self, Difference};
use crate::eliminations::Bar;
use crate::event::Event;
use crate::input::{Commit, Extract, Input, RecordedFill, Roster, StagesCommand};
use crate::input_chain::{Leaves, Link, Linked, Placed};
use crate::ledgers::PairSample;
use crate::limit_orders::Cancellation;
use crate::orders::seen::Key;
use crate::orders::{Desk, Plan};
use crate::positions::book::PairBook;
use crate::positions::closed::Shelf;
use crate::recent::Spare;
use crate::rejection::Rejection;
use crate::state::{self, Adopted, Index, State, View, place};

use crate::state_digest::{Checksum, Effects};
use extract::Focus;
pub use extract::{Attested, Fact, Undecided, attested_by};

/// What one commit did.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The commit and its time.
    pub stamp: Stamp,
    /// The state digest after it.
    pub digest: Digest,
    /// One answer per input, in the order of the inputs.
    pub replies: Vec<Result<(), Rejection>>,
    /// Everything that changed, in the order in which it did.
    pub events: Vec<Event>,
    /// How many of the events there were before the first input and after each of them: the events
    /// of input `n` are `ends[n]..ends[n + 1]`. Those before the first came with the time.
    pub ends: Vec<usize>,
}

impl Outcome {
    /// Returns the place of the input that the event at `place` is of; none for what came with the time.
    #[must_use]
    pub fn input_of(&self, place: usize) -> Option<u32> {
        let ended = self.ends.partition_point(|end| *end <= place);
        u32::try_from(ended.checked_sub(1)?).ok()
    }
}

/// The commit is not the next one: the log is not the one this state was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfOrder {
    /// The index is not the last one plus one.
    #[error("commit {found} cannot follow commit {last}")]
    Index {
        /// Index of the commit that was offered.
        found: u64,
        /// Index of the last commit that was applied.
        last: u64,
    },
    /// The time is before that of the last commit.
    #[error("commit {commit} is dated {found}, before {last}, the time of the commit before it")]
    Time {
        /// Index of the commit that was offered.
        commit: u64,
        /// Its time.
        found: UtcMs,
        /// Time of the last commit that was applied.
        last: UtcMs,
    },
    /// The time lies outside the years 1970 to 9999: spans counted from it would overflow.
    #[error("commit {commit} is dated {} ms, which is not within the years 1970 to 9999", .found.0)]
    Calendar {
        /// Index of the commit that was offered.
        commit: u64,
        /// Its time.
        found: UtcMs,
    },
}

/// The fold over commits.
#[derive(Debug, Default)]
pub struct Engine {
    state: State,
    index: Index,
    /// Kept for its capacity: the bytes of a commit's events, its inputs by subject, the pairs of a
    /// sample, and the recent fill that was forgotten last.
    bytes: Vec<u8>,
    leaves: Leaves,
    samples: Vec<PairSample>,
    /// Where closed positions go that are packed, and whose are moved there next.
    shelf: Option<Arc<dyn Shelf>>,
    next_to_shelve: usize,
    /// Whose account this is about, when it folds an extract.
    focus: Option<Focus>,
    spare: Spare,
}

/// One commit being applied: where it stands and what it has changed so far.
struct Step {
    stamp: Stamp,
    /// The place of the input that is being judged; none before the first. Kept in a fold of an extract.
    input: Option<u32>,
    events: Vec<Event>,
    /// Time of the commit before; absent in the first.
    before: Option<UtcMs>,
    /// Whether this commit begins a ledger cell, by the span that was asked for last.
    cell: Option<(DurationMs, bool)>,
    marks: Checksum,
    /// Which markets are open at the stamp, by row of the pair table, as far as somebody asked.
    market_open: [Option<bool>; TradePair::COUNT],
}

impl Step {
    fn new(stamp: Stamp, last: Stamp, inputs: usize) -> Self {
        Self {
            stamp,
            input: None,
            events: Vec::with_capacity(inputs),
            before: (last.commit > 0).then_some(last.at),
            cell: None,
            marks: Checksum::default(),
            market_open: [None; TradePair::COUNT],
        }
    }

    /// Returns whether this commit is the first in a ledger cell of length `span`. The answer is
    /// kept: nearly always all accounts ask for one span.
    fn begins_cell(&mut self, span: DurationMs) -> bool {
        match self.cell {
            Some((known, begins)) if known == span => begins,
            _ => {
                let begins = self.before.is_some_and(|before| parts(before, self.stamp.at, span));
                self.cell = Some((span, begins));
                begins
            }
        }
    }

    /// Returns whether `pair` can be traded at the stamp; computed once in a commit.
    fn is_open(&mut self, pair: TradePair) -> bool {
        let at = self.stamp.at;
        *self.market_open[pair.index()].get_or_insert_with(|| market_hours::is_open(pair, at))
    }
}

impl Engine {
    /// Returns an engine that has applied nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies the next commit.
    ///
    /// # Errors
    /// [`OutOfOrder`] when `commit` does not follow the last one; nothing is changed then.
    ///
    /// # Panics
    /// When an invariant of the engine is broken, which is a bug: the caller must not go on.
    pub fn apply(&mut self, commit: &Commit) -> Result<Outcome, OutOfOrder> {
        let link = self.leaves.read(&commit.inputs);
        self.apply_with(commit, link)
    }

    /// Applies the next commit, whose link in the input chain is known already.
    ///
    /// # Errors
    /// As [`Engine::apply`].
    ///
    /// # Panics
    /// As [`Engine::apply`].
    pub fn apply_linked(&mut self, linked: &Linked) -> Result<Outcome, OutOfOrder> {
        self.apply_with(linked.commit(), linked.link())
    }

    fn apply_with(&mut self, commit: &Commit, link: Link) -> Result<Outcome, OutOfOrder> {
        let mut step = self.begin(commit.index, commit.at, commit.inputs.len())?;
        let mut replies = Vec::with_capacity(commit.inputs.len());
        let mut ends = Vec::with_capacity(commit.inputs.len() + 1);
        ends.push(step.events.len());
        for (ordinal, input) in (0_u32..).zip(&commit.inputs) {
            replies.push(self.answer(&mut step, ordinal, input));
            ends.push(step.events.len());
        }
        let state = &mut self.state;
        state.stamp = step.stamp;
        state.input_chain = link.after(state.input_chain, step.stamp);
        state.effects = Effects::of(step.marks, &step.events, &mut self.bytes);
        state.digest = state.effects.digest(state.digest, state.input_chain);
        // An input closes a position or two, so this keeps up with whatever is packed.
        self.shelve(commit.inputs.len());
        let Step { stamp, events, .. } = step;
        Ok(Outcome { stamp, digest: self.state.digest, replies, events, ends })
    }

    /// Applies what is left of the next commit in an extract of a log: the inputs of everybody,
    /// those of some traders, and the quotes of every pair that these trade or convert by.
    ///
    /// Their accounts come out bit for bit as from the whole log, because no rule looks from one
    /// account to another; other accounts do not. An engine that has applied an extract states no
    /// digest: the outcome's is zero, and so is [`Engine::digest`].
    ///
    /// # Errors
    /// As [`Engine::apply`]. An extract leaves out inputs, not commits: without the times of all of
    /// them it is not known which one is the first in a ledger cell.
    ///
    /// # Panics
    /// As [`Engine::apply`].
    pub fn apply_extract(&mut self, extract: &Extract) -> Result<Outcome, OutOfOrder> {
        let mut step = self.begin(extract.index, extract.at, extract.inputs.len())?;
        let mut replies = Vec::with_capacity(extract.inputs.len());
        let mut ends = Vec::with_capacity(extract.inputs.len() + 1);
        ends.push(step.events.len());
        for Placed { ordinal, input } in &extract.inputs {
            step.input = Some(*ordinal);
            replies.push(match self.answer_given(&mut step, input) {
                true => Ok(()),
                false => self.answer(&mut step, *ordinal, input),
            });
            ends.push(step.events.len());
        }
        self.state.stamp = step.stamp;
        self.state.digest = Digest::default();
        let Step { stamp, events, .. } = step;
        Ok(Outcome { stamp, digest: Digest::default(), replies, events, ends })
    }

    /// Begins the commit `index` at `at`: cells that have ended are closed first.
    fn begin(&mut self, index: u64, at: UtcMs, inputs: usize) -> Result<Step, OutOfOrder> {
        let last = self.state.stamp;
        if index != last.commit + 1 {
            return Err(OutOfOrder::Index { found: index, last: last.commit });
        }
        if !at.is_in_range() {
            return Err(OutOfOrder::Calendar { commit: index, found: at });
        }
        if at < last.at {
            return Err(OutOfOrder::Time { commit: index, found: at, last: last.at });
        }
        let mut step = Step::new(Stamp { commit: index, at }, last, inputs);
        if last.commit > 0 {
            self.run_what_is_due(&mut step);
        }
        self.wake(at);
        Ok(step)
    }

    /// Judges the input at `ordinal`; a refusal is an event, too.
    fn answer(&mut self, step: &mut Step, ordinal: u32, input: &Input) -> Result<(), Rejection> {
        let reply = self.judge(step, input);
        if let Err(rejection) = &reply {
            step.events.push(rejected(ordinal, input, rejection));
        }
        reply
    }

    fn judge(&mut self, step: &mut Step, input: &Input) -> Result<(), Rejection> {
        match input {
            Input::Order(request) => self.place(step, request, None),
            Input::RecordedOrder(request, fill) => self.place(step, request, Some(fill)),
            Input::Prices(quotes) => self.price(step, quotes),
            Input::Roster(roster) => self.enrol(step, roster),
            Input::AccountSize(trader, size) => self.record_size(step, trader, *size),
            Input::AssetClass(trader, class) => self.choose_class(step, trader, *class),
            Input::Rulebook(text) => self.adopt(step, text),
            Input::Tick => self.tick(step),
            Input::Plagiarism(report) => self.report_plagiarism(step, report),
            Input::Stages(command) => self.command_stages(step, command),
            Input::Reasons(command) => self.command_reasons(step, command),
            Input::Reinstate(command) => self.reinstate(step, command),
            Input::SlashSettled(trader, decided) => self.settle_slash(step, trader, *decided),
            Input::Eliminations(command) => self.command_eliminations(step, command),
            Input::SyncEliminations(list) => self.sync_eliminations(step, list),
            Input::CorrectPrice(correction) => self.correct(step, correction),
            Input::SignedOrder(signed) => self.place_signed(step, signed),
        }
    }

    fn place(
        &mut self,
        step: &mut Step,
        request: &OrderRequest,
        recorded: Option<&RecordedFill>,
    ) -> Result<(), Rejection> {
        self.rules_in_force(step.stamp.at)?;
        // Gate 1: whoever is on the roster has an account, and departed traders keep theirs.
        self.state.roster.traders().ok_or(Rejection::RosterUnknown)?;
        let place = self.account_place(&request.trader)?;
        if !self.index.registered[place] {
            return Err(Rejection::NotRegistered);
        }
        let account = &self.state.accounts[place];
        let adopted = Arc::clone(self.rulebook_of(account));
        let desk = Desk {
            rulebook: &adopted.rules,
            prices: &self.state.prices,
            account,
            departed_at: self.state.roster.departed_at(&request.trader),
            seen: &self.state.seen[place],
            at: step.stamp.at,
        };
        let key = Key::of(&request.id);
        match desk.judge(request, key, recorded)? {
            Plan::NothingToClose(pair) => step.events.push(Event::NothingToClose {
                trader: request.trader.clone(),
                order: request.id.clone(),
                pair,
            }),
            Plan::Fill(fill) => self.fill(step, &adopted.rules, place, fill)?,
            Plan::Rest(order) => self.rest(step, place, order, None),
            Plan::Cancel(numbers) => {
                for number in numbers {
                    self.cancel(step, place, number, Cancellation::ByTrader);
                }
                // The id of a cancellation is not remembered: a signed one is as a message, and another
                // one under the same id is another wish.
                return Ok(());
            }
        }
        let remembered = adopted.rules.orders.ids_remembered.value;
        let seen = Arc::make_mut(&mut self.state.seen[place]);
        seen.insert(key, remembered);
        // The fill of a recorded order's bracket is recorded under this very id.
        let makes_bracket = recorded.is_none()
            && request.execution != ExecutionType::Bracket
            && (request.stop_loss.is_some() || request.take_profit.is_some());
        if makes_bracket && let Some(bracket) = request.id.bracket() {
            seen.insert(Key::of(&bracket), remembered);
        }
        Ok(())
    }

    fn enrol(&mut self, step: &mut Step, roster: &Roster) -> Result<(), Rejection> {
        let (newest, adopted) = self.rules_in_force(step.stamp.at)?;
        let adopted = Arc::clone(adopted);
        let change = Arc::make_mut(&mut self.state.roster).replace(
            &adopted.rules.roster,
            step.stamp.at,
            roster,
        )?;
        for trader in change.joined {
            if let Some(place) = self.state.accounts.place(&trader) {
                self.admit(step, place);
                continue;
            }
            let bar = match self.state.barred.contains_key(&trader) {
                true => Arc::make_mut(&mut self.state.barred).remove(&trader),
                false => None,
            };
            let bar = bar.map_or_else(Bar::default, Arc::unwrap_or_clone);
            let account = Account::new(trader.clone(), step.stamp.at, newest, bar);
            let place = self.state.accounts.push(account).expect("the trader has no account yet");
            self.state.seen.push(Arc::default());
            self.state.judged.push(Arc::default());
            step.events.push(Event::TraderEnrolled { trader, rulebook: adopted.hash });
            self.admit(step, place);
        }
        if self.index.by_name.len() < self.state.accounts.len() {
            self.index.by_name = self.state.accounts.by_name();
        }
        self.index.registered = state::registered(&self.state);
        for trader in change.departed {
            let place = self.state.accounts.place(&trader);
            step.events.push(Event::TraderDeparted { trader });
            if let Some(place) = place {
                self.cancel_all(step, place, &Cancellation::Departed);
                self.depart(step, place);
            }
        }
        Ok(())
    }

    fn record_size(
        &mut self,
        step: &mut Step,
        trader: &TraderId,
        size: Usd,
    ) -> Result<(), Rejection> {
        let place = self.account_place(trader)?;
        if size.get() <= 0.0 {
            return Err(Rejection::AccountSize);
        }
        let account = self.state.accounts.change(place);
        let valid_from = account.terms.record_size(step.stamp.at, size);
        step.events.push(Event::AccountSizeRecorded { trader: trader.clone(), size, valid_from });
        Ok(())
    }

    fn choose_class(
        &mut self,
        step: &mut Step,
        trader: &TraderId,
        class: AssetClass,
    ) -> Result<(), Rejection> {
        let place = self.account_place(trader)?;
        if let Some(chosen) = self.state.accounts[place].terms.asset_class {
            return Err(Rejection::AssetClassChosen(chosen));
        }
        self.state.accounts.change(place).terms.asset_class = Some(class);
        step.events.push(Event::AssetClassChosen { trader: trader.clone(), class });
        Ok(())
    }

    fn adopt(&mut self, step: &mut Step, text: &str) -> Result<(), Rejection> {
        let adopted =
            Adopted::parse(text).map_err(|e| Rejection::InvalidRulebook(e.to_string()))?;
        step.events.push(Event::RulebookAdopted {
            name: adopted.rules.name.clone(),
            version: adopted.rules.version,
            hash: adopted.hash,
        });
        self.state.rulebooks.push(Arc::new(adopted));
        Ok(())
    }

    /// Returns the rulebook that new accounts enrol under and that prices and rosters go by, and
    /// its place in the list: of those that are effective at `at` the one adopted last.
    fn rules_in_force(&self, at: UtcMs) -> Result<(u32, &Arc<Adopted>), Rejection> {
        self.state.rules_in_force(at).ok_or(Rejection::NoRulebook)
    }

    fn account_place(&self, trader: &TraderId) -> Result<usize, Rejection> {
        self.state.accounts.place(trader).ok_or(Rejection::NotRegistered)
    }

    fn rulebook_of(&self, account: &Account) -> &Arc<Adopted> {
        // Accounts are made with the place of an adopted rulebook, and rulebooks are never removed.
        &self.state.rulebooks[place(account.rulebook)]
    }

    /// Returns the last commit that was applied and its time.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.state.stamp
    }

    /// Returns the state digest: equal digests mean equal histories of change.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.state.digest
    }

    /// Returns the hash over every input so far.
    #[must_use]
    pub fn input_chain(&self) -> Digest {
        self.state.input_chain
    }

    /// Returns what the last commit did, in hashes: they and the input chain make the digest.
    #[must_use]
    pub fn effects(&self) -> &Effects {
        &self.state.effects
    }

    /// Returns the account of `trader` as it stands, if there is one.
    #[must_use]
    pub fn account(&self, trader: &TraderId) -> Option<&Account> {
        self.state.accounts.of(trader).map(Arc::as_ref)
    }

    /// Returns the account of `trader` as it stands now, to be kept while the engine goes on.
    #[must_use]
    pub fn account_kept(&self, trader: &TraderId) -> Option<Arc<Account>> {
        self.state.accounts.of(trader).map(Arc::clone)
    }

    /// Keeps closed positions that are packed on `shelf` from now on. No answer depends on it.
    pub fn set_shelf(&mut self, shelf: Arc<dyn Shelf>) {
        self.shelf = Some(shelf);
        self.shelve(self.state.accounts.len());
    }

    /// Moves to the shelf what is packed of the next `accounts` accounts in turn.
    fn shelve(&mut self, accounts: usize) {
        let Some(shelf) = &self.shelf else { return };
        let all = self.state.accounts.len();
        for _ in 0..accounts.min(all) {
            let place = self.next_to_shelve % all;
            self.next_to_shelve = place + 1;
            let waits = |book: &PairBook| book.closed().waits_for_shelf();
            if self.state.accounts[place].book.pairs().iter().any(waits) {
                let books = self.state.accounts.change(place).book.pairs_mut();
                books.iter_mut().for_each(|book| book.shelve(&**shelf));
            }
        }
    }

    /// Returns an immutable picture of the state for readers.
    #[must_use]
    pub fn view(&self) -> View {
        self.state.view()
    }

    /// Returns the whole state as it stands, to be written while the engine goes on: it is shared, not
    /// copied.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint(self.state.clone())
    }

    /// Returns the first field in which this state and that of `other` differ.
    #[must_use]
    pub fn first_difference(&self, other: &Self) -> Option<Difference> {
        difference::first(&self.state, &other.state)
    }

    /// Writes the whole state in canonical bytes.
    ///
    /// # Errors
    /// When `writer` fails, or when the state holds a number without a canonical form.
    pub fn save<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        self.state.serialize(writer)
    }

    /// Returns the engine whose state [`Engine::save`] wrote.
    ///
    /// # Errors
    /// When `bytes` are malformed, have a rest, or hold a state that breaks its invariants.
    pub fn load(bytes: &[u8]) -> io::Result<Self> {
        let state = State::try_from_slice(bytes)?;
        state.check()?;
        let index = Index::of(&state);
        Ok(Self { state, index, ..Self::default() })
    }
}

/// The whole state as of one commit.
#[derive(Clone, Debug)]
pub struct Checkpoint(State);

impl Checkpoint {
    /// Writes it in canonical bytes, those of [`Engine::save`].
    ///
    /// # Errors
    /// As [`Engine::save`].
    pub fn save<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        self.0.serialize(writer)
    }
}

/// Tells whether a ledger cell of length `span` ends between two times.
fn parts(before: UtcMs, at: UtcMs, span: DurationMs) -> bool {
    before.0.div_euclid(span.0) != at.0.div_euclid(span.0)
}

/// Returns the event that the input at `ordinal` was refused.
fn rejected(ordinal: u32, input: &Input, rejection: &Rejection) -> Event {
    let (trader, order): (Option<&TraderId>, Option<&OrderId>) = match input {
        Input::Order(request) | Input::RecordedOrder(request, _) => {
            (Some(&request.trader), Some(&request.id))
        }
        Input::SignedOrder(signed) => (Some(&signed.request.trader), Some(&signed.request.id)),
        Input::CorrectPrice(correction) => (Some(&correction.trader), None),
        Input::AccountSize(trader, _)
        | Input::AssetClass(trader, _)
        | Input::Stages(StagesCommand::Remove(trader))
        | Input::Reasons(ReasonsCommand::Pop(trader))
        | Input::SlashSettled(trader, _) => (Some(trader), None),
        Input::Reinstate(command) => (Some(&command.trader), None),
        Input::Prices(_)
        | Input::Roster(_)
        | Input::Rulebook(_)
        | Input::Tick
        | Input::Plagiarism(_)
        | Input::Stages(StagesCommand::Set(_) | StagesCommand::Refresh)
        | Input::Reasons(ReasonsCommand::Update(_) | ReasonsCommand::Clear { .. })
        | Input::Eliminations(_)
        | Input::SyncEliminations(_) => (None, None),
    };
    Event::Rejected {
        input: ordinal,
        trader: trader.cloned(),
        order: order.cloned(),
        rejection: rejection.clone(),
    }
}
