//! The five services by name: the same routes in the node's process and in a child.

use std::fmt;

use proctor_services::Backend;
use tonic::service::Routes;

use crate::config::Listen;

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
    pub tokens: std::sync::Arc<proctor_services::Tokens>,
}

/// Returns the routes of `service` on `backend`.
#[must_use]
pub fn routes(service: Service, backend: &Backend, terms: &Terms) -> Routes {
    let _ = (service, backend, terms);
    Routes::default()
}
