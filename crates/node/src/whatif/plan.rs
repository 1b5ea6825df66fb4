//! `Plan`: where in the log each alteration applies, and what a commit becomes by it.
//!
//! The log is read once before it is folded, so that a question that does not fit it is refused at
//! once and says what would fit.

use std::collections::BTreeMap;

use proctor_commit_log::Reader;
use proctor_engine::rulebook::Rulebook;
use proctor_engine::state::Adopted;
use proctor_engine::{Commit, Input};
use proctor_sequencer::ReplayError;
use proctor_types::{OrderId, Price, Quote, SourceName, Stamp, TradePair, TraderId, UtcMs};
use proctor_wire::log_entry::LogEntry;

use super::{Alteration, Change, Impossible, Question, WhatIfError};

/// What becomes of the commits of a log.
pub(super) struct Plan {
    rulebook: Option<String>,
    edits: BTreeMap<u64, Vec<Edit>>,
    changes: Vec<Change>,
    last: u64,
}

/// One change to the inputs of a commit.
enum Edit {
    Price { source: Option<SourceName>, pair: TradePair, price: Price },
    Fill { trader: TraderId, order: OrderId, price: Price },
    Remove { trader: TraderId, order: OrderId },
    Append(Box<Input>),
}

/// A price to be corrected, and what the log has there.
struct PriceWish {
    source: Option<SourceName>,
    pair: TradePair,
    commit: u64,
    price: Price,
    at: Option<UtcMs>,
    /// The recorded prices, as source and last price.
    recorded: Vec<String>,
    /// What else the commit prices.
    others: Vec<String>,
    before: Option<u64>,
    after: Option<u64>,
}

/// An order to be corrected or left out, and where the log has it.
#[derive(Default)]
struct OrderWish {
    price: Option<Price>,
    at: Option<UtcMs>,
    drop: bool,
    found: Vec<(Stamp, Input)>,
    /// The commit that a moved order is judged in.
    target: Option<Stamp>,
    /// How many orders the trader sent.
    sent: u64,
}

impl Plan {
    /// Returns the plan for `question` on the log that `reader` reads from its beginning.
    pub(super) fn of(question: &Question, mut reader: Reader) -> Result<Self, WhatIfError> {
        let rules = question.rulebook.as_deref().map(Adopted::parse).transpose()?;
        let mut survey = Survey::of(&question.alterations)?;
        if rules.is_none() && question.alterations.is_empty() {
            return Err(WhatIfError::NothingAltered);
        }
        let (mut last, mut adopted) = (Stamp::default(), Vec::new());
        while let Some(record) = reader.next().transpose().map_err(ReplayError::from)? {
            let entry = LogEntry::decode(&record.payload)
                .map_err(|error| ReplayError::Decode { commit: record.index, error })?;
            let commit = entry.into_commit(record.index);
            last = Stamp { commit: commit.index, at: commit.at };
            survey.see(&commit);
            adopted.extend(commit.inputs.iter().filter_map(adoptable).map(|name| (last, name)));
        }
        if last.commit == 0 {
            return Err(Impossible::EmptyLog.into());
        }
        let mut changes = Vec::new();
        if let Some(rules) = &rules {
            let effective = rules.rules.effective_from_ms;
            if let Some((first, _)) = adopted.first().filter(|(first, _)| first.at < effective) {
                return Err(Impossible::NotYetEffective { effective, adopted: first.at }.into());
            }
            changes.extend(adopted.into_iter().map(|(stamp, recorded)| Change {
                place: stamp.into(),
                what: "rulebook".into(),
                trader: None,
                recorded,
                altered: named(rules),
            }));
        }
        let mut plan = Self {
            rulebook: question.rulebook.clone(),
            edits: BTreeMap::new(),
            changes,
            last: last.commit,
        };
        survey.plan(&mut plan, last)?;
        Ok(plan)
    }

    /// Returns the last commit that the plan covers.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Returns what is altered, in words.
    pub(super) fn into_changes(self) -> Vec<Change> {
        self.changes
    }

    /// Returns `commit` as altered, or `None` when it stays as it is.
    pub(super) fn alter(&self, commit: &Commit) -> Option<Commit> {
        let edits = self.edits.get(&commit.index).map_or(&[][..], Vec::as_slice);
        let adopts = |input: &Input| adoptable(input).is_some();
        let rulebook = self.rulebook.as_ref().filter(|_| commit.inputs.iter().any(adopts));
        if edits.is_empty() && rulebook.is_none() {
            return None;
        }
        let mut altered = commit.clone();
        for edit in edits {
            edit.apply(&mut altered.inputs);
        }
        if let Some(rulebook) = rulebook {
            let documents = altered.inputs.iter_mut().filter(|input| adopts(input));
            documents.for_each(|input| *input = Input::Rulebook(rulebook.clone()));
        }
        Some(altered)
    }

