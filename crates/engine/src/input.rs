//! `Input`: everything that can change the world.
//!
//! An input is logged before it is judged, so a replay refuses what was refused. Inputs were parsed
//! at the edge; what they ask for may still be wrong, and the engine answers that with a
//! [`crate::Rejection`], never with a panic.

mod signed;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{
    AssetClass, Fraction, OperatorId, OrderId, OrderRequest, Price, Quote, Remark, SourceName,
    Stamp, TraderId, Usd, UtcMs,
};

pub use signed::{PAYLOAD_LEN_MAX, Payload, PayloadTooLong, SignedOrder, Validity};

use crate::challenge_period::reasons::ReasonsCommand;
use crate::challenge_period::{PlagiarismReport, Standing};
use crate::eliminations::{EliminationsCommand, Reinstatement, SyncedEliminations};

use crate::input_chain::Placed;

/// One fact or request from outside.
///
/// The order of the variants is part of the log's format: new ones go at the end.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub enum Input {
    /// A trader's order, to be filled at the engine's own price.
    Order(OrderRequest),
    /// An order of the past with the fill it was given then; only an importer makes these, a
    /// trader's message has no room for a fill.
    RecordedOrder(OrderRequest, RecordedFill),
    /// New prices, at most one per pair and source.
    Prices(Vec<Quote>),
    /// The full set of registered traders.
    Roster(Roster),
    /// The size of a trader's account, effective from the next 00:00 UTC.
    AccountSize(TraderId, Usd),
    /// The asset class a trader wants to trade; may be chosen once.
    AssetClass(TraderId, AssetClass),
    /// A rulebook document: the rules of every account that enrols from now on.
    Rulebook(String),
    /// Time has passed.
    Tick,
    /// Everybody whom the detector of plagiarism suspects: the whole list, not a change of it.
    Plagiarism(PlagiarismReport),
    /// What an operator says about stages.
    Stages(StagesCommand),
    /// Reasons found elsewhere, and the acknowledgement of decisions.
    Reasons(ReasonsCommand),
    /// An operator undoes one decision.
    Reinstate(Reinstatement),
    /// The collateral for a trader's elimination, decided at the stamp, was taken.
    SlashSettled(TraderId, Stamp),
    /// An operator writes records.
    Eliminations(EliminationsCommand),
    /// Another validator's list of records.
    SyncEliminations(SyncedEliminations),
    /// The price of a recent order was wrong.
    CorrectPrice(PriceCorrection),
    /// A trader's order or cancellation with what he has signed: judged at most once.
    SignedOrder(Box<SignedOrder>),
}

impl Input {
    /// Returns the order that this input is, of whatever form.
    #[must_use]
    #[expect(clippy::wildcard_enum_match_arm, reason = "what is no order asks for none")]
    pub fn order(&self) -> Option<&OrderRequest> {
        match self {
            Self::Order(request) | Self::RecordedOrder(request, _) => Some(request),
            Self::SignedOrder(signed) => Some(&signed.request),
            _ => None,
        }
    }
}

/// Another price for an order that was filled, and who says so.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct PriceCorrection {
    /// Whose order.
    pub trader: TraderId,
    /// Which order.
    pub order: OrderId,
    /// The price before slippage, quote currency per unit of base.
    pub price: Price,
    /// The bid at the time of the order, when it is known.
    pub bid: Option<Price>,
    /// The ask at the time of the order, when it is known.
    pub ask: Option<Price>,
    /// Whose price it is.
    pub source: SourceName,
    /// Who asks for it.
    pub by: OperatorId,
    /// Why, in words.
    pub why: Remark,
}

/// What an operator may say about the stages of traders.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub enum StagesCommand {
    /// Puts traders into stages (`set_miner_bucket`, `update_miners`): all of them or, when one
    /// cannot be, none.
    Set(Vec<(TraderId, Standing)>),
    /// Takes a trader out of its stage (`remove_miner`). Who is registered begins a new challenge
    /// in the same commit, so that nobody is registered and in no stage.
    Remove(TraderId),
    /// Refreshes all stages now (`refresh`).
    Refresh,
}

/// The fill that an order was given when it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct RecordedFill {
    /// The price before slippage, quote currency per unit of base.
    pub price: Price,
    /// The bid at the time, when it was recorded.
    pub bid: Option<Price>,
    /// The ask at the time, when it was recorded.
    pub ask: Option<Price>,
    /// Slippage as a fraction of the price; `None` has the rulebook's model decide.
    pub slippage: Option<Fraction>,
}

/// Who is registered, as the outside knows it at one moment.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Roster {
    /// Grows with every change; an older one that arrives late is refused.
    pub version: u64,
    /// Every registered trader, sorted, without repeats.
    pub registered: Vec<TraderId>,
}

impl Roster {
    /// Returns the roster of `traders`, sorted and without repeats.
    #[must_use]
    pub fn new(version: u64, mut traders: Vec<TraderId>) -> Self {
        traders.sort_unstable();
        traders.dedup();
        Self { version, registered: traders }
    }
}

/// A batch of inputs that share a time: the unit of durability, of views and of sync.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// Counts from 1 without gaps.
    pub index: u64,
    /// When; never earlier than the commit before.
    pub at: UtcMs,
    /// What, in the order in which it is judged.
    pub inputs: Vec<Input>,
}

/// The part of a commit that some accounts depend on; every input keeps its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Extract {
    /// As the commit's.
    pub index: u64,
    /// As the commit's.
    pub at: UtcMs,
    /// What is left of the inputs, in ascending order of their places.
    pub inputs: Vec<Placed>,
}

impl From<Commit> for Extract {
    /// Returns the extract that leaves nothing out.
    fn from(commit: Commit) -> Self {
        let Commit { index, at, inputs } = commit;
        let inputs = (0..).zip(inputs).map(|(ordinal, input)| Placed { ordinal, input }).collect();
        Self { index, at, inputs }
    }
}
