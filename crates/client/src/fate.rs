//! What a failed attempt means for the call: answered, not taken, or unknown.

use std::error::Error as _;
use std::time::Duration;

use proctor_rpc::{Problem, Reason};
use tonic::{Code, ConnectError, Status};

/// What is known after an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The service answered; the answer would not change.
    Answered,
    /// Nothing was taken: the server was not reached, or says so.
    NotTaken {
        /// When the server wants to be asked again.
        retry_after: Option<Duration>,
        /// Whether no connection came about.
        unreached: bool,
    },
    /// The connection broke, or the server lost what stands behind it: the request may have
    /// been taken. A read can be asked again.
    Unknown,
}

/// Returns what `status` says of the attempt that ended with it.
pub(crate) fn fate(status: &Status) -> Fate {
    if let Some(problem) = Problem::of(status) {
        return of_problem(&problem);
    }
    if was_never_connected(status) {
        return Fate::NotTaken { retry_after: None, unreached: true };
    }
    // A status with a cause was made at this end: no answer came.
    if status.source().is_some() {
        return Fate::Unknown;
    }
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented => Fate::Answered,
        // Each of these is also what a server says that broke off in the middle.
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Fate::Unknown,
    }
}

fn of_problem(problem: &Problem) -> Fate {
    let not_taken = Fate::NotTaken { retry_after: problem.retry_after, unreached: false };
    match problem.reason {
        Reason::Busy => not_taken,
        Reason::Unavailable if problem.code.as_deref() == Some("stopping") => not_taken,
        // A write whose answer the service could not read any more was perhaps committed.
        Reason::Unavailable | Reason::Stale | Reason::Internal | Reason::TooSlow => Fate::Unknown,
        Reason::InvalidArgument
        | Reason::UnknownTrader
        | Reason::NotFound
        | Reason::Refused
        | Reason::Unauthenticated
        | Reason::Forbidden
        | Reason::Throttled => Fate::Answered,
    }
}

/// Whether the attempt ended before there was a connection to send anything over.
fn was_never_connected(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether a read that ended so may have an answer a little later.
pub(crate) fn read_again(status: &Status) -> bool {
    match Problem::of(status).map(|problem| problem.reason) {
        Some(reason) => matches!(reason, Reason::Busy | Reason::Unavailable | Reason::Stale),
        None => status.source().is_some() || status.code() == Code::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(reason: Reason, code: Option<&str>) -> Status {
        let problem = Problem::new(reason, "text");
        match code {
            Some(code) => problem.with_code(code).into(),
            None => problem.into(),
        }
    }

    #[test]
    fn only_busy_stopping_and_a_refused_connection_say_that_nothing_was_taken() {
        let unreached = Status::from_error(Box::new(ConnectError("refused".into())));
        let broken = Status::from_error(Box::new(std::io::Error::other("reset")));
        let not_taken = |unreached| Fate::NotTaken { retry_after: None, unreached };
        let table = [
            (problem(Reason::Busy, None), not_taken(false), true),
            (problem(Reason::Unavailable, Some("stopping")), not_taken(false), true),
            (unreached, not_taken(true), true),
            (problem(Reason::Unavailable, None), Fate::Unknown, true),
            (problem(Reason::Unavailable, Some("lost")), Fate::Unknown, true),
            (problem(Reason::Stale, None), Fate::Unknown, true),
            (problem(Reason::Internal, None), Fate::Unknown, false),
            (broken, Fate::Unknown, true),
            (Status::unavailable("a proxy's"), Fate::Unknown, true),
            (Status::deadline_exceeded("late"), Fate::Unknown, false),
            (Status::unknown("?"), Fate::Unknown, false),
            (problem(Reason::Refused, Some("x")), Fate::Answered, false),
            (problem(Reason::Throttled, None), Fate::Answered, false),
            (problem(Reason::Unauthenticated, None), Fate::Answered, false),
            (Status::unimplemented("no such method"), Fate::Answered, false),
        ];
        for (status, expected, again) in table {
            assert_eq!(fate(&status), expected, "{status:?}");
            assert_eq!(read_again(&status), again, "{status:?}");
        }
        let busy = Problem::new(Reason::Busy, "full").retry_after(Duration::from_millis(50));
        let retry_after = Some(Duration::from_millis(50));
        assert_eq!(fate(&busy.into()), Fate::NotTaken { retry_after, unreached: false });
    }
}
