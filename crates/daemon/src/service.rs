//! The five services by name: the same routes in the node's process and in a child.

use std::fmt;
use std::sync::Arc;

use proctor_keys::signed_order::InvalidChainId;
use proctor_keys::{ChainId, Rules};
use proctor_rpc::v1::challenge_period_server::ChallengePeriodServer;
use proctor_rpc::v1::eliminations_server::EliminationsServer;
use proctor_rpc::v1::orders_server::OrdersServer;
use proctor_rpc::v1::positions_server::PositionsServer;
use proctor_rpc::v1::prices_server::PricesServer;
use proctor_services::auth::{Authenticate, AuthenticateBut};
use proctor_services::challenge_period::ChallengePeriodService;
use proctor_services::eliminations::EliminationsService;
use proctor_services::orders::{OrdersService, RateLimit, SIGNED};
use proctor_services::positions::PositionsService;
use proctor_services::prices::PricesService;
use proctor_services::{Backend, Tokens};
use proctor_types::DurationMs;
use tonic::service::Routes;

use crate::config::{Config, Listen};
use crate::metrics::Metrics;

/// How many traders and addresses the limit of orders remembers.
const TRADERS_REMEMBERED: usize = 16_384;
/// How many watchers one service lets in.
pub const WATCHERS_MAX: usize = 1_024;

/// One of the five services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Prices.
    Prices,
    /// Positions and ledgers.
    Positions,
    /// Orders.
    Orders,
    /// Eliminations.
    Eliminations,
    /// The challenge period.
    ChallengePeriod,
}

impl Service {
    /// Every service, in the order of their ports.
    pub const ALL: [Self; 5] =
        [Self::Prices, Self::Positions, Self::Orders, Self::Eliminations, Self::ChallengePeriod];

    /// Returns the name in configuration, status and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prices => "prices",
            Self::Positions => "positions",
            Self::Orders => "orders",
            Self::Eliminations => "eliminations",
            Self::ChallengePeriod => "challenge_period",
        }
    }

    /// Returns the service called `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// Returns the service's full name in the contract, as health checks ask for it.
    #[must_use]
    pub fn contract_names(self) -> &'static [&'static str] {
        match self {
            Self::Prices => &["proctor.v1.Prices"],
            Self::Positions => &["proctor.v1.Positions"],
            Self::Orders => &["proctor.v1.Orders"],
            Self::Eliminations => &["proctor.v1.Eliminations"],
            Self::ChallengePeriod => &["proctor.v1.ChallengePeriod"],
        }
    }

    /// Returns the service's port.
    #[must_use]
    pub fn port(self, listen: &Listen) -> u16 {
        match self {
            Self::Prices => listen.prices,
            Self::Positions => listen.positions,
            Self::Orders => listen.orders,
            Self::Eliminations => listen.eliminations,
            Self::ChallengePeriod => listen.challenge_period,
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What the routes of a service need besides a backend.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Who may do what.
    pub tokens: Arc<Tokens>,
    /// For which network orders are signed, and for how long they may be valid.
    pub rules: Rules,
    /// How many orders a trader may send.
    pub limit: Option<RateLimit>,
    /// What counts watchers and calls.
    pub metrics: Metrics,
}

/// Returns what the services of `config` are told besides a backend.
///
/// # Errors
/// When the network's name cannot be one.
pub fn terms(
    config: &Config,
    tokens: Arc<Tokens>,
    metrics: Metrics,
) -> Result<Terms, InvalidChainId> {
    let chain_id = ChainId::new(&config.node.chain_id)?;
    let rules = Rules { chain_id, window_max: DurationMs(config.orders.window_max_ms) };
    let limit = (config.orders.rate_max > 0).then_some(RateLimit {
        orders: config.orders.rate_max,
        window: DurationMs(config.orders.rate_window_ms),
        remembered: TRADERS_REMEMBERED,
    });
    Ok(Terms { tokens, rules, limit, metrics })
}

/// Returns the routes of `service` on `backend`.
#[must_use]
pub fn routes(service: Service, backend: &Backend, terms: &Terms) -> Routes {
    let gate = terms.metrics.gate(service.name(), WATCHERS_MAX);
    let backend = backend.clone();
    let who = Authenticate(Arc::clone(&terms.tokens));
    match service {
        Service::Prices => {
            Routes::new(PricesServer::with_interceptor(PricesService::new(backend, gate), who))
        }
        Service::Positions => {
            let positions = PositionsService::new(backend, gate);
            Routes::new(PositionsServer::with_interceptor(positions, who))
        }
        Service::Orders => {
            let orders = OrdersService::new(backend, gate, terms.rules.clone(), terms.limit);
            Routes::new(AuthenticateBut::new(OrdersServer::new(orders), who, SIGNED))
        }
        Service::Eliminations => {
            let eliminations = EliminationsService::new(backend, gate);
            Routes::new(EliminationsServer::with_interceptor(eliminations, who))
        }
        Service::ChallengePeriod => {
            let challenge = ChallengePeriodService::new(backend, gate);
            Routes::new(ChallengePeriodServer::with_interceptor(challenge, who))
        }
    }
}
