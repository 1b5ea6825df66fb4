//! What a call comes to when it does not come to an answer.

use std::fmt;

use proctor_rpc::Problem;
use tonic::Code;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The service says no; nothing was taken.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// An answer that no service of this contract gives: another server, another version.
    #[error("{address} answered {method} with {code:?}: {message}")]
    Foreign {
        /// Who answered.
        address: String,
        /// What was called.
        method: &'static str,
        /// The status code.
        code: Code,
        /// Its message.
        message: String,
    },
    /// Nothing was taken, and there is no time left for another attempt: the server could not be
    /// reached, or said each time that it takes nothing now.
    #[error("{method} was not taken by {address} in {attempts} attempts: {last}; try again later")]
    NotTaken {
        /// Who was called.
        address: String,
        /// What was called.
        method: &'static str,
        /// How often it was tried.
        attempts: u32,
        /// What went wrong last.
        last: String,
    },
    /// A read without an answer; asking again does no harm.
    #[error("{address} did not answer {method} in {attempts} attempts: {last}; try again")]
    NoAnswer {
        /// Who was called.
        address: String,
        /// What was called.
        method: &'static str,
        /// How often it was tried.
        attempts: u32,
        /// What went wrong last.
        last: String,
    },
    /// A write that may or may not have happened.
    #[error(transparent)]
    OutcomeUnknown(#[from] OutcomeUnknown),
}

impl CallError {
    /// Returns the problem that the service answered with, when it did.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            Self::Foreign { .. }
            | Self::NotTaken { .. }
            | Self::NoAnswer { .. }
            | Self::OutcomeUnknown(_) => None,
        }
    }
}

/// A write may or may not have been taken; it was not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not known whether {address} took {method}: {why}; {ask}")]
pub struct OutcomeUnknown {
    /// Who was called.
    pub address: String,
    /// What was called.
    pub method: &'static str,
    /// What went wrong after it had been sent.
    pub why: String,
    /// What tells the outcome.
    pub ask: Ask,
}

/// What to read in order to know whether a write happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The order, or send the same signed bytes again: an order is taken once.
    Order {
        /// Whose order.
        trader: String,
        /// Its id.
        order_id: String,
    },
    /// Each of many orders, or send the same signed bytes again.
    Orders,
    /// The record of a trader's end.
    Elimination {
        /// Whose record.
        trader: String,
    },
    /// All records.
    Eliminations,
    /// The trader's account.
    Account {
        /// Whose account.
        trader: String,
    },
    /// The latest prices; newer ones replace them anyway.
    LatestPrices,
    /// The challenge period as a whole.
    ChallengePeriod,
    /// The status of the node.
    Status,
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order { trader, order_id } => write!(
                f,
                "ask GetOrder for order {order_id} of {trader}, or send the same signed bytes again"
            ),
            Self::Orders => {
                f.write_str("ask GetOrder for each, or send the same signed bytes again")
            }
            Self::Elimination { trader } => write!(f, "ask GetElimination for {trader}"),
            Self::Eliminations => f.write_str("ask GetEliminationsFromMemory"),
            Self::Account { trader } => write!(f, "ask GetAccount for {trader}"),
            Self::LatestPrices => f.write_str("ask GetLatest"),
            Self::ChallengePeriod => f.write_str("ask Snapshot of the challenge period"),
            Self::Status => f.write_str("ask GetStatus"),
        }
    }
}
