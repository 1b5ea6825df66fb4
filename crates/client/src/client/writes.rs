//! Writes of the client: never repeated when they may have been taken.

use proctor_rpc::v1;

use super::{Client, challenge_period, eliminations, node, prices};
use crate::connection::Call;
use crate::error::{Ask, CallError};

impl Client {
    /// Replaces the set of registered traders; role `operator`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn set_roster(
        &self,
        traders: Vec<String>,
    ) -> Result<v1::SetRosterResponse, CallError> {
        let message = v1::SetRosterRequest { traders };
        let call = Call::write("SetRoster", Ask::Status);
        let send = |channel, request| async move { node(channel).set_roster(request).await };
        self.node.call(&call, message, send).await
    }

    /// Adds traders to, and removes them from, the set of registered ones; role `operator`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn change_roster(
        &self,
        request: v1::ChangeRosterRequest,
    ) -> Result<v1::SetRosterResponse, CallError> {
        let message = request;
        let call = Call::write("ChangeRoster", Ask::Status);
        let send = |channel, request| async move { node(channel).change_roster(request).await };
        self.node.call(&call, message, send).await
    }

    /// States the size of an account in USD, from the next day on; role `operator`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn set_account_size(
        &self,
        trader: &str,
        size_usd: f64,
    ) -> Result<v1::WriteResponse, CallError> {
        let message = v1::SetAccountSizeRequest { trader: trader.into(), size_usd };
        let call = Call::write("SetAccountSize", account(trader));
        let send = |channel, request| async move { node(channel).set_account_size(request).await };
        self.node.call(&call, message, send).await
    }

    /// Chooses the asset class of an account, such as `CRYPTO`; role `operator`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn choose_asset_class(
        &self,
        trader: &str,
        asset_class: &str,
    ) -> Result<v1::WriteResponse, CallError> {
        let message =
            v1::ChooseAssetClassRequest { trader: trader.into(), asset_class: asset_class.into() };
        let call = Call::write("ChooseAssetClass", account(trader));
        let send =
            |channel, request| async move { node(channel).choose_asset_class(request).await };
        self.node.call(&call, message, send).await
    }

    /// Publishes prices of a feed; role `feed`. What is refused stands in the answer.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn publish(&self, quotes: Vec<v1::Quote>) -> Result<v1::PublishResponse, CallError> {
        let message = v1::PublishRequest { quotes };
        let call = Call::write("Publish", Ask::LatestPrices);
        let send = |channel, request| async move { prices(channel).publish(request).await };
        self.prices.call(&call, message, send).await
    }

    /// Records the end of an account; role `operator`. A record that is there stays as it is.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn add_elimination(
        &self,
        request: v1::AddEliminationRequest,
    ) -> Result<v1::AddEliminationResponse, CallError> {
        let message = request;
        let trader = message.row.as_ref().map(|row| row.trader.clone()).unwrap_or_default();
        let call = Call::write("AddElimination", Ask::Elimination { trader });
        let send =
            |channel, request| async move { eliminations(channel).add_elimination(request).await };
        self.eliminations.call(&call, message, send).await
    }

    /// Lifts a record: the account begins anew; role `operator`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn remove_elimination(
        &self,
        trader: &str,
        why: &str,
    ) -> Result<v1::RemoveEliminationResponse, CallError> {
        let message = v1::RemoveEliminationRequest { trader: trader.into(), why: why.into() };
        let call = Call::write("RemoveElimination", Ask::Elimination { trader: trader.into() });
        let send = |channel, request| async move {
            eliminations(channel).remove_elimination(request).await
        };
        self.eliminations.call(&call, message, send).await
    }

    /// Lifts every record that was decided up to a commit; role `operator`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn clear_eliminations(
        &self,
        up_to_commit: u64,
        why: &str,
    ) -> Result<v1::RemoveEliminationResponse, CallError> {
        let message = v1::ClearEliminationsRequest { up_to_commit, why: why.into() };
        let call = Call::write("ClearEliminations", Ask::Eliminations);
        let send = |channel, request| async move {
            eliminations(channel).clear_eliminations(request).await
        };
        self.eliminations.call(&call, message, send).await
    }

    /// Takes the whole list of another validator; role `operator`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn sync_eliminations(
        &self,
        request: v1::SyncEliminationsRequest,
    ) -> Result<v1::SyncEliminationsResponse, CallError> {
        let message = request;
        let call = Call::write("SyncEliminations", Ask::Eliminations);
        let send = |channel, request| async move {
            eliminations(channel).sync_eliminations(request).await
        };
        self.eliminations.call(&call, message, send).await
    }

    /// Puts a trader into a bucket; role `operator`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn set_bucket(
        &self,
        miner: v1::Miner,
    ) -> Result<v1::SetMinerBucketResponse, CallError> {
        let message = v1::SetMinerBucketRequest { miner: Some(miner) };
        let call = Call::write("SetMinerBucket", Ask::ChallengePeriod);
        let send = |channel, request| async move {
            challenge_period(channel).set_miner_bucket(request).await
        };
        self.challenge_period.call(&call, message, send).await
    }

    /// Undoes one decision; role `operator`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn reinstate(
        &self,
        request: v1::ReinstateRequest,
    ) -> Result<v1::WriteResponse, CallError> {
        let call = Call::write("Reinstate", Ask::Elimination { trader: request.trader.clone() });
        let send = |channel, request| async move { eliminations(channel).reinstate(request).await };
        self.eliminations.call(&call, request, send).await
    }

    /// Corrects the price of a recent order; role `operator`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn correct_price(
        &self,
        request: v1::CorrectPriceRequest,
    ) -> Result<v1::WriteResponse, CallError> {
        let call = Call::write("CorrectPrice", account(&request.trader));
        let send = |channel, request| async move { node(channel).correct_price(request).await };
        self.node.call(&call, request, send).await
    }

    /// Puts a rulebook in force for accounts that enrol from now on; role `operator`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn adopt_rulebook(&self, toml: String) -> Result<v1::WriteResponse, CallError> {
        let call = Call::write("AdoptRulebook", Ask::Status);
        let send = |channel, request| async move { node(channel).adopt_rulebook(request).await };
        self.node.call(&call, v1::AdoptRulebookRequest { toml }, send).await
    }

    /// Replaces the list of suspected plagiarists; role `operator`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn report_plagiarism(
        &self,
        suspects: Vec<v1::PlagiarismSuspect>,
    ) -> Result<v1::WriteResponse, CallError> {
        let call = Call::write("UpdatePlagiarismMiners", Ask::ChallengePeriod);
        let send = |channel, request| async move {
            challenge_period(channel).update_plagiarism_miners(request).await
        };
        let message = v1::UpdatePlagiarismMinersRequest { suspects };
        self.challenge_period.call(&call, message, send).await
    }

    /// Returns the peers of the node; role `admin`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_peers(&self) -> Result<v1::ListPeersResponse, CallError> {
        let send = |channel, request| async move { node(channel).list_peers(request).await };
        self.node.call(&Call::read("ListPeers"), v1::ListPeersRequest {}, send).await
    }

    /// Turns a node away; role `admin`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn ban_peer(
        &self,
        request: v1::BanPeerRequest,
    ) -> Result<v1::PeerResponse, CallError> {
        let call = Call::write("BanPeer", Ask::Status);
        let send = |channel, request| async move { node(channel).ban_peer(request).await };
        self.node.call(&call, request, send).await
    }

    /// Lifts the ban of a node; role `admin`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn unban_peer(&self, key: String) -> Result<v1::PeerResponse, CallError> {
        let call = Call::write("UnbanPeer", Ask::Status);
        let send = |channel, request| async move { node(channel).unban_peer(request).await };
        self.node.call(&call, v1::UnbanPeerRequest { key }, send).await
    }

    /// Has the node dial another now; role `admin`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn dial_peer(
        &self,
        request: v1::DialPeerRequest,
    ) -> Result<v1::PeerResponse, CallError> {
        let call = Call::write("DialPeer", Ask::Status);
        let send = |channel, request| async move { node(channel).dial_peer(request).await };
        self.node.call(&call, request, send).await
    }

    /// Ends the node in phases; role `admin`.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn shutdown(&self) -> Result<v1::ShutdownResponse, CallError> {
        let message = v1::ShutdownRequest {};
        let call = Call::write("Shutdown", Ask::Status);
        let send = |channel, request| async move { node(channel).shutdown(request).await };
        self.node.call(&call, message, send).await
    }
}

fn account(trader: &str) -> Ask {
    Ask::Account { trader: trader.into() }
}
