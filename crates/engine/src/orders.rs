//! The order acceptance gate.
//!
//! Checks run in the order of [`Rejection`]'s variants and the first failure wins, so that every
//! validator gives the same answer to the same order. A refused order changes nothing: the
//! gate only reads, and a position checks an order whole before it takes it. Source: trading 2.6, 2.7.

pub mod seen;
pub mod sizing;

use proctor_types::{
    DurationMs, ExecutionType, Fraction, OrderRequest, Price, Side, TradePair, Usd, UtcMs,
    market_hours,
};

use crate::account::Account;
use crate::event::PricedBy;
use crate::input::RecordedFill;
use crate::orders::seen::SeenIds;
use crate::orders::sizing::Size;
use crate::positions::position::{ForcedFlatPrice, Order, OrderSource, Position};
use crate::prices::conversion::{self, Rates};
use crate::prices::slippage::{SlippageRequest, slippage};
use crate::prices::{Prices, fill_price};
use crate::rejection::Rejection;
use crate::rulebook::{FlatSlippageMode, Rulebook};

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
    /// The key of the id of the order to be judged.
    pub(crate) key: seen::Key,
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
}

/// An order that is sized and priced.
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
struct Execution {
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

impl Desk<'_> {
    /// Judges `request` and computes what it does.
    ///
    /// # Errors
    /// The first [`Rejection`] in the order of the checks.
    pub(crate) fn judge(
        &self,
        request: &OrderRequest,
        recorded: Option<&RecordedFill>,
    ) -> Result<Plan, Rejection> {
        let pair = self.admit(request)?;
        let book = self.account.book.pair(pair);
        let open = book.and_then(|book| book.open.as_ref());
        let execution = match recorded {
            Some(fill) => Execution::recorded(fill),
            None => self.execution(pair, request.side, open)?,
        };
        if let Some(book) = book {
            let (passed, cooldown) =
                (self.at.since(book.last_accepted_at), self.rulebook.orders.cooldown.value);
            if passed < cooldown {
                return Err(Rejection::CoolingDown(DurationMs(cooldown.0 - passed.0)));
            }
        }
        let held = self.account.book.portfolio_leverage(self.rulebook);
        let Some(open) = open else {
            if request.side == Side::Flat {
                return Ok(Plan::NothingToClose(pair));
            }
            let size = self.account.terms.size(self.rulebook, self.at);
            return self.fill(request, pair, &execution, Target::New(size), None, held);
        };
        // Ledgers replay by time and positions by order, so times must increase (T-14).
        if let Some(last) = open.orders().last().filter(|last| last.at >= self.at) {
            return Err(Rejection::NotLater(last.at));
        }
        let full = u32::try_from(open.orders().len())
            .is_ok_and(|n| n >= self.rulebook.orders.orders_per_position_max.value);
        if !full || request.side == Side::Flat {
            return self.fill(request, pair, &execution, Target::Open, Some(open), held);
        }
        let size = self.account.terms.size(self.rulebook, self.at);
        let held = held - open.net_leverage().abs() * self.rulebook.portfolio_multiplier(pair);
        self.fill(request, pair, &execution, Target::NewAfterFull(size), None, held)
    }

    /// Gates 4 to 10 of trading 2.6; whether the sender is registered at all was asked before.
    fn admit(&self, request: &OrderRequest) -> Result<TradePair, Rejection> {
        if let Some(elimination) = &self.account.elimination {
            return Err(Rejection::Eliminated(elimination.stamp.at));
        }
        if let Some(departed_at) = self.departed_at {
            return Err(Rejection::Departed(departed_at));
        }
        let pair = TradePair::from_id(request.pair.as_str())
            .ok_or_else(|| Rejection::UnknownPair(request.pair.clone()))?;
        if self.seen.contains(self.key) {
            return Err(Rejection::DuplicateId);
        }
        let has_open = self.account.book.pair(pair).is_some_and(|book| book.open.is_some());
        let closes = request.side == Side::Flat && has_open;
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
        if !market_hours::is_open(pair, self.at) {
            return Err(Rejection::MarketClosed(pair));
        }
        if self.rulebook.pairs.unsupported.contains(&pair) {
            return Err(Rejection::Unsupported(pair));
        }
        match request.execution {
            ExecutionType::Market => Ok(pair),
            other
            @ (ExecutionType::Limit | ExecutionType::Bracket | ExecutionType::LimitCancel) => {
                Err(Rejection::ExecutionUnsupported(other))
            }
        }
    }

    /// Returns the current price for an order, or refuses: an order is never filled at 0 or 1.0.
    fn execution(
        &self,
        pair: TradePair,
        side: Side,
        open: Option<&Position>,
    ) -> Result<Execution, Rejection> {
        let quote = self
            .prices
            .best(&self.rulebook.prices, pair, self.at)
            .ok_or(Rejection::NoPrice(pair))?;
        let opened = open.and_then(|position| position.orders().first()).map(|order| order.side);
        Ok(Execution {
            price: fill_price(quote, self.at, side, opened).get(),
            bid: quote.bid.map_or(0.0, Price::get),
            ask: quote.ask.map_or(0.0, Price::get),
            slippage: None,
            priced_by: PricedBy::record(quote, self.at),
        })
    }

    /// Sizes and converts the order for the position that takes it.
    fn fill(
        &self,
        request: &OrderRequest,
        pair: TradePair,
        execution: &Execution,
        target: Target,
        open: Option<&Position>,
        portfolio_leverage: f64,
    ) -> Result<Plan, Rejection> {
        let account_size = match target {
            Target::New(size) | Target::NewAfterFull(size) => size.get(),
            Target::Open => open.map_or(0.0, Position::account_size),
        };
        let rates = self.rates(pair, execution.price, request.side)?;
        let size = sizing::size(&request.size, request.side, pair, account_size, rates)
            .map_err(Rejection::Size)?;
        let slippage = match execution.slippage {
            Some(recorded) => recorded,
            None => self.slippage(execution, request.side, pair, size, rates, open)?,
        };
        let order = Order {
            id: request.id.clone(),
            at: self.at,
            side: request.side,
            leverage: size.leverage,
            value: size.value,
            quantity: size.quantity,
            price: execution.price,
            bid: execution.bid,
            ask: execution.ask,
            slippage,
            quote_usd_rate: rates.quote_usd,
            usd_base_rate: rates.usd_base,
            source: OrderSource::Organic,
        };
        let flat_price = ForcedFlatPrice::Found { price: execution.price, rates };
        let priced_by = execution.priced_by.clone();
        let fill = Fill { pair, order, portfolio_leverage, flat_price, target, priced_by };
        Ok(Plan::Fill(Box::new(fill)))
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
        prices.best(&rulebook.prices, leg, at).map(|quote| fill_price(quote, at, side, None).get())
    };
    conversion::rates(pair, price, lookup).ok_or(Rejection::NoPrice(missing))
}
