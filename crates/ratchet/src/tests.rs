//! Tests of the whole: the model, mutants, scenarios in virtual time, hostile bytes.

pub(crate) mod model;
pub(crate) mod mutant;

mod closing;
mod contention;
mod fixes;
mod frames;
mod fuzz;
mod hostile;
mod limits;
mod operations;
mod pair;
mod rounds;
