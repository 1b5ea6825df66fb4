//! The order acceptance gate.
//!
//! Checks run in the order of [`Rejection`]'s variants and the first failure wins, so that every
//! validator gives the same answer to the same order. A refused order changes nothing: the
//! gate only reads, and a position checks an order whole before it takes it. Source: trading 2.6, 2.7.

pub mod judged;
pub mod seen;
pub mod sizing;

use proctor_types::{
    DurationMs, ExecutionType, Fraction, OrderId, OrderRequest, Price, Quote, Side, SizeFields,
    TradePair, Usd, UtcMs, market_hours,
};

use crate::account::Account;
use crate::event::PricedBy;
use crate::input::RecordedFill;
use crate::limit_orders::trigger::Reached;
use crate::limit_orders::{NewResting, Protection, RestingOrder, Terms, attach};
use crate::orders::seen::SeenIds;
use crate::orders::sizing::Size;
use crate::positions::position::{ForcedFlatPrice, Order, OrderSource, Position};
use crate::prices::conversion::{self, Rates};
use crate::prices::slippage::{SlippageRequest, slippage};
use crate::prices::{Prices, fill_price};
use crate::rejection::Rejection;
use crate::rulebook::{FlatSlippageMode, RestingFillPrice, Rulebook};

/// What an order is judged against, as of one moment.
pub(crate) struct Desk<'a> {
    /// The account's rulebook.
    pub(crate) rulebook: &'a Rulebook,
    /// Current prices.
    pub(crate) prices: &'a Prices,
    /// The trader's account.
    pub(crate) account: &'a Account,
    /// When the trader was found to have left, if ever.
    pub(crate) departed_at: Option<UtcMs>,
    /// The trader's processed order ids.
    pub(crate) seen: &'a SeenIds,
    /// Now.
    pub(crate) at: UtcMs,
}

/// What an order that passed the gate asks of the account.
#[derive(Debug)]
pub(crate) enum Plan {
    /// A FLAT without an open position: nothing.
    NothingToClose(TradePair),
    /// A fill, which the position may still refuse for its size.
    Fill(Box<Fill>),
    /// An order that waits for a price.
    Rest(NewResting),
    /// The end of the resting orders with these numbers.
    Cancel(Vec<u64>),
}

/// An order that is sized and priced. It is large, so it is made in a box and stays there until the
/// position takes the order out.
#[derive(Debug)]
pub(crate) struct Fill {
    /// The pair.
    pub(crate) pair: TradePair,
    /// The order.
    pub(crate) order: Order,
    /// Leverage of all open positions, each weighted by its class, that the order adds to.
    pub(crate) portfolio_leverage: f64,
    /// What a close by force would be priced at.
    pub(crate) flat_price: ForcedFlatPrice,
    /// Which position takes the order.
    pub(crate) target: Target,
    /// The level that was reached, of a limit or bracket order.
    pub(crate) reached: Option<Reached>,
    /// The bracket that the fill makes.
    pub(crate) protection: Protection,
    /// Where the price is from.
    pub(crate) priced_by: PricedBy,
}

/// Which position takes an order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// The open one.
    Open,
    /// A new one, for an account of this size in USD.
    New(Usd),
    /// A new one, after the open one, which has as many orders as it may have, is closed.
    NewAfterFull(Usd),
}

/// The price an order is filled at, with what belongs to it.
pub(crate) struct Execution {
    /// Quote currency per unit of base, before slippage.
    price: f64,
    /// Zero when unknown.
    bid: f64,
    /// Zero when unknown.
    ask: f64,
    /// Recorded slippage; the model decides when absent.
    slippage: Option<f64>,
    /// Where the price is from.
    priced_by: PricedBy,
}

/// What the desk needs to know of an order to fill it, whether it has just come or has waited.
#[derive(Clone, Copy)]
pub(crate) struct Ticket<'a> {
    pub(crate) id: &'a OrderId,
    pub(crate) pair: TradePair,
    pub(crate) side: Side,
    pub(crate) size: SizeFields,
    pub(crate) source: OrderSource,
    pub(crate) protection: Protection,
}

