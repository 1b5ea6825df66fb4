//! Where two states differ first: the part of the engine that owns the field, whose it is, both values.
//!
//! Parts are gone through in the order of cause and effect: what differs in an earlier one is why a
//! later one differs. What is equal is told by canonical bytes, and only what is not is walked
//! through, by its debug text, so no field can be forgotten here and none is named by hand.

mod text;

use std::fmt::{self, Debug};
use std::sync::Arc;

use borsh::BorshSerialize;
use proctor_types::TraderId;

use crate::account::Account;
use crate::positions::book::PairBook;
use crate::state::State;

/// A part of the engine that owns some of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The adopted rulebooks.
    Rulebooks,
    /// Who is registered.
    Roster,
    /// Quotes and marks.
    Prices,
    /// Enrolment, account size, asset class.
    Accounts,
    /// Order ids, signed messages, resting orders, orders that can be corrected.
    Orders,
    /// Positions, open and closed.
    Positions,
    /// Performance ledgers.
    Ledgers,
    /// Stages, scores, reasons.
    ChallengePeriod,
    /// Records of ends, bars, lists of other validators.
    Eliminations,
    /// The stamp and the digests over all of it.
    Digests,
}

impl Owner {
    /// Every part, in the order of cause and effect.
    pub const ALL: [Self; 10] = [
        Self::Rulebooks,
        Self::Roster,
        Self::Prices,
        Self::Accounts,
        Self::Orders,
        Self::Positions,
        Self::Ledgers,
        Self::ChallengePeriod,
        Self::Eliminations,
        Self::Digests,
    ];
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rulebooks => "rulebooks",
            Self::Roster => "roster",
            Self::Prices => "prices",
            Self::Accounts => "accounts",
            Self::Orders => "orders",
            Self::Positions => "positions",
            Self::Ledgers => "ledgers",
            Self::ChallengePeriod => "challenge period",
            Self::Eliminations => "eliminations",
            Self::Digests => "digests",
        })
    }
}

/// The first field in which two states differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Who owns it.
    pub owner: Owner,
    /// Whose account it is of.
    pub trader: Option<TraderId>,
    /// The path to it, within the state or the account.
    pub field: String,
    /// Its value in the first state and in the second.
    pub values: Box<(String, String)>,
}

impl fmt::Display for Difference {
    /// Writes everything but the values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.owner)?;
        if let Some(trader) = &self.trader {
            write!(f, " of {trader}")?;
        }
        write!(f, ", {}", self.field)
    }
}

/// Returns the first difference between two states.
pub(crate) fn first(a: &State, b: &State) -> Option<Difference> {
    Owner::ALL.into_iter().find_map(|owner| of_all(owner, a, b).or_else(|| of_each(owner, a, b)))
}

/// Returns the first difference in what `owner` keeps of nobody in particular.
fn of_all(owner: Owner, a: &State, b: &State) -> Option<Difference> {
    // Taken apart so that a new field does not compile until it has an owner here.
    let State {
        stamp,
        digest,
        input_chain,
        effects,
        rulebooks,
        prices,
        roster,
        accounts,
        seen,
        judged,
        challenge,
        barred,
        synced,
        zombies_held,
    } = a;
    let hashes = |state: &State| state.rulebooks.iter().map(|one| one.hash).collect::<Vec<_>>();
    let traders = |state: &State| {
        state.accounts.iter().map(|account| account.trader.clone()).collect::<Vec<_>>()
    };
    let found = match owner {
        Owner::Rulebooks => {
            debug_assert_eq!(rulebooks.len(), hashes(a).len(), "one hash each");
            within("rulebooks", &hashes(a), &hashes(b))
        }
        Owner::Roster => within("roster", roster, &b.roster),
        Owner::Prices => within("prices", prices, &b.prices),
        Owner::Accounts => {
            debug_assert_eq!(accounts.len(), traders(a).len(), "one trader each");
            within("traders", &traders(a), &traders(b))
        }
        Owner::Orders => within("seen.len", &seen.len(), &b.seen.len())
            .or_else(|| within("judged.len", &judged.len(), &b.judged.len())),
        Owner::Positions | Owner::Ledgers => None,
        Owner::ChallengePeriod => within("challenge", challenge, &b.challenge),
        Owner::Eliminations => within("barred", barred, &b.barred)
            .or_else(|| within("synced", synced, &b.synced))
            .or_else(|| within("zombies_held", zombies_held, &b.zombies_held)),
        Owner::Digests => within("stamp", stamp, &b.stamp)
            .or_else(|| within("input_chain", input_chain, &b.input_chain))
            .or_else(|| within("effects", effects, &b.effects))
            .or_else(|| within("digest", digest, &b.digest)),
    };
    found.map(|found| found.told(owner, None))
}

