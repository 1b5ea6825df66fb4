//! The service Orders: submit, cancel, brackets, what rests and what became of an order.

mod intake;
pub mod limiter;
pub mod view;

use std::collections::BTreeMap;
use std::net::IpAddr;

use proctor_engine::input::SignedOrder;
use proctor_engine::{Input, Rejection, View};
use proctor_keys::signed_order::Rules;
use proctor_rpc::v1::orders_server::Orders;
use proctor_rpc::v1::submit_result::Result as Became;
use proctor_rpc::{Problem, Reason, v1};
use proctor_sequencer::{Applied, Receipt};
use proctor_types::{ExecutionType, OrderId, OrderRequest, Stamp, TraderId, UtcMs};
use tonic::{Request, Response, Status};

use self::intake::{Intake, Sent, path};
pub use self::limiter::RateLimit;
use self::view::Known;
use crate::backend::Backend;
use crate::paging::{self, List};
use crate::positions::view::accounts_from;
use crate::positions::{account_of, place};
use crate::watch::{Changes, Gate, Stream, stream};
use crate::{health, parse};

/// How many orders one call may submit.
pub const ORDERS_MAX: usize = 256;
/// The calls that need no token: what they bring is signed.
pub const SIGNED: &[&str] = &[
    "/proctor.v1.Orders/Submit",
    "/proctor.v1.Orders/SubmitMany",
    "/proctor.v1.Orders/Cancel",
    "/proctor.v1.Orders/Bracket",
];
/// Resting orders of a page that says nothing of its size.
const ROWS: usize = 100;

/// The service Orders.
///
/// An order is authenticated by its trader's signature. What needs no state is checked before the
/// order is sequenced, and such an order leaves no trace; everything else is judged where the order
/// is applied, so no state can change between check and use.
#[derive(Clone, Debug)]
pub struct OrdersService {
    backend: Backend,
    gate: Gate,
    intake: Intake,
}

impl OrdersService {
    /// Returns the service; `gate` bounds its watchers, `rules` say for which network an order must be
    /// signed and for how long it may be valid, `limit` how many orders a trader may send.
    #[must_use]
    pub fn new(backend: Backend, gate: Gate, rules: Rules, limit: Option<RateLimit>) -> Self {
        Self { backend, gate, intake: Intake::new(rules, limit) }
    }

    /// Returns the time by which windows are judged. The clock alone could go back, and a window that
    /// was over would open again.
    fn now(&self) -> UtcMs {
        self.backend.clock().now().max(self.backend.views().peek().stamp.at)
    }

    async fn one(
        &self,
        request: Request<v1::SignedOrder>,
        kind: Option<ExecutionType>,
    ) -> Result<v1::OrderOutcome, Problem> {
        let address = address(&request);
        let sent = Sent { path: "", address, kind, now: self.now() };
        let claim = self.intake.read(sent, request.into_inner())?;
        let order = Box::new(Intake::check(sent, claim)?);
        let receipt = self.backend.submit(vec![Input::SignedOrder(order.clone())]).await?;
        self.outcome(&receipt, 0, &order.request)
    }

    async fn many(
        &self,
        request: Request<v1::SubmitManyRequest>,
    ) -> Result<v1::SubmitManyResponse, Problem> {
        let (address, now) = (address(&request), self.now());
        let orders = request.into_inner().orders;
        if orders.is_empty() || orders.len() > ORDERS_MAX {
            let text = format!("has {} entries, 1 to {ORDERS_MAX} are taken", orders.len());
            return Err(Problem::invalid("orders", text));
        }
        let read = |(place, order): (usize, v1::SignedOrder)| {
            let sent = Sent { path: &path(place), address, kind: None, now };
            self.intake.read(sent, order).map_err(Box::new)
        };
        let claims = orders.into_iter().enumerate().map(read).collect();
        let checked = self.intake.check_many(claims).await?;
        let input = |order: &SignedOrder| Input::SignedOrder(Box::new(order.clone()));
        let taken: Vec<Input> = checked.iter().flatten().map(input).collect();
        let receipt = if taken.is_empty() { None } else { Some(self.backend.submit(taken).await?) };
        let mut results = Vec::with_capacity(checked.len());
        let mut next = 0;
        for order in checked {
            let became = match (order, &receipt) {
                (Ok(order), Some(receipt)) => {
                    next += 1;
                    Became::Outcome(self.outcome(receipt, next - 1, &order.request)?)
                }
                // Without a receipt there was no order that could have been taken.
                (Ok(_), None) => return Err(no_reply()),
                (Err(problem), _) => Became::NotTaken(not_taken(*problem)),
            };
            results.push(v1::SubmitResult { result: Some(became) });
        }
        let stamp = receipt.map(|receipt| receipt.stamp);
        let as_of = stamp.unwrap_or_else(|| self.backend.views().peek().stamp);
        Ok(v1::SubmitManyResponse { as_of: Some(self.backend.at(as_of)), results })
    }