impl Desk<'_> {
    /// Judges `request`, whose id has `key`, and computes what it does.
    ///
    /// # Errors
    /// The first [`Rejection`] in the order of the checks.
    pub(crate) fn judge(
        &self,
        request: &OrderRequest,
        key: seen::Key,
        recorded: Option<&RecordedFill>,
    ) -> Result<Plan, Rejection> {
        self.admit_trader()?;
        match (request.execution, recorded) {
            (ExecutionType::LimitCancel, None) => return self.judge_cancel(request),
            (ExecutionType::LimitCancel, Some(_)) => {
                return Err(Rejection::ExecutionUnsupported(request.execution));
            }
            (ExecutionType::Market | ExecutionType::Limit | ExecutionType::Bracket, _) => {}
        }
        let pair = self.known_pair(request)?;
        if self.is_known(&request.id, key) {
            return Err(Rejection::DuplicateId);
        }
        let open = self.account.book.pair(pair).and_then(|book| book.open.as_ref());
        let only_closes = request.side == Side::Flat || request.execution == ExecutionType::Bracket;
        let waits = recorded.is_none() && request.execution != ExecutionType::Market;
        self.admit_pair(pair, only_closes && open.is_some(), waits)?;
        let protection = match (request.execution, recorded) {
            (ExecutionType::Limit, None) => return self.judge_limit(request, pair),
            (ExecutionType::Bracket, None) => return self.judge_bracket(request, pair),
            (_, None) => self.check_protection(request, pair)?,
            // What became of the bracket of a recorded order is recorded as well.
            (_, Some(_)) => Protection::default(),
        };
        let execution = match recorded {
            Some(fill) => Execution::recorded(fill),
            None => self.execution(pair, request.side, open)?,
        };
        let source = match request.execution {
            ExecutionType::Limit => OrderSource::LimitFilled,
            ExecutionType::Bracket => OrderSource::BracketFilled,
            ExecutionType::Market | ExecutionType::LimitCancel => OrderSource::Organic,
        };
        if source == OrderSource::Organic {
            self.check_cooldown(pair)?;
        }
        let (id, side, size) = (&request.id, request.side, request.size);
        let ticket = Ticket { id, pair, side, size, source, protection };
        let fill = self.fill(&ticket, &execution, None)?;
        Ok(fill.map_or(Plan::NothingToClose(pair), Plan::Fill))
    }

    /// Judges the fill of a resting order whose level was reached: the same gate as for an order
    /// that has just come, but for the cooldown.
    ///
    /// # Errors
    /// The first [`Rejection`] in the order of the checks.
    pub(crate) fn judge_reached(
        &self,
        order: &RestingOrder,
        quote: &Quote,
        reached: Reached,
    ) -> Result<Box<Fill>, Rejection> {
        self.admit_trader()?;
        self.admit_pair(order.pair, order.is_bracket(), false)?;
        let execution = self.execution_of_resting(quote, &reached);
        let (id, pair) = (&order.id, order.pair);
        let ticket = match &order.terms {
            Terms::Limit { side, size, protection, .. } => Ticket {
                id,
                pair,
                side: *side,
                size: *size,
                source: OrderSource::LimitFilled,
                protection: *protection,
            },
            Terms::Bracket { position, size, .. } => {
                let open = self.account.book.pair(pair).and_then(|book| book.open.as_ref());
                let open =
                    open.filter(|open| open.id() == position).ok_or(Rejection::NoPosition(pair))?;
                let (side, size) = self.closing(open, *size, &execution)?;
                let (source, protection) = (OrderSource::BracketFilled, Protection::default());
                Ticket { id, pair, side, size, source, protection }
            }
        };
        let fill = self.fill(&ticket, &execution, Some(reached))?;
        fill.ok_or(Rejection::NoPosition(pair))
    }

    /// Returns the side and size of the order by which a bracket of `size` closes `open`.
    fn closing(
        &self,
        open: &Position,
        size: SizeFields,
        execution: &Execution,
    ) -> Result<(Side, SizeFields), Rejection> {
        let everything = (Side::Flat, attach::whole(open));
        if size == SizeFields::default() {
            return Ok(everything);
        }
        let side = match attach::direction(open) {
            Side::Long => Side::Short,
            Side::Short => Side::Long,
            Side::Flat => return Ok(everything),
        };
        let pair = open.pair();
        let rates = self.rates(pair, execution.price, side)?;
        let stated =
            sizing::size(&size, side, pair, open.account_size(), rates).map_err(Rejection::Size)?;
        match attach::part(self.rulebook, open, stated, self.at) {
            attach::Part::Whole => Ok(everything),
            attach::Part::Stated => Ok((side, size)),
        }
    }

    /// Gates 4 and 5 of trading 2.6; whether the sender is registered at all was asked before.
    fn admit_trader(&self) -> Result<(), Rejection> {
        if let Some(elimination) = &self.account.elimination {
            return Err(Rejection::Eliminated(elimination.stamp.at));
        }
        match self.departed_at {
            Some(departed_at) => Err(Rejection::Departed(departed_at)),
            None => Ok(()),
        }
    }

    /// Returns the pair that `request` names.
    pub(crate) fn known_pair(&self, request: &OrderRequest) -> Result<TradePair, Rejection> {
        TradePair::from_id(request.pair.as_str())
            .ok_or_else(|| Rejection::UnknownPair(request.pair.clone()))
    }

    /// Tells whether the trader has used `id`: gate 6. An order that waits may have been sent so
    /// many orders ago that the memory of its id alone is not enough (T-2).
    pub(crate) fn is_known(&self, id: &OrderId, key: seen::Key) -> bool {
        self.seen.contains(key) || self.account.resting.holds(id)
    }

    /// Gates 7 to 10 of trading 2.6, for an order that only closes a position or any other, and for
    /// one that can wait until the market opens or one that cannot.
    fn admit_pair(&self, pair: TradePair, closes: bool, waits: bool) -> Result<(), Rejection> {
        if self.rulebook.pairs.blocked.contains(&pair) && !closes {
            return Err(Rejection::Blocked(pair));
        }
        if self.at >= self.rulebook.orders.asset_class_required_from.value {
            match self.account.terms.asset_class {
                None => return Err(Rejection::AssetClassNotChosen),
                Some(chosen) if chosen != pair.class() => {
                    return Err(Rejection::WrongAssetClass { pair: pair.class(), chosen });
                }
                Some(_) => {}
            }
        }
        if !waits && !market_hours::is_open(pair, self.at) {
            return Err(Rejection::MarketClosed(pair));
        }
        if self.rulebook.pairs.unsupported.contains(&pair) {
            return Err(Rejection::Unsupported(pair));
        }
        Ok(())
    }

    /// Tests that the trader's last accepted order on `pair` is long enough ago (T-5).
    pub(crate) fn check_cooldown(&self, pair: TradePair) -> Result<(), Rejection> {
        let Some(book) = self.account.book.pair(pair) else { return Ok(()) };
        let passed = self.at.since(book.last_accepted_at);
        let cooldown = self.rulebook.orders.cooldown.value;
        if passed < cooldown {
            return Err(Rejection::CoolingDown(DurationMs(cooldown.0 - passed.0)));
        }
        Ok(())
    }

    /// Returns the current price for an order, or refuses: an order is never filled at 0 or 1.0.
    pub(crate) fn execution(
        &self,
        pair: TradePair,
        side: Side,
        open: Option<&Position>,
    ) -> Result<Execution, Rejection> {
        let quote =
            self.prices.best(self.rulebook, pair, self.at).ok_or_else(|| self.no_price(pair))?;
        // Only the price of a FLAT goes by it, and a position's first order is far off in memory.
        let opened = open.filter(|_| side == Side::Flat).and_then(|open| open.orders().first());
        let opened = opened.map(|order| order.side);
        Ok(Execution {
            price: fill_price(quote, self.at, side, opened).get(),
            bid: quote.bid.map_or(0.0, Price::get),
            ask: quote.ask.map_or(0.0, Price::get),
            slippage: None,
            priced_by: PricedBy::record(quote, self.at),
        })
    }

    /// Returns the price of a resting order that was reached (L-4).
    pub(crate) fn execution_of_resting(&self, quote: &Quote, reached: &Reached) -> Execution {
        let price = match self.rulebook.switches.resting_fill_price {
            RestingFillPrice::Market => reached.market,
            RestingFillPrice::Level => reached.level,
        };
        Execution {
            price: price.get(),
            bid: quote.bid.map_or(0.0, Price::get),
            ask: quote.ask.map_or(0.0, Price::get),
            slippage: None,
            priced_by: PricedBy::record(quote, self.at),
        }
    }

    /// Returns why there is no price of `pair`.
    fn no_price(&self, pair: TradePair) -> Rejection {
        match self.prices.nearest(&self.rulebook.prices, pair, self.at) {
            Some(_) => Rejection::PriceUnconfirmed(pair),
            None => Rejection::NoPrice(pair),
        }
    }

    /// Chooses the position that takes the order; a FLAT may find none.
    pub(crate) fn fill(
        &self,
        ticket: &Ticket<'_>,
        execution: &Execution,
        reached: Option<Reached>,
    ) -> Result<Option<Box<Fill>>, Rejection> {
        let pair = ticket.pair;
        let held = self.account.book.portfolio_leverage(self.rulebook);
        let open = self.account.book.pair(pair).and_then(|book| book.open.as_ref());
        if let Some(frozen) = &self.account.frozen
            && adds(ticket.side, open)
        {
            return Err(Rejection::Frozen(frozen.since.at));
        }
        let Some(open) = open else {
            if ticket.side == Side::Flat {
                return Ok(None);
            }
            let size = self.account.terms.size(self.rulebook, self.at);
            let target = Target::New(size);
            return self.sized(ticket, execution, reached, target, None, held).map(Some);
        };
        // Ledgers replay by time and positions by order, so times must increase (T-14, L-1).
        if let Some(last) = open.orders().last().filter(|last| last.at >= self.at) {
            return Err(Rejection::NotLater(last.at));
        }
        let full = u32::try_from(open.orders().len())
            .is_ok_and(|n| n >= self.rulebook.orders.orders_per_position_max.value);
        if !full || ticket.side == Side::Flat {
            let target = Target::Open;
            return self.sized(ticket, execution, reached, target, Some(open), held).map(Some);
        }
        let size = self.account.terms.size(self.rulebook, self.at);
        let held = held - open.net_leverage().abs() * self.rulebook.portfolio_multiplier(pair);
        let target = Target::NewAfterFull(size);
        self.sized(ticket, execution, reached, target, None, held).map(Some)
    }

    /// Sizes and converts the order for the position that takes it.
    fn sized(
        &self,
        ticket: &Ticket<'_>,
        execution: &Execution,
        reached: Option<Reached>,
        target: Target,
        open: Option<&Position>,
        portfolio_leverage: f64,
    ) -> Result<Box<Fill>, Rejection> {
        let Ticket { id, pair, side, size, source, protection } = *ticket;
        let account_size = match target {
            Target::New(size) | Target::NewAfterFull(size) => size.get(),
            Target::Open => open.map_or(0.0, Position::account_size),
        };
        let rates = self.rates(pair, execution.price, side)?;
        let size = sizing::size(&size, side, pair, account_size, rates).map_err(Rejection::Size)?;
        let slippage = match execution.slippage {
            Some(recorded) => recorded,
            None => self.slippage(execution, side, pair, size, rates, open)?,
        };
        let order = Order {
            id: id.clone(),
            at: self.at,
            side,
            leverage: size.leverage,
            value: size.value,
            quantity: size.quantity,
            price: execution.price,
            bid: execution.bid,
            ask: execution.ask,
            slippage,
            quote_usd_rate: rates.quote_usd,
            usd_base_rate: rates.usd_base,
            source,
        };
        let flat_price = ForcedFlatPrice::Found { price: execution.price, rates };
        let priced_by = execution.priced_by.clone();
        Ok(Box::new(Fill {
            pair,
            order,
            portfolio_leverage,
            flat_price,
            target,
            reached,
            protection,
            priced_by,
        }))
    }

    /// Returns the slippage of the order by the rulebook's model.
    ///
    /// A FLAT is charged for the size that it closes, whatever its size field says (S-1), unless
    /// the rulebook asks for the reference's way.
    fn slippage(
        &self,
        execution: &Execution,
        side: Side,
        pair: TradePair,
        size: Size,
        rates: Rates,
        open: Option<&Position>,
    ) -> Result<f64, Rejection> {
        let by_closing_size =
            self.rulebook.switches.flat_slippage_mode == FlatSlippageMode::ClosingSize;
        let (leverage, value_usd) = match open {
            Some(open) if side == Side::Flat && by_closing_size => {
                let base_units = open.net_quantity() * pair.lot_size();
                (-open.net_leverage(), -base_units * execution.price * rates.quote_usd)
            }
            _ => (size.leverage, size.value),
        };
        let request = SlippageRequest {
            pair,
            leverage,
            value_usd,
            bid: execution.bid,
            ask: execution.ask,
            at: self.at,
            features: None,
        };
        slippage(&self.rulebook.slippage, &request).map_err(Rejection::Slippage)
    }

    /// Returns the conversion rates of an order; a missing leg refuses it (T-13).
    fn rates(&self, pair: TradePair, price: f64, side: Side) -> Result<Rates, Rejection> {
        conversion_rates(self.prices, self.rulebook, pair, price, side, self.at)
    }
}

