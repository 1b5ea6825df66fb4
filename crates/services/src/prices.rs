//! The service Prices: what the sources say, what is believed, and prices from a feed.

pub mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proctor_engine::{Input, View};
use proctor_rpc::v1::prices_server::Prices;
use proctor_rpc::{Problem, Reason, v1};
use proctor_types::{TradePair, UtcMs, market_hours};
use tonic::{Request, Response, Status};

use crate::auth::{Role, require};
use crate::backend::Backend;
use crate::watch::{Gate, Gone, Outlet, Room, Stream, closed, outlet};
use crate::{health, parse};

/// How long a reader of the stream may take nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a reader hears something, even when no price changes.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// The service Prices.
#[derive(Clone, Debug)]
pub struct PricesService {
    backend: Backend,
    gate: Gate,
}

impl PricesService {
    /// Returns the service; `gate` bounds the readers of its stream.
    #[must_use]
    pub fn new(backend: Backend, gate: Gate) -> Self {
        Self { backend, gate }
    }

    fn latest(&self, request: &v1::GetLatestRequest) -> Result<v1::GetLatestResponse, Problem> {
        let pairs = view::pairs(&request.pairs)?;
        let view = self.backend.read()?;
        let prices = pairs.into_iter().map(|pair| view::price(&view, pair)).collect();
        Ok(v1::GetLatestResponse { as_of: Some(self.backend.as_of(&view)), prices })
    }

    fn at(&self, request: &v1::GetAtRequest) -> Result<v1::GetAtResponse, Problem> {
        let pair = parse::pair("pair", &request.pair)?;
        let at = moment(request.at_ms)?;
        let view = self.backend.read()?;
        let records = view::at(&view, pair, at);
        Ok(v1::GetAtResponse { as_of: Some(self.backend.as_of(&view)), records })
    }

    fn open(&self, request: &v1::IsMarketOpenRequest) -> Result<v1::IsMarketOpenResponse, Problem> {
        let pair = parse::pair("pair", &request.pair)?;
        let asked = moment(request.at_ms)?;
        let view = self.backend.read()?;
        let at = if asked.0 == 0 { view.stamp.at } else { asked };
        let open = market_hours::is_open(pair, at);
        Ok(v1::IsMarketOpenResponse { as_of: Some(self.backend.as_of(&view)), open })
    }

    async fn take(&self, quotes: &[v1::Quote]) -> Result<v1::PublishResponse, Problem> {
        let (quotes, mut refused) = view::records(quotes)?;
        if quotes.is_empty() {
            // Nothing to commit: the answer says what was wrong with each.
            let as_of = Some(self.backend.as_of(&*self.backend.read()?));
            return Ok(v1::PublishResponse { as_of, refused });
        }
        let receipt = self.backend.command(Input::Prices(quotes.clone())).await?;
        refused.extend(view::refused(&quotes, &receipt.events));
        Ok(v1::PublishResponse { as_of: Some(self.backend.at(receipt.stamp)), refused })
    }

    fn start(&self, pairs: &[String]) -> Result<Stream<v1::StreamPricesResponse>, Problem> {
        let pairs = view::pairs(pairs)?;
        let permit = self.gate.enter()?;
        self.backend.read()?;
        // One message waits at most; what follows is not made before that one is taken.
        let (outlet, messages) = outlet(1);
        let (backend, gate) = (self.backend.clone(), self.gate.clone());
        let reader = Reader { backend, gate, pairs, told: None };
        tokio::spawn(async move {
            if let Some(problem) = reader.run(&outlet).await {
                outlet.end(problem);
            }
            drop(permit);
        });
        Ok(messages)
    }
}

/// Returns the moment in the field `at_ms`.
fn moment(at_ms: i64) -> Result<UtcMs, Problem> {
    let at = UtcMs(at_ms);
    if at.is_in_range() {
        return Ok(at);
    }
    Err(Problem::invalid("at_ms", format!("{at_ms} ms lie outside the years 1970 to 9999")))
}

/// A reader of the stream of prices; one message waits for it, of some kilobytes at most.
struct Reader {
    backend: Backend,
    gate: Gate,
    pairs: BTreeSet<TradePair>,
    /// What the reader was told last.
    told: Option<Arc<View>>,
}

