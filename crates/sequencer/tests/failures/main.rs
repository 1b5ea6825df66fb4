//! What can go wrong between a submission and its answer, one file per kind.

mod adopt;
mod backward_clock;
mod begun_anew;
mod beside;
mod common;
mod crash;
mod full_queue;
mod group_commit;
mod lying_sync;
mod model;
mod readers;
mod snapshots;
mod unsynced;
mod wrong_log;