impl Execution {
    fn recorded(fill: &RecordedFill) -> Self {
        Self {
            price: fill.price.get(),
            bid: fill.bid.map_or(0.0, Price::get),
            ask: fill.ask.map_or(0.0, Price::get),
            slippage: fill.slippage.map(Fraction::get),
            priced_by: PricedBy::Recorded,
        }
    }
}

/// Tells whether an order of `side` opens or increases, given the `open` position of its pair.
fn adds(side: Side, open: Option<&Position>) -> bool {
    match (side, open) {
        (Side::Flat, _) => false,
        (Side::Long | Side::Short, Some(open)) => open.direction() == Some(side),
        (Side::Long | Side::Short, None) => true,
    }
}

/// Returns the conversion rates of `pair` at `at`, taking cross legs from the current prices.
///
/// # Errors
/// [`Rejection::NoPrice`] with the leg that has no fresh price.
pub(crate) fn conversion_rates(
    prices: &Prices,
    rulebook: &Rulebook,
    pair: TradePair,
    price: f64,
    side: Side,
    at: UtcMs,
) -> Result<Rates, Rejection> {
    let mut missing = pair;
    let lookup = |leg: TradePair| {
        missing = leg;
        prices.best(rulebook, leg, at).map(|quote| fill_price(quote, at, side, None).get())
    };
    conversion::rates(pair, price, lookup).ok_or(Rejection::NoPrice(missing))
}
