//! The gate's part that is for limit orders, brackets and cancellations only.
//!
//! Source: trading 6.3, 6.4, 6.9.

use proctor_types::{Cancel, OrderRequest, Side, TradePair, market_hours};

use super::{NewResting, Protection, RestingOrder, Terms, attach, positive};
use crate::orders::seen::Key;
use crate::orders::{Desk, Plan, Ticket, sizing};
use crate::positions::position::OrderSource;
use crate::rejection::Rejection;
use crate::rulebook::RestingFillPrice;

impl Desk<'_> {
    /// Judges a limit order: it fills at once when the market is there already, else it rests.
    ///
    /// # Errors
    /// The first [`Rejection`] in the order of the checks.
    pub(crate) fn judge_limit(
        &self,
        request: &OrderRequest,
        pair: TradePair,
    ) -> Result<Plan, Rejection> {
        if request.side == Side::Flat {
            return Err(Rejection::LimitFlat);
        }
        let limit = positive("limit_price", request.limit_price)?;
        let limit = limit.ok_or(Rejection::LimitPriceMissing)?;
        sizing::check_stated(&request.size, request.side).map_err(Rejection::Size)?;
        let protection = Protection::of(request)?;
        protection.around(request.side, limit.get())?;
        self.check_bracket_id(request, protection)?;
        attach::room(self.rulebook, &self.account.resting)?;
        let (side, size) = (request.side, request.size);
        let terms = Terms::Limit { side, size, limit, protection };
        let order = NewResting { id: request.id.clone(), pair, terms };
        // While the market is closed nothing is reached: the order waits for it to open (L-3).
        if !market_hours::is_open(pair, self.at) {
            return Ok(Plan::Rest(order));
        }
        let best = self.prices.best(self.rulebook, pair, self.at);
        match best.and_then(|quote| Some((order.terms.reached(quote, self.at)?, quote))) {
            None => Ok(Plan::Rest(order)),
            Some((reached, quote)) => {
                let ticket = Ticket {
                    id: &request.id,
                    pair,
                    side,
                    size,
                    source: OrderSource::LimitFilled,
                    protection,
                };
                // The reference gives it the price of a market order, and the level only later.
                let execution = match self.rulebook.switches.resting_fill_price {
                    RestingFillPrice::Market => self.execution_of_resting(quote, &reached),
                    RestingFillPrice::Level => self.execution(pair, side, None)?,
                };
                self.check_cooldown(pair)?;
                let fill = self.fill(&ticket, &execution, Some(reached))?;
                Ok(fill.map_or(Plan::NothingToClose(pair), Plan::Fill))
            }
        }
    }

    /// Judges a bracket for the open position on the pair.
    ///
    /// # Errors
    /// The first [`Rejection`] in the order of the checks.
    pub(crate) fn judge_bracket(
        &self,
        request: &OrderRequest,
        pair: TradePair,
    ) -> Result<Plan, Rejection> {
        let open = self.account.book.pair(pair).and_then(|book| book.open.as_ref());
        let open = open.ok_or(Rejection::NoPosition(pair))?;
        let protection = Protection::of(request)?;
        let (rules, resting) = (self.rulebook, &self.account.resting);
        attach::bracket(rules, resting, open, &request.id, protection, request.size, None)
            .map(Plan::Rest)
    }

    /// Judges a cancellation: of one order by its whole id, or of all of them (L-11).
    ///
    /// # Errors
    /// The first [`Rejection`] in the order of the checks.
    pub(crate) fn judge_cancel(&self, request: &OrderRequest) -> Result<Plan, Rejection> {
        let target = request.cancel.as_ref().ok_or(Rejection::CancelTargetMissing)?;
        let pair = match target {
            Cancel::Pair => Some(self.known_pair(request)?),
            Cancel::Order(_) | Cancel::All => None,
        };
        let is_meant = |order: &&RestingOrder| match target {
            Cancel::Order(id) => order.id == *id,
            Cancel::Pair => Some(order.pair) == pair,
            Cancel::All => true,
        };
        let numbers: Vec<u64> = self
            .account
            .resting
            .orders()
            .iter()
            .filter(is_meant)
            .map(|order| order.number)
            .collect();
        if numbers.is_empty() { Err(Rejection::NothingToCancel) } else { Ok(Plan::Cancel(numbers)) }
    }

    /// Tests what must hold before the fill of an order that wants a bracket: once it is filled, it
    /// is too late to refuse (L-7).
    ///
    /// # Errors
    /// The first [`Rejection`] in the order of the checks.
    pub(crate) fn check_protection(
        &self,
        request: &OrderRequest,
        pair: TradePair,
    ) -> Result<Protection, Rejection> {
        let protection = Protection::of(request)?;
        // A close leaves nothing to protect, and no surplus field may keep it from closing.
        if protection.is_empty() || request.side == Side::Flat {
            return Ok(protection);
        }
        self.check_bracket_id(request, protection)?;
        let resting = &self.account.resting;
        let open = self.account.book.pair(pair).and_then(|book| book.open.as_ref());
        if open.is_none_or(|open| resting.whole_bracket(open.id()).is_none()) {
            attach::room(self.rulebook, resting)?;
        }
        Ok(protection)
    }

    fn check_bracket_id(
        &self,
        request: &OrderRequest,
        protection: Protection,
    ) -> Result<(), Rejection> {
        if protection.is_empty() {
            return Ok(());
        }
        let id = request.id.bracket().ok_or(Rejection::BracketIdTooLong)?;
        if self.is_known(&id, Key::of(&id)) { Err(Rejection::DuplicateId) } else { Ok(()) }
    }
}