impl Reader {
    /// Tells prices until the reader or the process ends; returns what the reader is told then.
    async fn run(mut self, outlet: &Outlet<v1::StreamPricesResponse>) -> Option<Problem> {
        let mut closing = self.backend.closing();
        let stopping = || {
            let problem = Problem::new(Reason::Unavailable, "the node is stopping");
            Some(problem.with_code("stopping"))
        };
        let mut always = false;
        loop {
            // Taken before the look, so that nothing published after it is missed.
            let changed = self.backend.views().changed();
            let due = tokio::time::sleep(HEARTBEAT);
            // First the room, then the view: what is sent is the newest when it can be taken.
            let room = tokio::select! {
                room = tokio::time::timeout(PATIENCE, outlet.room()) => room,
                () = closed(&mut closing) => return stopping(),
            };
            match room {
                Ok(Ok(room)) => {
                    if let Err(problem) = self.tell(room, always) {
                        return Some(problem);
                    }
                }
                Ok(Err(Gone)) => return None,
                Err(_) => return Some(self.gate.let_go(PATIENCE)),
            }
            always = tokio::select! {
                () = changed => false,
                () = due => true,
                () = outlet.closed() => return None,
                () = closed(&mut closing) => return stopping(),
            };
        }
    }

    /// Tells what is new, or that nothing is when that is to be said (`always`).
    fn tell(
        &mut self,
        room: Room<'_, v1::StreamPricesResponse>,
        always: bool,
    ) -> Result<(), Problem> {
        let view = self.backend.read()?;
        if let Some(message) = self.message(&view, always) {
            room.fill(message);
            self.told = Some(view);
        }
        Ok(())
    }

    /// Returns what is new in `view`; `None` when nothing is, unless it is to be said.
    fn message(&self, view: &View, always: bool) -> Option<v1::StreamPricesResponse> {
        let prices = match &self.told {
            None => self.pairs.iter().map(|pair| view::price(view, *pair)).collect(),
            Some(told) if told.stamp.commit == view.stamp.commit && !always => return None,
            Some(told) => view::changed(told, view, &self.pairs),
        };
        if self.told.is_some() && prices.is_empty() && !always {
            return None;
        }
        let before = self.told.as_ref().map_or(view.stamp.commit, |told| told.stamp.commit);
        let skipped = view.stamp.commit.saturating_sub(before).saturating_sub(1);
        Some(v1::StreamPricesResponse { as_of: Some(self.backend.as_of(view)), prices, skipped })
    }
}

type Answer<M> = Result<Response<M>, Status>;

#[tonic::async_trait]
impl Prices for PricesService {
    type StreamStream = Stream<v1::StreamPricesResponse>;

    async fn health_check(
        &self,
        _: Request<v1::HealthCheckRequest>,
    ) -> Answer<v1::HealthCheckResponse> {
        let view = self.backend.views().latest();
        let standings = TradePair::all().map(|pair| view::standing(&view, pair));
        let believed = standings.filter(|standing| standing.believed.is_some()).count();
        let details = BTreeMap::from([("num_pairs_believed", believed)]);
        Ok(Response::new(health::check(&self.backend, "prices", details)))
    }

    async fn get_latest(
        &self,
        request: Request<v1::GetLatestRequest>,
    ) -> Answer<v1::GetLatestResponse> {
        Ok(Response::new(self.latest(request.get_ref())?))
    }

    async fn get_at(&self, request: Request<v1::GetAtRequest>) -> Answer<v1::GetAtResponse> {
        Ok(Response::new(self.at(request.get_ref())?))
    }

    async fn is_market_open(
        &self,
        request: Request<v1::IsMarketOpenRequest>,
    ) -> Answer<v1::IsMarketOpenResponse> {
        Ok(Response::new(self.open(request.get_ref())?))
    }

    async fn list_pairs(&self, _: Request<v1::ListPairsRequest>) -> Answer<v1::ListPairsResponse> {
        let view = self.backend.read()?;
        let (as_of, pairs) = (Some(self.backend.as_of(&view)), view::table());
        Ok(Response::new(v1::ListPairsResponse { as_of, pairs }))
    }

    async fn publish(&self, request: Request<v1::PublishRequest>) -> Answer<v1::PublishResponse> {
        require(request.extensions(), Role::Feed)?;
        Ok(Response::new(self.take(&request.get_ref().quotes).await?))
    }

    async fn stream(
        &self,
        request: Request<v1::StreamPricesRequest>,
    ) -> Answer<Self::StreamStream> {
        Ok(Response::new(self.start(&request.get_ref().pairs)?))
    }
}

#[cfg(test)]
mod tests;
