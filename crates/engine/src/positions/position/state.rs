//! The numbers of a position, and what an order makes of them.
//!
//! Source: trading 3.2, 3.3, 3.6, 3.7.

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{Side, TradePair, UtcMs};

use super::{Order, Orders, PositionRefusal};
use crate::Rulebook;
use crate::positions::fees::carry::Carry;
use crate::positions::fees::legacy;
use crate::rulebook::{CarryMode, LiquidatedSize, PricelessFlat};

/// What the rules need beside the state.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) rulebook: &'a Rulebook,
    pub(super) pair: TradePair,
    /// Dollars.
    pub(super) account_size: f64,
    /// The orders before the one under way.
    pub(super) orders: &'a Orders,
}

/// The part of a position that orders and marks change.
#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub(super) struct State {
    pub(super) opened_at: UtcMs,
    pub(super) closed_at: Option<UtcMs>,
    pub(super) liquidated: bool,
    pub(super) direction: Option<Side>,
    pub(super) net_leverage: f64,
    pub(super) net_quantity: f64,
    pub(super) net_value: f64,
    pub(super) average_entry_price: f64,
    pub(super) initial_entry_price: f64,
    pub(super) cumulative_entry_value: f64,
    pub(super) realized_pnl: f64,
    pub(super) unrealized_pnl: f64,
    pub(super) current_return: f64,
    pub(super) return_at_close: f64,
    pub(super) quote_usd_rate: f64,
    /// Sum of the orders' leverages. Differs from `net_leverage` in a liquidated position only.
    pub(super) walked_leverage: f64,
    pub(super) cumulative_leverage: f64,
    pub(super) max_leverage_seen: f64,
    pub(super) spread_fee: f64,
    pub(super) carry: Carry,
    pub(super) carry_fee: f64,
    pub(super) next_carry_at: UtcMs,
    pub(super) last_fill: Option<Fill>,
}

/// What the last priced order made of the position, for the fall-back of a flat without a price.
#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub(super) struct Fill {
    pub(super) at: UtcMs,
    pub(super) unrealized_pnl: f64,
    pub(super) current_return: f64,
    pub(super) carry_fee: f64,
}

impl State {
    pub(super) fn new(opened_at: UtcMs) -> Self {
        Self {
            opened_at,
            closed_at: None,
            liquidated: false,
            direction: None,
            net_leverage: 0.0,
            net_quantity: 0.0,
            net_value: 0.0,
            average_entry_price: 0.0,
            initial_entry_price: 0.0,
            cumulative_entry_value: 0.0,
            realized_pnl: 0.0,
            unrealized_pnl: 0.0,
            current_return: 1.0,
            return_at_close: 1.0,
            quote_usd_rate: 0.0,
            walked_leverage: 0.0,
            cumulative_leverage: 0.0,
            max_leverage_seen: 0.0,
            spread_fee: 1.0,
            carry: Carry::default(),
            carry_fee: 1.0,
            next_carry_at: opened_at,
            last_fill: None,
        }
    }

    /// Returns the state after `order`, and writes into the order the size at which it was filled.
    pub(super) fn after(
        mut self,
        context: Context<'_>,
        order: &mut Order,
    ) -> Result<Self, PositionRefusal> {
        if context.orders.is_empty() {
            self.open(context, order)?;
        }
        let flattens = self.flattens(order);
        if flattens {
            self.direction = Some(Side::Flat);
            self.closed_at = Some(order.at);
            order.leverage = -self.net_leverage;
            order.quantity = -self.net_quantity;
            order.value = -self.net_value;
            if context.orders.is_empty() {
                // The published price of the first order goes by its sign as filled.
                self.initial_entry_price =
                    order.fill_price(context.rulebook.fees.slippage_from.value);
            }
        }
        self.walk(context, order);
        if order.is_priceless() {
            self.close_without_price(context, order);
        } else {
            self.value_by_order(context, order);
            if self.current_return == 0.0 {
                self.liquidated = true;
                if self.closed_at.is_some() {
                    self.drop_sizes_of_liquidated(context);
                }
            } else if flattens {
                self.drop_sizes();
            } else {
                self.grow_or_shrink(context, order);
            }
        }
        self.quote_usd_rate = order.quote_usd_rate;
        match self.not_finite(order) {
            None => Ok(self),
            Some(field) => Err(PositionRefusal::Overflow(field)),
        }
    }

