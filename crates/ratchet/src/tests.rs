//! Tests of the whole: the model, mutants, scenarios in virtual time, hostile bytes.

pub(crate) mod mutant;

mod frames;
mod model;
mod pair;
mod scenarios;
