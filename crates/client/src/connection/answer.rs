//! `Answer`: the messages that say as of what they are.

use proctor_rpc::v1::{self, AsOf};

/// A message that says as of what it is.
pub trait Answer {
    /// Returns as of what the answer is; every answer of this contract says so.
    fn as_of(&self) -> Option<&AsOf>;
}

macro_rules! answers {
    ($($message:ident),* $(,)?) => {
        $(impl Answer for v1::$message {
            fn as_of(&self) -> Option<&AsOf> {
                self.as_of.as_ref()
            }
        })*
    };
}

answers!(
    AddEliminationResponse,
    ClearEliminationReasonsResponse,
    GetAccountResponse,
    GetCachedEliminationDataResponse,
    GetDigestResponse,
    GetEliminationResponse,
    GetEliminationsDictResponse,
    GetEliminationsResponse,
    GetLatestResponse,
    GetLedgerResponse,
    GetOrderResponse,
    GetPositionResponse,
    GetStatusResponse,
    GetVersionsResponse,
    HealthCheckResponse,
    IsHotkeyEliminatedResponse,
    ListAccountsResponse,
    ListPositionsResponse,
    ListRestingResponse,
    OrderOutcome,
    PublishResponse,
    RemoveEliminationResponse,
    SetMinerBucketResponse,
    SetRosterResponse,
    ShutdownResponse,
    ListPeersResponse,
    PeerResponse,
    SnapshotResponse,
    SubmitManyResponse,
    SyncEliminationsResponse,
    TradersResponse,
    WatchEliminationsResponse,
    WriteResponse,
);
