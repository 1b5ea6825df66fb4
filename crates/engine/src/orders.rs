//! The order acceptance gate.
