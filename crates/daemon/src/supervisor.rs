//! Supervisor of the services that run as child processes.

pub mod plan;
