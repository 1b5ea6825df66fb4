//! A follower's writes: what a trader has signed goes to the sequencer, everything else is refused.
//!
//! A signed order proves itself, so whoever carries it needs no trust. An operator's command proves
//! nothing on its way, so it has to be given to the sequencer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use proctor_engine::Input;
use proctor_engine::input::SignedOrder;
use proctor_keys::signed_order::{Rules, SignedOrder as SignedBytes};
use proctor_keys::sr25519::Signature;
use proctor_rpc::internal_v1::Place;
use proctor_rpc::{Problem, Reason};
use proctor_sequencer::{Receipt, Views};
use proctor_types::UtcMs;
use proctor_wire::log_entry;

use super::{Submitted, Submitter, receipt};

/// How long the own fold may take to reach what the sequencer has committed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many inputs one message may carry: as many as a call may submit orders.
const INPUTS_MAX: usize = crate::orders::ORDERS_MAX;

/// Where in the log inputs ended up, later.
pub type Carried<'a> = Pin<Box<dyn Future<Output = Result<Place, Problem>> + Send + 'a>>;

/// The way to the sequencer.
pub trait Carrier: fmt::Debug + Send + Sync {
    /// Brings encoded inputs to the sequencer.
    fn carry(&self, inputs: Vec<u8>) -> Carried<'_>;
}

/// Submits through another node.
#[derive(Clone, Debug)]
pub struct Forward {
    carrier: Arc<dyn Carrier>,
    views: Views,
}

impl Forward {
    /// Returns the way of writes over `carrier`; outcomes are read in `views`, the own fold.
    #[must_use]
    pub fn new(carrier: Arc<dyn Carrier>, views: Views) -> Self {
        Self { carrier, views }
    }

    /// Waits until the own fold has reached `place`, and returns what it says of it.
    async fn receipt(&self, place: Place) -> Result<Receipt, Problem> {
        let reached = async {
            loop {
                // Taken before the look, so that nothing published after it is missed.
                let changed = self.views.changed();
                if self.views.peek().stamp.commit >= place.commit {
                    break;
                }
                changed.await;
            }
        };
        match tokio::time::timeout(PATIENCE, reached).await {
            Ok(()) => receipt::at(&self.views, place),
            Err(_) => Err(receipt::committed(place.commit)),
        }
    }
}

impl Submitter for Forward {
    fn submit(&self, inputs: Vec<Input>) -> Submitted<'_> {
        Box::pin(async move {
            if !inputs.iter().all(|input| matches!(input, Input::SignedOrder(_))) {
                let text = "this node follows: it takes signed orders and cancellations, which it \
                            passes on; give operator commands to the sequencer";
                return Err(Problem::new(Reason::Refused, text).with_code("follower"));
            }
            let place = self.carrier.carry(log_entry::encode_inputs(&inputs)).await?;
            let count = u32::try_from(inputs.len()).unwrap_or(u32::MAX);
            self.receipt(Place { count, ..place }).await
        })
    }
}

/// Returns the inputs that another node has passed on: signed orders, each of them proved.
///
/// # Errors
/// [`Reason::InvalidArgument`] or [`Reason::Unauthenticated`] for the first that is not.
pub fn passed_on(rules: &Rules, now: UtcMs, bytes: &[u8]) -> Result<Vec<Input>, Problem> {
    let inputs = log_entry::decode_inputs(bytes)
        .map_err(|error| Problem::new(Reason::InvalidArgument, format!("inputs: {error}")))?;
    if inputs.is_empty() || inputs.len() > INPUTS_MAX {
        let text = format!("{} inputs: 1 to {INPUTS_MAX} are passed on at once", inputs.len());
        return Err(Problem::new(Reason::InvalidArgument, text));
    }
    for input in &inputs {
        let Input::SignedOrder(order) = input else {
            let text = "only signed orders and cancellations are passed on";
            return Err(Problem::new(Reason::Unauthenticated, text).with_code("unsigned"));
        };
        prove(rules, now, order)?;
    }
    Ok(inputs)
}

/// Tests that the trader has signed this very order, for now and here.
fn prove(rules: &Rules, now: UtcMs, order: &SignedOrder) -> Result<(), Problem> {
    let bytes = SignedBytes {
        payload: order.payload.bytes().to_vec(),
        signature: Signature(order.signature),
    };
    let verified = bytes.verify(rules, now).map_err(|why| {
        Problem::new(Reason::Unauthenticated, format!("the order: {why}")).with_code(why.code())
    })?;
    let (from, until) = (verified.window.from, verified.window.until);
    let same = verified.request == order.request
        && (from, until) == (order.validity.from, order.validity.until);
    if same {
        return Ok(());
    }
    let text = "the order is not what its trader has signed";
    Err(Problem::new(Reason::Unauthenticated, text).with_code("not_as_signed"))
}

#[cfg(test)]
mod tests;
