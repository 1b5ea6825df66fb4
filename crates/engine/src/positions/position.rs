//! One position of one trader in one pair: what it holds, what it cost, what it is worth.
//!
//! A position is a fold over its orders and marks. The published rule recomputes it from the whole
//! order list each time; the fold keeps running sums with the same operations in the same order, so
//! an order costs the same whether it is the first or the hundredth. Source: trading 3.

mod limits;
mod order;
mod orders;
mod state;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{PositionId, Side, TradePair, Usd, UtcMs};

use self::state::{Context, State};
use crate::Rulebook;
use crate::prices::conversion::Rates;

pub use order::{ForcedFlatPrice, Order, OrderSource};
pub use orders::Orders;

/// Why an order does not enter a position, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum PositionRefusal {
    /// The position is closed.
    #[error("the position was closed at {at}")]
    Closed {
        /// When.
        at: UtcMs,
    },
    /// A number is not finite, or has a sign it must not have.
    #[error("{field} of the order is {value}, which it must not be")]
    Number {
        /// The field of the order.
        field: &'static str,
        /// What it holds.
        value: f64,
    },
    /// The time lies outside the years 1970 to 9999.
    #[error("the time {} ms of the order is out of range", .0.0)]
    Time(UtcMs),
    /// The order is older than the last one of the position.
    #[error("the order of {at} is older than the last order of {last}")]
    OutOfOrder {
        /// The order's time.
        at: UtcMs,
        /// The last order's time.
        last: UtcMs,
    },
    /// There is no price or no exchange rate, and the order is not a close by force.
    #[error("the order has no price or no exchange rate")]
    Priceless,
    /// More leverage than one order may have.
    #[error("leverage {leverage} of the order is above {max}")]
    OrderTooLarge {
        /// The order's leverage.
        leverage: f64,
        /// The limit.
        max: f64,
    },
    /// The rules of the day have no bounds for the pair.
    #[error("{pair} could not be traded at {at}")]
    NotTradeable {
        /// The pair.
        pair: TradePair,
        /// The order's time.
        at: UtcMs,
    },
    /// The position would be smaller than a position may be.
    #[error("leverage {leverage} of the position would be below {min}")]
    BelowMinimum {
        /// What it would be.
        leverage: f64,
        /// The least.
        min: f64,
    },
    /// The portfolio has no room for more.
    #[error("portfolio leverage {leverage} has reached {cap}")]
    PortfolioFull {
        /// The portfolio's leverage before the order.
        leverage: f64,
        /// The limit.
        cap: f64,
    },
    /// The position has no room for more.
    #[error("leverage {leverage} of the position has no room within {min} to {max}")]
    PositionFull {
        /// The position's leverage before the order.
        leverage: f64,
        /// The least leverage of a position.
        min: f64,
        /// The greatest.
        max: f64,
    },
    /// Less leverage than one order must have, after clamping.
    #[error("leverage {leverage} of the order is below {min}")]
    OrderTooSmall {
        /// The order's leverage.
        leverage: f64,
        /// The limit.
        min: f64,
    },
    /// The first order has no size, so the position has no direction.
    #[error("a position cannot be opened with leverage 0")]
    NothingToOpen,
    /// The sizes or prices are too extreme to compute with.
    #[error("the position's {0} would not be a finite number")]
    Overflow(&'static str),
}

/// What an accepted order did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its place in [`Position::orders`]: there it stands as it was filled.
    pub index: usize,
    /// The limits changed its size.
    pub clamped: bool,
    /// The position is closed now.
    pub closed: bool,
    /// The position lost the whole account, and was closed by force unless the order closed it.
    pub liquidated: bool,
}

/// What a mark did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// The position has its new value.
    Valued,
    /// The position lost the whole account and was closed by force.
    Liquidated,
    /// The position is closed or has no orders: nothing to value.
    Idle,
    /// The price or the time is unusable, or the value would not be finite: nothing changed.
    Unusable,
}

/// The fee factors of a position at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fees {
    /// For the leverage that was traded.
    pub spread: f64,
    /// For the leverage that was held.
    pub carry: f64,
    /// When the carry fee changes next.
    pub next_carry_at: UtcMs,
}

/// A position of one trader in one pair.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Position {
    id: PositionId,
    pair: TradePair,
    account_size: f64,
    /// Shared with the copies that readers hold: a mark copies no orders.
    orders: Orders,
    state: State,
}

impl Position {
    /// Returns a position without orders.
    ///
    /// `account_size` is the trader's at this moment and stays the position's for its life.
    /// `opened_at` gives way to the time of the first order.
    #[must_use]
    pub fn new(id: PositionId, pair: TradePair, account_size: Usd, opened_at: UtcMs) -> Self {
        let state = State::new(opened_at);
        Self { id, pair, account_size: account_size.get(), orders: Orders::default(), state }
    }

