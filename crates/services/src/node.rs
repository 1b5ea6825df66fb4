//! The node's own service: status, digest, and the commands of those who run it.

pub mod peers;
pub mod view;

use std::fmt;
use std::sync::Arc;

use proctor_engine::input::{PriceCorrection, Roster};
use proctor_engine::{Input, View};
use proctor_rpc::v1::{self, node_server};
use proctor_rpc::{Problem, Reason};
use proctor_types::{AssetClass, OrderId, Price, SourceName, TraderId, Usd};
use tonic::{Request, Response, Status};

use crate::auth::{Role, require};
use crate::backend::Backend;
use crate::parse;
use crate::watch::{self, Gate, Stream};
use peers::{PeerCommand, Peers};

/// What only the process knows: how it runs, and how to end it.
pub trait Process: fmt::Debug + Send + Sync + 'static {
    /// Returns what does not stand in a view.
    fn facts(&self) -> Facts;

    /// Asks the process to end, in phases.
    fn stop(&self);

    /// Returns the network between nodes; `None` when this node has to do with no other.
    fn peers(&self) -> Option<Arc<dyn Peers>> {
        None
    }
}

/// What does not stand in a view.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Name of the network.
    pub chain_id: String,
    /// When the process began, ms since 1970 UTC.
    pub started_ms: i64,
    /// Submissions that wait now.
    pub queue_depth: u64,
    /// Submissions that may wait.
    pub queue_max: u64,
    /// Where prices come from.
    pub feed: String,
    /// What the node does among others; empty when it has to do with none.
    pub network: String,
    /// "running", "draining" or "stopped: " and why.
    pub phase: String,
    /// The services and how they are.
    pub services: Vec<v1::ServiceStatus>,
    /// What a person should look at.
    pub alerts: Vec<String>,
}

/// The service.
#[derive(Clone, Debug)]
pub struct NodeService {
    backend: Backend,
    process: Arc<dyn Process>,
    gate: Gate,
}

impl NodeService {
    /// Returns the service; `gate` bounds those who follow the watermark.
    #[must_use]
    pub fn new(backend: Backend, process: Arc<dyn Process>, gate: Gate) -> Self {
        Self { backend, process, gate }
    }

    async fn write(&self, input: Input) -> Result<Response<v1::WriteResponse>, Status> {
        let receipt = self.backend.command(input).await?;
        Ok(Response::new(v1::WriteResponse { as_of: Some(self.backend.at(receipt.stamp)) }))
    }

    /// Carries out what an administrator wants of a peer.
    async fn command<T>(
        &self,
        request: &Request<T>,
        key: &str,
        command: PeerCommand,
    ) -> Result<Response<v1::PeerResponse>, Status> {
        require(request.extensions(), Role::Admin)?;
        let peers = self.process.peers().ok_or_else(peers::alone)?;
        peers.command(key.to_owned(), command).await?;
        let as_of = Some(self.backend.as_of(&self.backend.views().latest()));
        Ok(Response::new(v1::PeerResponse { as_of }))
    }

    /// Submits the roster of `traders`, one version after the one in force.
    ///
    /// Two of them at once: the later one is refused as stale, and says so.
    async fn submit_roster(&self, traders: Vec<TraderId>) -> Result<v1::SetRosterResponse, Status> {
        let view = self.backend.read()?;
        let version = view.roster.version().map_or(1, |version| version + 1);
        let roster = Roster::new(version, traders);
        let registered = u32::try_from(roster.registered.len()).unwrap_or(u32::MAX);
        let receipt = self.backend.command(Input::Roster(roster)).await?;
        let as_of = Some(self.backend.at(receipt.stamp));
        Ok(v1::SetRosterResponse { as_of, version, registered })
    }
}

/// Tells how far the node is and nothing else.
struct Watermark(Backend);

impl watch::Changes for Watermark {
    type Message = v1::Watermark;