    fn edit(&mut self, commit: u64, edit: Edit) {
        self.edits.entry(commit).or_default().push(edit);
    }
}

impl Edit {
    fn apply(&self, inputs: &mut Vec<Input>) {
        match self {
            Self::Price { source, pair, price } => {
                for input in inputs {
                    let Input::Prices(quotes) = input else { continue };
                    let same = |quote: &&mut Quote| is_priced(quote, source.as_ref(), *pair);
                    quotes.iter_mut().filter(same).for_each(|quote| reprice(quote, *price));
                }
            }
            Self::Fill { trader, order, price } => {
                let same = |input: &&mut Input| is_order(input, trader, order);
                inputs.iter_mut().filter(same).for_each(|input| refill(input, *price));
            }
            Self::Remove { trader, order } => {
                inputs.retain(|input| !is_order(input, trader, order));
            }
            Self::Append(input) => inputs.push(input.as_ref().clone()),
        }
    }
}

/// What the alterations ask for, and what the log has of it.
struct Survey {
    prices: Vec<PriceWish>,
    orders: BTreeMap<(TraderId, OrderId), OrderWish>,
}

impl Survey {
    /// Returns the wishes of `alterations` before the log was read.
    fn of(alterations: &[Alteration]) -> Result<Self, Impossible> {
        let mut survey = Self { prices: Vec::new(), orders: BTreeMap::new() };
        for alteration in alterations {
            let (trader, order) = match alteration {
                Alteration::Price { source, pair, commit, price } => {
                    survey.price(source.as_ref(), *pair, *commit, *price)?;
                    continue;
                }
                Alteration::Fill { trader, order, .. }
                | Alteration::Time { trader, order, .. }
                | Alteration::Drop { trader, order } => (trader, order),
            };
            let wish = survey.orders.entry((trader.clone(), order.clone())).or_default();
            let was_set = match alteration {
                Alteration::Fill { price, .. } => wish.price.replace(*price).is_some(),
                Alteration::Time { at, .. } => wish.at.replace(*at).is_some(),
                Alteration::Price { .. } | Alteration::Drop { .. } => {
                    std::mem::replace(&mut wish.drop, true)
                }
            };
            if was_set || (wish.drop && (wish.price.is_some() || wish.at.is_some())) {
                return Err(Impossible::Twice(format!("order {order} of trader {trader}")));
            }
        }
        Ok(survey)
    }

    fn price(
        &mut self,
        source: Option<&SourceName>,
        pair: TradePair,
        commit: u64,
        price: Price,
    ) -> Result<(), Impossible> {
        let same =
            |w: &PriceWish| w.pair == pair && w.commit == commit && w.source.as_ref() == source;
        if self.prices.iter().any(same) {
            return Err(Impossible::Twice(format!("the price of {pair} in commit {commit}")));
        }
        self.prices.push(PriceWish {
            source: source.cloned(),
            pair,
            commit,
            price,
            at: None,
            recorded: Vec::new(),
            others: Vec::new(),
            before: None,
            after: None,
        });
        Ok(())
    }

    /// Takes in what `commit` has of what is asked for.
    fn see(&mut self, commit: &Commit) {
        let stamp = Stamp { commit: commit.index, at: commit.at };
        for wish in self.orders.values_mut() {
            if wish.target.is_none() && wish.at.is_some_and(|at| at <= commit.at) {
                wish.target = Some(stamp);
            }
        }
        for input in &commit.inputs {
            if let Input::Prices(quotes) = input {
                self.prices.iter_mut().for_each(|wish| wish.see(stamp, quotes));
            }
            let Some(request) = input.order() else { continue };
            for ((trader, order), wish) in &mut self.orders {
                if request.trader == *trader {
                    wish.sent += 1;
                    if request.id == *order {
                        wish.found.push((stamp, unsigned(input)));
                    }
                }
            }
        }
    }

    /// Adds the edits to `plan`, for a log that ends at `last`.
    fn plan(self, plan: &mut Plan, last: Stamp) -> Result<(), Impossible> {
        for wish in self.prices {
            wish.plan(plan, last)?;
        }
        for ((trader, order), wish) in self.orders {
            wish.plan(plan, &trader, &order, last)?;
        }
        Ok(())
    }
}

impl PriceWish {
    fn see(&mut self, stamp: Stamp, quotes: &[Quote]) {
        for quote in quotes {
            let priced = is_priced(quote, self.source.as_ref(), self.pair);
            let name = || format!("{}/{}", quote.source, quote.pair);
            match (stamp.commit.cmp(&self.commit), priced) {
                (std::cmp::Ordering::Less, true) => self.before = Some(stamp.commit),
                (std::cmp::Ordering::Greater, true) => {
                    self.after.get_or_insert(stamp.commit);
                }
                (std::cmp::Ordering::Equal, true) => {
                    self.at = Some(stamp.at);
                    self.recorded.push(format!("{} {}", quote.source, quote.close));
                }
                (std::cmp::Ordering::Equal, false) => self.others.push(name()),
                (std::cmp::Ordering::Less | std::cmp::Ordering::Greater, false) => {}
            }
        }
    }

