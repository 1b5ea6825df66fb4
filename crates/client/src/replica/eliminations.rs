//! `EliminationReplica`: who is eliminated, answered from memory.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use proctor_rpc::v1::{
    AsOf, DepartedHotkey, Elimination, WatchEliminationsRequest, WatchEliminationsResponse,
};
use tonic::{Status, Streaming};

use super::{Feed, Head, Limits, Progress, Replica, ReplicaState, Stale};
use crate::client;
use crate::connection::Connection;

/// A map by trader. Names come from outside: the hasher is seeded at random.
type ByTrader<T> = HashMap<Box<str>, T, RandomState>;

/// The records of ended accounts, and the traders who departed.
#[derive(Clone, Debug, Default)]
pub struct Eliminations {
    records: ByTrader<Arc<Elimination>>,
    departed: ByTrader<i64>,
}

impl Eliminations {
    /// Returns the record of a trader's end.
    #[must_use]
    pub fn get(&self, trader: &str) -> Option<&Arc<Elimination>> {
        self.records.get(trader)
    }

    /// Returns when it was noticed that a trader had departed, in ms since 1970 UTC.
    #[must_use]
    pub fn departed_ms(&self, trader: &str) -> Option<i64> {
        self.departed.get(trader).copied()
    }

    /// Returns all records, in no order.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &Arc<Elimination>> {
        self.records.values()
    }

    fn depart(&mut self, departed: DepartedHotkey) {
        self.departed.insert(departed.trader.into(), departed.detected_ms);
    }
}

impl ReplicaState for Eliminations {
    type Message = WatchEliminationsResponse;

    async fn open(
        connection: &Connection,
        from_commit: u64,
    ) -> Result<Streaming<WatchEliminationsResponse>, Status> {
        let request = connection.request(WatchEliminationsRequest { from_commit });
        let stream = client::eliminations(connection.channel()).watch_eliminations(request).await?;
        Ok(stream.into_inner())
    }

    fn head(message: &WatchEliminationsResponse) -> Head {
        let changes = !(message.added.is_empty()
            && message.removed.is_empty()
            && message.departed.is_empty());
        Head { as_of: message.as_of, reset: message.reset, changes }
    }

    fn take(&mut self, message: WatchEliminationsResponse) {
        // A record that is lifted and one that is made in the same commit: the one that is there
        // afterwards is told as added.
        for trader in &message.removed {
            self.records.remove(trader.as_str());
        }
        for record in message.added {
            self.records.insert(record.trader.as_str().into(), Arc::new(record));
        }
        for departed in message.departed {
            self.depart(departed);
        }
    }
}

/// Who is eliminated, from memory: nanoseconds, and no answer when the copy is too old.
///
/// ```no_run
/// # use proctor_client::{EliminationReplica, Stale};
/// # fn intake(replica: &EliminationReplica, trader: &str) -> Result<(), String> {
/// match replica.is_eliminated(trader) {
///     Ok(false) => Ok(()),
///     Ok(true) => Err("the account has ended".into()),
///     // Nobody knows: who lets the order through here lets eliminated traders trade.
///     Err(stale) => Err(format!("temporarily unavailable: {stale}")),
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct EliminationReplica {
    replica: Replica<Eliminations>,
}

impl EliminationReplica {
    /// Starts a replica that is fed over `connection` until the [`Feed`] is dropped.
    #[must_use]
    pub fn start(connection: &Connection, limits: Limits) -> (Self, Feed) {
        let (replica, feed) = Replica::start(connection, limits);
        (Self { replica }, feed)
    }

    /// Returns whether `trader` is eliminated.
    ///
    /// # Errors
    /// [`Stale`] when that is not known.
    pub fn is_eliminated(&self, trader: &str) -> Result<bool, Stale> {
        self.replica.ask(|eliminations| eliminations.records.contains_key(trader))
    }

    /// Returns the record of a trader's end.
    ///
    /// # Errors
    /// [`Stale`] when it is not known whether there is one.
    pub fn get(&self, trader: &str) -> Result<Option<Arc<Elimination>>, Stale> {
        self.replica.ask(|eliminations| eliminations.get(trader).cloned())
    }

    /// Returns all records as of one commit, by trader.
    ///
    /// # Errors
    /// [`Stale`] when they are not known.
    pub fn all(&self) -> Result<Vec<Arc<Elimination>>, Stale> {
        let mut records: Vec<Arc<Elimination>> =
            self.replica.ask(|eliminations| eliminations.records().cloned().collect())?;
        records.sort_unstable_by(|one, other| one.trader.cmp(&other.trader));
        Ok(records)
    }

    /// Returns as of what the copy is, when there is one.
    #[must_use]
    pub fn as_of(&self) -> Option<AsOf> {
        self.replica.copy().ok().map(|copy| copy.as_of)
    }

    /// Returns how far the copy is, and how to wait for more.
    #[must_use]
    pub fn progress(&self) -> tokio::sync::watch::Receiver<Progress> {
        self.replica.progress()
    }

    /// Returns the generic replica.
    #[must_use]
    pub fn replica(&self) -> &Replica<Eliminations> {
        &self.replica
    }
}
