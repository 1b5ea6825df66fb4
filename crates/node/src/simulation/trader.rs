//! Simulated traders of different styles, sound and unsound.

use std::fmt;

use proctor_engine::Input;
use proctor_types::{
    AssetClass, Cancel, ExecutionType, Leverage, OrderId, OrderRequest, PairName, Price, Side,
    SizeFields, TradePair, TraderId, UtcMs,
};

use super::dice::Dice;
use super::market::Market;

/// How a trader trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Follows moves of some hours; every entry has a stop loss and a take profit.
    Trend,
    /// Bets against moves of some minutes, by limit orders.
    Reversion,
    /// In and out within minutes, small; sends a bracket after each entry.
    Scalper,
    /// Opens once and holds.
    Holder,
    /// Adds to what loses.
    Martingale,
    /// As much as the limits allow, on every pair.
    Reckless,
    /// Sends orders that should be refused, and some good ones.
    Careless,
}

impl Style {
    const ALL: [Self; 7] = [
        Self::Trend,
        Self::Reversion,
        Self::Scalper,
        Self::Holder,
        Self::Martingale,
        Self::Reckless,
        Self::Careless,
    ];

    /// Returns how many orders a day the trader thinks about, about.
    fn decisions_per_day(self) -> f64 {
        match self {
            Self::Trend => 8.0,
            Self::Reversion => 16.0,
            Self::Scalper => 40.0,
            Self::Holder => 0.5,
            Self::Martingale => 12.0,
            Self::Reckless => 10.0,
            Self::Careless => 20.0,
        }
    }
}

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Trend => "trend",
            Self::Reversion => "reversion",
            Self::Scalper => "scalper",
            Self::Holder => "holder",
            Self::Martingale => "martingale",
            Self::Reckless => "reckless",
            Self::Careless => "careless",
        })
    }
}

/// One simulated trader and what it believes to hold.
#[derive(Debug)]
pub struct SimulatedTrader {
    id: TraderId,
    style: Style,
    class: AssetClass,
    account_size: f64,
    orders_sent: u32,
    /// Signed leverage the trader believes to hold, by pair.
    believed: Vec<(TradePair, f64)>,
    dice: Dice,
}

impl SimulatedTrader {
    /// Returns trader `number` with its own source of chance.
    ///
    /// # Panics
    /// Never: the name is valid.
    #[must_use]
    pub fn new(number: u32, dice: &mut Dice) -> Self {
        let mut dice = dice.split();
        let styles = Style::ALL.len();
        let style = Style::ALL[usize::try_from(number).unwrap_or(0) % styles];
        let class = if dice.chance(0.6) { AssetClass::Crypto } else { AssetClass::Forex };
        let sizes = [25_000.0, 50_000.0, 100_000.0, 200_000.0];
        let account_size = sizes[usize::try_from(dice.below(4)).unwrap_or(0)];
        let id = TraderId::new(&format!("{style}-{number:04}")).expect("a valid name");
        Self { id, style, class, account_size, orders_sent: 0, believed: Vec::new(), dice }
    }

    /// Returns the trader's name, which begins with its style.
    #[must_use]
    pub fn id(&self) -> &TraderId {
        &self.id
    }

    /// Returns the account size in USD.
    #[must_use]
    pub fn account_size(&self) -> f64 {
        self.account_size
    }

    /// Returns the asset class that the trader chose.
    #[must_use]
    pub fn asset_class(&self) -> AssetClass {
        self.class
    }

    /// Lets the trader name its next orders after `number`: a live run goes on with new names.
    pub fn name_orders_from(&mut self, number: u32) {
        self.orders_sent = number;
    }

    /// Lets the trader act in the minute that begins at `now`; adds its orders with their times.
    pub fn act(&mut self, now: UtcMs, market: &Market, orders: &mut Vec<(UtcMs, Input)>) {
        if !self.dice.chance(self.style.decisions_per_day() / 1_440.0) {
            return;
        }
        let own: Vec<TradePair> =
            market.pairs().filter(|pair| pair.class() == self.class).collect();
        let count = u32::try_from(own.len()).unwrap_or(1);
        let pair = own[usize::try_from(self.dice.below(count)).unwrap_or(0)];
        let held = self.held(pair);
        let at = UtcMs(now.0 + i64::from(self.dice.below(50_000)));
        if let Some((side, leverage)) = self.decide(pair, held, market) {
            let mut request = self.request(pair.id(), side, leverage);
            self.believe(pair, side, leverage);
            if let Some(price) = market.price(pair) {
                self.refine(at, &mut request, price, orders);
            }
            orders.push((at, Input::Order(request.clone())));
            if self.style == Style::Careless {
                self.blunder(at, pair, request, orders);
            }
        }
    }