    fn reset(&mut self, view: &View, _: Option<v1::Gap>) -> v1::Watermark {
        v1::Watermark { as_of: Some(self.0.as_of(view)) }
    }

    fn change(&mut self, applied: &proctor_sequencer::Applied, _: &View) -> Option<v1::Watermark> {
        Some(v1::Watermark { as_of: Some(self.0.at(applied.stamp)) })
    }

    fn heartbeat(&mut self, stamp: proctor_types::Stamp) -> v1::Watermark {
        v1::Watermark { as_of: Some(self.0.at(stamp)) }
    }

    fn bytes(message: &Self::Message) -> usize {
        proctor_rpc::encoded_len(message)
    }
}

#[tonic::async_trait]
impl node_server::Node for NodeService {
    async fn get_status(
        &self,
        _: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        // Not `read`: whoever asks how a node is wants an answer above all when it is not well.
        let view = self.backend.views().latest();
        let now = self.backend.clock().now();
        let mut status = view::status(&view, self.process.facts(), now);
        status.as_of = Some(self.backend.as_of(&view));
        if let Err(problem) = self.backend.read() {
            status.alerts.push(format!("reads are refused: {}", problem.message));
            status.stale = problem.message;
        }
        Ok(Response::new(status))
    }

    type WatchWatermarkStream = Stream<v1::Watermark>;

    async fn watch_watermark(
        &self,
        _: Request<v1::WatchWatermarkRequest>,
    ) -> Result<Response<Self::WatchWatermarkStream>, Status> {
        let changes = Watermark(self.backend.clone());
        Ok(Response::new(watch::stream(&self.backend, &self.gate, 0, changes)?))
    }

    async fn get_digest(
        &self,
        _: Request<v1::GetDigestRequest>,
    ) -> Result<Response<v1::GetDigestResponse>, Status> {
        let view = self.backend.read()?;
        let (as_of, digest) = (Some(self.backend.as_of(&view)), view.digest.to_string());
        Ok(Response::new(v1::GetDigestResponse { as_of, digest }))
    }

