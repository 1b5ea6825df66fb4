//! `Client`: the services of a node, each at its address, as plain calls.

use std::collections::BTreeMap;

use proctor_rpc::v1;
use proctor_rpc::v1::challenge_period_client::ChallengePeriodClient;
use proctor_rpc::v1::eliminations_client::EliminationsClient;
use proctor_rpc::v1::node_client::NodeClient;
use proctor_rpc::v1::orders_client::OrdersClient;
use proctor_rpc::v1::positions_client::PositionsClient;
use proctor_rpc::v1::prices_client::PricesClient;
use tonic::transport::Channel;

use crate::backoff::Random;
use crate::connection::{Connection, InvalidConnection, MESSAGE_LEN_MAX, Settings};

mod orders;
mod reads;
mod writes;

pub use orders::{SignedBytes, Submitted};

/// Where the services of a node are, as `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Status and administration.
    pub node: String,
    /// Prices.
    pub prices: String,
    /// Positions.
    pub positions: String,
    /// Orders.
    pub orders: String,
    /// Eliminations.
    pub eliminations: String,
    /// The challenge period.
    pub challenge_period: String,
}

impl Default for Addresses {
    /// The ports that a node listens on when nothing else is configured, on this machine.
    fn default() -> Self {
        // A literal address: a name could mean IPv6 first, and a wait until that is given up.
        Self::on("127.0.0.1")
    }
}

impl Addresses {
    /// Returns the addresses on `host` with the standard ports.
    #[must_use]
    pub fn on(host: &str) -> Self {
        let address = |port: u16| format!("{host}:{port}");
        Self {
            node: address(50_000),
            prices: address(50_001),
            positions: address(50_002),
            orders: address(50_003),
            eliminations: address(50_004),
            challenge_period: address(50_005),
        }
    }

    /// Returns the one address that serves everything.
    #[must_use]
    pub fn all_at(address: &str) -> Self {
        let address = || address.to_owned();
        Self {
            node: address(),
            prices: address(),
            positions: address(),
            orders: address(),
            eliminations: address(),
            challenge_period: address(),
        }
    }
}

/// A client of a node; cheap to clone. Services at the same address share a connection.
#[derive(Clone, Debug)]
pub struct Client {
    node: Connection,
    prices: Connection,
    positions: Connection,
    orders: Connection,
    eliminations: Connection,
    challenge_period: Connection,
}

impl Client {
    /// Returns a client. Nothing is sent before the first call. It must be made inside a runtime.
    ///
    /// # Errors
    /// [`InvalidConnection`] for an address or token that cannot be one.
    pub fn new(
        addresses: &Addresses,
        token: Option<&str>,
        settings: Settings,
        random: &Random,
    ) -> Result<Self, InvalidConnection> {
        let mut made: BTreeMap<String, Connection> = BTreeMap::new();
        let mut connection = |address: &str| {
            if let Some(connection) = made.get(address) {
                return Ok(connection.clone());
            }
            let connection = Connection::new(address, token, settings, random.clone())?;
            made.insert(address.into(), connection.clone());
            Ok(connection)
        };
        Ok(Self {
            node: connection(&addresses.node)?,
            prices: connection(&addresses.prices)?,
            positions: connection(&addresses.positions)?,
            orders: connection(&addresses.orders)?,
            eliminations: connection(&addresses.eliminations)?,
            challenge_period: connection(&addresses.challenge_period)?,
        })
    }

    /// Returns a client whose services are all at `connection`.
    #[must_use]
    pub fn over(connection: &Connection) -> Self {
        Self {
            node: connection.clone(),
            prices: connection.clone(),
            positions: connection.clone(),
            orders: connection.clone(),
            eliminations: connection.clone(),
            challenge_period: connection.clone(),
        }
    }

    /// Returns the connection to the node's own service.
    #[must_use]
    pub fn node_connection(&self) -> &Connection {
        &self.node
    }

    /// Returns the connection to the service of orders.
    #[must_use]
    pub fn orders_connection(&self) -> &Connection {
        &self.orders
    }

    /// Returns the connection to the service of eliminations: what a replica is fed by.
    #[must_use]
    pub fn eliminations_connection(&self) -> &Connection {
        &self.eliminations
    }
}

fn node(channel: Channel) -> NodeClient<Channel> {
    NodeClient::new(channel).max_decoding_message_size(MESSAGE_LEN_MAX)
}

fn prices(channel: Channel) -> PricesClient<Channel> {
    PricesClient::new(channel).max_decoding_message_size(MESSAGE_LEN_MAX)
}

fn positions(channel: Channel) -> PositionsClient<Channel> {
    PositionsClient::new(channel).max_decoding_message_size(MESSAGE_LEN_MAX)
}

fn orders(channel: Channel) -> OrdersClient<Channel> {
    OrdersClient::new(channel).max_decoding_message_size(MESSAGE_LEN_MAX)
}

pub(crate) fn eliminations(channel: Channel) -> EliminationsClient<Channel> {
    EliminationsClient::new(channel).max_decoding_message_size(MESSAGE_LEN_MAX)
}

fn challenge_period(channel: Channel) -> ChallengePeriodClient<Channel> {
    ChallengePeriodClient::new(channel).max_decoding_message_size(MESSAGE_LEN_MAX)
}

fn trader_request(trader: &str) -> v1::TraderRequest {
    v1::TraderRequest { trader: trader.into() }
}

#[cfg(test)]
mod tests;
