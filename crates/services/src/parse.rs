//! Fields of requests as domain values, with errors that name the field.

use proctor_engine::challenge_period::Stage;
use proctor_engine::eliminations::{DrawdownNote, Reason as EndReason};
use proctor_rpc::{Problem, v1};
use proctor_types::{Remark, Stamp, TradePair, TraderId, UtcMs};

/// How many traders or rows one call may name.
pub const ROWS_MAX: usize = 10_000;

/// Returns the trader in `field`.
///
/// # Errors
/// [`proctor_rpc::Reason::InvalidArgument`] when it can be nobody's name.
pub fn trader(field: &str, text: &str) -> Result<TraderId, Problem> {
    TraderId::new(text).map_err(|error| Problem::invalid(field, error))
}

/// Returns the traders in `field`.
///
/// # Errors
/// As [`trader`], with the place; also for more than [`ROWS_MAX`].
pub fn traders(field: &str, texts: &[String]) -> Result<Vec<TraderId>, Problem> {
    bounded(field, texts.len())?;
    let each = |(place, text): (usize, &String)| trader(&format!("{field}[{place}]"), text);
    texts.iter().enumerate().map(each).collect()
}

/// Tests that `field` has at most [`ROWS_MAX`] entries.
///
/// # Errors
/// [`proctor_rpc::Reason::InvalidArgument`].
pub fn bounded(field: &str, len: usize) -> Result<(), Problem> {
    if len > ROWS_MAX {
        return Err(Problem::invalid(field, format!("has {len} entries, at most {ROWS_MAX}")));
    }
    Ok(())
}

/// Returns the pair in `field`.
///
/// # Errors
/// [`proctor_rpc::Reason::InvalidArgument`] when the table has none of this name.
pub fn pair(field: &str, text: &str) -> Result<TradePair, Problem> {
    TradePair::from_id(text)
        .ok_or_else(|| Problem::invalid(field, format!("unknown trade pair {text:?}")))
}

/// Returns the reason of an end in `field`.
///
/// # Errors
/// [`proctor_rpc::Reason::InvalidArgument`] with the names there are.
pub fn end_reason(field: &str, text: &str) -> Result<EndReason, Problem> {
    EndReason::parse(text).map_err(|error| Problem::invalid(field, error))
}

/// Returns the drawdown in `field` of a record for `reason`, which says what it means (E-3).
///
/// # Errors
/// [`proctor_rpc::Reason::InvalidArgument`] when it is not a finite number.
pub fn drawdown(field: &str, reason: EndReason, dd: Option<f64>) -> Result<DrawdownNote, Problem> {
    DrawdownNote::from_legacy(reason, dd).map_err(|error| Problem::invalid(field, error))
}

/// Returns the moment in `field`, ms since 1970 UTC.
///
/// # Errors
/// [`proctor_rpc::Reason::InvalidArgument`] when it is missing (0) or outside the years 1970 to 9999.
pub fn moment(field: &str, ms: i64) -> Result<UtcMs, Problem> {
    let at = UtcMs(ms);
    if ms == 0 {
        return Err(Problem::invalid(field, "is missing"));
    }
    if !at.is_in_range() {
        let text = format!("{ms} ms lie outside the years 1970 to 9999");
        return Err(Problem::invalid(field, text));
    }
    Ok(at)
}

/// Returns the stage that the bucket in `field` is.
///
/// # Errors
/// [`proctor_rpc::Reason::InvalidArgument`] with the names there are.
pub fn bucket(field: &str, text: &str) -> Result<Stage, Problem> {
    Stage::parse(text).map_err(|error| Problem::invalid(field, error))
}

/// Returns the words in `field`.
///
/// # Errors
/// [`proctor_rpc::Reason::InvalidArgument`] when they are too many or not text.
pub fn remark(field: &str, text: &str) -> Result<Remark, Problem> {
    Remark::new(text).map_err(|error| Problem::invalid(field, error))
}

/// Returns the stamp in `field`.
///
/// # Errors
/// [`proctor_rpc::Reason::InvalidArgument`] when it is missing.
pub fn stamp(field: &str, stamp: Option<v1::Stamp>) -> Result<Stamp, Problem> {
    let stamp = stamp.ok_or_else(|| Problem::invalid(field, "is missing"))?;
    Ok(Stamp { commit: stamp.commit, at: UtcMs(stamp.at_ms) })
}

/// Returns `stamp` for an answer.
#[must_use]
pub fn stamp_message(stamp: Stamp) -> v1::Stamp {
    v1::Stamp { commit: stamp.commit, at_ms: stamp.at.0 }
}
