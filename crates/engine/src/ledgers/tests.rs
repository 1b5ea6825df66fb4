//! Behaviour of ledgers and bundles: the golden table, boundaries, and laws.
