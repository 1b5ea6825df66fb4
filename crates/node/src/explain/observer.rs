//! Watches a fold and keeps what concerns one trader.

mod requests;
mod resting;
mod wording;

use std::collections::BTreeMap;

use proctor_engine::account::Account;
use proctor_engine::eliminations::{LiftedBy, Reentry};
use proctor_engine::event::{PositionFacts, PricedBy};
use proctor_engine::input::Extract;
use proctor_engine::limit_orders::RestingOrder;
use proctor_engine::positions::book::Kept;
use proctor_engine::positions::position::{Order, Position};
use proctor_engine::{Engine, Event, Outcome, View};
use proctor_types::{Digest, OrderId, PositionId, Stamp, TradePair, TraderId, UtcMs};

use super::samples::Samples;
use super::stages::{self, StageMove};
use super::story::{
    AccountStory, AsOf, Counts, Fill, Note, OrderOutcome, OrderStory, PositionStory, RulebookStory,
    Size, Story, UndoneVerdict, Verdict,
};
use super::{scoring, standing, verdict, words};
use requests::{accepted_input, request_at};
pub(super) use wording::opening_side;
use wording::{after_story, asked_size, cause, position_story, price_origin, price_source};

/// What the log has said about one trader so far.
#[derive(Clone, Debug)]
pub(crate) struct Observer {
    trader: TraderId,
    enrolled: Stamp,
    departed: Option<Stamp>,
    class_chosen: Option<Stamp>,
    sizes: Vec<Size>,
    /// Where each rulebook was adopted, by place in the list of adopted ones.
    adopted: Vec<Stamp>,
    orders: Vec<OrderStory>,
    counts: Counts,
    positions: Vec<PositionStory>,
    place_of: BTreeMap<PositionId, usize>,
    samples: Samples,
    verdict: Option<Verdict>,
    stages: Vec<StageMove>,
    /// How many orders had been refused for an end before that verdict.
    refused_before: usize,
    undone: Vec<UndoneVerdict>,
    notes: Vec<Note>,
    /// The limit and bracket orders that wait.
    waiting: BTreeMap<OrderId, RestingOrder>,
}

/// An order that has come about without an input of its own.
struct Entry {
    id: String,
    pair: String,
    side: String,
    origin: &'static str,
    outcome: OrderOutcome,
}

/// One commit as the observer sees it.
struct Scene<'a> {
    commit: &'a Extract,
    outcome: &'a Outcome,
    account: &'a Account,
    view: &'a View,
}