    fn open(&mut self, context: Context<'_>, order: &Order) -> Result<(), PositionRefusal> {
        let price = order.fill_price(context.rulebook.fees.slippage_from.value);
        if order.leverage == 0.0 {
            return Err(PositionRefusal::NothingToOpen);
        }
        if price <= 0.0 {
            return Err(PositionRefusal::Priceless);
        }
        self.opened_at = order.at;
        self.initial_entry_price = price;
        self.direction = Some(if order.leverage > 0.0 { Side::Long } else { Side::Short });
        Ok(())
    }

    /// Leverage and quantity are two independent sums; whichever is used up closes the position.
    fn flattens(&self, order: &Order) -> bool {
        let (leverage, quantity) =
            (self.net_leverage + order.leverage, self.net_quantity + order.quantity);
        match self.direction {
            _ if order.side == Side::Flat => true,
            Some(Side::Long) => leverage <= 0.0 || quantity <= 0.0,
            Some(Side::Short) => leverage >= 0.0 || quantity >= 0.0,
            Some(Side::Flat) | None => false,
        }
    }

    /// Counts the leverage of `order` for the fees.
    fn walk(&mut self, context: Context<'_>, order: &Order) {
        let before = self.walked_leverage;
        let after = before + order.leverage;
        let flipped = before * after < 0.0 || (before != 0.0 && after == 0.0);
        let ends = order.side == Side::Flat || flipped;
        self.cumulative_leverage +=
            if ends || after == 0.0 { before.abs() } else { (after - before).abs() };
        self.walked_leverage = if ends { 0.0 } else { after };
        self.max_leverage_seen = self.max_leverage_seen.max(self.walked_leverage.abs());
        let (rulebook, class) = (context.rulebook, context.pair.class());
        self.spread_fee = rulebook.fees.spread_factor(class, self.cumulative_leverage);
        let rules = rulebook.fees.carry_of(class);
        let from = rulebook.fees.carry_from.value;
        self.carry = self.carry.after_order(rules, from, order.at, self.walked_leverage);
    }

    /// Returns true when the carry fee of `at` is the one at hand.
    pub(super) fn carry_is_current(&self, rulebook: &Rulebook, at: UtcMs) -> bool {
        match rulebook.switches.carry_mode {
            CarryMode::Calendar => at < self.next_carry_at,
            CarryMode::Legacy => false,
        }
    }

    /// Takes over the carry fee that `renewed`, a copy of this state, has computed.
    pub(super) fn take_carry(&mut self, renewed: &Self) {
        self.carry = renewed.carry;
        self.carry_fee = renewed.carry_fee;
        self.next_carry_at = renewed.next_carry_at;
    }

    /// Brings the carry fee up to `at`; `order` is the one under way.
    pub(super) fn renew_carry(&mut self, context: Context<'_>, at: UtcMs, order: Option<&Order>) {
        let rules = context.rulebook.fees.carry_of(context.pair.class());
        let from = context.rulebook.fees.carry_from.value;
        match context.rulebook.switches.carry_mode {
            CarryMode::Calendar => {
                // Nothing is due before the next boundary, unless an order came just now.
                if order.is_none() && self.carry_is_current(context.rulebook, at) {
                    return;
                }
                self.carry = self.carry.until(rules, at);
                self.carry_fee = self.carry.factor(rules);
                self.next_carry_at = self.carry.next_change(rules, at);
            }
            CarryMode::Legacy => {
                let step = |order: &Order| legacy::Step {
                    at: order.at,
                    side: order.side,
                    leverage: order.leverage,
                };
                let steps = context.orders.iter().chain(order).map(step);
                let from = from.max(self.opened_at);
                (self.carry_fee, self.next_carry_at) = legacy::carry(rules, from, steps, at);
            }
        }
    }

    /// The fee factor at `at`, the carry fee being up to date.
    pub(super) fn total_fee(&self, context: Context<'_>, at: UtcMs) -> f64 {
        let fees = &context.rulebook.fees;
        if at < fees.spread_from.value {
            fees.single_factor(context.pair.class(), self.max_leverage_seen)
        } else {
            self.carry_fee * self.spread_fee
        }
    }

    /// Takes profit or loss on what `order` closes, and values the rest at its price.
    fn value_by_order(&mut self, context: Context<'_>, order: &Order) {
        let lot = context.pair.lot_size();
        if Some(order.side) != self.direction || self.direction == Some(Side::Flat) {
            let exit = order.fill_price(context.rulebook.fees.slippage_from.value);
            let gained = -(exit - self.average_entry_price) * (order.quantity * lot);
            self.realized_pnl += gained * order.quote_usd_rate;
        }
        let after = self.net_quantity + order.quantity;
        let open = if after.abs() < self.net_quantity.abs() { after } else { self.net_quantity };
        let gained = (order.price - self.average_entry_price) * (open * lot);
        self.unrealized_pnl = gained * order.quote_usd_rate;
        self.current_return = self.value(context.account_size, self.unrealized_pnl);
        self.renew_carry(context, order.at, Some(order));
        self.return_at_close = self.current_return * self.total_fee(context, order.at);
        let Self { unrealized_pnl, current_return, carry_fee, .. } = *self;
        self.last_fill = Some(Fill { at: order.at, unrealized_pnl, current_return, carry_fee });
    }

