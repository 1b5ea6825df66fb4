//! The intake of orders: what needs no state is checked here, before anything is put into the log.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use proctor_engine::input::{Payload, SignedOrder, Validity};
use proctor_keys::signed_order::{
    Claim, Refusal, Rules, SignedOrder as SignedBytes, Verified, Window,
};
use proctor_keys::sr25519::Signature;
use proctor_rpc::{Problem, Reason, v1};
use proctor_types::{ExecutionType, UtcMs};
use tokio::sync::Semaphore;

use super::limiter::{Limiter, RateLimit};

/// Where an order comes from, and what it must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent<'a> {
    /// The path to the order in the request, with a dot at its end where there is one.
    pub(crate) path: &'a str,
    /// The sender's address, where it is known.
    pub(crate) address: Option<IpAddr>,
    /// The only kind that is taken, where there is one.
    pub(crate) kind: Option<ExecutionType>,
    /// Now: the later of the clock and the newest commit.
    pub(crate) now: UtcMs,
}

/// Shape, freshness, rate and signature.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    rules: Arc<Rules>,
    /// Locked for one look-up at a time.
    limiter: Option<Arc<Mutex<Limiter>>>,
    /// How many batches may be checked at a time: as many as there are processors.
    checkers: Arc<Semaphore>,
}

impl Intake {
    /// Returns an intake that is ready for the first order: its limiter exists.
    pub(crate) fn new(rules: Rules, limit: Option<RateLimit>) -> Self {
        let limiter = limit.map(|limit| Arc::new(Mutex::new(Limiter::new(limit))));
        let checkers = available_parallelism().map_or(1, usize::from);
        Self { rules: Arc::new(rules), limiter, checkers: Arc::new(Semaphore::new(checkers)) }
    }

    /// Returns whose order it claims to be, once everything but the signature was tested.
    pub(crate) fn read(&self, sent: Sent<'_>, order: v1::SignedOrder) -> Result<Claim, Problem> {
        let path = sent.path;
        let order = SignedBytes {
            signature: Signature(signature(path, &order.signature)?),
            payload: order.payload,
        };
        let claim = order.claim(&self.rules, sent.now).map_err(|why| problem(path, &why))?;
        if let Some(limiter) = &self.limiter {
            let mut limiter = limiter.lock().unwrap_or_else(PoisonError::into_inner);
            limiter.admit(claim.trader(), sent.address, sent.now).map_err(|wait| {
                let text = format!("too many orders in the name of {}", claim.trader());
                let wait = u64::try_from(wait.0).unwrap_or(0);
                Problem::new(Reason::Throttled, text)
                    .with_code("rate_limit")
                    .retry_after(Duration::from_millis(wait))
            })?;
        }
        Ok(claim)
    }

    /// Returns the order, once its signature was tested. That takes some tens of microseconds, so
    /// one order is checked where it came.
    pub(crate) fn check(sent: Sent<'_>, claim: Claim) -> Result<SignedOrder, Problem> {
        let order = proved(sent.path, claim)?;
        match sent.kind {
            Some(kind) if kind != order.request.execution => {
                let field = format!("{}payload.execution", sent.path);
                Err(Problem::invalid(field, "is of another kind than this call is for; use Submit"))
            }
            _ => Ok(order),
        }
    }

    /// Returns what became of each of many orders, in their order. Together they take milliseconds, so
    /// they are checked where nobody else waits.
    pub(crate) async fn check_many(
        &self,
        claims: Vec<Result<Claim, Refused>>,
    ) -> Result<Vec<Result<SignedOrder, Refused>>, Problem> {
        let internal = |text: &str| Problem::new(Reason::Internal, text);
        let permit = Arc::clone(&self.checkers).acquire_owned().await;
        let permit = permit.map_err(|_| internal("the checking of signatures has ended"))?;
        let checked = tokio::task::spawn_blocking(move || {
            let each =
                |(place, claim): (usize, Result<Claim, Refused>)| Ok(proved(&path(place), claim?)?);
            let checked = claims.into_iter().enumerate().map(each).collect();
            drop(permit);
            checked
        });
        checked.await.map_err(|_| internal("the checking of signatures was broken off"))
    }
}

/// Returns the order as it is submitted, once its signature was tested.
fn proved(path: &str, claim: Claim) -> Result<SignedOrder, Problem> {
    let Verified { order, request, window, .. } =
        claim.prove().map_err(|why| problem(path, &why))?;
    let Window { from, until } = window;
    let payload = Payload::new(order.payload);
    let payload = payload.map_err(|why| Problem::invalid(format!("{path}payload"), why))?;
    let validity = Validity { from, until };
    Ok(SignedOrder { request, validity, payload, signature: order.signature.0 })
}

/// Why one order of many was not taken.
pub(crate) type Refused = Box<Problem>;

/// Returns the path to one order of many.
pub(crate) fn path(place: usize) -> String {
    format!("orders[{place}].")
}

fn signature(path: &str, bytes: &[u8]) -> Result<[u8; 64], Problem> {
    let field = format!("{path}signature");
    if bytes.is_empty() {
        let text = format!("{field}: the order is not signed");
        let problem = Problem::new(Reason::Unauthenticated, text).with_code("unsigned");
        return Err(Problem { field: Some(field), ..problem });
    }
    bytes.try_into().map_err(|_| {
        let text = format!("has {} bytes, a signature has 64", bytes.len());
        Problem::invalid(field, text).with_code("signature_length")
    })
}

/// Returns what a sender is told whose order is not taken.
fn problem(path: &str, why: &Refusal) -> Problem {
    let field = match why.field() {
        Some(field) => format!("{path}payload.{field}"),
        None => format!("{path}payload"),
    };
    let problem = if matches!(why, Refusal::Signature(_) | Refusal::UnusableKey(_)) {
        let text = format!("{field}: {why}");
        Problem { field: Some(field), ..Problem::new(Reason::Unauthenticated, text) }
    } else {
        Problem::invalid(field, why)
    };
    problem.with_code(why.code())
}
