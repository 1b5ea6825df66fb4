//! One writer turns concurrent inputs into one durable history.
//!
//! Inputs wait in a bounded queue. The writer takes a batch, stamps it, appends it to the log,
//! syncs, applies it to the engine, publishes the new view and answers, in this order: nothing is
//! answered or seen before it is durable, and nothing is durable without an order. This crate does
//! not know the rules (the engine's), the bytes (wire's) or the disk (commit-log's).

#![forbid(unsafe_code)]

pub mod clock;
pub mod follower;
pub mod handle;
pub mod publisher;
mod read_ahead;
pub mod replay;
pub mod shelf;
mod snapshots;
pub mod stats;
pub mod writer;

pub use clock::{Clock, SystemClock};
pub use follower::{FollowError, Follower};
pub use handle::{Handle, Pending, Sequencer, SubmitError};
pub use publisher::{Applied, Since, Views};
pub use replay::{Replay, ReplayError};
pub use shelf::FileShelf;
pub use stats::Stats;
pub use writer::{
    AdoptError, Batch, BeginError, CommitError, OpenError, Opened, Receipt, Writer, WriterConfig,
};