    /// Adds `order`, cut to the limits, and values the position at its price.
    ///
    /// `portfolio_leverage` is the leverage of all of the trader's open positions, this one
    /// included, each weighted by its class. `if_liquidated` prices the close by force that
    /// follows when the order shows that the account is lost.
    ///
    /// # Errors
    /// [`PositionRefusal`] names the first rule the order breaks; the position is as it was (M-8).
    pub fn add(
        &mut self,
        rulebook: &Rulebook,
        mut order: Order,
        portfolio_leverage: f64,
        if_liquidated: ForcedFlatPrice,
    ) -> Result<Added, PositionRefusal> {
        self.check(&order)?;
        if !portfolio_leverage.is_finite() {
            let field = "portfolio_leverage";
            return Err(PositionRefusal::Number { field, value: portfolio_leverage });
        }
        let account_size = if self.account_size > 0.0 {
            self.account_size
        } else {
            rulebook.accounts.floor.value.get()
        };
        let held = limits::Held {
            pair: self.pair,
            account_size,
            is_empty: self.orders.is_empty(),
            net_leverage: self.state.net_leverage,
            net_quantity: self.state.net_quantity,
            net_value: self.state.net_value,
            portfolio_leverage,
        };
        let clamped = limits::fit(rulebook, held, &mut order)?;
        let index = self.orders.len();
        self.append(rulebook, account_size, order, if_liquidated)?;
        Ok(Added { index, clamped, closed: self.is_closed(), liquidated: self.state.liquidated })
    }

    /// Adds an order that was filled before, with the size that it was given then: limits are not
    /// asked again.
    ///
    /// # Errors
    /// [`PositionRefusal`] when the position cannot take it; it is as it was then.
    pub(crate) fn add_filled(
        &mut self,
        rulebook: &Rulebook,
        order: Order,
    ) -> Result<(), PositionRefusal> {
        self.check(&order)?;
        let rates = Rates { quote_usd: order.quote_usd_rate, usd_base: order.usd_base_rate };
        let if_liquidated = ForcedFlatPrice::Found { price: order.price, rates };
        self.append(rulebook, self.account_size, order, if_liquidated)
    }

    /// Gives back the room for orders that will not come.
    pub(super) fn shrink_to_fit(&mut self) {
        self.orders.shrink_to_fit();
    }

    /// Returns the position as its first `orders` orders had left it.
    ///
    /// # Errors
    /// [`PositionRefusal`] when it does not take its own orders, which a state that was made by
    /// this engine does.
    pub(crate) fn as_of(
        &self,
        rulebook: &Rulebook,
        orders: usize,
    ) -> Result<Self, PositionRefusal> {
        let mut early = Self {
            id: self.id.clone(),
            pair: self.pair,
            account_size: self.account_size,
            orders: Orders::default(),
            state: State::new(self.state.opened_at),
        };
        for order in self.orders.iter().take(orders) {
            early.add_filled(rulebook, order.clone())?;
        }
        Ok(early)
    }

    fn append(
        &mut self,
        rulebook: &Rulebook,
        account_size: f64,
        mut order: Order,
        if_liquidated: ForcedFlatPrice,
    ) -> Result<(), PositionRefusal> {
        let context = Context { rulebook, pair: self.pair, account_size, orders: &self.orders };
        let state = self.state.after(context, &mut order)?;
        let at = order.at;
        self.account_size = account_size;
        self.state = state;
        self.orders.push(order);
        if state.liquidated && state.closed_at.is_none() {
            self.liquidate(rulebook, at, if_liquidated);
        }
        Ok(())
    }

    /// Values the position at `price` (quote currency per unit of base) as of `at`.
    ///
    /// A price that shows a total loss closes the position by force at `if_liquidated`. Marks come
    /// in order of time; one that does not finds the fees of the latest.
    pub fn mark(
        &mut self,
        rulebook: &Rulebook,
        price: f64,
        at: UtcMs,
        if_liquidated: ForcedFlatPrice,
    ) -> Marked {
        if self.is_closed() || self.orders.is_empty() {
            return Marked::Idle;
        }
        if !at.is_in_range() {
            return Marked::Unusable;
        }
        if self.state.carry_is_current(rulebook, at) {
            let total = self.state.total_fee(self.context(rulebook), at);
            return self.mark_with_fees(rulebook, price, at, total, if_liquidated);
        }
        let mut renewed = self.state;
        renewed.renew_carry(self.context(rulebook), at, None);
        let total = renewed.total_fee(self.context(rulebook), at);
        let marked = self.mark_with_fees(rulebook, price, at, total, if_liquidated);
        if marked == Marked::Valued {
            self.state.take_carry(&renewed);
        }
        marked
    }