    /// Returns what the trader does about `pair`, of which it believes to hold `held`.
    fn decide(&mut self, pair: TradePair, held: f64, market: &Market) -> Option<(Side, f64)> {
        let most = if self.class == AssetClass::Crypto { 0.5 } else { 5.0 };
        let (fast, slow) = (market.change(pair, 15), market.change(pair, 180));
        let along = |change: f64| if change >= 0.0 { Side::Long } else { Side::Short };
        let against = |change: f64| if change >= 0.0 { Side::Short } else { Side::Long };
        match self.style {
            Style::Trend if held == 0.0 => {
                Some((along(slow), most * self.dice.between(0.08, 0.25)))
            }
            Style::Trend if held.signum() != slow.signum() => Some((Side::Flat, 0.0)),
            Style::Trend => None,
            Style::Reversion if held == 0.0 => {
                Some((against(fast), most * self.dice.between(0.05, 0.15)))
            }
            Style::Reversion | Style::Scalper if held != 0.0 => Some((Side::Flat, 0.0)),
            Style::Reversion | Style::Scalper => {
                Some((along(fast), most * self.dice.between(0.03, 0.08)))
            }
            Style::Holder if held == 0.0 => Some((Side::Long, most * self.dice.between(0.1, 0.35))),
            Style::Holder => None,
            Style::Martingale if held.abs() >= most * 0.95 => Some((Side::Flat, 0.0)),
            Style::Martingale => {
                let side = if held == 0.0 { against(slow) } else { along(held) };
                Some((side, held.abs().max(most * 0.06)))
            }
            Style::Reckless if held == 0.0 || self.dice.chance(0.3) => Some((along(fast), most)),
            Style::Reckless => Some((Side::Flat, 0.0)),
            Style::Careless if held != 0.0 && self.dice.chance(0.5) => Some((Side::Flat, 0.0)),
            Style::Careless => Some((along(fast), most * self.dice.between(-0.02, 0.3))),
        }
    }

    /// Makes of a market order what the trader's style makes of it: an entry with a stop, a limit
    /// order, or an entry that is followed by a bracket; and takes back what waits before a close.
    fn refine(
        &mut self,
        at: UtcMs,
        request: &mut OrderRequest,
        price: f64,
        orders: &mut Vec<(UtcMs, Input)>,
    ) {
        let pair = request.pair.as_str().to_owned();
        let sign = match request.side {
            Side::Long => 1.0,
            Side::Short => -1.0,
            Side::Flat if self.style == Style::Reversion => {
                let mut cancel = self.request(&pair, Side::Flat, 0.0);
                cancel.execution = ExecutionType::LimitCancel;
                cancel.cancel = Some(Cancel::Pair);
                orders.push((at, Input::Order(cancel)));
                return;
            }
            Side::Flat => return,
        };
        // Currencies move a quarter as much.
        let scale = if self.class == AssetClass::Crypto { sign } else { sign / 4.0 };
        let away = |part: f64| Price::new(price * (1.0 + scale * part)).ok();
        match self.style {
            Style::Trend => {
                (request.stop_loss, request.take_profit) = (away(-0.012), away(0.03));
            }
            Style::Reversion => {
                request.execution = ExecutionType::Limit;
                request.limit_price = away(-self.dice.between(-0.000_2, 0.002));
                request.take_profit = away(0.006);
            }
            Style::Scalper => {
                let mut bracket = self.request(&pair, request.side, 0.0);
                bracket.execution = ExecutionType::Bracket;
                bracket.size = SizeFields::default();
                (bracket.stop_loss, bracket.take_profit) = (away(-0.004), away(0.004));
                orders.push((UtcMs(at.0 + 2_000), Input::Order(bracket)));
            }
            Style::Holder | Style::Martingale | Style::Reckless | Style::Careless => {}
        }
    }

    /// Sends what a careless trader sends after an order: again, too soon, or nonsense.
    fn blunder(
        &mut self,
        at: UtcMs,
        pair: TradePair,
        sent: OrderRequest,
        orders: &mut Vec<(UtcMs, Input)>,
    ) {
        let later = UtcMs(at.0 + i64::from(self.dice.below(9_000)));
        let request = match self.dice.below(9) {
            0 => sent,
            1 => self.request(pair.id(), Side::Long, 0.1),
            2 => self.request("BTCUSDT", Side::Long, 0.1),
            3 => self.request("NVDA", Side::Long, 0.5),
            4 => {
                let mut request = self.request(pair.id(), Side::Long, 0.2);
                request.size = SizeFields::default();
                request
            }
            5 => {
                let mut request = self.request(pair.id(), Side::Long, 0.2);
                request.execution = ExecutionType::Limit;
                request
            }
            6 => {
                let mut request = self.request(pair.id(), Side::Flat, 0.0);
                request.execution = ExecutionType::LimitCancel;
                request.cancel = Some(Cancel::Order(sent.id));
                request
            }
            7 => {
                let mut request = self.request(pair.id(), Side::Long, 0.0);
                request.execution = ExecutionType::Bracket;
                request
            }
            _ => {
                let other = if self.class == AssetClass::Crypto { "EURUSD" } else { "ETHUSD" };
                self.request(other, Side::Short, 0.2)
            }
        };
        orders.push((later, Input::Order(request)));
    }

    fn held(&self, pair: TradePair) -> f64 {
        self.believed.iter().find(|(own, _)| *own == pair).map_or(0.0, |(_, held)| *held)
    }

    fn believe(&mut self, pair: TradePair, side: Side, leverage: f64) {
        let before = self.held(pair);
        let after = match side {
            Side::Long => before + leverage.abs(),
            Side::Short => before - leverage.abs(),
            Side::Flat => 0.0,
        };
        // An order against the position closes it at most.
        let after = if before * after < 0.0 { 0.0 } else { after };
        match self.believed.iter_mut().find(|(own, _)| *own == pair) {
            Some((_, held)) => *held = after,
            None => self.believed.push((pair, after)),
        }
    }

    fn request(&mut self, pair: &str, side: Side, leverage: f64) -> OrderRequest {
        self.orders_sent += 1;
        let id = format!("{}-{}", self.id, self.orders_sent);
        OrderRequest::market(
            self.id.clone(),
            OrderId::new(&id).expect("a simulated id is valid"),
            PairName::new(pair).expect("a simulated pair name is valid"),
            side,
            SizeFields {
                leverage: Some(Leverage::new(leverage).expect("a simulated leverage is finite")),
                ..SizeFields::default()
            },
        )
    }
}
