//! Several whole peer cores in one deterministic world: churn, black holes, eclipse, clocks.

mod churn;
mod eclipse;
mod world;
