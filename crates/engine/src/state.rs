//! `State`: the whole world as plain fields, and the `View` that readers get of it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{Digest, Stamp, TradePair, TraderId, UtcMs, ValidatorId};

use crate::account::{Account, Accounts};
use crate::challenge_period::{ChallengePeriod, Stage};
use crate::eliminations::Bar;
use crate::limit_orders::trigger::{Sleepers, Triggers};
use crate::limit_orders::{RestingOrder, last_fill};
use crate::orders::judged::Judged;
use crate::orders::seen::SeenIds;
use crate::prices::Prices;
use crate::roster::Registered;
use crate::rulebook::{Rulebook, RulebookError};
use crate::state_digest::Effects;

/// A rulebook that the log has adopted: the document and what it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Adopted {
    /// The document, as it stands in the log.
    pub text: String,
    /// Its hash.
    pub hash: Digest,
    /// What it says.
    pub rules: Rulebook,
}

impl Adopted {
    /// Returns the rulebook written in `text`.
    ///
    /// # Errors
    /// [`RulebookError`] says what is wrong with the document.
    pub fn parse(text: &str) -> Result<Self, RulebookError> {
        let rules = Rulebook::parse(text)?;
        Ok(Self { text: text.into(), hash: Rulebook::hash(text), rules })
    }
}

impl BorshSerialize for Adopted {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        self.text.serialize(writer)
    }
}

impl BorshDeserialize for Adopted {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        Self::parse(&String::deserialize_reader(reader)?)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }
}

/// The engine's state. One owner changes it; everything in it is a function of the log.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct State {
    /// The last commit that was applied.
    pub(crate) stamp: Stamp,
    /// Chains over everything that every commit held and changed.
    pub(crate) digest: Digest,
    /// Chains over every input.
    pub(crate) input_chain: Digest,
    /// What the last commit did.
    pub(crate) effects: Effects,
    /// Every rulebook ever adopted, in order; the last one is in force for new accounts.
    pub(crate) rulebooks: Vec<Arc<Adopted>>,
    /// Latest prices.
    pub(crate) prices: Arc<Prices>,
    /// Who is registered.
    pub(crate) roster: Arc<Registered>,
    /// Accounts in the order of enrolment. Shared with readers' views and copied when written to.
    pub(crate) accounts: Accounts,
    /// Processed order ids, one entry per account; no reader needs them. Shared with checkpoints that
    /// are being written, as the next.
    pub(crate) seen: Vec<Arc<SeenIds>>,
    /// Signed messages that were judged and whose windows may be open, one entry per account.
    pub(crate) judged: Vec<Arc<Judged>>,
    /// What the challenge period keeps beside the traders' standings.
    pub(crate) challenge: Arc<ChallengePeriod>,
    /// What is held against traders who have no account. Nobody in it has one. Readers hold the list, so
    /// a change copies it, but no record.
    pub(crate) barred: Arc<BTreeMap<TraderId, Arc<Bar>>>,
    /// As of when the last list of each other validator was.
    pub(crate) synced: BTreeMap<ValidatorId, UtcMs>,
    /// The last report on zombies that are held, so that it is made once.
    pub(crate) zombies_held: (u32, u32),
}

/// An immutable picture of the state as of one commit, cheap to make and to hold.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The commit that the view is of, and its time.
    pub stamp: Stamp,
    /// The state digest after that commit.
    pub digest: Digest,
    /// Every rulebook ever adopted, in order.
    pub rulebooks: Vec<Arc<Adopted>>,
    /// Latest prices.
    pub prices: Arc<Prices>,
    /// Who is registered.
    pub roster: Arc<Registered>,
    /// Accounts in the order of enrolment, to be found by trader.
    pub accounts: Accounts,
    /// What the challenge period keeps beside the traders' standings.
    pub challenge: Arc<ChallengePeriod>,
    /// What is held against traders who have no account.
    pub barred: Arc<BTreeMap<TraderId, Arc<Bar>>>,
}

impl View {
    /// Returns the accounts in `stage`, in the order of enrolment.
    pub fn in_stage(&self, stage: Stage) -> impl Iterator<Item = &Account> {
        let accounts = self.accounts.iter().map(Arc::as_ref);
        accounts.filter(move |account| account.standing.is_some_and(|s| s.stage == stage))
    }

    /// Returns the account of `trader`, if there is one.
    #[must_use]
    pub fn account(&self, trader: &TraderId) -> Option<&Account> {
        self.accounts.of(trader).map(Arc::as_ref)
    }

    /// Returns the rulebook that new accounts enrol under as of the view.
    #[must_use]
    pub fn rulebook_in_force(&self) -> Option<&Adopted> {
        in_force(&self.rulebooks, self.stamp.at).map(|(_, adopted)| adopted.as_ref())
    }

    /// Returns the rulebook that `account` keeps.
    #[must_use]
    pub fn rulebook_of(&self, account: &Account) -> Option<&Adopted> {
        self.rulebooks.get(place(account.rulebook)).map(Arc::as_ref)
    }
}

