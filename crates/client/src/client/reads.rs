//! Reads of the client: repeated when a connection breaks.

use proctor_rpc::v1;

use super::{
    Client, challenge_period, eliminations, node, orders, positions, prices, trader_request,
};
use crate::connection::Call;
use crate::error::CallError;

impl Client {
    /// Returns the node's status: what runs, how far it is, what is wrong.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn status(&self) -> Result<v1::GetStatusResponse, CallError> {
        let message = v1::GetStatusRequest {};
        let call = Call::read("GetStatus");
        let send = |channel, request| async move { node(channel).get_status(request).await };
        self.node.call(&call, message, send).await
    }

    /// Returns the digest of the state after the newest commit.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn digest(&self) -> Result<v1::GetDigestResponse, CallError> {
        let message = v1::GetDigestRequest {};
        let call = Call::read("GetDigest");
        let send = |channel, request| async move { node(channel).get_digest(request).await };
        self.node.call(&call, message, send).await
    }

    /// Returns the versions of the node and of its interface.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn versions(&self) -> Result<v1::GetVersionsResponse, CallError> {
        let message = v1::GetVersionsRequest {};
        let call = Call::read("GetVersions");
        let send = |channel, request| async move { node(channel).get_versions(request).await };
        self.node.call(&call, message, send).await
    }

    /// Returns the account of a trader on one page.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn account(&self, trader: &str) -> Result<v1::GetAccountResponse, CallError> {
        let message = trader_request(trader);
        let call = Call::read("GetAccount");
        let send = |channel, request| async move { positions(channel).get_account(request).await };
        self.positions.call(&call, message, send).await
    }

    /// Returns a page of accounts, by trader.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn accounts(
        &self,
        request: v1::ListAccountsRequest,
    ) -> Result<v1::ListAccountsResponse, CallError> {
        let message = request;
        let call = Call::read("ListAccounts");
        let send =
            |channel, request| async move { positions(channel).list_accounts(request).await };
        self.positions.call(&call, message, send).await
    }

    /// Returns a page of positions.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn positions(
        &self,
        request: v1::ListPositionsRequest,
    ) -> Result<v1::ListPositionsResponse, CallError> {
        let message = request;
        let call = Call::read("ListPositions");
        let send =
            |channel, request| async move { positions(channel).list_positions(request).await };
        self.positions.call(&call, message, send).await
    }

    /// Returns a page of the orders that wait for a price.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn resting_orders(
        &self,
        request: v1::ListRestingRequest,
    ) -> Result<v1::ListRestingResponse, CallError> {
        let message = request;
        let call = Call::read("ListResting");
        let send = |channel, request| async move { orders(channel).list_resting(request).await };
        self.orders.call(&call, message, send).await
    }

    /// Returns what is known of one order.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn order(
        &self,
        trader: &str,
        order_id: &str,
    ) -> Result<v1::GetOrderResponse, CallError> {
        let message = v1::GetOrderRequest { trader: trader.into(), order_id: order_id.into() };
        let call = Call::read("GetOrder");
        let send = |channel, request| async move { orders(channel).get_order(request).await };
        self.orders.call(&call, message, send).await
    }

    /// Returns whether a trader is eliminated. Who asks often wants an [`EliminationReplica`](crate::EliminationReplica).
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn is_eliminated(
        &self,
        trader: &str,
    ) -> Result<v1::IsHotkeyEliminatedResponse, CallError> {
        let message = trader_request(trader);
        let call = Call::read("IsHotkeyEliminated");
        let send = |channel, request| async move {
            eliminations(channel).is_hotkey_eliminated(request).await
        };
        self.eliminations.call(&call, message, send).await
    }

    /// Returns which of `traders` are eliminated, as of one commit.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn are_eliminated(
        &self,
        traders: Vec<String>,
    ) -> Result<v1::TradersResponse, CallError> {
        let message = v1::TradersRequest { traders };
        let call = Call::read("AreHotkeysEliminated");
        let send = |channel, request| async move {
            eliminations(channel).are_hotkeys_eliminated(request).await
        };
        self.eliminations.call(&call, message, send).await
    }

    /// Returns the record of a trader's end.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn elimination(&self, trader: &str) -> Result<v1::GetEliminationResponse, CallError> {
        let message = trader_request(trader);
        let call = Call::read("GetElimination");
        let send =
            |channel, request| async move { eliminations(channel).get_elimination(request).await };
        self.eliminations.call(&call, message, send).await
    }

    /// Returns all records, as of one commit.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn eliminations(&self) -> Result<v1::GetEliminationsResponse, CallError> {
        let message = v1::GetEliminationsRequest {};
        let call = Call::read("GetEliminationsFromMemory");
        let send = |channel, request| async move {
            eliminations(channel).get_eliminations_from_memory(request).await
        };
        self.eliminations.call(&call, message, send).await
    }

    /// Returns the latest prices of `pairs`, or of all when there are none.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn latest_prices(
        &self,
        pairs: Vec<String>,
    ) -> Result<v1::GetLatestResponse, CallError> {
        let message = v1::GetLatestRequest { pairs };
        let call = Call::read("GetLatest");
        let send = |channel, request| async move { prices(channel).get_latest(request).await };
        self.prices.call(&call, message, send).await
    }

    /// Returns the challenge period in one answer.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn challenge_snapshot(&self) -> Result<v1::SnapshotResponse, CallError> {
        let message = v1::SnapshotRequest {};
        let call = Call::read("Snapshot");
        let send =
            |channel, request| async move { challenge_period(channel).snapshot(request).await };
        self.challenge_period.call(&call, message, send).await
    }
}