/// Returns the first difference in what `owner` keeps of each account, in the order of enrolment.
fn of_each(owner: Owner, a: &State, b: &State) -> Option<Difference> {
    let pairs = a.accounts.iter().zip(b.accounts.iter()).enumerate();
    pairs.into_iter().find_map(|(place, (left, right))| {
        let memory = || {
            let seen = (a.seen.get(place)?, b.seen.get(place)?);
            let judged = (a.judged.get(place)?, b.judged.get(place)?);
            within("seen", seen.0, seen.1).or_else(|| within("judged", judged.0, judged.1))
        };
        let first = if owner == Owner::Orders { memory() } else { None };
        let found = first.or_else(|| of_account(owner, left, right));
        found.map(|found| found.told(owner, Some(left.trader.clone())))
    })
}

fn of_account(owner: Owner, a: &Arc<Account>, b: &Arc<Account>) -> Option<Found> {
    // As above.
    let Account {
        trader: _,
        enrolled_at,
        rulebook,
        terms,
        book,
        ledgers,
        elimination,
        standing,
        epoch,
        past,
        resting,
        frozen,
        recent,
    } = a.as_ref();
    match owner {
        Owner::Accounts => within("enrolled_at", enrolled_at, &b.enrolled_at)
            .or_else(|| within("rulebook", rulebook, &b.rulebook))
            .or_else(|| within("terms", terms, &b.terms))
            .or_else(|| within("epoch", epoch, &b.epoch)),
        Owner::Orders => {
            within("resting", resting, &b.resting).or_else(|| within("recent", recent, &b.recent))
        }
        Owner::Positions => {
            let mine = book.pairs();
            let theirs = b.book.pairs();
            let names = |pairs: &[PairBook]| pairs.iter().map(|one| one.pair).collect::<Vec<_>>();
            within("pairs", &names(mine), &names(theirs))
                .or_else(|| mine.iter().zip(theirs).find_map(|(a, b)| of_pair(a, b)))
        }
        Owner::Ledgers => within("ledgers", ledgers, &b.ledgers),
        Owner::ChallengePeriod => within("standing", standing, &b.standing),
        Owner::Eliminations => within("elimination", elimination, &b.elimination)
            .or_else(|| within("past", past, &b.past))
            .or_else(|| within("frozen", frozen, &b.frozen)),
        Owner::Rulebooks | Owner::Roster | Owner::Prices | Owner::Digests => None,
    }
}

/// Compares the positions in one pair; closed ones may be packed and are unpacked for it.
fn of_pair(a: &PairBook, b: &PairBook) -> Option<Found> {
    if same(a, b) {
        return None;
    }
    let found = within("open", &a.open, &b.open)
        .or_else(|| {
            let closed = a.closed().iter().zip(b.closed().iter()).enumerate();
            closed.into_iter().find_map(|(place, (left, right))| {
                within(&format!("closed[{place}]"), &left, &right)
            })
        })
        .or_else(|| within("closed.len", &a.closed().len(), &b.closed().len()))
        .or_else(|| within("first_order_at", &a.first_order_at, &b.first_order_at))
        .or_else(|| within("last_accepted_at", &a.last_accepted_at, &b.last_accepted_at))
        .or_else(|| within("last_mark", &a.last_mark, &b.last_mark))
        .or_else(|| within("valued_at", &a.valued_at, &b.valued_at))
        .or_else(|| within("price_changed", &a.price_changed, &b.price_changed))
        .or_else(|| within("totals", &a.totals, &b.totals))
        // What is none of these differs in its bytes all the same.
        .or_else(|| within("", a, b))?;
    Some(Found { field: format!("{:?}.{}", a.pair, found.field), ..found })
}

struct Found {
    field: String,
    values: (String, String),
}

impl Found {
    fn told(self, owner: Owner, trader: Option<TraderId>) -> Difference {
        Difference { owner, trader, field: self.field, values: Box::new(self.values) }
    }
}

fn same<T: BorshSerialize>(a: &T, b: &T) -> bool {
    matches!((borsh::to_vec(a), borsh::to_vec(b)), (Ok(a), Ok(b)) if a == b)
}

fn within<T: BorshSerialize + Debug>(name: &str, a: &T, b: &T) -> Option<Found> {
    if same(a, b) {
        return None;
    }
    let (mine, theirs) = (format!("{a:#?}"), format!("{b:#?}"));
    let (path, values) = text::first(&mine, &theirs)
        .unwrap_or_else(|| (String::new(), ("its bytes".to_owned(), "other bytes".to_owned())));
    Some(Found { field: format!("{name}{path}"), values })
}

#[cfg(test)]
mod tests;