impl State {
    /// Returns a view of the state: pointers, no copies of accounts.
    #[must_use]
    pub fn view(&self) -> View {
        View {
            stamp: self.stamp,
            digest: self.digest,
            rulebooks: self.rulebooks.clone(),
            prices: Arc::clone(&self.prices),
            roster: Arc::clone(&self.roster),
            accounts: self.accounts.clone(),
            challenge: Arc::clone(&self.challenge),
            barred: Arc::clone(&self.barred),
        }
    }

    /// Returns the rulebook that new accounts enrol under at `at`, and its place in the list.
    pub(crate) fn rules_in_force(&self, at: UtcMs) -> Option<(u32, &Arc<Adopted>)> {
        in_force(&self.rulebooks, at)
    }

    /// Asserts what must hold of any state that was loaded from bytes.
    pub(crate) fn check(&self) -> io::Result<()> {
        let broken = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
        let accounts = self.accounts.len();
        if accounts != self.seen.len() || accounts != self.judged.len() {
            return broken("accounts and order memories differ in number");
        }
        if self.accounts.iter().any(|account| place(account.rulebook) >= self.rulebooks.len()) {
            return broken("an account refers to a rulebook that was never adopted");
        }
        let wrong = |account: &Arc<Account>| {
            account
                .standing
                .is_some_and(|standing| !standing.is_sound() || account.elimination.is_some())
        };
        if self.accounts.iter().any(wrong) {
            return broken("an account is in a stage that it cannot be in");
        }
        if !self.challenge.is_sound() {
            return broken("the register of reasons or the list of suspects is out of order");
        }
        if self.accounts.iter().any(|account| self.barred.contains_key(&account.trader)) {
            return broken("a trader with an account is kept among those without one");
        }
        self.accounts.iter().try_for_each(|account| account.resting.check())
    }
}

/// What is derived from the state for speed: never stored, rebuilt when a state is loaded.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Index {
    /// Places of all accounts in the order of their traders' names.
    pub(crate) by_name: Vec<usize>,
    /// Whether the trader is on the roster, by place of the account.
    pub(crate) registered: Vec<bool>,
    /// Places of the accounts with an open position, ascending, by row of the pair table.
    pub(crate) holders: Vec<Vec<usize>>,
    /// The prices at which resting orders are reached.
    pub(crate) triggers: Triggers,
    /// Pairs of accounts that wait out the interval after the fill of a resting order.
    pub(crate) sleepers: Sleepers,
}

impl Index {
    /// Returns the index of `state`.
    pub(crate) fn of(state: &State) -> Self {
        let by_name = state.accounts.by_name();
        let mut index = Self { by_name, registered: registered(state), ..Self::default() };
        for (place, account) in state.accounts.iter().enumerate() {
            for position in account.book.open_positions() {
                index.set_holding(position.pair(), place, true);
            }
            // Accounts keep an adopted rulebook; `State::check` has seen to it.
            let Some(adopted) = state.rulebooks.get(self::place(account.rulebook)) else {
                continue;
            };
            let interval = adopted.rules.limit_orders.fill_interval.value;
            for book in account.book.pairs() {
                let since = UtcMs(state.stamp.at.0.saturating_sub(interval.0));
                if let Some(filled_at) = last_fill(book, since) {
                    index.sleepers.sleep(place, book.pair, UtcMs(filled_at.0 + interval.0));
                }
            }
            for order in account.resting.orders() {
                index.watch(account, place, order);
            }
        }
        index
    }

    /// Watches the prices of a resting order of the account at `place`, unless its pair sleeps.
    pub(crate) fn watch(&mut self, account: &Account, place: usize, order: &RestingOrder) {
        if !self.sleepers.is_asleep(place, order.pair) {
            self.triggers.insert(account.rulebook, place, order);
        }
    }

    /// Records whether the account at `place` has an open position in `pair`.
    pub(crate) fn set_holding(&mut self, pair: TradePair, place: usize, holds: bool) {
        if self.holders.len() < TradePair::COUNT {
            self.holders.resize_with(TradePair::COUNT, Vec::new);
        }
        let holders = &mut self.holders[pair.index()];
        match (holders.binary_search(&place), holds) {
            (Err(free), true) => holders.insert(free, place),
            (Ok(found), false) => {
                holders.remove(found);
            }
            (Ok(_), true) | (Err(_), false) => {}
        }
    }
}

/// Returns whether each account's trader is on the roster.
pub(crate) fn registered(state: &State) -> Vec<bool> {
    let on_roster = |account: &Arc<Account>| state.roster.admit(&account.trader).is_ok();
    state.accounts.iter().map(on_roster).collect()
}

/// Returns `number` as a place in a list; one that does not fit is past the end of any list.
pub(crate) fn place(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Returns the last of `rulebooks` that is effective at `at`, and its place.
fn in_force(rulebooks: &[Arc<Adopted>], at: UtcMs) -> Option<(u32, &Arc<Adopted>)> {
    (0..).zip(rulebooks).filter(|(_, adopted)| adopted.rules.effective_from_ms <= at).last()
}
