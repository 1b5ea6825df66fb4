//! Our positions against the recorded ones, with the cause of each difference.

use std::collections::BTreeMap;
use std::fmt;

use proctor_types::{PositionId, Side, TraderId};
use serde::Serialize;

use crate::import::{RecordedOrder, RecordedOrders, RecordedPosition};
use crate::tally::{ClosedPosition, Tally};

/// Relative difference up to which two returns are the same.
const TOLERANCE: f64 = 1e-9;

/// Every recorded position with what became of it here.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// In the order of the recording.
    pub positions: Vec<Compared>,
}

/// One recorded position.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Whose.
    pub trader: TraderId,
    /// Which.
    pub position: PositionId,
    /// How many orders were recorded in it.
    pub recorded_orders: usize,
    /// The recorded return before fees.
    pub recorded_return: Option<f64>,
    /// Our return before fees, when the position closed here.
    pub our_return: Option<f64>,
    /// The return that the recorded orders give on the basis of the version that recorded them.
    pub older_basis_return: Option<f64>,
    /// What is to be said of the returns.
    pub finding: Finding,
}

/// What comparing a position found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The returns agree to nine digits.
    Same,
    /// Another return, which the recorded orders give on the basis of the version that recorded
    /// them: entries weighed by leverage and profit divided by the first entry price, where we
    /// weigh by quantity and divide dollars by the account size (trading 11).
    ReturnBasis,
    /// Another return, which the recorded orders give on neither basis.
    Unexplained,
    /// Orders of it were refused here; holds the first one's code.
    OrdersRefused(String),
    /// It was closed by other orders than recorded.
    OtherOrders,
    /// It did not close in the recording.
    NotClosedInRecording,
    /// It was never opened or did not close here.
    NotClosedHere,
    /// The recording has no return for it.
    NoRecordedReturn,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("same return (to 1e-9)"),
            Self::ReturnBasis => f.write_str("older return basis (recomputed to 1e-9)"),
            Self::Unexplained => f.write_str("recorded return fits neither basis"),
            Self::OrdersRefused(code) => write!(f, "orders refused here: {code}"),
            Self::OtherOrders => f.write_str("closed by other orders than recorded"),
            Self::NotClosedInRecording => f.write_str("not closed in the recording"),
            Self::NotClosedHere => f.write_str("not closed here"),
            Self::NoRecordedReturn => f.write_str("no recorded return"),
        }
    }
}

impl Comparison {
    /// Compares the recorded positions of `orders` with those of a run.
    #[must_use]
    pub fn of(orders: &RecordedOrders, tally: &Tally) -> Self {
        let ours: BTreeMap<(&TraderId, &PositionId), &ClosedPosition> =
            tally.closed.iter().map(|closed| ((&closed.trader, &closed.id), closed)).collect();
        let mut refused: BTreeMap<(&TraderId, &PositionId), &str> = BTreeMap::new();
        let mut of_position: BTreeMap<(&TraderId, &PositionId), Vec<&RecordedOrder>> =
            BTreeMap::new();
        for order in &orders.orders {
            let Some(position) = &order.position else { continue };
            of_position.entry((&order.request.trader, position)).or_default().push(order);
            let key = (order.request.trader.clone(), order.request.id.clone());
            if let Some(code) = tally.refused_orders.get(&key) {
                refused.entry((&order.request.trader, position)).or_insert(code);
            }
        }
        let compared = |recorded: &RecordedPosition| {
            let key = (&recorded.trader, &recorded.id);
            let our = ours.get(&key).copied();
            let older = of_position.get(&key).and_then(|orders| older_return(orders));
            Compared {
                trader: recorded.trader.clone(),
                position: recorded.id.clone(),
                recorded_orders: recorded.orders,
                recorded_return: recorded.current_return,
                our_return: our.map(|our| our.facts.return_before_fees),
                older_basis_return: older,
                finding: finding(recorded, our, refused.get(&key).copied(), older),
            }
        };
        Self { positions: orders.positions.iter().map(compared).collect() }
    }

    /// Returns how often each finding was made.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&Finding, usize> {
        let mut counts = BTreeMap::new();
        for compared in &self.positions {
            *counts.entry(&compared.finding).or_default() += 1;
        }
        counts
    }
}

fn finding(
    recorded: &RecordedPosition,
    our: Option<&ClosedPosition>,
    refused: Option<&str>,
    older: Option<f64>,
) -> Finding {
    let Some(theirs) = recorded.current_return else { return Finding::NoRecordedReturn };
    if let Some(code) = refused {
        return Finding::OrdersRefused(code.into());
    }
    if !recorded.is_closed {
        return Finding::NotClosedInRecording;
    }
    let Some(our) = our else { return Finding::NotClosedHere };
    let mine = our.facts.return_before_fees;
    if is_same(mine, theirs) {
        Finding::Same
    } else if usize::try_from(our.facts.orders) != Ok(recorded.orders) {
        Finding::OtherOrders
    } else if older.is_some_and(|older| is_same(older, theirs)) {
        Finding::ReturnBasis
    } else {
        Finding::Unexplained
    }
}

fn is_same(mine: f64, theirs: f64) -> bool {
    (mine - theirs).abs() <= TOLERANCE * theirs.abs()
}

/// Returns the return of a position with `orders` on the older basis (trading 11), or `None` when
/// they do not close it.
fn older_return(orders: &[&RecordedOrder]) -> Option<f64> {
    let (mut average, mut net, mut realized, mut first_entry) = (0.0, 0.0, 0.0, 0.0);
    for order in orders {
        let side = order.request.side;
        let mut leverage = f64::from(order.request.size.leverage?).abs();
        if side == Side::Short {
            leverage = -leverage;
        }
        let opens = first_entry == 0.0;
        let closes = side == Side::Flat || (!opens && net * (net + leverage) <= 0.0);
        if closes {
            leverage = -net;
        }
        let slip = order.fill.slippage * leverage.signum();
        let paid = order.fill.price.get() * (1.0 + slip);
        if opens {
            first_entry = paid;
        }
        if opens || net * leverage > 0.0 {
            average = (average * net + paid * leverage) / (net + leverage);
        } else {
            realized -= (paid - average) * leverage;
        }
        net += leverage;
        if closes {
            return Some(1.0 + realized / first_entry);
        }
    }
    None
}
