//! `Problem`: an error with its kind, the field it is about, and what to do.
//!
//! On the wire it is a status code with the standard details (`google.rpc.ErrorInfo`, `BadRequest`,
//! `RetryInfo`), so that a client in any language can take it apart.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of every `ErrorInfo` from here.
pub const DOMAIN: &str = "proctor";

/// What kind of problem it is; the name is stable and is the `reason` of `ErrorInfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A field of the request cannot be what it is.
    InvalidArgument,
    /// There is no such trader here.
    UnknownTrader,
    /// There is no such thing: an order, position, pair, decision.
    NotFound,
    /// What is asked for contradicts the state; the metadata `code` says how.
    Refused,
    /// The queue is full: nothing was taken.
    Busy,
    /// The newest known state is too old to answer from.
    Stale,
    /// The service is stopping or has lost the node; a write may or may not have been taken.
    Unavailable,
    /// No or no valid token or signature.
    Unauthenticated,
    /// The token's role may not do this.
    Forbidden,
    /// Too many requests of one caller.
    Throttled,
    /// The watcher is too slow.
    TooSlow,
    /// A fault of this software.
    Internal,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::InvalidArgument,
        Self::UnknownTrader,
        Self::NotFound,
        Self::Refused,
        Self::Busy,
        Self::Stale,
        Self::Unavailable,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Throttled,
        Self::TooSlow,
        Self::Internal,
    ];

    /// Returns the stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::UnknownTrader => "UNKNOWN_TRADER",
            Self::NotFound => "NOT_FOUND",
            Self::Refused => "REFUSED",
            Self::Busy => "BUSY",
            Self::Stale => "STALE",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::Throttled => "THROTTLED",
            Self::TooSlow => "TOO_SLOW",
            Self::Internal => "INTERNAL",
        }
    }

    /// Returns the status code.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::InvalidArgument => Code::InvalidArgument,
            Self::UnknownTrader | Self::NotFound => Code::NotFound,
            Self::Refused => Code::FailedPrecondition,
            Self::Busy | Self::Throttled => Code::ResourceExhausted,
            Self::Stale | Self::Unavailable => Code::Unavailable,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Forbidden => Code::PermissionDenied,
            Self::TooSlow => Code::Aborted,
            Self::Internal => Code::Internal,
        }
    }
}

/// An error of a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// Which kind.
    pub reason: Reason,
    /// What happened, to what, and what to do.
    pub message: String,
    /// The field of the request that it is about, as a path.
    pub field: Option<String>,
    /// A stable code below the reason, such as that of a rejection by the rules.
    pub code: Option<String>,
    /// When it may be worth trying again.
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// Returns a problem with nothing but a message.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), field: None, code: None, retry_after: None }
    }

    /// Returns that `field` of the request cannot be taken.
    #[must_use]
    pub fn invalid(field: impl Into<String>, message: impl std::fmt::Display) -> Self {
        let field = field.into();
        let message = format!("{field}: {message}");
        Self { field: Some(field), ..Self::new(Reason::InvalidArgument, message) }
    }

    /// Returns that there is no account of `trader`.
    #[must_use]
    pub fn unknown_trader(trader: &str) -> Self {
        let message = format!("there is no account of trader {trader}");
        Self { field: Some("trader".into()), ..Self::new(Reason::UnknownTrader, message) }
    }

    /// Returns the problem with a stable code below its reason.
    #[must_use]
    pub fn with_code(self, code: impl Into<String>) -> Self {
        Self { code: Some(code.into()), ..self }
    }

    /// Returns the problem with the time after which to try again.
    #[must_use]
    pub fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// Reads a problem back from a status; `None` when the status did not come from a service of
    /// this contract.
    #[must_use]
    pub fn of(status: &Status) -> Option<Self> {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN)?;
        let reason = Reason::ALL.into_iter().find(|reason| reason.name() == info.reason)?;
        let field = details
            .bad_request()
            .and_then(|bad| bad.field_violations.first())
            .map(|violation| violation.field.clone());
        Some(Self {
            reason,
            message: status.message().to_owned(),
            field,
            code: info.metadata.get("code").cloned(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
        })
    }
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        let metadata: HashMap<String, String> =
            problem.code.into_iter().map(|code| ("code".to_owned(), code)).collect();
        let mut details = ErrorDetails::new();
        details.set_error_info(problem.reason.name(), DOMAIN, metadata);
        if let Some(field) = &problem.field {
            details.add_bad_request_violation(field.as_str(), problem.message.as_str());
        }
        if problem.retry_after.is_some() {
            details.set_retry_info(problem.retry_after);
        }
        Self::with_error_details(problem.reason.code(), problem.message, details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_survives_the_wire() {
        let plain = Problem::new(Reason::Busy, "1,024 submissions are waiting");
        let full = Problem::invalid("rows[3].reason", "unknown reason \"X\"")
            .with_code("unknown_reason")
            .retry_after(Duration::from_millis(50));
        for problem in [plain, full, Problem::unknown_trader("alice")] {
            let status = Status::from(problem.clone());
            assert_eq!(status.code(), problem.reason.code());
            assert_eq!(Problem::of(&status), Some(problem));
        }
        assert_eq!(Problem::of(&Status::internal("somebody else's")), None);
    }

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<&str> =
            Reason::ALL.into_iter().map(Reason::name).collect();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