    /// Values the position at `price` as of `at` with a fee product that the caller keeps.
    ///
    /// The reference's ledger keeps carry fees for a whole interval and passes them here.
    pub fn mark_with_fees(
        &mut self,
        rulebook: &Rulebook,
        price: f64,
        at: UtcMs,
        fees: f64,
        if_liquidated: ForcedFlatPrice,
    ) -> Marked {
        if self.is_closed() || self.orders.is_empty() {
            return Marked::Idle;
        }
        let usable = price.is_finite() && price > 0.0 && at.is_in_range();
        let (unrealized, value) = self.state.value_at(self.pair, self.account_size, price);
        let return_at_close = value * fees;
        if !(usable && unrealized.is_finite() && value.is_finite() && return_at_close.is_finite()) {
            return Marked::Unusable;
        }
        self.state.unrealized_pnl = unrealized;
        self.state.current_return = value;
        self.state.return_at_close = return_at_close;
        if value > 0.0 {
            return Marked::Valued;
        }
        self.liquidate(rulebook, at, if_liquidated);
        Marked::Liquidated
    }

    /// Applies the fees of `at` to the value of the last mark.
    ///
    /// Always spread times carry, as the ledger applies them, also at times before those fees.
    /// The fees of a closed position are those of its close.
    pub fn refresh_fees(&mut self, rulebook: &Rulebook, at: UtcMs) {
        let renewed = self.renewed(rulebook, at);
        self.state.take_carry(&renewed);
        self.state.return_at_close =
            renewed.current_return * (renewed.carry_fee * renewed.spread_fee);
    }

    /// Returns the fees as of `at`; of a closed position as of its close, if that is earlier.
    #[must_use]
    pub fn fees_at(&self, rulebook: &Rulebook, at: UtcMs) -> Fees {
        let State { spread_fee, carry_fee, next_carry_at, .. } = self.renewed(rulebook, at);
        Fees { spread: spread_fee, carry: carry_fee, next_carry_at }
    }

    fn renewed(&self, rulebook: &Rulebook, at: UtcMs) -> State {
        let at = at.clamp(UtcMs(0), UtcMs::MAX);
        let at = self.state.closed_at.map_or(at, |closed| closed.min(at));
        let mut state = self.state;
        state.renew_carry(self.context(rulebook), at, None);
        state
    }

    /// Closes the position by order of the node (trading 3.10) and returns what that did.
    ///
    /// `at` is the moment of the decision; the order is filled then, or just after the last order
    /// if that is later (E-61). Its id is the position's reversed (E-62). Of `source`, the two kinds
    /// of elimination are told apart by whether there is a price.
    ///
    /// # Errors
    /// [`PositionRefusal`] when the position is closed, was never opened, or the price is too
    /// extreme; it is as it was then.
    pub fn force_flat(
        &mut self,
        rulebook: &Rulebook,
        at: UtcMs,
        price: ForcedFlatPrice,
        source: OrderSource,
    ) -> Result<Added, PositionRefusal> {
        let at = match self.orders.last() {
            None => return Err(PositionRefusal::NothingToOpen),
            Some(last) if last.at > at => UtcMs(last.at.0 + 1),
            Some(_) => at,
        };
        let order = self.forced_flat_order(at, price, source);
        self.add(rulebook, order, 0.0, price)
    }

    fn forced_flat_order(&self, at: UtcMs, price: ForcedFlatPrice, source: OrderSource) -> Order {
        let (price, rates) = price.numbers();
        let eliminated = matches!(
            source,
            OrderSource::EliminationFlat | OrderSource::PriceFilledEliminationFlat
        );
        let source = match (eliminated, price > 0.0) {
            (false, _) => source,
            (true, true) => OrderSource::PriceFilledEliminationFlat,
            (true, false) => OrderSource::EliminationFlat,
        };
        Order {
            id: self.id.forced_flat_order(),
            at,
            side: Side::Flat,
            leverage: -self.state.net_leverage,
            value: -self.state.net_value,
            quantity: -self.state.net_quantity,
            price,
            bid: 0.0,
            ask: 0.0,
            slippage: 0.0,
            quote_usd_rate: rates.quote_usd,
            usd_base_rate: rates.usd_base,
            source,
        }
    }

    /// Closes a position that lost the whole account (trading 3.6); its return is zero already.
    fn liquidate(&mut self, rulebook: &Rulebook, at: UtcMs, price: ForcedFlatPrice) {
        // A mark that came late must not put the last order before the others.
        let at = self.orders.last().map_or(at, |last| last.at.max(at));
        let source = OrderSource::PriceFilledEliminationFlat;
        let order = self.forced_flat_order(at, price, source);
        let mut state = self.state;
        state.end_by_liquidation(self.context(rulebook), &order);
        self.state = state;
        self.orders.push(order);
    }

