//! Signed orders: sent until it is known what became of them.
//!
//! The same signed bytes are judged once, so they can be sent again after a broken connection: either
//! the first copy was lost, or the second is answered with what came of the first.

use proctor_keys::signed_order::Unsignable;
use proctor_keys::{Keypair, SignedOrder, Terms};
use proctor_rpc::v1;
use proctor_types::OrderRequest;
use tokio::time::Instant;

use super::{Client, orders};
use crate::connection::Call;
use crate::error::{Ask, CallError, OutcomeUnknown};

/// The code of the refusal of an order whose id was taken before.
const DUPLICATE: &str = "duplicate_id";

/// An order as it is sent, with what to ask for it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBytes {
    /// Whose order.
    pub trader: String,
    /// Its id.
    pub order_id: String,
    /// The bytes that were signed.
    pub payload: Vec<u8>,
    /// The signature over them.
    pub signature: Vec<u8>,
}

impl SignedBytes {
    /// Returns `request`, signed with its trader's key. `entropy` is explained at [`Keypair::sign`].
    ///
    /// # Errors
    /// [`Unsignable`] when nobody would accept it.
    pub fn sign(
        keypair: &Keypair,
        terms: &Terms,
        request: &OrderRequest,
        entropy: &[u8; 32],
    ) -> Result<Self, Unsignable> {
        let signed = SignedOrder::sign(keypair, terms, request, entropy)?;
        Ok(Self {
            trader: request.trader.as_str().to_owned(),
            order_id: request.id.as_str().to_owned(),
            payload: signed.payload,
            signature: signed.signature.0.to_vec(),
        })
    }

    fn message(&self) -> v1::SignedOrder {
        v1::SignedOrder { payload: self.payload.clone(), signature: self.signature.clone() }
    }
}

/// What became of an order that was sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Submitted {
    /// It was judged, and this is the answer.
    Judged {
        /// The answer.
        outcome: Box<v1::OrderOutcome>,
        /// Whether a copy that was sent before this one was left without an answer. Either it never
        /// came, or this is what came of it, which the outcome says of itself (`repeated`).
        resent: bool,
    },
    /// The answer was lost, and this is what is known of the order since.
    Found(Box<v1::GetOrderResponse>),
    /// The answer was lost. The order was taken, and it neither rests nor was it filled lately: it
    /// was cancelled, or is not kept any more.
    TakenBefore(Box<v1::OrderOutcome>),
}

impl Client {
    /// Sends a signed order, bracket or cancellation and answers what became of it.
    ///
    /// When the answer is lost, it asks for the order and sends the same bytes again: the order is
    /// taken at most once. All of it has the deadline of one call.
    ///
    /// # Errors
    /// [`CallError::Refused`] when the order was not taken; [`CallError::OutcomeUnknown`] when there
    /// was no time to find out.
    pub async fn submit(&self, order: &SignedBytes) -> Result<Submitted, CallError> {
        let deadline = self.orders.deadline();
        // Why the answer to the copy before is not known.
        let mut lost: Option<OutcomeUnknown> = None;
        let mut copies = 0;
        loop {
            copies += 1;
            match (self.send(order, deadline).await, lost.take()) {
                (Ok(outcome), None) => return Ok(judged(outcome, false)),
                (Ok(outcome), Some(_)) if outcome.accepted || outcome.repeated => {
                    return Ok(judged(outcome, true));
                }
                // Of a node that does not tell of copies: a refusal is of this one, and the one before
                // it may have been accepted. A duplicate id may also be another message's.
                (Ok(outcome), Some(unknown)) => {
                    return match self.find(order, deadline).await {
                        Ok(Some(found)) => Ok(found),
                        Ok(None) if outcome.code == DUPLICATE => {
                            Ok(Submitted::TakenBefore(Box::new(outcome)))
                        }
                        Ok(None) => Ok(judged(outcome, true)),
                        Err(_) => Err(unknown.into()),
                    };
                }
                (Err(CallError::OutcomeUnknown(unknown)), _) => {
                    match self.find(order, deadline).await {
                        Ok(Some(found)) => return Ok(found),
                        Ok(None) => {}
                        Err(_) => return Err(unknown.into()),
                    }
                    lost = Some(unknown);
                    self.orders.rest(copies, deadline).await;
                }
                (Err(error), None) => return Err(error),
                // That this copy was not taken says nothing of the one before it.
                (Err(_), Some(unknown)) => {
                    let found = self.find(order, deadline).await.ok().flatten();
                    return found.ok_or(CallError::OutcomeUnknown(unknown));
                }
            }
        }
    }

