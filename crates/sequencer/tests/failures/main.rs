//! What can go wrong between a submission and its answer, one file per kind.

mod backward_clock;
mod common;
mod crash;
mod full_queue;
mod group_commit;
mod lying_sync;
mod model;
mod snapshots;
mod unsynced;
mod wrong_log;