impl Observer {
    pub(crate) fn new(trader: TraderId) -> Self {
        Self {
            trader,
            enrolled: Stamp::default(),
            departed: None,
            class_chosen: None,
            sizes: Vec::new(),
            adopted: Vec::new(),
            orders: Vec::new(),
            counts: Counts::default(),
            positions: Vec::new(),
            place_of: BTreeMap::new(),
            samples: Samples::default(),
            verdict: None,
            stages: Vec::new(),
            refused_before: 0,
            undone: Vec::new(),
            notes: Vec::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// Returns how many orders of the trader were refused.
    pub(super) fn refused(&self) -> usize {
        self.counts.refused.values().sum()
    }

    /// Takes in one commit; `before` is the account as it was before it.
    pub(crate) fn observe(
        &mut self,
        commit: &Extract,
        outcome: &Outcome,
        before: Option<&Account>,
        engine: &Engine,
    ) {
        let stamp = outcome.stamp;
        let mut concerned = false;
        for event in &outcome.events {
            concerned |= self.terms(stamp, event);
        }
        if concerned {
            // A view shares what the engine would otherwise change in place, so it is taken only
            // for commits that have something to tell.
            let view = engine.view();
            let account = engine.account(&self.trader);
            for event in &outcome.events {
                self.trade(commit, outcome, account, &view, event);
            }
            self.end(commit, outcome, before, account, &view);
        }
        if self.verdict.is_none()
            && let Some(account) = engine.account(&self.trader)
        {
            self.samples.observe(stamp, account);
        }
    }

    /// Takes in what an event says of the account's terms; returns whether it concerns the trader.
    fn terms(&mut self, stamp: Stamp, event: &Event) -> bool {
        if let Event::RulebookAdopted { .. } = event {
            self.adopted.push(stamp);
        }
        if event.trader() != Some(&self.trader) {
            return false;
        }
        match event {
            Event::TraderEnrolled { .. } => self.enrolled = stamp,
            Event::TraderDeparted { .. } => {
                self.departed.get_or_insert(stamp);
            }
            Event::AccountSizeRecorded { size, valid_from, .. } => self.sizes.push(Size {
                size_usd: size.get(),
                recorded: stamp.into(),
                valid_from: (*valid_from).into(),
            }),
            Event::AssetClassChosen { .. } => self.class_chosen = Some(stamp),
            Event::SampleRefused { problem, .. } => {
                self.note(stamp, format!("the ledgers could not take a sample: {problem}"));
            }
            Event::Rejected { order: None, rejection, .. } => {
                self.note(stamp, format!("refused, {}: {rejection}", rejection.code()));
            }
            Event::CellClosed { pair: None, cell, .. } => {
                self.samples.closed(stamp, cell);
            }
            Event::StageChanged { cause, from, to, .. } => {
                self.stages.push(stages::told(stamp, *cause, *from, *to));
            }
            // Its number counts the decisions on all traders.
            Event::DecisionRegistered { decision } => {
                self.note(stamp, format!("decision of the challenge period: {}", decision.reason));
            }
            Event::SlashSettled { decided, .. } => self.slash_settled(stamp, *decided),
            Event::Reinstated { by, epoch, .. } => self.undo(stamp, by, *epoch),
            Event::ReasonDropped { reason, .. } => {
                self.note(stamp, format!("{reason} came when the account had ended already"));
            }
            Event::Purged { .. } => {
                if let Some(verdict) = &mut self.verdict {
                    verdict.purged = Some(stamp.into());
                }
            }
            Event::BracketRefused { parent, rejection, .. } => {
                let code = rejection.code();
                self.note(
                    stamp,
                    format!("order {parent} was filled without its bracket, {code}: {rejection}"),
                );
            }
            Event::VerdictFrozen { frozen, .. } => self.note(stamp, words::frozen(frozen)),
            Event::VerdictThawed { since, why, .. } => {
                self.note(stamp, words::thawed(*since, *why));
            }
            Event::OrderCorrected { .. } => self.note(stamp, words::corrected(event)),
            Event::RulebookAdopted { .. }
            | Event::QuoteRefused { .. }
            | Event::Rejected { .. }
            | Event::NothingToClose { .. }
            | Event::Filled { .. }
            | Event::CellClosed { .. }
            | Event::DecisionsAcknowledged { .. }
            | Event::PlagiarismReported { .. }
            | Event::ChallengeAlerts { .. }
            | Event::Eliminated { .. }
            | Event::SlashIntended { .. }
            | Event::EliminationsSynced { .. }
            | Event::ZombiesHeld { .. }
            | Event::OrderResting { .. }
            | Event::OrderReached { .. }
            | Event::OrderCancelled { .. } => {}
        }
        true
    }

    /// Returns how many orders were refused because the account had ended.
    fn refused_as_ended(&self) -> usize {
        self.counts.refused.get("eliminated").copied().unwrap_or(0)
    }

    fn slash_settled(&mut self, stamp: Stamp, decided: Stamp) {
        let undone = self.undone.iter_mut().map(|undone| &mut undone.verdict);
        for verdict in self.verdict.iter_mut().chain(undone) {
            if verdict.decided.commit == decided.commit
                && let Some(slash) = &mut verdict.slash
            {
                (slash.state, slash.since) = ("settled", Some(stamp.into()));
            }
        }
    }

    /// Moves the verdict to those that were taken back: a new epoch begins.
    fn undo(&mut self, stamp: Stamp, by: &LiftedBy, epoch: Option<u32>) {
        let Some(mut verdict) = self.verdict.take() else { return };
        verdict.orders_refused_since = self.refused_as_ended() - self.refused_before;
        if let Some(slash) = verdict.slash.as_mut().filter(|slash| slash.state == "intended") {
            (slash.state, slash.since) = ("withdrawn", Some(stamp.into()));
        }
        let (by, name, why, reentry) = match by {
            LiftedBy::Operator { by, why, reentry } => {
                let reentry = match reentry {
                    Reentry::Challenge => "challenge",
                    Reentry::Restored => "restored",
                };
                ("operator", by.to_string(), Some(why.to_string()), Some(reentry))
            }
            LiftedBy::Source { source, .. } => ("validator", source.to_string(), None, None),
        };
        let ledger = std::mem::take(&mut self.samples).story(None);
        let undone = stamp.into();
        self.undone.push(UndoneVerdict { verdict, ledger, undone, by, name, why, reentry, epoch });
    }

    /// Adds an order of which `entry` says more than its place and number.
    fn entry(&mut self, stamp: Stamp, entry: Entry) {
        let Entry { id, pair, side, origin, outcome } = entry;
        self.orders.push(OrderStory {
            number: self.orders.len() + 1,
            place: stamp.into(),
            input: None,
            id,
            pair,
            side,
            origin,
            asked: None,
            outcome,
        });
    }

    fn note(&mut self, stamp: Stamp, text: String) {
        self.notes.push(Note { place: stamp.into(), text });
    }

    /// Takes in what an event says of the trader's orders.
    fn trade(
        &mut self,
        commit: &Extract,
        outcome: &Outcome,
        account: Option<&Account>,
        view: &View,
        event: &Event,
    ) {
        match event {
            Event::Rejected { input, trader, order: Some(_), rejection }
                if trader.as_ref() == Some(&self.trader) =>
            {
                let code = rejection.code().to_owned();
                *self.counts.refused.entry(code.clone()).or_default() += 1;
                let outcome = OrderOutcome::Refused { code, message: rejection.to_string() };
                self.asked(commit, *input, outcome);
            }
            Event::NothingToClose { trader, order, .. } if *trader == self.trader => {
                self.counts.nothing_to_close += 1;
                if let Some(input) = accepted_input(commit, outcome, trader, order) {
                    self.asked(commit, input, OrderOutcome::NothingToClose);
                }
            }
            Event::Filled { trader, position, pair, order, clamped, closes, after, priced_by }
                if *trader == self.trader =>
            {
                let Some(account) = account else { return };
                let scene = Scene { commit, outcome, account, view };
                let said = (*clamped, *closes, after, priced_by);
                self.filled(&scene, position, *pair, order, said);
            }
            Event::OrderResting { trader, order, parent } if *trader == self.trader => {
                self.rests(commit, outcome, order, parent.as_ref());
            }
            Event::OrderCancelled { trader, order, why, .. } if *trader == self.trader => {
                self.cancelled(outcome.stamp, order, why);
            }
            Event::OrderCorrected { trader, order, .. } if *trader == self.trader => {
                if let Some(account) = account {
                    self.corrected(outcome.stamp, account, view, order);
                }
            }
            Event::OrderCorrected { .. }
            | Event::RulebookAdopted { .. }
            | Event::TraderEnrolled { .. }
            | Event::TraderDeparted { .. }
            | Event::AccountSizeRecorded { .. }
            | Event::AssetClassChosen { .. }
            | Event::QuoteRefused { .. }
            | Event::Rejected { .. }
            | Event::NothingToClose { .. }
            | Event::Filled { .. }
            | Event::CellClosed { .. }
            | Event::SampleRefused { .. }
            | Event::StageChanged { .. }
            | Event::DecisionRegistered { .. }
            | Event::DecisionsAcknowledged { .. }
            | Event::PlagiarismReported { .. }
            | Event::ChallengeAlerts { .. }
            | Event::Eliminated { .. }
            | Event::SlashIntended { .. }
            | Event::SlashSettled { .. }
            | Event::Reinstated { .. }
            | Event::EliminationsSynced { .. }
            | Event::ZombiesHeld { .. }
            | Event::ReasonDropped { .. }
            | Event::Purged { .. }
            | Event::OrderResting { .. }
            | Event::OrderReached { .. }
            | Event::OrderCancelled { .. }
            | Event::BracketRefused { .. }
            | Event::VerdictFrozen { .. }
            | Event::VerdictThawed { .. } => {}
        }
    }

    /// Adds an order that the trader sent.
    fn asked(&mut self, commit: &Extract, input: u32, outcome: OrderOutcome) {
        let Some((request, origin)) = request_at(commit, input) else { return };
        self.counts.sent += 1;
        self.orders.push(OrderStory {
            number: self.orders.len() + 1,
            place: Stamp { commit: commit.index, at: commit.at }.into(),
            input: Some(input),
            id: request.id.to_string(),
            pair: request.pair.to_string(),
            side: request.side.to_string(),
            origin,
            asked: Some(asked_size(request)),
            outcome,
        });
    }

    fn filled(
        &mut self,
        scene: &Scene<'_>,
        position: &PositionId,
        pair: TradePair,
        order: &Order,
        (clamped, closes, after, priced_by): (bool, bool, &PositionFacts, &PricedBy),
    ) {
        let stamp = scene.outcome.stamp;
        let rulebook = scene.view.rulebook_of(scene.account);
        let paid = rulebook.map_or(order.price, |adopted| {
            order.fill_price(adopted.rules.fees.slippage_from.value)
        });
        let before = self.place_of.get(position).and_then(|place| self.positions.get(*place));
        let effect = match before {
            None => "opened",
            Some(_) if closes => "closed",
            Some(story) if (story.side == "LONG") == (order.leverage > 0.0) => "increased",
            Some(_) => "reduced",
        };
        let fill = OrderOutcome::Filled(Box::new(Fill {
            leverage: order.leverage,
            value_usd: order.value,
            quantity: order.quantity,
            price: order.price,
            price_source: price_source(priced_by),
            price_origin: price_origin(priced_by),
            reached: resting::reached(scene.outcome, &self.trader, &order.id),
            bid: order.bid,
            ask: order.ask,
            slippage: order.slippage,
            price_after_slippage: paid,
            quote_usd_rate: order.quote_usd_rate,
            clamped,
            cause: cause(order.source),
            position: position.to_string(),
            effect,
            after: after_story(after),
        }));
        let entry = |origin, outcome| Entry {
            id: order.id.to_string(),
            pair: pair.to_string(),
            side: order.side.to_string(),
            origin,
            outcome,
        };
        if order.source.is_forced() {
            self.counts.by_node += 1;
            self.entry(stamp, entry("node", fill));
        } else if self.waiting.remove(&order.id).is_some() {
            self.counts.filled_later += 1;
            self.entry(stamp, entry("resting", fill));
        } else if let Some(input) =
            accepted_input(scene.commit, scene.outcome, &self.trader, &order.id)
        {
            self.counts.filled += 1;
            self.asked(scene.commit, input, fill);
        }
        if let Some(found) = find(scene.account, pair, position) {
            self.position(stamp, &found);
        }
    }

    /// Takes in the correction of `order`: it and the positions are as they are told anew.
    fn corrected(&mut self, stamp: Stamp, account: &Account, view: &View, order: &Order) {
        let from = view
            .rulebook_of(account)
            .map_or(UtcMs::MAX, |adopted| adopted.rules.fees.slippage_from.value);
        for told in self.orders.iter_mut().rev() {
            let OrderOutcome::Filled(fill) = &mut told.outcome else { continue };
            if told.id == order.id.as_str() {
                fill.leverage = order.leverage;
                fill.value_usd = order.value;
                fill.quantity = order.quantity;
                fill.price = order.price;
                fill.price_source = None;
                (fill.bid, fill.ask) = (order.bid, order.ask);
                fill.price_after_slippage = order.fill_price(from);
                fill.quote_usd_rate = order.quote_usd_rate;
                break;
            }
        }
        for book in account.book.pairs() {
            let closed = book.closed().iter().map(Kept::Closed);
            for position in closed.chain(book.open.as_ref().map(Kept::Open)) {
                let Some(place) = self.place_of.get(position.id()) else { continue };
                let Some(story) = self.positions.get_mut(*place) else { continue };
                let (closed, closed_by) = (story.closed.clone(), story.closed_by);
                *story = position_story(&position, story.opened.clone());
                if position.is_closed() {
                    story.closed = closed.or_else(|| Some(stamp.into()));
                    story.closed_by = closed_by;
                }
            }
        }
    }

    /// Takes over what `position` says of itself.
    fn position(&mut self, stamp: Stamp, position: &Position) {
        let place = *self.place_of.entry(position.id().clone()).or_insert(self.positions.len());
        let opened =
            self.positions.get(place).map_or_else(|| stamp.into(), |story| story.opened.clone());
        let mut story = position_story(position, opened);
        if position.is_closed() {
            story.closed = Some(stamp.into());
            story.closed_by = position.orders().last().map(|order| cause(order.source));
        }
        match self.positions.get_mut(place) {
            Some(known) => *known = story,
            None => self.positions.push(story),
        }
    }

    /// Takes in the end of the account.
    fn end(
        &mut self,
        commit: &Extract,
        outcome: &Outcome,
        before: Option<&Account>,
        account: Option<&Account>,
        view: &View,
    ) {
        let mut record = None;
        for event in &outcome.events {
            if let Event::Eliminated { trader, record: found } = event
                && *trader == self.trader
            {
                record = Some(found);
            }
        }
        let rulebook = match account {
            Some(account) => view.rulebook_of(account),
            None => view.rulebook_in_force(),
        };
        if let (Some(record), Some(rulebook)) = (record, rulebook) {
            self.samples.end(record);
            self.refused_before = self.refused_as_ended();
            let case = verdict::Case {
                record,
                commit,
                rules: &rulebook.rules,
                before,
                account,
                orders: &self.orders,
                known: &view.prices,
            };
            let peak = self.samples.peak_point();
            self.verdict = Some(verdict::verdict(&case, peak));
        }
    }

    /// Returns the story, given the account as it stands at the end of the log.
    pub(crate) fn finish(mut self, account: &Account, view: &View, head: Digest) -> Story {
        for open in account.book.open_positions() {
            if let Some(story) =
                self.place_of.get(open.id()).and_then(|place| self.positions.get_mut(*place))
            {
                *story = position_story(open, story.opened.clone());
            }
        }
        let refused = self.refused_as_ended() - self.refused_before;
        if let Some(verdict) = &mut self.verdict {
            verdict.orders_refused_since = refused;
        }
        let status = match (&self.verdict, self.departed) {
            (Some(_), _) => "eliminated",
            (None, Some(_)) => "departed",
            (None, None) => "active",
        };
        let standing = match &self.verdict {
            Some(_) => None,
            None => view
                .rulebook_of(account)
                .and_then(|rulebook| standing(&rulebook.rules, account, view)),
        };
        let stage = view
            .rulebook_of(account)
            .and_then(|rulebook| stages::now(&rulebook.rules, account, view.stamp));
        let scoring = view
            .rulebook_of(account)
            .and_then(|rulebook| scoring::scoring(&rulebook.rules, account, view));
        Story {
            schema: "proctor.explain/1",
            trader: self.trader.to_string(),
            status,
            as_of: AsOf {
                place: view.stamp.into(),
                digest: view.digest.to_string(),
                head: head.to_string(),
            },
            account: self.account_story(account, view),
            counts: self.counts,
            orders: self.orders,
            positions: self.positions,
            ledger: self.samples.story(Some(account)),
            verdict: self.verdict,
            undone: self.undone,
            standing,
            stage,
            stages: self.stages,
            scoring,
            notes: self.notes,
        }
    }

    fn account_story(&self, account: &Account, view: &View) -> AccountStory {
        let adopted = view.rulebook_of(account);
        let place = usize::try_from(account.rulebook).unwrap_or(usize::MAX);
        AccountStory {
            enrolled: self.enrolled.into(),
            departed: self.departed.map(Into::into),
            rulebook: RulebookStory {
                name: adopted.map_or_else(String::new, |book| book.rules.name.clone()),
                version: adopted.map_or(0, |book| book.rules.version),
                hash: adopted.map_or_else(String::new, |book| book.hash.to_string()),
                adopted: self.adopted.get(place).map(|stamp| (*stamp).into()),
            },
            asset_class: account.terms.asset_class.map(|class| class.to_string()),
            asset_class_chosen: self.class_chosen.map(Into::into),
            sizes: self.sizes.clone(),
            size_usd: adopted
                .map_or(0.0, |book| account.terms.size(&book.rules, view.stamp.at).get()),
        }
    }
}

/// Returns the account's position `id` of `pair`.
fn find<'a>(account: &'a Account, pair: TradePair, id: &PositionId) -> Option<Kept<'a>> {
    account.book.pair(pair)?.position(id)
}