    /// Sends up to 256 signed orders in one call, which are judged in this order in one commit. Returns
    /// what became of each, in their order.
    ///
    /// When the answer is lost, it sends the same bytes again: each order is taken at most once, and a
    /// copy is answered with what came of the first. All of it has the deadline of one call.
    ///
    /// # Errors
    /// [`CallError::Refused`] when no order was taken; [`CallError::OutcomeUnknown`] when there was no
    /// time to find out, or when an order is not taken any more whose first copy may have been.
    pub async fn submit_many(
        &self,
        orders: &[SignedBytes],
    ) -> Result<v1::SubmitManyResponse, CallError> {
        let deadline = self.orders.deadline();
        let message =
            v1::SubmitManyRequest { orders: orders.iter().map(SignedBytes::message).collect() };
        let mut lost: Option<OutcomeUnknown> = None;
        let mut copies = 0;
        loop {
            copies += 1;
            let call = Call::write("SubmitMany", Ask::Orders).until(half_way(deadline));
            let send =
                |channel, request| async move { self::orders(channel).submit_many(request).await };
            let sent = self.orders.call(&call, message.clone(), send).await;
            match (sent, lost.take()) {
                (Ok(answer), Some(unknown)) if answer.results.iter().any(is_not_taken) => {
                    return Err(unknown.into());
                }
                (Ok(answer), _) => return Ok(answer),
                (Err(CallError::OutcomeUnknown(unknown)), _) => {
                    lost = Some(unknown);
                    self.orders.rest(copies, deadline).await;
                }
                // That this copy was not taken says nothing of the one before it.
                (Err(_), Some(unknown)) => return Err(unknown.into()),
                (Err(error), None) => return Err(error),
            }
        }
    }

    /// Sends one copy, and leaves half of the time for asking what became of it.
    async fn send(
        &self,
        order: &SignedBytes,
        deadline: Instant,
    ) -> Result<v1::OrderOutcome, CallError> {
        let message = order.message();
        let ask = Ask::Order { trader: order.trader.clone(), order_id: order.order_id.clone() };
        let call = Call::write("Submit", ask).until(half_way(deadline));
        let send = |channel, request| async move { orders(channel).submit(request).await };
        self.orders.call(&call, message, send).await
    }

    /// Returns the order when it rests or was filled lately.
    async fn find(
        &self,
        order: &SignedBytes,
        deadline: Instant,
    ) -> Result<Option<Submitted>, CallError> {
        let message =
            v1::GetOrderRequest { trader: order.trader.clone(), order_id: order.order_id.clone() };
        let call = Call::read("GetOrder").until(deadline);
        let send = |channel, request| async move { orders(channel).get_order(request).await };
        let known = self.orders.call(&call, message, send).await?;
        let taken = known.resting.is_some() || known.fill.is_some();
        Ok(taken.then(|| Submitted::Found(Box::new(known))))
    }
}

/// Returns the moment that leaves as much time after it as there is until then.
fn half_way(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / 2
}

fn is_not_taken(result: &v1::SubmitResult) -> bool {
    matches!(result.result, Some(v1::submit_result::Result::NotTaken(_)) | None)
}

fn judged(outcome: v1::OrderOutcome, resent: bool) -> Submitted {
    Submitted::Judged { outcome: Box::new(outcome), resent }
}