    fn plan(self, plan: &mut Plan, last: Stamp) -> Result<(), Impossible> {
        let Self { source, pair, commit, price, .. } = self;
        if commit == 0 || commit > last.commit {
            return Err(Impossible::NoSuchCommit { commit, last: last.commit });
        }
        let Some(at) = self.at else {
            let near = self.before.into_iter().chain(self.after).collect();
            return Err(Impossible::NoPrice {
                pair,
                from: source,
                commit,
                found: self.others,
                near,
            });
        };
        plan.changes.push(Change {
            place: Stamp { commit, at }.into(),
            what: format!("price of {pair}"),
            trader: None,
            recorded: self.recorded.join(", "),
            altered: price.to_string(),
        });
        plan.edit(commit, Edit::Price { source, pair, price });
        Ok(())
    }
}

impl OrderWish {
    fn plan(
        mut self,
        plan: &mut Plan,
        trader: &TraderId,
        order: &OrderId,
        last: Stamp,
    ) -> Result<(), Impossible> {
        let Some((stamp, _)) = self.found.first() else {
            let (trader, order) = (trader.clone(), order.clone());
            return Err(Impossible::NoSuchOrder { trader, order, orders: self.sent });
        };
        let stamp = *stamp;
        let mut change = |what: String, recorded: String, altered: String| {
            let (place, trader) = (stamp.into(), Some(trader.clone()));
            plan.changes.push(Change { place, what, trader, recorded, altered });
        };
        let remove = || Edit::Remove { trader: trader.clone(), order: order.clone() };
        if self.drop {
            change(format!("order {order}"), "sent".into(), "never sent".into());
            self.found.iter().for_each(|(at, _)| plan.edit(at.commit, remove()));
            return Ok(());
        }
        if let Some(price) = self.price {
            for (at, input) in &mut self.found {
                let Input::RecordedOrder(_, fill) = input else {
                    let (trader, order) = (trader.clone(), order.clone());
                    return Err(Impossible::NoFill { trader, order, commit: at.commit });
                };
                change(format!("fill of {order}"), fill.price.to_string(), price.to_string());
                refill(input, price);
            }
        }
        if let Some(wanted) = self.at {
            let end = last.at;
            let target = self.target.ok_or(Impossible::AfterTheEnd { at: wanted, end })?;
            let altered = format!("{} (commit {})", target.at, target.commit);
            change(format!("time of {order}"), stamp.at.to_string(), altered);
            self.found.iter().for_each(|(at, _)| plan.edit(at.commit, remove()));
            // An order that was sent again under its id is moved once: a second one would only be
            // refused.
            if let Some((_, input)) = self.found.into_iter().next() {
                plan.edit(target.commit, Edit::Append(Box::new(input)));
            }
        } else if let Some(price) = self.price {
            for (at, _) in &self.found {
                let (trader, order) = (trader.clone(), order.clone());
                plan.edit(at.commit, Edit::Fill { trader, order, price });
            }
        }
        Ok(())
    }
}

/// Returns the name of the rulebook that `input` makes the log adopt, if it does.
fn adoptable(input: &Input) -> Option<String> {
    let Input::Rulebook(text) = input else { return None };
    Adopted::parse(text).ok().map(|adopted| named(&adopted))
}

fn named(adopted: &Adopted) -> String {
    let Rulebook { name, version, .. } = &adopted.rules;
    format!("{name} version {version} ({})", adopted.hash.short())
}

/// Returns `input` as it could have come at another time: a signature is for one time only.
fn unsigned(input: &Input) -> Input {
    if let Input::SignedOrder(signed) = input {
        return Input::Order(signed.request.clone());
    }
    input.clone()
}

fn is_order(input: &Input, trader: &TraderId, order: &OrderId) -> bool {
    input.order().is_some_and(|request| request.trader == *trader && request.id == *order)
}

fn is_priced(quote: &Quote, source: Option<&SourceName>, pair: TradePair) -> bool {
    quote.pair == pair && source.is_none_or(|source| quote.source == *source)
}

/// Makes `quote` a record of one price; bid and ask keep their relative distance to it.
pub(super) fn reprice(quote: &mut Quote, price: Price) {
    let moved = price.get() / quote.close.get();
    let scaled = |side: Option<Price>| Price::new(side?.get() * moved).ok();
    (quote.bid, quote.ask) = (scaled(quote.bid), scaled(quote.ask));
    (quote.open, quote.high, quote.low, quote.close) = (price, price, price, price);
}

/// Has a recorded order filled at `price`.
fn refill(input: &mut Input, price: Price) {
    if let Input::RecordedOrder(_, fill) = input {
        fill.price = price;
        fill.bid = fill.bid.map(|_| price);
        fill.ask = fill.ask.map(|_| price);
    }
}