    /// Returns the unrealized profit in dollars and the return at `price`.
    pub(super) fn value_at(&self, pair: TradePair, account_size: f64, price: f64) -> (f64, f64) {
        let gained = (price - self.average_entry_price) * (self.net_quantity * pair.lot_size());
        // The rate is that of the last order, not today's (M-5).
        let unrealized = gained * self.quote_usd_rate;
        (unrealized, self.value(account_size, unrealized))
    }

    fn value(&self, account_size: f64, unrealized_pnl: f64) -> f64 {
        let gain = if self.cumulative_entry_value == 0.0 {
            0.0
        } else {
            (self.realized_pnl + unrealized_pnl) / account_size
        };
        if gain <= -1.0 { 0.0 } else { 1.0 + gain }
    }

    fn grow_or_shrink(&mut self, context: Context<'_>, order: &Order) {
        let quantity = self.net_quantity + order.quantity;
        if self.direction == Some(order.side) {
            let entry = order.fill_price(context.rulebook.fees.slippage_from.value);
            self.average_entry_price =
                (self.average_entry_price * self.net_quantity + entry * order.quantity) / quantity;
            self.cumulative_entry_value += order.value;
        }
        self.net_quantity = quantity;
        self.net_leverage += order.leverage;
        self.net_value =
            (order.price * order.quote_usd_rate) * (quantity * context.pair.lot_size());
    }

    fn close_without_price(&mut self, context: Context<'_>, order: &Order) {
        self.drop_sizes();
        match context.rulebook.switches.priceless_flat {
            PricelessFlat::KeepMark => {
                self.realized_pnl += self.unrealized_pnl;
                self.unrealized_pnl = 0.0;
                self.renew_carry(context, order.at, Some(order));
                self.return_at_close = self.current_return * self.total_fee(context, order.at);
            }
            PricelessFlat::LastOrder => {
                if let Some(fill) = self.last_fill {
                    self.unrealized_pnl = fill.unrealized_pnl;
                    self.current_return = fill.current_return;
                    match context.rulebook.switches.carry_mode {
                        CarryMode::Calendar => self.carry_fee = fill.carry_fee,
                        CarryMode::Legacy => self.renew_carry(context, fill.at, Some(order)),
                    }
                    self.return_at_close = self.current_return * self.total_fee(context, fill.at);
                }
                self.renew_carry(context, order.at, Some(order));
            }
        }
    }

    fn drop_sizes(&mut self) {
        (self.net_leverage, self.net_quantity, self.net_value) = (0.0, 0.0, 0.0);
    }

    fn drop_sizes_of_liquidated(&mut self, context: Context<'_>) {
        match context.rulebook.switches.liquidated_size {
            LiquidatedSize::Zeroed => self.drop_sizes(),
            LiquidatedSize::AsWas => {}
        }
    }

    /// Closes a position whose return is zero with the forced flat `order`.
    pub(super) fn end_by_liquidation(&mut self, context: Context<'_>, order: &Order) {
        self.liquidated = true;
        self.direction = Some(Side::Flat);
        self.closed_at = Some(order.at);
        self.walk(context, order);
        self.renew_carry(context, order.at, Some(order));
        self.drop_sizes_of_liquidated(context);
    }

    /// Returns the first number that is not finite.
    fn not_finite(&self, order: &Order) -> Option<&'static str> {
        [
            ("order leverage", order.leverage),
            ("order value", order.value),
            ("order quantity", order.quantity),
            ("net leverage", self.net_leverage),
            ("net quantity", self.net_quantity),
            ("net value", self.net_value),
            ("average entry price", self.average_entry_price),
            ("initial entry price", self.initial_entry_price),
            ("cumulative entry value", self.cumulative_entry_value),
            ("realized pnl", self.realized_pnl),
            ("unrealized pnl", self.unrealized_pnl),
            ("current return", self.current_return),
            ("return at close", self.return_at_close),
        ]
        .into_iter()
        .find(|(_, number)| !number.is_finite())
        .map(|(name, _)| name)
    }
}