    /// Returns what became of the order at `place` among those of `receipt`.
    fn outcome(
        &self,
        receipt: &Receipt,
        place: usize,
        order: &OrderRequest,
    ) -> Result<v1::OrderOutcome, Problem> {
        let reply = receipt.replies.get(place).ok_or_else(no_reply)?;
        let rejection = reply.as_ref().err();
        let message = rejection.map(ToString::to_string).unwrap_or_default();
        let judged = v1::OrderOutcome {
            as_of: Some(self.backend.at(receipt.stamp)),
            trader: order.trader.to_string(),
            order_id: order.id.to_string(),
            stamp: Some(parse::stamp_message(receipt.stamp)),
            message,
            ..v1::OrderOutcome::default()
        };
        // Who has lost the answer wants that one, not to be told that he has asked twice.
        if let Some(Rejection::AlreadyJudged(first)) = rejection {
            return Ok(v1::OrderOutcome {
                stamp: Some(parse::stamp_message(first.stamp)),
                accepted: first.refused.is_none(),
                code: first.refused.as_deref().unwrap_or_default().into(),
                repeated: true,
                ..judged
            });
        }
        Ok(v1::OrderOutcome {
            accepted: reply.is_ok(),
            code: rejection.map(Rejection::code).unwrap_or_default().into(),
            events: view::of_order(order, receipt.first + place, reply.is_ok(), &receipt.events),
            ..judged
        })
    }

    fn list(&self, request: &v1::ListRestingRequest) -> Result<v1::ListRestingResponse, Problem> {
        let trader = request.trader.as_deref().map(|text| parse::trader("trader", text));
        let trader = trader.transpose()?;
        let size = paging::size(request.page_size, ROWS)?;
        let after = place(List::Resting, &request.page_token, trader.as_ref())?;
        let number = after.as_ref().map(|place| place.row.parse::<u64>()).transpose();
        let number = number.map_err(|_| Problem::invalid("page_token", "names no order"))?;
        let after = after.as_ref().map(|place| &place.trader).zip(number);
        let view = self.backend.read()?;
        let (orders, next_page_token) = if let Some(trader) = &trader {
            view::page(std::iter::once(account_of(&view, trader)?), after, size)
        } else {
            let first = after.map(|(trader, _)| trader);
            let accounts =
                accounts_from(&view, first, |account| !account.resting.orders().is_empty());
            view::page(accounts, after, size)
        };
        let as_of = Some(self.backend.as_of(&view));
        Ok(v1::ListRestingResponse { as_of, orders, next_page_token })
    }

    fn get(&self, request: &v1::GetOrderRequest) -> Result<v1::GetOrderResponse, Problem> {
        let trader = parse::trader("trader", &request.trader)?;
        let id =
            OrderId::new(&request.order_id).map_err(|error| Problem::invalid("order_id", error))?;
        let view = self.backend.read()?;
        let (state, resting, fill) = match view::known(account_of(&view, &trader)?, &id) {
            Known::Resting(order) => ("resting", Some(order), None),
            Known::Filled(fill) => {
                let commits = self.backend.views().at(UtcMs(fill.filled_ms));
                let told = commits.iter().flat_map(|applied| applied.events.iter());
                ("filled", None, Some(view::with_what_was_told(fill, &trader, told)))
            }
            Known::Unknown => ("unknown", None, None),
        };
        let as_of = Some(self.backend.as_of(&view));
        Ok(v1::GetOrderResponse { as_of, state: state.into(), resting, fill })
    }
}

