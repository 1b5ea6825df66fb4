//! The orders whose price can still be corrected, and how the account stood before each.

use std::io;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{OrderId, TradePair, UtcMs};

use crate::account::Account;
use crate::ledgers::bundle::BundlePoint;
use crate::positions::book::{ClosedTotals, PairBook};
use crate::rulebook::PriceRules;

/// The youngest orders of an account, oldest first. Shared with readers' copies.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Recent {
    pub(crate) fills: Vec<Recorded>,
}

/// An order that was filled lately, and when.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recorded {
    /// The time of the commit that filled it. Beside the fill: each new one asks for the time of the
    /// oldest, and what else is kept of that is far off in memory.
    pub(crate) at: UtcMs,
    /// Whether it was filled together with the order before, so that it has no record of how the
    /// account stood; here for the same reason.
    pub(crate) joins: bool,
    pub(crate) fill: Arc<RecentFill>,
}

/// What is kept of an order that was filled lately.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RecentFill {
    pub(crate) pair: TradePair,
    pub(crate) order: OrderId,
    /// How the account stood before it; absent when it was filled together with the order before.
    pub(crate) before: Option<Before>,
}

/// A fill that no account keeps any more: the next one is written into its memory.
pub(crate) type Spare = Option<Arc<RecentFill>>;

/// How an account stood: what cannot be computed from its positions' orders.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Before {
    pub(crate) pairs: Vec<PairBefore>,
    pub(crate) ledgers: Option<BundlePoint>,
}

/// How one pair of an account stood.
#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub(crate) struct PairBefore {
    pub(crate) pair: TradePair,
    pub(crate) totals: ClosedTotals,
    pub(crate) price_changed: bool,
    /// The price of the last mark; absent when the value was that of the last order.
    pub(crate) marked: Option<f64>,
    /// Until when fees were in the value.
    pub(crate) valued_at: UtcMs,
}

impl Before {
    /// Returns how `account` stands.
    pub(crate) fn of(account: &Account) -> Self {
        Self {
            pairs: account.book.pairs().iter().map(PairBefore::of).collect(),
            ledgers: account.ledgers.as_ref().map(|ledgers| ledgers.point()),
        }
    }

    /// Writes how `account` stands over this, into the memory that it has.
    fn renew(&mut self, account: &Account) {
        self.pairs.clear();
        self.pairs.extend(account.book.pairs().iter().map(PairBefore::of));
        match (&mut self.ledgers, &account.ledgers) {
            (Some(point), Some(ledgers)) => ledgers.point_over(point),
            (point, ledgers) => *point = ledgers.as_ref().map(|ledgers| ledgers.point()),
        }
    }

    /// Returns how `pair` stood, if it had been traded.
    pub(crate) fn pair(&self, pair: TradePair) -> Option<&PairBefore> {
        let place = self.pairs.binary_search_by_key(&pair, |before| before.pair).ok()?;
        self.pairs.get(place)
    }
}

impl PairBefore {
    fn of(book: &PairBook) -> Self {
        let mark = book.last_mark.as_ref().filter(|mark| mark.source.is_some());
        Self {
            pair: book.pair,
            totals: book.totals,
            price_changed: book.price_changed,
            marked: mark.map(|mark| mark.price),
            valued_at: book.valued_at,
        }
    }
}

impl RecentFill {
    /// Returns the fill of `order` in `pair` that `account` is about to have.
    pub(crate) fn ahead(
        spare: &mut Spare,
        pair: TradePair,
        order: &OrderId,
        account: &Account,
    ) -> Arc<Self> {
        let mut fill = spare.take();
        if let Some(own) = fill.as_mut().and_then(Arc::get_mut)
            && let Some(before) = &mut own.before
        {
            before.renew(account);
            own.pair = pair;
            own.order.clone_from(order);
            return fill.expect("it was written to");
        }
        Arc::new(Self { pair, order: order.clone(), before: Some(Before::of(account)) })
    }
}

impl Recent {
    /// Adds the orders that one commit filled together, the first of which is `first` and was made
    /// before it was filled, and forgets the oldest ones.
    pub(crate) fn add(
        &mut self,
        rules: &PriceRules,
        at: UtcMs,
        first: Arc<RecentFill>,
        second: Option<OrderId>,
        spare: &mut Spare,
    ) {
        self.forget(self.old(rules, at), spare);
        let pair = first.pair;
        self.fills.push(Recorded { at, joins: false, fill: first });
        if let Some(order) = second {
            let fill = Arc::new(RecentFill { pair, order, before: None });
            self.fills.push(Recorded { at, joins: true, fill });
        }
        let most = usize::try_from(rules.correctable_max.value).unwrap_or(usize::MAX);
        self.forget(self.fills.len().saturating_sub(most), spare);
    }

    /// Forgets the orders that are too old to be corrected.
    pub(crate) fn prune(&mut self, rules: &PriceRules, at: UtcMs) {
        self.forget(self.old(rules, at), &mut None);
    }

    /// Returns how many orders are too old to be corrected.
    fn old(&self, rules: &PriceRules, at: UtcMs) -> usize {
        let window = rules.correction_window.value;
        // From the oldest on, not by halves: mostly at most one of them has become too old.
        self.fills.iter().take_while(|fill| at.since(fill.at) > window).count()
    }

    /// Forgets the oldest `count`, and with them those that cannot be replayed without them.
    fn forget(&mut self, count: usize, spare: &mut Spare) {
        if count == 0 {
            return;
        }
        let rest = self.fills.iter().skip(count);
        let orphans = rest.take_while(|young| young.joins).count();
        for forgotten in self.fills.drain(..count + orphans) {
            *spare = Some(forgotten.fill);
        }
    }
}

/// Written as one record: the time stands after the order.
impl BorshSerialize for Recorded {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        let RecentFill { pair, order, before } = &*self.fill;
        (pair, order, self.at, before).serialize(writer)
    }
}

impl BorshDeserialize for Recorded {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let (pair, order, at) = BorshDeserialize::deserialize_reader(reader)?;
        let before = Option::<Before>::deserialize_reader(reader)?;
        let joins = before.is_none();
        Ok(Self { at, joins, fill: Arc::new(RecentFill { pair, order, before }) })
    }
}
