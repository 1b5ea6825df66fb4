//! Tests of the slippage models.