fn address<M>(request: &Request<M>) -> Option<IpAddr> {
    request.remote_addr().map(|address| address.ip())
}

fn no_reply() -> Problem {
    Problem::new(Reason::Internal, "the commit holds no answer to an order of its own")
}

fn not_taken(problem: Problem) -> v1::NotTaken {
    v1::NotTaken {
        code: i32::from(problem.reason.code()),
        reason: problem.code.unwrap_or_else(|| problem.reason.name().into()),
        message: problem.message,
        field: problem.field.unwrap_or_default(),
    }
}

/// What a watcher of orders is told.
struct OrderChanges {
    backend: Backend,
    trader: Option<TraderId>,
}

impl OrderChanges {
    fn message(&self, stamp: Stamp, events: Vec<v1::OrderEvent>) -> v1::WatchOrdersResponse {
        v1::WatchOrdersResponse { as_of: Some(self.backend.at(stamp)), gap: None, events }
    }
}

impl Changes for OrderChanges {
    type Message = v1::WatchOrdersResponse;

    /// What rests is no message: who begins, or begins again, lists it in pages after this one, and
    /// misses nothing, since every later event is told.
    fn reset(&mut self, view: &View, gap: Option<v1::Gap>) -> Self::Message {
        v1::WatchOrdersResponse { gap, ..self.message(view.stamp, Vec::new()) }
    }

    fn change(&mut self, applied: &Applied, _: &View) -> Option<Self::Message> {
        let events = view::told_to(&applied.events, self.trader.as_ref());
        (!events.is_empty()).then(|| self.message(applied.stamp, events))
    }

    fn heartbeat(&mut self, stamp: Stamp) -> Self::Message {
        self.message(stamp, Vec::new())
    }

    fn bytes(message: &Self::Message) -> usize {
        proctor_rpc::encoded_len(message)
    }
}

type Answer<M> = Result<Response<M>, Status>;

#[tonic::async_trait]
impl Orders for OrdersService {
    type WatchStream = Stream<v1::WatchOrdersResponse>;

    async fn health_check(
        &self,
        _: Request<v1::HealthCheckRequest>,
    ) -> Answer<v1::HealthCheckResponse> {
        let view = self.backend.views().latest();
        let resting = view.accounts.iter().map(|account| account.resting.orders().len()).sum();
        let details = BTreeMap::from([("num_resting_orders", resting)]);
        Ok(Response::new(health::check(&self.backend, "orders", details)))
    }

    async fn submit(&self, request: Request<v1::SignedOrder>) -> Answer<v1::OrderOutcome> {
        Ok(Response::new(self.one(request, None).await?))
    }

    async fn submit_many(
        &self,
        request: Request<v1::SubmitManyRequest>,
    ) -> Answer<v1::SubmitManyResponse> {
        Ok(Response::new(self.many(request).await?))
    }

    async fn cancel(&self, request: Request<v1::SignedOrder>) -> Answer<v1::OrderOutcome> {
        Ok(Response::new(self.one(request, Some(ExecutionType::LimitCancel)).await?))
    }

    async fn bracket(&self, request: Request<v1::SignedOrder>) -> Answer<v1::OrderOutcome> {
        Ok(Response::new(self.one(request, Some(ExecutionType::Bracket)).await?))
    }

    async fn list_resting(
        &self,
        request: Request<v1::ListRestingRequest>,
    ) -> Answer<v1::ListRestingResponse> {
        Ok(Response::new(self.list(request.get_ref())?))
    }

    async fn get_order(
        &self,
        request: Request<v1::GetOrderRequest>,
    ) -> Answer<v1::GetOrderResponse> {
        Ok(Response::new(self.get(request.get_ref())?))
    }

    async fn watch(&self, request: Request<v1::WatchOrdersRequest>) -> Answer<Self::WatchStream> {
        let v1::WatchOrdersRequest { from_commit, trader } = request.into_inner();
        let trader = trader.map(|text| parse::trader("trader", &text)).transpose()?;
        let changes = OrderChanges { backend: self.backend.clone(), trader };
        Ok(Response::new(stream(&self.backend, &self.gate, from_commit, changes)?))
    }
}

#[cfg(test)]
mod tests;