    async fn get_versions(
        &self,
        _: Request<v1::GetVersionsRequest>,
    ) -> Result<Response<v1::GetVersionsResponse>, Status> {
        let as_of = Some(self.backend.as_of(&self.backend.views().latest()));
        let proctor = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Response::new(v1::GetVersionsResponse { as_of, proctor, api: "proctor.v1".into() }))
    }

    async fn set_roster(
        &self,
        request: Request<v1::SetRosterRequest>,
    ) -> Result<Response<v1::SetRosterResponse>, Status> {
        require(request.extensions(), Role::Operator)?;
        let traders = parse::traders("traders", &request.get_ref().traders)?;
        Ok(Response::new(self.submit_roster(traders).await?))
    }

    async fn change_roster(
        &self,
        request: Request<v1::ChangeRosterRequest>,
    ) -> Result<Response<v1::SetRosterResponse>, Status> {
        require(request.extensions(), Role::Operator)?;
        let add = parse::traders("add", &request.get_ref().add)?;
        let remove = parse::traders("remove", &request.get_ref().remove)?;
        let view = self.backend.read()?;
        let mut traders = view.roster.traders().cloned().unwrap_or_default();
        traders.retain(|trader| !remove.contains(trader));
        traders.extend(add);
        Ok(Response::new(self.submit_roster(traders.into_iter().collect()).await?))
    }

    async fn set_account_size(
        &self,
        request: Request<v1::SetAccountSizeRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        require(request.extensions(), Role::Operator)?;
        let trader = parse::trader("trader", &request.get_ref().trader)?;
        let size = Usd::new(request.get_ref().size_usd)
            .map_err(|error| Problem::invalid("size_usd", error))?;
        self.write(Input::AccountSize(trader, size)).await
    }

    async fn choose_asset_class(
        &self,
        request: Request<v1::ChooseAssetClassRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        require(request.extensions(), Role::Operator)?;
        let trader = parse::trader("trader", &request.get_ref().trader)?;
        let class = asset_class(&request.get_ref().asset_class)?;
        self.write(Input::AssetClass(trader, class)).await
    }

    async fn adopt_rulebook(
        &self,
        request: Request<v1::AdoptRulebookRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        require(request.extensions(), Role::Operator)?;
        self.write(Input::Rulebook(request.into_inner().toml)).await
    }

    async fn correct_price(
        &self,
        request: Request<v1::CorrectPriceRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        let by = require(request.extensions(), Role::Operator)?.name;
        let request = request.into_inner();
        let price = |field: &str, value: f64| {
            Price::new(value).map_err(|error| Problem::invalid(field, error))
        };
        let correction = PriceCorrection {
            trader: parse::trader("trader", &request.trader)?,
            order: OrderId::new(&request.order_id)
                .map_err(|error| Problem::invalid("order_id", error))?,
            price: price("price", request.price)?,
            bid: request.bid.map(|bid| price("bid", bid)).transpose()?,
            ask: request.ask.map(|ask| price("ask", ask)).transpose()?,
            source: SourceName::new(&request.source)
                .map_err(|error| Problem::invalid("source", error))?,
            by,
            why: parse::remark("why", &request.why)?,
        };
        self.write(Input::CorrectPrice(correction)).await
    }

    async fn list_peers(
        &self,
        request: Request<v1::ListPeersRequest>,
    ) -> Result<Response<v1::ListPeersResponse>, Status> {
        require(request.extensions(), Role::Admin)?;
        let peers = self.process.peers().ok_or_else(peers::alone)?;
        let as_of = Some(self.backend.as_of(&self.backend.views().latest()));
        Ok(Response::new(v1::ListPeersResponse { as_of, ..peers.list() }))
    }

    async fn ban_peer(
        &self,
        request: Request<v1::BanPeerRequest>,
    ) -> Result<Response<v1::PeerResponse>, Status> {
        let v1::BanPeerRequest { key, for_ms, why } = request.get_ref().clone();
        if why.len() > peers::WHY_BYTES_MAX {
            let text = format!("{} bytes, at most {} are kept", why.len(), peers::WHY_BYTES_MAX);
            return Err(Problem::invalid("why", text).into());
        }
        self.command(&request, &key, PeerCommand::Ban { for_ms, why }).await
    }

    async fn unban_peer(
        &self,
        request: Request<v1::UnbanPeerRequest>,
    ) -> Result<Response<v1::PeerResponse>, Status> {
        self.command(&request, &request.get_ref().key, PeerCommand::Unban).await
    }

    async fn dial_peer(
        &self,
        request: Request<v1::DialPeerRequest>,
    ) -> Result<Response<v1::PeerResponse>, Status> {
        let v1::DialPeerRequest { key, address } = request.get_ref().clone();
        self.command(&request, &key, PeerCommand::Dial { address }).await
    }

    async fn shutdown(
        &self,
        request: Request<v1::ShutdownRequest>,
    ) -> Result<Response<v1::ShutdownResponse>, Status> {
        require(request.extensions(), Role::Admin)?;
        self.process.stop();
        let as_of = Some(self.backend.as_of(&self.backend.views().latest()));
        Ok(Response::new(v1::ShutdownResponse { as_of }))
    }
}

fn asset_class(text: &str) -> Result<AssetClass, Problem> {
    let names = || AssetClass::ALL.map(|class| class.to_string()).join(", ");
    let found = AssetClass::ALL.into_iter().find(|class| class.to_string() == text);
    found.ok_or_else(|| {
        let reason = Reason::InvalidArgument;
        let message = format!("asset_class: unknown asset class {text:?}, known are {}", names());
        Problem { field: Some("asset_class".into()), ..Problem::new(reason, message) }
    })
}

#[cfg(test)]
mod tests;