    fn check(&self, order: &Order) -> Result<(), PositionRefusal> {
        if let Some(at) = self.state.closed_at {
            return Err(PositionRefusal::Closed { at });
        }
        if let Some((field, value)) = order.bad_number() {
            return Err(PositionRefusal::Number { field, value });
        }
        if !order.at.is_in_range() {
            return Err(PositionRefusal::Time(order.at));
        }
        if let Some(last) = self.orders.last().filter(|last| last.at > order.at) {
            return Err(PositionRefusal::OutOfOrder { at: order.at, last: last.at });
        }
        let may_lack_price = order.side == Side::Flat && order.source.is_forced();
        if order.is_priceless() && !may_lack_price {
            return Err(PositionRefusal::Priceless);
        }
        Ok(())
    }

    fn context<'a>(&'a self, rulebook: &'a Rulebook) -> Context<'a> {
        let Self { pair, account_size, ref orders, .. } = *self;
        Context { rulebook, pair, account_size, orders }
    }
}

/// What a position says about itself.
impl Position {
    /// Returns its name, unique per trader.
    #[must_use]
    pub fn id(&self) -> &PositionId {
        &self.id
    }

    /// Returns its pair.
    #[must_use]
    pub fn pair(&self) -> TradePair {
        self.pair
    }

    /// Returns the account size that its leverage and returns refer to, in dollars.
    #[must_use]
    pub fn account_size(&self) -> f64 {
        self.account_size
    }

    /// Returns its orders as they were filled, oldest first.
    #[must_use]
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Returns true once it is closed, whether by an order or by force.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.closed_at.is_some()
    }

    /// Returns true when it lost the whole account.
    #[must_use]
    pub fn is_liquidated(&self) -> bool {
        self.state.liquidated
    }

    /// Returns when the first order was filled.
    #[must_use]
    pub fn opened_at(&self) -> UtcMs {
        self.state.opened_at
    }

    /// Returns when it was closed.
    #[must_use]
    pub fn closed_at(&self) -> Option<UtcMs> {
        self.state.closed_at
    }

    /// Returns the side of the first order, [`Side::Flat`] once closed, `None` before any order.
    #[must_use]
    pub fn direction(&self) -> Option<Side> {
        self.state.direction
    }

    /// Returns the sum of its orders' leverages, in account sizes.
    #[must_use]
    pub fn net_leverage(&self) -> f64 {
        self.state.net_leverage
    }

    /// Returns the sum of its orders' quantities, in lots of the base.
    #[must_use]
    pub fn net_quantity(&self) -> f64 {
        self.state.net_quantity
    }

    /// Returns its size at the price of the last order, in dollars.
    #[must_use]
    pub fn net_value(&self) -> f64 {
        self.state.net_value
    }

    /// Returns the price paid for the quantity bought, slippage included, in quote currency.
    #[must_use]
    pub fn average_entry_price(&self) -> f64 {
        self.state.average_entry_price
    }

    /// Returns the price paid by the first order, 0 before it.
    #[must_use]
    pub fn initial_entry_price(&self) -> f64 {
        self.state.initial_entry_price
    }

    /// Returns the value of the orders in its direction, in dollars; negative when short.
    #[must_use]
    pub fn cumulative_entry_value(&self) -> f64 {
        self.state.cumulative_entry_value
    }

    /// Returns the profit of what was closed, in dollars.
    #[must_use]
    pub fn realized_pnl(&self) -> f64 {
        self.state.realized_pnl
    }

    /// Returns the profit of what is open as of the last mark, in dollars.
    #[must_use]
    pub fn unrealized_pnl(&self) -> f64 {
        self.state.unrealized_pnl
    }

    /// Returns its return before fees: 1 is unchanged, 0 is the whole account lost.
    #[must_use]
    pub fn current_return(&self) -> f64 {
        self.state.current_return
    }

    /// Returns its return after fees.
    #[must_use]
    pub fn return_at_close(&self) -> f64 {
        self.state.return_at_close
    }

    /// Returns the factor of the spread fee so far.
    #[must_use]
    pub fn spread_fee(&self) -> f64 {
        self.state.spread_fee
    }

    /// Returns the factor of the carry fee as of the last order, mark or refresh.
    #[must_use]
    pub fn carry_fee(&self) -> f64 {
        self.state.carry_fee
    }

    /// Returns the leverage traded so far, the closing leg included.
    #[must_use]
    pub fn cumulative_leverage(&self) -> f64 {
        self.state.cumulative_leverage
    }

    /// Returns the greatest absolute leverage it ever had.
    #[must_use]
    pub fn max_leverage_seen(&self) -> f64 {
        self.state.max_leverage_seen
    }

    /// Returns when the carry fee changes next, as of the last order, mark or refresh.
    #[must_use]
    pub fn next_carry_at(&self) -> UtcMs {
        self.state.next_carry_at
    }
}

#[cfg(test)]
mod tests;
